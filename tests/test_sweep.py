from collections.abc import Sequence
from pathlib import Path

import pytest
from test_records import make_run, seed_row

from memexp import sweep
from memexp.errors import MemexpError
from memexp.results import record
from memexp.sweep import Job, Outcome


def job(folder: Path, length: int, **options: object) -> Job:
    return Job([f"length={length}"], f"length={length}", folder / f"length={length},model=lstm", length, **options)


class Launcher:
    """Does what the outcomes say: a run with no error leaves its record."""

    def __init__(self, study: Path, errors: dict[int, str] | None = None) -> None:
        self.study, self.errors, self.order = study, errors or {}, []

    def __call__(self, batch: list[list[str]]) -> Sequence[Outcome]:
        outcomes = []
        for (override,) in batch:
            length = int(override.removeprefix("length="))
            self.order.append(length)
            if length not in self.errors:
                make_run(self.study, length)
            outcomes.append(Outcome(self.errors.get(length, "")))
        return outcomes


def test_the_longest_are_started_first_and_the_complete_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_run(tmp_path, 20)
    launcher = Launcher(tmp_path)
    jobs = [job(tmp_path, 5), job(tmp_path, 20, complete=True), job(tmp_path, 10)]
    assert sweep.run(jobs, launcher) == 0
    assert launcher.order == [10, 5]
    shown = capsys.readouterr().out
    assert "skipped, complete already: length=20" in shown
    assert "2 of 3 runs to do" in shown
    assert (tmp_path / "results.csv").exists()


def test_failures_are_listed_by_name_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jobs = [job(tmp_path, 5), job(tmp_path, 10), job(tmp_path, 2, error="length=2 is too small")]
    assert sweep.run(jobs, Launcher(tmp_path, {10: "the disk is full"})) == 1
    shown = capsys.readouterr().out
    assert "1 of 3 cannot be run" in shown
    assert "  length=2: length=2 is too small" in shown
    assert "2 of 3 runs are not complete:" in shown
    assert "  length=10: the disk is full" in shown


def test_a_worker_that_dies_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        raise RuntimeError("terminated\nunexpectedly")

    assert sweep.run([job(tmp_path, 5)], launch) == 1
    shown = capsys.readouterr().out
    assert "the runs were ended by RuntimeError: terminated" in shown
    assert "length=5: not finished" in shown


def test_interrupted_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        raise KeyboardInterrupt

    assert sweep.run([job(tmp_path, 5)], launch) == 130
    assert "interrupted; 1 of 1 runs are left: the same command goes on" in capsys.readouterr().out


def test_an_old_failure_is_not_reported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "length=5,model=lstm"
    folder.mkdir()
    (folder / record.FAILURE).write_text("long ago")

    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        assert not (folder / record.FAILURE).exists()
        raise MemexpError("cannot submit")

    assert sweep.run([job(tmp_path, 5)], launch) == 1
    assert "long ago" not in capsys.readouterr().out


def test_seeds_that_stopped_are_shown_in_the_table_and_fail_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        make_run(tmp_path, 5, seeds=[seed_row(0), seed_row(3, None, diverged_at=12)])
        return [Outcome()]

    assert sweep.run([job(tmp_path, 5)], launch) == 1
    shown = capsys.readouterr().out
    assert sweep.run([job(tmp_path, 5, complete=True)], launch) == 1  # skipped, it is what it was
    assert "the loss of seeds [3] was not finite" in capsys.readouterr().out
    assert "the loss of seeds [3] was not finite (the other seeds are complete)" in shown
    assert " lstm      5" in shown
