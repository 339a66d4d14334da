"""The length matrix: trained at one length, tested at every length."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.memory.measure import Measure, Score, Subject
from memexp.results.study import Study
from memexp.tasks.task import Rows
from memexp.training.runner import Runner
from memexp.words import labelled, tr

LENGTHS = (3, 5, 10, 15, 20, 25, 30, 35, 50, 75, 100, 150, 200)
TOKENS = 500_000  # that are read of one length at most: more are sampled
CRITERION = 0.9


def scores_at(runner: Runner, by_length: Mapping[int, Rows]) -> dict[int, np.ndarray]:
    """Score each seed on rows of each length: length -> [S]. The score is the first metric of the task."""
    name = runner.metric.name
    return {length: runner.evaluate(rows)[name].numpy() for length, rows in by_length.items()}


def reach(trained_at: int, lengths: Sequence[int], scores: Sequence[float]) -> float:
    """Return the length at which a score falls under `CRITERION`, beginning with the one that was trained on.

    Args:
        trained_at: one of the lengths.
        lengths: ascending.
        scores: at each.

    Returns:
        The length, linear between those that were tested; the longest one if it never falls; NaN if it is under the
        criterion at the length that was trained on.
    """
    beyond = [(length, score) for length, score in zip(lengths, scores, strict=True) if length >= trained_at]
    if beyond[0][1] < CRITERION:
        return math.nan
    for (near, above), (far, below) in itertools.pairwise(beyond):
        if below < CRITERION:
            return near + (far - near) * (above - CRITERION) / (above - below)
    return float(beyond[-1][0])


class LengthMatrix(Measure):
    """Accuracy at lengths that were not trained on.

    The rows of other lengths have distractors as dense as those that were trained on. All possible inputs are read
    where there are few enough, else a sample; the column ``source`` says which. Length generalisation is another
    question than long-range dependency (Hochreiter and Schmidhuber 1997 train and test at one length).

    Cost: about 5 million tokens for each run.
    """

    name = "length_matrix"
    question = "how does a network trained at one length do at others?"
    scores: ClassVar[Mapping[str, Score]] = {
        "own_length_accuracy": Score("accuracy at the length that was trained on", share=True),
        "extrapolation_ratio": Score(
            f"the length at which accuracy falls under {CRITERION:g}, over the length that was trained on; of seeds "
            f"that reach it there; {LENGTHS[-1]} is the longest that is tested"
        ),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that a task has one length only."""
        return None if subject.task.at_length(LENGTHS[0], 1) is not None else "its task has no rows of other lengths"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``test_length``, ``accuracy``, ``source``."""
        task, own = subject.task, subject.task.length
        by_length = {own: task.distribution()}
        for length in LENGTHS:
            rows = task.at_length(length, TOKENS) if length != own else None
            if rows is not None:
                by_length[length] = rows
        return pd.DataFrame(
            [
                (seed, length, score, by_length[length].source)
                for length, scores in sorted(scores_at(subject.runner, by_length).items())
                for seed, score in zip(subject.seeds, scores.tolist(), strict=True)
            ],
            columns=["seed", "test_length", "accuracy", "source"],
        ).assign(trained_at=own)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the accuracy at the length that was trained on, and the extrapolation ratio."""
        rows = []
        for (run, seed), own in table.sort_values("test_length").groupby(["run", "seed"], sort=False):
            trained_at = int(own["trained_at"].iloc[0])
            there = own.loc[own["test_length"] == trained_at, "accuracy"].iloc[0]
            length = reach(trained_at, own["test_length"].tolist(), own["accuracy"].tolist())
            rows.append((run, seed, there, length / trained_at))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw a table of trained and tested lengths for each model."""
        lines = list(dict.fromkeys(table["line"]))
        trained = table["trained_at"].nunique()
        figure, axes = curves.new_figure(
            len(lines), 1, width=1.8 + 0.62 * table["test_length"].nunique(), height=1.1 + 0.34 * trained
        )
        for ax, line in zip(axes.flat, lines, strict=True):
            curves.accuracy_table(table[table["line"] == line], "accuracy", ax, "trained_at", "test_length")
            entitled(ax, labelled(line))
            ax.set(xlabel=tr("length that is tested"), ylabel=tr("length trained at"))
        curves.finish(figure, tr("Accuracy in percent: mean over seeds ± half its 95 % interval"))
        return {self.name: figure}
