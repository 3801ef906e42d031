"""Signed bundles: what was signed comes back, and nothing else passes for it."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sqlite3
import struct
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from certify.certifiers.attack import attack
from certify.certifiers.smooth import smooth
from certify.cli import main
from certify.core.digests import data_digest
from certify.core.reported import Reported
from certify.errors import BadInput, NotVerified, StoreError
from certify.store.archive import PART, inflated, unambiguous
from certify.store.attestation import PAYLOAD_TYPE, PREDICATE_TYPE, check_statement
from certify.store.bundle import ATTESTATION, FILES, bundle_differences, unpacked, verify_bundle, write_bundle
from certify.store.dsse import keyid, opened, pae, private_key, public_key, sealed
from certify.store.run_folder import Manifest, RunFolder
from certify.study.read import read_run, summarize_run

SEED = 2**63 + 1  # no float64 holds it


def write_keys(folder: Path, name: str, seed: bytes) -> tuple[Path, Path]:
    """Key files of a fixed key, so that signatures can be compared between test runs."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours", bytes(range(32)))


MADE: dict[str, list] = {}
"""Certificates and findings of the run, made once."""


def certified(clf, threat) -> tuple[list, list]:
    x, y = [[0.8, 0.2], [0.55, 0.45], [0.5, 0.5], [0.1, 0.9]], [0, 0, 1, 1]
    if not MADE:
        MADE["certificates"] = smooth(clf, x, y, threat=threat, sigma=0.25, n=1000)
        MADE["findings"] = attack(clf, x, y, threat=threat, attack="pgd", seed=0)
    return MADE["certificates"], MADE["findings"]


@pytest.fixture
def run(tmp_path, halves, l2) -> Path:
    certificates, findings = certified(halves, l2)
    row = Reported(0, 0, 0, 1, "l2", 0.1, "log", "d" * 64)
    settings = {
        "model": {"name": "halves", "digest": halves.digest},
        "data": {
            "name": "four points",
            "digest": data_digest((one.index, one.label, one.input_digest) for one in certificates),
            "inputs": 4,
            "of": 4,
        },
        "threat": l2.to_dict(),
        "certifiers": [{"method": "smoothing", "sigma": 0.25}],
        "attack": {"attack": "pgd"},
        "seed": SEED,
        "inputs": 4,
        "shard": [0, 1],
    }
    with RunFolder.create(tmp_path / "run", Manifest(settings, {"device": "cpu"})) as folder:
        folder.records.add([*certificates, *findings, row])
    return tmp_path / "run"


@pytest.fixture
def bundle(tmp_path, run, keys) -> Path:
    write_bundle(read_run(run), tmp_path / "run.bundle", keys[0])
    return tmp_path / "run.bundle"


def rewritten(bundle: Path, **changed: bytes | None) -> Path:
    """The same archive with files replaced, added or, for None, left out; its own checksums are right again."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()} | {
            name.replace("__", "."): content for name, content in changed.items()
        }
    out = bundle.with_name("other.bundle")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return out


def member(bundle: Path, name: str) -> bytes:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(name)


def resigned(bundle: Path, key: Path, change) -> Path:
    """The bundle with another statement, properly signed."""
    statement = json.loads(base64.b64decode(json.loads(member(bundle, ATTESTATION))["payload"]))
    change(statement)
    envelope = sealed(PAYLOAD_TYPE, json.dumps(statement).encode(), private_key(key))
    return rewritten(bundle, attestation__json=json.dumps(envelope).encode())


# The envelope


def test_what_is_signed_is_the_known_answer_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("tybé", b"") == b"DSSEv1 5 tyb\xc3\xa9 0 "  # lengths are of bytes


def test_an_envelope_opens_with_its_key_in_either_alphabet_and_with_or_without_a_hint(keys):
    private, public = private_key(keys[0]), public_key(keys[1])
    payload = bytes(range(256))
    envelope = sealed("t", payload, private)
    assert "+" in envelope["payload"]
    url_safe = {name: envelope[name] for name in ("payloadType",)} | {
        "payload": envelope["payload"].replace("+", "-").replace("/", "_"),
        "signatures": [{"sig": "AAAA"}, {"sig": envelope["signatures"][0]["sig"].replace("+", "-").replace("/", "_")}],
    }
    assert opened(envelope, "t", public) == opened(url_safe, "t", public) == payload
    assert envelope["signatures"][0]["keyid"] == keyid(public)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda e: e.update(payload=base64.b64encode(b"other").decode()), NotVerified, "changed after it was signed"),
        (lambda e: e.update(payloadType="u"), BadInput, "of type 'u'"),
        (lambda e: e.update(payload="not base64!"), BadInput, "no DSSE envelope"),
        (lambda e: e.pop("payload"), BadInput, "no DSSE envelope"),
        (lambda e: e.update(signatures="none"), BadInput, "no DSSE envelope"),
        (lambda e: e.update(signatures=[]), BadInput, "no Ed25519 signature"),
        (lambda e: e.update(signatures=[{"sig": "c2hvcnQ="}]), BadInput, "no other algorithm is known"),
        (lambda e: e["signatures"][0].update(keyid="f" * 64, sig=e["other"]), NotVerified, "not by your key"),
    ],
)
def test_what_does_not_hold_is_refused_in_one_line(keys, change, error, words):
    envelope = sealed("t", b"payload", private_key(keys[0]))
    envelope["other"] = sealed("u", b"payload", private_key(keys[0]))["signatures"][0]["sig"]
    change(envelope)
    with pytest.raises(error, match=words) as problem:
        opened(envelope, "t", public_key(keys[1]))
    assert "\n" not in str(problem.value)


def test_a_signature_for_one_type_of_payload_is_none_for_another(keys):
    envelope = sealed("t", b"payload", private_key(keys[0])) | {"payloadType": "u"}
    with pytest.raises(NotVerified):
        opened(envelope, "u", public_key(keys[1]))


def test_keys_that_are_none_are_refused_in_one_line(tmp_path, keys):
    curve = generate_private_key(SECP256R1())
    files = {
        "ec.pem": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "ec.pub": curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "locked.pem": private_key(keys[0]).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
        "text.pem": b"no key at all",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    refused = [
        (private_key, "ec.pem", "no Ed25519 key but one of EC"),
        (public_key, "ec.pub", "no Ed25519 key but one of EC"),
        (private_key, "locked.pem", "password"),
        (private_key, "text.pem", "no private key in PEM"),
        (public_key, "text.pem", "no public key in PEM"),
        (private_key, keys[1].name, "no private key in PEM; make one: openssl"),
        (public_key, keys[0].name, "no public key in PEM; the signer makes it: openssl"),
        (public_key, "missing.pem", "cannot read the key"),
    ]
    for read, name, words in refused:
        with pytest.raises(BadInput, match=words) as problem:
            read(tmp_path / name)
        assert "\n" not in str(problem.value)


# The bundle


def test_the_same_records_and_key_make_the_same_bytes(tmp_path, run, keys, bundle):
    write_bundle(read_run(run), tmp_path / "again.bundle", keys[0])
    assert (tmp_path / "again.bundle").read_bytes() == bundle.read_bytes()


def test_a_verified_bundle_holds_the_run(run, keys, bundle):
    verified = verify_bundle(bundle, keys[1])
    with RunFolder.open(run) as folder:
        assert list(verified.certificates()) == folder.records.certificates()
        ours, theirs = list(verified.findings()), folder.records.findings()
        assert [one.to_dict() for one in ours] == [one.to_dict() for one in theirs]
        assert list(verified.reported()) == folder.records.reported()
        assert verified.manifest == folder.manifest
    assert member(bundle, "manifest.json") == (run / "manifest.json").read_bytes()
    assert bundle_differences(verified, run) == []


def test_the_statement_is_about_the_files_the_model_and_the_figures(run, keys, bundle):
    statement = verify_bundle(bundle, keys[1]).statement
    check_statement(statement)
    settings = json.loads((run / "manifest.json").read_text())["settings"]
    assert [subject["name"] for subject in statement["subject"]] == [*FILES, "halves"]
    assert statement["subject"][-1]["digest"] == {"certifyModel": settings["model"]["digest"]}
    predicate = statement["predicate"]
    assert predicate["settings"] == settings
    assert predicate["settings"]["seed"] == SEED  # doubles would have rounded it
    assert predicate["summary"] == json.loads(json.dumps(summarize_run(run).to_dict()))
    assert [predicate["files"][name]["records"] for name in FILES] == [1, 4, 4, 1]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_strangers_verify_it_with_openssl_alone(tmp_path, keys, bundle):
    envelope = json.loads(member(bundle, ATTESTATION))
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", "-in", "signed"]
    said = subprocess.run([*verify, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Verified Successfully" in said.stdout


def test_another_key_is_named(tmp_path, bundle, keys):
    _, other = write_keys(tmp_path, "other", bytes(32))
    with pytest.raises(NotVerified, match=f"signed by {keyid(public_key(keys[1]))[:12]}, not by your key") as problem:
        verify_bundle(bundle, other)
    assert problem.value.exit_code == 1


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(bundle, keys, name):
    content = member(bundle, name)
    for other in (content[:-2] + b"]\n", content + b"{}\n", content[: len(content) // 2]):
        with pytest.raises(NotVerified, match=f"{name} in the bundle is not what was signed"):
            verify_bundle(rewritten(bundle, **{name.replace(".", "__"): other}), keys[1])


def test_a_changed_statement_is_named(bundle, keys):
    envelope = json.loads(member(bundle, ATTESTATION))
    payload = base64.b64decode(envelope["payload"]).replace(b'"clean":1.0', b'"clean":0.9', 1)
    envelope["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(NotVerified, match="changed after it was signed"):
        verify_bundle(rewritten(bundle, attestation__json=json.dumps(envelope).encode()), keys[1])


def test_every_cut_and_every_changed_byte_is_refused(tmp_path, bundle, keys):
    content, damaged = bundle.read_bytes(), tmp_path / "damaged.bundle"
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged.write_bytes(content[:place])
        with pytest.raises(StoreError, match="cut, damaged or no bundle"):
            verify_bundle(damaged, keys[1])
    harmless = 0
    for place in range(0, len(content), max(1, len(content) // 300)):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            assert verify_bundle(damaged, keys[1]).statement  # a date or an attribute in the archive's own lists
            assert bundle_content(damaged) == bundle_content(bundle)
            harmless += 1
        except (BadInput, NotVerified, StoreError) as problem:
            assert "\n" not in str(problem)
    assert harmless < 60


def bundle_content(bundle: Path) -> dict[str, bytes]:
    return {name: member(bundle, name) for name in (*FILES, ATTESTATION)}


def test_archives_that_are_no_bundle_are_refused(tmp_path, bundle, keys):
    for changed, words in (
        ({"findings__jsonl": None}, "the archive holds"),
        ({"extra__txt": b"unsigned"}, "extra.txt"),
        ({"attestation__json": b"{"}, "another statement"),
        ({"attestation__json": b"[]"}, "no DSSE envelope"),
    ):
        with pytest.raises((StoreError, BadInput), match=words):
            verify_bundle(rewritten(bundle, **changed), keys[1])
    for missing in (tmp_path / "missing.bundle", tmp_path):
        with pytest.raises(StoreError, match="cannot read"):
            verify_bundle(missing, keys[1])


def test_a_member_that_stands_twice_is_refused(bundle, keys):
    other = rewritten(bundle)
    with zipfile.ZipFile(other, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("findings.jsonl", b"")
    with pytest.raises(StoreError, match="each once"):
        verify_bundle(other, keys[1])


def test_what_unpacks_to_more_than_was_signed_is_not_unpacked(bundle, keys, monkeypatch):
    bomb = rewritten(bundle, findings__jsonl=b"0" * 2**22)
    read = []

    def spied(content, info):
        read.append(info.filename)
        return inflated(content, info)

    monkeypatch.setattr("certify.store.bundle.inflated", spied)
    with pytest.raises(NotVerified, match="findings.jsonl"):
        verify_bundle(bomb, keys[1])
    assert "certificates.jsonl" in read
    assert "findings.jsonl" not in read


def hidden(bundle: Path, name: str, more: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """The archive with more data behind that of one file, whose headers go on saying its old size and checksum."""
    out = bundle.with_name("hidden.bundle")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        infos = {info.filename: info for info in old.infolist()}
        for info in infos.values():
            content = old.read(info) + more * (info.filename == name)
            new.writestr(info.filename, content, method if info.filename == name else zipfile.ZIP_DEFLATED)
        place = new.getinfo(name).header_offset
    content, info = bytearray(out.read_bytes()), infos[name]
    listed = content.rindex(name.encode(), 0, len(content)) - 46
    for header in (place + 14, listed + 16):
        struct.pack_into("<L", content, header, info.CRC)
        struct.pack_into("<L", content, header + 8, info.file_size)
    out.write_bytes(content)
    return out


@pytest.mark.parametrize("name", [ATTESTATION, "manifest.json", "certificates.jsonl"])
def test_data_beyond_the_stated_size_is_refused_and_not_unpacked(bundle, keys, name):
    bomb = hidden(bundle, name, bytes(64 * PART))
    assert len(bomb.read_bytes()) < PART
    tracemalloc.start()
    with pytest.raises(StoreError, match=f"{name} unpacks to more than"):
        verify_bundle(bomb, keys[1])
    assert tracemalloc.get_traced_memory()[1] < 8 * PART
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(bundle, keys, method):
    with pytest.raises(StoreError, match="packed by method"):
        verify_bundle(hidden(bundle, "certificates.jsonl", b"", method), keys[1])


def test_a_stored_file_is_read_to_its_end(bundle, keys):
    assert verify_bundle(hidden(bundle, "certificates.jsonl", b"", zipfile.ZIP_STORED), keys[1]).manifest


def test_an_envelope_of_many_parts_is_not_read(bundle, keys):
    """64 MB of empty objects are packed into a few kB, and take gigabytes as Python's."""
    with pytest.raises(StoreError, match="no envelope has as many"):
        verify_bundle(rewritten(bundle, attestation__json=b"[" + b"{}," * 2000 + b"{}]"), keys[1])


def test_what_other_programs_may_read_otherwise_is_refused(tmp_path, bundle, keys):
    content, other = bundle.read_bytes(), tmp_path / "other.bundle"
    with zipfile.ZipFile(bundle) as archive:
        begins = archive.start_dir
    listed = content[begins:]
    gap = content[:begins] + b"PK\3\4 another" + listed[:-6] + struct.pack("<LH", begins + 12, 0)
    for name, changed in {
        "prefix": b"#!/bin/sh\n" + content,
        "suffix": content + b"PK",
        "zeros": content + bytes(22),
        "comment": content[:-2] + b"\2\0hi",
        "gap": gap,
        "local name": content.replace(b"manifest.json", b"Manifest.json", 1),
    }.items():
        other.write_bytes(changed)
        with pytest.raises(StoreError, match="damaged or no bundle") as problem:
            verify_bundle(other, keys[1])
        assert "\n" not in str(problem.value), name


def test_a_name_that_stands_twice_is_refused(bundle, keys):
    envelope = member(bundle, ATTESTATION)
    for twice in (
        b'{"payload": "e30=", ' + envelope.strip()[1:],
        envelope.strip()[:-1] + b', "payload": "e30="}',
        envelope.replace(b'{\n      "keyid"', b'{"sig": "AA==", "keyid"', 1),
    ):
        assert twice != envelope
        with pytest.raises(StoreError, match="stands twice in one object"):
            verify_bundle(rewritten(bundle, attestation__json=twice), keys[1])
    with pytest.raises(ValueError, match="'a' stands twice"):
        unambiguous(b'[{"b": {"a": 1, "a": 1}}]')
    with pytest.raises(UnicodeDecodeError):
        unambiguous('{"a": 1}'.encode("utf-16"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(predicateType="urn:certify:certificates:v2"), f"not '{PREDICATE_TYPE}'"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "Statement/v1"),
        (lambda s: s.update(subject=[]), "At least one subject"),
        (lambda s: s["subject"].pop(0), "manifest.json"),
        (lambda s: s.update(predicate={}), "Predicate"),
        (lambda s: s["predicate"]["settings"].update(seed=0), "not those of its manifest"),
    ],
)
def test_statements_of_another_kind_are_refused_though_signed(bundle, keys, change, words):
    with pytest.raises(StoreError, match=words):
        verify_bundle(resigned(bundle, keys[0], change), keys[1])


def test_a_model_named_like_a_file_does_not_stand_for_it(tmp_path, run, keys):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["settings"]["model"]["name"] = "certificates.jsonl"
    with RunFolder.open(run) as old:
        records = [*old.records.certificates(), *old.records.findings()]
    named = Manifest(manifest["settings"], manifest["context"])
    with RunFolder.create(tmp_path / "named", named) as folder:
        folder.records.add(records)
    write_bundle(read_run(tmp_path / "named"), tmp_path / "named.bundle", keys[0])
    assert len(list(verify_bundle(tmp_path / "named.bundle", keys[1]).certificates())) == 4


# The bundle beside a run


def test_a_bundle_unpacks_into_the_run_it_was(tmp_path, run, keys, bundle):
    verified = verify_bundle(bundle, keys[1])
    folder = unpacked(verified, tmp_path / "new" / "run")
    assert summarize_run(folder).to_dict() == summarize_run(run).to_dict()
    assert (folder / "manifest.json").read_bytes() == (run / "manifest.json").read_bytes()
    write_bundle(read_run(folder), tmp_path / "again.bundle", keys[0])
    assert (tmp_path / "again.bundle").read_bytes() == bundle.read_bytes()
    with pytest.raises(BadInput, match="is there already"):
        unpacked(verified, folder)


def edit(run: Path, *commands: str) -> None:
    with sqlite3.connect(run / "run.sqlite") as db:
        for command in commands:
            db.execute(command)
    db.close()


def test_differences_are_named_input_by_input(run, keys, bundle):
    verified = verify_bundle(bundle, keys[1])
    edit(
        run,
        "UPDATE certificates SET record=json_set(record, '$.seconds', 99, '$.evidence.seed', 7) WHERE position=1",
        "UPDATE certificates SET record=json_set(record, '$.label', 1) WHERE position=3",
        "DELETE FROM findings WHERE position=0",
        "UPDATE certificates SET position=9, record=json_set(record, '$.index', 9) WHERE position=2",
        "DELETE FROM reported",
    )
    lines = bundle_differences(verified, run)
    assert lines == [
        "input 0: pgd finding is missing from the run",
        "input 0: row of the log log (dddddddddddd) at 0.1 is missing from the run",
        "input 1: smoothing certificate differs in evidence.seed, seconds",
        "input 2: smoothing certificate is missing from the run",
        "input 9: smoothing certificate was added to the run",
    ]


def test_a_changed_label_is_a_difference(run, keys, bundle):
    edit(run, "UPDATE certificates SET record=json_set(record, '$.label', 0) WHERE position=3")
    assert bundle_differences(verify_bundle(bundle, keys[1]), run) == [
        "input 3: smoothing certificate differs in label"
    ]


def test_a_table_in_which_a_row_can_stand_twice_is_no_store(run, keys, bundle):
    edit(
        run,
        "CREATE TABLE copies AS SELECT * FROM certificates",
        "DROP TABLE certificates",
        "ALTER TABLE copies RENAME TO certificates",
        "INSERT INTO certificates SELECT * FROM certificates WHERE position=1",
    )
    with pytest.raises(StoreError, match="its table 'certificates' is another one"):
        bundle_differences(verify_bundle(bundle, keys[1]), run)


def test_rows_signed_twice_make_no_run(tmp_path, bundle, keys):
    """A signer may sign anything; the store would drop the second row unseen."""
    from hashlib import sha256

    lines = member(bundle, "certificates.jsonl").splitlines(keepends=True)
    content = b"".join([*lines, lines[0]])

    def double(statement):
        statement["subject"][1]["digest"]["sha256"] = sha256(content).hexdigest()
        statement["predicate"]["files"]["certificates.jsonl"]["bytes"] = len(content)

    signed = resigned(bundle, keys[0], double)
    signed.replace(bundle)
    verified = verify_bundle(rewritten(bundle, certificates__jsonl=content), keys[1])
    with pytest.raises(StoreError, match="input 0: smoothing certificate stands twice in the bundle"):
        unpacked(verified, tmp_path / "twice")


def test_signed_lines_that_are_no_records_are_named(tmp_path, bundle, keys):
    from hashlib import sha256

    content = member(bundle, "certificates.jsonl").replace(b'"radius_hex":"0x1', b'"radius_hex":"0x2', 1)

    def other(statement):
        statement["subject"][1]["digest"]["sha256"] = sha256(content).hexdigest()

    resigned(bundle, keys[0], other).replace(bundle)
    verified = verify_bundle(rewritten(bundle, certificates__jsonl=content), keys[1])
    with pytest.raises(StoreError, match=r"certificates.jsonl of the bundle, line \d, is no record"):
        list(verified.certificates())


def test_another_manifest_is_a_difference(tmp_path, run, keys, bundle):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["context"]["device"] = "cuda"
    (run / "manifest.json").write_text(json.dumps(manifest))
    [line] = bundle_differences(verify_bundle(bundle, keys[1]), run)
    assert line == 'manifest.json was signed otherwise: context.device is "cpu" there, "cuda" now'
    manifest["settings"]["seed"] = 0
    (run / "manifest.json").write_text(json.dumps(manifest))
    lines = bundle_differences(verify_bundle(bundle, keys[1]), run)
    assert f"manifest.json was signed otherwise: settings.seed is {SEED} there, 0 now" in lines
    assert "4 rows of certificates in the run were stored under other settings and not signed" in lines
    assert "input 0: smoothing certificate is missing from the run" in lines  # records belong to their settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(extra={"statement": "trust me"}), 'extra is absent there, {"statement": "trust me"} now'),
        (lambda m: m["context"].update(note={}), "context.note is absent there, {} now"),
        (lambda m: m["context"].update({"a.b": 1}), 'context."a.b" is absent there, 1 now'),
        (lambda m: m["settings"].update(seed=float(SEED)), f"settings.seed is {SEED} there, {float(SEED)} now"),
        (lambda m: m["settings"]["certifiers"][0].update(n=1), "settings.certifiers.0.n is absent there, 1 now"),
        (lambda m: m.update(context=m.pop("context"), settings=m.pop("settings")), "it says the same in other bytes"),
    ],
)
def test_no_byte_of_the_manifest_may_differ(run, keys, bundle, change, words):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    lines = bundle_differences(verify_bundle(bundle, keys[1]), run)
    assert lines[0].startswith(f"manifest.json was signed otherwise: {words}")


def test_rows_under_other_settings_are_a_difference(run, keys, bundle):
    edit(run, "INSERT INTO certificates SELECT position, method, 'other', verdict, record FROM certificates")
    assert bundle_differences(verify_bundle(bundle, keys[1]), run) == [
        "4 rows of certificates in the run were stored under other settings and not signed"
    ]


# The command


def test_the_command_signs_and_says_with_which_key(tmp_path, run, keys, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "run", "--bundle", "b", "--key", "ours.pem"]) == 0
    assert keyid(public_key(keys[1])) in capsys.readouterr().err
    assert bundle_differences(verify_bundle(tmp_path / "b", keys[1]), run) == []
    for arguments, words in (
        (["--bundle", "b"], "openssl genpkey -algorithm ed25519"),
        (["--key", "ours.pem"], "name its file: --bundle"),
        (["--bundle", "b", "--key", "none.pem"], "there is no file none.pem"),
        (["--bundle", "b", "--key", "ours.pub"], "no private key"),
        (["--bundle", "ours.pem", "--key", "ours.pem"], "choose another"),
        (["--bundle", "b", "--key", "ours.pem", "--out", "c"], "leave --out"),
        (["--bundle", "nowhere/b", "--key", "ours.pem"], "there is no folder nowhere"),
    ):
        assert main(["export", "run", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert verify_bundle(tmp_path / "b", keys[1]).manifest  # what was there before is still whole
    assert private_key(keys[0])


def test_an_incomplete_run_is_signed_as_such(tmp_path, run, keys, capsys):
    edit(run, "DELETE FROM certificates WHERE position=3", "DELETE FROM findings WHERE position=3")
    assert main(["export", str(run), "--bundle", str(tmp_path / "b"), "--key", str(keys[0])]) == 3
    assert verify_bundle(tmp_path / "b", keys[1]).statement["predicate"]["summary"]["complete"] is False


def test_reading_is_of_what_was_verified(bundle, keys):
    verified = verify_bundle(bundle, keys[1])
    bundle.write_bytes(b"replaced meanwhile")
    assert len(list(verified.certificates())) == 4
    assert zipfile.is_zipfile(io.BytesIO(verified.content))
