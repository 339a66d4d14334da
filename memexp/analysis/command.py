"""Records -> tables -> figures -> images/: ``python -m memexp.analysis``. Nothing is trained here, and no torch loaded.

Every figure of a study is drawn from its record alone: the run folders below ``outputs/<study>/``.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memexp import CONF_DIR
from memexp.analysis import common
from memexp.errors import Complaints, ConfigError, RecordError
from memexp.escaping import in_markdown
from memexp.fields import ranged
from memexp.files import Collection, as_name
from memexp.fonts import speaking
from memexp.options import run_command
from memexp.progress import say
from memexp.results import tables
from memexp.results.origin import origin
from memexp.results.study import Histories, Study, find_study, join, load_study, read_histories, study_names
from memexp.words import LANGUAGES, language_now, tr

CRITERION = 0.95


@dataclass
class Options:
    """Draw the figures of studies and write their tables."""

    study: list[str] | None = ranged(
        default=None, about="the folder below outputs_dir, or several side by side, as book,fresh; null: each alone"
    )
    criterion: float = ranged(0, default=CRITERION, about="dev accuracy whose first time is drawn in updates_until")
    lang: str = ranged(one_of=LANGUAGES, default="en", about="language of figures and results.md: en, or zh (Chinese)")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the figures go")


def drawn_by(task: str) -> Any:
    """Return the module that draws a task's figures: of its name beside this one, or else what every task has.

    The name comes from a record, so nothing is imported for it unless it is that of a task of memexp's own.
    """
    name = f"{__package__}.{task}"
    own = {path.stem for path in (CONF_DIR / "task").glob("*.yaml")}
    there = task in own and importlib.util.find_spec(name) is not None
    module = importlib.import_module(name) if there else common
    return module if hasattr(module, "drawings") else common


def _drawn(names: Sequence[str], images: Path) -> Collection:
    return Collection(images / "+".join(names), "analysis")


def _made_from(names: Sequence[str], outputs: Path, criterion: float) -> str:
    return origin([outputs / name for name in names], language_now(), criterion)


def is_analysed(names: Sequence[str], outputs: Path, images: Path, criterion: float = CRITERION) -> bool:
    """Say whether `analyse` would write nothing but what is there already, all of it, in the language of now."""
    return _drawn(names, images).is_finished(_made_from(names, outputs, criterion))


def analyse(
    names: list[str], outputs: Path, images: Path, complaints: Complaints, criterion: float = CRITERION
) -> Iterator[str]:
    """Write all tables and figures of studies; several studies share their figures.

    Where runs of several tasks are among them, which have no scores in common, each task has a folder of its own.
    What was written before and the records no longer make is removed, unless a history cannot be read.

    Yields:
        What was written or removed, in a line, as soon as it is.

    Raises:
        MemexpError: see `memexp.results.study` and `memexp.files.Collection`.
    """
    if len(set(names)) < len(names):
        raise ConfigError(f"study={','.join(names)}: each study may be named once")
    files, made_from = _drawn(names, images), _made_from(names, outputs, criterion)  # a run may end while this is drawn
    study = join([load_study(find_study(outputs, name), complaints) for name in names])
    histories = read_histories(study.rows, outputs, complaints)
    tasks = list(dict.fromkeys(study.rows["task.name"]))
    for task in tasks:
        within = f"{as_name(task)}/" if len(tasks) > 1 else ""
        for written in _analyse_task(task, study.of_task(task), histories, outputs, files, within, criterion):
            yield f"written: {files.folder / within}/{written}"
    if set(zip(study.rows["study"], study.rows["run"], strict=True)) <= histories.keys():
        for removed in files.finish(made_from):
            yield f"removed: {files.folder / removed}, which the records no longer make"


def drawings(
    names: Sequence[str], outputs: Path, complaints: Complaints, criterion: float = CRITERION
) -> common.Drawings:
    """Return what draws each figure that `analyse` would write of studies, by the figure's name.

    Raises:
        MemexpError: see `memexp.results.study`.
    """
    study = join([load_study(find_study(outputs, name), complaints) for name in names])
    histories = read_histories(study.rows, outputs, complaints)
    tasks = list(dict.fromkeys(study.rows["task.name"]))
    return {
        f"{as_name(task)}/{name}" if len(tasks) > 1 else name: draw
        for task in tasks
        for name, draw in _of_task(drawn_by(task), study.of_task(task), histories, criterion).items()
    }


def _of_task(module: Any, study: Study, histories: Histories, criterion: float) -> common.Drawings:
    runs = zip(study.rows["study"], study.rows["run"], strict=True)
    known = study.rows[[run in histories for run in runs]]
    found: common.Drawings = module.drawings(study, known, histories, criterion)
    return found


def _analyse_task(
    task: str, study: Study, histories: Histories, outputs: Path, files: Collection, within: str, criterion: float
) -> Iterator[str]:
    """Write the tables and figures of the runs of one task ``within`` a folder; yield the names of the files."""
    try:
        yield from _draw_task(drawn_by(task), study, histories, outputs, files, within, criterion)
    except KeyError as error:
        raise RecordError(f"the records of {task} lack {error}; leave those that memexp did not write out") from error


def _draw_task(
    module: Any, study: Study, histories: Histories, outputs: Path, files: Collection, within: str, criterion: float
) -> Iterator[str]:
    files.table(f"{within}seeds.csv", study.rows.drop(columns=["axis", "line"]))
    table = tables.results(study.rows, study.settings, study.shown)
    files.table(f"{within}results.csv", table, tables.four_digits)
    compared = module.comparison(study, outputs)
    if compared is not None:
        files.table(f"{within}comparison.csv", compared, "%.4g")
    meanings = getattr(module, "COMPARISON", {}) if compared is not None else {}
    files.write(f"{within}results.md", as_page(study, table, meanings).encode())
    yield f"seeds.csv, results.csv, results.md{'' if compared is None else ', comparison.csv'}"

    for name, draw in _of_task(module, study, histories, criterion).items():
        figure = draw()
        if figure is not None:
            files.figure(f"{within}{name}", figure)
            yield f"{name}.png, .pdf"


def as_page(study: Study, table: pd.DataFrame, meanings: Mapping[str, str]) -> str:
    """Write results.md: the table, how it is read, and what the other tables beside it are.

    Args:
        study: the runs of one task.
        table: of `memexp.results.tables.results`.
        meanings: column of comparison.csv -> what it is; empty where there is no such table.
    """
    parts = [
        f"# {in_markdown(' + '.join(dict.fromkeys(study.rows['study'])))}",
        tables.markdown(table, study.shown).strip(),
        tr("## How to read it"),
        tables.explained(study.rows, table, study.shown).strip(),
        tr("## The tables beside it"),
        tr("- `results.csv`: the same with more digits; *NAME_low* and *NAME_high* are the ends of *NAME*'s interval, "
           "and shares are from 0 to 1.")
        + "\n" + tr("- `seeds.csv`: a row for each run and seed, with all its settings and scores."),
    ]  # fmt: skip
    if meanings:
        columns = "\n".join(f"| {column} | {tr(meaning)} |" for column, meaning in meanings.items())
        parts[-1] += "\n" + tr("- `comparison.csv`: a row for every two models that can be compared. Its columns:")
        parts.append(f"| {tr('column')} | {tr('what it is')} |\n| --- | --- |\n{columns}")
    return "\n\n".join(parts) + "\n"


def analyse_all(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out."""
    outputs, images, complaints = Path(options.outputs_dir), Path(options.images_dir), Complaints()
    names = options.study or study_names(outputs) or ["book"]
    with speaking(options.lang):
        for group in [names] if options.study else [[name] for name in names]:
            for line in analyse(group, outputs, images, complaints, options.criterion):
                say(line)
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.analysis``."""
    run_command("analysis", Options, analyse_all)
