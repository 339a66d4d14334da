import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from memexp import compare, evaluate, generate, migrate, report, status, verify
from memexp import export as export_weights
from memexp.analysis import command as analysis
from memexp.bench import command as bench
from memexp.errors import ConfigError
from memexp.explorer import export
from memexp.fields import ranged
from memexp.gates import command as gates
from memexp.memory import command as memory
from memexp.options import read_options


@dataclass
class Options:
    """What it is for."""

    length: int = ranged(3, default=10, about="how long")
    studies: list[str] | None = ranged(default=None, about="which")
    lengths: list[int] = ranged(2, default=[10, 35], about="which lengths")
    seeds: Any = ranged(default=None, about="a number or a list")
    study: str | None = ranged(default=None, about="whose")
    outputs_dir: str = ranged(default="outputs", path=True, about="where")
    output: str | None = ranged(default=None, path=True, about="the file")
    order: str = ranged(one_of=("units", "time"), default="units", about="how sorted")
    text: str = ranged(default="", about="anything")


@dataclass
class OfOne:
    """A command that takes one study."""

    study: str | None = ranged(default=None, about="whose")


@dataclass
class OfSeveral:
    """A command that takes several."""

    study: list[str] | None = ranged(default=None, about="which")


def test_values_are_read_into_the_dataclass():
    assert read_options(Options, [], "x") == Options()
    read = read_options(Options, ["length=5", "studies=[book,fresh]", "order=time"], "x")
    assert read == Options(5, ["book", "fresh"], order="time")


@pytest.mark.parametrize("given", ["book,fresh", "[book,fresh]", "[book, fresh]", "book，fresh", "['book',\"fresh\"]"])
def test_a_list_needs_no_brackets(given: str):
    assert read_options(Options, [f"studies={given}"], "x").studies == ["book", "fresh"]


def test_what_stands_in_a_list_is_of_its_kind():
    assert read_options(Options, ["studies=007"], "x").studies == ["007"]  # not a number, as in YAML
    assert read_options(Options, ["studies=no"], "x").studies == ["no"]
    assert read_options(Options, ["studies=null"], "x").studies is None
    assert read_options(Options, ["lengths=10,20"], "x").lengths == [10, 20]
    assert read_options(Options, ["lengths=２０"], "x").lengths == [20]
    for given, seeds in {"3": 3, "3,7": [3, 7], "[3,7]": [3, 7], "３，７": [3, 7], "null": None}.items():
        assert read_options(Options, [f"seeds={given}"], "x").seeds == seeds


@pytest.mark.parametrize("key", ["study", "studies"])
def test_a_study_has_the_same_two_names_in_every_command(key: str):
    assert read_options(OfOne, [f"{key}=book"], "x") == OfOne("book")
    assert read_options(OfOne, [f"{key}=[book]"], "x") == OfOne("book")
    assert read_options(OfSeveral, [f"{key}=book"], "x") == OfSeveral(["book"])
    with pytest.raises(ConfigError, match="study=book,fresh: this command takes one study"):
        read_options(OfOne, [f"{key}=book,fresh"], "x")


def test_every_command_knows_its_study_by_both_names():
    modules = (analysis, export, gates, generate, migrate, report, status, verify)
    for schema in (module.Options for module in modules):
        for key in ("study", "studies"):
            assert read_options(schema, [f"{key}=book"], "x").study in ("book", ["book"])


def test_the_users_own_folder_is_put_in_place_of_a_tilde(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("USERPROFILE", "/home/someone")
    read = read_options(Options, ["outputs_dir=~/runs", "output=~/a.csv", "text=~/x", "study=~"], "x")
    assert read == Options(outputs_dir="/home/someone/runs", output="/home/someone/a.csv", text="~/x", study="~")


def test_every_option_that_is_a_path_says_so():
    """Else ``~`` would be the name of a folder in the current one."""
    schemas = (
        analysis.Options, bench.Options, compare.Options, evaluate.Options, export.Options, export_weights.Options,
        gates.Options, generate.Options, memory.Options, migrate.Options, report.Options, status.Options,
        verify.Options,
    )  # fmt: skip
    paths = {
        (schema.__module__, f.name, f.metadata["path"])
        for schema in schemas for f in dataclasses.fields(schema)
        if f.name.endswith("_dir") or f.name in ("run", "runs", "output", "figure", "file")
    }  # fmt: skip
    assert len(paths) == 31
    assert all(said for *_, said in paths)


@pytest.mark.parametrize("text", ["no", "null", "the ", " ", "1e3", "a: b", "- x", "[x", "#x", "a=b", "分开", "'x'"])
def test_a_text_is_taken_as_it_is_written(text: str):
    assert read_options(Options, ["length=5", f"text={text}"], "x") == Options(5, text=text)


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("lenght=5", r"unknown key 'lenght' \(did you mean length\?\); x --help lists them"),
        ("length", r"cannot read 'length'; options are given as key=value"),
        ("studies=[book", r"cannot read 'studies=\[book'; lists are given as key=1,2"),
        ("7", "cannot read '7'; options are given as key=value, in double quotes if there is a space; x --help"),
        ("studies=None", "studies=None: nothing is written as null here; give studies=null"),
        ("study=none", "study=none: nothing is written as null here; give study=null"),
        ("output=nil", "output=nil: nothing is written as null here; give output=null"),
        ("outputs_dir=None", "outputs_dir=None is not possible; give a folder or a file, or leave outputs_dir out"),
        ("outputs_dir=null", "outputs_dir=null is not possible"),
        ("outputs_dir=", "outputs_dir= is not possible"),
        ("lengths=1,2", "lengths=1 is too small; it must be at least 2"),
        ("lengths=a", r"lengths\[0\]=a is not a whole number"),
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
    assert "length=10            how long" in shown
    assert "studies=null         which" in shown
    assert "lengths=10,35        which lengths" in shown
