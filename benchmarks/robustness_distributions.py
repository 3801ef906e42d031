"""Robustness distributions of seven published MNIST networks, beside the published brackets of each image.

    python benchmarks/robustness_distributions.py --images 20 --timeout 5 --work runs/robustness_distributions \
        --out results/robustness_distributions.md

Runs ``certify run --certifier complete --gap 0.01`` on each network of ``robustness_distributions`` in the folder that
``CERTIFY_BENCH_DATA`` names, then ``certify distribution`` on all of them, and executes in onnxruntime every example
that refutes a published lower end. Interrupted, the same command resumes.

All networks get the images in one shape, so that their inputs are the same: files that flatten their input first have
the shape of their input declared as (1, 28, 28), and nothing else is changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import onnx

FOLDER: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", "../shared/data")) / "robustness_distributions"

IMAGE: Final = (1, 28, 28)

CLI: Final = "import certify.cli; raise SystemExit(certify.cli.main())"


def prepare(work: Path) -> tuple[Path, list[Path]]:
    """Write images and networks in one shape; return the data file and the network files."""
    work.mkdir(parents=True, exist_ok=True)
    given = np.load(FOLDER / "mnist_train_first100.npz")
    data = work / "mnist_train_first100.npz"
    np.savez(data, x=given["x"].reshape(-1, *IMAGE), y=given["y"])
    networks = []
    for file in sorted((FOLDER / "onnx").glob("*.onnx")):
        model = onnx.load(file)
        [declared] = [one for one in model.graph.input if one.name not in {w.name for w in model.graph.initializer}]
        shape = declared.type.tensor_type.shape
        if [one.dim_value for one in shape.dim][1:] != list(IMAGE):
            if model.graph.node[0].op_type != "Flatten":
                raise SystemExit(f"{file.name} takes another shape than {IMAGE} and does not flatten it first")
            shape.CopyFrom(onnx.helper.make_tensor_type_proto(1, [1, *IMAGE]).tensor_type.shape)
        networks.append(work / file.name)
        onnx.save(model, networks[-1])
    return data, networks


def run(network: Path, data: Path, work: Path, images: int, timeout: float) -> tuple[Path, float]:
    """Certify one network; return its run folder and the CPU seconds of this call."""
    out = work / f"images-{images}-timeout-{timeout:g}" / network.stem
    command = [sys.executable, "-c", CLI, "run", "--model", network, "--data", f"npz:{data}"]
    command += ["--certifier", "complete", "--gap", "0.01", "--timeout", f"{timeout:g}", "--radii", "0,0.1"]
    command += ["--input-box", "0,1", "--limit", str(images), "--seed", "0", "--label", network.stem, "--out", out]
    begin = os.times()
    done = subprocess.run([*map(str, command), "--quiet"], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"certify run ended with {done.returncode} on {network.name}")
    end = os.times()
    return out, end.children_user + end.children_system - begin.children_user - begin.children_system


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--work", type=Path, default=Path("runs/robustness_distributions"))
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    data, networks = prepare(asked.work)
    runs, seconds = [], []
    for network in networks:
        begin = time.monotonic()
        folder, spent = run(network, data, asked.work, asked.images, asked.timeout)
        runs.append(folder)
        seconds.append(spent)
        print(f"{network.name}: {spent:.0f} CPU s, {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
