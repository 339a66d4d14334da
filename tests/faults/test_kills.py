"""kill -9 at each file operation of a command, and the same command again."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from faults.again import DIGITS, LOST, SWEEP, TEXT, goes_on, undisturbed
from faults.commands import Server
from faults.injector import KILL
from faults.tally import Row, Tally

ALL = 12


def kill_everywhere(
    server: Server,
    tally: Tally,
    folder: Path,
    arguments: Sequence[str],
    only: str = "",
    begin: Path | None = None,
    every: int = 1,
) -> None:
    """Kill a command at each operation on a path that fits ``only``, in its middle if it has one, and give it again.

    Args:
        server: that runs the commands.
        tally: to note how each ended.
        folder: for all of them.
        arguments: the command.
        only: a pattern; every one fits nothing.
        begin: a folder to begin with, if not with an empty one.
        every: but for the first and the last `ALL`, one operation of so many.
    """
    first = shutil.copytree(begin, folder / "whole") if begin else folder / "whole"
    whole, operations = undisturbed(server, first, arguments)
    met = [at for at, (kind, path) in enumerate(operations) if kind not in LOST and re.search(only, path)]
    for number, at in enumerate(met):
        if ALL <= number < len(met) - ALL and number % every:
            continue
        operation, path = operations[at]
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
    """Of the many files that it draws, each in the same three steps, at every fifth one."""
    runs, _ = undisturbed(server, tmp_path / "runs", SWEEP)
    shutil.rmtree(runs / "images")
    with row("sweep-kill") as tally:
        kill_everywhere(server, tally, tmp_path, SWEEP, only="^images|results", begin=runs, every=5)
        assert tally.counts.total() > 30
