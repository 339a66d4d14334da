"""Tracking: what a run notes in its history, sent to a logger as well, ``logger=tensorboard`` or ``logger=trackio``.

All of it is in the record anyway. So a logger that fails says so once, in a line, and stops nothing. Rows are sent as
they are sealed, with a checkpoint: what a killed run had not sealed was never sent, and what it had is sent again, if
the logger lacks it, when the run goes on.
"""

import contextlib
import csv
import io
import logging
import os
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from memexp.config import NO_LOGGER
from memexp.results import record

log = logging.getLogger(__name__)

MEAN = "mean"  # over the seeds that have a value; beside them, a line of its own
FOLDER = "tensorboard"  # in a run folder, and in a study's for its figures

BySeed = Mapping[str, float]
"""Seed, or `MEAN` -> value."""


class Logger(ABC):
    """What is sent to: one log of one run folder.

    Attributes:
        last: the last update that it has already; what is up to there is not sent again.
    """

    last = -1

    @abstractmethod
    def values(self, update: int, values: Mapping[str, BySeed]) -> None:
        """Send the values of an update: ``dev/accuracy`` -> seed -> value."""

    @abstractmethod
    def image(self, name: str, path: Path) -> None:
        """Send a picture, a PNG file."""

    def flush(self) -> None:  # noqa: B027 (nothing, where it does so itself)
        """See to it that what was sent is kept."""

    @abstractmethod
    def close(self) -> None:
        """End the log."""


class TensorBoard(Logger):
    """A folder for ``tensorboard --logdir``: in it, each seed and the mean are runs of their own, drawn together.

    A run that goes on writes all its events once more, in a new file, before which TensorBoard leaves out the others.

    Args:
        folder: of the run, or of a study.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        self._make, self._folder = SummaryWriter, folder / FOLDER
        self._writers: dict[str, Any] = {}

    def values(self, update: int, values: Mapping[str, BySeed]) -> None:
        """Send them, each seed's to its own run."""
        for name, by_seed in values.items():
            for seed, value in by_seed.items():
                self._writer(seed if seed == MEAN else f"seed={seed}").add_scalar(name, value, update)

    def image(self, name: str, path: Path) -> None:
        """Send a picture."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer("figures").add_image(name, pixels, 0, dataformats="HWC")

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            self._writers[name] = self._make(str(self._folder / name), purge_step=0)
        return self._writers[name]

    def flush(self) -> None:
        """Write what was sent to disk."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


class Trackio(Logger):
    """A run of the project that has the study's name, in Trackio's own folder: the seeds are series beside the mean.

    Args:
        folder: of the run.
        settings: of the run, for its page.
        goes_on: whether the run was begun before, so that its log is gone on with.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], goes_on: bool) -> None:
        with _silently():  # it prints where to look, between the lines of a sweep
            import trackio
            from trackio.sqlite_storage import SQLiteStorage

            self._image, self._finish = trackio.Image, trackio.finish
            study, name = folder.resolve().parent.name, folder.resolve().name
            if goes_on:
                there = SQLiteStorage.get_max_step_for_run(study, name)
                self.last = -1 if there is None else there
            self._run = trackio.init(
                study, name, config=record.flatten(dict(settings)), resume="allow" if goes_on else "never", embed=False,
                auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def values(self, update: int, values: Mapping[str, BySeed]) -> None:
        """Send them together: an update is there with all its values, or not at all."""
        named = {
            name if seed == MEAN else f"{name}/seed={seed}": value
            for name, by_seed in values.items()
            for seed, value in by_seed.items()
        }
        self._run.log(named, step=update)

    def image(self, name: str, path: Path) -> None:
        """Send a picture."""
        self._run.log({name: self._image(str(path), caption=name)})

    def close(self) -> None:
        """Wait until all is in its database."""
        with _silently():
            self._finish()


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def open_logger(name: str, folder: Path, settings: Mapping[str, Any], goes_on: bool) -> Logger | None:
    """Open the logger of that name, see `memexp.config.LOGGERS`; None for none."""
    if name == NO_LOGGER:
        return None
    return TensorBoard(folder) if name == "tensorboard" else Trackio(folder, settings, goes_on)


class Tracker:
    """Sends what a run notes to a logger, until that fails.

    Args:
        name: of the logger.
        folder: of the run.
        settings: of the run.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self._name, self._folder = name, folder
        self._logger: Logger | None = None
        self._heard = False
        with self._failing_once():
            self._logger = open_logger(name, folder, settings, (folder / record.LAST).exists())

    @contextlib.contextmanager
    def _failing_once(self) -> Iterator[None]:
        """Say in a line that the logger failed, and use it no more: whatever went wrong in it, the run goes on."""
        try:
            yield
        except Exception as error:  # a library may raise anything
            self._logger = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning(
                "logger=%s failed (%s): from here on nothing is sent to it; the record in %s has it all",
                self._name, reason, self._folder,
            )  # fmt: skip

    def hear(self, lines: str) -> None:
        """Send lines of a history, whole updates.

        Args:
            lines: as in ``history.csv``; its first one may be among them.
        """
        self._heard, logger = True, self._logger
        if logger is None:
            return
        with self._failing_once():
            rows = [row for row in csv.reader(io.StringIO(lines)) if row[0].isdecimal()]
            for update, own in groupby(rows, key=lambda row: int(row[0])):
                if update > logger.last:
                    cells = [(f"{split}/{name}", seed, value) for _, seed, split, name, value in own]
                    logger.values(update, by_seed(cells))
            logger.flush()

    def end(self, summary: Mapping[str, Any]) -> None:
        """Send the scores of a complete run, at its last update; and its history, if it was not trained but joined.

        Args:
            summary: of the run.
        """
        if self._logger is None:
            return
        with self._failing_once():
            if not self._heard:
                self.hear(record.read_bytes(self._folder, record.HISTORY, summary.get(record.SEALED)).decode())
            seeds, names = summary["seeds"], summary["shown"]
            cells = [(f"score/{name}", str(seed["seed"]), str(seed.get(name))) for seed in seeds for name in names]
            self._logger.values(summary["updates"], by_seed(cells))

    def figures(self, paths: Sequence[Path]) -> None:
        """Send pictures, PNG files."""
        for path in paths:
            if self._logger is not None:
                with self._failing_once():
                    self._logger.image(path.stem, path)

    def close(self) -> None:
        """End the log; the run it is of may be complete, or may go on later."""
        if self._logger is not None:
            with self._failing_once():
                self._logger.close()


def by_seed(cells: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """Arrange (name, seed, value) by name and seed, and add the mean; what is no number is left out."""
    found: dict[str, dict[str, float]] = {}
    for name, seed, value in cells:
        with contextlib.suppress(ValueError):
            found.setdefault(name, {})[seed] = float(value)
    return {name: {**own, MEAN: statistics.fmean(own.values())} for name, own in found.items() if own}


@contextlib.contextmanager
def tracking(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    """Track a run while it goes on; arguments as of `Tracker`."""
    tracker = Tracker(name, folder, settings)
    try:
        yield tracker
    finally:
        tracker.close()


def send_figures(name: str, study: Path, images: Path) -> None:
    """Send the figures of a study to a logger, as a run of that study's.

    Args:
        name: of the logger.
        study: the study's folder.
        images: where its figures are.
    """
    folder = study if name == "tensorboard" else study / "figures"
    with tracking(name, folder, {}) as tracker:
        tracker.figures(sorted(images.glob("*.png")))
