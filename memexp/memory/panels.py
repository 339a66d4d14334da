"""Figures that several measures have: a panel for each length that was trained at, a line for each model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.figures.looks import Looks
from memexp.results.tables import interval
from memexp.words import labelled, tr

COLUMNS = 3


def panels(lengths: Sequence[int]) -> tuple[Figure, dict[int, Axes]]:
    """Make a figure with a panel for each length, entitled; they share the y axis."""
    columns = min(COLUMNS, len(lengths))
    width, height = (3.6, 2.4) if columns > 1 else (6.0, 3.6)
    figure, axes = curves.new_figure(-(-len(lengths) // columns), columns, width, height, share_x=False)
    found = dict(zip(lengths, axes.flat, strict=False))
    for length, ax in found.items():
        entitled(ax, tr(f"trained at length {length}"))
    return figure, found


def mean_curve(
    rows: pd.DataFrame, x: str, y: str, ax: Axes, looks: Looks, bounds: tuple[float, float], stepwise: bool = False
) -> Axes:
    """Draw the mean over seeds against a whole number, with its 95 % interval as a band, a line for each label.

    Args:
        rows: columns ``label``, ``run``, ``seed``, ``x`` and ``y``; each seed has the same numbers.
        x: the column of the numbers.
        y: the column of the values.
        ax: where to draw.
        looks: of the labels.
        bounds: what a value can be.
        stepwise: a value holds up to the next number, instead of leading to its value in a line.
    """
    styles: tuple[dict[str, Any], dict[str, Any]] = ({"step": "post"}, {"drawstyle": "steps-post"})
    band, line = styles if stepwise else ({}, {})
    for label in dict.fromkeys(rows["label"]):
        own, look = rows[rows["label"] == label], looks[label]
        table = own.pivot_table(index=x, columns=["run", "seed"], values=y)
        means, lows, highs = np.array([interval(values.tolist(), bounds=bounds) for values in table.to_numpy()]).T
        ax.fill_between(table.index, lows, highs, color=look["color"], alpha=0.2, linewidth=0, **band)
        few: dict[str, Any] = {"markevery": max(1, len(table) // 8), "markersize": 4, "linewidth": 1.6}
        ax.plot(table.index, means, label=labelled(label), **look, **few, **line)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


def mean_curves(
    table: pd.DataFrame,
    x: str,
    y: str,
    looks: Looks,
    title: str,
    x_label: str,
    y_label: str,
    bounds: tuple[float, float] = (0.0, 1.0),
    stepwise: bool = False,
    whole: bool = True,
) -> Figure:
    """Draw `mean_curve` for each length; a value from 0 to 1 is a share, in percent.

    Args:
        table: columns as for `mean_curve`, and ``length``.
        x: see `mean_curve`.
        y: see `mean_curve`.
        looks: of the labels.
        title: of the figure.
        x_label: what the numbers are.
        y_label: what the values are.
        bounds: what a value can be.
        stepwise: see `mean_curve`.
        whole: let the axis of a share go up to 100 %; else as far as there are values.
    """
    figure, by_length = panels(sorted(table["length"].unique()))
    for length, ax in by_length.items():
        mean_curve(table[table["length"] == length], x, y, ax, looks, bounds, stepwise)
    share = bounds == (0.0, 1.0)
    for ax in by_length.values():  # after all are drawn: they share the axis
        ax.set_ylim(0, 1.02 if share and whole else None)
        if share:
            ax.yaxis.set_major_formatter(curves.PERCENT)
    outer_labels(figure, x_label, y_label)
    curves.finish(figure, title)
    return figure


def outer_labels(figure: Figure, x_label: str, y_label: str) -> None:
    """Label the axes at the edge of the grid; a panel of it that is empty is hidden."""
    grid = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    axes = np.array(grid).reshape(-1, min(COLUMNS, len(grid)))
    for ax in axes.flat:
        ax.set_visible(bool(ax.get_title()))
    for ax in axes[:, 0]:
        ax.set_ylabel(y_label)
    for column in axes.T:
        [*_, last] = (ax for ax in column if ax.get_visible())
        last.set_xlabel(x_label)
