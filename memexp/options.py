"""Options of the smaller commands: ``key=value`` as in Hydra, read into a dataclass, with the same clear errors."""

import dataclasses
import inspect
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp import ending, progress
from memexp.errors import ConfigError, MemexpError, nearest, refusals_in_a_line
from memexp.explain import explain
from memexp.fields import check_ranges, refuse_nothing
from memexp.files import expanded

T = TypeVar("T")

#: Another name of a key, where a command has that key.
OTHER_NAMES = {"studies": "study", "data": "datasets_dir"}


def run_command(name: str, schema: type[T], do: Callable[[T], int | None]) -> None:
    """Run ``python -m memexp.<name>``: read its options, do it, exit with what it returns; an error is one line."""
    run_main(name, lambda: do(read_options(schema, sys.argv[1:], f"python -m memexp.{name}")))


def run_main(name: str, do: Callable[[], int | None]) -> None:
    """Run a command that reads its arguments itself; see `run_command`."""
    progress.make_streams_safe()
    try:
        with ending.in_one_line(f"memexp.{name}: interrupted"), refusals_in_a_line():
            code = do()
            sys.stdout.flush()
    except MemexpError as error:
        sys.exit(f"memexp.{name}: {error}")
    except BrokenPipeError:  # whoever read the output has gone, as head does
        sys.exit(1)
    finally:
        progress.let_go_of_streams()
    if code:
        sys.exit(code)


def read_options(schema: type[T], arguments: list[str], command: str) -> T:
    """Read ``key=value`` arguments; print a help text and exit on ``--help``.

    Args:
        schema: a dataclass whose fields are declared with `memexp.fields.ranged`; its docstring heads the help.
        arguments: the command line without the program's name.
        command: how the command is called, for the help.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(schema)}  # type: ignore[arg-type]
    bare = next((name for name, f in fields.items() if f.metadata.get("bare")), None)
    if "--help" in arguments or "-h" in arguments:
        print(f"{command} {f'{bare.upper()} ' if bare else ''}[key=value ...]\n\n{inspect.getdoc(schema)}\n")
        defaults = OmegaConf.to_container(OmegaConf.structured(schema))
        assert isinstance(defaults, dict)
        shown = {str(name): f"{name!s}={_as_written(value)}" for name, value in defaults.items()}
        width = max(map(len, shown.values()))
        for name, f in fields.items():
            print(f"  {shown[name]:<{width}}  {f.metadata.get('about', '')}")
        sys.exit(0)
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if bare and not argument.startswith("-") and (key == bare or key not in fields):
            given.setdefault(bare, []).append(expanded(text if key == bare else argument))  # its name may have a "="
            continue
        if not equals:
            raise ConfigError(
                f"cannot read {argument!r}; options are given as key=value, in double quotes if there is a space; "
                f"{command} --help lists them"
            )
        name = key if key in fields else OTHER_NAMES.get(key, key)
        if name not in fields:
            raise ConfigError(f"unknown key {key!r}{nearest(key, fields)}; {command} --help lists them")
        given[name] = _read(name, fields[name], text)
    try:
        config = OmegaConf.merge(OmegaConf.structured(schema), given)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    check_ranges(config)  # type: ignore[arg-type]
    options: Any = OmegaConf.to_object(config)
    return options  # type: ignore[no-any-return]


def _read(key: str, field: "dataclasses.Field[Any]", text: str) -> Any:
    """Turn what was typed into a value, as far as the kind of its field says how; OmegaConf does the rest.

    A text is taken as it is written: as YAML, "no" would be False and "the " would lose its space.

    Raises:
        ConfigError: it is no list, or not null but another word for nothing.
    """
    kinds, is_path = {field.type, *get_args(field.type)}, field.metadata.get("path", False)
    optional = type(None) in kinds
    if optional and text.lower() in ("null", ""):
        return None
    if optional or is_path:
        refuse_nothing(key, text, optional)
    if is_path:
        return expanded(text)
    if any(get_origin(kind) is list for kind in kinds):
        return _items(key, text, yaml.BaseLoader)  # all of them as texts
    listed = bool(set("[,，") & set(text))
    if field.type is Any:
        text = unicodedata.normalize("NFKC", text)
        return _items(key, text, yaml.SafeLoader) if listed else yaml.safe_load(text)
    if key in OTHER_NAMES.values() and listed:
        items = _items(key, text, yaml.BaseLoader)
        if len(items) != 1:
            raise ConfigError(f"{key}={text}: this command takes one {key}")
        return str(items[0])
    return text


def _items(key: str, text: str, loader: type[yaml.BaseLoader] | type[yaml.SafeLoader]) -> list[Any]:
    """Read ``a,b`` or ``[a,b]``: brackets would need quotes in some shells, and a comma may be a full-width one.

    Raises:
        ConfigError: it is no list.
    """
    listed = text.strip().replace("，", ",")
    try:
        return list(yaml.load(listed if listed.startswith("[") else f"[{listed}]", loader))
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read {f'{key}={text}'!r}; lists are given as key=1,2") from error


def _as_written(value: Any) -> str:
    """Write a value as it would be given on the command line."""
    if isinstance(value, list):
        return ",".join(map(_as_written, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
