"""Where everything lies: the weights of a seed in one row, and what an update computes in one workspace.

Rows of matrices are padded with zeros to whole vectors, so that no loop has a remainder. The gates of a layer lie side
by side: W is [M, N] and U [D, N], with N = G D, both rounded up. torch's parameters are views of the same memory: the
stepped cells, checkpoints and everything else see what compiled code writes. Axis letters as in `memexp.models.cells`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memexp.models.cells import (
    GRU,
    IRNN,
    LSTM,
    LSTM1997,
    SRN,
    Cell,
    Diagonal,
    IndRNN,
    MinGRU,
    MinLSTM,
    ResidualSRN,
)
from memexp.models.networks import Direction, SequenceModel

LANES = 16  # numbers of a vector
KINDS: tuple[type[Cell], ...] = (  # the place of a cell is its number
    SRN, ResidualSRN, LSTM, GRU, MinGRU, MinLSTM, IRNN, IndRNN, Diagonal, LSTM1997,
)  # fmt: skip
INITIAL_STATES = ("zero", "learned", "input")
CROWDED = 256  # numbers; measured with 64 to 512 units
OPEN = -1  # the column of a gate that a variant of the LSTM leaves out
NONE = -1  # the place of what is not there

SIZES = (
    "kind", "level", "backwards", "inputs", "units", "padded", "columns", "states", "initial", "recurrent", "U_T_row",
    "coupled", "peephole", "reset_after", "truncated", "input_gate", "forget_gate", "output_gate", "candidate",
    "stash_size",
)  # fmt: skip
WEIGHTS = ("W", "U", "b", "extra", "start", "start_row")
WORK = (
    "gates", "hidden", "cell", "stash", "W_T", "U_T", "start_T", "table", "d_table",
    "d_outputs", "d_hidden", "d_cell", "d_inner", "source", "d_above", "source_row",
)  # fmt: skip
#: One direction of one layer: its sizes, and where its weights and its workspace are.
LAYER = np.dtype([(name, np.int64) for name in (*SIZES, *WEIGHTS, *WORK)] + [("lowest", np.float64)])
#: The model: its sizes, and where what all layers share is.
PLAN = np.dtype(
    [
        (name, np.int64)
        for name in (
            "batch", "length", "answers", "directions", "every_step", "numbers", "inputs", "inputs_row", "embedded",
            "embedding_row", "outputs", "outputs_row", "row", "embedding", "head", "head_bias",
            "raw", "vectors", "d_vectors", "embedding_T", "head_T", "logits", "values", "gradient", "lanes", "end",
        )
    ]
)  # fmt: skip
#: How weights learn.
RULES = np.dtype(
    [(name, np.int64) for name in ("squared", "summed", "clip_by", "watched", "adam")]
    + [
        (name, np.float64)
        for name in ("largest", "lr", "decay", "decay_second", "correction", "correction_second", "epsilon")
    ]
)


def padded(numbers: int) -> int:
    """Round up to whole vectors."""
    return -(-numbers // LANES) * LANES


def spaced(numbers: int) -> int:
    """Round up to whole vectors, and to one more where rows would lie a multiple of `CROWDED` numbers apart.

    Such rows fall on the same few places of a processor's nearest memory, and push each other out.
    """
    whole = padded(numbers)
    return whole + LANES if whole % CROWDED == 0 else whole


@dataclass(frozen=True)
class Place:
    """Where a parameter of a seed lies: its beginning in the row, its size there, and the steps along its axes."""

    start: int
    size: int
    strides: tuple[int, ...]


class Row:
    """The weights of a seed, one parameter after the other."""

    def __init__(self, model: SequenceModel) -> None:
        self.size = 0
        self.places: dict[nn.Parameter, Place] = {}
        cells = [direction.cell for _, direction in model.directions]
        by_gate = {id(parameter) for cell in cells for parameter in (cell.W, cell.U, cell.b)}
        for parameter in model.parameters():
            *outer, numbers = parameter.shape[1:]
            if id(parameter) in by_gate:  # the gates of a matrix lie side by side
                row = spaced(outer[0] * padded(numbers))
                size, strides = row * math.prod(outer[1:]), (padded(numbers), *[row] * len(outer[1:]), 1)
            else:
                steps = [padded(numbers)]
                for axis in reversed(outer):
                    steps.insert(0, steps[0] * axis)
                size, strides = steps[0], (*steps[1:], 1)
            self.places[parameter] = Place(self.size, size, strides)
            self.size += size

    def place(self, parameter: nn.Parameter | None) -> int:
        """Return where a parameter begins."""
        return NONE if parameter is None else self.places[parameter].start

    def adopt(self, model: SequenceModel) -> Tensor:
        """Lay the weights of all seeds out, [S, size], and let the parameters of the model be views of that."""
        first = model.head_bias
        rows = torch.zeros(len(first), self.size, dtype=first.dtype)
        for parameter, place in self.places.items():
            view = rows.as_strided(parameter.shape, (self.size, *place.strides), place.start)
            view.copy_(parameter.data)
            parameter.data = view
        return rows

    def blocks(self) -> np.ndarray:
        """Return beginning and size of every parameter, in their order, [parameters, 2]."""
        return np.array([(place.start, place.size) for place in self.places.values()], dtype=np.int64)


class _Space:
    """A workspace that is given out piece by piece."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, numbers: int) -> int:
        start, self.size = self.size, self.size + padded(numbers)
        return start


def plan(model: SequenceModel, row: Row, batch: int, length: int, numbers: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lay out the workspace for batches of one shape.

    Args:
        model: the model.
        row: its weights.
        batch: B.
        length: L.
        numbers: whether inputs are numbers, [L, V], or else symbols, [L].

    Returns:
        One `PLAN`, [1], and a `LAYER` for each direction of each layer, from the lowest up.
    """
    whole, space = np.zeros(1, PLAN), _Space()
    this = whole[0]
    B, L, A = batch, length, length if model.every_step else 1
    V = len(model._one_hot)
    M = model.embedding.shape[2] if model.embedding is not None else V
    K, size = model.head_weight.shape[2], model.output_size
    this["batch"], this["length"], this["answers"], this["every_step"] = B, L, A, model.every_step
    this["directions"], this["numbers"], this["row"] = len(model.stack[0]), numbers, row.size
    this["inputs"], this["inputs_row"] = V, padded(V)
    this["embedded"] = 0 if model.embedding is None else M
    this["embedding_row"], this["outputs"], this["outputs_row"] = padded(M), K, padded(K)
    this["embedding"] = row.place(model.embedding)
    this["head"], this["head_bias"] = row.place(model.head_weight), row.place(model.head_bias)
    this["raw"] = space.take(L * B * padded(V))
    this["vectors"] = space.take(L * B * padded(M))
    this["d_vectors"] = space.take(L * B * padded(M))
    this["embedding_T"] = space.take(padded(M) * padded(V))
    this["head_T"] = space.take(K * len(model.stack[-1]) * padded(size))
    this["logits"], this["values"] = space.take(A * B * padded(K)), space.take(A * B)
    this["gradient"], this["lanes"] = space.take(row.size), space.take(LANES)
    layers = np.zeros(sum(map(len, model.stack)), LAYER)
    place = 0
    for level, directions in enumerate(model.stack):
        for direction in directions:
            _describe(layers[place], direction, level, row)
            _lay_out(layers[place], direction, space, B, L, V, padded(M))
            place += 1
    this["end"] = space.size
    return whole, layers


def _describe(layer: Any, direction: Direction, level: int, row: Row) -> None:
    """Note the sizes of a direction of a layer, and where its weights are."""
    cell = direction.cell
    _, G, M, D = cell.W.shape
    layer["kind"], layer["level"], layer["backwards"] = KINDS.index(type(cell)), level, direction.backwards
    layer["inputs"], layer["units"], layer["padded"], layer["columns"] = M, D, padded(D), spaced(G * padded(D))
    layer["states"], layer["recurrent"], layer["U_T_row"] = len(cell.states), cell.U is not None, spaced(D)
    for gate in ("input_gate", "forget_gate", "output_gate", "candidate"):
        layer[gate] = padded(D) * cell.gates.index(gate) if gate in cell.gates else OPEN
    if isinstance(cell, LSTM):
        layer["coupled"], layer["peephole"] = cell.variant == "coupled", cell.P is not None
        layer["extra"] = row.place(cell.P)
    elif isinstance(cell, GRU):
        layer["reset_after"], layer["extra"] = cell.reset_after, row.place(cell.c)
    elif isinstance(cell, IndRNN):
        layer["extra"] = row.place(cell.u)
    elif isinstance(cell, LSTM1997):
        layer["truncated"] = cell.truncated
    elif isinstance(cell, Diagonal):
        layer["lowest"] = cell.lowest
    layer["stash_size"] = 2 * padded(D) if isinstance(cell, MinLSTM) else padded(D)
    start = direction.start if direction.start is not None else direction.start_W
    kind = "zero" if start is None else "learned" if direction.start is not None else "input"
    layer["initial"] = INITIAL_STATES.index(kind)
    layer["W"], layer["U"], layer["b"] = row.place(cell.W), row.place(cell.U), row.place(cell.b)
    layer["start"] = row.place(start)
    layer["start_row"] = 0 if start is None else row.places[start].size // len(cell.states)


def _lay_out(layer: Any, direction: Direction, space: _Space, B: int, L: int, V: int, vector: int) -> None:
    """Give a direction of a layer its workspace; ``vector`` is how many numbers a row of what it reads has."""
    D, N = int(layer["padded"]), int(layer["columns"])
    source = direction.start_W.shape[2] if direction.start_W is not None else 0
    layer["gates"], layer["hidden"] = space.take(L * B * N), space.take((L + 1) * B * D)
    layer["cell"], layer["stash"] = space.take((L + 1) * B * D), space.take(L * B * int(layer["stash_size"]))
    layer["W_T"], layer["U_T"] = space.take(2 * N * padded(int(layer["inputs"]))), space.take(N * int(layer["U_T_row"]))
    layer["start_T"] = space.take(D * padded(source))
    layer["table"], layer["d_table"] = space.take(V * N), space.take(V * N)
    layer["d_outputs"] = space.take(L * B * D)
    layer["d_hidden"], layer["d_cell"], layer["d_inner"] = (space.take(B * D) for _ in range(3))
    layer["source_row"] = vector
    layer["source"] = space.take(B * vector)
    layer["d_above"] = space.take(int(layer["states"]) * B * max(D, vector))


def kinds_of(model: SequenceModel) -> Sequence[type[Cell]]:
    """Return the class of every cell of a model."""
    return [type(direction.cell) for _, direction in model.directions]
