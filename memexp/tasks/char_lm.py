"""Character language models: after every character, which one comes next?

Two examples with their answers, num_steps 5:

    t h e _ t  ->  h e _ t i
    t i m e _  ->  i m e _ t

The text is cut into a training part, a dev part that chooses the weights, and a test part, in this order. Training
batches are drawn in one of two ways, as in the tutorials (d2l.ai):

    random        subsequences in a random order; every batch starts from the initial state
    consecutive   row b of a batch goes on where row b of the batch before it ended, and the state is carried over,
                  detached: truncated back-propagation through time
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memexp.errors import ConfigError
from memexp.tasks.metrics import Mean, Perplexity
from memexp.tasks.task import Rows, generator
from memexp.tasks.text import characters, floors
from memexp.tasks.text import corpus as corpora

EVALUATION_ROWS, SHORTEST_ROW = 32, 200  # a text is scored in so many rows side by side, unless they would be shorter
SHOWN = 60  # characters of the test text that are looked at if nothing else is asked for
RUNNING_TEXT = 20_100  # of the test text, at most; without `units.BURN_IN`, a length of quick Fourier transforms
LONGEST_WORD = 12  # letters; those beyond are too few to average over one by one
#: What the fingerprint says of the order of batches where that has changed since there are records of it.
ORDERS = {"random": "", "consecutive": "/stretches"}


class CharLM:
    """A text as a task.

    Args:
        seeds: the seeds; each has its own order of batches.
        batch_size: B.
        folder: where downloaded texts are kept.
        corpus: see `memexp.tasks.text.corpus.read`.
        max_chars: use this many characters of the cleaned text; None for all.
        lower: fold case.
        strip_punctuation: keep letters and single spaces only.
        keep_newlines: a line of the text stays a line; else newlines become spaces.
        num_steps: L, time steps of a training sequence.
        sampling: ``random`` or ``consecutive``.
        held_out: share of the text that is not trained on: half of it is dev, half test.
        prefixes: what is to be continued while the model trains.
        pred_period: epochs between two such writings; 0 for none.
        pred_chars: characters written.

    Raises:
        DataError: the text cannot be had.
        ConfigError: it is too short for one batch, or lacks a character of a prefix.
    """

    metric: type[Mean] = Perplexity
    every_step = True
    token: str = "character"
    kinds: Sequence[str] = characters.KINDS
    singled_out: str | None = None
    place: str = "letter_of_the_word"

    def __init__(
        self,
        seeds: Sequence[int],
        batch_size: int,
        folder: Path,
        corpus: str = "harbour",
        max_chars: int | None = None,
        lower: bool = False,
        strip_punctuation: bool = False,
        keep_newlines: bool = False,
        num_steps: int = 35,
        sampling: str = "random",
        held_out: float = 0.1,
        prefixes: Sequence[str] = (),
        pred_period: int = 0,
        pred_chars: int = 50,
    ) -> None:
        text = corpora.clean(corpora.read(corpus, folder), max_chars, lower, strip_punctuation, keep_newlines)
        self.seeds, self.batch_size, self.num_steps, self.sampling = list(seeds), batch_size, num_steps, sampling
        self.vocabulary = corpora.vocabulary(text)
        self.symbols = self.classes = len(self.vocabulary)
        code_points = torch.tensor([ord(character) for character in self.vocabulary])
        self.extras: Mapping[str, Tensor] = {"vocabulary": code_points}
        self.longest = num_steps
        begun = [typed(prefix, self.vocabulary) for prefix in prefixes]
        self.prefixes = [(text, encode(text or opening(self.vocabulary), self.vocabulary)) for text in begun]
        self.pred_chars, self.pred_period = pred_chars, pred_period
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()
        held = round(held_out * len(text) / 2)  # characters of dev and of test
        first, second = len(text) - 2 * held, len(text) - held
        self.trained_on = f"the text {Path(corpus).stem} ({first:,} characters)"
        self.texts = {"train": text[:first], "dev": text[first:second], "test": text[second:]}
        self._codes = {split: encode(part, self.vocabulary) for split, part in self.texts.items()}
        # One character more than inputs, for the last target; up to L - 1 are left out at the start of an epoch.
        self._sequences = (first - 1 - (num_steps - 1)) // num_steps
        self.updates_per_epoch = self._sequences // batch_size
        if self.updates_per_epoch < 1:
            needed = math.ceil((batch_size * num_steps + num_steps + 1) / (1 - held_out))
            raise ConfigError(
                f"the text has {len(text)} characters; one batch of {batch_size} sequences of {num_steps} needs "
                f"{needed}: give a longer text, or a smaller batch_size, task.num_steps or task.held_out"
            )
        if held < 2:
            raise ConfigError(
                f"task.held_out={held_out} of the text's {len(text)} characters is too little for a dev and a test part"
            )
        self._epoch: tuple[int, Tensor] | None = None

    def batch(self, iteration: int) -> Rows:
        """Return the sequences of update ``iteration``: a pure function of the iteration (see `Task.batch`)."""
        epoch, place = divmod(iteration, self.updates_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, torch.stack([self._starts(seed, epoch) for seed in self.seeds])
        starts = self._epoch[1][:, place]  # [S, B]
        codes = self._codes["train"][starts[..., None] + torch.arange(self.num_steps + 1)]  # [S, B, L + 1]
        continues = self.sampling == "consecutive" and place > 0
        return Rows(codes[..., :-1], codes[..., 1:], continues=continues)

    def _starts(self, seed: int, epoch: int) -> Tensor:
        """Return where every sequence of an epoch starts, [updates, B]."""
        draw = generator(seed, f"char_lm/{self.sampling}", epoch)
        L, B, updates = self.num_steps, self.batch_size, self.updates_per_epoch
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
        codes = self._codes[split]
        N = max(1, min(EVALUATION_ROWS, len(codes) // SHORTEST_ROW))
        L = (len(codes) - 1) // N
        starts = torch.arange(N)[:, None] * L + torch.arange(L)
        return Rows(codes[starts], codes[starts + 1], source=f"{N} rows of {L} characters")

    def distribution(self) -> Rows:
        """Return the test text, every row with the same weight."""
        rows = self.rows("test")
        weights = torch.full((len(rows),), 1 / len(rows), dtype=torch.float64)
        long = bool((self.token_places(rows.inputs) == LONGEST_WORD).any())
        beyond = f" (letter {LONGEST_WORD}: and all beyond)" if long else ""
        return dataclasses.replace(rows, weights=weights, source=f"{rows.source}, held out{beyond}")

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each character is: inputs [N, L] -> places in `characters.KINDS`, [N, L].

        A letter at the start of a row counts as the first of its word.
        """
        of = torch.tensor([characters.KINDS.index(characters.kind(character)) for character in self.vocabulary])
        return torch.where(self.token_places(inputs) == 1, characters.KINDS.index("first letter"), of[inputs])

    def token_places(self, inputs: Tensor) -> Tensor:
        """Number the letters of each word from 1: inputs [N, L] -> [N, L]; 0 outside of words.

        All letters from the `LONGEST_WORD`-th on have this number.
        """
        letter = torch.tensor([characters.in_word(character) for character in self.vocabulary])
        return torch.from_numpy(characters.runs(letter[inputs].numpy())).clamp(max=LONGEST_WORD)

    def labels(self, tokens: Sequence[int]) -> list[str]:
        """Write each character, white space as a mark."""
        return [characters.MARKS.get(self.vocabulary[code], self.vocabulary[code]) for code in tokens]

    def write(self, tokens: Sequence[int]) -> str:
        """Write the characters in a line."""
        return "".join(self.vocabulary[code] for code in tokens).replace("\n", characters.MARKS["\n"])

    def describe(self, tokens: Sequence[int], probabilities: np.ndarray) -> str:
        """Say what the model expects to come next, given the probabilities at every step, [L, K]."""
        likeliest = np.argsort(-probabilities[-1], kind="stable")[:3].tolist()
        expected = ", ".join(
            f"{label!r} {probabilities[-1, code]:.3f}"
            for label, code in zip(self.labels(likeliest), likeliest, strict=True)
        )
        bits = self.costs(tokens, probabilities)
        mean = "" if bits is None else f"; {np.nanmean(bits):.2f} bits per character"
        return f"next: {expected}{mean}"

    def costs(self, tokens: Sequence[int], probabilities: np.ndarray) -> np.ndarray | None:
        """Return the bits that each character costs, given those before it: [L], not a number for the first.

        Args:
            tokens: L characters; nothing is known of a single one.
            probabilities: of what comes after each of them, [L, K].
        """
        if len(tokens) < 2:
            return None
        given = probabilities[np.arange(len(tokens) - 1), tokens[1:]]
        given = np.maximum(given, np.finfo(np.float32).tiny)  # what rounds to 0 has no logarithm
        return np.concatenate([[np.nan], -np.log2(given)])

    def read_sequence(self, given: str) -> list[int]:
        """Turn a text into the numbers of its characters; nothing is the beginning of the test text.

        Where the model knows newlines they can be typed as ``\\n``.

        Raises:
            ConfigError: it has characters that the model does not know.
        """
        given = typed(given, self.vocabulary) or self.texts["test"][:SHOWN]
        codes: list[int] = encode(given, self.vocabulary).tolist()
        return codes

    def remark(self, tokens: Sequence[int]) -> str | None:
        """Say nothing: a text can be of any length."""
        return None

    def running_text(self) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Return the test text, [L], at most `RUNNING_TEXT`, and its features (`characters.features`)."""
        text = self.texts["test"][:RUNNING_TEXT]
        return encode(text, self.vocabulary), characters.features(text)

    def splits(self) -> dict[str, Rows]:
        """Return what the final weights are scored on, by name."""
        return {split: self.rows(split) for split in ("train", "dev", "test")}

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the bits per character of every split."""
        return {f"{split}_bits": [nats / math.log(2) for nats in scores[f"{split}_loss"]] for split in self.texts}

    def about(self) -> dict[str, Any]:
        """Return what the record says of the task: sizes, vocabulary, and the floors on the test text."""
        characters = {f"{split}_characters": len(part) for split, part in self.texts.items()}
        floors = simple_models.floors(self.texts["train"] + self.texts["dev"], self.texts["test"], self.symbols)
        bits = {f"floor_{name}_bits": value for name, value in floors.items()}
        return {"vocabulary": "".join(self.vocabulary), "symbols": self.symbols, **characters, **bits}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the cleaned text and, of consecutive batches, a mark of their order (`ORDERS`).

        A run whose batches would be others now is neither complete nor gone on with.
        """
        return self._fingerprint + ORDERS[self.sampling]


def typed(text: str, vocabulary: Sequence[str]) -> str:
    """Return a text as it was meant: ``\\n`` is a newline to a vocabulary that has one, and has no backslash."""
    return text.replace(r"\n", "\n") if "\n" in vocabulary and "\\" not in vocabulary else text


def opening(vocabulary: Sequence[str]) -> str:
    """Return what a text that begins with nothing goes on from: a space, else a newline, else the first character."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])


def encode(text: str, vocabulary: Sequence[str]) -> Tensor:
    """Turn text into the numbers of its characters, [L]; a space is a newline to a vocabulary with newlines alone.

    Raises:
        ConfigError: it has characters that the vocabulary does not have; they are named.
    """
    number = {character: k for k, character in enumerate(vocabulary)}
    if "\n" in number:
        number.setdefault(" ", number["\n"])  # verse without spaces
    unknown = sorted(set(text) - number.keys())
    if unknown:
        known = "".join(vocabulary)
        shown = known if len(known) <= 80 else f"{known[:80]}... ({len(known)} in all)"
        raise ConfigError(f"the text {text!r} has characters the model does not know: {unknown}; it knows {shown!r}")
    return torch.tensor([number[character] for character in text], dtype=torch.long)
