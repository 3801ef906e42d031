"""Recipes: the seed decides everything, nothing global moves, and training does what it is named for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.tensors import Interval
from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.errors import BadInput
from certify.models.architecture import build
from certify.models.classifier import Classifier
from certify.models.digest import module_digest
from certify.models.networks.resnet import resnet
from certify.models.networks.small import small
from certify.registry import Written, make, settings_of
from certify.training.ascent import Ascent
from certify.training.loop import begin, epochs
from certify.training.recipe import RECIPES, Recipe, Step
from certify.training.recipes.consistency import Consistency
from certify.training.recipes.crown_ibp import LinearThenIntervalBounds
from certify.training.recipes.ibp import IntervalBounds
from certify.training.recipes.mtl_ibp import ExpressiveLoss
from certify.training.recipes.noise import NoiseAugmentation
from certify.training.recipes.pgd import AdversarialTraining
from certify.training.recipes.sabr import SmallBox
from certify.training.recipes.smoothadv import SmoothAdversarial
from certify.training.recipes.standard import Standard
from certify.training.recipes.trades import Trades
from certify.training.worst_case import WorstCase

EXAMPLES: dict[str, Recipe] = {
    "consistency": Consistency(epochs=2),
    "crown-ibp": LinearThenIntervalBounds(epochs=2, growth=0.5),
    "ibp": IntervalBounds(epochs=2, growth=0.5),
    "mtl-ibp": ExpressiveLoss(epochs=2, growth=0.5, steps=2),
    "noise": NoiseAugmentation(epochs=2),
    "pgd": AdversarialTraining(epochs=2, steps=2),
    "sabr": SmallBox(epochs=2, growth=0.5, steps=2),
    "smoothadv": SmoothAdversarial(epochs=2),
    "standard": Standard(epochs=2),
    "trades": Trades(epochs=2, steps=2),
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_settings_are_read_from_a_command_line_those_of_a_base_in_another_module_too(name):
    settings = settings_of(RECIPES, name)
    text = {"epochs": "3", "learning_rate": "0.5"} | ({"eps": "8/255"} if "eps" in settings else {})
    made = make(RECIPES, name, {setting: Written(value) for setting, value in text.items()})
    assert (made.epochs, made.learning_rate) == (3, 0.5)
    assert "eps" not in settings or made.eps == pytest.approx(8 / 255)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network() -> torch.nn.Sequential:
    return build(small((1, 8, 8), 10), seed=0)


def trained(recipe: Recipe, data: Dataset, module: torch.nn.Module | None = None, seed: int = 0) -> torch.nn.Module:
    state = begin(recipe, network() if module is None else module, seed)
    list(epochs(recipe, state, data, None, seed))
    return state.module


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.usefixtures("threads")
def test_the_seed_decides_the_model_and_nothing_global_moves(name: str, digits: Dataset) -> None:
    assert name in EXAMPLES, f"give the recipe {name} an example here"
    recipe, few = EXAMPLES[name], digits.subset(100, seed=0)
    assert RECIPES[name]().name == recipe.name == name
    before, digests = torch.get_rng_state(), []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        digests.append(module_digest(trained(recipe, few, seed=seed)))
        assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)
    assert digests[0] == digests[1] != digests[2]
    assert module_digest(network()) not in digests


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_trains_a_network_with_batch_normalization_and_lowers_its_loss(name: str, digits: Dataset) -> None:
    module = build(resnet((1, 8, 8), 10, width=4, depth=8), seed=0)
    few = digits.subset(200, seed=0)
    recipe = replace(EXAMPLES[name], epochs=4)
    state = begin(recipe, module, 0)
    curve = list(epochs(recipe, state, few, few, 0))
    assert all(0 <= epoch.kept <= 1 for epoch in curve if epoch.kept is not None)
    assert not module.training
    assert min(epoch.loss for epoch in curve[1:]) < curve[0].loss


def test_noise_training_makes_a_model_that_stands_the_noise(digits: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    test = load_data("digits")
    noisy = torch.from_numpy(test.x) + 0.25 * torch.randn(test.x.shape, generator=generator)

    def accuracy(recipe: Recipe) -> float:
        classifier = Classifier(trained(recipe, digits), 10)
        return float((classifier.predict(noisy).numpy() == test.y).mean())

    noise = accuracy(NoiseAugmentation(sigma=0.25, epochs=8))
    assert noise > 0.8
    assert noise > accuracy(Standard(epochs=8)) + 0.03
    assert accuracy(Consistency(sigma=0.25, epochs=8)) > 0.8
    assert accuracy(SmoothAdversarial(sigma=0.25, epochs=8)) > 0.8


def proven(module: torch.nn.Module, eps: float) -> float:
    test = load_data("digits").subset(100, seed=0)
    x, y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    rows = torch.eye(10)[y][:, None] - torch.eye(10)
    ball = Interval((x - eps).clamp(0, 1), (x + eps).clamp(0, 1))
    margins = interval_bounds(import_module(module, x), ball, C=rows).lower
    return float((margins.scatter(1, y[:, None], 1.0) > 0).all(1).float().mean())


@pytest.mark.parametrize("kind", [IntervalBounds, LinearThenIntervalBounds, SmallBox])
def test_training_on_bounds_makes_a_model_whose_robustness_is_cheap_to_prove(kind: type, digits: Dataset) -> None:
    assert proven(trained(kind(eps=0.05, epochs=8), digits), 0.05 if kind is not SmallBox else 0.02) > 0.6


def test_without_the_loss_of_bounds_little_is_proven(digits: Dataset) -> None:
    assert proven(trained(IntervalBounds(eps=0.05, epochs=8, kappa=1.0), digits), 0.05) < 0.3


def test_adversarial_training_makes_a_model_that_stands_attacks(digits: Dataset) -> None:
    test = load_data("digits").subset(200, seed=0)
    step = Step(torch.from_numpy(test.x), torch.from_numpy(test.y), 1.0, torch.Generator().manual_seed(0))
    ascent = Ascent("linf", 0.1, 20, test.input_box)

    def stands(module: torch.nn.Module) -> float:
        moved = ascent(step, lambda x: torch.nn.functional.cross_entropy(module(x), step.y, reduction="sum"))
        assert bool((moved - step.x).abs().max() <= 0.1 + 1e-6)
        assert bool(moved.min() >= 0)
        assert bool(moved.max() <= 1)
        return float((module(moved).argmax(1) == step.y).float().mean())

    plain = stands(trained(Standard(epochs=8), digits))
    assert stands(trained(AdversarialTraining(eps=0.1, epochs=8), digits)) > plain + 0.1
    assert stands(trained(Trades(eps=0.1, epochs=8), digits)) > plain + 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_adversary_stays_in_its_ball_and_raises_the_loss(norm: str) -> None:
    x = torch.linspace(0, 1, 3 * 64).reshape(3, 1, 8, 8)
    step = Step(x, torch.tensor([1, 2, 3]), 0.5, torch.Generator().manual_seed(0))
    module = network()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(module(x), step.y, reduction="sum")

    moved = Ascent(norm, 0.2, 5, (0.0, 1.0))(step, loss)
    order = torch.inf if norm == "linf" else 2
    assert bool(((moved - x).flatten(1).norm(order, dim=1) <= 0.2 + 1e-6).all())
    assert bool(loss(moved) > loss(x))


def test_bounds_of_a_batch_use_the_statistics_of_that_batch(digits: Dataset) -> None:
    module = build(resnet((1, 8, 8), 10, width=4, depth=8), seed=0)
    worst = WorstCase(module, digits)
    step = Step(torch.from_numpy(digits.x[:16]), torch.from_numpy(digits.y[:16]), 0.0, torch.Generator())
    module.train()
    batch = worst.batch(step)
    point = worst.ball(step.x, 0.0)
    wanted = batch.scores.gather(1, step.y[:, None]) - batch.scores
    assert torch.allclose(batch.margins(batch.layers(point)), wanted, atol=1e-4)
    assert torch.allclose(batch.margins_by("crown-ibp", point), wanted, atol=1e-4)
    assert not module[1]._forward_pre_hooks
    wide = worst.ball(step.x, 0.01)
    assert bool((batch.margins(batch.layers(wide)) <= wanted + 1e-5).all())
    batch.margins(batch.layers(wide)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("noise", {"sigma": 0.0}, "sigma must be a finite number above 0"),
        ("noise", {"sigma": float("nan")}, "sigma must be a finite number above 0"),
        ("noise", {"epochs": 0}, "epochs must be a whole number above 0"),
        ("noise", {"learning_rate": float("inf")}, "learning_rate must be a finite number above 0"),
        ("noise", {"shift": -1}, "shift must be a whole number of pixels"),
        ("standard", {"weight_decay": -1}, "weight_decay must be at least 0"),
        ("ibp", {"eps": -0.1}, "eps must be a finite number above 0"),
        ("ibp", {"kappa": 1.5}, "kappa must be from 0 to 1"),
        ("ibp", {"growth": 0.0}, "growth must be above 0"),
        ("ibp", {"warm_up": 0.5}, "growth must be above 0.5"),
        ("ibp", {"batch_size": 2.5}, "batch_size must be a whole number above 0"),
        ("sabr", {"share": 2}, "share must be from 0 to 1"),
        ("pgd", {"norm": "l7"}, "norm must be linf or l2"),
        ("trades", {"steps": 0}, "steps must be a whole number above 0"),
        ("consistency", {"draws": 1}, "draws must be a whole number of at least 2"),
        ("smoothadv", {"draws": 0}, "draws must be a whole number above 0"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(name: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        RECIPES[name](**settings)


@pytest.mark.parametrize("name", ["ibp", "crown-ibp", "sabr", "mtl-ibp", "pgd", "trades"])
def test_a_radius_in_grey_levels_is_refused(name: str, digits: Dataset) -> None:
    with pytest.raises(BadInput, match=r"eps 8 is more than the whole range of the inputs.*written eps=8/255"):
        trained(RECIPES[name](eps=8.0), digits)


def test_images_are_moved_and_mirrored_each_on_its_own(digits: Dataset) -> None:
    few = digits.subset(64, seed=0)
    plain, moved = (module_digest(trained(Standard(epochs=1, shift=shift), few)) for shift in (0, 1))
    assert plain != moved
    flat = Dataset("flat", few.x.reshape(64, 64), few.y, 10)
    module = build([{"layer": "Linear", "in_features": 64, "out_features": 10}])
    with pytest.raises(BadInput, match="shift and flip move images"):
        trained(Standard(epochs=1, flip=True), flat, module)


@pytest.mark.parametrize("name", list(RECIPES))
def test_settings_are_read_from_a_command_line(name: str) -> None:
    kinds = {setting: one.annotation for setting, one in settings_of(RECIPES, name).items()}
    assert not [setting for setting, kind in kinds.items() if isinstance(kind, str)]
    written = {setting: Written("3") for setting, kind in kinds.items() if kind is int}
    written |= {setting: Written("1/255") for setting in ("eps", "sigma") if setting in kinds}
    recipe = make(RECIPES, name, written)
    assert recipe.epochs == 3
    assert all(getattr(recipe, setting) == 1 / 255 for setting in ("eps", "sigma") if setting in kinds)


def test_the_page_on_training_has_a_line_for_each_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    for name in RECIPES:
        [line] = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        own = settings_of(RECIPES, name).keys() - settings_of(RECIPES, "standard").keys()
        of_the_ball = {"warm_up", "growth", "regularise", "narrow"} if "those of the ball" in line else set()
        assert set(re.findall(r"`([a-z_]+)`", line.split("|")[3])) == own - of_the_ball
