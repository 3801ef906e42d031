"""Forms of models: what a wrapper of torch's holds, and which of the things that a model returns are its scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from certify.errors import BadInput, ModelError
from certify.models.overrides import hooks

__all__ = ["Above", "Output", "described", "in_train_mode", "unwrapped", "without_wrappers"]


def unwrapped(model: Any) -> Any:
    """The model that torch.compile, DataParallel or an exported program wraps; anything else as it is.

    What torch.compile wraps gives the same answers, and is not compiled again for every size of a batch.

    Raises:
        ModelError: for a wrapper with a hook, which would be lost.

    >>> unwrapped(nn.DataParallel(nn.ReLU()))
    ReLU()
    """
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    inner = None
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    elif callable(model):
        inner = getattr(model, "_orig_mod" if isinstance(model, nn.Module) else "_torchdynamo_orig_callable", None)
    if inner is None:
        return model
    if isinstance(model, nn.Module) and any(hooks(model)):
        raise ModelError(f"a hook is registered on {type(model).__name__} around the model; register it on the model")
    return unwrapped(inner)


def without_wrappers(module: nn.Module) -> nn.Module:
    """The same module with wrappers removed inside of it as well, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if (inner := unwrapped(child)) is not child:
                setattr(parent, name, inner)
    return module


def in_train_mode(module: nn.Module) -> str | None:
    """The name of the first part that is in train mode; None for none.

    Exported programs are left out, and sequences around them: their mode is that of what they were traced from,
    whatever they say, and torch refuses to call ``eval()`` there.
    """
    exported = [f"{name}." for name, one in module.named_modules() if _exported(one)]
    for name, child in module.named_modules():
        inside = any(f"{name}.".startswith(one) or one == "." for one in exported)
        around = type(child) is nn.Sequential and any(map(_exported, child.modules()))
        if child.training and not inside and not around:
            return name
    return None


def _exported(module: nn.Module) -> bool:
    return isinstance(module, torch.fx.GraphModule) and "eval" in vars(module)


def described(answer: object) -> str:
    """What a model returned that is no tensor, and what to do about it."""
    if isinstance(answer, Mapping) and answer:
        names = ", ".join(repr(name) for name in list(answer)[:4])
        chosen = "logits" if "logits" in answer else next(iter(answer))
        return f"a {type(answer).__name__} with {names}: say which are the scores, Classifier(..., output={chosen!r})"
    if isinstance(answer, tuple | list) and any(isinstance(one, Tensor) for one in answer):
        return f"a {type(answer).__name__} of {len(answer)}: say which are the scores, Classifier(..., output=0)"
    held = [name for name, one in getattr(answer, "__dict__", {}).items() if isinstance(one, Tensor)]
    if held:
        chosen = "logits" if "logits" in held else held[0]
        return f"{type(answer).__name__}: say which attribute holds the scores, Classifier(..., output={chosen!r})"
    return type(answer).__name__


class Output(nn.Module):
    """One of the things that a model returns.

    Args:
        model: a module, or a function of a batch.
        output: the key of a mapping, the name of an attribute, or the place in a tuple.

    Raises:
        BadInput: for an output that is neither text nor a number.

    >>> Output(lambda x: {"logits": 2 * x, "loss": None}, "logits")(torch.ones(1, 2))
    tensor([[2., 2.]])
    """

    def __init__(self, model: Callable[[Tensor], Any], output: str | int) -> None:
        super().__init__()
        self.training = False
        if isinstance(output, bool) or not isinstance(output, str | int):
            raise BadInput(f"output must be a key, the name of an attribute or a place in a tuple, got {output!r:.60}")
        self.model, self.output = model, output

    def forward(self, x: Tensor) -> Any:
        """Whatever stands there.

        Raises:
            ModelError: if nothing does.
        """
        answer, output = self.model(x), self.output
        if isinstance(answer, Mapping) and output in answer:
            return answer[output]
        if isinstance(output, str):
            if not isinstance(answer, Tensor | Mapping) and hasattr(answer, output):
                return getattr(answer, output)
        elif isinstance(answer, tuple | list) and -len(answer) <= output < len(answer):
            return answer[output]
        what = "one tensor: leave output out" if isinstance(answer, Tensor) else described(answer)
        raise ModelError(f"the model returned nothing at output={output!r}, but {what}")


class Above(nn.Module):
    """Scores (B, 2) from one number for each input, (B,) or (B, 1): class 1 where it is above a threshold.

    Args:
        model: a module, or a function of a batch.
        threshold: 0.0 for a logit, 0.5 for a probability.

    >>> Above(nn.Flatten(), 0.5)(torch.tensor([[0.25], [0.75]])).argmax(dim=1)
    tensor([0, 1])
    """

    def __init__(self, model: Callable[[Tensor], Any], threshold: float) -> None:
        super().__init__()
        self.training = False
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
            raise BadInput(f"threshold must be a finite number, got {threshold!r:.60}")
        self.model, self.threshold = model, float(threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Twice the distance from the threshold lies between the two.

        Raises:
            ModelError: if there is not one number for each input.
        """
        number = self.model(x)
        if not isinstance(number, Tensor) or number.dim() == 0 or number.shape[1:] not in ((), (1,)):
            what = f"shape {tuple(number.shape)}" if isinstance(number, Tensor) else described(number)
            raise ModelError(f"a threshold is for one number an input, (B,) or (B, 1); the model returned {what}")
        column = number.unsqueeze(1) if number.dim() == 1 else number
        return torch.cat([self.threshold - column, column - self.threshold], dim=1)
