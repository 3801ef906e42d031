"""Dead Simple Signing Envelopes with Ed25519: the signature covers the payload and what kind of payload it is.

The specification is protocol.md and envelope.md, version 1.0, of github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certify.bounded.files import content_of
from certify.errors import BadInput, NotVerified, needs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["keyid", "opened", "pae", "private_key", "public_key", "sealed"]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed, where lengths keep type and payload apart (DSSE 1.0, Pre-Authentication Encoding).

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key that signs, from a PEM file without a password.

    Raises:
        BadInput: for a file that holds no such key.
        MissingExtra: without cryptography.
    """
    _present()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    make = "make one: openssl genpkey -algorithm ed25519 -out PRIVATE.pem"
    key: Ed25519PrivateKey = _key(path, lambda pem: load_pem_private_key(pem, None), Ed25519PrivateKey, "private", make)
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 key that verifies, from a PEM file.

    Raises:
        BadInput: for a file that holds no such key.
        MissingExtra: without cryptography.
    """
    _present()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    make = "the signer makes it: openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem"
    key: Ed25519PublicKey = _key(path, load_pem_public_key, Ed25519PublicKey, "public", make)
    return key


def keyid(key: Ed25519PublicKey) -> str:
    """SHA-256 of the key as DER (SubjectPublicKeyInfo): what ``openssl pkey -pubin -outform DER | sha256sum`` says."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sealed(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    """The envelope of a payload, ready for JSON. Ed25519 draws nothing at random: same payload, same envelope."""
    signature = key.sign(pae(payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid(key.public_key()), "sig": base64.b64encode(signature).decode("ascii")}],
    }


def opened(envelope: Mapping[str, Any], payload_type: str, key: Ed25519PublicKey) -> bytes:
    """The payload of an envelope that this key signed; nothing of it is read before the signature holds.

    A key id is a hint that anybody can write: it chooses words here, and decides nothing.

    Raises:
        NotVerified: if no signature by this key holds.
        BadInput: for what is no envelope, or holds another kind of payload or signature.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        kind, payload = str(envelope["payloadType"]), _bytes(envelope["payload"])
        signatures = [(one.get("keyid", ""), _bytes(one["sig"])) for one in envelope["signatures"]]
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise BadInput(f"no DSSE envelope ({type(problem).__name__} {problem}); was it edited?") from problem
    if kind != payload_type:
        raise BadInput(f"the payload is of type {kind!r}, not {payload_type!r}; this envelope is about something else")
    for _, signature in signatures:
        try:
            key.verify(signature, pae(kind, payload))
        except InvalidSignature:
            continue
        return payload
    if not any(len(signature) == 64 for _, signature in signatures):
        raise BadInput("it has no Ed25519 signature, and no other algorithm is known here; ask for one")
    ours = keyid(key)
    if all(named != ours for named, _ in signatures):
        others = ", ".join(str(named)[:12] or "an unnamed key" for named, _ in signatures)
        raise NotVerified(f"signed by {others}, not by your key {ours[:12]}; ask the signer for the public key")
    raise NotVerified(f"the signature by key {ours[:12]} does not hold: the statement was changed after it was signed")


def _bytes(text: str) -> bytes:
    """Base64 of either alphabet, as the specification demands, and nothing besides."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/").encode("ascii"), validate=True)


def _present() -> None:
    with needs("cryptography", "sign", "a signed bundle"):
        import cryptography  # noqa: F401


def _key(path: Path, load: Callable[[bytes], Any], kind: type, which: str, make: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = load(content_of(path, 2**20))
    except OSError as problem:
        raise BadInput(f"cannot read the key {path} ({problem.strerror}); {make}") from problem
    except TypeError as problem:
        raise BadInput(
            f"{path} is protected by a password; which is not asked for here; give a key without"
        ) from problem
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise BadInput(f"{path} holds no {which} key in PEM; {make}") from problem
    if not isinstance(key, kind):
        raise BadInput(f"{path} holds no Ed25519 key but one of {type(key).__name__.strip('_')}; {make}")
    return key
