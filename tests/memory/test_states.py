"""Half-lives of norms, and stepping through a model."""

import math

import pytest
import torch
from helpers import KINDS, classifier

from memexp.memory.states import half_life, in_float64, read


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([8, 4, 2, 1], 1),
        ([1, 2, 4], math.inf),
        ([3, 3, 3, 3], math.inf),
        ([1, 2**-0.25, 2**-0.5], 4),
        ([1, 0, 0], 0),
        ([4, 2, 0], 1),
        ([0, 0, 0], math.nan),
        ([1, math.inf, 1], math.nan),
        ([1, math.nan, 1], math.nan),
        ([1], math.nan),
        ([1e-200, 1e-250, 1e-300], math.log(2) / math.log(1e50)),
    ],
)
def test_half_lives(norms: list[float], expected: float):
    (found,) = half_life(torch.tensor([norms], dtype=torch.float64)).tolist()
    assert found == pytest.approx(expected, nan_ok=True)


def test_half_lives_keep_the_axes_in_front():
    norms = 0.5 ** (torch.arange(5) / torch.tensor([[1.0], [2.0], [3.0]]))[None].expand(2, 3, 5)
    torch.testing.assert_close(half_life(norms), torch.tensor([[1.0, 2, 3]] * 2).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_step_by_step_answers_as_ever_and_gives_every_state(kind: str, generator: torch.Generator):
    model = classifier(KINDS[kind], (1, 2, 3), widths=(4, 5), bidirectional=True, every_step=True)
    inputs = torch.randint(10, (1, 2, 7), generator=generator)
    exact = in_float64(model)
    answers, states = read(exact, inputs)
    expected, last = exact.answer(inputs)
    torch.testing.assert_close(answers, expected)
    trace = exact.trace(inputs)
    for (prefix, direction), after in zip(exact.directions, last, strict=True):
        assert len(states[prefix]) == 7
        for place, name in enumerate(direction.cell.states):
            torch.testing.assert_close(states[prefix][-1][place], after[place])
            whole = torch.stack([state[place] for state in states[prefix]], 2)
            torch.testing.assert_close(
                whole, trace[prefix + name].flip(2) if direction.backwards else trace[prefix + name]
            )
    assert {p.dtype for p in model.parameters()} == {torch.float32}
