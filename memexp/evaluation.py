"""What a finished run scores, on the rows of any length: nothing is trained, and nothing of the run is changed."""

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from memexp.experiment import Run, build_runner, choose_engine
from memexp.tasks.task import Rows, Task
from memexp.training.runner import Runner
from memexp.training.scoring import scores_of

if TYPE_CHECKING:
    from memexp.trained import TrainedRun

#: What the record calls the rows that exact scores are over.
OVER = "exact_over"


def runner_of(run: "TrainedRun", task: Task) -> Runner:
    """Return what answers and scores rows as the run did, on the CPU, for its task or the same one at another length.

    It has a copy of the model: `Runner.evaluate`, `Runner.predict`.
    """
    model, config = copy.deepcopy(run.model), OmegaConf.merge(run.config, {"engine": "auto", "device": "cpu"})
    engine = choose_engine(config, task, model, None)  # type: ignore[arg-type]
    whole = OmegaConf.merge(config, {"engine": engine, "gradient_norms": False})
    return build_runner(Run(whole, run.folder, task, model, "cpu"))  # type: ignore[arg-type]


def scores_at(runner: Runner, by_length: Mapping[int, Rows], name: str) -> dict[int, np.ndarray]:
    """Score each seed on rows of each length by a metric of this name: length -> [S]."""
    return {length: runner.evaluate(rows)[name].numpy() for length, rows in by_length.items()}


def evaluated(run: "TrainedRun", lengths: Iterable[int]) -> pd.DataFrame:
    """Score a run on all splits of its task, built at each length; see `memexp.trained.TrainedRun.evaluate`."""
    tables = []
    for length in lengths:
        task = run.task_at(length)
        own = pd.DataFrame({"length": length, "seed": run.seeds, **scores_of(runner_of(run, task), task)})
        stopped = [run.record_of(seed).get("diverged_at") is not None for seed in run.seeds]
        own.loc[stopped, own.columns[2:]] = np.nan  # as in the record
        over = task.about().get(OVER)
        tables.append(own if over is None else own.assign(**{OVER: over}))
    return pd.concat(tables, ignore_index=True)
