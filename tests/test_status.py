"""Known studies, and what is said of them; what it advises is done, and completes them."""

import dataclasses
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import forked
import pytest
from helpers import Command, CommandLine, make_run

from memexp import progress, status
from memexp.results import asked, claims, record


def begin(folder: Path, share: float = 0.0, failure: str = "") -> Path:
    """Make the folder of a run that has begun, and is not done."""
    folder.mkdir(parents=True)
    (folder / record.CONFIG).write_text("{}")
    if share:
        progress.progress_file(folder, 1000)(round(1000 * share))
    if failure:
        (folder / record.FAILURE).write_text(f"{failure}\n")
    return folder


def claim(folder: Path, seconds_ago: float = 0.0, **other: object) -> claims.Claim:
    """Leave the claim of this process in a folder, but where it says otherwise."""
    with claims.hold(folder):
        own = claims.read(folder)
    assert own is not None
    own = dataclasses.replace(own, **other)
    (folder / claims.CLAIM).write_bytes(own.content)
    os.utime(folder / claims.CLAIM, (time.time() - seconds_ago,) * 2)
    return own


def note(study: Path, runs: list[str], arguments: list[str], folder: str = "") -> None:
    sweep = asked.Sweep(arguments, folder or os.getcwd(), runs)
    study.mkdir(parents=True, exist_ok=True)
    (study / sweep.file).write_text(json.dumps(dataclasses.asdict(sweep)))


def look(outputs: Path, **options: object) -> tuple[int, str]:
    found = [status.standing(study) for study in status.studies(status.Options(outputs_dir=str(outputs)))]
    code = 1 if any(own.needs_you for own in found) else 0
    return code, "\n".join(status.report(found, **options))  # type: ignore[arg-type]


def test_each_run_is_in_the_state_that_it_is_in(tmp_path: Path):
    study = tmp_path / "book"
    for length in (5, 6, 7):
        make_run(study, length)
    here = claim(begin(study / "length=10,model=lstm", 0.43), 3)
    there = claim(begin(study / "length=15,model=lstm", 0.1), 30, host="node3", process=4711)
    silent = claim(begin(study / "length=20,model=lstm", 0.2), 7200, host="node3")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = claim(begin(study / "length=25,model=lstm"), process=ended.pid)
    begin(study / "length=30,model=lstm", failure="too little memory")
    begin(study / "length=35,model=lstm", 0.5)
    note(study, ["length=5,model=lstm", "length=40,model=lstm"], ["-m", "length=5,40"])
    (study / ".hidden").mkdir()
    (study / "of-the-user").mkdir()
    code, text = look(tmp_path)
    counts, *lines = text.splitlines()
    assert counts == f"{study}: 10 runs: 3 done, 2 running, 1 failed, 2 stale, 1 unfinished, 1 left"
    assert lines[:-1] == [
        f"  running     43 %  length=10,model=lstm: {here}, last sign of life 3 s ago",
        f"  running     10 %  length=15,model=lstm: {there}, last sign of life 30 s ago",
        "  failed            length=30,model=lstm: too little memory",
        f"  stale       20 %  length=20,model=lstm: killed: {silent}, last sign of life 2 h 0 min ago",
        f"  stale             length=25,model=lstm: killed: {killed}, last sign of life 0 s ago",
        "  unfinished  50 %  length=35,model=lstm",
        "  left              length=40,model=lstm",
        "",
        "to go on with the rest:",
    ]
    assert lines[-1] == "  python -m memexp -m length=5,40"
    assert code == 1


def test_the_code_is_0_where_nobody_is_needed(tmp_path: Path):
    study = tmp_path / "book"
    make_run(study, 5)
    assert look(tmp_path) == (0, f"{study}: 1 run: 1 done")
    folder = begin(study / "length=6,model=lstm", 0.5)
    note(study, ["length=6,model=lstm", "length=7,model=lstm"], ["-m", "length=6,7"])
    own = claim(folder)
    code, text = look(tmp_path)
    assert code == 0  # what is left waits for the sweep that is running
    assert text.splitlines()[1:] == [
        f"  running     50 %  length=6,model=lstm: {own}, last sign of life 0 s ago",
        "  left              length=7,model=lstm",
    ]
    (folder / claims.CLAIM).unlink()
    code, text = look(tmp_path)
    assert code == 1
    assert text.splitlines()[-1] == "  python -m memexp -m length=6,7"


def test_long_lists_are_cut_unless_all_is_asked_for(tmp_path: Path):
    for length in range(5, 35):
        begin(tmp_path / "book" / f"length={length}", failure=f"number {length}")
    _, text = look(tmp_path)
    lines = text.splitlines()
    assert len(lines) == 1 + status.MOST + 1
    assert lines[1].endswith("length=5: number 5")
    assert lines[2].endswith("length=6: number 6")  # in natural order
    assert lines[-1] == "  and 10 more (all=true lists them)"
    assert len(look(tmp_path, everything=True)[1].splitlines()) == 1 + 30


def test_what_a_record_says_cannot_write_on_the_terminal(tmp_path: Path):
    begin(tmp_path / "book" / "length=5", failure="a\x1b[31mred\x07\nb")
    assert look(tmp_path)[1].splitlines()[1].endswith("length=5: a?[31mred??b")


def test_notes_that_are_no_notes_are_none(tmp_path: Path):
    make_run(tmp_path / "book", 5)
    for number, content in enumerate(
        ["", "[", "[]", '{"runs": 3}', '{"arguments": ["\\u001b"], "folder": "", "runs": []}', "[" * 10_000]
    ):
        (tmp_path / "book" / f"{asked.NOTE}-{number}.json").write_text(content)
    assert look(tmp_path) == (0, f"{tmp_path}/book: 1 run: 1 done")


def test_a_sweep_leaves_its_note_until_all_is_done(tmp_path: Path):
    one, two = make_run(tmp_path / "a", 5), tmp_path / "b" / "length=6"
    two.parent.mkdir()
    with asked.noted([one, two], ["-m", "length=5,6"]):
        assert [sweep.runs for sweep in asked.sweeps_of(one.parent)] == [[one.name]]
        (sweep,) = asked.sweeps_of(two.parent)
        assert (sweep.arguments, sweep.folder, sweep.runs) == (["-m", "length=5,6"], os.getcwd(), ["length=6"])
    assert asked.sweeps_of(one.parent) == []
    assert asked.sweeps_of(two.parent) == [sweep]


def test_runs_are_put_together_to_those_sweeps_that_are_exactly_they():
    def run(length: int, model: str, **other: str) -> dict[str, str]:
        return {"length": str(length), "model": model, **other}

    grid = [run(length, model) for model in ("srn", "lstm") for length in (5, 10, 15)]
    assert status.boxes(grid) == [{"length": ["5", "10", "15"], "model": ["srn", "lstm"]}]
    assert status.boxes(grid[:4]) == [  # not length=10 and 15 with the lstm
        {"length": ["5", "10", "15"], "model": ["srn"]},
        {"length": ["5"], "model": ["lstm"]},
    ]
    assert status.boxes([run(5, "srn"), run(5, "srn", lr="1")]) == [
        {"length": ["5"], "model": ["srn"]},
        {"length": ["5"], "model": ["srn"], "lr": ["1"]},
    ]
    assert status.boxes([]) == []


@pytest.mark.parametrize(
    ("argument", "typed"),
    [
        ("length=10,15", "length=10,15"), ("seeds=[3,7]", '"seeds=[3,7]"'), ("study=two words", '"study=two words"'),
        ("length=range(10,36,5)", '"length=range(10,36,5)"'), ('task.prefixes=["a$"]', """'task.prefixes=["a$"]'"""),
        ("study=实验", '"study=实验"'), ("outputs_dir=~/x", '"outputs_dir=~/x"'),
    ],
)  # fmt: skip
def test_commands_are_quoted_for_shells(argument: str, typed: str):
    assert status.quoted(argument) == typed
    assert shlex.split(typed) == [argument]


def test_a_study_that_does_not_exist_is_named(tmp_path: Path, in_process: Command):
    outputs = f"outputs_dir={tmp_path}"
    assert in_process(status.main, outputs).startswith(f"memexp.status: {tmp_path} has no study yet: run python -m")
    make_run(tmp_path / "book", 5)
    assert in_process(status.main, outputs, "study=boko") == (
        "memexp.status: study 'boko' does not exist (did you mean book?); there are: book"
    )
    assert in_process(status.main, outputs, "study=book") == f"{tmp_path}/book: 1 run: 1 done\n"
    begin(tmp_path / "only-failed" / "length=5", failure="no").joinpath(record.CONFIG).unlink()
    assert in_process(status.main, outputs) == "1"


def test_it_is_light():
    heavy = "[name for name in ('torch', 'pandas', 'numpy', 'matplotlib') if name in sys.modules]"
    code = f"import sys; import memexp.status; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# --- watching ---


def finish_soon(study: Path) -> threading.Timer:
    folder = begin(study / "length=5,model=lstm", 0.5)
    claim(folder)

    def finish() -> None:
        (folder / record.SUMMARY).write_text("{}")

    timer = threading.Timer(0.6, finish)
    timer.start()
    return timer


def test_watched_in_lines_where_there_is_no_terminal(tmp_path: Path, in_process: Command):
    timer = finish_soon(tmp_path / "book")
    lines = in_process(status.main, f"outputs_dir={tmp_path}", "watch=true", "every=0.2").splitlines()
    timer.join()
    assert len(lines) > 1
    assert all(line[8:].startswith(f" {tmp_path}/book: 1 run: 1 ") for line in lines)
    assert [line.split()[-1] for line in lines] == ["running"] * (len(lines) - 1) + ["done"]


def test_watched_in_place_on_a_terminal(tmp_path: Path):
    timer = finish_soon(tmp_path / "book")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "memexp.status", f"outputs_dir={tmp_path}", "watch=true", "every=0.3"]
    process = subprocess.Popen(command, stdout=theirs, env={**os.environ, "COLUMNS": "60", "LINES": "24"})
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how a terminal ends on Linux
        pass
    timer.join()
    assert process.wait(30) == 0
    pictures = shown.decode().replace("\r\n", "\n").split("\x1b[2F\x1b[J")  # up over its two lines, and clear them
    if len(pictures) > 1:  # else it was done before the first look
        assert all(len(line) < 60 for line in pictures[0].splitlines())
        assert "1 running" in pictures[0] or len(str(tmp_path)) > 40
    assert pictures[-1].splitlines()[0].startswith(f"{tmp_path}/book: 1 run: 1 done"[:59])


# --- what it advises ---


def advised(memexp_status: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the commands that are printed."""
    lines = memexp_status.stdout.splitlines()
    return [line.strip() for line in lines[lines.index("to go on with the rest:") + 1 :]]


def ask(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "memexp.status", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def give(folder: Path, commands: list[str]) -> None:
    for command in commands:
        python, flag, module, *arguments = shlex.split(command)
        assert (python, flag, module) == ("python", "-m", "memexp")
        done = forked.run(module, *arguments, folder=folder, warned="default")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_command_of_a_sweep_that_was_killed_completes_it(memexp: CommandLine, tmp_path: Path):
    slowly = ("engine=torch", "epochs=40")  # compiled, it would be over before anyone asks
    sweep = ("-m", "length=5,4", "model=srn", "seeds=[3,1]", *slowly, "images_dir=null", "hydra/launcher=basic")
    process = subprocess.Popen([sys.executable, "-m", "memexp", *sweep], cwd=tmp_path, stdout=subprocess.DEVNULL)
    first = tmp_path / "outputs/book/engine=torch,epochs=40,length=5,model=srn,seeds=[3,1]"
    while not (first / progress.PROGRESS).exists():
        assert process.poll() is None
        time.sleep(0.02)
    now = ask(tmp_path)
    assert now.returncode == 0
    assert now.stdout.splitlines()[0] == "outputs/book: 2 runs: 1 running, 1 left"
    assert f"process {process.pid} on " in now.stdout
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = ask(tmp_path)
    assert killed.returncode == 1
    assert killed.stdout.splitlines()[0] == "outputs/book: 2 runs: 1 stale, 1 left"
    commands = advised(killed)
    assert commands == [f"python -m memexp {' '.join(map(status.quoted, sweep))}"]
    give(tmp_path, commands)
    after = ask(tmp_path)
    assert (after.returncode, after.stdout) == (0, "outputs/book: 2 runs: 2 done\n")
    assert not list((tmp_path / "outputs/book").glob(f"{asked.NOTE}*"))


@pytest.mark.slow
def test_the_commands_made_of_the_runs_settings_complete_them(memexp: CommandLine, tmp_path: Path):
    """Of single runs, and of sweeps of which there is no note."""
    settings = ("seeds=[3,1]", "epochs=2", "images_dir=null")
    assert memexp("length=4", *settings).returncode == 0
    assert memexp("-m", "length=5,6", "model=gru", *settings, "hydra/launcher=basic").returncode == 0
    study = tmp_path / "outputs/book"
    for folder in record.run_folders(study):
        (folder / record.SUMMARY).unlink()
    (study / "epochs=2,length=5,model=gru,seeds=[3,1]" / record.FAILURE).write_text("no\n")
    found = ask(tmp_path, "study=book")
    assert found.stdout.splitlines()[0] == "outputs/book: 3 runs: 1 failed, 2 unfinished"
    commands = advised(found)
    assert len(commands) == 2
    assert sum(" -m model=gru length=5,6 " in command for command in commands) == 1
    give(tmp_path, commands)
    assert ask(tmp_path).stdout == "outputs/book: 3 runs: 3 done\n"
