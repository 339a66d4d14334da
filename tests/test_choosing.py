"""Which run is meant."""

import re
import shutil
from pathlib import Path

import pytest
from helpers import change, make_run

from memexp import choosing
from memexp.errors import RecordError
from memexp.results import record


def found(*given: object, **more: object) -> str:
    return choosing.find_run(*given, **more).name


def test_the_run_that_is_asked_for_is_found(tmp_path: Path):
    for length in (5, 10):
        for model in ("lstm", "srn"):
            make_run(tmp_path / "book", length, model)
    for length in (5, 10):
        for model in ("lstm", "srn"):
            assert found(tmp_path / "book", model, length) == f"length={length},model={model}"


def test_what_is_not_given_is_the_usual_where_it_is_there(tmp_path: Path):
    study = tmp_path / "book"
    for length, model in ((5, "lstm"), (10, "lstm"), (10, "srn"), (20, "gru")):
        make_run(study, length, model)
    assert found(study, None, None) == "length=10,model=lstm"
    assert found(study, None, 5) == "length=5,model=lstm"
    assert found(study, "srn", None) == "length=10,model=srn"
    assert found(study, "gru", None) == "length=20,model=gru"  # the only one, although of another length
    assert found(study, None, 20) == "length=20,model=gru"
    with pytest.raises(RecordError, match=r"book has 4 finished runs; give one as run=...: "):
        choosing.find_run(study, None, None, usual={})


def test_the_only_run_is_taken_whatever_it_is(tmp_path: Path):
    make_run(tmp_path / "book", 7, "mingru")
    assert found(tmp_path / "book", None, None) == "length=7,model=mingru"


def test_several_runs_that_fit_are_listed(tmp_path: Path):
    study = tmp_path / "book"
    run = make_run(study, 4)
    other = shutil.copytree(run, study / "other")
    change(other / record.SUMMARY, "config.lr", 0.2)
    for given, said in (
        ((None, 4), "length=4 model=lstm"),
        (("lstm", 4), "model=lstm length=4"),
        ((None, None), "model=lstm"),
    ):
        with pytest.raises(RecordError) as stopped:
            choosing.find_run(study, *given)
        shown = f"{study} has 2 finished runs with {said}; give one as run=...: {run} | {other}"
        assert str(stopped.value) == shown


def test_of_very_many_runs_some_are_listed(tmp_path: Path):
    run = make_run(tmp_path / "book", 4)
    for k in range(15):
        change(shutil.copytree(run, run.with_name(f"copy{k}")) / record.SUMMARY, "config.lr", k + 1)
    with pytest.raises(RecordError, match=r"16 finished runs .* \| and 4 more$") as stopped:
        choosing.find_run(tmp_path / "book", None, None)
    assert str(stopped.value).count(" | ") == 12


def test_where_none_fits_those_that_are_there_are_listed(tmp_path: Path):
    study = tmp_path / "book"
    make_run(study, 4)
    (make_run(study, 9, "srn") / record.SUMMARY).unlink()
    for given, said in (
        (("srn", 4), "model=srn length=4"),
        ((None, 5), "length=5"),
        (("gru", None), "model=gru"),
        (("lstm", 10), "model=lstm length=10"),
    ):
        with pytest.raises(RecordError) as stopped:
            choosing.find_run(study, *given)
        assert str(stopped.value) == (
            f"{study} has no finished run with {said}; finished: length=4,model=lstm; "
            "without a record: length=9,model=srn: not finished"
        )


def test_only_runs_of_the_tasks_that_are_accepted_count(tmp_path: Path):
    study = tmp_path / "both"
    make_run(study, 10)
    writer = {"accept": lambda kind: kind.writes, "what": "run of a language model"}
    nothing = f"{study} has no finished run of a language model; finished: none"
    with pytest.raises(RecordError, match=f"^{re.escape(nothing)}$"):
        choosing.find_run(study, None, None, **writer)
    text = {"_target_": "memexp.tasks.char_lm.CharLM", "name": "char_lm"}
    own = make_run(study, 35, "gru", task=text)
    assert choosing.find_run(study, None, None, **writer) == own
    with pytest.raises(
        RecordError, match=f"no finished run of a language model with model=lstm; finished: {own.name}$"
    ):
        choosing.find_run(study, "lstm", None, **writer)
    other = make_run(study, 35, "srn", task=text)
    with pytest.raises(RecordError) as stopped:
        choosing.find_run(study, None, None, usual={}, **writer)
    shown = f"{study} has 2 finished runs of a language model; give one as run=...: {own} | {other}"
    assert str(stopped.value) == shown
