"""Fonts: which one has the characters that the usual one lacks, and figures in another language than English."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memexp import words
from memexp.canvas import font_manager, second_font
from memexp.errors import ConfigError

ODD = ("bold", "black", "italic", "oblique", "serif", "lastresort")  # in the name of the file of a font that stands out
MAINLAND = ("SC", "CN", "GB", "YaHei", "SimHei", "DengXian", "WenQuanYi")  # in names of fonts with its forms of letters

NO_FONT = (
    "lang=zh: no font here has the Chinese characters of the figures; install one, as Noto Sans CJK SC (Debian and "
    "Ubuntu: apt-get install fonts-noto-cjk; macOS: brew install --cask font-noto-sans-cjk-sc; Windows: Settings, "
    "Optional features, Chinese (Simplified) Supplemental Fonts), or give lang=en"
)


def charmap(face: str) -> frozenset[str]:
    """List the characters that a font can draw."""
    return frozenset(map(chr, font_manager.get_font(face).get_charmap()))


glyphs = functools.lru_cache(maxsize=8)(charmap)


def glyphs_of(*families: str) -> frozenset[str]:
    """List the characters that fonts of these families can draw; that of ``sans-serif`` is the usual one."""
    fonts = (font_manager.findfont(font_manager.FontProperties(family=[name])) for name in families)
    return frozenset().union(*map(glyphs, fonts))


def _faces() -> Iterator[str]:
    """Yield the installed fonts. A file can have several; matplotlib before 3.11 knows only the first."""
    for path in sorted(font_manager.findSystemFonts()):
        several = hasattr(font_manager, "FontPath") and path.lower().endswith((".ttc", ".otc"))
        try:
            count = font_manager.get_font(path).num_faces if several else 1
        except (OSError, RuntimeError):  # a font that matplotlib cannot read
            continue
        yield from (font_manager.FontPath(path, face) for face in range(count)) if count > 1 else [path]


@functools.cache
def family_with(missing: frozenset[str]) -> str | None:
    """Choose the installed font that has the most of some characters; return its family, None if none has any."""
    most, chosen = (0, False, False), ""
    for face in _faces():
        try:
            has = len(missing & charmap(face))
            name = font_manager.get_font(face).family_name
        except (OSError, RuntimeError):
            continue
        plain = not any(word in Path(face).name.lower() for word in ODD)
        worth = has, plain, any(word in MAINLAND for word in name.split())
        if has and worth > most:
            most, chosen = worth, face
    if not chosen:
        return None
    name = f"memexp {font_manager.get_font(chosen).family_name}"
    place: dict[str, Any] = {"index": getattr(chosen, "face_index", 0)} if hasattr(font_manager, "FontPath") else {}
    for weight in (400, 700):  # under a name of our own: matplotlib's list of fonts can be older than the font, or
        entry = font_manager.FontEntry(fname=str(chosen), name=name, weight=weight, **place)  # give it a weight it
        font_manager.fontManager.ttflist.append(entry)  # then warns about
    return name


def family_for(language: str) -> str | None:
    """Return the family that has what the usual font lacks of a language; None if that is nothing.

    Raises:
        ConfigError: no installed font has all of it.
    """
    missing = words.characters(language) - glyphs_of("sans-serif") if language != "en" else frozenset()
    if not missing:
        return None
    family = family_with(missing)
    if family is None or not missing <= glyphs_of(family):
        raise ConfigError(NO_FONT)
    return family


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Make figures, tables and reports within a ``with`` in one of the `memexp.words.LANGUAGES`.

    Raises:
        ConfigError: no installed font has its characters.
    """
    with words.language(language), second_font(family_for(language)):
        yield
