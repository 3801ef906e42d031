"""What the commands print and write about the two runs of the demonstration: pages of results/ made again.

    certify demo --out demo
    python benchmarks/demo_pages.py demo      # gate.md, card.md, comment.md, latex/ and report/: a few minutes

TeX (`pdflatex`, `bibtex`, `pdftoppm`) draws latex/main.pdf and its picture where it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from certify.store.run_folder import RunFolder

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "results"
CLI: Final = "import certify.cli; raise SystemExit(certify.cli.main())"
GATE: Final = "certify gate runs/{} --policy {} --baseline runs/{}"

RUN: Final = (
    "certify run --model demo/models/smoothing --data digits --limit 200 --seed 0 --certifier smoothing "
    "--sigma {} --norm l2 --radii 0,0.25,0.5,0.75 --attack pgd --attack-option steps=20 "
    "--attack-option restarts=1 --out runs/{}"
)


def main(demo: str) -> None:
    """Write the pages from the demonstration in folder ``demo``."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "demo").symlink_to(Path(demo).absolute())
        (place / "docs").symlink_to(ROOT / "docs")
        for sigma, name in ((0.25, "candidate"), (0.35, "released")):
            _do(place, RUN.format(sigma, name))
        _contradict(place)
        _policies(place)
        (RESULTS / "gate.md").write_text("\n".join(_gate(place)))
        _reports(place)
    _typeset(RESULTS / "latex")


def _do(place: Path, command: str) -> tuple[str, int]:
    """What one command prints, whichever stream it takes, and its exit code."""
    words = [sys.executable, "-c", CLI, *command.split()[1:]]
    done = subprocess.run(words, cwd=place, text=True, capture_output=True, check=False)
    return (done.stdout or done.stderr).rstrip("\n"), done.returncode


def _shown(place: Path, command: str) -> list[str]:
    printed, code = _do(place, command)
    return ["```", f"$ {command}", printed, f"exit code {code}", "```", ""]


def _contradict(place: Path) -> None:
    """A copy of the candidate in which one certified radius was raised past a verified adversarial example."""
    shutil.copytree(place / "runs/candidate", place / "runs/contradiction")
    with RunFolder.open(place / "runs/contradiction") as run:
        certificates, findings = run.records.certificates(), run.records.findings()
    found = {one.index: one.distance for one in findings if one.distance is not None}
    one = next(one for one in certificates if one.radius is not None and one.index in found)
    false = replace(one, radius=found[one.index] + 0.01)
    with sqlite3.connect(place / "runs/contradiction/run.sqlite") as db:
        db.execute("UPDATE certificates SET record=? WHERE position=?", (json.dumps(false.to_dict()), one.index))


def _policies(place: Path) -> None:
    """The policy of the documentation: stricter on the worst class, with a typing error, and about another norm."""
    policy = (ROOT / "docs/policy.toml").read_text()
    changes = {
        "strict": ("at_least = 0.45", "at_least = 0.60"),
        "typo": ("at_least = 0.85", "at_leest = 0.85"),
        "linf": ('norm = "l2"', 'norm = "linf"'),
    }
    for name, (before, after) in changes.items():
        (place / f"{name}.toml").write_text(policy.replace(before, after))


def _gate(place: Path) -> Iterator[str]:
    yield from (
        "# The gate in its situations",
        "",
        "Written by `python benchmarks/demo_pages.py demo`. The network of `certify demo --out demo`, certified with",
        "the noise it was trained on (`candidate`) and with more (`released`):",
        "",
        "```",
        RUN.format(0.25, "candidate"),
        RUN.format(0.35, "released"),
        "```",
        "",
    )
    situations = (
        ("Pass", "", GATE.format("candidate", "docs/policy.toml", "released")),
        (
            "Fail",
            "The run with more noise has too little left at 0.5. What counts is the end of the interval.",
            GATE.format("released", "docs/policy.toml", "candidate"),
        ),
        (
            "A policy that point estimates pass and interval ends fail",
            "The same policy, but for the worst class: `at_least = 0.60` instead of 0.45.",
            GATE.format("candidate", "strict.toml", "released"),
        ),
        (
            "Contradiction",
            "A copy of `candidate` in which one certified radius was raised past a verified adversarial example.",
            GATE.format("contradiction", "docs/policy.toml", "released"),
        ),
        ("Bad input", "", GATE.format("candidate", "typo.toml", "released")),
        ("", "", GATE.format("candidate", "linf.toml", "released")),
        ("", "", "certify gate runs/candidate --policy docs/policy.toml"),
        ("Release over release", "", "certify compare runs/released runs/candidate"),
    )
    for title, words, command in situations:
        yield from ([f"## {title}", ""] if title else [])
        yield from ([words, ""] if words else [])
        yield from _shown(place, command)


def _reports(place: Path) -> None:
    """The report for papers, for a pull request, for a model hub, and as pages."""
    for command in (
        f"certify report demo/smoothing demo/bounds --latex {RESULTS}/latex --markdown {RESULTS}/comment.md",
        f"certify report demo/smoothing --card {RESULTS}/card.md",
        f"certify report demo/smoothing --group label --html {RESULTS}/report/one_run.html",
        f"certify report demo/smoothing demo/bounds --html {RESULTS}/report/two_runs.html",
    ):
        printed, code = _do(place, command)
        if code:
            raise SystemExit(f"{command}: {printed}")


def _typeset(folder: Path) -> None:
    """main.pdf and a picture of its first two pages, of which nothing else is kept."""
    if not all(shutil.which(tool) for tool in ("pdflatex", "bibtex", "pdftoppm")):
        print("no TeX here: main.pdf and main.png stay as they were")
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "latex"
        shutil.copytree(folder, place)
        for words in (
            "pdflatex main",
            "bibtex main",
            "pdflatex main",
            "pdflatex main",
            "pdftoppm -r 90 -png main.pdf page",
        ):
            subprocess.run(words.split(), cwd=place, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        shutil.copy(place / "main.pdf", folder)
        _side_by_side(sorted(place.glob("page*.png"))[:2], folder / "main.png")


def _side_by_side(pages: list[Path], out: Path) -> None:
    from PIL import Image

    pictures = [Image.open(page).convert("RGB") for page in pages]
    whole = Image.new("RGB", (sum(one.width for one in pictures), max(one.height for one in pictures)), "white")
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width
    whole.save(out)


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)
    main(*sys.argv[1:])
