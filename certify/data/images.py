"""``images:FOLDER``: one subfolder of PNG or JPEG files a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certify.bounded.files import opened
from certify.bounded.memory import check_room
from certify.data.dataset import Dataset
from certify.data.loaders import loader
from certify.errors import BadInput, DataError, needs, one_line

__all__ = ["SUFFIXES", "image_of", "load_images"]

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {"L": 1, "RGB": 3}
"""Pillow's names of the pixel formats that mean the same everywhere: 8-bit grey and 8-bit colour."""


@loader("images:FOLDER")
def load_images(where: str) -> Dataset:
    """Images (n, C, H, W) in [0, 1] and labels 0, 1, ... for the subfolders in the order of their names.

    All images have one size and one pixel format, 8-bit grey or RGB; none is resized or converted, because a radius
    would then be about other inputs than the files. Pixels are taken as stored (orientation tags are not applied).
    Hidden files are skipped.

    Raises:
        BadInput: if there is no such folder.
        DataError: naming the first file that is unreadable or differs from the others.
        MissingExtra: if Pillow is not installed.
    """
    with needs("pillow", "images", "images:FOLDER"):
        import PIL  # noqa: F401
    folder = Path(where)
    if not where or not folder.is_dir():
        raise BadInput(f"no folder {where!r}; write images:FOLDER with one subfolder a class")
    classes = [entry for entry in _visible(folder) if entry.is_dir()]
    if len(classes) < 2:
        raise DataError(f"{folder} has {len(classes)} subfolders; images:FOLDER needs one a class, at least two")
    files = [(path, label) for label, subfolder in enumerate(classes) for path in _images_in(subfolder)]
    first = _read(files[0][0])
    check_room(f"{folder} in float32", 4 * first.size * len(files), share=0.8)
    x = np.empty((len(files), *first.shape), dtype=np.float32)
    for place, (path, _) in enumerate(files):
        image = _read(path)
        if image.shape != first.shape:
            raise DataError(
                f"{path} is {_describe(image)}, but {files[0][0]} is {_describe(first)}; "
                "bring all images to one size and format"
            )
        x[place] = image
    x /= np.float32(255)
    return Dataset(folder.resolve().name, x, np.array([label for _, label in files]), num_classes=len(classes))


def image_of(path: Path) -> NDArray[np.float32]:
    """One PNG or JPEG file as an image (C, H, W) in [0, 1].

    Raises:
        DataError: for a file that is unreadable, or neither 8-bit grey nor RGB.
        MissingExtra: if Pillow is not installed.
    """
    with needs("pillow", "images", "reading pictures"):
        import PIL  # noqa: F401
    return _read(path).astype(np.float32) / np.float32(255)


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    files = _visible(folder)
    if not files:
        raise DataError(f"{folder} holds no images; remove it or fill it")
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} is no PNG or JPEG file; move it out of the class folder")
    return files


def _read(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with opened(path) as file, Image.open(file, formats=("PNG", "JPEG")) as image:
            mode = image.mode
            check_room(str(path), 4 * image.width * image.height)
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise DataError(f"{path} cannot be read as an image: {one_line(problem)}") from problem
    if mode not in MODES:
        raise DataError(f"{path} has pixel format {mode}; convert it to 8-bit grey (L) or colour (RGB)")
    return pixels.reshape(*pixels.shape[:2], MODES[mode]).transpose(2, 0, 1)


def _describe(image: NDArray[np.uint8]) -> str:
    channels, height, width = image.shape
    return f"{height}x{width} {'grey' if channels == 1 else 'colour'}"
