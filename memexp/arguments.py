"""The command line, checked before Hydra acts on it: one line for each mistake, with the nearest name that exists."""

import argparse
import contextlib
import itertools
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memexp import CONF_DIR
from memexp.config import check, choices, config_dirs, identity
from memexp.errors import ConfigError, nearest
from memexp.explain import GROUPS, HELP, OPEN, explained, first_line, unknown_choice
from memexp.files import expanded
from memexp.results.identity import INIT, check_identity
from memexp.results.record import flatten

FLAGS_OF_ONE = ("--config-dir", "-cd", "--config-name", "-cn")  # that a command which looks at one run knows
RENAMED = {"task.num_steps": "length"}  # since memexp 0.1; goes with the next release


class _Parser(argparse.ArgumentParser):
    """Hydra's flags and memexp's own; a mistake is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; python -m memexp --hydra-help lists the flags")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(parents=[get_args_parser()], add_help=False, allow_abbrev=False, conflict_handler="resolve")
    parser.add_argument("--version", action="store_true", help="Show memexp's version and exit")  # instead of Hydra's
    parser.add_argument("--dry", action="store_true", help="List the runs and their state; start and write nothing")
    return parser


def check_arguments(arguments: list[str]) -> argparse.Namespace:
    """Check the arguments of the command line as far as that can be done for all runs of a sweep at once.

    Returns:
        The flags by their long names, and ``sweep``: whether the command is a sweep.

    Raises:
        ConfigError: an unknown key or choice, a wrong type, a value out of range, a sweep without ``-m``.
    """
    flags, unread = _parser().parse_known_args(arguments)
    if unread:
        raise ConfigError(
            f"cannot read {unread[0]!r}; options like -m go before all settings: python -m memexp -m key=value ..."
        )
    flags.sweep = False
    _check_flags(flags)
    if flags.version or flags.help or flags.hydra_help or flags.info or flags.shell_completion:
        return flags
    with composing(), explained():
        overrides = OverridesParser.create().parse_overrides(flags.overrides)
        _check_names(overrides, flags.config_name)
        fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
        try:
            config = compose_run(fixed, flags.config_name)
        except ConfigError as error:
            over_choices = any(o.key_or_group in GROUPS for o in overrides if o.is_sweep_override())
            if not over_choices or "unknown key" not in str(error):
                raise
            # Hydra composes the sweep as a whole once, with the default task and model.
            raise ConfigError(f"{error}; a key of some of the swept choices is given as key=choice(value)") from error
        flags.sweep = flags.multirun or config.hydra.mode == RunMode.MULTIRUN
        if flags.multirun and config.hydra.mode == RunMode.RUN:
            raise ConfigError("-m starts a sweep, and hydra.mode=RUN a single run; leave one of them out")
        if flags.dry and config.hydra.runtime.choices["hydra/sweeper"] != "memexp":
            raise ConfigError("--dry asks memexp's sweeper, which hydra/sweeper=... replaces; leave one of them out")
        if flags.sweep:
            return flags  # the values are checked run by run, see memexp.sweeps
        for override in overrides:
            if override.is_sweep_override():
                raise ConfigError(f"{override.input_line}: several values make a sweep; add -m to run it")
        folder = folder_of(config)
        checked = check(config)
    if not flags.cfg:
        check_identity(folder, identity(checked))
        if not flags.dry:
            check_writable(folder.parent)
    return flags


def one_run(arguments: Sequence[str], command: str) -> DictConfig:
    """Read the settings of one run for a command that looks at it and trains nothing, as ``python -m memexp`` does.

    Args:
        arguments: the command line without the program's name.
        command: how the command is called, for what it complains of.

    Raises:
        ConfigError: they are not possible, or of more than one run.
    """
    alone = f"{command} looks at one run; give settings alone, each with one value"
    for argument in arguments:
        if argument.startswith("-") and not argument.startswith(FLAGS_OF_ONE):
            raise ConfigError(f"{argument}: {alone}")
    arguments = [*map(as_meant, arguments)]
    settings = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    with composing(), explained():
        for override in OverridesParser.create().parse_overrides(settings):
            if override.is_sweep_override():
                raise ConfigError(f"{override.input_line}: {alone}")
    flags = check_arguments(["--cfg=job", *arguments])  # so that no folder of a run is looked at
    if flags.sweep:
        raise ConfigError(f"these settings are of a sweep: {alone}")
    with composing(), explained():
        return check(compose_run(flags.overrides, flags.config_name))


def _check_flags(flags: argparse.Namespace) -> None:
    """Check what Hydra would refuse with a traceback, or what would go past memexp's own checks."""
    given = {
        "--run": flags.run, "-m": flags.multirun, "--cfg": flags.cfg, "--info": flags.info,
        "--shell-completion": flags.shell_completion, "--dry": flags.dry and not (flags.run or flags.multirun),
    }  # fmt: skip
    together = [flag for flag, on in given.items() if on]
    if len(together) > 1:
        sweep = "; python -m memexp -m --dry lists the runs of a sweep" if together == ["-m", "--cfg"] else ""
        raise ConfigError(f"{' and '.join(together)} do not go together; give one of them{sweep}")
    for flag, on in (("--resolve", flags.resolve), ("--package", flags.package)):
        if on and not flags.cfg and not flags.help:
            raise ConfigError(f"{flag} does nothing without --cfg: python -m memexp --cfg job {flag} ...")
    if flags.cfg == "hydra" and flags.resolve:
        raise ConfigError("--cfg hydra --resolve: Hydra's settings refer to the run's; --cfg all --resolve shows both")
    if flags.shell_completion and not re.fullmatch(
        "(un)?install=(bash|fish|zsh)|query=.*", " ".join(flags.overrides), flags=re.S
    ):
        raise ConfigError("--shell-completion needs one of install=bash, install=fish, install=zsh; or uninstall=")
    if flags.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun is not needed: the same command again goes on from the last checkpoint")
    if flags.config_path is not None:
        raise ConfigError("--config-path would hide memexp's own conf/; --config-dir=FOLDER adds your folder to it")
    if flags.config_dir is not None:
        folder = Path(flags.config_dir)
        if not flags.config_dir or not folder.is_dir():
            raise ConfigError(f"--config-dir={flags.config_dir} is no folder; give the one that holds model/ or task/")
        if config_dirs() != [folder.absolute()]:
            raise ConfigError("give --config-dir=FOLDER once, and written like that")


def as_meant(argument: str) -> str:
    """Return an argument as Hydra can read it.

    A number in full-width characters, as Chinese keyboards give it, becomes the number. In place of a ``~`` in front of
    a value comes the user's own folder: not every shell puts it there. A run folder's name has commas, which Hydra
    would read as several values.
    """
    key, equals, value = argument.partition("=")
    number = unicodedata.normalize("NFKC", value).replace("\u3001", ",")
    if number != value and re.fullmatch(r"[\d.,\[\]+-]+(e-?\d+)?", number):
        return f"{key}={number}"
    is_folder = key == INIT and Path(expanded(value)).exists()
    if not equals or not (is_folder or re.match(r"~($|[/\\])", value)):
        return argument
    path = expanded(value)
    return f"{key}={path}" if key.startswith("-") else '{}="{}"'.format(key, path.replace("\\", "/"))


def composing() -> contextlib.AbstractContextManager[None]:
    """Begin compositions with memexp's own conf/."""
    return initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3")


def compose_run(overrides: list[str], name: str | None = None) -> DictConfig:
    """Compose one run as Hydra will, its folders given by ``--config-dir`` too; within `composing`.

    Args:
        overrides: its settings.
        name: that of ``--config-name``.
    """
    quoted = (str(folder).replace('"', r"\"") for folder in config_dirs())  # its name may have spaces, commas, 分
    folders = ",".join(f'"file://{folder}"' for folder in quoted)
    search_path = [f"hydra.searchpath=[{folders}]"] if folders else []
    with explained(ValueError):
        try:
            config = compose(name or "config", [*overrides, *search_path], return_hydra_config=True)
        except KeyError as error:
            raise ConfigError(f"hydra.job.env_copy: there is no environment variable {error}; set it first") from error
    _check_places(config)
    return config


def folder_of(config: DictConfig) -> Path:
    """Return the folder of a run.

    Raises:
        ConfigError: it is known only once the run has begun.
    """
    hydra = config.hydra
    try:
        in_sweep = hydra.mode == RunMode.MULTIRUN
        return Path(hydra.sweep.dir, hydra.sweep.subdir) if in_sweep else Path(hydra.run.dir)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"the run's folder cannot be named before it begins ({first_line(error)}); "
            "name it after settings, as hydra.sweep.subdir=${length}, or leave that out"
        ) from error


def _check_places(config: DictConfig) -> None:
    """Check where a run reads and writes."""
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true would look for datasets in the run's folder; leave it out: "
            "a run's files go into its folder all the same"
        )
    for key in ("datasets_dir", "outputs_dir", "images_dir"):
        if config.get(key) == "":
            raise ConfigError(f"{key}= is empty; give a folder, or leave it out for the default one")


def check_writable(study: Path) -> None:
    """Check that a study's folder can be written; Hydra would only say so with a traceback."""
    try:
        study.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=study) as file:
            file.write(bytes(1 << 16))  # on a full disk an empty file can still be made
    except OSError as error:
        raise ConfigError(
            f"{study} cannot be written: {error.strerror}; mend that, or give another outputs_dir"
        ) from error


def _check_names(overrides: list[Override], config_name: str | None) -> None:
    """Check that every key and every choice of a group exists.

    In a sweep over a group's choices only those that all do not exist are an error here.
    """
    options = {group: choices(group) for group in GROUPS}
    chosen: list[list[str]] = []  # for each group the choices that there are
    for override in overrides:
        _check_grammar(override)
        group = override.key_or_group
        if group not in options:
            continue
        given = ["null" if value is None else str(value) for value in values(override)]
        good = [value for value in given if value in options[group]]
        if not good:
            raise unknown_choice(group, given[0])
        chosen.append([f"{group}={choice}" for choice in good])
    keys: set[str] = set()
    for together in itertools.product(*chosen):
        base: Any = OmegaConf.to_container(compose_run(list(together), config_name), resolve=False)
        keys |= set(flatten({key: value for key, value in base.items() if key != "hydra"}))
    known = keys | set(options) | {key.rpartition(".")[0] for key in keys if "." in key}
    for override in overrides:
        key = override.key_or_group
        if key.startswith(("hydra.", "hydra/")) and (not override.is_add() or key.startswith(OPEN)):
            continue
        if key in RENAMED:
            raise ConfigError(f"{key} is called {RENAMED[key]} now: give {RENAMED[key]}=...")
        if key not in known:
            raise ConfigError(f"unknown key {key!r}{nearest(key, known)}; {HELP}")
        if key.rpartition(".")[2] in ("_target_", "name") and key not in options:
            raise ConfigError(f"{key} belongs to its YAML file; choose {key.partition('.')[0]}=... instead")


def _check_grammar(override: Override) -> None:
    """Check that an override is of a kind that memexp has a use for."""
    key, line = override.key_or_group, override.input_line
    if override.is_delete():
        raise ConfigError(f"{line}: a setting cannot be removed; give it a value")
    if override.package is not None:
        raise ConfigError(f"{line}: a run has one task and one model; give {key}=... without @{override.package}")
    if key in GROUPS and (override.is_add() or override.is_force_add()):
        raise ConfigError(f"{key} is there already: give it without +")
    if key == "hydra.searchpath":
        raise ConfigError(f"{line}: memexp finds YAML files of yours by --config-dir=FOLDER; give that instead")
    if override.is_sweep_override():
        if key.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{line}: Hydra's own settings cannot be swept over; give one value")
        values(override)


def values(override: Override) -> list[object]:
    """List the values that an override stands for; of a range, which may be long, the first alone.

    Raises:
        ConfigError: there are none, or they cannot be listed.
    """
    line, given = override.input_line, override.value()
    if isinstance(given, Glob):
        options = choices(override.key_or_group) if override.key_or_group in GROUPS else []
        found: list[object] = list(given.filter(options))
        if not options:
            raise ConfigError(f"{line}: glob() chooses among names: of task, model or experiment")
        if not found:
            raise ConfigError(f"{line} matches nothing; there are: {', '.join(options)}")
        return found
    if override.is_interval_sweep():
        raise ConfigError(f"{line}: a sweep needs values, not an interval; give {override.key_or_group}=a,b or range()")
    if not override.is_sweep_override():
        return [given]
    try:
        some = override.sweep_iterator()
        found = list(itertools.islice(some, 1) if override.is_range_sweep() else some)
    except (HydraException, ValueError) as error:
        raise ConfigError(f"{line}: a range whose step is 0 does not end; give it another step") from error
    if not found:
        raise ConfigError(
            f"{line} stands for no value: a range ends before its second number; give at least one, as range(10,36,5)"
        )
    return found


def compose_job(overrides: list[str], load: object) -> tuple[DictConfig, DictConfig]:
    """Compose the config of one run of a sweep with Hydra's ``load(overrides)`` and check it.

    Returns:
        The config as Hydra composed it, and as `memexp.config.check` returns it.

    Raises:
        ConfigError: in one line.
    """
    with explained(ValueError):
        composed: DictConfig = load(overrides)  # type: ignore[operator]
    with explained():
        _check_places(composed)
        return composed, check(composed)
