"""The speed of the digit-sum study (300 rows, batch 8, Adam).

Three contestants:

    plain loop     the study as usually written: one example at a time through a DataLoader, a Python loop
                   over time steps, gate by gate; one seed
    torch's layer  nn.RNN, nn.LSTM or nn.GRU on slices of whole tensors; one seed
    memexp         this package's runner, S seeds in lockstep; it also keeps running loss and accuracy

A cell that torch has no layer for goes without the first two, and without parity. An update is: fetch the batch,
forward pass, cross-entropy, backward pass, step of Adam. Axis letters as in `memexp.models.cells`.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time as clock
from typing import TYPE_CHECKING

import torch

from memexp.bench import baselines, contest
from memexp.bench.contest import LAYER, LAYER_MODELS, LOOP, MEMEXP, MODELS, Contestant, Record
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
    "hidden_size": (16, 32, 64, 128, 256),
    "seeds": (1, 2, 5, 10, 20, 40),
}
GROWTH_QUICK: Points = {"length": (5, 10), "hidden_size": (4, 8), "seeds": (1, 2)}
GROWTH_LABELS = {"length": "length", "hidden_size": "hidden size", "seeds": "seeds"}
GROWTH_BASE = {"length": 35, "hidden_size": HIDDEN_SIZE, "seeds": 10}


def study_task(length: int, seeds: int) -> DigitSum:
    """Build the book's task; its generated data are read at once, so their folder does not stay."""
    with tempfile.TemporaryDirectory() as folder:
        return DigitSum(
            length=length, seeds=range(seeds), batch_size=BATCH_SIZE, folder=Path(folder), sampling="fixed",
            shuffle=False, distractors=1, data_seed=0, exact_limit=0,
        )  # fmt: skip


def study_model(make_cell: MakeCell, task: DigitSum, hidden_size: int = HIDDEN_SIZE) -> SequenceModel:
    """Build the book's model for the seeds of a task."""
    return contest.build_model(make_cell, task, EMBEDDING_SIZE, hidden_size)


def loop_contestant(make_cell: MakeCell, length: int) -> Contestant:
    """Enter the study as usually written.

    Raises:
        ConfigError: there is no loop of the cell.
    """
    task = study_task(length, 1)
    network = baselines.loop_classifier(study_model(make_cell, task), 0)
    batches = baselines.loaded(task.rows("train"), BATCH_SIZE)
    return Contestant(LOOP, 1, baselines.training(network, batches, LEARNING_RATE, clock))


def layer_contestant(make_cell: MakeCell, length: int, hidden_size: int = HIDDEN_SIZE) -> Contestant:
    """Enter torch's own layer.

    Raises:
        ConfigError: torch has none for the cell.
    """
    task = study_task(length, 1)
    network = baselines.torch_classifier(study_model(make_cell, task, hidden_size), 0)
    batches = baselines.sliced(task.rows("train"), BATCH_SIZE)
    return Contestant(LAYER, 1, baselines.training(network, batches, LEARNING_RATE, clock))


def memexp_contestant(make_cell: MakeCell, length: int, seeds: int, hidden_size: int = HIDDEN_SIZE) -> Contestant:
    """Enter memexp's runner."""
    task = study_task(length, seeds)
    return contest.memexp_contestant(task, study_model(make_cell, task, hidden_size), LEARNING_RATE)


def peak_flops(size: int = 512, repeats: int = 40) -> float:
    """Measure the largest rate of float32 products, in operations per second: size^3, the best of several."""
    a, b, product = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    best = float("inf")
    for _ in range(repeats):
        started = clock()
        torch.matmul(a, b, out=product)
        best = min(best, clock() - started)
    return 2 * size**3 / best


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


def bound_ms(make_cell: MakeCell, length: int, peak: float, hidden_size: int = HIDDEN_SIZE) -> float:
    """Return the milliseconds that one update of one seed takes at the peak rate."""
    cell = make_cell(1, 1, 1)
    sizes = (length, BATCH_SIZE, EMBEDDING_SIZE, hidden_size, DIGITS, CLASSES)
    return update_flops(len(cell.gates), *sizes, cell.recurrent_gates) / peak * 1e3


def parity(make_cell: MakeCell, length: int, seeds: int) -> tuple[float, float]:
    """Compare the seeds of a group with torch's layer on the first batch, see `memexp.bench.contest.parity`."""
    task = study_task(length, seeds)
    return contest.parity(study_model(make_cell, task).double(), task.rows("train").slice(0, BATCH_SIZE))


def compare(name: str, length: int, seeds: Sequence[int], rounds: int, updates: int, peak: float) -> list[Record]:
    """Time all contestants on one model and length; return a row of the table for each."""
    make_cell = MODELS[name]
    has_layer = contest.has_torch_layer(make_cell)
    others = [loop_contestant(make_cell, length), layer_contestant(make_cell, length)] if has_layer else []
    contestants = [*others, *(memexp_contestant(make_cell, length, S) for S in seeds)]
    times = contest.measure(contestants, rounds, updates)
    bound = bound_ms(make_cell, length, peak)
    rows = []
    for contestant, ms in zip(contestants, times, strict=True):
        compared = has_layer and contestant.name == MEMEXP
        outputs, gradients = parity(make_cell, length, contestant.seeds) if compared else (None, None)
        row = {
            "model": name,
            "length": length,
            "contestant": contestant.name,
            "seeds": contestant.seeds,
            "ms_per_update_and_seed": ms,
            "times_faster_than_loop": times[0] / ms if has_layer else None,
            "times_faster_than_layer": times[1] / ms if has_layer else None,
            "share_of_bound": bound / ms,
            "output_difference": outputs,
            "gradient_difference": gradients,
        }
        rows.append(row)
    return rows


def grow(points: Points, rounds: int, updates: int, peak: float) -> list[Record]:
    """Time memexp and torch's layer along length, hidden size and S, the other two held at `GROWTH_BASE`."""
    rows = []
    for name in LAYER_MODELS:
        make_cell = MODELS[name]
        for axis, values in points.items():
            contest.say(f"{name}, growth with {GROWTH_LABELS[axis]}")
            settings = [{**GROWTH_BASE, axis: value} for value in values]
            contestants = [memexp_contestant(make_cell, s["length"], s["seeds"], s["hidden_size"]) for s in settings]
            contestants += [layer_contestant(make_cell, s["length"], s["hidden_size"]) for s in settings]
            times = contest.measure(contestants, rounds, updates)
            for setting, contestant, ms in zip(settings * 2, contestants, times, strict=True):
                share = bound_ms(make_cell, setting["length"], peak, setting["hidden_size"]) / ms
                own = {"contestant": contestant.name, "ms_per_update_and_seed": ms, "share_of_bound": share}
                where = {"axis": axis, "value": setting[axis], **setting, "seeds": contestant.seeds}
                rows.append({"model": name, **where, **own})
    return rows


def growth_figure(measured: Sequence[Record]) -> "Figure":
    """Draw the cost against length, hidden size and S, side by side."""
    import pandas as pd

    from memexp.figures import curves

    figure, (panels,) = curves.new_figure(1, len(GROWTH), width=3.7, height=4.0, share_x=False)
    for ax, axis in zip(panels, GROWTH, strict=True):
        rows = pd.DataFrame([r for r in measured if r["axis"] == axis])
        curves.cost_of_an_update(rows, ax)
        ax.set_xlabel(GROWTH_LABELS[axis] + (" trained together" if axis == "seeds" else ""))
        held = [f"{GROWTH_LABELS[other]} {GROWTH_BASE[other]}" for other in GROWTH if other != axis]
        ax.set_title(", ".join(held), fontsize=10)
    panels[0].set_ylabel("ms per update and seed")
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
    peak = peak_flops()
    rows = [row for name in LAYER_MODELS for row in compare(name, length, seeds, rounds, updates, peak)]
    return f"{tr(f'torch {torch.__version__}, one thread')}\n\n{table(rows)}\n\n{contest.parity_lines(rows)}"
