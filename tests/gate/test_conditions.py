"""Each condition compares the interval end it says, with the share it is given, and never the point estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from certify.core.sandwich import VERDICTS
from certify.core.summary import Contradiction
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS, Trial
from certify.gate.judge import judge
from certify.gate.outcome import ConditionOutcome, Result
from certify.gate.policy import Policy
from certify.stats.groups import group_lowers, worst_group_lower
from certify.stats.paired import PairedCounts, exact_test, tango_test
from certify.stats.shift import MEASURES

SHARE = 0.01
RADII = [0.6] * 70 + [0.3] * 10 + [None] * 20


def outcome(kind, run, baseline=None, share=SHARE, **fields) -> ConditionOutcome:
    return CONDITIONS[kind](**fields).judge(Trial(run, share, baseline))


def test_certified_accuracy_of_these_inputs_leaves_out_certificates_that_may_be_false(run_of):
    run = run_of(RADII, share=SHARE)
    false = int(stats.binom.ppf(1 - SHARE, 100, 0.001))
    assert false == 1
    for at_least, passed in ((0.69, True), (0.695, False), (0.7, False)):
        found = outcome("certified_accuracy", run, radius=0.5, at_least=at_least)
        assert (found.passed, found.estimate, found.end) == (passed, 0.7, (70 - false) / 100)
        assert "97" not in found.holds
        assert "99" in found.holds
    proofs = run_of(RADII, share=SHARE, alpha=None)
    found = outcome("certified_accuracy", proofs, radius=0.5, at_least=0.7)
    assert found.passed
    assert found.holds == "with certainty: proofs"


def test_a_population_needs_more_than_these_inputs(run_of):
    run = run_of(RADII, share=SHARE)
    found = outcome("certified_accuracy", run, radius=0.25, at_least=0.6, of="population")
    assert found.passed
    assert found.end == run.summary.rows[1].population_lower < 0.68 < found.estimate
    assert not outcome("certified_accuracy", run, radius=0.25, at_least=0.7, of="population").passed
    assert found.reason == ""
    subset = replace(run, settings={**run.settings, "data": {"inputs": 100, "of": 4000}})
    found = outcome("certified_accuracy", subset, radius=0.25, at_least=0.6, of="population")
    assert found.reason == "the population is all 4,000 inputs of the data set"
    chosen = run_of(RADII, share=SHARE, sample=False)
    for kind, fields in [
        ("certified_accuracy", {"radius": 0.5, "at_least": 0.1}),
        ("worst_group", {"radius": 0.5, "at_least": 0.1}),
        ("abstain_rate", {"at_most": 0.9}),
    ]:
        found = outcome(kind, chosen, of="population", **fields)
        assert found.result is Result.UNDECIDED
        assert "no random sample" in found.reason
    far = run_of(RADII, sample=False, threat=ThreatModel("l2", (0.0, 0.25, 2.0)))
    far = replace(far, settings={**far.settings, "threat": {"radii": [0.0, 0.25]}})
    reason = outcome("certified_accuracy", far, radius=2.0, at_least=0.1, of="population").reason
    assert "beyond the largest declared radius, 0.25" in reason


def test_accuracy_under_shift_follows_from_the_bound_of_the_source(run_of):
    run = run_of(RADII, share=SHARE, label=[0] * 50 + [1] * 50)
    p = run.summary.rows[1].population_lower
    for measure, amount in (("total_variation", 0.1), ("density_ratio", 1.2), ("kl", 0.01), ("chi2", 0.01)):
        end = MEASURES[measure].after(p, amount)
        fields = {"radius": 0.25, "measure": measure, "amount": amount}
        found = outcome("shifted_accuracy", run, **fields, at_least=end)
        assert (found.passed, found.end, found.estimate) == (True, end, 0.8)
        assert "is assumed" in found.holds
        assert not outcome("shifted_accuracy", run, **fields, at_least=np.nextafter(end, 1)).passed
    shares = {"radius": 0.25, "measure": "group_shares", "at_least": 0.01}
    unknown = outcome("shifted_accuracy", run, **shares, amount=0.1)
    assert unknown.result is Result.UNDECIDED
    assert "how many classes" in unknown.reason
    run = replace(run, context={"num_classes": 2})
    moved = [outcome("shifted_accuracy", run, **shares, amount=amount).end for amount in (0.0, 0.5, 1.0)]
    assert moved[0] > moved[1] == moved[2] == group_lowers({1: (30, 50)}, 0.001, SHARE / 6)[1]
    chosen = outcome(
        "shifted_accuracy", run_of(RADII, share=SHARE, sample=False), radius=0.25, amount=0.1, at_least=0.1
    )
    assert chosen.result is Result.UNDECIDED
    known = CONDITIONS["shifted_accuracy"]
    assert known(0.25, 0.5, 0.1).statement == known(0.5, 0.5, 0.3, "kl").statement
    assert known(0.25, 0.5, 0.1).statement != known(0.25, 0.5, 0.1, "group_shares").statement
    for fields in (
        {"amount": 1.5},
        {"amount": -1},
        {"amount": 0.5, "measure": "density_ratio"},
        {"amount": 0.1, "measure": "tv"},
    ):
        with pytest.raises(BadInput):
            known(radius=0.25, at_least=0.5, **fields)


def test_accuracy_under_attack_is_counted_and_bounded_for_a_population(run_of):
    run = run_of(RADII, attacked=[None] * 85 + [0.4] * 15)
    found = outcome("attacked_accuracy", run, radius=0.5, at_least=0.85)
    assert (found.passed, found.end, found.holds) == (True, 0.85, "an exact count")
    assert outcome("attacked_accuracy", run, radius=0.25, at_least=1.0).passed
    found = outcome("attacked_accuracy", run, radius=0.5, at_least=0.75, of="population")
    assert found.end == pytest.approx(stats.beta.ppf(SHARE, 85, 16), abs=1e-9)
    assert not found.passed


def test_without_an_attack_at_the_radius_nothing_is_decided(run_of):
    found = outcome("attacked_accuracy", run_of(RADII), radius=0.5, at_least=0.1)
    assert (found.result, found.reason) == (Result.UNDECIDED, "no attack ran: run again with --attack")
    between = run_of(RADII, attacked=[None] * 100, threat=ThreatModel("l2", (0.0, 0.25, 0.4, 0.5)))
    between = replace(between, settings={**between.settings, "threat": {"radii": [0.0, 0.25, 0.5]}})
    found = outcome("attacked_accuracy", between, radius=0.4, at_least=0.1)
    assert "no attack was made at this radius: the run declared 0, 0.25, 0.5" in found.reason


def test_abstaining_is_counted_and_bounded_for_a_population(run_of):
    run = run_of(RADII, abstain=5)
    assert outcome("abstain_rate", run, at_most=0.05).passed
    assert not outcome("abstain_rate", run, at_most=0.049).passed
    found = outcome("abstain_rate", run, at_most=0.1, of="population")
    assert found.end == pytest.approx(stats.beta.ppf(1 - SHARE, 6, 95), abs=1e-9)
    assert (found.side, found.passed) == ("upper", False)


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.UNSUPPORTED])
def test_what_failed_is_no_answer_either(run_of, verdict):
    """Abstentions that become failures do not make a run pass."""
    run = run_of(RADII, abstain=4)
    verdicts = np.array([VERDICTS.index(verdict)] * 2 + [0] * 98, dtype=np.int8)
    failed = replace(run.summary, sandwich=replace(run.summary.sandwich, verdict=verdicts))
    found = outcome("abstain_rate", replace(run, summary=failed), at_most=0.05)
    assert (found.passed, found.estimate, found.end) == (False, 0.06, 0.06)
    assert found.reason == "2 of them failed rather than abstained, which is no answer either"
    assert outcome("abstain_rate", replace(run, summary=failed), at_most=0.06).passed
    found = outcome("abstain_rate", replace(run, summary=failed), at_most=0.1, of="population")
    assert found.end == pytest.approx(stats.beta.ppf(1 - SHARE, 7, 94), abs=1e-9)
    assert "2 of them failed" in found.reason
    assert outcome("abstain_rate", run, at_most=0.05).reason == ""


def test_the_worst_group_carries_all_certificates_that_may_be_false(run_of):
    labels = [0] * 50 + [1] * 50  # 50 of 50, and 30 of 50
    run = replace(run_of(RADII, share=SHARE, label=labels), context={"num_classes": 2})
    found = outcome("worst_group", run, radius=0.25, at_least=0.58)
    assert (found.passed, found.estimate, found.end) == (True, 0.6, 29 / 50)
    assert "1, 30 of 50 inputs, out of 2 groups" in found.reason
    assert not outcome("worst_group", run, radius=0.25, at_least=0.59).passed
    found = outcome("worst_group", run, radius=0.25, at_least=0.4, of="population")
    assert found.end == worst_group_lower({0: (50, 50), 1: (30, 50)}, 0.001, SHARE)
    nothing = outcome("worst_group", run_of([None] * 100, label=labels), radius=0.25, at_least=0.1)
    assert nothing.end == 0


def test_groups_come_from_a_file_as_well(run_of, tmp_path):
    file = tmp_path / "site.csv"
    sites = ["north"] * 90 + ["south"] * 10
    file.write_text("index,site\n" + "".join(f"{place},{site}\n" for place, site in enumerate(sites)))
    found = outcome("worst_group", run_of(RADII), radius=0.25, at_least=0.1, group=f"{file}:site")
    assert "south, 0 of 10 inputs" in found.reason
    assert "worst" in found.title
    file.write_text("index,site\n0,north\n")
    with pytest.raises(BadInput, match=r"no entry for input 1 \(99 such inputs\)"):
        outcome("worst_group", run_of(RADII), radius=0.25, at_least=0.1, group=f"{file}:site")


def test_slices_that_overlap_or_leave_inputs_out_carry_every_certificate_that_may_be_false(run_of, tmp_path):
    """What may be false is counted among all inputs: those in no slice count, and those in two count once."""
    labels = [0] * 50 + [1] * 50
    run, file = run_of([0.5] * 80 + [None] * 20, label=labels), tmp_path / "slices.csv"
    by_label = outcome("worst_group", run, radius=0.25, at_least=0.5)
    lines = [f"{one},{one >= 50},{one >= 40}" for one in range(100)]
    file.write_text("\n".join(["index,last,later", *lines]) + "\n")
    found = outcome("worst_group", run, radius=0.25, at_least=0.5, group=f"slices:{file}")
    assert found.end == by_label.end  # slice last is group 1
    assert "last, 30 of 50 inputs, out of 2 groups" in found.reason


def test_a_known_group_that_the_sample_missed_leaves_the_worst_of_a_population_open(run_of, tmp_path):
    population = {"radius": 0.25, "at_least": 0.1, "of": "population"}
    run = run_of([0.6] * 100, label=[0] * 50 + [1] * 50)
    two = replace(run, context={"num_classes": 2})
    assert "for the 2 groups of these inputs" in outcome("worst_group", two, **population).holds
    silent = outcome("worst_group", run, **population)  # how many there are is not said
    assert silent.result is Result.UNDECIDED
    assert "does not say how many classes there are" in silent.reason
    three = replace(run, context={"num_classes": 3})
    found = outcome("worst_group", three, **population)
    assert found.result is Result.UNDECIDED
    assert "no input of label 2 is here" in found.reason
    assert outcome("worst_group", three, radius=0.25, at_least=0.1).passed  # of these inputs all groups are here
    file = tmp_path / "site.csv"
    sites = ["north"] * 100 + ["south"]
    file.write_text("index,site\n" + "".join(f"{place},{site}\n" for place, site in enumerate(sites)))
    found = outcome("worst_group", run, group=f"{file}:site", **population)
    assert found.result is Result.UNDECIDED
    assert "no input of" in found.reason
    assert "south" in found.reason


@pytest.mark.parametrize(("test", "reference"), [("exact", exact_test), ("tango", tango_test)])
def test_non_inferiority_compares_the_lower_limit(run_of, test, reference):
    old, new = run_of([0.6] * 300 + [None] * 200, name="old"), run_of([0.6] * 295 + [None] * 197 + [0.6] * 8)
    counts = PairedCounts(n11=295, n10=5, n01=8, n00=192)
    limit = reference(counts, 0.1, SHARE).lower
    assert -0.05 < limit < 0
    for margin in (abs(limit) * 1.01, abs(limit) * 0.99):
        found = outcome("non_inferior", new, old, radius=0.5, margin=margin, test=test)
        assert (found.end, found.threshold, found.estimate) == (limit, -margin, 0.006)
        assert found.passed == (margin > abs(limit)) == reference(counts, margin, SHARE).passed


def test_non_inferiority_is_about_inputs_that_can_be_a_random_sample(run_of):
    good, copies = run_of([0.6] * 300), run_of([0.6] * 300, sample=False)
    assert outcome("non_inferior", good, good, radius=0.5, margin=0.2).passed
    for new, old in ((copies, good), (good, copies), (copies, copies)):
        found = outcome("non_inferior", new, old, radius=0.5, margin=0.2)
        assert found.result is Result.UNDECIDED
        assert "no random sample: some occur several times" in found.reason
        assert found.end is None


def test_copies_do_not_pass_a_worse_model(run_of):
    """Five inputs sixty times each, of a model that is truly 20 points worse, with a margin of 5."""
    clause = {"kind": "non_inferior", "radius": 0.25, "margin": 0.05}
    policy = Policy.of({"threat": {"norm": "l2"}, "require": [clause]})
    draws = np.random.default_rng(0)
    old = run_of([0.3] * 300, share=policy.share, alpha=None, name="old", sample=False)
    passed = 0
    for _ in range(60):
        worse = np.repeat(draws.random(5) < 0.2, 60)
        new = run_of([None if one else 0.3 for one in worse], share=policy.share, alpha=None, sample=False)
        passed += judge(policy, Trial(new, policy.share, old)).passed
    assert passed <= 0.05 * 60


def test_contradictions_and_missing_inputs_are_named(run_of):
    run = run_of(RADII, expected=120)
    found = outcome("complete", run)
    assert (found.result, found.reason) == (
        Result.FAILED,
        "100 of 120 inputs attempted; the same run command resumes",
    )
    assert outcome("no_contradiction", run).reason == "but no attack ran"
    summary = replace(run.summary, contradictions=(Contradiction(17, "crown", 0.5, "pgd", 0.25),) * 3)
    found = outcome("no_contradiction", replace(run, summary=summary))
    assert not found.passed
    assert found.reason.startswith("input 17: crown certifies")
    assert found.reason.endswith("and 2 more")


def test_every_gate_asks_for_no_contradiction_and_a_complete_run(run_of):
    clause = {"kind": "certified_accuracy", "radius": 0.5, "at_least": 0.5}
    policy = Policy.of({"threat": {"norm": "l2"}, "require": [clause]})
    found = judge(policy, Trial(run_of(RADII), policy.share))
    assert [one.kind for one in found.outcomes] == ["no_contradiction", "complete", "certified_accuracy"]
    assert (found.word, found.passed) == ("PASSED", True)
    part = judge(policy, Trial(run_of(RADII, expected=101), policy.share))
    assert (part.word, part.passed) == ("INCOMPLETE", False)
    assert part.outcomes[-1].result is Result.UNDECIDED
    stated = Policy.of({"threat": {"norm": "l2"}, "require": [{"kind": "complete"}, clause]})
    kinds = [one.kind for one in judge(stated, Trial(run_of(RADII), stated.share)).outcomes]
    assert kinds == ["no_contradiction", "complete", "certified_accuracy"]


def test_a_gate_passes_a_bad_model_with_probability_at_most_delta(run_of):
    """Over every outcome: a population at the threshold, two conditions, certificates that are never false."""
    n, truth, delta = 40, 0.5, 0.2
    clauses = [
        {"kind": "certified_accuracy", "radius": 0.5, "at_least": truth + 1e-9, "of": "population"},
        {"kind": "abstain_rate", "at_most": 0.9, "of": "population"},
    ]
    policy = Policy.of({"threat": {"norm": "l2"}, "require": clauses, "confidence": 1 - delta})
    passes = 0.0
    for certified, chance in enumerate(stats.binom.pmf(np.arange(n + 1), n, truth)):
        radii = [0.6] * certified + [None] * (n - certified)
        run = run_of(radii, share=policy.share, alpha=None, threat=ThreatModel("l2", (0.5,)))
        passes += chance * judge(policy, Trial(run, policy.share)).passed
    assert 0 < passes <= policy.share <= delta / 2


def test_figures_are_rounded_to_the_disadvantage_of_the_condition():
    assert ConditionOutcome("", "", Result.FAILED, 0.6, 0.59999, 0.6).figures()["lower end"] == "59.9 %"
    assert ConditionOutcome("", "", Result.PASSED, 0.6, 0.60071, 0.6005).figures()["lower end"] == "60.07 %"
    assert ConditionOutcome("", "", Result.PASSED, 0.57, 0.57, 0.57).figures()["lower end"] == "57.0 %"
    upper = ConditionOutcome("", "", Result.FAILED, 0.04, 0.05001, 0.05, "upper").figures()
    assert upper == {"required": "<= 5 %", "observed": "4.0 %", "upper end": "5.1 %"}
    points = ConditionOutcome("", "", Result.FAILED, 0.008, -0.02001, -0.02, unit="pp").figures()
    assert points == {"required": ">= -2 pp", "observed": "+0.8 pp", "lower end": "-2.1 pp"}
