import math

import pytest
import torch
from torch import Generator, nn

from memexp.errors import ConfigError
from memexp.initialisers import SCHEMES, chrono_biases
from memexp.models import LSTM, SequenceClassifier

SHAPES = {
    "embedding": (50, 30),
    "input_weight": (4, 30, 60),
    "recurrent_weight": (4, 60, 60),
    "bias": (4, 60),
    "head_weight": (60, 20),
    "head_bias": (20,),
}


def draw(scheme: str, role: str) -> torch.Tensor:
    return SCHEMES[scheme](role, SHAPES[role], 60, Generator().manual_seed(1))


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
        ("head_weight", math.sqrt(6 / 80)),
    ],
)
def test_xavier_bounds_are_those_of_each_gates_own_matrix(role: str, bound: float):
    assert_uniform(draw("xavier", role), bound)
    for scheme in ("xavier", "xavier_zero_bias", "zeros", "orthogonal"):
        assert not draw(scheme, "head_bias").any()


def test_xavier_zero_bias_differs_from_xavier_in_the_gates_biases_alone():
    for role in SHAPES:
        if role == "bias":
            assert not draw("xavier_zero_bias", role).any()
        else:
            assert torch.equal(draw("xavier_zero_bias", role), draw("xavier", role))


def test_zeros_is_the_recurrent_layer_alone():
    for role in ("input_weight", "recurrent_weight", "bias"):
        assert not draw("zeros", role).any()
    assert torch.equal(draw("zeros", "embedding"), draw("xavier", "embedding"))
    assert torch.equal(draw("zeros", "head_weight"), draw("xavier", "head_weight"))


def test_orthogonal_recurrent_matrices():
    matrices = draw("orthogonal", "recurrent_weight").double()
    torch.testing.assert_close(
        matrices @ matrices.transpose(1, 2),
        torch.eye(60, dtype=torch.float64).expand(4, 60, 60),
        atol=1e-5,
        rtol=0,
    )
    assert torch.equal(draw("orthogonal", "bias"), draw("xavier", "bias"))


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


def test_chrono_biases_are_logs_of_uniform_numbers():
    steps = chrono_biases((4000,), 35, Generator().manual_seed(0)).exp()
    assert 1 <= steps.min() < 1.05
    assert 33.9 < steps.max() <= 34
    assert abs(float(steps.mean()) - 17.5) < 0.5


def test_chrono_of_the_shortest_sequence_is_finite():
    assert torch.isfinite(chrono_biases((5,), 3, Generator().manual_seed(0))).all()
    with pytest.raises(ConfigError, match="at least 3 steps, not 2"):
        chrono_biases((5,), 2, Generator())


def test_unknown_initialiser_is_refused():
    with pytest.raises(ConfigError, match="initialiser 'glorot' is unknown; there are xavier"):
        SequenceClassifier(LSTM, [0], 10, 7, initialiser="glorot")
