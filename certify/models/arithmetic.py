"""In which arithmetic a network is executed: float32, or something faster that is another function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor, nn

from certify.core.values import one_of
from certify.device import PRECISIONS
from certify.errors import BadInput, ModelError, one_line

__all__ = ["FLOAT32", "Arithmetic", "Passes"]

PASS: Final = {"cpu": 32, "cuda": 256}
"""Inputs in a pass of :class:`Passes`, by the kind of device: few enough for images on a processor."""

BACKEND: Final = "inductor"
"""Of torch.compile."""

RECOMPILED: Final = 64
"""How often torch.compile may compile one module; its own limit is 8, after which it silently compiles no more."""

TIES: Final = {"float32": 1e-5, "tf32": 2.0**-9, "bfloat16": 2.0**-6}
"""Relative differences of scores that the order of a sum makes: some times the distance of two numbers of each type,
which is 2^-23, 2^-10 and 2^-8 near 1."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a network is executed. Each way is a function of its own, which certificates are about.

    Args:
        precision: ``"float32"``; ``"tf32"``, matrix products and convolutions of TensorFloat-32 (CUDA); or
            ``"bfloat16"``, those and other operators of bfloat16, as ``torch.autocast`` chooses them.
        compile: whether ``torch.compile`` has a part in it.

    Raises:
        BadInput: for an unknown precision, or a ``compile`` that is not true or false.

    >>> str(Arithmetic("bfloat16", True)), str(Arithmetic())
    ('bfloat16, compiled', 'float32')
    """

    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        if not isinstance(self.compile, bool):
            raise BadInput(f"compile must be true or false, got {self.compile!r:.60}")

    def __str__(self) -> str:
        return self.precision + ", compiled" * self.compile

    @property
    def stated(self) -> dict[str, Any]:
        """What a manifest says besides the digest: nothing of plain float32."""
        return {} if self == FLOAT32 else {"precision": self.precision, "compile": self.compile}

    @property
    def tie(self) -> float:
        """Two scores closer than this, relative to the largest score, may swap ranks when sums are reordered."""
        return TIES[self.precision]

    def check(self, device: torch.device, dtype: torch.dtype) -> None:
        """Refuse what has no effect there.

        Raises:
            BadInput: for TensorFloat-32 anywhere but on CUDA; for a network in float64.
        """
        if self.precision == "tf32" and device.type != "cuda":
            raise BadInput(f"precision tf32 is for a CUDA device, and this is {device}: use float32 or bfloat16")
        if self.precision != "float32" and dtype != torch.float32:
            raise BadInput(f"precision {self.precision} is for networks in float32, this one has float64 weights")


FLOAT32: Final = Arithmetic()


class Passes:
    """A network that always gets equally many inputs at once: the last ones are repeated, and their answers left out.

    Scores in few digits move when sums are reordered, which a batch of another size does, and torch.compile would
    compile for each size anew. So an answer does not depend on the batch that it was asked for in.

    Args:
        module: the network.
        compiled: whether torch.compile compiles it; when it is called, in the process where it is called.
    """

    def __init__(self, module: nn.Module, compiled: bool) -> None:
        self.module, self.compiled = module, compiled
        self._call: Callable[[Tensor], Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Passes, (self.module, self.compiled)  # what was compiled stays in its process

    def __call__(self, x: Tensor) -> Tensor:
        """The scores (B, K) of a batch (B, ...).

        Raises:
            ModelError: if torch.compile fails, or an answer has another number of rows.
        """
        size = PASS.get(x.device.type, max(PASS.values()))
        return torch.cat([self._pass(part, size) for part in x.split(size)])

    def _pass(self, part: Tensor, size: int) -> Tensor:
        missing = size - len(part)
        last = part[-1:] if len(part) else part.new_zeros(1, *part.shape[1:])
        out = self._answer(torch.cat([part, last.expand(missing, *part.shape[1:])]) if missing else part)
        if not isinstance(out, Tensor) or out.shape[:1] != (size,):
            said = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ModelError(f"the model returned {said} for a batch of {size}; it must return a row for each input")
        return out[: len(part)]

    def _answer(self, x: Tensor) -> Any:
        if not self.compiled:
            return self.module(x)
        from torch._dynamo import config, exc

        if self._call is None:
            self._call = torch.compile(self.module, backend=BACKEND, dynamic=False)
        try:
            with config.patch(recompile_limit=RECOMPILED, fail_on_recompile_limit_hit=True), catch_warnings():
                filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # torch looks at it
                return self._call(x)
        except (exc.TorchDynamoException, exc.FailOnRecompileLimitHit) as problem:
            needs = "a C++ compiler such as g++" if x.device.type == "cpu" else "Triton"
            raise ModelError(
                f"torch.compile fails on this model, and needs {needs} ({one_line(problem)}): leave compile out"
            ) from problem
