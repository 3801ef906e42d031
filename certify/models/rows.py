"""Whether a model answers about each input by itself, whatever stands beside it in a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor, nn

from certify.core.input_box import InputBox
from certify.errors import CertifyError, ModelError, one_line
from certify.process import out_of_memory

__all__ = ["check_rows", "check_size", "noisy", "refuse_batch_statistics"]

TAKEN: Final = 3
"""Inputs that rows are made from; with noise there are twice as many."""

OWN, TYPICAL, ROUNDED = 1e-3, 1e-4, 4e-6
"""How far a score may move: relative to its distance from the top one, to a typical margin, to the numbers subtracted.

Batches of another size are summed in another order; the last is 64 roundings of float32.
"""


def noisy(x: Tensor, input_box: InputBox | None = None) -> Tensor:
    """A few inputs of (B, ...), from all over, and noisy copies of them inside a box, or within what values they have.

    >>> noisy(torch.zeros(100, 2)).shape
    torch.Size([6, 2])
    """
    taken = x[[0, len(x) // 2, len(x) - 1]]
    if input_box is not None:
        lower, upper = input_box.around(x)
    else:
        lower, upper = taken.amin(), taken.amax()
        lower, upper = (lower - 1, upper + 1) if bool(lower == upper) else (lower, upper)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(taken.shape, generator=generator).to(taken)
    return torch.cat([taken, (taken + 0.25 * (upper - lower) * noise).clamp(lower, upper)])


def refuse_batch_statistics(module: nn.Module) -> None:
    """Refuse layers whose answer about an input is made of the whole batch.

    Raises:
        ModelError: naming the layer, and what to do.
    """
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is None:
            raise ModelError(
                f"{name or type(child).__name__} has no running statistics and normalizes over the batch, so that an "
                "input's class depends on the others beside it: train it with track_running_stats=True"
            )
        if ".quantized.dynamic" in type(child).__module__:
            raise ModelError(
                f"{name or type(child).__name__} is quantized dynamically, with one scale for the whole batch, so that "
                "an input's class depends on the others beside it: give the model before quantization, which keeps "
                "gradients, or a function, lambda x: torch.cat([model(row[None]) for row in x])"
            )


def check_rows(scores: Callable[[Tensor], Tensor], rows: Tensor) -> None:
    """Refuse a model that answers about some inputs in another way alone, in other batches, or in another order.

    What is compared of each input is how far each score is from the top one: all that a class depends on. Each score is
    held to its own distance, so that one huge score, which a masked class may have, excuses no other.

    Args:
        scores: scores (B, K) of a batch (B, ...).
        rows: inputs (B, ...), at least two.

    Raises:
        ModelError: if the answers differ, or the model takes only batches of some sizes.

    >>> check_rows(lambda x: x / x.sum(), torch.eye(3))
    Traceback (most recent call last):
    ...
    certify.errors.ModelError: the model's answer about an input depends on the batch that it is in: ...
    """
    together = scores(rows).clone()
    if not torch.equal(together.nan_to_num(), scores(rows).nan_to_num()):
        raise ModelError(
            "the model answers differently on the same input: switch off dropout and other randomness (model.eval())"
        )
    for batches in _arrangements(len(rows)):
        again = torch.empty_like(together)
        for places in batches:
            try:
                again[places] = scores(rows[places])
            except CertifyError:
                raise
            except Exception as problem:  # somebody else's code may raise anything
                raise ModelError(
                    f"the model takes a batch of {len(rows)} inputs but not of {len(places)}: {one_line(problem)}; "
                    "let it take any number of inputs"
                ) from problem
        _refuse_unlike(together, again)


def check_size(scores: Callable[[Tensor], Tensor], x: Tensor, size: int) -> None:
    """Refuse a model that answers otherwise in batches of ``size`` inputs, in which a run is about to ask it.

    Args:
        scores: scores (B, K) of a batch (B, ...).
        x: inputs (B, ...); a few of them are repeated to fill the batch.
        size: inputs in a batch.

    Raises:
        ModelError: if the answers differ from those in a batch of a few, or the model takes no such batch.
    """
    places = torch.arange(size, device=x.device) % min(TAKEN, len(x))
    few = scores(x[:TAKEN]).clone()
    try:
        again = scores(x[places])
    except (CertifyError, MemoryError):
        raise
    except Exception as problem:  # somebody else's code may raise anything
        if out_of_memory(problem):
            raise
        raise ModelError(
            f"the model takes no batch of {size} inputs: {one_line(problem)}; give batch_size"
        ) from problem
    _refuse_unlike(few[places.to(few.device)], again)


def _refuse_unlike(together: Tensor, again: Tensor) -> None:
    if not _alike(together.double(), again.double()):
        raise ModelError(
            "the model's answer about an input depends on the batch that it is in: let it treat each row by itself, in "
            "float32, with no statistics of the batch (BatchNorm without running ones) and no look at its size"
        )


def _arrangements(count: int) -> Iterator[list[list[int]]]:
    places = list(range(count))
    yield [places[::-1]]
    yield [places[: count // 2], places[count // 2 :]]
    yield [[place] for place in places]


def _alike(scores: Tensor, again: Tensor) -> bool:
    if scores.shape[1] == 1:  # a number has its distance from 0
        scores, again = (torch.cat([one, torch.zeros_like(one)], dim=1) for one in (scores, again))
    finite = torch.isfinite(scores)
    if not torch.equal(torch.where(finite, 0.0, scores).nan_to_num(), torch.where(finite, 0.0, again).nan_to_num()):
        return False
    scores, again = (torch.where(finite, one, -torch.inf) for one in (scores, again))
    top = scores.argmax(dim=1, keepdim=True)
    below, now_below = (torch.where(finite, one - one.gather(1, top), 0.0) for one in (scores, again))
    best, second = scores.topk(2, dim=1).values.unbind(dim=1)
    margins = (best - second).nan_to_num(0.0, 0.0)
    numbers = torch.where(finite, scores, 0.0).abs() + scores.gather(1, top).nan_to_num().abs()
    allowed = OWN * below.abs() + TYPICAL * margins.median() + ROUNDED * numbers
    return bool(((below - now_below).abs() <= allowed).all())
