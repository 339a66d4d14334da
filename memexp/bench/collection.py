"""What a study costs to read: ``python -m memexp.bench folders=N``, on records that are made for this and removed."""

import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter as wall_clock

from memexp import __version__
from memexp.errors import Complaints
from memexp.results import record, seals, tables
from memexp.results.collect import collect
from memexp.results.history import HISTORY_COLUMNS
from memexp.results.identity import identity_of

MODELS, LENGTHS, SEEDS = ("srn", "lstm"), (10, 15, 20, 25, 30, 35), 10
EVALUATIONS = 20  # in a history


def make(folder: Path, model: str, length: int, first_seed: int) -> None:
    """Write the record of a run of digit sums as a run would, but with made-up scores and no weights."""
    seeds = range(first_seed, first_seed + SEEDS)
    splits = ("dev", "test", "exact")
    share = {"srn": 0.5, "lstm": 0.7}[model] - length / 200
    config = {
        "length": length,
        "task": {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum", "sampling": "fixed"},
        "model": {"_target_": f"memexp.models.cells.{model.upper()}", "name": model, "hidden_size": 32},
        "seeds": [*seeds],
        "lr": 0.001,
        "clip": None,
    }
    scores = {f"{split}_{name}": value for split in splits for name, value in (("loss", 1.5), ("accuracy", share))}
    summary = {
        "format": record.FORMAT,
        "memexp": __version__,
        "torch": "none",
        "device_used": "none",
        "parameters": 9267,
        "title": model.upper(),
        "trained_on": f"length {length}",
        "hidden_sizes": [32],
        "updates": 100 * EVALUATIONS,
        "seconds": 1.0,
        "about": {"exact_over": "all inputs", "target_entropy_bits": 4.0, "chance_accuracy": 0.1, "test_rows": 100},
        "floors": {"accuracy": {"always the likeliest answer": 0.1}, "loss": {"knowing nothing": 2.8}},
        "shown": {f"{split}_accuracy": True for split in splits},
        "panels": ["task.sampling"],
        "config": config,
        "seeds": [
            {"seed": s, "best_iteration": 100, "diverged_at": None, "retained_bits": 2.0, **scores} for s in seeds
        ],
        "test_right": {str(seed): "01" * 50 for seed in seeds},
    }
    rows = [
        f"{100 * k},{seed},{split},{name},{value:.6g}"
        for k in range(EVALUATIONS)
        for split in ("train", "dev")
        for name, value in (("loss", 3 - k / EVALUATIONS), ("accuracy", share * k / EVALUATIONS))
        for seed in seeds
    ]
    folder.mkdir(parents=True)
    # Not by `record`, which waits for the disk at each file.
    (folder / record.CONFIG).write_bytes(seals.to_json(identity_of(config, "made-up")))
    (folder / record.HISTORY).write_text("\n".join([",".join(HISTORY_COLUMNS), *rows, ""]), encoding="utf-8")
    (folder / record.SUMMARY).write_bytes(seals.to_json({**summary, record.SEALED: record.seals_of(folder)}))


def measure(folders: int) -> str:
    """Time what a study of so many run folders of ten seeds costs to read.

    Times are of the clock on the wall, with the files in the system's cache, as they are after a sweep. Memory is what
    the process has grown by at its largest.
    """
    lines: list[str] = []

    @contextmanager
    def step(what: str) -> Iterator[None]:
        started = wall_clock()
        yield
        lines.append(f"{what} in {wall_clock() - started:.1f} s (memory {_peak() - before:,.0f} MB)")

    with tempfile.TemporaryDirectory() as home:
        study, images = Path(home, "outputs", "study"), Path(home, "images")
        for k in range(folders):
            model, length = MODELS[k % 2], LENGTHS[k // 2 % len(LENGTHS)]
            first = SEEDS * (k // (len(MODELS) * len(LENGTHS)))
            make(study / f"length={length},model={model},seeds={first}", model, length, first)
        before = _peak()
        with step("collected"):
            found = collect(record.run_folders(study))
        with step("summarised"):
            tables.results(found.rows, found.settings, found.shown)
        with step("analysed, with all figures,"):
            from memexp.analysis.command import analyse  # slow to import, as is all that draws

            for _ in analyse([study.name], study.parent, images, Complaints()):
                pass
    return f"{folders:,} run folders, {len(found.rows):,} rows: {'; '.join(lines)}"


def _peak() -> float:
    """Return the largest memory that this process had so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # of the system's count, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1_000_000
