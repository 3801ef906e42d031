"""What models and functions of users do to workers: classes of the current folder, forks, errors, locks, NaN."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import certify
from certify.checker.derivations.base import derived_claims
from certify.checker.result import Standing
from certify.cli import main
from certify.core.verdict import Verdict
from certify.engines.base import Lost
from certify.engines.local import Local
from certify.errors import BadInput, MissingExtra, ModelError
from certify.models.loaders import load_model

NETS = """
import threading, torch, certify
from torch import nn
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
    def forward(self, x):
        return self.layer(x)
def net():
    return Own().eval()
def locked():
    lock, net = threading.Lock(), Own().eval()
    def function(x):
        with lock:
            return net(x)
    return certify.Classifier(function, 3)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_a_user.py").write_text(NETS)
    np.savez("data.npz", x=np.random.default_rng(0).random((40, 4), dtype=np.float32), y=np.arange(40) % 3)
    yield tmp_path
    sys.modules.pop("nets_of_a_user", None)


@pytest.mark.parametrize("name", ["net", "locked"])
def test_models_of_the_current_folder_are_at_home_in_workers(name, here):
    """One whose class stands there, and one that cannot be sent and is made again by its name."""
    study = ["run", "--model", f"nets_of_a_user:{name}", "--data", "npz:data.npz", "--sigma", "0.25", "--n", "200"]
    study += ["--radii", "0,0.1", "--schedule", "fixed", "--quiet", "--input-box", "0,1"]
    said = {}
    for out, more in {"serial": [], "workers": ["--workers", "1"]}.items():
        assert main([*study, "--out", out, *more]) == 0
        assert main(["export", out, "--out", f"{out}.jsonl"]) == 0
        said[out] = re.sub(r'"seconds": [^,]*', "", (here / f"{out}.jsonl").read_text())
    assert said["serial"] == said["workers"]
    assert main(["check", "workers", "--model", study[2], "--data", study[4], "--workers", "1", "--replay", "1"]) == 0


def test_a_model_that_is_another_one_each_time_is_not_made_again():
    maker = load_model("torch.nn:Identity", num_classes=3).maker
    from certify.engines.parcel import _made_again

    with pytest.raises(ModelError, match="another model each time it is made"):
        _made_again(maker, "0" * 64)


def test_a_module_that_cannot_be_copied_says_so():
    net = nn.Linear(2, 2).eval()
    net.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"cannot be copied .*lock.*give a function"):
        certify.Classifier(net, 2)


def test_a_model_made_under_inference_mode_has_gradients():
    with torch.inference_mode():
        clf = certify.Classifier(nn.Linear(2, 2).eval(), 2)
    x, threat = torch.tensor([[0.5, 0.5]]), certify.ThreatModel("linf", (0.0, 0.1))
    [finding] = certify.attack(clf, x, clf.predict(x), threat=threat, attack="fgsm")
    assert not finding.error


class TwoArguments(BadInput):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def troubled(task: int) -> int:
    if task == 0 and os.fork():
        os.wait()  # and the child returns, as if it were the worker
    if task == 1:
        raise TwoArguments("both", "words")
    if task == 2:
        raise MissingExtra("figs", "plot", "drawing")
    return 10 * task


def test_answers_belong_to_their_tasks_whatever_a_model_forks():
    with Local(workers=1).crew(troubled) as crew:
        assert dict(crew.results([0, 3, 4, 5])) == {0: 0, 3: 30, 4: 40, 5: 50}
        for task, words in {1: "both words", 2: "drawing needs figs"}.items():
            with pytest.raises(Exception, match=words) as told:
                list(crew.results([task]))
            assert isinstance(told.value, BadInput) or task == 2


def sent(task: int) -> bytes:
    if not os.fork():
        time.sleep(30)  # a helper that the model leaves behind
        os._exit(0)
    os.kill(os.getppid() if task else os.getpid(), signal.SIGKILL)
    return b""


def test_a_helper_that_a_dead_worker_leaves_behind_holds_nothing_up():
    begin = time.monotonic()
    with Local(workers=1).crew(sent) as crew:
        [(_, made)] = crew.results([0])
    assert isinstance(made, Lost)
    assert time.monotonic() - begin < 25


def test_no_error_is_changed_that_can_be_read_elsewhere():
    from certify.engines.local import _packed

    assert type(pickle.loads(_packed(ModelError("as it is")))) is ModelError
    assert str(pickle.loads(_packed(threading.Lock()))).startswith("lock cannot leave its process")


def undefined(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x[:, :1] > 0.8, torch.nan, x)


def overflowing() -> nn.Module:
    layer = nn.Linear(2, 2, bias=False).eval()
    layer.weight.data = 3e38 * torch.eye(2)
    return layer


@pytest.mark.parametrize(
    ("model", "certifier", "norm"),
    [(undefined, certify.Smoothing(sigma=0.05, n=200), "l2"), (overflowing(), certify.Bounds("ibp"), "linf")],
    ids=["smoothing", "ibp"],
)
def test_an_input_without_scores_is_an_error_and_the_rest_go_on(model, certifier, norm):
    clf = certify.Classifier(model, 2, input_box=(0.0, 2.0))
    x = torch.tensor([[0.1, 0.7], [1.5, 0.7], [0.2, 0.7]])
    threat = certify.ThreatModel(norm, (0.0, 0.01))
    found = certify.certify(clf, x, [1, 1, 1], threat=threat, certifier=certifier)
    assert [one.verdict for one in found] == [Verdict.CERTIFIED, Verdict.ERROR, Verdict.CERTIFIED]
    assert "NaN or infinity" in found[1].reason
    assert found[1].evidence is found[1].radius is found[1].prediction is None
    assert not any(claim.standing is Standing.REFUTED for claim in derived_claims(found, whole=False))
