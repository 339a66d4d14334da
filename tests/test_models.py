import math

import pytest
import torch
from conftest import random_cell

from memexp.baselines import TORCH_LAYERS, torch_layer
from memexp.errors import ConfigError
from memexp.models import LSTM, SRN, Cell, SequenceClassifier

W = [[0.1, 0.2], [0.1, 0.2]]
U = [[0.0, 0.1], [0.1, 0.0]]
B = [0.1, 0.1]


def book_cell(kind: type[Cell]) -> Cell:
    """The example weights of the book (6.1.2, 6.3.1), the same for every gate."""
    cell = kind(1, 2, 2).double()
    with torch.no_grad():
        cell.W[:] = torch.tensor(W)
        cell.U[:] = torch.tensor(U)
        cell.b[:] = torch.tensor(B)
    return cell


def test_srn_matches_the_books_example_by_hand():
    outputs, (h,) = book_cell(SRN)(torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]], dtype=torch.float64))
    a, b = math.tanh(0.1 + 0.1), math.tanh(0.2 + 0.1)
    c, d = math.tanh(0.2 + 0.1 * b + 0.1), math.tanh(0.4 + 0.1 * a + 0.1)
    # the example weights are read from float32 literals
    torch.testing.assert_close(outputs, torch.tensor([[[[a, b], [c, d]]]], dtype=torch.float64), atol=1e-8, rtol=0)
    assert torch.equal(h[0, 0], outputs[0, 0, 1])


def test_lstm_matches_the_books_example_by_hand():
    outputs, (h, c) = book_cell(LSTM)(torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64))
    gate = [1 / (1 + math.exp(-z)) for z in (0.2, 0.3)]
    cell = [g * math.tanh(z) for g, z in zip(gate, (0.2, 0.3), strict=True)]
    hidden = [g * math.tanh(z) for g, z in zip(gate, cell, strict=True)]
    torch.testing.assert_close(c[0, 0], torch.tensor(cell, dtype=torch.float64), atol=1e-8, rtol=0)
    torch.testing.assert_close(h[0, 0], torch.tensor(hidden, dtype=torch.float64), atol=1e-8, rtol=0)
    assert torch.equal(outputs[0, 0, 0], h[0, 0])


@pytest.mark.parametrize("kind", [SRN, LSTM])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 3, 5, 4, 6), (3, 2, 17, 7, 1), (2, 5, 1, 3, 4)])
def test_cell_equals_torchs_layer(kind: type[Cell], shape: tuple[int, ...], generator: torch.Generator):
    """Outputs, final states and all gradients, with a random initial state, in float64."""
    S, batch, L, M, D = shape
    cell = random_cell(kind, S, M, D, generator)
    draw = {"generator": generator, "dtype": torch.float64}
    inputs = torch.randn(S, batch, L, M, **draw).requires_grad_()
    state = tuple(torch.randn(S, batch, D, **draw).requires_grad_() for _ in kind.states)
    # gradients reach the outputs at every step and the final state, with different weights
    weights = [torch.randn(S, batch, L, D, **draw), *(torch.randn(S, batch, D, **draw) for _ in state)]
    outputs, last = cell(inputs, state)
    sum((a * b).sum() for a, b in zip((outputs, *last), weights, strict=True)).backward()

    for k in range(S):
        layer = torch_layer(cell, k)
        own_inputs = inputs[k].detach().clone().requires_grad_()
        own_state = [s[k][None].detach().clone().requires_grad_() for s in state]
        theirs, their_last = layer(own_inputs, own_state[0] if kind is SRN else tuple(own_state))
        their_last = (their_last,) if kind is SRN else their_last
        results = (theirs, *(s[0] for s in their_last))
        sum((a * b[k]).sum() for a, b in zip(results, weights, strict=True)).backward()

        close = {"atol": 1e-10, "rtol": 0}
        torch.testing.assert_close(outputs[k], theirs, **close)
        for ours, other in zip(last, their_last, strict=True):
            torch.testing.assert_close(ours[k], other[0], **close)
        torch.testing.assert_close(inputs.grad[k], own_inputs.grad, **close)
        for ours, other in zip(state, own_state, strict=True):
            torch.testing.assert_close(ours.grad[k], other.grad[0], **close)
        copy = random_cell(kind, 1, M, D, generator)  # a place for torch's gradients, in our layout
        for place, name in enumerate(TORCH_LAYERS[kind][1]):
            rows = slice(place * D, (place + 1) * D)
            copy.W.data[0, kind.gates.index(name)] = layer.weight_ih_l0.grad[rows].T
            copy.U.data[0, kind.gates.index(name)] = layer.weight_hh_l0.grad[rows].T
            copy.b.data[0, kind.gates.index(name)] = layer.bias_ih_l0.grad[rows]
        for name, parameter in cell.named_parameters():
            torch.testing.assert_close(parameter.grad[k], copy.get_parameter(name).data[0], **close)


def classifier(kind: type[Cell], seeds: list[int], **options: object) -> SequenceClassifier:
    return SequenceClassifier(kind, seeds, symbols=10, classes=7, embedding_size=4, hidden_size=6, **options)


@pytest.mark.parametrize("kind", [SRN, LSTM])
def test_a_seed_in_a_group_is_the_seed_alone(kind: type[Cell], generator: torch.Generator):
    group, alone = classifier(kind, [4, 9, 2]), classifier(kind, [9])
    for name, parameter in group.named_parameters():
        assert torch.equal(parameter[1], alone.get_parameter(name)[0])
        assert not torch.equal(parameter[0], parameter[1]) or name == "head_bias"
    tokens = torch.randint(10, (3, 2, 5), generator=generator)
    torch.testing.assert_close(group(tokens)[1], alone(tokens[1:2])[0])


@pytest.mark.parametrize("kind", [SRN, LSTM])
def test_shared_rows_are_the_same_rows_in_every_seed(kind: type[Cell], generator: torch.Generator):
    model = classifier(kind, [0, 1, 2])
    tokens = torch.randint(10, (1, 2, 5), generator=generator)
    assert model(tokens).shape == (3, 2, 7)
    torch.testing.assert_close(model(tokens), model(tokens.expand(3, 2, 5)))


@pytest.mark.parametrize("kind", [SRN, LSTM])
def test_forward_is_embedding_then_torchs_layer_then_head(kind: type[Cell], generator: torch.Generator):
    model = classifier(kind, [3, 5]).double()
    tokens = torch.randint(10, (1, 3, 5), generator=generator)
    for k in range(2):
        outputs, _ = torch_layer(model.cell, k)(model.embedding[k][tokens[0]])
        logits = outputs[:, -1] @ model.head_weight[k] + model.head_bias[k]
        torch.testing.assert_close(model(tokens)[k], logits, atol=1e-12, rtol=0)


def test_trace_of_zero_weights_is_known():
    model = classifier(LSTM, [0, 1])
    for parameter in model.cell.parameters():
        parameter.data.zero_()
    trace = model.trace(torch.zeros(1, 3, 5, dtype=torch.long))
    assert {name: (part.shape, part.unique().tolist()) for name, part in trace.items()} == {
        "input_gate": ((2, 3, 5, 6), [0.5]),
        "forget_gate": ((2, 3, 5, 6), [0.5]),
        "output_gate": ((2, 3, 5, 6), [0.5]),
        "candidate": ((2, 3, 5, 6), [0.0]),
        "cell_state": ((2, 3, 5, 6), [0.0]),
        "hidden_state": ((2, 3, 5, 6), [0.0]),
    }


@pytest.mark.parametrize("kind", [SRN, LSTM])
def test_trace_ends_where_forward_ends_and_changes_nothing(kind: type[Cell], generator: torch.Generator):
    model = classifier(kind, [0, 1, 2])
    tokens = torch.randint(10, (3, 2, 5), generator=generator)
    before = model(tokens)
    last = model.trace(tokens)["hidden_state"][:, :, -1]
    torch.testing.assert_close(last @ model.head_weight + model.head_bias[:, None], before)
    assert torch.equal(model(tokens), before)


def test_trace_filters_by_name():
    tokens = torch.zeros(1, 1, 3, dtype=torch.long)
    assert list(classifier(LSTM, [0]).trace(tokens, ["forget_gate"])) == ["forget_gate"]
    with pytest.raises(ConfigError, match="SRN has no forget_gate; it has hidden_state"):
        classifier(SRN, [0]).trace(tokens, ["forget_gate"])


def test_parameter_count_is_that_of_one_seed():
    # embedding 10x4; 4 gates of 4x6 + 6x6 + 6; head 6x7 + 7
    assert classifier(LSTM, [0, 1]).parameter_count == 40 + 4 * (24 + 36 + 6) + 42 + 7
    assert classifier(SRN, [0, 1, 2]).parameter_count == 40 + (24 + 36 + 6) + 42 + 7


@pytest.mark.parametrize("options", [{"initialiser": "chrono", "longest": 9}, {"forget_bias": 1.0}])
def test_what_needs_a_forget_gate_is_refused_without_one(options: dict[str, object]):
    with pytest.raises(ConfigError, match="need a forget gate; SRN has none"):
        classifier(SRN, [0], **options)


def test_forget_bias_is_added_to_the_forget_gate_alone():
    plain, raised = classifier(LSTM, [0, 1]), classifier(LSTM, [0, 1], forget_bias=1.5)
    difference = raised.cell.b - plain.cell.b
    forget = LSTM.gates.index("forget_gate")
    torch.testing.assert_close(difference[:, forget], torch.full((2, 6), 1.5))
    assert not difference[:, [g for g in range(4) if g != forget]].any()


def test_chrono_spreads_the_forget_biases_and_mirrors_the_input_biases():
    model = SequenceClassifier(LSTM, [0, 1], 10, 7, 4, 2000, "chrono", longest=20)
    bias = model.cell.b.detach()
    forget, gate = LSTM.gates.index("forget_gate"), LSTM.gates.index("input_gate")
    assert torch.equal(bias[:, forget], -bias[:, gate])
    steps = bias[:, forget].exp()  # uniform on 1..19
    assert 1 <= steps.min() < 1.1
    assert 18.9 < steps.max() <= 19
    assert abs(float(steps.mean()) - 10) < 0.3
    book = SequenceClassifier(LSTM, [0, 1], 10, 7, 4, 2000)
    others = [g for g in range(4) if g not in (forget, gate)]
    assert torch.equal(bias[:, others], book.cell.b[:, others])
