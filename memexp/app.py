"""The application: Hydra's entry, and one job of it. Light to import; torch is loaded where a run begins."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from memexp import CONF_DIR, progress
from memexp.arguments import check_arguments
from memexp.errors import MemexpError
from memexp.sweep import Outcome, show_table

log = logging.getLogger(__name__)


def job(config: DictConfig) -> Outcome:
    """Do one run, in the folder that Hydra made for it; a job of a sweep returns its failure, a single run exits."""
    from memexp import experiment

    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is not what to report then
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    in_sweep = settings.mode == RunMode.MULTIRUN
    with progress.silence(in_sweep):
        try:
            # shown relative to where the user is
            summary = experiment.run(config, Path(os.path.relpath(folder)), show_bar=not in_sweep)
        except MemexpError as error:
            log.error("%s", error)
            if not in_sweep:
                sys.exit(1)
            return Outcome(str(folder.resolve()), str(error))
        except KeyboardInterrupt:
            log.info("interrupted; the same command goes on from here")
            if in_sweep:
                raise
            sys.exit(130)
    stopped = [seed["seed"] for seed in summary["seeds"] if seed["diverged_at"] is not None]
    if not in_sweep:
        show_table([folder])
        if stopped:
            sys.exit(1)
    return Outcome(str(folder.resolve()), stopped_seeds=stopped)


hydra_main = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)


def main() -> None:
    """Run `python -m memexp`."""
    try:
        check_arguments(sys.argv[1:])
    except MemexpError as error:
        sys.exit(f"memexp: {error}")
    hydra_main()
