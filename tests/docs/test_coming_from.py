"""The pages about other tools: every command on them runs, every option and name of ours is there."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from onnx import TensorProto, helper

import certify
import certify.cli
from certify.attacks.base import ATTACKS
from certify.cli import main
from certify.cli.app import app
from certify.stats.ladder import rungs

PAGES = sorted((Path(__file__).parents[2] / "docs" / "coming_from").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"`(certify [a-z-]+[^`]*)`")

NETS = """
import torch

def net():
    torch_net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with torch.no_grad():
        torch_net[1].weight.copy_(torch.tensor([[1.0, 0.5, -0.5, -1.0], [-1.0, -0.5, 0.5, 1.0]]))
        torch_net[1].bias.zero_()
    return torch_net.eval()
"""
PROPERTY = """(declare-const X_0 Real)
(declare-const Y_0 Real)
(assert (>= X_0 0.1))
(assert (<= X_0 0.2))
(assert (>= Y_0 0.5))
"""


def blocks(text: str, language: str) -> list[str]:
    return [block for found, block in BLOCK.findall(text) if found == language]


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page.read_text(), "") for line in block.splitlines() if line.startswith("certify")]


def known_commands() -> dict[str, Any]:
    """All commands: each is known once the module that defines it was imported."""
    for module in pkgutil.iter_modules(certify.cli.__path__):
        importlib.import_module(f"certify.cli.{module.name}")
    return typer.main.get_command(app).commands


def text_of(name: str) -> str:
    return next(page for page in PAGES if page.stem == name).read_text()


def function_on(name: str) -> str:
    """The function that the examples of a page define."""
    [found] = re.findall(r"^>>> (def .*\n(?:\.\.\. .*\n)+)", text_of(name), re.MULTILINE)
    return found.replace("... ", "")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """What the commands name: a network, data, groups, a policy, a log, a file with its property, brackets."""
    generator = np.random.default_rng(0)
    x = generator.random((12, 4)).astype(np.float32)
    y = (x @ np.float32([-2, -1, 1, 2]) > 0).astype(np.int64)
    np.savez(tmp_path / "test.npz", x=x, y=y)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "mine.py").write_text(f"import torch\n\n{function_on('cleverhans')}")
    (tmp_path / "slices.csv").write_text("index,low,odd\n" + "".join(f"{i},{i < 8},{bool(i % 2)}\n" for i in range(12)))
    (tmp_path / "groups.csv").write_text("index,sex\n" + "".join(f"{i},{'fm'[i % 2]}\n" for i in range(12)))
    (tmp_path / "policy.toml").write_text(blocks(text_of("deepchecks"), "toml")[0])
    votes = generator.binomial(10_000, 1 - 10 ** generator.uniform(-6, -0.2, 60))
    radii = [f"{radius:.3}" if radius > 0 else "0.0" for radius in rungs(votes, 10_000, 0.001, 0.25)]
    rows = (
        f"{i}\t1\t{-1 if one == '0.0' else 1}\t{one}\t{int(one != '0.0')}\t0:00:01\n" for i, one in enumerate(radii)
    )
    (tmp_path / "sigma_0.25.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + "".join(rows))
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "prop.vnnlib").write_text(PROPERTY)
    (tmp_path / "brackets.csv").write_text("network,image_id,largest_verified,smallest_falsified\na,0,0.001,0.9\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("nets", "mine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_every_command_runs(page, folder, capsys):
    for line in commands(page):
        code = main(shlex.split(line)[1:])
        said = capsys.readouterr()
        assert code == 0, (line, said.err)
        assert "Traceback" not in said.err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_options_and_names_exist(page):
    known = known_commands()
    text = page.read_text()
    for line in [*commands(page), *SHOWN.findall(text)]:
        words = line.replace("...", "").split()
        if words[1] in ("corrupt", "compare-data", "monitor", "shift", "stress"):
            continue  # these are held to their own pages
        options = {option for one in known[words[1]].params for option in one.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, line
    for name in set(re.findall(r"\bcertify\.([a-z_]+|[A-Z]\w+)\b", text)) - {"py"}:
        assert hasattr(certify, name), name
    for name in re.findall(r"(?:art|foolbox):([A-Z]\w+)", text):
        if name not in ("CLASS",):
            library = "art" if f"art:{name}" in text else "foolbox"
            assert ATTACKS[f"{library}:{name}"]


def test_every_page_has_its_parts_and_stands_in_the_index():
    index = text_of("index")
    for page in PAGES:
        if page.stem != "index":
            text = page.read_text()
            assert f"({page.name})" in index
            assert "| what you write there | what you write here |" in text
            for part in (
                "**The same.**",
                "**Different.**",
                "**Missing here.**",
                "**Bring your results along.**",
                ">>> ",
            ):
                assert part in text, (page, part)
