"""From gradients to changed weights: norms, clipping, Adam, SGD, of one seed, compiled."""

import math
from typing import Any

from memexp.compiled.layout import LANES
from memexp.compiled.vectors import at_least, at_most, compiled, fma, inlined, load, root, store

GLOBAL, TENSOR, VALUE = range(3)  # how gradients are clipped


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


@inlined
def clip(plan: Any, blocks: Any, work: Any, norms: Any, largest: float, by: int) -> None:
    """Scale down gradients that are too large, as `memexp.training.engines.clip_gradients`."""
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
