"""A record is data: nothing in one that a stranger wrote is imported, resolved, or read and written elsewhere."""

import importlib
import lzma
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import LEAKY_SRN, Command, config_of, make_run, reseal
from omegaconf import OmegaConf

import memexp
from memexp import experiment, generate, registered, report, sources, trained
from memexp.analysis import command as analysis
from memexp.config import check
from memexp.errors import ConfigError, DataError, RecordError
from memexp.explorer import export
from memexp.gates import command as gates
from memexp.results import record
from memexp.results.history import read_history

COMMANDS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "gates": (gates.main, ("averages=false", "names=hidden_state")),
    "gates of a run": (gates.main, ("run=outputs/shared/run", "averages=false", "names=hidden_state")),
    "explorer": (export.main, ()),
    "generate": (generate.main, ("study=shared",)),
    "generate of a run": (generate.main, ("run=outputs/shared/run",)),
    "report": (report.main, ("study=shared", "speed=false")),
    "analysis": (analysis.main, ("study=shared",)),
}
TRACE = "trace"
#: What a stranger sends: a cell that works, and a task; to import them is enough.
PAYLOAD = f"""
from pathlib import Path

from memexp.models.cells import LSTM
from memexp.tasks.digit_sum import DigitSum

Path({TRACE!r}).touch()


class X(LSTM):
    pass


class Y(DigitSum):
    pass
"""
PLACES = {
    "outputs.shared.payload": "outputs/shared/payload.py",
    "outputs.shared.pack": "outputs/shared/pack/__init__.py",
    "outputs.shared.pack.inner": "outputs/shared/pack/inner.py",
    "payload_lying_here": "payload_lying_here.py",
}
CELL = f"import subprocess\n\nfrom memexp.models import LSTM\n{LEAKY_SRN}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run: that of an LSTM at length 10, which the report shows too."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = config_of("length=10", "model=lstm", "model.hidden_size=3", "seeds=2", "epochs=1")
        experiment.run(config, Path("outputs/shared/run"))
    return folder


@pytest.fixture
def run_folder(
    finished: Path, spoilt: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Path]:
    """The run in the current folder, from which modules are imported as ``python -m`` does."""
    monkeypatch.syspath_prepend(tmp_path)
    yield spoilt(finished)
    sources._statements.cache_clear()


@pytest.fixture
def run_command(in_process: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run one of the `COMMANDS` in this process; return what it prints on the terminal, both streams."""

    def run(name: str, *more: str) -> str:
        main, arguments = COMMANDS[name]
        return in_process(main, *arguments, *more) + capsys.readouterr().err

    return run


def change(folder: Path, key: str, value: Any, file: str = record.SUMMARY) -> None:
    """Set what a file of a record says under a dotted key, as a stranger would who seals what he wrote."""
    content, _ = record.read_object(folder / file)
    *outer, last = key.split(".")
    reduce(getitem, outer, content)[last] = value
    record.write_json(folder / file, content)
    reseal(folder)


def lay(module: str) -> None:
    path = Path(PLACES[module])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAYLOAD)


def about(said: str) -> list[str]:
    """The lines that say that a class is not built."""
    return [line for line in said.splitlines() if "is a class that no conf/ here registers" in line]


# --- code ---


def test_a_payload_leaves_its_trace_when_it_is_imported(run_folder: Path):
    """Otherwise the tests below would show nothing."""
    for module in PLACES:
        lay(module)
        importlib.import_module(module)
        Path(TRACE).unlink()


@pytest.mark.parametrize(
    ("module", "node", "name"),
    [
        *(("outputs.shared.payload", node, name) for node in ("model", "task") for name in COMMANDS),
        *((module, node, "gates of a run") for module in list(PLACES)[1:] for node in ("model", "task")),
    ],
)
def test_a_class_that_a_record_brings_along_is_not_imported(
    run_folder: Path, run_command: Callable[..., str], module: str, node: str, name: str
):
    lay(module)
    target = f"{module}.{'X' if node == 'model' else 'Y'}"
    change(run_folder, f"config.{node}._target_", target)
    said = run_command(name)
    assert not Path(TRACE).exists()
    assert module not in sys.modules
    if name == "analysis" or (name, node) == ("generate", "model"):  # which build no model, and look at the task alone
        assert not about(said)
        return
    (line,) = about(said)
    assert f"{node}: {target} is a class that no conf/ here registers; " in line
    assert line.endswith(f"or name its module: modules={module}") or name == "report"


@pytest.mark.parametrize(
    "target",
    [
        "memexp.files.tempfile.SpooledTemporaryFile",
        "memexp.progress.os.system",
        "memexp.bench.text_memory.FewUpdates",  # a task of memexp's, which no file of conf/ has
        "memexp.models.cells.Cell",
        "memexp.models.cells.LSTM ",
        "memexp.models.cells:LSTM",
        "memexp.tasks.digit_sum.DigitSum",  # a task is no model
    ],
)
def test_of_memexp_only_the_classes_of_its_conf_are_built(run_folder: Path, target: str):
    change(run_folder, "config.model._target_", target)
    for modules in ((), ("memexp",), ("memexp.files", "memexp.models.cells", "memexp.bench", "memexp.tasks")):
        with pytest.raises(RecordError) as refused:
            trained.load(run_folder, modules=modules)
        assert f"summary.json: model: memexp {memexp.__version__}" in str(refused.value)
        assert str(refused.value).endswith(f" has no {target}; where it is of a newer memexp, update")


@pytest.mark.parametrize("target", [None, 3, ["os.system"], {}, {"_target_": "os.system"}])
def test_a_class_is_named_by_a_text(run_folder: Path, target: object):
    for node in ("model", "task"):
        change(run_folder, f"config.{node}._target_", target)
        with pytest.raises(RecordError, match=r"summary.json is damaged \("):
            trained.load(run_folder)
    with pytest.raises(RecordError, match=r"finished: none; (left out|without a record): run: .*(not a text|damaged)"):
        trained.find_run(run_folder.parent, None, None, accept=lambda kind: True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config.optimizer", {"_target_": "os.system"}),
        ("config.model.files", [{"_target_": "os.system"}]),
        ("config._target_", "os.system"),
        ("config.task.inner", {"deeper": [{"_target_": "os.system"}]}),
    ],
)
def test_no_other_part_of_a_config_names_a_class(run_folder: Path, key: str, value: object):
    change(run_folder, key, value)
    with pytest.raises(RecordError) as refused:
        trained.load(run_folder)
    said = str(refused.value)
    assert re.search(r"/summary.json is damaged \(.*(names a class|not the settings of a run)\); move it", said)


@pytest.mark.parametrize("key", ["model.name", "task.name", "lr", "study", "task.sampling", "datasets_dir", "other"])
def test_nothing_in_a_record_is_resolved(run_folder: Path, monkeypatch: pytest.MonkeyPatch, key: str):
    asked: list[str] = []
    OmegaConf.register_new_resolver("spy", lambda name: asked.append(name) or "x", replace=True)
    monkeypatch.setenv("SECRET", "hunter2")
    for text in ("${spy:a}", "${oc.env:SECRET}", "before ${lr} after", "\\${spy:b}", "${model.${spy:c}}"):
        change(run_folder, f"config.{key}", text)
        with pytest.raises(RecordError) as refused:
            trained.load(run_folder)
        assert f"damaged (ValueError: config.{key} refers to something with ${{); move it" in str(refused.value)
        assert "hunter2" not in str(refused.value)
    assert not asked
    OmegaConf.clear_resolver("spy")


def test_a_record_nested_very_deep_is_one_line(run_folder: Path):
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    change(run_folder, "config.model.files", deep)
    with pytest.raises(RecordError, match=r"is damaged \(config is .*, not the settings of a run\); move it"):
        trained.load(run_folder)


# --- the user's own ---


@pytest.fixture
def own(run_folder: Path) -> Path:
    """A run of a user's own cell, in ``mycells.py``; it was trained with some --config-dir."""
    Path("mycells.py").write_text(CELL)
    settings = OmegaConf.to_container(config_of("length=5", "model=srn", "model.hidden_size=3", "seeds=1", "epochs=1"))
    settings["model"] |= {"_target_": "mycells.LeakySRN", "name": "leaky_srn"}
    folder = Path("outputs/own/run")
    experiment.run(check(OmegaConf.create(settings)), folder)
    return folder


def register(target: str, folder: str = "conf/model") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = f"defaults: [/common/model@_here_, _self_]\n_target_: {target}\nname: leaky_srn\n"
    Path(folder, "leaky_srn.yaml").write_text(text)


def test_a_cell_of_ones_own_is_built_where_its_conf_is_or_its_module_is_named(own: Path, in_process: Command):
    command = ("study=own", "averages=false", "names=candidate")
    refused = in_process(gates.main, *command)
    assert refused == (
        f"memexp.gates: {own}/summary.json: model: mycells.LeakySRN is a class that no conf/ here registers; if it is "
        "your own, give the command in the folder of its conf/, or name its module: modules=mycells"
    )
    assert in_process(gates.main, *command, "modules=mycell,cells,mycells.LeakySRN") == refused
    named = in_process(gates.main, *command, "modules=others,mycells")
    assert named.startswith("leaky SRN trained on length 5, seed 0 (own): ")
    register("mycells.LeakySRN")
    assert in_process(gates.main, *command) == named
    register("mycells.LeakySRN2")
    assert in_process(gates.main, *command) == refused
    shutil.rmtree("conf")
    register("mycells.LeakySRN", "conf/task")  # a cell is no task
    assert in_process(gates.main, *command) == refused


def test_the_folders_of_config_dir_register_too(own: Path, monkeypatch: pytest.MonkeyPatch):
    """As for the report at the end of a sweep."""
    register("mycells.LeakySRN", "elsewhere/model")
    with pytest.raises(RecordError, match="no conf/ here registers"):
        trained.load(own)
    monkeypatch.setattr(sys, "argv", ["memexp", "--config-dir", "elsewhere", "-m"])
    assert trained.load(own).summary["title"] == "leaky SRN"


def test_a_conf_that_cannot_be_read_registers_nothing(own: Path):
    register("mycells.LeakySRN\n]")
    Path("conf/model/other.yaml").write_bytes(b"_target_: mycells.LeakySRN\xff")
    with pytest.raises(RecordError, match="no conf/ here registers"):
        trained.load(own)
    for text in ("- mycells.LeakySRN", "# _target_: mycells.LeakySRN", "mycells.LeakySRN", "title: mycells.LeakySRN"):
        Path("conf/model/leaky_srn.yaml").write_text(text)
        with pytest.raises(RecordError, match="no conf/ here registers"):
            trained.load(own)


def test_what_a_named_module_has_imported_is_not_its_own(own: Path):
    for target, reason in (
        ("mycells.subprocess.Popen", "model: mycells.subprocess.Popen is no model; it must be a subclass of memexp.mo"),
        ("mycells.LSTM", "model: mycells.LSTM is of another module, memexp.models.cells; name that one as modules="),
        ("mycells.torch", "mycells.torch is no class"),
        ("mycells.Gone", "mycells.Gone cannot be imported"),
        ("mycells", "model: mycells is a class that no conf/ here registers"),
    ):
        change(own, "config.model._target_", target)
        with pytest.raises(RecordError) as refused:
            trained.load(own, modules=["mycells"])
        assert reason in str(refused.value)
        assert "\n" not in str(refused.value)


def test_changed_code_is_refused_and_a_record_without_a_hash_is_warned_of(
    own: Path, in_process: Command, caplog: pytest.LogCaptureFixture
):
    register("mycells.LeakySRN")
    Path("mycells.py").write_text(CELL.replace("0.9", "0.8"))
    sources._statements.cache_clear()
    for modules in ("modules=", "modules=mycells"):
        said = in_process(gates.main, "study=own", "averages=false", modules)
        assert f"{own} was trained with other code of LeakySRN than there is now; bring that code back" in said
    change(own, "model.source", None, record.CONFIG)
    trained.load(own)
    assert "does not say with which code of LeakySRN it was trained" in caplog.text


def test_a_language_model_of_a_task_of_ones_own_is_found_if_it_is_named(run_folder: Path):
    lay("payload_lying_here")
    folder = make_run(Path("outputs/texts"), 4, task={"_target_": "payload_lying_here.Y", "name": "own"})
    with pytest.raises(RecordError) as refused:
        trained.find_run(folder.parent, None, None, accept=lambda kind: True)
    assert f"finished: none; left out: {folder.name}: task: payload_lying_here.Y is a class" in str(refused.value)
    assert not Path(TRACE).exists()
    named = {"accept": lambda kind: kind.__name__ == "Y", "modules": ["payload_lying_here"]}
    assert trained.find_run(folder.parent, None, None, **named) == folder
    assert Path(TRACE).exists()


# --- places ---


def files_of(*folders: Path | str) -> set[str]:
    return {str(path) for folder in folders for path in Path(folder).rglob("*")}


@pytest.mark.slow
def test_data_are_read_and_made_where_the_user_says(run_folder: Path, in_process: Command, tmp_path: Path):
    there = tmp_path / "there"
    for key in ("datasets_dir", "outputs_dir", "images_dir"):
        change(run_folder, f"config.{key}", str(there))
    shutil.rmtree("datasets")
    command = ("study=shared", "names=hidden_state")
    assert "averages.png" in in_process(gates.main, *command)
    assert files_of("datasets") > {"datasets/10/train.txt"}
    shutil.rmtree("datasets")
    assert "averages.png" in in_process(gates.main, *command, "datasets_dir=mine")
    assert "explorer" in in_process(export.main)
    assert in_process(analysis.main).startswith("written: ")
    assert in_process(report.main, "study=shared", "speed=false", "datasets_dir=mine") == "1"  # the chapter has more
    assert "forget gate's mean" in Path("images/shared/report.md").read_text()
    assert not there.exists()
    assert not Path("datasets").exists()
    assert files_of("mine") > {"mine/10/train.txt"}


@pytest.mark.parametrize("distractors", ["/../../../there/a", "../there", -1, 1.5, True, "all/../../there"])
def test_no_setting_becomes_a_part_of_a_path(run_folder: Path, distractors: object):
    change(run_folder, "config.task.distractors", distractors)
    before = files_of(".", "..")
    with pytest.raises(RecordError, match="summary.json: task.distractors=.* is not possible at length=10"):
        trained.load(run_folder).task()
    assert files_of(".", "..") == before


@pytest.mark.parametrize(
    "path", ["/etc/own.txt", "../../own.txt", r"\\host\share\own.txt", "C:own.txt", "own.txt", "~/own.txt"]
)
def test_the_text_of_a_record_is_looked_for_by_its_name(run_folder: Path, path: str):
    text = "the boat was in the harbour, and so were the nets; " * 60
    Path("own.txt").write_text(text)
    settings = ("model=gru", "model.hidden_size=3", "length=9", "seeds=1", "epochs=1")
    folder = Path("outputs/texts/run")
    experiment.run(config_of("task=char_lm", "task.corpus=own.txt", *settings), folder)
    change(folder, "config.task.corpus", path)
    here = trained.load(folder, datasets="mine")
    assert here.config.task.corpus == "own.txt"
    texts = here.task().texts
    assert "".join(texts.values()) == text.strip()
    Path("mine").mkdir()
    shutil.move("own.txt", "mine")
    there = trained.load(folder, datasets="mine")
    assert there.config.task.corpus == str(Path("mine/own.txt"))
    assert there.task().texts == texts
    (Path("mine") / "own.txt").unlink()
    with pytest.raises(DataError, match=r"^task.corpus=mine.own.txt: there is no such file; "):
        trained.load(folder, datasets="mine").task()


def test_the_first_weights_of_a_record_are_looked_for_by_their_name(run_folder: Path):
    change(run_folder, "config.model.files", ["/root/a.txt", "../b.txt"])
    change(run_folder, "config.model.initialiser", "file")
    run = trained.load(run_folder, datasets="mine")
    assert list(run.config.model.files) == [str(Path("mine/a.txt")), str(Path("mine/b.txt"))]
    with pytest.raises(ConfigError, match="model.files=.* give one for each of the 1 layers"):
        run.untrained(0)


def test_other_first_weights_are_refused(run_folder: Path):
    """Else what is shown as *before training* would be something else."""
    Path("own").mkdir()
    np.savetxt("own/w.txt", np.full((4 + 3, 4 * 3), 0.25))
    settings = ("length=5", "model=lstm", "model.hidden_size=3", "model.embedding_size=4", "seeds=2", "epochs=1")
    folder = Path("outputs/first/run")
    experiment.run(config_of(*settings, "model.initialiser=file", "model.files=[own/w.txt]"), folder)
    run = trained.load(folder, datasets="own")
    assert run.untrained(1).cell.W.unique().tolist() == [0.25]
    np.savetxt("own/w.txt", np.full((4 + 3, 4 * 3), 0.5))
    with pytest.raises(RecordError, match=f"^{folder} began with other weights than those in own.w.txt; bring those b"):
        run.untrained(1)


@pytest.mark.parametrize(
    "name", ["../../climbed", "/tmp/climbed", "..", ".", "a/b", r"a\b", "nul", "x" * 300, "分" * 90, "", "a\nb", "<b>"]
)
def test_figures_of_a_task_stay_in_the_folder_of_their_study(run_folder: Path, in_process: Command, name: str):
    for k, task in enumerate((name, "other")):
        other = shutil.copytree(run_folder, run_folder.with_name(f"run{k}"))
        change(other, "config.task.name", task)
    shutil.rmtree(run_folder)
    before = files_of("..")
    said = in_process(analysis.main)
    written = {Path(path) for path in files_of("..") - before}
    images = Path("../").resolve() / Path.cwd().name / "images/shared"
    assert {path.resolve().parent.parent for path in written if path.name == "results.md"} == {images}
    assert all(images.parent in (path.resolve(), *path.resolve().parents) for path in written), said
    assert (images / "other/results.md").exists()


def test_a_run_is_read_by_the_name_of_its_folder(run_folder: Path, in_process: Command, tmp_path: Path):
    """Whatever the record calls itself."""
    other = shutil.copytree(run_folder, tmp_path / "elsewhere")
    (other / record.HISTORY).write_text("iteration,seed,split,name,value\n0,0,train,loss,nan\n")
    for key in ("about.run", "config.run", "config.study", "about.study"):
        change(run_folder, key, "../../elsewhere")
    shutil.rmtree(other)
    assert "loss_lstm_fixed.png" in in_process(analysis.main)


# --- which module draws ---


@pytest.mark.parametrize("name", ["command", "common", "__main__", "__init__", "evil", "os", "command.evil", ""])
def test_no_other_module_is_imported_to_draw(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command, name: str, tmp_path: Path
):
    """Not one either that lies beside those that draw."""
    package = importlib.import_module("memexp.analysis")
    (tmp_path / "evil.py").write_text(PAYLOAD)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    change(run_folder, "config.task.name", name)
    before = set(sys.modules)
    assert "results.md" in in_process(analysis.main)
    assert not Path(TRACE).exists()
    assert not [module for module in set(sys.modules) - before if module.startswith("memexp.analysis")]


# --- weights ---


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (TRACE,)


@pytest.mark.parametrize("file", [record.BEST, record.LAST])
def test_a_pickle_in_a_checkpoint_is_not_executed(run_folder: Path, run_command: Callable[..., str], file: str):
    path = run_folder / file
    content = torch.load(path, weights_only=True)
    torch.save({**content, "bomb": Bomb()}, path)
    reseal(run_folder)
    torch.load(path, weights_only=False)  # it would go off
    Path(TRACE).rmdir()
    for weights in ("best", "last"):
        if (weights == "last") == (file == record.LAST):
            with pytest.raises(RecordError, match=f"{path} .*UnpicklingError.*; move it"):
                trained.load(run_folder, weights)
    for name in ("gates", "explorer", "generate of a run"):
        run_command(name)
    assert not Path(TRACE).exists()


@pytest.mark.parametrize("file", [record.BEST, record.LAST])
def test_a_checkpoint_that_explodes_is_refused(run_folder: Path, file: str):
    """torch compresses nothing, but would unpack 195 KB to 200 MB."""
    path = run_folder / file
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content + bytes(10_000_000 * name.endswith("data/0")))
    reseal(run_folder)
    with pytest.raises(RecordError, match=f"{path} is damaged .it unpacks to more than it is.; move it"):
        trained.load(run_folder, "best" if file == record.BEST else "last")


def test_a_history_that_explodes_is_refused(run_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "LARGEST", 1)
    path, packed = run_folder / record.HISTORY, run_folder / f"{record.HISTORY}.xz"
    whole = path.read_bytes()
    path.unlink()
    packed.write_bytes(lzma.compress(whole))
    assert len(read_history(run_folder)) > 1
    packed.write_bytes(lzma.compress(whole + bytes(1 << 20)))
    with pytest.raises(RecordError, match=f"^{packed} unpacks to more than 1 MB; unpack it, and move it away$"):
        read_history(run_folder)


def test_every_class_of_memexps_conf_is_registered():
    for group in ("task", "model"):
        for path in (registered.CONF_DIR / group).glob("*.yaml"):
            (target,) = {
                line.split()[1] for line in path.read_text().splitlines() if line.strip().startswith("_target_: ")
            }
            registered.check_target(target, group)
