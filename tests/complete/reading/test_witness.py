"""Witnesses: exact inside the box, the same floats when read back, both forms, and refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from certify.complete.query import Condition, Declared, DeclaredTensor, Disjunct
from certify.complete.reading.witness import read_witness, witness_text
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

DECLARED = Declared("f", DeclaredTensor("X", "float32", (1, 64)), DeclaredTensor("Y", "float32", (2,)))


def point_case(x, conditions=()):
    """A box that holds these floats and nothing else: only exact decimals are inside."""
    exact = tuple(Fraction(float(value)) for value in x)
    return Disjunct(exact, exact, conditions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("declared", [None, DECLARED])
def test_floats_read_back_and_lie_inside(dtype, declared):
    generator = seeded_generator("witness", str(dtype))
    x = (generator.normal(size=64) * 10.0 ** generator.integers(-40, 30, 64)).astype(dtype)
    y = generator.normal(size=2).astype(dtype)
    tight = point_case(x)
    wide = Disjunct(tuple(low - abs(low) for low in tight.lower), tuple(up + abs(up) for up in tight.upper), ())
    texts = []
    for case in (tight, wide):
        texts.append(witness_text(x, y, case, declared))
        exact_x, exact_y = read_witness(texts[-1])
        assert case.holds(exact_x, exact_y)
        assert np.array_equal(np.array([float(value) for value in exact_x]).astype(dtype), x)
        assert np.array_equal(np.array([float(value) for value in exact_y]).astype(dtype), y)
    assert len(texts[1]) < len(texts[0])
    assert "e" not in texts[0] + texts[1].replace("float", "")


def test_conditions_on_inputs_are_met_by_the_text():
    x = np.float32([0.1, 0.2])
    total = Fraction(float(x[0])) + Fraction(float(x[1]))
    condition = Condition(x=((0, Fraction(-1)), (1, Fraction(-1))), y=(), bound=-total)
    case = Disjunct((Fraction(0),) * 2, (Fraction(1),) * 2, (condition,))
    assert not case.holds((Fraction("0.1"), Fraction("0.2")), ())
    exact_x, exact_y = read_witness(witness_text(x, np.float32([1]), case))
    assert case.holds(exact_x, exact_y)


def test_version_2_form():
    case = Disjunct((Fraction(0),), (Fraction(1),), ())
    declared = Declared("f", DeclaredTensor("A", "float32", (1, 1)), DeclaredTensor("B", "int64", (2,)))
    text = witness_text(np.float32([[0.5]]), np.array([3, -1]), case, declared)
    assert text == "A float32 [1,1]\n0.5\nB int64 [2]\n3\n-1"
    assert read_witness(text) == ((Fraction(1, 2),), (3, -1))


@pytest.mark.parametrize("value", [1.5, -1e-45, np.nan, np.inf])
def test_inputs_outside_the_box_are_refused(value):
    with pytest.raises(BadInput, match="outside of the box"):
        witness_text(np.float32([value]), np.float32([0]), Disjunct((Fraction(0),), (Fraction(1),), ()))


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(BadInput, match="not finite"):
        witness_text(np.float32([0]), np.float32([np.nan]), Disjunct((Fraction(0),), (Fraction(1),), ()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((X_0 1) (X_2 1) (Y_0 1))", "no X_1"),
        ("((X_0 one))", "one|number"),
        ("((Z_0 1))", r"\(X_i value\)"),
        ("0.5", "begins with"),
        ("X float32 [1]\n0.5", "not 1 tensors"),
        ("X float32 [2]\n0.5\nY float32 [1]\n1", "has 1 numbers, and its shape 2"),
        ("((X_0 1) (Y_0 1) (X_0 2))", "X_0 twice"),
        ("((X_0 1) (X_00 2))", r"\(X_i value\)"),
        (f"((X_0 1e{'9' * 5000}))", "beyond every floating-point format"),
    ],
)
def test_malformed_witnesses_are_refused(text, message):
    with pytest.raises(BadInput, match=message):
        read_witness(text)
