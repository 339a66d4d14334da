"""Metrics: reset, update with batches, compute. Sums over counts, so that a small last batch does not weigh double.

Axis letters as in `memexp.models.cells`: S seeds, B batch, K classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor


class Mean:
    """A (weighted) mean over rows, for each seed; the metrics below say of what.

    Attributes:
        total: the weighted sum so far, [S], float64.
        count: the weights so far.
    """

    name: str
    higher_is_better: bool

    def __init__(self, seeds: int, device: torch.device | str = "cpu") -> None:
        self.total = torch.zeros(seeds, dtype=torch.float64, device=device)
        self.count = 0.0

    def reset(self) -> None:
        """Forget all rows."""
        self.total.zero_()
        self.count = 0.0

    def update(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        """Add a batch: logits [S, B, K], targets [S, B] or [1, B], weights [B] or 1 for every row."""
        values = self.rowwise(logits, targets)
        if weights is None:
            self.total += values.sum(-1)
            self.count += values.shape[-1]
        else:
            self.total += (values.double() * weights).sum(-1)
            self.count += float(weights.sum())

    def compute(self) -> Tensor:
        """Return the mean for each seed, [S], float64; NaN if there was no row."""
        return self.total / self.count if self.count else torch.full_like(self.total, torch.nan)

    @staticmethod
    def rowwise(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the value of every row, [S, B]."""
        raise NotImplementedError


class Accuracy(Mean):
    """Share of rows whose largest logit is the target's, in 0..1."""

    name = "accuracy"
    higher_is_better = True

    @staticmethod
    def rowwise(logits: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each row that is right, 0 for each that is wrong."""
        return (logits.argmax(-1) == targets).to(logits.dtype)


class Perplexity(Mean):
    """exp(total nats / total tokens): among how many equally likely ones the model would be choosing."""

    name = "perplexity"
    higher_is_better = False

    def compute(self) -> Tensor:
        """Return the perplexity for each seed, [S], float64; NaN if there was no token."""
        return super().compute().exp()

    @staticmethod
    def rowwise(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each token, in nats."""
        return CrossEntropy.rowwise(logits, targets)


class CrossEntropy(Mean):
    """Mean cross-entropy, in nats."""

    name = "loss"
    higher_is_better = False

    @staticmethod
    def rowwise(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each row, in nats."""
        targets = targets.expand(logits.shape[:-1])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
