from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers import classifier

from memexp.bench import baselines
from memexp.bench.contest import LAYER_MODELS, MODELS, has_torch_layer
from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell
from memexp.tasks.task import Rows

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
