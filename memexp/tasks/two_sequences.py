"""The two-sequence problem: of which class were the first numbers, before the noise? (Hochreiter and Schmidhuber 1997,
section 5.3, experiments 3a, 3b and 3c; after Bengio et al. 1994.)

Two examples with their answers, one number that says the class, length 5; a dot is a step at which nothing is asked:

     1.0  .31 -.52  .08  .44       ->  . . . . 1
    -1.0  .60  .12 -.71  .25 -.03  ->  . . . . . 0

The first N numbers are 1 for class 1 and -1 for class 2; those that follow are from N(0, 0.2). A sequence has a length
from T to T + T/10. The target at its end is 1 for class 1 and 0 for class 2. In experiment 3b the first N numbers have
noise of the same kind added; in 3c the targets are 0.2 and 0.8 and, in training, have noise from N(0, 0.1), so that
their expectation has to be learned. A row is as long as the longest: what follows its own end counts for nothing.

Random weight guessing solves 3a faster than any method (1997): it tests no memory. 3c it does not solve quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import normal
from memexp.fields import ranged
from memexp.tasks.metrics import Mean, SquaredError, Within
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, asked_at, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 256, 2560  # as in 1997: the first stop training there
DEVIATION, TARGET_DEVIATION = 0.2**0.5, 0.1**0.5
#: What the targets of class 1 and class 2 are, by what has noise.
TARGETS = {"tail": (1.0, 0.0), "signal": (1.0, 0.0), "targets": (0.2, 0.8)}


class Near(Within):
    """Right, in experiments 3a and 3b."""

    tolerance = 0.2


class Nearer(Within):
    """Right, in experiment 3c."""

    tolerance = 0.1


#: What says of an answer whether it is right, by what has noise.
VERDICTS: Mapping[str, type[Within]] = {"tail": Near, "signal": Near, "targets": Nearer}


class AbsoluteError(Mean):
    """Mean absolute error, which says when training ended in 1997 (criterion ST2)."""

    name = "absolute_error"
    higher_is_better = False

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return the distance of each answer from the truth."""
        return (answers.squeeze(-1) - targets).abs()


class ClassReading(Reading):
    """How a person reads the numbers.

    Args:
        informative: N, how many of them say the class.
        noise: what has noise, see `TwoSequences`.
    """

    token = "number"
    kinds = ("informative number", "noise")
    singled_out = "informative number"

    def __init__(self, informative: int, noise: str) -> None:
        self.informative, self.targets, self.tolerance = informative, TARGETS[noise], VERDICTS[noise].tolerance

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each number."""
        return [f"{number:.2f}" for number in sequence[:, 0].tolist()]

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers at the end, and what the likelier class would have."""
        answer = float(predictions[-1, 0])
        truth = self.targets[0 if float(sequence[: self.informative, 0].sum()) > 0 else 1]
        verdict = tr("right") if abs(answer - truth) < self.tolerance else tr(f"off by {abs(answer - truth):.3f}")
        return tr(f"answer {answer:.3f}; truth {truth:.3f} ({verdict})")

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which numbers tell the class: inputs [N, L, 1] -> places in `kinds`, [N, L]."""
        return (torch.arange(inputs.shape[1]) >= self.informative).long().expand(inputs.shape[:2])


@dataclass(kw_only=True, eq=False)
class TwoSequences(SampledTask):
    """The two-sequence problem; see `memexp.tasks.sampled.SampledTask`. ``length`` is T, the shortest length.

    Args:
        informative: N, how many numbers say the class.
        noise: what has noise beside the numbers that say nothing: no more than these, ``tail`` (3a), ``signal`` (3b)
            or ``targets`` (3c); the targets of dev and test never have.
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
    """

    loss = SquaredError
    metrics: ClassVar = (SquaredError, Near, Nearer, AbsoluteError)

    informative: int = ranged(1)
    noise: str = ranged(one_of=TARGETS)
    train_rows: int = ranged(1)

    @property
    def longest(self) -> int:
        """The length of the longest sequence."""
        return self.length + self.length // 10

    @property
    def interface(self) -> Interface:
        """A number in, a number out, at every step, of which one counts."""
        return Interface(1, 1, every_step=True, longest=self.longest)

    @property
    def verdict(self) -> type[Mean]:
        """An answer is right within 0.2, or in experiment 3c within 0.1."""
        return VERDICTS[self.noise]

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows to train on: inputs [rows, L, 1], targets [rows, L]."""
        drawn = self._drawn(rows, self.length, draw)
        if self.noise != "targets":
            return drawn
        noise = (TARGET_DEVIATION * normal((rows, 1), draw)).to(drawn.targets.dtype)
        return replace(drawn, targets=drawn.targets + noise)

    def _drawn(self, rows: int, length: int, draw: Generator) -> Rows:
        """Draw rows without noise on their targets, of lengths from ``length`` on."""
        L = length + length // 10
        inputs = DEVIATION * normal((rows, L), draw)
        second = torch.randint(2, (rows, 1), generator=draw)
        signal = (1.0 - 2 * second).double()
        told = inputs[:, : self.informative]
        inputs[:, : self.informative] = signal + (told if self.noise == "signal" else 0)
        targets = torch.tensor(TARGETS[self.noise])[second].expand(rows, L).contiguous()
        ends = torch.randint(length, L + 1, (rows, 1), generator=draw)
        return Rows(inputs.float()[..., None], targets, asked_at(ends, L))

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def drawn_once(self, split: str, rows: int) -> Rows:
        """Return the fixed rows of a split; none but those of ``train`` have noise on their targets."""
        if split == "train":
            return super().drawn_once(split, rows)
        key = (split, rows)
        if key not in self._kept:
            self._kept[key] = self._drawn(rows, self.length, generator(self.data_seed, f"rows/{split}", 0))
        return self._kept[key]

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return a sample of rows of another T."""
        if length <= self.informative:
            return None
        rows = self._drawn(max(1, tokens // (length + length // 10)), length, generator(0, "length", length))
        return replace(rows, source=f"{len(rows)} sampled rows")

    def needed(self, inputs: Tensor) -> Tensor:
        """The first N numbers."""
        return (torch.arange(inputs.shape[1]) < self.informative).expand(inputs.shape[:2])

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what a constant answer reaches: the mean, or one of the two targets."""
        first, second = TARGETS[self.noise]
        mean = {"always the mean": ((first - second) / 2) ** 2}
        one = {"always the likeliest answer": 1 / 2}
        return {"loss": mean, SquaredError.name: mean, Near.name: one, Nearer.name: one}

    @property
    def trained_on(self) -> str:
        """Which lengths."""
        return f"lengths {self.length} to {self.longest}"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> ClassReading:
        """Read numbers."""
        return ClassReading(config.task.informative, config.task.noise)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length without noise, and to wait until targets with noise are met."""
        if config.length <= config.task.informative:
            return (
                f"length={config.length} is too small with task.informative={config.task.informative}; it must be at "
                f"least {config.task.informative + 1}"
            )
        if config.task.noise == "targets" and config.get("until_right") is not None:
            return (
                f"until_right={config.until_right} does not go with task.noise=targets, whose training targets have "
                "noise, so that a right answer is off; leave it out, and see the scores on dev"
            )
        return super().rule(config)
