"""The command line, checked before Hydra acts on it: one line for each mistake, with the nearest name that exists."""

import contextlib
import itertools
import re
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp import CONF_DIR
from memexp.config import check, choices, config_dirs, identity
from memexp.errors import ConfigError, nearest
from memexp.results import record
from memexp.results.record import flatten

HELP = "python -m memexp --help lists them"
RENAMED = {"task.num_steps": "length"}  # since memexp 0.1; goes with the next release
GROUPS = ("task", "model", "experiment")
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def check_arguments(arguments: list[str]) -> None:
    """Check the arguments of the command line as far as that can be done for all runs of a sweep at once.

    Raises:
        ConfigError: an unknown key or choice, a wrong type, a value out of range, a sweep without ``-m``.
    """
    parsed, unread = get_args_parser().parse_known_args(arguments)
    if unread:
        raise ConfigError(
            f"cannot read {unread[0]!r}; options like -m go before all settings: python -m memexp -m key=value ..."
        )
    if parsed.help or parsed.hydra_help or parsed.info or parsed.shell_completion:
        return
    with initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3"):
        try:
            overrides = OverridesParser.create().parse_overrides(parsed.overrides)
        except HydraException as error:
            raise explain(error) from error
        _check_names(overrides)
        fixed = [o for o in overrides if not o.is_sweep_override()]
        try:
            lines = [str(o.input_line) for o in fixed]
            config = compose("config", [*lines, *_search_path()], return_hydra_config=True)
            if parsed.multirun or config.hydra.mode == RunMode.MULTIRUN:
                _check_writable(Path(config.outputs_dir) / config.study)
                return  # the values are checked run by run, see memexp.sweep
            for override in overrides:
                if override.is_sweep_override():
                    raise ConfigError(f"{override.input_line}: several values make a sweep; add -m to run it")
            checked = check(config)
            if parsed.cfg:
                return
            folder = Path(config.hydra.run.dir)
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error) from error
        record.check_identity(folder, identity(checked))
        _check_writable(folder.parent)


def _check_writable(study: Path) -> None:
    """Check that a study's folder can be written; Hydra would only say so with a traceback."""
    try:
        study.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=study) as file:
            file.write(bytes(1 << 16))  # on a full disk an empty file can still be made
    except OSError as error:
        raise ConfigError(
            f"{study} cannot be written: {error.strerror}; mend that, or give another outputs_dir"
        ) from error


def _check_names(overrides: list[Override]) -> None:
    """Check that every key and every choice of a group exists.

    In a sweep over a group's choices only those that all do not exist are an error here.
    """
    options = {group: choices(group) for group in GROUPS}
    chosen: list[list[str]] = []  # for each group the choices that there are
    for override in overrides:
        if override.is_delete():
            raise ConfigError(f"{override.input_line}: a setting cannot be removed; give it a value")
        group = override.key_or_group
        if group not in options:
            continue
        given = ["null" if value is None else str(value) for value in _values(override)]
        good = [value for value in given if value in options[group] or (value, group) == ("null", "experiment")]
        if not good:
            raise unknown_choice(group, given[0])
        chosen.append([f"{group}={choice}" for choice in good])
    keys: set[str] = set()
    for together in itertools.product(*chosen):
        base: Any = OmegaConf.to_container(compose("config", [*together, *_search_path()]), resolve=False)
        keys |= set(flatten(base))
    known = keys | set(options) | {key.rpartition(".")[0] for key in keys if "." in key}
    for override in overrides:
        key = override.key_or_group
        if key.startswith(("hydra.", "hydra/")) and not override.is_add():
            continue
        if key in RENAMED:
            raise ConfigError(f"{key} is called {RENAMED[key]} now: give {RENAMED[key]}=...")
        if key not in known:
            raise ConfigError(f"unknown key {key!r}{nearest(key, known)}; {HELP}")
        if key.rpartition(".")[2] in ("_target_", "name") and key not in options:
            raise ConfigError(f"{key} belongs to its YAML file; choose {key.partition('.')[0]}=... instead")


def _search_path() -> list[str]:
    """Return the override that lets a composition here see the folders of ``--config-dir``, as Hydra's own will."""
    folders = ",".join(f"file://{folder}" for folder in config_dirs())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


def _values(override: Override) -> Iterable[object]:
    return override.sweep_iterator() if override.is_sweep_override() else [override.value()]


def unknown_choice(group: str, given: str) -> ConfigError:
    """Say that a group has no such choice."""
    options = choices(group)
    return ConfigError(f"{group}={given} is unknown{nearest(given, options)}; allowed: {', '.join(options)}")


def compose_job(overrides: list[str], load: object) -> tuple[DictConfig, DictConfig]:
    """Compose the config of one run of a sweep with Hydra's ``load(overrides)`` and check it.

    Returns:
        The config as Hydra composed it, and as `memexp.config.check` returns it.

    Raises:
        ConfigError: in one line.
    """
    try:
        composed: DictConfig = load(overrides)  # type: ignore[operator]
        return composed, check(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


def _how_to_write(override: str) -> str:
    """Say how to write what Hydra cannot read: most characters but English letters need quotes, in those of a shell."""
    key, equals, value = override.partition("=")
    listed = value.startswith("[") and value.endswith("]")
    texts = value[1:-1].split(",") if listed else [value]
    quoted = ",".join('"{}"'.format(text.strip(" \"'").replace('"', r"\"")) for text in texts)
    better = f"{key}=[{quoted}]" if listed else f"{key}={quoted}"
    if equals and (listed or not value.startswith("[")):  # half a list: the shell has parted it at a space
        with contextlib.suppress(HydraException):
            OverridesParser.create().parse_override(better)
            return f"in quotes it can be read: {shlex.quote(better)}"
    return f"""settings are given as key=value, lists as 'key=[1,2]' or, of texts, 'key=["two words","分"]'; {HELP}"""


def explain(error: Exception) -> ConfigError:
    """Turn an error of Hydra's or OmegaConf's into one line that says what came and what is allowed."""
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    inner = str(causes[-1]).strip().splitlines()[0]
    key = getattr(causes[-1], "full_key", None) or ""
    wrong_type = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", inner)
    if isinstance(error, OverrideParseException):
        return ConfigError(f"cannot read {error.override!r}; {_how_to_write(str(error.override))}")
    not_bool = re.search(r"Value '(.*)' is not a valid bool", inner)
    if not_bool:
        return ConfigError(f"{key}={not_bool[1]} is not true or false")
    if wrong_type:
        value, kind = wrong_type.groups()
        return ConfigError(f"{key}={value} is not {_KINDS.get(kind, kind)}")
    choice = re.search(r"Could not find '(\w+)/([^']*)'", str(error))
    if choice and choice[1] in GROUPS:
        return unknown_choice(choice[1], choice[2])
    launcher = re.search(r"Could not find 'hydra/launcher/([^']*)'", str(error))
    if launcher and launcher[1] != "submitit_slurm":
        return ConfigError(f"hydra/launcher={launcher[1]} is unknown; allowed: joblib, basic, slurm")
    if launcher:
        return ConfigError("hydra/launcher=slurm needs the extra: pip install -e '.[slurm]'")
    if "is not a ListConfig" in inner:
        return ConfigError(f'{key} is a list; give it as \'{key}=["one","another one"]\'')
    if any(words in inner for words in ("is not Optional", "assigned: NoneType", "Incompatible value 'None'")):
        return ConfigError(f"{key}=null is not possible; give it a value")
    there = re.search(r"An item is already at '(.*)'", str(error))
    if there:
        return ConfigError(f"{there[1]} is there already: give it without +")
    return ConfigError(f"{key}: {inner}" if key else inner)
