"""The speed of character language models, for ``python -m memexp.bench text=true``.

As large as the tutorials' (d2l.ai, chapter 9): hidden 256, one-hot characters, batches of 32 sequences of 35
characters, on the English text that comes with memexp. nn.RNN, nn.LSTM and nn.GRU against memexp's runner with S seeds
in lockstep; both draw the same batches, begin with the same weights and update them with torch's fused Adam.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time as clock

from torch import Tensor

from memexp.bench import baselines, contest
from memexp.bench.contest import LAYER, MEMEXP, MODELS, Contestant, Record
from memexp.models.networks import MakeCell, SequenceModel
from memexp.tasks.char_lm import CharLM
from memexp.tasks.task import Rows

BATCH_SIZE, LENGTH, HIDDEN_SIZE, LEARNING_RATE = 32, 35, 256, 1e-2  # the tutorials'


def text_task(seeds: int) -> CharLM:
    """Build the task; its text comes with memexp."""
    with tempfile.TemporaryDirectory() as folder:
        return CharLM(
            length=LENGTH, seeds=range(seeds), batch_size=BATCH_SIZE, folder=Path(folder), corpus="harbour",
            encoding="utf-8", max_chars=None, lower=False, strip_punctuation=False, keep_newlines=False,
            sampling="random", held_out=0.1, dev_chars=None,
            prefixes=[], pred_period=0, pred_chars=1,
        )  # fmt: skip


def text_model(make_cell: MakeCell, task: CharLM, hidden_size: int) -> SequenceModel:
    """Build the model for the seeds of a task; characters are one-hot."""
    return contest.build_model(make_cell, task, 0, hidden_size)


def batches(task: CharLM) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the first seed, inputs and targets [B, L]."""
    for iteration in itertools.count():
        rows = task.batch(iteration)
        yield rows.inputs[0], rows.targets[0]


def layer_contestant(make_cell: MakeCell, hidden_size: int) -> Contestant:
    """Enter torch's own layer."""
    task = text_task(1)
    network = baselines.torch_classifier(text_model(make_cell, task, hidden_size), 0)
    return Contestant(LAYER, 1, baselines.training(network, batches(task), LEARNING_RATE, clock, fused=True))


def memexp_contestant(make_cell: MakeCell, seeds: int, hidden_size: int) -> Contestant:
    """Enter memexp's runner."""
    task = text_task(seeds)
    return contest.memexp_contestant(task, text_model(make_cell, task, hidden_size), LEARNING_RATE)


def parity(make_cell: MakeCell, seeds: int, hidden_size: int) -> tuple[float, float]:
    """Compare the seeds of a group with torch's layer on the first batch, see `memexp.bench.contest.parity`."""
    task = text_task(seeds)
    return contest.parity(text_model(make_cell, task, hidden_size).double(), Rows(*next(batches(task))))


def compare(name: str, seeds: Sequence[int], rounds: int, updates: int, hidden_size: int = HIDDEN_SIZE) -> list[Record]:
    """Time all contestants on one model that torch has a layer for; return a row of the table for each."""
    make_cell = MODELS[name]
    contestants = [layer_contestant(make_cell, hidden_size)]
    contestants += [memexp_contestant(make_cell, S, hidden_size) for S in seeds]
    times = contest.measure(contestants, rounds, updates)
    table = []
    for contestant, ms in zip(contestants, times, strict=True):
        own = contestant.name == MEMEXP
        outputs, gradients = parity(make_cell, contestant.seeds, hidden_size) if own else (None, None)
        table.append(
            {
                "model": name,
                "contestant": contestant.name,
                "seeds": contestant.seeds,
                "ms_per_update_and_seed": ms,
                "characters_per_second": BATCH_SIZE * LENGTH / ms * 1e3,
                "times_faster_than_layer": times[0] / ms,
                "output_difference": outputs,
                "gradient_difference": gradients,
            }
        )
    return table


def table(rows: Sequence[Record]) -> str:
    """Format what `compare` returns for the terminal."""
    lines = [["model", "contestant", "seeds", "ms/update/seed", "characters/s", "x torch's"]]
    for r in rows:
        ms, rate = f"{r['ms_per_update_and_seed']:.1f}", f"{r['characters_per_second']:.0f}"
        lines.append([r["model"], r["contestant"], str(r["seeds"]), ms, rate, f"{r['times_faster_than_layer']:.2f}"])
    return contest.aligned(lines, "<<>>>>")
