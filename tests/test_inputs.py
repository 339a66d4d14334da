"""Sequences as people give them."""

from typing import Any

import numpy as np
import pytest
import torch

from memexp.errors import ConfigError
from memexp.inputs import inputs_of
from memexp.tasks.adding import AddingReading
from memexp.tasks.copy_memory import CopyReading
from memexp.tasks.digit_sum import DigitReading
from memexp.tasks.task import Interface, Reading, Rows

DIGITS, NUMBERS = (DigitReading(4), Interface(10, 19, False, 4)), (AddingReading(), Interface(2, 1, False, 5))


@pytest.mark.parametrize(
    "given",
    [
        "6701", "6 7 0 1", "６７０１", ["6701"], [6, 7, 0, 1], (6, 7, 0, 1), [[6, 7, 0, 1]], np.array([6, 7, 0, 1]),
        np.array([[6, 7, 0, 1]], dtype=np.int8), torch.tensor([6, 7, 0, 1]),
        torch.tensor([[6, 7, 0, 1]], dtype=torch.int32), [torch.tensor([6, 7, 0, 1])],
        Rows(torch.tensor([[6, 7, 0, 1]]), torch.tensor([[13]])),
    ],
    ids=repr,
)  # fmt: skip
def test_one_sequence_of_digits_however_it_is_given(given: Any):
    found = inputs_of(given, *DIGITS)
    assert found.dtype == torch.long
    assert found.tolist() == [[6, 7, 0, 1]]


def test_several_of_them_stay_in_order():
    listed = [[6, 7, 0], [1, 2, 0], [9, 9, 0]]
    for given in (["670", "120", "990"], listed, torch.tensor(listed)):
        assert inputs_of(given, *DIGITS).tolist() == listed


def test_numbers_have_one_more_axis():
    typed = inputs_of(".3 .71* .02 .9* 0.5", *NUMBERS)
    assert typed.shape == (1, 5, 2)
    assert torch.equal(inputs_of(typed, *NUMBERS), typed)
    assert torch.equal(inputs_of(typed[0], *NUMBERS), typed)
    assert torch.equal(inputs_of(typed[0].tolist(), *NUMBERS), typed)
    assert torch.equal(inputs_of(torch.cat([typed, typed]).numpy(), *NUMBERS), torch.cat([typed, typed]))


def test_what_a_task_makes_of_what_is_typed_is_kept():
    copying = CopyReading(3, 2, 1), Interface(5, 3, True, 3)
    assert inputs_of("ab", *copying).tolist() == [[0, 1, 3, 4, 3]]
    assert inputs_of(["ab", "ca"], *copying).tolist() == [[0, 1, 3, 4, 3], [2, 0, 3, 4, 3]]


@pytest.mark.parametrize(
    ("given", "kind", "complaint"),
    [
        ("67x", DIGITS, "'x' is not a digit"),
        ("", DIGITS, "too short"),
        (["670", "6700"], DIGITS, r"the sequences have \[3, 4\] tokens; give those of one length at a time"),
        ([torch.tensor([1, 2]), torch.tensor([1])], DIGITS, r"the sequences have \[1, 2\] tokens"),
        ([[1, 2], [3]], DIGITS, "these are no sequences of one length"),
        ([], DIGITS, r"shape \[0\]"),
        ([10, 2], DIGITS, "10 is no digit of this model; it reads 0 to 9"),
        ([-1, 2], DIGITS, "-1 is no digit"),
        ([[[1, 2]]], DIGITS, r"shape \[1, 1, 2\] is not \[N, L\], N sequences of L digits"),
        ([0.5, 0.25], NUMBERS, r"shape \[2\] is not \[N, L, M\], with 2 numbers at a step"),
        (torch.zeros(3, 4, 5), NUMBERS, r"shape \[3, 4, 5\]"),
        (None, DIGITS, "these are no sequences"),
        ({"a": 1}, DIGITS, "these are no sequences"),
        ("abc", (Reading(), Interface(3, 2, False, 1)), "sequences of this task cannot be typed"),
    ],
)
def test_what_is_no_sequence_is_one_line(given: Any, kind: tuple[Reading, Interface], complaint: str):
    with pytest.raises(ConfigError, match=complaint) as error:
        inputs_of(given, *kind)
    assert "\n" not in str(error.value)
