"""A longer run that goes on from a shorter one is, bit for bit, the run that is as long from its start."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import OWN_TASK, CommandLine, config_of, reseal, stopping_after
from omegaconf import OmegaConf

from memexp.config import check
from memexp.errors import RecordError
from memexp.experiment import run
from memexp.results import record
from memexp.results.history import read_history
from memexp.training import checkpoints, extending, joining, neighbours
from memexp.training.runner import BEFORE_END, MIDWAY, ORIGIN, Runner

#: 5 updates an epoch.
DIGITS = (
    "length=4", "batch_size=60", "model=srn", "model.hidden_size=3", "model.embedding_size=2", "seeds=2",
)  # fmt: skip
TEXT = (
    "task=char_lm", "length=8", "batch_size=16", "model=gru", "model.hidden_size=3", "task.prefixes=[a,b]", "seeds=2",
    "task.pred_chars=5", "task.max_chars=3000", "task.sampling=consecutive",
)  # fmt: skip
OFF = ("eval_steps=7", "log_steps=4")
WRITES = ("task.pred_period=4", "eval_steps=15", "log_steps=10")  # not after epoch 3, where the shorter one ends


def train(study: Path, epochs: int, *settings: str) -> Path:
    folder = study / f"epochs={epochs},model=own"
    run(config_of(*settings, f"epochs={epochs}", f"datasets_dir={study.parent}/data"), folder)
    return folder


def equal(one: Any, other: Any) -> bool:
    """Say whether two nested values are the same, bit for bit, but for the time they took."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one if k not in ("seconds", ORIGIN))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def assert_same(longer: Path, whole: Path) -> None:
    assert {path.name for path in longer.iterdir()} == {path.name for path in whole.iterdir()}
    for name in (record.HISTORY, record.CONFIG, record.WRITTEN):
        assert not (whole / name).exists() or (longer / name).read_bytes() == (whole / name).read_bytes(), name
    for name, kind in ((record.BEST, "weights"), (record.LAST, "training")):
        assert equal(checkpoints.load(longer / name, kind), checkpoints.load(whole / name, kind)), name
    one, other = record.read_summary(longer), record.read_summary(whole)
    for key in ("seeds", "test_right", "updates"):
        assert one[key] == other[key], key


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize(
    "settings",
    [
        (*DIGITS, "eval_steps=5", "log_steps=5", "engine=torch"),  # the shorter one ends where all is due
        (*DIGITS, *OFF, "engine=torch", "optimizer=sgd", "gradient_norms=true"),
        (*DIGITS, "eval_steps=5", "log_steps=100", "engine=compiled", "gradient_norms=true"),
        (*DIGITS, "eval_steps=100", "log_steps=5", "engine=compiled"),
        (*DIGITS, "eval_steps=100", "log_steps=100", "engine=compiled", "task.sampling=fresh"),  # nothing is due
        (*TEXT, *OFF, "task.pred_period=1"),
        (*TEXT, *WRITES),
    ],
    ids=lambda settings: " ".join(settings[6:]),
)
def test_a_longer_run_is_the_run_from_its_start(tmp_path: Path, settings: tuple[str, ...]):
    shorter = train(tmp_path / "parts", 3, *settings)
    before = contents(shorter)
    longer = train(tmp_path / "parts", 6, *settings)
    whole = train(tmp_path / "whole", 6, *settings)
    assert_same(longer, whole)
    assert contents(shorter) == before
    summary = record.read_summary(longer)
    updates = record.read_summary(shorter)["updates"]
    assert summary[ORIGIN] == {"run": shorter.name, "epochs": 3, "updates": updates}
    assert ORIGIN not in record.read_summary(whole)
    assert summary["seconds"] > record.read_summary(shorter)["seconds"] * 0.5
    assert_same(train(tmp_path / "parts", 8, *settings), train(tmp_path / "whole", 8, *settings))  # and on from there


def test_only_what_is_new_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    done: list[int] = []
    update = Runner._update
    monkeypatch.setattr(
        Runner, "_update", lambda self, rows, history: [done.append(self.iteration), update(self, rows, history)][1]
    )
    for epochs in (2, 1, 4, 3):  # a shorter run trains anew where a longer one exists, unless a still shorter one does
        train(tmp_path, epochs, *DIGITS)
    assert [len([*updates]) for updates in (range(10), range(5), range(10, 20), range(10, 15))] == [10, 5, 10, 5]
    assert done == [*range(10), *range(5), *range(10, 20), *range(10, 15)]
    with caplog.at_level(logging.INFO):
        train(tmp_path, 5, *DIGITS)
    assert f"4 of 5 epochs are trained already, in {tmp_path / 'epochs=4,model=own'}: goes on from there" in caplog.text


@pytest.mark.parametrize("steps", [OFF, ("eval_steps=100", "log_steps=100")])
def test_seeds_that_stopped(tmp_path: Path, steps: tuple[str, ...]):
    """They are seen to have stopped where answers are scored: later, where a run is longer."""
    settings = (*DIGITS, "engine=torch", "lr=1e30", "optimizer=sgd", "reduction=sum", *steps)
    shorter = train(tmp_path / "parts", 3, *settings)
    assert all(seed["diverged_at"] for seed in record.read_summary(shorter)["seeds"])
    assert_same(train(tmp_path / "parts", 6, *settings), train(tmp_path / "whole", 6, *settings))
    assert_same(train(tmp_path / "parts", 9, *settings), train(tmp_path / "whole", 9, *settings))


@pytest.mark.parametrize("update", [15, 18])
def test_a_longer_run_that_was_stopped_goes_on(tmp_path: Path, update: int):
    train(tmp_path / "parts", 3, *DIGITS, *OFF)
    with stopping_after(update), pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", 6, *DIGITS, *OFF)
    longer = train(tmp_path / "parts", 6, *DIGITS, *OFF)
    assert_same(longer, train(tmp_path / "whole", 6, *DIGITS, *OFF))
    assert record.read_summary(longer)[ORIGIN]["epochs"] == 3


@pytest.mark.parametrize("name", ["write_bytes", "save"])
def test_a_longer_run_that_was_killed_as_it_began_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    train(tmp_path / "parts", 3, *DIGITS, *OFF)
    with monkeypatch.context() as patch:
        patch.setattr(extending.checkpoints if name == "save" else extending.record, name, killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", 6, *DIGITS, *OFF)
    assert_same(train(tmp_path / "parts", 6, *DIGITS, *OFF), train(tmp_path / "whole", 6, *DIGITS, *OFF))


def without_what_was_before(folder: Path) -> None:
    """Let a run be as a memexp wrote it that did not keep what was before the end."""
    content = checkpoints.load(folder / record.LAST, "training")["training"]
    del content[BEFORE_END], content[ORIGIN]
    checkpoints.save(folder / record.LAST, {"training": content})
    reseal(folder)


@pytest.mark.parametrize(("settings", "said"), [
    ((*DIGITS, "eval_steps=5", "log_steps=5"), "goes on from there"),
    ((*DIGITS, "eval_steps=5", "log_steps=4"), "does not say what was before the end of the run"),
    ((*TEXT, *WRITES), "does not say what was before the end of the run"),
])  # fmt: skip
def test_an_older_checkpoint_is_gone_on_from_where_that_is_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: tuple[str, ...], said: str
):
    without_what_was_before(train(tmp_path / "parts", 3, *settings))
    with caplog.at_level(logging.INFO):
        longer = train(tmp_path / "parts", 6, *settings)
    assert said in caplog.text
    assert_same(longer, train(tmp_path / "whole", 6, *settings))


@pytest.mark.parametrize("harm", ["last.pt", "history.csv", "maker"])
def test_what_cannot_be_gone_on_from_is_said_and_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str, monkeypatch: pytest.MonkeyPatch
):
    whole = train(tmp_path / "whole", 4, *DIGITS)
    shutil.copytree(train(tmp_path / "parts", 2, *DIGITS), tmp_path / "kept")
    other = train(tmp_path / "parts", 3, *DIGITS)
    if harm == "maker":
        summary = json.loads((other / record.SUMMARY).read_text()) | {"torch": "1.0"}
        record.write_summary(other, {key: value for key, value in summary.items() if key not in ("seal", "sealed")})
    else:
        (other / harm).write_bytes((other / harm).read_bytes()[:-3])
    longer = train(tmp_path / "parts", 4, *DIGITS)
    assert "not gone on from" in caplog.text
    assert record.read_summary(longer)[ORIGIN]["epochs"] == 2  # the next longest
    assert read_history(longer).equals(read_history(whole))


@pytest.mark.parametrize("other", ["lr=0.01", "seeds=3", "task.sampling=fresh"])
def test_a_run_of_another_setting_is_not_gone_on_from(tmp_path: Path, other: str):
    train(tmp_path, 1, *DIGITS)
    assert ORIGIN not in record.read_summary(train(tmp_path, 2, *DIGITS, other))


@pytest.mark.parametrize(
    "settings",
    [
        (*DIGITS, "eval_steps=5", "log_steps=5", "engine=compiled"),
        (*DIGITS, *OFF, "engine=compiled", "gradient_norms=true"),
        (*DIGITS, "eval_steps=100", "log_steps=100", "engine=compiled"),
        (*DIGITS, "eval_steps=100", "log_steps=100", "engine=compiled", "task.sampling=fresh"),
    ],
    ids=lambda settings: " ".join(settings[6:]),
)
def test_more_epochs_and_more_seeds(tmp_path: Path, settings: tuple[str, ...]):
    """In two steps nothing is trained twice; a run that was joined is gone on from too."""

    def of(study: str, seeds: int, epochs: int) -> Path:
        folder = tmp_path / study / f"epochs={epochs},model=own,seeds={seeds}"
        run(config_of(*settings, f"seeds={seeds}", f"epochs={epochs}", f"datasets_dir={tmp_path}/data"), folder)
        return folder

    of("parts", 2, 2)
    assert ORIGIN in record.read_summary(of("parts", 2, 3))
    joined = of("parts", 3, 3)
    assert ORIGIN not in record.read_summary(joined)
    assert_same(joined, of("whole", 3, 3))
    longer = of("parts", 3, 6)
    assert record.read_summary(longer)[ORIGIN]["epochs"] == 3
    assert_same(longer, of("wholly", 3, 6))


def test_a_text_that_was_joined_is_gone_on_from(tmp_path: Path):
    """Torch's engine rounds the last bit in another way there, so its texts are compared, not its weights."""
    for epochs, seeds in ((3, "[1]"), (3, "[0,1]"), (6, "[0,1]")):
        folder = tmp_path / f"epochs={epochs},model=own,seeds={seeds}"
        run(config_of(*TEXT, *WRITES, f"epochs={epochs}", f"seeds={seeds}", f"datasets_dir={tmp_path}/data"), folder)
    assert record.read_summary(folder)[ORIGIN]["epochs"] == 3
    whole = train(tmp_path / "whole", 6, *TEXT, *WRITES)
    assert [line.split("\t")[0] for line in (folder / record.WRITTEN).read_text().splitlines()] == [*"4466"]
    assert (folder / record.WRITTEN).read_bytes() == (whole / record.WRITTEN).read_bytes()


def test_a_task_of_ones_own_that_does_something_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is written only because the run ends is not in a longer one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    more = """
    def after_update(self, model, iteration, updates, folder):
        path = folder / "written.txt"
        if iteration % 4 == 0 or iteration == updates:
            before = path.read_text() if path.exists() else ""
            path.write_text(before + f"{iteration}" + chr(9) + "of" + chr(10))
"""
    (tmp_path / "ends_task.py").write_text(OWN_TASK + more)
    (tmp_path / "conf/task").mkdir(parents=True)
    base = config_of("length=5", "model=gru", "model.hidden_size=4", "model.embedding_size=0", *OFF, "seeds=2")

    def of(study: str, epochs: int) -> Path:
        config = OmegaConf.to_container(base)
        assert isinstance(config, dict)
        task = {"_target_": "ends_task.Totals", "name": "totals", "scale": 2.0}
        folder = tmp_path / study / f"epochs={epochs},model=gru"
        run(check(OmegaConf.create(config | {"task": task, "epochs": epochs})), folder)
        return folder

    assert (of("parts", 3) / record.WRITTEN).read_text().splitlines()[-1] == "9\tof"
    assert_same(of("parts", 6), of("whole", 6))


def test_the_same_folder_is_not_overwritten_and_the_error_says_what_to_do(tmp_path: Path):
    folder = train(tmp_path, 1, *DIGITS)
    before = contents(folder)
    with pytest.raises(RecordError, match="holds a run of epochs=1, not 2; give epochs=2 on the command line"):
        run(config_of(*DIGITS, "epochs=2", f"datasets_dir={tmp_path}/data"), folder)
    assert contents(folder) == before


def test_the_seeds_of_longer_runs_are_joined_rather_than_trained(tmp_path: Path):
    """Where all seeds are trained as long already, nothing is left to go on with."""
    names = [f"epochs={epochs},model=own,seeds={seeds}" for epochs, seeds in ((2, "0..2"), (1, "0..1"), (2, "0..1"))]
    for name in names:
        epochs, _, seeds = name.split(",")
        run(config_of(*DIGITS, epochs, seeds, f"datasets_dir={tmp_path}/data"), tmp_path / name)
    assert ORIGIN not in record.read_summary(tmp_path / names[-1])
    assert joining.REST  # of the joined run nothing is left over
    assert not [*(tmp_path / names[-1]).glob(f"{joining.REST}*")]


@pytest.mark.parametrize(
    ("key", "name", "without"),
    [
        ("seeds", "length=5,model=srn,seeds=4", "length=5,model=srn"),
        ("seeds", "length=5,seeds=[3,7],task.sampling=fresh", "length=5,task.sampling=fresh"),
        ("seeds", "length=5,seeds=10..19,task.sampling=fresh", "length=5,task.sampling=fresh"),
        ("seeds", "length=5", "length=5"),
        ("epochs", "epochs=1000,length=10,model=lstm", "length=10,model=lstm"),
        ("epochs", "batch_size=4,epochs=7,length=5", "batch_size=4,length=5"),
        ("epochs", "epochs=3", ""),
        ("epochs", "length=5,my_epochs=3", "length=5,my_epochs=3"),
    ],
)
def test_the_name_without_a_setting(key: str, name: str, without: str):
    assert neighbours.without(key, name) == without


def test_a_checkpoint_holds_what_was_before_the_end_only_as_it_ends(tmp_path: Path):
    whole = checkpoints.load(train(tmp_path, 3, *DIGITS, *OFF) / record.LAST, "training")["training"]
    assert {"running", "unread", "diverged_at", "sealed", "best", "best_score", "best_iteration"} == {
        *whole[BEFORE_END]
    }
    assert MIDWAY not in whole
    with stopping_after(18), pytest.raises(KeyboardInterrupt):
        train(tmp_path, 6, *DIGITS, *OFF)
    begun = checkpoints.load(tmp_path / "epochs=6,model=own" / record.LAST, "training")["training"]
    assert BEFORE_END not in begun
    assert MIDWAY not in begun


@pytest.mark.slow
def test_a_whole_sweep_goes_on(memexp: CommandLine, tmp_path: Path):
    small = ("model.hidden_size=3", "seeds=2", "images_dir=null", "hydra/launcher=basic")
    for epochs in (1, 2):
        swept = memexp("-m", "length=4,5", "model=srn", f"epochs={epochs}", *small)
        assert swept.returncode == 0, swept.stderr
    folders = record.run_folders(tmp_path / "outputs/book")
    origins = [record.read_summary(folder).get(ORIGIN, {}).get("run") for folder in folders]
    assert len(folders) == 4
    assert origins == [None, None, *(folder.name for folder in folders[:2])]
    log = (folders[2] / "memexp.log").read_text()
    assert "1 of 2 epochs are trained already, in" in log
