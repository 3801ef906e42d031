"""What is put around a module's own code, or in its place: the digest sees it, and it is certified as it is called."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils import parametrizations, weight_norm

import certify
from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import network_graph, output_bounds
from certify.errors import ModelError
from certify.models.classifier import Classifier, Normalize
from certify.models.digest import function_digest, module_digest


def linear() -> nn.Linear:
    layer = nn.Linear(2, 2).requires_grad_(False).eval()
    layer.weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 2.0]]))
    layer.bias.zero_()
    return layer


def times(factor: float) -> Callable[..., Tensor]:
    return lambda module, inputs, output: factor * output


def through(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda module, inputs, output: function(output)


class Scaled:
    """A hook that is an object."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, *given: Tensor) -> Tensor:
        return self.factor * given[-1]


def hooked(hook: Callable[..., Tensor], before: bool = False) -> nn.Module:
    layer = linear()
    (layer.register_forward_pre_hook if before else layer.register_forward_hook)(hook)
    return layer


def overridden(factor: float) -> nn.Module:
    layer = linear()
    layer.forward = lambda x: factor * x
    return layer


def bound(factor: float) -> nn.Module:
    layer = linear()
    layer._call_impl = types.MethodType(lambda self, x: factor * x, layer)
    return layer


@dataclass
class Settings:
    factor: float


class Held(nn.Module):
    """Reads what it holds in attributes."""

    def __init__(self, **held: object) -> None:
        super().__init__()
        vars(self).update(held)


class Base(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Heir(Base):
    pass


@pytest.mark.parametrize(
    "modules",
    [
        [linear(), hooked(times(2.0)), hooked(times(3.0)), hooked(times(2.0), before=True)],
        [hooked(through(torch.relu)), hooked(through(torch.tanh)), hooked(through(times(1.0)))],
        [hooked(Scaled(1.0)), hooked(Scaled(2.0)), hooked(functools.partial(Scaled(1.0), 2))],
        [linear(), overridden(2.0), overridden(3.0), bound(2.0), bound(3.0)],
        [Held(), Held(act=torch.relu), Held(act=torch.tanh), Held(act=[torch.tanh]), Held(acts={"a": torch.tanh})],
        [Held(settings=Settings(1.0)), Held(settings=Settings(2.0)), Held(settings={"factor": 1.0}), Held(_factor=1.0)],
        [Held(layers=[linear()]), Held(layers=[linear().double()]), Held(layers=(torch.ones(1),))],
        [linear(), parametrizations.weight_norm(linear()), parametrizations.orthogonal(linear())],
        [Heir(), Base(), Held()],
    ],
)
def test_all_of_them_have_different_digests_that_do_not_change(modules: list[nn.Module]) -> None:
    digests = [module_digest(module) for module in modules]
    assert len(set(digests)) == len(modules)
    assert digests == [module_digest(module) for module in modules]


def test_a_method_put_in_place_of_a_class_s_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Base, nn.ReLU, nn.Module):
        modules = [Heir(), nn.Sequential(nn.ReLU())]
        before = [module_digest(module) for module in modules]
        with monkeypatch.context() as patch:
            patch.setattr(kind, "_call_impl", functools.wraps(kind._call_impl)(lambda self, x: -x))
            assert [module_digest(module) for module in modules] != before
        assert [module_digest(module) for module in modules] == before


def test_a_hook_that_refers_to_its_own_module_has_a_digest() -> None:
    layer = linear()
    layer.register_forward_hook(lambda module, inputs, output: output + layer.weight.sum())
    assert module_digest(layer) == module_digest(layer)
    assert module_digest(layer) != module_digest(linear())


def test_what_callable_objects_hold_counts() -> None:
    assert function_digest(Scaled(1.0)) == function_digest(Scaled(1.0))
    assert function_digest(Scaled(1.0)) != function_digest(Scaled(2.0))
    made: dict[str, Callable[[Tensor], Tensor]] = {}
    exec("one = lambda x: x + 1\ntwo = lambda x: x + 2", made)
    assert function_digest(made["one"]) != function_digest(made["two"])


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_a_weight_that_a_hook_computes_is_copied_and_certified() -> None:
    layer = weight_norm(nn.Linear(2, 2)).eval()
    classifier = Classifier(layer, 2)
    x = torch.tensor([[0.3, 0.9]])
    assert torch.equal(classifier.scores(x), layer(x))
    lower, upper = output_bounds(classifier, x, x, claim="float32")
    assert bool(((lower <= layer(x)) & (layer(x) <= upper)).all())


def test_int8_weights_count() -> None:
    digests = set()
    for seed in range(2):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            digests.add(
                module_digest(torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear}))
            )
    assert len(digests) == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_code_of_torchscript_counts() -> None:
    scripts = [torch.jit.script(nn.Sequential(nn.Linear(2, 2), last)) for last in (nn.ReLU(), nn.Tanh(), nn.ReLU())]
    for one in scripts[1:]:
        one.load_state_dict(scripts[0].state_dict())
    first, second, third = map(module_digest, scripts)
    assert first == third
    assert first != second


class Negated(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class NegatedGraph(GraphModule):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def read() -> GraphModule:
    """A network as it comes from an ONNX file."""
    with torch.no_grad():
        return GraphModule(import_module(nn.Sequential(linear(), nn.ReLU()), torch.zeros(1, 2))).eval()


def around(wrap: Callable[[GraphModule], nn.Module]) -> nn.Module:
    return wrap(read()).eval()


def with_hook(module: nn.Module) -> nn.Module:
    module.register_forward_hook(times(-1.0))
    return module


def with_method(module: nn.Module) -> nn.Module:
    module.forward = lambda x: -type(module).forward(module, x)
    return module


WRAPPERS = {
    "hook": with_hook,
    "hook in a sequence": lambda one: nn.Sequential(with_hook(one)),
    "hook behind a normalization": lambda one: nn.Sequential(Normalize([0.5], [0.5]), with_hook(one)),
    "hook around a sequence": lambda one: with_hook(nn.Sequential(Normalize([0.5], [0.5]), one)),
    "method": with_method,
    "method of a sequence": lambda one: with_method(nn.Sequential(nn.Identity(), one)),
    "subclass of a sequence": lambda one: Negated(nn.Identity(), one),
    "subclass": lambda one: NegatedGraph(one.graph),
}


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_what_is_certified_of_a_network_from_a_file_is_what_is_called(name: str) -> None:
    module = around(WRAPPERS[name])
    x = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    assert torch.allclose(network_graph(module, x).forward(x), module(x))
    classifier = Classifier(module, 2)
    labels = classifier.predict(x)
    threat = certify.ThreatModel("linf", (0.0, 0.01))
    assert [proof.prediction for proof in certify.bound(classifier, x, labels, threat=threat)] == labels.tolist()


@pytest.fixture(params=[register_module_forward_hook, register_module_forward_pre_hook])
def hook_for_all(request: pytest.FixtureRequest) -> Iterator[None]:
    handle = request.param(lambda *given: None)
    yield
    handle.remove()


@pytest.mark.usefixtures("hook_for_all")
def test_hooks_around_every_module_are_refused() -> None:
    for ask in (lambda: Classifier(linear(), 2), lambda: network_graph(linear(), torch.zeros(1, 2))):
        with pytest.raises(ModelError, match=r"^a forward hook is registered for all modules [^\n]*: remove it"):
            ask()


@pytest.mark.parametrize("change", [with_hook, with_method, lambda module: module.weight.data.add_(1.0)])
def test_a_model_that_was_changed_after_it_was_wrapped_is_refused(change: Callable[[nn.Module], object]) -> None:
    classifier, x, threat = Classifier(linear(), 2), torch.tensor([[0.9, 0.1]]), certify.ThreatModel("l2", (0.0,))
    certify.bound(classifier, x, threat=threat)
    change(classifier.module)
    with pytest.raises(ModelError, match="no longer computes"):
        certify.bound(classifier, x, threat=threat)
    with pytest.raises(ModelError, match="no longer computes"):
        certify.smooth(classifier, x, threat=threat, sigma=0.1, n=10, n0=5)
