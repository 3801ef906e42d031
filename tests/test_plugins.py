"""Members of a package of somebody else: known to the command line, wherever it is installed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from certify import extend
from certify.registry import Registry

PLUGIN = '''
"""A noise, a threat and a certifier."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from certify.certifiers.bounds import Bounds
from certify.extend import CERTIFIERS, NOISES, Budget, THREATS, Threat
from certify.smoothing.noise.gaussian import Gaussian


@NOISES.register("tiny-noise")
@dataclass(frozen=True, slots=True)
class Noise(Gaussian):
    name: ClassVar[str] = "tiny-noise"


@THREATS.register("first-features")
@dataclass(frozen=True, slots=True)
class First(Budget):
    """A few of the first three features, each set to the end of its box."""

    kind: ClassVar[str] = "first-features"
    radii: tuple
    groups: tuple = ((0,), (1,), (2,))
    input_box: tuple | None = None
    units: str = "of the first three changed"
    may = "set as many of the first three features as the radius says"

    def to_dict(self):
        return Threat.to_dict(self)

    @classmethod
    def from_dict(cls, fields):
        return cls(tuple(fields["radii"]), input_box=tuple(fields["input_box"]), units=fields["units"])

    def _least(self, A, x, lower, upper):
        return self._sums(A.clamp(min=0) * lower.unsqueeze(1) + A.clamp(max=0) * upper.unsqueeze(1))

    def _values(self, z, x, lower, upper):
        return z.maximum(lower).minimum(upper)

    def _highest(self, gradient, x, lower, upper):
        return upper.where(gradient > 0, lower)


@CERTIFIERS.register("tiny-bounds")
@dataclass(frozen=True, slots=True)
class Tiny(Bounds):
    """Interval bounds of declared radii."""

    method: str = "ibp"
    decide: bool = True
'''

MODEL = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
"""


@pytest.fixture
def installed(tmp_path):
    """A folder on the path with a package beside the account of what it registers, as pip leaves it behind."""
    (tmp_path / "tiny_plugin.py").write_text(PLUGIN)
    (tmp_path / "some_model.py").write_text(MODEL)
    account = tmp_path / "tiny_plugin-1.0.dist-info"
    account.mkdir()
    (account / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (account / "entry_points.txt").write_text("[certify.plugins]\ntiny = tiny_plugin\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import sys; from certify.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_command_line_knows_what_is_installed(installed):
    table = run(installed, "supports", "--threats").stdout
    assert "first-features" in table
    assert "tiny-bounds" in table.splitlines()[0]
    common = ["--model", "some_model:network", "--data", "digits", "--limit", "4"]
    done = run(
        installed,
        "run",
        *common,
        "--certifier",
        "tiny-bounds,crown",
        "--threat",
        "first-features",
        "--radii",
        "0,1,3",
        "--attack",
        "pgd",
        "--out",
        "runs/bounds",
    )
    assert done.returncode == 0, done.stderr
    assert "threat     first-features in 3 groups" in done.stdout
    assert "declared radii 0, 1, 3" in done.stdout
    checked = run(installed, "check", "runs/bounds", "--model", "some_model:network")
    assert checked.returncode == 0, checked.stdout
    noisy = run(
        installed,
        "run",
        *common,
        "--noise",
        "tiny-noise",
        "--sigma",
        "0.25",
        "--n",
        "100",
        "--radii",
        "0",
        "--out",
        "runs/noise",
    )
    assert noisy.returncode == 0, noisy.stderr
    assert "tiny-noise" in noisy.stdout


def test_one_that_fails_is_named_and_the_rest_works(installed):
    (installed / "tiny_plugin.py").write_text("raise RuntimeError('the licence has expired\\nsince May')")
    told = run(installed, "supports", "--threats")
    assert told.returncode == 0
    assert "features" in told.stdout
    assert "first-features" not in told.stdout
    [line] = told.stderr.splitlines()
    assert line == (
        "certify: plug-in 'tiny' of tiny-plugin could not be loaded (RuntimeError: the licence has expired); "
        "all else works"
    )


def test_extend_holds_the_registry_and_base_of_every_family():
    for name in extend.__all__:
        assert getattr(extend, name) is not None
    registries = [name for name in extend.__all__ if isinstance(getattr(extend, name), Registry)]
    assert {"ATTACKS", "CERTIFIERS", "EVIDENCE", "NOISES", "PROPERTIES", "THREATS"} <= set(registries)
    with pytest.raises(AttributeError, match="no attribute 'THREAT'"):
        _ = extend.THREAT


NAMED = [
    name
    for name in extend.__all__
    if isinstance(family := getattr(extend, name), Registry) and family.named is not None
]


@pytest.mark.parametrize("name", NAMED)
def test_a_class_is_registered_under_the_name_that_its_records_keep(name):
    family = getattr(extend, name)
    with family.scoped() as members:
        one, known = next((one, member) for one, member in members.items() if isinstance(member, type))
        with pytest.raises(ValueError, match=f"is registered as {family.kind} 'another' and states .* {one!r}"):
            family.register("another")(type("Another", (known,), {"__slots__": ()}))
        with pytest.raises(ValueError, match=f"and states no {family.named}: use one name"):
            family.register("another")(type("Another", (), {}))


def test_every_family_whose_records_keep_a_name_checks_it():
    assert set(NAMED) == {"ATTACKS", "CORRUPTIONS", "EVIDENCE", "NOISES", "PROPERTIES", "RULES", "THREATS"}


def test_no_module_looks_into_a_family_while_it_is_imported():
    """Plug-ins would be loaded then, and could not import that module."""
    code = (
        "import importlib, pkgutil, traceback, certify, certify.registry as registry\n"
        "seen = set()\n"
        "def look(): seen.update(x.filename for x in traceback.extract_stack() if x.name == '<module>')\n"
        "registry._load_plugins = look\n"
        "for one in pkgutil.walk_packages(certify.__path__, 'certify.'): importlib.import_module(one.name)\n"
        "print([one for one in seen if 'certify' in one])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_bound_method_is_a_certifier_by_itself():
    with extend.METHODS.scoped() as members:
        members["ibp-again"] = members["ibp"]
        assert extend.CERTIFIERS["ibp-again"]().method == "ibp-again"
    assert "ibp-again" not in extend.CERTIFIERS


def test_members_that_were_added_for_a_while_are_gone_afterwards():
    family = Registry[int]("number")
    family.register("one")(1)
    with family.scoped() as members:
        members["two"] = 2
        del members["one"]
        assert list(family) == ["two"]
    assert dict(family) == {"one": 1}
    with contextlib.suppress(KeyError), family.scoped() as members:
        members.clear()
        _ = members["one"]
    assert dict(family) == {"one": 1}
