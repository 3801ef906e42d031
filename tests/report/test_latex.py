"""What goes into a paper: it compiles, it shows what the run says, and no name can act."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from certify.core.rounding import percent_down
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
    assert not re.search("undefined|Overfull", (tmp_path / "main.log").read_text(errors="replace"))


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
    curves = re.findall(r"const plot mark right, mark=none\] coordinates \{(.*?)\};", source)
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"\((.*?)\)", curves[0])]
    assert points[-1][1] == 0
    assert len(points) > 2
    for radius, percent in points:
        assert percent <= 100 * smoothed.summary.certified_at(radius) + 1e-9
    assert r"l2 radius (pixels in [0, 1])" in source


def test_the_legend_names_each_plot_or_leaves_it_out(smoothed, unattacked, tmp_path):
    write_latex([smoothed, unattacked], tmp_path)
    for line in (tmp_path / "figure.tex").read_text().splitlines():
        if line.startswith(r"\addplot"):
            assert ("forget plot" in line) != (r"\addlegendentry" in line)


def test_runs_with_one_norm_share_axes_and_others_do_not(smoothed, unattacked, tmp_path):
    write_latex([smoothed, replace(smoothed, name="again_$"), unattacked], tmp_path)
    source = (tmp_path / "figure.tex").read_text()
    assert source.count(r"\begin{axis}") == source.count(r"\end{tikzpicture}") == 2
    assert r"\addlegendentry{certified: smoothed}" in source
    assert r"\addlegendentry{certified: again\_\$}" in source
    assert r"\addlegendentry{no attack succeeded: again\_\$}" in source


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
