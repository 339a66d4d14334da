"""Engines: what does an update, and answers. The runner gets one and knows no optimiser, no gradient and no device.

An engine trains all S seeds of a model; whatever mixes parameters is done for each seed on its own. `TorchEngine` runs
any model on any device; `memexp.compiled.engine.CompiledEngine` is faster where it is at home. Axis letters as in
`memexp.models.cells`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from memexp.tasks.metrics import Loss, Mean
from memexp.tasks.task import Rows

#: Time steps that are read at once, where a row may be read in pieces: the whole row if it has no more than the first
#: number, else the second. (The order in which float32 numbers are added differs; short texts keep the scores of their
#: records.)
WHOLE_STEPS, STEPS_AT_ONCE = 400, 64

EPSILON = 1e-8  # that Adam adds to its divisor, torch's default

Answered = tuple[Tensor, Tensor, Tensor | None]
"""Answers [S, B, A, K], and their targets and weights, [S or 1, B, A]."""


class Update(NamedTuple):
    """What an update leaves: what was answered before it, and the norms that were asked for, each a value a seed."""

    answered: Answered
    norms: Mapping[str, list[float]]


class Engine(ABC):
    """What trains a model.

    Attributes:
        name: as in ``engine=``.
        model: its parameters have a leading axis S.
        carried: the state that the next rows may go on from, of each direction of each layer; None if there is none.
    """

    name: ClassVar[str]

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.carried: list[tuple[Tensor, ...]] | None = None
        first = next(model.parameters())
        self.seeds, self.device = len(first), first.device

    @abstractmethod
    def update(self, rows: Rows) -> Update:
        """Do one update on a batch; the gradients of the seeds stay apart."""

    @abstractmethod
    def answer(self, rows: Rows) -> Answered:
        """Answer rows from their start, or from the state that is carried where they go on; nothing is learnt."""

    def read(self, rows: Rows) -> Iterator[Answered]:
        """Answer rows from their start, all at once or in pieces."""
        yield self.answer(rows)

    def values(self, mean: type[Mean], answers: Tensor, targets: Tensor) -> Tensor:
        """Return the values of which a loss or metric is the mean, [S, B, A]."""
        return mean.values(answers, targets)

    @abstractmethod
    def optimizer_state(self) -> dict[str, Any]:
        """Return what the optimiser has to remember, for a checkpoint; ``state`` holds tensors [S, ...]."""

    @abstractmethod
    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Take back what `optimizer_state` returned."""


class TorchEngine(Engine):
    """Train and evaluate a model by torch's operations and its autograd.

    Args:
        model: maps inputs [S or 1, B, L] to answers [S, B, A, K].
        optimizer: over the model's parameters.
        loss: what training makes small.
        reduction: the loss of a batch is the ``mean`` over its answers, or their ``sum``.
        clip: clip gradients to this; None for no clipping.
        clip_by: see `clip_gradients`.
        watched: parameters whose gradients' norms are noted at every update, as ``gradient_norm.<name>`` and
            ``clipped_gradient_norm.<name>``.
    """

    name = "torch"

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: type[Loss],
        reduction: str,
        clip: float | None,
        clip_by: str,
        watched: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        super().__init__(model)
        self.optimizer, self.loss, self.reduction, self.clip, self.clip_by = optimizer, loss, reduction, clip, clip_by
        self.watched = watched or {}
        self._parameters = list(model.parameters())

    def update(self, rows: Rows) -> Update:
        """Do one update; the losses of the seeds are summed, so that their gradients stay apart."""
        for parameter in self._parameters:
            parameter.grad = None
        answers, targets, weights = self._answer(rows)
        self._loss(answers, targets, weights).backward()  # type: ignore[no-untyped-call]
        norms = self._norms("gradient_norm")
        if self.clip is not None:
            clip_gradients(self._parameters, self.clip, self.clip_by)
        norms |= self._norms("clipped_gradient_norm")
        self.optimizer.step()
        return Update((answers.detach(), targets, weights), norms)

    @torch.no_grad()
    def answer(self, rows: Rows) -> Answered:
        """Answer rows; see `Engine.answer`."""
        return self._answer(rows)

    def _answer(self, rows: Rows) -> Answered:
        rows = rows.to(self.device)
        if rows.continues is None:
            answers = self.model(rows.inputs)
        else:
            before = self.carried if rows.continues else None
            answers, states = self.model.answer(rows.inputs, before)  # type: ignore[operator]
            self.carried = [tuple(part.detach() for part in state) for state in states]
        return answers, rows.targets, rows.weights

    @torch.no_grad()
    def read(self, rows: Rows) -> Iterator[Answered]:
        """Answer rows from their start: all at once, or long ones piece by piece where that is the same."""
        steps = rows.targets.shape[-1]
        if not rows.in_pieces or steps <= WHOLE_STEPS:
            yield self.answer(rows)
            return
        states = None
        for start in range(0, steps, STEPS_AT_ONCE):
            piece = rows.steps(start, start + STEPS_AT_ONCE).to(self.device)
            answers, states = self.model.answer(piece.inputs, states)  # type: ignore[operator]
            yield answers, piece.targets, piece.weights

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self.optimizer.state_dict()

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.optimizer.load_state_dict(state)

    def _loss(self, answers: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Return the sum over seeds of the loss of each: the mean or the sum over the answers that are asked."""
        values = self.loss.values(answers, targets)  # [S, B, A]
        if weights is None:
            return values.sum() / (values[0].numel() if self.reduction == "mean" else 1)
        weights = weights.to(values.dtype).expand_as(values)
        by_seed, count = (values * weights).flatten(1).sum(1), weights.flatten(1).sum(1)
        count = count.where(count > 0, 1)  # a seed that is asked nothing has no loss
        return (by_seed / count if self.reduction == "mean" else by_seed).sum()

    def _norms(self, what: str) -> dict[str, list[float]]:
        return {f"{what}.{name}": norms for name, norms in gradient_norms(self.watched).items()}


def clip_gradients(parameters: list[nn.Parameter], largest: float, by: str = "global") -> None:
    """Scale down the gradients of each seed that are too large (6.2.2).

    Args:
        parameters: with gradients [S, ...].
        largest: what is allowed.
        by: ``global``: the L2 norm over all parameters of a seed (as torch); ``tensor``: that of each parameter (the
            book); ``value``: the size of every single number, which changes the gradient's direction too.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if by == "value":
        for gradient in gradients:
            gradient.clamp_(-largest, largest)
        return
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients])  # [parameters, S]
    norms = (squares.sum(0, keepdim=True) if by == "global" else squares).sqrt().expand_as(squares)
    for gradient, norm in zip(gradients, norms, strict=True):
        scale = (largest / (norm + 1e-6)).clamp(max=1)
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def gradient_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, list[float]]:
    """Return the L2 norm of each parameter's gradient, for each seed."""
    return {name: p.grad.flatten(1).norm(dim=1).tolist() for name, p in parameters.items() if p.grad is not None}
