from pathlib import Path

import pytest

from memexp.errors import RecordError
from memexp.results import record
from memexp.results.identity import check_identity, check_sources, first_difference, identity_of


def test_identity_leaves_out_what_changes_no_result():
    task, model = {"_target_": "a.Task", "name": "t", "sampling": "fixed"}, {"_target_": "a.Model", "name": "m"}
    config = {"length": 3, "device": "cpu", "study": "a", "outputs_dir": "x", "lr": 0.1, "task": task, "model": model}
    kept = {"length": 3, "lr": 0.1, "task": {"name": "t", "sampling": "fixed"}, "model": {"name": "m"}}
    assert identity_of(config) == {"format": record.FORMAT, **kept}
    assert identity_of(config, "abc") == {"format": record.FORMAT, **kept, "data": "abc"}


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
    assert first_difference(one, other) == difference


def test_a_folder_of_another_run_is_refused(tmp_path: Path):
    own = {"format": record.FORMAT, "lr": 0.1, "task": {}, "model": {}}
    check_identity(tmp_path, own)  # nothing there yet
    record.write_json(tmp_path / record.CONFIG, {**own, "data": "abc"})
    check_identity(tmp_path, own)
    check_identity(tmp_path, {**own, "data": "abc"})
    with pytest.raises(
        RecordError,
        match="holds another run: lr is 0.1 there, 0.2 now; give another study=NAME, or move that folder away",
    ):
        check_identity(tmp_path, {**own, "lr": 0.2})
    with pytest.raises(RecordError, match="was trained on other data or in another order"):
        check_identity(tmp_path, {**own, "data": "abd"})


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
        check_sources(tmp_path, now)
        return
    with pytest.raises(RecordError, match=complaint):
        check_sources(tmp_path, now)


def test_a_record_of_before_does_not_say_what_code_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config = {"task": {"name": "x"}, "model": {"name": "own"}, "lr": 0.1}
    record.write_json(tmp_path / record.CONFIG, identity_of(config))
    check_identity(tmp_path, identity_of(config, sources={"model": "Own 2"}))
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
    record.write_json(tmp_path / record.CONFIG, identity_of(config, then))
    with pytest.raises(RecordError, match=complaint):
        check_identity(tmp_path, identity_of(config, now))
