"""Carry run folders of memexp 0.1 over to today's form: ``python -m memexp.migrate``. It goes with the next release.

What was trained stays as it is, to the bit: only the words around it change. A folder that is of today's form already
is left alone, so the command can be given again after an interruption.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memexp.config import folder_name
from memexp.errors import Complaints, MemexpError, RecordError
from memexp.fields import ranged
from memexp.options import run_command
from memexp.results import claims, record
from memexp.results.identity import NOT_IDENTITY, identity_of, identity_text
from memexp.results.study import find_study, study_names

CELLS = {
    "SRN": "SRN", "ResidualSRN": "residual SRN", "GRU": "GRU", "LSTM": "LSTM", "MinGRU": "minGRU", "MinLSTM": "minLSTM",
}  # fmt: skip


@dataclass
class Options:
    """Carry run folders that memexp 0.1 wrote over to today's form; weights, histories and scores stay as they are."""

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: all of them")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")


def new_config(old: dict[str, Any]) -> dict[str, Any]:
    """Return the config of today: ``length`` is of every task, and memexp's cells have moved."""
    config = {**old, "task": dict(old["task"]), "model": dict(old["model"])}
    if "num_steps" in config["task"]:
        config["length"] = config["task"].pop("num_steps")
    module, _, cell = str(config["model"].get("_target_", "")).rpartition(".")
    if module == "memexp.models":
        config["model"]["_target_"] = f"memexp.models.cells.{cell}"
    return config


def new_identity(old: dict[str, Any]) -> dict[str, Any]:
    """Return the content of today's config.json for one of memexp 0.1."""
    config = new_config(old)
    data = config.pop("data", None)
    return identity_of(config, data)


def new_summary(old: dict[str, Any]) -> dict[str, Any]:
    """Return the content of today's summary.json for one of memexp 0.1.

    Raises:
        RecordError: it is of a task that memexp 0.1 did not have.
    """
    config = new_config(old["config"])
    task = config["task"]["name"]
    if task not in TASKS:
        raise RecordError(f"is of the task {task}, which memexp 0.1 did not have")
    kept = ("memexp", "torch", "device_used", "parameters", "state_size", "hidden_sizes", "updates", "seconds",
            "tokens_per_second")  # fmt: skip
    cell = str(config["model"]["_target_"]).rpartition(".")[2]
    return {
        "format": record.FORMAT,
        **{key: old[key] for key in kept if key in old},
        "title": CELLS.get(cell, cell),
        **TASKS[task](old, config),
        "config": config,
        "seeds": old["seeds"],
        "test_right": old.get("test_right", {}),
    }


def _digit_sum(old: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    entropy, chance = old["target_entropy_bits"], old["chance_accuracy"]
    return {
        "trained_on": f"length {config['length']}",
        "interface": {"inputs": 10, "outputs": 19, "every_step": False, "longest": config["length"]},
        "about": {key: old[key] for key in ("exact_over", "target_entropy_bits", "chance_accuracy")},
        "floors": {
            "accuracy": {"always the likeliest answer": chance},
            "loss": {"knowing nothing": entropy * math.log(2), "knowing one digit": math.log(10)},
        },
        "shown": dict.fromkeys(("dev_accuracy", "test_accuracy", "exact_accuracy"), True),
        "panels": ["task.sampling"],
    }


def _char_lm(old: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    V = len(old["vocabulary"])
    sizes = {key: value for key, value in old.items() if key.endswith("_characters")}
    bits = {key.split("_")[1]: value for key, value in old.items() if key.startswith("floor_")}
    splits = ("last_train", "last_dev", "train", "dev", "test")
    return {
        "trained_on": f"the text {Path(config['task']['corpus']).stem} ({old['train_characters']:,} characters)",
        "interface": {"inputs": V, "outputs": V, "every_step": True, "longest": config["length"]},
        "about": {"vocabulary": old["vocabulary"], **sizes},
        "floors": {"bits": bits, "loss": {name: value * math.log(2) for name, value in bits.items()}},
        "shown": dict.fromkeys((*(f"{split}_perplexity" for split in splits), "test_bits"), False),
        "panels": [],
    }


TASKS: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "digit_sum": _digit_sum,
    "char_lm": _char_lm,
}


def new_checkpoint(path: Path, answers: int) -> None:
    """Rewrite a checkpoint that an unfinished run goes on from; ``answers`` is A, how many a sequence has.

    Raises:
        RecordError: it is damaged, or cannot be written.
    """
    import torch

    from memexp.training import checkpoints

    state = checkpoints.load(path, "training")["training"]
    if not isinstance(state["running"], list):
        return  # of today already
    names = ["loss", "perplexity" if "vocabulary" in state else "accuracy"]
    S = len(state["best_score"])
    state["running"] = {
        name: (total, torch.full((S,), float(count), dtype=torch.float64))
        for name, (total, count) in zip(names, state["running"], strict=True)
    }
    state["unread"] = [
        (answered.unflatten(1, (-1, answers)), targets.unflatten(1, (-1, answers)), None)
        for answered, targets in state["unread"]
    ]
    state["identity"] = identity_text(new_identity(json.loads(state["identity"])))
    checkpoints.save(path, {"training": state})


def new_folder(folder: Path, config: dict[str, Any]) -> Path:
    """Return where a run's folder belongs: today the length is in the name of every one."""
    if "length=" in folder.name:
        return folder
    parts = dict(part.partition("=")[::2] for part in _overrides(folder))
    chosen = {key: value for key, value in parts.items() if key not in (*NOT_IDENTITY, "experiment")}
    chosen.pop("task.num_steps", None)
    named = folder_name({"model": config["model"]["name"], "length": str(config["length"]), **chosen})
    return folder.with_name(named)


def _overrides(folder: Path) -> list[str]:
    """Return the settings that a run was started with: Hydra's note of them, or else what its folder is called."""
    noted = folder / ".hydra" / "overrides.yaml"
    if noted.exists():
        return [str(override).lstrip("+") for override in yaml.safe_load(noted.read_text(encoding="utf-8"))]
    return folder.name.split(",")


def migrate(folder: Path) -> bool:
    """Carry one run folder over; say whether there was anything to do.

    Raises:
        RecordError: a file of it is damaged, is in use, or cannot be written.
    """
    path, changed = folder / record.CONFIG, False
    with claims.hold(folder):
        config = record.read_json(path)
        if "format" not in config:
            config = new_identity(config)
            record.write_json(path, config)
            changed = True
        if (folder / record.LAST).exists():
            new_checkpoint(folder / record.LAST, config["length"] if config["task"]["name"] == "char_lm" else 1)
        if record.is_complete(folder):
            summary = record.read_json(folder / record.SUMMARY)
            if summary.get("format") == 1:
                try:
                    sealed_later = [record.SUMMARY, *record.seals_of(folder)]  # nobody knows whether it is as it was
                    record.write_summary(folder, new_summary(summary), sealed_later)
                except (KeyError, TypeError, AttributeError) as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise RecordError(f"{folder / record.SUMMARY} is damaged ({reason})") from error
                changed = True
    target = new_folder(folder, config)
    if target != folder:
        if target.exists():
            raise RecordError(f"{target} is there already; move one of the two away")
        folder.rename(target)
    return changed or target != folder


def migrate_all(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if a folder could not be carried over."""
    outputs, complaints = Path(options.outputs_dir), Complaints()
    names = study_names(outputs) if options.study is None else [find_study(outputs, options.study).name]
    for name in names:
        folders, done = record.run_folders(outputs / name), 0
        for folder in folders:
            try:
                done += migrate(folder)
            except MemexpError as error:
                complaints.add(f"left as it is: {folder}: {error}")
        print(f"{outputs / name}: {done} of {len(folders)} run folders carried over")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.migrate``."""
    run_command("migrate", Options, migrate_all)


if __name__ == "__main__":
    main()
