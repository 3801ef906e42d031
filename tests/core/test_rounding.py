"""Percents: counts exactly, computed bounds never above themselves."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from certify.core.rounding import percent_below, percent_down, percent_up


def tenths(text: str) -> Fraction:
    return Fraction(text) / 100


@pytest.mark.parametrize("n", [*range(1, 130), 200, 500, 999, 1000, 2000])
def test_shares_of_inputs_are_printed_as_the_fractions_they_are(n):
    for k in range(n + 1):
        thousandths = Fraction(1000 * k, n)
        assert tenths(percent_down(k / n)) == Fraction(math.floor(thousandths), 1000)
        assert tenths(percent_up(k / n)) == Fraction(math.ceil(thousandths), 1000)


def test_shares_next_to_a_tenth_stay_on_their_side_of_it():
    for n in (10**6 + 1, 10**9 + 7, 10**12 - 11):
        for t in (1, 563, 945, 999):
            k = t * n // 1000
            assert percent_down(k / n) == f"{(t - 1) // 10}.{(t - 1) % 10}"
            assert percent_up((k + 1) / n) == f"{(t + 1) // 10}.{(t + 1) % 10}"


def test_a_bound_is_never_printed_above_itself():
    for t in range(1, 1001):
        nearest = float(Fraction(t, 1000))
        for bound in (math.nextafter(nearest, 0), nearest, math.nextafter(nearest, 2), nearest - 1e-10):
            assert 0 <= Fraction(bound) - tenths(percent_below(bound)) < Fraction(1, 1000)
            assert 0 <= -Fraction(bound) - tenths(percent_below(-bound)) < Fraction(1, 1000)
        assert tenths(percent_down(math.nextafter(nearest, 0))) == Fraction(t - 1, 1000)
        assert tenths(percent_up(math.nextafter(nearest, 2))) == Fraction(t + 1, 1000)


def test_ends_and_numbers_of_numpy_are_printed_alike():
    assert (percent_down(0.0), percent_down(1.0), percent_up(0.0), percent_up(1.0)) == ("0.0", "100.0", "0.0", "100.0")
    assert percent_down(np.float64(0.945)) == "94.5"
    assert percent_up(1e-300) == "0.1"
    assert percent_below(1 - 2**-53) == percent_down(1 - 2**-53) == "99.9"
