"""``foolbox:CLASS``: the attacks of Foolbox (Rauber et al. 2017, 2020), examined like ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from certify.attacks.base import ATTACKS, Attack
from certify.attacks.foreign import ORDERS, Foreign, Space, apart, factory, member, refused
from certify.attacks.target import Target
from certify.core.threats.base import Threat
from certify.errors import BadInput, needs

__all__ = ["FoolboxAttack"]

_GIVEN: Final = ("self", "distance", "constraint", "tensorboard", "init_attack")
"""Parameters that are no settings: the threat says them, or they are objects of the library."""


class FoolboxAttack(Foreign):
    """An attack of Foolbox, by the name of its class.

    It runs at the radius of the threat, and its distance is the threat's norm: a class whose own distance is another
    one is refused, and the message says which. Bounds are those of the input box; where features have boxes of their
    own, the hull of all, and the driver projects into the box itself. An attack that walks from a first example and
    found none has found nothing.
    """

    __slots__ = ()
    library = "foolbox"

    def check(self, target: Target, threat: Threat) -> None:
        """Refuse settings that the class does not take, or a distance that is not the threat's."""
        attack = self._attack(_class_of(self.name), threat.norm)
        order = getattr(getattr(attack, "distance", None), "p", None)
        if order is not None and order != ORDERS[threat.norm]:
            own = next((norm for norm, number in ORDERS.items() if number == order), f"l{order}")
            raise BadInput(
                f"{self.name} searches in {own}, and the threat is in {threat.norm}: use the attack of that name for "
                f"{threat.norm}, or radii in {own}"
            )

    def walk(self, space: Space) -> Tensor:
        """What the library returns within the radius, for the criterion that the class is another one."""
        from foolbox import PyTorchModel
        from foolbox.criteria import Misclassification

        model = PyTorchModel(space, bounds=space.ends, device=space.origin.device)
        attack = self._attack(_class_of(self.name), space.norm)
        try:
            _, clipped, _ = attack(model, space.origin, Misclassification(space.label), epsilons=space.radius)
        except ValueError as problem:
            if "init_attack failed" in str(problem):
                return space.origin
            raise
        return clipped

    def _attack(self, maker: Callable[..., Any], norm: str) -> Any:
        from foolbox import distances

        known = inspect.signature(maker).parameters
        said = {"distance": getattr(distances, norm), "constraint": norm}
        try:
            return maker(**{name: value for name, value in said.items() if name in known}, **self.options)
        except (AssertionError, TypeError, ValueError) as problem:
            raise refused(self.name, problem) from problem


def _class_of(name: str) -> Callable[..., Any]:
    """The class of the library that ``foolbox:CLASS`` names.

    Raises:
        BadInput: for none; the nearest is named.
        MissingExtra: without the library.
    """
    with needs("foolbox", "foolbox", f"the attack {name}"), apart("import"):
        import foolbox.attacks as library
        from foolbox.attacks.base import Attack as Base
    return member(name, library, Base)


@ATTACKS.opens("foolbox:CLASS")
def foolbox_attack(name: str) -> Callable[..., Attack]:
    """What makes ``foolbox:CLASS`` from the settings of that class."""
    return factory(FoolboxAttack, name, _class_of(name), _GIVEN)
