"""The latch problem: its rows, its floors, a network set by hand, and real runs of it."""

from pathlib import Path

import forked
import pytest
import torch
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp import experiment
from memexp.errors import ConfigError
from memexp.results import record
from memexp.tasks.latch import TEST_ROWS, Latch, LatchReading, Near, Sign
from memexp.tasks.metrics import SquaredError

SMALL = ("length=5", "task.spread=2")


def latch(folder: Path, *overrides: str) -> Latch:
    task: Latch = task_of("latch", folder, *overrides)
    return task


def test_the_defaults_are_those_of_2001(tmp_path: Path):
    task = latch(tmp_path)
    assert (task.length, task.spread, task.noise, task.train_rows, TEST_ROWS) == (500, 100, 0.2, 100, 100)
    assert task.interface.longest == 600


def test_a_row_is_a_sign_and_noise_and_its_end_is_asked(tmp_path: Path):
    rows = latch(tmp_path, *SMALL).rows("test")
    assert rows.inputs.shape == (TEST_ROWS, 7, 1)
    assert rows.targets.shape == rows.weights.shape == (TEST_ROWS, 7)
    signs = rows.inputs[:, 0, 0]
    assert signs.tolist() == [1, -1] * (TEST_ROWS // 2)
    assert torch.equal(rows.targets, signs[:, None].expand(-1, 7))
    assert torch.equal(rows.weights.sum(1), torch.ones(TEST_ROWS).double())
    last = rows.weights.argmax(1)
    assert set(last.tolist()) == {4, 5, 6}
    behind = torch.arange(7) > last[:, None]
    assert (rows.inputs[..., 0][behind] == 0).all()
    assert (rows.inputs[..., 0][~behind] != 0).all()


def test_lengths_are_equally_likely_and_the_noise_has_its_variance(tmp_path: Path):
    rows = latch(tmp_path, *SMALL, "task.noise=0.09").draw(30_000, torch.Generator().manual_seed(1))
    lengths = rows.weights.argmax(1) + 1
    share = torch.bincount(lengths, minlength=8)[5:].double() / 30_000
    assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.015)  # 5 standard deviations
    noise = rows.inputs[:, 1:5, 0]  # within the shortest sequences
    assert noise.mean().item() == pytest.approx(0, abs=0.005)
    assert noise.var().item() == pytest.approx(0.09, abs=0.002)
    none = latch(tmp_path, "length=3", "task.spread=0", "task.noise=0").rows("dev")
    assert (none.inputs[:, 1:] == 0).all()


def test_knowing_nothing_scores_the_floors(tmp_path: Path):
    task = latch(tmp_path, *SMALL)
    rows = task.rows("test").with_seed_axis()
    for answer, kinds in ((0.0, (SquaredError,)), (1.0, (Near, Sign))):
        for kind in kinds:
            mean = kind(1)
            mean.update(torch.full((1, TEST_ROWS, 7, 1), answer), rows.targets, rows.weights)
            (floor,) = task.floors()[kind.name].values()
            assert mean.compute().item() == pytest.approx(floor)
    assert task.floors()["loss"] == {"always 0": 1.0}


def test_an_answer_within_a_tenth_is_right_and_so_is_a_sign():
    answers, targets = torch.tensor([[[[0.91]], [[0.89]], [[-0.95]], [[0.0]]]]), torch.tensor([[[1.0], [1], [1], [-1]]])
    assert Near.values(answers, targets).flatten().tolist() == [1, 0, 0, 0]
    assert Sign.values(answers, targets).flatten().tolist() == [1, 1, 0, 0]


def test_one_unit_set_by_hand_solves_it(tmp_path: Path):
    """h_t = tanh(20 x_t + 90 h_{t-1}): noise would have to be 4.5, ten standard deviations, to turn it over."""
    config = config_of("task=latch", "model=srn", "model.hidden_size=1", "seeds=1", f"datasets_dir={tmp_path}")
    task = experiment.build_task(config)
    model = experiment.build_model(config, task.interface, initialise=False)
    with torch.no_grad():
        for parameter, value in ((model.cell.W, 20.0), (model.cell.U, 90.0), (model.head_weight, 1.0)):
            parameter.fill_(value)
        rows = task.rows("test").with_seed_axis()
        near = Near(1)
        near.update(model(rows.inputs), rows.targets, rows.weights)
    assert near.compute().item() == 1
    assert torch.equal(task.needed(rows.inputs[0])[0].nonzero().flatten(), torch.tensor([0]))


def test_the_sign_is_told_from_the_noise():
    reading = LatchReading()
    assert reading.token_kinds(torch.zeros(2, 3, 1)).tolist() == [[0, 1, 1]] * 2
    assert reading.write(torch.tensor([[1.0], [-0.25]])) == "1 -0.25"


def test_nothing_to_keep_is_refused():
    with pytest.raises(ConfigError, match="length=1 is too small; it must be at least 2"):
        config_of("task=latch", "length=1")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=latch", "model=srn", *SMALL)


@pytest.mark.slow
def test_it_runs_and_is_drawn(tmp_path: Path):
    command = ("task=latch", "model=srn", *SMALL, "seeds=2", "eval_steps=2", "log_steps=2")
    done = forked.run("memexp", *command, "epochs=3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("outputs/latch/*/")
    summary = record.read_summary(folder)
    assert summary["trained_on"] == "lengths 5 to 7"
    assert {"dev_squared_error", "test_within_0.1", "test_sign"} < summary["seeds"][0].keys()
    assert forked.run("memexp.analysis", folder=tmp_path, drawn=False).returncode == 0
    done = forked.run("memexp.gates", "study=latch", folder=tmp_path, drawn=False)
    assert done.returncode == 0, done.stderr
    images = {path.name for path in (tmp_path / "images" / "latch").rglob("*.png")}
    assert {"scores.png", "curves.png", "sheet.png", "averages.png"} <= images


@pytest.mark.slow
def test_a_short_one_is_learned(tmp_path: Path):
    config = config_of("task=latch", "model=srn", *SMALL, "seeds=3", "epochs=100", f"datasets_dir={tmp_path}")
    signs = [seed["test_sign"] for seed in experiment.run(config, tmp_path / "run")["seeds"]]
    assert min(signs) > 0.98
