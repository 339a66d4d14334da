"""Drawing what falls or grows with the number of steps: norms against the lag, and half-lives."""

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

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
    ax.yaxis.set_ticks([0, 1, 10, 100, LONGEST], ["0", "1", "10", "100", f"{LONGEST}+"])
    ax.yaxis.set_minor_locator(NullLocator())
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
    return log_axis(ax)


def log_axis(ax: Axes, which: Literal["x", "y"] = "y") -> Axes:
    """Let an axis be logarithmic, with powers of ten at it."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis.set_major_formatter(POWERS)
    axis.set_minor_locator(NullLocator())
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
    ax.locator_params(axis="x", nbins=5)
    return ax


def correlated(rows: pd.DataFrame, x: str, y: str) -> str:
    """Say how two columns go together, by Spearman's rank correlation, over the rows in which both are finite."""
    both = rows.loc[np.isfinite(rows[x]) & np.isfinite(rows[y]), [x, y]]
    if both[x].nunique() < 2 or both[y].nunique() < 2:
        return tr(f"{len(both)} seeds")
    return tr(f"rank correlation {both[x].corr(both[y], method='spearman'):.2f}, {len(both)} seeds")
