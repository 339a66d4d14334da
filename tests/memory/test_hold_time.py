from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, task_of
from memory.networks import latch, memoryless, subject

from memexp.memory import hold_time
from memexp.memory.hold_time import LIMIT, HoldTime, first_changes, survival
from memexp.models.networks import SequenceModel

MEASURE = HoldTime()
ZERO = torch.tensor(0)


def of_a_leak(decay: float, length: int) -> tuple[list[int], list[int]]:
    """Answers of a leaky latch to all pairs at a length, and when each first changes: the sum rounds to another one."""
    answers, steps = [], []
    for first in range(10):
        for second in range(10):
            held = [(decay * first + second) * decay ** (length - 2 + t) for t in range(LIMIT)]
            answers.append(round(held[0]))
            steps.append(next((t for t, level in enumerate(held) if round(level) != answers[-1]), LIMIT))
    return answers, steps


def test_the_hold_times_of_a_latch_are_those_of_its_decay(tmp_path: Path):
    decays, length = (0.97, 1.0, 0.999), 4
    questions = task_of("digit_sum", tmp_path, "length=4").held(length).inputs
    answers, steps, changed = first_changes(latch(decays), questions, ZERO, LIMIT)
    assert answers.shape == steps.shape == changed.shape == (3, 100)
    for k, decay in enumerate(decays):
        expected_answers, expected_steps = of_a_leak(decay, length)
        assert answers[k].tolist() == expected_answers
        assert steps[k].tolist() == expected_steps
        assert changed[k].tolist() == [step < LIMIT for step in expected_steps]
    assert steps[1].tolist() == [LIMIT] * 100
    assert 18 < steps[2, 99] < 40 < steps[2, 10] < LIMIT  # 18 goes soon, 1 has farther to go


@pytest.mark.parametrize("kind", ["SRN", "LSTM peephole", "GRU reset after", "MinLSTM"])
@pytest.mark.parametrize("piece", [1, 3, 60])
def test_it_is_as_if_all_of_it_were_read_anew(kind: str, piece: int, monkeypatch: pytest.MonkeyPatch):
    """Whatever the cell, in two layers, from a state that is learned; what is done is read no further."""
    monkeypatch.setattr(hold_time, "PIECE", piece)
    model = classifier(KINDS[kind], [4, 5, 6], widths=(6, 5), initial_state="learned")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    questions = torch.randint(10, (7, 4), generator=torch.Generator().manual_seed(1))
    answers, steps, changed = first_changes(model, questions, torch.tensor(8), 11)
    longer = torch.cat([questions, torch.full((7, 11), 8)], 1)
    by_hand = torch.stack([model(longer[None, :, : 4 + t])[:, :, 0].argmax(-1) for t in range(12)], -1)  # [S, N, 12]
    other = by_hand != by_hand[..., :1]
    assert torch.equal(answers, by_hand[..., 0])
    assert torch.equal(changed, other.any(-1))
    assert torch.equal(steps, torch.where(changed, other.int().argmax(-1), 11))
    assert 0 < changed.sum() < changed.numel()


def test_a_state_that_comes_back_ends_it(monkeypatch: pytest.MonkeyPatch):
    encode, read = SequenceModel.encode, []

    def counted(self: SequenceModel, inputs: torch.Tensor, *states: object) -> object:
        read.append(inputs.shape[2])
        return encode(self, inputs, *states)  # type: ignore[arg-type]

    monkeypatch.setattr(SequenceModel, "encode", counted)
    questions = torch.tensor([[3, 0], [0, 7], [5, 5]])
    answers, steps, changed = first_changes(memoryless(2), questions, ZERO, 50_000)
    assert answers.tolist() == [[0, 7, 5]] * 2
    assert steps.tolist() == [[50_000, 1, 1]] * 2
    assert changed.tolist() == [[False, True, True]] * 2
    assert read == [2, 60]  # the question, and one piece: a network without memory is in the same state after each zero


def seed_of(steps: list[int], right: list[int], changed: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"steps": steps, "right": right, "changed": changed, "guessing": 0.25})


def test_survival_begins_with_the_accuracy_and_ends_with_what_is_held():
    steps, share = survival(seed_of([3, 8, LIMIT, 5, LIMIT], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]))
    np.testing.assert_allclose(steps, [0, 0, 3, 8, LIMIT, LIMIT])
    np.testing.assert_allclose(share, [1, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_a_run_is_summed_up_by_the_median_over_all_questions(tmp_path: Path):
    table = MEASURE.measure(subject(latch((1.0, 0.98, 0.5)), tmp_path, "length=3")).assign(run="a")
    assert table.groupby("seed").size().tolist() == [100] * 3
    answers, steps = of_a_leak(0.98, 3)
    own = table[table["seed"] == 1]
    sums = [first + second for first in range(10) for second in range(10)]
    assert own["right"].tolist() == [int(answer == total) for answer, total in zip(answers, sums, strict=True)]
    assert own["steps"].tolist() == steps
    scores = MEASURE.summed_up(table).set_index("seed")
    held = sorted(step if answer == total else 0 for answer, step, total in zip(answers, steps, sums, strict=True))
    assert scores["hold_time_log10"].tolist() == pytest.approx([np.log10(LIMIT + 1), np.log10(1 + held[49]), 0])
    assert scores["held_to_the_end"].tolist() == pytest.approx([1, 0.01, 0.01])  # 0 + 0 is held by all


def test_the_median_is_where_half_of_them_are_left_and_that_of_right_answers_is_of_seeds_that_do_not_guess():
    seeds = {
        "half": seed_of([3, 7, 8, 9], [1, 1, 1, 1], [1, 1, 1, 1]),  # after 7 steps half of all, exactly
        "some": seed_of([5, 50, 500, 9], [1, 1, 1, 0], [1, 1, 1, 1]),  # of all, and of the right ones
        "guesses": seed_of([LIMIT, 2, 2, 2], [1, 0, 0, 0], [0, 1, 1, 1]),
        "wrong": seed_of([2, 2, 2, 2], [0, 0, 0, 0], [1, 1, 1, 1]),
    }
    table = pd.concat(own.assign(run="a", seed=seed) for seed, own in seeds.items())
    scores = MEASURE.summed_up(table).set_index("seed")
    np.testing.assert_allclose(10 ** scores["hold_time_log10"] - 1, [7, 5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(10 ** scores["right_hold_time_log10"] - 1, [7, 50, np.nan, np.nan])
    assert scores["held_to_the_end"].tolist() == [0, 0, 0.25, 0]


def test_the_figures_show_the_share_that_is_held_and_the_medians(chinese: None):
    sizes = {"run": "a", "label": "LSTM", "line": "LSTM", "length": 10, "model.name": "lstm"}
    seeds = [seed_of([4, 4, 9], [1, 1, 1], [1, 1, 1]), seed_of([4, LIMIT, 9], [1, 1, 0], [1, 0, 1])]
    table = pd.concat([own.assign(seed=seed, question=range(3), **sizes) for seed, own in enumerate(seeds)])
    rows = table.drop_duplicates("seed")
    figures = MEASURE.draw(table, type("Study", (), {"rows": rows})())
    assert [*figures] == ["hold_time", "hold_time_median"]
    (ax,) = figures["hold_time"].axes
    x, y = ax.lines[0].get_data()
    shown = dict(zip(x, y, strict=True))
    assert [shown[at] for at in (0, 3, 4, 9, LIMIT)] == pytest.approx([5 / 6, 5 / 6, 1 / 3, 1 / 6, 1 / 6])
    (ax,) = figures["hold_time_median"].axes
    (line,) = ax.containers
    assert line.lines[0].get_ydata() == pytest.approx([np.log10(5)])  # both medians are 4 steps


def test_what_cannot_be_held_is_said(tmp_path: Path):
    digits = subject(latch(), tmp_path, "length=4")
    assert MEASURE.why_not(digits) is None
    copy = type(digits)(digits.run, task_of("copy_memory", tmp_path))
    assert MEASURE.why_not(copy) == "its task has no question that nothing follows"
    both = SequenceModel(KINDS["SRN"], 1, 10, 19, False, 0, [2], True, "zero")
    backwards = subject(both, tmp_path, "length=4", "model.bidirectional=true")
    assert "reads backwards" in str(MEASURE.why_not(backwards))
