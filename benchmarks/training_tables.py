"""The page of results/training: tables, orderings, distances to published figures, and the plot of the trade-off."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest

from certify.stats.replicates import student_interval
from certify.study.read import certificates_of

HERE: Final = Path(__file__).parent.parent / "results" / "training"

ABOUT: Final = """Each line is one command,
`certify run results/training/NAME.toml --out runs/training/NAME`, which trains the seeds, certifies and attacks them;
`python benchmarks/training.py` runs all and writes this page. Beside it stand the certificates of each seed (Parquet)
with the manifest of their run, from run folders in which `certify check` derived every claim again, and a LaTeX table
for each line. `certify check results/training/NAME-seed-0.parquet` derives every claim about the certificates again:
what follows from the counts of smoothing by itself, all else where `--model` names the trained model of that digest.
What attacks found is in the run folders alone. Certified shares are rounded down, attacked and clean ones up. Only what
ran to its end is listed."""

LEVEL: Final = 0.05
"""Below it, chance does not explain a difference."""

ORDERINGS: Final = [
    ("mnist5k-l2", "consistency", "noise", 0.5, "consistency above Gaussian noise (Jeong and Shin 2020)"),
    ("mnist5k-l2", "smoothadv", "noise", 0.5, "SmoothAdv above Gaussian noise (Salman et al. 2019)"),
    ("mnist5k-l2", "noise", "standard", 0.5, "Gaussian noise above none (Cohen et al. 2019)"),
    ("fashion-l2", "consistency", "noise", 0.5, "consistency above Gaussian noise (Jeong and Shin 2020)"),
    ("fashion-l2", "smoothadv", "noise", 0.5, "SmoothAdv above Gaussian noise (Salman et al. 2019)"),
    ("fashion-l2", "noise", "standard", 0.5, "Gaussian noise above none (Cohen et al. 2019)"),
    ("mnist5k-linf", "sabr", "ibp", 0.02, "small boxes above IBP at small radii (Mueller et al. 2023)"),
    ("mnist5k-linf", "mtl-ibp", "ibp", 0.02, "MTL-IBP above IBP at small radii (De Palma et al. 2024)"),
    ("fashion-linf", "sabr", "ibp", 0.02, "small boxes above IBP at small radii (Mueller et al. 2023)"),
    ("fashion-linf", "mtl-ibp", "ibp", 0.02, "MTL-IBP above IBP at small radii (De Palma et al. 2024)"),
    ("mnist5k-l2", "lipschitz", "noise", 0.25, "a 1-Lipschitz network beside smoothing at a small radius"),
]
"""Setting, the recipe that is said to be better, the other one, the radius, and who says so."""

MNIST: Final = "De Palma et al. 2024, table 1"
SMALLER: Final = (
    "4,000 training images in place of 60,000, two convolutions in place of five, 40 to 60 epochs on one core"
)

TREES: Final = (
    "the same training data, 1,000 of the 10,000 test images; two convolutions, 20 epochs, against tree ensembles"
)

DISTANCES: Final = [
    ("mnist5k-linf-ibp", 0.1, "IBP", 98.84, 97.95, f"Shi et al. 2021 in {MNIST}", SMALLER),
    ("mnist5k-linf-crown-ibp", 0.1, "CROWN-IBP", 98.83, 97.76, f"Zhang et al. 2020 in {MNIST}", SMALLER),
    ("mnist5k-linf-sabr", 0.1, "SABR", 99.23, 98.22, f"Mueller et al. 2023 in {MNIST}", SMALLER),
    ("mnist5k-linf-mtl-ibp", 0.1, "MTL-IBP", 99.25, 98.38, MNIST, SMALLER),
    ("mnist5k-linf3-ibp", 0.3, "IBP", 97.67, 93.10, f"Shi et al. 2021 in {MNIST}", SMALLER),
    ("mnist5k-linf3-crown-ibp", 0.3, "CROWN-IBP", 98.18, 92.98, f"Zhang et al. 2020 in {MNIST}", SMALLER),
    ("mnist5k-linf3-sabr", 0.3, "SABR", 98.75, 93.40, f"Mueller et al. 2023 in {MNIST}", SMALLER),
    ("mnist5k-linf3-mtl-ibp", 0.3, "MTL-IBP", 98.80, 93.62, MNIST, SMALLER),
    *(
        (study, 0.1, "robust boosted trees", 85.85, 76.83, "Andriushchenko and Hein 2019, table 2", TREES)
        for study in ("fashion-linf-ibp", "fashion-linf-mtl-ibp")
    ),
]
"""Study, radius, what is published: method, clean and certified in per cent, where; and why ours differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """A study that ran to its end.

    Args:
        setting, recipe: the parts of its name.
        runs: the folders of its seeds, in order.
        table: what ``certify summary --format json`` says of it.
        cost: CPU seconds of a training, the mean over seeds.
    """

    setting: str
    recipe: str
    runs: Sequence[Path]
    table: Mapping[str, Any]
    cost: float

    @property
    def name(self) -> str:
        """As the file of the study is called."""
        return f"{self.setting}-{self.recipe}"

    @property
    def epochs(self) -> int | None:
        """How long it trained, where its name says so: it stands beside the study of the same name without that."""
        _, _, last = self.recipe.rpartition("-")
        return int(last) if last.isdigit() else None

    def row(self, radius: float) -> Mapping[str, Any] | None:
        """What the table says at a radius."""
        return next((row for row in self.table["rows"] if row["radius"] == radius), None)

    def certified(self, radius: float) -> list[dict[int, bool]]:
        """For each seed, which inputs are certified at a radius with the right class."""
        return [
            {
                one.index: one.prediction == one.label and one.radius is not None and one.radius >= radius
                for one in certificates_of(run)
            }
            for run in self.runs
        ]


def write_page(lines: Sequence[Line]) -> None:
    """README.md and the plots of results/training."""
    settings = dict.fromkeys(line.setting for line in lines)
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}"
    page = [
        "# Models trained by the recipes",
        "",
        f"{made}, one thread a training, {time.strftime('%d %B %Y')}. {ABOUT}",
        "",
    ]
    for setting in settings:
        of = [line for line in lines if line.setting == setting and line.epochs is None]
        plot(of, HERE / f"{setting}.png")
        page += [f"## {setting}", "", *_table(of), "", f"![clean and certified accuracy]({setting}.png)", ""]
        page += [*of[0].table["statements"], ""]
    page += ["## What more would buy", "", *_longer(lines), ""] if any(line.epochs for line in lines) else []
    page += ["## What the literature orders", "", *_orderings(lines), ""]
    page += ["## How far from published figures", "", *_distances(lines), ""]
    page += ["## Digests", "", "| file | SHA-256 |", "|---|---|"]
    page += [
        f"| {one.name} | `{digest(one)}` |" for one in sorted([*HERE.glob("*.parquet"), *HERE.glob("*.manifest.json")])
    ]
    (HERE / "README.md").write_text("\n".join(page) + "\n")


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def plot(lines: Sequence[Line], out: Path) -> None:
    """Certified over clean accuracy at each radius, a mark a recipe, with the range over seeds."""
    radii = radii_of(lines)
    figure = Figure(figsize=(3.2 * len(radii), 3.2), layout="constrained")
    for axes, radius in zip(figure.subplots(1, len(radii), sharey=True, squeeze=False)[0], radii, strict=True):
        for line in lines:
            if (row := line.row(radius)) is None:
                continue
            (x, across), (y, along) = (_spread(one) for one in (line.table["clean"], row["certified"]))
            axes.errorbar(x, y, xerr=across, yerr=along, fmt="o", capsize=2, label=line.recipe)
        axes.set_title(f"radius {radius:g}")
        axes.set_xlabel("clean accuracy in %")
        axes.grid(alpha=0.3)
    axes = figure.axes[0]
    axes.set_ylabel("certified accuracy in %")
    figure.axes[-1].legend(fontsize="small")
    figure.savefig(out, dpi=120, metadata={"Software": None})


def radii_of(lines: Sequence[Line]) -> list[float]:
    """Every radius that one of them declares, ascending."""
    return sorted({row["radius"] for line in lines for row in line.table["rows"]})


def _spread(of: Mapping[str, float]) -> tuple[float, list[list[float]]]:
    """The mean over seeds in per cent, and how far the least and the greatest are from it."""
    ends = of["mean"] - of["least"], of["most"] - of["mean"]
    return 100 * of["mean"], [[100 * max(0.0, end)] for end in ends]


def _table(lines: Sequence[Line]) -> list[str]:
    radii = radii_of(lines)
    head = ["study", "seeds", "n", "clean %"]
    head += [f"certified % at {radius:g}" for radius in radii] + [f"attacked % at {radius:g}" for radius in radii]
    page = ["| " + " | ".join([*head, "CPU s a model"]) + " |", "|---" * (len(head) + 1) + "|"]
    for line in lines:
        rows = [line.row(radius) for radius in radii]
        cells = [f"`{line.name}`", str(len(line.runs)), str(line.table["n"]), _share(line.table["clean"], up=True)]
        cells += ["" if row is None else _share(row["certified"], up=False) for row in rows]
        cells += ["" if row is None or row["attacked"] is None else _share(row["attacked"], up=True) for row in rows]
        page.append("| " + " | ".join([*cells, f"{line.cost:.0f}"]) + " |")
    return [*page, "", "In brackets: the interval over seeds (95 %); see below."]


def _share(spread: Mapping[str, float | None], up: bool) -> str:
    """A mean over seeds in per cent, rounded to the sound side, with its interval."""
    thousandths = 1000 * float(spread["mean"] or 0)
    mean = (-(-thousandths // 1) if up else thousandths // 1) / 10
    if spread["lower"] is None or spread["upper"] is None:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({math.floor(100 * spread['lower'])} to {math.ceil(100 * spread['upper'])})"


def _longer(lines: Sequence[Line]) -> list[str]:
    """The same training, stopped earlier: certified accuracy beside what it cost."""
    page = [
        "The same training with fewer epochs, on the same inputs: what the last minutes bought hints at what is left.",
        "",
        "| study | seeds | radius | certified % | CPU s a model |",
        "|---|---|---|---|---|",
    ]
    for full in lines:
        shorter = [line for line in lines if line.name == f"{full.name}-{line.epochs}"]
        radius = full.table["rows"][-1]["radius"]
        for line in [*sorted(shorter, key=lambda line: line.cost), full] if shorter else []:
            row = line.row(radius)
            share = "" if row is None else _share(row["certified"], up=False)
            page.append(f"| `{line.name}` | {len(line.runs)} | {radius:g} | {share} | {line.cost:.0f} |")
    return page


def _orderings(lines: Sequence[Line]) -> list[str]:
    """What is said to be better, and the difference that was measured, with its interval over seeds and over inputs."""
    known = {(line.setting, line.recipe): line for line in lines}
    page = [
        "Points of certified accuracy by which the first recipe is above the second, on the same inputs. Over seeds:",
        "Student's interval of the differences of seeds (95 %). Over inputs: how many are certified by more seeds of",
        "the first recipe, and how many by more of the second; if these models were alike on the population, either",
        "would be as likely (exact sign test). An ordering is confirmed where the interval is above 0 and p is below",
        "0.05, refuted where the interval is below 0 and p as small, and open otherwise.",
        "",
        "| claim | data | at radius | difference | over seeds | over inputs | |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, better, other, radius, claim in ORDERINGS:
        pair = known.get((setting, better)), known.get((setting, other))
        if pair[0] is None or pair[1] is None or pair[0].row(radius) is None or pair[1].row(radius) is None:
            continue
        first, second = (line.certified(radius) for line in pair if line is not None)
        page.append(f"| {claim} | {setting} | {radius:g} | {_difference(first, second)} |")
    return page


def _difference(first: Sequence[Mapping[int, bool]], second: Sequence[Mapping[int, bool]]) -> str:
    inputs, seeds = sorted(first[0].keys() & second[0].keys()), min(len(first), len(second))
    pairs = list(zip(first[:seeds], second[:seeds], strict=True))
    by_seed = [sum(a[i] - b[i] for i in inputs) / len(inputs) for a, b in pairs]
    mean = sum(by_seed) / seeds
    over_seeds = student_interval([(1 + one) / 2 for one in by_seed]) if seeds > 1 else None
    more = [sum(a[i] - b[i] for a, b in pairs) for i in inputs]  # seeds that certify an input, of either recipe
    up, down = sum(one > 0 for one in more), sum(one < 0 for one in more)
    chance = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    ends = (mean, mean) if over_seeds is None else tuple(2 * end - 1 for end in over_seeds)
    shown = "no spread" if over_seeds is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"
    clear = chance < LEVEL and over_seeds is not None
    verdict = "confirmed" if clear and ends[0] > 0 else "refuted" if clear and ends[1] < 0 else "open"
    return f"{100 * mean:+.1f} | {shown} | {up} and {down}, p = {chance:.2g} | {verdict}"


def _distances(lines: Sequence[Line]) -> list[str]:
    known = {line.name: line for line in lines}
    page = [
        "| method | radius | published: clean, certified % | ours: clean, certified % | distance | source | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, radius, method, clean, certified, source, why in DISTANCES:
        line = known.get(name)
        if line is None or (row := line.row(radius)) is None:
            continue
        ours = 100 * line.table["clean"]["mean"], math.floor(1000 * row["certified"]["mean"]) / 10
        apart = f"{ours[0] - clean:+.1f}, {ours[1] - certified:+.1f}"
        page.append(
            f"| {method} | {radius:g} | {clean:.2f}, {certified:.2f} | {ours[0]:.1f}, {ours[1]:.1f} (`{name}`) "
            f"| {apart} | {source} | {why} |"
        )
    return page


def lines_of(work: Path, summary: Any) -> list[Line]:
    """What was carried out to its end, by the names of the studies; ``summary`` gives the table of a run as JSON."""
    found = []
    for study in sorted(HERE.glob("*.toml")):
        out = work / study.stem
        if not (HERE / f"{study.stem}.tex").is_file():
            continue
        setting, recipe = _parts(study.stem)
        cost = [json.loads(one.read_text())["cost"]["cpu_seconds"] for one in sorted(out.glob("model/*/training.json"))]
        table = json.loads(summary(out))["replicates"][0]
        found.append(Line(setting, recipe, sorted(out.glob("seed-*")), table, sum(cost) / len(cost)))
    return found


def _parts(name: str) -> tuple[str, str]:
    """``mnist5k-linf-mtl-ibp`` is the recipe mtl-ibp on mnist5k-linf."""
    data, norm, recipe = name.split("-", 2)
    return f"{data}-{norm}", recipe
