"""``MODULE:FUNCTION``: an attack that is a function of a model and inputs, as CleverHans writes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from certify.attacks.base import ATTACKS, Attack
from certify.attacks.foreign import ORDERS, Foreign, Space, factory
from certify.errors import BadInput, ModelError
from certify.named import named
from certify.registry import Registry, make

__all__ = ["FunctionAttack", "attack_of", "function_attack"]

_STEP: Final = 0.25
"""A step, as a share of the radius, where the function asks for one and nobody set it."""

_GIVEN: Final = ("eps", "norm", "clip_min", "clip_max", "y", "n_classes", "targeted")
"""Parameters that are no settings: the threat and the model say them."""


@dataclass(frozen=True, slots=True)
class FunctionAttack(Foreign):
    """An attack of the form ``f(model_fn, x, ...)`` (Papernot et al. 2018), one input at a time.

    The first argument maps inputs (B, ...) to scores (B, K), with gradients where the model has any; the second is the
    input (1, ...). What else the function has by name is filled in: ``eps`` is the radius, ``norm`` the number of the
    norm, 1, 2 or infinity, ``clip_min`` and ``clip_max`` the ends of the input box, ``y`` the label (1,),
    ``n_classes`` their number, and ``eps_iter``, unless set, a quarter of the radius. It returns the moved input.

    Args:
        name, options: as of every attack of others.
        function: the function itself; None for the one that ``name`` names.
    """

    function: Callable[..., Any] | None = None

    def walk(self, space: Space) -> Tensor:
        """What the function returns."""
        function = self.function or named(self.name, ModelError)
        low, high = space.ends if space.bounded else (None, None)
        said: dict[str, Any] = {
            "eps": space.radius,
            "norm": ORDERS[space.norm],
            "clip_min": low,
            "clip_max": high,
            "y": space.label,
            "n_classes": space.num_classes,
            "targeted": False,
            "eps_iter": _STEP * space.radius,
        }
        known = list(inspect.signature(function).parameters)[2:]
        settings = {name: value for name, value in said.items() if name in known} | dict(self.options)
        return function(space, space.origin, **settings)


def function_attack(function: Callable[..., Any], name: str | None = None) -> Callable[..., Attack]:
    """What makes an attack of a function from its settings.

    Args:
        function: of a model and an input, then whatever it has.
        name: where it is found again, ``package.module:function``; None keeps the function itself.

    Raises:
        BadInput: for a function of fewer than two arguments.
    """
    called = name or named_as(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as problem:
        raise BadInput(f"{called} does not say what its arguments are: wrap it in a function that does") from problem
    first = [one for one in parameters[:2] if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(first) < 2:
        raise BadInput(
            f"{called} is no attack: it must take a model and inputs first, such as f(model_fn, x, eps, norm)"
        )
    step = tuple(one.name for one in parameters if one.name == "eps_iter" and one.default is one.empty)

    def of(called: str, options: Mapping[str, Any]) -> Attack:
        return FunctionAttack(called, options, function if name is None else None)

    made = factory(of, called, function, (*(one.name for one in first), *_GIVEN))
    signature = inspect.signature(made)
    optional = [one.replace(default=None) if one.name in step else one for one in signature.parameters.values()]
    made.__signature__ = signature.replace(parameters=optional)  # type: ignore[attr-defined]
    return made


def attack_of(attack: str | Callable[..., Any], settings: Mapping[str, Any]) -> Attack:
    """The attack of a name, or of a function, with these settings.

    Raises:
        BadInput: for an unknown name or setting, a setting that is missing, or a function that is no attack.

    >>> attack_of("pgd", {"steps": 10}).name
    'pgd'
    """
    if isinstance(attack, str):
        return make(ATTACKS, attack, settings)
    if not callable(attack):
        raise BadInput(f"an attack is a name or a function of a model and inputs, got {attack!r:.60}")
    own: Registry[Callable[..., Attack]] = Registry("attack")
    name = named_as(attack)
    own.register(name)(function_attack(attack))
    return make(own, name, settings)


def named_as(function: Callable[..., Any]) -> str:
    """What records call a function."""
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__qualname__)}"


@ATTACKS.opens("MODULE:FUNCTION")
def named_attack(name: str) -> Callable[..., Attack]:
    """What makes an attack of the function that ``package.module:function`` names."""
    return function_attack(named(name, BadInput), name)
