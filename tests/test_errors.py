import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memexp.errors import MemexpError, refusals_in_a_line, refused


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "a/b"),
            "cannot use a/b: Permission denied; mend that, and try again",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "or write one or what is shown: No space left on device; "),
        (MemoryError(), "there is too little memory; give fewer seeds"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "too little memory (libtorch_cpu.so",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nmore"),
            "you tried); give",
        ),
        (RuntimeError("can't start new thread"), "there is too little memory (can't start new thread); "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_system_refuses_is_a_line(error: Exception, line: str):
    assert line in refused(error)
    assert "\n" not in refused(error)
    with pytest.raises(MemexpError) as caught, refusals_in_a_line():
        raise error
    assert str(caught.value) == refused(error)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), RuntimeError("sizes differ"), ImportError("no module x"),
              ValueError("memory")], ids=repr
)  # fmt: skip
def test_other_errors_stay_what_they_are(error: Exception):
    assert refused(error) == ""
    with pytest.raises(type(error)) as caught, refusals_in_a_line():
        raise error
    assert caught.value is error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
@pytest.mark.parametrize("command", ["memexp --version", "memexp.verify --help"])
@pytest.mark.parametrize(
    ("streams", "code", "shown"),
    [(">/dev/full", 1, True), (">&-", 0, False), (">&- 2>&- <&-", 0, False), (">/dev/full 2>&1", 1, False)],
)
def test_streams_that_are_closed_or_full(command: str, streams: str, code: int, shown: bool, tmp_path: Path):
    line = f'"{sys.executable}" -m {command} {streams}'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == shown
    assert not shown or "what is shown: No space left on device; mend that, and try again" in done.stderr
