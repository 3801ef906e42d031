"""Records beside a run, read as what somebody else wrote: what one says is quoted, and never believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from certify.bounded.files import content_of, opened
from certify.bounded.texts import strictly_from_json
from certify.core.legible import legible_line
from certify.core.run import Run
from certify.errors import one_line
from certify.report.frameworks.statements import Statement

__all__ = ["Record"]

_MOST: Final = 64 * 2**20
"""Bytes of a record that are read."""

_FIRST: Final = 2**20
"""Bytes of the first line of a log."""

_QUOTED: Final = 400
"""Characters of a statement that are quoted."""

_QUOTES: Final = 12
"""Statements of a record that are quoted."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a command leaves in a run folder.

    A record is quoted, not believed: its statements are set in quotation marks beside the name of the file, and the
    command that made it can make it again. One about another model or other data, or one that cannot be read, counts as
    none.

    Args:
        what: it shows, as a noun: to go before "not measured".
        file: its name in the run folder; of a log, whose first line is the head, it ends with ``.jsonl``.
        command: that writes it, with RUN for the run folder.
    """

    what: str
    file: str
    command: str

    def told(self, run: Run) -> Iterator[Statement]:
        """What the record says of a run, or that there is none."""
        path = None if run.path is None else run.path / self.file
        if path is None or not path.exists():
            yield Statement(f"{self.what}: not measured: run `{self.command}`.", gap=True)
            return
        try:
            head = self._head(path)
        except (OSError, ValueError) as problem:
            said = legible_line(problem.strerror or "") if isinstance(problem, OSError) else one_line(problem)
            yield Statement(f"{self.what}: unknown: {self.file} cannot be read ({said:.200}).", gap=True)
            return
        for part, other in (("model", "another model"), ("data", "other data")):
            digest = _digest(head, part)
            if digest is not None and digest != run.settings[part]["digest"]:
                yield Statement(f"{self.what}: unknown: {self.file} is about {other}.", gap=True)
                return
        digest = _digest(head, "model")
        whose = "" if digest is not None else ", which does not say about which model,"
        quotes = list(islice(_said(head), _QUOTES + 1))
        if not quotes:
            yield Statement(f"{self.what}: on record in {self.file}{whose}; `{self.command}` shows what it says.")
        for text in quotes[:_QUOTES]:
            yield Statement(f'{self.what}: {self.file}{whose} says: "{text}"')
        if len(quotes) > _QUOTES:
            yield Statement(f"{self.what}: {self.file} says more than these {_QUOTES} sentences.")
        yield Statement(
            f"{self.what}: {self.file} is quoted as it was found, and was not checked: it is what `{self.command}` "
            "writes.",
            gap=True,
        )

    def _head(self, path: Any) -> Mapping[str, Any]:
        if self.file.endswith(".jsonl"):
            with opened(path) as log:
                content = log.readline(_FIRST)
        else:
            content = content_of(path, _MOST)
        head = strictly_from_json(content)
        if not isinstance(head, Mapping):
            raise ValueError("it is no record")
        event = head.get("event")  # a line of a monitor's file is a digest and an event
        return event if isinstance(event, Mapping) else head


def _digest(head: Mapping[str, Any], part: str) -> str | None:
    """The digest of the model or the data that a record is about, in whichever place it stands."""
    named = head.get(part)
    places = (head.get(f"{part}_digest"), named.get("digest") if isinstance(named, Mapping) else named)
    return next((one for one in places if isinstance(one, str)), None)


def _said(head: Mapping[str, Any]) -> Iterator[str]:
    told = head.get("statement", head.get("statements"))
    texts = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    for text in texts:
        if isinstance(text, str) and text.strip():
            line = legible_line(" ".join(text[: 8 * _QUOTED].split())).replace('"', "'")  # it ends where we end it
            yield line if len(line) <= _QUOTED else f"{line[:_QUOTED]}.."
