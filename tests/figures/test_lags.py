"""Figures of what falls or grows with the number of steps."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers import axes

from memexp.figures import lags
from memexp.figures.looks import looks_of


def norms(label: str, model: str, *by_seed: list[float]) -> pd.DataFrame:
    rows = [(label, model, lag, norm) for own in by_seed for lag, norm in enumerate(own)]
    return pd.DataFrame(rows, columns=["label", "model.name", "lag", "norm"])


def test_norms_are_drawn_by_their_geometric_mean_with_a_band_and_zeros_left_out():
    rows = pd.concat([norms("A", "srn", [1, 0.1, 0], [1, 0.001, 0]), norms("B", "lstm", [2, 4, 8])])
    ax = lags.norm_against_lag(rows, axes(), looks_of(rows))
    first, second = ax.lines
    np.testing.assert_allclose(first.get_xydata(), [[0, 1], [1, 0.01]])
    np.testing.assert_allclose(second.get_ydata(), [2, 4, 8])
    assert [first.get_label(), second.get_label()] == ["A", "B"]
    band = ax.collections[0].get_paths()[0].vertices
    half = 12.706 * math.sqrt(2) / math.sqrt(2)  # Student's t of two seeds, whose logarithms are 1 from their mean
    assert band[:, 1].min() == pytest.approx(10 ** (-2 - half), rel=0.01)
    assert ax.get_yscale() == "log"


def test_three_lengths_at_most_are_drawn():
    assert lags.some_lengths(pd.DataFrame({"length": [30, 10, 20, 10]})) == [10, 20, 30]
    assert lags.some_lengths(pd.DataFrame({"length": [5, 5]})) == [5]
    assert lags.some_lengths(pd.DataFrame({"length": [10, 15, 20, 25, 30, 35]})) == [10, 20, 35]


def test_a_half_life_of_0_and_one_that_is_very_long_have_a_place():
    ax = lags.steps_axis(axes())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "10", "100", "1000+"]
    low, high = ax.get_ylim()
    assert low == 0
    assert high > lags.LONGEST


def test_points_are_those_that_are_finite_and_go_together_by_rank():
    rows = pd.DataFrame(
        {
            "label": ["A", "A", "B", "B", "B"],
            "model.name": ["srn", "srn", "lstm", "lstm", "lstm"],
            "x": [1.0, 2, 3, -math.inf, 4],
            "y": [1.0, 10, 5, 1, math.nan],
        }
    )
    ax = lags.scattered(rows, "x", "y", axes(), looks_of(rows))
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 1], [2, 10]], [[3, 5]]]
    assert lags.correlated(rows, "x", "y") == "rank correlation 0.50, 3 seeds"
    assert lags.correlated(rows.assign(y=7.0), "x", "y") == "4 seeds"
    assert lags.correlated(rows[:0], "x", "y") == "0 seeds"
