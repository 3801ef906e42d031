"""What a stranger's first bounds of a network cost: the public function, import of the network included.

``benchmarks/bounds.py --public`` calls this. Architectures are drawn by seed, with torch's own initial weights, so that
none of them is one that the code was tuned on. Every network is bounded by each side in a process of its own, one after
the other, on one thread; both first bound a small network of another kind, which loads what libraries load but once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BATCH: Final = 8
CLASSES: Final = 10

NOTES: Final = """CPU seconds of one thread, sums over the seeds. `first`: the public call on a network that this
process has not seen, import included; `again`: the same call once more. The rival computes in float32 without error
terms, ours is a claim: rounding is subtracted. `faster`: its `first` over ours, and its `again` over ours. `width`:
mean distance of the bounds of the margins, ours over the rival's, so below 1 is tighter. `margin`: the mean over inputs
of the least lower bound. `MB`: the largest resident memory of a process, libraries included. `x floor`: our `again`
over the time that the operations of its matrix products and convolutions take at the speed of a product of 1024 x 1024
float32 matrices. `x forward`: our `again` over two plain forward passes of the batch."""

WHY: Final = """What holds each class back, from profiles of seed 1. *Import*: 0.15 to 0.45 s a network, half of it two
traces by torch.export, the rest comparing every operator and the whole with torch in float32 and float64. *MLP*: half
of a repeated call is matrix products. Interval arithmetic leaves nearly all neurons open, and CROWN a quarter to two
thirds, which need both ends. *LeNet*: no sign settles an entry that a pool reads, so both ends are bounded, which makes
margins three times narrower than the rival's; a third is convolutions. *Encoder*: a repeated call takes 0.12 s,
hundreds of small operations and a sixth to see that the module is still the same; a first one takes 0.47 s more, two
thirds of them for the traces. *Tanh, alpha-CROWN*: 40 % are matrix products and their derivatives, the rest Adam's
steps and planes from tables; inputs are searched one by one. *IBP*: a repeated call takes 8 to 14 ms, of which 2 to 5
make sure that the module is still the same; the rest is interval arithmetic in float64 and its rounding
errors."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of architectures.

    Args:
        title: in the table.
        method: what bounds them.
        eps: half the width of the boxes.
        target: how many times faster than the rival we want to be; None where another target holds.
        build: a network and the shape of its inputs, from random choices.
    """

    title: str
    method: str
    eps: float
    target: float | None
    build: Callable[[random.Random], tuple[nn.Module, tuple[int, ...]]]


def mlp(rng: random.Random, act: str, depth: tuple[int, int], widths: list[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """A fully connected network on images of 28 x 28."""
    from torch import nn

    layers: list[nn.Module] = [nn.Flatten()]
    before = 784
    for _ in range(rng.randint(*depth)):
        width = rng.choice(widths)
        layers += [nn.Linear(before, width), getattr(nn, act)()]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, CLASSES)), (1, 28, 28)


def strided(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """Wide convolutions of stride 2."""
    from torch import nn

    one, two, hidden = rng.choice([24, 32, 40]), rng.choice([48, 64]), rng.choice([128, 256])
    layers = [nn.Conv2d(3, one, 4, 2, 1), nn.ReLU(), nn.Conv2d(one, two, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64 * two, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)), (3, 32, 32)


def lenet(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions and max pooling."""
    from torch import nn

    one, two, hidden = rng.choice([4, 6, 8]), rng.choice([12, 16]), rng.choice([84, 120])
    layers = [
        nn.Conv2d(1, one, 5, 1, 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(one, two, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(25 * two, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)), (
        1,
        28,
        28,
    )


def residual(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """Residual blocks with batch normalization, whose statistics are those of noise."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.a, self.b = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
            self.first, self.second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.second(self.b(torch.relu(self.first(self.a(x))))) + x)

    narrow = rng.choice([6, 8, 12])
    net = nn.Sequential(
        *(nn.Conv2d(3, narrow, 3, 2, 1), nn.BatchNorm2d(narrow), nn.ReLU(), Block(narrow)),
        *(nn.Conv2d(narrow, 2 * narrow, 3, 2, 1), nn.ReLU(), Block(2 * narrow)),
        *(nn.Flatten(), nn.Linear(128 * narrow, CLASSES)),
    )
    with torch.no_grad():
        for _ in range(5):
            net(torch.rand(64, 3, 32, 32))
    return net, (3, 32, 32)


def encoder(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """A transformer encoder without normalization, on tokens of 12 numbers."""
    import torch
    from torch import nn

    tokens, width, layers = rng.choice([8, 12, 16]), 16, rng.choice([1, 2])

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

        def forward(self, x: Tensor) -> Tensor:
            heads = [part(x).view(-1, tokens, 2, width // 2).transpose(1, 2) for part in (self.q, self.k, self.v)]
            scores = torch.softmax(heads[0] @ heads[1].transpose(2, 3) / (width / 2) ** 0.5, dim=-1)
            x = x + self.out((scores @ heads[2]).transpose(1, 2).reshape(-1, tokens, width))
            return x + self.down(torch.relu(self.up(x)))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(12, width), nn.Linear(width, CLASSES)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x)
            for layer in self.layers:
                x = layer(x)
            return self.head(x.mean(1))

    return Encoder(), (tokens, 12)


KINDS: Final = {
    "mlp": Kind("ReLU MLP, CROWN", "crown", 0.004, 2.0, lambda rng: mlp(rng, "ReLU", (4, 6), [256, 384, 512])),
    "conv": Kind("wide strided conv, CROWN", "crown", 0.004, 2.0, strided),
    "residual": Kind("residual, batch norm, CROWN", "crown", 0.003, 1.0, residual),
    "lenet": Kind("LeNet, max pooling, CROWN", "crown", 0.01, 1.0, lenet),
    "encoder": Kind("transformer encoder, CROWN", "crown", 0.01, 1.0, encoder),
    "tanh": Kind(
        "tanh MLP, alpha-CROWN", "alpha-crown", 0.01, 4.0, lambda rng: mlp(rng, "Tanh", (2, 3), [96, 128, 192])
    ),
    "conv alpha": Kind("strided conv, alpha-CROWN", "alpha-crown", 0.004, 4.0, strided),
    "mlp ibp": Kind("ReLU MLP, IBP", "ibp", 0.004, None, lambda rng: mlp(rng, "ReLU", (4, 6), [256, 384, 512])),
    "conv ibp": Kind("wide strided conv, IBP", "ibp", 0.004, None, strided),
}


def problem(kind: Kind, seed: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network, the ends of boxes around random inputs, and the margins of the class that it gives each."""
    import torch

    torch.manual_seed(seed)
    net, shape = kind.build(random.Random(seed))
    net = net.eval()
    x = torch.rand(BATCH, *shape)
    with torch.no_grad():
        top = net(x).argmax(1).tolist()
    eye = torch.eye(CLASSES)
    C = torch.stack([torch.stack([eye[c] - eye[k] for k in range(CLASSES) if k != c]) for c in top])
    return net, x - kind.eps, x + kind.eps, C


def ours(method: str) -> Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The public function."""
    from certify.bounds.output import output_bounds

    return lambda net, lower, upper, C: output_bounds(net, lower, upper, method, C)


def rivals(method: str) -> Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The calls that auto_LiRPA's documentation shows."""
    import torch
    from auto_LiRPA import BoundedModule, BoundedTensor  # type: ignore[import-not-found]
    from auto_LiRPA.perturbations import PerturbationLpNorm  # type: ignore[import-not-found]

    def bounds(net: nn.Module, lower: Tensor, upper: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        bounded = BoundedModule(net, torch.empty_like(lower), device="cpu")
        region = PerturbationLpNorm(norm=math.inf, x_L=lower, x_U=upper)
        x = BoundedTensor((lower + upper) / 2, region)
        if method == "alpha-crown":
            bounded.set_bound_opts({"optimize_bound_args": {"iteration": 20}})
            low, high = bounded.compute_bounds(x=(x,), C=C, method="CROWN-Optimized")
        else:
            with torch.no_grad():
                low, high = bounded.compute_bounds(x=(x,), C=C, method={"crown": "CROWN", "ibp": "IBP"}[method])
        return low, high

    return bounds


def measure(side: str, name: str, seed: int) -> dict[str, float]:
    """One network on one side, in this process."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    kind = KINDS[name]
    bounds = (ours if side == "ours" else rivals)(kind.method)
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(8, 2)).eval()
    bounds(other, torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.eye(2).unsqueeze(0))
    net, lower, upper, C = problem(kind, seed)
    found = {}
    for which in ("first", "again"):
        begin = time.process_time()
        low, high = bounds(net, lower, upper, C)
        found[which] = time.process_time() - begin
    found |= {
        "width": float((high - low).detach().double().mean()),
        "margin": float(low.detach().double().amin(1).mean()),
    }
    found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if side == "ours":
        with torch.no_grad():
            found["forward"] = quickest(lambda: net(lower))
        a = torch.ones(1024, 1024)
        found["gflops"] = 2 * 1024**3 / quickest(lambda: a @ a) / 1e9
        found["gflop"] = operations(lambda: bounds(net, lower, upper, C)) / 1e9
    return found


def operations(call: Callable[[], Any]) -> int:
    """The operations of the matrix products and convolutions of a call, as torch counts them."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            if (count := flop_registry.get(func.overloadpacket)) is not None:
                self.total += count(*args, **(kwargs or {}), out_val=made)
            return made

    with Count() as counter:
        call()
    return counter.total


def quickest(call: Callable[[], torch.Tensor]) -> float:
    """The least CPU seconds of several calls."""
    taken = []
    for _ in range(6):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return min(taken)


def run(side: str, name: str, seed: int, rival: str | None) -> dict[str, float]:
    """The same in a process of its own."""
    path = os.pathsep.join(filter(None, [rival, os.environ.get("PYTHONPATH")]))
    job = [sys.executable, str(Path(__file__).with_name("bounds.py")), "--public", "--side", side, name, str(seed)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(job, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, seeds: range, rival: str | None) -> list[str]:
    """One row of the table: a class of architectures."""
    kind = KINDS[name]
    mine, theirs = [], []
    for seed in seeds:
        mine.append(run("ours", name, seed, None))
        if rival:
            theirs.append(run("rival", name, seed, rival))
    total = {key: sum(one[key] for one in mine) for key in mine[0]}
    floor = sum(one["gflop"] / one["gflops"] for one in mine)
    cells = [kind.title, f"{total['first']:.2f}", f"{total['again']:.2f}"]
    cells += [f"{total['again'] / floor:.1f}" if floor else "", f"{total['again'] / (2 * total['forward']):.1f}"]
    cells += [f"{max(one['mb'] for one in mine):.0f}", f"{fmean(one['margin'] for one in mine):.4f}"]
    if rival:
        other = {key: sum(one[key] for one in theirs) for key in theirs[0]}
        faster = other["first"] / total["first"]
        cells += [f"{other['first']:.2f}", f"{other['again']:.2f}", f"{max(one['mb'] for one in theirs):.0f}"]
        cells += [f"{fmean(one['margin'] for one in theirs):.4f}", f"{total['width'] / other['width']:.4f}"]
        cells += [f"{faster:.2f}", f"{other['again'] / total['again']:.2f}", f"{kind.target:g}" if kind.target else ""]
    print(" | ".join(cells), file=sys.stderr, flush=True)
    return cells


def public(options: argparse.Namespace, table: Callable[[str, list[list[str]]], str]) -> str | None:
    """The page; None where this process was asked for a single measurement."""
    if options.side:
        side, name, seed = options.side
        print(json.dumps(measure(side, name, int(seed))))
        return None
    seeds = range(options.first, options.first + options.seeds)
    headings = ".class | first, s | again, s | x floor | x forward | MB | margin"
    if options.rival:
        headings += " | rival first, s | again, s | MB | margin | width | faster | again | target"
    names = [name for name in KINDS if not options.only or name in options.only]
    rows: list[Any] = [line(name, seeds, options.rival) for name in names]
    return "\n\n".join(
        [
            "# Bounds by the public function, on architectures drawn by seed",
            f"    python benchmarks/bounds.py --public --seeds {options.seeds} --first {options.first}"
            + " --rival PATH" * bool(options.rival),
            f"Batches of {BATCH} inputs, {CLASSES - 1} margins each, seeds {seeds[0]} to {seeds[-1]}.",
            table(headings, rows),
            NOTES,
            "## What holds it back",
            WHY,
        ]
    )
