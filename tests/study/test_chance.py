"""Near chance: said where it is so, and not where a few inputs or a modest model look like it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from certify.core.threats.lp import ThreatModel
from certify.models.classifier import Classifier
from certify.study.chance import near_chance
from certify.study.evaluate import evaluate


def answers(right: int, n: int, classes: int) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A model that knows ``right`` of ``n`` inputs, whose first feature is their place and whose second their label."""
    x = np.stack([np.arange(n) / n, np.arange(n) % classes / classes], axis=1).astype(np.float32)

    def model(x: torch.Tensor) -> torch.Tensor:
        place, label = (x[:, 0] * n).round().long(), (x[:, 1] * classes).round().long()
        return torch.where(place % n < right, label, (label + 1) % classes)

    return Classifier(model, num_classes=classes), x, np.arange(n) % classes


@pytest.mark.parametrize(
    ("right", "n", "classes", "warned"),
    [
        (10, 100, 10, True),
        (0, 100, 10, True),
        (19, 100, 10, True),
        (20, 100, 10, False),  # a modest model
        (50, 100, 2, True),
        (60, 100, 2, False),
        (1, 10, 10, True),
        (0, 2, 10, False),  # too few to say
        (1, 2, 2, False),
        (1, 100, 1000, True),
        (30, 100, 1000, False),
    ],
)
def test_near_chance(right: int, n: int, classes: int, warned: bool) -> None:
    said = near_chance(*answers(right, n, classes))
    assert (said is not None) == warned
    if said is not None:
        assert f"({right} of {n} inputs right, {classes} classes)" in said
        assert "\n" not in said
        assert all(word in said for word in ("mean and std", "order or number", "weights", "units"))


def test_inputs_sorted_by_class_are_sampled_evenly() -> None:
    x, y = np.zeros((1000, 2), np.float32), np.repeat(np.arange(10), 100)
    said = near_chance(Classifier(lambda x: torch.zeros(len(x)), num_classes=10), x, y)
    assert said is not None
    assert "of 256 inputs right" in said


def test_a_model_that_fails_on_an_input_is_for_the_records_to_tell() -> None:
    def fails(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not this one")

    assert near_chance(Classifier(fails, num_classes=2), np.zeros((30, 2), np.float32), np.zeros(30, int)) is None


def test_a_study_warns_in_python_and_goes_on() -> None:
    torch_net = torch.nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        torch_net.weight.copy_(torch.eye(2).flip(0))
    x = np.random.default_rng(0).uniform(0, 1, (40, 2)).astype(np.float32)
    clf, threat = Classifier(torch_net, 2, mean=0.5, std=0.25), ThreatModel("linf", (0.0, 0.1))
    with pytest.warns(UserWarning, match=r"near chance \(0 of 40 .* another mean and std"):
        result = evaluate(clf, (x, (x[:, 0] < x[:, 1]).astype(int)), threat=threat, certifier="ibp")
    assert result.summary.clean == 0
