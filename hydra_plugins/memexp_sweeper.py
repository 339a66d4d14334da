"""Hydra's side of a sweep. Hydra loads such classes only from the namespace ``hydra_plugins``; see memexp.sweeps."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from joblib import effective_n_jobs

from memexp import ending, grids, sweeps, workers
from memexp.arguments import check_writable
from memexp.results import asked


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
            batch = grids.expand(arguments, self.params, self._grids, loader)
            jobs = sweeps.plan(batch, lambda job: loader.load_sweep_config(config, job), dry=self._dry)
        if self._dry:
            code = sweeps.show_plan(jobs)
        else:
            for study in sorted({job.folder.parent for job in jobs if not job.error and not job.complete}):
                check_writable(study)
            with asked.noted([job.folder for job in jobs if not job.error], sys.argv[1:]):
                code = sweeps.run(jobs, self._launch)
        if code:
            sys.exit(code)

    def _launch(self, batch: list[list[str]]) -> Sequence[Any]:
        launcher: Any = self.launcher

        def launch() -> Sequence[Any]:
            return [_outcome(result) for result in launcher.launch(batch, initial_job_idx=0)]

        settings = getattr(launcher, "joblib", None)  # of joblib's launcher; the others have no workers
        if settings is None or effective_n_jobs(settings["n_jobs"]) == 1:
            return launch()
        launcher.joblib = {**settings, "initializer": ending.end_with_parent}  # one without a run would wait for long
        return workers.apart(launch)


def _outcome(result: JobReturn) -> sweeps.Outcome:
    """Return what a job returned, or why it did not, so that it does not hide the others."""
    if result.status == JobStatus.COMPLETED:
        outcome: sweeps.Outcome = result.return_value
        return outcome
    return sweeps.Outcome.of(result._return_value)


@dataclass
class MemexpSweeperConf:
    """The config node of the sweeper."""

    _target_: str = "hydra_plugins.memexp_sweeper.MemexpSweeper"
    params: dict[str, str] | None = field(default_factory=dict)
    grids: list[dict[str, str]] = field(default_factory=list)
    dry: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="memexp", node=MemexpSweeperConf, provider="memexp")
