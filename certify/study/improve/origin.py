"""Where a model comes from: the record that ``certify train`` left in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import strictly_from_json
from certify.core.values import first_difference
from certify.errors import ModelError, one_line
from certify.training.record import RECORD, asked_of, folder_of

__all__ = ["Origin", "origin_of"]

LARGEST: Final = 1e300
"""A larger number was not measured, nor asked for."""

MOST: Final = 10**9
"""More steps or draws than any recipe takes."""

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Finite = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]


class _Validation(msgspec.Struct):
    share: _Share
    n: Annotated[int, msgspec.Meta(ge=0)]


class _Asked(msgspec.Struct):
    recipe: str
    settings: dict[str, Any]
    network: str
    network_option: dict[str, str]
    seed: int
    validation: _Validation
    patience: int | None = None


class _Cost(msgspec.Struct):
    cpu_seconds: Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]


class _Record(msgspec.Struct):
    asked: _Asked
    curve: list[tuple[_Finite, _Share | None]]
    chosen_epoch: Annotated[int, msgspec.Meta(ge=1)]
    cost: _Cost


class _Folder(msgspec.Struct):
    digest: str


@dataclass(frozen=True, slots=True)
class Origin:
    """How a model was trained.

    Args:
        recipe, settings: the recipe and all of its settings.
        network, network_option: the architecture.
        seed: of the training.
        held_out: how many inputs were held out, and their share of the data.
        curve: mean loss, and share kept of the inputs held out, of every epoch.
        chosen_epoch: the epoch that became the model, from 1.
        cpu_seconds: processor time.
    """

    recipe: str
    settings: Mapping[str, Any]
    network: str
    network_option: Mapping[str, str]
    seed: int
    held_out: tuple[int, float]
    curve: tuple[tuple[float, float | None], ...]
    chosen_epoch: int
    cpu_seconds: float

    def number(self, setting: str) -> float | None:
        """A setting that is a number; None where the recipe has none of the name."""
        value = self.settings.get(setting)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if abs(value) <= LARGEST else None


def origin_of(spec: str, digest: str, trained: Any = None) -> tuple[Origin | None, str]:
    """The origin of the model that a SPEC names, and why it is unknown where it is.

    Args:
        spec: a folder, or ``package.module:function@FOLDER/model.safetensors``.
        digest: of the model that was certified: a folder may hold another one by now.
        trained: how that model was trained, where its run says so; weights of a function have no digest of their own.

    Raises:
        ModelError: for a record that is damaged.
    """
    folder = folder_of(spec)
    if folder is None:
        return None, "its model is no folder of certify train that is at hand, and nothing says how it was trained"
    try:
        if folder == Path(spec) and (now := _read(folder / "model.json", _Folder).digest) != digest:
            return (
                None,
                f"{folder} holds another model by now ({now[:12]}): how the certified one was trained is unknown",
            )
        record = _read(folder / RECORD, _Record)
        if trained is not None and first_difference(asked_of(folder), trained):
            return None, f"{folder} holds another training by now: how the certified model was trained is unknown"
    except (OSError, ValueError, msgspec.MsgspecError) as problem:
        raise ModelError(
            f"{folder} is no whole model folder ({one_line(problem)}); restore it or train again"
        ) from problem
    asked, curve = record.asked, tuple(record.curve)
    if record.chosen_epoch > len(curve):
        raise ModelError(
            f"{folder} is no whole model folder (no epoch {record.chosen_epoch} in its curve); train again"
        )
    for name in ("steps", "draws"):
        value = asked.settings.get(name, 1)
        if type(value) is not int or not 0 < value <= MOST:
            raise ModelError(f"{folder} is no whole model folder ({name} is {value!r:.20}); train again")
    return (
        Origin(
            asked.recipe,
            asked.settings,
            asked.network,
            asked.network_option,
            asked.seed,
            (asked.validation.n, asked.validation.share),
            curve,
            record.chosen_epoch,
            record.cost.cpu_seconds,
        ),
        "",
    )


def _read(path: Path, form: type[Any]) -> Any:
    return msgspec.convert(strictly_from_json(content_of(path, text_room())), form)
