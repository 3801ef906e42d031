"""Networks that look words up, bounded over finite sets of words: every text enumerated."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import certify
from certify.bounds.choices import over_choices
from certify.bounds.importers.torch_import import import_module
from certify.bounds.region import region_of
from certify.errors import ModelError, UnsupportedOperator
from tests.certifiers.test_substitutions import BOX, LENGTH, SETS, WORDS, reached, texts, true_radius


class Flat(nn.Module):
    """An embedding and layers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, 3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * LENGTH, 5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x):
        return self.layers(self.table(x.long()))


class Masked(nn.Module):
    """The mean over the words that are no padding, as text models take it."""

    def __init__(self):
        super().__init__()
        self.table, self.first, self.last = nn.Embedding(WORDS, 3, padding_idx=0), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        ids = x.long()
        kept = (ids != 0).float().unsqueeze(-1)
        words = torch.relu(self.first(self.table(ids))) * kept
        return self.last(words.sum(1) / kept.sum(1).clamp(min=1))


class Shifted(nn.Module):
    """Without the first token, with numbers of places, two tables, and features before words (a convolution)."""

    def __init__(self):
        super().__init__()
        self.table, self.other = nn.Embedding(WORDS + 2, 3), nn.Embedding(WORDS, 2)
        self.place = nn.Parameter(torch.randn(LENGTH - 1, 3))
        self.conv, self.last = nn.Conv1d(3, 4, 2), nn.Linear(4 + 2 * LENGTH, 2)

    def forward(self, x):
        ids = x.long()
        words = (self.table(ids[:, 1:] + 2) + self.place).transpose(1, 2)
        seen = torch.relu(self.conv(words)).amax(2)
        return self.last(torch.cat([seen, self.other(ids).flatten(1)], dim=1))


NETWORKS = {"flat": Flat, "masked": Masked, "shifted": Shifted}


def network(name, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = NETWORKS[name]().eval().requires_grad_(False)
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return net


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("radius", [1, 2])
def test_what_is_bounded_computes_what_the_network_does_on_every_text(name, radius):
    """And its region holds exactly those texts: minima of rows are those over all of them."""
    net, threat = network(name, 0), certify.Substitutions((0, 1, 2), SETS)
    graph, generator = import_module(net, torch.zeros(1, LENGTH)), torch.Generator().manual_seed(0)
    for text in texts(5):
        made = over_choices(graph, text[None], threat)
        words = made.tokens.shape[1]
        every = [torch.tensor(one) for one in itertools.product(range(words), repeat=LENGTH)]
        chosen = torch.nn.functional.one_hot(torch.stack(every), words).float()
        assert torch.allclose(made.graph.forward(chosen), net(made.texts(chosen)), atol=1e-6)
        assert torch.equal(made.texts(made.x)[0], text)
        A = torch.randn(1, 6, LENGTH * words, generator=generator, dtype=torch.float64)
        region = region_of(made.threat, made.x.double(), torch.tensor([float(radius)]))
        least = region.least(A, 0)[0][0]
        near = [one for one in chosen if int((one != made.x[0]).any(dim=1).sum()) <= radius]
        assert torch.allclose(least, (A[0] @ torch.stack(near).flatten(1).double().T).amin(dim=1))
        assert {tuple(row.tolist()) for row in made.texts(torch.stack(near))} == {
            tuple(row.tolist()) for row in reached(text, radius)
        }


@pytest.mark.parametrize("certifier", ["ibp", "crown", "alpha-crown", certify.Complete(timeout=60.0)], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_certificate_covers_a_text_that_changes_the_class(name, certifier):
    radii, claimed = (0, 1, 2), 0.0
    threat = certify.Substitutions(radii, SETS)
    for seed in range(1 if certifier == "alpha-crown" else 2):
        clf, x = certify.Classifier(network(name, seed), num_classes=2, input_box=BOX), texts(4, seed)
        y = clf.predict(x)
        for one, text, label in zip(certify.certify(clf, x, y, threat=threat, certifier=certifier), x, y, strict=True):
            held = true_radius(clf.predict, text, label, radii)
            assert one.radius is None or one.radius <= held
            claimed += one.radius or 0.0
            assert certify.check(one, clf, text)
            if one.method == "complete":
                assert one.radius == held
                assert one.evidence.falsified == (None if held == 2 else held + 1)
                if held < 2:
                    found = one.finding.x_adv
                    assert threat.distance(text.numpy(), found) == held + 1
                    assert int(clf.predict(torch.from_numpy(found)[None])) != int(label)
    assert claimed > 0 or certifier == "ibp"


def test_a_batch_is_bounded_as_each_text_alone():
    clf, x = certify.Classifier(network("flat", 0), num_classes=2, input_box=BOX), texts(4)
    threat = certify.Substitutions((0, 1), SETS, places="1:4")
    together = certify.certify(clf, x, threat=threat, certifier="crown")
    for one, text in zip(together, x, strict=True):
        [alone] = certify.certify(clf, text[None], threat=threat, certifier="crown")
        assert (one.radius, one.evidence) == (alone.radius, alone.evidence)
    floats = certify.certify(clf, x, threat=threat, certifier=certify.Bounds("crown", claim="float32"))
    assert all((one.radius or 0) <= (other.radius or 0) for one, other in zip(floats, together, strict=True))
    assert sum(one.radius or 0 for one in floats) > 0


def test_a_set_that_grew_is_another_claim():
    """A record carries its sets: with one word more, the margins are others, and the check says so."""
    clf, x = certify.Classifier(network("flat", 0), num_classes=2, input_box=BOX), texts(6)
    made = certify.certify(clf, x, threat=certify.Substitutions((0, 1), SETS), certifier="crown")
    one, text = next((one, text) for one, text in zip(made, x, strict=True) if one.radius and 1 in text)
    record = one.to_dict()
    record["threat"]["synonyms"]["1"] = [0, 1, 2, 3, 4, 5]
    assert certify.check(one, clf, text)
    assert not certify.check(certify.Certificate.from_dict(record), clf, text)


def test_single_words_leave_nothing_to_choose():
    clf = certify.Classifier(network("flat", 0), num_classes=2, input_box=BOX)
    [one] = certify.certify(clf, texts(1), threat=certify.Substitutions((0, 4), {1: [1]}), certifier="crown")
    assert one.radius == 4


@pytest.mark.parametrize(
    "ids",
    [
        lambda x: (x * 0.5).long(),
        lambda x: (x.long() + x.long().flip(1)).clamp(max=5),
        lambda x: x.long().sum(1, keepdim=True).clamp(max=5).expand(-1, LENGTH),
        lambda x: (x * 16777215 - 50331645).long().clamp(0, 5),  # beyond what float32 holds
    ],
    ids=["scaled", "added", "summed", "rounded"],
)
def test_a_network_that_computes_with_ids_is_refused_in_one_line(ids):
    class Odd(Flat):
        def forward(self, x):
            return self.layers(self.table(ids(x)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        clf = certify.Classifier(Odd().eval(), num_classes=2, input_box=BOX)
    with pytest.raises(ModelError, match="computes with token ids in a way that bounds over words do not follow"):
        certify.certify(clf, texts(1), threat=certify.Substitutions((1,), SETS), certifier="crown")


def test_a_table_with_fewer_rows_than_the_vocabulary_is_seen():
    """An id that no row has: the model refuses it, as do the bounds; nothing is certified."""
    clf = certify.Classifier(network("flat", 0), num_classes=2, input_box=(0.0, 9.0))
    threat = certify.Substitutions((0, 1), {1: [1, 9]})
    [one] = certify.certify(clf, [[1.0, 0.0, 0.0, 0.0]], threat=threat, certifier="crown")
    assert not one.radius


@pytest.mark.parametrize("certifier", ["crown", certify.Complete(timeout=20.0)], ids=str)
def test_ids_that_leave_their_integer_type_are_not_taken_for_what_they_were(certifier):
    """Token 256 as a byte is token 0, of another class."""

    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(300, 2)

        def forward(self, x):
            return self.table(x.to(torch.uint8).long()).sum(1)

    net = Bytes().eval().requires_grad_(False)
    net.table.weight.copy_(torch.tensor([1.0, 0.0]).expand(300, 2))
    net.table.weight[0] = torch.tensor([0.0, 1.0])
    clf = certify.Classifier(net, num_classes=2, input_box=(0.0, 299.0))
    with pytest.raises(ModelError, match="computes with token ids"):
        certify.certify(clf, [[1.0]], threat=certify.Substitutions((0, 1), {1: [1, 256]}), certifier=certifier)
    [one] = certify.certify(clf, [[1.0]], threat=certify.Substitutions((0, 1), {1: [1, 255]}), certifier=certifier)
    assert one.radius == 1


def test_a_table_that_is_no_embedding_is_refused_with_the_reason():
    class Indexed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.ones(WORDS, 2))

        def forward(self, x):
            return self.table[x.long()].sum(1)

    clf = certify.Classifier(Indexed().eval().requires_grad_(False), num_classes=2, input_box=BOX)
    with pytest.raises(UnsupportedOperator, match="where entries go depends on the input"):
        certify.certify(clf, texts(1), threat=certify.Substitutions((1,), SETS), certifier="crown")
