"""The length matrix: trained at one length, tested at every length."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from memexp.evaluation import scores_at
from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.memory.measure import Measure, Score, Subject
from memexp.results.study import Study
from memexp.tasks.task import Task
from memexp.words import labelled, tr

LENGTHS = (3, 5, 10, 15, 20, 25, 30, 35, 50, 75, 100, 150, 200)
BEYOND = (1, 2, 5, 10)  # steps after the length that was trained on: where a network falls off, it does so at once
TOKENS = 200_000  # that are read of one length at most, but of the one that was trained on: more are sampled
CRITERION = 0.9  # an accuracy, or a share of that at the length that was trained on


def reach(trained_at: int, lengths: Sequence[int], scores: Sequence[float], criterion: float) -> float:
    """Return the length at which a score falls under a criterion, beginning with the one that was trained on.

    Args:
        trained_at: one of the lengths.
        lengths: ascending.
        scores: at each.
        criterion: what a score should be.

    Returns:
        The length, linear between those that were tested; the longest one if it never falls; NaN if it is under the
        criterion at the length that was trained on.
    """
    beyond = [(length, score) for length, score in zip(lengths, scores, strict=True) if length >= trained_at]
    if beyond[0][1] < criterion:
        return math.nan
    for (near, above), (far, below) in itertools.pairwise(beyond):
        if below < criterion:
            return near + (far - near) * (above - criterion) / (above - below)
    return float(beyond[-1][0])


def _tested(task: Task) -> list[int]:
    """Return the lengths but its own at which a task is tested, ascending."""
    return sorted({*LENGTHS, *task.far, *(task.length + further for further in BEYOND)} - {task.length})


class LengthMatrix(Measure):
    """Accuracy at lengths that were not trained on.

    The rows of other lengths have distractors as dense as those that were trained on. All possible inputs are read
    where there are few enough, else a sample; the column ``source`` says which. With A(l) the accuracy at length l, of
    a network trained at length L, and l* the smallest l >= L with A(l) < `CRITERION` (linear between those that are
    tested), the extrapolation ratio is l* / L; the relative one takes A(l) < `CRITERION` A(L) instead, so that seeds
    have one that never were that good; but who guesses does so at any length, so that it is only of those with A(L) at
    least twice the accuracy of guessing. Length generalisation is another question than long-range dependency
    (Hochreiter and Schmidhuber 1997 train and test at one length).

    A(l) is the task's first metric that is a share: of sums of numbers, how often they are near. A task may name more
    lengths (`memexp.tasks.task.Task.far`).

    Cost: about 3 million tokens for each run, and all inputs of its own length.
    """

    name = "length_matrix"
    question = "how does a network trained at one length do at others?"
    scores: ClassVar[Mapping[str, Score]] = {
        "own_length_accuracy": Score("accuracy at the length that was trained on", share=True),
        "extrapolation_ratio": Score(
            f"the length at which accuracy falls under {CRITERION:g}, over the length that was trained on; of seeds "
            "that reach it there; where it never does, the longest that is tested counts"
        ),
        "relative_extrapolation_ratio": Score(
            f"the length at which accuracy falls under {CRITERION:g} of that at the length that was trained on, over "
            "this length; of seeds that are twice as good as guessing there"
        ),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that a task has one length only, or that none of its scores is a share."""
        if subject.share is None:
            return "its scores are no shares"
        others = (subject.task.at_length(length, 1) for length in _tested(subject.task))
        return "its task has no rows of other lengths" if all(rows is None for rows in others) else None

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``test_length``, ``accuracy``, ``source``, ``trained_at``, ``guessing``."""
        task, own, score = subject.task, subject.task.length, str(subject.share)
        rows = {length: task.at_length(length, TOKENS) for length in _tested(task)} | {own: task.distribution()}
        by_length = {length: of_length for length, of_length in rows.items() if of_length is not None}
        return pd.DataFrame(
            [
                (seed, length, score, by_length[length].source)
                for length, scores in sorted(scores_at(subject.runner, by_length, score).items())
                for seed, score in zip(subject.seeds, scores.tolist(), strict=True)
            ],
            columns=["seed", "test_length", "accuracy", "source"],
        ).assign(trained_at=own, guessing=subject.guessing)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the accuracy at the length that was trained on, and both extrapolation ratios."""
        rows = []
        for (run, seed), own in table.sort_values("test_length").groupby(["run", "seed"], sort=False):
            trained_at, lengths, accuracies = int(own["trained_at"].iloc[0]), own["test_length"], own["accuracy"]
            (there,) = accuracies[lengths == trained_at]
            ratio, relative = (
                reach(trained_at, lengths.tolist(), accuracies.tolist(), criterion) / trained_at
                for criterion in (CRITERION, CRITERION * there)
            )
            guesses = there < 2 * own["guessing"].iloc[0]
            rows.append((run, seed, there, ratio, math.nan if guesses else relative))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw a table of trained and tested lengths for each model; where both are the same has a frame."""
        labels = list(dict.fromkeys(table["label"]))
        shown = table["test_length"].isin([*LENGTHS, *table["trained_at"].unique()])
        far = table["test_length"] > LENGTHS[-1]
        table = table[shown | far & ~(table["test_length"] - table["trained_at"]).isin(BEYOND)]
        trained = table["trained_at"].nunique()
        figure, axes = curves.new_figure(
            len(labels),
            1,
            width=1.8 + 0.62 * table["test_length"].nunique(),
            height=1.1 + 0.34 * trained,
            share_x=False,
        )
        for ax, label in zip(axes.flat, labels, strict=True):
            own = table[table["label"] == label]
            curves.accuracy_table(own, "accuracy", ax, "trained_at", "test_length")
            down, across = (sorted(own[column].unique()) for column in ("trained_at", "test_length"))
            for place, length in enumerate(down):
                ax.add_patch(Rectangle((across.index(length), place), 1, 1, fill=False, edgecolor="black", linewidth=2))
            entitled(ax, labelled(label))
            ax.set(xlabel="", ylabel=tr("length trained at"))
        axes[-1, 0].set_xlabel(tr("length that is tested"))
        curves.finish(figure, tr("Accuracy in percent: mean over seeds ± half its 95 % interval; framed: as trained"))
        return {self.name: figure}
