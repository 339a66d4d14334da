from pathlib import Path

import pytest
from helpers import make_run, seed_row

from memexp.errors import RecordError
from memexp.results import record
from memexp.results.identity import check_identity

# --- json ---


def test_json_keeps_no_nan(tmp_path: Path):
    record.write_json(tmp_path / "a.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": 1}})
    assert record.read_json(tmp_path / "a.json") == {"a": None, "b": [1.5, None], "c": {"d": 1}}


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_damaged_json_is_named(tmp_path: Path, content: str):
    (tmp_path / "summary.json").write_text(content, encoding="latin-1")
    with pytest.raises(RecordError, match="summary.json is damaged"):
        record.read_json(tmp_path / "summary.json")


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
        check_identity(folder, {"format": record.FORMAT, "lr": 0.1})
    with pytest.raises(RecordError, match=refused):
        record.read_summary(folder)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path):
    (tmp_path / record.SUMMARY).mkdir()
    with pytest.raises(RecordError, match="^cannot read .*summary.json: Is a directory$"):
        record.read_json(tmp_path / record.SUMMARY)


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
    assert record.shown_scores([{"sequences": 20000}, {"sequences": 20001}], {"sequences": False}) == [
        "sequences 20000"
    ]


def test_scores_have_names_for_people():
    names = {"test_accuracy": "test", "last_dev_perplexity": "last dev perplexity", "retained_bits": "retained bits"}
    assert {column: record.score_name(column) for column in names} == names
