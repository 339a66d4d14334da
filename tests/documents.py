"""The documents as tests read them."""

import re
from pathlib import Path

HOME = Path(__file__).parent.parent


def chinese(name: str) -> str:
    """Name the Chinese twin of a document."""
    return "README.zh-CN.md" if name == "README.md" else name.replace("docs/", "docs/zh-CN/")


def read(name: str) -> str:
    """Return the text of a document."""
    return (HOME / name).read_text(encoding="utf-8")


def table(name: str, heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table of a document that begins with ``heading``."""
    text = read(name)
    lines = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def numbers(text: str) -> list[float]:
    """List the numbers in a cell of a table."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
