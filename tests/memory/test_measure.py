from pathlib import Path

import pytest
import torch
from helpers import config_of

from memexp import experiment
from memexp.errors import Complaints, ConfigError, RecordError
from memexp.memory.measure import MOMENTS, Measure, Subjects, all_measures, chosen
from memexp.results.study import find_study, load_study
from memexp.trained import load


def test_every_measure_is_found_and_says_what_it_is():
    there = all_measures()
    files = Path("memexp/memory").glob("*.py")
    assert set(there) == {path.stem for path in files if "(Measure):" in path.read_text(encoding="utf-8")}
    for name, measure in there.items():
        assert (measure.name, measure.question[-1]) == (name, "?")
        assert measure.scores
        assert "Cost:" in str(measure.__doc__), name
        assert Path(f"tests/memory/test_{name}.py").exists()
        for page in ("docs/measures.md", "docs/zh-CN/measures.md"):
            section = Path(page).read_text(encoding="utf-8").split(f"\n`{name}`\n")[1].split("\n## ")[0]
            assert section.strip(), f"{page} says nothing of {name}"


def test_measures_are_chosen_by_name():
    assert chosen(["length_matrix", "length_matrix"]) == {"length_matrix"}
    assert chosen(None) == all_measures().keys()
    with pytest.raises(ConfigError, match="did you mean length_matrix"):
        chosen(["lengthmatrix"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        config = config_of("length=4", "model=gru", "epochs=3", "lr=0.01", "seeds=[3,5]", "engine=torch")
        experiment.run(config, Path("outputs/book/run"))
    return home


def test_a_subject_answers_as_its_model_does(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    subject = Subjects(Path("outputs/book"))["run"]
    inputs = subject.task.distribution().inputs[:300]
    with torch.no_grad():
        torch.testing.assert_close(subject.answers(inputs), subject.after(inputs[None]))
    assert subject.answers(inputs).shape == (2, 300, 1, 19)
    scored = subject.runner.evaluate(subject.task.distribution())["accuracy"].tolist()
    assert scored == pytest.approx([seed["exact_accuracy"] for seed in subject.run.summary["seeds"]])


def test_a_subject_knows_its_model_before_training(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    subject = Subjects(Path("outputs/book"))["run"]
    for k, seed in enumerate(subject.seeds):
        alone = subject.run.untrained(seed)
        for ours, theirs in zip(subject.before.parameters(), alone.parameters(), strict=True):
            assert torch.equal(ours[k], theirs[0])
    assert not torch.equal(subject.before.head_bias, subject.after.head_bias)


def test_a_subject_has_a_model_for_each_moment_of_which_there_are_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    subject = Subjects(Path("outputs/book"))["run"]
    moments = subject.moments
    assert list(moments) == ["before", "after", "last"] == list(MOMENTS)
    last = load(Path("outputs/book/run"), "last").model.state_dict()
    for name, weights in moments["last"].state_dict().items():
        assert torch.equal(weights, last[name])
    path = Path("outputs/book/run/last.pt")
    path.rename(tmp_path / "last.pt")
    try:
        assert list(subject.moments) == ["before", "after"]
    finally:
        (tmp_path / "last.pt").rename(path)


def test_rows_are_drawn_by_their_probability_and_always_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    subject = Subjects(Path("outputs/book"))["run"]
    rows = subject.sample(3000)
    assert torch.equal(rows.inputs, subject.sample(3000).inputs)
    assert rows.inputs.shape == (3000, 4)
    assert torch.equal(rows.targets[:, 0], rows.inputs[:, :2].sum(1))
    without = (rows.inputs[:, 2:] == 0).all(1).double().mean()  # one row of nineteen, with a probability of 0.1
    assert without == pytest.approx(0.1, abs=0.02)


def test_a_run_without_weights_is_an_error_of_its_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    study = load_study(find_study(Path("outputs"), "book"), Complaints())
    best = Path("outputs/book/run/best.pt")
    content = best.read_bytes()
    best.unlink()
    try:
        measure: Measure = all_measures()["length_matrix"]
        ((run, got),) = measure.of_study(study, Subjects(Path("outputs/book")))
    finally:
        best.write_bytes(content)
    assert run == "run"
    assert isinstance(got, RecordError)
    assert "came without weights" in str(got) or "is missing" in str(got)
