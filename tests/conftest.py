"""What the tests share: copying weights into torch's layers, and running the command line in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from memexp import machine
from memexp.models import LSTM, SRN, Cell

machine.prepare()

TORCH_LAYERS: dict[type[Cell], tuple[type[nn.RNNBase], tuple[str, ...]]] = {
    SRN: (nn.RNN, ("hidden_state",)),
    LSTM: (nn.LSTM, ("input_gate", "forget_gate", "candidate", "output_gate")),  # torch's order of the gates
}


def torch_layer(cell: Cell, k: int) -> nn.RNNBase:
    """Build torch's own layer with the weights of seed k; its second bias is zero."""
    kind, order = TORCH_LAYERS[type(cell)]
    places = [cell.gates.index(name) for name in order]
    layer = kind(cell.W.shape[2], cell.W.shape[3], batch_first=True, dtype=cell.W.dtype)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.cat([cell.W[k, g].T for g in places]))
        layer.weight_hh_l0.copy_(torch.cat([cell.U[k, g].T for g in places]))
        layer.bias_ih_l0.copy_(torch.cat([cell.b[k, g] for g in places]))
        layer.bias_hh_l0.zero_()
    return layer


def random_cell(kind: type[Cell], seeds: int, input_size: int, hidden_size: int, generator: torch.Generator) -> Cell:
    """Build a cell in float64 with weights from N(0, 0.5^2)."""
    cell = kind(seeds, input_size, hidden_size).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return cell


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)


CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def memexp(tmp_path: Path) -> CommandLine:
    """Run ``python -m memexp ARGUMENTS`` in the test's own folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memexp", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            timeout=300,
            **options,  # type: ignore[call-overload]
        )

    return run
