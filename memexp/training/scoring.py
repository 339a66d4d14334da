"""The summary of a run: its trained weights scored on what the task asks for, and what the record says beside that."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.tasks.task import Task
from memexp.training import machine
from memexp.training.runner import ORIGIN, Runner


def summarise(
    runner: Runner, task: Task, model: SequenceModel, config: dict[str, Any], made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """Score each seed's last weights where the task asks for it, then its best ones, on test once; return the summary.

    Args:
        runner: after training; it has the best weights afterwards.
        task: of the run.
        model: of the run.
        config: all settings, as plain data.
        made_by: what made the run: versions, device.
    """
    started = time.monotonic()
    seeds: list[int] = config["seeds"]
    splits = task.splits()
    scores = _scores(runner, {f"last_{split}": splits[split] for split in task.last_splits}, (task.metrics[0].name,))
    runner.use_best()
    scores |= scores_of(runner, task)
    batch = task.batch(0)
    tokens = len(batch) * batch.inputs.shape[2]  # that a seed reads in an update
    return {
        "format": record.FORMAT,
        **made_by,
        "machine": machine.described(),
        **({ORIGIN: runner.origin} if runner.origin else {}),
        "title": model.cell.title or type(model.cell).__name__,
        "trained_on": task.trained_on,
        "parameters": model.parameter_count,
        "state_size": model.state_size,
        "hidden_sizes": model.widths,
        "updates": runner.iteration,
        "seconds": runner.seconds + time.monotonic() - started,
        "tokens_per_second": runner.iteration * len(seeds) * tokens / max(runner.seconds, 1e-9),
        "interface": dataclasses.asdict(task.interface),
        "about": task.about(),
        "floors": task.floors(),
        "shown": task.shown() | ({record.SEQUENCES: False} if runner.streak else {}),
        **({record.SEEN: runner.streak.seen} if runner.streak else {}),
        "panels": list(task.panels),
        "later": {f"task.{name}": value for name, value in task.later.items()},
        "config": config,
        "seeds": _by_seed(runner, seeds, scores),
        "test_right": _right_or_wrong(runner, task, seeds),
    }


def scores_of(runner: Runner, task: Task) -> dict[str, list[float]]:
    """Score the weights that the runner has on all that a task scores: name of the score -> a value for each seed."""
    scores = _scores(runner, task.splits())
    return scores | task.more_scores(scores)


def _scores(runner: Runner, splits: Mapping[str, Any], but: Sequence[str] = ()) -> dict[str, list[float]]:
    """Score the weights that the runner has: ``<split>_<metric>`` -> a value for each seed."""
    return {
        f"{split}_{name}": values.tolist()
        for split, rows in splits.items()
        for name, values in runner.evaluate(rows).items()
        if not but or name in but
    }


def _by_seed(runner: Runner, seeds: list[int], scores: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Turn scores around: a dict for each seed; one that stopped has none."""
    diverged, best = runner.diverged_at.tolist(), runner.best_iteration.tolist()
    by_seed = []
    for k, seed in enumerate(seeds):
        stopped = diverged[k] >= 0
        own = {name: None if stopped else values[k] for name, values in scores.items()}
        if runner.streak is not None:
            own[record.SEQUENCES] = runner.streak.by_seed()[k]
        by_seed.append(
            {"seed": seed, "best_iteration": best[k], "diverged_at": diverged[k] if stopped else None, **own}
        )
    return by_seed


def _right_or_wrong(runner: Runner, task: Task, seeds: list[int]) -> dict[str, str]:
    """Return for each seed which test rows it gets right, as a string of 0 and 1: for statistics over seeds and rows.

    Nothing where no metric of the task says of an answer whether it is right.
    """
    if task.verdict is None:
        return {}
    right = runner.right(task.verdict, task.rows("test")).int().tolist()
    return {str(seed): "".join(map(str, own)) for seed, own in zip(seeds, right, strict=True)}
