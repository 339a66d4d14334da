import math

import numpy as np
import pandas as pd
import pytest

from memexp.results import tables

SETTINGS = ["length", "model.name", "lr"]
SHOWN = {"dev_accuracy": True, "test_accuracy": True, "exact_accuracy": True}


def row(length: int, seed: int, exact: float, **more: object) -> dict[str, object]:
    scores = {"dev_accuracy": exact + 0.1, "test_accuracy": exact - 0.1, "exact_accuracy": exact}
    about = {"run": f"{length}", "model.name": "srn", "diverged_at": np.nan, "seconds": 3.0, "lr": 0.1}
    return {**about, "length": length, "seed": seed, **scores, **more}


def test_interval_by_hand():
    # mean 0.5, standard deviation 0.1, n = 3: 0.5 +- 4.302653 * 0.1 / sqrt(3)
    mean, low, high = tables.interval([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5)
    assert high - mean == pytest.approx(mean - low) == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def test_interval_stays_within_what_a_score_can_be():
    assert tables.interval([0.9, 1.0])[2] == 1.0
    assert tables.interval([0.0, 0.1])[1] == 0.0


def test_one_seed_has_no_interval_and_none_no_mean():
    assert tables.interval([0.3])[0] == 0.3
    assert all(math.isnan(v) for v in tables.interval([0.3])[1:])
    assert all(math.isnan(v) for v in tables.interval([]))


def test_the_interval_covers_as_often_as_it_says():
    """95 of 100 intervals hold the truth: 2,000 simulated studies of ten seeds."""
    draws = np.random.default_rng(0).normal(0.5, 0.1, (2000, 10))
    held = [low <= 0.5 <= high for _, low, high in map(tables.interval, draws)]
    assert abs(np.mean(held) - 0.95) < 0.015


def test_results_summarise_over_seeds_and_leave_out_those_that_stopped():
    rows = [row(10, 0, 0.4), row(10, 1, 0.6), row(5, 0, 0.7), row(5, 1, math.nan, diverged_at=12)]
    table = tables.results(pd.DataFrame(rows), SETTINGS, SHOWN)
    assert table["length"].tolist() == [5, 10]
    assert table["seeds"].tolist() == [1, 2]
    assert table["stopped"].tolist() == [1, 0]
    assert table["exact"].tolist() == pytest.approx([0.7, 0.5])
    assert table["seconds"].tolist() == [3.0, 3.0]


def test_the_same_seed_of_the_same_setting_counts_once():
    rows = [row(10, 0, 0.4), row(10, 1, 0.6), row(10, 0, 0.4, run="again")]
    assert tables.results(pd.DataFrame(rows), SETTINGS, SHOWN)["seeds"].tolist() == [2]


def test_settings_that_differ_are_columns():
    rows = [row(10, 0, 0.4), row(10, 0, 0.6, lr=0.2)]
    assert tables.varied(pd.DataFrame(rows), SETTINGS) == ["model.name", "length", "lr"]
    table = tables.results(pd.DataFrame(rows), SETTINGS, SHOWN)
    assert table["lr"].tolist() == [0.1, 0.2]
    assert table["exact"].tolist() == [0.4, 0.6]


def test_shown_in_percent():
    rows = pd.DataFrame([row(10, 0, 0.4), row(10, 1, 0.6), row(10, 2, 0.5)])
    text = tables.shown_text(tables.results(rows, SETTINGS, SHOWN), SHOWN)
    header, line = text.splitlines()
    assert header.split() == ["model", "length", "seeds", "dev", "%", "test", "%", "exact", "%", "time"]
    assert "50.0 [25.2, 74.8]" in line


def test_perplexities_and_bits_are_no_shares():
    """2, 4 and 6: 4 +- 4.302653 * 2 / sqrt(3); nothing is cut off at 1."""
    about = {"model.name": "gru", "length": 10, "run": "x", "diverged_at": None, "seconds": 1.0, "symbols": 27}
    rows = [
        {**about, "seed": k, "train_characters": 900, "floor_gzip_bits": 3.0, "test_perplexity": p, "test_bits": p / 2}
        for k, p in enumerate((2.0, 4.0, 6.0))
    ]
    shown = {"test_perplexity": False, "test_bits": False}
    table = tables.results(pd.DataFrame(rows), ["model.name", "length"], shown)
    header, line = tables.shown_text(table, shown).splitlines()
    assert header.split() == ["model", "length", "seeds", "test", "perplexity", "test", "bits", "time"]
    assert "4.00 [0.00, 8.97]" in line
    assert "2.00 [0.00, 4.48]" in line


def test_a_list_of_widths_is_a_setting_like_any_other():
    rows = pd.DataFrame(
        {"model.name": "srn", "length": 5, "model.hidden_size": [(3, 5), 4], "seed": 0, "run": ["x", "y"],
         "diverged_at": None, "dev_accuracy": 0.1, "test_accuracy": 0.2, "exact_accuracy": [0.3, 0.4], "seconds": 1.0}
    )  # fmt: skip
    table = tables.results(rows, ["model.name", "length", "model.hidden_size"], SHOWN)
    assert table[["model.hidden_size", "exact"]].to_numpy().tolist() == [[4, 0.4], ["[3,5]", 0.3]]


def test_only_settings_are_columns_and_only_what_is_shown_is_summarised():
    """What the record says of the task beside may differ between runs and is no setting."""
    rows = pd.DataFrame([row(10, 0, 0.4, chance=0.1, test_error=3.0), row(20, 0, 0.6, chance=0.2, test_error=5.0)])
    shown = {"test_error": False}
    assert tables.varied(rows, SETTINGS) == ["model.name", "length"]
    table = tables.results(rows, SETTINGS, shown)
    assert list(table) == [
        "model.name", "length", "seeds", "stopped", "test error", "test error_low", "test error_high", "seconds",
    ]  # fmt: skip
    assert table["test error"].tolist() == [3, 5]


def test_in_markdown_a_setting_that_a_run_does_not_have_is_empty():
    rows = pd.DataFrame([row(10, 0, 0.4, delay=3), row(10, 1, 0.6, delay=3), row(10, 0, 0.1, delay=4), row(20, 0, 0.5)])
    shown = {"exact_accuracy": True}
    lines = tables.markdown(tables.results(rows, [*SETTINGS, "delay"], shown), shown).splitlines()
    assert lines == [
        "| model | length | delay | seeds | exact % | time |",
        "| --- | --- | --- | --- | --- | --- |",
        "| srn | 10 | 3.0 | 2 | 50.0 [0.0, 100.0] | 3 s |",
        "| srn | 10 | 4.0 | 1 | 10.0 | 3 s |",
        "| srn | 20 |  | 1 | 50.0 | 3 s |",
    ]


@pytest.mark.parametrize(
    ("mean", "share", "text"),
    [
        (0.0004, False, "4.0e-04"),
        (0.0321, False, "0.0321"),
        (3.14159, False, "3.14"),
        (0.0004, True, "0.0"),
        (0.0, False, "0.0000"),
    ],
)
def test_a_score_has_as_many_digits_as_it_needs(mean: float, share: bool, text: str):
    shown = {"test_error": share}
    table = tables.results(pd.DataFrame([row(10, 0, 0.5, test_error=mean)]), SETTINGS, shown)
    assert tables.markdown(table, shown).splitlines()[-1] == f"| srn | 10 | 1 | {text} | 3 s |"


def test_a_table_says_how_it_is_read():
    rows = pd.DataFrame([row(10, 0, 0.4, exact_over="all 7 inputs"), row(20, 0, 0.6, exact_over="all 9 inputs")])
    text = tables.explained(rows, tables.results(rows, SETTINGS, SHOWN), SHOWN)
    assert "*exact* weighs every input" in text
    assert "all 7 inputs at length 10, all 9 inputs at length 20." in text
    assert "trained from: 1." in text
    assert "95 % confidence interval" in text
    assert "*stopped*" not in text
    assert "*train*" not in text
    stopped = pd.DataFrame([row(10, 0, 0.4), row(10, 1, math.nan, diverged_at=3)])
    shown = {"last_train_perplexity": False}
    table = tables.results(stopped.assign(last_train_perplexity=2.0), SETTINGS, shown)
    text = tables.explained(stopped, table, shown)
    assert "*stopped* counts" in text
    assert "*train*" in text
    assert "*last*" in text
    assert "*exact*" not in text
    assert "percent" not in text
