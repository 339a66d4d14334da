"""Which units follow what: correlation over a long text, held against what chance would give.

Activations and features go on for thousands of time steps, and both change slowly, so that two of them that have
nothing to do with each other can correlate far more than independent numbers would. What chance gives is therefore
measured with the very same series: all features are shifted along the text together, round its end, by every distance
that is not short. This keeps how each series goes on, and breaks what ties units to the text.

The largest of many correlations is large by chance alone. So at every shift the largest one is taken, over all units
and all features (maxT, Westfall and Young 1993). Features differ in how large a correlation chance gives them; each
correlation is therefore divided by what the best unit reaches for that feature by chance. If no unit followed anything,
*any* unit would be above its threshold for *any* feature in about 5 % of all texts (4 to 8 % of those simulated).
Neighbouring shifts resemble each other; those that do count as one.
Letters: T time steps, D units, F features.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import fft

from memexp.words import named, tr

BURN_IN = 100  # time steps that are left out: the state starts from zero
SHORTEST_SHIFT = 100  # time steps; below it a shifted feature still resembles itself
SHORTEST_TEXT = BURN_IN + 4 * SHORTEST_SHIFT  # so that half of all shifts are not short
LEVEL = 0.05
CHUNK = 1_000_000  # values that are shifted at once: bounds the memory


def standardise(values: np.ndarray) -> np.ndarray:
    """Subtract the mean over time and divide by the standard deviation, [T, ...]; what is constant becomes 0."""
    values = np.asarray(values, dtype=float)
    centred, size = values - values.mean(0), np.abs(values).max(0)
    deviation = values.std(0)
    moves = deviation > 1e-6 * np.where(size > 0, size, 1)  # traces are float32
    standardised: np.ndarray = np.where(moves, centred, 0) / np.where(moves, deviation, 1)
    return standardised


def shifted_correlations(values: np.ndarray, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Correlate units with features shifted round by 0, 1, ..., T - 1 time steps.

    Args:
        values: [T, D].
        features: each [T], not a number where it is not defined; the time steps that it is not defined at are left
            out, and shifted with it.

    Yields:
        For each feature [T, D], Pearson's r for each shift and unit, 0 where either is constant.
    """
    T = len(values)
    values = standardise(values)
    first, second = fft.rfft(values, axis=0), fft.rfft(values**2, axis=0)

    def sums(spectrum: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Sum over time, each step with its weight, at every shift of the weights: [T, D]."""
        summed: np.ndarray = fft.irfft(spectrum * fft.rfft(weights.astype(float)).conj()[:, None], T, axis=0)
        return summed

    deviations: dict[bytes, np.ndarray] = {}  # of the units where a feature is defined, [T, D]; many share a mask
    for feature in features:
        defined = np.isfinite(feature)
        count, mask = defined.sum(), defined.tobytes()
        if mask not in deviations:
            variance = sums(second, defined) / count - (sums(first, defined) / count) ** 2
            deviations[mask] = np.sqrt(np.where(variance > 1e-10, variance, np.inf))
        standardised = np.zeros(T)
        standardised[defined] = standardise(feature[defined])
        yield sums(first, standardised) / (count * deviations[mask])


def against_chance(values: np.ndarray, features: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return r of each unit, [F, D], and for every shift that is not short the largest |r| over units, [F, shifts]."""
    T, D = values.shape
    r, largest = np.zeros((len(features), D)), np.zeros((len(features), T + 1 - 2 * SHORTEST_SHIFT))
    step = max(1, CHUNK // T)
    for start in range(0, D, step):
        for k, shifted in enumerate(shifted_correlations(values[:, start : start + step], features.values())):
            r[k, start : start + step] = shifted[0]
            sizes = np.abs(shifted[SHORTEST_SHIFT : T + 1 - SHORTEST_SHIFT]).max(1)
            largest[k] = np.maximum(largest[k], sizes)
    return r, largest


def correlation_time(series: np.ndarray) -> float:
    """Return how many neighbours in a series, [T], say as much as one: its integrated autocorrelation time."""
    centred = series - series.mean()
    covariance = fft.irfft(np.abs(fft.rfft(centred, 2 * len(series))) ** 2)[: len(series)]
    first = int(np.argmax(covariance <= 0))  # beyond it there is noise only
    return 1 + 2 * float(covariance[1:first].sum() / covariance[0]) if first else 1.0


def share_as_large(sizes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return for each size the share of the largest that are no smaller, itself counted as one of them.

    Args:
        sizes: [D].
        largest: at each shift, [shifts]; as many shifts as their `correlation_time` count as one.

    Returns:
        [D].
    """
    time = correlation_time(largest)
    below = np.searchsorted(np.sort(largest), sizes - 1e-12)
    share: np.ndarray = (time + len(largest) - below) / (time + len(largest))
    return share


def chance(largest: np.ndarray) -> float:
    """Return what a size has to be above for its `share_as_large` to be at most `LEVEL`; infinity if none would do."""
    time = correlation_time(largest)
    may_be_larger = math.floor(LEVEL * (time + len(largest)) - time)
    return float(np.sort(largest)[-1 - may_be_larger]) if may_be_larger >= 0 else math.inf


def varies(feature: np.ndarray) -> bool:
    """Say whether a feature, [T], has different values where it is defined."""
    return len(np.unique(feature[np.isfinite(feature)])) > 1


def follow(parts: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Correlate every unit with every feature, over all time steps but the first `BURN_IN`.

    Args:
        parts: name -> [T, D], what the units do over a text.
        features: name -> [T], what the text is like; not a number where that is not defined. One that is the same
            everywhere is left out.

    Returns:
        A row for each feature, part and unit. ``r`` is the correlation. ``p`` is the share of shifts at which the best
        unit does at least as well for any feature, so it allows for the number of units and features. ``threshold`` is
        the same for all units: |r| is above it if p is at most `LEVEL`. It is 1 where there are too few shifts to tell.

    Raises:
        ValueError: the text is shorter than `SHORTEST_TEXT`.
    """
    T = min(len(series) for series in (*parts.values(), *features.values()))
    if T < SHORTEST_TEXT:
        raise ValueError(f"{T} time steps are too few; {SHORTEST_TEXT} are needed")
    features = {name: feature[BURN_IN:] for name, feature in features.items() if varies(feature[BURN_IN:])}
    if not features:
        return pd.DataFrame(columns=["feature", "part", "unit", "r", "threshold", "p"])
    found = {part: against_chance(values[BURN_IN:], features) for part, values in parts.items()}
    largest = np.max([of_part for _, of_part in found.values()], axis=0)  # [F, shifts]
    measure = np.quantile(largest, 1 - LEVEL, axis=1)  # of each feature by itself
    measure[measure == 0] = 1  # no unit moves
    of_all = (largest / measure[:, None]).max(0)  # [shifts]
    thresholds = np.minimum(chance(of_all) * measure, 1)
    tables = [
        pd.DataFrame({
            "feature": feature, "part": part, "unit": range(r.shape[1]), "r": r[k], "threshold": thresholds[k],
            "p": share_as_large(np.abs(r[k]) / measure[k], of_all),
        })
        for k, feature in enumerate(features) for part, (r, _) in found.items()
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the best unit of all parts for each feature.

    Args:
        table: of `follow`, with a column ``training``: before or after.

    Returns:
        The unit's row after training; ``before``, the largest |r| of any unit before it; and ``stands_out``, whether
        its own is above both this and chance.
    """
    sizes = table["r"].abs()
    after = table["training"] == "after"
    chosen = table.loc[sizes[after].groupby(table["feature"], sort=False).idxmax()]
    before = chosen["feature"].map(sizes[~after].groupby(table["feature"]).max())
    size = chosen["r"].abs()
    stands_out = (size > chosen["threshold"]) & (size > before)
    return chosen.assign(before=before, stands_out=stands_out).reset_index(drop=True)


def in_words(chosen: pd.DataFrame) -> Iterator[str]:
    """Say of each feature, in a line, which unit follows it best; ``chosen`` is of `best`."""
    for row in chosen.to_dict("records"):
        chance, before = (
            f"{'' if abs(row['r']) > row[column] else 'not above '}{name} {row[column]:.2f}"
            for name, column in (("chance", "threshold"), ("before training", "before"))
        )
        yield f"{row['feature']}: unit {row['unit']} of {row['part']}, r = {row['r']:.2f} ({chance}, {before})"


def by_unit(chosen: pd.DataFrame) -> pd.DataFrame:
    """Return the units that stand out, each once however many features it is best for, the best first.

    Args:
        chosen: of `best`.

    Returns:
        ``part``, ``unit`` and ``follows``, the features with their r.
    """
    rows = chosen[chosen["stands_out"]].sort_values("r", key=np.abs, ascending=False, kind="stable")
    follows = [tr(f"{named(feature)} (r = {r:.2f})") for feature, r in zip(rows["feature"], rows["r"], strict=True)]
    of_unit = rows.assign(follows=follows).groupby(["part", "unit"], sort=False)["follows"]
    return of_unit.agg(tr(", ").join).reset_index()
