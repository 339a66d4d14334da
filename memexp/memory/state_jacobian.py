"""State Jacobian: how a small change of the state grows or dies out on its way to the end."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves, lags
from memexp.figures.lettering import entitled
from memexp.figures.looks import looks_of
from memexp.memory.measure import MOMENTS, Measure, Score, Subject
from memexp.memory.states import in_float64
from memexp.models.cells import State
from memexp.models.networks import Direction, SequenceModel
from memexp.results.study import Study, against
from memexp.tasks.task import Rows, generator
from memexp.words import named, tr

ROWS, NUMBERS = 8, 2**23  # rows at most, and numbers of their Jacobians of one step
ITERATIONS = 30  # of the power iteration at each lag; it goes on from the vector of the lag before
STEPS = 200  # of the rows on which exponents are measured, where a task has rows of that length
UNALIGNED = 4  # a quarter of the steps turns the vector into the leading direction, and does not count
PROBES = 8  # directions in the space of the outputs


def steps(model: SequenceModel, inputs: Tensor) -> tuple[Callable[[int, Tensor], Tensor], list[Tensor]]:
    """Write a model as a map of its joined state, s_t = f_t(s_(t-1)).

    Args:
        model: in float64, and in one direction.
        inputs: [1, B, L] or [1, B, L, V].

    Returns:
        f: (t from 0, states [S, n B, N] of n times the rows, each row n times in turn) -> the next ones; and the states
        after each step, [S, B, N]. N numbers: all states of all layers.
    """
    cells = [direction.cell for _, direction in model.directions]
    sizes = [cell.hidden_size for cell in cells for _ in cell.states]

    def run(direction: Direction, projected: Tensor, state: State) -> tuple[Tensor, State]:
        return direction.cell.unroll(projected, state)

    def after(t: int, joined: Tensor | None) -> Tensor:
        split, own = None, inputs[:, :, t : t + 1]
        if joined is not None:
            parts = iter(torch.split(joined, sizes, -1))
            split = [tuple(next(parts) for _ in cell.states) for cell in cells]
            own = own.repeat_interleave(joined.shape[1] // own.shape[1], 1)
        _, states = model.encode(own, split, run)
        return torch.cat([part for state in states for part in state], -1)

    with torch.no_grad():
        joined, seen = None, []
        for t in range(inputs.shape[2]):
            joined = after(t, joined)
            seen.append(joined)
    return after, seen


def jacobians(model: SequenceModel, inputs: Tensor) -> Iterator[Tensor]:
    """Yield d s_t / d s_(t-1) from the last step back to the second, [S, B, N, N]: see `steps`."""
    after, seen = steps(model, inputs)
    for t in range(len(seen) - 1, 0, -1):
        S, B, N = seen[t].shape
        many = seen[t - 1].repeat_interleave(N, 1).requires_grad_()  # a row for each number of the next state
        of_each = after(t, many).view(S, B, N, N).diagonal(dim1=2, dim2=3)
        (found,) = torch.autograd.grad(of_each.sum(), many)
        yield found.view(S, B, N, N)


def spectral_norms(model: SequenceModel, inputs: Tensor) -> Tensor:
    """Return log10 of the largest singular value of d s_T / d s_t by lag T - t, the mean over rows: [S, L], float64.

    The matrix is the product of the Jacobians of the steps, scaled to 1 after each so that nothing over- or underflows.
    Its norm is found by power iteration, v -> P^T P v.
    """
    product, size, vector = None, torch.zeros(()), None
    found = [torch.zeros(len(model.head_bias), dtype=torch.float64)]
    for jacobian in jacobians(model, inputs):
        product = jacobian if product is None else product @ jacobian
        scale = product.flatten(2).norm(dim=-1)
        product = product / scale.where(scale > 0, 1)[..., None, None]
        size = size + scale.log10()
        vector = torch.ones_like(product[..., 0]) if vector is None else vector
        for _ in range(ITERATIONS):
            vector = _unit((product.mT @ (product @ vector[..., None]))[..., 0])
        norm = (product @ vector[..., None])[..., 0].norm(dim=-1)
        vector = torch.nan_to_num(vector + 1e-6 * torch.ones_like(vector))  # never at right angles to the next one
        found.append((size + norm.log10()).mean(-1))
    return torch.stack(found, -1)


def _unit(vector: Tensor) -> Tensor:
    norm = vector.norm(dim=-1, keepdim=True)
    scale: Tensor = norm.where(norm > 0, 1)
    return vector / scale


def leading_exponent(model: SequenceModel, inputs: Tensor) -> Tensor:
    """Return the leading Lyapunov exponent per step, the mean over rows: [S], float64; -inf where nothing goes on.

    A random vector goes back through the Jacobians of the steps and is scaled to 1 after each; the exponent is the mean
    logarithm of what it is scaled by. Backwards or forwards the exponent is the same.
    """
    after, seen = steps(model, inputs)
    vector = _unit(torch.randn(seen[0].shape, generator=generator(0, "exponent", 0), dtype=torch.float64))
    logs = []
    for t in range(len(seen) - 1, 0, -1):
        before = seen[t - 1].clone().requires_grad_()
        (vector,) = torch.autograd.grad(after(t, before), before, vector)
        logs.append(vector.norm(dim=-1).log())
        vector = _unit(vector)
    return torch.stack(logs[len(logs) // UNALIGNED :]).mean(0).mean(-1)


def sensitivity(model: SequenceModel, inputs: Tensor) -> Tensor:
    """Return the root mean square over rows of ||d y / d theta||_F, [S], float64.

    y are the outputs at the last step before the softmax, theta all parameters of the recurrent layers. The squared
    norm is the mean of ||r^T d y / d theta||^2 over `PROBES` random r of 1 and -1. Every row gets a copy of the weights
    on the axis of the seeds, so that its gradient is its own.

    Args:
        model: in float64; it is changed.
        inputs: [1, B, L] or [1, B, L, V].
    """
    S, B = len(model.head_bias), inputs.shape[1]
    for parameter in model.parameters():
        parameter.data = parameter.data.repeat_interleave(B, 0)
    answers = model(inputs[0, :, None].repeat(S, 1, *[1] * (inputs.dim() - 2)))[:, 0, -1]  # [S B, K]
    signs = torch.randint(2, (PROBES, *answers.shape), generator=generator(0, "probes", 0)).to(answers.dtype) * 2 - 1
    squares = torch.zeros(S * B, dtype=torch.float64)
    for sign in signs:
        found = torch.autograd.grad((sign * answers).sum(), [*model.watched.values()], retain_graph=True)
        for gradient in found:
            squares += gradient.flatten(1).square().sum(1)
    return (squares / PROBES).view(S, B).mean(1).sqrt()


class StateJacobian(Measure):
    """How small changes of the state, and of the parameters, act on the end.

    - The spectral norm of d s_T / d s_t, by lag T - t, s being all states of all layers joined: the largest factor by
      which a change of the state grows until the end (Pascanu, Mikolov and Bengio 2013, section 2.1). Geometric mean
      over rows.
    - The leading Lyapunov exponent, lim 1/T ln ||d s_T / d s_0 v|| of nearly every vector v, driven by typical inputs
      (Vogt et al. 2022). -1 / exponent is the time constant of what is forgotten most slowly. Measured over
      200 steps where the task has rows of that length, else over its own rows; a quarter of the steps is left out, in
      which the vector turns.
    - The sensitivity of the outputs to the parameters, ||d y / d theta||_F. In h_t = a h_(t-1) + x_t with white x, the
      variance of h is 1 / (1 - a^2) and that of d h / d a is (1 + a^2) / (1 - a^2)^3: the longer the memory, the more
      sensitive to its parameters, without any gradient that explodes (Zucchet and Orvieto 2024, section 2). For any
      cell we take y as the outputs at the last step, before the softmax, theta as all parameters of the recurrent
      layers, and the time constant from the exponent.

    Cost: for each moment, as many backward passes of 8 rows as the state has numbers, and 9 more.
    """

    name = "state_jacobian"
    question = "does a small change of the state grow or die out on its way to the end?"
    scores: ClassVar[Mapping[str, Score]] = {
        f"{what}_{when}": Score(f"{about}, {MOMENTS[when]}", signed=signed)
        for what, about, signed in (
            (
                "jacobian",
                "log10 of the spectral norm of d state at the end / d state after the first step",
                True,
            ),
            ("lyapunov", "leading Lyapunov exponent, per step: above 0 small changes grow", True),
            ("sensitivity", "norm of d outputs / d parameters of the recurrent layers", False),
        )
        for when in ("before", "after")
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that the states of a network that reads both ways have no order in time."""
        both = any(direction.backwards for _, direction in subject.after.directions)
        return "it reads in both directions, so its states have no order in time" if both else None

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``when``, ``what``, ``lag`` (of the Jacobian), ``value``."""
        S, N = len(subject.seeds), subject.after.state_size
        rows = subject.sample(max(1, min(ROWS, NUMBERS // (S * N**2))))
        long = subject.task.at_length(STEPS, STEPS * ROWS) or subject.sample(ROWS)
        found: list[tuple[int, str, str, float, float]] = []
        for when, model in subject.moments.items():
            model = in_float64(model)
            norms = spectral_norms(model, rows.inputs[None])
            whole = {
                "lyapunov": leading_exponent(model, _first(long).inputs[None]),
                "sensitivity": sensitivity(model, subject.sample(ROWS).inputs[None]),
            }
            for k, seed in enumerate(subject.seeds):
                found += [(seed, when, "jacobian", lag, norm) for lag, norm in enumerate(norms[k].tolist())]
                found += [(seed, when, what, math.nan, float(values[k])) for what, values in whole.items()]
        return pd.DataFrame(found, columns=["seed", "when", "what", "lag", "value"])

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the norm at the largest lag, the exponent and the sensitivity, before and after training."""
        table = table.sort_values("lag").drop_duplicates(["run", "seed", "when", "what"], keep="last")
        table = table[table["when"] != "last"].assign(score=table["what"] + "_" + table["when"])
        wide = table.pivot(index=["run", "seed"], columns="score", values="value").reset_index()
        return wide.reindex(columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the norms against the lag; and the exponents against the length, and the sensitivity against them."""
        moments = [when for when in MOMENTS if when in set(table["when"])]
        looks, norms = looks_of(table), table[table["what"] == "jacobian"].assign(norm=10.0 ** table["value"])
        shown = lags.some_lengths(table)
        by_lag, axes = curves.new_figure(len(shown), len(moments), width=3.2, height=2.5, share_x=False)
        for length, row in zip(shown, axes, strict=True):
            for when, ax in zip(moments, row, strict=True):
                lags.norm_against_lag(norms[(norms["when"] == when) & (norms["length"] == length)], ax, looks)
                if length == shown[0]:
                    entitled(ax, named(MOMENTS[when]))
            row[0].set_ylabel(tr(f"norm, length {length}"))
        for ax in axes[-1]:
            ax.set_xlabel(tr("steps before the end"))
        curves.finish(by_lag, tr("Spectral norm of d s_T / d s_t: geometric mean over seeds, 95 % interval"))
        return {self.name: by_lag, f"{self.name}_exponent": self._exponents(table, study, moments)}

    def _exponents(self, table: pd.DataFrame, study: Study, moments: list[str]) -> Figure:
        wide = table[table["what"] != "jacobian"].pivot(index=["run", "seed", "when"], columns="what", values="value")
        rows, axis = against(study.rows.merge(wide.reset_index(), on=["run", "seed"]))
        looks = looks_of(rows)
        figure, axes = curves.new_figure(2, len(moments), width=3.6, height=2.8, share_x=False, share_y=False)
        for when, upper, lower in zip(moments, *axes, strict=True):
            own = rows[rows["when"] == when]
            finite = own[np.isfinite(own["lyapunov"])]
            curves.score_against(finite, "lyapunov", upper, looks, axis, x_label=curves.digits_long(axis))
            upper.axhline(0, **curves.FLOOR)
            lags.scattered(own, "lyapunov", "sensitivity", lower, looks)
            lags.log_axis(lower)
            lower.set_xlabel(tr("Lyapunov exponent"))
            entitled(upper, named(MOMENTS[when]))
            entitled(
                lower,
                lags.correlated(own, "lyapunov", "sensitivity"),
            )
        axes[0, 0].set_ylabel(tr("Lyapunov exponent"))
        axes[1, 0].set_ylabel(tr("sensitivity to the parameters"))
        curves.finish(
            figure,
            tr("Leading Lyapunov exponent per step, and sensitivity:\neach seed; mean, 95 % interval"),
        )
        return figure


def _first(rows: Rows) -> Rows:
    return rows.slice(0, ROWS)
