"""Figures: each function draws a table on given Axes and returns the Axes. No torch, no files, no global state.

Colours are seaborn's colour-blind palette; every label also has a marker of its own, so that print without colour
still tells them apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from scipy.optimize import isotonic_regression

from memexp.results.statistics import share_reached
from memexp.results.tables import interval

Looks = dict[str, dict[str, Any]]
"""Label -> colour and marker. Axes of one figure must share theirs, so that a label looks the same in all of them."""

MARKERS = "osD^vPX*<>hpd"  # more than colours, so that the two together name more labels than either alone
PERCENT = PercentFormatter(1.0, symbol=" %")
LINES = ("-", "--", "-.", ":")
SMALLEST_NORM = 1e-6  # of a gradient that is worth telling from 0
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps text readable where it crosses a line
NEVER_APART = 0.075  # of the axis: the height of a line of small text
FLOOR: dict[str, Any] = {"color": "0.35", "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}


def style(labels: Sequence[str]) -> Looks:
    """Give each label a colour and a marker."""
    colours = sns.color_palette("colorblind", len(labels))
    return {
        label: {"color": colour, "marker": MARKERS[k % len(MARKERS)]}
        for k, (label, colour) in enumerate(zip(labels, colours, strict=True))
    }


def percent(share: float) -> str:
    """Write a share as the axes do."""
    return f"{100 * share:g} %"


def new_figure(
    rows: int, columns: int, width: float = 3.4, height: float = 3.0, share_x: bool = True, share_y: bool = True
) -> tuple[Figure, np.ndarray]:
    """Make a figure with a grid of Axes that share their scales; sizes are of one Axes, in inches."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y)
    for ax in axes.flat:
        ax.grid(axis="y", color="0.9", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_axisbelow(True)
    return figure, axes


DIGITS_LONG = "length of the sequence (digits)"


def score_against_length(
    rows: pd.DataFrame,
    score: str,
    ax: Axes,
    looks: Looks | None = None,
    points: bool = True,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    x_label: str = "length",
) -> Axes:
    """Draw a score against length: a point for each seed, and the mean with its 95 % interval.

    Args:
        rows: columns ``label``, ``length`` and the score; a row for each seed.
        score: the column.
        ax: where to draw; its x axis has a place for each length that occurs, evenly spaced.
        looks: of the labels of the whole figure; None if ``rows`` has them all.
        points: draw the point of each seed, not only mean and interval.
        bounds: what the score can be: intervals end there.
        x_label: what a length is.
    """
    labels = list(dict.fromkeys(rows["label"]))
    lengths = sorted(rows["length"].unique())
    styles = looks or style(labels)
    shifts = np.linspace(-0.5, 0.5, len(labels) + 2)[1:-1] * 0.6  # side by side, so that nothing is hidden
    for label, shift in zip(labels, shifts, strict=True):
        own = rows[rows["label"] == label]
        places = np.array([lengths.index(length) for length in sorted(own["length"].unique())]) + shift
        groups = [own.loc[own["length"] == lengths[int(np.round(p - shift))], score].tolist() for p in places]
        means, lows, highs = np.array([interval(values, bounds=(-np.inf, np.inf)) for values in groups]).T
        for place, values in zip(places, groups if points else [[]] * len(places), strict=True):
            ax.plot(
                [place] * len(values),
                values,
                linestyle="",
                alpha=0.35,
                markersize=3.5,
                markeredgewidth=0,
                **styles[label],
            )
        lows, highs = np.maximum(lows, bounds[0]), np.minimum(highs, bounds[1])
        ax.errorbar(
            places,
            means,
            [means - lows, highs - means],
            label=label,
            capsize=3,
            linewidth=1.6,
            markersize=6,
            **styles[label],
        )
    ax.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    ax.set_xlim(-0.6, len(lengths) - 0.4)
    ax.set_xlabel(x_label)
    return ax


def score_axis(ax: Axes, share: bool) -> Axes:
    """Let the y axis of a score begin at 0; a share is in percent, up to 100."""
    ax.set_ylim(0, 1.02 if share else None)
    if share:
        ax.yaxis.set_major_formatter(PERCENT)
    return ax


def accuracy_against_length(
    rows: pd.DataFrame, score: str, ax: Axes, chance: float, looks: Looks | None = None
) -> Axes:
    """Draw an accuracy against length (the book's figures 6.7 and 6.12) with the floor of guessing."""
    score_against_length(rows, score, ax, looks, bounds=(0, 1), x_label=DIGITS_LONG)
    score_axis(ax, share=True)
    ax.axhline(chance, **FLOOR)
    ax.annotate(
        f"always the likeliest answer: {percent(chance)}", (0.02, chance), (0, -3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=7.5, color="0.35", va="top",
    )  # fmt: skip
    return ax


def accuracy_table(rows: pd.DataFrame, score: str, ax: Axes) -> Axes:
    """Draw an accuracy as a table, labels down and lengths across: mean and half the 95 % interval, in percent.

    Args:
        rows: columns ``label``, ``length`` and the score; a row for each seed.
        score: the column.
        ax: where to draw.
    """
    labels, lengths = list(dict.fromkeys(rows["label"])), sorted(rows["length"].unique())
    means = pd.DataFrame(np.nan, index=labels, columns=lengths)
    texts = pd.DataFrame("", index=labels, columns=lengths)
    for (label, length), own in rows.groupby(["label", "length"], sort=False):
        mean, low, high = interval(own[score].tolist(), bounds=(-np.inf, np.inf))
        means.loc[label, length] = 100 * mean
        spread = f" ± {50 * (high - low):.0f}" if np.isfinite(low) else ""
        texts.loc[label, length] = f"{100 * mean:.0f}{spread}"
    sns.heatmap(
        means, annot=texts, fmt="", vmin=0, vmax=100, cmap="viridis", cbar=False, linewidths=1, ax=ax,
        annot_kws={"fontsize": 8.5},
    )  # fmt: skip
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xlabel(DIGITS_LONG)
    ax.set_ylabel("")
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    return ax


def bits_against_length(
    rows: pd.DataFrame, ax: Axes, all_bits: float, one_digit_bits: float, looks: Looks | None = None
) -> Axes:
    """Draw the retained bits, H(S) - cross-entropy, against length, with what knowing 0, 1 and 2 digits gives."""
    score_against_length(rows, "retained_bits", ax, looks, x_label=DIGITS_LONG)
    for bits, text in ((0.0, "nothing"), (one_digit_bits, "one digit"), (all_bits, "both digits")):
        ax.axhline(bits, **FLOOR)
        ax.annotate(
            f"{text}: {bits:.2f}", (1.01, bits), xycoords=("axes fraction", "data"), fontsize=7.5, color="0.35",
            va="center",
        )  # fmt: skip
    ax.set_ylabel("retained bits (exact)")
    return ax


def loss_curves(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw train and dev loss against updates (6.6, 6.11): a thin line for each seed, mean and 95 % interval.

    Args:
        history: columns ``iteration``, ``seed``, ``split``, ``value`` of one run's losses.
        ax: where to draw.
    """
    for split, look in zip(("train", "dev"), style(["train", "dev"]).values(), strict=True):
        table = history[history["split"] == split].pivot(index="iteration", columns="seed", values="value")
        if table.empty:
            continue
        ax.plot(table.index, table.to_numpy(), color=look["color"], alpha=0.18, linewidth=0.6)
        means, lows, highs = np.array([interval(row.tolist(), bounds=(0, np.inf)) for row in table.to_numpy()]).T
        ax.fill_between(table.index, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
        ax.plot(
            table.index,
            means,
            color=look["color"],
            linewidth=1.6,
            label=split,
            linestyle="-" if split == "train" else "--",
        )
    ax.set_xlim(0, history["iteration"].max())
    _raise_top(ax, 1.02 * history["value"].max())
    if history["iteration"].max() >= 1000:
        ax.xaxis.set_major_formatter(_thousands)
    return ax


def floors(values: dict[str, float], ax: Axes, share: bool = False) -> Axes:
    """Draw lines for what simple answers reach, each named beside the Axes, the names apart from each other."""
    there = sorted(values.items(), key=lambda item: item[1])
    if there and ax.get_ylim()[1] < there[-1][1]:  # all in view
        ax.set_ylim(top=1.06 * there[-1][1])
    # As near to the lines as names can be that are so far apart from each other.
    apart = 0.06 * ax.get_ylim()[1] * np.arange(len(there))
    heights = apart + isotonic_regression([value for _, value in there] - apart).x
    for (name, value), height in zip(there, heights, strict=True):
        ax.axhline(value, **FLOOR)
        place = ("axes fraction", "data")
        text = percent(round(value, 3)) if share else f"{value:.2f}" if value >= 1 else f"{value:.3g}"
        ax.annotate(f"{name} {text}", (1.02, height), xycoords=place, fontsize=7.5, color="0.35", va="center")
    return ax


def _raise_top(ax: Axes, top: float) -> None:
    """Let the y axis go from 0 to ``top``, or higher if Axes that share it need that: no line is cut off."""
    shared = len(ax.get_shared_y_axes().get_siblings(ax)) > 1
    ax.set_ylim(0, max(ax.get_ylim()[1] if shared else 0.0, top))


def gradient_norms(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a gradient's norm before and after clipping against updates (6.8, 6.9): each seed, and the median.

    Args:
        history: columns ``iteration``, ``seed``, ``value``, and ``when``: "before clipping" or "after clipping".
        ax: where to draw; its y axis is logarithmic down to `SMALLEST_NORM` and linear below, so that 0 has a place.
    """
    for (when, look), line in zip(style(["before clipping", "after clipping"]).items(), LINES, strict=False):
        table = history[history["when"] == when].pivot(index="iteration", columns="seed", values="value")
        if table.empty:
            continue
        ax.plot(table.index, table.to_numpy(), color=look["color"], alpha=0.25, linewidth=0.7)
        ax.plot(table.index, table.median(axis=1), color=look["color"], linewidth=1.8, linestyle=line, label=when)
    _raise_top(ax, 2 * float(history["value"].max()))
    top = ax.get_ylim()
    ax.set_yscale("symlog", linthresh=SMALLEST_NORM)
    ax.set_yticks([0, *(10.0**power for power in range(-6, 10, 3))])
    ax.set_ylim(top)
    ax.set_xlim(1, history["iteration"].max())
    return ax


def share_that_got_there(rows: pd.DataFrame, ax: Axes, until: int, looks: Looks | None = None) -> Axes:
    """Draw the share of seeds whose dev accuracy has reached a criterion, against updates, a line for each label.

    Args:
        rows: columns ``label``, ``updates`` and ``reached`` as `memexp.results.statistics.updates_until` returns; a row
            a seed.
        ax: where to draw.
        until: the last update; seeds that never got there keep a line below 1 up to it, with their number.
        looks: of the labels of the whole figure; None if ``rows`` has them all.
    """
    looks = looks or style(list(dict.fromkeys(rows["label"])))
    ends: list[tuple[float, str, Any]] = []  # share at the end, what to say of it, colour
    for place, (label, look) in enumerate(looks.items()):
        own = rows[rows["label"] == label]
        if own.empty:
            continue
        x, share = share_reached(own["updates"].tolist(), own["reached"].tolist(), until)
        ax.step(
            x, share, where="post", color=look["color"], linewidth=1.8, label=label, linestyle=LINES[place % len(LINES)]
        )
        never = int((~own["reached"]).sum())
        if never:
            ax.plot(until, share[-1], clip_on=False, **look)
            ends.append((float(share[-1]), f"{never} of {len(own)} never", look["color"]))
    ends.sort(key=lambda end: end[0])
    heights: list[float] = []
    for end, _, _ in ends:  # above each other, even where the lines coincide
        heights.append(max([end, *heights[-1:]]) + NEVER_APART)
    too_high = max([0.0, *(height - 0.97 for height in heights)])
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        ax.text(
            0.96 * until, height - too_high, text, ha="right", va="center", fontsize=7.5, color=colour,
            path_effects=HALO,
        )  # fmt: skip
    ax.set_xlim(0, until)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)
    ax.xaxis.set_major_formatter(_thousands)
    return ax


def reporting_against_length(rows: pd.DataFrame, columns: dict[str, str], truth: str, ax: Axes) -> Axes:
    """Draw how far several ways to report the same runs lie above the truth, against length.

    Args:
        rows: columns ``length``, ``truth`` and those of ``columns``; a row for each seed.
        columns: column -> what it is called.
        truth: the column that they are compared with, seed by seed.
        ax: where to draw; its y axis is in percentage points, the mean over seeds with its 95 % interval.
    """
    above = pd.concat(
        {name: pd.DataFrame({"length": rows["length"], "above": 100 * (rows[column] - rows[truth])})
         for column, name in columns.items()},
        names=["label"],
    ).reset_index("label")  # fmt: skip
    score_against_length(above, "above", ax, points=False, x_label=DIGITS_LONG)
    ax.axhline(0, **FLOOR)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:+.0f}"))
    return ax


def _thousands(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if value else "0"


def cost_of_an_update(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw milliseconds per update and seed on log scales.

    Args:
        rows: columns ``model``, ``contestant``, ``value`` (what grows) and ``ms_per_update_and_seed``.
        ax: where to draw.
    """
    looks = style(list(dict.fromkeys(rows["model"])))
    for key, own in rows.groupby(["model", "contestant"], sort=False):
        model, contestant = map(str, key)
        ours = contestant == "memexp"
        ax.plot(
            own["value"],
            own["ms_per_update_and_seed"],
            linestyle="-" if ours else "--",
            markerfacecolor=looks[model]["color"] if ours else "white",
            label=f"{model.upper()}, {contestant}" + ("" if ours else " (one seed)"),
            **looks[model],
        )
    ticks = sorted(rows["value"].unique())
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
    return ax


def hide_rest(axes: np.ndarray, used: int) -> None:
    """Hide the Axes of a grid after the first ``used``; those above them get the x axis that they would have shared."""
    for place, ax in enumerate(axes.flat):
        if place >= used:
            ax.set_visible(False)
            above = axes.flat[place - axes.shape[1]]
            above.tick_params(labelbottom=True)
            above.set_xlabel(axes.flat[0].get_xlabel() or axes[-1, 0].get_xlabel())


def finish(figure: Figure, title: str = "") -> None:
    """Add one legend for all Axes below them, and a title; axis labels stay at the outer Axes only."""
    if title:
        figure.suptitle(title, fontsize=11)
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(text, handle)
    longest = max(map(len, handles), default=0)
    columns = max(1, min(len(handles), int(figure.get_figwidth() * 11 / (longest + 8))))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, frameon=False)
