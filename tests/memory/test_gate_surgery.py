import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, task_of
from memory.networks import latch, memoryless, subject

from memexp.canvas import own_style
from memexp.memory import gate_surgery
from memexp.memory.gate_surgery import GateSurgery, Operated, clamped, gates_of, go_on, patched, states_by_step
from memexp.tasks.digit_sum import enumerate_distribution
from memexp.tasks.task import Rows


@pytest.fixture
def every_row(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Let all 2,800 inputs of length 5 be operated on; the mean over them is one over rows, not over chances."""
    monkeypatch.setattr(gate_surgery, "ROWS", 2800)
    monkeypatch.setattr(gate_surgery, "UNIT_ROWS", 300)
    return enumerate_distribution(5, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every_step", [False, True])
def test_what_goes_on_from_its_own_state_answers_as_if_it_had_read_all(kind: str, every_step: bool):
    model = classifier(KINDS[kind], [3, 4, 5], widths=(4, 6), every_step=every_step)
    inputs = enumerate_distribution(5, 1).inputs[::400]
    states = states_by_step(model, inputs)
    whole = model(inputs[None]).softmax(-1)
    for step in (1, 4):
        answers = go_on(model, inputs, step, [states[step - 1], states[step - 1]])
        expected = whole[:, :, step:] if every_step else whole
        assert answers.shape == (2, *expected.shape)
        torch.testing.assert_close(answers, torch.stack([expected] * 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_takes_the_state_that_is_named_and_a_clamp_holds_its_gate_in_every_bit(kind: str):
    model = classifier(KINDS[kind], [3, 4], widths=(4, 6), embedding_size=3)
    inputs = enumerate_distribution(5, 1).inputs[::300]
    own, donor = states_by_step(model, inputs)[2], states_by_step(model, inputs.flip(0))[2]
    names = model.cell.states
    assert all(torch.equal(a, b) for one, other in zip(patched(own, donor, "state", model), donor, strict=True)
               for a, b in zip(one, other, strict=True))  # fmt: skip
    for layer, state in enumerate(patched(own, donor, names[-1], model, unit=2)):
        for place, part in enumerate(state):
            changed = (part != own[layer][place]).any(0).any(0).nonzero().flatten().tolist()
            assert changed == ([2] if place == len(names) - 1 else [])
            assert torch.equal(part[..., 2], (donor if changed else own)[layer][place][..., 2])
    before = model.trace(inputs[None])
    for gate in gates_of(model):
        for value in (0, 1):
            parts = clamped(model, gate, value).trace(inputs[None])
            some = clamped(model, gate, value, slice(1, 3)).trace(inputs[None])
            shares = kind in ("MinLSTM", "SLSTM") and gate in ("input_gate", "forget_gate")  # of the sum of the two:
            if not shares or (kind == "MinLSTM" and value == 0):  # an open one leaves 1 / (1 + f)
                assert (parts[f"layer_2.{gate}"] == value).all()
                assert (some[f"layer_1.{gate}"][..., 1:3] == value).all()
            first = [trace[f"layer_1.{gate}"][:, :, 0] for trace in (some, before)]
            assert torch.equal(first[0][..., [0, 3]], first[1][..., [0, 3]])
    assert all(torch.equal(part, before[name]) for name, part in model.trace(inputs[None]).items())


def test_the_effect_is_the_total_variation():
    after, before = torch.tensor([[[[[0.5, 0.5, 0.0]]]]]), torch.tensor([[[[0.1, 0.6, 0.3]]]])
    assert Operated(after, before).effect.item() == pytest.approx(0.4)


def test_of_a_latch_the_patched_digits_win_in_the_cell_alone_and_one_unit_carries_them(tmp_path: Path, every_row: Rows):
    table = GateSurgery().measure(subject(latch((1.0, 1.0)), tmp_path, "length=5"))
    patches = table[(table["operation"] == "patch") & table["unit"].isna() & (table["time_step"] >= 2)]
    by_part = patches.groupby("part")[["wins", "effect"]].agg(["min", "max"])
    assert by_part.loc["state", "wins"].tolist() == by_part.loc["cell_state", "wins"].tolist() == [1, 1]
    assert by_part.loc["hidden_state", "wins"].tolist() == by_part.loc["hidden_state", "effect"].tolist() == [0, 0]
    scores = GateSurgery().summed_up(table.assign(run="latch")).drop(columns=["run", "seed"])
    expected = {"patched_state_wins": 1, "patched_hidden_wins": 0, "patched_cell_wins": 1, "carrying_units": 1}
    gains = {"forget_open_gain": 0, "input_shut_gain": 0, "output_open_gain": 0}
    assert scores.to_dict("records") == [pytest.approx(expected | gains)] * 2


def test_a_latch_whose_forget_gate_is_shut_once_answers_with_the_digit_after_that(tmp_path: Path, every_row: Rows):
    """Its clock begins anew as well: one step after, the input gate is open still. At other steps 0 and 1 as it is."""
    table = GateSurgery().measure(subject(latch(), tmp_path, "length=5")).set_index(["part", "time_step"])["accuracy"]
    answers = every_row.inputs[:, :2].sum(1)
    for step in (3, 4):
        right = (answers == every_row.inputs[:, step]).double().mean()
        assert table["forget_gate=0", step] == pytest.approx(float(right))
        assert table["input_gate=0", step] == table["forget_gate=1", step] == table["output_gate=1", step] == 1
    assert table["forget_gate=0", 1] == 1  # there was nothing to forget


def test_a_leak_is_stopped_by_an_open_forget_gate(tmp_path: Path, every_row: Rows):
    """It holds d_1 / 2 + d_2 after the second digit: right where d_1 is 0, or 1 where half a digit is rounded up."""
    table = GateSurgery().measure(subject(latch((0.5,)), tmp_path, "length=5"))
    held = table[table["time_step"].isna()].set_index("part")["accuracy"]
    assert held["none"] < 0.1
    assert held["forget_gate=1"] == pytest.approx(0.15, abs=0.051)
    gain = GateSurgery().summed_up(table.assign(run="leaky"))["forget_open_gain"].item()
    assert gain == pytest.approx(held["forget_gate=1"] - held["none"])


def test_a_run_is_summed_up_by_what_is_exchanged_midway():
    """After the third of six steps; of those at which single units were exchanged, the one nearest to that."""
    patches = [
        {"operation": "patch", "part": part, "time_step": step, "unit": math.nan, "wins": step / 10 + up}
        for part, up in (("state", 0.3), ("hidden_state", 0.0), ("cell_state", 0.1))
        for step in range(1, 7)
    ]
    units = [
        {"operation": "patch", "part": "state", "time_step": step, "unit": unit, "effect": effect}
        for step, effects in ((1, (1, 1, 1)), (4, (2, 0, 2)), (6, (1, 0, 0)))
        for unit, effect in enumerate(effects)
    ]
    clamps = [{"operation": "clamp", "part": "none", "time_step": math.nan, "accuracy": 0.5}]
    table = pd.DataFrame([*patches, *units, *clamps]).assign(run="a", seed=0)
    (scores,) = GateSurgery().summed_up(table).to_dict("records")
    midway = {"patched_state_wins": 0.6, "patched_hidden_wins": 0.3, "patched_cell_wins": 0.4, "carrying_units": 2}
    assert {name: scores[name] for name in midway} == pytest.approx(midway)


def test_without_memory_nothing_that_is_exchanged_counts(tmp_path: Path):
    table = GateSurgery().measure(subject(memoryless(2), tmp_path, "length=6"))
    patches = table[table["operation"] == "patch"]
    assert patches["effect"].max() == 0
    assert patches["wins"].max() == 0
    assert table[table["operation"] == "clamp"].empty
    scores = GateSurgery().summed_up(table.assign(run="nothing"))
    assert scores["patched_state_wins"].tolist() == [0, 0]
    rest = scores.drop(columns=["run", "seed", "patched_state_wins"])
    assert rest.isna().all(axis=None)


def test_answers_at_every_step_are_counted_where_they_are_asked(tmp_path: Path):
    """Items of copy memory: what is exchanged before the wait is over are all items that are asked for."""
    one = subject(classifier(KINDS["LSTM"], [0, 1], every_step=True, symbols=10, classes=8), tmp_path, "length=4")
    task = task_of("copy_memory", tmp_path, "length=4")

    class Copy:
        seeds, after = one.seeds, one.after

    Copy.task = task
    assert GateSurgery().why_not(Copy()) is None
    table = GateSurgery().measure(Copy())
    assert table["time_step"].max() == 9
    accuracy = table.set_index("part").loc["none", "accuracy"]
    assert accuracy.between(0, 0.4).all()


def test_runs_that_cannot_be_operated_on_say_why(tmp_path: Path):
    class Other:
        after = classifier(KINDS["SRN"], [0], bidirectional=True)
        task = task_of("digit_sum", tmp_path, "length=4")

    assert GateSurgery().why_not(Other()) == "it reads from both ends"
    Other.task = task_of("adding", tmp_path, "length=4")
    assert GateSurgery().why_not(Other()) == "its answers are numbers, so none wins"


@pytest.mark.usefixtures("chinese")
def test_the_figures_are_of_patches_units_and_clamps(tmp_path: Path):
    tables = []
    for name, model in (("lstm", latch((1.0, 0.9))), ("srn", memoryless(2))):
        table = GateSurgery().measure(subject(model, tmp_path, "length=5"))
        tables.append(table.assign(run=name, label=name.upper(), line=name.upper(), length=5))
    table = pd.concat(tables)
    with own_style():
        figures = GateSurgery().draw(table, None)
    assert list(figures) == ["gate_surgery_patch", "gate_surgery_units", "gate_surgery_clamp"]
    lstm, srn = figures["gate_surgery_patch"].axes
    assert [line.get_ydata()[1:].tolist() for line in lstm.lines[:2]] == [[1, 1, 1], [0, 0, 0]]
    assert srn.lines[0].get_color() == lstm.lines[0].get_color()
    assert len(srn.lines) == 1
    (clamps, _) = figures["gate_surgery_clamp"].axes
    assert clamps.images[0].get_array().shape == (6, 4)
    units = figures["gate_surgery_units"].axes
    assert [ax.images[0].get_array().shape for ax in units[:2]] == [(2, 4), (1, 4)]
    assert units[0].images[0].get_array()[0].min() > 0.5 * units[0].images[0].get_array()[0].max()
    assert units[0].images[0].get_array()[1].max() == 0
