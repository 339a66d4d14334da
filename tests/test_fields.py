import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp.errors import ConfigError
from memexp.fields import Named, check_ranges, limits, ranged, settings_of


@dataclass
class Inner:
    rate: float = ranged(above=0, below=1, default=0.5)


@dataclass
class Limits:
    at_least: int = ranged(3, default=5)
    above: float = ranged(above=0, default=1.0)
    at_most: int = ranged(most=7, default=5)
    below: float = ranged(below=1, default=0.5)
    word: str = ranged(one_of=("fixed", "fresh"), default="fixed")
    none: int | None = ranged(1, default=None)
    several: list[int] = ranged(1, default=[2, 3])
    free: int = 0
    inner: Inner = dataclasses.field(default_factory=Inner)


def given(**values: object) -> Any:
    return OmegaConf.merge(OmegaConf.structured(Limits), values)


# --- ranges ---


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"at_least": 3},
        {"above": 1e-9},
        {"at_most": 7},
        {"at_most": -100},
        {"below": 0.999},
        {"word": "fresh"},
        {"none": 1},
        {"several": []},
        {"free": -(10**12)},
    ],
)
def test_what_is_in_range_passes(values: dict[str, object]):
    check_ranges(given(**values))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"at_least": 2}, "at_least=2 is too small; it must be at least 3"),
        ({"above": 0}, "above=0.0 is too small; it must be above 0"),
        ({"at_most": 8}, "at_most=8 is too large; it must be at most 7"),
        ({"below": 1}, "below=1.0 is too large; it must be below 1"),
        ({"word": "new"}, "word=new is unknown; allowed: fixed, fresh"),
        ({"none": 0}, "none=0 is too small; it must be at least 1"),
        ({"several": [1, 2, 0]}, "several=0 is too small; it must be at least 1"),
        ({"above": float("inf")}, "above=inf is not a finite number"),
        ({"above": float("nan")}, "above=nan is not a finite number"),
        ({"inner": {"rate": 1}}, "inner.rate=1.0 is too large; it must be below 1"),
    ],
)
def test_what_is_out_of_range_is_named_with_what_is_allowed(values: dict[str, object], complaint: str):
    with pytest.raises(ConfigError) as error:
        check_ranges(given(**values))
    assert str(error.value) == complaint
    with pytest.raises(ConfigError) as error:
        check_ranges(given(**values), "task.")
    assert str(error.value) == f"task.{complaint}"


@pytest.mark.parametrize("key", ["word", "free", "none", "inner", "inner.rate"])
def test_a_value_that_is_missing_is_named(key: str):
    config = given()
    OmegaConf.update(config, key, "???")
    with pytest.raises(ConfigError) as error:
        check_ranges(config, "task.")
    assert str(error.value) == f"task.{key} has no value: its YAML file lacks it"


def test_a_declaration_keeps_its_default_and_its_line_of_help():
    @dataclass
    class Options:
        needed: int = ranged(1)
        number: int = ranged(1, default=4, about="how many")
        names: list[str] = ranged(default=["a"])

    needed, number, _ = dataclasses.fields(Options)
    assert needed.default is needed.default_factory is dataclasses.MISSING
    assert number.metadata["about"] == "how many"
    one, other = Options(2), Options(2)
    assert (one.number, one.names) == (4, ["a"])
    one.names.append("b")
    assert other.names == ["a"]


# --- the settings of a class ---


@dataclass(kw_only=True, eq=False)
class Base:
    length: int
    folder: Path
    shuffle: bool


@dataclass(kw_only=True, eq=False)
class Task(Base):
    """A task declares its settings as fields."""

    sampling: str = ranged(one_of=("fixed", "fresh"))
    rows: int | None = ranged(1)
    prefixes: list[str]
    anything: Any
    _kept: dict[str, int] = dataclasses.field(default_factory=dict, init=False)


class Cell:
    """A cell declares them as annotated arguments of its constructor."""

    def __init__(self, seeds: int, width: int, variant: str, after: bool, scale: float, loose, *rest: int, **more: int):
        pass


class Bare:
    """It has none, nor a constructor of its own."""


@dataclass(kw_only=True)
class Shared(Named):
    width: int = ranged(1)


def schema_of(kind: type, *without: str, base: type | None = None) -> Any:
    return OmegaConf.structured(settings_of(kind, without, base))


def test_the_settings_of_a_dataclass_are_its_fields_with_their_types_and_ranges():
    schema = schema_of(Task, "length", "folder")
    assert set(schema) == {"_target_", "name", "shuffle", "sampling", "rows", "prefixes", "anything"}
    assert all(OmegaConf.is_missing(schema, key) for key in schema)
    good = {"_target_": "x.Task", "name": "x", "shuffle": True, "sampling": "fresh", "rows": None, "prefixes": ["a"]}
    good["anything"] = [1, {"a": 2}]
    config: Any = OmegaConf.merge(schema, good)
    check_ranges(config)
    assert OmegaConf.to_container(config) == good
    for key, value, complaint in (
        ("sampling", "new", "task.sampling=new is unknown; allowed: fixed, fresh"),
        ("rows", 0, "task.rows=0 is too small; it must be at least 1"),
    ):
        with pytest.raises(ConfigError) as error:
            check_ranges(OmegaConf.merge(config, {key: value}), "task.")
        assert str(error.value) == complaint
    for key in good:
        others = {other: value for other, value in good.items() if other != key}
        with pytest.raises(ConfigError, match=f"^task.{key} has no value: its YAML file lacks it$"):
            check_ranges(OmegaConf.merge(schema, others), "task.")
    for key, value in (("rows", "many"), ("shuffle", "maybe"), ("shuffle", None), ("prefixes", "a"), ("_kept", {})):
        with pytest.raises(OmegaConfBaseException):
            OmegaConf.merge(schema, {key: value})


def test_the_settings_of_any_other_class_are_the_annotated_arguments_of_its_constructor():
    schema = schema_of(Cell, "seeds", "width")
    assert set(schema) == {"_target_", "name", "variant", "after", "scale", "loose"}
    good = {"_target_": "x.Cell", "name": "x", "variant": "none", "after": False, "scale": 1.5, "loose": [1, "a"]}
    config: Any = OmegaConf.merge(schema, good)
    check_ranges(config)
    assert OmegaConf.to_container(config) == good
    with pytest.raises(ConfigError, match=r"^model.variant has no value: its YAML file lacks it$"):
        check_ranges(OmegaConf.merge(schema, {**good, "variant": "???"}), "model.")
    for key, value in (("after", "late"), ("scale", "large"), ("variant", None), ("seeds", 2), ("more", 1)):
        with pytest.raises(OmegaConfBaseException):
            OmegaConf.merge(schema, {key: value})


def test_what_all_such_classes_have_comes_from_a_base():
    assert set(schema_of(Bare)) == {"_target_", "name"}
    assert set(schema_of(Bare, base=Shared)) == {"_target_", "name", "width"}
    schema = schema_of(Cell, "seeds", "width", base=Shared)
    assert set(schema) == {"_target_", "name", "width", "variant", "after", "scale", "loose"}
    with pytest.raises(ConfigError, match="model.width=0 is too small; it must be at least 1"):
        check_ranges(OmegaConf.merge(schema, {"_target_": "x.Cell", "name": "x", "width": 0}), "model.")


def test_annotations_that_are_written_as_texts_are_read():
    class Late:
        def __init__(self, seeds: "int", variant: "str | None") -> None:
            pass

    schema = schema_of(Late, "seeds")
    assert OmegaConf.merge(schema, {"variant": None}).variant is None


def test_a_default_in_the_code_is_none_in_the_config():
    """The YAML file has the defaults: without it, the value is missing whatever the constructor says."""

    class Own:
        def __init__(self, bias: float = 2.0) -> None:
            pass

    with pytest.raises(ConfigError, match="bias has no value: its YAML file lacks it"):
        check_ranges(OmegaConf.merge(schema_of(Own), {"_target_": "x.Own", "name": "x"}))


def test_an_argument_of_a_constructor_can_have_a_range():
    class Leaky:
        def __init__(self, leak: Annotated[float, limits(above=0, below=1)], kind: Annotated[str, limits(one_of="ab")]):
            pass

    def check(**values: object) -> None:
        check_ranges(OmegaConf.merge(schema_of(Leaky), {"_target_": "x.Leaky", "name": "x", **values}), "model.")

    check(leak=0.5, kind="a")
    with pytest.raises(ConfigError, match="model.leak=1.0 is too large; it must be below 1"):
        check(leak=1, kind="a")
    with pytest.raises(ConfigError, match="model.kind=c is unknown; allowed: a, b"):
        check(leak=0.5, kind="c")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_whether_it_has_a_range_or_not(value: float):
    class Own:
        def __init__(self, scale: float) -> None:
            pass

    with pytest.raises(ConfigError, match="is not a finite number"):
        check_ranges(OmegaConf.merge(schema_of(Own), {"_target_": "x.Own", "name": "x", "scale": value}))
