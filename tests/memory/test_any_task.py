"""The measures of one kind of question on runs of every task: what they measure, and what they say of the rest."""

from pathlib import Path

import pandas as pd
import pytest
from helpers import Command, config_of

from memexp import experiment
from memexp.memory import command
from memexp.memory.hold_time import LIMIT

TEXT = ["task.corpus=datasets/fox.txt", "task.prefixes=[]", "length=7", "batch_size=8"]
RUNS = {
    "model=lstm": ["length=5", "epochs=2"],
    "model=srn,model.bidirectional=True": ["length=5", "model=srn", "model.bidirectional=true", "epochs=2"],
    "model=lstm,task=adding": ["task=adding", "length=6", "model=lstm", "epochs=1"],
    "model=mingru,task=copy_memory": ["task=copy_memory", "length=3", "task.items=2", "model=mingru", "epochs=1"],
    "model=gru,task=char_lm": ["task=char_lm", "model=gru", "epochs=1", *TEXT],
}


SUMMARIES = {"memory", "memory_seeds", "memory_agreement"}


@pytest.mark.slow
def test_runs_of_every_task_are_measured_where_it_makes_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command
):
    monkeypatch.chdir(tmp_path)
    Path("datasets").mkdir()
    Path("datasets/fox.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    for name, overrides in RUNS.items():
        experiment.run(config_of(*overrides, "seeds=2"), Path("outputs/odd", name))
    names = "measures=length_matrix,hold_time,effective_memory,substitution"
    said = in_process(command.main, "study=odd", names)
    for line in (
        "length_matrix: not measured: its scores are no shares",
        "hold_time: not measured: its task has no question that nothing follows",
        "hold_time: not measured (1 of 2 runs): it reads backwards too, so that it cannot go on from a state",
        "substitution: not measured: its inputs are numbers, no symbols",
    ):
        assert line in said
    found = {
        task: {path.stem for path in Path("images/odd/memory", task).glob("*.csv")} - SUMMARIES
        for task in ("digit_sum", "adding", "copy_memory", "char_lm")
    }
    assert found == {
        "digit_sum": {"length_matrix", "hold_time", "effective_memory", "substitution"},
        "adding": {"length_matrix", "effective_memory"},
        "copy_memory": {"length_matrix", "effective_memory", "substitution"},
        "char_lm": {"effective_memory", "substitution"},
    }
    held = pd.read_csv("images/odd/memory/digit_sum/hold_time.csv")
    assert len(held) == 2 * 100
    assert held["steps"].between(1, LIMIT).all()
    read = pd.read_csv("images/odd/memory/copy_memory/effective_memory.csv")
    assert read["last"].max() == 3 + 2 * 2
    assert "there already" in in_process(command.main, "study=odd", names)
