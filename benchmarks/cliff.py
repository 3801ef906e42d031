"""Where CROWN becomes slow: networks that grow, each bounded once by the public function, in a process of its own.

    python benchmarks/cliff.py --out results/cliff.md
    python benchmarks/cliff.py --beside ../earlier      # the same networks with the code of another checkout

One input, nine margins, import included, CPU seconds of one thread. Nothing is asserted: the table is the result.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from torch import Tensor, nn

LIMIT: Final = 300
"""Seconds after which a network is given up."""


def resnet(width: int) -> tuple[nn.Module, tuple[int, ...], float]:
    """A ResNet-18 for images of 32 x 32, with batch norm that has seen random images."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
            self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
            short = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
            self.around = nn.Sequential(*(short if stride > 1 or before != after else []))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.second(torch.relu(self.first(x))) + self.around(x))

    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(4):
        for block in range(2):
            after = width * 2**stage
            layers.append(Block(before, after, 2 if block == 0 and stage > 0 else 1))
            before = after
    net = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(before, 10))
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(32, 3, 32, 32))
    return net, (3, 32, 32), 0.5 / 255


def encoder(tokens: int) -> tuple[nn.Module, tuple[int, ...], float]:
    """One layer of attention with two heads of eight, and two linear layers, on tokens of 16 numbers."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))
            self.up, self.down, self.last = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (part(x).unflatten(2, (2, 8)).transpose(1, 2) for part in (self.q, self.k, self.v))
            mixed = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, dim=-1) @ v
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            return self.last((x + self.down(torch.relu(self.up(x)))).mean(1))

    return Encoder(), (tokens, 16), 0.01


def wavenet(depth: int) -> tuple[nn.Module, tuple[int, ...], float]:
    """Gated dilated convolutions of 8 channels over 64 steps."""
    import torch
    from torch import nn

    class WaveNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv1d(1, 8, 1), nn.Linear(8, 10)
            self.filters, self.gates = (
                nn.ModuleList(nn.Conv1d(8, 8, 2, dilation=2**i, padding=2**i) for i in range(depth)) for _ in range(2)
            )
            self.mixes = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(depth))

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for kept, gate, mix in zip(self.filters, self.gates, self.mixes, strict=True):
                x = x + mix(torch.tanh(kept(x)) * torch.sigmoid(gate(x)))[..., : x.shape[2]]
            return self.last(x.mean(2))

    return WaveNet(), (1, 64), 0.01


NETWORKS: Final[dict[str, tuple[Callable[[int], Any], tuple[int, ...]]]] = {
    "ResNet-18, width": (resnet, (2, 4, 8)),
    "encoder of one layer, tokens": (encoder, (4, 8, 16, 32)),
    "WaveNet of 8 channels, layers": (wavenet, (2, 3, 5)),
}


def measured(kind: str, size: int) -> dict[str, float]:
    """CPU seconds, mean width of the margins' bounds, and megabytes, in this process."""
    import torch

    from certify import output_bounds

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, shape, eps = NETWORKS[kind][0](size)
    net.eval()
    x = torch.rand(1, *shape)
    label = int(net(x).argmax())
    C = torch.eye(10)[label] - torch.eye(10)[[other for other in range(10) if other != label]]
    begin = time.process_time()
    lower, upper = output_bounds(net, x - eps, x + eps, "crown", C.unsqueeze(0))
    spent = time.process_time() - begin
    return {
        "seconds": spent,
        "width": float((upper - lower).mean()),
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def asked(kind: str, size: int, code: Path) -> dict[str, float] | None:
    """The same in another process, with the package of a checkout; None if it takes too long."""
    around = {**os.environ, "PYTHONPATH": str(code.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", kind, str(size)]
    try:
        done = subprocess.run(
            command, env=around, cwd="/", stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return None
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure every network and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file, too")
    parser.add_argument("--beside", type=Path, help="another checkout to measure as well")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one[0], int(options.one[1]))))
        return
    here = Path(__file__).parents[1]
    lines = ["| network | CPU s | MB | width |", "| --- | ---: | ---: | ---: |"]
    if options.beside:
        lines = ["| network | CPU s | MB | earlier, CPU s | MB | times | width / earlier |", "| --- |" + " ---: |" * 6]
    jobs = [(kind, size) for kind, (_, sizes) in NETWORKS.items() for size in sizes]
    for kind, size in track(jobs, description="networks", console=Console(stderr=True)):
        now = asked(kind, size, here)
        told = f"| {kind} {size} | " + (f"{now['seconds']:.2f} | {now['MB']:.0f} |" if now else f"over {LIMIT} | |")
        if not options.beside:
            lines.append(told + (f" {now['width']:.5g} |" if now else " |"))
            continue
        was = asked(kind, size, options.beside)
        told += f" {was['seconds']:.2f} | {was['MB']:.0f} |" if was else f" over {LIMIT} | |"
        both = (
            f" {was['seconds'] / now['seconds']:.1f} | {now['width'] / was['width']:.5f} |" if now and was else " | |"
        )
        lines.append(told + both)
    text = "\n".join(lines)
    print(text)
    if options.out:
        head = (
            "# Where CROWN becomes slow\n\n    python benchmarks/cliff.py\n\n"
            + (__doc__ or "").split("\n\n")[-1].strip()
        )
        options.out.write_text(f"{head}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
