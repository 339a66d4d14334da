"""Where the time of a compiled update goes: ``python -m memexp.bench parts=true``.

The update is cut off after each of its parts in turn; what a part takes is the difference. Products and elementwise
steps alternate at every time step, so that the products are timed once more on their own. The last two numbers are what
a whole update of the engine takes more than all that, and what the runner takes around it, with batches and scores.
"""

from collections.abc import Callable, Sequence
from statistics import median
from time import process_time as clock
from typing import Any

import numpy as np

from memexp.bench import contest, digit_sum
from memexp.bench.contest import Record
from memexp.compiled import backward, forward, loss, optimisers
from memexp.compiled.engine import CompiledEngine
from memexp.compiled.products import clear, multiply
from memexp.compiled.vectors import compiled
from memexp.models.networks import MakeCell
from memexp.tasks.task import Rows
from memexp.training.runner import Runner

MODELS = ("srn", "lstm")  # all products of a time step of theirs are one
(INPUTS, FORWARD, HEAD, BACKWARD, RECURRENT, INPUTS_BACK, ADAM, PRODUCTS, PRODUCTS_BACK) = range(9)
PARTS = (
    "table and look-up",
    "recurrent products, forward",
    "elementwise, forward",
    "head and loss",
    "elementwise, backward",
    "recurrent products, backward",
    "gradient of U",
    "inputs, backward",
    "Adam",
    "the call, and the rest",
    "runner, batches, scores",
)


@compiled
def products(plan: Any, layer: Any, weights: Any, w: int, work: Any) -> None:
    """Do the products of `memexp.compiled.forward.recur` alone."""
    B, D, N = plan.batch, layer.padded, layer.columns
    for t in range(plan.length):
        before = layer.hidden + t * B * D
        multiply(work, before, D, 1, weights, w + layer.U, N, work, layer.gates + t * B * N, N, B, layer.units, N)


@compiled
def products_back(plan: Any, layer: Any, work: Any) -> None:
    """Do the products of `memexp.compiled.backward.recur_backward` alone."""
    B, D, N = plan.batch, layer.padded, layer.columns
    for t in range(plan.length):
        multiply(work, layer.gates + t * B * N, N, 1, work, layer.U_T, D, work, layer.d_hidden, D, B, N, D)


@compiled
def up_to(
    part: int, times: int, plan: Any, layer: Any, layers: Any, rule: Any,
    weights: Any, first: Any, second: Any, symbols: Any, numbers: Any, classes: Any, goals: Any, asked: Any, work: Any,
) -> None:  # fmt: skip
    """Update every seed of a model of one layer, but only up to a part, so many times; or do products alone."""
    for turn in range(times * (len(weights) // plan.row)):
        w = turn % (len(weights) // plan.row) * plan.row
        if part == PRODUCTS:
            products(plan, layer, weights, w, work)
            continue
        if part == PRODUCTS_BACK:
            products_back(plan, layer, work)
            continue
        if part < HEAD:
            forward.project_inputs(plan, layer, weights, w, symbols, work)
            forward.begin(plan, layers, 0, weights, w, symbols, work)
            if part == FORWARD:
                forward.recur(plan, layer, weights, w, work)
            continue
        forward.forward(plan, layers, weights, w, symbols, numbers, work)
        loss.loss_backward(plan, rule.squared, rule.summed, classes, goals, asked, work)
        clear(work, plan.gradient, plan.row)
        clear(work, layer.d_outputs, plan.length * plan.batch * layer.padded)
        backward.head_backward(plan, layers, weights, w, work)
        if part >= BACKWARD:
            backward.recur_backward(plan, layer, weights, w, work)
        if part >= RECURRENT:
            backward.recurrent_gradient(plan, layer, work)
        if part >= INPUTS_BACK:
            backward.begin_backward(plan, layers, 0, weights, w, symbols, work)
            backward.inputs_backward(plan, layer, weights, w, symbols, work)
        if part >= ADAM:
            optimisers.adam(
                weights, first, second, w, work, plan.gradient, plan.row, rule.lr, rule.decay, rule.decay_second,
                rule.correction, rule.correction_second, rule.epsilon,
            )  # fmt: skip


def cut(engine: CompiledEngine, rows: Rows) -> Callable[[int, int], None]:
    """Return `up_to` as a function of part and times, for an engine that has done an update on such rows."""
    (plans, layers), weights = engine._plan(len(rows), rows.inputs.shape[-1], False), engine._weights
    kind = weights.dtype
    symbols = np.ascontiguousarray(rows.inputs[0].numpy(), np.int64)
    classes = np.ascontiguousarray(rows.targets[0].numpy(), np.int64)
    given = (symbols, np.zeros((0, 0, 0), kind), classes, np.zeros((0, 0), kind), np.zeros((0, 0)), engine._work)
    states = weights.reshape(-1), engine._first.reshape(-1), engine._second.reshape(-1)

    def run(part: int, times: int) -> None:
        up_to(part, times, plans[0], layers[0], layers, engine._rules[0], *states, *given)

    return run


def microseconds(make_cell: MakeCell, length: int, seeds: int, rounds: int, updates: int) -> list[float]:
    """Return what each of the `PARTS` takes, in microseconds per update and seed, the median over the rounds."""
    task = digit_sum.study_task(length, seeds)
    model = digit_sum.study_model(make_cell, task)
    engine, rows = CompiledEngine(model, "adam", 1e-3, task.loss, "mean", None, "global"), task.batch(0)
    engine.update(rows)
    run = cut(engine, rows)
    runner = contest.runner_seconds(Runner(engine, task.loss, task.metrics), task)

    def update(_: int, times: int) -> None:
        for _ in range(times):
            engine.update(rows)

    def timed(do: Callable[[int, int], None], part: int = ADAM) -> float:
        started = clock()
        do(part, updates)
        return (clock() - started) / updates / seeds * 1e6

    def once() -> list[float]:
        ends = [timed(run, part) for part in range(ADAM + 1)]
        forth, back = timed(run, PRODUCTS), timed(run, PRODUCTS_BACK)
        inputs, recurrence, head, backward, recurrent, inputs_back, adam = np.diff(ends, prepend=0.0)
        called, whole = timed(update), runner(updates) / updates / seeds * 1e6
        own = [inputs, forth, recurrence - forth, head, backward - back, back, recurrent, inputs_back, adam]
        return [*own, called - ends[-1], whole - called]

    once()
    return [median(column) for column in zip(*(once() for _ in range(rounds)), strict=True)]


def measure(names: Sequence[str], length: int, seeds: Sequence[int], rounds: int, updates: int) -> list[Record]:
    """Measure all parts for each model and number of seeds; return a row of the table for each part."""
    table = []
    for name in names:
        for S in seeds:
            contest.say(f"{name}, length {length}, {S} seeds: parts")
            taken = microseconds(contest.MODELS[name], length, S, rounds, updates)
            table += [
                {
                    "model": name,
                    "length": length,
                    "seeds": S,
                    "part": part,
                    "microseconds": us,
                    "share": us / sum(taken),
                }
                for part, us in zip(PARTS, taken, strict=True)
            ]
    return table


def table(rows: Sequence[Record]) -> str:
    """Format what `measure` returns: a line for each part, two columns for each model and number of seeds."""
    columns = list(dict.fromkeys((r["model"], r["seeds"]) for r in rows))
    lines = [["us per update and seed", *(word for name, S in columns for word in (f"{name}, S = {S}", "share"))]]
    for part in (*PARTS, "all"):
        line = [part]
        for column in columns:
            own = [r for r in rows if (r["model"], r["seeds"]) == column and part in (r["part"], "all")]
            line += [f"{sum(r['microseconds'] for r in own):.1f}", f"{100 * sum(r['share'] for r in own):.0f} %"]
        lines.append(line)
    return contest.aligned(lines, "<" + ">>" * len(columns))
