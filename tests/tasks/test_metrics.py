import math

import pytest
import torch
from torch import Tensor

from memexp.tasks.metrics import Accuracy, CrossEntropy, Loss, Mean, Perplexity, SequenceAccuracy, SquaredError

METRICS = (CrossEntropy, SquaredError, Accuracy, SequenceAccuracy, Perplexity)


def numbers(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def answers(*chosen: object) -> Tensor:
    """Answers [S, B, A, K] of K = 4, the largest output being that of the class that is chosen, [S, B, A]."""
    return torch.nn.functional.one_hot(torch.tensor(chosen), 4).float()


# --- one answer a sequence ---


def test_accuracy_by_hand_over_unequal_batches():
    accuracy = Accuracy(2)
    given = answers([[0], [1], [0]], [[1], [1], [1]])
    accuracy.update(given, torch.tensor([[[0], [1], [1]]]))  # seed 0: 2 of 3; seed 1: 2 of 3
    accuracy.update(given[:, :1], torch.tensor([[[1]]]))  # seed 0: 0 of 1; seed 1: 1 of 1
    assert accuracy.compute().tolist() == [2 / 4, 3 / 4]
    assert accuracy.count.tolist() == [4, 4]
    accuracy.reset()
    accuracy.update(given[:, :1], torch.tensor([[[0]]]))
    assert accuracy.compute().tolist() == [1.0, 0.0]
    assert accuracy.count.tolist() == [1, 1]


def test_targets_may_differ_between_seeds():
    accuracy = Accuracy(2)
    accuracy.update(answers([[0]], [[0]]), torch.tensor([[[0]], [[1]]]))
    assert accuracy.compute().tolist() == [1.0, 0.0]


def test_weights_are_probabilities():
    accuracy = Accuracy(1)
    accuracy.update(answers([[0], [0], [0]]), torch.tensor([[[0], [1], [0]]]), numbers([[0.2], [0.7], [0.1]]))
    torch.testing.assert_close(accuracy.compute(), numbers(0.3))
    torch.testing.assert_close(accuracy.count, numbers(1.0))


def test_cross_entropy_of_uniform_answers_is_the_log_of_the_classes():
    loss = CrossEntropy(2)
    loss.update(torch.zeros(2, 3, 1, 19), torch.tensor([[[0], [5], [18]]]))
    torch.testing.assert_close(loss.compute(), torch.full((2,), math.log(19), dtype=torch.float64), rtol=1e-6, atol=0)


def test_cross_entropy_by_hand():
    loss = CrossEntropy(1)
    loss.update(torch.tensor([[[[math.log(3.0), 0.0]], [[0.0, 0.0]]]]), torch.tensor([[[0], [1]]]))
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert abs(loss.compute().item() - expected) < 1e-7


def test_squared_error_by_hand():
    """Seed 0 is wrong by 1, 0, 3; seed 1 by 2, 5, 0. Without an axis K of the targets."""
    loss = SquaredError(2)
    given = torch.tensor([[[2.0], [0.5], [-1.0]], [[-1.0], [5.5], [2.0]]])[..., None]  # [S, B, A, K]: 2, 3, 1, 1
    targets = torch.tensor([[[1.0], [0.5], [2.0]]])
    loss.update(given, targets)
    assert loss.compute().tolist() == pytest.approx([10 / 3, 29 / 3])
    loss.reset()
    loss.update(given, targets, numbers([[1], [1], [0]]))
    assert loss.compute().tolist() == [1 / 2, 29 / 2]
    assert SquaredError.values(given, targets).shape == (2, 3, 1)


# --- several answers a sequence ---


def test_every_answer_counts():
    """Two seeds, three sequences of four answers: 8 and 5 of 12 are right."""
    accuracy = Accuracy(2)
    given = answers([[0, 1, 2, 3], [0, 0, 0, 0], [3, 2, 1, 0]], [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    accuracy.update(given, torch.tensor([[[0, 1, 2, 3], [0, 1, 1, 1], [3, 2, 1, 3]]]))
    assert accuracy.compute().tolist() == [8 / 12, 5 / 12]
    assert accuracy.count.tolist() == [12, 12]


MASKS = numbers([[0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [[1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
TARGETS = torch.tensor([[[0, 1, 2, 3], [0, 1, 1, 1], [3, 2, 1, 3]]])
CHOSEN = answers([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], [[0, 1, 2, 0], [1, 0, 0, 0], [3, 0, 0, 0]])


def test_a_mask_asks_some_answers_of_each_seed():
    """Seed 0 is asked three answers and gets two of them; seed 1 is asked five and gets four."""
    accuracy = Accuracy(2)
    accuracy.update(CHOSEN, TARGETS, MASKS)
    assert accuracy.compute().tolist() == [2 / 3, 4 / 5]
    assert accuracy.count.tolist() == [3, 5]
    accuracy.update(CHOSEN[:, 2:], TARGETS[:, 2:], MASKS[:, 2:])  # seed 0 is asked nothing here
    assert accuracy.count.tolist() == [3, 6]
    assert accuracy.compute().tolist() == [2 / 3, 5 / 6]


def test_a_mask_that_is_shared_counts_for_each_seed():
    accuracy = Accuracy(2)
    accuracy.update(CHOSEN, TARGETS, MASKS[:1])
    assert accuracy.compute().tolist() == [2 / 3, 1 / 3]
    assert accuracy.count.tolist() == [3, 3]


def test_weights_are_mask_and_probability_in_one():
    """Cross-entropies of ln 2, ln 4 and ln 8 with weights 0.5, 0.25 and 0; then one of ln 4 with 0.25."""
    loss, perplexity = CrossEntropy(1), Perplexity(1)
    half, quarter, eighth = [1 / 2, 1 / 4, 1 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 2, 3 / 8, 1 / 8]
    for mean in (loss, perplexity):
        mean.update(
            torch.tensor([[[half, quarter, eighth]]]).log(), torch.tensor([[[0, 1, 2]]]), numbers([[0.5, 0.25, 0]])
        )
        mean.update(torch.tensor([[[quarter]]]).log(), torch.tensor([[[2]]]), numbers([[0.25]]))
        assert mean.count.tolist() == [1]
    torch.testing.assert_close(loss.compute(), numbers((0.5 + 2 * 0.5) * math.log(2)), rtol=1e-6, atol=0)
    torch.testing.assert_close(perplexity.compute(), numbers(2**1.5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", METRICS)
def test_what_is_not_asked_may_be_anything(kind: type[Mean], generator: torch.Generator):
    S, B, A = 2, 3, 4
    K = 1 if kind is SquaredError else 5
    given = torch.randn(S, B, A, K, generator=generator)
    targets = torch.randint(5, (1, B, A), generator=generator)
    means = []
    for _ in range(2):
        means.append(kind(S))
        means[-1].update(given, targets, MASKS)
        given = torch.where(MASKS[..., None] == 0, torch.randn(given.shape, generator=generator), given)
    assert means[0].compute().tolist() == means[1].compute().tolist()
    assert means[0].compute().isfinite().all()


@pytest.mark.parametrize("kind", METRICS)
def test_weights_of_one_are_no_weights(kind: type[Mean], generator: torch.Generator):
    given = torch.randn(2, 3, 4, 1 if kind is SquaredError else 5, generator=generator).double()
    targets = torch.randint(5, (1, 3, 4), generator=generator)
    plain, weighted = kind(2), kind(2)
    plain.update(given, targets)
    weighted.update(given, targets, torch.ones(1, 3, 4, dtype=torch.float64))
    torch.testing.assert_close(plain.compute(), weighted.compute())
    assert plain.count.tolist() == weighted.count.tolist()


def test_perplexity_is_over_tokens_not_batches():
    """Seed 0: a token at 1/2, then three at 1/8: exp((ln 2 + 3 ln 8) / 4), not (2 + 8) / 2; seed 1: uniform."""
    perplexity = Perplexity(2)
    likely, unlikely = [0.5, 0.25, 0.25], [0.125, 0.5, 0.375]
    perplexity.update(torch.tensor([[[likely]], [[[1 / 3] * 3]]]).log(), torch.tensor([[[0]]]))
    perplexity.update(torch.tensor([[[unlikely] * 3], [[[1 / 3] * 3] * 3]]).log(), torch.tensor([[[0, 0, 0]]]))
    torch.testing.assert_close(perplexity.compute(), numbers(2**2.5, 3), rtol=1e-6, atol=0)


# --- values that are computed elsewhere ---


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("weights", [None, MASKS, MASKS[1:]], ids=["no weights", "weights", "shared weights"])
def test_values_can_be_added_without_their_answers(
    kind: type[Mean], weights: Tensor | None, generator: torch.Generator
):
    S, B, A = 2, 3, 4
    given = torch.randn(S, B, A, 1 if kind is SquaredError else 5, generator=generator)
    targets = torch.randint(5, (1, B, A), generator=generator)
    updated, added = kind(S), kind(S)
    for rows in (slice(0, 2), slice(2, 3)):
        some = None if weights is None else weights[:, rows]
        updated.update(given[:, rows], targets[:, rows], some)
        added.add(kind.values(given[:, rows], targets[:, rows]), some)
    assert added.compute().tolist() == updated.compute().tolist()
    assert added.count.tolist() == updated.count.tolist()


def test_values_by_hand():
    loss = SquaredError(2)
    loss.add(torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.5], [0.25, 0.25]]]))
    assert loss.compute().tolist() == [3, 0.25]
    loss.add(torch.tensor([[[7.0]], [[9.0]]]), numbers([[2]], [[0]]))
    assert (loss.total.tolist(), loss.count.tolist()) == ([26, 1], [6, 4])


def test_sums_are_taken_in_float64_with_weights_and_without():
    """In float32, 2^24 + 1 is 2^24."""
    values = torch.tensor([2.0**24, 1, 1, 1])[None, :, None]
    for weights in (None, torch.ones(1, 4, 1, dtype=torch.float64)):
        loss = SquaredError(1)
        loss.add(values, weights)
        assert loss.total.tolist() == [2**24 + 3]


def test_a_seed_has_the_same_mean_in_any_group(generator: torch.Generator):
    values = torch.rand(5, 401, 3, generator=generator)
    weights = torch.rand(5, 401, 3, generator=generator, dtype=torch.float64)
    for some in (None, weights):
        group = SquaredError(5)
        group.add(values, some)
        for k in range(5):
            alone = SquaredError(1)
            alone.add(values[k : k + 1], None if some is None else some[k : k + 1])
            assert alone.compute().tolist() == group.compute()[k : k + 1].tolist()


# --- whole sequences ---


def test_a_sequence_is_right_if_every_answer_is():
    """Of three sequences seed 0 has one without a mistake, seed 1 two."""
    metric = SequenceAccuracy(2)
    given = answers([[0, 1, 2, 3], [0, 1, 1, 0], [3, 2, 1, 0]], [[0, 1, 2, 3], [0, 1, 1, 1], [0, 2, 1, 3]])
    metric.update(given, TARGETS)
    assert metric.compute().tolist() == [1 / 3, 2 / 3]
    assert metric.count.tolist() == [3, 3]


def test_only_the_answers_of_a_sequence_that_are_asked_have_to_be_right():
    """A sequence without any does not count: seed 0 is asked two sequences and gets the second, seed 1 two of three."""
    metric = SequenceAccuracy(2)
    metric.update(CHOSEN, TARGETS, MASKS)
    assert metric.count.tolist() == [2, 3]
    assert metric.compute().tolist() == [1 / 2, 2 / 3]


def test_a_sequence_weighs_as_much_as_its_heaviest_answer():
    """Right, wrong, right, and one that is not asked, of probability 0.5, 0.2, 0.3, spread over unequal answers."""
    metric = SequenceAccuracy(1)
    weights = numbers([[0.5, 0.5, 0], [0.2, 0.1, 0], [0, 0, 0.3], [0, 0, 0]])
    targets = torch.tensor([[[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]])
    metric.update(answers([[1, 2, 0], [1, 3, 3], [0, 0, 3], [0, 0, 0]]), targets, weights)
    torch.testing.assert_close(metric.count, numbers(1.0))
    torch.testing.assert_close(metric.compute(), numbers(0.8))


def test_with_one_answer_a_sequence_is_an_answer(generator: torch.Generator):
    given = torch.randn(2, 30, 1, 3, generator=generator)
    targets = torch.randint(3, (2, 30, 1), generator=generator)
    weights = torch.rand(2, 30, 1, generator=generator, dtype=torch.float64)
    for more in ((), (weights,)):
        one, other = Accuracy(2), SequenceAccuracy(2)
        one.update(given, targets, *more)
        other.update(given, targets, *more)
        assert one.compute().tolist() == other.compute().tolist()


# --- what a loss says, and what is said of each ---


def test_what_answers_say():
    given = torch.tensor([[[[math.log(3.0), 0.0]], [[5.0, 5.0]]]])
    torch.testing.assert_close(CrossEntropy.predictions(given), torch.tensor([[[[0.75, 0.25]], [[0.5, 0.5]]]]))
    assert SquaredError.predictions(given) is given


@pytest.mark.parametrize("kind", [CrossEntropy, SquaredError])
def test_a_loss_has_a_gradient(kind: type[Loss], generator: torch.Generator):
    S, B, A, K = 2, 3, 4, 5 if kind is CrossEntropy else 1
    given = torch.randn(S, B, A, K, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(5, (1, B, A), generator=generator)
    assert torch.autograd.gradcheck(lambda own: kind.values(own, targets), given)
    assert kind.values(given, targets).shape == (S, B, A)


def test_what_is_better_and_what_is_a_share():
    assert {kind.name: (kind.higher_is_better, kind.share) for kind in METRICS} == {
        "cross_entropy": (False, False),
        "squared_error": (False, False),
        "accuracy": (True, True),
        "sequence_accuracy": (True, True),
        "perplexity": (False, False),
    }


@pytest.mark.parametrize("kind", METRICS)
def test_nothing_counted_is_not_a_number(kind: type[Mean]):
    assert kind(3).compute().isnan().tolist() == [True, True, True]
