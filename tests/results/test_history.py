import hashlib
import lzma
from pathlib import Path

import pytest
from helpers import make_run, reseal, seed_row

from memexp.errors import RecordError
from memexp.results.history import History, read_history


def test_history_is_long_and_skips_seeds_that_stopped(tmp_path: Path):
    history = History(tmp_path / "history.csv", [3, 7])
    history.add(0, "dev", "loss", [1.5, 2.5], [True, True])
    history.add(100, "dev", "loss", [1.25, float("nan")], [True, False])
    assert history.latest("dev", "loss") == 1.25
    size, digest = history.flush()
    text = (tmp_path / "history.csv").read_text()
    assert text == "iteration,seed,split,name,value\n0,3,dev,loss,1.5\n0,7,dev,loss,2.5\n100,3,dev,loss,1.25\n"
    assert (size, digest) == (len(text), hashlib.sha256(text.encode()).hexdigest())


def test_history_goes_on_from_the_checkpoint(tmp_path: Path):
    path = tmp_path / "history.csv"
    first = History(path, [3])
    first.add(0, "dev", "loss", [1.5], [True])
    seal = first.flush()
    first.add(100, "dev", "loss", [1.0], [True])  # after the checkpoint, then killed
    first.flush()
    second = History(path, [3], seal)
    second.add(100, "dev", "loss", [1.0], [True])
    second.flush()
    assert path.read_text().splitlines()[1:] == ["0,3,dev,loss,1.5", "100,3,dev,loss,1"]


def test_history_shorter_than_its_checkpoint_is_an_error(tmp_path: Path):
    (tmp_path / "history.csv").write_text("iteration")
    with pytest.raises(RecordError, match="shorter than its checkpoint says"):
        History(tmp_path / "history.csv", [3], [400, ""])


def test_a_history_that_another_process_wrote_into_is_not_written_on(tmp_path: Path):
    path = tmp_path / "history.csv"
    own = History(path, [3])
    own.add(0, "dev", "loss", [1.5], [True])
    seal = own.flush()
    with path.open("a") as other:
        other.write("7,3,dev,loss,9\n")
    own.add(1, "dev", "loss", [1.0], [True])
    with pytest.raises(RecordError, match="was changed by another process; give the same command to go on"):
        own.flush()
    again = History(path, [3], seal)  # goes on from the last checkpoint
    again.add(1, "dev", "loss", [1.0], [True])
    again.flush()
    assert path.read_text().splitlines()[1:] == ["0,3,dev,loss,1.5", "1,3,dev,loss,1"]


def test_a_compressed_history_is_read_too(tmp_path: Path):
    folder = make_run(tmp_path / "book", 5, seeds=[seed_row(3)])
    content = b"iteration,seed,split,name,value\n0,3,dev,loss,1.5\n"
    (folder / "history.csv").write_bytes(content)
    reseal(folder)
    (folder / "history.csv").unlink()
    (folder / "history.csv.xz").write_bytes(lzma.compress(content))
    assert read_history(folder).to_numpy().tolist() == [[0, 3, "dev", "loss", 1.5]]
    (folder / "history.csv.xz").write_bytes(lzma.compress(content)[:-20])
    with pytest.raises(RecordError, match="history.csv.xz is damaged"):
        read_history(folder)
    (folder / "history.csv.xz").write_bytes(lzma.compress(content.replace(b"1.5", b"2.5")))
    with pytest.raises(RecordError, match=r"history.csv.xz is damaged \(it is not what was written\)"):
        read_history(folder)
    (folder / "history.csv").write_bytes(content)  # comes first
    assert read_history(folder)["value"].tolist() == [1.5]
