"""Margins over Lipschitz constants as a certifier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from typing_extensions import override

from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.bounds.graph import Graph
from certify.bounds.lipschitz import Constants, check_lipschitz, lipschitz_constants, lipschitz_radii
from certify.bounds.radii.margins import property_rows
from certify.bounds.radii.radius import largest_tried
from certify.certifiers.base import CERTIFIERS, Certifier, Shape
from certify.certifiers.deterministic import ProofAttempt, certificates, graph_of
from certify.core.certificate import Certificate
from certify.core.evidence import LipschitzEvidence, PartNorm
from certify.core.norms import Norm
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS, TopClass
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.data.batch import Batch
from certify.errors import BadInput
from certify.models.classifier import Classifier

__all__ = ["Lipschitz"]

INPUTS_TOGETHER = 256
"""Inputs whose margins are bounded, and whose certificates appear, together: one forward pass each, so many fit."""

_constants: WeakKeyDictionary[Graph, Constants] = WeakKeyDictionary()
"""Constants of networks that were certified before."""


@CERTIFIERS.register("lipschitz")
@dataclass(frozen=True, slots=True)
class Lipschitz(Certifier):
    """Certify the network itself in l2: a margin of m lasts for m / L where the difference of scores is L-Lipschitz.

    The constants hold everywhere and are computed once a network, so an input costs one forward pass. They are products
    of layer norms, hence useful for networks trained to have small ones, and loose for others (Tsuzuku et al. 2018).
    Unlike :class:`~certify.certifiers.bounds.Bounds` there is no search: the radius is a quotient, it is not limited to
    a multiple of the declared radii unless scores are constant, and there is none in another norm.

    Args:
        timeout: seconds for each input, the constants included as long as they are not known; None for no limit.

    Raises:
        BadInput: for a time limit that is not above 0.

    >>> clf = Classifier(torch.nn.Linear(2, 2).eval(), num_classes=2)
    >>> batch = Batch.of([[0.9, 0.1]], None, 2)
    >>> from certify import ThreatModel
    >>> [certificate] = Lipschitz().certify(clf, batch, ThreatModel("l2", (0.0,)))
    >>> certificate.radius == certificate.evidence.radius > 0
    True
    """

    timeout: float | None = None
    method = "lipschitz"
    limits = "certifies the top class in l2 only"
    default_norm: ClassVar[Norm] = "l2"

    def __post_init__(self) -> None:
        if self.timeout is not None:
            object.__setattr__(self, "timeout", Deadline(self.timeout).seconds)

    @property
    def rows(self) -> int:
        """Inputs whose margins are bounded together; with a time limit, which is for one input, a single one."""
        return INPUTS_TOGETHER if self.timeout is None else 1

    @classmethod
    @override
    def knows(cls, norm: str) -> bool:
        return norm == "l2"

    @classmethod
    @override
    def handles(cls, property: type[Property]) -> bool:
        return property is TopClass

    def settings(self) -> dict[str, Any]:
        """The method and its arithmetic, and for how long."""
        limit = {} if self.timeout is None else {"timeout": self.timeout}
        return {"method": self.method, "dtype": "float64", **limit}

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The method, the arithmetic, and what the claim is about."""
        return (
            "margins over products of layer norms, each norm proven, float64 with rounding errors subtracted; "
            "the claim is about the network in exact real arithmetic"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse a scale, classifiers that wrap a function, and operators without a constant.

        Raises:
            BadInput, ModelError, UnsupportedOperator: each says what works instead.
        """
        if isinstance(threat, ThreatModel) and threat.scale is not None:
            raise BadInput("lipschitz certifies balls whose features count alike: use crown for a scaled norm")
        check_lipschitz(graph_of(classifier, tuple(x.shape[1:])))

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input. An input whose class is not its label is settled without any bounds."""
        self.check_scope(threat, classifier.property)  # a quotient is a radius in l2 whatever was asked for
        graph = graph_of(classifier, batch.shape)
        for begin in range(0, len(batch), self.rows):
            part, prove = batch.rows(slice(begin, begin + self.rows)), partial(self._prove, graph, threat)
            yield from certificates(classifier, graph, part, threat, self.method, prove)

    def _prove(self, graph: Graph, threat: Threat, x: Tensor, classes: Tensor) -> list[ProofAttempt]:
        try:
            return _proven(graph, threat, x, classes, NEVER if self.timeout is None else Deadline(self.timeout))
        except OutOfTime as problem:
            return [ProofAttempt(None, None, 1, str(problem))] * len(x)


def _proven(graph: Graph, threat: Threat, x: Tensor, classes: Tensor, deadline: Deadline) -> list[ProofAttempt]:
    with torch.no_grad():
        constants = _constants.get(graph)
        if constants is None:
            constants = _constants[graph] = lipschitz_constants(graph.to(torch.float64), deadline)
        C, _ = property_rows(TOP_CLASS, classes, math.prod(graph.output.shape), torch.float64, x.device)
        found = lipschitz_radii(constants, x, C, deadline)
    layers = tuple(PartNorm(name, norm.value, norm.proof) for name, norm in constants.layers.items())
    farthest = math.inf
    if threat.input_box is not None:  # no two inputs of the box are farther apart
        farthest = threat.input_box.diameter(math.prod(graph.shape))
    proofs = []
    for i, radius in enumerate(found.radius.tolist()):
        evidence = LipschitzEvidence(
            margins=tuple(found.margins[i].tolist()),
            constants=tuple(found.constants[i].tolist()),
            layers=layers,
            lipschitz=constants.output,
            slack=float(found.slack[i].max()),
            dtype="float64",
        )
        if math.isnan(radius):
            reason = "the margins at the input itself do not exceed their rounding errors"
            proofs.append(ProofAttempt(None, evidence, 1, reason))
        else:
            if radius > torch.finfo(torch.float32).max:  # the scores are constant: infinity is not a radius
                radius = largest_tried(threat, math.prod(graph.shape))
            proofs.append(ProofAttempt(min(radius, farthest), evidence, 1))
    return proofs
