"""What can be said of each character of a text: its kind, where it stands, and what comes next.

A word is a run of letters. A sentence ends with one of `ENDS`; a line, with a newline.
"""

import unicodedata

import numpy as np

KINDS = ("first letter", "inner letter", "space", "newline", "digit", "punctuation", "other")
ENDS = ".!?。！？"  # of a sentence
VOWELS = "aeiouAEIOU"
MARKS = {" ": "␣", "\n": "↵"}  # how white space is shown


def kind(character: str) -> str:
    """Say of what kind a character is; a letter counts as an inner one, for its neighbours are not known."""
    if character.isalpha():
        return "inner letter"
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
    """Return numbers that say something of each character, name -> [L], float64.

    Positions count from 1. ``position in word`` is 0 outside of words; a newline is the last character of its line and
    a full stop that of its sentence. Nothing is known of what follows the last character, so it is not a space there.
    A feature that is the same everywhere is left out, and so is a position in lines or sentences that never end.
    """
    characters = np.array(list(text))
    kinds = np.array([kind(character) for character in text])
    newline, end = characters == "\n", np.isin(characters, list(ENDS))
    letter, space, punctuation = (kinds == name for name in ("inner letter", "space", "punctuation"))
    found = {
        "position in line": _since(newline) if newline.any() else None,
        "position in word": runs(letter),
        "position in sentence": _since(end) if end.any() else None,
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
    return {
        name: feature.astype(float)
        for name, feature in found.items()
        if feature is not None and feature.min() < feature.max()
    }


def _since(end: np.ndarray) -> np.ndarray:
    """Count from 1 after each end, which is itself the last that is counted: [L] booleans -> [L]."""
    begins = np.concatenate([[True], end[:-1]])
    places = np.arange(len(end))
    return places - np.maximum.accumulate(np.where(begins, places, 0)) + 1


def _next(member: np.ndarray) -> np.ndarray:
    """Say of each character whether the next one is a member: [L] booleans -> [L]."""
    return np.concatenate([member[1:], [False]])
