"""Speed and parity, side by side: ``python -m memexp.bench``.

``gru`` is the GRU that resets after the recurrent product (model.reset_after=true) for all contestants, because that is
the one nn.GRU computes; ``gru_reset_before`` is the book's, which is also memexp's default.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from memexp.bench import collection, contest, digit_sum, text, text_memory
from memexp.bench.contest import LAYER_MODELS, MODELS
from memexp.compiled import cache
from memexp.errors import ConfigError, RecordError
from memexp.fields import ranged
from memexp.options import run_command
from memexp.training import machine

OF_DIGIT_SUMS = ("lengths", "growth", "figure")  # options that mean nothing to text=true
OF_PARTS = ("parts", "models", "lengths", "seeds", "rounds", "updates", "output", "quick")  # to parts
OF_MEMORY = ("text_memory", "sizes", "units", "output", "seeds", "models")  # those that mean something to text_memory


@dataclass
class Options:
    """Time one update of training, per seed, side by side and on one thread.

    The contestants are the study as usually written (plain loop), torch's own layer if it has one ("-" if not), and
    memexp with either engine. Each is compared with torch's layer first, answers and all gradients; one that computes
    something else gets no row but a line that says what differs by how much, and the exit code is 1. Prints a table and
    writes a CSV. gru is the one that resets after the recurrent product, as nn.GRU does; gru_reset_before is the
    book's. 'of bound' is the time that matrix products, exponential functions and Adam would take at the machine's
    largest rates, as a share of the time measured. For steady numbers, let nothing else run.
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
    text_memory: bool = ranged(
        default=False, about="measure the memory instead that runs on long made-up texts take; gru, three seeds"
    )
    sizes: list[int] = ranged(1, default=[1, 5, 20], about="MB of these texts")
    units: int = ranged(1, default=256, about="of the models that read them")
    parts: bool = ranged(
        default=False, about="say instead where the time of a compiled update goes; srn and lstm, seeds 1,10, length 35"
    )
    output: str | None = ranged(
        default=None,
        path=True,
        about="the table; null: images/bench.csv, bench_parts.csv or, of text, bench_text.csv or bench_text_memory.csv",
    )
    growth: bool = ranged(default=False, about="also measure how the cost of srn, lstm and gru grows with the sizes")
    figure: str = ranged(
        default="images/bench_growth.png", path=True, about="where the figure of that goes, and its CSV"
    )
    folders: int = ranged(0, default=0, about="time instead how this many made-up run folders are collected and drawn")
    quick: bool = ranged(default=False, about="a run of seconds, to see that all works; its times mean little")


def bench(options: Options) -> int:
    """Measure, print, write; return 1 if a contestant was refused because it computes something else.

    Raises:
        MemexpError: a file cannot be written.
    """
    for name in ("models", "lengths", "seeds", "sizes"):
        if getattr(options, name) == []:
            raise ConfigError(f"{name}=[]: nothing to measure")
    if options.folders:
        given = [name for name in vars(options) if getattr(options, name) != getattr(Options(), name)]
        if given != ["folders"]:
            raise ConfigError(f"folders={options.folders} goes with no other option; leave the others out")
        print(collection.measure(options.folders))
        return 0
    if options.parts:
        given = [name for name in vars(options) if getattr(options, name) != getattr(Options(), name)]
        others = [name for name in given if name not in OF_PARTS]
        if others:
            raise ConfigError(f"{', '.join(others)}: not with parts=true; leave them out")
        if broken := cache.why_not():
            raise ConfigError(f"parts=true: there is no compiled update here, for {broken}")
    if options.text:
        given = [name for name in OF_DIGIT_SUMS if getattr(options, name) != getattr(Options(), name)]
        if given:
            raise ConfigError(f"{', '.join(given)}: not with text=true, which has no such sizes; leave them out")
    if options.text_memory:
        given = [name for name in vars(options) if getattr(options, name) != getattr(Options(), name)]
        others = [name for name in given if name not in OF_MEMORY]
        if others:
            raise ConfigError(f"{', '.join(others)}: not with text_memory=true; leave them out")
        if len(options.seeds or [3]) > 1 or options.models not in (Options().models, ["srn"], ["lstm"], ["gru"]):
            raise ConfigError("text_memory=true measures one of srn, lstm, gru, and one number of seeds, as seeds=[3]")
    name = next((f"bench_{what}" for what in ("text_memory", "text", "parts") if getattr(options, what)), "bench")
    output = Path(options.output or f"images/{name}.csv")
    picture = Path(options.figure)
    if output.is_dir() or picture.suffix != ".png":
        raise ConfigError(f"output={output} must be a file, and figure={picture} a .png file")
    for path in (output, picture) if options.growth else (output,):  # before a minute of measuring
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"cannot write {path}: {error.strerror}; give another output= and figure=") from error
    machine.prepare()
    if options.text_memory:
        _bench_text_memory(options, output)
        return 0
    if options.parts:
        _bench_parts(options, output)
        return 0
    refused = _bench_text(options, output) if options.text else _bench_digit_sums(options, output, picture)
    for line in refused:
        print(f"memexp.bench: {line}", file=sys.stderr)
    return 1 if refused else 0


def _bench_text(options: Options, output: Path) -> list[str]:
    names = [name for name in LAYER_MODELS if name in options.models]
    if not names:
        raise ConfigError(f"text=true measures {', '.join(LAYER_MODELS)}; models={options.models} has none of them")
    seeds, rounds, updates, units = options.seeds or [1, 5], options.rounds, options.updates, text.HIDDEN_SIZE
    if options.quick:
        seeds, rounds, updates, units = [1, 2], 2, 2, 8
    rows, refused = [], []
    for name in names:
        contest.say(f"{name}, text")
        own, complaints = text.compare(name, seeds, rounds, updates, units)
        rows += own
        refused += complaints
    print(f"torch {torch.__version__}, one thread\n")
    _show(text.table(rows), rows, output)
    return refused


def _bench_parts(options: Options, output: Path) -> None:
    from memexp.bench import parts  # compiled code, which not everybody has

    names = [name for name in parts.MODELS if name in options.models]
    if not names:
        raise ConfigError(f"parts=true measures {', '.join(parts.MODELS)}; models={options.models} has none of them")
    rounds, updates = (2, 2) if options.quick else (options.rounds, options.updates)
    rows = parts.measure(names, max(options.lengths), options.seeds or [1, 10], rounds, updates)
    contest.write_csv(output, rows)
    print(f"one thread, length {max(options.lengths)}\n\n{parts.table(rows)}\n\nwritten: {output}")


def _bench_text_memory(options: Options, output: Path) -> None:
    model = "gru" if len(options.models) > 1 else options.models[0]
    (seeds,) = options.seeds or [3]
    rows = text_memory.compare(options.sizes, model, seeds, options.units)
    contest.write_csv(output, rows)
    print(f"torch {torch.__version__}, one thread\n\n{text_memory.table(rows)}\n\nwritten: {output}")


def _bench_digit_sums(options: Options, output: Path, picture: Path) -> list[str]:
    few = options.quick
    peak = digit_sum.peaks()
    seeds, rounds, updates = options.seeds or [1, 5, 10, 20], options.rounds, options.updates
    if few:
        seeds, rounds, updates = [1, 2], 2, 2
    rows, refused = [], []
    for name in options.models:
        for length in options.lengths:
            contest.say(f"{name}, length {length}")
            own, complaints = digit_sum.compare(name, length, seeds, rounds, updates, peak)
            rows += own
            refused += complaints
    print(f"torch {torch.__version__}, one thread; at most {peak.operations / 1e9:.0f} GFLOP/s (float32), ", end="")
    print(f"{peak.functions / 1e9:.1f} G exponential functions/s, {peak.bytes / 1e9:.0f} GB/s\n")
    _show(digit_sum.table(rows), rows, output)
    if options.growth:
        points = digit_sum.GROWTH_QUICK if few else digit_sum.GROWTH
        growth, complaints = digit_sum.grow(options.models, points, *((1, 2) if few else (3, 10)), peak)
        refused += complaints
        if growth:
            _draw(growth, picture)
    return refused


def _show(table: str, rows: list[contest.Record], output: Path) -> None:
    """Print a table with its parity, and write it; if everybody was refused, nothing."""
    if rows:
        contest.write_csv(output, rows)
        print(f"{table}\n\n{contest.parity_lines(rows)}\n\nwritten: {output}")


def _draw(growth: list[contest.Record], picture: Path) -> None:
    contest.write_csv(picture.with_suffix(".csv"), growth)
    from memexp.canvas import own_style  # slow to import, as is all that draws

    with own_style():
        digit_sum.growth_figure(growth).savefig(picture, dpi=150)
    print(f"written: {picture}")


def main() -> None:
    """Run ``python -m memexp.bench``."""
    run_command("bench", Options, bench)
