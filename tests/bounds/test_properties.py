"""What every property has to answer: records, answers and clauses that agree, held against enumeration."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

from certify.bounds.radii.margins import property_rows
from certify.core.properties.base import PROPERTIES, property_from
from certify.core.properties.labels import Labels
from certify.core.properties.never import Never
from certify.core.properties.rows import LinearRows
from certify.core.properties.superclass import Superclass
from certify.core.properties.top_class import TopClass
from certify.core.properties.top_k import TopK
from certify.core.properties.within import Within
from certify.errors import BadInput

CLASSES = 5


def outputs(one):
    """How many numbers the model of a property returns."""
    return 1 if isinstance(one, Within) else CLASSES


EXAMPLES = {
    "top-class": [TopClass()],
    "top-k": [TopK(1), TopK(2), TopK(4)],
    "never": [Never(0), Never(3)],
    "within": [Within(0.8, 0.1), Within(1.5, -0.3)],
    "rows": [LinearRows("1,-1,0,0,0;0,0,1,0,0", (0.5, 1.0)), LinearRows([[0.5, 0, -2, 0, 1]])],
    "labels": [Labels([0.9, 1.2, 1.0, 0.8, 1.1])],
    "superclass": [Superclass("0:2,2:5"), Superclass(((4,), (1, 3), (0, 2)))],
}
EVERY = [one for name, member in PROPERTIES.items() if not member.by_pixel for one in EXAMPLES[name]]
"""All but those about pixels, which tests/soundness/test_segmentation.py is about."""


def scores(count=400, classes=CLASSES):
    """Scores of many orders, without ties."""
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def kept_at(one, y, kept):
    """Whether an answer is kept, said once more and in other words."""
    if isinstance(one, Within):
        return (abs(float(y[0]) - one.around) <= one.tolerance) == (kept == 0)
    if isinstance(one, TopK):
        return bool((y > y[kept]).sum() < one.k)
    if isinstance(one, LinearRows):
        return bool((y.double() @ torch.tensor(one.C).double().T + torch.tensor(one.d).double() > 0).all()) == (
            kept == 0
        )
    if isinstance(one, Labels):
        return [bool(y[i] > one.thresholds[i]) for i in range(CLASSES)] == [bool(kept >> i & 1) for i in range(CLASSES)]
    top = int(y.argmax())
    if isinstance(one, Never):
        return (top == one.forbidden) == (kept == 1)
    return top in one.groups[kept] if isinstance(one, Superclass) else top == kept


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_records_make_the_same_property_again(one):
    again = property_from(json.loads(json.dumps(one.to_dict())))
    assert again == one
    assert again.named == one.named
    assert again.named_by({"steps": 3, **one.named})
    assert one == TopClass() or not TopClass().named_by(one.named)


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_answers_margins_clauses_and_rows_agree(one):
    classes = outputs(one)
    y = scores(classes=classes)
    for kept in range(one.answers(classes)):
        if isinstance(one, Never | Within | LinearRows) and kept == 1:
            continue  # nothing holds of what must not be
        holds = torch.tensor([kept_at(one, row, kept) for row in y])
        asked = torch.full((len(y),), kept)
        assert torch.equal(one.answer(y, asked) == kept, holds)
        assert torch.equal(one.margin(one.scores(y), asked) < 0, holds)
        C, d = one.clauses(kept, classes)
        clauses = (torch.einsum("mwo,bo->bmw", torch.tensor(C), y) + torch.tensor(d) > 0).any(dim=2).all(dim=1)
        assert torch.equal(clauses, holds)
        rows, offsets = property_rows(one, asked, classes, torch.float64, y.device)
        margins = one.margins((rows @ y.unsqueeze(2)).squeeze(2) + offsets, classes)
        assert torch.equal((margins > 0).all(dim=1), holds)


@pytest.mark.parametrize("one", [one for one in EVERY if not isinstance(one, Within | LinearRows | Labels)], ids=str)
def test_what_is_wanted_of_a_label_is_what_its_scores_answer(one):
    for label in range(CLASSES):
        y = torch.eye(CLASSES)[label][None] + 0.01 * scores(1).float()
        answer = int(one.answer(y, torch.tensor([one.wanted(label)]))[0])
        assert answer == (1 if isinstance(one, Never) and label == one.forbidden else one.wanted(label))


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_lower_bounds_prove_no_more_than_the_numbers_above_them(one):
    classes = outputs(one)
    y, kept = scores(classes=classes), torch.zeros(400, dtype=torch.long)
    rows, offsets = property_rows(one, kept, classes, torch.float64, y.device)
    exact = (rows @ y.unsqueeze(2)).squeeze(2) + offsets
    lower = exact - torch.rand(exact.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    proven = (one.margins(lower, classes) > 0).all(dim=1)
    assert 0 < int(proven.sum()) < len(y)
    assert all(kept_at(one, row, 0) for row in y[proven])
    nothing = one.margins(torch.full_like(exact, torch.nan), classes)
    assert not bool((nothing > 0).all(dim=1).any())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TopK(0), "at least 1"),
        (lambda: TopK(1.5), "whole number"),
        (lambda: TopK(5).answers(5), "every class is among the top 5"),
        (lambda: TopK(10).clauses(0, 50), "too many for complete verification"),
        (lambda: Never(5).answers(5), "none of 0 to 4"),
        (lambda: Never(-1), "numbered from 0"),
        (lambda: Within(0.0), "above 0"),
        (lambda: Within(1.0, float("nan")), "finite number"),
        (lambda: Within(1.5e308, 1.5e308), "range of floats"),
        (lambda: Within(1.0).answers(3), "certify.Regressor"),
        (lambda: Within(1.0).clauses(0, 1), "a target for each input"),
        (lambda: Superclass("0:3,2:5"), "overlap: number 2"),
        (lambda: Superclass("0:3,3:5").wanted(7), "class 7 is in none"),
        (lambda: Superclass("0:3"), "two groups of classes or more"),
        (lambda: Superclass("0:3,3:4").answers(5), "each of 0 to 4 once"),
        (lambda: property_from({"property": "top-k", "k": "3"}), "int"),
        (lambda: property_from({"property": "top-k", "k": 3, "l": 1}), "no field 'l'"),
        (lambda: property_from({"k": 3}), "a table with its name"),
        (lambda: PROPERTIES["top"], "did you mean 'top-k'"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(make, said):
    with pytest.raises(BadInput, match=said) as problem:
        make()
    assert "\n" not in str(problem.value)


def test_clauses_have_one_shape_for_every_answer():
    for one in EVERY:
        classes = outputs(one)
        shapes = {np.shape(one.clauses(kept, classes)[1]) for kept in range(one.answers(classes))}
        assert len(shapes) == 1


def test_the_ends_of_a_tolerance_are_no_easier_than_they_are_written():
    one = Within(0.1, 0.3)
    _, d = one.clauses(0, 1)
    low, high = -d[0, 0], d[1, 0]
    assert Fraction(float(low)) >= Fraction(0.3) - Fraction(0.1)
    assert Fraction(float(high)) <= Fraction(0.3) + Fraction(0.1)
    assert high - low == pytest.approx(0.2)


@pytest.mark.parametrize("one", EVERY, ids=str)
@pytest.mark.parametrize("unknown", [float("nan"), float("-inf")])
def test_rows_of_which_nothing_is_known_prove_no_more_than_rows_that_fail(one, unknown):
    classes = outputs(one)
    count = len(one.rows(0, classes)[1])
    for known in range(2**count):
        holds = torch.tensor([[bool(known >> row & 1) for row in range(count)]])
        some = one.margins(torch.where(holds, 1.0, torch.full((1, count), unknown)), classes)
        failing = one.margins(torch.where(holds, 1.0, -torch.ones(1, count)), classes)
        assert not bool((some > 0).all()) or bool((failing > 0).all())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"C": [[1, 0], [1]]}, "rows of one length"),
        ({"C": [[0, 0]]}, "not 0"),
        ({"C": []}, "rows of one length"),
        ({"C": 5}, "must be rows of numbers"),
        ({"C": "1,x"}, "must be numbers"),
        ({"C": [[1, float("nan")]]}, "finite"),
        ({"C": [[1e308, -1e308]]}, "finite"),  # inf - inf would be NaN, and NaN counts as the first answer
        ({"C": [[1, 2]], "d": [float("inf")]}, "finite"),
        ({"C": [[1, 2]], "d": [1, 2]}, "for each of the 1 rows"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(given, words):
    with pytest.raises(BadInput, match=words):
        LinearRows(**given)
    with pytest.raises(BadInput, match="rows of 2 numbers, and the model 3 outputs"):
        LinearRows([[1, 2]]).answers(3)
