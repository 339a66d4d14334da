"""Drawing what the gates and states of a model do on average: by place, by kind of token, and how often saturated.

As in `memexp.figures.heatmaps`, a part whose name ends with ``_gate`` runs from 0 to 1, and of any other the size is
drawn. Each function draws on given Axes and returns them. No torch, no files, no globals. D hidden units.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from memexp.canvas import Picture, own_style
from memexp.figures.heatmaps import LOOK, is_gate, title_of
from memexp.figures.lettering import FONT, titled
from memexp.words import named, tr


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
        if own.empty:  # nothing is known of before training
            continue
        by_unit = weighted_mean(own[own[place] > 0], [place, "unit"]).unstack("unit")
        low, high = np.quantile(by_unit.to_numpy(), [0.1, 0.9], axis=1)
        ax.fill_between(by_unit.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
        front: dict[str, Any] = (
            {"linestyle": "--", "zorder": 3} if training == "before" else {}
        )  # neither hides the other
        mean = by_unit.mean(axis=1)
        ax.plot(by_unit.index, mean, color=look["color"], label=named(f"{training} training"), **front)
        if singled_out:
            alone = weighted_mean(own[own["kind"] == singled_out], [place])
            name = tr(f"{named(training)}, {named(singled_out)}s")
            ax.plot(alone.index, alone, color=look["color"], linestyle=":", label=name)
    last = int(means[place].max())
    ax.set_xlim(0.5, last + 0.5)
    ax.set_xticks(_few_steps(last))
    ax.set_xlabel(named(place.replace("_", " ")))
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
        if own.empty:
            continue
        by_unit = weighted_mean(own, ["kind", "unit"]).unstack("unit").loc[kinds].to_numpy()  # [kinds, D]
        spread = np.linspace(-0.12, 0.12, by_unit.shape[1])  # in the order of the units, so that points do not hide
        places = shift + np.arange(len(kinds))[:, None] + spread
        alpha = 0.7 if by_unit.shape[1] <= 64 else 0.25  # so many points would hide the bar
        style = {"linestyle": "", "markersize": 2.5, "markeredgewidth": 0.5, "alpha": alpha, **look}
        ax.plot(places.ravel(), by_unit.ravel(), **style)
        bars = {"color": look["color"], "linewidth": 2, "label": named(f"{training} training")}
        ax.hlines(by_unit.mean(1), places[:, 0] - 0.03, places[:, -1] + 0.03, **bars)
    names = [named(kind) for kind in kinds]
    ax.set_xticks(range(len(kinds)), names)
    if len(kinds) > 4:  # they would touch
        ax.set_xticks(range(len(kinds)), names, rotation=25, ha="right", rotation_mode="anchor")
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
        if own.empty:
            continue
        over, under = own["share_over_0.9"].to_numpy(), own["share_under_0.1"].to_numpy()
        means[training] = over.mean(), under.mean()
        if training == "after":
            ax.bar(own["unit"], over, width=0.8, color=look["color"])
            ax.bar(own["unit"], -under, width=0.8, color=look["color"])
        else:
            style = {"linestyle": "", "markersize": 3, **look}
            ax.plot(own["unit"], over, **style)
            ax.plot(own["unit"], -under, **style)
    gate = is_gate(str(saturation["part"].iloc[0]))
    above, below = (tr("over 0.9"), tr("under 0.1")) if gate else (tr("size over 0.9"), tr("size under 0.1"))
    for height, text, place in ((1.15, above, 0), (-1.15, below, 1)):
        after = means["after"][place]
        share = tr(f"{text}: {after:.0%} of all values")
        if "before" in means:
            share = tr(f"{text}: {means['before'][place]:.0%} of all values before, {after:.0%} after")
        ax.text(0.5, height, share, transform=ax.get_yaxis_transform(), ha="center",
                va="bottom" if height > 0 else "top", fontsize=FONT)  # fmt: skip
    ax.axhline(0, color="0.35", linewidth=0.8)
    ax.set_ylim(-1.45, 1.45)
    ax.set_yticks([-1, -0.5, 0, 0.5, 1])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0%}"))
    ax.set_xlim(-1, saturation["unit"].max() + 1)
    ax.set_ylabel(tr("← under 0.1   over 0.9 →"), fontsize=FONT + 1)
    ax.set_xlabel(tr("hidden unit"))
    return ax


@own_style()
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
    figure = Picture(figsize=(12, 2.3 * len(parts) + 1.1), layout="constrained")
    by_place = tr(f"by {named(place.replace('_', ' '))}")
    panels = {by_place: 1.2, tr("by kind of token"): 1, tr("saturation, unit by unit"): 1.2}
    if not (means[place] > 0).any():
        panels.pop(by_place)
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
    return titled(figure, title)
