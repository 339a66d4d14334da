"""Complete runs beside a run, in the same study, that differ from it in one setting alone: what they have is reused."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memexp.errors import RecordError
from memexp.results import record

NEEDED = (record.CONFIG, record.SUMMARY, record.HISTORY, record.BEST, record.LAST)  # of a run that is reused
MADE_BY = ("memexp", "torch", "device_used")  # in a summary: runs that differ in these may differ in the last bit


def differing_in(key: str, folder: Path, identity: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and summary of every complete run of the study that differs from a run in one setting at most.

    Args:
        key: the setting.
        folder: the run's folder; its neighbours are looked at whose names differ in nothing but that setting.
        identity: the run's.
    """
    name = without(key, folder.name)
    for other in sorted(path for path in folder.parent.iterdir() if without(key, path.name) == name):
        if other == folder or not all((other / file).exists() for file in NEEDED):
            continue
        try:
            there = record.read_json(other / record.CONFIG)
            summary = record.read_summary(other)
        except RecordError:
            continue  # not this run's affair; whoever reads the study says so
        if {**there, key: None} == {**identity, key: None}:
            yield other, summary


def without(key: str, name: str) -> str:
    """Return the name of a run's folder without a setting that may be in it."""
    return re.sub(rf"(^|,){key}=(\[[^\]]*\]|[^,]*)", "", name).removeprefix(",")
