"""Which inputs a model saw in training, or was chosen by: a certificate on those says little about new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from certify.bounded.memory import check_room
from certify.core.whole import writing
from certify.data.dataset import Dataset, input_digest
from certify.errors import ModelError, one_line

__all__ = ["SEEN", "Overlap", "overlap", "save_seen"]

SEEN: Final = "seen.safetensors"
"""The file's name in the folder of a model: the first 64 bits of the digest of every input."""


class Overlap(NamedTuple):
    """How many inputs of a data set a model has met.

    Args:
        trained: it was trained on them.
        held_out: the state of its training that became the model was chosen by them.
    """

    trained: int
    held_out: int


def save_seen(folder: Path, dataset: Dataset, held_out: Dataset | None) -> None:
    """Write which inputs a model was trained on and which were held out.

    Raises:
        OSError: if the folder cannot be written.
    """
    from safetensors.torch import save

    kept = {"trained": _marks(dataset), "held_out": _marks(held_out)}
    with writing(folder / SEEN) as file:
        file.write(save({name: torch.from_numpy(marks) for name, marks in kept.items()}))


def overlap(folder: Path, dataset: Dataset) -> Overlap:
    """How many inputs of ``dataset`` the model in a folder has met; none where the folder does not say.

    Raises:
        ModelError: if the file is corrupt.
    """
    path = folder / SEEN
    if not path.is_file():
        return Overlap(0, 0)
    from safetensors.numpy import load_file

    try:
        check_room(str(path), path.stat().st_size)
        kept, marks = load_file(path), _marks(dataset)
        return Overlap(*(int(np.isin(marks, kept[name]).sum()) for name in ("trained", "held_out")))
    except Exception as problem:  # whatever is wrong with a file
        raise ModelError(f"{path} is corrupt ({one_line(problem)}); train the model again") from problem


def _marks(dataset: Dataset | None) -> NDArray[np.int64]:
    digests = [] if dataset is None else [bytes.fromhex(input_digest(x)[:16]) for x in dataset.x]
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)
