"""Settings as Python's values: what Hydra reads of them is what was given, and what people type is as typed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from memexp.errors import ConfigError
from memexp.settings import as_overrides


def of(value: Any, several: bool = False, key: str = "study") -> str:
    (override,) = as_overrides([], {key: value}, several)
    return override


@pytest.mark.parametrize(
    "value",
    [
        10, 1e-05, 0.5, -3, 1e300, True, False, None, "book", "two words", "a,b", "分 开", "[no list", "%",
        "back\\slash", 'both \\"', "ends\\", "x=y", "${length}", "{", "a: b", "1e3", "10.0.1", "", " ", "'",
        "it's", 'say "x"', [3, 7], [[32, 32], 16], [],
        ["time traveller", "分", "it, too", 'a "quote"', "null", "3"], [None, True, 0.25],
    ],
    ids=repr,
)  # fmt: skip
def test_what_hydra_reads_is_what_was_given(value: Any):
    override = OverridesParser.create().parse_override(of(value))
    assert not override.is_sweep_override()
    read = override.value()
    assert read == value or str(read) == value, of(value)
    if value != "${length}":
        assert isinstance(read, type(value)) or str(read) == value


@pytest.mark.parametrize("typed", ["lstm", "10..19", "[3,7]", "null", "true", "2024", "0.001", "a/b.txt", "x_y-z"])
def test_what_is_typed_on_the_command_line_is_as_typed(typed: str):
    """The run folder is named after what was typed: in quotes it would be another one."""
    assert of(typed) == f"study={typed}"


@pytest.mark.parametrize(
    ("value", "override"),
    [
        (np.int64(3), "study=3"),
        (np.float64(0.25), "study=0.25"),
        (np.arange(3, 6), "study=[3,4,5]"),
        (range(2), "study=[0,1]"),
        ((3, 7), "study=[3,7]"),
        (Path("a, b"), 'study="a, b"'),
    ],
)
def test_numbers_arrays_and_paths_are_taken(value: Any, override: str):
    assert of(value) == override


def test_underscores_stand_for_a_dot_and_overrides_stay():
    given = as_overrides(["model=lstm", "length=\uff11\uff10"], {"model__hidden_size": 8, "task.shuffle": True}, False)
    assert given == ["model=lstm", "length=10", "model.hidden_size=8", "task.shuffle=true"]


def test_a_list_is_what_a_sweep_runs_over_and_seeds_are_one_value():
    settings = {
        "length": [10, 15],
        "seeds": [3, 7],
        "model__hidden_size": [16, [8, 4]],
        "model": "srn,gru",
        "clip": [None],
    }
    assert as_overrides([], settings, True) == [
        "length=10,15", "seeds=[3,7]", "model.hidden_size=16,[8,4]", "model=srn,gru", "clip=null",
    ]  # fmt: skip
    assert of("srn,gru", several=False) == 'study="srn,gru"'
    assert of("range(10,36,5)", several=True) == "study=range(10,36,5)"


@pytest.mark.parametrize(
    ("given", "settings", "complaint"),
    [
        (["-m"], {}, "cannot read '-m'; settings are given as 'key=value'"),
        (["length"], {}, "cannot read 'length'"),
        ([10], {}, "cannot read 10"),
        ([], {"length": {"a": 1}}, "length: a dict is no value of a setting"),
        ([], {"lr": [1, object()]}, "lr: a object is no value of a setting"),
        ([], {"length": []}, "length=[] stands for no value"),
    ],
)
def test_what_is_no_setting_is_one_line(given: list[Any], settings: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError) as error:
        as_overrides(given, settings, several=True)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
