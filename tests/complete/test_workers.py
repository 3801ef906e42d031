"""Forks that do parts of a search: order, errors, deaths, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline, OutOfTime
from certify.complete import workers as module
from certify.complete.workers import Workers, _packed, _unpacked
from certify.device import on_one_thread

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one process does all parts")
PARTS = list(range(6))


def children() -> set[int]:
    """The processes that this one started, zombies included."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text(encoding="utf-8").split()}


@pytest.fixture(autouse=True)
def none_left():
    """Whatever a test does, its forks are gone and buried after it."""
    before = children() if sys.platform == "linux" else set()
    yield
    if sys.platform == "linux":
        assert children() == before


def meeting(count: int) -> Any:
    """Where as many processes wait for each other: then each of them has one of as many parts."""
    return get_context("fork").Barrier(count, timeout=60)


def met(barrier: Any, then: Callable[[int], Any], i: int) -> Any:
    barrier.wait()
    return then(i)


BEEN: list[Any] = []
"""Meetings that this process was at."""


def met_once(barrier: Any, then: Callable[[int], Any], i: int) -> Any:
    """The same, but who does the part of another as well waits for nobody."""
    if barrier not in BEEN:
        BEEN.append(barrier)
        barrier.wait()
    return then(i)


def square(i: int) -> tuple[int, int]:
    return i * i, os.getpid()


def inverse(i: int) -> int:
    return 60 // i


class Odd(Exception):
    """Arrives nowhere: it is made of two things, and says one."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two


def refusing(i: int) -> int:
    raise Odd(i, i)


def dying(parent: int, i: int) -> int:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def leaving(parent: int, i: int) -> int:
    if os.getpid() != parent:
        raise SystemExit(3)
    return i


def sleeping(parent: int, i: int) -> int:
    if os.getpid() != parent:
        time.sleep(600)
    return i


def interrupted(parent: int, i: int) -> int:
    if os.getpid() == parent:
        raise KeyboardInterrupt
    return sleeping(parent, i)


def late(deadline: Deadline, i: int) -> int:
    deadline.check()
    return i


def product(held: Tensor, i: int) -> tuple[Tensor, int]:
    """Sums that threads would share, and a derivative."""
    x = (held * (i + 1)).requires_grad_()
    with torch.enable_grad():
        [slope] = torch.autograd.grad((x @ x.T).tanh().sum(), x)
    return slope.sum() + slope, os.getpid()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_order(count):
    with Workers(count) as workers:
        for parts in (range(1, 7), range(1, 3), [1]):
            assert list(workers.each(inverse, parts)) == [60 // i for i in parts]
        assert list(workers.each(inverse, [])) == []
        assert list(workers.each(lambda i: -i, [3])) == [-3]  # one part is never sent
    assert list(workers.each(inverse, [1, 2])) == [60, 30]  # without forks, once they were ended


@LINUX
@pytest.mark.parametrize("count", [2, 3])
def test_all_take_part(count):
    barrier, before = meeting(count), children()
    with Workers(count, NEVER, barrier) as workers:
        for _ in range(2):
            found = list(workers.each(partial(met, barrier, square), range(count)))
            assert [value for value, _ in found] == [i * i for i in range(count)]
            assert {pid for _, pid in found} == {os.getpid()} | children() - before
            assert len({pid for _, pid in found}) == count


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_error_is_raised_in_its_turn(count):
    with Workers(count) as workers:
        steps = workers.each(inverse, [1, 2, 0, 4])
        assert [next(steps), next(steps)] == [60, 30]
        with pytest.raises(ZeroDivisionError):
            next(steps)
        with pytest.raises(Odd) as raised:
            list(workers.each(refusing, PARTS))
        assert raised.value.two == 0
        with pytest.raises(OutOfTime, match="the time limit of 1e-09 s was used up"):
            list(workers.each(partial(late, Deadline(1e-9)), PARTS))
        assert list(workers.each(inverse, [1, 2])) == [60, 30]


@LINUX
@pytest.mark.parametrize("leave", [dying, leaving])
@pytest.mark.parametrize("count", [2, 3])
def test_what_a_dead_fork_leaves_is_done_here(count, leave):
    barrier, before = meeting(count), children()
    with Workers(count, NEVER, barrier) as workers:
        assert list(workers.each(partial(met_once, barrier, partial(leave, os.getpid())), range(count))) == [
            *range(count)
        ]
        assert children() == before
        assert {pid for _, pid in workers.each(square, PARTS)} == {os.getpid()}  # it is not replaced


@LINUX
def test_a_fork_killed_from_outside_is_missed_by_nobody():
    barrier, before = meeting(3), children()
    with Workers(3, NEVER, barrier) as workers:
        list(workers.each(partial(met, barrier, square), range(3)))
        first, second = children() - before
        os.kill(first, signal.SIGKILL)
        assert [value for value, _ in workers.each(square, PARTS)] == [i * i for i in PARTS]
        assert children() - before == {second}


@LINUX
def test_a_silent_fork_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    barrier = meeting(2)
    with Workers(2, Deadline(0.1), barrier) as workers:
        assert list(workers.each(partial(met_once, barrier, partial(sleeping, os.getpid())), range(2))) == [0, 1]


@LINUX
def test_where_torch_differentiates_no_more_nothing_is_lost(monkeypatch):
    def fails() -> None:
        raise RuntimeError("Unable to handle autograd's threading in combination with fork-based multiprocessing")

    monkeypatch.setattr(module, "_differentiate", fails)
    with Workers(3) as workers:
        assert {pid for _, pid in workers.each(square, PARTS)} == {os.getpid()}


@LINUX
def test_an_interrupt_ends_the_forks():
    barrier, before = meeting(2), children()
    with Workers(2, NEVER, barrier) as workers:
        with pytest.raises(KeyboardInterrupt):
            list(workers.each(partial(met_once, barrier, partial(interrupted, os.getpid())), range(2)))
        assert children() == before


ORPHANS = """
import os, signal, sys
from certify.complete.workers import Workers
from tests.complete.test_workers import children, square
workers = Workers(3)
sys.stdout.write("once ")
list(workers.each(square, range(6)))
print(*children(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@LINUX
@pytest.mark.parametrize("moment", ["fork", "waitpid"])
def test_an_interrupt_while_forks_begin_or_end_leaves_none(moment, monkeypatch):
    real, came = getattr(os, moment), []

    def interrupted(*given: Any) -> Any:
        made = real(*given)
        if made and not came:  # not in the fork
            came.append(1)
            signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(module.os, moment, interrupted)
    with pytest.raises(KeyboardInterrupt), Workers(3) as workers:
        list(workers.each(square, PARTS))
    assert came


def test_more_parts_than_a_pipe_holds_numbers():
    parts = range(20_000)
    with Workers(2) as workers:
        assert list(workers.each(abs, parts)) == [*parts]


@LINUX
def test_forks_end_with_a_process_that_is_killed():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    once, *pids = done.stdout.split()
    assert once == "once"  # a fork leaves the buffers alone
    assert len(pids) == 2
    end = time.monotonic() + 20
    while any(running(int(pid)) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@LINUX
def test_bits_are_those_of_one_thread_after_threads_were_at_work():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(0)
        held = torch.randn(300, 300)
        (held @ held).tanh().sum()
        with on_one_thread():
            wanted = [product(held, i)[0] for i in range(3)]
        for known in ((), (held,)):
            barrier = meeting(3)
            with Workers(3, NEVER, barrier, *known) as workers:
                found = list(workers.each(partial(met, barrier, partial(product, held)), range(3)))
            assert len({pid for _, pid in found}) == 3
            assert all(torch.equal(one, two) for one, (two, _) in zip(wanted, found, strict=True))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_tensors_arrive_with_their_strides():
    base = torch.arange(24.0).reshape(2, 3, 4)
    sent = [
        base,
        base.permute(2, 0, 1),
        base[:, 1:, ::2],
        base[:1].expand(3, 3, 4),
        torch.tensor(True),
        torch.zeros(0, 3, dtype=torch.uint8),
        torch.tensor([-0.0, torch.nan, 1e-310], dtype=torch.float64),
    ]
    for one in sent:
        other = _unpacked(_packed(one.requires_grad_(one.is_floating_point()), ()), ())
        assert other.dtype == one.dtype
        assert other.shape == one.shape
        assert not other.requires_grad
        assert torch.equal(other.nan_to_num(7.0), one.detach().nan_to_num(7.0))
    turned = base.permute(2, 0, 1)
    assert _unpacked(_packed(turned, ()), ()).stride() == turned.stride()
    assert _unpacked(_packed((base, 1), (base,)), (turned,))[0] is turned
