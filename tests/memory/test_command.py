import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from helpers import Command, config_of

from memexp import experiment
from memexp.memory import command as memory
from memexp.memory import length_matrix
from memexp.results import record

MATRIX = Path("images/book/memory/length_matrix.csv")
LENGTHS = (3, 5)
QUICK = ("measures=length_matrix", "study=book")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model in ("srn", "gru"):
            settings = ("length=4", f"model={model}", "epochs=3", "lr=0.3", "seeds=3", "engine=torch")
            experiment.run(config_of(*settings), Path("outputs/book", f"length=4,model={model}"))
    return folder


@pytest.fixture
def here(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(length_matrix, "LENGTHS", LENGTHS)
    monkeypatch.setattr(length_matrix, "TOKENS", 3000)
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(in_process: Command) -> Command:
    return partial(in_process, memory.main)


def test_a_measure_is_written_with_its_figure_and_joins_the_study(here: Path, command: Command):
    said = command(*QUICK)
    assert "length_matrix: 2 runs" in said
    table = pd.read_csv(MATRIX)
    assert table["test_length"].unique().tolist() == [3, 4, 5, 6, 9, 14]  # a step beyond its own, and more
    assert len(table) == 2 * 3 * 6
    assert MATRIX.with_suffix(".png").exists()
    seeds = pd.read_csv("images/book/memory/memory_seeds.csv")
    assert seeds["own_length_accuracy"].tolist() == pytest.approx(seeds["exact_accuracy"].tolist(), abs=1e-6)
    page = Path("images/book/memory/memory.md").read_text()
    assert page.count("| srn | 4 |") == page.count("| gru | 4 |") == 1
    assert "- *own length %*: accuracy at the length that was trained on\n" in page
    agreement = pd.read_csv("images/book/memory/memory_agreement.csv").set_index(["one", "other"])
    assert agreement.loc[("exact_accuracy", "own_length_accuracy"), "overall"] == pytest.approx(1, abs=0.01)


def test_what_is_there_is_not_measured_again_unless_asked_or_gone(here: Path, command: Command):
    command(*QUICK)
    first = MATRIX.read_bytes()
    assert "length_matrix: there already; again=true measures anew" in command(*QUICK)
    assert "length_matrix: 2 runs" in command(*QUICK, "again=true")
    assert MATRIX.read_bytes() == first
    MATRIX.with_suffix(".pdf").unlink()
    assert "length_matrix: 2 runs" in command(*QUICK)
    assert MATRIX.with_suffix(".pdf").exists()


def test_a_damaged_run_leaves_the_others_unharmed(here: Path, command: Command, capsys: pytest.CaptureFixture[str]):
    best = Path("outputs/book/length=4,model=gru", record.BEST)
    best.write_bytes(best.read_bytes()[:-9])
    assert command(*QUICK) == "1"
    output = capsys.readouterr()
    assert f"length_matrix: {best} is damaged" in output.err
    assert "length_matrix: 1 run," in output.out
    assert set(pd.read_csv(MATRIX)["run"]) == {"length=4,model=srn"}
    assert command(*QUICK) == "1"  # said again: nothing is finished


def test_an_unknown_measure_is_refused_with_the_names(here: Path, command: Command):
    said = command("measures=length_matrx")
    assert said.startswith(
        "memexp.memory: measures=length_matrx: there is none of that name (did you mean length_matrix?)"
    )
    assert "length_matrix" in said


def test_a_study_of_which_nothing_can_be_measured(here: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("memexp.memory.length_matrix.LengthMatrix.why_not", lambda self, subject: "it is Monday")
    said: Callable[[], str] = partial(command, *QUICK)
    assert said() == "memexp.memory: outputs/book: nothing could be measured"


def test_figures_and_tables_in_chinese(here: Path, command: Command, chinese: None):
    assert "length_matrix: 2 runs" in command(*QUICK, "lang=zh")
    assert "训练的长度" not in MATRIX.read_text()
    assert "在一种长度上训练的网络" in Path("images/book/memory/memory.md").read_text()


def test_the_weights_after_the_last_update(here: Path, command: Command):
    command(*QUICK)
    best = pd.read_csv(MATRIX)
    command(*QUICK, "weights=last")
    assert not pd.read_csv(MATRIX).equals(best)
