"""Replaced words: every text enumerated against certificates, examples and ablation; sets and files that cannot be."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.attacks.moves import moves_of
from certify.core.threats.base import threat_from
from certify.core.threats.substitutions import MOST_WORDS, sets_of, words_of
from certify.data.generators import keyed_generator
from certify.errors import BadInput

SETS = {1: [1, 2, 3], 2: [2, 4], 3: [3, 1], 4: [4, 0, 5]}
"""Tokens 0 and 5 are never replaced; sets need not be symmetric."""

WORDS, LENGTH = 6, 4
BOX = (0.0, 5.0)


def texts(count, seed=0):
    """Rows of token ids."""
    drawn = np.random.default_rng(seed).integers(0, WORDS, (count, LENGTH))
    return torch.from_numpy(drawn.astype(np.float32))


def reached(text, radius, places=range(LENGTH)):
    """Every text that comes from a row by so many replaced tokens at most, listed by hand."""
    for changed in itertools.combinations(places, radius):
        for words in itertools.product(*(SETS.get(int(text[place]), [int(text[place])]) for place in changed)):
            other = text.clone()
            other[list(changed)] = torch.tensor(words, dtype=torch.float32)
            yield other


def true_radius(classes, text, label, radii, places=range(LENGTH)):
    """The largest of the radii at which all texts keep a class; None where none does."""
    held = None
    for radius in radii:
        if bool((classes(torch.stack(list(reached(text, radius, places)))) != label).any()):
            break
        held = radius
    return held


def random_function(seed):
    """A class for every text, mostly by the count of one word, with noise: a function without gradients."""
    table = torch.from_numpy(np.random.default_rng(seed).integers(0, 9, WORDS**LENGTH))

    def classes(x):
        number = (x.long() * WORDS ** torch.arange(LENGTH)).sum(dim=1)
        return ((x == 1).sum(dim=1) + (table[number] == 0).long() >= 2).long()

    return certify.Classifier(classes, num_classes=2, input_box=BOX)


@pytest.mark.parametrize("places", [None, "0,2:4"])
def test_attacks_find_the_true_radius_of_a_function_where_edits_lead_there(places):
    x, found = texts(20), 0
    clf = certify.Classifier(lambda x: ((x == 3).sum(dim=1) >= 2).long(), num_classes=2, input_box=BOX)
    y = clf.predict(x)
    threat = certify.Substitutions((1, 2, 3), SETS, places=places)
    where = range(LENGTH) if places is None else (0, 2, 3)
    for one, text, label in zip(certify.attack(clf, x, y, threat=threat, attack="beam"), x, y, strict=True):
        held = true_radius(clf.predict, text, label, (0, 1, 2, 3), where)
        assert one.radius == (None if held == 3 else held + 1)
        if one.succeeded:
            found += 1
            assert any(np.array_equal(one.x_adv, other.numpy()) for other in reached(text, int(one.radius), where))
            assert int(clf.predict(torch.from_numpy(one.x_adv)[None])) == one.adversarial_prediction != int(label)
    assert 0 < found < len(x)


def test_beam_breaks_no_certificate_of_a_function_and_examples_are_true():
    threat, total = certify.Substitutions((1, 2), SETS), 0
    for seed in range(3):
        clf, x = random_function(seed), texts(12, seed)
        y = clf.predict(x)
        for one, text, label in zip(certify.attack(clf, x, y, threat=threat, attack="beam"), x, y, strict=True):
            held = true_radius(clf.predict, text, label, (0, 1, 2))
            assert not (one.succeeded and one.radius <= held)
            total += one.succeeded
    assert total > 0


@pytest.mark.parametrize("places", [None, "0,2:4"])
def test_ablation_is_about_any_replaced_token_and_so_about_these(places):
    """The vote is enumerated, and so are the texts: no certificate is contradicted, as `features` promises more."""
    clf, law, radii = random_function(1), certify.Enumeration(retention=1, null=5.0), (0, 1)
    threat = certify.Substitutions(radii, SETS, places=places)
    where = range(LENGTH) if places is None else (0, 2, 3)
    x, claimed = texts(30, 1), 0.0
    for one, text in zip(certify.certify(clf, x, threat=threat, certifier=law), x, strict=True):
        if one.radius is not None:
            target = law.target(clf, threat)
            answers = {
                target.examine(other, one.prediction, "", 1).prediction
                for other in reached(text, int(one.radius), where)
            }
            assert answers == {one.prediction}
            claimed += one.radius
        assert certify.check(one, clf, text)
    assert claimed > 0


def test_smoothing_by_sampled_ablation_knows_replaced_tokens():
    clf = certify.Classifier(lambda x: (x == 1).any(dim=1).long(), num_classes=2, input_box=BOX)
    threat = certify.Substitutions((0, 1), SETS)
    [one] = certify.smooth(clf, [[1.0] * 20], threat=threat, noise="ablation", retention=3, null=5.0, n=2000)
    assert one.radius == 1.0
    assert certify.check(one, clf, torch.ones(20))


@pytest.mark.parametrize("certifier", ["ibp", "crown", certify.Complete(timeout=30.0)], ids=str)
def test_networks_that_read_ids_as_numbers_are_bounded_over_the_sets(certifier):
    """No embedding: the exact finite sets of whole numbers, held against all texts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(LENGTH, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    clf, x = certify.Classifier(net, num_classes=2, input_box=BOX), texts(12)
    y, threat, claimed = clf.predict(x), certify.Substitutions((0, 1, 2), SETS), 0.0
    for one, text, label in zip(certify.certify(clf, x, y, threat=threat, certifier=certifier), x, y, strict=True):
        held = true_radius(clf.predict, text, label, (0, 1, 2))
        assert one.radius <= held
        claimed += one.radius
        if one.method == "complete":
            assert one.radius == held
            assert (one.evidence.falsified is None) == (held == 2)
        assert certify.check(one, clf, text)
    assert claimed > 0


def test_moves_stay_in_the_threat_and_edits_are_all_of_them():
    threat = certify.Substitutions((1, 2), SETS, places="0:3").within(BOX)
    moves = moves_of(threat)
    for text, radius in itertools.product(texts(10).split(1), (1, 2)):
        everything = {tuple(other.tolist()) for other in reached(text[0], radius, range(3))}
        z = moves.random(text, radius, [keyed_generator("start")])
        edited = moves.edits(text, z, radius, keyed_generator("edits"), 1000)
        assert {tuple(row.tolist()) for row in torch.cat([z, edited])} <= everything
        apart = {other for other in everything if sum(a != b for a, b in zip(other, z[0].tolist(), strict=True)) == 1}
        assert {tuple(row.tolist()) for row in edited} == apart
        assert len(moves.edits(text, z, radius, keyed_generator("edits"), 1)) <= 1


def test_neighbours_in_an_embedding_are_the_nearest_within_the_distance():
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    threat = certify.Substitutions.near((1,), torch.from_numpy(vectors), within=1.2, most=3)
    sets = dict(threat.synonyms)
    for token in range(20):
        apart = np.linalg.norm(vectors - vectors[token], axis=1)
        near = sorted((distance, other) for other, distance in enumerate(apart) if other != token and distance <= 1.2)[
            :3
        ]
        assert sets.get(token, (token,)) == tuple(sorted([token, *(other for _, other in near)]))
    assert "within 1.2 in the embedding with sha256" in threat.source
    assert threat_from(json.loads(json.dumps(threat.to_dict()))) == threat


def test_files_of_ids_and_of_words_give_the_same_sets(tmp_path):
    (tmp_path / "ids.json").write_text('{"1": [1, 2], "2": [2, 1, 0]}')
    (tmp_path / "words.json").write_text('{"good": ["good", "fine"], "fine": ["fine", "good", "a"]}')
    (tmp_path / "words.txt").write_text("a\ngood\nfine\n")
    ids = certify.Substitutions((1,), str(tmp_path / "ids.json"))
    words = certify.Substitutions((1,), str(tmp_path / "words.json"), str(tmp_path / "words.txt"))
    assert ids == words == certify.Substitutions((1,), {1: [1, 2], 2: [0, 1, 2]})
    assert ids.named == words.named != certify.Substitutions((1,), {1: [1, 2]}).named
    with pytest.raises(BadInput, match="no token id: give ids, or a vocabulary"):
        certify.Substitutions((1,), str(tmp_path / "words.json"))
    with pytest.raises(BadInput, match="'worse', which is not in the vocabulary"):
        certify.Substitutions((1,), {"good": ["good", "worse"]}, str(tmp_path / "words.txt"))
    (tmp_path / "words.txt").write_text("a\na\n")
    with pytest.raises(BadInput, match="line 2 repeats a word"):
        certify.Substitutions((1,), {"a": ["a"]}, str(tmp_path / "words.txt"))
    (tmp_path / "ids.json").write_text('{"1": [1, 2], "1": [1]}')
    with pytest.raises(BadInput, match="'1' stands twice"):
        certify.Substitutions((1,), str(tmp_path / "ids.json"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: certify.Substitutions((0.5,), SETS), "no whole number"),
        (lambda: certify.Substitutions((1,), {1: [2, 3]}), "the set of 1 lacks the word itself"),
        (lambda: certify.Substitutions((1,), {1: [1, 7]}, input_box=BOX), "token 7, outside of the vocabulary"),
        (lambda: certify.Substitutions((1,), {1: [1, 7]}).within(BOX), "token 7, outside of the vocabulary"),
        (lambda: certify.Substitutions((1,), {1: [1, 2**25]}), "from 0 to 2\\^24"),
        (lambda: certify.Substitutions((1,), {1: [1, -2]}), "from 0 to 2\\^24"),
        (lambda: certify.Substitutions((1,), {1: [1, 0.5]}), "must be a whole number, got 0.5"),
        (lambda: certify.Substitutions((1,), {"1": [1], 1: [1]}), "two sets for token 1"),
        (lambda: certify.Substitutions((1,), [1, 2]), "map each token id to those in its set"),
        (lambda: certify.Substitutions((1,), ((1, (1, 2)), (1, (1, 3)))), "map each token id to those in its set"),
        (lambda: certify.Substitutions((1,), {1: 2}), "map each token id to those in its set"),
        (lambda: certify.Substitutions((1,), "no/such/file.json"), "synonyms no/such/file.json"),
        (lambda: certify.Substitutions((1,), SETS, "no/such/words.txt"), "vocabulary no/such/words.txt"),
        (lambda: certify.Substitutions((1,), SETS, "words\0.txt"), "vocabulary words.*null byte"),
        (lambda: certify.Substitutions((1,), SETS, 5), "vocabulary 5"),
        (lambda: certify.Substitutions((1,), SETS, places="0:2,1"), "places overlap"),
        (lambda: certify.Substitutions((1,), SETS, places="9").check_shape((4,)), "an input of shape \\(4,\\) has 4"),
        (lambda: certify.Substitutions((3,), SETS, places="1:3").check_shape((4,)), "more than the 2 positions"),
        (lambda: certify.Substitutions((1,), SETS).check_shape((1, 4, 4)), "one row of token ids"),
        (
            lambda: certify.Substitutions((1,), SETS).check_inputs(np.array([[0.5, 1, 2, 3]])),
            "input 0 has 0.5 at place 0",
        ),
        (lambda: sets_of("synonyms", {1: [1] * (MOST_WORDS + 1)}), "1 sets of up to 4,194,305 words, more than"),
        (lambda: certify.Substitutions.near((1,), [[0.0], [1.0]], within=0.0), "within a distance above 0"),
        (lambda: certify.Substitutions.near((1,), [0.0, 1.0], within=1.0), "a table of finite numbers"),
        (lambda: certify.Substitutions.near((1,), [[0.0, 1.0], [2.0]], within=1.0), "a table of finite numbers"),
        (lambda: certify.Substitutions.near((1,), "table", within=1.0), "a table of finite numbers"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(make, said):
    with pytest.raises(BadInput, match=said) as problem:
        make()
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("sets", ["/etc/hostname", [[1, [1, 2]]], {"1": "12"}, {"1": [2]}, {"a": [1]}])
def test_records_hold_sets_and_name_no_file(sets):
    fields = {"threat": "substitutions", "radii": [1.0], "input_box": None, "units": "", "source": "", "synonyms": sets}
    with pytest.raises((TypeError, BadInput)):
        threat_from(fields)


def test_a_run_is_checked_and_contradicts_nothing(tmp_path):
    clf, x = random_function(0), texts(6)
    y, threat = clf.predict(x).numpy(), certify.Substitutions((0, 1), SETS)
    ways = {"certifier": certify.Enumeration(retention=1, null=5.0), "attack": "beam", "attack_option": {"steps": 2}}
    result = certify.evaluate(clf, (x.numpy(), y), threat=threat, out=tmp_path / "run", **ways)
    assert "under every replacement of " in result.summary.statement
    assert not result.summary.contradictions
    assert not certify.check_run(tmp_path / "run").refuted


def test_the_lines_of_a_vocabulary_end_with_its_line_feeds_alone(tmp_path):
    """A word with what Unicode calls the end of a line moves no other word to another number."""
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeff<pad>\r\n<unk>\r\nline\u2028break\r\n\x85\r\ngood\r\n".encode())
    assert words_of(str(file)) == {"<pad>": 0, "<unk>": 1, "line\u2028break": 2, "\x85": 3, "good": 4}
    file.write_bytes(b"")
    assert words_of(str(file)) == {}
    file.write_bytes(b"good\n\nfine")
    with pytest.raises(BadInput, match="line 2 is empty"):
        words_of(str(file))


def test_no_token_that_is_infinite_allows_anything():
    """Distances are of any two rows, those of a record among them."""
    threat = certify.Substitutions((1,), SETS)
    far = np.array([np.inf, 1.0, 1.0, 1.0])
    assert threat.distance(far, np.ones(4)) == threat.distance(np.ones(4), far) == np.inf
