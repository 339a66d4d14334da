"""One HTML file in which a study's trained models can be explored, offline: ``python -m memexp.explorer study=book``.

The page is `page.html`, plain JavaScript; here the layers, weights and scores of the runs are put into it. It shows
every task whose sequences can be typed as characters (`memexp.tasks.task.Reading.symbols`), and computes the cells that
it has a function for.
"""

import base64
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memexp import trained
from memexp.config import ModelConfig, read_seeds
from memexp.errors import Complaints, ConfigError, MemexpError, RecordError
from memexp.experiment import own_settings
from memexp.fields import ranged
from memexp.files import expanded, write
from memexp.models import cells
from memexp.models.networks import Direction, SequenceModel
from memexp.options import run_command
from memexp.progress import say
from memexp.results import record
from memexp.results.collect import Collected, collect
from memexp.results.study import find_study, label, label_settings, study_or_usual
from memexp.tasks.metrics import CrossEntropy
from memexp.trained import MODULES, TrainedRun
from memexp.weights.outside import CALLED, STUDY, WEIGHTS, load_outside, names_of

PAGE = Path(__file__).with_name("page.html")
#: The cells that the page has a function for, as it names them.
CELLS = frozenset(re.findall(r"^  (\w+)\(cell, .*\) \{$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
DATA = "@DATA@"  # in the page, where the exported runs go
SEEDS_SHOWN = 2  # of each run, unless asked otherwise: an LSTM of the book takes 49 KB a seed

#: Settings that a label leaves out: the page has a field for the length, and what a language model writes while it is
#: trained leaves it as it is.
UNNAMED = ("model.name", "length", "task.prefixes", "task.pred_period", "task.pred_chars")


@dataclass
class Options:
    """Write one HTML file in which the gates of a study's models can be explored, without a server or a network."""

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: the only one there, or book")
    weights: list[str] | None = ranged(default=None, about=WEIGHTS.replace("a file", "files"))
    called: list[str] | None = ranged(default=None, about=CALLED)
    length: int | None = ranged(1, default=None, about="of weights from outside: digits that are shown; null: 10")
    seeds: Any = ranged(
        default=None,
        about=f"3 for 0 to 2, or a list; null: the first {SEEDS_SHOWN} of each run, to keep the file small",
    )
    modules: list[str] = ranged(default=[], about=MODULES)
    datasets_dir: str = ranged(default="datasets", path=True, about="of weights from outside: where the data are")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    output: str | None = ranged(default=None, path=True, about="the file to write; null: images/<study>/explorer.html")


def export_study(
    folder: Path, seeds: list[int] | None, complaints: Complaints, modules: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Collect a study's complete runs as the page reads them; what has to be left out is complained of.

    Args:
        folder: of the study.
        seeds: which of each run; None for the first `SEEDS_SHOWN`.
        complaints: where what is left out is named.
        modules: of the user's own, whose cells and tasks may be built.
    """
    found = collect(record.run_folders(folder))
    for line in found.missing:
        complaints.add(f"left out: {folder.name}/{line}")
    runs = []
    for name in [] if found.rows.empty else found.rows["run"].unique():
        try:
            runs.append(export_run(trained.load(folder / name, modules=modules), seeds, complaints))
        except MemexpError as error:
            complaints.add(f"left out: {folder.name}/{name}: {error}")
    if runs:
        _label(runs, found)
    return runs


def export_outside(options: "Options", seeds: list[int] | None, complaints: Complaints) -> list[dict[str, Any]]:
    """Collect files of weights from outside as the page reads them, each a model; see `export_study`."""
    if options.study is not None:
        raise ConfigError("weights= and study= do not go together; give one of them")
    runs = []
    for file in options.weights or ():
        try:
            run = load_outside(expanded(file), names_of(options.called), options.length, options.datasets_dir)
            title = run.summary["title"]
            runs.append(export_run(run, seeds, complaints) | {"label": f"{title} ({run.name})"})
        except MemexpError as error:
            complaints.add(f"left out: {error}")
    return runs


def export_run(run: TrainedRun, seeds: list[int] | None, complaints: Complaints) -> dict[str, Any]:
    """Export one run.

    Args:
        run: the run.
        seeds: which seeds; None for the first `SEEDS_SHOWN`.
        complaints: where the seeds that have to be left out are named, and a cell that the page cannot compute.

    Raises:
        RecordError: its sequences cannot be typed, its answers are no probabilities, or it has none of the seeds.
    """
    reading, there, where = run.reading, run.seeds, f"{run.study}/{run.name}"
    if reading.symbols is None:
        raise RecordError(f"sequences of task={run.config.task.name} cannot be typed into the page")
    if not issubclass(run.kind.loss, CrossEntropy):
        raise RecordError(f"answers of task={run.config.task.name} are no probabilities, which is all the page shows")
    wanted = there[:SEEDS_SHOWN] if seeds is None else [seed for seed in seeds if seed in there]
    for seed in sorted(set(seeds or []) - set(there)):
        complaints.add(f"left out: {where} has no seed {seed}; it has {', '.join(map(str, there))}")
    for cell in sorted({cell_name(direction) for layer in run.model.stack for direction in layer} - CELLS):
        complaints.add(f"not computed: {where}: the page has no function for the cell {cell}, and says so")
    exported = []
    for seed in wanted:
        place = there.index(seed)
        flat = torch.cat([parameter[place].flatten() for parameter in run.model.parameters()]).detach()
        if not flat.isfinite().all():
            complaints.add(f"left out: {where}: the weights of seed {seed} are not finite")
            continue
        exported.append(_export_seed(run.record_of(seed), flat, run.summary["shown"]))
    if not exported:
        raise RecordError("no seed to show")
    about = run.summary["about"]
    return {
        "name": run.name,
        "kind": reading.words,
        "symbols": reading.symbols,
        "answers": list(reading.outputs),
        "length": int(run.config.length),
        "steps": reading.steps,
        "example": reading.beginning,
        **({"exact_over": about["exact_over"]} if "exact_over" in about else {}),
        **describe(run.model, own_settings(run.config.model, ModelConfig)),
        "seeds": exported,
    }


def describe(model: SequenceModel, settings: dict[str, Any]) -> dict[str, Any]:
    """Say what the page has to know about a model: when it answers, its tensors and its layers.

    The weights of one seed are flat, in the order of ``model.parameters()``: those of the model itself, then those of
    each direction of each layer. The description lists the same tensors, by name and sizes, in the same order.

    Args:
        model: the model.
        settings: those of its cell alone.
    """
    prefixes = {direction: prefix for prefix, direction in model.directions}
    layers = [[_describe(d, prefixes[d], settings) for d in layer] for layer in model.stack]
    return {"every_step": model.every_step, "tensors": _sizes(model, recurse=False), "layers": layers}


def cell_name(direction: Direction) -> str:
    """Name the cell of a direction as the page does; one of another module with that, as it may have the same name."""
    kind = type(direction.cell)
    return kind.__name__ if kind.__module__ == cells.__name__ else f"{kind.__module__}.{kind.__name__}"


def _describe(direction: Direction, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Describe one direction of a layer; ``name`` is what the names of its parts begin with in a trace."""
    cell = direction.cell
    return {
        "name": name,
        "cell": cell_name(direction),
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


def _export_seed(own: dict[str, Any], weights: Tensor, shown: dict[str, bool]) -> dict[str, Any]:
    """Export the scores and the weights of one seed; ``own`` is what its record says.

    The weights in the page were chosen on dev, so the scores of the last ones are not for it.
    """
    scores = [
        {"name": record.score_name(column), "value": _finite(own.get(column)), "share": share}
        for column, share in shown.items()
        if not column.startswith("last_")
    ]
    return {
        "seed": own["seed"],
        "update": own["best_iteration"],
        "scores": scores,
        "weights": base64.b64encode(weights.to(torch.float32).numpy().astype("<f4").tobytes()).decode(),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _label(runs: list[dict[str, Any]], found: Collected) -> None:
    """Label runs as the figures do, by model and by what else differs among those of their task."""
    rows = found.rows[found.rows["run"].isin([run["name"] for run in runs])]
    several = rows["task.name"].nunique() > 1
    labels = {}
    for task, own in rows.groupby("task.name"):
        settings = label_settings(own, found.settings, UNNAMED)
        kind = f", {str(task).replace('_', ' ')}" if several else ""
        for _, first in own.drop_duplicates("run").iterrows():
            labels[first["run"]] = label(first, settings) + kind
    for run in runs:
        run["label"] = labels[run["name"]]
    # the page has no field for the length of a text
    places = [(run["label"], None if run["kind"] == "text" else run["length"]) for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:  # the same settings twice, for example with other seeds
            run["label"] += f" ({run['name']})"


def page(study: str, runs: list[dict[str, Any]]) -> str:
    """Return the page with the runs in it."""
    content = json.dumps({"study": study, "runs": runs}, separators=(",", ":"), allow_nan=False)
    # "<" only occurs inside strings: escaped, no name can end the script element.
    return PAGE.read_text(encoding="utf-8").replace(DATA, content.replace("<", "\\u003c"))


def export(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out.

    Raises:
        MemexpError: there is nothing to show, or the page cannot be written.
    """
    outputs, complaints = Path(options.outputs_dir), Complaints()
    wanted = None if options.seeds is None else read_seeds(options.seeds)
    if options.weights is not None:
        study, runs = STUDY, export_outside(options, wanted, complaints)
    else:
        study = study_or_usual(outputs, options.study, "book")
        runs = export_study(find_study(outputs, study), wanted, complaints, options.modules)
    if not runs:
        where = f"{outputs / study} has" if options.weights is None else "the files of weights have"
        raise RecordError(f"{where} no run to show; the reasons are above")
    path = Path(options.output or Path("images", study, "explorer.html"))
    write(path, page(study, runs).encode(), "output=FILE")
    seeds = sum(len(run["seeds"]) for run in runs)
    size = path.stat().st_size / 1e6
    say(f"written: {path}, {size:.2f} MB: {len(runs)} runs, {seeds} seeds in all; open it in a browser")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.explorer``."""
    run_command("explorer", Options, export)
