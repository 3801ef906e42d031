"""What extensions are made of: the base of every family and its registry, in one place.

A package that registers members names its module in the entry-point group ``certify.plugins``; then the command line
knows them too, wherever it is installed. In pyproject.toml::

    [project.entry-points."certify.plugins"]
    anything = "my_package.my_module"

>>> from certify.extend import THREATS, Threat
>>> all(issubclass(one, Threat) for one in THREATS.values())
True
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "ATTACKS": "certify.attacks.base",
    "Attack": "certify.attacks.base",
    "Budget": "certify.core.threats.budget",
    "CERTIFIERS": "certify.certifiers.base",
    "Certifier": "certify.certifiers.base",
    "DERIVATIONS": "certify.checker.derivations.base",
    "Derivation": "certify.checker.derivations.base",
    "ENGINES": "certify.engines.base",
    "EVIDENCE": "certify.core.evidence.base",
    "Engine": "certify.engines.base",
    "Evidence": "certify.core.evidence.base",
    "FORMATS": "certify.core.summary",
    "LOADERS": "certify.data.loaders",
    "METHODS": "certify.bounds.methods",
    "NOISES": "certify.smoothing.noise.base",
    "Noise": "certify.smoothing.noise.base",
    "PROPERTIES": "certify.core.properties.base",
    "Property": "certify.core.properties.base",
    "RECIPES": "certify.training.recipe",
    "RULES": "certify.bounds.rules.base",
    "Registry": "certify.registry",
    "Search": "certify.attacks.base",
    "THREATS": "certify.core.threats.base",
    "Threat": "certify.core.threats.base",
    "loader": "certify.data.loaders",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """A name, from where it lives, when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
