"""The counts of each pixel that the certified pixels of a smoothed segmentation are derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from certify.core.evidence.base import EVIDENCE, Evidence
from certify.core.runs import MOST, read_map
from certify.core.schema import Count, Positive, PositiveInt, Probability
from certify.errors import BadInput

if TYPE_CHECKING:
    from certify.core.certificate import Certificate

__all__ = ["PixelsEvidence"]


@EVIDENCE.register("pixels")
@dataclass(frozen=True, slots=True)
class PixelsEvidence(Evidence):
    """How many samples under noise give each pixel of an image its class (Fischer et al. 2021, SegCertify).

    The class of a pixel is the one that most of ``n0`` separate samples give it; then ``n`` samples count how often it
    is returned. At each declared radius, pixels with at least so many hits are certified, all of them together.

    Args:
        noise: registered name of the noise law.
        sigma: scale of the noise, in input units.
        dimensions: features of one input.
        n0: samples that name the classes.
        n: samples that count them.
        top: the class of each pixel, a map as :func:`~certify.core.runs.map_text` writes it.
        hits: of the n samples, those that return it; samples whose scores at the pixel are no numbers return nothing.
        missed: for each declared radius, how probable it may be at most that the class is missed, for the law to prove
            this radius; 0 where it proves no such radius.
        least: for each declared radius, the fewest hits that certify a pixel there; n + 1 where none is certified.
        assumption: what the certificate takes on trust about the draws.
        seed: master seed of the noise streams.
        block_size: samples per seeded block.
        generator: which generator drew the blocks, with the library version.

    Raises:
        BadInput: for maps of two sizes, more hits than samples, more samples than maps can count, or lists of two
            lengths.
    """

    noise: str
    sigma: Positive
    dimensions: PositiveInt
    n0: PositiveInt
    n: PositiveInt
    top: str
    hits: str
    missed: tuple[Probability, ...]
    least: tuple[Count, ...]
    assumption: str
    seed: int
    block_size: PositiveInt
    generator: str
    kind: Literal["pixels"] = "pixels"

    guarantee = "probabilistic"
    methods = ("pixelwise",)

    def __post_init__(self) -> None:
        if self.classes.shape != self.counts.shape:
            raise BadInput(f"classes and hits are maps of {self.classes.shape} and {self.counts.shape} pixels")
        if self.n > MOST:
            raise BadInput(f"n is at most {MOST:,}: maps hold no larger numbers of hits")
        if int(self.counts.max()) > self.n:
            raise BadInput(f"{int(self.counts.max()):,} of {self.n:,} samples cannot return a class")
        if len(self.missed) != len(self.least) or not all(0 <= one <= 1 for one in self.missed):
            raise BadInput("there is a probability and a number of hits for each declared radius")
        if not all(0 <= one <= self.n + 1 for one in self.least):
            raise BadInput(f"the fewest hits are numbers from 0 to {self.n + 1:,}, got {list(self.least)}")

    @property
    def classes(self) -> NDArray[np.int32]:
        """The class of each pixel (H, W)."""
        return read_map("the map of classes", self.top)

    @property
    def counts(self) -> NDArray[np.int32]:
        """The hits of each pixel (H, W)."""
        return read_map("the map of hits", self.hits)

    def shown(self, place: int) -> NDArray[np.bool_]:
        """The pixels (H, W) whose class is certified at the declared radius in a place; of those that are judged."""
        return self.counts >= self.least[place]

    def fault(self, certificate: Certificate) -> str:
        """There is a number for each declared radius, and at the claimed one enough pixels are certified right."""
        radii, property = certificate.threat.radii, certificate.property
        if len(radii) != len(self.least):
            return f"the evidence is about {len(self.least)} radii, and {len(radii)} are declared"
        if certificate.radius is None:
            return ""
        if certificate.radius not in radii:
            return f"radius {certificate.radius} is none of the declared ones, at which pixels are tested"
        if not property.by_pixel or property.target is None:
            return "counts of pixels show nothing without the label map of the image"
        shown = self.shown(radii.index(certificate.radius))
        right = property.right  # type: ignore[attr-defined]
        if right.shape != shown.shape:
            return f"the label map has {right.shape} pixels, the evidence {shown.shape}"
        if not property.enough(shown & (self.classes == right)):  # type: ignore[attr-defined]
            return f"too few pixels are certified right at radius {certificate.radius:g}"
        return ""

    @property
    @override
    def smoothed(self) -> Mapping[str, Any]:
        return {"noise": self.noise, "sigma": self.sigma}

    @property
    def subject(self) -> tuple[object, ...]:
        """The smoothed model, and how it was sampled."""
        return self.kind, self.sampling

    @property
    def sampling(self) -> tuple[object, ...]:
        """All that decides which samples were drawn."""
        return self.noise, self.sigma, self.n, self.n0, self.seed

    @property
    @override
    def sampling_in_words(self) -> str:
        return (
            f"{self.noise} noise, sigma={self.sigma}, n={self.n:,}, classes of pixels chosen by n0={self.n0} separate "
            f"draws, all pixels of an image tested together (Holm), seed={self.seed}"
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """The noise law, and the procedure that tests all pixels."""
        return f"noise:{self.noise}", "statistics:holm"

    @property
    def of_label(self) -> bool:
        """The label map says which pixels are tested."""
        return True

    @property
    def n_most(self) -> int:
        """All of them: sampling never stops early."""
        return self.n

    @property
    def features(self) -> int:
        """Those of one input."""
        return self.dimensions

    @property
    @override
    def trusted(self) -> str:
        return self.assumption
