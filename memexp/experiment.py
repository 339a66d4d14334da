"""One run, from config to record: the only place that builds objects from a config."""

import dataclasses
import hashlib
import inspect
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

import memexp
from memexp import progress
from memexp.config import ModelConfig, check
from memexp.errors import ConfigError, MemexpError, RecordError
from memexp.models.networks import SequenceClassifier, SequenceLabeller, widths_for
from memexp.results import record
from memexp.tasks.char_lm import CharLM
from memexp.tasks.task import Rows, Task
from memexp.tasks.text.writing import go_on
from memexp.training import machine
from memexp.training.runner import Runner

log = logging.getLogger(__name__)


def build_task(config: DictConfig) -> Task:
    """Build the task that a checked config asks for."""
    kind: Callable[..., Task] = get_class(config.task._target_)
    settings = {str(key): value for key, value in config.task.items() if key not in ("_target_", "name")}
    if "length" in inspect.signature(kind).parameters:
        settings["length"] = config.length
    return kind(
        seeds=list(config.seeds),
        batch_size=config.batch_size,
        folder=Path(config.datasets_dir),
        **settings,
    )


def build_model(config: DictConfig, task: Task, initialise: bool = True) -> SequenceClassifier:
    """Build the model that a checked config asks for, for a task's sizes, on the CPU.

    Args:
        config: the checked config.
        task: its task.
        initialise: give the weights their values before the first update; not needed where others are loaded.

    Raises:
        ConfigError: the settings do not fit the cell, or a file of weights does not fit the layers.
    """
    settings, seeds = config.model, list(config.seeds)
    shared = {field.name for field in dataclasses.fields(ModelConfig)}
    own = {str(key): value for key, value in settings.items() if key not in shared}  # of this cell alone
    make_cell = partial(get_class(settings._target_), **own)

    def build(widths: Sequence[int]) -> SequenceClassifier:
        return (SequenceLabeller if task.every_step else SequenceClassifier)(
            make_cell, len(seeds), task.symbols, task.classes, settings.embedding_size, widths,
            settings.bidirectional, settings.initial_state,
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
        model.initialise(seeds, settings.initialiser, settings.forget_bias, task.longest, settings.files)
    return model


def fingerprint(config: DictConfig, task: Task) -> str:
    """Return a hash of all that a run reads from files: its data and, where it has them, its initial weights."""
    weights = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in config.model.files]
    return "+".join([task.fingerprint(), *weights])


def build_optimizer(config: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer that a checked config asks for."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return kinds[config.optimizer](model.parameters(), lr=config.lr, fused=True)


def run(config: DictConfig, folder: Path, show_bar: bool = False) -> dict[str, Any]:
    """Do one run, or what is left of it, and write its record.

    Args:
        config: as Hydra composed it; checked here.
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
    config = check(config)
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    record.check_identity(folder, record.identity(settings))
    device = machine.choose_device(config.device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"cannot make {folder}: {error.strerror}; set outputs_dir to a writable folder") from error
    with record.lock(folder):
        record.remove_stale(folder)
        with _failure_noted(folder):
            task = build_task(config)
            model = build_model(config, task).to(device)
        identity = record.identity(settings, fingerprint(config, task))
        record.check_identity(folder, identity)
        if record.is_complete(folder):
            log.info("%s is complete already: skipped", folder)
            return record.read_json(folder / record.SUMMARY)
        record.write_json(folder / record.CONFIG, identity)
        with _failure_noted(folder):
            return _train_and_score(config, settings, task, model, folder, device, show_bar)


def _train_and_score(
    config: DictConfig,
    settings: dict[str, Any],
    task: Task,
    model: SequenceClassifier,
    folder: Path,
    device: str,
    show_bar: bool,
) -> dict[str, Any]:
    runner = Runner(
        model,
        build_optimizer(config, model),
        metric=task.metric,
        extras=task.extras,
        reduction=config.reduction,
        clip=config.clip,
        clip_by=config.clip_by,
        watched=model.watched if config.gradient_norms else {},
        identity=(folder / record.CONFIG).read_text(),
    )
    updates = config.epochs * task.updates_per_epoch
    history_bytes = 0
    if (folder / record.LAST).exists():
        history_bytes = runner.load_checkpoint(folder / record.LAST)
        log.info("going on after update %d of %d", runner.iteration, updates)
    history = record.History(folder / record.HISTORY, list(config.seeds), history_bytes)
    log.info(
        "%s trains on %s: %d seeds, %d updates, %d parameters a seed, on %s",
        config.model.name, task.trained_on, len(config.seeds), updates, model.parameter_count, device,
    )  # fmt: skip
    with (
        progress.bar(updates, f"{config.model.name} {task.longest}") if show_bar else _no_bar() as bar,
        _interruptible() as stop,
    ):
        if bar is not None:
            bar.update(runner.iteration)
        runner.train(
            task.batch,
            task.rows("dev").to(runner.device),
            updates,
            history,
            eval_steps=config.eval_steps,
            log_steps=config.log_steps,
            checkpoint=folder / record.LAST,
            checkpoint_seconds=config.checkpoint_seconds,
            progress=_reporter(runner, history, updates, folder, bar, _scribe(task, model, updates, folder)),
            should_stop=stop.is_set,
        )
    history.flush()
    runner.save_model(folder / record.BEST)
    last = _scores_of_last_weights(task, runner)
    runner.use_best()
    summary = _summary(config, settings, task, runner, model, device, last)
    record.write_json(folder / record.SUMMARY, summary)
    with suppress(OSError):
        (folder / progress.PROGRESS).unlink()
    _log_summary(summary)
    return summary


def _summary(
    config: DictConfig,
    settings: dict[str, Any],
    task: Task,
    runner: Runner,
    model: SequenceClassifier,
    device: str,
    more: dict[str, list[float]],
) -> dict[str, Any]:
    """Score each seed's best weights, on test once, and on the whole input distribution; ``more`` scores go with it."""
    started = time.monotonic()
    scores = {
        f"{split}_{name}": values.tolist()
        for split, rows in task.splits().items()
        for name, values in runner.evaluate(rows).items()
    }
    scores = more | scores | task.more_scores(scores)
    tokens = task.batch(0).inputs[0].numel()  # that a seed reads in an update
    diverged, best = runner.diverged_at.tolist(), runner.best_iteration.tolist()
    seeds = []
    for k, seed in enumerate(config.seeds):
        stopped = diverged[k] >= 0
        own = {name: None if stopped else values[k] for name, values in scores.items()}
        seeds.append({"seed": seed, "best_iteration": best[k], "diverged_at": diverged[k] if stopped else None, **own})
    return {
        "format": 1,
        "memexp": memexp.__version__,
        "torch": torch.__version__,
        "device_used": device,
        "parameters": model.parameter_count,
        "state_size": model.state_size,
        "hidden_sizes": model.widths,
        "updates": runner.iteration,
        "seconds": runner.seconds + time.monotonic() - started,
        "tokens_per_second": runner.iteration * len(config.seeds) * tokens / max(runner.seconds, 1e-9),
        **task.about(),
        "config": settings,
        "seeds": seeds,
        **({} if task.every_step else {"test_right": right_or_wrong(runner, task.rows("test"), list(config.seeds))}),
    }


def _scores_of_last_weights(task: Task, runner: Runner) -> dict[str, list[float]]:
    """Score the weights after the last update, never on test: how much of its text has a language model memorised?"""
    if not task.every_step:
        return {}
    name = runner.metric.name
    seen = {split: rows for split, rows in task.splits().items() if split != "test"}
    return {f"last_{split}_{name}": runner.evaluate(rows)[name].tolist() for split, rows in seen.items()}


def right_or_wrong(runner: Runner, rows: Rows, seeds: list[int]) -> dict[str, str]:
    """Return for each seed which rows it gets right, as a string of 0 and 1: for statistics over seeds and rows."""
    right = (runner.predict(rows.inputs).argmax(-1) == rows.targets.to(runner.device)).int().tolist()
    return {str(seed): "".join(map(str, own)) for seed, own in zip(seeds, right, strict=True)}


def _log_summary(summary: dict[str, Any]) -> None:
    for seed in summary["seeds"]:
        if seed["diverged_at"] is not None:
            log.warning("seed %d stopped: the loss of update %d is not finite; try a smaller lr or clip=1",
                        seed["seed"], seed["diverged_at"])  # fmt: skip
    done = [seed for seed in summary["seeds"] if seed["diverged_at"] is None]
    if done:
        log.info(
            "mean over %d seeds: %s; %s, %.0f tokens a second",
            len(done), ", ".join(record.shown_scores(done)), progress.duration(summary["seconds"]),
            summary["tokens_per_second"],
        )  # fmt: skip


def _scribe(task: Task, model: SequenceClassifier, updates: int, folder: Path) -> Callable[[int], None]:
    """Return what lets a language model write every so many epochs: the first seed, into `record.WRITTEN`.

    Each text is one line there, so a newline in it is noted as ``\\n``, and a backslash as two.
    """
    if not isinstance(task, CharLM) or not task.pred_period or not task.prefixes:
        return lambda iteration: None
    path = folder / record.WRITTEN
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def write(iteration: int) -> None:
        epoch, place = divmod(iteration, task.updates_per_epoch)
        if place or (epoch % task.pred_period and iteration != updates):
            return
        # a run that goes on from a checkpoint may have written this already
        kept = [line for line in before if int(line.partition("\t")[0]) < epoch]
        for prefix, codes in task.prefixes:
            text = prefix + "".join(task.vocabulary[code] for code in go_on(model, codes, task.pred_chars))
            text = text.replace("\\", r"\\").replace("\n", r"\n")
            log.info("epoch %d writes: %s", epoch, text)
            kept.append(f"{epoch}\t{text}")
        before[:] = kept
        record.write_text(path, "".join(f"{line}\n" for line in kept))

    return write


def _reporter(
    runner: Runner, history: record.History, updates: int, folder: Path, bar: Any, scribe: Callable[[int], None]
) -> Callable[[int], None]:
    """Return what the runner calls after each update: it moves the bar, and logs the evaluation after every tenth."""
    note = progress.progress_file(folder, updates)
    tenth, due = max(1, updates // 10), False

    def report(iteration: int) -> None:
        nonlocal due
        note(iteration)
        scribe(iteration)
        if bar is not None:
            bar.update(1)
        due = due or iteration % tenth == 0
        if due and history.evaluated_at == iteration:
            due = False
            log.info(
                "update %d of %d: train loss %.3f, dev loss %.3f, dev %s %.3f; %s",
                iteration, updates, history.latest("train", "loss"), history.latest("dev", "loss"),
                runner.metric.name, history.latest("dev", runner.metric.name), progress.duration(runner.seconds),
            )  # fmt: skip

    return report


@contextmanager
def _no_bar() -> Iterator[None]:
    yield None


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
        if not record.is_complete(folder):
            with suppress(OSError):
                (folder / record.FAILURE).write_text(f"{error}\n")
        raise
