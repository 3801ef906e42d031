"""The losses of recipes against slow oracles, and against each other where settings make two of them one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.models.architecture import build
from certify.training.ascent import Ascent
from certify.training.recipe import Recipe, Step
from certify.training.recipes.consistency import Consistency
from certify.training.recipes.crown_ibp import LinearThenIntervalBounds
from certify.training.recipes.ibp import IntervalBounds
from certify.training.recipes.mtl_ibp import ExpressiveLoss
from certify.training.recipes.pgd import AdversarialTraining
from certify.training.recipes.sabr import SmallBox
from certify.training.recipes.smoothadv import SmoothAdversarial
from certify.training.recipes.trades import Trades
from certify.training.regularisers import growth_and_balance
from certify.training.worst_case import WorstCase, narrow_weights

EPS = 0.05


@pytest.fixture(autouse=True)
def values() -> Iterator[None]:
    """No gradients but those that an ascent takes."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train").subset(12, seed=0)


@pytest.fixture(scope="module")
def module() -> nn.Sequential:
    layers = [("Flatten",), ("Linear", 64, 16), ("ReLU",), ("Linear", 16, 16), ("ReLU",), ("Linear", 16, 10)]
    fields = [dict(zip(("layer", "in_features", "out_features"), one, strict=False)) for one in layers]
    made = build(fields, seed=3)
    with torch.no_grad():
        made[5].weight.mul_(20)  # answers far from uniform, where a divergence is not that of the other direction
    return made


def step(data: Dataset, done: float = 0.9) -> Step:
    return Step(torch.from_numpy(data.x), torch.from_numpy(data.y), done, torch.Generator().manual_seed(7))


def loss(recipe: Recipe, module: nn.Module, data: Dataset, done: float = 0.9) -> float:
    return float(recipe.objective(module, data).loss(step(data, done)))


def test_consistency_is_the_sum_that_the_paper_writes(module: nn.Sequential, digits: Dataset) -> None:
    at = step(digits)
    answers = [module(at.x + 0.3 * at.normal()).double().softmax(1) for _ in range(3)]
    total = 0.0
    for row, label in enumerate(at.y.tolist()):
        mean = sum(one[row] for one in answers) / 3
        total += sum(-math.log(one[row, label]) for one in answers) / 3
        for one in answers:  # how far the mean is from each, in this order
            total += 7 / 3 * sum(float(q * (q / p).log()) for q, p in zip(mean, one[row], strict=True))
        total += 0.4 * sum(-float(q * q.log()) for q in mean)
    recipe = Consistency(sigma=0.3, draws=3, weight=7.0, entropy=0.4)
    assert loss(recipe, module, digits) == pytest.approx(total / len(at.y), rel=1e-5)


def test_smoothadv_attacks_the_mean_answer_and_trains_on_each(module: nn.Sequential, digits: Dataset) -> None:
    at = step(digits)
    noise = [0.3 * at.normal() for _ in range(2)]

    def smoothed(x: Tensor) -> Tensor:
        mean = sum(module(x + one).softmax(1) for one in noise) / 2
        return -mean.gather(1, at.y[:, None]).log().sum()

    examples = Ascent("l2", 0.5, 2)(at, smoothed)
    wanted = sum(float(cross_entropy(module(examples + one), at.y)) for one in noise) / 2
    assert wanted > sum(float(cross_entropy(module(at.x + one), at.y)) for one in noise) / 2
    recipe = SmoothAdversarial(sigma=0.3, eps=0.5, draws=2, steps=2)
    assert loss(recipe, module, digits) == pytest.approx(wanted, rel=1e-4)


def test_trades_weighs_how_far_the_farthest_answer_is_from_that_at_the_input(
    module: nn.Sequential, digits: Dataset
) -> None:
    at = step(digits)
    answer = module(at.x).softmax(1)

    def apart(x: Tensor) -> Tensor:
        return (answer * (answer.log() - module(x).log_softmax(1))).sum()

    farthest = Ascent("linf", EPS, 3, digits.input_box)(at, apart)
    wanted = float(cross_entropy(module(at.x), at.y)) + 2.5 * float(apart(farthest)) / len(at.y)
    assert loss(Trades(eps=EPS, steps=3, beta=2.5), module, digits) == pytest.approx(wanted, rel=1e-4)


def test_losses_of_bounds_meet_where_settings_make_them_one(module: nn.Sequential, digits: Dataset) -> None:
    clean = float(cross_entropy(module(step(digits).x), step(digits).y))
    bounds = loss(IntervalBounds(eps=EPS, kappa=0.0), module, digits)
    attacked = loss(AdversarialTraining(eps=EPS, steps=3), module, digits)
    assert clean < attacked < bounds
    assert loss(IntervalBounds(eps=EPS, kappa=1.0), module, digits) == pytest.approx(clean)
    assert loss(IntervalBounds(eps=EPS, kappa=0.25), module, digits) == pytest.approx(0.25 * clean + 0.75 * bounds)
    assert loss(SmallBox(eps=EPS, share=1.0), module, digits) == pytest.approx(bounds, rel=1e-5)
    small = loss(SmallBox(eps=EPS, share=0.3), module, digits)
    assert clean < small < bounds
    for weight in (0.0, 0.2, 1.0):
        wanted = (1 - weight) * attacked + weight * bounds
        assert loss(ExpressiveLoss(eps=EPS, weight=weight, steps=3), module, digits) == pytest.approx(wanted, rel=1e-5)


def test_crown_ibp_mixes_margins_and_not_losses(module: nn.Sequential, digits: Dataset) -> None:
    worst, at = WorstCase(module, digits), step(digits)
    batch, ball = worst.batch(at), worst.ball(at.x, EPS)
    linear = METHODS["crown-ibp"](batch.graph, Region(ball), batch.rows, claim=None).lower
    interval = batch.margins(batch.layers(ball))
    assert bool((linear >= interval - 1e-5).all())
    for beta in (0.0, 0.5, 1.0):
        wanted = float(cross_entropy(-(beta * linear + (1 - beta) * interval), at.y))
        recipe = LinearThenIntervalBounds(eps=EPS, last_beta=beta)
        assert loss(recipe, module, digits) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("recipe", [IntervalBounds, LinearThenIntervalBounds, SmallBox, ExpressiveLoss])
def test_the_ball_and_the_regularisers_follow_the_schedule(
    recipe: type, module: nn.Sequential, digits: Dataset
) -> None:
    clean = float(cross_entropy(module(step(digits).x), step(digits).y))
    charged, free = (recipe(eps=EPS, warm_up=0.2, growth=0.4, regularise=weight) for weight in (2.0, 0.0))
    assert loss(free, module, digits, done=0.1) == pytest.approx(clean, rel=1e-5)
    assert loss(free, module, digits, done=0.3) > clean
    assert loss(charged, module, digits, done=0.3) > loss(free, module, digits, done=0.3)
    assert loss(charged, module, digits, done=0.4) == loss(free, module, digits, done=0.4)


def test_the_regularisers_are_what_their_docstring_writes(module: nn.Sequential, digits: Dataset) -> None:
    worst = WorstCase(module, digits)
    ball = worst.ball(step(digits).x, 0.02)
    layers = worst.batch(step(digits)).layers(ball)
    lower, upper = ball.lower, ball.upper
    first, charges, count = float((upper - lower).mean()), 0.0, 0
    for linear in (module[1], module[3]):
        centre, half = (lower + upper).flatten(1) / 2, (upper - lower).flatten(1) / 2
        centre, half = linear(centre), half @ linear.weight.abs().T
        lower, upper = centre - half, centre + half
        charges += max(0.0, 0.5 - first / float((upper - lower).mean()))
        on, off = lower > 0, upper < 0
        assert bool(on.any())
        assert bool(off.any())
        for size in (centre.abs(), (centre - centre.mean(0)).square()):
            ratio = float(size[on].sum() / size[off].sum())
            charges += max(0.0, 0.5 - min(ratio, 1 / ratio))
        lower, upper, count = lower.relu(), upper.relu(), count + 1
    assert charges > 0
    assert float(growth_and_balance(layers)) == pytest.approx(charges / (0.5 * count), rel=1e-4)


def test_narrow_weights_keep_the_width_of_boxes() -> None:
    layers = [{"layer": "Linear", "in_features": 400, "out_features": 400}] * 5
    module = build(layers, seed=0)
    narrow_weights(module, torch.Generator().manual_seed(0))
    width = torch.ones(1, 400)
    for linear in module:
        assert not bool(linear.bias.any())
        width = width @ linear.weight.abs().T / 2  # a ReLU keeps half
    assert float(width.mean()) == pytest.approx(1.0, rel=0.05)
