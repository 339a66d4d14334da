"""Substitution: one symbol is replaced by each of the others; how often does that change the answer?"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves
from memexp.figures.looks import looks_of
from memexp.files import as_name
from memexp.memory import panels
from memexp.memory.measure import Measure, Score, Subject
from memexp.memory.sequences import some_sequences
from memexp.results.study import Study
from memexp.tasks.metrics import CrossEntropy
from memexp.tasks.task import Task
from memexp.words import labelled, tr

SEQUENCES = 100  # where a task does not list its questions
BITS = np.log(2)


def substitutions(outputs: Callable[[Tensor], Tensor], inputs: Tensor, symbols: int) -> tuple[Tensor, Tensor]:
    """Replace the symbol at each place by each symbol.

    Args:
        outputs: of the last answer, [N, L] -> [S, N, K].
        inputs: symbols [N, L].
        symbols: V.

    Returns:
        Whether the answer is another one, and the Kullback-Leibler divergence from the answer before, in bits; both
        [S, L, V, N], float32. They are 0 where nothing was replaced.
    """
    N, L = inputs.shape
    before = outputs(inputs).log_softmax(-1)  # [S, N, K]
    flips, divergences = [], []
    for place in range(L):
        others = inputs.repeat(symbols, 1)
        others[:, place] = torch.arange(symbols).repeat_interleave(N)
        after = outputs(others).log_softmax(-1)
        after = after.view(len(after), symbols, N, -1)
        flips.append((after.argmax(-1) != before.argmax(-1)[:, None]).float())
        divergences.append((before.exp()[:, None] * (before[:, None] - after)).sum(-1) / BITS)
    return torch.stack(flips, 1), torch.stack(divergences, 1).clamp(min=0)


def _sequences(task: Task) -> tuple[Tensor, Tensor]:
    """Return the task's questions with nothing after them, all alike, or else some of its sequences, and weights."""
    rows = task.held(task.length)
    return some_sequences(task, SEQUENCES) if rows is None else (rows.inputs, rows.row_weights())


class Substitution(Measure):
    r"""What replacing one symbol does to the answer, place by place.

    With x^{t<-v} the sequence x whose symbol at place t is v instead, y(x) the last answer and p(. | x) its
    probabilities, the means over sequences with x_t != v of

        flip(t, v) = [y(x^{t<-v}) != y(x)]
        KL(t, v) = sum_k p_k(x) log2 (p_k(x) / p_k(x^{t<-v}))

    This is occlusion (Zeiler and Fergus 2014, section 4.2; Li et al. 2016, arXiv 1612.08220) by all symbols. Where a
    task can ask with nothing after the question (digit sums: zeros), the sequences are all these: a zero replaced is
    then a distractor, as one of those that were trained on. A token that the answer depends on should flip it, any
    other should not.

    Cost: 100 sequences times L^2 V tokens.
    """

    name = "substitution"
    question = "which symbols change the answer when they are others?"
    scores: ClassVar[Mapping[str, Score]] = {
        "flips_by_needed": Score(
            "how often the answer changes with a symbol that it depends on; of digit sums it always should", share=True
        ),
        "flips_by_others": Score("how often it changes with another symbol: a distractor", share=True),
        "flips_by_others_early": Score("the same, in the first third of those places", share=True),
        "flips_by_others_late": Score("the same, in the last third of them", share=True),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that there are no symbols, or no classes."""
        if subject.task.example().is_floating_point():
            return "its inputs are numbers, no symbols"
        return None if issubclass(subject.task.loss, CrossEntropy) else "its answers are numbers, no classes"

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``last`` (the place from the end, from 1), ``symbol``, ``needed``, ``flips``, ``kl_bits``.

        A place where tokens are needed in some of the sequences has a row for these and one for the others.
        """
        task, V = subject.task, subject.task.interface.inputs
        inputs, weights = _sequences(task)
        N, L = inputs.shape
        found = substitutions(lambda rows: subject.answers(rows)[:, :, -1], inputs, V)
        replaced = inputs.T[:, None] != torch.arange(V)[:, None]  # [L, V, N]
        needed = task.needed(inputs)
        needed = torch.zeros(N, L, dtype=torch.bool) if needed is None else needed
        tables = []
        for kind in (False, True):
            counts = weights * (replaced & (needed.T if kind else ~needed.T)[:, None])  # [L, V, N]
            there = counts.sum(-1) > 0
            if not there.any():
                continue
            flips, divergences = ((counts * of_all).sum(-1) / counts.sum(-1) for of_all in found)  # [S, L, V]
            S = len(flips)
            places, symbols = there.nonzero().T
            tables.append(pd.DataFrame({
                "seed": np.repeat(subject.seeds, len(places)),
                "last": np.tile(L - places, S),
                "symbol": np.tile(symbols, S),
                "needed": int(kind),
                "flips": flips[:, there].flatten(),
                "kl_bits": divergences[:, there].flatten(),
            }))  # fmt: skip
        return pd.concat(tables, ignore_index=True)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the flip rate of tokens that are needed, and of others, early and late."""
        others = table[table["needed"] == 0]
        third = others.groupby("run")["last"].rank(method="dense", pct=True)  # of the places, from the last one
        kinds = {
            "flips_by_needed": table[table["needed"] == 1],
            "flips_by_others": others,
            "flips_by_others_early": others[third > 2 / 3],
            "flips_by_others_late": others[third <= 1 / 3],
        }
        by = ["run", "seed"]
        means = {name: of_kind.groupby(by)["flips"].mean() for name, of_kind in kinds.items()}
        return pd.DataFrame(means, index=pd.MultiIndex.from_frame(table[by].drop_duplicates())).reset_index()

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw flip rate and divergence against the distance from the end, and the flips of each place and symbol."""
        looks = looks_of(study.rows)
        by_place = table.groupby(["run", "seed", "label", "length", "last"], sort=False)[["flips", "kl_bits"]].mean()
        by_place = by_place.reset_index()
        place = tr("place from the end")
        return {
            self.name: panels.mean_curves(
                by_place, "last", "flips", looks, tr("How often another symbol changes the answer"),
                place, tr("changed answers"),
            ),
            f"{self.name}_kl": panels.mean_curves(
                by_place, "last", "kl_bits", looks, tr("How far another symbol moves the answer"),
                place, tr("KL divergence (bits)"), bounds=(0.0, np.inf),
            ),
            **{
                f"{self.name}_map_{as_name(label)}": _map(table[table["label"] == label], label)
                for label in dict.fromkeys(table["label"])
            },
        }  # fmt: skip


def _map(table: pd.DataFrame, label: str) -> Figure:
    """Draw the flip rate of each place and symbol of a model, the mean over seeds, for each length."""
    figure, by_length = panels.panels(sorted(table["length"].unique()))
    for length, ax in by_length.items():
        own = table[table["length"] == length]
        means = own.pivot_table(index="symbol", columns="last", values="flips").sort_index(axis=1, ascending=False)
        every = {"xticklabels": -(-len(means.columns) // 12), "yticklabels": -(-len(means) // 10)}
        sns.heatmap(means, vmin=0, vmax=1, cmap="viridis", ax=ax, cbar_kws={"format": curves.PERCENT}, **every)
        ax.grid(False)
        ax.tick_params(length=0, rotation=0, labelleft=True)
        ax.set(xlabel="", ylabel="", ylim=(0, len(means)))
    panels.outer_labels(figure, tr("place from the end"), tr("symbol that is put there"))
    curves.finish(figure, tr(f"{labelled(label)}: share of answers that another symbol changes, mean over seeds"))
    return figure
