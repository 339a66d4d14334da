"""The adding problem: its rows, its floors, how it is read, and real runs of it."""

from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from helpers import config_of, goes_on_where_it_was_stopped, task_of
from memory.networks import adder

from memexp import experiment
from memexp.errors import ConfigError
from memexp.results import record
from memexp.tasks.adding import TEST_ROWS, Adding, AddingReading, Near
from memexp.tasks.metrics import SquaredError

READING = AddingReading()


def adding(folder: Path, *overrides: str) -> Adding:
    task: Adding = task_of("adding", folder, *overrides)
    return task


@pytest.mark.parametrize("length", [2, 3, 7])
def test_one_mark_is_in_each_half_and_the_target_is_the_sum_of_both(tmp_path: Path, length: int):
    rows = adding(tmp_path, f"length={length}").rows("test")
    assert rows.inputs.shape == (TEST_ROWS, length, 2)
    assert rows.targets.shape == (TEST_ROWS, 1)
    numbers, marks = rows.inputs.unbind(-1)
    half = length // 2
    assert (marks[:, :half].sum(1) == 1).all()
    assert (marks[:, half:].sum(1) == 1).all()
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    by_hand = torch.stack([row[mark == 1].sum() for row, mark in zip(numbers, marks, strict=True)])
    torch.testing.assert_close(rows.targets[:, 0], by_hand)
    assert torch.equal(adding(tmp_path, f"length={length}").needed(rows.inputs), marks == 1)


def test_rows_of_another_length_are_of_the_same_kind(tmp_path: Path):
    task = adding(tmp_path, "length=4")
    rows = task.at_length(7, 77)
    assert rows is not None
    assert (rows.source, rows.inputs.shape) == ("11 sampled rows", (11, 7, 2))
    numbers, marks = rows.inputs.unbind(-1)
    assert (marks[:, :3].sum(1) == 1).all()
    assert (marks[:, 3:].sum(1) == 1).all()
    torch.testing.assert_close(rows.targets[:, 0], (numbers * marks).sum(1))
    assert torch.equal(rows.inputs, task.at_length(7, 77).inputs)  # type: ignore[union-attr]
    assert task.at_length(1, 77) is None


def test_every_place_is_marked_equally_often(tmp_path: Path):
    marks = adding(tmp_path, "length=8").draw(40_000, torch.Generator().manual_seed(1)).inputs[..., 1]
    share = marks.mean(0)
    assert share == pytest.approx(np.full(8, 1 / 4), abs=0.01)  # 5 standard deviations


def test_always_answering_the_mean_scores_the_floors(tmp_path: Path):
    task = adding(tmp_path, "length=9")
    rows = task.draw(200_000, torch.Generator().manual_seed(2)).with_seed_axis()
    ones = torch.ones(1, len(rows), 1, 1)
    for kind in (SquaredError, Near):
        mean = kind(1)
        mean.update(ones, rows.targets)
        (floor,) = task.floors()[kind.name].values()
        assert mean.compute().item() == pytest.approx(floor, abs=0.002)
    assert task.floors()["loss"] == {"always the mean": 1 / 6}
    assert task.floors()["within_0.04"]["always the mean"] == pytest.approx(0.0784)


def test_an_answer_within_4_hundredths_is_right():
    answers = torch.tensor([[[[1.03]], [[0.97]], [[1.05]], [[float("nan")]]]])
    assert Near.values(answers, torch.ones(1, 4, 1)).flatten().tolist() == [1, 1, 0, 0]


def test_a_network_set_by_hand_solves_it(tmp_path: Path):
    """Two rectified units: the number that is marked now, and the sum of those before."""
    rows = adding(tmp_path, "length=6").rows("dev").with_seed_axis()
    answers = adder()(rows.inputs)
    error, near = SquaredError(1), Near(1)
    for mean in (error, near):
        mean.update(answers, rows.targets)
    assert error.compute().item() == pytest.approx(0, abs=1e-12)
    assert near.compute().item() == 1


def test_the_rows_of_a_seed_are_its_own_whatever_the_group(tmp_path: Path):
    group, alone = (adding(tmp_path, "length=5", f"seeds={seeds}") for seeds in ("[3,8,1]", "[8]"))
    for iteration in (0, 99, 100, 7):
        several, one = group.batch(iteration), alone.batch(iteration)
        assert several.inputs.shape == (3, 32, 5, 2)
        assert torch.equal(several.inputs[1], one.inputs[0])
        assert not torch.equal(several.inputs[0], several.inputs[1])


def test_fixed_rows_are_the_same_in_every_epoch_and_others_with_another_data_seed(tmp_path: Path):
    fixed = ("length=4", "task.sampling=fixed", "task.train_rows=40")
    task = adding(tmp_path, *fixed)
    assert task.updates_per_epoch == 2
    assert torch.equal(task.batch(0).inputs, task.batch(2).inputs)
    assert len(task.batch(1)) == 8
    other = adding(tmp_path, *fixed, "task.data_seed=1")
    assert not torch.equal(task.batch(0).inputs, other.batch(0).inputs)
    assert not torch.equal(task.rows("dev").inputs[:40], task.rows("train").inputs)


@pytest.mark.parametrize(
    "given", ["[.3, .71*, 0.02 .9*]", ".3 .71* 0.02 .9*", ".3,.71*,.02,.9*", "．３　．７１＊，.02、.9*"]
)
def test_a_sequence_is_typed_with_stars(given: str):
    read = READING.read(given)
    torch.testing.assert_close(read, torch.tensor([[0.3, 0], [0.71, 1], [0.02, 0], [0.9, 1]]))
    assert READING.labels(read) == ["0.30", "0.71*", "0.02", "0.90*"]
    assert READING.token_kinds(read[None]).tolist() == [[1, 0, 1, 0]]
    assert READING.describe(read, np.array([[1.6]])) == "answer 1.600; truth 1.610 (right)"
    assert READING.describe(read, np.array([[1.0]])) == "answer 1.000; truth 1.610 (off by 0.610)"


@pytest.mark.parametrize(
    ("given", "reason"),
    [(".3 .7*", "has 1 marked"), (".3* .7* .1*", "has 3 marked"), (".3* 2*", "2.0 is out of range"), ("a* b*", "'a'")],
)
def test_what_is_no_sequence_is_said_in_one_line(given: str, reason: str):
    with pytest.raises(ConfigError, match=reason) as error:
        READING.read(given)
    assert "\n" not in str(error.value)


def test_a_length_without_two_halves_is_refused():
    with pytest.raises(ConfigError, match="length=1 is too small; it must be at least 2"):
        config_of("task=adding", "length=1")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=adding", "model=srn", "length=4", "task.train_rows=320")


@pytest.mark.slow
def test_it_runs_and_is_drawn(tmp_path: Path):
    command = ("task=adding", "model=srn", "length=4", "seeds=2", "task.train_rows=64", "eval_steps=2", "log_steps=2")
    done = forked.run("memexp", *command, "epochs=3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "squared error" in done.stdout
    (folder,) = tmp_path.glob("outputs/adding/*/")
    summary = record.read_summary(folder)
    assert summary["interface"] == {"inputs": 2, "outputs": 1, "every_step": False, "longest": 4}
    assert {"dev_squared_error", "test_within_0.04"} < summary["seeds"][0].keys()
    assert len(summary["test_right"]["1"]) == TEST_ROWS
    assert forked.run("memexp.analysis", folder=tmp_path, drawn=False).returncode == 0
    done = forked.run("memexp.gates", "study=adding", "sequence=.3 .71* .02 .9*", folder=tmp_path, drawn=False)
    assert done.returncode == 0, done.stderr
    images = {path.name for path in (tmp_path / "images" / "adding").rglob("*.png")}
    assert {"scores.png", "curves.png", "sheet.png", "averages.png"} <= images
    results = (tmp_path / "images" / "adding" / "results.md").read_text()
    assert "| test squared error | test within 0.04 % |" in results
    explorer = forked.run("memexp.explorer", "study=adding", folder=tmp_path)
    assert explorer.returncode == 1
    assert "cannot be typed into the page" in explorer.stderr


@pytest.mark.slow
def test_a_short_one_is_learned(tmp_path: Path):
    """Length 2, where both numbers are always marked: better than the floor by far within 600 updates."""
    config = config_of("task=adding", "model=srn", "length=2", "seeds=3", "task.train_rows=6400", "epochs=3", "lr=0.01")
    errors = [seed["test_squared_error"] for seed in experiment.run(config, tmp_path / "run")["seeds"]]
    assert max(errors) < 0.01


# --- as posed in 1997 ---


def test_as_posed_in_1997_two_early_numbers_are_marked_and_both_ends(tmp_path: Path):
    task = adding(tmp_path, "task.posed=1997", "length=30")
    rows = task.draw(20_000, torch.Generator().manual_seed(4))
    assert rows.inputs.shape == (20_000, 33, 2)
    assert rows.targets.shape == (20_000, 33)
    assert task.interface.every_step
    numbers, marks = rows.inputs.unbind(-1)
    assert rows.weights is not None
    ends = rows.weights.argmax(1)  # places from 0
    assert sorted({*ends.tolist()}) == [29, 30, 31, 32]
    assert (rows.weights.sum(1) == 1).all()
    marked = marks == 1
    assert (marked.sum(1) == 2).all()
    assert marked[:, :10].any(1).all()
    assert not marked[:, 15:].any()  # the second is one of the first 15 places
    assert (marked[:, 10:15].float().mean(0) - (1 / 14)).abs().max() < 0.01
    first = marked[:, 0]
    assert ((marks[:, 0] == -1) == ~first).all()
    assert (numbers[first, 0] == 0).all()
    assert (marks.gather(1, ends[:, None]) == -1).all()
    assert (rows.inputs[ends == 29][:, 30:] == 0).all()
    assert numbers.min() < -0.99
    assert numbers.max() > 0.99
    by_hand = torch.stack([0.5 + row[mark].sum() / 4 for row, mark in zip(numbers[:50], marked[:50], strict=True)])
    torch.testing.assert_close(rows.targets[:50, 7], by_hand)
    assert torch.equal(task.needed(rows.inputs), marked)


def test_as_posed_in_1997_always_answering_the_mean_scores_the_floors(tmp_path: Path):
    task = adding(tmp_path, "task.posed=1997", "length=30")
    rows = task.draw(200_000, torch.Generator().manual_seed(5)).with_seed_axis()
    for kind in (SquaredError, Near):
        mean = kind(1)
        mean.update(torch.full((1, 200_000, 33, 1), 0.5), rows.targets, rows.weights)
        assert mean.compute().item() == pytest.approx(task.floors()[kind.name]["always the mean"], abs=0.003)


def test_as_posed_in_1997_it_is_another_run_and_has_another_shortest_length(tmp_path: Path):
    assert adding(tmp_path).fingerprint() == "none" != adding(tmp_path, "task.posed=1997").fingerprint()
    with pytest.raises(ConfigError, match="^length=19 is too small; it must be at least 20$"):
        config_of("task=adding", "task.posed=1997", "length=19")


def test_as_posed_in_1997_the_answer_is_the_one_at_the_end(tmp_path: Path):
    reading = Adding.reading(config_of("task=adding", "task.posed=1997"), {})
    sequence = torch.tensor([[0.5, -1], [-0.5, 1], [1.0, 1], [0.3, -1], [0, 0]])
    answers = np.array([[9], [9], [9], [0.63], [9]])
    assert reading.describe(sequence, answers) == "answer 0.630; truth 0.625 (right)"
    assert reading.write(sequence) == "0.50 -0.50* 1.00* 0.30 0.00"
    with pytest.raises(ConfigError, match="cannot be typed"):
        reading.read(".3 .7* .2*")
