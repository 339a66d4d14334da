"""Figures: each function draws a table on given Axes and returns the Axes. No torch, no files, no global state."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, PercentFormatter, StrMethodFormatter
from scipy.optimize import isotonic_regression

from memexp.canvas import Picture, own_style
from memexp.figures.lettering import fitted, font_for, inches_wide, legible, made_legible, titled
from memexp.figures.looks import Looks, looks_of, shades
from memexp.results.statistics import share_reached
from memexp.results.tables import interval
from memexp.words import columns as columns_of
from memexp.words import labelled, named, tr

PERCENT = PercentFormatter(1.0, symbol=" %")
SMALLEST_NORM = 1e-6  # of a gradient that is worth telling from 0
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps text readable where it crosses a line
NEVER_APART = 0.075  # of the axis: the height of a line of small text
FLOOR: dict[str, Any] = {"color": "0.35", "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}
LEGEND_LINE = 0.2  # inches
NAME_WIDTH = 2.6  # inches that a name beside a table may be long
UNNAMED = ("_child", "_container", "_nolegend_")  # how matplotlib labels what has no label


def percent(share: float) -> str:
    """Write a share as the axes do."""
    return f"{100 * share:g} %"


def new_figure(
    rows: int, columns: int, width: float = 3.4, height: float = 3.0, share_x: bool = True, share_y: bool = True
) -> tuple[Figure, np.ndarray]:
    """Make a figure with a grid of Axes that share their scales; sizes are of one Axes, in inches."""
    figure = Picture(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y)
    for ax in axes.flat:
        ax.grid(axis="y", color="0.9", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_axisbelow(True)
    return figure, axes


def digits_long(axis: str) -> str | None:
    """Say of the axis of digits what a length is."""
    return tr("length of the sequence (digits)") if axis == "length" else None


def axis_label(setting: str) -> str:
    """Name a setting on an axis: ``model.hidden_size`` -> hidden size."""
    return named(setting.rpartition(".")[2].replace("_", " "))


def spans_magnitudes(numbers: Sequence[float]) -> bool:
    """Say whether numbers are drawn on a log axis: none is 0 or less, and they go up tenfold or more."""
    return min(numbers) > 0 and max(numbers) >= 10 * min(numbers)


def number_axis(ax: Axes, numbers: Sequence[float], labels: int = 1) -> Callable[[float, int], float]:
    """Make the x axis one of numbers, spaced truly, with a tick at each that occurs; log where they span magnitudes.

    Args:
        ax: the Axes.
        numbers: that occur.
        labels: how many points stand side by side at each.

    Returns:
        What gives the place of a number for the k-th label: beside it, so that nothing is hidden.
    """
    numbers = sorted(set(numbers)) or [0.0]  # where all runs have none, or all seeds stopped
    log = spans_magnitudes(numbers)
    scaled, back = (np.log10, lambda x: 10.0**x) if log else (np.asarray, float)
    places = np.array([float(scaled(number)) for number in numbers])
    gap = float(np.diff(places).min()) if len(places) > 1 else 1.0
    span = max(float(places[-1] - places[0]), gap)
    step = min((0.03 if len(places) > 1 else 0.06) * span, 0.45 * gap / max(1, labels - 1))
    margin = 0.5 * step * (labels - 1) + 0.05 * span + (0.3 if len(places) == 1 else 0)
    if log:
        ax.set_xscale("log")
    ax.set_xlim(back(places[0] - margin), back(places[-1] + margin))
    apart = (places - places[0]) / (span + 2 * margin) * inches_wide(ax)
    texts, free = [], -math.inf
    for place, number in zip(apart, numbers, strict=True):  # not named where that would cover the one before
        text = f"{number:g}"
        texts.append(text if place >= free else "")
        if texts[-1]:
            free = place + 0.09 * len(text) + 0.06
    ax.set_xticks(numbers, texts)
    ax.set_xticks([], minor=True)
    return lambda number, k: float(back(float(scaled(number)) + step * (k - (labels - 1) / 2)))


def score_against(
    rows: pd.DataFrame,
    score: str,
    ax: Axes,
    looks: Looks,
    axis: str = "length",
    points: bool = True,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    x_label: str | None = None,
    numbers: Sequence[float] | None = None,
) -> Axes:
    """Draw a score against length, or another number: a point for each seed, and the mean with its 95 % interval.

    A label whose runs have no such number, as that of a setting of other cells, is a level line.

    Args:
        rows: columns ``label``, the axis' and the score; a row for each seed.
        score: the column.
        ax: where to draw.
        looks: of the labels, and of others of the figure.
        axis: the column of the numbers.
        points: draw the point of each seed, not only mean and interval.
        bounds: what the score can be: intervals end there.
        x_label: what the numbers are; None for the column's name.
        numbers: those of all Axes that share the x axis; None for those of ``rows``.
    """
    rows = rows.assign(number=pd.to_numeric(rows[axis]))
    labels = list(dict.fromkeys(rows["label"]))
    numbers = rows["number"].dropna().tolist() if numbers is None else numbers
    beside = number_axis(ax, numbers, len(labels))
    for k, label in enumerate(labels):
        own, look = rows[rows["label"] == label], looks[label]
        if own["number"].isna().all():
            mean, low, high = interval(own[score].tolist(), bounds=bounds)
            ax.axhline(mean, label=labelled(label), linewidth=1.6, **{**look, "marker": ""})
            if np.isfinite(low):
                ax.axhspan(low, high, color=look["color"], alpha=0.15, linewidth=0)
            continue
        groups = {float(str(number)): group[score].tolist() for number, group in own.groupby("number")}
        places = [beside(number, k) for number in groups]
        means, lows, highs = np.array([interval(values, bounds=(-np.inf, np.inf)) for values in groups.values()]).T
        for place, values in zip(places, groups.values() if points else (), strict=points):
            dots = {"color": look["color"], "marker": look["marker"], "linestyle": "", "alpha": 0.35}
            ax.plot([place] * len(values), values, markersize=3.5, markeredgewidth=0, **dots)
        lows, highs = np.maximum(lows, bounds[0]), np.minimum(highs, bounds[1])
        errors = [means - lows, highs - means]
        ax.errorbar(places, means, errors, label=labelled(label), capsize=3, linewidth=1.6, markersize=6, **look)
    ax.set_xlabel(x_label or axis_label(axis))
    return ax


def score_axis(ax: Axes, share: bool) -> Axes:
    """Let the y axis of a score begin at 0; a share is in percent, up to 100."""
    ax.set_ylim(0, 1.02 if share else None)
    if share:
        ax.yaxis.set_major_formatter(PERCENT)
    return ax


def accuracy_against(
    rows: pd.DataFrame,
    score: str,
    ax: Axes,
    chance: float,
    looks: Looks,
    axis: str = "length",
    numbers: Sequence[float] | None = None,
) -> Axes:
    """Draw an accuracy against length (the book's figures 6.7 and 6.12) with the floor of guessing."""
    score_against(rows, score, ax, looks, axis, bounds=(0, 1), x_label=digits_long(axis), numbers=numbers)
    score_axis(ax, share=True)
    ax.axhline(chance, **FLOOR)
    ax.annotate(
        tr(f"always the likeliest answer: {percent(chance)}"), (0.02, chance), (0, -3),
        xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7.5, color="0.35", va="top",
    )  # fmt: skip
    return ax


def accuracy_table(rows: pd.DataFrame, score: str, ax: Axes, down: str = "label", across: str = "length") -> Axes:
    """Draw an accuracy as a table: mean and half the 95 % interval, in percent.

    Args:
        rows: a row for each seed: the columns that are drawn down and across, and the score.
        score: the column.
        ax: where to draw.
        down: ``label``, or a column of numbers.
        across: a column of numbers.
    """
    by_name = down == "label"
    labels = list(dict.fromkeys(rows[down])) if by_name else sorted(rows[down].unique())
    numbers = sorted(rows[across].unique())
    means = pd.DataFrame(np.nan, index=labels, columns=numbers)
    texts = pd.DataFrame("", index=labels, columns=numbers)
    for (label, number), own in rows.groupby([down, across], sort=False):
        mean, low, high = interval(own[score].tolist(), bounds=(-np.inf, np.inf))
        means.loc[label, number] = 100 * mean
        spread = f" ± {50 * (high - low):.0f}" if np.isfinite(low) else ""
        texts.loc[label, number] = f"{100 * mean:.0f}{spread}"
    sns.heatmap(
        means, annot=texts, fmt="", vmin=0, vmax=100, cmap="viridis", cbar=False, linewidths=1, ax=ax,
        annot_kws={"fontsize": 8.5}, yticklabels=False,
    )  # fmt: skip
    ax.grid(False)
    ax.tick_params(length=0)
    ax.set_xlabel(digits_long("length") or "")
    ax.set_ylabel("")
    places = np.arange(len(labels)) + 0.5
    if not by_name:
        ax.set_yticks(places, [f"{label:g}" for label in labels], rotation=0)
        return ax
    names = [labelled(label) for label in labels]  # seaborn would measure them, in a font that may lack some characters
    font = font_for("".join(names))
    ax.set_yticks(places, [fitted(legible(name, font), NAME_WIDTH, 10) for name in names], **font)
    return ax


def bits_against(
    rows: pd.DataFrame,
    ax: Axes,
    all_bits: float,
    one_missing_bits: float,
    looks: Looks,
    axis: str = "length",
    digits: int = 2,
) -> Axes:
    """Draw the retained bits, H(S) - cross-entropy, against length, with what knowing 0, all but 1, and all gives.

    Args:
        rows: of one panel.
        ax: where to draw.
        all_bits: those of knowing all digits.
        one_missing_bits: those of knowing all but one.
        looks: of the labels.
        axis: the column that is the axis.
        digits: how many are added.
    """
    score_against(rows, "retained_bits", ax, looks, axis, x_label=digits_long(axis))
    one_missing, whole = (
        (tr("one digit"), tr("both digits")) if digits == 2 else (tr("all but one digit"), tr("all digits"))
    )
    for bits, text in ((0.0, tr("nothing")), (one_missing_bits, one_missing), (all_bits, whole)):
        ax.axhline(bits, **FLOOR)
        ax.annotate(
            f"{text}: {bits:.2f}", (1.01, bits), xycoords=("axes fraction", "data"), fontsize=7.5, color="0.35",
            va="center",
        )  # fmt: skip
    ax.set_ylabel(tr("retained bits (exact)"))
    return ax


def loss_curves(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw train and dev loss against updates (6.6, 6.11): a thin line for each seed, mean and 95 % interval.

    Args:
        history: columns ``iteration``, ``seed``, ``split``, ``value`` of one run's losses.
        ax: where to draw.
    """
    history = history[np.isfinite(history["value"])]  # a seed's last one is not, where it diverged
    for split, look in shades(["train", "dev"]).items():
        table = history[history["split"] == split].pivot(index="iteration", columns="seed", values="value")
        if table.empty:
            continue
        ax.plot(table.index, table.to_numpy(), color=look["color"], alpha=0.18, linewidth=0.6)
        means, lows, highs = np.array([interval(row.tolist(), bounds=(0, np.inf)) for row in table.to_numpy()]).T
        ax.fill_between(table.index, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
        line = {"color": look["color"], "linestyle": look["linestyle"]}
        ax.plot(table.index, means, linewidth=1.6, label=named(split), **line)
    if history.empty:
        return ax
    ax.set_xlim(0, max(1, history["iteration"].max()))
    _raise_top(ax, 1.02 * history["value"].max())
    if history["iteration"].max() >= 1000:
        ax.xaxis.set_major_formatter(_thousands)
    return ax


@own_style()
def course(history: pd.DataFrame, metric: str, title: str, floor: dict[str, float], share: bool = False) -> Figure:
    """Draw a metric of one run against updates, with what simple answers reach.

    Args:
        history: as `memexp.results.history.read_history` returns.
        metric: ``loss``, or another one that it has.
        title: which run it is.
        floor: name of a simple answer -> what it reaches.
        share: the metric is a share, shown in percent.
    """
    figure, axes = new_figure(1, 1, width=6.4, height=4.0)
    own = history[history["name"] == metric]
    ax = loss_curves(own, axes[0, 0])
    if share:
        score_axis(ax, share)
    floors(floor, ax, share)
    ax.set(xlabel=tr("updates"), ylabel=named(metric.replace("_", " ")))
    mean = tr(f"mean over {own['seed'].nunique()} seeds, 95 % interval, and each seed")
    finish(figure, f"{title}\n{mean}")
    return figure


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
        ax.annotate(f"{named(name)} {text}", (1.02, height), xycoords=place, fontsize=7.5, color="0.35", va="center")
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
    history = history[np.isfinite(history["value"])]
    for when, look in shades(["before clipping", "after clipping"]).items():
        table = history[history["when"] == when].pivot(index="iteration", columns="seed", values="value")
        if table.empty:
            continue
        ax.plot(table.index, table.to_numpy(), color=look["color"], alpha=0.25, linewidth=0.7)
        ax.plot(
            table.index,
            table.median(axis=1),
            color=look["color"],
            linewidth=1.8,
            linestyle=look["linestyle"],
            label=named(when),
        )
    if history.empty:
        return ax
    _raise_top(ax, 2 * float(history["value"].max()))
    top = ax.get_ylim()
    ax.set_yscale("symlog", linthresh=SMALLEST_NORM)
    ax.set_yticks([0, *(10.0**power for power in range(-6, 10, 3))])
    ax.yaxis.set_major_formatter(POWERS)
    ax.set_ylim(top)
    ax.set_xlim(1, max(2, history["iteration"].max()))
    return ax


def share_that_got_there(rows: pd.DataFrame, ax: Axes, until: int, looks: Looks) -> Axes:
    """Draw the share of seeds whose dev accuracy has reached a criterion, against updates, a line for each label.

    Args:
        rows: columns ``label``, ``updates`` and ``reached`` as `memexp.results.statistics.updates_until` returns; a row
            a seed.
        ax: where to draw.
        until: the last update; seeds that never got there keep a line below 1 up to it, with their number.
        looks: of the labels, and of others of the figure.
    """
    ends: list[tuple[float, str, Any]] = []  # share at the end, what to say of it, colour
    there = [label for label in looks if (rows["label"] == label).any()]
    for label, width in zip(there, np.linspace(2.8, 1.2, len(there)), strict=True):  # those below can still be seen
        own, look = rows[rows["label"] == label], looks[label]
        x, share = share_reached(own["updates"].tolist(), own["reached"].tolist(), until)
        line = {"color": look["color"], "linestyle": look["linestyle"]}
        ax.step(x, share, where="post", linewidth=width, label=labelled(label), **line)
        never = int((~own["reached"]).sum())
        if never:
            ax.plot(until, share[-1], clip_on=False, **look)
            ends.append((float(share[-1]), tr(f"{never} of {len(own)} never"), look["color"]))
    ends.sort(key=lambda end: end[0])
    apart = min(NEVER_APART, 0.97 / max(1, len(ends)))  # smaller where there are very many
    heights: list[float] = []
    for end, _, _ in ends:  # above each other, even where the lines coincide
        heights.append(max([end, *heights[-1:]]) + apart)
    too_high = max([0.0, *(height - 0.97 for height in heights)])
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        ax.text(
            0.96 * until, height - too_high, text, ha="right", va="center", fontsize=7.5 * apart / NEVER_APART,
            color=colour, path_effects=HALO,
        )  # fmt: skip
    ax.set_xlim(0, until)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)
    ax.xaxis.set_major_formatter(_thousands)
    return ax


def reporting_against(
    rows: pd.DataFrame,
    columns: dict[str, str],
    truth: str,
    ax: Axes,
    axis: str = "length",
    numbers: Sequence[float] | None = None,
) -> Axes:
    """Draw how far several ways to report the same runs lie above the truth, against length or another number.

    Args:
        rows: columns of the axis, ``truth`` and those of ``columns``; a row for each seed.
        columns: column -> what it is called.
        truth: the column that they are compared with, seed by seed.
        ax: where to draw; its y axis is in percentage points, the mean over seeds with its 95 % interval.
        axis: the column of the numbers.
        numbers: see `score_against`.
    """
    above = pd.concat(
        {name: pd.DataFrame({axis: rows[axis], "above": 100 * (rows[column] - rows[truth])})
         for column, name in columns.items()},
        names=["label"],
    ).reset_index("label")  # fmt: skip
    looks = shades(list(columns.values()))
    score_against(above, "above", ax, looks, axis, points=False, x_label=digits_long(axis), numbers=numbers)
    ax.axhline(0, **FLOOR)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:+.0f}"))
    return ax


def _thousands(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if value else "0"


def _power(value: float, _: object = None) -> str:
    """Write a number of a log axis: 10⁻³; nothing between the powers of ten."""
    if value == 0:
        return "0"
    power = round(math.log10(abs(value)))
    whole = math.isclose(abs(value), 10.0**power)
    return f"10{str(power).translate(SUPERSCRIPTS)}" if whole else ""


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
POWERS = FuncFormatter(_power)


def cost_of_an_update(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw milliseconds per update and seed on log scales, a line for each way to train a model.

    Args:
        rows: columns ``model``, ``contestant``, ``value`` (what grows) and ``ms_per_update_and_seed``.
        ax: where to draw.
    """
    rows = rows.assign(**{"label": rows["model"].str.upper() + ", " + rows["contestant"], "model.name": rows["model"]})
    looks = looks_of(rows)
    for label, own in rows.groupby("label", sort=False):
        ax.plot(own["value"], own["ms_per_update_and_seed"], label=str(label), **looks[str(label)])
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
    """Add one legend for all Axes below them, and a title, with room for both; make all texts legible."""
    if title:
        titled(figure, title, 11)
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        named: list[Any] = [*ax.lines, *ax.containers]
        for handle in named:
            label = str(handle.get_label())
            if not label.startswith(UNNAMED):  # matplotlib itself would leave out any that begins with _
                handles.setdefault(f" {label}" if label.startswith("_") else label, handle)
    if handles:
        texts = [fitted(legible(label, font_for(label)), figure.get_figwidth() - 0.6, 10) for label in handles]
        longest = max(columns_of(line) for text in texts for line in text.splitlines())
        columns = max(1, min(len(texts), int(figure.get_figwidth() * 11 / (longest + 8))))
        lines = math.ceil(len(texts) / columns) * (1 + max(text.count("\n") for text in texts))
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (lines - 1))
        place: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False}
        figure.legend(list(handles.values()), texts, **place)
    made_legible(figure)
