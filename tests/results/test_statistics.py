import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from scipy.stats import t as student

from memexp.results import statistics


def history(scores: dict[int, list[float]]) -> pd.DataFrame:
    rows = [
        (100 * k, seed, "dev", "accuracy", value) for seed, values in scores.items() for k, value in enumerate(values)
    ]
    rows += [(0, 0, "train", "accuracy", 1.0), (0, 0, "dev", "loss", 9.0)]
    return pd.DataFrame(rows, columns=["iteration", "seed", "split", "name", "value"])


def test_the_first_time_counts_and_never_is_said():
    table = statistics.updates_until(history({0: [0.1, 0.95, 0.2], 1: [0.1, 0.94, 0.94]}), 0.95)
    assert table.to_dict("records") == [
        {"seed": 0, "updates": 100, "reached": True},
        {"seed": 1, "updates": 200, "reached": False},
    ]


def test_share_reached_by_hand():
    x, share = statistics.share_reached([100, 300, 500, 500], [True, True, False, False], 500)
    at = {until: share[np.searchsorted(x, until, side="right") - 1] for until in (0, 99, 100, 299, 300, 500)}
    assert at == {0: 0, 99: 0, 100: 0.25, 299: 0.25, 300: 0.5, 500: 0.5}


def test_share_reached_when_none_or_all_get_there():
    assert statistics.share_reached([500, 500], [False, False], 500)[1].max() == 0
    assert statistics.share_reached([0, 500], [True, True], 500)[1].max() == 1


def test_the_bootstrap_difference_is_that_of_the_means():
    one, other = np.array([[1, 1, 0, 1], [1, 0, 0, 1]]), np.array([[0, 1, 0, 0]])
    difference, low, high = statistics.hierarchical_interval(one, other)
    assert difference == pytest.approx(5 / 8 - 1 / 4)
    assert low < difference < high
    assert statistics.hierarchical_interval(one, one.copy())[0] == 0
    assert statistics.hierarchical_interval(np.ones((3, 5)), np.zeros((4, 5))) == pytest.approx((1, 1, 1))


@pytest.mark.slow
def test_the_bootstrap_interval_covers_as_often_as_it_says():
    """Models of known accuracy, seeds of different quality, rows of different difficulty: 300 simulated comparisons."""
    draw = np.random.default_rng(0)
    held = []
    for _ in range(300):
        rows = draw.normal(0, 0.15, 100)
        right = []
        for mean in (0.6, 0.5):
            chance = np.clip(mean + draw.normal(0, 0.1, (10, 1)) + rows, 0, 1)
            right.append(draw.random((10, 100)) < chance)
        _, low, high = statistics.hierarchical_interval(*right, seed=int(draw.integers(1 << 30)))
        held.append(low <= 0.1 <= high)
    assert 0.90 < np.mean(held) <= 1.0  # a percentile interval over ten seeds: 95 % in name


def test_probability_of_improvement_by_hand():
    probability, p = statistics.compare(np.array([0.3, 0.5, 0.9]), np.array([0.4, 0.5]))
    assert probability == pytest.approx((0 + 1.5 + 2) / 6)
    assert p > 0.5
    assert statistics.compare(np.arange(10) + 10.0, np.arange(10.0)) == pytest.approx((1.0, 0.00018), abs=1e-4)


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_agreement_is_the_rank_correlation_over_all_seeds_and_within_runs():
    """Two runs, in which both numbers go together within a run, and against each other between runs."""
    seeds, runs = np.arange(6.0), (("x", 0), ("y", 10))
    of_run = {
        name: {"run": name, "seed": seeds, "a": seeds + up, "b": seeds**3 - 1000 * up, "same": 1.0} for name, up in runs
    }
    rows = pd.concat(map(pd.DataFrame, of_run.values()), ignore_index=True)
    rows.loc[0, "b"] = math.nan
    found = statistics.agreement(rows, ["a", "b", "same"]).set_index(["one", "other"])
    assert found.loc[("a", "b"), ["within", "within_low", "within_high", "runs"]].tolist() == [1, 1, 1, 2]
    assert found.loc[("a", "b"), "overall"] == pytest.approx(spearmanr(rows["a"][1:], rows["b"][1:]).statistic)
    assert found.loc[("a", "b"), "overall"] < 0
    assert np.isnan(found.loc[("a", "same"), "overall"])
    assert found.loc[("b", "same"), "runs"] == 0
    assert found.loc[("b", "same"), ["within", "within_low"]].isna().all()
    few = statistics.agreement(rows[rows["a"] < 4], ["a", "b"])
    assert few["runs"].tolist() == [0]  # four seeds say nothing


def test_the_interval_of_agreement_is_of_seeds_however_often_they_are_seen():
    """Ten runs of the same seeds are no more than one; by hand for one run: leave out each seed."""
    n = 7
    one = pd.DataFrame(
        {"run": "r", "seed": range(n), **dict(zip("ab", np.random.default_rng(5).random((2, n)), strict=True))}
    )
    ten = pd.concat([one.assign(run=f"r{k}") for k in range(10)])
    whole = spearmanr(one["a"], one["b"]).statistic
    left = [spearmanr(*one.drop(index=k)[["a", "b"]].to_numpy().T).statistic for k in range(n)]
    error = math.sqrt((n - 1) / n * sum((x - np.mean(left)) ** 2 for x in left))
    half = student.ppf(0.975, n - 1) * error
    for rows in (one, ten):
        found = statistics.agreement(rows, ["a", "b"]).iloc[0]
        expected = [whole, max(-1, whole - half), min(1, whole + half)]
        assert found[["within", "within_low", "within_high"]].tolist() == pytest.approx(expected)
