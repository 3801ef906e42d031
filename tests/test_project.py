"""The project as a whole: nothing is left uncollected, unexported, or dependent on torch where it must not be."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import certify

ROOT = Path(__file__).parents[1]


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    files = [path for path in ROOT.glob("tests/**/*.py") if path.name not in ("conftest.py", "__init__.py")]
    assert files, "no tests found"
    assert {"tests"} <= set(pytestconfig.getini("testpaths"))
    assert pytestconfig.getini("python_files") == ["test_*.py", "*_test.py"]
    assert not [path for path in files if not path.name.startswith("test_")]
    assert not [path for path in files if not re.search(r"^(    )?def test_", path.read_text(), re.MULTILINE)]


def test_public_names_resolve() -> None:
    assert len(set(certify.__all__)) == len(certify.__all__)
    for name in certify.__all__:
        assert getattr(certify, name).__doc__


def test_the_public_interface_is_pinned() -> None:
    promised = "Classifier ThreatModel load_model smooth bound attack evaluate summarize output_bounds".split()
    assert set(promised) <= set(certify.__all__)


def test_the_reporting_side_needs_no_torch() -> None:
    modules = (
        "certify, certify.extend, certify.core.summary, certify.summary.summarize, certify.study.read, certify.cli"
    )
    code = (
        f"import sys, {modules}; from certify.core.summary import FORMATS, PLOTS; list(FORMATS), list(PLOTS);"
        "from certify.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_every_module_documents_itself() -> None:
    for path in (ROOT / "certify").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        assert importlib.import_module(name).__doc__, name
