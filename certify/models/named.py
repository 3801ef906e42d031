"""``package.module:function[@WEIGHTS]``: a model from a Python function of the user's."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from certify.core.input_box import BoxLike
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier
from certify.models.estimator import is_estimator
from certify.models.normalization import Statistic, normalization
from certify.models.regressor import Regressor
from certify.models.weights import load_weights
from certify.named import call_named

__all__ = ["load_named"]


def load_named(
    spec: str,
    num_classes: int | None = None,
    input_box: BoxLike = (0.0, 1.0),
    device: str = "cpu",
    *,
    mean: Statistic | None = None,
    std: Statistic | None = None,
) -> Classifier:
    """Call the function that ``spec`` names: it returns an ``nn.Module``, a :class:`Classifier`, or scikit-learn's own.

    A module is put in eval mode, after the weights behind the ``@`` were loaded into it; the arguments are for it
    alone, because a Classifier states its own.

    Raises:
        BadInput: if there is no such function or weights file, or the number of classes is not known.
        ModelError: if the function raised or returned anything else, or the weights do not fit.
    """
    function, _, weights = spec.partition("@")
    model = call_named(function, ModelError)
    if isinstance(model, Classifier):
        if weights:
            raise ModelError(f"{function} returned a finished Classifier; leave out @{weights}")
        if normalization(mean, std) is not None:
            raise ModelError(f"{function} returned a finished Classifier: give mean and std to it, not beside it")
        return model
    if is_estimator(model) and not weights:
        if num_classes == 1:
            return Regressor(model, input_box, mean=mean, std=std, device=device, name=function)
        return Classifier(model, None, input_box, mean=mean, std=std, device=device, name=function)
    if not isinstance(model, nn.Module):
        raise ModelError(f"{function} returned {type(model).__name__}; it must return an nn.Module or a Classifier")
    if num_classes is None:
        raise BadInput(f"how many classes does {function} have? give num_classes, or return a certify.Classifier")
    if weights:
        load_weights(model, Path(weights))
    if num_classes == 1:
        return Regressor(model.eval(), input_box, mean=mean, std=std, device=device, name=function)
    return Classifier(model.eval(), num_classes, input_box, mean=mean, std=std, device=device, name=function)
