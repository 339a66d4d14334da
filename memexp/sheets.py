"""What a trained model computes over one sequence, ready to be drawn: all on a sheet, or gate by gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from memexp.canvas import Figure
from memexp.escaping import plain
from memexp.figures import heatmaps
from memexp.words import named, tr

if TYPE_CHECKING:
    from memexp.trained import TrainedRun


@dataclass(frozen=True)
class Sheet:
    """What a model of one seed computes over a sequence.

    Attributes:
        trace: name of each part -> [L, D].
        predictions: what it answers, see `Loss.predictions`, [A, K].
        verdict: the same in words.
        title: which model it is, what it reads and what it answers.
        labels: each token as it is written.
        orders: name of a part -> its units from top to bottom, [D]; empty for 0, 1, ...
        token: what a token is called.
        bits: what each token costs, [L], where every one is an answer.
    """

    trace: Mapping[str, np.ndarray]
    predictions: np.ndarray
    verdict: str
    title: str
    labels: Sequence[str]
    orders: Mapping[str, np.ndarray]
    token: str
    bits: np.ndarray | None

    def figure(self) -> Figure:
        """Draw all parts on one sheet."""
        return heatmaps.sheet(self.trace, self.labels, self.title, self.orders, self.token, self.bits)

    def single(self, name: str) -> Figure:
        """Draw one part."""
        return heatmaps.single(self.trace[name], name, self.labels, self.title, self.orders.get(name), self.token)


def about(run: "TrainedRun", seed: int) -> str:
    """Say which model a figure is of."""
    if not run.summary["trained_on"]:  # weights from outside
        return plain(tr(f"{run.summary['title']} of {run.name}, seed {seed}"))
    return plain(tr(f"{run.summary['title']} trained on {named(run.summary['trained_on'])}, seed {seed} ({run.study})"))


def as_arrays(trace: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Take the first row of the first seed out of a trace: name -> [S, B, L, D] becomes name -> [L, D]."""
    return {name: part[0, 0].numpy() for name, part in trace.items()}


def look_at(
    run: "TrainedRun", sequence: Tensor, seed: int, names: Sequence[str] | None = None, by_time: bool = False
) -> Sheet:
    """Let the model of one seed read a sequence.

    Args:
        run: the run.
        sequence: [L] or [L, M].
        seed: one of the run's.
        names: which parts; None for all.
        by_time: order the units by when their hidden state changes most.

    Raises:
        ConfigError: the run does not have this seed, or the cell no such part.
    """
    model, reading = run.of(seed), run.reading
    inputs = sequence[None, None]
    predictions = run.predictions(model, sequence).numpy()
    trace = as_arrays(model.trace(inputs, names))
    orders: dict[str, np.ndarray] = {}
    note = ""
    if by_time:
        whole = as_arrays(model.trace(inputs))
        states = {name: whole[f"{name[: name.rfind('.') + 1]}hidden_state"] for name in trace}  # of the part's own cell
        orders = {  # a cell that reads backwards acts in the other order
            name: heatmaps.units_by_time(state[::-1] if "backwards." in name else state)
            for name, state in states.items()
        }
        note = "\n" + tr("units sorted by when their hidden state changes most")
    verdict = reading.describe(sequence, predictions)
    title = f"{about(run, seed)}\n{reading.write(sequence)}\n{verdict}{note}"
    labels, bits = reading.labels(sequence), reading.costs(sequence, predictions)
    return Sheet(trace, predictions, verdict, title, labels, orders, reading.token, bits)
