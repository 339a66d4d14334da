"""Real compiled code, but for the update of a whole batch, which takes long to compile: a short function stands in."""

import errno
import functools
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numba.core.caching import IndexDataCacheFile

from memexp.compiled import cache, update

KIND = np.dtype(np.float32)
DAY = 86_400


def short(a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r):  # as many as `update.run` takes
    return True


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """Keep code in the test's own folder; nothing that another test has loaded is known."""
    monkeypatch.setenv("MEMEXP_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(update, "run", SimpleNamespace(py_func=short))
    caplog.set_level(logging.INFO, "memexp.compiled")
    monkeypatch.setattr(cache, "load", functools.cache(cache.load.__wrapped__))
    monkeypatch.setattr(cache, "why_not", functools.cache(cache.why_not.__wrapped__))
    return tmp_path / "kept"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Count what is compiled, and not loaded: numba writes each such function into a file, or tries to."""
    save, seen = IndexDataCacheFile.save, []

    def counting(self: Any, *arguments: Any) -> Any:
        seen.append(self)
        return save(self, *arguments)

    monkeypatch.setattr(IndexDataCacheFile, "save", counting)
    return seen


def load() -> cache.Kernels:
    """Load as a new process does, and see that the code works: of K equal logits the cross-entropy is ln K."""
    cache.load.cache_clear()
    kernels = cache.load(KIND)
    values = np.ones(16, KIND)
    kernels.cross_entropies(np.zeros((3, 5), KIND), np.array([4, 0, 2]), values)
    np.testing.assert_allclose(values[:3], math.log(5), rtol=1e-6)
    return kernels


def kept(home: Path) -> list[Path]:
    return sorted(home.glob(f"*{cache.KEPT}"))


def test_what_is_compiled_once_is_loaded_afterwards(
    home: Path, compilations: list[Any], caplog: pytest.LogCaptureFixture
):
    load()
    assert len(compilations) == 2
    assert caplog.messages[0] == f"{cache.MESSAGE}; it is kept in {home}"
    assert caplog.messages[1].startswith("compiled in ")
    assert len(caplog.messages) == 2
    (file,) = kept(home)
    before = file.read_bytes()
    caplog.clear()
    load()
    assert len(compilations) == 2
    assert not caplog.messages
    assert file.read_bytes() == before


def spoilt(content: bytes) -> dict[str, bytes]:
    flipped = {
        f"flipped at {place}": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for place in (0, cache.HASH, len(content) // 2)
    }
    cut = {f"cut to {size}": content[:size] for size in (0, cache.HASH, len(content) - 1)}
    return {**flipped, **cut, "longer": content + b"\0"}


def test_what_is_damaged_is_compiled_anew_and_never_loaded(home: Path, compilations: list[Any]):
    load()
    (file,) = kept(home)
    whole = file.read_bytes()
    for what, content in spoilt(whole).items():
        file.write_bytes(content)
        compilations.clear()
        load()
        assert len(compilations) == 2, what
        compilations.clear()
        load()
        assert not compilations, what


def test_what_was_compiled_for_something_else_is_not_taken(
    home: Path, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
):
    load()
    for name, other in {
        "processor": lambda: ("x86_64", "nehalem", "+sse4.2"),
        "platform": SimpleNamespace(platform=lambda: "another system"),
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(cache, name, other)
            compilations.clear()
            load()
            assert len(compilations) == 2, name
    assert len(kept(home)) == 3
    assert cache.key(KIND) != cache.key(np.dtype(np.float64))


def test_a_folder_that_only_an_administrator_writes_is_read(
    home: Path, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
):
    load()

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(cache, "write_atomically", refuse)
    compilations.clear()
    load()
    assert not compilations


def refusing(error: Exception) -> Any:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (Path, "mkdir", PermissionError(errno.EACCES, "Permission denied")),
        (Path, "mkdir", OSError(errno.EROFS, "Read-only file system")),
        (cache, "write_atomically", OSError(errno.ENOSPC, "No space left on device")),
        (FileLock, "acquire", NotImplementedError("no locks on this disk")),
        (IndexDataCacheFile, "save", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_what_cannot_be_kept_is_compiled_all_the_same(
    place: Any, name: str, error: Exception, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    monkeypatch.setattr(place, name, refusing(error))
    load()
    said = [line for line in caplog.messages if "it cannot be kept" in line]
    assert len(said) == 1
    assert str(error) in said[0]
    assert not kept(home)


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_a_file_where_the_folder_should_be(place: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    home.write_text("a file")
    if place == "below a file":
        monkeypatch.setenv("MEMEXP_CACHE_DIR", str(home / "deeper"))
    load()
    assert len(caplog.messages) == 1
    assert home.read_text() == "a file"


def test_a_folder_where_the_file_should_be(home: Path, caplog: Any):
    (home / f"{cache.key(KIND)}{cache.KEPT}" / "inner").mkdir(parents=True)
    load()
    assert [("it cannot be kept" in line) for line in caplog.messages] == [False, True]


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    homes = {
        "linux": tmp_path / ".cache" / "memexp",
        "darwin": tmp_path / "Library" / "Caches" / "memexp",
        "win32": tmp_path / "AppData" / "Local" / "memexp" / "Cache",
    }
    for given in ("", None):
        monkeypatch.setenv("MEMEXP_CACHE_DIR", "") if given == "" else monkeypatch.delenv("MEMEXP_CACHE_DIR")
        for system, folder in homes.items():
            monkeypatch.setattr(sys, "platform", system)
            assert cache.home() == folder
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.home() == tmp_path / "xdg" / "memexp"
    monkeypatch.setenv("MEMEXP_CACHE_DIR", "~/mine")
    assert cache.home() == tmp_path / "mine"
    monkeypatch.setenv("MEMEXP_CACHE_DIR", "mine")
    assert cache.home() == Path.cwd() / "mine"


def test_nobody_knows_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.delenv("MEMEXP_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", refusing(RuntimeError("Could not determine home directory.")))
    load()
    assert len(caplog.messages) == 1
    assert "Could not determine home directory.; set MEMEXP_CACHE_DIR" in caplog.messages[0]


def test_of_two_processes_one_waits_and_takes_what_the_other_compiled(home: Path, compilations: list[Any], caplog: Any):
    load()
    (file,) = kept(home)
    content = file.read_bytes()
    file.unlink()
    compilations.clear()
    caplog.clear()
    with FileLock(home / cache.LOCK):
        second = threading.Thread(target=load)
        second.start()
        while not caplog.messages and second.is_alive():
            time.sleep(0.01)
        file.write_bytes(content)
    second.join()
    assert caplog.messages == ["another process is compiling the cells for this processor; waiting for it"]
    assert not compilations


def test_nobody_waits_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setattr(cache, "WAITS", 0.05)
    home.mkdir()
    with FileLock(home / cache.LOCK):
        load()
    assert [("it cannot be kept" in line) for line in caplog.messages] == [False, True]


def test_an_interruption_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "save", refusing(KeyboardInterrupt()))  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            load()
    assert [path.name for path in home.iterdir()] in ([cache.LOCK], [])
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
    load()
    assert len(kept(home)) == 1


def test_what_nobody_has_loaded_for_long_is_removed_when_something_is_added(home: Path):
    home.mkdir()
    ages = {f"a{cache.KEPT}": 91, f"b{cache.KEPT}": 89, "mine.txt": 400}
    for name, days in ages.items():
        (home / name).write_text("old")
        os.utime(home / name, (time.time() - days * DAY,) * 2)
    load()
    there = {path.name for path in home.iterdir()} - {cache.LOCK}
    (own,) = there - ages.keys()
    assert there == {own, f"b{cache.KEPT}", "mine.txt"}
    os.utime(home / own, (time.time() - 91 * DAY,) * 2)
    load()
    assert time.time() - (home / own).stat().st_mtime < DAY  # it was used


def test_whatever_a_broken_installation_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch):
    assert cache.why_not() is None
    for error in (ImportError("Numba needs NumPy 2.4 or less.\n Got 3.0"), SystemError("initialization failed")):
        cache.why_not.cache_clear()
        monkeypatch.setattr(cache, "load", refusing(error))
        line = " ".join(str(error).split())
        assert cache.why_not() == f"numba cannot be used ({type(error).__name__}: {line})"
    cache.why_not.cache_clear()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert cache.why_not() == cache.missing() == "numba cannot be used (NUMBA_DISABLE_JIT is set)"


@pytest.mark.slow
def test_ctrl_c_while_it_compiles_is_one_line(home: Path, tmp_path: Path):
    """The real code, in a process of its own."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "memexp", "length=4", "model=srn", "seeds=1", "epochs=1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(cache.MESSAGE)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = (out + err).strip().splitlines()  # the second where it comes in a destructor, see `memexp.ending`
    assert line in ("interrupted; the same command goes on from here", "memexp: interrupted")
    assert not kept(home)
    assert not list(temporary.rglob("*.nb*"))
