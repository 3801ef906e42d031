"""What certifiers that prove things about the network itself share: its graph, its scores, and their certificates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from certify.bounds.graph import Graph
from certify.bounds.output import network_graph
from certify.certifiers.outcome import settle
from certify.core.certificate import Certificate, Evidence
from certify.core.guarantee import Guarantee
from certify.core.threat import ThreatModel
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import ModelError
from certify.models.classifier import INVALID, Classifier

__all__ = ["Proof", "Prove", "certificates", "graph_of"]

_graphs: WeakKeyDictionary[Classifier, dict[tuple[int, ...], Graph]] = WeakKeyDictionary()
"""Graphs already imported: a classifier's module never changes."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven for one input.

    Args:
        radius: as far as its class was proven constant; None for nowhere.
        evidence: what that was derived from.
        evaluations: bound evaluations spent.
        reason: why there is no radius, where the verdict's own words do not say enough.
    """

    radius: float | None
    evidence: Evidence
    evaluations: int
    reason: str = ""


Prove = Callable[[Tensor, Tensor], Sequence[Proof]]
"""Inputs (B, ...) and the class of each that should stay on top, (B,) int64, to one proof each."""


def graph_of(classifier: Classifier, shape: tuple[int, ...]) -> Graph:
    """The graph of a classifier's network for inputs of one shape, imported once.

    Raises:
        ModelError, UnsupportedOperator: for a classifier that wraps a function, or an operator without a rule.
    """
    known = _graphs.setdefault(classifier, {})
    if shape not in known:
        known[shape] = network_graph(classifier, torch.zeros(1, *shape, device=classifier.device))
    return known[shape]


def certificates(
    classifier: Classifier, graph: Graph, batch: Batch, threat: ThreatModel, method: str, prove: Prove
) -> list[Certificate]:
    """One certificate an input. An input whose class is not its label is settled without a proof.

    Raises:
        ModelError: if the graph does not share the classifier's scores on these inputs.
    """
    begin = time.perf_counter()
    scores = _same_scores(classifier, graph, batch)
    classes = torch.where(torch.isfinite(scores).all(dim=1), scores.argmax(dim=1), INVALID).cpu()
    wanted = classes >= 0
    if batch.labels is not None:
        wanted &= classes == torch.tensor(batch.labels)
    proofs: dict[int, Proof] = {}
    [rows] = wanted.nonzero(as_tuple=True)
    if len(rows) > 0:
        x, stay = (tensor[rows].to(classifier.device) for tensor in (batch.x, classes))
        proofs = dict(zip(rows.tolist(), prove(x, stay), strict=True))
    passes = [1 + (proofs[row].evaluations if row in proofs else 0) for row in range(len(batch))]
    seconds = (time.perf_counter() - begin) / sum(passes)
    found = []
    for row, prediction in enumerate(classes.tolist()):
        proof = proofs.get(row)
        if proof is not None:
            verdict, radius, reason = settle(proof.radius, threat, Verdict.UNKNOWN)
            reason = proof.reason or reason
        elif prediction < 0:
            verdict, radius, reason = Verdict.UNKNOWN, None, "the model's scores contain NaN or infinity"
        else:
            verdict, radius, reason = Verdict.FALSIFIED, None, "the input itself is misclassified"
        found.append(
            Certificate(
                index=batch.index[row],
                input_digest=batch.digests[row],
                label=None if batch.labels is None else batch.labels[row],
                prediction=None if prediction < 0 else prediction,
                verdict=verdict,
                radius=radius,
                threat=threat,
                guarantee=Guarantee.deterministic(),
                method=method,
                evidence=None if proof is None else proof.evidence,
                model_digest=classifier.digest,
                seconds=seconds * passes[row],
                forward_passes=passes[row],
                reason=reason,
            )
        )
    return found


def _same_scores(classifier: Classifier, graph: Graph, batch: Batch) -> Tensor:
    """The classifier's scores, which the imported graph must share on the very inputs that are certified.

    Raises:
        ModelError: if it does not, because the module was changed or treats these inputs in another way.
    """
    with torch.no_grad():
        scores = classifier.scores(batch.x)
        found = graph.forward(batch.x.to(classifier.device, graph.dtype))
    finite = torch.isfinite(scores)
    off = (found.reshape(scores.shape) - scores).abs()
    if bool((off > 1e-2 * (scores.abs().amax(dim=1, keepdim=True) + 1))[finite].any()):
        raise ModelError("the network no longer computes what was imported: wrap the module in a new Classifier")
    return scores
