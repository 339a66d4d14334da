"""The window of a number that was swept, above all the learning rate: where do seeds solve the task, and how wide?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from statsmodels.stats.proportion import proportion_confint

from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.figures.looks import Looks, looks_of
from memexp.memory.measure import BEST_ALONE, Measure, Score, Subject, Subjects, share_score
from memexp.results.study import Study, label, label_settings, swept
from memexp.words import labelled, tr

SOLVED = 0.95  # of the answers are right
FIRST = "lr"  # of several numbers that were swept this one counts


def swept_number(study: Study) -> str | None:
    """Name the number that was swept beside the length, all else being equal; None if there is none."""
    named = label_settings(study.rows, study.settings, ("model.name", "length"))
    found = FIRST if FIRST in named else swept(study.rows.assign(length=0), named)
    others = ["model.name", "length", *(name for name in named if name != found)]
    counts = study.rows.assign(**study.rows[others].astype(str)).groupby(others)[found].nunique()
    return found if found != "length" and counts.max() > 1 else None


def width(numbers: Sequence[float], solved: Sequence[bool]) -> float:
    """Return how wide the window is in which a seed solves the task.

    Args:
        numbers: that were swept, ascending.
        solved: whether the seed solved the task with each.

    Returns:
        The integral of ``solved`` over the numbers by the trapezoidal rule, so with half the step to a neighbour that
        is not solved: in decades if they span magnitudes, else in the number itself.
    """
    places = np.log10(numbers) if curves.spans_magnitudes(numbers) else np.asarray(numbers, dtype=float)
    return float(np.trapezoid(np.asarray(solved, dtype=float), places))


def windows(rows: pd.DataFrame, number: str, score: str) -> pd.DataFrame:
    """Say of each run and seed whether it solved the task, and how wide the window of its seed is.

    Args:
        rows: columns ``run``, ``seed``, ``line``, ``length``, that of the number and that of the score.
        number: the column.
        score: the column; a seed that stopped has none, and has not solved the task.

    Returns:
        Columns ``run``, ``seed``, ``line``, ``number``, ``accuracy``, ``solved`` (0 or 1), ``window_width`` (NaN for a
        seed that was not trained with all numbers of its line and length).
    """
    found = rows[["run", "seed", "line", "length"]].assign(
        number=pd.to_numeric(rows[number]), accuracy=rows[score], solved=(rows[score] >= SOLVED).astype(int)
    )
    found["window_width"] = np.nan
    for _, own in found.sort_values("number").groupby(["line", "length"], sort=False):
        numbers = own["number"].nunique()
        for _, of_seed in own.groupby("seed"):
            if len(of_seed) == numbers > 1:
                found.loc[of_seed.index, "window_width"] = width(of_seed["number"].tolist(), of_seed["solved"].tolist())
    return found.drop(columns="length")


class SweptWindow(Measure):
    """The share of seeds that solve the task against a number that was swept, and the width of the window.

    A seed solves the task if its accuracy, exact where there is such a score, is at least `SOLVED`. The window's width
    for a seed is the integral of "solved" over log10 of the number, in decades; its mean over seeds is the area under
    the curve of their share. A window that is open at an end of the sweep is at least so wide. That recurrent networks
    succeed in a narrow window of learning rates alone is what Okpekpe and Orvieto (2025, arXiv 2508.19029) find for
    recall and copying.

    Cost: none, it needs the records alone; but the number has to be swept, as ``-m lr=0.0001,0.001,0.01``.
    """

    name = "swept_window"
    question = "how narrow is the choice of a number, above all the learning rate, with which a network succeeds?"
    scores: ClassVar[Mapping[str, Score]] = {
        "solved": Score(f"share of seeds whose accuracy is at least {SOLVED:g}", share=True),
        "window_width": Score(
            "width of the window in which a seed solves the task: decades of the number that was swept, or the number "
            "itself where it goes up less than tenfold"
        ),
    }

    def of_study(self, study: Study, subjects: Subjects) -> Iterator[tuple[str, pd.DataFrame | str]]:
        """Count the seeds that solve the task, by the record alone."""
        number, score = swept_number(study), share_score(study)
        reason = "no number was swept but the length, as -m lr=0.0001,0.001,0.01 does" if number is None else None
        reason = "its scores are no shares" if score is None else reason
        reason = BEST_ALONE if subjects.weights != "best" else reason
        if reason is not None or number is None or score is None:
            yield from ((run, str(reason)) for run in study.rows["run"].drop_duplicates())
            return
        named = label_settings(study.rows, study.settings, ("model.name", "length", number))
        rows = study.rows.assign(line=[label(row, named) for _, row in study.rows.iterrows()])
        found = windows(rows[rows[number].notna()], number, score)
        for run in rows["run"].drop_duplicates():
            own = found[found["run"] == run]
            yield run, own.drop(columns=["run", "line"]) if len(own) else f"it has no {number}"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Not possible for a run alone."""
        raise NotImplementedError("a run is compared with the others of its study, see of_study")

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the scores as they are: a row is a seed already."""
        return table[["run", "seed", *self.scores]]

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the share of seeds and the accuracy against the number, and the width against length."""
        number = swept_number(study)
        assert number is not None
        named = label_settings(study.rows, study.settings, ("model.name", "length", number))
        lines = study.rows.assign(label=[label(row, named) for _, row in study.rows.iterrows()])
        lines = lines[["run", "seed", "label", "model.name", "length"]]
        rows = lines.merge(table[["run", "seed", "number", "accuracy", *self.scores]], on=["run", "seed"])
        looks, x_label, numbers = looks_of(rows), curves.axis_label(number), rows["number"].tolist()
        by_length = dict([*rows.groupby("length")])
        figure, axes = curves.new_figure(2, len(by_length), width=max(3.6, 6.6 / len(by_length)), height=2.9)
        for (above, below), (length, own) in zip(axes.T, by_length.items(), strict=True):
            share_against(own, above, looks, numbers)
            curves.score_against(own, "accuracy", below, looks, "number", bounds=(0, 1), numbers=numbers)
            for ax in (above, below):
                curves.score_axis(ax, share=True).set_ylim(-0.03, 1.03)  # markers at both ends are whole
            below.set_xlabel(x_label)
            entitled(above, tr(f"length {length}"))
        axes[0, 0].set_ylabel(tr("seeds that solve the task"))
        axes[1, 0].set_ylabel(tr("accuracy"))
        curves.finish(
            figure,
            tr(f"Above: share of seeds with an accuracy of {curves.percent(SOLVED)} or more, with its 95 % interval;\n"
               "below: each seed, and their mean with its 95 % interval"),
        )  # fmt: skip
        return {self.name: figure} | self._widths(rows, looks, curves.spans_magnitudes(numbers), x_label)

    def _widths(self, rows: pd.DataFrame, looks: Looks, decades: bool, number: str) -> dict[str, Figure]:
        rows = rows.drop_duplicates(["label", "length", "seed"])
        if rows["length"].nunique() == 1 or rows["window_width"].isna().all():
            return {}
        figure, axes = curves.new_figure(1, 1, width=5.2, height=3.6)
        ax = axes[0, 0]
        curves.score_against(rows, "window_width", ax, looks, bounds=(0, np.inf), x_label=curves.digits_long("length"))
        ax.set_ylim(bottom=0)
        ax.set_ylabel(tr(f"decades of {number}") if decades else number)
        curves.finish(figure, tr("Width of the window in which the task is solved:\neach seed, mean and 95 % interval"))
        return {f"{self.name}_width": figure}


def share_against(rows: pd.DataFrame, ax: Axes, looks: Looks, numbers: Sequence[float]) -> Axes:
    """Draw the share of seeds that solve a task against a number, with Wilson's 95 % interval of a share.

    Args:
        rows: columns ``label``, ``number``, ``solved``; a row for each seed.
        ax: where to draw.
        looks: of the labels.
        numbers: those of all Axes that share the x axis.
    """
    labels = list(dict.fromkeys(rows["label"]))
    beside = curves.number_axis(ax, numbers, len(labels))
    for k, name in enumerate(labels):
        by_number = rows[rows["label"] == name].groupby("number")["solved"].agg(["sum", "size"])
        places = [beside(float(str(number)), k) for number in by_number.index]
        share = (by_number["sum"] / by_number["size"]).to_numpy()
        low, high = proportion_confint(by_number["sum"].to_numpy(), by_number["size"].to_numpy(), method="wilson")
        errors = np.clip([share - low, high - share], 0, None)
        ax.errorbar(places, share, errors, label=labelled(name), capsize=3, linewidth=1.6, markersize=6, **looks[name])
    return ax
