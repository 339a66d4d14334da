import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import task_of
from memory.networks import adder, copier, latch, subject

from memexp.memory import length_matrix
from memexp.memory.length_matrix import LENGTHS, LengthMatrix, reach
from memexp.memory.measure import Subject

MEASURE = LengthMatrix()


@pytest.mark.parametrize(
    ("scores", "criterion", "expected"),
    [
        ((0.1, 0.95, 0.45, 0.4), 0.9, 11),  # a tenth of the way from 10 to 20
        ((0.1, 0.95, 0.92, 0.86), 0.9, 20 + 40 * 2 / 6),
        ((0.1, 0.9, 0.9, 0.9), 0.9, 60),  # never falls
        ((1.0, 0.89, 1.0, 1.0), 0.9, math.nan),  # not even at its own length
        ((0.0, 0.5, 0.4, 0.0), 0.45, 15),
    ],
)
def test_reach_is_where_the_score_falls_beyond_the_trained_length(
    scores: tuple[float, ...], criterion: float, expected: float
):
    assert reach(10, [5, 10, 20, 60], scores, criterion) == pytest.approx(expected, nan_ok=True)


def test_a_latch_is_right_at_every_length_and_what_forgets_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(length_matrix, "TOKENS", 5000)
    table = MEASURE.measure(subject(latch((1.0, 0.5)), tmp_path, "length=6")).assign(run="a")
    lengths = sorted({*LENGTHS, 6, 7, 8, 11, 16})  # and where a network falls off
    latched, forgets = (own for _, own in table.groupby("seed"))
    assert latched["test_length"].tolist() == forgets["test_length"].tolist() == lengths
    assert (latched["accuracy"] == 1).all()
    assert (forgets.loc[forgets["test_length"] > 30, "accuracy"] < 0.05).all()  # it answers 0, but for distractors
    source = latched.set_index("test_length")["source"]
    assert source[3] == "all 1000 inputs"
    assert source[6] == "all 3700 inputs"  # its own length: all, though they are more than 5,000 tokens
    assert source[200] == "25 sampled rows"
    scores = MEASURE.summed_up(table).set_index("seed")
    assert scores.loc[0, [*MEASURE.scores]].tolist() == pytest.approx([1, 200 / 6, 200 / 6])
    assert scores.loc[1, "own_length_accuracy"] == forgets.set_index("test_length").loc[6, "accuracy"] < 0.2
    assert scores.loc[1, ["extrapolation_ratio", "relative_extrapolation_ratio"]].isna().all()  # it guesses


def table_of(**accuracies: list[float]) -> pd.DataFrame:
    """Tables of runs at lengths 10 and 20, tested at 5, 10, 20 and 40; a seed for each name."""
    return pd.DataFrame(
        [
            {"run": f"length={own}", "seed": seed, "test_length": length, "accuracy": accuracy, "trained_at": own,
             "guessing": 0.1, "source": "", "label": "LSTM", "line": "LSTM", "length": own, "model.name": "lstm"}
            for own in (10, 20)
            for seed, values in enumerate(accuracies.values())
            for length, accuracy in zip((5, 10, 20, 40), values, strict=True)
        ]
    )  # fmt: skip


def test_the_relative_ratio_is_of_all_that_do_not_guess():
    table = table_of(good=[0.3, 1.0, 0.8, 0.8], half=[0.0, 0.5, 0.4, 0.6], guesses=[0.1, 0.19, 0.1, 0.1])
    scores = MEASURE.summed_up(table[table["length"] == 10]).set_index("seed")
    np.testing.assert_allclose(scores["own_length_accuracy"], [1, 0.5, 0.19])
    np.testing.assert_allclose(scores["extrapolation_ratio"], [1.5, np.nan, np.nan])
    np.testing.assert_allclose(scores["relative_extrapolation_ratio"], [1.5, 1.5, np.nan])


def test_the_trained_length_is_framed_and_lengths_are_named_once(chinese: None):
    table = table_of(one=[0.3, 1.0, 0.8, 0.8], other=[0.0, 0.5, 0.4, 0.6])
    srn = table.assign(line="SRN", label="SRN")
    just_beyond = table[table["test_length"] == 10].assign(test_length=11)  # measured, but not shown
    (figure,) = MEASURE.draw(pd.concat([table, just_beyond, srn]), None).values()  # type: ignore[arg-type]
    upper, lower = figure.axes
    for ax in (upper, lower):
        assert [frame.get_xy() for frame in ax.patches] == [(1, 0), (2, 1)]  # 10 and 20 among 5, 10, 20, 40
        assert [text.get_text() for text in ax.texts[:2]] == ["15 ± 191", "75 ± 318"]
    assert [ax.get_xlabel() for ax in (upper, lower)] == ["", "测试的长度"]


def test_networks_set_by_hand_copy_and_add_at_every_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of numbers it counts how often they are near the sum, not how large the error is."""
    monkeypatch.setattr(length_matrix, "TOKENS", 2000)
    copies = subject(copier((True, False)), tmp_path, "length=7", "task.items=1", "task.symbols=2", task="copy_memory")
    adds = subject(adder(), tmp_path, "length=7", task="adding")
    assert (copies.share, copies.guessing) == ("accuracy", 0.5)
    assert (adds.share, adds.guessing) == ("within_0.04", pytest.approx(0.0784))
    for subjected, right in ((copies, [1, 0.5]), (adds, [1])):
        assert MEASURE.why_not(subjected) is None
        table = MEASURE.measure(subjected).assign(run="a")
        assert sorted(table["test_length"].unique()) == sorted({*LENGTHS, 7, 8, 9, 12, 17})
        assert [own.unique().tolist() for _, own in table.groupby("seed")["accuracy"]] == [[own] for own in right]
        assert MEASURE.summed_up(table)["extrapolation_ratio"].iloc[0] == pytest.approx(200 / 7)


def test_a_task_is_measured_if_any_of_the_lengths_is_one_of_its_own_and_may_name_longer_ones(tmp_path: Path):
    digits = subject(latch(), tmp_path, "length=4")

    def of_task(name: str, *overrides: str) -> Subject:
        return Subject(digits.run, task_of(name, tmp_path, *overrides))

    assert MEASURE.why_not(digits) is None
    assert MEASURE.why_not(of_task("temporal_order")) is None  # it has no rows of length 3
    odd = of_task("state_tracking", "task.automaton=modular_arithmetic", "length=9")  # nor this one any of even length
    assert MEASURE.why_not(odd) is None
    assert length_matrix._tested(odd.task) == [3, 5, 10, 11, 14, 15, 19, *LENGTHS[4:], 300, 500]
    assert MEASURE.why_not(of_task("latch")) == "its task has no rows of other lengths"
