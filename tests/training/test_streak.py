"""How many sequences until so many in a row were right: counted exactly, whenever the answers are looked at."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import config_of, goes_on_where_it_was_stopped
from torch import Tensor

from memexp import experiment
from memexp.errors import ConfigError
from memexp.results import tables
from memexp.results.identity import identity_text
from memexp.tasks.metrics import Accuracy
from memexp.training import runner
from memexp.training.streak import Streak

TASK = ["task=latch", "length=3", "task.noise=0.01", "task.spread=0", "model=srn", "model.hidden_size=5", "lr=0.03"]
BRIEF = [*TASK, "seeds=3", "batch_size=2", "epochs=30", "until_right=30", "eval_steps=40", "log_steps=40"]


def marks(*rows: str) -> Tensor:
    return torch.tensor([[mark == "1" for mark in row] for row in rows])


def by_hand(row: str, length: int) -> int | None:
    """Count as a person would: the end of the first run of ones that is long enough."""
    place = row.find("1" * length)
    return None if place < 0 else place + length


def test_sequences_are_counted_up_to_the_end_of_the_first_streak():
    streak = Streak(4, Accuracy, 4)
    streak.add(marks("011101111000", "111100000000", "110110110110", "000000001111"))
    assert streak.by_seed() == [9, 4, None, 12]
    assert streak.seen == 12


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_a_streak_goes_on_over_the_border_of_what_is_looked_at_together(size: int):
    rows = ["".join(random.Random(seed).choices("01", [1, 3], k=150)) for seed in range(20)]
    streak = Streak(9, Accuracy, 20)
    for right in marks(*rows).split(size, 1):
        streak.add(right)
    assert streak.by_seed() == [by_hand(row, 9) for row in rows]
    assert {None} < {*streak.by_seed()}


def test_its_state_goes_on_elsewhere():
    one, other = Streak(3, Accuracy, 2), Streak(3, Accuracy, 2)
    one.add(marks("0011", "1110"))
    one.settle()
    other.load_state(one.state())
    other.add(marks("1", "0"))
    assert (other.by_seed(), other.seen, other.is_settled.tolist()) == ([5, 3], 5, [False, True])
    assert one.by_seed() == [None, 3]


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    return experiment.run(
        config_of(*BRIEF, f"datasets_dir={folder}", *overrides), folder / "-".join(overrides) or "run"
    )


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_run_ends_once_all_its_seeds_are_there(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When answers are scored makes no difference to the count; every seed's own weights are those up to its end."""
    summary = run(tmp_path, f"engine={engine}")
    took = [seed["sequences"] for seed in summary["seeds"]]
    assert min(took) >= 30
    assert len({*took}) > 1
    assert max(took) <= summary["sequences_seen"] == 2 * summary["updates"] <= max(took) + 2 * 40
    assert summary["updates"] < 150
    assert all(seed["best_iteration"] <= math.ceil(seed["sequences"] / 2 / 40) * 40 for seed in summary["seeds"])
    assert summary["shown"]["sequences"] is False
    monkeypatch.setattr(runner, "UNREAD_UPDATES", 1)
    assert [seed["sequences"] for seed in run(tmp_path, f"engine={engine}", "log_steps=7")["seeds"]] == took


def test_a_seed_has_the_same_number_alone(tmp_path: Path):
    three, alone = run(tmp_path), run(tmp_path, "seeds=[1]")
    assert alone["seeds"][0]["sequences"] == three["seeds"][1]["sequences"]
    assert alone["seeds"][0]["best_iteration"] == three["seeds"][1]["best_iteration"]


def test_a_seed_that_is_never_there_has_none(tmp_path: Path):
    summary = run(tmp_path, "epochs=2")
    assert (summary["updates"], summary["sequences_seen"]) == (100, 200)
    assert None in [seed["sequences"] for seed in run(tmp_path, "epochs=1", "until_right=100")["seeds"]]


def test_such_a_run_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, *BRIEF, "until_right=4")


def test_more_epochs_go_on_from_a_shorter_run(tmp_path: Path):
    def of(name: str, *overrides: str) -> dict[str, Any]:
        folder = tmp_path / name / ",".join(["model=srn", *overrides])
        return experiment.run(config_of(*BRIEF, "engine=torch", *overrides, f"datasets_dir={tmp_path}"), folder)

    of("on", "epochs=7")
    longer, whole = of("on", "epochs=30"), of("whole", "epochs=30")
    assert longer["went_on_from"]["epochs"] == 7
    assert longer["seeds"] == whole["seeds"]
    assert (longer["updates"], longer["sequences_seen"]) == (whole["updates"], whole["sequences_seen"])


def test_a_run_without_it_is_the_run_that_it_was():
    without, null, with_it = (
        identity_text(experiment.identity(config_of(*TASK, *more)))
        for more in ([], ["until_right=null"], ["until_right=9"])
    )
    assert without == null != with_it
    assert "until_right" not in without


def test_a_task_that_does_not_say_what_is_right_has_no_streak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("memexp.tasks.task.Task.verdict", None)
    with pytest.raises(ConfigError, match="^until_right=30 needs a task that says whether an answer is right"):
        run(tmp_path)


def test_where_a_seed_was_never_there_the_mean_is_at_least_what_it_was_watched_for():
    nan = float("nan")
    assert tables.interval_until([4.0, 8.0], [9.0, 9.0]) == tables.interval([4.0, 8.0], bounds=(0, 100))
    mean, low, high = tables.interval_until([6.0, nan, 8.0], [10.0, 10.0, 10.0])
    assert (mean, low) == tables.interval([6.0, 10.0, 8.0], bounds=(0, 100))[:2]
    assert high == float("inf")
    assert str(tables.interval_until([nan], [nan])) == "(nan, nan, nan)"
