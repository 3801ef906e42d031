"""Names and modules that are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["later", "lazy"]


def lazy(name: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a module that imports its names under ``if TYPE_CHECKING``.

    The statements ``from home import name as name`` of that block never run. They are read from the source, so that
    each name is written once.

    >>> import certify
    >>> lazy("certify")[0]("Verdict") is certify.Verdict
    True
    """
    module = sys.modules[name]
    homes = {
        one.asname or one.name: statement.module
        for block in ast.parse(inspect.getsource(module)).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for one in statement.names
    }

    def imported(wanted: str) -> Any:
        if wanted not in homes:
            raise AttributeError(f"module {name!r} has no attribute {wanted!r}")
        value = getattr(importlib.import_module(homes[wanted]), wanted)
        setattr(module, wanted, value)
        return value

    return imported, lambda: sorted(homes), sorted(homes)


def later(name: str) -> Any:
    """A module that is imported when something of it is first asked for.

    For large libraries that few commands need: importing them takes longer than the rest of a start-up.

    >>> later("fractions").Fraction(1, 2)
    Fraction(1, 2)
    """
    return _Later(name)


class _Later(ModuleType):
    def __getattr__(self, wanted: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), wanted)
        setattr(self, wanted, value)
        return value
