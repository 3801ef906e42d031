"""Patches on MNIST: three ways to prove them side by side, each beside an attack on the model that answers.

    certify train bands --data mnist5k:train --setting size=4 --out runs/models/bands            # a minute
    certify run results/training/mnist5k-l2-noise.toml --out runs/training/mnist5k-l2-noise
    certify run results/training/mnist5k-linf3-ibp.toml --out runs/training/mnist5k-linf3-ibp
    python benchmarks/patches.py                                                                 # ten minutes, one core

Writes results/threats/patches.md. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

import certify
from certify.certifiers.base import Certifier
from certify.core.rounding import round_down, round_up

OUT: Final = Path(__file__).parent.parent / "results" / "threats" / "patches.md"

SIDES: Final = (2, 3, 5)

HEAD: Final = [
    "certifier",
    "side",
    "n",
    "certified %",
    "attacked %",
    "of",
    "clean %",
    "CPU s an image",
    "of the attack",
]

ABOUT: Final = """A patch is one square anywhere in the image, whose pixels take any values from 0 to 1. `certified`:
right, and proven to stay so whatever the patch of this side shows and wherever it is. `attacked`: what `patch-pgd`
leaves right, on the first images only (`of`): an attack on a defended model asks it 90,000 times about an image, at all
places with the ends of the box along the gradient, black, white and random ones; then 20 gradient steps from 4 places,
and the answer of the defended model itself at what was found. `clean`: right without any patch. Certified shares are
rounded down, the others up. No attack broke an image that was certified. What lies between certified and attacked is
open.

`derandomized`: the vote over copies that show 4 columns each, of the network `small`, which the recipe `bands` trained
for it. `masking`: the answer in two rounds of up to 6 x 6 grey masks for this side, of a network that was trained for
Gaussian noise and never saw a mask. `crown`, `complete`: the network itself, trained on interval bounds for linf 0.3,
not for patches; `complete` has 20 s an image. Three models that answer in three ways: the lines say what each costs and
proves, not which certifier is the tightest.

Published figures are of networks that were trained on all of MNIST, most of them for the patch itself, so they are not
put beside these."""


@dataclass(frozen=True)
class Way:
    """A way to prove patches.

    Args:
        name: in the table.
        model: which of the models answers.
        certifier: for a side.
        count: images that are certified.
        attacked: images that are attacked.
    """

    name: str
    model: str
    certifier: Callable[[int], Certifier]
    count: int
    attacked: int


WAYS: Final[Sequence[Way]] = (
    Way("derandomized", "bands", lambda side: certify.Derandomized(size=4), 200, 10),
    Way("masking", "masking", lambda side: certify.Masking(side=side), 200, 10),
    Way("crown", "bounds", lambda side: certify.Bounds("crown", decide=True), 50, 50),
    Way("complete", "bounds", lambda side: certify.Complete(decide=True, timeout=20.0), 50, 0),
)
"""The attack on the network itself is the same for bounds and complete verification: it runs once."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bands", default="runs/models/bands")
    parser.add_argument("--masking", default="runs/training/mnist5k-l2-noise/model/seed-0")
    parser.add_argument("--bounds", default="runs/training/mnist5k-linf3-ibp/model/seed-0")
    asked = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    models = {name: certify.load_model(spec) for name, spec in vars(asked).items()}
    named = ", ".join(f"{name} sha256 {clf.digest[:16]}" for name, clf in models.items())
    begin, lines = time.process_time(), []
    for line in _lines(models):
        lines.append("| " + " | ".join(line) + " |")
        print(lines[-1], flush=True)
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one core"
    page = [
        "# Patches on MNIST",
        "",
        f"`python benchmarks/patches.py`, {made}, {time.strftime('%d %B %Y')},",
        f"{(time.process_time() - begin) / 60:.0f} minutes of the processor; the first images of the test part of",
        f"`mnist5k` in a random order; {named}.",
        "",
        ABOUT,
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---" * len(HEAD) + "|",
        *lines,
    ]
    OUT.write_text("\n".join(page) + "\n")


def _lines(models: dict[str, certify.Classifier]) -> Iterator[list[str]]:
    data = certify.load_data("mnist5k").subset(max(way.count for way in WAYS), seed=0)
    known: dict[tuple[str, int], tuple[int, set[int], float]] = {}
    for way in WAYS:
        clf = models[way.model]
        for side in SIDES:
            x, y = data.x[: way.count], data.y[: way.count].tolist()
            threat, certifier = certify.Patch((0, side)), way.certifier(side)
            begin = time.process_time()
            made = certify.certify(clf, x, y, threat=threat, certifier=certifier)
            spent = (time.process_time() - begin) / way.count
            proven = {one.index for one in made if one.prediction == one.label and (one.radius or 0) >= side}
            clean = sum(one.prediction == one.label for one in made)
            if way.attacked:
                known[way.model, side] = _attacked(clf, data, side, certifier, way.attacked)
            count, broken, cost = known[way.model, side]
            if wrong := broken & proven:
                raise SystemExit(f"{way.name}, side {side}: images {sorted(wrong)} are certified and broken")
            shares = [
                round_down(100 * len(proven) / way.count, 1),
                round_up(100 * (count - len(broken)) / count, 1),
                str(count),
                round_up(100 * clean / way.count, 1),
            ]
            yield [way.name, str(side), str(way.count), *shares, f"{spent:.3g}", f"{cost:.2g}"]


def _attacked(
    clf: certify.Classifier, data: certify.Dataset, side: int, certifier: Certifier, count: int
) -> tuple[int, set[int], float]:
    """How many of the first images were attacked, which of them were broken or wrong, and seconds for each."""
    begin = time.process_time()
    found = certify.attack(
        clf,
        data.x[:count],
        data.y[:count].tolist(),
        threat=certify.Patch((side,)),
        attack="patch-pgd",
        certifier=certifier,
        steps=20,
        places=4,
    )
    return count, {one.index for one in found if one.succeeded}, (time.process_time() - begin) / count


if __name__ == "__main__":
    main()
