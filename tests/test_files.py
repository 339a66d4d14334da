import hashlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from helpers import axes

from memexp import files
from memexp.errors import RecordError
from memexp.files import Collection, remove_left, save, slug, write, write_atomically, write_table


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


WRITER = """
import os, sys, time
from pathlib import Path
from memexp.files import write_atomically

def wait(*_):
    print(flush=True)
    time.sleep(60)

os.replace = wait  # written, and not yet in its place
write_atomically(Path(sys.argv[1]), b"half")
"""


@pytest.mark.parametrize("name", ["train.txt", "损失 [1] loss.png", "分" * 85])  # the last has 255 bytes
def test_what_a_killed_process_left_is_removed_by_the_next_and_of_a_live_one_stays(tmp_path: Path, name: str):
    path = tmp_path / name
    others = {".train.txt.original", ".train.txt.bak-1-x", "train.txt.gone-1-abcdefgh", ".train.txt", ".a.train.txt.x"}
    for other in others:
        (tmp_path / other).touch()
        os.utime(tmp_path / other, (0, 0))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    write_atomically(path, b"new")
    (temporary,) = {*os.listdir(tmp_path)} - others - {name}
    assert (tmp_path / temporary).read_bytes() == b"half"
    write_atomically(tmp_path / "dev.txt", b"another file")
    writer.kill()
    writer.communicate()
    write_atomically(tmp_path / "dev.txt", b"another file")
    assert {*os.listdir(tmp_path)} == others | {name, "dev.txt", temporary}
    write_atomically(path, b"newer")
    assert {*os.listdir(tmp_path)} == others | {name, "dev.txt"}
    assert path.read_bytes() == b"newer"


def test_what_cannot_be_asked_for_is_left_over_after_an_hour(tmp_path: Path):
    """A process of another machine, and the names of before."""
    path, now = tmp_path / "file", time.time()

    def left(name: str, minutes: int, mode: int = 0o600) -> bool:
        other = tmp_path / name
        other.touch()
        other.chmod(mode)
        os.utime(other, (now, now - 60 * minutes))
        remove_left(path)
        return other.exists()

    own = f".file.{files.HOST}-{os.getpid()}-abcdefgh"
    assert left(own, 600)
    assert (left(".file.elsewhere-1-abcd_234", 59), left(".file.elsewhere-1-abcd_234", 61)) == (True, False)
    assert (left(".file.abcd_234", 59), left(".file.abcd_234", 61)) == (True, False)
    assert left(".file.original", 600, 0o644)  # a user's: mkstemp lets nobody else read
    assert not left(f".file.{files.HOST}-{10**30}-abcdefgh", 0)
    assert left(".file.original", 600, 0o666)  # as all files are on Windows


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("loss", "SRN", "fixed"), "loss_srn_fixed"),
        (("curves", "LSTM, hidden size (4, 5)", "a/b"), "curves_lstm-hidden-size-4-5-_a-b"),
        (("Figure 6.13",), "figure-6.13"),
        (("分", "lr=0.1"), "分_lr=0.1"),
    ],
)
def test_words_become_the_name_of_a_file(words: tuple[str, ...], name: str):
    assert slug(*words) == name


def test_a_file_for_the_user_has_its_folder_or_an_error_of_one_line(tmp_path: Path):
    write(tmp_path / "new" / "folder" / "file", b"new")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"new"
    path = tmp_path / "new" / "folder" / "file" / "below"
    for setting, given in (("images_dir=FOLDER", ()), ("output=FILE", ("output=FILE",))):
        with pytest.raises(RecordError) as stopped:
            write(path, b"new", *given)
        assert str(stopped.value).startswith(f"cannot write {path}: ")
        assert str(stopped.value).endswith(f"; mend that, or give another {setting}")
        assert "\n" not in str(stopped.value)


def test_a_table_is_written_as_csv_and_read_again(tmp_path: Path):
    table = pd.DataFrame({"model": ["srn", "lstm"], "score": [1 / 3, 0.5]})
    write_table(tmp_path / "table.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)
    write_table(tmp_path / "short.csv", table, "%.2f")
    assert (tmp_path / "short.csv").read_bytes() == b"model,score\nsrn,0.33\nlstm,0.50\n"


def test_a_figure_is_saved_in_two_forms_that_are_the_same_every_time(tmp_path: Path):
    for folder in ("one", "other"):
        save(axes().get_figure(), tmp_path / folder / "figure_6.13")
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        one, other = ((tmp_path / folder / f"figure_6.13{suffix}").read_bytes() for folder in ("one", "other"))
        assert one.startswith(start)
        assert one == other


def names(folder: Path) -> set[str]:
    """The files in a folder and in those within."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_not_written_again_is_removed_and_nothing_else(tmp_path: Path):
    first = Collection(tmp_path, "analysis")
    for name in ("kept.csv", "gone.csv", "changed.csv", "task/a.md", "task/b.md"):
        first.write(name, name.encode())
    assert first.finish() == []
    (tmp_path / "changed.csv").write_text("a user's notes")
    (tmp_path / "own.csv").write_text("a user's file")
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "sheet.png").write_text("of another command")
    second = Collection(tmp_path, "analysis")
    second.write("kept.csv", b"new")
    assert names(tmp_path) >= {"gone.csv", "task/a.md"}  # until all is written
    assert second.finish() == ["gone.csv", "task/a.md", "task/b.md"]
    assert names(tmp_path) == {"kept.csv", "changed.csv", "own.csv", "gates/sheet.png", ".analysis"}
    assert not (tmp_path / "task").exists()
    third = Collection(tmp_path, "analysis")
    assert third.finish() == ["kept.csv"]


def test_after_a_crash_what_is_out_of_date_is_still_known(tmp_path: Path):
    first = Collection(tmp_path, "analysis")
    for name in ("a.csv", "b.csv"):
        first.write(name, b"old")
    first.finish()
    Collection(tmp_path, "analysis").write("c.csv", b"written, and then it crashed")
    assert names(tmp_path) == {"a.csv", "b.csv", "c.csv", ".analysis"}
    last = Collection(tmp_path, "analysis")
    last.write("a.csv", b"new")
    assert last.finish() == ["b.csv", "c.csv"]


def test_what_was_made_from_something_else_or_is_not_all_there_is_not_finished(tmp_path: Path):
    first = Collection(tmp_path, "analysis")
    assert not first.is_finished("")
    for name in ("a.csv", "task/b.md"):
        first.write(name, name.encode())
    assert not Collection(tmp_path, "analysis").is_finished("these")  # killed here
    first.finish("these")
    assert Collection(tmp_path, "analysis").is_finished("these")
    assert not Collection(tmp_path, "analysis").is_finished("those")
    (tmp_path / "a.csv").write_bytes(b"A.csv")
    assert not Collection(tmp_path, "analysis").is_finished("these")
    (tmp_path / "a.csv").write_bytes(b"a.csv")
    assert Collection(tmp_path, "analysis").is_finished("these")
    (tmp_path / "task" / "b.md").unlink()
    assert not Collection(tmp_path, "analysis").is_finished("these")
    second = Collection(tmp_path, "analysis")
    second.write("task/b.md", b"task/b.md")
    assert not Collection(tmp_path, "analysis").is_finished("these")  # and here
    assert second.finish() == ["a.csv"]
    assert not Collection(tmp_path, "analysis").is_finished("")


def test_a_list_of_before_is_not_finished_and_still_read(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"a")
    (tmp_path / ".analysis").write_text(f"{hashlib.sha256(b'a').hexdigest()}  a.csv\n")
    again = Collection(tmp_path, "analysis")
    assert not again.is_finished("these")
    assert again.finish("these") == ["a.csv"]


def test_a_damaged_list_removes_nothing(tmp_path: Path):
    (tmp_path / "a.csv").write_text("a")
    for content in (b"\xff\xfe", b"a.csv\n", b"no hash  a.csv\n"):
        (tmp_path / ".analysis").write_bytes(content)
        assert Collection(tmp_path, "analysis").finish() == []
    assert (tmp_path / "a.csv").exists()
