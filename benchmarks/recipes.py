"""What a training costs by each recipe, beside `standard` on the same network and inputs.

    python benchmarks/recipes.py      # a few minutes, one thread

CPU seconds of a whole training of a few epochs on one thread, the least of several repeats that take turns, because
other work on the machine only adds to them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import certify
from certify.training.recipe import RECIPES
from certify.training.train import train

EPOCHS = 4
BATCH = 64
NEEDS_MORE = ("denoise",)
"""Recipes that need a setting which has no default."""


def main() -> None:
    """Print a line for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=256)
    asked = parser.parse_args()
    certify.tune_process()
    data = certify.load_data("mnist5k:train").subset(asked.inputs, seed=0)
    least: dict[str, float] = {}
    for _ in range(asked.repeats):
        for recipe in (name for name in RECIPES if name not in NEEDS_MORE):
            with tempfile.TemporaryDirectory() as folder:
                begin = time.process_time()
                train(recipe, data, Path(folder) / "net", epochs=EPOCHS, batch_size=BATCH)
                seconds = time.process_time() - begin
            least[recipe] = min(seconds, least.get(recipe, seconds))
    steps = EPOCHS * (asked.inputs // BATCH)
    print(f"network small, inputs 1x28x28, {steps} steps of {BATCH} inputs, least of {asked.repeats}\n")
    print("| recipe | ms a step | times standard |\n|---|---|---|")
    for recipe, seconds in least.items():
        print(f"| `{recipe}` | {1000 * seconds / steps:.1f} | {seconds / least['standard']:.1f} |")


if __name__ == "__main__":
    main()
