"""What is held against published numbers: the networks of 2001, the criterion of 1997, and the command."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import Command
from torch import Tensor

from memexp import published
from memexp.guess import all_right
from memexp.published import CLAIMS, UnitNet, latch, sequences_until, trained_until
from memexp.tasks.latch import Near, Sign
from memexp.tasks.task import Rows
from memexp.training.engines import Update


def one(**weights: float) -> dict[str, Tensor]:
    return {name: torch.tensor([[value]]) for name, value in weights.items()}


def test_the_networks_of_2001_set_by_hand_solve_the_latch_problem():
    rows = latch(0.2).rows("train")
    assert rows.inputs.shape == (100, 600, 1)
    first, second = UnitNet(free_inputs=True), UnitNet(free_inputs=False)
    assert all_right(first, one(up=30.0, down=-40.0, w=50.0), rows, Sign).tolist() == [0]
    assert all_right(first, one(up=30.0, down=40.0, w=50.0), rows, Sign).tolist() == []
    assert all_right(second, one(v=10.0, w=60.0, b=5.0), rows, Near).tolist() == [0]
    assert all_right(second, one(v=60.0, w=60.0, b=5.0), rows, Near).tolist() == []  # the noise turns it over
    assert all_right(second, one(v=60.0, w=70.0, b=5.0), latch(0.0).rows("train"), Near).tolist() == [0]


def test_without_noise_latch_2_takes_12_trials():
    """|b| < v and |b| < w, both positive, is a twelfth of the cube; one that oscillates fails at one length."""
    weights = {name: torch.rand(20_000, 1, generator=torch.Generator().manual_seed(k)) * 200 - 100
               for k, name in enumerate("vwb")}  # fmt: skip
    rows = latch(0.0).rows("train").slice(0, 4)
    ends = torch.tensor([[29], [29], [28], [28]])
    few = Rows(rows.inputs[:, :30], rows.targets[:, :30], (torch.arange(30) == ends).double())
    share = len(all_right(UnitNet(False), weights, few, Near)) / 20_000
    assert share == pytest.approx(1 / 12, abs=0.01)  # 5 standard deviations


class Known:
    """Stands for an engine: what each seed gets right is known beforehand, sequence by sequence."""

    def __init__(self, right: list[str]) -> None:
        self.right, self.seeds, self.updates = right, len(right), 0

    def update(self, rows: Rows) -> Update:
        B = rows.targets.shape[1]
        answers = torch.tensor([[float(c) for c in own[self.updates * B :][:B]] for own in self.right])[..., None, None]
        self.updates += 1
        return Update((2 * answers - 1, torch.ones(1, B, 1), None), {})

    def values(self, metric: type[Sign], answers: Tensor, targets: Tensor) -> Tensor:
        return metric.values(answers, targets)


@pytest.mark.parametrize("batch", [1, 3])
def test_sequences_are_counted_until_so_many_in_a_row_were_right(batch: int):
    engine = Known(["011101111000", "111100000000", "110110110110"])
    rows = Rows(torch.zeros(1, batch, 2), torch.ones(1, batch, 1))
    needed = sequences_until(engine, lambda update: rows, Sign, streak=4, most=12 // batch)  # type: ignore[arg-type]
    assert needed.tolist() == [9, 4, -1]
    engine = Known(["0111", "1110"])
    assert sequences_until(engine, lambda update: rows, Sign, 3, 4 // batch).tolist()[1] == 3  # type: ignore[arg-type]


def test_training_ends_once_every_seed_is_there():
    engine, rows = Known(["1111111", "0111111"]), Rows(torch.zeros(1, 1, 2), torch.ones(1, 1, 1))
    assert sequences_until(engine, lambda update: rows, Sign, 2, 7).tolist() == [2, 3]  # type: ignore[arg-type]
    assert engine.updates == 3


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_run_is_trained_until_it_gets_a_streak_right(engine: str, tmp_path: Path):
    settings = ["task=latch", "length=3", "task.noise=0.01", "model=srn", "model.hidden_size=5", "seeds=3"]
    settings += [
        "lr=0.03",
        "task.spread=0",
        "batch_size=2",
        f"datasets_dir={tmp_path}",
        f"outputs_dir={tmp_path}",
        f"engine={engine}",
    ]
    needed = trained_until(settings, streak=30, most=2000)
    assert needed.shape == (3,)
    assert (needed >= 30).all()
    assert (needed < 4000).all()
    assert trained_until(settings, streak=30, most=14).tolist() == [-1, -1, -1]
    assert [*tmp_path.iterdir()] == []


def test_the_command_says_whether_theirs_agrees_with_ours(
    in_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    said = in_process(published.main, "searches=2", "trials=100")
    table = pd.read_csv("images/published/published.csv")
    assert len(table) == len(CLAIMS)
    assert table.loc[0, ["their_low", "their_high"]].tolist() == pytest.approx([4.62, 8.21], abs=0.01)  # 6, 40 times
    assert (table.loc[1:, "their_low"] == 22).all()
    meets = (table["their_low"] <= table["high"]) & (table["low"] <= table["their_high"])
    assert table["agrees"].tolist() == meets.tolist()
    assert len(re.findall(r"\[.*\] +(yes|no)$", said, re.M)) == len(CLAIMS)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
