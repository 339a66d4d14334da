"""Which sequences a measure reads, where a task has more of them than there is time for."""

import torch
from torch import Tensor

from memexp.tasks.task import Task, generator


def some_sequences(task: Task, most: int) -> tuple[Tensor, Tensor]:
    """Return sequences of a task with weights that sum to 1: all inputs there are, or a fixed sample of them.

    Of a running text they are its pieces, as long as those that were trained on. The sample is drawn in strata: the
    probabilities are laid side by side, in the order of the task, and one place is drawn in each of so many parts of
    the same size. (Of digit sums every pair of digits so has its share.)

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
    within = torch.rand(most, dtype=torch.float64, generator=generator(0, "sequences", most))
    places = torch.searchsorted(weights.cumsum(0), (torch.arange(most) + within) / most)
    return inputs[places.clamp(max=len(inputs) - 1)], torch.full((most,), 1 / most, dtype=torch.float64)
