"""Credit: how much of the gradient of the loss reaches the time step at which something had to be remembered.

What a step writes into the state is a function of x_t W + b, so the gradient with respect to this is what the step is
told of the answer's error. Where it is far smaller than what the optimiser adds to its divisor, `EPSILON`, the updates
are as good as none. Axis letters as in `memexp.models.cells`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memexp.models.cells import Cell, State
from memexp.models.networks import Direction, SequenceModel
from memexp.tasks.metrics import Loss
from memexp.tasks.task import Rows, Task
from memexp.training.engines import EPSILON

ROWS = 8  # of a batch, at most


def row_losses(loss: type[Loss], answers: Tensor, rows: Rows) -> Tensor:
    """Return the loss of each row, [S, B]: the mean over the answers that it is asked; rows have the axis S or 1."""
    values = loss.values(answers, rows.targets)
    if rows.weights is None:
        return values.mean(-1)
    weights = rows.weights.to(values.dtype).expand_as(values)
    return (values * weights).sum(-1) / weights.sum(-1).where(weights.sum(-1) > 0, 1)


def credit(model: SequenceModel, loss: type[Loss], rows: Rows) -> Tensor:
    """Return how much each time step is told of a row's error: ||dLoss / d(x_t W + b)||, [S, B, L], float64.

    The norm is over the gates and units of the first layer, in both directions where it has two. For an LSTM whose
    recurrent layer is all zero it is 0.25 * 0.5^(lag) ||dLoss / dh_L||, the lag being the steps that follow: a half
    through each forget gate, the output gate and the input gate.

    Args:
        model: it is not changed; in float32 what is less than about 1e-45 is 0.
        loss: of the task.
        rows: a batch, with or without the axis of the seeds.
    """
    first: list[Tensor] = []  # what the directions of the first layer read

    def run(direction: Direction, projected: Tensor, state: State) -> tuple[Tensor, State]:
        if len(first) < len(model.stack[0]):
            projected = projected.detach().requires_grad_()
            first.append(projected)
        return direction.run(projected, state)

    rows = rows.with_seed_axis().to(model.device)
    with torch.enable_grad():
        answers, _ = model.answer(rows.inputs, run=run)
        gradients = torch.autograd.grad(row_losses(loss, answers, rows).sum(), first)
    squares = torch.stack([gradient.double().square().sum((1, 4)) for gradient in gradients])  # of [S, G, L, B, D]
    return squares.sum(0).sqrt().transpose(1, 2)


class Credit(NamedTuple):
    """The credit that a run begins with: means over its seeds and the first rows of its first batch.

    Attributes:
        by_step: of each time step, [L].
        first: of the first token of a row that is needed.
    """

    by_step: Tensor
    first: float


def expected(model: SequenceModel, task: Task) -> Credit | None:
    """Return the credit that a run begins with; None where its task does not say what is needed."""
    rows = task.batch(0).with_seed_axis().slice(0, ROWS)
    needed = task.needed(rows.inputs.flatten(0, 1))
    if needed is None:
        return None
    by_step = credit(model, task.loss, rows).cpu()
    needed = needed.view(*rows.inputs.shape[:3]).expand_as(by_step)
    first = needed & (needed.cumsum(-1) == 1)
    return Credit(by_step.mean((0, 1)), float(by_step[first].mean()))


def remedy(cell: Cell) -> str:
    """Say what helps against little credit."""
    if "forget_gate" in cell.gates:
        return "give model.initialiser=chrono, or model.forget_bias=1"
    return "give a smaller length, or a model whose state is kept by a gate: model=lstm model.initialiser=chrono"


def warning(cell: Cell, there: float) -> str | None:
    """Say in a line that the credit at the first token that is needed is too small to learn from; None if it is not."""
    if not there < EPSILON:
        return None
    return (
        f"before training, the first token that has to be remembered gets a gradient of {there:.1e} (norm of "
        f"dLoss/d(x W + b), mean over seeds and rows), under Adam's eps of {EPSILON:g}: it is hardly learnt from; "
        f"{remedy(cell)}"
    )
