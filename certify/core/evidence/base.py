"""What every kind of evidence says of itself, and the registry of the kinds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, get_args

from certify.core.schema import read
from certify.registry import Registry

if TYPE_CHECKING:
    from certify.core.certificate import Certificate
    from certify.core.finding import Finding

__all__ = ["CLAIMS", "EVIDENCE", "Claim", "Evidence", "kinds_of"]

Claim = Literal["exact", "float32"]
"""What a bound holds for: the network in exact real arithmetic, or every float32 execution of it as well."""

CLAIMS: Final[tuple[Claim, ...]] = get_args(Claim)


class Evidence:
    """What a claim was derived from: a frozen dataclass of plain values, with ``kind`` as its last field.

    A new kind is one file here, registered in :data:`EVIDENCE`, and one derivation registered in ``certify.checker``.
    Records, tables, pages and checks ask it what is written here and nothing else. The defaults are those of a proof
    about the network itself in exact arithmetic.
    """

    __slots__ = ()

    guarantee: ClassVar[Literal["deterministic", "probabilistic"]] = "deterministic"
    """The kind of guarantee that a claim made from it has."""

    methods: ClassVar[tuple[str, ...] | None] = None
    """The certifiers that leave it behind; None where the evidence names its method by itself."""

    searched: ClassVar[bool] = False
    """Whether it may hold an adversarial example that a search found on its way."""

    published: ClassVar[bool] = False
    """Whether the claim was read from somebody's log, and nothing can derive it again."""

    @property
    def kind(self) -> str:
        """The registered name, which records keep."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Inverse of ``dataclasses.asdict`` after a trip through JSON.

        Raises:
            BadInput: for a field that is missing, unknown, of another type or out of its range.
        """
        return read(cls, fields)

    def by(self, certificate: Certificate) -> bool:
        """Whether the certifier that a certificate names leaves this evidence behind."""
        return self.kind in kinds_of(certificate.method)

    def fault(self, certificate: Certificate) -> str:
        """Why the evidence contradicts a claim on its face, in words; empty where it does not."""
        raise NotImplementedError

    def finding(self, certificate: Certificate) -> Finding | None:
        """What a search found on its way, as the attack that it is as well; None where nothing was searched."""
        return None

    @property
    def subject(self) -> tuple[object, ...]:
        """What a claim is about, as far as a table's words depend on it: claims of one kind share it."""
        return self.kind, self.about

    @property
    def executions(self) -> bool:
        """Whether a proof covers every float32 execution of the network, besides exact real arithmetic."""
        return False

    @property
    def proven_of(self) -> str:
        """What a proof is about, in words."""
        return "the model in exact real arithmetic"

    @property
    def smoothed(self) -> Mapping[str, Any] | None:
        """The noise law of the smoothed model that the claim is about: its name as ``noise``, and what else makes it.

        None for the network itself.
        """
        return None

    @property
    def defence(self) -> Mapping[str, Any] | None:
        """Settings of the defence through which the model answers, of :mod:`certify.models.defences`; None for none.

        Findings of attacks on the defended model keep the same under ``defence``.
        """
        return None

    @property
    def about(self) -> str:
        """What a proof about a defended model is about, in words; empty for the network itself."""
        return ""

    @property
    def sampling(self) -> tuple[object, ...] | None:
        """What makes a smoothed model and how it was sampled: one table has one of it. None for proofs."""
        return None

    @property
    def sampling_in_words(self) -> str:
        """The same for people; empty for proofs."""
        return ""

    @property
    def parts(self) -> tuple[str, ...]:
        """What a bibliography looks up besides the certifier, as ``family:member``."""
        return ()

    @property
    def stops_early(self) -> bool:
        """Whether sampling stopped when the declared radii were decided, so that at others less may be shown."""
        return False

    @property
    def of_label(self) -> bool:
        """Whether the claim depends on the input's label, so that copies with two labels are two claims."""
        return True

    @property
    def n_most(self) -> int | None:
        """The most samples that an input could have taken; None where nothing was sampled."""
        return None

    @property
    def features(self) -> int | None:
        """How many features an input has, where the evidence says so."""
        return None

    @property
    def p_lower(self) -> float:
        """Lower confidence bound on the probability of the class; NaN where there is none."""
        return math.nan

    @property
    def trusted(self) -> str:
        """What the claim takes on trust about its draws, in words; empty for nothing."""
        return ""

    def sure(self, radius: float) -> float:
        """How far of a stated radius the evidence reaches: a printed one may have been rounded up."""
        return radius


EVIDENCE: Registry[type[Evidence]] = Registry("evidence", package="certify.core.evidence", named="kind")


def kinds_of(method: str) -> frozenset[str]:
    """The kinds of evidence that a certifier may leave behind: those that name it, or those that name none.

    >>> sorted(kinds_of("complete")), sorted(kinds_of("crown"))
    (['complete'], ['bounds'])
    """
    own = frozenset(name for name, kind in EVIDENCE.items() if kind.methods is not None and method in kind.methods)
    return own or frozenset(name for name, kind in EVIDENCE.items() if kind.methods is None)
