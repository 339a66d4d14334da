import pytest
import torch
from helpers import KINDS, random_cell

from memexp.models import recurrence
from memexp.models.cells import Cell

FAST = ("SRN", "ResidualSRN", "LSTM", "GRU reset before", "GRU reset after")  # with a backward pass written by hand


def recurrent_parameters(cell: Cell) -> list[torch.nn.Parameter]:
    """Return what the recurrence uses: U, and the c of a GRU that has one."""
    return [parameter for name, parameter in cell.named_parameters() if name in ("U", "c")]


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("ends", ["outputs", "state", "both"])
@pytest.mark.parametrize(("B", "D"), [(3, 5), (411, 5)])  # the second: B D is MANY, by a little
def test_run_equals_unroll(kind: str, ends: str, B: int, D: int, generator: torch.Generator):
    """The cells stepped one by one are the definition; the fast way has the same outputs and gradients."""
    S, L, M = 2, 7, 4
    cell = random_cell(KINDS[kind], S, M, D, generator)
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
        (sum((a * b).sum() for a, b in zip(chosen, used, strict=False)) / B).backward()
        own = [parameter.grad.clone() for parameter in recurrent_parameters(cell)]
        results.append([outputs, *state, *(leaf.grad for leaf in leaves), *own])
    for slow, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", FAST)
def test_gradients_pass_the_numerical_check(kind: str, generator: torch.Generator):
    S, B, L, D = 2, 5, 4, 3
    cell = random_cell(KINDS[kind], S, 1, D, generator)
    draw = {"generator": generator, "dtype": torch.float64, "requires_grad": True}
    projected = torch.randn(S, len(cell.gates), L, B, D, **draw)
    state = [torch.randn(S, B, D, **draw) for _ in cell.states]

    def run(projected: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs, last = cell.run(projected, rest[: len(state)])  # the rest are the cell's own
        return outputs, *last

    assert torch.autograd.gradcheck(run, (projected, *state, *recurrent_parameters(cell)))


@pytest.mark.parametrize("kind", FAST)
def test_gradients_can_be_asked_for_twice(kind: str, generator: torch.Generator):
    """The backward pass writes over nothing that the forward pass kept."""
    S, B, L, M, D = 2, 3, 6, 4, 5
    cell = random_cell(KINDS[kind], S, M, D, generator)
    inputs = torch.randn(S, B, L, M, generator=generator, dtype=torch.float64)
    outputs, state = cell(inputs)
    loss = outputs.square().sum() + sum(part.sum() for part in state)
    first, second = (torch.autograd.grad(loss, [*cell.parameters()], retain_graph=True) for _ in range(2))
    for once, again in zip(first, second, strict=True):
        assert torch.equal(once, again)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-7), (torch.float64, 4e-16)])
def test_tanh_of_many_is_tanh(dtype: torch.dtype, bound: float):
    z = torch.cat([torch.linspace(-30, 30, 9001, dtype=dtype), torch.tensor([-1e30, 0, 1e-20, 1e30], dtype=dtype)])
    out = torch.full_like(z, torch.nan)
    recurrence._tanh_of_many(torch.tensor(-1.0, dtype=dtype), z, out)
    torch.testing.assert_close(out, z.tanh(), atol=bound, rtol=0)
    assert out[-1] == 1
    assert out[-4] == -1


@pytest.mark.parametrize("kind", FAST)
def test_seeds_do_not_mix(kind: str, generator: torch.Generator):
    """The gradient of one seed's output is zero in every other seed."""
    cell = random_cell(KINDS[kind], 3, 4, 5, generator)
    inputs = torch.randn(3, 2, 6, 4, generator=generator, dtype=torch.float64)
    outputs, _ = cell(inputs)
    outputs[1].sum().backward()
    for parameter in cell.parameters():
        assert not parameter.grad[[0, 2]].any()
        assert parameter.grad[1].any()
