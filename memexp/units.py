"""Which units follow what: correlation over a long text, held against what chance would give.

Activations and features go on for thousands of time steps, and both change slowly, so that two of them that have
nothing to do with each other can correlate far more than independent numbers would. What chance gives is therefore
measured with the very same series: the feature is shifted along the text, round its end, by every distance that is not
short. This keeps how each of them goes on and breaks what ties them together. Letters: T time steps, D units.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import fft

SHORTEST_SHIFT = 100  # time steps; below it a shifted feature still resembles itself
QUANTILE = 0.95
CHUNK = 4_000_000  # values that are shifted at once: bounds the memory


def standardise(values: np.ndarray) -> np.ndarray:
    """Subtract the mean over time and divide by the standard deviation, [T, ...]; what is constant becomes 0."""
    values = np.asarray(values, dtype=float)
    centred, size = values - values.mean(0), np.abs(values).max(0)
    deviation = values.std(0)
    moves = deviation > 1e-6 * np.where(size > 0, size, 1)  # traces are float32
    standardised: np.ndarray = np.where(moves, centred, 0) / np.where(moves, deviation, 1)
    return standardised


def shifted_correlations(values: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Correlate units with a feature shifted round by 0, 1, ..., T - 1 time steps.

    Args:
        values: [T, D].
        feature: [T].

    Returns:
        [T, D], Pearson's r for each shift and unit, 0 where either is constant.
    """
    T = len(feature)
    ours, theirs = fft.rfft(standardise(values), axis=0), fft.rfft(standardise(feature))
    r: np.ndarray = fft.irfft(ours * theirs.conj()[:, None], T, axis=0) / T
    return r


def against_chance(values: np.ndarray, feature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return r of each unit, [D], and for every shift that is not short the largest |r| over the units, [shifts]."""
    T, D = values.shape
    gap = max(1, min(SHORTEST_SHIFT, T // 4))
    r, largest = np.zeros(D), np.zeros(T + 1 - 2 * gap)
    step = max(1, CHUNK // T)
    for start in range(0, D, step):
        shifted = shifted_correlations(values[:, start : start + step], feature)
        r[start : start + step] = shifted[0]
        largest = np.maximum(largest, np.abs(shifted[gap : T + 1 - gap]).max(1))
    return r, largest


def share_as_large(r: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return for each unit the share of shifts whose best unit has at least its |r|, itself counted as one: [D]."""
    below = np.searchsorted(np.sort(largest), np.abs(r) - 1e-12)
    share: np.ndarray = (1 + len(largest) - below) / (1 + len(largest))
    return share


def follow(parts: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Correlate every unit with every feature.

    Args:
        parts: name -> [T, D], what the units do over a text.
        features: name -> [T], what the text is like.

    Returns:
        A row for each feature, part and unit: ``r``; ``threshold``, what the best unit of this part exceeds with 5 % of
        all shifts; ``p``, the share of shifts at which the best unit of the part is at least as good as this one;
        ``threshold_of_all``, as ``threshold`` for the best unit of all parts. So all three allow for the number of
        units, but not for the number of features.
    """
    tables = []
    for feature, numbers in features.items():
        found = {part: against_chance(values, numbers) for part, values in parts.items()}
        of_all = np.quantile(np.max([largest for _, largest in found.values()], axis=0), QUANTILE)
        for part, (r, largest) in found.items():
            columns = {"feature": feature, "part": part, "unit": range(len(r)), "r": r}
            chance = {"threshold": np.quantile(largest, QUANTILE), "p": share_as_large(r, largest)}
            tables.append(pd.DataFrame({**columns, **chance, "threshold_of_all": of_all}))
    return pd.concat(tables, ignore_index=True)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the best unit of all parts for each feature.

    Args:
        table: of `follow`, with a column ``training``: before or after.

    Returns:
        The unit's row after training, and ``before``, the largest |r| of any unit before it.
    """
    sizes = table["r"].abs()
    after = table["training"] == "after"
    chosen = table.loc[sizes[after].groupby(table["feature"], sort=False).idxmax()]
    before = sizes[~after].groupby(table["feature"]).max()
    return chosen.assign(before=chosen["feature"].map(before)).reset_index(drop=True)


def in_words(chosen: pd.DataFrame) -> Iterator[str]:
    """Say of each feature, in a line, which unit follows it best; ``chosen`` is of `best`."""
    for row in chosen.to_dict("records"):
        above = "" if abs(row["r"]) > row["threshold_of_all"] else "not above "
        yield (
            f"{row['feature']}: unit {row['unit']} of {row['part']}, r = {row['r']:.2f} "
            f"({above}chance {row['threshold_of_all']:.2f}, best before training {row['before']:.2f})"
        )
