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
from memexp.config import typed
from memexp.errors import MemexpError
from memexp.files import shown
from memexp.options import end_unread
from memexp.sweep import Outcome, show_table, stopped_seeds, study_folder

log = logging.getLogger(__name__)


def job(config: DictConfig) -> Outcome:
    """Do one run, in the folder that Hydra made for it; a job of a sweep returns its failure, a single run exits."""
    progress.make_streams_safe()
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is not what to report then
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    in_sweep = settings.mode == RunMode.MULTIRUN
    with progress.silence(in_sweep):
        try:
            from memexp import experiment

            # Checked already, on the command line or in the sweep's plan. Shown relative to where the user is.
            experiment.run(typed(config), shown(folder), show_bar=not in_sweep)
        except MemexpError as error:
            log.error("%s", error)
            if not in_sweep:
                sys.exit(1)
            return Outcome(str(error))
        except KeyboardInterrupt:
            log.info("interrupted; the same command goes on from here")
            if in_sweep:
                from memexp.training.machine import end_if_orphaned

                end_if_orphaned()
                raise
            sys.exit(130)
    if not in_sweep:
        show_table([folder], {study_folder(config)})
        if stopped_seeds(folder):
            sys.exit(1)
    return Outcome()


hydra_main = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)


def main() -> None:
    """Run `python -m memexp`."""
    progress.make_streams_safe()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then hands errors on instead of printing its own notes
    try:
        check_arguments(sys.argv[1:])
        hydra_main()
    except MemexpError as error:
        sys.exit(f"memexp: {error}")
    except BrokenPipeError:
        end_unread()
    except OSError as error:  # Hydra writes into the run folder before the run begins
        sys.exit(
            f"memexp: cannot write {error.filename or 'the run folder'}: {error.strerror}; mend that, and try again"
        )
    except KeyboardInterrupt:  # before or after the training, which has a word of its own
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
