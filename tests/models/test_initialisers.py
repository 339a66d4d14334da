import math
from pathlib import Path

import pytest
import torch
from helpers import KINDS, classifier
from torch import Generator, nn

from memexp.errors import ConfigError
from memexp.models.cells import SRN, MinGRU
from memexp.models.initialisers import HEAD_ROLES, RECURRENT_ROLES, SCHEMES, LayerSizes, chrono_biases, read_matrix
from memexp.models.networks import SequenceModel

LSTM = KINDS["LSTM"]
SHAPES = {
    "embedding": (50, 30),
    "input_weight": (4, 30, 60),
    "recurrent_weight": (4, 60, 60),
    "bias": (4, 60),
    "extra_bias": (3, 60),
    "start_weight": (2, 30, 60),
    "head_weight": (60, 20),
    "head_bias": (20,),
}


def draw(scheme: str, role: str) -> torch.Tensor:
    return SCHEMES[scheme](role, SHAPES[role], LayerSizes(30, 60), Generator().manual_seed(1))


@torch.no_grad()
def assert_uniform(values: torch.Tensor, bound: float) -> None:
    assert values.abs().max() <= bound
    assert values.abs().max() > 0.95 * bound
    assert abs(float(values.mean())) < 0.2 * bound


@pytest.mark.parametrize(
    ("role", "bound"),
    [
        ("embedding", math.sqrt(6 / 80)),
        ("input_weight", math.sqrt(6 / 90)),
        ("recurrent_weight", math.sqrt(6 / 120)),
        ("bias", math.sqrt(6 / 61)),
        ("start_weight", math.sqrt(6 / 90)),
        ("head_weight", math.sqrt(6 / 80)),
    ],
)
def test_xavier_bounds_are_those_of_each_gates_own_matrix(role: str, bound: float):
    assert_uniform(draw("xavier", role), bound)


@pytest.mark.parametrize("scheme", sorted(SCHEMES.keys() - {"torch", "zeros", "uniform_1997"}))
def test_what_is_not_a_cells_own_is_as_in_the_book(scheme: str):
    for role in SHAPES.keys() - {*RECURRENT_ROLES}:
        assert torch.equal(draw(scheme, role), draw("xavier", role))
    assert not draw(scheme, "head_bias").any()


def test_in_1997_all_was_drawn_alike_but_the_input_gates_opened_one_after_the_other():
    for role in SHAPES.keys() - {"head_bias"}:
        assert_uniform(draw("uniform_1997", role), 0.1)
    model = classifier(KINDS["LSTM1997"], [3, 4], widths=[5], initialiser="uniform_1997")
    cell = model.layers[0][0].cell
    assert cell.gates == ("input_gate", "output_gate", "candidate")
    assert cell.b[:, 0].tolist() == [[-1, -3, -5, -7, -9]] * 2
    assert 0 < cell.b[:, 1:].abs().max() <= 0.1
    with pytest.raises(ConfigError, match="^initialiser=uniform_1997 needs an input gate; SRN has none$"):
        classifier(SRN, [0], initialiser="uniform_1997")


def test_xavier_zero_bias_differs_from_xavier_in_the_gates_biases_alone():
    assert not draw("xavier_zero_bias", "bias").any()
    for role in ("input_weight", "recurrent_weight"):
        assert torch.equal(draw("xavier_zero_bias", role), draw("xavier", role))


def test_orthogonal_recurrent_matrices():
    matrices = draw("orthogonal", "recurrent_weight").double()
    torch.testing.assert_close(
        matrices @ matrices.transpose(1, 2),
        torch.eye(60, dtype=torch.float64).expand(4, 60, 60),
        atol=1e-6,
        rtol=0,
    )
    assert torch.equal(draw("orthogonal", "bias"), draw("xavier", "bias"))


def test_orthogonal_matrices_are_drawn_without_a_preferred_direction():
    """Of 2,000 matrices of 3 by 3 each number has mean 0 and mean square 1/3; half of them are reflections."""
    drawn = SCHEMES["orthogonal"](
        "recurrent_weight", (2000, 3, 3), LayerSizes(4, 3), Generator().manual_seed(1)
    ).double()
    assert drawn.mean(0).abs().max() < 0.05  # 4 standard deviations
    assert drawn.square().mean(0) == pytest.approx(torch.full((3, 3), 1 / 3).numpy(), abs=0.03)
    assert float((torch.linalg.det(drawn) < 0).double().mean()) == pytest.approx(1 / 2, abs=0.05)


def test_torch_scheme_has_the_moments_of_torchs_layers():
    torch.manual_seed(2)
    lstm, linear, embedding = nn.LSTM(30, 60), nn.Linear(60, 20), nn.Embedding(50, 30)
    pairs = {
        "embedding": embedding.weight,
        "input_weight": lstm.weight_ih_l0,
        "recurrent_weight": lstm.weight_hh_l0,
        "bias": lstm.bias_ih_l0 + lstm.bias_hh_l0,
        "head_weight": linear.weight,
    }
    for role, theirs in pairs.items():
        ours = draw("torch", role)
        assert float(ours.std()) == pytest.approx(float(theirs.detach().std()), rel=0.1)
        if role != "embedding":  # the largest of normal numbers says little
            assert float(ours.abs().max()) == pytest.approx(float(theirs.detach().abs().max()), rel=0.2)
    assert float(draw("torch", "head_bias").abs().max()) == pytest.approx(1 / math.sqrt(60), rel=0.2)


#: Rectified units that are 0 stay so: their slope is 0 there.
NOT_RECTIFIED = [kind for kind in KINDS if kind not in ("IRNN", "IndRNN")]


def test_zeros_is_the_recurrent_layer_alone_with_the_head_of_nn_linear():
    for role in RECURRENT_ROLES:
        assert not draw("zeros", role).any()
    for role in ("embedding", "start_weight"):
        assert torch.equal(draw("zeros", role), draw("xavier", role))
    assert_uniform(draw("zeros", "head_weight"), 1 / math.sqrt(60))
    for role in HEAD_ROLES:
        assert torch.equal(draw("zeros", role), draw("torch", role))


@pytest.mark.parametrize("cell", NOT_RECTIFIED)
def test_a_layer_that_is_all_zero_learns_and_its_units_differ(cell: str):
    """h = 0 leaves U without a gradient at first, but not W and b; the head tells the units apart."""
    model = classifier(KINDS[cell], [0, 1], initialiser="zeros")
    losses, first = train(model)
    assert first >= {"layers.0.0.cell.W", "layers.0.0.cell.b"}
    assert not first & {"embedding", "head_weight", "layers.0.0.cell.U"}
    assert losses[-1] < 0.8 * losses[0]
    own = model.cell.W.detach().flatten(0, 2)  # [S G M, D]
    assert len(own.unique(dim=1).T) == own.shape[1] == 6


@pytest.mark.parametrize("cell", NOT_RECTIFIED)
@pytest.mark.parametrize("initial_state", ["zero", "learned", "input"])
def test_stacked_layers_that_are_all_zero_never_see_the_input_unless_they_start_from_it(cell: str, initial_state: str):
    model = classifier(KINDS[cell], [0, 1], widths=[5, 6], initial_state=initial_state, initialiser="zeros")
    train(model)
    with torch.no_grad():
        answers = model(torch.arange(10).view(1, 10, 1).expand(-1, -1, 3))
    apart = float((answers - answers[:, :1]).abs().max())
    assert apart > 1e-4 if initial_state == "input" else apart < 1e-6


def train(model: SequenceModel, updates: int = 40) -> tuple[list[float], set[str]]:
    """Train on sums of the first two of three digits; return the losses, and what the first update has gradients of."""
    inputs = torch.randint(10, (1, 64, 3), generator=Generator().manual_seed(3))
    targets = ((inputs[0, :, 0] + inputs[0, :, 1]) % 7).repeat(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses, first = [], set()
    for _ in range(updates):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 2), targets)
        loss.backward()
        losses.append(loss.item())
        first = first or {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
    return losses, first


def test_chrono_biases_are_logs_of_uniform_numbers():
    steps = chrono_biases((4000,), 35, Generator().manual_seed(0)).exp()
    assert 1 <= steps.min() < 1.05
    assert 33.9 < steps.max() <= 34
    assert abs(float(steps.mean()) - 17.5) < 0.5
    uniform = torch.rand(4000, generator=Generator().manual_seed(0)).tolist()
    expected = torch.tensor([math.log(1 + 33 * u) for u in uniform])  # libm's, rounded to float32
    torch.testing.assert_close(chrono_biases((4000,), 35, Generator().manual_seed(0)), expected, rtol=2**-24, atol=0)


def test_chrono_of_the_shortest_sequence_is_finite():
    assert torch.isfinite(chrono_biases((5,), 3, Generator().manual_seed(0))).all()
    with pytest.raises(ConfigError, match="at least 3 steps, not 2"):
        chrono_biases((5,), 2, Generator())


@pytest.mark.parametrize(
    ("scheme", "bound"),
    [
        ("xavier_4", 4 * math.sqrt(6 / (90 + 60))),
        ("fan_in_uniform", 1 / math.sqrt(90)),
        ("glorot_uniform", math.sqrt(6 / (90 + 60))),
    ],
)
@pytest.mark.parametrize("role", ["input_weight", "recurrent_weight"])
def test_uniform_schemes_see_one_matrix_of_30_and_60_by_60(scheme: str, bound: float, role: str):
    values = draw(scheme, role)
    assert_uniform(values, bound)
    assert float(values.var()) == pytest.approx(bound**2 / 3, rel=0.05)


@pytest.mark.parametrize("role", ["input_weight", "recurrent_weight"])
def test_normal_schemes_have_their_variance(role: str):
    he, truncated = draw("he_normal", role), draw("truncated_normal", role)
    assert float(he.var()) == pytest.approx(2 / 90, rel=0.05)
    assert float((he.abs() > 2 * math.sqrt(2 / 90)).float().mean()) == pytest.approx(0.0455, abs=0.01)
    assert float(he.double().pow(4).mean()) == pytest.approx(3 * (2 / 90) ** 2, rel=0.1)
    assert 0.19 < float(truncated.abs().max()) <= 0.2
    # a normal number that is kept only within 2 standard deviations has 0.7737 of its variance
    assert float(truncated.var()) == pytest.approx(0.7737 * 0.1**2, rel=0.05)


@pytest.mark.parametrize(
    "scheme", ["truncated_normal", "xavier_4", "fan_in_uniform", "he_normal", "glorot_uniform", "xavier_zero_bias"]
)
def test_biases_of_zero(scheme: str):
    assert not draw(scheme, "bias").any()


def test_bounds_follow_the_sizes_of_each_layer():
    """Two layers that read both ways: the second has 2 x 16 inputs, the head 2 x 40."""
    shape = {"widths": [16, 40], "bidirectional": True}
    fan_in = classifier(LSTM, [0], **shape, initialiser="fan_in_uniform")
    own = classifier(LSTM, [0], **shape, initialiser="torch")
    for layer, (M, D) in enumerate([(4, 16), (32, 40)]):
        for direction in (0, 1):
            assert_uniform(fan_in.layers[layer][direction].cell.U, 1 / math.sqrt(M + D))
            assert_uniform(own.layers[layer][direction].cell.U, 1 / math.sqrt(D))
    assert_uniform(own.head_weight, 1 / math.sqrt(80))


@pytest.mark.parametrize("initialiser", [*SCHEMES, "chrono"])
def test_a_seed_starts_the_same_in_any_group(initialiser: str):
    shape = {"widths": [3, 5], "bidirectional": True, "initial_state": "input", "longest": 9}
    group, alone = (classifier(LSTM, seeds, initialiser=initialiser, **shape) for seeds in ([4, 9, 2], [9]))
    for name, parameter in group.named_parameters():
        assert torch.equal(parameter[1], alone.get_parameter(name)[0]), name
    assert not torch.equal(group.embedding[0], group.embedding[1])


def test_unknown_initialiser_is_refused():
    with pytest.raises(ConfigError, match="initialiser 'glorot' is unknown; there are xavier, .*, chrono, file$"):
        classifier(LSTM, [0], initialiser="glorot")


# --- weights from a file ---


def write(path: Path, matrix: torch.Tensor) -> str:
    path.write_text("\n".join(" ".join(f"{x:.9g}" for x in row) for row in matrix.tolist()))
    return str(path)


def test_a_matrix_is_read_with_spaces_or_commas(tmp_path: Path):
    path = tmp_path / "weights.txt"
    path.write_text("1 -2.5\t3e-1\n\n4, 5,6\n  0,0 , 7.  \n")
    assert torch.equal(read_matrix(path), torch.tensor([[1, -2.5, 0.3], [4, 5, 6], [0, 0, 7]]))


def test_a_file_of_one_gate_is_every_gates_matrix(tmp_path: Path, generator: Generator):
    """Two layers that read both ways: [M + D, D] is [4 + 2, 2] in the first and [2 * 2 + 3, 3] in the second."""
    matrices = [torch.randn(6, 2, generator=generator), torch.randn(7, 3, generator=generator)]
    files = [write(tmp_path / f"{place}.txt", matrix) for place, matrix in enumerate(matrices)]
    shape = {"widths": [2, 3], "bidirectional": True}
    model = classifier(LSTM, [0, 1], **shape, initialiser="file", files=files)
    others = classifier(LSTM, [0, 1], **shape, initialiser="xavier_zero_bias")
    for layer, matrix in zip(model.layers, matrices, strict=True):
        for direction in layer:
            cell, M = direction.cell, direction.cell.W.shape[2]
            assert torch.equal(cell.W, matrix[:M].expand_as(cell.W))
            assert torch.equal(cell.U, matrix[M:].expand_as(cell.U))
            assert not cell.b.any()
    for name in ("embedding", "head_weight", "head_bias"):
        assert torch.equal(model.get_parameter(name), others.get_parameter(name))


def test_a_file_of_all_gates_has_them_side_by_side(tmp_path: Path, generator: Generator):
    matrix = torch.randn(4 + 3, 4 * 3, generator=generator)
    cell = classifier(LSTM, [0, 1], widths=[3], initialiser="file", files=[write(tmp_path / "all.txt", matrix)]).cell
    for place in range(4):
        for k in range(2):
            assert torch.equal(cell.W[k, place], matrix[:4, 3 * place : 3 * place + 3])
            assert torch.equal(cell.U[k, place], matrix[4:, 3 * place : 3 * place + 3])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read .*weights.txt: No such file or directory"),
        ("", "weights.txt is not a matrix: its 0 rows have no numbers"),
        ("1 2\nfour 5\n", "weights.txt is not a matrix of numbers: .*four"),
        ("1 2\n3\n4 5\n", r"weights.txt is not a matrix: its 3 rows have \[1, 2\] numbers"),
        ("1 2\n3 nan\n", "weights.txt holds numbers that are not finite"),
        ("1 2\n3 -inf\n", "weights.txt holds numbers that are not finite"),
        ("1 2\n3 1e39\n", "weights.txt holds numbers that are not finite"),  # in float32
        (b"\xff\xfe1", "weights.txt is not a matrix of numbers"),
        (
            "1 2 3\n4 5 6\n",
            r"weights.txt holds a matrix of shape \[2, 3\]; it must be \[7, 3\] \(input \+ hidden, hidden\) or, "
            r"gate after gate \(input_gate, forget_gate, output_gate, candidate\), \[7, 12\]",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path: Path, content: str | bytes | None, complaint: str):
    path = tmp_path / "weights.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=complaint) as error:
        classifier(LSTM, [0], widths=[3], initialiser="file", files=[str(path)])
    assert "\n" not in str(error.value)


def test_a_file_is_needed_for_each_layer_and_recurrent_weights_to_put_it_in(tmp_path: Path):
    file = write(tmp_path / "weights.txt", torch.ones(4 + 3, 3))
    with pytest.raises(ConfigError, match=r"weights.txt'\]: give one for each of the 2 layers"):
        classifier(SRN, [0], widths=[3, 3], initialiser="file", files=[file])
    with pytest.raises(ConfigError, match="initialiser=file: MinGRU has no recurrent weights"):
        classifier(MinGRU, [0], widths=[3], initialiser="file", files=[file])


def test_torchs_own_single_bias_is_not_a_sum_of_two():
    bound = 1 / math.sqrt(60)
    assert draw("torch", "extra_bias").abs().max() <= bound
    assert draw("torch", "bias").abs().max() > bound
