"""Lines around functions of one number, against arithmetic that does not round, and against dense grids."""

from __future__ import annotations

import itertools

import mpmath
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.importers.torch_import import import_module
from certify.bounds.rules.absolute import Absolute
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.elu import ELU
from certify.bounds.rules.exp import Exp, Log
from certify.bounds.rules.gelu import GELU, Erf, TanhGELU
from certify.bounds.rules.hardswish import Hardswish
from certify.bounds.rules.leaky_relu import LeakyReLU
from certify.bounds.rules.power import Power
from certify.bounds.rules.sigmoid import Sigmoid, Tanh
from certify.bounds.rules.silu import Mish, SiLU
from certify.bounds.rules.sine import Cos, Sin
from certify.bounds.rules.softplus import Softplus
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator

mp = mpmath.mp.clone()
mp.dps = 60
K = mp.sqrt(8 / mp.pi)


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x, beta=1, threshold=mp.inf):
    return x if beta * x > threshold else max(x, 0) + mp.log1p(mp.exp(-abs(beta * x))) / beta


def gelu(x):
    # Too far out for mpmath it is x, or less than any float.
    return x * mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 1e9 else max(x, -(mp.mpf(10) ** -1000))


def power(p):
    return lambda x: mp.nan if (x < 0 and p % 1) or (x == 0 and p < 0) else mp.power(x, p)


def leaky(slope):
    return lambda x: x if x >= 0 else mp.mpf(slope) * x


# Each operator with the same function of exact numbers, and what float32 executes.
CURVES = {
    "absolute": (Absolute(), abs, torch.abs),
    "clip": (Clip(-0.5, 3.0), lambda x: min(max(x, -0.5), 3), lambda x: x.clamp(-0.5, 3)),
    "cos": (Cos(), mp.cos, torch.cos),
    "elu": (ELU(2.5, 1.5, 0.75), lambda x: 1.5 * x if x > 0 else 3.75 * mp.expm1(0.75 * x), None),
    "erf": (Erf(), mp.erf, torch.erf),
    "exp": (Exp(), mp.exp, torch.exp),
    "flat elu": (ELU(0.25), lambda x: x if x > 0 else 0.25 * mp.expm1(x), lambda x: F.elu(x, 0.25)),
    "gelu": (GELU(), gelu, F.gelu),
    "hardswish": (Hardswish(), lambda x: x * min(max(x + 3, 0), 6) / 6, F.hardswish),
    "leaky": (LeakyReLU(torch.tensor(0.125)), leaky(0.125), lambda x: F.leaky_relu(x, 0.125)),
    "steep leaky": (LeakyReLU(torch.tensor(1.75)), leaky(1.75), lambda x: F.leaky_relu(x, 1.75)),
    "turning leaky": (LeakyReLU(torch.tensor(-0.5)), leaky(-0.5), lambda x: F.leaky_relu(x, -0.5)),
    "log": (Log(), lambda x: mp.log(x) if x > 0 else mp.nan, torch.log),
    "mish": (Mish(), lambda x: x * mp.tanh(softplus(x)), F.mish),
    "sigmoid": (Sigmoid(), logistic, torch.sigmoid),
    "silu": (SiLU(), lambda x: x * logistic(x), F.silu),
    "sin": (Sin(), mp.sin, torch.sin),
    "softplus": (Softplus(), softplus, None),
    "softplus of torch": (
        Softplus(2.0, 20.0),
        lambda x: softplus(x, 2, 20),
        lambda x: F.softplus(x, 2.0, 20.0),
    ),
    "tanh": (Tanh(), mp.tanh, torch.tanh),
    "tanh gelu": (
        TanhGELU(),
        lambda x: x * logistic(K * (x + mp.mpf("0.044715") * x**3)),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
} | {
    f"power {p}": (Power(p), power(p), (lambda x, p=p: x**p) if (4 * p).is_integer() else None)
    for p in (2.0, 3.0, 4.0, -1.0, -2.0, 0.5, -0.5, 0.3, 2.7)
}

every_curve = pytest.mark.parametrize("name", CURVES)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def extreme_boxes(dtype) -> Interval:
    """All magnitudes of places and of widths: points, denormal, tiny, huge."""
    generator = seeded_generator("extreme", str(dtype))
    places = [0.0, *(sign * 10.0**e for e in (-40, -30, -3, 0, 0.3, 1, 1.4, 3, 30) for sign in (-1, 1))]
    widths = [0.0, 1e-310, 1e-42, 1e-30, 1e-6, 0.1, 1.0, 10.0, 1e3, 1e30]
    pairs = torch.tensor(list(itertools.product(places, widths)), dtype=torch.float64)
    begin = pairs[:, 0] - pairs[:, 1] * torch.as_tensor(generator.choice([0.0, 0.5, 1.0, 0.3], len(pairs)))
    lower = begin.to(dtype)
    return Interval(lower.unsqueeze(0), torch.maximum(lower, (begin + pairs[:, 1]).to(dtype)).unsqueeze(0))


def moderate_boxes(operator, dtype, count=300) -> Interval:
    """Boxes of about the size at which functions bend, where the operator is defined."""
    generator = seeded_generator("moderate")
    center = torch.as_tensor(generator.normal(size=count)) * 3
    # Waves get constants on boxes that are longer than a period, which is not the best at every middle.
    widest = 0.49 if isinstance(operator, (Sin, Cos)) else 0.9
    half = 10.0 ** torch.as_tensor(generator.uniform(-1.5, widest, size=count))
    lower, upper = (center - half).to(dtype), (center + half).to(dtype)
    if isinstance(operator, Log) or (isinstance(operator, Power) and (operator.exponent % 1 or operator.exponent < 0)):
        lower, upper = lower.abs().minimum(upper.abs()) + 0.01, lower.abs().maximum(upper.abs()) + 0.02
    return Interval(lower.unsqueeze(0), upper.unsqueeze(0))


def points_of(box: Interval, inner: int) -> torch.Tensor:
    """Ends, points between on all scales near either end, and 0 where it is inside."""
    generator = seeded_generator("points")
    share = torch.as_tensor(generator.uniform(size=(inner, 1, box.shape[1])), dtype=box.lower.dtype)
    share[: inner // 2] **= 8
    middle = torch.cat([box.lower + share * (box.upper - box.lower), box.upper - share * (box.upper - box.lower)])
    ends = torch.stack([box.lower, box.upper, torch.zeros_like(box.lower), box.lower / 2 + box.upper / 2])
    return torch.cat([ends, middle.nan_to_num()]).maximum(box.lower).minimum(box.upper)


def choices(operator, box):
    generator = seeded_generator("shares")
    free = [torch.as_tensor(generator.uniform(size=(operator.shares, *box.shape))).round(decimals=1) for _ in range(2)]
    return [None, operator.start(box), *(share.to(box.lower.dtype) for share in free)]


@every_curve
@both_dtypes
def test_lines_and_images_hold_in_arithmetic_that_does_not_round(name, dtype):
    operator, exact, _ = CURVES[name]
    box = extreme_boxes(dtype)
    x = points_of(box, 2)
    image = operator.interval(box, outward=True)
    lines = [operator.relax(box, shares=shares) for shares in choices(operator, box)]
    stated = [
        (line.lower_slopes[0][0].tolist(), numbers(line.lower_offset, box), line.upper_slopes[0][0].tolist(),
         numbers(line.upper_offset, box))
        for line in lines
    ]  # fmt: skip
    least, largest = image.lower[0].tolist(), image.upper[0].tolist()
    for place, at in enumerate(x[:, 0].T.tolist()):
        for point in set(at):
            z = mp.mpf(point)
            y = exact(z)
            if mp.isnan(y):
                continue
            assert least[place] <= y <= largest[place], (point, box.lower[0, place], box.upper[0, place])
            for slope, offset, slope_above, offset_above in stated:
                below = mp.mpf(slope[place]) * z + mp.mpf(offset[place])
                above = mp.mpf(slope_above[place]) * z + mp.mpf(offset_above[place])
                assert below <= y <= above, (point, box.lower[0, place], box.upper[0, place])


def numbers(offset, box):
    return ([0.0] * box.shape[1]) if offset is None else offset[0].tolist()


def at(slope, offset, x):
    return slope * x if offset is None else slope * x + offset


@every_curve
@both_dtypes
def test_the_lines_of_no_choice_are_the_best_at_the_middle(name, dtype):
    operator = CURVES[name][0]
    box = moderate_boxes(operator, dtype)
    planes = operator.relax(box)
    lower, upper = box.lower.double(), box.upper.double()
    share = torch.linspace(0, 1, 101).double().reshape(-1, 1, 1)
    x = lower + share * (upper - lower)
    y = operator.forward(x)
    m = x[50]
    weight = (m - x[:50, None]) / (x[None, 51:] - x[:50, None])
    spread = y.amax(0) - y.amin(0)
    for side, slope, offset in (
        (1, planes.lower_slopes[0], planes.lower_offset),
        (-1, planes.upper_slopes[0], planes.upper_offset),
    ):
        chords = (side * ((1 - weight) * y[:50, None] + weight * y[None, 51:])).flatten(0, 1).amin(0)
        envelope = torch.minimum(chords, side * y[50])
        gap = envelope - side * at(slope.double(), offset, m)
        # Boxes with a kink or an inflection right at the middle differ from the grid's.
        rounded = 64 * torch.finfo(dtype).eps * (1 + y.abs().amax(0))
        lost = (gap - rounded).clamp(min=0) / (spread + 1e-30)
        assert lost.max() <= 0.01
        assert lost.mean() <= 1e-3


@every_curve
def test_images_are_no_wider_than_the_values(name):
    operator = CURVES[name][0]
    box = moderate_boxes(operator, torch.float64)
    x = box.lower + torch.linspace(0, 1, 2001).double().reshape(-1, 1, 1) * (box.upper - box.lower)
    y, image = operator.forward(x), operator.interval(box, outward=True)
    spread = y.amax(0) - y.amin(0)
    assert (image.lower >= y.amin(0) - 1e-3 * spread - 1e-8).all()
    assert (image.upper <= y.amax(0) + 1e-3 * spread + 1e-8).all()


@every_curve
def test_offsets_have_the_derivatives_of_finite_differences(name):
    operator = CURVES[name][0]
    box = moderate_boxes(operator, torch.float64, 60)
    box = Interval(box.lower.unsqueeze(1), box.upper.unsqueeze(1))
    generator = seeded_generator("gradient", name)
    shares = torch.as_tensor(generator.uniform(0.1, 0.9, size=(operator.shares, 1, 4, 60))).requires_grad_()
    weights = torch.as_tensor(generator.normal(size=(2, 1, 4, 60)))

    def total(shares, box):
        planes = operator.relax(box, shares=shares)
        below = at(planes.lower_slopes[0], planes.lower_offset, 0.3)
        above = at(planes.upper_slopes[0], planes.upper_offset, 0.3)
        return weights[0] * below + weights[1] * above

    ends = [end.clone().requires_grad_() for end in (box.lower, box.upper)]
    value = total(shares, Interval(*ends))
    for step, found in zip(
        (*torch.eye(operator.shares).double().reshape(-1, operator.shares, 1, 1, 1), "lower", "upper"),
        (*torch.autograd.grad(value.sum(), shares, retain_graph=True)[0], *torch.autograd.grad(value.sum(), ends)),
        strict=True,
    ):
        moved = []
        for h in (1e-6, -1e-6):
            if step == "lower":
                moved.append(total(shares, Interval(box.lower + h, box.upper)))
            elif step == "upper":
                moved.append(total(shares, Interval(box.lower, box.upper + h)))
            else:
                moved.append(total(shares + h * step, box))
        expected = ((moved[0] - moved[1]) / 2e-6).detach()
        expected = expected.sum(1, keepdim=True) if isinstance(step, str) else expected
        # At kinks of the offset, which few entries are near, a difference is no derivative.
        close = torch.isclose(found, expected, rtol=1e-4, atol=1e-5)
        assert close.double().mean() >= 0.97, (step, close.double().mean())


@every_curve
def test_shares_of_the_start_give_the_lines_of_no_choice(name):
    operator = CURVES[name][0]
    box = moderate_boxes(operator, torch.float64)
    plain, started = operator.relax(box), operator.relax(box, shares=operator.start(box))
    for side in ("lower", "upper"):
        slopes = [getattr(planes, f"{side}_slopes")[0] for planes in (plain, started)]
        assert torch.allclose(*slopes, rtol=1e-9, atol=1e-9)


@every_curve
@both_dtypes
def test_boxes_and_rows_broadcast(name, dtype):
    operator = CURVES[name][0]
    box = moderate_boxes(operator, dtype, 24)
    box = Interval(box.lower.reshape(3, 1, 8), box.upper.reshape(3, 1, 8))
    shares = torch.as_tensor(seeded_generator("rows").uniform(size=(operator.shares, 3, 5, 8)), dtype=dtype)
    rows = operator.relax(box, shares=shares)
    single = operator.relax(box, shares=shares[:, :, 2:3])
    for many, one in (
        (rows.lower_slopes[0], single.lower_slopes[0]),
        (rows.upper_slopes[0], single.upper_slopes[0]),
        (rows.lower_offset, single.lower_offset),
        (rows.upper_offset, single.upper_offset),
    ):
        assert (one is None) == (many is None)
        if many is not None:
            assert torch.allclose(many.expand(3, 5, 8)[:, 2:3], one, rtol=1e-5, atol=1e-6)


@every_curve
@both_dtypes
def test_nothing_is_ever_nan(name, dtype):
    operator, exact, _ = CURVES[name]
    inf, last = torch.inf, torch.finfo(dtype).max
    ends = [-inf, -last, -90.0, -1.0, 0.0, torch.finfo(dtype).smallest_normal / 4, 1.0, 90.0, last, inf]
    pairs = torch.tensor(list(itertools.combinations_with_replacement(ends, 2)), dtype=dtype).T
    box = Interval(pairs[:1], pairs[1:])
    image = operator.interval(box, outward=True)
    for shares in choices(operator, box):
        planes = operator.relax(box, shares=shares)
        for tensor in (planes.lower_slopes[0], planes.upper_slopes[0], planes.lower_offset, planes.upper_offset):
            assert tensor is None or not tensor.isnan().any()
        assert planes.lower_slopes[0].isfinite().all()
    for lower, upper, below, above in zip(
        *box.lower.tolist(), *box.upper.tolist(), *image.lower.tolist(), *image.upper.tolist(), strict=True
    ):
        inside = [x for x in getattr(operator, "stationary", ()) if lower <= x <= upper]
        for end in (lower, upper, *inside):
            if abs(end) != inf and not mp.isnan(y := exact(mp.mpf(end))):
                assert below <= y <= above


@pytest.mark.parametrize("name", [name for name in CURVES if CURVES[name][2] is not None])
def test_executions_in_float32_stay_inside_their_error(name):
    operator, _, executed = CURVES[name]
    size = 10.0 ** torch.as_tensor(seeded_generator("executed").uniform(-30, 4, size=200_000))
    x = torch.cat([size, -size, torch.linspace(-30, 30, 200_001).double()]).float()
    y = operator.forward(x.double())
    off = (executed(x).double() - y).abs()
    allowed = operator.executed(Interval(x.double(), x.double()))
    allowed = torch.zeros_like(off) if allowed is None else allowed
    known = y.isfinite()
    assert (off <= allowed)[known].all(), (off / allowed)[known].max()


@every_curve
def test_pieces_have_the_curvature_that_is_stated(name):
    operator = CURVES[name][0]
    if not hasattr(operator, "curvature"):
        return
    box = moderate_boxes(operator, torch.float64, 60)
    knots = operator.knots(box)
    share = torch.linspace(0, 1, 101).double().reshape(-1, 1, 1)
    for piece, sign in enumerate(operator.curvature):
        begin, end = knots[piece], knots[piece + 1]
        x = (begin + share * (end - begin)).clamp(begin, end).requires_grad_()
        slope = operator.derivative(x, piece)
        rise = slope.diff(dim=0)[:, begin < end]
        slack = 1e-13 * (1 + slope.abs().max())
        assert ((sign * rise >= -slack) if sign else (rise.abs() <= slack)).all()
        [found] = torch.autograd.grad(operator.forward(x).sum(), x)
        inside = (begin + 1e-9 < x) & (x < end - 1e-9)
        assert torch.allclose(found[inside], slope[inside], rtol=1e-10, atol=1e-12)


NODES = [
    ("Abs", {}, ["absolute"]),
    ("Celu", {"alpha": 1.5}, ["elu"]),
    ("Cos", {}, ["cos"]),
    ("Elu", {"alpha": 0.5}, ["elu"]),
    ("Erf", {}, ["erf"]),
    ("Exp", {}, ["exp"]),
    ("Gelu", {}, ["gelu"]),
    ("Gelu", {"approximate": "tanh"}, ["tanh_gelu"]),
    ("HardSigmoid", {"alpha": 0.25}, ["scale_shift", "scale_shift", "clip"]),
    ("HardSwish", {}, ["hardswish"]),
    ("LeakyRelu", {}, ["leaky_relu"]),
    ("Log", {}, ["log"]),
    ("Mish", {}, ["mish"]),
    ("Reciprocal", {}, ["power"]),
    ("Selu", {}, ["elu"]),
    ("Sigmoid", {}, ["sigmoid"]),
    ("Sin", {}, ["sin"]),
    ("Softplus", {}, ["softplus"]),
    ("Sqrt", {}, ["power"]),
    ("Tanh", {}, ["tanh"]),
    ("Clip", {}, ["clip"]),
    ("Clip", {"min": -0.5, "max": 2.0}, ["clip"]),
    ("PRelu", {"slope": [[0.5], [-2.0]]}, ["leaky_relu"]),
    ("Pow", {"Y": 3.0}, ["power"]),
]


@pytest.mark.parametrize(("kind", "settings", "expected"), NODES)
def test_onnx_nodes_are_read_as_onnxruntime_executes_them(kind, settings, expected):
    helper = pytest.importorskip("onnx").helper
    pytest.importorskip("onnxruntime")
    x, y = (helper.make_tensor_value_info(name, 1, [1, 2, 3]) for name in "xy")
    for opset in (8, 11, 20):
        # Inputs: all of PRelu and Pow, and those of Clip from opset 11.
        named = list(settings) if kind in ("PRelu", "Pow") or (kind == "Clip" and opset >= 11) else []
        stored = [helper.make_tensor(n, 1, list(torch.tensor(settings[n]).shape), _flat(settings[n])) for n in named]
        attributes = {name: value for name, value in settings.items() if name not in named}
        try:
            node = helper.make_node(kind, ["x", *named], ["y"], **attributes)
            since = onnx_since(kind, opset)
        except KeyError:
            continue
        assert since <= opset
        graph = helper.make_graph([node], "net", [x], [y], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        assert [node.operator.kind for node in import_onnx(model.SerializeToString()).nodes] == expected


def onnx_since(kind, opset):
    import onnx

    try:
        return onnx.defs.get_schema(kind, max_inclusive_version=opset).since_version
    except onnx.defs.SchemaError:
        raise KeyError(kind) from None


def _flat(value):
    return torch.tensor(value).flatten().tolist()


FUNCTIONS = {
    "celu": (lambda x: F.celu(x, 1.5), ["elu"]),
    "clamp": (lambda x: x.clamp(min=-0.1), ["clip"]),
    "clip to an empty interval": (lambda x: x.clip(2.0, 1.0), ["clip"]),
    "elu": (lambda x: F.elu(x, 0.3), ["elu"]),
    "gelu": (F.gelu, ["gelu"]),
    "hardsigmoid": (F.hardsigmoid, ["scale_shift", "clip", "scale_shift"]),
    "hardswish": (F.hardswish, ["hardswish"]),
    "leaky_relu": (F.leaky_relu, ["leaky_relu"]),
    "logsigmoid": (F.logsigmoid, ["scale_shift", "softplus", "scale_shift"]),
    "pow": (lambda x: (x**2) ** 1, ["power"]),
    "selu": (F.selu, ["elu"]),
    "softplus with a low threshold": (lambda x: F.softplus(x, 2.0, 12.0), ["softplus"]),
    "tanh gelu": (lambda x: F.gelu(x, approximate="tanh"), ["tanh_gelu"]),
}


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_torch_functions_are_read(name):
    function, expected = FUNCTIONS[name]
    graph = import_module(Applied(function), torch.zeros(1, 3))
    assert [node.operator.kind for node in graph.nodes] == expected


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.pow(x), "exponent depends"),
        (lambda x: x**torch.inf, "exponent inf"),
        (lambda x: F.softplus(x, -1.0), "not positive"),
        (lambda x: F.elu(x, -1.0), "must be positive"),
        (lambda x: x.clamp(x, x + 1), "depends on the input"),
        (lambda x: x.clamp(min=torch.arange(3.0)), "several ends"),
    ],
)
def test_forms_without_a_rule_are_refused(function, words):
    with pytest.raises(UnsupportedOperator, match=words):
        import_module(Applied(function), torch.zeros(1, 3))
