"""Check each call of a network in isolation: compare its operators with the call itself, on numbers of all kinds.

Comparing whole networks is not enough: a unit that is 0 on all test inputs hides any error behind it. So every call is
also executed on random numbers that do not come from the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounds.agreement import image
from certify.bounds.graph import Node
from certify.bounds.importers.comparison import fewest_rows
from certify.bounds.rules.base import NotCovered, Value
from certify.bounds.tensors import Interval

__all__ = ["NUMBERS", "Number", "check_alone", "float32", "numbers_for"]

LEAST: Final = 64
"""A call that reads fewer numbers than this is executed several times, up to ROUNDS."""

ROUNDS: Final = 3

POOL: Final = 2**16
"""The most different numbers that are drawn; a larger tensor contains some of them several times."""

BYTES_EACH: Final = 128
"""Memory for each number that a call reads or returns, while it is executed and enclosed."""

NUMBERS: Final = 1e30
"""Constants of a call beyond this are limits of a type, or infinite: no test numbers are drawn near them."""

Number = Callable[[float], float]
"""How a number in the code is rounded."""

Run = Callable[[Sequence[Tensor], Number | None], Sequence[Tensor]]
"""Executes a call on given tensors without changing them: in its own type if the second argument is None; otherwise in
float64, with the numbers in its code rounded by that function."""


def float32(number: float) -> float:
    """The nearest float32."""
    return float(torch.tensor(number, dtype=torch.float32))


def check_alone(
    run: Run,
    inputs: Sequence[tuple[Value, Tensor]],
    nodes: Sequence[Node],
    results: Sequence[Value | Tensor],
    numbers: Sequence[float],
    ways: Sequence[Number] = (float,),
    finest: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> None:
    """Refuse the operators for a call if the call itself answers something else on some numbers.

    Args:
        run: executes the call.
        inputs: each result that the call reads, with a tensor of its shape and type.
        nodes: the operators that the call was read as.
        results: the call's results in order: a value of the graph, or a constant tensor.
        numbers: constants of the call; numbers near them are the most revealing.
        ways: roundings of these numbers to try in float64, one of which must agree; empty to skip float64.
        finest: the type whose rounding errors are allowed for the call in float64.
        device: where to execute the call.

    Raises:
        NotCovered: if they differ by more than rounding.
        NoRoom: if this takes more memory than there is to spare.
    """
    few = sum(like.numel() for _, like in inputs)
    made = sum(math.prod(node.shape) for node in nodes)
    check_room(f"comparing a call that reads and makes {few + made:,} numbers", BYTES_EACH * (few + made))
    rounds = min(ROUNDS, -(-LEAST // max(1, few)))
    wide = [(node.name, node.operator.to(torch.float64), node.inputs) for node in nodes]
    generator = torch.Generator().manual_seed(0)
    for wild in (False, True):
        for _ in range(rounds):
            drawn: dict[str, Tensor] = {}  # a call may read one result twice
            given = [
                drawn.setdefault(value.name, _read(numbers_for(like, numbers, generator, wild=wild), nodes).to(device))
                for value, like in inputs
            ]
            points = {
                value.name: one.double() if value.leading else one.double().unsqueeze(0)
                for (value, _), one in zip(inputs, given, strict=True)
            }
            executed = _agree(run(given, None), wide, points, results, torch.float32)
            exact = not ways or any(_agree(run(given, way), wide, points, results, finest) for way in ways)
            if not (executed and exact):
                raise NotCovered("its rule computes something else than the call: please report it")


def _read(numbers: Tensor, nodes: Sequence[Node]) -> Tensor:
    """Test numbers for a call; rows of its table where it looks some up, as it refuses others."""
    rows = fewest_rows(nodes)
    return numbers if rows is None else numbers.remainder(rows)


def _agree(
    answers: Sequence[Tensor],
    nodes: Sequence[tuple[str, Any, tuple[str, ...]]],
    points: dict[str, Tensor],
    results: Sequence[Value | Tensor],
    dtype: torch.dtype,
) -> bool:
    """Whether answers lie in enclosures of the operators' executions; NaN and infinity only where possible."""
    boxes = {name: Interval(point, point) for name, point in points.items()}
    values, voids = dict(points), list[Tensor]()
    with torch.no_grad():
        for name, operator, names in nodes:
            if (void := operator.undefined(*(boxes[one] for one in names))) is not None:
                voids.append(void)
            boxes[name] = image(operator, [boxes[one] for one in names], dtype)
            values[name] = operator.forward(*(values[one] for one in names))
    for answer, result in zip(answers, results, strict=False):
        if isinstance(result, Tensor):
            stored = result.to(answer.dtype) if answer.dtype.is_floating_point else result
            if not bool((stored == answer).all()):
                return False
            continue
        box, value, told = boxes[result.name], values[result.name], answer.double()
        told = told if result.leading else told.unsqueeze(0)
        if told.shape != value.shape:
            return False
        inside = (box.lower <= told) & (told <= box.upper)
        large = value.abs() > torch.finfo(torch.float32).max / 16  # intermediate results may overflow
        beyond = told.isinf() & ((value == told) | large)
        neither = told.isnan() & (large | ~(box.lower.isfinite() & box.upper.isfinite() & value.isfinite()))
        allowed = inside | beyond | neither
        for void in voids:  # nothing is claimed there, nor for results that combine such entries
            alike = void.shape == allowed.shape
            allowed = allowed | (void if alike else void.flatten(1).any(1).reshape(-1, *(1,) * (allowed.dim() - 1)))
        if not bool(allowed.all()):
            return False
    return True


def numbers_for(like: Tensor, numbers: Sequence[float], generator: torch.Generator, *, wild: bool) -> Tensor:
    """Test numbers in the shape and type of a tensor: ordinary ones, multiples of 1/2, and some at and near constants.

    Args:
        like: a tensor of that shape and type; its values do not matter.
        numbers: constants that are drawn as well, with either sign.
        generator: the source of randomness.
        wild: also draw sizes from a millionth to a few millions.

    >>> numbers_for(torch.empty(3, dtype=torch.bool), (), torch.Generator().manual_seed(0), wild=False).dtype
    torch.bool
    """
    shape = tuple(like.shape)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    if like.dtype == torch.bool:
        return uniform(0, 1) > 0.5
    if not like.dtype.is_floating_point:
        ends = torch.iinfo(like.dtype)
        whole = [one for one in numbers if ends.min <= one <= ends.max and one == int(one)]
        drawn = uniform(-100.0 if like.dtype.is_signed else 0.0, 100.0).round()
        known = torch.tensor([*whole, 1.0], dtype=torch.float64)[
            torch.randint(len(whole) + 1, shape, generator=generator)
        ]
        return torch.where(uniform(0, 1) < 0.8, drawn, known).to(like.dtype)
    count = math.prod(shape)
    pool = _pool(min(count, POOL), numbers, generator, wild=wild)
    pool = pool if like.dtype == torch.float64 else pool.float().to(like.dtype)
    return pool.reshape(shape) if count <= POOL else pool[torch.randint(POOL, shape, generator=generator)]


def _pool(count: int, numbers: Sequence[float], generator: torch.Generator, *, wild: bool) -> Tensor:
    """``count`` test numbers of all kinds, float64."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    known = torch.tensor([*numbers, 1.0], dtype=torch.float64)
    known = known[torch.randint(len(known), (count,), generator=generator)]
    known = known * torch.where(uniform(0, 1) < 0.7, 1.0, -1.0)
    near = known.float() + known.float().abs() * 2.0**-22 * uniform(-2, 2).round()
    kinds = [
        uniform(-3, 3),
        uniform(-3, 3).exp() * uniform(-30, 30),
        uniform(-12, 12).round() / 2,
        uniform(0, 1),
        near.double(),
        known + uniform(-1, 1),
    ]
    if wild:
        kinds += [torch.sign(uniform(-1, 1)) * 10 ** uniform(-6, 6.5), 0.0 * uniform(-1, 1)]
    chosen = torch.randint(len(kinds), (1, count), generator=generator)
    return torch.stack(kinds).gather(0, chosen).squeeze(0)
