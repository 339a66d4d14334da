"""How many sequences a seed sees until it gets so many in a row right: Hochreiter and Schmidhuber's criterion (1997),
"the 2000 most recent sequences were processed correctly". Axis letters as in `memexp.models.cells`.
"""

from typing import Any

import torch
from torch import Tensor

from memexp.tasks.metrics import Mean

STATE = ("in_a_row", "needed", "is_settled")  # of each seed, [S]; ``seen`` is of all


class Streak:
    """Count training sequences, each judged by what was answered before its own update.

    Args:
        length: how many in a row have to be right.
        metric: an answer is right where its value is 1, a sequence if all its answers that count are.
        seeds: S.
        device: of the answers.

    Attributes:
        seen: sequences so far.
        needed: [S], with which sequence a seed was there, from 1; -1 before that.
        is_settled: [S], whether dev was scored since, so that nothing that comes later can choose a seed's weights.
    """

    def __init__(self, length: int, metric: type[Mean], seeds: int, device: torch.device | str = "cpu") -> None:
        self.length, self.metric = length, metric
        self.seen = 0
        self.in_a_row = torch.zeros(seeds, dtype=torch.long, device=device)
        self.needed = torch.full((seeds,), -1, device=device)
        self.is_settled = torch.zeros(seeds, dtype=torch.bool, device=device)

    @property
    def is_there(self) -> Tensor:
        """Which seeds are there, [S]."""
        return self.needed >= 0

    def add(self, right: Tensor) -> None:
        """Add the next sequences, in the order in which they were trained on: right or wrong, [S, N]."""
        N = right.shape[1]
        place = torch.arange(1, N + 1, device=right.device)
        wrong = torch.where(right, 0, place).cummax(1).values  # the last wrong one up to each place, 0 for none
        runs = place - wrong + torch.where(wrong == 0, self.in_a_row[:, None], 0)
        there = torch.where(runs >= self.length, place, N + 1).amin(1)
        self.needed = torch.where(~self.is_there & (there <= N), self.seen + there, self.needed)
        self.in_a_row, self.seen = runs[:, -1], self.seen + N

    def by_seed(self) -> list[int | None]:
        """Return how many sequences each seed took; None where it is not there."""
        return [needed if needed >= 0 else None for needed in self.needed.tolist()]

    def settle(self) -> None:
        """Note that dev was scored."""
        self.is_settled = self.is_there

    def state(self) -> dict[str, Any]:
        """Return what has to be saved."""
        return {"seen": self.seen, **{name: getattr(self, name) for name in STATE}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        for name in ("seen", *STATE):
            setattr(self, name, state[name])
