from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from helpers import KINDS, TORCH_KINDS, assert_same, by_hand, classifier, randomise, torchs_layer
from torch import Tensor
from torch.nn.functional import one_hot

from memexp.errors import ConfigError
from memexp.models.cells import SRN, MinGRU
from memexp.models.networks import SequenceModel, widths_for

V, K, M = 10, 7, 4  # as `classifier` has them
LSTM = KINDS["LSTM"]
SHAPES = {
    "one layer": {},
    "two layers": {"widths": [8, 6]},
    "bidirectional": {"bidirectional": True},
    "learned start": {"widths": [8, 6], "initial_state": "learned"},
    "start from the input": {"widths": [8, 6], "initial_state": "input"},
    "all of it": {"widths": [8, 9, 6], "bidirectional": True, "initial_state": "input"},
}


def random_tokens(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randint(V, shape, generator=generator)


def random_numbers(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, V, generator=generator, dtype=torch.float64)


def read_by_hand(model: SequenceModel, inputs: Tensor, k: int) -> tuple[dict[str, Tensor], Tensor]:
    """Read inputs [B, L] or [B, L, V] with seed k, layer by layer.

    Returns every part, [B, L, D], in the order of a trace, and the answers, [B, A, K].
    """
    numbers = inputs if inputs.is_floating_point() else one_hot(inputs, V).double()
    inputs = numbers if model.embedding is None else numbers @ model.embedding[k]
    several, trace, below = len(model.layers) > 1, {}, {}
    for number, layer in enumerate(model.layers, 1):
        outputs, last = [], []
        for place, (direction, prefix) in enumerate(zip(layer, ("", "backwards."), strict=False)):
            read = inputs.flip(1) if prefix else inputs
            cell, states = direction.cell, None
            if direction.start is not None:
                states = [row.expand(len(inputs), -1) for row in direction.start[k]]
            if direction.start_W is not None:
                sources = below.get(place, [read[:, 0]] * len(cell.states))
                below[place] = states = [torch.tanh(x @ W) for x, W in zip(sources, direction.start_W[k], strict=True)]
            parts = by_hand(cell, read, k, states)
            last.append(parts["hidden_state"][:, -1:])
            parts = {name: part.flip(1) if prefix else part for name, part in parts.items()}
            outputs.append(parts["hidden_state"])
            trace |= {f"layer_{number}." * several + prefix + name: part for name, part in parts.items()}
        inputs = torch.cat(outputs, -1)
    seen = inputs if model.every_step else torch.cat(last, -1)
    return trace, seen @ model.head_weight[k] + model.head_bias[k]


# --- what a model computes ---


@pytest.mark.parametrize("kind", TORCH_KINDS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_and_directions_are_torchs(kind: str, layers: int, bidirectional: bool, generator: torch.Generator):
    """Outputs, last states and all gradients, from random states, in float64."""
    S, batch, L, D = 2, 3, 5, 6
    model = classifier(KINDS[kind], range(S), widths=[D] * layers, bidirectional=bidirectional)
    randomise(model, generator)
    tokens = random_tokens(S, batch, L, generator=generator)
    cells = [[direction.cell for direction in layer] for layer in model.layers]
    N = len(cells[0][0].states)
    starts = [  # of each direction of each layer, in torch's order
        tuple(torch.randn(S, batch, D, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(N))
        for _ in range(layers * (1 + bidirectional))
    ]
    ours, last = model.encode(tokens, starts)
    theirs, theirs_last = [], []
    for k in range(S):
        own = tuple(torch.stack(states)[:, k] for states in zip(*starts, strict=True))
        outputs, states = torchs_layer(cells, k)(model.embedding[k][tokens[k]], own if N > 1 else own[0])
        theirs.append(outputs.transpose(0, 1))
        theirs_last.append(torch.stack(states if N > 1 else [states]))
    assert_same(
        [ours, torch.stack([torch.stack(state) for state in last])],
        [torch.stack(theirs), torch.stack(theirs_last, 2).transpose(0, 1)],
        [
            *(parameter for name, parameter in model.named_parameters() if not name.startswith("head_")),
            *(state for states in starts for state in states),
        ],
        generator,
    )


def assert_equals_its_equations(model: SequenceModel, inputs: Tensor, generator: torch.Generator) -> None:
    """Every part of the trace, by name and in the order of the sequence, the answers and their gradients."""
    hand = [read_by_hand(model, inputs[k], k) for k in range(len(inputs))]
    assert_same([model(inputs)], [torch.stack([answers for _, answers in hand])], [*model.parameters()], generator)
    trace = model.trace(inputs)
    assert list(trace) == list(hand[0][0])
    for name, part in trace.items():
        torch.testing.assert_close(part, torch.stack([own[name] for own, _ in hand]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("every_step", [False, True], ids=["at the end", "at every step"])
def test_a_model_equals_its_equations(kind: str, shape: str, every_step: bool, generator: torch.Generator):
    model = classifier(KINDS[kind], [0, 1], every_step=every_step, **SHAPES[shape])
    randomise(model, generator)
    assert_equals_its_equations(model, random_tokens(2, 3, 5, generator=generator), generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shared_rows_are_the_same_rows_in_every_seed(kind: str, shape: str, generator: torch.Generator):
    model = classifier(KINDS[kind], [0, 1, 2], **SHAPES[shape])
    tokens = random_tokens(1, 2, 5, generator=generator)
    assert model(tokens).shape == (3, 2, 1, K)
    torch.testing.assert_close(model(tokens), model(tokens.expand(3, 2, 5)))
    assert next(iter(model.trace(tokens).values())).shape[:3] == (3, 2, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_can_be_read_in_two_halves(kind: str, generator: torch.Generator):
    model = classifier(KINDS[kind], [0, 1], widths=[8, 6], initial_state="input").double()
    tokens = random_tokens(2, 3, 7, generator=generator)
    whole, last = model.encode(tokens)
    first, middle = model.encode(tokens[..., :4])
    second, end = model.encode(tokens[..., 4:], middle)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(end, last, atol=1e-12, rtol=0)


# --- an answer at every step, symbols without an embedding, states that are carried ---

ONE_WAY = [name for name, shape in SHAPES.items() if not shape.get("bidirectional")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ONE_WAY)
def test_the_answer_of_every_step_is_that_at_the_end_of_what_was_read(
    kind: str, shape: str, generator: torch.Generator
):
    every, last = (
        classifier(KINDS[kind], [0, 1], every_step=every_step, **SHAPES[shape]).double() for every_step in (True, False)
    )
    tokens = random_tokens(2, 3, 5, generator=generator)
    answers = every(tokens)
    assert answers.shape == (2, 3, 5, K)
    for length in range(1, 6):
        torch.testing.assert_close(answers[:, :, [length - 1]], last(tokens[..., :length]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("every_step", "A"), [(False, 1), (True, 5)])
def test_answers_have_an_axis_of_their_own(shape: str, every_step: bool, A: int, generator: torch.Generator):
    model = classifier(LSTM, [0, 1], every_step=every_step, **SHAPES[shape])
    tokens = random_tokens(2, 3, 5, generator=generator)
    answers, states = model.answer(tokens)
    assert answers.shape == (2, 3, A, K)
    assert torch.equal(answers, model(tokens))
    assert [part.shape for state in states for part in state] == [
        (2, 3, direction.cell.hidden_size) for _, direction in model.directions for _ in range(2)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_embedding_is_that_of_the_identity(kind: str, shape: str, generator: torch.Generator):
    """Answers, states and the gradients of all other parameters; from the initialiser on."""
    with_identity = classifier(KINDS[kind], [0, 1], embedding_size=V, **SHAPES[shape])
    without = classifier(KINDS[kind], [0, 1], embedding_size=0, **SHAPES[shape])
    assert without.embedding is None
    assert without.parameter_count == with_identity.parameter_count - V * V
    randomise(without, generator)
    with_identity.double().load_state_dict(
        without.state_dict() | {"embedding": torch.eye(V, dtype=torch.float64).expand(2, -1, -1)}
    )
    tokens = random_tokens(2, 3, 5, generator=generator)
    results = []
    for model in (without, with_identity):
        logits, states = model.answer(tokens)
        parts = [logits, *(part for state in states for part in state)]
        weights = [torch.linspace(-1, 1, part.numel(), dtype=torch.float64).view_as(part) for part in parts]
        own = [parameter for name, parameter in model.named_parameters() if name != "embedding"]
        total = sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
        results.append([*parts, *torch.autograd.grad(total, own)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_cell_may_project_its_inputs_in_a_way_of_its_own(generator: torch.Generator):
    class Doubled(SRN):
        def project(self, inputs: Tensor) -> Tensor:
            return 2 * super().project(inputs)

    doubled, plain = (classifier(kind, [0, 1], embedding_size=0).double() for kind in (Doubled, SRN))
    randomise(doubled, generator)
    plain.load_state_dict(doubled.state_dict())
    cell = plain.cell
    with torch.no_grad():
        cell.W *= 2
        cell.b *= 2
    tokens = random_tokens(2, 3, 5, generator=generator)
    torch.testing.assert_close(doubled(tokens), plain(tokens))


@pytest.mark.parametrize("embedding_size", [0, M])
@pytest.mark.parametrize("rows_of", [1, 2], ids=["shared rows", "rows of each seed"])
def test_few_and_many_symbols_are_looked_up_alike(
    embedding_size: int, rows_of: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
):
    model = classifier(LSTM, [0, 1], embedding_size=embedding_size)
    randomise(model, generator)
    tokens = random_tokens(rows_of, 3, 5, generator=generator)
    product = model(tokens)
    monkeypatch.setattr("memexp.models.networks.FEW_SYMBOLS", 0)
    assert_same([product], [model(tokens)], [*model.parameters()], generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ONE_WAY)
@pytest.mark.parametrize("every_step", [True, False])
def test_two_pieces_are_one_pass(kind: str, shape: str, every_step: bool, generator: torch.Generator):
    model = classifier(KINDS[kind], [0, 1], every_step=every_step, **SHAPES[shape])
    randomise(model, generator)
    tokens = random_tokens(2, 3, 7, generator=generator)
    first, states = model.answer(tokens[..., :3])
    second, last = model.answer(tokens[..., 3:], states)
    whole, whole_last = model.answer(tokens)
    own = torch.cat([first, second], 2) if every_step else second
    assert_same(
        [own, *(part for state in last for part in state)],
        [whole, *(part for state in whole_last for part in state)],
        [*model.parameters()],
        generator,
    )


# --- numbers instead of symbols ---

EMBEDDED = pytest.mark.parametrize("embedding_size", [0, M])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@EMBEDDED
def test_numbers_that_are_one_hot_are_symbols(kind: str, shape: str, embedding_size: int, generator: torch.Generator):
    """Answers, last states, all gradients, and the trace."""
    model = classifier(KINDS[kind], [0, 1], embedding_size=embedding_size, every_step=True, **SHAPES[shape])
    randomise(model, generator)
    tokens = random_tokens(2, 3, 5, generator=generator)
    numbers = one_hot(tokens, V).double()
    results = [
        [answers, *(part for state in states for part in state)]
        for answers, states in map(model.answer, (numbers, tokens))
    ]
    assert_same(*results, [*model.parameters()], generator)
    for ours, theirs in zip(model.trace(numbers).values(), model.trace(tokens).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@EMBEDDED
def test_numbers_are_read_as_the_equations_say(kind: str, shape: str, embedding_size: int, generator: torch.Generator):
    model = classifier(KINDS[kind], [0, 1], embedding_size=embedding_size, **SHAPES[shape])
    randomise(model, generator)
    assert_equals_its_equations(model, random_numbers(2, 3, 5, generator=generator), generator)


@pytest.mark.parametrize("shape", SHAPES)
@EMBEDDED
def test_shared_numbers_are_the_same_in_every_seed(shape: str, embedding_size: int, generator: torch.Generator):
    """They may be of another precision than the weights."""
    model = classifier(LSTM, [0, 1, 2], embedding_size=embedding_size, every_step=True, **SHAPES[shape])
    numbers = random_numbers(1, 2, 5, generator=generator)
    assert model(numbers).shape == (3, 2, 5, K)
    assert model(numbers).dtype == torch.float32
    torch.testing.assert_close(model(numbers), model(numbers.float().expand(3, 2, 5, V)))
    assert next(iter(model.trace(numbers).values())).shape[:3] == (3, 2, 5)


@pytest.mark.parametrize("shape", SHAPES)
@EMBEDDED
def test_seeds_do_not_mix_over_numbers(shape: str, embedding_size: int, generator: torch.Generator):
    model = classifier(LSTM, [0, 1, 2], embedding_size=embedding_size, **SHAPES[shape])
    randomise(model, generator)
    numbers = random_numbers(3, 2, 6, generator=generator).requires_grad_()
    model(numbers)[1].square().sum().backward()
    for name, leaf in (("numbers", numbers), *model.named_parameters()):
        assert not leaf.grad[[0, 2]].any(), name
        assert leaf.grad[1].any(), name


def test_a_cell_projects_numbers_in_its_own_way_too(generator: torch.Generator):
    class Doubled(SRN):
        def project(self, inputs: Tensor) -> Tensor:
            return 2 * super().project(inputs)

    doubled = classifier(Doubled, [0, 1], embedding_size=0)
    randomise(doubled, generator)
    tokens = random_tokens(2, 3, 5, generator=generator)
    torch.testing.assert_close(doubled(one_hot(tokens, V).double()), doubled(tokens))


# --- seeds ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_in_a_group_is_the_seed_alone(kind: str, shape: str, generator: torch.Generator):
    group, alone = (classifier(KINDS[kind], seeds, **SHAPES[shape]) for seeds in ([4, 9, 2], [9]))
    for name, parameter in group.named_parameters():
        assert torch.equal(parameter[1], alone.get_parameter(name)[0])
        constant = name == "head_bias" or name.endswith(".start")
        assert torch.equal(parameter[0], parameter[1]) == constant
    tokens = random_tokens(3, 2, 5, generator=generator)
    torch.testing.assert_close(group(tokens)[1], alone(tokens[1:2])[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_can_be_taken_out_of_a_group(kind: str, shape: str, generator: torch.Generator):
    group, alone = (classifier(KINDS[kind], seeds, **SHAPES[shape]) for seeds in ([4, 9, 2], [7]))
    randomise(group, generator)
    alone.double().copy_seed(group, 2)
    tokens = random_tokens(3, 2, 5, generator=generator)
    torch.testing.assert_close(group(tokens)[2], alone(tokens[2:])[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_seeds_do_not_mix(kind: str, shape: str, generator: torch.Generator):
    """The gradient of one seed's answers reaches all its parameters, and no other's."""
    model = classifier(KINDS[kind], [0, 1, 2], **SHAPES[shape])
    randomise(model, generator)
    model(random_tokens(1, 20, 6, generator=generator))[1].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.grad[[0, 2]].any(), name
        assert parameter.grad[1].any(), name


# --- layers and directions ---


def test_no_two_cells_share_parameters():
    model = classifier(LSTM, [0], widths=[4, 4, 4], bidirectional=True, initial_state="input")
    cells = [direction.cell for _, direction in model.directions]
    assert len({id(cell) for cell in cells}) == len(cells) == 6
    for name in ("W", "U", "b"):
        weights = [cell.get_parameter(name).detach() for cell in cells]
        assert len({weight.data_ptr() for weight in weights}) == 6
        assert len({weight.flatten()[0].item() for weight in weights}) == 6
    assert len({direction.start_W.data_ptr() for _, direction in model.directions}) == 6


@pytest.mark.parametrize(
    ("kind", "shape", "parameters", "state_size"),
    [
        # a gate of an input of m and a state of d units has m d + d d + d parameters; the head n K + K
        ("SRN", {}, 4 * 6 + 6 * 6 + 6 + 6 * K + K, 6),
        ("LSTM", {}, 4 * (4 * 6 + 6 * 6 + 6) + 6 * K + K, 12),
        ("LSTM coupled", {}, 3 * (4 * 6 + 6 * 6 + 6) + 6 * K + K, 12),
        ("LSTM peephole", {}, 4 * (4 * 6 + 6 * 6 + 6) + 3 * 6 + 6 * K + K, 12),
        ("GRU reset before", {}, 3 * (4 * 6 + 6 * 6 + 6) + 6 * K + K, 6),
        ("GRU reset after", {}, 3 * (4 * 6 + 6 * 6 + 6) + 6 + 6 * K + K, 6),
        ("MinGRU", {}, 2 * (4 * 6 + 6) + 6 * K + K, 6),
        ("MinLSTM", {}, 3 * (4 * 6 + 6) + 6 * K + K, 6),
        ("SRN", {"widths": [3, 5]}, (4 * 3 + 9 + 3) + (3 * 5 + 25 + 5) + 5 * K + K, 8),
        ("SRN", {"bidirectional": True}, 2 * (4 * 6 + 6 * 6 + 6) + 12 * K + K, 12),
        (
            "SRN",
            {"widths": [3, 5], "bidirectional": True},
            2 * (4 * 3 + 9 + 3) + 2 * (6 * 5 + 25 + 5) + 10 * K + K,
            16,
        ),
        ("LSTM", {"initial_state": "learned"}, 4 * (4 * 6 + 6 * 6 + 6) + 2 * 6 + 6 * K + K, 12),
        (
            "LSTM",
            {"widths": [3, 5], "initial_state": "input"},
            4 * (4 * 3 + 9 + 3) + 4 * (3 * 5 + 25 + 5) + 2 * 4 * 3 + 2 * 3 * 5 + 5 * K + K,
            16,
        ),
    ],
)
def test_parameters_and_state_are_those_of_one_seed(
    kind: str, shape: dict[str, object], parameters: int, state_size: int
):
    model = classifier(KINDS[kind], [0, 1, 2], **shape)
    assert (model.parameter_count, model.state_size) == (V * M + parameters, state_size)
    assert model.widths == shape.get("widths", [6])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"widths": []}, r"model.hidden_size=\[\]: give at least one layer, each of at least one unit"),
        ({"widths": [3, 0]}, r"model.hidden_size=\[3, 0\]: give at least one layer"),
        ({"initial_state": "one"}, "model.initial_state=one is unknown; allowed: zero, learned, input"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        classifier(SRN, [0], **options)


@pytest.mark.parametrize("kind", ["SRN", "LSTM peephole", "GRU reset after", "MinGRU"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_widest_model_of_so_many_parameters(kind: str, layers: int, bidirectional: bool):
    def build(widths: Sequence[int]) -> SequenceModel:
        return SequenceModel(KINDS[kind], 2, V, K, False, M, widths, bidirectional, "zero")

    counts = [build([width] * layers).parameter_count for width in range(1, 13)]
    for width, (own, wider) in enumerate(pairwise(counts), 1):
        assert widths_for(own, layers, build) == [width] * layers  # just enough
        assert widths_for(wider - 1, layers, build) == [width] * layers  # one short of one unit more
    with pytest.raises(ConfigError, match=f"{counts[0] - 1} is too small: with one unit .* has {counts[0]} already"):
        widths_for(counts[0] - 1, layers, build)


# --- initial states ---


@pytest.mark.parametrize("kind", ["SRN", "LSTM"])
def test_a_learned_start_begins_at_zero_and_is_the_same_for_every_row(kind: str, generator: torch.Generator):
    zero, learned = (classifier(KINDS[kind], [3, 5], widths=[8, 6], initial_state=how) for how in ("zero", "learned"))
    tokens = random_tokens(2, 3, 5, generator=generator)
    assert torch.equal(learned(tokens), zero(tokens))
    learned(tokens).sum().backward()
    assert all(direction.start.grad.any(-1).all() for _, direction in learned.directions)  # of h and of c


@pytest.mark.parametrize(
    ("vectors", "read"), [([0.1, 0.2, 0.3], [[[1, 0, 2]]]), ([10.0], [[[[0.02], [0.01], [0.03]]]])]
)
def test_a_start_from_the_input_is_the_first_that_each_direction_reads(vectors: list[float], read: list[object]):
    """One step of an SRN with U = 1, all else 0, shows tanh of what it started from: of a symbol, of a number."""
    model = SequenceModel(SRN, 1, len(vectors), 2, False, 1, [1, 1], True, "input").double()
    with torch.no_grad():
        model.embedding[0, :, 0] = torch.tensor(vectors, dtype=torch.float64)
        for _, direction in model.directions:
            direction.cell.U.fill_(1.0)
            direction.start_W.fill_(2.0)
    trace = model.trace(torch.tensor(read, dtype=torch.long if len(vectors) == 3 else torch.float64))
    for prefix, first, place in (("", 0.2, 0), ("backwards.", 0.3, 2)):
        start = torch.tanh(torch.tensor(2 * first, dtype=torch.float64))
        for layer in (1, 2):
            shown = trace[f"layer_{layer}.{prefix}hidden_state"][0, 0, place, 0]
            torch.testing.assert_close(shown, torch.tanh(start), atol=1e-15, rtol=0)
            start = torch.tanh(2 * start)


# --- traces ---


def test_names_in_a_trace_say_which_layer_and_direction():
    tokens = torch.zeros(1, 1, 3, dtype=torch.long)
    names = {name: list(classifier(SRN, [0], **shape).trace(tokens)) for name, shape in SHAPES.items()}
    layers = ["layer_1.hidden_state", "layer_2.hidden_state"]
    every = [f"layer_{layer}.{direction}hidden_state" for layer in (1, 2, 3) for direction in ("", "backwards.")]
    assert names == {
        "one layer": ["hidden_state"],
        "two layers": layers,
        "bidirectional": ["hidden_state", "backwards.hidden_state"],
        "learned start": layers,
        "start from the input": layers,
        "all of it": every,
    }


def test_watched_parameters_have_the_names_of_a_trace():
    model = classifier(KINDS["GRU reset after"], [0], widths=[8, 6], bidirectional=True)
    assert list(model.watched) == [
        f"layer_{layer}.{direction}{name}" for layer in (1, 2) for direction in ("", "backwards.") for name in "WUbc"
    ]
    assert model.watched["layer_2.backwards.U"] is model.layers[1][1].cell.U
    assert list(classifier(MinGRU, [0]).watched) == ["W", "b"]


def test_a_trace_can_be_of_chosen_parts():
    tokens = torch.zeros(1, 1, 3, dtype=torch.long)
    assert list(classifier(LSTM, [0]).trace(tokens, ["forget_gate"])) == ["forget_gate"]
    with pytest.raises(ConfigError, match="SRN has no forget_gate, input_gate; it has hidden_state$"):
        classifier(SRN, [0]).trace(tokens, ["input_gate", "hidden_state", "forget_gate"])
    with pytest.raises(ConfigError, match="SRN has no hidden_state; it has layer_1.hidden_state, layer_2.hidden_state"):
        classifier(SRN, [0], widths=[2, 2]).trace(tokens, ["hidden_state"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trace_changes_nothing(shape: str, generator: torch.Generator):
    model = classifier(LSTM, [0, 1, 2], **SHAPES[shape])
    tokens = random_tokens(3, 2, 5, generator=generator)
    before = model(tokens)
    assert not any(part.requires_grad for part in model.trace(tokens).values())
    assert torch.equal(model(tokens), before)


# --- values before the first update ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_initialiser_sets_every_parameter_but_a_learned_start(kind: str, shape: str):
    model = classifier(KINDS[kind], [0], **SHAPES[shape], initialiser="torch")  # no number of which is 0
    for name, parameter in model.named_parameters():
        assert bool(parameter.all()) == (not name.endswith(".start")), name


@pytest.mark.parametrize("kind", ["SRN", "ResidualSRN", "GRU reset before", "LSTM no_forget_gate", "MinGRU"])
@pytest.mark.parametrize("options", [{"initialiser": "chrono", "longest": 9}, {"forget_bias": 1.0}])
def test_what_needs_a_forget_gate_is_refused_without_one(kind: str, options: dict[str, object]):
    with pytest.raises(ConfigError, match=f"need a forget gate; {kind.split()[0]} has none"):
        classifier(KINDS[kind], [0], **options)


@pytest.mark.parametrize("kind", ["LSTM", "LSTM coupled", "LSTM no_input_gate", "LSTM peephole", "MinLSTM"])
def test_forget_bias_is_added_to_the_forget_gates_alone(kind: str):
    shape = SHAPES["all of it"]
    plain, raised = (classifier(KINDS[kind], [0, 1], **shape, forget_bias=bias) for bias in (0.0, 1.5))
    forget = plain.cell.gates.index("forget_gate")
    for (name, before), after in zip(plain.named_parameters(), raised.parameters(), strict=True):
        expected = before.detach().clone()
        if name.endswith("cell.b"):
            expected[:, forget] += 1.5
        torch.testing.assert_close(after.detach(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["LSTM", "LSTM coupled", "LSTM no_input_gate", "MinLSTM"])
def test_chrono_sets_the_forget_biases_and_mirrors_the_input_biases(kind: str):
    """In every cell; all else is Xavier's."""
    shape = {"widths": [40, 30], "bidirectional": True}
    model, xavier = (
        classifier(KINDS[kind], [0, 1], **shape, initialiser=how, longest=20) for how in ("chrono", "xavier")
    )
    seen = []
    for (name, parameter), before in zip(model.named_parameters(), xavier.parameters(), strict=True):
        expected = before.detach().clone()
        if name.endswith("cell.b"):
            bias = dict(zip(model.cell.gates, parameter.detach().unbind(1), strict=True))
            steps = bias["forget_gate"].exp()  # uniform on 1..19
            assert 1 <= steps.min() + 1e-6 < 3
            assert 17 < steps.max() <= 19 + 1e-5
            seen += [*steps[:, 0].tolist()]
            expected[:, model.cell.gates.index("forget_gate")] = bias["forget_gate"]
            if "input_gate" in bias:
                expected[:, model.cell.gates.index("input_gate")] = -bias["forget_gate"]
        assert torch.equal(parameter, expected), name
    assert len(set(seen)) == 4 * 2  # cells x seeds
