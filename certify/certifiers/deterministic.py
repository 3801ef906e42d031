"""What certifiers that prove things about the network itself share: its graph, its scores, and their certificates."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from certify.bounds.agreement import agrees
from certify.bounds.graph import Graph
from certify.bounds.output import network_graph
from certify.bounds.radii.margins import claimable
from certify.certifiers.base import failed, settle
from certify.core.certificate import Certificate, Evidence
from certify.core.evidence import Claim
from certify.core.guarantee import Guarantee
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import ModelError
from certify.models.classifier import Classifier
from certify.models.digest import all_tensors, tensor_bytes, weights_digest
from certify.models.overrides import FUNCTIONS, hooks

__all__ = ["ProofAttempt", "Prove", "certificates", "check_network", "graph_of"]

_graphs: WeakKeyDictionary[Classifier, dict[tuple[int, ...], tuple[Graph, dict[str, str]]]] = WeakKeyDictionary()
"""Imported graphs by input shape, each with the contents of its module at that time."""

NO_ANSWER = "rounding leaves open whether the property holds at the input itself"

NO_SCORES = "the model's scores contain NaN or infinity"

CHANGED = "the network no longer computes what was imported: wrap the module in a new Classifier"


@dataclass(frozen=True, slots=True)
class ProofAttempt:
    """What came of trying to prove one input.

    Args:
        radius: the radius within which its class was proven constant; None where none was proven.
        evidence: what the radius was derived from; None where nothing was derived in time.
        evaluations: bound evaluations spent.
        reason: why there is no radius, where the verdict alone does not say enough.
        otherwise: the verdict where there is no radius.
    """

    radius: float | None
    evidence: Evidence | None
    evaluations: int
    reason: str = ""
    otherwise: Verdict = Verdict.UNKNOWN


Prove = Callable[[Tensor, Tensor], Sequence[ProofAttempt]]
"""Maps inputs (B, ...), and the answer that each should keep, (B,) int64, to one attempt each."""


def graph_of(classifier: Classifier, shape: tuple[int, ...], max_memory: int | None = None) -> Graph:
    """The graph of a classifier's network for inputs of one shape, imported once.

    Raises:
        ModelError, UnsupportedOperator: for a classifier that wraps a function, or an operator without a rule; for a
            module that was changed since it was imported.
    """
    classifier = classifier.base
    known = _graphs.setdefault(classifier, {})
    if shape not in known:
        if classifier.module is not None and weights_digest(classifier.module) != classifier.weights:
            raise ModelError(CHANGED)
        graph = network_graph(classifier, torch.zeros(1, *shape, device=classifier.device), max_memory)
        known[shape] = graph, _kept(classifier, graph)
    graph, kept = known[shape]
    now = _contents(classifier)
    if any(now.get(name) != content for name, content in kept.items()):
        raise ModelError(CHANGED)
    return graph


def check_network(
    classifier: Classifier, threat: Threat, x: Tensor, claim: Claim, max_memory: int | None = None
) -> None:
    """Refuse classifiers that wrap a function, networks with an operator that has no rule, and claims out of reach.

    Raises:
        BadInput: for a scale of another number of features.
        ModelError, UnsupportedOperator: each says what works instead.
    """
    threat.check_inputs(x.cpu().numpy())
    claimable(graph_of(classifier, tuple(x.shape[1:]), max_memory), claim)


def _kept(classifier: Classifier, graph: Graph) -> dict[str, str]:
    """The contents of the classifier's module, without what a forward pass changes, such as counters and caches."""
    before = _contents(classifier)
    with torch.no_grad():
        classifier.function(torch.full((1, *graph.shape), 0.5, dtype=graph.dtype, device=classifier.device))
    after = _contents(classifier)
    return {name: content for name, content in before.items() if after.get(name) == content}


def _contents(classifier: Classifier) -> dict[str, str]:
    """Every tensor and setting of a classifier's module by name, tensors as digests of their numbers.

    Torch's version counters would be cheaper, but they miss writes through ``.data`` or numpy.
    """
    module = classifier.module
    assert module is not None
    contents = {
        f"{name}.{key}": repr(value)
        for name, child in module.named_modules()
        for key, value in vars(child).items()
        if isinstance(value, (bool, int, float, str, tuple, list))
    }
    for name, child in module.named_modules():
        own = [value for value in vars(child).values() if isinstance(value, FUNCTIONS)]
        contents[f"{name} as code"] = repr([id(code) for code in [*(hook for _, hook in hooks(child)), *own]])
    for name, tensor in all_tensors(module).items():
        numbers = hashlib.sha256(tensor_bytes(tensor)).hexdigest()
        contents[f"{name} as a tensor"] = f"{tensor.dtype} {tuple(tensor.shape)} {numbers}"
    return contents


def certificates(
    classifier: Classifier, graph: Graph, batch: Batch, threat: Threat, method: str, prove: Prove
) -> list[Certificate]:
    """One certificate an input. An input whose class is not its label is settled without a proof.

    Raises:
        ModelError: if the graph does not share the classifier's scores on these inputs.
    """
    begin = time.perf_counter()
    scores = _same_scores(classifier, graph, batch)
    labels = None if batch.labels is None else torch.tensor(batch.labels)
    finite = torch.isfinite(scores).all(dim=1).tolist()
    classes = classifier.answers_at(scores, labels).cpu()
    wanted = classes >= 0
    if labels is not None:
        wanted &= classes == labels
    proofs: dict[int, ProofAttempt] = {}
    [rows] = wanted.nonzero(as_tuple=True)
    if len(rows) > 0:
        x, stay = (tensor[rows].to(graph.device) for tensor in (batch.x, classes))
        proofs = dict(zip(rows.tolist(), prove(x, stay), strict=True))
    passes = [1 + (proofs[row].evaluations if row in proofs else 0) for row in range(len(batch))]
    seconds = (time.perf_counter() - begin) / sum(passes)
    found = []
    for row, prediction in enumerate(classes.tolist()):
        proof = proofs.get(row)
        if proof is not None:
            verdict, radius, reason = settle(proof.radius, threat, proof.otherwise)
            reason = proof.reason or reason
        elif not finite[row]:
            found.append(failed(classifier, batch, row, threat, method, NO_SCORES))
            continue
        elif prediction < 0:
            verdict, radius, reason = Verdict.UNKNOWN, None, NO_ANSWER
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
                property=classifier.property,
            )
        )
    return found


def _same_scores(classifier: Classifier, graph: Graph, batch: Batch) -> Tensor:
    """The classifier's scores, which the imported graph must share on the very inputs that are certified.

    Raises:
        ModelError: if it does not, because the module was changed or treats these inputs in another way.
    """
    x = batch.x.to(graph.device, graph.dtype)
    with torch.no_grad():
        scores = classifier.base.scores(batch.x)
    told = torch.isfinite(scores).all(dim=1).to(graph.device)  # nothing will be claimed about other rows
    answers = scores.to(graph.device)[told].reshape(-1, *graph.output.shape)
    if bool(told.any()) and not agrees(graph, x[told], lambda rows: [answers[rows]], scores.dtype):
        raise ModelError(CHANGED)
    return scores
