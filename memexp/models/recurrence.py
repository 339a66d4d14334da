"""The same recurrences as the cells of `memexp.models.cells`, with hand-written backward passes.

The cells, stepped one time step after the other, are the definition. What is here computes the same outputs
and gradients (tests/models/test_recurrence.py: within 1e-12 in float64) at about half the cost on a CPU, because
the factors of the chain rule that do not depend on later steps are computed for all time steps at once, and
the gradient of U is one product over all steps instead of L small ones.

With many units, memory is what is left beside the products: a buffer as large as all gates of all time steps is made
once in each direction, and what a product gives is written to where it stays.

Axis letters as in `memexp.models.cells`: S seeds, G gates, L time, B batch, D hidden.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OPEN = 40.0
"""What an LSTM's gate sees that is always open: its sigmoid is 1, and its slope 0, in every precision."""

MANY = 2048
"""From so many numbers on `_tanh_of_many` is the faster (measured: as fast at 1,024; at 8,192 three times)."""

FunctionCtx = Any  # torch types this as FunctionCtx without save_for_backward's attributes


def _tanh_of_many(minus_one: Tensor, z: Tensor, out: Tensor) -> None:
    """Compute tanh(z) as 2 sigmoid(2z) - 1: on a CPU torch's sigmoid is several times as fast as its tanh.

    The two differ by the rounding of a number near 1.
    """
    torch.add(z, z, out=out)
    out.sigmoid_()
    torch.add(minus_one, out, alpha=2, out=out)


def _recurrent_weight_gradient(before: Sequence[Tensor], d_after: Sequence[Tensor]) -> Tensor:
    """Sum x_t^T d(x_t U)_t over time and batch: for each gate x and the gradient, [S, L, B, D] each -> [S, G, D, D]."""
    S, _, _, D = before[0].shape
    d_U = before[0].new_empty(len(before), S, D, D)  # gates first: see the comment in the GRU
    for x, gradient, product in zip(before, d_after, d_U, strict=True):
        torch.bmm(x.flatten(1, 2).transpose(1, 2), gradient.flatten(1, 2), out=product)
    return d_U.transpose(0, 1)


class _SRN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, projected: Tensor, U: Tensor, h0: Tensor, residual: bool) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        S, _, L, B, D = projected.shape
        hidden = projected.new_empty(S, L + 1, B, D)
        hidden[:, 0] = h0
        # What the tanh gives: the state itself, or what is added to the state before.
        candidate = projected.new_empty(S, L, B, D) if residual else hidden[:, 1:]
        weight = U[:, 0]
        steps = hidden.unbind(1)
        candidate_steps = candidate.unbind(1) if residual else steps[1:]
        pre = projected.new_empty(S, B, D)
        minus_one = projected.new_tensor(-1.0)
        for t, x in enumerate(projected[:, 0].unbind(1)):
            # tanh(z) = 2 sigmoid(2z) - 1: on a CPU torch's sigmoid is several times as fast as its tanh. The two
            # differ by the rounding of a number near 1.
            torch.baddbmm(x, steps[t], weight, beta=2, alpha=2, out=pre)
            pre.sigmoid_()
            torch.add(minus_one, pre, alpha=2, out=candidate_steps[t])
            if residual:
                torch.add(steps[t], candidate_steps[t], out=steps[t + 1])
        ctx.save_for_backward(hidden, candidate, U)
        ctx.residual = residual
        return hidden[:, 1:], steps[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_outputs: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, candidate, U = ctx.saved_tensors
        S, L, B, D = candidate.shape
        one = torch.ones((), dtype=U.dtype, device=U.device)
        slope = torch.addcmul(one, candidate, candidate, value=-1).unbind(1)
        d_pre = U.new_empty(S, 1, L, B, D)
        d_steps = d_pre[:, 0].unbind(1)
        d_outputs_steps = None if d_outputs is None else d_outputs.unbind(1)
        U_T = U[:, 0].transpose(1, 2).contiguous()
        d_hidden = U.new_zeros(S, B, D) if d_last is None else d_last.contiguous().clone()
        for t in reversed(range(L)):
            if d_outputs_steps is not None:
                d_hidden += d_outputs_steps[t]
            torch.mul(d_hidden, slope[t], out=d_steps[t])
            if ctx.residual:
                d_hidden.baddbmm_(d_steps[t], U_T)
            else:
                torch.bmm(d_steps[t], U_T, out=d_hidden)
        return d_pre, _recurrent_weight_gradient([hidden[:, :-1]], d_pre.unbind(1)), d_hidden, None


class _GRU(torch.autograd.Function):
    # A batched product is fast only if the tensor it is written to is contiguous, whatever the strides of its factors.
    # So what products are written to has time first: [L, ..., S, B, D].

    @staticmethod
    def forward(ctx: FunctionCtx, projected: Tensor, U: Tensor, h0: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        S, G, L, B, D = projected.shape
        gates = projected.new_empty(L, G, S, B, D)  # R, Z, H~ after their nonlinearity
        inner = projected.new_empty(L, S, B, D)  # before: R h_{t-1}; after: h_{t-1} U_H + c, which R multiplies
        hidden = projected.new_empty(S, L + 1, B, D)
        hidden[:, 0] = h0

        reset_weight, update_weight, candidate_weight = U.unbind(1)
        # All views are taken before the loop: inside it only arithmetic is left.
        x_reset, x_update = (x.unbind(1) for x in projected[:, :2].unbind(1))
        x_candidate_twice = (2 * projected[:, 2]).unbind(1)
        reset, update, candidate = (gate.unbind(0) for gate in gates.unbind(1))
        sigmoids, inner_steps, steps = gates[:, :2].unbind(0), inner.unbind(0), hidden.unbind(1)
        minus_one = projected.new_tensor(-1.0)
        for t in range(L):
            torch.baddbmm(x_reset[t], steps[t], reset_weight, out=reset[t])
            torch.baddbmm(x_update[t], steps[t], update_weight, out=update[t])
            sigmoids[t].sigmoid_()
            # Twice what the candidate's tanh sees: tanh(z) = 2 sigmoid(2z) - 1, as in the SRN.
            if c is None:
                torch.mul(reset[t], steps[t], out=inner_steps[t])
                torch.baddbmm(x_candidate_twice[t], inner_steps[t], candidate_weight, alpha=2, out=candidate[t])
            else:
                torch.baddbmm(c, steps[t], candidate_weight, out=inner_steps[t])
                torch.addcmul(x_candidate_twice[t], reset[t], inner_steps[t], value=2, out=candidate[t])
            candidate[t].sigmoid_()
            torch.add(minus_one, candidate[t], alpha=2, out=candidate[t])
            torch.lerp(candidate[t], steps[t], update[t], out=steps[t + 1])  # H~ + Z (h_{t-1} - H~)
        ctx.save_for_backward(gates, inner, hidden, U)
        ctx.reset_after = c is not None
        return hidden[:, 1:], steps[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_outputs: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        gates, inner, hidden, U = ctx.saved_tensors
        L, G, S, B, D = gates.shape
        r, z, candidate = (gate.transpose(0, 1) for gate in gates.unbind(1))  # [S, L, B, D], as all that has no gates
        inner, previous = inner.transpose(0, 1), hidden[:, :-1]

        # What the chain rule multiplies by, for all time steps at once:
        #   d pre_Z = dh (h_{t-1} - H~) Z(1-Z),  d pre_H = dh (1-Z) (1-H~^2),
        #   reset before: d (R h_{t-1}) = d pre_H U_H^T,    d pre_R = d (R h_{t-1}) h_{t-1} R(1-R),
        #   reset after:  d (h_{t-1} U_H + c) = d pre_H R,  d pre_R = d pre_H (h_{t-1} U_H + c) R(1-R)
        # The gradient then takes each factor's place.
        d_pre = U.new_empty(S, G, L, B, D)
        torch.mul(inner if ctx.reset_after else previous, r - r * r, out=d_pre[:, 0])
        torch.mul(previous - candidate, z - z * z, out=d_pre[:, 1])
        slope = 1 - candidate * candidate
        torch.addcmul(slope, z, slope, value=-1, out=d_pre[:, 2])

        # dh of all steps, h_0's first; each starts as what comes from outside and gathers what comes from later steps.
        d_hidden = U.new_zeros(L + 1, S, B, D)
        if d_outputs is not None:
            d_hidden[1:] = d_outputs.transpose(0, 1)
        if d_last is not None:
            d_hidden[-1] += d_last

        d_inner = U.new_empty(L, S, B, D)
        d_reset, d_update, d_candidate = (d_gate.unbind(1) for d_gate in d_pre.unbind(1))
        d_direct = d_pre[:, 1:].transpose(0, 1).unbind(2)  # of Z and H~, which act on h itself
        d_steps, d_inner_steps = d_hidden.unbind(0), d_inner.unbind(0)
        reset, update = r.unbind(1), z.unbind(1)
        reset_weight, update_weight, candidate_weight = U.transpose(2, 3).contiguous().unbind(1)
        for t in reversed(range(L)):
            d_direct[t].mul_(d_steps[t + 1])
            d_steps[t].addcmul_(d_steps[t + 1], update[t])
            if ctx.reset_after:
                torch.mul(d_candidate[t], reset[t], out=d_inner_steps[t])
                d_reset[t].mul_(d_candidate[t])
                d_steps[t].baddbmm_(d_inner_steps[t], candidate_weight)
            else:
                torch.bmm(d_candidate[t], candidate_weight, out=d_inner_steps[t])
                d_reset[t].mul_(d_inner_steps[t])
                d_steps[t].addcmul_(d_inner_steps[t], reset[t])
            d_steps[t].baddbmm_(d_reset[t], reset_weight)
            d_steps[t].baddbmm_(d_update[t], update_weight)

        # U_H stands between R h_{t-1} and pre_H, or between h_{t-1} and the product that R acts on.
        into_product, d_product = (previous, d_inner.transpose(0, 1)) if ctx.reset_after else (inner, d_pre[:, 2])
        d_U = _recurrent_weight_gradient((previous, previous, into_product), (d_pre[:, 0], d_pre[:, 1], d_product))
        d_c = d_inner.sum((0, 2))[:, None] if ctx.reset_after else None
        return d_pre, d_U, d_steps[0], d_c


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
        # Whatever S, so that a seed is the same alone and in a group.
        tanh = torch.tanh if B * D < MANY else partial(_tanh_of_many, projected.new_tensor(-1.0))
        for t in range(L):
            torch.baddbmm(x_steps[t], h_flat, weight, out=pre_flat)
            torch.sigmoid(pre_sigmoid, out=sigmoids[t])
            tanh(pre_candidate, out=candidate[t])
            torch.mul(f[t], c_steps[t], out=c_steps[t + 1])
            c_steps[t + 1].addcmul_(i[t], candidate[t])
            tanh(c_steps[t + 1], out=squashed_steps[t])
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
        # The gradient then takes each factor's place.
        d_pre = torch.empty_like(gates)
        torch.mul(gates, gates, out=d_pre)
        torch.sub(gates[:, :3], d_pre[:, :3], out=d_pre[:, :3])
        for gate, acts_on in enumerate((candidate, cell[:, :-1], squashed)):
            d_pre[:, gate] *= acts_on
        torch.addcmul(i, i, d_pre[:, 3], value=-1, out=d_pre[:, 3])
        through_output = torch.addcmul(o, o, squashed * squashed, value=-1).unbind(1)

        d_flat = d_pre.view(S * G, L, B, D).unbind(1)
        d_input_forget, d_output_candidate = d_pre[:, :2].unbind(2), d_pre[:, 2:].unbind(2)
        forget = f.unbind(1)
        d_outputs_steps = None if d_outputs is None else d_outputs.unbind(1)
        U_T = U.transpose(2, 3).reshape(S * G, D, D)
        # O acts on h, the other gates on c: side by side, dh and dc meet two gates each.
        d_state = U.new_zeros(S, 2, B, D)
        d_hidden, d_cell = d_state.unbind(1)
        for own, last in ((d_hidden, d_last), (d_cell, d_cell_last)):
            if last is not None:
                own += last
        d_cell_each = d_state[:, 1:]
        by_gate = U.new_empty(S, G, B, D)
        by_gate_flat = by_gate.view(S * G, B, D)
        for t in reversed(range(L)):
            if d_outputs_steps is not None:
                d_hidden += d_outputs_steps[t]
            d_cell.addcmul_(d_hidden, through_output[t])
            d_input_forget[t].mul_(d_cell_each)
            d_output_candidate[t].mul_(d_state)
            torch.bmm(d_flat[t], U_T, out=by_gate_flat)
            torch.sum(by_gate, 1, out=d_hidden)
            d_cell *= forget[t]
        return d_pre, _recurrent_weight_gradient([hidden[:, :-1]] * G, d_pre.unbind(1)), d_hidden, d_cell


def srn(projected: Tensor, U: Tensor, h0: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    """Run h_t = tanh(x_t W + h_{t-1} U + b) over a sequence.

    Args:
        projected: x_t W + b for all time steps, [S, 1, L, B, D].
        U: recurrent weights, [S, 1, D, D].
        h0: initial hidden state, [S, B, D].

    Returns:
        All hidden states, [S, L, B, D], and the last one, [S, B, D], as a 1-tuple.
    """
    outputs, h = _SRN.apply(projected, U, h0, False)  # type: ignore[no-untyped-call]
    return outputs, (h,)


def residual_srn(projected: Tensor, U: Tensor, h0: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    """Run h_t = h_{t-1} + tanh(x_t W + h_{t-1} U + b) over a sequence; arguments and result as for `srn`."""
    outputs, h = _SRN.apply(projected, U, h0, True)  # type: ignore[no-untyped-call]
    return outputs, (h,)


def gru(projected: Tensor, U: Tensor, h0: Tensor, c: Tensor | None) -> tuple[Tensor, tuple[Tensor]]:
    """Run the GRU's recurrence over a sequence; the gates are in the order R, Z, H~.

    Args:
        projected: x_t W + b for all gates and time steps, [S, 3, L, B, D].
        U: recurrent weights, [S, 3, D, D].
        h0: initial hidden state, [S, B, D].
        c: bias of the recurrent product, [S, 1, D], if R acts after it; None if R acts before it.

    Returns:
        All hidden states, [S, L, B, D], and the last one, [S, B, D], as a 1-tuple.
    """
    outputs, h = _GRU.apply(projected, U, h0, c)  # type: ignore[no-untyped-call]
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


def linear(keep: Tensor, write: Tensor, h0: Tensor) -> Tensor:
    """Solve h_t = keep_t h_{t-1} + write_t for all time steps at once, in ceil(log2 L) passes (Hillis and Steele 1986).

    Two steps in a row are again one of that form, so each pass joins every step with the one 1, 2, 4, ... before it.

    Args:
        keep: [S, L, B, D].
        write: [S, L, B, D].
        h0: initial hidden state, [S, B, D].

    Returns:
        All hidden states, [S, L, B, D].
    """
    L = keep.shape[1]
    reach = 1
    while reach < L:
        before, own = slice(None, L - reach), slice(reach, None)
        write = torch.cat([write[:, :reach], torch.addcmul(write[:, own], keep[:, own], write[:, before])], 1)
        keep = torch.cat([keep[:, :reach], keep[:, own] * keep[:, before]], 1)
        reach *= 2
    return torch.addcmul(write, keep, h0[:, None])
