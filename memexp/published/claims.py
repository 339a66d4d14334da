"""Claims: a number that somebody published, and how the same is measured here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from memexp.errors import MemexpError
from memexp.guess import LEVEL, mean_trials, number, with_interval
from memexp.progress import bar
from memexp.results import record
from memexp.results.collect import Collected, collect
from memexp.results.study import once
from memexp.results.tables import interval

MISSING = "-"  # in the table, where there is nothing of ours
HOW = "python -m memexp experiment=published"  # trains what is measured from records


class Estimate(NamedTuple):
    """A number with its 95 % interval.

    Attributes:
        mean: NaN where only the interval is told, as of "more than 0".
        low: of the interval; -inf where it is open, NaN where there is none, as of one seed.
        high: of the interval; inf where it is open, NaN where there is none.
        n: of how many seeds or searches it is; 0 where that is not told.
    """

    mean: float
    low: float
    high: float
    n: int = 0

    def __str__(self) -> str:
        if self.high == math.inf:
            low = self.mean if math.isnan(self.low) else self.low
            return f"over {number(low) if low else 0}"
        return f"under {number(self.high)}" if self.low == -math.inf else with_interval(self.mean, self.low, self.high)


def exactly(mean: float) -> Estimate:
    """Take a number of which nothing more is told."""
    return Estimate(mean, mean, mean)


def over(low: float) -> Estimate:
    """Take the statement that it is more than this: of a difference, ``over(0)`` is an order."""
    return Estimate(math.nan, low, math.inf)


def under(high: float) -> Estimate:
    """Take the statement that it is less than this."""
    return Estimate(math.nan, -math.inf, high)


def counted(number: int, of: int) -> Estimate:
    """Take a count of so many that were tested once, with the interval of `share_within`."""
    low, high = share_within(number, of)
    return Estimate(number, of * low, of * high, of)


def share_within(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which k of n are known (Clopper and Pearson 1934)."""
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    return low, float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0


def trials(mean: float, searches: int) -> Estimate:
    """Take the mean number of trials of so many searches, see `memexp.guess.mean_trials`."""
    return Estimate(*mean_trials([mean] * searches, [True] * searches), searches)


def over_seeds(values: Sequence[float], most: float = math.inf) -> Estimate:
    """Return the mean of a score over seeds, with Student's interval, cut off at 0 and at the most it can be."""
    return Estimate(*interval(values, bounds=(0.0, most)), int(np.isfinite(np.asarray(values, dtype=float)).sum()))


class NotThereError(MemexpError):
    """What is measured from records has no record yet."""


@dataclass(frozen=True)
class Measured:
    """What claims are measured with.

    Attributes:
        searches: repetitions of each random search.
        trials: networks that are tried in each, at most.
        study: the folder of the records.
    """

    searches: int
    trials: int
    study: Path

    @cached_property
    def _found(self) -> Collected:
        return collect(record.run_folders(self.study) if self.study.is_dir() else [])

    @property
    def missing(self) -> list[str]:
        """A line for each run of the study that cannot be read."""
        return [f"missing: {self.study.name}/{line}" for line in self._found.missing]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The complete runs of the study: a row for each setting and seed, see `memexp.results.collect.Collected`."""
        return self._found.rows if self._found.rows.empty else once(self._found.rows, self._found.settings)

    def picked(self, settings: Mapping[str, Any]) -> pd.DataFrame:
        """Return the rows whose settings, by dotted name, are these: one run's, or those of the same one in parts.

        Raises:
            NotThereError: there is none, or there are several that differ in another setting.
        """
        rows = self.rows
        for name, value in settings.items():
            rows = rows[rows[name] == value] if name in rows else rows.iloc[:0]
        if rows.empty:
            raise NotThereError(f"not trained yet, in {self.study}; {HOW} does")
        apart = [name for name in self._found.settings if rows[name].nunique(dropna=False) > 1]
        if apart:
            raise NotThereError(
                f"runs in {self.study} that differ in {', '.join(apart)} are not averaged; {HOW} study=NAME, and "
                "study=NAME here, keep them apart"
            )
        return rows


@dataclass(frozen=True)
class FromRecords:
    """Measures a claim from the records of runs.

    Attributes:
        runs: what their settings are, by dotted name, as ``{"task.name": "adding"}``.
        of: makes a number of their rows, one for each seed.
    """

    runs: Mapping[str, Any]
    of: Callable[[pd.DataFrame], Estimate]

    def __call__(self, measured: Measured) -> Estimate:
        """Measure."""
        return self.of(measured.picked(self.runs))


@dataclass(frozen=True)
class Claim:
    """A number that somebody published.

    Attributes:
        source: where, with its section or table.
        what: is measured.
        theirs: their number, with its interval where they say of how many repetitions it is.
        ours: measures it, or raises `MemexpError`: there is no record, or it is damaged.
    """

    source: str
    what: str
    theirs: Estimate
    ours: Callable[[Measured], Estimate]


def agreement(theirs: Estimate, ours: Estimate) -> str:
    """Say whether both intervals have a number in common: yes, no, or open, where ours has no upper end yet.

    It is open as well where there is none of ours, as of one seed.
    Where theirs is a bound, all of our interval has to be on its right side; it is open where the bound is within it.
    """
    if math.isnan(ours.high) or math.isnan(ours.mean):
        return "open"
    if theirs.low > ours.high or ours.low > theirs.high:
        return "no"
    if math.isnan(theirs.mean):
        return "yes" if theirs.low < ours.low and ours.high < theirs.high else "open"
    return "open" if ours.high == math.inf else "yes"


def table(claims: Sequence[Claim], measured: Measured) -> pd.DataFrame:
    """Measure claims.

    Returns:
        A row for each: ``source``, ``what``, ``theirs``, ``their_low``, ``their_high``, ``ours``, ``low``, ``high``,
        ``n``, how many seeds or searches ours are, ``agrees``, see `agreement`; and ``missing``, why there is nothing
        of ours.
    """
    rows = []
    with bar(len(claims), "published") as shown:
        for claim in claims:
            ours, missing = Estimate(math.nan, math.nan, math.nan), ""
            try:
                ours = claim.ours(measured)
                agrees = agreement(claim.theirs, ours)
            except MemexpError as error:  # one record that is damaged does not cost all the other rows
                agrees, missing = "", str(error)
            theirs = {"theirs": claim.theirs.mean, "their_low": claim.theirs.low, "their_high": claim.theirs.high}
            own = {"ours": ours.mean, "low": ours.low, "high": ours.high, "n": ours.n}
            rows.append(
                {"source": claim.source, "what": claim.what, **theirs, **own, "agrees": agrees, "missing": missing}
            )
            shown.update(1)
    return pd.DataFrame(rows)


def as_text(table: pd.DataFrame) -> str:
    """Write a table of `table` for the terminal."""
    theirs, ours = ["theirs", "their_low", "their_high"], ["ours", "low", "high"]
    columns: dict[str, Any] = {
        "theirs": [str(Estimate(*row)) for row in table[theirs].to_numpy()],
        "ours": [
            MISSING if missing else str(Estimate(*row))
            for missing, row in zip(table["missing"], table[ours].to_numpy(), strict=True)
        ],
        "n": [n or "" for n in table["n"]],
        "agrees": table["agrees"],
    }
    reasons = [f"{MISSING}: {reason}" for reason in table["missing"].unique() if reason]
    return "\n".join([table[["source", "what"]].assign(**columns).to_string(index=False), *reasons])
