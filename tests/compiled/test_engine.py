"""The compiled engine against the stepped cells and autograd: outputs and all gradients, in float64 within 1e-12."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import COMPILED, KINDS, classifier, randomise
from torch import Generator, Tensor

from memexp.compiled import layout
from memexp.compiled.engine import CompiledEngine, is_faster, not_covered
from memexp.models.cells import SRN
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import Accuracy, CrossEntropy, Perplexity, SquaredError
from memexp.tasks.task import Rows
from memexp.training.engines import TorchEngine

S, B, L, V, M, K = 2, 3, 4, 5, 6, 7
#: What a model and its rows may be like. No size is a whole number of vectors, or the size of another axis.
CASES: dict[str, dict[str, Any]] = {
    "symbols": {},
    "one-hot": {"embedding_size": 0},
    "numbers": {"numbers": True},
    "bare numbers": {"numbers": True, "embedding_size": 0},
    "every step": {"every_step": True, "weighed": True},
    "stacked": {"widths": (5, 18, 3)},
    "both ways": {"widths": (5, 8), "bidirectional": True, "every_step": True},
    "learned start": {"widths": (17, 8), "bidirectional": True, "initial_state": "learned"},
    "start from input": {"widths": (5, 8), "bidirectional": True, "initial_state": "input"},
    "start from one-hot": {"initial_state": "input", "embedding_size": 0},
    "start from numbers": {"initial_state": "input", "numbers": True, "widths": (4, 5)},
    "start from bare numbers": {"initial_state": "input", "numbers": True, "embedding_size": 0},
    "squared error": {"squared": True, "numbers": True, "shared": True, "reduction": "sum", "weighed": True},
    "no multiple of a block": {"V": 20, "embedding_size": 19, "widths": (33,), "K": 18, "B": 9, "shared": True},
    "one of each": {"B": 1, "L": 1, "widths": (1,), "embedding_size": 1, "K": 2, "V": 2},
}


def build(kind: str, generator: Generator, **case: Any) -> tuple[SequenceModel, Rows, dict[str, Any]]:
    """Build a model with random weights in float64, rows, and how it learns."""
    sizes = {"S": S, "B": B, "L": L, "V": V, "K": 1 if case.get("squared") else K}
    n = {name: case.pop(name, size) for name, size in sizes.items()}
    numbers, squared, weighed, shared = (case.pop(name, False) for name in ("numbers", "squared", "weighed", "shared"))
    learning = {"loss": SquaredError if squared else CrossEntropy, "reduction": case.pop("reduction", "mean")}
    given = {"embedding_size": M, "widths": (5,), **case}
    model = classifier(COMPILED[kind], range(n["S"]), n["V"], n["K"], **given).double()
    randomise(model, generator, 0.7)
    rows = n["S"] if not shared else 1
    draw = {"generator": generator, "dtype": torch.float64}
    shape = rows, n["B"], n["L"]
    inputs = torch.rand(*shape, n["V"], **draw) if numbers else torch.randint(n["V"], shape, generator=generator)
    asked = rows, n["B"], n["L"] if model.every_step else 1
    targets = torch.rand(asked, **draw) if squared else torch.randint(n["K"], asked, generator=generator)
    weights = torch.rand(asked, **draw) * (torch.rand(asked, **draw) < 0.7) if weighed else None
    return model, Rows(inputs, targets, weights), learning


def gradients(model: SequenceModel, rows: Rows, loss: Any, reduction: str) -> tuple[Tensor, list[Tensor]]:
    """Return what the stepped cells answer, and the gradients that autograd finds."""
    for _, direction in model.directions:
        direction.cell.run = direction.cell.unroll
    engine = TorchEngine(model, torch.optim.SGD(model.parameters(), lr=1.0), loss, reduction, None, "global")
    answers = engine.update(rows).answered[0]
    return answers, [parameter.grad for parameter in model.parameters()]


def step(model: SequenceModel, rows: Rows, loss: Any, reduction: str, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Return what compiled code answers, and its gradients: what one step of size 1 changes."""
    before = [parameter.detach().clone() for parameter in model.parameters()]
    own = {"clip": None, "clip_by": "global", **options}
    answers, _, _ = CompiledEngine(model, "sgd", 1.0, loss, reduction, **own).update(rows).answered
    return answers, [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", COMPILED)
def test_answers_and_all_gradients_are_those_of_the_stepped_cells(kind: str, case: str, generator: Generator):
    model, rows, learning = build(kind, generator, **CASES[case])
    right = gradients(copy.deepcopy(model), rows, **learning)
    found = step(model, rows, **learning)
    within = {"atol": 1e-12, "rtol": 1e-12 if kind == "IRNN" else 0}  # whose numbers grow without bound
    torch.testing.assert_close(found[0], right[0], **within)
    for one, other in zip(found[1], right[1], strict=True):
        torch.testing.assert_close(one, other, **within)


@pytest.mark.parametrize("kind", COMPILED)
def test_rows_that_are_kept_apart_change_nothing(kind: str, generator: Generator, monkeypatch: pytest.MonkeyPatch):
    """As those of wide layers are: here every row gets a vector more."""
    given = {"widths": (5, 17), "bidirectional": True, "initial_state": "input", "every_step": True}
    model, rows, learning = build(kind, generator, **given)
    right = step(copy.deepcopy(model), rows, **learning)
    monkeypatch.setattr(layout, "CROWDED", 1)
    found = step(model, rows, **learning)
    assert torch.equal(found[0], right[0])
    assert all(torch.equal(one, other) for one, other in zip(found[1], right[1], strict=True))


@pytest.mark.parametrize("kind", COMPILED)
def test_in_single_precision_they_are_near(kind: str, generator: Generator):
    """Within 1e-5 of float64 after 35 steps of 32 units: rounding, no approximation."""
    model, rows, learning = build(kind, generator, widths=(32,), L=35, V=10, K=19)
    for parameter in model.parameters():
        parameter.data *= 0.05  # else the residual SRN's state, and its gradients, grow without end
    right = gradients(copy.deepcopy(model), rows, **learning)
    found = step(model.float(), rows, **learning)
    torch.testing.assert_close(found[0].double(), right[0], atol=1e-5, rtol=0)
    for one, other in zip(found[1], right[1], strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=0)


def engines(
    generator: Generator, optimizer: str, lr: float, clip: float | None, by: str
) -> tuple[CompiledEngine, TorchEngine, Rows]:
    model, rows, learning = build("LSTM peephole", generator, widths=(5, 4), every_step=True)
    other = copy.deepcopy(model)
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    options = {"clip": clip, "clip_by": by}
    compiled = CompiledEngine(model, optimizer, lr, **learning, **options, watched=model.watched)
    plain = TorchEngine(
        other, kinds[optimizer](other.parameters(), lr=lr), **learning, **options, watched=other.watched
    )
    return compiled, plain, rows


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("clip", "by"), [(None, "global"), (0.05, "global"), (0.05, "tensor"), (0.01, "value"), (1e6, "tensor")]
)
def test_many_updates_are_those_of_torch(optimizer: str, clip: float | None, by: str, generator: Generator):
    compiled, plain, rows = engines(generator, optimizer, 0.05, clip, by)
    for _ in range(6):
        own, other = compiled.update(rows), plain.update(rows)
        assert list(own.norms) == list(other.norms)
        assert len(own.norms) == 2 * len(list(compiled.model.watched))
        for name in own.norms:
            torch.testing.assert_close(
                torch.tensor(own.norms[name]), torch.tensor(other.norms[name]), atol=1e-9, rtol=0
            )
    for one, another in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, another, atol=1e-9 if optimizer == "adam" else 1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU reset before", "MinLSTM", "IndRNN"])
def test_a_seed_is_the_same_bits_alone_and_in_a_group(kind: str, generator: Generator):
    model, rows, learning = build(kind, generator, S=3, B=9, L=11, widths=(19,))
    model.float()
    alone, _, _ = build(kind, generator, S=1, widths=(19,))
    alone.float().copy_seed(model, 1)
    options = {**learning, "clip": 0.1, "clip_by": "global"}
    group, single = (CompiledEngine(m, "adam", 0.01, **options) for m in (model, alone))
    own = rows._each(lambda tensor: tensor[1:2])
    for _ in range(5):
        answers, ours = group.update(rows).answered[0], single.update(own).answered[0]
        assert torch.equal(answers[1:2], ours)
    for several, one in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(several[1:2], one)


def test_a_seed_that_is_asked_nothing_does_not_learn(generator: Generator):
    model, rows, learning = build("SRN", generator, every_step=True)
    weights = torch.zeros_like(rows.targets, dtype=torch.float64)
    weights[1, 0, 2] = 0.5
    _, changes = step(model, replace(rows, weights=weights), **learning)
    for change in changes:
        assert not change[0].any()
    assert changes[-1][1].any()


def test_rows_are_answered_in_parts_as_all_at_once(generator: Generator):
    model, rows, learning = build("GRU reset after", generator, B=71, shared=True)
    engine = CompiledEngine(model, "adam", 0.1, **learning, clip=None, clip_by="global")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    answers, targets, weights = engine.answer(rows)
    assert targets is rows.targets
    assert weights is None
    torch.testing.assert_close(answers, model(rows.inputs).detach(), atol=1e-12, rtol=0)
    assert torch.equal(answers[:, 40:47], engine.answer(rows.slice(40, 47))[0])
    for one, other in zip(before, model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_goes_on_where_it_was(generator: Generator):
    """From weights and the optimiser's state: the same bits as without the interruption."""
    model, rows, learning = build("LSTM", generator)
    options = {**learning, "clip": None, "clip_by": "global"}
    whole = CompiledEngine(model.float(), "adam", 0.01, **options)
    for _ in range(3):
        whole.update(rows)
    saved = copy.deepcopy(model.state_dict()), copy.deepcopy(whole.optimizer_state())
    later, _, _ = build("LSTM", generator)
    rest = CompiledEngine(later.float(), "adam", 0.01, **options)
    later.load_state_dict(saved[0])
    rest.load_optimizer_state(saved[1])
    for _ in range(4):
        assert torch.equal(whole.update(rows).answered[0], rest.update(rows).answered[0])
    assert rest.optimizer_state()["state"]["step"] == 7


def test_what_is_no_number_stays_none_and_hurts_no_other_seed(generator: Generator):
    model, rows, learning = build("LSTM", generator)
    model.layers[0][0].cell.U.data[0, 1, 2, 3] = torch.nan
    answers, _ = step(model, rows, **learning)
    assert answers[0].isnan().all()
    assert answers[1].isfinite().all()
    assert all(parameter[1].isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("inputs", "target"), [(V, 0), (-1, 0), (0, K), (0, -1)])
def test_symbols_and_classes_that_there_are_not_are_refused_before_anything_is_done(
    inputs: int, target: int, generator: Generator
):
    model, rows, learning = build("SRN", generator)
    rows.inputs[1, 2, 3], rows.targets[0, 1, 0] = inputs, target
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(IndexError, match="a symbol is not one of 5, or a class not one of 7"):
        step(model, rows, **learning)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_the_values_of_losses_and_metrics(generator: Generator):
    model, rows, learning = build("SRN", generator, every_step=True)
    engine = CompiledEngine(model, "sgd", 1.0, **learning, clip=None, clip_by="global")
    answers, targets, _ = engine.answer(rows)
    for mean in (CrossEntropy, Perplexity, Accuracy):
        torch.testing.assert_close(
            engine.values(mean, answers, targets), mean.values(answers, targets), atol=1e-12, rtol=0
        )
    shared = targets[:1]
    right = CrossEntropy.values(answers, shared)
    torch.testing.assert_close(engine.values(CrossEntropy, answers, shared), right, atol=1e-12, rtol=0)
    answers[1, 2, 3, 4] = torch.inf
    finite = engine.values(CrossEntropy, answers, targets).isfinite()
    assert not finite[1, 2, 3]
    assert int(finite.sum()) == finite.numel() - 1


def test_parameters_are_views_of_one_memory_with_the_same_numbers(generator: Generator):
    model, _, _ = build("GRU reset after", generator, widths=(5, 18), bidirectional=True)
    before = copy.deepcopy(model.state_dict())
    row = layout.Row(model)
    memory = row.adopt(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.untyped_storage().data_ptr() == memory.untyped_storage().data_ptr()
    assert sum(parameter[0].numel() for parameter in model.parameters()) == int((memory[0] != 0).sum())
    memory += 1
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 1)
    blocks = row.blocks()
    assert np.array_equal(blocks[1:, 0], np.cumsum(blocks[:, 1])[:-1])
    assert blocks[:, 1].sum() == row.size


class Own(SRN):
    """A cell of a user's own."""


def test_what_is_not_covered_is_named(generator: Generator):
    model, rows, _ = build("LSTM", generator)
    assert not_covered(model, CrossEntropy, rows, "cpu") is None
    assert not_covered(model, CrossEntropy, rows, "cuda") == "device=cuda"
    assert not_covered(classifier(Own, [0]), CrossEntropy, rows, "cpu") == "the cell Own"
    assert not_covered(classifier(KINDS["SLSTM"], [0]), CrossEntropy, rows, "cpu") == "the cell SLSTM"  # three states

    class OwnLoss(CrossEntropy):
        pass

    assert not_covered(model, OwnLoss, rows, "cpu") == "the loss OwnLoss"
    carried = "a text whose state is carried from batch to batch"
    assert not_covered(model, CrossEntropy, replace(rows, continues=True), "cpu") == carried
    assert not_covered(model, CrossEntropy, replace(rows, in_pieces=True), "cpu") == carried


def test_a_library_is_faster_for_wide_layers():
    def of(*widths: int) -> SequenceModel:
        return classifier(KINDS["LSTM"], [0], widths=widths)

    assert is_faster(of(8, 256))
    assert not is_faster(of(8, 257))
