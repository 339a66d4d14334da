"""The loss and its gradient, compiled; arguments as in `memexp.compiled.forward`."""

from typing import Any

import numpy as np

from memexp.compiled.functions import exp, log
from memexp.compiled.layout import LANES
from memexp.compiled.products import clear
from memexp.compiled.vectors import compiled, full, inlined, load, store


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
