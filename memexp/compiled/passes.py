"""A whole update of one seed after the other, compiled: inputs, layers, head, loss, and back again, then the optimiser.

Nothing here mixes seeds: a seed costs the same, and is the same bit for bit, alone and in any group. ``weights`` holds
the rows of all seeds, and ``w`` is where a seed's begins; ``work`` is the workspace; places in both are those of
`memexp.compiled.layout`. Time steps are counted as they are read: a direction that reads backwards begins with the last
one. Its states have a place more than there are time steps, at the end from which it starts.
"""

import math
from typing import Any

import numpy as np

from memexp.compiled import cells
from memexp.compiled.cells import GRU, LSTM, MINGRU, MINLSTM
from memexp.compiled.functions import exp, log, tanh
from memexp.compiled.layout import LANES
from memexp.compiled.products import add_rows, clear, copy, multiply, transpose
from memexp.compiled.vectors import at_least, at_most, compiled, fma, full, inlined, load, root, store

LEARNED, INPUT = 1, 2  # of `memexp.compiled.layout.INITIAL_STATES`

# --- forward ---


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
        else:
            multiply(work, before, D, 1, weights, U, N, work, gates, N, B, units, N)
            if layer.kind == LSTM:
                c, then_c = layer.cell + first, layer.cell + then
                cells.lstm(layer, B, weights, extra, work, gates, before, after, c, then_c, stash)
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


# --- loss ---


@compiled
def exponentials(logits: Any, place: int, out: Any, to: int, K: int) -> tuple[Any, Any]:
    """Write e^(z - largest) of K logits; return the largest one and the sum, taken in order."""
    largest = logits[place]
    for k in range(1, K):
        if logits[place + k] > largest:
            largest = logits[place + k]
    for j in range(0, K, LANES):
        z = load(logits, place + j)
        store(out, to + j, exp(z - full(z, largest)))
    total = out[to]
    for k in range(1, K):
        total += out[to + k]
    return largest, total


@compiled
def cross_entropies(answers: Any, classes: Any, values: Any) -> None:
    """Cross-entropy in nats, ln sum e^z - z_class: answers [N, K], classes [N] -> values, [N] in whole vectors."""
    N, K = answers.shape
    row = (K + LANES - 1) // LANES * LANES
    logits, powers, largest = np.zeros(row, answers.dtype), np.zeros(row, answers.dtype), np.zeros(N, answers.dtype)
    for i in range(N):
        for k in range(K):
            logits[k] = answers[i, k]
        largest[i], values[i] = exponentials(logits, 0, powers, 0, K)
    for j in range(0, N, LANES):
        store(values, j, log(load(values, j)))
    for i in range(N):
        values[i] += largest[i] - answers[i, classes[i]]


@inlined
def loss_backward(plan: Any, squared: bool, summed: bool, classes: Any, goals: Any, asked: Any, work: Any) -> None:
    """Turn the logits into the gradient of the loss: the mean or the sum over the answers that are asked."""
    B, A, K, row = plan.batch, plan.answers, plan.outputs, plan.outputs_row
    weighed = asked.size > 0
    count = 0.0
    for b in range(B):
        for a in range(A):
            count += asked[b, a] if weighed else 1.0
    if summed or count <= 0.0:
        count = 1.0
    for b in range(B):
        for a in range(A):
            place = plan.logits + (a * B + b) * row
            scale = work.dtype.type((asked[b, a] if weighed else 1.0) / count)
            if squared:
                difference = work[place] - goals[b, a]
                clear(work, place, row)
                work[place] = (difference + difference) * scale
                continue
            _, total = exponentials(work, place, work, place, K)
            scale_all = scale / total
            for k in range(K):
                work[place + k] *= scale_all
            for k in range(K, row):
                work[place + k] = 0
            work[place + classes[b, a]] -= scale


# --- backward ---


@inlined
def head_backward(plan: Any, layers: Any, weights: Any, w: int, work: Any) -> None:
    """From the gradient of the logits to that of the head and of the states that it sees."""
    K, rows = plan.outputs_row, plan.answers * plan.batch
    add_rows(work, plan.logits, K, work, plan.gradient + plan.head_bias, rows, K)
    head = plan.head
    for d in range(len(layers) - plan.directions, len(layers)):
        layer = layers[d]
        D, seen = layer.padded, answered(plan, layer)
        multiply(work, seen, 1, D, work, plan.logits, K, work, plan.gradient + head, K, layer.units, rows, K)
        transpose(weights, w + head, K, work, plan.head_T, D, layer.units, plan.outputs)
        place = layer.d_outputs + seen - outputs(plan, layer)
        multiply(work, plan.logits, K, 1, work, plan.head_T, D, work, place, D, rows, plan.outputs, D)
        head += layer.units * K


@inlined
def recur_backward(plan: Any, layer: Any, weights: Any, w: int, work: Any) -> None:
    """Step back through a sequence: from d_outputs to the gradients of x W + b + h U, and of the initial states."""
    B, L, D, N = plan.batch, plan.length, layer.padded, layer.columns
    extra, d_extra, U_T, row = w + layer.extra, plan.gradient + layer.extra, layer.U_T, layer.U_T_row
    top = layer.d_hidden
    clear(work, layer.d_hidden, B * D)
    clear(work, layer.d_cell, B * D)
    if layer.recurrent:
        transpose(weights, w + layer.U, N, work, U_T, row, layer.units, N)
    for step in range(L):
        t = step if layer.backwards else L - 1 - step
        first, then = (t + layer.backwards) * B * D, (t + 1 - layer.backwards) * B * D
        gates, before = layer.gates + t * B * N, layer.hidden + first
        stash = layer.stash + t * B * layer.stash_size
        for j in range(0, B * D, LANES):
            store(work, top + j, load(work, top + j) + load(work, layer.d_outputs + t * B * D + j))
        if layer.kind == GRU:
            cells.gru_backward(layer, B, work, gates, before, stash, top)
            if layer.reset_after:
                multiply(work, stash, D, 1, work, U_T + 2 * D * row, row, work, top, D, B, D, D)
            else:
                clear(work, layer.d_inner, B * D)
                multiply(
                    work, gates + 2 * D, N, 1, work, U_T + 2 * D * row, row, work, layer.d_inner, D, B, D, D
                )  # fmt: skip
                cells.gru_reset_backward(layer, B, work, gates, before, layer.d_inner, top)
            multiply(work, gates, N, 1, work, U_T, row, work, top, D, B, 2 * D, D)
        elif layer.kind == MINGRU:
            cells.mingru_backward(layer, B, work, gates, before, top)
        elif layer.kind == MINLSTM:
            cells.minlstm_backward(layer, B, work, gates, before, stash, top)
        else:
            if layer.kind == LSTM:
                c, then_c = layer.cell + first, layer.cell + then
                cells.lstm_backward(
                    layer, B, weights, extra, work, d_extra, gates, c, then_c, stash, top, layer.d_cell
                )  # fmt: skip
            else:
                cells.srn_backward(layer, B, work, gates, top)
            multiply(work, gates, N, 1, work, U_T, row, work, top, D, B, N, D)


@inlined
def recurrent_gradient(plan: Any, layer: Any, work: Any) -> None:
    """Gradient of U: h_{t-1}^T d(pre), summed over time steps and rows; and of a GRU's c."""
    rows, D, N = plan.length * plan.batch, layer.padded, layer.columns
    d_U, seen = plan.gradient + layer.U, states_before(plan, layer)
    straight = 2 * D if layer.kind == GRU else N  # columns whose product sees the state itself
    multiply(work, seen, 1, D, work, layer.gates, N, work, d_U, N, layer.units, rows, straight)
    if layer.kind == GRU and layer.reset_after:
        multiply(work, seen, 1, D, work, layer.stash, D, work, d_U + 2 * D, N, layer.units, rows, D)
        add_rows(work, layer.stash, D, work, plan.gradient + layer.extra, rows, D)
    elif layer.kind == GRU:
        multiply(work, layer.stash, 1, D, work, layer.gates + 2 * D, N, work, d_U + 2 * D, N, layer.units, rows, D)


@inlined
def begin_backward(plan: Any, layers: Any, d: int, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """From the gradient of the initial states to that of what they are computed from."""
    layer, B = layers[d], plan.batch
    D = layer.padded
    if layer.initial != LEARNED and layer.initial != INPUT:
        return
    for n in range(layer.states):
        d_state, d_start = layer.d_hidden if n == 0 else layer.d_cell, plan.gradient + layer.start + n * layer.start_row
        above = layer.d_above + n * B * D
        if layer.initial == LEARNED:
            add_rows(work, d_state, D, work, d_start, B, D)
            continue
        place = initial(plan, layer, n)
        for j in range(0, B * D, LANES):
            state = load(work, place + j)
            store(work, d_state + j, (load(work, d_state + j) + load(work, above + j)) * (1.0 - state * state))
        source, source_row = source_of(plan, layers, d, n)
        M = layer.start_row // D
        multiply(work, source, 1, source_row, work, d_state, D, work, d_start, D, M, B, D)
        if layer.level > 0:
            into = layers[d - plan.directions].d_above + n * B * source_row
        elif not plan.embedded:
            continue
        else:
            into = layer.source
            if plan.numbers:
                into = plan.d_vectors + ((plan.length - 1) * B * source_row if layer.backwards else 0)
            else:
                clear(work, into, B * source_row)
        transpose(weights, w + layer.start + n * layer.start_row, D, work, layer.start_T, source_row, M, D)
        multiply(work, d_state, D, 1, work, layer.start_T, source_row, work, into, source_row, B, D, source_row)
        if layer.level == 0 and not plan.numbers:
            first = plan.length - 1 if layer.backwards else 0
            for b in range(B):
                vector = plan.gradient + plan.embedding + symbols[b, first] * plan.embedding_row
                add_rows(work, into + b * source_row, source_row, work, vector, 1, source_row)
            lay_out_first(plan, layer, weights, w, symbols, work)  # the next state is computed from it too


@inlined
def below_backward(plan: Any, layers: Any, d: int, weights: Any, w: int, work: Any) -> None:
    """From the gradient of x W + b of a higher layer to those of W, of b and of the outputs below."""
    layer, rows = layers[d], plan.batch * plan.length
    N, read = layer.columns, 0
    add_rows(work, layer.gates, N, work, plan.gradient + layer.b, rows, N)
    for e in range((layer.level - 1) * plan.directions, layer.level * plan.directions):
        below = layers[e]
        D, W = below.padded, layer.W + read * N
        multiply(
            work, outputs(plan, below), 1, D, work, layer.gates, N, work, plan.gradient + W, N, below.units, rows, N
        )  # fmt: skip
        transpose(weights, w + W, N, work, layer.W_T, D, below.units, N)
        multiply(work, layer.gates, N, 1, work, layer.W_T, D, work, below.d_outputs, D, rows, N, D)
        read += below.units


@inlined
def inputs_backward(plan: Any, layer: Any, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """From the gradient of x W + b of the first layer to those of W, of b and of the embedding."""
    B, L, N, M, row = plan.batch, plan.length, layer.columns, layer.inputs, plan.embedding_row
    d_W, d_b = plan.gradient + layer.W, plan.gradient + layer.b
    if plan.numbers:
        add_rows(work, layer.gates, N, work, d_b, L * B, N)
        source, source_row = (plan.vectors, row) if plan.embedded else (plan.raw, plan.inputs_row)
        multiply(work, source, 1, source_row, work, layer.gates, N, work, d_W, N, M, L * B, N)
        if plan.embedded:
            transpose(weights, w + layer.W, N, work, layer.W_T, row, M, N)
            multiply(work, layer.gates, N, 1, work, layer.W_T, row, work, plan.d_vectors, row, L * B, N, row)
        return
    V, table = plan.inputs, layer.d_table
    clear(work, table, V * N)
    for t in range(L):
        for b in range(B):
            add_rows(work, layer.gates + (t * B + b) * N, N, work, table + symbols[b, t] * N, 1, N)
    add_rows(work, table, N, work, d_b, V, N)
    if not plan.embedded:
        copy(work, table, work, d_W, V * N)
        return
    d_E = plan.gradient + plan.embedding
    multiply(weights, w + plan.embedding, 1, row, work, table, N, work, d_W, N, M, V, N)
    transpose(weights, w + layer.W, N, work, layer.W_T, row, M, N)
    multiply(work, table, N, 1, work, layer.W_T, row, work, d_E, row, V, N, row)


@inlined
def backward(plan: Any, layers: Any, weights: Any, w: int, symbols: Any, work: Any) -> None:
    """From the gradient of the logits to that of all weights."""
    B, L = plan.batch, plan.length
    clear(work, plan.gradient, plan.row)
    for d in range(len(layers)):
        clear(work, layers[d].d_outputs, L * B * layers[d].padded)
        clear(work, layers[d].d_above, layers[d].states * B * layers[d].padded)
    if plan.numbers and plan.embedded:
        clear(work, plan.d_vectors, L * B * plan.embedding_row)
    head_backward(plan, layers, weights, w, work)
    for d in range(len(layers) - 1, -1, -1):
        layer = layers[d]
        recur_backward(plan, layer, weights, w, work)
        if layer.recurrent:
            recurrent_gradient(plan, layer, work)
        begin_backward(plan, layers, d, weights, w, symbols, work)
        if layer.level == 0:
            inputs_backward(plan, layer, weights, w, symbols, work)
        else:
            below_backward(plan, layers, d, weights, w, work)
    if plan.numbers and plan.embedded:
        row = plan.embedding_row
        multiply(
            work, plan.raw, 1, plan.inputs_row, work, plan.d_vectors, row,
            work, plan.gradient + plan.embedding, row, plan.inputs, L * B, row,
        )  # fmt: skip


# --- update ---


@compiled
def norms_of(plan: Any, blocks: Any, work: Any, out: Any) -> None:
    """L2 norm of the gradient of every parameter: sixteen sums side by side, then these in order."""
    for n in range(len(blocks)):
        start = plan.gradient + blocks[n, 0]
        squares = load(work, start) * 0.0
        for j in range(0, blocks[n, 1], LANES):
            g = load(work, start + j)
            squares = fma(g, g, squares)
        store(work, plan.lanes, squares)
        total = work[plan.lanes]
        for k in range(1, LANES):
            total += work[plan.lanes + k]
        out[n] = math.sqrt(total)


@compiled
def scale_gradient(work: Any, start: int, size: int, norm: float, largest: float) -> None:
    """Scale numbers of this norm down to the largest one allowed."""
    scale = largest / (norm + 1e-6)
    if scale < 1.0 or scale != scale:
        for j in range(start, start + size, LANES):
            store(work, j, load(work, j) * scale)


GLOBAL, TENSOR, VALUE = range(3)


@inlined
def clip(plan: Any, blocks: Any, work: Any, norms: Any, largest: float, by: int) -> None:
    """Scale down gradients that are too large, as `memexp.training.runner.clip_gradients`."""
    if by == VALUE:
        for j in range(plan.gradient, plan.gradient + plan.row, LANES):
            store(work, j, at_least(at_most(load(work, j), largest), -largest))
        return
    total = 0.0
    for n in range(len(blocks)):
        total += norms[n] * norms[n]
    for n in range(len(blocks)):
        norm = norms[n] if by == TENSOR else math.sqrt(total)
        scale_gradient(work, plan.gradient + blocks[n, 0], blocks[n, 1], norm, largest)


@inlined
def adam(
    weights: Any, first: Any, second: Any, w: int, work: Any, gradient: int, numbers: int,
    lr: float, decay: float, decay_second: float, correction: float, correction_second: float, epsilon: float,
) -> None:  # fmt: skip
    """Adam (Kingma and Ba 2015, algorithm 1): step along the mean gradient, over the root of its mean square."""
    size, scale = lr / correction, 1.0 / math.sqrt(correction_second)
    for j in range(0, numbers, LANES):
        g = load(work, gradient + j)
        mean = fma(g, 1.0 - decay, load(first, w + j) * decay)
        square = fma(g * g, 1.0 - decay_second, load(second, w + j) * decay_second)
        store(first, w + j, mean)
        store(second, w + j, square)
        store(weights, w + j, fma(mean / fma(root(square), scale, epsilon), -size, load(weights, w + j)))


@inlined
def sgd(weights: Any, w: int, work: Any, gradient: int, numbers: int, lr: float) -> None:
    """Step down the gradient."""
    for j in range(0, numbers, LANES):
        store(weights, w + j, fma(load(work, gradient + j), -lr, load(weights, w + j)))


@compiled
def _of(arrays: Any, k: int) -> Any:
    """Return a seed's own part, or the one that all seeds share."""
    return arrays[k if len(arrays) > 1 else 0]


@compiled
def _outside(places: Any, end: int) -> bool:
    for place in places.flat:  # noqa: SIM110 (there is no `any` of a generator in compiled code)
        if place < 0 or place >= end:
            return True
    return False


@inlined
def _answer(plan: Any, K: int, work: Any, answers: Any) -> None:
    """Write the logits [A, B, K] as answers [B, A, K]."""
    for b in range(plan.batch):
        for a in range(plan.answers):
            place = plan.logits + (a * plan.batch + b) * plan.outputs_row
            for k in range(plan.outputs):
                answers[b, a, k] = work[place + k]


@compiled
def run(
    plans: Any, layers: Any, blocks: Any, rules: Any, learn: bool, weights: Any, first: Any, second: Any,
    symbols: Any, numbers: Any, classes: Any, goals: Any, asked: Any, work: Any,
    answers: Any, norms: Any, clipped: Any,
) -> bool:  # fmt: skip
    """Answer, and learn from it.

    Args:
        plans: the `PLAN`, [1].
        layers: a `LAYER` for each direction of each layer.
        blocks: beginning and size of each parameter, [parameters, 2].
        rules: the `RULES`, [1].
        learn: whether to do an update; else only the answers are written.
        weights: [S, row].
        first: Adam's mean gradients, [S, row].
        second: its mean squared gradients, [S, row].
        symbols: inputs [S or 1, B, L], or empty.
        numbers: inputs [S or 1, B, L, V], or empty.
        classes: targets [S or 1, B, A], or empty.
        goals: targets that are numbers, likewise.
        asked: weights of the answers, likewise; empty if all weigh the same.
        work: the workspace.
        answers: gets the answers before the update, [S, B, A, K].
        norms: gets the norm of each parameter's gradient, [S, parameters], if they are asked for or needed.
        clipped: gets these norms after clipping, likewise.

    Returns:
        Whether every symbol and class is one that there is; if not, nothing is done.
    """
    plan, rule = plans[0], rules[0]
    if _outside(symbols, plan.inputs) or _outside(classes, plan.outputs):
        return False
    flat, flat_first, flat_second = weights.ravel(), first.ravel(), second.ravel()
    for k in range(len(weights)):
        w, own = k * plan.row, _of(symbols, k)
        forward(plan, layers, flat, w, own, _of(numbers, k), work)
        _answer(plan, plan.outputs, work, answers[k])
        if not learn:
            continue
        loss_backward(plan, rule.squared, rule.summed, _of(classes, k), _of(goals, k), _of(asked, k), work)
        backward(plan, layers, flat, w, own, work)
        if rule.watched or rule.clip_by >= 0:
            norms_of(plan, blocks, work, norms[k])
        if rule.clip_by >= 0:
            clip(plan, blocks, work, norms[k], rule.largest, rule.clip_by)
        if rule.watched:
            norms_of(plan, blocks, work, clipped[k])
        if rule.adam:
            adam(
                flat, flat_first, flat_second, w, work, plan.gradient, plan.row, rule.lr,
                rule.decay, rule.decay_second, rule.correction, rule.correction_second, rule.epsilon,
            )  # fmt: skip
        else:
            sgd(flat, w, work, plan.gradient, plan.row, rule.lr)
    return True
