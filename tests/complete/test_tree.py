"""Trees of splits: the leaves hold what the roots hold, and what is no tree is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from certify.bounds.tensors import Interval
from certify.complete.neurons.leaves import paths
from certify.complete.proofs.tree import Tree
from certify.data.dataset import seeded_generator
from certify.errors import BadInput

ROOTS, INPUTS = 3, 4


def grown(key: object, rounds: int = 12) -> Tree:
    """About half of the leaves split at a time, anywhere inside."""
    generator, tree = seeded_generator("tree", key), Tree(ROOTS)
    for _ in range(rounds):
        leaves = tree.leaves()
        nodes = generator.permutation(leaves)[: 1 + len(leaves) // 2]
        entries, share = generator.integers(0, INPUTS, len(nodes)), generator.uniform(size=len(nodes))
        boxes = tree.boxes(roots())
        low, high = (end.flatten(1).numpy()[nodes, entries] for end in (boxes.lower, boxes.upper))
        first = tree.grow(nodes, entries, low + share * (high - low))
        assert first.tolist() == list(range(tree.size - 2 * len(nodes), tree.size, 2))
    return tree


def roots() -> Interval:
    """Unit cubes (3, 2, 2)."""
    return Interval(torch.zeros(ROOTS, 2, 2).double(), torch.ones(ROOTS, 2, 2).double())


def test_leaves_hold_each_point_of_their_root_once():
    tree, points = grown("cover"), torch.as_tensor(seeded_generator("points").uniform(size=(500, 2, 2)))
    boxes, leaves, root = tree.boxes(roots()), tree.leaves(), tree.root()
    lower, upper = boxes.lower[leaves], boxes.upper[leaves]
    assert lower.shape == (len(leaves), 2, 2)
    inside = ((points[:, None] >= lower) & (points[:, None] <= upper)).flatten(2).all(2)
    volume = (upper - lower).clamp(min=0).flatten(1).prod(1)
    for number in range(ROOTS):
        mine = torch.from_numpy(root[leaves] == number)
        assert (inside[:, mine].sum(1) == 1).all()
        assert volume[mine].sum() == pytest.approx(1.0)


def test_points_walked_down_arrive_at_the_leaves_whose_boxes_hold_them():
    tree, points = grown("walk"), seeded_generator("walked").uniform(size=(200, INPUTS))
    boxes, at = tree.boxes(roots()), np.full(len(points), 1)
    for i, (node, entry, value) in enumerate(zip(*tree.splits, strict=True)):
        here = at == node
        at[here] = tree.roots + 2 * i + (points[here, entry] > value)
    assert np.isin(at, tree.leaves()).all()
    assert (tree.root()[at] == 1).all()
    x = torch.from_numpy(points).reshape(-1, 2, 2)
    assert bool(((x >= boxes.lower[at]) & (x <= boxes.upper[at])).all())


def test_splits_outside_of_a_box_are_refused():
    for value in (-0.5, 1.5):
        tree = Tree(ROOTS)
        tree.grow(np.array([1]), np.array([2]), np.array([value]))
        with pytest.raises(BadInput, match="lower end above"):
            tree.boxes(roots())


def test_a_tree_comes_back_from_its_splits():
    tree = grown("kept")
    again = Tree.of(ROOTS, tree.splits, INPUTS)
    assert again.size == tree.size
    assert all(np.array_equal(mine, its) for mine, its in zip(again.splits, tree.splits, strict=True))
    assert np.array_equal(again.leaves(), tree.leaves())
    alone = Tree(2)
    assert alone.leaves().tolist() == alone.root().tolist() == [0, 1]
    assert torch.equal(alone.boxes(roots().rows(slice(0, 2))).upper, roots().upper[:2])


@pytest.mark.parametrize(
    ("nodes", "entries", "at"),
    [
        ([0, 0], [0, 0], [0.1, 0.2]),  # split twice
        ([0, 1, 3, 1], [0] * 4, [0.1] * 4),
        ([3], [0], [0.1]),  # not born yet: its own child
        ([0, 5], [0, 0], [0.1, 0.1]),
        ([-1], [0], [0.1]),
        ([0], [INPUTS], [0.1]),
        ([0], [-1], [0.1]),
        ([0], [0], [np.nan]),
        ([0], [0], [np.inf]),
        ([0, 1], [0], [0.1, 0.1]),
        ([0, 1], [0, 0], [0.1]),
    ],
)
def test_what_is_no_tree_is_refused(nodes, entries, at):
    splits = np.array(nodes, np.int64), np.array(entries, np.int64), np.array(at, np.float64)
    with pytest.raises(BadInput, match="no tree"):
        Tree.of(ROOTS, splits, INPUTS)


def chain(splits: int) -> Tree:
    """Each split cuts the first child of the one before."""
    nodes = np.r_[0, 1 + 2 * np.arange(splits - 1)]
    return Tree.of(1, (nodes, np.zeros(splits, np.int64), np.full(splits, 0.5)), INPUTS)


def test_the_depth_of_each_node():
    assert chain(3).depth().tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_what_is_short_to_write_and_large_to_unfold_is_refused_before_it_is(monkeypatch):
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**28)
    wide = Interval(torch.zeros(1, 500).double(), torch.ones(1, 500).double())
    long = chain(20_000)
    tracemalloc.start()
    for unfolded in (lambda: paths(long, long.leaves()), lambda: long.boxes(wide)):
        with pytest.raises(BadInput, match="^a proof takes .* more than this machine has to spare"):
            unfolded()
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_large_honest_trees_unfold(monkeypatch):
    """20,000 leaves of depth 14 or 15, and one that is 60 deep."""
    monkeypatch.setattr("certify.bounded.memory.free_memory", lambda: 2**28)
    splits = 20_000
    parents = np.arange(splits)
    born = splits * 2 + 1
    parents = np.r_[parents, born - 1, born + 1 + 2 * np.arange(44)]
    tree = Tree.of(1, (parents, np.zeros(len(parents), np.int64), np.full(len(parents), 0.5)), INPUTS)
    leaves = tree.leaves()
    side = paths(tree, leaves)[2]
    assert side.shape[0] > splits
    assert side.shape[1] >= 58
    assert ((side != 0).sum(1).numpy() == tree.depth()[leaves]).all()
