"""What docs/memory.md says in numbers: that of the records, or of the tables that `python -m memexp.memory` made.

Those tables stand in images/STUDY/memory/, with the command beside them in the document.
"""

import io
import math
import re
import runpy
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from documents import HOME, chinese, numbers, read, table
from helpers import config_of

from memexp import experiment
from memexp.errors import Complaints
from memexp.results.study import load_study
from memexp.results.tables import interval

BOTH = pytest.mark.parametrize("page", ["docs/memory.md", chinese("docs/memory.md")])
NUMBER = r"-?\d+(?:\.\d+)?"


def triples(text: str) -> list[tuple[float, float, float]]:
    """List every mean with its interval in a text, as ``1.0 [0.5, 1.5]``, with a few signs between them or none."""
    found = re.findall(rf"({NUMBER})[^\[\d]{{0,30}}\[({NUMBER}), ({NUMBER})\]", text)
    return [(float(mean), float(low), float(high)) for mean, low, high in found]


def spoken(page: str, given: Iterable[float], digits: int, loose: float | Sequence[float] = 0.0) -> bool:
    """Say whether a page has a mean and its interval, with so many decimals.

    Args:
        page: its name.
        given: mean, lower and upper end.
        digits: decimals on the page.
        loose: by how much what is given is rounded itself, one number or three.
    """
    near = np.add(0.5001 * 10**-digits, loose)
    return any(np.allclose(found, list(given), rtol=0, atol=near) for found in triples(read(page)))


@cache
def measured(study: str) -> dict[str, pd.DataFrame]:
    """Read images/STUDY/memory/memory.md: measure -> its table, as it is written."""
    tables = {}
    for part in read(f"images/{study}/memory/memory.md").split("\n## ")[1:]:
        lines = [line.strip("| ") for line in part.splitlines() if line.startswith("|")]
        rows = "\n".join(line for line in lines if not set(line) <= set("-| "))
        table = pd.read_csv(io.StringIO(rows), sep=r"\s*\|\s?", engine="python", dtype=str, keep_default_na=False)
        tables[part.splitlines()[0]] = table
    return tables


def of(study: str, measure: str, column: str, **settings: str) -> tuple[float, float, float] | None:
    """Return mean and interval of a score of a setting, None if it has none; ``a_b`` stands for ``a.b``."""
    there = measured(study)[measure]
    for key, value in settings.items():
        there = there[there[key.replace("_", ".", 1)] == value]
    (text,) = there[column]
    return triples(text)[0] if triples(text) else None


def records(name: str) -> pd.DataFrame:
    return load_study(HOME / "outputs/reference" / name, Complaints(quiet=True)).rows


def seeds(values: Any) -> tuple[float, float, float]:
    return interval(list(values), bounds=(-math.inf, math.inf))


def test_a_number_that_is_not_on_the_page_is_missed(monkeypatch: pytest.MonkeyPatch):
    text = "it is 56.2 % [49.3, 63.1], and 10^-5.0 [-5.4, -4.6]"
    monkeypatch.setitem(globals(), "triples", lambda _, of=triples: of(text))
    assert spoken("docs/memory.md", (56.2, 49.3, 63.1), 1)
    assert spoken("docs/memory.md", (-5.03, -5.42, -4.56), 1)
    assert not spoken("docs/memory.md", (56.3, 49.3, 63.1), 1)
    assert not spoken("docs/memory.md", (56.2, 49.3, 63.2), 1)


def test_what_more_updates_give_is_that_of_the_records():
    rows = records("training_time")
    for (_, *shown), length in zip(table("docs/memory.md", "| updates |"), (20, 35), strict=True):
        for text, epochs in zip(shown, (500, 1000, 2000, 5000), strict=True):
            own = rows[(rows["length"] == length) & (rows["epochs"] == epochs)]["exact_accuracy"]
            ends = [100 * x for x in interval(own.tolist())]
            assert numbers(text) == pytest.approx(ends, abs=0.0501)


@BOTH
def test_the_gaps_and_windows_are_those_of_the_records(page: str):
    """By another way than the measures': the mean of differences, and the area under the steps of a seed's curve."""
    rows = records("memory_gap").set_index(["task.asked", "task.sampling", "model.name", "length", "seed"])
    gap = (rows.loc["last"]["exact_accuracy"] - rows.loc["first"]["exact_accuracy"]).rename("gap").reset_index()
    gaps = gap.groupby(["task.sampling", "model.name", "length"])["gap"]
    for setting in (("fixed", "srn", 10), ("fixed", "lstm", 10), ("fixed", "srn", 35), ("fixed", "lstm", 35)):
        assert spoken(page, seeds(100 * gaps.get_group(setting)), 1), setting
    assert spoken(page, seeds(100 * gaps.get_group(("fresh", "srn", 35))), 1)
    rows = records("learning_rate").sort_values("lr")
    for model, initialiser in (("lstm", "chrono"), ("srn", "xavier")):
        own = rows[(rows["model.name"] == model) & (rows["model.initialiser"] == initialiser)]
        widths = [
            np.trapezoid((seed["exact_accuracy"] >= 0.95).astype(float), np.log10(seed["lr"]))
            for _, seed in own.groupby("seed")
        ]
        assert spoken(page, seeds(widths), 2), model
    xavier = rows[(rows["model.name"] == "lstm") & (rows["model.initialiser"] == "xavier")]["exact_accuracy"]
    assert (len(xavier), round(100 * xavier.max(), 1)) == (90, 90.4)


#: Cell -> study and settings whose hold times the first table of the page has.
HELD = {
    "SRN": ("cells", {"model": "srn"}),
    "residual SRN": ("cells", {"model": "residual_srn"}),
    "LSTM, no forget gate": ("cells", {"model": "lstm", "model_variant": "no_forget_gate"}),
    "LSTM, chrono biases": ("initialisation", {"model_initialiser": "chrono", "task_sampling": "fresh"}),
    "LSTM, coupled": ("cells", {"model": "lstm", "model_variant": "coupled"}),
    "GRU": ("cells", {"model": "gru"}),
    "LSTM": ("cells", {"model": "lstm", "model_variant": "none"}),
    "minGRU": ("cells", {"model": "mingru"}),
    "minLSTM": ("cells", {"model": "minlstm"}),
}


@BOTH
def test_the_hold_times_are_those_measured(page: str):
    rows = table(page, "| cell |" if page == "docs/memory.md" else "| 循环单元 |")
    for (_, *shown, accuracy), (study, settings) in zip(rows, HELD.values(), strict=True):
        for text, length in zip(shown, ("10", "20", "35"), strict=True):
            measured_there = of(study, "hold_time", "right hold time log10", length=length, **settings)
            assert (measured_there is None) == (text == "–"), (settings, length)
            if measured_there is not None:
                rounded = [0.00501 * math.log(10) * 10**x for x in measured_there]  # they have two decimals or more
                near = np.add(0.0501, rounded)
                assert np.allclose(triples(text), [[10**x - 1 for x in measured_there]], rtol=0, atol=near), text
        own = records(study)
        for key, value in {**settings, "length": 35}.items():
            own = own[own["model.name" if key == "model" else key.replace("_", ".", 1)] == value]
        assert float(accuracy) == pytest.approx(100 * own["exact_accuracy"].mean(), abs=0.0501)


FRESH = {"model": "lstm", "task_sampling": "fresh"}
FIXED = {"model": "lstm", "task_sampling": "fixed"}

LARGE = [
    {"model": model, "model_initialiser": initialiser, "model_parameters": "2000"}
    for model, initialiser in (("srn", "xavier"), ("gru", "xavier"), ("lstm", "chrono"), ("lstm", "xavier"))
]
SMALL = [{"model": model, "model_parameters": "500"} for model in ("srn", "gru", "lstm")]

#: Number on the page: study, measure, column, settings, times what, decimals.
CLAIMS: list[tuple[str, str, str, dict[str, str], float, int]] = [
    ("book", "length_matrix", "own length %", {"model": "lstm", "length": "10"}, 1, 1),
    *(
        ("along_training", "gate_means", f"{gate} gate %", {**FRESH, "model_variant": "none", "epochs": "500"}, 0.01, 2)
        for gate in ("forget", "input", "output")
    ),
    ("along_training", "gate_means", "forget gate %", {**FRESH, "model_variant": "coupled", "epochs": "500"}, 0.01, 2),
    *(
        ("along_training", "gradient_reach", "reach after", {**FRESH, "model_variant": "none", "epochs": epochs}, 1, 1)
        for epochs in ("1", "500")
    ),
    *(
        ("along_training", "gradient_reach", "reach after", {**FIXED, "epochs": epochs}, 1, 1)
        for epochs in ("20", "50")
    ),
    *(
        ("along_training", "substitution", column, {**FIXED, "epochs": epochs}, 1, 0)
        for column in ("flips by needed %", "flips by others late %")
        for epochs in ("50", "100")
    ),
    *(
        ("book", "gate_surgery", f"patched {what} wins %", {"model": "lstm", "length": "10"}, 1, 1)
        for what in ("state", "hidden", "cell")
    ),
    *(
        ("cells", "gradient_reach", "reach before", {**settings, "length": "35"}, 1, 2)
        for settings in (
            {"model": "residual_srn"},
            {"model": "mingru"},
            {"model": "minlstm"},
            {"model": "gru"},
            *(
                {"model": "lstm", "model_variant": own}
                for own in ("none", "coupled", "no_forget_gate", "no_output_gate")
            ),
        )
    ),
    *(
        (
            "initialisation",
            "gradient_reach",
            "reach before",
            {**FRESH, "model_initialiser": own, "model_forget_bias": bias, "length": "35"},
            1,
            2,
        )
        for own, bias in (("chrono", "0.0"), ("xavier", "1.0"))
    ),
    ("book", "retention", "retained after %", {"model": "lstm", "length": "35"}, 1, 1),
    *(
        ("along_training", "retention", "gate half life after", {**FRESH, "model_variant": own, "epochs": "500"}, 1, 1)
        for own in ("coupled", "none")
    ),
    (
        "cells",
        "gate_surgery",
        "patched cell wins %",
        {"model": "lstm", "model_variant": "no_forget_gate", "length": "35"},
        1,
        1,
    ),
    *(
        ("book", "probes", f"answer readable{when} %", {"model": "lstm", "length": "10"}, 1, 1)
        for when in ("", " untrained")
    ),
    *(
        (
            "memory_gap",
            "memory_gap",
            "no lag %",
            {**FIXED, "model": "srn", "task_asked": "first", "length": length},
            1,
            1,
        )
        for length in ("10", "35")
    ),
    *(
        ("book", "gate_surgery", "forget open gain %", {"model": "lstm", "length": length}, -1, 1)
        for length in ("10", "25")
    ),
    *(
        ("memory_span", "memory_span", "span", {**settings, "length": length, "task_items": "1"}, 1, 1)
        for length, several in (("10", [*LARGE, *SMALL]), ("30", LARGE))
        for settings in several
    ),
    *(
        ("memory_span", "memory_span", "bits held", {**settings, "length": "10", "task_items": items}, 1, 1)
        for settings, items in zip([*LARGE, *SMALL], ("16", "12", "8", "8", "8", "8", "4"), strict=True)
    ),
    ("memory_span", "memory_span", "bits held", {**LARGE[0], "length": "10", "task_items": "24"}, 1, 1),
    ("memory_span", "memory_span", "bits per unit", {**SMALL[2], "length": "10", "task_items": "4"}, 1, 2),
    ("memory_span", "memory_span", "bits per parameter", {**SMALL[0], "length": "10", "task_items": "8"}, 1, 3),
]


@BOTH
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim[0]}-{claim[2]}-{'-'.join(claim[3].values())}")
def test_a_number_is_that_measured(page: str, claim: tuple[str, str, str, dict[str, str], float, int]):
    study, measure, column, settings, times, digits = claim
    there = of(study, measure, column, **settings)
    assert there is not None
    mean, low, high = (times * x for x in there)
    rounded = 0.0501 if column.endswith("%") else 0.00501 if abs(there[0]) >= 1 else 0.0000501
    assert spoken(page, [mean, min(low, high), max(low, high)], digits, loose=abs(times) * rounded)


@BOTH
def test_what_agrees_is_what_was_measured(page: str):
    said = [float(number) for number in re.findall(NUMBER, read(page).partition("memory_agreement.png")[2])]
    book, cells = (
        pd.read_csv(HOME / f"images/{study}/memory/memory_agreement.csv").set_index(["one", "other"])
        for study in ("book", "cells")
    )
    agree = ["answer_readable", "flips_by_others", "patched_state_wins"]
    for there, others in ((book, [*agree, "right_hold_time_log10"]), (cells, [*agree, "right_hold_time_log10"])):
        for other in others:
            overall = there.loc[("exact_accuracy", other), "overall"]
            assert np.isclose(overall, said, rtol=0, atol=0.005501).any(), other
    assert np.isclose(book.loc[("reach_before", "jacobian_before"), "overall"], said, rtol=0, atol=0.005501).any()
    pairs = [("exact_accuracy", other) for other in (*agree, "retained_before", "h_half_life_before")]
    for pair in (*pairs, ("reach_before", "jacobian_before")):
        within = book.loc[pair, ["within", "within_low", "within_high"]]
        assert spoken(page, within.tolist(), 2, loose=0.000501), pair


@BOTH
def test_what_each_missing_gate_costs_is_that_of_the_records(page: str):
    rows = records("cells").set_index(["model.name", "model.variant", "length"])["exact_accuracy"]
    for variant in ("no_forget_gate", "no_input_gate", "no_output_gate"):
        for length in (20, 35):
            ends = [100 * x for x in interval(rows.loc["lstm", variant, length].tolist())]
            assert spoken(page, ends, 1), (variant, length)
    rows = records("initialisation")
    chrono = rows[(rows["model.initialiser"] == "chrono") & (rows["task.sampling"] == "fresh")]
    for length in (20, 35):
        least = 100 * chrono.loc[chrono["length"] == length, "exact_accuracy"].min()
        assert f"{least:.1f}" in read(page)


@pytest.mark.slow
def test_the_lines_on_the_distractor_of_twins_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for length in (10, 35):
        name = f"length={length},model=srn,task.asked=last,task.sampling=fixed"
        experiment.run(config_of(*name.split(","), "epochs=1", "seeds=2"), Path("outputs/memory_gap", name))
    runpy.run_path(str(HOME / "docs/examples/by_distractor.py"))
    said = re.findall(r"length (\d+), (.*) steps before: \d+ %", capsys.readouterr().out)
    assert said == [("10", "1 or 2"), ("35", "1 or 2"), ("35", "more than 8")]
