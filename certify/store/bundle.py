"""A run in one signed file: an in-toto statement over its manifest and records, and these beside it.

The file is a zip archive of :data:`ATTESTATION` (a DSSE envelope with an in-toto Statement v1) and the files of
:data:`FILES`, whose SHA-256 digests are the subjects of the statement. docs/bundles.md says how to check one with
openssl and sha256sum alone.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from certify.bounded.files import content_of
from certify.bounded.texts import strictly_from_json
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.reported import Reported
from certify.core.run import Run
from certify.core.whole import writing
from certify.errors import BadInput, NotVerified, StoreError, one_line
from certify.store.archive import add_file, digest_of, entries_of, inflated, line_of, lines_of, unambiguous
from certify.store.attestation import PAYLOAD_TYPE, check_statement, digests_of, statement_of
from certify.store.difference import Place, Table, differing, otherwise
from certify.store.dsse import keyid, opened, private_key, public_key, sealed
from certify.store.run_folder import Manifest, RunFolder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["ATTESTATION", "FILES", "Bundle", "bundle_differences", "unpacked", "verify_bundle", "write_bundle"]

R = TypeVar("R", Certificate, Finding, Reported)

ATTESTATION: Final = "attestation.json"
MANIFEST: Final = "manifest.json"
CERTIFICATES, FINDINGS, REPORTED = TABLES = ("certificates.jsonl", "findings.jsonl", "reported.jsonl")
FILES: Final = (MANIFEST, *TABLES)
"""What is signed, in the order of the archive."""

LARGEST_ATTESTATION: Final = 2**26
"""Bytes; what is not signed yet may be anything, and is not unpacked without a limit."""

MOST_PARTS: Final = 1000
"""Objects, lists and commas in an envelope: one of as many parts as its size allows would take many times its memory.
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose signature and digests hold.

    Args:
        statement: the signed in-toto statement.
        manifest: what the run was asked to do.
        key: SHA-256 of the public key that signed.
        content: the archive, as it was verified: whatever happens to the file, this is what is read.
    """

    statement: Mapping[str, Any]
    manifest: Manifest
    key: str
    content: bytes = field(repr=False)

    @property
    def digests(self) -> Mapping[str, str]:
        """The signed SHA-256 digests of :data:`FILES`."""
        return digests_of(self.statement)

    def certificates(self) -> Iterator[Certificate]:
        """All certificates, in the order of the run."""
        return self._records(CERTIFICATES, Certificate.from_dict)

    def findings(self) -> Iterator[Finding]:
        """All findings, in the order of the run."""
        return self._records(FINDINGS, Finding.from_dict)

    def reported(self) -> Iterator[Reported]:
        """All rows of imported attack logs, in the order of the run."""
        return self._records(REPORTED, Reported.from_dict)

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of one of :data:`FILES`, with their ends."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive, archive.open(name) as file:
            yield from file

    def _records(self, name: str, of: Callable[[dict[str, Any]], R]) -> Iterator[R]:
        for number, line in enumerate(self.lines(name), 1):
            try:
                yield of(strictly_from_json(line))
            except (BadInput, ValueError) as problem:
                raise StoreError(f"{name} of the bundle, line {number}, is no record ({problem})") from problem


def write_bundle(run: Run, out: Path, key: Path) -> str:
    """Sign a run folder with a private key: manifest, records, the model's digest, and the figures of its summary.

    The same records, key and versions make the same bytes: nothing is dated, and Ed25519 draws nothing at random.

    Args:
        run: as ``study/read.py: read_run`` returns it.
        out: the file to write.
        key: a PEM file with an Ed25519 private key.

    Returns:
        SHA-256 of the public key.

    Raises:
        BadInput: for a run without a folder, a key that cannot sign, or a file that cannot be written.
        StoreError: for a damaged run folder.
        MissingExtra: without cryptography or in-toto-attestation.
    """
    signer = private_key(key)
    if run.path is None:
        raise BadInput("this study kept its records in memory; give it a folder to bundle: out=RUN")
    try:
        with RunFolder.open(run.path) as folder, writing(out) as file, zipfile.ZipFile(file, "w") as archive:
            written = {MANIFEST: add_file(archive, MANIFEST, [(run.path / MANIFEST).read_bytes()])}
            for name, table in zip(TABLES, _tables(folder), strict=True):
                written[name] = add_file(archive, name, lines_of(table()))
            statement = statement_of(run, written)
            check_statement(statement)
            envelope = sealed(PAYLOAD_TYPE, line_of(statement), signer)
            add_file(archive, ATTESTATION, [json.dumps(envelope, indent=2).encode() + b"\n"])
    except OSError as problem:
        raise BadInput(f"cannot write {out} ({problem.strerror}); choose another file") from problem
    return keyid(signer.public_key())


def verify_bundle(bundle: Path, key: Path) -> Bundle:
    """Read a bundle, and believe it only if this key signed every byte of its manifest and records.

    That says who vouches for the records, not that their claims are true: for this, derive them again.

    Args:
        bundle: a file that :func:`write_bundle` wrote.
        key: a PEM file with the Ed25519 public key of whom you trust.

    Raises:
        NotVerified: for another key, or a statement, manifest or record that is not what was signed.
        BadInput: for a key that is none, or an envelope with another kind of payload or signature.
        StoreError: for a file that is no bundle, or cut, or of a newer version.
        MissingExtra: without cryptography or in-toto-attestation.
    """
    trusted = public_key(key)
    try:
        content = content_of(bundle)
        statement, manifest = _verified(content, trusted)
    except OSError as problem:
        raise StoreError(f"cannot read {bundle} ({problem.strerror}); name what certify export wrote") from problem
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError) as problem:
        raise StoreError(f"{bundle} is cut, damaged or no bundle ({problem}); get it again") from problem
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"{bundle} holds another statement than certify makes ({one_line(problem)})") from problem
    return Bundle(statement, manifest, keyid(trusted), content)


def unpacked(bundle: Bundle, folder: Path) -> Path:
    """Make a run folder out of a bundle, to read, summarise and check like any other; return it.

    Raises:
        BadInput: for a folder that is there already.
        StoreError: if what was signed are no records, or one of them stands twice.
    """
    if folder.exists():
        raise BadInput(f"{folder} is there already; unpack the bundle into a new folder")
    try:
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_bytes(b"".join(bundle.lines(MANIFEST)))
    except OSError as problem:
        raise BadInput(f"cannot write {folder} ({problem.strerror}); choose another folder") from problem
    with RunFolder.create(folder, bundle.manifest) as run:
        for records in (bundle.certificates(), bundle.findings(), bundle.reported()):
            run.records.add(records)
    if differences := bundle_differences(bundle, folder):
        raise StoreError(f"what was signed makes no run: {differences[0]}")
    return folder


def bundle_differences(bundle: Bundle, run: Path) -> list[str]:
    """What a run folder says otherwise than what was signed, one line each: the manifest, then input by input.

    The manifest is compared byte for byte. Rows that were stored under other settings belong to no run and were not
    signed, so they are differences too.

    Raises:
        StoreError: if the folder is no run, or holds damaged records.
    """
    with RunFolder.open(run) as folder:
        lines = [
            f"{MANIFEST} was signed otherwise: {words}"
            for words in otherwise(b"".join(bundle.lines(MANIFEST)), (run / MANIFEST).read_bytes())
        ]
        signed: tuple[Table, Table, Table] = (bundle.certificates, bundle.findings, bundle.reported)
        places: list[tuple[Place, str]] = []
        for name, ours, theirs in zip(TABLES, signed, _tables(folder), strict=True):
            table = Path(name).stem
            if foreign := sum(row["settings"] != folder.manifest.digest for row in folder.records.rows(table)):
                lines.append(f"{foreign:,} rows of {table} in the run were stored under other settings and not signed")
            if digest_of(lines_of(theirs())) != bundle.digests[name]:  # one pass shows tables that are all the same
                places += differing(ours, theirs)
    return lines + [f"input {index}: {what} {words}" for (index, what), words in sorted(places)]


def _tables(folder: RunFolder) -> tuple[Table, Table, Table]:
    """The records of a run, for the files :data:`TABLES`."""
    return folder.records.certificates, folder.records.findings, folder.records.reported


def _verified(content: bytes, trusted: Ed25519PublicKey) -> tuple[dict[str, Any], Manifest]:
    """The statement and the manifest of an archive in which everything is what was signed."""
    entries = entries_of(content)
    infos = {info.filename: info for info in entries}
    if sorted(info.filename for info in entries) != sorted((ATTESTATION, *FILES)):
        held = ", ".join(sorted(infos)) or "nothing"
        raise StoreError(f"the archive holds {held}; a bundle holds {', '.join((ATTESTATION, *FILES))}, each once")
    if infos[ATTESTATION].file_size > LARGEST_ATTESTATION:
        raise StoreError(f"{ATTESTATION} claims {infos[ATTESTATION].file_size:,} bytes; no statement is that long")
    envelope = b"".join(inflated(content, infos[ATTESTATION]))
    if sum(map(envelope.count, (b"{", b"[", b","))) > MOST_PARTS:
        raise StoreError(f"{ATTESTATION} has more than {MOST_PARTS:,} parts; no envelope has as many")
    statement = unambiguous(opened(unambiguous(envelope), PAYLOAD_TYPE, trusted))
    check_statement(statement)
    digests = digests_of(statement)
    for name in FILES:
        # The size first: what nobody signed may unpack to anything.
        held = infos[name].file_size == statement["predicate"]["files"][name]["bytes"]
        if not (held and digest_of(inflated(content, infos[name])) == digests[name]):
            raise NotVerified(f"{name} in the bundle is not what was signed: it was changed afterwards")
    fields = unambiguous(b"".join(inflated(content, infos[MANIFEST])))
    if fields["settings"] != statement["predicate"]["settings"]:
        raise ValueError("its settings are not those of its manifest")
    return statement, Manifest(fields["settings"], fields["context"])
