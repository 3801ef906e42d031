"""Robustness distributions of seven published MNIST networks, beside the published brackets of each image.

    python benchmarks/robustness_distributions.py --images 20 --timeout 5 --work runs/robustness_distributions \
        --out results/robustness_distributions.md

Runs ``certify run --certifier complete --gap 0.01`` on each network of ``robustness_distributions`` in the folder that
``CERTIFY_BENCH_DATA`` names, ``certify.distributions`` on all of them, and a plain PGD at every published lower end of
the 100 images. Examples that refute a published lower end are executed by onnxruntime on the published file, and
measured in float64. Interrupted, the same command resumes.

All networks get the images in one shape, so that their inputs are the same: files that flatten their input first have
the shape of their input declared as (1, 28, 28), and nothing else is changed.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import certify
from certify.cli.files import save_picture
from certify.core.distributions import Distributions
from certify.core.stated import Bracket
from certify.plots.robustness import draw_all, inches
from certify.report import markdown
from certify.store.brackets import brackets_by_model
from certify.study.read import certificates_of
from certify.summary.published_brackets import beside_published

FOLDER: Final = Path(os.environ.get("CERTIFY_BENCH_DATA", "../shared/data")) / "robustness_distributions"

ATTACK: Final = {"steps": 100, "restarts": 5, "step_scale": 10.0}
"""Steps of a tenth of the ball: they jump from face to face, and break twice as many as short ones here."""

WITHIN: Final = 0.98
"""Share of a published lower end that PGD stays within: no rounding explains what is found there."""

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


def run(network: Path, data: Path, work: Path, images: int, timeout: float) -> Path:
    """Certify one network, or go on with that; return its run folder."""
    out = work / f"images-{images}-timeout-{timeout:g}" / network.stem
    command = [sys.executable, "-c", CLI, "run", "--model", network, "--data", f"npz:{data}"]
    command += ["--certifier", "complete", "--gap", "0.01", "--timeout", f"{timeout:g}", "--radii", "0,0.1"]
    command += ["--input-box", "0,1", "--limit", str(images), "--seed", "0", "--label", network.stem, "--out", out]
    done = subprocess.run([*map(str, command), "--quiet"], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"certify run ended with {done.returncode} on {network.name}")
    return out


def published() -> dict[str, list[Bracket]]:
    """The published brackets of the first 100 training images, by the names of the networks' files without ending."""
    found = brackets_by_model(FOLDER / "published_brackets.csv", {"split": "train"})
    return {name.removesuffix(".onnx"): [one for one in some if one.index < 100] for name, some in found.items()}


@dataclass(frozen=True, slots=True)
class Witness:
    """An example nearer than a published lower end, executed by onnxruntime on the published file.

    Args:
        distance: largest change of a pixel, in float64.
        answer: the class there; ``margin`` is how far its score lies above that of the label.
    """

    network: str
    index: int
    published: float
    found_by: str
    distance: float
    label: int
    answer: int
    margin: float


class Published:
    """A published network, its images, and what was published about them."""

    def __init__(self, name: str, brackets: Sequence[Bracket]) -> None:
        self.name, self.verified = name, {one.index: one.ends[0] for one in brackets}
        given = np.load(FOLDER / "mnist_train_first100.npz")
        self.x, self.y = given["x"], given["y"]
        file = str(FOLDER / "onnx" / f"{name}.onnx")
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def witness(self, index: int, example: NDArray[np.float32], found_by: str) -> Witness | None:
        """The example as a witness against the published lower end of an image, or None where it is none."""
        x, label, limit = self.x[index], int(self.y[index]), self.verified[index]
        given = self.session.get_inputs()[0]
        scores = self.session.run(None, {given.name: example.astype(np.float32).reshape(given.shape)})[0].ravel()
        distance = float(np.abs(example.astype(np.float64).ravel() - x.astype(np.float64).ravel()).max())
        inside = example.min() >= 0 and example.max() <= 1 and distance < limit
        answer, margin = int(scores.argmax()), float(scores.max() - scores[label])
        if not (inside and answer != label and margin > 0):
            return None
        return Witness(self.name, index, limit, found_by, distance, label, answer, margin)

    def attacked(self, network: Path) -> Iterator[Witness]:
        """What a plain PGD finds within the published lower ends."""
        clf = certify.load_model(str(network), input_box=(0.0, 1.0))
        for limit in sorted({one for one in self.verified.values() if one > 0}):
            rows = [index for index, one in self.verified.items() if one == limit]
            x = self.x[rows].reshape(-1, *IMAGE)
            threat = certify.ThreatModel("linf", (WITHIN * limit,), input_box=(0.0, 1.0))
            for finding in certify.attack(clf, x, self.y[rows], threat=threat, index=rows, seed=0, **ATTACK):
                if finding.x_adv is not None and (one := self.witness(finding.index, finding.x_adv, "PGD")):
                    yield one


def from_run(published: Published, folder: Path) -> Iterator[Witness]:
    """The examples of a run that are nearer than a published lower end."""
    for one in certificates_of(folder):
        finding = one.finding
        if finding is not None and finding.x_adv is not None and one.index in published.verified:
            witness = published.witness(one.index, finding.x_adv, "complete")
            if witness is not None:
                yield witness


def nearest_of(witnesses: Iterable[Witness]) -> list[Witness]:
    """The nearest witness of each image, those farthest inside the published end first."""
    nearest: dict[tuple[str, int], Witness] = {}
    for one in sorted(witnesses, key=lambda one: one.distance):
        nearest.setdefault((one.network, one.index), one)
    return sorted(nearest.values(), key=lambda one: (one.network, one.distance / one.published, one.index))


HEADINGS: Final = ("network", "found by", "image", "published verified", "example at", "label", "answer", "margin")


def witness_lines(witnesses: Iterable[Witness]) -> list[list[str]]:
    """A line of texts for each witness."""
    return [
        [
            one.network,
            one.found_by,
            str(one.index),
            *_numbers(one),
            str(one.label),
            str(one.answer),
            f"{one.margin:.3g}",
        ]
        for one in witnesses
    ]


def _numbers(one: Witness) -> tuple[str, str]:
    return f"{one.published:g}", f"{one.distance:.6f}"


def witness_table(witnesses: Sequence[Witness], most: int = 5) -> str:
    """The clearest witnesses of each network."""
    shown = [
        one
        for name in dict.fromkeys(one.network for one in witnesses)
        for one in [two for two in witnesses if two.network == name][:most]
    ]
    return markdown.table(HEADINGS, witness_lines(shown), words=2)


def attack_table(brackets: dict[str, list[Bracket]], witnesses: Sequence[Witness]) -> str:
    """For each network, what is wrong with its published ends by themselves, and how many examples refute."""
    lines = []
    for name, some in brackets.items():
        ends = [one.ends for one in some]
        crossed, equal = sum(low > high for low, high in ends), sum(low == high for low, high in ends)
        broken = {one.index for one in witnesses if one.network == name}
        lines.append([name, *map(str, (len(some), crossed, equal, len(broken)))])
    return markdown.table(
        ["network", "images", "lower above upper", "lower equals upper", "lower broken"],
        lines,
        words=1,
    )


def report(found: Distributions, asked: argparse.Namespace, cost: Sequence[str], tables: Iterable[str]) -> str:
    """The file of results."""
    attacks, witnesses = tables
    typed = (
        f"python benchmarks/robustness_distributions.py --images {asked.images} --timeout {asked.timeout:g} "
        f"--out {asked.out}"
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "scipy"))
    return f"""# Robustness distributions of seven published MNIST networks

`{typed}`

Networks, images and published brackets are those of Bosman et al., "Robustness distributions in neural network
verification" (JAIR 2025). {asked.images} of the first 100 training images (seeded subset), linf, inputs in [0, 1];
complete verification with `--gap 0.01 --timeout {asked.timeout:g}` on one core. It was shared with other work, which
left each image a fraction of its seconds, while the published brackets took up to an hour a query: these are wide, and
more time makes them narrower.

![Distribution functions with bands, boxes and densities of the seven networks]({asked.out.with_suffix(".png").name})

## Distributions and published brackets

{found.render("markdown")}

## Published lower ends against plain attacks

All published training images among the first 100: PGD (100 steps of a tenth of the ball, 5 restarts, seed 0, pixels
in [0, 1]) within {WITHIN:g} of each published lower end. Every example counted was executed by onnxruntime on the
published file, lies in [0, 1], is nearer than the published lower end in float64, and gets another class than the
label, whose score is lower by the margin.

{attacks}

A lower end above the upper one says of one image that no example is nearer than one that was found: such a line
contradicts itself, whichever network was verified. Where plain attacks break published lower ends, either these are
wrong, or another file or other pixels were verified; the labels and the networks without a broken end speak for the
images.

The clearest witnesses of each network, out of all in [{asked.out.with_suffix(".csv").name}]({asked.out.stem}.csv):

{witnesses}

## What was looked at before

* Image numbers: the labels in the file of brackets are those of the images at the same positions, for every line used.
* The convSmall networks begin with a 1 x 1 convolution that normalizes (weight 1/0.3081, bias -0.1307/0.3081) and
  take pixels in [0, 1] like the others.
* `mnist-net` files take (784, 1): their input is declared as (1, 28, 28) for these runs, which the flattening that
  follows undoes. Witnesses are executed on the files as they were published.

## Cost

Seconds of each run, as its records have them, and CPU seconds of PGD: {"; ".join(cost)}.
Python {platform.python_version()}, {libraries}, {os.cpu_count()} cores.
"""


def main() -> None:
    """Run, compare, attack, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--work", type=Path, default=Path("runs/robustness_distributions"))
    parser.add_argument("--out", type=Path, default=Path("results/robustness_distributions.md"))
    asked = parser.parse_args()
    data, networks = prepare(asked.work)
    brackets = published()
    folders, cost, witnesses = [], [], []
    for network in networks:
        folders.append(run(network, data, asked.work, asked.images, asked.timeout))
        about = Published(network.stem, brackets[network.stem])
        witnesses += from_run(about, folders[-1])
        begin = time.process_time()
        witnesses += about.attacked(network)
        took = sum(one.seconds for one in certificates_of(folders[-1]))
        cost.append(f"{network.stem} {took:.0f} s and {time.process_time() - begin:.0f} CPU s")
        print(cost[-1], flush=True)
    witnesses = nearest_of(witnesses)
    with asked.out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as text:
        csv.writer(text, lineterminator="\n").writerows([HEADINGS, *witness_lines(witnesses)])
    found = beside_published(certify.distributions(certify.read_runs(folders)), brackets)
    save_picture("--out", asked.out.with_suffix(".png"), lambda figure: draw_all(found, figure), inches(found))
    tables = attack_table({name: brackets[name] for name in sorted(brackets)}, witnesses), witness_table(witnesses)
    asked.out.write_text(report(found, asked, cost, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
