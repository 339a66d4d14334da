import math

import pytest
import torch

from memexp.experiment import target_statistics
from memexp.tasks.digit_sum import enumerate_distribution
from memexp.tasks.task import Rows


def test_entropy_and_chance_of_the_digit_sum():
    counts = [min(s, 18 - s) + 1 for s in range(19)]
    expected = -sum(c / 100 * math.log2(c / 100) for c in counts)
    entropy, chance = target_statistics(enumerate_distribution(7, 1), 19)
    assert entropy == pytest.approx(expected, rel=1e-9)
    assert chance == pytest.approx(0.1)


def test_rows_without_weights_count_the_same():
    rows = Rows(torch.zeros(4, 1), torch.tensor([0, 0, 0, 2]))
    entropy, chance = target_statistics(rows, 3)
    assert entropy == pytest.approx(-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))
    assert chance == pytest.approx(0.75)
