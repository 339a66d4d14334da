"""The two-sequence problem: its rows as of 1997, its floors, an SRN set by hand that solves it, and a run of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp.errors import ConfigError
from memexp.models.cells import SRN
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import SquaredError
from memexp.tasks.task import Rows
from memexp.tasks.two_sequences import AbsoluteError, ClassReading, Near, Nearer, TwoSequences


def two(folder: Path, *overrides: str) -> TwoSequences:
    task: TwoSequences = task_of("two_sequences", folder, *overrides)
    return task


def score(kind: type, answers: torch.Tensor, rows: Rows) -> float:
    mean = kind(1)
    mean.update(answers, rows.targets[None], rows.weights[None])
    return mean.compute().item()


@pytest.mark.parametrize(("noise", "targets"), [("tail", (1, 0)), ("signal", (1, 0)), ("targets", (0.2, 0.8))])
def test_rows_are_those_of_1997(tmp_path: Path, noise: str, targets: tuple[float, float]):
    task = two(tmp_path, f"task.noise={noise}", "task.informative=3")
    rows = task.rows("test")
    assert rows.inputs.shape == (2560, 110, 1)
    first = rows.targets[:, 0] == torch.tensor(targets[0])
    assert set(rows.targets.flatten().tolist()) == set(torch.tensor(targets, dtype=torch.float32).tolist())
    assert (rows.targets == rows.targets[:, :1]).all()
    assert first.double().mean() == pytest.approx(1 / 2, abs=0.05)  # 5 standard deviations
    assert {int(end) + 1 for end in rows.weights.argmax(1)} == {*range(100, 111)}
    assert (rows.weights.sum(1) == 1).all()
    signal, tail = rows.inputs[:, :3, 0], rows.inputs[:, 3:, 0].double()
    ones = torch.where(first, 1.0, -1.0)[:, None]
    if noise == "signal":
        assert (signal - ones).double().var() == pytest.approx(0.2, rel=0.1)
    else:
        assert (signal == ones).all()
    assert (tail.mean(), tail.var()) == (pytest.approx(0, abs=0.005), pytest.approx(0.2, rel=0.02))
    assert torch.equal(task.needed(rows.inputs), (torch.arange(110) < 3).expand(2560, 110))


def test_the_targets_of_training_alone_are_noisy(tmp_path: Path):
    task = two(tmp_path, "task.noise=targets", "length=10")
    drawn = task.draw(20_000, torch.Generator().manual_seed(1))
    clean = torch.where(drawn.inputs[:, :1, 0] > 0, 0.2, 0.8)
    noise = (drawn.targets - clean).double()
    assert (noise == noise[:, :1]).all()
    assert (noise[:, 0].mean(), noise[:, 0].var()) == (pytest.approx(0, abs=0.012), pytest.approx(0.1, rel=0.05))
    for split in ("dev", "test"):
        assert len(task.rows(split).targets.unique()) == 2
        assert task.rows(split) is task.rows(split)
    assert len(task.rows("train").targets.unique()) > 3000


@pytest.mark.parametrize(("noise", "mean"), [("tail", 0.25), ("targets", 0.09)])
def test_a_constant_answer_scores_the_floors(tmp_path: Path, noise: str, mean: float):
    task = two(tmp_path, "length=4", f"task.noise={noise}")
    rows = task.at_length(4, 4 * 20_000)
    floors = task.floors()
    answers = torch.full((1, *rows.targets.shape, 1), 0.5)
    assert score(SquaredError, answers, rows) == pytest.approx(mean) == floors["loss"]["always the mean"]
    for kind in (Near, Nearer):
        one = torch.full_like(answers, float(rows.targets.max()))
        assert score(kind, one, rows) == pytest.approx(floors[kind.name]["always the likeliest answer"], abs=0.02)


def test_how_near_is_near():
    answers = torch.tensor([[[[1.15]], [[0.95]], [[1.25]]]])
    assert Near.values(answers, torch.ones(1, 3, 1)).flatten().tolist() == [1, 1, 0]
    assert Nearer.values(answers, torch.ones(1, 3, 1)).flatten().tolist() == [0, 1, 0]


def test_one_unit_that_holds_its_sign_solves_it_at_any_length(tmp_path: Path):
    """A latch: noise of four standard deviations and more does not turn it. Guessing finds such weights quickly."""
    model = SequenceModel(SRN, 1, 1, 1, True, 0, [1], False, "zero").requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    model.cell.W[:] = 1.0
    model.cell.U[:] = 20.0
    model.head_weight[:] = model.head_bias[:] = 0.5
    task = two(tmp_path, "task.informative=1")
    for rows in (task.rows("test"), task.at_length(1000, 50_000)):
        answers = model(rows.inputs[None])
        assert (score(Near, answers, rows), score(Nearer, answers, rows)) == (1, 1)
        assert score(SquaredError, answers, rows) < 1e-6


def test_an_answer_is_told_in_words():
    reading = ClassReading(1, "tail")
    sequence = torch.tensor([[-1.0], [0.25]])
    assert reading.labels(sequence) == ["-1.00", "0.25"]
    assert reading.describe(sequence, np.array([[0.9], [0.125]])) == "answer 0.125; truth 0.000 (right)"
    assert reading.describe(-sequence, np.array([[0.9], [0.125]])) == "answer 0.125; truth 1.000 (off by 0.875)"
    assert reading.token_kinds(sequence[None]).tolist() == [[0, 1]]


def test_what_is_said_to_be_right_is_what_is_scored_as_right():
    answers, first = np.array([[0.9], [0.35]]), torch.tensor([[1.0], [0.25]])
    assert ClassReading(1, "targets").describe(first, answers) == "answer 0.350; truth 0.200 (off by 0.150)"
    assert ClassReading(1, "signal").describe(-first, answers - 0.2) == "answer 0.150; truth 0.000 (right)"


def test_what_is_right_depends_on_the_experiment(tmp_path: Path):
    assert [two(tmp_path, f"task.noise={noise}").verdict for noise in ("tail", "signal", "targets")] == [
        Near,
        Near,
        Nearer,
    ]
    answers, targets = torch.tensor([0.25, -0.5]).view(1, 2, 1, 1), torch.zeros(1, 2, 1)
    assert AbsoluteError.values(answers, targets).flatten().tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("override", "message"),
    [("length=3", "must be at least 4"), ("task.noise=3a", "tail"), ("task.informative=0", "1")],
)
def test_settings_that_cannot_be_are_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config_of("task=two_sequences", override)


def test_targets_with_noise_are_not_waited_for():
    config_of("task=two_sequences", "until_right=5")
    with pytest.raises(ConfigError, match="until_right=5 does not go with task.noise=targets"):
        config_of("task=two_sequences", "until_right=5", "task.noise=targets")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    overrides = ("task.noise=targets", "model=gru", "length=10", "task.train_rows=320")
    goes_on_where_it_was_stopped(tmp_path, "task=two_sequences", *overrides)
