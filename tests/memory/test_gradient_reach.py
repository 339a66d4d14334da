"""Gradient against lag: recurrences whose gradient is known, and how its half-life is read."""

import math
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import KINDS, Command, classifier, config_of
from memory.cells_for_gradients import Leaky, Linear, Memoryless, held

from memexp import experiment
from memexp.memory import command
from memexp.memory.gradient_reach import GradientReach, gradients
from memexp.memory.states import half_life
from memexp.tasks.metrics import CrossEntropy
from memexp.tasks.task import Rows
from memexp.training.credit import row_losses

B, L = 5, 12


@pytest.fixture
def rows(generator: torch.Generator) -> Rows:
    return Rows(torch.randint(10, (B, L), generator=generator), torch.randint(7, (B, 1), generator=generator))


def test_the_half_life_of_a_leaky_unit_is_that_of_its_decay(rows: Rows):
    decays = [0.5, 0.9, 0.99]
    norms = gradients(classifier(partial(Leaky, decays=decays), (0, 1, 2)), CrossEntropy, rows)
    expected = torch.tensor([math.log(0.5) / math.log(decay) for decay in decays], dtype=torch.float64)
    assert norms["hidden_state"].shape == (3, L)
    torch.testing.assert_close(half_life(norms["hidden_state"]), expected, rtol=0.001, atol=0)  # asked: 0.01


def test_a_latch_never_forgets_and_a_memoryless_net_passes_nothing_on(rows: Rows):
    norms = gradients(held([1.0, 0.8]), CrossEntropy, rows)
    assert half_life(norms["cell_state"])[0] == math.inf
    assert half_life(norms["cell_state"])[1] == pytest.approx(math.log(0.5) / math.log(0.8), rel=0.01)
    assert half_life(norms["hidden_state"]).tolist() == [0, 0]  # its gates do not see h
    nothing = gradients(classifier(Memoryless, (0, 1)), CrossEntropy, rows)["hidden_state"]
    assert (nothing[:, 0] > 0).all()
    assert (nothing[:, 1:] == 0).all()
    assert half_life(nothing).tolist() == [0, 0]


def test_the_gradient_of_a_linear_recurrence_is_a_power_of_its_matrix(rows: Rows):
    """dLoss / dh_(T - k) = dLoss / dh_T (U^T)^k."""
    model = classifier(Linear, (4, 9), widths=(6,)).double()
    answers = model(rows.inputs[None])[:, :, 0]
    wrong = answers.softmax(-1) - torch.nn.functional.one_hot(rows.targets[:, 0], 7)
    gradient = wrong @ model.head_weight.transpose(1, 2)  # [S, B, D]
    expected = []
    for _ in range(L):
        expected.append(gradient.norm(dim=-1).quantile(0.5, dim=-1))
        gradient = gradient @ model.cell.U[:, 0].transpose(1, 2)
    found = gradients(model, CrossEntropy, rows)["hidden_state"]
    torch.testing.assert_close(found, torch.stack(expected, -1).detach())


@pytest.mark.parametrize("kind", ["SRN", "LSTM", "GRU reset after", "MinLSTM"])
def test_it_is_what_a_change_of_the_state_does_to_the_loss(kind: str, rows: Rows):
    """Both layers and directions, by differences: of one row, at one step, in the direction of one unit."""
    model = classifier(KINDS[kind], (1, 2), widths=(3, 2), bidirectional=True).double()
    one, step, size = rows.slice(0, 1), 3, 1e-5
    found = gradients(model, CrossEntropy, one)
    prefixes = {direction: prefix for prefix, direction in model.directions}
    assert set(found) == {prefix + state for prefix in prefixes.values() for state in model.cell.states}

    def losses(prefix: str, number: int, unit: int, change: float) -> torch.Tensor:
        def run(direction, projected, state):
            projected = projected.flip(2) if direction.backwards else projected
            outputs = []
            for t, x in enumerate(projected.unbind(2)):
                state, parts = direction.cell.step(x, state)
                if prefixes[direction] == prefix and t == step:
                    state = tuple(part.clone() for part in state)
                    state[number][..., unit] += change
                    if number == 1:  # h_t follows from c_t
                        state = parts["output_gate"] * torch.tanh(state[1]), state[1]
                outputs.append(state[0])
            whole = torch.stack(outputs, 1)
            return (whole.flip(1) if direction.backwards else whole), state

        with torch.no_grad():
            return row_losses(CrossEntropy, model.answer(one.inputs[None], run=run)[0], one.with_seed_axis())[:, 0]

    for prefix, direction in model.directions:
        for number, state in enumerate(direction.cell.states):
            slopes = [
                (losses(prefix, number, unit, size) - losses(prefix, number, unit, -size)) / (2 * size)
                for unit in range(direction.cell.hidden_size)
            ]
            expected = torch.stack(slopes).norm(dim=0)
            torch.testing.assert_close(found[prefix + state][:, L - 1 - step], expected, rtol=1e-4, atol=1e-9)


def test_of_many_answers_the_last_one_counts(generator: torch.Generator):
    """Else a state's own answer would drown what comes back from later ones."""
    model = classifier(partial(Leaky, decays=[0.5, 0.25]), (0, 1), every_step=True)
    inputs, targets = (torch.randint(n, (B, L), generator=generator) for n in (10, 7))
    whole = gradients(model, CrossEntropy, Rows(inputs, targets))["hidden_state"]
    torch.testing.assert_close(half_life(whole), torch.tensor([1.0, 0.5]).double())
    weights = torch.zeros(B, L, dtype=torch.float64)
    weights[:, :-1] = 1
    assert (gradients(model, CrossEntropy, Rows(inputs, targets, weights))["hidden_state"] == 0).all()


def test_the_gradient_leaves_the_model_as_it_was(rows: Rows):
    model = classifier(KINDS["LSTM"], (0,)).requires_grad_(False)
    gradients(model, CrossEntropy, rows)
    assert all(p.grad is None and p.dtype == torch.float32 and not p.requires_grad for p in model.parameters())


def test_a_seed_is_summed_up_by_its_longest_half_life_and_its_reach():
    def of(state: str, when: str, norms: list[float]) -> pd.DataFrame:
        lags = range(len(norms))
        return pd.DataFrame({"run": "a", "seed": 3, "when": when, "state": state, "lag": lags, "norm": norms})

    table = pd.concat(
        [
            of("layer_1.hidden_state", "before", [1, 0.5, 0.25]),
            of("layer_1.cell_state", "before", [1, 0.1, 0.01]),
            of("layer_2.hidden_state", "before", [1, 0.25, 0.0625]),
            of("layer_2.cell_state", "before", [1, 0.01, 0.0001]),
            of("layer_1.hidden_state", "after", [1, 2, 4]),
            of("layer_1.cell_state", "after", [1, 10, 1000]),
        ]
    )
    (row,) = GradientReach().summed_up(table.sample(frac=1, random_state=0)).to_dict("records")
    assert row == pytest.approx(
        {
            "run": "a",
            "seed": 3,
            "h_half_life_before": 1,
            "c_half_life_before": math.log10(2),
            "reach_before": -2,
            "h_half_life_after": 1000,
            "c_half_life_after": 1000,
            "reach_after": 3,
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of short runs of LSTM and SRN, with their last weights."""
    folder = tmp_path_factory.mktemp("trained")
    for model, length in (("lstm", 4), ("lstm", 5), ("srn", 5)):
        given = [f"model={model}", f"length={length}", "epochs=2", "seeds=2", "model.hidden_size=5"]
        config = config_of(*given, f"datasets_dir={folder}/datasets")
        experiment.run(config, folder / "outputs" / "tiny" / f"length={length},model={model}")
    return folder


def test_the_command_measures_gradients_jacobians_and_retention(
    trained: Path, tmp_path: Path, in_process: Command, chinese: None
):
    """In Chinese: every text has an entry."""
    said = in_process(
        command.main, "study=tiny", f"outputs_dir={trained}/outputs", f"datasets_dir={trained}/datasets", "lang=zh",
        f"images_dir={tmp_path}", "measures=gradient_reach,state_jacobian,retention",
    )  # fmt: skip
    folder = tmp_path / "tiny" / "memory"
    assert "retention: not measured (1 of 3 runs): no gate of its SRN keeps the state (it has hidden_state)" in said
    found = {path.stem for path in folder.glob("*.png")}
    assert found == {
        "gradient_reach", "gradient_reach_half_life", "state_jacobian", "state_jacobian_exponent",
        "retention", "retention_to_the_end", "memory_agreement",
    }  # fmt: skip
    table = pd.read_csv(folder / "gradient_reach.csv")
    sizes = table.groupby(["run", "when", "state"]).size()
    assert set(table["when"]) == {"before", "after", "last"}
    assert sizes["length=4,model=lstm", "last", "cell_state"] == 2 * 4
    assert sizes["length=5,model=srn", "before", "hidden_state"] == 2 * 5
    assert "cell_state" not in sizes["length=5,model=srn", "before"]
    retention = pd.read_csv(folder / "retention.csv")
    kinds = ["first digit", "second digit", "zero", "distractor", "from the last needed token to the end"]
    assert list(dict.fromkeys(retention["kind"])) == kinds
    assert (retention.groupby(["run", "seed", "when"]).size() == 5 * 5).all()
    seeds = pd.read_csv(folder / "memory_seeds.csv")
    scores = [
        f"{what}_{when}" for what in ("reach", "jacobian", "lyapunov", "sensitivity") for when in ("before", "after")
    ]
    assert seeds[scores].notna().all(axis=None)
    assert list(seeds["c_half_life_before"].notna()) == list(seeds["model.name"] == "lstm")
    assert list(seeds["retained_after"].notna()) == list(seeds["model.name"] == "lstm")
