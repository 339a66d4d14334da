"""Credit: closed forms of cells from zero, whatever the length, and what is said where it is too small."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import KINDS, MakeCell, classifier, config_of, task_of
from omegaconf import OmegaConf

from memexp import experiment
from memexp.models.cells import GRU, LSTM, SRN
from memexp.tasks.metrics import CrossEntropy
from memexp.tasks.task import Rows
from memexp.training import credit

SEEDS, B = (3, 8), 5


def rows_of(generator: torch.Generator, length: int) -> Rows:
    return Rows(torch.randint(10, (B, length), generator=generator), torch.randint(7, (B, 1), generator=generator))


@pytest.mark.parametrize(
    ("kind", "keeps", "writes"),
    [(partial(LSTM, variant="none"), 0.5, 0.25), (partial(GRU, reset_after=False), 0.5, 0.5), (SRN, 0.0, 1.0)],
)
@pytest.mark.parametrize("length", [1, 4, 35, 200])
def test_from_zero_credit_is_a_power_of_the_lag(
    kind: MakeCell, keeps: float, writes: float, length: int, generator: torch.Generator
):
    """Of an LSTM 0.25 * 0.5^lag of the output's gradient: 1.5e-11 at lag 34; 2^-201 is not 0 either."""
    model = classifier(kind, SEEDS, initialiser="zeros").double()
    rows = rows_of(generator, length)
    answers = model(rows.inputs[None])[:, :, 0]
    wrong = answers.softmax(-1) - torch.nn.functional.one_hot(rows.targets[:, 0], 7)
    of_output = (wrong @ model.head_weight.transpose(1, 2)).norm(dim=-1)  # [S, B]
    lags = torch.arange(length).flip(0).double()
    expected = writes * keeps**lags * of_output[..., None]
    found = credit.credit(model, CrossEntropy, rows)
    assert found.shape == (len(SEEDS), B, length)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_it_is_the_gradient_of_what_a_step_reads(kind: MakeCell, generator: torch.Generator):
    """A small change of the bias at one step alone changes the loss as the credit says, at most."""
    model, rows = classifier(kind, SEEDS, bidirectional=False).double(), rows_of(generator, 6)
    found = credit.credit(model, CrossEntropy, rows)
    step, size = 2, 1e-6
    direction = torch.randn(len(SEEDS), *model.cell.b.shape[1:2], B, 6, generator=generator, dtype=torch.float64)
    direction /= direction.square().sum((1, 3), keepdim=True).sqrt()

    def losses(change: float) -> torch.Tensor:
        def run(own, projected, state):
            moved = projected.clone()
            moved[:, :, step] += change * direction
            return own.cell.unroll(moved, state)

        with torch.no_grad():
            answers, _ = model.answer(rows.inputs[None], run=run)
            return credit.row_losses(CrossEntropy, answers, rows.with_seed_axis())

    slope = (losses(size) - losses(-size)).abs() / (2 * size)
    assert (slope <= found[:, :, step] * (1 + 1e-4) + 1e-9).all()
    assert (slope > 0.001 * found[:, :, step]).any()


def test_a_network_that_reads_backwards_too_is_told_by_both(generator: torch.Generator):
    model = classifier(KINDS["LSTM"], SEEDS, bidirectional=True, initialiser="zeros")
    found = credit.credit(model, CrossEntropy, rows_of(generator, 9))
    ratio = found[..., 0] / found[..., 8]  # each end is the last step of one direction; their heads differ
    assert ((ratio > 0.1) & (ratio < 10)).all()
    assert (found[..., 4] < 0.2 * found[..., [0, 8]].amax(-1)).all()


def test_the_model_stays_as_it_was_and_need_not_be_one_that_learns(generator: torch.Generator):
    """In its own precision: a cell of a user's own may know one alone."""
    model, rows = classifier(KINDS["LSTM"], SEEDS).requires_grad_(False), rows_of(generator, 20)
    found = credit.credit(model, CrossEntropy, rows)
    torch.testing.assert_close(found, credit.credit(model.double(), CrossEntropy, rows), rtol=1e-3, atol=1e-12)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_rows_are_apart_and_answers_that_are_not_asked_do_not_count(generator: torch.Generator):
    model = classifier(KINDS["GRU reset after"], SEEDS, every_step=True)
    inputs, targets = (torch.randint(n, (B, 4), generator=generator) for n in (10, 7))
    weights = torch.zeros(B, 4, dtype=torch.float64)
    weights[1:, 1] = 0.3
    found = credit.credit(model, CrossEntropy, Rows(inputs, targets, weights))
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:, :2] > 0).all()
    assert (found[:, :, 2:] == 0).all()
    alone = credit.credit(model, CrossEntropy, Rows(inputs, targets, weights).slice(2, 3))
    torch.testing.assert_close(found[:, 2:3], alone)


def test_it_is_expected_at_the_first_token_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = task_of("digit_sum", tmp_path, "length=6", "seeds=2", "task.sampling=fresh")
    model = classifier(KINDS["LSTM"], (0, 1), classes=19)
    found = credit.expected(model, task)
    by_step = credit.credit(model, task.loss, task.batch(0))
    assert found is not None
    large = task_of("digit_sum", tmp_path, "length=6", "seeds=2", "task.sampling=fresh", "batch_size=50")
    assert credit.expected(model, large).by_step.shape == (6,)
    assert found.first == pytest.approx(float(by_step[..., 0].mean()))
    torch.testing.assert_close(found.by_step, by_step.mean((0, 1)))

    def every_other(inputs: torch.Tensor) -> torch.Tensor:  # of the rows, the third and fifth token
        assert inputs.shape == (2 * 8, 6)
        return (torch.arange(6) % 4 == 2) & (torch.arange(16) % 2 == 0)[:, None]

    monkeypatch.setattr(task, "needed", every_other)
    own = credit.expected(model, task)
    assert own is not None
    assert own.first == pytest.approx(float(by_step[:, ::2, 2].mean()))
    monkeypatch.setattr(task, "needed", lambda inputs: None)
    assert credit.expected(model, task) is None


@pytest.mark.parametrize(
    ("kind", "advice"),
    [("LSTM", "model.initialiser=chrono, or model.forget_bias=1"), ("SRN", "give a smaller length, or a model whose")],
)
def test_the_warning_says_what_came_and_what_to_do(kind: str, advice: str):
    cell = classifier(KINDS[kind], (0,)).cell
    assert credit.warning(cell, 1e-8) is None
    assert credit.warning(cell, math.nan) is None
    said = credit.warning(cell, 3.21e-12)
    assert said is not None
    assert "3.2e-12" in said
    assert "Adam's eps of 1e-08" in said
    assert advice in said
    assert "\n" not in said


def test_a_run_warns_before_it_begins_where_adam_trains_what_has_to_be_remembered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    config = config_of("length=35", "model.initialiser=zeros", "seeds=2", f"datasets_dir={tmp_path}")
    task = experiment.build_task(config)
    model = experiment.build_model(config, task.interface)
    said = experiment.little_credit(config, task, model)
    assert said is not None
    assert experiment.little_credit(config_of("optimizer=sgd"), task, model) is None
    chrono = config_of("length=35", "model.initialiser=chrono", "seeds=2")
    assert experiment.little_credit(chrono, task, experiment.build_model(chrono, task.interface)) is None
    for length, warned in ((35, True), (5, False)):
        caplog.clear()
        own = OmegaConf.merge(config, {"length": length, "epochs": 1})
        with caplog.at_level("WARNING"):
            experiment.run(own, tmp_path / f"run{length}")
        assert (said in caplog.text) == warned
