"""The tables of ``certify supports --threats`` follow from the members, and so do refusals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import certify
from certify.attacks.base import ATTACKS
from certify.certifiers.base import CERTIFIERS
from certify.certifiers.bounds import Bounds
from certify.cli import main
from certify.core.properties.base import PROPERTIES
from certify.core.scope import scopes
from certify.core.threats.base import THREATS
from certify.core.threats.transform import Transform
from certify.errors import BadInput
from certify.registry import make
from certify.study.matrix import matrix_page

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
    "pixels": certify.Pixels(),
}

PAGE = Path(__file__).parents[2] / "docs/matrix.md"

NEEDED = {"smoothing": {"sigma": 0.5}, "pixelwise": {"sigma": 0.5}, "enumeration": {"retention": 1}}
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


def test_the_page_is_what_the_registries_say():
    assert PAGE.read_text(encoding="utf-8") == matrix_page(), (
        "a member was added or changed: python -m certify.study.matrix > docs/matrix.md"
    )


def test_every_pair_has_a_line_with_all_who_know_both_and_every_limit_is_told(capsys):
    known, pairs = tables(capsys), {}
    for line in matrix_page().splitlines():
        cells = [cell.strip().split(", ") for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] != ["threat"] and cells[0] != ["---"]:
            pairs |= {(one, other): {*cells[2], *cells[3], *cells[4]} - {"-"} for one in cells[0] for other in cells[1]}
    assert pairs.keys() == {(threat, property) for threat in THREAT for property in PROPERTY}
    for (threat, property), members in pairs.items():
        assert members == {name for name, said in known[threat].items() if said == known[property][name] == "yes"}
    assert main(["supports", "--threats"]) == 0
    told = capsys.readouterr().out
    for name, member in [*scopes(CERTIFIERS).items(), *scopes(ATTACKS).items()]:
        assert (f"{name} {member.limits}." in told) == (f"`{name}`" in refusals()) == bool(member.limits)


def refusals():
    """The part of the page about what is refused."""
    return matrix_page().split("## What is refused")[1].split("Noise has a theorem")[0]


def test_every_kind_of_threat_has_an_attack():
    for line in matrix_page().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) != 5 or cells[3] != "-" or cells[4] != "-"
