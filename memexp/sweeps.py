"""A sweep: check every run, start what is not complete, show how it goes, and close with one table.

Hydra expands the sweep and its launchers start the runs; what is here decides which, and says how it went. It
needs no torch, so that the process that only waits stays small.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from memexp import ending, progress
from memexp.arguments import compose_job, folder_of
from memexp.config import NO_LOGGER, identity
from memexp.errors import Complaints, ConfigError, MemexpError, RecordError
from memexp.files import shown
from memexp.progress import say
from memexp.results import record
from memexp.results.identity import NOT_IDENTITY, check_identity
from memexp.words import language, tr


@dataclass
class Job:
    """One run of a sweep."""

    overrides: list[str]
    name: str  # what the user sees, and the folder's name
    folder: Path
    length: int = 0
    study: Path = Path()  # the folder of its study
    images: Path | None = None  # where the figures of its study go
    lang: str = "en"  # and their language
    report: bool = False  # write the report on its study too
    engine: str = "auto"
    logger: str = NO_LOGGER
    datasets: Path = Path("datasets")  # where its data are
    complete: bool = False
    error: str = ""  # why it cannot be run, or did not get through


@dataclass
class Outcome:
    """What a job returns to the sweep; exceptions are not passed between processes."""

    error: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Outcome":
        """Return how a job ended that raised an error."""
        if isinstance(error, MemexpError):
            return cls(str(error))
        return cls(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")


def plan(batch: Sequence[Sequence[str]], load: Callable[[list[str]], DictConfig], *, dry: bool = False) -> list[Job]:
    """Check each run of a sweep and find its folder. A run with a mistake stays in the list, with the error.

    Args:
        batch: the overrides of each run.
        load: composes the config of a run from its overrides.
        dry: write nothing. Then the data of complete runs is not compared, for data files that are missing are made.
    """
    jobs: list[Job] = []
    folders: dict[Path, list[str]] = {}
    for overrides in map(list, batch):
        shown = sorted(o for o in overrides if o.partition("=")[0] not in NOT_IDENTITY)
        job = Job(overrides, ",".join(shown), Path())
        try:
            composed, config = compose_job(overrides, load)
            job.folder = folder_of(composed)
            if folders.get(job.folder) == overrides:
                continue  # the same value given twice
            _place(job, config, folders.setdefault(job.folder, overrides))
            _look_at_record(job, config, dry)
        except MemexpError as error:
            job.error = str(error)
        jobs.append(job)
    return jobs


def _place(job: Job, config: DictConfig, owner: list[str]) -> None:
    """Fill in what a job is called and where its results go.

    Raises:
        ConfigError: its folder is another run's of this sweep; ``owner`` are the overrides of whose it is.
        RecordError: a file is where its folder should be.
    """
    job.name, job.length = job.folder.name, config.length
    job.study = study_folder(config)
    if config.images_dir is not None and job.folder.resolve().parent == job.study:
        job.images = Path(config.images_dir)
    job.report, job.lang, job.datasets = config.report, config.lang, Path(config.datasets_dir)
    job.engine, job.logger = config.engine, config.logger
    if owner is not job.overrides:
        raise ConfigError(f"{job.folder} is another run's folder already; sweep this key with a study= of its own")
    if job.folder.exists() and not job.folder.is_dir():
        raise RecordError(f"{job.folder} is a file where the run's folder should be; move it away")


def _look_at_record(job: Job, config: DictConfig, dry: bool) -> None:
    """Find out whether a run is complete; check that its folder is of this run."""
    check_identity(job.folder, identity(config))
    job.complete = record.is_complete(job.folder)
    if job.complete and not dry:
        from memexp import experiment  # loads torch; not needed where there is nothing to skip

        experiment.clean(job.folder)
        data = experiment.fingerprint(config, experiment.build_task(config))
        check_identity(job.folder, identity(config, data))


def show_plan(jobs: Sequence[Job]) -> int:
    """Print the runs of a plan with their state, a line for each, and how many there are of each state.

    Returns:
        The exit code: 1 if a run is impossible, else 0.
    """
    states = [_state(job) for job in jobs]
    width = max(len(state) for state, _ in states)
    for job, (state, reason) in zip(jobs, states, strict=True):
        where = job.name if job.folder == Path() else shown(job.folder)
        say(f"{state:<{width}}  {where}{': ' if reason else ''}{reason}")
    counts = Counter(state.partition(" ")[0] for state, _ in states)
    total = f"{len(jobs)} run{'s' if len(jobs) > 1 else ''}"
    say(f"\n{total}: {', '.join(f'{count} {state}' for state, count in counts.items())}; nothing was started")
    return 1 if counts["impossible"] else 0


def _state(job: Job) -> tuple[str, str]:
    """Return the state of a planned run, in words, and what there is to say of it."""
    if job.error:
        return "impossible", job.error
    if job.complete:
        return "complete", stopped_seeds(job.folder)
    reason = record.read_failure(job.folder)
    failed = f"failed last time: {reason}" if reason else ""
    if failed or (job.folder / record.CONFIG).exists():
        share = progress.read_progress(job.folder)
        return f"unfinished {100 * share:.0f} %" if share else "unfinished", failed
    return "new", ""


def run(jobs: list[Job], launch: Callable[[list[list[str]]], Sequence[Outcome]]) -> int:
    """Run the jobs that are left, print the table, draw the figures.

    Args:
        jobs: from `plan`.
        launch: starts runs, given their overrides, and returns their `Outcome`s when all have ended.

    Returns:
        The exit code: 0 if every run is complete, 1 if one is not, 130 after Ctrl-C.
    """
    possible = [job for job in jobs if not job.error]  # the others may point to the folder of another run
    # The longest sequences first: the short ones then fill the cores evenly at the end.
    left = sorted((job for job in possible if not job.complete), key=lambda job: -job.length)
    _find_fonts(possible)
    _announce(jobs, left)
    interrupted = bool(left) and _launch(left, launch)
    complete = [job for job in possible if record.is_complete(job.folder)]
    with ending.at_once():
        with language(next((job.lang for job in complete), "en")):
            written = show_table([job.folder for job in complete], {job.study for job in complete})
        drawn = interrupted or draw(complete, again=bool(left))
    for job in complete:
        job.error = job.error or stopped_seeds(job.folder)
    unfinished = [job for job in jobs if job.error or not record.is_complete(job.folder)]
    if interrupted:
        say(f"\ninterrupted; {len(unfinished)} of {len(jobs)} runs are left: the same command goes on where they were")
        return 130
    _name_unfinished(unfinished, len(jobs))
    return 1 if unfinished or not (drawn and written) else 0


def _find_fonts(jobs: Sequence[Job]) -> None:
    """Refuse figures in a language that no font here can write, before hours are spent.

    Raises:
        ConfigError: in one line, how to get a font.
    """
    for lang in {job.lang for job in jobs if job.images} - {"en"}:
        from memexp.fonts import family_for  # slow to import, as is all that draws

        family_for(lang)


def _announce(jobs: list[Job], left: list[Job]) -> None:
    """Say what will be done, and what not."""
    for job in jobs:
        if job.complete and not job.error:
            say(f"skipped, complete already: {job.name}")
    if left:
        say(f"{len(left)} of {len(jobs)} runs to do, in {left[0].folder.parent}")
    if any(job.engine == "auto" for job in left):  # each of these runs says it too, in its own log
        from memexp.compiled import cache  # loads torch

        broken = cache.missing()
        if broken:
            say(f"{broken}: {cache.INSTEAD}")
    cannot = sum(bool(job.error) for job in jobs)
    if cannot:
        say(f"{cannot} of {len(jobs)} cannot be run; the reasons are at the end")


def _name_unfinished(unfinished: list[Job], total: int) -> None:
    if unfinished:
        say(f"\n{len(unfinished)} of {total} runs are not complete:")
    for job in unfinished:
        say(f"  {job.name}: {job.error or 'not finished'}")


def _launch(left: list[Job], launch: Callable[[list[list[str]]], Sequence[Outcome]]) -> bool:
    """Launch runs and note how each ended; say whether that was interrupted."""
    for job in left:
        with contextlib.suppress(OSError):  # of an earlier try; a run removes it only when its turn comes
            (job.folder / record.FAILURE).unlink(missing_ok=True)
    try:
        with _watching(left):
            outcomes = launch([job.overrides for job in left])
        for job, outcome in zip(left, outcomes, strict=True):
            job.error = outcome.error
    except KeyboardInterrupt:
        return True
    except MemexpError as error:
        say(str(error))
    except Exception as error:  # from joblib: a worker was killed, or could not write Hydra's own files
        reason = (str(error).strip().splitlines() or [""])[0]
        memory = "; too little memory?" if type(error).__name__ == "TerminatedWorkerError" else ""
        say(f"the runs were ended by {type(error).__name__}: {reason}{memory}")
    return False


def stopped_seeds(folder: Path) -> str:
    """Say which seeds of a complete run stopped, see `stopped_in`; or why its record cannot be read."""
    try:
        return stopped_in(record.read_summary(folder))
    except MemexpError as error:
        return str(error)


def stopped_in(summary: Mapping[str, Any]) -> str:
    """Say which seeds of a complete run stopped because their loss was not finite; nothing if none did."""
    seeds = summary["seeds"]
    stopped = [seed["seed"] for seed in seeds if seed["diverged_at"] is not None]
    if not stopped:
        return ""
    rest = "all of them" if len(stopped) == len(seeds) else "the other seeds are complete"
    return f"the loss of seeds {stopped} was not finite ({rest}); try a smaller lr or clip=1"


def study_folder(config: DictConfig) -> Path:
    """Return where a study's runs are, and its table, unless the user has put them elsewhere."""
    return Path(config.outputs_dir, config.study).resolve()


def show_table(folders: list[Path], studies: Collection[Path]) -> bool:
    """Print the table of these complete runs, study by study; write that of each whole study to results.csv.

    Args:
        folders: of the runs.
        studies: the folders that belong to a study, see `study_folder`: no file is written into any other.

    Returns:
        Whether all runs could be read, and the tables written.
    """
    if not folders:
        return True
    from memexp.results import tables
    from memexp.results.collect import collect

    well = True
    for study in sorted({shown(folder.parent) for folder in folders}):
        found = collect([folder for folder in folders if shown(folder.parent) == study])
        for line in found.missing:  # complete, but it cannot be read
            say(line)
            well = False
        if found.rows.empty:
            continue
        several = found.rows["task.name"].nunique() > 1  # each has a table, without what differs between tasks alone
        for task, own in found.rows.groupby("task.name", sort=False):
            scores = {name: share for name, share in found.shown.items() if not several or own[name].notna().any()}
            say("\n" + f"{task}:\n" * several + tables.shown_text(tables.results(own, found.settings, scores), scores))
        say(f"{tr('(mean over seeds and its 95 % interval)')}\n")
        if study.resolve() not in studies:
            say(f"no table of {study} is kept: it is not the folder of a study, outputs_dir/study")
            continue
        try:
            say(f"all runs of the study, seed by seed: {write_results(study)}")
        except MemexpError as error:
            say(str(error))
            well = False
    return well


def draw(jobs: Sequence[Job], again: bool = True) -> bool:
    """Draw the figures of these runs' studies, as ``python -m memexp.analysis`` does, and write their reports.

    Args:
        jobs: complete runs.
        again: also where all is there already, and made from what the records hold now.

    Returns:
        Whether that went well.
    """
    if not any(job.images for job in jobs):
        return True
    from memexp.analysis.command import analyse, is_analysed  # slow to import, as is all that draws
    from memexp.fonts import speaking

    well = True
    drawn = sorted({(shown(job.folder.parent), job.images, job.lang) for job in jobs if job.images})
    for study, images, lang in drawn:
        datasets = next((job.datasets for job in jobs if job.report and job.folder.parent.name == study.name), None)
        try:
            with speaking(lang):
                if again or not is_analysed([study.name], study.parent, images):
                    complaints = Complaints(quiet=True)  # a run of this sweep that failed is named below
                    for _ in analyse([study.name], study.parent, images, complaints):
                        pass
                    count = complaints.count
                    less = f"; left out: {count} (python -m memexp.analysis says why)" if count else ""
                    say(f"figures and tables: {images / study.name}{less}")
                    _send_figures(study, images, next(job.logger for job in jobs if shown(job.folder.parent) == study))
                well = (datasets is None or _report(study, images, datasets, again)) and well
        except MemexpError as error:
            say(str(error))
            well = False
    return well


def _send_figures(study: Path, images: Path, logger: str) -> None:
    """Send the figures of a study to its runs' logger, if they have one."""
    if logger != NO_LOGGER:
        from memexp.tracking import send_figures  # a run's libraries, which a sweep needs for this alone

        send_figures(logger, study, images / study.name)


def _report(study: Path, images: Path, datasets: Path, again: bool) -> bool:
    """Write the report on a study; say if that went well."""
    from memexp.report import is_reported, write_report

    if not again and is_reported(study.name, study.parent, images):
        return True
    complaints = Complaints()
    say(f"report: {write_report(study.name, study.parent, images, datasets, complaints)}")
    return not complaints.count


def write_results(study: Path) -> Path:
    """Write ``results.csv``: all complete runs of a study, a row for each setting and seed."""
    from memexp.results.collect import collect
    from memexp.results.study import once

    found = collect(record.run_folders(study))
    if found.rows.empty:
        raise RecordError(f"{study} has no complete run that can be read; no table was written")
    path = study / "results.csv"
    record.write_text(path, once(found.rows, found.settings).to_csv(index=False, lineterminator="\n"))
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
    total = sum(job.length for job in jobs)
    share = {job.name: 0.0 for job in jobs}
    seen: set[str] = set()
    begun: tuple[float, float] | None = None  # when the first progress was seen, and how much that was

    def left() -> str:
        """Estimate the time left, once there is something to go by."""
        done = sum(share[job.name] * job.length for job in jobs)
        if begun is None or done - begun[1] < 0.02 * total or done >= total:
            return ""
        return f"about {progress.duration((time.monotonic() - begun[0]) * (total - done) / (done - begun[1]))} left"

    with progress.bar(total, f"0 of {len(jobs)} runs", "{desc} |{bar}| {percentage:3.0f} %") as bar:
        while True:
            last_look = ended.is_set()
            for job in jobs:
                if job.name not in seen:
                    share[job.name] = progress.read_progress(job.folder)
            over = [job for job in jobs if job.name not in seen and _is_over(job.folder)]
            for job in over:
                seen.add(job.name)
                share[job.name] = 1.0
            done = sum(share[job.name] * job.length for job in jobs)
            if begun is None and done > 0:
                begun = time.monotonic(), done
            bar.n = round(done, 2)
            bar.set_description_str(f"{len(seen)} of {len(jobs)} runs{', ' if left() else ''}{left()}")
            for place, job in enumerate(over, len(seen) - len(over) + 1):
                say(_line(job, place, len(jobs), left()))
            if last_look:
                return
            ended.wait(1.0)


def _is_over(folder: Path) -> bool:
    return record.is_complete(folder) or (folder / record.FAILURE).exists()


def _line(job: Job, ended: int, total: int, left: str) -> str:
    if not record.is_complete(job.folder):
        return f"[{ended}/{total}] {job.name} failed: {record.read_failure(job.folder)}"
    try:
        summary = record.read_summary(job.folder)
    except RecordError as error:
        return f"[{ended}/{total}] {error}"
    scores = "".join(f"{score}, " for score in record.shown_scores(summary["seeds"], summary["shown"])[-1:])
    return f"[{ended}/{total}] {job.name}: {scores}{progress.duration(summary['seconds'])}{'; ' + left if left else ''}"
