"""Fitted models of scikit-learn, and of libraries that follow its interface, as functions of a batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.errors import ModelError

__all__ = ["Estimator", "FittedRegressor", "is_estimator"]


def is_estimator(model: object) -> bool:
    """Whether a model is called by ``predict``, as scikit-learn's are, and not itself.

    >>> is_estimator(len), is_estimator(Estimator)
    (False, False)
    """
    return not callable(model) and callable(getattr(model, "predict", None))


class _Fitted:
    """What is called with a table: inputs are flattened, and have the names of columns that the model was fitted on."""

    def __init__(self, model: Any) -> None:
        self.__name__ = type(model).__name__
        self.model, self.names = model, getattr(model, "feature_names_in_", None)

    def __call__(self, x: Tensor) -> Tensor:
        """Scores on the device of ``x``."""
        table: Any = x.detach().flatten(1).cpu().numpy()
        if self.names is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=self.names)
        return torch.from_numpy(np.ascontiguousarray(self._scores(table))).to(x.device)

    @abstractmethod
    def _scores(self, table: Any) -> NDArray[Any]: ...


class FittedRegressor(_Fitted):
    """The numbers (B,) that a fitted regressor predicts.

    Args:
        model: anything with ``predict``, but no classifier.

    Raises:
        ModelError: for a classifier.

    >>> from sklearn.linear_model import LinearRegression
    >>> FittedRegressor(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))(torch.tensor([[0.5]])).dtype
    torch.float64
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if hasattr(model, "classes_"):
            raise ModelError(f"{self.__name__} predicts classes: give it to certify.Classifier")

    def _scores(self, table: Any) -> NDArray[Any]:
        return np.asarray(self.model.predict(table))


class Estimator(_Fitted):
    """Scores (B, K) of a fitted classifier: its probabilities, its decision function, or its labels as one-hot rows.

    Column i is the class ``classes_[i]``, so labels of data are positions in ``classes_``.

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
        super().__init__(model)
        classes = getattr(model, "classes_", None)
        if classes is None or np.ndim(classes) != 1:
            raise ModelError(
                f"{self.__name__} states no classes (classes_): fit it before it is certified; a regressor goes with "
                "certify.Regressor, and an estimator of several outputs at once is no classifier"
            )
        self.classes = np.asarray(classes)

    def _scores(self, table: Any) -> NDArray[Any]:
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(table))
        if hasattr(self.model, "decision_function"):
            margins = np.asarray(self.model.decision_function(table))
            return margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1)
        labels = np.asarray(self.model.predict(table))
        return (labels[:, None] == self.classes).astype(np.float32)
