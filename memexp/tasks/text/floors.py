"""What simple models make of a text, in bits per character: the floors that a language model has to beat.

They take seconds for each MB, so they are kept beside the data and computed once for each text (`kept`).
"""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from memexp import progress
from memexp.files import write_atomically
from memexp.results import seals
from memexp.tasks.text.characters import numbers

ORDERS = ("unigram", "bigram", "trigram")
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda text: gzip.compress(text, 9, mtime=0),
    "xz": lambda text: lzma.compress(text, preset=9),
}
COUNTED_AT_ONCE = 1 << 20  # characters
FOLDER = "floors"  # below that of the data
VERSION = 1  # of what is computed here: another one is computed anew


class Counts:
    """How often each n-gram is in a text, and what is known of each context from that.

    An n-gram is one number, its characters being the digits to the base V; so is the context, the n-gram without its
    last one. Axis letters: N different n-grams, C different contexts.

    Args:
        codes: the numbers of the text's characters, [L].
        n: characters of an n-gram.
        symbols: V.
        step: called with how many characters have been counted, after each piece.
    """

    def __init__(self, codes: np.ndarray, n: int, symbols: int, step: Callable[[int], object]) -> None:
        self.n, self.symbols = n, symbols
        self.grams, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)  # [N], ascending; [N]
        for piece in _pieces(len(codes) - n + 1):
            own, counts = np.unique(self.code(codes[piece.start : piece.stop + n - 1]), return_counts=True)
            self.grams, place = np.unique(np.concatenate([self.grams, own]), return_inverse=True)
            self.counts = np.bincount(place, np.concatenate([self.counts, counts]), len(self.grams)).astype(np.int64)
            step(len(piece))
        self.contexts, first = np.unique(self.grams // symbols, return_index=True)  # [C]
        self.types = np.diff(first, append=len(self.grams))  # different characters after each, [C]
        self.totals = np.add.reduceat(self.counts, first) if len(first) else self.counts  # characters after each, [C]

    def code(self, codes: np.ndarray) -> np.ndarray:
        """Return the n-gram that ends at each character, from the n-th on: [L] -> [L - n + 1]."""
        grams = np.zeros(max(0, len(codes) - self.n + 1), np.int64)
        for place in range(self.n):
            grams = grams * self.symbols + codes[place : place + len(grams)]
        return grams

    def correct(self, grams: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """Return the probability of each n-gram's last character after the others, [L].

        Args:
            grams: the n-grams, [L].
            shorter: the probabilities after the context that is one character shorter, [L].
        """
        if not len(self.grams):
            return shorter
        context, known = _find(self.contexts, grams // self.symbols)
        gram, seen = _find(self.grams, grams)
        types = self.types[context]
        corrected = (np.where(seen, self.counts[gram], 0) + types * shorter) / (self.totals[context] + types)
        return np.where(known, corrected, shorter)


def _pieces(length: int) -> Iterator[range]:
    """Cut 0..length-1 into pieces, so that the memory does not grow with a text."""
    for start in range(0, length, COUNTED_AT_ONCE):
        yield range(start, min(start + COUNTED_AT_ONCE, length))


def _find(among: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where numbers are among ascending ones, and whether they are there; any place if not."""
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return place, among[place] == wanted


def ngram_bits(
    train: str, held_out: str, orders: int, symbols: int, step: Callable[[int], object] = lambda characters: None
) -> list[float]:
    """Return the bits per character of n-gram models on a held-out text that follows the training text.

    The probability of a character is that of the next shorter context, corrected by what followed this one (Witten and
    Bell 1991): (count + types * shorter) / (total + types), down to the uniform distribution over all symbols.

    Args:
        train: the text whose counts are taken.
        held_out: the text that is scored; the end of ``train`` is its first context.
        orders: of how many models: 1 unigram; 2 bigram too; 3 trigram too.
        symbols: V, as many as there are, or more.
        step: called with how many characters have been counted, after each piece.
    """
    vocabulary = sorted({*train, *held_out})
    before, after = numbers(train, vocabulary), numbers(held_out, vocabulary)
    known = [Counts(before, n, len(vocabulary), step) for n in range(1, orders + 1)]
    text = np.concatenate([before[max(0, len(before) - orders + 1) :], after])
    start, bits = len(text) - len(after), np.zeros(orders)
    for piece in _pieces(len(after)):
        probability = np.full(len(piece), 1 / symbols)
        for place, counts in enumerate(known):
            first = start + piece.start - place
            past = max(0, -first)  # so many characters at the beginning of all have no context of this length
            grams = counts.code(text[max(0, first) : start + piece.stop])
            probability[past:] = counts.correct(grams, probability[past:])
            bits[place] -= np.log2(probability).sum()
    return [float(each) for each in bits / len(held_out)]


def compressed_bits(train: str, held_out: str, step: Callable[[int], object] = lambda done: None) -> dict[str, float]:
    """Return the bits per character that gzip and xz need for a held-out text once they have seen the training text.

    That is what appending it makes the compressed training text longer by.

    Args:
        train: the text that was seen.
        held_out: the text that is scored.
        step: called with the characters that were compressed, after each compression.
    """
    before, found = train.encode(), {}
    for name, compress in COMPRESSORS.items():
        sizes = []
        for text in (before, before + held_out.encode()):
            sizes.append(len(compress(text)))
            step(len(train))
        found[name] = 8 * (sizes[1] - sizes[0]) / len(held_out)
    return found


def floors(train: str, held_out: str, symbols: int) -> dict[str, float]:
    """Return the bits per character of every simple model on the held-out text, by name."""
    with progress.bar(len(train) * (len(ORDERS) + 2 * len(COMPRESSORS)), "simple models") as bar:
        ngrams = ngram_bits(train, held_out, len(ORDERS), symbols, bar.update)
        return {**dict(zip(ORDERS, ngrams, strict=True)), **compressed_bits(train, held_out, bar.update)}


def kept(train: str, held_out: str, symbols: int, folder: Path) -> dict[str, float]:
    """Return what `floors` does; a text that was seen before is not counted again.

    What was found is kept in a file of `FOLDER` that is named after the text and its parts. Several processes may do
    so at the same time. Where it cannot be kept, or is damaged, the floors are computed all the same.

    Args:
        train: see `floors`.
        held_out: see `floors`.
        symbols: see `floors`.
        folder: of the data.
    """
    of = hashlib.sha256()
    for part in (train, held_out, f"{symbols} {VERSION} {zlib.ZLIB_RUNTIME_VERSION}"):
        of.update(hashlib.sha256(part.encode()).digest())
    path = folder / FOLDER / f"{of.hexdigest()}.json"
    with suppress(OSError, ValueError, RecursionError):
        found, state = seals.from_json(path.read_bytes())
        if state == "sealed" and [*found] == [*ORDERS, *COMPRESSORS]:
            return found
    found = floors(train, held_out, symbols)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, seals.to_json(found))
    return found
