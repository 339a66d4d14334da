"""Hold time: after a question nothing but tokens that say nothing; when does the answer change?"""

import copy
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves
from memexp.figures.looks import Looks, looks_of
from memexp.memory import panels
from memexp.memory.measure import Measure, Score, Subject
from memexp.models.networks import SequenceModel
from memexp.results.statistics import share_reached
from memexp.results.study import Study
from memexp.tasks.metrics import CrossEntropy
from memexp.words import tr

LIMIT = 10_000  # steps after the length that was trained on
PIECE = 60  # steps that are read at once
TICKS = [0, 1, 10, 100, 1000, LIMIT]


@torch.no_grad()
def first_changes(model: SequenceModel, questions: Tensor, quiet: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find when the answers of a model that reads forwards change, after questions, while it reads one token again.

    Only the state is kept. A question is done once its answer has changed, or once its state is what it was a piece
    before, in every bit: all that follows has then been seen. What is done in all seeds, or for all questions of a
    seed, is read no further.

    Args:
        model: S seeds.
        questions: [N, L] or [N, L, M].
        quiet: the token that is read again and again, a symbol or [M].
        limit: how many times.

    Returns:
        The answers to the questions, [S, N]; the step at which each first is another one, from 1, or ``limit``; and
        whether it ever is.
    """
    answers, states = model.answer(questions[None])
    answered = answers[:, :, -1].argmax(-1)
    steps, changed = torch.full_like(answered, limit), torch.zeros_like(answered, dtype=torch.bool)
    seeds, rows = (torch.arange(n, device=answered.device) for n in answered.shape)
    before, waiting = answered, torch.ones_like(changed)  # of the seeds and rows that are still read
    for done in range(0, limit, PIECE):
        piece = quiet.expand(1, len(rows), min(PIECE, limit - done), *quiet.shape)
        outputs, after = model.encode(piece, states)  # [S, L, B, D]
        logits = outputs @ model.head_weight[:, None] + model.head_bias[:, None, None]
        other = logits.argmax(-1) != before[:, None]  # [S, L, B]
        new = waiting & other.any(1)
        where = seeds[:, None], rows
        steps[where] = torch.where(new, done + 1 + other.int().argmax(1), steps[where])
        changed[where] |= new
        again = torch.stack([
            (own == own_before).all(-1)
            for state, state_before in zip(after, states, strict=True)
            for own, own_before in zip(state, state_before, strict=True)
        ]).all(0)  # fmt: skip
        waiting &= ~(new | again)
        if not waiting.any():
            break
        keep, kept = waiting.any(1), waiting.any(0)
        if not keep.all():
            model = _some_seeds(model, keep)
        states = [tuple(part[keep][:, kept] for part in state) for state in after]
        before, waiting = before[keep][:, kept], waiting[keep][:, kept]
        seeds, rows = seeds[keep], rows[kept]
    return answered, steps, changed


def _some_seeds(model: SequenceModel, keep: Tensor) -> SequenceModel:
    """Return a model of some of the seeds."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data[keep]
    return model


def decades(steps: float) -> float:
    """Return log10(1 + steps): hold times span magnitudes, so their mean over seeds is one of these."""
    return math.log10(1 + steps)


class HoldTime(Measure):
    r"""How long an answer outlasts its question.

    Every question is read at the length that was trained on, with nothing after it but tokens that say nothing (digit
    sums: zeros, no distractor), and then such tokens go on. The network is to answer at every step. With a_t the
    answer t steps after the length that was trained on, the hold time of a question is

        T = min {t >= 1 : a_t != a_0}, and 0 if a_0 is wrong already;

    what has not changed after `LIMIT` steps is censored there. The curve is the Kaplan-Meier estimate (1958) of
    P(T > t) over the questions of a seed: it begins with the accuracy on questions without distractor at the length
    that was trained on, so a network that always answers the same has a low one, however long it goes on. The table
    has the steps of wrong answers too.

    The answer is asked for at lengths that were not trained on, at any of which a network may fail although it
    remembers: this is a lower bound of its memory.

    Cost: 10,000 steps for each question and seed at most; most are done after some dozens.
    """

    name = "hold_time"
    question = "how long does an answer outlast its question?"
    scores: ClassVar[Mapping[str, Score]] = {
        "hold_time_log10": Score(
            "log10(1 + T) of the median hold time T over all questions, in steps after the length that was trained on: "
            f"1 is 9 steps, 2 is 99; {decades(LIMIT):.0f} stands for {LIMIT:,} or more",
            most=decades(LIMIT),
        ),
        "right_hold_time_log10": Score(
            "the same over the questions that are answered right at the length that was trained on; of seeds that are "
            "twice as good as guessing there",
            most=decades(LIMIT),
        ),
        "held_to_the_end": Score(f"share of questions whose right answer is the same for {LIMIT:,} steps", share=True),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that there is nothing to hold, or that it cannot be read step by step."""
        if subject.task.held(subject.task.length) is None:
            return "its task has no question that nothing follows"
        if not issubclass(subject.task.loss, CrossEntropy):
            return "its answers are numbers, which change at every step"
        if any(direction.backwards for _, direction in subject.after.directions):
            return "it reads backwards too, so that it cannot go on from a state"
        return None

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``question``, ``right``, ``steps``, ``changed``, ``guessing``."""
        length = subject.task.length
        questions, longer = subject.task.held(length), subject.task.held(length + 1)
        assert questions is not None
        assert longer is not None
        answers, steps, changed = first_changes(subject.after, questions.inputs, longer.inputs[0, -1], LIMIT)
        right = answers == questions.targets[:, -1]
        S, N = answers.shape
        return pd.DataFrame(
            {
                "seed": np.repeat(subject.seeds, N),
                "question": np.tile(np.arange(N), S),
                "right": right.flatten().int().tolist(),
                "steps": steps.flatten().tolist(),
                "changed": changed.flatten().int().tolist(),
            }
        ).assign(guessing=subject.guessing)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the medians, over all questions and over the right ones, and the share that is held to the end."""
        rows = []
        for (run, seed), own in table.groupby(["run", "seed"], sort=False):
            steps, share = survival(own)
            accuracy = own["right"].mean()
            guesses = accuracy == 0 or accuracy < 2 * own["guessing"].iloc[0]
            of_right = math.nan if guesses else decades(_median(steps, share / accuracy))
            rows.append((run, seed, decades(_median(steps, share)), of_right, share[-1]))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the survival of right answers for each length, and the median hold time against length."""
        looks = looks_of(study.rows)
        return {self.name: _survivals(table, looks), f"{self.name}_median": self._medians(table, looks)}

    def _medians(self, table: pd.DataFrame, looks: Looks) -> Figure:
        labels = table.drop_duplicates(["run", "seed"])[["run", "seed", "label", "length"]]
        medians = self.summed_up(table).merge(labels, on=["run", "seed"])
        figure, axes = curves.new_figure(1, 1, width=6.5, height=4.0)
        ax = axes[0, 0]
        top = decades(LIMIT)
        x_label = curves.digits_long("length")
        curves.score_against(medians, "hold_time_log10", ax, looks, bounds=(0, top), x_label=x_label)
        ax.set_yticks([decades(tick) for tick in TICKS], [f"{tick:,}" for tick in TICKS])
        ax.set_ylim(-0.05, top + 0.1)
        ax.set_ylabel(tr("median hold time (steps)"))
        curves.finish(figure, tr(f"Hold time after the trained length; {LIMIT:,}: never changed (95 % interval)"))
        return figure


def survival(own: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps, ascending from 0, from each of which on a share of a seed's questions is right and unchanged.

    Args:
        own: columns ``right``, ``steps``, ``changed``.
    """
    right = own["right"].to_numpy(dtype=bool)
    steps = np.where(right, own["steps"], 0)
    gone = np.where(right, own["changed"], 1).astype(bool)
    x, share = share_reached(steps.tolist(), gone.tolist(), LIMIT)
    return x, 1 - share


def _median(steps: np.ndarray, share: np.ndarray) -> float:
    """Return the step from which on at most half of them are left; `LIMIT` if more are left at the end."""
    fallen = steps[share <= 0.5]
    return float(fallen[0]) if len(fallen) else LIMIT


def _survivals(table: pd.DataFrame, looks: Looks) -> Figure:
    grid = np.unique(np.append(0, np.geomspace(1, LIMIT, 121).round()))
    pieces = []
    for _, own in table.groupby(["run", "seed"], sort=False):
        steps, share = survival(own)
        at = share[np.searchsorted(steps, grid, side="right") - 1]
        pieces.append(own.iloc[[0] * len(grid)].assign(steps=grid, held=at))
    figure = panels.mean_curves(
        pd.concat(pieces), "steps", "held", looks, tr("Right at the trained length, and not changed since"),
        tr("steps after the trained length"), tr("share of questions"), stepwise=True,
    )  # fmt: skip
    for ax in figure.axes:
        ax.set_xscale("symlog", linthresh=1, linscale=0.5)
        ax.set_xlim(0, 1.5 * LIMIT)
        ax.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    return figure
