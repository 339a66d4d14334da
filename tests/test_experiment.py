import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers import config_of, make_run

from memexp.config import choices
from memexp.errors import RecordError
from memexp.experiment import build_model, build_task, clean, run
from memexp.results import claims, record
from memexp.training.runner import Runner


def do(folder: Path, *overrides: str) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Run five updates; return the summary and, by name, what the history says of update 1, a number for each seed."""
    settings = ("length=4", "seeds=2", "epochs=1", "batch_size=60", "optimizer=sgd", f"datasets_dir={folder}/data")
    summary = run(config_of(*settings, *overrides), folder / "run")
    history = pd.read_csv(folder / "run" / "history.csv")
    assert summary["updates"] == 5
    return summary, history[history["iteration"] == 1].groupby("name")["value"].apply(list).to_dict()


@pytest.mark.parametrize(
    ("settings", "factor", "clipped"),
    [
        (["reduction=mean"], 1, None),
        (["reduction=sum"], 60, None),
        (["clip=0.001", "clip_by=tensor"], 1, {"W": 0.001, "U": 0.001, "b": 0.001}),
        (["reduction=sum", "clip=0.001", "clip_by=value"], 60, {"b": 0.001 * math.sqrt(32)}),  # every number of b
    ],
)
def test_gradients_are_reduced_and_clipped_as_the_config_says(
    tmp_path: Path, settings: list[str], factor: float, clipped: dict[str, float] | None
):
    _, plain = do(tmp_path / "plain", "model=srn", "gradient_norms=true")
    _, own = do(tmp_path / "own", "model=srn", "gradient_norms=true", *settings)
    assert own.keys() == {f"{what}.{name}" for what in ("gradient_norm", "clipped_gradient_norm") for name in "WUb"}
    for name in "WUb":
        before = own[f"gradient_norm.{name}"]
        assert before == pytest.approx([factor * norm for norm in plain[f"gradient_norm.{name}"]], rel=1e-4)
        if clipped is None:
            assert own[f"clipped_gradient_norm.{name}"] == before
        elif name in clipped:
            assert own[f"clipped_gradient_norm.{name}"] == pytest.approx([clipped[name]] * 2, rel=0.01)


def test_clipping_is_global_unless_said_otherwise_and_norms_are_noted_only_if_asked_for(tmp_path: Path):
    _, own = do(tmp_path / "own", "model=srn", "gradient_norms=true", "clip=0.001")
    shares = [
        [
            after / before
            for after, before in zip(own[f"clipped_gradient_norm.{n}"], own[f"gradient_norm.{n}"], strict=True)
        ]
        for n in "WUb"
    ]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)
    assert shares[0] == pytest.approx(shares[2], rel=1e-4)
    assert max(shares[0]) < 1
    _, quiet = do(tmp_path / "quiet", "model=srn")
    assert quiet == {}


def test_a_summary_describes_the_model(tmp_path: Path):
    sizes = ("model=lstm", "model.hidden_size=[3,5]", "model.bidirectional=true", "model.embedding_size=4")
    summary, _ = do(tmp_path, *sizes)
    assert summary["hidden_sizes"] == [3, 5]
    assert summary["state_size"] == 2 * 2 * (3 + 5)  # h and c, both directions
    cells = 2 * 4 * (4 * 3 + 3 * 3 + 3) + 2 * 4 * (6 * 5 + 5 * 5 + 5)
    assert summary["parameters"] == 10 * 4 + cells + 10 * 19 + 19


@pytest.mark.parametrize("task", choices("task"))
def test_the_record_says_what_the_task_says(task: str, tmp_path: Path):
    sizes = ("length=20", "seeds=[5,1]", "epochs=1", "batch_size=64", "model.hidden_size=4", "model.embedding_size=0")
    config = config_of(f"task={task}", "model=srn", *sizes, f"datasets_dir={tmp_path}/data")
    summary = run(config, tmp_path / "run")
    built = build_task(config)
    assert record.read_summary(tmp_path / "run") == summary
    assert summary["interface"] == dataclasses.asdict(built.interface)
    assert (summary["about"], summary["floors"]) == (built.about(), built.floors())
    assert (summary["title"], summary["trained_on"]) == ("SRN", built.trained_on)
    assert summary["shown"] == built.shown()
    assert [seed["seed"] for seed in summary["seeds"]] == [5, 1]
    for seed in summary["seeds"]:
        assert all(isinstance(seed[score], float) for score in summary["shown"])
        assert {f"{split}_loss" for split in built.splits()} <= seed.keys()
    shares = [metric for metric in built.metrics if metric.share]
    assert {seed: len(right) for seed, right in summary["test_right"].items()} == (
        {"5": len(built.rows("test")), "1": len(built.rows("test"))} if shares else {}
    )


def test_a_model_is_built_without_initial_values_where_others_are_loaded(tmp_path: Path):
    config = config_of("length=4", "seeds=2", f"datasets_dir={tmp_path}")
    interface = build_task(config).interface
    plain = build_model(config, interface, initialise=False).state_dict()
    one, other = (build_model(config, interface).state_dict() for _ in range(2))
    assert {name: value.shape for name, value in plain.items()} == {name: value.shape for name, value in one.items()}
    assert not any(value.any() for value in plain.values())
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["head_weight"].all()


def test_a_folder_is_of_another_run_when_the_file_of_its_initial_weights_is_another(tmp_path: Path):
    weights = tmp_path / "weights.txt"
    weights.write_text("1 2\n" * 6)
    file = ("model.initialiser=file", f"model.files=[{weights}]", "model.embedding_size=4", "model.hidden_size=2")
    summary, _ = do(tmp_path, "model=srn", *file)
    assert do(tmp_path, "model=srn", *file)[0] == summary
    weights.write_text("1 3\n" * 6)
    with pytest.raises(RecordError, match="run was trained on other data or in another order; give another study"):
        do(tmp_path, "model=srn", *file)


@pytest.mark.parametrize("failure", [MemoryError("too little"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize(
    "task",
    [
        ("length=4", "seeds=2", "epochs=2"),
        ("task=char_lm", "batch_size=4", "seeds=2", "epochs=1", "task.max_chars=900"),
    ],
    ids=["digits", "a text"],
)
def test_a_run_that_ended_before_its_summary_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: tuple[str, ...], failure: BaseException
):
    """All is there but the scores: the same command makes them, from the last checkpoint."""
    config = config_of("model=gru", "model.hidden_size=3", *task, f"datasets_dir={tmp_path}/data")
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    expected = run(config, whole)
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "use_best", lambda self: (_ for _ in ()).throw(failure))
        with pytest.raises(type(failure)):
            run(config, ended)
    assert (ended / record.BEST).exists()
    assert not record.is_complete(ended)
    monkeypatch.setattr(Runner, "_update", lambda *_: pytest.fail("trains again"))
    assert run(config, ended)["seeds"] == expected["seeds"]
    assert (ended / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    assert (ended / record.BEST).read_bytes() == (whole / record.BEST).read_bytes()


@pytest.mark.parametrize("later", [b"2\tthe wrong\n", b"2\tth\xff", b"x\ty\n", b"\n"], ids=repr)
def test_what_a_text_wrote_after_the_last_checkpoint_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bytes
):
    """It may be damaged: no seal knows it yet. So it is before the first checkpoint."""
    text = ("task=char_lm", "length=8", "model.hidden_size=3", "batch_size=16", "seeds=2", "epochs=2")
    writes = ("task.max_chars=600", "task.prefixes=[the]", "task.pred_period=1", "checkpoint_seconds=0")
    config = config_of(*text, *writes, f"datasets_dir={tmp_path}/data")
    whole, killed, begun = tmp_path / "whole", tmp_path / "killed", tmp_path / "begun"
    run(config, whole)
    save = Runner.save_checkpoint

    def save_first(runner: Runner, *arguments: Any) -> None:
        if runner.iteration > 6:
            raise SystemExit
        save(runner, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "save_checkpoint", save_first)
        with pytest.raises(SystemExit):
            run(config, killed)
    begun.mkdir()
    for folder in (killed, begun):
        with (folder / record.WRITTEN).open("ab") as file:
            file.write(later)
        run(config, folder)
        assert (folder / record.WRITTEN).read_bytes() == (whole / record.WRITTEN).read_bytes()


LONGER = ("length=4", "seeds=2", "epochs=3", "model=srn", "checkpoint_seconds=0", "eval_steps=10")


def taken_over(folder: Path) -> dict[str, bytes]:
    """Take a run folder over, as a process on another machine does; return what is in it then."""
    path = folder / claims.CLAIM
    own = claims.read(folder)
    assert own is not None
    path.unlink()
    path.write_bytes(dataclasses.replace(own, process=7, host="node3", token="another").content)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("step", ["_update", "save_model", "use_best"])
def test_a_run_whose_folder_was_taken_over_stops_and_writes_nothing_more(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
):
    """While it trains, before the weights are written, and before the summary is."""
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.0)  # it looks after each update
    then: dict[str, bytes] = {}
    do = getattr(Runner, "_evaluate_dev" if step == "save_model" else step)

    def and_lose_it(self: Runner, *arguments: Any) -> Any:
        result = do(self, *arguments)
        if self.iteration == (50 if step == "_update" else 114):
            then.update(taken_over(tmp_path / "run"))
        return result

    monkeypatch.setattr(Runner, "_evaluate_dev" if step == "save_model" else step, and_lose_it)
    config = config_of(*LONGER, f"datasets_dir={tmp_path}/data")
    with pytest.raises(claims.ClaimLostError, match="written by process 7 on node3 since .* now, for this one"):
        run(config, tmp_path / "run")
    assert then
    assert contents(tmp_path / "run") == then
    assert record.SUMMARY not in then
    assert record.FAILURE not in then
    assert (record.BEST in then) == (step == "use_best")


RACE = """
import fcntl, os, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from memexp import CONF_DIR, experiment
from memexp.compiled import cache
from memexp.config import check
from memexp.errors import RecordError
from memexp.results import claims
cache.why_not()
fcntl.flock = lambda *_: None
claims.BEAT_SECONDS = 0.05
with initialize_config_dir(str(CONF_DIR), version_base='1.3'):
    config = check(compose('config', sys.argv[2:]))
def start(folder, out):
    child = os.fork()
    if child == 0:
        try:
            experiment.run(config, folder)
            os.write(out, b'trained\\n')
        except RecordError as error:
            os.write(out, f'{error}\\n'.encode())
        os._exit(0)
    return child
"""


def race(code: str, folder: Path, *settings: str) -> list[str]:
    """Run code with `RACE`, whose processes are forked from one that has loaded all; return what it says."""
    command = [sys.executable, "-c", RACE + code, str(folder), *settings, f"datasets_dir={folder}/data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def same_results(one: Path, other: Path) -> None:
    assert (one / record.HISTORY).read_bytes() == (other / record.HISTORY).read_bytes()
    assert record.read_summary(one)["seeds"] == record.read_summary(other)["seeds"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_without_locks_two_that_start_at_once_are_one_that_trains(tmp_path: Path):
    code = """
for number in range(10):
    children = [start(Path(sys.argv[1], str(number)), 1) for _ in range(2)]
    for child in children:
        os.waitpid(child, 0)
"""
    said = race(code, tmp_path, *LONGER[:-2], "epochs=20")
    assert len(said) == 20
    assert said.count("trained") == 10
    busy = [line for line in said if line != "trained"]
    assert all(re.search(r"is being written by process \d+ on .* since ", line) for line in busy)
    for number in range(1, 10):
        same_results(tmp_path / str(number), tmp_path / "0")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_without_locks_a_killed_run_goes_on_at_once_bit_for_bit(tmp_path: Path):
    code = """
import time
whole, folder = (Path(sys.argv[1], name) for name in ('whole', 'killed'))
os.waitpid(start(whole, 1), 0)
for _ in range(3):
    last = (folder / 'last.pt')
    before, child = last.stat().st_mtime_ns if last.exists() else 0, start(folder, 2)
    while not last.exists() or last.stat().st_mtime_ns == before:
        time.sleep(0.005)
    os.kill(child, 9)  # and left a zombie
started = time.monotonic()
os.waitpid(start(folder, 1), 0)
print(time.monotonic() - started)
"""
    slowly = ("epochs=20", "checkpoint_seconds=0.1", "engine=torch")  # compiled, it would be over before the first one
    first, second, seconds = race(code, tmp_path, *LONGER[:-2], *slowly)
    assert (first, second) == ("trained", "trained")
    assert float(seconds) < 0.9 * claims.LEASE_SECONDS
    same_results(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_without_locks_a_run_that_stood_still_for_a_lease_is_taken_over_and_stops(tmp_path: Path):
    code = """
import signal, time
claims.LEASE_SECONDS = 1.0
whole, folder = (Path(sys.argv[1], name) for name in ('whole', 'stopped'))
os.waitpid(start(whole, 1), 0)
child = start(folder, 1)
while not (folder / 'last.pt').exists():
    time.sleep(0.005)
os.kill(child, signal.SIGSTOP)
other = start(folder, 1)
time.sleep(3)
os.kill(child, signal.SIGCONT)
for process in (child, other):
    os.waitpid(process, 0)
"""
    said = race(code, tmp_path, *LONGER[:-2], "epochs=60", "checkpoint_seconds=0.1", "engine=torch")
    (ended,) = (line for line in said if line != "trained")
    assert len(said) == 3
    assert "nothing more was written" in ended
    same_results(tmp_path / "stopped", tmp_path / "whole")


def test_a_complete_run_loses_what_a_kill_after_its_summary_left(tmp_path: Path):
    """Of a run that was joined, the seeds that were trained for it; and how far it was."""
    folder = make_run(tmp_path, 5)
    (folder / "rest-0123abcd").mkdir()
    (folder / "rest-0123abcd" / "last.pt").touch()
    (folder / "rested").mkdir()
    (folder / "progress").touch()
    clean(folder)
    clean(folder)
    assert {path.name for path in folder.iterdir()} == {record.CONFIG, record.SUMMARY, "rested"}
