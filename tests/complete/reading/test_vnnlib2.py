"""VNN-LIB 2.0: the same questions as in 1.0, exact numbers, and what is refused."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from certify.complete.query import Declared, DeclaredTensor
from certify.complete.reading.files import read_property, read_query
from certify.errors import BadInput, MissingExtra

NETWORK = "(declare-network f (declare-input X {0} [{1}]) (declare-output Y {0} [1,2]))\n"
PLAIN = NETWORK.format("float32", "1,2")
BOX = "(assert (and (<= X[0,0] 0.1000000000000000000001) (>= X[0,0] -1.0) (<= X[0,1] 2.0) (> X[0,1] -2.0)))\n"


@pytest.fixture
def read(tmp_path):
    def read(body, network=PLAIN, inputs=2, outputs=2, reader=read_query):
        path = tmp_path / "property.vnnlib"
        path.write_text(f"; a comment first\n(vnnlib-version <2.0>)\n{network}{body}")
        return reader(path, inputs, outputs)

    return read


def test_asks_what_version_1_asks(read, tmp_path):
    body = (
        "(assert (or (and (<= Y[0,0] (* 0.5 Y[0,1])) (== X[0,0] (- Y[0,1] 1.0 X[0,1]))) (>= (+ (- Y[0,0]) 2.0) Y[0,1])"
        " (!= Y[0,0] 3.0)))"
    )
    ours = tmp_path / "one.vnnlib"
    translated = (BOX + body).replace("[0,", "_").replace("]", "").replace("==", "=")
    translated = translated.replace("(!= Y_0 3.0)", "(< Y_0 3.0) (> Y_0 3.0)")
    names = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    ours.write_text(names + translated)
    query = read(BOX + body)
    assert query == read_query(ours, 2, 2)
    assert query.cases[0].upper[0] == Fraction("0.1000000000000000000001")


def test_elements_are_numbered_row_major(read):
    network = "(declare-network f (declare-input A real [2,3,2]) (declare-output B int64 []))"
    elements = [f"A[{i},{j},{k}]" for i in range(2) for j in range(3) for k in range(2)]
    bounds = "".join(f"(assert (<= {name} {n}.5)) (assert (>= {name} -{n}.5))" for n, name in enumerate(elements))
    found = read(bounds + "(assert (<= B 3))", network, 12, 1, read_property)
    assert found.query.cases[0].upper == tuple(n + Fraction(1, 2) for n in range(12))
    assert found.declared == Declared("f", DeclaredTensor("A", "real", (2, 3, 2)), DeclaredTensor("B", "int64", ()))


def test_float32_is_a_bound_where_there_is_no_other(read):
    [case] = read("(assert (and (<= X[0,0] 1.0) (> X[0,1] -2.0)))").cases
    most = Fraction(np.finfo(np.float32).max.item())
    assert (case.lower, case.upper) == ((-most, Fraction(-2)), (Fraction(1), most))
    with pytest.raises(BadInput, match="allows no input"):
        read(f"(assert (>= X[0,0] 1{'0' * 39}.0))")


INPUT, OUTPUT = "(declare-input X float32 [2])", "(declare-output Y float32 [2])"
REFUSED = {
    "syntax": (BOX + "(assert (<= Y[0,0] 1/3))", {}, r"'/' at line 5, column 21: syntax error"),
    "index": (BOX + "(assert (<= Y[0,7] 1.0))", {}, r"Y\[0,7\] at line 5, column 13: .*out of bounds"),
    "type": (BOX + "(assert (<= Y[0,0] 1))", {}, r"1 at line 5, column 20: .*Type mismatch"),
    "nonlinear": (BOX + "(assert (<= (* Y[0,0] X[0,0]) 1.0))", {}, r"\(\* Y .*only linear"),
    "vacuous": (BOX + "(assert (>= X[0,0] 1.0))", {}, "allows no input"),
    "unbounded": (
        "(assert (<= X[0,0] 1.0))",
        {"network": NETWORK.format("real", "1,2")},
        "X_0 has no lower bound",
    ),
    "inputs": (BOX, {"inputs": 5}, r"declares 2 inputs \(X float32 \[1,2\]\), and the network has 5"),
    "outputs": (BOX, {"outputs": 1}, "declares 2 outputs"),
    "element type": (BOX, {"network": NETWORK.format("float16", "1,2")}, "X has element type F16"),
    "hidden": (
        "(assert (<= X[0] 1.0))",
        {"network": f'(declare-network f {INPUT} (declare-hidden H float32 [2] "h") {OUTPUT})'},
        "H is a hidden node",
    ),
    "tensors": (
        "(assert (<= X[0] 1.0))",
        {"network": f"(declare-network f {INPUT} {INPUT.replace('X', 'Z')} {OUTPUT})"},
        "2 input tensors",
    ),
    "networks": (
        "(assert (<= X[0] 1.0))",
        {
            "network": NETWORK.format("real", "2")
            + "(declare-network g (declare-input A real [1]) (declare-output B real [1]))"
        },
        "2 networks",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line(read, name):
    body, settings, message = REFUSED[name]
    with pytest.raises(BadInput, match=message) as refused:
        read(body, **settings)
    assert "\n" not in str(refused.value)


def test_without_the_library_the_extra_is_named(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "vnnlib", None)
    monkeypatch.delitem(sys.modules, "certify.complete.reading.vnnlib2", raising=False)
    with pytest.raises(MissingExtra, match=r"certify\[vnnlib\]"):
        read(BOX)
