"""What an attack found at one input: a verified adversarial example, or nothing; or why it could not be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.core.digests import about, target_of
from certify.core.example import Example
from certify.core.guarantee import Guarantee
from certify.core.rounding import round_up, stated_twice, to_hex
from certify.core.shown import VIEWS
from certify.errors import BadInput

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """The nearest adversarial example one attack run found for one input, re-checked before it is recorded.

    A finding without an example says only that this attack, with these settings, did not succeed. One with an error
    does not even say that: the attack was not carried out, and the input counts as not attacked.

    Args:
        index, input_digest, label: the attacked input, as in :class:`~certify.core.certificate.Certificate`.
        prediction: the class returned at the input itself, or None for NaN scores. Where it is not the label, the
            input is its own adversarial example at distance 0.
        norm: the norm of the distance, or the name of the threat that it counts.
        radii: the declared radii that were tried, ascending.
        attack: registered name of the attack.
        settings: steps, step size, restarts and whatever else the attack was run with.
        seed: master seed.
        radius: the declared radius at which it succeeded, beyond all of them the distance itself, or None.
        distance: distance of the example in input units, rounded up; None where the attack failed.
        x_adv: the example itself, one input of float values; None where the attack failed.
        adversarial_prediction: the class returned there.
        p_label_upper: for smoothed classifiers, the upper confidence bound, from fresh noise, on the probability of
            the label at the example: below 1/2.
        model_digest: SHA-256 of the attacked model.
        error: what ended the attack before it had a result, in words; empty where nothing did.
    """

    index: int
    input_digest: str
    label: int
    prediction: int | None
    norm: str
    radii: tuple[float, ...]
    attack: str
    settings: Mapping[str, Any]
    seed: int
    radius: float | None = None
    distance: float | None = None
    x_adv: NDArray[np.floating] | None = None
    adversarial_prediction: int | None = None
    p_label_upper: float | None = None
    model_digest: str = ""
    seconds: float = field(default=0.0)
    forward_passes: int = 0
    error: str = ""

    def __post_init__(self) -> None:
        if not (self.radii and isinstance(self.settings, Mapping)):
            raise BadInput("a finding has the radii that were tried, and a table of the attack's settings")
        if not all(isinstance(radius, Real) for radius in self.radii):
            raise BadInput(f"the radii of a finding are numbers, got {list(self.radii)!r}")
        if len({self.radius is None, self.distance is None, self.x_adv is None}) != 1:
            raise BadInput("a finding has a radius, a distance and an example, or none of the three")
        if not isinstance(self.error, str):
            raise BadInput(f"the error of a finding is text, got {self.error!r}")
        if self.error and (self.prediction is not None or self.x_adv is not None):
            raise BadInput("an attack that was not carried out found nothing, an example or a class")
        if self.distance is not None and self.radius is not None and not 0 <= self.distance <= self.radius:
            raise BadInput(f"distance {self.distance} lies outside the attacked radius {self.radius}")

    @property
    def about(self) -> str:
        """What tells the input from others: its digest, and its target in a regression."""
        return about(self.input_digest, target_of(self.settings.get("target")))

    @property
    def succeeded(self) -> bool:
        """Whether a verified adversarial example was found."""
        return self.distance is not None

    def of_model(self, smoothed: Mapping[str, Any] | None) -> bool:
        """Whether the attack was on the model smoothed by a noise law of these settings; None: on the model itself."""
        if smoothed is None:
            return "noise" not in self.settings
        return all(self.settings.get(name) == value for name, value in smoothed.items())

    @property
    def guarantee(self) -> Guarantee:
        """Always empirical: an attack that fails promises nothing."""
        return Guarantee.empirical()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the example travels as base64 of its little-endian bytes."""
        return {
            "index": self.index,
            "input_digest": self.input_digest,
            "label": self.label,
            "prediction": self.prediction,
            "norm": self.norm,
            "radii": list(self.radii),
            "attack": self.attack,
            "settings": dict(self.settings),
            "seed": self.seed,
            "radius": self.radius,
            "distance": self.distance,
            "distance_hex": to_hex(self.distance),
            "x_adv": None if self.x_adv is None else Example.of(self.x_adv).to_dict(),
            "adversarial_prediction": self.adversarial_prediction,
            "p_label_upper": self.p_label_upper,
            "model_digest": self.model_digest,
            "seconds": self.seconds,
            "forward_passes": self.forward_passes,
            **({"error": self.error} if self.error else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Finding:
        """Inverse of :meth:`to_dict`."""
        try:
            rest = {key: value for key, value in fields.items() if key != "distance_hex"}
            rest["radii"] = tuple(fields["radii"])
            rest["distance"] = stated_twice(fields, "distance")
            example = fields["x_adv"]
            rest["x_adv"] = None if example is None else Example.from_dict(example).values
            return cls(**rest)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as problem:
            raise BadInput(f"not a finding record: {type(problem).__name__} {problem}") from problem

    @property
    def answer(self) -> str:
        """What its label and predictions number: classes, unless it is about another property than the top class."""
        return "answer" if "property" in self.settings else "class"

    def __str__(self) -> str:
        if self.error:
            return f"input {self.index} could not be attacked: {self.error}"
        if self.distance is None:
            return f"input {self.index}: {self.attack} found nothing within {self.norm} {self.radii[-1]:g}"
        return (
            f"input {self.index}: {self.attack} turns {self.answer} {self.label} into {self.adversarial_prediction} "
            f"at {self.norm} distance {round_up(self.distance)}"
        )

    def to_frame(self) -> Any:
        """All fields but settings and example, as a pandas DataFrame of one line; ``concat`` joins several."""
        import pandas

        left_out = ("radii", "settings", "x_adv")
        fields = {name: value for name, value in self.to_dict().items() if name not in left_out}
        return pandas.DataFrame([fields]).set_index("index")

    def _repr_html_(self) -> str:
        return VIEWS["finding.html"](self)
