"""Exported programs: the same answers as torch's own reader gives, and no code run from the file."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from certify.errors import BadInput, ModelError
from certify.models.loaders import load_model


class Branching(nn.Module):
    """What a plain list of layers cannot hold: a skip, in-place operators, buffers and constants, a dynamic size."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm, self.relu, self.last = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Linear(16, 3)
        self.register_buffer("mean", torch.tensor([0.5]), persistent=False)
        self.std = torch.tensor([2.0])

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.first((x - self.mean) / self.std)))
        h = nn.functional.dropout(h + self.relu(self.second(h)), training=self.training)
        return self.last(nn.functional.max_pool2d(h, 2).view(x.size(0), -1)).clamp(min=-3)


class Odd(nn.Module):
    """Contains an operator that is not read."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


def export(module: nn.Module, example: Tensor, path: Path) -> Path:
    with torch.random.fork_rng():
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Branching()
    return export(module, torch.zeros(2, 1, 4, 4), tmp_path_factory.mktemp("exported") / "net.pt2")


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> str:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return str(target)


def test_an_exported_program_answers_as_torch_itself_reads_it(exported: Path) -> None:
    classifier = load_model(str(exported), input_box=(0.0, 2.0))
    assert (classifier.num_classes, classifier.input_box) == (3, (0.0, 2.0))
    x = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(classifier.scores(x), torch.export.load(exported).module()(x))
    assert classifier.differentiable
    assert load_model(str(exported)).digest == classifier.digest


def test_the_digest_covers_the_graph_beside_the_weights(exported: Path, tmp_path: Path) -> None:
    other = rewrite(exported, tmp_path / "net.pt2", lambda _, content: content.replace(b"aten.relu_.", b"aten.silu_."))
    assert load_model(other).digest != load_model(str(exported)).digest


@pytest.mark.parametrize("part", ["weights", "constants"])
def test_a_pickle_in_the_file_is_refused_without_running_it(part: str, exported: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trapped"

    class Touch:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (trap,)

    def plant(name: str, content: bytes) -> bytes:
        if name.endswith(f"model_{part}_config.json"):
            record = json.loads(content)
            next(iter(record["config"].values()))["use_pickle"] = True
            return json.dumps(record).encode()
        return pickle.dumps(Touch()) if name.endswith((f"{part}/weight_0", "tensor_0", "model.pt")) else content

    with pytest.raises(ModelError, match=r"^[^\n]* as a pickle, which could run code; name a Python function[^\n]*$"):
        load_model(rewrite(exported, tmp_path / "net.pt2", plant))
    assert not trap.exists()


@pytest.mark.parametrize("target", [b"torch.ops.aten.from_file.default", b"builtins.eval", b"torch.ops.aten.relu_"])
def test_only_listed_operators_are_carried_out(target: bytes, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"contains the operator {target.decode()}, which is not read"):
        load_model(
            rewrite(exported, tmp_path / "n.pt2", lambda _, old: old.replace(b"torch.ops.aten.relu_.default", target))
        )


def test_an_operator_that_is_not_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"n\.pt2 contains the operator torch\.ops\.aten\.fft_rfft\.default"):
        load_model(str(export(Odd(), torch.zeros(2, 4), tmp_path / "n.pt2")))


class Overwriting(nn.Module):
    """Its second forward pass differs from its first."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.offset = nn.Linear(4, 2), nn.Buffer(torch.ones(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.offset.view(2).add_(1)


class Padded(nn.Module):
    """Changes its input through what is a view of it only sometimes."""

    def __init__(self, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.view = view

    def forward(self, x: Tensor) -> Tensor:
        return self.view(x).relu_().clone()


@pytest.mark.parametrize(
    "module",
    [
        Overwriting(),
        nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(4, 2)),
        Padded(lambda x: nn.functional.dropout(x, training=False)),
        Padded(lambda x: x.transpose(0, 1).reshape(4, -1).t()),
        Padded(lambda x: x[..., None, None].permute(0, 2, 3, 1).reshape(-1, 4)),
    ],
)
def test_overwriting_a_weight_or_the_input_is_refused(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"overwrites its input or weight '\w+' in place \((add|relu)_\)"):
        load_model(str(export(module, torch.zeros(2, 4), tmp_path / "n.pt2")))


def test_a_damaged_file_never_ends_in_a_traceback(exported: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "n.pt2", exported.read_bytes()
    for damaged in (b"", b"PK\x03\x04", content[: len(content) // 2], content[:3000] + bytes(500) + content[3500:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"^[^\n]*n\.pt2 is no exported program, or a corrupt one: [^\n]*$"):
            load_model(str(path))
    with pytest.raises(BadInput, match=r"no file 'absent\.pt2'"):
        load_model("absent.pt2")


def test_strides_of_zero_make_a_few_stored_bytes_no_large_weight(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeated(times: int) -> Callable[[str, bytes], bytes]:
        def change(name: str, content: bytes) -> bytes:
            if not name.endswith("weights_config.json"):
                return content
            record = json.loads(content)
            meta = record["config"]["last.bias"]["tensor_meta"]
            meta["sizes"][0]["as_int"], meta["strides"][0]["as_int"] = times, 0
            return json.dumps(record).encode()

        return change

    monkeypatch.setattr("certify.models.exported.check_writes", lambda network, shape: None)  # it does not fit the rest
    few = load_model(rewrite(exported, tmp_path / "few.pt2", repeated(3000))).module
    stored = [tensor for tensor in few.buffers() if tensor.shape == (3000,)]
    assert [tensor.untyped_storage().nbytes() for tensor in stored] == [12]
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**28)
    with pytest.raises(BadInput, match="more than this machine has to spare"):
        load_model(rewrite(exported, tmp_path / "many.pt2", repeated(10**8)))


class Sized(nn.Module):
    """Answers by how many inputs there are."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.shape[0]


def test_computing_with_the_size_of_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"computes with the size of its batch \(torch\.ops\.aten\.mul\.\w+\)"):
        load_model(str(export(Sized(), torch.zeros(2, 4), tmp_path / "n.pt2")))
