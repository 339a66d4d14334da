"""The memory span: how many items are recalled after a wait, and how many bits the state has held for that."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import optimize, special

from memexp.errors import MemexpError
from memexp.figures import curves
from memexp.figures.lettering import entitled
from memexp.figures.looks import Looks, looks_of
from memexp.memory.measure import BEST_ALONE, Measure, Score, Subject, Subjects, share_score, task_of
from memexp.results.study import Study, label, label_settings
from memexp.results.tables import interval
from memexp.words import labelled, tr

LEVEL = 0.9  # of the items are recalled right at the span
FEWEST = 3  # numbers of items: two are fitted by any curve
STEEPEST = 0.05  # of the smallest step between logarithms of numbers of items: a steeper curve is the same step
FARTHEST = 3.0  # natural logarithms from them to half of what is above guessing
FIT = ["half", "steepness", "span", "span_open", "most"]  # columns: of a seed of a curve at a length


def recalled(items: np.ndarray, half: float, steepness: float, guessing: np.ndarray | float) -> np.ndarray:
    """Return the psychometric function g + (1 - g) / (1 + (n / half)^steepness); see `MemorySpan`."""
    return np.asarray(guessing + (1 - guessing) * special.expit(steepness * np.log(half / items)))


def fitted(items: Sequence[float], right: Sequence[float], guessing: Sequence[float]) -> tuple[float, float]:
    """Fit the psychometric function by least squares; return ``half`` and ``steepness``.

    Args:
        items: how many there were, ascending.
        right: the share of them that was recalled right.
        guessing: what guessing reaches.
    """
    n, p, g = (np.asarray(values, dtype=float) for values in (items, right, guessing))
    x = np.log(n)
    least = STEEPEST * np.diff(x).min()  # of 1 / steepness
    found = optimize.least_squares(
        lambda fit: recalled(n, np.exp(fit[0]), 1 / fit[1], g) - p,
        x0=(np.median(x), max(least, np.ptp(x) / 4)),
        bounds=((x[0] - FARTHEST, least), (x[-1] + FARTHEST, np.inf)),
    )
    return float(np.exp(found.x[0])), float(1 / found.x[1])


def span_of(half: float, steepness: float, guessing: float) -> float:
    """Return how many items are recalled right to the share `LEVEL`: the psychometric function solved for n."""
    return float(half * ((1 - LEVEL) / (LEVEL - guessing)) ** (1 / steepness))


def bits_held(right: float, items: int, symbols: int) -> float:
    """Return how many bits a state has held at least, given that a share of its items was recalled right.

    Of n items, each one of K symbols, drawn alike and apart from the others, and an answer to each that is a function
    of the state, the state has at least as much to say as all answers together, and these as much as one by one:

        I(items; state) >= sum_i I(item_i; answer_i) >= sum_i b(p_i),  b(p) = log2 K - h(p) - (1 - p) log2(K - 1),

    with h the entropy of a share. The first step needs items that are independent, the second is Fano's inequality
    (Cover and Thomas 2006, section 2.10), where the i-th answer is right in a share p_i. b is convex, for h is
    concave, and 0 at 1 / K; so n b(p) for the mean p of all places is no more than the sum (Jensen).

    Args:
        right: p; less than 1 / K says nothing.
        items: n.
        symbols: K.
    """
    p = max(right, 1 / symbols)
    uncertain = float(special.entr(p) + special.entr(1 - p)) + (1 - p) * math.log(symbols - 1)
    return items * max(0.0, math.log2(symbols) - uncertain / math.log(2))


def spans(rows: pd.DataFrame) -> pd.DataFrame:
    """Fit each seed of each curve at each length.

    Args:
        rows: columns ``curve``, ``length``, ``seed``, ``items``, ``recalled`` and ``guessing``; a seed that stopped
            recalls nothing, and guesses.

    Returns:
        The same with ``half``, ``steepness``, ``span``, ``span_open`` (0 or 1) and ``most``, the largest n; NaN for a
        seed that was not trained with all numbers of items of its curve and length, or with fewer than `FEWEST`.
    """
    rows = rows.assign(recalled=rows["recalled"].fillna(rows["guessing"]))
    rows[FIT] = np.nan
    for _, own in rows.sort_values("items").groupby(["curve", "length"], sort=False):
        numbers = own["items"].nunique()
        for _, of_seed in own.groupby("seed"):
            if len(of_seed) == numbers >= FEWEST:
                items, right, guessing = (of_seed[name].tolist() for name in ("items", "recalled", "guessing"))
                half, steepness = fitted(items, right, guessing)
                span, most = span_of(half, steepness, float(np.mean(guessing))), float(items[-1])
                if min(right) >= LEVEL or max(right) < LEVEL:  # nothing between them says where it falls
                    span = most if min(right) >= LEVEL else 0.0
                rows.loc[of_seed.index, FIT] = half, steepness, min(span, most), float(span >= most), most
    return rows


class MemorySpan(Measure):
    r"""How many items are recalled after a wait: a psychometric function of their number, fitted to each seed.

    With n the number of items that a network was trained to recall, p(n) the share of them that it recalls right after
    training (exact where there is such a score, else on the test rows, with the weights that dev chose) and g what
    guessing reaches,

        p(n) = g + (1 - g) / (1 + (n / n_half)^k)

    is fitted by least squares: n_half, at which half of what is above guessing is left, and k, how steeply it falls.
    This is the psychometric function with a guess rate of Wichmann and Hill (2001, equation 1), logistic in log n,
    falling instead of rising, without lapses: of no items all are recalled. (Logistic in n it was farther from the
    scores of ten of the eleven curves of ``experiment=memory_span``.) They fit by maximum likelihood, for the few
    trials of an observer; here a score is exact, or of thousands of answers, and each number of items counts alike. The
    span is the n with p(n) = `LEVEL`:

        n = n_half ((1 - `LEVEL`) / (`LEVEL` - g))^(1 / k).

    A seed all of whose p are at least `LEVEL`, or whose curve gets there beyond the largest n, counts with the largest
    n (``span_open``): its span is at least that. One that is there at no n counts with 0. The span is no more exact
    than the steps between the numbers of items. It is what was learned within the updates of the run, not what a cell
    could hold. Where g differs from n to n, its mean counts in the span.

    What the state held at least is in bits, by Fano's inequality, see `bits_held`; of tasks whose items are
    independent. At most it is 32 bits for each number of the state: an LSTM has two for each unit, h and c. Collins,
    Sohl-Dickstein and Sussillo (2017, arXiv 1611.09913) find that trained networks hold about one number of their input
    for each unit, and 5 bits of their task in each parameter.

    Cost: none, it needs the records alone; but the number of items has to be swept, as ``-m task.items=2,4,8``.
    """

    name = "memory_span"
    question = "how many items does a network recall after a wait, and how many bits is that?"
    scores: ClassVar[Mapping[str, Score]] = {
        "recalled": Score("share of the items that are recalled right", share=True),
        "span": Score(
            f"memory span: how many items are recalled right to {100 * LEVEL:g} %, by the curve that is fitted to a "
            "seed; 0 where it never gets there, and the largest number of items where it never falls below"
        ),
        "span_open": Score("share of seeds whose span is the largest number of items, or more", share=True),
        "bits_held": Score("bits that the state has held at least (Fano's inequality)"),
        "bits_per_unit": Score("the same for each hidden unit"),
        "bits_per_parameter": Score("the same for each parameter"),
    }

    def of_study(self, study: Study, subjects: Subjects) -> Iterator[tuple[str, pd.DataFrame | str | MemexpError]]:
        """Fit all seeds of a study, by the record alone."""
        runs, score = study.rows["run"].drop_duplicates(), share_score(study)
        try:
            kind = task_of(study, subjects)
        except MemexpError as error:
            yield str(runs.iloc[0]), error
            return
        counted = f"task.{kind.counted}"
        reason = None
        if subjects.weights != "best":
            reason = BEST_ALONE
        elif kind.counted is None or score is None:
            reason = "its task does not count what has to be remembered"
        elif counted not in study.rows or study.rows[counted].nunique() < FEWEST:
            reason = f"its runs have fewer than {FEWEST} values of {counted}, as -m {counted}=2,4,8 gives"
        if reason is not None:
            yield from ((run, reason) for run in runs)
            return
        found = spans(_scored(study, counted, str(score))).assign(bits_held=math.nan)
        if kind.drawn_from is not None:
            found["symbols"] = study.rows[f"task.{kind.drawn_from}"].astype(int)
            found["bits_held"] = [*map(bits_held, found["recalled"], found["items"], found["symbols"])]
        found["bits_per_unit"] = found["bits_held"] / found["units"]
        found["bits_per_parameter"] = found["bits_held"] / study.rows["parameters"]
        for run in runs:
            yield run, found[found["run"] == run].drop(columns=["run", "length"])

    def measure(self, subject: Subject) -> pd.DataFrame:
        """Not possible for a run alone."""
        raise NotImplementedError("a run is compared with the others of its study, see of_study")

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the scores as they are: a row is a seed already."""
        return table[["run", "seed", *self.scores]]

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw what is recalled against the number of items, and the bits; and the span against the length."""
        rows = table.assign(label=table["curve"])
        looks, lengths = looks_of(rows), sorted(rows["length"].unique())
        figure, axes = curves.new_figure(1, len(lengths), width=5.0, height=4.0)
        for length, ax in zip(lengths, axes[0], strict=True):
            recalled_against(rows[rows["length"] == length], ax, looks, rows["items"].tolist())
            entitled(ax, tr(f"trained at length {length}"))
        axes[0, 0].set_ylabel(tr("items that are recalled right"))
        curves.finish(
            figure,
            tr("Share of items recalled, mean over seeds with its 95 % interval, and the curves fitted to seeds;\n"
               f"bars at {curves.percent(LEVEL)}: the memory span, its mean and 95 % interval; dashed: guessing"),
        )  # fmt: skip
        return {self.name: figure} | self._bits(rows, looks) | self._by_length(rows, looks)

    def _bits(self, rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
        if rows["bits_held"].isna().all():
            return {}
        lengths = sorted(rows["length"].unique())
        figure, axes = curves.new_figure(1, len(lengths), width=4.4, height=3.6)
        for length, ax in zip(lengths, axes[0], strict=True):
            own = rows[rows["length"] == length]
            curves.score_against(
                own, "bits_held", ax, looks, "items", points=False, bounds=(0, np.inf),
                numbers=rows["items"].tolist(), x_label=tr("items"),
            )  # fmt: skip
            items = np.array(sorted(own["items"].unique()))
            ax.plot(items, items * math.log2(own["symbols"].iloc[0]), **curves.FLOOR)
            entitled(ax, tr(f"trained at length {length}"))
        axes[0, 0].set_ylabel(tr("bits held at least"))
        curves.finish(figure, tr("Bits that the state holds at least, mean and 95 % interval; dashed: all there are"))
        return {f"{self.name}_bits": figure}

    def _by_length(self, rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
        rows = rows.drop_duplicates(["label", "length", "seed"])
        if rows["length"].nunique() == 1 or rows["span"].isna().all():
            return {}
        figure, axes = curves.new_figure(1, 1, width=5.2, height=3.6)
        ax, most = axes[0, 0], float(rows["most"].max())
        curves.score_against(rows, "span", ax, looks, bounds=(0, most))
        ax.plot(*rows.groupby("length")["most"].max().reset_index().to_numpy().T, **curves.FLOOR)
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_ylabel(tr("memory span (items)"))
        curves.finish(figure, tr("Memory span: each seed, mean and 95 % interval;\ndashed: no more were asked for"))
        return {f"{self.name}_by_length": figure}


def recalled_against(rows: pd.DataFrame, ax: Axes, looks: Looks, numbers: Sequence[int]) -> Axes:
    """Draw the share of items that is recalled against their number, with fitted curves and spans.

    A curve is the mean of the curves of the seeds. A span is a bar across the line of `LEVEL`, as wide as its interval.

    Args:
        rows: columns ``label``, ``seed``, ``items``, ``recalled``, ``guessing``, ``half``, ``steepness`` and ``span``.
        ax: where to draw.
        looks: of the labels.
        numbers: of items, those of all Axes that share the x axis.
    """
    unjoined = {name: {**look, "linestyle": ""} for name, look in looks.items()}
    curves.score_against(
        rows, "recalled", ax, unjoined, "items", points=False, bounds=(0, 1), x_label=tr("items"), numbers=numbers
    )
    for name, own in rows.groupby("label", sort=False):
        look, seeds = looks[str(name)], own.drop_duplicates("seed").dropna(subset="span")
        if seeds.empty:
            continue
        guessing = own.groupby("items")["guessing"].first()
        grid = np.geomspace(guessing.index.min(), guessing.index.max(), 201)
        g = np.interp(grid, guessing.index, guessing)
        mean = np.mean([recalled(grid, *fit, g) for fit in zip(seeds["half"], seeds["steepness"], strict=True)], axis=0)
        ax.plot(grid, mean, label=labelled(str(name)), markevery=[], linewidth=1.6, **look)
        middle, low, high = interval(seeds["span"].tolist(), bounds=(0, own["most"].max()))
        if middle >= grid[0]:  # a span of less than the fewest items has no place on the axis
            ends = np.nan_to_num([[middle - low], [high - middle]])
            ax.errorbar(middle, LEVEL, xerr=ends, color=look["color"], fmt="|", markersize=12, capsize=4, linewidth=1.2)
    ax.plot(*rows.groupby("items")["guessing"].first().reset_index().to_numpy().T, **curves.FLOOR)
    ax.axhline(LEVEL, color="0.8", linewidth=0.8, zorder=0)
    return curves.score_axis(ax, share=True)


def _scored(study: Study, counted: str, score: str) -> pd.DataFrame:
    """Return for each run and seed the number of items, what it recalls, what guessing reaches, and its units."""
    rows, split = study.rows, score.partition("_")[0]
    named = label_settings(rows, study.settings, ("model.name", "length", counted))
    right, test = rows[score], f"test{score.removeprefix(split)}"
    floors = [max(study.floors_of(own["study"], own["run"], score.removeprefix(f"{split}_")).values(), default=0.0)
              for _, own in rows.iterrows()]  # fmt: skip
    return rows[["run", "seed", "length"]].assign(
        curve=[label(row, named) for _, row in rows.iterrows()],
        items=rows[counted].astype(int),
        recalled=right.fillna(rows[test]) if test in rows else right,
        guessing=floors,
        units=[sum(map(int, sizes.split("+"))) for sizes in rows["hidden_sizes"]],
    )
