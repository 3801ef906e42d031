"""One page that a paper can cite: what was measured, by which command, with the digests of the records behind it.

    python benchmarks/headlines.py      # seconds; reads what stands in results/

Certified shares come from the records themselves (Parquet), which `certify check FILE` derives again. Other pages are
listed with the command that makes them.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from certify.core.certificate import Certificate
from certify.core.rounding import round_down
from certify.stats.replicates import student_interval
from certify.store.exported import read_exported

RESULTS: Final = Path(__file__).parent.parent / "results"

STATEMENTS: Final = {
    True: "with probability 1 - alpha = 0.999 for each certificate alone, over the draw of the noise, the smoothed "
    "classifier returns the right class within the radius",
    False: "proven in exact real arithmetic, without sampling: no input within the radius has another class",
}
"""By whether the claim is probabilistic."""

SAMPLES: Final = dict.fromkeys(("card.md", "comment.md"), "python benchmarks/demo_pages.py demo")
"""Pages that are samples of what a command writes, and so cannot say how they were made."""


def main() -> None:
    """Write results/README.md."""
    made = f"Python {platform.python_version()}, {platform.machine()}, {time.strftime('%d %B %Y')}"
    page = [
        "# Results",
        "",
        f"Written by `python benchmarks/headlines.py` ({made}) from the records and pages in this folder. Every line",
        "of the first table is the share of the inputs that are classified rightly and certified at the radius,",
        "rounded down; of several seeds their mean, with Student's interval over seeds (95 %). `certify check FILE`",
        "derives each record again. The machine had two cores and no accelerator.",
        "",
        "| data | model | radius | certified % | inputs | statement | command | records, SHA-256 |",
        "|---|---|---|---|---|---|---|---|",
        *(line for study in _studies() for line in _lines(*study)),
        "",
    ]
    page += [f"{mark} {said}." for mark, said in zip(("(a)", "(b)"), STATEMENTS.values(), strict=True)]
    page += ["", "## Pages", "", "| page | what it shows | made by |", "|---|---|---|", *_pages()]
    (RESULTS / "README.md").write_text("\n".join(page) + "\n")


def _studies() -> Iterator[tuple[str, Sequence[Path], str]]:
    """The name of each study, the files of its seeds, and the command that makes them."""
    training = RESULTS / "training"
    for study in sorted(training.glob("*.toml")):
        if files := sorted(training.glob(f"{study.stem}-seed-*.parquet")):
            yield study.stem, files, f"certify run results/training/{study.name} --out runs/training/{study.stem}"
    for file in sorted((RESULTS / "cifar").glob("*.parquet")):
        yield file.stem, [file], f"python benchmarks/cifar.py {file.stem}"


def _lines(name: str, files: Sequence[Path], command: str) -> Iterator[str]:
    read = [read_exported(file) for file in files]
    settings = read[0][0].settings
    seeds = [[Certificate.from_dict(json.loads(row["record"])) for row in rows] for _, rows in read]
    mark = "(a)" if seeds[0][0].guarantee.kind == "probabilistic" else "(b)"
    digests = ", ".join(f"`{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}`" for file in files)
    threat = settings["threat"]
    for radius in threat["radii"]:
        shares = [_share(certificates, radius) for certificates in seeds]
        yield (
            f"| {settings['data']['name']} | {name} | {threat['norm']} {radius:.4g} | {_mean(shares)} "
            f"| {len(seeds[0])} of {settings['data']['of']} | {mark} | `{command}` | {digests} |"
        )


def _share(certificates: Sequence[Certificate], radius: float) -> float:
    right = (one for one in certificates if one.prediction == one.label and one.radius is not None)
    return sum(one.radius >= radius for one in right if one.radius is not None) / len(certificates)


def _mean(shares: Sequence[float]) -> str:
    shown = round_down(100 * sum(shares) / len(shares), 1)
    ends = student_interval(shares) if len(shares) > 1 else None
    if ends is None:
        return shown
    return f"{shown} ({math.floor(100 * ends[0])} to {math.ceil(100 * ends[1])}, {len(shares)} seeds)"


def _pages() -> Iterator[str]:
    """Every page with its title and the first command on it."""
    for page in sorted([*RESULTS.glob("*.md"), *RESULTS.glob("**/README.md"), *RESULTS.glob("threats/*.md")]):
        text = page.read_text()
        title = re.search(r"^#+ (.+)$", text, re.MULTILINE)
        command = re.search(
            r"(python benchmarks/[^\n`]+|certify (?:run|audit|report|gate|demo)[^\n`]*|make demo)", text
        )
        if page.parent == RESULTS and page.name == "README.md":
            continue
        made = SAMPLES.get(page.name) if command is None else command[0].split("  ")[0].strip()
        said = "" if made is None else f"`{made}`"
        place = page.relative_to(RESULTS)
        yield f"| [{place}]({place}) | {'' if title is None else title[1]} | {said} |"


if __name__ == "__main__":
    main()
