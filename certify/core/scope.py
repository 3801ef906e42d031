"""Which threats and properties a certifier or an attack knows: said by its class, refused and listed in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from certify.core.properties.base import Property
from certify.core.threats.base import THREATS, Threat
from certify.errors import BadInput
from certify.registry import Registry

__all__ = ["Scope", "check_scope", "scopes"]


class Scope:
    """What a family whose members may know only some threats and properties asks the class of each."""

    __slots__ = ()

    limits: ClassVar[str] = "judges answers as a whole, and knows what threats do to single features only"
    """What the member does, where it does not know everything: to go on after its name."""

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Whether it knows threats of this :attr:`~Threat.norm`: a norm, or the kind of a threat that is no ball."""
        return norm not in THREATS or not THREATS[norm].apart

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """Whether it knows properties of this class: all but those that are about pixels."""
        return not property.by_pixel


def scopes(family: Registry[Callable[..., Any]]) -> dict[str, Any]:
    """The members of a family by name, each as the class of what it makes."""
    return {name: one.func if isinstance(one, functools.partial) else one for name, one in family.items()}


def check_scope(
    name: str, member: Scope, family: Registry[Callable[..., Any]], threat: Threat, property: Property
) -> None:
    """Refuse a threat or a property that a member does not know.

    Raises:
        BadInput: naming the members of its family that know both.
    """
    norm, kind = threat.norm, type(property)
    for known, said in ((member.knows(norm), norm), (member.handles(kind), property.kind)):
        if not known:
            others = [name for name, one in scopes(family).items() if one.knows(norm) and one.handles(kind)]
            use = f"use {', '.join(others)}" if others else f"none knows {norm} together with {property.kind}"
            raise BadInput(f"{name} {member.limits}, got {said}: {use}")
