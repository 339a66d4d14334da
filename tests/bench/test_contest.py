import csv
from pathlib import Path

import pytest
from helpers import KINDS

from memexp.bench import contest, digit_sum
from memexp.bench.contest import MODELS, Contestant
from memexp.models.cells import GRU, Cell

SRN = KINDS["SRN"]


def test_every_cell_of_memexp_is_in_the_bench():
    def leaves(kind: type[Cell]) -> set[type[Cell]]:
        own = {kind} if kind is not Cell else set()
        return own.union(*(leaves(child) for child in kind.__subclasses__() if child.__module__ == Cell.__module__))

    assert {type(make_cell(1, 1, 1)) for make_cell in MODELS.values()} == leaves(Cell)


def test_the_gru_that_is_compared_with_torch_resets_after_the_product():
    cells = {name: MODELS[name](1, 1, 1) for name in ("gru", "gru_reset_before")}
    assert {name: isinstance(cell, GRU) and cell.reset_after for name, cell in cells.items()} == {
        "gru": True,
        "gru_reset_before": False,
    }


def test_memexp_counts_only_the_updates_between_the_first_and_the_last(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(contest, "clock", lambda: float(next(ticks)))
    contestant = digit_sum.memexp_contestant(SRN, 5, 2, hidden_size=4)
    assert (contestant.name, contestant.seeds) == ("memexp", 2)
    assert [contestant.seconds(3), contestant.seconds(7)] == [3.0, 7.0]


def test_the_median_over_rounds_per_update_and_seed():
    times = iter([9.0, 9.0, 0.2, 4.0, 0.1, 6.0, 50.0, 5.0])  # warm-up, then three rounds of the two in turn
    contestants = [Contestant(name, seeds, lambda _: next(times)) for name, seeds in (("a", 1), ("b", 5))]
    assert contest.measure(contestants, rounds=3, updates=10) == pytest.approx([20.0, 100.0])


def row(model: str, contestant: str, output: float | None, gradient: float | None, **more: object) -> contest.Record:
    own = {"model": model, "contestant": contestant, "output_difference": output, "gradient_difference": gradient}
    return {**own, **more}


def test_the_largest_differences_of_each_model_and_length():
    rows = [
        row("srn", "torch's layer", None, None, length=5),
        row("srn", "memexp", 1e-15, 3e-16, length=5),
        row("srn", "memexp", 2e-16, 4e-14, length=5),
        row("srn", "memexp", 5e-16, 6e-16, length=9),
        row("mingru", "memexp", None, None, length=5),
        row("mingru", "memexp", None, None, length=9),
    ]
    assert contest.parity_lines(rows).splitlines() == [
        "largest difference of memexp from torch's layer (float64, every seed):",
        "srn, length 5: outputs 1.0e-15, gradients 4.0e-14",
        "srn, length 9: outputs 5.0e-16, gradients 6.0e-16",
        "torch has no layer for mingru",
    ]
    assert contest.parity_lines(rows[4:]) == "torch has no layer for mingru"
    assert contest.parity_lines([row("gru", "memexp", 1e-15, 0.0)]).splitlines()[1:] == [
        "gru: outputs 1.0e-15, gradients 0.0e+00"
    ]


def test_words_in_columns():
    assert contest.aligned([["one", "2"], ["a", "1000"]], "<>") == "one     2\na    1000"


def test_a_table_has_nothing_where_a_column_does_not_apply(tmp_path: Path):
    contest.write_csv(tmp_path / "bench.csv", [row("srn", "memexp", 1e-15, 0.5), row("mingru", "memexp", None, None)])
    with open(tmp_path / "bench.csv", newline="") as file:
        assert [[*each.values()] for each in csv.DictReader(file)] == [
            ["srn", "memexp", "1e-15", "0.5"],
            ["mingru", "memexp", "", ""],
        ]
