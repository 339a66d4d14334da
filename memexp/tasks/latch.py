"""The latch problem: keep for hundreds of noisy steps which of two signs came first (Bengio et al. 1994).

Two examples with their answers, length 4:

    +1.00   .31  -.58   .12  ->  +1
    -1.00  -.07   .66  -.29  ->  -1

The first number is +1 or -1, and says the class; what follows is Gaussian noise around 0. At the end of its sequence a
model answers with the sign. Sequences are of different lengths, so that there is no counting: the answer is asked at
the last number of each, and what stands behind it does not count.

It is the variant II of Schmidhuber, Hochreiter and Bengio (2001), "Evaluating benchmark problems by random guessing",
sections 2 and 3: lengths from 500 to 600, noise of variance 0.2, 100 training sequences and 100 of test, half of each
class, and an answer is right if it is less than 0.1 off.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import normal, root
from memexp.fields import ranged
from memexp.tasks.metrics import Mean, SquaredError, Within
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows

DEV_ROWS, TEST_ROWS = 100, 100  # the latter as in 2001
TOLERANCE = 0.1  # an answer that is nearer to the target counts as right, as in 2001


class Near(Within):
    """Share of answers that are near enough."""

    tolerance = TOLERANCE


class Sign(Mean):
    """Share of answers that have the sign of the target."""

    name = "sign"
    higher_is_better = True
    share = True

    @staticmethod
    def values(answers: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each answer of the right sign, 0 for each other."""
        return (answers.squeeze(-1) * targets > 0).to(answers.dtype)


class LatchReading(Reading):
    """How a person reads the sign and the noise."""

    token = "number"
    kinds = ("sign", "noise")
    singled_out = "sign"

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say that the first number is the sign: inputs [N, L, 1] -> places in `kinds`, [N, L]."""
        return (torch.arange(inputs.shape[1]) > 0).long().expand(inputs.shape[:2])


@dataclass(kw_only=True, eq=False)
class Latch(SampledTask):
    """The latch problem; see `memexp.tasks.sampled.SampledTask`. ``length`` is that of the shortest sequences.

    Args:
        spread: the longest sequences have so many numbers more.
        noise: variance of the noise.
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
    """

    loss = SquaredError
    metrics: ClassVar = (SquaredError, Near, Sign)

    spread: int = ranged(0)
    noise: float = ranged(0)
    train_rows: int = ranged(1)

    @property
    def interface(self) -> Interface:
        """A number in, a number out, at every step, of which one counts."""
        return Interface(1, 1, every_step=True, longest=self.length + self.spread)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows, the two classes in turn: inputs [rows, L, 1], targets and weights [rows, L]."""
        L = self.length + self.spread
        signs = 1.0 - 2 * (torch.arange(rows) % 2)
        lengths = torch.randint(self.length, L + 1, (rows, 1), generator=draw)
        deviation = root(torch.tensor(self.noise, dtype=torch.float64))
        numbers = (normal((rows, L), draw) * deviation).float()
        numbers[:, 0] = signs
        place = torch.arange(L)
        inputs = numbers.where(place < lengths, 0.0)
        return Rows(inputs[..., None], signs[:, None].repeat(1, L), (place == lengths - 1).double())

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def needed(self, inputs: Tensor) -> Tensor:
        """The first number."""
        return (torch.arange(inputs.shape[1], device=inputs.device) == 0).expand(inputs.shape[:2])

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what answers that know nothing reach: always 0, the mean; or always the same sign."""
        return {
            "loss": {"always 0": 1.0},
            SquaredError.name: {"always 0": 1.0},
            Near.name: {"always the same sign": 0.5},
            Sign.name: {"always the same sign": 0.5},
        }

    @property
    def trained_on(self) -> str:
        """From which length to which."""
        return f"lengths {self.length} to {self.length + self.spread}" if self.spread else super().trained_on

    @classmethod
    def reading(cls, config: DictConfig, about: object) -> LatchReading:
        """Read the sign and the noise."""
        return LatchReading()

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse sequences with nothing between the sign and the answer."""
        if config.length < 2:
            return f"length={config.length} is too small; it must be at least 2"
        return super().rule(config)
