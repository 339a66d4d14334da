"""One run, from config to record: the only place that builds objects from a config."""

import dataclasses
import hashlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

import memexp
from memexp import contract, ending, progress
from memexp.compiled import cache
from memexp.compiled import engine as compiled
from memexp.config import NO_LOGGER, ModelConfig, class_of, identity
from memexp.errors import ConfigError, MemexpError, RecordError
from memexp.models.networks import SequenceModel, widths_for
from memexp.results import claims, record
from memexp.results.history import History
from memexp.results.identity import LATER, check_identity, engine_of, identity_text
from memexp.results.seals import Seal
from memexp.tasks.task import Interface, Task
from memexp.tracking import Tracker, tracking
from memexp.training import credit, extending, joining, machine, scoring
from memexp.training.engines import Engine, TorchEngine
from memexp.training.runner import Runner
from memexp.training.streak import Streak
from memexp.weights import start

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What belongs to one run: its config, its folder, its task, its model on its device."""

    config: DictConfig
    folder: Path
    task: Task
    model: SequenceModel
    device: str

    @property
    def settings(self) -> dict[str, Any]:
        """The config as plain data; settings that came after there were records stand in it only where they are set."""
        settings: dict[str, Any] = OmegaConf.to_container(self.config, resolve=True)  # type: ignore[assignment]
        return {key: value for key, value in settings.items() if key not in LATER or value is not None}

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this run and no other."""
        return identity(self.config, fingerprint(self.config, self.task))

    @property
    def updates(self) -> int:
        """How many updates it has in all."""
        return int(self.config.epochs) * self.task.updates_per_epoch

    @property
    def name(self) -> str:
        """The model's name, and what it trains on, in words."""
        return f"{self.config.model.name} trains on {self.task.trained_on}"


def own_settings(node: DictConfig, shared: type) -> dict[str, Any]:
    """Return the settings of a node that only its class has."""
    names = {field.name for field in dataclasses.fields(shared)}
    return {str(key): value for key, value in node.items() if key not in names}


def build_task(config: DictConfig) -> Task:
    """Build the task that a checked config asks for."""
    kind: Callable[..., Task] = class_of(config.task, "task")
    return kind(
        length=config.length,
        seeds=list(config.seeds),
        batch_size=config.batch_size,
        folder=Path(config.datasets_dir),
        **{str(key): value for key, value in config.task.items() if key not in ("_target_", "name")},
    )


def build_model(config: DictConfig, interface: Interface, initialise: bool = True) -> SequenceModel:
    """Build the model that a checked config asks for, for a task's interface, on the CPU.

    Args:
        config: the checked config.
        interface: of its task.
        initialise: give the weights their values before the first update; not needed where others are loaded.

    Raises:
        ConfigError: the settings do not fit the cell, or a file of weights does not fit the layers.
    """
    settings, seeds = config.model, list(config.seeds)
    make_cell = partial(class_of(settings, "model"), **own_settings(settings, ModelConfig))

    def build(widths: Sequence[int]) -> SequenceModel:
        return SequenceModel(
            make_cell, len(seeds), interface.inputs, interface.outputs, interface.every_step, settings.embedding_size,
            widths, settings.bidirectional, settings.initial_state,
        )  # fmt: skip

    given = settings.hidden_size
    widths = list(given) if isinstance(given, ListConfig) else [given]
    if settings.parameters is not None:
        widths = widths_for(settings.parameters, len(widths), build)
    try:
        model = build(widths)
    except RuntimeError as error:  # torch's word for too little memory
        raise ConfigError(f"a model of {widths} units for {len(seeds)} seeds does not fit into memory") from error
    if initialise:
        model.initialise(seeds, settings.initialiser, settings.forget_bias, interface.longest, settings.files)
    return model


def fingerprint(config: DictConfig, task: Task) -> str:
    """Return a hash of all that a run reads from files: its data and, where it has them, its initial weights."""
    return "+".join([task.fingerprint(), *first_weights(config)])


def first_weights(config: DictConfig) -> list[str]:
    """Return a hash of each file of initial weights."""
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in config.model.files]


def build_optimizer(config: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer that a checked config asks for, for torch's engine."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return kinds[config.optimizer](model.parameters(), lr=config.lr, fused=True)


def choose_engine(config: DictConfig, task: Task, model: SequenceModel, begun: str | None) -> str:
    """Return ``compiled`` or ``torch``.

    Args:
        config: the checked config. ``engine=auto`` means the engine that the run was begun with; else ``compiled``
            where it covers the run and is the faster one. It is at home on the CPU, which ``device=auto`` allows.
        task: of the run.
        model: of the run, on the CPU.
        begun: the engine that it was begun with, if it was.

    Raises:
        ConfigError: ``compiled`` is asked for, or was begun with, where it does not cover the run, or cannot work.
    """
    asked = begun if config.engine == "auto" else config.engine
    if asked == "torch":
        return "torch"
    missing = compiled.not_covered(model, task.loss, task.batch(0), "cuda" if config.device == "cuda" else "cpu")
    if not (asked or missing or compiled.is_faster(model)):
        return "torch"
    broken = None if missing else cache.why_not()
    if asked and (missing or broken):
        reason = f"it does not cover {missing}" if missing else broken
        other = "engine=torch and another study=NAME, for it was begun so" if begun else "engine=torch or engine=auto"
        raise ConfigError(f"engine=compiled is not possible here: {reason}; give {other}")
    if broken:
        log.warning("%s: %s", broken, cache.INSTEAD)
    return "torch" if missing or broken else "compiled"


def build_engine(this: Run) -> Engine:
    """Build the engine of a run, whose config names it."""
    config, model, loss = this.config, this.model, this.task.loss
    learning = {"reduction": config.reduction, "clip": config.clip, "clip_by": config.clip_by}
    watched = model.watched if config.gradient_norms else {}
    if config.engine == "compiled":
        return compiled.CompiledEngine(model, config.optimizer, config.lr, loss, **learning, watched=watched)
    return TorchEngine(model, build_optimizer(config, model), loss, **learning, watched=watched)


def build_runner(this: Run) -> Runner:
    """Build the runner of a run."""
    return Runner(
        build_engine(this),
        this.task.loss,
        this.task.metrics,
        identity=identity_text(this.identity),
        extras=this.task.extras,
        streak=build_streak(this),
    )


def build_streak(this: Run) -> Streak | None:
    """Build what ends a run once all its seeds get so many sequences in a row right; None where nothing does.

    Raises:
        ConfigError: the task does not say whether an answer is right.
    """
    length, verdict = this.config.until_right, this.task.verdict
    if length is None:
        return None
    if verdict is None:
        raise ConfigError(f"until_right={length} needs a task that says whether an answer is right; leave it out")
    return Streak(length, verdict, len(this.config.seeds), this.device)


def run(config: DictConfig, folder: Path, show_bar: bool = False) -> dict[str, Any]:
    """Do one run, or what is left of it, and write its record.

    Args:
        config: as `memexp.config.check` returned it.
        folder: the run folder; an unfinished run of the same config in it is continued, a complete one is read.
        show_bar: show a progress bar on the terminal.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        ConfigError: the config is not possible.
        DataError: a data file is damaged.
        RecordError: the folder holds another run or a damaged one, is in use, or cannot be written.
        KeyboardInterrupt: interrupted, after a checkpoint.
    """
    machine.prepare()
    check_identity(folder, identity(config))
    device = machine.choose_device(config.device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot make {folder}: {error.strerror}; set outputs_dir to a writable folder") from error
    with claims.hold(folder) as held:
        record.remove_stale(folder)
        with _failure_noted(folder):
            with contract.named(config, "task"):
                task = build_task(config)
            contract.check(config, task, build_task, build_model)
            model, begun = build_model(config, task.interface), engine_of(folder)
            start.begin(model, config, task.extras.get("vocabulary"))
            over = begun is not None and record.is_complete(folder)  # then nothing is trained, by no engine
            engine = begun if over else choose_engine(config, task, model, begun)
            device = "cpu" if engine == "compiled" else device
            config = OmegaConf.merge(config, {"engine": engine})  # type: ignore[assignment]
            this = Run(config, folder, task, model.to(device), device)
        check_identity(folder, this.identity)
        if record.is_complete(folder):
            log.info("%s is complete already: skipped", folder)
            clean(folder)
            return record.read_summary(folder)
        record.write_json(folder / record.CONFIG, this.identity)
        with _failure_noted(folder), tracking(config.logger, folder, this.settings) as tracker:
            summary, written = _join(this, held, show_bar) or _train_and_score(this, held, show_bar, tracker)
            held.check()
            summary = record.write_summary(folder, summary, written=written)
            tracker.end(summary)
    clean(folder)
    _log_summary(summary)
    return summary


def clean(folder: Path) -> None:
    """Remove what a complete run no longer needs; one that was killed between its summary and here did not."""
    for rest in folder.glob(f"{joining.REST}-*"):  # of a run that was joined
        shutil.rmtree(rest, ignore_errors=True)
    with suppress(OSError):
        (folder / progress.PROGRESS).unlink()


def _trained_elsewhere(this: Run) -> list[joining.Part]:
    """Find complete runs that have some of this run's seeds, unless it has begun, or begins where a shorter run ended.

    That one comes first, but where there is nothing left to train. A run with ``until_right`` takes no seeds of others:
    how long each is trained depends on all of them.
    """
    if (this.folder / record.LAST).exists():
        return []
    parts = [] if this.config.until_right else joining.find(this.folder, this.identity, _made_by(this))
    left = len(this.config.seeds) - sum(len(part.seeds) for part in parts)
    return [] if left and extending.begin(this.folder, this.identity, _made_by(this)) else parts


def _made_by(this: Run) -> dict[str, str]:
    return {"memexp": memexp.__version__, "torch": torch.__version__, "device_used": this.device}


def _join(this: Run, held: claims.Hold, show_bar: bool) -> tuple[dict[str, Any], dict[str, Seal]] | None:
    """Train the seeds that no other run has, put all together, and return as `joining.join`; None if that cannot be."""
    parts = _trained_elsewhere(this)
    if not parts:
        return None
    for part in parts:
        log.info("seeds %s are trained already, in %s", part.seeds, part.folder)
    there = {seed for part in parts for seed in part.seeds}
    rest = [seed for seed in this.config.seeds if seed not in there]
    if rest:
        folder, config = (
            joining.rest_folder(this.folder, rest),
            OmegaConf.merge(this.config, {"seeds": rest, "logger": NO_LOGGER}),
        )
        parts = [*parts, joining.Part(folder, run(config, folder, show_bar), rest)]  # type: ignore[arg-type]
    held.check()
    try:
        return joining.join(parts, this.folder, list(this.config.seeds), identity_text(this.identity))
    except RecordError as error:
        log.warning("%s; all seeds are trained instead", error)
        return None


def _train_and_score(
    this: Run, held: claims.Hold, show_bar: bool, tracker: Tracker
) -> tuple[dict[str, Any], dict[str, Seal]]:
    """Train, and return the summary and the seals of what was written."""
    runner, written = _train(this, held, show_bar, tracker)
    summary = scoring.summarise(runner, this.task, this.model, this.settings, _made_by(this))
    return summary, written


def _train(this: Run, held: claims.Hold, show_bar: bool, tracker: Tracker) -> tuple[Runner, dict[str, Seal]]:
    """Train, from the last checkpoint if there is one, and save the best weights; return the runner, and seals."""
    config, folder, task = this.config, this.folder, this.task
    runner = build_runner(this)
    sealed: dict[str, Seal] = {}
    if (folder / record.LAST).exists():
        sealed = runner.load_checkpoint(folder / record.LAST)
        log.info("going on after update %d of %d", runner.iteration, this.updates)
    history = History(folder / record.HISTORY, list(config.seeds), sealed.get(record.HISTORY), tracker.hear)
    if not sealed or sealed[record.HISTORY][1]:  # a checkpoint of before memexp sealed does not know this file
        _cut_off(folder / record.WRITTEN, sealed.get(record.WRITTEN))
    log.info(
        "%s: %d seeds, %d updates, %d parameters a seed, on %s, engine=%s",
        this.name, len(config.seeds), this.updates, this.model.parameter_count, this.device, config.engine,
    )  # fmt: skip
    if runner.iteration == 0 and (warning := little_credit(config, task, this.model)):
        log.warning("%s", warning)
    with (
        progress.bar(this.updates, f"{config.model.name} {task.length}") if show_bar else nullcontext() as bar,
        _interruptible() as stop,
    ):
        if bar is not None:
            bar.update(runner.iteration)
        runner.train(
            task.batch,
            task.chooser().to(runner.device),
            this.updates,
            history,
            eval_steps=config.eval_steps,
            log_steps=config.log_steps,
            checkpoint=folder / record.LAST,
            checkpoint_seconds=config.checkpoint_seconds,
            progress=_reporter(this, runner, history, held, bar),
            should_stop=lambda: stop.is_set() or ending.orphaned(),
        )
    held.check()
    return runner, {record.HISTORY: history.flush(), record.BEST: runner.save_model(folder / record.BEST)}


def little_credit(config: DictConfig, task: Task, model: SequenceModel) -> str | None:
    """Say in a line that too little gradient reaches what has to be remembered, see `memexp.training.credit`.

    Args:
        config: of the run.
        task: of the run.
        model: before its first update.

    Returns:
        None where it is enough, where the task does not say what has to be remembered, or the optimiser is not Adam.
    """
    found = credit.expected(model, task) if config.optimizer == "adam" else None
    return found and credit.warning(model.cell, found.first)


def _cut_off(path: Path, seal: Seal | None) -> None:
    """Take from what a run wrote while it trained what came after its last checkpoint: it is written again.

    Raises:
        RecordError: the part before is not what was sealed, or the file cannot be written or removed.
    """
    if seal is not None:
        record.write_bytes(path, record.read_beginning(path, seal))
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RecordError(f"cannot remove {path}: {error.strerror}; mend that, and give the same command") from error


def _log_summary(summary: dict[str, Any]) -> None:
    for seed in summary["seeds"]:
        if seed["diverged_at"] is not None:
            log.warning("seed %d stopped: the loss of update %d is not finite; try a smaller lr or clip=1",
                        seed["seed"], seed["diverged_at"])  # fmt: skip
    done = [seed for seed in summary["seeds"] if seed["diverged_at"] is None]
    if done:
        log.info(
            "mean over %d seeds: %s; %s, %.0f tokens a second",
            len(done), ", ".join(record.shown_scores(done, summary["shown"])),
            progress.duration(summary["seconds"]), summary["tokens_per_second"],
        )  # fmt: skip


def _reporter(this: Run, runner: Runner, history: History, held: claims.Hold, bar: Any) -> Callable[[int], None]:
    """Return what the runner calls after each update, before anything is written.

    It sees to it that the folder is still this process's, moves the bar, and logs the evaluation after every tenth.
    """
    updates, metric = this.updates, runner.metric.name
    note = progress.progress_file(this.folder, updates)
    tenth, due = max(1, updates // 10), False

    def report(iteration: int) -> None:
        nonlocal due
        held.check(every=claims.LOOK_SECONDS)
        note(iteration)
        this.task.after_update(this.model, iteration, updates, this.folder)
        if bar is not None:
            bar.update(iteration - bar.n)
        due = due or iteration % tenth == 0
        if due and history.evaluated_at == iteration:
            due = False
            log.info(
                "update %d of %d: train loss %.3f, dev loss %.3f, dev %s %.3f; %s",
                iteration, updates, history.latest("train", "loss"), history.latest("dev", "loss"),
                metric.replace("_", " "), history.latest("dev", metric), progress.duration(runner.seconds),
            )  # fmt: skip

    return report


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that training stops between two updates; the second one is as usual."""
    stop = threading.Event()

    def ask_to_stop(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, ask_to_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _failure_noted(folder: Path) -> Iterator[None]:
    """Leave the reason in the run folder when the run ends without a summary."""
    with suppress(OSError):
        (folder / record.FAILURE).unlink(missing_ok=True)
    try:
        yield
    except MemexpError as error:
        if not isinstance(error, claims.ClaimLostError) and not record.is_complete(folder):
            with suppress(OSError):
                (folder / record.FAILURE).write_text(f"{error}\n", encoding="utf-8")
        raise
