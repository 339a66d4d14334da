import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from helpers import config_of, make_run, reseal, seed_row, write_history
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from memexp import CONF_DIR, config, sweeps
from memexp.errors import MemexpError
from memexp.experiment import build_task, fingerprint
from memexp.files import shown
from memexp.results import record
from memexp.sweeps import Job, Outcome


def job(folder: Path, length: int, **options: object) -> Job:
    return Job(
        [f"length={length}"],
        f"length={length}",
        folder / f"length={length},model=lstm",
        length,
        **{"study": folder, **options},
    )


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
    assert sweeps.run(jobs, launcher) == 0
    assert launcher.order == [10, 5]
    shown = capsys.readouterr().out
    assert "skipped, complete already: length=20" in shown
    assert "2 of 3 runs to do" in shown
    assert (tmp_path / "results.csv").exists()


def test_a_folder_that_is_no_studys_gets_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As with ``hydra.run.dir=.``: the folder above may have a file of the user's of that name."""
    run = make_run(tmp_path / "mine", 5)
    (tmp_path / "mine" / "results.csv").write_text("of the user's own")
    sweeps.show_table([run], {tmp_path / "outputs" / "book"})
    assert (tmp_path / "mine" / "results.csv").read_text() == "of the user's own"
    assert f"no table of {shown(tmp_path / 'mine')} is kept" in capsys.readouterr().out


def test_the_table_of_a_study_has_each_seed_once(tmp_path: Path):
    for name, seeds in (("two", [seed_row(0), seed_row(1)]), ("three", [seed_row(0), seed_row(1), seed_row(2)])):
        make_run(tmp_path, 5, seeds=seeds).rename(tmp_path / name)
    table = pd.read_csv(sweeps.write_results(tmp_path))
    assert list(zip(table["run"], table["seed"], strict=True)) == [("three", 0), ("three", 1), ("three", 2)]


def test_records_that_cannot_be_read_are_named_and_a_table_without_any_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The disk may fail between a run and the table."""
    folder = make_run(tmp_path, 5)
    (folder / record.SUMMARY).write_text("{")
    assert not sweeps.show_table([folder], {tmp_path})
    assert f"{folder.name}: " in capsys.readouterr().out
    with pytest.raises(MemexpError, match="no complete run that can be read; no table was written"):
        sweeps.write_results(tmp_path)
    assert not (tmp_path / "results.csv").exists()


def test_each_task_of_a_study_has_a_table_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    study = tmp_path / "outputs" / "both"
    adding = {"_target_": "memexp.tasks.adding.Adding", "name": "adding", "sampling": "fresh"}
    score = {"seed": 0, "test_squared_error": 0.25, "diverged_at": None, "best_iteration": 1}
    folders = [
        make_run(study, 4),
        make_run(study, 50, task=adding, seeds=[score], shown={"test_squared_error": False}),
    ]
    assert sweeps.show_table(folders, {study.resolve()})
    digits, numbers = capsys.readouterr().out.strip().split("\n\n")[:2]
    assert digits.splitlines()[0] == "digit_sum:"
    assert numbers.splitlines()[0] == "adding:"
    assert "squared error" in numbers
    assert "squared error" not in digits
    assert "dev %" in digits
    assert "dev %" not in numbers
    assert "task.name" not in digits + numbers


def test_failures_are_listed_by_name_and_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jobs = [job(tmp_path, 5), job(tmp_path, 10), job(tmp_path, 2, error="length=2 is too small")]
    assert sweeps.run(jobs, Launcher(tmp_path, {10: "the disk is full"})) == 1
    shown = capsys.readouterr().out
    assert "1 of 3 cannot be run" in shown
    assert "  length=2: length=2 is too small" in shown
    assert "2 of 3 runs are not complete:" in shown
    assert "  length=10: the disk is full" in shown


def test_a_worker_that_dies_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        raise RuntimeError("terminated\nunexpectedly")

    assert sweeps.run([job(tmp_path, 5)], launch) == 1
    shown = capsys.readouterr().out
    assert "the runs were ended by RuntimeError: terminated" in shown
    assert "length=5: not finished" in shown


def test_interrupted_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        raise KeyboardInterrupt

    assert sweeps.run([job(tmp_path, 5)], launch) == 130
    assert "interrupted; 1 of 1 runs are left: the same command goes on" in capsys.readouterr().out


def test_an_old_failure_is_not_reported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "length=5,model=lstm"
    folder.mkdir()
    (folder / record.FAILURE).write_text("long ago")

    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        assert not (folder / record.FAILURE).exists()
        raise MemexpError("cannot submit")

    assert sweeps.run([job(tmp_path, 5)], launch) == 1
    assert "long ago" not in capsys.readouterr().out


def test_seeds_that_stopped_are_shown_in_the_table_and_fail_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def launch(batch: list[list[str]]) -> Sequence[Outcome]:
        make_run(tmp_path, 5, seeds=[seed_row(0), seed_row(3, None, diverged_at=12)])
        return [Outcome()]

    assert sweeps.run([job(tmp_path, 5)], launch) == 1
    shown = capsys.readouterr().out
    assert sweeps.run([job(tmp_path, 5, complete=True)], launch) == 1  # skipped, it is what it was
    assert "the loss of seeds [3] was not finite" in capsys.readouterr().out
    assert "the loss of seeds [3] was not finite (the other seeds are complete)" in shown
    assert " lstm      5" in shown


# --- the figures ---


def drawn(images: Path) -> dict[str, bytes]:
    return {path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*") if path.is_file()}


@pytest.fixture
def complete(tmp_path: Path) -> list[Job]:
    """A sweep that has nothing to do but to draw."""
    folder = make_run(tmp_path / "book", 4)
    write_history(folder, [(step, seed, "dev", "loss", 1 - step / 20) for step in (0, 9) for seed in (0, 1)])
    return [job(tmp_path / "book", 4, complete=True, images=tmp_path / "images")]


def nothing(batch: list[list[str]]) -> Sequence[Outcome]:
    pytest.fail("a complete run was started")


@pytest.mark.slow
def test_figures_are_drawn_again_when_one_is_missing_or_damaged_or_of_other_records(
    complete: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    images, line = tmp_path / "images" / "book", "figures and tables: "

    def draws(code: int = 0) -> bool:
        assert sweeps.run(complete, nothing) == code
        return line in capsys.readouterr().out

    assert draws()
    whole = drawn(images)
    assert {"accuracy.png", "accuracy.pdf", "results.md", ".analysis"} <= whole.keys()
    assert not draws()
    (images / "accuracy.png").unlink()
    assert draws()
    assert drawn(images) == whole
    (images / "accuracy.pdf").write_bytes(whole["accuracy.pdf"][:1000])
    assert draws()
    (images / ".analysis").write_bytes(b"".join(whole[".analysis"].splitlines(keepends=True)[:-1]))  # of before
    assert draws()
    assert drawn(images) == whole
    assert not draws()
    summary = complete[0].folder / record.SUMMARY
    summary.write_bytes(summary.read_bytes().replace(b"0.55", b"0.65"))
    reseal(summary.parent)
    assert draws()
    assert drawn(images).keys() == whole.keys()
    assert drawn(images)["results.csv"] != whole["results.csv"]
    assert not draws()
    (complete[0].folder / record.HISTORY).write_text("damaged")
    assert draws()
    assert draws()  # as long as something had to be left out


def killed_while_drawing(jobs: list[Job], done: int) -> None:
    """Draw in a process that is killed when one file more than ``done`` is written, but not in its place."""
    child, replace, replaced = os.fork(), os.replace, []
    if child:
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        return

    def count(old: str, new: str) -> None:
        if len(replaced) == done:
            os.kill(os.getpid(), signal.SIGKILL)
        replaced.append(new)
        replace(old, new)

    os.replace = count
    sweeps.run(jobs, nothing)
    os._exit(0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="what is killed is forked")
def test_what_a_sweep_killed_while_it_draws_leaves_is_completed_by_the_same_command(
    complete: list[Job], tmp_path: Path
):
    images, table = tmp_path / "images" / "book", tmp_path / "book" / "results.csv"
    assert sweeps.run(complete, nothing) == 0
    whole, rows = drawn(images), table.read_bytes()
    writes = 1 + 2 * len(whole) - 1  # the table; each file and the list before it; and the list at the end
    for done in (0, 1, 2, writes // 2, writes - 1):
        shutil.rmtree(images)
        table.unlink()
        killed_while_drawing(complete, done)
        assert sweeps.run(complete, nothing) == 0
        assert drawn(images) == whole
        assert table.read_bytes() == rows
        assert not list((tmp_path / "book").glob(".*"))


# --- the plan ---


def plan(folder: Path, *batch: Sequence[str]) -> list[Job]:
    """Plan runs in a folder, composed as in a sweep."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):

        def load(overrides: list[str]) -> DictConfig:
            return compose("config", list(overrides), return_hydra_config=True)

        places = [f"outputs_dir={folder}/outputs", f"datasets_dir={folder}/datasets"]
        return sweeps.plan([[*overrides, *places] for overrides in batch], load)


def test_a_plan_checks_each_config_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Checking is what takes the time where runs are many; a complete one is not checked twice either."""
    done = config_of("length=4", "model=srn", f"datasets_dir={tmp_path}/datasets")
    folder = tmp_path / "outputs/book/length=4,model=srn"
    folder.mkdir(parents=True)
    record.write_json(folder / record.CONFIG, config.identity(done, fingerprint(done, build_task(done))))
    (folder / record.SUMMARY).touch()
    checked: list[tuple[int, str]] = []

    def look(config: DictConfig) -> None:
        checked.append((config.length, config.model.name))

    monkeypatch.setattr(config, "RULES", (*config.RULES, look))
    batch = [(f"length={length}", f"model={model}") for length in (4, 5) for model in ("srn", "lstm")]
    jobs = plan(tmp_path, *batch, ("length=2",))
    assert checked == [(4, "srn"), (4, "lstm"), (5, "srn"), (5, "lstm"), (2, "lstm")]
    assert [job.error for job in jobs] == [""] * 4 + ["length=2 is too small; it must be at least 3"]
    assert [job.complete for job in jobs] == [True] + [False] * 4
    assert [(job.name, job.length) for job in jobs[:4]] == [(",".join(run), int(run[0][-1])) for run in batch]


def test_a_run_that_is_there_twice_is_planned_once_and_two_of_one_folder_are_refused(tmp_path: Path):
    first, error = plan(tmp_path, ("length=4",), ("length=4",), ("length=4", "device=cpu"))
    assert first.error == ""
    assert "length=4,model=lstm is another run's folder already; sweep this key with a study= of its own" in error.error


def test_what_is_in_the_way_of_a_run_is_named(tmp_path: Path):
    study = tmp_path / "outputs" / "book"
    study.mkdir(parents=True)
    (study / "length=4,model=lstm").touch()
    old = make_run(study, 5)
    written_by_an_older_version = {"length": 5, "task": {"_target_": "memexp.tasks.digit_sum.DigitSum"}, "model": {}}
    (old / record.CONFIG).write_text(json.dumps(written_by_an_older_version))
    make_run(study, 6)  # of other settings than the book's
    in_the_way, older, foreign = plan(tmp_path, ("length=4",), ("length=5",), ("length=6",))
    assert "length=4,model=lstm is a file where the run's folder should be; move it away" in in_the_way.error
    assert older.error.endswith(f"python -m memexp.migrate outputs_dir={study.parent} study=book")
    assert "length=6,model=lstm holds another run: " in foreign.error
    assert not any("\n" in job.error for job in (in_the_way, older, foreign))
