from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import make_run, seed_row, write_history

from memexp.errors import Complaints, ConfigError, RecordError
from memexp.results import record, tables
from memexp.results.identity import identity_of
from memexp.results.study import (
    Study,
    against,
    find_study,
    join,
    label,
    load_study,
    once,
    read_histories,
    read_right,
    swept,
)  # fmt: skip


def load(folder: Path) -> Study:
    """Load a study of which nothing is missing."""
    complaints = Complaints()
    study = load_study(folder, complaints)
    assert complaints.count == 0
    return study


def make_run_with(study: Path, **settings: object) -> Path:
    """Write the record of a run of length 5 whose config says something else, or more, at its top."""
    folder = make_run(study / "elsewhere", 5)
    summary = record.read_json(folder / record.SUMMARY)
    summary["config"] |= settings
    target = study / ",".join(f"{key}={value}" for key, value in settings.items())
    folder.rename(target)
    (study / "elsewhere").rmdir()
    for row, seed in zip(summary["seeds"], summary["config"]["seeds"], strict=True):
        row["seed"] = seed
    record.write_json(target / record.CONFIG, identity_of(summary["config"]))
    record.write_summary(target, summary)
    return target


def make_copy(study: Path, delay: int, model: str = "srn", **summary: object) -> Path:
    """Write the record of a run of a task that memexp does not know, with scores and floors of its own."""
    task = {"_target_": "own.Copy", "name": "copy", "delay": delay, "sampling": "fresh"}
    seeds = [{"seed": k, "diverged_at": None, "dev_error": 0.3, "test_error": 0.25, "test_loss": 2.0} for k in (0, 1)]
    told = {
        "about": {"alphabet": "a" * delay},
        "floors": {"error": {"silence": 0.5 * delay}, "mean_error": {"noise": 9.0}},
        "shown": {"test_error": False},
    }
    return make_run(study, 10 * delay, model, seeds, task, **{**told, **summary})


def test_an_unknown_study_is_named_with_the_nearest(tmp_path: Path):
    make_run(tmp_path / "book", 5)
    make_run(tmp_path / "fresh", 5)
    assert find_study(tmp_path, "fresh") == tmp_path / "fresh"
    with pytest.raises(
        ConfigError, match=r"study 'frech' does not exist \(did you mean fresh\?\); there are: book, fresh"
    ):
        find_study(tmp_path, "frech")
    with pytest.raises(ConfigError, match="has no study yet"):
        find_study(tmp_path / "nothing", "book")


# --- what is in one ---


def test_labels_name_the_model_and_what_differs(tmp_path: Path):
    for lr in (0.1, 0.2):
        make_run_with(tmp_path / "book", lr=lr)
    study = load(tmp_path / "book")
    assert sorted(set(study.rows["label"])) == ["LSTM, lr 0.1", "LSTM, lr 0.2"]
    assert set(study.rows["study"]) == {"book"}


def test_a_label_begins_with_the_title_in_the_record(tmp_path: Path):
    """Whatever the name of the model is; the record's title is the cell's."""
    make_run(tmp_path / "book", 5, "lstm", title="Long short-term memory")
    assert set(load(tmp_path / "book").rows["label"]) == {"Long short-term memory"}


def test_a_study_without_a_complete_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (make_run(tmp_path / "book", 5) / record.SUMMARY).unlink()
    with pytest.raises(RecordError, match="has no complete run"):
        load_study(tmp_path / "book", Complaints())
    assert "missing: book/length=5,model=lstm: not finished" in capsys.readouterr().err


def test_models_are_in_the_books_order(tmp_path: Path):
    make_run(tmp_path / "book", 5, "lstm")
    make_run(tmp_path / "book", 5, "srn", [seed_row(0)])
    assert list(dict.fromkeys(load(tmp_path / "book").rows["label"])) == ["SRN", "LSTM"]


def test_labels_leave_out_what_does_nothing():
    row = pd.Series(
        {
            "title": "LSTM",
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
    settings = [name for name in row.index if name not in ("title", "model.name", "clip")]
    assert label(row, settings) == "LSTM, no forget gate, bidirectional, hidden size (4, 5), distractors 0"
    assert label(pd.Series({**row, "clip": 5.0}), ["clip", "clip_by"]) == "LSTM, clip 5, tensor"


def test_a_seed_of_two_runs_of_the_same_setting_counts_once(tmp_path: Path):
    for k in (0, 1):
        make_run_with(tmp_path / "book", seeds=[0, 1][:: 1 - 2 * k])
    study = load(tmp_path / "book")
    assert len(study.rows) == 2
    assert len(once(pd.concat([study.rows, study.rows]), study.settings)) == 2


def test_a_setting_without_a_value_is_another_than_one_with(tmp_path: Path):
    """Not clipped is another setting than clipped, so that neither run is left out as the other once more."""
    for clip in (None, 5.0):
        make_run_with(tmp_path / "book", clip=clip)
    assert sorted(load(tmp_path / "book").rows["label"]) == ["LSTM", "LSTM", "LSTM, clip 5", "LSTM, clip 5"]


def test_a_setting_that_one_model_alone_has_does_not_differ(tmp_path: Path):
    make_run(tmp_path / "book", 5, "srn")
    run = make_run(tmp_path / "book", 5, "lstm")
    summary = record.read_json(run / record.SUMMARY)
    summary["config"]["model"]["variant"] = "peephole"
    record.write_json(run / record.SUMMARY, summary)
    study = load(tmp_path / "book")
    assert list(dict.fromkeys(study.rows["label"])) == ["SRN", "LSTM"]
    assert tables.varied(study.rows, study.settings) == ["model.name", "length"]


def test_runs_of_each_task_are_labelled_by_what_differs_among_them(tmp_path: Path):
    """What a task has beside is no setting: its records may say something else of each length."""
    make_run(tmp_path / "both", 5)
    for delay in (1, 2):
        make_copy(tmp_path / "both", delay)
    rows = load(tmp_path / "both").rows
    assert dict(zip(rows["run"], rows["label"], strict=True)) == {
        "length=10,model=srn,task=copy": "SRN, delay 1",
        "length=20,model=srn,task=copy": "SRN, delay 2",
        "length=5,model=lstm": "LSTM",
    }


def test_labels_leave_out_the_settings_that_their_task_has_panels_for(tmp_path: Path):
    """Those of digit sums leave out how rows were drawn; those of a task that has no such panels name it."""
    for name, panels in (("plain", []), ("apart", ["task.sampling"])):
        for sampling in ("fixed", "fresh"):
            task = {"_target_": "own.Task", "name": name, "sampling": sampling}
            run = make_run(tmp_path / "both", 5, task=task, panels=panels)
            run.rename(run.with_name(f"{run.name},{sampling}"))
    rows = load(tmp_path / "both").rows
    labels = rows.groupby(["task.name", "task.sampling"])["label"].unique().map(list).to_dict()
    assert labels == {
        ("plain", "fixed"): ["LSTM, fixed"],
        ("plain", "fresh"): ["LSTM, fresh"],
        ("apart", "fixed"): ["LSTM"],
        ("apart", "fresh"): ["LSTM"],
    }


def test_the_runs_of_one_task_have_its_settings_and_scores_alone(tmp_path: Path):
    make_run(tmp_path / "both", 5)
    for delay in (1, 2):
        make_copy(tmp_path / "both", delay)
    study = load(tmp_path / "both")
    own, sums = study.of_task("copy"), study.of_task("digit_sum")
    assert (own.shown, len(own.rows)) == ({"test_error": False}, 4)
    assert own.settings == [
        "length",
        "task.name",
        "task.sampling",
        "model.name",
        "model.hidden_size",
        "lr",
        "clip",
        "task.delay",
    ]
    assert not {"exact_accuracy", "chance_accuracy"} & set(own.rows)
    assert (list(sums.shown), len(sums.rows)) == (["dev_accuracy", "test_accuracy", "exact_accuracy"], 2)
    assert "task.delay" not in sums.settings
    assert not {"test_error", "alphabet", "task.delay"} & set(sums.rows)


# --- floors ---


def test_floors_are_those_of_a_run_and_of_a_scores_metric(tmp_path: Path):
    for name in ("one", "other"):
        for delay in (1, 2):
            make_copy(tmp_path / name, delay, floors={"error": {"silence": delay + 10.0 * (name == "other")}})
    study = join([load(tmp_path / name) for name in ("one", "other")])
    runs = [f"length={length},model=srn,task=copy" for length in (10, 20)]
    found = {(name, run): study.floors_of(name, run, "error") for name in ("one", "other") for run in runs}
    assert [*found.values()] == [{"silence": 1}, {"silence": 2}, {"silence": 11}, {"silence": 12}]
    assert study.floors_of("one", runs[0], "loss") == {}
    assert study.floors_of_score("last_dev_error") == {}  # not the same in all runs, so no line for them all
    alone = study.only(study.rows[(study.rows["study"] == "other") & (study.rows["run"] == runs[1])])
    assert alone.floors_of_score("last_dev_error") == {"silence": 12}
    assert alone.floors_of_score("test_loss") == {}


def test_the_floors_of_the_longest_name_are_a_scores(tmp_path: Path):
    """``test_mean_error`` is the mean error on test, and no error on "test_mean"."""
    make_copy(tmp_path / "copies", 1)
    study = load(tmp_path / "copies")
    assert study.floors_of_score("test_mean_error") == {"noise": 9}
    assert study.floors_of_score("test_error") == {"silence": 0.5}


# --- several ---


def test_joined_studies_have_the_settings_scores_and_floors_of_all(tmp_path: Path):
    make_run(tmp_path / "sums", 5)
    make_copy(tmp_path / "copies", 1)
    study = join([load(tmp_path / name) for name in ("sums", "copies")])
    assert study.rows["study"].tolist() == ["sums"] * 2 + ["copies"] * 2
    assert study.rows.index.tolist() == [0, 1, 2, 3]
    assert study.settings == [
        "length", "task.name", "task.sampling", "model.name", "model.hidden_size", "lr", "clip", "task.delay",
    ]  # fmt: skip
    assert [*study.shown] == ["dev_accuracy", "test_accuracy", "exact_accuracy", "test_error"]
    assert study.floors[["study", "metric", "name", "value"]].to_numpy().tolist() == [
        ["sums", "accuracy", "always the likeliest answer", 0.1],
        ["sums", "loss", "knowing nothing", 2.5],
        ["copies", "error", "silence", 0.5],
        ["copies", "mean_error", "noise", 9.0],
    ]


# --- histories and right answers ---


def test_histories_that_cannot_be_read_are_complained_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole, damaged, _ = (make_run(tmp_path / "book", length) for length in (5, 10, 15))
    write_history(whole, [(0, 0, "dev", "loss", 1.5)])
    write_history(damaged, [(0, 0, "dev", "loss", "x")])
    histories = read_histories(load(tmp_path / "book").rows, tmp_path, Complaints())
    assert {key: table["value"].tolist() for key, table in histories.items()} == {("book", whole.name): [1.5]}
    assert capsys.readouterr().err.count("left out of the curves: ") == 2


def test_right_answers_are_those_of_the_rows(tmp_path: Path):
    make_run(tmp_path / "book", 5, test_right={"0": "0110", "1": "1111"})
    rows = load(tmp_path / "book").rows
    assert read_right(tmp_path, rows).tolist() == [[0, 1, 1, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(read_right(tmp_path, rows[rows["seed"] == 1]), [[1, 1, 1, 1]])


# --- order, and what scores are drawn against ---


def labels_of(study: Study) -> list[str]:
    return list(dict.fromkeys(study.rows["label"]))


def test_labels_are_in_the_order_of_numbers(tmp_path: Path):
    for lr in (0.01, 0.001, 5.0, 10.0):
        make_run_with(tmp_path / "book", lr=lr)
    assert labels_of(load(tmp_path / "book")) == [f"LSTM, lr {lr}" for lr in ("0.001", "0.01", "5", "10")]


def test_the_plain_one_is_before_those_with_something_to_say(tmp_path: Path):
    for clip in (5.0, None, 0.5):
        make_run_with(tmp_path / "book", clip=clip)
    assert labels_of(load(tmp_path / "book")) == ["LSTM", "LSTM, clip 0.5", "LSTM, clip 5"]


def test_of_a_single_length_scores_are_drawn_against_the_number_that_was_swept(tmp_path: Path):
    for lr in (0.01, 0.001):
        make_run_with(tmp_path / "book", lr=lr)
    rows, axis = against(load(tmp_path / "book").rows)
    assert axis == "lr"
    assert set(rows["label"]) == {"LSTM"}
    assert rows["lr"].tolist() == [0.001, 0.001, 0.01, 0.01]


def test_length_is_the_axis_where_there_are_several_or_nothing_else_is_a_number(tmp_path: Path):
    for length, lr in ((5, 0.1), (6, 0.2)):
        summary = record.read_json((folder := make_run(tmp_path / "book", length)) / record.SUMMARY)
        summary["config"]["lr"] = lr
        record.write_json(folder / record.SUMMARY, summary)
    for clip in (5.0, None, 0.5):  # null is no number
        make_run_with(tmp_path / "clipped", clip=clip)
    for seed in (1, 2):  # and of some numbers one more or less means nothing
        folder = make_run(tmp_path / "data" / str(seed), 5)
        summary = record.read_json(folder / record.SUMMARY)
        summary["config"]["task"]["data_seed"] = seed
        record.write_json(folder / record.SUMMARY, summary)
        folder.rename(tmp_path / "data" / f"length=5,data_seed={seed}")
    for name in ("book", "clipped", "data"):
        rows, axis = against(load(tmp_path / name).rows)
        assert axis == "length"
        assert len(set(rows["label"])) > 1


def test_a_number_that_some_models_do_not_have_can_be_the_axis():
    table = [("leaky", 0.1), ("leaky", 0.5), ("srn", np.nan)]
    rows = pd.DataFrame(table, columns=["model.name", "model.leak"]).assign(length=5)
    assert swept(rows, ["model.leak"]) == "model.leak"
    assert swept(rows[rows["model.leak"] != 0.5], ["model.leak"]) == "length"


def test_two_models_of_one_title_are_told_apart(tmp_path: Path):
    make_run(tmp_path / "book", 5, "srn", title="SRN")
    make_run(tmp_path / "book", 5, "my_srn", title="SRN")
    assert labels_of(load(tmp_path / "book")) == ["SRN (srn)", "SRN (my_srn)"]
