"""Drawing which units follow what in a text: all of them against every feature, and the best over a passage.

No torch, no files, no globals. L characters.
"""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from memexp.canvas import Picture, own_style
from memexp.figures.heatmaps import LOOK, title_of
from memexp.figures.lettering import FAINT, FONT, font_for, legible, titled, wrapped
from memexp.words import named, tr

LINE, LINES = 72, 3  # characters of a text in a line, and how many lines of it are shown
PALE = ListedColormap(matplotlib.colormaps["RdBu_r"](np.linspace(0.18, 0.82, 256)))  # text on it is legible


@own_style()
def units_by_feature(table: pd.DataFrame, title: str) -> Figure:
    """Draw how far every unit follows every feature of a text, before and after training: Axes for each part.

    The best unit of a part is named where it is above chance and above all units before training.

    Args:
        table: columns ``training``, ``part``, ``unit``, ``feature``, ``r``, ``threshold`` of
            `memexp.gates.units.follow`.
        title: of the figure.
    """
    parts, features = list(dict.fromkeys(table["part"])), list(dict.fromkeys(table["feature"]))
    columns = min(2, len(parts))
    rows = math.ceil(len(parts) / columns)
    width = max(4.0, 0.5 * len(features) + 0.8)
    figure = Picture(figsize=(width * columns, 2.6 * rows + 1.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(parts) :]:
        ax.set_visible(False)
    before = table[table["training"] == "before"]["r"].abs().groupby(table["feature"]).max()
    for name, ax in zip(parts, axes.flat, strict=False):
        _units_of_part(table[table["part"] == name], before.loc[features], ax)
        ax.set_title(title_of(name), fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("|r|", fontsize=FONT + 1)
    for ax in axes.flat[max(0, len(parts) - columns) : len(parts)]:
        ax.tick_params(labelbottom=True)
        ax.set_xticks(range(len(features)), map(named, features), rotation=40, ha="right", rotation_mode="anchor")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=FONT + 1.5)
    return titled(figure, title)


def _units_of_part(own: pd.DataFrame, before: pd.Series, ax: Axes) -> None:
    """Draw |r| of all units of one part: a column of points for each feature and training, and the line of chance.

    ``before`` is the largest of any part before training, for each feature.
    """
    features = list(before.index)
    for shift, (training, look) in zip((-0.2, 0.2), LOOK.items(), strict=True):
        by_unit = own[own["training"] == training].pivot(index="feature", columns="unit", values="r").loc[features]
        sizes = by_unit.abs().to_numpy()  # [features, D]
        places = shift + np.arange(len(features))[:, None] + np.linspace(-0.15, 0.15, sizes.shape[1])
        style = {"linestyle": "", "markersize": 2.2, "markeredgewidth": 0.4, "alpha": 0.6, **look}
        ax.plot(places.ravel(), sizes.ravel(), label=named(f"a unit {training} training"), **style)
        chance = own[own["training"] == training].groupby("feature")["threshold"].first().loc[features]
        middles = shift + np.arange(len(features))
        ax.hlines(chance, middles - 0.18, middles + 0.18, color="black", linewidth=1.2, zorder=3)
        if training == "after":
            for k, best in enumerate(sizes.argmax(1)):
                if sizes[k, best] > max(chance.iloc[k], before.iloc[k]):
                    where = (places[k, best], sizes[k, best])
                    style = {"textcoords": "offset points", "ha": "center", "fontsize": FONT - 1}
                    ax.annotate(str(by_unit.columns[best]), where, (0, 3), **style)
    ax.plot([], [], color="black", linewidth=1.2, label=tr("chance"))
    ax.set_ylim(0, 1.08)
    ax.set_xlim(-0.5, len(features) - 0.5)
    ax.tick_params(labelsize=FONT + 0.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)


@own_style()
def units_in_text(values: np.ndarray, names: Sequence[str], tokens: Sequence[str], title: str) -> Figure:
    """Draw how a text begins for each of some units, every character on the colour of what the unit does there.

    Args:
        values: [L, units], in standard deviations from the unit's mean.
        names: of the units.
        tokens: the text, L characters; its first `LINES` lines are drawn.
        title: of the figure.
    """
    lines = _lines(tokens)[:LINES]
    font = font_for("".join(tokens))
    figure = Picture(figsize=(0.13 * LINE + 1.2, len(names) * (0.24 * len(lines) + 0.32) + 1.3), layout="constrained")
    axes = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for unit, (name, ax) in enumerate(zip(names, axes, strict=True)):
        colours = np.full((len(lines), LINE), np.nan)
        for row, line in enumerate(lines):
            colours[row, : len(line)] = values[line, unit]
            for column, place in enumerate(line):
                token = legible(tokens[place], font).replace("␣", "")  # the colour shows that it is there
                ax.text(
                    column,
                    row,
                    token,
                    ha="center",
                    va="center_baseline",
                    fontsize=3.5 if len(token) > 1 else 8,
                    color="0.45" if token in FAINT else "black",
                    parse_math=False,
                    **font,
                )
        picture = ax.imshow(colours, cmap=PALE, vmin=-2.5, vmax=2.5, aspect="auto", interpolation="nearest")
        ax.set_title(wrapped(name, int(figure.get_figwidth() * 13)), fontsize=9, loc="left")
        ax.set_axis_off()
    bar = figure.colorbar(picture, ax=list(axes), location="bottom", shrink=0.4, aspect=40, pad=0.02, extend="both")
    bar.set_label(tr("standard deviations below and above the unit's own mean"), fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)
    return titled(figure, title)


def _lines(tokens: Sequence[str]) -> list[range]:
    """Break a text into lines: after the last newline that fits, or else after the last space."""
    lines, start = [], 0
    while start < len(tokens):
        fits = list(tokens[start : start + LINE])
        length = len(fits)
        mark = next((mark for mark in ("↵", "␣") if mark in fits), None)
        if mark and start + LINE < len(tokens):
            length -= fits[::-1].index(mark)
        lines.append(range(start, start + length))
        start += length
    return lines
