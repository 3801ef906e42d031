"""The model of a study beside the data that it is certified on, and what it has met of these in its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from certify.core.legible import many
from certify.data.dataset import Dataset
from certify.errors import BadInput
from certify.models.classifier import Classifier
from certify.models.ensemble import ENSEMBLE, folders_of
from certify.models.loaders import load_model
from certify.study.settings import Settings
from certify.training.folds import fold_of
from certify.training.record import asked_of, folder_of
from certify.training.seen import Overlap, overlap

__all__ = ["MOST_HELD_OUT", "Subject", "met_by", "overlap_of", "subject_of"]

MOST_HELD_OUT: Final = 0.01
"""Share of what is certified that a model may have been chosen by: the training and test parts of published sets have
some inputs in common, and these few are no reason to refuse."""


class Subject(NamedTuple):
    """What a study is about.

    Args:
        classifier: the model.
        dataset: what it is certified on.
        context: what the manifest says of its training.
        cautions: what has to be said before it begins, a line each.
    """

    classifier: Classifier
    dataset: Dataset
    context: Mapping[str, Any]
    cautions: tuple[str, ...]


def subject_of(settings: Settings, data: Dataset) -> Subject:
    """The model that settings name, and the part of ``data`` that it is certified on.

    A model of a cross-validation is certified on the fold that its training left out, where the data are those of it.

    Raises:
        BadInput: for a limit above the number of inputs, a model that is not trained yet, or one that was chosen by
            what is to be certified.
        CertifyError: for one that cannot be loaded.
    """
    folder = folder_of(settings.model)
    if settings.train is not None and folder is None:
        raise BadInput(f"{settings.model} is not trained yet: certify run with this study file trains it first")
    training = None if folder is None else asked_of(folder)
    dataset = _own_fold(training, data)
    if settings.limit is not None and settings.limit > len(dataset):
        part = "" if dataset.fold is None else f"fold {dataset.fold[0]} of "
        raise BadInput(f"limit {settings.limit} is more than the {len(dataset)} inputs of {part}{settings.data}")
    dataset = dataset.subset(settings.limit, seed=0 if settings.seed is None else settings.seed)
    met, cautions = met_by(settings.model, dataset)
    context = met if training is None else {"training": training, **met}
    classifier = load_model(
        settings.model,
        num_classes=dataset.num_classes,
        input_box=dataset.input_box,
        mean=settings.mean,
        std=settings.std,
        device=settings.device,
        precision=settings.precision,
        compile=settings.compile,
    )
    return Subject(classifier, dataset, context, cautions)


def met_by(spec: str, dataset: Dataset) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a manifest says of the inputs that the model of a SPEC has met, and what has to be said before a study.

    Of an ensemble, it is about the member that met most. Both are empty where the model met none, or nobody knows.

    Raises:
        BadInput: for a model that was chosen by more than a few of the inputs.
        ModelError: where the file that lists what it has met is corrupt.
    """
    met = overlap_of(spec, dataset)
    return {"met": met._asdict()} if any(met) else {}, tuple(_cautions(spec, met, dataset))


def overlap_of(spec: str, dataset: Dataset) -> Overlap:
    """How many inputs the model of a SPEC has met; of an ensemble, the member that met most.

    Raises:
        ModelError: where the file that lists what it has met is corrupt.
    """
    folder = folder_of(spec)
    folders = folders_of(spec.removeprefix(ENSEMBLE)) if spec.startswith(ENSEMBLE) else [folder] if folder else []
    found = [overlap(one, dataset) for one in folders] or [Overlap(0, 0)]
    return Overlap(max(one.trained for one in found), max(one.held_out for one in found))


def _own_fold(training: Mapping[str, Any] | None, data: Dataset) -> Dataset:
    """The fold of the data that the training of a model left out; all of them for other models, and other data."""
    fold = None if training is None else training["fold"]
    if training is None or fold is None or training["data"]["digest"] != data.digest:
        return data
    return fold_of(data, *fold)


def _cautions(model: str, met: Overlap, data: Dataset) -> list[str]:
    """What to say of inputs that a model has met.

    Raises:
        BadInput: where it was chosen by more than a few of them.
    """
    of = f"of the {many(len(data), 'input')} to certify"
    chosen = f"{model} was chosen by {met.held_out:,} {of}, which its training held out: accuracy on them is optimistic"
    if met.held_out > MOST_HELD_OUT * len(data):
        raise BadInput(f"{chosen}; certify on others, such as a test part")
    trained = f"{model} was trained on {met.trained:,} {of}: accuracy on them says little about new inputs"
    return [*([chosen] if met.held_out else []), *([trained] if met.trained else [])]
