"""The inputs a run was about, found again: a run folder holds their digests, not their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from certify.core.run import Run
from certify.core.threats.base import Threat
from certify.core.threats.transform import Transform
from certify.data.dataset import Dataset, input_digest
from certify.data.loaders import LOADERS, load_data
from certify.errors import CertifyError

__all__ = ["Originals", "originals_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Originals:
    """Inputs by position.

    Args:
        x: values by position in the data set; empty if the data set could not be loaded.
        note: why there are none, in one sentence; empty if there are.
    """

    x: Mapping[int, NDArray[np.float32]]
    note: str = ""

    def at(self, index: int, digest: str, threat: Threat) -> NDArray[np.float32] | None:
        """The input at a position, or None unless it is the very one that a record names by its digest.

        Behind a transform, records are about its features with the parameters behind them.
        """
        found = self.x.get(index)
        if found is None:
            return None
        zeros = len(threat.parameters) if isinstance(threat, Transform) else 0
        named = np.append(found, np.zeros(zeros, dtype=found.dtype)) if zeros else found
        return found if input_digest(named) == digest else None


def originals_of(run: Run, given: Dataset | None = None) -> Originals:
    """The inputs of a run, from ``given`` data or from the built-in data set that the manifest names.

    A Python function that a run's command named is not called: a run folder may be a stranger's.
    """
    if given is not None:
        return _by_position(given)
    name = run.settings["data"]["name"]
    for spec in _specs(run, name):
        try:
            return _by_position(
                load_data(spec, run.summary.threat.input_box, run.summary.property.task == "regression")
            )
        except CertifyError:
            continue
    return Originals({}, f"The original inputs are not shown: {name} could not be loaded; name it with --data SPEC.")


def _specs(run: Run, name: str) -> Iterator[str]:
    """The SPECs that may mean a data set of this name: the one that the command named, then those made of the name."""
    command = [str(word) for word in run.context.get("command", ())]
    spoken = [after for word, after in pairwise(command) if word == "--data"]
    spoken += [word.removeprefix("--data=") for word in command if word.startswith("--data=")]
    for spec in [*spoken, name, name.removesuffix(" test"), name.removesuffix(" train") + ":train"]:
        if spec.partition(":")[0] in LOADERS:
            yield spec


def _by_position(data: Dataset) -> Originals:
    return Originals(dict(zip(data.positions, data.x, strict=True)))
