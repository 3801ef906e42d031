"""Recipes: the seed decides everything, nothing global moves, and training does what it is named for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import certify
from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.tensors import Interval
from certify.core.threats.lp import ThreatModel
from certify.data.dataset import Dataset
from certify.data.loaders import load_data
from certify.errors import BadInput, CertifyError
from certify.models.architecture import build, describe
from certify.models.classifier import Classifier
from certify.models.digest import module_digest
from certify.models.folder import load_folder, save_folder
from certify.models.networks.base import NETWORKS
from certify.models.networks.lipschitz import lipnet
from certify.models.networks.resnet import resnet
from certify.models.networks.small import small
from certify.registry import Written, make, settings_of
from certify.smoothing.noise.ablation import Ablation
from certify.training.ascent import Ascent
from certify.training.loop import begin, epochs
from certify.training.recipe import RECIPES, Recipe, Step
from certify.training.recipes.ablation import AblationAugmentation
from certify.training.recipes.bands import Bands
from certify.training.recipes.consistency import Consistency
from certify.training.recipes.crown_ibp import LinearThenIntervalBounds
from certify.training.recipes.denoise import DenoisedSmoothing
from certify.training.recipes.ibp import IntervalBounds
from certify.training.recipes.lipschitz import OneLipschitz
from certify.training.recipes.mtl_ibp import ExpressiveLoss
from certify.training.recipes.noise import NoiseAugmentation
from certify.training.recipes.pgd import AdversarialTraining
from certify.training.recipes.sabr import SmallBox
from certify.training.recipes.smoothadv import SmoothAdversarial
from certify.training.recipes.standard import Standard
from certify.training.recipes.trades import Trades
from certify.training.train import train
from certify.training.worst_case import WorstCase

EXAMPLES: dict[str, Recipe] = {
    "ablation": AblationAugmentation(epochs=2, retention=20),
    "bands": Bands(epochs=2),
    "consistency": Consistency(epochs=2),
    "crown-ibp": LinearThenIntervalBounds(epochs=2, growth=0.5),
    "denoise": DenoisedSmoothing(epochs=2, base="base", width=4, depth=2),
    "ibp": IntervalBounds(epochs=2, growth=0.5),
    "lipschitz": OneLipschitz(epochs=2),
    "mtl-ibp": ExpressiveLoss(epochs=2, growth=0.5, steps=2),
    "noise": NoiseAugmentation(epochs=2),
    "pgd": AdversarialTraining(epochs=2, steps=2),
    "sabr": SmallBox(epochs=2, growth=0.5, steps=2),
    "smoothadv": SmoothAdversarial(epochs=2),
    "standard": Standard(epochs=2),
    "trades": Trades(epochs=2, steps=2),
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


@pytest.fixture(scope="module")
def half(digits: Dataset) -> Dataset:
    return digits.subset(700, seed=0)


@pytest.fixture(scope="module", autouse=True)
def base(half: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model with batch normalization in the folder ``base`` of the current one, for recipes that build on one."""
    folder = tmp_path_factory.mktemp("models") / "base"
    module = trained(
        Standard(epochs=4, learning_rate=0.01), half, build(resnet((1, 8, 8), 10, width=4, depth=8), seed=3)
    )
    save_folder(folder, module, num_classes=10, input_box=(0.0, 1.0), input_shape=(1, 8, 8), recipe={})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        yield folder


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network(recipe: Recipe, data: Dataset, seed: int = 0, width: int = 16) -> nn.Module:
    return recipe.module(data, seed) or build(NETWORKS[recipe.network]((1, 8, 8), 10, width=width), seed=0)


def trained(recipe: Recipe, data: Dataset, module: nn.Module | None = None, seed: int = 0) -> nn.Module:
    state = begin(recipe, network(recipe, data, seed) if module is None else module, seed)
    list(epochs(recipe, state, data, None, seed))
    recipe.finish(state.module)
    return state.module


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.usefixtures("threads")
def test_the_seed_decides_the_model_and_nothing_global_moves(name: str, digits: Dataset) -> None:
    assert name in EXAMPLES, f"give the recipe {name} an example here"
    recipe, few = EXAMPLES[name], digits.subset(70, seed=0)
    assert RECIPES[name](**({"base": "base"} if name == "denoise" else {})).name == recipe.name == name
    before, digests = torch.get_rng_state(), []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        digests.append(module_digest(trained(recipe, few, network(recipe, few, seed, width=4), seed)))
        assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)
    assert digests[0] == digests[1] != digests[2]
    assert module_digest(network(recipe, few, width=4)) not in digests


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_trains_a_network_with_batch_normalization_and_lowers_its_loss(name: str, digits: Dataset) -> None:
    recipe, few = replace(EXAMPLES[name], epochs=4), digits.subset(200, seed=0)
    module = build(resnet((1, 8, 8), 10, width=4, depth=8, first_stride=2), seed=0)
    if name == "lipschitz":
        with pytest.raises(BadInput, match="a network with BatchNorm2d cannot be held at Lipschitz constant 1"):
            begin(recipe, module, 0)
    if name in ("lipschitz", "denoise"):
        module = network(recipe, few)
    state = begin(recipe, module, 0)
    curve = list(epochs(recipe, state, few, few, 0))
    assert all(0 <= epoch.kept <= 1 for epoch in curve if epoch.kept is not None)
    assert not module.training
    assert min(epoch.loss for epoch in curve[1:]) < curve[0].loss


def test_noise_training_makes_a_model_that_stands_the_noise(half: Dataset) -> None:
    generator = torch.Generator().manual_seed(0)
    test = load_data("digits")
    noisy = torch.from_numpy(test.x) + 0.25 * torch.randn(test.x.shape, generator=generator)

    def accuracy(recipe: Recipe) -> float:
        classifier = Classifier(trained(recipe, half), 10)
        return float((classifier.predict(noisy).numpy() == test.y).mean())

    noise = accuracy(NoiseAugmentation(sigma=0.25, epochs=8))
    assert noise > 0.8
    assert noise > accuracy(Standard(epochs=8)) + 0.03
    assert accuracy(Consistency(sigma=0.25, epochs=8)) > 0.8
    assert accuracy(SmoothAdversarial(sigma=0.25, epochs=8)) > 0.8


def test_training_on_bands_makes_a_model_whose_vote_is_right_and_stands_patches(half: Dataset) -> None:
    test = load_data("digits").subset(60, seed=0)
    threat, certifier = certify.Patch((0, 1), test.input_box), certify.Derandomized(size=2)

    def share(recipe: Recipe, side: int) -> float:
        classifier = Classifier(trained(recipe, half), 10)
        made = certify.certify(classifier, test.x, test.y, threat=threat, certifier=certifier)
        return sum(one.holds_at(side) and one.prediction == one.label for one in made) / len(made)

    bands, standard = Bands(size=2, epochs=20), Standard(epochs=8)
    assert share(bands, 0) > max(0.75, share(standard, 0) + 0.2)
    assert share(bands, 1) > share(standard, 1)


def proven(module: nn.Module, eps: float) -> float:
    test = load_data("digits").subset(100, seed=0)
    x, y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    rows = torch.eye(10)[y][:, None] - torch.eye(10)
    ball = Interval((x - eps).clamp(0, 1), (x + eps).clamp(0, 1))
    margins = interval_bounds(import_module(module, x), ball, C=rows).lower
    return float((margins.scatter(1, y[:, None], 1.0) > 0).all(1).float().mean())


@pytest.mark.parametrize("kind", [IntervalBounds, LinearThenIntervalBounds, SmallBox])
def test_training_on_bounds_makes_a_model_whose_robustness_is_cheap_to_prove(kind: type, half: Dataset) -> None:
    steps = {"steps": 2} if kind is SmallBox else {}
    recipe = kind(eps=0.05, epochs=8, learning_rate=0.01, **steps)
    module = trained(recipe, half, build(small((1, 8, 8), 10, width=8), seed=0))
    assert proven(module, 0.05 if kind is not SmallBox else 0.02) > 0.5


def test_without_the_loss_of_bounds_little_is_proven(half: Dataset) -> None:
    recipe = IntervalBounds(eps=0.05, epochs=8, learning_rate=0.01, kappa=1.0)
    assert proven(trained(recipe, half, build(small((1, 8, 8), 10, width=8), seed=0)), 0.05) < 0.3


def test_gradients_of_bounds_are_finite_where_a_neuron_is_constant(digits: Dataset) -> None:
    module = build(small((1, 8, 8), 10, width=4), seed=0)
    with torch.no_grad():
        module[0].weight[0] = 0.0
        module[5].weight[:2] = 0.0
        module[5].bias[1] = 1.0
    step = Step(torch.from_numpy(digits.x[:4]), torch.from_numpy(digits.y[:4]), 0.5, torch.Generator())
    batch = WorstCase(module, digits).batch(step)
    ball = Interval((step.x - 0.1).clamp(0, 1), (step.x + 0.1).clamp(0, 1))
    (batch.margins(batch.layers(ball)) + batch.margins_by("crown-ibp", ball)).sum().backward()
    assert all(bool(one.grad.isfinite().all()) for one in module.parameters() if one.grad is not None)


def test_adversarial_training_makes_a_model_that_stands_attacks(half: Dataset) -> None:
    test = load_data("digits").subset(200, seed=0)
    step = Step(torch.from_numpy(test.x), torch.from_numpy(test.y), 1.0, torch.Generator().manual_seed(0))
    ascent = Ascent("linf", 0.1, 20, test.input_box)

    def stands(module: nn.Module) -> float:
        moved = ascent(step, lambda x: nn.functional.cross_entropy(module(x), step.y, reduction="sum"))
        assert bool((moved - step.x).abs().max() <= 0.1 + 1e-6)
        assert bool(moved.min() >= 0)
        assert bool(moved.max() <= 1)
        return float((module(moved).argmax(1) == step.y).float().mean())

    plain = stands(trained(Standard(epochs=8), half))
    assert stands(trained(AdversarialTraining(eps=0.1, epochs=8, steps=4), half)) > plain + 0.1
    assert stands(trained(Trades(eps=0.1, epochs=8, steps=4), half)) > plain + 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_adversary_stays_in_its_ball_and_raises_the_loss(norm: str) -> None:
    x = torch.linspace(0, 1, 3 * 64).reshape(3, 1, 8, 8)
    step = Step(x, torch.tensor([1, 2, 3]), 0.5, torch.Generator().manual_seed(0))
    module = build(small((1, 8, 8), 10), seed=0)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(module(x), step.y, reduction="sum")

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


def test_ablation_training_makes_a_model_that_sees_through_what_is_hidden(half: Dataset) -> None:
    test, law = load_data("digits"), Ablation(16, -1.0)
    x = torch.from_numpy(test.x)
    left = law.apply(x, law.sample(x.shape, torch.Generator().manual_seed(0)))

    def accuracy(recipe: Recipe) -> float:
        return float((Classifier(trained(recipe, half), 10).predict(left).numpy() == test.y).mean())

    assert accuracy(AblationAugmentation(retention=16, epochs=25)) > accuracy(Standard(epochs=8)) + 0.2


def test_ablation_training_takes_tables_groups_and_a_null_value_for_each_feature(half: Dataset) -> None:
    flat = replace(half, x=half.x.reshape(len(half.x), -1)).subset(100, seed=0)
    groups, null = ",".join(f"{2 * i}:{2 * i + 2}" for i in range(30)), ",".join(["-1"] * 64)
    settings = {"groups": Written(groups), "null": Written(null), "retention": Written("7"), "epochs": Written("1")}
    recipe = make(RECIPES, "ablation", settings)
    assert (recipe.groups[1], len(recipe.groups), recipe.null) == ((2, 3), 30, (-1.0,) * 64)
    module = build(NETWORKS["mlp"]((64,), 10), seed=0)
    trained(recipe, flat, module)
    with pytest.raises(BadInput, match="retention=31 is more than the 30 positions"):
        trained(replace(recipe, retention=31), flat, module)
    with pytest.raises(BadInput, match="null has 2 values, an input has 64 features"):
        trained(replace(recipe, null=(0.0, 1.0)), flat, module)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ablation", {"retention": 0}, "retention must be at least 1"),
        ("ablation", {"null": float("inf")}, "null must be finite"),
        ("ablation", {"groups": "0:3,2"}, "groups overlap"),
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
        ("lipschitz", {"margin": 0}, "margin must be a finite number above 0"),
        ("lipschitz", {"temperature": -1}, "temperature must be a finite number above 0"),
        ("denoise", {}, "denoise needs the model that stands behind"),
        ("denoise", {"base": "base", "depth": 1}, "depth must be a whole number of at least 2"),
        ("denoise", {"base": "base", "weight": -1}, "weight must be at least 0"),
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


@pytest.mark.parametrize("name", [name for name in RECIPES if "sigma" in settings_of(RECIPES, name)])
def test_noise_in_grey_levels_is_refused(name: str, digits: Dataset) -> None:
    given = {"base": "base"} if name == "denoise" else {}
    usual, absurd = (RECIPES[name](sigma=sigma, **given) for sigma in (1.0, 64.0))
    module = network(usual, digits)
    usual.objective(module, digits)
    with pytest.raises(BadInput, match=r"sigma 64 is more than the whole range of the inputs.*written sigma=64/255"):
        absurd.objective(module, digits)
    absurd.objective(module, replace(digits, input_box=None))  # nobody knows in which units those are


@pytest.mark.parametrize("name", ["pgd", "trades", "smoothadv"])
def test_a_radius_in_l2_may_be_larger_than_the_range_of_a_pixel(name: str, digits: Dataset) -> None:
    settings = {} if name == "smoothadv" else {"norm": "l2"}
    fitting, too_large = (RECIPES[name](eps=eps, **settings) for eps in (2.0, 8.1))
    fitting.objective(network(fitting, digits), digits)
    with pytest.raises(BadInput, match=r"eps 8.1 is more than any two inputs in \[0, 1\] are apart"):
        too_large.objective(network(too_large, digits), digits)


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
    written |= {"base": Written("models/net")} if "base" in kinds else {}
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


def test_a_one_lipschitz_network_has_certificates_without_noise_or_search(half: Dataset) -> None:
    recipe, test = OneLipschitz(epochs=8, learning_rate=0.01), load_data("digits").subset(200, seed=0)
    module = trained(recipe, half)
    assert describe(module) == describe(build(lipnet((1, 8, 8), 10)))  # plain layers again
    threat = ThreatModel("l2", (0.1, 0.25, 0.5))

    def certified(module: nn.Module) -> tuple[float, list[float]]:
        found = certify.certify(Classifier(module, 10), test.x, test.y, threat=threat, certifier=certify.Lipschitz())
        return found[0].evidence.lipschitz, [sum(one.holds_at(r) for one in found) / len(found) for r in threat.radii]

    constant, shares = certified(module)
    assert 0.9999 < constant < 1.0001
    assert shares[1] > 0.75
    assert shares[2] > 0.5
    plain = certified(trained(Standard(epochs=8), half))
    assert plain[0] > 1.5
    assert plain[1][1] < 0.2
    scaled, shares = certified(trained(recipe, half, build(small((1, 8, 8), 10, width=8), seed=0)))
    assert 0.3 < scaled < 1.0001
    assert shares[0] > 0.6


def test_a_denoiser_leaves_the_model_behind_as_it_is_and_takes_noise_out(half: Dataset, tmp_path: Path) -> None:
    generator, test = torch.Generator().manual_seed(0), load_data("digits").subset(300, seed=0)
    before = load_folder(Path("base"))
    few = {"epochs": 6, "width": 16, "depth": 3, "learning_rate": 0.005}
    folder = train("denoise", half, tmp_path / "net", base="base", **few)
    after = load_folder(folder)
    assert isinstance(after.module, nn.Sequential)
    behind = after.module[1:]
    assert isinstance(before.module, nn.Sequential)
    assert describe(behind) == describe(before.module)
    for tensor, kept in zip(behind.state_dict().values(), before.module.state_dict().values(), strict=True):
        assert torch.equal(tensor, kept)
    x = torch.from_numpy(test.x)
    noisy = x + 0.25 * torch.randn(x.shape, generator=generator)
    with torch.no_grad():
        left = (after.module[0](noisy) - x).square().mean() / (noisy - x).square().mean()
    assert float(left) < 0.6
    accuracy = [float((one.predict(noisy).numpy() == test.y).mean()) for one in (before, after)]
    assert accuracy[1] > accuracy[0] + 0.05


def test_a_model_that_cannot_stand_behind_a_denoiser_is_refused(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_nets.py").write_text(
        "from torch import nn\nfrom certify import Classifier\n"
        "def gelu(): return nn.Sequential(nn.Flatten(), nn.GELU(), nn.Linear(64, 10)).eval()\n"
        "class Net(nn.Linear):\n    def forward(self, x): return super().forward(x.flatten(1))\n"
        "def layer(): return Net(64, 10).eval()\n"
        "def function(): return Classifier(lambda x: x.flatten(1)[:, :10], 10)\n"
        "def classes(): return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval(), 3)\n"
        "def box(): return Classifier(gelu(), 10, (-1.0, 1.0))\n"
        "def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(65, 10)).eval()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, said in (
        ("gelu", "GELU is not in the vocabulary"),
        ("layer", "it is Net"),
        ("function", "it is a function"),
        ("classes", "has classes 3, and the data 10"),
        ("box", r"has input box \[-1, 1\], and the data \[0, 1\]"),
        ("wide", r"the model refuses inputs of shape \(1, 8, 8\)"),
    ):
        with pytest.raises(CertifyError, match=rf"^[^\n]*{said}[^\n]*$"):
            train("denoise", digits, tmp_path / "net", base=f"odd_nets:{name}")
    with pytest.raises(BadInput, match="trains a network of its own: leave network and its options out"):
        train("denoise", digits, tmp_path / "net", base="base", network="small")
    assert not (tmp_path / "net").exists()


def test_another_model_behind_a_denoiser_is_another_training(half: Dataset, tmp_path: Path) -> None:
    shutil.copytree("base", tmp_path / "first")
    train("denoise", half, tmp_path / "net", base=str(tmp_path / "first"), epochs=1, width=2, depth=2)
    train("standard", half.subset(100, seed=0), tmp_path / "other", epochs=1)
    shutil.rmtree(tmp_path / "first")
    shutil.copytree(tmp_path / "other", tmp_path / "first")
    with pytest.raises(BadInput, match="was trained otherwise: base was"):
        train("denoise", half, tmp_path / "net", base=str(tmp_path / "first"), epochs=1, width=2, depth=2)
