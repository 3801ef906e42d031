"""What goes into a paper: it compiles, it shows what the run says, and no name can act."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from certify.core.rounding import percent_down
from certify.core.run import Run
from certify.core.summary import FORMATS
from certify.errors import BadInput, MissingExtra
from certify.report.latex import table, write_latex
from certify.report.latex.text import escape
from certify.report.references import references_of

pytest.importorskip("matplotlib", reason="matplotlib comes with certify[plot]")
FILES = ["figure.pdf", "figure.tex", "main.tex", "references.bib", "table.tex"]


def run(folder, *command: str) -> None:
    options = ["-interaction=nonstopmode", "-halt-on-error"] if command[0] == "pdflatex" else []
    done = subprocess.run([*command, *options, "main"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]


with_tex = pytest.mark.skipif(not (shutil.which("pdflatex") and shutil.which("bibtex")), reason="no pdflatex here")


@with_tex
def test_the_folder_compiles_as_it_is(smoothed, unattacked, tmp_path):
    assert sorted(path.name for path in write_latex([smoothed, unattacked], tmp_path)) == FILES
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        run(tmp_path, command)
    assert (tmp_path / "main.pdf").read_bytes().startswith(b"%PDF")
    cited = (tmp_path / "main.bbl").read_text()
    for key in {*references_of(smoothed.summary), *references_of(unattacked.summary)}:
        assert f"{{{key}}}" in cited
    assert not complaints(tmp_path, "undefined", "Overfull", "too large")


def complaints(folder, *words: str) -> list[str]:
    """What LaTeX says in its log, as far as it has one of these words."""
    return re.findall(f".*(?:{'|'.join(words)}).*", (folder / "main.log").read_text(errors="replace"))


@pytest.fixture
def five(smoothed, unattacked) -> list[Run]:
    """Five runs under three threat models, one of them with many methods."""
    methods = dict.fromkeys(("ibp", "crown-ibp", "crown", "alpha-crown"), 0.5)
    rows = tuple(replace(row, by_method=methods) for row in unattacked.summary.rows)
    wide = replace(unattacked, name="wide", summary=replace(unattacked.summary, rows=rows))
    l1 = replace(smoothed.summary, threat=replace(smoothed.summary.threat, norm="l1"))
    others = [replace(smoothed, name=f"sigma 0.{place}") for place in range(2)]
    return [smoothed, *others, replace(smoothed, name="l1", summary=l1), wide]


@with_tex
def test_five_runs_fit_their_pages(five, tmp_path):
    write_latex(five, tmp_path)
    run(tmp_path, "pdflatex")
    assert not complaints(tmp_path, "Overfull", "too large")


@with_tex
def test_many_lines_run_over_several_pages(five, tmp_path):
    write_latex([replace(one, name=f"{one.name} {place}") for one in five for place in range(4)], tmp_path)
    source = (tmp_path / "table.tex").read_text()
    assert source.startswith("% needs \\usepackage{booktabs,longtable}")
    assert r"\begin{table}" not in source
    for _ in range(2):
        run(tmp_path, "pdflatex")
    assert not complaints(tmp_path, "Overfull", "too large")


@with_tex
def test_what_makes_a_run_again_is_printed_so_that_it_can_be_typed(smoothed, tmp_path):
    study = {"model": "folder_" * 20 + "/net:f", "data": "npz:my data.npz", "radii": [0.0, 0.5]}
    write_latex([replace(smoothed, context={"study": study})], tmp_path)
    run(tmp_path, "pdflatex")
    assert not complaints(tmp_path, "Undefined", "undefined control")
    source = (tmp_path / "main.tex").read_text()
    assert (
        r"-{}-data \textquotesingle{}npz:\allowbreak{}my data.npz\textquotesingle{} -{}-radii 0,\allowbreak{}0.5"
        in source
    )
    assert "certify check" in source


def test_what_several_runs_share_is_said_once(five):
    text = table([(one.name, one.summary) for one in five])
    assert text.count(escape(five[0].summary.statement)) == 1
    assert text.count(escape(str(five[0].summary.threat))) == 1
    assert r"\emph{smoothed, sigma 0.0, sigma 0.1, l1}: " in text
    assert "smoothed, sigma 0.0, sigma 0.1: l2 ball" in re.search(r"\\caption\{(.*)\}\n", text)[1]
    assert text.index(r"\end{table}") < text.index(r"\emph{smoothed, sigma 0.0, sigma 0.1, l1}: ")


@with_tex
def test_no_name_stops_it_from_compiling(hostile, contradicted, tmp_path):
    write_latex([hostile, contradicted], tmp_path)
    run(tmp_path, "pdflatex")


def test_a_table_needs_booktabs_alone_and_states_its_terms(smoothed, unattacked):
    text = table([(run.name, run.summary) for run in (smoothed, unattacked)])
    caption = re.search(r"\\caption\{(.*)\}\n\\label", text)[1]
    for part in (r"l2 ball, declared radii 0, 0.25, 0.5", "alpha=0.001 for each input", "n=24", r"95 \% confidence"):
        assert part in caption
    assert "linf ball" in caption
    assert "a proof for each input" in caption
    assert "rounded down" in caption
    assert {*re.findall(r"\\(\w+rule)\b", text)} == {"toprule", "midrule", "bottomrule"}
    assert escape(smoothed.summary.statement) in text
    last = smoothed.summary.rows[-1]
    assert f" 0.5 & {percent_down(last.certified)} & " in " " + text.replace("\n", " ")
    widths = {line.count(" & ") for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line}
    assert len(widths) == 1


def test_contradictions_stand_below_the_table(contradicted):
    text = table([("wrong", contradicted.summary)])
    assert text.index("bottomrule") < text.index("CONTRADICTION input 0")
    assert "INCOMPLETE: 24 of 99" in text


def test_the_format_is_the_table_of_one_run(smoothed):
    text = FORMATS["latex"](smoothed.summary)
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}")
    assert "multicolumn" not in text


@pytest.mark.parametrize(
    "character", [chr(code) for code in (*range(32, 127), 0x0A, 0xC9, 0xD0, 0x3B1, 0x4E2D, 0x1F600)]
)
def test_no_character_is_left_special(character):
    text = escape(f"a{character}b")
    bare = re.sub(r"\\(textbackslash|text\w+)\{\}|\\[{}$&#%_]|\{\\char34\}|\$\\geq\$", "", text)
    assert not re.search(r"[\\{}$&#%_^~<>|\"\n]", bare)


def test_the_figure_is_never_above_the_exact_curve(smoothed, tmp_path):
    write_latex([smoothed], tmp_path)
    source = (tmp_path / "figure.tex").read_text()
    curves = re.findall(r"const plot mark right, mark=none, forget plot\] coordinates \{(.*?)\};", source)
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"\((.*?)\)", curves[0])]
    assert points[-1][1] == 0
    assert len(points) > 2
    for radius, percent in points:
        assert percent <= 100 * smoothed.summary.certified_at(radius) + 1e-9
    assert r"l2 radius (pixels in [0, 1])" in source


def test_the_legend_is_written_apart_from_the_plots(smoothed, unattacked, tmp_path):
    write_latex([smoothed, unattacked], tmp_path)
    for line in (tmp_path / "figure.tex").read_text().splitlines():
        if line.startswith(r"\addplot"):
            assert "forget plot" in line
            assert "nan" not in line
        assert line.startswith(r"\addlegendimage") == (r"\addlegendentry" in line)


def test_runs_with_one_norm_share_axes_and_others_do_not(smoothed, unattacked, tmp_path):
    write_latex([smoothed, replace(smoothed, name="again_$"), unattacked], tmp_path)
    source = (tmp_path / "figure.tex").read_text()
    assert source.count(r"\begin{axis}") == source.count(r"\end{tikzpicture}") == 2
    shared, alone = (re.findall(r"\\addlegendentry\{(.*)\}", part) for part in source.split(r"\end{axis}")[:2])
    sure = r"truly robust, at least (95 \% sure)"
    assert shared[:4] == ["smoothed", r"again\_\$", "certified", sure]
    assert shared.count("no attack succeeded") == 1
    assert alone == ["certified", "population, at least", "clean"]


def test_the_same_runs_write_the_same_bytes(smoothed, unattacked, tmp_path):
    one, two = (write_latex([smoothed, unattacked], tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_what_cannot_be_written_is_said_in_one_line(smoothed, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="choose another folder"):
        write_latex([smoothed], tmp_path / "file")
    with pytest.raises(BadInput, match="at least one run"):
        write_latex([], tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"certify\[plot\]"):
        write_latex([smoothed], tmp_path / "other")
    assert not (tmp_path / "other").exists()
