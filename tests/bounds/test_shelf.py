"""Networks that were read wait in a folder for other processes: the same bounds, from nobody but their user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from certify import output_bounds
from certify.bounds.graph import Graph, Node
from certify.bounds.importers import read_once as room
from certify.bounds.importers import shelf as shelves
from certify.bounds.importers.shelf import VARIABLE, Shelf, named_shelf
from certify.bounds.importers.torch_import import import_module
from certify.bounds.rules.base import ATEN
from certify.errors import BadInput


class Attention(nn.Module):
    """Products of two results, softmax, reshapes, a number in the code, and a weight whose strides are swapped."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.swapped = nn.Parameter(torch.rand(3, 12).T)

    def forward(self, x):
        scores = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 1.7, dim=-1)
        y = self.norm(scores @ x).flatten(1)
        return torch.cat([y @ self.swapped, y.amax(1, keepdim=True), y[:, 2:3].exp()], dim=1).clamp(-5.0, torch.inf)


def _nets():
    torch.manual_seed(3)
    conv = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.GELU(), nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2)),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.LeakyReLU(0.1), nn.Linear(2, 3), nn.Tanh(), nn.Softplus()),
    )
    shared = nn.Linear(4, 4)
    twice = nn.Sequential(shared, nn.SiLU(), shared, nn.LogSoftmax(dim=1)).double()
    return {"conv": (conv, (1, 8, 8)), "attention": (Attention(), (3, 4)), "shared": (twice, (4,))}


@pytest.fixture(params=_nets())
def net(request):
    module, shape = _nets()[request.param]
    dtype = next(module.parameters()).dtype
    return module.eval(), torch.zeros(2, *shape, dtype=dtype), torch.ones(2, *shape, dtype=dtype)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is named, and a process that knows no networks yet."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "networks"))
    monkeypatch.setattr(room, "_READ", OrderedDict())
    return tmp_path / "networks"


@pytest.fixture
def reads(monkeypatch):
    """The modules that were really read."""
    seen, read = [], room.import_module
    monkeypatch.setattr(room, "import_module", lambda module, *rest: seen.append(id(module)) or read(module, *rest))
    return seen


def test_what_is_taken_from_the_folder_is_what_was_read(net, folder, reads):
    first = output_bounds(*net, "crown")
    graph = room.read_once(net[0], net[1][:1])
    room._READ.clear()
    again = output_bounds(*net, "crown")
    assert len(reads) == 1
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    taken = room.read_once(net[0], net[1][:1])
    assert taken is not graph
    assert taken.same_as(graph)
    for one, two in zip(graph.nodes, taken.nodes, strict=True):
        assert (one.name, one.inputs, one.shape, one.source) == (two.name, two.inputs, two.shape, two.source)
        for tensor, other in zip(one.operator.tensors.values(), two.operator.tensors.values(), strict=True):
            assert (tensor.stride(), tensor.dtype) == (other.stride(), other.dtype)


@pytest.mark.parametrize("damage", ["a bit", "the end", "everything", "a forged head"])
def test_a_damaged_file_is_read_anew_and_replaced(damage, folder, reads):
    module, x = nn.Linear(3, 2).eval(), torch.zeros(1, 3)
    first = output_bounds(module, x, x + 1)
    [file] = folder.iterdir()
    whole = bytearray(file.read_bytes())
    if damage == "a bit":
        whole[-3] ^= 1
    elif damage == "a forged head":
        lines = bytes(whole).replace(b"certify.bounds.rules.linear:Linear", b"os:system").split(b"\n", 1)[1]
        whole = bytearray(shelves.hashlib.sha256(lines).hexdigest().encode() + b"\n" + lines)
    file.write_bytes({"the end": whole[:-1], "everything": b""}.get(damage, whole))
    room._READ.clear()
    again = output_bounds(module, x, x + 1)
    assert len(reads) == 2
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    room._READ.clear()
    output_bounds(module, x, x + 1)
    assert len(reads) == 2


def test_other_numbers_settings_and_code_have_files_of_their_own(folder, reads, monkeypatch):
    x = torch.zeros(1, 3)
    nets = [nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(slope)).eval() for slope in (0.1, 0.1, 0.2)]
    nets[2][0] = nets[1][0]
    for module in nets:
        output_bounds(module, x, x + 1)
    monkeypatch.setattr(shelves, "_code", lambda: "another version")
    room._READ.clear()
    output_bounds(nets[0], x, x + 1)
    assert len(reads) == len(list(folder.iterdir())) == 4


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of Unix")
def test_a_folder_that_others_may_write_to_is_refused(folder):
    folder.mkdir(mode=0o700)
    folder.chmod(0o770)
    with pytest.raises(BadInput, match="others may write to"):
        output_bounds(nn.Linear(3, 2).eval(), torch.zeros(1, 3), torch.ones(1, 3))
    folder.rmdir()
    folder.write_text("no folder")
    with pytest.raises(BadInput, match="no folder to use"):
        named_shelf()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_that_others_may_write_to_are_read_anew(folder, reads):
    net, ends = nn.ReLU().eval(), (torch.full((1, 2), -1.0), torch.full((1, 2), 2.0))
    before = os.umask(0)
    try:
        output_bounds(net, *ends)
    finally:
        os.umask(before)
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    for spoil in (lambda: file.chmod(0o622), lambda: (file.unlink(), os.mkfifo(file)), lambda: _linked(file)):
        spoil()
        room._READ.clear()
        count = len(reads)
        output_bounds(net, *ends)
        assert len(reads) == count + 1


def _linked(file):
    file.rename(file.with_suffix(".elsewhere"))
    file.symlink_to(file.with_suffix(".elsewhere"))


def test_a_network_that_a_plug_in_reads_is_read_by_it_and_not_kept(folder):
    net, ends, asked = nn.ReLU().eval(), (torch.full((1, 2), -1.0), torch.full((1, 2), 2.0)), []
    output_bounds(net, *ends)
    kept = list(folder.iterdir())
    with ATEN.scoped() as rules:
        own = rules["relu"]

        def plugged(call):
            asked.append(call.target)
            return own(call)

        rules["relu"] = plugged
        output_bounds(net, *ends)
        assert asked
    assert len(kept) == 1
    assert list(folder.iterdir()) == kept


def test_an_operator_of_a_plug_in_is_not_kept(tmp_path):
    graph = import_module(nn.Linear(3, 2).eval(), torch.zeros(1, 3))
    [node] = graph.nodes
    other = type("Other", (type(node.operator),), {"__module__": "plugin"})
    node = Node(node.name, other(**{name: getattr(node.operator, name) for name in ("weight", "offset")}), ("x",), (2,))
    Shelf(tmp_path).put(tmp_path / "one", Graph("x", (3,), (node,), torch.float32))
    assert not list(tmp_path.iterdir())


ANOTHER = """
import sys, torch
from torch import nn
from certify import output_bounds
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
bounds = output_bounds(net, torch.zeros(1, 3), torch.ones(1, 3))
print(*(end.tolist() for end in bounds), "torch._dynamo" in sys.modules)
"""


def test_another_process_reads_no_network_again(folder):
    said = [
        subprocess.run([sys.executable, "-c", ANOTHER], stdout=subprocess.PIPE, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0].replace("True", "False") == said[1]
    assert said[0].endswith("True\n")
