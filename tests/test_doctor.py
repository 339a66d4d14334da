"""What is said of a run before it is trained."""

from pathlib import Path

import pytest
from helpers import Command

from memexp import doctor


@pytest.fixture
def command(in_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run ``python -m memexp.doctor ARGUMENTS`` in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *given: in_process(doctor.main, *given)


def test_size_floors_and_credit_are_said_and_no_run_is_begun(command: Command, tmp_path: Path):
    """From zero an LSTM's credit halves at each step: the ratios are known."""
    said = command("length=27", "model.initialiser=zeros", "seeds=3", "model.hidden_size=7", "model.embedding_size=0")
    first, size, *rest = said.splitlines()
    assert first == "LSTM, digit_sum, length 27, 3 seeds"
    assert size == f"parameters  {4 * (10 * 7 + 7 * 7 + 7) + 7 * 19 + 19}; a state of 14 numbers"
    assert "floors      accuracy: always the likeliest answer 0.1" in rest
    assert "floors      loss: knowing nothing 2.794, knowing one digit 2.303" in rest
    by_lag = {int(lag): float(norm) for lag, norm in (line.split(":") for line in rest if line[:17].strip().isdigit())}
    assert list(by_lag) == [0, 1, 2, 5, 10, 20, 26]
    for lag, norm in by_lag.items():
        assert norm == pytest.approx(by_lag[0] * 0.5**lag, rel=0.1)  # two digits are shown
    assert rest[-1].startswith("warning: before training, the first token that has to be remembered gets a gradient of")
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_no_warning_where_there_is_credit_nor_where_nothing_is_needed(command: Command):
    assert "warning" not in command("length=27", "model.initialiser=chrono", "seeds=2")
    said = command("task=char_lm", "seeds=2", "model.hidden_size=3", "epochs=1")
    assert "the task does not say which tokens have to be remembered" in said


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("-m", "length=5"), "memexp.doctor: -m: python -m memexp.doctor looks at one run; give settings alone"),
        (("length=5,6",), "memexp.doctor: length=5,6: python -m memexp.doctor looks at one run"),
        (
            ("experiment=book",),
            "memexp.doctor: these settings are of a sweep: python -m memexp.doctor looks at one run",
        ),
        (("lenght=5",), "memexp.doctor: unknown key 'lenght' (did you mean length?)"),
        (("length=2",), "memexp.doctor: length=2 is too small; it must be at least 3"),
    ],
)
def test_a_mistake_is_one_line(command: Command, given: tuple[str, ...], complaint: str):
    said = command(*given)
    assert said.startswith(complaint)
    assert "\n" not in said


def test_help_says_what_is_said(command: Command):
    assert command("--help").startswith("python -m memexp.doctor [key=value ...]\n")
