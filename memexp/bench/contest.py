"""A contest: several ways to train the same model take turns in one process and on one thread.

Time is that of the processor (`time.process_time`): with one thread it is what the clock on the wall shows while
nothing else runs, and it leaves out what other processes take away. The median over the rounds counts, so that whatever
else the machine does hits all alike. Axis letters as in `memexp.models.cells`.
"""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time as clock
from typing import Any

import torch

from memexp.bench import baselines
from memexp.files import write_atomically
from memexp.models.cells import GRU, LSTM, SRN, MinGRU, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell, SequenceModel
from memexp.results.record import History
from memexp.results.seals import Seal, seal_of
from memexp.tasks.task import Rows, Task
from memexp.training.engines import TorchEngine
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
LOOP, LAYER, MEMEXP = "plain loop", "torch's layer", "memexp"
NEVER = 1 << 62

Record = dict[str, Any]
"""A row of the CSV: column -> value, None where it does not apply."""


@dataclass(frozen=True)
class Contestant:
    """One way to train: ``seconds(n)`` trains on and returns the time that n updates took."""

    name: str
    seeds: int
    seconds: Callable[[int], float]


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


def memexp_contestant(task: Task, model: SequenceModel, learning_rate: float) -> Contestant:
    """Enter memexp's runner, as `memexp.experiment` sets it up."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    engine = TorchEngine(model, optimizer, task.loss, "mean", None, "global")
    runner = Runner(engine, task.loss, task.metrics)
    return Contestant(MEMEXP, len(task.seeds), runner_seconds(runner, task))


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


def parity(model: SequenceModel, rows: Rows) -> tuple[float, float]:
    """Return the largest `baselines.differences` over the seeds of a model in float64, on rows without a seed axis."""
    seeds = range(len(model.head_bias))
    data = rows.inputs, rows.targets
    found = [baselines.differences(model, k, baselines.torch_classifier(model, k), *data) for k in seeds]
    return max(outputs for outputs, _ in found), max(gradients for _, gradients in found)


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
    """Format the largest differences from torch's layer, a line for each model and length; then name who has none."""
    compared, alone = [], []
    for name, length in dict.fromkeys((r["model"], r.get("length")) for r in records):
        rows = [r for r in records if (r["model"], r.get("length"), r["contestant"]) == (name, length, MEMEXP)]
        if rows[0]["output_difference"] is None:
            alone.append(name)
        else:
            outputs, gradients = (max(r[f"{what}_difference"] for r in rows) for what in ("output", "gradient"))
            of = tr(f"{name}, length {length}") if length else name
            compared.append(tr(f"{of}: outputs {outputs:.1e}, gradients {gradients:.1e}"))
    head = [tr("largest difference of memexp from torch's layer (float64, every seed):")] if compared else []
    tail = [tr(f"torch has no layer for {', '.join(dict.fromkeys(alone))}")] if alone else []
    return "\n".join([*head, *compared, *tail])


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
