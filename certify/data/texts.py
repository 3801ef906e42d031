"""``csv:FILE:TEXT,LABEL:VOCABULARY``: texts in one column of a table, as rows of token ids."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from certify.core.threats.substitutions import words_of
from certify.data.dataset import Dataset
from certify.data.labels import column_of, labels_of
from certify.errors import BadInput, DataError

__all__ = ["load_texts"]

MOST_TOKENS: Final = 2**28
"""Tokens in all rows together, padding among them."""


def load_texts(path: Path, lines: Iterable[list[str]], header: list[str], asked: str) -> Dataset:
    """Texts as rows of token ids: words between white space, by the number of their line in a vocabulary.

    The first line of the vocabulary stands for padding, the second for every word that is not in it. Rows are as long
    as the longest text, or as is asked for. Nothing is cut off, lowered or normalized: what a text is made of is seen
    in the file. The input box is the vocabulary.

    Args:
        path: of the table, for messages and the name of the data.
        lines: its rows behind the header, as texts.
        header: the names of its columns.
        asked: ``"TEXT,LABEL:VOCABULARY"``, the names of two columns and a file, or ``"TEXT,LABEL:VOCABULARY:LENGTH"``.

    Raises:
        BadInput: for a SPEC that names no vocabulary, a length that is none, or a vocabulary that cannot be read.
        DataError: for columns that are missing, rows that are too short, texts without words or too long.
    """
    columns, _, rest = asked.partition(":")
    text, _, label = columns.partition(",")
    before, _, last = rest.rpartition(":")
    file, written = (before, last) if before and last.isascii() and last.isdigit() else (rest, "")
    if not file:
        raise BadInput(
            f"csv:{path}:{asked} names no vocabulary: write csv:FILE:TEXT,LABEL:VOCABULARY, a file with one word a "
            "line; with a tokenizer of yours, data are package.module:function, which returns rows of ids and labels"
        )
    vocabulary = words_of(file)
    if len(vocabulary) < 3:
        raise BadInput(f"vocabulary {file}: the first line is padding, the second an unknown word, and words follow")
    wanted = (text, "texts"), (label, "labels")
    places = [column_of(str(path), header, name.strip(), what) for name, what in wanted]
    tokens, labels = list[list[int]](), list[str]()
    try:
        for number, row in enumerate(lines):
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(f"{path}: row {number} has {len(row)} columns, the header names {len(header)}")
            words = row[places[0]].split()
            if not words:
                raise DataError(f"{path}: row {number} has a text without words; leave it out")
            tokens.append([vocabulary.get(word, 1) for word in words])
            labels.append(row[places[1]])
    except csv.Error as problem:
        raise DataError(f"{path} cannot be read as a table of text ({problem})") from problem
    if not tokens:
        raise DataError(f"{path} holds no rows: give a header line, and a line for each text")
    longest = max(map(len, tokens))
    length = int(written[:9]) if written else longest
    if longest > length:
        far = next(number for number, one in enumerate(tokens) if len(one) > length)
        raise DataError(
            f"{path}: text {far} has {len(tokens[far])} words, more than a row of {length}: ask for longer rows"
        )
    if len(tokens) * length > MOST_TOKENS:
        raise DataError(f"{path}: {len(tokens):,} rows of {length:,} tokens are more than {MOST_TOKENS:,} together")
    x = np.zeros((len(tokens), length), np.float32)
    for place, one in enumerate(tokens):
        x[place, : len(one)] = one
    y, classes = labels_of(str(path), labels)
    digest = hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()[:8]
    name = f"{path.name} ({text.strip()} in {len(vocabulary)} words, sha256 {digest})"
    count = max(2, int(y.max()) + 1) if classes is None else classes
    return Dataset(name, x, y, count, input_box=(0.0, float(len(vocabulary) - 1)))
