"""What the tests share: random cells, and running the command line in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from memexp import machine
from memexp.models import Cell

machine.prepare()


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
