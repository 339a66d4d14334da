import math
from functools import partial

import pytest
import torch
from helpers import KINDS, TORCH_KINDS, MakeCell, assert_same, by_hand, random_cell, torchs_layer
from torch import Tensor

from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, SRN, Cell, MinGRU, MinLSTM, ResidualSRN, State

W = [[0.1, 0.2], [0.1, 0.2]]
U = [[0.0, 0.1], [0.1, 0.0]]
B = [0.1, 0.1]


def numbers(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def book_cell(kind: str) -> Cell:
    """The example weights of the book (6.1.2, 6.3.1), the same for every gate."""
    cell = KINDS[kind](1, 2, 2).double()
    with torch.no_grad():
        cell.W[:], cell.U[:], cell.b[:] = numbers(*W), numbers(*U), numbers(*B)
    return cell


def random_run(
    kind: MakeCell, shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Cell, Tensor, State, list[Tensor]]:
    """A random cell of S seeds, inputs [S, B, L, M], a state to start from, and all that a gradient may be taken at."""
    S, batch, L, M, D = shape
    cell = random_cell(kind, S, M, D, generator)
    draw = {"generator": generator, "dtype": torch.float64, "requires_grad": True}
    inputs, state = torch.randn(S, batch, L, M, **draw), tuple(torch.randn(S, batch, D, **draw) for _ in cell.states)
    return cell, inputs, state, [inputs, *state, *cell.parameters()]


# --- examples done by hand ---


def test_srn_matches_the_books_example():
    outputs, (h,) = book_cell("SRN")(numbers([[[1, 0], [0, 2]]]))
    a, b = math.tanh(0.1 + 0.1), math.tanh(0.2 + 0.1)
    c, d = math.tanh(0.2 + 0.1 * b + 0.1), math.tanh(0.4 + 0.1 * a + 0.1)
    torch.testing.assert_close(outputs, numbers([[[a, b], [c, d]]]), atol=1e-15, rtol=0)
    assert torch.equal(h[0, 0], outputs[0, 0, 1])


def test_lstm_matches_the_books_example():
    outputs, (h, c) = book_cell("LSTM")(numbers([[[1, 0]]]))
    gate = [1 / (1 + math.exp(-z)) for z in (0.2, 0.3)]
    cell = [g * math.tanh(z) for g, z in zip(gate, (0.2, 0.3), strict=True)]
    hidden = [g * math.tanh(z) for g, z in zip(gate, cell, strict=True)]
    torch.testing.assert_close(c[0, 0], numbers(*cell), atol=1e-15, rtol=0)
    torch.testing.assert_close(h[0, 0], numbers(*hidden), atol=1e-15, rtol=0)
    assert torch.equal(outputs[0, 0, 0], h[0, 0])


def odds(share: float) -> float:
    """What a sigmoid turns into this share."""
    return math.log(share / (1 - share))


HALF = math.atanh(0.5)
GATES = {"input_gate": odds(0.2), "forget_gate": odds(0.75), "output_gate": odds(0.6), "candidate": HALF}
PEEP = {"P": [[odds(0.2) / 0.8], [odds(0.75) / 0.8], [odds(0.6) / 0.7]]}  # I and F see c = 0.8, O the new 0.7


@pytest.mark.parametrize(
    ("kind", "biases", "more", "expected"),
    [
        ("SRN", {"hidden_state": HALF}, {}, [0.5]),
        ("ResidualSRN", {"candidate": HALF}, {}, [0.8 + 0.5]),
        ("MinGRU", {"update_gate": odds(0.25), "candidate": 2.0}, {}, [0.75 * 0.8 + 0.25 * 2]),
        (
            "MinLSTM",
            {"input_gate": odds(0.2), "forget_gate": odds(0.6), "candidate": 2.0},
            {},
            [(0.6 * 0.8 + 0.2 * 2) / 0.8],
        ),
        ("LSTM", GATES, {}, [0.6 * math.tanh(0.7), 0.75 * 0.8 + 0.2 * 0.5]),
        ("LSTM no_input_gate", GATES, {}, [0.6 * math.tanh(1.1), 0.75 * 0.8 + 0.5]),
        ("LSTM no_forget_gate", GATES, {}, [0.6 * math.tanh(0.9), 0.8 + 0.2 * 0.5]),
        ("LSTM no_output_gate", GATES, {}, [math.tanh(0.7), 0.7]),
        ("LSTM coupled", GATES, {}, [0.6 * math.tanh(0.725), 0.75 * 0.8 + 0.25 * 0.5]),
        ("LSTM peephole", {"candidate": HALF}, PEEP, [0.6 * math.tanh(0.7), 0.7]),
    ],
)
def test_one_step_of_known_gates(
    kind: str, biases: dict[str, float], more: dict[str, list[list[float]]], expected: list[float]
):
    """One unit that holds 0.8; weights are 0 and biases such that every gate is a round number."""
    cell = KINDS[kind](1, 1, 1).double()
    with torch.no_grad():
        for place, gate in enumerate(cell.gates):
            cell.b[0, place] = biases.get(gate, 0.0)
        for name, values in more.items():
            cell.get_parameter(name)[0] = numbers(*values)
    for context in (torch.enable_grad, torch.no_grad):
        with context():
            _, last = cell(numbers([[[3.0]]]), (numbers([[0.8]]),) * len(cell.states))
        assert [part.item() for part in last] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("reset_after", "c", "seen"),
    [
        (False, None, [0.25 * 0.4, 0.75 * 0.8]),  # (R h) U_H: the gates of the units that are read
        (True, [0.0, 0.0], [0.75 * 0.4, 0.25 * 0.8]),  # R (h U_H): those of the units that read
        (True, [0.2, 0.4], [0.75 * (0.4 + 0.2), 0.25 * (0.8 + 0.4)]),
    ],
)
def test_where_the_reset_gate_acts(reset_after: bool, c: list[float] | None, seen: list[float]):
    """Two units read each other: h = [0.8, 0.4], U_H swaps them, R = [0.75, 0.25], Z = [0.5, 0.9]."""
    cell = GRU(1, 1, 2, reset_after=reset_after).double()
    with torch.no_grad():
        cell.b[0, :2] = numbers([odds(0.75), odds(0.25)], [odds(0.5), odds(0.9)])
        cell.U[0, 2] = numbers([0, 1], [1, 0])
        if c is not None:
            cell.c[0, 0] = numbers(*c)
    one, other = map(math.tanh, seen)
    expected = numbers(0.5 * 0.8 + 0.5 * one, 0.9 * 0.4 + 0.1 * other)
    for context in (torch.enable_grad, torch.no_grad):
        with context():
            _, (h,) = cell(numbers([[[3.0]]]), (numbers([[0.8, 0.4]]),))
        torch.testing.assert_close(h[0, 0], expected, atol=1e-15, rtol=0)


# --- whole sequences ---


@pytest.mark.parametrize("kind", TORCH_KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 3, 5, 4, 6), (3, 2, 17, 7, 1), (2, 5, 1, 3, 4)])
def test_cell_equals_torchs_layer(kind: str, shape: tuple[int, ...], generator: torch.Generator):
    """Outputs, final states and all gradients, with a random initial state, in float64."""
    cell, inputs, state, leaves = random_run(KINDS[kind], shape, generator)
    theirs: list[list[Tensor]] = []
    for k in range(shape[0]):
        own = [part[k, None] for part in state]  # torch has an axis of layers
        outputs, last = torchs_layer([[cell]], k)(inputs[k], tuple(own) if len(own) > 1 else own[0])
        theirs.append([outputs, *(part[0] for part in (last if len(own) > 1 else [last]))])
    outputs, last = cell(inputs, state)
    assert_same([outputs, *last], [torch.stack(results) for results in zip(*theirs, strict=True)], leaves, generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 4, 6), (3, 2, 1, 5, 4), (1, 4, 11, 1, 1)])
def test_cell_equals_its_equation(kind: str, shape: tuple[int, ...], generator: torch.Generator):
    """Outputs, final states and all gradients; with and without gradients, which are two ways through the code."""
    cell, inputs, state, leaves = random_run(KINDS[kind], shape, generator)
    steps = [by_hand(cell, inputs[k], k, [part[k] for part in state]) for k in range(shape[0])]
    hand = {name: torch.stack([own[name] for own in steps]) for name in ("hidden_state", *cell.states)}
    theirs = [hand["hidden_state"], *(hand[name][:, :, -1] for name in cell.states)]
    outputs, last = cell(inputs, state)
    assert_same([outputs, *last], theirs, leaves, generator)
    with torch.no_grad():
        outputs, last = cell(inputs, state)
    for own, their in zip([outputs, *last], theirs, strict=True):
        torch.testing.assert_close(own, their, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_starts_from_zero_if_no_state_is_given(kind: str, generator: torch.Generator):
    cell, inputs, state, _ = random_run(KINDS[kind], (2, 3, 5, 4, 6), generator)
    given, _ = cell(inputs, tuple(torch.zeros_like(part) for part in state))
    assert torch.equal(cell(inputs)[0], given)


@pytest.mark.parametrize("kind", [MinGRU, MinLSTM])
@pytest.mark.parametrize("L", [1, 2, 7, 8, 33])
def test_the_parallel_form_equals_the_steps(kind: type[Cell], L: int, generator: torch.Generator):
    cell = random_cell(kind, 2, 4, 5, generator)
    draw = {"generator": generator, "dtype": torch.float64, "requires_grad": True}
    projected, h0 = torch.randn(2, len(cell.gates), L, 3, 5, **draw), torch.randn(2, 3, 5, **draw)
    ways = [(outputs, *last) for outputs, last in (cell.run(projected, (h0,)), cell.unroll(projected, (h0,)))]
    assert_same(*ways, [projected, h0], generator, atol=1e-12)


def test_minlstm_with_both_gates_shut_shares_what_there_is():
    """What its gates see may be so small that both are 0 in float32: F + I must not divide by 0."""
    cell = MinLSTM(1, 1, 1)
    with torch.no_grad():
        cell.b[0, :2] = -200.0
        cell.b[0, 2] = 2.0
    outputs, _ = cell(torch.zeros(1, 1, 1, 1), (torch.tensor([[[1.0]]]),))
    assert outputs.item() == 0.5 * 1 + 0.5 * 2
    outputs.sum().backward()
    assert cell.b.grad.flatten().tolist() == [0.25, -0.25, 0.5]  # of both gates' odds and of the candidate


# --- variants of the LSTM ---


@pytest.mark.parametrize("variant", ["no_input_gate", "no_forget_gate", "no_output_gate", "coupled", "peephole"])
def test_a_variant_is_an_lstm_of_known_weights(variant: str, generator: torch.Generator):
    """A gate left out is one with weights 0 and bias 40; coupled: W_I = -W_F, ...; peephole: P = 0 is the LSTM."""
    shape = (2, 3, 5, 4, 6)
    own, inputs, state, _ = random_run(partial(LSTM, variant=variant), shape, generator)
    full = random_cell(KINDS["LSTM"], 2, 4, 6, generator)
    with torch.no_grad():
        if variant == "peephole":
            own.P.zero_()
        for place, gate in enumerate(full.gates):
            for name in ("W", "U", "b"):
                target = full.get_parameter(name)[:, place]
                if gate in own.gates:
                    target[:] = own.get_parameter(name)[:, own.gates.index(gate)]
                elif variant == "coupled":
                    target[:] = -own.get_parameter(name)[:, own.gates.index("forget_gate")]
                else:
                    target[:] = 40 if name == "b" else 0
    shared = [inputs, *state]
    results = [(outputs, *last) for outputs, last in (own(inputs, state), full(inputs, state))]
    assert_same(*results, shared, generator, atol=1e-12)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigError, match="model.variant=gru: .* it has none, no_input_gate, .*, coupled, peephole"):
        LSTM(1, 2, 3, variant="gru")


def test_cells_are_told_apart_by_their_titles():
    titles = [kind.title for kind in (SRN, ResidualSRN, GRU, LSTM, MinGRU, MinLSTM)]
    assert titles == ["SRN", "residual SRN", "GRU", "LSTM", "minGRU", "minLSTM"]


# --- one step ---

PARTS = {
    "SRN": "hidden_state",
    "ResidualSRN": "candidate hidden_state",
    "GRU reset before": "reset_gate update_gate candidate hidden_state",
    "GRU reset after": "reset_gate update_gate candidate hidden_state",
    "LSTM": "input_gate forget_gate output_gate candidate cell_state hidden_state",
    "LSTM no_input_gate": "forget_gate output_gate candidate cell_state hidden_state",
    "LSTM no_forget_gate": "input_gate output_gate candidate cell_state hidden_state",
    "LSTM no_output_gate": "input_gate forget_gate candidate cell_state hidden_state",
    "LSTM coupled": "input_gate forget_gate output_gate candidate cell_state hidden_state",
    "LSTM peephole": "input_gate forget_gate output_gate candidate cell_state hidden_state",
    "MinGRU": "update_gate candidate hidden_state",
    "MinLSTM": "input_gate forget_gate candidate hidden_state",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_computes_from_nothing(kind: str):
    """Weights of 0: every gate is half open, and nothing is in the cell."""
    cell = KINDS[kind](2, 3, 4)
    state, parts = cell.step(torch.zeros(2, len(cell.gates), 5, 4), cell.initial_state(5))
    assert [(name, part.unique().tolist()) for name, part in parts.items()] == [
        (name, [0.5 if name.endswith("_gate") else 0.0]) for name in PARTS[kind].split()
    ]
    assert all(part.shape == (2, 5, 4) for part in (*state, *parts.values()))


def test_a_residual_connection_keeps_what_came_before():
    """Weights of 0: an SRN forgets at once, its residual sister never."""
    state = (torch.full((1, 2, 3), 0.7),)
    x = torch.zeros(1, 1, 2, 3)
    assert not SRN(1, 1, 3).step(x, state)[0][0].any()
    assert torch.equal(ResidualSRN(1, 1, 3).step(x, state)[0][0], state[0])
