"""Models that misbehave on one input: the one whose first feature is above 0.95."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor


class Odd:
    """A classifier of two classes by the sum of the first two features, that does something else on an odd input.

    Args:
        what: ``"raise"``, ``"hang"``, ``"die"``, or ``"die once"``.
        folder: where it leaves word that it died, and its process number.
        armed: whether it does so at all; the checks before a run are no part of what is tested.
    """

    def __init__(self, what: str, folder: Path) -> None:
        self.what, self.folder = what, folder
        self.__name__ = "odd"

    def __call__(self, x: Tensor) -> Tensor:
        if (self.folder / "armed").exists() and bool((x[:, 0] > 0.95).any()):
            self._misbehave()
        return torch.stack([x[:, 0], x[:, 1]], dim=1)

    def _misbehave(self) -> None:
        word = self.folder / "died"
        if self.what == "raise":
            raise RuntimeError("this input is too odd")
        if self.what == "hang":
            time.sleep(600)
        if self.what == "die" or (self.what == "die once" and not word.exists()):
            word.touch()
            os.kill(os.getpid(), signal.SIGKILL)
