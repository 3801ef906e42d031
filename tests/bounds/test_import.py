"""From modules to graphs: what is read, what is refused, and what stays connected."""

from __future__ import annotations

import contextlib
import re

import pytest
import torch
from torch import nn

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import _compare, import_module
from certify.bounds.output import output_bounds
from certify.bounds.tensors import Interval
from certify.errors import ModelError, UnsupportedOperator
from certify.models.classifier import Normalize

from .conftest import filled


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.tensor([2.0, 3.0]))

    def forward(self, x):
        return self.function(self, x)


def test_every_operator_is_named_and_nothing_else_remains(conv, points):
    graph = import_module(nn.Sequential(Normalize([0.5, 0.4], [0.2, 0.3]), conv), torch.zeros(1, 2, 6, 6))
    kinds = [node.operator.kind for node in graph.nodes]
    assert kinds[:5] == ["scale_shift", "scale_shift", "conv", "batch_norm", "relu"]
    assert kinds[5:] == ["conv", "batch_norm", "relu", "add", "relu", "avg_pool", "reshape", "linear"]
    assert graph.output.shape == (3,)
    x = points("import", 7, 2, 6, 6)
    module = nn.Sequential(Normalize([0.5, 0.4], [0.2, 0.3]), conv)
    assert torch.allclose(graph.forward(x), module(x), atol=1e-5)
    assert torch.allclose(graph.to(torch.float64).forward(x.double()), module.double()(x.double()), atol=1e-12)
    module.float()


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: torch.relu_(x * 2.0) + x.detach(),
        lambda m, x: 1 - x.clone().contiguous(),
        lambda m, x: -(x / m.weight) - torch.relu(x),
        lambda m, x: (x - m.weight.detach().view(1, -1)).float().view(x.shape[0], -1),
        lambda m, x: torch.nn.functional.dropout(m.weight.detach() + x, training=False),
        lambda m, x: x.reshape(-1, 1, 1, 2).mean((2, 3), keepdim=True).flatten(1),
        lambda m, x: nn.functional.adaptive_avg_pool2d(x.unsqueeze(1).unsqueeze(1), 1).squeeze(-1).squeeze(-1),
        lambda m, x: x.float() @ torch.eye(2),
        lambda m, x: x.to(torch.float).type_as(x) * torch.tensor([1.0, 2.0]) + torch.linspace(0, 1, 2),
        lambda m, x: nn.functional.instance_norm(x.reshape(-1, 2, 1) + torch.arange(3.0)).flatten(1),
        lambda m, x: nn.functional.glu(x) + torch.hstack([x, x])[:, 2:] + torch.addcmul(x, x, x),
        lambda m, x: torch.einsum("...i,ij,j->...j", x, torch.ones(2, 2), m.weight.detach()),
        lambda m, x: torch.expm1(x) + torch.log1p(x.abs()),
        lambda m, x: x.std(1, keepdim=True) - x.var(dim=1, unbiased=False, keepdim=True),
        lambda m, x: nn.functional.scaled_dot_product_attention(
            *3 * (x.unsqueeze(-1),), attn_mask=torch.tensor([[0.0, -torch.inf], [0.0, 0.0]])
        ).flatten(1),
        lambda m, x: torch.stack([x[:, 0] * x[:, 1], x[:, 0]], 1),
        lambda m, x: torch.stack(x.unbind(1)[::-1], 1),
        lambda m, x: x - x.max(1)[0].unsqueeze(1),
        lambda m, x: torch.cat([x.sum(1, keepdim=True), x.min(dim=1).values[:, None]], dim=1),
    ],
)
def test_spellings(function, points):
    module = Function(function)
    x = points("spellings", 5, 2)
    graph = import_module(module, x)
    assert torch.allclose(graph.forward(x.clone()), module(x.clone()), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda m, x: x.digamma(),
            r"node digamma \(digamma, .*test_import.py:\d+\) has no rule: .*bounds/rules.*smoothing",
        ),
        (lambda m, x: nn.functional.dropout(x, training=True), r"train mode: call model.eval\(\)"),
        (lambda m, x: nn.functional.linear(x, x), "weights depend on the input"),
        (lambda m, x: x.flatten().unsqueeze(0) + 0, "mixes the samples"),
        (lambda m, x: x * torch.exp(m.weight), "from parameters in training"),
    ],
)
def test_what_has_no_rule_is_refused_in_one_line(function, words):
    with pytest.raises(UnsupportedOperator, match=words) as caught:
        import_module(Function(function), torch.zeros(1, 2))
    assert "\n" not in str(caught.value)


def changed_through(view):
    """The first half of twice the input, changed in place through a view, beside the whole."""

    def function(m, x):
        y = x * 2.0
        torch.relu_(view(y))
        return y + x

    return function


@pytest.mark.parametrize(
    "view",
    [
        lambda y: torch.unsafe_chunk(y, 2, 1)[0],
        lambda y: y.unsafe_split(1, 1)[0],
        lambda y: torch.broadcast_tensors(y, y)[0],
        torch.atleast_2d,
        lambda y: nn.functional.dropout(y, training=False),
        lambda y: nn.functional.alpha_dropout(y, training=False),
        lambda y: y.type_as(y),
        lambda y: y.swapaxes(0, 1),
        lambda y: y.as_strided((2, 1), (2, 1)),
    ],
)
def test_a_write_through_any_view_is_refused_or_followed(view, points):
    """Where torch spells an operator out, it follows such a write itself."""
    module, x = Function(changed_through(view)), points("view", 5, 2)
    try:
        graph = import_module(module, torch.zeros(1, 2))
    except ModelError as refusal:
        assert re.search("changes mul in place through a view of it|has no rule", str(refusal))
    else:
        assert torch.equal(graph.forward(x), module(x))


def written_to(m, x):
    y = x * 2.0
    torch.add(y, 1.0, out=y)
    torch.relu_(y)
    return y + m.weight.detach()


def test_calls_that_write_to_a_result_are_followed(points):
    graph, x = import_module(Function(written_to), torch.zeros(1, 2)), points("written", 5, 2)
    assert torch.equal(graph.forward(x), torch.relu(x * 2.0 + 1.0) + torch.tensor([2.0, 3.0]))


def test_importing_never_writes_to_a_weight():
    module = Function(lambda m, x: x + m.weight.detach().view(2).add_(1.0))
    with pytest.raises(ModelError, match="writes to its own weight when it answers"):
        import_module(module, torch.zeros(1, 2))
    assert module.weight.tolist() == [2.0, 3.0]


def region(*contexts):
    def function(m, x):
        with contextlib.ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context())
            y = nn.functional.linear(x, m.weight.detach().reshape(1, 2))
        return y.float() + x

    return function


def test_regions_without_gradients_or_with_autocast_off_are_read(points):
    x = points("regions", 5, 2)
    contexts = (torch.no_grad, lambda: torch.autocast("cpu", enabled=False))
    for chosen in (contexts, contexts[:1], contexts[1:]):
        function = region(*chosen)
        module = Function(function)
        assert torch.equal(import_module(module, x).forward(x), function(module, x))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m, x: x.half().float(), "computes in torch.float16, which rounds: compute in float32"),
        (lambda m, x: x.to(torch.ones(1, dtype=torch.bfloat16)).float(), "computes in torch.bfloat16"),
        (lambda m, x: x.type(torch.float16) + x, "computes in torch.float16"),
        (lambda m, x: torch.softmax(x, 1, dtype=torch.bfloat16), "computes in torch.bfloat16"),
        (region(lambda: torch.autocast("cpu", torch.bfloat16)), "computes in torch.bfloat16"),
        (lambda m, x: torch.max(x, 1, keepdim=True, out=(x[:, :1], torch.ones(2, 1).long()))[0], "in place|no rule"),
        (
            lambda m, x: torch.cond(torch.tensor(True), lambda a: a + 1, lambda a: a - 1, (x,)),
            "node cond calls a program of its own",
        ),
    ],
)
def test_narrow_types_and_programs_inside_of_programs_are_refused(function, words):
    with pytest.raises(UnsupportedOperator, match=words):
        import_module(Function(function), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m, x: x if x.sum() > 0 else -x, "cannot trace the model"),
        (lambda m, x: (x, x), "must return one tensor, and returns a tuple"),
        (lambda m, x: {"logits": x * 2}, "must return one tensor, and returns a dict with 'logits'"),
        (
            lambda m, x: torch.where(x > 0.5, torch.sqrt(x - 0.5), torch.zeros_like(x)),
            r"node sqrt \(power, .*test_import.py:\d+\) has no value on some inputs .*the one not taken",
        ),
        (
            lambda m, x: torch.softmax(x.squeeze(), dim=1),
            "drops the batch axis where there is one input",
        ),
        (lambda m, x: x, "computes nothing"),
    ],
)
def test_what_is_no_function_of_one_tensor_is_refused_in_one_line(function, words):
    with pytest.raises(ModelError, match=words) as caught:
        import_module(Function(function), torch.zeros(1, 2))
    assert "\n" not in str(caught.value)


def steep(x):
    """Large, but only far from the inputs of interest."""
    return x.sum(1, keepdim=True) + 1e9 * torch.relu(x.abs().sum(1, keepdim=True) - 20)


@pytest.mark.parametrize(
    "other",
    [
        lambda m, x: steep(x) + 1e-3 * torch.relu(1 - x.abs().sum(1, keepdim=True)),
        lambda m, x: steep(x) + 1e-3 * torch.relu(x.amax(1, keepdim=True) - 2),
    ],
)
def test_a_difference_does_not_hide_behind_a_steep_region(other):
    graph = import_module(Function(lambda m, x: steep(x)), torch.zeros(1, 2))
    with pytest.raises(ModelError, match="does not compute what the model computes"):
        _compare(graph, Function(other), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("function", "other"),
    [
        # Every output is held to its own roundings, not to those of the largest.
        (lambda m, x: torch.cat([x, 0 * x - 1e9], 1), lambda m, x: torch.cat([x + 1e-4, 0 * x - 1e9], 1)),
        (lambda m, x: torch.cat([x, 1e9 * x], 1), lambda m, x: torch.cat([x * (1 + 1e-5), 1e9 * x], 1)),
        # NaN, or infinity, on one side only.
        (lambda m, x: torch.cat([x, x], 1), lambda m, x: torch.cat([x, x / (x.amin(1, keepdim=True) != 0)], 1)),
        (lambda m, x: x / 1, lambda m, x: torch.where(x.abs() > 2, torch.nan, x)),
        # Enclosures that only add up errors are wide after many layers; what executions show is not.
        (lambda m, x: turned(x), lambda m, x: turned(x) + 1e-3),
    ],
)
def test_no_output_excuses_another(function, other):
    graph = import_module(Function(function), torch.zeros(1, 2))
    with pytest.raises(ModelError, match="does not compute what the model computes"):
        _compare(graph, Function(other), torch.zeros(1, 2))


def turned(x):
    """The input again, after forty turns by an eighth of a circle."""
    for _ in range(40):
        x = x @ (torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=x.dtype) / 2**0.5)
    return x


@pytest.mark.parametrize(
    "function",
    [
        # 0.3 is another number in float64: the outputs are all that remains of it.
        lambda m, x: (nn.functional.pad(x, (1, 0), value=0.3).mul(1e4) - 1e4 * torch.tensor(0.3)) - 1e4 * x[:, :1],
        lambda m, x: 1e5 * (torch.sin(x + 0.1) - torch.sin(x)) - 1e4 * torch.cos(x + 0.05),
        lambda m, x: nn.functional.softplus(4 * x, threshold=1.0),
        lambda m, x: nn.functional.softplus(nn.functional.softplus(x + 0.7, threshold=8), beta=0.1, threshold=0.3),
    ],
)
def test_roundings_of_numbers_in_the_code_are_no_difference(function):
    graph = import_module(Function(function), torch.zeros(1, 2))
    x = torch.linspace(-3, 3, 8).reshape(4, 2)
    assert torch.allclose(graph.forward(x), function(None, x), atol=1e-2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m, x: nn.functional.softplus(x, threshold=-1.0), "threshold is -1.0"),
        (lambda m, x: nn.functional.layer_norm(x, (2,), eps=-1e-9), "eps is -1e-09"),
        (lambda m, x: nn.functional.rms_norm(x, (2,), eps=-1e-9), "eps is -1e-09"),
        (lambda m, x: nn.functional.group_norm(x, 1, eps=-1e-9), "eps is -1e-09"),
        (lambda m, x: nn.functional.batch_norm(x, m.weight - 2, m.weight - 2, eps=0.0), "not positive"),
    ],
)
def test_settings_outside_of_their_range_are_refused(function, words):
    with torch.no_grad(), pytest.raises(UnsupportedOperator, match=words):
        import_module(Function(function), torch.zeros(1, 2))


def test_importing_leaves_the_global_generator_alone(conv):
    before = torch.get_rng_state()
    import_module(conv, torch.zeros(1, 2, 6, 6))
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_norm_in_train_mode_is_refused():
    with pytest.raises(UnsupportedOperator, match="statistics of the batch"):
        import_module(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), torch.zeros(1, 1, 2, 2))


def test_the_graph_trains_the_module():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.5], [0.0, -1.0]]))
        module[0].bias.zero_()
        module[2].weight.copy_(torch.tensor([[2.0, 3.0]]))
    graph = import_module(module, torch.zeros(1, 2))
    box = Interval(torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 3.0]]))
    # Hidden boxes [w00 + w01, 3 w00 + 3 w01] = [1.5, 4.5] and [0, 0] under 2 h0 + 3 h1.
    bounds = interval_bounds(graph, box, C=torch.ones(1, 1, 1))
    assert (bounds.lower.item(), bounds.upper.item()) == pytest.approx((3.0, 9.0))
    bounds.lower.sum().backward()
    assert torch.allclose(module[0].weight.grad, torch.tensor([[2.0, 2.0], [0.0, 0.0]]))
    assert torch.allclose(module[2].weight.grad, torch.tensor([[1.5, 0.0]]))
    with torch.no_grad():
        module[2].weight.mul_(2)
    assert interval_bounds(graph, box).lower.item() == pytest.approx(6.0)
    assert not graph.to(torch.float64).nodes[0].operator.weight.requires_grad


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_is_its_steps_one_after_the_other(layer, points):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer(2, 3, batch_first=True)

        def forward(self, x):
            return self.layer(x)[0][:, -1]

    module = filled(Last(), "recurrent")
    x = points("recurrent", 4, 3, 2)
    assert torch.allclose(import_module(module, x).forward(x), module(x), atol=1e-6)


def test_a_mask_of_minus_infinity_leaves_finite_bounds():
    layer = filled(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), "causal")
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    module = Function(lambda m, x: layer(x, src_mask=mask, is_causal=True)[:, -1]).requires_grad_(False)
    x = torch.linspace(-1, 1, 12).reshape(1, 3, 4)
    lower, upper = output_bounds(module, x - 1e-3, x + 1e-3, method="ibp")
    assert bool((lower <= module(x)).all() and (module(x) <= upper).all())
    assert bool((upper - lower).isfinite().all())


def test_an_import_is_compared_in_parts_that_fit_the_memory_asked_for():
    seen: list[int] = []

    def function(m, x):
        seen.append(len(x))
        return x * 2

    box = torch.zeros(1, 2), torch.ones(1, 2)
    output_bounds(Function(function), *box)
    assert max(seen) > 10
    seen.clear()
    output_bounds(Function(function), *box, max_memory=1000)
    assert max(seen) < 10
