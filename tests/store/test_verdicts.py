"""Tables of verdicts: the competition's rows, columns with names, and one line for whatever cannot be read."""

from __future__ import annotations

import pytest

from certify.errors import CertifyError
from certify.store.verdicts import read_verdicts


@pytest.fixture
def table(tmp_path):
    def write(text: str):
        (tmp_path / "t.csv").write_text(text)
        return tmp_path / "t.csv"

    return write


def test_rows_of_the_competition_have_no_header(table):
    words = [
        "holds",
        "VIOLATED",
        "unsat",
        "sat",
        "run_instance_timeout",
        "unknown",
        "prepare_instance_error_1",
        "error",
    ]
    rows = read_verdicts(
        table("".join(f"mnist,./b/n.onnx.gz,./b/p{i}.vnnlib,0.1,{w},2\n" for i, w in enumerate(words)))
    ).rows
    assert [row.verdict for row in rows] == ["unsat", "sat", "unsat", "sat", "timeout", "unknown", "error", "error"]
    assert {(row.family, row.network, row.tool) for row in rows} == {("mnist", "./b/n.onnx.gz", "")}


def test_columns_with_names_may_stand_in_any_order(table):
    found = read_verdicts(
        table(
            "tool,expected,VNNLIB,onnx,witness\na,sat,p.vnnlib,acasxu/onnx/n.onnx,w.txt\n\nb,unsat,p.vnnlib,n.onnx,\n"
        )
    )
    assert found.tools == ("a", "b")
    assert [(row.line, row.family, row.verdict, row.witness) for row in found.rows] == [
        (2, "acasxu", "sat", "w.txt"),
        (4, "", "unsat", ""),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("onnx,onnx\nn,sat\n", "two columns"),
        ("network,vnnlib,result\nn,p,sat\n", "has no column onnx"),
        ("onnx,vnnlib\na,b\n", "has no column result"),
        ("onnx,vnnlib,result\n,p,sat\n", "line 2: onnx '' is not the name of a file"),
        ("onnx,vnnlib,result\nn,p,maybe\n", "line 2: result 'maybe' is not a verdict; known: unsat, holds"),
        ("c,n.onnx,p.vnnlib,0,sat\n", "line 1 has 5 cells where there are 6 columns"),
        ('onnx,vnnlib,result\n"' + "x" * 200_000 + '",p,sat\n', "field larger than field limit"),
    ],
)
def test_what_is_no_such_table_is_named_with_its_line(table, text, words):
    with pytest.raises(CertifyError) as refused:
        read_verdicts(table(text))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
