"""The page is one file that says the worst first, shows the very inputs, and escapes every name."""

from __future__ import annotations

import io
import re
import shlex
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib
import numpy as np
import pytest

from certify.core.columns import NO_CLASS
from certify.core.rounding import percent_down, round_down, round_up
from certify.core.run import Run
from certify.core.sandwich import Sandwich
from certify.core.summary import Contradiction
from certify.core.written import radii_of
from certify.data.dataset import input_digest
from certify.errors import BadInput, MissingExtra
from certify.report.claims import headline, limits, threat_in_words
from certify.report.page import charts
from certify.report.page.originals import Originals, originals_of
from certify.report.page.page import page
from certify.report.page.pictures import as_image, difference, picture
from certify.report.page.weakest import Weak, _weak, weakest
from certify.report.protocol import commands
from certify.store.run_folder import RunFolder
from certify.study.read import read_run, with_groups


def findings_of(path):
    with RunFolder.open(path) as folder:
        return folder.records.findings()


class Read(HTMLParser):
    """Tags with their attributes, and the text of the whole page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


@pytest.fixture(scope="session")
def html(runs) -> str:
    return page(list(runs.values()))


@pytest.fixture(scope="session")
def read(html) -> Read:
    return Read(html)


def test_it_is_one_small_file_that_refers_to_nothing_and_runs_nothing(html, read):
    assert len(html.encode()) < 1_000_000
    assert all(source.startswith("data:image/png;base64,") for source in read.all("src"))
    assert all(target.startswith("#") for target in read.all("href"))
    assert not [tag for tag, _ in read.tags if tag in ("script", "link", "iframe", "object", "base", "form")]
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_ids_are_unique_and_every_reference_has_its_target(html, read):
    ids = Counter(read.all("id"))
    assert max(ids.values()) == 1
    named = read.all("aria-labelledby") + [target[1:] for target in read.all("href")]
    named += re.findall(r"url\(#([^)]+)\)", html)
    assert set(named) <= set(ids)


def test_its_structure_can_be_read_out(read):
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert ("html", {"lang": "en"}) in read.tags
    assert all(attributes.get("alt") for tag, attributes in read.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in read.tags if tag == "svg")
    assert all(attributes.get("scope") for tag, attributes in read.tags if tag == "th")
    regions = [attributes for _, attributes in read.tags if attributes.get("role") == "region"]
    assert {one["tabindex"] for one in regions} == {"0"}
    assert max(Counter(one["aria-label"] for one in regions).values()) == 1


def test_the_same_runs_give_the_same_bytes_whatever_matplotlib_is_set_to(runs, html, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 9.0)
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "path")
    assert page(list(runs.values())) == html
    assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_figures_take_their_colours_and_letters_from_the_page(html):
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 9  # p_A has no figure for proofs
    for one in drawings:
        assert "var(--c0)" in one
        assert not re.search(r"#[0-9a-f]{6}\b", one.replace("#ffffff", ""))
        assert "<text" in one


def test_every_number_of_the_tables_is_there(runs, read):
    for run in runs.values():
        for row in run.summary.rows:
            assert percent_down(row.certified) in read.text
        for line in (run.summary.statement, *run.summary.further, *limits(run.summary)):
            assert line in read.text
        assert threat_in_words(run.summary) in read.text
        for pin in (run.settings["model"]["digest"], run.settings["data"]["digest"], f"certify check {run.path}"):
            assert pin in read.text


def test_a_hostile_name_is_only_a_name(hostile):
    html = page([hostile])
    assert "<script" not in html
    assert hostile.name in Read(html).text
    assert hostile.summary.threat.units in Read(html).text


def test_contradictions_come_first_and_loud(contradicted, read):
    text = Read(page([contradicted])).text
    assert text.index("do not rely on these certificates") < text.index("What can be promised")
    assert text.index("input 0: smoothing certifies") < text.index("What can be promised")
    assert "25 found" in text
    assert "and 5 more" in text
    assert "Not to be relied on until its contradictions are explained: so far, in an unfinished run" in text
    assert "INCOMPLETE: 24 of 99" in text
    assert "do not rely" not in read.text


def test_runs_that_can_be_compared_share_a_figure_and_a_table(smoothed, runs, read):
    twice = Read(page([replace(smoothed, name="one"), replace(smoothed, name="two")])).text
    assert "Runs over the l2 radius" in twice
    assert "Runs side by side: l2 radius" in twice
    assert "Runs over the" not in read.text  # l2 beside linf
    assert "another threat model" in read.text


def test_no_runs_and_no_matplotlib_are_said_in_one_line(smoothed, monkeypatch):
    with pytest.raises(BadInput, match="at least one run"):
        page([])
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"certify\[plot\]"):
        page([smoothed])


def test_a_hundred_thousand_inputs_stay_small(smoothed):
    many, generator = 100_000, np.random.default_rng(0)
    certified = generator.uniform(0, 0.5, many)
    attacked = np.where(generator.random(many) < 0.5, certified + generator.exponential(0.2, many), np.nan)
    row = np.arange(many)
    label, verdict = row % 10, np.zeros(many, dtype=np.int8)
    sandwich = Sandwich(row, label, label, verdict, certified, certified, attacked, 1 - certified / 2, certified)
    summary = replace(smoothed.summary, n=many, sandwich=sandwich)
    assert len(page([replace(smoothed, summary=summary, path=None)]).encode()) < 400_000


# The promise.


def test_the_promise_is_at_the_largest_radius_that_half_of_the_inputs_are_sure_to_hold(smoothed):
    bounds = (0.9, 0.5, 0.49)
    rows = [replace(row, certified_lower=lower) for row, lower in zip(smoothed.summary.rows, bounds, strict=True)]
    said = headline(replace(smoothed, summary=replace(smoothed.summary, rows=tuple(rows))))
    assert "every l2 change of at most 0.25 (pixels in [0, 1])" in said.sentence
    assert "with 95 % confidence" in said.sentence.lower()
    assert "at least 50.0 % of 24 inputs" in said.sentence
    weak = [replace(row, certified_lower=0.2) for row in rows]
    said = headline(replace(smoothed, summary=replace(smoothed.summary, rows=tuple(weak))))
    assert "at most 0.25" in said.sentence
    assert said.why.startswith("At no declared radius")


def test_the_promise_of_a_proof_has_no_probability(unattacked):
    said = headline(unattacked)
    assert "proven" in said.sentence
    assert "confidence" not in said.sentence
    assert "no attack has tried" in said.sentence
    assert ("no attack succeeded", "not attacked") in said.figures


def test_one_contradiction_is_one(smoothed):
    one = (Contradiction(1, "smoothing", 0.5, "pgd", 0.25),)
    said = headline(replace(smoothed, summary=replace(smoothed.summary, contradictions=one)))
    assert "1 contradiction was found" in said.sentence


def test_the_tiles_say_to_which_side_they_are_rounded(smoothed):
    # 59 of 60 is 98.33 %: certified 98.3 beside 98.4 not broken, and no gap between the two.
    rows = [replace(row, certified=59 / 60, certified_lower=0.9, empirical=59 / 60) for row in smoothed.summary.rows]
    said = headline(replace(smoothed, summary=replace(smoothed.summary, rows=tuple(rows))))
    assert ("certified, rounded down", "98.3 %") in said.figures
    assert ("no attack succeeded, rounded up", "98.4 %") in said.figures


def test_no_limit_is_said_twice(smoothed, unattacked):
    for run in (smoothed, unattacked):
        said = limits(run.summary)
        assert len(set(said)) == len(said)
        assert sum("smoothed model" in line.lower() for line in said) == (run is smoothed)


# Many runs.


@pytest.fixture(scope="session")
def many(runs) -> list[Run]:
    smoothed, proven = runs["smoothed"], runs["proven"]
    return [*(replace(smoothed, name=f"smoothed {place}") for place in range(4)), proven]


def test_many_runs_say_once_what_they_share_and_fold_what_they_do_not(many):
    html = page(many)
    found = Read(html)
    names = ", ".join(run.name for run in many[:4])
    summary = many[0].summary
    for text in (summary.statement, *limits(summary), threat_in_words(summary), headline(many[0]).why):
        assert found.text.count(text) == 1
    assert f"{names}: {summary.statement}" in found.text
    everybody = set(limits(summary)) & set(limits(many[4].summary))
    assert everybody
    assert not any(f": {text}" in found.text for text in everybody)
    folds = [attributes for tag, attributes in found.tags if tag == "details" and attributes.get("class") == "run"]
    assert len(folds) == 4 * len(many) + 2  # curves, distributions, shift, weakest; evidence and gaps
    assert len(html.encode()) < 1_000_000


def test_two_runs_are_not_folded(read):
    assert not [attributes for tag, attributes in read.tags if attributes.get("class") == "run"]


def test_what_a_run_has_one_number_of_is_a_table(smoothed, read):
    gaps = smoothed.summary.sandwich.gaps()
    for part in ("average certified radius", f"l2 {round_down(smoothed.summary.acr)}", f"l2 {round_up(gaps.median)}"):
        assert part in read.text
    assert "contradictions 0   average" not in read.text
    assert "gap between proof and example: median" not in read.text


# What to type.


def again(runs, **asked) -> str:
    [command] = [command for purpose, command in commands(runs, **asked) if purpose == "make this page again"]
    return command


def test_a_page_says_how_it_is_made_again(run_folders):
    folder = run_folders["smoothed"]
    assert again([read_run(folder)]) == f"certify report {folder} --html report.html"
    radii = (0.1, 1 / 3)
    [other] = [with_groups(read_run(folder, radii), ["label"])]
    words = ["certify", "report", str(folder), "--radii", "0.1,0.3333333333333333", "--group", "label", "--html"]
    assert shlex.split(again([other]))[:-1] == words
    assert read_run(folder, radii_of("radii", words[4])).summary.threat == other.summary.threat
    exact = ["--data", "npz:my data.npz", "--group", "a.csv:site"]
    assert shlex.split(again([other], asked=exact))[3:-2] == exact
    assert "--data 'npz:my data.npz'" in Read(page([other], asked=exact)).text


def test_the_command_that_made_a_run_is_not_taken_for_the_pages(smoothed):
    run = replace(smoothed, context={"command": ["/bin/certify", "run", "--seed", "0"]})
    assert dict(commands([run]))[f"make {run.name} again"] == "certify run --seed 0"
    assert again([run]) == f"certify report {run.path} --html report.html"


def test_the_command_that_makes_a_run_holds_what_stood_in_its_study_file(smoothed):
    study = {
        "model": "net:f@w.safetensors",
        "data": "npz:my data.npz",
        "certifier": ["ibp", "crown"],
        "radii": [0.0, 1 / 3],
        "decide": True,
        "limit": 10,
        "attack-option": {"steps": 5, "loss": "ce"},
    }
    run = replace(smoothed, context={"command": ["certify", "run", "study.toml"], "study": study})
    said = dict(commands([run]))[f"make {run.name} again"]
    assert said == (
        "certify run --model net:f@w.safetensors --data 'npz:my data.npz' --certifier ibp,crown "
        "--radii 0,0.3333333333333333 --decide --limit 10 --attack-option steps=5 --attack-option loss=ce"
    )
    assert said in Read(page([run])).text


# Charts.


def test_the_numbers_of_a_figure_add_up(smoothed):
    layers = smoothed.summary.sandwich
    for make, column in (
        (charts.sandwich, layers.seconds),
        (charts.radii, layers.certified),
        (charts.probabilities, layers.p_lower),
    ):
        assert sum(int(count) for _, count in make(smoothed, "key").rows) == np.count_nonzero(~np.isnan(column))


def test_an_input_is_counted_as_one_kind_by_its_certified_radius_and_its_example(smoothed):
    certified = np.array([0.2, 0.3, 0.4, 0.5, np.nan, np.nan, 0.1])
    attacked = np.array([0.4, 0.3, 0.2, np.nan, 0.1, np.nan, 0.0])  # the second lies exactly at its radius
    label = np.zeros(7, dtype=int)
    prediction = np.array([0, 0, 0, 0, 0, 0, 1])
    layers = Sandwich(np.arange(7), label, prediction, label, certified, certified, attacked, certified, certified)
    chart = charts.sandwich(replace(smoothed, summary=replace(smoothed.summary, sandwich=layers)), "key")
    assert [int(count) for _, count in chart.rows] == [1, 1, 1, 1, 2, 1]


def test_proofs_have_no_probabilities(unattacked):
    assert charts.probabilities(unattacked, "key") is None


def test_without_an_example_there_is_nothing_to_lie_between(unattacked):
    assert charts.sandwich(unattacked, "key") is None
    assert "no example found" in Read(page([unattacked])).text


# Pictures.


def decoded(uri: str) -> np.ndarray:
    import base64

    from matplotlib import image

    return np.rint(255 * image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_holds_the_values(channels):
    values = np.random.default_rng(0).uniform(-1, 1, (channels, 6, 5))
    shown = decoded(picture(as_image(values, True), (-1.0, 1.0), "alt", "caption").uri)
    expected = np.rint(255 * (np.moveaxis(values, 0, -1) + 1) / 2).astype(int)
    assert np.abs(shown.reshape(expected.shape) - expected).max() == 0


def test_a_large_picture_is_averaged_down():
    values = np.zeros((200, 130, 1))
    values[:4, :4] = 1.0
    shown = decoded(picture(values, (0.0, 1.0), "", "").uri)
    assert shown.shape == (50, 32)
    assert shown[0, 0] == 255
    assert shown.sum() == 255


@pytest.mark.parametrize(("moved", "times"), [(0.25, 2), (0.3, 1), (0.1, 5), (0.01, 50), (0.5, 1), (0.0, 1)])
def test_a_difference_says_how_much_it_is_magnified(moved, times):
    before = np.full((2, 2, 1), 0.5)
    after = before + moved * np.array([[[1], [-1]], [[0], [0]]])
    shown = difference(before, after, (0.0, 1.0), "change")
    assert shown.caption == f"difference x {times}"
    assert f"magnified {times} times" in shown.alt
    grey = decoded(shown.uri)
    assert grey[1].tolist() == [128, 128]
    assert abs(grey[0, 0] - 255 * (0.5 + times * moved)) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("shape", "boxed", "image"),
    [
        ((1, 8, 8), False, (8, 8, 1)),
        ((3, 4, 5), False, (4, 5, 3)),
        ((28, 28), False, (28, 28, 1)),
        ((64,), True, (8, 8, 1)),
        ((64,), False, None),  # features without a common range are no pixels
        ((49,), True, None),
        ((65,), True, None),
        ((1, 30), True, None),
        ((4, 8, 8), True, None),
    ],
)
def test_what_is_an_image(shape, boxed, image):
    found = as_image(np.zeros(shape), boxed)
    assert (None if found is None else found.shape) == image


# The weakest inputs.


def test_each_weak_input_is_shown_with_its_example(smoothed, digits):
    shown = weakest(smoothed, originals_of(smoothed), 4)
    by_index = {finding.index: finding for finding in findings_of(smoothed.path)}
    assert [one.layer for one in shown] == smoothed.summary.sandwich.weakest(4)
    broken = [one for one in shown if one.layer.attacked is not None]
    assert broken
    for one in broken:
        finding = by_index[one.layer.index]
        original, example, change = one.pictures
        x = digits.x[digits.positions.index(one.layer.index)]
        assert input_digest(x) == finding.input_digest
        assert np.array_equal(decoded(original.uri), np.rint(255 * x[0]).astype(int))
        assert np.array_equal(decoded(example.uri), np.rint(255 * finding.x_adv[0].astype(float)).astype(int))
        assert one.becomes == f"class {finding.adversarial_prediction}" != one.label == f"class {one.layer.label}"
        assert example.alt == f"adversarial example of input {one.layer.index}: {one.becomes}"
        assert "magnified" in change.alt


def test_distances_are_rounded_up_and_certified_radii_down(smoothed):
    layer = replace(smoothed.summary.sandwich[0], certified=0.24999, attacked=0.25001)
    shown = Weak(layer, "class 0", "", smoothed.summary.threat)
    assert shown.certified == "certified l2 0.2499"
    assert shown.attacked == "example at l2 0.2501"


def test_of_no_image_the_features_that_moved_most_are_told(smoothed):
    finding = next(one for one in findings_of(smoothed.path) if one.succeeded)
    before = np.linspace(0, 1, 30, dtype=np.float32)
    after = before + np.float32(0.001) * np.arange(30) * (-1) ** np.arange(30)  # feature k by k thousandths
    [layer] = [one for one in smoothed.summary.sandwich if one.index == finding.index]
    originals = Originals({finding.index: before})
    flat = replace(finding, x_adv=after.astype(np.float32), input_digest=input_digest(before))
    shown = _weak(smoothed, layer, originals, flat, flat.input_digest)
    assert shown.pictures == ()
    assert [one.feature for one in shown.moved] == ["29", "28", "27", "26", "25", "24"]
    assert (shown.moved[0].before, shown.moved[0].after) == ("1", "0.971")
    same = replace(flat, x_adv=before)
    assert _weak(smoothed, layer, originals, same, flat.input_digest).moved == ()


def test_of_several_attacks_the_nearest_example_is_shown(smoothed, tmp_path):
    findings = findings_of(smoothed.path)
    near = [
        replace(one, attack="nearer", distance=one.distance / 2, adversarial_prediction=(one.label + 7) % 10)
        for one in findings
        if one.succeeded
    ]
    with RunFolder.open(smoothed.path) as folder:
        manifest = folder.manifest
    for place, order in enumerate(([*near, *findings], [*findings, *near])):
        with RunFolder.create(tmp_path / str(place), manifest) as folder:
            folder.records.add(order)
        shown = weakest(replace(smoothed, path=tmp_path / str(place)), originals_of(smoothed), 2)
        assert [one.becomes for one in shown] == [f"class {(one.layer.label + 7) % 10}" for one in shown]


def test_other_inputs_than_those_of_the_run_are_not_shown(smoothed, shuffled):
    for one in weakest(smoothed, originals_of(smoothed, shuffled), 4):
        assert len(one.pictures) == (one.layer.attacked is not None)
    text = Read(page([smoothed], shuffled)).text
    assert "the data that was loaded holds other values" in text


def test_data_that_cannot_be_found_is_said_in_one_sentence(smoothed):
    data = {**smoothed.settings["data"], "name": "lost"}
    lost = replace(smoothed, settings={**smoothed.settings, "data": data})
    text = Read(page([lost])).text
    assert "The original inputs are not shown: lost could not be loaded; name it with --data SPEC." in text


def test_a_function_that_a_command_names_is_not_called(smoothed, monkeypatch):
    def called(spec: str) -> None:
        raise AssertionError(f"{spec} was called")

    monkeypatch.setattr("certify.data.loaders.load_named", called)
    data = {**smoothed.settings["data"], "name": "os:getcwd"}
    for command in (["certify", "run", "--data", "os:getcwd"], ["certify", "run", "--data=os:getcwd"]):
        run = replace(smoothed, settings={**smoothed.settings, "data": data}, context={"command": command})
        assert originals_of(run).note


def test_data_are_found_by_the_command_too(smoothed):
    data = {**smoothed.settings["data"], "name": "lost"}
    run = replace(smoothed, settings={**smoothed.settings, "data": data}, context={"command": ["x", "--data=digits"]})
    assert not originals_of(run).note


def test_without_a_folder_there_are_no_pictures(smoothed):
    text = Read(page([replace(smoothed, path=None)])).text
    assert "kept no records on disk" in text
    assert "certify check RUN" in text


def test_a_run_that_is_wrong_everywhere_has_no_weakest(smoothed):
    layers = smoothed.summary.sandwich
    none = np.full(len(layers), NO_CLASS)
    wrong = replace(layers, prediction=none, certified=np.full(len(layers), np.nan), sure=np.full(len(layers), np.nan))
    text = Read(page([replace(smoothed, summary=replace(smoothed.summary, sandwich=wrong))])).text
    assert "No input is predicted correctly." in text


@pytest.mark.parametrize(
    ("model", "out"),
    [
        ("runs/a@b/model", "runs/a@b/model"),
        ("nets:build@runs/a@b/model/model.safetensors", "runs/a@b/model"),
    ],
)
def test_how_a_model_was_trained_names_its_folder(smoothed, model, out):
    study = {"model": model, "train": {"recipe": "noise", "data": "digits:train"}}
    run = replace(smoothed, context={"study": study})
    said = dict(commands([run]))[f"train the model of {run.name} again"]
    assert said == f"certify train noise --data digits:train --out {out}"
