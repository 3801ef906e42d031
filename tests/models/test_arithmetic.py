"""Networks in another arithmetic are other functions: named so, the same in any batch, and out of reach of proofs."""

from __future__ import annotations

import io
from dataclasses import fields

import pytest
import torch
from torch import nn

import certify
from certify.certifiers.base import CERTIFIERS
from certify.device import PRECISIONS, exactly
from certify.engines.parcel import parcel, unpacked
from certify.errors import BadInput, CertifyError, ModelError
from certify.models import arithmetic
from certify.models.arithmetic import Arithmetic
from certify.registry import settings_of


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()


@pytest.fixture
def compiled(monkeypatch):
    """What torch.compile was given, in a compiler that does nothing and needs no other program."""
    graphs = []
    monkeypatch.setattr(arithmetic, "BACKEND", lambda graph, inputs: (graphs.append(graph), graph.forward)[1])
    return graphs


def other_ways():
    return [Arithmetic("bfloat16"), Arithmetic("float32", compile=True), Arithmetic("bfloat16", compile=True)]


@pytest.mark.parametrize("way", other_ways(), ids=str)
def test_another_arithmetic_is_another_model_whose_answers_do_not_depend_on_the_batch(way, module, compiled):
    plain = certify.Classifier(module, 10)
    clf = certify.Classifier(module, 10, precision=way.precision, compile=way.compile)
    assert clf.name == f"Sequential ({way})"
    assert clf.digest != plain.digest
    assert clf.digest == plain.executed(way.precision, way.compile).digest
    x = torch.rand(70, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, apart = clf.scores(x), torch.cat([clf.scores(part) for part in x.split(3)])
    assert together.dtype is torch.float32
    assert torch.equal(together, apart)
    far = (together - plain.scores(x)).abs().max() / together.abs().max()
    assert 2**-10 < far < 2**-6 if way.precision == "bfloat16" else far < 1e-5
    assert len(compiled) == way.compile
    clf.check(x)
    assert clf.scores(x.requires_grad_()).requires_grad


def test_every_way_has_a_name_of_its_own():
    ways = [Arithmetic(one, compile) for one in PRECISIONS for compile in (False, True)]
    assert len({str(one) for one in ways}) == len(ways)
    assert [one for one in ways if not one.stated] == [Arithmetic()]
    assert {*ways[-1].stated} == {one.name for one in fields(Arithmetic)}


@pytest.mark.parametrize("way", other_ways(), ids=str)
def test_workers_compute_in_the_same_arithmetic(way, module, compiled):
    clf, x, file = (
        certify.Classifier(module, 10).executed(way.precision, way.compile),
        torch.rand(2, 1, 8, 8),
        io.BytesIO(),
    )
    expected = clf.scores(x)
    parcel(clf.scores, file)
    assert torch.equal(unpacked(file.getvalue())(x), expected)


def test_a_network_that_cannot_be_compiled_is_refused_in_one_line(module, monkeypatch):
    def fails(graph, inputs):
        raise RuntimeError("No working C++ compiler found\nin this place")

    monkeypatch.setattr(arithmetic, "BACKEND", fails)
    with pytest.raises(ModelError, match=r"needs a C\+\+ compiler .* leave compile out") as refusal:
        certify.Classifier(module, 10, compile=True).check(torch.rand(2, 1, 8, 8))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (nn.Flatten(), {"precision": "tf32"}, "for a CUDA device"),
        (nn.Flatten(), {"precision": "float16"}, "unknown precision 'float16'"),
        (nn.Flatten(), {"compile": "yes"}, "compile must be true or false"),
        (nn.Linear(2, 2).double(), {"precision": "bfloat16"}, "float64 weights"),
        (lambda x: x, {"precision": "bfloat16"}, "inside itself"),
        (lambda x: x, {"compile": True}, "inside itself"),
    ],
)
def test_what_would_have_no_effect_is_refused(model, settings, words):
    model = model.eval() if isinstance(model, nn.Module) else model
    with pytest.raises(BadInput, match=words):
        certify.Classifier(model, 2, **settings)


def test_a_model_that_states_its_arithmetic_is_given_no_other(module):
    clf = certify.Classifier(module, 10, precision="bfloat16")
    assert clf.executed() is clf.executed("bfloat16", False) is clf
    with pytest.raises(BadInput, match="it is executed in bfloat16, not float32"):
        clf.executed("float32")


@pytest.mark.parametrize("name", sorted(CERTIFIERS))
@pytest.mark.parametrize("way", other_ways(), ids=str)
def test_no_proof_is_about_another_arithmetic(name, way, module, compiled):
    if "sigma" in settings_of(CERTIFIERS, name) or name in (
        "derandomized",
        "enumeration",
        "erase-and-check",
        "masking",
    ):
        return  # it asks the very function
    clf = certify.Classifier(module, 10, precision=way.precision, compile=way.compile)
    norm = "l2" if name == "lipschitz" else "linf"
    with pytest.raises(CertifyError, match=f"executed in {way}"):
        certify.certify(clf, torch.rand(1, 1, 8, 8), threat=certify.ThreatModel(norm, (0.0,)), certifier=name)


def test_a_shortened_precision_is_set_where_it_is_asked_for():
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [one.fp32_precision for one in switches]
    with exactly(torch.device("cuda"), "tf32"):
        assert {one.fp32_precision for one in switches} == {"tf32"}
    assert [one.fp32_precision for one in switches] == before
    with exactly(precision="bfloat16"):
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")
