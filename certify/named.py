"""Python functions named in a SPEC, ``package.module:function``: naming one is the explicit act that lets it run."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from certify.errors import BadInput, CertifyError, one_line

__all__ = ["call_named", "is_named", "named"]

_NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_named(spec: str) -> bool:
    """Whether ``spec`` has the form ``package.module:function``. A path or a bare name never has.

    >>> is_named("nets.small:build"), is_named("nets/small.py:build"), is_named("small")
    (True, False, False)
    """
    return _NAMED.fullmatch(spec) is not None


def call_named(spec: str, error: type[CertifyError]) -> Any:
    """Import the function that ``spec`` names, call it without arguments and return what it returns.

    Modules in the current directory are found too: it is on the import path while the function is imported and runs,
    and not after.

    Args:
        spec: ``package.module:function``.
        error: the class to raise when the user's own code fails.

    Raises:
        BadInput: if there is no such module or function.
        CertifyError: of class ``error``, if importing or calling it raised.

    >>> call_named("os:getpid", BadInput) > 0
    True
    >>> call_named("os:getpidd", BadInput)
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: module 'os' has no function 'getpidd'
    """
    function = named(spec, error)
    try:
        with current_directory_importable():
            return function()
    except CertifyError:
        raise
    except Exception as problem:
        raise error(f"{spec} raised {one_line(problem)}") from problem


def named(spec: str, error: type[CertifyError]) -> Callable[..., Any]:
    """Import the function that ``spec`` names, and return it; otherwise as :func:`call_named`.

    >>> named("os:getpid", BadInput) is __import__("os").getpid
    True
    """
    if not is_named(spec):
        raise BadInput(f"{spec!r} does not name a Python function; write package.module:function")
    module_name, _, function_name = spec.partition(":")
    with current_directory_importable():
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as problem:
            if problem.name is None or not f"{module_name}.".startswith(f"{problem.name}."):
                raise error(f"importing {module_name} failed: {one_line(problem)}") from problem
            raise BadInput(
                f"no module {problem.name!r} for {spec!r}; run in the folder that holds it, or install it"
            ) from problem
        except CertifyError:
            raise
        except Exception as problem:
            raise error(f"importing {module_name} raised {one_line(problem)}") from problem
        for part in function_name.split("."):
            found = getattr(found, part, None)
    if not callable(found):
        raise BadInput(f"module {module_name!r} has no function {function_name!r}")
    return found


@contextmanager
def current_directory_importable() -> Iterator[None]:
    """Inside, modules in the current folder can be imported, before any others of their name."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
