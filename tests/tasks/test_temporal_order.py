"""Temporal order: its rows as of 1997, its floors, how it is read, a network set by hand, and a run of it."""

import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp.errors import ConfigError
from memexp.models.cells import LSTM
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import Accuracy, CrossEntropy
from memexp.tasks.task import Rows
from memexp.tasks.temporal_order import SYMBOLS, OrderReading, TemporalOrder

E, B = SYMBOLS.index("E"), SYMBOLS.index("B")
PLACES = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}


def ordering(folder: Path, *overrides: str) -> TemporalOrder:
    task: TemporalOrder = task_of("temporal_order", folder, *overrides)
    return task


def score(kind: type, answers: torch.Tensor, rows: Rows) -> float:
    mean = kind(1)
    mean.update(answers, rows.targets[None], rows.weights[None])
    return mean.compute().item()


@pytest.mark.parametrize("relevant", [2, 3])
def test_rows_are_those_of_1997(tmp_path: Path, relevant: int):
    task = ordering(tmp_path, f"task.relevant={relevant}")
    rows = task.rows("test")
    assert rows.inputs.shape == (2560, 110)
    ends, found = set(), [set() for _ in range(relevant)]
    for symbols, targets, weights in zip(
        *(part.tolist() for part in (rows.inputs, rows.targets, rows.weights)), strict=True
    ):
        (end,) = (step for step, weight in enumerate(weights, 1) if weight)
        assert weights[end - 1] == 1
        ends.add(end)
        assert symbols[0] == E
        assert symbols[end - 1 :] == [B] * (111 - end)
        assert {E, B}.isdisjoint(symbols[1 : end - 1])
        places = [step for step, code in enumerate(symbols, 1) if code < 2]
        for place, own in zip(places, found, strict=True):
            own.add(place)
        order = "".join(SYMBOLS[symbols[place - 1]] for place in places)
        assert set(targets) == {["".join(o) for o in itertools.product("XY", repeat=relevant)].index(order)}
    assert ends == {*range(100, 111)}
    assert found == [{*range(first, last + 1)} for first, last in PLACES[relevant]]
    assert torch.equal(task.needed(rows.inputs), rows.inputs < 2)


def test_every_symbol_is_as_likely(tmp_path: Path):
    rows = ordering(tmp_path, "length=20").draw(20_000, torch.Generator().manual_seed(1))
    letters = torch.bincount(rows.inputs.flatten(), minlength=8)[:6].double()
    assert (letters[:2] / 40_000).tolist() == pytest.approx([1 / 2] * 2, abs=0.0125)  # 5 standard deviations
    assert (letters[2:] / letters[2:].sum()).tolist() == pytest.approx([1 / 4] * 4, abs=0.005)
    assert rows.weights.mean(0)[-3:].tolist() == pytest.approx([1 / 3] * 3, abs=0.017)


@pytest.mark.parametrize("relevant", [2, 3])
def test_guessing_scores_the_floors(tmp_path: Path, relevant: int):
    task, K = ordering(tmp_path, "length=20", f"task.relevant={relevant}"), 2**relevant
    rows = task.draw(20_000, torch.Generator().manual_seed(2))
    floors = task.floors()
    for k in (0, K - 1):
        constant = 9.0 * F.one_hot(torch.tensor(k), K).expand(1, *rows.targets.shape, K)
        assert score(Accuracy, constant, rows) == pytest.approx(floors["accuracy"]["guessing"], abs=0.0155)
    assert floors["accuracy"]["guessing"] == 1 / K
    nothing = torch.zeros(1, *rows.targets.shape, K)
    assert score(CrossEntropy, nothing, rows) == pytest.approx(floors["loss"]["guessing"], rel=1e-6)
    assert floors["loss"]["guessing"] == math.log(K)


def test_other_lengths_scale_the_places(tmp_path: Path):
    task = ordering(tmp_path)
    rows = task.at_length(30, 33 * 400)
    assert rows.source == "400 sampled rows"
    assert rows.inputs.shape == (400, 33)
    places = (rows.inputs < 2).nonzero()[:, 1].view(400, 2) + 1
    assert [sorted(set(own.tolist())) for own in places.T] == [[3, 4, 5, 6], [15, 16, 17, 18]]
    assert task.at_length(19, 1000) is None
    assert task.trained_on == "lengths 100 to 110"


def by_hand() -> SequenceModel:
    """Build an LSTM that solves 6a: one cell counts X and Y, another keeps their order, as 2 for X first and 1 for Y.

    Forget gates are open in every bit. The first cell adds 1 for each X or Y, so that before the first it is 0 and its
    output tanh(0); where it is not, the two that keep the first symbol have their input gate shut, and only the two
    that keep the second are open.
    """
    model = SequenceModel(partial(LSTM, variant="none"), 1, 8, 4, True, 0, [5], False, "zero").requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    cell, sure = model.cell, 100.0
    i, f, o, candidate = range(4)
    cell.b[0, [f, o]] = sure
    cell.b[0, i] = -sure
    X, Y, clock = 0, 1, 0
    cell.W[0, i, [X, Y], clock] = 2 * sure
    cell.W[0, candidate, [X, Y], clock] = sure
    for unit, (symbol, first) in enumerate([(X, True), (Y, True), (X, False), (Y, False)], 1):
        cell.W[0, i, symbol, unit] = 2 * sure if first else 0.0
        cell.U[0, i, clock, unit] = -10 * sure if first else 4 * sure
        cell.W[0, candidate, symbol, unit] = sure
    for unit in (3, 4):
        cell.W[0, i, 2:, unit] = -10 * sure  # distractors
        cell.b[0, i, unit] = -2 * sure
    for k, (first, second) in enumerate(itertools.product((1, 2), (3, 4))):
        model.head_weight[0, [first, second], k] = sure
    return model


@pytest.mark.parametrize("length", [20, 100])
def test_a_network_set_by_hand_solves_it(tmp_path: Path, length: int):
    rows = ordering(tmp_path, f"length={length}").rows("test")
    answers = by_hand()(rows.inputs[None])
    assert score(Accuracy, answers, rows) == 1
    assert score(CrossEntropy, answers, rows) < 1e-6


def test_a_sequence_is_read_and_its_answer_told():
    reading = OrderReading(20, 2)
    assert reading.write(reading.read("E, a X ｂ Y B")) == "EaXbYB"
    assert reading.beginning == "EXbcdabcdYbcdabcdabB"
    assert reading.remark(reading.read(reading.beginning)) is None
    sequence = reading.read("EaXbYB")
    assert "6 symbols; this model was trained on 20 to 22" in str(reading.remark(sequence))
    assert reading.token_kinds(sequence[None]).tolist() == [[2, 1, 0, 1, 0, 2]]
    told = np.eye(4)[[0, 0, 0, 0, 0, 1]]
    assert reading.describe(sequence, told) == "answer XY; truth XY (right)"
    assert reading.describe(sequence, told[:, ::-1]) == "answer YX; truth XY (wrong)"
    assert reading.describe(sequence[:5], told[:5]) == "no end (B), so nothing is asked"
    with pytest.raises(ConfigError, match=r"has \['Z'\]; give X, Y and letters"):
        reading.read("EZB")


@pytest.mark.parametrize(
    ("override", "message"), [("length=19", "least 20"), ("task.relevant=4", "most 3"), ("task.relevant=1", "least 2")]
)
def test_settings_that_cannot_be_are_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config_of("task=temporal_order", override)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=temporal_order", "model=gru", "length=20", "task.train_rows=320")
