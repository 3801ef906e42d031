"""Randomized smoothing as a certifier."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, cast

import torch
from torch import Tensor
from typing_extensions import override

from certify.attacks.smoothed import Smoothed
from certify.attacks.target import Target
from certify.certifiers.base import CERTIFIERS, Certifier, Shape, failed, settle
from certify.core.certificate import Certificate
from certify.core.evidence import AblationEvidence, Sampled, SmoothingEvidence
from certify.core.guarantee import Guarantee
from certify.core.norms import NORMS, Norm, check_norm
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import round_down
from certify.core.scope import scopes
from certify.core.threats.base import THREATS, Threat
from certify.core.threats.lp import ThreatModel
from certify.core.threats.transform import Transform
from certify.core.values import one_of, whole
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.rows import check_size
from certify.smoothing.certify import RIVAL_SHARE, ChosenBy, SmoothedRadius, certify_votes, shares_for
from certify.smoothing.noise.ablation import Ablation, Null
from certify.smoothing.noise.base import NOISES, Law, named_law
from certify.smoothing.sampler import Sampler, default_batch_size, in_batches_that_fit
from certify.smoothing.schedule import Schedule, Shares, check_count, largest_radius
from certify.smoothing.streams import BLOCK
from certify.smoothing.theorem import Theorem
from certify.stats.sequential import Looks

__all__ = ["Smoothing"]

SELECTIONS = ("draws", "label", "votes")
BOUNDS = ("one-sided", "runner-up")

INPUTS_TOGETHER = 16
"""Inputs whose votes are drawn, and whose certificates appear, together under the declared schedule."""


@CERTIFIERS.register("smoothing")
@dataclass(frozen=True, slots=True)
class Smoothing(Certifier):
    """Certify the smoothed classifier g(x) = argmax_c P[f(x + noise) = c] around each input.

    With ablation as noise, f is shown what is left of x where random features are hidden.

    Args:
        sigma: noise scale in input units; every additive noise needs it.
        n: most samples that estimate the probability of the class.
        n0: separate samples that select the class, where ``selection`` is ``"draws"``.
        alpha: probability, over the samples, that one certificate is false.
        seed: master seed of the noise.
        noise: registered noise law, or such a law itself.
        schedule: ``"declared"``: look at the votes now and then, stop when the declared radii are proven or hopeless.
            ``"fixed"``: n samples for every input, as in Cohen et al. (2019).
        selection: what names the class to certify: ``"draws"``; ``"label"``, which needs labels and no selection;
            ``"votes"``, the same votes at half of alpha, which needs ``"fixed"``. None: ``"label"`` where labels are
            given and the schedule is ``"declared"``, otherwise ``"draws"``.
        bound: ``"one-sided"`` takes 1 - p_A for the runner-up; ``"runner-up"`` bounds it by its own votes with a tenth
            of alpha, which needs ``"fixed"``.
        looks, look_alphas: a schedule of one's own for ``"declared"``: sample numbers, ending at n, and alphas that sum
            to ``alpha``. None: looks in geometric progression.
        batch_size: samples per forward pass; it does not change the noise. None: a rule by input size.
        retention, null: for ``noise="ablation"``, how many positions are kept, and what stands in place of hidden
            features, 0 if None; see :class:`~certify.smoothing.noise.ablation.Ablation`.

    Raises:
        BadInput: for settings that cannot be right, each in one line.
    """

    sigma: float | None = None
    n: int = 100_000
    n0: int = 100
    alpha: float = 0.001
    seed: int = 0
    noise: str = "gaussian"
    schedule: str = "declared"
    selection: str | None = None
    bound: str = "one-sided"
    looks: Sequence[int] | None = None
    look_alphas: Sequence[float] | None = None
    batch_size: int | None = None
    retention: int | None = None
    null: Null | str | None = None
    method = "smoothing"
    limits = "counts votes about whole inputs, and knows the norms of its noise laws and additive transforms only"

    def __post_init__(self) -> None:
        own = named_law(self.noise, sigma=self.sigma, retention=self.retention, null=self.null).settings()
        plan = self.plan()
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        if self.selection is not None:
            one_of("selection", self.selection, SELECTIONS)
        one_of("bound", self.bound, BOUNDS)
        plain = {
            **{name: tuple(value) if isinstance(value, list) else value for name, value in own.items()},
            "n": plan.n,
            "n0": check_count("n0", self.n0),
            "alpha": plan.alpha,
            "seed": whole("seed", self.seed),
            "looks": plan.looks,
            "look_alphas": plan.look_alphas,
        }
        for name, value in plain.items():  # Python's own numbers: records and settings are JSON, radii are float64
            object.__setattr__(self, name, value)
        fixed = self.schedule == "fixed"
        if self.selection == "votes" and not fixed:
            raise BadInput("selection='votes' is a theorem about one look at the votes: add schedule='fixed'")
        if self.bound == "runner-up" and not fixed:
            raise BadInput("bound='runner-up' is offered for one look at the votes: add schedule='fixed'")
        if self.bound == "runner-up" and self.selection == "votes":
            raise BadInput("bound='runner-up' needs a class named before the votes: use selection='draws' or 'label'")

    def law(self) -> Law:
        """The noise law with its settings."""
        return named_law(self.noise, sigma=self.sigma, retention=self.retention, null=self.null)

    def plan(self) -> Schedule:
        """When the votes are looked at."""
        return Schedule(self.n, self.alpha, self.schedule, self.looks, self.look_alphas)

    @property
    def rows(self) -> int:
        """One where each input fills batches by itself, so that a killed run loses a single input."""
        return 1 if self.schedule == "fixed" else INPUTS_TOGETHER

    @property
    def default_norm(self) -> Norm:
        """The first norm for which the noise has a theorem."""
        law = self.law()
        if law.norms[0] not in NORMS:
            raise BadInput(f"{law.name} noise is about {' and '.join(law.norms)}: name the threat, {law.norms[0]}")
        return check_norm(law.norms[0])

    def target(self, classifier: Classifier, threat: Threat) -> Target:
        """The smoothed classifier."""
        return Smoothed(classifier, self.law().about(threat))

    @override
    def check_scope(self, threat: Threat, property: Property) -> None:
        try:
            Certifier.check_scope(self, threat, property)
        except BadInput as problem:
            if isinstance(threat, Transform) and threat.unadditive:
                raise BadInput(f"{threat.unadditive}; {problem}") from None
            raise

    @classmethod
    def knows(cls, norm: str) -> bool:
        """What some noise law has a theorem about, and transforms that are additive."""
        if norm in THREATS and issubclass(member := THREATS[norm], Transform):
            return member.additive
        return any(norm in law.norms for law in scopes(NOISES).values())

    def settings(self) -> dict[str, Any]:
        """The settings that results depend on: no batch size, and n0 only where separate draws select the class."""
        settings = {"method": self.method, **asdict(self), "selection": self.chosen_by(())}
        for name in ("sigma", "retention", "null"):
            if settings[name] is None:
                del settings[name]
        del settings["batch_size"]
        if settings["selection"] != "draws":
            del settings["n0"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}

    def chosen_by(self, labels: Sequence[int] | None) -> ChosenBy:
        """How the class to certify is chosen.

        Raises:
            BadInput: for ``selection="label"`` without labels.
        """
        if self.selection is None:
            return "label" if labels is not None and self.schedule == "declared" else "draws"
        if self.selection == "label" and labels is None:
            raise BadInput("selection='label' needs labels: give y, or use selection='draws'")
        return cast(ChosenBy, self.selection)

    def theorem(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> Theorem:
        """The radius theorem for inputs of this shape, about a property.

        Raises:
            BadInput: for a norm without a theorem, or a per-feature scale: noise that treats all features alike proves
                no more.
        """
        law = self.law().about(threat)
        norm = law.check_norm(threat.norm)
        law = law.about(threat, shape)
        if isinstance(threat, ThreatModel) and threat.scale is not None:
            raise BadInput(
                "smoothing proves balls in which all features count alike, the threat model has a per-feature scale: "
                "use bounds, for example crown"
            )
        return Theorem(law, norm, math.prod(shape), property.places)

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The settings, and the largest radius they can certify."""
        cap = self.largest_radius(threat, shape, property)
        scale = self.law().about(threat, shape).scale
        samples = f"n={self.n:,}" if self.schedule == "fixed" else f"at most n={self.n:,}"
        return (
            f"smoothing with {self.noise} noise, {scale}, {samples}, alpha={self.alpha:g} per input, "
            f"largest certifiable radius {threat.number(cap or 0.0, round_down)}; the claim is about the SMOOTHED model"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse a norm without a theorem, inputs that the noise law excludes, and radii that n samples cannot certify.

        And a bound or a selection that says nothing about the classifier's property.

        Raises:
            BadInput: it says which n would do. With a fixed n, only if it can certify none of them: see
                :meth:`shortfall`.
            DataError: for inputs off the grid of grid noise.
        """
        property = classifier.property
        if self.bound == "runner-up" and property.sides > 1:
            raise BadInput(f"what {property.kind} keeps has no runner-up: leave bound='runner-up' out")
        if self.selection == "votes" and property.places * property.sides > 1:
            raise BadInput(f"selection='votes' is a theorem about the top class, got {property.kind}: leave it out")
        theorem = self.theorem(threat, tuple(x.shape[1:]), property)
        theorem.noise.check_inputs(x, classifier.input_box)
        self.plan().check(theorem, threat, self.shares(property))
        self.check_batches(classifier, x)

    def check_batches(self, classifier: Classifier, x: Tensor) -> None:
        """Refuse a model whose answers change in batches of the size in which its votes are counted.

        Raises:
            ModelError: if it does.
        """
        size = min(self.n, self.batch_size or default_batch_size(classifier, x))
        with torch.inference_mode():
            in_batches_that_fit(classifier, size, lambda size: check_size(classifier.base.scores, x, size))

    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """Which declared radii no input can be certified at, and why; empty for none."""
        return self.plan().shortfall(self.theorem(threat, shape, property), threat, self.shares(property))

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        theorem = self.theorem(threat, shape, property)
        return largest_radius(theorem, self.plan().looks_for(theorem, threat.radii[0]), self.shares(property))

    @override
    def for_a_tenth(self) -> Self | None:
        return None if self.looks is not None or self.n < 100 else replace(self, n=self.n // 10)

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each input; abstentions and shortfalls are certificates without a radius."""
        property = classifier.property
        theorem, chosen_by = self.theorem(threat, batch.shape, property), self.chosen_by(batch.labels)
        looks = self.plan().looks_for(theorem, threat.radii[0])
        for first in range(0, len(batch), self.rows):
            begin, chosen = time.perf_counter(), slice(first, first + self.rows)
            part = batch.rows(chosen)
            sampler = Sampler(
                classifier, part.x, part.digests, theorem.noise, seed=self.seed, batch_size=self.batch_size
            )
            results = certify_votes(
                sampler,
                theorem,
                looks,
                threat.radii,
                chosen_by=chosen_by,
                n0=self.n0,
                labels=part.labels,
                rival_share=self.rival_share,
                property=property,
            )
            seconds = (time.perf_counter() - begin) / sum(result.samples for result in results)
            for row, result in enumerate(results):
                verdict, radius, reason = self._settled(result, threat)
                if verdict.failed:
                    yield failed(classifier, part, row, threat, self.method, reason)
                    continue
                yield Certificate(
                    index=part.index[row],
                    input_digest=part.digests[row],
                    label=None if part.labels is None else part.labels[row],
                    prediction=result.prediction,
                    verdict=verdict,
                    radius=radius,
                    threat=threat,
                    guarantee=Guarantee.probabilistic(self.alpha),
                    method=self.method,
                    evidence=self._evidence(result, theorem, looks, chosen_by, sampler.generator),
                    model_digest=classifier.digest,
                    seconds=seconds * result.samples,
                    forward_passes=result.samples,
                    reason=reason,
                    property=property,
                )

    def _settled(self, result: SmoothedRadius, threat: Threat) -> tuple[Verdict, float | None, str]:
        """Verdict, radius and reason; the reason says where sampling stopped early, or that the model has no answer."""
        verdict, radius, reason = settle(result.radius, threat, Verdict.ABSTAIN)
        last = result.looks[-1]
        if radius is None and last.invalid > last.n / 2:
            reason = f"the model's scores contain NaN or infinity on {last.invalid} of {last.n} samples"
            return Verdict.ERROR, None, reason
        if radius is None and last.n < self.n:
            reason = f"given up after {last.n} samples: no declared radius was worth more"
        return verdict, radius, reason

    def shares(self, property: Property) -> Shares:
        """How each look's alpha is divided."""
        return shares_for("votes" if self.selection == "votes" else "draws", self.rival_share, property)

    @property
    def rival_share(self) -> float:
        """Share of alpha that bounds the runner-up separately; 0 where it is bounded by 1 - p_A."""
        return RIVAL_SHARE if self.bound == "runner-up" else 0.0

    def _evidence(
        self, result: SmoothedRadius, theorem: Theorem, looks: Looks, chosen_by: ChosenBy, generator: str
    ) -> Sampled:
        law = theorem.noise
        fields: dict[str, Any] = {
            "noise": self.noise,
            "dimensions": theorem.dimensions,
            "chosen_by": chosen_by,
            "selection": result.selection,
            "looks": result.looks,
            "later": tuple((n, alpha) for n, alpha in zip(looks.n, looks.alpha, strict=True) if n > result.looks[-1].n),
            "q_upper": result.q_upper,
            "rival_upper": result.rival_upper,
            "rival_share": self.rival_share,
            "draws_alpha": self.plan().draws_alpha(theorem),
            "slack": theorem.slack,
            "assumption": theorem.noise.assumption,
            "seed": self.seed,
            "block_size": BLOCK,
            "generator": generator,
        }
        if isinstance(law, Ablation):
            return AblationEvidence(retention=law.retention, null=law.null, **fields)
        assert self.sigma is not None  # every law but ablation has one
        return SmoothingEvidence(sigma=self.sigma, **fields)
