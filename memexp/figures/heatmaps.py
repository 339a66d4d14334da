"""Drawing what a cell computes: each function draws on given Axes and returns them. No torch, no files, no globals.

Values are [L, D]: a row for each time step, a column for each hidden unit (axis letters as in `memexp.models.cells`). A
part whose name ends with ``_gate`` is a gate, drawn from 0 to 1; any other part is a state, drawn symmetric about 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from memexp.canvas import Figure, Picture, own_style
from memexp.figures.lettering import FAINT, FONT, font_for, legible, titled
from memexp.words import named, tr

TOKEN_WIDTH = 0.11  # inches that a digit or a character below a heatmap needs
MOST_TOKENS = 100  # more tokens than these are not all written below a heatmap
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
    *where, what = map(named, name.replace("_", " ").split("."))
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
    ax.set_ylabel(tr("hidden unit"), fontsize=FONT + 1)
    _colour_bar(picture, tr("0 closed, 1 open") if is_gate(name) else tr("value"), ax)
    return ax


def _name_tokens(tokens: Sequence[object], token: str, ax: Axes) -> None:
    """Write the tokens of a sequence below the x axis; digits stand out from zeros, and characters from white space."""
    places = range(0, len(tokens), math.ceil(len(tokens) / MOST_TOKENS))
    shown = [str(tokens[place]) for place in places]
    font = font_for("".join(shown))
    written = [legible(text, font) for text in shown]
    digits = token == "digit"  # in a text a digit is a character like any other
    for text, label in zip(written, ax.set_xticks(places, written), strict=True):
        faint = text in FAINT or (digits and text == "0")
        label.label1.set(
            fontsize=FONT,
            color="0.45" if faint else "black",
            fontweight="bold" if digits and not faint else "normal",
            rotation=90 if len(text) > 1 else 0,
            parse_math=False,
            **font,
        )
    ax.tick_params(length=2, pad=2)
    ax.set_xlabel(tr(f"{named(token)} at each time step"), fontsize=FONT + 1)


def costs(bits: np.ndarray, tokens: Sequence[object], ax: Axes, token: str = "character") -> Axes:
    """Draw the bits that each token costs, given those before it, and their mean: [L], not a number for the first."""
    ax.bar(range(len(bits)), bits, width=0.85, color=LOOK["after"]["color"])
    ax.axhline(float(np.nanmean(bits)), color="0.35", linewidth=0.8, linestyle="--")
    ax.set_xlim(-0.5, len(bits) - 0.5)
    _name_tokens(tokens, token, ax)
    ax.tick_params(labelsize=FONT)
    ax.set_title(tr(f"Bits per {named(token)}"), fontsize=10)
    ax.set_ylabel(tr("bits"), fontsize=FONT + 1)
    ax.spines[["top", "right"]].set_visible(False)
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


@own_style()
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
    figure = Picture(figsize=(max(4.8, width * columns), max(4.0, 2.7 * rows) + 0.6), layout="constrained")
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
    return titled(figure, title)


@own_style()
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
    figure = Picture(figsize=(max(4.8, _heatmap_width(L)), 1.4 + 0.12 * min(48, max(16, D))), layout="constrained")
    heatmap(values, name, tokens, figure.subplots(), order, 48, token)
    return titled(figure, title)


def _heatmap_width(length: int) -> float:
    return max(2.4, TOKEN_WIDTH * min(length, MOST_TOKENS)) + 0.95
