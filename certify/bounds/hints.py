"""Hints: the free planes that a search chose, from which its bounds can be derived again without the search."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from certify.bounded.memory import check_room
from certify.bounded.texts import inflated
from certify.core.values import whole
from certify.errors import BadInput

__all__ = ["LEVELS", "LISTED", "Hint", "packed", "unpacked"]

LEVELS = 255
"""Shares in [0, 1] are stored as integers from 0 to this."""

SLOPES = "the slopes of a certificate"
"""What messages call the hints."""

LISTED = 32
"""The most bytes of memory that a character of JSON takes once it is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Hint:
    """Planes for some rows of one sample.

    Args:
        name: the result whose entries the rows are, or "" for the rows that the caller asked for.
        entries: (r,) the entries; rows are these and then their negatives. Empty for the rows asked for.
        shares: by nonlinear node, (shares, rows, ...) uint8, in the layout of the backward pass there.
        region: the number of the region that they bound, where a threat reaches a union of several; None for one.
    """

    name: str
    entries: Tensor
    shares: Mapping[str, Tensor]
    region: int | None = None


def packed(hints: Sequence[Hint]) -> str:
    """Hints as text for a certificate: a JSON table of contents and the numbers, compressed, in base 64.

    >>> hint = Hint("linear", torch.tensor([3]), {"relu": torch.tensor([[[0, 255]]], dtype=torch.uint8)})
    >>> [again] = unpacked(packed([hint]))
    >>> again.name, again.entries, again.shares["relu"].tolist()
    ('linear', tensor([3]), [[[0, 255]]])
    """
    contents = [
        {"name": h.name, "entries": h.entries.tolist(), "shares": {k: list(v.shape) for k, v in h.shares.items()}}
        | ({} if h.region is None else {"region": h.region})
        for h in hints
    ]
    head = json.dumps(contents, separators=(",", ":")).encode()
    numbers = b"".join(share.cpu().numpy().tobytes() for hint in hints for share in hint.shares.values())
    return base64.b64encode(zlib.compress(len(head).to_bytes(8, "big") + head + numbers, 9)).decode()


def unpacked(text: str) -> tuple[Hint, ...]:
    """Inverse of :func:`packed`.

    Raises:
        BadInput: for any other text, or if unpacking it takes more memory than there is to spare.
    """
    try:
        data = inflated(SLOPES, base64.b64decode(text, validate=True))
        begin = 8 + int.from_bytes(data[:8], "big")
        check_room(SLOPES, LISTED * begin)
        numbers = np.frombuffer(data, dtype=np.uint8, offset=begin)
        hints = []
        for one in json.loads(data[8:begin]):
            shares = {}
            for name, shape in one["shares"].items():
                count = int(np.prod(shape))
                shares[name] = torch.from_numpy(numbers[:count].reshape(shape).copy())
                numbers = numbers[count:]
            region = None if "region" not in one else whole("region", one["region"])
            hints.append(Hint(str(one["name"]), torch.tensor(one["entries"], dtype=torch.long), shares, region))
    except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as problem:
        raise BadInput(f"{SLOPES} cannot be read: they were cut or changed") from problem
    return tuple(hints)
