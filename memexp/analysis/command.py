"""Records -> tables -> figures -> images/: ``python -m memexp.analysis``. Nothing is trained here, and no torch loaded.

Every figure of a study is drawn from its record alone: the run folders below ``outputs/<study>/``.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memexp.analysis import common
from memexp.errors import Complaints, ConfigError
from memexp.fields import ranged
from memexp.files import save, write, write_table
from memexp.options import run_command
from memexp.results import tables
from memexp.results.study import Study, find_study, join, load_study, read_histories, study_names

CRITERION = 0.95


@dataclass
class Options:
    """Draw the figures of studies and write their tables."""

    study: list[str] | None = ranged(
        default=None, about="the folder below outputs_dir, or several side by side, as book,fresh; null: each alone"
    )
    criterion: float = ranged(0, default=CRITERION, about="dev accuracy whose first time is drawn in updates_until")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the figures go")


def drawn_by(task: str) -> Any:
    """Return the module that draws a task's figures: of its name beside this one, or else what every task has."""
    name = f"{__package__}.{task}"
    there = task.isidentifier() and importlib.util.find_spec(name) is not None
    module = importlib.import_module(name) if there else common
    return module if hasattr(module, "drawings") else common


def analyse(
    names: list[str], outputs: Path, images: Path, complaints: Complaints, criterion: float = CRITERION
) -> Iterator[str]:
    """Write all tables and figures of studies; several studies share their figures.

    Where runs of several tasks are among them, which have no scores in common, each task has a folder of its own.

    Yields:
        What was written, in a line, as soon as it is.

    Raises:
        MemexpError: see `memexp.results.study` and `memexp.files.write`.
    """
    if len(set(names)) < len(names):
        raise ConfigError(f"study={','.join(names)}: each study may be named once")
    study = join([load_study(find_study(outputs, name), complaints) for name in names])
    target = images / "+".join(names)
    tasks = list(dict.fromkeys(study.rows["task.name"]))
    for task in tasks:
        own = study.of_task(task)
        yield from _analyse_task(
            task, own, outputs, target if len(tasks) == 1 else target / task, complaints, criterion
        )


def _analyse_task(
    task: str, study: Study, outputs: Path, target: Path, complaints: Complaints, criterion: float
) -> Iterator[str]:
    """Write the tables and figures of the runs of one task into a folder."""
    module = drawn_by(task)
    write_table(target / "seeds.csv", study.rows)
    table = tables.results(study.rows, study.settings, study.shown)
    write_table(target / "results.csv", table, tables.four_digits)
    write(target / "results.md", tables.markdown(table, study.shown).encode())
    compared = module.comparison(study, outputs)
    if compared is not None:
        write_table(target / "comparison.csv", compared, "%.4g")
    yield f"{target}/seeds.csv, results.csv, results.md{'' if compared is None else ', comparison.csv'}"

    histories = read_histories(study.rows, outputs, complaints)
    runs = zip(study.rows["study"], study.rows["run"], strict=True)
    known = study.rows[[run in histories for run in runs]]
    for name, draw in module.drawings(study, known, histories, criterion).items():
        figure = draw()
        if figure is not None:
            save(figure, target / name)
            yield f"{target / name}.png, .pdf"


def analyse_all(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out."""
    outputs, images, complaints = Path(options.outputs_dir), Path(options.images_dir), Complaints()
    names = options.study or study_names(outputs) or ["book"]
    for group in [names] if options.study else [[name] for name in names]:
        for line in analyse(group, outputs, images, complaints, options.criterion):
            print(f"written: {line}")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.analysis``."""
    run_command("analysis", Options, analyse_all)
