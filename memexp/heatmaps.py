"""Drawing what a cell computes: each function draws on given Axes and returns them. No torch, no files, no globals.

Values are [L, D]: a row for each time step, a column for each hidden unit (axis letters as in `memexp.models`). A part
whose name ends with ``_gate`` is a gate, drawn from 0 to 1; any other part is a state, drawn symmetric about 0.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

FONT = 7.5
DIGIT_WIDTH = 0.11  # inches that a digit below a heatmap needs
MOST_DIGITS = 100  # more digits than these are not all written below a heatmap
WIDEST = 12.5  # inches
LOOK: dict[str, dict[str, Any]] = {  # of the values before and after training; told apart without colour as well
    "before": {"color": "#de8f05", "marker": "o", "mfc": "white"},
    "after": {"color": "#0173b2", "marker": "o"},
}


def is_gate(name: str) -> bool:
    """Say whether a part of a cell is a gate, a number between 0 and 1, by its name."""
    return name.endswith("_gate")


def title_of(name: str) -> str:
    """Turn the name of a part into words: ``input_gate`` -> ``Input gate``."""
    *where, what = name.replace("_", " ").split(".")
    return f"{', '.join(where)}: {what}".capitalize() if where else what.capitalize()


def colour_scale(name: str, values: np.ndarray) -> dict[str, Any]:
    """Choose colour map and limits: 0 to 1 for a gate; for a state as far as its largest value, both ways.

    A state has no limits that fit every model, so its scale follows its values and never cuts one off.
    """
    if is_gate(name):
        return {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return {"cmap": "RdBu_r", "vmin": -(largest or 1.0), "vmax": largest or 1.0}


def units_by_time(hidden_state: np.ndarray) -> np.ndarray:
    """Order the hidden units by when they act: by the time step of their largest change, larger changes first.

    Args:
        hidden_state: [L, D]; before the first time step it is zero.

    Returns:
        [D], the units in that order.
    """
    change = np.abs(np.diff(hidden_state, axis=0, prepend=0))
    return np.lexsort((-change.max(0), change.argmax(0)))


def heatmap(
    values: np.ndarray, name: str, tokens: Sequence[int], ax: Axes, order: np.ndarray | None = None, labels: int = 16
) -> Axes:
    """Draw one part over a sequence (the book's figure 6.13): x the digits, y the hidden units.

    Args:
        values: [L, D].
        name: of the part; chooses the colours, see `colour_scale`.
        tokens: the sequence, L digits.
        ax: where to draw.
        order: [D], the units from top to bottom; None for 0, 1, ...
        labels: at most this many units are named.
    """
    L, D = values.shape
    order = np.arange(D) if order is None else order
    picture = ax.imshow(
        values[:, order].T, aspect="auto", interpolation="nearest", **colour_scale(name, values)
    )  # rows of the picture are units
    every = math.ceil(D / labels)
    ax.set_yticks(range(0, D, every), [str(unit) for unit in order[::every]], fontsize=FONT - 1)
    places = range(0, L, math.ceil(L / MOST_DIGITS))
    for place, label in zip(places, ax.set_xticks(places, [str(tokens[t]) for t in places]), strict=True):
        zero = tokens[place] == 0
        label.label1.set(fontsize=FONT, color="0.45" if zero else "black", fontweight="normal" if zero else "bold")
    ax.tick_params(length=2, pad=2)
    ax.set_title(title_of(name), fontsize=10)
    ax.set_xlabel("digit at each time step", fontsize=FONT + 1)
    ax.set_ylabel("hidden unit", fontsize=FONT + 1)
    _colour_bar(picture, "0 closed, 1 open" if is_gate(name) else "value", ax)
    return ax


def _colour_bar(picture: AxesImage, label: str, ax: Axes) -> None:
    """Put a colour bar beside a heatmap; its limits are among the numbers at it."""
    figure = ax.get_figure()
    if figure is None:
        return
    bar = figure.colorbar(picture, ax=ax, pad=0.02, aspect=25)
    ticks = np.linspace(*picture.get_clim(), 5)
    bar.set_ticks(list(ticks), labels=[f"{tick:.2g}" for tick in ticks])
    bar.set_label(label, fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)


def sheet(
    trace: Mapping[str, np.ndarray], tokens: Sequence[int], title: str, orders: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """Draw all parts of a trace, name -> [L, D], on one sheet, in the order of the dict; each with its ``order``."""
    width = _heatmap_width(len(tokens))
    columns = min(len(trace), max(1, min(3, int(WIDEST // width))))
    rows = math.ceil(len(trace) / columns)
    figure = Figure(figsize=(max(4.8, width * columns), max(4.0, 2.7 * rows) + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, (name, values) in enumerate(trace.items()):
        heatmap(values, name, tokens, axes.flat[place], (orders or {}).get(name))
    for ax in axes.flat[len(trace) :]:
        ax.set_visible(False)
    for place, ax in enumerate(axes.flat[: len(trace)]):  # axis labels only at the outer Axes
        if place + columns < len(trace):
            ax.set_xlabel("")
        if place % columns:
            ax.set_ylabel("")
    return _titled(figure, title)


def single(values: np.ndarray, name: str, tokens: Sequence[int], title: str, order: np.ndarray | None = None) -> Figure:
    """Draw one part, [L, D], on a figure of its own, large enough to name every unit up to 48."""
    L, D = values.shape
    figure = Figure(figsize=(max(4.8, _heatmap_width(L)), 1.4 + 0.12 * min(48, max(16, D))), layout="constrained")
    heatmap(values, name, tokens, figure.subplots(), order, labels=48)
    return _titled(figure, title)


def _heatmap_width(length: int) -> float:
    return max(2.4, DIGIT_WIDTH * min(length, MOST_DIGITS)) + 0.95


def _titled(figure: Figure, title: str) -> Figure:
    """Set a title, wrapped to the figure's width; its own line breaks stay."""
    width = int(figure.get_figwidth() * 15)
    figure.suptitle("\n".join(textwrap.fill(line, width) for line in title.splitlines()), fontsize=9)
    return figure


def means_by_time_step(means: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the mean of one part at each time step, over all inputs and units, before and after training.

    Args:
        means: columns ``training``, ``kind``, ``time_step``, ``unit``, ``probability`` (of that kind of token at that
            time step) and ``mean_size`` of one part, as `memexp.gates.averages` returns.
        ax: where to draw. The band holds 80 % of the units; the thin dotted line is the mean over distractors only.
    """
    for training, look in LOOK.items():
        own = means[means["training"] == training]
        by_unit = weighted_mean(own, ["time_step", "unit"]).unstack("unit")
        low, high = np.quantile(by_unit.to_numpy(), [0.1, 0.9], axis=1)
        ax.fill_between(by_unit.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
        front: dict[str, Any] = (
            {"linestyle": "--", "zorder": 3} if training == "before" else {}
        )  # neither hides the other
        mean = by_unit.mean(axis=1)
        ax.plot(by_unit.index, mean, color=look["color"], label=f"{training} training", **front)
        distractor = weighted_mean(own[own["kind"] == "distractor"], ["time_step"])
        ax.plot(distractor.index, distractor, color=look["color"], linestyle=":", label=f"{training}, distractors")
    last = int(means["time_step"].max())
    ax.set_xlim(0.5, last + 0.5)
    ax.set_xticks(_few_steps(last))
    ax.set_xlabel("time step")
    return _size_axis(means, ax)


def _few_steps(last: int) -> list[int]:
    """Choose at most about ten time steps to name: 1, and round ones."""
    every = next(step for step in (1, 2, 5, 10, 20, 50, 10 ** len(str(last))) if last / step <= 10)
    return sorted({1, *range(every, last + 1, every)})


def means_by_kind(means: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the mean of one part for each kind of token: a point for each unit, a bar for the mean over units.

    Args:
        means: as for `means_by_time_step`.
        ax: where to draw; a place on the x axis for each kind that occurs.
    """
    kinds = list(dict.fromkeys(means["kind"]))
    for shift, (training, look) in zip((-0.18, 0.18), LOOK.items(), strict=True):
        own = means[means["training"] == training]
        by_unit = weighted_mean(own, ["kind", "unit"]).unstack("unit").loc[kinds].to_numpy()  # [kinds, D]
        spread = np.linspace(-0.12, 0.12, by_unit.shape[1])  # in the order of the units, so that points do not hide
        places = shift + np.arange(len(kinds))[:, None] + spread
        ax.plot(places.ravel(), by_unit.ravel(), linestyle="", markersize=2.5, markeredgewidth=0.5, alpha=0.7, **look)
        ax.hlines(by_unit.mean(1), places[:, 0] - 0.03, places[:, -1] + 0.03, color=look["color"], linewidth=2)
    ax.set_xticks(range(len(kinds)), kinds)
    ax.set_xlim(-0.5, len(kinds) - 0.5)
    return _size_axis(means, ax)


def _size_axis(means: pd.DataFrame, ax: Axes) -> Axes:
    """Label and limit the y axis: a gate from 0 to 1, the size of a state from 0."""
    name = str(means["part"].iloc[0])
    ax.set_ylabel(title_of(name) if is_gate(name) else f"|{title_of(name)}|")
    ax.set_ylim(0, 1 if is_gate(name) else None)
    return ax


def weighted_mean(means: pd.DataFrame, by: list[str]) -> pd.Series:
    """Average ``mean_size`` over all columns but ``by``, each row with its ``probability``."""
    table = means[by].assign(total=means["mean_size"] * means["probability"], probability=means["probability"])
    sums = table.groupby(by, sort=True).sum()
    mean: pd.Series = sums["total"] / sums["probability"]
    return mean


def saturation_by_unit(saturation: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how often each unit is nearly open (up) and nearly closed (down), before and after training.

    Args:
        saturation: columns ``part``, ``training``, ``unit``, ``share_under_0.1``, ``share_over_0.9`` of one part.
        ax: where to draw; the shares of a state are those of its size.
    """
    means = {}
    for training, look in LOOK.items():
        own = saturation[saturation["training"] == training].sort_values("unit")
        over, under = own["share_over_0.9"].to_numpy(), own["share_under_0.1"].to_numpy()
        means[training] = over.mean(), under.mean()
        if training == "after":
            ax.bar(own["unit"], over, width=0.8, color=look["color"])
            ax.bar(own["unit"], -under, width=0.8, color=look["color"])
        else:
            style = {"linestyle": "", "markersize": 3, **look}
            ax.plot(own["unit"], over, **style)
            ax.plot(own["unit"], -under, **style)
    size = "" if is_gate(str(saturation["part"].iloc[0])) else "size "
    for height, text, place in ((1.15, f"{size}over 0.9", 0), (-1.15, f"{size}under 0.1", 1)):
        share = f"{text}: {means['before'][place]:.0%} of all values before, {means['after'][place]:.0%} after"
        ax.text(0.5, height, share, transform=ax.get_yaxis_transform(), ha="center",
                va="bottom" if height > 0 else "top", fontsize=FONT)  # fmt: skip
    ax.axhline(0, color="0.35", linewidth=0.8)
    ax.set_ylim(-1.45, 1.45)
    ax.set_yticks([-1, -0.5, 0, 0.5, 1])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0%}"))
    ax.set_xlim(-1, saturation["unit"].max() + 1)
    ax.set_ylabel("← under 0.1   over 0.9 →", fontsize=FONT + 1)
    ax.set_xlabel("hidden unit")
    return ax


def averages(means: pd.DataFrame, saturation: pd.DataFrame, title: str) -> Figure:
    """Draw the averages of every part: a row of Axes each, by time step, by kind of token, and saturation."""
    parts = list(dict.fromkeys(means["part"]))
    figure = Figure(figsize=(12, 2.3 * len(parts) + 1.1), layout="constrained")
    axes = figure.subplots(len(parts), 3, squeeze=False, width_ratios=(1.2, 1, 1.2))
    for place, (name, line) in enumerate(zip(parts, axes, strict=True)):
        means_by_time_step(means[means["part"] == name], line[0])
        means_by_kind(means[means["part"] == name], line[1])
        saturation_by_unit(saturation[saturation["part"] == name], line[2])
        for ax in line:
            ax.tick_params(labelsize=FONT + 0.5)
            ax.spines[["top", "right"]].set_visible(False)
            if place < len(parts) - 1:
                ax.set_xlabel("")
    for ax, text in zip(axes[0], ("by time step", "by kind of token", "saturation, unit by unit"), strict=True):
        ax.set_title(text, fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=FONT + 1.5)
    return _titled(figure, title)
