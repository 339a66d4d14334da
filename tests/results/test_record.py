import hashlib
import lzma
from pathlib import Path

import pytest
from helpers import make_run, reseal, seed_row

from memexp.errors import RecordError
from memexp.results import record

# --- history ---


def test_history_is_long_and_skips_seeds_that_stopped(tmp_path: Path):
    history = record.History(tmp_path / "history.csv", [3, 7])
    history.add(0, "dev", "loss", [1.5, 2.5], [True, True])
    history.add(100, "dev", "loss", [1.25, float("nan")], [True, False])
    assert history.latest("dev", "loss") == 1.25
    size, digest = history.flush()
    text = (tmp_path / "history.csv").read_text()
    assert text == "iteration,seed,split,name,value\n0,3,dev,loss,1.5\n0,7,dev,loss,2.5\n100,3,dev,loss,1.25\n"
    assert (size, digest) == (len(text), hashlib.sha256(text.encode()).hexdigest())


def test_history_goes_on_from_the_checkpoint(tmp_path: Path):
    path = tmp_path / "history.csv"
    first = record.History(path, [3])
    first.add(0, "dev", "loss", [1.5], [True])
    seal = first.flush()
    first.add(100, "dev", "loss", [1.0], [True])  # after the checkpoint, then killed
    first.flush()
    second = record.History(path, [3], seal)
    second.add(100, "dev", "loss", [1.0], [True])
    second.flush()
    assert path.read_text().splitlines()[1:] == ["0,3,dev,loss,1.5", "100,3,dev,loss,1"]


def test_history_shorter_than_its_checkpoint_is_an_error(tmp_path: Path):
    (tmp_path / "history.csv").write_text("iteration")
    with pytest.raises(RecordError, match="shorter than its checkpoint says"):
        record.History(tmp_path / "history.csv", [3], [400, ""])


def test_a_history_that_another_process_wrote_into_is_not_written_on(tmp_path: Path):
    path = tmp_path / "history.csv"
    own = record.History(path, [3])
    own.add(0, "dev", "loss", [1.5], [True])
    seal = own.flush()
    with path.open("a") as other:
        other.write("7,3,dev,loss,9\n")
    own.add(1, "dev", "loss", [1.0], [True])
    with pytest.raises(RecordError, match="was changed by another process; give the same command to go on"):
        own.flush()
    again = record.History(path, [3], seal)  # goes on from the last checkpoint
    again.add(1, "dev", "loss", [1.0], [True])
    again.flush()
    assert path.read_text().splitlines()[1:] == ["0,3,dev,loss,1.5", "1,3,dev,loss,1"]


def test_a_compressed_history_is_read_too(tmp_path: Path):
    folder = make_run(tmp_path / "book", 5, seeds=[seed_row(3)])
    content = b"iteration,seed,split,name,value\n0,3,dev,loss,1.5\n"
    (folder / "history.csv").write_bytes(content)
    reseal(folder)
    (folder / "history.csv").unlink()
    (folder / "history.csv.xz").write_bytes(lzma.compress(content))
    assert record.read_history(folder).to_numpy().tolist() == [[0, 3, "dev", "loss", 1.5]]
    (folder / "history.csv.xz").write_bytes(lzma.compress(content)[:-20])
    with pytest.raises(RecordError, match="history.csv.xz is damaged"):
        record.read_history(folder)
    (folder / "history.csv.xz").write_bytes(lzma.compress(content.replace(b"1.5", b"2.5")))
    with pytest.raises(RecordError, match=r"history.csv.xz is damaged \(it is not what was written\)"):
        record.read_history(folder)
    (folder / "history.csv").write_bytes(content)  # comes first
    assert record.read_history(folder)["value"].tolist() == [1.5]


# --- json ---


def test_json_keeps_no_nan(tmp_path: Path):
    record.write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": 1}})
    assert record.read_json(tmp_path / "a.json") == {"a": None, "b": [1.5, None], "c": {"d": 1}}


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_damaged_json_is_named(tmp_path: Path, content: str):
    (tmp_path / "summary.json").write_text(content, encoding="latin-1")
    with pytest.raises(RecordError, match="summary.json is damaged"):
        record.read_json(tmp_path / "summary.json")


# --- identity ---


def test_identity_leaves_out_what_changes_no_result():
    task, model = {"_target_": "a.Task", "name": "t", "sampling": "fixed"}, {"_target_": "a.Model", "name": "m"}
    config = {"length": 3, "device": "cpu", "study": "a", "outputs_dir": "x", "lr": 0.1, "task": task, "model": model}
    kept = {"length": 3, "lr": 0.1, "task": {"name": "t", "sampling": "fixed"}, "model": {"name": "m"}}
    assert record.identity(config) == {"format": record.FORMAT, **kept}
    assert record.identity(config, "abc") == {"format": record.FORMAT, **kept, "data": "abc"}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b is 2 there, 3 now"),
        ({"m": {"x": 1, "y": [1]}}, {"m": {"x": 1, "y": [2]}}, "m.y is [1] there, [2] now"),
        ({"a": 1}, {"a": 1, "b": 2}, 'b is "missing" there, 2 now'),
        ({"a": 1, "b": 2}, {"a": 1}, 'b is 2 there, "missing" now'),
    ],
)
def test_the_first_difference_is_named(one: object, other: object, difference: str | None):
    assert record.first_difference(one, other) == difference


def test_a_folder_of_another_run_is_refused(tmp_path: Path):
    own = {"format": record.FORMAT, "lr": 0.1, "task": {}, "model": {}}
    record.check_identity(tmp_path, own)  # nothing there yet
    record.write_json(tmp_path / record.CONFIG, {**own, "data": "abc"})
    record.check_identity(tmp_path, own)
    record.check_identity(tmp_path, {**own, "data": "abc"})
    with pytest.raises(
        RecordError,
        match="holds another run: lr is 0.1 there, 0.2 now; give another study=NAME, or move that folder away",
    ):
        record.check_identity(tmp_path, {**own, "lr": 0.2})
    with pytest.raises(RecordError, match="was trained on other data or in another order"):
        record.check_identity(tmp_path, {**own, "data": "abd"})


@pytest.mark.parametrize("there", [{}, {"format": 1}])
def test_a_folder_in_an_earlier_form_is_refused_with_the_command_that_carries_it_over(
    tmp_path: Path, there: dict[str, int]
):
    folder = tmp_path / "outputs" / "book" / "run"
    folder.mkdir(parents=True)
    command = f"python -m memexp.migrate outputs_dir={tmp_path}/outputs study=book"
    refused = f"{folder} was written by memexp 0.1; carry it over with: {command}$"
    for name in (record.CONFIG, record.SUMMARY):
        record.write_json(folder / name, {"lr": 0.1, **there})
    with pytest.raises(RecordError, match=refused):
        record.check_identity(folder, {"format": record.FORMAT, "lr": 0.1})
    with pytest.raises(RecordError, match=refused):
        record.read_summary(folder)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path):
    (tmp_path / record.SUMMARY).mkdir()
    with pytest.raises(RecordError, match="^cannot read .*summary.json: Is a directory$"):
        record.read_json(tmp_path / record.SUMMARY)


# --- the code of a user's own classes ---


@pytest.mark.parametrize(
    ("then", "now", "complaint"),
    [
        ({}, {"task": None, "model": None}, None),
        ({"source": "Own 1"}, {"task": None, "model": "Own 1"}, None),
        (
            {"source": "Own 1"},
            {"task": None, "model": "Own 2"},
            "was trained with other code of Own than there is ",
        ),
        ({"source": "Own 1"}, {"task": None, "model": None}, "was trained with other code of Own"),
    ],
)
def test_other_code_than_a_run_was_trained_with(
    tmp_path: Path, then: dict[str, str], now: dict[str, str | None], complaint: str | None
):
    record.write_json(tmp_path / record.CONFIG, {"task": {}, "model": {"name": "own", **then}})
    if complaint is None:
        record.check_sources(tmp_path, now)
        return
    with pytest.raises(RecordError, match=complaint):
        record.check_sources(tmp_path, now)


def test_a_record_of_before_does_not_say_what_code_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config = {"task": {"name": "x"}, "model": {"name": "own"}, "lr": 0.1}
    record.write_json(tmp_path / record.CONFIG, record.identity(config))
    record.check_identity(tmp_path, record.identity(config, sources={"model": "Own 2"}))
    assert "does not say with which code of Own it was trained" in caplog.text


@pytest.mark.parametrize(
    ("then", "now", "complaint"),
    [
        ("abc", "abd", "was trained on other data or in another order"),
        ("abc", "abc/dev=10", r"was trained on the same data in another way \(all there, dev=10 now\)"),
        ("abc/order=2/dev=5", "abc/order=2", r"was trained on the same data in another way \(dev=5 there, all now\)"),
    ],
)
def test_data_that_differ_are_told_from_another_use_of_them(tmp_path: Path, then: str, now: str, complaint: str):
    config = {"task": {"name": "x"}, "model": {"name": "y"}}
    record.write_json(tmp_path / record.CONFIG, record.identity(config, then))
    with pytest.raises(RecordError, match=complaint):
        record.check_identity(tmp_path, record.identity(config, now))


# --- collecting ---


def test_run_folders_are_in_natural_order(tmp_path: Path):
    for length in (10, 5, 100):
        make_run(tmp_path, length)
    (tmp_path / "something else").mkdir()
    assert [f.name for f in record.run_folders(tmp_path)] == [f"length={n},model=lstm" for n in (5, 10, 100)]


def test_scores_are_shown_by_split_without_the_seeds_that_stopped():
    seeds = [seed_row(0), seed_row(1, 0.7), seed_row(2, None)]
    shown = {f"{split}_accuracy": True for split in ("dev", "test", "exact")}
    assert record.shown_scores(seeds, shown) == ["dev 60.0 %", "test 55.0 %", "exact 60.0 % (2 of 3 seeds)"]
    seeds = [{"seed": 0, "dev_loss": 1.0, "dev_perplexity": p, "dev_bits": 1.4} for p in (2.0, 4.5, None)]
    assert record.shown_scores(seeds, {"dev_perplexity": False}) == ["dev perplexity 3.25 (2 of 3 seeds)"]


def test_scores_have_names_for_people():
    names = {"test_accuracy": "test", "last_dev_perplexity": "last dev perplexity", "retained_bits": "retained bits"}
    assert {column: record.score_name(column) for column in names} == names
