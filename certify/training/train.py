"""Training a model into a folder: begun, interrupted, resumed, and kept with all that says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from certify.core.alone import alone_in
from certify.core.whole import write_whole, writing
from certify.data.dataset import Dataset, seeded_generator
from certify.device import available, on_one_thread
from certify.errors import BadInput, ModelError, one_line
from certify.models.architecture import build
from certify.models.folder import save_folder
from certify.models.networks.base import NETWORKS
from certify.named import call_named, is_named
from certify.progress.observer import Observer, watching
from certify.registry import make
from certify.training.checkpoint import differing, resume, save
from certify.training.folds import in_fold, rows_of
from certify.training.loop import State, begin, epochs
from certify.training.recipe import RECIPES, Recipe
from certify.training.record import CHECKPOINT, RECORD, asked_of
from certify.training.seen import save_seen

__all__ = ["Training", "train"]

Told = Callable[[int, str], None]
"""Called with the number of epochs just finished and a note."""


def train(
    recipe: str | Recipe,
    data: Dataset,
    out: str | Path,
    *,
    network: str | nn.Module | None = None,
    network_option: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: float = 0.0,
    patience: int | None = None,
    device: str = "cpu",
    progress: bool | Observer = False,
    **settings: Any,
) -> Path:
    """Train a model that can be certified, into a folder that :func:`certify.load_model` reads.

    The same call again resumes a training that was interrupted, at the last epoch that was finished, and ends in the
    same model as if it had not been. A training that is done is not done again.

    Args:
        recipe: a name, such as ``"noise"``, with its ``settings``; or a recipe that was made from them.
        data: what to train on. Certify on other inputs than these.
        out: the folder.
        network: the name of an architecture, such as ``"small"`` or ``"cnn7"``; ``"package.module:function"`` for a
            function of yours that returns an ``nn.Module``; or a module, which is trained in place. Modules of your own
            are no plain data: the folder keeps their weights, for ``package.module:function@OUT/model.safetensors``.
            None for the one that suits the recipe, mostly ``"small"``.
        network_option: settings of the architecture, such as ``{"width": 32}``.
        seed: decides initial weights, order and noise.
        validation: share of the data that is held out, at random, the same inputs for every seed. Of the epochs whose
            objective is the final one, the best on these inputs becomes the model: under noise, attack or proof, as the
            recipe says. 0 trains on all data, and the last epoch becomes the model.
        patience: with a validation part: epochs without a better one after which training ends.
        device: ``"cpu"`` or ``"cuda"``.
        progress: True for progress with the time that is left.

    Returns:
        ``out``.

    Raises:
        BadInput: for settings that cannot be right or do not fit the data; for a folder that holds another training, or
            in which another process trains.
        ModelError: if the loss becomes NaN or infinite; the last good state is kept, and the message names it.

    >>> import certify, tempfile
    >>> data = certify.load_data("digits:train").subset(200, seed=0)
    >>> out = train("noise", data, Path(tempfile.mkdtemp()) / "net", sigma=0.25, epochs=2)
    >>> certify.load_model(str(out)).num_classes
    10
    """
    chosen = make(RECIPES, recipe, settings) if isinstance(recipe, str) else recipe
    if settings and not isinstance(recipe, str):
        raise BadInput(f"the recipe has its settings already: leave out {', '.join(settings)}")
    asked = Training(chosen, Path(out), network, dict(network_option or {}), seed, validation, patience, device)
    with watching(progress).stage(f"training ({chosen.name})", chosen.epochs, unit="epochs") as advance:
        asked.run(data, advance)
    return Path(out)


@dataclass(frozen=True)
class Training:
    """One training into a folder; see :func:`train` for what the parts mean.

    ``fold`` (i, K) leaves out the i-th of K folds of the data, counted from 0, on which the model is certified later.
    """

    recipe: Recipe
    out: Path
    network: str | nn.Module | None = None
    network_option: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    validation: float = 0.0
    patience: int | None = None
    device: str = "cpu"
    fold: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.network is None:
            object.__setattr__(self, "network", self.recipe.network)
        if not 0 <= self.validation <= 0.5:
            raise BadInput(f"validation is a share of the data, from 0 to 0.5, got {self.validation}")
        if self.patience is not None and self.patience < 1:
            raise BadInput(f"patience must be a whole number of epochs above 0, got {self.patience}")
        if self.patience is not None and not self.validation:
            raise BadInput("patience needs inputs that are held out: give a validation share, such as 0.1")

    def run(self, data: Dataset, told: Told) -> None:
        """Begin, or go on, or find that all is done."""
        dataset, held_out = self._parts(data)
        self._check_fits(dataset)
        asked = self._described(data, held_out)
        if not self._done(asked):
            with alone_in(self.out):
                if not self._done(asked):  # while another process was in there
                    self._train(asked, dataset, held_out, told)
                    return
        told(self.recipe.epochs, "done before")

    def _train(self, asked: Mapping[str, Any], dataset: Dataset, held_out: Dataset | None, told: Told) -> None:
        module = self._module(dataset)
        state = begin(self.recipe, module.to(available(self.device)), self.seed)
        began = {**asked, "torch": str(torch.__version__)}
        if self.device != "cpu":  # sums in another order
            began["device"] = self.device
        if resume(self.out, state, began):
            told(len(state.curve), "resumed")
        try:
            for epoch in epochs(self.recipe, state, dataset, held_out, self.seed, self.patience):
                save(self.out, state, began)
                kept = "" if epoch.kept is None else f"  held out {100 * epoch.kept:.1f} %"
                told(1, f"loss {epoch.loss:.3f}{kept}")
        except ModelError as problem:
            where = f"; the state after epoch {len(state.curve)} is kept in {self.out}" if state.curve else ""
            raise ModelError(f"{problem}: training diverged; lower the learning rate{where}") from problem
        if state.best is not None:
            module.load_state_dict(state.best)
        with on_one_thread():
            self.recipe.finish(module)
        self._keep(module.cpu().eval(), state, asked, dataset, held_out)

    def _parts(self, data: Dataset) -> tuple[Dataset, Dataset | None]:
        """What to train on, and what is held out."""
        rest = data if self.fold is None else rows_of(data, ~in_fold(data, *self.fold))
        if not self.validation:
            return rest, None
        count = round(self.validation * len(rest))
        if not count:
            raise BadInput(f"validation {self.validation:g} of {len(rest)} inputs holds out none: give a larger share")
        held_out = np.zeros(len(rest), dtype=bool)
        held_out[seeded_generator("validation", rest.digest).permutation(len(rest))[:count]] = True
        return rows_of(rest, ~held_out), rows_of(rest, held_out)

    def _check_fits(self, dataset: Dataset) -> None:
        if dataset.targets is not None or dataset.several:
            held = "several labels an input" if dataset.several else "the true values of a regression"
            held = "label maps" if dataset.of_pixels else held
            raise BadInput(f"recipes train classifiers, and these data hold {held}")
        if len(dataset) < self.recipe.batch_size:
            raise BadInput(
                f"{len(dataset)} inputs to train on are fewer than one batch of {self.recipe.batch_size}: lower "
                "batch_size"
            )
        counts = np.bincount(dataset.y, minlength=dataset.num_classes)
        if missing := np.flatnonzero(counts == 0).tolist():
            raise BadInput(
                f"no input has label {missing[0]}, and labels are 0 to {dataset.num_classes - 1}: number the classes "
                "from 0 without gaps, or add inputs of that class"
            )

    def _described(self, data: Dataset, held_out: Dataset | None) -> dict[str, Any]:
        """What the training is, as plain values: two trainings with equal ones end in equal models."""
        return {
            "recipe": self.recipe.name,
            "settings": asdict(self.recipe),
            "network": self.network if isinstance(self.network, str) else type(self.network).__name__,
            "network_option": {name: _text(value) for name, value in self.network_option.items()},
            "seed": self.seed,
            "data": {"name": data.name, "n": len(data), "digest": data.digest},
            "validation": {"share": self.validation, "n": 0 if held_out is None else len(held_out)},
            "patience": self.patience,
            "fold": self.fold,
            **self.recipe.pins(data),
        }

    def _done(self, asked: Mapping[str, Any]) -> bool:
        """Whether this very training ended in the folder before."""
        if self.out.exists() and not self.out.is_dir():
            raise BadInput(f"{self.out} is no folder: choose another")
        if not (self.out / RECORD).is_file():
            if (self.out / "model.json").is_file() and not (self.out / CHECKPOINT).is_file():
                raise BadInput(f"{self.out} holds a model of another origin: choose another folder")
            return False
        before = asked_of(self.out)
        if difference := differing(before, asked):
            raise BadInput(f"{self.out} holds a model that was trained otherwise: {difference}; choose another folder")
        return True

    def _module(self, dataset: Dataset) -> nn.Module:
        shape = dataset.x.shape[1:]
        if (own := self.recipe.module(dataset, self.seed)) is not None:
            if self.network != self.recipe.network or self.network_option:
                raise BadInput(f"{self.recipe.name} trains a network of its own: leave network and its options out")
            return own
        if isinstance(self.network, nn.Module):
            return self.network
        assert self.network is not None
        if given := sorted({"input_shape", "num_classes"} & self.network_option.keys()):
            raise BadInput(f"{given[0]} of a network is that of the data: leave it out")
        if not is_named(self.network):
            layers = make(
                NETWORKS,
                self.network,
                {**self.network_option, "input_shape": shape, "num_classes": dataset.num_classes},
            )
            return build(layers, self.seed)
        if self.network_option:
            raise BadInput(f"{self.network} is a function of yours, which has no options here: leave them out")
        with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global state
            torch.manual_seed(self.seed)
            module = call_named(self.network, ModelError)
        if not isinstance(module, nn.Module):
            raise ModelError(f"{self.network} returned {type(module).__name__}; it must return an nn.Module")
        return module

    def _keep(
        self, module: nn.Module, state: State, asked: Mapping[str, Any], dataset: Dataset, held_out: Dataset | None
    ) -> None:
        """Write the model and where it comes from; the checkpoint has served."""
        record = {
            "asked": asked,
            "curve": state.curve,
            "chosen_epoch": state.best_epoch or len(state.curve),
            "cost": {"cpu_seconds": round(state.seconds, 1), "torch": str(torch.__version__)},
        }
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            save_seen(self.out, dataset, held_out)
            if isinstance(self.network, str) and not is_named(self.network):
                assert isinstance(module, nn.Sequential)
                save_folder(
                    self.out,
                    module,
                    num_classes=dataset.num_classes,
                    input_box=dataset.input_box,
                    input_shape=dataset.x.shape[1:],
                    recipe=asked,
                )
            else:
                _save_weights(self.out / "model.safetensors", module)
            write_whole(self.out / RECORD, json.dumps(record, indent=2) + "\n")
            (self.out / CHECKPOINT).unlink(missing_ok=True)
        except OSError as problem:
            raise BadInput(f"cannot write a model to {self.out}: {one_line(problem)}") from problem


def _text(value: Any) -> str:
    """A setting as it is written on a command line, from where it may also come."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _save_weights(path: Path, module: nn.Module) -> None:
    from safetensors.torch import save as packed

    weights = {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}
    with writing(path) as file:
        file.write(packed(weights))
