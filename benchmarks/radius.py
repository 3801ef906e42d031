"""How many bound evaluations a certified radius takes, to 1e-3 relative, beside a bisection with the same method.

    python benchmarks/radius.py --out results/radius.md              # 200 images a row, one thread

The networks and images are those of CERTIFY_BENCH_DATA (default ../shared/data). Every image whose class is right gets
the largest radius that CROWN proves; radii 0 and R are declared, and none reaches the cap of 4 R. The bisection halves
[0, 4 R] fifteen times in float32, as one writes it by hand: it proves nothing, and is timed on the first images only.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.radii.radius import SEARCH_FACTOR, proven_radii
from certify.bounds.region import ball
from certify.core.norms import Norm
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.lp import ThreatModel
from certify.process import tune_process

DATA: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data")) / "networks"
DECLARED: Final[dict[Norm, float]] = {"linf": 0.1, "l2": 1.0, "l1": 4.0}
METHOD: Final = "crown"
GROUP: Final = 32
STEPS: Final = 15

NOTES: Final = """Per image: evaluations of {METHOD} away from the input itself, of which the search in float32 and the
claim in float64 with error terms, claims that failed included; the most for one image; interval evaluations at the
input itself, which are not counted among them and cost about a forward pass. Width: the largest relative distance
between the radius proven and the one that failed. At cap: images whose radius nothing tried ended. Milliseconds of one
core for all of that; and the CPU time of {STEPS} halvings with the same method in float32 as a multiple of it, which
leave a width of {width:.1e} R and prove nothing. Groups of {GROUP} images.

In l2 and l1 the margins of kw_mnist fall off a cliff: on three images, 81 to 121 entries of the second layer became
unstable between radius 0.2035 and 0.2045, and none of the first. There the search comes down to halving."""


def mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with ReLU between."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def kw_mnist() -> nn.Module:
    """The conv net of Wong and Kolter for MNIST."""
    convolutions = [nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10))


NETWORKS: Final = {
    "kw_mnist (conv)": (kw_mnist, "convex_adversarial/kw_mnist.pth"),
    "mnist 2x50 (MLP)": (lambda: mlp([784, 50, 50, 10]), "mnbab/mnist_2_50_flattened.pyt"),
    "mnist 6x100 (MLP)": (lambda: mlp([784, *[100] * 5, 10]), "abcrown/eran/mnist_6_100_nat.pth"),
    "mnist CNN-A-Adv (conv)": (kw_mnist, "abcrown/sdp/mnist_cnn_a_adv.model"),
}


def load(name: str) -> nn.Module:
    """A network with its published weights."""
    build, file = NETWORKS[name]
    saved = torch.load(DATA / file, map_location="cpu", weights_only=True)
    if "state_dict" in saved:
        saved = saved["state_dict"][0]
    module = build()
    module.load_state_dict(dict(zip(module.state_dict(), saved.values(), strict=True)))
    return module.eval().requires_grad_(False)


def images(count: int) -> tuple[Tensor, Tensor]:
    """The first MNIST test images, pixels in [0, 1], and their labels."""
    with np.load(DATA / "images/mnist_test_1000.npz") as file:
        x, y = file["x"][:count].astype(np.float32) / np.float32(255), file["y"][:count].astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


def bisected(module: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> float:
    """CPU seconds of fifteen halvings."""
    graph = import_module(module, x[:1])
    C = torch.from_numpy(np.stack([TOP_CLASS.rows(k, 10)[0] for k in range(10)])).float()[y]
    low, high = torch.zeros(len(x)), torch.full((len(x),), SEARCH_FACTOR * threat.largest)
    begin = time.process_time()
    for _ in range(STEPS):
        middle = (low + high) / 2
        rows = METHODS[METHOD](graph, ball(x, middle, threat.norm, threat.input_box), C, claim=None)
        passed = rows.lower.amin(dim=1) > 0
        low, high = torch.where(passed, middle, low), torch.where(passed, high, middle)
    return time.process_time() - begin


def row(name: str, norm: Norm, count: int) -> str:
    """One line of the table."""
    module, threat = load(name), ThreatModel(norm, (0.0, DECLARED[norm]), (0.0, 1.0))
    x, y = images(count)
    right = module(x).argmax(dim=1) == y
    x, y = x[right], y[right]
    graph, proofs = import_module(module, x[:1]), []
    begin = time.process_time()
    for chosen in torch.arange(len(x)).split(GROUP):
        proofs += proven_radii(graph, x[chosen], y[chosen], threat, METHOD)
    seconds = time.process_time() - begin
    radii = [0.0 if proof.radius is None else proof.radius for proof in proofs]
    widths = [
        proof.failed / radius - 1
        for proof, radius in zip(proofs, radii, strict=True)
        if radius < SEARCH_FACTOR * threat.largest
    ]
    searched, claimed, zero = (
        sum(getattr(proof, stage) for proof in proofs) / len(proofs) for stage in ("searched", "claimed", "at_zero")
    )
    most = max(proof.searched + proof.claimed for proof in proofs)
    capped = len(proofs) - len(widths)
    few = min(GROUP, len(x))
    ratio = bisected(module, x[:few], y[:few], threat) / few / (seconds / len(x))
    median = float(np.median(radii))
    print(name, norm, flush=True)
    cells = [
        name,
        norm,
        len(x),
        f"{median:.4f}",
        f"{searched + claimed:.2f}",
        f"{searched:.2f}",
        f"{claimed:.2f}",
        most,
    ]
    cells += [f"{zero:.0f}", f"{max(widths):.1e}", capped, f"{1e3 * seconds / len(x):.0f}", f"{ratio:.1f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--norms", nargs="*", choices=list(DECLARED), default=list(DECLARED))
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    rows = [row(name, norm, options.images) for name in options.networks for norm in options.norms]
    headings = (
        "network",
        "norm",
        "images",
        "median radius",
        "evaluations",
        "search",
        "claim",
        "most",
        "at zero",
        "width",
        "at cap",
        "ms per image",
        "bisection, x",
    )
    command = "    python benchmarks/radius.py" + ("" if options.images == 200 else f" --images {options.images}")
    notes = NOTES.format(METHOD=METHOD, STEPS=STEPS, GROUP=GROUP, width=SEARCH_FACTOR * 2.0**-STEPS)
    lines = ["| " + " | ".join(headings) + " |", "|---|---|" + "---:|" * (len(headings) - 2), *rows]
    text = "\n\n".join(["# Evaluations per certified radius", command, "\n".join(lines), notes])
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
