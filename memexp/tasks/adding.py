"""The adding problem: add the two numbers that are marked (Hochreiter and Schmidhuber 1997, section 5.4).

Two examples with their answers, length 6; a mark is shown as a star:

    .30  .71* .02  .55  .90* .13  ->  1.61
    .05* .48  .33  .84  .27  .60* ->  0.65

At every time step there is a number, uniform in [0, 1), and a mark, 1 or 0. One mark is in each half of the sequence,
at a uniformly drawn place, as the problem is usually posed since Le et al. (2015); in 1997 the numbers were in [-1, 1]
and the first mark near the beginning.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.errors import ConfigError
from memexp.fields import ranged
from memexp.tasks.metrics import Mean, SquaredError
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import SEPARATORS, Interface, Reading, Rows, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2560  # the latter as in 1997
TOLERANCE = 0.04  # an answer that is nearer to the sum counts as right, as in 1997
SHORTEST = 2


class Within(Mean):
    """Share of answers that are less than `TOLERANCE` away from the truth."""

    name = f"within_{TOLERANCE}"
    higher_is_better = True
    share = True

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each answer that is near enough, 0 for each other."""
        return ((answers.squeeze(-1) - targets).abs() < TOLERANCE).to(answers.dtype)


class AddingReading(Reading):
    """How a person reads numbers and marks."""

    token = "number"
    kinds = ("marked number", "other number")
    singled_out = "marked number"

    def read(self, given: str) -> Tensor:
        """Read numbers, those that are marked with a star behind: ``.3 .71* .02 .9*``, [L, 2].

        In brackets, with commas or in full-width characters they are the same.

        Raises:
            ConfigError: not numbers from 0 to 1, or not two of them marked.
        """
        allowed = 'give numbers from 0 to 1, two of them with a star: sequence=".3 .71* .02 .9*"'
        plain = unicodedata.normalize("NFKC", given).translate(dict.fromkeys(map(ord, SEPARATORS), " "))
        words = plain.split()
        try:
            numbers = [float(word.removesuffix("*")) for word in words]
        except ValueError as error:
            raise ConfigError(f"sequence={given!r}: {error}; {allowed}") from error
        marks = [word.endswith("*") for word in words]
        for number in numbers:
            if not 0 <= number <= 1:
                raise ConfigError(f"sequence={given!r}: {number} is out of range; {allowed}")
        if sum(marks) != 2:
            raise ConfigError(f"sequence={given!r} has {sum(marks)} marked numbers; {allowed}")
        return torch.tensor([numbers, [float(mark) for mark in marks]]).T.contiguous()

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each number, a marked one with a star."""
        return [f"{number:.2f}{'*' if mark else ''}" for number, mark in sequence.tolist()]

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers, and what is true."""
        answer, truth = float(predictions[-1, 0]), float((sequence[:, 0] * sequence[:, 1]).sum())
        verdict = tr("right") if abs(answer - truth) < TOLERANCE else tr(f"off by {abs(answer - truth):.3f}")
        return tr(f"answer {answer:.3f}; truth {truth:.3f} ({verdict})")

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which numbers are marked: inputs [N, L, 2] -> places in `kinds`, [N, L]."""
        return torch.where(inputs[..., 1] == 1, 0, 1)


@dataclass(kw_only=True, eq=False)
class Adding(SampledTask):
    """The adding problem for one length; see `memexp.tasks.sampled.SampledTask`.

    Args:
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
    """

    loss = SquaredError
    metrics: ClassVar = (SquaredError, Within)

    train_rows: int = ranged(1)

    @property
    def interface(self) -> Interface:
        """A number and a mark in, a sum out, at the end."""
        return Interface(2, 1, every_step=False, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows: inputs [rows, L, 2], targets [rows, 1]."""
        return self._drawn(rows, self.length, draw)

    def _drawn(self, rows: int, length: int, draw: Generator) -> Rows:
        half = length // 2
        numbers = torch.rand(rows, length, generator=draw)
        first = torch.randint(half, (rows, 1), generator=draw)
        second = torch.randint(half, length, (rows, 1), generator=draw)
        marks = torch.zeros(rows, length).scatter_(1, torch.cat([first, second], 1), 1.0)
        return Rows(torch.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdim=True))

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return a sample of rows of another length."""
        if length < SHORTEST:
            return None
        rows = self._drawn(max(1, tokens // length), length, generator(0, "length", length))
        return replace(rows, source=f"{len(rows)} sampled rows")

    def needed(self, inputs: Tensor) -> Tensor:
        """The two marked numbers."""
        return inputs[..., 1] == 1

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what always answering 1, the mean, reaches: the variance of the sum, 1/6, and how often it is near."""
        near = TOLERANCE * (2 - TOLERANCE)  # the density of the sum is a triangle from 0 to 2
        always = {"loss": 1 / 6, SquaredError.name: 1 / 6, Within.name: near}
        return {metric: {"always the mean": value} for metric, value in always.items()}

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> AddingReading:
        """Read numbers and marks."""
        return AddingReading()

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length without two halves."""
        if config.length < SHORTEST:
            return f"length={config.length} is too small; it must be at least {SHORTEST}"
        return super().rule(config)
