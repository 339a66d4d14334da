"""A sweep: check every run, start what is not complete, show how it goes, and close with one table.

Hydra expands the sweep and its launchers start the runs; what is here decides which, and says how it went. It
needs no torch, so that the process that only waits stays small.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from memexp import progress, records
from memexp.arguments import compose_job
from memexp.config import check
from memexp.errors import MemexpError
from memexp.progress import say


@dataclass
class Job:
    """One run of a sweep."""

    overrides: list[str]
    name: str  # what the user sees, and the folder's name
    folder: Path
    length: int = 0
    complete: bool = False
    error: str = ""


@dataclass
class Outcome:
    """What a job returns to the sweep; exceptions are not passed between processes."""

    folder: str
    error: str = ""
    stopped_seeds: list[int] = field(default_factory=list)


def plan(batch: Sequence[Sequence[str]], load: Callable[[list[str]], DictConfig]) -> list[Job]:
    """Check each run of a sweep and find its folder; a run that cannot be is kept, with its error.

    Args:
        batch: the overrides of each run.
        load: composes the config of a run from its overrides.
    """
    jobs: dict[Path, Job] = {}
    for overrides in map(list, batch):
        try:
            config = compose_job(overrides, load)
            folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
            job = Job(overrides, folder.name, folder, config.length)
            settings: dict[str, Any] = OmegaConf.to_container(check(config), resolve=True)  # type: ignore[assignment]
            records.check_identity(folder, records.identity(settings))
            job.complete = records.is_complete(folder)
        except MemexpError as error:
            name = ",".join(sorted(overrides))
            job = Job(overrides, name, Path(name), error=str(error))
        jobs.setdefault(job.folder, job)
    return list(jobs.values())


def run(jobs: list[Job], launch: Callable[[list[list[str]]], Sequence[Any]]) -> int:
    """Run the jobs that are left and print the table.

    Args:
        jobs: from `plan`.
        launch: starts runs, given their overrides, and returns their `Outcome`s when all have ended.

    Returns:
        The exit code: 0 if every run is complete, 1 if one is not, 130 after Ctrl-C.
    """
    for job in jobs:
        if job.error:
            say(f"cannot run {job.name}: {job.error}")
        elif job.complete:
            say(f"skipped, complete already: {job.name}")
    # The longest sequences first: the short ones then fill the cores evenly at the end.
    left = sorted((job for job in jobs if not job.error and not job.complete), key=lambda job: -job.length)
    interrupted = False
    if left:
        say(f"{len(left)} of {len(jobs)} runs to do, in {left[0].folder.parent}")
        for job in left:
            with contextlib.suppress(OSError):  # of an earlier try; a run removes it only when its turn comes
                (job.folder / records.FAILURE).unlink(missing_ok=True)
        try:
            with _watching(left):
                outcomes = launch([job.overrides for job in left])
            for job, outcome in zip(left, outcomes, strict=True):
                job.error = outcome.error
                if outcome.stopped_seeds:
                    job.error = (
                        f"the loss of seeds {outcome.stopped_seeds} was not finite; the other seeds are complete"
                    )
        except KeyboardInterrupt:
            interrupted = True
        except MemexpError as error:
            say(str(error))
        except Exception as error:  # a worker was killed: joblib has its own word for it
            say(f"a worker died ({type(error).__name__}: {str(error).splitlines()[0]}); too little memory?")
    # a run that could not be planned may point to the folder of another one
    own = [job.folder for job in jobs if job in left or not job.error]
    show_table([folder for folder in own if records.is_complete(folder)])
    unfinished = [job for job in jobs if job.error or not records.is_complete(job.folder)]
    if unfinished and not interrupted:
        say(f"\n{len(unfinished)} of {len(jobs)} runs are not complete:")
        for job in unfinished:
            say(f"  {job.name}: {job.error or 'not finished'}")
    if interrupted:
        say(f"\ninterrupted; {len(unfinished)} of {len(jobs)} runs are left: the same command goes on where they were")
        return 130
    return 1 if unfinished else 0


def show_table(folders: list[Path]) -> None:
    """Print the table of these complete runs; write that of their whole study to results.csv."""
    from memexp import tables  # pandas and scipy are slow to import: not before they are needed

    rows, _ = records.collect(folders)
    if rows.empty:
        return
    say(f"\n{tables.shown(tables.results(rows))}\n(mean over seeds and its 95 % interval)\n")
    for study in sorted({Path(os.path.relpath(folder.parent)) for folder in folders}):
        try:
            say(f"all runs of the study, seed by seed: {write_results(study)}")
        except MemexpError as error:
            say(str(error))


def write_results(study: Path) -> Path:
    """Write ``results.csv``: all complete runs of a study, a row for each run and seed."""
    rows, _ = records.collect(records.run_folders(study))
    path = study / "results.csv"
    records.write_text(path, rows.to_csv(index=False, lineterminator="\n"))
    return path


@contextlib.contextmanager
def _watching(jobs: list[Job]) -> Iterator[None]:
    """Show while the runs go on, in whatever process or machine they are: they are known by their folders."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(jobs, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(jobs: list[Job], ended: threading.Event) -> None:
    started = time.monotonic()
    total = sum(job.length for job in jobs)
    share = {job.name: 0.0 for job in jobs}
    first: float | None = None
    seen: set[str] = set()
    layout = "{desc} |{bar}| {percentage:3.0f} % {postfix}"
    with progress.bar(total, f"0 of {len(jobs)}", layout) as bar:
        while True:
            last_look = ended.is_set()
            for job in jobs:
                if job.name in seen:
                    continue
                share[job.name] = progress.read_progress(job.folder)
                if records.is_complete(job.folder) or (job.folder / records.FAILURE).exists():
                    seen.add(job.name)
                    share[job.name] = 1.0
                    done = sum(share[j.name] * j.length for j in jobs)
                    say(_line(job, len(seen), len(jobs), _left(started, first or 0.0, done, total)))
            done = sum(share[job.name] * job.length for job in jobs)
            first = done if first is None else first  # what an interrupted sweep had done before
            bar.n = round(done, 2)
            bar.set_description_str(f"{len(seen)} of {len(jobs)} runs", refresh=False)
            bar.set_postfix_str(_left(started, first, done, total))
            if last_look:
                return
            ended.wait(1.0)


def _left(started: float, first: float, done: float, total: float) -> str:
    gone = time.monotonic() - started
    if done <= first or gone < 3 or done >= total:
        return ""
    return f"about {progress.duration(gone * (total - done) / (done - first))} left"


def _line(job: Job, ended: int, total: int, left: str) -> str:
    if not records.is_complete(job.folder):
        return f"[{ended}/{total}] {job.name} failed: {(job.folder / records.FAILURE).read_text().strip()}"
    summary = records.read_json(job.folder / records.SUMMARY)
    exact = [seed["exact_accuracy"] for seed in summary["seeds"] if seed["exact_accuracy"] is not None]
    mean = f"exact {100 * sum(exact) / len(exact):.1f} %, " if exact else ""
    return f"[{ended}/{total}] {job.name}: {mean}{progress.duration(summary['seconds'])}{'; ' + left if left else ''}"
