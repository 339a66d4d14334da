from pathlib import Path

from helpers import make_run, seed_row

from memexp.results import record
from memexp.results.collect import collect


def test_collect_makes_a_row_for_each_run_and_seed(tmp_path: Path):
    make_run(tmp_path, 5)
    make_run(tmp_path, 10, "srn", [seed_row(4, None, diverged_at=7)])
    found = collect(record.run_folders(tmp_path))
    table = found.rows
    assert found.missing == []
    assert table[["length", "model.name", "seed", "lr", "task.sampling"]].values.tolist() == [
        [5, "lstm", 0, 0.1, "fixed"],
        [5, "lstm", 1, 0.1, "fixed"],
        [10, "srn", 4, 0.1, "fixed"],
    ]
    assert table["exact_accuracy"].tolist()[:2] == [0.5, 0.7]
    assert table["exact_accuracy"].isna().tolist() == [False, False, True]
    assert table["run"].tolist()[2] == "length=10,model=srn"


def test_collect_lists_what_is_missing_with_the_reason(tmp_path: Path):
    make_run(tmp_path, 5)
    (make_run(tmp_path, 10) / record.SUMMARY).unlink()
    failed = make_run(tmp_path, 15)
    (failed / record.SUMMARY).unlink()
    (failed / record.FAILURE).write_text("the disk is full\n")
    (make_run(tmp_path, 20) / record.SUMMARY).write_text("{")
    (make_run(tmp_path, 25) / record.SUMMARY).write_text('{"seeds": 3}')
    (make_run(tmp_path, 30) / record.SUMMARY).write_text('{"seeds": 3, "format": 2}')
    found = collect(record.run_folders(tmp_path))
    missing = found.missing
    assert found.rows["length"].tolist() == [5, 5]
    assert [line.split(": ")[0] for line in missing] == [f"length={n},model=lstm" for n in (10, 15, 20, 25, 30)]
    assert missing[0].endswith(": not finished")
    assert missing[1].endswith(": the disk is full")
    assert "summary.json is damaged" in missing[2]
    assert "was written by memexp 0.1; carry it over with: python -m memexp.migrate " in missing[3]
    assert "summary.json is damaged (memexp is missing)" in missing[4]


def test_a_record_says_what_later_settings_are_in_older_ones_of_its_task(tmp_path: Path):
    task = {"_target_": "own.Copy", "name": "copy"}
    seeds = [{"seed": 0, "diverged_at": None}]
    make_run(tmp_path, 5, task=task, seeds=seeds)
    make_run(
        tmp_path, 6, task={**task, "mode": "b", "limit": 3}, seeds=seeds, later={"task.mode": "a", "task.limit": None}
    )
    make_run(tmp_path, 7)
    found = collect(record.run_folders(tmp_path))
    assert {"task.mode", "task.limit"} <= set(found.settings)
    rows = found.rows.set_index("length")
    assert rows["task.mode"].dropna().to_dict() == {5: "a", 6: "b"}
    assert (rows["task.limit"][5], rows["task.limit"][6]) == (None, 3)


def test_collected_says_what_its_columns_are(tmp_path: Path):
    """A setting is what stands in a config and may make a run another one; a score is shown if its task says so."""
    make_run(tmp_path, 5)
    own = {"_target_": "own.Copy", "name": "copy", "delay": 3}
    seeds = [{"seed": 0, "diverged_at": None, "test_error": 0.25, "test_loss": 2.0, "test_copied": 0.5}]
    about = {"alphabet": "abc", "loudness": 7}
    floors = {"error": {"silence": 0.5, "noise": 1.5}, "loss": {"silence": 3.0}}
    shown = {"test_copied": True, "test_error": False}
    make_run(tmp_path, 10, "srn", seeds, own, about=about, floors=floors, shown=shown)
    found = collect(record.run_folders(tmp_path))
    assert found.settings == [
        "length",
        "task.name",
        "task.sampling",
        "model.name",
        "model.hidden_size",
        "lr",
        "clip",
        "task.delay",
    ]
    assert {"alphabet", "loudness", "run", "study", "task._target_", "title", "test_error"} <= set(found.rows)
    assert found.rows["loudness"].tolist()[2:] == [7]
    assert found.panels == {"digit_sum": ("task.sampling",), "copy": ()}
    digit_sums = {"dev_accuracy": True, "test_accuracy": True, "exact_accuracy": True}
    assert [*found.shown.items()] == [*digit_sums.items(), ("test_copied", True), ("test_error", False)]
    assert found.floors.to_numpy().tolist() == [
        ["length=5,model=lstm", "accuracy", "always the likeliest answer", 0.1],
        ["length=5,model=lstm", "loss", "knowing nothing", 2.5],
        ["length=10,model=srn,task=copy", "error", "silence", 0.5],
        ["length=10,model=srn,task=copy", "error", "noise", 1.5],
        ["length=10,model=srn,task=copy", "loss", "silence", 3.0],
    ]
    assert list(found.floors) == ["run", "metric", "name", "value"]


def test_nothing_collected_has_its_columns_all_the_same(tmp_path: Path):
    found = collect(record.run_folders(tmp_path))
    assert (found.rows.empty, found.settings, found.shown, found.panels, found.missing) == (True, [], {}, {}, [])
    assert list(found.floors) == ["run", "metric", "name", "value"]


def test_a_damaged_run_leaves_nothing_behind(tmp_path: Path):
    """Neither its floors nor its settings nor its scores are among those of the others."""
    make_run(tmp_path, 5)
    make_run(tmp_path, 10, task={"name": "copy", "delay": 3}, shown=3)
    found = collect(record.run_folders(tmp_path))
    assert len(found.missing) == 1
    assert "summary.json is damaged (shown is 3, not true or false for each score)" in found.missing[0]
    assert set(found.rows["run"]) == set(found.floors["run"]) == {"length=5,model=lstm"}
    assert "task.delay" not in found.settings
