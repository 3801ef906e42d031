"""Inputs a second of whole studies, in this process, with two workers, and with two Ray actors; records are compared.

    python benchmarks/scale.py [--inputs 64] [--ray]

Every figure is one call of ``certify.evaluate``, start-up of the workers included, on a network with random weights:
what is measured is how the work is shared, not how well the network does. The last line is one call of
``verify_instances`` about as many ACAS Xu instances of the data folder (``CERTIFY_BENCH_DATA``).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import certify
from certify.engines.base import engine_from
from certify.study.instances import read_instances, verify_instances

DATA = Path(os.environ.get("CERTIFY_BENCH_DATA", Path(__file__).parents[1] / "../shared/data"))
INSTANCES = DATA / "verification/instances.csv"
ACASXU = "acasxu"


def network() -> nn.Module:
    """A small convolutional network for 3x32x32 images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    ).eval()


STUDIES = {
    "smoothing": ("l2", (0.0, 0.25), {"certifier": "smoothing", "sigma": 0.25, "n": 20_000, "schedule": "fixed"}),
    "crown": ("linf", (0.0, 1 / 255), {"certifier": "crown"}),
    "complete": ("linf", (0.0, 1 / 255), {"certifier": "complete", "timeout": 10.0, "decide": True}),
}


def told(runs: list[list[certify.Certificate]]) -> str:
    """Whether records are the same, and where not, whether at least every claim is.

    Searches by gradients end in other digits under another number of threads, and those that run out of time end
    wherever the load of the machine let them.
    """
    groups = list(zip(*runs, strict=True))
    if any(len({(one.verdict, one.radius) for one in group}) > 1 for group in groups):
        return "CLAIMS DIFFER"
    records = ({json.dumps(one.to_dict() | {"seconds": 0}) for one in group} for group in groups)
    differing = sum(len(one) > 1 for one in records)
    return f"claims the same, {differing} records differ elsewhere" if differing else "the same"


def studied(name: str, inputs: int, engines: dict[str, dict[str, Any]]) -> tuple[list[float], str]:
    """Seconds of one study under each engine, and whether the records are the same."""
    norm, radii, settings = STUDIES[name]
    x = np.random.default_rng(0).random((inputs, 3, 32, 32), dtype=np.float32)
    clf = certify.Classifier(network(), 10)
    y = clf.predict(torch.from_numpy(x)).numpy()
    threat, took, seen = certify.ThreatModel(norm, radii), [], []
    for engine in engines.values():
        begin = time.perf_counter()
        result = certify.evaluate(clf, (x, y), threat=threat, engine=engine_from(**engine), seed=0, **settings)
        took.append(time.perf_counter() - begin)
        seen.append(result.certificates)
    return took, told(seen)


def verified(count: int, engines: dict[str, dict[str, Any]]) -> tuple[list[float], str]:
    """The same of ACAS Xu instances."""
    instances = [one for one in read_instances(INSTANCES) if one.network.startswith("acasxu/")][:count]
    took, seen = [], []
    for engine in engines.values():
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            found = verify_instances(instances, Path(folder) / "answers.jsonl", engine_from(**engine))
            took.append(time.perf_counter() - begin)
        seen.append([one.outcome for one in found])
    same = all(one == seen[0] for one in seen)
    return took, f"{seen[0].count('sat')} sat, {seen[0].count('unsat')} unsat, " + ("the same" if same else "DIFFERENT")


def main() -> None:
    """Print a table, one line for each study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=64, help="inputs of each study")
    parser.add_argument("--ray", action="store_true", help="Ray as well")
    parser.add_argument(
        "--study", choices=[*STUDIES, ACASXU], action="append", help="one study, or several; all if not given"
    )
    asked = parser.parse_args()
    engines = {"serial": {}, "local 2": {"workers": 2}} | (
        {"ray 2": {"name": "ray", "workers": 2}} if asked.ray else {}
    )
    print("| study | " + " | ".join(f"{name}: s, inputs/s" for name in engines) + " | records |")
    print("|---|" + "---|" * (len(engines) + 1))
    for name in asked.study or [*STUDIES, ACASXU]:
        took, same = verified(asked.inputs, engines) if name == ACASXU else studied(name, asked.inputs, engines)
        cells = [f"{seconds:.1f}, {asked.inputs / seconds:.2f}" for seconds in took]
        print(f"| {name} | " + " | ".join(cells) + f" | {same} |", flush=True)


if __name__ == "__main__":
    main()
