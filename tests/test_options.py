from dataclasses import dataclass

import pytest

from memexp.errors import ConfigError
from memexp.fields import ranged
from memexp.options import read_options


@dataclass
class Options:
    """What it is for."""

    length: int = ranged(3, default=10, about="how long")
    studies: list[str] | None = ranged(default=None, about="which")
    order: str = ranged(one_of=("units", "time"), default="units", about="how sorted")
    text: str = ranged(default="", about="anything")


def test_values_are_read_into_the_dataclass():
    assert read_options(Options, [], "x") == Options()
    read = read_options(Options, ["length=5", "studies=[book,fresh]", "order=time"], "x")
    assert read == Options(5, ["book", "fresh"], "time")


@pytest.mark.parametrize("text", ["no", "null", "the ", " ", "1e3", "a: b", "- x", "[x", "#x", "a=b", "分开", "'x'"])
def test_a_text_is_taken_as_it_is_written(text: str):
    assert read_options(Options, ["length=5", f"text={text}"], "x") == Options(5, text=text)


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("lenght=5", r"unknown key 'lenght' \(did you mean length\?\); x --help lists them"),
        ("length", r"cannot read 'length'; options are given as key=value"),
        ("studies=[book", r"cannot read 'studies=\[book'; lists are given as 'key=\[1,2\]'"),
        ("length=ten", r"length=ten is not a whole number"),
        ("length=2", r"length=2 is too small; it must be at least 3"),
        ("order=up", r"order=up is unknown; allowed: units, time"),
    ],
)
def test_a_mistake_is_named(argument: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        read_options(Options, [argument], "x")


def test_help_lists_the_fields(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        read_options(Options, ["--help"], "python -m x")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("python -m x [key=value ...]\n\nWhat it is for.\n")
    assert "length=10     how long" in shown
    assert "studies=null  which" in shown
