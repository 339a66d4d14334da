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
from typing import Any

import torch
from torch import Tensor

from memexp.bench.command import LAYER, MEMEXP, MODELS, Contestant, baselines, measure, runner_seconds
from memexp.models.networks import MakeCell, SequenceLabeller
from memexp.tasks.char_lm import CharLM
from memexp.training.runner import Runner

BATCH_SIZE, NUM_STEPS, HIDDEN_SIZE, LEARNING_RATE = 32, 35, 256, 1e-2  # the tutorials'


def build_task(seeds: int) -> CharLM:
    """Build the task; its text comes with memexp."""
    with tempfile.TemporaryDirectory() as folder:
        return CharLM(range(seeds), BATCH_SIZE, Path(folder), num_steps=NUM_STEPS)


def build_model(make_cell: MakeCell, task: CharLM, hidden_size: int) -> SequenceLabeller:
    """Build the model for the seeds of a task."""
    S = len(task.seeds)
    model = SequenceLabeller(make_cell, S, task.symbols, task.classes, embedding_size=0, widths=[hidden_size])
    model.initialise(task.seeds)
    return model


def batches(task: CharLM) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the first seed, inputs and targets [B, L]."""
    for iteration in itertools.count():
        rows = task.batch(iteration)
        yield rows.inputs[0], rows.targets[0]


def layer_contestant(make_cell: MakeCell, hidden_size: int) -> Contestant:
    """Enter torch's own layer."""
    task = build_task(1)
    network = baselines.torch_classifier(build_model(make_cell, task, hidden_size), 0)
    return Contestant(LAYER, 1, baselines.training(network, batches(task), LEARNING_RATE, clock, fused=True))


def memexp_contestant(make_cell: MakeCell, seeds: int, hidden_size: int) -> Contestant:
    """Enter memexp's runner, as `memexp.experiment` sets it up."""
    task = build_task(seeds)
    model = build_model(make_cell, task, hidden_size)
    runner = Runner(model, torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True), metric=task.metric)
    return Contestant(MEMEXP, seeds, runner_seconds(runner, task))


def parity(make_cell: MakeCell, seeds: int, hidden_size: int) -> tuple[float, float]:
    """Return the largest `baselines.differences` over the seeds of a group: float64, the first batch."""
    task = build_task(seeds)
    model = build_model(make_cell, task, hidden_size).double()
    data = next(batches(task))
    found = [baselines.differences(model, k, baselines.torch_classifier(model, k), *data) for k in range(seeds)]
    return max(outputs for outputs, _ in found), max(gradients for _, gradients in found)


def compare(
    name: str, seeds: Sequence[int], rounds: int, updates: int, hidden_size: int = HIDDEN_SIZE
) -> list[dict[str, Any]]:
    """Time all contestants on one model that torch has a layer for; return a row of the table for each."""
    make_cell = MODELS[name]
    contestants = [layer_contestant(make_cell, hidden_size)]
    contestants += [memexp_contestant(make_cell, S, hidden_size) for S in seeds]
    times = measure(contestants, rounds, updates)
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
                "characters_per_second": BATCH_SIZE * NUM_STEPS / ms * 1e3,
                "times_faster_than_layer": times[0] / ms,
                "output_difference": outputs,
                "gradient_difference": gradients,
            }
        )
    return table
