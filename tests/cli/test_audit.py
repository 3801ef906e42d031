"""``certify audit``: what a log says about itself, and one line where it says nothing."""

from __future__ import annotations

import json

from certify.cli import main


def test_the_pair_is_named_and_the_others_excluded(logs, tmp_path, capsys):
    (tmp_path / "log").write_text(logs.header + "".join(logs.lines()))
    assert main(["audit", str(tmp_path / "log"), "--sigma", "0.25"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "with n=10,000, alpha=0.001" in text
    assert "pairs by their top rung" in text
    assert main(["audit", str(tmp_path / "log"), "--sigma", "0.25", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["consistent"] == [[10_000, 0.001]]
    assert len(found["excluded"]) > 100
    assert (found["rows"], found["index_steps"], found["radius_digits"]) == (200, [1], 3)


def test_another_sigma_is_suspected(logs, tmp_path, capsys):
    (tmp_path / "log").write_text(logs.header + "".join(logs.lines()))
    assert main(["audit", str(tmp_path / "log"), "--sigma", "0.3"]) == 0
    assert "but with sigma=0.25, n=10,000, alpha=0.001" in " ".join(capsys.readouterr().out.split())


def test_impossible_pairs_are_listed_and_end_with_code_4(logs, tmp_path, capsys):
    lines = [line.split("\t") for line in logs.lines()]
    [index, *_] = [int(one[0]) for one in lines if one[4] == "1" and float(one[3]) >= 0.5 and int(one[0]) % 4 == 0]
    (tmp_path / "log").write_text(logs.header + "".join(logs.lines()))
    (tmp_path / "attack").write_text(logs.attack({index}))
    asked = ["audit", str(tmp_path / "log"), "--sigma", "0.25", "--attack"]
    assert main([*asked, f"{tmp_path / 'attack'}=0.5"]) == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 impossible pairs of" in printed
    assert printed.endswith(f": inputs {index}")
    (tmp_path / "attack").write_text(logs.attack(set()))
    assert main([*asked, f"{tmp_path / 'attack'}=0.5"]) == 0
    capsys.readouterr()
    assert main(["audit", str(tmp_path / "attack")]) == 0
    assert "smoothed model 100 %, base model 0 %; 0 % of the inputs abstained" in capsys.readouterr().out


def test_what_cannot_be_audited_is_one_line_with_code_2(logs, tmp_path, capsys):
    (tmp_path / "log").write_text(logs.header + "".join(logs.lines()))
    (tmp_path / "header").write_text(logs.header)
    (tmp_path / "attack").write_text(logs.attack(set()))
    for arguments, words in [
        (["header", "--sigma", "0.25"], "holds a header and no row"),
        (["log"], "give --sigma"),
        (["log", "--sigma", "-1"], "give --sigma"),
        (["log", "--sigma", "0.25", "--format", "xml"], "unknown audit format"),
        (["attack", "--attack", "log=0.5"], "is an attack log itself"),
        (["absent", "--sigma", "0.25"], "cannot read log"),
    ]:
        assert main(["audit", str(tmp_path / arguments[0]), *arguments[1:]]) == 2
        printed = capsys.readouterr().err
        assert words in printed
        assert printed.count("\n") == 1
