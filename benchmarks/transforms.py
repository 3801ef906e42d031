"""Transforms of images: certified beside attacked, how many pieces a proof takes, and what bounds alone prove.

    certify run results/training/mnist5k-l2-noise.toml --out runs/training/mnist5k-l2-noise       # trains the network
    python benchmarks/transforms.py runs/training/mnist5k-l2-noise/model/seed-0 --limit 50        # minutes, one core

    certify run results/training/fashion-l2-noise.toml --out runs/training/fashion-l2-noise
    fashion="runs/training/fashion-l2-noise/model/seed-0 --data idx:/usr/share/datasets/fashion-mnist"
    python benchmarks/transforms.py $fashion --limit 12 --page light
    python benchmarks/transforms.py $fashion --limit 8 --page rotation

Writes results/threats/PAGE.md. Seconds are those of the processor for one image and all its declared strengths.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import torch

import certify
from certify.core.certificate import Certificate, CompleteEvidence
from certify.core.rounding import round_down, round_up
from certify.core.threats.transform import Transform

OUT: Final = Path(__file__).parent.parent / "results" / "threats"

ALL: Final[Sequence[Transform]] = (
    certify.Rotation((5, 10, 30)),
    certify.Translation((1, 2)),
    certify.Scaling((0.1, 0.2)),
    certify.Shear((0.1, 0.3)),
    certify.Brightness((0.1, 0.3)),
    certify.Contrast((0.3, 0.8)),
    certify.Gamma((0.5, 1.0)),
    certify.Fade((0.2, 0.5)),
    certify.Blur((0.5, 1.0)),
    certify.Product((0.5, 1.0), parts="rotation=10,brightness=0.1"),
)

LIGHT: Final[Sequence[Transform]] = (
    certify.Brightness((0.05, 0.1, 0.2, 0.3)),
    certify.Contrast((0.2, 0.5, 0.8)),
    certify.Fade((0.1, 0.2, 0.4), towards=1.0),
    certify.Fade((0.1, 0.2, 0.4), towards=0.5),
    certify.Blur((0.25, 0.5, 1.0)),
)

PAGES: Final[Mapping[str, tuple[str, Sequence[Transform]]]] = {
    "transforms": ("Transforms", ALL),
    "light": ("Light and fog", LIGHT),
    "rotation": ("Rotation", (certify.Rotation((5, 10, 30)),)),
}
"""Titles and threats; a fade towards 1 is white fog, one towards 0.5 is grey."""

ABOUT: Final = """`certified`: proven by `certify.Complete(decide=True, timeout=60)`, which cuts the range of strengths
until every piece is proven. `attacked`: what the attack `grid` leaves (200 strengths, then 10 steps). `open`: neither.
No attack broke an image that was certified. `pieces`, `s`: of the proof or example of one image, over all declared
strengths; medians and the most. `crown`, `ibp`: certified at a declared strength by bounds of the whole range, without
cutting. Shares in % of the images, certified rounded down and attacked up. Seconds are of the processor, on one core.
Published figures for rotation (Balunovic et al. 2019; Li et al. 2021) are of other networks and images, so they are not
put beside these."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="SPEC of the network")
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--page", choices=PAGES, default="transforms")
    asked = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    clf, data = certify.load_model(asked.model), certify.load_data(asked.data).subset(asked.limit, seed=0)
    head = ["transform", "strength", "certified %", "attacked %", "open %", "crown %", "ibp %"]
    head += ["pieces, median", "most", "s, median", "most"]
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one core"
    title, threats = PAGES[asked.page]
    said = f"{asked.model} --data {asked.data} --limit {asked.limit} --page {asked.page}"
    page = [
        f"# {title}",
        "",
        f"`python benchmarks/transforms.py {said}`, {made},",
        f"{time.strftime('%d %B %Y')}; {clf.name}, sha256 {clf.digest[:16]}. {ABOUT}",
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for threat in threats:
        for line in _lines(clf, data, threat):
            page.append(line)
            print(line, flush=True)
    (OUT / f"{asked.page}.md").write_text("\n".join(page) + "\n")


def _lines(clf: certify.Classifier, data: certify.Dataset, threat: Transform) -> Sequence[str]:
    labels = data.y.tolist()

    complete, seconds = [], []
    for row in range(len(labels)):
        begin = time.process_time()
        complete += certify.certify(
            clf,
            data.x[row : row + 1],
            labels[row : row + 1],
            threat=threat,
            certifier=certify.Complete(decide=True, timeout=60.0),
            index=[row],
        )
        seconds.append(time.process_time() - begin)
    alone = {
        method: certify.certify(clf, data.x, labels, threat=threat, certifier=certify.Bounds(method, decide=True))
        for method in ("crown", "ibp")
    }
    found = certify.attack(clf, data.x, labels, threat=threat, attack="grid")
    proofs = [one.evidence for one in complete if isinstance(one.evidence, CompleteEvidence)]
    pieces = [one.subproblems for one in proofs]
    lines = []
    for radius in threat.radii:
        broken = {one.index for one in found if one.radius is not None and one.radius <= radius}
        nearest = {one.index for one in complete if _falsified(one) <= radius}
        wrong = {one.index for one in found if one.prediction != one.label}
        left = 100 - 100 * len(broken | nearest | wrong) / len(labels)
        certified = _share(complete, radius)
        if proven := broken & {one.index for one in complete if one.radius is not None and one.radius >= radius}:
            raise SystemExit(
                f"{threat.noun}, {threat.amount(radius)}: images {sorted(proven)} are certified and broken"
            )
        cells = [str(threat.noun), threat.amount(radius), round_down(certified, 1), round_up(left, 1)]
        cells += [f"{left - certified:.1f}", *(round_down(_share(one, radius), 1) for one in alone.values())]
        cells += [f"{median(pieces):g}", f"{max(pieces):,}", f"{median(seconds):.2f}", f"{max(seconds):.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _falsified(one: Certificate) -> float:
    evidence = one.evidence
    found = evidence.falsified if isinstance(evidence, CompleteEvidence) else None
    return float("inf") if found is None else found


def _share(certificates: Sequence[Certificate], radius: float) -> float:
    right = [one for one in certificates if one.prediction == one.label and one.radius is not None]
    return 100 * sum(one.radius >= radius for one in right if one.radius is not None) / len(certificates)


if __name__ == "__main__":
    main()
