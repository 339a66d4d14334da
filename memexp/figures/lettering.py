"""Writing on figures: any character of any text, in a font that has it; titles that fit their figure."""

import functools
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Any

from matplotlib import font_manager
from matplotlib.figure import Figure

FONT = 7.5  # size of small text
FAINT = ("0", "␣", "↵")  # tokens that the others stand out from


@functools.cache
def _glyphs(path: str) -> frozenset[str]:
    """List the characters that a font file can draw."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _usual_glyphs() -> frozenset[str]:
    return _glyphs(font_manager.findfont(font_manager.FontProperties()))


@functools.cache
def _other_font(missing: frozenset[str]) -> str | None:
    """Choose the installed font that has the most of some characters; None if none has any."""

    def looks_odd(path: str) -> bool:
        return any(word in path.lower() for word in ("bold", "black", "italic", "oblique", "serif", "lastresort"))

    most, chosen = 0, None
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: (looks_odd(path), path)):
        try:
            has = len(missing & _glyphs(path))
        except (OSError, RuntimeError):  # a font that matplotlib cannot read
            continue
        if has > most:
            most, chosen = has, path
    if chosen is None:
        return None
    name = f"memexp {font_manager.get_font(chosen).family_name}"
    for weight in (400, 700):  # under a name of our own: matplotlib's list of fonts can be older than the font, or
        entry = font_manager.FontEntry(fname=chosen, name=name, weight=weight)  # give it a weight it then warns about
        font_manager.fontManager.ttflist.append(entry)
    return name


def font_for(text: str) -> dict[str, Any]:
    """Return what a `matplotlib.text.Text` needs to draw a text: nothing, or a second font for what the usual lacks."""
    missing = frozenset(text) - _usual_glyphs() - {"\n"}
    other = _other_font(missing) if missing else None
    return {"fontfamily": ["sans-serif", other]} if other else {}


def legible(text: str, font: Mapping[str, Any]) -> str:
    """Replace every character that no font has by its code point: a box would say nothing."""
    glyphs = _usual_glyphs() | {"\n"}
    for name in font.get("fontfamily", ())[1:]:
        glyphs |= _glyphs(font_manager.findfont(name))
    return "".join(c if c in glyphs else f"{ord(c):04x}" for c in text)


def titled(figure: Figure, title: str) -> Figure:
    """Set a title, wrapped to the figure's width; its own line breaks stay."""
    font = font_for(title)
    lines = [wrapped(line, int(figure.get_figwidth() * 15)) for line in legible(title, font).splitlines()]
    figure.suptitle("\n".join(lines), fontsize=9, parse_math=False, **font)
    return figure


def wrapped(line: str, width: int) -> str:
    """Wrap a line; Chinese and other wide characters count twice."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return textwrap.fill(line, max(1, width * len(line) // max(1, len(line) + wide)))
