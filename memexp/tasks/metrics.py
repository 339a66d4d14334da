"""Losses and metrics: reset, update with batches, compute. Sums over weights, so that a small last batch does not weigh
double; given the values, they are the same on every machine (`memexp.arithmetic`).

Axis letters as in `memexp.models.cells`: S seeds, B batch, A answers of a sequence, K outputs. A model gives answers
[S, B, A, K]; targets are [S, B, A], or [1, B, A] for the same rows in every seed, and so are weights.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor

from memexp.arithmetic import total


class Mean:
    """A weighted mean over answers, for each seed; the losses and metrics below say of what.

    Attributes:
        total: the weighted sum so far, [S], float64.
        count: the weights so far, [S], float64.
        name: what it is called in history and record.
        higher_is_better: which way the best weights lie.
        share: whether it is a share in 0..1, which is shown in percent.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]
    share: ClassVar[bool] = False

    def __init__(self, seeds: int, device: torch.device | str = "cpu") -> None:
        self.total = torch.zeros(seeds, dtype=torch.float64, device=device)
        self.count = torch.zeros(seeds, dtype=torch.float64, device=device)

    def reset(self) -> None:
        """Forget all answers."""
        self.total.zero_()
        self.count.zero_()

    def update(self, answers: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch; without weights every answer counts the same."""
        self.add(self.values(answers, targets), weights)

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch whose values, [S, B, A], are computed already; for the weights see `update`."""
        values, weights = self.weigh(values, weights)
        if weights is None:
            self.total += total(values.flatten(1))
            self.count += values[0].numel()
        else:
            self.total += total((values.double() * weights).flatten(1))
            self.count += total(weights.flatten(1))

    def compute(self) -> Tensor:
        """Return the mean for each seed, [S], float64; NaN if there was no answer."""
        return self.total / self.count

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return the value of every answer, [S, B, A]."""
        raise NotImplementedError

    @staticmethod
    def weigh(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return what is averaged, and its weights: the answers one by one, unless a metric joins them."""
        return values, weights


class Loss(Mean):
    """What training makes small: the mean over answers is differentiable."""

    higher_is_better = False

    @staticmethod
    def predictions(answers: Tensor) -> Tensor:
        """Return what the answers say, in the same shape: as they are, or the probabilities that they stand for."""
        return answers


class CrossEntropy(Loss):
    """Mean cross-entropy, in nats."""

    name = "cross_entropy"

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each answer, in nats."""
        targets = targets.expand(answers.shape[:-1])
        return F.cross_entropy(answers.flatten(0, -2), targets.flatten(), reduction="none").view_as(targets)

    @staticmethod
    def predictions(answers: Tensor) -> Tensor:
        """Return the probabilities of the K classes."""
        return answers.softmax(-1)


class SquaredError(Loss):
    """Mean squared error of a number: K is 1."""

    name = "squared_error"

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each answer."""
        return (answers.squeeze(-1) - targets).square()


class Accuracy(Mean):
    """Share of answers whose largest output is the target's, in 0..1."""

    name = "accuracy"
    higher_is_better = True
    share = True

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each answer that is right, 0 for each that is wrong."""
        return (answers.argmax(-1) == targets).to(answers.dtype)


class Within(Mean):
    """Share of answers that are less than `tolerance` away from the truth; a subclass says how much that is."""

    higher_is_better = True
    share = True
    tolerance: ClassVar[float]

    def __init_subclass__(cls) -> None:
        cls.name = f"within_{cls.tolerance}"

    @classmethod
    def values(cls, answers: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each answer that is near enough, 0 for each other."""
        return ((answers.squeeze(-1) - targets).abs() < cls.tolerance).to(answers.dtype)


class SequenceAccuracy(Accuracy):
    """Share of sequences in which every answer that counts is right."""

    name = "sequence_accuracy"

    @staticmethod
    def weigh(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Join the answers of a sequence: right if all are that have a weight; it weighs as much as the heaviest."""
        if weights is None:
            return values.amin(-1, keepdim=True), None
        right = values.masked_fill(weights == 0, 1).amin(-1, keepdim=True)
        return right, weights.amax(-1, keepdim=True)


class Perplexity(Mean):
    """exp(total nats / total tokens): among how many equally likely ones the model would be choosing."""

    name = "perplexity"
    higher_is_better = False

    def compute(self) -> Tensor:
        """Return the perplexity for each seed, [S], float64; NaN if there was no token."""
        return super().compute().exp()

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each token, in nats."""
        return CrossEntropy.values(answers, targets)
