"""Weights out: torch's own layers with them answer the same, and read again they are the same."""

from pathlib import Path

import pytest
import torch
from helpers import KINDS, TORCH_KINDS, classifier, randomise
from torch import nn
from weights.lookalikes import OTHERS, Torch, Whole, saved

from memexp.errors import ConfigError
from memexp.models.cells import GRU, SRN
from memexp.weights.files import read, save
from memexp.weights.layouts import recognise
from memexp.weights.torch_layers import to_torch

V, M, D, K, S, B, L = 10, 4, 6, 19, 3, 5, 8
LAYERS = {"SRN": nn.RNN, "GRU reset after": nn.GRU, "LSTM": nn.LSTM}
STACKS = pytest.mark.parametrize(
    ("layers", "bidirectional", "embedding"), [(1, False, M), (3, False, M), (1, True, M), (2, True, M), (2, True, 0)]
)


@pytest.mark.parametrize("kind", TORCH_KINDS)
@STACKS
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_torch_s_layers_answer_the_same(
    kind: str, layers: int, bidirectional: bool, embedding: int, dtype: torch.dtype, within: float
):
    model = classifier(KINDS[kind], range(S), V, K, embedding, [D] * layers, bidirectional)
    randomise(model, torch.Generator().manual_seed(3), 0.3)
    model.to(dtype)
    digits = torch.randint(V, (B, L), generator=torch.Generator().manual_seed(4))
    for k in range(S):
        state = to_torch(model, k)
        net = nn.ModuleDict(
            {
                **({"embedding": nn.Embedding(V, embedding)} if embedding else {}),
                "rnn": LAYERS[kind](
                    embedding or V, D, num_layers=layers, bidirectional=bidirectional, batch_first=True, dtype=dtype
                ),
                "linear": nn.Linear(D * (1 + bidirectional), K),
            }
        ).to(dtype)
        net.load_state_dict(state)
        vectors = net["embedding"](digits) if embedding else nn.functional.one_hot(digits, V).to(dtype)
        last = net["rnn"](vectors)[1]
        last = last[0] if isinstance(last, tuple) else last
        theirs = net["linear"](torch.cat([*last[-1 - bidirectional :]], -1))
        torch.testing.assert_close(model(digits[None])[k, :, 0], theirs, rtol=0, atol=within)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("kind", TORCH_KINDS)
@STACKS
def test_what_is_written_is_read_again_to_the_bit(
    tmp_path: Path, suffix: str, kind: str, layers: int, bidirectional: bool, embedding: int
):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    model = classifier(KINDS[kind], range(S), V, K, embedding, [D] * layers, bidirectional, initialiser="torch")
    save(tmp_path / f"out.{suffix}", to_torch(model, 2))
    found = recognise(read(tmp_path / f"out.{suffix}").tensors)
    own = {name: parameter[2] for name, parameter in model.named_parameters()}
    assert own.keys() == found.parameters.keys()
    for name, tensor in own.items():
        assert torch.equal(found.parameters[name][0], tensor), name


def test_both_biases_are_summed_and_a_gru_s_inner_one_is_apart(tmp_path: Path):
    for kind in (nn.LSTM, nn.GRU):
        theirs = Whole(Torch(kind), OTHERS)
        state = theirs.state_dict()
        cell = recognise(read(saved(theirs, tmp_path / "theirs.pt")).tensors).parameters
        b = cell["layers.0.0.cell.b"][0]
        b_ih, b_hh = (state[f"lstm.layer.bias_{which}_l0"].view(len(b), -1) for which in ("ih", "hh"))
        if kind is nn.LSTM:  # torch: i, f, g, o
            assert torch.equal(b, (b_ih + b_hh)[[0, 1, 3, 2]])
        else:  # r, z, n
            assert torch.equal(b[:2], (b_ih + b_hh)[:2])
            assert torch.equal(b[2], b_ih[2])
            assert torch.equal(cell["layers.0.0.cell.c"][0, 0], b_hh[2])


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("LSTM coupled", {}, "nn.LSTM has no variant coupled"),
        ("LSTM peephole", {}, "nn.LSTM has no variant peephole"),
        ("GRU reset before", {}, "nn.GRU resets after the recurrent product, this one before it"),
        ("ResidualSRN", {}, "torch has no residual SRN"),
        ("MinGRU", {}, "torch has no minGRU"),
        ("LSTM", {"widths": (3, 4)}, r"layers of \[3, 4\] units: all layers of torch's have as many"),
        ("LSTM", {"initial_state": "learned"}, "the initial state is learned or computed"),
    ],
)
def test_what_torch_has_not_is_refused(kind: str, options: dict[str, object], said: str):
    model = classifier(KINDS[kind], range(1), **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"to=torch is not possible: .*{said}"):
        to_torch(model, 0)


def test_a_cell_of_a_user_s_own_is_not_taken_for_its_base():
    class Slow(SRN):
        title = "slow SRN"

    with pytest.raises(ConfigError, match="torch has no slow SRN"):
        to_torch(classifier(Slow, range(1)), 0)
    assert to_torch(classifier(lambda *sizes: GRU(*sizes, reset_after=True), range(1)), 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rnn.weight_hr_l0": torch.ones(3, D)}, "projection of the hidden state"),
        ({"rnn.weight_hh_l0": torch.ones(2 * D, D)}, r"rnn.weight_hh_l0 is \[12, 6\], where \[G x units, units\]"),
        (
            {"rnn.weight_ih_l0": torch.ones(3 * D, M)},
            r"rnn.weight_ih_l0 is \[18, 4\], where \[24, inputs\] is expected",
        ),
        ({"rnn.bias_hh_l0": torch.ones(D)}, r"rnn.bias_hh_l0 is \[6\], where \[24\] is expected"),
        ({"rnn.weight_ih_l1": torch.ones(4 * D, D)}, "without input or without recurrent weights"),
        ({"rnn.weight_ih_l1": torch.ones(4 * D, D + 1), "rnn.weight_hh_l1": torch.ones(4 * D, D)}, r"\[7, 6\].* there"),
        (
            {"rnn.weight_ih_l0_reverse": torch.ones(D, M), "rnn.weight_hh_l0_reverse": torch.ones(D, D)},
            "after the layer below or its other direction",
        ),
    ],
)
def test_layers_that_do_not_fit_are_named_with_both_shapes(changes: dict[str, torch.Tensor], said: str):
    state = to_torch(classifier(KINDS["LSTM"], range(1), V, K, M, [D]), 0)
    with pytest.raises(ConfigError, match=said):
        recognise({**state, **changes})
