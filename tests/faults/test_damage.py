"""Every kind of file that memexp writes, cut off at every length and with single bits flipped, then read."""

import logging
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import readers
from faults.damage import Reader, cut_off, flipped, try_all
from faults.readers import DIGITS, TEXT
from faults.tally import Row

from memexp.results import record

ALL = {name: getattr(readers, name) for name in ("collected", "analysed", "weights", "explored", "verified")}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log silent: a reader warns as often as it is tried."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records")
    readers.write_records(root)
    return root


def everyone(study: str, overrides: tuple[str, ...], *first: str) -> dict[str, Reader]:
    """Return all readers of a finished run, some of them first."""
    found = {name: make(study) for name, make in ALL.items()}
    found |= {"again": readers.again(study, overrides), "sheet": readers.sheet(study), "curves": readers.history(study)}
    found["last"] = readers.weights(study, "last")
    found |= {name: readers.checkpoint(study, name) for name in (record.BEST, record.LAST)}
    if study == "text":
        found["written"] = readers.written(study)
    return {name: found[name] for name in (*first, *(name for name in found if name not in first))}


def goes_on(study: str, overrides: tuple[str, ...]) -> dict[str, Reader]:
    """Return those who read the checkpoint of a run that goes on."""
    return {"checkpoint": readers.checkpoint(study, record.LAST), "resumed": readers.resumed(study, overrides)}


#: Kind -> which file, and who reads it: the first reads each damaged one, the others some.
FILES: dict[str, tuple[str, dict[str, Reader]]] = {
    "summary.json": ("digits/run/summary.json", everyone("digits", DIGITS, "collected")),
    "config.json": ("digits/run/config.json", everyone("digits", DIGITS, "again")),
    "history.csv": ("digits/run/history.csv", everyone("digits", DIGITS, "curves")),
    "history.csv.xz": ("digits/run/history.csv.xz", everyone("digits", DIGITS, "curves")),
    "best.pt": ("digits/run/best.pt", everyone("digits", DIGITS, record.BEST)),
    "last.pt": ("digits/run/last.pt", everyone("digits", DIGITS, record.LAST)),
    "written.txt": ("text/run/written.txt", everyone("text", TEXT, "verified")),
    "of-text": ("text/run/last.pt", everyone("text", TEXT, record.LAST)),
    "begun-last.pt": ("digits begun/run/last.pt", goes_on("digits begun", DIGITS)),
    "begun-history.csv": ("digits begun/run/history.csv", {"resumed": readers.resumed("digits begun", DIGITS)}),
    "begun-config.json": ("digits begun/run/config.json", {"resumed": readers.resumed("digits begun", DIGITS)}),
    "begun-written.txt": ("text begun/run/written.txt", {"finished": readers.finished("text begun", TEXT)}),
    "begun-of-text": ("text begun/run/last.pt", goes_on("text begun", TEXT)),
    "data": (
        "datasets/4/train.txt",
        {"again": readers.again("digits", DIGITS), "resumed": readers.resumed("digits begun", DIGITS)},
    ),
    "floors": (
        "datasets/floors/*.json",
        {"floors": readers.floors},
    ),
    "progress": ("digits begun/run/progress", {"share": readers.progress_noted("digits begun")}),
    "failure.txt": ("digits begun/run/failure.txt", {"reason": readers.why_failed("digits begun")}),
    "results.csv": ("digits/results.csv", {"table": readers.rows_written("digits")}),
    "figures": ("images/.analysis", {"redrawn": lambda root: readers.redrawn(root / "images")}),
}


#: Files that are made anew each time, or read with much else, which takes its time: of so many damages one is tried.
SLOW = {"floors": 20, "figures": 20, "results.csv": 20, "begun-written.txt": 2, "begun-history.csv": 2, "data": 2}


@pytest.mark.parametrize("kind", FILES)
def test_damage_is_seen(kind: str, row: Row, records: Path):
    pattern, using = FILES[kind]
    made = records / pattern
    if kind == "history.csv.xz":
        plain = made.with_suffix("")
        made.write_bytes(lzma.compress(plain.read_bytes()))
        plain.unlink()
    elif kind == "failure.txt":
        made.write_text("the loss was not finite\n", encoding="utf-8")
    elif kind == "results.csv":
        readers.rows_written("digits")(records)
    elif kind == "figures":
        made.parent.mkdir()
        (made.parent / "mine.csv").write_text("not memexp's\n")
        readers.redrawn(made.parent)
    try:
        (file,) = records.glob(pattern)
        with row(f"{kind}-cut") as tally:
            try_all(tally, records, file, using, cut_off, SLOW.get(kind, 1))
        with row(f"{kind}-flip") as tally:
            try_all(tally, records, file, using, flipped, SLOW.get(kind, 1))
    finally:
        if kind == "history.csv.xz":
            plain.write_bytes(lzma.decompress(made.read_bytes()))
            made.unlink()
