"""Writing on figures: any character of any text, in a font that has it; titles that fit their figure."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from memexp.escaping import plain
from memexp.fonts import family_with, glyphs_of
from memexp.words import columns

FONT = 7.5  # size of small text
FAINT = ("␣", "↵")  # tokens that the others stand out from
EM = 8 / 15  # width of a column, on average, by the height of a character
WIDE = "\u2e80-\ua4ff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60"  # characters that lines may be broken between
PIECE = re.compile(rf"\s+|[（《“]*(?:[{WIDE}](?: [\d.]+)?|[^\s{WIDE}]+)(?: %)?[，。、；：？！）》”]*")


def font_for(text: str) -> dict[str, Any]:
    """Return what a `matplotlib.text.Text` needs to draw a text: nothing, or one more font for what the usual lack."""
    usual = matplotlib.rcParams["font.family"]
    missing = frozenset(plain(text, "\n")) - glyphs_of(*usual) - {"\n"}
    other = family_with(missing) if missing else None
    return {"fontfamily": [*usual, other]} if other else {}


def legible(text: str, font: Mapping[str, Any]) -> str:
    """Replace every character that no font has by its code point, and controls by escapes: a box would say nothing."""
    glyphs = glyphs_of(*font.get("fontfamily", matplotlib.rcParams["font.family"])) | {"\n"}
    return "".join(c if c in glyphs else f"{ord(c):04x}" for c in plain(text, "\n"))


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
    """Wrap a line to so many columns: between words, and beside wide characters, but not before what ends a phrase."""
    if columns(line) == len(line):
        return textwrap.fill(line, max(1, width))
    lines = [""]
    for piece in PIECE.findall(line):
        if lines[-1] and columns(f"{lines[-1]}{piece}".rstrip()) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(map(str.rstrip, lines))
