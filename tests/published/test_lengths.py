"""Lengths that were never trained on, and an order: a network set by hand, small runs, records."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of, make_run, seed_row, task_of

import memexp
from memexp import trained
from memexp.config import class_of
from memexp.models.cells import Diagonal
from memexp.models.networks import SequenceModel
from memexp.published import lengths
from memexp.published.claims import HOW, Measured, NotThereError, table
from memexp.published.lengths import Beyond, Ordering, best, beyond, mean, of_ones, percent
from memexp.results import record
from memexp.trained import TrainedRun


def measured(study: Path) -> Measured:
    return Measured(searches=3, trials=7, study=study)


def flipping(folder: Path, sure: Sequence[float]) -> TrainedRun:
    """Make a run of parity of one linear unit, h_t = a h_{t-1} + x_t, where a is -1 at a 1, else 1: seed by seed.

    A seed that is not sure, with 0, always answers 0.
    """
    model = SequenceModel(partial(Diagonal, lowest=-1.0), len(sure), 2, 2, True, 0, [1], False, "zero")
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    forget, candidate = 0, 1
    model.cell.W[:, forget, :, 0] = torch.tensor([100.0, -100.0])  # the gate is 1 or 0, so that a is 1 or -1
    model.cell.W[:, candidate, 1, 0] = 1
    model.head_weight[:, 0, 1] = torch.tensor(sure)
    model.head_bias[:, 1] = -torch.tensor(sure) / 2
    given = ["task=state_tracking", "model=diagonal", "model.lowest=-1.0", "model.hidden_size=1",
             "model.embedding_size=0", f"seeds={[*range(len(sure))]}", f"datasets_dir={folder}"]  # fmt: skip
    config, task = config_of(*given), task_of("state_tracking", folder, *given)
    record.write_json(folder / record.CONFIG, {"data": task.fingerprint()})
    return TrainedRun(
        folder, config, {"interface": asdict(task.interface), "about": {}}, class_of(config.task, "task"), model
    )


def test_the_lengths_are_those_that_were_not_trained_on():
    assert (lengths.LENGTHS[0], lengths.LENGTHS[-1], len(lengths.LENGTHS)) == (41, 497, 20)
    assert all(length % 2 for length in lengths.LENGTHS)  # there are expressions of odd lengths alone


def test_one_unit_with_an_eigenvalue_of_minus_1_tells_parity_at_every_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lengths, "ROWS", 25)
    found = beyond(flipping(tmp_path, [1.0, 0.0, 3.0]))
    assert found[[0, 2]].tolist() == [1, 1]
    deviation = math.sqrt(0.25 / (lengths.ROWS * len(lengths.LENGTHS)))
    assert found[1] == pytest.approx(0.5, abs=4 * deviation)  # it answers 0
    assert beyond(flipping(tmp_path, [0.0]))[0] == found[1]  # the rows are the same ones
    assert of_ones(flipping(tmp_path, [1.0, 0.0, 3.0])).tolist() == [1, 0.5, 1]


def test_the_interval_of_a_mean_is_of_seeds_and_of_rows():
    assert mean([100.0] * 10)[:3] == (100, 100, 100)
    same = mean([50.0] * 10)  # all seeds answer alike: 5,000 rows with 49.3 % to 50.7 % would be no surprise
    assert same == pytest.approx((50, 50 - 1.386, 50 + 1.386, 10), abs=0.01)
    apart = mean([40.0, 60.0, math.nan])
    assert apart.low == 0  # Student's interval of two values is wide
    assert (apart.mean, apart.high, apart.n) == (50, 100, 2)
    assert mean([0.0, 0.0, 60.0])[:3] == (20, 0, 100)  # an end that is cut off does not draw in the other
    assert math.isnan(mean([50.0]).high)
    assert best([40.0, math.nan, 60.0, 55.0]) == (60, 60, 60, 3)


def test_runs_are_picked_by_settings_and_scored_with_their_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lengths, "LENGTHS", (7, 9))
    for lowest in (0.0, -1.0):
        memexp.run("task=state_tracking", "model=diagonal", f"model.lowest={lowest}", length=5, lr=1, epochs=3,
                   eval_steps=1, task__train_rows=256, seeds="[2, 5]", study="published", outputs_dir=tmp_path,
                   images_dir=None, datasets_dir=tmp_path)  # fmt: skip
    study = tmp_path / "published"
    (folder,) = study.glob("*lowest=-1.0*")
    last = trained.load(folder, "last")
    found = Beyond(
        lengths.runs("parity", "diagonal", length=5, **{"model.lowest": -1.0}),
        lambda values: lengths.exactly(sum(values)),
    )(measured(study))
    assert found.mean == pytest.approx(100 * beyond(last).sum())
    assert percent(beyond, folder) == dict(zip([2, 5], 100 * beyond(last), strict=True))
    assert not np.array_equal(beyond(last), beyond(trained.load(folder)))  # the best on dev are others
    with pytest.raises(NotThereError):
        Beyond(lengths.runs("parity", "srn"), mean)(measured(study))


def test_an_order_is_the_mean_difference_of_the_same_seeds(tmp_path: Path):
    task = {"_target_": "memexp.tasks.copy_memory.CopyMemory", "name": "copy_memory"}
    for model, scores in (("lstm", {0: 0.5, 1: 0.75, 2: 1.0}), ("gru", {2: 0.5, 0: 0.25, 3: 0.9})):
        make_run(tmp_path, 100, model, [seed_row(seed, exact) for seed, exact in scores.items()], task)
    of = [{"task.name": "copy_memory", "model.name": model} for model in ("lstm", "gru")]
    found = Ordering(*of, "exact_accuracy")(measured(tmp_path))
    half = 12.706 * 12.5  # Student's t for two pairs, 25 and 50 points, whose mean has a deviation of 12.5
    assert found == pytest.approx((37.5, 37.5 - half, 37.5 + half, 2), abs=0.01)


def test_every_claim_says_that_it_is_not_trained_yet(tmp_path: Path):
    found = table(lengths.CLAIMS, measured(tmp_path))
    assert all(HOW in missing for missing in found["missing"])
    assert found["what"].is_unique
