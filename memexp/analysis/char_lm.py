"""The figures of character language models."""

import math
from functools import partial

import pandas as pd

from memexp.analysis.common import COMPARISON, Drawings, comparison, gradient_drawings
from memexp.canvas import Figure, own_style
from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.results.study import Histories, Study
from memexp.words import labelled, tr

__all__ = ["COMPARISON", "comparison", "drawings"]


def drawings(study: Study, known: pd.DataFrame, histories: Histories, criterion: float) -> Drawings:
    """Return what draws each figure; arguments as for `memexp.analysis.common.drawings`."""
    if known.empty:
        return {}
    return {"bits": partial(draw_bits, study.only(known), histories)} | gradient_drawings(known, histories)


@own_style()
def draw_bits(study: Study, histories: Histories) -> Figure:
    """Draw bits per character against updates of character language models, an Axes for each run, with the floors."""
    rows = study.rows
    runs = rows.drop_duplicates(["study", "run"]).to_dict("records")
    columns = min(3, len(runs))
    figure, axes = curves.new_figure(math.ceil(len(runs) / columns), columns, width=4.4, height=3.5, share_x=False)
    for ax, run in zip(axes.flat, runs, strict=False):
        history = histories[run["study"], run["run"]]
        loss = history[history["name"] == "loss"]
        curves.loss_curves(loss.assign(value=loss["value"] / math.log(2)), ax)
        curves.floors(study.floors_of(run["study"], run["run"], "bits"), ax)
        bits = rows.loc[(rows["study"] == run["study"]) & (rows["run"] == run["run"]), "test_bits"].mean()
        entitled(ax, tr(f"{labelled(run['label'])}\n{run['study']}: {bits:.2f} bits on test"), 9)
    for ax in axes[:, 0]:
        ax.set_ylabel(tr("bits per character"))
    for ax in axes[-1]:
        ax.set_xlabel(tr("updates"))
    curves.hide_rest(axes, len(runs))
    curves.finish(figure, tr("Mean over seeds, 95 % interval, each seed;\ndashed: simple models on the test text"))
    return figure
