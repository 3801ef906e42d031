"""Data as programs have them, and tables of numbers in files: read as meant, or one line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import certify
from certify.data.dataset import input_digest
from certify.data.given import arrays_of
from certify.data.loaders import load_data
from certify.errors import BadInput, CertifyError, DataError

X = np.random.default_rng(0).uniform(0, 1, (7, 3)).astype(np.float32)
Y = X.argmax(1)
PAIRS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


class Pairs(TorchDataset):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, place: int) -> tuple[np.ndarray, int]:
        if place >= len(X):
            raise IndexError
        return X[place], int(Y[place])


def frame(**more: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": X[:, 0], "label": Y, "b": X[:, 1], "c": X[:, 2]} | more)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [torch.from_numpy(X), torch.from_numpy(Y)],
        DataLoader(PAIRS, batch_size=2),
        PAIRS,
        Pairs(),
        frame(),
        (frame().rename(columns={"label": "kind"}), "kind"),
        (pd.DataFrame(X), pd.Series(Y)),
    ],
)
def test_the_same_data_in_every_form_are_the_same(data: Any) -> None:
    net = nn.Linear(3, 3).eval()
    with torch.no_grad():
        net.weight.copy_(torch.eye(3))
    clf, threat = certify.Classifier(net, num_classes=3), certify.ThreatModel("linf", (0.0, 0.1))
    state = torch.random.get_rng_state()
    found = certify.evaluate(clf, data, threat=threat, certifier="ibp").certificates
    assert torch.equal(state, torch.random.get_rng_state())
    assert [one.label for one in found] == Y.tolist()
    assert [one.input_digest for one in found] == [input_digest(x) for x in X]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (DataLoader(PAIRS, shuffle=True), "shuffle=False"),
        (DataLoader(PAIRS, batch_size=2, drop_last=True), "drop_last=False"),
        (DataLoader(X), "each batch must be a pair"),  # type: ignore[arg-type]
        (DataLoader([]), "gives no inputs"),
        (DataLoader([(object(), 1)]), "add a transform to tensors"),
        (frame().drop(columns="label"), "no column 'label' of labels; name the right one of: a, b, c"),
        ((frame(), "d"), "no column 'd'"),
        (frame(b="x"), "features that are no numbers"),
        (frame(label=[0.5] * 7), "whole numbers from 0"),
        (frame(label=[0, 1, 2, "x", 0, 0, 0]), "all of them names"),
        (frame(label=["cat", None, "dog", "cat", "cat", "dog", "dog"]), "has no label|all of them names"),
        (3, "data must be"),
        ((X, Y, Y), "data must be"),
    ],
)
def test_data_that_cannot_be_meant_are_one_line(data: Any, words: str) -> None:
    with pytest.raises(CertifyError, match=rf"^[^\n]*{words}[^\n]*$"):
        arrays_of(data)


def test_normalized_inputs_are_told_where_normalization_belongs() -> None:
    clf, threat = certify.Classifier(nn.Linear(3, 3).eval(), 3), certify.ThreatModel("linf", (0.1,))
    with pytest.raises(DataError, match="leave their normalization to the Classifier"):
        certify.evaluate(clf, ((X - 0.5) / 0.25, Y), threat=threat, certifier="ibp")
    with pytest.raises(DataError, match="certify.evaluate takes loaders"):
        certify.bound(clf, DataLoader(PAIRS), threat=threat)


def test_a_table_in_a_file(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "plain.csv", index=False)
    frame().rename(columns={"label": "kind"}).to_csv(tmp_path / "other.csv", index=False)
    frame(label=[["cat", "dog", "eel"][y] for y in Y]).to_csv(tmp_path / "named.csv", index=False, quoting=1)
    (tmp_path / "packed:2.csv.gz").write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    read = [
        load_data(f"csv:{tmp_path / name}") for name in ("plain.csv", "other.csv:kind", "named.csv", "packed:2.csv.gz")
    ]
    assert {one.digest for one in read} == {certify.Dataset("", X, Y, 3).digest}
    assert {(one.num_classes, one.input_box) for one in read} == {(3, None)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'label'"),
        ("a,label\n", "or no rows"),
        ("label\n1\n", "holds no features"),
        ("a,b\n1,2\n", "name the right one of: a, b"),
        ("a,label,label\n1,2,3\n", "has 2 columns 'label'"),
        ("0.5,0.25,1\n", "no column 'label'"),
        ("a,label\n1,0\nx,1\n", "could not convert string 'x'"),
        ("a,label\n1,0\n,1\n", "could not convert string ''"),
        ("a,label\n1,0\n1,2,1\n", "number of columns changed"),
        ("a,b,label\n1,0\n1,1\n", ""),
        ("a,label\nnan,0\n", "NaN"),
        ("a,label\n1,-1\n", "out of range"),
        ("a,label\n1,0.5\n", "whole numbers"),
        ("a,label\n1,1e300\n", "whole numbers"),
        ("a,label\n1,nan\n", "whole numbers"),
        ("a,label\n1,\n", ""),
        ("a,label\n\x00,\x00", ""),
    ],
)
def test_tables_that_cannot_be_meant_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"^[^\n]*{words}[^\n]*$"):
        load_data(f"csv:{tmp_path / 't.csv'}")


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="no table|cannot be read as a table"):
        load_data(f"csv:{tmp_path / 't.csv'}")
    with pytest.raises(BadInput, match=r"no file .*csv:FILE:COLUMN"):
        load_data("csv:none.csv")
