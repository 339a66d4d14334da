"""Networks whose weights are set by hand, so that every measure of memory has a known answer; and runs of them."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from helpers import config_of, task_of

from memexp.config import class_of
from memexp.memory.measure import Subject
from memexp.models.cells import IRNN, LSTM, SRN, Cell, MinGRU
from memexp.models.networks import SequenceModel
from memexp.tasks.digit_sum import CLASSES, DIGITS
from memexp.trained import TrainedRun

SUM, CLOCK = 0, 1  # units of a latch
UNIT = 0.04  # of the cell state, for each unit of the sum
BETWEEN = torch.arange(1, CLASSES) - 0.5  # between a sum and the next one
SURE = 2000.0  # times the distance from a threshold: nats between the two answers


def _bare(
    kind: type[Cell] | partial[Cell],
    seeds: int,
    width: int,
    inputs: int = DIGITS,
    outputs: int = CLASSES,
    every_step: bool = False,
) -> SequenceModel:
    """Build a model, of digit sums unless said otherwise, without an embedding, all of whose weights are zero."""
    model = SequenceModel(kind, seeds, inputs, outputs, every_step, 0, [width], False, "zero")
    return model.requires_grad_(False)


def _name_sums(model: SequenceModel, thresholds: torch.Tensor) -> None:
    """Let the head answer k where the first unit is above k of the thresholds: they rise, [CLASSES - 1]."""
    model.head_weight[:, 0] = SURE * torch.arange(CLASSES)
    model.head_bias[:, 1:] = -SURE * thresholds.cumsum(0)


def latch(decays: Sequence[float] = (1.0,)) -> SequenceModel:
    """Build an LSTM that solves digit sums at any length, a seed for each decay of what it holds; 1 never forgets.

    Its second unit counts steps, by which the first one opens its input gate for the first two digits alone. There
    c = `UNIT` (f d_1 + d_2) after both, and then it is multiplied by the forget gate f at every step. The
    answer k is given where c is between `UNIT` (k - 1/2) and `UNIT` (k + 1/2).
    """
    model = _bare(partial(LSTM, variant="none"), len(decays), 2)
    cell = model.cell
    i, f, o, candidate = range(4)
    cell.b[:, [i, f, o]] = 100.0  # open, in every bit
    for k, decay in enumerate(decays):
        if decay < 1:
            cell.b[k, f, SUM] = math.log(decay / (1 - decay))
    cell.b[:, candidate, CLOCK] = 100.0
    cell.b[:, i, SUM], cell.U[:, i, CLOCK, SUM] = 860.0, -1000.0  # tanh(1) < .86 < tanh(2): steps 1 and 2
    cell.W[:, candidate, :, SUM] = torch.atanh(UNIT * torch.arange(DIGITS))
    _name_sums(model, torch.tanh(UNIT * BETWEEN))
    return model


def memoryless(seeds: int = 1) -> SequenceModel:
    """Build an SRN that answers with the last digit, whatever came before it."""
    model = _bare(SRN, seeds, 1)
    model.cell.W[:, 0, :, 0] = torch.atanh(UNIT * torch.arange(DIGITS))
    _name_sums(model, UNIT * BETWEEN)
    return model


def leaky(decays: Sequence[float]) -> SequenceModel:
    """Build a linear recurrence, h_t = a h_{t-1} + (1 - a) d_t, a minGRU of one unit; a seed for each decay a."""
    model = _bare(MinGRU, len(decays), 1)
    keep = torch.tensor(decays)[:, None]
    model.cell.b[:, 0] = torch.log((1 - keep) / keep)  # the update gate weighs the new state
    model.cell.W[:, 1, :, 0] = torch.arange(DIGITS, dtype=torch.float32)
    _name_sums(model, BETWEEN)
    return model


def adder(seeds: int = 1) -> SequenceModel:
    """Build an IRNN that solves adding at any length: one unit is the marked number, the other the sum of those before.

    The first is max(0, number + mark - 1), which is 0 without a mark; the head adds the two.
    """
    model = _bare(IRNN, seeds, 2, 2, 1)
    cell = model.cell
    cell.W[:, 0, :, 0], cell.b[:, 0, 0] = 1.0, -1.0
    cell.U[:, 0, :, 1] = 1.0
    model.head_weight[:] = 1.0
    return model


def copier(keeps: Sequence[bool] = (True,)) -> SequenceModel:
    """Build an LSTM that keeps one of two items over any wait, and says it at every step; a seed for each of ``keeps``.

    The input gate opens for items alone; what does not keep has its forget gate shut, and always says the first.
    """
    model = _bare(partial(LSTM, variant="none"), len(keeps), 1, 4, 2, True)
    cell = model.cell
    i, f, o, candidate = range(4)
    cell.b[:, o] = 100.0
    cell.b[:, f, 0] = torch.where(torch.tensor(keeps), 100.0, -200.0)
    cell.W[:, i, :2, 0], cell.b[:, i] = 200.0, -100.0
    cell.W[:, candidate, 0, 0], cell.W[:, candidate, 1, 0] = -100.0, 100.0
    model.head_weight[:, 0, 1], model.head_bias[:, 0] = SURE, 0.5
    return model


def subject(model: SequenceModel, folder: Path, *overrides: str, task: str = "digit_sum") -> Subject:
    """Make a finished run of a model, with seeds 0, 1, ...; its data go into a folder.

    Args:
        model: of one layer, of a cell of memexp.
        folder: for data.
        overrides: as on the command line, for example ``length=6``.
        task: its name.
    """
    S, name = len(model.head_bias), type(model.cell).__name__.lower()
    sizes = [f"model={name}", f"model.hidden_size={model.widths[0]}", "model.embedding_size=0"]
    given = [f"seeds={[*range(S)]}", *sizes, *overrides]
    config = config_of(f"task={task}", f"datasets_dir={folder}", *given)
    asked = task_of(task, folder, *given)
    summary = {"interface": asdict(asked.interface)}  # all that a record says that `Subject.before` asks for
    run = TrainedRun(folder, config, summary, class_of(config.task, "task"), model)
    (folder / "config.json").write_text('{"data": "none"}')
    return Subject(run, asked)
