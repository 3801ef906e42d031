"""Upper bounds of spectral norms that hold in exact arithmetic.

Iterations for singular values only give lower bounds. Here an iteration proposes a value s and a Cholesky factorization
proves it: if that of ``s I - G`` succeeds in floats, no eigenvalue of G exceeds s by more than a bounded rounding error
(Rump 2006). One factorization costs a sixth of squaring the Gram matrix, which is the step of Gram iteration (Delattre
et al. 2023), and is exact up to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from certify.bounds.affine_part import AffinePart
from certify.bounds.deadline import NEVER, Deadline
from certify.bounds.rounding import gamma, smallest, unit
from certify.bounds.rules.base import Affine, Sliding

__all__ = ["CHUNK", "NormBound", "floor", "norms", "spectral_norm"]

CHUNK = 2**22
"""The most numbers held at a time besides a part's matrix."""

QUICK = 2048
"""Convolutions with a larger Gram matrix are bounded by frequencies instead, which is a percent or two looser."""

LANCZOS_BLOCK, LANCZOS_ROUNDS = 2, 40
"""Columns and rounds of the iteration that proposes the largest eigenvalue; for smaller matrices it is computed."""

SWEEPS = 8
"""Rounds of power iteration for the weights of the bound by absolute values."""

U = unit(torch.float64)


@dataclass(frozen=True, slots=True)
class NormBound:
    """An upper bound of ``||W||_2``, infinite if none was found, and what proves it.

    Args:
        value: the bound.
        proof: ``"gram"``: from the matrix itself; ``"spectrum"``: from the frequencies of a convolution on a torus;
            ``"absolute"``: from the matrix of absolute values.
    """

    value: float
    proof: Literal["gram", "spectrum", "absolute"]


def spectral_norm(M: Tensor) -> float:
    """An upper bound of the largest ``||M_f||_2`` of matrices (F, m, n) in float64, off by about ``n (m + n) u``.

    With ``R`` the factor that the computation yields for ``A = s I - G``, ``R^T R = A + E`` and
    ``|E| <= g_{n+1} |R|^T |R|`` (Higham 2002, Theorem 10.3), hence ``||E||_2 <= g_{n+1} / (1 - g_{n+1}) trace(A)``, and
    no eigenvalue of G exceeds s by more. The products of G are off by at most ``g_m ||M||_F^2`` in this norm.

    >>> 5.0 <= spectral_norm(torch.tensor([[[3.0, 4.0]]], dtype=torch.float64)) < 5.0000001
    True
    """
    top = float(M.abs().amax()) if M.numel() else 0.0
    if not math.isfinite(top):
        return math.inf
    if top == 0.0:
        return 0.0
    scale = math.ldexp(1.0, math.frexp(top)[1] - 1)  # a power of two, so exact but for negligible entries
    M = M / scale
    rows, columns = M.shape[1:]
    G = M @ M.mT if rows < columns else M.mT @ M
    inner, n = max(rows, columns), min(rows, columns)
    square = float(torch.linalg.matrix_norm(M).amax()) ** 2 * (1 + 2 * gamma(rows * columns + 4, M.dtype))
    error = gamma(inner + 2, M.dtype) * square + 4 * inner * n * smallest(M.dtype)
    s = _proven(G, square)
    bound = s * (1 + 2 * (n + 1) * gamma(n + 2, M.dtype)) + 2 * error
    return math.nextafter(math.sqrt(bound) * (1 + 8 * U) * scale, math.inf)


def _proven(G: Tensor, surely: float) -> float:
    """A number s just above the largest eigenvalue such that ``s I - G`` has a Cholesky factor; else ``surely``."""
    proposed = _largest_eigenvalue(G)
    excess = 2.0**-32
    while 0 < proposed < math.inf and (s := proposed * (1 + excess)) < surely:
        shifted = -G
        shifted.diagonal(dim1=1, dim2=2).add_(s)
        if not bool(torch.linalg.cholesky_ex(shifted)[1].any()):
            return s
        excess *= 4
    return surely


def _largest_eigenvalue(G: Tensor) -> float:
    """An estimate from below of the largest eigenvalue of all G (F, n, n), by block Lanczos."""
    if G.shape[1] <= LANCZOS_BLOCK * LANCZOS_ROUNDS:
        return float(torch.linalg.eigvalsh(G).amax())
    heaviest = G.diagonal(dim1=1, dim2=2).topk(LANCZOS_BLOCK, dim=1).indices
    basis = newest = torch.linalg.qr(G.gather(2, heaviest.unsqueeze(1).expand(-1, G.shape[1], -1)))[0]
    for _ in range(LANCZOS_ROUNDS - 1):
        newest = G @ newest
        for _ in range(2):
            newest = newest - basis @ (basis.mT @ newest)
        newest = torch.linalg.qr(newest)[0]
        basis = torch.cat([basis, newest], 2)
    basis = torch.linalg.qr(basis)[0]
    return float(torch.linalg.eigvalsh(basis.mT @ G @ basis).amax())


def norms(part: AffinePart, deadline: Deadline = NEVER) -> tuple[NormBound, list[NormBound]]:
    """Bounds of ``||W||_2`` of a part, and of the columns of each source.

    Raises:
        OutOfTime: once the deadline passed.
    """
    sizes = [math.prod(shape) for shape in part.shapes(part.sources)]
    everything = slice(0, sum(sizes))
    ranges = [everything] if len(sizes) == 1 else [everything, *_ranges(sizes)]
    quick = part.written and min(part.size) <= QUICK
    filters = None if part.moves or quick else _filters(part)
    found = _by_absolute(part, ranges, 1 if part.moves or part.written else SWEEPS, deadline)
    if filters is not None and math.isfinite(found[0].value):
        found = [_least(found[0], _by_spectrum(part, *filters, found[0], deadline))]
    elif part.written and not part.moves and all(math.isfinite(one.value) for one in found):
        found = [_least(one, other) for one, other in zip(found, _by_gram(part, ranges, found, deadline), strict=True)]
    return found[0], found if len(sizes) == 1 else found[1:]


def _ranges(sizes: list[int]) -> list[slice]:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _least(first: NormBound, second: NormBound) -> NormBound:
    return second if second.value < first.value else first


def _by_absolute(part: AffinePart, ranges: list[slice], sweeps: int, deadline: Deadline) -> list[NormBound]:
    """``||W||_2 <= || |W| ||_2``, whose square is at most the largest of ``(|W|^T |W| v)_j / v_j`` for any v > 0.

    That is Collatz and Wielandt's bound; v = 1 alone gives at most ``sqrt(||W||_1 ||W||_inf)``. It is exact where W has
    no negative entries or one entry a row.
    """
    lost, grown = floor(part), 1 + 2 * part.rounding + 8 * U
    bounds = []
    for columns in ranges:
        least, v = math.inf, torch.zeros(1, part.size[1], dtype=torch.float64, device=part.graph.device)
        v[:, columns] = 1.0
        for _ in range(sweeps):
            deadline.check()
            y = part.absolute(v) + lost
            top = float(y.amax())
            if not 0 < top < math.inf:
                break
            z = (part.absolute_transposed(y / top) + lost)[:, columns]
            ratio = float((z / v[:, columns]).amax())
            least = min(least, math.sqrt(top) * math.sqrt(ratio) * grown) if math.isfinite(ratio) else least
            v[:, columns] = (z / z.amax()).clamp(min=1e-6)
        bounds.append(NormBound(least, "absolute"))
    return bounds


def floor(part: AffinePart) -> float:
    """A bound of the error of one of a part's products through underflow inside of it."""
    growth = 1.0
    for node in part.nodes if len(part.nodes) > 1 else ():
        [one] = _by_absolute(AffinePart.single(part.graph, node), [slice(None)], 1, NEVER)
        growth *= max(1.0, one.value)
    return part.terms * sum(part.size) * smallest(torch.float64) * growth


def _by_gram(part: AffinePart, ranges: list[slice], absolute: list[NormBound], deadline: Deadline) -> list[NormBound]:
    """From the matrix, computed row by row. Its entries are off by ``g |W|``, which the bound of |W| pays for."""
    rows, columns = part.size
    device = part.graph.device
    M = torch.empty(rows, columns, dtype=torch.float64, device=device)
    for chosen in torch.arange(rows, device=device).split(max(1, CHUNK // max(rows, part.graph.widest))):
        deadline.check()
        unit_rows = torch.zeros(len(chosen), rows, dtype=torch.float64, device=device)
        unit_rows[torch.arange(len(chosen), device=device), chosen] = 1.0
        M[chosen] = part.transposed(unit_rows)
    lost, bounds = floor(part), []
    for chosen_columns, size in zip(ranges, absolute, strict=True):
        deadline.check()
        exact = spectral_norm(M[None, :, chosen_columns])
        bounds.append(NormBound((exact + 2 * part.rounding * size.value + lost) * (1 + 4 * U), "gram"))
    return bounds


def _filters(part: AffinePart) -> tuple[Tensor, Sliding] | None:
    """The filters (out channels, channels, height, width) of a part that is one convolution with scaled channels."""
    slides = [node for node in part.nodes if isinstance(node.operator, Affine) and node.operator.sliding() is not None]
    if len(slides) != 1 or len(part.sources) > 1 or len(part.outputs) > 1:
        return None
    [node], shapes = slides, part.graph.shapes
    assert isinstance(node.operator, Affine)
    sliding, out = node.operator.sliding(), node.shape[0]
    assert sliding is not None
    K = torch.eye(out, dtype=torch.float64, device=part.graph.device).reshape(out, out, 1, 1)
    for one in reversed(part.nodes):
        assert isinstance(one.operator, Affine)
        shape = shapes[one.inputs[0]]
        if one is node:
            [K] = sliding.bare.adjoint(K, ((shape[0], *sliding.extent),))
            continue
        if not one.operator.separable or shape != one.shape:
            return None
        [factors] = one.operator.adjoint(K.new_ones(1, *shape), (shape,))
        if not bool((factors == factors[..., :1, :1]).all()):
            return None
        K = K * factors[..., :1, :1]
    return K, sliding


def _by_spectrum(part: AffinePart, K: Tensor, sliding: Sliding, absolute: NormBound, deadline: Deadline) -> NormBound:
    """A convolution with any padding is a part of one on a torus large enough for the windows of all its outputs.

    On a torus it is one small matrix for each frequency (Sedghi et al. 2019). With stride s it is a convolution of
    stride 1 on the s x s subsampled images, stacked as channels.
    """
    taps = [-(-extent // stride) for extent, stride in zip(sliding.extent, sliding.stride, strict=True)]
    padded = [tap * stride - extent for tap, stride, extent in zip(taps, sliding.stride, sliding.extent, strict=True)]
    K = torch.nn.functional.pad(K, (0, padded[1], 0, padded[0]))
    K = K.unflatten(3, (taps[1], sliding.stride[1])).unflatten(2, (taps[0], sliding.stride[0]))
    K = K.permute(2, 4, 0, 1, 3, 5).flatten(3).flatten(0, 1)  # (taps, out channels, channels of the s x s images)
    period = [size + tap - 1 for size, tap in zip(part.shapes(part.outputs)[0][1:], taps, strict=True)]
    value = 0.0
    turns = _turns(period, taps).to(K.device)
    for part_turns in turns.split(max(1, CHUNK // (4 * K[0].numel()))):
        deadline.check()
        real = torch.tensordot(part_turns.cos(), K, 1)
        imaginary = torch.tensordot(part_turns.sin(), K, 1)
        # The complex matrix as a real one of twice the size, with the same norm.
        M = torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)
        value = max(value, spectral_norm(M))
    off = (gamma(len(K) + 4, K.dtype) + 32 * U) * float(torch.linalg.matrix_norm(K.abs().sum(0)))
    value = (value + 2 * off * (1 + 1e-6) + 2 * part.rounding * absolute.value + floor(part)) * (1 + 4 * U)
    return NormBound(value, "spectrum")


def _turns(period: list[int], taps: list[int]) -> Tensor:
    """Angles ``2 pi f . tau / period`` of every frequency f, up to sign, and tap tau: (frequencies, taps)."""
    angles = []
    for size, tap, most in ((period[0], taps[0], period[0]), (period[1], taps[1], period[1] // 2 + 1)):
        angles.append(torch.arange(most)[:, None] * torch.arange(tap) * (math.prod(period) // size))
    total = (angles[0][:, None, :, None] + angles[1][None, :, None, :]).flatten(2).flatten(0, 1) % math.prod(period)
    return total.double() * (2 * math.pi / math.prod(period))
