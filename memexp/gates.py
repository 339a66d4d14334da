"""What the gates of a trained model do, on one sequence and on average: ``python -m memexp.gates``.

The run folder of a finished run -> its model -> `SequenceClassifier.trace` -> heatmaps and tables. Nothing is trained.
Axis letters as in `memexp.models`.
"""

import hashlib
import io
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from memexp import heatmaps, machine, records
from memexp.analysis import save, write, write_table
from memexp.config import check, ranged
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model, build_task
from memexp.networks import SequenceClassifier
from memexp.options import run_command
from memexp.runner import Runner
from memexp.studies import find_study
from memexp.tasks.task import Rows, Task

BOOK_SEQUENCE = (6, 7, 0, 0, 1)  # figure 6.13; zeros follow
KINDS = ("first digit", "second digit", "zero", "distractor")  # of tokens
CHUNK = 250_000  # values of one part that are held at once: bounds the memory


@dataclass
class Options:
    """Show what the gates and states of a trained model do, for one sequence and averaged over all inputs."""

    study: str = ranged(default="book", about="the folder below outputs_dir")
    model: str = ranged(default="lstm", about="which of the study's runs: its model")
    length: int = ranged(3, default=10, about="and the length that it was trained on")
    run: str | None = ranged(default=None, about="a run folder, instead of study, model and length")
    seed: int = ranged(0, default=0, about="which of the run's seeds")
    sequence: Any = ranged(default=None, about="the digits, as [6,7,0,0,1]; null: those and zeros up to length")
    order: str = ranged(
        one_of=("units", "time"), default="units", about="hidden units as they are, or by when they act"
    )
    names: list[str] | None = ranged(default=None, about="which parts, as [forget_gate,cell_state]; null: all")
    averages: bool = ranged(default=True, about="also average over the whole input distribution (seconds)")
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")
    images_dir: str = ranged(default="images", about="where the figures go")


@dataclass(frozen=True)
class LoadedRun:
    """A finished run: its study, its folder's name, its config, its task, its model with each seed's best weights."""

    study: str
    name: str
    config: DictConfig
    task: Task
    model: SequenceClassifier

    def best(self, seed: int) -> SequenceClassifier:
        """Return the model of one seed (S = 1) with its best weights.

        Raises:
            ConfigError: the run does not have this seed.
        """
        seeds = list(self.config.seeds)
        if seed not in seeds:
            raise ConfigError(f"seed={seed}: {self.name} has no such seed; it has {', '.join(map(str, seeds))}")
        model, k = self._of(seed, initialise=False), seeds.index(seed)
        with torch.no_grad():
            for own, group in zip(model.parameters(), self.model.parameters(), strict=True):
                own.copy_(group[k : k + 1])
        return model

    def untrained(self, seed: int) -> SequenceClassifier:
        """Return the model of one seed (S = 1) as it was before training: a function of config and seed alone."""
        return self._of(seed, initialise=True)

    def _of(self, seed: int, initialise: bool) -> SequenceClassifier:
        config = OmegaConf.merge(self.config, {"seeds": [seed]})
        return build_model(config, self.task, initialise)  # type: ignore[arg-type]


def load_run(folder: Path) -> LoadedRun:
    """Rebuild the task and the model of a finished run from its record.

    Raises:
        ConfigError: there is no such folder.
        RecordError: the run is not finished, its record is damaged, or its checkpoint missing or damaged.
        DataError: its data cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"run={folder}: there is no such folder")
    if not records.is_complete(folder):
        raise RecordError(f"{folder} is not a finished run; give the command that started it again to go on")
    path, best = folder / records.SUMMARY, folder / records.BEST
    if not best.exists():
        raise RecordError(f"{best} is missing; delete the run's folder to train it anew")
    summary = records.read_json(path)
    try:
        config = check(OmegaConf.create(summary["config"]))
        task = build_task(config)
        model = build_model(config, task, initialise=False)
    except ConfigError as error:
        raise RecordError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, OmegaConfBaseException) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path} is damaged ({reason}); delete the run's folder to train it anew") from error
    Runner(model, torch.optim.SGD(model.parameters())).load_model(best)
    home = folder.resolve()
    return LoadedRun(home.parent.name, home.name, config, task, model)


def find_run(study: Path, model: str, length: int) -> Path:
    """Return the run folder of a study with this model and length.

    Raises:
        RecordError: there is none, or more than one.
    """
    folders = records.run_folders(study)
    rows, missing = records.collect(folders)
    wanted = f"model={model} length={length}"
    if rows.empty:
        rows = pd.DataFrame(columns=["run", "model.name", "length"])
    found = list(dict.fromkeys(rows.loc[(rows["model.name"] == model) & (rows["length"] == length), "run"]))
    if len(found) > 1:
        raise RecordError(
            f"{len(found)} runs of {study} have {wanted}; give one as run=...: {_some(study / f for f in found)}"
        )
    if not found:
        there = _some(dict.fromkeys(rows["run"]))
        unfinished = f"; without a record: {_some(missing)}" if missing else ""
        raise RecordError(f"{study} has no finished run with {wanted}; finished: {there or 'none'}{unfinished}")
    return study / str(found[0])


def _some(names: Iterable[object], most: int = 12) -> str:
    """List names for an error message of one line."""
    shown = [str(name) for name in names]
    return " | ".join(shown[:most]) + (f" | and {len(shown) - most} more" if len(shown) > most else "")


def read_sequence(given: Any, length: int, symbols: int) -> list[int]:
    """Check the digits that were asked for; None is the book's sequence, cut or filled with zeros to ``length``.

    Raises:
        ConfigError: not a list, or one with something else than digits, or too short.
    """
    if given is None:
        return [*BOOK_SEQUENCE, *[0] * length][:length]
    allowed = f"give digits from 0 to {symbols - 1}, as sequence=[6,7,0,0,1,0]"
    if not isinstance(given, list):
        raise ConfigError(f"sequence={given} is not a list; {allowed}")
    for digit in given:
        if not isinstance(digit, int) or isinstance(digit, bool) or not 0 <= digit < symbols:
            raise ConfigError(f"sequence: {digit!r} is not a digit; {allowed}")
    if len(given) < 2:
        raise ConfigError(f"sequence={given} is too short, its first two digits are the question; {allowed}")
    return given


def as_arrays(trace: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Take the first row of the first seed out of a trace: name -> [S, B, L, D] becomes name -> [L, D]."""
    return {name: part[0, 0].numpy() for name, part in trace.items()}


def token_kinds(inputs: Tensor) -> Tensor:
    """Say what each token of the digit-sum task is: inputs [B, L] -> places in `KINDS`, [B, L]."""
    kinds = torch.where(inputs == 0, KINDS.index("zero"), KINDS.index("distractor"))
    kinds[:, :2] = torch.tensor([KINDS.index("first digit"), KINDS.index("second digit")])
    return kinds


@torch.no_grad()
def averages(
    model: SequenceClassifier, rows: Rows, names: Iterable[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average every part of a model over inputs, each with its probability.

    Args:
        model: of one seed.
        rows: inputs [N, L] with weights, as `Task.distribution` returns.
        names: which parts; None for all.

    Returns:
        Means, a row for each part, time step (1 is the first), kind of token and unit: ``probability``, that the token
        at this time step is of this kind; ``mean``, given that it is; ``mean_size``, of the absolute value (for a gate
        the same). And saturation, a row for each part and unit: ``share_under_0.1`` and ``share_over_0.9``, how much
        of all values, over inputs and time steps, has a size under 0.1 or over 0.9.
    """
    if rows.weights is None:
        raise ValueError("the rows have no weights: averages are over a distribution")
    L, widest = rows.inputs.shape[1], max(model.widths)
    mass = torch.zeros(L, len(KINDS), dtype=torch.float64)
    sums: dict[str, Tensor] = {}  # of the values and of their sizes: [2, L, kinds, D], float64
    shares: dict[str, Tensor] = {}  # under 0.1 and over 0.9: [2, D], float64
    step = max(1, CHUNK // (L * widest))
    for inputs, weights in zip(torch.split(rows.inputs, step), torch.split(rows.weights, step), strict=True):
        weighted = F.one_hot(token_kinds(inputs), len(KINDS)) * weights[:, None, None]  # [B, L, kinds]
        by_kind = weighted.permute(1, 2, 0)  # [L, kinds, B]
        mass += by_kind.sum(2)
        for name, traced in model.trace(inputs[None], names).items():
            values = traced[0].double()  # [B, L, D]; in float32 the sums would be right to five digits only
            size = values if heatmaps.is_gate(name) else values.abs()
            totals = by_kind @ values.transpose(0, 1)
            both = torch.stack([totals, totals if size is values else by_kind @ size.transpose(0, 1)])
            outside = torch.stack([weights @ far.double().flatten(1) for far in (size < 0.1, size > 0.9)])
            sums[name] = sums.get(name, 0) + both
            shares[name] = shares.get(name, 0) + outside.view(2, L, -1).mean(1)
    means = pd.concat([_means_table(name, sums[name] / mass[:, :, None], mass) for name in sums], ignore_index=True)
    return means, pd.concat([_shares_table(name, shares[name]) for name in shares], ignore_index=True)


def _means_table(name: str, means: Tensor, mass: Tensor) -> pd.DataFrame:
    """Put [2, L, kinds, D] into rows; a kind that never occurs at a time step has none."""
    _, L, _, D = means.shape
    index = pd.MultiIndex.from_product([range(1, L + 1), KINDS, range(D)], names=["time_step", "kind", "unit"])
    table = index.to_frame(index=False)
    table.insert(0, "part", name)
    table["probability"] = mass.flatten().numpy().repeat(D)
    table["mean"], table["mean_size"] = means.flatten(1).numpy()
    return table[table["probability"] > 0]


def _shares_table(name: str, shares: Tensor) -> pd.DataFrame:
    """Put [2, D] into rows."""
    under, over = shares.numpy()
    return pd.DataFrame({"part": name, "unit": range(len(under)), "share_under_0.1": under, "share_over_0.9": over})


def before_and_after(
    run: LoadedRun, seed: int, rows: Rows, names: Iterable[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables of `averages` for one seed, with a column ``training``: before or after."""
    models = {"before": run.untrained(seed), "after": run.best(seed)}
    tables = {training: averages(model, rows, names) for training, model in models.items()}
    means, saturation = (
        pd.concat({training: both[k] for training, both in tables.items()}, names=["training", None])
        .reset_index("training")
        .reset_index(drop=True)
        for k in (0, 1)
    )
    return means, saturation


def describe(tokens: list[int], probabilities: np.ndarray) -> str:
    """Say in one line what the model answers, how sure it is, and what is true."""
    answer, truth = int(probabilities.argmax()), tokens[0] + tokens[1]
    verdict = "(right)" if answer == truth else f"with probability {probabilities[truth]:.3f} (wrong)"
    return f"answer {answer} with probability {probabilities[answer]:.3f}; truth {truth} {verdict}"


def folder_name(tokens: list[int]) -> str:
    """Name the folder of a sequence: its digits, or, beyond 100 of them, the first ones and a hash of all."""
    digits = "".join(map(str, tokens))
    return digits if len(digits) <= 100 else f"{digits[:80]}-{hashlib.sha256(digits.encode()).hexdigest()[:8]}"


def show_sequence(model: SequenceClassifier, tokens: list[int], about: str, options: Options, folder: Path) -> None:
    """Write the trace of one sequence, as arrays and as heatmaps, into a folder of its own."""
    inputs = torch.tensor(tokens)[None, None]
    with torch.no_grad():
        probabilities = model(inputs)[0, 0].softmax(-1).numpy()
    trace = as_arrays(model.trace(inputs, options.names or None))
    orders: dict[str, np.ndarray] = {}
    note = ""
    if options.order == "time":
        whole = as_arrays(model.trace(inputs))
        states = {name: whole[f"{name[: name.rfind('.') + 1]}hidden_state"] for name in trace}  # of the part's own cell
        orders = {  # a cell that reads backwards acts in the other order
            name: heatmaps.units_by_time(state[::-1] if "backwards." in name else state)
            for name, state in states.items()
        }
        note = "\nunits sorted by when their hidden state changes most"
    verdict = describe(tokens, probabilities)
    print(f"{about}: {verdict}")
    title = f"{about}\n{' '.join(map(str, tokens))}\n{verdict}{note}"
    own = folder / folder_name(tokens)
    save(heatmaps.sheet(trace, tokens, title, orders), own / "sheet")
    for name, values in trace.items():
        save(heatmaps.single(values, name, tokens, title, orders.get(name)), own / name)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**trace, "tokens": np.array(tokens), "probabilities": probabilities}
    np.savez(buffer, **arrays)
    write(own / "trace.npz", buffer.getvalue())
    print(f"written: {own}/sheet and {', '.join(trace)} (.png, .pdf), trace.npz")


def show_averages(run: LoadedRun, about: str, options: Options, folder: Path) -> None:
    """Write the averages over the whole input distribution, as tables and as a figure."""
    rows = run.task.distribution()
    means, saturation = before_and_after(run, options.seed, rows, options.names or None)
    title = f"{about}: average over {rows.source}, before and after training\n"
    title += "lines and bars: mean over units; bands: 80 % of the units; points and columns: single units"
    save(heatmaps.averages(means, saturation, title), folder / "averages")
    write_table(folder / "averages.csv", means, "%.6g")
    write_table(folder / "saturation.csv", saturation, "%.6g")
    print(f"written: {folder}/averages.png, .pdf, averages.csv, saturation.csv")


def show(options: Options) -> None:
    """Do what the options ask for.

    Raises:
        MemexpError: in one line, what came, what is allowed and what to do.
    """
    machine.prepare()
    if options.run is not None:
        path = Path(options.run)
    else:
        path = find_run(find_study(Path(options.outputs_dir), options.study), options.model, options.length)
    run = load_run(path)
    if run.task.every_step:
        raise ConfigError(f"{path} is of the task {run.config.task.name}; memexp.gates shows digit sums")
    model = run.best(options.seed)
    tokens = read_sequence(options.sequence, run.config.length, run.task.symbols)
    if len(tokens) != run.config.length:
        print(
            f"memexp.gates: warning: the sequence has {len(tokens)} digits; "
            f"this model was trained on length {run.config.length}",
            file=sys.stderr,
        )
    about = f"{type(model.cell).__name__} trained on length {run.config.length}, seed {options.seed} ({run.study})"
    folder = Path(options.images_dir) / run.study / "gates" / f"{run.name},seed={options.seed}"
    show_sequence(model, tokens, about, options, folder)
    if options.averages:
        show_averages(run, about, options, folder)


def main() -> None:
    """Run ``python -m memexp.gates``."""
    run_command("gates", Options, show)


if __name__ == "__main__":
    main()
