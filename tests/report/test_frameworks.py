"""Evidence is what the runs show; what they do not show is a gap, and nothing is called compliance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certify.core.rounding import percent_down, percent_up
from certify.core.threats.brightness import Brightness
from certify.errors import BadInput
from certify.report.frameworks.clauses import CLAUSES
from certify.report.frameworks.evidence import NOT_ADVICE, evidence_for, numbered


def clause(runs, name):
    [found] = [one for one in evidence_for(runs) if one.clause == name]
    return " ".join(found.evidence), " ".join(found.gaps)


def test_every_clause_asks_and_has_evidence_and_gaps(smoothed, unattacked):
    mapped = evidence_for([smoothed, unattacked])
    assert len(mapped) == len({(one.framework, one.clause) for one in mapped}) == len(CLAUSES)
    assert all(one.asks and one.evidence and one.gaps for one in mapped)
    assert {one.framework.split()[0] for one in mapped} == {"EU", "NIST", "ISO/IEC"}
    assert {f"Article 15({number})" for number in (1, 3, 4, 5)} <= {one.clause for one in mapped}
    assert {f"MEASURE 2.{number}" for number in (5, 6, 7)} <= {one.clause for one in mapped}


def test_figures_are_those_of_the_run(smoothed):
    shown, _ = clause([smoothed], "Article 15(5)")
    last = smoothed.summary.rows[-1]
    assert f"{percent_down(last.certified)} % of 24 inputs are certified" in shown
    assert f"at least {percent_down(last.certified_lower)} %, 95% sure" in shown
    assert f"left {percent_up(last.empirical)} % of the inputs predicted correctly within l2 0.5" in shown
    assert "under every l2 change of at most 0.25 (pixels in [0, 1])" in shown


def test_certificates_of_a_transform_are_not_told_as_ones_about_every_change(smoothed):
    summary = replace(smoothed.summary, threat=Brightness(smoothed.summary.threat.radii))
    shown, _ = clause([replace(smoothed, summary=summary)], "Article 15(5)")
    assert "under every brightness of at most 0.25 input units" in shown
    assert "every change" not in shown


def test_where_no_attack_ran_the_evidence_says_none(unattacked, smoothed):
    shown, gaps = clause([unattacked], "Article 15(5)")
    assert "no attack ran" in gaps
    assert "pgd" not in shown
    shown, gaps = clause([smoothed], "Article 15(5)")
    assert "no attack ran" not in gaps
    assert "an attack that fails promises nothing" in gaps
    assert "pgd" in shown


def test_contradictions_and_missing_inputs_are_gaps(contradicted, smoothed):
    _, gaps = clause([contradicted], "Article 15(1)")
    assert "25 certificates are contradicted" in gaps
    assert "no evidence" in gaps
    assert "incomplete: 24 of 99 inputs" in gaps
    _, gaps = clause([smoothed], "Article 15(1)")
    assert "contradicted" not in gaps
    assert "incomplete" not in gaps


def test_what_several_runs_show_alike_is_one_sentence(smoothed, unattacked):
    again = replace(smoothed, name="again")
    shown, gaps = clause([smoothed, again, unattacked], "MEASURE 2.5")
    assert shown.count("each certificate is false with probability at most") == 1
    assert "smoothed, again: each certificate is false" in shown
    assert "unattacked: each certificate is a proof" in shown
    assert gaps.count("without its noise and its vote") == 1


def test_every_sentence_has_one_number_and_clauses_refer_to_it(smoothed, unattacked):
    mapped = evidence_for([smoothed, unattacked])
    found = numbered(mapped)
    for letter, sentences, of in (("E", found.evidence, "evidence"), ("G", found.gaps, "gaps")):
        assert len(set(sentences)) == len(sentences)
        by_number = {f"{letter}{place}": text for place, text in enumerate(sentences, 1)}
        for one, clause in zip(mapped, found.clauses, strict=True):
            assert (clause.framework, clause.clause, clause.asks) == (one.framework, one.clause, one.asks)
            assert [by_number[number] for number in getattr(clause, of).split(", ")] == list(getattr(one, of))


def test_the_norms_that_were_looked_at_are_named(smoothed, unattacked):
    _, gaps = clause([smoothed], "MEASURE 2.7")
    assert "of a bounded l2 radius were considered" in gaps
    _, gaps = clause([smoothed, unattacked], "MEASURE 2.7")
    assert "of a bounded l2 radius or linf radius were considered" in gaps


def test_what_kind_of_guarantee_it_is_decides_what_is_missing(smoothed, unattacked):
    shown, gaps = clause([smoothed], "MEASURE 2.5")
    assert "probability at most 0.001 over the sampling noise" in shown
    assert "without its noise and its vote" in gaps
    shown, gaps = clause([unattacked], "MEASURE 2.5")
    assert "each certificate is a proof" in shown
    assert "exact real arithmetic" in gaps
    floats = replace(
        unattacked, summary=replace(unattacked.summary, statement="... and in every float32 execution ...")
    )
    assert "exact real arithmetic" not in clause([floats], "MEASURE 2.5")[1]


def test_a_published_log_without_seed_is_told_apart(smoothed):
    published = replace(
        smoothed,
        summary=replace(smoothed.summary, parts=("certifier:published",), further=()),
        settings={**smoothed.settings, "seed": None},
    )
    assert "read from a published log" in clause([published], "Article 15(1)")[1]
    assert "no seed is on record" in clause([published], "MEASURE 2.7")[1]
    assert "nothing is stated about inputs other" in clause([published], "MEASURE 2.5")[1]


def test_nothing_is_called_compliance(smoothed, unattacked):
    for one in evidence_for([smoothed, unattacked]):
        text = " ".join((*one.evidence, *one.gaps)).lower()
        assert not any(word in text for word in ("complies", "compliant", "conform", "satisf", "fulfil", "meets"))
    assert "not legal advice" in NOT_ADVICE


def test_no_run_is_refused():
    with pytest.raises(BadInput, match="at least one run"):
        evidence_for([])
