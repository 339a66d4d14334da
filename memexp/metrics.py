"""Metrics: reset, update with batches, compute. Sums over counts, so that a small last batch does not weigh double.

Axis letters as in `memexp.models`: S seeds, B batch, K classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor


class Accuracy:
    """Share of rows whose largest logit is the target's, for each seed. Rows may have weights."""

    name = "accuracy"
    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._correct: Tensor | float = 0.0
        self._count: Tensor | float = 0.0

    def update(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch: logits [S, B, K], targets [S, B] or [1, B], weights [B] (1 for every row if None)."""
        correct = (logits.argmax(-1) == targets).double()
        weights = torch.ones(correct.shape[-1], dtype=torch.float64, device=correct.device) if weights is None else weights
        self._correct = self._correct + (correct * weights).sum(-1)
        self._count = self._count + weights.sum()

    def compute(self) -> Tensor:
        """Return the accuracy of each seed, [S], in 0..1."""
        return torch.as_tensor(self._correct / self._count)


class CrossEntropy:
    """Mean cross-entropy in nats for each seed. Rows may have weights."""

    name = "loss"
    higher_is_better = False

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self._nats: Tensor | float = 0.0
        self._count: Tensor | float = 0.0

    @staticmethod
    def rowwise(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of every row, [S, B], in nats; targets are [S, B] or [1, B]."""
        targets = targets.expand(logits.shape[:-1])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)

    def update(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch: logits [S, B, K], targets [S, B] or [1, B], weights [B] (1 for every row if None)."""
        nats = self.rowwise(logits, targets).double()
        weights = torch.ones(nats.shape[-1], dtype=torch.float64, device=nats.device) if weights is None else weights
        self._nats = self._nats + (nats * weights).sum(-1)
        self._count = self._count + weights.sum()

    def compute(self) -> Tensor:
        """Return the mean cross-entropy of each seed, [S], in nats."""
        return torch.as_tensor(self._nats / self._count)
