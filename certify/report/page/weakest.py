"""The inputs that break first, beside what broke them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from certify.core.columns import CertificateColumns, FindingColumns
from certify.core.finding import Finding
from certify.core.input_box import InputBox
from certify.core.rounding import round_down, round_up
from certify.core.run import Run
from certify.core.sandwich import Layer
from certify.core.threats.base import Threat
from certify.core.threats.transform import Transform
from certify.report.page.originals import Originals
from certify.report.page.pictures import Picture, as_image, difference, picture
from certify.store.run_folder import RunFolder

__all__ = ["Moved", "Weak", "weakest"]

_FEATURES_SHOWN: Final = 6
"""Features listed for an input that is no image: those that changed most."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One feature of an input that is no image, before and after."""

    feature: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Weak:
    """One input that broke early, or of which little is proven.

    Args:
        layer: its place between proof and example.
        label, becomes: the right answer and that of the adversarial example, in words; the latter empty without one.
        threat: what its radii are about.
        pictures: original, example and difference, as many as there are.
        moved: the features that moved most, where the input is no image.
        original: whether the input itself was at hand.
    """

    layer: Layer
    label: str
    becomes: str
    threat: Threat
    pictures: tuple[Picture, ...] = ()
    moved: tuple[Moved, ...] = ()
    original: bool = False

    @property
    def certified(self) -> str:
        """The certified radius, rounded down."""
        radius = self.layer.certified
        return "nothing certified" if radius is None else f"certified {self.threat.amount(radius, round_down)}"

    @property
    def attacked(self) -> str:
        """The distance of the example, rounded up."""
        distance = self.layer.attacked
        return "no example found" if distance is None else f"example at {self.threat.amount(distance, round_up)}"


def weakest(run: Run, originals: Originals, count: int) -> list[Weak]:
    """The ``count`` weakest inputs of a run with their nearest adversarial examples.

    Raises:
        StoreError: if the run folder cannot be read any more.
    """
    layers = run.summary.sandwich.weakest(count)
    records = _records(run, {layer.index for layer in layers})
    return [_weak(run, layer, originals, *records.get(layer.index, (None, ""))) for layer in layers]


def _records(run: Run, wanted: set[int]) -> dict[int, tuple[Finding | None, str]]:
    """The nearest finding, if any, and the digest of each input wanted."""
    if run.path is None:
        return {}
    with RunFolder.open(run.path) as folder:  # read as columns: of a million records only the wanted few are decoded
        certificates = _fetched(folder.records.certificate_columns(), wanted)
        findings = _fetched(folder.records.finding_columns(), wanted)
    found = [*findings, *(one.finding for one in certificates if one.finding is not None)]
    nearest: dict[int, tuple[Finding | None, str]] = {one.index: (None, one.input_digest) for one in certificates}
    for finding in sorted((one for one in found if one.succeeded), key=_distance, reverse=True):
        nearest[finding.index] = finding, finding.input_digest
    return nearest


def _fetched(columns: CertificateColumns | FindingColumns, wanted: set[int]) -> list[Any]:
    return [columns.fetch(int(row)) for row in np.flatnonzero(np.isin(columns.index, list(wanted)))]


def _distance(finding: Finding) -> float:
    return np.inf if finding.distance is None else finding.distance


def _weak(run: Run, layer: Layer, originals: Originals, finding: Finding | None, digest: str) -> Weak:
    before = originals.at(layer.index, digest, run.summary.threat)
    transformed = isinstance(run.summary.threat, Transform)  # its example is the input itself with other parameters
    after = None if finding is None or transformed else finding.x_adv
    found = None if finding is None else finding.adversarial_prediction
    word, threat = run.summary.property.word, run.summary.threat
    box = threat.input_box
    weak = Weak(
        layer,
        word(layer.label),
        "" if found is None else word(found),
        threat,
        original=before is not None,
    )
    if before is None and after is None:
        return weak
    images = [
        None if one is None else as_image(one, box is not None and box.pair is not None) for one in (before, after)
    ]
    if any(image is None and one is not None for image, one in zip(images, (before, after), strict=True)):
        return replace(weak, moved=_moved(before, after))
    return replace(weak, pictures=tuple(_pictures(weak, images[0], images[1], box)))


def _pictures(
    weak: Weak,
    before: NDArray[np.floating] | None,
    after: NDArray[np.floating] | None,
    box: InputBox | None,
) -> Iterable[Picture]:
    known = [image for image in (before, after) if image is not None]
    low, high = box.hull if box else (min(float(one.min()) for one in known), max(float(one.max()) for one in known))
    span = (low, high if high > low else low + 1.0)
    if before is not None:
        yield picture(before, span, f"input {weak.layer.index}, {weak.label}", weak.label)
    if after is not None:
        alt = f"adversarial example of input {weak.layer.index}: {weak.becomes}"
        yield picture(after, span, alt, f"example: {weak.becomes}")
    if before is not None and after is not None:
        yield difference(before, after, span, f"difference of the two at input {weak.layer.index}")


def _moved(before: NDArray[np.floating] | None, after: NDArray[np.floating] | None) -> tuple[Moved, ...]:
    """The features that changed most; empty unless both the input and its example are known."""
    if before is None or after is None or before.shape != after.shape:
        return ()
    change = np.abs(after.astype(np.float64) - before)
    order = np.argsort(-change, axis=None, kind="stable")[:_FEATURES_SHOWN]
    places = [tuple(int(axis) for axis in np.unravel_index(one, change.shape)) for one in order if change.flat[one] > 0]
    return tuple(Moved(", ".join(map(str, place)), f"{before[place]:.6g}", f"{after[place]:.6g}") for place in places)
