"""Steps of torch modules at random: layers and functions, with settings that people write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MAKERS", "Applied", "Chain", "grown"]

LARGEST: Final = 300
"""Entries of a result, so that a module is tried quickly."""


class Applied(nn.Module):
    """A function as a module; further tensors are its parameters."""

    def __init__(self, function: Callable[..., Tensor], *tensors: Tensor) -> None:
        super().__init__()
        self.function = function
        self.tensors = nn.ParameterList(nn.Parameter(one, requires_grad=False) for one in tensors)

    def forward(self, x: Tensor) -> Tensor:
        """The function of an input and of the tensors."""
        return self.function(x, *self.tensors)


class Chain(nn.Module):
    """Named steps, one after the other."""

    def __init__(self, steps: Iterable[tuple[str, nn.Module]]) -> None:
        super().__init__()
        steps = list(steps)
        self.names = " ".join(name for name, _ in steps)
        self.steps = nn.ModuleList(step for _, step in steps)

    def forward(self, x: Tensor) -> Tensor:
        """Answers (B, outputs)."""
        for step in self.steps:
            x = step(x)
        return x.flatten(1)


Dice = np.random.Generator
Maker = Callable[[Dice, tuple[int, ...]], "nn.Module | Callable[[Tensor], Tensor]"]


def grown(g: Dice, shape: tuple[int, ...], count: int, size: float) -> list[tuple[str, nn.Module]]:
    """At most ``count`` steps from samples of a shape on, with numbers of a size; what does not fit is left out."""
    steps, x = [], torch.as_tensor(g.uniform(0.1, 1, (3, *shape)), dtype=torch.float32)
    for _ in range(count):
        name = str(g.choice(list(MAKERS)))
        try:
            made = MAKERS[name](g, tuple(x.shape[1:]))
            step = _filled(made if isinstance(made, nn.Module) else Applied(made), g, size)
            with torch.no_grad():
                y, alone = step(x), step(x[:1])
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
        # What knows how many samples there are is refused, and nothing is learned.
        fits = y.dtype == x.dtype and y.dim() > 1 and y.shape == (3, *alone.shape[1:]) and len(alone) == 1
        if fits and 0 < alone.numel() <= LARGEST:
            x = y
            steps.append((name, step))
    return steps


def _filled(module: nn.Module, g: Dice, size: float) -> nn.Module:
    """The same with numbers of a size in it; variances are positive but for a few that are nearly -eps."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = g.normal(size=tuple(tensor.shape)) * size
                if name.endswith("running_var"):
                    values = np.abs(values) + g.choice([0.5, 0.0, -1e-5])
                tensor.copy_(torch.as_tensor(np.clip(values, -3e38, 3e38)))
    return module.eval().requires_grad_(False)


def _some(g: Dice, *choices: Any) -> Any:
    return choices[int(g.integers(len(choices)))]


def _number(g: Dice) -> Any:
    """A number as people write it, which float32 seldom holds."""
    return _some(g, 0.1, 0.3, 2, -1, 1e-5, 255, 1e4, -0.7, 1e-12, float(g.normal()))


def _axis(g: Dice, shape: tuple[int, ...]) -> int:
    axis = int(g.integers(1, len(shape) + 1))
    return axis if g.random() < 0.5 else axis - len(shape) - 1


def _linear(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    return nn.Linear(shape[-1], int(g.integers(1, 7)), bias=bool(g.integers(2)))


def _conv(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    axes, turned = len(shape) - 1, bool(g.integers(2))
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d) if turned else (nn.Conv1d, nn.Conv2d)
    window = tuple(g.integers(1, 4, axes).tolist())
    settings: dict[str, Any] = {"stride": int(g.integers(1, 3)), "padding": int(g.integers(0, min(window)))}
    if not turned:
        settings["padding_mode"] = _some(g, "zeros", "zeros", "reflect", "replicate", "circular")
    groups = _some(g, 1, shape[0])
    return kinds[axes - 1](shape[0], 2 * groups, window, groups=groups, dilation=_some(g, 1, 1, 2), **settings)


def _pool(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    axes, window, stride = len(shape) - 1, int(g.integers(2, 4)), int(g.integers(1, 4))
    settings: dict[str, Any] = {"stride": stride, "padding": _some(g, 0, 1), "ceil_mode": bool(g.integers(2))}
    if g.integers(2):
        return (nn.MaxPool1d, nn.MaxPool2d)[axes - 1](window, **settings)
    return (nn.AvgPool1d, nn.AvgPool2d)[axes - 1](window, count_include_pad=bool(g.integers(2)), **settings)


def _adaptive(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    kinds = _some(g, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d))
    return kinds[len(shape) - 2](int(g.integers(1, 4)))


def _normalized(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    kind, eps = _some(g, "batch", "layer", "group", "instance", "rms"), _some(g, 1e-5, 1e-3, 0.1)
    if kind == "batch":
        return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[len(shape) - 1](shape[0], eps=eps)
    if kind == "layer":
        return nn.LayerNorm(shape[-1:], eps=eps)
    if kind == "group":
        return nn.GroupNorm(_some(g, 1, shape[0]), shape[0], eps=eps)
    if kind == "instance":
        return (nn.InstanceNorm1d, nn.InstanceNorm2d)[len(shape) - 2](shape[0], eps=eps, affine=bool(g.integers(2)))
    return nn.RMSNorm(shape[-1:], eps=eps)


def _activation(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    return _some(
        g, nn.ReLU(), nn.LeakyReLU(float(_number(g))), nn.ELU(), nn.CELU(_some(g, 0.3, 2.0)), nn.SELU(), nn.GELU(),
        nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.Tanh(),
        nn.Softplus(_some(g, 1.0, 3.0), _some(g, 20.0, 90.0)), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(),
        nn.ReLU6(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(0.3), nn.Hardshrink(0.3),
        nn.Threshold(0.1, float(_number(g))), nn.PReLU(shape[0]),
    )  # fmt: skip


ENTRYWISE: Final = (
    torch.exp, torch.sin, torch.cos, torch.erf, torch.square, torch.abs, torch.neg, torch.sign, torch.floor,
    torch.ceil, torch.round, torch.trunc, torch.frac, torch.reciprocal, torch.atan, torch.expm1, torch.log1p,
    torch.rsqrt, torch.sqrt, torch.log, torch.tan, torch.sinh,
)  # fmt: skip


def _entrywise(g: Dice, _: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    plain = ENTRYWISE[int(g.integers(len(ENTRYWISE)))]
    return _some(g, plain, lambda x: plain(x.abs() + 0.1))


def _with_number(g: Dice, _: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    n, m = _number(g), _number(g)
    return _some(
        g, lambda x: x + n, lambda x: n - x, lambda x: x * n, lambda x: x / n, lambda x: n / x, lambda x: x - n,
        lambda x: torch.add(x, x.flip(1), alpha=n), lambda x: torch.sub(x, x.flip(1), alpha=n),
        lambda x: torch.rsub(x, n, alpha=m), lambda x: torch.addcmul(x, x, x.flip(1), value=n),
        lambda x: torch.lerp(x, x.flip(1), float(n)), lambda x: x.clamp(min(n, m), max(n, m)), lambda x: x.clamp(min=n),
        lambda x: torch.where(x > n, x, m), lambda x: torch.where(x > x.flip(1), n, x),
        lambda x: x.masked_fill(x < n, m), lambda x: x.abs() ** n, lambda x: x**2, lambda x: x**3,
        lambda x: torch.pow(abs(n), x), lambda x: (x > n).float(), lambda x: F.pad(x, (1, 0), value=float(n)),
        lambda x: torch.full_like(x, n) * x, lambda x: x.maximum(torch.tensor(n)),
        lambda x: torch.addcdiv(x, x, x.flip(1).abs() + 1, value=n),
    )  # fmt: skip


def _with_tensor(g: Dice, shape: tuple[int, ...]) -> nn.Module:
    stored = torch.ones(tuple(size if g.random() < 0.6 else 1 for size in shape))
    function = _some(
        g, lambda x, p: x + p, lambda x, p: x * p, lambda x, p: p - x, lambda x, p: x / p, lambda x, p: p / x,
        torch.maximum, torch.minimum, lambda x, p: torch.where(x > p, x, p),
        lambda x, p: torch.where(p > 0, x, -x), lambda x, p: x + p.softmax(-1), lambda x, p: x * p.exp().cumsum(0),
        lambda x, p: torch.cat([x, p.expand(x.shape)], 1), lambda x, p: x * (p / p.norm()),
    )  # fmt: skip
    return Applied(function, stored)


def _along(g: Dice, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    axis, keep, p = _axis(g, shape), bool(g.integers(2)), _some(g, 1.0, 2.0, float("inf"))
    return _some(
        g, lambda x: x.softmax(axis), lambda x: x.log_softmax(axis), lambda x: F.softmin(x, axis),
        lambda x: x.cumsum(axis), lambda x: x.sum(axis, keep), lambda x: x.mean(axis, keep),
        lambda x: x.amax(axis, keep), lambda x: x.amin(axis, keep), lambda x: x.logsumexp(axis, keep),
        lambda x: torch.linalg.vector_norm(x, p, axis, keep), lambda x: F.normalize(x, p, axis),
        lambda x: x.max(axis, keep)[0], lambda x: x.var(axis, keepdim=keep), lambda x: x.std(axis, keepdim=keep),
        lambda x: x.prod(axis, keep), lambda x: x.square().sum(axis, keep).sqrt(), lambda x: F.glu(x, axis),
        lambda x: x - x.mean(axis, True), lambda x: x.cumprod(axis), lambda x: x.diff(dim=axis),
    )  # fmt: skip


def _moved(g: Dice, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    axis, other, turn = _axis(g, shape), _axis(g, shape), int(g.integers(-2, 3))
    size = shape[axis - 1 if axis > 0 else axis]
    index = torch.as_tensor(g.integers(0, size, 4))
    pads = g.integers(-1, 3, 2).tolist()
    return _some(
        g, lambda x: x.flip(axis), lambda x: x.roll(turn, axis), lambda x: x.transpose(axis, other),
        lambda x: x.flatten(1), lambda x: x.unsqueeze(axis), lambda x: x.index_select(axis, index),
        lambda x: x.narrow(axis, 0, max(1, size - 1)), lambda x: x.repeat_interleave(2, axis), lambda x: x[:, ::2],
        lambda x: torch.cat([x, x], axis), lambda x: torch.stack([x, -x], axis), lambda x: x.chunk(2, axis)[-1],
        lambda x: F.pad(x, pads), lambda x: x.unflatten(1, (1, -1)), lambda x: x.select(axis, -1),
        lambda x: x[..., -1:], lambda x: x + x.mean(axis, True), lambda x: x.movedim(axis, other), lambda x: x.tril(),
        lambda x: x.triu(1),
    )  # fmt: skip


def _with_itself(g: Dice, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return _some(
        g, lambda x: x + x.sin(), lambda x: x * x.flip(1), lambda x: x * x.sigmoid(), lambda x: x - x.relu(),
        lambda x: x / (1 + x.abs()), lambda x: x @ x.transpose(-1, -2), lambda x: x.maximum(-x.flip(1)),
        lambda x: x - x, lambda x: torch.hypot(x, x.flip(1)), lambda x: x.softmax(-1) * x, lambda x: x / x,
        lambda x: F.scaled_dot_product_attention(x, x.flip(1), x), lambda x: (x - 1e4) + 1e4,
        lambda x: x.double().float(), lambda x: torch.einsum("b...i,b...j->b...ij", x, x),
    )  # fmt: skip


def _resized(g: Dice, shape: tuple[int, ...]) -> nn.Module | Callable[[Tensor], Tensor]:
    mode = _some(g, "nearest", "bilinear", "bicubic", "nearest-exact", "area")
    if g.integers(2):
        return _some(g, nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ZeroPad2d(1), nn.ReflectionPad2d(1))
    return lambda x: F.interpolate(x, scale_factor=2.0, mode=mode)


MAKERS: Final[dict[str, Maker]] = {
    "linear": _linear,
    "convolution": _conv,
    "pool": _pool,
    "adaptive pool": _adaptive,
    "normalization": _normalized,
    "activation": _activation,
    "entrywise": _entrywise,
    "with a number": _with_number,
    "with a tensor": _with_tensor,
    "along an axis": _along,
    "moved": _moved,
    "with itself": _with_itself,
    "resized": _resized,
}
"""By name: a step for samples of a shape."""
