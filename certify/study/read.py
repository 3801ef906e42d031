"""Read a run folder back: its records and its summary. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from certify.core.certificate import Certificate
from certify.core.columns import CertificateColumns
from certify.core.digests import digest_in_order
from certify.core.reported import Reported
from certify.core.run import Run
from certify.core.summary import Summary
from certify.core.threats.base import threat_from
from certify.errors import BadInput, StoreError
from certify.store.difference import Record, contrary
from certify.store.run_folder import STORE, Manifest, RunFolder
from certify.summary.envelope import Envelope, envelope
from certify.summary.group_columns import group_column, whole_size
from certify.summary.groups import grouped
from certify.summary.summarize import DELTA, tabulate

__all__ = [
    "certificates_of",
    "envelope_of_runs",
    "head_of",
    "merge",
    "read_run",
    "read_runs",
    "reported_of",
    "summarize_run",
    "with_groups",
]

SHOWN: Final = 5
"""Rows that a refusal names; the rest are counted."""


def head_of(manifest: Manifest) -> dict[str, str]:
    """Names of model and data for the head of a table, from a run's manifest; and what the model met of the data."""
    data, met = manifest.settings["data"], manifest.context.get("met")
    part = []
    if (fold := data.get("fold")) is not None:
        part.append(f"fold {fold[0]} of {fold[1]}, which training left out")
    if data["inputs"] < data["of"]:
        part.append(f"seeded random subset of {data['of']:,}")
    head = {
        "model": manifest.settings["model"]["name"],
        "data": data["name"] + (f" ({'; '.join(part)})" if part else ""),
    }
    if isinstance(met, Mapping):
        trained, held_out = met.get("trained"), met.get("held_out")
        head["met"] = f"the model was trained on {trained!s:.20} of these inputs and chosen by {held_out!s:.20}"
    return head


def certificates_of(path: Path | str) -> Iterator[Certificate]:
    """All certificates of a run folder, by position, one after the other."""
    with RunFolder.open(path) as folder:
        yield from folder.records.each_certificate()


def reported_of(path: Path | str) -> list[Reported]:
    """All rows of the attack logs that were imported into a run folder."""
    with RunFolder.open(path) as folder:
        return folder.records.reported()


def summarize_run(
    path: Path | str, radii: Sequence[float] | None = None, delta: float = DELTA, *, pinned: bool = False
) -> Summary:
    """The summary of a run folder, complete or not.

    Args:
        path: the run folder.
        radii: other radii than the declared ones.
        delta: probability with which each statement may fail.
        pinned: hold the model, the threat model and the data in the manifest against the records.

    Raises:
        StoreError: if it is no run folder, is damaged, or is empty; or is about something else than its manifest says.
    """
    with RunFolder.open(path) as folder:
        settings = folder.manifest.settings
        certificates = folder.records.certificate_columns()
        if not len(certificates):
            _refuse_others(folder)
            folder.refuse_empty()
        if pinned and (fault := _manifest_fault(settings, certificates)):
            raise StoreError(f"{path} is not what its manifest.json says: {fault}; certify check {path} says more")
        data = settings["data"]
        return tabulate(
            certificates,
            None if settings["attack"] is None else folder.records.finding_columns(),
            reported=folder.records.reported(),
            radii=radii,
            head=head_of(folder.manifest),
            expected=settings["inputs"],
            of=data["of"] if settings["inputs"] == data["inputs"] < data["of"] else None,
            delta=delta,
        )


def _manifest_fault(settings: Mapping[str, Any], certificates: CertificateColumns) -> str:
    """In what a manifest names another model, threat model or data than the records are about, in words."""
    asked, data, kinds = settings["model"]["digest"], settings["data"], certificates.kinds
    others = [one.model_digest for one in kinds if one.model_digest != asked]
    if others:
        return f"it names model {asked[:12]}, records are about {others[0][:12]}"
    if any(one.threat != threat_from(settings["threat"]) for one in kinds):
        return "its threat model is another one"
    if settings["shard"] == [0, 1] and settings["inputs"] != data["inputs"]:
        return f"a run that is no shard is about all of its {data['inputs']:,} inputs, not {settings['inputs']:,}"
    _, first = np.unique(certificates.index, return_index=True)  # whether others say the same, a table finds out
    if len(first) < data["inputs"] or str(data["digest"]).startswith("published:"):
        return ""
    index, label, digest = certificates.index, certificates.label, certificates.digest
    same = digest_in_order((int(index[row]), int(label[row]), digest[int(row)]) for row in first) == data["digest"]
    return "" if same else f"its data are {str(data['digest'])[:12]}, labels and inputs of the records give others"


def _refuse_others(folder: RunFolder) -> None:
    """Certificates that were made under other settings belong to no summary of these."""
    if others := folder.records.certificates_elsewhere():
        said = "stand under other settings: manifest.json was edited; restore it"
        raise StoreError(f"{others:,} certificates in {folder.path} {said}")


def read_run(path: Path | str, radii: Sequence[float] | None = None, delta: float = DELTA) -> Run:
    """A run folder with its summary, named by the folder; see :func:`summarize_run`."""
    return read_runs([path], radii, delta)[0]


def read_runs(
    paths: Sequence[Path | str], radii: Sequence[float] | None = None, delta: float = DELTA, *, pinned: bool = False
) -> list[Run]:
    """Several run folders, each named by its label, or by its path; see :func:`summarize_run`.

    Raises:
        BadInput: for none, or a folder that is named twice.
        StoreError: if one cannot be read or is empty.
    """
    manifests, places = [], [Path(path) for path in paths]
    for path in places:
        with RunFolder.open(path) as folder:
            manifests.append(folder.manifest)
    names = _names(paths, [manifest.context.get("label") for manifest in manifests])
    return [
        Run(name, summarize_run(path, radii, delta, pinned=pinned), manifest.settings, manifest.context, path)
        for name, path, manifest in zip(names, places, manifests, strict=True)
    ]


def with_groups(run: Run, columns: Sequence[str]) -> Run:
    """The run with a table by group for each column: ``label``, ``FILE.csv:COLUMN`` or ``FILE.npz:ARRAY``.

    Raises:
        BadInput: for a column that is not there, or does not name every input's group.
        MissingExtra: without fairlearn.
    """
    summary = run.summary
    for column in columns:
        classes = run.context.get("num_classes") if column == "label" else None
        summary = grouped(summary, *group_column(column, summary.sandwich, whole_size(run.settings["data"])), classes)
    return replace(run, summary=summary)


def _names(paths: Sequence[Path | str], labels: Sequence[Any]) -> list[str]:
    """The labels that no other run has, as name or as label; otherwise the paths."""
    names = _names_of_paths(paths)
    taken = Counter([*names, *(label for label in labels if isinstance(label, str))])
    return [
        label if isinstance(label, str) and label and taken[label] == 1 + (label == name) else name
        for name, label in zip(names, labels, strict=True)
    ]


def _names_of_paths(paths: Sequence[Path | str]) -> list[str]:
    """The last parts of each path, as many as it takes to tell all of them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    if not parts or len(set(parts)) < len(parts):
        raise BadInput("name at least one run folder, and each of them once")
    most = max(map(len, parts))
    return next(
        names
        for last in range(1, most + 1)
        if len(set(names := ["/".join(one[-last:]) for one in parts])) == len(parts)
    )


def envelope_of_runs(paths: Sequence[Path | str], radii: Sequence[float] | None = None) -> Envelope:
    """The best at each radius over several run folders on the same inputs.

    Args:
        paths: the run folders; each run is named by its own.
        radii: radii of the table; all that any of the runs declared if None.

    Raises:
        BadInput: if the runs cannot be compared.
        StoreError: if a folder cannot be read.
    """
    if radii is None:
        declared = [_settings(path)["threat"]["radii"] for path in paths]
        radii = sorted({radius for one in declared for radius in one if radius >= max(map(min, declared))})
    return envelope({run.name: run.summary for run in read_runs(paths, radii, DELTA / len(paths))}, 1 - DELTA)


def _settings(path: Path | str) -> Mapping[str, Any]:
    with RunFolder.open(path) as folder:
        return folder.manifest.settings


def merge(paths: Sequence[Path | str], out: Path | str) -> None:
    """Join the shards of one run into a run folder without shards.

    Raises:
        BadInput: if the folders are not shards of the same run, the difference is named; or if two of them hold
            different records about one input.
        StoreError: if a folder cannot be read or written.
    """
    if not paths:
        raise BadInput("nothing to merge: name the run folders of all shards")
    with ExitStack() as opened:
        shards = [opened.enter_context(RunFolder.open(path)) for path in paths]
        for shard in shards:
            _refuse_others(shard)
        whole = [_without_shard(shard.manifest) for shard in shards]
        for path, manifest in zip(paths, whole, strict=True):
            if difference := whole[0].difference(manifest):
                raise BadInput(f"{paths[0]} and {path} are not shards of one run ({difference})")
        # Opened to be written: a merge that was killed may have left a file without its tables.
        begun = (Path(out) / STORE).is_file()
        before = [opened.enter_context(RunFolder.create(out, whole[0]))] if begun else []
        _refuse_contrary([*before, *shards])
        with RunFolder.create(out, whole[0]) as merged:
            for shard in shards:
                for table in _tables(shard):
                    merged.records.add(table())


def _tables(folder: RunFolder) -> tuple[Callable[[], Sequence[Record]], ...]:
    return folder.records.certificates, folder.records.findings, folder.records.reported


def _refuse_contrary(folders: Sequence[RunFolder]) -> None:
    """Of two records that do not agree nobody knows which one is right, and the first would be kept unseen."""
    records = {str(one.path): (record for table in _tables(one) for record in table()) for one in folders}
    found = list(contrary(records))
    if found:
        rows = ", ".join(f"input {index} ({what})" for (index, what), *_ in found[:SHOWN])
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        (_, one, other), *_ = found
        raise BadInput(f"{one} and {other} do not agree about {rows}{more}: find out which is right, and leave one out")


def _without_shard(manifest: Manifest) -> Manifest:
    settings = dict(manifest.settings) | {"shard": [0, 1]}
    settings["inputs"] = settings["data"]["inputs"]
    return Manifest(settings, manifest.context)
