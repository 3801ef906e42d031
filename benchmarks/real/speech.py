"""A real audio model: does noise, or another gain, turn speech into silence or silence into speech?

    pip install --no-deps --target wheels silero-vad==6.2.3
    apt-get download alsa-utils && dpkg-deb -x alsa-utils_*.deb sounds
    ALSA_SOUNDS=sounds/usr/share/sounds/alsa PYTHONPATH=wheels python benchmarks/real/speech.py   # minutes on one core

Writes results/threats/silero.md, with the certificates beside it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from page import about_file, checked, cpu_seconds, down, made, study, table, up, wheel_file, write
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional as F

import certify
from certify.core.threats.base import Threat

SHIPPED: Final = "silero_vad/data/silero_vad.onnx"
"""What the package runs: inputs, a state, and a rate, which chooses one of two networks."""

WEIGHTS: Final = "silero_vad/data/silero_vad_16k_op15.onnx"
"""The same network for 16 kHz alone, whose weights are stored by name."""

RATE: Final = 16000
CHUNK: Final = 512
CONTEXT: Final = 64

LONG: Final = 8
"""Chunks of the longer sounds: 0.256 s. The shorter ones are one chunk."""

SPOKEN: Final = ("Front", "Rear", "Side")

SIGMAS: Final = (0.02,)
DRAWS: Final = 1000

PROVEN: Final = 6
"""Sounds that proofs are tried on, drawn from all."""

GAINS: Final = (0.3, 0.9)
VOLUMES: Final = (0.001, 0.01)


class Detector(nn.Module):
    """Silero's network as one function of some chunks of sound: is somebody speaking at their end?

    The state begins at 0 and is handed from chunk to chunk inside, each of which sees the last samples of the one
    before it, as in the package. Scores (B, 2) are minus the logit of speech, and the logit.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]], chunks: int) -> None:
        super().__init__()
        self.samples = chunks * CHUNK
        names = {"stft": "model.stft.forward_basis_buffer", "last": "model.decoder.decoder.2.weight"}
        names |= {"last_bias": "model.decoder.decoder.2.bias"}
        names |= {f"conv{place}": f"model.encoder.{place}.reparam_conv.weight" for place in range(4)}
        names |= {f"bias{place}": f"model.encoder.{place}.reparam_conv.bias" for place in range(4)}
        names |= {name: f"model.decoder.rnn.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        for name, stored in names.items():
            self.register_buffer(name, torch.tensor(weights[stored]))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 2) of sounds (B, 1, samples)."""
        sound = F.pad(x.flatten(1), (CONTEXT, 0))
        hidden = cell = None
        for begin in range(0, self.samples, CHUNK):
            gates = F.linear(self._features(sound[:, begin : begin + CONTEXT + CHUNK]), self.weight_ih)
            gates = gates + (self.bias_ih + self.bias_hh)
            if hidden is not None:
                gates = gates + F.linear(hidden, self.weight_hh)
            enter, forget, candidate, leave = gates.split(128, dim=1)
            new = enter.sigmoid() * candidate.tanh()
            cell = new if cell is None else forget.sigmoid() * cell + new
            hidden = leave.sigmoid() * cell.tanh()
        logit = F.linear(hidden.relu(), self.last.flatten(1), self.last_bias)
        return torch.cat([-logit, logit], dim=1)

    def _features(self, chunk: Tensor) -> Tensor:
        mirrored = torch.cat([chunk, chunk[:, -CONTEXT - 1 : -1].flip(1)], dim=1)
        waves = F.conv1d(mirrored.unsqueeze(1), self.stft, stride=128)
        z = (waves[:, :129] ** 2 + waves[:, 129:] ** 2).sqrt()
        for place, stride in enumerate((1, 2, 2, 1)):
            z = F.conv1d(z, getattr(self, f"conv{place}"), getattr(self, f"bias{place}"), stride, padding=1).relu()
        return z.flatten(1)


def detector(chunks: int) -> certify.Classifier:
    """The network with the weights of the wheel. Class 1 is speech."""
    stored = onnx.load(str(wheel_file("silero-vad", WEIGHTS))).graph.initializer
    network = Detector({one.name: numpy_helper.to_array(one) for one in stored}, chunks).eval()
    return certify.Classifier(network, 2, (-1.0, 1.0), name=f"silero-vad, {chunks} chunks")


model_short = partial(detector, 1)
model_long = partial(detector, LONG)


def shipped(sound: NDArray[np.float32]) -> float:
    """What the package's own file answers at the end of a sound (samples,), chunk after chunk: the logit of speech."""
    session = onnxruntime.InferenceSession(str(wheel_file("silero-vad", SHIPPED)))
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32)
    share = 0.5
    for chunk in sound.reshape(-1, 1, CHUNK):
        given = {"input": np.concatenate([context, chunk], axis=1), "state": state, "sr": np.array(RATE)}
        speech, state = session.run(None, given)
        context, share = chunk[:, -CONTEXT:], float(speech[0, 0])
    return math.log(share / (1 - share))


def recorded(name: str) -> NDArray[np.float32]:
    """A recording of alsa-utils at 16 kHz, between -1 and 1."""
    rate, samples = wavfile.read(Path(os.environ["ALSA_SOUNDS"]) / f"{name}.wav")
    return resample_poly(samples / 32768, RATE, rate).astype(np.float32)


def sounds(chunks: int) -> certify.Dataset:
    """The loudest part of each spoken recording, and as many sounds in which nobody speaks."""
    size, found = chunks * CHUNK, []
    names = sorted(one.stem for one in Path(os.environ["ALSA_SOUNDS"]).glob("*.wav") if one.stem.startswith(SPOKEN))
    for name in names:
        sound = recorded(name)
        begins = range(0, len(sound) - size, CHUNK)
        loudest = max(begins, key=lambda begin: float((sound[begin : begin + size] ** 2).sum()))
        found.append(sound[loudest : loudest + size])
    draw, time = np.random.default_rng(0), np.arange(size) / RATE
    noise, hiss = recorded("Noise"), draw.standard_normal((3, size))
    found += [noise[4000 * place : 4000 * place + size] for place in range(2)]
    found += [volume * row for volume, row in zip((0.001, 0.01, 0.1), hiss, strict=True)]
    found += [
        0.1 * np.sin(2 * np.pi * 50 * time),
        0.1 * np.sin(2 * np.pi * 1000 * time),
        0.05 * np.sign(np.sin(300 * time)),
    ]
    x = np.array(found, dtype=np.float32)[:, None]
    return certify.Dataset("sounds", x, (np.arange(len(x)) < len(names)).astype(int), 2, (-1.0, 1.0))


short = partial(sounds, 1)
long = partial(sounds, LONG)


def main() -> None:
    """Write the page."""
    page, rows, names = "silero", [], []
    with cpu_seconds() as taken:
        apart = max(
            abs(shipped(sound[0]) - float(clf.scores(torch.from_numpy(sound[None]))[0, 1]))
            for clf, data in ((model_short(), short()), (model_long(), long()))
            for sound in data.x
        )
        for what, threat, measure in (
            (
                "gain",
                certify.Contrast(GAINS, middle=0.0),
                lambda s: f"{decibel(1 - s):.1f} to +{decibel(1 + s):.1f} dB",
            ),
            ("noise floor", certify.NoiseFloor(VOLUMES), lambda s: f"{decibel(s):.0f} dB of full scale"),
        ):
            name = f"silero-{threat.kind}"
            names.append(name)
            whole = certify.Complete(timeout=45.0, decide=True)
            with cpu_seconds() as own:
                result = study(
                    page,
                    name,
                    "speech:model_short",
                    "speech:short",
                    limit=PROVEN,
                    threat=threat,
                    certifier=whole,
                    attack="grid",
                )
            summary = result.summary
            for row in summary.rows:
                cells = [f"{what}, one chunk", measure(row.radius), down(row.certified), up(row.empirical)]
                rows.append([*cells, up(summary.clean), "proof: complete, every strength", f"{own[0]:.0f}"])
            attacked(rows, f"{what}, 0.256 s", threat, "grid", measure)
        balls = certify.ThreatModel("l2", (0.0, 0.01, 0.03, 0.06))
        loud = float(np.median([np.linalg.norm(one) for one in long().x[long().y == 1]]))

        def below(radius: float) -> str:
            return f"{radius:g}" + (f", {decibel(loud / radius):.0f} dB below speech" if radius else "")

        attacked(rows, "any change, l2, 0.256 s, the network itself", balls, "pgd", below)
        for sigma in SIGMAS:
            name = f"silero-l2-{sigma}"
            names.append(name)
            noise = certify.Smoothing(sigma=sigma, n=DRAWS, alpha=0.001, schedule="fixed")
            with cpu_seconds() as own:
                result = study(
                    page,
                    name,
                    "speech:model_long",
                    "speech:long",
                    threat=balls,
                    certifier=noise,
                    attack="pgd",
                    attack_option={"steps": 3, "restarts": 1},
                )
            summary = result.summary
            for row in summary.rows:
                cells = ["any change, l2, 0.256 s, smoothed", below(row.radius), down(row.certified), up(row.empirical)]
                rows.append([*cells, up(summary.clean), f"smoothing, sigma {sigma}, n = {DRAWS:,}", f"{own[0]:.0f}"])
    said = checked(page, names)
    head = ["what may happen", "strength", "certified %", "attacked %", "clean %", "how", "CPU s"]
    write(
        page,
        "# Speech or not: gain, noise floor, any small change",
        f"""Does another gain, a known noise, or any small change of the waveform turn speech into no speech, or no
speech into speech? The model is {about_file("silero-vad", WEIGHTS)}, the network for 16 kHz of
{about_file("silero-vad", SHIPPED)}. `python benchmarks/real/speech.py`, {made()}, {taken[0]:.0f} s of the processor
for everything below. {said}""",
        f"""**What is certified** is a network of torch with the weights of the file: some chunks of 32 ms go through
it one after the other, the state between them begins at 0 and stays inside, and the answer is that after the last
chunk, at the package's threshold of 0.5. On the sounds of this page its logits differ from those of the package's own
file by at most {apart:.1g}; a proof is about the network of torch. Proofs are about one chunk of {PROVEN} of the
sounds, smoothing and attacks about eight chunks of all.""",
        """**Sounds**: the loudest part of the eight spoken recordings of Debian's alsa-utils ("Front Center" and so
on), and eight in which nobody speaks: its noise, drawn noise at three volumes, two tones, a square wave. Full scale is
1. Sixteen sounds say what is possible, and are no test of the model.""",
        table(head, rows),
        f"""* **gain**: every factor in the range, cut to full scale (`certify.Contrast(..., middle=0.0)`). **noise
  floor**: one known draw of normal noise at every volume up to the one stated (`certify.NoiseFloor`), either sign.
  `certify.Complete` cuts the range until every piece is proven; `grid` looks at 200 strengths.
* **What a proof leaves open**: each had 45 seconds by the clock, of which a busy machine may give the processor five.
  Where less is certified than attacks leave, time was over: nothing says that the strength is dangerous, and an idle
  machine may prove more.
* **any change, l2**: whatever is added, if its length is at most so much; "below speech" compares it with the median
  length of the spoken sounds. The claim is about the smoothed model, wrong for one sound with probability at most
  0.001. The model was not trained with this noise. With {DRAWS:,} draws of it no vote can show a length of 0.06. `pgd`
  attacks each.
* `certified`: right and certified, rounded down. `attacked`: right and not broken by the attack, rounded up: an attack
  that fails shows nothing. No certificate: only an attack ran there.""",
    )


def decibel(factor: float) -> float:
    """Of an amplitude."""
    return 20 * math.log10(factor)


def attacked(rows: list[list[object]], what: str, threat: Threat, attack: str, measure: Callable[[float], str]) -> None:
    """Rows of what an attack leaves of the network itself on the longer sounds."""
    data, clf = long(), model_long()
    found = certify.attack(clf, data.x, data.y, threat=threat, attack=attack)
    clean = up(sum(one.prediction == one.label for one in found) / len(found))
    for radius in threat.radii:
        kept = [one.prediction == one.label and (one.radius is None or one.radius > radius) for one in found]
        rows.append([what, measure(radius), "", up(sum(kept) / len(kept)), clean, "no certificate", ""])


if __name__ == "__main__":
    main()
