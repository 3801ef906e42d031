"""Everything that can make a number has a reference, and a table cites what made it, nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from certify.attacks.base import ATTACKS
from certify.bounds.methods import METHODS
from certify.certifiers.base import CERTIFIERS
from certify.core.summary import FORMATS
from certify.errors import BadInput
from certify.report.references import bibtex, cited_for, entries, references_of
from certify.smoothing.noise.base import NOISES

MEMBERS = [
    *(f"noise:{name}" for name in NOISES),
    *(f"attack:{name}" for name in ATTACKS),
    *(f"certifier:{name}" for name in {*CERTIFIERS, *METHODS}),
    "certifier:published",
    "attack:smoothed",
    "corruptions:severities",
    "property:top-k",
    "property:within",
    *(
        f"statistics:{name}"
        for name in "acr clopper-pearson declared-looks dkw groups holm mcnemar predict tango".split()
    ),
]
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "howpublished", "year"},
}


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_every_member_has_a_reference(member):
    assert cited_for([member]), f"add an entry or a keyword for {member} to certify/report/references.bib"


def test_no_entry_is_cited_for_something_that_is_not_there():
    named = {
        name.strip() for entry in entries().values() for name in re.findall(r"keywords = \{(.*)\}", entry)[0].split(",")
    }
    assert named == set(MEMBERS)


@pytest.mark.parametrize("key", sorted(entries()))
def test_an_entry_has_the_fields_of_its_kind(key):
    entry = entries()[key]
    kind = re.match(r"@(\w+)\{", entry)[1]
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.MULTILINE))
    assert set(fields) >= REQUIRED[kind]
    assert key.startswith(re.sub(r"\W", "", fields["author"].split(",")[0].encode().decode("ascii")).lower()[:3])
    assert key.endswith(fields["year"])
    assert entry.count("{") == entry.count("}")
    assert entry.isascii()


def test_the_whole_file_is_read():
    from importlib import resources

    text = resources.files("certify.report").joinpath("references.bib").read_text()
    assert list(entries()) == sorted(entries())
    assert len(entries()) == text.count("\n@") + 1
    assert bibtex(entries()) == text.strip()


def test_a_smoothing_table_cites_smoothing_its_noise_and_the_attack_on_it(smoothed):
    keys = references_of(smoothed.summary)
    assert {"cohen2019", "clopper1934", "madry2018", "salman2019", "chow1971", "zhai2020"} <= set(keys)
    assert not {"gowal2018", "zhang2018", "croce2020", "voracek2023"} & set(keys)


def test_a_proof_without_attack_cites_its_bounds_alone(unattacked):
    assert set(references_of(unattacked.summary)) == {"gowal2018", "singh2019", "zhang2018", "zhai2020"}


def test_the_format_names_what_has_no_reference(unattacked):
    text = FORMATS["bibtex"](replace(unattacked.summary, parts=("certifier:of-your-own", "certifier:ibp")))
    assert text.startswith("% no reference is known here for certifier:of-your-own\n")
    assert "@misc{gowal2018," in text


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'tango1998'"):
        bibtex(["tango1999"])
