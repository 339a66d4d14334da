"""The speed of the digit-sum study (300 rows, batch 8, Adam).

The contestants:

    plain loop              the study as usually written: one example at a time through a DataLoader, a Python loop
                            over time steps, gate by gate; one seed
    torch's layer           nn.RNN, nn.LSTM or nn.GRU on slices of whole tensors; one seed
    memexp engine=torch     this package's runner, S seeds in lockstep; it also keeps running loss and accuracy
    memexp engine=compiled  the same runner with the compiled engine

A cell that torch has no layer for goes without the first two. An update is: fetch the batch, forward pass,
cross-entropy, backward pass, step of Adam. Axis letters as in `memexp.models.cells`.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time as clock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memexp.bench import baselines, contest, parity
from memexp.bench.contest import LAYER, LAYER_MODELS, LOOP, MODELS, Contestant, Record
from memexp.compiled import cache
from memexp.models.cells import LSTM, Cell, MinGRU, MinLSTM
from memexp.models.networks import MakeCell, SequenceModel
from memexp.tasks.digit_sum import CLASSES, DIGITS, DigitSum
from memexp.training import machine
from memexp.words import named, tr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH_SIZE, EMBEDDING_SIZE, HIDDEN_SIZE, LEARNING_RATE = 8, 32, 32, 1e-3  # the book's

Points = dict[str, tuple[int, ...]]
GROWTH: Points = {
    "length": (10, 20, 35, 60, 100),
    "hidden_size": (8, 16, 32, 64, 128, 256),
    "seeds": (1, 2, 5, 10, 20, 40),
    "batch": (1, 2, 4, 8, 16, 32, 64),
}
GROWTH_QUICK: Points = {"length": (5, 10), "hidden_size": (4, 8), "seeds": (1, 2), "batch": (1, 2)}
GROWTH_LABELS = {"length": "length", "hidden_size": "hidden size", "seeds": "seeds", "batch": "batch"}
GROWTH_BASE = {"length": 35, "hidden_size": HIDDEN_SIZE, "seeds": 10, "batch": BATCH_SIZE}


def study_task(length: int, seeds: int, batch: int = BATCH_SIZE) -> DigitSum:
    """Build the book's task; its generated data are read at once, so their folder does not stay."""
    with tempfile.TemporaryDirectory() as folder:
        return DigitSum(
            length=length, seeds=range(seeds), batch_size=batch, folder=Path(folder), sampling="fixed",
            shuffle=False, distractors=1, digits=2, asked="first", data_seed=0, exact_limit=0,
        )  # fmt: skip


def study_model(make_cell: MakeCell, task: DigitSum, hidden_size: int = HIDDEN_SIZE) -> SequenceModel:
    """Build the book's model for the seeds of a task."""
    return contest.build_model(make_cell, task, EMBEDDING_SIZE, hidden_size)


def first_batch(task: DigitSum) -> tuple[Tensor, Tensor]:
    """Return the rows on which contestants are compared, inputs [B, L] and targets [B, 1]."""
    rows = task.rows("train").slice(0, task.batch_size)
    return rows.inputs, rows.targets


def loop_contestant(make_cell: MakeCell, length: int) -> Contestant:
    """Enter the study as usually written.

    Raises:
        ConfigError: there is no loop of the cell.
    """
    task = study_task(length, 1)
    model = study_model(make_cell, task)
    batches = baselines.loaded(task.rows("train"), BATCH_SIZE)
    seconds = baselines.training(baselines.loop_classifier(model, 0), batches, LEARNING_RATE, clock)
    return Contestant(LOOP, 1, seconds, partial(parity.check, parity.by_loop, model, *first_batch(task)))


def layer_contestant(
    make_cell: MakeCell, length: int, hidden_size: int = HIDDEN_SIZE, batch: int = BATCH_SIZE
) -> Contestant:
    """Enter torch's own layer.

    Raises:
        ConfigError: torch has none for the cell.
    """
    task = study_task(length, 1, batch)
    model = study_model(make_cell, task, hidden_size)
    batches = baselines.sliced(task.rows("train"), batch)
    seconds = baselines.training(baselines.torch_classifier(model, 0), batches, LEARNING_RATE, clock)
    return Contestant(LAYER, 1, seconds, partial(parity.check, parity.by_layer, model, *first_batch(task)))


def memexp_contestant(
    engine: str, make_cell: MakeCell, length: int, seeds: int, hidden_size: int = HIDDEN_SIZE, batch: int = BATCH_SIZE
) -> Contestant:
    """Enter memexp's runner with one of `contest.ENGINES`."""
    task = study_task(length, seeds, batch)
    model = study_model(make_cell, task, hidden_size)
    return contest.memexp_contestant(engine, task, model, LEARNING_RATE, first_batch(task))


class Peak(NamedTuple):
    """The largest rates of a machine, on one thread.

    Attributes:
        operations: additions and products, per second: those of a library's matrix product.
        functions: exponential functions with their quotient (sigmoid, tanh), per second.
        bytes: read and written per second, in the processor's own memory.
    """

    operations: float
    functions: float
    bytes: float


def peaks() -> Peak:
    """Measure them in float32, each the best of many turns: a product of 512^3, 4096 sigmoids, a copy of 1 MB.

    Sigmoids are those of the compiled engine, or torch's where there is none.
    """
    size, few, many = 512, 4096, 1 << 18
    a, b, product = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    source, target = torch.rand(many), torch.empty(many)
    numbers, out = source[:few], target[:few]
    functions: Callable[[], object] = partial(torch.sigmoid, numbers, out=out)
    per_call = 1 if cache.why_not() else 100
    if per_call > 1:  # a call takes as long as the sigmoids do
        functions = partial(_compiled_sigmoids(), numbers.numpy(), out.numpy(), per_call)
    return Peak(
        2 * size**3 / _best(partial(torch.matmul, a, b, out=product)),
        few * per_call / _best(functions),
        8 * many / _best(partial(target.copy_, source)),
    )


def _best(do: Callable[[], object], turns: int = 40, repeats: int = 10) -> float:
    """Return the seconds that something takes: the best of several turns."""
    best = float("inf")
    do()
    for _ in range(turns):
        started = clock()
        for _ in range(repeats):
            do()
        best = min(best, clock() - started)
    return best / repeats


def _compiled_sigmoids() -> Callable[[np.ndarray, np.ndarray, int], None]:
    from memexp.compiled import functions, layout, vectors

    def sigmoids(numbers: Any, out: Any, times: int) -> None:
        for _ in range(times):
            for j in range(0, len(numbers), layout.LANES):
                vectors.store(out, j, functions.sigmoid(vectors.load(numbers, j)))

    made: Callable[[np.ndarray, np.ndarray, int], None] = vectors.compiled(sigmoids)
    return made


class Work(NamedTuple):
    """What an update of one seed has to compute.

    Attributes:
        operations: of matrix products, see `update_flops`.
        functions: exponential functions, one for each sigmoid, tanh or power of e: of the gates, of the LSTM's cell
            state, of the softmax.
        parameters: that Adam moves. For each it needs `ADAM_OPERATIONS`, a root and a quotient (counted as one
            function more), and it reads gradient, weight and two means, and writes all but the gradient.
    """

    operations: int
    functions: int
    parameters: int


ADAM_OPERATIONS, ADAM_BYTES = 12, 7 * 4


def functions_of(cell: Cell) -> int:
    """Return how many exponential functions a cell needs for a unit and time step."""
    if isinstance(cell, MinGRU | MinLSTM):
        return len(cell.gates) - 1  # the candidate is not squashed
    return len(cell.gates) + isinstance(cell, LSTM)  # tanh(c_t)


def work(make_cell: MakeCell, length: int, hidden_size: int = HIDDEN_SIZE, batch: int = BATCH_SIZE) -> Work:
    """Count what an update of one seed of the study has to compute; see `Work`."""
    M, V, K = EMBEDDING_SIZE, DIGITS, CLASSES
    cell = make_cell(1, M, hidden_size)
    sizes = (length, batch, M, hidden_size, V, K)
    operations = update_flops(len(cell.gates), *sizes, cell.recurrent_gates)
    functions = length * batch * hidden_size * functions_of(cell) + batch * K
    own = sum(parameter.numel() for parameter in cell.parameters())
    return Work(operations, functions, V * M + own + hidden_size * K + K)


def bound_ms(needed: Work, peak: Peak) -> float:
    """Return the milliseconds that an update of one seed takes at the largest rates, one part after the other.

    Adam takes what its operations take or, if that is longer, what its memory takes. Nothing else is counted: looking
    up, elementwise products, copies.
    """
    operations, functions, parameters = needed
    adam = parameters * max(ADAM_OPERATIONS / peak.operations + 1 / peak.functions, ADAM_BYTES / peak.bytes)
    return (operations / peak.operations + functions / peak.functions + adam) * 1e3


def update_flops(
    gates: int,
    length: int,
    batch: int,
    embedding: int,
    hidden: int,
    symbols: int,
    classes: int,
    recurrent_gates: bool = True,
) -> int:
    """Count the floating-point operations that the products of one update of one seed need.

    3 * (2 L B G D D  +  2 V M G D  +  2 B D K): the recurrent products of all time steps (none if the gates do not
    see the state), the table E W of the V different inputs, and the head; a product [n, m] x [m, p] is 2 n m p
    operations, and its backward pass is two products of that size. Looking up the table and elementwise operations
    are not counted.
    """
    L, B, G, M, D, V, K = length, batch, gates, embedding, hidden, symbols, classes
    recurrent = 2 * L * B * G * D * D if recurrent_gates else 0
    return 3 * (recurrent + 2 * V * M * G * D + 2 * B * D * K)


def compare(
    name: str, length: int, seeds: Sequence[int], rounds: int, updates: int, peak: Peak
) -> tuple[list[Record], list[str]]:
    """Time all contestants on one model and length.

    Returns:
        A row of the table for each; and a line for each that computes something else, which has no row.
    """
    make_cell = MODELS[name]
    others = [loop_contestant, layer_contestant] if contest.has_torch_layer(make_cell) else []
    entered = [enter(make_cell, length) for enter in others]
    entered += [memexp_contestant(engine, make_cell, length, S) for engine in contest.engines() for S in seeds]
    admitted, refused = contest.admitted(entered, f"{name}, length {length}")
    times = contest.measure([contestant for contestant, _ in admitted], rounds, updates)
    by_name = {contestant.name: ms for (contestant, _), ms in zip(admitted, times, strict=True)}
    bound = bound_ms(work(make_cell, length), peak)
    rows = []
    for (contestant, found), ms in zip(admitted, times, strict=True):
        row = {
            "model": name,
            "length": length,
            "contestant": contestant.name,
            "seeds": contestant.seeds,
            "ms_per_update_and_seed": ms,
            "times_faster_than_loop": by_name[LOOP] / ms if LOOP in by_name else None,
            "times_faster_than_layer": by_name[LAYER] / ms if LAYER in by_name else None,
            "share_of_bound": bound / ms,
            **contest.differences(found),
        }
        rows.append(row)
    return rows, refused


def grow(names: Sequence[str], points: Points, rounds: int, updates: int, peak: Peak) -> tuple[list[Record], list[str]]:
    """Time memexp and torch's layer along each axis, the others held at `GROWTH_BASE`; returns what `compare` does.

    Of the models of these names those that torch has a layer for.
    """
    rows, refused = [], []
    for name in (name for name in LAYER_MODELS if name in names):
        make_cell = MODELS[name]
        for axis, values in points.items():
            contest.say(f"{name}, growth with {GROWTH_LABELS[axis]}")
            entered, settings = [], []
            for value in values:
                setting = {**GROWTH_BASE, axis: value}
                length, D, S, B = (setting[other] for other in ("length", "hidden_size", "seeds", "batch"))
                own = [memexp_contestant(engine, make_cell, length, S, D, B) for engine in reversed(contest.engines())]
                own.append(layer_contestant(make_cell, length, D, B))
                entered += own
                settings += [setting] * len(own)
            places = {id(contestant): setting for contestant, setting in zip(entered, settings, strict=True)}
            admitted, complaints = contest.admitted(entered, f"{name}, growth with {GROWTH_LABELS[axis]}")
            refused += complaints
            contestants = [contestant for contestant, _ in admitted]
            for contestant, ms in zip(contestants, contest.measure(contestants, rounds, updates), strict=True):
                setting = places[id(contestant)]
                needed = work(make_cell, setting["length"], setting["hidden_size"], setting["batch"])
                measured = {"ms_per_update_and_seed": ms, "share_of_bound": bound_ms(needed, peak) / ms}
                where = {"axis": axis, "value": setting[axis], **setting, "seeds": contestant.seeds}
                rows.append({"model": name, **where, "contestant": contestant.name, **measured})
    return rows, refused


def growth_figure(measured: Sequence[Record]) -> "Figure":
    """Draw the cost against each of the sizes: a row of panels for each model."""
    import pandas as pd

    from memexp.figures import curves

    rows = pd.DataFrame(measured)
    models, axes = list(dict.fromkeys(rows["model"])), list(dict.fromkeys(rows["axis"]))
    figure, panels = curves.new_figure(len(models), len(axes), width=2.9, height=2.4, share_x=False)
    for model, line in zip(models, panels, strict=True):
        for ax, axis in zip(line, axes, strict=True):
            curves.cost_of_an_update(rows[(rows["model"] == model) & (rows["axis"] == axis)], ax)
            if model == models[0]:
                held = [f"{GROWTH_LABELS[other]} {GROWTH_BASE[other]}" for other in GROWTH if other != axis]
                ax.set_title(", ".join(held), fontsize=8)
            if model == models[-1]:
                ax.set_xlabel(GROWTH_LABELS[axis])
        line[0].set_ylabel(model.upper())
    figure.supylabel("ms per update and seed", fontsize="medium")
    curves.finish(figure)
    return figure


def table(rows: Sequence[Record]) -> str:
    """Format what `compare` returns for the terminal."""
    head = "model length contestant seeds ms/update/seed x_plain_loop x_torch's of_bound"
    lines = [[named(title.replace("_", " ")) for title in head.split()]]
    for r in rows:
        what = [named(str(r[column])) for column in ("model", "length", "contestant", "seeds")]
        times = [r[f"times_faster_than_{other}"] for other in ("loop", "layer")]
        faster = ["-" if factor is None else f"{factor:.1f}" for factor in times]
        ms, share = r["ms_per_update_and_seed"], r["share_of_bound"]
        lines.append([*what, f"{ms:.3f}", *faster, f"{100 * share:.1f} %"])
    return contest.aligned(lines, "<><>>>>>")


def quick_look(length: int = 35, seeds: Sequence[int] = (1, 10), rounds: int = 5, updates: int = 8) -> str:
    """Measure the cells that torch has a layer for, in half a minute; return the table and the parity lines."""
    machine.prepare()
    peak = peaks()
    rows: list[Record] = []
    refused: list[str] = []
    for name in LAYER_MODELS:
        own, complaints = compare(name, length, seeds, rounds, updates, peak)
        rows += own
        refused += complaints
    head, lines = tr(f"torch {torch.__version__}, one thread"), "\n".join([contest.parity_lines(rows), *refused])
    return f"{head}\n\n{table(rows)}\n\n{lines}"
