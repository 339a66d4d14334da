"""Hydra's side of a sweep: Hydra loads sweepers only from the namespace ``hydra_plugins``. The work is in memexp.sweep."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from memexp import sweep


class MemexpSweeper(BasicSweeper):
    """Hydra's own sweeper, but a run that cannot be does not stop the others, and complete runs are not started."""

    def sweep(self, arguments: list[str]) -> Any:
        """Expand the sweep, run it, exit with its code if that is not 0."""
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (batch,) = self.split_arguments(overrides, None)
        jobs = sweep.plan(batch, lambda job: loader.load_sweep_config(self.config, job))
        code = sweep.run(jobs, self._launch)
        if code:
            sys.exit(code)

    def _launch(self, batch: list[list[str]]) -> Sequence[Any]:
        assert self.launcher is not None
        return [result.return_value for result in self.launcher.launch(batch, initial_job_idx=0)]


@dataclass
class MemexpSweeperConf:
    """The config node of the sweeper."""

    _target_: str = "hydra_plugins.memexp_sweeper.MemexpSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="memexp", node=MemexpSweeperConf, provider="memexp")
