"""hydra/launcher=slurm, as far as it can be tested without a cluster."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException

from hydra_plugins.memexp_slurm import SlurmLauncher, queued, wait
from hydra_plugins.memexp_sweeper import _outcome
from memexp import CONF_DIR
from memexp.errors import MemexpError
from memexp.explain import explain
from memexp.sweep import Outcome


def memexp(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, where ``path`` is given with the programs of that folder only."""
    environment = {**os.environ, "PATH": str(path)} if path else dict(os.environ)
    return subprocess.run(
        [sys.executable, "-m", "memexp", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_the_extra_one_line_says_how_to_get_it():
    missing = MissingConfigException("Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable options...")
    assert str(explain(missing)) == "hydra/launcher=slurm needs the extra: pip install -e '.[slurm]'"


@pytest.mark.slow
def test_without_slurm_the_runs_are_reported_as_not_done(tmp_path: Path):
    arguments = ["-m", "hydra/launcher=slurm", "length=10", "epochs=1", "seeds=1"]
    done = memexp(tmp_path, *arguments, path=tmp_path)  # a PATH without srun
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "cannot submit the jobs: " in done.stdout
    assert "2 of 2 runs are not complete" in done.stdout


def test_the_config_has_our_launcher_over_the_plugins_keys():
    overrides = ["hydra/launcher=slurm", "hydra.launcher.partition=short", "study=s"]
    with initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3"):
        launcher = compose("config", overrides, return_hydra_config=True).hydra.launcher
    assert launcher._target_ == "hydra_plugins.memexp_slurm.SlurmLauncher"
    assert (launcher.partition, launcher.cpus_per_task, launcher.tasks_per_node) == ("short", 1, 1)
    assert {"account", "gpus_per_node", "gres", "comment"} <= set(launcher)


def test_the_settings_reach_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    srun = tmp_path / "srun"  # submitit looks whether there is one
    srun.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    overrides = ["hydra/launcher=slurm", "hydra.launcher.partition=short", f"outputs_dir={tmp_path}"]
    overrides += ["length=10", "model=srn", "hydra.launcher.setup=[module load python]"]
    with initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3"):
        settings = compose("config", overrides, return_hydra_config=True).hydra.launcher
        own = {key: settings[key] for key in settings if key != "_target_"}
        executor = SlurmLauncher(**own)._executor()._executor
    text = executor._make_submission_file_text("run", "id")
    for line in ("--partition=short", "--cpus-per-task=1", "--mem=2GB", "--time=60", "--job-name=memexp"):
        assert f"#SBATCH {line}\n" in text
    assert "\nmodule load python\n" in text
    assert executor.folder == tmp_path / "book" / ".submitit" / "%j"
    assert executor.max_num_timeout == settings.max_num_timeout


class Job:
    """Stands for one of submitit's jobs."""

    def __init__(self, job_id: str, folder: Path, result: JobReturn | Exception | None = None) -> None:
        self.job_id = job_id
        self.paths = SimpleNamespace(result_pickle=folder / f"{job_id}.pkl", stderr=folder / f"{job_id}.err")
        self._result = result
        if result is not None:
            self.paths.result_pickle.touch()

    def result(self) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def test_waiting_keeps_what_came_when_other_jobs_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = JobReturn(status=JobStatus.COMPLETED, _return_value=Outcome())
    jobs = [
        Job("7_0", tmp_path),
        Job("7_1", tmp_path, good),
        Job("7_2", tmp_path, RuntimeError("a traceback\nof many lines")),
    ]
    jobs[2].paths.stderr.touch()
    monkeypatch.chdir(tmp_path)
    outcomes = [_outcome(result) for result in wait(jobs, lambda: {"8", "7_3"}, seconds=0, look_every=1)]
    assert [outcome.error for outcome in outcomes] == [
        "not finished: its job 7_0 was cancelled or killed; it had not begun",
        "",
        "not finished: its job 7_2 failed; see 7_2.err",
    ]


def test_a_job_is_lost_only_when_three_looks_in_a_row_miss_it(tmp_path: Path):
    good = JobReturn(status=JobStatus.COMPLETED, _return_value=Outcome())
    job = Job("7", tmp_path)
    # there; twice absent; there again (requeued); Slurm does not answer; twice absent; the result comes
    looks = iter([{"7"}, set(), set(), {"7"}, None, set(), set()])

    def look() -> set[str] | None:
        seen = next(looks, set())
        if looks.__length_hint__() == 0:
            job._result = good
            job.paths.result_pickle.touch()
        return seen

    (result,) = wait([job], look, seconds=0, look_every=1)
    assert _outcome(result) == Outcome()


def test_the_queue_is_asked_with_squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 5\necho 7_0\necho 7_1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert queued() == {"5", "7_0", "7_1"}
    squeue.write_text("#!/bin/sh\necho cannot contact the controller >&2\nexit 1\n")
    assert queued() is None


def test_a_run_that_raised_is_one_line():
    def failed(error: Exception) -> JobReturn:
        return JobReturn(status=JobStatus.FAILED, _return_value=error)

    assert _outcome(failed(ValueError("first\nsecond"))).error == "ValueError: first"
    assert _outcome(failed(ValueError())).error == "ValueError: "
    assert _outcome(failed(MemexpError("line 2: no tab"))).error == "line 2: no tab"
