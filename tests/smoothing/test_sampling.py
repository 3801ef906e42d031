"""Votes depend on the input, the seed and the sample number, and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from torch import nn

from certify.certifiers.attack import attack
from certify.certifiers.smooth import predict, smooth
from certify.certifiers.smoothing import Smoothing
from certify.core.certificate import Look
from certify.core.threats.lp import ThreatModel
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.smoothing.certify import predict_votes
from certify.smoothing.noise.gaussian import Gaussian
from certify.smoothing.sampler import Ballot, Sampler, default_batch_size
from certify.smoothing.streams import BLOCK, Stream
from certify.study.evaluate import evaluate


@pytest.fixture(scope="module")
def conv() -> Classifier:
    """An untrained convolutional network: its votes are spread over the classes, so a changed draw shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)]
    return Classifier(nn.Sequential(*layers).eval(), num_classes=10)


X = torch.linspace(0, 1, 64).reshape(1, 8, 8)


def block(number: int, **changes) -> torch.Tensor:
    """A copy of one block of noise."""
    arguments = {"seed": 0, "stage": "estimation", "digest": "ab", **changes}
    digest = arguments.pop("digest")
    return Stream(Gaussian(1.0), (1, 8, 8), **arguments).block(digest, number).clone()


def count(clf: Classifier, start: int, stop: int, batch_size: int | None = None) -> Look:
    sampler = Sampler(clf, X[None], ["ab"], Gaussian(1.0), seed=0, batch_size=batch_size)
    return sampler.count("estimation", [Ballot(0, start, stop)])[0]


def total(*looks: Look) -> dict[int, int]:
    return {label: n for label in range(10) if (n := sum(look.counts.get(label, 0) for look in looks))}


@pytest.mark.parametrize("batch_size", [1, 7, 128, 1000, None])
def test_counts_do_not_depend_on_the_batch_size(conv, batch_size):
    expected = count(conv, 0, 1500, 100)
    assert len(expected.counts) > 2
    assert count(conv, 0, 1500, batch_size) == expected


def test_counts_do_not_depend_on_where_the_work_was_interrupted(conv):
    whole = count(conv, 0, 700)
    for cut in (1, 127, 128, 129, 500):
        assert total(count(conv, 0, cut), count(conv, cut, 700)) == dict(whole.counts)


@pytest.mark.parametrize("held", [1, 640, 10_000])
def test_counts_do_not_depend_on_how_many_scores_are_held(conv, monkeypatch, held):
    expected = count(conv, 0, 900)
    monkeypatch.setattr("certify.smoothing.sampler.HELD_SCORES", held)
    assert count(conv, 0, 900, 64) == expected


def test_scores_are_held_in_their_own_type_and_not_where_the_model_keeps_them():
    kept = torch.empty(64, 2)

    def moody(x):
        """Scores in a buffer of its own, or in float64, where classes differ by less than float32 shows."""
        torch.stack([x[:, 0], -x[:, 0]], dim=1, out=kept[: len(x)])
        return kept[: len(x)] if len(x) < 64 else 1.0 + 1e-12 * kept.double()

    sampler = Sampler(Classifier(moody, num_classes=2), torch.zeros(1, 1), ["a"], Gaussian(1.0), seed=0, batch_size=64)
    [look] = sampler.count("estimation", [Ballot(0, 0, 1000)])
    plain = Sampler(Classifier(lambda x: (x[:, 0] < 0).long(), 2), torch.zeros(1, 1), ["a"], Gaussian(1.0), seed=0)
    assert [look] == plain.count("estimation", [Ballot(0, 0, 1000)])


@pytest.mark.parametrize("batch_size", [1, 64, 100, 4096])
def test_inputs_that_share_batches_keep_their_own_votes(conv, batch_size):
    x = torch.stack([X, 1 - X, X.flip(2), X * 0])
    digests = ["a", "b", "c", "d"]
    together = Sampler(conv, x, digests, Gaussian(1.0), seed=3, batch_size=batch_size)
    ballots = [Ballot(2, 130, 137), Ballot(0, 0, 300), Ballot(3, 5, 5 + 128), Ballot(1, 0, 1)]
    looks = together.count("estimation", ballots)
    for look, ballot in zip(looks, ballots, strict=True):
        row = ballot.row
        alone = Sampler(conv, x[row : row + 1], [digests[row]], Gaussian(1.0), seed=3, batch_size=64)
        assert alone.count("estimation", [Ballot(0, ballot.start, ballot.stop)]) == [look]
        assert look.n == ballot.stop - ballot.start
    assert len({tuple(look.counts.items()) for look in looks}) == len(looks)


class Counting(Gaussian):
    """Counts the noise vectors it draws."""

    drawn = 0

    def sample(self, shape, generator, out=None):
        type(self).drawn += shape[0]
        return Gaussian.sample(self, shape, generator, out)


def test_inputs_that_take_turns_do_not_draw_their_noise_again(conv):
    Counting.drawn = 0
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    sampler = Sampler(conv, x, [str(row) for row in range(16)], Counting(1.0), seed=0)
    for start, stop in itertools.pairwise((0, 16, 20, 64, 130, 200, 256)):
        sampler.count("estimation", [Ballot(row, start, stop) for row in range(16)])
    assert Counting.drawn == 16 * 256


def test_noise_does_not_depend_on_how_many_blocks_are_held(conv, monkeypatch):
    """Blocks that gave way to others are drawn again, the same, and never taken for another input's."""
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for bytes_held in (1, 2 * 128 * 64 * 4, 2**30):
        monkeypatch.setattr("certify.smoothing.streams.MAX_HELD_BYTES", bytes_held)
        sampler = Sampler(conv, x, ["a", "b", "c", "b", "d"], Gaussian(1.0), seed=0)
        cuts = itertools.pairwise((0, 30, 100, 140, 300))
        found.append([sampler.count("estimation", [Ballot(row, *cut) for row in range(5)]) for cut in cuts])
    assert found[0] == found[1] == found[2]
    assert len({str(look.counts) for look in found[0][-1]}) > 1


def test_noise_differs_between_seeds_inputs_stages_and_blocks():
    first = block(0)
    for other in (block(0, seed=1), block(0, digest="ac"), block(0, stage="selection"), block(1)):
        assert not torch.equal(other, first)
    assert torch.equal(block(0), first)
    # Drawn together or block by block, a long stream is standard normal and its blocks are uncorrelated.
    blocks = torch.stack([block(number).flatten() for number in range(64)])
    assert abs(float(blocks.mean())) < 0.01
    assert abs(float(blocks.std()) - 1) < 0.01
    assert float(torch.corrcoef(blocks).fill_diagonal_(0).abs().max()) < 0.06


def test_results_do_not_depend_on_the_order_of_the_inputs(conv):
    x = torch.stack([X, 1 - X, X.flip(2)])
    threat = ThreatModel("l2", (0.0,))
    forward = smooth(conv, x, [0, 1, 2], threat=threat, sigma=0.5, n=200)
    backward = smooth(conv, x.flip(0), [2, 1, 0], threat=threat, sigma=0.5, n=200)
    assert [c.evidence for c in forward] == [c.evidence for c in reversed(backward)]
    alone = smooth(conv, x[1:2], [1], threat=threat, sigma=0.5, n=200)
    assert alone[0].evidence == forward[1].evidence


def test_the_global_generators_are_left_alone(conv):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    smooth(conv, X[None], [0], threat=ThreatModel("l2", (0.0,)), sigma=0.5, n=200)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_nan_votes_for_no_class():
    def sometimes_nan(x):
        scores = torch.stack([x.mean(1), -x.mean(1)], dim=1)
        return torch.where(x[:, :1] > 0.5, torch.nan, scores)

    clf = Classifier(sometimes_nan, num_classes=2)
    sampler = Sampler(clf, torch.full((1, 4), 0.5), [""], Gaussian(1.0), seed=0)
    [votes] = sampler.count("estimation", [Ballot(0, 0, 1000)])
    assert 400 < votes.invalid < 600
    assert sum(votes.counts.values()) == 1000 - votes.invalid
    [certificate] = smooth(clf, [[0.0] * 4], [1], threat=ThreatModel("l2", (0.0,)), sigma=1.0, n=1000)
    assert certificate.verdict.value == "abstain"
    assert 0 < certificate.evidence.looks[-1].invalid < 500
    always = Classifier(lambda x: torch.full((len(x), 2), torch.nan), num_classes=2)
    [certificate] = smooth(always, [[0.5] * 4], [0], threat=ThreatModel("l2", (0.0,)), sigma=1.0, n=1000)
    assert certificate.verdict.value == "error"
    assert certificate.prediction is None


def test_a_scikit_learn_model_behind_a_function():
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, (300, 5))
    y = (x.sum(1) > 2.5).astype(int)
    model = LogisticRegression().fit(x, y)
    scores = Classifier(lambda batch: torch.from_numpy(model.predict_proba(batch.numpy())), num_classes=2)
    labels = Classifier(lambda batch: model.predict(batch.numpy()), num_classes=2)
    threat = ThreatModel("l2", (0.0, 0.1))
    points, truth = x[:6].astype(np.float32), y[:6]
    by_scores = smooth(scores, points, truth, threat=threat, sigma=0.2, n=500)
    by_labels = smooth(labels, points, truth, threat=threat, sigma=0.2, n=500)
    assert [c.evidence for c in by_scores] == [c.evidence for c in by_labels]
    assert sum(c.correct for c in by_scores) >= 4
    assert sum(c.holds_at(0.1) for c in by_scores) >= 3


def test_noise_is_a_name_or_a_law_everywhere():
    clf = Classifier(nn.Linear(2, 2).eval(), num_classes=2)
    threat, law, named = ThreatModel("l2", (0.1,)), Gaussian(0.5), {"noise": "gaussian", "sigma": 0.5}
    x, y = [[0.9, 0.1], [0.2, 0.7]], [0, 1]
    calls = [
        lambda **noise: [one.evidence.looks for one in smooth(clf, x, y, threat=threat, n=200, **noise)],
        lambda **noise: predict(clf, x, n=100, seed=1, **noise),
        lambda **noise: [one.settings for one in attack(clf, x, y, threat=threat, steps=1, n=100, **noise)],
        lambda **noise: evaluate(clf, (x, y), threat=threat, n=200, **noise).summary.rows,
        lambda **noise: Smoothing(0.5, n=200, noise=noise["noise"]).settings(),
    ]
    for call in calls:
        assert call(noise=law) == call(**named)
    with pytest.raises(BadInput, match=r"sigma=0.25 is given beside noise of sigma=0.5"):
        smooth(clf, x, y, threat=threat, noise=law, sigma=0.25)
    with pytest.raises(BadInput, match="sigma must be a number"):
        predict(clf, x)


def test_predict_draws_noise_that_nobody_can_guess_and_says_which():
    clf = Classifier(lambda x: (x[:, 0] > 0).long(), num_classes=2)
    x = np.full((40, 1), 0.7, dtype=np.float32) + np.linspace(0, 1e-3, 40, dtype=np.float32)[:, None]
    one, other = (predict(clf, x, sigma=1.0, n=30) for _ in range(2))  # the winner has 0.76, the answer may be None
    assert one.seed != other.seed
    assert list(one) != list(other)
    assert predict(clf, x, sigma=1.0, n=30, seed=one.seed) == one


def test_predict_abstains_where_the_vote_is_open():
    clf = Classifier(lambda x: (x[:, 0] > 0.5).long(), num_classes=2)
    assert predict(clf, [[0.9, 0.0], [0.5, 0.0], [0.1, 0.0]], sigma=0.25) == [1, None, 0]


class Counted:
    """One input whose votes are known."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def __len__(self) -> int:
        return 1

    def count(self, stage, ballots):
        return [self.look]


def test_predict_compares_the_two_most_voted_classes_alone():
    # 60 against 30 of 100, the rest for others: among those two, 60 of 90 is significant at 0.01 and not at 0.001.
    votes = Counted(Look(n=100, counts={0: 60, 1: 30, 2: 10}))
    assert 0.001 < stats.binomtest(60, 90).pvalue < 0.01 < stats.binomtest(60, 100).pvalue < 0.1
    assert predict_votes(votes, n=100, alpha=0.01) == [0]
    assert predict_votes(votes, n=100, alpha=0.001) == [None]


def test_the_batch_size_rule_depends_on_the_input_and_the_network_alone(conv):
    assert default_batch_size(conv, X[None]) == 256
    assert default_batch_size(conv, torch.zeros(1, 3, 32, 32)) == 32
    assert default_batch_size(conv, torch.zeros(1, 3, 224, 224)) == 16
    for wide, size in {8: 1024, 1000: 256}.items():
        net = nn.Sequential(nn.Linear(20, wide), nn.ReLU(), nn.Linear(wide, 3)).eval()
        assert default_batch_size(Classifier(net, num_classes=3), torch.zeros(1, 20)) == size
    for width, size in {784: 256, 3072: 256, 60_000: 16}.items():
        wide = Classifier(nn.Linear(width, 20).eval(), num_classes=20)
        assert default_batch_size(wide, torch.zeros(1, width)) == size
    reshaped = nn.Sequential(nn.Unflatten(1, (1, 784)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(1564, 3)).eval()
    assert default_batch_size(Classifier(reshaped, num_classes=3), torch.zeros(1, 784)) == 64
    assert default_batch_size(Classifier(lambda x: x, num_classes=20), torch.zeros(1, 20)) == 256
    assert BLOCK == 128


def test_a_fixed_n_that_cannot_certify_a_declared_radius_warns_and_counts_none_there():
    clf = Classifier(lambda x: (x.mean(1) > 0.5).long(), num_classes=2)
    data, threat = ([[0.9] * 4, [0.1] * 4], [1, 0]), ThreatModel("l2", (0.25, 3.0))
    with pytest.warns(UserWarning, match="at most radius 0.6158, but radius 3 is declared"):
        summary = evaluate(clf, data, threat=threat, sigma=0.25, n=1000, schedule="fixed").summary
    assert [row.certified for row in summary.rows] == [1.0, 0.0]
    for kind, radii in (("declared", (0.25, 3.0)), ("fixed", (2.0, 3.0))):
        with pytest.raises(BadInput, match="radius 3 is declared"):
            evaluate(clf, data, threat=ThreatModel("l2", radii), sigma=0.25, n=1000, schedule=kind)
