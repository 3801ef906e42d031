"""Segmentation certified by smoothing, pixel by pixel (Fischer, Baader and Vechev 2021)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from torch import Tensor
from typing_extensions import override

from certify.attacks.smoothed import smoothed
from certify.attacks.target import Target
from certify.certifiers.base import CERTIFIERS, Certifier, Shape, failed, settle
from certify.core.certificate import Certificate
from certify.core.evidence.pixels import PixelsEvidence
from certify.core.guarantee import Guarantee
from certify.core.norms import Norm, check_norm
from certify.core.properties.base import Property
from certify.core.properties.pixels import Pixels
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief, round_down
from certify.core.runs import map_text
from certify.core.scope import scopes
from certify.core.threats.base import Threat
from certify.core.threats.lp import ThreatModel
from certify.core.values import number, whole
from certify.core.verdict import Verdict
from certify.data.batch import Batch
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.smoothing.noise.base import NOISES, Noise, named_law
from certify.smoothing.pixels import PixelCounts, count_pixels, shown_pixels
from certify.smoothing.sampler import Sampler
from certify.smoothing.schedule import check_count
from certify.smoothing.streams import BLOCK
from certify.smoothing.theorem import Theorem
from certify.stats.binomial import check_alpha, clopper_pearson_upper
from certify.stats.simultaneous import share

__all__ = ["Pixelwise"]


@CERTIFIERS.register("pixelwise")
@dataclass(frozen=True, slots=True)
class Pixelwise(Certifier):
    """Certify the smoothed segmentation: at each pixel the class that f most probably gives it under noise.

    ``n0`` samples name the class of each pixel; ``n`` others test, at each declared radius, whether its probability is
    large enough. All tests about an image are true together with probability at least 1 - alpha. An image is certified
    at the largest declared radius at which its share of pixels is shown to keep the right class; pixels without a
    certified class count as wrong.

    Args:
        sigma: noise scale in input units.
        n: samples that test the classes.
        n0: separate samples that name them.
        alpha: probability, over the samples, that any pixel of one image is certified wrongly, at any declared radius.
        seed: master seed of the noise.
        noise: registered noise law that is added to inputs.
        batch_size: samples per forward pass; it does not change the noise. None: a rule by input size.

    Raises:
        BadInput: for settings that cannot be right, each in one line.
    """

    sigma: float | None = None
    n: int = 10_000
    n0: int = 100
    alpha: float = 0.001
    seed: int = 0
    noise: str = "gaussian"
    batch_size: int | None = None
    method = "pixelwise"
    limits = "certifies the pixels of images, in the norms of added noise only"

    def __post_init__(self) -> None:
        law = self.law()
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        plain = {
            "sigma": law.sigma,
            "n": check_count("n", self.n),
            "n0": check_count("n0", self.n0),
            "alpha": check_alpha(number("alpha", self.alpha)),
            "seed": whole("seed", self.seed),
            "noise": law.name,
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def law(self) -> Noise:
        """The noise law.

        Raises:
            BadInput: for one that is not added to inputs as real-valued noise is.
        """
        law = named_law(self.noise, sigma=self.sigma, retention=None, null=None)
        if not isinstance(law, Noise) or law.slack(1, law.norms[0]) or law.total_variation(1):
            raise BadInput(f"pixels are certified by noise that is added, gaussian, laplace or uniform, not {law.name}")
        return law

    @property
    def rows(self) -> int:
        """One image: a killed run loses no more."""
        return 1

    @property
    def default_norm(self) -> Norm:
        """The first norm for which the noise has a theorem."""
        return check_norm(self.law().norms[0])

    @classmethod
    def knows(cls, norm: str) -> bool:
        """Norms about which a law of added noise has a theorem."""
        return any(norm in law.norms for law in scopes(NOISES).values() if issubclass(law, Noise))

    @classmethod
    def handles(cls, property: type[Property]) -> bool:
        """Pixels alone."""
        return property.by_pixel

    @override
    def target(self, classifier: Classifier, threat: Threat) -> Target:
        """The smoothed segmentation."""
        return smoothed(classifier, self.law())

    def settings(self) -> dict[str, Any]:
        """All settings but the batch size."""
        settings = {"method": self.method, **asdict(self)}
        del settings["batch_size"]
        return settings

    def theorem(self, threat: Threat, shape: Shape) -> Theorem:
        """The radius theorem for inputs of this shape.

        Raises:
            BadInput: for a norm without a theorem, or a per-feature scale.
        """
        law = self.law()
        norm = law.check_norm(threat.norm)
        if isinstance(threat, ThreatModel) and threat.scale is not None:
            raise BadInput(
                "smoothing proves balls in which all features count alike, the threat model has a per-feature scale"
            )
        return Theorem(law, norm, math.prod(shape))

    def describe(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        """The settings, and the largest radius that they can certify a pixel at."""
        cap = self.largest_radius(threat, shape, property)
        return (
            f"pixelwise smoothing with {self.noise} noise, {self.law().scale}, n={self.n:,}, alpha={self.alpha:g} for "
            f"all pixels of an image, largest certifiable radius {threat.number(cap or 0.0, round_down)}; the claim is "
            "about the SMOOTHED model"
        )

    @override
    def largest_radius(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> float | None:
        """That of an image with one judged pixel on which all samples agree."""
        q_upper = clopper_pearson_upper(0, self.n, share(self.alpha, len(threat.radii)))
        return self.theorem(threat, shape).radius(q_upper, q_upper)

    @override
    def shortfall(self, threat: Threat, shape: Shape, property: Property = TOP_CLASS) -> str:
        cap = self.largest_radius(threat, shape, property)
        beyond = [radius for radius in threat.radii if cap is None or radius > cap]
        if not beyond:
            return ""
        return (
            f"n={self.n:,} samples cannot certify a pixel at radius {' / '.join(map(brief, beyond))}: raise n or sigma"
        )

    def check(self, classifier: Classifier, threat: Threat, x: Tensor) -> None:
        """Refuse a norm without a theorem, and radii that n samples can certify none of.

        Raises:
            BadInput: naming what would do.
        """
        shape = tuple(x.shape[1:])
        self.theorem(threat, shape).noise.check_inputs(x, classifier.input_box)
        cap = self.largest_radius(threat, shape)
        if cap is None or cap < threat.radii[0]:
            raise BadInput(self.shortfall(threat, shape))

    @override
    def for_a_tenth(self) -> Self | None:
        return None if self.n < 100 else replace(self, n=self.n // 10)

    def certify(self, classifier: Classifier, batch: Batch, threat: Threat) -> Iterator[Certificate]:
        """Yield a certificate for each image of the batch, which are all about the label map of the property."""
        theorem, property = self.theorem(threat, batch.shape), classifier.property
        assert isinstance(property, Pixels)
        for row in range(len(batch)):
            begin, part = time.perf_counter(), batch.rows(slice(row, row + 1))
            sampler = Sampler(
                classifier, part.x, part.digests, theorem.noise, seed=self.seed, batch_size=self.batch_size
            )
            counts = count_pixels(sampler, self.n0, self.n)
            if 2 * counts.invalid > self.n * counts.hits.size:
                reason = (
                    f"the model's scores contain NaN or infinity at {counts.invalid:,} pixels of {self.n:,} samples"
                )
                yield failed(classifier, part, 0, threat, self.method, reason)
                continue
            evidence = self._evidence(counts, property, theorem, threat, sampler.generator)
            yield self._certificate(evidence, property, classifier, part, threat, time.perf_counter() - begin)

    def _evidence(
        self, counts: PixelCounts, property: Pixels, theorem: Theorem, threat: Threat, generator: str
    ) -> PixelsEvidence:
        missed, least = shown_pixels(counts, property.judged, theorem, threat.radii, self.n, self.alpha)
        assert self.sigma is not None
        return PixelsEvidence(
            noise=self.noise,
            sigma=self.sigma,
            dimensions=theorem.dimensions,
            n0=self.n0,
            n=self.n,
            top=map_text(counts.top),
            hits=map_text(counts.hits),
            missed=missed,
            least=least,
            assumption=theorem.noise.assumption,
            seed=self.seed,
            block_size=BLOCK,
            generator=generator,
        )

    def _certificate(
        self,
        evidence: PixelsEvidence,
        property: Pixels,
        classifier: Classifier,
        part: Batch,
        threat: Threat,
        seconds: float,
    ) -> Certificate:
        right = evidence.classes == property.right
        held = [radius for place, radius in enumerate(threat.radii) if property.enough(right & evidence.shown(place))]
        verdict, radius, reason = settle(max(held, default=None), threat, Verdict.ABSTAIN)
        return Certificate(
            index=part.index[0],
            input_digest=part.digests[0],
            label=None if part.labels is None else part.labels[0],
            prediction=0 if property.enough(right) else 1,
            verdict=verdict,
            radius=radius,
            threat=threat,
            guarantee=Guarantee.probabilistic(self.alpha),
            method=self.method,
            evidence=evidence,
            model_digest=classifier.digest,
            seconds=seconds,
            forward_passes=self.n0 + self.n,
            reason=reason,
            property=property,
        )
