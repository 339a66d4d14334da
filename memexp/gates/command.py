"""What the gates of a trained model do, on one sequence and on average: ``python -m memexp.gates``.

The run folder of a finished run -> its model -> `SequenceClassifier.trace` -> heatmaps and tables. Nothing is trained.
Axis letters as in `memexp.models.cells`.
"""

import hashlib
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
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

from memexp.analysis.command import save, write, write_table
from memexp.config import check, ranged
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model, build_task
from memexp.figures import averages as average_figures
from memexp.figures import heatmaps
from memexp.figures import units as unit_figures
from memexp.gates import units
from memexp.models.networks import SequenceClassifier
from memexp.options import run_command
from memexp.results import record
from memexp.results.study import find_study
from memexp.tasks.digit_sum import DigitReading
from memexp.tasks.task import Reading, Rows, Task
from memexp.training import machine
from memexp.training.runner import Runner

DIGITS = DigitReading()
MOST_UNITS = 6  # that are shown over a passage of the text
CHUNK = 250_000  # values of one part that are held at once: bounds the memory


@dataclass
class Options:
    """Show what the gates and states of a trained model do, for one sequence and averaged over all inputs.

    Of a digit-sum run or of a character language model; the latter's units are also held against the text.
    """

    study: str = ranged(default="book", about="the folder below outputs_dir")
    model: str | None = ranged(default=None, about="which of the study's runs: its model; null: lstm, or the only run")
    length: int | None = ranged(3, default=None, about="and, of digit sums, their length; null: 10, or the only run")
    run: str | None = ranged(default=None, about="a run folder, instead of study, model and length")
    seed: int = ranged(0, default=0, about="which of the run's seeds")
    sequence: str = ranged(
        default="", about="digits, as [6,7,0,0,1], or a text; nothing: those and zeros, or how the test text begins"
    )
    order: str = ranged(
        one_of=("units", "time"), default="units", about="hidden units as they are, or by when they act"
    )
    names: list[str] | None = ranged(default=None, about="which parts, as [forget_gate,cell_state]; null: all")
    averages: bool = ranged(default=True, about="also average over all inputs, or over the test text (seconds)")
    units: bool = ranged(default=True, about="of a text, also look for units that follow something in it (seconds)")
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")
    images_dir: str = ranged(default="images", about="where the figures go")


@dataclass(frozen=True)
class LoadedRun:
    """A finished run: its study, its folder's name, its config, its task, its model with each seed's best weights.

    ``updates`` says for each seed after which update it had them.
    """

    study: str
    name: str
    config: DictConfig
    task: Task
    model: SequenceClassifier
    updates: Mapping[int, int]

    def best(self, seed: int) -> SequenceClassifier:
        """Return the model of one seed (S = 1) with its best weights.

        Raises:
            ConfigError: the run does not have this seed.
        """
        seeds = list(self.config.seeds)
        if seed not in seeds:
            raise ConfigError(f"seed={seed}: {self.name} has no such seed; it has {', '.join(map(str, seeds))}")
        model = self._of(seed, initialise=False)
        model.copy_seed(self.model, seeds.index(seed))
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
        RecordError: the run is not finished, its record is damaged, its checkpoint missing, damaged or of another
            model, or its data others than it was trained on.
        DataError: its data cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"run={folder}: there is no such folder")
    if not record.is_complete(folder):
        raise RecordError(f"{folder} is not a finished run; give the command that started it again to go on")
    path, best = folder / record.SUMMARY, folder / record.BEST
    if not best.exists():
        raise RecordError(f"{best} is missing; delete the run's folder to train it anew")
    summary = record.read_json(path)
    try:
        config = check(OmegaConf.create(summary["config"]))
        updates = {seed["seed"]: seed["best_iteration"] for seed in summary["seeds"]}
        task = build_task(config)
        _check_data(folder, task)
        model = build_model(config, task, initialise=False)
    except ConfigError as error:
        raise RecordError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, OmegaConfBaseException) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path} is damaged ({reason}); delete the run's folder to train it anew") from error
    Runner(model, torch.optim.SGD(model.parameters())).load_model(best)
    home = folder.resolve()
    return LoadedRun(home.parent.name, home.name, config, task, model, updates)


def _check_data(folder: Path, task: Task) -> None:
    """Check that the data that a task has read are those that the run in this folder was trained on.

    Only the hash of the data counts: not the order of batches, nor the files of initial weights, that follow it.

    Raises:
        RecordError: they are not.
    """
    there = str(record.read_json(folder / record.CONFIG).get("data"))
    then, now = (re.split(r"[/+]", fingerprint)[0] for fingerprint in (there, task.fingerprint()))
    if then != now:
        what = task.trained_on if task.every_step else f"the data of {task.trained_on}"
        raise RecordError(f"{what} is another one than {folder} was trained on; bring that back, or train anew")


def find_run(study: Path, model: str | None, length: int | None) -> Path:
    """Return the run folder of a study with this model and, of digit sums, this length.

    What is not given is the book's, lstm and 10, unless what is given leaves one run only.

    Raises:
        RecordError: there is none, or more than one.
    """
    rows, missing = record.collect(record.run_folders(study))
    found = _matching(rows, model, length)
    digits = rows.empty or (rows["task.name"] == "digit_sum").any()
    if len(found) != 1:
        model, length = model or "lstm", length or (10 if digits else None)
        found = _matching(rows, model, length)
    wanted = " ".join(f"{key}={value}" for key, value in (("model", model), ("length", length)) if value is not None)
    if len(found) > 1:
        raise RecordError(
            f"{len(found)} runs of {study} have {wanted}; give one as run=...: {_some(study / f for f in found)}"
        )
    if not found:
        there = _some(_matching(rows, None, None))
        unfinished = f"; without a record: {_some(missing)}" if missing else ""
        raise RecordError(f"{study} has no finished run with {wanted}; finished: {there or 'none'}{unfinished}")
    return study / found[0]


def _matching(rows: pd.DataFrame, model: str | None, length: int | None) -> list[str]:
    """List the runs with this model and length, as far as these are given; only digit sums have a length."""
    for row_key, value in (("model.name", model), ("length", length)):
        if value is not None and len(rows):
            rows = rows[rows[row_key] == value]
    if length is not None and len(rows):
        rows = rows[rows["task.name"] == "digit_sum"]
    return [str(run) for run in dict.fromkeys(rows["run"])] if len(rows) else []


def _some(names: Iterable[object], most: int = 12) -> str:
    """List names for an error message of one line."""
    shown = [str(name) for name in names]
    return " | ".join(shown[:most]) + (f" | and {len(shown) - most} more" if len(shown) > most else "")


def as_arrays(trace: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Take the first row of the first seed out of a trace: name -> [S, B, L, D] becomes name -> [L, D]."""
    return {name: part[0, 0].numpy() for name, part in trace.items()}


@torch.no_grad()
def averages(
    model: SequenceClassifier, rows: Rows, names: Iterable[str] | None = None, task: Reading = DIGITS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average every part of a model over inputs, each with its probability.

    Args:
        model: of one seed.
        rows: inputs [N, L] with weights, as `Task.distribution` returns.
        names: which parts; None for all.
        task: says what the tokens are and where they stand.

    Returns:
        Means, a row for each part, place, kind of token and unit. The place has the column that the task names: for
        digit sums ``time_step``, 1 for the first. ``probability``: of a token of this kind at this place; where places
        are time steps, among the tokens at it (so they sum to 1 for every place), else among all tokens (so they sum
        to 1 in all). ``mean``, given that it is; ``mean_size``, of the absolute value (for a gate the same). And
        saturation, a row for each part and unit: ``share_under_0.1`` and ``share_over_0.9``, how much of all values,
        over inputs and time steps, has a size under 0.1 or over 0.9.
    """
    if rows.weights is None:
        raise ValueError("the rows have no weights: averages are over a distribution")
    L, widest = rows.inputs.shape[1], max(model.widths)
    everywhere = task.token_places(rows.inputs)
    groups = len(task.kinds) * (1 if everywhere is None else int(everywhere.max()) + 1)
    mass = torch.zeros(L if everywhere is None else 1, groups, dtype=torch.float64)
    sums: dict[str, Tensor] = {}  # of the values and of their sizes: [2, steps, groups, D], float64
    shares: dict[str, Tensor] = {}  # under 0.1 and over 0.9: [2, D], float64
    step = max(1, CHUNK // (L * widest))
    for inputs, weights in zip(torch.split(rows.inputs, step), torch.split(rows.weights, step), strict=True):
        places = task.token_places(inputs)
        # Where places are no time steps all tokens lie side by side, as if there were one time step only.
        arrange = _as_they_are if places is None else _side_by_side
        group = task.token_kinds(inputs) + (0 if places is None else places * len(task.kinds))
        weighted = F.one_hot(group, groups) * weights[:, None, None]  # [B, L, groups]
        by_group = arrange(weighted).permute(1, 2, 0)  # [steps, groups, rows]
        mass += by_group.sum(2)
        for name, traced in model.trace(inputs[None], names).items():
            values = traced[0].double()  # [B, L, D]; in float32 the sums would be right to five digits only
            size = values if heatmaps.is_gate(name) else values.abs()
            totals = by_group @ arrange(values).transpose(0, 1)
            both = torch.stack([totals, totals if size is values else by_group @ arrange(size).transpose(0, 1)])
            outside = torch.stack([weights @ far.double().flatten(1) for far in (size < 0.1, size > 0.9)])
            sums[name] = sums.get(name, 0) + both
            shares[name] = shares.get(name, 0) + outside.view(2, L, -1).mean(1)
    first, tokens = (1, 1) if everywhere is None else (0, L)  # first place; tokens of a row that share a time step
    means = pd.concat(
        [_means_table(name, sums[name] / mass[:, :, None], mass / tokens, first, task) for name in sums],
        ignore_index=True,
    )
    return means, pd.concat([_shares_table(name, shares[name]) for name in shares], ignore_index=True)


def _as_they_are(values: Tensor) -> Tensor:
    return values


def _side_by_side(values: Tensor) -> Tensor:
    """[B, L, D] -> [B * L, 1, D]."""
    return values.flatten(0, 1)[:, None]


def _means_table(name: str, means: Tensor, mass: Tensor, first: int, task: Reading) -> pd.DataFrame:
    """Put [2, steps, groups, D] into rows; a kind that never occurs at a place has none."""
    D, places = means.shape[-1], mass.numel() // len(task.kinds)
    index = pd.MultiIndex.from_product(
        [range(first, first + places), task.kinds, range(D)], names=[task.place, "kind", "unit"]
    )
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
    tables = {training: averages(model, rows, names, run.task) for training, model in models.items()}
    means, saturation = (_joined({training: both[k] for training, both in tables.items()}) for k in (0, 1))
    return means, saturation


def _joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the tables before and after training below each other, with a column ``training``."""
    return pd.concat(tables, names=["training", None]).reset_index("training").reset_index(drop=True)


def folder_name(labels: Sequence[object]) -> str:
    """Name the folder of a sequence after its tokens as they are written, as far as a file system likes them.

    A space becomes ``_``; with anything else that is replaced, or beyond 100 bytes, a hash of all is added.
    """
    whole = "".join(map(str, labels))
    name = re.sub(r"[^\w-]", "_", whole)
    if len(whole.encode()) <= 100 and not re.search(r"[^\w␣-]|_", whole):
        return name
    return f"{name[:80]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def show_sequence(
    model: SequenceClassifier, tokens: list[int], about: str, options: Options, folder: Path, task: Reading = DIGITS
) -> None:
    """Write the trace of one sequence, as arrays and as heatmaps, into a folder of its own."""
    inputs = torch.tensor(tokens)[None, None]
    with torch.no_grad():
        probabilities = model(inputs)[0, 0].softmax(-1).numpy()  # [K], or [L, K] of a model that answers at every step
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
    verdict = task.describe(tokens, probabilities)
    print(f"{about}: {verdict}")
    title = f"{about}\n{task.write(tokens)}\n{verdict}{note}"
    labels = task.labels(tokens)
    own = folder / folder_name(labels)
    bits = task.costs(tokens, probabilities)
    save(heatmaps.sheet(trace, labels, title, orders, task.token, bits), own / "sheet")
    for name, values in trace.items():
        save(heatmaps.single(values, name, labels, title, orders.get(name), task.token), own / name)
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
    task = run.task
    figure = average_figures.averages(means, saturation, title, task.place, task.singled_out, task.kinds)
    save(figure, folder / "averages")
    write_table(folder / "averages.csv", means, "%.6g")
    write_table(folder / "saturation.csv", saturation, "%.6g")
    print(f"written: {folder}/averages.png, .pdf, averages.csv, saturation.csv")


def show_units(run: LoadedRun, about: str, options: Options, folder: Path) -> None:
    """Write which units follow what in a text, before and after training, as a table and as figures."""
    tokens, features = run.task.running_text()
    if not len(tokens):
        return
    if len(tokens) < units.SHORTEST_TEXT:
        print(
            f"units: the test text is too short, it has {len(tokens)} characters; {units.SHORTEST_TEXT} are needed: "
            "train on a longer text, or with a larger task.held_out"
        )
        return
    models = {"before": run.untrained(options.seed), "after": run.best(options.seed)}
    traces = {
        training: as_arrays(model.trace(tokens[None, None], options.names or None))
        for training, model in models.items()
    }
    table = _joined({training: units.follow(trace, features) for training, trace in traces.items()})
    if table.empty:
        print("units: the test text is the same everywhere, so there is nothing to follow")
        return
    best = units.best(table)
    print(*units.in_words(best), sep="\n")
    title = f"{about}\nwhich units follow what, over {len(tokens) - units.BURN_IN:,} characters that were held out\n"
    title += "points: units, the best with its number if it is above chance and above all before training\n"
    title += "chance: if no unit followed anything, some would be above it for some feature in 5 % of all texts"
    save(unit_figures.units_by_feature(table, title), folder / "units")
    write_table(folder / "units.csv", table, "%.6g")
    files = ["units.csv, units.png, .pdf"]
    shown = units.by_unit(best).head(MOST_UNITS)
    if len(shown):
        labels = run.task.labels(tokens[units.BURN_IN :].tolist())
        start = _start_of_line(labels)
        of_units = zip(shown["part"], shown["unit"], strict=True)
        values = np.stack([traces["after"][part][units.BURN_IN :, unit] for part, unit in of_units], 1)
        title = f"{about}\nunits that follow something better than chance and than any before training"
        names = ("unit " + shown["unit"].astype(str) + " of " + shown["part"] + ": " + shown["follows"]).tolist()
        figure = unit_figures.units_in_text(units.standardise(values)[start:], names, labels[start:], title)
        save(figure, folder / "units_in_text")
        files.append("units_in_text.png, .pdf")
    print(f"written: {folder}/{', '.join(files)}")


def _start_of_line(labels: Sequence[str]) -> int:
    """Find where the first line begins in the first half of a text, or else the first word, or else the text."""
    half = list(labels[: len(labels) // 2])
    return next((half.index(mark) + 1 for mark in ("↵", "␣") if mark in half), 0)


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
    model = run.best(options.seed)
    tokens = run.task.read_sequence(options.sequence)
    remark = run.task.remark(tokens)
    if remark:
        print(f"memexp.gates: warning: {remark}", file=sys.stderr)
    if run.updates[options.seed] < 1:
        print(
            f"memexp.gates: warning: the best weights of seed {options.seed} are those before training; "
            "before and after are the same",
            file=sys.stderr,
        )
    about = f"{type(model.cell).__name__} trained on {run.task.trained_on}, seed {options.seed} ({run.study})"
    folder = Path(options.images_dir) / run.study / "gates" / f"{run.name},seed={options.seed}"
    show_sequence(model, tokens, about, options, folder, run.task)
    if options.averages:
        show_averages(run, about, options, folder)
    if options.units:
        show_units(run, about, options, folder)


def main() -> None:
    """Run ``python -m memexp.gates``."""
    run_command("gates", Options, show)
