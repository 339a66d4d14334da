"""What may be concluded from a few seeds: times to a criterion, and model against model.

The tests are scipy's and statsmodels'.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from memexp.results.tables import interval

REPLICATES = 4000  # of the bootstrap
EXACT_PAIRS = 12  # of so many pairs, at most, all signs are tried


def updates_until(history: pd.DataFrame, criterion: float) -> pd.DataFrame:
    """Find for each seed the first update at which its dev accuracy reached a criterion.

    Args:
        history: of one run: columns ``iteration``, ``seed``, ``split``, ``name``, ``value``.
        criterion: an accuracy in 0..1.

    Returns:
        A row for each seed: ``seed``, ``updates``, and ``reached``; where it is False the seed never got there, and
        ``updates`` is how long it was watched.
    """
    dev = history[(history["split"] == "dev") & (history["name"] == "accuracy")]
    rows = []
    for seed, own in dev.groupby("seed"):
        there = own.loc[own["value"] >= criterion, "iteration"]
        updates = there.min() if len(there) else own["iteration"].max()
        rows.append({"seed": seed, "updates": int(updates), "reached": bool(len(there))})
    return pd.DataFrame(rows, columns=["seed", "updates", "reached"])


def share_reached(updates: Sequence[int], reached: Sequence[bool], until: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of seeds that got there by each update, from 0 to ``until`` (Kaplan and Meier 1958).

    Seeds that never got there count as watched up to their last update, and no longer.
    """
    times, got_there = np.asarray(updates), np.asarray(reached)
    curve = stats.ecdf(stats.CensoredData.right_censored(times, ~got_there)).cdf
    x = np.concatenate([[0.0], curve.quantiles, [float(until)]])
    share = np.concatenate([[0.0], curve.probabilities, [curve.probabilities[-1]]])
    return x, share


def hierarchical_interval(
    one: np.ndarray, other: np.ndarray, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return the difference of two models' mean accuracy on the same rows, with its bootstrap interval.

    Both levels are drawn anew in every replicate: the seeds of each model on its own, and the rows for both together.

    Args:
        one: which rows each seed gets right, [S, N], 0 or 1.
        other: the same for the other model, [S', N].
        level: of the interval.
        seed: of the bootstrap.

    Returns:
        The difference one - other, and the lower and upper end of the percentile interval.
    """
    draw = np.random.default_rng(seed)

    def counts(n: int, replicates: int) -> np.ndarray:
        return draw.multinomial(n, np.full(n, 1 / n), replicates) / n

    def means_of(right: np.ndarray) -> np.ndarray:
        parts = [counts(len(right), len(of_rows)) @ right for of_rows in pieces]  # [replicates, N]
        return np.concatenate([(part * of_rows).sum(1) for part, of_rows in zip(parts, pieces, strict=True)])

    # In pieces: of 100,000 seeds the counts of all replicates would take gigabytes.
    pieces = np.array_split(counts(one.shape[1], REPLICATES), 20)
    means = [means_of(right) for right in (one, other)]
    low, high = np.quantile(means[0] - means[1], [(1 - level) / 2, (1 + level) / 2])
    return float(one.mean() - other.mean()), float(low), float(high)


def compare(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Compare two models' scores over seeds: is ``one`` better, and may that be chance (Mann and Whitney)?

    Args:
        one: a score for each seed, [S].
        other: the same of the other model, [S'].

    Returns:
        P(one > other) + P(one = other) / 2 for a seed drawn from each, and the two-sided p that this is 1/2.
    """
    test = stats.mannwhitneyu(one, other)
    return float(test.statistic / (len(one) * len(other))), float(test.pvalue)


class Difference(NamedTuple):
    """How far apart the scores of two runs are: mean of one less mean of the other, its 95 % interval, two-sided p."""

    mean: float
    low: float
    high: float
    p: float


def difference(one: Sequence[float], other: Sequence[float], paired: bool, level: float = 0.95) -> Difference:
    """Compare two runs' scores over seeds.

    Args:
        one: a score for each seed, at least two.
        other: the same of the other run.
        paired: whether the same seed stands at the same place in both, so that what a seed has in common cancels. Then
            the interval is Student's of the differences, and p is Wilcoxon's; else they are Welch's, and Mann and
            Whitney's.
        level: of the interval.
    """
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    mean = float(first.mean() - second.mean())
    if not paired:
        spread = float(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
        same = spread == 0  # Welch's degrees of freedom are 0 / 0
        interval_of = None if same else stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
        low, high = (mean, mean) if interval_of is None else (float(interval_of.low), float(interval_of.high))
        return Difference(mean, low, high, compare(first, second)[1])
    apart = first - second
    _, low, high = interval(list(apart), level, (-np.inf, np.inf))
    if not apart.any():
        return Difference(mean, low, high, 1.0)
    few = len(apart) <= EXACT_PAIRS
    method = stats.PermutationMethod(n_resamples=2 ** len(apart)) if few else "auto"
    return Difference(mean, low, high, float(stats.wilcoxon(apart, method=method).pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979)."""
    return [float(value) for value in multipletests(list(p), method="holm")[1]] if len(p) else []


def agreement(rows: pd.DataFrame, columns: Sequence[str], fewest: int = 5) -> pd.DataFrame:
    """Say how far numbers put seeds in the same order: Spearman's rank correlation of every two columns.

    Args:
        rows: a row for each run and seed: ``run``, ``seed`` and the columns.
        columns: numbers; NaN where a seed has none.
        fewest: seeds that both columns must have in a run.

    Returns:
        A row for every two columns, ``one`` and ``other``: ``overall``, over the seeds of all runs, which says how far
        both tell settings apart; ``within``, the mean over runs of the correlation over a run's own seeds, with its
        95 % interval ``within_low`` and ``within_high``; ``runs``, how many have one. NaN where a column does not vary.
        The interval is of seeds, not of runs, for a seed begins with much the same weights in all of them: the
        jackknife, which leaves a seed out of all runs (Efron and Tibshirani 1993, chapter 11), with Student's t.
    """
    overall = rows[list(columns)].corr("spearman", min_periods=fewest).to_numpy()
    within, runs = _within_runs(rows, columns, fewest)
    seeds = rows["seed"].unique()
    without = [_within_runs(rows[rows["seed"] != seed], columns, fewest - 1)[0] for seed in seeds]
    n, factor = len(seeds), stats.t.ppf(0.975, max(1, len(seeds) - 1))
    half = factor * (n - 1) ** 0.5 * np.std(without, axis=0)
    ends = np.clip(within - half, -1, 1), np.clip(within + half, -1, 1)
    numbers = {"overall": overall, "within": within, "within_low": ends[0], "within_high": ends[1], "runs": runs}
    pairs = np.triu_indices(len(columns), 1)
    names = {side: np.array(columns)[places] for side, places in zip(("one", "other"), pairs, strict=True)}
    return pd.DataFrame({**names, **{name: values[pairs] for name, values in numbers.items()}})


def _within_runs(rows: pd.DataFrame, columns: Sequence[str], fewest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over runs of the rank correlations within each, and how many have one: [columns, columns]."""
    by_run = (run[list(columns)] for _, run in rows.groupby("run", sort=False))
    each = np.stack([run.corr("spearman", min_periods=fewest).to_numpy() for run in by_run])
    runs = np.isfinite(each).sum(0)
    return np.divide(np.nansum(each, 0), runs, where=runs > 0, out=np.full(runs.shape, np.nan)), runs
