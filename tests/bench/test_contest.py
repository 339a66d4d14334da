import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers import KINDS
from hydra.utils import get_class
from omegaconf import OmegaConf

from memexp import CONF_DIR
from memexp.bench import contest, digit_sum, parity
from memexp.bench.contest import MODELS, Contestant
from memexp.models.cells import GRU

SRN = KINDS["SRN"]


def test_every_cell_of_the_study_of_cells_is_in_the_bench():
    grids = OmegaConf.load(CONF_DIR / "experiment/cells.yaml").hydra.sweeper.grids
    names = {name for grid in grids for name in grid.model.split(",")}
    classes = {get_class(OmegaConf.load(CONF_DIR / f"model/{name}.yaml")._target_) for name in names}
    assert {type(make_cell(1, 1, 1)) for make_cell in MODELS.values()} == classes


def test_the_gru_that_is_compared_with_torch_resets_after_the_product():
    cells = {name: MODELS[name](1, 1, 1) for name in ("gru", "gru_reset_before")}
    assert {name: isinstance(cell, GRU) and cell.reset_after for name, cell in cells.items()} == {
        "gru": True,
        "gru_reset_before": False,
    }


@pytest.mark.parametrize("engine", contest.ENGINES)
def test_memexp_counts_only_the_updates_between_the_first_and_the_last(monkeypatch: pytest.MonkeyPatch, engine: str):
    ticks = iter(range(1000))
    monkeypatch.setattr(contest, "clock", lambda: float(next(ticks)))
    contestant = digit_sum.memexp_contestant(engine, SRN, 5, 2, hidden_size=4)
    assert (contestant.name, contestant.seeds) == (engine, 2)
    assert [contestant.seconds(3), contestant.seconds(7)] == [3.0, 7.0]


def test_the_median_over_rounds_per_update_and_seed():
    times = iter([9.0, 9.0, 0.2, 4.0, 0.1, 6.0, 50.0, 5.0])  # warm-up, then three rounds of the two in turn
    contestants = [contestant(name, seeds, None, lambda _: next(times)) for name, seeds in (("a", 1), ("b", 5))]
    assert contest.measure(contestants, rounds=3, updates=10) == pytest.approx([20.0, 100.0])


def contestant(
    name: str, seeds: int, complaint: str | None, seconds: Callable[[int], float] = lambda _: 1.0
) -> Contestant:
    near = parity.Difference(1e-15, 2e-15, "head_bias")
    return Contestant(name, seeds, seconds, lambda: parity.Parity("torch's layer", near, near, complaint))


def test_only_those_who_compute_the_same_are_admitted():
    entered = [contestant("a", 1, None), contestant("b", 1, "outputs differ"), contestant("c", 3, "gradients differ")]
    admitted, refused = contest.admitted(entered, "srn, length 5")
    assert [(own.name, found.double.outputs) for own, found in admitted] == [("a", 1e-15)]
    assert refused == [
        "srn, length 5: no speed of b, 1 seed: outputs differ",
        "srn, length 5: no speed of c, 3 seeds: gradients differ",
    ]


def test_without_numba_there_is_one_engine(monkeypatch: pytest.MonkeyPatch):
    assert contest.engines() == [contest.TORCH, contest.COMPILED]
    monkeypatch.setattr(contest.cache, "why_not", lambda: "numba cannot be used")
    assert contest.engines() == [contest.TORCH]
    assert digit_sum.peaks().functions > 1e7


def row(model: str, differences: Sequence[float], **more: object) -> contest.Record:
    columns = [f"{what}_difference{kind}" for kind in ("", "_float32") for what in ("output", "gradient")]
    return {"model": model, **dict(zip(columns, differences, strict=True)), **more}


def test_the_largest_differences_of_each_model_and_length():
    rows = [
        row("srn", [1e-15, 3e-16, 1e-7, 3e-6], length=5),
        row("srn", [2e-16, 4e-14, 2e-7, 2e-6], length=5),
        row("srn", [5e-16, 6e-16, 3e-7, 4e-7], length=9),
    ]
    assert contest.parity_lines(rows).splitlines() == [
        "largest difference from torch's layer or, if there is none, from the stepped cell (share of the size):",
        "srn, length 5: outputs 1.0e-15, gradients 4.0e-14; float32 2.0e-07, 3.0e-06",
        "srn, length 9: outputs 5.0e-16, gradients 6.0e-16; float32 3.0e-07, 4.0e-07",
    ]
    assert contest.parity_lines([row("gru", [1e-15, 0.0, 1e-8, 0.0])]).splitlines()[1:] == [
        "gru: outputs 1.0e-15, gradients 0.0e+00; float32 1.0e-08, 0.0e+00"
    ]


def test_words_in_columns():
    assert contest.aligned([["one", "2"], ["a", "1000"]], "<>") == "one     2\na    1000"


def test_a_table_has_nothing_where_a_column_does_not_apply(tmp_path: Path):
    rows = [{"model": name, "times_faster_than_loop": faster} for name, faster in (("srn", 0.5), ("mingru", None))]
    contest.write_csv(tmp_path / "bench.csv", rows)
    with open(tmp_path / "bench.csv", newline="") as file:
        assert [[*each.values()] for each in csv.DictReader(file)] == [
            ["srn", "0.5"],
            ["mingru", ""],
        ]
