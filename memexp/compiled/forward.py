"""From inputs to logits: inputs and embedding, layers, head, of one seed, compiled.

``weights`` holds the rows of all seeds, and ``w`` is where a seed's begins; ``work`` is the workspace; places in both
are those of `memexp.compiled.layout`. Time steps are counted as they are read: a direction that reads backwards begins
with the last one. Its states have a place more than there are time steps, at the end from which it starts.
"""

from typing import Any

from memexp.compiled import cells
from memexp.compiled.cells import DIAGONAL, GRU, INDRNN, IRNN, LSTM, LSTM_1997, MINGRU, MINLSTM
from memexp.compiled.functions import tanh
from memexp.compiled.layout import LANES
from memexp.compiled.products import clear, copy, multiply
from memexp.compiled.vectors import compiled, inlined, load, store

LEARNED, INPUT = 1, 2  # of `memexp.compiled.layout.INITIAL_STATES`


@inlined
def read_numbers(plan: Any, weights: Any, w: int, numbers: Any, work: Any) -> None:
    """Lay the numbers of all time steps out, [L, B, V], and embed them."""
    B, L, V = plan.batch, plan.length, plan.inputs
    for t in range(L):
        for b in range(B):
            row = plan.raw + (t * B + b) * plan.inputs_row
            for v in range(V):
                work[row + v] = numbers[b, t, v]
    if plan.embedded:
        clear(work, plan.vectors, L * B * plan.embedding_row)
        multiply(
            work, plan.raw, plan.inputs_row, 1, weights, w + plan.embedding, plan.embedding_row,
            work, plan.vectors, plan.embedding_row, L * B, V, plan.embedding_row,
        )  # fmt: skip


@inlined
def project_inputs(plan: Any, layer: Any, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """Compute x W + b of the first layer for all time steps; of symbols there are only V different ones."""
    B, L, N = plan.batch, plan.length, layer.columns
    if plan.numbers:
        for row in range(L * B):
            copy(weights, w + layer.b, work, layer.gates + row * N, N)
        source, source_row = (plan.vectors, plan.embedding_row) if plan.embedded else (plan.raw, plan.inputs_row)
        multiply(
            work, source, source_row, 1, weights, w + layer.W, N, work, layer.gates, N, L * B, layer.inputs, N
        )  # fmt: skip
        return
    for v in range(plan.inputs):
        copy(weights, w + layer.b, work, layer.table + v * N, N)
        if not plan.embedded:
            for j in range(0, N, LANES):
                place = layer.table + v * N + j
                store(work, place, load(work, place) + load(weights, w + layer.W + v * N + j))
    if plan.embedded:
        multiply(
            weights, w + plan.embedding, plan.embedding_row, 1, weights, w + layer.W, N,
            work, layer.table, N, plan.inputs, layer.inputs, N,
        )  # fmt: skip
    for t in range(L):
        for b in range(B):
            copy(work, layer.table + symbols[b, t] * N, work, layer.gates + (t * B + b) * N, N)


@inlined
def project_below(plan: Any, layers: Any, d: int, weights: Any, w: int, work: Any) -> None:
    """Compute x W + b of a higher layer for all time steps, x being the outputs of both directions below."""
    layer, rows = layers[d], plan.batch * plan.length
    N, read = layer.columns, 0
    for row in range(rows):
        copy(weights, w + layer.b, work, layer.gates + row * N, N)
    for e in range((layer.level - 1) * plan.directions, layer.level * plan.directions):
        below = layers[e]
        multiply(
            work, outputs(plan, below), below.padded, 1, weights, w + layer.W + read * N, N,
            work, layer.gates, N, rows, below.units, N,
        )  # fmt: skip
        read += below.units


@compiled
def outputs(plan: Any, layer: Any) -> int:
    """Return where the hidden states after each time step are, [L, B, D]."""
    return layer.hidden + (0 if layer.backwards else plan.batch * layer.padded)


@compiled
def states_before(plan: Any, layer: Any) -> int:
    """Return where the hidden states before each time step are, [L, B, D]."""
    return layer.hidden + (plan.batch * layer.padded if layer.backwards else 0)


@compiled
def initial(plan: Any, layer: Any, n: int) -> int:
    """Return where state n before the first time step is, [B, D]."""
    first = plan.length * plan.batch * layer.padded if layer.backwards else 0
    return (layer.hidden if n == 0 else layer.cell) + first


@compiled
def source_of(plan: Any, layers: Any, d: int, n: int) -> tuple[int, int]:
    """Return where the rows are that state n is computed from, and how long they are: first inputs, or states below."""
    layer = layers[d]
    if layer.level > 0:
        below = layers[d - plan.directions]
        return initial(plan, below, n), below.padded
    if plan.numbers:
        first = (plan.length - 1) * plan.batch if layer.backwards else 0
        if plan.embedded:
            return plan.vectors + first * plan.embedding_row, plan.embedding_row
        return plan.raw + first * plan.inputs_row, plan.inputs_row
    return layer.source, layer.source_row


@compiled
def lay_out_first(plan: Any, layer: Any, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """Lay out the vectors of the symbols that are read first, [B, M]."""
    first = plan.length - 1 if layer.backwards else 0
    for b in range(plan.batch):
        place = layer.source + b * layer.source_row
        if plan.embedded:
            copy(weights, w + plan.embedding + symbols[b, first] * plan.embedding_row, work, place, layer.source_row)
        else:
            clear(work, place, layer.source_row)
            work[place + symbols[b, first]] = 1


@inlined
def begin(plan: Any, layers: Any, d: int, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """Set the states before the first time step."""
    layer, B = layers[d], plan.batch
    D = layer.padded
    if layer.initial == INPUT and layer.level == 0 and not plan.numbers:
        lay_out_first(plan, layer, weights, w, symbols, work)
    for n in range(layer.states):
        place, start = initial(plan, layer, n), w + layer.start + n * layer.start_row
        if layer.initial == LEARNED:
            for b in range(B):
                copy(weights, start, work, place + b * D, D)
            continue
        clear(work, place, B * D)
        if layer.initial == INPUT:
            source, source_row = source_of(plan, layers, d, n)
            M = layer.start_row // D
            multiply(work, source, source_row, 1, weights, start, D, work, place, D, B, M, D)
            for j in range(0, B * D, LANES):
                store(work, place + j, tanh(load(work, place + j)))


@inlined
def recur(plan: Any, layer: Any, weights: Any, w: int, work: Any) -> None:
    """Step through a sequence."""
    B, L, D, N = plan.batch, plan.length, layer.padded, layer.columns
    U, extra, units = w + layer.U, w + layer.extra, layer.units
    for step in range(L):
        t = L - 1 - step if layer.backwards else step
        first, then = (t + layer.backwards) * B * D, (t + 1 - layer.backwards) * B * D
        gates, before, after = layer.gates + t * B * N, layer.hidden + first, layer.hidden + then
        stash = layer.stash + t * B * layer.stash_size
        if layer.kind == GRU:
            if layer.reset_after:
                for b in range(B):
                    copy(weights, extra, work, stash + b * D, D)
                multiply(work, before, D, 1, weights, U + 2 * D, N, work, stash, D, B, units, D)
            multiply(work, before, D, 1, weights, U, N, work, gates, N, B, units, 2 * D)
            cells.gru_gates(layer, B, work, gates, before, stash)
            if not layer.reset_after:
                multiply(work, stash, D, 1, weights, U + 2 * D, N, work, gates + 2 * D, N, B, units, D)
            cells.gru(layer, B, work, gates, before, after, stash)
        elif layer.kind == MINGRU:
            cells.mingru(layer, B, work, gates, before, after)
        elif layer.kind == MINLSTM:
            cells.minlstm(layer, B, work, gates, before, after, stash)
        elif layer.kind == DIAGONAL:
            cells.diagonal(layer, B, work, gates, before, after)
        elif layer.kind == INDRNN:
            cells.indrnn(layer, B, weights, extra, work, gates, before, after)
        else:
            multiply(work, before, D, 1, weights, U, N, work, gates, N, B, units, N)
            if layer.kind == LSTM:
                c, then_c = layer.cell + first, layer.cell + then
                cells.lstm(layer, B, weights, extra, work, gates, before, after, c, then_c, stash)
            elif layer.kind == LSTM_1997:
                c, then_c = layer.cell + first, layer.cell + then
                cells.lstm_1997(layer, B, work, gates, before, after, c, then_c, stash)
            elif layer.kind == IRNN:
                cells.irnn(layer, B, work, gates, after)
            else:
                cells.srn(layer, B, work, gates, before, after)


@compiled
def answered(plan: Any, layer: Any) -> int:
    """Return where the hidden states are that the head answers from: all of the top layer, or the last ones."""
    last = (plan.length - 1) * plan.batch * layer.padded
    return outputs(plan, layer) + (0 if plan.every_step or layer.backwards else last)


@inlined
def forward(plan: Any, layers: Any, weights: Any, w: int, symbols: Any, numbers: Any, work: Any) -> None:
    """Answer: the logits, [A, B, K]."""
    if plan.numbers:
        read_numbers(plan, weights, w, numbers, work)
    for d in range(len(layers)):
        if layers[d].level == 0:
            project_inputs(plan, layers[d], weights, w, symbols, work)
        else:
            project_below(plan, layers, d, weights, w, work)
        begin(plan, layers, d, weights, w, symbols, work)
        recur(plan, layers[d], weights, w, work)
    rows, K = plan.answers * plan.batch, plan.outputs_row
    for row in range(rows):
        copy(weights, w + plan.head_bias, work, plan.logits + row * K, K)
    head = w + plan.head
    for d in range(len(layers) - plan.directions, len(layers)):
        layer = layers[d]
        multiply(
            work, answered(plan, layer), layer.padded, 1, weights, head, K,
            work, plan.logits, K, rows, layer.units, K,
        )  # fmt: skip
        head += layer.units * K
