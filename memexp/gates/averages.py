"""What the gates and states of a model do on average, over a whole distribution of inputs.

Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch import Tensor

from memexp.models.networks import SequenceModel
from memexp.tasks.task import Reading, Rows

CHUNK = 250_000  # values of one part that are held at once: bounds the memory


@torch.no_grad()
def averages(
    model: SequenceModel, rows: Rows, names: Iterable[str] | None, reading: Reading
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average every part of a model over inputs, each with its probability.

    Args:
        model: of one seed.
        rows: inputs [N, L] with their weights, as `Task.distribution` returns.
        names: which parts; None for all.
        reading: says what the tokens are and where they stand.

    Returns:
        Two tables.

        The means have a row for each part, place, kind of token and unit. ``time_step``, or another column that the
        reading names, is the place, counted from 1. ``mean`` is the mean over tokens of that kind at that place, and
        ``mean_size`` that of the absolute value. ``probability`` is how likely such a token is. Where places are time
        steps, the probabilities of the kinds sum to 1 at every step. Elsewhere they sum to 1 over all places and kinds.

        The saturation has a row for each part and unit: ``share_under_0.1`` and ``share_over_0.9`` are the shares of
        all values, over inputs and time steps, whose size is under 0.1 or over 0.9.
    """
    weights = rows.row_weights()
    L, K = rows.inputs.shape[1], len(reading.kinds)
    everywhere = reading.token_places(rows.inputs)
    groups = K * (1 + (L if everywhere is None else int(everywhere.max())))  # one for each place and kind
    mass = torch.zeros(groups, dtype=torch.float64)
    sums: dict[str, Tensor] = {}  # of the values and of their sizes: [2, groups, D], float64
    shares: dict[str, Tensor] = {}  # under 0.1 and over 0.9: [2, D], float64
    step = max(1, CHUNK // (L * max(model.widths)))
    for inputs, of_rows in zip(torch.split(rows.inputs, step), torch.split(weights, step), strict=True):
        places = reading.token_places(inputs)
        if places is None:
            places = torch.arange(1, L + 1).expand(len(inputs), -1)
        group = (places * K + reading.token_kinds(inputs)).flatten()  # of each token
        of_tokens = of_rows[:, None].expand(-1, L).flatten()
        mass.index_add_(0, group, of_tokens)
        for name, traced in model.trace(inputs[None], names).items():
            values = traced[0].flatten(0, 1).double()  # [tokens, D]; float32 sums would be right to five digits only
            sizes = values.abs()
            D = values.shape[1]
            total = sums.setdefault(name, torch.zeros(2, groups, D, dtype=torch.float64))
            total[0].index_add_(0, group, values * of_tokens[:, None])
            total[1].index_add_(0, group, sizes * of_tokens[:, None])
            outside = torch.stack([of_tokens @ far.double() for far in (sizes < 0.1, sizes > 0.9)])
            shares[name] = shares.get(name, 0) + outside / L
    probability = mass if everywhere is None else mass / L
    means = [_means_table(name, sums[name] / mass[:, None], probability, reading) for name in sums]
    return pd.concat(means, ignore_index=True), pd.concat([_shares_table(*item) for item in shares.items()],
                                                          ignore_index=True)  # fmt: skip


def _means_table(name: str, means: Tensor, probability: Tensor, reading: Reading) -> pd.DataFrame:
    """Put [2, groups, D] into rows; a kind that never occurs at a place has none."""
    D, places = means.shape[-1], len(probability) // len(reading.kinds)
    index = pd.MultiIndex.from_product([range(places), reading.kinds, range(D)], names=[reading.place, "kind", "unit"])
    table = index.to_frame(index=False)
    table.insert(0, "part", name)
    table["probability"] = probability.numpy().repeat(D)
    table["mean"], table["mean_size"] = means.flatten(1).numpy()
    return table[table["probability"] > 0]


def _shares_table(name: str, shares: Tensor) -> pd.DataFrame:
    """Put [2, D] into rows."""
    under, over = shares.numpy()
    return pd.DataFrame({"part": name, "unit": range(len(under)), "share_under_0.1": under, "share_over_0.9": over})


def before_and_after(
    models: Mapping[str, SequenceModel], rows: Rows, names: Iterable[str] | None, reading: Reading
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables of `averages` for several models, with a column ``training``: their names, before or after."""
    found = {training: averages(model, rows, names, reading) for training, model in models.items()}
    means, saturation = (joined({training: both[k] for training, both in found.items()}) for k in (0, 1))
    return means, saturation


def joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the tables before and after training below each other, with a column ``training``."""
    return pd.concat(tables, names=["training", None]).reset_index("training").reset_index(drop=True)
