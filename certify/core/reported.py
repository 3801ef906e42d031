"""What somebody's attack log says: no example travels with it, so nothing in it can be examined again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from certify.core.norms import Norm, check_norm
from certify.core.rounding import brief, stated_twice, to_hex
from certify.errors import BadInput

__all__ = ["Reported", "ReportedAttack"]


@dataclass(frozen=True, slots=True)
class Reported:
    """What a log says about one attacked input. A :class:`~certify.core.finding.Finding` would bring its example.

    Args:
        index: position of the input in its data set.
        label: its class.
        prediction: the smoothed model's class at the attacked input, or None where it abstained.
        base_prediction: the base model's class there, or None.
        norm, radius: the size allowed to the attack, as stated at the import.
        source: name of the log file.
        source_digest: SHA-256 of the file, unpacked.

    Raises:
        BadInput: for a radius that is negative or not finite.

    >>> Reported(3, 1, None, 2, "l2", 0.5, "eps_0.5", "2f..").correct
    False
    """

    index: int
    label: int
    prediction: int | None
    base_prediction: int | None
    norm: Norm
    radius: float
    source: str
    source_digest: str

    def __post_init__(self) -> None:
        check_norm(self.norm)
        if not 0 <= self.radius < float("inf"):
            raise BadInput(f"the radius of an attack is a finite number >= 0, got {self.radius}")

    @property
    def correct(self) -> bool:
        """Whether the smoothed model still returned the label; abstaining does not count as that."""
        return self.prediction == self.label

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "radius_hex": to_hex(self.radius)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Reported:
        """Inverse of :meth:`to_dict`.

        Raises:
            BadInput: if a field is missing or holds something else than :meth:`to_dict` writes.
        """
        try:
            rest = {name: value for name, value in fields.items() if name != "radius_hex"}
            return cls(**{**rest, "radius": stated_twice(fields, "radius")})
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            raise BadInput(f"not a record of an attack log: {type(problem).__name__} {problem}") from problem


@dataclass(frozen=True, slots=True)
class ReportedAttack:
    """One attack log beside the certificates of the same inputs.

    Args:
        source, norm, radius: the log and the size allowed to the attack.
        rows: inputs in the log.
        empirical_accuracy: fraction of them on which the smoothed model returned the label.
        base_accuracy: the same for the base model.
        abstain_rate: fraction of them on which the smoothed model abstained.
        joined: inputs that are certified or attempted as well; only these are compared.
        certified: how many of those are certified at ``radius`` or more, with the right class.
        impossible: indices of the certified ones on which the smoothed model did not return the label. If the attack
            was on the certified model, certificate or log is wrong there, but for the chance that a certificate is
            false or that the prediction abstained.
    """

    source: str
    norm: Norm
    radius: float
    rows: int
    empirical_accuracy: float
    base_accuracy: float
    abstain_rate: float
    joined: int
    certified: int
    impossible: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "impossible": list(self.impossible)}

    def __str__(self) -> str:
        said = (
            f"{self.rows:,} inputs, accuracy {self.empirical_accuracy:.4g}, base model {self.base_accuracy:.4g}, "
            f"abstained {self.abstain_rate:.4g}"
        )
        pairs = f"{len(self.impossible)} impossible pairs of {self.certified} certified among {self.joined} joined"
        named = f": inputs {', '.join(map(str, self.impossible))}" if self.impossible else ""
        return f"{self.source} at {self.norm} {brief(self.radius)} ({said}): {pairs}{named}"
