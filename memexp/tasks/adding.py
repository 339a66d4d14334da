"""The adding problem: add the two numbers that are marked (Hochreiter and Schmidhuber 1997, section 5.4).

Two examples with their answers, length 6; a mark is shown as a star:

    .30  .71* .02  .55  .90* .13  ->  1.61
    .05* .48  .33  .84  .27  .60* ->  0.65

At every time step there is a number, uniform in [0, 1), and a mark, 1 or 0. One mark is in each half of the sequence,
at a uniformly drawn place, as the problem is usually posed since Le et al. (2015).

As posed in 1997, the numbers are in [-1, 1), and the target is 0.5 + (their sum) / 4. The first mark is at one of the
first ten places, the second at one of the first T/2, and the first and the last place, where it is not marked, has -1
for a mark. A marked number at the first place is 0. A sequence has a length from T to T + T/10; a row is as long as the
longest: what follows its own end is 0 and counts for nothing.
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
from memexp.tasks.metrics import SquaredError, Within
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import SEPARATORS, Interface, Reading, Rows, asked_at, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2560  # the latter as in 1997
TOLERANCE = 0.04  # an answer that is nearer to the sum counts as right, as in 1997
SHORTEST = {"2015": 2, "1997": 20}  # by how it is posed
FIRST_PLACES = 10  # one of which has the first mark, in 1997


class Near(Within):
    """Share of answers that are near enough."""

    tolerance = TOLERANCE


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
        return [f"{number:.2f}{'*' if mark == 1 else ''}" for number, mark in sequence.tolist()]

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers, and what is true."""
        answer, truth = float(predictions[-1, 0]), float((sequence[:, 0] * sequence[:, 1]).sum())
        verdict = tr("right") if abs(answer - truth) < TOLERANCE else tr(f"off by {abs(answer - truth):.3f}")
        return tr(f"answer {answer:.3f}; truth {truth:.3f} ({verdict})")

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which numbers are marked: inputs [N, L, 2] -> places in `kinds`, [N, L]."""
        return torch.where(inputs[..., 1] == 1, 0, 1)


class Reading1997(AddingReading):
    """How a person reads them as posed in 1997."""

    def read(self, given: str) -> Tensor:
        """Refuse what was typed; see `memexp.tasks.task.Reading.read`."""
        return Reading.read(self, given)

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers at the end, and what is true."""
        numbers, marks = sequence.T
        answer = float(predictions[int((marks == -1).nonzero()[-1]), 0])
        truth = float(target_of(numbers, marks))
        verdict = tr("right") if abs(answer - truth) < TOLERANCE else tr(f"off by {abs(answer - truth):.3f}")
        return tr(f"answer {answer:.3f}; truth {truth:.3f} ({verdict})")


def longest_of_1997(length: int) -> int:
    """Return the length of the longest sequences, where the shortest have T."""
    return length + length // 10


def target_of(numbers: Tensor, marks: Tensor) -> Tensor:
    """Return what was to be answered in 1997: both [..., L] -> [...]."""
    return 0.5 + (numbers * (marks == 1)).sum(-1) / 4


@dataclass(kw_only=True, eq=False)
class Adding(SampledTask):
    """The adding problem for one length; see `memexp.tasks.sampled.SampledTask`.

    Args:
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
        posed: as since ``2015``, or as in ``1997``, where ``length`` is T, the shortest length.
    """

    loss = SquaredError
    metrics: ClassVar = (SquaredError, Near)
    later: ClassVar = {"posed": "2015"}

    train_rows: int = ranged(1)
    posed: str = ranged(one_of=SHORTEST)

    @property
    def interface(self) -> Interface:
        """A number and a mark in, a sum out, at the end; where lengths differ, at every step, of which one counts."""
        if self.posed == "1997":
            return Interface(2, 1, every_step=True, longest=longest_of_1997(self.length))
        return Interface(2, 1, every_step=False, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows: inputs [rows, L, 2], targets [rows, 1]; as posed in 1997 [rows, L]."""
        return self._drawn(rows, self.length, draw)

    def _drawn(self, rows: int, length: int, draw: Generator) -> Rows:
        if self.posed == "1997":
            return self._drawn_1997(rows, length, draw)
        half = length // 2
        numbers = torch.rand(rows, length, generator=draw)
        first = torch.randint(half, (rows, 1), generator=draw)
        second = torch.randint(half, length, (rows, 1), generator=draw)
        marks = torch.zeros(rows, length).scatter_(1, torch.cat([first, second], 1), 1.0)
        return Rows(torch.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdim=True))

    def _drawn_1997(self, rows: int, length: int, draw: Generator) -> Rows:
        T, L = length, longest_of_1997(length)
        numbers = 2 * torch.rand(rows, L, generator=draw) - 1
        ends = torch.randint(T, L + 1, (rows, 1), generator=draw)
        first = torch.randint(FIRST_PLACES, (rows, 1), generator=draw)
        second = torch.randint(T // 2 - 1, (rows, 1), generator=draw)
        second += second >= first  # of the places that are not marked yet
        marks = torch.zeros(rows, L).scatter_(1, ends - 1, -1.0).scatter_(1, torch.cat([first, second], 1), 1.0)
        numbers[:, 0].masked_fill_(marks[:, 0] == 1, 0.0)
        marks[:, 0].masked_fill_(marks[:, 0] == 0, -1.0)
        numbers.masked_fill_(torch.arange(L) >= ends, 0.0)
        targets = target_of(numbers, marks)[:, None].expand(rows, L).contiguous()
        return Rows(torch.stack([numbers, marks], -1), targets, asked_at(ends, L))

    def fingerprint(self) -> str:
        """Return what settings that came later change."""
        return "none" if self.posed == "2015" else f"posed={self.posed}"

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return a sample of rows of another length."""
        if length < SHORTEST[self.posed]:
            return None
        rows = self._drawn(max(1, tokens // length), length, generator(0, "length", length))
        return replace(rows, source=f"{len(rows)} sampled rows")

    def needed(self, inputs: Tensor) -> Tensor:
        """The two marked numbers."""
        return inputs[..., 1] == 1

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what always answering the mean reaches: the variance of the sum, and how often it is near."""
        variance, near = 1 / 6, TOLERANCE * (2 - TOLERANCE)  # the density of the sum is a triangle from 0 to 2
        if self.posed == "1997":  # of the sum from -2 to 2, a quarter of it; or of one number, if the other is 0
            zero = 1 / FIRST_PLACES + (1 - 1 / FIRST_PLACES) / (self.length // 2 - 1)
            variance, a = (2 - zero) / 3 / 16, 4 * TOLERANCE
            near = (1 - zero) * (a - a * a / 4) + zero * a
        always = {"loss": variance, SquaredError.name: variance, Near.name: near}
        return {metric: {"always the mean": value} for metric, value in always.items()}

    @property
    def trained_on(self) -> str:
        """Which lengths."""
        return super().trained_on if self.posed == "2015" else f"lengths {self.length} to {self.interface.longest}"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> AddingReading:
        """Read numbers and marks."""
        return Reading1997() if config.task.posed == "1997" else AddingReading()

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length without two halves, or without place for the marks of 1997."""
        shortest = SHORTEST[config.task.posed]
        if config.length < shortest:
            return f"length={config.length} is too small; it must be at least {shortest}"
        return super().rule(config)
