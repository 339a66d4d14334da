"""Which sequences a measure reads, where a task has more of them than there is time for."""

import torch
from torch import Tensor

from memexp.tasks.task import Task, generator


def drawn(weights: Tensor, most: int) -> Tensor:
    """Draw places with these probabilities, [N] -> [most], the same ones at every call.

    They are drawn in strata: the probabilities are laid side by side, and one place is drawn in each of so many parts
    of the same size. (Of all inputs of digit sums, which are in the order of their pairs, every pair so has its share.)
    """
    within = torch.rand(most, dtype=torch.float64, generator=generator(0, "sequences", most))
    places = torch.searchsorted(weights.cumsum(0), (torch.arange(most) + within) / most)
    return places.clamp(max=len(weights) - 1)


def some_sequences(task: Task, most: int) -> tuple[Tensor, Tensor]:
    """Return sequences of a task with weights that sum to 1: all inputs there are, or a fixed sample of them.

    Of a running text they are its pieces, as long as those that were trained on.

    Args:
        task: with its data.
        most: how many sequences at most, N.

    Returns:
        Inputs [N, L] or [N, L, M], and weights [N], float64.
    """
    text, _ = task.running_text()
    if len(text):
        inputs = text[: len(text) // task.length * task.length].view(-1, task.length)
        weights = torch.full((len(inputs),), 1 / len(inputs), dtype=torch.float64)
    else:
        rows = task.distribution()
        inputs, weights = rows.inputs, rows.row_weights()
    if len(inputs) <= most:
        return inputs, weights
    return inputs[drawn(weights, most)], torch.full((most,), 1 / most, dtype=torch.float64)
