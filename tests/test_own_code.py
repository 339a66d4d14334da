"""A cell of a user's own, end to end: its settings, its random numbers, its code as a part of what a run is."""

import json
from pathlib import Path

import forked
import pandas as pd
import pytest
import torch
from helpers import CommandLine

CELL = '''
from typing import Annotated

import torch
from torch import nn

from memexp.fields import limits
from memexp.models import Cell


class Leaky(Cell):
    """A leaky SRN, with a gain for each unit that begins at random."""

    title = "leaky"
    gates = ("candidate",)

    def __init__(self, seeds: int, input_size: int, hidden_size: int, leak: Annotated[float, limits(0, most=1)]):
        super().__init__(seeds, input_size, hidden_size)
        self.leak = leak
        self.gain = nn.Parameter(torch.rand(seeds, 1, hidden_size))

    def step(self, x, state):
        candidate = torch.tanh(x + self.recurrent(state[0])).squeeze(1) * self.gain
        h = self.leak * state[0] + (1 - self.leak) * candidate
        return (h,), {"candidate": candidate, "hidden_state": h}
'''
YAML = """
defaults: [/common/model@_here_, _self_]
_target_: mycells.Leaky
name: leaky
leak: 0.9
"""
OWN = ("--config-dir", "conf")
TINY = ("model=leaky", "length=4", "epochs=1", "study=own")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a user with a cell of their own."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "leaky.yaml").write_text(YAML)
    (tmp_path / "mycells.py").write_text(CELL)
    return tmp_path


@pytest.mark.slow
def test_a_setting_of_its_own_is_swept_and_named(memexp: CommandLine, folder: Path):
    done = memexp(*OWN, "-m", *TINY, "seeds=2", "model.leak=0.1,0.5", "hydra/launcher=basic")
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(folder / "images" / "own" / "seeds.csv")
    assert sorted(set(table["model.leak"])) == [0.1, 0.5]
    assert set(table["label"]) == {"leaky, leak 0.1", "leaky, leak 0.5"}
    (one, other) = sorted((folder / "outputs" / "own").glob("*/config.json"))
    assert [json.loads(path.read_text())["model"]["leak"] for path in (one, other)] == [0.1, 0.5]
    refused = memexp(*OWN, *TINY, "model.leak=3")
    assert (refused.returncode, refused.stderr) == (1, "memexp: model.leak=3.0 is too large; it must be at most 1\n")


@pytest.mark.slow
def test_its_random_numbers_are_its_seeds_and_its_code_is_its_runs(memexp: CommandLine, folder: Path):
    for study, seeds in (("own", "seeds=2"), ("again", "seeds=[1]")):
        done = memexp(*OWN, *TINY, seeds, f"study={study}")
        assert done.returncode == 0, done.stdout + done.stderr
    group, alone = (
        torch.load(next(folder.glob(f"outputs/{s}/*/best.pt")), weights_only=True) for s in ("own", "again")
    )
    for name, weights in group["weights"].items():
        torch.testing.assert_close(weights[1:], alone["weights"][name], atol=1e-6, rtol=0)
    assert not torch.equal(*group["weights"]["layers.0.0.cell.gain"])

    (folder / "mycells.py").write_text(CELL.replace("torch.tanh", "torch.sin"))
    said = "was trained with other code of Leaky than there is now; bring that code back, or train the new one with"
    gates = forked.run("memexp.gates", "study=own", "averages=false", folder=folder)
    trained = memexp(*OWN, *TINY, "seeds=2")
    swept = memexp(*OWN, "-m", *TINY, "seeds=2", "hydra/launcher=basic")
    assert [done.returncode for done in (gates, trained, swept)] == [1, 1, 1]
    assert all(said in shown for shown in (gates.stderr, trained.stderr, swept.stdout))
    (folder / "mycells.py").write_text(CELL + "\n\nUNUSED = 1\n")
    assert "skipped" in memexp(*OWN, *TINY, "seeds=2").stdout
    (folder / "mycells.py").unlink()
    lost = forked.run("memexp.gates", "study=own", "averages=false", folder=folder)
    assert lost.returncode == 1
    assert "mycells.Leaky cannot be imported" in lost.stderr
    assert lost.stderr.endswith("; give the command in the folder where mycells is\n")
    assert "delete" not in lost.stderr
