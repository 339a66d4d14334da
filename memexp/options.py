"""Options of the smaller commands: ``key=value`` as in Hydra, read into a dataclass, with the same clear errors."""

import dataclasses
import sys
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp.arguments import explain, nearest
from memexp.config import check_ranges
from memexp.errors import ConfigError

T = TypeVar("T")


def read_options(schema: type[T], arguments: list[str], command: str) -> T:
    """Read ``key=value`` arguments; print a help text and exit on ``--help``.

    Args:
        schema: a dataclass whose fields are declared with `memexp.config.ranged`; its docstring heads the help.
        arguments: the command line without the program's name.
        command: how the command is called, for the help.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range.
    """
    fields = dataclasses.fields(schema)  # type: ignore[arg-type]
    if "--help" in arguments or "-h" in arguments:
        print(f"{command} [key=value ...]\n\n{schema.__doc__}\n")
        width = max(len(f"{f.name}={f.default}") for f in fields)
        for f in fields:
            default = "null" if f.default is None else f.default
            print(f"  {f'{f.name}={default}':<{width}}  {f.metadata.get('about', '')}")
        sys.exit(0)
    names = [f.name for f in fields]
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise ConfigError(f"cannot read {argument!r}; options are given as key=value; {command} --help lists them")
        if key not in names:
            raise ConfigError(f"unknown key {key!r}{nearest(key, names)}; {command} --help lists them")
    try:
        config = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.from_dotlist(arguments))
    except OmegaConfBaseException as error:
        raise explain(error) from error
    check_ranges(config, "", schema)  # type: ignore[arg-type]
    options: Any = OmegaConf.to_object(config)
    return options  # type: ignore[no-any-return]
