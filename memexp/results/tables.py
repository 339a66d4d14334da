"""From the rows of all runs and seeds to the table that is shown: means with 95 % intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special

from memexp.escaping import in_markdown
from memexp.results.record import SEEN, SEQUENCES, score_name
from memexp.words import named, tr

SIZES = ("hidden_sizes", "parameters", "state_size")

SPLITS = {  # beginning of a score's name -> what it is measured on, in the order in which they are explained
    "last_": "*last*: with the weights after the last update, and not with those that dev chose.",
    "train_": "*train*: what was trained on, scored again.",
    "dev_": "*dev* chose the weights, as the best of many evaluations, so it is optimistic.",
    "test_": "*test* is scored once, with the weights that dev chose.",
    "exact_": "*exact* weighs every input that can occur with its probability, so it has no sampling error",
}


def interval(
    values: Sequence[float], level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float, float]:
    """Return mean and confidence interval of scores over seeds: Student's t, cut off at what a score can be.

    With fewer than two values the interval is NaN: one seed says nothing.
    """
    finite = np.asarray([v for v in values if v is not None and np.isfinite(v)], dtype=float)
    if len(finite) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(finite.mean())
    if len(finite) == 1:
        return mean, float("nan"), float("nan")
    half = _t((1 + level) / 2, len(finite) - 1) * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return mean, max(bounds[0], mean - half), min(bounds[1], mean + half)


def interval_until(values: Sequence[float], watched: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % interval of how long something took that may not have happened yet.

    Where it has not, a seed counts with how long it was watched. What it took is more, so the interval's lower end
    holds all the same; the upper one is then infinite.

    Args:
        values: what it took each seed; NaN where it has not happened.
        watched: how long each was watched; NaN where nobody did.
    """
    took, until = np.asarray(values, dtype=float), np.asarray(watched, dtype=float)
    open_end = np.isnan(took) & np.isfinite(until)
    mean, low, high = interval(np.where(open_end, until, took).tolist(), bounds=(0.0, math.inf))
    return mean, low, math.inf if open_end.any() else high


@lru_cache
def _t(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t; of scipy.special, for scipy.stats takes half a second to load; kept."""
    return float(special.stdtrit(degrees, probability))


def varied(rows: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Name the settings in which the runs that have them differ; the model and the length come first, always."""
    first = ["model.name", "length"]
    return [*first, *(name for name in settings if name not in first and len(_values(rows[name])) > 1)]


def _values(column: pd.Series) -> set[str]:
    """Return the different values of a setting; null is one, but not a number is of a run that does not have it."""
    return {str(value) for value in column.unique() if not (isinstance(value, float) and math.isnan(value))}


def _as_word(value: object) -> object:
    """Turn a list of widths and the like into a word, so that it can be sorted among others."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else value


def results(
    rows: pd.DataFrame,
    settings: Sequence[str],
    shown: Mapping[str, bool],
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Summarise runs and seeds: a row for each setting, with mean and interval of each score over its seeds.

    Args:
        rows: as `memexp.results.collect.collect` returns; the same seed of the same setting counts once.
        settings: the columns that are settings.
        shown: the columns of the scores that are summarised, and whether each is a share.
        bounds: what they can be, where that is not from 0 to 1 for a share, and from 0 on for others.

    Returns:
        Columns: the varied settings, ``parameters`` and ``state_size`` of one seed, ``seeds``, ``stopped`` (seeds whose
        loss was not finite), and for each score ``<score>``, ``<score>_low``, ``<score>_high``; ``seconds``.
    """
    by = varied(rows, settings)
    rows = rows.assign(**{name: rows[name].map(_as_word) for name in by})
    table = []
    for key, group in rows.drop_duplicates([*by, "seed"]).groupby(by, sort=True, dropna=False):
        row: dict[str, object] = dict(zip(by, key, strict=True))
        row |= {size: group[size].iloc[0] for size in SIZES if size in group}
        stopped = group["diverged_at"].notna()
        row["seeds"] = int((~stopped).sum())
        row["stopped"] = int(stopped.sum())
        for column, share in shown.items():
            name, usual = score_name(column), (0.0, 1.0 if share else math.inf)
            values = group.loc[~stopped, column].tolist()
            if column == SEQUENCES:
                low_to_high = interval_until(values, group.loc[~stopped, SEEN].tolist())
            else:
                low_to_high = interval(values, bounds=(bounds or {}).get(column, usual))
            row[name], row[f"{name}_low"], row[f"{name}_high"] = low_to_high
        row["seconds"] = float(group.drop_duplicates("run")["seconds"].sum())
        table.append(row)
    return pd.DataFrame(table)


def four_digits(number: float) -> str:
    """Write a number with four decimals, or with as many digits where these would hide it."""
    return f"{number:.4f}" if number == 0 or abs(number) >= 0.001 else f"{number:.3e}"


def _as_text(table: pd.DataFrame, shown: Mapping[str, bool]) -> pd.DataFrame:
    """Turn a table of `results` into text: shares in percent, with the interval in brackets."""
    names = [score_name(column) for column in shown]
    extra = [c for c in table.columns if str(c).endswith(("_low", "_high"))]
    text = table.rename(columns={"model.name": "model"}).drop(
        columns=[*names, "hidden_sizes", "state_size", "seconds", *extra], errors="ignore"
    )
    text = text.astype(object).where(text.notna(), "")  # a setting that this model does not have
    text = text.rename(columns=named)
    for name, share in zip(names, shown.values(), strict=True):
        text[shown_name(name, share)] = [
            _with_interval(mean, low, high, share)
            for mean, low, high in zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        ]
    if "seconds" in table:
        text[named("time")] = [f"{seconds:.0f} s" for seconds in table["seconds"]]
    return text if table["stopped"].any() else text.drop(columns=named("stopped"))


def shown_name(column: str, share: bool) -> str:
    """Name the column of a score in a table."""
    return f"{named(score_name(column))} %" if share else named(score_name(column))


def _with_interval(mean: float, low: float, high: float, share: bool) -> str:
    """Write a mean with its interval in brackets, if it has one; a share in percent."""
    if not np.isfinite(mean):
        return ""
    digits = next((n for least, n in ((10_000, 0), (1, 2), (0.001, 4)) if abs(mean) >= least), None)
    form = ".1f" if share else ".4f" if mean == 0 else ".1e" if digits is None else f".{digits}f"
    mean, low, high = (100 * number if share else number for number in (mean, low, high))
    if high == math.inf:
        return f"> {mean if math.isnan(low) else low:{form}}"
    return f"{mean:{form}}" + (f" [{low:{form}}, {high:{form}}]" if np.isfinite(low) else "")


def shown_text(table: pd.DataFrame, shown: Mapping[str, bool]) -> str:
    """Format a table of `results` for the terminal."""
    with pd.option_context("display.unicode.east_asian_width", True):
        return _as_text(table, shown).to_string(index=False)


def markdown(table: pd.DataFrame, shown: Mapping[str, bool]) -> str:
    """Format a table of `results` for a README."""
    text = _as_text(table, shown).astype(str)
    lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return "".join(f"| {' | '.join(map(in_markdown, line))} |\n" for line in lines)


def explained(rows: pd.DataFrame, table: pd.DataFrame, shown: Mapping[str, bool]) -> str:
    """Say in Markdown how a table of `results` is read: what its rows, scores and brackets are.

    Args:
        rows: that it was made of.
        table: of `results`.
        shown: as for `results`.
    """
    counts = sorted(set(table["seeds"]))
    seeds = f"{counts[0]}" if len(counts) == 1 else tr(f"{counts[0]} to {counts[-1]}")
    lines = [
        tr("Each row is a setting: *model*, *length*, and the keys in which runs differ. A key is empty where a run "
           "does not have it, or where it is null."),
        tr(f"*seeds* is the number of random starts that a setting was trained from: {seeds}."),
        tr("A score is the mean over the seeds. Its 95 % confidence interval is in square brackets (Student's t over "
           "seeds, cut off at what a score can be); a single seed has none."),
    ]  # fmt: skip
    if any(shown.values()):
        lines.append(tr("% stands for a share in percent; where no score is named, it is the accuracy."))
    for begin, text in SPLITS.items():
        if _any(shown, begin):
            lines.append(tr(text) + (_exact_over(rows) if begin == "exact_" else ""))
    if table["stopped"].any():
        lines.append(
            tr("*stopped* counts the seeds whose loss was not finite at some update; the scores leave them out.")
        )
    if SEQUENCES in shown:
        lines.append(
            tr("*sequences* is how many training sequences it took until so many in a row were right (`until_right`); "
               "with > the lower end of the interval, where a seed was never there.")
        )  # fmt: skip
    if "parameters" in table:
        lines.append(tr("*parameters* is the number of weights of one seed."))
    lines.append(tr("*time* is what all seeds took together."))
    return "".join(f"- {line}\n" for line in lines)


def _any(shown: Mapping[str, bool], begin: str) -> bool:
    return any(column.startswith((begin, f"last_{begin}")) for column in shown)


def _exact_over(rows: pd.DataFrame) -> str:
    """Say what the exact scores are over, as far as the records do."""
    if "exact_over" not in rows:
        return tr(".")
    known = rows.dropna(subset=["exact_over"]).sort_values("length")
    by_length = known.groupby("length")["exact_over"].unique()
    parts = [
        tr(f"{tr(' or ').join(in_markdown(named(str(rows))) for rows in over)} at length {length}")
        for length, over in by_length.items()
    ]
    return tr(f": {tr(', ').join(parts)}.") if parts else tr(".")
