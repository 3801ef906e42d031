"""Erase-and-check: every insertion and every erasure enumerated, forged evidence refuted, attacks on the wrapper."""

from __future__ import annotations

import functools
import itertools
import json

import numpy as np
import pytest
import torch

import certify
from certify.attacks.moves import moves_of
from certify.checker.result import Standing
from certify.core.evidence.erased import ErasedEvidence
from certify.data.generators import keyed_generator
from certify.errors import BadInput, DataError
from certify.models.defences.base import defence_from
from certify.models.defences.erasing import Erasing

WORDS, LENGTH = (1, 2, 3), 6
MODES = ("suffix", "block", "subset")
TEXTS = [text for count in (1, 2, 3) for text in itertools.product(WORDS, repeat=count)]


def rows(texts, length=LENGTH):
    """Texts as rows of token ids."""
    return torch.tensor([[*text, *[0] * (length - len(text))] for text in texts], dtype=torch.float32)


def filtering(flags, **settings):
    """A filter of texts from a function of a tuple of tokens that says whether it flags."""

    def classes(x):
        return torch.tensor([int(flags(tuple(int(token) for token in row if token))) for row in x])

    return certify.Classifier(classes, num_classes=2, input_box=(0.0, 3.0), digest=64 * "0", **settings)


def inserted(text, count, mode):
    """Every text with so many tokens more, by hand."""
    for words in itertools.product(WORDS, repeat=count):
        if mode == "suffix":
            yield text + words
        elif mode == "block":
            yield from (text[:at] + words + text[at:] for at in range(len(text) + 1))
        else:
            for places in itertools.combinations(range(len(text) + count), count):
                rest, more = iter(text), iter(words)
                yield tuple(next(more if at in places else rest) for at in range(len(text) + count))


def shorter(text, count, mode):
    """Every text that is left without up to so many tokens, by hand: those of which it is an insertion."""
    for erased in range(min(count, len(text) - 1) + 1):
        for left in itertools.product(WORDS, repeat=len(text) - erased):
            if text in set(inserted(left, erased, mode)):
                yield left


def some_filter(seed):
    """A filter that flags texts at random, most of the longer ones not."""
    generator = np.random.default_rng(seed)
    known = {}
    for length in range(1, LENGTH + 1):
        for text in itertools.product(WORDS, repeat=length):
            known[text] = bool(generator.random() < 0.4 / length)
    return known


@pytest.mark.parametrize("mode", MODES)
def test_every_certificate_holds_for_every_insertion(mode):
    """The answers of a wrapper that is written down by its definition, at every text that the threat reaches."""
    outcomes, left = set(), functools.cache(lambda text: tuple(shorter(text, 2, mode)))
    for seed in range(2):
        flags = some_filter(seed)
        clf, threat = filtering(flags.__getitem__), certify.Insertions((0, 1, 2), mode=mode)
        defence = certify.EraseAndCheck().fitted(threat).defence
        made = certify.certify(clf, rows(TEXTS), threat=threat, certifier="erase-and-check")
        for text, one in zip(TEXTS, made, strict=True):
            answers = {
                more: {any(map(flags.get, left(longer))) for longer in set(inserted(text, more, mode))}
                for more in range(3 if len(text) < 3 else 2)
            }
            assert {bool(one.prediction)} == answers[0]
            assert defence.returned(clf, rows([text])[0]) == one.prediction
            for more in range(1, len(answers)):
                assert not (more <= one.radius and answers[more] != {True})
            outcomes.add((one.prediction, one.radius))
            assert certify.check(one, clf, rows([text])[0])
    assert outcomes == {(0, 0.0), (1, 0.0), (1, 2.0), *([] if mode == "block" else [(1, 1.0)])}


@pytest.mark.parametrize("mode", MODES)
def test_the_radius_is_the_true_one_where_a_filter_knows_a_single_text(mode):
    """The theorem is tight: with one insertion more than is erased, the wrapper is blind."""
    text = (1, 2, 1)
    clf = filtering(lambda seen: seen == text)
    for tokens in (0, 1, 2):
        threat = certify.Insertions(tuple(range(tokens + 1)), mode=mode)
        certifier = certify.EraseAndCheck(tokens=tokens)
        [one] = certify.certify(clf, rows([text]), threat=threat, certifier=certifier)
        assert one.radius == tokens
        defence = certifier.fitted(threat).defence
        for more in range(4):
            found = {defence.returned(clf, row) for row in rows(set(inserted(text, more, mode)))}
            assert (found == {1}) == (more <= tokens)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_left_and_how_far_texts_are_is_as_by_hand(mode):
    threat, defence = certify.Insertions((3,), mode=mode), Erasing(2, mode)
    for text in TEXTS:
        row = rows([text])[0]
        made = {tuple(int(t) for t in defence.row(row, places) if t) for places in defence.left(len(text))}
        assert made == set(shorter(text, 2, mode))
        assert defence.texts(len(text)) == len(list(defence.left(len(text))))
    reached = {text: {longer: more for more in (2, 1, 0) for longer in inserted(text, more, mode)} for text in TEXTS}
    for text, other in itertools.product(TEXTS, repeat=2):
        distance = threat.distance(rows([text])[0].numpy(), rows([other])[0].numpy())
        assert distance == reached[text].get(other, np.inf)
    assert defence.count((LENGTH,)) == defence.texts(LENGTH)


@pytest.mark.parametrize("mode", MODES)
def test_an_erasure_that_is_left_out_is_seen(mode, monkeypatch):
    """Were one way of erasing missing, some text that is reached would not be flagged, and the enumeration sees it."""
    text, true = (1, 2, 1), Erasing.left
    clf, threat = filtering(lambda seen: seen == text), certify.Insertions((0, 1, 2), mode=mode)
    defence = certify.EraseAndCheck().fitted(threat).defence

    def answers():
        return {defence.returned(clf, row) for more in range(3) for row in rows(set(inserted(text, more, mode)))}

    assert answers() == {1}
    for missing in range(1, defence.texts(len(text) + 2)):
        monkeypatch.setattr(Erasing, "left", lambda self, n, gone=missing: skipping(true(self, n), gone))
        # Number 5 is the last single token of five, or the first pair of four: texts of six words need neither.
        assert answers() == ({1} if missing == 5 else {0, 1})
    monkeypatch.setattr(Erasing, "left", lambda self, n: itertools.islice(true(self, n), 1))
    assert answers() == {0, 1}


def skipping(places, gone):
    return (one for number, one in enumerate(places) if number != gone)


def altered(one, **fields):
    """A record with other values in its evidence, its threat or itself; None where it is refused at once."""
    record = json.loads(json.dumps(one.to_dict()))
    for name, value in fields.items():
        where = next(part for part in (record["evidence"], record, record["threat"]) if name in part)
        where[name] = value
    if fields.get("radius") is not None:
        record["radius_hex"] = float(fields["radius"]).hex()
    try:
        return certify.Certificate.from_dict(record)
    except BadInput:
        return None


@pytest.mark.parametrize(
    "fields",
    [
        {"tokens": 3},
        {"tokens": 1},
        {"mode": "block"},
        {"pad": 3},
        {"flagged": 0},
        {"length": 3},
        {"erased": 0},
        {"erased": None},
        {"radius": 2.0},
        {"radius": 0.0},
        {"forward_passes": 3},
        {"prediction": 0},
        {"label": 0},
        {"verdict": "unknown", "radius": None, "radius_hex": None},
    ],
    ids=str,
)
def test_evidence_that_was_changed_is_refuted(fields):
    clf, x = filtering(lambda text: text == (3,)), rows([(3, 1)])
    [one] = certify.certify(clf, x, [1], threat=certify.Insertions((0, 1, 2)), certifier="erase-and-check")
    assert (one.radius, one.evidence.erased, one.forward_passes) == (1.0, 1, 2)
    assert certify.check(one, clf, x[0])
    forged = altered(one, **fields)
    assert forged is None or not certify.check(forged, clf, x[0])


@pytest.mark.parametrize("name", ["mode", "pad"])
def test_a_record_about_another_kind_of_insertion_is_refused(name):
    clf, x = filtering(lambda text: text == (3, 1)), rows([(3, 1)])
    [one] = certify.certify(clf, x, [1], threat=certify.Insertions((0, 1), mode="suffix"), certifier="erase-and-check")
    record = json.loads(json.dumps(one.to_dict()))
    record["threat"][name] = {"mode": "subset", "pad": 3}[name]
    with pytest.raises(BadInput, match="says nothing of"):
        certify.Certificate.from_dict(record)


@pytest.mark.parametrize("mode", MODES)
def test_attacks_blind_the_filter_and_the_wrapper_only_beyond_its_radius(mode):
    clf = filtering(lambda text: 3 in text and 2 not in text)  # 2 is what blinds it
    x, threat = rows([(3, 1), (1, 3, 1)]), certify.Insertions((1, 2), mode=mode)
    y, certifier = [1, 1], certify.EraseAndCheck(tokens=1)
    plain = certify.attack(clf, x, y, threat=threat, attack="beam", steps=4)
    assert [one.radius for one in plain] == [1.0, 1.0]
    with pytest.warns(UserWarning, match="at most 1 tokens are erased; no certificate reaches it"):
        made = certify.certify(clf, x, y, threat=threat, certifier=certifier)
    wrapped = certify.attack(clf, x, y, threat=threat, attack="beam", certifier=certifier, steps=6)
    for one, found, text in zip(made, wrapped, x, strict=True):
        assert (one.radius, found.radius) == (1.0, 2.0)
        assert found.distance == threat.distance(text.numpy(), found.x_adv) == 2.0
        assert certifier.fitted(threat).defence.returned(clf, torch.from_numpy(found.x_adv)) == 0
        assert found.settings["defence"] == one.evidence.defence
        assert defence_from(json.loads(json.dumps(found.settings["defence"]))) == certifier.fitted(threat).defence
    again = certify.attack(clf, x[1:], y[1:], threat=threat, attack="beam", certifier=certifier, steps=6)
    assert (again[0].x_adv == wrapped[1].x_adv).all()  # whatever else is attacked beside it


def test_the_answer_to_use_is_the_wrappers():
    clf = filtering(lambda text: text == (3,))
    certifier = certify.EraseAndCheck(tokens=2, erase="suffix", padding=0)
    assert certifier.predict(clf, rows([(3, 1, 1), (3, 1, 1, 1), (1, 3)])) == [1, 0, 0]
    assert certify.EraseAndCheck(2, "subset", 0).predict(clf, rows([(1, 3, 1)])) == [1]


def test_a_filter_without_an_answer_flags_nothing():
    def scores(x):
        odd = (x == 2).any(dim=1, keepdim=True)
        return torch.where(odd, torch.nan, torch.stack([x[:, 0] != 3, x[:, 0] == 3], dim=1).float())

    clf = certify.Classifier(scores, num_classes=2, input_box=(0.0, 3.0))
    threat = certify.Insertions((0, 1), mode="suffix")
    x = rows([(1, 2, 2), (1, 2), (3, 2), (3, 1)])
    made = certify.certify(clf, x, threat=threat, certifier="erase-and-check")
    assert [(one.prediction, one.radius) for one in made] == [(None, None), (None, None), (1, 0.0), (1, 1.0)]
    assert all(certify.check(one, clf, row) for one, row in zip(made, x, strict=True))


def test_a_radius_that_nothing_shows_has_a_reason():
    clf = filtering(lambda text: 3 in text)
    made = certify.certify(
        clf, rows([(1, 2), (3,)]), [0, 0], threat=certify.Insertions((1,)), certifier="erase-and-check"
    )
    assert [(one.verdict.name, one.reason) for one in made] == [
        ("UNKNOWN", "only texts that the filter flags are certified"),
        ("FALSIFIED", "the input itself is misclassified"),
    ]


def asked(x=((1, 2),), threat=None, certifier="erase-and-check", length=LENGTH, **settings):
    clf, threat = filtering(lambda text: 3 in text), threat or certify.Insertions((1,))
    x = x if isinstance(x, torch.Tensor) else rows(x, length)
    return certify.certify(clf, x, threat=threat, certifier=certifier, **settings)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: certify.Insertions((0.5,)), "no whole number: it counts insertions"),
        (lambda: certify.Insertions((1,), mode="sufix"), "did you mean 'suffix'"),
        (lambda: certify.Insertions((1,), pad=-1), "pad is a token id"),
        (
            lambda: certify.Insertions((1,)).check_inputs(np.ones((1, 2, 3))),
            r"row of token ids, the inputs .* \(2, 3\)",
        ),
        (lambda: Erasing(1).check_shape((2, 3)), r"row of token ids, the inputs have shape \(2, 3\)"),
        (lambda: asked(torch.tensor([[0.5, 0.0, 0.0]])), "input 0 has 0.5 at place 0"),
        (
            lambda: asked(torch.tensor([[1.0, 0.0, 2.0]])),
            r"padding between its tokens: tokens come first, then padding",
        ),
        (lambda: asked(torch.zeros(1, 3)), "no token at all"),
        (lambda: asked(threat=certify.Insertions((1, 6))), "more than a row of 6 tokens has room for"),
        (lambda: asked(threat=certify.Insertions((1, 5)), length=60), "more than 100,000 texts for one answer"),
        (lambda: asked(certifier=certify.EraseAndCheck(flagged=2)), "the classes are 0 to 1"),
        (lambda: asked(certifier=certify.EraseAndCheck(erase="suffix")), "leave them out of the certifier"),
        (lambda: asked(certifier=certify.EraseAndCheck(tokens=-1)), "no fewer than 0 tokens"),
        (lambda: asked(certifier="crown"), "single features only, got insertions: use erase-and-check"),
        (lambda: asked(threat=certify.Patch((1,))), "insertions and the top class only, got patch"),
        (lambda: asked(property=certify.TopK(1)), "insertions and the top class only, got top-k"),
        (lambda: certify.EraseAndCheck().defence, "give tokens, erase and padding"),
        (
            lambda: certify.EraseAndCheck(1, "suffix", 0).predict(filtering(bool), torch.zeros(1, 4)),
            "at least one token",
        ),
        (lambda: attacked("pgd"), "single features only, got insertions: use beam"),
        (lambda: attacked("beam", input_box=None), "there is none: declare one"),
        (lambda: attacked("beam", steps=0), "at least 1, got 0"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(make, said):
    with pytest.raises(BadInput, match=said) as problem:
        make()
    assert "\n" not in str(problem.value)


def attacked(attack, input_box=(0.0, 3.0), **settings):
    clf = certify.Classifier(lambda x: (x == 3).any(dim=1).long(), num_classes=2, input_box=input_box)
    certify.attack(clf, rows([(3, 1)]), [1], threat=certify.Insertions((1,)), attack=attack, **settings)


def test_tokens_outside_of_the_vocabulary_are_refused():
    with pytest.raises(DataError, match="4"):
        asked(torch.tensor([[4.0, 0.0, 0.0]]))


@pytest.mark.parametrize("mode", MODES)
def test_moves_stay_in_the_threat(mode):
    clf, x = filtering(lambda text: 3 in text), rows([(1, 2), (3, 3, 1), (1, 1, 1, 1, 1)])
    threat = certify.Insertions((1, 2), mode=mode).within(clf.input_box)
    moves, lengths = moves_of(threat), set()
    for radius, row in itertools.product((1.0, 2.0), x.split(1)):
        z = moves.random(row, radius, [keyed_generator("start")])
        found = moves.edits(row, z, radius, keyed_generator("edits"), 40)
        for one in torch.cat([z, found]):
            distance = threat.distance(row[0].numpy(), one.numpy())
            assert threat.contains(row[0].numpy(), one.numpy(), radius)
            lengths.add(distance)
        assert torch.equal(moves.project(row, z, radius), z)
        assert torch.equal(moves.project(row, z + 0.5, radius), row)
    assert lengths == {0.0, 1.0, 2.0}


def test_evidence_refuses_what_cannot_be():
    with pytest.raises(BadInput, match="at most 1 tokens are erased, not 2"):
        ErasedEvidence(3, "subset", 0, 1, 2, 2)


def test_a_run_is_checked_summarized_and_contradicted(tmp_path):
    clf = certify.Classifier(lambda x: (x == 3).any(dim=1).long(), num_classes=2, input_box=(0.0, 3.0))
    texts = [text for text in TEXTS if len(text) < 3]
    x, y = rows(texts).numpy(), np.array([int(3 in text) for text in texts])
    threat = certify.Insertions((0, 1, 2), mode="suffix")
    out, attack = tmp_path / "run", {"attack": "beam", "attack_option": {"steps": 2, "tries": 8}}
    result = certify.evaluate(clf, (x, y), threat=threat, certifier="erase-and-check", out=out, **attack)
    assert "not about the model alone" in result.summary.statement
    assert "under every insertion of " in result.summary.statement
    assert not result.summary.contradictions
    checked = certify.check_run(out)
    assert not checked.refuted
    assert not [one for one in checked.claims if one.standing is Standing.OPEN and one.claim == "radius"]
    assert "ANOTHER" not in result.summary.head["attack"]


def test_blocks_are_found_in_texts_of_any_length():
    """One look along the text: to try every place would take minutes."""
    threat, length = certify.Insertions((1,), mode="block"), 100_000
    text, other = np.ones(length), np.ones(length)
    text[length // 2 :] = 0
    other[0], other[-1] = 3, 2
    assert threat.distance(text, other) == np.inf
    other[[0, -1]] = 1, 1
    assert threat.distance(text, other) == length // 2
