"""The same recurrences as the cells of `memexp.models`, with hand-written backward passes.

The cells, stepped one time step after the other, are the definition. What is here computes the same outputs
and gradients (tests/test_recurrence.py: within 1e-12 in float64) at about half the cost on a CPU, because
the factors of the chain rule that do not depend on later steps are computed for all time steps at once, and
the gradient of U is one product over all steps instead of L small ones.

Axis letters as in `memexp.models`: S seeds, G gates, L time, B batch, D hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

FunctionCtx = Any  # torch types this as FunctionCtx without save_for_backward's attributes


def _recurrent_weight_gradient(hidden: Tensor, pre_gradient: Tensor) -> Tensor:
    """Sum h_{t-1}^T dpre_t over time and batch: [S, L, B, D] x [S, G, L, B, D] -> [S, G, D, D]."""
    S, _, L, B, D = pre_gradient.shape
    previous = hidden.reshape(S, L * B, D).transpose(1, 2)
    return torch.stack([previous @ gate.reshape(S, L * B, D) for gate in pre_gradient.unbind(1)], 1)


class _SRN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, projected: Tensor, U: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        S, _, L, B, D = projected.shape
        hidden = projected.new_empty(S, L + 1, B, D)
        hidden[:, 0] = h0
        weight = U[:, 0]
        steps = hidden.unbind(1)
        pre = projected.new_empty(S, B, D)
        minus_one = projected.new_tensor(-1.0)
        for t, x in enumerate(projected[:, 0].unbind(1)):
            # tanh(z) = 2 sigmoid(2z) - 1: on a CPU torch's sigmoid is several times as fast as its tanh. The two
            # differ by the rounding of a number near 1.
            torch.baddbmm(x, steps[t], weight, beta=2, alpha=2, out=pre)
            pre.sigmoid_()
            torch.add(minus_one, pre, alpha=2, out=steps[t + 1])
        ctx.save_for_backward(hidden, U)
        return hidden[:, 1:], steps[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_outputs: Tensor | None, d_last: Tensor | None) -> tuple[Tensor, ...]:
        hidden, U = ctx.saved_tensors
        outputs = hidden[:, 1:]
        S, L, B, D = outputs.shape
        slope = torch.addcmul(torch.ones((), dtype=U.dtype, device=U.device), outputs, outputs, value=-1).unbind(1)
        d_pre = U.new_empty(S, 1, L, B, D)
        d_steps = d_pre[:, 0].unbind(1)
        d_outputs_steps = None if d_outputs is None else d_outputs.unbind(1)
        U_T = U[:, 0].transpose(1, 2).contiguous()
        d_hidden = U.new_zeros(S, B, D) if d_last is None else d_last.contiguous().clone()
        for t in reversed(range(L)):
            if d_outputs_steps is not None:
                d_hidden += d_outputs_steps[t]
            torch.mul(d_hidden, slope[t], out=d_steps[t])
            torch.bmm(d_steps[t], U_T, out=d_hidden)
        return d_pre, _recurrent_weight_gradient(hidden[:, :-1], d_pre), d_hidden


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, projected: Tensor, U: Tensor, h0: Tensor, c0: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        S, G, L, B, D = projected.shape
        gates = projected.new_empty(S, G, L, B, D)  # I, F, O, C~ after their nonlinearity
        hidden = projected.new_empty(S, L + 1, B, D)
        cell = projected.new_empty(S, L + 1, B, D)
        squashed = projected.new_empty(S, L, B, D)  # tanh(c_t)
        hidden[:, 0], cell[:, 0] = h0, c0

        # One copy of h for each gate, so that all gates are one batched product over S * G matrices.
        h = h0[:, None].expand(S, G, B, D).contiguous()
        pre = torch.empty_like(h)
        pre_flat, h_flat, weight = pre.view(S * G, B, D), h.view(S * G, B, D), U.reshape(S * G, D, D)
        pre_sigmoid, pre_candidate, h_once = pre[:, :3], pre[:, 3], h[:, 0]
        # All views are taken before the loop: inside it only arithmetic is left.
        x_steps = projected.reshape(S * G, L, B, D).unbind(1)
        sigmoids = gates[:, :3].unbind(2)
        i, f, _, candidate = (gate.unbind(1) for gate in gates.unbind(1))
        o_each = gates[:, 2:3].expand(S, G, L, B, D).unbind(2)
        squashed_each = squashed[:, None].expand(S, G, L, B, D).unbind(2)
        h_steps, c_steps, squashed_steps = hidden.unbind(1), cell.unbind(1), squashed.unbind(1)
        for t in range(L):
            torch.baddbmm(x_steps[t], h_flat, weight, out=pre_flat)
            torch.sigmoid(pre_sigmoid, out=sigmoids[t])
            torch.tanh(pre_candidate, out=candidate[t])
            torch.mul(f[t], c_steps[t], out=c_steps[t + 1])
            c_steps[t + 1].addcmul_(i[t], candidate[t])
            torch.tanh(c_steps[t + 1], out=squashed_steps[t])
            torch.mul(o_each[t], squashed_each[t], out=h)
            h_steps[t + 1].copy_(h_once)
        ctx.save_for_backward(gates, U, hidden, cell, squashed)
        return hidden[:, 1:], h_steps[-1].clone(), c_steps[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_outputs: Tensor | None, d_last: Tensor | None, d_cell_last: Tensor | None
    ) -> tuple[Tensor, ...]:
        gates, U, hidden, cell, squashed = ctx.saved_tensors
        S, G, L, B, D = gates.shape
        i, f, o, candidate = gates.unbind(1)

        # What the chain rule multiplies by, for all time steps at once:
        #   d pre_I = dc C~ I(1-I),  d pre_F = dc c_{t-1} F(1-F),  d pre_C~ = dc I (1-C~^2),
        #   d pre_O = dh tanh(c) O(1-O),  dc += dh O (1 - tanh(c)^2)
        factor = torch.empty_like(gates)
        torch.mul(candidate, i - i * i, out=factor[:, 0])
        torch.mul(cell[:, :-1], f - f * f, out=factor[:, 1])
        torch.mul(squashed, o - o * o, out=factor[:, 2])
        torch.addcmul(i, i, candidate * candidate, value=-1, out=factor[:, 3])
        through_output = torch.addcmul(o, o, squashed * squashed, value=-1).unbind(1)

        d_pre = torch.empty_like(gates)
        d_flat = d_pre.view(S * G, L, B, D).unbind(1)
        d_steps, d_output_gate = d_pre.unbind(2), d_pre[:, 2].unbind(1)
        factor_steps, factor_output = factor.unbind(2), factor[:, 2].unbind(1)
        forget = f.unbind(1)
        d_outputs_steps = None if d_outputs is None else d_outputs.unbind(1)
        U_T = U.transpose(2, 3).reshape(S * G, D, D)
        d_hidden = U.new_zeros(S, B, D) if d_last is None else d_last.contiguous().clone()
        d_cell = U.new_zeros(S, B, D) if d_cell_last is None else d_cell_last.contiguous().clone()
        d_cell_each = d_cell[:, None]
        by_gate = U.new_empty(S, G, B, D)
        by_gate_flat = by_gate.view(S * G, B, D)
        for t in reversed(range(L)):
            if d_outputs_steps is not None:
                d_hidden += d_outputs_steps[t]
            d_cell.addcmul_(d_hidden, through_output[t])
            torch.mul(factor_steps[t], d_cell_each, out=d_steps[t])
            torch.mul(factor_output[t], d_hidden, out=d_output_gate[t])  # O acts on h, not on c
            torch.bmm(d_flat[t], U_T, out=by_gate_flat)
            torch.sum(by_gate, 1, out=d_hidden)
            d_cell *= forget[t]
        return d_pre, _recurrent_weight_gradient(hidden[:, :-1], d_pre), d_hidden, d_cell


def srn(projected: Tensor, U: Tensor, h0: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    """Run h_t = tanh(x_t W + h_{t-1} U + b) over a sequence.

    Args:
        projected: x_t W + b for all time steps, [S, 1, L, B, D].
        U: recurrent weights, [S, 1, D, D].
        h0: initial hidden state, [S, B, D].

    Returns:
        All hidden states, [S, L, B, D], and the last one, [S, B, D], as a 1-tuple.
    """
    outputs, h = _SRN.apply(projected, U, h0)  # type: ignore[no-untyped-call]
    return outputs, (h,)


def lstm(projected: Tensor, U: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run the LSTM's recurrence over a sequence; the gates are in the order I, F, O, C~.

    Args:
        projected: x_t W + b for all gates and time steps, [S, 4, L, B, D].
        U: recurrent weights, [S, 4, D, D].
        h0: initial hidden state, [S, B, D].
        c0: initial cell state, [S, B, D].

    Returns:
        All hidden states, [S, L, B, D], and the last hidden and cell state, [S, B, D] each.
    """
    outputs, h, c = _LSTM.apply(projected, U, h0, c0)  # type: ignore[no-untyped-call]
    return outputs, (h, c)
