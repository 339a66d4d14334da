"""Settings given as Python's values, written as the command line has them: the same run, in the same folder."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from memexp.arguments import as_meant
from memexp.errors import ConfigError

KEYWORDS = ("null", "true", "false", "nan", "inf")  # of Hydra's grammar

LISTS = ("seeds",)  # of which a list is one value, also in a sweep: nobody sweeps over seeds


def as_overrides(given: Iterable[str], settings: Mapping[str, Any], several: bool) -> list[str]:
    """Write settings as overrides of Hydra's grammar.

    Args:
        given: those that are overrides already.
        settings: by their names, in which two underscores stand for a dot: ``model__hidden_size``.
        several: whether a list stands for the values of a sweep; a list in it is then one value.

    Raises:
        ConfigError: a value is none that a setting can have.
    """
    for override in given:
        if not isinstance(override, str) or "=" not in override or override.startswith("-"):
            raise ConfigError(f"cannot read {override!r}; settings are given as 'key=value', or as key=value in Python")
    return [
        *map(as_meant, given),
        *(_override(name.replace("__", "."), value, several) for name, value in settings.items()),
    ]


def _override(key: str, value: Any, several: bool) -> str:
    value = _plain(key, value)
    if isinstance(value, str):
        return _of_text(key, value, several)
    if isinstance(value, list) and several and key not in LISTS:
        if not value:
            raise ConfigError(f"{key}=[] stands for no value; give at least one")
        return f"{key}={','.join(_word(item) for item in value)}"
    return f"{key}={_word(value)}"


def _plain(key: str, value: Any) -> Any:
    """Turn what stands for a setting's value into one: numpy's numbers and arrays, ranges, tuples, paths.

    Raises:
        ConfigError: it stands for none.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, tuple | range | list):
        return [_plain(key, item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    raise ConfigError(f"{key}: a {kind} is no value of a setting; give a number, a text, True, False, None, or a list")


def _of_text(key: str, text: str, several: bool) -> str:
    """Write a text as it is where Hydra reads that as it is, or as what is typed; in quotes elsewhere."""
    typed = as_meant(f"{key}={text}")
    if typed != f"{key}={text}":
        return typed
    try:
        override = OverridesParser.create().parse_override(typed)
        found = override.value()
        as_typed = several if override.is_sweep_override() else isinstance(found, list) or _is_said(found, text)
    except HydraException:
        as_typed = False
    return typed if as_typed else f"{key}={_quoted(text)}"


def _is_said(found: Any, text: str) -> bool:
    return found is None or isinstance(found, bool) or (isinstance(found, str | int | float) and str(found) == text)


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value, re.A) and value.lower() not in KEYWORDS
        return value if plain else _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    """Put a text in double quotes; of backslashes only those before a quote count for Hydra."""
    inner = re.sub(r'(\\*)"', r'\1\1\\"', text)
    return '"{}"'.format(re.sub(r"(\\+)$", r"\1\1", inner))
