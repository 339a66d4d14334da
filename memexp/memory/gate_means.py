"""Gate means: how far the gates stand open, by kind of token."""

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves
from memexp.figures.heatmaps import title_of
from memexp.figures.lettering import entitled
from memexp.figures.looks import looks_of
from memexp.memory.measure import MOMENTS, Measure, Score, Subject
from memexp.models.networks import SequenceModel
from memexp.results.study import Study, against
from memexp.words import named, tr

ROWS = 200
GATES = ("input_gate", "forget_gate", "output_gate", "reset_gate", "update_gate")  # of the cells of memexp
REST = "not needed"  # beside the kinds of tokens: all that the answer does not depend on


def means(model: SequenceModel, inputs: Tensor, of_kind: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the mean of every gate over the tokens of each kind, and over units: gate -> kind -> [S].

    Args:
        model: the model; of several layers and directions the gates of a name count together.
        inputs: [B, L] or [B, L, M].
        of_kind: kind -> which tokens are of it, [B, L]; one that does not occur has no mean (NaN).
    """
    found: dict[str, dict[str, list[Tensor]]] = {}
    for name, part in model.trace(inputs[None]).items():
        gate = name.rpartition(".")[2]
        if gate in GATES:
            for kind, tokens in of_kind.items():
                found.setdefault(gate, {}).setdefault(kind, []).append(part.double().mean(-1)[:, tokens].mean(-1))
    return {
        gate: {kind: torch.stack(parts).mean(0) for kind, parts in by_kind.items()} for gate, by_kind in found.items()
    }


class GateMeans(Measure):
    """How far each gate stands open: its mean over units, rows and the tokens of a kind, 0 shut and 1 open.

    The score is the mean after training over the tokens that the answer does not depend on (all of them where the task
    does not say which these are). A GRU's update gate weighs the old state, a minGRU's the new one.

    Cost: one forward pass of 200 rows for each moment.
    """

    name = "gate_means"
    question = "how far do the gates stand open?"
    scores: ClassVar[Mapping[str, Score]] = {
        gate: Score(f"mean of the {gate.replace('_', ' ')} over the tokens that are not needed", share=True)
        for gate in GATES
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that there are no gates."""
        there = {name for _, direction in subject.after.directions for name in direction.cell.gates}
        return None if there & set(GATES) else f"{type(subject.after.cell).__name__} has no gates"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``when``, ``gate``, ``kind``, ``mean``."""
        inputs, reading = subject.sample(ROWS).inputs, subject.run.reading
        kinds, needed = reading.token_kinds(inputs), subject.task.needed(inputs)
        of_kind = {kind: kinds == number for number, kind in enumerate(reading.kinds)}
        of_kind[REST] = torch.ones_like(kinds, dtype=torch.bool) if needed is None else ~needed
        return pd.DataFrame(
            [
                (seed, when, gate, kind, mean)
                for when, model in subject.moments.items()
                for gate, by_kind in means(model, inputs, of_kind).items()
                for kind, of_seeds in by_kind.items()
                for seed, mean in zip(subject.seeds, of_seeds.tolist(), strict=True)
            ],
            columns=["seed", "when", "gate", "kind", "mean"],
        )

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the mean of each gate after training; NaN for one that the cell does not have."""
        own = table[(table["when"] == "after") & (table["kind"] == REST)]
        wide = own.pivot_table(index=["run", "seed"], columns="gate", values="mean").reindex(columns=list(GATES))
        return wide.reset_index()

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the means over the tokens that are not needed, a row of panels before training and one after it."""
        own = table[(table["kind"] == REST) & table["when"].isin(["before", "after"])]
        gates = [gate for gate in GATES if gate in set(own["gate"])]
        rows, axis = against(study.rows.merge(own[["run", "seed", "when", "gate", "mean"]], on=["run", "seed"]))
        looks, numbers = looks_of(rows), rows[axis].dropna().tolist()
        figure, axes = curves.new_figure(2, len(gates), width=max(3.2, 6.4 / len(gates)), height=2.7)
        for line, when in zip(axes, ("before", "after"), strict=True):
            for ax, gate in zip(line, gates, strict=True):
                shown = rows[(rows["when"] == when) & (rows["gate"] == gate)]
                curves.score_against(shown, "mean", ax, looks, axis, bounds=(0, 1), numbers=numbers)
                curves.score_axis(ax, share=True)
                entitled(ax, title_of(gate) if when == "before" else "")
                ax.set_xlabel("" if when == "before" else curves.digits_long(axis) or curves.axis_label(axis))
            line[0].set_ylabel(named(MOMENTS[when]))
        curves.finish(figure, tr("Mean of each gate where nothing has to be read: each seed; mean, 95 % interval"))
        return {self.name: figure}
