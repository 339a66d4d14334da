"""What simple models make of a text, in bits per character: the floors that a language model has to beat."""

import gzip
import lzma
import math
from collections import Counter
from collections.abc import Sequence


def ngram_bits(train: str, held_out: str, order: int, symbols: int) -> float:
    """Return the bits per character of an n-gram model on a held-out text that follows the training text.

    The probability of a character is that of the next shorter context, corrected by what followed this one (Witten and
    Bell 1991): (count + types * shorter) / (total + types), down to the uniform distribution over all symbols.

    Args:
        train: the text whose counts are taken.
        held_out: the text that is scored; the end of ``train`` is its first context.
        order: 1 unigram, 2 bigram, 3 trigram.
        symbols: V.
    """
    counts: list[dict[str, Counter[str]]] = [{} for _ in range(order)]
    for length in range(order):
        for place in range(length, len(train)):
            counts[length].setdefault(train[place - length : place], Counter())[train[place]] += 1
    text, start, bits = train[-order:] + held_out, min(order, len(train)), 0.0
    for place in range(start, len(text)):
        probability = 1 / symbols
        for length in range(order):
            seen = counts[length].get(text[place - length : place])
            if seen:
                probability = (seen[text[place]] + len(seen) * probability) / (seen.total() + len(seen))
        bits -= math.log2(probability)
    return bits / len(held_out)


def compressed_bits(train: str, held_out: str) -> dict[str, float]:
    """Return the bits per character that gzip and xz need for a held-out text once they have seen the training text.

    That is what appending it makes the compressed training text longer by.
    """
    before, after = train.encode(), (train + held_out).encode()
    sizes = {
        "gzip": (len(gzip.compress(before, 9, mtime=0)), len(gzip.compress(after, 9, mtime=0))),
        "xz": (len(lzma.compress(before, preset=9)), len(lzma.compress(after, preset=9))),
    }
    return {name: 8 * (long - short) / len(held_out) for name, (short, long) in sizes.items()}


def floors(
    train: str, held_out: str, symbols: int, orders: Sequence[str] = ("unigram", "bigram", "trigram")
) -> dict[str, float]:
    """Return the bits per character of every simple model on the held-out text, by name."""
    ngrams = {name: ngram_bits(train, held_out, order, symbols) for order, name in enumerate(orders, 1)}
    return {**ngrams, **compressed_bits(train, held_out)}
