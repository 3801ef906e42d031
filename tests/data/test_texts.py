"""Texts in a table: rows of token ids, and one clear line for everything that is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import certify
from certify.cli import main
from certify.data.loaders import load_data
from certify.errors import BadInput, DataError

VOCABULARY = "<pad>\n<unk>\ngood\nbad\nfilm\n"
TABLE = 'id,text,label\n1,"good film",pos\n2,bad  film film,neg\n3,"a good, film",pos\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text(VOCABULARY)
    (tmp_path / "films.csv").write_text(TABLE)
    return tmp_path


def test_texts_are_rows_of_the_numbers_of_their_words(folder):
    data = load_data("csv:films.csv:text,label:words.txt")
    assert data.x.tolist() == [[2, 4, 0], [3, 4, 4], [1, 1, 4]]  # "good," is another word than "good"
    assert data.x.dtype == np.float32
    assert (data.y.tolist(), data.num_classes) == ([1, 0, 1], 2)
    assert data.input_box == (0.0, 4.0)
    assert "text in 5 words" in data.name
    longer = load_data("csv:films.csv:text,label:words.txt:5")
    assert longer.x.shape == (3, 5)
    assert (longer.x[:, 3:] == 0).all()
    assert load_data("csv:films.csv:text,label:words.txt", input_box=(0.0, 9.0)).input_box == (0.0, 9.0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("csv:films.csv:text,label", "names no vocabulary: write csv:FILE:TEXT,LABEL:VOCABULARY"),
        ("csv:films.csv:text,label:none.txt", "vocabulary none.txt"),
        ("csv:films.csv:text,label:empty.txt", "vocabulary empty.txt: the first line is padding"),
        ("csv:films.csv:txt,label:words.txt", "has no column 'txt' of texts; name the right one of: id, text, label"),
        ("csv:films.csv:text,labels:words.txt", "has no column 'labels' of labels"),
        ("csv:films.csv:text,label:words.txt:2", "text 1 has 3 words, more than a row of 2: ask for longer rows"),
        ("csv:none.csv:text,label:words.txt", "no file 'none.csv'"),
        ("csv:short.csv:text,label:words.txt", "row 1 has 1 columns, the header names 2"),
        ("csv:blank.csv:text,label:words.txt", "row 0 has a text without words"),
        ("csv:bare.csv:text,label:words.txt", "holds no rows"),
        ("csv:unlabelled.csv:text,label:words.txt", "input 0 has no label"),
        ("csv:films.csv:text,label:words.txt:999999999", "are more than 268,435,456 together"),
    ],
)
def test_what_is_wrong_is_one_clear_line(folder, spec, said, capsys):
    (folder / "empty.txt").write_text("<pad>\n<unk>\n")
    (folder / "short.csv").write_text("text,label\ngood,1\nbad\n")
    (folder / "blank.csv").write_text('text,label\n" ",1\n')
    (folder / "bare.csv").write_text("text,label\n")
    (folder / "unlabelled.csv").write_text("text,label\ngood,\n")
    with pytest.raises((BadInput, DataError), match=said) as problem:
        load_data(spec)
    assert "\n" not in str(problem.value)
    assert main(["run", "--model", "none", "--data", spec, "--norm", "linf", "--radii", "0", "--out", "run"]) == 2
    with pytest.raises(BadInput, match="texts have labels"):
        load_data("csv:films.csv:text,label:words.txt", regression=True)


def test_texts_are_certified_and_attacked(folder):
    clf = certify.Classifier(lambda x: (x == 2).any(dim=1).long(), num_classes=2, input_box=(0.0, 4.0))
    data = load_data("csv:films.csv:text,label:words.txt:5")
    kept = torch.from_numpy(data.x[:2])
    threat = certify.Insertions((0, 1), mode="suffix")
    made = certify.certify(clf, kept, data.y[:2], threat=threat, certifier="erase-and-check")
    assert [(one.prediction, one.radius) for one in made] == [(1, 1.0), (0, 0.0)]
    [found] = certify.attack(clf, kept[:1], [1], threat=certify.Substitutions((1,), {2: [2, 3]}), attack="beam")
    assert found.x_adv.tolist() == [3, 4, 0, 0, 0]
