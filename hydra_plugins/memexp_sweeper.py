"""Hydra's side of a sweep. Hydra loads such classes only from the namespace ``hydra_plugins``; see memexp.sweep."""

import multiprocessing.resource_tracker
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from joblib import effective_n_jobs
from joblib.externals.loky import reusable_executor
from joblib.externals.loky.backend import resource_tracker

from memexp import ending, sweep
from memexp.arguments import check_writable, values
from memexp.errors import MemexpError
from memexp.explain import explained
from memexp.results import asked

T = TypeVar("T")


class MemexpSweeper(BasicSweeper):
    """Hydra's own sweeper, but a run that cannot be does not stop the others, and complete runs are not started.

    Args:
        params: what is swept, as in Hydra: key -> values.
        grids: several such, for a study that is no single grid; each is added to ``params``. One may be of another
            experiment than the one that names it; its runs go to that one's study.
        dry: list the runs and their state, and start none; ``--dry`` sets it.
    """

    def __init__(self, params: dict[str, str] | None = None, grids: Any = (), dry: bool = False) -> None:
        super().__init__(max_batch_size=None, params=params)
        self._grids = [dict(grid) for grid in grids] or [{}]
        self._dry = dry

    def sweep(self, arguments: list[str]) -> Any:
        """Expand the sweep, run it, exit with its code if that is not 0.

        Raises:
            ConfigError: it has no runs, or a study's folder cannot be written.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        config, loader = self.config, self.hydra_context.config_loader
        with ending.at_once():
            batch = self._expand(arguments)
            jobs = sweep.plan(batch, lambda job: loader.load_sweep_config(config, job), dry=self._dry)
        if self._dry:
            code = sweep.show_plan(jobs)
        else:
            for study in sorted({job.folder.parent for job in jobs if not job.error and not job.complete}):
                check_writable(study)
            with asked.noted([job.folder for job in jobs if not job.error], sys.argv[1:]):
                code = sweep.run(jobs, self._launch)
        if code:
            sys.exit(code)

    def _expand(self, arguments: list[str]) -> list[list[str]]:
        """Return the overrides of each run: those of the grids, in which ``arguments`` win."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        batch: list[list[str]] = []
        for grid in self._grids:
            swept = [f"{key}={listed}" for key, listed in {**self.params, **grid}.items()]
            kept = ("experiment", "study") if "experiment" in grid else ()
            given = [a for a in arguments if a.partition("=")[0] not in kept]
            with explained():
                overrides = parser.parse_overrides([*swept, *given])
                for override in overrides:
                    values(override)
                batch += self.split_arguments(overrides, None)[0]
        return batch

    def _launch(self, batch: list[list[str]]) -> Sequence[Any]:
        launcher: Any = self.launcher

        def launch() -> Sequence[Any]:
            return [_outcome(result) for result in launcher.launch(batch, initial_job_idx=0)]

        settings = getattr(launcher, "joblib", None)  # of joblib's launcher; the others have no workers
        if settings is None or effective_n_jobs(settings["n_jobs"]) == 1:
            return launch()
        launcher.joblib = {**settings, "initializer": ending.end_with_parent}  # one without a run would wait for long
        return _apart(launch)


def _apart(launch: Callable[[], T]) -> T:
    """Start joblib's workers and wait for them in another thread, so that Ctrl-C meets nothing of joblib's.

    After Ctrl-C the workers are killed: left alone they would train on, and the sweep would wait for them. Their runs
    go on from the last checkpoint.
    """
    launched = ThreadPoolExecutor(1, initializer=_deaf).submit(launch)
    try:
        while not launched.done():
            wait([launched], 0.1)  # not for ever: Windows would not let Ctrl-C through
    except KeyboardInterrupt:
        while not launched.done():
            executor = reusable_executor._executor
            if executor is not None:  # else the workers are about to be started
                executor.shutdown(wait=True, kill_workers=True)
            wait([launched], 0.1)
        raise
    return launched.result()


def _deaf() -> None:
    """Keep Ctrl-C from this thread and the workers that it starts from now on; on Windows that cannot be done.

    A terminal sends it to them too, and where it meets their first imports, each prints a traceback. It is enough that
    the sweep hears it.
    """
    if hasattr(signal, "pthread_sigmask"):
        for tracker in (multiprocessing.resource_tracker, resource_tracker):  # whose start would let it through again
            tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _outcome(result: JobReturn) -> sweep.Outcome:
    """Return what a job returned, or why it did not, so that it does not hide the others."""
    if result.status == JobStatus.COMPLETED:
        outcome: sweep.Outcome = result.return_value
        return outcome
    error = result._return_value
    if isinstance(error, MemexpError):
        return sweep.Outcome(str(error))
    return sweep.Outcome(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")


@dataclass
class MemexpSweeperConf:
    """The config node of the sweeper."""

    _target_: str = "hydra_plugins.memexp_sweeper.MemexpSweeper"
    params: dict[str, str] | None = field(default_factory=dict)
    grids: list[dict[str, str]] = field(default_factory=list)
    dry: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="memexp", node=MemexpSweeperConf, provider="memexp")
