"""The recurrent layers of a file: cells by their places, put together as a model has them.

Axis letters as in `memexp.models.cells`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from memexp.errors import ConfigError

#: Words in a name that say in which direction a cell reads.
_FORWARDS = r"(?:^|(?<=[._]))(?:fw|fwd|forwards?)(?=$|[._\d])"
_BACKWARDS = r"(?:^|(?<=[._]))(?:bw|bwd|backwards?|reversed?)(?=$|[._\d])"


class Place(NamedTuple):
    """Where a cell stands: what its tensors' names begin with, without the direction; its layer; its direction."""

    prefix: str
    layer: int
    backwards: bool


@dataclass(frozen=True)
class CellWeights:
    """The weights of one cell, as memexp's cell of that name has them.

    Attributes:
        model: its name in memexp.
        W: [G, M, D].
        U: [G, D, D].
        b: [G, D].
        c: of a GRU that resets after the recurrent product, [1, D].
        names: the tensors that it was made of.
    """

    model: str
    W: Tensor
    U: Tensor
    b: Tensor
    c: Tensor | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Recurrent:
    """All recurrent layers of a file, from the lowest up.

    Attributes:
        layout: what they are, in words.
        stack: the cells of each layer, forwards first.
        remarks: what tensors do not tell, in a line each.
    """

    layout: str
    stack: list[list[CellWeights]]
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The tensors that they are made of."""
        return {name for layer in self.stack for cell in layer for name in cell.names}

    @property
    def input_size(self) -> int:
        """M of the lowest layer."""
        return self.stack[0][0].W.shape[1]

    @property
    def output_size(self) -> int:
        """How many units the top layer has, in both directions."""
        return sum(cell.W.shape[2] for cell in self.stack[-1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the model that follow."""
        widths = [layer[0].W.shape[2] for layer in self.stack]
        first = self.stack[0][0]
        return {
            "hidden_size": widths[0] if len(widths) == 1 else widths,
            "bidirectional": len(self.stack[0]) == 2,
            **({"reset_after": first.c is not None} if first.model == "gru" else {}),
        }

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Their parameters, by the names that they have in a model, with an axis S of 1."""
        return {
            f"layers.{number}.{place}.cell.{name}": tensor[None]
            for number, layer in enumerate(self.stack)
            for place, cell in enumerate(layer)
            for name, tensor in (("W", cell.W), ("U", cell.U), ("b", cell.b), ("c", cell.c))
            if tensor is not None
        }


def shown(tensors: Mapping[str, Tensor], names: Iterable[str]) -> str:
    """List tensors with their shapes."""
    return ", ".join(f"{name} {[*tensors[name].shape]}" for name in names)


def place_of(prefix: str) -> Place:
    """Tell from the beginning of a cell's names where it stands."""
    backwards = re.search(_BACKWARDS, prefix, re.IGNORECASE) is not None
    return Place(re.sub(f"{_FORWARDS}|{_BACKWARDS}", "", prefix, flags=re.IGNORECASE), 0, backwards)


def together(
    cells: Mapping[Place, CellWeights], layout: str, order: Sequence[str], remarks: tuple[str, ...] = ()
) -> Recurrent:
    """Put cells together to layers.

    Args:
        cells: by their places.
        layout: what they are, in words.
        order: the beginnings of their names from the lowest layer up, if the user has given them.
        remarks: see `Recurrent`.

    Raises:
        ConfigError: which one is above which cannot be told, or they do not fit on each other.
    """
    prefixes = list(order) or list(dict.fromkeys(place.prefix for place in cells))
    if not order and len({re.sub(r"\d+", "#", prefix) for prefix in prefixes}) > 1:
        raise ConfigError(
            f"has several recurrent layers, {', '.join(map(_named, prefixes))}; which is the lowest cannot be told: "
            "name them from the lowest up, as names={'cell': ['lower', 'upper']}"
        )
    if not order:
        prefixes.sort(key=lambda prefix: [int(part) if part.isdecimal() else 0 for part in re.split(r"(\d+)", prefix)])
    places = sorted(cells, key=lambda place: (prefixes.index(place.prefix), place.layer, place.backwards))
    stack: list[list[CellWeights]] = []
    for prefix, number in dict.fromkeys((place.prefix, place.layer) for place in places):
        layer = [cells[place] for place in places if place[:2] == (prefix, number)]
        if len(layer) != len(stack[0] if stack else layer) or Place(prefix, number, False) not in cells:
            raise ConfigError(f"has layers of one and of two directions: {_named(prefix)} lacks one")
        below = sum(cell.W.shape[2] for cell in stack[-1]) if stack else None
        for cell in layer:
            reads, first = cell.W.shape[1], layer[0]
            if (below is not None and reads != below) or cell.W.shape != first.W.shape or cell.model != first.model:
                expected = [below or first.W.shape[1], first.W.shape[2]]
                raise ConfigError(
                    f"{cell.names[0]}: a gate's input weights are {[*cell.W.shape[1:]]} ([inputs, units]) there, where "
                    f"{expected} is expected, after the layer below or its other direction"
                )
        stack.append(layer)
    if len({cell.model for layer in stack for cell in layer}) > 1:
        raise ConfigError("has layers of several kinds, and a model of memexp has one")
    return Recurrent(layout, stack, remarks)


def _named(prefix: str) -> str:
    return prefix or "(no name)"
