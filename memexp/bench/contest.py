"""A contest: several ways to train the same model take turns in one process and on one thread.

Nobody takes part who computes something else (`memexp.bench.parity`).

Time is that of the processor (`time.process_time`): with one thread it is what the clock on the wall shows while
nothing else runs, and it leaves out what other processes take away. The median over the rounds counts, so that whatever
else the machine does hits all alike. Axis letters as in `memexp.models.cells`.
"""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time as clock
from typing import Any

import torch
from torch import Tensor

from memexp.bench import baselines, parity
from memexp.bench.parity import MakeEngine, Parity
from memexp.compiled import cache
from memexp.compiled.engine import CompiledEngine
from memexp.files import write_atomically
from memexp.models.cells import GRU, LSTM, SRN, MinGRU, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell, SequenceModel
from memexp.results.history import History
from memexp.results.seals import Seal, seal_of
from memexp.tasks.metrics import Loss
from memexp.tasks.task import Task
from memexp.training.engines import Engine, TorchEngine
from memexp.training.runner import Runner
from memexp.words import columns, tr

MODELS: dict[str, MakeCell] = {
    "srn": SRN,
    "residual_srn": ResidualSRN,
    "lstm": partial(LSTM, variant="none"),
    "lstm_peephole": partial(LSTM, variant="peephole"),
    "lstm_coupled": partial(LSTM, variant="coupled"),
    "gru": partial(GRU, reset_after=True),
    "gru_reset_before": partial(GRU, reset_after=False),
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}
LAYER_MODELS = ("srn", "lstm", "gru")  # those that torch has a layer for
LOOP, LAYER = "plain loop", "torch's layer"
TORCH, COMPILED = "memexp engine=torch", "memexp engine=compiled"
NEVER = 1 << 62

Record = dict[str, Any]
"""A row of the CSV: column -> value, None where it does not apply."""


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Attributes:
        name: of the way.
        seeds: S.
        seconds: ``seconds(n)`` trains on and returns the time that n updates took.
        parity: compares a fresh one with what is right.
    """

    name: str
    seeds: int
    seconds: Callable[[int], float]
    parity: Callable[[], Parity]


class NoHistory(History):
    """A history that forgets."""

    def __init__(self) -> None:
        self.evaluated_at = -1

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        """Note nothing."""

    def flush(self) -> Seal:
        """Write nothing."""
        return seal_of(b"")


def build_model(make_cell: MakeCell, task: Task, embedding_size: int, hidden_size: int) -> SequenceModel:
    """Build a model of one layer for the seeds of a task, with the book's initial weights."""
    of = task.interface
    model = SequenceModel(
        make_cell, len(task.seeds), of.inputs, of.outputs, of.every_step, embedding_size, [hidden_size], False, "zero"
    )
    model.initialise(task.seeds, "xavier", 0.0, of.longest, [])
    return model


def torch_engine(model: SequenceModel, loss: type[Loss], optimizer: str, lr: float) -> Engine:
    """Build ``engine=torch`` as `memexp.experiment` does."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    return TorchEngine(model, kind(model.parameters(), lr=lr, fused=True), loss, "mean", None, "global")


def compiled_engine(model: SequenceModel, loss: type[Loss], optimizer: str, lr: float) -> Engine:
    """Build ``engine=compiled`` as `memexp.experiment` does."""
    return CompiledEngine(model, optimizer, lr, loss, "mean", None, "global")


ENGINES: dict[str, MakeEngine] = {TORCH: torch_engine, COMPILED: compiled_engine}


def engines() -> list[str]:
    """Return the names of the engines that work here."""
    return [name for name in ENGINES if name != COMPILED or cache.why_not() is None]


def memexp_contestant(
    name: str, task: Task, model: SequenceModel, lr: float, data: tuple[Tensor, Tensor]
) -> Contestant:
    """Enter memexp's runner with one of the `ENGINES`.

    Args:
        name: of the engine.
        task: the task.
        model: for its seeds.
        lr: of Adam.
        data: inputs [B, L] and targets [B, A] on which it is compared with what is right.
    """
    make, compared = ENGINES[name], partial(parity.check, parity.by_engine(ENGINES[name], task.loss), deepcopy(model))
    runner = Runner(make(model, task.loss, "adam", lr), task.loss, task.metrics)
    return Contestant(name, len(task.seeds), runner_seconds(runner, task), partial(compared, *data))


def runner_seconds(runner: Runner, task: Task) -> Callable[[int], float]:
    """Return a function that trains on for a number of updates and returns the seconds they took."""

    def seconds(updates: int) -> float:
        stamps: list[float] = []
        runner.train(
            task.batch,
            task.chooser(),
            runner.iteration + updates + 2,
            NoHistory(),
            eval_steps=NEVER,
            log_steps=NEVER,
            checkpoint=None,
            checkpoint_seconds=NEVER,
            progress=lambda _: stamps.append(clock()),
        )
        # the first update warms up, the last one evaluates on dev: what lies between them counts
        return stamps[updates] - stamps[0]

    return seconds


def measure(contestants: Sequence[Contestant], rounds: int, updates: int) -> list[float]:
    """Let the contestants take turns; return milliseconds per update and seed, the median over the rounds."""
    for contestant in contestants:
        contestant.seconds(1)
    samples = [[c.seconds(updates) * 1e3 / updates / c.seeds for c in contestants] for _ in range(rounds)]
    return [median(column) for column in zip(*samples, strict=True)]


def admitted(contestants: Sequence[Contestant], where: str) -> tuple[list[tuple[Contestant, Parity]], list[str]]:
    """Compare every contestant with what is right.

    Returns:
        Those that compute the same; and, for each of the others, a line that says what differs by how much.
    """
    found = [(contestant, contestant.parity()) for contestant in contestants]
    refused = [
        f"{where}: no speed of {c.name}, {c.seeds} seed{'s'[: c.seeds > 1]}: {compared.complaint}"
        for c, compared in found
        if compared.complaint
    ]
    return [(contestant, compared) for contestant, compared in found if not compared.complaint], refused


def differences(found: Parity) -> Record:
    """Return the columns of the CSV that say how far a contestant is from what is right."""
    return {
        "compared_with": found.right,
        "output_difference": found.double.outputs,
        "gradient_difference": found.double.gradients,
        "output_difference_float32": found.single.outputs,
        "gradient_difference_float32": found.single.gradients,
    }


def has_torch_layer(make_cell: MakeCell) -> bool:
    """Say whether torch has a layer that computes what a cell does."""
    return not baselines.no_torch_layer(make_cell(1, 1, 1))


def aligned(lines: Sequence[Sequence[str]], sides: str) -> str:
    """Set words in columns, each flush left (<) or right (>)."""
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]

    def padded(text: str, side: str, width: int) -> str:
        space = " " * (width - columns(text))
        return text + space if side == "<" else space + text

    return "\n".join("  ".join(map(padded, line, sides, widths)) for line in lines)


def parity_lines(records: Sequence[Record]) -> str:
    """Format the largest differences of memexp's engines and the loop, a line for each model and length."""
    lines = [
        tr("largest difference from torch's layer or, if there is none, from the stepped cell (share of the size):")
    ]
    for name, length in dict.fromkeys((r["model"], r.get("length")) for r in records):
        rows = [r for r in records if (r["model"], r.get("length")) == (name, length)]
        named = [f"{what}_difference{kind}" for kind in ("", "_float32") for what in ("output", "gradient")]
        outputs, gradients, outputs_32, gradients_32 = (f"{max(r[column] for r in rows):.1e}" for column in named)
        of = tr(f"{name}, length {length}") if length else name
        lines.append(tr(f"{of}: outputs {outputs}, gradients {gradients}; float32 {outputs_32}, {gradients_32}"))
    return "\n".join(lines)


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write records as CSV, with the first one's columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_atomically(path, text.getvalue().encode())


def say(what: str) -> None:
    """Say on stderr what is being measured."""
    print(f"measuring {what} ...", file=sys.stderr, flush=True)
