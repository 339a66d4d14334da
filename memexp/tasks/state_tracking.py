"""State tracking: run an automaton over symbols, and say what its state answers at the end, or at every step.

Two examples of parity (is the number of 1s odd?) with their answers, lengths 6 and 4; a dot is a step at which nothing
is asked:

    1 0 1 1 0 0  ->  . . . . . 1
    0 1 1 0      ->  . . . 0

Every symbol changes the state, so that a model has to update its memory at every step, over any number of steps. What
is asked at the end is asked of sequences of many lengths side by side: a row is as long as the longest, and what comes
after its own end counts for nothing. (Deletang et al. 2023 draw one length for each batch instead.)

Parity, even pairs, cycle navigation and modular arithmetic are the regular tasks of Deletang et al. 2023
(arXiv:2207.02098); the word problems of the groups S3 and A5 are asked at every step in Merrill et al. 2024
(arXiv:2404.08819). A5 is not solvable: no network of fixed depth whose state is a sum, or a product of diagonal
matrices, can do it at every length unless TC0 = NC1.
"""

import itertools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters, digits
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import ln
from memexp.errors import ConfigError
from memexp.fields import ranged
from memexp.tasks.metrics import Accuracy, SequenceAccuracy
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, asked_at, codes_typed, generator
from memexp.words import tr

DEV_ROWS, TEST_ROWS = 500, 2000
NAMES = digits + ascii_letters  # of group elements, one character each
START = "start"


@dataclass(frozen=True)
class Automaton:
    """An automaton whose state answers.

    Attributes:
        symbols: one character each; a symbol is its place here.
        outputs: what each answer is called; an answer is its place here.
        drawn: which symbols may stand at step t: those of ``drawn[t % len(drawn)]``. A sequence ends with one of the
            first kind.
        table: the state after a symbol, [V, states]; a run begins in state 0.
        answers: what each state answers, [states].
    """

    symbols: str
    outputs: tuple[str, ...]
    drawn: tuple[tuple[int, ...], ...]
    table: Tensor
    answers: Tensor

    def answer(self, inputs: Tensor) -> Tensor:
        """Return the answer at every step: symbols [..., L] -> [..., L]."""
        state, found = torch.zeros_like(inputs[..., 0]), []
        for symbol in inputs.unbind(-1):
            state = self.table[symbol, state]
            found.append(self.answers[state])
        return torch.stack(found, -1)

    def possible(self, length: int) -> bool:
        """Say whether there are sequences of a length."""
        return length >= 1 and (length - 1) % len(self.drawn) == 0

    def kinds(self, length: int) -> list[tuple[int, ...]]:
        """Return which symbols may stand at each step of a sequence."""
        return [self.drawn[step % len(self.drawn)] for step in range(length)]

    def every(self, length: int) -> Tensor:
        """List all sequences of a length, [N, length]."""
        return torch.tensor([*itertools.product(*self.kinds(length))])

    def count(self, length: int) -> int:
        """Count the sequences of a length."""
        return int(np.prod([len(kind) for kind in self.kinds(length)], dtype=object))

    def chances(self, length: int) -> np.ndarray:
        """Return how likely each answer is at each step, [length, K]: every sequence is equally likely.

        The probabilities of the states are carried from step to step, in a fixed order: exact, but for rounding.
        """
        table, answers = self.table.tolist(), self.answers.tolist()
        found = np.zeros((length, len(self.outputs)))
        states = [1.0] + [0.0] * (len(answers) - 1)
        for step, kind in enumerate(self.kinds(length)):
            after = [0.0] * len(answers)
            for state, chance in enumerate(states):
                for symbol in kind if chance else ():
                    after[table[symbol][state]] += chance / len(kind)
            states = after
            for state, chance in enumerate(states):
                found[step, answers[state]] += chance
        return found


def automaton(
    symbols: str,
    outputs: Callable[[int], str],
    start: Hashable,
    step: Callable[[Any, int], Hashable],
    answer: Callable[[Any], int],
    drawn: tuple[tuple[int, ...], ...] = (),
) -> Automaton:
    """Write an automaton down as tables: its states are those that can be reached.

    Args:
        symbols: one character each.
        outputs: what an answer is called.
        start: the first state.
        step: the state after a state and a symbol.
        answer: what a state answers.
        drawn: see `Automaton`; empty for any symbol at any step.
    """
    place = {start: 0}
    states = [start]
    columns = []
    for state in states:  # it grows as states are found
        after = [step(state, symbol) for symbol in range(len(symbols))]
        for new in after:
            if new not in place:
                place[new] = len(states)
                states.append(new)
        columns.append([place[new] for new in after])
    answers = torch.tensor([answer(state) for state in states])
    every = (tuple(range(len(symbols))),)
    names = tuple(outputs(k) for k in range(int(answers.max()) + 1))
    return Automaton(symbols, names, drawn or every, torch.tensor(columns).T.contiguous(), answers)


def modular_sum(modulus: int) -> Automaton:
    """The sum of the symbols 0, 1, ... so far, modulo n. (Parity is that modulo 2.)"""
    return automaton(NAMES[:modulus], str, 0, lambda total, x: (total + x) % modulus, int)


def even_pairs(_: int) -> Automaton:
    """Is the number of 01s and 10s odd? It is if the last symbol is another than the first: these two are enough."""
    return automaton("01", str, START, lambda ends, x: (x if ends == START else ends[0], x), _unequal)


def _unequal(ends: Any) -> int:
    return 0 if ends == START else int(ends[0] != ends[1])


def cycle_navigation(modulus: int) -> Automaton:
    """Where on a circle of n places is who went left (l), stayed (s) or went right (r), from place 0 on?"""
    return automaton("lsr", str, 0, lambda place, x: (place + x - 1) % modulus, int)


def modular_arithmetic(modulus: int) -> Automaton:
    """The value of an expression such as 1+2*3-4, modulo n: numbers at odd steps, operators at even ones.

    The state is the sum of the terms that are closed, the term that is open, and the operator before the next number.
    """
    plus, minus, times = range(modulus, modulus + 3)

    def step(state: tuple[int, int, int], x: int) -> tuple[int, int, int]:
        closed, term, operator = state
        if x in (plus, minus):
            return (closed + term) % modulus, 0, x
        if x == times:
            return closed, term, x
        return closed, {plus: x, minus: -x, times: term * x}[operator] % modulus, operator

    return automaton(
        NAMES[:modulus] + "+-*", str, (0, 0, plus), step, lambda state: (state[0] + state[1]) % modulus,
        (tuple(range(modulus)), (plus, minus, times)),
    )  # fmt: skip


def word_problem(points: int, even: bool) -> Automaton:
    """The product of permutations so far: a symbol is one of them, and so is the state.

    They are numbered in the order of their images, from 012... on, which is symbol 0; each is applied after those
    before it.

    Args:
        points: how many things are permuted.
        even: whether only the even permutations belong to the group.
    """
    group = [p for p in itertools.permutations(range(points)) if not even or _is_even(p)]
    place = {p: k for k, p in enumerate(group)}

    def step(state: tuple[int, ...], x: int) -> tuple[int, ...]:
        return tuple(group[x][image] for image in state)

    return automaton(NAMES[: len(group)], NAMES.__getitem__, group[0], step, place.__getitem__)


def _is_even(permutation: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in itertools.combinations(permutation, 2)) % 2 == 0


#: What is run: an automaton for each modulus n, which only some of them have.
AUTOMATA: Mapping[str, Callable[[int], Automaton]] = {
    "parity": lambda _: modular_sum(2),
    "modular_sum": modular_sum,
    "even_pairs": even_pairs,
    "cycle_navigation": cycle_navigation,
    "modular_arithmetic": modular_arithmetic,
    "s3": lambda _: word_problem(3, even=False),
    "a5": lambda _: word_problem(5, even=True),
}


class StateReading(Reading):
    """How a person reads the symbols of an automaton.

    Args:
        run: the automaton.
        length: of the longest sequences that were trained on.
    """

    token = "symbol"
    kinds = ("symbol",)

    def __init__(self, run: Automaton, length: int) -> None:
        self.run, self.steps = run, length
        self.outputs, self.symbols = run.outputs, run.symbols
        self.beginning = self.write(self.example())

    def example(self) -> Tensor:
        """Return the symbols of each step in turn."""
        kinds = self.run.kinds(self.steps)
        return torch.tensor([kind[(1 + step // len(self.run.drawn)) % len(kind)] for step, kind in enumerate(kinds)])

    def read(self, given: str) -> Tensor:
        """Read symbols; see `symbols_typed`.

        Raises:
            ConfigError: it has other characters, or symbols where they cannot stand.
        """
        allowed = f"give symbols of {self.run.symbols}, as sequence={self.beginning[:9]!r}, in double quotes"
        codes = codes_typed(given, self.run.symbols, allowed)
        for step, (code, kind) in enumerate(zip(codes, self.run.kinds(len(codes)), strict=True)):
            if code not in kind:
                raise ConfigError(
                    f"sequence={given!r}: {self.run.symbols[code]!r} cannot be symbol {step + 1}; {allowed}"
                )
        return torch.tensor(codes)

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each symbol."""
        return [self.run.symbols[code] for code in sequence.tolist()]

    def write(self, sequence: Tensor) -> str:
        """Write the symbols without spaces."""
        return "".join(self.labels(sequence))

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers at the end, how sure it is, and what is true."""
        probabilities = predictions[-1]
        answer, truth = int(probabilities.argmax()), int(self.run.answer(sequence)[-1])
        right = tr("(right)")
        verdict = right if answer == truth else tr(f"with probability {probabilities[truth]:.3f} (wrong)")
        told, true = self.outputs[answer], self.outputs[truth]
        return tr(f"answer {told} with probability {probabilities[answer]:.3f}; truth {true} {verdict}")

    def remark(self, sequence: Tensor) -> str | None:
        """Say that the sequence is longer than those that were trained on, if it is."""
        if len(sequence) <= self.steps:
            return None
        return f"the sequence has {len(sequence)} symbols; this model was trained on up to {self.steps}"


@dataclass(kw_only=True, eq=False)
class StateTracking(SampledTask):
    """State tracking; see `memexp.tasks.sampled.SampledTask`. ``length`` is the longest that is trained on.

    Rows of train and dev have lengths from ``shortest`` to ``length``, each as likely; those of test have ``length``.
    Asked at every step, all have ``length``, for every beginning of a sequence is asked for already.

    Args:
        automaton: one of `AUTOMATA`.
        modulus: n, of those that have one.
        asked: ``end`` or ``every_step``.
        shortest: the shortest sequence that is trained on, where the end is asked for.
        train_rows: rows of an epoch; of ``fixed`` always the same ones.
        exact_limit: exact scores are over all sequences of ``length`` if these have up to so many symbols.
    """

    metrics: ClassVar = (Accuracy, SequenceAccuracy)
    far: ClassVar = (300, 500)  # the latter as Deletang et al. 2023

    automaton: str = ranged(one_of=AUTOMATA)
    modulus: int = ranged(2, most=len(digits))
    asked: str = ranged(one_of=("end", "every_step"))
    shortest: int = ranged(1)
    train_rows: int = ranged(1)
    exact_limit: int = ranged(0)

    def __post_init__(self) -> None:
        self.run = AUTOMATA[self.automaton](self.modulus)

    @property
    def interface(self) -> Interface:
        """Symbols in, answers out, at every step."""
        return Interface(len(self.run.symbols), len(self.run.outputs), every_step=True, longest=self.length)

    def asking(self, inputs: Tensor, ends: Tensor | None = None, source: str = "") -> Rows:
        """Ask for what sequences end in.

        Args:
            inputs: [N, L].
            ends: the length of each, [N, 1]; None if all have L. Without meaning where every step is asked.
            source: where they come from.
        """
        if self.asked == "every_step":
            weights = torch.ones(inputs.shape, dtype=torch.float64)
        else:
            ends = torch.full((len(inputs), 1), inputs.shape[1]) if ends is None else ends
            weights = asked_at(ends, inputs.shape[1])
        return Rows(inputs, self.run.answer(inputs), weights, source)

    def symbols(self, rows: int, length: int, draw: Generator) -> Tensor:
        """Draw sequences of a length: every symbol that may stand at a step is as likely there, [rows, length]."""
        kinds = self.run.kinds(length)
        if len(self.run.drawn) == 1:
            return torch.randint(len(self.run.symbols), (rows, length), generator=draw)
        drawn = [torch.tensor(kind)[torch.randint(len(kind), (rows,), generator=draw)] for kind in kinds]
        return torch.stack(drawn, 1)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows of all lengths that are trained on."""
        inputs = self.symbols(rows, self.length, draw)
        if self.asked == "every_step":
            return self.asking(inputs)
        lengths = torch.tensor([n for n in range(self.shortest, self.length + 1) if self.run.possible(n)])
        return self.asking(inputs, lengths[torch.randint(len(lengths), (rows, 1), generator=draw)])

    def rows(self, split: str) -> Rows:
        """Return the fixed rows of a split: of test, all have ``length``."""
        if split == "test":
            return self._test
        return self.drawn_once(split, {"train": self.train_rows, "dev": DEV_ROWS}[split])

    @cached_property
    def _test(self) -> Rows:
        return self.asking(self.symbols(TEST_ROWS, self.length, generator(self.data_seed, "rows/test", 0)))

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return rows that all have another length: all there are, or a sample."""
        if not self.run.possible(length):
            return None
        if (count := self.run.count(length)) * length <= tokens:
            return self.asking(self.run.every(length), source=f"all {count} inputs")
        inputs = self.symbols(max(1, tokens // length), length, generator(0, "length", length))
        return self.asking(inputs, source=f"{len(inputs)} sampled rows")

    def splits(self) -> dict[str, Rows]:
        """Return dev, test and, where they are few enough, all sequences of ``length``."""
        return {**super().splits(), **({} if self._all is None else {"exact": self._all})}

    def distribution(self) -> Rows:
        """Return all sequences of ``length`` if they are few enough, else the test rows."""
        return super().distribution() if self._all is None else self._all

    @cached_property
    def _all(self) -> Rows | None:
        few = self.run.count(self.length) * self.length <= self.exact_limit
        return self.at_length(self.length, self.exact_limit) if few else None

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what a constant answer reaches at ``length``: the likeliest one, and its chances."""
        chances = self.run.chances(self.length)
        asked = chances if self.asked == "every_step" else chances[-1:]
        mean = asked.sum(0) / len(asked)
        entropy = -sum(float(p) * ln(float(p)) for p in mean if p)
        likeliest = "always the likeliest answer"
        own = {"loss": {"knowing nothing": entropy}, Accuracy.name: {likeliest: float(mean.max())}}
        return own if self.asked == "every_step" else {**own, SequenceAccuracy.name: own[Accuracy.name]}

    def about(self) -> dict[str, Any]:
        """Return what exact scores are over."""
        return {} if self._all is None else {"exact_over": self._all.source}

    @property
    def trained_on(self) -> str:
        """Which lengths."""
        if self.asked == "every_step" or self.shortest == self.length:
            return f"length {self.length}"
        return f"lengths {self.shortest} to {self.length}"

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> StateReading:
        """Read symbols."""
        return StateReading(AUTOMATA[config.task.automaton](config.task.modulus), config.length)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse lengths that no sequence has."""
        run, length = AUTOMATA[config.task.automaton](config.task.modulus), config.length
        if not run.possible(length):
            return (
                f"length={length} is not possible with task.automaton={config.task.automaton}; its sequences begin and "
                "end with a number, so that their length is odd"
            )
        if config.task.shortest > length:
            return f"task.shortest={config.task.shortest} is larger than length={length}; it must be at most that"
        return super().rule(config)
