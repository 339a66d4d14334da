"""Gradient against lag: how much of the error reaches the state of so many steps before."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves, lags
from memexp.figures.heatmaps import title_of
from memexp.figures.lags import LONGEST
from memexp.figures.lettering import entitled
from memexp.figures.looks import looks_of
from memexp.memory.measure import MOMENTS, Measure, Score, Subject
from memexp.memory.states import half_life, in_float64, read
from memexp.models.networks import SequenceModel
from memexp.results.study import Study, against
from memexp.tasks.metrics import Loss
from memexp.tasks.task import Rows
from memexp.training.credit import row_losses
from memexp.words import named, tr

ROWS = 64


def gradients(model: SequenceModel, loss: type[Loss], rows: Rows) -> dict[str, Tensor]:
    """Return the norm of the gradient of the last answer's loss with respect to each state, by lag.

    Args:
        model: it is not changed.
        loss: of the task.
        rows: without the axis of the seeds.

    Returns:
        Name of the state, as ``hidden_state`` or ``layer_1.cell_state`` -> [S, L], the median over rows, float64. At
        lag 0 stands the last step that the direction takes.
    """
    model, rows = in_float64(model), rows.with_seed_axis()
    with torch.enable_grad():
        answers, states = read(model, rows.inputs)
        weights = None if rows.weights is None else rows.weights[..., -1:]
        last = replace(rows, targets=rows.targets[..., -1:], weights=weights)
        total = row_losses(loss, answers[:, :, -1:], last).sum()  # of seeds and rows, which do not mix
        flat = [state for steps in states.values() for step in steps for state in step]
        found = iter(torch.autograd.grad(total, flat, allow_unused=True, materialize_grads=True))
    by_name: dict[str, list[Tensor]] = {}
    for prefix, direction in model.directions:
        for _ in states[prefix]:
            for name in direction.cell.states:
                by_name.setdefault(prefix + name, []).append(next(found).norm(dim=-1).quantile(0.5, dim=-1))
    return {name: torch.stack(norms[::-1], -1) for name, norms in by_name.items()}


class GradientReach(Measure):
    """The norm of the loss's gradient with respect to the states, by distance from the end, and its half-life.

    For each row, ||dLoss / dh_t|| and ||dLoss / dc_t||, Loss being that of the last answer (Pascanu, Mikolov and Bengio
    2013, equations 3 to 5: the product of the Jacobians d h_k / d h_(k-1) makes it vanish or explode with the lag). The
    gradient with respect to a state is the total one, with all that follows from it; h_t and c_t are two states. Median
    over 64 rows, for a row that is answered right has nearly none, in float64. The half-life is that of a straight line
    through log2 of these medians, by least squares over all lags: see `memexp.memory.states.half_life`. Where a trained
    network's gradient does not fall with the lag, its half-life is infinite, and the reach, the logarithm of the
    gradient at the largest lag over that at lag 0, says more; it is that of c where there is one. Of several layers the
    largest counts.

    Cost: for each of the two or three moments, one forward and one backward pass of 64 rows.
    """

    name = "gradient_reach"
    question = "how much of the error reaches the state of so many steps before?"
    scores: ClassVar[Mapping[str, Score]] = {
        f"{what}_{when}": Score(f"{about}, {MOMENTS[when]}", signed=what == "reach", most=most)
        for what, about, most in (
            ("h_half_life", f"steps in which the gradient with respect to h halves, at most {LONGEST}", LONGEST),
            ("c_half_life", f"steps in which the gradient with respect to c halves, at most {LONGEST}", LONGEST),
            ("reach", "log10 of the gradient with respect to the first state over that with respect to the last", inf),
        )
        for when in ("before", "after")
    }

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``when``, ``state``, ``lag``, ``norm``."""
        rows = subject.sample(ROWS)
        return pd.DataFrame(
            [
                (seed, when, state, lag, norm)
                for when, model in subject.moments.items()
                for state, norms in gradients(model, subject.task.loss, rows).items()
                for seed, own in zip(subject.seeds, norms.tolist(), strict=True)
                for lag, norm in enumerate(own)
            ],
            columns=["seed", "when", "state", "lag", "norm"],
        )

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the half-lives of h and c and the reach, before and after training."""
        seeds = table[["run", "seed"]].drop_duplicates()
        table = table.assign(kind=table["state"].str.rpartition(".")[2])
        lives = half_lives(table).assign(kind=lambda found: found["state"].str.rpartition(".")[2])
        has_c = (table["kind"] == "cell_state").groupby(table["run"]).transform("any")
        holds = table[table["kind"] == has_c.map({True: "cell_state", False: "hidden_state"})]
        ends = holds.sort_values("lag").groupby(["run", "seed", "when", "state"])["norm"].agg(["first", "last"])
        reach = ends.assign(reach=np.log10((ends["last"] / ends["first"]).where(ends["last"] > 0))).reset_index()
        for when in ("before", "after"):
            for state, kind in (("h", "hidden_state"), ("c", "cell_state")):
                own = lives[(lives["kind"] == kind) & (lives["when"] == when)]
                seeds = _with(seeds, own, "half_life", f"{state}_half_life_{when}")
            seeds = _with(seeds, reach[reach["when"] == when], "reach", f"reach_{when}")
        return seeds

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the norms against the lag, at the shortest, a middle and the longest length; and the half-lives."""
        columns = [(state, when) for state in table["state"].unique() for when in MOMENTS if when in set(table["when"])]
        looks = looks_of(table)
        shown = lags.some_lengths(table)
        norms, axes = curves.new_figure(len(shown), len(columns), width=2.9, height=2.5, share_x=False)
        for length, row in zip(shown, axes, strict=True):
            for (state, when), ax in zip(columns, row, strict=True):
                lags.norm_against_lag(table[_of(table, state, when) & (table["length"] == length)], ax, looks)
                if length == shown[0]:
                    entitled(ax, f"{title_of(state)}, {named(MOMENTS[when])}")
            row[0].set_ylabel(tr(f"norm, length {length}"))
        for ax in axes[-1]:
            ax.set_xlabel(tr("steps before the end"))
        curves.finish(norms, tr("Gradient of the last answer's loss by lag: geometric mean over seeds, 95 % interval"))
        return {self.name: norms, f"{self.name}_half_life": self._half_lives(table, columns, study)}

    def _half_lives(self, table: pd.DataFrame, columns: list[tuple[str, str]], study: Study) -> Figure:
        rows, axis = against(study.rows.merge(half_lives(table), on=["run", "seed"]))
        looks = looks_of(rows)
        figure, axes = curves.new_figure(1, len(columns), width=2.9)
        for (state, when), ax in zip(columns, axes.flat, strict=True):
            own = rows[_of(rows, state, when)]
            curves.score_against(
                own, "half_life", ax, looks, axis, bounds=(0, LONGEST), x_label=curves.digits_long(axis)
            )
            lags.steps_axis(ax)
            entitled(ax, f"{title_of(state)}, {named(MOMENTS[when])}")
        axes.flat[0].set_ylabel(tr("half-life of the gradient (steps)"))
        curves.finish(
            figure, tr("Steps in which the gradient halves: each seed, and their mean with its 95 % interval")
        )
        return figure


def half_lives(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``run``, ``seed``, ``when``, ``state``, ``half_life`` of the norms of a table, at most `LONGEST`."""
    keys = ["run", "seed", "when", "state"]
    found = (
        table.sort_values("lag")
        .groupby(keys, sort=False)["norm"]
        .agg(lambda norms: float(half_life(torch.tensor(norms.to_numpy()))))
    )
    return found.clip(upper=LONGEST).rename("half_life").reset_index()


def _of(table: pd.DataFrame, state: str, when: str) -> "pd.Series[bool]":
    return (table["state"] == state) & (table["when"] == when)


def _with(seeds: pd.DataFrame, found: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    """Give seeds the largest of what was found of each."""
    largest = found.groupby(["run", "seed"])[column].max().rename(name)
    return seeds.join(largest, on=["run", "seed"])
