"""Models that look at the batch are refused; rounding, and one huge score, change nothing about that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import certify
from certify.core.input_box import InputBox
from certify.errors import ModelError
from certify.models.classifier import Classifier
from certify.models.rows import check_rows, noisy

WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.0, -1.0]])
X = torch.tensor([[0.1, 0.8], [0.9, 0.3], [0.4, 0.4], [0.7, 0.6]])


def plain(x: Tensor) -> Tensor:
    return x @ WEIGHT


def beside(masked: float) -> Callable[[Tensor], Tensor]:
    """Scores that depend a little on the other inputs, beside a score of another size."""

    def function(x: Tensor) -> Tensor:
        moved = plain(x) + 0.02 * x.mean() * torch.tensor([1.0, 0.0, -1.0])
        return torch.cat([moved, torch.full((len(x), 1), masked)], dim=1)

    return function


def training(x: Tensor) -> Tensor:
    return nn.functional.batch_norm(plain(x), None, None, training=True)


LOOKING: dict[str, Callable[[Tensor], Tensor]] = {
    "the size": lambda x: plain(x) * (1 + 0.01 * len(x)),
    "a single input": lambda x: plain(x) if len(x) > 1 else -plain(x),
    "an even size": lambda x: plain(x) if len(x) % 2 else plain(x).flip(1),
    "the place": lambda x: plain(x) + torch.arange(len(x))[:, None] * torch.tensor([0.1, 0.0, 0.0]),
    "the mean": beside(0.0),
    "the mean, and one score is very low": beside(-1e9),
    "the mean, and one score is infinite": beside(-torch.inf),
    "the largest entry": lambda x: plain(x / x.abs().max()) + 1.0 * x.abs().max() * torch.tensor([1.0, 0.0, 0.0]),
    "statistics of the batch": lambda x: training(x) if len(x) > 1 else plain(x),
    "the number of labels": lambda x: plain(x).argmax(dim=1) if len(x) > 2 else torch.zeros(len(x)),
}


@pytest.mark.parametrize("name", list(LOOKING))
def test_a_model_that_looks_at_the_batch_is_refused(name: str) -> None:
    classes = LOOKING[name](X).shape[-1] if LOOKING[name](X).dim() == 2 else 3
    with pytest.raises(ModelError, match="depends on the batch that it is in: let it treat each row by itself"):
        Classifier(LOOKING[name], classes).check(X)


@pytest.mark.parametrize(
    "function",
    [
        plain,
        lambda x: torch.log_softmax(200 * plain(x), dim=1),
        lambda x: torch.softmax(50 * plain(x), dim=1),
        lambda x: torch.cat([plain(x), torch.full((len(x), 1), -1e9)], dim=1),
        lambda x: torch.cat([plain(x), torch.full((len(x), 1), -torch.inf)], dim=1),
        lambda x: 1e4 + plain(x),
        # What batches of another size may change by rounding.
        lambda x: plain(x) * (1 + 1e-6 * (len(x) % 2)),
        lambda x: plain(x).argmax(dim=1),
        lambda x: plain(x) / x.sum(1, keepdim=True).clamp(min=0) * 0,
    ],
)
def test_rounding_and_scores_of_any_size_are_no_reason(function: Callable[[Tensor], Tensor]) -> None:
    classes = function(X).shape[-1] if function(X).dim() == 2 else 3
    Classifier(function, classes).check(X)


def test_models_that_do_not_take_any_number_of_inputs_are_refused() -> None:
    def several(x: Tensor) -> Tensor:
        if len(x) == 1:
            raise ValueError("expected more")
        return plain(x)

    with pytest.raises(ModelError, match=r"takes a batch of 6 inputs but not of 1: ValueError: expected more; let it"):
        Classifier(several, 3).check(X)


def test_numbers_that_are_not_in_the_data_may_be_refused_by_a_model() -> None:
    def coded(x: Tensor) -> Tensor:
        if not torch.equal(x, x.round()):
            raise ValueError("codes are whole numbers")
        return plain(x)

    Classifier(coded, 3, (0.0, 3.0)).check(torch.tensor([[0.0, 1.0], [3.0, 2.0]]))


def test_batch_norm_without_running_statistics_is_refused_at_once() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    with pytest.raises(ModelError, match=r"^1 has no running statistics and normalizes over the batch.*=True$"):
        Classifier(module, 3)
    with torch.no_grad(), pytest.raises(ModelError):
        certify.smooth(Classifier(training, 3), X, threat=certify.ThreatModel("l2", (0.0,)), sigma=0.1, n=10, n0=5)


@pytest.mark.filterwarnings("ignore:.*quantiz.*")
def test_dynamic_int8_is_refused_with_what_to_write_instead() -> None:
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 3)).eval(), {nn.Linear})
    with pytest.raises(ModelError, match=r"one scale for the whole batch.*torch\.cat\(\[model\(row\[None\]\)"):
        Classifier(module, 3)
    classifier = Classifier(lambda x: torch.cat([module(row[None]) for row in x]), 3)
    classifier.check(X)


def test_rows_are_made_of_the_data_and_stay_in_the_box() -> None:
    rows = noisy(X, InputBox(0.0, 1.0))
    assert torch.equal(rows[:3], X[[0, 2, 3]])
    assert float(rows.min()) >= 0
    assert float(rows.max()) <= 1
    assert len(rows.unique(dim=0)) == 6
    assert torch.equal(rows, noisy(X, InputBox(0.0, 1.0)))
    check_rows(plain, rows)


@pytest.mark.parametrize("size", [None, 50])
def test_a_model_that_looks_at_the_batch_size_of_the_run_alone_is_refused(size: int | None) -> None:
    """The rule gives these inputs batches of 256."""
    clf = Classifier(lambda x: plain(x).flip(1) if len(x) == (size or 256) else plain(x), 3)
    clf.check(X)
    asked = {"sigma": 0.25, "n": 1000, "batch_size": size}
    with pytest.raises(ModelError, match="depends on the batch that it is in"):
        certify.smooth(clf, X, threat=certify.ThreatModel("l2", (0.1,)), **asked)
    with pytest.raises(ModelError, match="depends on the batch that it is in"):
        certify.predict(clf, X, **asked)
    assert len(certify.predict(clf, X, sigma=0.25, n=40)) == len(X)
