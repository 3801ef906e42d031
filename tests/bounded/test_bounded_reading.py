"""Bombs, pipes and nested texts: every loader answers in one line, without the memory that was asked of it."""

from __future__ import annotations

import gzip
import os
import signal
import struct
import tracemalloc
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from certify.bounded.texts import from_json
from certify.complete.proofs.file import check_proof
from certify.complete.reading.files import text_of
from certify.core.packed import unpack
from certify.core.scale import read_scale
from certify.data.loaders import load_data
from certify.errors import CertifyError
from certify.gate.policy import read_policy
from certify.models.loaders import load_model
from certify.store.bundle import verify_bundle
from certify.store.dsse import private_key
from certify.store.log_lines import read_log_text
from certify.store.run_folder import RunFolder
from certify.study.settings import read_toml

SIZE = 2**24
ZEROS = bytes(SIZE)


def idx(path: Path) -> None:
    load_data(f"idx:{path.parent}")


def run(path: Path) -> None:
    (path.parent / "run.sqlite").touch()
    RunFolder.open(path.parent)


def proof(path: Path) -> None:
    check_proof(path, "net.onnx", "p.vnnlib")


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "idx": ("t10k-images-idx3-ubyte", idx),
    "images": ("cat/one.png", lambda path: load_data(f"images:{path.parents[1]}")),
    "npz": ("data.npz", lambda path: load_data(f"npz:{path}")),
    "scale": ("scale.npy", lambda path: read_scale(str(path))),
    "log": ("log.tsv", lambda path: read_log_text(path, [("idx", "label")])),
    "property": ("property.vnnlib.gz", text_of),
    "policy": ("policy.toml", read_policy),
    "study": ("study.toml", read_toml),
    "proof": ("proof.json", proof),
    "key": ("key.pem", private_key),
    "manifest": ("manifest.json", run),
    "model folder": ("model.json", lambda path: load_model(str(path.parent))),
    "onnx": ("net.onnx", lambda path: load_model(str(path))),
    "exported": ("net.pt2", lambda path: load_model(str(path))),
}


@pytest.fixture
def patience() -> Iterator[None]:
    """Whoever waits for a pipe without a writer waits for ever."""

    def give_up(*_: object) -> None:
        raise TimeoutError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    (folder / "dog").mkdir()
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_a_folder_or_a_device_is_no_file(
    reader: str, make: Callable[[Path], None], tmp_path: Path, patience: None
) -> None:
    name, read = READERS[reader]
    path = place(tmp_path, name)
    make(path)
    with pytest.raises(CertifyError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_a_pipe_is_called_a_pipe(kind: str, tmp_path: Path, patience: None) -> None:
    os.mkfifo(tmp_path / "table")
    with pytest.raises(CertifyError, match="it is a pipe and no file"):
        load_data(f"{kind}:{tmp_path / 'table'}")


def test_a_pipe_as_a_bundle_is_one_line(tmp_path: Path, patience: None) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    os.mkfifo(tmp_path / "bundle")
    with pytest.raises(CertifyError, match="it is a pipe and no file"):
        verify_bundle(tmp_path / "bundle", tmp_path / "key.pem")


def npy(promises: str = f"({SIZE},)", held: bytes = ZEROS) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {promises}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + held


def zipped(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def bomb_of_images(path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(40):
            Image.new("L", (256, 256)).save(path.parents[1] / name / f"{number}.png")


def bomb_of_one_image(path: Path) -> None:
    for name in ("cat", "dog"):
        Image.new("L", (4096, 4096)).save(path.parents[1] / name / "one.png")


def network(path: Path, size: list[int], *nodes: NodeProto, **stored: list[int]) -> None:
    """An ONNX file of an input of some size, (1, ...), and of what nodes make of it."""
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *size]) for name in "xy")
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def bomb_of_a_constant(path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["total"], keepdims=0),
        helper.make_node("Add", ["x", "total"], ["y"]),
    ]
    network(path, [2], *nodes, sizes=[4096, 4096])


BOMBS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "idx": ("idx", lambda path: path.write_bytes(gzip.compress(struct.pack(">4I", 2051, 1, 4096, 4096) + ZEROS))),
    "npz": ("npz", lambda path: zipped(path, x=npy(), y=npy("(1,)", b"\0"))),
    "log": ("log", lambda path: path.write_bytes(gzip.compress(b"idx\tlabel\n" + ZEROS.replace(b"\0", b"\n")))),
    "property": ("property", lambda path: path.write_bytes(gzip.compress(ZEROS))),
    "many images": ("images", bomb_of_images),
    "one image": ("images", bomb_of_one_image),
    "constant": ("onnx", bomb_of_a_constant),
    "input": ("onnx", lambda path: network(path, [4096, 4096], helper.make_node("Relu", ["x"], ["y"]))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_unpacks_to_more_than_there_is_room_for_is_not_unpacked(
    bomb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, make = BOMBS[bomb]
    name, read = READERS[reader]
    path = place(tmp_path, name)
    make(path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*")) < SIZE // 50
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**23)
    monkeypatch.setattr("certify.bounded.files._TEXT", 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(CertifyError, match="memory that is free|room for|to spare|half of"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < SIZE // 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [npy("(10**15,)".replace("10**15", str(10**15)), b"\0"), npy("(-2, -3)", bytes(6)), npy("(" * 3000, b"")],
    ids=["huge", "negative", "nested"],
)
def test_a_header_that_promises_what_the_file_does_not_hold_takes_no_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "scale.npy").write_bytes(content)
    with pytest.raises(CertifyError, match="holds no plain array"):
        read_scale(str(tmp_path / "scale.npy"))
    zipped(tmp_path / "data.npz", x=content, y=content)
    with pytest.raises(CertifyError, match="cannot be read"):
        load_data(f"npz:{tmp_path / 'data.npz'}")


def test_a_scale_in_a_record_is_unpacked_only_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = b64encode(zlib.compress(ZEROS)).decode()
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**22)
    with pytest.raises(CertifyError, match="more than this machine has to spare"):
        unpack("a scale", bomb)


@pytest.mark.parametrize("reader", ["policy", "study", "proof", "manifest", "model folder"])
def test_texts_nested_too_deeply_are_one_line(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    path = place(tmp_path, name)
    path.write_text("sigma = " * name.endswith("toml") + "[" * 100_000)
    with pytest.raises(CertifyError, match="nested too deeply"):
        read(path)


def test_numbers_that_python_will_not_read_are_value_errors() -> None:
    with pytest.raises(ValueError, match="digits"):
        from_json("9" * 5000)
