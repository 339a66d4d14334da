"""Drawing what a cell computes: each function draws on given Axes and returns them. No torch, no files, no globals.

Values are [L, D]: a row for each time step, a column for each hidden unit (axis letters as in `memexp.models`). A part
whose name ends with ``_gate`` is a gate, drawn from 0 to 1; any other part is a state, drawn symmetric about 0.
"""

import functools
import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

FONT = 7.5
TOKEN_WIDTH = 0.11  # inches that a digit or a character below a heatmap needs
MOST_TOKENS = 100  # more tokens than these are not all written below a heatmap
FAINT = ("0", "␣", "↵")  # tokens that the others stand out from
LINE, LINES = 72, 3  # characters of a text in a line, and how many lines of it are shown
WIDEST = 12.5  # inches
LOOK: dict[str, dict[str, Any]] = {  # of the values before and after training; told apart without colour as well
    "before": {"color": "#de8f05", "marker": "o", "mfc": "white"},
    "after": {"color": "#0173b2", "marker": "o"},
}


PALE = ListedColormap(matplotlib.colormaps["RdBu_r"](np.linspace(0.18, 0.82, 256)))  # text on it is legible


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
    values: np.ndarray,
    name: str,
    tokens: Sequence[object],
    ax: Axes,
    order: np.ndarray | None = None,
    labels: int = 16,
    token: str = "digit",
) -> Axes:
    """Draw one part over a sequence (the book's figure 6.13): x the digits or characters, y the hidden units.

    Args:
        values: [L, D].
        name: of the part; chooses the colours, see `colour_scale`.
        tokens: the sequence, L digits or characters.
        ax: where to draw.
        order: [D], the units from top to bottom; None for 0, 1, ...
        labels: at most this many units are named.
        token: what one is called.
    """
    _, D = values.shape
    order = np.arange(D) if order is None else order
    picture = ax.imshow(
        values[:, order].T, aspect="auto", interpolation="nearest", **colour_scale(name, values)
    )  # rows of the picture are units
    every = math.ceil(D / labels)
    ax.set_yticks(range(0, D, every), [str(unit) for unit in order[::every]], fontsize=FONT - 1)
    _name_tokens(tokens, token, ax)
    ax.set_title(title_of(name), fontsize=10)
    ax.set_ylabel("hidden unit", fontsize=FONT + 1)
    _colour_bar(picture, "0 closed, 1 open" if is_gate(name) else "value", ax)
    return ax


def _name_tokens(tokens: Sequence[object], token: str, ax: Axes) -> None:
    """Write the tokens of a sequence below the x axis; digits stand out from zeros and characters from white space."""
    places = range(0, len(tokens), math.ceil(len(tokens) / MOST_TOKENS))
    shown = [str(tokens[place]) for place in places]
    font = font_for("".join(shown))
    written = [legible(text, font) for text in shown]
    for text, label in zip(written, ax.set_xticks(places, written), strict=True):
        faint = text in FAINT
        label.label1.set(
            fontsize=FONT,
            color="0.45" if faint else "black",
            fontweight="bold" if text.isascii() and text.isdigit() and not faint else "normal",
            rotation=90 if len(text) > 1 else 0,
            parse_math=False,
            **font,
        )
    ax.tick_params(length=2, pad=2)
    ax.set_xlabel(f"{token} at each time step", fontsize=FONT + 1)


def costs(bits: np.ndarray, tokens: Sequence[object], ax: Axes, token: str = "character") -> Axes:
    """Draw the bits that each token costs, given those before it, and their mean: [L], not a number for the first."""
    ax.bar(range(len(bits)), bits, width=0.85, color=LOOK["after"]["color"])
    ax.axhline(float(np.nanmean(bits)), color="0.35", linewidth=0.8, linestyle="--")
    ax.set_xlim(-0.5, len(bits) - 0.5)
    _name_tokens(tokens, token, ax)
    ax.tick_params(labelsize=FONT)
    ax.set_title(f"Bits per {token}", fontsize=10)
    ax.set_ylabel("bits", fontsize=FONT + 1)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


@functools.cache
def _glyphs(path: str) -> frozenset[str]:
    """List the characters that a font file can draw."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _usual_glyphs() -> frozenset[str]:
    return _glyphs(font_manager.findfont(font_manager.FontProperties()))


@functools.cache
def _other_font(missing: frozenset[str]) -> str | None:
    """Choose the installed font that has the most of some characters; None if none has any."""

    def looks_odd(path: str) -> bool:
        return any(word in path.lower() for word in ("bold", "black", "italic", "oblique", "serif", "lastresort"))

    most, chosen = 0, None
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: (looks_odd(path), path)):
        try:
            has = len(missing & _glyphs(path))
        except (OSError, RuntimeError):  # a font that matplotlib cannot read
            continue
        if has > most:
            most, chosen = has, path
    if chosen is None:
        return None
    name = f"memexp {font_manager.get_font(chosen).family_name}"
    for weight in (400, 700):  # under a name of our own: matplotlib's list of fonts can be older than the font, or
        entry = font_manager.FontEntry(fname=chosen, name=name, weight=weight)  # give it a weight it then warns about
        font_manager.fontManager.ttflist.append(entry)
    return name


def font_for(text: str) -> dict[str, Any]:
    """Return what a `matplotlib.text.Text` needs to draw a text: nothing, or a second font for what the usual lacks."""
    missing = frozenset(text) - _usual_glyphs() - {"\n"}
    other = _other_font(missing) if missing else None
    return {"fontfamily": ["sans-serif", other]} if other else {}


def legible(text: str, font: Mapping[str, Any]) -> str:
    """Replace every character that no font has by its code point: a box would say nothing."""
    glyphs = _usual_glyphs() | {"\n"}
    for name in font.get("fontfamily", ())[1:]:
        glyphs |= _glyphs(font_manager.findfont(name))
    return "".join(c if c in glyphs else f"{ord(c):04x}" for c in text)


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
    trace: Mapping[str, np.ndarray],
    tokens: Sequence[object],
    title: str,
    orders: Mapping[str, np.ndarray] | None = None,
    token: str = "digit",
    bits: np.ndarray | None = None,
) -> Figure:
    """Draw all parts of a trace, name -> [L, D], on one sheet, in the order of the dict; each with its ``order``.

    Where the tokens cost ``bits``, [L], these are the last panel.
    """
    width = _heatmap_width(len(tokens))
    panels = len(trace) + (bits is not None)
    columns = min(panels, max(1, min(3, int(WIDEST // width))))
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(max(4.8, width * columns), max(4.0, 2.7 * rows) + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, (name, values) in enumerate(trace.items()):
        heatmap(values, name, tokens, axes.flat[place], (orders or {}).get(name), token=token)
    for ax in axes.flat[panels:]:
        ax.set_visible(False)
    for place, ax in enumerate(axes.flat[:panels]):  # axis labels only at the outer Axes
        if place + columns < panels:
            ax.set_xlabel("")
        if place % columns:
            ax.set_ylabel("")
    if bits is not None:
        costs(bits, tokens, axes.flat[len(trace)], token)
    return _titled(figure, title)


def single(
    values: np.ndarray,
    name: str,
    tokens: Sequence[object],
    title: str,
    order: np.ndarray | None = None,
    token: str = "digit",
) -> Figure:
    """Draw one part, [L, D], on a figure of its own, large enough to name every unit up to 48."""
    L, D = values.shape
    figure = Figure(figsize=(max(4.8, _heatmap_width(L)), 1.4 + 0.12 * min(48, max(16, D))), layout="constrained")
    heatmap(values, name, tokens, figure.subplots(), order, 48, token)
    return _titled(figure, title)


def _heatmap_width(length: int) -> float:
    return max(2.4, TOKEN_WIDTH * min(length, MOST_TOKENS)) + 0.95


def _titled(figure: Figure, title: str) -> Figure:
    """Set a title, wrapped to the figure's width; its own line breaks stay."""
    font = font_for(title)
    lines = [_wrapped(line, int(figure.get_figwidth() * 15)) for line in legible(title, font).splitlines()]
    figure.suptitle("\n".join(lines), fontsize=9, parse_math=False, **font)
    return figure


def _wrapped(line: str, width: int) -> str:
    """Wrap a line; Chinese and other wide characters count twice."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return textwrap.fill(line, max(1, width * len(line) // max(1, len(line) + wide)))


def means_by_place(
    means: pd.DataFrame, ax: Axes, place: str = "time_step", singled_out: str | None = "distractor"
) -> Axes:
    """Draw the mean of one part at each place, over all inputs and units, before and after training.

    Args:
        means: columns ``training``, ``kind``, ``unit``, the place, ``probability`` (of that kind of token at that
            place) and ``mean_size`` of one part, as `memexp.gates.averages` returns.
        ax: where to draw. The band holds 80 % of the units.
        place: the column of the place.
        singled_out: the thin dotted line is the mean over this kind of token only.
    """
    for training, look in LOOK.items():
        own = means[means["training"] == training]
        by_unit = weighted_mean(own[own[place] > 0], [place, "unit"]).unstack("unit")
        low, high = np.quantile(by_unit.to_numpy(), [0.1, 0.9], axis=1)
        ax.fill_between(by_unit.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
        front: dict[str, Any] = (
            {"linestyle": "--", "zorder": 3} if training == "before" else {}
        )  # neither hides the other
        mean = by_unit.mean(axis=1)
        ax.plot(by_unit.index, mean, color=look["color"], label=f"{training} training", **front)
        if singled_out:
            alone = weighted_mean(own[own["kind"] == singled_out], [place])
            ax.plot(alone.index, alone, color=look["color"], linestyle=":", label=f"{training}, {singled_out}s")
    last = int(means[place].max())
    ax.set_xlim(0.5, last + 0.5)
    ax.set_xticks(_few_steps(last))
    ax.set_xlabel(place.replace("_", " "))
    return _size_axis(means, ax)


def _few_steps(last: int) -> list[int]:
    """Choose at most about ten time steps to name: 1, and round ones."""
    every = next(step for step in (1, 2, 5, 10, 20, 50, 10 ** len(str(last))) if last / step <= 10)
    return sorted({1, *range(every, last + 1, every)})


def means_by_kind(means: pd.DataFrame, ax: Axes, kinds: Sequence[str] | None = None) -> Axes:
    """Draw the mean of one part for each kind of token: a point for each unit, a bar for the mean over units.

    Args:
        means: as for `means_by_place`.
        ax: where to draw; a place on the x axis for each kind that occurs.
        kinds: their order; None for that of the table.
    """
    occur = list(dict.fromkeys(means["kind"]))
    kinds = occur if kinds is None else [kind for kind in kinds if kind in occur]
    for shift, (training, look) in zip((-0.18, 0.18), LOOK.items(), strict=True):
        own = means[means["training"] == training]
        by_unit = weighted_mean(own, ["kind", "unit"]).unstack("unit").loc[kinds].to_numpy()  # [kinds, D]
        spread = np.linspace(-0.12, 0.12, by_unit.shape[1])  # in the order of the units, so that points do not hide
        places = shift + np.arange(len(kinds))[:, None] + spread
        alpha = 0.7 if by_unit.shape[1] <= 64 else 0.25  # so many points would hide the bar
        style = {"linestyle": "", "markersize": 2.5, "markeredgewidth": 0.5, "alpha": alpha, **look}
        ax.plot(places.ravel(), by_unit.ravel(), **style)
        bars = {"color": look["color"], "linewidth": 2, "label": f"{training} training"}
        ax.hlines(by_unit.mean(1), places[:, 0] - 0.03, places[:, -1] + 0.03, **bars)
    ax.set_xticks(range(len(kinds)), kinds)
    if len(kinds) > 4:  # they would touch
        ax.set_xticks(range(len(kinds)), kinds, rotation=25, ha="right", rotation_mode="anchor")
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


def averages(
    means: pd.DataFrame,
    saturation: pd.DataFrame,
    title: str,
    place: str = "time_step",
    singled_out: str | None = "distractor",
    kinds: Sequence[str] | None = None,
) -> Figure:
    """Draw the averages of every part: a row of Axes each, by place, by kind of token, and saturation.

    Where no token has a place, as in a text without words, there is nothing by place.
    """
    parts = list(dict.fromkeys(means["part"]))
    figure = Figure(figsize=(12, 2.3 * len(parts) + 1.1), layout="constrained")
    panels = {f"by {place.replace('_', ' ')}": 1.2, "by kind of token": 1, "saturation, unit by unit": 1.2}
    if not (means[place] > 0).any():
        panels.pop(next(iter(panels)))
    axes = figure.subplots(len(parts), len(panels), squeeze=False, width_ratios=list(panels.values()))
    for number, (name, line) in enumerate(zip(parts, axes, strict=True)):
        if len(panels) == 3:
            means_by_place(means[means["part"] == name], line[0], place, singled_out)
        means_by_kind(means[means["part"] == name], line[-2], kinds)
        saturation_by_unit(saturation[saturation["part"] == name], line[-1])
        for ax in line:
            ax.tick_params(labelsize=FONT + 0.5)
            ax.spines[["top", "right"]].set_visible(False)
            if number < len(parts) - 1:
                ax.set_xlabel("")
    for ax, text in zip(axes[0], panels, strict=True):
        ax.set_title(text, fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=FONT + 1.5)
    return _titled(figure, title)


def units_by_feature(table: pd.DataFrame, title: str) -> Figure:
    """Draw how far every unit follows every feature of a text, before and after training: Axes for each part.

    The best unit of a part is named where it is above chance and above all units before training.

    Args:
        table: columns ``training``, ``part``, ``unit``, ``feature``, ``r``, ``threshold`` of `memexp.units.follow`.
        title: of the figure.
    """
    parts, features = list(dict.fromkeys(table["part"])), list(dict.fromkeys(table["feature"]))
    columns = min(2, len(parts))
    rows = math.ceil(len(parts) / columns)
    width = max(4.0, 0.5 * len(features) + 0.8)
    figure = Figure(figsize=(width * columns, 2.6 * rows + 1.6), layout="constrained")
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
        ax.set_xticks(range(len(features)), features, rotation=40, ha="right", rotation_mode="anchor")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=FONT + 1.5)
    return _titled(figure, title)


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
        ax.plot(places.ravel(), sizes.ravel(), label=f"a unit {training} training", **style)
        chance = own[own["training"] == training].groupby("feature")["threshold"].first().loc[features]
        middles = shift + np.arange(len(features))
        ax.hlines(chance, middles - 0.18, middles + 0.18, color="black", linewidth=1.2, zorder=3)
        if training == "after":
            for k, best in enumerate(sizes.argmax(1)):
                if sizes[k, best] > max(chance.iloc[k], before.iloc[k]):
                    where = (places[k, best], sizes[k, best])
                    style = {"textcoords": "offset points", "ha": "center", "fontsize": FONT - 1}
                    ax.annotate(str(by_unit.columns[best]), where, (0, 3), **style)
    ax.plot([], [], color="black", linewidth=1.2, label="chance")
    ax.set_ylim(0, 1.08)
    ax.set_xlim(-0.5, len(features) - 0.5)
    ax.tick_params(labelsize=FONT + 0.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)


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
    figure = Figure(figsize=(0.13 * LINE + 1.2, len(names) * (0.24 * len(lines) + 0.32) + 1.3), layout="constrained")
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
        ax.set_title(_wrapped(name, int(figure.get_figwidth() * 13)), fontsize=9, loc="left")
        ax.set_axis_off()
    bar = figure.colorbar(picture, ax=list(axes), location="bottom", shrink=0.4, aspect=40, pad=0.02, extend="both")
    bar.set_label("standard deviations below and above the unit's own mean", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)
    return _titled(figure, title)


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
