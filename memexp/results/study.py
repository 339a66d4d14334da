"""Studies: the folders below ``outputs/``, by name; what is in one, with a label for every line of a legend."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memexp.errors import Complaints, ConfigError, RecordError, nearest
from memexp.results import record, tables
from memexp.results.collect import collect
from memexp.results.history import read_history

Histories = Mapping[tuple[str, str], pd.DataFrame]
"""(study, run) -> history."""

ORDER = ("srn", "residual_srn", "lstm", "gru", "mingru", "minlstm")  # in legends, the chapter's; others come after it
OFF = ("none", "zero", "first")  # values of settings that need no name
ADDS = ("model.forget_bias",)  # settings of which 0 needs no name either
SPEAKS = ("model.variant", "model.initialiser", "clip_by", "optimizer", "task.sampling")  # values that need no key
NEEDS = {"clip_by": "clip"}  # setting -> the one without which it does nothing
NO_AMOUNTS = ("task.data_seed",)  # numbers of which one more or less means nothing


@dataclass(frozen=True)
class Study:
    """The complete runs of one study or of several: `memexp.results.collect.Collected`, with labels.

    Attributes:
        rows: as there, with the ``study``, a ``label`` that names the model and what else differs, the ``axis`` that
            scores are drawn against, see `swept`, and the ``line``, the label without that setting.
        settings: as there.
        shown: as there.
        floors: as there, with the ``study``.
    """

    rows: pd.DataFrame
    settings: list[str]
    shown: dict[str, bool]
    floors: pd.DataFrame

    def only(self, rows: pd.DataFrame) -> "Study":
        """Return the same with some of the rows."""
        return replace(self, rows=rows)

    def of_task(self, task: str) -> "Study":
        """Return the runs of one task, with the settings and scores that these have."""
        if self.rows["task.name"].nunique() == 1:
            return self  # all columns are its own, those too that are empty because all seeds have stopped
        rows = self.rows[self.rows["task.name"] == task]
        of_all = [name for name in self.settings if not name.startswith("task.")] + ["best_iteration", "diverged_at"]
        rows = rows.drop(columns=[name for name in rows.columns if name not in of_all and rows[name].isna().all()])
        settings = [name for name in self.settings if name in rows]
        shown = {column: share for column, share in self.shown.items() if column in rows}
        return replace(self, rows=rows, settings=settings, shown=shown)

    def floors_of_score(self, column: str) -> dict[str, float]:
        """Return what simple answers reach of a score, ``<split>_<metric>``, by name, where it is so in all runs."""
        of_metric = [metric for metric in self.floors["metric"].unique() if column.endswith(f"_{metric}")]
        if not of_metric:
            return {}
        runs = self.rows[["study", "run"]].drop_duplicates()
        own = self.floors[self.floors["metric"] == max(of_metric, key=len)].merge(runs, on=["study", "run"])
        by_name = own.groupby("name", sort=False)["value"]
        same = (by_name.nunique() == 1) & (by_name.count() == len(runs))
        return {str(name): float(value) for name, value in by_name.first()[same].items()}

    def floors_of(self, study: str, run: str, metric: str) -> dict[str, float]:
        """Return what simple answers reach of a metric in one run's task, by name."""
        own = self.floors[
            (self.floors["study"] == study) & (self.floors["run"] == run) & (self.floors["metric"] == metric)
        ]
        return dict(zip(own["name"], own["value"], strict=True))


def find_study(outputs: Path, name: str) -> Path:
    """Return the folder of a study.

    Raises:
        ConfigError: there is none of that name; the nearest one is suggested.
    """
    there = study_names(outputs)
    if name not in there:
        known = (
            f"; there are: {', '.join(there)}"
            if there
            else f"; {outputs} has no study yet: run python -m memexp -m first"
        )
        raise ConfigError(f"study {name!r} does not exist{nearest(name, there)}{known}")
    return outputs / name


def study_names(outputs: Path) -> list[str]:
    """List the studies that have a run."""
    return sorted({path.parent.parent.name for path in outputs.glob(f"*/*/{record.CONFIG}")})


def study_or_usual(outputs: Path, given: str | None, usual: str) -> str:
    """Return the name of the study that is meant: the one given, or else the only one there is, or else the usual."""
    there = [] if given else study_names(outputs)
    return given or (there[0] if len(there) == 1 else usual)


def load_study(folder: Path, complaints: Complaints) -> Study:
    """Collect a study's complete runs, with labels.

    Raises:
        RecordError: no run is complete.
    """
    found = collect(record.run_folders(folder))
    for line in found.missing:
        complaints.add(f"missing: {folder.name}/{line}")
    if found.rows.empty:
        raise RecordError(f"{folder} has no complete run; give the command that started it again to go on")
    tasks = []
    for task, own in found.rows.groupby("task.name", sort=False):
        named = label_settings(own, found.settings, ("model.name", "length", *found.panels[str(task)]))
        tasks.append(labelled(in_order(own, named), named))
    rows = once(pd.concat(tasks).assign(study=folder.name), found.settings)
    return Study(rows, found.settings, found.shown, found.floors.assign(study=folder.name))


def labelled(rows: pd.DataFrame, named: list[str]) -> pd.DataFrame:
    """Give the rows of one task their ``label``, ``axis`` and ``line``, see `Study`.

    Args:
        rows: of the task.
        named: the settings that labels name.
    """
    models = rows.groupby("title")["model.name"].transform("nunique")
    rows = rows.assign(title=rows["title"].where(models == 1, rows["title"] + " (" + rows["model.name"] + ")"))
    axis = swept(rows, named)
    others = [name for name in named if name != axis]
    labels, lines = ([label(row, names) for _, row in rows.iterrows()] for names in (named, others))
    return rows.assign(label=labels, axis=axis, line=lines)


def swept(rows: pd.DataFrame, named: Sequence[str]) -> str:
    """Choose what the scores of one task are drawn against: length, or where that is always the same another number.

    Of several the one with the most values. No number is a setting that is null in some runs of a model.
    """
    found = {"length": 1}
    for name in named if rows["length"].nunique() == 1 else ():
        numbers = {model: [_number(value) for value in own] for model, own in rows.groupby("model.name")[name]}
        amounts = [{*values} for values in numbers.values() if not any(value is None for value in values)]
        whole = all(all(value is None for value in own) or None not in own for own in numbers.values())
        if name not in NO_AMOUNTS and whole and any(len(own) > 1 for own in amounts):
            found[name] = len(set[float | None]().union(*amounts))
    return max(found, key=lambda name: found[name])


def _number(value: object) -> float | None:
    """Return a setting that is a number; None for any other."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer) or np.isnan(value):
        return None
    return float(value)


def against(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return rows as figures of scores draw them, labelled by their ``line``, and the column that is the axis."""
    axes = rows["axis"].unique()
    return (rows.assign(label=rows["line"]), str(axes[0])) if len(axes) == 1 else (rows, "length")


def in_order(rows: pd.DataFrame, named: Sequence[str]) -> pd.DataFrame:
    """Sort the rows of one task as legends list them: by model, the plain one first, numbers by size; then by length.

    Args:
        rows: of the task.
        named: the settings that labels name.
    """

    def place(row: pd.Series) -> tuple[object, ...]:
        own = [_rank(row[name], name) for name in named]
        return _place(row["model.name"]), row["model.name"], *own, row["length"]

    places = {index: place(row) for index, row in rows.iterrows()}
    return rows.loc[sorted(rows.index, key=places.__getitem__)]


def _rank(value: Any, setting: str) -> tuple[int, float, str]:
    """Place a value among those of its setting: what needs no name, then numbers, then words."""
    number = _number(value)
    if value in OFF or pd.isna(value) is True or (number == 0 and setting in ADDS):
        return 0, 0.0, ""
    if isinstance(value, bool | np.bool_):
        return 1, float(value), ""
    return (2, 0.0, str(value)) if number is None else (1, number, "")


def join(studies: Sequence[Study]) -> Study:
    """Put studies below each other."""
    return Study(
        pd.concat([study.rows for study in studies], ignore_index=True),
        list(dict.fromkeys(name for study in studies for name in study.settings)),
        {column: share for study in studies for column, share in study.shown.items()},
        pd.concat([study.floors for study in studies], ignore_index=True),
    )


def once(rows: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Keep each seed of each setting once: that of the run with more seeds, where runs differ in these alone."""
    same = [*tables.varied(rows, settings), "seed"]
    larger_first = np.argsort(-rows.groupby("run")["seed"].transform("size").to_numpy(), kind="stable")
    kept = np.empty(len(rows), dtype=bool)
    kept[larger_first] = ~rows.iloc[larger_first][same].astype(str).duplicated()
    return rows[kept]


def _place(model: str) -> int:
    return ORDER.index(model) if model in ORDER else len(ORDER)


def label_settings(rows: pd.DataFrame, settings: Sequence[str], but: Sequence[str]) -> list[str]:
    """Name the settings in which rows of one task differ, but for some."""
    return [name for name in tables.varied(rows, settings) if name not in but]


def label(row: pd.Series, settings: list[str]) -> str:
    """Name a run in a legend: the model, and its values of the settings that vary, unless off (or adding 0)."""
    parts = [str(row["title"])]
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


def pairs(rows: pd.DataFrame) -> Iterator[tuple[int, str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield every two labels at each length that have two seeds or more: length, both labels, the rows of both.

    Seeds whose loss was not finite are left out; of a single seed there is nothing to say.
    """
    for length, own in rows[rows["diverged_at"].isna()].groupby("length"):
        sides = {str(name): side for name, side in own.groupby("label", sort=False) if len(side) > 1}
        for one, other in itertools.combinations(sides, 2):
            yield int(str(length)), one, other, sides[one], sides[other]


def read_histories(rows: pd.DataFrame, outputs: Path, complaints: Complaints) -> Histories:
    """Read the histories of the runs of `load_study`; one that is missing or damaged is complained of and left out."""
    histories = {}
    for study, run in dict.fromkeys(zip(rows["study"], rows["run"], strict=True)):
        try:
            histories[study, run] = read_history(outputs / study / run)
        except RecordError as error:
            complaints.add(f"left out of the curves: {error}")
    return histories


def read_right(outputs: Path, rows: pd.DataFrame) -> np.ndarray:
    """Return which test rows each seed gets right, [S, N], 0 or 1, from the summaries."""
    runs = dict.fromkeys(zip(rows["study"], rows["run"], strict=True))
    by_run = {(study, run): record.read_summary(outputs / study / run)["test_right"] for study, run in runs}
    marks = [by_run[row.study, row.run][str(row.seed)] for row in rows[["study", "run", "seed"]].itertuples()]
    return np.array([[int(mark) for mark in own] for own in marks])
