"""Settings in words: numbers are read as they are written, and nothing is guessed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from certify.attacks.base import ATTACKS
from certify.bounds.memory import amount
from certify.certifiers.base import CERTIFIERS
from certify.core.properties.base import PROPERTIES
from certify.core.threats.base import THREATS
from certify.core.threats.lp import ThreatModel
from certify.core.written import decimal, numbers
from certify.engines.base import ENGINES
from certify.errors import BadInput
from certify.gate.conditions.base import CONDITIONS
from certify.registry import Written, make, settings_of
from certify.smoothing.noise.base import NOISES
from certify.study.evaluate import _asked
from certify.study.settings import Settings, read_toml, sweep
from certify.training.recipe import RECIPES

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
        ({"look_alphas": "0.001", "look-alphas": "0.002"}, "look_alphas and look-alphas are one setting; give it once"),
        ({"batch_size": 64, "batch-size": 64}, "batch_size and batch-size are one setting"),
    ],
)
def test_what_is_not_plainly_a_number_or_given_twice_is_refused_in_one_line(changes, words):
    with pytest.raises(BadInput, match=words) as problem:
        Settings.of(GIVEN | changes)
    assert "\n" not in str(problem.value)


def certifier_of(name: str, given):
    option = Settings.of(GIVEN | given).option.items()
    return make(CERTIFIERS, name, {key.removeprefix("certifier."): value for key, value in option})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"looks": [True, 500], "look-alphas": [1e-4, 9e-4]}, "must be a whole number, got True"),
        ({"looks": "1_000"}, "looks of certifier 'smoothing' must be a whole number, or several separated by commas"),
        ({"looks": [500, 1000], "look-alphas": [False, 0.001]}, "must be a number, got False"),
        ({"n": 1.5}, "n must be a whole number"),
        ({"n": True}, "n must be a whole number"),
        ({"sigma": "big"}, "sigma of certifier 'smoothing' must be a number, got 'big'"),
        ({"n": "1_000"}, "must be a whole number, got '1_000'"),
        ({"alpha": "1e400"}, "must be a number, got '1e400'"),
    ],
)
def test_settings_of_a_certifier_are_plainly_numbers(changes, words):
    with pytest.raises(BadInput, match=words) as problem:
        certifier_of("smoothing", {"sigma": 0.25, "n": 1000} | changes)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max-memory": "4 G"}, "max_memory of certifier 'crown' must be a whole number of bytes, or of K, M or G"),
        ({"max-memory": "1.5G"}, "for example 4G, got '1.5G'"),
        ({"max-memory": "-4G"}, "must be a whole number of bytes"),
        ({"max-memory": 1.5}, "max_memory must be a whole number"),
        ({"decide": "maybe"}, "decide of certifier 'crown' must be true or false, got 'maybe'"),
    ],
)
def test_settings_of_bounds_are_plainly_what_they_are(changes, words):
    with pytest.raises(BadInput, match=words):
        certifier_of("crown", changes)


def test_a_study_file_gives_a_key_in_one_spelling(tmp_path):
    (tmp_path / "study.toml").write_text("look_alphas = [0.001]\nlook-alphas = [0.002]\n")
    with pytest.raises(BadInput, match="are one setting"):
        read_toml(tmp_path / "study.toml")


def test_plain_numbers_are_read_however_they_are_written():
    assert numbers("radii", " 0 , .5,1.,+2,1e1, 0e-999") == (0.0, 0.5, 1.0, 2.0, 10.0, 0.0)
    assert numbers("radii", [0, 0.5, "1e0"]) == (0.0, 0.5, 1.0)
    given = {"sigma": "0.25", "n": 2000, "looks": "1e3, 2000", "look-alphas": "5e-4,0.0005"}
    assert certifier_of("smoothing", given).looks == (1000, 2000)
    assert decimal("5e-324") == 5e-324


@pytest.mark.parametrize(("given", "count"), [("7", 7), (7, 7), ("2K", 2**11), (" 512M ", 2**29), ("4G", 2**32)])
def test_amounts_of_memory(given, count):
    assert amount("max-memory", given) == count
    assert certifier_of("crown", {"max-memory": given}).max_memory == count


def test_tables_of_a_study_file_say_whose_setting_is_meant(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(
        'model = "net"\ndata = "digits"\n[threat]\nname = "categories"\nradii = [0, 1]\ngroups = "0:3,3:8"\n'
        '[property]\nname = "superclass"\ngroups = [[0, 1], [2]]\n'
        '[certifier]\nname = ["ibp", "crown"]\nmax-memory = "1G"\ntolerance = 2\n'
    )
    settings = Settings.of(read_toml(study))
    assert (settings.threat, settings.property_, settings.certifier) == ("categories", "superclass", ("ibp", "crown"))
    assert settings.radii == (0.0, 1.0)
    assert settings.option == {
        "threat.groups": "0:3,3:8",
        "property.groups": [[0, 1], [2]],
        "certifier.tolerance": 2,
        "certifier.max_memory": "1G",
    }
    assert settings.given["max-memory"] == "1G"
    study.write_text("radii = [0]\n[threat]\nradii = [1]\n")
    with pytest.raises(BadInput, match=r"radii is in \[threat\] and outside of it; give it once"):
        read_toml(study)


def test_options_go_to_their_owner():
    given = GIVEN | {"threat": "features", "property": "superclass", "certifier": "crown"}
    both = {"threat.groups": Written("0:3,3:8"), "property.groups": Written("0:5,5:10"), "decide": Written("true")}
    threat, keeps, options = _asked(Settings.of(given | {"radii": "0,1", "option": both}))
    assert (len(threat.groups[1]), len(keeps.groups[1]), options) == (5, 5, {"decide": "true"})
    assert make(CERTIFIERS, "crown", options).decide is True


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"groups": "0:3"}, "threat features and property superclass both have groups: say whose it is, threat.groups"),
        (
            {"grops": "0:3"},
            "no setting 'grops'; did you mean 'groups'. known: threat features: groups; property superclass: groups; "
            "certifier crown: claim, decide, max_memory, timeout$",
        ),
        ({"thread.groups": "0:3"}, "no setting 'thread.groups'; did you mean 'groups'"),
        ({"property.seed": 3}, "seed is no option: radii, units, input-box, seed are settings of the study"),
        ({"timeout": 3, "certifier.timeout": 3}, "certifier.timeout is given twice; give it once"),
    ],
)
def test_options_without_an_owner_are_refused_in_one_line(option, words):
    given = GIVEN | {"threat": "features", "property": "superclass", "certifier": "crown", "option": option}
    with pytest.raises(BadInput, match=words):
        _asked(Settings.of(given))


def test_the_settings_of_every_member_are_read_as_their_annotations_say():
    """An annotation that only type checkers resolve would leave text as text."""
    for family in (ATTACKS, CERTIFIERS, CONDITIONS, ENGINES, NOISES, PROPERTIES, RECIPES, THREATS):
        for name in family:
            for setting, parameter in settings_of(family, name).items():
                assert not isinstance(parameter.annotation, str), (name, setting)
                if parameter.annotation in (int, float, bool, int | None, float | None):
                    given = {one: Written("abc") for one in settings_of(family, name)}
                    given |= {"radii": (0.0,)} if "radii" in given else {}
                    with pytest.raises(BadInput, match=rf"^{setting} of {family.kind} '{name}' must be .*, got 'abc'$"):
                        make(family, name, given)
                    break


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
    assert (one.option["certifier.sigma"], one.label, folder) == (0.25, "mine", "runs")
    assert [settings.label for settings, _ in sweep({**given, "sigma": [0.5, 1]})] == [
        "mine, sigma-0.5",
        "mine, sigma-1",
    ]
    [(proof, _)] = sweep({**given, "certifier": "crown"})
    assert not proof.option
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
