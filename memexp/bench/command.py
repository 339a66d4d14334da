"""Speed and parity, side by side: ``python -m memexp.bench``.

Three contestants train the digit-sum study (300 rows, batch 8, Adam) in one process and on one thread:

    plain loop     the study as usually written: one example at a time through a DataLoader, a Python loop
                   over time steps, gate by gate; one seed
    torch's layer  nn.RNN, nn.LSTM or nn.GRU on slices of whole tensors; one seed. A cell that torch has no layer
                   for goes without this contestant, and without parity
    memexp         this package's runner, S seeds in lockstep; it also keeps running loss and accuracy

An update is: fetch the batch, forward pass, cross-entropy, backward pass, step of Adam. The contestants take
turns, a chunk of updates each, for several rounds; the median over the rounds is reported, so that whatever
else the machine does hits all alike. Time is that of the processor (`time.process_time`): with one thread it
is what the clock on the wall shows while nothing else runs, and it leaves out what other processes take away.

``gru`` is the GRU that resets after the recurrent product (model.reset_after=true) in all three contestants, because
that is the one nn.GRU computes; ``gru_reset_before`` is the book's, which is also memexp's default.
Axis letters as in `memexp.models.cells`.
"""

import csv
import io
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter as wall_clock
from time import process_time as clock
from typing import TYPE_CHECKING, Any

import torch

from memexp.bench import baselines
from memexp.config import ranged
from memexp.errors import ConfigError, RecordError
from memexp.files import write_atomically
from memexp.models.cells import GRU, LSTM, SRN, MinGRU, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell, SequenceClassifier
from memexp.options import run_command
from memexp.tasks.digit_sum import DigitSum
from memexp.tasks.task import Task
from memexp.training import machine
from memexp.training.runner import Runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS: dict[str, MakeCell] = {
    "srn": SRN,
    "residual_srn": ResidualSRN,
    "lstm": LSTM,
    "lstm_peephole": partial(LSTM, variant="peephole"),
    "lstm_coupled": partial(LSTM, variant="coupled"),
    "gru": partial(GRU, reset_after=True),
    "gru_reset_before": GRU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}
BATCH_SIZE, EMBEDDING_SIZE, HIDDEN_SIZE, LEARNING_RATE = 8, 32, 32, 1e-3  # the book's
LOOP, LAYER, MEMEXP = "plain loop", "torch's layer", "memexp"
NEVER = 1 << 62

Points = dict[str, tuple[int, ...]]
LAYER_MODELS = ("srn", "lstm", "gru")  # those that torch has a layer for
GROWTH: Points = {
    "length": (10, 20, 35, 60, 100),
    "hidden_size": (16, 32, 64, 128, 256),
    "seeds": (1, 2, 5, 10, 20, 40),
}
GROWTH_QUICK: Points = {"length": (5, 10), "hidden_size": (4, 8), "seeds": (1, 2)}
OF_DIGIT_SUMS = ("lengths", "growth", "figure", "folders")  # options that mean nothing to text=true
GROWTH_LABELS = {"length": "length", "hidden_size": "hidden size", "seeds": "seeds"}
GROWTH_BASE = {"length": 35, "hidden_size": HIDDEN_SIZE, "seeds": 10}

Record = dict[str, Any]
"""A row of the CSV: column -> value, None where it does not apply."""


@dataclass
class Options:
    """Time one update of training, per seed, side by side and on one thread.

    The contestants are the study as usually written (plain loop), torch's own layer if it has one ("-" if not), and
    memexp. Prints a table and writes a CSV. gru is the one that resets after the recurrent product, as nn.GRU does;
    gru_reset_before is the book's. 'of bound' is the time that the matrix products alone would take at the machine's
    peak rate, as a share of the time measured. For steady numbers, let nothing else run.
    """

    models: list[str] = ranged(one_of=tuple(MODELS), default=[*MODELS], about="which models")
    lengths: list[int] = ranged(3, default=[10, 35], about="sequence lengths")
    seeds: list[int] | None = ranged(1, default=None, about="how many seeds memexp trains together; null: 1,5,10,20")
    rounds: int = ranged(1, default=7, about="turns; their median counts")
    updates: int = ranged(1, default=38, about="updates of a turn; 38 are an epoch")
    text: bool = ranged(
        default=False,
        about="measure character language models instead: 256 units, batch 32, 35 steps; srn, lstm and gru; seeds 1,5",
    )
    output: str | None = ranged(default=None, about="the table; null: images/bench.csv or, of text, bench_text.csv")
    growth: bool = ranged(default=False, about="also measure how the cost of srn, lstm and gru grows with the sizes")
    figure: str = ranged(default="images/bench_growth.png", about="where the figure of that goes, and its CSV")
    folders: int = ranged(0, default=0, about="also time how this many run folders are collected into one table")
    quick: bool = ranged(default=False, about="a run of seconds, to see that all works; its times mean little")


@dataclass(frozen=True)
class Contestant:
    """One way to train: ``seconds(n)`` trains on and returns the time that n updates took."""

    name: str
    seeds: int
    seconds: Callable[[int], float]


class NoHistory:
    """A history that forgets."""

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        """Note nothing."""

    def flush(self) -> int:
        """Write nothing."""
        return 0


def build_task(length: int, seeds: int) -> DigitSum:
    """Build the book's task; its generated data are read at once, so their folder does not stay."""
    with tempfile.TemporaryDirectory() as folder:
        return DigitSum(length, range(seeds), BATCH_SIZE, Path(folder))


def build_model(make_cell: MakeCell, task: DigitSum, hidden_size: int = HIDDEN_SIZE) -> SequenceClassifier:
    """Build the book's model for the seeds of a task."""
    S = len(task.seeds)
    model = SequenceClassifier(make_cell, S, task.symbols, task.classes, EMBEDDING_SIZE, [hidden_size])
    model.initialise(task.seeds)
    return model


def loop_contestant(make_cell: MakeCell, length: int, hidden_size: int = HIDDEN_SIZE) -> Contestant:
    """Enter the study as usually written."""
    task = build_task(length, 1)
    network = baselines.loop_classifier(build_model(make_cell, task, hidden_size), 0)
    batches = baselines.loaded(task.rows("train"), BATCH_SIZE)
    return Contestant(LOOP, 1, baselines.training(network, batches, LEARNING_RATE, clock))


def layer_contestant(make_cell: MakeCell, length: int, hidden_size: int = HIDDEN_SIZE) -> Contestant:
    """Enter torch's own layer.

    Raises:
        ConfigError: torch has none for the cell.
    """
    task = build_task(length, 1)
    network = baselines.torch_classifier(build_model(make_cell, task, hidden_size), 0)
    batches = baselines.sliced(task.rows("train"), BATCH_SIZE)
    return Contestant(LAYER, 1, baselines.training(network, batches, LEARNING_RATE, clock))


def memexp_contestant(make_cell: MakeCell, length: int, seeds: int, hidden_size: int = HIDDEN_SIZE) -> Contestant:
    """Enter memexp's runner, as `memexp.experiment` sets it up."""
    task = build_task(length, seeds)
    model = build_model(make_cell, task, hidden_size)
    runner = Runner(model, torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True))
    return Contestant(MEMEXP, seeds, runner_seconds(runner, task))


def runner_seconds(runner: Runner, task: Task) -> Callable[[int], float]:
    """Return a function that trains on for a number of updates and returns the seconds they took."""

    def seconds(updates: int) -> float:
        stamps: list[float] = []
        runner.train(
            task.batch,
            task.rows("dev"),
            runner.iteration + updates + 2,
            NoHistory(),
            eval_steps=NEVER,
            log_steps=NEVER,
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
    sizes = (length, BATCH_SIZE, EMBEDDING_SIZE, hidden_size, DigitSum.symbols, DigitSum.classes)
    return update_flops(len(cell.gates), *sizes, cell.recurrent_gates) / peak * 1e3


def has_torch_layer(make_cell: MakeCell) -> bool:
    """Say whether torch has a layer that computes what a cell does."""
    return not baselines.no_torch_layer(make_cell(1, 1, 1))


def parity(make_cell: MakeCell, length: int, seeds: int) -> tuple[float, float]:
    """Return the largest `baselines.differences` over the seeds of a group: float64, the first batch."""
    task = build_task(length, seeds)
    model = build_model(make_cell, task).double()
    rows = task.rows("train").slice(0, BATCH_SIZE)
    data = rows.inputs, rows.targets
    found = [baselines.differences(model, k, baselines.torch_classifier(model, k), *data) for k in range(seeds)]
    return max(outputs for outputs, _ in found), max(gradients for _, gradients in found)


def compare(name: str, length: int, seeds: Sequence[int], rounds: int, updates: int, peak: float) -> list[Record]:
    """Time all contestants on one model and length; return a row of the table for each."""
    make_cell = MODELS[name]
    has_layer = has_torch_layer(make_cell)
    contestants = [loop_contestant(make_cell, length)]
    contestants += [layer_contestant(make_cell, length)] if has_layer else []
    contestants += [memexp_contestant(make_cell, length, S) for S in seeds]
    times = measure(contestants, rounds, updates)
    bound = bound_ms(make_cell, length, peak)
    records = []
    for contestant, ms in zip(contestants, times, strict=True):
        compared = has_layer and contestant.name == MEMEXP
        outputs, gradients = parity(make_cell, length, contestant.seeds) if compared else (None, None)
        row = {
            "model": name,
            "length": length,
            "contestant": contestant.name,
            "seeds": contestant.seeds,
            "ms_per_update_and_seed": ms,
            "times_faster_than_loop": times[0] / ms,
            "times_faster_than_layer": times[1] / ms if has_layer else None,
            "share_of_bound": bound / ms,
            "output_difference": outputs,
            "gradient_difference": gradients,
        }
        record.append(record)
    return records


def grow(points: Points, rounds: int, updates: int, peak: float) -> list[Record]:
    """Time memexp and torch's layer along length, hidden size and S, the other two held at `GROWTH_BASE`."""
    records = []
    for name in LAYER_MODELS:
        make_cell = MODELS[name]
        for axis, values in points.items():
            _say(f"{name}, growth with {GROWTH_LABELS[axis]}")
            settings = [{**GROWTH_BASE, axis: value} for value in values]
            contestants = [memexp_contestant(make_cell, s["length"], s["seeds"], s["hidden_size"]) for s in settings]
            contestants += [layer_contestant(make_cell, s["length"], s["hidden_size"]) for s in settings]
            times = measure(contestants, rounds, updates)
            for setting, contestant, ms in zip(settings * 2, contestants, times, strict=True):
                share = bound_ms(make_cell, setting["length"], peak, setting["hidden_size"]) / ms
                own = {"contestant": contestant.name, "ms_per_update_and_seed": ms, "share_of_bound": share}
                where = {"axis": axis, "value": setting[axis], **setting, "seeds": contestant.seeds}
                records.append({"model": name, **where, **own})
    return records


def growth_figure(records: Sequence[Record]) -> "Figure":
    """Draw the cost against length, hidden size and S, side by side."""
    import pandas as pd

    from memexp.figures import curves

    figure, (panels,) = curves.new_figure(1, len(GROWTH), width=3.7, height=4.0, share_x=False)
    for ax, axis in zip(panels, GROWTH, strict=True):
        rows = pd.DataFrame([r for r in records if r["axis"] == axis])
        curves.cost_of_an_update(rows, ax)
        ax.set_xlabel(GROWTH_LABELS[axis] + (" trained together" if axis == "seeds" else ""))
        held = [f"{GROWTH_LABELS[other]} {GROWTH_BASE[other]}" for other in GROWTH if other != axis]
        ax.set_title(", ".join(held), fontsize=10)
    panels[0].set_ylabel("ms per update and seed")
    curves.finish(figure)
    return figure


def table(records: Sequence[Record]) -> str:
    """Format what `compare` returns for the terminal."""
    head = "model length contestant seeds ms/update/seed x_plain_loop x_torch's of_bound"
    lines = [[title.replace("_", " ") for title in head.split()]]
    for r in records:
        what = [str(r[column]) for column in ("model", "length", "contestant", "seeds")]
        times = [r[f"times_faster_than_{other}"] for other in ("loop", "layer")]
        faster = ["-" if factor is None else f"{factor:.1f}" for factor in times]
        ms, share = r["ms_per_update_and_seed"], r["share_of_bound"]
        lines.append([*what, f"{ms:.3f}", *faster, f"{100 * share:.1f} %"])
    return aligned(lines, "<><>>>>>")


def text_table(records: Sequence[Record]) -> str:
    """Format what `memexp.bench.command.text.compare` returns for the terminal."""
    lines = [["model", "contestant", "seeds", "ms/update/seed", "characters/s", "x torch's"]]
    for r in records:
        ms, rate = f"{r['ms_per_update_and_seed']:.1f}", f"{r['characters_per_second']:.0f}"
        lines.append([r["model"], r["contestant"], str(r["seeds"]), ms, rate, f"{r['times_faster_than_layer']:.2f}"])
    return aligned(lines, "<<>>>>")


def aligned(lines: Sequence[Sequence[str]], sides: str) -> str:
    """Set words in columns, each flush left (<) or right (>)."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{text:{side}{width}}" for text, side, width in zip(line, sides, widths, strict=True))
        for line in lines
    )


def parity_lines(records: Sequence[Record]) -> str:
    """Format the largest differences from torch's layer, a line for each model and length; then name who has none."""
    compared, alone = [], []
    for name, length in dict.fromkeys((r["model"], r.get("length")) for r in records):
        rows = [r for r in records if (r["model"], r.get("length"), r["contestant"]) == (name, length, MEMEXP)]
        if rows[0]["output_difference"] is None:
            alone.append(name)
        else:
            outputs, gradients = (max(r[f"{what}_difference"] for r in rows) for what in ("output", "gradient"))
            of = f"{name}, length {length}" if length else name
            compared.append(f"{of}: outputs {outputs:.1e}, gradients {gradients:.1e}")
    head = ["largest difference of memexp from torch's layer (float64, every seed):"] if compared else []
    tail = [f"torch has no layer for {', '.join(dict.fromkeys(alone))}"] if alone else []
    return "\n".join([*head, *compared, *tail])


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write records as CSV, with the first one's columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_atomically(path, text.getvalue().encode())


def collection(folders: int) -> str:
    """Time what a study costs to read: ``folders`` synthetic run folders of ten seeds each, made for this and removed.

    Times are of the clock on the wall, with the files in the system's cache, as they are after a sweep.
    """
    from memexp.results import record as run_records
    from memexp.results import tables

    scores = {f"{split}_{what}": 0.5 for split in ("dev", "test", "exact") for what in ("loss", "accuracy")}
    with tempfile.TemporaryDirectory() as home:
        for k in range(folders):
            config = {"length": 10, "lr": k / folders, "task": {"sampling": "fixed"}, "model": {"name": "lstm"}}
            seeds = [{"seed": seed, "diverged_at": None, **scores} for seed in range(10)]
            right = {str(seed): "01" * 50 for seed in range(10)}
            summary = {"format": 1, "seconds": 1.0, "config": config, "seeds": seeds, "test_right": right}
            folder = Path(home, f"length=10,lr={k},model=lstm")
            folder.mkdir()
            run_records.write_json(folder / run_records.CONFIG, config)
            run_records.write_json(folder / run_records.SUMMARY, summary)
        times = [wall_clock()]
        rows, _ = run_records.collect(run_records.run_folders(Path(home)))
        times.append(wall_clock())
        tables.results(rows)
        times.append(wall_clock())
    collected, summarised = (after - before for before, after in itertools.pairwise(times))
    return f"{folders} run folders, {len(rows)} rows: collected in {collected:.1f} s, summarised in {summarised:.1f} s"


def quick_look(length: int = 35, seeds: Sequence[int] = (1, 10), rounds: int = 5, updates: int = 8) -> str:
    """Measure the cells that torch has a layer for, in half a minute; return the table and the parity lines."""
    machine.prepare()
    peak = peak_flops()
    rows = [row for name in LAYER_MODELS for row in compare(name, length, seeds, rounds, updates, peak)]
    return f"torch {torch.__version__}, one thread\n\n{table(rows)}\n\n{parity_lines(rows)}"


def _say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


def bench(options: Options) -> None:
    """Measure, print, write.

    Raises:
        MemexpError: a file cannot be written.
    """
    for name in ("models", "lengths", "seeds"):
        if getattr(options, name) == []:
            raise ConfigError(f"{name}=[]: nothing to measure")
    if options.text:
        given = [name for name in OF_DIGIT_SUMS if getattr(options, name) != getattr(Options(), name)]
        if given:
            raise ConfigError(f"{', '.join(given)}: not with text=true, which has no such sizes; leave them out")
    output = Path(options.output or ("images/bench_text.csv" if options.text else "images/bench.csv"))
    picture = Path(options.figure)
    if output.is_dir() or picture.suffix != ".png":
        raise ConfigError(f"output={output} must be a file, and figure={picture} a .png file")
    for path in (output, picture):  # before a minute of measuring
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"cannot write {path}: {error.strerror}; give another output= and figure=") from error
    machine.prepare()
    if options.text:
        _bench_text(options, output)
    else:
        _bench_digit_sums(options, output, picture)


def _bench_text(options: Options, output: Path) -> None:

    names = [name for name in LAYER_MODELS if name in options.models]
    if not names:
        raise ConfigError(f"text=true measures {', '.join(LAYER_MODELS)}; models={options.models} has none of them")
    seeds, rounds, updates, units = options.seeds or [1, 5], options.rounds, options.updates, text.HIDDEN_SIZE
    if options.quick:
        seeds, rounds, updates, units = [1, 2], 2, 2, 8
    rows = []
    for name in names:
        _say(f"{name}, text")
        rows += text.compare(name, seeds, rounds, updates, units)
    write_csv(output, rows)
    print(f"torch {torch.__version__}, one thread\n\n{text_table(rows)}\n\n{parity_lines(rows)}\n\nwritten: {output}")


def _bench_digit_sums(options: Options, output: Path, picture: Path) -> None:
    few = options.quick
    peak = peak_flops()
    seeds, rounds, updates = options.seeds or [1, 5, 10, 20], options.rounds, options.updates
    if few:
        seeds, rounds, updates = [1, 2], 2, 2
    table_rows = []
    for name in options.models:
        for length in options.lengths:
            _say(f"{name}, length {length}")
            table_rows += compare(name, length, seeds, rounds, updates, peak)
    write_csv(output, table_rows)
    print(f"torch {torch.__version__}, one thread, peak {peak / 1e9:.0f} GFLOP/s (float32)\n")
    print(f"{table(table_rows)}\n\n{parity_lines(table_rows)}\n\nwritten: {output}")
    if options.growth:
        growth = grow(GROWTH_QUICK, 1, 2, peak) if few else grow(GROWTH, 3, 10, peak)
        write_csv(picture.with_suffix(".csv"), growth)
        growth_figure(growth).savefig(picture, dpi=150)
        print(f"written: {picture}")
    if options.folders:
        _say(f"the collection of {options.folders} run folders")
        print(collection(options.folders))


def main() -> None:
    """Run ``python -m memexp.bench``."""
    run_command("bench", Options, bench)
