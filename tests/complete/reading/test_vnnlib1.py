"""VNN-LIB 1.0: formulas against their direct evaluation, exact numbers, shared boxes, and refusals with their place."""

from __future__ import annotations

import gzip
import operator
from fractions import Fraction

import pytest

from certify.complete.reading.files import read_property, read_query
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq}
BOX = "".join(f"(assert (<= X_{i} 2)) (assert (>= X_{i} -2))" for i in range(2))


def declared(inputs=2, outputs=2):
    names = [*(f"X_{i}" for i in range(inputs)), *(f"Y_{j}" for j in range(outputs))]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


@pytest.fixture
def read(tmp_path):
    def read(text, inputs=2, outputs=2):
        path = tmp_path / "property.vnnlib"
        path.write_text(text)
        return read_query(path, inputs, outputs)

    return read


def linear(generator, depth):
    """A random linear expression: its text, and a function from values of the variables."""
    kind = generator.integers(0, 6 if depth else 2)
    if kind == 0:
        name = str(generator.choice(["X_0", "X_1", "Y_0", "Y_1"]))
        return name, lambda v: v[name]
    if kind == 1:
        text = str(generator.choice(["0", "-1", "2.50", "1e-1", "-3.E+0", "+.5", "0.333333333333333333333"]))
        value = Fraction(text.replace(".E", "E"))
        return text, lambda v: value
    (a, left), (b, right) = linear(generator, depth - 1), linear(generator, depth - 1)
    if kind == 2:
        return f"(+ {a} {b} 1)", lambda v: left(v) + right(v) + 1
    if kind == 3:
        return f"(- {a} {b})", lambda v: left(v) - right(v)
    if kind == 4:
        return f"(- {a})", lambda v: -left(v)
    factor = str(generator.choice(["-1.5", "0.25"]))
    return f"(* {factor} {a} 2)", lambda v: 2 * Fraction(factor) * left(v)


def formula(generator, depth):
    """A random formula: its text, and a predicate on values of the variables."""
    kind = generator.integers(0, 3 if depth else 1)
    if kind == 0:
        sign = str(generator.choice(list(OPERATORS), p=[0.3, 0.3, 0.15, 0.15, 0.1]))
        (a, left), (b, right) = linear(generator, 2), linear(generator, 1)
        return f"({sign} {a} {b})", lambda v: OPERATORS[sign](left(v), right(v))
    parts = [formula(generator, depth - 1) for _ in range(generator.integers(1, 4))]
    together = all if kind == 1 else any
    text = f"({'and' if kind == 1 else 'or'} {' '.join(text for text, _ in parts)})"
    return text, lambda v: together(holds(v) for _, holds in parts)


@pytest.mark.parametrize("seed", range(40))
def test_cases_hold_exactly_where_the_formulas_do(read, seed):
    generator = seeded_generator("formulas", seed)
    assertions = [formula(generator, 3) for _ in range(generator.integers(1, 4))]
    inside = [lambda v: all(-2 <= v[f"X_{i}"] <= 2 for i in range(2))]
    try:
        cases = read(declared() + BOX + "\n".join(f"(assert {text})" for text, _ in assertions)).cases
    except BadInput as vacuous:
        assert "allows no input" in str(vacuous)
        cases = ()
    points = generator.integers(-10, 11, size=(300, 4)).tolist()
    for point in points:
        x0, x1, y0, y1 = (Fraction(value, 4) for value in point)
        values = {"X_0": x0, "X_1": x1, "Y_0": y0, "Y_1": y1}
        expected = all(holds(values) for holds in (*inside, *(holds for _, holds in assertions)))
        assert any(case.holds((x0, x1), (y0, y1)) for case in cases) == expected, values


def test_numbers_stay_exact_and_coefficients_become_whole(read):
    text = (
        declared()
        + BOX
        + "(assert (<= X_0 0.1000000000000000000000001)) (assert (<= (* 0.25 Y_0) (+ (* 1.5 Y_1) 1e-3)))"
    )
    (case,) = read(text).cases
    assert case.upper == (Fraction("0.1000000000000000000000001"), 2)
    (condition,) = case.conditions
    assert (condition.x, condition.y, condition.bound) == ((), ((0, 1), (1, -6)), Fraction("0.004"))


def test_multiples_of_one_input_bound_it(read):
    (case,) = read(declared() + BOX + "(assert (<= (* 0.5 X_1) 0.75)) (assert (<= (- 1 (* X_1 4)) 5))").cases
    assert (case.lower, case.upper, case.conditions) == ((-2, -1), (2, Fraction(3, 2)), ())


def test_equal_boxes_are_one_object_and_empty_ones_are_left_out(read):
    boxes = "(assert (or (<= X_0 1) (and (<= X_0 0) (>= X_0 1)) (>= X_0 1.0) (< X_1 -2) (and (>= X_1 2) (< X_1 2))))"
    cases = read(declared() + BOX + boxes + "(assert (or (<= Y_0 0) (<= Y_1 0)))").cases
    assert len(cases) == 4
    assert len({id(case.lower) for case in cases}) == 2


def test_strict_bounds_keep_the_closed_box_and_a_condition(read):
    (case,) = read(declared() + BOX + "(assert (< X_0 2)) (assert (> X_1 -5)) (assert (<= Y_0 0))").cases
    assert case.upper == (2, 2)
    assert len(case.conditions) == 2
    assert case.holds((Fraction(15, 8), Fraction(-2)), (0, 0))
    assert not case.holds((Fraction(2), Fraction(0)), (0, 0))


def test_deep_nesting_is_read_without_recursion(read):
    deep = "(assert " + "(or (<= Y_0 0) " * 5000 + "(<= Y_1 0)" + ")" * 5001
    assert len(read(declared() + BOX + deep).cases) == 5001


def test_gzip_is_recognised_by_content(tmp_path):
    path = tmp_path / "property.vnnlib"
    path.write_bytes(gzip.compress((declared() + BOX).encode()))
    assert read_property(path, 2, 2).declared is None
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="its gzip is damaged"):
        read_query(path, 2, 2)
    with pytest.raises(BadInput, match="cannot be read"):
        read_query(tmp_path / "absent.vnnlib", 2, 2)


HEAD = declared() + BOX + "; comments keep (the place\n"
REFUSED = {
    "(assert (<= X_0 X_5))": r"X_5 at line 6, column 17: the network has 2 inputs, X_0 to X_1",
    "(assert (<= Y_0 0)": r"\( at line 6, column 1: .* never closed",
    "\n (assert (<= Y_0 0)))": r"\) at line 7, column 21: no parenthesis is open",
    "assert": r"assert at line 6, column 1: outside",
    "(assert (<= Z_0 0))": r"Z_0 at line 6, column 13: no variable",
    "(assert (<= Y_0 1/3))": r"1/3 at line 6, column 17: .*not a number",
    "(assert (<= Y_0 nan))": r"nan at .*not a number",
    "(assert (<= Y_0 .))": r"\. at .*not a number",
    "(assert (<= Y_0 1e999999999))": r"1e999999999 at .*floating-point",
    "(assert (<= (* Y_0 (+ 1 X_0)) 0))": r"\* at line 6, column 14: .*only linear",
    "(assert (<= Y_0 0 1))": r"<= at line 6, column 10: takes 2 arguments, not 3",
    "(assert (and (<= Y_0 0) Y_1))": r"Y_1 at line 6, column 25: a comparison",
    "(assert (<= (or (<= Y_0 0)) 0))": r"\( at line 6, column 13: a number or an expression",
    "(assert (not (<= Y_0 0)))": r"not at line 6, column 10: not among",
    "(assert (or))": r"or at line 6, column 10: takes at least one",
    "(assert ((<= Y_0 0)))": r"\( at line 6, column 10: an operator",
    "(declare-const X_0 Real)": r"X_0 at line 6, column 16: declared before",
    "(declare-const X_2 Real)": r"X_2 at line 6, column 16: the network has 2 inputs",
    "(declare-const input Real)": r"input at line 6, column 16: variables are called",
    "(declare-const Y_1 Int)": r"Int at line 6, column 20: only variables of type Real",
    "(assert (>= X_1 2.5))": r"allows no input at all",
    "(assert (>= 1 2))": r"allows no input at all",
    "".join("(assert (or (<= Y_0 0) (<= Y_1 0)))" for _ in range(20)): r"1e\+06 cases",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_are_one_line_with_the_place(read, text):
    with pytest.raises(BadInput, match=REFUSED[text]) as refused:
        read(HEAD + text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (declared(1), "declares 1 inputs, and the network has 2"),
        (declared(2, 1), "declares 1 outputs, and the network has 2"),
        (declared() + "(assert (<= X_0 1)) (assert (>= X_0 0)) (assert (>= X_1 0))", "X_1 has no upper bound"),
        (declared() + "(assert (or (<= X_0 1) (>= X_1 0)))", "has no lower bound"),
        ("(vnnlib-version <3.0>)", "VNN-LIB 3; versions 1 and 2"),
    ],
)
def test_properties_of_other_networks_and_unbounded_inputs_are_refused(read, text, message):
    with pytest.raises(BadInput, match=message):
        read(text)
