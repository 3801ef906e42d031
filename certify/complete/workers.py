"""Processes that do parts of a search beside the one that runs it. No result depends on how many there are.

Threads would not do: a part is thousands of small operations, and between them Python's lock lets one thread run at a
time. So workers are forks, which hold the network already. They get batches and send results as the bytes of tensors.
"""

from __future__ import annotations

import gc
import io
import math
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from certify.bounds.deadline import NEVER, Deadline
from certify.device import on_one_thread
from certify.process import end_with_parent

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Workers"]

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 30.0
"""Seconds after the time limit in which a worker must answer: one operation of a part may take some."""

NUMBER = np.dtype(np.int32)
"""How the number of a part is written."""

MOST = 1024
"""So many numbers fit into any pipe: whoever writes more at once waits for a reader that never comes."""

Outcomes = dict[int, tuple[Any, Exception | None]]
"""By the number of a part, what its function returned, or what it raised."""


class Workers:
    """This process, and up to ``count - 1`` forks of it (on Linux), started when there is something to share.

    Whoever is free takes the next part. Every part is computed by one thread, from the same bytes and with the same
    operations, so that it does not matter who does it. A fork that was killed, or cannot work after a fork, is not
    replaced; this process does what is missing. All forks end with the context, and with this process however it ends.

    Args:
        count: how many processes, this one included.
        deadline: a fork that does not answer long after it is given up.
        known: what functions and parts refer to and never change. It is there after a fork, and is not sent.

    >>> with Workers(2) as workers:
    ...     list(workers.each(abs, [1, -2, 3]))
    [1, 2, 3]
    """

    def __init__(self, count: int, deadline: Deadline = NEVER, *known: object) -> None:
        self._room = count - 1 if sys.platform == "linux" else 0
        self._deadline, self._known = deadline, (deadline, *known)
        self._forks: list[_Fork] = []
        self._numbers: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def each(self, function: Callable[[T], R], parts: Sequence[T]) -> Iterator[R]:
        """``function`` of every part, in order; what it raises for one is raised in its turn.

        What it changes may be lost with a fork, so it must return everything that it finds. It must be one that can be
        pickled, apart from what is known.
        """
        if len(parts) <= 1:
            yield from map(function, parts)
            return
        for begin in range(0, len(parts), MOST):
            yield from self._some(function, parts[begin : begin + MOST])

    def _some(self, function: Callable[[T], R], parts: Sequence[T]) -> Iterator[R]:
        alone = partial(_alone, function)
        found = self._together(alone, parts) if self._room > 0 else {}
        for number, part in enumerate(parts):
            if number not in found:
                yield alone(part)
                continue
            result, problem = found.pop(number)
            if problem is not None:
                raise problem
            yield result

    def close(self) -> None:
        """End all forks."""
        self._room = 0
        with _uninterrupted():
            while self._forks:
                self._forks.pop().end()
            while self._numbers:
                *self._numbers, end = self._numbers  # type: ignore[assignment]
                os.close(end)

    def _together(self, function: Callable[[T], R], parts: Sequence[T]) -> Outcomes:
        """The outcomes of all parts but those that were lost with a fork."""
        try:
            self._grow(min(self._room, len(parts) - 1))
            # Numbers first: a fork that finds none thinks that the work is over.
            os.write(self._numbers[1], np.arange(len(parts), dtype=NUMBER).tobytes())
            message = _packed((function, parts), self._known)
            busy = [fork for fork in self._forks if fork.send(message)]
            found = _done(function, parts, self._numbers[0])
            for fork in busy:
                found |= fork.receive(self._deadline) or {}
            lost = [fork for fork in self._forks if fork.lost]
        except BaseException:
            self.close()
            raise
        with _uninterrupted():
            for fork in lost:
                self._forks.remove(fork)
                fork.end()
        self._room -= len(lost)
        return found

    def _grow(self, count: int) -> None:
        if not self._numbers:
            self._numbers = os.pipe()
            os.set_blocking(self._numbers[0], False)
        while len(self._forks) < count:
            with _uninterrupted():
                self._forks.append(_Fork(self._forks, self._numbers[0], self._known))


class _Fork:
    """A fork of this process that does parts until it is ended.

    Args:
        others: forks that are there already, whose ends this one closes.
        numbers: a pipe with the numbers of the parts that nobody has taken yet.
        known: see :class:`Workers`.
    """

    def __init__(self, others: Sequence[_Fork], numbers: int, known: tuple[object, ...]) -> None:
        from multiprocessing.connection import Pipe

        self.lost = False
        self._connection, theirs = Pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Python warns of threads that hold locks: a fork runs torch on one thread and nothing else.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            try:
                for fork in (*others, self):
                    fork._connection.close()
                _serve(parent, theirs, numbers, known)
            finally:
                os._exit(0)  # whatever happened: buffers and exit handlers belong to the process that was forked
        theirs.close()

    def send(self, message: bytes) -> bool:
        """Send work; whether the fork is there."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            self.lost = True
        return not self.lost

    def receive(self, deadline: Deadline) -> Outcomes | None:
        """What it did; None if it is gone, or silent long after the deadline."""
        left = deadline.left
        try:
            if self._connection.poll(None if left == math.inf else left + PATIENCE):
                found: Outcomes = _unpacked(self._connection.recv_bytes(), ())
                return found
        except (OSError, EOFError):
            pass
        self.lost = True
        return None

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self._connection.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody waited for all children of this process
            os.waitpid(self._pid, 0)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, or a SIGTERM that somebody handles, is raised after what is inside: no fork is there unknown to anybody.

    A fork that is made inside begins without these handlers, so that it never does what the interrupted process would.
    """
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # which is where handlers run
        known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in known.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for one in came:
        signal.raise_signal(one)


def _serve(parent: int, connection: Connection[bytes, bytes], numbers: int, known: tuple[object, ...]) -> NoReturn:
    """Do parts, in a fork, until the connection breaks."""
    end_with_parent(parent)
    for number, action in (
        (signal.SIGINT, signal.SIG_IGN),  # Ctrl-C reaches the process that was forked, which ends its forks
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        signal.signal(number, action)
    gc.freeze()  # objects of the process that was forked are not taken apart here
    torch.set_num_threads(1)  # the threads of pools did not come along, and whoever waits for them waits for ever
    _differentiate()
    while True:
        function, parts = _unpacked(connection.recv_bytes(), known)
        found = _done(function, parts, numbers)
        connection.send_bytes(_packed({number: one for number, one in found.items() if _travels(one[1])}, ()))


def _differentiate() -> None:
    """Fails where torch differentiates no more after a fork: where an accelerator took part before it."""
    x = torch.zeros((), requires_grad=True)
    with torch.enable_grad():
        torch.autograd.grad(x * x, x)


def _done(function: Callable[[T], R], parts: Sequence[T], numbers: int) -> Outcomes:
    """The outcomes of the parts that this process got hold of."""
    found: Outcomes = {}
    while True:
        try:
            taken = os.read(numbers, NUMBER.itemsize)
        except BlockingIOError:
            return found
        number = int(np.frombuffer(taken, NUMBER)[0])
        try:
            found[number] = function(parts[number]), None
        except Exception as problem:  # raised in its turn, by whoever asked
            found[number] = None, problem


def _alone(function: Callable[[T], R], part: T) -> R:
    """One part, done by one thread: sums that threads share round otherwise."""
    with on_one_thread():
        return function(part)


def _travels(problem: Exception | None) -> bool:
    """Whether an exception arrives as it is; one that does not is raised again by whoever does the part again."""
    try:
        return type(pickle.loads(pickle.dumps(problem))) is type(problem)  # noqa: S301 (our own bytes)
    except Exception:
        return False


class _Packing(pickle.Pickler):
    def __init__(self, file: io.BytesIO, known: tuple[object, ...]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._known = {id(one): place for place, one in enumerate(known)}

    def persistent_id(self, one: Any) -> int | None:
        return self._known.get(id(one))

    def reducer_override(self, one: Any) -> Any:
        if not isinstance(one, Tensor):
            return NotImplemented
        # With the order of its strides: it decides in which order a later operation adds.
        order = sorted(range(one.dim()), key=one.stride, reverse=True)
        return _tensor, (one.detach().permute(order).contiguous().numpy(), np.argsort(order).tolist())


class _Unpacking(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, known: tuple[object, ...]) -> None:
        super().__init__(file)
        self._known = known

    def persistent_load(self, place: Any) -> object:
        return self._known[place]


def _packed(message: object, known: tuple[object, ...]) -> bytes:
    file = io.BytesIO()
    _Packing(file, known).dump(message)
    return file.getvalue()


def _unpacked(message: bytes, known: tuple[object, ...]) -> Any:
    return _Unpacking(io.BytesIO(message), known).load()


def _tensor(values: np.ndarray, order: list[int]) -> Tensor:
    # A copy lies in memory as all tensors of torch do, which some libraries look at.
    return torch.from_numpy(values).permute(order).clone()
