"""What the fault tests found, counted; and the table of it in docs/reliability.md, in both languages.

A plugin of pytest, loaded by tests/conftest.py. `pytest -m faults --write-table` writes the table; without the option
nothing is written, and what is wrong fails its test.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).resolve().parent.parent.parent
PAGES = {"en": HOME / "docs/reliability.md", "zh": HOME / "docs/zh-CN/reliability.md"}
ROWS = yaml.safe_load(Path(__file__).with_name("rows.yaml").read_text(encoding="utf-8"))
BEGIN, END = "<!-- what the test run found: begin -->", "<!-- end -->"
PROPERTY = "faults"

RIGHT, LINE, WRONG, TRACEBACK = OUTCOMES = ("right", "line", "wrong", "traceback")


class Tally:
    """Counts of one row of the table; a name of ``rows.yaml``."""

    def __init__(self, row: str) -> None:
        assert row in ROWS, f"{row} has no line in rows.yaml"
        self.row, self.counts = row, Counter[str]()
        self.complaints: list[str] = []

    def note(self, outcome: str, what: str = "") -> None:
        """Count one try; ``what`` says more of it where it is not as it should be."""
        assert outcome in OUTCOMES
        self.counts[outcome] += 1
        if outcome in (WRONG, TRACEBACK):
            self.complaints.append(f"{outcome}: {what}")


Row = Callable[[str], AbstractContextManager[Tally]]


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    """Open a row of the table; when it is closed, it is reported, and what was wrong fails the test."""

    @contextmanager
    def opened(name: str) -> Iterator[Tally]:
        tally = Tally(name)
        try:
            yield tally
        finally:
            record_property(PROPERTY, {"row": name, **{outcome: tally.counts[outcome] for outcome in OUTCOMES}})
        if tally.complaints:
            shown = "\n".join(tally.complaints[:25])
            pytest.fail(f"{len(tally.complaints)} of {sum(tally.counts.values())} tries\n{shown}", pytrace=False)

    return opened


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table."""
    parser.addoption(
        "--write-table", action="store_true", help="with -m faults: write the table in docs/reliability.md"
    )


class Collector:
    """Gathers what all workers report, and writes the table at the end."""

    def __init__(self) -> None:
        self.found: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the counts out of a report."""
        for name, value in report.user_properties if report.when == "call" else ():
            if name == PROPERTY:
                counts = {key: count for key, count in value.items() if key != "row"}  # type: ignore[attr-defined]
                self.found.setdefault(value["row"], Counter()).update(counts)  # type: ignore[index]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the table of a whole run of the fault tests."""
        if not session.config.getoption("--write-table"):
            return
        left = [name for name in ROWS if name not in self.found]
        if left:
            raise pytest.UsageError(f"the table is not written: these rows were not tried: {', '.join(left)}")
        for language, page in PAGES.items():
            page.write_text(with_table(page.read_text(encoding="utf-8"), table(self.found, language)), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Collect where the reports come together: not in a worker."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(), "faults-collector")


HEADINGS = {
    "en": ("fault", "where", "tried", "right result", "one clear line", "wrong", "tracebacks", "lost at most"),
    "zh": ("故障", "何处", "次数", "结果正确", "一行清楚的话", "错误", "回溯", "最多损失"),
}


def table(found: dict[str, Counter[str]], language: str) -> str:
    """Write the table in Markdown."""
    lines = [HEADINGS[language], ("---",) * len(HEADINGS[language])]
    for name, texts in ROWS.items():
        counts = found[name]
        fault, where, lost = texts[language]
        numbers = [f"{number:,}" for number in (counts.total(), *(counts[outcome] for outcome in OUTCOMES))]
        lines.append((fault, where, *numbers, lost))
    total: Counter[str] = sum(found.values(), Counter())
    numbers = [f"{number:,}" for number in (total.total(), *(total[outcome] for outcome in OUTCOMES))]
    lines.append(("**all**" if language == "en" else "**合计**", "", *numbers, ""))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(page: str, written: str) -> str:
    """Put a table between the two marks of a page."""
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.S)
    assert len(pattern.findall(page)) == 1
    return pattern.sub(lambda _: f"\n{written}\n\n", page)
