"""What the gates of a trained model do, on one sequence and on average: ``python -m memexp.gates``.

The run folder of a finished run -> its model -> `SequenceModel.trace` -> heatmaps and tables. Nothing is trained.
Axis letters as in `memexp.models.cells`.
"""

import hashlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from memexp.choosing import OneRun
from memexp.errors import MemexpError
from memexp.escaping import plain
from memexp.fields import ranged
from memexp.figures import averages as average_figures
from memexp.figures import units as unit_figures
from memexp.files import save, write, write_table
from memexp.fonts import speaking
from memexp.gates import averages, units
from memexp.models.networks import SequenceModel
from memexp.options import run_command
from memexp.progress import say
from memexp.sheets import about, as_arrays, look_at
from memexp.tasks.task import Task
from memexp.trained import MODULES, TrainedRun
from memexp.training import machine
from memexp.weights.outside import CALLED, WEIGHTS, OutsideRun, choose
from memexp.words import LANGUAGES, named, tr

MOST_UNITS = 6  # that are shown over a passage of the text


@dataclass
class Options(OneRun):
    """Show what the gates and states of a trained model do, for one sequence and averaged over all inputs.

    The sheet of the sequence comes first, and needs no data. The averages do, and so do the units of a character
    language model, which are held against its text.
    """

    weights: str | None = ranged(default=None, path=True, about=WEIGHTS)
    called: list[str] | None = ranged(default=None, about=CALLED)
    seed: int = ranged(0, default=0, about="which of the run's seeds")
    sequence: str = ranged(
        default="", about="what the model reads: digits, as 6700100000, or a text; nothing: an example of its task"
    )
    order: str = ranged(
        one_of=("units", "time"), default="units", about="hidden units as they are, or by when they act"
    )
    names: list[str] | None = ranged(default=None, about="which parts, as forget_gate,cell_state; null: all")
    averages: bool = ranged(default=True, about="also average over all inputs (some seconds more)")
    units: bool = ranged(default=True, about="of a text, also look for units that follow something in it")
    modules: list[str] = ranged(default=[], about=MODULES)
    datasets_dir: str = ranged(
        default="datasets", path=True, about="where the data for averages and units are, or are made"
    )
    lang: str = ranged(one_of=LANGUAGES, default="en", about="language of the figures: en, or zh (Chinese)")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the figures go")


def before_and_after_training(run: TrainedRun, seed: int) -> dict[str, SequenceModel]:
    """Return the model of one seed before and after training, by these names; of weights from outside only after."""
    if isinstance(run, OutsideRun):
        return {"after": run.of(seed)}
    return {"before": run.untrained(seed), "after": run.of(seed)}


def folder_name(labels: Sequence[object]) -> str:
    """Name the folder of a sequence after its tokens as they are written, as far as a file system likes them.

    A space becomes ``_``; with anything else that is replaced, or beyond 100 bytes, a hash of all is added.
    """
    whole = "".join(map(str, labels))
    name = re.sub(r"[^\w-]", "_", whole)
    if len(whole.encode()) <= 100 and not re.search(r"[^\w␣-]|_", whole):
        return name
    return f"{name[:80]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def show_sequence(run: TrainedRun, sequence: Tensor, options: Options, folder: Path) -> Path:
    """Write the trace of one sequence, [L] or [L, M], as arrays and heatmaps, into a folder of its own; return that."""
    sheet = look_at(run, sequence, options.seed, options.names or None, options.order == "time")
    say(f"{about(run, options.seed)}: {sheet.verdict}")
    own = folder / folder_name(sheet.labels)
    save(sheet.figure(), own / "sheet")
    say(f"written: {own}/sheet.png, .pdf")
    for name in sheet.trace:
        save(sheet.single(name), own / name)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**sheet.trace, "sequence": sequence.numpy(), "predictions": sheet.predictions}
    np.savez(buffer, **arrays)
    write(own / "trace.npz", buffer.getvalue())
    say(f"written: {own}/{', '.join(sheet.trace)} (.png, .pdf), trace.npz")
    return own


def show_averages(run: TrainedRun, task: Task, about: str, options: Options, folder: Path) -> None:
    """Write the averages over the whole input distribution, as tables and as a figure."""
    rows, reading = task.distribution(), run.reading
    models = before_and_after_training(run, options.seed)
    both = ", before and after training" if len(models) == 2 else ""
    say(f"averaging over {rows.source}{both} ...")
    means, saturation = averages.before_and_after(models, rows, options.names or None, reading)
    title = tr(f"{about}: average over {named(rows.source)}")
    if both:
        title = tr(f"{about}: average over {named(rows.source)}, before and after training")
    title += "\n" + tr("lines and bars: mean over units; bands: 80 % of the units; points and columns: single units")
    figure = average_figures.averages(means, saturation, title, reading.place, reading.singled_out, reading.kinds)
    save(figure, folder / "averages")
    write_table(folder / "averages.csv", means, "%.6g")
    write_table(folder / "saturation.csv", saturation, "%.6g")
    say(f"written: {folder}/averages.png, .pdf, averages.csv, saturation.csv")


def show_units(run: TrainedRun, task: Task, about: str, options: Options, folder: Path) -> None:
    """Write which units follow what in a text, before and after training, as a table and as figures."""
    tokens, features = task.running_text()
    if not len(tokens):
        return
    if len(tokens) < units.SHORTEST_TEXT:
        print(
            f"units: the test text is too short, it has {len(tokens)} characters; {units.SHORTEST_TEXT} are needed: "
            "train on a longer text, or with a larger task.held_out"
        )
        return
    traces = {
        training: as_arrays(model.trace(tokens[None, None], options.names or None))
        for training, model in before_and_after_training(run, options.seed).items()
    }
    table = averages.joined({training: units.follow(trace, features) for training, trace in traces.items()})
    if table.empty:
        print("units: the test text is the same everywhere, so there is nothing to follow")
        return
    best = units.best(table)
    say("\n".join(units.in_words(best)))
    title = [
        about,
        tr(f"which units follow what, over {len(tokens) - units.BURN_IN:,} characters that were held out"),
        tr("points: units, the best with its number if it is above chance and above all before training"),
        tr("chance: if no unit followed anything, some would be above it for some feature in 5 % of all texts"),
    ]
    save(unit_figures.units_by_feature(table, "\n".join(title)), folder / "units")
    write_table(folder / "units.csv", table, "%.6g")
    files = ["units.csv, units.png, .pdf"]
    shown = units.by_unit(best).head(MOST_UNITS)
    if len(shown):
        labels = run.reading.labels(tokens[units.BURN_IN :])
        start = _start_of_line(labels)
        of_units = zip(shown["part"], shown["unit"], strict=True)
        values = np.stack([traces["after"][part][units.BURN_IN :, unit] for part, unit in of_units], 1)
        title = [about, tr("units that follow something better than chance and than any before training")]
        names = [
            tr(f"unit {unit} of {part}: {follows}")
            for unit, part, follows in zip(shown["unit"], shown["part"], shown["follows"], strict=True)
        ]
        activity = units.standardise(values)[start:]
        figure = unit_figures.units_in_text(activity, names, labels[start:], "\n".join(title))
        save(figure, folder / "units_in_text")
        files.append("units_in_text.png, .pdf")
    say(f"written: {folder}/{', '.join(files)}")


def _start_of_line(labels: Sequence[str]) -> int:
    """Find where the first line begins in the first half of a text, or else the first word, or else the text."""
    half = list(labels[: len(labels) // 2])
    return next((half.index(mark) + 1 for mark in ("↵", "␣") if mark in half), 0)


def load_task(run: TrainedRun, hint: str = "") -> Task:
    """Return the task of a run with its data.

    Raises:
        MemexpError: they are not there, or are others than it was trained on; the remedy is named, and the ``hint``.
    """
    try:
        return run.task()
    except MemexpError as error:
        now, then = run.config.datasets_dir, run.summary["config"].get("datasets_dir")
        before = f"; the run had them in {then}" if then != now else ""
        where = f"they were looked for in {now}{before}; datasets_dir=FOLDER takes another"
        raise type(error)(f"{error} ({where}{hint})") from error


def show(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if the averages or the units had to be left out.

    Raises:
        MemexpError: in one line, what came, what is allowed and what to do.
    """
    with speaking(options.lang):
        return _show(options)


def _show(options: Options) -> int:
    machine.prepare()
    run = choose(options, "book")
    best = run.record_of(options.seed)["best_iteration"]
    given = options.sequence not in ("", "null")
    sequence = run.reading.read(options.sequence) if given else run.reading.example()
    # The data are read only where they are needed, and after the sheet: a sequence that is given needs none.
    task = load_task(run, "; a sequence= of your own needs none") if sequence is None else None
    if sequence is None:
        assert task is not None
        sequence = task.example()
    remark = run.reading.remark(sequence)
    if remark:
        print(plain(f"memexp.gates: warning: {remark}"), file=sys.stderr)
    if best is not None and best < 1:
        print(
            f"memexp.gates: warning: the best weights of seed {options.seed} are those before training; "
            "before and after are the same",
            file=sys.stderr,
        )
    title = about(run, options.seed)
    folder = Path(options.images_dir) / run.study / "gates" / f"{run.name},seed={options.seed}"
    show_sequence(run, sequence, options, folder)
    has_text = run.kind.running_text is not Task.running_text and not isinstance(run, OutsideRun)
    more = [name for name, asked in (("averages", options.averages), ("units", options.units and has_text)) if asked]
    if more and task is None:
        try:
            task = load_task(run)
        except MemexpError as error:
            print(f"memexp.gates: {' and '.join(more)} left out: {error}", file=sys.stderr)
            return 1
    if task is not None and "averages" in more:
        show_averages(run, task, title, options, folder)
    if task is not None and "units" in more:
        show_units(run, task, title, options, folder)
    return 0


def main() -> None:
    """Run ``python -m memexp.gates``."""
    run_command("gates", Options, show)
