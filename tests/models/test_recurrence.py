from collections.abc import Callable
from functools import partial

import pytest
import torch
from conftest import random_cell

from memexp.models.cells import GRU, LSTM, SRN, Cell, ResidualSRN

KINDS = [
    SRN,
    ResidualSRN,
    LSTM,
    pytest.param(partial(GRU, reset_after=False), id="GRU-reset-before"),
    pytest.param(partial(GRU, reset_after=True), id="GRU-reset-after"),
]


def recurrent_parameters(cell: Cell) -> list[torch.nn.Parameter]:
    """Return what the recurrence uses: U, and the c of a GRU that has one."""
    return [parameter for name, parameter in cell.named_parameters() if name in ("U", "c")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", ["outputs", "state", "both"])
def test_run_equals_unroll(kind: Callable[..., Cell], ends: str, generator: torch.Generator):
    """The cells stepped one by one are the definition; the fast way has the same outputs and gradients."""
    S, B, L, M, D = 2, 3, 7, 4, 5
    cell = random_cell(kind, S, M, D, generator)
    draw = {"generator": generator, "dtype": torch.float64}
    start = [
        torch.randn(S, len(cell.gates), L, B, D, **draw),
        *(torch.randn(S, B, D, **draw) for _ in cell.states),
    ]
    weights = [torch.randn(S, L, B, D, **draw), *(torch.randn(S, B, D, **draw) for _ in cell.states)]
    results = []
    for way in (cell.unroll, cell.run):
        cell.zero_grad()
        leaves = [leaf.clone().requires_grad_() for leaf in start]
        outputs, state = way(leaves[0], tuple(leaves[1:]))
        chosen = {"outputs": [outputs], "state": [*state], "both": [outputs, *state]}[ends]
        used = weights[1:] if ends == "state" else weights
        sum((a * b).sum() for a, b in zip(chosen, used, strict=False)).backward()
        own = [parameter.grad.clone() for parameter in recurrent_parameters(cell)]
        results.append([outputs, *state, *(leaf.grad for leaf in leaves), *own])
    for slow, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_the_numerical_check(kind: Callable[..., Cell], generator: torch.Generator):
    cell = random_cell(kind, 2, 1, 3, generator)
    projected = torch.randn(2, len(cell.gates), 4, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    state = [torch.randn(2, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in cell.states]

    def run(projected: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs, last = cell.run(projected, rest[: len(state)])  # the rest are the cell's own
        return outputs, *last

    assert torch.autograd.gradcheck(run, (projected, *state, *recurrent_parameters(cell)))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_do_not_mix(kind: Callable[..., Cell], generator: torch.Generator):
    """The gradient of one seed's output is zero in every other seed."""
    cell = random_cell(kind, 3, 4, 5, generator)
    inputs = torch.randn(3, 2, 6, 4, generator=generator, dtype=torch.float64)
    outputs, _ = cell(inputs)
    outputs[1].sum().backward()
    for parameter in cell.parameters():
        assert not parameter.grad[[0, 2]].any()
        assert parameter.grad[1].any()
