"""The interface between a task and the rest: what a runner, an experiment and an analysis may ask of it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Examples: inputs [N, L] (or [S, N, L]: other rows in every seed), targets [N] (or [S, N]).

    ``weights`` [N], float64, are probabilities that sum to 1; None weighs every row the same. ``source`` says
    where the rows come from, for the record.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None
    source: str = ""

    def __len__(self) -> int:
        return self.targets.shape[-1]

    def to(self, device: torch.device) -> "Rows":
        """Return the same rows on another device."""
        if device == self.targets.device:
            return self
        weights = None if self.weights is None else self.weights.to(device)
        return Rows(self.inputs.to(device), self.targets.to(device), weights, self.source)

    def with_seed_axis(self) -> "Rows":
        """Return the rows with inputs [1, N, L] and targets [1, N] if they had no seed axis."""
        if self.targets.dim() > 1:
            return self
        return Rows(self.inputs[None], self.targets[None], self.weights, self.source)

    def slice(self, start: int, stop: int) -> "Rows":
        """Return rows start..stop-1."""
        weights = None if self.weights is None else self.weights[start:stop]
        return Rows(self.inputs[..., start:stop, :], self.targets[..., start:stop], weights, self.source)


class Task(Protocol):
    """What is asked. A task knows its data and sizes, nothing of models."""

    symbols: int  # V, how many different inputs
    classes: int  # K, how many different answers
    longest: int  # the largest distance to bridge, in time steps
    updates_per_epoch: int

    def batch(self, iteration: int) -> Rows:
        """Return the training rows of update ``iteration`` (0, 1, ...), with a seed axis.

        A pure function of the iteration, so that a resumed run sees the rows that an uninterrupted one sees.
        """
        ...

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of ``dev`` or ``test``."""
        ...

    def distribution(self) -> Rows:
        """Return the whole input distribution with its probabilities (or a large fixed sample of it)."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the data that is read from files: a part of a run's identity."""
        ...
