import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import Command, config_of, make_run, stopping_after

from memexp import experiment, verify
from memexp.errors import RecordError
from memexp.results import record
from memexp.training import checkpoints

ROOT = Path(__file__).resolve().parent.parent
SIZES = ("length=4", "model=srn", "model.hidden_size=3", "model.embedding_size=2", "seeds=2", "epochs=1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A complete run, with the current folder where it was started."""
    monkeypatch.chdir(tmp_path)
    folder = Path("outputs/book/run")
    experiment.run(config_of(*SIZES), folder)
    return folder


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_whole_run_is_what_was_sealed(run: Path, in_process: Command):
    assert list(verify.faults(run)) == []
    assert in_process(verify.main) == "outputs/book: 1 run, 5 files as sealed\n"


@pytest.mark.parametrize("name", ["summary.json", "config.json", "history.csv", "best.pt", "last.pt"])
def test_a_changed_bit_is_found_in_every_file(run: Path, name: str, capfd: pytest.CaptureFixture[str]):
    flip(run / name)
    (said,) = verify.faults(run)
    assert said.startswith(f"{run / name} is damaged (")
    assert verify.verify(verify.Options()) == 1
    shown = capfd.readouterr()
    assert shown.err == f"{said}\n"
    assert shown.out.endswith("; 1 run DAMAGED\n")


def test_a_missing_and_a_strange_file_are_named(run: Path):
    (run / record.BEST).unlink()
    (run / record.WRITTEN).write_text("1\tx\n")
    gone, new = verify.faults(run)
    assert gone.startswith(f"{run / record.BEST} is missing; bring it back, or move it and summary.json away, and the ")
    assert new.startswith(f"{run / record.WRITTEN} is damaged (it was not there when the run ended); ")


def test_a_change_on_purpose_is_sealed_and_said(run: Path, in_process: Command):
    history = run / record.HISTORY
    history.write_text(history.read_text().replace("dev", "train", 1))
    (run / record.LAST).unlink()
    summary = json.loads((run / record.SUMMARY).read_text())
    summary["title"] = "Elman"
    (run / record.SUMMARY).write_text(json.dumps(summary))
    said = in_process(verify.main, "seal=true")
    size = history.stat().st_size
    assert said.startswith(
        f"{run}: sealed: summary.json was changed, last.pt is gone, history.csv was changed ({size - 2:,} bytes, "
        f"now {size:,})\n"
    )
    assert list(verify.faults(run)) == []
    assert record.read_summary(run)["title"] == "Elman"
    assert record.read_summary(run)["sealed_later"] == ["history.csv", "summary.json"]
    assert in_process(verify.main, "seal=true") == "outputs/book: 0 of 1 run sealed anew\n"
    assert in_process(verify.main) == ("outputs/book: 1 run, 4 files as sealed; 1 run sealed later, not at its end\n")


def test_what_cannot_be_is_not_sealed(run: Path, capfd: pytest.CaptureFixture[str]):
    summary = json.loads((run / record.SUMMARY).read_text())
    summary["seeds"][0]["test_accuracy"] = 7
    text = json.dumps(summary)
    (run / record.SUMMARY).write_text(text)
    assert verify.verify(verify.Options(seal=True)) == 1
    said = f"not sealed: {run}/summary.json is damaged (test_accuracy of seed 0 is 7, not a share from 0 to 1); correct"
    assert capfd.readouterr().err.startswith(said)
    assert (run / record.SUMMARY).read_text() == text


def test_a_run_of_before_is_read_with_a_word_and_can_be_sealed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = make_run(tmp_path / "old", 5)
    for name in (record.CONFIG, record.SUMMARY):
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({k: v for k, v in content.items() if k not in ("seal", "sealed")}))
    assert list(verify.faults(run)) == []
    for _ in range(2):  # said once
        from memexp.results.collect import collect

        assert len(collect([run]).rows) == 2
    study = tmp_path / "old"
    (message,) = caplog.messages
    assert message == (
        f"{study} has runs without seals, as an older memexp wrote them: damage in their files may not be seen; "
        f"to seal them as they are: python -m memexp.verify outputs_dir={tmp_path} study=old seal=true"
    )
    assert verify.seal(run) == ["for the first time"]
    assert record.read_summary(run)["sealed_later"] == ["config.json", "summary.json"]
    assert verify.seal(run) == []
    flip(run / record.CONFIG)
    assert len([*verify.faults(run)]) == 1


def test_an_unfinished_run_is_compared_with_its_checkpoint(run: Path, in_process: Command):
    part = run.with_name("part")
    with stopping_after(5), pytest.raises(KeyboardInterrupt):
        experiment.run(config_of(*SIZES), part)
    assert list(verify.faults(part)) == []
    whole = (part / record.HISTORY).read_bytes()
    flip(part / record.HISTORY)
    (said,) = verify.faults(part)
    assert said.startswith(f"{part / record.HISTORY} is damaged (it is not what its checkpoint says)")
    with pytest.raises(RecordError, match="history.csv is damaged"):
        experiment.run(config_of(*SIZES), part)
    (part / record.HISTORY).write_bytes(whole)
    experiment.run(config_of(*SIZES), part)
    assert (part / record.HISTORY).read_bytes() == (run / record.HISTORY).read_bytes()


def test_no_bit_of_a_checkpoint_is_believed(run: Path):
    """Every bit of what holds numbers; a bit of a name or of padding changes nothing, or is refused."""
    path = run / record.LAST
    stored, names = path.read_bytes(), checkpoints.load(path, "training")["training"]["weights"]
    wanted = {name: part.clone() for name, part in names.items()}
    refused = 0
    for place in range(3, 8 * len(stored), 997):
        damaged = bytearray(stored)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = checkpoints.load(path, "training")["training"]["weights"]
        except RecordError:
            refused += 1
            continue
        assert all((found[name] == part).all() for name, part in wanted.items())
    assert refused > 50


def test_the_reference_is_what_was_sealed(in_process: Command):
    said = in_process(verify.main, f"outputs_dir={ROOT / 'outputs' / 'reference'}")
    assert said.count("\n") == 17
    assert "DAMAGED" not in said
    assert "without seals" not in said


def test_two_copies_of_a_reference_record_can_be_damaged_and_are_found(tmp_path: Path):
    run = shutil.copytree(ROOT / "outputs/reference/book/length=10,model=lstm", tmp_path / "book" / "run")
    flip(run / "history.csv.xz")
    flip(run / record.BEST)
    best, history = sorted(verify.faults(run))
    assert best.startswith(f"{run}/best.pt is damaged (it is not what was written)")
    assert history.startswith(f"{run}/history.csv.xz is damaged (")


# --- files that are whole, but of another run or another time ---


def test_a_summary_of_another_run_is_not_believed(run: Path):
    other = run.with_name("other")
    experiment.run(config_of(*SIZES, "lr=0.1"), other)
    shutil.copy(other / record.SUMMARY, run / record.SUMMARY)
    said = f"{run}: summary.json and config.json are of two runs; bring back the one that belongs here"
    for read in (record.read_summary, lambda folder: experiment.run(config_of(*SIZES), folder)):
        with pytest.raises(RecordError, match=said):
            read(run)
    assert [line for line in verify.faults(run) if line.startswith(said)]


def test_seeds_of_a_run_with_another_runs_config_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    slow, fast, wanted = (Path("outputs/book", f"lr={lr},seeds={seeds}") for lr, seeds in ((1, 2), (9, 2), (9, 3)))
    for folder, lr in ((slow, 0.001), (Path("outputs/elsewhere/fast"), 0.1)):
        experiment.run(config_of(*SIZES, f"lr={lr}"), folder)
    slow.rename(fast)
    shutil.copy("outputs/elsewhere/fast/config.json", fast / record.CONFIG)
    joined = experiment.run(config_of(*SIZES, "lr=0.1", "seeds=3"), wanted)
    whole = experiment.run(config_of(*SIZES, "lr=0.1", "seeds=3"), Path("outputs/whole/run"))
    assert joined["seeds"] == whole["seeds"]


def test_a_summary_whose_seal_was_cut_off_is_not_believed(run: Path):
    summary = json.loads((run / record.SUMMARY).read_text())
    for seal in ({}, {"seal": None}):
        content = {key: value for key, value in summary.items() if key != "seal"} | seal
        (run / record.SUMMARY).write_text(json.dumps(content))
        with pytest.raises(RecordError, match="summary.json is damaged \\(it is not what was written\\)"):
            record.read_summary(run)


def test_a_history_that_was_damaged_while_its_run_went_on_is_not_sealed(run: Path, monkeypatch: pytest.MonkeyPatch):
    whole, part = experiment.scoring.summarise, run.with_name("part")

    def damaged(*arguments: Any) -> object:
        path = part / record.HISTORY
        path.write_text(path.read_text().replace("dev,loss,", "dev,loss,1", 1)[:-1])
        return whole(*arguments)

    monkeypatch.setattr(experiment.scoring, "summarise", damaged)
    with pytest.raises(RecordError, match="history.csv is damaged \\(it is not what was written\\)"):
        experiment.run(config_of(*SIZES), part)
    assert not (part / record.SUMMARY).exists()


def test_what_cannot_be_read_is_not_sealed(run: Path):
    (run / record.BEST).write_bytes(b"garbage")
    with pytest.raises(RecordError, match="best.pt is damaged"):
        verify.seal(run)
