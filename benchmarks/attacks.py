"""What an attack costs beside the passes through the model: on networks that take some ten microseconds.

    python benchmarks/attacks.py --out results/attacks.md      # ten minutes, one thread

A first run of each attack notes every pass through the model: how many inputs at once, and whether a gradient came
back. Then the attack and the same passes alone are timed in turns, and the least time of each counts. A pass is a call
of the module; where there was a gradient, it is that of a loss, the margin of the label as one writes it in torch. The
last column leaves the loss out: a pass is then the module alone, with the gradient of the sum of its scores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from certify import Classifier, ThreatModel, attack

NOTES: Final = """What holds it back: a step is some 30 calls of torch in linf, and 50 in l2, of one to two
microseconds each, beside a pass of 30 to 40. A call also checks the model on a few inputs, alone and together, and
examines each input and each example alone, which is most of what a single gradient step costs, and of 100 inputs in
one call. The parts of AutoAttack and the walk of HopSkipJump are loops of libraries, which do most of the work beside
the passes."""

CASES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "pgd, linf": ("pgd", "linf", {}),
    "pgd, l2": ("pgd", "l2", {}),
    "pgd, l1": ("pgd", "l1", {}),
    "pgd on 32 noisy copies, l2": ("pgd", "l2", {"noise": "gaussian", "sigma": 0.1, "steps": 10}),
    "fgsm, linf": ("fgsm", "linf", {}),
    "autoattack apgd-ce, linf": ("autoattack", "linf", {"version": "custom", "attacks": ("apgd-ce",)}),
    "autoattack fab, l2": ("autoattack", "l2", {"version": "custom", "attacks": ("fab",)}),
    "hopskipjump, linf": ("hopskipjump", "linf", {"steps": 10}),
}
"""Attack, norm and settings by title."""

RADII: Final = {"linf": 0.01, "l2": 0.03, "l1": 0.1}
"""At which most inputs hold out, so that all steps are taken."""

ONE_BY_ONE: Final = frozenset({"autoattack", "hopskipjump"})
"""Attacks that go through a batch one input after the other anyway."""


class Noting(nn.Module):
    """A network that notes its passes: inputs at once, and whether a gradient came back."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.passes: list[tuple[int, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        """The network's answer."""
        place = len(self.passes)
        self.passes.append((len(x), False))
        if x.requires_grad:
            x.register_hook(lambda _: self.passes.__setitem__(place, (len(x), True)))
        return self.net(x)  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> Noting:
        return self  # the classifier's copy would keep its notes to itself


def network(*widths: int) -> nn.Module:
    """A network with fixed weights."""
    generator, layers = torch.Generator().manual_seed(0), list[nn.Module]()
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        for parameter in layers[-2].parameters():
            parameter.requires_grad_(False).copy_(torch.randn(parameter.shape, generator=generator) * inputs**-0.5)
    return nn.Sequential(*layers[:-1]).eval()


def margins(scores: Tensor) -> Tensor:
    """How far the best other score is above that of class 0, (B,)."""
    label = torch.zeros(len(scores), 1, dtype=torch.int64)
    return scores.scatter(1, label, -torch.inf).amax(dim=1) - scores.gather(1, label).squeeze(1)


def alone(
    net: nn.Module, passes: list[tuple[int, bool]], features: int, loss: Callable[[Tensor], Tensor]
) -> Callable[[], None]:
    """The passes without anything around them."""
    x = torch.rand(max(size for size, _ in passes), features)
    given = [(x[:size].clone(), gradient) for size, gradient in passes]

    def run() -> None:
        for one, gradient in given:
            if gradient:
                z = one.detach().requires_grad_()
                torch.autograd.grad(loss(net(z)).sum(), z)
            else:
                with torch.no_grad():
                    net(one)

    return run


def seconds(*calls: Callable[[], Any], repeats: int) -> list[float]:
    """The least CPU seconds of each call, in turns."""
    taken = [[] for _ in calls]  # type: list[list[float]]
    for _ in range(repeats):
        for call, times in zip(calls, taken, strict=True):
            begin = time.process_time()
            call()
            times.append(time.process_time() - begin)
    return list(map(min, taken))


def line(title: str, widths: tuple[int, ...], together: int, repeats: int) -> str:
    """One row of the table."""
    name, norm, settings = CASES[title]
    net, threat = network(*widths), ThreatModel(norm, (RADII[norm],), (0.0, 1.0))
    x = torch.rand(100, widths[0], generator=torch.Generator().manual_seed(1))
    x = x[:10] if name in ONE_BY_ONE or together == 1 else x
    noting = Noting(net).eval()
    plain, noted = (Classifier(one, widths[-1]) for one in (net, noting))
    y = plain.predict(x)

    def run(clf: Classifier) -> None:
        for first in range(0, len(x), together):
            chosen = slice(first, first + together)
            attack(clf, x[chosen], y[chosen], threat=threat, attack=name, **settings)

    run(noted)
    noting.passes.clear()
    run(noted)
    passes = list(noting.passes)
    without = [alone(net, passes, widths[0], loss) for loss in (margins, lambda scores: scores)]
    whole, bare, barest = seconds(lambda: run(plain), *without, repeats=repeats)
    cells = [title, "-".join(map(str, widths)), f"{together}", f"{len(passes):,}", f"{1e6 * bare / len(passes):.0f}"]
    made = " | ".join([*cells, f"{whole / bare:.2f}", f"{whole / barest:.2f}"])
    print(made, flush=True)
    return f"| {made} |"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of which the least time counts")
    parser.add_argument("--only", nargs="*", help="titles of attacks")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        line(title, widths, together, options.repeats)
        for widths in ((20, 32, 3), (64, 64, 10))
        for title in CASES
        if not options.only or title in options.only
        for together in (1, 100)
    ]
    headings = "| attack | network | inputs a call | passes | microseconds a pass | attack / passes | without loss |"
    headings += "\n" + "|---" * 7 + "|"
    text = "\n\n".join(
        ["# Attacks beside their passes", "    python benchmarks/attacks.py", "\n".join([headings, *rows]), NOTES]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
