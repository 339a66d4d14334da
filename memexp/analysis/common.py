"""What every task has of figures: learning curves with their floors, scores against length, gradients' norms.

A task that draws more has a module of its own beside this one, with its name: `drawings` and `comparison` there take
the place of those here.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from memexp.canvas import Figure, own_style
from memexp.figures import curves
from memexp.figures.lettering import entitled, fitted
from memexp.figures.looks import looks_of
from memexp.results import statistics
from memexp.results.record import SEEN, SEQUENCES
from memexp.results.study import Histories, Study, against, pairs
from memexp.words import labelled, named, tr

EXPLODING_UPDATES, CLIPPED_UPDATES = 40, 100  # that are drawn of the gradients' norms, as in the book's 6.8 and 6.9

MOST_PANELS = 60  # of runs in a figure; more could not be told apart, and would take minutes
MAGNITUDES = 100.0  # losses that go down by more than this are drawn on a log axis

Drawings = dict[str, Callable[[], Figure | None]]
"""Name of a figure -> what draws it; None where there is nothing to draw."""

COMPARISON = {  # column of comparison.csv -> what it is
    "score": "what is compared, of the test rows or exact",
    "length": "of the runs that are compared",
    "one, other": "the two of them",
    "seeds": "how many seeds *one* has",
    "difference": "mean of *one* less mean of *other*",
    "larger": "the probability that a seed of *one* has a larger score than a seed of *other*; 0.5 is no difference",
    "p_holm": "Mann and Whitney's p for *larger*, corrected for all rows of the table (Holm)",
}


def comparison(study: Study, outputs: Path) -> pd.DataFrame | None:
    """Compare every two labels at each length: the table comparison.csv, a row for each pair and score.

    Returns:
        Columns ``score``, ``length``, ``one``, ``other``, ``seeds``; ``difference`` of the means; ``larger``, the
        probability that a seed of ``one`` has the larger score; ``p_holm``, Mann and Whitney's p for that, corrected
        for the number of rows. Scores are those on test rows and exact ones. None where there is nothing to compare.
    """
    table = []
    for score in (column for column in study.shown if column.startswith(("test_", "exact_"))):
        for length, one, other, *sides in pairs(told_apart(study.rows)):
            values = [side[score].dropna().to_numpy(float) for side in sides]
            if min(map(len, values)) < 2:
                continue
            larger, p = statistics.compare(*values)
            table.append(
                {
                    "score": score, "length": length, "one": one, "other": other, "seeds": len(values[0]),
                    "difference": values[0].mean() - values[1].mean(), "larger": larger, "p": p,
                }
            )  # fmt: skip
    if not table:
        return None
    frame = pd.DataFrame(table)
    return frame.assign(p_holm=statistics.holm(frame.pop("p").tolist()))


def drawings(study: Study, known: pd.DataFrame, histories: Histories, criterion: float) -> Drawings:
    """Return what draws each figure.

    Args:
        study: the runs.
        known: its rows whose histories could be read.
        histories: of these.
        criterion: the score whose first time is drawn, where a task does that.
    """
    found: Drawings = {"scores": partial(draw_scores, study)}
    if len(known):
        found["curves"] = partial(draw_curves, study.only(known), histories)
    return found | gradient_drawings(known, histories)


def told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Name the study in the labels where there are several."""
    if rows["study"].nunique() < 2:
        return rows
    return rows.assign(**{name: rows[name] + " (" + rows["study"] + ")" for name in ("label", "line")})


def at_least(rows: pd.DataFrame) -> pd.DataFrame:
    """Put a seed that never had its streak of right sequences where it was seen last: it takes more than that."""
    return rows.assign(**{SEQUENCES: rows[SEQUENCES].fillna(rows[SEEN])}) if SEQUENCES in rows else rows


@own_style()
def draw_scores(study: Study) -> Figure:
    """Draw every score that tables show against length, or what else was swept, with its floors, an Axes for each."""
    rows, axis = against(told_apart(at_least(study.rows)))
    looks = looks_of(rows)
    columns = math.ceil(math.sqrt(len(study.shown)))
    figure, axes = curves.new_figure(
        math.ceil(len(study.shown) / columns), columns, width=4.4, height=3.5, share_x=False, share_y=False
    )
    for ax, (column, share) in zip(axes.flat, study.shown.items(), strict=False):
        curves.score_against(rows, column, ax, looks, axis, bounds=(0.0, 1.0 if share else math.inf))
        curves.score_axis(ax, share)
        curves.floors(study.floors_of_score(column), ax, share)
        entitled(ax, named(column.replace("_", " ")))
    curves.hide_rest(axes, len(study.shown))
    title = tr("Each seed, and their mean with its 95 % interval")
    if any(map(study.floors_of_score, study.shown)):  # none where simple answers reach other scores in other runs
        title = tr("Each seed, and their mean with its 95 % interval; dashed: what simple answers reach")
    curves.finish(figure, title)
    return figure


def some_of(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the first runs, as many as have panels of their own in a figure, and a remark if that is not all."""
    note = "\n" + tr(f"the first {MOST_PANELS} of {len(runs)} runs") if len(runs) > MOST_PANELS else ""
    return runs.head(MOST_PANELS), note


@own_style()
def draw_curves(study: Study, histories: Histories) -> Figure:
    """Draw train and dev loss against updates, with the floors: a row of Axes for each label, a column for each length.

    A label that has several runs of a length has a row for each.
    """
    runs, note = some_of(told_apart(study.rows).drop_duplicates(["study", "run"]))
    lengths = sorted(runs["length"].unique())
    place = runs.groupby(["label", "length"], sort=False).cumcount()
    lines = [of_line for _, of_line in runs.groupby(["label", place], sort=False)]
    columns = len(lengths) if len(lengths) > 1 else min(3, len(lines))  # those of one length go side by side
    rows = math.ceil(len(lines) * len(lengths) / columns)
    figure, axes = curves.new_figure(rows, columns, width=4.4, height=3.2, share_x=False)
    curves.hide_rest(axes, len(lines) * len(lengths))
    for row, of_line in zip(axes.reshape(-1, len(lengths)), lines, strict=False):
        for ax in row:
            ax.set_visible(False)
        for run in of_line.to_dict("records"):
            ax = row[lengths.index(run["length"])]
            ax.set_visible(True)
            history = histories[run["study"], run["run"]]
            curves.loss_curves(history[history["name"] == "loss"], ax)
            curves.floors(study.floors_of(run["study"], run["run"], "loss"), ax)
            entitled(ax, tr(f"{labelled(run['label'])}, length {run['length']}"))
            ax.set(xlabel=tr("updates"), ylabel=tr("loss"))
    losses = pd.concat([histories[run].query("name == 'loss'") for run in zip(runs["study"], runs["run"], strict=True)])
    positive = losses.loc[(losses["value"] > 0) & np.isfinite(losses["value"]), "value"]
    smallest, largest = positive.agg(["min", "max"])
    if largest > MAGNITUDES * smallest:
        axes[0, 0].set(yscale="log", ylim=(0.7 * smallest, 1.5 * largest))  # the others share it
        axes[0, 0].yaxis.set_major_formatter(curves.POWERS)
    curves.finish(figure, tr("Mean over seeds, 95 % interval, each seed;\ndashed: what simple answers reach") + note)
    return figure


def gradient_drawings(known: pd.DataFrame, histories: Histories, name: str = "gradients") -> Drawings:
    """Return what draws the gradients' norms, a figure for each length at which they were noted."""
    return {
        f"{name}_{length}": partial(draw_gradients, known, histories, int(length))
        for length in sorted(known["length"].unique())
    }


@own_style()
def draw_gradients(rows: pd.DataFrame, histories: Histories, length: int) -> Figure | None:
    """Draw the gradients' norms at the first updates, before and after clipping; None where no run has noted them.

    A row of Axes for each label, a column for each parameter.
    """
    runs, note = some_of(told_apart(rows[rows["length"] == length]).drop_duplicates(["study", "run"]))
    runs = runs.sort_values("clip", na_position="first", kind="stable")
    noted = {run["label"]: read_gradients(histories[run["study"], run["run"]]) for run in runs.to_dict("records")}
    noted = {label: table for label, table in noted.items() if len(table)}
    if not noted:
        return None
    names = list(dict.fromkeys(name for table in noted.values() for name in table["parameter"]))
    figure, axes = curves.new_figure(len(noted), len(names), height=2.3, share_x=False)
    for ax, parameter in zip(axes[0], names, strict=True):
        entitled(ax, tr(f"gradient of {parameter}"))
    for line, (name, table) in zip(axes, noted.items(), strict=True):
        clipped = (table["when"] == "after clipping").any()
        table = table[table["iteration"] <= (CLIPPED_UPDATES if clipped else EXPLODING_UPDATES)]
        for ax, parameter in zip(line, names, strict=True):
            own = table[table["parameter"] == parameter]
            if own.empty:  # a parameter that this cell does not have
                ax.set_visible(False)
            else:
                curves.gradient_norms(own, ax)
        label = labelled(name) if clipped else tr(f"{labelled(name)}, not clipped")
        line[0].set_ylabel(fitted(f"{label}\n{tr('L2 norm')}", 2.3, 8), fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel(tr("updates"))
    curves.finish(figure, tr(f"length {length}: each seed, and their median") + note)
    return figure


def read_gradients(history: pd.DataFrame) -> pd.DataFrame:
    """Pick the gradients' norms out of a history.

    Returns:
        Columns ``iteration``, ``seed``, ``value``, ``parameter``, and ``when``: "before clipping", or "after clipping"
        where that made a difference.
    """
    parts = history["name"].str.partition(".")
    when = parts[0].map({"gradient_norm": "before clipping", "clipped_gradient_norm": "after clipping"})
    table = history.assign(parameter=parts[2], when=when)[when.notna()]
    sums = table.groupby("when")["value"].sum()
    return table if sums.nunique() > 1 else table[table["when"] == "before clipping"]
