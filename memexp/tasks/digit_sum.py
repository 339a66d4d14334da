"""The digit-sum task (6.1): remember the first two digits to the end of the sequence, then give their sum.

Two examples with their answers, length 5, one distractor:

    6 7 0 0 1  ->  13
    0 9 0 0 0  ->  9

The first two digits are any of the 100 pairs. Of the other positions, ``distractors`` are drawn without
replacement and each is given a digit drawn uniformly from 0..9 (so with chance 0.1 it stays 0); the rest are 0.

With ``asked=last`` the two stand at the end, and what follows them here comes before: the same rows, but nothing has to
be remembered.
"""

import codecs
import hashlib
import io
import itertools
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Generator, Tensor

from memexp.arithmetic import ln, log, total
from memexp.errors import ConfigError, DataError
from memexp.fields import ranged
from memexp.files import remove_left, write_atomically
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Reading, Rows, generator, symbols_typed
from memexp.words import tr

DIGITS = 10
CLASSES = 2 * (DIGITS - 1) + 1
SHORTEST = 3  # two digits, and one place for something else
QUESTION = {"first": slice(None, 2), "last": slice(-2, None)}  # where the two digits that are asked for stand
REPEATS = {"train": 3, "dev": 1, "test": 1}  # how many rows each pair of first digits gets (the book's k)
SAMPLE_ROWS = 50_000  # rows of the fixed sample where the whole distribution is too large to enumerate
BOOK_SEQUENCE = (6, 7, 0, 0, 1)  # figure 6.13; zeros follow
KINDS = ("first digit", "second digit", "zero", "distractor")  # of tokens


@dataclass
class DigitReading(Reading):
    """How a person reads a sequence of digits.

    Args:
        length: of the sequences that were trained on.
        asked: where the two digits that are asked for stand, see `QUESTION`.
    """

    length: int
    asked: str = "first"

    token = "digit"
    kinds = KINDS
    singled_out = "distractor"
    symbols = "0123456789"
    outputs = tuple(map(str, range(CLASSES)))

    def __post_init__(self) -> None:
        self.steps = self.length
        self.words = "digits" if self.asked == "first" else "symbols"  # the explorer's digits are asked first
        self.beginning = "".join(self.labels(self.example()))

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each digit is: inputs [N, L] -> places in `KINDS`, [N, L]."""
        kinds = torch.where(inputs == 0, KINDS.index("zero"), KINDS.index("distractor"))
        kinds[:, QUESTION[self.asked]] = torch.tensor([KINDS.index("first digit"), KINDS.index("second digit")])
        return kinds

    def read(self, given: str) -> Tensor:
        """Read digits; see `read_digits`.

        Raises:
            ConfigError: something else than digits is there, or too few of them.
        """
        return torch.tensor(read_digits(given))

    def example(self) -> Tensor:
        """Return the book's sequence, cut or filled with zeros, and turned where its first digits are asked last."""
        return in_order(torch.tensor([*BOOK_SEQUENCE, *[0] * self.length][: self.length]), self.asked)

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each digit."""
        return [str(digit) for digit in sequence.tolist()]

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers, how sure it is, and what is true, given the probabilities of all sums, [1, K]."""
        probabilities = predictions[-1]
        answer, truth = int(probabilities.argmax()), int(sequence[QUESTION[self.asked]].sum())
        right = tr("(right)")
        verdict = right if answer == truth else tr(f"with probability {probabilities[truth]:.3f} (wrong)")
        return tr(f"answer {answer} with probability {probabilities[answer]:.3f}; truth {truth} {verdict}")

    def remark(self, sequence: Tensor) -> str | None:
        """Say that the sequence has another length, if it has."""
        if len(sequence) == self.length:
            return None
        return f"the sequence has {len(sequence)} digits; this model was trained on length {self.length}"


@dataclass(kw_only=True, eq=False)
class DigitSum(SampledTask):
    """The digit-sum task for one length; see `memexp.tasks.sampled.SampledTask`.

    Args:
        distractors: how many positions get a random digit; ``all`` for every position after the second.
        asked: ``first``: the two digits stand first; ``last``: they stand last, in rows that are the same otherwise.
        exact_limit: the distribution is enumerated if all its inputs have up to this many digits, else sampled.

    Raises:
        DataError: a data file is damaged, or the folder cannot be read or written.
    """

    panels = ("task.sampling",)
    later: ClassVar = {"asked": "first"}
    no_lag: ClassVar = {"asked": "last"}

    distractors: Any
    asked: str = ranged(one_of=QUESTION)
    exact_limit: int = ranged(0)

    def __post_init__(self) -> None:
        self._distractors = self.length - 2 if self.distractors == "all" else int(self.distractors)
        files = ensure_files(self.folder, self.length, self._distractors, self.data_seed, self.asked)
        contents = {split: _read_bytes(path) for split, path in files.items()}
        self._rows = {
            split: parse(content, files[split], self.length, self._distractors, self.asked)
            for split, content in contents.items()
        }
        self._fingerprint = hashlib.sha256(
            b"".join(as_generated(contents[split]) for split in sorted(contents))
        ).hexdigest()

    @property
    def interface(self) -> Interface:
        """Ten digits in, nineteen sums out, at the end; asked last, too, a model begins with the same weights."""
        return Interface(DIGITS, CLASSES, every_step=False, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows from the task's distribution."""
        return self._as_asked(sample(rows, self.length, self._distractors, draw))

    def _as_asked(self, rows: Rows) -> Rows:
        return replace(rows, inputs=in_order(rows.inputs, self.asked))

    def rows(self, split: str) -> Rows:
        """Return the rows of a data file: ``train``, ``dev`` or ``test``."""
        return self._rows[split]

    def distribution(self) -> Rows:
        """Return every possible input with its probability, or a fixed sample if there are more than `exact_limit`."""
        return self._distribution

    @cached_property
    def _distribution(self) -> Rows:
        if distinct_inputs(self.length, self._distractors) * self.length <= self.exact_limit:
            return self._as_asked(enumerate_distribution(self.length, self._distractors))
        rows = self.draw(SAMPLE_ROWS, generator(0, "exact", 0))
        weights = torch.full((SAMPLE_ROWS, 1), 1 / SAMPLE_ROWS, dtype=torch.float64)
        return Rows(rows.inputs, rows.targets, weights, f"{SAMPLE_ROWS} sampled rows")

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return rows with distractors as dense as in training, but no fewer than one if there is any."""
        if length < SHORTEST:
            return None
        distractors = round(self._distractors * (length - 2) / (self.length - 2))
        distractors = max(distractors, min(self._distractors, 1))
        if distinct_inputs(length, distractors) * length <= tokens:
            return self._as_asked(enumerate_distribution(length, distractors))
        rows = sample(max(1, tokens // length), length, distractors, generator(0, "length", length))
        return replace(self._as_asked(rows), source=f"{len(rows)} sampled rows")

    def held(self, length: int) -> Rows | None:
        """Return every pair of digits, followed by zeros; None where nothing follows them."""
        return enumerate_distribution(length, distractors=0) if self.asked == "first" else None

    def needed(self, inputs: Tensor) -> Tensor:
        """The two digits."""
        places = torch.zeros(inputs.shape, dtype=torch.bool)
        places[:, QUESTION[self.asked]] = True
        return places

    def facts(self, rows: Rows) -> dict[str, Tensor]:
        """Return both digits, and their sum."""
        first, second = rows.inputs[:, QUESTION[self.asked]].unbind(1)
        return {"first digit": first, "second digit": second, "sum": rows.targets[:, 0]}

    def splits(self) -> dict[str, Rows]:
        """Return dev, test, and every possible input."""
        return {**super().splits(), "exact": self.distribution()}

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the retained bits: H(sum) - cross-entropy, over every possible input."""
        entropy, _ = target_statistics(self.distribution())
        return {"retained_bits": [entropy - nats / ln(2) for nats in scores["exact_loss"]]}

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what guessing scores, and the losses of knowing neither digit, or one (their sum is then uniform)."""
        entropy, chance = target_statistics(self.distribution())
        return {
            "accuracy": {"always the likeliest answer": chance},
            "loss": {"knowing nothing": entropy * ln(2), "knowing one digit": ln(DIGITS)},
        }

    def about(self) -> dict[str, Any]:
        """Return the number of rows, what exact scores are over, the entropy of the answers, what guessing scores."""
        entropy, chance = target_statistics(self.distribution())
        sizes = {f"{split}_rows": len(rows) for split, rows in self._rows.items()}
        exact = {"exact_over": self.distribution().source}
        return {**sizes, **exact, "target_entropy_bits": entropy, "chance_accuracy": chance}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the three data files, and what is asked of them where that is not the first digits."""
        return self._fingerprint + ("" if self.asked == "first" else f"/asked={self.asked}")

    @classmethod
    def reading(cls, config: DictConfig, about: Mapping[str, Any]) -> DigitReading:
        """Read digits."""
        return DigitReading(config.length, config.task.asked)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length without room, and more distractors than there is room for."""
        if config.length < SHORTEST:
            return f"length={config.length} is too small; it must be at least {SHORTEST}"
        distractors, most = config.task.distractors, config.length - 2
        whole = isinstance(distractors, int) and not isinstance(distractors, bool)
        if distractors == "all" or (whole and 0 <= distractors <= most):
            return super().rule(config)
        return (
            f"task.distractors={distractors} is not possible at length={config.length}; "
            f"allowed: 0 to {most} (the positions after the second), or all"
        )


def read_digits(given: str) -> list[int]:
    """Read ``670``, ``6 7 0``, ``6,7,0`` or ``[6,7,0]``; see `symbols_typed`.

    Raises:
        ConfigError: something else than digits is there, a number of several digits in a list, or fewer than two.
    """
    allowed = f"give digits from 0 to {DIGITS - 1}, as sequence=6700100000"
    items = re.split("[,，;；、]", given.strip().strip("[]［］"))
    digits = symbols_typed(given, DigitReading.symbols)
    wrong = [item.strip() for item in items if len(items) > 1 and len(item.strip()) != 1]  # [6,70] is a slip
    wrong += [digit for digit in digits if digit not in DigitReading.symbols]
    if wrong:
        raise ConfigError(f"sequence: {wrong[0]!r} is not a digit; {allowed}")
    if len(digits) < 2:
        raise ConfigError(f"sequence={given} is too short, its first two digits are the question; {allowed}")
    return [int(digit) for digit in digits]


def target_statistics(rows: Rows) -> tuple[float, float]:
    """Return the entropy of the answers in bits, and the accuracy of always giving the most likely one."""
    weights = rows.row_weights() if rows.weights is None else rows.weights[:, 0]
    probability = torch.stack([total(weights[rows.targets[:, 0] == answer]) for answer in range(CLASSES)])
    given = probability[probability > 0]
    return -float(total(given * log(given))) / ln(2), float(probability.max())


def in_order(digits: Tensor, asked: str) -> Tensor:
    """Turn rows whose two digits stand first, [..., length], so that they stand where they are asked for."""
    return digits if asked == "first" else digits.roll(-2, -1)


def sample(rows: int, length: int, distractors: int, generator: Generator) -> Rows:
    """Draw rows from the task's distribution: inputs [rows, length], targets [rows, 1]."""
    inputs = torch.zeros(rows, length, dtype=torch.long)
    inputs[:, :2] = torch.randint(DIGITS, (rows, 2), generator=generator)
    digits = torch.randint(DIGITS, (rows, distractors), generator=generator)
    if distractors == 1:
        positions = torch.randint(2, length, (rows, 1), generator=generator)
    else:  # the places of the smallest of uniform numbers are a uniform choice; of two equal ones, the first
        numbers = torch.rand(rows, length - 2, generator=generator)
        positions = 2 + numbers.argsort(dim=1, stable=True)[:, :distractors]
    inputs.scatter_(1, positions, digits)
    return Rows(inputs, inputs[:, :2].sum(1, keepdim=True))


def distinct_inputs(length: int, distractors: int) -> int:
    """Count the different inputs: 100 pairs times every way to have up to ``distractors`` non-zero digits."""
    tails: int = sum(math.comb(length - 2, j) * (DIGITS - 1) ** j for j in range(distractors + 1))
    return DIGITS**2 * tails


def enumerate_distribution(length: int, distractors: int) -> Rows:
    """List all different inputs with their probabilities.

    With d distractors the number j of non-zero ones is binomial (d, 0.9); given j, every choice of j positions
    and of j non-zero digits is equally likely. So for d = 1 and each pair: 0.1 for the row without a distractor,
    0.1 / (length - 2) for each (position, non-zero digit).
    """
    tails: list[tuple[int, ...]] = []
    weights: list[float] = []
    for j in range(distractors + 1):  # comb(d, j) 9^j / 10^d, over 100 comb(length - 2, j) 9^j: rounded once
        weight = math.comb(distractors, j) / (DIGITS ** (distractors + 2) * math.comb(length - 2, j))
        for positions in itertools.combinations(range(length - 2), j):
            for digits in itertools.product(range(1, DIGITS), repeat=j):
                tail = [0] * (length - 2)
                for position, digit in zip(positions, digits, strict=True):
                    tail[position] = digit
                tails.append(tuple(tail))
                weights.append(weight)
    tail_rows = torch.tensor(tails, dtype=torch.long).view(len(tails), length - 2)
    pairs = torch.cartesian_prod(torch.arange(DIGITS), torch.arange(DIGITS))
    inputs = torch.cat([pairs.repeat_interleave(len(tails), 0), tail_rows.repeat(len(pairs), 1)], 1)
    probabilities = torch.tensor(weights, dtype=torch.float64).repeat(len(pairs))[:, None]
    return Rows(inputs, inputs[:, :2].sum(1, keepdim=True), probabilities, f"all {len(inputs)} inputs")


def ensure_files(folder: Path, length: int, distractors: int, data_seed: int, asked: str = "first") -> dict[str, Path]:
    """Return the data files of a length by split; those that are missing are generated.

    The book's setting (one distractor, data seed 0, asked first) is in ``<folder>/<length>/``; any other names itself.
    """
    name = str(length)
    name += f",distractors={distractors}" if distractors != 1 else ""
    name += f",data_seed={data_seed}" if data_seed != 0 else ""
    name += f",asked={asked}" if asked != "first" else ""
    files = {split: folder / name / f"{split}.txt" for split in REPEATS}
    for split, path in files.items():
        remove_left(path)  # also where another process has made the file by now
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, generate(length, split, distractors, data_seed, asked))
            except OSError as error:
                raise DataError(
                    f"cannot write the data to {path}: {error.strerror}; set datasets_dir to a writable folder"
                ) from error
    return files


def generate(length: int, split: str, distractors: int = 1, data_seed: int = 0, asked: str = "first") -> bytes:
    """Return the contents of a data file: every pair REPEATS[split] times, rows sorted by pair.

    Where the two digits stand, ``asked``, changes nothing else.

    Python's `random.Random(str).random` promises the same numbers in every version and on every machine.
    """
    draw = random.Random(f"digit_sum/{data_seed}/{length}/{split}").random
    text = io.StringIO()
    for first, second, _ in itertools.product(range(DIGITS), range(DIGITS), range(REPEATS[split])):
        row = [first, second] + [0] * (length - 2)
        free = list(range(2, length))
        for _ in range(distractors):
            row[free.pop(int(draw() * len(free)))] = int(draw() * DIGITS)
        text.write(f"{' '.join(map(str, row if asked == 'first' else row[2:] + row[:2]))}\t{first + second}\n")
    return text.getvalue().encode("ascii")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def as_generated(content: bytes) -> bytes:
    """Return a data file without what editors add and no row needs: a mark in front, other line ends, blank lines."""
    lines = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return lines.rstrip() + b"\n"


def parse(content: bytes, path: Path, length: int, distractors: int, asked: str = "first") -> Rows:
    """Read the contents of a data file, in the book's format, and check every row.

    Args:
        content: of the file.
        path: of the file, for the errors.
        length: digits of a row.
        distractors: how many digits beside the two that are asked for may be other than 0.
        asked: where these two stand, see `QUESTION`.

    Raises:
        DataError: names the file, the line, what stands there and what should.
    """
    remedy = f"correct it, or move {path} away to have it generated"
    try:
        lines = content.decode("utf-8-sig").rstrip().splitlines()  # editors add a mark before, and blank lines behind
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {number}: not UTF-8 text; {remedy}") from None
    if not lines:
        raise DataError(f"{path} is empty; {remedy}")
    inputs, targets = [], []
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        digits_text, tab, label = line.partition("\t")
        if not tab:
            raise DataError(f"{where}: no tab between the digits and the label in {line[:60]!r}; {remedy}")
        digits = digits_text.split(" ")
        for digit in digits:
            if len(digit) != 1 or digit not in "0123456789":
                raise DataError(f"{where}: {digit[:20]!r} is not a digit 0..9 (one space between digits); {remedy}")
        if len(digits) != length:
            raise DataError(f"{where}: {len(digits)} digits, but length is {length}; {remedy}")
        first, second = pair = digits[QUESTION[asked]]
        total = int(first) + int(second)
        if label.strip() != str(total):
            raise DataError(f"{where}: label {label[:20]!r}, but {first} + {second} = {total}; {remedy}")
        others = pair.count("0") + len(digits) - 2 - digits.count("0")
        if others > distractors:
            beside = "after the second" if asked == "first" else "before the last two"
            raise DataError(
                f"{where}: {others} digits {beside} are not 0, but task.distractors is {distractors}; "
                f"if that is meant, give task.distractors={others}"
            )
        inputs.append([int(digit) for digit in digits])
        targets.append([total])
    return Rows(torch.tensor(inputs), torch.tensor(targets), source=path.name)
