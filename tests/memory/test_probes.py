from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, task_of
from memory.networks import latch, memoryless, subject

from memexp.canvas import own_style
from memexp.memory import probes
from memexp.memory.probes import Probes, control, fit_and_score, states_of
from memexp.tasks.digit_sum import enumerate_distribution

HALF = torch.arange(400) >= 200


def test_classes_that_lie_in_a_row_on_one_unit_are_told_apart(generator: torch.Generator):
    """As the head of a network can; least squares on one-hot classes would see the first and the last one alone."""
    labels = torch.randint(7, (400,), generator=generator)
    states = (labels.float() + 0.1 * torch.rand(400, generator=generator))[None, :, None]
    assert fit_and_score(states, labels, HALF).tolist() == [1.0]
    x = torch.cat([states[0, ~HALF], torch.ones(200, 1)], 1).double()
    weights = torch.linalg.lstsq(x, torch.nn.functional.one_hot(labels[~HALF], 7).double()).solution
    assert ((x @ weights).argmax(1) == labels[~HALF]).double().mean() < 0.5


def test_a_probe_is_fishers_discriminant(generator: torch.Generator):
    """Each seed is worked out once more with numpy: class means, pooled covariance, shares; classes of other sizes."""
    labels = torch.randint(4, (400,), generator=generator).clamp(max=2)
    states = torch.randn(3, 400, 5, generator=generator) @ torch.randn(5, 5, generator=generator)
    states += torch.randn(3, 4, 5, generator=generator)[:, labels]
    found = fit_and_score(states, labels, HALF)
    for seed in range(3):
        x, y = states[seed].double().numpy(), labels.numpy()
        fit, fit_y = x[:200], y[:200]
        means = np.array([fit[fit_y == k].mean(0) for k in range(3)])
        inverse = np.linalg.inv((fit - means[fit_y]).T @ (fit - means[fit_y]) / 200)
        shares = np.bincount(fit_y) / 200
        distance = [((x[200:] - m) @ inverse * (x[200:] - m)).sum(1) for m in means]
        answers = np.argmax(np.log(shares)[:, None] - np.array(distance) / 2, axis=0)
        assert found[seed] == pytest.approx((answers == y[200:]).mean(), abs=0.011)  # the ridge may turn a row or two


def test_of_nothing_a_probe_makes_the_likeliest_class():
    """A class that none of the fitted rows has is never answered."""
    labels = torch.tensor([2, 2, 2, 1, 1, 4, 2, 1])
    held_out = torch.arange(8) >= 4
    assert fit_and_score(torch.zeros(2, 8, 3), labels, held_out).tolist() == [0.25, 0.25]


def test_controls_give_each_type_one_label_as_often_as_before(tmp_path: Path):
    task = task_of("digit_sum", tmp_path, "length=6")
    rows = task.distribution()
    facts = task.facts(rows)
    shuffled = control(facts)
    assert list(shuffled) == ["first digit", "second digit", "sum"]
    for name, labels in shuffled.items():
        by_pair = [
            labels[(facts["first digit"] == a) & (facts["second digit"] == b)] for a in range(10) for b in range(10)
        ]
        assert all(len(own.unique()) == 1 for own in by_pair)
        assert torch.equal(labels.bincount(), facts[name].bincount())
        assert (labels == facts[name]).double().mean() < 0.3
    assert all(torch.equal(one, other) for one, other in zip(shuffled.values(), control(facts).values(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_of_every_cell_is_probed(kind: str):
    model = classifier(KINDS[kind], [3, 4], widths=(5, 6), bidirectional=True)
    inputs = enumerate_distribution(3, 1).inputs[::4]
    states = states_of(model, inputs)
    of_lstms = ["hidden_state", *["log_normaliser"] * (kind == "SLSTM"), "cell_state"]
    names = of_lstms if "LSTM" in kind and kind != "MinLSTM" else ["hidden_state"]
    prefixes = ("layer_1.", "layer_1.backwards.", "layer_2.", "layer_2.backwards.")
    assert list(states) == [f"{prefix}{name}" for prefix in prefixes for name in names]
    assert {states[f"layer_2.{names[-1]}"].shape} == {(2, len(inputs), 3, 6)}


def test_a_latch_holds_the_sum_and_an_untrained_probe_is_at_control_level(tmp_path: Path):
    """What a latch holds is the sum: after two digits every probe of it is right, of a memoryless net none is."""
    held = Probes().measure(subject(latch((1.0, 1.0)), tmp_path, "length=7"))
    trained = held[held["when"] == "after"]
    of_sum = (
        trained[(trained["fact"] == "sum") & (trained["state"] == "cell_state")].groupby("time_step")["accuracy"].mean()
    )
    assert of_sum.loc[2:].tolist() == [1.0] * 6
    assert of_sum[1] < 0.2
    scores = Probes().summed_up(held.assign(run="latch"))
    assert scores["answer_readable_from"].tolist() == [2, 2]
    assert scores["answer_readable"].tolist() == [1, 1]
    assert (scores["answer_selectivity"] > 0.7).all()
    nothing = Probes().measure(subject(memoryless(2), tmp_path, "length=7"))
    end = nothing[(nothing["when"] == "after") & (nothing["time_step"] == 7)]
    assert (end["accuracy"] - end["control"]).abs().max() < 0.05
    scores = Probes().summed_up(nothing.assign(run="nothing"))
    assert scores["answer_readable_from"].isna().all()
    assert scores["answer_selectivity"].abs().max() < 0.05
    at_first = nothing[(nothing["fact"] == "first digit") & (nothing["time_step"] == 1)]
    assert at_first["accuracy"].tolist() == [1, 1]  # it sees the digit while it is read


def test_an_untrained_network_has_the_sum_after_two_digits_and_is_at_control_level_at_the_end(tmp_path: Path):
    """Both digits are in its state for some steps, and what holds both lets the sum be read: that is no addition."""
    one = subject(classifier(KINDS["LSTM"], [0, 1], classes=19, widths=(32,)), tmp_path, "length=16")
    table = Probes().measure(one)
    untrained = table[(table["when"] == "before") & (table["state"] == "hidden_state")]
    assert untrained["fact"].unique().tolist() == ["sum"]
    assert (untrained.query("time_step == 2")["accuracy"] > 0.8).all()
    end = untrained.query("time_step == 16")
    assert (end["accuracy"] - end["control"]).abs().max() < 0.05
    scores = Probes().summed_up(table.assign(run="a"))
    assert scores["answer_readable_untrained"].tolist() == end["accuracy"].tolist()


def test_a_task_without_facts_says_why(tmp_path: Path):
    class Other:
        task = task_of("adding", tmp_path, "length=4")

    assert Probes().why_not(Other()) == "its task names nothing that a probe could look for"


def test_of_several_states_the_top_layers_hidden_state_is_summed_up():
    """Not that of a cell that reads backwards: its last step is the first that it reads."""
    names = {"layer_1.cell_state": 0.3, "layer_1.hidden_state": 0.4, "layer_2.hidden_state": 0.8,
             "layer_2.backwards.hidden_state": 0.9}  # fmt: skip
    rows = [("a", 5, name, 1, step, end * step / 4, 0.1) for name, end in names.items() for step in (1, 2, 3, 4)]
    rows += [("a", 5, "layer_2.hidden_state", 0, step, 0.99, 0.1) for step in (1, 2)]
    rows = [("after", *row) for row in rows] + [("before", *row[:-2], 0.2, 0.1) for row in rows]
    columns = ["when", "run", "seed", "state", "asked", "time_step", "accuracy", "control"]
    (found,) = Probes().summed_up(pd.DataFrame(rows, columns=columns)).to_dict("records")
    accuracies = {"answer_readable": 0.8, "answer_readable_untrained": 0.2, "answer_readable_best": 0.8}
    rest = {"answer_selectivity": pytest.approx(0.7), "answer_readable_from": 4}
    assert found == {"run": "a", "seed": 5, **accuracies, **rest}


@pytest.mark.usefixtures("chinese")
def test_the_figures_have_a_line_for_each_fact_and_its_control():
    rows = [
        (seed, state, fact, int(fact == "sum"), step, 0.1 * step + 0.01 * seed, 0.05, length)
        for seed in range(3) for state in ("hidden_state", "layer_2.cell_state")
        for fact in ("first digit", "sum") for step in (1, 2, 3, 4) for length in (4, 6)
    ]  # fmt: skip
    columns = ["seed", "state", "fact", "asked", "time_step", "accuracy", "control", "length"]
    table = pd.DataFrame(rows, columns=columns).assign(run="a", label="LSTM", line="LSTM", when="after")
    untrained = table[table["asked"] == 1].assign(when="before", accuracy=table["accuracy"] / 2)
    table = pd.concat([untrained, table])
    with own_style():
        figures = Probes().draw(table, None)
    assert list(figures) == ["probes_hidden_state", "probes_layer_2.cell_state"]
    ax = figures["probes_hidden_state"].axes[1]
    assert [line.get_ydata().tolist() for line in ax.lines] == [
        pytest.approx(own) for own in (*[[0.11, 0.21, 0.31, 0.41], [0.05] * 4] * 2, [0.055, 0.105, 0.155, 0.205])
    ]
    assert [line.get_linestyle() for line in ax.lines] == ["-", ":", "--", ":", "--"]
    assert [line.get_linewidth() for line in ax.lines] == [1.6, 1.6, 1.6, 1.6, 0.8]


def test_rows_that_score_were_not_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "ROWS", 60)
    seen = []
    monkeypatch.setattr(probes, "states_of", lambda model, inputs: seen.append(inputs) or states_of(model, inputs))
    Probes().measure(subject(latch(), tmp_path, "length=4"))
    fitted, scoring = ({tuple(row) for row in half.tolist()} for half in seen[0].split(30))
    assert len(seen[0]) == 60
    assert not fitted & scoring
    assert torch.equal(seen[0], seen[1])  # the same ones before training and after it


def test_the_rows_of_probes_are_as_likely_as_those_of_the_task():
    """A row of a tenth is a tenth of those drawn, in the half that it is in."""
    weights = torch.tensor([0.1, *[0.9 / 999] * 999], dtype=torch.float64)
    chosen, held_out = probes.two_halves(weights, 2000)
    own = [int((chosen[held_out == half] == 0).sum()) for half in (False, True)]
    half = torch.isin(torch.arange(1000), chosen[held_out == (own[1] > 0)])
    assert min(own) == 0
    assert max(own) == pytest.approx(1000 * 0.1 / (0.1 + 0.9 * 500 / 1000), abs=5)
    assert 200 < half.sum() < 500
