"""The optimisation loop that all recipes share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from certify.data.dataset import Dataset, seeded_generator
from certify.device import on_one_thread
from certify.errors import BadInput, ModelError
from certify.training.recipe import Objective, Recipe, Step, ramp

__all__ = ["Epoch", "State", "begin", "epochs", "generator_of"]

FULL_RATE_SHARE: Final = 0.7
"""Share of the training at the full learning rate, which then falls linearly to zero."""

LARGEST_GRADIENT: Final = 10.0
"""Gradients of larger l2 norm are scaled down to it: the interval loss is steep at times while its box grows."""

AT_ONCE: Final = 256
"""Inputs held out that are looked at together."""


class Epoch(NamedTuple):
    """What is kept of a pass over the data.

    Args:
        loss: its mean loss.
        kept: share of the inputs held out that counted as right afterwards; None without any.
    """

    loss: float
    kept: float | None


@dataclass(slots=True)
class State:
    """Where a training stands; it changes in place.

    Args:
        module: the network.
        optimiser: and what it remembers of earlier steps.
        curve: the epochs that are done.
        best: parameters and statistics of the epoch that kept most inputs held out; None without any such.
        best_epoch: which one it was, from 1.
        seconds: processor time so far.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    curve: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_epoch: int = 0
    seconds: float = 0.0


def generator_of(*key: object) -> torch.Generator:
    """A generator on the processor that depends on ``key`` alone."""
    return torch.Generator().manual_seed(int(seeded_generator(*key).integers(2**63)))


def begin(recipe: Recipe, module: nn.Module, seed: int) -> State:
    """The state before the first epoch; the recipe may change the initial weights of ``module``, in place."""
    with on_one_thread():
        recipe.begin(module, generator_of(seed, "begin"))
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return State(module, optimiser)


def epochs(
    recipe: Recipe, state: State, dataset: Dataset, held_out: Dataset | None, seed: int, patience: int | None = None
) -> Iterator[Epoch]:
    """Train epoch by epoch from where ``state`` stands, which is up to date whenever an epoch is yielded.

    The result depends on the module's weights, the data, the settings and ``seed`` alone, and the global random state
    is neither read nor moved. One thread does all the work: the number of threads would change the order of float sums
    and with it the model; several trainings side by side use several cores better.

    Args:
        recipe: what to do.
        state: from :func:`begin`, or where an earlier call ended.
        dataset: what to train on.
        held_out: inputs on which each epoch is measured; None for no measurement, and the last state is the result.
        seed: decides order and noise.
        patience: epochs without a better result on ``held_out`` after which training ends; None for all epochs.

    Raises:
        BadInput: for settings that do not fit the data.
        ModelError: if the loss becomes NaN or infinite, naming the epoch.
    """
    module = state.module
    device = next(module.parameters()).device
    x, y = torch.from_numpy(dataset.x), torch.from_numpy(dataset.y)
    with on_one_thread():
        objective = recipe.objective(module, dataset)
    settled = recipe.settled * recipe.epochs
    while len(state.curve) < recipe.epochs and not _waited(state, patience):
        begun, epoch = time.process_time(), len(state.curve)
        order = torch.from_numpy(seeded_generator(seed, "shuffle", epoch).permutation(len(x)))
        batches, generator, total = order.split(recipe.batch_size), generator_of(seed, "noise", epoch), 0.0
        module.train()
        with on_one_thread():
            for number, rows in enumerate(batches):
                done = (epoch + number / len(batches)) / recipe.epochs
                state.optimiser.param_groups[0]["lr"] = recipe.learning_rate * (1 - ramp(done, FULL_RATE_SHARE, 1.0))
                inputs = _moved(x[rows], recipe, generator)
                loss = objective.loss(Step(inputs.to(device), y[rows].to(device), done, generator))
                if not bool(loss.detach().isfinite()):
                    raise ModelError(f"the loss became {float(loss.detach())} in epoch {epoch + 1} of {recipe.epochs}")
                state.optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
                state.optimiser.step()
                total += float(loss.detach()) * len(rows)
            module.eval()
            kept = None if held_out is None else _kept(objective, held_out, device, (epoch + 1) / recipe.epochs)
        if not all(bool(one.isfinite().all()) for one in module.parameters()):
            raise ModelError(f"a weight became NaN or infinite in epoch {epoch + 1} of {recipe.epochs}")
        state.curve.append(Epoch(total / len(x), kept))
        if kept is not None and epoch + 1 >= settled and kept > _most(state):
            state.best = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
            state.best_epoch = epoch + 1
        state.seconds += time.process_time() - begun
        yield state.curve[-1]


def _most(state: State) -> float:
    """What the best state so far kept."""
    return (state.curve[state.best_epoch - 1].kept or 0.0) if state.best_epoch else -1.0


def _waited(state: State, patience: int | None) -> bool:
    """Whether the best state is older than patience allows."""
    return patience is not None and state.best_epoch > 0 and len(state.curve) - state.best_epoch >= patience


def _kept(objective: Objective, held_out: Dataset, device: torch.device, done: float) -> float:
    """The share of the inputs held out that count as right; the same noise in every epoch, so that epochs compare."""
    generator, hits = generator_of("held out"), 0
    with torch.no_grad():
        for rows in torch.arange(len(held_out)).split(AT_ONCE):
            x, y = torch.from_numpy(held_out.x[rows]).to(device), torch.from_numpy(held_out.y[rows]).to(device)
            hits += int(objective.kept(Step(x, y, done, generator)).sum())
    return hits / len(held_out)


def _moved(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images moved and mirrored, each on its own."""
    if (recipe.shift or recipe.flip) and x.dim() != 4:
        raise BadInput(f"shift and flip move images (channels, height, width), and inputs are {tuple(x.shape[1:])}")
    if recipe.flip:
        mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(3), x)
    if recipe.shift:
        most, (height, width) = recipe.shift, x.shape[2:]
        padded = nn.functional.pad(x, (most, most, most, most))
        down, right = torch.randint(0, 2 * most + 1, (2, len(x)), generator=generator)
        rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
        x = padded[torch.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return x
