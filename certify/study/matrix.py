"""Who proves and attacks which threat and property: for ``certify supports``, and as a page of the documentation.

``python -m certify.study.matrix > docs/matrix.md`` writes the page.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch

from certify.attacks.base import ATTACKS
from certify.certifiers.base import CERTIFIERS
from certify.core.norms import NORMS
from certify.core.properties.base import PROPERTIES
from certify.core.scope import scopes
from certify.core.threats.base import THREATS
from certify.core.threats.lp import ThreatModel
from certify.errors import CertifyError, ModelError
from certify.models.classifier import Classifier
from certify.registry import make
from certify.smoothing.noise.base import NOISES

__all__ = ["handling", "knowing", "matrix_page", "members_of_both"]

PAGE: Final = """\
# Threat by property by certifier by attack

Made by `python -m certify.study.matrix > docs/matrix.md`; a test compares the two. `certify supports --threats` prints
who knows what, one line a threat and a property. [threats.md](threats.md) and [properties.md](properties.md) say what
they are, and [guarantees.md](guarantees.md) what each certifier claims.

## What goes together

A certifier proves, and an attack searches, each threat together with each property that it knows. Threats and
properties that the same members know share a line. Attacks in the last column need no gradients: they work on any
function that returns scores or classes.

{together}

## What is refused, and why

Before any work, in one line that names what to use instead, with exit code 2:

{refused}

Noise has a theorem for some norms and counts only. `--certifier smoothing` refuses the others:

{laws}

Some conditions are about the model and the inputs, whatever the threat:

* {networks}
  read the network itself. They ask for an `nn.Module` or an ONNX file whose operators [have a rule](operators.md), and
  refuse plain functions, estimators and files that are executed. The other certifiers take any of them.
* `features` and `patch` may set anything in the input box, so they ask for one. `patch`, warps and `blur` ask for
  images, `time-shift` for series, `categories` for one-hot features.
* Attacks that follow gradients refuse functions.

Attacks of others, {forms}, look for another top class in balls of the three norms, and are examined like ours:
[extending](extending.md#an-attack), [coming from another tool](coming_from/index.md).
"""


def matrix_page() -> str:
    """The page as text.

    >>> "| patch | top-class |" in matrix_page()
    True
    """
    members = members_of_both()
    together = []
    for threats in _alike(knowing(members)):
        who = {property: _known(members, threats[0], property) for property in PROPERTIES}
        together += [[", ".join(threats), ", ".join(some), *who[some[0]]] for some in _alike(who)]
    refusing = defaultdict(list)
    for name, one in members.items():
        if one.limits:
            refusing[one.limits].append(f"`{name}`")
    laws = ", ".join(f"`{name}` proves {' and '.join(law.norms)}" for name, law in scopes(NOISES).items())
    networks = ", ".join(f"`{name}`" for name in CERTIFIERS if _reads_networks(name))
    return PAGE.format(
        together=_markdown(["threat", "property", "certified by", "attacked by", "without gradients"], together),
        refused="\n".join(f"* {', '.join(names)}: {said}." for said, names in refusing.items()),
        laws=f"{laws}.",
        networks=networks,
        forms=" and ".join(f"`--attack {form}`" for form in ATTACKS.forms),
    )


def members_of_both() -> dict[str, Any]:
    """Certifiers, then attacks, by name, each as the class of what it makes."""
    return {**scopes(CERTIFIERS), **scopes(ATTACKS)}


def knowing(members: Mapping[str, Any]) -> dict[str, list[bool]]:
    """Which members know each norm, and each threat that is no ball."""
    threats = [*NORMS, *(name for name in THREATS if name != ThreatModel.kind)]
    return {name: [one.knows(name) for one in members.values()] for name in threats}


def handling(members: Mapping[str, Any]) -> dict[str, list[bool]]:
    """Which members know each property."""
    return {name: [one.handles(property) for one in members.values()] for name, property in PROPERTIES.items()}


def _alike(known: Mapping[str, Sequence[Any]]) -> Iterable[list[str]]:
    """Names with the same answers together, in the order of the first."""
    groups = defaultdict(list)
    for name, line in known.items():
        groups[tuple(line)].append(name)
    return groups.values()


def _known(members: Mapping[str, Any], threat: str, property: str) -> list[str]:
    """Certifiers, attacks by gradients and attacks without that know a threat together with a property."""
    kind = PROPERTIES[property]
    know = [name for name, one in members.items() if one.knows(threat) and one.handles(kind)]
    attacks = [name for name in know if name in ATTACKS]
    plain = [name for name in attacks if not members[name].follows_gradients]
    parts = [name for name in know if name in CERTIFIERS], [name for name in attacks if name not in plain], plain
    return [", ".join(part) or "-" for part in parts]


def _reads_networks(certifier: str) -> bool:
    """Whether a certifier refuses a function, because there is no network to read; found out by asking."""
    try:
        member = make(CERTIFIERS, certifier, {})
    except CertifyError:  # it asks for settings that say how a model is shown its inputs, not for a network
        return False
    threat = ThreatModel(member.default_norm, (0.1,))
    if not member.knows(threat.norm):  # it proves something about functions that is no ball
        return False
    try:
        member.check(_function(), threat, torch.zeros(1, 2))
    except ModelError:
        return True
    except CertifyError:
        return False
    return False


def _function() -> Classifier:
    """A model without a network and without gradients."""
    return Classifier(lambda x: torch.zeros(len(x), 10), num_classes=10, input_box=(0.0, 1.0))


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    sys.stdout.write(matrix_page())
