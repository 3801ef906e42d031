"""A real model on bytes: how many bytes of a file must change before its type does?

    pip install --no-deps --target wheels magika==1.0.3
    PYTHONPATH=wheels python benchmarks/real/file_types.py        # about five minutes on one core

Writes results/threats/magika.md, with the certificates beside it. The files are those of this machine.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from page import about_file, checked, cpu_seconds, down, made, sha256, study, table, up, wheel_file, write
from torch import Tensor, nn
from torch.nn import functional as F

import certify

FILE: Final = "magika/models/standard_v3_3/model.onnx"
CONFIG: Final = "magika/models/standard_v3_3/config.min.json"

ENDS: Final = 1024
"""Bytes that the network reads from each end of a file."""

READ: Final = 2 * ENDS
FEWEST: Final = 4096
"""Shorter files are left out: in these both ends are full, and no byte is in both."""

HEADER: Final = 64
BLOCK: Final = 128
EACH: Final = 2
COPIES: Final = 4

FLIPS: Final = 16
"""Bytes that the attack changes, at most."""

TRIES: Final = 24
"""Changes that the attack looks at before it makes one."""

KINDS: Final = {
    ".so": "elf",
    ".png": "png",
    ".gz": "gzip",
    ".ttf": "ttf",
    ".exe": "pebin",
    ".py": "python",
    ".json": "json",
    ".html": "html",
    ".h": "c",
    ".js": "javascript",
}
"""What a file is by the end of its name, in magika's words."""

NULL: Final = 32
"""What stands in place of hidden bytes: spaces, which files have and text does not mind."""

BLOCKS: Final = tuple(tuple(range(begin, begin + BLOCK)) for begin in range(0, READ, BLOCK))
FREE: Final = range(HEADER, READ - 1)
"""Where the header and the very last byte are taken to be fixed."""

BEHIND: Final = tuple(tuple(place for place in block if place in FREE) for block in BLOCKS)


@functools.cache
def config() -> dict[str, Any]:
    """What the wheel says of its network."""
    found: dict[str, Any] = json.loads(wheel_file("magika", CONFIG).read_text())
    return found


def read(content: bytes) -> list[int]:
    """The numbers that magika makes of a file: the bytes of both ends without white space around them."""
    size = config()["block_size"]
    first, last = content[:size].lstrip()[:ENDS], content[-size:].rstrip()[-ENDS:]
    filling = config()["padding_token"]
    return [*first, *[filling] * (ENDS - len(first)), *[filling] * (ENDS - len(last)), *last]


def fed(x: torch.Tensor) -> dict[str, Any]:
    """The adapter: a batch (1, 2048) of bytes as the file's input of whole numbers."""
    return {"bytes": x.round().numpy().astype(np.int32)}


def model() -> certify.Classifier:
    """The file of the wheel, executed by onnxruntime."""
    return certify.load_model(f"file_types:fed@{wheel_file('magika', FILE)}", input_box=(0, 255))


@functools.cache
def files() -> Sequence[Path]:
    """The files of each kind whose paths have the least digests: a choice by chance that is the same again."""
    found: dict[str, list[str]] = {ending: [] for ending in KINDS}
    for root in sorted({"/usr", sys.base_prefix}):
        for folder, _, names in os.walk(root):
            for name in names:
                if (ending := os.path.splitext(name)[1]) in found:
                    found[ending].append(os.path.join(folder, name))
    chosen: list[Path] = []
    for paths in found.values():
        paths.sort(key=lambda one: hashlib.sha256(one.encode()).digest())
        good = (one for one in map(Path, paths) if one.is_file() and not one.is_symlink() and _long(one))
        chosen += [one for one, _ in zip(good, range(EACH), strict=False)]
    return chosen


def _long(path: Path) -> bool:
    return path.stat().st_size >= FEWEST and config()["padding_token"] not in read(path.read_bytes())


def data() -> certify.Dataset:
    """The files, as what the network reads of them."""
    labels = config()["target_labels_space"]
    x = np.array([read(path.read_bytes()) for path in files()])
    y = np.array([labels.index(KINDS[path.suffix]) for path in files()])
    return certify.Dataset("files", x, y, num_classes=len(labels), input_box=(0, 255))


def hidden(positions: int, kept: int, null: int, header: int, copies: int = COPIES) -> float:
    """Share of copies of the files that are recognised although all but a few blocks of them are hidden."""
    chance, width = np.random.default_rng(0), READ // positions
    shown = []
    for row in data().x:
        for _ in range(copies):
            mask = np.isin(np.arange(READ) // width, chance.choice(positions, kept, replace=False))
            mask[:header] = True
            mask[-1] |= header > 0
            shown.append(np.where(mask, row, null))
    named = model().predict(torch.tensor(np.array(shown), dtype=torch.float32)).numpy()
    return float((named == data().y.repeat(copies)).mean())


class Twin(nn.Module):
    """The network of the file, from bytes already looked up to logits, so that gradients flow through it.

    Args:
        stored: the file's tensors by name.
    """

    def __init__(self, stored: dict[str, Tensor]) -> None:
        super().__init__()
        jax, net = "jax2tf_get_logits_/", "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/"
        self.table = stored[f"{jax}Const:0"] + stored[f"{net}Dense_0/Reshape:0"][0]
        self.scale, self.shift = stored[f"{net}LayerNorm_0/Reshape_2:0"], stored[f"{net}LayerNorm_0/Reshape_3:0"]
        self.filters = stored[f"{net}Conv_0/transpose_3:0"].squeeze(3)
        self.bias = stored["const_fold_opt__209"].flatten()
        self.scale_1, self.shift_1 = stored[f"{net}LayerNorm_1/Reshape_2:0"], stored[f"{net}LayerNorm_1/Reshape_3:0"]
        self.last, self.last_bias = stored[f"{jax}Const_24:0"], stored[f"{net}Dense_1/Reshape:0"]

    def forward(self, looked_up: Tensor) -> Tensor:
        """Logits (B, K) of rows (B, 2048, 64) of the table."""
        z = F.gelu(looked_up, approximate="tanh").reshape(-1, 512, 256)
        z = self._normal(z) * self.scale + self.shift
        z = F.gelu(F.conv1d(z.transpose(1, 2), self.filters, self.bias), approximate="tanh").amax(dim=2)
        return (self._normal(z) * self.scale_1 + self.shift_1) @ self.last + self.last_bias

    @staticmethod
    def _normal(z: Tensor) -> Tensor:
        centred = z - z.mean(dim=1, keepdim=True)
        return centred * (z.var(dim=1, keepdim=True, correction=0) + 1e-6).rsqrt()


@functools.cache
def twin() -> Twin:
    """The twin, which answers as the file does on the files of this page."""
    stored = onnx.load(str(wheel_file("magika", FILE))).graph.initializer
    made = Twin({one.name: torch.tensor(numpy_helper.to_array(one)) for one in stored}).eval()
    x = torch.tensor(data().x)
    with torch.no_grad():
        apart = made(made.table[x.long()]).softmax(dim=1) - model().scores(x)
    if float(apart.abs().max()) > 1e-3:
        raise SystemExit(f"the twin is another network: {float(apart.abs().max()):.2g} apart")
    return made


def flipped(row: Tensor, label: int, free: Sequence[int]) -> Tensor | None:
    """A file that the network takes for something else, found by changing one byte after the other; None if none is.

    The gradient says what each byte could gain by each value (Ebrahimi et al. 2018, HotFlip); of the most promising
    changes the best is made.
    """
    network, x, movable = twin(), row.long(), torch.zeros(READ, 1, dtype=torch.bool)
    movable[list(free)] = True
    for _ in range(FLIPS):
        looked_up = network.table[x][None].requires_grad_()
        (slope,) = torch.autograd.grad(_margin(network(looked_up), label).sum(), looked_up)
        gains = slope[0] @ network.table[:256].T - (slope[0] * network.table[x]).sum(dim=1, keepdim=True)
        best = gains.where(movable, gains.new_tensor(-torch.inf)).flatten().topk(TRIES).indices
        tried = x.repeat(TRIES, 1)
        tried[torch.arange(TRIES), best // 256] = best % 256
        with torch.no_grad():
            x = tried[int(_margin(network(network.table[tried]), label).argmax())]
        if int(model_once().predict(x[None].float())[0]) != label:
            return x.float()
    return None


@functools.cache
def model_once() -> certify.Classifier:
    """The file, read once."""
    return model()


def _margin(logits: Tensor, label: int) -> Tensor:
    others = logits.clone()
    others[:, label] = -torch.inf
    return others.amax(dim=1) - logits[:, label]


def main() -> None:
    """Write the page."""
    page, rows, names, answers = "magika", [], [], {}
    with cpu_seconds() as taken:
        costs = [
            [
                what,
                f"{READ // positions} byte{'s' * (positions < READ)}",
                kept,
                null,
                up(hidden(positions, kept, null, 0)),
                up(hidden(positions, kept, null, HEADER)),
            ]
            for what, positions, kept, null in (
                ("1/2", READ, 1024, NULL),
                ("1/4", READ, 512, NULL),
                ("1/4", 16, 4, NULL),
                ("1/4", 16, 4, 256),
                ("1/4", 16, 4, 0),
                ("3/16", 16, 3, NULL),
                ("1/8", 16, 2, NULL),
                ("1/16", 16, 1, NULL),
            )
        ]
        clean = up(float((model().predict(torch.tensor(data().x)).numpy() == data().y).mean()))
        for what, groups, slug, retentions in (
            ("any", None, "free", ((3, 3),)),
            (f"not the first {HEADER}, nor the last", FREE, "header", ((1, 7), (2, 4))),
        ):
            free = range(READ) if groups is None else groups
            right = [
                (row, label)
                for row, label in zip(torch.tensor(data().x), data().y, strict=True)
                if int(model_once().predict(row[None])[0]) == label
            ]
            found = [(row, label, flipped(row, int(label), free)) for row, label in right]
            counts = [int((row != moved).sum()) for row, _, moved in found if moved is not None]
            for k in (0, 1, 2, 4, 8, FLIPS):
                kept = len(right) - sum(count <= k for count in counts)
                rows.append(
                    ["the network itself", what, f"{k} byte{'s' * (k != 1)}", "", up(kept / len(data().y)), clean]
                )
            broken = [(label, moved.numpy()) for _, label, moved in found if moved is not None]
            for retention, most in retentions:
                name = f"magika-{slug}-{retention}"
                names.append(name)
                vote = certify.Enumeration(retention=retention, null=NULL)
                blocks = certify.Features(tuple(range(most + 1)), groups=BLOCKS if groups is None else BEHIND)
                result = study(page, name, "file_types:model", "file_types:data", threat=blocks, certifier=vote)
                if groups is not None and broken:
                    moved, alone = np.array([one for _, one in broken]), certify.Features((0,), groups=BEHIND)
                    again = certify.certify(model(), moved, threat=alone, certifier=vote)
                    fooled = sum(now.prediction != label for (label, _), now in zip(broken, again, strict=True))
                    answers[name] = f"{fooled} of {len(broken)}"
                for row in result.summary.rows:
                    subsets = math.comb(len(BLOCKS), retention)
                    cells = [f"the vote over {subsets} copies that show {retention} of 16 blocks", what]
                    unit = f"{int(row.radius)} block{'s' * (row.radius != 1)} of {BLOCK} bytes"
                    rows.append([*cells, unit, down(row.certified), "", up(result.summary.clean)])
    listed = [[KINDS[one.suffix], f"`{one.name}`", sha256(one.read_bytes())[:16]] for one in files()]
    head = ["what answers", "which bytes may change", "how many", "certified %", "attacked %", "clean %"]
    write(
        page,
        "# File types: changed bytes",
        f"""How many bytes of a file may be anything before magika says that it is of another type? The model is
{about_file("magika", FILE)}, as it is: it reads the first and the last {ENDS:,} bytes of a file as whole numbers, and
names one of {len(config()["target_labels_space"])} types. `python benchmarks/real/file_types.py`, {made()},
{taken[0]:.0f} s of the processor for everything below. {checked(page, names)}""",
        f"""{len(files())} files of this machine, {EACH} of each of {len(KINDS)} types, chosen by the digests of their
paths among those of {FEWEST:,} bytes or more; the type is that of the name's end. The vote shows the model every
choice of so many of the 16 blocks of {BLOCK} bytes, with spaces in place of all others, and answers with the type that
most copies get.""",
        table(head, rows),
        f"""* **certified**: a proof (`certify.Enumeration`) about the vote as it is executed, without sampling and
  without an alpha: whatever so many blocks hold, the vote names the same, right type. Changed bytes lie in no more
  blocks than there are such bytes, so a number of blocks is a number of bytes as well, wherever they are.
* **attacked**: what is left of the network itself by an attack that follows the gradients of a network of torch with
  the file's weights, one byte after the other (HotFlip), each example executed by the file. Of the examples that it
  found behind the header, so many change the vote's answer as well:
  {"; ".join(f"`{name}`: {said}" for name, said in answers.items())}. No attack searched the vote.
* **Where the first {HEADER} bytes and the last one are fixed**, and white space before and behind them, a format's own
  marks stay, and a few hundred other bytes tell the type: far more may change. The claim is then about files as they
  lie on the disk: magika strips white space at both ends before it reads, and these bytes keep it from stripping
  more. Where any byte may change, the claim is about the {READ:,} numbers that the network reads; a first byte that
  becomes a space would move all others.
* What magika does with the network's answer, such as saying "unknown" for low confidence, is not part of the claim.
  Deploy the vote, not the network: `certify.predict(clf, x, threat=..., noise="ablation", retention=3, null={NULL})`.
* Inserted and removed bytes move all that follow and are not covered.""",
        "## What hiding costs",
        f"""Share of copies, {COPIES} of each file, whose type the network still names right, by what is shown of the
{READ:,} bytes. Single bytes say little; whole blocks say much more at the same share, and the same number of them may
change.""",
        table(
            ["shown", "positions", "kept", "null value", "recognised %", f"with {HEADER} bytes of header %"],
            costs,
        ),
        "## The files",
        table(["type", "file", "sha256"], listed),
    )


if __name__ == "__main__":
    main()
