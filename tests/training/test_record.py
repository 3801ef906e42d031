"""What a folder of models says: which belong together, and what a SPEC that names them stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from certify.errors import BadInput, ModelError
from certify.training.asked import Asked
from certify.training.record import CHECKPOINT, RECORD, asked_of, folder_of, members_of, specs_of


def model(folder: Path, fold: Any = None, name: str = RECORD) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps({"asked": {"data": {"digest": "d"}, "fold": fold}}))
    return folder


def test_members_are_in_order_of_their_number(tmp_path: Path) -> None:
    for seed in (10, 2, 0):
        model(tmp_path / "x" / f"seed-{seed}")
    assert [one.name for one in members_of(tmp_path / "x")] == ["seed-0", "seed-2", "seed-10"]
    assert members_of(tmp_path / "x" / "seed-0") == []
    assert members_of(tmp_path / "none") == []
    assert list(specs_of(str(tmp_path / "x"))) == ["seed-0", "seed-2", "seed-10"]
    assert specs_of(f"{tmp_path}/x/seed-2") == {"": f"{tmp_path}/x/seed-2"}


def test_a_function_takes_the_weights_of_a_folder_or_of_its_members(tmp_path: Path) -> None:
    one, two = model(tmp_path / "x" / "seed-0"), model(tmp_path / "x" / "seed-1")
    found = specs_of(f"nets:build@{tmp_path / 'x'}")
    assert found == {each.name: f"nets:build@{each / 'model.safetensors'}" for each in (one, two)}
    assert specs_of(f"nets:build@{one}") == {"": found["seed-0"]}
    assert folder_of(found["seed-0"]) == folder_of(str(one)) == one
    asked = Asked("noise", "digits:train", network="nets:build", seeds=2)
    assert asked.specs(str(tmp_path / "x")) == found


@pytest.mark.parametrize("spec", ["net.onnx", "nets:build", "nets:build@weights.pt", "none", "a@b", ""])
def test_other_specs_stand_for_themselves(spec: str) -> None:
    assert specs_of(spec) == {"": spec}
    assert folder_of(spec) is None


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"seed-0": None, "fold-0": [0, 2]}, "holds models of seeds and of folds"),
        ({"fold-0": [0, 3], "fold-2": [2, 3]}, "lacks fold 1 of 3"),
        ({"fold-0": [0, 2], "fold-1": [1, 10**12]}, "fold-0 is one of 2 folds, fold-1 of 1000000000000"),
        ({"fold-0": [0, 10**12]}, "lacks fold 1 of 1000000000000"),
        ({"fold-0": None}, "was trained without leaving out a fold"),
    ],
)
def test_members_that_do_not_belong_together_are_refused(members: dict[str, Any], said: str, tmp_path: Path) -> None:
    for name, fold in members.items():
        model(tmp_path / name, fold)
    with pytest.raises(BadInput, match=said):
        members_of(tmp_path)


def test_a_training_that_has_not_ended_is_no_member(tmp_path: Path) -> None:
    model(tmp_path / "seed-0")
    model(tmp_path / "seed-1", name=CHECKPOINT)
    with pytest.raises(BadInput, match="seed-1 is not trained to its end"):
        members_of(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": []}', '{"asked": {"data": {"digest": "d"}, "fold": 3}}'])
def test_a_record_that_cannot_be_is_corrupt(content: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(ModelError, match="is corrupt"):
        asked_of(tmp_path)
