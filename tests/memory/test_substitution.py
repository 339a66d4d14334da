import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, task_of
from memory.networks import latch, memoryless, subject
from torch import Tensor

from memexp.memory.measure import Subject
from memexp.memory.substitution import Substitution, substitutions

MEASURE = Substitution()


def test_it_is_what_each_replaced_sequence_is_answered():
    model = classifier(KINDS["SRN"], [3, 4], symbols=4, classes=5)
    inputs = torch.tensor([[0, 3, 1], [2, 2, 0]])

    def outputs(rows: Tensor) -> Tensor:
        return model(rows[None])[:, :, -1].detach()

    flips, divergences = substitutions(outputs, inputs, 4)
    assert flips.shape == divergences.shape == (2, 3, 4, 2)
    for k in range(2):
        for place in range(3):
            for symbol in range(4):
                for n, row in enumerate(inputs.tolist()):
                    other = [*row[:place], symbol, *row[place + 1 :]]
                    p, q = (outputs(torch.tensor([own]))[k, 0].softmax(-1).tolist() for own in (row, other))
                    bits = sum(a * math.log2(a / b) for a, b in zip(p, q, strict=True))
                    assert float(divergences[k, place, symbol, n]) == pytest.approx(bits, abs=1e-5)
                    assert bool(flips[k, place, symbol, n]) == (p.index(max(p)) != q.index(max(q)))
    assert flips.any()


def test_a_latch_follows_its_two_digits_and_no_other(tmp_path: Path):
    table = MEASURE.measure(subject(latch((1.0, 1.0)), tmp_path, "length=5")).assign(run="a")
    assert table.groupby("seed").size().tolist() == [2 * 10 + 3 * 9] * 2  # of zeros, 0 is no other symbol
    needed = table[table["needed"] == 1]
    assert sorted(needed["last"].unique()) == [4, 5]
    assert needed["flips"].tolist() == [1] * 40
    others = table[table["needed"] == 0]
    assert sorted(others["last"].unique()) == [1, 2, 3]
    assert others["flips"].tolist() == others["kl_bits"].tolist() == [0] * 54
    assert (needed["kl_bits"] > 20).all()
    np.testing.assert_array_equal(MEASURE.summed_up(table)[[*MEASURE.scores]], [[1, 0, 0, 0]] * 2)


def test_a_network_without_memory_follows_the_last_digit(tmp_path: Path):
    table = MEASURE.measure(subject(memoryless(), tmp_path, "length=8")).assign(run="a")
    flips = table.groupby("last")["flips"].unique()
    assert {last: values.tolist() for last, values in flips.items()} == {1: [1], **{last: [0] for last in range(2, 9)}}
    (scores,) = MEASURE.summed_up(table)[[*MEASURE.scores]].to_numpy().tolist()
    assert scores == pytest.approx([0, 1 / 6, 0, 1 / 2])


def test_places_that_are_needed_in_some_sequences_count_for_both_kinds():
    inputs = torch.tensor([[0, 1], [2, 0], [1, 1]])
    task = SimpleNamespace(
        length=2, interface=SimpleNamespace(inputs=3),
        held=lambda length: SimpleNamespace(inputs=inputs, row_weights=lambda: torch.tensor([0.5, 0.25, 0.25])),
        needed=lambda rows: torch.tensor([[True, False], [False, True], [True, False]]),
    )  # fmt: skip

    def answers(rows: Tensor) -> Tensor:  # the first symbol, surely
        return 100.0 * torch.nn.functional.one_hot(rows[None, :, 0], 3)[:, :, None]

    table = MEASURE.measure(SimpleNamespace(task=task, seeds=[7], answers=answers))  # type: ignore[arg-type]
    rows = {(last, symbol, needed): flips for last, symbol, needed, flips in
            table[["last", "symbol", "needed", "flips"]].itertuples(index=False)}  # fmt: skip
    first_needed = {(2, 0, 1), (2, 1, 1), (2, 2, 1)}  # of rows 0 and 2, whose symbols are 0 and 1
    first_other = {(2, 0, 0), (2, 1, 0)}  # of row 1, whose symbol is 2
    second = {(1, 0, 0), (1, 2, 0), (1, 1, 1), (1, 2, 1)}  # of rows 0 and 2: 1; of row 1: 0
    assert rows == {**dict.fromkeys(first_needed | first_other, 1.0), **dict.fromkeys(second, 0.0)}


def test_early_and_late_are_thirds_of_the_places_of_each_run():
    table = pd.DataFrame(
        [
            {"run": run, "seed": 0, "last": last, "symbol": symbol, "needed": int(last > places), "kl_bits": 0.0,
             "flips": last / 100 if last <= places else 0.9}
            for run, places in (("a", 6), ("b", 3)) for last in range(1, places + 2) for symbol in (1, 2)
        ]
    )  # fmt: skip
    found = MEASURE.summed_up(table).set_index("run")[[*MEASURE.scores]]
    np.testing.assert_allclose(found.loc["a"], [0.9, 0.035, 0.055, 0.015])
    np.testing.assert_allclose(found.loc["b"], [0.9, 0.02, 0.03, 0.01])


def test_the_figures_show_places_and_symbols(tmp_path: Path, chinese: None):
    table = MEASURE.measure(subject(memoryless(2), tmp_path, "length=4"))
    table = table.assign(run="a", label="SRN", length=4, **{"model.name": "srn"})
    figures = MEASURE.draw(table, SimpleNamespace(rows=table))  # type: ignore[arg-type]
    assert [*figures] == ["substitution", "substitution_kl", "substitution_map_SRN"]
    assert figures["substitution"].axes[0].lines[0].get_ydata().tolist() == [1, 0, 0, 0]
    ax, bar = figures["substitution_map_SRN"].axes
    shown = ax.collections[0].get_array()
    assert shown.shape == (10, 4)  # symbols, from 0 at the bottom; places, the last one at the right
    np.testing.assert_array_equal(shown[1:, 3], [1] * 9)
    np.testing.assert_array_equal(shown[1:, :3], np.zeros((9, 3)))
    assert np.isnan(np.ma.filled(shown, np.nan)[0, 2:]).all()  # there are zeros already
    assert ax.get_ylim() == (0, 10)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "3", "2", "1"]
    assert bar.get_label() == "<colorbar>"


def test_what_cannot_be_replaced_is_said(tmp_path: Path):
    digits = subject(latch(), tmp_path, "length=4")
    assert MEASURE.why_not(digits) is None
    assert MEASURE.why_not(Subject(digits.run, task_of("adding", tmp_path))) == "its inputs are numbers, no symbols"
