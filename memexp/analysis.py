"""Records -> tables -> figures -> images/: ``python -m memexp.analysis``. Nothing is trained here, and no torch loaded.

Every figure of a study is drawn from its record alone: the run folders below ``outputs/<study>/``.
"""

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from memexp import figures, records, tables
from memexp.config import ranged
from memexp.errors import MemexpError, RecordError
from memexp.options import read_options
from memexp.studies import find_study, study_names

ACCURACIES = {
    "dev_accuracy": "dev (100 rows, chose the weights)",
    "test_accuracy": "test (100 rows)",
    "exact_accuracy": "exact",
}
MODEL_NAMES = {"srn": "SRN", "lstm": "LSTM"}
ORDER = list(MODEL_NAMES)  # the book's, in legends


@dataclass
class Options:
    """Draw the figures of studies and write their tables."""

    studies: list[str] | None = ranged(default=None, about="side by side, as [book,fresh]; null: each study alone")
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")
    images_dir: str = ranged(default="images", about="where the figures go")


def load_study(folder: Path) -> pd.DataFrame:
    """Collect a study's complete runs, with a ``label`` that names the model and what else differs.

    Raises:
        RecordError: no run is complete.
    """
    rows, missing = records.collect(records.run_folders(folder))
    for line in missing:
        print(f"missing: {folder.name}/{line}", file=sys.stderr)
    if rows.empty:
        raise RecordError(f"{folder} has no complete run; give the command that started it again to go on")
    settings = [name for name in tables.varied(rows) if name not in ("model.name", "length", "task.sampling")]
    rows["label"] = [label(row, settings) for _, row in rows.iterrows()]
    rows["study"] = folder.name
    return rows.sort_values("model.name", key=lambda names: names.map(ORDER.index), kind="stable")


def label(row: pd.Series, settings: list[str]) -> str:
    """Name a run in a legend: the model, and its values of the settings that vary."""
    name = str(row["model.name"])
    parts = [f"{setting.rpartition('.')[2].replace('_', ' ')} {row[setting]}" for setting in settings]
    return ", ".join([MODEL_NAMES.get(name, name), *parts])


def panels(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split rows into one panel for each study and way of sampling, with its title."""
    for (study, sampling), panel in rows.groupby(["study", "task.sampling"], sort=False):
        yield f"{study}: {'300 fixed training rows' if sampling == 'fixed' else 'new rows at every update'}", panel


def draw_accuracy(rows: pd.DataFrame) -> Figure:
    """Draw dev, test and exact accuracy against length, a row of Axes for each panel."""
    parts = list(panels(rows))
    figure, axes = figures.new_figure(len(parts), len(ACCURACIES))
    for place, (title, panel) in enumerate(parts):
        line = axes[place]
        for ax, (score, name) in zip(line, ACCURACIES.items(), strict=True):
            figures.accuracy_against_length(panel, score, ax, float(panel["chance_accuracy"].iloc[0]))
            ax.label_outer()
            if place == 0:
                ax.set_title(name, fontsize=10)
        line[0].set_ylabel(f"{title}\naccuracy")
    figures.finish(figure)
    return figure


def draw_bits(rows: pd.DataFrame) -> Figure:
    """Draw retained bits against length, an Axes for each panel."""
    parts = list(panels(rows))
    figure, axes = figures.new_figure(1, len(parts), width=4.6, height=3.8)
    for ax, (title, panel) in zip(axes.flat, parts, strict=True):
        bits = float(panel["target_entropy_bits"].iloc[0])
        figures.bits_against_length(panel, ax, bits, bits - math.log2(10))
        ax.set_title(title, fontsize=10)
    figures.finish(figure)
    return figure


def draw_loss(folder: Path, runs: pd.DataFrame, title: str) -> Figure:
    """Draw the loss curves of one label's runs, an Axes for each length."""
    runs = runs.drop_duplicates("run").sort_values("length")
    columns = min(3, len(runs))
    figure, axes = figures.new_figure(math.ceil(len(runs) / columns), columns)
    for ax, run in zip(axes.flat, runs.to_dict("records"), strict=False):
        history = pd.read_csv(folder / run["run"] / records.HISTORY)
        figures.loss_curves(history[history["name"] == "loss"], ax)
        ax.set_title(f"length {run['length']}", fontsize=10)
    for ax in axes.flat[len(runs) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("cross-entropy (nats)")
    for ax in axes[-1]:
        ax.set_xlabel("updates")
    figures.finish(figure, f"{title}, {len(set(history['seed']))} seeds: mean and 95 % interval")
    return figure


def slug(*words: str) -> str:
    """Join words into a file's name."""
    return "_".join(re.sub(r"[^\w.+=]+", "-", word.lower()) for word in words)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as PNG and as PDF.

    Raises:
        RecordError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path.with_suffix(".png"), dpi=150)
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})  # the same figure, the same file
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; set images_dir to a writable folder") from error
    print(f"written: {path}.png, .pdf")


def analyse(studies: list[Path], images: Path) -> None:
    """Write all tables and figures of studies; several studies share their figures.

    Raises:
        MemexpError: see `load_study` and `save`.
    """
    rows = pd.concat([load_study(folder) for folder in studies], ignore_index=True)
    target = images / "+".join(folder.name for folder in studies)
    save(draw_accuracy(rows), target / "accuracy")
    save(draw_bits(rows), target / "retained_bits")
    for title, panel in panels(rows):
        folder = next(folder for folder in studies if folder.name == panel["study"].iloc[0])
        for name, runs in panel.groupby("label", sort=False):
            words = [str(name), *panel["study"].unique()[len(studies) == 1 :], *panel["task.sampling"].unique()]
            save(draw_loss(folder, runs, f"{name}, {title}"), target / slug("loss", *words))
    records.write_text(target / "seeds.csv", rows.to_csv(index=False, lineterminator="\n"))
    table = tables.results(rows)
    records.write_text(target / "results.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    records.write_text(target / "results.md", tables.markdown(table))
    print(f"written: {target}/seeds.csv, results.csv, results.md")


def main() -> None:
    """Run ``python -m memexp.analysis``."""
    try:
        options = read_options(Options, sys.argv[1:], "python -m memexp.analysis")
        outputs, images = Path(options.outputs_dir), Path(options.images_dir)
        names = options.studies or study_names(outputs) or ["book"]
        folders = [find_study(outputs, name) for name in names]
        for group in [folders] if options.studies else [[folder] for folder in folders]:
            analyse(group, images)
    except MemexpError as error:
        sys.exit(f"memexp.analysis: {error}")


if __name__ == "__main__":
    main()
