"""Linear probes: at which step does a state hold a digit, or the sum, and does it at the end still?"""

import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.figures.looks import shades
from memexp.memory.measure import Measure, Score, Subject
from memexp.memory.sequences import drawn
from memexp.models.networks import SequenceModel
from memexp.results.study import Study
from memexp.results.tables import interval
from memexp.tasks.task import generator
from memexp.words import labelled, named, tr

ROWS = 2000  # that are read: half of them fit the probes, the others score them
AT_ONCE = 250  # rows that are traced at once: all parts of a cell are kept meanwhile
RIDGE = 1e-4  # of the mean variance of a unit, added to each: of units that always agree none is preferred
SMALLEST = 1e-12  # added to that: a state may be the same in all rows
KNOWN = 0.1  # selectivity at the end under which nothing is known
REACHED = 0.9  # of its value at the end


def fit_and_score(states: Tensor, labels: Tensor, held_out: Tensor) -> Tensor:
    """Fit a linear probe for each seed, and score it on rows that were held out.

    The probe is Fisher's linear discriminant: with the class means m_k, the covariance C within classes and the shares
    p_k of the rows it was fitted to, its answer is the k with the largest x' C^-1 m_k - m_k' C^-1 m_k / 2 + ln p_k
    (Hastie, Tibshirani and Friedman 2009, equation 4.10).

    Args:
        states: [S, N, D].
        labels: the class of each row, [N].
        held_out: the rows that score, bool, [N].

    Returns:
        The share of these that are right, [S].
    """
    x = states.double() - states.double().mean(1, keepdim=True)
    fitted, rest = x[:, ~held_out], x[:, held_out]
    member = torch.nn.functional.one_hot(labels[~held_out], int(labels.max()) + 1).double()  # [n, K]
    count = member.sum(0)
    means = member.T @ fitted / count.clamp(min=1)[:, None]  # [S, K, D]
    share = count / count.sum()
    together = fitted.mT @ fitted / fitted.shape[1]
    within = together - (means * share[:, None]).mT @ means
    ridge = RIDGE * together.diagonal(dim1=1, dim2=2).mean(-1) + SMALLEST
    within = within + ridge[:, None, None] * torch.eye(within.shape[-1], dtype=torch.float64)
    weights = torch.linalg.solve(within, means.mT)  # [S, D, K]
    bias = share.log() - (weights.mT * means).sum(-1) / 2
    answers = (rest @ weights + bias[:, None]).argmax(-1)
    return torch.eq(answers, labels[held_out]).double().mean(-1)


def control(facts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make the control task of each fact: rows of the same type share a label, but which one is chance.

    A type is what all facts together say of a row, for digit sums the pair. The labels are shuffled among the types, so
    that each is as frequent as before.
    """
    types, of_row = torch.unique(torch.stack([*facts.values()], 1), dim=0, return_inverse=True)
    return {
        name: types[torch.randperm(len(types), generator=generator(0, f"control/{name}", 0)), place][of_row]
        for place, name in enumerate(facts)
    }


def two_halves(weights: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Draw rows with these probabilities, [N]: half of them to fit a probe, half to score it; no row is in both.

    Returns:
        Their places, and which of them are held out, bool: ``most`` each.
    """
    order = torch.randperm(len(weights), generator=generator(0, "probes", 0))
    halves = torch.tensor_split(order, 2)
    size = most // 2
    chosen = [half[drawn(weights[half] / weights[half].sum(), size)] for half in halves]
    return torch.cat(chosen), torch.arange(2 * size) >= size


def states_of(model: SequenceModel, inputs: Tensor) -> dict[str, Tensor]:
    """Return the states of every layer at every step, inputs [N, L] or [N, L, M] -> name -> [S, N, L, D]."""
    names = [f"{prefix}{state}" for prefix, direction in model.directions for state in direction.cell.states]
    pieces = [model.trace(piece[None]) for piece in torch.split(inputs, AT_ONCE)]
    return {name: torch.cat([piece[name] for piece in pieces], 1) for name in names if name in pieces[0]}


class Probes(Measure):
    """What can be read linearly from the state at each step: each of `Task.facts`, for digit sums digits and sum.

    Accuracy is that of a linear probe (`fit_and_score`) on rows that were held out. Its control task gives each type of
    row, for digit sums each pair, a label by chance that is always the same (Hewitt and Liang 2019, section 2); what a
    probe reaches there it has learnt by itself:

        selectivity = accuracy of the probe - accuracy on its control task

    A state that holds both digits lets their sum be read, whether the network has formed it or not, and so does that of
    an untrained network for some steps: what is asked for is probed before training too.

    The discriminant is in closed form, for all seeds at once, and, unlike least squares on one-hot classes, it can tell
    the classes of a single unit apart, as the network's own head can. (scikit-learn fits one probe at a time: there
    are 8,400 in a run of length 35.)

    Cost: 2,000 rows are read; some 5 seconds for an LSTM of length 35, most of them for the probes.
    """

    name = "probes"
    question = "at which step can each digit, and the sum, be read from the state?"
    scores: ClassVar[Mapping[str, Score]] = {
        "answer_readable": Score(
            "accuracy of a linear probe of what is asked for, from the hidden state at the last step", share=True
        ),
        "answer_readable_untrained": Score("the same, before training", share=True),
        "answer_readable_best": Score("the highest that this accuracy is at any step", share=True),
        "answer_selectivity": Score(
            "accuracy at the last step less that on the probe's control task", share=True, signed=True
        ),
        "answer_readable_from": Score(
            f"first time step at which this accuracy is {REACHED:g} of that at the last step; of seeds whose "
            f"selectivity there is at least {KNOWN:g}"
        ),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that the task names no facts."""
        rows = subject.task.distribution()
        return None if subject.task.facts(rows.slice(0, 1)) else "its task names nothing that a probe could look for"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``when``, ``state``, ``fact``, ``asked``, ``time_step``, ``accuracy``, ``control``."""
        rows = subject.task.distribution()
        chosen, held_out = two_halves(rows.row_weights(), ROWS)
        rows = rows.take(chosen)
        facts = subject.task.facts(rows)
        labels = {"accuracy": facts, "control": control(facts)}
        last = [*facts][-1]
        found = []
        for when, model, probed in (("before", subject.before, [last]), ("after", subject.after, [*facts])):
            for state, values in states_of(model, rows.inputs).items():
                for (step, at_step), fact in itertools.product(enumerate(values.unbind(2), 1), probed):
                    scored = {kind: fit_and_score(at_step, own[fact], held_out) for kind, own in labels.items()}
                    by_seed = {kind: scores.numpy() for kind, scores in scored.items()}
                    where = {"when": when, "state": state, "fact": fact, "asked": int(fact == last), "time_step": step}
                    found.append(pd.DataFrame({"seed": subject.seeds, **where, **by_seed}))
        return pd.concat(found, ignore_index=True)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return what is known at the end, and since when, of the top layer's hidden state."""
        rows = []
        for (run, seed), own in table[table["asked"] == 1].groupby(["run", "seed"], sort=False):
            forwards = [state for state in own["state"].unique() if "backwards." not in state]
            top = [state for state in forwards if state.endswith("hidden_state")][-1]
            moments = own[own["state"] == top].sort_values("time_step").groupby("when")
            steps, untrained = moments.get_group("after"), moments.get_group("before")["accuracy"].iloc[-1]
            end = steps.iloc[-1]
            selectivity = end["accuracy"] - end["control"]
            reached = steps.loc[steps["accuracy"] >= REACHED * end["accuracy"], "time_step"]
            first = float(reached.iloc[0]) if selectivity >= KNOWN else np.nan
            rows.append((run, seed, end["accuracy"], untrained, steps["accuracy"].max(), selectivity, first))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw a figure for each state: a row of Axes for each model, a column for each length."""
        return {f"{self.name}_{state}": _of_state(own, str(state)) for state, own in table.groupby("state", sort=False)}


def _of_state(table: pd.DataFrame, state: str) -> Figure:
    labels, lengths = list(dict.fromkeys(table["label"])), sorted(table["length"].unique())
    figure, axes = curves.new_figure(
        len(labels), len(lengths), width=2.7, height=2.3 + 0.8 / len(labels), share_x=False
    )
    for label, row in zip(labels, axes, strict=True):
        for length, ax in zip(lengths, row, strict=True):
            own = table[(table["label"] == label) & (table["length"] == length)]
            ax.set_visible(len(own) > 0)
            if len(own):
                readable(own, ax)
                entitled(ax, tr(f"{labelled(label)}, length {length}"))
    for ax in axes[-1]:
        ax.set_xlabel(named("time step"))
    for ax in axes[:, 0]:
        ax.set_ylabel(tr("accuracy"))
    state_name = ", ".join(named(word.replace("_", " ")) for word in state.split("."))
    curves.finish(
        figure,
        tr(f"What a linear probe reads from the {state_name}: mean over seeds, 95 % interval;\n"
           "dotted: its control task, labels that are given to pairs by chance; thin: before training"),
    )  # fmt: skip
    return figure


def readable(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the accuracy of each fact's probe against time steps, mean and 95 % interval over seeds, and its control.

    Args:
        table: columns ``seed``, ``when``, ``fact``, ``time_step``, ``accuracy``, ``control``, of one run and state.
        ax: where to draw.
    """
    trained, untrained = (table[table["when"] == when] for when in ("after", "before"))
    for fact, look in shades(list(dict.fromkeys(trained["fact"]))).items():
        for of, kind, line, label in (
            (trained, "accuracy", look["linestyle"], named(fact)),
            (trained, "control", ":", "_nolegend_"),
            (untrained, "accuracy", look["linestyle"], "_nolegend_"),
        ):
            own = of[of["fact"] == fact]
            if own.empty:
                continue
            by_step = own.pivot(index="time_step", columns="seed", values=kind)
            means, lows, highs = np.array([interval(row.tolist()) for row in by_step.to_numpy()]).T
            ax.fill_between(by_step.index, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
            width = 0.8 if of is untrained else 1.6
            ax.plot(by_step.index, means, color=look["color"], linestyle=line, linewidth=width, label=label)
    ax.set_xlim(1, max(2, table["time_step"].max()))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return curves.score_axis(ax, share=True)
