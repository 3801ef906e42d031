"""Tables of verdicts of verification tools: results of the competition, or verdicts that somebody expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from certify.errors import DataError
from certify.store.log_lines import Fields
from certify.store.tables import column_among, read_table

__all__ = ["COMPETITION", "VERDICT", "Claimed", "Verdicts", "read_verdicts"]

COMPETITION: Final = ("category", "onnx", "vnnlib", "prepare", "result", "time")
"""The columns of ``results.csv`` of the competition, which has no line that names them."""

VERDICT: Final = ("result", "verdict", "expected")
FAMILY: Final = ("category", "benchmark", "family")
WITNESS: Final = ("witness", "counterexample")
"""What a column may be called; the first that a table has counts."""

Answered = Literal["sat", "unsat", "timeout", "unknown", "error"]

WORDS: Final[dict[str, Answered]] = {
    **dict.fromkeys(("unsat", "holds"), "unsat"),
    **dict.fromkeys(("sat", "violated"), "sat"),
    **dict.fromkeys(("timeout", "run_instance_timeout"), "timeout"),
    "unknown": "unknown",
    **dict.fromkeys(("error", "killed", "no_result_in_file"), "error"),
}
"""The words of a verdict, in lower case, those of earlier competitions among them."""

_ERROR: Final = re.compile(r"(error|(prepare|run)_instance)_\w+")
"""What the competition's scripts write of a tool that failed, such as ``prepare_instance_error_1``."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One row: a verdict of a tool about an instance.

    Args:
        line: where it stands.
        family: the benchmark that the instance belongs to.
        network, prop: the two files, as the row names them.
        tool: whose verdict it is; empty where the table does not say.
        verdict: what it says.
        witness: the file of its counterexample; empty where the row names none.
    """

    line: int
    family: str
    network: str
    prop: str
    tool: str
    verdict: Answered
    witness: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The rows of a table, and the SHA-256 of its text."""

    path: Path
    digest: str
    rows: tuple[Claimed, ...]

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that the table names, in its order."""
        return tuple(dict.fromkeys(row.tool for row in self.rows if row.tool))


def read_verdicts(path: Path | str) -> Verdicts:
    """Read a table: rows of the competition without a header, or any columns with one.

    With a header, the columns are ``onnx``, ``vnnlib`` and ``result`` (or ``verdict``, or ``expected``), and perhaps
    ``tool``, ``category`` (or ``benchmark``) and ``witness``; others are not read.

    Raises:
        DataError: naming file and line, for a file without these columns, an empty name, or a word that is no verdict.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "results.csv")
    >>> size = path.write_text("acasxu,onnx/n.onnx,vnnlib/p.vnnlib,0.1,holds,2.5\\n")
    >>> [row] = read_verdicts(path).rows
    >>> row.family, row.verdict
    ('acasxu', 'unsat')
    """
    table = read_table(path, COMPETITION)
    verdict, family, witness = (column_among(table.columns, names) for names in (VERDICT, FAMILY, WITNESS))
    if missing := [name for name in ("onnx", "vnnlib") if name not in table.columns] + ["result"] * (verdict is None):
        raise DataError(
            f"{path} has no column {missing[0]}: a table of verdicts has onnx, vnnlib and result (or verdict, or "
            f"expected), or no header and the competition's columns {','.join(COMPETITION)}"
        )
    return Verdicts(
        table.path, table.digest, tuple(_claimed(fields, str(verdict), family, witness) for fields in table.rows)
    )


def _claimed(fields: Fields, verdict: str, family: str | None, witness: str | None) -> Claimed:
    texts = fields.texts
    network, prop = (fields.read(name, _name, "the name of a file") for name in ("onnx", "vnnlib"))
    return Claimed(
        line=fields.line,
        family=(texts[family] if family else "") or _family(network),
        network=network,
        prop=prop,
        tool=texts.get("tool", ""),
        verdict=fields.read(verdict, _word, f"a verdict; known: {', '.join(WORDS)}, error_.."),
        witness=texts[witness] if witness else "",
    )


def _family(network: str) -> str:
    """The folder that tells the benchmark where no column does.

    >>> _family("../verification/acasxu/onnx/net.onnx"), _family("net.onnx")
    ('acasxu', '')
    """
    folders = [part for part in PurePosixPath(network).parts[:-1] if part not in ("/", "..", "onnx")]
    return folders[-1] if folders else ""


def _name(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(text)
    return text


def _word(text: str) -> Answered:
    word = text.lower()
    if word not in WORDS and not _ERROR.fullmatch(word):
        raise ValueError(text)
    return WORDS.get(word, "error")
