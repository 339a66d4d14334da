from pathlib import Path

import pytest
import torch
from helpers import task_of

from memexp.memory.sequences import some_sequences


def test_of_few_all_are_taken_with_their_probabilities(tmp_path: Path):
    task = task_of("digit_sum", tmp_path, "length=4")
    inputs, weights = some_sequences(task, 1900)  # 100 pairs, with no distractor or 9 at each of 2 places
    rows = task.distribution()
    assert torch.equal(inputs, rows.inputs)
    assert torch.equal(weights, rows.weights[:, 0])


def test_of_many_every_stratum_has_its_share(tmp_path: Path):
    task = task_of("digit_sum", tmp_path, "length=12")
    inputs, weights = some_sequences(task, 800)
    pairs = (10 * inputs[:, 0] + inputs[:, 1]).bincount()
    assert pairs.tolist() == [8] * 100
    assert weights.sum() == pytest.approx(1)
    assert weights.unique().tolist() == [1 / 800]
    none = (inputs[:, 2:] == 0).all(1).double().mean()
    assert none == pytest.approx(0.1, abs=0.03)
    assert len((inputs[:, 2:] > 0).nonzero()[:, 1].unique()) == 10  # distractors at every place
    assert torch.equal(some_sequences(task, 800)[0], inputs)


def test_a_text_is_cut_into_pieces_as_long_as_those_that_were_trained_on(tmp_path: Path):
    (tmp_path / "abc.txt").write_text("abcdefghij" * 60)
    task = task_of(
        "char_lm", tmp_path, "length=7", f"task.corpus={tmp_path}/abc.txt", "batch_size=4", "task.prefixes=[]"
    )
    text, _ = task.running_text()
    inputs, weights = some_sequences(task, 10**6)
    assert inputs.shape == (len(text) // 7, 7)
    assert inputs[1].tolist() == text[7:14].tolist()
    assert weights.sum() == pytest.approx(1)
    assert len(some_sequences(task, 3)[0]) == 3


def test_numbers_are_taken_as_they_are(tmp_path: Path):
    inputs, weights = some_sequences(task_of("adding", tmp_path, "length=9"), 50)
    assert inputs.shape == (50, 9, 2)
    assert inputs.is_floating_point()
    assert weights.sum() == pytest.approx(1)
