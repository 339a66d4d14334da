import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import make_run, seed_row
from matplotlib.figure import Figure

from memexp.canvas import own_style
from memexp.errors import Complaints
from memexp.memory.command import DRAWN, measured
from memexp.memory.measure import Subjects
from memexp.memory.memory_span import LEVEL, MemorySpan, bits_held, fitted, recalled, span_of, spans
from memexp.results.study import Study, load_study

ITEMS = (1, 2, 4, 8, 12, 16)
STEEP = 6.0
NUMBERS = np.array(ITEMS, dtype=float)


@pytest.mark.parametrize(
    ("half", "steepness", "guessing"),
    [(7.0, 4.0, 0.5), (12.0, 9.0, 0.125), (2.5, 1.2, 0.0), (6.0, 3.0, (0.1, 0.1, 0.08, 0.07, 0.06, 0.06))],
)
def test_a_curve_that_is_one_is_found(half: float, steepness: float, guessing: float | tuple[float, ...]):
    g = np.broadcast_to(np.asarray(guessing), NUMBERS.shape)
    right = g + (1 - g) / (1 + (NUMBERS / half) ** steepness)
    np.testing.assert_allclose(recalled(NUMBERS, half, steepness, g), right)
    assert fitted(ITEMS, right.tolist(), g.tolist()) == pytest.approx((half, steepness), rel=1e-4)


def test_the_span_is_where_the_curve_is_at_90_percent():
    assert span_of(8, 2, 0.5) == pytest.approx(4)  # (1 - .9) / (.9 - .5) is a quarter
    assert span_of(9, 1, 0) == pytest.approx(1)
    assert recalled(np.array(span_of(7, 1.5, 0.3)), 7, 1.5, 0.3) == pytest.approx(LEVEL)


def test_a_step_falls_between_the_numbers_where_it_is():
    half, steepness = fitted(ITEMS, [1, 1, 1, 1, 0.5, 0.5], [0.5] * 6)
    assert 8 < span_of(half, steepness, 0.5) < half < 12


@pytest.mark.parametrize(
    ("right", "items", "symbols", "bits"),
    [
        (1.0, 7, 8, 21.0),
        (1.0, 5, 2, 5.0),
        (0.125, 7, 8, 0.0),
        (0.05, 7, 8, 0.0),  # worse than guessing
        (0.7, 1, 4, 2 + 0.7 * math.log2(0.7) + 0.3 * math.log2(0.3) - 0.3 * math.log2(3)),
        (0.9, 10, 2, 10 * (1 + 0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))),
    ],
)
def test_bits_held_are_those_of_fano(right: float, items: int, symbols: int, bits: float):
    assert bits_held(right, items, symbols) == pytest.approx(bits, abs=1e-12)


def test_a_channel_that_errs_evenly_holds_just_as_much_and_places_that_differ_hold_more():
    """The mutual information of item and answer by its definition; of two places, less by their mean than by each."""
    K, p = 5, 0.6
    joint = np.where(np.eye(K) == 1, p, (1 - p) / (K - 1)) / K
    information = (joint * np.log2(joint / (joint.sum(0) * joint.sum(1)[:, None]))).sum()
    assert bits_held(p, 3, K) == pytest.approx(3 * information)
    assert bits_held(1.0, 1, K) + bits_held(0.4, 1, K) > bits_held(0.7, 2, K) > 0


def rows_of(seeds: dict[int, tuple[float | None, ...]], items: tuple[int, ...] = ITEMS) -> pd.DataFrame:
    return pd.DataFrame(
        [("SRN", 10, seed, n, p, 0.5) for seed, shares in seeds.items() for n, p in zip(items, shares, strict=False)],
        columns=["curve", "length", "seed", "items", "recalled", "guessing"],
    ).astype({"recalled": float})


def test_seeds_that_are_never_or_always_there_count_with_the_ends():
    found = spans(
        rows_of(
            {
                0: (1, 1, 0.99, 0.95, 0.93, 0.9),
                1: (0.8, 0.89, 0.7, 0.5, 0.5, 0.5),
                2: (None,) * 6,  # its loss was not finite
                3: (1, 1, 1, 0.9, 0.6, 0.5),
                4: (1, 1, 1, 1),  # it was not trained with the others
            }
        )
    )
    by_seed = found.groupby("seed")[["span", "span_open", "most"]].first()
    assert by_seed["span"].loc[:2].tolist() == [16, 0, 0]
    assert by_seed["span_open"].loc[:3].tolist() == [1, 0, 0, 0]
    assert by_seed.loc[3, "span"] == pytest.approx(8, abs=0.3)
    assert by_seed.loc[4].isna().all()
    assert found.loc[found["seed"] == 2, "recalled"].tolist() == [0.5] * 6
    assert spans(rows_of({0: (1.0, 0.5)}, (2, 4)))["span"].isna().all()


def study_of(folder: Path, halves: dict[str, float], lengths: tuple[int, ...] = (10, 30)) -> Study:
    """Write a study of recall: a cell's curve falls at so many items, and a third sooner with three times the wait."""
    for model, half in halves.items():
        for length in lengths:
            for n in ITEMS:
                p = recalled(np.array(n), half * (1 if length == lengths[0] else 2 / 3), STEEP, 0.5)
                score = "exact_accuracy" if n < 16 else "test_accuracy"  # too many to enumerate
                seeds: list[dict[str, object]] = [
                    {"seed": seed, "best_iteration": 1, "diverged_at": None, "dev_accuracy": 0.1, "test_accuracy": 0.1,
                     score: float(p)}
                    for seed in range(3)
                ]  # fmt: skip
                task = {"_target_": "memexp.tasks.copy_memory.CopyMemory", "name": "copy_memory", "symbols": 2}
                made = make_run(
                    folder, length, model, seeds, {**task, "items": n},
                    floors={"accuracy": {"guessing": 0.5}}, parameters=40, hidden_sizes=[3, 2], state_size=10,
                    shown={score: True for score in seeds[0] if score.endswith("accuracy")},
                )  # fmt: skip
                made.rename(made.with_name(f"{made.name},items={n}"))
    return load_study(folder, Complaints())


def drawn(study: Study, folder: Path) -> tuple[pd.DataFrame, dict[str, Figure]]:
    table = measured(MemorySpan(), study, Subjects(folder), Complaints())
    with own_style():
        return table, dict(MemorySpan().draw(table.merge(study.rows[DRAWN], on=["run", "seed"]), study))


@pytest.mark.usefixtures("chinese")
def test_the_spans_of_a_study_are_those_of_its_curves(tmp_path: Path):
    study = study_of(tmp_path / "span", {"srn": 9.0, "gru": 6.0})
    table, figures = drawn(study, tmp_path / "span")
    scores = MemorySpan().summed_up(table).merge(study.rows[["run", "seed", "length", "model.name", "task.items"]])
    by_setting = scores.groupby(["model.name", "length"])["span"].agg(["min", "max"])
    for (model, length), half in {("srn", 10): 9, ("srn", 30): 6, ("gru", 10): 6, ("gru", 30): 4}.items():
        assert by_setting.loc[(model, length)].tolist() == pytest.approx([half / 4 ** (1 / STEEP)] * 2, rel=1e-3)
    four = scores[(scores["task.items"] == 4) & (scores["length"] == 10) & (scores["model.name"] == "srn")].iloc[0]
    assert four["recalled"] == pytest.approx(recalled(np.array(4), 9, STEEP, 0.5))
    assert four["bits_held"] == pytest.approx(bits_held(four["recalled"], 4, 2))
    assert four["bits_per_unit"] == pytest.approx(four["bits_held"] / 5)
    assert four["bits_per_parameter"] == pytest.approx(four["bits_held"] / 40)
    assert scores["span_open"].eq(0).all()
    assert list(figures) == ["memory_span", "memory_span_bits", "memory_span_by_length"]
    near, far = figures["memory_span"].axes
    assert [ax.get_title() for ax in (near, far)] == ["训练长度 10", "训练长度 30"]
    for ax, halves in ((near, (6, 9)), (far, (4, 6))):
        bars = [bar for bar in ax.containers if bar.lines[0].get_ydata().tolist() == [LEVEL]]
        places = sorted(float(bar.lines[0].get_xdata()[0]) for bar in bars)
        assert places == pytest.approx([half / 4 ** (1 / STEEP) for half in halves], rel=1e-3)
    curve = next(line for line in near.lines if len(line.get_xdata()) == 201)
    assert curve.get_ydata()[[0, -1]] == pytest.approx(recalled(np.array([1, 16]), 9, STEEP, 0.5), abs=1e-3)
    everything = figures["memory_span_bits"].axes[0].lines[-1]
    assert everything.get_ydata().tolist() == list(ITEMS)  # a bit for each of two symbols


def test_of_items_that_are_not_drawn_apart_no_bits_are_told_and_of_one_length_no_figure(tmp_path: Path):
    scores = {"dev_accuracy": 0.1, "test_accuracy": 0.1}
    for digits, share in ((2, 1.0), (3, 0.7), (4, 0.2)):
        task = {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum", "digits": digits}
        both = [seed_row(seed, share) | scores for seed in (0, 4)]
        made = make_run(tmp_path / "sums", 7, "srn", both, task)
        made.rename(made.with_name(f"{made.name},digits={digits}"))
    study = load_study(tmp_path / "sums", Complaints())
    table, figures = drawn(study, tmp_path / "sums")
    assert list(figures) == ["memory_span"]
    assert table["bits_held"].isna().all()
    assert table["span"].between(2, 3).all()


def test_what_has_no_span_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for length in (5, 9):
        make_run(tmp_path / "book", length)
    study = load_study(tmp_path / "book", Complaints())

    def said(weights: str = "best") -> str:
        assert len(measured(MemorySpan(), study, Subjects(tmp_path / "book", weights=weights), Complaints())) == 0
        return "".join(capsys.readouterr()).strip()

    assert said() == (
        "memory_span: not measured: its runs have fewer than 3 values of task.digits, as -m task.digits=2,4,8 gives"
    )
    assert "the scores of the best weights alone" in said("last")
    text = {"_target_": "memexp.tasks.char_lm.CharLM", "name": "char_lm", "corpus": "harbour"}
    seeds: list[dict[str, object]] = [{"seed": 0, "best_iteration": 1, "diverged_at": None, "test_perplexity": 7.0}]
    make_run(tmp_path / "text", 5, seeds=seeds, task=text, shown={"test_perplexity": False})
    study = load_study(tmp_path / "text", Complaints())
    assert said().endswith("its task does not count what has to be remembered")
