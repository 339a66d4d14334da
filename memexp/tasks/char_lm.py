"""Character language models: after every character, which one comes next?

Two examples with their answers, length 5:

    t h e _ t  ->  h e _ t i
    t i m e _  ->  i m e _ t

The text is cut into a training part, a dev part that chooses the weights, and a test part, in this order. Training
batches are drawn in one of two ways, as in the tutorials (d2l.ai):

    random        subsequences in a random order; every batch starts from the initial state
    consecutive   row b of a batch goes on where row b of the batch before it ended, and the state is carried over,
                  detached: truncated back-propagation through time
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from memexp.arithmetic import ln
from memexp.errors import ConfigError
from memexp.fields import ranged
from memexp.tasks.metrics import Perplexity
from memexp.tasks.task import Interface, Reading, Rows, Task, generator
from memexp.tasks.text import characters, corpus, floors, writing
from memexp.tasks.text.characters import encode, opening, typed
from memexp.words import tr

SCORED_ROWS, SHORTEST_ROW = 32, 200  # a text is scored in so many rows side by side, unless they would be shorter
SHOWN = 60  # characters of the test text that are looked at if nothing else is asked for
RUNNING_TEXT = 20_100  # of the test text, at most; without `units.BURN_IN`, a length of quick Fourier transforms
LONGEST_WORD = 12  # letters; those beyond are too few to average over one by one
#: What the fingerprint says of the order of batches where that has changed since there are records of it.
ORDERS = {"random": "", "consecutive": "/stretches"}


class TextReading(Reading):
    """How a person reads a text.

    Args:
        vocabulary: its characters, in the order of their numbers.
        length: of the sequences that were trained on.
        prefix: what a text may begin with, or nothing.
    """

    token = "character"
    kinds = characters.KINDS
    place = "letter_of_the_word"
    words = "text"

    def __init__(self, vocabulary: Sequence[str], length: int, prefix: str = "") -> None:
        self.steps = length
        self.symbols, self.outputs = "".join(vocabulary), tuple(vocabulary)
        self.beginning = typed(prefix, vocabulary) or opening(vocabulary)

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each character is: inputs [N, L] -> places in `characters.KINDS`, [N, L].

        A letter at the start of a row counts as the first of its word.
        """
        of = torch.tensor([characters.KINDS.index(characters.kind(character)) for character in self.outputs])
        return torch.where(self.token_places(inputs) == 1, characters.KINDS.index("first letter"), of[inputs])

    def token_places(self, inputs: Tensor) -> Tensor:
        """Number the letters of each word from 1: inputs [N, L] -> [N, L]; 0 outside of words.

        All letters from the `LONGEST_WORD`-th on have this number.
        """
        letter = torch.tensor([characters.in_word(character) for character in self.outputs])
        return torch.from_numpy(characters.runs(letter[inputs].numpy())).clamp(max=LONGEST_WORD)

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each character, white space as a mark."""
        return [characters.MARKS.get(self.outputs[code], self.outputs[code]) for code in sequence.tolist()]

    def write(self, sequence: Tensor) -> str:
        """Write the characters in a line."""
        return "".join(self.outputs[code] for code in sequence.tolist()).replace("\n", characters.MARKS["\n"])

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model expects to come next, given the probabilities at every step, [L, K]."""
        likeliest = torch.from_numpy(np.argsort(-predictions[-1], kind="stable")[:3])
        expected = ", ".join(
            f"{label!r} {predictions[-1, code]:.3f}"
            for label, code in zip(self.labels(likeliest), likeliest.tolist(), strict=True)
        )
        bits = self.costs(sequence, predictions)
        following = tr(f"next: {expected}")
        return following if bits is None else tr(f"{following}; {np.nanmean(bits):.2f} bits per character")

    def costs(self, sequence: Tensor, predictions: np.ndarray) -> np.ndarray | None:
        """Return the bits that each character costs, given those before it: [L], not a number for the first.

        Args:
            sequence: L characters; nothing is known of a single one.
            predictions: the probabilities of what comes after each of them, [L, K].
        """
        if len(sequence) < 2:
            return None
        given = predictions[np.arange(len(sequence) - 1), sequence[1:].numpy()]
        given = np.maximum(given, np.finfo(np.float32).tiny)  # what rounds to 0 has no logarithm
        return np.concatenate([[np.nan], -np.log2(given)])

    def read(self, given: str) -> Tensor:
        """Turn a text into the numbers of its characters; where the model knows newlines they can be typed as ``\\n``.

        Raises:
            ConfigError: it has characters that the model does not know.
        """
        return encode(typed(given, self.outputs), self.outputs)


@dataclass(kw_only=True, eq=False)
class CharLM(Task):
    """A text as a task; see `Task`.

    Args:
        corpus: see `memexp.tasks.text.corpus.read`.
        encoding: see there.
        max_chars: use this many characters of the cleaned text; None for all.
        lower: fold case.
        strip_punctuation: keep letters and single spaces only.
        keep_newlines: a line of the text stays a line; else newlines become spaces.
        sampling: ``random`` or ``consecutive``.
        held_out: share of the text that is not trained on: half of it is dev, half test.
        dev_chars: while a model trains, dev's first so many characters are scored; None for all.
        prefixes: what is to be continued while the model trains.
        pred_period: epochs between two such writings; 0 for none.
        pred_chars: characters written.

    Raises:
        DataError: the text cannot be had.
        ConfigError: it is too short for one batch, or lacks a character of a prefix.
    """

    metrics = (Perplexity,)
    last_splits = ("train", "dev")  # never test: how much of its text has a language model memorised?
    later: ClassVar = {"encoding": corpus.UTF_8, "dev_chars": None}
    writes = True

    corpus: str
    max_chars: int | None = ranged(1)
    lower: bool
    strip_punctuation: bool
    keep_newlines: bool
    sampling: str = ranged(one_of=("random", "consecutive"))
    held_out: float = ranged(above=0, below=1)
    prefixes: list[str]
    pred_period: int = ranged(0)
    pred_chars: int = ranged(1)
    encoding: str
    dev_chars: int | None = ranged(2)

    _epoch: tuple[int, Tensor] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        text = corpus.read(self.corpus, self.folder, self.encoding)
        text = corpus.clean(text, self.max_chars, self.lower, self.strip_punctuation, self.keep_newlines)
        self.vocabulary = corpus.vocabulary(text)
        begun = [typed(prefix, self.vocabulary) for prefix in self.prefixes]
        self._prefixes = [(text, encode(text or opening(self.vocabulary), self.vocabulary)) for text in begun]
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()
        held = round(self.held_out * len(text) / 2)  # characters of dev and of test
        first, second = len(text) - 2 * held, len(text) - held
        self.texts = {"train": text[:first], "dev": text[first:second], "test": text[second:]}
        self._codes = {
            split: torch.from_numpy(characters.numbers(part, self.vocabulary)) for split, part in self.texts.items()
        }
        # One character more than inputs, for the last target; up to L - 1 are left out at the start of an epoch.
        L, B = self.length, self.batch_size
        self._sequences = (first - 1 - (L - 1)) // L
        if self.updates_per_epoch < 1:
            needed = math.ceil((B * L + L + 1) / (1 - self.held_out))
            raise ConfigError(
                f"the text has {len(text)} characters; one batch of {B} sequences of {L} needs "
                f"{needed}: give a longer text, or a smaller batch_size, length or task.held_out"
            )
        if held < 2:
            raise ConfigError(
                f"task.held_out={self.held_out} of the text's {len(text)} characters is too little for a dev and a "
                "test part"
            )

    @property
    def interface(self) -> Interface:
        """The characters of the text, in and out."""
        V = len(self.vocabulary)
        return Interface(V, V, every_step=True, longest=self.length)

    @property
    def updates_per_epoch(self) -> int:
        """How many whole batches the training text has."""
        return self._sequences // self.batch_size

    @property
    def trained_on(self) -> str:
        """The text, and how long its training part is."""
        return f"the text {Path(self.corpus).stem} ({len(self.texts['train']):,} characters)"

    @property
    def extras(self) -> Mapping[str, Tensor]:
        """The vocabulary, as code points."""
        return {"vocabulary": torch.tensor([ord(character) for character in self.vocabulary])}

    def batch(self, iteration: int) -> Rows:
        """Return the sequences of update ``iteration``: a pure function of the iteration (see `Task.batch`)."""
        epoch, place = divmod(iteration, self.updates_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, torch.stack([self._starts(seed, epoch) for seed in self.seeds])
        starts = self._epoch[1][:, place]  # [S, B]
        codes = self._codes["train"][starts[..., None] + torch.arange(self.length + 1)].long()  # [S, B, L + 1]
        continues = self.sampling == "consecutive" and place > 0
        return Rows(codes[..., :-1], codes[..., 1:], continues=continues)

    def _starts(self, seed: int, epoch: int) -> Tensor:
        """Return where every sequence of an epoch starts, [updates, B]."""
        draw = generator(seed, f"char_lm/{self.sampling}", epoch)
        L, B, updates = self.length, self.batch_size, self.updates_per_epoch
        if self.sampling == "random":
            offset = int(torch.randint(L, (1,), generator=draw))
            order = torch.randperm(self._sequences, generator=draw)  # those left over are others in every epoch
            return offset + L * order[: updates * B].view(updates, B)
        # Row b reads in a stretch of its own; what is left of the stretches is at their other places in every epoch.
        most = len(self.texts["train"]) - 1
        stretch = most // B
        offset = int(torch.randint(most - (B - 1) * stretch - updates * L + 1, (1,), generator=draw))
        return offset + stretch * torch.arange(B) + L * torch.arange(updates)[:, None]

    def rows(self, split: str) -> Rows:
        """Return ``train``, ``dev`` or ``test`` in a few long rows, [N, L]: hardly any character lacks its past."""
        return _in_rows(self._codes[split])

    def chooser(self) -> Rows:
        """Return dev, or its first `dev_chars` characters: on a long text all of it would cost more than training."""
        return _in_rows(self._codes["dev"][: self.dev_chars])

    def splits(self) -> dict[str, Rows]:
        """Return the three parts of the text."""
        return {split: self.rows(split) for split in self.texts}

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the bits per character of every split."""
        return {f"{split}_bits": [nats / ln(2) for nats in scores[f"{split}_loss"]] for split in self.texts}

    def shown(self) -> dict[str, bool]:
        """Return the perplexities, and the bits per character of the test text."""
        return super().shown() | {"test_bits": False}

    def floors(self) -> dict[str, dict[str, float]]:
        """Return the bits per character that simple models need for the test text."""
        seen, symbols = self.texts["train"] + self.texts["dev"], len(self.vocabulary)
        simple = floors.kept(seen, self.texts["test"], symbols, self.folder)
        return {"bits": simple, "loss": {name: bits * ln(2) for name, bits in simple.items()}}

    def about(self) -> dict[str, Any]:
        """Return the vocabulary, how long the parts of the text are, and how much of dev chose the weights."""
        sizes = {f"{split}_characters": len(part) for split, part in self.texts.items()}
        chose = len(self._codes["dev"][: self.dev_chars])
        return {"vocabulary": "".join(self.vocabulary), **sizes, "choosing_characters": chose}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the cleaned text and marks: of the order of batches (`ORDERS`), of a part of dev.

        A run whose batches would be others now is neither complete nor gone on with; nor is one whose weights would be
        chosen on another part of dev.
        """
        chosen_on = self.about()["choosing_characters"]
        part = f"/dev={chosen_on}" if chosen_on < len(self.texts["dev"]) else ""
        return self._fingerprint + ORDERS[self.sampling] + part

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> TextReading:
        """Read the characters that the model knows; a text begins with the first prefix that is not empty."""
        vocabulary = about["vocabulary"]
        if not isinstance(vocabulary, str) or not vocabulary:
            raise TypeError(f"the vocabulary is {vocabulary!r}, not a text")
        return TextReading(list(vocabulary), config.length, next(filter(None, config.task.prefixes), ""))

    def distribution(self) -> Rows:
        """Return the test text, every row with the same weight."""
        rows = super().distribution().to(torch.device("cpu"))
        reading = TextReading(self.vocabulary, self.length)
        long = bool((reading.token_places(rows.inputs) == LONGEST_WORD).any())
        beyond = f" (letter {LONGEST_WORD}: and all beyond)" if long else ""
        return replace(rows, source=f"{rows.source}, held out{beyond}")

    def example(self) -> Tensor:
        """Return how the test text begins."""
        return self._codes["test"][:SHOWN].long()

    def running_text(self) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Return the test text, [L], at most `RUNNING_TEXT`, and its features (`characters.features`)."""
        text = self.texts["test"][:RUNNING_TEXT]
        return encode(text, self.vocabulary), characters.features(text)

    @classmethod
    def files_in(cls, settings: DictConfig) -> Sequence[str]:
        """Name the corpus, unless it is a text that memexp knows."""
        return () if settings.corpus in corpus.KNOWN else ("corpus",)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a model that has seen what it is to predict, prefixes that are no texts, and no encoding."""
        for prefix in config.task.prefixes:
            if not isinstance(prefix, str):
                return f'task.prefixes: {prefix} is not a text; give \'task.prefixes=["one","another one"]\''
        if not corpus.known(config.task.encoding):
            return f"task.encoding={config.task.encoding}: Python knows no such encoding; give one as {corpus.COMMON}"
        if config.model.bidirectional:
            return "model.bidirectional=true: a language model that reads backwards has seen what it is to predict"
        return None

    def after_update(self, model: Any, iteration: int, updates: int, folder: Path) -> None:
        """Let the model go on from each prefix every `pred_period` epochs and at the end."""
        epoch, place = divmod(iteration, self.updates_per_epoch)
        if self.pred_period and not place and (epoch % self.pred_period == 0 or iteration == updates):
            writing.note(model, self._prefixes, self.vocabulary, self.pred_chars, epoch, folder)


def _in_rows(codes: Tensor) -> Rows:
    """Lay a text in a few long rows, each going on where the one above it ends: [characters] -> [N, L]; no copies."""
    N = max(1, min(SCORED_ROWS, len(codes) // SHORTEST_ROW))
    L = (len(codes) - 1) // N
    inputs, targets = (codes[first : first + N * L].view(N, L) for first in (0, 1))
    return Rows(inputs, targets, source=f"{N} rows of {L} characters", in_pieces=True)
