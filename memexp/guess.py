"""Random weight guessing, a baseline of any task: ``python -m memexp.guess`` with the settings of ``memexp``.

"Repeat: randomly initialise the weights, until the resulting net happens to classify all training sequences correctly.
Then test on a separate test set" (Schmidhuber, Hochreiter and Bengio 2001, section 2). A benchmark that guessing solves
in a few trials tests no memory.

Every network is a lane on the axis S of the seeds, and thousands go forward at once. A lane that gets some rows wrong
is not shown the others. Axis letters as in `memexp.models.cells`; N rows.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from scipy import special
from torch import Tensor
from torch.func import functional_call

import memexp
from memexp import contract
from memexp.arguments import one_run
from memexp.config import folder_name
from memexp.errors import ConfigError
from memexp.experiment import build_model, build_task
from memexp.fields import ranged
from memexp.files import write_table
from memexp.models.initialisers import HEAD_ROLES, uniform
from memexp.models.networks import SequenceModel
from memexp.options import read_options, run_main
from memexp.progress import bar, say
from memexp.results.record import flatten
from memexp.tasks.metrics import Mean, SequenceAccuracy
from memexp.tasks.task import Rows, Task, generator
from memexp.training import machine

NAME = "python -m memexp.guess"
DRAWN = 1 << 22  # weights that are drawn at once
FIRST_LANES, MOST_LANES = 64, 4096  # networks that are drawn at once, in the first block and at most
HELD = 1 << 24  # numbers of a forward pass that are held at once: 64 MB
FIRST_ROWS = 4  # that every lane is shown; those that are right are shown four times as many, and so on
LEVEL = 0.95


@dataclass
class Options:
    """Guess the weights of a network until it gets all training rows of a task right, once for each of the seeds.

    The keys are these, and those of python -m memexp: task, model, length, seeds, device, images_dir, study, and what
    the task and the model have. What is about training does nothing here.
    """

    trials: int = ranged(1, default=100_000, about="networks that are tried for each seed, at most")
    range: float = ranged(above=0, default=100.0, about="weights are uniform from -range to range")
    head: str = ranged(
        one_of=("random", "none"), default="random", about="none: the units are the answers, without a linear layer"
    )


class Net(Protocol):
    """A network whose weights are guessed."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each parameter of one lane."""

    def answers(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Answer: weights [S, ...], inputs [N, L] or [N, L, M] -> [S, N, A, K]."""

    def held(self, inputs: Tensor) -> int:
        """Return how many numbers one lane holds for one row."""


class ModelNet:
    """The network of a run.

    Args:
        model: of one seed; its weights do not count.
        head: ``random``; or ``none``, where the units of the top layer are the answers.

    Raises:
        ConfigError: without a head there are not as many units as answers.
    """

    def __init__(self, model: SequenceModel, head: str) -> None:
        self.model = model
        left_out = [parameter for parameter, role, _ in model.roles() if role in HEAD_ROLES and head == "none"]
        if head == "none" and model.output_size != model.head_bias.shape[-1]:
            raise ConfigError(
                f"head=none: the {model.output_size} units of the top layer would be the answers, which are "
                f"{model.head_bias.shape[-1]}; give model.hidden_size={model.head_bias.shape[-1]}, or head=random"
            )
        self._identity = torch.eye(model.output_size)[None] if head == "none" else None
        self.shapes = {
            name: tuple(parameter.shape[1:])
            for name, parameter in model.named_parameters()
            if not any(parameter is other for other in left_out)
        }

    def answers(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Answer; see `Net`."""
        if self._identity is not None:
            lanes = len(next(iter(weights.values())))
            eye = self._identity.to(inputs.device).expand(lanes, -1, -1)
            weights = {**weights, "head_weight": eye, "head_bias": eye.new_zeros(lanes, eye.shape[-1])}
        answers: Tensor = functional_call(self.model, dict(weights), (inputs[None],))
        return answers

    def held(self, inputs: Tensor) -> int:
        """Return how many numbers one lane holds for one row; see `Net`."""
        size, numbers = self.model.embedding, inputs.shape[2:].numel()
        read = numbers if size is None else size.shape[-1]
        by_layer = [
            (len(layer[0].cell.gates) + 2) * sum(d.cell.hidden_size for d in layer) for layer in self.model.stack
        ]
        return inputs.shape[1] * (max(by_layer) + read + self.model.head_bias.shape[-1])


class Found(NamedTuple):
    """How a search ended.

    Attributes:
        trials: networks that were tried, the last one included.
        weights: of the one that was right, [1, ...] each; None if there was none.
    """

    trials: int
    weights: dict[str, Tensor] | None


def blocks(net: Net, trials: int) -> Iterator[int]:
    """Yield how many networks are drawn at once, first few, then more: on every machine the same.

    Args:
        net: the network.
        trials: how many in all.
    """
    size = sum(math.prod(shape) for shape in net.shapes.values())
    most, lanes = max(1, min(MOST_LANES, DRAWN // max(1, size))), FIRST_LANES
    while trials:
        yield min(lanes, most, trials)
        trials -= min(lanes, most, trials)
        lanes *= 4


def drawn(net: Net, seed: int, block: int, lanes: int, bound: float) -> dict[str, Tensor]:
    """Draw the weights of a block of lanes, the same on every machine: name -> [S, ...]."""
    return {
        name: uniform((lanes, *shape), bound, generator(seed, f"guess/{name}", block))
        for name, shape in net.shapes.items()
    }


def right(answers: Tensor, rows: Rows, metric: type[Mean]) -> Tensor:
    """Say which rows are right, all answers of a row that count: answers [S, N, A, K] -> bool, [S, N]."""
    values = metric.values(answers, rows.targets[None])
    return SequenceAccuracy.weigh(values, None if rows.weights is None else rows.weights[None])[0].squeeze(-1) == 1


def pieces(rows: Rows) -> Iterator[Rows]:
    """Cut rows into a few, and then more and more."""
    start, size = 0, FIRST_ROWS
    while start < len(rows):
        yield rows.slice(start, start + size)
        start, size = start + size, 4 * size


@torch.no_grad()
def all_right(net: Net, weights: Mapping[str, Tensor], rows: Rows, metric: type[Mean]) -> Tensor:
    """Return the lanes that get all rows right, in order: weights [S, ...] -> places, [S'].

    Args:
        net: the network.
        weights: of the lanes.
        rows: without an axis of the seeds.
        metric: an answer is right where its value is 1.
    """
    left = torch.arange(len(next(iter(weights.values()))), device=rows.targets.device)
    for part in pieces(rows):
        if not len(left):
            break
        at_once = max(1, HELD // (len(part) * net.held(part.inputs)))
        kept = []
        for lanes in torch.split(left, at_once):
            answers = net.answers({name: weight[lanes] for name, weight in weights.items()}, part.inputs)
            kept.append(lanes[right(answers, part, metric).all(1)])
        left = torch.cat(kept)
    return left


def search(
    net: Net,
    rows: Rows,
    metric: type[Mean],
    seed: int,
    trials: int,
    bound: float,
    tell: Callable[[int], object] = lambda trials: None,
) -> Found:
    """Guess until a network gets all rows right.

    Args:
        net: the network.
        rows: that are to be right, without an axis of the seeds.
        metric: an answer is right where its value is 1.
        seed: of the weights.
        trials: networks that are tried, at most.
        bound: weights are uniform from -bound to bound.
        tell: called with how many more were tried.
    """
    before = 0
    for block, lanes in enumerate(blocks(net, trials)):
        weights = {name: w.to(rows.targets.device) for name, w in drawn(net, seed, block, lanes, bound).items()}
        found = all_right(net, weights, rows, metric)
        if len(found):
            first = int(found[0])
            return Found(before + first + 1, {name: weight[first : first + 1] for name, weight in weights.items()})
        before += lanes
        tell(lanes)
    return Found(trials, None)


def mean_trials(trials: Sequence[float], solved: Sequence[bool]) -> tuple[float, float, float]:
    """Return the mean number of trials until a success, and its exact 95 % interval.

    Trials are independent, so their number until a success is geometric, with the mean 1 / p. Of n trials in all, k
    were successes; searches that were given up count with the trials that they had. The interval of p is Clopper and
    Pearson's (1934). Where every search ended in a success, n is what varies, and p's upper end is that of inverse
    sampling.

    Args:
        trials: of each search.
        solved: whether it ended in a success.

    Returns:
        Mean, low, high; without a success, mean and high are infinite.
    """
    n, k = sum(trials), sum(solved)
    tail = (1 - LEVEL) / 2
    given_up = k < len(solved)
    most = 1.0 if n == k else float(special.betaincinv(k + given_up, n - k, 1 - tail))
    least = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    return (n / k, 1 / most, 1 / least) if k else (math.inf, 1 / most, math.inf)


def criterion(task: Task, name: str) -> type[Mean]:
    """Return the metric that says of an answer whether it is right.

    Raises:
        ConfigError: the task has none.
    """
    if task.verdict is None:
        raise ConfigError(
            f"task={name} does not say whether an answer is right; random guessing needs a task that does"
        )
    return task.verdict


def guesses(config: DictConfig, options: Options) -> pd.DataFrame:
    """Guess for each seed of a run's config.

    Returns:
        A row for each seed: ``seed``, ``trials``, ``solved``, and ``test``, the share of test rows that the network
        found gets right.

    Raises:
        MemexpError: its task or its model cannot be built, or does not suit.
    """
    device = torch.device(machine.choose_device(config.device))
    with contract.named(config, "task"):
        task = build_task(config)
    contract.check(config, task, build_task, build_model)
    metric = criterion(task, config.task.name)
    one = OmegaConf.merge(config, {"seeds": [0]})
    model = build_model(one, task.interface, initialise=False).to(device)  # type: ignore[arg-type]
    net, seeds = ModelNet(model, options.head), list(config.seeds)
    train, test = task.rows("train").to(device), task.rows("test").to(device)
    found = []
    with bar(options.trials * len(seeds), "guess") as shown:
        for place, seed in enumerate(seeds):
            ended = search(net, train, metric, seed, options.trials, options.range, shown.update)
            shown.update(options.trials * (place + 1) - shown.n)
            share = None if ended.weights is None else tested(net, ended.weights, test, metric)
            found.append({"seed": seed, "trials": ended.trials, "solved": ended.weights is not None, "test": share})
    return pd.DataFrame(found).assign(parameters=sum(math.prod(shape) for shape in net.shapes.values()))


@torch.no_grad()
def tested(net: Net, weights: Mapping[str, Tensor], rows: Rows, metric: type[Mean]) -> float:
    """Return the share of rows that one lane gets right."""
    at_once = max(1, HELD // net.held(rows.inputs))
    parts = [rows.slice(start, start + at_once) for start in range(0, len(rows), at_once)]
    verdicts = [right(net.answers(weights, part.inputs), part, metric)[0] for part in parts]
    return float(torch.cat(verdicts).double().mean())


def number(value: float) -> str:
    """Write a number of trials: its first three digits at least, and no power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_interval(mean: float, low: float, high: float) -> str:
    """Write a mean number of trials, and its interval if it has one."""
    return number(mean) if low == high or math.isnan(low) else f"{number(mean)} [{number(low)}, {number(high)}]"


def as_text(rows: pd.DataFrame, config: DictConfig, options: Options) -> str:
    """Write the table of a search: the settings, the mean number of trials with its interval, and the test."""
    mean, low, high = mean_trials(rows["trials"].tolist(), rows["solved"].tolist())
    table = {
        "task": config.task.name,
        "model": config.model.name,
        "length": config.length,
        "weights": rows["parameters"].iloc[0],
        "range": f"{options.range:g}",
        "searches": len(rows),
        "solved": int(rows["solved"].sum()),
        "trials": with_interval(mean, low, high) if math.isfinite(mean) else f"over {number(low)}",
        "test %": f"{100 * rows['test'].mean():.1f}" if rows["solved"].any() else "",
    }
    note = "trials until all training rows are right: the mean and its 95 % interval (geometric distribution)"
    if not rows["solved"].all():
        note += f"; a search is given up after {options.trials} trials, and counts with these"
    return f"{pd.DataFrame([table]).to_string(index=False)}\n({note}; test: rows that the network found gets right)"


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line into its own options, and the settings of a run."""
    names = {field.name for field in fields(Options)}
    own = [argument for argument in arguments if argument.partition("=")[0] in names or argument in ("--help", "-h")]
    return own, [argument for argument in arguments if argument not in own]


def path_of(config: DictConfig, settings: Sequence[str], options: Options) -> Path | None:
    """Name the table of a search after what it was asked for; None where no images are asked for."""
    if config.images_dir is None:
        return None
    away = ("images_dir", "outputs_dir", "datasets_dir", "study", "device", "lang", "model", "length")
    parts = {"model": config.model.name, "length": str(config.length), "task": config.task.name}
    given = (setting.partition("=") for setting in settings if not setting.startswith("-"))
    parts |= {key: value for key, _, value in given if key not in away}
    parts |= {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in asdict(options).items()}
    return Path(config.images_dir, config.study, "guess", f"{folder_name(parts)}.csv")


def described(config: DictConfig, options: Options) -> dict[str, Any]:
    """Return what was asked for, as columns of the table of searches."""
    node: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    settings = flatten({key: node[key] for key in ("length", "task", "model")})
    limits = {"most_trials": options.trials, "range": options.range, "head": options.head}
    return {**limits, **{key: str(value) for key, value in settings.items()}, "memexp": memexp.__version__}


def guess() -> None:
    """Do what the command line asks for."""
    own, settings = split(sys.argv[1:])
    options = read_options(Options, own, NAME)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a class of the user's own is found where he is
    machine.prepare()
    config = one_run(settings, NAME)
    rows = guesses(config, options)
    say(f"\n{as_text(rows, config, options)}\n")
    path = path_of(config, settings, options)
    if path is not None:
        write_table(path, rows.assign(**described(config, options)))
        say(f"every search: {path}")


def main() -> None:
    """Run ``python -m memexp.guess``."""
    run_main("guess", guess)


if __name__ == "__main__":
    main()
