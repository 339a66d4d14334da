"""A run that takes seeds from others is, file by file, the run that trains them all itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import config_of

from memexp.errors import RecordError
from memexp.experiment import run
from memexp.results import record
from memexp.results.history import HISTORY_COLUMNS
from memexp.training import checkpoints, joining
from memexp.training.joining import Part

DIGITS = ("length=4", "epochs=2", "batch_size=60", "model=srn", "model.hidden_size=3")
TEXT = (
    "task=char_lm", "length=8", "epochs=2", "batch_size=16", "model=gru", "model.hidden_size=3", "task.prefixes=[a]",
    "task.pred_period=1", "task.pred_chars=5", "task.max_chars=3000",
)  # fmt: skip


def train(study: Path, seeds: str, *settings: str) -> Path:
    folder = study / f"model=own,seeds={seeds}"
    run(config_of(*settings, f"seeds={seeds}", f"datasets_dir={study.parent}/data"), folder)
    return folder


def assert_same(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5, msg=lambda m: f"{where}: {m}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "seconds":
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{number}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-6, rel=1e-5), where
    else:
        assert one == other, where


@pytest.mark.parametrize("settings", [DIGITS, TEXT, (*DIGITS, "optimizer=sgd", "gradient_norms=true")])
def test_a_joined_run_is_the_run_of_all_seeds(tmp_path: Path, settings: tuple[str, ...]):
    train(tmp_path / "parts", "[3,1]", *settings)
    joined = train(tmp_path / "parts", "[0,1,2,3]", *settings)
    whole = train(tmp_path / "whole", "[0,1,2,3]", *settings)
    assert {path.name for path in joined.iterdir()} == {path.name for path in whole.iterdir()}
    for name, kind in ((record.BEST, "weights"), (record.LAST, "training")):
        assert_same(checkpoints.load(joined / name, kind), checkpoints.load(whole / name, kind), name)
    assert (joined / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    assert (joined / record.CONFIG).read_bytes() == (whole / record.CONFIG).read_bytes()
    one, other = record.read_summary(joined), record.read_summary(whole)
    assert one["tokens_per_second"] > 0
    differing = dict.fromkeys(("tokens_per_second", "config", "sealed"), 0)
    assert_same(one | differing, other | differing)
    if settings == TEXT:  # written by the first seed
        assert (joined / record.WRITTEN).read_bytes() == (whole / record.WRITTEN).read_bytes()


def test_only_what_is_new_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tmp_path, "2", *DIGITS)
    trained: list[list[int]] = []
    from memexp import experiment

    before = experiment._train
    monkeypatch.setattr(
        experiment, "_train", lambda this, *rest: [trained.append(list(this.config.seeds)), before(this, *rest)][1]
    )
    train(tmp_path, "4", *DIGITS)
    train(tmp_path, "[1,3]", *DIGITS)  # both are there: nothing is
    train(tmp_path, "2..5", *DIGITS)
    assert trained == [[2, 3], [4, 5]]


@pytest.mark.parametrize("other", ["lr=0.01", "epochs=3"])
def test_a_run_of_another_setting_gives_no_seeds(tmp_path: Path, other: str):
    folder = train(tmp_path, "2", *DIGITS, other)
    summary = record.read_summary(folder)
    identity = {**record.read_json(folder / record.CONFIG), "seeds": [0, 5]}
    wanted = tmp_path / "model=own,seeds=9"
    (part,) = joining.find(wanted, identity, summary)
    assert (part.seeds, part.places) == ([0], [0])
    assert joining.find(wanted, {**identity, "lr": 0.5}, summary) == []
    assert joining.find(wanted, identity, {**summary, "torch": "1.0"}) == []  # another torch rounds in another way
    assert joining.find(tmp_path / "model=other,seeds=9", identity, summary) == []
    (folder / record.SUMMARY).write_text("{")  # a damaged neighbour is not this run's affair
    assert joining.find(wanted, identity, summary) == []


def kill_in(name: str, study: Path, seeds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, but end as a killed run does where a function of `joining` would be called."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(joining, name, killed)
        with pytest.raises(KeyboardInterrupt):
            train(study, seeds, *DIGITS)


def test_a_killed_join_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tmp_path / "parts", "2", *DIGITS)
    kill_in("_summary", tmp_path / "parts", "3", monkeypatch)
    joined = train(tmp_path / "parts", "3", *DIGITS)
    whole = train(tmp_path / "whole", "3", *DIGITS)
    assert not list(joined.glob(f"{joining.REST}*"))
    assert (joined / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    assert_same(record.read_summary(joined)["seeds"], record.read_summary(whole)["seeds"])


def test_a_join_that_was_begun_goes_on_whatever_its_neighbours_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tmp_path / "parts", "2", *DIGITS)
    kill_in("_histories", tmp_path / "parts", "4", monkeypatch)
    train(tmp_path / "parts", "3", *DIGITS)
    joined = train(tmp_path / "parts", "4", *DIGITS)
    assert [seed["seed"] for seed in record.read_summary(joined)["seeds"]] == [0, 1, 2, 3]
    assert not list(joined.glob(f"{joining.REST}*"))


@pytest.mark.parametrize("harm", ["best.pt", "history.csv", "history.csv is cut"])
def test_a_neighbour_that_is_not_whole_is_no_end(tmp_path: Path, harm: str):
    neighbour = train(tmp_path / "parts", "2", *DIGITS)
    path = neighbour / harm.partition(" ")[0]
    if harm.endswith("cut"):
        path.write_bytes(path.read_bytes()[:50])
    else:
        path.unlink()
    own, whole = train(tmp_path / "parts", "3", *DIGITS), train(tmp_path / "whole", "3", *DIGITS)
    assert (own / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    assert_same(record.read_summary(own)["seeds"], record.read_summary(whole)["seeds"])


def part(folder: Path, of_run: list[int], taken: list[int], *lines: str) -> Part:
    folder.mkdir()
    (folder / record.HISTORY).write_text("\n".join([",".join(HISTORY_COLUMNS), *lines, ""]))
    return Part(folder, {"config": {"seeds": of_run}, "sealed": None}, taken)


def test_histories_are_put_together_as_they_would_have_been_written(tmp_path: Path):
    one = part(
        tmp_path / "one", [7, 3], [3], "0,7,train,loss,1", "0,3,train,loss,2", "0,7,dev,loss,3", "0,3,dev,loss,4"
    )
    two = part(
        tmp_path / "two", [5], [5], "0,5,train,loss,5", "0,5,dev,loss,6", "2,5,train,loss,7", "10,5,train,loss,8"
    )  # seed 3 stopped before
    assert joining._histories([one, two], [5, 3]).decode().splitlines()[1:] == [
        "0,5,train,loss,5", "0,3,train,loss,2", "0,5,dev,loss,6", "0,3,dev,loss,4", "2,5,train,loss,7",
        "10,5,train,loss,8",
    ]  # fmt: skip
    (two.folder / record.HISTORY).write_text("iteration,seed\nx,1\n")
    with pytest.raises(RecordError, match="history.csv is damaged"):
        joining._histories([one, two], [5, 3])


def test_tensors_are_put_together_seed_by_seed():
    one, two = torch.arange(6).view(3, 2), torch.arange(10, 14).view(2, 2)
    taken, places = [[2, 0], [1]], torch.tensor([1, 2, 0])  # of three seeds the first is the second that was taken
    nested = [{"a": [(one,)], "step": torch.tensor(4.0)}, {"a": [(two,)], "step": torch.tensor(9.0)}]
    found = joining._joined(nested, taken, places)
    assert found["a"][0][0].tolist() == [[0, 1], [12, 13], [4, 5]]
    assert found["step"] == 9


def test_the_runs_with_the_most_seeds_are_taken_first(tmp_path: Path):
    train(tmp_path, "[0,1]", *DIGITS)
    folder = train(tmp_path, "[1,2,3]", *DIGITS)
    identity = {**record.read_json(folder / record.CONFIG), "seeds": [0, 1, 2, 3, 9]}
    parts = joining.find(tmp_path / "model=own,seeds=9", identity, record.read_summary(folder))
    assert [part.seeds for part in parts] == [[1, 2, 3], [0]]
    assert [part.places for part in parts] == [[0, 1, 2], [0]]
