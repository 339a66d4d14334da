import csv
from pathlib import Path

import forked
import pytest
from helpers import Command

from memexp.bench import command as bench
from memexp.bench import text_memory


def test_made_up_texts_are_as_long_as_asked_and_the_same_each_time():
    text = text_memory.made_up(5000)
    assert len(text.encode()) == 5000
    assert text == text_memory.made_up(5000)
    assert 20 < len(set(text)) < 80


@pytest.mark.slow
def test_a_text_is_run_on_and_its_memory_measured(tmp_path: Path):
    given = ("text_memory=true", "sizes=[1]", "units=2", "seeds=[1]", "models=[srn]", "output=memory.csv")
    done = forked.run("memexp.bench", *given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "memory.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["seeds"], row["hidden_size"], row["text_megabytes"]) == ("srn", "1", "2", "1")
    assert 100 < float(row["peak_megabytes"]) < 700
    assert "peak memory, MB" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["memory.csv"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["text=true", "rounds=3"], "rounds, text: not with text_memory=true; leave them out"),
        (["sizes=[]"], "sizes=[]: nothing to measure"),
        (["sizes=[0]"], "sizes=0 is too small; it must be at least 1"),
        (["seeds=[1,2]"], "text_memory=true measures one of srn, lstm, gru, and one number of seeds"),
        (["models=[mingru]"], "text_memory=true measures one of srn, lstm, gru"),
    ],
)
def test_what_it_does_not_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command, arguments: list[str], complaint: str
):
    monkeypatch.chdir(tmp_path)
    shown = in_process(bench.main, "text_memory=true", *arguments)
    assert complaint in shown
    assert "\n" not in shown


def test_a_run_that_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_memory, "MEGABYTE", 300)  # too short for a batch
    with pytest.raises(text_memory.RecordError, match="^the run on 1 MB failed: memexp: the text has "):
        text_memory.measure(1, "srn", 1, 2)
