"""``idx:FOLDER``: images and labels in the IDX format of MNIST, Fashion-MNIST, KMNIST, EMNIST."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certify.bounded.files import content_of
from certify.bounded.memory import check_room
from certify.data.dataset import Dataset, from_arrays
from certify.data.loaders import loader
from certify.errors import BadInput, DataError

__all__ = ["load_idx", "read_idx"]

UNSIGNED_BYTES = 0x08
"""The type code of the only element type that image distributions use."""


@loader("idx:FOLDER[:train]")
def load_idx(where: str) -> Dataset:
    """The test part (files ``t10k-*``) or, with ``:train``, the training part (``train-*``) of a folder of IDX files.

    Each file may be plain or gzipped. Images (n, 1, H, W), scaled from 0..255 to [0, 1].

    Raises:
        BadInput: if a file is missing.
        DataError: if a file is corrupt, or images and labels do not belong together.
    """
    folder, train = Path(where.removesuffix(":train")), where.endswith(":train")
    if not where or not folder.is_dir():
        raise BadInput(f"no folder {str(folder)!r} of IDX files; write idx:FOLDER or idx:FOLDER:train")
    part = "train" if train else "t10k"
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"), dimensions=1)
    if len(images) != len(labels):
        raise DataError(f"{folder}: {len(images)} images but {len(labels)} labels; the files do not belong together")
    name = f"{folder.resolve().name} {'train' if train else 'test'}"
    check_room(f"{folder} in float32", 4 * images.size, share=0.8)
    x = images[:, None].astype(np.float32)
    x /= np.float32(255)
    return from_arrays(name, x, labels)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes: magic number, big-endian sizes, then the elements in row-major order.

    Raises:
        DataError: if the file is truncated, has trailing bytes, is something else than its name says, or unpacks to
            more than a quarter of the memory that is free.
    """
    try:
        content = content_of(path, unpack=True)
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from problem
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path} is truncated: {len(content)} bytes are less than an IDX header")
    if content[:4] != bytes([0, 0, UNSIGNED_BYTES, dimensions]):
        raise DataError(f"{path} is no IDX file of unsigned bytes in {dimensions} dimensions (bad magic number)")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    if len(content) != header + math.prod(shape):
        raise DataError(
            f"{path} is truncated or corrupt: its header promises {math.prod(shape)} values, "
            f"the file holds {len(content) - header}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise BadInput(f"{folder} has no {name} and no {name}.gz")
