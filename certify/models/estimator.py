"""Fitted classifiers of scikit-learn, and of libraries that follow its interface, as functions of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.errors import ModelError

__all__ = ["Estimator", "is_estimator"]


def is_estimator(model: object) -> bool:
    """Whether a model is called by ``predict``, as scikit-learn's are, and not itself.

    >>> is_estimator(len), is_estimator(Estimator)
    (False, False)
    """
    return not callable(model) and callable(getattr(model, "predict", None))


class Estimator:
    """Scores (B, K) of a fitted classifier: its probabilities, its decision function, or its labels as one-hot rows.

    Column i is the class ``classes_[i]``, so labels of data are positions in ``classes_``. Inputs are flattened to
    tables; an estimator that was fitted on named columns is given those names.

    Args:
        model: anything with ``predict`` and ``classes_``; better with ``predict_proba`` or ``decision_function``.

    Raises:
        ModelError: for an estimator that is not fitted, or is none of classes.

    >>> from sklearn.linear_model import LogisticRegression
    >>> fitted = LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"])
    >>> scores = Estimator(fitted)(torch.tensor([[0.2], [0.9]]))
    >>> scores.shape, scores.argmax(1)
    (torch.Size([2, 2]), tensor([0, 1]))
    """

    def __init__(self, model: Any) -> None:
        kind, classes = type(model).__name__, getattr(model, "classes_", None)
        if classes is None or np.ndim(classes) != 1:
            raise ModelError(
                f"{kind} states no classes (classes_): fit it before it is certified; a regressor, or an estimator of "
                "several outputs at once, is no classifier"
            )
        self.__name__ = kind
        self.model, self.classes = model, np.asarray(classes)
        self.names = getattr(model, "feature_names_in_", None)

    def __call__(self, x: Tensor) -> Tensor:
        """Scores on the device of ``x``."""
        table: Any = x.detach().flatten(1).cpu().numpy()
        if self.names is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=self.names)
        return torch.from_numpy(np.ascontiguousarray(self._scores(table))).to(x.device)

    def _scores(self, table: Any) -> NDArray[Any]:
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(table))
        if hasattr(self.model, "decision_function"):
            margins = np.asarray(self.model.decision_function(table))
            return margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1)
        labels = np.asarray(self.model.predict(table))
        return (labels[:, None] == self.classes).astype(np.float32)
