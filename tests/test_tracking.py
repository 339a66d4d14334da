"""What is sent to a logger is the history, once, and the scores; a logger that fails stops nothing."""

import importlib.util
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import config_of, stopping_after

from memexp import experiment, tracking
from memexp.errors import ConfigError
from memexp.results import record
from memexp.results.history import read_history
from memexp.results.identity import identity_text

SMALL = (
    "length=4", "model=srn", "model.hidden_size=3", "model.embedding_size=2", "batch_size=60", "eval_steps=2",
    "log_steps=3", "seeds=[4,1]",
)  # fmt: skip


def train(folder: Path, *more: str) -> dict[str, Any]:
    return experiment.run(config_of(*SMALL, f"datasets_dir={folder.parent}/data", *more), folder)


Sent = list[tuple[int, str, str, float]]


class Heard(tracking.Logger):
    """Keeps what is sent, as a library would."""

    def __init__(self) -> None:
        self.sent: Sent = []
        self.closed = 0

    def values(self, update: int, values: Any) -> None:
        self.sent += [(update, name, seed, value) for name, own in values.items() for seed, value in own.items()]

    def image(self, name: str, path: Path) -> None:
        self.sent.append((0, name, "", path.stat().st_size))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Heard]]:
    opened: list[Heard] = []

    def open_logger(name: str, *_: Any) -> Heard | None:
        if name == "none":
            return None
        opened.append(Heard())
        return opened[-1]

    monkeypatch.setattr(tracking, "open_logger", open_logger)
    yield opened
    assert all(logger.closed == 1 for logger in opened)


def of_history(folder: Path) -> set[tuple[int, str, str, float]]:
    rows = read_history(folder)
    return {
        (row.iteration, f"{row.split}/{row.name}", str(row.seed), row.value) for row in rows.itertuples(index=False)
    }


def of_seeds(sent: Sent) -> Sent:
    return [row for row in sent if row[2] != tracking.MEAN and not row[1].startswith("score/")]


def test_the_history_is_sent_with_its_mean_and_the_scores(tmp_path: Path, heard: list[Heard]):
    summary = train(tmp_path / "run", "epochs=2", "logger=tensorboard", "gradient_norms=true")
    (logger,) = heard
    assert set(of_seeds(logger.sent)) == of_history(tmp_path / "run")
    assert len(of_seeds(logger.sent)) == len(of_history(tmp_path / "run"))
    sent = {row[:3]: row[3] for row in logger.sent}
    assert sent[4, "dev/loss", "mean"] == (sent[4, "dev/loss", "4"] + sent[4, "dev/loss", "1"]) / 2
    assert sent[10, "score/test_accuracy", "1"] == summary["seeds"][1]["test_accuracy"]
    assert any(name.startswith("train/gradient_norm.") for _, name, *_ in logger.sent)


def test_what_is_not_sealed_is_not_sent(tmp_path: Path, heard: list[Heard]):
    """So a run that was stopped, and one that was killed, sends each row once, to a logger that goes on."""
    with stopping_after(5), pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", "epochs=2", "logger=trackio")
    heard[0].last = 5
    updates = sorted({row[0] for row in heard[0].sent})
    assert updates == [0, 2, 3, 4]
    train(tmp_path / "run", "epochs=2", "logger=trackio")
    assert sorted({row[0] for row in heard[1].sent}) == [0, 2, 3, 4, 6, 8, 9, 10]  # `Heard` says that it has none


def test_what_the_logger_has_is_not_sent_again(heard: list[Heard]):
    tracker = tracking.Tracker("trackio", Path("nowhere"), {})
    heard[0].last = 3
    tracker.hear(
        "iteration,seed,split,name,value\n3,1,dev,loss,0.5\n4,1,dev,loss,0.25\n4,2,dev,loss,0.75\n4,2,dev,a b,\n"
    )
    assert heard[0].sent == [(4, "dev/loss", "1", 0.25), (4, "dev/loss", "2", 0.75), (4, "dev/loss", "mean", 0.5)]
    tracker.close()


def test_runs_that_are_joined_or_longer_are_sent_whole(tmp_path: Path, heard: list[Heard]):
    for seeds, epochs in (("[4]", 1), ("[4,1]", 1), ("[4,1]", 2)):
        folder = tmp_path / "study" / f"epochs={epochs},model=own,seeds={seeds}"
        train(folder, f"seeds={seeds}", f"epochs={epochs}", "logger=tensorboard")
        assert set(of_seeds(heard[-1].sent)) == of_history(folder)
    assert len(heard) == 3  # the rest of a joined run has no log of its own


class BrokenLogger(Heard):
    def values(self, update: int, values: Any) -> None:
        super().values(update, values)
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        raise RuntimeError("two\nlines")


@pytest.mark.parametrize("at", ["start", "values"])
def test_a_logger_that_fails_says_so_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, at: str
):
    train(tmp_path / "whole", "epochs=2")
    broken = BrokenLogger()

    def open_logger(*_: Any) -> BrokenLogger:
        if at == "start":
            raise OSError(28, "No space left on device")
        return broken

    monkeypatch.setattr(tracking, "open_logger", open_logger)
    train(tmp_path / "run", "epochs=2", "logger=tensorboard")
    (line,) = (entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING)
    assert line == (
        "logger=tensorboard failed (OSError: [Errno 28] No space left on device): from here on nothing is sent to it; "
        f"the record in {tmp_path / 'run'} has it all"
    )
    assert {row[0] for row in broken.sent} == ({0} if at == "values" else set())
    assert record.read_summary(tmp_path / "run")["seeds"] == record.read_summary(tmp_path / "whole")["seeds"]
    assert (tmp_path / "run" / record.HISTORY).read_bytes() == (tmp_path / "whole" / record.HISTORY).read_bytes()


def test_the_logger_is_no_part_of_the_identity(tmp_path: Path, heard: list[Heard]):
    train(tmp_path / "run", "epochs=1")
    train(tmp_path / "run", "epochs=1", "logger=trackio")  # complete: nothing to send
    assert heard == []
    assert "logger" not in identity_text(record.read_json(tmp_path / "run" / record.CONFIG))


def test_a_library_that_is_missing_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"logger=trackio needs .* not installed; give: pip install \"memexp\[trackio\]\""
    ):
        config_of(*SMALL, "logger=trackio")
    with pytest.raises(ConfigError, match="logger=wandb is unknown; allowed: none, tensorboard, trackio"):
        config_of(*SMALL, "logger=wandb")


def events(folder: Path) -> dict[tuple[int, str], list[float]]:
    """Read back what TensorBoard shows of a run: (step, tag) -> values."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    there = EventAccumulator(str(folder), {SCALARS: 0})
    there.Reload()
    found: dict[tuple[int, str], list[float]] = {}
    for tag in there.Tags()["scalars"]:
        for event in there.Scalars(tag):
            found.setdefault((event.step, tag), []).append(event.value)
    return found


@pytest.mark.slow
def test_tensorboard_reads_back_what_was_noted_after_a_resumption_too(tmp_path: Path):
    run = tmp_path / "run"
    with stopping_after(5), pytest.raises(KeyboardInterrupt):
        train(run, "epochs=2", "logger=tensorboard")
    summary = train(run, "epochs=2", "logger=tensorboard")
    assert sorted(path.name for path in (run / "tensorboard").iterdir()) == ["mean", "seed=1", "seed=4"]
    for seed in (4, 1):
        found = events(run / "tensorboard" / f"seed={seed}")
        expected = {row[:2]: pytest.approx([row[3]]) for row in of_history(run) if row[2] == str(seed)}
        own = next(own for own in summary["seeds"] if own["seed"] == seed)
        expected |= {(10, f"score/{name}"): pytest.approx([own[name]]) for name in summary["shown"]}
        assert found == expected
    means = events(run / "tensorboard" / "mean")
    rows = read_history(run)
    dev = rows[(rows["split"] == "dev") & (rows["name"] == "loss")].groupby("iteration")["value"].mean()
    assert {step: means[step, "dev/loss"] for step in dev.index} == {
        step: pytest.approx([dev[step]]) for step in dev.index
    }


@pytest.mark.slow
def test_trackio_reads_back_what_was_noted_after_a_resumption_too(tmp_path: Path):
    """In a process of its own: it reads once where its database is."""
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers import stopping_after
from test_tracking import train
run = Path("outputs/study/run")
try:
    with stopping_after(5):
        train(run, "epochs=2", "logger=trackio")
except KeyboardInterrupt:
    train(run, "epochs=2", "logger=trackio")
from memexp import tracking
tracking.send_figures("trackio", run.parent, Path("images"))
"""
    (tmp_path / "images").mkdir()
    from matplotlib.figure import Figure

    Figure((1, 1)).savefig(tmp_path / "images/accuracy.png")
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "db")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Trackio" not in done.stdout
    with sqlite3.connect(tmp_path / "db" / "study.db") as database:
        rows = database.execute("SELECT run_name, run_id, step, metrics FROM metrics ORDER BY id").fetchall()
    database.close()
    assert [(name, step) for name, _, step, _ in rows] == [
        *(("run", step) for step in (0, 2, 3, 4, 6, 8, 9, 10, 10)), ("figures", 0),
    ]  # fmt: skip
    assert len({run_id for _, run_id, *_ in rows}) == 2  # the run that went on is one
    found = [
        (step, name.partition("/seed=")[0], name.partition("/seed=")[2], value)
        for _, _, step, metrics in rows[:-2]
        for name, value in json.loads(metrics).items()
        if "/seed=" in name
    ]
    assert sorted(found) == sorted(of_history(tmp_path / "outputs/study/run"))
    summary = record.read_summary(tmp_path / "outputs/study/run")
    assert json.loads(rows[-2][3])["score/test_accuracy/seed=1"] == summary["seeds"][1]["test_accuracy"]
    assert "accuracy" in json.loads(rows[-1][3])


@pytest.mark.slow
def test_the_figures_of_a_study_are_sent_as_images(tmp_path: Path):
    from matplotlib.figure import Figure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Figure((2, 1), dpi=50).savefig(tmp_path / "accuracy.png")
    for _ in range(2):  # a second sweep takes the place of the first
        tracking.send_figures("tensorboard", tmp_path / "study", tmp_path)
    there = EventAccumulator(str(tmp_path / "study/tensorboard/figures"))
    there.Reload()
    (image,) = there.Images("accuracy")
    assert (image.width, image.height) == (100, 50)
