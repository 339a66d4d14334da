"""Which run is meant: a command's options, or a model and a length of a study -> the run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from memexp import registered
from memexp.errors import ConfigError, RecordError, some
from memexp.fields import ranged
from memexp.results import record
from memexp.results.collect import collect
from memexp.results.study import find_study, once, study_or_usual
from memexp.tasks.task import Task

COLUMNS = {"model": "model.name", "length": "length"}
#: Which run is meant where several are there: that of the book's figure 6.13.
USUAL: dict[str, str | int | None] = {"model": "lstm", "length": 10}


@dataclass
class OneRun:
    """The options of a command that is about one run."""

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: the only one there, or book")
    model: str | None = ranged(default=None, about="which of the study's runs: its model; null: lstm, or the only run")
    length: int | None = ranged(1, default=None, about="and its length; null: 10, or the only run")
    run: str | None = ranged(default=None, path=True, about="a run folder, instead of study, model and length")


class Chosen(Protocol):
    """The options by which a command chooses a run."""

    run: str | None
    study: str | None
    model: str | None
    outputs_dir: str


def choose(options: Chosen, length: int | None, usual_study: str, **others: Any) -> Path:
    """Return the run folder that options name: as ``run``, or else as a study's run, see `study_or_usual`, `find_run`.

    Raises:
        ConfigError: there is no such study.
        RecordError: there is no such run, or more than one.
    """
    if options.run is not None:
        return Path(options.run)
    outputs = Path(options.outputs_dir)
    study = find_study(outputs, study_or_usual(outputs, options.study, usual_study))
    return find_run(study, options.model, length, **others)


def _why_not(target: Any, accept: Callable[[type[Task]], bool], modules: Sequence[str]) -> str | None:
    """Say why runs of a task do not count: nothing where it is another kind of task, None where they do."""
    try:
        node = DictConfig({registered.TARGET: target, "name": str(target)})
        return None if accept(registered.kind_of(node, "task", modules)) else ""
    except (ConfigError, TypeError) as error:
        return str(error)


def find_run(
    study: Path,
    model: str | None,
    length: int | None,
    usual: Mapping[str, str | int | None] = USUAL,
    accept: Callable[[type[Task]], bool] | None = None,
    what: str = "run",
    modules: Sequence[str] = (),
) -> Path:
    """Return the run folder of a study with this model and this length.

    Args:
        study: the study's folder.
        model: the model's name, or None.
        length: the length, or None.
        usual: what is meant by None, if several runs are left and one of them has it.
        accept: says of the class of a task whether its runs count; None for all.
        what: what one is called, for the error.
        modules: of the user's own, whose classes ``accept`` may see; see `memexp.registered`.

    Raises:
        RecordError: there is none, or more than one.
    """
    found = collect(record.run_folders(study))
    rows = found.rows if found.rows.empty else once(found.rows, found.settings).drop_duplicates("run")
    refused: dict[str, str] = {}
    if len(rows) and accept is not None:
        reasons = [_why_not(run.get("task._target_"), accept, modules) for run in rows.to_dict("records")]
        refused = {run: reason for run, reason in zip(rows["run"], reasons, strict=True) if reason}
        rows = rows[[reason is None for reason in reasons]]
    there, said = [] if rows.empty else list(rows["run"]), []
    given: dict[str, str | int | None] = {"model": model, "length": length}
    for key, value in given.items():
        if value is not None:
            rows = rows if rows.empty else rows[rows[COLUMNS[key]] == value]
            said.append(f"{key}={value}")
    for key, value in usual.items():
        if given[key] is None and len(rows) > 1 and (rows[COLUMNS[key]] == value).any():
            rows = rows[rows[COLUMNS[key]] == value]
            said.append(f"{key}={value}")
    with_them = f" with {' '.join(said)}" if said else ""
    if len(rows) > 1:
        names = some(study / str(run) for run in rows["run"])
        found_some = f"{len(rows)} finished {what.replace('run', 'runs', 1)}{with_them}"
        raise RecordError(f"{study} has {found_some}; give one as run=...: {names}")
    if rows.empty:
        unfinished = f"; without a record: {some(found.missing)}" if found.missing else ""
        unfinished += f"; left out: {some(f'{run}: {reason}' for run, reason in refused.items())}" if refused else ""
        raise RecordError(f"{study} has no finished {what}{with_them}; finished: {some(there) or 'none'}{unfinished}")
    return study / str(rows["run"].iloc[0])
