"""How many sequences until a task is learned (Hochreiter and Schmidhuber 1997), from the records.

A sequence is an update there, and so it is in these runs: ``batch_size=1``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from memexp.published.claims import Claim, Estimate, FromRecords, Measured, counted, exactly, over_seeds, share_within
from memexp.results.history import read_history
from memexp.results.record import SEEN, SEQUENCES
from memexp.results.tables import interval_until

PAPER = "Hochreiter and Schmidhuber 1997"
TESTED = 2560  # sequences that were tested with, in 1997 and here
STREAK = 2000  # sequences in a row that had to be right
OF_256 = 1 / 256  # of the sequences that said when to stop; here they are dev's


def until_streak(rows: pd.DataFrame) -> Estimate:
    """Return how many sequences it took until the last `STREAK` were right."""
    return Estimate(*interval_until(rows[SEQUENCES].tolist(), rows[SEEN].tolist()), len(rows))


def wrong(metric: str, rows: pd.DataFrame) -> Estimate:
    """Return how many of the test sequences are wrong.

    The interval is the wider of two: Student's over seeds, of which one has none, and those with the same number an
    empty one; and that of Clopper and Pearson (1934) over all sequences, which takes the seeds for one.
    """
    counts = TESTED * (1 - rows[f"test_{metric}"].dropna())
    seeds = over_seeds(counts.tolist(), TESTED)
    k, n = round(counts.sum()), TESTED * len(counts)
    low, high = share_within(k, n)
    return seeds._replace(low=float(np.fmin(seeds.low, TESTED * low)), high=float(np.fmax(seeds.high, TESTED * high)))


def until(ended: Callable[[pd.DataFrame], pd.Series], settings: Mapping[str, Any], measured: Measured) -> Estimate:
    """Return after how many sequences training would have ended: those before the first evaluation on dev that says so.

    Args:
        ended: says of each evaluation, a row with its scores, whether training ends there.
        settings: of the run, see `Measured.picked`.
        measured: has its records.
    """
    rows = measured.picked(settings)
    took, watched = [], []
    for run, own in rows.groupby("run"):
        history = read_history(measured.study / str(run))
        dev = history[(history["split"] == "dev") & history["seed"].isin(own["seed"])]
        for _, of_seed in dev.pivot_table("value", ["seed", "iteration"], "name").groupby("seed"):
            there = of_seed.index.get_level_values("iteration")[ended(of_seed)]
            took.append(there.min() if len(there) else np.nan)
            watched.append(of_seed.index.get_level_values("iteration").max())
    return Estimate(*interval_until(took, watched), len(took))


def no_more_wrong_than(most: int, metric: str, error: float | None, scores: pd.DataFrame) -> pd.Series:
    """Say whether so few of 256 sequences are wrong, and the mean absolute error is below this, if it has to be."""
    few = scores[metric] > 1 - (most + 0.5) * OF_256
    return few if error is None else few & (scores["absolute_error"] < error)


def of_1997(task: str, **more: Any) -> dict[str, Any]:
    """Return the settings of the run of a task."""
    own = {f"task.{name}": value for name, value in more.items() if name != "truncated"}
    same = {"task.name": task, "length": 100, "batch_size": 1, "model.name": "lstm_1997"}
    return {**same, "model.truncated": more.get("truncated", True), **own}


def stopped(table: str, noise: str, metric: str, named: str, theirs: float, most: int, error: float | None) -> Claim:
    """Make the claim of a two-sequence problem."""
    ended = partial(no_more_wrong_than, most, metric, error)
    measure = partial(until, ended, of_1997("two_sequences", noise=noise))
    return Claim(f"{PAPER}, {table}", f"{named}: sequences", exactly(theirs), measure)


def of_streak(table: str, settings: Mapping[str, Any], metric: str, named: str, theirs: float, few: int) -> list[Claim]:
    """Make the claims of a task that is trained until a streak of right sequences: how many, and how many are wrong."""
    source, runs = f"{PAPER}, {table}", {**settings, "until_right": STREAK}
    return [
        Claim(source, f"{named}: sequences", exactly(theirs), FromRecords(runs, until_streak)),
        Claim(source, f"{named}: wrong of {TESTED:,}", counted(few, TESTED), FromRecords(runs, partial(wrong, metric))),
    ]


CLAIMS: tuple[Claim, ...] = (
    stopped("table 4", "tail", "within_0.2", "two sequences (3a), ST1", 27_380, 0, None),
    stopped("table 4", "tail", "within_0.2", "two sequences (3a), ST2", 39_850, 0, 0.01),
    stopped("table 5", "signal", "within_0.2", "two sequences, noisy signal (3b), ST1", 41_740, 5, None),
    stopped("table 5", "signal", "within_0.2", "two sequences, noisy signal (3b), ST2", 43_250, 5, 0.04),
    stopped("table 6", "targets", "within_0.1", "two sequences, noisy targets (3c)", 269_650, 0, 0.015),
    *of_streak("table 7", of_1997("adding"), "within_0.04", "adding (4), T = 100", 74_000, 1),
    *of_streak("table 9", of_1997("temporal_order", relevant=2), "accuracy", "temporal order (6a)", 31_390, 1),
    *of_streak("table 9", of_1997("temporal_order", relevant=3), "accuracy", "temporal order (6b)", 571_100, 2),
)
