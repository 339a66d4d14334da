"""Signals, at several moments, to a run and to a sweep with workers; and two sweeps at once."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from faults.again import goes_on, undisturbed
from faults.commands import Ended, Server
from faults.processes import end_of, started, wait_until
from faults.tally import LINE, RIGHT, TRACEBACK, WRONG, Row, Tally

LONG = ("model=srn", "seeds=2", "epochs=60", "checkpoint_seconds=0.2", "images_dir=null")
RUN = ("length=4", *LONG)
STUDY = ("-m", "length=4,5", *LONG)
SWEEP = (*STUDY, "hydra.launcher.n_jobs=2")
WAYS = {"run": RUN, "sweep": SWEEP}
ALONE = {"run": RUN, "sweep": (*STUDY, "hydra/launcher=basic")}  # the same, in one process

#: Seconds after the start; None: while it trains, after the first checkpoint.
MOMENTS = (0.3, 1.0, 2.5, None)


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Do both commands without a fault; return their folders."""
    folder = tmp_path_factory.mktemp("whole")
    return {way: undisturbed(server, folder / way, arguments)[0] for way, arguments in ALONE.items()}


def reach(moment: float | None, folder: Path, process: object) -> None:
    """Wait for a moment of a command."""
    if moment is None:
        wait_until(lambda: any(folder.glob("outputs/*/*/last.pt")), process)  # type: ignore[arg-type]
    else:
        time.sleep(moment)


def same_again(server: Server, tally: Tally, whole: Path, folder: Path, way: str, what: str, outcome: str) -> None:
    """Give the command again, once the workers of a sweep have seen that they are alone."""
    for _ in range(40):
        if "is being written by" not in server.run(folder, ALONE[way]).said:
            break
        time.sleep(0.5)
    for note in folder.glob("outputs/*/.sweep-*"):  # of the command with workers, which is not the same to the letter
        note.unlink()
    goes_on(server, tally, whole, folder, ALONE[way], what, outcome)


def note_end(tally: Tally, ended: Ended, codes: Sequence[int], what: str) -> bool:
    """Note what was wrong with the end of a command; say whether nothing was."""
    if ended.has_traceback:
        tally.note(TRACEBACK, f"{what}: exit code {ended.code}: {ended.said[-400:]}")
    elif ended.code not in codes:
        tally.note(WRONG, f"{what}: exit code {ended.code}, not {codes}: {ended.said[-400:]}")
    else:
        return True
    return False


#: What is sent -> the row, and the exit codes that a user expects.
SENT = {
    signal.SIGINT: ("SIGINT", (130,)),
    signal.SIGTERM: ("SIGTERM", (-signal.SIGTERM, 143)),
    signal.SIGHUP: ("SIGHUP", (-signal.SIGHUP, 129)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.name)
def test_a_signal(sent: signal.Signals, way: str, server: Server, row: Row, whole: dict[str, Path], tmp_path: Path):
    name, codes = SENT[sent]
    moments = MOMENTS if sent == signal.SIGINT else MOMENTS[1::2]
    with row(f"{way}-{name}") as tally:
        for moment in moments:
            what, folder = f"{name} to a {way} at {moment or 'a checkpoint'}", tmp_path / str(moment)
            with started(folder, WAYS[way]) as process:
                reach(moment, folder, process)
                process.send_signal(sent)
                ended = end_of(process)
                if note_end(tally, ended, codes, what):
                    outcome = LINE if "interrupted" in ended.said else RIGHT
                    same_again(server, tally, whole[way], folder, way, what, outcome)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_and_continued(way: str, server: Server, row: Row, whole: dict[str, Path], tmp_path: Path):
    """As by Ctrl-Z and fg: the whole group of processes."""
    with row(f"{way}-SIGSTOP") as tally:
        for moment in MOMENTS[1::2]:
            what, folder = f"SIGSTOP to a {way} at {moment or 'a checkpoint'}", tmp_path / str(moment)
            with started(folder, WAYS[way]) as process:
                reach(moment, folder, process)
                for sent in (signal.SIGSTOP, signal.SIGCONT):
                    os.killpg(process.pid, sent)
                    time.sleep(1)
                if note_end(tally, end_of(process), (0,), what):
                    same_again(server, tally, whole[way], folder, way, what, RIGHT)


def children(process: int) -> list[int]:
    """List the processes that a process has started."""
    return [int(pid) for of in Path(f"/proc/{process}/task").glob("*/children") for pid in of.read_text().split()]


def kill_a_worker(process: int) -> None:
    """kill -9 the worker that uses most memory."""
    sizes = {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children(process)}
    os.kill(max(sizes, key=sizes.__getitem__), signal.SIGKILL)


def kill_the_sweep(process: int) -> None:
    """kill -9 the process that waits for the workers."""
    os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
@pytest.mark.parametrize(
    ("row_name", "kill", "codes"), [("worker-kill", kill_a_worker, (1,)), ("sweep-workers-kill", kill_the_sweep, (-9,))]
)
def test_killed_while_workers_train(
    row_name: str, kill: Callable[[int], None], codes: tuple[int, ...],
    server: Server, row: Row, whole: dict[str, Path], tmp_path: Path,
):  # fmt: skip
    with row(row_name) as tally, started(tmp_path, SWEEP) as process:
        reach(None, tmp_path, process)
        kill(process.pid)
        if note_end(tally, end_of(process), codes, row_name):
            same_again(server, tally, whole["sweep"], tmp_path, "sweep", row_name, LINE if codes == (1,) else RIGHT)


def test_two_sweeps_at_once(server: Server, row: Row, whole: dict[str, Path], tmp_path: Path):
    """Each trains what the other does not, or says who is at it."""
    with row("two-sweeps") as tally, started(tmp_path, SWEEP) as one, started(tmp_path, SWEEP) as other:
        for what, ended in (("the first", end_of(one)), ("the second", end_of(other))):
            if not note_end(tally, ended, (0, 1), what):
                continue
            if ended.code == 1 and "is being written by" not in ended.out:
                tally.note(WRONG, f"{what}: {ended.said[-400:]}")
            else:
                outcome = LINE if ended.code else RIGHT
                same_again(server, tally, whole["sweep"], tmp_path, "sweep", f"{what} of two", outcome)
