"""Settings in words: numbers are read as they are written, and nothing is guessed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from certify.core.threats.lp import ThreatModel
from certify.core.written import decimal, numbers
from certify.errors import BadInput
from certify.study.settings import Settings, amount, read_toml, sweep

GIVEN = {"model": "net", "data": "digits", "radii": "0,0.25"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"radii": [True]}, "radii must be numbers"),
        ({"radii": [0, True]}, "radii must be numbers"),
        ({"radii": "0_1"}, "radii must be numbers"),
        ({"radii": "0,1e-400"}, "radii must be numbers"),
        ({"radii": "0,1e400"}, "radii must be numbers"),
        ({"radii": "0,nan"}, "radii must be numbers"),
        ({"radii": "0,\u0661"}, "radii must be numbers"),
        ({"radii": [10**400]}, "radii must be numbers"),
        ({"looks": [True, 500]}, "looks must be numbers"),
        ({"looks": "1_000"}, "looks must be numbers"),
        ({"look-alphas": [False, 0.001]}, "look-alphas must be numbers"),
        ({"look_alphas": "0.001", "look-alphas": "0.002"}, "look_alphas and look-alphas are one setting; give it once"),
        ({"batch_size": 64, "batch-size": 64}, "batch_size and batch-size are one setting"),
        ({"max-memory": "4 G"}, "max-memory must be a whole number of bytes, or of K, M or G"),
        ({"max-memory": "1.5G"}, "for example 4G, got '1.5G'"),
        ({"max-memory": "-4G"}, "max-memory must be"),
        ({"max-memory": 1.5}, "max-memory must be a whole number"),
    ],
)
def test_what_is_not_plainly_a_number_or_given_twice_is_refused_in_one_line(changes, words):
    with pytest.raises(BadInput, match=words) as problem:
        Settings.of(GIVEN | changes)
    assert "\n" not in str(problem.value)


def test_a_study_file_gives_a_key_in_one_spelling(tmp_path):
    (tmp_path / "study.toml").write_text("look_alphas = [0.001]\nlook-alphas = [0.002]\n")
    with pytest.raises(BadInput, match="are one setting"):
        read_toml(tmp_path / "study.toml")


def test_plain_numbers_are_read_however_they_are_written():
    assert numbers("radii", " 0 , .5,1.,+2,1e1, 0e-999") == (0.0, 0.5, 1.0, 2.0, 10.0, 0.0)
    assert numbers("radii", [0, 0.5, "1e0"]) == (0.0, 0.5, 1.0)
    assert Settings.of(GIVEN | {"looks": "1e3,2000"}).options["looks"] == (1000, 2000)
    assert decimal("5e-324") == 5e-324


@pytest.mark.parametrize(("given", "count"), [("7", 7), (7, 7), ("2K", 2**11), (" 512M ", 2**29), ("4G", 2**32)])
def test_amounts_of_memory(given, count):
    assert amount("max-memory", given) == count
    assert Settings.of(GIVEN | {"max-memory": given}).options == {"max_memory": count}


@pytest.mark.parametrize("radii", ["0,8/255", [0, "8/255"], " 0 , 8 / 255 "])
def test_a_fraction_is_declared_from_above(radii):
    found = Settings.of(GIVEN | {"radii": radii}).radii
    assert found[0] == 0.0
    assert Fraction(found[1]) >= Fraction(8, 255) > Fraction(math.nextafter(found[1], 0))
    assert ThreatModel("linf", radii).radii == found
    assert "declared radii 0, 8/255 " in str(ThreatModel("linf", radii))


@pytest.mark.parametrize(
    "text", ["8/", "/255", "8/0", "1/2/3", "1e-9/3", "8//255", "1/" + "9" * 31, "\u0661/2", "nan/1"]
)
def test_what_is_no_fraction_is_refused_in_one_line(text):
    with pytest.raises(BadInput, match=r"^radii must be numbers [^\n]*2/255,8/255, got [^\n]*$"):
        Settings.of(GIVEN | {"radii": f"0,{text}"})


@pytest.mark.parametrize(
    ("given", "read"), [("imagenet", "imagenet"), ("0.5,0.4", (0.5, 0.4)), (0.5, (0.5,)), ([1, 2], (1.0, 2.0))]
)
def test_a_normalization_is_a_name_or_numbers(given, read):
    settings = Settings.of(GIVEN | {"mean": given})
    assert settings.mean == read
    assert settings.specs == {"model": "net", "data": "digits", "mean": read}
    with pytest.raises(BadInput, match="std must be numbers"):
        Settings.of(GIVEN | {"std": True})


def test_a_sweep_is_a_run_for_each_sigma_in_a_folder_and_under_a_label_of_its_own():
    given = {"model": "net", "data": "digits", "radii": "0", "out": "runs", "label": "mine"}
    [(one, folder)] = sweep({**given, "sigma": "0.25"})
    assert (one.options["sigma"], one.label, folder) == (0.25, "mine", "runs")
    assert [settings.label for settings, _ in sweep({**given, "sigma": [0.5, 1]})] == [
        "mine, sigma-0.5",
        "mine, sigma-1",
    ]
    [(proof, _)] = sweep({**given, "certifier": "crown"})
    assert "sigma" not in proof.options
    assert proof.given == {**given, "radii": (0.0,), "certifier": ("crown",)}
    for wrong, message in (
        ("0.25,0.25", "different ones"),
        ("0.25,x", "numbers separated by commas"),
        ([], "one number"),
    ):
        with pytest.raises(BadInput, match=message):
            sweep({**given, "sigma": wrong})
    with pytest.raises(BadInput, match="no run folder given"):
        sweep({**given, "out": None})
