"""The start of ``python -m memexp``: flags, dry runs, exit codes, and that nothing ends in a traceback."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from helpers import LEAKY_SRN, Command, CommandLine, config_of, make_run, reseal

import memexp as package
from memexp import app, arguments
from memexp.config import choices, identity
from memexp.results import record

CHECKOUT = Path(__file__).resolve().parent.parent
GOOD = "defaults: [/common/model@_here_, _self_]\n_target_: mycells.LeakySRN\nname: leaky_srn\n"


@pytest.fixture
def command(
    in_process: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run ``python -m memexp ARGUMENTS`` in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*given: str) -> str:
        said = in_process(app.main, *given)
        return capsys.readouterr().out if said == "0" else said  # Hydra's help exits by itself

    return run


def add_yaml(folder: Path, content: str | bytes) -> None:
    """Write the YAML file of a model (or, with its own package, of an experiment) below ``folder``/mine."""
    group = "experiment" if b"@package" in (content if isinstance(content, bytes) else content.encode()) else "model"
    path = folder / "mine" / group / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


# --- flags ---


def test_version_is_memexps_own(command: Command):
    first, _, rest = command("--version").partition(" (")
    assert first == f"memexp {package.__version__}"
    assert rest == f"torch {metadata.version('torch')}, Python {'.'.join(map(str, sys.version_info[:3]))})\n"
    assert command("--version", "length=3").startswith("memexp ")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("--config-dir /nope", "--config-dir=/nope is no folder; give the one that holds model/ or task/"),
        ("-cd /nope", "--config-dir=/nope is no folder"),
        ("--config-dir=", "--config-dir= is no folder"),
        ("-cd=.", "give --config-dir=FOLDER once"),
        ("--config-dir . --config-dir ..", "give --config-dir=FOLDER once"),
        ("--config-name=other", "there is no other.yaml, neither in memexp's conf/ nor in your --config-dir"),
        ("--config-path=conf", "--config-path would hide memexp's own conf/; --config-dir=FOLDER adds your folder"),
        ("-m --cfg job", "-m and --cfg do not go together; give one of them; python -m memexp -m --dry lists"),
        ("--cfg job --info", "--cfg and --info do not go together; give one of them"),
        ("--cfg job --dry", "--cfg and --dry do not go together"),
        ("-r -m", "--run and -m do not go together"),
        ("--cfg nothing", "invalid choice: 'nothing'"),
        ("--cfg hydra --resolve", "--cfg all --resolve shows both"),
        ("--resolve length=4", "--resolve does nothing without --cfg"),
        ("--package task", "--package does nothing without --cfg"),
        ("--info nothing", "invalid choice: 'nothing'"),
        ("--help lenght=4", "unknown key 'lenght' (did you mean length?)"),
        ("--hydra-help lenght=4", "unknown key 'lenght'"),
        ("--shell-completion", "--shell-completion needs one of install=bash"),
        ("-sc install=basic", "--shell-completion needs one of install=bash"),
        ("--experimental-rerun x", "the same command again goes on from the last checkpoint"),
        ("-m hydra.mode=RUN", "-m starts a sweep, and hydra.mode=RUN a single run"),
        ("--dry -m hydra/sweeper=basic length=4", "--dry asks memexp's sweeper, which hydra/sweeper=... replaces"),
    ],
)
def test_a_flag_that_cannot_be_is_one_line_and_leaves_nothing(
    command: Command, tmp_path: Path, given: str, complaint: str
):
    said = command(*given.split())
    assert said.startswith("memexp: ")
    assert complaint in said
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("--cfg job experiment=fresh", "study: fresh\n"),
        ("--cfg hydra", "launcher:\n"),
        ("--cfg all --resolve length=7", "dir: outputs/book/length=7,model=lstm\n"),
        ("--cfg job --package task", "# @package task\n"),
        ("--info defaults-tree", "task: digit_sum"),
        ("--hydra-help", "--config-dir"),
        ("-sc install=bash", "hydra_bash_completion()"),
    ],
)
def test_hydras_flags_show_and_write_nothing(command: Command, tmp_path: Path, given: str, shown: str):
    assert shown in command(*given.split())
    assert not list(tmp_path.iterdir())


# --- sweeps that are none ---


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("length=range(35,10)", "length=range(35,10) stands for no value: a range ends before its second number"),
        ("length=range(10,35,-5)", "length=range(10,35,-5) stands for no value"),
        ("length=range(5,5)", "length=range(5,5) stands for no value"),
        ("lr=range(0.5,0.1,0.1)", "lr=range(0.5,0.1,0.1) stands for no value"),
        ("length=range(1,10,0)", "a range whose step is 0 does not end"),
        ("lr=range(0.1,0.5,0)", "a range whose step is 0 does not end"),
        ("length=choice()", "cannot read 'length=choice()'; empty choice is not legal"),
        ("lr=interval(0.1,0.2)", "lr=interval(0.1,0.2): a sweep needs values, not an interval"),
        ("model=glob(x*)", "model=glob(x*) matches nothing; there are: diagonal, gru, "),
        ("lr=glob(*)", "lr=glob(*): glob() chooses among names: of task, model or experiment"),
        ("hydra.launcher.n_jobs=1,2", "hydra.launcher.n_jobs=1,2: Hydra's own settings cannot be swept over"),
        ("hydra/launcher=basic,joblib", "hydra/launcher=basic,joblib: Hydra's own settings cannot be swept over"),
        ("task=adding,copy_memory task.train_rows=32", "is given as key=choice(value)"),
        ("model=srn,lstm lr=fast", "memexp: lr=fast is not a number"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line_and_leaves_nothing(
    command: Command, tmp_path: Path, given: str, complaint: str
):
    said = command("-m", *given.split())
    assert complaint in said
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ("params: {model: choice()}", "cannot read 'model=choice()'; empty choice is not legal"),
        ("params: {length: 'range(35,10)'}", "length=range(35,10) stands for no value"),
        ("params: {length: '[4,'}", "cannot read 'length=[4,'"),
        ("grids: [3]", "in experiment/own.yaml: "),
    ],
)
def test_an_experiment_whose_sweep_cannot_be_is_one_line(command: Command, tmp_path: Path, params: str, complaint: str):
    add_yaml(tmp_path, f"# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    {params}\n")
    said = command("--config-dir", "mine", "experiment=own")
    assert complaint in said
    assert "\n" not in said
    assert not (tmp_path / "outputs").exists()


# --- YAML files of the user's ---


@pytest.mark.parametrize("sweep", [(), ("-m",)])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD + "name: other\n", "own.yaml, line 4: found duplicate key name; mend the YAML there"),
        (GOOD.replace("_self_]", "_self_"), "own.yaml, line 2: expected ',' or ']', but got ':'"),
        (GOOD.replace("name", "\tname"), "own.yaml, line 3: found character '\\t' that cannot start any token"),
        ("name: Zürich\n".encode("latin-1"), "own.yaml is not UTF-8; save it as UTF-8"),
        (GOOD.replace("common/model", "common/modell"), "in model/own.yaml: there is no common/modell.yaml"),
        ("# @package _global_\nlenght: 3\n", "in experiment/own.yaml: unknown key 'lenght'"),
        ("# @package _global_\nlength: x\n", "in experiment/own.yaml: length=x is not a whole number"),
        (
            "# @package _global_\ndefaults: [override /task: addding]\n",
            "memexp: task=addding is unknown (did you mean adding?); allowed: adding, ",
        ),
        ("# @package _global_\ndefaults: [override /tusk: adding]\n", "Could not override 'tusk'"),
    ],
)
def test_a_yaml_file_that_cannot_be_read_is_named_in_one_line(
    command: Command, tmp_path: Path, sweep: tuple[str, ...], content: str | bytes, complaint: str
):
    add_yaml(tmp_path, content)
    group = "model" if (tmp_path / "mine" / "model").exists() else "experiment"
    said = command("--config-dir", "mine", *sweep, f"{group}=own")
    assert complaint in said
    assert "\n" not in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD.replace("_target_: mycells.LeakySRN\n", ""), "model._target_ has no value: its YAML file lacks it"),
        (GOOD.replace("name: leaky_srn\n", ""), "model.name has no value: its YAML file lacks it"),
        ("- a\n- b\n", "model is a list, not settings; mend its YAML file"),
        ("", "model._target_ has no value: its YAML file lacks it"),
    ],
)
def test_what_a_yaml_file_of_a_model_lacks_is_said(command: Command, tmp_path: Path, content: str, complaint: str):
    add_yaml(tmp_path, content)
    assert command("--config-dir", "mine", "model=own") == f"memexp: {complaint}"


def test_a_folder_of_yaml_files_may_have_any_name(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / '张三\'s, (my) "work" [1] ${x}'
    add_yaml(folder, GOOD)
    (folder / "mycells.py").write_text(LEAKY_SRN)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert "new  outputs/book/length=4,model=own\n" in command("--config-dir", "mine", "model=own", "length=4", "--dry")


# --- dry runs ---


def test_a_dry_run_lists_each_run_with_its_state_and_writes_nothing(command: Command, tmp_path: Path):
    study = tmp_path / "outputs" / "book"
    complete = make_run(study, 5)
    record.write_json(complete / record.CONFIG, identity(config_of("length=5", "model=lstm")))
    reseal(complete)
    (study / "length=8,model=lstm").mkdir()
    (study / "length=8,model=lstm" / "failure.txt").write_text("it was killed\n")
    begun = study / "length=6,model=lstm"
    begun.mkdir()
    (begun / "failure.txt").write_text("the disk is full\n")
    (begun / "progress").write_text("0.3712\n")
    before = sorted(tmp_path.rglob("*"))
    assert command("-m", "model=lstm", "length=5,6,7,8", "--dry") == (
        "complete         outputs/book/length=5,model=lstm\n"
        "unfinished 37 %  outputs/book/length=6,model=lstm: failed last time: the disk is full\n"
        "new              outputs/book/length=7,model=lstm\n"
        "unfinished       outputs/book/length=8,model=lstm: failed last time: it was killed\n"
        "\n4 runs: 1 complete, 2 unfinished, 1 new; nothing was started\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_what_cannot_be_says_why_and_exits_with_1(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command("-m", "--dry", "length=4,2", "model=srn") == "1"
    assert capsys.readouterr().out == (
        "new         outputs/book/length=4,model=srn\n"
        "impossible  length=2,model=srn: length=2 is too small; it must be at least 3\n"
        "\n2 runs: 1 new, 1 impossible; nothing was started\n"
    )
    assert command("--dry", "length=2") == "memexp: length=2 is too small; it must be at least 3"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "runs", "last"),
    [
        ("length=4 hydra.run.dir=there", 1, "there"),
        ("experiment=fresh", 12, "outputs/fresh/length=35,model=lstm"),
        ("experiment=fresh hydra.mode=RUN length=4", 1, "outputs/fresh/length=4,model=lstm"),
        ("-m model=glob(*) length=4", len(choices("model")), "outputs/book/length=4,model=srn"),
        ("-m model=glob(*,exclude=srn) length=4", len(choices("model")) - 1, "outputs/book/length=4,model=slstm"),
        ("-m task=glob(ad*) model=srn", 1, "outputs/adding/length=50,model=srn,task=adding"),
        ("-m experiment=glob([f*,b*]) model=srn", 2, "outputs/fresh/length=10,model=srn"),
        ("-m model=srn length=sort(6,4,5)", 3, "outputs/book/length=6,model=srn"),
        ("-m model=srn length=tag(a,choice(4,5))", 2, "outputs/book/length=5,model=srn"),
        ("-m model=srn length=4 length=5,6", 2, "outputs/book/length=6,model=srn"),
        ("-m model=srn +hydra.sweeper.params.length='4,5'", 2, "outputs/book/length=5,model=srn"),
        ("-m model=srn length=4 hydra.sweep.dir=there hydra.sweep.subdir=${length}", 1, "there/4"),
        ("-m task=adding,copy_memory model=srn task.train_rows=choice(32)", 2,
         "outputs/copy_memory/length=20,model=srn,task=copy_memory,task.train_rows=32"),
        ("+hydra.job.env_set.A=1 length=4", 1, "outputs/book/length=4,model=lstm"),
    ],
)  # fmt: skip
def test_a_dry_run_reads_hydras_grammar(command: Command, tmp_path: Path, given: str, runs: int, last: str):
    *lines, _, total = command("--dry", *given.split()).splitlines()
    assert len(lines) == runs
    assert lines[-1] == f"new  {last}"
    assert total.startswith(f"{runs} run{'s' if runs > 1 else ''}: {runs} new; ")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_the_runs_number_would_name_is_refused(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """The number of a run changes with what is complete already: the folder would be another run's."""
    assert command("-m", "--dry", "length=4", "model=srn", "hydra.sweep.subdir=${hydra.job.num}") == "1"
    assert "name it after settings, as hydra.sweep.subdir=${length}" in capsys.readouterr().out


# --- what ends early ---


def test_ctrl_c_while_the_settings_are_composed_says_how_to_go_on(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(arguments, "compose_run", interrupted)
    assert command("length=4") == "130"
    assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"


def test_a_file_where_the_folder_should_be_is_named(command: Command, tmp_path: Path):
    (tmp_path / "afile").touch()
    assert command("length=4", "hydra.run.dir=afile") == (
        "memexp: cannot use afile: File exists; mend that, and try again"
    )


@pytest.mark.slow
def test_whoever_reads_a_list_may_go(tmp_path: Path):
    command = f"{sys.executable} -m memexp --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (0, 1)
    assert done.stderr == ""


@pytest.mark.slow
def test_hydras_own_sweeper_names_the_runs_that_failed(memexp: CommandLine, tmp_path: Path):
    tiny = ("epochs=1", "seeds=1", "model=srn", "hydra/launcher=basic", "hydra/sweeper=basic", "hydra.job.name=memexp")
    done = memexp("-m", *tiny, "length=2,4,1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for length in (2, 1):
        assert f"memexp: epochs=1,length={length},model=srn,seeds=1: length={length} is too small" in done.stderr
    assert done.stderr.endswith("memexp: not every run is complete; the reasons are above\n")
    assert (tmp_path / "outputs" / "book" / "epochs=1,length=4,model=srn,seeds=1" / "summary.json").exists()
    assert memexp("-m", *tiny, "length=4").returncode == 0


@pytest.mark.slow
def test_the_script_finds_a_cell_of_the_users_in_every_process(tmp_path: Path):
    """As ``python -m memexp`` does. Without -P Python would look where the user is by itself, which no script does."""
    add_yaml(tmp_path, GOOD)
    (tmp_path / "mycells.py").write_text(LEAKY_SRN)
    tiny = ("length=4,5", "epochs=1", "seeds=1", "images_dir=null")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from memexp.app import main; main()",
         "--config-dir", "mine", "-m", "model=own", *tiny],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "outputs" / "book").glob("*/summary.json"))) == 2
