"""The memory gap: what a twin gets right that is asked the same with no lag, and the network does not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from memexp.errors import MemexpError
from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.figures.looks import looks_of
from memexp.memory.measure import BEST_ALONE, Measure, Score, Subject, Subjects, share_score, task_of
from memexp.results.study import Study, against
from memexp.words import tr


def paired(
    rows: pd.DataFrame, settings: Sequence[str], no_lag: Mapping[str, Any], score: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find for each seed the same seed of its twin: all settings are equal but those that take the lag away.

    Args:
        rows: of the runs of a task, a row for each run and seed.
        settings: the columns that are settings.
        no_lag: setting -> its value in a twin.
        score: the column that is compared.

    Returns:
        Columns ``run``, ``seed``, ``accuracy``, ``no_lag_accuracy``, ``memory_gap``, where both seeds have a score; and
        the rows of all runs that could have a twin.
    """
    is_twin = pd.concat([rows[name] == value for name, value in no_lag.items()], axis=1).all(axis=1)
    same = [*(name for name in settings if name not in no_lag), "seed"]
    sides = rows[["run"]].join(rows[same].astype(str)).assign(number=rows["seed"], accuracy=rows[score])
    both = sides[~is_twin].merge(sides[is_twin], on=same, suffixes=("", "_twin")).dropna(subset="accuracy_twin")
    pairs = pd.DataFrame(
        {
            "run": both["run"],
            "seed": both["number"],
            "accuracy": both["accuracy"],
            "no_lag_accuracy": both["accuracy_twin"],
            "memory_gap": both["accuracy_twin"] - both["accuracy"],
        }
    )
    return pairs.dropna(), rows[~is_twin]


class MemoryGap(Measure):
    """What memory costs: the score of a twin, which is asked the same with no lag, less that of the run.

        gap = score(asked last) - score(asked first),  of the same seed, same settings and rows

    The twin is trained alike, from the same initial weights, on the same rows with the two digits at their end. What it
    lacks to 1 is arithmetic, training and overfitting; the gap is what the lag costs beyond that. It is below 0 where
    the steps of the lag help: a twin has to answer at the step at which it reads the second digit. This is the
    comparison of twins, of which one observes all, of POPGym Arcade (Wang et al. 2025, arXiv 2503.01450), brought to
    supervised tasks. Its interval is paired: over the differences seed by seed.

    Cost: none, it needs the records alone; but twins have to be trained.
    """

    name = "memory_gap"
    question = "how much of what a network gets wrong is memory?"
    scores: ClassVar[Mapping[str, Score]] = {
        "no_lag_accuracy": Score("accuracy of the twin, whose digits are asked with no lag", share=True),
        "memory_gap": Score("accuracy of the twin less that of the run, seed by seed", share=True, signed=True),
    }

    def of_study(self, study: Study, subjects: Subjects) -> Iterator[tuple[str, pd.DataFrame | str | MemexpError]]:
        """Compare each run with its twin, by the record alone."""
        runs = study.rows["run"].drop_duplicates()
        try:
            kind, score = task_of(study, subjects), share_score(study)
        except MemexpError as error:
            yield str(runs.iloc[0]), error
            return
        reason = None if kind.no_lag and score is not None else "its task cannot be asked with no lag"
        reason = BEST_ALONE if subjects.weights != "best" else reason
        if reason is not None or score is None:
            yield from ((run, str(reason)) for run in runs)
            return
        no_lag = {f"task.{name}": value for name, value in kind.no_lag.items()}
        rows = study.rows.assign(**{name: None for name in no_lag if name not in study.rows})  # all are of before
        pairs, could = paired(rows, study.settings, no_lag, score)
        added = " ".join(f"{name}={value}" for name, value in no_lag.items())
        for run in runs:
            own = pairs[pairs["run"] == run]
            if len(own):
                yield run, own.drop(columns="run")
            elif run in set(could["run"]):
                yield run, f"it has no twin; to train twins, give the command of the study with {added} added to it"
            elif pairs.empty:
                yield run, "it is asked with no lag itself"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Not possible for a run alone."""
        raise NotImplementedError("a run is compared with another one of its study, see of_study")

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the scores as they are: a row is a seed already."""
        return table[["run", "seed", *self.scores]]

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the accuracy of runs and twins, and the gap, against length or what else was swept."""
        shown = {
            "no_lag_accuracy": tr("asked with no lag: the twin"),
            "accuracy": tr("asked after the lag: the run"),
            "memory_gap": tr("the difference: the gap"),
        }
        rows, axis = against(study.rows.merge(table[["run", "seed", *shown]], on=["run", "seed"]))
        figure, axes = curves.new_figure(1, len(shown), width=4.0, height=3.6, share_y=False)
        looks, x_label = looks_of(rows), curves.digits_long(axis)
        for ax, (column, title) in zip(axes.flat, shown.items(), strict=True):
            lowest = -1.0 if column == "memory_gap" else 0.0
            curves.score_against(rows, column, ax, looks, axis, bounds=(lowest, 1.0), x_label=x_label)
            entitled(ax, title)
        for ax in axes.flat[:2]:
            curves.score_axis(ax, share=True)
        axes.flat[2].yaxis.set_major_formatter(curves.PERCENT)
        axes.flat[2].axhline(0, **curves.FLOOR)
        curves.finish(
            figure, tr("Accuracy of each seed, and their mean with its 95 % interval; the gap is paired by seed")
        )
        return {self.name: figure}
