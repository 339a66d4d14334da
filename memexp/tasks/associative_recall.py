"""Associative recall of several keys: which value came with this key? (MQAR; Arora et al. 2023, arXiv:2312.04927.)

Two examples with their answers, two pairs, length 12; a dot is a step at which nothing is asked:

    d H b G _ _ b _ _ _ d _  ->  . . . . . . G . . . H .
    a C f A a _ f _ _ _ _ _  ->  . . . . C . A . . . . .

First come pairs of a key and its value; all keys of a row differ, and so do its values. Then every key stands once
more, and its value is asked for at that step. The gaps before the queries follow a power law: of the
places after the pairs, every second one, place i is drawn with a weight of i^(a - 1), a = 0.01, without replacement,
for one key after the other. Between the queries are blanks, or, as in the published code, any symbols.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import ln, log
from memexp.errors import ConfigError
from memexp.fields import ranged
from memexp.tasks.metrics import Accuracy, SequenceAccuracy
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, codes_typed, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2000
POWER = 0.01
BLANK = "_"


def without_replacement(weights: Tensor, rows: int, count: int, draw: Generator) -> Tensor:
    """Draw places one after the other, each with its weight among those that are left: [places] -> [rows, count].

    They are the first to ring of clocks whose rates are the weights: -ln(u) / weight, u uniform.
    """
    numbers = torch.rand(rows, len(weights), dtype=torch.float64, generator=draw)
    rings = -log(numbers.clamp(min=torch.finfo(torch.float64).tiny)) / weights
    return rings.argsort(dim=1, stable=True)[:, :count]


class RecallReading(Reading):
    """How a person reads pairs and queries.

    Args:
        keys: how many different keys there are.
        values: how many different values there are.
        pairs: how many of them a row has.
        length: of the sequences that were trained on.
    """

    token = "symbol"
    kinds = ("key", "value", "query", "blank")

    def __init__(self, keys: int, values: int, pairs: int, length: int) -> None:
        self.keys, self.pairs, self.steps = keys, pairs, length
        self.outputs = tuple(ascii_uppercase[:values])
        self.symbols = ascii_lowercase[:keys] + "".join(self.outputs) + BLANK
        self.beginning = self.write(self.example())

    def example(self) -> Tensor:
        """Return the first keys with the first values, asked for in turn."""
        sequence = torch.full((self.steps,), len(self.symbols or "") - 1)
        codes = torch.arange(self.pairs)
        sequence[: 2 * self.pairs] = torch.stack([codes, self.keys + codes], 1).flatten()
        sequence[2 * self.pairs : 4 * self.pairs : 2] = codes
        return sequence

    def read(self, given: str) -> Tensor:
        """Read symbols; see `memexp.tasks.task.codes_typed`.

        Raises:
            ConfigError: it has other characters, or does not begin with pairs.
        """
        allowed = (
            f"give {self.pairs} pairs of a key from a to {ascii_lowercase[self.keys - 1]} and a value from A to "
            f"{self.outputs[-1]}, then queries and blanks {BLANK}, as sequence={self.beginning[:30]}"
        )
        sequence = torch.tensor(codes_typed(given, self.symbols or "", allowed))
        told = sequence[: 2 * self.pairs]
        if len(told) < 2 * self.pairs or (self.token_kinds(sequence[None])[0, : len(told)] == 3).any():
            raise ConfigError(f"sequence={given!r} does not begin with {self.pairs} pairs; {allowed}")
        return sequence

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each symbol."""
        return [(self.symbols or "")[code] for code in sequence.tolist()]

    def write(self, sequence: Tensor) -> str:
        """Write the symbols without spaces."""
        return "".join(self.labels(sequence))

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers at each query of a key that had a value, and what is true."""
        codes = sequence.tolist()
        of = dict(zip(codes[: 2 * self.pairs : 2], codes[1 : 2 * self.pairs : 2], strict=True))
        queries = [step for step in range(2 * self.pairs, len(codes)) if codes[step] in of]
        if not queries:
            return tr("no query, so nothing is asked")
        told = "".join(self.outputs[int(predictions[step].argmax())] for step in queries)
        true = "".join((self.symbols or "")[of[codes[step]]] for step in queries)
        right = sum(a == b for a, b in zip(told, true, strict=True))
        return tr(f"recalls {told}; truth {true} ({tr('right') if told == true else tr(f'{right} right')})")

    def remark(self, sequence: Tensor) -> str | None:
        """Say that the sequence has another length, if it has."""
        if len(sequence) == self.steps:
            return None
        return f"the sequence has {len(sequence)} symbols; this model was trained on {self.steps}"

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which symbols are keys, values, queries and blanks: inputs [N, L] -> places in `kinds`, [N, L].

        After the pairs a key is a query, and all else says nothing.
        """
        is_value = ((inputs >= self.keys) & (inputs < len(self.symbols or "") - 1)).long()
        told = torch.where(inputs == len(self.symbols or "") - 1, 3, is_value)
        asked = torch.where(inputs < self.keys, 2, 3)
        return torch.where(torch.arange(inputs.shape[1]) < 2 * self.pairs, told, asked)


@dataclass(kw_only=True, eq=False)
class AssociativeRecall(SampledTask):
    """Associative recall; see `memexp.tasks.sampled.SampledTask`. ``length`` is that of a whole sequence.

    Args:
        pairs: how many keys with their values a row has.
        keys: how many different keys there are.
        values: K, how many different values there are.
        filler: what stands between the queries: ``blank``, or ``random`` symbols, the blank among them.
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
    """

    metrics: ClassVar = (Accuracy, SequenceAccuracy)

    pairs: int = ranged(1)
    keys: int = ranged(2, most=len(ascii_lowercase))
    values: int = ranged(2, most=len(ascii_uppercase))
    filler: str = ranged(one_of=("blank", "random"))
    train_rows: int = ranged(1)

    @property
    def interface(self) -> Interface:
        """Keys, values and the blank in, values out, at every step, of which the queries count."""
        return Interface(self.keys + self.values + 1, self.values, every_step=True, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows."""
        return self._drawn(rows, self.length, draw)

    def _drawn(self, rows: int, length: int, draw: Generator) -> Rows:
        n, blank = self.pairs, self.keys + self.values
        keys, values = (
            torch.rand(rows, count, generator=draw).argsort(dim=1, stable=True)[:, :n]
            for count in (self.keys, self.values)
        )
        places = torch.arange(1, (length - 2 * n) // 2 + 1, dtype=torch.float64)
        gaps = without_replacement(weights_of(places), rows, n, draw)
        inputs = torch.full((rows, length), blank)
        if self.filler == "random":
            inputs = torch.randint(blank + 1, (rows, length), generator=draw)
        inputs[:, : 2 * n : 2], inputs[:, 1 : 2 * n : 2] = keys, self.keys + values
        queries = 2 * n + 2 * gaps
        targets = torch.zeros(rows, length, dtype=torch.long).scatter_(1, queries, values)
        weights = torch.zeros(rows, length, dtype=torch.float64).scatter_(1, queries, 1.0)
        return Rows(inputs.scatter_(1, queries, keys), targets, weights)

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return a sample of rows of another length, with as many pairs."""
        if length < 4 * self.pairs:
            return None
        rows = self._drawn(max(1, tokens // length), length, generator(0, "length", length))
        return replace(rows, source=f"{len(rows)} sampled rows")

    def needed(self, inputs: Tensor) -> Tensor:
        """The keys with their values."""
        return (torch.arange(inputs.shape[1]) < 2 * self.pairs).expand(inputs.shape)

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what guessing reaches, and knowing which values there were, but not with which keys."""
        K, n = self.values, self.pairs
        known = "knowing the values alone"
        accuracy = {"guessing": 1 / K, known: 1 / n}
        return {"loss": {"guessing": ln(K), known: ln(n)}, Accuracy.name: accuracy}

    @property
    def trained_on(self) -> str:
        """How many pairs, over which length."""
        return f"{self.pairs} pairs, length {self.length}"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> RecallReading:
        """Read pairs and queries."""
        return RecallReading(config.task["keys"], config.task["values"], config.task.pairs, config.length)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse more pairs than there is room, or there are keys or values, for."""
        pairs, most = config.task.pairs, min(config.task["keys"], config.task["values"])
        if pairs > most:
            return f"task.pairs={pairs} is too large; there are {most} different keys or values, see task.keys"
        if config.length < 4 * pairs:
            return f"length={config.length} is too small for task.pairs={pairs}; it must be at least {4 * pairs}"
        return super().rule(config)


def weights_of(places: Tensor) -> Tensor:
    """Return the weight of each place from 1 on, i^(a - 1), rounded so that it is the same on every machine."""
    return torch.tensor([round(place ** (POWER - 1), 12) for place in places.tolist()], dtype=torch.float64)
