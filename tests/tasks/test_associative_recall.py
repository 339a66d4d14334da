"""Associative recall: its rows, its power law, its floors, a memory set by hand that solves it, and a run of it."""

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp.errors import ConfigError
from memexp.tasks.associative_recall import AssociativeRecall, RecallReading, weights_of, without_replacement
from memexp.tasks.metrics import Accuracy, CrossEntropy, SequenceAccuracy
from memexp.tasks.task import Rows

SMALL = ("length=12", "task.pairs=2", "task.keys=6", "task.values=5")


def recall(folder: Path, *overrides: str) -> AssociativeRecall:
    task: AssociativeRecall = task_of("associative_recall", folder, *overrides)
    return task


def score(kind: type, answers: torch.Tensor, rows: Rows) -> float:
    mean = kind(1)
    mean.update(answers, rows.targets[None], rows.weights[None])
    return mean.compute().item()


@pytest.mark.parametrize("filler", ["blank", "random"])
def test_every_key_is_asked_for_once_with_its_value(tmp_path: Path, filler: str):
    rows = recall(tmp_path, *SMALL, f"task.filler={filler}").draw(500, torch.Generator().manual_seed(1))
    others = Counter()
    for symbols, targets, weights in zip(
        rows.inputs.tolist(), rows.targets.tolist(), rows.weights.tolist(), strict=True
    ):
        keys, values = symbols[:4:2], symbols[1:4:2]
        assert len({*keys}) == len({*values}) == 2
        assert max(keys) < 6 <= min(values) <= max(values) < 11
        queries = [step for step, weight in enumerate(weights) if weight]
        assert sorted(symbols[step] for step in queries) == sorted(keys)
        assert all(step >= 4 and step % 2 == 0 for step in queries)
        assert [targets[step] + 6 for step in queries] == [values[keys.index(symbols[step])] for step in queries]
        others.update(symbols[step] for step in range(4, 12) if step not in queries)
    assert {*others} == ({11} if filler == "blank" else {*range(12)})


def test_a_row_is_any_of_all_that_are_possible(tmp_path: Path):
    """By brute force: ordered keys, ordered values, ordered gaps."""
    task = recall(tmp_path, "length=8", "task.pairs=2", "task.keys=3", "task.values=2")
    found = Counter(map(tuple, task.draw(20_000, torch.Generator().manual_seed(3)).inputs.tolist()))
    possible = set()
    for keys, values, gaps in itertools.product(
        itertools.permutations(range(3), 2), itertools.permutations(range(3, 5), 2), itertools.permutations(range(2))
    ):
        row = [keys[0], values[0], keys[1], values[1], 5, 5, 5, 5]
        for key, gap in zip(keys, gaps, strict=True):
            row[4 + 2 * gap] = key
        possible.add(tuple(row))
    assert {*found} == possible
    assert len(possible) == 6 * 2 * 2
    first = weights_of(torch.tensor([1.0, 2.0]))
    early = sum(count for row, count in found.items() if row[4] == row[0]) / 20_000
    assert early == pytest.approx(float(first[0] / first.sum()), abs=0.017)  # 5 standard deviations


def test_places_are_drawn_one_after_the_other():
    """Of three places with weights 3, 2 and 1, in all orders: the chance of each order is worked out by hand."""
    drawn = without_replacement(torch.tensor([3.0, 2.0, 1.0]), 40_000, 2, torch.Generator().manual_seed(5))
    found = Counter(map(tuple, drawn.tolist()))
    chances = {(0, 1): 1 / 3, (0, 2): 1 / 6, (1, 0): 1 / 4, (1, 2): 1 / 12, (2, 0): 1 / 10, (2, 1): 1 / 15}
    assert {order: count / 40_000 for order, count in found.items()} == pytest.approx(chances, abs=0.012)
    assert weights_of(torch.tensor([1.0, 4.0])).tolist() == pytest.approx([1, 4**-0.99])


def test_who_knows_nothing_or_the_values_alone_scores_the_floors(tmp_path: Path):
    task = recall(tmp_path, "length=16", "task.pairs=3", "task.keys=7", "task.values=5")
    rows, floors = task.draw(8000, torch.Generator().manual_seed(2)), task.floors()
    shape, K = rows.targets.shape, 5
    for k in (0, 4):
        constant = 9.0 * F.one_hot(torch.tensor(k), K).expand(1, *shape, K)
        assert score(Accuracy, constant, rows) == pytest.approx(floors["accuracy"]["guessing"], abs=0.013)
        assert score(SequenceAccuracy, constant, rows) == 0  # the values of a row differ
    assert floors["accuracy"]["guessing"] == 1 / 5
    assert score(CrossEntropy, torch.zeros(1, *shape, K), rows) == pytest.approx(floors["loss"]["guessing"], rel=1e-6)
    there = F.one_hot(rows.inputs[:, 1:6:2] - 7, K).sum(1).float()  # which values there were
    known = (100 * there)[None, :, None].expand(1, *shape, K)
    assert score(CrossEntropy, known, rows) == pytest.approx(floors["loss"]["knowing the values alone"], rel=1e-5)
    assert floors["loss"]["knowing the values alone"] == pytest.approx(math.log(3))
    last = F.one_hot(rows.inputs[:, 5] - 7, K)[None, :, None].expand(1, *shape, K)
    assert score(Accuracy, last, rows) == pytest.approx(floors["accuracy"]["knowing the values alone"], abs=1e-6)


@pytest.mark.parametrize("filler", ["blank", "random"])
def test_a_matrix_set_by_hand_solves_it(tmp_path: Path, filler: str):
    """A linear associative memory: the sum of the outer products of keys and values, read by the key that is asked."""
    task = recall(tmp_path, f"task.filler={filler}")
    for rows in (task.rows("test"), task.at_length(100, 20_000)):
        one_hot = F.one_hot(rows.inputs, 33).double()
        keys, values = one_hot[:, :8:2, :16], one_hot[:, 1:8:2, 16:32]
        memory = torch.einsum("nik,niv->nkv", keys, values)
        answers = torch.einsum("nlk,nkv->nlv", one_hot[..., :16], memory)[None]
        assert (score(Accuracy, answers, rows), score(SequenceAccuracy, answers, rows)) == (1, 1)


def test_other_lengths_have_as_many_pairs(tmp_path: Path):
    task = recall(tmp_path, *SMALL)
    rows = task.at_length(30, 900)
    assert (rows.inputs.shape, rows.source) == ((30, 30), "30 sampled rows")
    assert (rows.weights.sum(1) == 2).all()
    assert task.at_length(7, 900) is None
    assert task.at_length(9, 900).weights[:, 4:9:2].sum() == 200  # an odd one has a place less
    assert task.trained_on == "2 pairs, length 12"
    assert task.needed(rows.inputs).sum(1).tolist() == [4] * 30


def test_a_sequence_is_read_and_its_answers_told():
    reading = RecallReading(6, 5, 2, 12)
    assert reading.beginning == "aAbBa_b_____"
    sequence = reading.read("d C b A _ _ b _ d _ _ _")
    assert reading.write(sequence) == "dCbA__b_d___"
    assert reading.token_kinds(sequence[None]).tolist() == [[0, 1, 0, 1, 3, 3, 2, 3, 2, 3, 3, 3]]
    told = np.zeros((12, 5))
    told[6, 0] = told[8, 2] = 1
    assert reading.describe(sequence, told) == "recalls AC; truth AC (right)"
    assert reading.describe(sequence, told[:, ::-1]) == "recalls EC; truth AC (1 right)"
    assert reading.describe(sequence[:6], told[:6]) == "no query, so nothing is asked"
    assert reading.remark(sequence) is None
    assert "6 symbols; this model was trained on 12" in str(reading.remark(sequence[:6]))
    with pytest.raises(ConfigError, match=r"has \['F', 'z'\]; give 2 pairs"):
        reading.read("aAbFz")
    for short in ("aAb", "aA_b"):
        with pytest.raises(ConfigError, match="does not begin with 2 pairs"):
            reading.read(short)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("length=15",), "at least 16"),
        (("task.pairs=9", "task.values=8", "length=64"), "there are 8 different"),
        (("task.keys=27",), "at most 26"),
    ],
)
def test_settings_that_cannot_be_are_refused(overrides: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        config_of("task=associative_recall", *overrides)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=associative_recall", "model=gru", *SMALL, "task.train_rows=320")
