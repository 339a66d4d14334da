from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers import classifier, randomise
from torch import nn

from memexp.bench import baselines
from memexp.bench.contest import LAYER_MODELS, MODELS, has_torch_layer
from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell, SequenceModel
from memexp.tasks.task import Rows

TORCHS = pytest.mark.parametrize("name", LAYER_MODELS)
INPUTS = torch.tensor([[6, 7, 0, 0, 1], [0, 9, 0, 3, 0], [2, 2, 5, 0, 0]])
TARGETS = torch.tensor([[13], [9], [4]])


@pytest.fixture
def model(name: str, generator: torch.Generator) -> SequenceModel:
    """Two seeds, sizes that all differ, weights from N(0, 0.5^2), float64."""
    model = classifier(MODELS[name], [0, 1], classes=19)
    randomise(model, generator)
    return model


# --- torch's layer ---


@TORCHS
@pytest.mark.parametrize("k", [0, 1])
def test_memexp_equals_torch(model: SequenceModel, k: int):
    network = baselines.torch_classifier(model, k)
    assert max(baselines.differences(model, k, network, INPUTS, TARGETS)) < 1e-12


@TORCHS
def test_every_parameter_is_compared(model: SequenceModel):
    network = baselines.torch_classifier(model, 0)
    baselines.differences(model, 0, network, INPUTS, TARGETS)
    compared = baselines.torch_gradients(network, model.cell)
    own = {name: parameter.shape[1:] for name, parameter in model.named_parameters()}
    assert {name: gradient.shape for name, gradient in compared.items() if name != baselines.SECOND_BIAS} == own
    assert all(gradient.abs().max() > 1e-3 for gradient in compared.values())


@TORCHS
def test_another_seed_differs(model: SequenceModel):
    network = baselines.torch_classifier(model, 1)
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_differences_detect_swapped_gates(model: SequenceModel):
    network = baselines.torch_classifier(model, 0)
    for name, parameter in network.named_parameters():
        if name.startswith("1."):
            first, second, *rest = parameter.detach().chunk(len(model.cell.gates))
            parameter.data = torch.cat([second, first, *rest])
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@pytest.mark.parametrize("name", ["gru"])
def test_differences_detect_a_bias_on_the_wrong_side_of_the_reset(model: SequenceModel):
    network = baselines.torch_classifier(model, 0)
    inside, outside = (network.get_parameter(f"1.layer.bias_{side}_l0").data[12:] for side in ("hh", "ih"))
    assert torch.equal(inside, model.cell.get_parameter("c")[0, 0])
    outside += inside
    inside.zero_()
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@TORCHS
@pytest.mark.parametrize("parameter", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_differences_detect_a_wrong_gradient_alone(model: SequenceModel, parameter: str):
    network = baselines.torch_classifier(model, 0)
    network.get_parameter(f"1.layer.{parameter}_l0").register_hook(lambda gradient: gradient + 1e-6)
    outputs, gradients = baselines.differences(model, 0, network, INPUTS, TARGETS)
    assert outputs < 1e-12
    assert gradients == pytest.approx(1e-6, rel=1e-3)


# --- plain loops ---


@TORCHS
@pytest.mark.parametrize("k", [0, 1])
def test_the_loop_equals_memexp(model: SequenceModel, k: int):
    """Logits and all gradients: those of a gate's parameters are a row each of the cell's."""
    loop = baselines.loop_classifier(model, k)
    answers = loop(INPUTS), model(INPUTS[None])[k, :, 0]
    torch.testing.assert_close(*answers, atol=1e-12, rtol=0)
    for answer in answers:
        nn.functional.cross_entropy(answer, TARGETS[:, 0]).backward()
    gradients = {name: parameter.grad for name, parameter in loop.named_parameters()}
    outer = [model.embedding.grad[k], model.head_weight.grad[k].T, model.head_bias.grad[k]]
    theirs = [gradients.pop(name) for name in ("0.weight", "2.weight", "2.bias")]
    for name, parameter in model.cell.named_parameters():
        rows = parameter.grad[k]
        suffixes = loop[1].suffixes[: len(rows)] if len(rows) > 1 else [""]
        outer.append(rows)
        theirs.append(torch.stack([gradients.pop(f"1.{name}{suffix}") for suffix in suffixes]))
    assert not gradients
    torch.testing.assert_close(theirs, outer, atol=1e-12, rtol=0)


# --- cells that have neither ---


@pytest.mark.parametrize(
    ("make_cell", "says"),
    [
        (ResidualSRN, "torch has no layer for ResidualSRN; it has one for SRN, LSTM, GRU"),
        (MinLSTM, "torch has no layer for MinLSTM; it has one for SRN, LSTM, GRU"),
        (partial(LSTM, variant="peephole"), "torch has no layer for an LSTM with variant=peephole; nn.LSTM is"),
        (partial(LSTM, variant="no_input_gate"), "torch has no layer for an LSTM with variant=no_input_gate; nn.LSTM"),
        (
            partial(GRU, reset_after=False),
            "torch has no layer for this GRU: nn.GRU resets after the recurrent product, and ",
        ),
    ],
)
def test_a_cell_that_torch_has_no_layer_for(make_cell: MakeCell, says: str):
    model = classifier(make_cell, [0], classes=19)
    of_layer: list[Callable[[], object]] = [
        lambda: baselines.torch_layer(model.cell, 0),
        lambda: baselines.torch_classifier(model, 0),
    ]
    for build, complaint in (
        *((build, says) for build in of_layer),
        (
            lambda: baselines.loop_classifier(model, 0),
            f"there is no plain loop of this {type(model.cell).__name__}: {says}",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            build()
        assert str(error.value).startswith(complaint)
        assert "\n" not in str(error.value)
    assert not has_torch_layer(make_cell)


def test_the_two_conventions_of_the_gru_are_named():
    with pytest.raises(ConfigError, match="cannot use each other's weights"):
        baselines.torch_layer(GRU(1, 2, 3, reset_after=False), 0)


@pytest.mark.parametrize("name", MODELS)
def test_the_models_with_a_layer_have_a_loop_too(name: str):
    cell = MODELS[name](1, 2, 3)
    assert has_torch_layer(MODELS[name]) == (name in LAYER_MODELS) == (not baselines.no_torch_layer(cell))
    assert (type(cell) in baselines.LOOPS) == (type(cell) in baselines.TORCH_LAYERS)


# --- rows ---


@pytest.mark.parametrize("way", [baselines.loaded, baselines.sliced])
def test_batches_are_the_rows_in_order_epoch_after_epoch(way: Callable[..., object]):
    rows = Rows(torch.arange(35).view(7, 5), torch.arange(7)[:, None])
    batches = way(rows, 3)
    for _ in range(2):
        for start, stop in ((0, 3), (3, 6), (6, 7)):
            inputs, targets = next(batches)
            assert torch.equal(inputs, rows.inputs[start:stop])
            assert torch.equal(targets, rows.targets[start:stop])
