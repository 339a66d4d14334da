"""``hydra/launcher=slurm``: the runs of a sweep as jobs of a cluster, through submitit (the extra ``slurm``)."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from memexp.errors import MemexpError
from memexp.files import shown
from memexp.progress import say


class SlurmLauncher(Launcher):
    """The launcher of hydra-submitit-launcher, with another way of waiting.

    Theirs asks sacct, which not every cluster has, gives up on all runs when the job of one is killed, and
    leaves the jobs in the queue after Ctrl-C.

    Args:
        settings: the keys of conf/hydra/launcher/slurm.yaml.
    """

    #: Settings that submitit has for all kinds of cluster; the others are Slurm's own.
    SHARED = (
        "name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node",
        "stderr_to_stdout",
    )  # fmt: skip

    def __init__(self, **settings: Any) -> None:
        self._settings: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over before `launch`."""
        from hydra_plugins.hydra_submitit_launcher import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
            submitit_launcher,
        )

        self._folder = Path(config.hydra.sweep.dir)
        self._runner = submitit_launcher.SlurmLauncher(**self._settings)  # does one run, inside its job
        self._runner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the runs as one job array and wait for them; after Ctrl-C, cancel them.

        Raises:
            MemexpError: Slurm did not take the jobs.
        """
        state = Singleton.get_state()
        arguments = [
            (list(overrides), "hydra.sweep.dir", number, str(number), state)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            jobs = self._executor().map_array(self._runner, *zip(*arguments, strict=True))
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise MemexpError(f"cannot submit the jobs: {text}") from error
        try:
            return wait(jobs, queued)
        except KeyboardInterrupt:
            ids = [job.job_id for job in jobs]
            say(f"cancelling the jobs {ids[0]} to {ids[-1]}")
            for options in (["--signal=INT"], []):  # those that run write a checkpoint first
                subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)
            raise

    def _executor(self) -> Any:
        import submitit  # type: ignore[import-not-found,import-untyped,unused-ignore]

        settings: dict[str, Any] = dict(self._settings)
        folder, again = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=again)
        prefixed = {key if key in self.SHARED else f"slurm_{key}": value for key, value in settings.items()}
        executor.update_parameters(**prefixed)
        return executor


def queued() -> set[str] | None:
    """Return the ids of this user's jobs that wait or run, or None if Slurm does not answer."""
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if answer.returncode else set(answer.stdout.split())


def wait(
    jobs: Sequence[Any], queued: Callable[[], set[str] | None], seconds: float = 1.0, look_every: int = 15
) -> list[JobReturn]:
    """Wait until each job has left a result, or has left the queue without one.

    Args:
        jobs: submitit's.
        queued: returns the ids of the jobs that are not over.
        seconds: between two looks for results.
        look_every: looks for results between two looks at the queue.
    """
    results: dict[str, JobReturn] = {}
    absent: Counter[str] = Counter()
    looks = 0
    while True:
        looks += 1
        waiting = queued() if looks % look_every == 0 else None
        for job in jobs:
            if job.job_id in results:
                continue
            if job.paths.result_pickle.exists():
                results[job.job_id] = _result(job)
            elif waiting is not None:
                absent[job.job_id] = 0 if job.job_id in waiting else absent[job.job_id] + 1
                if absent[job.job_id] == 3:  # not at the first time: a shared disk shows new files late
                    results[job.job_id] = _lost(job, "was cancelled or killed")
        if len(results) == len(jobs):
            return [results[job.job_id] for job in jobs]
        time.sleep(seconds)


def _result(job: Any) -> JobReturn:
    try:
        result: JobReturn = job.result()
        return result
    except Exception:  # before the run began: its traceback is in the file
        return _lost(job, "failed")


def _lost(job: Any, how: str) -> JobReturn:
    log: Path = job.paths.stderr
    where = f"see {shown(log)}" if log.exists() else "it had not begun"
    error = MemexpError(f"not finished: its job {job.job_id} {how}; {where}")
    return JobReturn(status=JobStatus.FAILED, _return_value=error)
