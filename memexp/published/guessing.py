"""Random weight guessing on the latch problem, as in 2001. Axis letters as in `memexp.models.cells`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from memexp.guess import Net, mean_trials, search
from memexp.published.claims import Claim, Estimate, Measured, exactly, trials
from memexp.tasks.latch import Latch, Near, Sign
from memexp.tasks.metrics import Mean

RANGE = 100.0  # weights are guessed from -100 to 100, as in 2001
GUESSING = "Schmidhuber, Hochreiter, Bengio 2001, section 3"


class UnitNet:
    """Latch I and II: one tanh unit, h_t = tanh(w h_{t-1} + what comes in), whose output is the answer.

    Args:
        free_inputs: Latch I: the first input is one of two weights, by the class, and the noise comes in as it is:
            the weights are u_+, u_- and w. Else Latch II: h_t = tanh(v x_t + w h_{t-1} + b), with v, w and b.
    """

    def __init__(self, free_inputs: bool) -> None:
        self.free_inputs = free_inputs
        self.shapes = dict.fromkeys(("up", "down", "w") if free_inputs else ("v", "w", "b"), (1,))

    def answers(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Answer: weights [S, 1] each, inputs [N, L, 1] -> [S, N, L, 1]; see `memexp.guess.Net`."""
        x = inputs[..., 0]
        if self.free_inputs:
            first = torch.where(x[:, 0] > 0, weights["up"], weights["down"])  # [S, N]
            steps = [first, *x.T[1:]]
        else:
            steps = [weights["v"] * step + weights["b"] for step in x.T]
        h, outputs = torch.zeros(len(weights["w"]), len(x), device=x.device), []
        for step in steps:
            h = torch.tanh(step + weights["w"] * h)
            outputs.append(h)
        return torch.stack(outputs, -1)[..., None]

    def held(self, inputs: Tensor) -> int:
        """Return how many numbers one lane holds for one row."""
        return 2 * inputs.shape[1]


def latch(noise: float) -> Latch:
    """Build the latch problem of 2001, lengths 500 to 600.

    Args:
        noise: its variance.
    """
    return Latch(
        length=500, spread=100, noise=noise, train_rows=100, sampling="fixed", shuffle=False, data_seed=0, seeds=[0],
        batch_size=100, folder=Path("datasets"),
    )  # fmt: skip


def guessed(net: Net, noise: float, metric: type[Mean], measured: Measured) -> Estimate:
    """Search the latch problem as often as asked for; return the mean number of trials."""
    rows = latch(noise).rows("train")
    found = [search(net, rows, metric, seed, measured.trials, RANGE) for seed in range(measured.searches)]
    ended = mean_trials([one.trials for one in found], [one.weights is not None for one in found])
    return Estimate(*ended, measured.searches)


#: An answer of ±1 is never less than 0.1 away from Latch I's targets of ±0.8, so there the sign decides.
CLAIMS = (
    Claim(GUESSING, "latch I: trials of guessing", trials(6, 40), partial(guessed, UnitNet(True), 0.2, Sign)),
    Claim(GUESSING, "latch II: trials of guessing", exactly(22), partial(guessed, UnitNet(False), 0.2, Near)),
    Claim(
        GUESSING, "latch II, were 0.2 the standard deviation of the noise", exactly(22),
        partial(guessed, UnitNet(False), 0.2**2, Near),
    ),
    Claim(GUESSING, "latch II without noise", exactly(22), partial(guessed, UnitNet(False), 0.0, Near)),
)  # fmt: skip
