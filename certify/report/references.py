"""Format ``bibtex``, and the references behind it: one entry of ``references.bib`` each.

The field ``keywords`` of an entry names what it is cited for, as ``family:member``. So a new noise law or attack gets
its reference by one more entry, or one more keyword, in that file; BibTeX styles ignore the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Final

from certify.core.legible import legible_line
from certify.core.summary import FORMATS, Summary
from certify.errors import BadInput
from certify.registry import nearest

__all__ = ["bibtex", "cited_for", "entries", "references_of", "render"]

_ENTRY: Final = re.compile(r"^@\w+\{(?P<key>[\w-]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_KEYWORDS: Final = re.compile(r"^  keywords = \{(?P<names>[^}]*)\}", re.MULTILINE)


@cache
def entries() -> Mapping[str, str]:
    """Every entry of the bibliography by its key, as BibTeX text.

    >>> "Randomized Smoothing" in entries()["cohen2019"]
    True
    """
    text = resources.files(__package__).joinpath("references.bib").read_text(encoding="utf-8")
    return {found["key"]: found[0] for found in _ENTRY.finditer(text)}


@cache
def _keys_by_part() -> Mapping[str, tuple[str, ...]]:
    keys: dict[str, tuple[str, ...]] = {}
    for key, entry in entries().items():
        for name in (name.strip() for found in _KEYWORDS.finditer(entry) for name in found["names"].split(",")):
            keys[name] = (*keys.get(name, ()), key)
    return keys


def cited_for(parts: Iterable[str]) -> list[str]:
    """Keys of the references for parts named ``family:member``, in the order of the bibliography.

    A part without an entry has none; :func:`render` names it.

    >>> cited_for(["noise:laplace", "statistics:mcnemar", "noise:of-your-own"])
    ['lecuyer2019', 'mcnemar1947', 'teng2020']
    """
    # Attacks of a library, attack:LIBRARY:CLASS, are cited by the library.
    named = {name for part in parts for name in (part, part.rpartition(":")[0])}
    wanted = {key for name in named for key in _keys_by_part().get(name, ())}
    return [key for key in entries() if key in wanted]


def references_of(summary: Summary) -> list[str]:
    """Keys of the references for everything that made a table: its methods, and how its numbers are defined."""
    return cited_for([*summary.parts, "statistics:acr"])


def bibtex(keys: Iterable[str]) -> str:
    """The entries with these keys as the text of a .bib file.

    Raises:
        BadInput: for an unknown key; the nearest is named.

    >>> bibtex(["cohen2018"])
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: unknown reference 'cohen2018'; did you mean 'cohen2019'? known: andriushchenko2020, ...
    """
    known = entries()
    for key in (keys := list(keys)):
        if key not in known:
            raise BadInput(f"unknown reference {key!r}{nearest(key, list(known))} known: {', '.join(known)}")
    return "\n\n".join(known[key] for key in keys)


@FORMATS.register("bibtex")
def render(summary: Summary) -> str:
    """The references for the methods and statistics of a table; a comment above names those that have no reference."""
    without = [part for part in summary.parts if not cited_for([part])]
    above = f"% no reference is known here for {legible_line(', '.join(without))}\n\n" if without else ""
    return above + bibtex(references_of(summary))
