import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import CommandLine
from test_records import make_run, seed_row

from memexp.analysis import command as analysis
from memexp.errors import Complaints, RecordError
from memexp.results import record


def test_labels_name_the_model_and_what_differs(tmp_path: Path):
    for k, lr in enumerate((0.1, 0.2)):
        folder = make_run(tmp_path / str(k), 5)
        summary = record.read_json(folder / record.SUMMARY)
        summary["config"]["lr"] = lr
        target = tmp_path / "book" / f"lr={lr}"
        target.mkdir(parents=True)
        record.write_json(target / record.CONFIG, summary["config"])
        record.write_json(target / record.SUMMARY, summary)
    rows = analysis.load_study(tmp_path / "book", Complaints())
    assert sorted(set(rows["label"])) == ["LSTM, lr 0.1", "LSTM, lr 0.2"]


def test_a_study_without_a_complete_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (make_run(tmp_path / "book", 5) / record.SUMMARY).unlink()
    with pytest.raises(RecordError, match="has no complete run"):
        analysis.load_study(tmp_path / "book", Complaints())
    assert "missing: book/length=5,model=lstm: not finished" in capsys.readouterr().err


def test_models_are_in_the_books_order(tmp_path: Path):
    make_run(tmp_path / "book", 5, "lstm")
    make_run(tmp_path / "book", 5, "srn", [seed_row(0)])
    assert list(dict.fromkeys(analysis.load_study(tmp_path / "book", Complaints())["label"])) == ["SRN", "LSTM"]


def test_figures_and_tables_of_a_real_sweep(memexp: CommandLine, tmp_path: Path):
    own = memexp("-m", "length=4,5", "epochs=2", "seeds=2")
    assert own.returncode == 0, own.stderr
    assert "figures and tables: images/book\n" in own.stdout
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "images" / "book").iterdir()}
    fresh = ("task.sampling=fresh", "study=fresh", "images_dir=null")
    assert memexp("-m", "length=4,5", "epochs=2", "seeds=2", *fresh).returncode == 0
    assert not (tmp_path / "images" / "fresh").exists()
    command = [sys.executable, "-W", "error", "-m", "memexp.analysis"]
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "images" / "book").iterdir()} == drawn
    for study in ("book", "fresh"):
        names = {p.name for p in (tmp_path / "images" / study).iterdir()}
        assert {"accuracy.png", "accuracy.pdf", "retained_bits.png", "updates_until.png", "reporting.png"} <= names
        assert {"results.csv", "results.md", "seeds.csv", "comparison.csv"} <= names
        assert len([n for n in names if n.startswith("loss_")]) == 4
    assert len(pd.read_csv(tmp_path / "images" / "book" / "seeds.csv")) == 8
    together = subprocess.run([*command, "studies=[book,fresh]"], cwd=tmp_path, capture_output=True, text=True)
    assert together.returncode == 0, together.stderr
    table = pd.read_csv(tmp_path / "images" / "book+fresh" / "results.csv")
    assert sorted(table["task.sampling"].unique()) == ["fixed", "fresh"]
    assert len(table) == 8
    comparison = pd.read_csv(tmp_path / "images" / "book+fresh" / "comparison.csv")
    assert comparison[["length", "one", "other"]].values.tolist() == [[4, "SRN", "LSTM"], [5, "SRN", "LSTM"]] * 2
    assert (comparison["low"] <= comparison["test_difference"]).all()
    wrong = subprocess.run([*command, "studies=[bock]"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("memexp.analysis: study 'bock' does not exist (did you mean book?)")
    assert wrong.stderr.count("\n") == 1


def test_labels_leave_out_what_does_nothing():
    row = pd.Series(
        {
            "model.name": "lstm",
            "model.variant": "no_forget_gate",
            "model.reset_after": float("nan"),
            "clip": None,
            "clip_by": "tensor",
            "model.initial_state": "zero",
            "model.bidirectional": True,
            "model.hidden_size": (4, 5),
            "model.forget_bias": 0.0,
            "task.distractors": 0,
        }
    )
    settings = [name for name in row.index if name not in ("model.name", "clip")]
    assert analysis.label(row, settings) == "LSTM, no forget gate, bidirectional, hidden size (4, 5), distractors 0"
    assert analysis.label(pd.Series({**row, "clip": 5.0}), ["clip", "clip_by"]) == "LSTM, clip 5, tensor"


def test_gradients_after_clipping_are_drawn_only_where_they_differ():
    table = [
        (1, 0, "train", f"{what}.U", value) for what, value in (("gradient_norm", 9), ("clipped_gradient_norm", 5))
    ]
    history = pd.DataFrame([*table, (1, 0, "train", "loss", 2.0)], columns=record.HISTORY_COLUMNS)
    norms = analysis.read_gradients(history)
    assert norms[["parameter", "when", "value"]].to_numpy().tolist() == [
        ["U", "before clipping", 9],
        ["U", "after clipping", 5],
    ]
    same = history.assign(value=2.0)
    assert analysis.read_gradients(same)["when"].tolist() == ["before clipping"]
    assert analysis.read_gradients(history[history["name"] == "loss"]).empty


def test_what_can_be_drawn_is_drawn(memexp: CommandLine, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert memexp("-m", "length=4,5", "epochs=1", "seeds=2", "images_dir=null").returncode == 0
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
    assert f"left out of the curves: cannot read {history}: No such file" in capfd.readouterr().err


def test_an_unwritable_images_folder_does_not_spoil_the_sweep(memexp: CommandLine, tmp_path: Path):
    (tmp_path / "images").write_text("a file")
    result = memexp("-m", "length=4", "model=srn", "epochs=1", "seeds=1")
    assert result.returncode == 1
    assert "cannot write images/book/seeds.csv: " in result.stdout
    assert "Traceback" not in result.stderr
    assert record.is_complete(tmp_path / "outputs" / "book" / "epochs=1,length=4,model=srn,seeds=1")


def test_drawing_needs_no_torch():
    code = "import sys, memexp.analysis; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_run_of_one_seed_is_drawn_without_a_complaint(memexp: CommandLine, tmp_path: Path):
    result = memexp("-m", "length=4", "model=srn", "epochs=1", "seeds=1")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "images" / "book" / "overview.png").exists()


def test_a_language_model_has_curves_and_floors_of_its_own(memexp: CommandLine, tmp_path: Path):
    task = ("task=char_lm", "model.hidden_size=8", "task.max_chars=3000", "batch_size=8")
    result = memexp("-m", *task, "model=srn,gru", "epochs=1", "seeds=2")
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.stem for path in (tmp_path / "images" / "char_lm").glob("*.png")} == {"bits"}
    table = pd.read_csv(tmp_path / "images" / "char_lm" / "results.csv")
    scores = {"train perplexity", "dev perplexity", "test perplexity", "test bits"}
    assert scores | {"last train perplexity", "last dev perplexity"} <= set(table)
    assert "length" not in table
    assert memexp("-m", "length=4", "model=srn", "epochs=1", "seeds=2", "images_dir=null").returncode == 0
    command = [sys.executable, "-m", "memexp.analysis", "studies=[book,char_lm]"]
    both = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert both.returncode == 1
    assert both.stderr.startswith("memexp.analysis: studies=['book', 'char_lm']: these are of several tasks")
