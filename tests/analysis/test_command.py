import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pandas as pd
import pytest
from helpers import CommandLine, make_run, seed_row, write_history

from memexp.analysis import char_lm, common, digit_sum
from memexp.analysis import command as analysis
from memexp.errors import Complaints, ConfigError
from memexp.results import record

ALONE = ("hydra/launcher=basic",)  # in one process: starting others takes longer than these runs


def test_a_task_is_drawn_by_the_module_of_its_name_or_else_as_every_task_is():
    assert analysis.drawn_by("digit_sum") is digit_sum
    assert analysis.drawn_by("char_lm") is char_lm
    for name in ("copy", "no-name", "os.path", ""):
        assert analysis.drawn_by(name) is common


@pytest.mark.parametrize("name", ["common", "command"])
def test_a_task_with_the_name_of_another_module_is_drawn_as_every_task_is(name: str):
    assert analysis.drawn_by(name) is common


def test_a_study_that_is_named_twice_is_refused(tmp_path: Path):
    make_run(tmp_path / "book", 5)
    with pytest.raises(ConfigError, match="each study may be named once"):
        list(analysis.analyse(["book", "book"], tmp_path, tmp_path / "images", Complaints()))


@pytest.mark.slow
def test_figures_and_tables_of_a_real_sweep(memexp: CommandLine, tmp_path: Path):
    own = memexp("-m", *ALONE, "length=4,5", "epochs=2", "seeds=2")
    assert own.returncode == 0, own.stderr
    assert "figures and tables: images/book\n" in own.stdout
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "images" / "book").iterdir()}
    fresh = ("task.sampling=fresh", "study=fresh", "images_dir=null")
    assert memexp("-m", *ALONE, "length=4,5", "epochs=2", "seeds=2", *fresh).returncode == 0
    assert not (tmp_path / "images" / "fresh").exists()
    alone = forked.run("memexp.analysis", folder=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "images" / "book").iterdir()} == drawn
    for study in ("book", "fresh"):
        names = {p.name for p in (tmp_path / "images" / study).iterdir()}
        assert {"accuracy.png", "accuracy.pdf", "retained_bits.png", "updates_until.png", "reporting.png"} <= names
        assert {"results.csv", "results.md", "seeds.csv", "comparison.csv"} <= names
        assert len([n for n in names if n.startswith("loss_")]) == 4
    assert len(pd.read_csv(tmp_path / "images" / "book" / "seeds.csv")) == 8
    together = forked.run("memexp.analysis", "studies=[book,fresh]", folder=tmp_path)
    assert together.returncode == 0, together.stderr
    table = pd.read_csv(tmp_path / "images" / "book+fresh" / "results.csv")
    assert sorted(table["task.sampling"].unique()) == ["fixed", "fresh"]
    assert len(table) == 8
    comparison = pd.read_csv(tmp_path / "images" / "book+fresh" / "comparison.csv")
    assert comparison[["length", "one", "other"]].values.tolist() == [[4, "SRN", "LSTM"], [5, "SRN", "LSTM"]] * 2
    assert (comparison["low"] <= comparison["test_difference"]).all()
    wrong = forked.run("memexp.analysis", "studies=[bock]", folder=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("memexp.analysis: study 'bock' does not exist (did you mean book?)")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_can_be_drawn_is_drawn(memexp: CommandLine, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert memexp("-m", *ALONE, "length=4,5", "epochs=1", "seeds=2", "images_dir=null").returncode == 0
    study = tmp_path / "outputs" / "book"
    whole, cut, unfinished, damaged = record.run_folders(study)
    history = cut / record.HISTORY
    history.write_text(history.read_text().replace("loss,", "loss,x", 1))
    (unfinished / record.SUMMARY).unlink()
    (damaged / record.SUMMARY).write_text('{"config": 3')
    options = analysis.Options(outputs_dir=str(tmp_path / "outputs"), images_dir=str(tmp_path / "images"))
    assert analysis.analyse_all(options) == 1
    complaints = capfd.readouterr().err.splitlines()
    assert len(complaints) == 3
    assert complaints[0] == f"missing: book/{unfinished.name}: not finished"
    assert complaints[1].startswith(f"missing: book/{damaged.name}: {damaged / record.SUMMARY} is damaged (")
    assert complaints[2].startswith(f"left out of the curves: {history} is damaged (")
    assert set(pd.read_csv(tmp_path / "images" / "book" / "seeds.csv")["run"]) == {whole.name, cut.name}
    assert len(list((tmp_path / "images" / "book").glob("loss_*.png"))) == 1
    history.unlink()
    assert analysis.analyse_all(options) == 1
    assert f"left out of the curves: {history} is missing; " in capfd.readouterr().err


@pytest.mark.slow
def test_an_unwritable_images_folder_does_not_spoil_the_sweep(memexp: CommandLine, tmp_path: Path):
    (tmp_path / "images").write_text("a file")
    result = memexp("-m", *ALONE, "length=4", "model=srn", "epochs=1", "seeds=1")
    assert result.returncode == 1
    assert "cannot write images/book/.analysis: " in result.stdout
    assert "Traceback" not in result.stderr
    assert record.is_complete(tmp_path / "outputs" / "book" / "epochs=1,length=4,model=srn,seeds=1")


@pytest.mark.slow
def test_drawing_needs_no_torch():
    code = "import sys, memexp.analysis.command; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_one_run_of_one_seed_is_drawn_without_a_complaint(memexp: CommandLine, tmp_path: Path):
    result = memexp("-m", *ALONE, "length=4", "model=srn", "epochs=1", "seeds=1")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "images" / "book" / "overview.png").exists()


@pytest.mark.slow
def test_a_language_model_has_curves_and_floors_of_its_own(memexp: CommandLine, tmp_path: Path):
    task = ("task=char_lm", "model.hidden_size=8", "task.max_chars=3000", "batch_size=8")
    result = memexp("-m", *ALONE, *task, "model=srn,gru", "epochs=1", "seeds=2")
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.stem for path in (tmp_path / "images" / "char_lm").glob("*.png")} == {"bits"}
    table = pd.read_csv(tmp_path / "images" / "char_lm" / "results.csv")
    scores = {"train perplexity", "dev perplexity", "test perplexity", "test bits"}
    assert scores | {"last train perplexity", "last dev perplexity"} <= set(table)
    assert table[["model.name", "length"]].to_numpy().tolist() == [["gru", 35], ["srn", 35]]
    assert memexp("-m", *ALONE, "length=4", "model=srn", "epochs=1", "seeds=2", "images_dir=null").returncode == 0
    both = forked.run("memexp.analysis", "studies=[book,char_lm]", folder=tmp_path)
    assert (both.returncode, both.stderr) == (0, "")
    images = tmp_path / "images" / "book+char_lm"
    assert {path.name for path in images.iterdir()} == {"digit_sum", "char_lm", ".analysis"}
    assert {path.stem for path in (images / "char_lm").glob("*.png")} == {"bits"}
    assert {"accuracy", "updates_until"} <= {path.stem for path in (images / "digit_sum").glob("*.png")}
    of_texts = pd.read_csv(images / "char_lm" / "results.csv")
    pd.testing.assert_frame_equal(of_texts, table)
    assert pd.read_csv(images / "digit_sum" / "results.csv")["length"].tolist() == [4]


def test_what_the_records_no_longer_make_is_removed(tmp_path: Path):
    """A trial with other settings that is deleted leaves nothing behind; a user's own file stays."""
    outputs, images = tmp_path / "outputs", tmp_path / "images"
    make_run(outputs / "book", 5)
    trial = make_run(outputs / "book", 5, task={"_target_": "own.Copy", "name": "copy"}, shown={"test_accuracy": True})
    for folder in (outputs / "book").iterdir():
        write_history(folder, [(0, 0, "dev", "loss", 1.0), (1, 0, "dev", "loss", 0.5)])
    assert list(analysis.analyse(["book"], outputs, images, Complaints()))
    assert (images / "book" / "copy" / "scores.png").exists()
    (images / "book" / "copy" / "notes.txt").write_text("a user's")
    shutil.rmtree(trial)
    lines = list(analysis.analyse(["book"], outputs, images, Complaints()))
    removed = [line for line in lines if line.startswith("removed: ")]
    assert f"removed: {images}/book/copy/scores.png, which the records no longer make" in removed
    assert [path.name for path in (images / "book" / "copy").iterdir()] == ["notes.txt"]
    assert not (images / "book" / "digit_sum").exists()
    assert (images / "book" / "accuracy.png").exists()


def test_results_md_explains_the_comparison(tmp_path: Path):
    make_run(tmp_path / "book", 5, "srn")
    make_run(tmp_path / "book", 5, "lstm")
    list(analysis.analyse(["book"], tmp_path, tmp_path / "images", Complaints(quiet=True)))
    page = (tmp_path / "images" / "book" / "results.md").read_text()
    columns = list(pd.read_csv(tmp_path / "images" / "book" / "comparison.csv"))
    described = [name for names in digit_sum.COMPARISON for name in names.split(", ")]
    assert described == columns
    for names in digit_sum.COMPARISON:
        assert f"| {names} |" in page


def test_two_labels_that_differ_only_in_case_have_a_file_each(tmp_path: Path):
    for name, title in (("one", "Leaky"), ("two", "LEAKY")):
        folder = make_run(tmp_path / "book", 5, name, title=title)
        write_history(folder, [(0, 0, "dev", "loss", 1.0), (9, 0, "dev", "loss", 0.5)])
    list(analysis.analyse(["book"], tmp_path, tmp_path / "images", Complaints()))
    assert len(list((tmp_path / "images" / "book").glob("loss_leaky*.png"))) == 2


def test_a_study_of_which_all_seeds_have_stopped_is_drawn(tmp_path: Path):
    stopped = {**seed_row(0, None, 3), "dev_accuracy": None, "test_accuracy": None, "retained_bits": None}
    folder = make_run(tmp_path / "book", 5, seeds=[stopped])
    write_history(folder, [(0, 0, "dev", "loss", 1.0), (0, 0, "dev", "accuracy", 0.1)])
    lines = list(analysis.analyse(["book"], tmp_path, tmp_path / "images", Complaints()))
    assert f"written: {tmp_path}/images/book/accuracy.png, .pdf" in lines
    assert "*stopped*" in (tmp_path / "images" / "book" / "results.md").read_text()
