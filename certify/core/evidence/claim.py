"""What a bound holds for."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["CLAIMS", "Claim"]

Claim = Literal["exact", "float32"]
"""What a bound holds for: the network in exact real arithmetic, or every float32 execution of it as well."""

CLAIMS: Final[tuple[Claim, ...]] = get_args(Claim)
