"""A transform that is a function of yours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from certify.core.threats.base import THREATS
from certify.core.threats.transform import Frame, Parameter, Transform
from certify.core.values import number, whole
from certify.errors import BadInput
from certify.named import is_named, named

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Own"]

MOST: Final = 64
"""Strengths of one function: a record that names more must not fill the memory of whoever reads it."""


@THREATS.register("own")
@dataclass(frozen=True, slots=True)
class Own(Transform):
    """An adversary who chooses the strengths of your own function of inputs (B, ...) and strengths (B, 1, ...).

    It is traced by torch like a network, so it may use what docs/operators.md lists, with constants as tensors that
    exist before it is called; at strength 0 it must return the input. What a record names is never run: a certificate
    is checked where the function is given again.

    Args:
        radii: largest strengths, ascending.
        function: ``package.module:function``, or the function itself.
        strengths: how many the function takes.
        limit: the largest strength that makes sense.
        input_box: not stated here; it is that of the classifier.
        units: what strengths count.

    Raises:
        BadInput: for something that names no function, or no positive limit.

    >>> def tinted(x, share):
    ...     return x + share * (1 - x) * x
    >>> Own((0.1,), tinted).change(0.1).split(" (")[0]
    'own'
    """

    kind: ClassVar[str] = "own"
    radii: tuple[float, ...]
    function: Any = ""
    strengths: int = 1
    limit: float = 1.0
    input_box: None = None
    units: str = "of its strength"
    call: Any = field(default=None, compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        given = self.function
        if callable(given):
            name = f"{getattr(given, '__module__', '?')}:{getattr(given, '__qualname__', type(given).__name__)}"
            object.__setattr__(self, "call", given)
            object.__setattr__(self, "function", name)
        elif isinstance(given, str) and is_named(given) and not isinstance(given, _Recorded) and self.call is None:
            object.__setattr__(self, "call", named(given, BadInput))
        elif not isinstance(given, str) or not given:
            raise BadInput(f"function must be package.module:function, or the function itself, got {given!r:.60}")
        object.__setattr__(self, "limit", number("limit", self.limit))
        if not 1 <= whole("strengths", self.strengths) <= MOST or not 0 < self.limit < math.inf:
            given = f"got {self.strengths} and {self.limit}"
            raise BadInput(f"own needs 1 to {MOST} strengths and a positive limit, {given}")
        Transform.__post_init__(self)

    @property
    def parameters(self) -> tuple[Parameter, ...]:  # type: ignore[override]
        """As many as it takes, each within the limit."""
        return tuple(Parameter(f"strength {place}", -self.limit, self.limit) for place in range(self.strengths))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The function by its name, and its strengths."""
        return {"function": self.function, "strengths": self.strengths, "limit": self.limit}

    @property
    def unadditive(self) -> str:
        """Nobody knows."""
        return f"nobody knows that {self.function} by a and then by b is {self.function} by a + b"

    @property
    def may(self) -> str:
        """What may happen to the input."""
        return f"apply {self.function}"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Own:
        """Inverse of :meth:`to_dict`, without the function: reading a record never runs code."""
        chosen = {name: value for name, value in fields.items() if name != "threat"}
        return cls(**chosen | {"radii": tuple(chosen["radii"]), "function": _Recorded(chosen["function"])})

    def apply(self, x: Tensor, strengths: tuple[Tensor, ...], frame: Frame) -> Tensor:
        """What the function makes of it.

        Raises:
            BadInput: for a threat that was read from a record.
        """
        if self.call is None:
            raise BadInput(
                f"a record names the function {self.function}, which only you may let run: give the certificate a "
                "threat that you made with it, in Python"
            )
        changed: Tensor = self.call(x, *strengths)
        return changed


class _Recorded(str):
    """The name of a function as a record gives it: it stays one in every copy, so that no copy runs it."""
