"""A setting with its range: declared once, where it is used, and checked in one place."""

import dataclasses
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from memexp.errors import ConfigError


def ranged(
    minimum: float = -math.inf,
    *,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    one_of: tuple[str, ...] = (),
    default: Any = dataclasses.MISSING,
    about: str = "",
) -> Any:
    """Declare a field of a dataclass with the values that it may have, and a line about it for ``--help``.

    Args:
        minimum: the smallest value that is allowed.
        above: every value has to be larger than this.
        most: the largest value that is allowed.
        below: every value has to be smaller than this.
        one_of: the words that are allowed.
        default: of the options of a command; the settings of a run have theirs in their YAML file.
        about: what it is.
    """
    metadata = {"minimum": minimum, "above": above, "most": most, "below": below, "one_of": one_of, "about": about}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(kind: type, given: Iterable[str], base: type | None = None) -> type:
    """Make the schema of the settings of a class: what its constructor takes, beside what memexp gives it.

    A dataclass declares its settings as fields, with `ranged` where there is a range; any other class as annotated
    arguments of its constructor. Their defaults are in the YAML file.

    Args:
        kind: the class.
        given: the arguments that are no settings.
        base: a dataclass with settings that all such classes have.

    Returns:
        A dataclass for OmegaConf, in which no field has a value yet.
    """
    metadata = {f.name: dict(f.metadata) for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    declared: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(kind, eval_str=True).parameters.items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = Any if parameter.annotation is parameter.empty else parameter.annotation
        declared.append((name, hint, dataclasses.field(default=MISSING, metadata=metadata.get(name, {}))))
    return dataclasses.make_dataclass(kind.__name__, declared, bases=(base or Named,))


@dataclasses.dataclass
class Named:
    """What the node of every class that a run builds has: the class, and the name of its YAML file."""

    _target_: str = MISSING
    name: str = MISSING


def check_ranges(node: DictConfig, prefix: str = "") -> None:
    """Check every value of a structured config against what the fields of its dataclass allow.

    Raises:
        ConfigError: names the key, what came and what is allowed.
    """
    schema = OmegaConf.get_type(node)
    declared = {f.name: f.metadata for f in dataclasses.fields(schema)} if dataclasses.is_dataclass(schema) else {}
    for key in map(str, node):
        name, limits = f"{prefix}{key}", declared.get(key)
        if OmegaConf.is_missing(node, key):
            raise ConfigError(f"{name} has no value: its YAML file lacks it")
        value = node[key]
        if isinstance(value, DictConfig):
            check_ranges(value, f"{name}.")
        elif limits and value is not None:
            for item in value if isinstance(value, ListConfig) else [value]:
                _check_limits(name, item, limits)


def _check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if limits["one_of"] and value not in limits["one_of"]:
        raise ConfigError(f"{name}={value} is unknown; allowed: {', '.join(limits['one_of'])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}={value} is not a finite number")
        if value < limits["minimum"]:
            raise ConfigError(f"{name}={value} is too small; it must be at least {limits['minimum']}")
        if value <= limits["above"]:
            raise ConfigError(f"{name}={value} is too small; it must be above {limits['above']}")
        if value > limits["most"]:
            raise ConfigError(f"{name}={value} is too large; it must be at most {limits['most']}")
        if value >= limits["below"]:
            raise ConfigError(f"{name}={value} is too large; it must be below {limits['below']}")
