"""A few words of a text replaced by others, each by one of the set that it allows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from certify.bounded.files import content_of
from certify.bounded.texts import strictly_from_json
from certify.core.input_box import BoxLike
from certify.core.threats.base import THREATS, Threat
from certify.core.threats.budget import Budget, Groups, groups_of
from certify.core.threats.insertions import LARGEST_TOKEN, check_tokens
from certify.core.values import number, whole
from certify.errors import BadInput, one_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Sets", "Substitutions", "sets_of", "words_of"]

Sets = tuple[tuple[int, tuple[int, ...]], ...]
"""Each token that may be replaced, in ascending order, with what may stand in its place, itself among them."""

MOST_WORDS: Final = 2**22
"""Words in all sets together, if each were as large as the largest: records carry them."""


def sets_of(name: str, value: Any, vocabulary: Mapping[str, int] | None = None) -> Sets:
    """Substitution sets from a mapping of token ids, or of words where a vocabulary says what their ids are.

    >>> sets_of("synonyms", {"3": [3, 5], "4": [4]})
    ((3, (3, 5)),)

    Raises:
        BadInput: for anything else, a set that lacks the word itself, and too many words.
    """
    if not isinstance(value, Mapping) or not all(isinstance(one, list | tuple) for one in value.values()):
        raise BadInput(f'{name} map each token id to those in its set, such as {{"3": [3, 5]}}, got {value!r:.60}')
    if len(value) * max(map(len, value.values()), default=0) > MOST_WORDS:
        raise BadInput(
            f"{name} have {len(value):,} sets of up to {max(map(len, value.values())):,} words, more than "
            f"{MOST_WORDS:,} together: keep smaller ones"
        )
    found: dict[int, tuple[int, ...]] = {}
    for word, several in value.items():
        token, *tokens = (_token(name, one, vocabulary) for one in (word, *several))
        if token in found:
            raise BadInput(f"{name} have two sets for token {token}")
        if token not in tokens:
            raise BadInput(f"{name}: the set of {word!r:.40} lacks the word itself; add it to its set")
        found[token] = tuple(sorted(set(tokens)))
    return tuple((token, tokens) for token, tokens in sorted(found.items()) if len(tokens) > 1)


def _token(name: str, word: Any, vocabulary: Mapping[str, int] | None) -> int:
    if vocabulary is not None:
        if not isinstance(word, str) or word not in vocabulary:
            raise BadInput(f"{name} have the word {word!r:.40}, which is not in the vocabulary")
        return vocabulary[word]
    digits = isinstance(word, str) and word.isascii() and word.isdigit() and len(word) < 10
    token = int(word) if digits else word
    if isinstance(token, str):
        raise BadInput(f"{name} have {word!r:.40}, which is no token id: give ids, or a vocabulary file with the words")
    if not 0 <= whole(name, token) <= LARGEST_TOKEN:
        raise BadInput(f"{name} have token {token}: ids are whole numbers from 0 to 2^24")
    return int(token)


@THREATS.register("substitutions")
@dataclass(frozen=True, slots=True)
class Substitutions(Budget):
    """An adversary who replaces a few words of a text, each by one of the finite set that its own word allows.

    Inputs are rows of token ids, whole numbers as float32. A radius of k says that at most k tokens are replaced. A
    token without a set never is, and so padding needs no more than to have none. Sets need not be symmetric: what
    counts is the token of the input. Everything that is claimed is claimed of these sets, which records carry.

    Args:
        radii: whole numbers of tokens, ascending: (0, 1, 2).
        synonyms: the sets, ``{3: [3, 5], 5: [3, 5]}``, each with the token itself; or the name of a JSON file of them.
        vocabulary: a file with one word a line, whose number from 0 is its id, where the sets are written in words.
        places: those that may change, such as ``"1:40"``; None for all. All others never do: a system prompt.
        source: where the sets come from, in words; see :meth:`near`.
        input_box: (lower, upper) bound of token ids, the vocabulary.
        units: what a radius counts, in words.

    Raises:
        BadInput: for radii that are no whole numbers, sets without the word itself, and tokens outside the vocabulary.

    >>> threat = Substitutions((1, 2), {3: [3, 5, 6], 4: [4, 6]})
    >>> threat.distance(np.array([3.0, 4, 4, 0]), np.array([6.0, 4, 6, 0]))
    2.0
    >>> threat.distance(np.array([3.0, 4, 4, 0]), np.array([3.0, 5, 4, 0]))
    inf
    """

    kind: ClassVar[str] = "substitutions"

    radii: tuple[float, ...]
    synonyms: Any
    vocabulary: str | None = None
    places: Any = None
    source: str = ""
    input_box: BoxLike = None
    units: str = "tokens replaced"

    def __post_init__(self) -> None:
        sets = self.synonyms
        if isinstance(sets, str):
            sets = _from_file(sets)
        if not isinstance(sets, _Checked):
            words = None if self.vocabulary is None else words_of(self.vocabulary)
            sets = _Checked(sets_of("synonyms", sets, words))
        object.__setattr__(self, "synonyms", sets)
        object.__setattr__(self, "vocabulary", None)  # read, and of no more use
        if self.places is not None:
            several = groups_of("places", self.places)
            object.__setattr__(self, "places", tuple(sorted(place for group in several for place in group)))
        if not isinstance(self.source, str):
            raise BadInput(f"source must be text, got {self.source!r:.60}")
        Threat.__post_init__(self)
        self._check_box()

    def _check_box(self) -> None:
        if self.input_box is None or not self.synonyms or self.input_box.pair is None:
            return
        low, high = self.input_box.pair
        for token in (one for _, tokens in self.synonyms for one in tokens):
            if not low <= token <= high:
                raise BadInput(
                    f"synonyms have token {token}, outside of the vocabulary: the input box [{low:g}, {high:g}]"
                )

    @classmethod
    def near(cls, radii: tuple[float, ...], embedding: Any, *, within: float, most: int = 8, **settings: Any) -> Self:
        """Sets of the nearest neighbours of each token in an embedding.

        Args:
            radii: as for the threat itself.
            embedding: the vectors (tokens, features), such as the weight of a ``torch.nn.Embedding``.
            within: the largest Euclidean distance of two neighbours; the record says which it was.
            most: neighbours of each token, at most: the nearest, and of equally near ones those with the smaller id.
            settings: other settings of the threat.

        Raises:
            BadInput: for vectors that are not finite, or a distance that is none.

        >>> Substitutions.near((1,), [[0.0], [1.0], [5.0]], within=2.0).synonyms
        ((0, (0, 1)), (1, (0, 1)))
        """
        given = embedding.detach().cpu().numpy() if hasattr(embedding, "detach") else embedding
        try:
            vectors = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise BadInput(f"an embedding is a table of finite numbers ({one_line(problem)})") from problem
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise BadInput(f"an embedding is a table of finite numbers (tokens, features), got shape {vectors.shape}")
        if not number("within", within) > 0 or whole("most", most) < 1:
            raise BadInput(f"neighbours lie within a distance above 0, and there is at least one, got {within}, {most}")
        sets = {}
        for token, vector in enumerate(vectors):
            distances = np.linalg.norm(vectors - vector, axis=1)
            order = np.argsort(distances, kind="stable")
            near = order[(order != token) & (distances[order] <= within)]
            sets[token] = [token, *near[:most].tolist()]
        digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
        said = f"at most {most} nearest neighbours within {within:g} in the embedding with sha256 {digest[:16]}"
        return cls(radii, sets, source=said, **settings)

    @property
    def groups(self) -> Groups | None:  # type: ignore[override]
        """Each place that may change, by itself; None for all."""
        return None if self.places is None else tuple((place,) for place in self.places)

    @property
    def _words(self) -> tuple[str, str]:
        return "replaced token", "replaced tokens"

    @property
    def _positions(self) -> str:
        return "tokens" if self.places is None else f"tokens at {len(self.places)} places"

    @property
    @override
    def noun(self) -> str:
        digest = self.named["threat"][:8]
        return (
            f"{self.kind} of {len(self.synonyms)} tokens with sets (sha256 {digest}){self.source and ', '}{self.source}"
        )

    @override
    def change(self, radius: float | None = None) -> str:
        count = "as many tokens as its radius says" if radius is None else f"at most {self.number(radius)} tokens"
        return f"replacement of {count}, each by one of its set,"

    @property
    @override
    def may(self) -> str:
        return "replace as many tokens as the radius says, each by one of the set that it allows"

    @property
    def named(self) -> Mapping[str, str]:
        """The sets, and the places."""
        return {"threat": hashlib.sha256(json.dumps([self.kind, self.synonyms, self.places]).encode()).hexdigest()}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what are no rows, and places beyond them."""
        if len(shape) != 1:
            raise BadInput(f"a text is one row of token ids, the inputs have shape {tuple(shape)}")
        Budget.check_shape(self, shape)

    def check_inputs(self, x: NDArray[np.floating]) -> None:
        """Refuse inputs (B, length) that are no token ids."""
        self.check_shape(x.shape[1:])
        check_tokens(x)

    @override
    def to_dict(self) -> dict[str, Any]:
        places = {} if self.places is None else {"places": list(self.places)}
        sets = {str(token): list(tokens) for token, tokens in self.synonyms}
        return Threat.to_dict(self) | {"synonyms": sets, "source": self.source} | places

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Substitutions:
        """Inverse of :meth:`to_dict`; a record names no file."""
        places = fields.get("places")
        if not isinstance(fields["synonyms"], Mapping) or not (places is None or isinstance(places, list)):
            raise TypeError("synonyms are a table of lists, and places a list")
        return cls(
            radii=tuple(fields["radii"]),
            synonyms=dict(fields["synonyms"]),
            places=None if places is None else [[whole("places", one)] for one in places],
            source=fields["source"],
            input_box=fields["input_box"],
            units=fields["units"],
        )

    def choices(self, x: Tensor) -> Tensor:
        """What may stand at each place of x (b, n): token ids (b, n, m), its own again where a set is smaller."""
        own, (keys, table) = x.unsqueeze(2), _tables(self.synonyms)
        if not keys:
            return own
        tokens, others = x.new_tensor(keys), x.new_tensor(table)
        places = np.searchsorted(keys, x.detach().cpu().numpy()).clip(max=len(keys) - 1)
        at = x.detach().double().new_tensor(places).long()
        known = (tokens[at] == x) & self._movable(x)
        return others[at].where(known.unsqueeze(2), own)

    def _movable(self, x: Tensor) -> Tensor:
        """Which places (1, n) may change."""
        return self._spread(x.new_ones(1, self.positions(x.shape[1])), x.shape[1]) > 0

    def _inside(self, x: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The choices (b, n, m), and which of them lie in a box."""
        found = self.choices(x)
        return found, (lower.unsqueeze(2) <= found) & (found <= upper.unsqueeze(2))

    def hull(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """From the least to the largest choice at each place, x itself for a radius below 1."""
        found, some = self.choices(x), (radius >= 1).reshape(-1, 1)
        low, high = found.amin(dim=2), found.amax(dim=2)
        return x.where(~some, low.maximum(lower)), x.where(~some, high.minimum(upper))

    @override
    def _allowed(self, x: NDArray[np.floating], x_adv: NDArray[np.floating], changed: NDArray[np.int_]) -> bool:
        sets = dict(self.synonyms)
        places = changed if self.places is None else np.array(self.places)[changed]
        return all(x_adv[place] in sets.get(x[place], ()) for place in places)

    @override
    def _least(self, A: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        found, inside = self._inside(x, lower, upper)
        values = (A.unsqueeze(3) * found.unsqueeze(1)).masked_fill(~inside.unsqueeze(1), math.inf).amin(dim=3)
        owned, _ = self._places(A)
        return values[..., owned]

    @override
    def _values(self, z: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        found, inside = self._inside(x, lower, upper)
        far = (found - z.unsqueeze(2)).abs().masked_fill(~inside, math.inf)
        return found.gather(2, far.argmin(dim=2, keepdim=True)).squeeze(2)

    @override
    def _highest(self, gradient: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        found, inside = self._inside(x, lower, upper)
        worth = (found * gradient.unsqueeze(2)).masked_fill(~inside, -math.inf)
        return found.gather(2, worth.argmax(dim=2, keepdim=True)).squeeze(2)

    def random(self, x: Tensor, radius: Tensor, lower: Tensor, upper: Tensor, generator: torch.Generator) -> Tensor:
        """Any places that may change, and any of their words."""
        found = self.choices(x)
        drawn = x.new_empty(2, x.shape[1]).uniform_(generator=generator)
        which = (drawn[:1] * found.shape[2]).long().unsqueeze(2)
        scores = drawn[1:].where((found != x.unsqueeze(2)).any(dim=2), drawn.new_zeros(1))
        owned, _ = self._places(x)
        return self._taken(x, found.gather(2, which).squeeze(2), self._first(scores[:, owned], radius))

    def edits(
        self,
        x: Tensor,
        z: Tensor,
        radius: Tensor,
        lower: Tensor,
        upper: Tensor,
        generator: torch.Generator,
        count: int,
    ) -> Tensor:
        """One token replaced by another of the set, or put back."""
        found, inside = self._inside(x, lower, upper)
        full = int((z != x).sum()) >= int(radius)
        ways = inside & (found != z.unsqueeze(2)) & ((z != x) | (not full)).unsqueeze(2)
        places = ways[0].nonzero()
        drawn = x.new_empty(len(places)).uniform_(generator=generator).argsort()[:count]
        edited = z.expand(len(drawn), -1).clone()
        place, which = places[drawn].unbind(dim=1)
        edited[range(len(drawn)), place] = found[0, place, which]
        return edited


class _Checked(tuple):  # type: ignore[type-arg]
    """Sets that were looked at already."""


def words_of(file: str) -> dict[str, int]:
    """The words of a vocabulary file by themselves, one a line, each with the number of its line from 0.

    Raises:
        BadInput: for a file that cannot be read, an empty line, or a word that stands twice.
    """
    try:
        text = content_of(file).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, TypeError, ValueError) as problem:
        raise BadInput(f"vocabulary {file}: {one_line(problem)}") from problem
    found: dict[str, int] = {}
    # Words may hold what Unicode calls the end of a line, and must not move the numbers of all that follow.
    for place, word in enumerate(text.removesuffix("\n").split("\n") if text else ()):
        if not word or word in found:
            raise BadInput(f"vocabulary {file}: line {place + 1} {'is empty' if not word else 'repeats a word'}")
        found[word] = place
    return found


def _from_file(file: str) -> Any:
    try:
        return strictly_from_json(content_of(file))
    except (OSError, ValueError) as problem:
        raise BadInput(f"synonyms {file}: {one_line(problem)}; give a JSON file with a set for each token") from problem


@lru_cache(maxsize=16)
def _tables(sets: Sets) -> tuple[list[int], list[list[int]]]:
    """The tokens with sets, and their sets, each filled up with the token itself."""
    most = max((len(tokens) for _, tokens in sets), default=1)
    keys = [token for token, _ in sets]
    return keys, [[*tokens, *[token] * (most - len(tokens))] for token, tokens in sets]
