"""How fast `certify check` derives smoothing certificates again, on one core.

    OMP_NUM_THREADS=1 python benchmarks/check.py              # 10,000 fixed-n certificates, and as many declared ones
    OMP_NUM_THREADS=1 python benchmarks/check.py --inputs 1000

The votes are drawn from binomial distributions with probabilities spread over the inputs, so that hardly two
certificates share a bound; counts, bounds and radii are made by the certifier itself. Nothing is asserted but that
no claim is refuted, and none is open but those about the model and the data, which there are none of: the seconds are
the result.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from certify.certifiers.smoothing import Smoothing
from certify.core.certificate import Certificate, Look
from certify.core.digests import data_digest
from certify.core.guarantee import Guarantee
from certify.core.threats.lp import ThreatModel
from certify.smoothing.certify import certify_votes
from certify.smoothing.sampler import Ballot
from certify.store.run_folder import Manifest, RunFolder
from certify.study.checking import check_run

CLASSES: Final = 10
THREAT: Final = ThreatModel("l2", (0.0, 0.25, 0.5, 0.75), (0.0, 1.0))
SHAPE: Final = (3, 32, 32)
TOGETHER: Final = 200


class Drawn:
    """Votes about inputs whose classes have known probabilities."""

    def __init__(self, p: Sequence[float], generator: np.random.Generator) -> None:
        self._p, self._generator = p, generator

    def __len__(self) -> int:
        return len(self._p)

    def count(self, stage: str, ballots: Sequence[Ballot]) -> list[Look]:
        """Class 0 with its probability, class 1 otherwise."""
        looks = []
        for row, start, stop in ballots:
            hits = int(self._generator.binomial(stop - start, self._p[row]))
            looks.append(Look(stop - start, {0: hits, 1: stop - start - hits}))
        return looks


def certificates(certifier: Smoothing, inputs: int) -> Iterator[Certificate]:
    """Certificates as the certifier makes them from votes; probabilities of a miss from 1e-5 to 0.6."""
    generator = np.random.default_rng(0)
    p = 1 - 10 ** generator.uniform(-5, -0.2, inputs)
    theorem, chosen_by = certifier.theorem(THREAT, SHAPE), certifier.chosen_by(())
    looks = certifier.plan().looks_for(theorem, THREAT.radii[0])
    for first in range(0, inputs, TOGETHER):
        part = p[first : first + TOGETHER].tolist()
        results = certify_votes(
            Drawn(part, generator),
            theorem,
            looks,
            THREAT.radii,
            chosen_by=chosen_by,
            n0=certifier.n0,
            labels=[0] * len(part),
        )
        for index, result in enumerate(results, first):
            verdict, radius, reason = certifier._settled(result, THREAT)
            yield Certificate(
                index=index,
                input_digest=hashlib.sha256(str(index).encode()).hexdigest(),
                label=0,
                prediction=result.prediction,
                verdict=verdict,
                radius=radius,
                threat=THREAT,
                guarantee=Guarantee.probabilistic(certifier.alpha),
                method="smoothing",
                evidence=certifier._evidence(result, theorem, looks, chosen_by, "none"),
                model_digest="drawn",
                forward_passes=result.samples,
                reason=reason,
            )


def measured(certifier: Smoothing, inputs: int, folder: Path) -> tuple[float, int]:
    """Seconds of a check of a run folder, reading included, and the number of claims."""
    made = list(certificates(certifier, inputs))
    settings: dict[str, Any] = {
        "model": {"name": "votes drawn from known probabilities", "digest": "drawn"},
        "data": {
            "name": "no inputs",
            "digest": data_digest((one.index, 0, one.input_digest) for one in made),
            "inputs": inputs,
            "of": inputs,
        },
        "threat": THREAT.to_dict(),
        "certifiers": [certifier.settings()],
        "attack": None,
        "seed": 0,
        "shard": [0, 1],
        "inputs": inputs,
        "device": "cpu",
    }
    with RunFolder.create(folder, Manifest(settings)) as run:
        run.records.add(made)
    begin = time.perf_counter()
    found = check_run(folder)
    seconds = time.perf_counter() - begin
    wrong = [*found.refuted, *(one for one in found.open if one.subject not in ("manifest", "records"))]
    if wrong:
        raise SystemExit("\n".join(map(str, wrong[:10])))
    return seconds, len(found.claims)


def main() -> None:
    """Print seconds for each schedule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    inputs, console = parser.parse_args().inputs, Console()
    for schedule in ("fixed", "declared"):
        with tempfile.TemporaryDirectory() as folder:
            certifier = Smoothing(0.25, n=100_000, schedule=schedule)
            seconds, claims = measured(certifier, inputs, Path(folder, "run"))
        console.print(
            f"{schedule:<9} {inputs:,} certificates, {claims:,} claims confirmed in {seconds:.1f} s "
            f"({1e3 * seconds / inputs:.2f} ms each)"
        )


if __name__ == "__main__":
    main()
