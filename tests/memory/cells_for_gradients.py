"""Cells and networks whose gradients are known in closed form."""

from functools import partial

import torch
from helpers import classifier
from torch import Tensor

from memexp.models.cells import LSTM, Cell, Parts, State
from memexp.models.networks import SequenceModel


class Leaky(Cell):
    """h_t = a h_{t-1} + x_t W + b, with a decay a for each seed."""

    gates = ("candidate",)
    recurrent_gates = False

    def __init__(self, seeds: int, input_size: int, hidden_size: int, decays: list[float]) -> None:
        super().__init__(seeds, input_size, hidden_size)
        self.register_buffer("decay", torch.tensor(decays)[:, None, None], persistent=False)

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:
        h = self.decay * state[0] + x[:, 0]
        return (h,), {"candidate": x[:, 0], "hidden_state": h}


class Linear(Cell):
    """h_t = h_{t-1} U + x_t W + b."""

    gates = ("candidate",)

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:
        h = (x + self.recurrent(state[0])).squeeze(1)
        return (h,), {"candidate": x[:, 0], "hidden_state": h}


class Memoryless(Cell):
    """h_t = tanh(x_t W + b)."""

    gates = ("hidden_state",)
    recurrent_gates = False

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:
        h = torch.tanh(x[:, 0]) + 0 * state[0]
        return (h,), {"hidden_state": h}


def held(forget: list[float], **sizes: int) -> SequenceModel:
    """Build an LSTM whose forget gate is the same number at every step, a number for each seed: 1 is a latch."""
    model = classifier(partial(LSTM, variant="none"), range(len(forget)), **sizes)
    cell, gate = model.cell, LSTM.gates.index("forget_gate")
    with torch.no_grad():
        cell.U.zero_()
        cell.W[:, gate] = 0
        cell.b[:, gate] = torch.logit(torch.tensor(forget, dtype=torch.float64))[:, None].clamp(max=100)
    return model
