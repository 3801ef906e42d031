"""Biases that arrive as an operation of their own."""

from __future__ import annotations

import pytest
import torch

from certify.bounds.importers.builder import Builder
from certify.bounds.importers.fuse import fused
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import Operator
from certify.bounds.rules.conv import Conv
from certify.bounds.rules.linear import Linear
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator


def drawn(*shape):
    return torch.as_tensor(seeded_generator("fuse", shape).normal(size=shape), dtype=torch.float32)


def chain(shape, *operators: Operator):
    builder = Builder(torch.float32)
    value = builder.begin("x", shape)
    for number, operator in enumerate(operators):
        value = builder.add(f"n{number}", "", operator, (value,))
    return builder.graph(value)


def conv(*axes, offset=None):
    return Conv(drawn(4, 2, *axes), offset, (1,) * len(axes), (0,) * len(axes), (1,) * len(axes))


PAIRS = {
    "linear": ((3,), Linear(drawn(4, 3)), ScaleShift(shift=drawn(4))),
    "subtracted": ((3,), Linear(drawn(4, 3)), ScaleShift(shift=drawn(4), alpha=-1)),
    "one number": ((3,), Linear(drawn(4, 3)), ScaleShift(shift=drawn())),
    "tokens": ((2, 3), Linear(drawn(4, 3)), ScaleShift(shift=drawn(1, 4))),
    "image": ((2, 5, 5), conv(3, 3), ScaleShift(shift=drawn(4, 1, 1))),
    "signal": ((2, 5), conv(3), ScaleShift(shift=drawn(4, 1))),
}
APART = {
    "with a bias": ((3,), Linear(drawn(4, 3), drawn(4)), ScaleShift(shift=drawn(4))),
    "scaled": ((3,), Linear(drawn(4, 3)), ScaleShift(drawn(4), drawn(4))),
    "times alpha": ((3,), Linear(drawn(4, 3)), ScaleShift(shift=drawn(4), alpha=0.1)),
    "one a token": ((2, 3), Linear(drawn(4, 3)), ScaleShift(shift=drawn(2, 1))),
    "one a pixel": ((2, 4, 4), conv(1, 1), ScaleShift(shift=drawn(4, 4))),
    "wider": ((3,), Linear(drawn(4, 3)), ScaleShift(shift=drawn(4).double())),
    "a sum": ((3,), ReLU(), ScaleShift(shift=drawn(3))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_constant_after_a_layer_becomes_its_bias(name):
    shape, layer, shift = PAIRS[name]
    before = chain(shape, layer, shift, ReLU())
    after = fused(before)
    assert [node.name for node in after.nodes] == ["n1", "n2"]
    x = torch.as_tensor(seeded_generator("points").normal(size=(20, *shape)))
    graphs = before.to(torch.float64), after.to(torch.float64)
    assert torch.allclose(graphs[0].forward(x), graphs[1].forward(x), rtol=0, atol=1e-14)
    region = Region(Interval(x - 0.1, x + 0.1))
    eye = torch.eye(graphs[0].forward(x[:1]).numel(), dtype=torch.float64)
    rows = torch.cat([eye, -eye]).expand(20, -1, -1)
    executed = before.forward(x.float()).double().flatten(1)  # as it is deployed: two operations
    for method in ("ibp", "crown"):
        # A layer's roundings are counted on its bias, too: that many are allowed to an execution, not only one.
        for claim, spare in (("exact", 1e-12), ("float32", 1e-5)):
            old, new = (METHODS[method](g, region, rows, claim=claim).lower for g in graphs)
            assert (new >= old - spare).all()
            lower, upper = new.chunk(2, dim=1)
            assert ((lower <= executed) & (executed <= -upper)).all()


@pytest.mark.parametrize("name", APART)
def test_what_is_no_bias_stays(name):
    shape, layer, shift = APART[name]
    graph = chain(shape, layer, shift)
    assert fused(graph) is graph


def test_a_layer_with_other_readers_stays():
    builder = Builder(torch.float32)
    product = builder.add("product", "", Linear(drawn(3, 3)), (builder.begin("x", (3,)),))
    shifted = builder.add("shifted", "", ScaleShift(shift=drawn(3)), (product,))
    both = builder.graph(builder.add("y", "", Add(), (shifted, product)))
    assert fused(both) is both


def test_a_published_network_has_a_third_fewer_nodes(bench_data):
    [path] = sorted((bench_data / "verification/acasxu/onnx").glob("ACASXU_run2a_1_1_*.onnx"))[:1]
    kinds = [node.operator.kind for node in import_onnx(path).nodes]
    assert kinds.count("linear") == 7
    assert "scale_shift" not in kinds[3:]
