"""State Jacobian: linear recurrences in closed form, every cell by torch's own Jacobians."""

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier
from memory.cells_for_gradients import Leaky, Linear, Memoryless, held

from memexp.memory.state_jacobian import StateJacobian, jacobians, leading_exponent, sensitivity, spectral_norms
from memexp.memory.states import in_float64
from memexp.models.networks import SequenceModel

B, L = 3, 7


@pytest.fixture
def inputs(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(10, (1, B, L), generator=generator)


def linear(eigenvalues: list[list[float]], generator: torch.Generator) -> SequenceModel:
    """Build a linear recurrence whose matrix has these eigenvalues, for each seed, and is not normal."""
    D = len(eigenvalues[0])
    model = in_float64(classifier(Linear, range(len(eigenvalues)), widths=(D,)))
    base = torch.eye(D, dtype=torch.float64) + 0.3 * torch.rand(D, D, generator=generator, dtype=torch.float64)
    for k, own in enumerate(eigenvalues):
        model.cell.U.data[k, 0] = base @ torch.diag(torch.tensor(own, dtype=torch.float64)) @ base.inverse()
    return model


def test_the_jacobian_of_a_linear_recurrence_is_a_power_of_its_matrix(inputs: torch.Tensor, generator: torch.Generator):
    model = linear([[0.9, -0.5, 0.2, 0.1], [1.2, 0.3, 0.3, -1.1]], generator)
    U = model.cell.U[:, 0].detach()
    found = spectral_norms(model, inputs)
    assert found.shape == (2, L)
    for lag in range(L):
        expected = torch.linalg.matrix_norm(torch.linalg.matrix_power(U, lag), 2).log10()
        torch.testing.assert_close(found[:, lag], expected, rtol=0, atol=1e-4)


def test_its_exponent_is_the_logarithm_of_the_largest_eigenvalue(generator: torch.Generator):
    """And that of a latch is 0, of a leaky unit ln a, of what has no memory -inf."""
    long = torch.randint(10, (1, B, 200), generator=generator)
    model = linear([[0.9, -0.5, 0.2, 0.1], [1.2, 0.3, 0.3, -1.0], [1e-4, 1e-5, 0, 0]], generator)
    expected = torch.tensor([0.9, 1.2, 1e-4], dtype=torch.float64).log()
    torch.testing.assert_close(leading_exponent(model, long), expected, rtol=0, atol=1e-4)
    decays = [0.5, 0.99]
    leaky = in_float64(classifier(partial(Leaky, decays=decays), (0, 1)))
    torch.testing.assert_close(leading_exponent(leaky, long), torch.tensor(decays).double().log(), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        leading_exponent(in_float64(held([1.0, 0.8])), long),
        torch.tensor([0, math.log(0.8)], dtype=torch.float64),
        rtol=0,
        atol=1e-6,
    )
    assert leading_exponent(in_float64(classifier(Memoryless, (0, 1))), long).tolist() == [-math.inf] * 2


def test_nothing_is_left_of_a_state_that_is_not_kept(inputs: torch.Tensor):
    found = spectral_norms(in_float64(classifier(Memoryless, (0, 1))), inputs)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:] == -math.inf).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_in_two_layers_has_the_jacobian_that_torch_finds(kind: str, inputs: torch.Tensor):
    """States of both layers joined; of one row and one seed at a time."""
    model = in_float64(classifier(KINDS[kind], (5, 6), widths=(3, 4)))
    cells = [direction.cell for _, direction in model.directions]
    sizes = [cell.hidden_size for cell in cells for _ in cell.states]
    N = model.state_size
    assert sum(sizes) == N

    def joined(states) -> torch.Tensor:
        return torch.cat([part for state in states for part in state], -1)

    def split(flat: torch.Tensor):
        parts = iter(flat.split(sizes, -1))
        return [tuple(next(parts) for _ in cell.states) for cell in cells]

    steps = list(jacobians(model, inputs))
    assert len(steps) == L - 1
    found = spectral_norms(model, inputs)
    for lag in (1, 4):
        t = L - lag
        before = joined(model.answer(inputs[:, :, :t])[1]).detach()

        def after(flat: torch.Tensor, t: int = t) -> torch.Tensor:
            return joined(model.answer(inputs[:, :, t:], split(flat))[1])

        whole = torch.autograd.functional.jacobian(after, before)  # [S, B, N, S, B, N]
        own = torch.stack([torch.stack([whole[k, row, :, k, row] for row in range(B)]) for k in range(2)])
        if lag == 1:
            torch.testing.assert_close(steps[0], own)
        expected = torch.linalg.matrix_norm(own, 2).log10().mean(1)
        torch.testing.assert_close(found[:, lag], expected, rtol=0, atol=0.02)  # log10: the power iteration's 5 %


def test_the_sensitivity_of_a_linear_recurrence_is_that_of_its_sums(inputs: torch.Tensor):
    """y = v h_T, h_T = sum of a^k (x_(T-k) w + b): d y / d a = v sum of a^k h_(T-1-k), and so on; one output."""
    model = in_float64(classifier(Linear, (2, 3), classes=1, widths=(1,), embedding_size=0))
    cell, expected = model.cell, []
    for k in range(2):
        a, w, b, v = cell.U[k, 0, 0, 0], cell.W[k, 0, :, 0], cell.b[k, 0, 0], model.head_weight[k, 0, 0]
        squares = []
        for row in inputs[0]:
            h, d_a, d_w, d_b = torch.zeros(()), torch.zeros(()), torch.zeros(10), torch.zeros(())
            for digit in row:
                one_hot = torch.nn.functional.one_hot(digit, 10)
                d_a, d_w, d_b = h + a * d_a, one_hot + a * d_w, 1 + a * d_b
                h = a * h + w[digit] + b
            squares.append(v**2 * (d_a**2 + d_w.square().sum() + d_b**2))
        expected.append(torch.stack(squares).mean().sqrt())
    torch.testing.assert_close(sensitivity(in_float64(model), inputs), torch.stack(expected).detach())


def test_sensitivity_grows_with_the_time_constant_as_zucchet_and_orvieto_say(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
):
    """White input of mean 0 and a scalar a: E (d h / d a)^2 = (1 + a^2) / (1 - a^2)^3 for a long sequence."""
    a = torch.tensor([0.5, 0.8, 0.9], dtype=torch.float64)
    model = in_float64(classifier(Linear, (0, 1, 2), symbols=1, classes=1, widths=(1,), embedding_size=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cell.U[:, 0, 0, 0] = a
        model.cell.W[:], model.head_weight[:] = 1, 1
    white = torch.randn(1, 4000, 100, 1, generator=generator, dtype=torch.float64)
    monkeypatch.setattr(SequenceModel, "watched", property(lambda self: {"U": self.cell.U}))
    found = sensitivity(model, white)
    torch.testing.assert_close(found**2, (1 + a**2) / (1 - a**2) ** 3, rtol=0.1, atol=0)


def test_with_many_outputs_random_directions_find_the_norm_of_them_all(inputs: torch.Tensor):
    model = in_float64(classifier(KINDS["GRU reset before"], (4,), widths=(5,)))
    squares = []
    for row in range(B):
        answers = model(inputs[:, row : row + 1])[0, 0, 0]
        of_row = [torch.autograd.grad(y, [*model.watched.values()], retain_graph=True) for y in answers]
        squares.append(sum(float(g.square().sum()) for own in of_row for g in own))
    expected = math.sqrt(sum(squares) / B)
    assert float(sensitivity(in_float64(model), inputs)) == pytest.approx(expected, rel=0.25)


def test_a_network_that_reads_both_ways_has_no_such_thing():
    subject = SimpleNamespace(after=classifier(KINDS["SRN"], (0,), bidirectional=True))
    assert StateJacobian().why_not(subject) == "it reads in both directions, so its states have no order in time"
    subject.after = classifier(KINDS["SRN"], (0,), widths=(3, 2))
    assert StateJacobian().why_not(subject) is None


def test_a_seed_is_summed_up_by_the_largest_lag(tmp_path: Path):
    rows = [("before", "jacobian", 0, 0.0), ("before", "jacobian", 2, -4.5), ("before", "jacobian", 1, -1.0)]
    rows += [("before", "lyapunov", math.nan, -0.5), ("before", "sensitivity", math.nan, 7.0)]
    rows += [("last", "jacobian", 2, 1.0), ("after", "jacobian", 0, 0.0), ("after", "jacobian", 2, 0.25)]
    table = pd.DataFrame(rows, columns=["when", "what", "lag", "value"]).assign(run="a", seed=3)
    (row,) = StateJacobian().summed_up(table).to_dict("records")
    assert row == pytest.approx(
        {
            "run": "a", "seed": 3, "jacobian_before": -4.5, "jacobian_after": 0.25, "lyapunov_before": -0.5,
            "lyapunov_after": math.nan, "sensitivity_before": 7.0, "sensitivity_after": math.nan,
        },
        nan_ok=True,
    )  # fmt: skip
