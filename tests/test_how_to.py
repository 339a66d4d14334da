"""Every line of the page of wishes is done, in a folder with the runs that it speaks of."""

import re
import runpy
import shlex
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import memexp
from memexp import experiment, face, sweeps

HOME = Path(__file__).parent.parent
PAGE, CHINESE = HOME / "docs/how-to.md", HOME / "docs/zh-CN/how-to.md"


def lines(page: Path, begin: str) -> list[str]:
    """List what stands in the cells of the tables and begins so."""
    rows = re.findall(r"^\|.*\|$", page.read_text(encoding="utf-8"), re.M)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row) if code.startswith(begin)]


PYTHON, SHELL = lines(PAGE, "memexp."), lines(PAGE, "python ")


def test_both_languages_have_the_same_lines_in_the_same_order():
    for begin, english in (("memexp.", PYTHON), ("python ", SHELL)):
        assert lines(CHINESE, begin) == english
    assert len(PYTHON) > 15
    assert len(SHELL) > 20


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some runs of the book's study, weights from outside, a text, and a cell of one's own."""
    found = tmp_path_factory.mktemp("wishes")
    for model in ("srn", "lstm"):
        for length in (10, 15):
            name = f"book/length={length},model={model}"
            shutil.copytree(HOME / "outputs/reference" / name, found / "outputs" / name)
    run = memexp.load(found / "outputs/book/length=10,model=lstm")
    torch.save(run.state_dict("torch", seed=3), found / "theirs.pt")
    (found / "mine.txt").write_text("the quick brown fox jumps over the lazy dog, and so on. " * 100)
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    (found / "conf/model").mkdir(parents=True)
    (found / "mycells.py").write_text(re.findall(r"```python\n(.*?)```", readme, re.S)[0])
    (found / "conf/model/leaky_srn.yaml").write_text(re.findall(r"```yaml\n(.*?)```", readme, re.S)[0])
    return found


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, each line's own: what one line makes does not change what another finds."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def briefly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let runs be of one epoch and two seeds, in this process; return the folders of those that were trained."""
    do, trained = experiment.run, []

    def run(config: Any, run_folder: Path, *args: Any, **options: Any) -> dict[str, Any]:
        trained.append(run_folder)
        brief = {"epochs": 1, "seeds": list(config.seeds)[:2]}
        return do(OmegaConf.merge(config, brief), run_folder, *args, **options)  # type: ignore[arg-type]

    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(face, "effective_n_jobs", lambda n_jobs: 1)  # what is patched is in this process alone
    monkeypatch.setattr(sweeps, "draw", lambda *_, **__: True)
    return trained


@pytest.mark.slow
@pytest.mark.parametrize("line", PYTHON)
def test_python(line: str, briefly: list[Path]):
    if "cuda" in line and not torch.cuda.is_available():
        with pytest.raises(memexp.ConfigError, match="device=cuda"):
            eval(line, {"memexp": memexp})
    else:
        assert eval(line, {"memexp": memexp}) is not None


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in SHELL if "examples" not in line])
def test_shell(line: str, briefly: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    _, _, module, *arguments = shlex.split(line)
    if "slurm" in line:  # no job is sent from here
        arguments.insert(0, "--dry")
    elif module == "memexp" and ("-m" in arguments or "experiment=" in line) and "--dry" not in arguments:
        arguments.append("hydra/launcher=basic")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    code: Any = 0
    try:
        with warnings.catch_warnings():  # another test may have imported the command already
            warnings.filterwarnings("ignore", "'memexp.* found in sys.modules", RuntimeWarning)
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as stop:
        code = stop.code
    if "cuda" in line and not torch.cuda.is_available():
        assert "device=cuda" in str(code) + capsys.readouterr().err
    else:
        assert code in (0, None), f"{code}\n{capsys.readouterr()}"


@pytest.mark.slow
def test_optuna_finds_the_better_of_its_trials_and_goes_on(folder: Path):
    example = runpy.run_path(str(HOME / "docs/examples/optuna_search.py"))
    example["SETTINGS"].update(length=5, epochs=1, seeds=2)
    study = example["main"](2)
    assert len(study.trials) == 2
    runs = [Path("outputs/optuna", trial.user_attrs["run"]) for trial in study.trials]
    scores = [sum(seed["dev_accuracy"] for seed in memexp.load(run).summary["seeds"]) / 2 for run in runs]
    assert [trial.value for trial in study.trials] == pytest.approx(scores)
    assert study.best_value == max(scores)
    assert len(example["main"](3).trials) == 3
    assert len(memexp.results("optuna")) == 3 * 2
