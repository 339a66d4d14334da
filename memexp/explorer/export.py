"""One HTML file in which a study's trained models can be explored, offline: ``python -m memexp.explorer study=book``.

The page is `explorer.html`, plain JavaScript; here the layers, weights and scores of the runs are put into it, of digit
sums and of character language models alike. The page repeats the cells of `memexp.models.cells`: a new cell needs one
function there.
"""

import base64
import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from memexp import generate
from memexp.analysis import command as analysis
from memexp.config import ModelConfig, ranged
from memexp.errors import Complaints, ConfigError, MemexpError, RecordError
from memexp.files import write_atomically
from memexp.gates import command as gates
from memexp.models.networks import Direction, SequenceClassifier
from memexp.options import run_command
from memexp.results import record, tables
from memexp.results.study import find_study
from memexp.tasks.char_lm import opening, typed

PAGE = Path(__file__).with_name("page.html")
DATA = "@DATA@"  # in the page, where the exported runs go
SEEDS_SHOWN = 2  # of each run, unless asked otherwise: an LSTM of the book takes 49 KB a seed

#: Task -> its scores in the page: their names there -> columns of `memexp.results.record.collect`.
SCORES = {
    "digit_sum": {"dev": "dev_accuracy", "test": "test_accuracy", "exact": "exact_accuracy"},
    "char_lm": {
        "train": "train_perplexity", "dev": "dev_perplexity", "test": "test_perplexity", "bits": "test_bits",
    },
}  # fmt: skip

#: Settings that a label leaves out: the page has a field for the length, and what a language model writes while it is
#: trained leaves it as it is.
UNNAMED = ("model.name", "length", "task.prefixes", "task.pred_period", "task.pred_chars")


@dataclass
class Options:
    """Write one HTML file in which the gates of a study's models can be explored, without a server or a network."""

    study: str = ranged(default="book", about="whose runs")
    seeds: Any = ranged(
        default=None,
        about=f"3 for 0 to 2, or a list; null: the first {SEEDS_SHOWN} of each run, to keep the file small",
    )
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")
    output: str | None = ranged(default=None, about="the file to write; null: images/<study>/explorer.html")


def read_seeds(given: Any) -> list[int] | None:
    """Read the option ``seeds`` as `memexp` does: a number of seeds, or a list of them.

    Raises:
        ConfigError: it is neither.
    """
    allowed = "give a number of seeds (seeds=3 means 0..2) or a list of them (seeds=[3,7])"
    if given is None:
        return None
    numbers = list(range(given)) if isinstance(given, int) else given
    if not isinstance(numbers, list):
        raise ConfigError(f"seeds={given} is not possible; {allowed}")
    if not numbers:
        raise ConfigError(f"seeds={given} is empty; {allowed}")
    for seed in numbers:
        if not isinstance(seed, int):
            raise ConfigError(f"seeds: {seed!r} is not a seed; {allowed}")
    return list(dict.fromkeys(numbers))


def export_study(folder: Path, seeds: list[int] | None, complaints: Complaints) -> list[dict[str, Any]]:
    """Collect a study's complete runs as the page reads them; what has to be left out is complained of."""
    rows, missing = record.collect(record.run_folders(folder))
    for line in missing:
        complaints.add(f"left out: {folder.name}/{line}")
    runs = []
    for name in [] if rows.empty else rows["run"].unique():
        try:
            runs.append(export_run(folder / name, rows[rows["run"] == name], seeds, complaints))
        except MemexpError as error:
            complaints.add(f"left out: {folder.name}/{name}: {error}")
    if runs:
        _label(runs, rows[rows["run"].isin([run["name"] for run in runs])])
    return runs


def export_run(folder: Path, rows: pd.DataFrame, seeds: list[int] | None, complaints: Complaints) -> dict[str, Any]:
    """Export one run.

    Args:
        folder: the run folder.
        rows: its rows of `memexp.results.record.collect`, one for each seed, in order.
        seeds: which seeds; None for the first `SEEDS_SHOWN`.
        complaints: where the seeds that have to be left out are named.

    Raises:
        RecordError: it is of a task that the page cannot show, it is damaged, or it has none of the seeds.
        MemexpError: its model cannot be built again, see `memexp.gates.command.load_run`, `memexp.generate`.
    """
    first = rows.iloc[0]
    if first.get("task.name") not in SCORES:
        raise RecordError(f"the explorer shows digit sums and texts, not the task {first.get('task.name')}")
    study = folder.parent.name
    there = [int(seed) for seed in rows["seed"]]
    wanted = there[:SEEDS_SHOWN] if seeds is None else [seed for seed in seeds if seed in there]
    for seed in sorted(set(seeds or []) - set(there)):
        complaints.add(f"left out: {study}/{folder.name} has no seed {seed}; it has {', '.join(map(str, there))}")
    # The record of a language model has its characters; its text may be gone.
    writes = first["task.name"] == "char_lm"
    run = generate.load_language_model(folder, "best") if writes else gates.load_run(folder)
    exported = []
    for seed in wanted:
        place = there.index(seed)
        flat = torch.cat([parameter[place].flatten() for parameter in run.model.parameters()]).detach()
        if not flat.isfinite().all():
            complaints.add(f"left out: {study}/{folder.name}: the weights of seed {seed} are not finite")
            continue
        exported.append(_export_seed(rows.iloc[place], flat, SCORES[first["task.name"]]))
    if not exported:
        raise RecordError("no seed to show")
    return {
        "name": folder.name,
        **_input(first),
        **describe(run.model, run.config.model),
        "seeds": exported,
    }


def _input(row: pd.Series) -> dict[str, Any]:
    """Say what a reader types for a model: digits, or the characters of a vocabulary; the page tells them apart by it.

    A text begins with the first prefix of the record, or as `memexp.generate` does without one.
    """
    if row["task.name"] == "digit_sum":
        return {"length": int(row["length"]), "exact_over": str(row["exact_over"])}
    vocabulary = str(row["vocabulary"])
    prefixes = [typed(prefix, vocabulary) for prefix in row["task.prefixes"] if prefix]
    return {"vocabulary": vocabulary, "opening": [*prefixes, opening(vocabulary)][0]}


def describe(model: SequenceClassifier, config: DictConfig) -> dict[str, Any]:
    """Say what the page has to know about a model: its tensors and layers.

    The weights of one seed are flat, in the order of ``model.parameters()``: those of the model itself, then those of
    each direction of each layer. The description lists the same tensors, by name and sizes, in the same order.
    """
    shared = {field.name for field in dataclasses.fields(ModelConfig)}
    settings = {str(key): value for key, value in config.items() if key not in shared}  # of this cell alone
    prefixes = {direction: prefix for prefix, direction in model.directions}
    layers = [[_describe(d, prefixes[d], settings) for d in layer] for layer in model.stack]
    return {"tensors": _sizes(model, recurse=False), "layers": layers}


def _describe(direction: Direction, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Describe one direction of a layer; ``name`` is what the names of its parts begin with in a trace."""
    cell = direction.cell
    return {
        "name": name,
        "cell": type(cell).__name__,
        "settings": settings,
        "gates": list(cell.gates),
        "states": len(cell.states),
        "input_size": cell.W.shape[2],
        "hidden_size": cell.hidden_size,
        "backwards": direction.backwards,
        "tensors": _sizes(direction),
    }


def _sizes(module: nn.Module, recurse: bool = True) -> dict[str, list[int]]:
    """List the sizes of a module's parameters, for one seed; those that a cell does not have are absent."""
    named = module.named_parameters(recurse=recurse)
    return {name.removeprefix("cell."): list(parameter.shape[1:]) for name, parameter in named}


def _export_seed(row: pd.Series, weights: Tensor, columns: dict[str, str]) -> dict[str, Any]:
    scores = {name: row.get(column) for name, column in columns.items()}
    return {
        "seed": int(row["seed"]),
        "update": int(row["best_iteration"]),
        **{name: None if value is None or math.isnan(value) else float(value) for name, value in scores.items()},
        "weights": base64.b64encode(weights.to(torch.float32).numpy().astype("<f4").tobytes()).decode(),
    }


def _label(runs: list[dict[str, Any]], rows: pd.DataFrame) -> None:
    """Label runs as the figures do, by model and by what else differs among those of their task."""
    labels = {}
    for task, own in rows.groupby("task.name"):
        own = own.dropna(axis="columns", how="all")  # settings that only the other task has
        settings = [name for name in tables.varied(own) if name not in UNNAMED]
        kind = ", text" if task == "char_lm" and len(own) < len(rows) else ""
        for _, first in own.drop_duplicates("run").iterrows():
            labels[first["run"]] = analysis.label(first, settings) + kind
    for run in runs:
        run["label"] = labels[run["name"]]
    places = [(run["label"], run.get("length")) for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:  # the same settings twice, for example with other seeds
            run["label"] += f" ({run['name']})"


def page(study: str, runs: list[dict[str, Any]]) -> str:
    """Return the page with the runs in it."""
    content = json.dumps({"study": study, "runs": runs}, separators=(",", ":"), allow_nan=False)
    # "<" only occurs inside strings: escaped, no name can end the script element.
    return PAGE.read_text(encoding="utf-8").replace(DATA, content.replace("<", "\\u003c"))


def write(path: Path, text: str) -> None:
    """Write the page.

    Raises:
        RecordError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; give another output=FILE") from error


def export(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out.

    Raises:
        MemexpError: there is nothing to show, or the page cannot be written.
    """
    folder, complaints = find_study(Path(options.outputs_dir), options.study), Complaints()
    runs = export_study(folder, read_seeds(options.seeds), complaints)
    if not runs:
        raise RecordError(f"{folder} has no run to show; the reasons are above")
    path = Path(options.output or Path("images", options.study, "explorer.html"))
    write(path, page(options.study, runs))
    seeds = sum(len(run["seeds"]) for run in runs)
    size = path.stat().st_size / 1e6
    print(f"written: {path}, {size:.2f} MB: {len(runs)} runs, {seeds} seeds in all; open it in a browser")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.explorer``."""
    run_command("explorer", Options, export)
