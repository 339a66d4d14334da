"""memexp from Python: the same runs as the command's, in a process that stays the user's."""

import doctest
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import LEAKY_SRN, CommandLine, stopping_after
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from tqdm import tqdm

import memexp
from memexp import experiment, face, status, sweeps, trained
from memexp.progress import TerminalHandler
from memexp.results import record
from memexp.tasks.task import Task
from memexp.training import checkpoints

TINY: dict[str, Any] = {"epochs": 1, "seeds": 2}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of_process() -> dict[str, Any]:
    """What a process has that belongs to its user."""
    loggers = [logging.getLogger(), logging.getLogger("memexp"), logging.getLogger("memexp.experiment")]
    return {
        "arguments": list(sys.argv),
        "path": list(sys.path),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "threads": torch.get_num_threads(),
        "default type": torch.get_default_dtype(),
        "random": torch.get_rng_state().tolist(),
        "matplotlib": dict(matplotlib.rcParams.copy()),
        "logging": [(one.level, list(one.handlers), one.propagate, one.disabled) for one in loggers],
        "raises": logging.raiseExceptions,
        "warnings": list(warnings.filters),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr),
        "hydra": GlobalHydra.instance().is_initialized(),
        "tqdm": tqdm.monitor_interval,
        "running": {thread.name for thread in threading.enumerate()},
    }


# --- the surface ---


def test_the_surface_is_small_and_all_there():
    assert set(memexp.__all__) <= set(dir(memexp))
    assert {name for name in memexp.__all__ if name.islower()} == {"draw", "load", "results", "run", "sweep"}
    for name in ("draw", "load", "results", "run", "sweep"):
        assert getattr(memexp, name) is getattr(face, name)
    assert memexp.TrainedRun is trained.TrainedRun
    assert issubclass(memexp.ConfigError, memexp.MemexpError)
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        memexp.runs  # noqa: B018


def test_importing_takes_no_time_and_results_is_the_function_whatever_was_imported():
    code = "import memexp, sys; heavy = {'torch', 'pandas', 'hydra', 'matplotlib'} & set(sys.modules)\n"
    code += "import memexp.results.record; print(heavy, memexp.results.__name__, callable(memexp.results))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() results True\n"


def examples() -> list[doctest.DocTest]:
    found = [doctest.DocTestFinder().find(module, module.__name__) for module in (face, trained)]
    return [test for tests in found for test in tests if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_the_examples_are_true(example: doctest.DocTest):
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(example, out=said.append)
    assert not said, "".join(said)


def test_all_that_is_public_has_an_example():
    with_example = {test.name for test in examples()}
    methods = ("evaluate", "predict", "trace", "heatmaps", "history", "curves")
    assert {f"memexp.face.{name}" for name in ("draw", "load", "results", "run", "sweep")} <= with_example
    assert {f"memexp.trained.TrainedRun.{name}" for name in methods} <= with_example


# --- the process is the user's ---


def test_nothing_of_the_process_is_changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "module://of.a.notebook")
    monkeypatch.setattr(sys, "argv", ["kernel", "-f", "connection.json", "--config-dir=nowhere"])
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = of_process()
        run = memexp.run("model=srn", length=4, **TINY)
        memexp.sweep(length=[4, 5], model=["srn", "lstm"], n_jobs=1, images_dir=None, **TINY)
        memexp.results("book")
        memexp.load(run.folder)
        run.evaluate([4, 5])
        run.predict("6700")
        run.trace("6700")
        run.heatmaps("6700")
        with pytest.raises(memexp.ConfigError):
            memexp.run(length=2)
        with stopping_after(5), pytest.raises(KeyboardInterrupt):
            memexp.run("model=srn", length=6, **TINY)
        assert of_process() == before
    finally:
        torch.set_num_threads(threads)


def test_a_run_may_be_in_any_thread():
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(memexp.run("model=srn", length=4, **TINY).seeds))
    thread.start()
    thread.join()
    assert found == [[0, 1]]


def test_the_log_is_in_the_folder_and_the_users_logging_gets_what_it_asked_for(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    commands = [handler for handler in logging.getLogger().handlers if isinstance(handler, TerminalHandler)]
    for handler in commands:  # of a command that another test ran in this process
        monkeypatch.setattr(handler, "emit", lambda entry: None)
    run = memexp.run("model=srn", length=4, lr=1e38, **TINY)  # its loss is not finite
    log = (run.folder / "memexp.log").read_text()
    assert "INFO srn trains on length 4" in log
    assert "WARNING seed 0 stopped" in log
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "WARNING"]
    assert capsys.readouterr().out == ""
    caplog.clear()
    with caplog.at_level(logging.INFO, "memexp"):
        memexp.run("model=srn", length=5, **TINY)
    assert caplog.messages[0].startswith("srn trains on length 5: 2 seeds, 38 updates")


# --- the same as the command ---


def same_record(one: Path, other: Path) -> None:
    """Two folders hold the same, but for times and, in the logs, moments."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert (one / record.HISTORY).read_bytes() == (other / record.HISTORY).read_bytes()
    assert (one / record.CONFIG).read_bytes() == (other / record.CONFIG).read_bytes()
    ours, theirs = (checkpoints.load(folder / record.BEST, "weights")["weights"] for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    summaries = [record.read_summary(folder) for folder in (one, other)]
    for summary in summaries:
        for times in ("seconds", "tokens_per_second", record.SEALED):
            del summary[times]
    assert summaries[0] == summaries[1]


@pytest.mark.slow
def test_a_run_is_that_of_the_command_bit_for_bit(memexp: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = memexp("model=lstm", "length=5", "epochs=2", "seeds=[3,1]", "model.hidden_size=8", "clip=1.5")
    assert done.returncode == 0, done.stderr
    (tmp_path / "python").mkdir()
    monkeypatch.chdir(tmp_path / "python")
    run = face.run("model=lstm", length=5, epochs=2, seeds=[3, 1], model__hidden_size=8, clip=1.5)
    typed = tmp_path / run.folder
    same_record(typed, run.folder)
    assert {path.name for path in (run.folder / ".hydra").iterdir()} == {p.name for p in (typed / ".hydra").iterdir()}


@pytest.mark.slow
def test_a_sweep_is_that_of_the_command(memexp: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = memexp("-m", "length=4,5", "model=srn", "epochs=1", "seeds=2", "images_dir=null", "hydra/launcher=basic")
    assert done.returncode == 0, done.stderr
    (tmp_path / "python").mkdir()
    monkeypatch.chdir(tmp_path / "python")
    table = face.sweep(length=[4, 5], model="srn", epochs=1, seeds=2, images_dir=None, n_jobs=2)
    ours, theirs = (pd.read_csv(folder / "outputs/book/results.csv") for folder in (Path(), tmp_path))
    times = ["seconds", "tokens_per_second"]
    pd.testing.assert_frame_equal(ours.drop(columns=times), theirs.drop(columns=times))
    assert len(table) == 4
    assert {*table["exact_accuracy"]} == {*theirs["exact_accuracy"]}
    for run in record.run_folders(Path("outputs/book")):
        same_record(tmp_path / run, run)


def test_what_is_left_is_said_with_the_command_that_goes_on():
    with stopping_after(7), pytest.raises(KeyboardInterrupt):
        memexp.run("model=lstm", length=4, **TINY)
    standing = status.standing(Path("outputs/book"))
    assert [run.state for run in standing.runs] == [status.UNFINISHED]
    assert standing.commands == ["python -m memexp model=lstm length=4 epochs=1 seeds=2"]


def test_a_sweep_over_experiments_is_as_the_commands():
    table = memexp.sweep("experiment=book,shuffled", length=4, model="srn", n_jobs=1, images_dir=None, **TINY)
    assert table[["study", "task.shuffle"]].drop_duplicates().to_numpy().tolist() == [
        ["book", False],
        ["shuffled", True],
    ]


def test_an_experiment_is_swept_as_its_file_says():
    table = memexp.sweep("experiment=book", length=[4, 5], n_jobs=1, images_dir=None, **TINY)
    assert table.groupby(["model.name", "length"]).ngroups == 4


def test_results_are_what_results_csv_has():
    table = memexp.sweep(length=[4, 5], model="srn", n_jobs=1, images_dir=None, **TINY)
    assert len(table) == 4
    pd.testing.assert_frame_equal(memexp.results("book"), table)
    assert (Path("outputs/book/results.csv").read_text()) == table.to_csv(index=False, lineterminator="\n")
    assert memexp.results()["length"].tolist() == [4, 4, 5, 5]


def test_what_is_complete_is_loaded_and_what_was_interrupted_goes_on():
    whole = memexp.run("model=lstm", length=4, outputs_dir="whole", **TINY)
    with stopping_after(7), pytest.raises(KeyboardInterrupt):
        memexp.run("model=lstm", length=4, **TINY)
    folder = Path("outputs/book/epochs=1,length=4,model=lstm,seeds=2")
    assert not record.is_complete(folder)
    assert "INFO interrupted; the same call goes on" in (folder / "memexp.log").read_text()
    run = memexp.run("model=lstm", length=4, **TINY)
    assert "going on after update 7 of 38" in (folder / "memexp.log").read_text()
    assert (folder / record.HISTORY).read_bytes() == (whole.folder / record.HISTORY).read_bytes()
    assert run.summary["seeds"] == whole.summary["seeds"]
    before = (folder / record.SUMMARY).stat().st_mtime_ns
    again = memexp.run("model=lstm", length=4, **TINY)
    assert (folder / record.SUMMARY).stat().st_mtime_ns == before
    assert again.summary == run.summary


def test_ctrl_c_is_a_keyboard_interrupt_between_two_updates(monkeypatch: pytest.MonkeyPatch):
    """Whatever answers it otherwise, as in a kernel: that is not called while it trains, and there again afterwards."""
    called: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    own = signal.getsignal(signal.SIGINT)

    def interrupted(task: Task, model: Any, iteration: int, updates: int, folder: Path) -> None:
        if iteration == 5:
            signal.raise_signal(signal.SIGINT)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(Task, "after_update", interrupted)
            with pytest.raises(KeyboardInterrupt):
                memexp.run("model=lstm", length=4, **TINY)
        assert signal.getsignal(signal.SIGINT) is own
        assert called == []
        run = memexp.run("model=lstm", length=4, **TINY)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "going on after update 5 of 38" in (run.folder / "memexp.log").read_text()


def test_a_sweep_that_was_interrupted_goes_on():
    settings = {"length": [4, 5], "model": "srn", "n_jobs": 1, "images_dir": None, **TINY}
    with stopping_after(7), pytest.raises(KeyboardInterrupt):
        memexp.sweep(**settings)
    assert list(Path("outputs/book").glob(".sweep-*"))  # memexp.status says what is left, and the command
    assert len(memexp.sweep(**settings)) == 4
    assert not list(Path("outputs/book").glob(".sweep-*"))


def test_results_with_intervals_are_means_over_seeds():
    table = memexp.sweep(length=[4, 5], model="srn", n_jobs=1, images_dir=None, **TINY)
    short = memexp.results("book", intervals=True)
    assert short["length"].tolist() == [4, 5]
    assert short["seeds"].tolist() == [2, 2]
    means = table.groupby("length")["exact_accuracy"].mean()
    assert short["exact"].tolist() == pytest.approx(means.tolist())
    assert (short["exact_low"] <= short["exact"]).all()


# --- figures ---


def test_every_figure_of_a_study_is_drawn_by_its_name_and_shows_itself():
    memexp.sweep(length=[4, 5], n_jobs=1, images_dir=None, gradient_norms=True, **TINY)
    memexp.sweep(length=4, study="other", n_jobs=1, images_dir=None, **TINY)
    figure = memexp.draw("book", "gradients_4")
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    both = memexp.draw(["book", "other"])
    assert len(both.axes) == 2 * len(memexp.draw("book").axes)
    with pytest.raises(memexp.ConfigError, match=r"figure=loss is unknown.*allowed: accuracy \| overview"):
        memexp.draw("book", "loss")
    with pytest.raises(memexp.RecordError, match="figure=gradients_4: the runs of other have not noted what it shows"):
        memexp.draw("other", "gradients_4")


def test_the_figures_of_the_analysis_are_those_that_can_be_drawn(tmp_path: Path):
    from memexp.analysis import command
    from memexp.errors import Complaints

    memexp.sweep(length=[4, 5], model="srn", n_jobs=1, images_dir=tmp_path / "images", **TINY)
    written = {path.stem for path in (tmp_path / "images/book").glob("*.png")}
    found = command.drawings(["book"], Path("outputs"), Complaints())
    assert written == {name for name, draw in found.items() if draw() is not None}


@pytest.mark.usefixtures("chinese")
def test_figures_are_in_chinese():
    run = memexp.run("model=srn", length=4, **TINY)
    assert memexp.draw("book", "accuracy", lang="zh").axes[0].get_xlabel() == "序列长度（数字个数）"
    figure = run.curves(lang="zh")
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("更新次数", "损失")
    assert run.curves("accuracy", lang="zh").axes[0].get_ylabel() == "准确率"
    assert figure._repr_png_()  # type: ignore[attr-defined]  # a character without a glyph would be a warning


def test_a_run_has_its_course():
    run = memexp.run("model=srn", length=4, **TINY)
    history = run.history()
    lines = run.curves("accuracy").axes[0].lines
    (dev,) = [line for line in lines if line.get_label() == "dev"]
    own = history[(history["split"] == "dev") & (history["name"] == "accuracy")]
    assert np.asarray(dev.get_ydata()).tolist() == pytest.approx(own.groupby("iteration")["value"].mean().tolist())
    with pytest.raises(memexp.ConfigError, match="metric=los is not possible; allowed: loss, accuracy"):
        run.curves("los")


# --- what cannot be ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: memexp.run(lenght=4), "unknown key 'lenght' (did you mean length?)"),
        (lambda: memexp.run(model="lsmt"), "model=lsmt is unknown (did you mean lstm?)"),
        (lambda: memexp.run(length=2), "length=2 is too small; it must be at least 3"),
        (lambda: memexp.run(lr=-1), "lr=-1"),
        (lambda: memexp.run(lr="fast"), "lr=fast is not a number"),
        (lambda: memexp.run("length=4,5"), "length=4,5: several values make a sweep; give them to memexp.sweep"),
        (lambda: memexp.run("experiment=book"), "experiment=book is a sweep; give it to memexp.sweep"),
        (lambda: memexp.run("-m", length=4), "cannot read '-m'"),
        (lambda: memexp.run(length=4, config_dir="nowhere"), "config_dir=nowhere is no folder"),
        (lambda: memexp.sweep(lenght=[4]), "unknown key 'lenght'"),
        (lambda: memexp.sweep(length=[2, 4], images_dir=None, n_jobs=0), "n_jobs=0 is not possible"),
        (lambda: memexp.sweep("hydra/launcher=slurm"), "hydra/launcher=slurm"),
        (lambda: memexp.results("bok"), "study 'bok' does not exist"),
        (lambda: memexp.draw("bok"), "study 'bok' does not exist"),
        (lambda: memexp.draw("book", lang="fr"), "lang=fr is not possible; allowed: en, zh"),
        (lambda: memexp.load("outputs/book/nothing"), "there is no such folder"),
        (lambda: memexp.load("bok"), "study 'bok' does not exist"),
        (lambda: memexp.load(".", weights="worst"), "weights=worst is not possible; allowed: best, last"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(call: Callable[[], Any], complaint: str, tmp_path: Path):
    with pytest.raises(memexp.MemexpError) as error:
        call()
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_does_not_harm_the_others_of_a_sweep():
    with pytest.raises(memexp.MemexpError, match="1 of 2 runs are not complete: .*length=2 is too small"):
        memexp.sweep(length=[2, 4], model="srn", n_jobs=1, images_dir=None, **TINY)
    assert memexp.results("book")["length"].tolist() == [4, 4]


def test_seeds_whose_loss_is_not_finite_are_in_the_table(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    table = memexp.sweep(length=[4], model="srn", lr=1e38, n_jobs=1, images_dir=None, **TINY)
    assert table["diverged_at"].notna().all()
    assert "the loss of seeds [0, 1] was not finite" in capsys.readouterr().out
    assert not caplog.records  # the sweep has said it


def test_a_damaged_run_is_named_and_left_out(caplog: pytest.LogCaptureFixture):
    memexp.sweep(length=[4, 5], model="srn", n_jobs=1, images_dir=None, **TINY)
    (path,) = Path("outputs/book").glob("*length=5*/summary.json")
    path.write_text("{")
    assert memexp.results("book")["length"].tolist() == [4, 4]
    assert "left out: epochs=1,length=5,model=srn,seeds=2" in caplog.text


# --- what is loaded, and classes of one's own ---


def test_a_run_is_loaded_by_its_folder_or_by_study_model_and_length():
    for length in (4, 5):
        memexp.run("model=srn", length=length, **TINY)
    run = memexp.load("book", model="srn", length=5)
    assert run.config.length == 5
    assert memexp.load(run.folder, weights="last").name == run.name
    with pytest.raises(memexp.RecordError, match="2 finished runs"):
        memexp.load("book")


def test_a_cell_of_ones_own_is_found_by_config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "leaky_cells.py").write_text(LEAKY_SRN)
    yaml = "defaults: [/common/model@_here_, _self_]\n_target_: leaky_cells.LeakySRN\nname: leaky\n"
    (tmp_path / "mine" / "model" / "leaky.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(tmp_path)
    with stopping_after(7), pytest.raises(KeyboardInterrupt):
        memexp.run(model="leaky", length=4, config_dir="mine", **TINY)
    (command,) = status.standing(Path("outputs/book")).commands
    assert command == f"python -m memexp --config-dir={tmp_path / 'mine'} model=leaky length=4 epochs=1 seeds=2"
    run = memexp.run(model="leaky", length=4, config_dir="mine", **TINY)
    assert run.summary["title"] == "leaky SRN"
    table = memexp.sweep(
        model=["leaky", "srn"], length=4, config_dir=tmp_path / "mine", n_jobs=1, images_dir=None, **TINY
    )
    assert table["model.name"].tolist() == ["leaky", "leaky", "srn", "srn"]
    with pytest.raises(memexp.RecordError, match="no conf/ here registers"):
        memexp.load(run.folder)
    assert memexp.load(run.folder, modules=["leaky_cells"]).seeds == memexp.load(run.folder, config_dir="mine").seeds


# --- what the page says ---


def code_of(page: str) -> list[str]:
    """The Python of the page's first section."""
    text = (Path(face.__file__).parent.parent / page).read_text(encoding="utf-8")
    first = text[text.index("\n## ") :].split("\n## ")[1]
    return re.findall(r"```python\n(.*?)```", first, re.S)


def test_the_page_says_the_same_in_both_languages():
    english, chinese = (
        [re.sub(r"  #.*", "", code) for code in code_of(page)] for page in ("docs/python.md", "docs/zh-CN/python.md")
    )
    assert len(english) == 3
    assert english == chinese


@pytest.mark.slow
def test_the_code_of_the_page_works_as_written(monkeypatch: pytest.MonkeyPatch):
    do, folders = experiment.run, []

    def briefly(config: Any, folder: Path, show_bar: bool = False) -> dict[str, Any]:
        folders.append(folder)
        return do(OmegaConf.merge(config, {"epochs": 1}), folder, show_bar)

    monkeypatch.setattr(experiment, "run", briefly)
    monkeypatch.setattr(face, "effective_n_jobs", lambda n_jobs: 1)  # what is patched is in this process alone
    monkeypatch.setattr(sweeps, "draw", lambda *_, **__: True)
    monkeypatch.setattr(sweeps, "check_identity", lambda *_: None)
    exec("\n".join(code_of("docs/python.md")), {})
    assert len(folders) == 4
