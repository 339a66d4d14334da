"""Writing on figures: any character of any text, in a font that has it; titles that fit their figure."""

import functools
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

FONT = 7.5  # size of small text
FAINT = ("␣", "↵")  # tokens that the others stand out from
EM = 8 / 15  # width of a character, on average, by its height


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


def titled(figure: Figure, title: str, size: float = 9) -> Figure:
    """Set a title, wrapped to the figure's width; its own line breaks stay."""
    font = font_for(title)
    lines = fitted(legible(title, font), figure.get_figwidth(), size)
    figure.suptitle(lines, fontsize=size, parse_math=False, **font)
    return figure


def entitled(ax: Axes, title: str, size: float = 10) -> Axes:
    """Set the title of Axes, wrapped to their width."""
    text = legible(title, font_for(title))
    ax.set_title(fitted(text, 1.1 * inches_wide(ax), size), fontsize=size)  # they will be a little wider
    return ax


def inches_wide(ax: Axes) -> float:
    """Return about how wide Axes are, before the figure is laid out."""
    return float(ax.bbox.width / ax.get_figure(root=True).dpi)  # type: ignore[union-attr]


def fitted(text: str, inches: float, size: float) -> str:
    """Wrap a text of so many points to a width; its own line breaks stay."""
    return "\n".join(wrapped(line, int(inches * 72 / (EM * size))) for line in text.splitlines())


def made_legible(figure: Figure) -> Figure:
    """Give every text of a figure a font that has its characters, so that a name in Chinese is no row of boxes."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        written = text.get_text()
        font = font_for(written)
        if font or legible(written, font) != written:
            text.set(text=legible(written, font), **font)
    return figure


def wrapped(line: str, width: int) -> str:
    """Wrap a line; Chinese and other wide characters count twice."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return textwrap.fill(line, max(1, width * len(line) // max(1, len(line) + wide)))
