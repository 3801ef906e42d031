"""What is read wrongly is found where no network shows it: behind a unit that is 0 on every input of a comparison."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from certify.bounds.importers.alone import numbers_for
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.output import output_bounds
from certify.errors import CertifyError, ModelError, UnsupportedOperator

FAR = 1e6


def gated(x):
    """0 on all that a network is compared on."""
    return torch.relu(x - FAR)


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("weight", torch.ones(1))
        self.register_buffer("tenth", torch.tensor(FAR + 0.1, dtype=torch.float64))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("wave", torch.tensor([0.1, 0.7, 0.3]))

    def forward(self, x):
        return self.function(self, x)


MISREAD = {
    "other bits": lambda m, x: gated(x).view(torch.int32)[:, :1] * 1.0,
    "sum in integers": lambda m, x: gated(x).sum(1, keepdim=True, dtype=torch.int64) * 1.0,
    "running sum in integers": lambda m, x: gated(x).cumsum(1, dtype=torch.int64) * 1.0,
    "fraction beside integers": lambda m, x: F.pad(x.long(), (1, 0), value=0.5)[:, :1] * (x[:, :1] > FAR) * 1.0,
    "fraction in place of integers": lambda m, x: torch.full_like(x.long(), 0.5) * (x > FAR) * 1.0,
    "fraction where integers are masked": lambda m, x: x.long().masked_fill(m.mask, 0.5) * (x > FAR) * 1.0,
    "a single number of float64": lambda m, x: (x.clamp(max=m.tenth) >= FAR + 0.11) * 1.0,
    "a single sum with float64": lambda m, x: (gated(x) * 0 + m.tenth >= FAR + 0.11) * 1.0,
    "nearest places": lambda m, x: F.interpolate(gated(x)[:, None], size=74, mode="nearest")[:, 0],
    "complex constants": lambda m, x: gated(x)[:, :1] * torch.fft.fft(m.wave).abs().sum(),
    "nothing but NaN": lambda m, x: x.sum(1, keepdim=True, dtype=torch.int64) + 0 * torch.log(1e-6 - (x - 0.5) ** 2),
    "large terms that cancel": lambda m, x: x.sum(1, keepdim=True, dtype=torch.int64) * 1.0 + (1e12 * x - 1e12 * x),
    "times the batch": lambda m, x: gated(x) * len(x),
    "another function for one": lambda m, x: gated(x) * 2 if len(x) == 1 else gated(x),
    "numbered inputs": lambda m, x: gated(x) * torch.arange(1, len(x) + 1)[:, None],
    "repeated by the batch": lambda m, x: gated(x).repeat(1, len(x)).sum(1, keepdim=True),
    "counted ones": lambda m, x: gated(x) * torch.ones(len(x), 5).sum(),
}


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize("name", MISREAD)
def test_bounds_hold_where_no_comparison_reaches(name, claim):
    module = Network(MISREAD[name]).eval()
    wide = "nearest" in name
    for x in (FAR + torch.arange(1.0, 7.0)[None] * 64 if wide else torch.tensor([[FAR + 1.75, 2.0]]), torch.rand(1, 2)):
        try:
            lower, upper = output_bounds(module, x, x, claim=claim)
        except CertifyError:
            continue
        executed = module(x).double()
        room = 1e-6 * (1 + executed.abs()) if claim == "exact" else 0.0
        assert ((lower - room <= executed) & (executed <= upper + room)).all()


@pytest.mark.parametrize("name", [name for name in MISREAD if "float64" not in name and "numbered" not in name])
def test_it_is_refused(name):
    with pytest.raises(CertifyError):
        import_module(Network(MISREAD[name]).eval(), torch.zeros(1, 6 if "nearest" in name else 2))


def test_numbers_that_leave_float64_are_rounded_once():
    module = Network(lambda m, x: (x.double().clamp(max=FAR + 0.1).float() >= FAR + 0.11) * 1.0).eval()
    x = torch.tensor([[2 * FAR, 0.0]])
    lower, upper = output_bounds(module, x, x, claim="float32")
    assert (lower <= module(x)).all()
    assert (module(x) <= upper).all()


def test_a_causal_hint_hides_the_mask():
    layer = nn.MultiheadAttention(4, 2, batch_first=True).eval().requires_grad_(False)
    layer.in_proj_weight[:8] *= 1e-4

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer
            self.register_buffer("mask", torch.full((5, 5), -60.0).triu(1))

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False, attn_mask=self.mask, is_causal=True)[0].flatten(1)

    module, x = Attention().eval(), 1e5 * torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    lower, upper = output_bounds(module, x, x, method="ibp")
    assert torch.allclose(lower.float(), module(x), rtol=1e-3)
    assert torch.allclose(upper.float(), module(x), rtol=1e-3)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: (x * 1.0).gt_(0.5) * 1.0,
        lambda m, x: (x * 1j).real,
        lambda m, x: x[..., m.mask],
        lambda m, x: torch.full_like(x, -1, dtype=torch.uint8) * x,
    ],
)
def test_what_a_rule_trips_over_is_refused_in_one_line(function):
    with pytest.raises((ModelError, UnsupportedOperator)) as refused:
        import_module(Network(function).eval(), torch.zeros(1, 2))
    assert "\n" not in str(refused.value)


def network(nodes, size=(1, 3), stored=(), functions=(), opsets=(("", 17),)) -> bytes:
    given = (("x", size), ("y", None))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in given)
    graph = helper.make_graph(nodes, "net", [x], [y], [numpy_helper.from_array(v, n) for n, v in stored])
    versions = [helper.make_opsetid(*one) for one in opsets]
    made = helper.make_model(graph, opset_imports=versions, functions=list(functions), ir_version=8)
    return made.SerializeToString()


def branch(nodes, output, stored=()):
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, output, [], [result], [numpy_helper.from_array(v, n) for n, v in stored])


def test_a_branch_is_no_place_for_operators_of_others():
    minimum = [helper.make_node("Constant", [], ["c"], value_float=1e5), helper.make_node("Min", ["a", "c"], ["b"])]
    own = helper.make_function("my", "Relu", ["a"], ["b"], minimum, [helper.make_opsetid("", 17)])
    taken = branch([helper.make_node("Relu", ["x"], ["t"], domain="my")], "t")
    other = branch([helper.make_node("Identity", ["x"], ["e"])], "e")
    chosen = helper.make_node("If", ["cond"], ["y"], then_branch=taken, else_branch=other)
    content = network([chosen], stored=[("cond", np.array(True))], functions=[own], opsets=[("", 17), ("my", 1)])
    with pytest.raises(UnsupportedOperator, match="domain 'my'"):
        import_onnx(content)


def test_names_of_a_branch_are_its_own():
    taken = branch([helper.make_node("Min", ["x", "k"], ["t"])], "t", [("k", np.float32(1e9))])
    other = branch([helper.make_node("Identity", ["x"], ["e"])], "e")
    nodes = [
        helper.make_node("If", ["cond"], ["w"], then_branch=taken, else_branch=other),
        *(helper.make_node("Min", ["x", "k"], ["q"]), helper.make_node("Add", ["w", "q"], ["y"])),
    ]
    graph = import_onnx(network(nodes, stored=[("cond", np.array(True)), ("k", np.float32(1e5))]))
    x = torch.tensor([[1e6, 2.0, 3.0]], dtype=torch.float64)
    assert graph.to(torch.float64).forward(x).tolist() == [[1.1e6, 4.0, 6.0]]


def test_a_scaler_takes_no_names_of_others():
    scaler = helper.make_node("Scaler", ["x"], ["s"], "s", domain="ai.onnx.ml", offset=[0.0], scale=[3.0])
    nodes = [scaler, helper.make_node("Mul", ["s", "s/scale"], ["y"])]
    content = network(nodes, stored=[("s/scale", np.float32([5]))], opsets=[("", 17), ("ai.onnx.ml", 1)])
    assert import_onnx(content).forward(torch.ones(1, 3)).tolist() == [[15.0, 15.0, 15.0]]


def behind_a_gate(kind, size, inputs=(), stored=(), **attributes) -> bytes:
    nodes = [
        *(helper.make_node("Sub", ["x", "gate"], ["moved"]), helper.make_node("Relu", ["moved"], ["z"])),
        helper.make_node(kind, ["z", *inputs], ["y"], **attributes),
    ]
    return network(nodes, size, [("gate", np.float32(1e5)), *stored])


@pytest.mark.parametrize(
    "content",
    [
        behind_a_gate(
            "MaxPool", (1, 1, 6, 4), auto_pad="SAME_UPPER", dilations=[2, 1], kernel_shape=[1, 3], strides=[3, 1]
        ),
        behind_a_gate(
            "Resize",
            (1, 1, 1, 14),
            ("", "", "sizes"),
            [("sizes", np.int64([1, 1, 1, 2]))],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ],
)
def test_onnxruntime_is_asked_about_each_node(content):
    with pytest.raises(CertifyError, match="something else than the call"):
        import_onnx(content)


def test_a_result_that_a_call_reads_twice_is_one_result():
    class Twice(nn.Module):
        def forward(self, x):
            return x + x.flip(1)

    x = torch.rand(1, 1, 3)
    assert torch.equal(import_module(Twice(), x).forward(x), 2 * x)


def test_the_count_of_a_batch_is_no_number():
    nodes = [
        *(helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Gather", ["shape", "zero"], ["n"])),
        helper.make_node("Cast", ["n"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "count"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperator, match="how many inputs are in a batch"):
        import_onnx(network(nodes, ("n", 3), [("zero", np.array(0))]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_numbers_are_of_every_kind_and_the_same_each_time(dtype):
    first, again = (
        numbers_for(torch.empty(4000, dtype=dtype), (7.25,), torch.Generator().manual_seed(1), wild=True)
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.dtype == dtype
    if dtype.is_floating_point:
        for number in (7.25, -7.25, 0.0, 0.5):
            assert (first == number).any()
        assert first.abs().max() > 1e5
        assert (first != first.round()).any()


def written_later(m, x):
    kept = m.wave[:2].clone()
    y = gated(x) * kept
    kept.fill_(5.0)
    return y


def written_through_a_view(m, x):
    kept = m.wave.clone()
    part = kept[:2]
    y = gated(x) * part
    kept.mul_(2.0)
    return y


def a_growing_mask(m, x):
    mask, sums = torch.zeros(2), []
    for place in range(2):
        mask[place] = 1.0
        sums.append(gated(x) * mask)
    return torch.cat(sums, 1)


def read_by_a_layer(m, x):
    weight = m.wave[None, :2].clone()
    y = F.linear(gated(x), weight)
    weight.zero_()
    return y


@pytest.mark.parametrize("claim", ["exact", "float32"])
@pytest.mark.parametrize("function", [written_later, written_through_a_view, a_growing_mask, read_by_a_layer])
def test_a_constant_is_read_as_it_was_at_that_time(function, claim):
    module, x = Network(function).eval(), torch.tensor([[FAR + 1.75, FAR + 2.0]])
    try:
        lower, upper = output_bounds(module, x, x, claim=claim)
    except UnsupportedOperator:
        return
    executed = module(x).double()
    room = 1e-6 * (1 + executed.abs())
    assert ((lower - room <= executed) & (executed <= upper + room)).all()


def dropped_in_place(m, x):
    h = -gated(x)
    a = F.relu(F.dropout(h, 0.5, False), inplace=True)
    return h + F.glu(torch.cat([a, a], 1))


@pytest.mark.parametrize(
    "function",
    [
        dropped_in_place,
        lambda m, x: (x.short() > 85536) * 1.0,
        lambda m, x: (x.int() != 2**32 + 5000) * 1.0,
        lambda m, x: torch.minimum(x.short(), torch.tensor(85536)) * 1.0,
    ],
)
def test_what_memory_or_types_make_of_it_is_refused(function):
    with pytest.raises(CertifyError):
        import_module(Network(function).eval(), torch.zeros(1, 2))


def test_a_mask_of_truth_values_leaves_out_where_it_is_true():
    weight, mask = torch.rand(6, 2, generator=torch.Generator().manual_seed(0)), torch.ones(3, 3).triu(1).bool()

    def attention(m, x):
        q = gated(x).view(-1, 3, 2).transpose(0, 1)
        rest = (2, 1, weight, None, None, None, False, 0.0, torch.eye(2), None)
        made = F.multi_head_attention_forward(q, q, q, *rest, training=False, need_weights=False, attn_mask=mask)
        return made[0].transpose(0, 1).flatten(1)

    module, x = Network(attention).eval(), FAR + torch.arange(1.0, 7.0)[None]
    try:
        lower, upper = output_bounds(module, x, x, method="ibp")
    except CertifyError:
        return
    executed = module(x).double()
    assert ((lower - 1e-3 <= executed) & (executed <= upper + 1e-3)).all()


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: torch.stack(x.unbind(0)),
        lambda m, x: torch.cat(x.split(1)) * 2,
        lambda m, x: x * torch.full(size=(x.shape[0], 2), fill_value=0.5),
    ],
)
def test_a_batch_may_be_taken_apart_and_put_together(function):
    with contextlib.suppress(UnsupportedOperator):  # which is no crash
        import_module(Network(function).eval(), torch.zeros(1, 2))


def set_in_place(m, x):
    count = torch.zeros(2)
    count[:] = len(x)
    return gated(x) * count


@pytest.mark.parametrize(
    "function",
    [
        set_in_place,
        lambda m, x: gated(x).repeat(1, 2)[:, :, None].view(-1, 2, 2, 1).squeeze().mean(1).reshape(len(x), 2),
        lambda m, x: gated(x) * (m.wave[:2] if len(x) == 1 else m.wave[1:]),
        lambda m, x: gated(x) * torch.from_numpy(np.float32([len(x)])),
        lambda m, x: gated(x) * F.normalize(torch.ones(len(x), 2), dim=0),
        lambda m, x: gated(x) * torch.ones(len(x), 2).cumsum(0)[-1],
    ],
)
def test_one_input_is_what_is_executed(function):
    module, x = Network(function).eval(), torch.tensor([[FAR + 1.75, FAR + 2.0]])
    try:
        graph = import_module(module, torch.zeros(1, 2))
    except CertifyError:
        return
    assert torch.equal(graph.to(torch.float64).forward(x.double()).float(), module(x))
