"""From the gradient of the logits to that of every weight, of one seed, compiled.

Each function is the way back through one of `memexp.compiled.forward`; arguments as there.
"""

from typing import Any

from memexp.compiled import cells
from memexp.compiled.cells import DIAGONAL, GRU, INDRNN, IRNN, LSTM, LSTM_1997, MINGRU, MINLSTM
from memexp.compiled.forward import INPUT, LEARNED, answered, initial, lay_out_first, outputs, source_of, states_before
from memexp.compiled.layout import LANES
from memexp.compiled.products import add_rows, clear, copy, multiply, transpose
from memexp.compiled.vectors import inlined, load, store


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
        elif layer.kind == DIAGONAL:
            cells.diagonal_backward(layer, B, work, gates, before, top)
        elif layer.kind == INDRNN:
            cells.indrnn_backward(layer, B, weights, extra, work, d_extra, gates, before, top)
        else:
            if layer.kind == LSTM:
                c, then_c = layer.cell + first, layer.cell + then
                cells.lstm_backward(
                    layer, B, weights, extra, work, d_extra, gates, c, then_c, stash, top, layer.d_cell
                )  # fmt: skip
            elif layer.kind == LSTM_1997:
                cells.lstm_1997_backward(layer, B, work, gates, stash, top, layer.d_cell)
            elif layer.kind == IRNN:
                cells.irnn_backward(layer, B, work, gates, top)
            else:
                cells.srn_backward(layer, B, work, gates, top)
            if not layer.truncated:
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
