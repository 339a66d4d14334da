"""The cells once more, compiled: one time step of each, forward and backward, for one seed.

What a cell computes is defined in `memexp.models.cells`; these are the same equations, and the chain rule for them.
Everything lies in flat arrays, and a step is told where. ``layer`` (`memexp.compiled.layout.LAYER`) has the sizes:
B rows of a batch, D units (``padded``: rounded up to whole vectors; the padding is zero and stays zero), and the column
of each gate in the N = G D of a row.

    gates      [B, N]: x W + b + h U before the forward step, the gates after it; the backward step leaves there the
               gradient of what was before.
    before     [B, D]: the state before the step; likewise ``after``, ``cell_before`` and ``cell_after``.
    stash      [B, ...]: what the forward step leaves for the backward step.
    d_hidden   [B, D]: the gradient of the state after the step; the backward step leaves there that of the state before
               it, but for what goes through U. Likewise ``d_cell``.
"""

from typing import Any

from memexp.compiled.functions import exp, sigmoid, tanh
from memexp.compiled.layout import KINDS, LANES, OPEN
from memexp.compiled.vectors import at_least, at_most, compiled, fma, full, if_above_0, load, store

SRN, RESIDUAL_SRN, LSTM, GRU, MINGRU, MINLSTM, IRNN, INDRNN, DIAGONAL, LSTM_1997 = range(len(KINDS))


@compiled
def srn(layer: Any, B: int, work: Any, gates: int, before: int, after: int) -> None:
    """h_t = tanh(pre); residual: h_{t-1} + tanh(pre)."""
    D, residual = layer.padded, layer.kind == RESIDUAL_SRN
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            candidate = tanh(load(work, row + j))
            store(work, row + j, candidate)
            store(work, after + unit + j, load(work, before + unit + j) + candidate if residual else candidate)


@compiled
def srn_backward(layer: Any, B: int, work: Any, gates: int, d_hidden: int) -> None:
    """Backward step of `srn`."""
    D, residual = layer.padded, layer.kind == RESIDUAL_SRN
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            candidate, d = load(work, row + j), load(work, d_hidden + unit + j)
            store(work, row + j, d * (1.0 - candidate * candidate))
            if not residual:
                store(work, d_hidden + unit + j, full(d, 0.0))


@compiled
def irnn(layer: Any, B: int, work: Any, gates: int, after: int) -> None:
    """h_t = max(0, pre)."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            h = at_least(load(work, row + j), 0.0)
            store(work, row + j, h)
            store(work, after + unit + j, h)


@compiled
def irnn_backward(layer: Any, B: int, work: Any, gates: int, d_hidden: int) -> None:
    """Backward step of `irnn`; the slope at 0 is 0, as torch's."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            d = load(work, d_hidden + unit + j)
            store(work, row + j, if_above_0(load(work, row + j), d))
            store(work, d_hidden + unit + j, full(d, 0.0))


@compiled
def indrnn(layer: Any, B: int, weights: Any, u: int, work: Any, gates: int, before: int, after: int) -> None:
    """h_t = max(0, pre + u h_{t-1})."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            h = at_least(fma(load(weights, u + j), load(work, before + unit + j), load(work, row + j)), 0.0)
            store(work, row + j, h)
            store(work, after + unit + j, h)


@compiled
def indrnn_backward(
    layer: Any, B: int, weights: Any, u: int, work: Any, d_u: int, gates: int, before: int, d_hidden: int
) -> None:
    """Backward step of `indrnn`."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            d = if_above_0(load(work, row + j), load(work, d_hidden + unit + j))
            store(work, row + j, d)
            _add(work, d_u + j, d * load(work, before + unit + j))
            store(work, d_hidden + unit + j, d * load(weights, u + j))


@compiled
def lstm(
    layer: Any, B: int, weights: Any, P: int, work: Any,
    gates: int, before: int, after: int, cell_before: int, cell_after: int, stash: int,
) -> None:  # fmt: skip
    """c_t = F c_{t-1} + I C~, h_t = O tanh(c_t), in all variants; stash: tanh(c_t), [B, D]."""
    D, N, coupled, peephole = layer.padded, layer.columns, layer.coupled, layer.peephole
    input_gate, forget_gate, output_gate = layer.input_gate, layer.forget_gate, layer.output_gate
    for b in range(B):
        row, unit = gates + b * N, b * D
        for j in range(0, D, LANES):
            place, c = row + j, load(work, cell_before + unit + j)
            i = f = o = full(c, 1.0)
            if forget_gate != OPEN:
                pre = load(work, place + forget_gate)
                f = sigmoid(fma(load(weights, P + D + j), c, pre) if peephole else pre)
                store(work, place + forget_gate, f)
            if input_gate != OPEN:
                pre = load(work, place + input_gate)
                i = sigmoid(fma(load(weights, P + j), c, pre) if peephole else pre)
                store(work, place + input_gate, i)
            if coupled:
                i = 1.0 - f
            candidate = tanh(load(work, place + layer.candidate))
            store(work, place + layer.candidate, candidate)
            c = fma(f, c, i * candidate)
            store(work, cell_after + unit + j, c)
            if output_gate != OPEN:
                pre = load(work, place + output_gate)
                o = sigmoid(fma(load(weights, P + 2 * D + j), c, pre) if peephole else pre)
                store(work, place + output_gate, o)
            squashed = tanh(c)
            store(work, stash + unit + j, squashed)
            store(work, after + unit + j, o * squashed)


@compiled
def _kept(work: Any, column: int, place: int, like: Any) -> Any:
    return full(like, 1.0) if column == OPEN else load(work, place + column)


@compiled
def _add(work: Any, place: int, vector: Any) -> None:
    store(work, place, load(work, place) + vector)


@compiled
def lstm_backward(
    layer: Any, B: int, weights: Any, P: int, work: Any, d_P: int,
    gates: int, cell_before: int, cell_after: int, stash: int, d_hidden: int, d_cell: int,
) -> None:  # fmt: skip
    """Backward step of `lstm`; a gate that is 1 has no slope."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            place = row + j
            d, d_c, c = (
                load(work, d_hidden + unit + j),
                load(work, d_cell + unit + j),
                load(work, cell_before + unit + j),
            )
            squashed, candidate = load(work, stash + unit + j), load(work, place + layer.candidate)
            f, o = _kept(work, layer.forget_gate, place, d), _kept(work, layer.output_gate, place, d)
            i = 1.0 - f if layer.coupled else _kept(work, layer.input_gate, place, d)
            d_o = d * squashed * (o * (1.0 - o))
            d_c = fma(d * o, 1.0 - squashed * squashed, d_c)
            if layer.peephole:
                d_c = fma(d_o, load(weights, P + 2 * D + j), d_c)
            d_i = d_c * candidate * (i * (1.0 - i))
            d_f = d_c * (c - candidate if layer.coupled else c) * (f * (1.0 - f))
            d_before = d_c * f
            if layer.peephole:
                d_before = fma(d_f, load(weights, P + D + j), fma(d_i, load(weights, P + j), d_before))
                _add(work, d_P + j, d_i * c)
                _add(work, d_P + D + j, d_f * c)
                _add(work, d_P + 2 * D + j, d_o * load(work, cell_after + unit + j))
            if layer.input_gate != OPEN:
                store(work, place + layer.input_gate, d_i)
            if layer.forget_gate != OPEN:
                store(work, place + layer.forget_gate, d_f)
            if layer.output_gate != OPEN:
                store(work, place + layer.output_gate, d_o)
            store(work, place + layer.candidate, d_c * i * (1.0 - candidate * candidate))
            store(work, d_cell + unit + j, d_before)
            store(work, d_hidden + unit + j, full(d, 0.0))


@compiled
def lstm_1997(
    layer: Any, B: int, work: Any, gates: int, before: int, after: int, cell_before: int, cell_after: int, stash: int
) -> None:
    """c_t = c_{t-1} + I (4 sigmoid(.) - 2), h_t = O (2 sigmoid(c_t) - 1); stash: what O multiplies, [B, D]."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            i, o = sigmoid(load(work, row + j)), sigmoid(load(work, row + D + j))
            candidate = 4.0 * sigmoid(load(work, row + 2 * D + j)) - 2.0
            c = fma(i, candidate, load(work, cell_before + unit + j))
            squashed = 2.0 * sigmoid(c) - 1.0
            store(work, row + j, i)
            store(work, row + D + j, o)
            store(work, row + 2 * D + j, candidate)
            store(work, cell_after + unit + j, c)
            store(work, stash + unit + j, squashed)
            store(work, after + unit + j, o * squashed)


@compiled
def lstm_1997_backward(layer: Any, B: int, work: Any, gates: int, stash: int, d_hidden: int, d_cell: int) -> None:
    """Backward step of `lstm_1997`; the state before it has the same d_cell."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            i, o, candidate = load(work, row + j), load(work, row + D + j), load(work, row + 2 * D + j)
            d, squashed = load(work, d_hidden + unit + j), load(work, stash + unit + j)
            d_c = fma(d * o, 0.5 * (1.0 - squashed * squashed), load(work, d_cell + unit + j))
            store(work, row + j, d_c * candidate * (i * (1.0 - i)))
            store(work, row + D + j, d * squashed * (o * (1.0 - o)))
            store(work, row + 2 * D + j, d_c * i * (1.0 - 0.25 * candidate * candidate))
            store(work, d_cell + unit + j, d_c)
            store(work, d_hidden + unit + j, full(d, 0.0))


@compiled
def gru_gates(layer: Any, B: int, work: Any, gates: int, before: int, stash: int) -> None:
    """R and Z; where R acts before the product, stash: R h_{t-1}, [B, D]."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            reset = sigmoid(load(work, row + j))
            store(work, row + j, reset)
            store(work, row + D + j, sigmoid(load(work, row + D + j)))
            if not layer.reset_after:
                store(work, stash + unit + j, reset * load(work, before + unit + j))


@compiled
def gru(layer: Any, B: int, work: Any, gates: int, before: int, after: int, stash: int) -> None:
    """h_t = Z h_{t-1} + (1 - Z) H~; where R acts after the product, the stash is h_{t-1} U_H + c."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            pre = load(work, row + 2 * D + j)
            if layer.reset_after:
                pre = fma(load(work, row + j), load(work, stash + unit + j), pre)
            candidate, update, h = tanh(pre), load(work, row + D + j), load(work, before + unit + j)
            store(work, row + 2 * D + j, candidate)
            store(work, after + unit + j, fma(update, h - candidate, candidate))


@compiled
def gru_backward(layer: Any, B: int, work: Any, gates: int, before: int, stash: int, d_hidden: int) -> None:
    """Backward step of Z and H~ and, where R acts after the product, of R: the stash becomes d(h_{t-1} U_H + c)."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            update, candidate = load(work, row + D + j), load(work, row + 2 * D + j)
            d, h = load(work, d_hidden + unit + j), load(work, before + unit + j)
            d_candidate = d * (1.0 - update) * (1.0 - candidate * candidate)
            store(work, row + D + j, d * (h - candidate) * (update * (1.0 - update)))
            store(work, row + 2 * D + j, d_candidate)
            store(work, d_hidden + unit + j, d * update)
            if layer.reset_after:
                reset, inner = load(work, row + j), load(work, stash + unit + j)
                store(work, row + j, d_candidate * inner * (reset * (1.0 - reset)))
                store(work, stash + unit + j, d_candidate * reset)


@compiled
def gru_reset_backward(layer: Any, B: int, work: Any, gates: int, before: int, d_inner: int, d_hidden: int) -> None:
    """Backward step of R where it acts before the product; d_inner [B, D] is the gradient of R h_{t-1}."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            reset, d = load(work, row + j), load(work, d_inner + unit + j)
            store(work, row + j, d * load(work, before + unit + j) * (reset * (1.0 - reset)))
            _add(work, d_hidden + unit + j, d * reset)


@compiled
def mingru(layer: Any, B: int, work: Any, gates: int, before: int, after: int) -> None:
    """h_t = (1 - Z) h_{t-1} + Z H~."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            update, h = sigmoid(load(work, row + j)), load(work, before + unit + j)
            store(work, row + j, update)
            store(work, after + unit + j, fma(update, load(work, row + D + j) - h, h))


@compiled
def mingru_backward(layer: Any, B: int, work: Any, gates: int, before: int, d_hidden: int) -> None:
    """Backward step of `mingru`."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            update, candidate = load(work, row + j), load(work, row + D + j)
            d, h = load(work, d_hidden + unit + j), load(work, before + unit + j)
            store(work, row + j, d * (candidate - h) * (update * (1.0 - update)))
            store(work, row + D + j, d * update)
            store(work, d_hidden + unit + j, d * (1.0 - update))


@compiled
def diagonal(layer: Any, B: int, work: Any, gates: int, before: int, after: int) -> None:
    """h_t = a h_{t-1} + x W + b with a = lowest + (1 - lowest) F."""
    D, lowest = layer.padded, layer.lowest
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            forget = sigmoid(load(work, row + j))
            keep = fma(forget, 1.0 - lowest, full(forget, lowest))
            store(work, row + j, forget)
            store(work, after + unit + j, fma(keep, load(work, before + unit + j), load(work, row + D + j)))


@compiled
def diagonal_backward(layer: Any, B: int, work: Any, gates: int, before: int, d_hidden: int) -> None:
    """Backward step of `diagonal`."""
    D, lowest = layer.padded, layer.lowest
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            forget, d = load(work, row + j), load(work, d_hidden + unit + j)
            slope = forget * (1.0 - forget) * (1.0 - lowest)
            store(work, row + j, d * load(work, before + unit + j) * slope)
            store(work, row + D + j, d)
            store(work, d_hidden + unit + j, d * fma(forget, 1.0 - lowest, full(forget, lowest)))


MOST = 80.0  # of the exponent of e: the sum of two such powers is still a number


@compiled
def minlstm(layer: Any, B: int, work: Any, gates: int, before: int, after: int, stash: int) -> None:
    """h_t = F h_{t-1} + I H~ with F + I = 1; stash: 1 - sigmoid of what the two gates see, [B, 2, D].

    I = sigma(a) / (sigma(a) + sigma(b)) = (1 + e^-b) / ((1 + e^-a) + (1 + e^-b)), and F the other part.
    """
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            shut_i = exp(at_most(-load(work, row + j), MOST))
            shut_f = exp(at_most(-load(work, row + D + j), MOST))
            total = (1.0 + shut_i) + (1.0 + shut_f)
            i, f = (1.0 + shut_f) / total, (1.0 + shut_i) / total
            store(work, row + j, i)
            store(work, row + D + j, f)
            store(work, stash + 2 * unit + j, shut_i / (1.0 + shut_i))
            store(work, stash + 2 * unit + D + j, shut_f / (1.0 + shut_f))
            h = fma(f, load(work, before + unit + j), i * load(work, row + 2 * D + j))
            store(work, after + unit + j, h)


@compiled
def minlstm_backward(layer: Any, B: int, work: Any, gates: int, before: int, stash: int, d_hidden: int) -> None:
    """Backward step of `minlstm`: I is the sigmoid of ln sigma(a) - ln sigma(b)."""
    D = layer.padded
    for b in range(B):
        row, unit = gates + b * layer.columns, b * D
        for j in range(0, D, LANES):
            i, f, candidate = load(work, row + j), load(work, row + D + j), load(work, row + 2 * D + j)
            d, h = load(work, d_hidden + unit + j), load(work, before + unit + j)
            d_odds = d * (candidate - h) * (i * f)
            store(work, row + j, d_odds * load(work, stash + 2 * unit + j))
            store(work, row + D + j, -(d_odds * load(work, stash + 2 * unit + D + j)))
            store(work, row + 2 * D + j, d * i)
            store(work, d_hidden + unit + j, d * f)
