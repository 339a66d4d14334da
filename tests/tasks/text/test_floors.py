import itertools
import math
import random

import pytest

from memexp.tasks.text.floors import compressed_bits, floors, ngram_bits

RANDOM = "".join(random.Random(0).choices("abcd", k=20_000))


@pytest.mark.parametrize(
    ("order", "held_out", "probabilities"),
    [
        # of aab: (count + 2 types x 1/3) / (3 characters + 2 types)
        (1, "abc", (8 / 15, 5 / 15, 2 / 15)),
        # b was never followed: the unigram's; a by one a and one b: (1 + 2 types x unigram) / (2 + 2)
        (2, "abac", (8 / 15, 5 / 12, 8 / 15, (2 * 2 / 15) / 4)),
        # ab and ba were never followed; aa once, by b: (1 + 1 type x bigram) / (1 + 1), or without the count
        (3, "aaba", (8 / 15, (1 + 2 * 8 / 15) / 4, (1 + 5 / 12) / 2, 8 / 15)),
    ],
)
def test_bits_by_hand(order: int, held_out: str, probabilities: tuple[float, ...]):
    """Trained on aab, with three symbols."""
    bits = -sum(map(math.log2, probabilities)) / len(probabilities)
    assert ngram_bits("aab", held_out, order, 3) == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("train", ["", "a", "ab", "abcabbcaacb"])
def test_the_probabilities_after_every_context_sum_to_one(train: str, order: int):
    """Of the symbols one, d, is never seen."""
    for length in range(3):
        for context in map("".join, itertools.product("abcd", repeat=length)):
            before = ngram_bits(train, context, order, 4) * length if length else 0.0
            each = [ngram_bits(train, context + symbol, order, 4) * (length + 1) - before for symbol in "abcd"]
            assert sum(2**-bits for bits in each) == pytest.approx(1, rel=1e-9)


def test_a_period_needs_no_bits_once_the_context_is_long_enough():
    train, held_out = "aab" * 300, "aab" * 50
    assert ngram_bits(train, held_out, 3, 2) < 0.01
    # after a comes a or b; b is followed by a
    assert ngram_bits(train, held_out, 2, 2) == pytest.approx(2 / 3, abs=0.01)
    assert ngram_bits(train, held_out, 1, 2) == pytest.approx(math.log2(3) - 2 / 3, abs=0.01)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_random_text_needs_log2_of_its_symbols(order: int):
    assert ngram_bits(RANDOM[:16_000], RANDOM[16_000:], order, 4) == pytest.approx(2, abs=0.02)


def test_a_repeated_text_compresses_to_nothing_and_a_random_one_to_its_entropy():
    seen, new = RANDOM[:5_000], RANDOM[5_000:10_000]
    assert max(compressed_bits(seen, seen).values()) < 0.15
    for bits in compressed_bits(seen, new).values():
        assert 2 <= bits < 2.6


def test_the_floors_by_name():
    found = floors("aab", "abc", 3)
    assert list(found) == ["unigram", "bigram", "trigram", "gzip", "xz"]
    assert [found[name] for name in ("unigram", "bigram")] == [ngram_bits("aab", "abc", order, 3) for order in (1, 2)]
