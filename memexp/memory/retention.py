"""Retention: how much of what is held the gates keep, by unit and kind of token, and to the end."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves, lags
from memexp.figures.lettering import entitled
from memexp.figures.looks import looks_of
from memexp.memory.gradient_reach import gradients
from memexp.memory.measure import MOMENTS, Measure, Score, Subject
from memexp.memory.states import half_life
from memexp.models.networks import SequenceModel
from memexp.results.study import Study, against
from memexp.words import named, tr

ROWS = 64  # those of `memexp.memory.gradient_reach`
TO_THE_END = "from the last needed token to the end"


class Kept(NamedTuple):
    """By what the gates of a layer multiply its state.

    Attributes:
        by_kind: the geometric mean of f over the tokens of a kind and the rows, [S, kinds, D]; NaN for a kind that does
            not occur.
        to_the_end: the product of f over the steps after the last token that is needed, mean over rows, [S, D]; NaN
            where the task does not say which are.
        by_lag: the root mean square over units and rows of the product of f over the last steps, [S, L], from 1 at lag
            0: the gradient that would come back through the gates alone, if it were the same for all units.
    """

    by_kind: Tensor
    to_the_end: Tensor
    by_lag: Tensor


def retained(f: Tensor, kinds: Tensor, count: int, needed: Tensor | None) -> Kept:
    """Sum up what gates keep.

    Args:
        f: by what the state is multiplied, [S, B, L, D], in the order in which it is read.
        kinds: of the tokens, from 0 to ``count`` - 1, [B, L].
        count: how many kinds there are.
        needed: which tokens are, [B, L]; None where that is not known.
    """
    logs = f.double().abs().log()  # an eigenvalue may be negative: it turns what it keeps about
    by_kind = torch.stack([logs[:, kinds == kind].mean(1).exp() for kind in range(count)], 1)
    after = torch.zeros_like(logs[:, :, 0]) if needed is None else _after_the_last(needed, logs)
    to_the_end = after.exp().mean(1) if needed is not None else torch.full_like(by_kind[:, 0], torch.nan)
    last_steps = logs.flip(2).cumsum(2)[:, :, :-1]  # of the last 1, 2, ... steps
    by_lag = torch.cat([torch.zeros_like(logs[:, :, :1]), last_steps], 2).mul(2).exp().mean((1, 3)).sqrt()
    return Kept(by_kind, to_the_end, by_lag)


def _after_the_last(needed: Tensor, logs: Tensor) -> Tensor:
    """Sum over the steps after the last needed token, [S, B, L, D] -> [S, B, D]."""
    later = needed.flip(1).long().cumsum(1).flip(1) == 0
    return logs.where(later[:, :, None], 0).sum(2)


class Layer(NamedTuple):
    """One direction of a layer whose gates keep its state.

    Attributes:
        state: the one that is kept, as in `gradients`.
        backwards: whether it reads from the last token to the first.
        f: by what it is multiplied, [S, B, L, D], in the order in which it reads.
    """

    state: str
    backwards: bool
    f: Tensor

    def in_order(self, tokens: Tensor) -> Tensor:
        """Put what there is of each token, [B, L], into the order in which it reads."""
        return tokens.flip(1) if self.backwards else tokens


def layers(model: SequenceModel, inputs: Tensor) -> list[Layer]:
    """Return the directions of the layers whose gates keep their state, and what these do on inputs [B, L]."""
    parts, found = model.trace(inputs[None]), []
    for prefix, direction in model.directions:
        own = {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
        f = direction.cell.kept(own)
        if f is not None:
            f = f.flip(2) if direction.backwards else f
            found.append(Layer(f"{prefix}{direction.cell.states[-1]}", direction.backwards, f))
    return found


class Retention(Measure):
    """What the gates keep: the half-life of each unit by kind of token, and what is left at the end.

    In c_t = f_t c_(t-1) + ..., a unit that is multiplied by f at every step has the half-life ln 0.5 / ln f; of several
    tokens f is the geometric mean, for it is their product that counts (a gate's time constant is about 1 / (1 - f):
    Tallec and Ollivier 2018, section 2). f is the forget gate of an LSTM (coupled: 1 - input gate) and of a minLSTM,
    normalised; the update gate Z of a GRU, which weighs the old state; 1 - Z of a minGRU, where it weighs the new one;
    the size of a diagonal recurrence's eigenvalue.
    `memexp.models.cells.Cell.kept` says so. ``retained`` is the product of f from the last needed token to the end, the
    mean over units and rows. ``gate_half_life`` is that of the root mean square over units of the product of the last
    gates, by `memexp.memory.states.half_life`. What the gates pass on to the first step is held against what the
    gradient with respect to the same state does, see `memexp.memory.gradient_reach`: what this has more comes back
    through the other weights. Of several layers the largest counts.

    Cost: for each moment, two forward passes and one backward pass of 64 rows.
    """

    name = "retention"
    question = "how much of what is held do the gates keep?"
    scores: ClassVar[Mapping[str, Score]] = {
        f"{what}_{when}": Score(f"{about}, {MOMENTS[when]}", share=share, most=lags.LONGEST)
        for what, about, share in (
            ("retained", f"product of f {TO_THE_END}, mean over units", True),
            ("gate_half_life", f"steps in which what the gates pass on halves, at most {lags.LONGEST}", False),
        )
        for when in ("before", "after")
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that no gate keeps the state."""
        if layers(subject.after, subject.sample(1).inputs):
            return None
        cell = subject.after.cell
        return f"no gate of its {cell.title or type(cell).__name__} keeps the state (it has {', '.join(cell.gates)})"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``when``, ``state``, ``unit``, ``kind``, ``kept``, and numbers of the whole state.

        A unit has a row for each kind of token, and one for the product from the last needed token to the end. Of the
        state there is the half-life by its gates, and what is left of a gradient at the first step, ``by_gates`` alone
        and ``by_gradient`` in all.
        """
        rows, reading = subject.sample(ROWS), subject.run.reading
        kinds, needed = reading.token_kinds(rows.inputs), subject.task.needed(rows.inputs)
        names, found = [*reading.kinds, TO_THE_END], []
        for when, model in subject.moments.items():
            of_gradient = gradients(model, subject.task.loss, rows)
            for layer in layers(model, rows.inputs):
                asked = None if needed is None else layer.in_order(needed)
                own = retained(layer.f, layer.in_order(kinds), len(reading.kinds), asked)
                both = (own.by_lag, of_gradient[layer.state])
                of_seeds = torch.stack([half_life(own.by_lag), *(norms[:, -1] / norms[:, 0] for norms in both)], 1)
                kept = torch.cat([own.by_kind, own.to_the_end[:, None]], 1).tolist()
                found += [
                    (seed, when, layer.state, unit, name, value, *of_seed)
                    for seed, by_kind, of_seed in zip(subject.seeds, kept, of_seeds.tolist(), strict=True)
                    for name, by_unit in zip(names, by_kind, strict=True)
                    for unit, value in enumerate(by_unit)
                ]
        own_of_seeds = ["gate_half_life", "by_gates", "by_gradient"]
        table = pd.DataFrame(found, columns=["seed", "when", "state", "unit", "kind", "kept", *own_of_seeds])
        return table.dropna(subset="kept")

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return what is left at the end, and the half-life of the gates, before and after training."""
        keys = ["run", "seed", "when", "state"]
        lives = table.groupby(keys)["gate_half_life"].first().clip(upper=lags.LONGEST)
        left = table[table["kind"] == TO_THE_END].groupby(keys)["kept"].mean()
        found = pd.DataFrame({"retained": left, "gate_half_life": lives}).groupby(["run", "seed", "when"]).max()
        seeds = table[["run", "seed"]].drop_duplicates()
        for when in ("before", "after"):
            seeds = seeds.join(found.xs(when, level="when").add_suffix(f"_{when}"), on=["run", "seed"])
        return seeds[["run", "seed", *self.scores]]

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the half-life of the middle unit by kind of token; and what is left at the end, beside the gradient."""
        return {self.name: self._by_kind(table, study), f"{self.name}_to_the_end": self._to_the_end(table, study)}

    def _by_kind(self, table: pd.DataFrame, study: Study) -> Figure:
        own = table[table["kind"] != TO_THE_END]
        own = own.assign(half_life=half_lives(own["kept"].to_numpy()).clip(max=lags.LONGEST))
        middle = own.groupby(["run", "seed", "when", "kind"], sort=False)["half_life"].median().reset_index()
        rows, axis = against(study.rows.merge(middle, on=["run", "seed"]))
        looks, kinds = looks_of(rows), list(dict.fromkeys(own["kind"]))
        moments = [when for when in MOMENTS if when in set(own["when"])]
        figure, axes = curves.new_figure(len(moments), len(kinds), width=2.7, height=2.5)
        for when, row in zip(moments, axes, strict=True):
            for kind, ax in zip(kinds, row, strict=True):
                one = rows[(rows["when"] == when) & (rows["kind"] == kind)]
                x_label = curves.digits_long(axis) if when == moments[-1] else " "
                curves.score_against(one, "half_life", ax, looks, axis, bounds=(0, lags.LONGEST), x_label=x_label)
                lags.steps_axis(ax)
                if when == moments[0]:
                    entitled(ax, named(kind))
            row[0].set_ylabel(named(MOMENTS[when]))
        curves.finish(figure, tr("Half-life of the middle unit's gate, in steps: each seed; mean, 95 % interval"))
        return figure

    def _to_the_end(self, table: pd.DataFrame, study: Study) -> Figure:
        keys = ["run", "seed", "when"]
        own = table.groupby(keys)[["by_gates", "by_gradient"]].max()
        left = table[table["kind"] == TO_THE_END].groupby([*keys, "state"])["kept"].mean().groupby(keys).max()
        rows, axis = against(study.rows.merge(own.assign(retained=left).reset_index(), on=["run", "seed"]))
        looks, moments = looks_of(rows), [when for when in MOMENTS if when in set(rows["when"])]
        figure, axes = curves.new_figure(2, len(moments), width=3.6, height=2.9, share_x=False, share_y=False)
        for when, upper, lower in zip(moments, *axes, strict=True):
            one = rows[rows["when"] == when]
            known = one[one["retained"].notna()]
            curves.score_against(known, "retained", upper, looks, axis, bounds=(0, 1), x_label=curves.digits_long(axis))
            curves.score_axis(upper, share=True)
            lags.scattered(one, "by_gates", "by_gradient", lower, looks)
            lower.axline((1, 1), slope=1, **curves.FLOOR)
            lags.log_axis(lags.log_axis(lower), "x")
            lower.set_xlabel(tr("passed on by the gates alone"))
            entitled(upper, named(MOMENTS[when]))
            entitled(lower, lags.correlated(one, "by_gates", "by_gradient"))
        axes[0, 0].set_ylabel(tr("kept by the gates to the end"))
        axes[1, 0].set_ylabel(tr("passed on of the gradient"))
        curves.finish(
            figure, tr("What the gates keep from the last needed token to the end:\neach seed; mean, 95 % interval")
        )
        return figure


def half_lives(kept: np.ndarray) -> np.ndarray:
    """Return ln 0.5 / ln f: infinite where f is 1, 0 where it is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(0.5) / -np.abs(np.log(kept)))
