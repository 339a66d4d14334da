"""Drawing what falls or grows with the number of steps: norms against the lag, and half-lives."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memexp.figures.curves import POWERS
from memexp.figures.looks import Looks
from memexp.results.tables import interval
from memexp.words import labelled, tr

LONGEST = 1000  # steps: a half-life that is longer counts as this in means and figures
PANELS = 3  # lengths that are drawn below each other


def some_lengths(rows: pd.DataFrame) -> list[int]:
    """Return the shortest, a middle and the longest length, or all where they are fewer."""
    lengths = sorted({int(length) for length in rows["length"]})
    return sorted({lengths[0], lengths[(len(lengths) - 1) // 2], lengths[-1]})[:PANELS]


def steps_axis(ax: Axes) -> Axes:
    """Let the y axis be steps up to `LONGEST`: linear up to 1, so that 0 has a place, and logarithmic beyond."""
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 1.5 * LONGEST)
    ax.set_yticks([0, 1, 10, 100, LONGEST], ["0", "1", "10", "100", tr(f"{LONGEST} or more")])
    return ax


def norm_against_lag(rows: pd.DataFrame, ax: Axes, looks: Looks) -> Axes:
    """Draw norms against the lag: a line for each label, the geometric mean over seeds, and its 95 % interval.

    Args:
        rows: columns ``label``, ``lag`` and ``norm``; a row for each seed. Norms that are 0 are left out.
        ax: where to draw; its y axis is logarithmic.
        looks: of the labels, and of others of the figure.
    """
    for label, own in rows[rows["norm"] > 0].groupby("label", sort=False):
        look, by_lag = looks[str(label)], own.groupby("lag")["norm"]
        every = [interval(np.log10(norms).tolist(), bounds=(-np.inf, np.inf)) for _, norms in by_lag]
        (means, lows, highs), lags = 10.0 ** np.array(every).T, np.array([*by_lag.groups])
        ax.fill_between(lags, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
        line = {"linewidth": 1.6, "markersize": 4, "markevery": max(1, len(lags) // 6), **look}
        ax.plot(lags, means, label=labelled(str(label)), **line)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(POWERS)
    return ax


def scattered(rows: pd.DataFrame, x: str, y: str, ax: Axes, looks: Looks) -> Axes:
    """Draw a point for each seed.

    Args:
        rows: columns ``label`` and both numbers; what is not finite has no point.
        x: the column across.
        y: the column up.
        ax: where to draw.
        looks: of the labels, and of others of the figure.
    """
    there = rows[np.isfinite(rows[x]) & np.isfinite(rows[y])]
    for label, own in there.groupby("label", sort=False):
        look = {**looks[str(label)], "linestyle": ""}
        ax.plot(own[x], own[y], label=labelled(str(label)), markersize=4, alpha=0.6, **look)
    return ax


def in_words(correlation: float, count: int) -> str:
    """Write a rank correlation over seeds."""
    return tr(f"rank correlation {correlation:.2f}, {count} seeds")


def rank_correlation(rows: pd.DataFrame, x: str, y: str) -> tuple[float, int]:
    """Return Spearman's correlation of two columns, and of how many rows: those in which both are numbers."""
    both: pd.DataFrame = rows[[x, y]].dropna()
    different: Sequence[int] = [both[name].nunique() for name in (x, y)]
    return (float(both[x].corr(both[y], method="spearman")) if min(different) > 1 else float("nan")), len(both)
