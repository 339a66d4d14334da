import math
from functools import partial

import pytest
import torch
from helpers import KINDS, TORCH_KINDS, TRUNCATED, MakeCell, assert_same, by_hand, classifier, random_cell, torchs_layer
from torch import Tensor

from memexp.errors import ConfigError
from memexp.models.cells import (
    GRU,
    IRNN,
    LSTM,
    LSTM1997,
    SLSTM,
    SRN,
    Cell,
    Diagonal,
    IndRNN,
    MinGRU,
    MinLSTM,
    ResidualSRN,
    State,
)
from memexp.models.networks import SequenceModel

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
        ("IRNN", {"hidden_state": 0.3}, {}, [0.3]),
        ("IRNN", {"hidden_state": -0.3}, {}, [0.0]),
        ("IndRNN", {"hidden_state": -0.3}, {"u": [[0.5]]}, [0.5 * 0.8 - 0.3]),
        ("IndRNN", {"hidden_state": -0.5}, {"u": [[0.5]]}, [0.0]),
        ("Diagonal", {"forget_gate": odds(0.25), "candidate": 2.0}, {}, [0.25 * 0.8 + 2]),
        ("Diagonal signed", {"forget_gate": odds(0.25), "candidate": 2.0}, {}, [-0.5 * 0.8 + 2]),
        (
            "LSTM1997",
            {"input_gate": odds(0.2), "output_gate": odds(0.6), "candidate": odds(0.75)},
            {},
            [0.6 * math.tanh((0.8 + 0.2 * 1) / 2), 0.8 + 0.2 * 1],
        ),
        (
            "SLSTM",  # i = 2, f = 0.75, n = e^0.8: c = (0.75 e^0.8 0.8 + 2 * 0.5) / (0.75 e^0.8 + 2)
            {"input_gate": math.log(2), "forget_gate": odds(0.75), "output_gate": odds(0.6), "candidate": HALF},
            {},
            [
                0.6 * (0.75 * math.exp(0.8) * 0.8 + 1) / (0.75 * math.exp(0.8) + 2),
                math.log(0.75 * math.exp(0.8) + 2),
                (0.75 * math.exp(0.8) * 0.8 + 1) / (0.75 * math.exp(0.8) + 2),
            ],
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


@pytest.mark.parametrize("kind", [*TORCH_KINDS, "IRNN"])
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


@pytest.mark.parametrize("kind", [*KINDS, *TRUNCATED])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4, 6), (3, 2, 1, 5, 4), (1, 4, 11, 1, 1)])
def test_cell_equals_its_equation(kind: str, shape: tuple[int, ...], generator: torch.Generator):
    """Outputs, final states and all gradients; with and without gradients, which are two ways through the code."""
    cell, inputs, state, leaves = random_run({**KINDS, **TRUNCATED}[kind], shape, generator)
    if kind in TRUNCATED:  # what gates see of h is told nothing
        leaves = [leaf for leaf in leaves if leaf is not state[0]]
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
    nothing = [torch.zeros_like(part) for part in state]
    if kind == "SLSTM":
        nothing[1] -= 1e4  # ln 0, as near as need be
    given, _ = cell(inputs, tuple(nothing))
    assert torch.equal(cell(inputs)[0], given)


@pytest.mark.parametrize("kind", ["MinGRU", "MinLSTM", "Diagonal", "Diagonal signed"])
@pytest.mark.parametrize("L", [1, 2, 7, 8, 33])
def test_the_parallel_form_equals_the_steps(kind: str, L: int, generator: torch.Generator):
    cell = random_cell(KINDS[kind], 2, 4, 5, generator)
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
    kinds = (SRN, ResidualSRN, GRU, LSTM, MinGRU, MinLSTM, IRNN, IndRNN, LSTM1997, SLSTM, Diagonal)
    assert [kind.title for kind in kinds] == [
        "SRN", "residual SRN", "GRU", "LSTM", "minGRU", "minLSTM", "IRNN", "IndRNN", "LSTM of 1997", "sLSTM",
        "diagonal",
    ]  # fmt: skip


# --- what a cell was published for ---


def test_an_irnn_adds_numbers_up_as_it_begins():
    """U = I, b = 0: a unit that is written to by positive numbers is their sum, whatever the length."""
    cell = classifier(IRNN, [3], symbols=2, embedding_size=0, widths=(5,), initialiser="identity").cell.double()
    assert torch.equal(cell.U[0, 0], torch.eye(5, dtype=torch.float64))
    assert not cell.b.any()
    assert 0 < cell.W.abs().max() < 0.005
    with torch.no_grad():
        cell.W[0, 0] = numbers([0, 1, 0, 0, 0], [0, -1, 2, 0, 0])
        inputs = torch.rand(1, 1, 40, 2, dtype=torch.float64)
        inputs[..., 1] = 0
        outputs, _ = cell(inputs)
    torch.testing.assert_close(outputs[0, 0, :, 1], inputs[0, 0, :, 0].cumsum(0), atol=1e-12, rtol=0)
    assert not outputs[..., [0, 2, 3, 4]].any()


def test_units_of_an_indrnn_see_themselves_alone(generator: torch.Generator):
    """Another seed begins with other weights from 0 to 1, which no group changes; a unit changes no other."""
    group, alone = (classifier(IndRNN, seeds, widths=(50,)).cell.u.detach() for seeds in ([4, 9, 2], [9]))
    assert torch.equal(group[1], alone[0])
    assert not torch.equal(group[0], group[1])
    assert 0 <= float(group.min()) < 0.1
    assert 0.9 < float(group.max()) < 1
    cell, inputs, state, _ = random_run(IndRNN, (1, 2, 6, 3, 4), generator)
    outputs, _ = cell(inputs, state)
    other = state[0].detach().clone()
    other[..., 2] += 1
    differs = (cell(inputs, (other,))[0] != outputs).flatten(0, 2).any(0)
    assert not differs[[0, 1, 3]].any()


@pytest.mark.parametrize("kind", [IRNN, IndRNN])
def test_the_slope_of_a_rectified_unit_at_0_is_0(kind: type[Cell]):
    cell = kind(1, 1, 1).double()
    outputs, _ = cell(numbers([[[0.0]]]))
    outputs.sum().backward()
    assert cell.b.grad.item() == 0


@pytest.mark.parametrize("length", [1, 7, 60])
def test_truncation_changes_the_gradient_alone(length: int, generator: torch.Generator):
    """With U = 0 there is nothing to truncate; else outputs are the same, and each U is told of the cell's way only."""
    whole, inputs, state, _ = random_run(KINDS["LSTM1997"], (2, 3, length, 4, 5), generator)
    cut = TRUNCATED["LSTM1997 truncated"](2, 4, 5).double()
    for recurrent in (whole.U.detach().clone(), torch.zeros_like(whole.U)):
        gradients = []
        for cell in (whole, cut):
            cell.load_state_dict({"W": whole.W, "b": whole.b, "U": recurrent})
            outputs, (h, c) = cell(inputs, state)
            gradients.append((outputs, *torch.autograd.grad(h.square().sum() + c.sum(), [cell.W, cell.U, cell.b])))
        same = [torch.equal(one, other) for one, other in zip(*gradients, strict=True)]
        assert same[0]
        assert all(same) == (length == 1 or not recurrent.any())


def test_the_way_through_the_cell_state_keeps_all_of_an_error():
    """1997's constant error carousel: dc_L / dc_0 is 1, whatever is read."""
    cell = random_cell(TRUNCATED["LSTM1997 truncated"], 1, 2, 3, torch.Generator().manual_seed(1))
    h, c = torch.zeros(1, 4, 3, dtype=torch.float64), torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(1, 4, 300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    _, (_, last) = cell(inputs, (h, c))
    (gradient,) = torch.autograd.grad(last.sum(), c)
    assert torch.equal(gradient, torch.ones_like(c))


def stabilised(a: Tensor, b: Tensor, z: Tensor, o: Tensor) -> Tensor:
    """The sLSTM of the paper, equations 8 to 17, with its stabiliser m: what its gates see, [L] each -> h, [L]."""
    c, n, m, outputs = 0.0, 0.0, -math.inf, []
    for at, bt, zt, ot in zip(a.tolist(), b.tolist(), z.tolist(), o.tolist(), strict=True):
        log_f = -math.log1p(math.exp(-bt))
        m_before, m = m, max(log_f + m, at)
        i, f = math.exp(at - m), math.exp(log_f + m_before - m)
        c, n = f * c + i * math.tanh(zt), f * n + i
        outputs.append(c / n / (1 + math.exp(-ot)))
    return numbers(*outputs)


@pytest.mark.parametrize("scale", [1, 30, 300])
def test_an_slstm_needs_no_stabiliser(scale: float, generator: torch.Generator):
    """From nothing, with gates far beyond what exp can hold: the paper's numbers, and finite gradients in float32."""
    cell = SLSTM(1, 4, 4)
    seen = scale * torch.randn(4, 50, generator=generator, dtype=torch.float64)
    seen[2:] /= scale
    a, b, o, z = seen
    projected = seen[None, :, :, None, None].expand(1, 4, 50, 2, 4).clone().requires_grad_()
    outputs, _ = cell.double().run(projected, cell.initial_state(2))
    torch.testing.assert_close(outputs[0, :, 1, 2], stabilised(a, b, z, o), atol=1e-12, rtol=0)
    outputs, _ = cell.float().run(projected.float(), cell.float().initial_state(2))
    (gradient,) = torch.autograd.grad(outputs.sum(), projected)
    assert gradient.isfinite().all()


# --- parity: what eigenvalues can tell (Grazzi et al. 2024) ---


def parity_network(lowest: float) -> SequenceModel:
    """One unit: a 0 keeps it and writes nothing; a 1 multiplies it by the lowest eigenvalue and writes 1."""
    model = SequenceModel(partial(Diagonal, lowest=lowest), 1, 2, 2, True, 0, [1], False, "zero").double()
    with torch.no_grad():
        model.cell.W[0, :, :, 0] = numbers([50, -50], [0, 1])  # of the gate and of the candidate, by symbol
        model.head_weight[0, 0] = numbers(-1, 1)
        model.head_bias[0] = numbers(0.5, -0.5)
    return model


def test_one_unit_with_the_eigenvalue_minus_1_tells_parity_at_any_length(generator: torch.Generator):
    bits = torch.randint(2, (64, 500), generator=generator)
    bits[0], bits[1] = 0, 1
    model, parity = parity_network(-1.0), bits.cumsum(1) % 2
    assert torch.equal(model(bits[None])[0].argmax(-1), parity)
    assert torch.equal(model.trace(bits[None])["hidden_state"][0, ..., 0], parity.double())


@pytest.mark.parametrize("a_of_1", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("h0", [-2.0, 0.0, 5.0])
def test_on_ones_alone_no_eigenvalue_from_0_to_1_alternates(a_of_1: float, h0: float, generator: torch.Generator):
    """The proof: on 1 1 1 ... h moves in one direction only, so a threshold is crossed once; parity crosses L times.

    h_t - h_{t-1} = a (h_{t-1} - h_{t-2}), whose sign never changes with a in [0, 1]; with a < 0 it changes each time.
    A linear head over D such units sees a constant and D exponentials a^t, which meet a threshold at most D times.
    """
    ones = torch.ones(1, 100, dtype=torch.long)

    def turns(lowest: float) -> int:
        model = parity_network(lowest)
        with torch.no_grad():
            share = a_of_1 if lowest == 0 else 0.05  # else a = -0.9
            model.cell.W[0, 0, 1, 0] = 50 if share == 1 else -50 if share == 0 else odds(share)
            model.cell.W[0, 1, 1, 0] = torch.randn((), generator=generator, dtype=torch.float64)
            outputs, _ = model.encode(ones[None], [(numbers([[h0]]),)])
            steps = outputs[0, :, 0, 0].diff()
            signs = steps[steps.abs() > 1e-9].sign()
        return int((signs.diff() != 0).sum())

    assert turns(0.0) == 0
    assert turns(-1.0) > 50


def test_with_eigenvalues_from_0_to_1_many_units_are_soon_the_same_for_both_parities(generator: torch.Generator):
    """Theorem 1 in numbers: with a < 1 the state after k ones converges, so in finite precision two parities are one.

    Of 40 random units the state after 3,000 and after 3,001 ones is the same in float32, and so is every answer.
    """
    model = SequenceModel(partial(Diagonal, lowest=0.0), 1, 2, 2, False, 0, [40], False, "zero")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        even, odd = (model(torch.ones(1, 1, k, dtype=torch.long)) for k in (3000, 3001))
    torch.testing.assert_close(even, odd, atol=1e-5, rtol=0)


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
    "IRNN": "hidden_state",
    "IndRNN": "hidden_state",
    "LSTM1997": "input_gate output_gate candidate cell_state hidden_state",
    "SLSTM": "input_gate forget_gate output_gate candidate log_normaliser cell_state hidden_state",
    "Diagonal": "forget_gate candidate hidden_state",
    "Diagonal signed": "forget_gate candidate hidden_state",
}
OF_AN_SLSTM = {"input_gate": 1.0, "forget_gate": 0.0}  # i = 1, n was 0: shares of all that there is


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_computes_from_nothing(kind: str):
    """Weights of 0: every gate is half open, and nothing is in the cell."""
    cell = KINDS[kind](2, 3, 4)
    shares = OF_AN_SLSTM if kind == "SLSTM" else {}
    state, parts = cell.step(torch.zeros(2, len(cell.gates), 5, 4), cell.initial_state(5))
    assert [(name, part.unique().tolist()) for name, part in parts.items()] == [
        (name, [shares.get(name, 0.5 if name.endswith("_gate") else 0.0)]) for name in PARTS[kind].split()
    ]
    assert all(part.shape == (2, 5, 4) for part in (*state, *parts.values()))


def test_a_residual_connection_keeps_what_came_before():
    """Weights of 0: an SRN forgets at once, its residual sister never."""
    state = (torch.full((1, 2, 3), 0.7),)
    x = torch.zeros(1, 1, 2, 3)
    assert not SRN(1, 1, 3).step(x, state)[0][0].any()
    assert torch.equal(ResidualSRN(1, 1, 3).step(x, state)[0][0], state[0])
