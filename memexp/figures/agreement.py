"""How far measures put networks in the same order as a score does."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memexp.figures.curves import FLOOR
from memexp.words import named, tr


def rank_correlations(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw rank correlations with a score, a line for each measure: over all seeds, and within runs.

    Args:
        table: of `memexp.results.statistics.agreement`, with the column ``name``.
        ax: where to draw.
    """
    places = np.arange(len(table))
    ax.axvline(0, **FLOOR)
    ax.plot(table["overall"], places, "o", color="0.55", label=tr("over the seeds of all runs"))
    errors = [table["within"] - table["within_low"], table["within_high"] - table["within"]]
    ax.errorbar(
        table["within"], places, xerr=errors, fmt="D", color="0.1", markerfacecolor="white", capsize=3,
        label=tr("over the seeds of a run: mean over runs, 95 % interval over seeds"),
    )  # fmt: skip
    ax.set(xlim=(-1.05, 1.05), ylim=(len(table) - 0.4, -0.6), xlabel=tr("rank correlation"))
    ax.set_yticks(places, [named(name) for name in table["name"]])
    ax.grid(axis="x", color="0.9", linewidth=0.8)
    ax.grid(axis="y", color="0.95", linewidth=0.8)
    return ax
