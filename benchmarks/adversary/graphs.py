"""Random ONNX files against onnxruntime: what is claimed about a box must hold for what the runtime computes there."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from adversary.draft import Draft
from certify.bounds.importers.graph_module import GraphModule
from certify.bounds.importers.onnx_import import import_onnx
from certify.bounds.output import output_bounds
from certify.data.dataset import seeded_generator
from certify.errors import CertifyError, UnsupportedOperator

__all__ = ["attempt", "drawn"]

SIZES: Final = (1.0, 1.0, 1.0, 1e-3, 1e3, 1e10, 1e19, 1e30, 3e37)
"""Magnitudes of stored numbers and of inputs: most networks are ordinary, hostile ones are not."""


def attempt(seed: int) -> str | None:
    """One random file: None if every claim about it holds, otherwise what does not, in a sentence."""
    g = seeded_generator("adversary", "graphs", seed)
    shape = ((5,), (3, 4), (2, 5, 6), (2, 4, 4))[int(g.integers(4))]
    try:
        content = drawn(g, shape)
    except ValueError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        session.run(None, {"x": np.zeros((1, *shape), np.float32)})
    except Exception:  # what the runtime does not run, nobody deploys
        return None
    return _held(content, session, torch.as_tensor(_box(g, shape)))


def drawn(g: np.random.Generator, shape: tuple[int, ...]) -> bytes:
    """A file of some operators on the input, and of some on stored numbers alone."""
    draft = Draft(g, int(g.integers(8, 23)), float(g.choice(SIZES)), shape)
    value, constant = "x", draft.numbers(1, *shape)
    for _ in range(int(g.integers(1, 5))):
        value = draft.grow(value)
    for _ in range(int(g.integers(0, 3))):
        constant = draft.grow(constant)
    return draft.content([value, constant] if constant not in draft.stored else [value])


def _box(g: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A box (2, 1, *shape) of float32: its lower and its upper ends."""
    size = float(g.choice(SIZES))
    ends = np.sort(g.normal(size=(2, 1, *shape)), axis=0)
    if g.random() < 0.5:
        ends[1] = ends[0] + 0.01 * (ends[1] - ends[0])
    with np.errstate(over="ignore"):
        return np.clip(ends * size, -3e38, 3e38).astype(np.float32)


def _held(content: bytes, session: onnxruntime.InferenceSession, box: Tensor) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = GraphModule(import_onnx(content)).eval()
    except UnsupportedOperator:
        return None
    except CertifyError as refusal:
        kinds = " ".join(node.op_type for node in onnx.load_model_from_string(content).graph.node)
        return f"an own import is refused ({kinds}): {refusal}" if "does not compute" in str(refusal) else None
    except Exception as crash:  # whatever it is, it is not one line
        return f"crashed on reading: {type(crash).__name__}: {crash}"
    lower, upper = box
    share = torch.as_tensor(seeded_generator("adversary", "points").uniform(size=(12, *lower.shape[1:])))
    share[:4] = share[:4].round()
    points = (lower + (upper.double() - lower.double()) * share).float().maximum(lower).minimum(upper)
    answers = torch.cat([torch.from_numpy(session.run(None, {"x": point[None].numpy()})[0]) for point in points])
    for method in ("ibp", "crown"):
        try:
            low, high = output_bounds(module, lower, upper, method=method, claim="float32")
        except CertifyError:
            return None
        except Exception as crash:
            return f"crashed in {method}: {type(crash).__name__}: {crash}"
        claimed = low.isfinite() & high.isfinite()
        outside = claimed & ~((low <= answers) & (answers <= high))
        if bool(outside.any()):
            point, entry = (int(place) for place in outside.nonzero()[0])
            return (
                f"{method} claims output {entry} in [{float(low[0, entry]):.9g}, {float(high[0, entry]):.9g}] for "
                f"every float32 execution, and onnxruntime gives {float(answers[point, entry]):.9g}"
            )
    return None
