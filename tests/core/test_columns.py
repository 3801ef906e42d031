"""Digests of inputs in a column: every text comes back, and the same number stands for the same text only."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from certify.core import columns
from certify.core.columns import Digests

SHA = hashlib.sha256(b"").hexdigest()
TEXTS = [
    SHA,
    SHA[:-1],
    SHA + ":0x1.8p+1",
    SHA.upper(),
    SHA[:40] + " " * 24,
    "x" * 64,
    "",
    "published:ab:3",
    "\u00e9\U0001f40d",
    "\udcff",
    "\xff" + SHA,
    SHA + SHA,
]


def test_every_text_comes_back():
    assert list(Digests(TEXTS)) == TEXTS
    assert list(Digests(TEXTS).at(np.array([3, 0, 3]))) == [TEXTS[3], TEXTS[0], TEXTS[3]]


@pytest.mark.parametrize("hashed", [hash, lambda text: 0, lambda text: len(text) % 2])
def test_numbers_are_those_of_the_texts_whatever_their_hashes(hashed, monkeypatch):
    monkeypatch.setattr(columns, "hash", hashed, raising=False)
    for texts in (TEXTS, [*TEXTS, *TEXTS[::2], SHA], [SHA, SHA], []):
        numbers = Digests(texts).numbers().tolist()
        assert sorted(set(numbers)) == list(range(len(set(texts))))
        assert len(set(zip(numbers, texts, strict=True))) == len(set(texts))
