"""Every operator of the registry on boxes and weights of all sizes, against arithmetic that is finer than its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from certify.bounds.few import Few
from certify.bounds.importers.torch_import import import_module
from certify.bounds.rounding import smallest, unit
from certify.bounds.rules.base import RULES, Affine, Nonlinear, NotCovered, Operator
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.elu import ELU
from certify.bounds.rules.exp import Exponential
from certify.bounds.rules.leaky_relu import LeakyReLU
from certify.bounds.rules.power import Power
from certify.bounds.rules.rounded import Rounded
from certify.bounds.rules.softplus import Softplus
from certify.bounds.rules.step import Step
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator

AFFINE = [kind for kind in RULES if issubclass(RULES[kind], Affine)]
NONLINEAR = [kind for kind in RULES if issubclass(RULES[kind], Nonlinear)]

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _conv(g, transposed=False):
    axes = int(g.integers(1, 4))
    groups, window = int(g.integers(1, 3)), g.integers(1, 4, axes)
    settings = {
        "stride": g.integers(1, 4, axes),
        "dilation": g.integers(1, 3, axes),
        "padding": np.minimum(g.integers(0, 3, axes), window),
    }
    if transposed:
        settings["padding"] = np.minimum(settings["padding"], (window - 1) // 2)
        settings["output_padding"] = g.integers(0, np.maximum(settings["stride"], settings["dilation"]))
    kinds = (
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        if transposed
        else (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    )
    options = {name: tuple(value.tolist()) for name, value in settings.items()}
    module = kinds[axes - 1](
        2 * groups, 2 * groups, tuple(window.tolist()), groups=groups, bias=bool(g.integers(2)), **options
    )
    return module, (2 * groups, *(g.integers(5, 7, axes) if not transposed else g.integers(2, 4, axes)).tolist())


def _pool(g):
    axes = int(g.integers(1, 4))
    window = g.integers(2, 4, axes)
    options = {"stride": g.integers(1, 4, axes), "padding": g.integers(0, window // 2 + 1)}
    options = {name: tuple(value.tolist()) for name, value in options.items()}
    kind = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[axes - 1]
    counted, partial = bool(g.integers(2)), bool(g.integers(2))
    module = kind(tuple(window.tolist()), count_include_pad=counted, ceil_mode=partial, **options)
    return module, (2, *g.integers(4, 7, axes).tolist())


def _adaptive(g):
    inside, outside = g.integers(3, 8, 2), g.integers(2, 6, 2)
    return nn.AdaptiveAvgPool2d(tuple(outside.tolist())), (2, *np.where(inside == outside, inside + 1, inside).tolist())


def _reduced(g):
    axes = tuple(sorted(g.choice([1, 2, 3], int(g.integers(1, 3)), replace=False).tolist()))
    mean, keep = bool(g.integers(2)), bool(g.integers(2))
    return Applied(lambda x: (x.mean if mean else x.sum)(axes, keepdim=keep)), tuple(g.integers(1, 5, 3).tolist())


def _selected(g):
    index = torch.as_tensor(g.integers(0, 4, 6))
    pads = g.integers(-1, 3, 4).tolist()
    if g.integers(2):
        return Applied(lambda x: x[:, :, index].transpose(1, 2)), (2, 4, 3)
    return Applied(lambda x: nn.functional.pad(x, pads)), (2, 5, 4)


SETTINGS = {
    "conv": _conv,
    "conv_transpose": lambda g: _conv(g, transposed=True),
    "avg_pool": _pool,
    "adaptive_avg_pool": _adaptive,
    "reduce": _reduced,
    "select": _selected,
    "linear": lambda g: (nn.Linear(int(g.integers(1, 40)), int(g.integers(1, 5)), bias=bool(g.integers(2))), None),
    "differences": lambda g: (nn.Softmax(1), tuple(g.integers(2, 5, 2).tolist())),
    "center": lambda g: (nn.LayerNorm(int(g.integers(2, 6))), None),
}
"""Modules of random settings, and the shape of a sample where the module has no features to tell it."""


@dataclass(frozen=True)
class Case:
    """An operator and the shapes of its inputs and its output."""

    operator: Operator
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]


def _random_weights(module: nn.Module, g) -> nn.Module:
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.as_tensor(g.normal(size=tuple(tensor.shape))))
    return module.eval().requires_grad_(False)


@cache
def cases(kind: str, seeds: int = 4) -> list[Case]:
    """The operator in its own example, and with random settings and shapes."""
    example = RULES[kind].example()
    found, read = [(example.module, example.lower)], []
    for seed in range(seeds if kind in SETTINGS else 0):
        g = seeded_generator("settings", kind, seed)
        module, shape = SETTINGS[kind](g)
        shape = shape or next(module.parameters()).shape[-1:]
        found.append((_random_weights(module, g), torch.zeros(1, *shape)))
    for module, x in found:
        graph = import_module(module, x)
        for node in graph.nodes:
            if node.operator.kind == kind:
                shapes = tuple(graph.shapes[name] for name in node.inputs)
                read.append(Case(node.operator.to(torch.float32), shapes, node.shape))
    return read


def _of_all_sizes(t: Tensor, g) -> Tensor:
    return t * torch.as_tensor(10.0 ** g.uniform(-15, 15, size=tuple(t.shape)), dtype=t.dtype)


def _one_hot(t: Tensor, g) -> Tensor:
    kept = torch.zeros(t.numel(), dtype=t.dtype)
    kept[int(g.integers(t.numel()))] = 1.0
    return t * kept.reshape(t.shape)


def _rank_one(t: Tensor, g) -> Tensor:
    return t if t.dim() < 2 else (t[:1] * t.flatten(1)[:, :1].reshape(-1, *(1,) * (t.dim() - 1)))


WEIGHTS = {
    "as they are": lambda t, g: t,
    "huge": lambda t, g: t * 1e30,
    "tiny": lambda t, g: t * 1e-30,
    "of all sizes": _of_all_sizes,
    "zero": lambda t, g: torch.zeros_like(t),
    "one": _one_hot,
    "equal": lambda t, g: torch.full_like(t, float(t.flatten()[0]) if t.numel() else 0.0),
    "rank one": _rank_one,
    "nearly cancelling": lambda t, g: 1e6 + t,
}

POSITIVE = frozenset({"variance"})
"""Fields that only ever hold positive numbers."""


def varied(operator: Operator, g) -> Iterator[Operator]:
    """The operator with other weights: degenerate ones, and of all sizes."""
    tensors = {f.name: t for f in fields(operator) if isinstance(t := getattr(operator, f.name), Tensor)}
    tensors = {name: t for name, t in tensors.items() if t.is_floating_point()}
    for change in WEIGHTS.values() if tensors else [WEIGHTS["as they are"]]:
        changed = {name: change(t, g) for name, t in tensors.items()}
        yield replace(operator, **{n: t.abs() if n in POSITIVE else t for n, t in changed.items()})


def boxes(case: Case, count: int, dtype: torch.dtype, g, most: float = 30) -> list[Interval]:
    """Boxes of all places and widths; in some samples all entries are of one size, in others not."""
    found = []
    alike = 10.0 ** g.uniform(-most, most, size=count) * (g.uniform(size=count) < 0.9)
    for shape in case.shapes:
        ones = (count, *(1,) * len(shape))
        size = np.where(
            g.uniform(size=ones) < 0.5, alike.reshape(ones), 10.0 ** g.uniform(-most, most, size=(count, *shape))
        )
        width = 10.0 ** g.uniform(-9, 1, size=ones) * (g.uniform(size=(count, *shape)) < 0.7)
        center, half = g.normal(size=(count, *shape)) * size, np.abs(g.normal(size=(count, *shape))) * size * width
        ends = [torch.as_tensor(end).to(dtype) for end in (center - half, center + half)]
        found.append(Interval(ends[0], ends[1]))
    return found


def matrix(operator: Affine, case: Case) -> np.ndarray:
    """W as it is used, in extended precision: (outputs, all inputs)."""
    exact, size = operator.to(torch.float64), int(np.prod(case.shape))
    rows = exact.adjoint(torch.eye(size, dtype=torch.float64).reshape(size, *case.shape), case.shapes)
    return torch.cat([row.reshape(size, -1) for row in rows], dim=1).numpy().astype(np.longdouble)


def flat(tensors: list[Tensor]) -> np.ndarray:
    return torch.cat([t.double().flatten(1) for t in tensors], dim=1).numpy().astype(np.longdouble)


def offset(operator: Affine, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """b and the size of what it is computed from."""
    exact = operator.to(torch.float64)
    parts = (torch.zeros(()).double() if b is None else b.double() for b in (exact.bias, exact.bias_magnitude))
    b, size = (part.expand(1, *case.shape).reshape(1, -1).numpy().astype(np.longdouble) for part in parts)
    return b, size


@pytest.mark.parametrize("kind", AFFINE)
@both_dtypes
def test_images_of_boxes_hold_what_finer_arithmetic_finds(kind, dtype):
    """In float32 what float64 rounds is nothing; in float64 coefficients that had to be computed are themselves off."""
    g = seeded_generator("image", kind, str(dtype))
    for case in cases(kind):
        for operator in varied(case.operator, g):
            ends = boxes(case, 12, dtype, g, 30 if dtype == torch.float32 else 160)
            box = operator.to(dtype).interval(*ends, outward=True)
            lower, upper = flat([one.lower for one in ends]), flat([one.upper for one in ends])
            W, (b, size) = matrix(operator, case), offset(operator, case)
            if not (np.isfinite(W).all() and np.isfinite(b).all()):
                continue
            above, below = np.maximum(W, 0).T, np.minimum(W, 0).T
            least, largest = lower @ above + upper @ below + b, upper @ above + lower @ below + b
            off = 2.0**-60 * (np.maximum(abs(lower), abs(upper)) @ abs(W).T + size)
            off = off * (2.0**9 if kind in COMPUTED else 1)
            assert (flat([box.lower]) <= least + off).all(), operator
            assert (flat([box.upper]) >= largest - off).all(), operator


COMPUTED = frozenset({"adaptive_avg_pool", "avg_pool", "batch_norm", "center", "reduce", "scale_shift"})
"""Kinds whose coefficients are no numbers that the network stores."""


def _in_order(terms: Tensor, fused: bool) -> Tensor:
    """Sums (n, B, outputs) of products w x, given as pairs, one float32 operation after the other."""
    total = torch.zeros_like(terms[0][0])
    for w, x in zip(*terms, strict=True):
        product = w.double() * x.double()
        total = (total.double() + product).float() if fused else total + product.float()
    return total


def executions(operator: Affine, case: Case, x: list[Tensor], g) -> Iterator[Tensor]:
    """Float32 results of one operator on x, computed in several ways."""
    single = operator.to(torch.float32)
    yield single.forward(*x)
    yield torch.cat([single.forward(*(one[i : i + 1] for one in x)) for i in range(len(x[0]))])
    if all(one.dim() == 4 for one in x):
        yield single.forward(*(one.contiguous(memory_format=torch.channels_last) for one in x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flags set others, which this build has no use for
        # NNPACK transforms convolutions, which no claim covers.
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
            yield single.forward(*x)
    if operator.kind in COMPUTED:
        return
    W, inputs = (
        torch.from_numpy(matrix(single, case).astype(np.float32)),
        torch.cat([one.flatten(1) for one in x], dim=1),
    )
    order = torch.as_tensor(g.permutation(W.shape[1]))
    w, columns = W.T[order].unsqueeze(1), inputs.T[order].unsqueeze(2)
    b = None if single.bias is None else single.bias.expand(1, *case.shape).flatten(1)
    for fused in (False, True):
        sums = _in_order((w, columns), fused)
        yield (sums if b is None else sums + b).reshape(-1, *case.shape)
    half = len(order) // 2
    parts = [_in_order((w[:half], columns[:half]), False), _in_order((w[half:], columns[half:]), True)]
    yield (parts[0] + parts[1] if b is None else b + parts[0] + parts[1]).reshape(-1, *case.shape)


@pytest.mark.parametrize("kind", AFFINE)
def test_executions_of_affine_operators_end_inside_their_errors(kind):
    g = seeded_generator("executions", kind)
    for case in cases(kind):
        for operator in varied(case.operator, g):
            x = [box.lower for box in boxes(case, 16, torch.float32, g, 8)]
            exact, points = operator.to(torch.float64), [Interval(one.double(), one.double()) for one in x]
            try:
                off = exact.executed(*points)
            except NotCovered:
                continue
            y = exact.forward(*(one.double() for one in x))
            allowed = torch.zeros_like(y) if off is None else off
            finite = y.isfinite() & (y.abs() < torch.finfo(torch.float32).max / 4)
            rounding = 2.0**-24 * allowed + 2.0**-45 * y.abs()
            for executed in executions(operator, case, x, g):
                error = (executed.double() - y).abs()
                assert (error <= allowed + (rounding if allowed.any() else 0))[finite & executed.isfinite()].all(), (
                    operator
                )


@pytest.mark.parametrize("kind", AFFINE)
def test_adjoints_and_facts_about_windows_and_entries_are_true(kind):
    """What methods conclude from: W and its transpose, one-to-one maps, images of factors, windows."""
    for case in cases(kind):
        g = seeded_generator("facts", kind)
        operator = case.operator.to(torch.float64)
        x = [torch.as_tensor(g.normal(size=(3, *shape))) for shape in case.shapes]
        zero = operator.forward(*(torch.zeros_like(one) for one in x))
        linear = operator.forward(*x) - zero
        W, scale = (
            torch.from_numpy(matrix(operator, case).astype(np.float64)),
            operator.absolute(*(one.abs() for one in x)),
        )
        whole = torch.cat([one.flatten(1) for one in x], dim=1)
        assert ((whole @ W.T).reshape(linear.shape) - linear).abs().le(1e-12 * (1 + scale)).all()
        assert torch.allclose((whole.abs() @ W.abs().T).reshape(scale.shape), scale, rtol=1e-12, atol=1e-14)
        # As many roundings as terms, or one fewer where the weights are signs.
        assert (W != 0).sum(1).max() - 1 <= operator.forward_terms
        assert (W != 0).sum(0).max() - 1 <= operator.adjoint_terms
        if operator.separable:
            assert (W != 0).sum(0).max() <= 1
            assert (W != 0).sum(1).max() <= 1
        if all(shape == case.shape for shape in case.shapes) and (operator.separable or len(case.shapes) > 1):
            A = torch.as_tensor(g.normal(size=(2, *case.shape)))
            factors = operator.adjoint(torch.ones(1, *case.shape).double(), case.shapes)
            for part, factor in zip(operator.adjoint(A, case.shapes), factors, strict=True):
                assert torch.allclose(part, A * factor, rtol=1e-14)
        if len(case.shapes) == 1 and (read := operator.reads(torch.arange(len(W)), case.shapes[0])) is not None:
            places, weights = read
            weights = torch.ones(places.shape, dtype=W.dtype) if weights is None else weights.to(W)
            assert torch.allclose(torch.zeros_like(W).scatter_add(1, places, weights), W, rtol=0, atol=0)
        if not operator.overlaps:
            assert (W != 0).sum(0).max() <= 1
        if (twins := operator.opposite(case.shapes[0])) is not None:
            assert torch.equal(W[twins], -W)
            assert torch.equal(zero.flatten(1)[:, twins], -zero.flatten(1))
        generator = torch.Generator().manual_seed(1)
        entries = torch.rand(1, 5, len(W), generator=generator).argsort(2)[..., :3]
        few = Few(torch.as_tensor(g.normal(size=entries.shape)), entries, case.shape)
        parts = few.through(operator, case.shapes)
        for part, dense in zip(parts or [], operator.adjoint(few.dense()[0], case.shapes), strict=parts is not None):
            assert torch.allclose(part.dense()[0], dense, rtol=1e-13, atol=1e-14)
            assert torch.allclose(part.A.abs().sum(2)[0], dense.abs().flatten(1).sum(1), rtol=1e-12)  # nothing twice
        if (sliding := operator.sliding()) is not None:
            (height, width), (top, left) = sliding.extent, sliding.padding
            around = [max(0, side) for side in (left, width + sliding.stride[1] * case.shape[2], top)]
            image = nn.functional.pad(
                x[0], (around[0], around[1], around[2], height + sliding.stride[0] * case.shape[1])
            )
            for i in range(case.shape[1]):
                for j in range(case.shape[2]):
                    row, column = i * sliding.stride[0] + around[2] - top, j * sliding.stride[1] + around[0] - left
                    window = image[:, :, row : row + height, column : column + width]
                    seen = sliding.bare.forward(window) - sliding.bare.forward(torch.zeros_like(window))
                    assert seen.shape[2:] == (1, 1)
                    assert torch.allclose(seen[..., 0, 0], linear[..., i, j], atol=1e-12)


def _clips():
    return [Clip(-0.5, 3.0), Clip(0.0, 6.0), Clip(-torch.inf, 0.25), Clip(-(2.0**-100), 2.0**100), Clip(2.0, 2.0)]


PARAMETERS = {
    "clip": _clips(),
    "exponential": [Exponential(b) for b in (2.0, 0.5, 1 + 2.0**-20, 1e30, 1e-30)],
    "elu": [ELU(a, h, r) for a, h, r in ((1.0, 1.0, 1.0), (2.5, 1.5, 0.75), (0.1, 1.0, 3.0))],
    "leaky_relu": [LeakyReLU(torch.tensor(s)) for s in (0.01, 0.0, 1.0, -0.5, 3.0, 1e-20, 1e20, -1e20)],
    "power": [Power(p) for p in (2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 0.3, 7.0, 1.0, 0.0)],
    "rounded": [Rounded(direction) for direction in ("down", "up", "nearest")],
    "step": [Step(torch.tensor(t).double(), closed) for t in (0.0, 0.1, -1e30, 1e-40) for closed in (False, True)],
    "softplus": [Softplus(b, t) for b, t in ((1.0, 20.0), (0.1, 5.0), (10.0, torch.inf))],
    "maximum": [RULES["maximum"](1), RULES["maximum"](-1)],
}


def nonlinear(kind: str) -> list[Operator]:
    return PARAMETERS.get(kind) or [cases(kind)[0].operator]


def counts(kind: str) -> list[int]:
    """Of how many inputs."""
    return {"multiply": [2], "maximum": [2, 3, 6], "log_sum_exp": [2, 5], "resample": [3]}.get(kind, [1])


def points(ends: list[Interval], g, inner: int = 10) -> Iterator[list[Tensor]]:
    """Points of boxes: ends, middles, zeros, near the ends, anywhere."""
    shares = [np.zeros(1), np.ones(1), np.full(1, 0.5)]
    for _ in range(inner):
        drawn = [g.choice([0.0, 1.0, g.uniform(), g.uniform() ** 8], size=one.shape) for one in ends]
        yield [
            _between(box, torch.as_tensor(share, dtype=box.lower.dtype)) for box, share in zip(ends, drawn, strict=True)
        ]
    for share in shares:
        yield [_between(box, torch.as_tensor(share, dtype=box.lower.dtype)) for box in ends]
    yield [torch.zeros_like(box.lower).clamp(box.lower, box.upper) for box in ends]


def _between(box: Interval, share: Tensor) -> Tensor:
    return (box.lower + share * (box.upper - box.lower)).nan_to_num().maximum(box.lower).minimum(box.upper)


@pytest.mark.parametrize("kind", NONLINEAR)
@both_dtypes
def test_planes_and_images_of_nonlinear_operators_enclose_them(kind, dtype):
    """In float32 against float64, in float64 up to what float64 rounds."""
    fine = 2.0**-49 if dtype == torch.float64 else 2.0**-50
    for operator in nonlinear(kind):
        for count in counts(kind):
            g = seeded_generator("nonlinear", kind, str(operator), count, str(dtype))
            shape = {"resample": (2, 4, 5), "lookup": (20, 2)}.get(kind, (40,))  # images, and columns of a table
            places = Case(operator, (shape,) * count, shape)
            ends = [
                Interval(torch.cat([a.lower, b.lower]), torch.cat([a.upper, b.upper]))
                for a, b in zip(boxes(places, 10, dtype, g), boxes(places, 30, dtype, g, 1.2), strict=True)
            ]
            single, exact = operator.to(dtype), operator.to(torch.float64)
            image, straight = single.interval(*ends, outward=True), ~single.bent(*ends) & (kind != "within")
            wide = (single.shares, *ends[0].shape)
            free = [torch.as_tensor(g.choice([0.0, 0.1, g.uniform(), 1.0], size=wide)).to(dtype) for _ in range(3)]
            stated = [
                single.relax(*ends, shares=s) for s in ([None, single.start(*ends), *free] if single.shares else [None])
            ]
            for x in points(ends, g):
                x = [one.double() for one in x]
                y = exact.forward(*x)
                known = y.isfinite()
                off = fine * (y.abs() + sum(one.abs() for one in x) * (kind in FAR)) + 4 * smallest(torch.float64)
                assert (image.lower <= y + off)[known].all(), operator
                assert (image.upper >= y - off)[known].all(), operator
                for planes in stated:
                    sides, sizes = [], []
                    for slopes, shift in (
                        (planes.lower_slopes, planes.lower_offset),
                        (planes.upper_slopes, planes.upper_offset),
                    ):
                        terms = [s.double() * one for s, one in zip(slopes, x, strict=True)]
                        shift = torch.zeros_like(y) if shift is None else shift.double()
                        sides.append((sum(terms) + shift, sum(t.abs() for t in terms) + shift.abs()))
                        most = [
                            s.double().abs() * box.magnitude().double() for s, box in zip(slopes, ends, strict=True)
                        ]
                        sizes.append(sum(most) + shift.abs())
                    (below, size), (above, most) = sides
                    assert (below <= y + off + 2.0**-52 * 4 * size)[known].all(), operator
                    assert (above >= y - off - 2.0**-52 * 4 * most)[known].all(), operator
                    # Waves round their arguments, sums of exponentials round near 1, and softplus has a jump.
                    place = 1 + sum(box.magnitude().double() for box in ends)
                    near = 2.0**8 * (unit(dtype) * (kind in FAR) + smallest(dtype)) * place
                    gap = near + 2.0**8 * unit(dtype) * sum(sizes) + getattr(operator, "jump", 0.0)
                    told = known & straight & below.isfinite() & above.isfinite()
                    told &= place < 1e4 if kind in FAR else True
                    assert (above - below <= gap)[told].all(), operator


FAR = frozenset({"cos", "log_sum_exp", "sin"})
"""Kinds whose values near 0 come from numbers of the size of their arguments, or of 1."""


@pytest.mark.parametrize("kind", NONLINEAR)
def test_executions_of_nonlinear_operators_end_inside_their_errors(kind):
    for operator in nonlinear(kind):
        for count in counts(kind):
            g = seeded_generator("executed", kind, str(operator), count)
            ends = boxes(Case(operator, ((500,),) * count, (500,)), 20, torch.float32, g, 6)
            wide = [Interval(box.lower.double(), box.upper.double()) for box in ends]
            try:
                off = operator.to(torch.float64).executed(*wide)
            except NotCovered:
                continue
            for x in points(ends, g, 4):
                y = operator.to(torch.float64).forward(*(one.double() for one in x))
                executed = operator.to(torch.float32).forward(*x).double()
                error, known = (executed - y).abs(), y.isfinite() & executed.isfinite()
                assert (error <= (torch.zeros_like(error) if off is None else off * (1 + 2.0**-20)))[known].all(), (
                    operator
                )
