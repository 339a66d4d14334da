"""Lengths that were never trained on, and long waits: what others published, from the records of runs.

The records are those of ``experiment=published``. All scores are percentages. Axis letters as in `memexp.models.cells`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from memexp import trained
from memexp.evaluation import runner_of, scores_at
from memexp.published.claims import Claim, Estimate, Measured, exactly, over, over_seeds
from memexp.results.statistics import difference
from memexp.results.tables import interval
from memexp.trained import TrainedRun
from memexp.training import machine

LENGTHS = tuple(range(41, 501, 24))  # 20 of those from 41 to 500; odd ones, as expressions are
ROWS = 250  # of each length
LONGEST = 500
NORMAL = 1.96  # standard deviations of a normal distribution on either side: 95 %


def beyond(run: TrainedRun) -> np.ndarray:
    """Score a run at lengths that it was not trained on.

    Returns:
        The mean accuracy over `LENGTHS`, on `ROWS` fixed random rows of each, [S].
    """
    with machine.prepared():
        task = run.task()
        rows = {length: task.at_length(length, length * ROWS) for length in LENGTHS}
        scores = scores_at(
            runner_of(run, task), {length: own for length, own in rows.items() if own is not None}, "accuracy"
        )
    found: np.ndarray = np.mean(list(scores.values()), axis=0)
    return found


def of_ones(run: TrainedRun) -> np.ndarray:
    """Score a run of parity on 1, 11, 111, ...: the sequences by which theorem 1 of Grazzi et al. (2024) is proved.

    Returns:
        The share of right answers after each of the steps from the first of `LENGTHS` to `LONGEST`, [S]. These are as
        many odd numbers of ones as even ones: who has come to say the same for ever has 1/2.
    """
    steps = np.arange(1, LONGEST + 1)
    right: np.ndarray = run.predict("1" * LONGEST)[:, 0] == steps % 2
    found: np.ndarray = right[:, steps >= LENGTHS[0]].mean(1)
    return found


@cache
def percent(scored: Callable[[TrainedRun], np.ndarray], folder: Path) -> dict[int, float]:
    """Score the run in a folder: seed -> percent. It is kept, for several claims are about one run.

    The weights are those after the last update, as with Deletang et al.: nothing is chosen. Those that are the best on
    dev are the first to get its short rows all right, and are often not yet sure of longer ones.
    """
    run = trained.load(folder, "last")
    return {seed: 100 * score for seed, score in zip(run.seeds, scored(run).tolist(), strict=True)}


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean over seeds; its interval says what other seeds would give, and other rows."""
    found = over_seeds(values, most=100.0)
    low = interval(values, bounds=(-math.inf, math.inf))[1]
    rows = NORMAL * math.sqrt(found.mean * (100 - found.mean) / (ROWS * len(LENGTHS)))  # all seeds have the same ones
    half = math.hypot(found.mean - low, rows)
    low, high = np.clip([found.mean - half, found.mean + half], 0.0, 100.0).tolist()
    return found._replace(low=low, high=high)


def best(values: Sequence[float]) -> Estimate:
    """Return the best seed's."""
    found = over_seeds(values, most=100.0)
    return exactly(max([value for value in values if math.isfinite(value)], default=math.nan))._replace(n=found.n)


@dataclass(frozen=True)
class Beyond:
    """Measures a claim about lengths that were not trained on.

    Attributes:
        runs: what their settings are, by dotted name.
        of: makes a number of the seeds' percentages.
        scored: scores a run, see `percent`.
    """

    runs: Mapping[str, Any]
    of: Callable[[Sequence[float]], Estimate]
    scored: Callable[[TrainedRun], np.ndarray] = beyond

    def __call__(self, measured: Measured) -> Estimate:
        """Measure."""
        rows = measured.picked(self.runs)
        each = zip(rows["run"], rows["seed"], strict=True)
        return self.of([percent(self.scored, measured.study / run)[seed] for run, seed in each])


@dataclass(frozen=True)
class Ordering:
    """Measures by how many points one kind of run is better than another, seed by seed.

    Attributes:
        better: settings of what should be better, by dotted name.
        worse: of the other.
        score: which one, as records have it; a share.
    """

    better: Mapping[str, Any]
    worse: Mapping[str, Any]
    score: str

    def __call__(self, measured: Measured) -> Estimate:
        """Measure."""
        one, other = (
            100 * measured.picked(runs).set_index("seed")[self.score].astype(float).dropna()
            for runs in (self.better, self.worse)
        )
        seeds = one.index.intersection(other.index)
        apart = difference(one[seeds].tolist(), other[seeds].tolist(), paired=True)
        return Estimate(apart.mean, apart.low, apart.high, len(seeds))


def runs(automaton: str, model: str, **settings: Any) -> dict[str, Any]:
    """Name runs of state tracking, asked at the end."""
    length = 39 if automaton == "modular_arithmetic" else 40  # expressions have odd lengths
    own = {"task.name": "state_tracking", "task.automaton": automaton, "task.asked": "end", "model.name": model}
    return {**own, "length": length, **settings}


def of_deletang(automaton: str, model: str, title: str) -> tuple[Claim, Claim]:
    """Deletang et al. report the best of ten seeds and three learning rates, and that all seeds solve these perfectly.

    They say solved from 90 % on.
    """
    own = runs(automaton, model)
    what = f"{automaton.replace('_', ' ')}, {title}: % right at lengths 41 to 500"
    return (
        Claim("Deletang et al. 2023, appendix B.1", f"{what}, best seed", exactly(100), Beyond(own, best)),
        Claim("Deletang et al. 2023, appendix B.1", f"{what}, all seeds", over(90), Beyond(own, mean)),
    )


def of_grazzi(title: str, model: str, lowest: float | None) -> tuple[Claim, Claim]:
    """Grazzi et al. prove that eigenvalues of 0 or more cannot tell the parity of long sequences, first of all of ones.

    In their table the best of three Mambas has a scaled accuracy of 0.000 with eigenvalues in [0, 1], and of 1.000 with
    those in [-1, 1]; guessing has 0. That is on random sequences, of lengths 40 to 256.

    Args:
        title: of the model.
        model: its name.
        lowest: of the eigenvalues that it may have, as it is set; None for one whose eigenvalues are never negative.
    """
    own = runs("parity", model, **({} if lowest is None else {"model.lowest": lowest}))
    tells = lowest == -1
    theirs, whose = (exactly(100), "best seed") if tells else (exactly(50), "all seeds")
    of_all, of_sample = (best, best) if tells else (partial(over_seeds, most=100.0), mean)
    what = f"parity, {title}: % right at"
    return (
        Claim("Grazzi et al. 2024, theorem 1", f"{what} 41 to 500 ones, {whose}", theirs, Beyond(own, of_all, of_ones)),
        Claim("Grazzi et al. 2024, table 3", f"{what} lengths 41 to 500, {whose}", theirs, Beyond(own, of_sample)),
    )


COPY = {"task.name": "copy_memory", "model.name": "lstm", "length": 100}

CLAIMS: tuple[Claim, ...] = (
    *(
        claim
        for automaton in ("even_pairs", "modular_arithmetic", "parity", "cycle_navigation")
        for model, title in (("srn", "RNN"), ("lstm", "LSTM"))
        for claim in of_deletang(automaton, model, title)
    ),
    *of_grazzi("minGRU", "mingru", None),
    *of_grazzi("minLSTM", "minlstm", None),
    *of_grazzi("diagonal in [0, 1]", "diagonal", 0.0),
    *of_grazzi("diagonal in [-1, 1]", "diagonal", -1.0),
    Claim(
        "Tallec and Ollivier 2018, section 3", "copy memory: points by which chrono is better than a forget bias of 1",
        over(0),
        Ordering(
            {**COPY, "model.initialiser": "chrono"}, {**COPY, "model.initialiser": "xavier", "model.forget_bias": 1.0},
            "exact_accuracy",
        ),
    ),
)  # fmt: skip
