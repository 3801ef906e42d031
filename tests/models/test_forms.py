"""Forms of models: what they return, what wraps them, and in which numbers they compute."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import certify
from certify.bounds.output import network_graph, output_bounds
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier

X = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
L2, LINF = certify.ThreatModel("l2", (0.0,)), certify.ThreatModel("linf", (0.0, 0.01))
FAR = certify.ThreatModel("linf", (1.0,))


def linear(outputs: int = 3) -> nn.Linear:
    layer = nn.Linear(2, outputs).requires_grad_(False).eval()
    layer.weight.copy_(torch.tensor([[1.0, -1.0], [-2.0, 2.0], [0.5, 0.25]])[:outputs])
    layer.bias.copy_(torch.tensor([0.1, 0.0, -0.2])[:outputs])
    return layer


class Returns(nn.Module):
    """A network that returns its scores in something."""

    def __init__(self, form: Callable[[Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.net, self.form = linear(outputs), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.net(x))


def function(module: nn.Module) -> Callable[[Tensor], Any]:
    return lambda x: module(x)  # noqa: PLW0108 - not a module any more


FORMS: list[tuple[Callable[[Tensor], Any], str | int, str]] = [
    (lambda y: {"loss": y.sum(1), "logits": y}, "logits", r"a dict with 'loss', 'logits'.*output='logits'\)"),
    (lambda y: (y, y.sum(1)), 0, r"a tuple of 2: .*output=0\)"),
    (lambda y: [y.sum(1), y], -1, r"a list of 2: .*output=0\)"),
    (lambda y: types.SimpleNamespace(logits=y), "logits", r"SimpleNamespace: .*output='logits'\)"),
]


@pytest.mark.parametrize(("form", "output", "advice"), FORMS)
def test_one_of_several_outputs_is_certified(form: Callable[[Tensor], Any], output: str | int, advice: str) -> None:
    module, plain = Returns(form).eval(), Classifier(linear(), 3)
    with pytest.raises(ModelError, match=rf"^[^\n]*{advice}$"):
        Classifier(module, 3).check(X)
    for model in (module, function(module)):
        classifier = Classifier(model, 3, output=output)
        classifier.check(X)
        assert torch.equal(classifier.scores(X), plain.scores(X))
    classifier = Classifier(module, 3, mean=0.5, std=0.25, output=output)
    graph = network_graph(classifier, X)
    assert torch.allclose(graph.forward(X), linear()((X - 0.5) / 0.25), atol=1e-6)
    assert certify.bound(Classifier(module, 3, output=output), X, threat=LINF)[0].radius > 0.01


def test_an_output_that_is_not_there_is_named_in_one_line() -> None:
    cases: list[tuple[Any, Any, str]] = [
        (lambda x: {"logits": x}, "scores", r"nothing at output='scores', but a dict with 'logits'"),
        (lambda x: (x, x), 2, "nothing at output=2, but a tuple of 2"),
        (lambda x: x, "logits", "nothing at output='logits', but one tensor: leave output out"),
        (lambda x: x, 0, "nothing at output=0, but one tensor: leave output out"),
    ]
    for model, output, words in cases:
        with pytest.raises(ModelError, match=rf"^[^\n]*{words}[^\n]*$"):
            Classifier(model, 2, output=output).check(X)
    with pytest.raises(BadInput, match="output must be a key"):
        Classifier(linear(), 3, output=1.5)  # type: ignore[arg-type]


def test_digests_cover_what_is_chosen() -> None:
    both = Returns(lambda y: (y, -y), 1).eval()
    made = [{"output": 0}, {"output": 1}, {"output": 0, "threshold": 0.0}, {"output": 0, "threshold": 0.5}]
    for model in (both, function(both)):
        assert len({Classifier(model, 2, **one).digest for one in made}) == len(made)


@pytest.mark.parametrize("squeeze", [False, True])
def test_one_number_for_each_input_makes_two_classes(squeeze: bool) -> None:
    module = Returns(lambda y: y.squeeze(1) if squeeze else y, 1).eval()
    for model in (module, function(module)):
        with pytest.raises(ModelError, match=r"threshold=0\.0\) for a logit, 0\.5 for a probability"):
            Classifier(model, 2).check(X)
        classifier = Classifier(model, 2, threshold=0.0)
        classifier.check(X)
        assert torch.equal(classifier.predict(X), (linear(1)(X) > 0).long().squeeze(1))
        assert classifier.predict(torch.tensor([[0.0, 0.1]])).tolist() == [0]  # at the threshold
    proofs = certify.bound(
        Classifier(module, 2, threshold=0.0), X, threat=certify.ThreatModel("linf", (0.0, 0.15, 0.5))
    )
    # |x1 - x2 + 0.1| = 0.9 and 0.4 over a slope of 2 in linf.
    assert [proof.radius for proof in proofs] == [pytest.approx(0.45, abs=1e-3), pytest.approx(0.2, abs=1e-3)]


def test_a_threshold_is_for_one_number() -> None:
    with pytest.raises(ModelError, match=r"a threshold is for one number an input, .* returned shape \(3, 3\)"):
        Classifier(linear(), 2, threshold=0.0).check(X)
    for threshold in (float("nan"), "0", True):
        with pytest.raises(BadInput, match="threshold must be a finite number"):
            Classifier(linear(1), 2, threshold=threshold)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="a threshold makes two classes"):
        Classifier(linear(), 3, threshold=0.0)
    with pytest.raises(BadInput, match="a model that returns one number for each input has 2 classes and a threshold"):
        Classifier(linear(1), 1)


def compiled(module: nn.Module) -> nn.Module:
    def no_backend(*given: object) -> None:
        raise AssertionError("it is compiled again")

    return torch.compile(module, backend=no_backend)


def exported(module: nn.Module) -> nn.Module:
    dynamic = ({0: torch.export.Dim("batch")},)
    return torch.export.export(nn.Sequential(module).eval(), (torch.zeros(2, 2),), dynamic_shapes=dynamic).module()


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "torch.compile": compiled,
    "torch.compile, inside": lambda module: nn.Sequential(compiled(module)),
    "DataParallel": nn.DataParallel,
    "both": lambda module: nn.DataParallel(compiled(module)),
    "torch.export": exported,
    "torch.export, inside": lambda module: nn.Sequential(exported(module)),
}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own exported modules
@pytest.mark.parametrize("name", list(WRAPPERS))
def test_wrapped_models_are_certified(name: str) -> None:
    wrapped = WRAPPERS[name](linear())
    if not name.startswith("torch.export"):
        wrapped.eval()
    classifier = Classifier(wrapped, 3)
    classifier.check(X)
    assert torch.equal(classifier.scores(X), linear()(X))
    assert certify.smooth(classifier, X, threat=L2, sigma=0.1, n=20, n0=5)[0].prediction == 0
    assert certify.bound(classifier, X, threat=LINF)[0].radius > 0.01
    if name == "torch.compile":
        assert classifier.digest == Classifier(linear(), 3).digest


def test_a_compiled_function_is_run_as_it_is() -> None:
    layer = linear()
    Classifier(torch.compile(lambda x: 2 * layer(x), backend=lambda *given: 1 / 0), 3).check(X)


def test_a_hook_on_a_wrapper_is_not_lost() -> None:
    wrapped = nn.DataParallel(linear())
    wrapped.register_forward_hook(lambda module, inputs, output: -output)
    with pytest.raises(ModelError, match="a hook is registered on DataParallel around the model; register it on the"):
        Classifier(wrapped.eval(), 3)


def test_torchscript_is_smoothed_and_attacked_and_bounds_say_what_they_need() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it
        script = torch.jit.script(nn.Sequential(linear(), nn.ReLU()).eval())
    classifier = Classifier(script, 3)
    assert certify.smooth(classifier, X, threat=L2, sigma=0.1, n=20, n0=5)[0].prediction == 0
    assert certify.attack(
        classifier, X, classifier.predict(X), threat=certify.ThreatModel("linf", (1.0,)), attack="pgd"
    )
    with pytest.raises(ModelError, match=r"^[^\n]*TorchScript[^\n]*nn\.Module[^\n]*$"):
        certify.bound(classifier, X, threat=LINF)


def test_float64_models_are_run_in_float64() -> None:
    classifier = Classifier(linear().double(), 3)
    classifier.check(X)
    assert classifier.scores(X).dtype == torch.float64
    assert torch.equal(classifier.scores(X), linear().double()(X.double()))
    assert certify.smooth(classifier, X, threat=L2, sigma=0.1, n=20, n0=5)[0].prediction == 0
    assert certify.bound(classifier, X, threat=LINF)[0].radius > 0.01
    lower, upper = output_bounds(classifier, X, X)
    assert bool(((lower <= classifier.scores(X)) & (classifier.scores(X) <= upper)).all())
    found = certify.attack(
        classifier, X, classifier.predict(X), threat=certify.ThreatModel("linf", (1.0,)), attack="pgd"
    )
    assert all(one.succeeded for one in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_weights_and_taken_from_functions(dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match=r"certificates need float32: call model\.float\(\)"):
        Classifier(linear().to(dtype), 3)
    layer = linear().to(dtype)
    classifier = Classifier(lambda x: layer(x.to(dtype)), 3)
    classifier.check(X)
    assert classifier.scores(X).dtype == torch.float32


class Autocast(nn.Module):
    def __init__(self, dtype: torch.dtype, enabled: bool = True) -> None:
        super().__init__()
        self.net, self.dtype, self.enabled = linear(), dtype, enabled

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", self.dtype, self.enabled):
            return self.net(x)


def test_autocast_is_smoothed_and_bounds_need_it_off() -> None:
    classifier = Classifier(Autocast(torch.bfloat16).eval(), 3)
    assert certify.smooth(classifier, X, threat=L2, sigma=0.1, n=20, n0=5)[0].prediction == 0
    with pytest.raises(ModelError, match=r"linear_?1? .*computes in torch\.bfloat16, which rounds: compute in float32"):
        certify.bound(classifier, X, threat=LINF)
    off = Classifier(Autocast(torch.bfloat16, enabled=False).eval(), 3)
    assert certify.bound(off, X, threat=LINF)[0].radius > 0.01
