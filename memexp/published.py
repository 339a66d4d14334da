"""What others published, and the same measured here: ``python -m memexp.published``.

A row of the table is a claim with its source, and how it is measured. What a run of ``experiment=published`` gives is
not here but in its records. Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from memexp.arguments import one_run
from memexp.experiment import Run, build_engine, build_model, build_task, choose_engine
from memexp.fields import ranged
from memexp.files import write_table
from memexp.guess import Net, criterion, mean_trials, search, with_interval
from memexp.options import run_command
from memexp.progress import bar, say
from memexp.tasks.latch import Latch, Near, Sign
from memexp.tasks.metrics import Mean, SequenceAccuracy
from memexp.tasks.task import Rows
from memexp.training import machine
from memexp.training.engines import Engine

NAME = "python -m memexp.published"
RANGE = 100.0  # weights are guessed from -100 to 100, as in 2001
GUESSING = "Schmidhuber, Hochreiter, Bengio 2001, section 3"


@dataclass
class Options:
    """Measure what others published, and say whether ours agrees with it.

    It takes about two minutes. Each row is also in images_dir/published/published.csv.
    """

    searches: int = ranged(2, default=400, about="repetitions of each random search; in 2001 they were 40")
    trials: int = ranged(1, default=100_000, about="networks that are tried in each, at most")
    images_dir: str = ranged(default="images", path=True, about="where the table goes")


class UnitNet:
    """Latch I and II: one tanh unit, h_t = tanh(w h_{t-1} + what comes in), whose output is the answer.

    Args:
        free_inputs: Latch I: the first input is one of two weights, by the class, and the noise comes in as it is:
            the weights are u_+, u_- and w. Else Latch II: h_t = tanh(v x_t + w h_{t-1} + b), with v, w and b.
    """

    def __init__(self, free_inputs: bool) -> None:
        self.free_inputs = free_inputs
        self.shapes = dict.fromkeys(("up", "down", "w") if free_inputs else ("v", "w", "b"), (1,))

    def answers(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Answer: weights [S, 1] each, inputs [N, L, 1] -> [S, N, L, 1]; see `memexp.guess.Net`."""
        x = inputs[..., 0]
        if self.free_inputs:
            first = torch.where(x[:, 0] > 0, weights["up"], weights["down"])  # [S, N]
            steps = [first, *x.T[1:]]
        else:
            steps = [weights["v"] * step + weights["b"] for step in x.T]
        h, outputs = torch.zeros(len(weights["w"]), len(x), device=x.device), []
        for step in steps:
            h = torch.tanh(step + weights["w"] * h)
            outputs.append(h)
        return torch.stack(outputs, -1)[..., None]

    def held(self, inputs: Tensor) -> int:
        """Return how many numbers one lane holds for one row."""
        return 2 * inputs.shape[1]


def latch(noise: float) -> Latch:
    """Build the latch problem of 2001, lengths 500 to 600.

    Args:
        noise: its variance.
    """
    return Latch(
        length=500, spread=100, noise=noise, train_rows=100, sampling="fixed", shuffle=False, data_seed=0, seeds=[0],
        batch_size=100, folder=Path("datasets"),
    )  # fmt: skip


def guessed(net: Net, noise: float, metric: type[Mean], searches: int, trials: int) -> tuple[float, float, float]:
    """Search the latch problem so many times; return the mean number of trials and its 95 % interval."""
    rows = latch(noise).rows("train")
    found = [search(net, rows, metric, seed, trials, RANGE) for seed in range(searches)]
    return mean_trials([one.trials for one in found], [one.weights is not None for one in found])


@dataclass(frozen=True)
class Claim:
    """A number that somebody published.

    Attributes:
        source: where, with its section or table.
        what: is measured.
        theirs: their number.
        ours: measures it, given how many searches and trials: mean, low, high.
        repetitions: of how many searches theirs is the mean; None where they do not say.
    """

    source: str
    what: str
    theirs: float
    ours: Callable[[int, int], tuple[float, float, float]]
    repetitions: int | None = None

    @property
    def their_interval(self) -> tuple[float, float]:
        """The 95 % interval of their mean, as far as they say of how many searches it is; else the number itself."""
        if self.repetitions is None:
            return self.theirs, self.theirs
        return mean_trials([self.theirs] * self.repetitions, [True] * self.repetitions)[1:]


#: An answer of ±1 is never less than 0.1 away from Latch I's targets of ±0.8, so there the sign decides.
CLAIMS = (
    Claim(GUESSING, "latch I: trials of guessing", 6, partial(guessed, UnitNet(True), 0.2, Sign), 40),
    Claim(GUESSING, "latch II: trials of guessing", 22, partial(guessed, UnitNet(False), 0.2, Near)),
    Claim(
        GUESSING, "latch II, were 0.2 the standard deviation of the noise", 22,
        partial(guessed, UnitNet(False), 0.2**2, Near),
    ),
    Claim(GUESSING, "latch II without noise", 22, partial(guessed, UnitNet(False), 0.0, Near)),
)  # fmt: skip


def measured(searches: int, trials: int) -> pd.DataFrame:
    """Measure every claim.

    Returns:
        A row for each: ``source``, ``what``, ``theirs``, ``their_low``, ``their_high``, ``ours``, ``low``, ``high``,
        and ``agrees``: whether both intervals have a number in common.
    """
    rows = []
    with bar(len(CLAIMS), "published") as shown:
        for claim in CLAIMS:
            mean, low, high = claim.ours(searches, trials)
            their_low, their_high = claim.their_interval
            theirs = {"theirs": claim.theirs, "their_low": their_low, "their_high": their_high}
            agrees = their_low <= high and low <= their_high
            own = {"ours": mean, "low": low, "high": high, "agrees": agrees}
            rows.append({"source": claim.source, "what": claim.what, **theirs, **own})
            shown.update(1)
    return pd.DataFrame(rows)


def sequences_until(
    engine: Engine,
    batch: Callable[[int], Rows],
    metric: type[Mean],
    streak: int,
    most: int,
    tell: Callable[[int], object] = lambda update: None,
) -> Tensor:
    """Train until so many sequences in a row were right, each before its own update; return how many it took, [S].

    It is the criterion of Hochreiter and Schmidhuber's adding problem: "the 2,000 most recent sequences were processed
    correctly". Every seed is trained until the last one is there.

    Args:
        engine: trains the model.
        batch: the rows of update 0, 1, ..., with a seed axis.
        metric: an answer is right where its value is 1.
        streak: how many in a row.
        most: updates, at most; a seed that is not there by then has -1.
        tell: called after each update with its number.
    """
    S = engine.seeds
    seen, in_a_row, needed = 0, torch.zeros(S, dtype=torch.long), torch.full((S,), -1)
    for update in range(most):
        answers, targets, weights = engine.update(batch(update)).answered
        values, _ = SequenceAccuracy.weigh(engine.values(metric, answers, targets), weights)
        for one in (values.squeeze(-1) == 1).cpu().unbind(1):  # sequence by sequence, [S]
            seen += 1
            in_a_row = torch.where(one, in_a_row + 1, 0)
            needed = torch.where((needed < 0) & (in_a_row >= streak), seen, needed)
        tell(update)
        if (needed >= 0).all():
            break
    return needed


def trained_until(settings: Sequence[str], streak: int, most: int) -> Tensor:
    """Train a run until so many sequences in a row were right; see `sequences_until`. Nothing is written.

    Args:
        settings: of the run, as ``task=adding``, ``length=100``; ``batch_size=1`` is an update for each sequence.
        streak: how many in a row.
        most: updates, at most.

    Returns:
        How many sequences each seed took, [S].

    Raises:
        MemexpError: the run is not possible, or its task does not say whether an answer is right.
    """
    config = one_run(settings, NAME)
    task = build_task(config)
    model = build_model(config, task.interface)
    engine = choose_engine(config, task, model, None)
    device = "cpu" if engine == "compiled" else machine.choose_device(config.device)
    config.engine = engine
    run = Run(config, Path(), task, model.to(device), device)
    with bar(most, "sequences") as shown:
        return sequences_until(
            build_engine(run), task.batch, criterion(task, config.task.name), streak, most, lambda _: shown.update(1)
        )


def publish(options: Options) -> None:
    """Do what the options ask for."""
    machine.prepare()
    table = measured(options.searches, options.trials)
    columns: dict[str, Any] = {
        "theirs": [with_interval(*row) for row in table[["theirs", "their_low", "their_high"]].to_numpy()],
        "ours": [with_interval(*row) for row in table[["ours", "low", "high"]].to_numpy()],
        "agrees": table["agrees"].map({True: "yes", False: "no"}),
    }
    say(f"\n{table[['source', 'what']].assign(**columns).to_string(index=False)}")
    say(f"(means and their 95 % intervals; ours over {options.searches} searches)\n")
    path = Path(options.images_dir, "published", "published.csv")
    write_table(path, table)
    say(f"the same as a table: {path}")


def main() -> None:
    """Run ``python -m memexp.published``."""
    run_command("published", Options, publish)


if __name__ == "__main__":
    main()
