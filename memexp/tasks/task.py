"""The interface between a task and the rest: what a runner, an experiment and an analysis may ask of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from memexp.tasks.metrics import Mean


@dataclass(frozen=True)
class Rows:
    """Examples: inputs [N, L] (or [S, N, L]: other rows in every seed), targets [N] (or [S, N]).

    Where every time step is asked the targets are [N, L] (or [S, N, L]). ``weights`` [N], float64, are probabilities
    that sum to 1; None weighs every row the same. ``source`` says where the rows come from, for the record.
    ``continues`` is None where every row starts from the initial state; where rows go on from batch to batch it says
    whether these go on from those before (True) or begin (False).
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None
    source: str = ""
    continues: bool | None = None

    def __len__(self) -> int:
        return self.inputs.shape[-2]

    @property
    def every_step(self) -> bool:
        """Whether there is a target at every time step."""
        return self.targets.dim() == self.inputs.dim()

    def to(self, device: torch.device) -> "Rows":
        """Return the same rows on another device."""
        if device == self.targets.device:
            return self
        weights = None if self.weights is None else self.weights.to(device)
        return Rows(self.inputs.to(device), self.targets.to(device), weights, self.source, self.continues)

    def with_seed_axis(self) -> "Rows":
        """Return the rows with inputs [1, N, L] and targets [1, N] if they had no seed axis."""
        if self.inputs.dim() > 2:
            return self
        return Rows(self.inputs[None], self.targets[None], self.weights, self.source)

    def slice(self, start: int, stop: int) -> "Rows":
        """Return rows start..stop-1."""
        weights = None if self.weights is None else self.weights[start:stop]
        targets = self.targets[..., start:stop, :] if self.every_step else self.targets[..., start:stop]
        return Rows(self.inputs[..., start:stop, :], targets, weights, self.source)


def generator(seed: int, stream: str, counter: int) -> Generator:
    """Return a generator that depends on all three: no state has to be kept to draw the same rows again."""
    entropy = [seed, int.from_bytes(stream.encode(), "big"), counter]
    return Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


class Reading(Protocol):
    """How a person reads a task's sequences: what its tokens are, where they stand, and what an answer means."""

    token: str  # what one is called
    kinds: Sequence[str]  # of tokens
    singled_out: str | None  # a kind that is worth a line of its own
    place: str  # what places are counted in, as the column of a table

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each token is: inputs [N, L] -> places in `kinds`, [N, L]."""
        ...

    def token_places(self, inputs: Tensor) -> Tensor | None:
        """Say where each token stands: inputs [N, L] -> [N, L], from 1, and 0 for nowhere; None for its time step."""
        ...

    def labels(self, tokens: Sequence[int]) -> list[str]:
        """Write each token so that it can be told from the others on an axis."""
        ...

    def write(self, tokens: Sequence[int]) -> str:
        """Write a sequence in a line."""
        ...

    def describe(self, tokens: Sequence[int], probabilities: np.ndarray) -> str:
        """Say in a line what a model answers, given the probabilities of all answers, [K] or, at every step, [L, K]."""
        ...

    def costs(self, tokens: Sequence[int], probabilities: np.ndarray) -> np.ndarray | None:
        """Return the bits that each token costs, [L], where every one of them is an answer."""
        ...


class Task(Reading, Protocol):
    """What is asked. A task knows its data and sizes, nothing of models."""

    metric: type[Mean]  # chooses the best weights on dev
    every_step: bool  # whether there is an answer at every time step, or one at the end
    extras: Mapping[str, Tensor]  # saved with the weights
    symbols: int  # V, how many different inputs
    classes: int  # K, how many different answers
    longest: int  # the largest distance to bridge, in time steps
    trained_on: str  # in words
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
        """Return inputs with weights that sum to 1: all there are, or a sample, over which to average."""
        ...

    def read_sequence(self, given: str) -> list[int]:
        """Turn what was typed into tokens; nothing is a sequence worth looking at.

        Raises:
            ConfigError: it is not a sequence of this task.
        """
        ...

    def remark(self, tokens: Sequence[int]) -> str | None:
        """Say in a line how a sequence differs from those that were trained on, if it does."""
        ...

    def running_text(self) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Return a long sequence that was held out, [L], and numbers that say something of each token, name -> [L].

        Both are empty where sequences are short and each begins anew.
        """
        ...

    def splits(self) -> dict[str, Rows]:
        """Return what the chosen weights are scored on, by name; ``dev`` is one of them."""
        ...

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return scores that follow from those on the splits (``<split>_<metric>``, a value a seed)."""
        ...

    def about(self) -> dict[str, Any]:
        """Return what the record says of the task beside its settings."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the data that is read from files: a part of a run's identity."""
        ...
