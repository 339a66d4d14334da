import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from helpers import make_run

from memexp.errors import RecordError
from memexp.results import record, schema


@pytest.fixture
def summary(tmp_path: Path) -> dict[str, Any]:
    return record.read_summary(make_run(tmp_path / "book", 5))


def complaint_of(summary: dict[str, Any]) -> str:
    with pytest.raises(RecordError) as refused:
        schema.check(summary, Path("summary.json"), "move it away")
    said = str(refused.value)
    assert said.startswith("summary.json is damaged (")
    assert said.endswith("); move it away")
    assert "\n" not in said
    return said.removeprefix("summary.json is damaged (").removesuffix("); move it away")


def test_what_a_run_writes_is_allowed(summary: dict[str, Any]):
    schema.check(summary, Path("summary.json"), "")


def test_every_record_that_comes_along_is_allowed():
    reference = Path(__file__).resolve().parents[2] / "outputs" / "reference"
    paths = sorted(reference.glob(f"*/*/{record.SUMMARY}"))
    assert len(paths) == 405
    for path in paths:
        schema.check(record.read_json(path), path, "")


DEEP: Any = reduce(lambda inner, _: {"x": inner}, range(900), 1)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("seeds.0.test_accuracy", 7, "test_accuracy of seed 0 is 7, not a share from 0 to 1"),
        ("seeds.1.dev_accuracy", -0.25, "dev_accuracy of seed 1 is -0.25, not a share from 0 to 1"),
        ("seeds.0.exact_loss", "low", "seeds is [{'seed': 0, "),
        ("seeds.0.exact_loss", True, "seeds is [{'seed': 0, "),
        ("seeds.0.test_accuracy", [0.5], "seeds is [{'seed': 0, "),
        ("seeds.0.test_accuracy", float("nan"), "seeds is [{'seed': 0, "),
        ("seeds.0.best_iteration", 101, "best_iteration of seed 0 is 101, not one of its updates"),
        ("seeds.0.best_iteration", "best", "seeds is [{'seed': 0, "),
        ("seeds.0.diverged_at", -3, "seeds is [{'seed': 0, "),
        ("seeds.0.seed", 8, "seeds are others than those of config"),
        ("seeds", [], "seeds are others than those of config"),
        ("seeds", {}, "seeds is {}, not the scores of seeds"),
        ("seconds", -1, "seconds is -1, not a number from 0"),
        ("seconds", "long", "seconds is 'long', not a number from 0"),
        ("updates", 2.5, "updates is 2.5, not a whole number"),
        ("hidden_sizes", 4, "hidden_sizes is 4, not whole numbers"),
        ("title", None, "title is None, not a text"),
        ("title", DEEP, "title is {'x': {'x': "),
        ("floors", {"accuracy": 0.1}, "floors is {'accuracy': 0.1}, not numbers by metric and name"),
        ("floors.accuracy", {"chance": "low"}, "floors is {'accuracy': {'chance': 'low'}, "),
        ("shown.test_accuracy", "yes", "shown is {'dev_accuracy': True, "),
        ("about", DEEP, "about is {'x': {'x': "),
        ("config", {}, "config is {}, not the settings of a run"),
        ("config.length", "ten", "config is {'length': 'ten', "),
        ("config.task", "digit_sum", "config is {'length': 5, "),
        ("config.model.extra", DEEP, "config is {'length': 5, "),
        ("config.lr", float("inf"), "config is {'length': 5, "),
        ("test_right.0", "012", "test_right is {'0': '012', "),
        ("panels", "task", "panels is 'task', not names of settings"),
        ("sealed", {"best.pt": 3}, "sealed is {'best.pt': 3}, not size and hash of files"),
        ("interface.every_step", 1, None),
        ("more", 3, "'more' is unknown"),
        ("m" * 100, 3, "'mmmm"),
    ],
)
def test_what_cannot_be_is_named(summary: dict[str, Any], key: str, value: object, complaint: str | None):
    *outer, last = [int(part) if (part.isdecimal() and part != "0") or ("seeds" in key and part == "0") else part
                    for part in key.split(".")]  # fmt: skip
    reduce(getitem, outer, summary)[last] = value
    if complaint is None:
        schema.check(summary, Path("summary.json"), "")
        return
    said = complaint_of(summary)
    assert said.startswith(complaint)
    assert len(said) < 120


@pytest.mark.parametrize("key", schema.REQUIRED)
def test_what_is_missing_is_named(summary: dict[str, Any], key: str):
    del summary[key]
    assert complaint_of(summary) == f"{key} is missing"


def test_a_share_may_be_beyond_one_by_rounding(summary: dict[str, Any]):
    summary["seeds"][0]["exact_accuracy"] = 1.0000000000000002
    schema.check(summary, Path("summary.json"), "")


def test_a_summary_may_have_been_written_with_nothing_but_what_is_needed(summary: dict[str, Any]):
    bare = json.loads(json.dumps({key: summary[key] for key in schema.REQUIRED}))
    schema.check(bare, Path("summary.json"), "")
