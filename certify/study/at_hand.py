"""The model and the data that a run was about, loaded again: to derive what the records alone cannot show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from certify.core.input_box import InputBox
from certify.core.properties.base import property_from
from certify.core.properties.top_class import TOP_CLASS
from certify.core.threats.base import Threat, threat_from
from certify.core.threats.own import Own
from certify.core.threats.transform import Transform
from certify.errors import CertifyError, DataError, one_line
from certify.named import is_named

if TYPE_CHECKING:
    from torch import Tensor

    from certify.data.dataset import Dataset
    from certify.models.classifier import Classifier

__all__ = ["AtHand", "arithmetic_of", "at_hand", "data_of", "loaded"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class AtHand:
    """What is there of a run's model and data.

    Args:
        classifier, dataset: None where they cannot be loaded.
        input_box: the bounds of features that the data state, or whoever asks; None where only the manifest has any.
        rows: position in the data set to row of ``dataset``.
        no_model, no_data: why something is missing, and what to do; empty where it is there.
    """

    classifier: Classifier | None
    dataset: Dataset | None
    input_box: InputBox | None
    rows: Mapping[int, int]
    no_model: str
    no_data: str

    @property
    def lacking(self) -> str:
        """What is missing; empty where both are there."""
        return "; ".join(filter(None, (self.no_model, self.no_data)))

    def asked(self, position: int) -> Classifier:
        """The classifier, asked for the property of the input at a position."""
        assert self.classifier is not None
        property, row = self.classifier.property, self.rows.get(position)
        if not property.per_input or row is None or self.dataset is None or self.dataset.targets is None:
            return self.classifier
        return self.classifier.with_property(property.at(self.dataset.targets[row]))

    def input(self, position: int) -> Tensor | None:
        """The input (...) at a position of the data set, or None where there is none."""
        import torch

        row = self.rows.get(position)
        return None if row is None or self.dataset is None else torch.from_numpy(self.dataset.x[row])


def at_hand(
    settings: Mapping[str, Any],
    context: Mapping[str, Any],
    model: str | None = None,
    data: str | None = None,
    input_box: InputBox | None = None,
) -> AtHand:
    """Load model and data by the SPECs given, else by those in the manifest.

    A Python function that only the manifest names is not run: reading a file never executes code.

    Raises:
        CertifyError: for a SPEC that was given and cannot be loaded; one of the manifest's is only reported missing.
    """
    specs = context.get("specs")
    specs = specs if isinstance(specs, Mapping) else {}
    recorded = {what: str(specs.get(what, settings[what]["name"])) for what in ("data", "model")}
    threat, property = threat_from(settings["threat"]), property_from(settings.get("property"))

    def read(spec: str) -> Dataset:
        whole, fold = data_of(spec, input_box, threat, property.task == "regression"), settings["data"].get("fold")
        if fold is None:
            return whole
        from certify.training.folds import fold_of

        return fold_of(whole, *fold)

    dataset, no_data = loaded("data", data, recorded["data"], read)
    input_box = dataset.input_box if input_box is None and dataset is not None else input_box

    def load(spec: str) -> Classifier:
        inside = {name: specs[name] for name in ("mean", "std") if name in specs}
        inside |= arithmetic_of(settings["model"])
        return _load_model(spec, dataset, threat, settings.get("device"), inside)

    classifier, no_model = loaded("model", model, recorded["model"], load)
    if classifier is not None and property != TOP_CLASS:
        if dataset is not None:
            dataset = dataset.wanted(property, classifier.num_classes)
        classifier = classifier.with_property(property)
    if isinstance(threat, Transform) and dataset is not None:
        if isinstance(threat, Own):
            classifier, no_model = None, f"the manifest names {threat.function}, which only you may let run, in Python"
        elif classifier is not None:
            from certify.models.transformed import behind

            classifier = behind(classifier, threat, dataset.x.shape[1:])
        dataset = dataset.beside(len(threat.parameters))
    rows = {} if dataset is None else {position: row for row, position in enumerate(dataset.positions)}
    return AtHand(classifier, dataset, input_box, rows, no_model, no_data)


def arithmetic_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of how its model is executed; nothing of plain float32."""
    return {name: model[name] for name in ("precision", "compile") if name in model}


def loaded(what: str, given: str | None, recorded: str, load: Callable[[str], T]) -> tuple[T | None, str]:
    """What a SPEC names, and why it is missing if it is."""
    if given is not None:
        return load(given), ""
    try:
        if _runs_code(what, recorded):
            return None, f"the manifest names a Python function, which only you may let run: --{what} {recorded}"
        return load(recorded), ""
    except (CertifyError, ImportError, OSError, TypeError, ValueError) as problem:
        reason = str(problem) if isinstance(problem, CertifyError) else one_line(problem)
        return None, f"the {what} {recorded!r} is not at hand ({reason.partition(';')[0]}): name it with --{what} SPEC"


def _runs_code(what: str, spec: str) -> bool:
    """Whether a SPEC names a Python function: what looks like one may be a built-in form or a folder of that name."""
    if not is_named(spec.partition("@")[0]):
        return False
    if what == "model":
        return not Path(spec).is_dir()
    from certify.data.loaders import LOADERS

    return spec.partition(":")[0] not in LOADERS


def data_of(spec: str, input_box: InputBox | None, threat: Threat, regression: bool) -> Dataset:
    """The data in the box that is given; in that of the run where they state none, which is not believed then."""
    from certify.data.loaders import load_data

    try:
        return load_data(spec, input_box, regression)
    except DataError:
        if input_box is not None or threat.input_box is None:
            raise
        return replace(load_data(spec, threat.input_box, regression), input_box=None)


def _load_model(
    spec: str, dataset: Dataset | None, threat: Threat, device: object, inside: Mapping[str, Any]
) -> Classifier:
    from certify.device import like
    from certify.models.loaders import load_model

    classes = None if dataset is None else dataset.num_classes
    box = threat.input_box
    if isinstance(threat, Transform) and dataset is not None:
        box = dataset.input_box
    return load_model(spec, num_classes=classes, input_box=box, device=str(like(device)), **inside)
