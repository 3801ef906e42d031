"""Random ONNX files against onnxruntime: what is claimed about a box must hold for what the runtime computes there."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from adversary.claims import SHAPES, SIZES, broken_claim, drawn_box
from adversary.draft import Draft
from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_import import import_onnx
from certify.data.dataset import seeded_generator
from certify.errors import CertifyError, UnsupportedOperator

__all__ = ["attempt", "broken_file"]


def attempt(seed: int) -> str | None:
    """One random file: None if every claim about it holds, otherwise what does not, in a sentence."""
    g = seeded_generator("adversary", "graphs", seed)
    shape = SHAPES[int(g.integers(len(SHAPES)))]
    try:
        content = drawn(g, shape)
    except ValueError:
        return None
    return broken_file(content, drawn_box(g, shape))


def drawn(g: np.random.Generator, shape: tuple[int, ...]) -> bytes:
    """A file of some operators on the input, and of some on stored numbers alone."""
    draft = Draft(g, int(g.integers(8, 23)), float(g.choice(SIZES)), shape)
    value, constant = "x", draft.numbers(1, *shape)
    for _ in range(int(g.integers(1, 5))):
        value = draft.grow(value)
    for _ in range(int(g.integers(0, 3))):
        constant = draft.grow(constant)
    return draft.content([value, constant] if constant not in draft.stored else [value])


def broken_file(content: bytes, box: Tensor) -> str | None:
    """What is wrong with the claims about a file over a box, in a sentence, or None."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        session.run(None, {"x": np.zeros(box.shape[1:], np.float32)})
    except Exception:  # what the runtime does not run, nobody deploys
        return None
    kinds = " ".join(node.op_type for node in onnx.load_model_from_string(content).graph.node)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = GraphModule(import_onnx(content)).eval()
    except UnsupportedOperator:
        return None
    except CertifyError as refusal:
        return f"an own import is refused ({kinds}): {refusal}" if "does not compute" in str(refusal) else None
    except Exception as crash:  # whatever it is, it is not one line
        return f"crashed on reading ({kinds}): {type(crash).__name__}: {crash}"

    def runs(points: Tensor) -> list[Tensor]:
        rows = [session.run(None, {"x": point[None].numpy()})[0] for point in points]
        return [torch.from_numpy(np.concatenate(rows))]

    found = broken_claim(module, box, runs)
    return found and f"{kinds}: {found}"
