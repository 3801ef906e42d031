"""How objects show themselves: everything escaped, claims rounded the safe way, text for papers at hand."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pandas
import pytest
import torch

import certify
from certify.core.finding import Finding
from certify.core.shown import DRAWINGS, VIEWS
from certify.core.summary import FORMATS
from certify.summary.envelope import envelope

HOSTILE = "<script>alert('x')</script> & \"quoted\""


@pytest.fixture
def study(halves, l2):
    x, y = [[0.8, 0.2], [0.55, 0.45], [0.5, 0.5], [0.1, 0.9]], [0, 0, 1, 1]
    return certify.evaluate(halves, (x, y), threat=l2, certifier="smoothing", attack="pgd", sigma=0.25, n=1000)


@pytest.fixture(autouse=True)
def no_window():
    """Figures are drawn without a screen, and forgotten."""
    from matplotlib import pyplot

    with mpl.rc_context({"backend": "agg"}):
        yield
        pyplot.close("all")


def finding(x_adv=None, **changes) -> Finding:
    found = x_adv is not None
    fields = {
        "index": 3,
        "input_digest": "d" * 64,
        "label": 1,
        "prediction": 1,
        "norm": "linf",
        "radii": (0.0, 0.1),
        "attack": "pgd",
        "settings": {"steps": 20},
        "seed": 0,
        "radius": 0.1 if found else None,
        "distance": 0.09991 if found else None,
        "x_adv": x_adv,
        "adversarial_prediction": 7 if found else None,
        "model_digest": "m" * 64,
    }
    return Finding(**{**fields, **changes})


class Balanced(HTMLParser):
    """Text and tags of a fragment, whose tags have to match."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(fragment)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def test_a_certificate_shows_its_claim_with_its_threat_model(study):
    one = study.certificates[0]
    shown = Balanced(one._repr_html_())
    assert "l2 radius" in shown.text
    assert str(one.threat) in shown.text
    assert str(one.guarantee) in shown.text
    assert set(shown.seen) == {"table", "tr", "th", "td"}


def test_radii_are_shown_rounded_down_and_distances_up(study):
    one = replace(study.certificates[0], evidence=study.certificates[0].evidence, radius=0.24999)
    assert "0.2499" in one._repr_html_()
    assert "0.2500" not in one._repr_html_()
    assert "0.1000" in finding(np.float32([0.5]))._repr_html_()


def test_everything_that_is_shown_is_escaped(study):
    threat = replace(study.certificates[0].threat, units=HOSTILE)
    one = replace(study.certificates[2], reason=HOSTILE, method=HOSTILE, threat=threat, model_digest=HOSTILE)
    found = finding(np.float32([[0.1, 0.2], [0.3, 0.4]]), attack=HOSTILE, settings={HOSTILE: HOSTILE})
    for fragment in (one._repr_html_(), found._repr_html_()):
        assert "<script" not in fragment
        assert HOSTILE in Balanced(fragment).text


def test_a_finding_shows_its_example_as_a_picture():
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    fragment = finding(image)._repr_html_()
    Balanced(fragment)
    [data] = re.findall(r'src="data:image/png;base64,([^"]+)"', fragment)
    png = base64.b64decode(data)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (4, 3)
    start = png.index(b"IDAT")
    [length] = struct.unpack(">I", png[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8).reshape(3, 5)
    assert np.array_equal(rows[:, 1:], np.rint(255 * image[0]).astype(np.uint8))
    assert 'alt="adversarial example of input 3"' in fragment


@pytest.mark.parametrize(
    ("x_adv", "pictured"),
    [
        (np.zeros(64, np.float32), True),
        (np.full(64, 2, np.float32), False),  # sixty-four features that are no pixels
        (np.zeros(10, np.float32), False),
        (np.zeros((3, 8, 8), np.float32), True),
        (np.full((1, 8, 8), -3, np.float32), True),
        (np.zeros((5, 8, 8), np.float32), False),
        (np.zeros((0,), np.float32), False),
        (np.float32(0.5), False),
        (None, False),
    ],
)
def test_only_what_looks_like_an_image_is_pictured(x_adv, pictured):
    assert ("<img" in finding(x_adv)._repr_html_()) is pictured


def test_a_finding_without_an_example_promises_nothing():
    assert "promises nothing" in finding()._repr_html_()


def test_records_become_lines_of_one_frame(study):
    frame = pandas.concat([one.to_frame() for one in study.certificates])
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame["radius_hex"].tolist() == [one.radius_hex for one in study.certificates]
    assert frame["verdict"].tolist() == [one.verdict.value for one in study.certificates]
    found = pandas.concat([one.to_frame() for one in study.findings])
    assert found["distance_hex"].tolist() == [one.to_dict()["distance_hex"] for one in study.findings]
    assert "x_adv" not in found


def test_papers_get_a_table_and_the_references_of_what_was_used(study, halves):
    assert "\\begin{table}" in study.to_latex() == study.summary.to_latex()
    assert "cohen2019" in study.bibtex() == study.summary.bibtex()
    assert "{cohen2019," in study.certificates[0].bibtex()
    threat = certify.ThreatModel("linf", (0.0, 0.1))
    [proof] = certify.bound(halves, [[0.8, 0.2]], [0], threat=threat, method="ibp")
    assert "{gowal2018," in proof.bibtex()
    assert "cohen2019" not in proof.bibtex()


def test_a_result_shows_what_its_summary_shows(study):
    assert study.to_frame().equals(study.summary.to_frame())
    assert study._repr_html_() == study.summary._repr_html_()
    axes = study.plot()
    assert axes.get_xlabel() == study.summary.plot().get_xlabel()
    assert study.plot(axes) is axes


def test_a_sandwich_shows_its_weakest_inputs(study):
    layers = study.summary.sandwich
    shown = Balanced(layers._repr_html_())
    assert f"{layers.gaps().both} have a proof and an adversarial example" in shown.text
    assert shown.seen.count("tr") == 1 + len(layers.weakest())
    assert "in the norm and the units of the summary" in shown.text


def test_an_interval_shows_its_ends_rounded_outward():
    box = certify.Interval(torch.tensor([[0.12345, -torch.inf]]), torch.tensor([[0.12345, 1.00001]]))
    shown = Balanced(box._repr_html_())
    assert "0.1234  0.1235" in shown.text.replace("0.1234 ", "0.1234  ").replace("   ", "  ")
    assert "-inf" in shown.text
    assert "1.0001" in shown.text
    many = certify.Interval(torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
    assert "14 more" in many._repr_html_()
    frame = many.to_frame()
    assert frame.shape == (24, 2)
    assert frame.index.names == ["sample", "entry"]
    assert certify.Interval(torch.zeros(2), torch.ones(2)).to_frame().shape == (2, 2)


def test_an_interval_is_drawn_from_end_to_end():
    box = certify.Interval(torch.tensor([[0.0, -torch.inf, -1.0]]), torch.tensor([[0.5, 2.0, -1.0]]))
    axes = box.plot()
    [lines] = axes.collections
    ends = [segment[:, 1].tolist() for segment in lines.get_segments()]
    assert ends == [[0.0, 0.5], [-1.0, 2.0], [-1.0, -1.0]]  # nothing known is drawn as far as the others reach
    assert box.plot(axes) is axes


def test_every_view_and_drawing_belongs_to_an_object_above():
    records = {"certificate.html", "certificate.bibtex", "finding.html", "outcome.text"}
    tables = {f"{of}.{name}" for of in ("envelope", "replicates") for name in FORMATS if name != "bibtex"}
    tables -= {"replicates.curve"}
    assert set(VIEWS) == records | tables | {"sandwich.html", "groups.html", "interval.html"}
    assert set(DRAWINGS) == {"interval", "groups", "runs", "envelope", "monitor", "shift", "data"}


def test_what_a_reader_holds_shows_itself_in_short(tmp_path):
    """In a notebook as a table, on a console in a line: no object prints the columns of all inputs."""
    module = torch.nn.Linear(2, 2, bias=False).requires_grad_(False).eval()
    module.weight.copy_(torch.eye(2))
    clf, threat = certify.Classifier(module, num_classes=2), certify.ThreatModel("linf", (0.0, 0.1))
    x, y = [[0.9, 0.1], [0.2, 0.8], [0.55, 0.45]], [0, 1, 0]
    for name in ("<b>", "other"):
        certify.evaluate(clf, (x, y), threat=threat, certifier="crown", out=tmp_path / name)
    first, second = certify.read_runs([tmp_path / "<b>", tmp_path / "other"])
    assert "&lt;b&gt;" in first._repr_html_()
    assert str(first) == first.summary.table()
    table = certify.grouped(first.summary, "label", [0, 1, 0])
    [groups] = table.groups
    assert groups._repr_html_() in table._repr_html_()
    assert groups.plot().get_xlabel() == "label"
    best = envelope({"a": replace(first.summary, confidence=0.99), "b": replace(second.summary, confidence=0.99)})
    assert best.to_frame().loc[0.1, "certified"] == 2 / 3
    assert best.statement in unescape(best._repr_html_())
    assert best.plot().get_xlabel() == first.summary.plot().get_xlabel()
    checked = certify.check(certify.bound(clf, x, y, threat=threat), clf, x)
    assert str(checked) in unescape(checked._repr_html_())
    assert set(checked.to_frame()["standing"]) == {"confirmed"}
    for one in (first, first.summary, table, certify.compare([first, second]), checked):
        assert len(repr(one)) < 2000
