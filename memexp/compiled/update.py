"""A whole update of one seed after the other, compiled: forward, loss, backward, optimiser.

Nothing here mixes seeds: a seed costs the same, and is the same bit for bit, alone and in any group.
"""

from typing import Any

from memexp.compiled.backward import backward
from memexp.compiled.forward import forward
from memexp.compiled.loss import loss_backward
from memexp.compiled.optimisers import adam, clip, norms_of, sgd
from memexp.compiled.vectors import compiled, inlined


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
