import itertools
import json
import math
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from memexp import progress
from memexp.results import seals
from memexp.tasks.text import floors as module
from memexp.tasks.text.floors import compressed_bits, floors, kept, ngram_bits

NAMES = ["unigram", "bigram", "trigram", "gzip", "xz"]
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
    assert ngram_bits("aab", held_out, order, 3)[-1] == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("train", ["", "a", "ab", "abcabbcaacb"])
def test_the_probabilities_after_every_context_sum_to_one(train: str, order: int):
    """Of the symbols one, d, is never seen."""
    for length in range(3):
        for context in map("".join, itertools.product("abcd", repeat=length)):
            before = ngram_bits(train, context, order, 4)[-1] * length if length else 0.0
            each = [ngram_bits(train, context + symbol, order, 4)[-1] * (length + 1) - before for symbol in "abcd"]
            assert sum(2**-bits for bits in each) == pytest.approx(1, rel=1e-9)


def test_a_period_needs_no_bits_once_the_context_is_long_enough():
    train, held_out = "aab" * 300, "aab" * 50
    unigram, bigram, trigram = ngram_bits(train, held_out, 3, 2)
    assert trigram < 0.01
    assert bigram == pytest.approx(2 / 3, abs=0.01)  # after a comes a or b; b is followed by a
    assert unigram == pytest.approx(math.log2(3) - 2 / 3, abs=0.01)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_random_text_needs_log2_of_its_symbols(order: int):
    assert ngram_bits(RANDOM[:16_000], RANDOM[16_000:], order, 4)[-1] == pytest.approx(2, abs=0.02)


def test_a_repeated_text_compresses_to_nothing_and_a_random_one_to_its_entropy():
    seen, new = RANDOM[:5_000], RANDOM[5_000:10_000]
    assert max(compressed_bits(seen, seen).values()) < 0.15
    for bits in compressed_bits(seen, new).values():
        assert 2 <= bits < 2.6


def plain(train: str, held_out: str, order: int, symbols: int) -> float:
    """The same definition, a dictionary of counts for each context and one character after the other."""
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


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("train", [0, 1, 2, 3, 400])
@pytest.mark.parametrize(
    "alphabet", ["ab", "a b\n", "不分开\U0001f40b", "".join(map(chr, range(0x4E00, 0x4E00 + 400)))]
)
def test_counted_in_pieces_they_are_those_of_the_plain_definition(
    monkeypatch: pytest.MonkeyPatch, alphabet: str, train: int, at_once: int
):
    """Also of symbols that are in one of the two texts alone, and of more symbols than are in either."""
    monkeypatch.setattr(module, "COUNTED_AT_ONCE", at_once)
    text = "".join(random.Random(1).choices(alphabet, k=train + 57))
    before, after = text[:train], text[train:]
    expected = [plain(before, after, order, len(alphabet) + 1) for order in (1, 2, 3)]
    assert ngram_bits(before, after, 3, len(alphabet) + 1) == pytest.approx(expected, rel=1e-12)


def test_the_floors_by_name():
    found = floors("aab", "abc", 3)
    assert list(found) == NAMES
    assert [found[name] for name in NAMES[:3]] == ngram_bits("aab", "abc", 3, 3)
    assert {name: found[name] for name in NAMES[3:]} == compressed_bits("aab", "abc")


def test_the_bar_is_full_at_the_end_and_hidden_in_a_sweep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "COUNTED_AT_ONCE", 100)
    opened, bar = [], progress.bar

    def note(total: float, description: str) -> object:
        shown = bar(total, description)
        opened.append((total, shown, shown.disable))
        return shown

    monkeypatch.setattr(module.progress, "bar", note)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    floors("ab" * 500, "ab", 2)
    with progress.silence(True):
        floors("ab" * 500, "ab", 2)
    (total, shown, _), _ = opened
    assert total == 7000
    assert total - 3 <= shown.n <= total  # an n-gram has n - 1 places less
    assert [bool(hidden) for *_, hidden in opened] == [False, True]


# --- kept for the next run ---


def never(*_: object) -> dict[str, float]:
    raise AssertionError("computed again")


def test_a_text_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = kept("aabba" * 9, "abab", 2, tmp_path / "new")
    assert found == floors("aabba" * 9, "abab", 2)
    (path,) = (tmp_path / "new" / "floors").iterdir()
    assert seals.from_json(path.read_bytes()) == (found, "sealed")
    monkeypatch.setattr(module, "floors", never)
    assert kept("aabba" * 9, "abab", 2, tmp_path / "new") == found
    for other in (("aabba" * 9 + "a", "bab", 2), ("aabba" * 8, "abab", 2), ("aabba" * 9, "abab", 3)):
        with pytest.raises(AssertionError, match="computed again"):
            kept(*other, tmp_path / "new")
    monkeypatch.setattr(module, "VERSION", 0)
    with pytest.raises(AssertionError, match="computed again"):
        kept("aabba" * 9, "abab", 2, tmp_path / "new")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[1]", b"null", b"{}", b"\xff", b'{"unigram": 1.0}', b"[" * 9999, "gone", "null", "NaN", '"2"', "2.5"],
    ids=lambda damage: str(damage)[:9],
)
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: bytes | str):
    found = kept("aabba" * 9, "abab", 2, tmp_path)
    (path,) = (tmp_path / "floors").iterdir()
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text().replace(json.dumps(found["xz"]), damage))
    assert kept("aabba" * 9, "abab", 2, tmp_path) == found
    assert seals.from_json(path.read_bytes()) == (found, "sealed")
    assert [*path.parent.iterdir()] == [path]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    assert kept("aab", "abc", 3, tmp_path / "file") == floors("aab", "abc", 3)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert kept("aab", "abc", 3, tmp_path) == floors("aab", "abc", 3)
    assert [*(tmp_path / "floors").iterdir()] == []
