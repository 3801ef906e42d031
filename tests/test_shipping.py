"""What is shipped agrees with itself: version, supported Pythons, extras, forms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def test_one_version_everywhere() -> None:
    changes = re.search(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert changes
    assert changes[1] == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == PROJECT["version"]


def test_every_python_that_is_promised_is_tried() -> None:
    tried = WORKFLOW["jobs"]["install"]["strategy"]["matrix"]["python"]
    assert [f"Programming Language :: Python :: {one}" for one in tried] == [
        one for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)
    ]
    assert PROJECT["requires-python"] == f">={tried[0]}"


def test_users_get_the_annotations() -> None:
    assert (ROOT / "certify/py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_workflow_runs_what_every_host_runs() -> None:
    assert {"run": ".ci/run"} in WORKFLOW["jobs"]["test"]["steps"]
    assert any("certify demo" in step.get("run", "") for step in WORKFLOW["jobs"]["install"]["steps"])
    assert not any("checkout" in step.get("uses", "") for step in WORKFLOW["jobs"]["install"]["steps"])


def test_every_extra_says_why() -> None:
    rows = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    assert not [extra for extra in PROJECT["optional-dependencies"] if f"\n| `{extra}` |" not in rows]


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_forms_ask_for_something(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        return
    assert {"name", "description", "body"} <= set(content)
    assert any(one.get("validations", {}).get("required") for one in content["body"])


def test_hooks_run_the_tools_of_the_project() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks[0]["hooks"])
