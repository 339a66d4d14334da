"""An error of the operating system at each file operation of a command: one line, and the same command goes on."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from faults.again import DIGITS, SWEEP, TEXT, goes_on, undisturbed
from faults.commands import Ended, Server, differences
from faults.injector import ERRORS
from faults.tally import LINE, RIGHT, TRACEBACK, WRONG, Row, Tally


def meets(
    server: Server, tally: Tally, whole: Path, folder: Path, arguments: Sequence[str], fault: str, at: int, what: str
) -> None:
    """Let a command meet an error: it gets through all the same, or ends with a line; then it is given again."""
    ended = server.run(folder, tuple(arguments), fault, at)
    assert ended.hit, f"{what} was not met"
    said = f"{what}: exit code {ended.code}: {ended.said[-400:]}"
    if ended.has_traceback:
        tally.note(TRACEBACK, said)
    elif ended.is_refused_in_a_line or "; left out: " in ended.out:  # a figure without what could not be read
        goes_on(server, tally, whole, folder, arguments, what, LINE)
    elif is_through(ended, whole, folder):
        goes_on(server, tally, whole, folder, arguments, what, RIGHT)
    else:
        tally.note(WRONG, said)


def is_through(ended: Ended, whole: Path, folder: Path) -> bool:
    """Say whether a command met an error where it does not matter: what it could not remove may be left over."""
    lost = [line for line in differences(whole, folder) if not line.startswith("left over")]
    return ended.code == 0 and not lost


def each(operations: list[tuple[str, str]], *faults: str) -> Iterator[tuple[str, int, str]]:
    """Yield for each operation the errors that it can meet: of several faults one, by turns."""
    for at, (operation, path) in enumerate(operations):
        fitting = [fault for fault in faults if operation in ERRORS[fault][0]]
        if fitting:
            fault = fitting[at % len(fitting)]
            yield fault, at, f"{fault} at {operation} {path}"


@pytest.mark.parametrize(("row_name", "faults"), [("run-full", ("ENOSPC",)), ("run-error", ("EIO", "EROFS", "EACCES"))])
def test_a_run_meets_errors(row_name: str, faults: tuple[str, ...], server: Server, row: Row, tmp_path: Path):
    whole, operations = undisturbed(server, tmp_path / "whole", DIGITS)
    with row(row_name) as tally:
        for fault, at, what in each(operations, *faults):
            if len(faults) > 1 and at % 2:  # all kinds of them are met all the same
                continue
            meets(server, tally, whole, tmp_path / "met", DIGITS, fault, at, what)
            shutil.rmtree(tmp_path / "met", ignore_errors=True)
        assert tally.counts.total() > 50


def test_a_run_on_a_text_meets_errors(server: Server, row: Row, tmp_path: Path):
    whole, operations = undisturbed(server, tmp_path / "whole", TEXT)
    with row("text-error") as tally:
        for fault, at, what in each(operations, "ENOSPC", "EIO", "EROFS"):
            if "written" in what or "floors" in what:
                meets(server, tally, whole, tmp_path / "met", TEXT, fault, at, what)
                shutil.rmtree(tmp_path / "met", ignore_errors=True)
        assert tally.counts.total() > 10


def test_a_sweep_meets_errors(server: Server, row: Row, tmp_path: Path):
    """In its first steps, and after its runs; of the many files that it draws, at every eleventh operation."""
    whole, operations = undisturbed(server, tmp_path / "whole", SWEEP)
    begins = next(at for at, (_, path) in enumerate(operations) if "results.csv" in path)
    with row("sweep-error") as tally:
        for fault, at, what in each(operations, "ENOSPC", "EIO", "EROFS", "EACCES"):
            if at < 12 or at - begins in range(12) or (at > begins and at % 11 == 0):
                meets(server, tally, whole, tmp_path / "met", SWEEP, fault, at, what)
                shutil.rmtree(tmp_path / "met", ignore_errors=True)
        assert tally.counts.total() > 25
