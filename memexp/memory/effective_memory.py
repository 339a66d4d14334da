"""Effective memory: how many of the last symbols give the answer already, and which tokens the answer depends on."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from matplotlib.figure import Figure
from torch import Tensor

from memexp.figures import curves
from memexp.figures.looks import looks_of
from memexp.memory import panels
from memexp.memory.measure import Measure, Score, Subject
from memexp.memory.sequences import some_sequences
from memexp.models.networks import SequenceModel
from memexp.results.study import Study
from memexp.tasks.metrics import CrossEntropy
from memexp.words import tr

READ, RECALLED = 1000, 200  # sequences
AT_ONCE = 100  # that a gradient is taken of at once
CLOSE = 0.1  # of total variation: answers that are nearer count as the same


def total_variations(probabilities: Callable[[Tensor], Tensor], inputs: Tensor, weights: Tensor) -> Tensor:
    """Return the total variation between the answers to whole sequences and to their last 1, 2, ... L tokens, [S, L].

    Args:
        probabilities: of the last answer, [N, L] or [N, L, M] -> [S, N, K].
        inputs: [N, L] or [N, L, M].
        weights: of the sequences, [N], they sum to 1.
    """
    L = inputs.shape[1]
    whole = probabilities(inputs)
    return torch.stack([
        ((probabilities(inputs[:, L - last :]) - whole).abs().sum(-1) / 2).double() @ weights
        for last in range(1, L + 1)
    ], 1)  # fmt: skip


def recall(model: SequenceModel, inputs: Tensor) -> Tensor:
    """Return the recall density of each token: [N, L] or [N, L, M] -> [S, N, L]; NaN where no token counts at all.

    What it is of a sequence is said in `EffectiveMemory`.
    """
    S = len(model.head_bias)
    symbols = not inputs.is_floating_point()
    found = []
    for rows in torch.split(inputs, AT_ONCE):
        numbers = F.one_hot(rows, len(model._one_hot)) if symbols else rows
        x = numbers.to(model.head_bias.dtype).expand(S, *numbers.shape).clone().requires_grad_()
        with torch.enable_grad():
            best = model(x)[:, :, -1].topk(min(2, model.head_bias.shape[1]), -1).values
            (gradient,) = torch.autograd.grad((best[..., 0] - best[..., 1:].sum(-1)).sum(), x)  # [S, B, L, M]
        if symbols:
            gradient = gradient - gradient.gather(-1, rows[None, ..., None].expand(S, *rows.shape, 1))
        by_token = gradient.abs().sum(-1)
        found.append(by_token / by_token.sum(-1, keepdim=True))
    return torch.cat(found, 1)


class EffectiveMemory(Measure):
    r"""How far back the answer reaches: what is left of it without the first symbols, and its gradient by position.

    Effective remembrance (Buitrago Ruiz and Gu 2025, arXiv 2507.02782: EffRem_T(t)): with p(. | x) the probabilities
    of the last answer and TV(p, q) = 1/2 sum_k |p_k - q_k|, the mean over sequences x of

        TV(p(. | x_1 ... x_T), p(. | x_{T-k+1} ... x_T))

    for k = 1, 2, ... T, where the network reads the last k symbols from its initial state. The effective memory is the
    smallest k from which on this is at most `CLOSE`. That the network begins elsewhere counts too: one that knows its
    place in the sequence, and no symbol, may give another answer.

    Recall density (Wang et al. 2025, POPGym Arcade, arXiv 2503.01450: the absolute gradient of the value with respect
    to each observation, normalised over time). Here the value is the margin m = z_1 - z_2 of the two largest outputs,
    whose sign decides the answer (the output itself where there is one); and of a symbol, one-hot, the gradient is
    taken along the ways to the other symbols v:

        r_t = sum_v |dm/dx_{tv} - dm/dx_{t x_t}|,  density_t = r_t / sum_s r_s

    so that it is the same whatever embedding computes the same answers. Of numbers r_t = sum_m |dm/dx_{tm}|.

    Cost: 1,000 sequences times L^2 / 2 tokens are read, and 200 sequences' gradients.
    """

    name = "effective_memory"
    question = "how many of the last symbols give the answer, and which tokens does it depend on?"
    scores: ClassVar[Mapping[str, Score]] = {
        "effective_memory": Score(
            f"how many of the last symbols give nearly the same answer (total variation at most {CLOSE:g})"
        ),
        "effective_memory_share": Score("the same, as a share of the sequence", share=True),
        "recall_on_needed": Score("share of the recall density on the tokens that the answer depends on", share=True),
    }

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``last`` (k, from 1), ``total_variation``, ``recall_density``, ``recall_on_needed``."""
        task = subject.task
        inputs, weights = some_sequences(task, READ)
        S, L = len(subject.seeds), inputs.shape[1]
        variation = torch.full((S, L), torch.nan)
        if issubclass(task.loss, CrossEntropy):
            variation = total_variations(
                lambda rows: task.loss.predictions(subject.answers(rows)[:, :, -1]), inputs, weights
            )
        inputs, weights = some_sequences(task, RECALLED)
        density = recall(subject.after, inputs).double()
        counts = weights * density.isfinite().all(-1)  # [S, N]
        density = torch.einsum("sn,snl->snl", counts / counts.sum(1, keepdim=True), density.nan_to_num())
        needed = task.needed(inputs)
        on_needed = torch.full((S, L), torch.nan) if needed is None else (density * needed).sum(1)
        by_position = {"recall_density": density.sum(1), "recall_on_needed": on_needed}
        return pd.DataFrame(
            {
                "seed": np.repeat(subject.seeds, L),
                "last": np.tile(np.arange(1, L + 1), S),
                "total_variation": variation.flatten().tolist(),
                **{name: values.flip(1).flatten().tolist() for name, values in by_position.items()},
            }
        )

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the effective memory, in symbols and as a share, and the share of recall on what is needed."""
        rows = []
        for (run, seed), own in table.sort_values("last").groupby(["run", "seed"], sort=False):
            far = own.loc[own["total_variation"] > CLOSE, "last"]
            memory = float(far.max() + 1 if len(far) else 1) if own["total_variation"].notna().all() else np.nan
            rows.append((run, seed, memory, memory / len(own), own["recall_on_needed"].sum(min_count=1)))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw the total variation against the number of symbols, and the recall density against the distance."""
        looks = looks_of(study.rows)
        recall_title = tr("Recall density: which tokens the answer depends on (dashed: on all alike)")
        recalled = panels.mean_curves(
            table, "last", "recall_density", looks, recall_title, tr("place from the end"),
            tr("share of the gradient"), whole=False,
        )  # fmt: skip
        for length, ax in zip(sorted(table["length"].unique()), recalled.axes, strict=False):
            ax.axhline(1 / table.loc[table["length"] == length, "last"].max(), **curves.FLOOR)
        if table["total_variation"].isna().all():
            return {f"{self.name}_recall": recalled}
        read_title = tr("How far the answer to the last symbols alone is from that to all")
        read = panels.mean_curves(
            table, "last", "total_variation", looks, read_title, tr("last symbols that are read"), tr("total variation")
        )
        return {self.name: read, f"{self.name}_recall": recalled}
