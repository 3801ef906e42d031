"""The demonstration: two small networks on real handwritten digits, certified in two ways, attacked, summarized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from certify.core.norms import Norm
from certify.core.threats.lp import ThreatModel
from certify.data.loaders import load_data
from certify.models.loaders import load_model
from certify.progress.observer import Observer
from certify.study.evaluate import build
from certify.study.result import Result
from certify.training.train import train

__all__ = ["PARTS", "Part", "run_part"]

DATA: Final = "digits"
INPUTS: Final = 200
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One half of the demonstration: how a network is trained, and how it is certified and attacked.

    Args:
        name: name of the run folder.
        title: what is shown, in words.
        recipe: the training recipe and its settings.
        norm, radii: the threat model.
        certifiers: what certifies.
        options: the certifiers' settings.
        attack_option: the attack's settings.
    """

    name: str
    title: str
    recipe: str
    recipe_settings: Mapping[str, Any]
    norm: Norm
    radii: tuple[float, ...]
    certifiers: tuple[str, ...]
    options: Mapping[str, Any]
    attack_option: Mapping[str, Any]


PARTS: Final = (
    Part(
        name="smoothing",
        title="l2: a network trained with noise, certified by randomized smoothing",
        recipe="noise",
        recipe_settings={"sigma": 0.25},
        norm="l2",
        radii=(0.0, 0.25, 0.5, 0.75),
        certifiers=("smoothing",),
        options={"sigma": 0.25, "n": 100_000, "alpha": 0.001},
        attack_option={"steps": 20, "restarts": 1},
    ),
    Part(
        name="bounds",
        title="linf: a network trained on interval bounds, certified by IBP and CROWN",
        recipe="ibp",
        recipe_settings={"eps": 0.1},
        norm="linf",
        radii=(0.0, 0.02, 0.05, 0.1, 0.15),
        certifiers=("ibp", "crown"),
        options={},
        attack_option={"steps": 40, "restarts": 2},
    ),
)


def run_part(part: Part, out: Path, progress: Observer, inputs: int = INPUTS) -> Result:
    """Train (unless done before), certify and attack so many inputs; the model and the run folder lie below ``out``.

    Raises:
        MissingExtra: without scikit-learn, which carries the digits.
        StoreError: if the run folder was made with other settings.
    """
    folder = out / "models" / part.name
    if not (folder / "model.json").exists():
        train(part.recipe, load_data(f"{DATA}:train"), folder, seed=SEED, progress=progress, **part.recipe_settings)
    study = build(
        load_model(str(folder)),
        load_data(DATA).subset(inputs, SEED),
        ThreatModel(part.norm, part.radii, units="pixels in [0, 1]"),
        certifiers=part.certifiers,
        attack="pgd",
        attack_option=part.attack_option,
        seed=SEED,
        options=part.options,
        context={"specs": {"model": str(folder), "data": DATA}},  # from which a check loads both again
    )
    return study.run(out / part.name, progress)
