"""docs/published.md has the numbers of the table that a run from a fresh clone gave, images/published/published.csv."""

import math

import pandas as pd
import pytest
from documents import HOME, chinese, read

from memexp.guess import number
from memexp.published.command import CLAIMS

TABLE = HOME / "images/published/published.csv"


def spellings(value: float) -> set[str]:
    """Write a number as the document may: with two decimals or one, as the command, or whole where it nearly is."""
    whole = {f"{value:,.0f}"} if value >= 1000 or abs(value - round(value)) < 0.05 else set()
    return {f"{value:,.{digits}f}" for digits in (1, 2)} | {number(value)} | whole


def cells_of(page: str) -> list[list[str]]:
    """List the cells of every row of every table of a page."""
    rows = [line for line in read(page).splitlines() if line.startswith("|") and set(line) - set("|- ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def has(cells: list[str], mean: float, low: float, high: float) -> bool:
    """Say whether one of the cells is this number with its interval, or where it is open its lower end."""
    if math.isinf(high):
        return any(cell in (f"over {low:,.0f}", f"超过 {low:,.0f}") for cell in cells)
    if low == high:
        return any(cell in spellings(mean) or cell in {f"{m} [{m}, {m}]" for m in spellings(mean)} for cell in cells)
    whole = {f"{m} [{a}, {b}]" for m in spellings(mean) for a in spellings(low) for b in spellings(high)}
    return any(cell in whole for cell in cells)


@pytest.mark.parametrize("page", ["docs/published.md", chinese("docs/published.md")])
def test_every_number_of_the_table_is_on_the_page_beside_theirs(page: str):
    rows = cells_of(page)
    found = pd.read_csv(TABLE)
    assert found["what"].tolist() == [claim.what for claim in CLAIMS]
    assert found["missing"].isna().all()
    missing = [
        row["what"]
        for _, row in found.iterrows()
        if not any(
            has(cells, row["ours"], row["low"], row["high"])
            and (math.isnan(row["theirs"]) or has(cells, row["theirs"], row["their_low"], row["their_high"]))
            for cells in rows
        )
    ]
    assert missing == []


@pytest.mark.parametrize("page", ["docs/published.md", chinese("docs/published.md")])
def test_who_agrees_is_said_as_it_came_out(page: str):
    words = {"yes": "是", "no": "否", "open": "未定"} if "zh" in page else {w: w for w in ("yes", "no", "open")}
    found = pd.read_csv(TABLE)
    counted = found[found["source"].str.contains("1997|2001")]
    said = [cells[-1] for cells in cells_of(page) if cells[-1] in words.values()][: len(counted)]
    assert said == [words[agrees] for agrees in counted["agrees"]]
