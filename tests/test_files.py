import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from memexp.files import write_atomically


def test_the_new_content_replaces_the_old(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_when_the_disk_is_full_the_old_content_stays(tmp_path: Path):
    """A limit on the size of files stands for a full disk: the same failure at the same place."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    code = "import sys, pathlib; from memexp.files import write_atomically\n"
    code += (
        "try: write_atomically(pathlib.Path(sys.argv[1]), bytes(100_000))\nexcept OSError as error: print(error.errno)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == str(27)  # EFBIG
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []
