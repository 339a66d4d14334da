"""Run folders of memexp 0.1, made by turning today's back into that form: what was trained stays, to the bit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Command, config_of, stopping_after

from memexp import experiment, migrate
from memexp.errors import RecordError
from memexp.results import record
from memexp.training import checkpoints

DIGITS = ("length=4", "model=lstm", "model.hidden_size=5", "epochs=2", "eval_steps=20", "log_steps=20")
TEXT = ("task=char_lm", "model=gru", "model.hidden_size=5", "epochs=1", "eval_steps=3", "log_steps=3", "length=20")
BOTH = pytest.mark.parametrize("overrides", [DIGITS, TEXT], ids=["digits", "text"])


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    """Do a run, or what is left of it."""
    config = config_of(*overrides, "seeds=2", f"datasets_dir={folder.parent.parent.parent / 'datasets'}")
    return experiment.run(config, folder)


def old_config(config: dict[str, Any]) -> dict[str, Any]:
    """Turn a config into one of memexp 0.1, where texts had a length of digits, and one of their own."""
    old = {**config, "task": dict(config["task"]), "model": dict(config["model"])}
    old.pop("format", None)
    classes = {"digit_sum": "digit_sum.DigitSum", "char_lm": "char_lm.CharLM"}
    old["task"]["_target_"] = f"memexp.tasks.{classes[old['task']['name']]}"
    old["model"]["_target_"] = f"memexp.models.{old['model']['name'].upper()}"
    if old["task"]["name"] == "char_lm":
        old["task"]["num_steps"], old["length"] = old["length"], 10
    return old


def as_then(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what memexp 0.1 did not say of a task, and of the machine."""
    added = ("train_rows", "dev_rows", "test_rows", "choosing_characters")
    about = {key: value for key, value in summary["about"].items() if key not in added}
    return {key: value for key, value in summary.items() if key not in ("later", "machine")} | {"about": about}


def make_old(folder: Path, target: Path) -> None:
    """Turn a run folder into one of memexp 0.1, at another place."""
    shutil.copytree(folder, target)
    identity = old_config(record.read_json(folder / record.CONFIG))
    record.write_json(target / record.CONFIG, identity)
    if (folder / record.SUMMARY).exists():
        summary = record.read_summary(folder)
        text = summary["config"]["task"]["name"] == "char_lm"
        about, floors = as_then(summary).pop("about"), summary.pop("floors")
        summary.pop("about")
        old = {key: summary[key] for key in summary if key not in ("title", "trained_on", "interface", "shown")}
        if text:
            old.pop("test_right")
            about |= {f"floor_{name}_bits": value for name, value in floors["bits"].items()}
            about["symbols"] = len(about["vocabulary"])
        record.write_json(
            target / record.SUMMARY, {**old, **about, "format": 1, "config": old_config(summary["config"])}
        )
    state = checkpoints.load(folder / record.LAST, "training")["training"]
    state["identity"] = json.dumps(identity, indent=1) + "\n"
    state["running"] = [(total, float(count[0])) for total, count in state["running"].values()]
    state["unread"] = [(answers.flatten(1, 2), targets.flatten(1)) for answers, targets, _ in state["unread"]]
    checkpoints.save(target / record.LAST, {"training": state})


@BOTH
def test_a_complete_run_is_complete_afterwards(tmp_path: Path, overrides: tuple[str, ...]):
    folder = tmp_path / "outputs" / "a" / "length=4,model=x"
    run(folder, *overrides)
    make_old(folder, tmp_path / "outputs" / "b" / folder.name)
    old = tmp_path / "outputs" / "b" / folder.name
    with pytest.raises(RecordError, match=r"written by memexp 0\.1.*python -m memexp.migrate outputs_dir=.*study=b"):
        run(old, *overrides)
    assert migrate.migrate(old)
    assert record.read_json(old / record.CONFIG) == record.read_json(folder / record.CONFIG)
    carried = record.read_summary(old)
    assert carried.pop("sealed_later") == sorted([record.SUMMARY, *carried["sealed"]])  # what it was nobody knows
    assert carried == as_then(record.read_summary(folder)) | {"sealed": record.seals_of(old)}
    for name in (record.HISTORY, record.BEST):
        assert (old / name).read_bytes() == (folder / name).read_bytes()
    assert run(old, *overrides) == record.read_summary(old)  # skipped: it is the run of this command
    assert not migrate.migrate(old)


@BOTH
def test_an_unfinished_run_goes_on_to_the_same_end(tmp_path: Path, overrides: tuple[str, ...]):
    whole, part = (tmp_path / "outputs" / study / "length=4,model=x" for study in "ab")
    run(whole, *overrides)
    with stopping_after(5), pytest.raises(KeyboardInterrupt):
        run(part, *overrides)
    old = tmp_path / "outputs" / "c" / part.name
    make_old(part, old)
    assert len(checkpoints.load(old / record.LAST, "training")["training"]["unread"]) > 0
    migrate.migrate(old)
    run(old, *overrides)
    assert (old / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    ends = [checkpoints.load(folder / record.BEST, "weights")["weights"] for folder in (old, whole)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])
    assert record.read_summary(old)["seeds"] == record.read_summary(whole)["seeds"]


def test_the_folder_of_a_text_gets_its_length(tmp_path: Path):
    config = {"length": 20, "model": {"name": "gru"}}
    folder = tmp_path / "lr=1,model=gru"
    folder.mkdir()
    assert migrate.new_folder(folder, config).name == "length=20,lr=1,model=gru"
    noted = folder / ".hydra" / "overrides.yaml"
    noted.parent.mkdir()
    noted.write_text("- task=char_lm\n- model=gru\n- task.num_steps=20\n- study=x\n- lr=1\n")
    assert migrate.new_folder(folder, config).name == "length=20,lr=1,model=gru,task=char_lm"
    assert migrate.new_folder(tmp_path / "length=4,model=gru", config).name == "length=4,model=gru"


def test_what_cannot_be_carried_over_is_named_and_the_rest_is(tmp_path: Path, in_process: Command):
    good, other, damaged = (
        tmp_path / "outputs" / "a" / name for name in ("length=4,x=1", "length=4,x=2", "length=4,x=3")
    )
    whole = tmp_path / "outputs" / "whole" / "length=4,model=x"
    run(whole, *DIGITS)
    for folder in (good, other, damaged):
        make_old(whole, folder)
    summary = record.read_json(other / record.SUMMARY)
    summary["config"]["task"]["name"] = "another"
    record.write_json(other / record.SUMMARY, summary)
    (damaged / record.SUMMARY).write_text("{")
    printed = in_process(migrate.main, f"outputs_dir={tmp_path / 'outputs'}", "study=a")
    assert printed == "1"  # the exit code
    assert record.read_summary(good)["seeds"] == record.read_summary(whole)["seeds"]
    assert (damaged / record.SUMMARY).read_text() == "{"
