"""Retention: gates whose values are known, in known layers."""

import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, config_of, task_of
from memory.cells_for_gradients import held

from memexp.config import class_of
from memexp.memory.gradient_reach import gradients
from memexp.memory.measure import Subject, Subjects
from memexp.memory.retention import TO_THE_END, Retention, half_lives, layers, retained
from memexp.memory.states import half_life
from memexp.models.cells import LSTM
from memexp.models.networks import SequenceModel
from memexp.results.tables import interval
from memexp.tasks.metrics import CrossEntropy
from memexp.trained import TrainedRun

HOME = Path(__file__).parents[2]
S, B, L, D = 2, 3, 5, 4


def subject_of(model: SequenceModel, folder: Path, *overrides: str) -> Subject:
    """Make a run of digit sums of a model."""
    widths = f"model.hidden_size={model.widths[0]}"
    given = [f"seeds={[*range(len(model.head_bias))]}", widths, "model.embedding_size=4", *overrides]
    config = config_of(f"datasets_dir={folder}", *given)
    task = task_of("digit_sum", folder, *given)
    return Subject(TrainedRun(folder, config, {"about": {}}, class_of(config.task, "task"), model), task)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_says_by_what_it_multiplies_its_state(kind: str, generator: torch.Generator):
    """With gates that do not see the state, it is the derivative of the new state with respect to the old one."""
    cell = classifier(KINDS[kind], range(S), widths=(D,)).cell.double()
    with torch.no_grad():
        for name in ("U", "P", "c"):
            if getattr(cell, name, None) is not None:
                getattr(cell, name).zero_()
    x = torch.randn(S, len(cell.gates), B, D, generator=generator, dtype=torch.float64)
    state = tuple(torch.randn(S, B, D, generator=generator, dtype=torch.float64) for _ in cell.states)
    held_state = state[-1].requires_grad_()
    after, parts = cell.step(x, (*state[:-1], held_state))
    f = cell.kept(parts)
    (slope,) = torch.autograd.grad(after[-1].sum(), held_state)
    gated = kind not in ("SRN", "ResidualSRN", "IRNN", "IndRNN", "LSTM no_forget_gate", "LSTM1997")
    assert (f is not None) == gated
    if f is not None:
        torch.testing.assert_close(f, slope)
        assert float(f.detach().std()) > 0.05
        several = cell.kept({name: torch.stack([part, part], 1) for name, part in parts.items()})
        torch.testing.assert_close(several[:, 1], f)


def test_what_is_kept_of_gates_that_are_known(generator: torch.Generator):
    f = torch.rand(S, B, L, D, generator=generator, dtype=torch.float64)
    kinds = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 1, 2, 1], [0, 0, 2, 1, 1]])
    needed = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]) == 1
    own = retained(f, kinds, 4, needed)
    assert own.by_kind.shape == (S, 4, D)
    of_2 = (f[:, 1, 3] * f[:, 2, 2]).sqrt()
    torch.testing.assert_close(own.by_kind[:, 2], of_2)
    torch.testing.assert_close(own.by_kind[:, 0], f[:, :, :2].prod(2).prod(1) ** (1 / 6))
    assert own.by_kind[:, 3].isnan().all()
    to_the_end = (f[:, 0, 2:].prod(1) + f[:, 1, 1:].prod(1) + 1) / 3
    torch.testing.assert_close(own.to_the_end, to_the_end)
    for lag in range(L):
        product = f[:, :, L - lag :].prod(2)
        torch.testing.assert_close(own.by_lag[:, lag], product.square().mean((1, 2)).sqrt())
    assert retained(f, kinds, 4, None).to_the_end.isnan().all()


def test_shut_gates_keep_nothing():
    f = torch.ones(S, B, L, D, dtype=torch.float64)
    f[:, :, 2] = 0
    own = retained(f, torch.zeros(B, L, dtype=torch.long), 1, None)
    assert (own.by_kind == 0).all()
    assert own.by_lag[0].tolist() == [1, 1, 1, 0, 0]


def test_half_lives_of_units():
    kept = np.array([0.5, 0.9, 0.99, 1.0, 0.0])
    assert half_lives(kept).tolist() == pytest.approx([1, 6.5788, 68.9676, math.inf, 0], rel=1e-5)


def test_a_latch_keeps_all_and_a_leaky_one_its_power_and_gates_say_what_the_gradient_does(tmp_path: Path):
    """Constant gates: both half-lives are ln 0.5 / ln f, whatever the kind of token."""
    forget, length = [1.0, 0.9, 0.5], 8
    model = held(forget, classes=19, widths=(3,))
    one = subject_of(model, tmp_path, "model=lstm", f"length={length}")
    vars(one)["before"] = held([0.25, 0.3, 0.35], classes=19, widths=(3,))
    table = Retention().measure(one).assign(run="a")
    after = table[table["when"] == "after"]
    assert len(after) == 3 * 5 * 3
    for k, f in enumerate(forget):
        own = after[after["seed"] == k]
        to_the_end = own["kind"] == TO_THE_END
        assert own.loc[~to_the_end, "kept"].tolist() == pytest.approx([f] * 4 * 3, rel=1e-6)
        assert own.loc[to_the_end, "kept"].tolist() == pytest.approx([f ** (length - 2)] * 3, rel=1e-5)
        expected = math.inf if f == 1 else math.log(0.5) / math.log(f)
        assert own["gate_half_life"].tolist() == pytest.approx([expected] * len(own), rel=1e-5)
        assert own["by_gates"].iloc[0] == pytest.approx(f ** (length - 1), rel=1e-5)
        assert own["by_gradient"].iloc[0] == pytest.approx(f ** (length - 1), rel=1e-5)
    scores = Retention().summed_up(table).set_index("seed")
    assert scores["retained_after"].tolist() == pytest.approx([f**6 for f in forget], rel=1e-5)
    assert scores["gate_half_life_after"].tolist() == pytest.approx([1000, 6.5788, 1], rel=1e-5)
    assert scores["retained_before"].tolist() == pytest.approx([0.25**6, 0.3**6, 0.35**6], rel=1e-5)


def test_layers_and_directions_are_apart_and_read_in_their_order(generator: torch.Generator):
    model = classifier(partial(LSTM, variant="coupled"), (0, 1), widths=(3, 2), bidirectional=True)
    inputs = torch.randint(10, (B, L), generator=generator)
    found, trace = layers(model, inputs), model.trace(inputs[None])
    assert [layer.state for layer in found] == [
        f"layer_{number}.{backwards}cell_state" for number in (1, 2) for backwards in ("", "backwards.")
    ]
    for layer in found:
        gate = trace[layer.state.replace("cell_state", "forget_gate")]
        torch.testing.assert_close(layer.f, gate.flip(2) if layer.backwards else gate)
        assert layer.in_order(inputs)[:, 0].tolist() == inputs[:, -1 if layer.backwards else 0].tolist()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("SRN", "no gate of its SRN keeps the state (it has hidden_state)"),
        ("LSTM no_forget_gate", "no gate of its LSTM keeps the state (it has input_gate, output_gate, candidate)"),
        ("LSTM1997", "no gate of its LSTM of 1997 keeps the state (it has input_gate, output_gate, candidate)"),
        ("IRNN", "no gate of its IRNN keeps the state (it has hidden_state)"),
        ("IndRNN", "no gate of its IndRNN keeps the state (it has hidden_state)"),
        ("MinGRU", None),
        ("SLSTM", None),
        ("Diagonal signed", None),
    ],
)
def test_a_cell_without_such_a_gate_is_not_measured(kind: str, reason: str | None, tmp_path: Path):
    one = subject_of(classifier(KINDS[kind], (0,), classes=19), tmp_path, "model=srn", "length=4")
    assert Retention().why_not(one) == reason


@pytest.mark.parametrize("eigenvalue", [-0.9, 0.9])
def test_of_an_eigenvalue_the_size_counts(eigenvalue: float, generator: torch.Generator):
    """What a negative one keeps it turns about at every step: the half-life is that of its size."""
    model = classifier(KINDS["Diagonal signed"], (3,), widths=(2,), classes=19).double()
    with torch.no_grad():
        model.cell.W[:, 0], model.cell.b[:, 0] = 0, math.log((1 + eigenvalue) / (1 - eigenvalue))
    inputs = torch.randint(10, (4, 30), generator=generator)
    (layer,) = layers(model, inputs)
    torch.testing.assert_close(layer.f, torch.full_like(layer.f, eigenvalue), atol=1e-12, rtol=0)
    found = retained(layer.f, torch.zeros_like(inputs), 1, None)
    torch.testing.assert_close(found.by_kind, torch.full_like(found.by_kind, 0.9), atol=1e-12, rtol=0)
    assert half_life(found.by_lag).tolist() == pytest.approx([math.log(0.5) / math.log(0.9)])


def test_of_several_layers_the_largest_counts():
    layers_of = [("layer_1.c", 0.5, 3.0), ("layer_2.c", 0.25, 9.0)]
    rows = [
        (when, state, unit, kept + unit / 8, life)
        for when in ("before", "after")
        for state, kept, life in layers_of
        for unit in range(2)
    ]
    table = pd.DataFrame(rows, columns=["when", "state", "unit", "kept", "gate_half_life"])
    table = table.assign(run="a", seed=2, kind=TO_THE_END)
    (row,) = Retention().summed_up(table).to_dict("records")
    assert (row["retained_after"], row["gate_half_life_before"]) == (0.5625, 9.0)
    assert half_life(torch.ones(2, 3)).tolist() == [math.inf] * 2


@pytest.mark.parametrize("page", ["docs/findings.md", "docs/zh-CN/findings.md"])
def test_the_findings_say_what_is_left_before_training(page: str, tmp_path: Path):
    """At length 35 of the study book: by the gates of the LSTM, of its gradient, and of the SRN's."""
    study = Subjects(HOME / "outputs/reference/book", datasets=tmp_path)
    lstm, srn = (study[f"length=35,model={model}"] for model in ("lstm", "srn"))
    table = Retention().measure(lstm)
    of_lstm = table[table["when"] == "before"].groupby("seed")[["by_gates", "by_gradient"]].first()
    of_srn = gradients(srn.before, CrossEntropy, srn.sample(64))["hidden_state"]
    measured = [of_lstm["by_gates"], of_lstm["by_gradient"], (of_srn[:, -1] / of_srn[:, 0]).numpy()]
    text = (HOME / page).read_text(encoding="utf-8")
    said = re.findall(r"10\^(-[\d.]+)\s+\[(-[\d.]+), (-[\d.]+)\]", text)
    assert len(said) == 3
    for numbers, of_seeds in zip(said, measured, strict=True):
        expected = interval(np.log10(of_seeds).tolist(), bounds=(-np.inf, np.inf))
        assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.051)
