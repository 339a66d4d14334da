"""A task: what is asked. Its inputs, targets, loss and metrics, floors, scores, and how a person reads it.

Everything that differs between tasks is said here by the task itself; nothing else in memexp asks which task it has.
A new one needs three members, `Task.interface`, `Task.batch` and `Task.rows`; the others have defaults.

Axis letters as in `memexp.models.cells`: S seeds, N rows, L time steps, M numbers at a step, A answers of a sequence
(1 or L), K outputs.
"""

import math
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import total
from memexp.errors import ConfigError
from memexp.fields import Named, settings_of
from memexp.tasks.metrics import Accuracy, CrossEntropy, Loss, Mean
from memexp.words import tr


@dataclass(frozen=True)
class Rows:
    """Examples.

    Attributes:
        inputs: symbols [N, L], or numbers [N, L, M]; with S in front where every seed has other rows.
        targets: [N, A], or [S, N, A].
        weights: of the targets' shape, float64: probability and mask in one. An answer of weight 0 is not asked, but
            its target must still be a possible one. None weighs all the same; a task's rows all have weights, or none.
        source: where the rows come from, for the record.
        continues: None where every row starts from the initial state; where rows go on from batch to batch it says
            whether these go on from those before (True) or begin (False).
        in_pieces: whether a long row may be read and scored piece by piece, its state being carried: every time step
            is an answer, and each counts by itself. Symbols may then be in a smaller type than torch's indices.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None
    source: str = ""
    continues: bool | None = None
    in_pieces: bool = False

    def __len__(self) -> int:
        return self.targets.shape[-2]

    def to(self, device: torch.device) -> "Rows":
        """Return the same rows on another device; symbols that were kept in a smaller type are indices there."""
        if device == self.targets.device and not self.in_pieces:
            return self
        return self._each(lambda tensor: tensor.to(device, None if tensor.is_floating_point() else torch.long))

    def with_seed_axis(self) -> "Rows":
        """Return the rows with an axis [1, ...] in front if they had no seed axis."""
        return self if self.targets.dim() == 3 else self._each(lambda tensor: tensor[None])

    def slice(self, start: int, stop: int) -> "Rows":
        """Return rows start..stop-1."""
        axis = self.targets.dim() - 2
        return self._each(lambda tensor: tensor[(slice(None),) * axis + (slice(start, stop),)])

    def steps(self, start: int, stop: int) -> "Rows":
        """Return time steps start..stop-1 of rows in which every step is an answer."""
        axis = self.targets.dim() - 1
        return self._each(lambda tensor: tensor[(slice(None),) * axis + (slice(start, stop),)])

    def take(self, places: Tensor) -> "Rows":
        """Return some rows, in that order; they must have no seed axis."""
        return self._each(lambda tensor: tensor[places])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Rows":
        weights = None if self.weights is None else change(self.weights)
        return replace(self, inputs=change(self.inputs), targets=change(self.targets), weights=weights)

    def row_weights(self) -> Tensor:
        """Return the probability of every row, [N], float64: they sum to 1."""
        if self.weights is None:
            return torch.full((len(self),), 1 / len(self), dtype=torch.float64)
        by_row = total(self.weights)
        return by_row / total(by_row)


def asked_at(ends: Tensor, length: int) -> Tensor:
    """Return the weights of rows of many lengths side by side, each asked once, at its end: [N, length].

    What follows the end of a row, up to ``length``, is read but never asked.

    Args:
        ends: the length of each row, [N, 1].
        length: of the longest.
    """
    return torch.zeros(len(ends), length, dtype=torch.float64).scatter_(1, ends - 1, 1.0)


def stack(by_seed: Sequence[Rows]) -> Rows:
    """Put the rows of each seed side by side: [N, ...] -> [S, N, ...]."""
    weights = [rows.weights for rows in by_seed if rows.weights is not None]
    return Rows(
        torch.stack([rows.inputs for rows in by_seed]),
        torch.stack([rows.targets for rows in by_seed]),
        torch.stack(weights) if weights else None,
    )


@dataclass(frozen=True)
class Interface:
    """What a model has to know of its task.

    Attributes:
        inputs: V, how many symbols there are; or M, how many numbers there are at each time step.
        outputs: K.
        every_step: whether there is an answer at every time step, or one at the end.
        longest: the largest distance to bridge, in time steps.
    """

    inputs: int
    outputs: int
    every_step: bool
    longest: int


def generator(seed: int, stream: str, counter: int) -> Generator:
    """Return a generator that depends on all three: no state has to be kept to draw the same rows again.

    Numpy's seed sequences are integer arithmetic; what is promised of torch's numbers, `memexp.arithmetic` says.
    """
    entropy = [seed, int.from_bytes(stream.encode(), "big"), counter]
    return Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


SEPARATORS = ",;、[]"


def symbols_typed(given: str, known: str) -> list[str]:
    """Take the symbols out of what was typed, as people and programs write them, and as the explorer reads them.

    What is known stays as it is. All else may be in full-width characters, in brackets, and with commas or spaces
    between: ``670``, ``6 7 0``, ``[6,7,0]`` and ``６７０`` are the same digits.
    """
    plain = "".join(c if c in known else unicodedata.normalize("NFKC", c) for c in given)
    return [c for c in plain if c in known or not (c.isspace() or c in SEPARATORS)]


def codes_typed(given: str, known: str, allowed: str) -> list[int]:
    """Return the places in ``known`` of the symbols that were typed; see `symbols_typed`.

    Raises:
        ConfigError: it has other characters, or nothing; it ends with what is ``allowed``.
    """
    characters = symbols_typed(given, known)
    unknown = sorted(set(characters) - set(known))
    if unknown or not characters:
        raise ConfigError(f"sequence={given!r} has {unknown or 'nothing'}; {allowed}")
    return [known.index(character) for character in characters]


class Reading:
    """How a person reads a task's sequences: what its tokens are, where they stand, and what an answer means.

    It knows no data: it is made from a run's config and record alone. A sequence is a tensor, [L] symbols or [L, M]
    numbers. What is here suits any task; one whose sequences can be typed in says how.

    Attributes:
        token: what one is called.
        kinds: of tokens.
        singled_out: a kind that is worth a line of its own.
        place: what places are counted in, as the column of a table.
        symbols: one character for each symbol, where sequences can be typed as such.
        outputs: what each output is called, where they are classes.
        words: what the explorer says of such sequences: ``digits``, ``text``, or ``symbols`` in general.
        beginning: what is typed into it at first.
        steps: how many tokens the sequences have that were trained on.
    """

    token: str = "token"
    kinds: Sequence[str] = ("token",)
    singled_out: str | None = None
    place: str = "time_step"
    symbols: str | None = None
    outputs: Sequence[str] = ()
    words: str = "symbols"
    beginning: str = ""
    steps: int = 0

    def read(self, given: str) -> Tensor:
        """Turn what was typed into a sequence.

        Raises:
            ConfigError: it is not a sequence of this task.
        """
        raise ConfigError(f"sequence={given}: sequences of this task cannot be typed; leave it out for one of its own")

    def example(self) -> Tensor | None:
        """Return a sequence worth looking at; None to take one from the data, see `Task.example`."""
        return None

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each token so that it can be told from the others on an axis."""
        return [" ".join(f"{number:.2g}" for number in token.flatten().tolist()) for token in sequence]

    def write(self, sequence: Tensor) -> str:
        """Write a sequence in a line."""
        return " ".join(self.labels(sequence))

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say in a line what a model answers, given what its answers say (`Loss.predictions`), [A, K]."""
        return tr(f"last answer {' '.join(f'{number:.3g}' for number in predictions[-1])}")

    def remark(self, sequence: Tensor) -> str | None:
        """Say in a line how a sequence differs from those that were trained on, if it does."""
        return None

    def costs(self, sequence: Tensor, predictions: np.ndarray) -> np.ndarray | None:
        """Return the bits that each token costs, [L], where every one of them is an answer."""
        return None

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each token is: inputs [N, L] or [N, L, M] -> places in `kinds`, [N, L]."""
        return torch.zeros(inputs.shape[:2], dtype=torch.long)

    def token_places(self, inputs: Tensor) -> Tensor | None:
        """Say where each token stands: inputs [N, L] -> [N, L], from 1, and 0 for nowhere; None for its time step."""
        return None


@dataclass(kw_only=True, eq=False)
class Task(ABC):
    """What is asked. A task knows its data and sizes, nothing of models.

    A subclass is a dataclass. Its further fields are its settings: they stand in its YAML file with their defaults,
    and `memexp.fields.ranged` gives their ranges.

    Args:
        length: L, the time steps of a training sequence.
        seeds: the seeds; what is drawn at random is another stream for each.
        batch_size: B, rows of one update.
        folder: where data are kept.
    """

    length: int
    seeds: Sequence[int]
    batch_size: int
    folder: Path

    loss: ClassVar[type[Loss]] = CrossEntropy
    metrics: ClassVar[tuple[type[Mean], ...]] = (Accuracy,)  # the first one chooses the best weights on dev
    last_splits: ClassVar[tuple[str, ...]] = ()  # splits that the weights after the last update are scored on as well
    panels: ClassVar[tuple[str, ...]] = ()  # settings with panels of their own in figures: labels leave them out
    later: ClassVar[Mapping[str, Any]] = {}  # settings that came after there were records, and their values in those;
    # what they change, `fingerprint` must say
    no_lag: ClassVar[Mapping[str, Any]] = {}  # settings by which the same is asked with nothing to remember
    far: ClassVar[tuple[int, ...]] = ()  # lengths at which `memexp.memory.length_matrix` tests beside its own ones
    counted: ClassVar[str | None] = None  # the setting that counts what has to be remembered, where there is one
    drawn_from: ClassVar[str | None] = None  # that of how many equally likely symbols each of these is, independently
    writes: ClassVar[bool] = False  # whether an answer is the next symbol, so that a trained model can go on by itself

    # What is asked -------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """What a model has to know."""

    @abstractmethod
    def batch(self, iteration: int) -> Rows:
        """Return the training rows of update ``iteration`` (0, 1, ...), with a seed axis.

        A pure function of the iteration, so that a resumed run sees the rows that an uninterrupted one sees.
        """

    @abstractmethod
    def rows(self, split: str) -> Rows:
        """Return the fixed rows of ``train``, ``dev`` or ``test``."""

    def chooser(self) -> Rows:
        """Return the rows that are scored while a model trains, and choose its weights: dev, or a part of it."""
        return self.rows("dev")

    @property
    def updates_per_epoch(self) -> int:
        """How many updates go once through the training rows."""
        return math.ceil(len(self.rows("train")) / self.batch_size)

    def fingerprint(self) -> str:
        """Return a hash of the data that are read from files: a part of a run's identity."""
        return "none"

    # What is scored and said in the record ---------------------------------------------------------------------------

    @property
    def verdict(self) -> type[Mean] | None:
        """The metric that says of an answer whether it is right, where its value is 1; None if there is none."""
        return next((metric for metric in self.metrics if metric.share), None)

    def splits(self) -> dict[str, Rows]:
        """Return what the chosen weights are scored on, by name; ``dev`` is one of them."""
        return {"dev": self.rows("dev"), "test": self.rows("test")}

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return scores that follow from those on the splits (``<split>_<metric>``, a value a seed)."""
        return {}

    def shown(self) -> dict[str, bool]:
        """Return the scores that tables show, and whether each is a share."""
        scored = [*(f"last_{split}" for split in self.last_splits), *self.splits()]
        return {f"{split}_{metric.name}": metric.share for split in scored for metric in self.metrics}

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what simple answers reach on the test rows: metric -> name -> value. ``loss`` is the loss."""
        return {}

    def about(self) -> dict[str, Any]:
        """Return what else the record says of the task beside its settings."""
        return {}

    @property
    def trained_on(self) -> str:
        """What the training rows are, in words."""
        return f"length {self.length}"

    @property
    def extras(self) -> Mapping[str, Tensor]:
        """What is saved with the weights, because they mean nothing without it."""
        return {}

    # What a trained model is shown ----------------------------------------------------------------------------------

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> Reading:
        """Return how a person reads the sequences of a run.

        Args:
            config: the run's.
            about: what `about` said when it was trained.
        """
        return Reading()

    def distribution(self) -> Rows:
        """Return inputs with weights that sum to 1: all there are, or a sample, over which to average."""
        rows = self.rows("test")
        weights = torch.ones(rows.targets.shape, dtype=torch.float64) if rows.weights is None else rows.weights
        return replace(rows, weights=weights / total(weights.flatten()), source=rows.source or f"{len(rows)} test rows")

    def example(self) -> Tensor:
        """Return a sequence worth looking at: the first of the test rows."""
        return self.rows("test").inputs[0]

    def running_text(self) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Return a long sequence that was held out, [L], and numbers that say something of each token, name -> [L].

        Both are empty where sequences are short and each begins anew.
        """
        return torch.empty(0, dtype=torch.long), {}

    # What measures of memory ask; see `memexp.memory` ----------------------------------------------------------------

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return rows of the same kind, but of another length; None where there is no such thing.

        Args:
            length: L.
            tokens: how many there may be in all; more than that are sampled, if all can be listed at all.
        """
        return None

    def held(self, length: int) -> Rows | None:
        """Return every question, followed by nothing but tokens that say nothing; None where there is no such thing."""
        return None

    def needed(self, inputs: Tensor) -> Tensor | None:
        """Say which tokens the answers depend on: inputs [N, L] or [N, L, M] -> bool, [N, L]; None if not only some."""
        return None

    def facts(self, rows: Rows) -> dict[str, Tensor]:
        """Return what a state could know of a row, name -> class of each row, [N]; the last is what is asked for."""
        return {}

    @classmethod
    def files_in(cls, settings: DictConfig) -> Sequence[str]:
        """Name the settings that are paths of files; of those in a record, see `memexp.trained`, the last part counts.

        Args:
            settings: of the task.
        """
        return ()

    # What a run asks ------------------------------------------------------------------------------------------------

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Say in a line why settings of a run of this task do not go together; None if they do."""
        return None

    def after_update(  # noqa: B027 (nothing, for most tasks)
        self, model: Any, iteration: int, updates: int, folder: Path
    ) -> None:
        """Do what the task does while a model trains: called after each update.

        Args:
            model: as it is now, a `memexp.models.networks.SequenceModel`.
            iteration: updates done.
            updates: of the whole run.
            folder: the run folder.
        """


def settings(kind: type[Task]) -> type[Named]:
    """Return the schema of a task's settings."""
    return settings_of(kind, ("length", "seeds", "batch_size", "folder"), later=kind.later)
