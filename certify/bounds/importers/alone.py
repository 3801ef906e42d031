"""Each call by itself: what it was read as, beside the call on numbers of its own.

A comparison of whole networks only sees what its inputs reach: a unit that is 0 on all of them hides whatever is read
wrongly behind it. So every call is also carried out on numbers that no network had a part in.
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
from certify.bounds.rules.base import NotCovered, Value
from certify.bounds.tensors import Interval

__all__ = ["NUMBERS", "Number", "check_alone", "float32", "numbers_for"]

LEAST: Final = 64
"""Numbers that a call is asked about at least, where it takes few: then it is asked several times."""

ROUNDS: Final = 3

POOL: Final = 2**16
"""Different numbers that are drawn at most: a larger tensor holds some of them several times."""

EACH: Final = 128
"""Bytes for each number that a call reads or makes, while it is carried out and enclosed."""

NUMBERS: Final = 1e30
"""Numbers of a call beyond this are ends of a type, or infinity: nothing is asked next to them."""

Number = Callable[[float], float]

Run = Callable[[Sequence[Tensor], Number | None], Sequence[Tensor]]
"""Carries a call out on given numbers, which it leaves as they are: in its own type; or in float64, the numbers of its
code changed in this way."""


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
    """Refuse what a call was read as, where the call answers something else on numbers of every size.

    Args:
        run: the call.
        inputs: each result that it reads, and a tensor of the shape and type that it has there.
        nodes: the operators that stand for the call.
        results: where its results are, in order, or what they are where no number decides that.
        numbers: those of the call itself: numbers near them tell most.
        ways: what may become of these numbers in float64, where one of them has to agree; none not to ask there.
        finest: to whose roundings the call in float64 is held.
        device: where to carry it out.

    Raises:
        NotCovered: if they differ by more than either may round.
        NoRoom: if that takes more memory than there is to spare.
    """
    few = sum(like.numel() for _, like in inputs)
    made = sum(math.prod(node.shape) for node in nodes)
    check_room(f"comparing a call that reads and makes {few + made:,} numbers", EACH * (few + made))
    rounds = min(ROUNDS, -(-LEAST // max(1, few)))
    wide = [(node.name, node.operator.to(torch.float64), node.inputs) for node in nodes]
    generator = torch.Generator().manual_seed(0)
    for wild in (False, True):
        for _ in range(rounds):
            given = [numbers_for(like, numbers, generator, wild=wild).to(device) for _, like in inputs]
            points = {
                value.name: one.double() if value.leading else one.double().unsqueeze(0)
                for (value, _), one in zip(inputs, given, strict=True)
            }
            executed = _agree(run(given, None), wide, points, results, torch.float32)
            exact = not ways or any(_agree(run(given, way), wide, points, results, finest) for way in ways)
            if not (executed and exact):
                raise NotCovered("its rule computes something else than the call: please report it")


def _agree(
    answers: Sequence[Tensor],
    nodes: Sequence[tuple[str, Any, tuple[str, ...]]],
    points: dict[str, Tensor],
    results: Sequence[Value | Tensor],
    dtype: torch.dtype,
) -> bool:
    """Whether answers lie in what the operators may round to in a type; NaN and infinity where they may."""
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
        large = value.abs() > torch.finfo(torch.float32).max / 16  # then executions may overflow on the way
        beyond = told.isinf() & ((value == told) | large)
        neither = told.isnan() & (large | ~(box.lower.isfinite() & box.upper.isfinite() & value.isfinite()))
        allowed = inside | beyond | neither
        for void in voids:  # nothing is claimed there, nor of what such numbers are mixed into
            alike = void.shape == allowed.shape
            allowed = allowed | (void if alike else void.flatten(1).any(1).reshape(-1, *(1,) * (allowed.dim() - 1)))
        if not bool(allowed.all()):
            return False
    return True


def numbers_for(like: Tensor, numbers: Sequence[float], generator: torch.Generator, *, wild: bool) -> Tensor:
    """Numbers of many kinds in the shape and type of a tensor: ordinary ones, halves, and some at and next to others.

    Args:
        like: an empty tensor will do.
        numbers: numbers to draw from as well, and from their negatives.
        generator: what to draw with.
        wild: with sizes from a millionth to a few millions among them.

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
    """So many numbers of all kinds, float64."""

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
