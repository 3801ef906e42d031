"""``art:CLASS``: evasion attacks of the Adversarial Robustness Toolbox (Nicolae et al. 2018), examined like ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from certify.attacks.base import ATTACKS, Attack
from certify.attacks.foreign import ORDERS, Foreign, Space, apart, factory, member, refused, share_of
from certify.attacks.target import Target
from certify.core.threats.base import Threat
from certify.errors import ModelError, needs

__all__ = ["ArtAttack"]

_GIVEN: Final = (
    "self",
    "estimator",
    "classifier",
    "eps",
    "norm",
    "targeted",
    "batch_size",
    "verbose",
    "summary_writer",
)
"""Parameters that are no settings: the model, the threat, and what the search for any other class implies."""

_MODEL: Final = ("estimator", "classifier")


class ArtAttack(Foreign):
    """An evasion attack of the Adversarial Robustness Toolbox, by the name of its class.

    ``eps`` is the radius, ``norm`` the threat's, and a step ``eps_step`` that is not set keeps its share of the radius
    in the library's defaults. An attack that knows no radius, such as DeepFool, searches as it does, and what it finds
    counts where it lies within the radius after projection. Modules are shown with their gradients; functions by their
    scores, and attacks that need gradients refuse those.
    """

    __slots__ = ()
    library = "adversarial-robustness-toolbox"

    def check(self, target: Target, threat: Threat) -> None:
        """Refuse a model without the gradients that the attack's class asks for."""
        asked = getattr(_class_of(self.name), "_estimator_requirements", None) or ()
        with apart("import"):
            from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier

        kind = PyTorchClassifier if target.differentiable else BlackBoxClassifier
        for one in asked:
            options = one if isinstance(one, tuple) else (one,)
            if not any(option in kind.__mro__ for option in options):
                named = " or ".join(str(getattr(option, "__name__", option)) for option in options)
                why = "a plain function has no gradients" if not target.differentiable else "a module is no such model"
                raise ModelError(f"{self.name} asks for a model that is a {named}, and {why}: use another attack")

    def walk(self, space: Space) -> Tensor:
        """What the library's ``generate`` returns for the input and its class."""
        maker = _class_of(self.name)
        attack = self._attack(maker, space)
        labels = np.eye(space.num_classes, dtype=np.float32)[space.label.cpu().numpy()]
        # Those without targets take classes to reach instead of classes to leave, and draw them where none are given.
        towards = {"y": labels} if "targeted" in inspect.signature(maker).parameters else {}
        return torch.from_numpy(np.asarray(attack.generate(x=space.origin.cpu().numpy(), **towards), dtype=np.float32))

    def _attack(self, maker: Callable[..., Any], space: Space) -> Any:
        known = inspect.signature(maker).parameters
        said: dict[str, Any] = {
            **dict.fromkeys(_MODEL, _estimator(space)),
            "eps": space.radius,
            "norm": ORDERS[space.norm],
            "targeted": False,
            "batch_size": 1,
            "verbose": False,
        }
        if (share := share_of(maker, "eps_step", "eps")) is not None:
            said["eps_step"] = share * space.radius
        settings = {name: value for name, value in said.items() if name in known} | dict(self.options)
        try:
            return maker(**settings)
        except (TypeError, ValueError) as problem:
            raise refused(self.name, problem) from problem


def _estimator(space: Space) -> Any:
    """The model as the library takes it: with gradients where it has any, otherwise as a function of arrays."""
    from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier

    shape = tuple(space.origin.shape[1:])
    # Some attacks know one pair of numbers alone, so arrays are for features whose boxes differ.
    boxes = (space.lower, space.upper)
    same = all(bool((end == end.flatten()[0]).all()) for end in boxes)
    ends = space.ends if same else tuple(end[0].cpu().numpy().astype(np.float32) for end in boxes)
    device = space.origin.device
    if not space.search.target.differentiable:

        def scores(x: Any) -> Any:
            with torch.no_grad():
                return space(torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device)).cpu().numpy()

        return BlackBoxClassifier(scores, shape, space.num_classes, clip_values=ends)
    return PyTorchClassifier(
        model=space,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=space.num_classes,
        clip_values=ends,
        device_type="cpu" if device.type == "cpu" else "gpu",
    )


def _class_of(name: str) -> Callable[..., Any]:
    """The class of the library that ``art:CLASS`` names.

    Raises:
        BadInput: for none; the nearest is named.
        MissingExtra: without the library.
    """
    with needs("adversarial-robustness-toolbox", "blackbox", f"the attack {name}"), apart("import"):
        import art.attacks.evasion as library
        from art.attacks import EvasionAttack
    return member(name, library, EvasionAttack)


@ATTACKS.opens("art:CLASS")
def art_attack(name: str) -> Callable[..., Attack]:
    """What makes ``art:CLASS`` from the settings of that class."""
    return factory(ArtAttack, name, _class_of(name), _GIVEN)
