"""The application: Hydra's entry, and one job of it. Light to import; torch is loaded where a run begins."""

import logging
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from memexp import CONF_DIR, __version__, ending, jobs, progress, sweeps
from memexp.arguments import as_meant, check_arguments, compose_run, composing
from memexp.errors import MemexpError, refusals_in_a_line
from memexp.explain import explained
from memexp.files import shown
from memexp.sweeps import Outcome, show_table, stopped_in, study_folder
from memexp.words import language

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted; the same command goes on from here"


def job(config: DictConfig) -> Outcome:
    """Do one run, in the folder that Hydra made for it.

    A job of a sweep returns its failure; a single run exits. A sweeper of Hydra's own knows no outcomes but errors.

    Raises:
        MemexpError: the run failed, in a sweep by another sweeper than memexp's.
    """
    ending.end_with_parent()
    progress.make_streams_safe()  # a worker process has streams of its own
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is not what to report then
    settings = HydraConfig.get()
    folder = shown(Path(settings.runtime.output_dir))
    in_sweep = settings.mode == RunMode.MULTIRUN
    by_us = settings.runtime.choices["hydra/sweeper"] == "memexp"
    with progress.silence(in_sweep and by_us):
        try:
            checked, summary = jobs.do(config, folder, show_bar=not in_sweep)
            stopped = stopped_in(summary)
            if in_sweep and not by_us and stopped:
                raise MemexpError(stopped)
        except MemexpError as error:
            log.error("%s%s", f"{folder.name}: " if in_sweep else "", error)
            if not in_sweep:
                sys.exit(1)
            if not by_us:
                raise MemexpError("not every run is complete; the reasons are above") from error
            return Outcome(str(error))
        except KeyboardInterrupt:
            log.info(INTERRUPTED)
            if in_sweep:
                ending.end_with_parent()
                raise
            sys.exit(ending.CODE)
    if not in_sweep:
        try:
            with refusals_in_a_line(), language(checked.lang):
                written = show_table([folder], {study_folder(checked)})
        except MemexpError as error:
            log.error("%s", error)
            sys.exit(1)
        if stopped or not written:
            sys.exit(1)
    return Outcome()


hydra_main = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)


def main() -> None:
    """Run ``python -m memexp``, or the script ``memexp``."""
    progress.make_streams_safe()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands errors on instead of printing its own notes
    try:
        with ending.in_one_line(INTERRUPTED), refusals_in_a_line():  # Hydra, too, writes into the run folder
            _main()
            sys.stdout.flush()
    except MemexpError as error:
        sys.exit(f"memexp: {error}")
    except BrokenPipeError:  # whoever read the output has gone, as head does
        sys.exit(1)
    finally:
        progress.let_go_of_streams()


def _main() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a script does not find modules where the user is, as python -m does
    sys.argv = [sys.argv[0], *map(as_meant, sys.argv[1:])]
    with ending.at_once():
        flags = check_arguments(sys.argv[1:])
    if flags.version:
        print(f"memexp {__version__} (torch {metadata.version('torch')}, Python {platform.python_version()})")
        return
    if flags.dry and not flags.sweep:
        with composing():
            planned = sweeps.plan([flags.overrides], lambda run: compose_run(run, flags.config_name), dry=True)
        if sweeps.show_plan(planned):
            sys.exit(1)
        return
    if flags.dry:
        sys.argv = [*(argument for argument in sys.argv if argument != "--dry"), "hydra.sweeper.dry=true"]
    with explained():
        hydra_main()
