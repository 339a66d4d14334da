"""The figures of the digit-sum study, and its comparison of models."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from memexp.analysis.common import Drawings, gradient_drawings, some_of
from memexp.canvas import Figure, own_style
from memexp.figures import curves
from memexp.figures.lettering import entitled, fitted
from memexp.figures.looks import Looks, looks_of
from memexp.files import slug
from memexp.results import statistics
from memexp.results.study import Histories, Study, against, pairs, read_right
from memexp.words import labelled, named, tr

PANEL_HEIGHT = 2.6  # inches that a panel's name may be long at the y axis
COMPARISON = {  # column of comparison.csv -> what it is
    "panel": "the study, and what was trained on",
    "length": "of the runs that are compared",
    "one, other": "the two of them",
    "seeds": "how many seeds *one* has",
    "test_difference": "test accuracy of *one* less that of *other*",
    "low, high": "its 95 % interval, from a hierarchical bootstrap over seeds and test rows",
    "exact_difference": "exact accuracy of *one* less that of *other*",
    "improvement": "the probability that a seed of *one* has a better exact accuracy than a seed of *other*; 0.5 is no "
    "difference",
    "p_holm": "Mann and Whitney's p for *improvement*, corrected for all rows of the table (Holm)",
}
REPORTING = {
    "published": "as published: best of dev and test",
    "dev_accuracy": "dev, best evaluation",
    "last_dev": "dev, last update",
    "test_accuracy": "test",
}


def drawings(study: Study, known: pd.DataFrame, histories: Histories, criterion: float) -> Drawings:
    """Return what draws each figure, by the figure's name; arguments as for `memexp.analysis.common.drawings`."""
    rows = study.rows
    lines, axis = against(rows)
    found: Drawings = {
        "accuracy": partial(draw_accuracy, lines, axis),
        "overview": partial(draw_overview, rows),
        "retained_bits": partial(draw_bits, lines, axis),
    }
    if known.empty:
        return found
    found["updates_until"] = partial(draw_updates_until, known, histories, criterion)
    found["reporting"] = partial(draw_reporting, known, histories)
    parts = list(panels(known))
    for number, (_, panel) in enumerate(parts, 1):
        found |= gradient_drawings(panel, histories, "gradients" if len(parts) == 1 else f"gradients_{number}")
    alone = rows["study"].nunique() == 1
    for title, panel in parts:
        for name, runs in panel.groupby("label", sort=False):
            words = [str(name), *panel["study"].unique()[alone:], *panel["task.sampling"].unique()]
            file = slug("loss", *words)
            same = sum(known == file or known.startswith(f"{file}__") for known in found)  # as of LSTM and Lstm
            shown = f"{labelled(str(name))}, {in_words(title)}"
            found[f"{file}__{same + 1}" if same else file] = partial(draw_loss, runs, histories, shown)
    return found


def comparison(study: Study, outputs: Path) -> pd.DataFrame:
    """Compare every two labels of each panel at each length, see `compare_models`."""
    return compare_models(study.rows, outputs)


def panels(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split rows into one panel for each study and way of sampling, with its title."""
    for (study, sampling), panel in rows.groupby(["study", "task.sampling"], sort=False):
        fixed = f"{counted(panel, 'train', ' fixed training rows')}" or "fixed training rows"
        yield f"{study}: {fixed if sampling == 'fixed' else 'new rows at every update'}", panel


def counted(rows: pd.DataFrame, split: str, what: str) -> str:
    """Say how many rows a split has, as far as the records do: nothing where one does not."""
    column = f"{split}_rows"
    if column not in rows or rows[column].isna().any():
        return ""
    few, many = int(rows[column].min()), int(rows[column].max())
    return f"{few if few == many else f'{few} to {many}'}{what}"


@own_style()
def draw_accuracy(rows: pd.DataFrame, axis: str = "length", looks: Looks | None = None) -> Figure:
    """Draw dev, test and exact accuracy against length, or what else was swept, a row of Axes for each panel.

    Args:
        rows: of a study, or some of them.
        axis: the column that is drawn against.
        looks: of the labels of the whole study; None if ``rows`` has them all.
    """
    parts, looks = list(panels(rows)), looks or looks_of(rows)
    dev = ", ".join(filter(None, [counted(rows, "dev", " rows"), "chose the weights"]))
    test = counted(rows, "test", " rows")
    accuracies = {
        "dev_accuracy": named(f"dev ({dev})"),
        "test_accuracy": named(f"test ({test})" if test else "test"),
        "exact_accuracy": named("exact"),
    }
    numbers = rows[axis].dropna().tolist()
    figure, axes = curves.new_figure(len(parts), len(accuracies))
    for place, (title, panel) in enumerate(parts):
        line = axes[place]
        for ax, (score, name) in zip(line, accuracies.items(), strict=True):
            chance = float(panel["chance_accuracy"].iloc[0])
            curves.accuracy_against(panel, score, ax, chance, looks, axis, numbers)
            ax.label_outer()
            if place == 0:
                entitled(ax, name)
        line[0].set_ylabel(fitted(f"{in_two_lines(title)}\n{tr('accuracy')}", PANEL_HEIGHT, 9), fontsize=9)
    curves.finish(figure)
    return figure


def in_words(panel: str) -> str:
    """Write the name of a panel in the language that is used."""
    study, colon, trained_on = panel.partition(": ")
    return f"{study}{colon}{named(trained_on)}"


def in_two_lines(panel: str) -> str:
    """Write the name of a panel in two lines: the study, and what was trained on."""
    return in_words(panel).replace(": ", "\n")


@own_style()
def draw_overview(rows: pd.DataFrame) -> Figure:
    """Draw the exact accuracy of every label at every length as a table, an Axes for each panel."""
    parts = list(panels(rows))
    height = 0.9 + 0.32 * rows["label"].nunique() + 0.9 / len(parts)  # the last for the title
    figure, axes = curves.new_figure(len(parts), 1, width=3.2 + 0.75 * rows["length"].nunique(), height=height)
    for ax, (title, panel) in zip(axes.flat, parts, strict=True):
        curves.accuracy_table(panel, "exact_accuracy", ax)
        entitled(ax, in_words(title))
        ax.label_outer()
    curves.finish(figure, tr("Exact accuracy in percent:\nmean over seeds ± half its 95 % interval"))
    return figure


@own_style()
def draw_bits(rows: pd.DataFrame, axis: str = "length") -> Figure:
    """Draw retained bits against length, or what else was swept, an Axes for each panel."""
    parts, looks = list(panels(rows)), looks_of(rows)
    figure, axes = curves.new_figure(1, len(parts), width=4.6, height=3.8, share_x=False)
    for ax, (title, panel) in zip(axes.flat, parts, strict=True):
        bits = float(panel["target_entropy_bits"].iloc[0])
        digits = int(panel["task.digits"].iloc[0]) if "task.digits" in panel else 2
        curves.bits_against(panel, ax, bits, bits - math.log2(10), looks, axis, digits)
        entitled(ax, in_words(title))
    curves.finish(figure)
    return figure


@own_style()
def draw_loss(runs: pd.DataFrame, histories: Histories, title: str) -> Figure:
    """Draw the loss curves of one label's runs, an Axes for each length."""
    runs, note = some_of(runs.drop_duplicates("run").sort_values("length"))
    columns = min(3, len(runs))
    figure, axes = curves.new_figure(math.ceil(len(runs) / columns), columns)
    for ax, run in zip(axes.flat, runs.to_dict("records"), strict=False):
        history = histories[run["study"], run["run"]]
        curves.loss_curves(history[history["name"] == "loss"], ax)
        ax.set_title(tr(f"length {run['length']}"), fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel(tr("cross-entropy (nats)"))
    for ax in axes[-1]:
        ax.set_xlabel(tr("updates"))
    curves.hide_rest(axes, len(runs))
    mean = tr(f"mean over {len(set(history['seed']))} seeds, 95 % interval, and each seed")
    curves.finish(figure, f"{title}\n{mean}{note}")
    return figure


@own_style()
def draw_updates_until(rows: pd.DataFrame, histories: Histories, criterion: float) -> Figure:
    """Draw which share of seeds had reached a dev accuracy by which update, an Axes for each length, a row a panel."""
    parts, lengths = list(panels(rows)), sorted(rows["length"].unique())
    figure, axes = curves.new_figure(len(parts), len(lengths), width=2.5, height=2.9)
    until, looks = int(rows["updates"].max()), looks_of(rows)
    for line, (title, panel) in zip(axes, parts, strict=True):
        for ax, length in zip(line, lengths, strict=True):
            runs = panel[panel["length"] == length].drop_duplicates("run")
            times = [
                statistics.updates_until(histories[run["study"], run["run"]], criterion).assign(label=run["label"])
                for run in runs.to_dict("records")
            ]
            if times:
                curves.share_that_got_there(pd.concat(times), ax, until, looks)
            ax.set_title(tr(f"length {length}"), fontsize=10)
            ax.set_xlabel(tr("updates"))
            ax.label_outer()
        line[0].set_ylabel(fitted(f"{in_two_lines(title)}\n{tr('share of seeds')}", PANEL_HEIGHT, 8), fontsize=8)
    curves.finish(figure, tr(f"Share of seeds whose dev accuracy has reached {curves.percent(criterion)}"))
    return figure


@own_style()
def draw_reporting(rows: pd.DataFrame, histories: Histories) -> Figure:
    """Draw what the published way of reporting makes of the same runs, an Axes for each label of each panel.

    The published code appends the test score to the dev history and reports the maximum of that.
    """
    rows, axis = against(rows)
    parts = [(title, name, own) for title, panel in panels(rows) for name, own in panel.groupby("label", sort=False)]
    columns = min(4, len(parts))
    ways = {column: tr(way) for column, way in REPORTING.items()}
    figure, axes = curves.new_figure(math.ceil(len(parts) / columns), columns, width=4.2)
    for ax, (title, name, own) in zip(axes.flat, parts, strict=False):
        last = pd.concat(
            [
                last_dev_accuracy(histories[run["study"], run["run"]]).assign(run=run["run"])
                for run in own.drop_duplicates("run").to_dict("records")
            ]
        )
        table = own.merge(last, on=["run", "seed"])
        table["published"] = table[["dev_accuracy", "test_accuracy"]].max(axis=1)
        curves.reporting_against(table, ways, "exact_accuracy", ax, axis, rows[axis].dropna().tolist())
        entitled(ax, f"{labelled(str(name))}\n{in_words(title)}", 9)
        ax.set_ylabel(tr("above exact accuracy\n(percentage points)"))
        ax.label_outer()
    curves.hide_rest(axes, len(parts))
    truth = tr("How far each way of reporting lies above the truth: mean over seeds and 95 % interval")
    curves.finish(figure, truth)
    return figure


def last_dev_accuracy(history: pd.DataFrame) -> pd.DataFrame:
    """Return each seed's dev accuracy after its last update: columns ``seed``, ``last_dev``."""
    dev = history[(history["split"] == "dev") & (history["name"] == "accuracy")].sort_values("iteration")
    return pd.DataFrame({"last_dev": dev.groupby("seed")["value"].last()}).reset_index()


def compare_models(rows: pd.DataFrame, outputs: Path) -> pd.DataFrame:
    """Compare every two labels of each panel at each length: a row for each pair.

    Returns:
        Columns ``panel``, ``length``, ``one``, ``other``; ``test_difference`` with its hierarchical bootstrap interval
        over seeds and test rows; ``exact_difference``; ``improvement``, the probability that a seed of ``one`` has the
        better exact accuracy; ``p_holm``, Mann and Whitney's p for that, corrected for the number of rows of the table.
    """
    table = []
    for title, panel in panels(rows):
        for length, one, other, *sides in pairs(panel):
            exact = [side["exact_accuracy"].to_numpy(float) for side in sides]
            right, right_other = (read_right(outputs, side) for side in sides)
            difference, low, high = statistics.hierarchical_interval(right, right_other)
            improvement, p = statistics.compare(*exact)
            table.append(
                {
                    "panel": title, "length": length, "one": one, "other": other, "seeds": len(exact[0]),
                    "test_difference": difference, "low": low, "high": high,
                    "exact_difference": exact[0].mean() - exact[1].mean(), "improvement": improvement, "p": p,
                }
            )  # fmt: skip
    frame = pd.DataFrame(table)
    if len(frame):
        frame["p_holm"] = statistics.holm(frame.pop("p").tolist())
    return frame
