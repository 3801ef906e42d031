"""``npz:FILE``: arrays that ``numpy.savez`` wrote."""

from __future__ import annotations

from pathlib import Path

from certify.bounded.arrays import arrays_of
from certify.core.input_box import BoxLike, check_box
from certify.data.dataset import Dataset, from_arrays
from certify.data.labels import true_values
from certify.data.loaders import loader
from certify.errors import BadInput, DataError

__all__ = ["load_npz"]

OPTIONAL = ("num_classes", "input_box")


@loader("npz:FILE")
def load_npz(where: str, input_box: BoxLike = None, regression: bool = False) -> Dataset:
    """Arrays ``x`` (n, ...) and ``y`` (n,), taken as they are: nothing is guessed about their scale.

    Or ``y`` (n, L), rows of 0 and 1 that say which of L labels an input has, or ``y`` (n, H, W), label maps of images.

    Two more arrays are optional: ``input_box`` (2 values, the declared bounds of all features, or two rows with the
    bounds of each; [0, 1] without it) and ``num_classes`` (a scalar; the largest label plus one without it). A box that
    is asked for takes the place of either. Pickled objects are refused.

    Raises:
        BadInput: if there is no such file.
        DataError: if the file is corrupt, holds pickled objects, lacks an array, takes more than half of what memory is
            free, or ``x`` leaves the box.
    """
    path = Path(where)
    if not path.exists():
        raise BadInput(f"no file {where!r}; write npz:FILE")
    try:
        arrays, _ = arrays_of(path, ("x", "y", *OPTIONAL))
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read: {problem}; save it with numpy.savez(FILE, x=..., y=...)") from problem
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}; save it with numpy.savez(FILE, x=..., y=...)")
    num_classes, box = (arrays.get(name) for name in OPTIONAL)
    if num_classes is not None and (num_classes.shape != () or num_classes.dtype.kind not in "ui"):
        raise DataError(f"{path}: num_classes must be a single integer")
    try:
        input_box = check_box(next((one for one in (input_box, box) if one is not None), (0.0, 1.0)))
    except BadInput as problem:
        raise DataError(f"{path}: {problem}") from problem
    return from_arrays(
        path.name,
        arrays["x"],
        true_values(path.name, arrays["y"]) if regression else arrays["y"],
        None if num_classes is None else int(num_classes),
        input_box,
    )
