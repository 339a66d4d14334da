"""A setting with its range: declared once, where it is used, and checked in one place."""

import dataclasses
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from memexp.errors import ConfigError


def limits(
    minimum: float = -math.inf,
    *,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    one_of: Iterable[str] = (),
) -> dict[str, Any]:
    """Say which values a setting may have; in a constructor it stands as ``Annotated[float, limits(above=0)]``.

    Args:
        minimum: the smallest value that is allowed.
        above: every value has to be larger than this.
        most: the largest value that is allowed.
        below: every value has to be smaller than this.
        one_of: the words that are allowed.
    """
    return {"minimum": minimum, "above": above, "most": most, "below": below, "one_of": tuple(one_of)}


def ranged(
    minimum: float = -math.inf,
    *,
    default: Any = dataclasses.MISSING,
    about: str = "",
    path: bool = False,
    bare: bool = False,
    **others: Any,
) -> Any:
    """Declare a field of a dataclass with the values that it may have, and a line about it for ``--help``.

    Args:
        minimum: see `limits`.
        default: of the options of a command; the settings of a run have theirs in their YAML file.
        about: what it is.
        path: whether it names a file or a folder, so that a ``~`` in front is the user's own folder.
        bare: whether arguments of a command that have no key are the items of this list.
        others: see `limits`.
    """
    metadata = {**limits(minimum, **others), "about": about, "path": path, "bare": bare}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(
    kind: type, given: Iterable[str], base: type | None = None, later: Mapping[str, Any] | None = None
) -> type:
    """Make the schema of the settings of a class: what its constructor takes, beside what memexp gives it.

    A dataclass declares its settings as fields, with `ranged` where there is a range; any other class as annotated
    arguments of its constructor, with `limits`. Their defaults are in the YAML file.

    Args:
        kind: the class.
        given: the arguments that are no settings.
        base: a dataclass with settings that all such classes have.
        later: settings that came after there were records, and what they are in a record that does not name them.

    Returns:
        A dataclass for OmegaConf, in which no field but the later ones has a value yet.
    """
    metadata = {f.name: dict(f.metadata) for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    declared: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(kind, eval_str=True).parameters.items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = Any if parameter.annotation is parameter.empty else parameter.annotation
        own = metadata.get(name, {})
        if get_origin(hint) is Annotated:
            hint, own = get_args(hint)[:2]
        declared.append((name, hint, dataclasses.field(default=(later or {}).get(name, MISSING), metadata=own)))
    return dataclasses.make_dataclass(kind.__name__, declared, bases=(base or Named,))


@dataclasses.dataclass
class Named:
    """What the node of every class that a run builds has: the class, and the name of its YAML file."""

    _target_: str = MISSING
    name: str = MISSING


NOTHING = ("none", "nil")  # what says so elsewhere


def refuse_nothing(key: str, value: object, optional: bool = True) -> None:
    """Refuse what says "nothing" elsewhere: here ``null`` does, and ``None`` would be the name of a folder.

    Args:
        key: what the value was given as.
        value: the value; only a text is looked at.
        optional: whether ``null`` is possible; where it is not, it is refused too, and so is an empty text.

    Raises:
        ConfigError: it is ``None``, ``none``, ``nil`` or the like.
    """
    if not isinstance(value, str):
        return
    said = value.strip().lower()
    if optional and said in NOTHING:
        raise ConfigError(f"{key}={value}: nothing is written as null here; give {key}=null")
    if not optional and said in (*NOTHING, "null", ""):
        raise ConfigError(f"{key}={value} is not possible; give a folder or a file, or leave {key} out")


def check_ranges(node: DictConfig, prefix: str = "") -> None:
    """Check every value of a structured config against what the fields of its dataclass allow.

    Raises:
        ConfigError: names the key, what came and what is allowed.
    """
    schema = OmegaConf.get_type(node)
    declared = {f.name: f.metadata for f in dataclasses.fields(schema)} if dataclasses.is_dataclass(schema) else {}
    for key in map(str, node):
        name, allowed = f"{prefix}{key}", declared.get(key) or limits()
        if OmegaConf.is_missing(node, key):
            raise ConfigError(f"{name} has no value: its YAML file lacks it")
        value = node[key]
        if isinstance(value, DictConfig):
            check_ranges(value, f"{name}.")
        elif value is not None:
            for item in value if isinstance(value, ListConfig) else [value]:
                _check_limits(name, item, allowed)


def _check_limits(name: str, value: Any, allowed: Mapping[str, Any]) -> None:
    if allowed["one_of"] and value not in allowed["one_of"]:
        raise ConfigError(f"{name}={value} is unknown; allowed: {', '.join(allowed['one_of'])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}={value} is not a finite number")
        if value < allowed["minimum"]:
            raise ConfigError(f"{name}={value} is too small; it must be at least {allowed['minimum']}")
        if value <= allowed["above"]:
            raise ConfigError(f"{name}={value} is too small; it must be above {allowed['above']}")
        if value > allowed["most"]:
            raise ConfigError(f"{name}={value} is too large; it must be at most {allowed['most']}")
        if value >= allowed["below"]:
            raise ConfigError(f"{name}={value} is too large; it must be below {allowed['below']}")
