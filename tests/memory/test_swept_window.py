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
from memexp.memory.swept_window import SOLVED, SweptWindow, swept_number, width, windows
from memexp.results import record
from memexp.results.study import Study, load_study

RATES = (0.0001, 0.001, 0.01, 0.1)


@pytest.mark.parametrize(
    ("numbers", "solved", "expected"),
    [
        (RATES, [0, 1, 1, 0], 2.0),  # one decade, and half of one at either side
        (RATES, [0, 0, 0, 0], 0.0),
        (RATES, [1, 1, 1, 1], 3.0),
        (RATES, [1, 0, 0, 1], 1.0),
        ((0.001, 0.003, 0.03), [0, 1, 0], math.log10(30) / 2),
        ((2, 3, 6), [1, 1, 0], 2.5),  # less than tenfold: the number itself
    ],
)
def test_the_width_is_the_integral_in_decades(numbers: tuple[float, ...], solved: list[int], expected: float):
    assert width(numbers, [bool(one) for one in solved]) == pytest.approx(expected)


def test_the_mean_width_is_the_area_under_the_share_of_seeds():
    """Seeds 0 and 1 solve at one rate and at two; seed 2 was not trained with all of them; one stopped."""
    accuracies = {(0.001, 0): 0.96, (0.01, 0): 0.2, (0.1, 0): 0.1, (0.001, 1): SOLVED, (0.01, 1): 0.99, (0.1, 1): None}
    rows = [
        (f"{rate}", seed, "SRN", 7, rate, accuracy) for (rate, seed), accuracy in {**accuracies, (0.01, 2): 1}.items()
    ]
    table = pd.DataFrame(rows, columns=["run", "seed", "line", "length", "lr", "exact_accuracy"])
    found = windows(table, "lr", "exact_accuracy").set_index(["number", "seed"])
    assert found["solved"].to_dict() == {
        (0.001, 0): 1, (0.01, 0): 0, (0.1, 0): 0, (0.001, 1): 1, (0.01, 1): 1, (0.1, 1): 0, (0.01, 2): 1
    }  # fmt: skip
    by_seed = found.groupby("seed")["window_width"].unique()
    assert by_seed[0].tolist() == [0.5]
    assert by_seed[1].tolist() == [1.5]
    assert math.isnan(by_seed[2][0])
    shares = found.drop(index=2, level="seed").groupby("number")["solved"].mean()
    assert shares.tolist() == [1, 0.5, 0]
    assert by_seed.loc[:1].explode().mean() == pytest.approx(np.trapezoid(shares, np.log10(shares.index)))


def sweep(study: Path, solved_at: dict[str, tuple[float, ...]], lengths: tuple[int, ...] = (5,)) -> Study:
    """Write a study with a run for each rate: the models solve the task at some of them."""
    for model, rates in solved_at.items():
        for length in lengths:
            for rate in RATES:
                seeds = [seed_row(seed, (0.97 if rate in rates else 0.3) + 0.01 * seed) for seed in range(3)]
                folder = make_run(study, length, model, seeds)
                summary = record.read_summary(folder)
                summary["config"]["lr"] = rate
                record.write_summary(folder, summary)
                folder.rename(folder.with_name(f"{folder.name},lr={rate}"))
    return load_study(study, Complaints())


def drawn(study: Study, folder: Path) -> tuple[pd.DataFrame, dict[str, Figure]]:
    table = measured(SweptWindow(), study, Subjects(folder), Complaints())
    with own_style():
        return table, dict(SweptWindow().draw(table.merge(study.rows[DRAWN], on=["run", "seed"]), study))


@pytest.mark.usefixtures("chinese")
def test_a_sweep_over_rates_and_lengths_has_windows_by_model_and_length(tmp_path: Path):
    study = sweep(tmp_path / "rates", {"srn": (0.001,), "lstm": (0.001, 0.01, 0.1)}, (5, 9))
    assert swept_number(study) == "lr"
    table, figures = drawn(study, tmp_path / "rates")
    scores = SweptWindow().summed_up(table)
    widths = scores.groupby(scores["run"].str.contains("lstm"))["window_width"].unique()
    assert [widths[False].tolist(), widths[True].tolist()] == [[1.0], [2.5]]
    assert table["solved"].sum() == 3 * 2 * (1 + 3)
    assert list(figures) == ["swept_window", "swept_window_width"]
    above, below = figures["swept_window"].axes[0], figures["swept_window"].axes[2]
    shares = [line.lines[0].get_ydata().tolist() for line in above.containers]
    assert shares == [[0, 1, 0, 0], [0, 1, 1, 1]]
    low, high = above.containers[0].lines[2][0].get_segments()[0][:, 1]
    z2 = 1.959964**2  # Wilson's interval of 0 of 3 goes from 0 to z2 / (n + z2)
    assert (low, high) == (pytest.approx(0, abs=1e-9), pytest.approx(z2 / (3 + z2), rel=1e-5))
    assert below.get_xscale() == "log"
    assert below.containers[0].lines[0].get_ydata() == pytest.approx([0.31, 0.98, 0.31, 0.31])


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [((5, 9), "no number was swept but the length, as -m lr=0.0001,0.001,0.01 does")],
)
def test_a_study_without_a_swept_number_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lengths: tuple[int, ...], reason: str
):
    for length in lengths:
        make_run(tmp_path / "book", length)
    study = load_study(tmp_path / "book", Complaints())
    assert len(measured(SweptWindow(), study, Subjects(tmp_path / "book"), Complaints())) == 0
    assert "".join(capsys.readouterr()).strip() == f"swept_window: not measured: {reason}"
    measured(SweptWindow(), study, Subjects(tmp_path / "book", weights="last"), Complaints())
    assert "the scores of the best weights alone" in "".join(capsys.readouterr())


def test_a_number_that_differs_together_with_another_setting_was_not_swept(tmp_path: Path):
    study = sweep(tmp_path / "rates", {"srn": (0.001,)})
    assert swept_number(study) == "lr"
    both = study.only(study.rows.assign(clip=study.rows["lr"].astype(object)))
    assert swept_number(both) is None


def test_scores_that_are_no_shares_cannot_be_solved(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = {"_target_": "memexp.tasks.char_lm.CharLM", "name": "char_lm", "corpus": "harbour"}
    seeds: list[dict[str, object]] = [{"seed": 0, "best_iteration": 1, "diverged_at": None, "test_perplexity": 7.0}]
    make_run(tmp_path / "text", 5, seeds=seeds, task=text, shown={"test_perplexity": False})
    study = load_study(tmp_path / "text", Complaints())
    assert len(measured(SweptWindow(), study, Subjects(tmp_path / "text"), Complaints())) == 0
    assert "its scores are no shares" in "".join(capsys.readouterr())


def test_of_a_single_length_there_is_no_figure_of_widths(tmp_path: Path):
    study = sweep(tmp_path / "rates", {"srn": (0.001, 0.01)})
    table, figures = drawn(study, tmp_path / "rates")
    assert list(figures) == ["swept_window"]
    assert table["window_width"].unique().tolist() == [2.0]
