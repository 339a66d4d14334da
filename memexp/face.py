"""memexp from Python: a run, a sweep, their results and figures, a trained model. The package has these as its own.

What a command does is done here by the same parts, so that the records are the same, bit for bit. The process is the
user's: its arguments, folder, threads, logging, warnings and matplotlib stay as they are, Ctrl-C is a
KeyboardInterrupt, and a mistake is a `memexp.errors.MemexpError` of one line.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky import reusable_executor
from omegaconf import DictConfig

from memexp import choosing, ending, grids, jobs, progress, sweeps, trained, workers
from memexp.arguments import check_arguments, check_writable, compose_run, composing, folder_of
from memexp.config import adding
from memexp.errors import Complaints, ConfigError, MemexpError, RecordError, nearest, some
from memexp.explain import explained
from memexp.fonts import speaking
from memexp.results import asked, record, tables
from memexp.results.collect import Collected, collect
from memexp.results.study import find_study, once, study_or_usual
from memexp.settings import as_overrides
from memexp.sweeps import Outcome, stopped_in
from memexp.trained import TrainedRun
from memexp.training import machine
from memexp.words import LANGUAGES

if TYPE_CHECKING:
    from memexp.canvas import Figure

log = logging.getLogger(__name__)

Place = str | PathLike[str]

MULTIRUN = f"hydra.mode={RunMode.MULTIRUN.name}"


@contextlib.contextmanager
def _guest(config_dir: Place | None) -> Iterator[list[str]]:
    """Be a guest in a user's process; yield the folders that are added to conf/."""
    folders = [] if config_dir is None else [str(config_dir)]
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"config_dir={folder} is no folder; give the one that holds model/ or task/")
    with adding(folders), ending.left_alone(), machine.prepared():
        yield folders


def run(*overrides: str, config_dir: Place | None = None, **settings: Any) -> TrainedRun:
    """Do one run, or what is left of it, and return it trained; one that is complete is loaded.

    The run folder is that of ``python -m memexp`` with the same settings, and so are its records, bit for bit. Ctrl-C
    stops between two updates, with a checkpoint; the same call goes on.

        >>> import memexp
        >>> run = memexp.run("model=srn", length=4, epochs=1, seeds=2)
        >>> run.folder.as_posix()
        'outputs/book/epochs=1,length=4,model=srn,seeds=2'
        >>> run.seeds
        [0, 1]
        >>> memexp.run(lenght=4)
        Traceback (most recent call last):
        memexp.errors.ConfigError: unknown key 'lenght' (did you mean length?); python -m memexp --help lists them

    Args:
        overrides: settings as on the command line, ``"model=lstm"``.
        config_dir: a folder with YAML files of your own, as ``--config-dir`` on the command line.
        settings: settings as values: ``length=10``, ``seeds=[3, 7]``, ``clip=None``. Two underscores stand for a dot:
            ``model__hidden_size=64``.

    Returns:
        The run, with each seed's best weights.

    Raises:
        ConfigError: a setting is unknown or not possible.
        DataError: a data file is damaged.
        RecordError: the folder holds another run or a damaged one, is in use, or cannot be written.
        KeyboardInterrupt: interrupted, after a checkpoint.
    """
    with _guest(config_dir):
        given = as_overrides(overrides, settings, several=False)
        flags = _checked(given)
        if flags.sweep:
            names = [override for override in given if override.startswith(("experiment=", "hydra.mode="))]
            raise ConfigError(f"{' '.join(names)} is a sweep; give it to memexp.sweep")
        with composing():
            composed = compose_run(given)
        folder = folder_of(composed)
        with jobs.noted(composed, folder):
            checked, _ = jobs.do(composed, folder, show_bar=True)
        return trained.load(folder, datasets=checked.datasets_dir)


def sweep(*overrides: str, config_dir: Place | None = None, n_jobs: int | None = None, **settings: Any) -> pd.DataFrame:
    """Do the runs of a sweep, side by side, and return their `results`.

    As ``python -m memexp -m`` with the same settings: over both models by itself, with the table and the figures of the
    study at its end (``images_dir=None``: no figures). What is complete is not trained again.

        >>> import memexp
        >>> table = memexp.sweep(length=[4, 5], epochs=1, seeds=2, images_dir=None, n_jobs=1)  # doctest: +ELLIPSIS
        4 of 4 runs to do, in outputs/book
        ...
        >>> table.groupby(["model.name", "length"]).size().to_dict()
        {('lstm', 4): 2, ('lstm', 5): 2, ('srn', 4): 2, ('srn', 5): 2}

    Args:
        overrides: settings as on the command line, ``"experiment=book"``, ``"model=srn,gru"``.
        config_dir: a folder with YAML files of your own.
        n_jobs: how many runs go on at a time; None for one on each core; 1: in this process, one after the other.
        settings: settings as values, see `run`. A list is what is swept over, but for ``seeds``; a list in it is one
            value: ``model__hidden_size=[16, [16, 16]]``.

    Returns:
        A row for each setting and seed.

    Raises:
        MemexpError: a setting is not possible, or a run is not complete; the others are in their folders.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    with _guest(config_dir) as folders:
        given = as_overrides(overrides, settings, several=True)
        _checked(["-m", *given])
        hydras = [override for override in given if override.lstrip("+").startswith(("hydra.", "hydra/"))]
        own = [override for override in given if override not in hydras]
        hydras = [override for override in hydras if not override.startswith("hydra.mode=")] + [MULTIRUN]
        with composing(), explained():
            config = compose_run([*(o for o in own if _is_one_experiment(o)), *hydras])
            at_once = _at_once(config, n_jobs)
            sweeper, loader = config.hydra.sweeper, GlobalHydra.instance().config_loader()
            batch = grids.expand(own, sweeper.params or {}, [dict(grid) for grid in sweeper.grids] or [{}], loader)
            planned = sweeps.plan(batch, lambda one: compose_run([*one, *hydras]))
        impossible = [job for job in planned if job.error]
        for study in sorted({job.folder.parent for job in planned if not job.error and not job.complete}):
            check_writable(study)
        flags = [f"--config-dir={folder}" for folder in folders]
        with asked.noted([job.folder for job in planned if not job.error], [*flags, "-m", *given]):
            code = sweeps.run(planned, lambda left: _launch([[*one, *hydras] for one in left], folders, at_once))
        if code == ending.CODE:
            raise KeyboardInterrupt
        failed = [job for job in planned if job in impossible or not record.is_complete(job.folder)]
        if failed:
            reasons = some((f"{job.name}: {job.error or 'not finished'}" for job in failed), 3)
            raise MemexpError(f"{len(failed)} of {len(planned)} runs are not complete: {reasons}")
        return _table(collect([job.folder for job in planned]))


def results(study: str | None = None, outputs_dir: Place = "outputs", *, intervals: bool = False) -> pd.DataFrame:
    """Return all complete runs of a study, a row for each setting and seed: what ``results.csv`` has.

        >>> import memexp
        >>> _ = memexp.run(model="srn", length=4, epochs=1, seeds=2)
        >>> memexp.results("book")[["model.name", "length", "seed", "parameters"]]
          model.name  length  seed  parameters
        0        srn       4     0        3027
        1        srn       4     1        3027
        >>> memexp.results("book", intervals=True)[["length", "seeds", "exact_low", "exact", "exact_high"]].shape
        (1, 5)

    Args:
        study: its name; None for the only one there, or ``book``.
        outputs_dir: where the studies are.
        intervals: a row for each setting instead: ``exact`` is the mean over seeds, ``exact_low`` and ``exact_high``
            the ends of its 95 % interval, and so on, as in the table at the end of a sweep.

    Returns:
        The settings by their dotted names, and the scores: ``dev_accuracy``, ``test_accuracy``, ``exact_accuracy``, ...
        What is not finished, or damaged, is left out, and said in a line of the log.

    Raises:
        ConfigError: there is no such study.
        RecordError: it has no complete run.
    """
    outputs = Path(outputs_dir)
    folder = find_study(outputs, study_or_usual(outputs, study, "book"))
    found = collect(record.run_folders(folder))
    table = _table(found, folder)
    return tables.results(table, found.settings, found.shown) if intervals else table


def draw(
    study: str | Sequence[str] | None = None,
    figure: str | None = None,
    *,
    outputs_dir: Place = "outputs",
    lang: str = "en",
) -> "Figure":
    """Draw a figure of a study from its records: one of those that ``python -m memexp.analysis`` writes.

        >>> import memexp
        >>> _ = memexp.run("model=srn", length=4, epochs=1, seeds=2)
        >>> [ax.get_title() for ax in memexp.draw("book", "loss_srn_fixed").axes]
        ['length 4']
        >>> memexp.draw("book", "loss")
        Traceback (most recent call last):
        memexp.errors.ConfigError: figure=loss is unknown; allowed: accuracy | overview | ...

    Args:
        study: its name, or several names for figures side by side; None for the only one there, or ``book``.
        figure: its name, without ``.png``; None for the first: scores against length.
        outputs_dir: where the studies are.
        lang: language of the figure, ``en`` or ``zh``.

    Returns:
        The figure. It is shown where it is the result of a cell of a notebook, and has ``savefig``.

    Raises:
        ConfigError: there is no such study or figure, or no font for the language.
        RecordError: the study has no complete run, or they have not noted what the figure shows.
    """
    from memexp.analysis.command import drawings  # slow to import, as is all that draws

    if lang not in LANGUAGES:
        raise ConfigError(f"lang={lang} is not possible; allowed: {', '.join(LANGUAGES)}")
    outputs, names = Path(outputs_dir), [study] if study is None or isinstance(study, str) else list(study)
    with speaking(lang):
        complaints = Complaints(quiet=True)
        found = drawings([study_or_usual(outputs, name, "book") for name in names], outputs, complaints)
        if figure is not None and figure not in found:
            raise ConfigError(f"figure={figure} is unknown{nearest(figure, found)}; allowed: {some(found)}")
        drawn = found[figure or next(iter(found))]()
    if drawn is None:
        raise RecordError(f"figure={figure}: the runs of {study} have not noted what it shows")
    return drawn


def load(
    run: Place,
    model: str | None = None,
    length: int | None = None,
    weights: str = "best",
    *,
    outputs_dir: Place = "outputs",
    datasets_dir: Place = "datasets",
    modules: Sequence[str] = (),
    names: Mapping[str, Any] | None = None,
    config_dir: Place | None = None,
) -> TrainedRun:
    """Load a trained model: of a run folder, of a study's run, or of a file of weights from outside.

        >>> import memexp
        >>> _ = memexp.run(model="srn", length=4, epochs=1, seeds=2)
        >>> memexp.load("outputs/book/epochs=1,length=4,model=srn,seeds=2").summary["title"]
        'SRN'
        >>> memexp.load("book", model="srn", length=4).seeds
        [0, 1]

    Args:
        run: a run folder, the name of a study, or a file of weights.
        model: of a study: the run's model; None for lstm, or the only run. Of a file: which model it is.
        length: and its length; None for 10, or the only run.
        weights: ``best``: of each seed on dev; ``last``: after the last update.
        outputs_dir: where the studies are.
        datasets_dir: where data are, or are made, when they are needed.
        modules: of your own whose cells and tasks may be built; those in ``conf/`` or ``config_dir`` may anyway.
        names: of a file: what its tensors do not tell, see `memexp.weights.layouts.NAMES`.
        config_dir: a folder with YAML files of your own.

    Raises:
        ConfigError: there is no such run or study, or the file cannot be read as a model.
        RecordError: the run is not finished, or its record or weights are damaged or missing.
    """
    if weights not in ("best", "last"):
        raise ConfigError(f"weights={weights} is not possible; allowed: best, last")
    with _guest(config_dir):
        path = Path(run)
        if path.is_file():
            outside, settings = import_module("memexp.weights.outside"), [] if model is None else [f"model={model}"]
            loaded: TrainedRun = outside.load_outside(path, names, length, datasets_dir, settings)
            return loaded
        if not path.is_dir():
            outputs = Path(outputs_dir)
            if len(path.parts) != 1:
                raise ConfigError(f"{path}: there is no such folder; give a run folder, or the name of a study")
            path = choosing.find_run(find_study(outputs, str(run)), model, length, modules=modules)
        return trained.load(path, weights, modules, Path(datasets_dir))


def _checked(given: list[str]) -> Any:
    """Check settings as the command line does, before anything is written; several values of one are a sweep."""
    try:
        return check_arguments(given)
    except ConfigError as error:
        raise ConfigError(str(error).replace("add -m to run it", "give them to memexp.sweep")) from error


def _is_one_experiment(override: str) -> bool:
    """Say whether an override names the experiment whose runs a sweep has; of several each is as the others' runs."""
    read = OverridesParser.create().parse_override(override)
    return read.key_or_group == "experiment" and not read.is_sweep_override()


def _at_once(config: DictConfig, n_jobs: int | None) -> int:
    """Return how many runs may go on at a time."""
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher not in ("joblib", "basic"):
        raise ConfigError(f"hydra/launcher={launcher} is for the command line; memexp.sweep starts its runs here")
    asked_for = n_jobs if n_jobs is not None else config.hydra.launcher.n_jobs if launcher == "joblib" else 1
    if not isinstance(asked_for, int) or asked_for == 0:
        raise ConfigError(f"n_jobs={asked_for} is not possible; give how many runs go on at a time, or None")
    return int(effective_n_jobs(asked_for))


def _launch(batch: list[list[str]], config_dirs: Sequence[str], at_once: int) -> Sequence[Outcome]:
    """Start runs and wait for them: in this process, or in workers that end with it."""
    if min(at_once, len(batch)) == 1:
        return [_job(overrides, config_dirs) for overrides in batch]

    def launch() -> Sequence[Outcome]:
        parallel = Parallel(n_jobs=min(at_once, len(batch)), backend="loky", initializer=ending.end_with_parent)
        outcomes: list[Outcome] = parallel(delayed(_job)(overrides, config_dirs) for overrides in batch)
        return outcomes

    try:
        return workers.apart(launch)
    finally:
        if reusable_executor._executor is not None:  # the user's own would be others
            reusable_executor._executor.shutdown(wait=True)


def _job(overrides: list[str], config_dirs: Sequence[str]) -> Outcome:
    """Do one run of a sweep, in whatever process."""
    try:
        with adding(config_dirs), ending.left_alone(), machine.prepared(), progress.silence(True):
            with composing():
                composed = compose_run(overrides)
            folder = folder_of(composed)
            with jobs.noted(composed, folder, quiet=True):
                _, summary = jobs.do(composed, folder, show_bar=False)
        return Outcome(stopped_in(summary))
    except Exception as error:
        return Outcome.of(error)


def _table(found: Collected, study: Path | None = None) -> pd.DataFrame:
    """Return rows as results.csv has them, and say what is left out."""
    for line in found.missing:
        log.warning("left out: %s", line)
    if found.rows.empty:
        raise RecordError(f"{study or 'the sweep'} has no complete run that can be read")
    return once(found.rows, found.settings).reset_index(drop=True)
