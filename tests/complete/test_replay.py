"""Honest proofs confirm, also as text and from files; proofs that somebody changed never show what is false."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from complete_exactness import METHODS

from certify.bounds.ball import Ball
from certify.bounds.deadline import Deadline
from certify.bounds.hints import Hint
from certify.bounds.importers.onnx_import import import_file
from certify.bounds.region import Region
from certify.cli import main
from certify.complete.neurons.leaves import Leaves
from certify.complete.problem import VerificationProblem
from certify.complete.proofs.proof import CompleteProof, NeuronProof
from certify.complete.proofs.replay import replayed
from certify.complete.proofs.text import packed, unpacked
from certify.complete.proofs.tree import Tree
from certify.complete.query import Condition, Disjunct, Query
from certify.complete.witnesses.execution import executed
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

BOXES = ((-1, 0), (Fraction(1, 2), 1))
SIGNS = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)


def layers(*key: object) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = seeded_generator("replay", *key)
    sizes = ((8, 2), (8, 8), (2, 8))
    return [(rng.normal(size=size) * 2 / size[1] ** 0.5, rng.normal(size=size[0]) * 0.3) for size in sizes]


def posed(file, bounds: torch.Tensor) -> VerificationProblem:
    """Whether ``max(y_0, y_1)`` or ``max(-y_0, y_1)`` get down to bounds (regions, clauses) over two boxes."""
    cases = []
    for region, ends in zip(bounds.tolist(), BOXES, strict=True):
        low, high = ((Fraction(end),) * 2 for end in ends)
        for bound, sign in zip(region, (1, -1), strict=True):
            rows = (Condition((), ((i, Fraction(s)),), Fraction(bound)) for i, s in ((0, sign), (1, 1)))
            cases.append(Disjunct(low, high, tuple(rows)))
    return executed(Query(2, 2, tuple(cases)), file, import_file(file), "exact")


def grid(region: int) -> torch.Tensor:
    axis = torch.linspace(*map(float, BOXES[region]), 301, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.fixture(scope="module")
def file(network):
    return network(layers(4))


@pytest.fixture(scope="module")
def least(file) -> torch.Tensor:
    """How low both get (regions, clauses) on grids."""
    outputs = [import_file(file).to(torch.float64).forward(grid(region)) for region in range(2)]
    return torch.stack([torch.stack([(y * signs).amax(1).amin() for signs in SIGNS]) for y in outputs])


@pytest.fixture(scope="module")
def true(file, least) -> VerificationProblem:
    return posed(file, least - 0.02)


@pytest.fixture(scope="module")
def violated() -> torch.Tensor:
    """The clauses (regions, clauses) of ``false`` with a counterexample."""
    return torch.tensor([[True, False], [False, True]])


@pytest.fixture(scope="module")
def false(file, least, violated) -> VerificationProblem:
    """The same with counterexamples somewhere in the leaves of the other's proofs."""
    return posed(file, torch.where(violated, least + 0.001, least - 0.02))


@pytest.fixture(scope="module", params=METHODS)
def proof(request, true) -> CompleteProof:
    found = METHODS[request.param](true, Deadline(60))
    assert isinstance(found, CompleteProof)
    return found


@pytest.fixture(scope="module")
def inputs(true) -> CompleteProof:
    return METHODS["inputs"](true, Deadline(60))


@pytest.fixture(scope="module")
def neurons(true) -> CompleteProof:
    return METHODS["neurons"](true, Deadline(60))


def shows(problem: VerificationProblem, proof: CompleteProof) -> torch.Tensor | None:
    """What a changed proof shows; None if it is refused. No other error is allowed."""
    try:
        return replayed(problem, proof)
    except BadInput as refused:
        assert "\n" not in str(refused)
        return None


def harmless(problem: VerificationProblem, proof: CompleteProof, violated: torch.Tensor) -> bool:
    """Whether a proof is refused, or shows no clause that has a counterexample, here and after it was text."""
    shown = shows(problem, proof)
    if shown is None:
        return True
    again = replayed(problem, unpacked(packed(proof)))
    return torch.equal(shown, again) and not bool((shown & violated).any())


def test_honest_proofs_confirm(true, proof):
    told = []
    assert replayed(true, proof, lambda done, total: told.append((done, total))).all()
    assert replayed(true, unpacked(packed(proof))).all()
    assert told[-1][0] == told[-1][1] > 30
    assert sorted(told) == told


def test_the_same_proof_shows_nothing_that_is_false(false, proof, violated):
    shown = replayed(false, proof)
    assert not (shown & violated).any()
    assert shown.any() == (~violated).any()


def test_another_network_of_the_same_shapes(network, proof, least):
    other = posed(network(layers(5)), least - 0.02)
    assert not shows(other, proof).all()


def test_a_wider_region(true, proof):
    box = true.region.box
    wider = replace(true, region=Region(replace(box, lower=box.lower - 2, upper=box.upper + 2)))
    assert not shows(wider, proof).all()


@pytest.mark.parametrize("method", ["ibp", "crown", "exact", ""])
def test_masks_that_claim_everything(true, false, violated, method):
    everything = CompleteProof(method, torch.ones(2, 2, dtype=torch.bool))
    shown = shows(false, everything)
    assert (shown is None) == (method not in ("ibp", "crown"))
    assert shown is None or not (shown & violated).any()
    assert shows(true, CompleteProof("crown", torch.ones(2, 3, dtype=torch.bool))) is None
    assert shows(true, CompleteProof("crown", torch.ones(2, 2))) is None
    assert not shows(true, CompleteProof("crown", torch.zeros(2, 2, dtype=torch.bool))).any()


def with_splits(tree: Tree, change) -> Tree:
    """A tree with other splits, unless that is none; then what nobody checked."""
    splits = change(*(part.copy() for part in tree.splits))
    made = Tree(tree.roots)
    made.grow(*splits)
    return made


def swapped(values):
    values = values.copy()
    values[[0, 5]] = values[[5, 0]]
    return values


SPLITS = {
    "cut values swapped": lambda nodes, entries, at: (nodes, entries, swapped(at)),
    "cut beyond": lambda nodes, entries, at: (nodes, entries, at + 10),
    "cut values far": lambda nodes, entries, at: (nodes, entries, at + 1e308),
    "last split dropped": lambda nodes, entries, at: (nodes[:-1], entries[:-1], at[:-1]),
    "first split dropped": lambda nodes, entries, at: (nodes[1:], entries[1:], at[1:]),
    "other entries": lambda nodes, entries, at: (nodes, entries[::-1].copy(), at),
    "nodes swapped": lambda nodes, entries, at: (swapped(nodes), entries, at),
    "no splits": lambda nodes, entries, at: (nodes[:0], entries[:0], at[:0]),
    "a node split twice": lambda nodes, entries, at: (np.r_[nodes, nodes[:1]], np.r_[entries, 0], np.r_[at, 0.0]),
    "a node not born": lambda nodes, entries, at: (nodes + 1000, entries, at),
    "negative nodes": lambda nodes, entries, at: (nodes - 1000, entries, at),
    "NaN": lambda nodes, entries, at: (nodes, entries, at * np.nan),
    "infinite": lambda nodes, entries, at: (nodes, entries, at + np.inf),
    "entries beyond": lambda nodes, entries, at: (nodes, entries + 10**6, at),
    "negative entries": lambda nodes, entries, at: (nodes, entries - 100, at),
    "fewer values": lambda nodes, entries, at: (nodes, entries, at[:-1]),
}
REFUSED = {
    "a node split twice",
    "a node not born",
    "negative nodes",
    "NaN",
    "infinite",
    "entries beyond",
    "negative entries",
    "fewer values",
}


@pytest.mark.parametrize("name", SPLITS)
def test_changed_trees(true, false, violated, proof, name):
    if proof.inputs is not None:
        changed = replace(proof, inputs=replace(proof.inputs, tree=with_splits(proof.inputs.tree, SPLITS[name])))
    else:
        first = replace(proof.neurons[0], tree=with_splits(proof.neurons[0].tree, SPLITS[name]))
        changed = replace(proof, neurons=(first, *proof.neurons[1:]))
    if name in REFUSED:
        for problem in (true, false):
            assert shows(problem, changed) is None
        return
    assert harmless(false, changed, violated)
    if name != "cut values swapped":  # which the margins may bear
        shown = shows(true, changed)
        assert shown is None or not shown.all()


def test_changed_proofs_by_inputs(true, false, violated, inputs):
    one = inputs.inputs
    m, weights, shares = len(one.nodes), one.weights, one.shares
    assert m > 5
    noise = torch.randint(0, 256, shares.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    bearable = [
        replace(one, shares=shares.flip(0)),  # planes of other leaves
        replace(one, shares=noise),
        replace(one, nodes=one.nodes[:-1], weights=weights[:-1], shares=shares[:-1]),
        replace(one, weights=weights.flip(2)),
        replace(one, weights=weights.flip(0)),
        replace(one, weights=weights * 0),
    ]
    for changed in bearable:
        assert harmless(false, replace(inputs, inputs=changed), violated)
    wrong = [
        replace(one, regions=one.regions.flip(0)[:1]),
        replace(one, regions=torch.tensor([0, 0])),
        replace(one, regions=torch.tensor([0, 2])),
        replace(one, regions=torch.tensor([0, -1])),
        replace(one, regions=one.regions.double()),
        replace(one, nodes=one.nodes + 10**6),
        replace(one, nodes=-one.nodes),
        replace(one, nodes=one.nodes[[0, *range(m - 1)]]),
        replace(one, nodes=torch.arange(m)),  # roots are no leaves
        replace(one, weights=weights[:, :1]),
        replace(one, weights=weights[:, :, :1]),
        replace(one, weights=-weights.double()),
        replace(one, weights=weights.double() * torch.nan),
        replace(one, shares=shares[:, :, 1:]),
        replace(one, shares=shares[1:]),
        replace(one, shares=shares.double() * 10),  # planes beyond the last one are none
        replace(one, shares=shares.double() * torch.nan),
        replace(one, shares=-shares.to(torch.int64)),
        replace(one, tree=Tree(0), regions=torch.zeros(0)),
    ]
    for changed in wrong:
        assert shows(true, replace(inputs, inputs=changed)) is None
    flipped = shows(true, replace(inputs, inputs=replace(one, regions=one.regions.flip(0))))
    assert flipped is None or not flipped.all()
    none = replace(
        one, regions=one.regions[:0], tree=Tree(0), nodes=one.nodes[:0], weights=weights[:0], shares=shares[:0]
    )
    assert not shows(true, replace(inputs, inputs=none)).any()


def test_changed_proofs_by_neurons(true, false, violated, neurons):
    one, two = neurons.neurons
    leaves = one.leaves
    assert len(leaves.shares) > 10

    def with_leaves(**changes):
        return replace(neurons, neurons=(replace(one, leaves=replace(leaves, **changes)), two))

    noise = torch.rand(len(leaves.beta), generator=torch.Generator().manual_seed(0))
    for changed in (
        *(
            {"beta": beta}
            for beta in (-100 * noise - 1, noise * torch.nan, noise * 1e30, noise + torch.inf, noise, noise * 0)
        ),
        *({"weights": w} for w in (-leaves.weights, leaves.weights * torch.nan, leaves.weights * 1e30)),
        {"shares": leaves.shares.flip(0)},
        {"free": leaves.free.flip(0)},
        {"free": leaves.free * 0},
    ):
        assert harmless(false, with_leaves(**changed), violated)
    for changed in (
        {"beta": leaves.beta[1:]},
        {"weights": leaves.weights[:, :1]},
        {"weights": leaves.weights[1:]},
        {"shares": leaves.shares[1:]},
        {"shares": leaves.shares.double() * 10},
        {"free": leaves.free + 10**6},
        {"free": -1 - leaves.free},
        {"free": leaves.free > 0},
    ):
        assert shows(true, with_leaves(**changed)) is None
    hint = next(hint for hint in one.hints if hint.shares)
    shares = dict(hint.shares)
    for changed in (
        replace(hint, entries=hint.entries + 10**6),
        replace(hint, entries=-1 - hint.entries),
        replace(hint, entries=hint.entries * 0),
        replace(hint, entries=hint.entries.double()),
        replace(hint, name="no result"),
        replace(hint, shares={}),
        replace(hint, shares={name: values[:, 1:] for name, values in shares.items()}),
        replace(hint, shares={name: values.double() * 9 for name, values in shares.items()}),
    ):
        assert shows(true, replace(neurons, neurons=(replace(one, hints=(changed,)), two))) is None
    other = Hint(hint.name, hint.entries, {name: 255 - values for name, values in shares.items()})
    assert harmless(false, replace(neurons, neurons=(replace(one, hints=(other,)), two)), violated)
    for clauses in ([0], [0, 0], [0, 2], [0, -1], [0.0, 1.0]):
        assert shows(true, replace(neurons, neurons=(replace(one, clauses=torch.tensor(clauses)), two))) is None
    for region in (2, -1):
        assert shows(true, replace(neurons, neurons=(replace(one, region=region), two))) is None
    for swapped in (replace(one, clauses=one.clauses.flip(0)), replace(one, region=1)):
        changed = replace(neurons, neurons=(swapped,))
        assert not shows(true, changed).all()
        assert harmless(false, changed, violated)
    assert not shows(true, replace(neurons, neurons=(one,)))[1].any()


@pytest.mark.parametrize("multiplier", [-1.0, 0.0, 1.0, torch.nan, -torch.inf])
def test_multipliers_below_zero_add_nothing(network, multiplier):
    """``1/2 - relu(x)`` on the side above 0: a multiplier of -1 would make it 1/2 everywhere."""
    relu = network([(np.eye(1), np.zeros(1))] * 2)
    case = Disjunct((Fraction(-1),), (Fraction(1),), (Condition((), ((0, Fraction(-1)),), Fraction(-1, 2)),))
    problem = executed(Query(1, 1, (case,)), relu, import_file(relu), "exact")
    tree = Tree.of(1, (np.array([0]), np.array([0]), np.array([0.0])), 1)
    free = torch.zeros(0, dtype=torch.long)
    leaves = Leaves(free, torch.zeros(2, 0, dtype=torch.uint8), torch.ones(2, 1), torch.tensor([0.0, multiplier]))
    proof = NeuronProof(0, torch.tensor([0]), (), tree, leaves)
    assert not replayed(problem, CompleteProof("crown", torch.zeros(1, 1, dtype=torch.bool), None, (proof,))).any()


def test_balls_are_kept_on_leaves(true, inputs):
    """A ball inside of the box: the same leaves show at least as much."""
    box = true.region.box
    ball = Ball((box.lower + box.upper) / 2, torch.full((2,), 0.25, dtype=torch.float64), "l2")
    assert replayed(replace(true, region=Region(box, ball)), inputs).all()


def test_text_that_is_no_proof(proof):
    text = packed(proof)
    data = zlib.decompress(base64.b64decode(text))

    def again(data: bytes) -> str:
        return base64.b64encode(zlib.compress(data)).decode()

    head = int.from_bytes(data[:8], "big")
    contents = json.loads(data[16 : 16 + head])

    def with_contents(change) -> str:
        other = json.loads(json.dumps(contents))
        change(other)
        new = json.dumps(other).encode()
        return again(len(new).to_bytes(8, "big") + data[8:16] + new + data[16 + head :])

    nested = b"[" * 200_000
    wrong = [
        "",
        "AAAA",
        "not base 64",
        "é",
        text[:-8],
        text[: len(text) // 2],
        again(b""),
        again(data[:12]),
        again(data[:-1]),
        again(data + b"0"),
        again(bytes(16)),
        again(len(nested).to_bytes(8, "big") + bytes(8) + nested),
        *(
            with_contents(change)
            for change in (
                lambda c: c.pop("direct"),
                lambda c: c.update(direct=[2**62, 2**62]),
                lambda c: c.update(direct=[-2, -2]),
                lambda c: c.update(direct=[2.0, 2.0]),
                lambda c: c.update(direct=[4]),
                lambda c: c.update(direct=None),
                lambda c: c.update(inputs=[1, 2]),
                lambda c: c.update(neurons=7),
                lambda c: c.update(neurons=[{"region": "0"}]),
            )
        ),
    ]
    for one in wrong:
        with pytest.raises(BadInput, match="the proof cannot be read"):
            unpacked(one)


@pytest.mark.parametrize(("head", "tail"), [(2**40, 0), (16, 2**60), (2**63, 2**63)])
def test_bombs_take_no_memory(head, tail):
    sizes = head.to_bytes(8, "big") + tail.to_bytes(8, "big")
    text = base64.b64encode(zlib.compress(sizes + bytes(2**26))).decode()
    tracemalloc.start()
    with pytest.raises(BadInput, match="more than this machine has to spare"):
        unpacked(text)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


PROPERTY = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 -1)) (assert (<= X_0 0)) (assert (>= X_1 -1)) (assert (<= X_1 0)) (assert (<= (- Y_0 Y_1) {:.9f}))
"""


@pytest.fixture
def here(tmp_path, monkeypatch, file):
    """A folder with the network, and two properties of it."""
    y = import_file(file).to(torch.float64).forward(grid(0))
    least = float((y[:, 0] - y[:, 1]).min())
    (tmp_path / "net.onnx").write_bytes(file.model.SerializeToString())
    for name, bound in (("unsat", least - 0.05), ("sat", least + 0.05)):
        (tmp_path / f"{name}.vnnlib").write_text(PROPERTY.format(bound))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("certify.cli.verify.limit_memory", lambda more: None)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    """Runs the command: exit code, standard output in lines, standard error."""

    def call(*arguments: str) -> tuple[int, list[str], str]:
        code = main(["verify", "net.onnx", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return call


@pytest.mark.parametrize("name", ["unsat", "sat"])
def test_files(here, run, name):
    path = here / "proof.json"
    assert run(f"{name}.vnnlib", "--proof", "proof.json")[1][0] == name
    content = json.loads(path.read_text())
    assert [content[key] for key in ("claim", "outcome", "seed")] == ["exact", name, 0]
    assert set(content["versions"]) == {"python", "certify", "torch", "onnx", "onnxruntime"}
    about = "sat" if name == "sat" else "unsat (exact)"
    assert run(f"{name}.vnnlib", "--check", "proof.json") == (0, ["confirmed", about], "")
    (here / "p.gz").write_bytes(gzip.compress((here / f"{name}.vnnlib").read_bytes()))
    assert run("p.gz", "--check", "proof.json")[0] == 0

    def refused(**changes) -> str:
        path.write_text(json.dumps({**content, **changes}))
        code, lines, _ = run(f"{name}.vnnlib", "--check", "proof.json")
        assert (code, len(lines)) == (1, 1)
        return lines[0].removeprefix("refuted: ")

    other = "unsat" if name == "sat" else "sat"
    assert "another property" in refused(property={"sha256": "0" * 64})
    assert "another network" in refused(network={"sha256": "0" * 64})
    assert "another network" in refused(network=None)
    digest = hashlib.sha256((here / f"{other}.vnnlib").read_bytes()).hexdigest()
    path.write_text(json.dumps({**content, "property": {"sha256": digest}}))
    assert run(f"{other}.vnnlib", "--check", "proof.json")[0] == 1
    if name == "unsat":
        refused(proof="AAAA")
        refused(proof=packed(CompleteProof("crown", torch.zeros(1, 1, dtype=torch.bool))))
    else:
        for witness in ("", "((X_0 0.0) (X_1 0.5) (Y_0 0) (Y_1 0))", "((X_0 0.0) (Y_0 0))", "((X_0 1e999)(X_1 0))"):
            refused(witness=witness)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"format": "certify proof 1", "outcome": "timeout", "claim": "exact"}']
)
def test_files_that_are_no_answer(here, run, text):
    (here / "proof.json").write_text(text)
    code, lines, err = run("unsat.vnnlib", "--check", "proof.json")
    assert (code, lines, err.count("\n")) == (2, ["error"], 1)
    assert run("unsat.vnnlib", "--check", "absent.json")[0] == 2
