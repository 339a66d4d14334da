"""Scores at other lengths: at its own those of the record, elsewhere those of rows worked out apart."""

import shutil
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import Command

from memexp import evaluate, face, trained
from memexp.results import record
from memexp.tasks.digit_sum import enumerate_distribution

REFERENCE = Path(__file__).parent.parent / "outputs/reference"


@pytest.fixture(scope="module")
def trained_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two models, and a run of another task."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = {"epochs": 2, "seeds": [3, 1], "n_jobs": 1, "images_dir": None, "model__hidden_size": 6}
        face.sweep(length=[4, 5], **settings)
        face.run("task=copy_memory", "model=gru", length=3, epochs=1, seeds=2, task__items=2, task__symbols=3)
    return folder


@pytest.fixture
def study(trained_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained_here, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("outputs/book")


def test_at_its_own_length_a_record_scores_what_it_says_to_the_last_digit(tmp_path: Path):
    """Trained on another machine, by the engine that gives the same bits everywhere."""
    run = face.load("book", model="srn", length=10, outputs_dir=REFERENCE, datasets_dir=tmp_path)
    table = run.evaluate()
    assert table["length"].unique().tolist() == [10]
    for column in ("dev_accuracy", "test_accuracy", "exact_accuracy", "exact_loss", "retained_bits"):
        assert table[column].tolist() == [seed[column] for seed in run.summary["seeds"]], column
    assert set(table["exact_over"]) == {run.summary["about"]["exact_over"]}


def test_at_another_length_it_scores_all_inputs_of_that_length(study: Path):
    run = face.load("book", model="lstm", length=4)
    table = run.evaluate([7, 4])
    assert table[["length", "seed"]].to_numpy().tolist() == [[7, 3], [7, 1], [4, 3], [4, 1]]
    rows = enumerate_distribution(7, 1)
    assert rows.weights is not None
    for row in table.iloc[:2].to_dict("records"):
        with torch.no_grad():
            right = run.of(row["seed"])(rows.inputs[None])[0, :, 0].argmax(-1) == rows.targets[:, 0]
        assert row["exact_accuracy"] == pytest.approx(float(right.double() @ rows.weights[:, 0]), abs=1e-12)
        assert row["exact_over"] == f"all {len(rows)} inputs"
    dev = np.array([line.split() for line in Path("datasets/7/dev.txt").read_text().splitlines()], dtype=int)
    answers = run.predict(dev[:, :-1])
    assert table["dev_accuracy"].tolist()[:2] == pytest.approx((answers == dev[:, -1]).mean(1).tolist())


def test_where_all_inputs_are_too_many_it_says_how_many_were_drawn(study: Path):
    run = face.run("model=srn", length=4, epochs=1, seeds=1, task__exact_limit=8000, study="drawn")
    assert run.evaluate([4, 5])["exact_over"].tolist() == ["all 1900 inputs", "50000 sampled rows"]


def test_a_seed_whose_loss_was_not_finite_has_no_scores(study: Path):
    run = face.run("model=srn", length=4, epochs=1, seeds=2, lr=1e38, study="stopped")
    table = run.evaluate([4, 5])
    assert table["exact_accuracy"].isna().all()
    assert table["seed"].tolist() == [0, 1, 0, 1]


def test_other_data_than_it_was_trained_on_are_refused(study: Path):
    path = Path("datasets/4/test.txt")
    first, second, *others = path.read_text().splitlines()
    path.write_text("\n".join([second, first, *others]) + "\n")
    with pytest.raises(face.RecordError, match="the data in datasets are others"):
        face.load("book", model="srn", length=4).evaluate([4])


def test_a_study_is_one_table(study: Path, in_process: Command):
    said = in_process(evaluate.main, "study=book", "lengths=4,8", "data=datasets")
    lines = said.split("\n\n")[0].splitlines()
    assert lines[1].split() == ["model", "length", "test_length", "seeds", "dev", "%", "test", "%", "exact", "%"]
    assert [line.split()[:4] for line in lines[2:10]] == [
        [model, length, tested, "2"] for model in ("lstm", "srn") for length in "45" for tested in "48"
    ]
    assert "exact is over all 1900 inputs at length 4, all 5500 inputs at length 8" in said
    assert "every run and seed: images/book/evaluate.csv" in said
    table = pd.read_csv("images/book/evaluate.csv")
    assert list(table)[:6] == ["run", "task.name", "model.name", "length", "test_length", "seed"]
    assert len(table) == 2 * 2 * 2 * 2
    for row in table.to_dict("records"):
        run = trained.load(study / row["run"])
        if row["test_length"] == row["length"]:
            assert row["exact_accuracy"] == run.record_of(row["seed"])["exact_accuracy"]
    shown = table[(table["model.name"] == "srn") & (table["length"] == 5) & (table["test_length"] == 8)]
    assert f"{100 * shown['exact_accuracy'].mean():.1f} [" in lines[9]


@pytest.mark.slow
def test_the_command_says_where_its_table_is(study: Path):
    done = forked.run("memexp.evaluate", "lengths=4", "outputs_dir=outputs", "study=book", folder=Path())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "every run and seed: images/book/evaluate.csv"


def test_one_run_is_a_table_too_and_the_task_may_be_another(study: Path, in_process: Command):
    (run,) = record.run_folders(Path("outputs/copy_memory"))
    said = in_process(evaluate.main, f"run={run}", "lengths=[3,6]")
    assert "exact sequence %" in said
    table = pd.read_csv(f"images/copy_memory/evaluate/{run.name}.csv")
    assert table[["test_length", "seed"]].to_numpy().tolist() == [[3, 0], [3, 1], [6, 0], [6, 1]]
    assert set(table["exact_over"]) == {"all 9 inputs"}


def test_where_all_inputs_are_too_many_the_exact_scores_of_the_own_length_do_not_stand_in(
    study: Path, in_process: Command
):
    few = {"items": 2, "symbols": 3, "exact_limit": 70}  # 9 inputs of 7 tokens at length 3, of 10 at length 6
    face.run(
        "task=copy_memory", "model=gru", length=3, epochs=1, seeds=2, study="few", images_dir=None,
        **{f"task__{name}": value for name, value in few.items()},
    )  # fmt: skip
    said = in_process(evaluate.main, "study=few", "lengths=6")
    assert "exact" not in said
    said = in_process(evaluate.main, "study=few", "lengths=3,6")
    assert said.strip().splitlines()[4] == "exact is over all 9 inputs at length 3"


def test_without_lengths_each_run_is_scored_as_it_was_trained(study: Path, in_process: Command):
    in_process(evaluate.main, "study=book")
    table = pd.read_csv("images/book/evaluate.csv")
    assert (table["test_length"] == table["length"]).all()
    assert len(table) == 8


def test_what_cannot_be_scored_is_named_and_the_rest_is(
    study: Path, in_process: Command, capsys: pytest.CaptureFixture[str]
):
    broken, missing, *_ = record.run_folders(study)
    (broken / record.BEST).write_bytes(b"?")
    (missing / record.SUMMARY).write_text("{")
    assert in_process(evaluate.main, "study=book", "lengths=4,2") == "1"
    said = capsys.readouterr().err
    for part in (f"{broken / record.BEST} is damaged", f"missing: book/{missing.name}", "length=2 is too small"):
        assert part in said
    table = pd.read_csv("images/book/evaluate.csv")
    assert set(table["run"]) == {run.name for run in record.run_folders(study)[2:]}
    assert set(table["test_length"]) == {4}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["study=bok"], "study 'bok' does not exist"),
        (["run=outputs/book/nothing"], "run=outputs/book/nothing: there is no such folder"),
        (["lengths=ten"], "is not a whole number"),
        (["length=10"], "unknown key 'length' (did you mean lengths?)"),
        (["study=book", "lengths=2"], "nothing could be scored"),
    ],
)
def test_a_mistake_is_one_line(study: Path, in_process: Command, given: list[str], complaint: str):
    said = in_process(evaluate.main, *given)
    assert said.startswith("memexp.evaluate: ")
    assert complaint in said
    assert "\n" not in said
    assert not Path("images").exists()


def test_in_chinese(study: Path, in_process: Command, chinese: None):
    said = in_process(evaluate.main, "study=book", "lengths=4,8", "lang=zh")
    assert "评分长度" in said
    assert "“精确值”所用的输入：长度 4 为全部 1900 个输入，长度 8 为全部 5500 个输入" in said
