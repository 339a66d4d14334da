"""Temporal order: in which order did X and Y come? (Hochreiter and Schmidhuber 1997, section 5.6, experiments 6a, 6b.)

Two examples with their answers, two relevant symbols, length 20; a dot is a step at which nothing is asked:

    E c X b a d d b c a Y a c b d a b c d B      ->  . . . . . . . . . . . . . . . . . . . XY
    E a d Y c c b a d b c a Y b a d c a b d c B  ->  . . . . . . . . . . . . . . . . . . . . . YY

A sequence begins with E, ends with B, and has letters from a to d in between, but for two or three places, at each of
which is X or Y. Its length is drawn from T to T + T/10; with T = 100, as in 1997, the places are from 10 to 20 and from
50 to 60, or of three from 10 to 20, from 33 to 43 and from 66 to 76, counted from 1. Other T scale them. A row is as
long as the longest: its end is followed by further Bs, which count for nothing.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import ln
from memexp.fields import ranged
from memexp.tasks.metrics import Accuracy
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, asked_at, codes_typed, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2560  # the latter as in 1997
SYMBOLS = "XYabcdEB"
RELEVANT, DISTRACTORS, BEGIN, END = 2, 4, SYMBOLS.index("E"), SYMBOLS.index("B")
#: Between which hundredths of T each relevant symbol stands, by how many there are.
PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
SHORTEST = 20


def longest(length: int) -> int:
    """Return the length of the longest sequence, T + T/10."""
    return length + length // 10


class OrderReading(Reading):
    """How a person reads a sequence from E to B.

    Args:
        length: T, of the shortest sequences that were trained on.
        relevant: how many symbols are X or Y.
    """

    token = "symbol"
    kinds = ("relevant symbol", "distractor", "start or end")
    singled_out = "relevant symbol"
    symbols = SYMBOLS

    def __init__(self, length: int, relevant: int) -> None:
        self.length, self.relevant, self.steps = length, relevant, longest(length)
        self.outputs = tuple(map("".join, itertools.product("XY", repeat=relevant)))
        self.beginning = self.write(self.example())

    def example(self) -> Tensor:
        """Return a shortest sequence, with X and Y in turn at their first places."""
        middle = [RELEVANT + step % DISTRACTORS for step in range(self.length - 2)]
        for k, (first, _) in enumerate(PLACES[self.relevant]):
            middle[first * self.length // 100 - 2] = k % RELEVANT
        return torch.tensor([BEGIN, *middle, END])

    def read(self, given: str) -> Tensor:
        """Read symbols; see `memexp.tasks.task.codes_typed`."""
        return torch.tensor(codes_typed(given, SYMBOLS, "give X, Y and letters from a to d between E and B"))

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each symbol."""
        return [SYMBOLS[code] for code in sequence.tolist()]

    def write(self, sequence: Tensor) -> str:
        """Write the symbols without spaces."""
        return "".join(self.labels(sequence))

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers at the first B, and what is true."""
        ends = (sequence == END).nonzero().flatten().tolist()
        if not ends:
            return tr("no end (B), so nothing is asked")
        told = self.outputs[int(predictions[ends[0]].argmax())]
        true = self.write(sequence[: ends[0]][sequence[: ends[0]] < RELEVANT])
        return tr(f"answer {told}; truth {true} ({tr('right') if told == true else tr('wrong')})")

    def remark(self, sequence: Tensor) -> str | None:
        """Say that the sequence has a length that was not trained on, if it has."""
        if self.length <= len(sequence) <= self.steps:
            return None
        trained = f"this model was trained on {self.length} to {self.steps}"
        return f"the sequence has {len(sequence)} symbols; {trained}"

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which symbols are relevant: inputs [N, L] -> places in `kinds`, [N, L]."""
        return (inputs >= RELEVANT).long() + (inputs >= BEGIN)


@dataclass(kw_only=True, eq=False)
class TemporalOrder(SampledTask):
    """Temporal order; see `memexp.tasks.sampled.SampledTask`. ``length`` is T, the shortest length.

    Args:
        relevant: how many symbols are X or Y: 2 (experiment 6a, 4 classes) or 3 (6b, 8 classes).
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
    """

    relevant: int = ranged(min(PLACES), most=max(PLACES))
    train_rows: int = ranged(1)

    @property
    def interface(self) -> Interface:
        """Eight symbols in, the order out, at every step, of which one counts."""
        return Interface(len(SYMBOLS), 2**self.relevant, every_step=True, longest=longest(self.length))

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows."""
        return self._drawn(rows, self.length, draw)

    def _drawn(self, rows: int, length: int, draw: Generator) -> Rows:
        """Draw rows of T = ``length``: every length, place, relevant symbol and distractor is equally likely."""
        L = longest(length)
        inputs = RELEVANT + torch.randint(DISTRACTORS, (rows, L), generator=draw)
        ends = torch.randint(length, L + 1, (rows, 1), generator=draw)
        answer = torch.zeros(rows, 1, dtype=torch.long)
        for first, last in PLACES[self.relevant]:
            place = torch.randint(first * length // 100, last * length // 100 + 1, (rows, 1), generator=draw)
            symbol = torch.randint(RELEVANT, (rows, 1), generator=draw)
            inputs.scatter_(1, place - 1, symbol)
            answer = RELEVANT * answer + symbol
        inputs[:, 0] = BEGIN
        inputs = torch.where(torch.arange(1, L + 1) >= ends, END, inputs)
        return Rows(inputs, answer.expand(rows, L).contiguous(), asked_at(ends, L))

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return a sample of rows of another T, with places that scale with it."""
        if length < SHORTEST:
            return None
        rows = self._drawn(max(1, tokens // longest(length)), length, generator(0, "length", length))
        return replace(rows, source=f"{len(rows)} sampled rows")

    def needed(self, inputs: Tensor) -> Tensor:
        """X and Y."""
        return inputs < RELEVANT

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what guessing reaches: every order is equally likely."""
        K = self.interface.outputs
        return {"loss": {"guessing": ln(K)}, Accuracy.name: {"guessing": 1 / K}}

    @property
    def trained_on(self) -> str:
        """Which lengths."""
        return f"lengths {self.length} to {longest(self.length)}"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> OrderReading:
        """Read symbols."""
        return OrderReading(config.length, config.task.relevant)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length at which the places are not apart."""
        if config.length < SHORTEST:
            return f"length={config.length} is too small; it must be at least {SHORTEST}"
        return super().rule(config)
