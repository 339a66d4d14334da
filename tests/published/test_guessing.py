"""The networks of 2001, whose weights are guessed."""

import pytest
import torch
from torch import Tensor

from memexp.guess import all_right
from memexp.published.guessing import UnitNet, latch
from memexp.tasks.latch import Near, Sign
from memexp.tasks.task import Rows


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
