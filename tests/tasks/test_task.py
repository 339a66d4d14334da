import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from memexp.errors import ConfigError
from memexp.tasks.metrics import Accuracy, CrossEntropy, Perplexity
from memexp.tasks.task import Interface, Reading, Rows, Task, generator, stack

# --- rows ---

S, N, L, V, A = 2, 7, 5, 4, 3


def symbols(*lead: int) -> Tensor:
    """Inputs [N, L], or with axes in front, of which no two are alike."""
    return torch.arange(torch.Size((*lead, N, L)).numel()).view(*lead, N, L)


def some_numbers(*lead: int) -> Tensor:
    """Inputs [N, L, V], of which no two are alike."""
    return torch.arange(torch.Size((*lead, N, L, V)).numel()).view(*lead, N, L, V) / 2


def rows_of(inputs: Callable[..., Tensor], *lead: int, weighted: bool = True) -> Rows:
    targets = -torch.arange(torch.Size((*lead, N, A)).numel()).view(*lead, N, A)
    return Rows(inputs(*lead), targets, targets / -8.0 if weighted else None, "somewhere", True)


def parts(rows: Rows) -> list[Tensor]:
    return [part for part in (rows.inputs, rows.targets, rows.weights) if part is not None]


INPUTS = pytest.mark.parametrize("inputs", [symbols, some_numbers])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


def assert_rows(rows: Rows, expected: list[Tensor]) -> None:
    """The same inputs, targets and weights; what else is said of them is kept."""
    for own, their in zip(parts(rows), expected, strict=True):
        assert torch.equal(own, their)
    assert (rows.source, rows.continues) == ("somewhere", True)


@INPUTS
@WEIGHTED
def test_some_rows_in_a_row(inputs: Callable[..., Tensor], weighted: bool):
    rows, by_seed = rows_of(inputs, weighted=weighted), rows_of(inputs, S, weighted=weighted)
    assert (len(rows), len(by_seed), len(rows.slice(2, 6)), len(by_seed.slice(2, 6))) == (N, N, 4, 4)
    assert_rows(rows.slice(2, 6), [part[2:6] for part in parts(rows)])
    assert_rows(by_seed.slice(2, 6), [part[:, 2:6] for part in parts(by_seed)])
    assert_rows(by_seed.slice(5, 99), [part[:, 5:] for part in parts(by_seed)])


@INPUTS
@WEIGHTED
def test_rows_in_another_order(inputs: Callable[..., Tensor], weighted: bool):
    rows = rows_of(inputs, weighted=weighted)
    assert_rows(rows.take(torch.tensor([6, 0, 2])), [part[[6, 0, 2]] for part in parts(rows)])


@INPUTS
@WEIGHTED
def test_rows_are_given_a_seed_axis_once(inputs: Callable[..., Tensor], weighted: bool):
    rows, by_seed = rows_of(inputs, weighted=weighted), rows_of(inputs, S, weighted=weighted)
    assert_rows(rows.with_seed_axis(), [part[None] for part in parts(rows)])
    assert rows.with_seed_axis().with_seed_axis().targets.shape == (1, N, A)
    assert by_seed.with_seed_axis() is by_seed


@INPUTS
@WEIGHTED
def test_rows_of_several_seeds_stand_side_by_side(inputs: Callable[..., Tensor], weighted: bool):
    by_seed = rows_of(inputs, S, weighted=weighted)
    each = [Rows(*(part[k] for part in parts(by_seed))) for k in range(S)]
    for own, their in zip(parts(stack(each)), parts(by_seed), strict=True):
        assert torch.equal(own, their)


def test_rows_that_are_there_are_not_copied():
    rows = rows_of(symbols)
    assert rows.to(torch.device("cpu")) is rows
    elsewhere = rows.to(torch.device("meta"))
    assert [part.device.type for part in parts(elsewhere)] == ["meta"] * 3
    assert (elsewhere.source, elsewhere.continues) == ("somewhere", True)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ([[0.5], [0.25], [0.125], [0.125]], [0.5, 0.25, 0.125, 0.125]),  # probabilities
        ([[0.5, 0, 0], [0.125, 0.125, 0], [0, 0, 0], [0, 0.125, 0.125]], [0.5, 0.25, 0, 0.25]),
        ([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]], [2 / 4, 1 / 4, 0, 1 / 4]),  # a mask
        ([[1], [0], [1], [0]], [1 / 2, 0, 1 / 2, 0]),
    ],
)
def test_the_weight_of_a_row_is_its_share_of_the_answers(weights: list[list[float]] | None, expected: list[float]):
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    rows = Rows(torch.zeros(4, 5), torch.zeros(4, 1 if weights is None else len(weights[0])), given)
    assert rows.row_weights().tolist() == expected
    assert rows.row_weights().dtype == torch.float64


# --- streams of random numbers ---


def test_a_generator_depends_on_seed_stream_and_counter():
    def draw(*of: object) -> list[float]:
        return torch.rand(3, generator=generator(*of)).tolist()

    of = list(itertools.product((0, 1, 12), ("fresh", "shuffle", "fresh0"), (0, 1, 20)))
    assert len({tuple(draw(*one)) for one in of}) == len(of)
    assert draw(12, "fresh", 20) == draw(12, "fresh", 20)
    assert generator(3, "fresh", 7).initial_seed() == 6497937084870993223  # pinned: records rest on it


# --- a task that says no more than it must ---


@dataclass(kw_only=True, eq=False)
class Least(Task):
    """Rows of [N, L, V] numbers with an answer at the end."""

    @property
    def interface(self) -> Interface:
        return Interface(V, 2, every_step=False, longest=self.length)

    def batch(self, iteration: int) -> Rows:
        return self.rows("train").with_seed_axis().slice(0, self.batch_size)

    def rows(self, split: str) -> Rows:
        places = {"train": slice(0, 4), "dev": slice(4, 5), "test": slice(5, N)}[split]
        return Rows(some_numbers()[places], torch.arange(N)[places, None] % 2)


@pytest.fixture
def least(tmp_path: Path) -> Least:
    return Least(length=L, seeds=[0, 1], batch_size=3, folder=tmp_path)


def test_what_a_task_says_by_itself(least: Least):
    assert (least.loss, least.metrics, least.last_splits, least.writes) == (CrossEntropy, (Accuracy,), (), False)
    assert least.panels == ()
    assert least.updates_per_epoch == 2  # 4 rows in batches of 3
    assert list(least.splits()) == ["dev", "test"]
    assert least.shown() == {"dev_accuracy": True, "test_accuracy": True}
    assert least.trained_on == "length 5"
    assert least.fingerprint() == "none"
    said = [least.floors(), least.about(), least.extras, least.more_scores({"dev_loss": [1.0]})]
    assert said == [{}] * 4
    assert least.rule(OmegaConf.create()) is None
    assert least.after_update(None, 3, 9, least.folder) is None


def test_what_tables_show_is_every_metric_of_every_split(least: Least, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Least, "metrics", (Perplexity, Accuracy))
    monkeypatch.setattr(Least, "last_splits", ("train",))
    assert list(least.shown().items()) == [
        (f"{split}_{name}", share)
        for split in ("last_train", "dev", "test")
        for name, share in (("perplexity", False), ("accuracy", True))
    ]


def test_the_distribution_is_the_test_rows(least: Least):
    rows = least.distribution()
    assert torch.equal(rows.inputs, some_numbers()[5:])
    assert rows.weights.tolist() == [[0.5], [0.5]]
    assert rows.source == "2 test rows"
    assert torch.equal(least.example(), some_numbers()[5])


def test_the_distribution_keeps_a_mask_and_a_source(least: Least, monkeypatch: pytest.MonkeyPatch):
    mask = torch.tensor([[1, 0, 1], [0, 0, 2]], dtype=torch.float64)
    rows = Rows(symbols()[:2], torch.zeros(2, A), mask, "a book")
    monkeypatch.setattr(Least, "rows", lambda self, split: rows)
    assert least.distribution().weights.tolist() == [[0.25, 0, 0.25], [0, 0, 0.5]]
    assert least.distribution().source == "a book"
    assert rows.weights is mask


def test_short_sequences_have_no_running_text(least: Least):
    text, features = least.running_text()
    assert (len(text), features) == (0, {})


# --- reading what has no words ---


def test_sequences_of_numbers_can_be_written():
    reading = Least.reading(OmegaConf.create(), {})
    sequence = torch.tensor([[0.5, -1.0], [0.123, 20.0], [0.0, 3.0]])
    assert reading.labels(sequence) == ["0.5 -1", "0.12 20", "0 3"]
    assert reading.write(sequence) == "0.5 -1 0.12 20 0 3"
    assert reading.labels(torch.tensor([3, 1])) == ["3", "1"]  # symbols, by their numbers
    assert reading.describe(sequence, np.array([[9.0, 9.0], [0.25, 1 / 3]])) == "last answer 0.25 0.333"


def test_what_any_reading_says():
    reading = Reading()
    assert (reading.token, reading.kinds, reading.singled_out, reading.place) == (
        "token",
        ("token",),
        None,
        "time_step",
    )
    assert (reading.symbols, reading.outputs, reading.words, reading.beginning) == (None, (), "symbols", "")
    assert reading.steps == 0
    assert reading.token_kinds(some_numbers()).tolist() == [[0] * L] * N
    assert reading.token_kinds(symbols()).tolist() == [[0] * L] * N
    sequence = symbols()[0]
    assert [reading.token_places(symbols()), reading.example(), reading.remark(sequence)] == [None] * 3
    assert reading.costs(sequence, np.ones((1, 2))) is None
    with pytest.raises(ConfigError, match=r"^sequence=1 2: sequences of this task cannot be typed; leave it out"):
        reading.read("1 2")
