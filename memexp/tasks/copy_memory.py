"""Copy memory: keep some symbols over a wait, then say them (Hochreiter and Schmidhuber 1997; Arjovsky et al. 2016).

Two examples with their answers, 3 items of 8 symbols, length 5; a dot is a step at which nothing is asked:

    a f c _ _ _ _ _ > _ _  ->  . . . . . . . . a f c
    h h b _ _ _ _ _ > _ _  ->  . . . . . . . . h h b

First come the items, then ``length`` blanks, then a cue; at the cue the first item is asked for, and the others at the
blanks after it. Blanks and waiting never count, neither in the loss nor in a score: a model that always gives the same
answer scores chance.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import ln
from memexp.fields import ranged
from memexp.tasks.metrics import Accuracy, SequenceAccuracy
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, codes_typed, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2000
BLANK, CUE = "_", ">"


class CopyReading(Reading):
    """How a person reads items, blanks and the cue.

    Args:
        symbols: K, how many different items there are.
        items: how many are to be kept.
        length: for how many blanks.
    """

    token = "symbol"
    kinds = ("item", "blank", "cue")

    def __init__(self, symbols: int, items: int, length: int) -> None:
        self.items, self.length, self.steps = items, length, length + 2 * items
        self.outputs = tuple(ascii_lowercase[:symbols])
        self.symbols = "".join(self.outputs) + BLANK + CUE
        self.beginning = self.write(self.example())

    def read(self, given: str) -> Tensor:
        """Read a whole sequence, ``abc_____>__``, or its items alone, ``abc``; see `symbols_typed`.

        Raises:
            ConfigError: it has other characters.
        """
        allowed = (
            f"give items from {self.outputs[0]} to {self.outputs[-1]}, or a whole sequence with blanks {BLANK} and "
            f"the cue {CUE}, in double quotes"
        )
        codes = torch.tensor(codes_typed(given, self.symbols or "", allowed))
        return self._asked(codes) if (codes < len(self.outputs)).all() else codes

    def _asked(self, items: Tensor) -> Tensor:
        """Put the wait, the cue and the blanks behind items, [n] -> [length + 2 n]."""
        K = len(self.outputs)
        blanks = items.new_full((self.length,), K)
        return torch.cat([items, blanks, items.new_tensor([K + 1]), items.new_full((len(items) - 1,), K)])

    def example(self) -> Tensor:
        """Return the first items of the alphabet, in turn."""
        return self._asked(torch.arange(self.items) % len(self.outputs))

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each symbol."""
        return [(self.symbols or "")[code] for code in sequence.tolist()]

    def write(self, sequence: Tensor) -> str:
        """Write the sequence without spaces."""
        return "".join(self.labels(sequence))

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model recalls from the cue on, and what it should."""
        K = len(self.outputs)
        cues = (sequence == K + 1).nonzero().flatten().tolist()
        if not cues:
            return tr(f"no cue ({CUE}), so nothing is asked")
        told = [self.outputs[code] for code in predictions[cues[0] :].argmax(-1).tolist()]
        items = [self.outputs[code] for code in sequence[: cues[0]].tolist() if code < K]
        told = told[: len(items)]
        right = sum(a == b for a, b in zip(told, items, strict=False))
        verdict = tr("right") if told == items else tr(f"{right} right")
        return tr(f"recalls {''.join(told)}; truth {''.join(items)} ({verdict})")

    def remark(self, sequence: Tensor) -> str | None:
        """Say that the wait or the number of items is another one, if it is."""
        if len(sequence) == self.steps:
            return None
        return (
            f"the sequence has {len(sequence)} symbols; this model was trained on {self.items} items over "
            f"{self.length} blanks, {self.steps} symbols"
        )

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say which symbols are items, blanks and cues: inputs [N, L] -> places in `kinds`, [N, L]."""
        return (inputs - len(self.outputs) + 1).clamp(min=0)


@dataclass(kw_only=True, eq=False)
class CopyMemory(SampledTask):
    """Copy memory; see `memexp.tasks.sampled.SampledTask`. ``length`` is the number of blanks.

    Args:
        symbols: K, how many different items there are.
        items: how many are to be kept.
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
        exact_limit: exact scores are over all K^items inputs if these have up to so many symbols.
    """

    metrics: ClassVar = (Accuracy, SequenceAccuracy)
    counted: ClassVar = "items"
    drawn_from: ClassVar = "symbols"

    symbols: int = ranged(2, most=len(ascii_lowercase))
    items: int = ranged(1)
    train_rows: int = ranged(1)
    exact_limit: int = ranged(0)

    @property
    def interface(self) -> Interface:
        """Items, blank and cue in, items out, at every step."""
        return Interface(self.symbols + 2, self.symbols, every_step=True, longest=self.items + self.length)

    def asked(self, items: Tensor, source: str = "", blanks: int | None = None) -> Rows:
        """Ask for items, [N, n], after ``blanks``, or else ``length``: inputs [N, blanks + 2 n], targets, weights."""
        N, n = items.shape
        lag, blank, cue = self.length if blanks is None else blanks, self.symbols, self.symbols + 1
        wait, recall = items.new_full((N, lag), blank), items.new_full((N, n), blank)
        recall[:, 0] = cue
        before = items.new_zeros(N, n + lag)  # nothing is asked there
        weights = torch.cat([before, torch.ones_like(items)], 1).double()
        return Rows(torch.cat([items, wait, recall], 1), torch.cat([before, items], 1), weights, source)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows: every item is equally likely at every place."""
        return self.asked(self._items(rows, draw))

    def _items(self, rows: int, draw: Generator) -> Tensor:
        return torch.randint(self.symbols, (rows, self.items), generator=draw)

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split."""
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS, "test": TEST_ROWS}[split])

    def splits(self) -> dict[str, Rows]:
        """Return dev, test and, where they are few enough, all inputs."""
        return {**super().splits(), **({} if self._all is None else {"exact": self._all})}

    def distribution(self) -> Rows:
        """Return all inputs if they are few enough, else the test rows."""
        return super().distribution() if self._all is None else self._all

    @cached_property
    def _all(self) -> Rows | None:
        return self._every(self.length, self.exact_limit)

    def _every(self, blanks: int, tokens: int) -> Rows | None:
        """Return all inputs with so many blanks; None if they have more tokens."""
        inputs = self.symbols**self.items
        if inputs * (blanks + 2 * self.items) > tokens:
            return None
        every = torch.tensor([*itertools.product(range(self.symbols), repeat=self.items)])
        return self.asked(every, f"all {inputs} inputs", blanks)

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return as many items after another wait: all there are, or a sample."""
        if length < 1:
            return None
        if (every := self._every(length, tokens)) is not None:
            return every
        rows = max(1, tokens // (length + 2 * self.items))
        items = self._items(rows, generator(0, "length", length))
        return self.asked(items, f"{rows} sampled rows", length)

    def needed(self, inputs: Tensor) -> Tensor:
        """The items."""
        return inputs < self.symbols

    def facts(self, rows: Rows) -> dict[str, Tensor]:
        """Return the items in their order: at the last step the last one is asked for."""
        return {f"item {place}": item for place, item in enumerate(rows.inputs[:, : self.items].unbind(1), 1)}

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what guessing reaches: ln K nats for each item that is asked for."""
        K, n = self.symbols, self.items
        return {
            "loss": {"guessing": ln(K)},
            Accuracy.name: {"guessing": 1 / K},
            SequenceAccuracy.name: {"guessing": 1 / K**n},
        }

    def about(self) -> dict[str, Any]:
        """Return the floor over all steps of a sequence (Arjovsky et al. 2016), and what exact scores are over."""
        per_step = self.items * ln(self.symbols) / (self.length + 2 * self.items)
        return {"floor_per_step": per_step, **({} if self._all is None else {"exact_over": self._all.source})}

    @property
    def trained_on(self) -> str:
        """How many items over how many blanks."""
        return f"{self.items} items over {self.length} blanks"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> CopyReading:
        """Read items, blanks and the cue."""
        return CopyReading(config.task["symbols"], config.task["items"], config.length)
