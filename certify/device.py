"""Where a model runs: all that differs between a processor and an accelerator is decided here."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch

from certify.bounded.memory import free_memory as free_memory_of_host
from certify.errors import BadInput

__all__ = [
    "PRECISIONS",
    "as_alone",
    "available",
    "described",
    "exactly",
    "free_memory",
    "how_many",
    "like",
    "lost",
    "on_one_thread",
    "peak_memory",
    "random_generator",
    "see_one",
    "shared",
]

CPU: Final = torch.device("cpu")

KINDS: Final = ("cpu", "cuda")
"""The devices on which models run here."""

PRECISIONS: Final = ("float32", "tf32", "bfloat16")
"""What a model may compute in; see :class:`~certify.models.arithmetic.Arithmetic`."""

EXACT: Final = ("none", "ieee")
"""What torch calls the precision of float32 arithmetic that is not shortened."""

_SWITCHES: Final[dict[str, tuple[Any, ...]]] = {
    "cpu": tuple(getattr(torch.backends.mkldnn, part) for part in ("matmul", "conv", "rnn")),
    "cuda": (torch.backends.cuda.matmul, *(getattr(torch.backends.cudnn, part) for part in ("conv", "rnn"))),
}
"""What holds the precision of float32 arithmetic on a device."""


def available(device: str | torch.device) -> torch.device:
    """A device on which a model can run.

    Raises:
        BadInput: for a device that is unknown, not supported or not there.

    >>> available("cpu")
    device(type='cpu')
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as problem:
        raise BadInput(f"unknown device {device!r}; use cpu or cuda") from problem
    if chosen.type not in KINDS:
        raise BadInput(f"device {str(device)!r} is not supported; use cpu or cuda")
    if chosen.type != "cpu" and (chosen.index or 0) >= (there := how_many(chosen)):
        raise BadInput(
            f"device {str(device)!r} is not available: torch finds {there} of this kind on this machine; use cpu"
        )
    return chosen


def how_many(device: torch.device) -> int:
    """How many devices of a kind this process can use: workers share them out."""
    return torch.cuda.device_count() if device.type == "cuda" else 1


def shared(device: torch.device) -> bool:
    """Whether workers share out the devices of a kind: accelerators of which no number names one."""
    return device.type != "cpu" and device.index is None


def see_one(turn: int, devices: int) -> None:
    """Let this process, which has not asked for an accelerator yet, see only one of them.

    Args:
        turn: the number of this worker, from 0.
        devices: how many accelerators there are for all workers.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices)))).split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[turn % len(seen)]


def described(device: torch.device) -> str:
    """What records call a device: its kind, and for an accelerator the product.

    >>> described(torch.device("cpu"))
    'cpu'
    """
    return device.type if device.type == "cpu" else f"{device.type} ({torch.cuda.get_device_name(device)})"


def like(recorded: object) -> torch.device:
    """The device that does best for what a record names: one of its kind if there is one here, else the processor.

    >>> like("cpu"), like("no device")
    (device(type='cpu'), device(type='cpu'))
    """
    kind = str(recorded).split(" ")[0]  # what described() says begins with it
    there = kind in KINDS and kind != "cpu" and how_many(torch.device(kind)) > 0
    return torch.device(kind) if there else CPU


def free_memory(device: torch.device = CPU) -> int:
    """Bytes that are free on a device now; what torch holds there without using it counts as free."""
    if device.type == "cpu":
        return free_memory_of_host()
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def peak_memory(device: torch.device = CPU) -> int:
    """Bytes of a device that this process took at most so far.

    >>> peak_memory() > 2**20
    True
    """
    if device.type == "cpu":
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used
    return torch.cuda.max_memory_reserved(device)


def random_generator(device: torch.device | str = CPU) -> torch.Generator:
    """A generator that draws where the noise is needed. Each kind of device has a generator of its own."""
    return torch.Generator(device=device)


def lost(problem: BaseException) -> bool:
    """Whether an exception says that the device failed: nothing more can be computed on it by this process.

    >>> lost(torch.AcceleratorError("CUDA error: unspecified launch failure")), lost(RuntimeError("CUDA"))
    (True, False)
    """
    return isinstance(problem, torch.AcceleratorError)


@contextmanager
def exactly(device: torch.device = CPU, precision: str = "float32") -> Iterator[None]:
    """Inside, float32 arithmetic has 24 bits and the same call gives the same answer, whatever the process was told.

    A guarantee is about one function. TensorFloat-32, or bfloat16 inside matrix products, which
    ``torch.set_float32_matmul_precision`` allows on both kinds of devices, would make it another one that no record
    names; so would an autocast around it, or another default type, with which workers do not start. Who wants such a
    model certified says so, as its ``precision``: then it is part of what the digest pins.

    >>> torch.set_float32_matmul_precision("medium")
    >>> with exactly():
    ...     torch.backends.mkldnn.matmul.fp32_precision
    'ieee'
    >>> torch.backends.mkldnn.matmul.fp32_precision
    'bf16'
    >>> torch.set_float32_matmul_precision("highest")
    """
    wanted = ("tf32",) if precision == "tf32" else EXACT
    shortened = [one for one in _SWITCHES[device.type] if one.fp32_precision not in wanted]
    cast = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    default = torch.get_default_dtype()
    if device.type == "cpu" and precision == "float32" and not (shortened or cast or default != torch.float32):
        try:
            yield  # the usual case, in a loop over models that take microseconds
        finally:
            if torch.get_default_dtype() != torch.float32:  # the model set it
                torch.set_default_dtype(torch.float32)
        return
    with ExitStack() as stack:
        if cast or precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"))
        if default != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, default)
        changes: list[tuple[Any, str, Any]] = [(one, "fp32_precision", wanted[-1]) for one in shortened]
        if device.type == "cuda":
            # One by one: torch's own context for these would set the precision as well, to the shortened one.
            changes += [
                (torch.backends.cudnn, name, name == "deterministic") for name in ("benchmark", "deterministic")
            ]
        for holder, name, value in changes:
            stack.callback(setattr, holder, name, getattr(holder, name))
            setattr(holder, name, value)
        yield


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Inside, the processor adds in one order, however many threads torch has before and after.

    Sums split among threads round otherwise, and what follows gradients ends elsewhere.

    >>> with on_one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def as_alone() -> Iterator[None]:
    """Inside, torch is as in a new process, so that what is around a call does not reach its results.

    Gradients are recorded, nothing is cast, denormal numbers are numbers, and new tensors are float32 on the processor.

    >>> with torch.inference_mode(), as_alone():
    ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    (True, False)
    """
    with ExitStack() as stack:
        stack.enter_context(exactly())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device() != CPU:
            stack.enter_context(CPU)
        if bool(torch.full((), 2.0**-1060, dtype=torch.float64) * 1.0 == 0):
            stack.callback(torch.set_flush_denormal, True)
            torch.set_flush_denormal(False)
        yield


def sums_of_products(device: torch.device) -> bool:
    """Whether float32 convolutions on a device round like sums of products, in whatever order.

    Winograd's algorithm and Fourier transforms mix neighbours, and no bound holds for each entry. Libraries of
    accelerators use them, and so does torch on processors where oneDNN is off or another one.

    >>> sums_of_products(torch.device("cuda"))
    False
    """
    known = platform.machine() in ("x86_64", "AMD64")
    return (
        device.type == "cpu" and known and torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    )
