"""Words replaced by others, for a network that looks them up: it is bounded over which word of each set is chosen.

A token id means nothing as a number. So the network is read from behind its tables: it takes for each place which of a
few words stands there, a 1 and zeros (one-hot), and what it looked up about the words is a constant that is multiplied
by that. On such inputs the two compute the same, number for number, and :class:`certify.Categories` has the exact
minima of rows over the finite sets. So every bound and every proof serves as it is.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from certify.bounds.graph import Graph, Node
from certify.bounds.rules.add import Add
from certify.bounds.rules.base import Affine, Operator
from certify.bounds.rules.clip import Clip
from certify.bounds.rules.conversion import Integer
from certify.bounds.rules.einsum import Einsum
from certify.bounds.rules.lookup import Lookup
from certify.bounds.rules.relu import ReLU
from certify.bounds.rules.reshape import Reshape
from certify.bounds.rules.rounded import Rounded
from certify.bounds.rules.scale_shift import ScaleShift
from certify.bounds.rules.select import Select
from certify.bounds.rules.step import Step
from certify.bounds.tensors import Interval
from certify.core.threats.base import Threat
from certify.core.threats.categories import Categories
from certify.core.threats.insertions import LARGEST_TOKEN
from certify.core.threats.substitutions import Substitutions
from certify.errors import ModelError

__all__ = ["Choices", "over_choices", "posed_over_choices"]

ENTRYWISE: Final = (ReLU, Rounded, Integer, Step, Clip, ScaleShift, Lookup)
"""Operators of one input that do the same to each entry by itself, without rounding where numbers are whole."""

TWISTED: Final = (
    "the network computes with token ids in a way that bounds over words do not follow: look ids up in tables, one by "
    "one, and compare them with constants, and no more; or use ablation, which asks for answers alone"
)


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What is asked about one text of a network that looks words up.

    Args:
        graph: the network behind its tables. It takes which word is chosen, (places, words).
        x: the words of the text itself, (1, places, words).
        threat: at most so many places choose another word.
        tokens: the words (places, words) as ids.
    """

    graph: Graph
    x: Tensor
    threat: Categories
    tokens: Tensor

    def texts(self, chosen: Tensor) -> Tensor:
        """The token ids (n, places) of choices (n, places, words): the words with the largest numbers."""
        return self.tokens.expand(len(chosen), -1, -1).gather(2, chosen.argmax(dim=2, keepdim=True)).squeeze(2)


def posed_over_choices(graph: Graph, x: Tensor, threat: Threat) -> tuple[Graph, Tensor, Threat]:
    """A question about one input (1, ...) as it is, or about choices where it is about words that are looked up.

    Raises:
        ModelError: for a network that computes with token ids.
    """
    made = over_choices(graph, x, threat)
    return (graph, x, threat) if made is None else (made.graph, made.x, made.threat)


def over_choices(graph: Graph, x: Tensor, threat: Threat) -> Choices | None:
    """The question about the words of one text x (1, places); None where no words are replaced, or none looked up.

    Raises:
        ModelError: for a network that computes with token ids.
    """
    if not isinstance(threat, Substitutions) or not any(isinstance(node.operator, Lookup) for node in graph.nodes):
        return None
    tokens = threat.choices(x)[0]
    if tokens.shape[1] < 2:  # a category is one of two at least
        tokens = tokens.expand(-1, 2)
    places, words = tokens.shape
    places_of = _places(graph)
    values = _looked_up(graph, places_of, tokens.T.double())
    nodes: list[Node] = []
    for name in _read_further(graph, places_of):
        nodes += _chosen(name, values[name], places_of[name], (places, words), graph)
    nodes += [node for node in graph.nodes if node.name not in places_of]
    first = torch.arange(words, device=x.device) == (tokens == x[0].unsqueeze(1)).to(torch.uint8).argmax(
        dim=1, keepdim=True
    )
    groups = tuple(tuple(range(place * words, (place + 1) * words)) for place in range(places))
    return Choices(
        replace(graph, input=_fresh(graph), shape=(places, words), nodes=tuple(nodes), narrow=None),
        first.to(x.dtype)[None],
        Categories(threat.radii, groups, units=threat.units),
        tokens,
    )


def _fresh(graph: Graph) -> str:
    """A name that nothing in the graph has."""
    names = {graph.input, *(node.name for node in graph.nodes)}
    return next(name for number in range(len(names) + 1) if (name := f"chosen.{number}") not in names)


def _places(graph: Graph) -> dict[str, Tensor]:
    """For results that tell of one place of the text each, which: its numbers, in the shape of the result.

    They are computed from token ids without rounding, or looked up by them. What is made of looked up numbers is none.

    Raises:
        ModelError: where something else is looked up.
    """
    known = {graph.input: torch.arange(graph.shape[0])}
    ended = set[str]()
    for node in graph.nodes:
        given = [known.get(name) for name in node.inputs]
        if ended.isdisjoint(node.inputs) and (found := _places_after(node, given)) is not None:
            known[node.name] = found
            ended |= {node.name} if isinstance(node.operator, Lookup) else set()
        elif isinstance(node.operator, Lookup):
            raise ModelError(TWISTED)
    return known


def _places_after(node: Node, given: list[Tensor | None]) -> Tensor | None:
    operator, first = node.operator, given[0]
    if first is None or any(one is None or not torch.equal(one, first) for one in given):
        return None
    if isinstance(operator, Reshape) or (isinstance(operator, Select) and bool((operator.index >= 0).all())):
        return operator.to(torch.float64).forward(first.double()[None])[0].long()
    whole = _whole_constants(operator) and tuple(first.shape) == node.shape
    return first if isinstance(operator, (*ENTRYWISE, Add)) and whole else None


def _whole_constants(operator: Operator) -> bool:
    """Whether whole numbers stay whole, and are computed without rounding."""
    if isinstance(operator, ScaleShift):
        alpha = float(operator.alpha).is_integer()
        tensors = [one for one in (operator.factor, operator.shift) if one is not None]
        return not operator.divide and alpha and all(bool((one == one.round()).all()) for one in tensors)
    return True


def _looked_up(graph: Graph, places_of: dict[str, Tensor], texts: Tensor) -> dict[str, Tensor]:
    """Those results for texts (words, places), of which text m has word m of each set: (words, *shape), exact.

    Raises:
        ModelError: where a number that is not looked up is not whole, too large to be exact, or not in its type.
    """
    values = {graph.input: texts}
    for node in graph.nodes:
        if node.name in places_of:
            operator, given = node.operator.to(torch.float64), [values[name] for name in node.inputs]
            found = operator.forward(*given)
            if not isinstance(operator, Lookup) and not _exact(operator, given, found):
                raise ModelError(TWISTED)
            values[node.name] = found
    return values


def _exact(operator: Operator, given: list[Tensor], found: Tensor) -> bool:
    """Whether results are whole numbers that every execution has: float32 holds all terms, and integers their type."""
    terms = operator.absolute(*(one.abs() for one in given)) if isinstance(operator, Affine) else found
    void = operator.undefined(*(Interval(one, one) for one in given))
    small = (found.abs() <= LARGEST_TOKEN) & (terms <= LARGEST_TOKEN)
    return bool(((found == found.round()) & small).all()) and (void is None or not bool(void.any()))


def _read_further(graph: Graph, places_of: dict[str, Tensor]) -> Iterator[str]:
    """Those results that other nodes read, or that are the output."""
    read = {name for node in graph.nodes if node.name not in places_of for name in node.inputs} | {graph.output.name}
    yield from (name for name in places_of if name in read)


def _chosen(name: str, values: Tensor, places_of: Tensor, shape: tuple[int, int], graph: Graph) -> list[Node]:
    """Nodes that make a result (*S) from choices (places, words) and its values (words, *S): a sum with one term.

    Raises:
        ModelError: where places stand along several axes of it.
    """
    axes = [axis for axis in range(places_of.dim()) if _along(places_of, axis) is not None]
    if not axes:
        raise ModelError(TWISTED)
    axis, words = axes[0], shape[1]
    line = _along(places_of, axis)
    assert line is not None
    letters = string.ascii_lowercase[: places_of.dim()]
    out = letters[:axis] + "Y" + letters[axis + 1 :]
    einsum = Einsum(("ZYX", "X" + out, "Z" + out), values.to(graph.dtype))
    source, nodes = _fresh(graph), list[Node]()
    if not torch.equal(line, torch.arange(shape[0])):
        index = line.unsqueeze(1) * words + torch.arange(words)
        nodes.append(Node(f"{source} of {name}", Select(index, shape), (source,), (len(line), words)))
        source = nodes[0].name
    return [*nodes, Node(name, einsum, (source,), tuple(places_of.shape))]


def _along(places_of: Tensor, axis: int) -> Tensor | None:
    """The places along an axis where they are the same for all other entries; None where they are not."""
    line = places_of.movedim(axis, 0).flatten(1)[:, 0] if places_of.dim() > 1 else places_of
    shape = [-1 if one == axis else 1 for one in range(places_of.dim())]
    return line if bool((places_of == line.reshape(shape)).all()) else None
