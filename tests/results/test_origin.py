from pathlib import Path

from helpers import make_run

from memexp.results import record
from memexp.results.origin import origin


def test_it_is_another_one_when_anything_is_that_can_be_seen(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    run = make_run(one, 5)
    seen = [origin([one], "en")]

    def is_new() -> bool:
        seen.append(origin([one], "en"))
        return seen[-1] not in seen[:-1]

    assert origin([one], "en") == seen[0]
    assert origin([one], "zh") != seen[0]
    assert origin([one, other], "en") == seen[0]  # there is no run in it
    make_run(other, 5)
    assert origin([one, other], "en") != seen[0]
    (run / record.HISTORY).write_text("iteration\n")
    assert is_new()
    (run / record.HISTORY).rename(run / f"{record.HISTORY}.xz")
    assert not is_new()
    (run / record.SUMMARY).write_bytes((run / record.SUMMARY).read_bytes().replace(b"0.7", b"0.8", 1))
    assert is_new()
    unfinished = make_run(one, 6)
    assert is_new()
    (unfinished / record.SUMMARY).unlink()
    assert not is_new()
    run.rename(one / "renamed")
    assert is_new()
