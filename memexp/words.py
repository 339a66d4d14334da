"""The words of figures, tables and reports, in English or in another language.

An English text stays in the code, where it is used: ``tr(f"length {length}")``. A catalogue has what it is in the other
language, with ``{}`` for what varies. Names, of scores, settings, parts of a cell and the like, have a catalogue of
their own, for a word can be both; one that is not there, as of a user's own cell, stays as it is. So do the names of
files, and of the columns of CSV files: programs read them.
"""

import contextlib
import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

import yaml

LANGUAGES = ("en", "zh")

_language = ContextVar("language", default="en")


@contextlib.contextmanager
def language(name: str) -> Iterator[None]:
    """Use one of the `LANGUAGES` within a ``with``; for figures see `memexp.fonts.speaking`."""
    before = _language.set(name)
    try:
        yield
    finally:
        _language.reset(before)


def language_now() -> str:
    """Return the language that is used."""
    return _language.get()


def tr(text: str) -> str:
    """Return an English text in the language that is used."""
    found = _found("texts", text)
    return without_entry(text) if found is None else found


def without_entry(text: str) -> str:
    """Return what stands for a text that the catalogue lacks: itself. The tests let it fail here."""
    return text


def named(name: str) -> str:
    """Return a name in the language that is used, or the name itself if that has no other."""
    found = _found("names", name)
    return name if found is None else found


def labelled(label: str) -> str:
    """Return the label of a run, as `memexp.results.study.label` makes it, in the language that is used."""
    if _language.get() == "en":
        return label
    parts = [part.partition(" (") for part in label.split(", ")]  # behind it may be the name of a study
    return "，".join(f"{named(name)}{bracket}{rest}" for name, bracket, rest in parts)


def _found(kind: str, text: str) -> str | None:
    language = _language.get()
    return text if language == "en" else _translated(language, kind, text)


@functools.lru_cache(maxsize=4096)
def _translated(language: str, kind: str, text: str) -> str | None:
    """Return a text in another language: its own entry, or else the one with most letters among those that fit."""
    entries = catalogue(language)[kind]
    if text in entries:
        return entries[text]
    for pattern, other in _patterns(language, kind):
        match = pattern.fullmatch(text)
        if match:
            return other.format(*match.groups())
    return None


@functools.cache
def catalogue(language: str) -> Mapping[str, Mapping[str, str]]:
    """Return the catalogue of a language: ``texts`` and ``names``, English -> the other."""
    content = Path(__file__).with_name(f"words_{language}.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.load(content, yaml.BaseLoader)  # all of them as texts
    return found


@functools.cache
def _patterns(language: str, kind: str) -> list[tuple[re.Pattern[str], str]]:
    open_ones = [item for item in catalogue(language)[kind].items() if "{}" in item[0]]
    open_ones.sort(key=lambda item: -len(item[0].replace("{}", "")))
    return [(re.compile("(.+?)".join(map(re.escape, text.split("{}"))), re.DOTALL), other) for text, other in open_ones]


def characters(language: str) -> frozenset[str]:
    """Return all characters that are written in a language."""
    written = "".join(other for entries in catalogue(language).values() for other in entries.values())
    return frozenset(written) - {"\n"}


def columns(text: str) -> int:
    """Count the columns that a text takes; Chinese and other wide characters have two."""
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text)
