"""``digits``: the handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from certify.data.dataset import Dataset
from certify.data.loaders import is_train, loader, split
from certify.errors import needs

__all__ = ["load_digits"]


@loader("digits[:train]")
def load_digits(part: str = "") -> Dataset:
    """1,797 grey images (1, 8, 8) of ten digits (Alpaydin and Kaynak 1998), scaled from 0..16 to [0, 1].

    500 are the test part, the other 1,297 the training part; see :func:`~certify.data.loaders.split`.

    Raises:
        MissingExtra: if scikit-learn is not installed.

    >>> load_digits("train").num_classes
    10
    """
    train = is_train("digits", part)
    with needs("scikit-learn", "demo", "the data set digits"):
        from sklearn import datasets
    bundle = datasets.load_digits()
    images = bundle.images.astype(np.float32)[:, None] / np.float32(16)
    return split("digits", images, bundle.target, train, test_size=500)
