"""Recipes: the seed decides everything, nothing global moves, and training does what it is named for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.tensors import Interval
from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.errors import BadInput, ModelError
from certify.models.architecture import build
from certify.models.classifier import Classifier
from certify.models.digest import module_digest
from certify.models.loaders import load_model
from certify.training.ibp import IntervalBounds
from certify.training.noise import NoiseAugmentation
from certify.training.recipe import RECIPES, Recipe, small_network, train_model

EXAMPLES: dict[str, Recipe] = {"ibp": IntervalBounds(epochs=2, growth=0.5), "noise": NoiseAugmentation(epochs=2)}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network() -> torch.nn.Sequential:
    return build(small_network((1, 8, 8), 10), seed=0)


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.usefixtures("threads")
def test_the_seed_decides_the_model_and_nothing_global_moves(name: str, digits: Dataset) -> None:
    assert name in EXAMPLES, f"give the recipe {name} an example here"
    recipe, few = EXAMPLES[name], digits.subset(100, seed=0)
    assert RECIPES[name]().name == recipe.name == name
    before, digests = torch.get_rng_state(), []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        digests.append(module_digest(recipe.train(few, network(), seed)))
        assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)
    assert digests[0] == digests[1] != digests[2]
    assert module_digest(network()) not in digests


@pytest.mark.parametrize("recipe", EXAMPLES.values(), ids=EXAMPLES)
def test_a_trained_folder_is_a_model_that_says_where_it_comes_from(
    recipe: Recipe, digits: Dataset, tmp_path: Path
) -> None:
    few, calls = digits.subset(100, seed=0), []
    folder = train_model(recipe, few, tmp_path / "net", seed=3, progress=lambda *call: calls.append(call))
    classifier = load_model(str(folder))
    assert not any(child.training for child in classifier.module.modules())
    assert [call[:2] for call in calls] == [(1, 2), (2, 2)]
    assert all(np.isfinite(call[2]) for call in calls)
    record = json.loads((folder / "model.json").read_text())
    assert record["input_shape"] == [1, 8, 8]
    assert record["recipe"]["seed"] == 3
    assert record["recipe"]["data"] == {"name": "digits train", "n": 100, "digest": few.digest}
    assert type(recipe)(**record["recipe"]["settings"]) == recipe
    again = train_model(recipe, few, tmp_path / "again", seed=3)
    assert (again / "model.json").read_bytes() == (folder / "model.json").read_bytes()


def test_noise_training_makes_a_model_that_stands_the_noise(digits: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    test = load_data("digits")
    noisy = torch.from_numpy(test.x) + 0.25 * torch.randn(test.x.shape, generator=generator)

    def accuracy(recipe: NoiseAugmentation) -> float:
        classifier = Classifier(recipe.train(digits, network(), 0), 10)
        return float((classifier.predict(noisy).numpy() == test.y).mean())

    trained = accuracy(NoiseAugmentation(sigma=0.25, epochs=8))
    assert trained > 0.8
    assert trained > accuracy(NoiseAugmentation(sigma=1e-3, epochs=8)) + 0.03


def test_interval_training_makes_a_model_whose_robustness_is_cheap_to_prove(digits: Dataset) -> None:
    test = load_data("digits").subset(100, seed=0)
    x, y = torch.from_numpy(test.x), torch.from_numpy(test.y)

    def proven(recipe: IntervalBounds) -> float:
        graph = import_module(recipe.train(digits, network(), 0), x)
        rows = torch.eye(10)[y][:, None] - torch.eye(10)
        margins = interval_bounds(graph, Interval((x - 0.05).clamp(0, 1), (x + 0.05).clamp(0, 1)), C=rows).lower
        return float((margins.scatter(1, y[:, None], 1.0) > 0).all(1).float().mean())

    recipe = IntervalBounds(eps=0.05, epochs=7)
    assert proven(recipe) > 0.6
    assert proven(replace(recipe, kappa=1.0)) < 0.3


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("noise", {"sigma": 0.0}, "sigma must be a finite number above 0"),
        ("noise", {"sigma": float("nan")}, "sigma must be a finite number above 0"),
        ("noise", {"epochs": 0}, "epochs must be a whole number above 0"),
        ("noise", {"learning_rate": float("inf")}, "learning_rate must be a finite number above 0"),
        ("ibp", {"eps": -0.1}, "eps must be a finite number above 0"),
        ("ibp", {"kappa": 1.5}, "kappa must be from 0 to 1"),
        ("ibp", {"growth": 0.0}, "growth must be above 0"),
        ("ibp", {"batch_size": 2.5}, "batch_size must be a whole number above 0"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(name: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        RECIPES[name](**settings)


def test_training_that_diverges_is_an_error_and_not_a_model(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="diverged in epoch . of 2: lower the learning rate"):
        train_model(NoiseAugmentation(epochs=2, learning_rate=1e30), digits.subset(200, seed=0), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 5, 70), (5,), (4, 6)])
def test_the_small_network_fits_every_input_shape(shape: tuple[int, ...]) -> None:
    layers = small_network(shape, num_classes=3, width=4)
    assert build(layers)(torch.zeros(2, *shape)).shape == (2, 3)
    assert max(layer.get("in_features", 0) for layer in layers) <= 8 * 8 * 8
