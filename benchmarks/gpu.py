"""What an accelerator gives: smoothing beside the bare model and a plain loop, CROWN beside the processor.

    python benchmarks/gpu.py --out results/gpu          # on a machine with CUDA: under 8 minutes
    python benchmarks/gpu.py --device cpu --seconds 0.5 --turns 1 --networks CIFAR    # anywhere: whether it runs

Networks have seeded weights: a ResNet of the size of CIFAR-10 (nine blocks of 16 to 64 channels) and one of the size of
ImageNet (a stem and four stages, 224 x 224). All figures of a table come from one process and take turns; ratios are
medians of the turns. Nothing is asserted. The outcome is written with the name of the device.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from networks import BasicBlock
from torch import Tensor, nn

import certify
from certify.device import available, described, exactly
from certify.process import tune_process

SIGMA: Final = 0.25
COHEN_BATCH: Final = 400
"""The batch size of the published certification runs (Cohen et al. 2019)."""


def residual(classes: int, stem: nn.Module, widths: tuple[int, ...], blocks: int) -> nn.Module:
    """A residual network with batch norm folded away, as certification code sees it in eval mode."""
    parts: list[nn.Module] = [stem]
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            parts.append(BasicBlock(before, width, 2 if stage and not block else 1))
            before = width
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
    net = nn.Sequential(*parts).eval()
    generator = torch.Generator().manual_seed(0)
    for weight in net.requires_grad_(False).parameters():
        weight.normal_(0.0, (2 * max(1, weight[0].numel())) ** -0.5, generator=generator)
    return net


NETWORKS: Final[dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]]] = {
    "CIFAR": ((3, 32, 32), lambda: residual(10, nn.Conv2d(3, 16, 3, 1, 1), (16, 32, 64), 3)),
    "ImageNet": (
        (3, 224, 224),
        lambda: residual(1000, nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.MaxPool2d(2)), (64, 128, 256, 512), 2),
    ),
}


def finished(device: torch.device) -> float:
    """The time, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def rate(work: Callable[[int], Any], seconds: float, device: torch.device) -> float:
    """Samples a second of ``work(n)``, with n chosen to take about so many seconds."""
    n, spent = 512, 0.0
    while True:
        begin = finished(device)
        work(n)
        spent = finished(device) - begin
        if spent > seconds / 4:
            break
        n *= 2
    n = max(512, int(n * seconds / spent))
    begin = finished(device)
    work(n)
    return n / (finished(device) - begin)


def contestants(net: nn.Module, shape: tuple[int, ...], device: torch.device) -> dict[str, Callable[[int], Any]]:
    """The bare model at its best batch size, ``certify.smooth``, and a loop in the style of Cohen's code."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    clf = certify.Classifier(net, num_classes=net[-1].out_features, device=device)  # type: ignore[index, arg-type]
    module, threat = clf.module, certify.ThreatModel("l2", (0.0,))
    assert module is not None

    @torch.inference_mode()
    def bare(n: int, batch: int = 1024) -> None:
        given = torch.rand((batch, *shape), device=device).contiguous(memory_format=torch.channels_last)
        with exactly(device):
            for _ in range(max(1, n // batch)):
                module(given).argmax(1)

    def smooth(n: int) -> None:
        certify.smooth(clf, x[None], threat=threat, sigma=SIGMA, n=n, n0=100, schedule="fixed", seed=0)

    @torch.inference_mode()
    def cohen(n: int) -> None:
        plain, there = net.to(device), x.to(device)
        counts = torch.zeros(clf.num_classes, dtype=torch.int64)
        for _ in range(0, n, COHEN_BATCH):
            batch = there.repeat(COHEN_BATCH, 1, 1, 1)
            noisy = batch + torch.randn_like(batch) * SIGMA
            counts += torch.bincount(plain(noisy).argmax(1).cpu(), minlength=clf.num_classes)

    best = max((rate(lambda n, size=size: bare(n, size), 0.5, device), size) for size in (128, 256, 512, 1024))[1]
    return {"bare": lambda n: bare(n, best), "certify": smooth, "loop": cohen}


def smoothing_table(options: argparse.Namespace, device: torch.device) -> list[str]:
    """Samples a second, and ratios, for each network."""
    lines = [
        "| network | bare model | certify.smooth | plain loop | of the bare rate | times the loop |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.networks:
        shape, make = NETWORKS[name]
        work = contestants(make(), shape, device)
        turns = [{who: rate(run, options.seconds, device) for who, run in work.items()} for _ in range(options.turns)]
        bare, ours, loop = (median(turn[who] for turn in turns) for who in ("bare", "certify", "loop"))
        share, times = (median(turn["certify"] / turn[who] for turn in turns) for who in ("bare", "loop"))
        lines.append(f"| {name} | {bare:,.0f} | {ours:,.0f} | {loop:,.0f} | {share:.2f} | {times:.2f} |")
    return lines


def crown_table(options: argparse.Namespace, device: torch.device) -> list[str]:
    """Seconds of sound CROWN bounds of a batch, on the device and on the processor, and how far they differ."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10)
    ).eval()
    x = torch.rand(options.inputs, 3, 32, 32)

    def timed(where: torch.device) -> tuple[float, Tensor]:
        module, given = net.to(where), x.to(where)
        begin = finished(where)
        lower, _ = certify.output_bounds(module, given - 0.01, given + 0.01, method="crown")
        return finished(where) - begin, lower.cpu()

    timed(device)  # the first call on a device loads its libraries
    turns = [(timed(device), timed(torch.device("cpu"))) for _ in range(options.turns)]
    there, here = (median(turn[place][0] for turn in turns) for place in (0, 1))
    apart = max(float((turn[0][1] - turn[1][1]).abs().max()) for turn in turns)
    return [
        f"| CROWN, {options.inputs} inputs | {device.type} | cpu | ratio | largest difference of a bound |",
        "|---|---|---|---|---|",
        f"| seconds | {there:.2f} | {here:.2f} | {here / there:.1f} | {apart:.1e} |",
    ]


def main() -> None:
    """Measure, print, and write a page named after the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long each figure takes")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--inputs", type=int, default=64, help="inputs that CROWN bounds")
    parser.add_argument("--out", type=Path, help="folder for the page")
    options = parser.parse_args()
    tune_process()
    device = available(options.device)
    page = [
        f"# On {described(device)}",
        "",
        f"`python benchmarks/gpu.py --seconds {options.seconds:g} --turns {options.turns} --inputs {options.inputs}`, "
        f"torch {torch.__version__}, Python {platform.python_version()}; samples a second.",
        "",
        *smoothing_table(options, device),
        "",
        *crown_table(options, device),
    ]
    print("\n".join(page))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in described(device)).strip("-")
        (options.out / f"{name}.md").write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
