"""Ensembles: one network whose scores are the mean of its members', under bounds and under noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import certify
from certify.errors import BadInput, ModelError
from certify.models.architecture import build
from certify.models.classifier import Classifier
from certify.models.ensemble import ensemble
from certify.models.folder import save_folder
from certify.models.loaders import load_model
from certify.models.networks.mlp import mlp


def saved(folder: Path, seed: int, shape: tuple[int, ...] = (4,), classes: int = 3, box: Any = (0.0, 1.0)) -> Path:
    module = build(mlp(shape, classes, hidden=(8,)), seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    return save_folder(folder, module, num_classes=classes, input_box=box, input_shape=shape, recipe={})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for seed in (0, 1, 10):
        saved(tmp_path / "net" / f"seed-{seed}", seed)
    return tmp_path / "net"


def test_the_scores_are_the_mean_and_the_digest_is_that_of_the_members_in_order(models: Path) -> None:
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    members = [load_model(str(models / f"seed-{seed}")) for seed in (0, 1, 10)]
    made = load_model(f"ensemble:{models}")
    assert repr(made).startswith("Classifier(ensemble of 3, 3 classes")
    assert made.differentiable
    torch.testing.assert_close(made.scores(x), sum(one.scores(x) for one in members) / 3)
    named = load_model("ensemble:" + ",".join(str(models / f"seed-{seed}") for seed in (0, 1, 10)))
    assert made.digest == named.digest == ensemble(members).digest
    assert made.digest != ensemble(members[::-1]).digest != ensemble(members[:2]).digest
    made.check(x)
    assert made.maker is not None
    assert made.maker().digest == made.digest


def test_bounds_and_noise_see_one_network(models: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    made = load_model(f"ensemble:{models}")
    x = torch.rand(8, 4, generator=generator)
    y = made.predict(x)
    threat = certify.ThreatModel("linf", (0.01, 0.05))
    near = x[:, None] + 0.05 * (2 * torch.rand(8, 256, 4, generator=generator) - 1)
    kept = (made.predict(near.clamp(0, 1).flatten(0, 1)).reshape(8, 256) == y[:, None]).all(1)
    for method in ("ibp", "crown"):
        found = certify.bound(made, x, y, threat=threat, method=method)
        assert any(one.holds_at(0.01) for one in found)
        assert all(bool(kept[i]) for i, one in enumerate(found) if one.holds_at(0.05))
    smoothed = certify.smooth(made, x, y, threat=certify.ThreatModel("l2", (0.0, 0.05)), sigma=0.1, n=2000)
    assert any(one.holds_at(0.05) for one in smoothed)


def test_members_that_normalize_for_themselves_keep_doing_so() -> None:
    net = nn.Linear(2, 2).eval()
    pair = [Classifier(net, 2), Classifier(net, 2, mean=0.5, std=0.25)]
    x = torch.tensor([[0.25, 0.75]])
    torch.testing.assert_close(ensemble(pair).scores(x), (net(x) + net((x - 0.5) / 0.25)) / 2)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own exported modules
def test_members_may_be_any_modules_and_exported_programs() -> None:
    net, x = nn.Linear(2, 2).eval(), torch.tensor([[0.25, 0.75], [0.5, 0.0]])
    batch = {"x": {0: torch.export.Dim("batch")}}

    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.net(x)

    program = torch.export.export(Doubled().eval(), (x,), dynamic_shapes=batch)
    made = ensemble([Classifier(net, 2), Classifier(program, 2), Classifier(Doubled().eval(), 2)])
    torch.testing.assert_close(made.scores(x), net(x) * 5 / 3)
    made.check(x)


def test_members_that_do_not_fit_are_refused_in_one_line(models: Path, tmp_path: Path) -> None:
    first = models / "seed-0"
    others = {
        "their classes": saved(tmp_path / "classes", 0, classes=4),
        "their input box": saved(tmp_path / "box", 0, box=(0.0, 2.0)),
        "the shape of inputs": saved(tmp_path / "shape", 0, shape=(2, 2)),
    }
    for what, other in others.items():
        with pytest.raises(BadInput, match=rf"^members of an ensemble share {what}: [^\n]*$"):
            load_model(f"ensemble:{first},{other}")
    for spec, said in (
        (f"ensemble:{first}", "has at least two members, got 1"),
        ("ensemble:", "no folder is named"),
        (f"ensemble:{first},{tmp_path}/none", "no folder '.*none'; an ensemble is"),
        (f"ensemble:{first},{tmp_path}", r"has no model\.json"),
    ):
        with pytest.raises(BadInput, match=said):
            load_model(spec)
    with pytest.raises(BadInput, match="leave mean and std out"):
        load_model(f"ensemble:{models}", mean=0.5, std=0.5)
    (models / "seed-2").mkdir()  # begun, and not ended
    with pytest.raises(BadInput, match=r"seed-2 has no model\.json"):
        load_model(f"ensemble:{models}")


def test_functions_and_other_arithmetic_have_no_mean(models: Path) -> None:
    one = load_model(str(models / "seed-0"))
    with pytest.raises(ModelError, match="is no module that returns the scores"):
        ensemble([one, Classifier(lambda x: x[:, :3], 3)])
    with pytest.raises(ModelError, match="is no module that returns the scores"):
        ensemble([one, one.with_property(certify.Never(1))])
    with pytest.raises(ModelError, match="is executed in bfloat16"):
        ensemble([one, one.executed("bfloat16")])
