import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tqdm.notebook

from memexp import progress


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (3660, "1 h 1 min")]
)
def test_durations(seconds: float, text: str):
    assert progress.duration(seconds) == text


def test_the_share_done_is_noted_and_read(tmp_path: Path):
    assert progress.read_progress(tmp_path) == 0
    progress.progress_file(tmp_path, 200, every=0)(50)
    assert progress.read_progress(tmp_path) == 0.25
    for damaged in ("half", "4.2500", "-0.2500", "nan", "inf", ""):
        (tmp_path / progress.PROGRESS).write_text(damaged)
        assert progress.read_progress(tmp_path) == 0


def test_it_is_noted_once_in_a_while_only(tmp_path: Path):
    note = progress.progress_file(tmp_path, 200, every=1000)
    note(50)
    note(100)
    assert progress.read_progress(tmp_path) == 0.25


def test_of_some_of_the_seeds_it_is_read_too(tmp_path: Path):
    (tmp_path / "rest").mkdir()
    progress.progress_file(tmp_path / "rest", 200)(50)
    assert progress.read_progress(tmp_path) == 0.25


def test_a_character_that_a_stream_cannot_show_is_shown_as_an_escape(tmp_path: Path):
    code = "from memexp.progress import make_streams_safe, say\nimport sys\nmake_streams_safe()\nsay('分 é')\n"
    code += "print('\\udcff 分', file=sys.stderr)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=True
    )
    assert shown.stdout == b"\\u5206 \xe9" + os.linesep.encode()
    assert shown.stderr == b"\\udcff \\u5206" + os.linesep.encode()


def test_log_lines_go_to_standard_output_and_errors_to_standard_error(capsys: pytest.CaptureFixture[str]):
    handler = progress.TerminalHandler()
    for level, text in ((logging.INFO, "news"), (logging.ERROR, "bad news")):
        handler.emit(logging.LogRecord("x", level, "", 0, text, None, None))
    shown = capsys.readouterr()
    assert shown.out == "news\n"
    assert shown.err == "memexp: bad news\n"
    with progress.silence(True):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "nothing", None, None))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("widgets", [False, True])
def test_in_a_notebook_the_bar_is_shown_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], widgets: bool
):
    """A kernel's standard error is no terminal. Without ipywidgets tqdm warns when it is imported, and writes text."""
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", SimpleNamespace())
    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("tqdm.notebook.IProgress", object if widgets else None)
    assert progress.in_notebook()
    kind = progress._bar_of_a_notebook()
    assert (tqdm.notebook.tqdm in kind.__mro__) is widgets
    if not widgets:
        with progress.bar(2, "lstm 10") as bar:
            bar.update(1)
            bar.refresh()
        assert "lstm 10:  50%" in capsys.readouterr().err
        with progress.silence(True), progress.bar(2, "lstm 10") as bar:
            bar.update(1)
        assert capsys.readouterr().err == ""
    assert tqdm.std.tqdm.monitor_interval == 10  # of the user's own bars


def test_elsewhere_than_on_a_terminal_the_bar_shows_nothing(capsys: pytest.CaptureFixture[str]):
    assert not progress.in_notebook()
    with progress.bar(2, "lstm 10") as bar:
        bar.update(1)
    assert capsys.readouterr().err == ""
