"""A fault at each file operation of a command: killed there, or an error of the operating system."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from faults.commands import Server, differences
from faults.injector import KILL, WITHOUT_TRACE
from faults.tally import RIGHT, TRACEBACK, WRONG, Row, Tally

SMALL = ("epochs=2", "seeds=2", "batch_size=300", "model.hidden_size=4", "checkpoint_seconds=0")
DIGITS = ("model=srn", "length=4", *SMALL)
TEXT = (
    "task=char_lm", "model=gru", "length=8", "epochs=2", "seeds=2", "batch_size=64", "model.hidden_size=4",
    "checkpoint_seconds=0", "task.max_chars=600", "task.prefixes=[the]", "task.pred_period=1", "task.pred_chars=5",
)  # fmt: skip
SWEEP = ("-m", "hydra/launcher=basic", *DIGITS)
LOST = WITHOUT_TRACE | {"chmod"}  # operations before which nothing has changed on the disk since the one before


def undisturbed(server: Server, folder: Path, arguments: Sequence[str]) -> tuple[Path, list[tuple[str, str]]]:
    """Do the command without a fault; return its folder and its operations."""
    ended = server.run(folder, tuple(arguments))
    assert ended.code == 0, ended.said
    assert len(ended.operations) > 50
    return folder, ended.operations


def goes_on(server: Server, tally: Tally, whole: Path, folder: Path, arguments: Sequence[str], what: str) -> None:
    """Give the command again: its results are those of the one that was not disturbed."""
    again = server.run(folder, tuple(arguments))
    if again.has_traceback:
        tally.note(TRACEBACK, f"{what}, then: {again.said[-300:]}")
    elif again.code != 0:
        tally.note(WRONG, f"{what}, then exit code {again.code}: {again.said[-300:]}")
    elif found := differences(whole, folder):
        tally.note(WRONG, f"{what}: {'; '.join(found[:3])}")
    else:
        tally.note(RIGHT)


def kill_everywhere(
    server: Server, tally: Tally, folder: Path, arguments: Sequence[str], only: str = "", begin: Path | None = None
) -> None:
    """Kill a command at each operation on a path that fits ``only``, in its middle if it has one, and give it again.

    Args:
        server: that runs the commands.
        tally: to note how each ended.
        folder: for all of them.
        arguments: the command.
        only: a pattern; every one fits nothing.
        begin: a folder to begin with, if not with an empty one.
    """
    first = shutil.copytree(begin, folder / "whole") if begin else folder / "whole"
    whole, operations = undisturbed(server, first, arguments)
    for at, (operation, path) in enumerate(operations):
        if operation in LOST or not re.search(only, path):
            continue
        killed = folder / "killed"
        if begin:
            shutil.copytree(begin, killed)
        ended = server.run(killed, tuple(arguments), KILL, at)
        assert ended.code == -9, f"{operation} {path}: {ended.said}"
        goes_on(server, tally, whole, killed, arguments, f"killed at {operation} {path}")
        shutil.rmtree(killed)


def test_killed_at_every_operation_of_a_run(server: Server, row: Row, tmp_path: Path):
    with row("run-kill") as tally:
        kill_everywhere(server, tally, tmp_path, DIGITS)
        assert tally.counts.total() > 50


def test_killed_at_every_operation_of_a_run_on_a_text(server: Server, row: Row, tmp_path: Path):
    with row("text-kill") as tally:
        kill_everywhere(server, tally, tmp_path, TEXT, only="written|floors|best")
        assert tally.counts.total() > 10


def test_killed_at_every_operation_after_the_runs_of_a_sweep(server: Server, row: Row, tmp_path: Path):
    runs, _ = undisturbed(server, tmp_path / "runs", SWEEP)
    shutil.rmtree(runs / "images")
    with row("sweep-kill") as tally:
        kill_everywhere(server, tally, tmp_path, SWEEP, only="^images|results", begin=runs)
        assert tally.counts.total() > 50
