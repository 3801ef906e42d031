"""What rows of verdicts are about: an instance is a network and a property, found as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from certify.errors import BadInput
from certify.store.verdicts import Claimed, Verdicts
from certify.study.instances import read_instances

__all__ = ["ClaimedInstance", "instances_of", "named_witness", "stem"]


@dataclass(frozen=True, slots=True)
class ClaimedInstance:
    """A network and a property, with all that a table says about them.

    Args:
        name: both files, as the instances name them.
        network, prop: where they are.
        rows: the table's, at least one.
    """

    name: tuple[str, str]
    network: Path
    prop: Path
    rows: tuple[Claimed, ...]

    @property
    def family(self) -> str:
        """The benchmark of its first row."""
        return self.rows[0].family

    @property
    def key(self) -> str:
        """What tells it from others."""
        return " ".join(self.name)

    def claiming(self, verdict: str) -> tuple[Claimed, ...]:
        """The rows with a verdict."""
        return tuple(row for row in self.rows if row.verdict == verdict)

    @property
    def claims(self) -> tuple[str, ...]:
        """The verdicts that say something about the network; a timeout or an error does not."""
        return tuple(verdict for verdict in ("unsat", "sat") if self.claiming(verdict))


def instances_of(table: Verdicts, file: Path | str | None, root: Path) -> tuple[list[ClaimedInstance], int]:
    """What the rows are about, each instance once, in their order; and how many instances no row is about.

    Args:
        table: the rows.
        file: the instances, as :func:`~certify.study.instances.read_instances` reads them; None where the names in the
            rows lead to the files.
        root: the folder where names begin.

    Raises:
        BadInput: for a row about no instance, or about one whose files are missing.
    """
    known = None if file is None else _by_name((one.network, one.prop) for one in read_instances(file))
    rows: dict[tuple[str, str], list[Claimed]] = {}
    for row in table.rows:
        name = (row.network, row.prop) if known is None else _match(table.path, row, known, str(file))
        rows.setdefault(name, []).append(row)
    found = []
    for name, about in rows.items():
        network, prop = (_there(root, one, table.path, about[0].line) for one in name)
        found.append(ClaimedInstance(name, network, prop, tuple(about)))
    total = 0 if known is None else len({name for names in known.values() for name in names})
    return found, max(0, total - len(found))


def _by_name(instances: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Instances by the names of their two files, without folders."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name in instances:
        found.setdefault((_parts(name[0])[-1], _parts(name[1])[-1]), []).append(name)
    return found


def _match(
    path: Path, row: Claimed, known: Mapping[tuple[str, str], Sequence[tuple[str, str]]], file: str
) -> tuple[str, str]:
    """The instance that a row is about: in the table, names may begin with further folders, or with fewer."""
    network, prop = _parts(row.network), _parts(row.prop)
    there = dict.fromkeys(known.get((network[-1], prop[-1]), ()))
    found = [name for name in there if _ends(network, _parts(name[0])) and _ends(prop, _parts(name[1]))]
    if len(found) > 1:  # competitions reuse names in several benchmarks
        found = [name for name in found if row.family in (*_parts(name[0]), *_parts(name[1]))] or found
    if not found:
        raise BadInput(f"{path} line {row.line}: {file} has no instance {row.network},{row.prop}")
    if len(found) > 1:
        raise BadInput(
            f"{path} line {row.line}: {row.network},{row.prop} may be {' or '.join(map(','.join, found[:2]))} of "
            f"{file}; write the names as they stand there"
        )
    return found[0]


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in PurePosixPath(name.removesuffix(".gz")).parts if part not in ("/", ".."))
    return parts or (name,)


def _ends(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the longer of two paths ends like the shorter one."""
    return all(a == b for a, b in zip(reversed(one), reversed(other), strict=False))


def _there(root: Path, name: str, table: Path, line: int) -> Path:
    """The file of a name, perhaps gzipped.

    Raises:
        BadInput: if there is none.
    """
    for path in (root / name, root / f"{name}.gz"):
        if _is_file(path):
            return path
    raise BadInput(f"{table} line {line}: there is no file {root / name}; name the folder of its files with --root")


def named_witness(one: ClaimedInstance, root: Path, table: Path) -> Path | None:
    """The counterexample that a row of "sat" names, or that lies beside the table as the competition's scripts put it.

    Raises:
        BadInput: for one that is named and missing.
    """
    for row in one.claiming("sat"):
        if row.witness:
            return _there(root, row.witness, table, row.line)
    file = f"{stem(one.name[0])}_{stem(one.name[1])}.counterexample"
    places = (table.parent / folder / f"{file}{packed}" for folder in (one.family, "") for packed in ("", ".gz"))
    return next((path for path in places if one.claiming("sat") and _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, for example
        return False


def stem(name: str) -> str:
    """The name of a file without folders and endings: the competition's scripts name counterexamples by it.

    >>> stem("acasxu/vnnlib/prop_1.vnnlib.gz")
    'prop_1'
    """
    return PurePosixPath(name.removesuffix(".gz")).stem
