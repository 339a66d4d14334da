import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import forked
import pytest
import torch
from helpers import Command, config_of, make_run

from memexp import experiment, generate, progress
from memexp.errors import RecordError
from memexp.results import record
from memexp.training import checkpoints

SETTINGS = ("task=char_lm", "model=srn", "model.hidden_size=8", "epochs=3", "seeds=[4,2]", "images_dir=null")
PREFIXES = ("task.prefixes=['The b',Book]", "task.pred_period=2", "task.pred_chars=40")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of a language model."""
    folder = tmp_path_factory.mktemp("generate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment.run(config_of(*SETTINGS, *PREFIXES), Path("outputs/char_lm/writer"))
    return folder


@pytest.fixture
def run_folder(finished: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(finished)


@pytest.fixture
def command(in_process: Command) -> Command:
    return partial(in_process, generate.main)


# --- writing from the command line ---


@pytest.mark.slow
def test_it_prints_the_prefix_and_what_follows(finished: Path):
    result = forked.run("memexp.generate", "prefix=The b", "length=40", folder=finished)
    assert (result.returncode, result.stderr) == (0, "")
    (written,) = finished.glob("outputs/*/*/written.txt")
    epoch, text = written.read_text().splitlines()[-2].split("\t")
    assert epoch == "3"
    assert result.stdout == f"{text}\n"  # as the first seed wrote after the last update
    assert len(text) == len("The b") + 40


def test_options_choose_the_weights_and_the_drawing(run_folder: Path, command: Command):
    hot = ("prefix=The ", "temperature=2", "top_k=20", "length=60")
    texts = [
        command(*hot, *options)
        for options in (
            [], ["seed=0", "model_seed=4"], [f"run={run_folder}/", "study=other"], ["model=srn"],
            ["seed=1"], ["model_seed=2"], ["top_k=5"], ["temperature=0.5"],
        )
    ]  # fmt: skip
    assert texts[0] == texts[1] == texts[2] == texts[3]
    assert len(set(texts)) == 5
    assert all(text.startswith("The ") and len(text) == 4 + 60 + 1 for text in texts)


def test_best_and_last_weights_are_those_of_their_files(run_folder: Path):
    best = checkpoints.load(run_folder / record.BEST, "weights")["weights"]
    last = checkpoints.load(run_folder / record.LAST, "training")["training"]["weights"]
    for weights, own in (("best", best), ("last", last)):
        for k, seed in enumerate((4, 2)):
            model = generate.load_writer(run_folder, weights, seed).model
            for name, parameter in model.named_parameters():
                assert torch.equal(parameter[0], own[name][k])


@pytest.mark.parametrize("prefix", ["", " ", "a ", "no", "null", "I: a", '"A', "'a'"])
def test_a_prefix_is_taken_as_it_is_written(run_folder: Path, command: Command, prefix: str):
    text = command(f"prefix={prefix}", "length=3")
    assert text.startswith(prefix)
    assert len(text) == len(prefix) + 3 + 1


def test_the_text_itself_is_not_needed(run_folder: Path, command: Command):
    path = run_folder / record.SUMMARY
    summary = json.loads(path.read_text())
    before = command("prefix=The ")
    summary["config"]["task"]["corpus"] = "gone.txt"
    record.write_summary(run_folder, summary)
    assert command("prefix=The ") == before


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["prefix=分开 I"], "'分开 I' has characters the model does not know: ['分', '开']; it knows "),
        (["prefix=12"], "'12' has characters the model does not know: ['1', '2']; it knows "),
        (["temperature=0"], "temperature=0.0 is too small; it must be above 0"),
        (["top_k=0"], "top_k=0 is too small; it must be at least 1"),
        (["length=0"], "length=0 is too small"),
        (["weights=first"], "weights=first is unknown; allowed: best, last"),
        (["study=chars"], "study 'chars' does not exist (did you mean char_lm?); there are: char_lm"),
        (["outputs_dir=nowhere"], "nowhere has no study yet"),
        (["model=gru"], "no finished run of a language model with model=gru; finished: writer"),
        (["model_seed=0"], "has no such seed; it has 4, 2"),
        (["run=outputs/none"], "run=outputs/none: there is no such folder"),
        (["run=outputs/char_lm"], "outputs/char_lm is no run's folder: it has no config.json; give one, as outputs/"),
        ([f"seed={2**63}"], f"seed={2**63} is too large; it must be at most {2**63 - 1}"),
        (["temperature=nan"], "temperature=nan is not a finite number"),
    ],
)
def test_a_mistake_is_named(
    run_folder: Path, command: Command, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    shown = command(*arguments)
    assert capsys.readouterr().out == ""
    assert shown.startswith("memexp.generate: ")
    assert complaint in shown
    assert "\n" not in shown


def test_a_run_of_another_task(run_folder: Path, command: Command):
    book, other = Path("outputs/book/run"), run_folder.with_name("sums")
    experiment.run(config_of("length=3", "model=srn", "epochs=1", "seeds=1"), book)
    assert command("study=book").endswith("outputs/book has no finished run of a language model; finished: none")
    assert f"{book} is of the task digit_sum; a run of task=char_lm can write" in command(f"run={book}")
    shutil.copytree(book, other)
    assert len(command("prefix=The", "length=5")) == 3 + 5 + 1  # the one language model beside it is found


@pytest.mark.parametrize("name", [record.SUMMARY, record.LAST])
def test_what_is_damaged_is_one_line(run_folder: Path, command: Command, name: str):
    (run_folder / name).write_text("{")
    shown = command(f"run={run_folder}")
    assert shown.startswith(f"memexp.generate: {run_folder / name} is ")
    assert "\n" not in shown


def test_one_of_several_is_asked_for_whatever_would_be_usual_elsewhere(run_folder: Path, command: Command):
    """Neither an lstm nor a length of 10 is taken for granted among texts."""
    text = {"_target_": "memexp.tasks.char_lm.CharLM", "name": "char_lm"}
    make_run(run_folder.parent, 10, "lstm", task=text)
    shown = command()
    assert "outputs/char_lm has 2 finished runs of a language model; give one as run=...: " in shown
    assert str(run_folder) in shown


def test_a_seed_that_stopped_has_its_best_weights_left(run_folder: Path, command: Command):
    path = run_folder / record.SUMMARY
    summary = json.loads(path.read_text())
    summary["seeds"][1]["diverged_at"] = 7
    record.write_summary(run_folder, summary)
    assert "seed 2 of " in command("model_seed=2")
    assert "stopped: its loss was not finite; give weights=best" in command("model_seed=2")
    assert len(command("model_seed=2", "weights=best", "length=5")) == 6
    assert len(command("model_seed=4", "length=5")) == 6


# --- while it trains ---

Fail = Callable[[pytest.MonkeyPatch], None]


def at_update(number: int, do: Callable[[], None]) -> Fail:
    def note(iteration: int) -> None:
        if iteration == number:
            do()

    return lambda patch: patch.setattr(progress, "progress_file", lambda folder, updates: note)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def crash() -> None:
    raise RecordError("killed")


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """The second writing cannot be kept."""
    calls: list[Path] = []
    write_text = record.write_text

    def fail(path: Path, text: str) -> None:
        calls.extend([path] * (path.name == record.WRITTEN))
        if len(calls) > 1:
            raise RecordError("no space left")
        write_text(path, text)

    patch.setattr(record, "write_text", fail)


@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
@pytest.mark.parametrize(
    "fail",
    [at_update(19, stop), at_update(16, stop), at_update(18, crash), full_disk],
    ids=["stopped in an epoch", "stopped at its end", "killed", "full disk"],
)
def test_what_is_written_is_there_once(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fail, checkpoint_seconds: int
):
    """A line for each prefix after every second epoch and at the end, also if the run did not get through at once."""
    config = config_of(*SETTINGS, *PREFIXES, f"checkpoint_seconds={checkpoint_seconds}")
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises((KeyboardInterrupt, RecordError)):
            experiment.run(config, tmp_path / "run")
    assert experiment.run(config, tmp_path / "run")["updates"] == 3 * 8
    (whole,) = finished.glob("outputs/*/*/written.txt")
    lines = whole.read_text().splitlines()
    starts = ["2\tThe b", "2\tBook", "3\tThe b", "3\tBook"]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert [len(line) - len(start) for line, start in zip(lines, starts, strict=True)] == [40] * 4
    assert (tmp_path / "run" / "written.txt").read_text() == whole.read_text()


def test_a_first_seed_that_diverges_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build = experiment.build_model

    def broken(*arguments: object, **more: object) -> torch.nn.Module:
        model = build(*arguments, **more)
        with torch.no_grad():
            model.head_bias[0] = torch.nan
        return model

    monkeypatch.setattr(experiment, "build_model", broken)
    summary = experiment.run(config_of(*SETTINGS, *PREFIXES), tmp_path / "run")
    assert [seed["diverged_at"] for seed in summary["seeds"]] == [1, None]
    assert (tmp_path / "run" / "written.txt").read_text() == "2\tThe b\n2\tBook\n3\tThe b\n3\tBook\n"
