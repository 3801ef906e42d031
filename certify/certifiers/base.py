"""What every certifier can do, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

from torch import Tensor

from certify.attacks.target import Plain, Target
from certify.core.certificate import Certificate
from certify.core.guarantee import Guarantee
from certify.core.norms import Norm
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief, round_down
from certify.core.scope import Scope, check_scope
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.models.classifier import Classifier
from certify.registry import Registry

__all__ = ["CERTIFIERS", "Certifier", "Shape", "failed", "settle"]

Shape = tuple[int, ...]
"""The shape of one input, without a batch axis."""

LOT: Final = 32
"""Inputs that go to one shard together where none of them may take minutes."""


class Certifier(Scope, ABC):
    """Turns a batch of inputs into certificates, in order, one an input.

    A certifier is a frozen dataclass of its settings, so that a run folder can record them and refuse others. The
    defaults are those of a certifier that proves something about the network itself.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def method(self) -> str:
        """The name under which certificates are stored."""

    @property
    def rows(self) -> int:
        """Inputs that are computed and stored together; a resumed run forms the same groups."""
        return 1

    @property
    def lot(self) -> int:
        """Inputs that go to one shard, and are attacked, together; 1 where each may take minutes."""
        return LOT

    def fitted(self, threat: Threat) -> Self:
        """The certifier adapted to a threat: where radii are counts, nothing lies between declared ones to search."""
        return self

    def check_scope(self, threat: Threat, property: Property) -> None:
        """Refuse a threat or a property that this certifier cannot prove.

        Raises:
            BadInput: naming those that can.
        """
        check_scope(self.method, self, CERTIFIERS, threat, property)

    @property
    def default_norm(self) -> Norm:
        """The norm that is used where none is named."""
        return "linf"

    def target(self, classifier: Classifier, threat: Threat) -> Target:
        """The model that the certificates are about, as something to attack: the network, or one made from it."""
        return Plain(classifier)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that a certificate depends on besides model and input, as plain values for JSON."""

    @abstractmethod
    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """One line for people: the method, its settings, and the limit of what it can claim."""

    @abstractmethod
    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Raise before any work if this cannot certify these inputs (B, ...), with this classifier and threat model."""

    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """Which declared radii no input can be certified at, and why, in words; empty for none."""
        return ""

    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        """The largest radius that any input could be certified at; None where nothing limits it beforehand."""
        return None

    def for_a_tenth(self) -> Self | None:
        """The same certifier at about a tenth of the price, where one of its settings is a price."""
        return None

    @abstractmethod
    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield one certificate for each input of the batch, in order."""


CERTIFIERS: Registry[Callable[..., Certifier]] = Registry("certifier", package="certify.certifiers")


def settle(radius: float | None, threat: Threat, otherwise: Verdict) -> tuple[Verdict, float | None, str]:
    """Verdict, radius and reason for a proven radius (None: nothing proven, and ``otherwise`` says why).

    Certified means certified *for this threat model*: the radius reaches the smallest declared one. Declare 0 to keep
    every proven radius. What falls short is unknown, not certified with a smaller radius that nobody asked about.

    >>> from certify import ThreatModel
    >>> settle(0.1, ThreatModel("l2", (0.25, 0.5)), Verdict.ABSTAIN)[0]
    <Verdict.UNKNOWN: 'unknown'>
    """
    if radius is None:
        return otherwise, None, ""
    if radius < threat.radii[0]:
        reason = f"proven radius {round_down(radius, 6)} is below the smallest declared radius {brief(threat.radii[0])}"
        return Verdict.UNKNOWN, None, reason
    return Verdict.CERTIFIED, radius, ""


def failed(classifier: Classifier, batch: Batch, row: int, threat: Threat, method: str, reason: str) -> Certificate:
    """The record that nothing could be computed about one input of a batch, and why: not that something is undecided.

    It has no class, no evidence and no samples, which nobody could check.
    """
    return Certificate(
        index=batch.index[row],
        input_digest=batch.digests[row],
        label=None if batch.labels is None else batch.labels[row],
        prediction=None,
        verdict=Verdict.ERROR,
        radius=None,
        threat=threat,
        guarantee=Guarantee.empirical(),
        method=method,
        evidence=None,
        model_digest=classifier.digest,
        reason=reason,
        property=classifier.property,
    )
