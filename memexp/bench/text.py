"""The speed of character language models, for ``python -m memexp.bench text=true``.

As large as the tutorials' (d2l.ai, chapter 9): hidden 256, one-hot characters, batches of 32 sequences of 35
characters, on the English text that comes with memexp. nn.RNN, nn.LSTM and nn.GRU against memexp's runner with S seeds
in lockstep; both draw the same batches, begin with the same weights and update them with torch's fused Adam.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import process_time as clock

from torch import Tensor

from memexp.bench import baselines, contest, parity
from memexp.bench.contest import LAYER, MODELS, TORCH, Contestant, Record
from memexp.models.networks import MakeCell, SequenceModel
from memexp.tasks.char_lm import CharLM

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
    model = text_model(make_cell, task, hidden_size)
    network = baselines.torch_classifier(model, 0)
    seconds = baselines.training(network, batches(task), LEARNING_RATE, clock, fused=True)
    return Contestant(LAYER, 1, seconds, partial(parity.check, parity.by_layer, model, *next(batches(task))))


def memexp_contestant(make_cell: MakeCell, seeds: int, hidden_size: int) -> Contestant:
    """Enter memexp's runner with torch's engine, the faster one for models that are so large."""
    task = text_task(seeds)
    model = text_model(make_cell, task, hidden_size)
    return contest.memexp_contestant(TORCH, task, model, LEARNING_RATE, next(batches(task)))


def compare(
    name: str, seeds: Sequence[int], rounds: int, updates: int, hidden_size: int = HIDDEN_SIZE
) -> tuple[list[Record], list[str]]:
    """Time all contestants on one model that torch has a layer for.

    Returns:
        A row of the table for each; and a line for each that computes something else, which has no row.
    """
    make_cell = MODELS[name]
    entered = [layer_contestant(make_cell, hidden_size)]
    entered += [memexp_contestant(make_cell, S, hidden_size) for S in seeds]
    admitted, refused = contest.admitted(entered, f"{name}, text")
    times = contest.measure([contestant for contestant, _ in admitted], rounds, updates)
    by_name = {contestant.name: ms for (contestant, _), ms in zip(admitted, times, strict=True)}
    rows = []
    for (contestant, found), ms in zip(admitted, times, strict=True):
        rows.append(
            {
                "model": name,
                "contestant": contestant.name,
                "seeds": contestant.seeds,
                "ms_per_update_and_seed": ms,
                "characters_per_second": BATCH_SIZE * LENGTH / ms * 1e3,
                "times_faster_than_layer": by_name[LAYER] / ms if LAYER in by_name else None,
                **contest.differences(found),
            }
        )
    return rows, refused


def table(rows: Sequence[Record]) -> str:
    """Format what `compare` returns for the terminal."""
    lines = [["model", "contestant", "seeds", "ms/update/seed", "characters/s", "x torch's"]]
    for r in rows:
        ms, rate = f"{r['ms_per_update_and_seed']:.1f}", f"{r['characters_per_second']:.0f}"
        factor = r["times_faster_than_layer"]
        faster = "-" if factor is None else f"{factor:.2f}"
        lines.append([r["model"], r["contestant"], str(r["seeds"]), ms, rate, faster])
    return contest.aligned(lines, "<<>>>>")
