"""One run, done as the command and the function of Python do it: checked, trained, and logged into its folder."""

import contextlib
import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from memexp import ending
from memexp.config import check
from memexp.errors import MemexpError, refusals_in_a_line
from memexp.explain import explained

#: What Hydra notes in a run folder, and ``python -m memexp.status`` reads: the settings, and where they were given.
NOTES = ".hydra"


def do(config: DictConfig, folder: Path, show_bar: bool) -> tuple[DictConfig, dict[str, Any]]:
    """Do one run, or what is left of it.

    Args:
        config: as Hydra composed it.
        folder: the run folder.
        show_bar: show a progress bar.

    Returns:
        The config as `memexp.config.check` returns it, and the summary.

    Raises:
        MemexpError: the run failed; see `memexp.experiment.run`.
        KeyboardInterrupt: interrupted, after a checkpoint.
    """
    with refusals_in_a_line():
        with ending.at_once():
            from memexp import experiment  # with it comes torch
        with explained():
            checked = check(config)  # once more: Hydra's own sweeper does not
        return checked, experiment.run(checked, folder, show_bar)


class _Onward(logging.Handler):
    """Hand records on to whoever had them before, as far as they were asked for."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger.getEffectiveLevel())
        self._handlers, self._above = logger.handlers, logger.parent if logger.propagate else None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
        if self._above is not None:
            self._above.callHandlers(record)


@contextlib.contextmanager
def noted(config: DictConfig, folder: Path, quiet: bool = False) -> Iterator[None]:
    """Leave in a run folder what Hydra leaves there: ``memexp.log``, and the settings; for runs that it does not start.

    The log is that of memexp alone. Whatever the process logs, and whereto, is as it was before.

    Args:
        config: as Hydra composed it.
        folder: the run folder.
        quiet: hand nothing on to the process's own logging: a sweep says itself how its runs go.
    """
    with refusals_in_a_line():
        (folder / NOTES).mkdir(parents=True, exist_ok=True)
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.save(own, folder / NOTES / "config.yaml")
        OmegaConf.save(_as_given(config), folder / NOTES / "hydra.yaml")
        OmegaConf.save(config.hydra.overrides.task, folder / NOTES / "overrides.yaml")
        file = logging.FileHandler(folder / f"{config.hydra.job.name}.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("memexp")
    before = logger.level, logger.propagate, logger.handlers
    logger.handlers, logger.propagate = [file] if quiet else [file, _Onward(logger)], False
    logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
    try:
        yield
    except MemexpError as error:
        file.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, str(error), (), None))
        raise
    except KeyboardInterrupt:
        file.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, "interrupted; the same call goes on", (), None))
        raise
    finally:
        level, logger.propagate, logger.handlers = before
        logger.setLevel(level)
        file.close()


def _as_given(config: DictConfig) -> DictConfig:
    """Return Hydra's part of a config; its folders of YAML files as if ``--config-dir`` had given them."""
    hydra: DictConfig = copy.deepcopy(OmegaConf.masked_copy(config, "hydra"))
    with flag_override(hydra, ["struct", "readonly"], False):
        for source in hydra.hydra.runtime.config_sources:
            if source.provider.startswith("hydra.searchpath"):
                source.provider = "command-line"
    return hydra
