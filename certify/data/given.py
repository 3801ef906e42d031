"""Data in the forms that Python programs have it: arrays, torch's loaders and data sets, tables of pandas."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.data.labels import column_of, labels_of, true_values
from certify.errors import BadInput, DataError, one_line

__all__ = ["arrays_of"]

FORMS = "(x, y), a DataLoader or Dataset of such pairs, a DataFrame with a column 'label', or (DataFrame, COLUMN)"


def arrays_of(data: Any, regression: bool = False) -> tuple[Any, Any]:
    """Inputs (n, ...) and labels (n,) from whatever holds them.

    Args:
        data: arrays or tensors ``(x, y)``; a ``torch.utils.data.DataLoader`` of batches, or a ``Dataset`` of pairs; a
            DataFrame whose column ``label`` holds the labels, or ``(DataFrame, "column")``. Labels of tables may be
            names, which are numbered in alphabetical order.
        regression: whether the column of a table holds true values in place of labels.

    Raises:
        BadInput: for anything else, and for a loader that shuffles or leaves inputs out: the same inputs in the same
            order are what a run is about.
        DataError: for batches that are no pairs, or columns that are no numbers.

    >>> import pandas as pd
    >>> x, y = arrays_of(pd.DataFrame({"height": [1.5, 2.0], "label": ["cat", "dog"]}))
    >>> x.tolist(), y.tolist()
    ([[1.5], [2.0]], [0, 1])
    """
    if _is_frame(data):
        return _of_frame(data, None, regression)
    if isinstance(data, tuple | list) and len(data) == 2:
        if _is_frame(data[0]) and isinstance(data[1], str):
            return _of_frame(data[0], data[1], regression)
        return data[0], data[1]
    of_torch = sys.modules.get("torch.utils.data")  # whoever holds one of these has imported it
    if of_torch is not None and isinstance(data, of_torch.DataLoader):
        return _of_loader(data, of_torch)
    if of_torch is not None and isinstance(data, of_torch.Dataset):
        return _of_loader(of_torch.DataLoader(data, batch_size=64), of_torch)
    raise BadInput(f"data must be {FORMS}, got {type(data).__name__}")


def _is_frame(data: Any) -> bool:
    return hasattr(data, "columns") and hasattr(data, "to_numpy")


def _of_frame(frame: Any, column: str | None, regression: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    columns = [str(name) for name in frame.columns]
    place = column_of("the DataFrame", columns, column)
    features = frame[[name for at, name in enumerate(frame.columns) if at != place]]
    try:
        x = features.to_numpy().astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise DataError(f"the DataFrame holds features that are no numbers: {one_line(problem)}") from problem
    written = frame[frame.columns[place]]
    if regression:
        return x, true_values("the DataFrame", written)
    labels, _ = labels_of("the DataFrame", ("" if one is None else str(one) for one in written))
    return x, labels


def _of_loader(loader: Any, of_torch: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    shuffling = (of_torch.RandomSampler, of_torch.SubsetRandomSampler, of_torch.WeightedRandomSampler)
    if isinstance(loader.sampler, shuffling) or getattr(loader.sampler, "shuffle", False):
        raise BadInput("the DataLoader gives its inputs in another order each time: make it with shuffle=False")
    if loader.drop_last:
        raise BadInput("the DataLoader leaves out the last inputs: make it with drop_last=False")
    inputs, labels = [], []
    with sys.modules["torch"].random.fork_rng(
        devices=[]
    ):  # a loader draws a seed for its workers, whatever they do with it
        try:
            for batch in loader:
                if not (isinstance(batch, tuple | list) and len(batch) == 2):
                    raise DataError(f"the DataLoader gives a {type(batch).__name__}; each batch must be a pair (x, y)")
                x, y = (np.asarray(part.detach().cpu() if hasattr(part, "detach") else part) for part in batch)
                inputs.append(x)
                labels.append(y)
        except TypeError as problem:
            raise DataError(f"the data give no tensors: {one_line(problem)}; add a transform to tensors") from problem
    if not inputs:
        raise DataError("the DataLoader gives no inputs")
    return np.concatenate(inputs), np.concatenate(labels)
