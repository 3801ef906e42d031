"""Runs of every method on one small network, and ways to forge their records and manifests.

Every forgery works on a run folder, changes it in place and is the same for the same seed. Nothing here is believed by
what it is held against.
"""

from __future__ import annotations

import atexit
import inspect
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from certify.checker.result import CheckResult
from certify.core.digests import data_digest
from certify.core.threats.lp import ThreatModel
from certify.store.run_folder import Manifest

INPUTS: Final = 10
PGD: Final = {"attack": "pgd", "attack_option": {"steps": 4, "restarts": 1}}
SMOOTHING: Final = {"certifier": "smoothing", "norm": "l2", "radii": "0,0.1,0.6", "sigma": 0.25, "n": 1500, "n0": 20}
PATCH: Final = {"threat": "patch", "radii": "0,1"}
LINF: Final = {"norm": "linf", "radii": "0,0.02,0.3"}
RUNS: Final[dict[str, dict[str, Any]]] = {
    "declared": {**SMOOTHING, **PGD},
    "fixed": {**SMOOTHING, "schedule": "fixed", "bound": "runner-up"},
    "votes": {**SMOOTHING, "schedule": "fixed", "selection": "votes"},
    "grid": {**SMOOTHING, "schedule": "fixed", "noise": "gaussian-grid"},
    "sample": {**SMOOTHING, "schedule": "fixed", "limit": 6},
    "ablation": {
        **{"certifier": "smoothing", "noise": "ablation", "retention": 1, "null": "0.5,0.5,0.5,0.5"},
        **{"threat": "features", "radii": "0,1", "option": {"groups": "0,1,2"}, "n": 1500, **PGD},
    },
    "enumeration": {
        **{"certifier": "enumeration", "retention": 1, "null": "0.5", "threat": "features", "radii": "0,1"},
        **{"option": {"groups": "0,1,2"}, **PGD},
    },
    "short": {"norm": "linf", "radii": "0.3", "certifier": "crown"},
    "bounds": {**LINF, **PGD, "certifier": "ibp,crown,alpha-crown"},
    "auto": {**LINF, "certifier": "auto", "claim": "float32"},
    "lipschitz": {"norm": "l2", "radii": "0,0.05", "certifier": "lipschitz"},
    "complete": {**LINF, "certifier": "complete", "timeout": 20, "gap": 0.3},
    "bands": {**PATCH, **PGD, "certifier": "derandomized", "option": {"size": 1}},
    "pixels": {
        **{"certifier": "pixelwise", "property": "pixels", "norm": "l2", "radii": "0,0.05,0.3", "sigma": 0.25},
        **{"n": 500, "n0": 20, "option": {"share": 0.75}, **PGD},
    },
    "masks": {**PATCH, **PGD, "certifier": "masking"},
    "erased": {
        **{"threat": "insertions", "radii": "0,1", "option": {"mode": "suffix", "flagged": 0}},
        **{"certifier": "erase-and-check", "attack": "beam", "attack_option": {"steps": 2, "tries": 8}},
    },
}
"""A run of every method, on one small network; those about patches see the four features as an image.

That about texts sees them as rows of token 1 and padding.
"""

Fields = dict[str, Any]
Field = tuple[str | int, ...]
"""The way to a field: names of tables, places in lists."""


def make_runs(folder: Path, names: Iterable[str] = RUNS) -> Path:
    """Two models, ``model`` and ``other``, their data in ``data.npz``, and runs of :data:`RUNS` by name; in seconds."""
    import numpy as np
    import torch
    from torch import nn

    from certify.models.folder import save_folder
    from certify.study.evaluate import study_from
    from certify.study.settings import Settings

    generator = np.random.default_rng(3)
    x = generator.integers(0, 256, (INPUTS, 4)).astype(np.float32) / 255
    x[0], x[1] = 0.1, 0.9  # far from the boundary; the last ones are mislabelled or close to it
    x[2] = (0.49, 0.53, 0.48, 0.53)
    x = (x * 255).round() / np.float32(255)
    y = (x.mean(1) > 0.5).astype(np.int64)
    y[3] = 1 - y[3]
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "images.npz", x=x.reshape(-1, 1, 2, 2), y=y)
    np.savez(folder / "maps.npz", x=x.reshape(-1, 1, 2, 2), y=(x.reshape(-1, 2, 2) > 0.5).astype(np.int64))
    lengths = np.arange(INPUTS) % 4 + 1
    texts = (np.arange(4) < lengths[:, None]).astype(np.float32)
    np.savez(folder / "texts.npz", x=texts, y=np.where(np.arange(INPUTS) == 1, 1, lengths == 4).astype(np.int64))
    weight = torch.tensor([[-1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    for name, scale in (("model", 1.0), ("other", 1.01)):
        net = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)).requires_grad_(False)
        net[0].weight.copy_(weight * scale)
        net[0].bias.copy_(torch.tensor([2.0, -2.0]) * scale)
        net[2].weight.copy_(torch.eye(2))
        net[2].bias.zero_()
        save_folder(folder / name, net, num_classes=2, input_box=(0.0, 1.0), input_shape=(4,), recipe={})
        seer = nn.Sequential(nn.Flatten(), *net)
        shown = {"num_classes": 2, "input_box": (0.0, 1.0), "input_shape": (1, 2, 2), "recipe": {}}
        save_folder(folder / f"{name}-of-images", seer, **shown)
        pixels = nn.Sequential(nn.Conv2d(1, 2, 1)).requires_grad_(False)
        pixels[0].weight.copy_(torch.tensor([-scale, scale]).reshape(2, 1, 1, 1))
        pixels[0].bias.copy_(torch.tensor([0.5, -0.5]))
        save_folder(folder / f"{name}-of-pixels", pixels, **shown)
    specs = {"model": str(folder / "model"), "data": f"npz:{folder / 'data.npz'}", "seed": 5}
    for name in names:
        images = {"model": f"{specs['model']}-of-images", "data": f"npz:{folder / 'images.npz'}"}
        pixels = {"model": f"{specs['model']}-of-pixels", "data": f"npz:{folder / 'maps.npz'}"}
        data = {"patch": images, "insertions": {"data": f"npz:{folder / 'texts.npz'}"}, "pixels": pixels}
        kind = RUNS[name].get("property", RUNS[name].get("threat", ""))
        asked = {**specs, **data.get(kind, {}), **RUNS[name]}
        study_from(Settings.of(asked)).run(folder / name)
    return folder


QUICK: Final = ("declared", "short", "lipschitz")
"""Runs that are made and checked within a second or so."""


@cache
def made_runs() -> Path:
    """The folder of the :data:`QUICK` runs, made once in a process and removed at its end."""
    folder = tempfile.mkdtemp(prefix="certify-forged-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_runs(Path(folder), QUICK)


@contextmanager
def copied(name: str) -> Iterator[Path]:
    """A copy of one of the made runs, to forge."""
    with tempfile.TemporaryDirectory(prefix="certify-forged-") as folder:
        yield Path(shutil.copytree(made_runs() / name, Path(folder) / name))


@contextmanager
def store(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database of a run, written when it closes."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as db, db:
        yield db


def edit(folder: Path, table: str, position: int, change: Callable[[Fields], object], method: str = "%") -> None:
    """Change the text of one record, and nothing else."""
    column = "method" if table == "certificates" else "attack"
    with store(folder) as db:
        where = f"position=? AND {column} LIKE ?"
        [(number, text)] = db.execute(f"SELECT rowid, record FROM {table} WHERE {where}", (position, method)).fetchall()
        fields = json.loads(text)
        change(fields)
        db.execute(f"UPDATE {table} SET record=? WHERE rowid=?", (json.dumps(fields), number))


def everywhere(
    folder: Path,
    change: Callable[[Fields], object],
    settings: Callable[[Fields], object] = lambda _: None,
    table: str = "certificates",
) -> None:
    """Change all records of a table and the manifest alike, with every digest of them."""
    manifest = json.loads((folder / "manifest.json").read_text())
    settings(manifest["settings"])
    with store(folder) as db:
        texts = db.execute(f"SELECT rowid, record FROM {table}").fetchall()
        records = [(row, json.loads(text)) for row, text in texts]
        for row, record in records:
            change(record)
            db.execute(f"UPDATE {table} SET record=? WHERE rowid=?", (json.dumps(record), row))
            if table == "certificates":
                db.execute("UPDATE certificates SET verdict=? WHERE rowid=?", (record["verdict"], row))
        if table == "certificates":
            pins = {(one["index"], one["label"], one["input_digest"]) for _, one in records}
            manifest["settings"]["data"]["digest"] = data_digest(sorted(pins))
        _rewrite(folder, db, manifest)


def _rewrite(folder: Path, db: sqlite3.Connection, manifest: Fields) -> None:
    """Write a manifest, and its digest beside every record."""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for table in ("certificates", "findings", "reported"):
        db.execute(f"UPDATE {table} SET settings=?", (Manifest(manifest["settings"]).digest,))


def forged_threat(folder: Path, data: str, **changes: Any) -> None:
    """Certify every input again under another threat model, box and scale included, and say that this was the run.

    Args:
        folder: a run of one deterministic certifier on a model folder.
        data: SPEC of its data.
        changes: fields of the threat model; proofs are made as if the model took inputs in that box.
    """
    from certify.certifiers.base import CERTIFIERS
    from certify.data.batch import Batch
    from certify.data.loaders import load_data
    from certify.models.classifier import Classifier
    from certify.models.loaders import load_model

    manifest = json.loads((folder / "manifest.json").read_text())
    settings = manifest["settings"]
    settings["threat"] |= changes
    threat = ThreatModel.from_dict(settings["threat"])
    model, dataset = load_model(manifest["context"]["specs"]["model"]), load_data(data)
    assert model.module is not None
    liar = Classifier(model.module, model.num_classes, threat.input_box, digest=model.digest)
    batch = Batch.of(dataset.x, dataset.y, liar.num_classes, dataset.positions)
    [asked] = settings["certifiers"]
    if "timeout" in asked:
        asked["timeout"] = 0.2  # beside the box a search has no end of its own
    known = inspect.signature(CERTIFIERS[asked["method"]]).parameters
    given = {
        name: asked[name] for name in ("claim", "timeout", "gap", "decide", "seed") if name in asked and name in known
    }
    certifier = CERTIFIERS[asked["method"]](**given)
    with store(folder) as db:
        for one in certifier.certify(liar, batch, threat):
            row = one.verdict.value, json.dumps(one.to_dict()), one.index
            db.execute("UPDATE certificates SET verdict=?, record=? WHERE position=?", row)
        _rewrite(folder, db, manifest)


def leaves(fields: Any, at: Field = ()) -> Iterator[Field]:
    """The way to every field that holds no other."""
    parts = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    inside = [leaf for name, part in parts for leaf in leaves(part, (*at, name))]
    yield from inside or [at]


def altered(value: Any, dice: random.Random) -> Any:
    """Another value of the same kind: near or far, negative, or empty."""
    match value:
        case bool():
            return not value
        case int():
            return dice.choice([value + 1, -value - 1, value + 1000])
        case float():
            return dice.choice([value * 1.5 + 1e-3, -value - 0.25, value + 1e3])
        case str():
            return dice.choice([value + "0", value[1:], "float16", "another"])
        case None:
            return dice.choice([0, 0.5, "another"])
        case _:
            return dice.choice([None, 0, "another"])


def put(fields: Any, at: Field, value: Any) -> None:
    """Set a field."""
    for name in at[:-1]:
        fields = fields[name]
    fields[at[-1]] = value


def get(fields: Any, at: Field) -> Any:
    """The value of a field."""
    for name in at:
        fields = fields[name]
    return fields


def name_of(at: Field) -> str:
    """A field in words, without the places in lists and the numbers of classes: ``"evidence.looks.counts"``."""
    return ".".join(str(part) for part in at if not str(part).isdigit())


def forged_record(folder: Path, table: str, number: int, at: Field, seed: int) -> None:
    """Change one field of the record in a row, and what the row and its digest of the settings say of it."""
    dice = random.Random(f"{seed}:{at}")
    with store(folder) as db:
        [(text,)] = db.execute(f"SELECT record FROM {table} WHERE rowid=?", (number,)).fetchall()
        fields = json.loads(text)
        put(fields, at, altered(get(fields, at), dice))
        for name in ("radius", "distance"):  # told twice: a forger changes both
            if at == (name,) and isinstance(fields[name], float):
                fields[f"{name}_hex"] = fields[name].hex()
        db.execute(f"UPDATE {table} SET record=? WHERE rowid=?", (json.dumps(fields), number))
        for name in {"verdict", "method", "attack"} & {at[0]}:
            db.execute(f"UPDATE {table} SET {name}=? WHERE rowid=?", (fields[name], number))


def forged_manifest(folder: Path, at: Field, seed: int) -> None:
    """Change one field of the manifest, and the digest of the settings under which all records stand."""
    manifest = json.loads((folder / "manifest.json").read_text())
    put(manifest, at, altered(get(manifest, at), random.Random(f"{seed}:{at}")))
    with store(folder) as db:
        _rewrite(folder, db, manifest)


def records(run: Path) -> list[tuple[str, int, Fields]]:
    """Table, row and fields of everything that a run holds."""
    with store(run) as db:
        return [
            (table, number, json.loads(text))
            for table in ("certificates", "findings", "reported")
            for number, text in db.execute(f"SELECT rowid, record FROM {table} ORDER BY rowid")
        ]


def known(table: str, record: Fields, at: Field) -> tuple[str, str]:
    """Kind of record and name of a field, as :func:`~certify.checker.form.unchecked_of` has them."""
    if at[0] == "evidence" and len(at) > 1:
        return record["evidence"]["kind"], name_of(at[1:])
    return table.removesuffix("s") if table != "reported" else table, name_of(at)


def claims_something(table: str, record: Fields) -> bool:
    """Whether a record says anything that a check derives again."""
    return table == "reported" or record["radius"] is not None


def excused(found: CheckResult, kind: str, name: str) -> bool:
    """Whether a check says of a field that nobody can derive it."""
    listed = [one.removeprefix("certificate.") for one in found.unchecked.get(kind, ())]
    if kind == "certificate":  # some of its fields are on trust beside one kind of evidence alone
        listed += [one[12:] for names in found.unchecked.values() for one in names if one[:12] == f"{kind}."]
    return name in listed
