"""The tables of ``certify supports --threats`` follow from the members, and so do refusals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import certify
from certify.attacks.base import ATTACKS
from certify.certifiers.base import CERTIFIERS
from certify.certifiers.bounds import Bounds
from certify.cli import main
from certify.core.properties.base import PROPERTIES
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Transform
from certify.errors import BadInput
from certify.registry import make

THREAT = {
    **{norm: certify.ThreatModel(norm, (0.1,)) for norm in ("l1", "l2", "linf")},
    "features": certify.Features((1,), input_box=(0.0, 1.0)),
    "categories": certify.Categories((1,), groups="0:2"),
    "patch": certify.Patch((1,), input_box=(0.0, 1.0)),
    "insertions": certify.Insertions((1,)),
    "substitutions": certify.Substitutions((1,), {1: [1, 2]}),
    "own": THREATS["own"]((0.1,), "os:getpid"),
    "product": THREATS["product"]((0.1,), parts="rotation=10"),
}
THREAT |= {
    name: member((0.1,))
    for name, member in THREATS.items()
    if issubclass(member, Transform) and name not in ("own", "product")
}
PROPERTY = {
    "top-class": certify.TopClass(),
    "top-k": certify.TopK(2),
    "never": certify.Never(1),
    "superclass": certify.Superclass("0:2,2"),
    "rows": certify.LinearRows([[1.0, -1.0]], [0.0]),
    "within": certify.Within(1.0),
    "labels": certify.Labels([0.0, 0.0]),
}

NEEDED = {"smoothing": {"sigma": 0.5}, "enumeration": {"retention": 1}}
"""Settings without a default."""


@dataclass(frozen=True, slots=True)
class OnlyFeatures(Bounds):
    """Of somebody else."""

    method: str = "crown"
    limits = "proves top-k under changed features only"

    @classmethod
    def knows(cls, norm):
        return norm == "features"

    @classmethod
    def handles(cls, property):
        return property is certify.TopK


def tables(capsys):
    """Who knows what, by the name of a threat or a property."""
    assert main(["supports", "--threats"]) == 0
    known = {}
    for table in capsys.readouterr().out.split("\n\n")[:2]:
        (_, *names), _, *lines = (line.split() for line in table.splitlines())
        known |= {name: dict(zip(names, cells, strict=True)) for name, *cells in lines}
    return known


def test_every_threat_and_property_has_a_line_that_refusals_agree_with(capsys, scoped):
    scoped(CERTIFIERS)["only-features"] = OnlyFeatures
    known = tables(capsys)
    assert known.keys() == {*THREAT, *PROPERTY} == {"l1", "l2", "linf", *THREATS, *PROPERTIES} - {"lp"}
    refused = 0
    for family in (CERTIFIERS, ATTACKS):
        for name in family:
            member = make(family, name, NEEDED.get(name, {}))
            for norm, threat in THREAT.items():
                for kind, property in PROPERTY.items():
                    if known[norm][name] == known[kind][name] == "yes":
                        member.check_scope(threat, property)
                        continue
                    with pytest.raises(BadInput, match=f" only, got ({norm}|{kind}): ") as problem:
                        member.check_scope(threat, property)
                    others = [one for one in family if known[norm][one] == known[kind][one] == "yes"]
                    use = f"use {', '.join(others)}" if others else f"none knows {norm} together with {kind}"
                    assert str(problem.value).endswith(f": {use}")
                    refused += 1
    assert refused > 20
    assert known["features"]["only-features"] == known["top-k"]["only-features"] == "yes"
    assert known["l2"]["only-features"] == known["top-class"]["only-features"] == "-"
