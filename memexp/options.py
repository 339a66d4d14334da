"""Options of the smaller commands: ``key=value`` as in Hydra, read into a dataclass, with the same clear errors."""

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp import progress
from memexp.arguments import explain
from memexp.errors import ConfigError, MemexpError, nearest
from memexp.fields import check_ranges

T = TypeVar("T")


def run_command(name: str, schema: type[T], do: Callable[[T], int | None]) -> None:
    """Run ``python -m memexp.<name>``: read its options, do it, exit with what it returns; an error is one line."""
    progress.make_streams_safe()
    try:
        code = do(read_options(schema, sys.argv[1:], f"python -m memexp.{name}"))
        sys.stdout.flush()
    except MemexpError as error:
        sys.exit(f"memexp.{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        end_unread()
    if code:
        sys.exit(code)


def end_unread() -> NoReturn:
    """Exit when whoever read the output has gone, as ``head`` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it exits
    sys.exit(1)


def read_options(schema: type[T], arguments: list[str], command: str) -> T:
    """Read ``key=value`` arguments; print a help text and exit on ``--help``.

    Args:
        schema: a dataclass whose fields are declared with `memexp.fields.ranged`; its docstring heads the help.
        arguments: the command line without the program's name.
        command: how the command is called, for the help.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range.
    """
    fields = dataclasses.fields(schema)  # type: ignore[arg-type]
    if "--help" in arguments or "-h" in arguments:
        print(f"{command} [key=value ...]\n\n{inspect.getdoc(schema)}\n")
        defaults = OmegaConf.to_container(OmegaConf.structured(schema))
        assert isinstance(defaults, dict)
        shown = {str(name): f"{name!s}={_as_written(value)}" for name, value in defaults.items()}
        width = max(map(len, shown.values()))
        for f in fields:
            print(f"  {shown[f.name]:<{width}}  {f.metadata.get('about', '')}")
        sys.exit(0)
    names = [f.name for f in fields]
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {argument!r}; options are given as key=value; {command} --help lists them")
        if key not in names:
            raise ConfigError(f"unknown key {key!r}{nearest(key, names)}; {command} --help lists them")
    # A text is taken as it is written: as YAML, "no" would be False and "the " would lose its space.
    texts = {f.name for f in fields if f.type is str}
    as_written = {key: value for key, _, value in (a.partition("=") for a in arguments) if key in texts}
    as_yaml = [argument for argument in arguments if argument.partition("=")[0] not in texts]
    try:
        config = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.from_dotlist(as_yaml), as_written)
    except OmegaConfBaseException as error:
        raise explain(error) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read {' '.join(arguments)!r}; lists are given as 'key=[1,2]'") from error
    check_ranges(config)  # type: ignore[arg-type]
    options: Any = OmegaConf.to_object(config)
    return options  # type: ignore[no-any-return]


def _as_written(value: Any) -> str:
    """Write a value as it would be given on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_as_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
