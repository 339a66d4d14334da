"""The report on the chapter, from a real, tiny run of all of it."""

import re
from pathlib import Path

import forked
import pandas as pd
import pytest
from helpers import CommandLine

from memexp import report
from memexp.errors import Complaints
from memexp.results import record
from memexp.results.collect import collect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which experiment=chapter6 has been run, at two lengths, two seeds and one epoch each."""
    folder = tmp_path_factory.mktemp("chapter")
    given = ("experiment=chapter6", "length=10,15", "epochs=1", "seeds=2", "hydra/launcher=basic")
    done = forked.run("memexp", *given, folder=folder, warned="default")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report: images/chapter6/report.md, report.html" in done.stdout
    return folder


def test_every_figure_of_the_chapter_is_there(chapter: Path):
    text = (chapter / "images/chapter6/report.md").read_text()
    titles = re.findall(r"^## (.*?):", text, re.M)
    figures = [f"Figure 6.{number}" for number in (6, 7, 8, 9, 11, 12, 13)]
    assert titles == [*figures, *(f"Exercise 6.{number}" for number in (1, 2, 3, 4))]
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == len(titles) - 1  # exercise 6.2 is a table
    assert all((chapter / "images/chapter6" / picture).stat().st_size > 5000 for picture in pictures)
    assert text.count("**The book.**") == text.count("**Measured.**") == len(titles)
    assert "Nothing:" not in text


def test_numbers_are_those_of_the_records(chapter: Path):
    text = (chapter / "images/chapter6/report.md").read_text()
    rows = collect(record.run_folders(chapter / "outputs/chapter6")).rows
    own = rows[(rows["model.name"] == "gru") & (rows["length"] == 15)]["exact_accuracy"]
    section = text[text.index("## Exercise 6.4") :]
    row = next(line for line in section.splitlines() if line.startswith("| GRU, %"))
    assert re.search(rf"\| {100 * own.mean():.1f} \[[\d.]+, [\d.]+\] \|$", row)  # the last column is length 15
    gradients = collect(record.run_folders(chapter / "outputs/gradient_explosion")).rows
    free = gradients[gradients["clip"].isna()]
    history = pd.read_csv(chapter / "outputs/gradient_explosion" / free["run"].iloc[0] / record.HISTORY)
    largest = history[history["name"] == "gradient_norm.U"].groupby("seed")["value"].max()
    assert f"Not clipped: the norm of U's gradient reaches {largest.min():.3g} to {largest.max():.3g} within" in text


def test_the_page_needs_no_other_file(chapter: Path):
    page = (chapter / "images/chapter6/report.html").read_text()
    sources = re.findall(r'src="(.{20})', page)
    assert len(sources) == 10
    assert set(sources) == {"data:image/png;base6"}
    assert "<h2>Figure 6.13: gates and cell state of the LSTM</h2>" in page


def test_what_is_missing_is_said_and_the_rest_written(chapter: Path, tmp_path: Path, memexp: CommandLine):
    images = tmp_path / "images"
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/chapter6").symlink_to(chapter / "outputs/chapter6")
    complaints = Complaints(quiet=True)
    report.write_report("chapter6", tmp_path / "outputs", images, tmp_path / "datasets", complaints, with_speed=False)
    text = (images / "chapter6/report.md").read_text()
    assert text.count("**Measured.** Nothing:") == 2  # both figures of the gradients
    assert complaints.count == 3  # and that there is no such study
