"""Run folders in one table: what the runs of a study came to, and which are missing."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memexp.errors import RecordError
from memexp.results import record
from memexp.results.identity import ENGINE, FIRST_ENGINE, NOT_COMPARED


@dataclass(frozen=True)
class Collected:
    """Run folders in one table, and what its columns are.

    Attributes:
        rows: a row for each run and seed: ``run`` (the folder's name), what the record says of the run, every setting
            by its dotted name, and the seed's scores.
        settings: the columns that are settings in which runs can differ.
        shown: the columns of the scores that tables show, in their order; true for a share, false for another number.
        floors: columns ``run``, ``metric``, ``name``, ``value``: what simple answers reach.
        panels: for each task the settings that have panels of their own in figures.
        missing: a line for each run that has no readable summary, with the reason where one is known.
    """

    rows: pd.DataFrame
    settings: list[str]
    shown: dict[str, bool]
    floors: pd.DataFrame
    panels: dict[str, tuple[str, ...]]
    missing: list[str]


def collect(folders: list[Path]) -> Collected:
    """Collect run folders into one table."""
    rows: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    settings: dict[str, None] = {}  # in the order of the configs
    shown: dict[str, bool] = {}
    panels: dict[str, tuple[str, ...]] = {}
    later: dict[str, dict[str, Any]] = {}  # task -> setting -> what it is in records that are older than it
    missing: list[str] = []
    for folder in folders:
        try:
            if not record.is_complete(folder):
                missing.append(f"{folder.name}: {record.read_failure(folder) or 'not finished'}")
                continue
            summary = record.read_summary(folder)
            if record.SEALED not in summary:
                record.say_unsealed(folder.parent)
            config = _settings_of(summary)
            own = rows_of(folder.name, summary)
            own_floors = [
                {"run": folder.name, "metric": metric, "name": name, "value": value}
                for metric, by_name in summary["floors"].items()
                for name, value in by_name.items()
            ]
            own_shown, own_panels = dict(summary["shown"]), tuple(summary.get("panels", ()))
        except RecordError as error:
            missing.append(f"{folder.name}: {str(error).removeprefix(f'{folder} ')}")
            continue
        rows += own
        panels[str(config.get("task.name"))] = own_panels
        later.setdefault(str(config.get("task.name")), {}).update(summary.get("later", {}))
        floors += own_floors
        settings |= dict.fromkeys(k for k in config if k not in NOT_COMPARED and not k.endswith("._target_"))
        shown |= own_shown
    for row in rows:
        for name, value in later[str(row.get("task.name"))].items():
            row.setdefault(name, value)
    table = pd.DataFrame(rows)
    for name in settings:  # null is a value, and not the same as a setting that a run does not have
        if any(name in row and row[name] is None for row in rows):
            table[name] = pd.Series([row.get(name, math.nan) for row in rows], dtype=object)
    if ENGINE in settings:
        table[ENGINE] = table[ENGINE].fillna(FIRST_ENGINE)
        if not _engines_are_compared(table, list(settings)):
            del settings[ENGINE]
    of_floors = pd.DataFrame(floors, columns=["run", "metric", "name", "value"])
    return Collected(table, list(settings), shown, of_floors, panels, missing)


def _settings_of(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.flatten(summary["config"]).items() if key != "seeds"}


def rows_of(name: str, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each seed of a run: what `Collected.rows` has.

    Args:
        name: of its folder, whatever the record calls itself: files are read by this name.
        summary: its record.
    """
    about = {key: value for key, value in summary.items() if not isinstance(value, dict | list)}
    about["hidden_sizes"] = "+".join(map(str, summary["hidden_sizes"]))
    said, run = {**about, **summary["about"], **_settings_of(summary)}, {"run": name}
    return [run | said | seed | run for seed in summary["seeds"]]


def _engines_are_compared(table: pd.DataFrame, settings: list[str]) -> bool:
    """Say whether runs differ in their engine alone; else it follows from what was run, as a cell or its width."""
    others = [table[name].astype(str) for name in settings if name != ENGINE]
    return bool((table.groupby(others, dropna=False)[ENGINE].nunique() > 1).any())
