"""Records -> tables -> figures -> images/: ``python -m memexp.analysis``. Nothing is trained here, and no torch loaded.

Every figure of a study is drawn from its record alone: the run folders below ``outputs/<study>/``.
"""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from memexp.config import ranged
from memexp.errors import Complaints, ConfigError, RecordError
from memexp.figures import curves
from memexp.files import write_atomically
from memexp.options import run_command
from memexp.results import record, statistics, tables
from memexp.results.study import find_study, study_names

ACCURACIES = {
    "dev_accuracy": "dev (100 rows, chose the weights)",
    "test_accuracy": "test (100 rows)",
    "exact_accuracy": "exact",
}
REPORTING = {
    "published": "as published: best of dev and test",
    "dev_accuracy": "dev, best evaluation",
    "last_dev": "dev, last update",
    "test_accuracy": "test",
}
MODEL_NAMES = {
    "srn": "SRN",
    "residual_srn": "residual SRN",
    "lstm": "LSTM",
    "gru": "GRU",
    "mingru": "minGRU",
    "minlstm": "minLSTM",
}
ORDER = list(MODEL_NAMES)  # the book's, in legends
OFF = ("none", "zero")  # values of settings that need no name
ADDS = ("model.forget_bias",)  # settings of which 0 needs no name either
SPEAKS = ("model.variant", "model.initialiser", "clip_by", "optimizer", "task.sampling")  # values that need no key
NEEDS = {"clip_by": "clip"}  # setting -> the one without which it does nothing
CRITERION = 0.95
EXPLODING_UPDATES, CLIPPED_UPDATES = 40, 100  # that are drawn of the gradients' norms, as in the book's 6.8 and 6.9

Histories = Mapping[tuple[str, str], pd.DataFrame]
"""(study, run) -> history."""


@dataclass
class Options:
    """Draw the figures of studies and write their tables."""

    studies: list[str] | None = ranged(default=None, about="side by side, as [book,fresh]; null: each study alone")
    criterion: float = ranged(0, default=CRITERION, about="dev accuracy whose first time is drawn in updates_until")
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")
    images_dir: str = ranged(default="images", about="where the figures go")


def load_study(folder: Path, complaints: Complaints) -> pd.DataFrame:
    """Collect a study's complete runs, with a ``label`` that names the model and what else differs.

    Raises:
        RecordError: no run is complete.
    """
    rows, missing = record.collect(record.run_folders(folder))
    for line in missing:
        complaints.add(f"missing: {folder.name}/{line}")
    if rows.empty:
        raise RecordError(f"{folder} has no complete run; give the command that started it again to go on")
    settings = [name for name in tables.varied(rows) if name not in ("model.name", "length", "task.sampling")]
    rows["label"] = [label(row, settings) for _, row in rows.iterrows()]
    rows["study"] = folder.name
    rows = once(rows)
    return rows.sort_values("model.name", key=lambda names: names.map(_place), kind="stable")


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep each seed of each setting once: two runs that differ only in their seeds may share some."""
    same = [*tables.varied(rows), "seed"]
    return rows[~rows[same].astype(str).duplicated()]


def _place(model: str) -> int:
    return ORDER.index(model) if model in ORDER else len(ORDER)


def label(row: pd.Series, settings: list[str]) -> str:
    """Name a run in a legend: the model, and its values of the settings that vary, unless off (or adding 0)."""
    name = str(row["model.name"])
    parts = [MODEL_NAMES.get(name, name)]
    for setting in settings:
        value, short = row[setting], setting.rpartition(".")[2].replace("_", " ")
        needs = NEEDS.get(setting)
        if value in OFF or pd.isna(value) is True or (needs and pd.isna(row[needs])):
            continue
        if isinstance(value, str):
            text = value.replace("_", " ")
            parts.append(text if setting in SPEAKS else f"{short} {text}")
        elif isinstance(value, bool | np.bool_):
            parts += [short] * bool(value)
        elif value or setting not in ADDS:
            parts.append(f"{short} {value:g}" if isinstance(value, float | int) else f"{short} {value}")
    return ", ".join(parts)


def panels(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split rows into one panel for each study and way of sampling, with its title."""
    for (study, sampling), panel in rows.groupby(["study", "task.sampling"], sort=False):
        yield f"{study}: {'300 fixed training rows' if sampling == 'fixed' else 'new rows at every update'}", panel


def draw_accuracy(rows: pd.DataFrame) -> Figure:
    """Draw dev, test and exact accuracy against length, a row of Axes for each panel."""
    parts, looks = list(panels(rows)), curves.style(list(dict.fromkeys(rows["label"])))
    figure, axes = curves.new_figure(len(parts), len(ACCURACIES))
    for place, (title, panel) in enumerate(parts):
        line = axes[place]
        for ax, (score, name) in zip(line, ACCURACIES.items(), strict=True):
            curves.accuracy_against_length(panel, score, ax, float(panel["chance_accuracy"].iloc[0]), looks)
            ax.label_outer()
            if place == 0:
                ax.set_title(name, fontsize=10)
        two_lines = title.replace(": ", "\n")
        line[0].set_ylabel(f"{two_lines}\naccuracy", fontsize=9)
    curves.finish(figure)
    return figure


def draw_overview(rows: pd.DataFrame) -> Figure:
    """Draw the exact accuracy of every label at every length as a table, an Axes for each panel."""
    parts = list(panels(rows))
    height = 0.9 + 0.32 * rows["label"].nunique() + 0.9 / len(parts)  # the last for the title
    figure, axes = curves.new_figure(len(parts), 1, width=3.2 + 0.75 * rows["length"].nunique(), height=height)
    for ax, (title, panel) in zip(axes.flat, parts, strict=True):
        curves.accuracy_table(panel, "exact_accuracy", ax)
        ax.set_title(title, fontsize=10)
        ax.label_outer()
    curves.finish(figure, "Exact accuracy in percent:\nmean over seeds ± half its 95 % interval")
    return figure


def draw_bits(rows: pd.DataFrame) -> Figure:
    """Draw retained bits against length, an Axes for each panel."""
    parts, looks = list(panels(rows)), curves.style(list(dict.fromkeys(rows["label"])))
    figure, axes = curves.new_figure(1, len(parts), width=4.6, height=3.8)
    for ax, (title, panel) in zip(axes.flat, parts, strict=True):
        bits = float(panel["target_entropy_bits"].iloc[0])
        curves.bits_against_length(panel, ax, bits, bits - math.log2(10), looks)
        ax.set_title(title, fontsize=10)
    curves.finish(figure)
    return figure


def draw_loss(runs: pd.DataFrame, histories: Histories, title: str) -> Figure:
    """Draw the loss curves of one label's runs, an Axes for each length."""
    runs = runs.drop_duplicates("run").sort_values("length")
    columns = min(3, len(runs))
    figure, axes = curves.new_figure(math.ceil(len(runs) / columns), columns)
    for ax, run in zip(axes.flat, runs.to_dict("records"), strict=False):
        history = histories[run["study"], run["run"]]
        curves.loss_curves(history[history["name"] == "loss"], ax)
        ax.set_title(f"length {run['length']}", fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("cross-entropy (nats)")
    for ax in axes[-1]:
        ax.set_xlabel("updates")
    curves.hide_rest(axes, len(runs))
    curves.finish(figure, f"{title}\nmean over {len(set(history['seed']))} seeds, 95 % interval, and each seed")
    return figure


def draw_gradients(rows: pd.DataFrame, histories: Histories, length: int) -> Figure | None:
    """Draw the gradients' norms at the first updates, before and after clipping; None where no run has noted them.

    A row of Axes for each label, a column for each parameter.
    """
    runs = rows[rows["length"] == length].drop_duplicates("run").sort_values("clip", na_position="first", kind="stable")
    noted = {run["label"]: read_gradients(histories[run["study"], run["run"]]) for run in runs.to_dict("records")}
    noted = {label: table for label, table in noted.items() if len(table)}
    if not noted:
        return None
    names = list(dict.fromkeys(name for table in noted.values() for name in table["parameter"]))
    figure, axes = curves.new_figure(len(noted), len(names), height=2.3, share_x=False)
    for ax, parameter in zip(axes[0], names, strict=True):
        ax.set_title(f"gradient of {parameter}", fontsize=10)
    for line, (name, table) in zip(axes, noted.items(), strict=True):
        clipped = (table["when"] == "after clipping").any()
        table = table[table["iteration"] <= (CLIPPED_UPDATES if clipped else EXPLODING_UPDATES)]
        for ax, parameter in zip(line, names, strict=True):
            own = table[table["parameter"] == parameter]
            if own.empty:  # a parameter that this cell does not have
                ax.set_visible(False)
            else:
                curves.gradient_norms(own, ax)
        line[0].set_ylabel(f"{name}{'' if clipped else ', not clipped'}\nL2 norm", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("updates")
    curves.finish(figure, f"length {length}: each seed, and their median")
    return figure


def read_gradients(history: pd.DataFrame) -> pd.DataFrame:
    """Pick the gradients' norms out of a history.

    Returns:
        Columns ``iteration``, ``seed``, ``value``, ``parameter``, and ``when``: "before clipping", or "after clipping"
        where that made a difference.
    """
    parts = history["name"].str.partition(".")
    when = parts[0].map({"gradient_norm": "before clipping", "clipped_gradient_norm": "after clipping"})
    table = history.assign(parameter=parts[2], when=when)[when.notna()]
    sums = table.groupby("when")["value"].sum()
    return table if sums.nunique() > 1 else table[table["when"] == "before clipping"]


def draw_language(rows: pd.DataFrame, histories: Histories) -> Figure:
    """Draw bits per character against updates of character language models, an Axes for each run, with the floors."""
    runs = rows.drop_duplicates("run").to_dict("records")
    columns = min(3, len(runs))
    figure, axes = curves.new_figure(math.ceil(len(runs) / columns), columns, width=4.4, height=3.5, share_x=False)
    for ax, run in zip(axes.flat, runs, strict=False):
        history = histories[run["study"], run["run"]]
        loss = history[history["name"] == "loss"]
        curves.loss_curves(loss.assign(value=loss["value"] / math.log(2)), ax)
        floors = {str(name).split("_")[1]: float(run[name]) for name in run if str(name).startswith("floor_")}
        curves.floors(floors, ax)
        bits = rows.loc[(rows["study"] == run["study"]) & (rows["run"] == run["run"]), "test_bits"].mean()
        ax.set_title(f"{run['label']}\n{run['study']}: {bits:.2f} bits on test", fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("bits per character")
    for ax in axes[-1]:
        ax.set_xlabel("updates")
    curves.hide_rest(axes, len(runs))
    curves.finish(figure, "Mean over seeds, 95 % interval, each seed;\ndashed: simple models on the test text")
    return figure


def draw_updates_until(rows: pd.DataFrame, histories: Histories, criterion: float) -> Figure:
    """Draw which share of seeds had reached a dev accuracy by which update, an Axes for each length, a row a panel."""
    parts, lengths = list(panels(rows)), sorted(rows["length"].unique())
    figure, axes = curves.new_figure(len(parts), len(lengths), width=2.5, height=2.9)
    until, looks = int(rows["updates"].max()), curves.style(list(dict.fromkeys(rows["label"])))
    for line, (title, panel) in zip(axes, parts, strict=True):
        for ax, length in zip(line, lengths, strict=True):
            runs = panel[panel["length"] == length].drop_duplicates("run")
            times = [
                statistics.updates_until(histories[run["study"], run["run"]], criterion).assign(label=run["label"])
                for run in runs.to_dict("records")
            ]
            if times:
                curves.share_that_got_there(pd.concat(times), ax, until, looks)
            ax.set_title(f"length {length}", fontsize=10)
            ax.set_xlabel("updates")
            ax.label_outer()
        two_lines = title.replace(": ", "\n")
        line[0].set_ylabel(f"{two_lines}\nshare of seeds", fontsize=8)
    curves.finish(figure, f"Share of seeds whose dev accuracy has reached {curves.percent(criterion)}")
    return figure


def draw_reporting(rows: pd.DataFrame, histories: Histories) -> Figure:
    """Draw what the published way of reporting makes of the same runs, an Axes for each label of each panel.

    The published code appends the test score to the dev history and reports the maximum of that.
    """
    parts = [(title, name, own) for title, panel in panels(rows) for name, own in panel.groupby("label", sort=False)]
    columns = min(4, len(parts))
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
        curves.reporting_against_length(table, REPORTING, "exact_accuracy", ax)
        ax.set_title(f"{name}\n{title}", fontsize=9)
        ax.set_ylabel("above exact accuracy\n(percentage points)")
        ax.label_outer()
    curves.hide_rest(axes, len(parts))
    curves.finish(figure, "How far each way of reporting lies above the truth: mean over seeds and 95 % interval")
    return figure


def last_dev_accuracy(history: pd.DataFrame) -> pd.DataFrame:
    """Return each seed's dev accuracy after its last update: columns ``seed``, ``last_dev``."""
    dev = history[(history["split"] == "dev") & (history["name"] == "accuracy")].sort_values("iteration")
    return pd.DataFrame({"last_dev": dev.groupby("seed")["value"].last()}).reset_index()


def read_histories(rows: pd.DataFrame, outputs: Path, complaints: Complaints) -> Histories:
    """Read the histories of the runs of `load_study`; one that is missing or damaged is complained of and left out."""
    histories = {}
    for study, run in dict.fromkeys(zip(rows["study"], rows["run"], strict=True)):
        try:
            histories[study, run] = record.read_history(outputs / study / run)
        except RecordError as error:
            complaints.add(f"left out of the curves: {error}")
    return histories


def compare_models(rows: pd.DataFrame, outputs: Path) -> pd.DataFrame:
    """Compare every two labels of each panel at each length: a row for each pair.

    Returns:
        Columns ``panel``, ``length``, ``one``, ``other``; ``test_difference`` with its hierarchical bootstrap interval
        over seeds and test rows; ``exact_difference``; ``improvement``, the probability that a seed of ``one`` has the
        better exact accuracy; ``p_holm``, Mann and Whitney's p for that, corrected for the number of rows of the table.
    """
    table = []
    for title, panel in panels(rows):
        for length, own in panel.groupby("length"):
            sides = {str(name): side[side["diverged_at"].isna()] for name, side in own.groupby("label", sort=False)}
            for one, other in itertools.combinations(sides, 2):
                right_one, right_other = read_right(outputs, sides[one]), read_right(outputs, sides[other])
                exact = [sides[name]["exact_accuracy"].to_numpy(float) for name in (one, other)]
                if min(map(len, exact)) < 2:
                    continue
                difference, low, high = statistics.hierarchical_interval(right_one, right_other)
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


def read_right(outputs: Path, rows: pd.DataFrame) -> np.ndarray:
    """Return which test rows each seed gets right, [S, N], 0 or 1, from the summaries."""
    right = []
    for row in rows.to_dict("records"):
        summary = record.read_json(outputs / row["study"] / row["run"] / record.SUMMARY)
        right.append([int(mark) for mark in summary["test_right"][str(row["seed"])]])
    return np.array(right)


def slug(*words: str) -> str:
    """Join words into a file's name."""
    return "_".join(re.sub(r"[^\w.+=-]+", "-", word.lower()) for word in words)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as PNG and as PDF, ``path`` with either suffix.

    Raises:
        RecordError: the folder cannot be written.
    """
    for suffix, settings in ((".png", {"dpi": 150}), (".pdf", {"metadata": {"CreationDate": None}})):
        content = io.BytesIO()
        figure.savefig(content, format=suffix[1:], **settings)
        write(path.with_name(path.name + suffix), content.getvalue())


def write(path: Path, content: bytes) -> None:
    """Write a file for the user.

    Raises:
        RecordError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; set images_dir to a writable folder") from error


def write_table(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a table as CSV.

    Raises:
        RecordError: it cannot be written.
    """
    write(path, table.to_csv(index=False, lineterminator="\n", float_format=float_format).encode())


def analyse(
    studies: list[str], outputs: Path, images: Path, complaints: Complaints, criterion: float = CRITERION
) -> Iterator[str]:
    """Write all tables and figures of studies; several studies share their figures.

    Yields:
        What was written, in a line, as soon as it is.

    Raises:
        MemexpError: see `find_study`, `load_study` and `write`.
    """
    if len(set(studies)) < len(studies):
        raise ConfigError(f"studies={studies}: each study may be named once")
    rows = pd.concat([load_study(find_study(outputs, name), complaints) for name in studies], ignore_index=True)
    if rows["task.name"].nunique() > 1:
        raise ConfigError(f"studies={studies}: these are of several tasks, which have no scores in common")
    target = images / "+".join(studies)
    write_table(target / "seeds.csv", rows)
    table = tables.results(rows)
    write_table(target / "results.csv", table, "%.4f")
    write(target / "results.md", tables.markdown(table).encode())
    language = rows["task.name"].iloc[0] == "char_lm"
    if not language:
        write_table(target / "comparison.csv", compare_models(rows, outputs), "%.4g")
    yield f"{target}/seeds.csv, results.csv, results.md{'' if language else ', comparison.csv'}"

    histories = read_histories(rows, outputs, complaints)
    known = rows[[run in histories for run in zip(rows["study"], rows["run"], strict=True)]]
    drawings: dict[str, Callable[[], Figure | None]] = {"bits": partial(draw_language, known, histories)}
    if not language:
        drawings = _digit_sum_drawings(rows, known, histories, criterion, alone=len(studies) == 1)
    for name, draw in drawings.items() if len(known) or not language else ():
        figure = draw()
        if figure is not None:
            save(figure, target / name)
            yield f"{target / name}.png, .pdf"


def _digit_sum_drawings(
    rows: pd.DataFrame, known: pd.DataFrame, histories: Histories, criterion: float, alone: bool
) -> dict[str, Callable[[], Figure | None]]:
    """Return what draws each figure of the digit-sum study, by the figure's name; ``known`` are rows with a history."""
    drawings: dict[str, Callable[[], Figure | None]] = {
        "accuracy": partial(draw_accuracy, rows),
        "overview": partial(draw_overview, rows),
        "retained_bits": partial(draw_bits, rows),
    }
    if len(known):
        drawings["updates_until"] = partial(draw_updates_until, known, histories, criterion)
        drawings["reporting"] = partial(draw_reporting, known, histories)
    for length in sorted(known["length"].unique()):
        parts = list(panels(known))
        for number, (_, panel) in enumerate(parts, 1):
            slot = f"gradients_{length}" if len(parts) == 1 else f"gradients_{length}_{number}"
            drawings[slot] = partial(draw_gradients, panel, histories, length)
    for title, panel in panels(known):
        for name, runs in panel.groupby("label", sort=False):
            words = [str(name), *panel["study"].unique()[alone:], *panel["task.sampling"].unique()]
            drawings[slug("loss", *words)] = partial(draw_loss, runs, histories, f"{name}, {title}")
    return drawings


def analyse_all(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out."""
    outputs, images, complaints = Path(options.outputs_dir), Path(options.images_dir), Complaints()
    names = options.studies or study_names(outputs) or ["book"]
    for group in [names] if options.studies else [[name] for name in names]:
        for line in analyse(group, outputs, images, complaints, options.criterion):
            print(f"written: {line}")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.analysis``."""
    run_command("analysis", Options, analyse_all)
