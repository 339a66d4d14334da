"""Claims: what others published, beside what is measured here."""

import math
from pathlib import Path

import pandas as pd
import pytest
from helpers import make_run, seed_row

from memexp.errors import RecordError
from memexp.published.claims import (
    Claim,
    Estimate,
    FromRecords,
    Measured,
    agreement,
    as_text,
    counted,
    exactly,
    over,
    over_seeds,
    table,
    trials,
    under,
)


def measured(study: Path) -> Measured:
    return Measured(searches=3, trials=7, study=study)


def of(rows: pd.DataFrame) -> Estimate:
    return over_seeds(rows["exact_accuracy"].tolist(), most=1)


def test_their_numbers_have_the_interval_that_follows_from_what_they_say():
    assert exactly(22)[:3] == (22, 22, 22)
    assert str(exactly(22)) == "22.0"
    assert trials(6, 40)[:3] == pytest.approx((6, 4.62, 8.21), abs=0.01)
    assert (str(over(0)), str(under(0.5))) == ("over 0", "under 0.50")


def test_an_estimate_over_seeds_counts_those_that_have_a_value():
    assert over_seeds([2.0, 4.0, math.nan]) == pytest.approx((3, 0, 3 + 12.706, 2), abs=0.001)
    assert over_seeds([0.9, 1.0], most=1).high == 1


def test_ours_agrees_where_the_intervals_have_a_number_in_common(tmp_path: Path):
    claims = [
        Claim("a", "b", theirs, lambda measured: Estimate(2.0, 1.0, 3.0, measured.searches))
        for theirs in (exactly(3), exactly(3.5), over(2.9), over(3.1), under(1.5))
    ]
    found = table(claims, measured(tmp_path))
    assert found["agrees"].tolist() == ["yes", "no", "open", "no", "open"]
    assert set(found["n"]) == {3}
    assert "over 2.90" in as_text(found)


def test_a_bound_is_confirmed_by_an_interval_that_is_all_beyond_it():
    ours = Estimate(2.0, 1.0, 3.0)
    assert [agreement(theirs, ours) for theirs in (over(0.9), over(1), under(3), under(3.1))] == [
        "yes", "open", "open", "yes"
    ]  # fmt: skip


def test_a_count_has_the_interval_of_its_share():
    assert counted(0, 10)[:3] == pytest.approx((0, 0, 3.085), abs=0.001)  # 10 (1 - 0.025^(1/10))
    assert counted(10, 10)[:3] == pytest.approx((10, 6.915, 10), abs=0.001)


def test_what_has_no_upper_end_yet_can_be_refuted_but_not_confirmed():
    unfinished = Estimate(20.0, 10.0, math.inf)
    assert [agreement(exactly(number), unfinished) for number in (9, 11, 1000)] == ["no", "open", "open"]


def test_one_seed_has_no_interval_and_agrees_with_nothing():
    one = over_seeds([2199.0])
    assert [agreement(theirs, one) for theirs in (exactly(1), exactly(2199), over(90), under(3000))] == ["open"] * 4
    assert str(one) == "2,199"
    unfinished = Estimate(1000.0, math.nan, math.inf, 1)  # see `memexp.results.tables.interval_until`
    assert (agreement(exactly(10), unfinished), str(unfinished)) == ("open", "over 1,000")


def test_a_damaged_record_costs_its_own_row_alone(tmp_path: Path):
    def damaged(_: Measured) -> Estimate:
        raise RecordError("history.csv is damaged")

    found = table([Claim("a", "b", exactly(1), damaged), Claim("a", "c", exactly(1), lambda _: exactly(1))],
                  measured(tmp_path))  # fmt: skip
    assert found[["agrees", "missing"]].to_numpy().tolist() == [["", "history.csv is damaged"], ["yes", ""]]


def test_runs_that_differ_in_another_setting_are_not_averaged(tmp_path: Path):
    for length in (10, 20):
        make_run(tmp_path, length=length, seeds=[seed_row(0, 0.5)])
    claim = Claim("a", "b", exactly(0.5), FromRecords({"task.name": "digit_sum"}, of))
    (row,) = table([claim], measured(tmp_path)).to_dict("records")
    assert (row["agrees"], row["n"]) == ("", 0)
    assert row["missing"].startswith(f"runs in {tmp_path} that differ in length are not averaged; ")


def test_a_claim_is_measured_from_the_runs_that_have_its_settings(tmp_path: Path):
    for length, exact in ((10, 0.25), (20, 0.5)):
        make_run(tmp_path, length=length, seeds=[seed_row(0, exact), seed_row(1, exact)])
    claims = [
        Claim("a", str(length), exactly(0.5), FromRecords({"length": length, "task.name": "digit_sum"}, of))
        for length in (10, 20, 30)
    ]
    found = table(claims, measured(tmp_path))
    assert found["ours"].tolist()[:2] == [0.25, 0.5]
    assert found["agrees"].tolist() == ["no", "yes", ""]
    missing = f"not trained yet, in {tmp_path}; python -m memexp experiment=published does"
    assert found["missing"].tolist() == ["", "", missing]
    assert as_text(found).endswith(f"\n-: {missing}")
    nothing = table(claims, measured(tmp_path / "no study"))
    assert set(nothing["agrees"]) == {""}
