"""What a model SPEC on the command line means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from certify.core.input_box import BoxLike
from certify.errors import BadInput, ModelError
from certify.models.classifier import Classifier
from certify.models.ensemble import ENSEMBLE, load_ensemble
from certify.models.folder import load_folder
from certify.models.named import load_named
from certify.models.normalization import Statistic, normalization
from certify.named import is_named, named
from certify.registry import Registry

__all__ = ["ADAPTED_FILES", "FORMS", "MODEL_FILES", "load_model"]

MODEL_FILES: Registry[Callable[..., Classifier]] = Registry(
    "model file", package=("certify.models", "certify.bounds.importers")
)
"""``read(path, input_box, device, mean=..., std=...)`` by suffix, ``".pt2"``.

A reader returns a :class:`Classifier` in eval mode with as many classes as the file has outputs, and never runs code
from the file. Formats whose reading needs a graph of operators register from the package of bounds.
"""

ADAPTED_FILES: Registry[Callable[..., Classifier]] = Registry("adapted model file", package="certify.bounds.importers")
"""``read(path, adapter, num_classes, input_box, device)`` by suffix: files that a function of the user's feeds."""

FORMS = (
    "a folder that `certify train` wrote, ensemble:FOLDER,FOLDER,.., FILE.onnx, FILE.pt2, "
    "package.module:function[@WEIGHTS], or package.module:adapter@FILE.onnx"
)

_WEIGHTS_ALONE = "holds weights, and weights alone are no model: name the function that builds it, module:function@FILE"
_REFUSED = {
    ".pt": _WEIGHTS_ALONE,
    ".pth": _WEIGHTS_ALONE,
    ".safetensors": _WEIGHTS_ALONE,
}


def load_model(
    spec: str,
    *,
    num_classes: int | None = None,
    input_box: BoxLike = (0.0, 1.0),
    mean: Statistic | None = None,
    std: Statistic | None = None,
    device: str = "cpu",
    precision: str | None = None,
    compile: bool | None = None,
) -> Classifier:
    """Load the model that ``spec`` names, in eval mode. Reading a file never runs code; naming a function does.

    Args:
        spec: a folder that a training recipe wrote; ``ensemble:FOLDER,FOLDER,..`` for the mean of several, where the
            folder of several seeds stands for all of them; an ``.onnx`` file; a ``.pt2`` file that
            ``torch.export.save`` wrote; or ``package.module:function[@WEIGHTS]`` for a function that returns an
            ``nn.Module`` or a :class:`Classifier`, where WEIGHTS is a ``.safetensors``, ``.pt`` or ``.pth`` file. With
            a ``.onnx`` file behind the ``@`` the function is its adapter: it turns a batch of one into a dict of the
            file's inputs, whatever their number and types, and onnxruntime executes any operator.
        num_classes: for a function that returns a bare module. Anything else states its own.
        input_box: for a bare module or a file. A folder and a Classifier state their own.
        mean, std: for a bare module or a file that expects normalized inputs: the normalization is put inside, so that
            inputs and radii stay in raw units; see :class:`Classifier`.
        device: where the model runs.
        precision, compile: how a module is executed, as in :class:`Classifier`; None for what a Classifier states.

    Raises:
        BadInput: for an unknown form of SPEC, or one whose file, folder or function does not exist.
        MissingExtra: if an optional library reads this form and is not installed.
        ModelError: for files that are corrupt, altered or only loadable by running code, and weights that do not fit.

    >>> load_model("torch.nn:Identity", num_classes=3)
    Classifier(torch.nn:Identity, 3 classes, sha256 ...)
    >>> load_model("resnet.onnx")
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: no file 'resnet.onnx'
    """
    made = _load(spec, num_classes, input_box, mean, std, device).executed(precision, compile)
    made.spec = spec
    made.maker = partial(
        load_model,
        spec,
        num_classes=num_classes,
        input_box=input_box,
        mean=mean,
        std=std,
        device=device,
        precision=precision,
        compile=compile,
    )
    return made


def _load(
    spec: str,
    num_classes: int | None,
    input_box: BoxLike,
    mean: Statistic | None,
    std: Statistic | None,
    device: str,
) -> Classifier:
    path = Path(spec)
    if spec and path.is_dir():
        if normalization(mean, std) is not None:
            raise BadInput(f"{spec} holds a model that takes raw inputs, as it was trained: leave mean and std out")
        return load_folder(path, device)
    if spec.startswith(ENSEMBLE):
        if normalization(mean, std) is not None:
            raise BadInput("members of an ensemble take raw inputs, as they were trained: leave mean and std out")
        return load_ensemble(spec.removeprefix(ENSEMBLE), device)
    function, _, fed = spec.partition("@")
    if is_named(function) and Path(fed).suffix in ADAPTED_FILES:
        if normalization(mean, std) is not None:
            raise BadInput(f"{function} says what {fed} is fed with: normalize there, and leave mean and std out")
        if not Path(fed).is_file():
            raise BadInput(f"no file {fed!r}")
        return ADAPTED_FILES[Path(fed).suffix](Path(fed), named(function, ModelError), num_classes, input_box, device)
    if is_named(function):
        return load_named(spec, num_classes, input_box, device, mean=mean, std=std)
    known = path.suffix in _REFUSED or path.suffix in MODEL_FILES
    if known and not path.is_file():
        raise BadInput(f"no file {spec!r}")
    if path.suffix in MODEL_FILES:
        return MODEL_FILES[path.suffix](path, input_box, device, mean=mean, std=std)
    if path.suffix in _REFUSED:
        raise ModelError(f"{spec} {_REFUSED[path.suffix]}")
    raise BadInput(f"unknown model {spec!r}; a model is {FORMS}")
