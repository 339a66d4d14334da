"""Characters: their numbers, and what can be said of each one in a text: its kind, where it stands, what comes next.

A word is a run of letters; letters of scripts that are written without spaces between words (`WITHOUT_SPACES`), as
Chinese, are in no word, for nothing in the text tells where a word begins. A sentence ends with one of `ENDS`; a line,
with a newline.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memexp.errors import ConfigError

KINDS = ("first letter", "inner letter", "letter", "space", "newline", "digit", "punctuation", "other")
WITHOUT_SPACES = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")  # Unicode names
ENDS = ".!?。！？"  # of a sentence
VOWELS = "aeiouAEIOU"
TURNED_AT_ONCE = 1 << 20  # characters
MARKS = {" ": "␣", "\n": "↵"}  # how white space is shown


def in_word(character: str) -> bool:
    """Say whether a character is a letter of words."""
    return character.isalpha() and not unicodedata.name(character, "").startswith(WITHOUT_SPACES)


def kind(character: str) -> str:
    """Say of what kind a character is.

    A letter of a word counts as an inner one, for its neighbours are not known; one that is in no word is a ``letter``.
    """
    if character.isalpha():
        return "inner letter" if in_word(character) else "letter"
    if character == "\n":
        return "newline"
    if character.isspace():
        return "space"
    if character.isdecimal():
        return "digit"
    return "punctuation" if unicodedata.category(character).startswith("P") else "other"


def runs(member: np.ndarray) -> np.ndarray:
    """Number the members of each run along the last axis from 1: [..., L] booleans -> [..., L]; 0 for no member."""
    places = np.arange(1, member.shape[-1] + 1)
    return places - np.maximum.accumulate(np.where(member, 0, places), axis=-1)


def features(text: str) -> dict[str, np.ndarray]:
    """Return numbers that say something of each character, name -> [L], float64; not a number where undefined.

    Positions count from 1: in words, of their letters only; in lines and sentences, which a newline and a full stop
    are the last characters of. The text may begin in the midst of all three, so that positions in the first are not
    defined; nor is what follows the last character.
    """
    characters = np.array(list(text))
    kinds = np.array([kind(character) for character in text])
    space, newline, punctuation = (kinds == name for name in ("space", "newline", "punctuation"))
    found = {
        "position in line": _since(newline),
        "position in word": _in_run(np.array([in_word(character) for character in text])),
        "position in sentence": _since(np.isin(characters, list(ENDS))),
        "space": space,
        "space next": _next(space),
        "newline": newline,
        "newline next": _next(newline),
        "punctuation": punctuation,
        "punctuation next": _next(punctuation),
        "digit": kinds == "digit",
        "upper case": np.array([character.isupper() for character in text]),
        "vowel": np.isin(characters, list(VOWELS)),
    }
    return {name: feature.astype(float) for name, feature in found.items()}


def _in_run(member: np.ndarray) -> np.ndarray:
    """Number the members of each run that begins within the text from 1, [L] booleans -> [L]; NaN elsewhere."""
    begun = np.maximum.accumulate(~member)
    return np.where(member & begun, runs(member), np.nan)


def _since(end: np.ndarray) -> np.ndarray:
    """Count from 1 after each end, up to and with the next one, [L] booleans -> [L]; NaN up to and with the first."""
    places = np.arange(len(end))
    last = np.maximum.accumulate(np.where(end, places, -1))  # place of the last end so far
    before = np.concatenate([[-1], last[:-1]])
    return np.where(before >= 0, places - before, np.nan)


def _next(member: np.ndarray) -> np.ndarray:
    """Say of each character whether the next one is a member, [L] booleans -> [L]; NaN for the last."""
    return np.append(member[1:].astype(float), np.nan)


def typed(text: str, vocabulary: Sequence[str]) -> str:
    """Return a text as it was meant: ``\\n`` is a newline to a vocabulary that has one, and has no backslash."""
    return text.replace(r"\n", "\n") if "\n" in vocabulary and "\\" not in vocabulary else text


def opening(vocabulary: Sequence[str]) -> str:
    """Return what a text that begins with nothing goes on from: a space, else a newline, else the first character."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])


def numbers(text: str, vocabulary: Sequence[str]) -> np.ndarray:
    """Turn text into the numbers of its characters, [L], in the smallest type that torch has for them.

    A space is a newline to a vocabulary with newlines alone. A long text is turned piece by piece, for memory.

    Raises:
        ConfigError: it has characters that the vocabulary does not have; they are named.
    """
    number = {character: k for k, character in enumerate(vocabulary)}
    if "\n" in number:
        number.setdefault(" ", number["\n"])  # verse without spaces
    kind = next(kind for kind in (np.uint8, np.int16, np.int32) if len(vocabulary) <= np.iinfo(kind).max + 1)
    of = np.full(max(map(ord, number)) + 1, -1)  # code point -> number
    of[[ord(character) for character in number]] = [*number.values()]
    found = np.empty(len(text), kind)
    for start in range(0, len(text), TURNED_AT_ONCE):
        points = np.frombuffer(text[start : start + TURNED_AT_ONCE].encode("utf-32-le", "surrogatepass"), "<u4")
        piece = np.where(points < len(of), of[np.minimum(points, len(of) - 1)], -1)
        if (piece < 0).any():
            unknown, known = sorted(set(text) - number.keys()), "".join(vocabulary)
            shown = known if len(known) <= 80 else f"{known[:80]}... ({len(known)} in all)"
            raise ConfigError(
                f"the text {text!r} has characters the model does not know: {unknown}; it knows {shown!r}"
            )
        found[start : start + TURNED_AT_ONCE] = piece
    return found


def encode(text: str, vocabulary: Sequence[str]) -> Tensor:
    """Turn text into the numbers of its characters, [L], as `numbers` does, in the type of indices."""
    return torch.from_numpy(numbers(text, vocabulary)).long()
