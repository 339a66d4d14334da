import os
import subprocess
import sys

import pytest

from memexp import processes


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_process_lives_until_it_is_killed(sleeper: subprocess.Popen[bytes]):
    assert processes.lives(os.getpid())
    assert processes.lives(sleeper.pid)
    assert processes.lives(sleeper.pid, processes.started(sleeper.pid))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    if sys.platform == "linux":
        assert not processes.lives(sleeper.pid)  # over, and not yet asked for its exit code
    sleeper.wait()
    assert not processes.lives(sleeper.pid)
    assert not processes.lives(10**30)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process is known by more than its number")
def test_a_process_that_was_started_at_another_time_only_has_the_number():
    assert processes.started(os.getpid()).isdecimal()
    assert not processes.lives(os.getpid(), processes.started(os.getpid()) + "0")


def test_where_the_system_says_nothing_a_process_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "_state", lambda process: "")
    assert processes.lives(os.getpid(), "4711")  # when it was started is not known there
    assert not processes.lives(2**31 - 1)


def test_on_windows_no_signal_is_sent(monkeypatch: pytest.MonkeyPatch):
    """It would end the process. What asks instead is not tested here."""
    monkeypatch.setattr(processes, "_state", lambda process: "")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("asked, and so ended"))
    monkeypatch.setattr(processes, "_lives_on_windows", lambda process: process == 3)
    assert [processes.lives(process) for process in (3, 4)] == [True, False]


def test_a_machine_is_known_by_more_than_its_name_and_says_nothing_private():
    assert processes.machine() == processes.machine()
    assert len(processes.machine()) in (0, 8)
