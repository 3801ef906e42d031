"""Segmentation of digits on a canvas, certified pixel by pixel under noise, beside an attack on what answers.

    python benchmarks/segmentation.py          # some minutes of one core

Trains a small network, writes results/threats/segmentation.md and the summary beside it. Seconds are those of the
processor.
"""

from __future__ import annotations

import argparse
import json
import platform
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import certify
from certify.attacks.pixels import kept_shares
from certify.certifiers.certify import batch_of
from certify.core.rounding import percent_below, percent_down, percent_up, round_up

OUT: Final = Path(__file__).parent.parent / "results" / "threats" / "segmentation.md"

DIGITS: Final = (0, 1, 4)
"""The digits that are drawn; classes 1, 2 and 3 beside the background."""

HEIGHT, WIDTH, SIDE = 20, 36, 14
"""Of a canvas, and of a digit on it."""

INK: Final = 0.3
"""From this value on a pixel belongs to its digit."""

SIGMA: Final = 0.25
RADII: Final = (0.0, 0.1, 0.1686, 0.25)
"""The third is that of tau = 0.75, at which Fischer et al. test."""

SHARE: Final = 0.9

TEXT: Final = """# Segmentation under noise

`python benchmarks/segmentation.py`, Python {python}, torch {torch}, {machine}, one core, {date}, {minutes:.0f} minutes
of the processor. Model sha256 {digest}.

Two digits of {digits} from `mnist5k`, each at a random place of one half of a {height} x {width} canvas. A pixel's
class is the digit that it belongs to (value from {ink} on), or background. A network of three convolutions
({weights:,} weights) was trained for {epochs} epochs on {trained:,} canvases with Gaussian noise of sigma {sigma}. On
the {images} test canvases without noise, it gives {base} % of the pixels their class; the smoothed model, by its
{n0} samples, {smoothed} %.

`certify.Pixelwise(sigma={sigma}, n={n:,}, n0={n0})`, alpha 0.001 for all pixels of a canvas at all four radii.
*Certified*: the mean share of pixels that keep their right class within this l2 radius, whatever the adversary does.
*>=*: what of it is true with probability at least 95 % over the noise. *Other*: certified to keep another class.
*Nothing*: abstained from. *Attacked*: the mean share that PGD ({steps} steps, {draws} samples a step) on the smoothed
model leaves right, on the first {attacked} canvases; pixels count as lost only where {examined:,} fresh samples
show it, at a level that pays for all pixels and radii of a canvas.
*mIoU*: the lower end of the mean intersection over union of the four classes, over all pixels, which holds where all
claims about all canvases are true: with probability at least {all_true} % over the noise. *Images*: the share of
canvases of which at least {share} of the pixels are certified. Certified figures are rounded down, the others up.

| radius l2 | certified % | >= % | other % | nothing % | attacked % | mIoU % | images % |
|---|---|---|---|---|---|---|---|
{rows}

Most pixels are background, so the share of pixels says less than the intersection over union. No canvas had a larger
certified share than the attack left. What lies between is open: a certificate allows a change of its own for each
pixel, an attack makes one for all.

{population}

An image takes {seconds:.2f} s ({samples:,} samples of the network), deriving its record again {checked:.3f} s, and the
record has {size:.1f} kB for {pixels} pixels. `certify.check` confirmed {confirmed} of {claims} claims, with model and
data.
"""


def canvases(part: str, count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Canvases (count, 1, H, W) with two digits each, and their label maps (count, H, W)."""
    data = certify.load_data(f"mnist5k:{part}" if part == "train" else "mnist5k")
    small = nn.functional.avg_pool2d(torch.from_numpy(data.x), 2).numpy()[:, 0]
    pool = np.flatnonzero(np.isin(data.y, DIGITS))
    generator = np.random.default_rng(seed)
    x, y = np.zeros((count, 1, HEIGHT, WIDTH), np.float32), np.zeros((count, HEIGHT, WIDTH), np.int64)
    for row in range(count):
        for half in range(2):
            one = int(generator.choice(pool))
            top = int(generator.integers(0, HEIGHT - SIDE + 1))
            left = half * WIDTH // 2 + int(generator.integers(0, WIDTH // 2 - SIDE + 1))
            place = (slice(top, top + SIDE), slice(left, left + SIDE))
            x[row, 0][place] = small[one]
            y[row][place] = np.where(small[one] >= INK, 1 + DIGITS.index(int(data.y[one])), 0)
    return x, y


def trained(epochs: int, count: int) -> nn.Module:
    """The network, trained with noise."""
    torch.manual_seed(0)
    x, y = (torch.from_numpy(one) for one in canvases("train", count, seed=1))
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=4, dilation=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=8, dilation=4),
        nn.ReLU(),
        nn.Conv2d(16, 1 + len(DIGITS), 1),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    batches = -(-count // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * batches)
    weight = torch.tensor([1.0, 3.0, 3.0, 3.0])
    for _ in range(epochs):
        for rows in torch.randperm(count).split(64):
            loss = nn.functional.cross_entropy(net(x[rows] + SIGMA * torch.randn_like(x[rows])), y[rows], weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, certify, attack, check, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--attacked", type=int, default=40)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(argv)
    begun = time.process_time()
    net = trained(given.epochs, given.train)
    clf = certify.Segmenter(net, 1 + len(DIGITS), name="canvas")
    print(f"trained after {time.process_time() - begun:.0f} s", flush=True)
    x, y = canvases("test", given.images, seed=2)
    base = float((clf.predict(torch.from_numpy(x)).numpy() == y).mean())
    print(f"clean {base:.3f}", flush=True)
    threat, property = certify.ThreatModel("l2", RADII, input_box=(0.0, 1.0)), certify.Pixels(SHARE)
    certifier = certify.Pixelwise(sigma=SIGMA, n=given.n)
    start = time.process_time()
    made = certify.certify(clf, x, y, threat=threat, property=property, certifier=certifier)
    spent = (time.process_time() - start) / len(made)
    print(f"certified, {spent:.2f} s an image", flush=True)
    start = time.process_time()
    found = certify.check(made, clf, x)
    checked = (time.process_time() - start) / len(made)
    asked = clf.with_property(property)
    target = certifier.target(asked, threat)
    target = type(target)(asked, certifier.law(), draws=8, n=1000)
    attack = certify.PGD(steps=10, restarts=1)
    some = slice(0, given.attacked)
    left = kept_shares(target, batch_of(asked, x[some], y[some]), threat, attack, seed=0)
    for one, shares, label_map in zip(made[some], left, y[some], strict=True):
        held = [(one.evidence.shown(k) & (one.evidence.classes == label_map)).mean() for k in range(len(RADII))]
        assert (np.array(held) <= shares + 1e-12).all(), one.index
    summary = certify.summarize(made)
    rows = [
        f"| {row.radius:g} | {percent_below(row.certified)} | {percent_below(row.certified_lower)} | "
        f"{percent_up(row.wrong)} | {percent_up(row.abstain)} | {percent_up(float(left[:, k].mean()))} | "
        f"{percent_below(row.miou)} | {percent_down(summary.rows[k].certified)} |"
        for k, row in enumerate(summary.pixels)
    ]
    smoothed = np.mean([(one.evidence.classes == label_map).mean() for one, label_map in zip(made, y, strict=True)])
    given.out.write_text(
        TEXT.format(
            python=platform.python_version(),
            torch=torch.__version__,
            machine=platform.machine(),
            date=time.strftime("%-d %B %Y"),
            minutes=(time.process_time() - begun) / 60,
            digest=clf.digest[:16],
            digits=", ".join(map(str, DIGITS)),
            height=HEIGHT,
            width=WIDTH,
            ink=INK,
            weights=sum(one.numel() for one in net.parameters()),
            epochs=given.epochs,
            trained=given.train,
            sigma=SIGMA,
            images=given.images,
            base=percent_up(base),
            smoothed=percent_up(float(smoothed)),
            n=given.n,
            n0=certifier.n0,
            steps=attack.steps,
            draws=8,
            attacked=given.attacked,
            all_true=percent_below(max(0.0, 1 - given.images * certifier.alpha)),
            examined=1000,
            share=SHARE,
            rows="\n".join(rows),
            population=textwrap.fill(
                next(one for one in summary.further if one.startswith("If") and "pixels" in one), 118
            ),
            seconds=float(round_up(spent, 2)),
            samples=made[0].forward_passes,
            checked=float(round_up(checked, 3)),
            size=sum(len(json.dumps(one.to_dict())) for one in made) / len(made) / 1000,
            pixels=HEIGHT * WIDTH,
            confirmed=len(found.claims) - len(found.refuted) - len(found.open),
            claims=len(found.claims),
        )
    )
    given.out.with_suffix(".json").write_text(summary.render("json"))
    print(given.out.read_text())


if __name__ == "__main__":
    main()
