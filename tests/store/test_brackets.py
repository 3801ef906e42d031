"""Tables of robustness: both forms, rows of one network, and one line for whatever cannot be read."""

from __future__ import annotations

import gzip
import math

import pytest

from certify.bounded import files
from certify.errors import CertifyError
from certify.store.brackets import brackets_by_model, read_brackets


@pytest.fixture
def table(tmp_path):
    def write(text: str):
        (tmp_path / "t.csv").write_text(text)
        return tmp_path / "t.csv"

    return write


def test_verdicts_by_radius_become_one_bracket_an_input(table):
    text = "eps,index,verdict,label\n0.2,7,not,1\n2/255,7,robust,1\n0.1,7,timeout,1\n0.1,3,Verified,\n"
    seven, three = read_brackets(table(text))
    assert (seven.index, seven.label, [one.line for one in seven.stated]) == (7, 1, [3, 4, 2])
    assert seven.verified == pytest.approx(2 / 255)
    assert seven.verified >= 2 / 255
    assert seven.falsified == 0.2
    assert (three.label, three.verified, three.falsified) == (None, 0.1, None)


def test_brackets_may_lack_an_end_and_are_chosen_by_columns(table):
    text = (
        "network,split,image_id,label,largest_verified,smallest_falsified\n"
        "a,train,0,5.0,0.1,0.2\na,test,0,7.0,0.3,inf\nb,train,0,5.0,,0.1\n"
    )
    [one] = read_brackets(table(text), {"network": "a", "split": "test"})
    assert (one.label, one.verified, one.falsified) == (7, 0.3, None)
    [one] = read_brackets(table(text), {"network": "b"})
    assert (one.verified, one.falsified) == (None, 0.1)
    with pytest.raises(CertifyError, match="line 3: input 0 was there before, line 2, and they differ in split"):
        read_brackets(table(text), {"network": "a"})


def test_tables_of_several_models_are_read_model_by_model(table):
    text = "network,split,index,lower,upper\na,test,0,0.1,\nb,test,0,,inf\na,test,1,nan,0.2\na,train,0,0.3,0.4\n"
    found = brackets_by_model(table(text), {"split": "test"})
    assert {name: [(one.index, one.ends) for one in some] for name, some in found.items()} == {
        "a": [(0, (0.1, math.inf)), (1, (0.0, 0.2))],
        "b": [(0, (0.0, math.inf))],
    }
    assert read_brackets(table(text), {"split": "test", "network": "a"}) == found["a"]


def test_gzip_is_read_like_text(tmp_path):
    (tmp_path / "t").write_bytes(gzip.compress(b"index,lower,upper\n1,0.1,0.2\n"))
    assert [one.index for one in read_brackets(tmp_path / "t")] == [1]


def test_long_cells_and_many_columns_are_one_short_line(table):
    for text in (
        f"index,eps,verdict\n0,0.1,{'x' * 50_000}\n",
        f"index,eps,verdict\n{'9' * 50_000},0.1,robust\n",
        f"{','.join(f'c{i}' for i in range(50_000))}\n{',' * 49_999}1\n",
        f"index,eps,verdict,{'z' * 50_000},{'z' * 50_000}\n0,0.1,robust,1,2\n",
    ):
        with pytest.raises(CertifyError) as problem:
            read_brackets(table(text))
        assert len(str(problem.value)) < 600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("index,eps,verdict\n", "holds no row"),
        ("index,eps\n1,0.1\n", "a table of robustness has index, eps, verdict"),
        ("index,eps,verdict,eps\n1,0.1,robust,2\n", "two columns 'eps'"),
        ("index,eps,verdict\n1,0.1\n", "line 2 has 2 cells where there are 3 columns"),
        ("index,eps,verdict\n1,0.1,safe\n", "line 2: verdict 'safe' is not a verdict; known: robust"),
        ("index,eps,verdict\n1.5,0.1,robust\n", "index '1.5' is not a position"),
        ("index,eps,verdict\n-1,0.1,robust\n", "index '-1' is not a position"),
        ("index,eps,verdict\n1,-0.1,robust\n", "eps '-0.1' is not a radius"),
        ("index,eps,verdict\n1,nan,robust\n", "eps 'nan' is not a radius"),
        ("index,eps,verdict\n1,1e999,robust\n", "eps '1e999' is not a radius"),
        ("index,eps,verdict\n1,1/0,robust\n", "eps '1/0' is not a radius"),
        (
            "index,eps,verdict\n1,0.1,robust\n1,0.1,not\n",
            "line 3: input 1 was there before, line 2; give each input once",
        ),
        ("index,eps,verdict,label\n1,0.1,robust,2\n1,0.2,not,3\n", "line 3: input 1 has label 3, and in line 2 2"),
        ("index,lower,upper\n1,0.1,0.2\n1,0.1,0.2\n", "line 3: input 1 was there before"),
        ("index,lower,upper\n1,inf,inf\n", "line 2: lower 'inf' is not a radius"),
    ],
)
def test_what_is_no_such_table_is_named_with_its_line(table, text, words):
    with pytest.raises(CertifyError) as refused:
        read_brackets(table(text))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_are_chosen_by_what_is_there(table):
    path = table("index,lower,upper,network\n1,0.1,0.2,a\n")
    with pytest.raises(CertifyError, match="no column 'net' to choose rows by; it has index"):
        read_brackets(path, {"net": "a"})
    with pytest.raises(CertifyError, match="no row with network=b; its column network holds a"):
        read_brackets(path, {"network": "b"})


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_TEXT", 1000)
    monkeypatch.setattr(files, "room", lambda: 0)
    (tmp_path / "bomb").write_bytes(gzip.compress(b"index,lower,upper\n" + b"1,0.1,0.2\n" * 1000))
    with pytest.raises(CertifyError, match="cannot read table .*it holds more than 1,000 bytes"):
        read_brackets(tmp_path / "bomb")
