from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier, randomise, task_of
from memory.networks import latch, leaky, memoryless, subject
from torch import Tensor

from memexp.memory import effective_memory
from memexp.memory.effective_memory import EffectiveMemory, recall, total_variations
from memexp.memory.measure import Subject
from memexp.models.networks import SequenceModel

MEASURE = EffectiveMemory()


def test_the_total_variation_is_that_of_the_answers_to_the_last_symbols():
    model = classifier(KINDS["GRU reset before"], [1, 2]).requires_grad_(False)
    inputs, weights = torch.tensor([[1, 2, 3], [4, 4, 0]]), torch.tensor([0.25, 0.75], dtype=torch.float64)
    found = total_variations(lambda rows: model(rows[None])[:, :, -1].softmax(-1), inputs, weights)
    assert found.shape == (2, 3)
    for k in range(2):
        for last in (1, 2, 3):
            expected = 0.0
            for row, weight in zip(inputs, weights.tolist(), strict=True):
                whole, part = (model(own[None, None])[k, 0, 0].softmax(-1) for own in (row, row[3 - last :]))
                expected += weight * float((whole - part).abs().sum()) / 2
            assert float(found[k, last - 1]) == pytest.approx(expected, abs=1e-6)


def test_a_latch_needs_all_symbols_and_a_network_without_memory_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(effective_memory, "READ", 2800)  # all there are
    one = subject(latch(), tmp_path, "length=5")
    table = MEASURE.measure(one).assign(run="a")
    rows = one.task.distribution()
    sums = [rows.inputs[:, 5 - last : 7 - last].sum(1) for last in range(1, 6)]  # it adds the first two that it reads
    expected = [float(rows.weights[:, 0] @ (own != rows.targets[:, 0]).double()) for own in sums]
    np.testing.assert_allclose(table["total_variation"], expected, atol=1e-4)
    assert table["recall_on_needed"].tolist()[:3] == [0, 0, 0]
    scores = MEASURE.summed_up(table)
    assert scores[[*MEASURE.scores]].iloc[0].tolist() == pytest.approx([5, 1, 1])

    table = MEASURE.measure(subject(memoryless(2), tmp_path, "length=5")).assign(run="a")
    assert table["last"].tolist() == [1, 2, 3, 4, 5] * 2
    assert table["total_variation"].tolist() == [0] * 10
    assert table["recall_density"].tolist() == pytest.approx([1, 0, 0, 0, 0] * 2)
    np.testing.assert_allclose(MEASURE.summed_up(table)[[*MEASURE.scores]], [[1, 0.2, 0]] * 2)


def test_the_recall_density_of_a_linear_recurrence_is_its_decay():
    decays, digits = (0.9, 0.5), torch.tensor([[0, 0, 0, 0], [7, 0, 2, 9], [5, 5, 4, 1]])
    found = recall(leaky(decays), digits)
    ways = (torch.arange(10) - digits[..., None]).abs().sum(-1)  # [N, L]: to all other digits
    for k, decay in enumerate(decays):
        expected = ways * decay ** torch.arange(3, -1, -1)
        torch.testing.assert_close(found[k], expected / expected.sum(1, keepdim=True), atol=1e-5, rtol=0)


def test_the_recall_density_is_the_same_whatever_embedding_gives_the_answers(generator: torch.Generator):
    model = classifier(KINDS["LSTM"], [0, 1], embedding_size=4)
    randomise(model, generator)
    rows = torch.randint(10, (6, 5), generator=generator)
    before, density = model(rows[None]), recall(model, rows)
    shift = torch.randn(2, 1, 4, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.embedding += shift
        model.cell.b -= (shift[:, None] @ model.cell.W).squeeze(2)
    torch.testing.assert_close(model(rows[None]), before)
    torch.testing.assert_close(recall(model, rows), density)
    assert density.shape == (2, 6, 5)
    torch.testing.assert_close(density.sum(-1), torch.ones(2, 6, dtype=torch.float64))


def test_numbers_have_a_density_too_and_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(effective_memory, "AT_ONCE", 2)
    model = SequenceModel(KINDS["MinGRU"], 1, 2, 1, False, 0, [1], False, "zero")
    with torch.no_grad():
        model.cell.W[0, 1, :, 0] = torch.tensor([3.0, -1.0])
        model.head_weight[:] = 2  # the update gate is 1/2: h_t = h_{t-1} / 2 + (3 x_1 - x_2) / 2
    found = recall(model, torch.rand(5, 3, 2))
    torch.testing.assert_close(found, torch.tensor([1 / 7, 2 / 7, 4 / 7]).expand(1, 5, 3))


def test_where_nothing_counts_there_is_no_density(tmp_path: Path):
    model = classifier(KINDS["SRN"], [0, 1], classes=19, embedding_size=0)
    with torch.no_grad():
        model.head_weight[1] = 0
    table = MEASURE.measure(subject(model, tmp_path, "length=4")).assign(run="a")
    blind = table[table["seed"] == 1]
    assert blind["recall_density"].isna().all()
    assert blind["total_variation"].tolist() == [0] * 4
    assert MEASURE.summed_up(table)["recall_on_needed"].isna().tolist() == [False, True]


def adding(model: SequenceModel, folder: Path) -> Subject:
    task = task_of("adding", folder, "length=6")
    run = SimpleNamespace(model=model, seeds=[*range(len(model.head_bias))])
    return Subject(run, task)  # type: ignore[arg-type]


def test_answers_that_are_numbers_have_a_recall_density_alone(tmp_path: Path, chinese: None):
    model = SequenceModel(KINDS["SRN"], 3, 2, 1, False, 0, [4], False, "zero")
    model.initialise([0, 1, 2], "xavier", 0.0, 6, [])
    table = MEASURE.measure(adding(model, tmp_path)).assign(run="a", label="SRN", length=6)
    assert table["total_variation"].isna().all()
    np.testing.assert_allclose(table.groupby("seed")["recall_density"].sum(), [1, 1, 1])
    assert MEASURE.summed_up(table)["effective_memory"].isna().all()
    rows = pd.DataFrame({"label": ["SRN"], "model.name": ["srn"]})
    assert [*MEASURE.draw(table, SimpleNamespace(rows=rows))] == ["effective_memory_recall"]  # type: ignore[arg-type]


def seeds_of(*variations: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"run": "a", "seed": seed, "last": last, "total_variation": value, "recall_density": 0.2 * last,
             "recall_on_needed": 0.1 * last, "label": "GRU", "length": 3, "model.name": "gru"}
            for seed, values in enumerate(variations) for last, value in enumerate(values, 1)
        ]
    )  # fmt: skip


def test_the_effective_memory_is_where_the_answer_stays_near():
    found = MEASURE.summed_up(seeds_of([0.3, 0.05, 0.0], [0.05, 0.2, 0.0], [0.1, 0.0, 0.0], [0.9, 0.8, 0.0]))
    assert found["effective_memory"].tolist() == [2, 3, 1, 3]
    assert found["effective_memory_share"].tolist() == pytest.approx([2 / 3, 1, 1 / 3, 1])
    assert found["recall_on_needed"].tolist() == pytest.approx([0.6] * 4)


def test_the_figures_show_variation_and_density(chinese: None):
    table = seeds_of([0.3, 0.05, 0.0], [0.5, 0.25, 0.0])
    figures = MEASURE.draw(table, SimpleNamespace(rows=table))  # type: ignore[arg-type]
    (read,), (recalled,) = (figures[name].axes for name in ("effective_memory", "effective_memory_recall"))
    assert read.lines[0].get_ydata().tolist() == pytest.approx([0.4, 0.15, 0])
    assert recalled.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert recalled.lines[1].get_ydata() == pytest.approx([1 / 3] * 2)


def test_this_test_knows_what_a_last_answer_is(tmp_path: Path):
    """Of a task that answers at every step it is that of the last one."""
    task = task_of("copy_memory", tmp_path, "length=4", "task.items=2", "task.symbols=3")
    model = classifier(KINDS["SRN"], [0], symbols=5, classes=3, every_step=True)

    def answers(inputs: Tensor) -> Tensor:
        return model(inputs[None]).detach()

    run = SimpleNamespace(model=model, seeds=[0])
    one = SimpleNamespace(task=task, run=run, seeds=[0], after=model, answers=answers)
    table = MEASURE.measure(one)  # type: ignore[arg-type]
    assert len(table) == 8
    assert table["total_variation"].iloc[-1] == 0
    assert table["recall_density"].sum() == pytest.approx(1)
