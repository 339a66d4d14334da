"""``python -m memexp.published``."""

import re
from pathlib import Path

import pandas as pd
import pytest
from helpers import Command, make_run

from memexp.published import command
from memexp.published.command import CLAIMS


def test_the_command_says_whether_theirs_agrees_with_ours(
    in_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    said = in_process(command.main, "searches=2", "trials=100")
    found = pd.read_csv("images/published/published.csv")
    assert len(found) == len(CLAIMS)
    assert found.loc[0, ["their_low", "their_high"]].tolist() == pytest.approx([4.62, 8.21], abs=0.01)  # 6, 40 times
    guessed = found["missing"].isna()
    meets = (found["their_low"] <= found["high"]) & (found["low"] <= found["their_high"])
    assert found["agrees"].isin(["yes", "open"]).tolist() == meets.tolist()
    assert len(re.findall(r"(?:\]|over [\d.,]+) +2 +(?:yes|no|open)$", said, re.M)) == guessed.sum()
    assert len(re.findall(" - +$", said, re.M)) == (~guessed).sum()
    missing = "^-: not trained yet, in outputs.published; python -m memexp experiment=published does$"
    assert len(re.findall(missing, said, re.M)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_run_that_cannot_be_read_is_named(tmp_path: Path, in_process: Command, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "CLAIMS", ())
    monkeypatch.setattr(command, "table", lambda claims, measured: pd.DataFrame())
    monkeypatch.setattr(command, "as_text", lambda found: "")
    (make_run(tmp_path / "outputs/published", length=5) / "summary.json").write_text('{"bad')
    assert in_process(command.main) == "1"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("missing: published/")
