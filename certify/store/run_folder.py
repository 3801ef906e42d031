"""A run folder: ``manifest.json`` says what was asked, ``run.sqlite`` holds what was found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from certify.bounded.files import content_of, text_room
from certify.bounded.texts import strictly_from_json
from certify.core.properties.base import property_from
from certify.core.schema import Count, PositiveInt
from certify.core.threats.base import threat_from
from certify.core.whole import write_whole
from certify.errors import BadInput, StoreError
from certify.store.records import Records

__all__ = ["EVIDENCE", "MANIFEST", "STORE", "Manifest", "RunFolder", "abridged", "flat", "read_manifest"]

MANIFEST, STORE = "manifest.json", "run.sqlite"

EVIDENCE: Final = (MANIFEST, STORE, *(f"{STORE}-{log}" for log in ("wal", "shm", "journal")))
"""Files of a run folder that are the run; whatever else is in it was made from them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run was asked to do.

    Args:
        settings: everything results depend on (threat model, certifiers, attack, digests, seed): a folder made with
            other settings is refused, not mixed.
        context: what is worth knowing and may differ at a resume (versions, device, command).

    >>> Manifest({"seed": 0}).digest == Manifest({"seed": 0}, {"python": "3.11"}).digest
    True
    """

    settings: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def difference(self, other: Manifest) -> str:
        """The settings in which two manifests differ, in words; empty if they agree."""
        ours, theirs = flat(self.settings), flat(other.settings)
        differing = (name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        # The seeds last: where they are derived, they differ because something else does.
        names = sorted(differing, key=lambda name: (name.split(".")[-1] == "seed", name))
        return "; ".join(
            f"{name} is {abridged(ours.get(name))} there, {abridged(theirs.get(name))} now" for name in names
        )


def abridged(text: str | None) -> str | None:
    """A setting as a message shows it: long ones, such as scales of images, by their digest."""
    if text is None or len(text) <= 200:
        return text
    return f"{text[:20]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings under dotted names, each value as JSON.

    >>> flat({"threat": {"norm": "l2"}, "certifiers": [{"sigma": 0.25}]})
    {'threat.norm': '"l2"', 'certifiers.0.sigma': '0.25'}
    """
    named: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            value = {str(place): part for place, part in enumerate(value)}
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: json.dumps(value)}
    return named


@dataclass(frozen=True, slots=True)
class RunFolder:
    """An open run folder; a context manager.

    >>> import tempfile
    >>> with RunFolder.create(Path(tempfile.mkdtemp()) / "run", Manifest({"seed": 0})) as run:
    ...     run.records.certificates()
    []
    """

    path: Path
    manifest: Manifest
    records: Records

    @classmethod
    def create(cls, path: Path | str, manifest: Manifest) -> RunFolder:
        """Make the folder, or open it again if it was made with the same settings.

        Raises:
            StoreError: if it was made with other settings (the difference is named), holds records without a manifest,
                or cannot be written.
        """
        path = Path(path)
        file = path / MANIFEST
        if not _exists(file):
            _refuse_orphans(path)
            _write_manifest(file, manifest)
        existing = _read_manifest(file)  # perhaps of another process that began at the same time
        if difference := existing.difference(manifest):
            raise StoreError(f"{path} was made with other settings ({difference}); use another --out")
        return cls(path, existing, Records(path / STORE, existing.digest))

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open an existing run folder to read it.

        Raises:
            StoreError: if it is no run folder, is damaged, or has a manifest that lacks what readers need.
        """
        path = Path(path)
        if not _exists(path / MANIFEST) or not _exists(path / STORE):
            raise StoreError(f"{path} is not a run folder (no {MANIFEST} and {STORE} in it); make one: certify run")
        manifest = read_manifest(path / MANIFEST)
        return cls(path, manifest, Records(path / STORE, manifest.digest, read_only=True))

    def refuse_empty(self) -> NoReturn:
        """Say of a folder without any certificate what to do about it.

        Raises:
            StoreError: in every case.
        """
        number, of = self.manifest.settings["shard"]
        if not self.manifest.settings["inputs"]:
            raise StoreError(
                f"{self.path} is shard {number}/{of}, which is empty: certify merge joins all {of} of them"
            )
        raise StoreError(f"{self.path} holds no certificate yet; finish the run with the same certify run command")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.records.close()


def _refuse_orphans(path: Path) -> None:
    """Without the manifest nobody can tell how records were made: no other command may take them for its own."""
    if not _exists(path / STORE):
        return
    with Records(path / STORE, "", read_only=True) as records:
        if any(True for table in ("certificates", "findings", "reported") for _ in records.rows(table)):
            raise StoreError(f"{path} holds records, and their {MANIFEST} is lost: restore it, or use another --out")


def _exists(file: Path) -> bool:
    """Whether it is a file, of the kind that ends."""
    try:
        if file.exists() and not file.is_file():
            raise StoreError(f"{file} is no file; a run folder holds {MANIFEST} and {STORE}")
        return file.exists()
    except OSError as problem:
        raise StoreError(f"cannot look into {file.parent} ({problem.strerror}); choose another --out") from problem


def read_manifest(file: Path) -> Manifest:
    """The manifest of a run that others made, with all that readers need.

    Raises:
        StoreError: if it is damaged, or lacks something.
    """
    manifest = _read_manifest(file)
    _check_settings(file, manifest.settings)
    return manifest


def _read_manifest(file: Path) -> Manifest:
    try:
        fields = strictly_from_json(content_of(file, text_room()))
        settings, context = fields["settings"], fields["context"]
        if not (isinstance(settings, dict) and isinstance(context, dict)):
            raise TypeError("settings and context are tables of names and values")
        return Manifest(settings, context)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{file} is damaged or no manifest ({problem}); restore it or use another folder") from problem


class _Model(msgspec.Struct):
    name: str
    digest: str


class _Data(msgspec.Struct):
    name: str
    digest: str
    inputs: PositiveInt
    of: PositiveInt
    fold: tuple[Count, PositiveInt] | None = None


class _Threat(msgspec.Struct):
    radii: list[float]
    units: str


class _Certifier(msgspec.Struct):
    method: str


class _Attack(msgspec.Struct):
    attack: str


class _Settings(msgspec.Struct):
    """What everything that reads a run takes from its settings; there may be more."""

    model: _Model
    data: _Data
    threat: _Threat
    certifiers: list[_Certifier]
    attack: _Attack | None
    shard: tuple[int, int]
    inputs: Count


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    try:
        msgspec.convert(settings, _Settings)
        threat_from(settings["threat"])
        property_from(settings.get("property"))
    except (BadInput, LookupError, TypeError, ValueError) as problem:
        raise StoreError(f"{file} lacks what a run needs ({problem}); restore it, or run again") from problem


def _write_manifest(file: Path, manifest: Manifest) -> None:
    """Write it, unless another process just did."""
    text = json.dumps({"settings": manifest.settings, "context": manifest.context}, indent=2)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_whole(file, text + "\n", new=True)
    except OSError as problem:
        raise StoreError(f"cannot write to {file.parent} ({problem.strerror}); choose another --out") from problem
