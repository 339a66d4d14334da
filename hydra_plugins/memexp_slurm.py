"""``hydra/launcher=slurm``: the runs of a sweep as jobs of a cluster, through submitit (the extra ``slurm``)."""

import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
        """Submit the runs as job arrays and wait for them; after Ctrl-C, cancel them.

        Raises:
            MemexpError: Slurm did not take the jobs.
        """
        state = Singleton.get_state()
        arguments = [
            (list(overrides), "hydra.sweep.dir", number, str(number), state)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        jobs: list[Any] = []
        try:
            with _interrupted_later():
                refused = self._submit(arguments, jobs)
            if refused and not jobs:
                raise refused
            if refused:
                say(f"{len(arguments) - len(jobs)} of {len(arguments)} jobs are not in the queue: {refused}")
            not_submitted = JobReturn(status=JobStatus.FAILED, _return_value=refused)
            return [*wait(jobs, states), *[not_submitted] * (len(arguments) - len(jobs))]
        except KeyboardInterrupt:
            ids = [job.job_id for job in jobs]
            say(f"cancelling the jobs {ids[0]} to {ids[-1]}" if ids else "no job is in the queue yet")
            for options in (["--signal=INT"], []) if ids else ():  # those that run write a checkpoint first
                subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)
            raise

    def _submit(self, arguments: Sequence[tuple[Any, ...]], jobs: list[Any]) -> MemexpError | None:
        """Add a job for each run to ``jobs``, in arrays as long as Slurm allows; return why some are not there."""
        size = longest_array() or len(arguments)
        try:
            executor = self._executor(arrays=-(-len(arguments) // size))
            for first in range(0, len(arguments), size):
                jobs += executor.map_array(self._runner, *zip(*arguments[first : first + size], strict=True))
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            return MemexpError(f"cannot submit the jobs: {text}")
        return None

    def _executor(self, arrays: int = 1) -> Any:
        import submitit  # type: ignore[import-not-found,import-untyped,unused-ignore]

        settings: dict[str, Any] = dict(self._settings)
        folder, again = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        settings["array_parallelism"] = max(1, settings["array_parallelism"] // arrays)  # Slurm's is for each array
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=again)
        prefixed = {key if key in self.SHARED else f"slurm_{key}": value for key, value in settings.items()}
        executor.update_parameters(**prefixed)
        return executor


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold a Ctrl-C back from a block, and from the programs it starts: sbatch would not say which jobs to cancel."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which the programs inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, before)
    if asked.is_set():
        raise KeyboardInterrupt


def longest_array() -> int | None:
    """Return how many jobs an array of this cluster has at most, or None if Slurm does not say."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _answer("scontrol", "show", "config") or "", re.M)
    return int(found[1]) if found else None


def states() -> dict[str, str] | None:
    """Return Slurm's word for the state of each job of this user, or None if it does not answer.

    Jobs that are over are there too for some minutes.
    """
    answer = _answer("squeue", "--noheader", "--array", "--me", "--states=all", "--format=%i %T")
    return None if answer is None else dict(line.split() for line in answer.splitlines())


def _answer(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout


#: Slurm's words for a job that is over and will not be queued again by itself.
OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip


def wait(
    jobs: Sequence[Any], states: Callable[[], dict[str, str] | None], seconds: float = 1.0, look_every: int = 15
) -> list[JobReturn]:
    """Wait until each job has left a result, or is over without one.

    Args:
        jobs: submitit's.
        states: returns the state of each job that Slurm knows, or None if it does not answer.
        seconds: between two looks for results.
        look_every: looks for results between two looks at the queue.
    """
    results: dict[str, JobReturn] = {}
    absent: Counter[str] = Counter()
    looks = 0
    while True:
        looks += 1
        known = states() if looks % look_every == 0 else None
        for job in jobs:
            if job.job_id in results:
                continue
            if job.paths.result_pickle.exists():
                results[job.job_id] = _result(job)
            elif known is not None:
                state = known.get(job.job_id)
                absent[job.job_id] = absent[job.job_id] + 1 if state is None or state in OVER else 0
                if absent[job.job_id] == 3:  # not at the first time: a shared disk shows new files late
                    results[job.job_id] = _lost(job, f"ended as {state}" if state else "has left the queue")
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
