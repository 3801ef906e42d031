"""The in-toto statement that a bundle signs: what it is about, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from certify.core.run import Run
from certify.errors import needs

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "check_statement", "digests_of", "statement_of"]

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:certify:certificates:v1"
"""What the predicate is; another form of it gets another version."""

MODEL_DIGEST: Final = "certifyModel"
"""Names the digest of the model: over structure and weights, in the words of the manifest, and not that of a file."""


def statement_of(run: Run, written: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The in-toto statement: subjects by their digests, and a predicate with all that a reader needs to place them.

    Plain JSON and not the library's message, whose numbers are all doubles and would round a 64-bit seed.
    """
    subjects = [{"name": name, "digest": {"sha256": one["sha256"]}} for name, one in written.items()]
    model = run.settings["model"]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [*subjects, {"name": model["name"], "digest": {MODEL_DIGEST: model["digest"]}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "certify": version("certify"),
            "threat": run.summary.threat.to_dict(),
            "settings": run.settings,
            "summary": run.summary.to_dict(),
            "files": {name: {key: one[key] for key in ("bytes", "records")} for name, one in written.items()},
        },
    }


def digests_of(statement: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 digests of the files that a statement is about, by name; a model of the same name has no such one."""
    return {one["name"]: one["digest"]["sha256"] for one in statement["subject"] if "sha256" in one["digest"]}


def check_statement(statement: Mapping[str, Any]) -> None:
    """Refuse what is no statement about certificates, by the rules of the in-toto library.

    Raises:
        KeyError, TypeError, ValueError: if something is missing or of another kind.
        MissingExtra: without in-toto-attestation.
    """
    with needs("in-toto-attestation", "sign", "a signed bundle"):
        from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
        from in_toto_attestation.v1.statement import Statement
    subjects = [ResourceDescriptor(name=one["name"], digest=one["digest"]).pb for one in statement["subject"]]
    Statement(subjects, statement["predicateType"], statement["predicate"]).validate()
    for field, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement[field] != expected:
            raise ValueError(f"{field} is {statement[field]!r}, not {expected!r}")
