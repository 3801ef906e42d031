"""Average case beside worst case: accuracy under corruptions and certified accuracy of the same transforms.

    certify run results/training/fashion-linf-ibp.toml --out runs/training/fashion-linf-ibp       # trains the network
    python benchmarks/corruptions.py runs/training/fashion-linf-ibp/model/seed-0 \
        --data idx:/usr/share/datasets/fashion-mnist --limit 60                                     # minutes, one core

Certifies each transform at the strengths of its five severities, and a ball, in run folders under ``runs/corruptions``;
then asks for all corruptions beside them, and for edge cases and the shape of falls. Writes
results/deployment/corruptions (README.md, corrupt.json, corrupt.svg) and results/deployment/stress (README.md,
stress.json, stress.npz).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Final

import torch
from matplotlib.figure import Figure

import certify
from certify.core.corrupted import Corrupted
from certify.core.rounding import percent_down
from certify.core.threats.base import Threat
from certify.corruptions.base import CORRUPTIONS
from certify.deployment.corrupt import corrupt_run
from certify.deployment.stress.run import stress_run
from certify.plots.corrupted import draw_all, inches

RESULTS: Final = Path(__file__).parent.parent / "results" / "deployment"

OUT: Final = RESULTS / "corruptions"

RUNS: Final = Path("runs/corruptions")

PROVEN: Final = ("brightness", "contrast", "fade", "gamma", "blur")
"""Corruptions whose threat is certified at the strengths of all severities."""

TIMEOUT: Final = 20.0
"""Seconds for one image and all its strengths."""


def threats() -> dict[str, Threat]:
    """The threats to certify, by the name of their run."""
    found: dict[str, Threat] = {"linf": certify.ThreatModel("linf", (0.0, 0.02, 0.05, 0.1))}
    for name in PROVEN:
        kind = CORRUPTIONS[name]()
        assert kind.transform is not None
        found[name] = kind.transform.at((0.0, *kind.strengths))
    return found


def certified(classifier: certify.Classifier, data: certify.Dataset) -> dict[str, float]:
    """Certify every threat, resuming what is there; processor seconds of each."""
    seconds = {}
    for name, threat in threats().items():
        begin = time.process_time()
        certifier = certify.Complete(decide=True, timeout=TIMEOUT) if name != "linf" else certify.Bounds("ibp")
        certify.evaluate(classifier, data, threat=threat, certifier=certifier, out=RUNS / name, seed=0)
        seconds[name] = time.process_time() - begin
        print(f"{name}: {seconds[name]:.1f} s", flush=True)
    return seconds


def page(found: Corrupted, command: str, seconds: dict[str, float]) -> str:
    """The result page."""
    about = (
        f"`{command}`, Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one core, "
        f"{time.strftime('%-d %B %Y')}. The columns `certified` are of run folders that the script makes: transforms "
        f"by `certify.Complete(decide=True, timeout={TIMEOUT:g})`, `linf` by interval bounds. Processor seconds: "
        + ", ".join(f"{name} {used:.0f}" for name, used in seconds.items())
        + "."
    )
    on_axis = [
        (row, share)
        for row in found.rows[1:]
        for run, share in zip(found.runs, row.certified, strict=True)
        if share is not None and row.corruption in run.axes
    ]
    row, share = max(on_axis, key=lambda pair: pair[0].accuracy - pair[1])
    near = sum(row.accuracy - share <= 0.02 for row, share in on_axis)
    read = (
        f"The average case is never below the worst: {len(found.contradictions)} contradictions. Where both are on "
        f"one axis, they are within 2 points of each other in {near} of {len(on_axis)} rows: what falls falls without "
        f"an adversary. They are farthest apart under {row.corruption} of severity {row.severity}, where "
        f"{percent_down(row.accuracy)} % are right and {percent_down(share)} % are certified, either way up to that "
        "strength."
    )
    return "\n\n".join(
        ["# Corruptions beside certificates", about, found.render("markdown"), read, "![accuracy](corrupt.svg)", ""]
    )


def stress_page(command: str, model: str, data: str) -> None:
    """The edge cases of the model, and the page about them."""
    out = RESULTS / "stress"
    out.mkdir(parents=True, exist_ok=True)
    found = stress_run(RUNS / "linf", out=out / "stress.json", count=40, load=True, model=model, data=data)
    about = f"`{command}`, Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}."
    shared = "The machine was shared with other work while times were taken: they are what this hour gave."
    (out / "README.md").write_text("\n\n".join(["# Edge cases and falls", about, shared, found.render("markdown"), ""]))


def main() -> None:
    """Certify, corrupt, write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", default="idx:/usr/share/datasets/fashion-mnist")
    parser.add_argument("--limit", type=int, default=60)
    asked = parser.parse_args()
    data = certify.load_data(asked.data).subset(asked.limit, seed=0)
    classifier = certify.load_model(asked.model, num_classes=data.num_classes, input_box=data.input_box)
    seconds = certified(classifier, data)
    given = {"model": asked.model, "data": asked.data}
    found = corrupt_run(RUNS / "linf", beside=[RUNS / name for name in PROVEN], **given)
    OUT.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/corruptions.py {asked.model} --data {asked.data} --limit {asked.limit}"
    (OUT / "corrupt.json").write_text(f"{json.dumps(found.to_dict(), allow_nan=False)}\n")
    (OUT / "README.md").write_text(page(found, command, seconds))
    figure = Figure(figsize=inches(found), layout="constrained")
    draw_all(found, figure)
    figure.savefig(OUT / "corrupt.svg", metadata={"Date": None})
    stress_page(command, **given)


if __name__ == "__main__":
    main()
