import math

import torch

from memexp.tasks.metrics import Accuracy, CrossEntropy, Perplexity


def test_accuracy_by_hand_over_unequal_batches():
    accuracy = Accuracy(2)
    logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    accuracy.update(logits, torch.tensor([[0, 1, 1]]))  # seed 0: 2 of 3; seed 1: 2 of 3
    accuracy.update(logits[:, :1], torch.tensor([[1]]))  # seed 0: 0 of 1; seed 1: 1 of 1
    assert accuracy.compute().tolist() == [2 / 4, 3 / 4]
    accuracy.reset()
    accuracy.update(logits[:, :1], torch.tensor([[0]]))
    assert accuracy.compute().tolist() == [1.0, 0.0]


def test_targets_may_differ_between_seeds():
    accuracy = Accuracy(2)
    accuracy.update(torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]), torch.tensor([[0], [1]]))
    assert accuracy.compute().tolist() == [1.0, 0.0]


def test_weights_are_probabilities():
    accuracy = Accuracy(1)
    logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    accuracy.update(logits, torch.tensor([[0, 1, 0]]), torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64))
    torch.testing.assert_close(accuracy.compute(), torch.tensor([0.3], dtype=torch.float64))


def test_cross_entropy_of_uniform_logits_is_the_log_of_the_classes():
    loss = CrossEntropy(2)
    loss.update(torch.zeros(2, 3, 19), torch.tensor([[0, 5, 18]]))
    torch.testing.assert_close(loss.compute(), torch.full((2,), math.log(19), dtype=torch.float64), rtol=1e-6, atol=0)


def test_cross_entropy_by_hand():
    loss = CrossEntropy(1)
    loss.update(torch.tensor([[[math.log(3.0), 0.0], [0.0, 0.0]]]), torch.tensor([[0, 1]]))
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert abs(loss.compute().item() - expected) < 1e-7


def test_perplexity_is_over_tokens_not_batches():
    """Seed 0: a token at 1/2, then three at 1/8: exp((ln 2 + 3 ln 8) / 4), not (2 + 8) / 2; seed 1: uniform."""
    perplexity = Perplexity(2)
    likely, unlikely = [0.5, 0.25, 0.25], [0.125, 0.5, 0.375]
    perplexity.update(torch.tensor([[likely], [[1 / 3] * 3]]).log(), torch.tensor([[0]]))
    perplexity.update(torch.tensor([[unlikely] * 3, [[1 / 3] * 3] * 3]).log(), torch.tensor([[0, 0, 0]]))
    torch.testing.assert_close(perplexity.compute(), torch.tensor([2**2.5, 3], dtype=torch.float64), rtol=1e-6, atol=0)


def test_directions():
    assert Accuracy.higher_is_better
    assert not CrossEntropy.higher_is_better
    assert not Perplexity.higher_is_better


def test_nothing_counted_is_not_a_number():
    assert Accuracy(1).compute().isnan().all()
    assert Perplexity(1).compute().isnan().all()
