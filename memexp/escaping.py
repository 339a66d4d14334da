"""Texts from elsewhere, of a record or of a corpus, on a terminal and in Markdown: they are shown, and do nothing."""

import re
import unicodedata

ACTING = ("Cc", "Cs", "Zl", "Zp")  # kinds of characters: controls, halves of others, ends of lines
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # what is around them
#: What Markdown, or the HTML that may stand in it, takes for more than a character; ``_`` within a word is none.
MARKS = re.compile(r"[<>&|`\\$*~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")


def plain(text: str, keep: str = "") -> str:
    """Write a text for the terminal, where a control character would move, colour or hide what is around it.

    Args:
        text: the text.
        keep: control characters that may act.
    """
    return "".join(_as_escape(c) if c not in keep and _acts(c) else c for c in text)


def in_markdown(text: str) -> str:
    """Write a text for Markdown, so that a page shows it as it is: no markup, no link, no end of a cell, no HTML."""
    return MARKS.sub(lambda mark: f"&#{ord(mark[0])};", plain(text))


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ACTING or character in TURNING


def _as_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
