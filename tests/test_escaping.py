"""Whatever texts a record, a corpus or a folder's name holds: they are shown, and do nothing, wherever they are."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import markdown
import pandas as pd
import pytest
from helpers import Command, config_of, make_run
from matplotlib.text import Text

from memexp import experiment, files, generate, report
from memexp.analysis import command as analysis
from memexp.errors import Complaints, MemexpError, RecordError
from memexp.escaping import in_markdown, plain
from memexp.explorer import export
from memexp.gates import command as gates
from memexp.progress import say
from memexp.results import record, tables
from memexp.words import language

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=/etc/passwd onerror=alert(1)>",
    "$\\frac{1}{0}$ and a lone $",
    "a | b || c",
    "[click](javascript:alert(1)) ![x](https://example.org/x.png)",
    "*bold* _it_ `code` ~~gone~~ # head",
    "\x1b]0;title\x07\x1b[31mred\x1b[2K\r\x08\x7f",
    "two\nlines\r\n\u2028three",
    "right\u202eto left\u2066",
    "&lt;b&gt; &#60;",
    "\\n \\x1b \\",
    "_begins low",
    "%s %d {0} {} $x",
    "=1+1",
    "@DATA@",
)
QUICK = ("a | b || c", HOSTILE[6])  # the others are as good, but take a while
DRAWN = [text if text in QUICK else pytest.param(text, marks=pytest.mark.slow) for text in HOSTILE]
CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    """The tags of a page, with what they lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("LSTM, forget bias 1, 分", "LSTM, forget bias 1, 分"),
        ("\x1b[31m\r\n\t", r"\x1b[31m\r\n\t"),
        ("a\u2028b\u202ec\x9b", r"a\u2028b\u202ec\x9b"),
        ("\U000e0001 e\u0301 \u200d", "\U000e0001 e\u0301 \u200d"),  # joiners and accents are of their letters
    ],
)
def test_control_characters_are_written_as_escapes(text: str, shown: str):
    assert plain(text) == shown
    assert plain(plain(text)) == shown


def test_what_may_act_is_kept():
    assert plain("a\nb\tc\rd", "\n\t") == "a\nb\tc\\rd"


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_text_as_it_is(text: str):
    """Alone, in a heading and in a table, by one that reads HTML too."""
    written = in_markdown(text)
    source = f"# {written}\n\n{written}\n\n| {written} | b |\n| --- | --- |\n| {written} | 2 |\n"
    page = Page(markdown.markdown(source, extensions=["tables", "fenced_code"]))
    assert {tag for tag, _ in page.tags} == {"h1", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert sum(tag == "td" for tag, _ in page.tags) == 2
    assert page.text.count(plain(text)) == 4


@pytest.mark.parametrize("text", ["residual_srn", "74.8 [73.0, 76.6]", "model.hidden_size", "[32,32,64]", "p = 1e-05"])
def test_what_is_harmless_stays(text: str):
    assert in_markdown(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_a_complaint_and_a_line_are_lines(text: str, capsys: pytest.CaptureFixture[str]):
    Complaints().add(f"left out: {text}")
    say(f"written: {text}")
    said = capsys.readouterr()
    for line in (str(RecordError(f"{text} is damaged")), str(MemexpError(text)), said.err[:-1]):
        assert not CONTROLS.search(line)
        assert "\n" not in line
    assert not CONTROLS.search(said.out)


# --- in all that the commands write ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each task that has texts to show."""
    folder = tmp_path_factory.mktemp("texts")
    small = ("model.hidden_size=3", "seeds=2", "epochs=1")
    text = "".join(f"a line of <b>$x$ | {character}it goes on; " for character in "\x1b\x07\x7f\u202e\\_*&" * 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("own.txt").write_text(text)
        experiment.run(config_of("length=10", "model=lstm", *small), Path("outputs/digits/run"))
        corpus = ("task=char_lm", "task.corpus=own.txt", "length=9", "task.held_out=0.4", "batch_size=4")
        experiment.run(config_of(*corpus, "model=gru", *small), Path("outputs/texts/run"))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(run: Path, text: str) -> None:
    """Put a text into whatever of a record is one and does not choose a class or a file."""
    summary = json.loads((run / record.SUMMARY).read_text())
    summary |= {"title": text, "trained_on": text, "memexp": text, "torch": text}
    summary["about"] |= {"exact_over": text, text: text}
    summary["config"]["model"]["name"] = text
    summary["floors"] = {metric: {text: 0.2, f"{text}2": 0.3} for metric in summary["floors"]}
    summary["shown"][f"test_{text}"] = False
    for place, seed in enumerate(summary["seeds"]):
        seed[f"test_{text}"] = 1.5 + place
    record.write_summary(run, summary)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts of all figures as they are saved, none of which is taken for a formula."""
    texts: list[str] = []
    as_files = files.as_files

    def watched(figure: Any, name: str) -> dict[str, bytes]:
        content = as_files(figure, name)
        for text in figure.findobj(Text):
            assert not text.get_parse_math() or "$" not in text.get_text()
            texts.append(text.get_text())
        return content

    monkeypatch.setattr(files, "as_files", watched)
    return texts


@pytest.mark.parametrize("text", DRAWN)
@pytest.mark.parametrize("study", [pytest.param("digits", marks=pytest.mark.slow), "texts"])
def test_figures_and_tables_show_the_texts_of_a_record(
    folder: Path, in_process: Command, drawn: list[str], capsys: pytest.CaptureFixture[str], study: str, text: str
):
    run = folder / "outputs" / study / "run"
    other = run.with_name("other")
    shutil.copytree(run, other)
    spoil(run, text)
    said = in_process(analysis.main, f"study={study}") + capsys.readouterr().err
    assert "results.md" in said
    assert not CONTROLS.search(said)
    assert not [one for one in drawn if CONTROLS.search(one)]
    source = Path(f"images/{study}/results.md").read_text()
    page = Page(markdown.markdown(source, extensions=["tables"]))
    assert not {tag for tag, _ in page.tags} & {"script", "img", "a", "b", "del"}
    rows = pd.read_csv(f"images/{study}/seeds.csv", keep_default_na=False)
    assert set(rows["model.name"]) == {text.replace("\r", "\\r"), "lstm" if study == "digits" else "gru"}
    assert plain(text) in page.text
    cells = re.findall("<tr>(.*?)</tr>", markdown.markdown(source, extensions=["tables"]), re.S)
    assert len({row.count("<t") for row in cells[:3]}) == 1  # the table is whole


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_of_the_explorer_has_its_data_as_data(folder: Path, in_process: Command, text: str):
    spoil(folder / "outputs/digits/run", text)
    said = in_process(export.main, "study=digits", "output=page.html")
    assert said.startswith("written: ")
    page = Path("page.html").read_text()
    before, after = export.PAGE.read_text().split(export.DATA)
    assert page.startswith(before)
    assert page.endswith(after)
    data = page[len(before) : len(page) - len(after)]
    assert "<" not in data
    assert json.loads(data)["runs"][0]["label"] == text


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_gates_and_what_is_written_show_a_text_as_it_is(
    folder: Path, in_process: Command, drawn: list[str], capsys: pytest.CaptureFixture[str], text: str
):
    for study in ("digits", "texts"):
        spoil(folder / "outputs" / study / "run", text)
        said = in_process(gates.main, f"study={study}", "names=hidden_state", "averages=false", "units=false")
        assert said.count("written: ") == 2
        assert plain(text) in said
        assert not CONTROLS.search(said)
    assert not [one for one in drawn if CONTROLS.search(one)]


def test_a_corpus_with_control_characters_is_written_as_escapes(
    folder: Path, in_process: Command, capsys: pytest.CaptureFixture[str]
):
    said = in_process(generate.main, "study=texts", "length=300", "top_k=30", "temperature=9", "prefix=\x1b\x07it")
    assert said.startswith(r"\x1b\x07it")
    assert not CONTROLS.search(said)
    assert "\\x7f" in said
    assert len(said) > 300
    assert "units" in in_process(gates.main, "study=texts", "names=hidden_state")


@pytest.mark.slow
@pytest.mark.parametrize("text", [text for text in HOSTILE if not set(text) & set("/\r")])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_shows_what_is_wrong_as_a_text(tmp_path: Path, text: str, lang: str):
    """Names of folders are in the lines on what is missing."""
    outputs = tmp_path / text / "outputs"
    for length in (5, 10):
        make_run(outputs / "chapter", length, "lstm")
    with language(lang):
        report.write_report("chapter", outputs, tmp_path, tmp_path, Complaints(quiet=True), with_speed=False)
    page = Page((tmp_path / "chapter/report.html").read_text())
    assert not [
        tag
        for tag, own in page.tags
        if tag in ("script", "a", "b") or (tag == "img" and not str(own["src"]).startswith("data:image/png;"))
    ]
    assert not [own for _, own in page.tags if any(name.startswith("on") for name in own)]
    assert plain(text) in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_on_the_terminal_is_whole(text: str):
    rows = pd.DataFrame({"model.name": [text, "srn"], "length": [5, 5], "seed": [0, 0], "diverged_at": None,
                         "run": ["a", "b"], "seconds": 1.0, "test_accuracy": [0.5, 0.6]})  # fmt: skip
    table = tables.results(rows, ["model.name", "length"], {"test_accuracy": True})
    assert len(plain(tables.shown_text(table, {"test_accuracy": True}), "\n").splitlines()) == 3
