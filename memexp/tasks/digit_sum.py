"""The digit-sum task (6.1): remember the first two digits to the end of the sequence, then give their sum.

Two examples with their answers, length 5, one distractor:

    6 7 0 0 1  ->  13
    0 9 0 0 0  ->  9

The first two digits are any of the 100 pairs. Of the other positions, ``distractors`` are drawn without
replacement and each is given a digit drawn uniformly from 0..9 (so with chance 0.1 it stays 0); the rest are 0.

With ``digits=k`` the first k digits are to be added instead of two.

With ``asked=last`` they stand at the end, and what follows them here comes before: the same rows, but nothing has to
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
BOOK_DIGITS = 2  # how many are to be added, unless it is said
CLASSES = BOOK_DIGITS * (DIGITS - 1) + 1
ASKED = ("first", "last")  # where the digits that are asked for stand
REPEATS = {"train": 3, "dev": 1, "test": 1}  # how many rows each pair of first digits gets (the book's k)
SAMPLE_ROWS = 50_000  # rows of the fixed sample where the whole distribution is too large to enumerate
BOOK_SEQUENCE = (6, 7, 0, 0, 1)  # figure 6.13; zeros follow
OTHERS = ("zero", "distractor")  # kinds of tokens, beside the digits that are asked for


def places(digits: int) -> tuple[str, ...]:
    """Name the digits that are asked for."""
    return ("first digit", "second digit") if digits == BOOK_DIGITS else tuple(f"digit {k + 1}" for k in range(digits))


def question(asked: str, digits: int = BOOK_DIGITS) -> slice:
    """Return where the digits that are asked for stand, see `ASKED`."""
    return slice(None, digits) if asked == "first" else slice(-digits, None)


@dataclass
class DigitReading(Reading):
    """How a person reads a sequence of digits.

    Args:
        length: of the sequences that were trained on.
        asked: where the digits that are asked for stand, see `ASKED`.
        digits: how many these are.
    """

    length: int
    asked: str = "first"
    digits: int = BOOK_DIGITS

    token = "digit"
    singled_out = "distractor"
    symbols = "0123456789"

    def __post_init__(self) -> None:
        self.steps = self.length
        self.kinds = (*places(self.digits), *OTHERS)
        self.outputs = tuple(map(str, range(self.digits * (DIGITS - 1) + 1)))
        books = (self.asked, self.digits) == ("first", BOOK_DIGITS)
        self.words = "digits" if books else "symbols"  # the explorer's digits are two, and asked first
        self.beginning = "".join(self.labels(self.example()))

    def token_kinds(self, inputs: Tensor) -> Tensor:
        """Say of what kind each digit is: inputs [N, L] -> places in `kinds`, [N, L]."""
        kinds = torch.where(inputs == 0, self.kinds.index("zero"), self.kinds.index("distractor"))
        kinds[:, question(self.asked, self.digits)] = torch.arange(self.digits)
        return kinds

    def read(self, given: str) -> Tensor:
        """Read digits; see `read_digits`.

        Raises:
            ConfigError: something else than digits is there, or too few of them.
        """
        return torch.tensor(read_digits(given, self.digits))

    def example(self) -> Tensor:
        """Return the book's sequence, cut or filled with zeros, and turned where its first digits are asked last."""
        return in_order(torch.tensor([*BOOK_SEQUENCE, *[0] * self.length][: self.length]), self.asked, self.digits)

    def labels(self, sequence: Tensor) -> list[str]:
        """Write each digit."""
        return [str(digit) for digit in sequence.tolist()]

    def describe(self, sequence: Tensor, predictions: np.ndarray) -> str:
        """Say what the model answers, how sure it is, and what is true, given the probabilities of all sums, [1, K]."""
        probabilities = predictions[-1]
        answer, truth = int(probabilities.argmax()), int(sequence[question(self.asked, self.digits)].sum())
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
        digits: k, how many digits are to be added.
        distractors: how many positions get a random digit; ``all`` for every position after the first k.
        asked: ``first``: the k digits stand first; ``last``: they stand last, in rows that are the same otherwise.
        exact_limit: the distribution is enumerated if all its inputs have up to this many digits, else sampled.

    Raises:
        DataError: a data file is damaged, or the folder cannot be read or written.
    """

    panels = ("task.sampling",)
    later: ClassVar = {"asked": "first", "digits": BOOK_DIGITS}
    no_lag: ClassVar = {"asked": "last"}
    counted: ClassVar = "digits"

    digits: int = ranged(1, most=9)
    distractors: Any
    asked: str = ranged(one_of=ASKED)
    exact_limit: int = ranged(0)

    def __post_init__(self) -> None:
        self._distractors = self.length - self.digits if self.distractors == "all" else int(self.distractors)
        files = ensure_files(self.folder, self.length, self._distractors, self.data_seed, self.asked, self.digits)
        contents = {split: _read_bytes(path) for split, path in files.items()}
        self._rows = {
            split: parse(content, files[split], self.length, self._distractors, self.asked, self.digits)
            for split, content in contents.items()
        }
        self._fingerprint = hashlib.sha256(
            b"".join(as_generated(contents[split]) for split in sorted(contents))
        ).hexdigest()

    @property
    def interface(self) -> Interface:
        """Ten digits in, the sums out, at the end; asked last, too, a model begins with the same weights."""
        return Interface(DIGITS, self.digits * (DIGITS - 1) + 1, every_step=False, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw rows from the task's distribution."""
        return self._as_asked(sample(rows, self.length, self._distractors, draw, self.digits))

    def _as_asked(self, rows: Rows) -> Rows:
        return replace(rows, inputs=in_order(rows.inputs, self.asked, self.digits))

    def rows(self, split: str) -> Rows:
        """Return the rows of a data file: ``train``, ``dev`` or ``test``."""
        return self._rows[split]

    def distribution(self) -> Rows:
        """Return every possible input with its probability, or a fixed sample if there are more than `exact_limit`."""
        return self._distribution

    @cached_property
    def _distribution(self) -> Rows:
        if distinct_inputs(self.length, self._distractors, self.digits) * self.length <= self.exact_limit:
            return self._as_asked(enumerate_distribution(self.length, self._distractors, self.digits))
        rows = self.draw(SAMPLE_ROWS, generator(0, "exact", 0))
        weights = torch.full((SAMPLE_ROWS, 1), 1 / SAMPLE_ROWS, dtype=torch.float64)
        return Rows(rows.inputs, rows.targets, weights, f"{SAMPLE_ROWS} sampled rows")

    def at_length(self, length: int, tokens: int) -> Rows | None:
        """Return rows with distractors as dense as in training, but no fewer than one if there is any."""
        k = self.digits
        if length <= k:
            return None
        distractors = round(self._distractors * (length - k) / (self.length - k))
        distractors = max(distractors, min(self._distractors, 1))
        if distinct_inputs(length, distractors, k) * length <= tokens:
            return self._as_asked(enumerate_distribution(length, distractors, k))
        rows = sample(max(1, tokens // length), length, distractors, generator(0, "length", length), k)
        return replace(self._as_asked(rows), source=f"{len(rows)} sampled rows")

    def held(self, length: int) -> Rows | None:
        """Return every question, followed by zeros; None where nothing follows it, or where they are too many."""
        few = DIGITS**self.digits <= SAMPLE_ROWS
        return enumerate_distribution(length, 0, self.digits) if self.asked == "first" and few else None

    def needed(self, inputs: Tensor) -> Tensor:
        """The digits that are asked for."""
        needed = torch.zeros(inputs.shape, dtype=torch.bool)
        needed[:, question(self.asked, self.digits)] = True
        return needed

    def facts(self, rows: Rows) -> dict[str, Tensor]:
        """Return the digits that are asked for, and their sum."""
        asked = rows.inputs[:, question(self.asked, self.digits)].unbind(1)
        return {**dict(zip(places(self.digits), asked, strict=True)), "sum": rows.targets[:, 0]}

    def splits(self) -> dict[str, Rows]:
        """Return dev, test, and every possible input."""
        return {**super().splits(), "exact": self.distribution()}

    def more_scores(self, scores: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the retained bits: H(sum) - cross-entropy, over every possible input."""
        entropy, _ = target_statistics(self.distribution())
        return {"retained_bits": [entropy - nats / ln(2) for nats in scores["exact_loss"]]}

    def floors(self) -> dict[str, dict[str, float]]:
        """Return what guessing scores, and the losses of knowing no digit, or all but one (the sum is then uniform)."""
        entropy, chance = target_statistics(self.distribution())
        all_but_one = "knowing one digit" if self.digits == BOOK_DIGITS else "knowing all but one digit"
        return {
            "accuracy": {"always the likeliest answer": chance},
            "loss": {"knowing nothing": entropy * ln(2), all_but_one: ln(DIGITS)},
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
        return DigitReading(config.length, config.task.asked, config.task.digits)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse a length without room, and more distractors than there is room for."""
        digits = config.task.digits
        if config.length <= digits:
            return f"length={config.length} is too small; it must be at least {digits + 1}"
        distractors, most = config.task.distractors, config.length - digits
        whole = isinstance(distractors, int) and not isinstance(distractors, bool)
        if distractors == "all" or (whole and 0 <= distractors <= most):
            return super().rule(config)
        return (
            f"task.distractors={distractors} is not possible at length={config.length}; "
            f"allowed: 0 to {most} (the positions after {after(digits)}), or all"
        )


def after(digits: int) -> str:
    """Name the last digit that is asked for."""
    return "the second" if digits == BOOK_DIGITS else f"digit {digits}"


def read_digits(given: str, at_least: int = BOOK_DIGITS) -> list[int]:
    """Read ``670``, ``6 7 0``, ``6,7,0`` or ``[6,7,0]``; see `symbols_typed`.

    Raises:
        ConfigError: something else than digits is there, a number of several digits in a list, or too few of them.
    """
    allowed = f"give digits from 0 to {DIGITS - 1}, as sequence=6700100000"
    items = re.split("[,，;；、]", given.strip().strip("[]［］"))
    digits = symbols_typed(given, DigitReading.symbols)
    wrong = [item.strip() for item in items if len(items) > 1 and len(item.strip()) != 1]  # [6,70] is a slip
    wrong += [digit for digit in digits if digit not in DigitReading.symbols]
    if wrong:
        raise ConfigError(f"sequence: {wrong[0]!r} is not a digit; {allowed}")
    if len(digits) < at_least:
        many = "two" if at_least == BOOK_DIGITS else str(at_least)
        raise ConfigError(f"sequence={given} is too short, its first {many} digits are the question; {allowed}")
    return [int(digit) for digit in digits]


def target_statistics(rows: Rows) -> tuple[float, float]:
    """Return the entropy of the answers in bits, and the accuracy of always giving the most likely one."""
    weights = rows.row_weights() if rows.weights is None else rows.weights[:, 0]
    probability = torch.stack(
        [total(weights[rows.targets[:, 0] == answer]) for answer in range(int(rows.targets.max()) + 1)]
    )
    given = probability[probability > 0]
    return -float(total(given * log(given))) / ln(2), float(probability.max())


def in_order(row: Tensor, asked: str, digits: int = BOOK_DIGITS) -> Tensor:
    """Turn rows whose k digits stand first, [..., length], so that they stand where they are asked for."""
    return row if asked == "first" else row.roll(-digits, -1)


def sample(rows: int, length: int, distractors: int, generator: Generator, digits: int = BOOK_DIGITS) -> Rows:
    """Draw rows from the task's distribution: inputs [rows, length], targets [rows, 1]."""
    inputs = torch.zeros(rows, length, dtype=torch.long)
    inputs[:, :digits] = torch.randint(DIGITS, (rows, digits), generator=generator)
    others = torch.randint(DIGITS, (rows, distractors), generator=generator)
    if distractors == 1:
        positions = torch.randint(digits, length, (rows, 1), generator=generator)
    else:  # the places of the smallest of uniform numbers are a uniform choice; of two equal ones, the first
        numbers = torch.rand(rows, length - digits, generator=generator)
        positions = digits + numbers.argsort(dim=1, stable=True)[:, :distractors]
    inputs.scatter_(1, positions, others)
    return Rows(inputs, inputs[:, :digits].sum(1, keepdim=True))


def distinct_inputs(length: int, distractors: int, digits: int = BOOK_DIGITS) -> int:
    """Count the different inputs: 10^k questions times every way to have up to ``distractors`` non-zero digits."""
    tails: int = sum(math.comb(length - digits, j) * (DIGITS - 1) ** j for j in range(distractors + 1))
    questions: int = DIGITS**digits
    return questions * tails


def enumerate_distribution(length: int, distractors: int, digits: int = BOOK_DIGITS) -> Rows:
    """List all different inputs with their probabilities.

    With d distractors the number j of non-zero ones is binomial (d, 0.9); given j, every choice of j positions
    and of j non-zero digits is equally likely. So for d = 1 and each question: 0.1 for the row without a distractor,
    0.1 / (length - k) for each (position, non-zero digit).
    """
    rest = length - digits
    tails: list[tuple[int, ...]] = []
    weights: list[float] = []
    for j in range(distractors + 1):  # comb(d, j) 9^j / 10^d, over 10^k comb(length - k, j) 9^j: rounded once
        weight = math.comb(distractors, j) / (DIGITS ** (distractors + digits) * math.comb(rest, j))
        for positions in itertools.combinations(range(rest), j):
            for others in itertools.product(range(1, DIGITS), repeat=j):
                tail = [0] * rest
                for position, digit in zip(positions, others, strict=True):
                    tail[position] = digit
                tails.append(tuple(tail))
                weights.append(weight)
    tail_rows = torch.tensor(tails, dtype=torch.long).view(len(tails), rest)
    questions = torch.cartesian_prod(*[torch.arange(DIGITS)] * digits).view(-1, digits)
    inputs = torch.cat([questions.repeat_interleave(len(tails), 0), tail_rows.repeat(len(questions), 1)], 1)
    probabilities = torch.tensor(weights, dtype=torch.float64).repeat(len(questions))[:, None]
    return Rows(inputs, inputs[:, :digits].sum(1, keepdim=True), probabilities, f"all {len(inputs)} inputs")


def ensure_files(
    folder: Path, length: int, distractors: int, data_seed: int, asked: str = "first", digits: int = BOOK_DIGITS
) -> dict[str, Path]:
    """Return the data files of a length by split; those that are missing are generated.

    The book's setting (two digits, one distractor, data seed 0, asked first) is in ``<folder>/<length>/``; any other
    names itself.
    """
    name = str(length)
    name += f",distractors={distractors}" if distractors != 1 else ""
    name += f",data_seed={data_seed}" if data_seed != 0 else ""
    name += f",asked={asked}" if asked != "first" else ""
    name += f",digits={digits}" if digits != BOOK_DIGITS else ""
    files = {split: folder / name / f"{split}.txt" for split in REPEATS}
    for split, path in files.items():
        remove_left(path)  # also where another process has made the file by now
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, generate(length, split, distractors, data_seed, asked, digits))
            except OSError as error:
                raise DataError(
                    f"cannot write the data to {path}: {error.strerror}; set datasets_dir to a writable folder"
                ) from error
    return files


def generate(
    length: int,
    split: str,
    distractors: int = 1,
    data_seed: int = 0,
    asked: str = "first",
    digits: int = BOOK_DIGITS,
) -> bytes:
    """Return the contents of a data file: every pair REPEATS[split] times, rows sorted by pair.

    Of other than two digits it has as many rows, whose questions are drawn, and sorted as well. Where the digits stand,
    ``asked``, changes nothing else.

    Python's `random.Random(str).random` promises the same numbers in every version and on every machine.
    """
    draw = random.Random(f"digit_sum/{data_seed}/{length}/{split}").random
    text = io.StringIO()
    questions: list[tuple[int, ...]] = [
        pair for pair in itertools.product(range(DIGITS), repeat=BOOK_DIGITS) for _ in range(REPEATS[split])
    ]
    if digits != BOOK_DIGITS:
        questions = sorted(tuple(int(draw() * DIGITS) for _ in range(digits)) for _ in questions)
    for asked_for in questions:
        row = [*asked_for] + [0] * (length - digits)
        free = list(range(digits, length))
        for _ in range(distractors):
            row[free.pop(int(draw() * len(free)))] = int(draw() * DIGITS)
        in_place = row if asked == "first" else row[digits:] + row[:digits]
        text.write(f"{' '.join(map(str, in_place))}\t{sum(asked_for)}\n")
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


def parse(
    content: bytes, path: Path, length: int, distractors: int, asked: str = "first", digits: int = BOOK_DIGITS
) -> Rows:
    """Read the contents of a data file, in the book's format, and check every row.

    Args:
        content: of the file.
        path: of the file, for the errors.
        length: digits of a row.
        distractors: how many digits beside those that are asked for may be other than 0.
        asked: where these stand, see `ASKED`.
        digits: how many these are.

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
        row = digits_text.split(" ")
        for digit in row:
            if len(digit) != 1 or digit not in "0123456789":
                raise DataError(f"{where}: {digit[:20]!r} is not a digit 0..9 (one space between digits); {remedy}")
        if len(row) != length:
            raise DataError(f"{where}: {len(row)} digits, but length is {length}; {remedy}")
        asked_for = row[question(asked, digits)]
        total = sum(map(int, asked_for))
        if label.strip() != str(total):
            raise DataError(f"{where}: label {label[:20]!r}, but {' + '.join(asked_for)} = {total}; {remedy}")
        others = asked_for.count("0") + len(row) - digits - row.count("0")
        if others > distractors:
            last = "the last two" if digits == BOOK_DIGITS else f"the last {digits}"
            beside = f"after {after(digits)}" if asked == "first" else f"before {last}"
            raise DataError(
                f"{where}: {others} digits {beside} are not 0, but task.distractors is {distractors}; "
                f"if that is meant, give task.distractors={others}"
            )
        inputs.append([int(digit) for digit in row])
        targets.append([total])
    return Rows(torch.tensor(inputs), torch.tensor(targets), source=path.name)
