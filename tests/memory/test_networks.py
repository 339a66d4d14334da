"""The networks set by hand do what they are said to do, on both engines."""

from pathlib import Path

import pytest
import torch
from helpers import task_of
from memory.networks import UNIT, latch, leaky, memoryless, subject

from memexp.tasks.digit_sum import enumerate_distribution


@pytest.mark.parametrize("length", [3, 7, 40])
def test_a_latch_solves_digit_sums_of_any_length_and_a_leaky_one_as_long_as_it_holds(length: int, tmp_path: Path):
    rows = enumerate_distribution(length, 1)
    one = subject(latch((1.0, 0.5)), tmp_path, "length=5")
    assert one.runner.engine.name == "compiled"
    for right in (one.runner.right(one.runner.metric, rows), (one.after(rows.inputs[None]).argmax(-1) == rows.targets)):
        assert right[0].all()
        assert right[1].float().mean() < 0.2
    trace = one.after.trace(rows.inputs[None])
    assert (trace["forget_gate"][0] == 1).all()
    torch.testing.assert_close(trace["cell_state"][0, :, -1, 0], UNIT * rows.targets[:, 0])
    first, second = rows.inputs[:, 0], rows.inputs[:, 1]
    torch.testing.assert_close(
        trace["cell_state"][1, :, -1, 0], UNIT * (first / 2 + second) / 2 ** (length - 2), atol=1e-6, rtol=1e-5
    )


def test_a_memoryless_network_answers_with_the_last_digit(tmp_path: Path):
    rows = task_of("digit_sum", tmp_path, "length=6").distribution()
    answers = memoryless(3)(rows.inputs[None]).argmax(-1)[..., 0]
    assert answers.tolist() == [rows.inputs[:, -1].tolist()] * 3


def test_a_leaky_unit_is_a_linear_recurrence():
    digits, state = torch.tensor([7, 0, 4, 9]), torch.zeros(2)
    decays = torch.tensor([0.9, 0.25])
    for digit in digits:
        state = decays * state + (1 - decays) * digit
    found = leaky(decays.tolist()).trace(digits[None, None])["hidden_state"][:, 0, -1, 0]
    torch.testing.assert_close(found, state)
