"""Families of interchangeable parts: noises, operator rules, attacks, report formats, data loaders.

A family is one package; a member is one file in it. Nothing else has to be edited to add one: the registry imports
every module of its package the first time somebody looks inside. So it does with plug-ins: modules that an installed
package names in the entry-point group ``certify.plugins``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import entry_points
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from msgspec import ValidationError, convert

from certify.errors import BadInput, one_line

__all__ = ["PLUGINS", "Reader", "Registry", "Written", "make", "nearest", "settings_of"]

V = TypeVar("V")

PLUGINS = "certify.plugins"
"""The entry-point group in which packages name modules that register members."""

_waiting = [PLUGINS]

_WORDS: Final = {int: "a whole number", float: "a number", bool: "true or false"}
"""What text is read as, by the annotation of a setting, and how a message says it."""


class Written(str):
    """Text that somebody wrote on a command line; :func:`make` reads it as the annotation of its setting says."""

    __slots__ = ()


class Reader(NamedTuple):
    """In an annotation, ``Annotated[int, Reader(read)]``: how text for the setting is read, wherever it comes from.

    Args:
        read: from the name of the setting and the text to its value; raises BadInput.
    """

    read: Callable[[str, str], Any]


def nearest(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or a semicolon: a list of all names follows.

    >>> nearest("gausian", ["gaussian", "uniform"])
    "; did you mean 'gaussian'?"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ";"


class Registry(Mapping[str, V]):
    """A read-only mapping from names to members that refuses duplicates and names its known keys.

    Args:
        kind: what a member is called in messages, for example ``"attack"``.
        package: dotted name of the package whose modules register themselves when first needed, or several.
        named: the attribute in which a class states its own name, where that is the name which records keep.

    Raises:
        BadInput: on look-up of an unknown name; the message lists the known ones.

    >>> noises = Registry("noise")
    >>> @noises.register("gaussian")
    ... class Gaussian: ...
    >>> noises["gausian"]
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: unknown noise 'gausian'; did you mean 'gaussian'? known: gaussian
    """

    def __init__(self, kind: str, package: str | tuple[str, ...] = (), *, named: str | None = None) -> None:
        self.kind = kind
        self.named = named
        self._packages = (package,) if isinstance(package, str) else package
        self._members: dict[str, V] = {}
        self._derived: list[Callable[[], Mapping[str, V]]] = []
        self._openers: dict[str, Callable[[str], V]] = {}

    def derive(self, members: Callable[[], Mapping[str, V]]) -> None:
        """Add members that follow from another family, which is asked at each look-up: it may have grown.

        A module must not look into a family while it is imported: plug-ins are loaded then, and may import the module.
        """
        self._derived.append(members)

    def opens(self, form: str) -> Callable[[Callable[[str], V]], Callable[[str], V]]:
        """Return a decorator for a function that makes members which no list can name: those of a library, say.

        ``form`` is how their names look, such as ``"art:CLASS"``; the function is given a whole name. What lies before
        the colon decides who is asked. In capitals it stands for anything that nobody else opens.

        >>> greetings = Registry("greeting")
        >>> @greetings.opens("french:WORD")
        ... def french(name): return name.removeprefix("french:") + ", monsieur"
        >>> greetings["french:bonjour"], len(greetings)
        ('bonjour, monsieur', 0)
        """

        def add(opener: Callable[[str], V]) -> Callable[[str], V]:
            self._openers[form] = opener
            return opener

        return add

    @property
    def forms(self) -> list[str]:
        """How names look that :meth:`opens` makes members of."""
        self._loaded()
        return sorted(self._openers, key=lambda form: (form.partition(":")[0].isupper(), form))

    def _opened(self, name: str) -> V | None:
        """The member of a name that nobody registered, if some form fits it."""
        prefix, colon, rest = name.partition(":")
        for form in self.forms if colon and rest else ():
            asked = form.partition(":")[0]
            if asked == prefix or asked.isupper():
                return self._openers[form](name)
        return None

    def register(self, name: str) -> Callable[[V], V]:
        """Return a decorator that adds a member under ``name``.

        Raises:
            ValueError: for a second member of that name, or a class that states another one: its records could not be
                read again.
        """

        def add(member: V) -> V:
            if name in self._members:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            if self.named and isinstance(member, type) and (own := _default(member, self.named)) != name:
                said = f"states {self.named} = {own!r}" if isinstance(own, str) else f"states no {self.named}"
                raise ValueError(f"{member.__name__} is registered as {self.kind} {name!r} and {said}: use one name")
            self._members[name] = member
            return member

        return add

    def _loaded(self) -> dict[str, V]:
        waiting, self._packages = self._packages, ()
        for name in waiting:
            package = importlib.import_module(name)
            for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
                importlib.import_module(f"{package.__name__}.{module.name}")
        _load_plugins()
        members = self._members
        for derived in self._derived:
            following = derived()
            for name in members.keys() & following.keys():
                # Which of two a name means must not depend on who asks.
                warnings.warn(f"{self.kind} {name!r} of a plug-in is left out: the name is taken", stacklevel=2)
                del self._members[name]
            members = {**members, **following}
        return members

    @contextmanager
    def scoped(self) -> Iterator[dict[str, V]]:
        """The members as a dictionary that may be changed; what was there before is there again afterwards.

        For tests, and for pages whose examples register members.

        >>> greetings = Registry("greeting")
        >>> with greetings.scoped() as members:
        ...     members["hello"] = print
        ...     "hello" in greetings
        True
        >>> "hello" in greetings
        False
        """
        self._loaded()
        before = dict(self._members)
        try:
            yield self._members
        finally:
            self._members.clear()
            self._members.update(before)

    def __getitem__(self, name: str) -> V:
        members = self._loaded()
        if not isinstance(name, str):
            raise BadInput(f"a {self.kind} is named by text, got {name!r}; known: {', '.join(sorted(members))}")
        if name in members:
            return members[name]
        if (opened := self._opened(name)) is not None:
            return opened
        known = sorted(members)
        listed = ", ".join([*known, *self.forms])
        raise BadInput(f"unknown {self.kind} {name!r}{nearest(name, known)} known: {listed}")

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._loaded()))

    def __len__(self) -> int:
        return len(self._loaded())


def _default(member: type, attribute: str) -> Any:
    """What instances of a class have as an attribute; of a dataclass with slots, the field knows."""
    own = getattr(member, attribute, None)
    field = getattr(member, "__dataclass_fields__", {}).get(attribute)
    return own if isinstance(own, str) or field is None else field.default


def _load_plugins() -> None:
    """Import what installed packages name; one that fails is named in a warning, and the rest works."""
    while _waiting:
        for plugin in entry_points(group=_waiting.pop()):
            try:
                plugin.load()
            except Exception as problem:  # somebody else's code may raise anything
                package = plugin.dist.name if plugin.dist is not None else "a package"
                warnings.warn(
                    f"plug-in {plugin.name!r} of {package} could not be loaded ({one_line(problem)}); all else works",
                    stacklevel=2,
                )


def settings_of(family: Registry[Callable[..., V]], name: str) -> Mapping[str, inspect.Parameter]:
    """The settings that a member of a family of factories takes, by name, with annotations that are types.

    Raises:
        BadInput: for an unknown member.
    """
    factory = family[name]
    return _known_parameters(factory) if isinstance(factory, Hashable) else _parameters(factory)


def _parameters(factory: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory, eval_str=True).parameters
    except NameError:  # a type that the module of the factory does not name
        parameters = inspect.signature(factory).parameters
    try:
        # What a class inherits is annotated as the module of its base means it.
        hints = get_type_hints(factory, include_extras=True)
    except NameError:  # a type that only type checkers import
        return parameters
    return {name: one.replace(annotation=hints.get(name, one.annotation)) for name, one in parameters.items()}


_known_parameters = lru_cache(maxsize=256)(_parameters)
"""The same, looked up: attacks on one input after the other ask again and again."""


def make(family: Registry[Callable[..., V]], name: str, settings: Mapping[str, Any]) -> V:
    """Build a member of a family of factories from named settings; a setting of None means the member's own default.

    Text of a command line (:class:`Written`) is read as the annotation of the setting says: true, 100, 0.5, or several
    numbers separated by commas. Where an annotation says none of these, the member reads the text itself.

    Raises:
        BadInput: for an unknown member, a setting it does not have (the nearest is named), one it misses, or text where
            the member wants a number.

    >>> greetings = Registry("greeting")
    >>> @greetings.register("hello")
    ... def hello(whom, times=1):
    ...     return f"hello {whom} " * times
    >>> make(greetings, "hello", {"whom": "you", "times": Written("2")})
    'hello you hello you '
    >>> make(greetings, "hello", {"whom": "you", "tims": 2})
    Traceback (most recent call last):
    ...
    certify.errors.BadInput: greeting 'hello' has no setting 'tims'; did you mean 'times'? known: whom, times
    """
    factory, parameters = family[name], settings_of(family, name)
    given = {setting: value for setting, value in settings.items() if value is not None}
    for setting in given:
        if setting not in parameters:
            known = list(parameters)
            listed = ", ".join(known) or "none"
            raise BadInput(
                f"{family.kind} {name!r} has no setting {setting!r}{nearest(setting, known)} known: {listed}"
            )
    for setting, parameter in parameters.items():
        if parameter.default is parameter.empty and setting not in given:
            raise BadInput(f"{family.kind} {name!r} needs {setting}: give it a value")
    named = {setting: f"{setting} of {family.kind} {name!r}" for setting in given}
    given = {setting: _read(named[setting], value, parameters[setting]) for setting, value in given.items()}
    try:
        return factory(**given)
    except TypeError as problem:
        for setting, value in given.items():
            if isinstance(value, str):
                _read(named[setting], Written(value), parameters[setting])
        raise BadInput(f"{family.kind} {name!r} cannot use these settings ({problem}); check their kinds") from problem


def _read(named: str, value: Any, parameter: inspect.Parameter) -> Any:
    """What text means for a parameter; any other value as it is."""
    hint = type(parameter.default) if parameter.annotation is parameter.empty else parameter.annotation
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    if get_origin(hint) in (Annotated, tuple, list, Sequence):
        kinds = [hint]
    if not isinstance(value, str) or len(kinds) != 1:
        return value
    [kind] = kinds
    if get_origin(kind) is Annotated:
        readers = [one for one in get_args(kind) if isinstance(one, Reader)]
        return readers[0].read(named, value) if readers else value
    several = get_origin(kind) in (tuple, list, Sequence)
    if several and get_args(kind)[0] is str and isinstance(value, Written):
        return tuple(one.strip() for one in value.split(","))
    said = _WORDS.get(get_args(kind)[0] if several else kind)
    if said is None or not isinstance(value, Written):
        return value
    try:
        return convert([one.strip() for one in value.split(",")] if several else value.strip(), kind, strict=False)
    except ValidationError as problem:
        said = f"{said}, or several separated by commas" if several else said
        raise BadInput(f"{named} must be {said}, got {str(value)!r}") from problem
