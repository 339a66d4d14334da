"""Copy memory: its rows, its mask, its floors, how it is read, and a real run of it."""

import math
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp.errors import ConfigError
from memexp.results import record
from memexp.tasks.copy_memory import CopyMemory, CopyReading
from memexp.tasks.metrics import Accuracy, CrossEntropy, SequenceAccuracy
from memexp.tasks.task import Rows

READING = CopyReading(symbols=8, items=3, length=5)
SMALL = ("length=2", "task.symbols=4", "task.items=3")


def copying(folder: Path, *overrides: str) -> CopyMemory:
    task: CopyMemory = task_of("copy_memory", folder, *overrides)
    return task


def scores(answers: torch.Tensor, rows: Rows) -> dict[str, float]:
    """Score answers [1, N, A, K] as a run does: the loss, the share of symbols, the share of sequences."""
    found = {}
    for kind in (CrossEntropy, Accuracy, SequenceAccuracy):
        mean = kind(1)
        mean.update(answers, rows.targets[None], None if rows.weights is None else rows.weights[None])
        found[kind.name] = mean.compute().item()
    return found


def test_a_row_is_items_blanks_a_cue_and_blanks(tmp_path: Path):
    task = copying(tmp_path, *SMALL)
    rows = task.asked(torch.tensor([[3, 0, 1]]))
    assert task.needed(rows.inputs).tolist() == [[True, True, True, False, False, False, False, False]]
    assert rows.inputs.tolist() == [[3, 0, 1, 4, 4, 5, 4, 4]]
    assert rows.targets.tolist() == [[0, 0, 0, 0, 0, 3, 0, 1]]
    assert rows.weights is not None
    assert rows.weights.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_all_inputs_are_enumerated_once(tmp_path: Path):
    task = copying(tmp_path, *SMALL)
    exact = task.splits()["exact"]
    assert exact.inputs.shape == (4**3, 2 + 2 * 3)
    assert len(exact.inputs.unique(dim=0)) == 4**3
    assert exact.source == task.about()["exact_over"] == "all 64 inputs"
    assert exact.row_weights().tolist() == pytest.approx([1 / 64] * 64)
    assert "exact" not in copying(tmp_path, *SMALL, "task.exact_limit=511").splits()
    assert "exact" in copying(tmp_path, *SMALL, "task.exact_limit=512").splits()


def test_rows_of_another_wait_are_all_there_are_or_a_sample(tmp_path: Path):
    task = copying(tmp_path, *SMALL)
    every = task.at_length(5, 64 * 11)
    assert every is not None
    assert (every.source, every.inputs.shape) == ("all 64 inputs", (64, 3 + 5 + 3))
    row = task.asked(torch.tensor([[3, 0, 1]]), blanks=5)
    assert row.inputs.tolist() == [[3, 0, 1, 4, 4, 4, 4, 4, 5, 4, 4]]
    assert (every.inputs == row.inputs).all(1).sum() == 1
    some = task.at_length(5, 64 * 11 - 1)
    assert some is not None
    assert (some.source, some.inputs.shape) == ("63 sampled rows", (63, 11))
    assert torch.equal(some.inputs[:, :3], some.targets[:, 8:])
    assert torch.equal(some.inputs, task.at_length(5, 64 * 11 - 1).inputs)  # type: ignore[union-attr]
    assert torch.equal(task.at_length(2, 512).inputs, task.distribution().inputs)  # type: ignore[union-attr]
    assert task.at_length(0, 100) is None


def test_a_state_could_know_each_item_and_the_last_is_asked_at_the_end(tmp_path: Path):
    facts = copying(tmp_path, *SMALL).facts(copying(tmp_path, *SMALL).asked(torch.tensor([[3, 0, 1], [2, 2, 0]])))
    assert {name: classes.tolist() for name, classes in facts.items()} == {
        "item 1": [3, 2], "item 2": [0, 2], "item 3": [1, 0],
    }  # fmt: skip


def test_a_network_set_by_hand_copies_exactly(tmp_path: Path):
    """A tape that hands each item on for length + items steps."""
    task = copying(tmp_path, "length=4", "task.symbols=5", "task.items=2")
    rows = task.splits()["exact"]
    delayed = torch.zeros_like(rows.inputs)
    delayed[:, 6:] = rows.inputs[:, :2]
    assert scores(100.0 * F.one_hot(delayed, 7)[None, ..., :5], rows) == {
        "cross_entropy": pytest.approx(0), "accuracy": 1, "sequence_accuracy": 1,
    }  # fmt: skip


@pytest.mark.parametrize("item", [0, 2])
def test_a_constant_answer_scores_chance_and_no_answer_the_floor(tmp_path: Path, item: int):
    """Waiting does not count: whoever is silent, or always says the same, gets no credit for the blanks."""
    task = copying(tmp_path, "length=30", "task.symbols=4", "task.items=3")
    rows = task.splits()["exact"]
    floors = task.floors()
    N, A = rows.targets.shape
    constant = torch.zeros(1, N, A, 4)
    constant[..., item] = 9
    found = scores(constant, rows)
    assert found["accuracy"] == pytest.approx(1 / 4) == floors["accuracy"]["guessing"]
    assert found["sequence_accuracy"] == pytest.approx(1 / 4**3) == floors["sequence_accuracy"]["guessing"]
    assert scores(torch.zeros(1, N, A, 4), rows)["cross_entropy"] == pytest.approx(math.log(4), rel=1e-6)
    assert floors["loss"]["guessing"] == math.log(4)
    assert task.about()["floor_per_step"] == pytest.approx(3 * math.log(4) / (30 + 6))


def test_what_is_answered_while_nothing_is_asked_has_no_gradient(tmp_path: Path):
    rows = copying(tmp_path, *SMALL).asked(torch.tensor([[3, 0, 1], [2, 2, 0]]))
    answers = torch.randn(1, 2, 8, 4, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert rows.weights is not None
    (CrossEntropy.values(answers, rows.targets[None]) * rows.weights[None]).sum().backward()
    assert answers.grad is not None
    assert (answers.grad[0, :, :5] == 0).all()
    assert (answers.grad[0, :, 5:] != 0).all()


def test_a_sequence_counts_as_right_only_if_every_item_is(tmp_path: Path):
    rows = copying(tmp_path, *SMALL).asked(torch.tensor([[3, 0, 1], [2, 2, 0]]))
    told = rows.targets.clone()
    told[:, :5] = 1  # whatever is said before the cue
    told[1, 6] = 3  # one item of the second row is wrong
    found = scores(9.0 * F.one_hot(told, 4)[None], rows)
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["sequence_accuracy"] == pytest.approx(1 / 2)


def test_the_rows_of_a_seed_are_its_own_whatever_the_group(tmp_path: Path):
    group, alone = (copying(tmp_path, *SMALL, f"seeds={seeds}") for seeds in ("[3,8]", "[8]"))
    for iteration in (0, 105, 7):
        several, one = group.batch(iteration), alone.batch(iteration)
        assert several.inputs.shape == (2, 32, 8)
        assert several.weights is not None
        assert several.weights.shape == several.targets.shape == (2, 32, 8)
        assert torch.equal(several.inputs[1], one.inputs[0])
        assert not torch.equal(several.inputs[0], several.inputs[1])


def test_items_alone_are_read_as_a_whole_sequence():
    assert READING.write(READING.read("haa")) == "haa_____>__"
    assert READING.write(READING.read("a b\tc ___ > __")) == "abc___>__"
    for items in ("bah", "b a h", "b,a,h", "[b, a, h]", "ｂａｈ", "b，a、h"):
        assert READING.write(READING.read(items)) == "bah_____>__"
    assert READING.write(READING.read("abc＿＿＿＞＿＿")) == "abc___>__"
    assert READING.beginning == "abc_____>__"
    assert READING.remark(READING.read("abc")) is None
    assert "11 symbols" in str(READING.remark(READING.read("ab")))
    assert READING.token_kinds(READING.read("ab_>")[None]).tolist() == [[0, 0, 1, 2]]
    with pytest.raises(ConfigError, match=r"\['1', 'i'\]; give items from a to h"):
        READING.read("ai1")
    with pytest.raises(ConfigError, match="has nothing"):
        READING.read("")


def test_an_answer_is_told_in_words():
    sequence = READING.read("bah")
    predictions = np.zeros((len(sequence), 8))
    predictions[8:, :] = np.eye(8)[[1, 0, 6]]
    assert READING.describe(sequence, predictions) == "recalls bag; truth bah (2 right)"
    assert READING.describe(sequence[:4], predictions[:4]) == "no cue (>), so nothing is asked"


@pytest.mark.parametrize(
    ("override", "message"),
    [("task.symbols=1", "at least 2"), ("task.symbols=27", "at most 26"), ("length=0", "least 1")],
)
def test_sizes_that_cannot_be_are_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config_of("task=copy_memory", override)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=copy_memory", "model=gru", *SMALL, "task.train_rows=320")


@pytest.mark.slow
def test_it_runs_is_drawn_and_explored(tmp_path: Path):
    command = ("task=copy_memory", *SMALL, "model=lstm", "model.hidden_size=12", "seeds=2", "lr=0.01", "epochs=4")
    done = forked.run("memexp", *command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("outputs/copy_memory/*/")
    summary = record.read_summary(folder)
    assert summary["interface"] == {"inputs": 6, "outputs": 4, "every_step": True, "longest": 5}
    assert min(seed["exact_accuracy"] for seed in summary["seeds"]) > 0.9  # it is learned: chance is 0.25
    assert len(summary["test_right"]["1"]) == 2000
    for module, arguments in (
        ("memexp.analysis", ()),
        ("memexp.gates", ("study=copy_memory", "sequence=dab")),
        ("memexp.explorer", ("study=copy_memory",)),
    ):
        done = forked.run(module, *arguments, folder=tmp_path, drawn=False)
        assert done.returncode == 0, done.stderr
        assert module != "memexp.gates" or "recalls" in done.stdout
    images = {path.name for path in (tmp_path / "images" / "copy_memory").rglob("*")}
    assert {"scores.png", "curves.png", "sheet.png", "averages.png", "explorer.html"} <= images
