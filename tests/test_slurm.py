"""hydra/launcher=slurm, as far as it can be tested without a cluster."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from hydra_plugins import memexp_slurm
from hydra_plugins.memexp_slurm import SlurmLauncher, longest_array, states, wait
from hydra_plugins.memexp_sweeper import _outcome
from memexp import CONF_DIR
from memexp.errors import MemexpError
from memexp.explain import explain
from memexp.sweeps import Outcome


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


def settings_of(*overrides: str) -> dict[str, Any]:
    """Compose the settings of a launcher, as the command line does."""
    with initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3"):
        config = compose("config", ["length=10", "model=srn", *overrides], return_hydra_config=True)
        return OmegaConf.to_container(config.hydra.launcher, resolve=True)  # type: ignore[return-value]


def launcher_of(folder: Path, *overrides: str) -> SlurmLauncher:
    """Build the launcher as Hydra does, with a function that does nothing for the runs."""
    settings = settings_of(f"outputs_dir={folder}", *overrides)
    assert settings.pop("_target_") == "hydra_plugins.memexp_slurm.SlurmLauncher"
    launcher = SlurmLauncher(**settings)
    launcher._runner, launcher._folder = print, folder
    return launcher


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put shell scripts in the place of Slurm's programs, which are then the only ones that are found."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

    return put


@pytest.mark.parametrize("preset", ["slurm", "slurm_gpu"])
def test_the_config_has_our_launcher_over_the_plugins_keys(preset: str):
    settings = settings_of(f"hydra/launcher={preset}", "hydra.launcher.partition=short")
    assert settings["_target_"] == "hydra_plugins.memexp_slurm.SlurmLauncher"
    assert (settings["partition"], settings["tasks_per_node"]) == ("short", 1)
    assert {"account", "gpus_per_node", "gres", "comment"} <= set(settings)


def test_the_preset_for_gpus_is_the_other_one_but_for_a_few_keys():
    ours, gpu = settings_of("hydra/launcher=slurm"), settings_of("hydra/launcher=slurm_gpu")
    assert {key: value for key, value in gpu.items() if ours[key] != value} == {
        "gpus_per_node": 1, "cpus_per_task": 2, "mem_gb": 8, "timeout_min": 240, "array_parallelism": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "lines"),
    [
        ("slurm", ["--cpus-per-task=1", "--mem=2GB", "--time=60"]),
        ("slurm_gpu", ["--cpus-per-task=2", "--mem=8GB", "--time=240", "--gpus-per-node=1"]),
    ],
)
def test_the_settings_reach_sbatch(preset: str, lines: list[str], tmp_path: Path, programs: Callable[..., None]):
    programs(srun="")  # submitit looks whether there is one
    overrides = [f"hydra/launcher={preset}", "hydra.launcher.partition=short", "hydra.launcher.max_num_timeout=3"]
    overrides += ["hydra.launcher.setup=[module load python]", "++hydra.launcher.additional_parameters.mail-type=END"]
    executor = launcher_of(tmp_path, *overrides)._executor()._executor
    text = executor._make_submission_file_text("run", "id")
    for line in (
        *lines,
        "--partition=short",
        "--job-name=memexp",
        "--requeue",
        "--open-mode=append",
        "--mail-type=END",
    ):
        assert f"#SBATCH {line}\n" in text
    assert ("--gpus-per-node" in text) == (preset == "slurm_gpu")
    assert "\nmodule load python\n" in text
    assert executor.folder == tmp_path / "book" / ".submitit" / "%j"
    assert executor.max_num_timeout == 3


def test_a_long_sweep_is_several_arrays_and_what_slurm_refuses_is_named(
    tmp_path: Path, programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    """Five runs where an array has two jobs; the third array is one too many."""
    refuses = f"if [ -e {tmp_path}/b ]; then echo the limit is reached >&2; exit 1; fi"
    counts = f"if [ -e {tmp_path}/a ]; then : > {tmp_path}/b; fi; : > {tmp_path}/a"
    programs(srun="", scontrol="echo 'MaxArraySize = 2'", sbatch=f"{refuses}; {counts}; echo Submitted batch job 7")
    seen: list[Any] = []

    def done(jobs: list[Any], states: object) -> list[JobReturn]:
        seen.extend(jobs)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=Outcome()) for _ in jobs]

    monkeypatch.setattr(memexp_slurm, "wait", done)
    launcher = launcher_of(tmp_path, "hydra/launcher=slurm", "hydra.launcher.array_parallelism=3")
    outcomes = [_outcome(result) for result in launcher.launch([[f"length={k}"] for k in range(5)], 0)]
    assert [job.job_id for job in seen] == ["7_0", "7_1", "7_0", "7_1"]
    assert [outcome.error for outcome in outcomes[:4]] == [""] * 4
    assert outcomes[4].error.startswith("cannot submit the jobs: ")
    assert "the limit is reached" in outcomes[4].error
    scripts = "".join(path.read_text() for path in tmp_path.rglob(".submission_file_*.sh"))
    assert scripts.count("#SBATCH --array=0-1%1\n") == 2


def test_ctrl_c_while_the_jobs_are_submitted_cancels_them(tmp_path: Path, programs: Callable[..., None]):
    """The terminal sends it to sbatch too, which must still say what it has put into the queue."""
    notes = tmp_path / "cancelled"
    programs(srun="", sbatch="kill -INT $$ $PPID; echo Submitted batch job 7", scancel=f'echo "$@" >> {notes}')
    with pytest.raises(KeyboardInterrupt):
        launcher_of(tmp_path, "hydra/launcher=slurm").launch([["length=4"], ["length=5"]], 0)
    assert notes.read_text().splitlines() == ["--signal=INT 7_0 7_1", "7_0 7_1"]


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
        Job("7_3", tmp_path),
    ]
    for job in jobs[2:]:
        job.paths.stderr.touch()
    monkeypatch.chdir(tmp_path)
    known = {"8": "RUNNING", "7_3": "OUT_OF_MEMORY"}
    outcomes = [_outcome(result) for result in wait(jobs, lambda: known, seconds=0, look_every=1)]
    assert [outcome.error for outcome in outcomes] == [
        "not finished: its job 7_0 has left the queue; it had not begun",
        "",
        "not finished: its job 7_2 failed; see 7_2.err",
        "not finished: its job 7_3 ended as OUT_OF_MEMORY; see 7_3.err",
    ]


def test_a_job_is_lost_only_when_it_is_over_at_three_looks_in_a_row(tmp_path: Path):
    good = JobReturn(status=JobStatus.COMPLETED, _return_value=Outcome())
    job = Job("7", tmp_path)
    # there; twice over; there again (requeued); Slurm does not answer; twice over; the result comes
    over = [{"7": "NODE_FAIL"}, {}]
    looks = iter([{"7": "RUNNING"}, *over, {"7": "PENDING"}, None, *over])

    def look() -> dict[str, str] | None:
        seen = next(looks, {})
        if looks.__length_hint__() == 0:
            job._result = good
            job.paths.result_pickle.touch()
        return seen

    (result,) = wait([job], look, seconds=0, look_every=1)
    assert _outcome(result) == Outcome()


def test_the_queue_is_asked_with_squeue(programs: Callable[..., None]):
    assert states() is None  # no squeue
    programs(squeue="echo 5 RUNNING; echo 7_0 PENDING; echo 7_1 CANCELLED")
    assert states() == {"5": "RUNNING", "7_0": "PENDING", "7_1": "CANCELLED"}
    programs(squeue="echo cannot contact the controller >&2; exit 1")
    assert states() is None


def test_the_cluster_says_how_long_an_array_may_be(programs: Callable[..., None]):
    assert longest_array() is None
    programs(scontrol="echo 'MaxArraySize            = 1001'")
    assert longest_array() == 1001


def test_a_run_that_raised_is_one_line():
    def failed(error: Exception) -> JobReturn:
        return JobReturn(status=JobStatus.FAILED, _return_value=error)

    assert _outcome(failed(ValueError("first\nsecond"))).error == "ValueError: first"
    assert _outcome(failed(ValueError())).error == "ValueError: "
    assert _outcome(failed(MemexpError("line 2: no tab"))).error == "line 2: no tab"
