"""CIFAR-10 evidence: published networks on their 200 images, with records that `certify check` derives again.

    python benchmarks/cifar.py --work runs/cifar                    # about 40 minutes of one core
    python benchmarks/cifar.py --work runs/cifar cifar_cnn_a_mix4   # one; the page holds what there is

The networks and images are those of the benchmark data (CERTIFY_BENCH_DATA). Whoever has CIFAR-10 itself certifies, and
trains, with the commands of every other data set: `--data idx:FOLDER` or `--data npz:FILE`.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import networks
import torch

import certify
from certify.core.rounding import round_down, round_up
from certify.store.export import EXPORTS
from certify.study.read import certificates_of

HERE: Final = Path(__file__).parent.parent / "results" / "cifar"

RADII: Final = ("1/255", "2/255")
TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and what is published about it at 2/255: verified by whom, and at most; for which images."""

    network: str
    published: str


CASES: Final = (
    Case("cifar_cnn_a_adv", "45.5 (beta-CROWN), 48.5 (BICCOS), at most 50.0"),
    Case("cifar_cnn_a_adv4", "46.5 (beta-CROWN), 48.5 (BICCOS), at most 49.5"),
    Case("cifar_cnn_a_mix", "42.0 (beta-CROWN), 48.0 (BICCOS), at most 53.0"),
    Case("cifar_cnn_a_mix4", "51.0 (beta-CROWN), 56.0 (BICCOS), at most 57.5"),
    Case("resnet2b", "26.88 (CROWN), at most 54.82, of all 10,000 images"),
)

ABOUT: Final = f"""`python benchmarks/cifar.py`: complete verification, at most {TIMEOUT:g} s an image and radius on one
core, beside PGD (40 steps, 2 restarts), on the 200 images of Dathathri et al. 2020. Each line has records beside the
page, from a run in which every claim was derived again. Published figures: Clip-and-Verify 2025, table 4, and the
repository of the network; those of CNN-A are of the same images, with minutes on a GPU. Open: neither proven nor broken
within the time. The records of the page have the digests below; the manifests beside them name everything else."""


def main() -> None:
    """Certify the networks that are named, and write the page about all that are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names; all if none is given")
    parser.add_argument("--work", type=Path, default=Path("runs/cifar"), help="folder for runs")
    asked = parser.parse_args()
    certify.tune_process()
    torch.set_num_threads(1)
    x, y = networks.images("cifar10_sdp_200")
    HERE.mkdir(exist_ok=True)
    for case in CASES:
        if asked.networks and case.network not in asked.networks:
            continue
        out, clf = asked.work / case.network, certify.Classifier(networks.module(case.network), num_classes=10)
        clf.name = case.network
        certify.evaluate(
            clf,
            certify.Dataset("CIFAR-10, the 200 images of Dathathri et al. 2020", x.numpy(), y.numpy(), 10),
            threat=certify.ThreatModel("linf", RADII, units="pixels in [0, 1]"),
            certifier=certify.Complete(decide=True, timeout=TIMEOUT),
            attack="pgd",
            seed=0,
            out=out,
            progress=True,
        )
        found = certify.check(list(certificates_of(out)), clf, x)
        if not found:
            raise SystemExit(f"{case.network}: {found.refuted or 'not everything could be derived'}")
        with (HERE / f"{case.network}.parquet").open("wb") as file:
            EXPORTS["parquet"](certificates_of(out), file)
        (HERE / f"{case.network}.manifest.json").write_bytes((out / "manifest.json").read_bytes())
        print(f"{case.network}: {len(found.claims)} claims confirmed", file=sys.stderr, flush=True)
    write_page(asked.work)


def write_page(work: Path) -> None:
    """The table of all networks that were certified."""
    head = [
        "network",
        "clean %",
        *(f"certified % at {eps}" for eps in RADII),
        *(f"attacked % at {eps}" for eps in RADII),
    ]
    head += ["open % at 2/255", "published % at 2/255", "CPU s", "SHA-256 of the records"]
    lines = ["# CIFAR-10", "", f"{_made()} {ABOUT}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in CASES:
        file = HERE / f"{case.network}.parquet"
        if file.is_file() and (work / case.network).is_dir():
            lines.append(
                "| " + " | ".join([case.network, *_cells(work / case.network), case.published, *_cost(work, case)])
            )
            lines[-1] += f" | `{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}` |"
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def _made() -> str:
    made = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}"
    return f"{made}, {time.strftime('%d %B %Y')}."


def _cells(run: Path) -> Sequence[str]:
    summary = certify.read_run(run).summary
    rows = summary.rows
    certified = [str(round_down(100 * row.certified, 1)) for row in rows]
    attacked = [str(round_up(100 * row.empirical, 1)) for row in rows if row.empirical is not None]
    open_share = 100 * (rows[-1].empirical or 0.0) - 100 * rows[-1].certified
    return [str(round_up(100 * summary.clean, 1)), *certified, *attacked, f"{open_share:.1f}"]


def _cost(work: Path, case: Case) -> Sequence[str]:
    return [f"{sum(one.seconds for one in certificates_of(work / case.network)):.0f}"]


if __name__ == "__main__":
    main()
