"""The command line, checked before Hydra acts on it: one line for each mistake, with the nearest name that exists."""

import argparse
import contextlib
import itertools
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
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
#: Hydra's mappings in which every name is allowed: + adds one.
OPEN = ("hydra.job.env_set.", "hydra.sweeper.params.", "hydra.callbacks", "hydra.job_logging.", "hydra.hydra_logging.")
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
#: What Hydra, OmegaConf and YAML raise where a setting or a YAML file is wrong.
_THEIRS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError)


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
            return flags  # the values are checked run by run, see memexp.sweep
        for override in overrides:
            if override.is_sweep_override():
                raise ConfigError(f"{override.input_line}: several values make a sweep; add -m to run it")
        folder = folder_of(config)
        checked = check(config)
    if not flags.cfg:
        record.check_identity(folder, identity(checked))
        if not flags.dry:
            check_writable(folder.parent)
    return flags


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
            f"the run's folder cannot be named before it begins ({_first_line(error)}); "
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


def unknown_choice(group: str, given: str) -> ConfigError:
    """Say that a group has no such choice."""
    options = choices(group)
    none = "; leave it out for none" if (group, given) == ("experiment", "null") else ""
    return ConfigError(f"{group}={given} is unknown{nearest(given, options)}; allowed: {', '.join(options)}{none}")


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


@contextlib.contextmanager
def explained(*more: type[Exception]) -> Iterator[None]:
    """Turn the errors of Hydra, OmegaConf and YAML into one line, and those of the kinds in ``more``.

    Raises:
        ConfigError: instead of them.
    """
    try:
        yield
    except _THEIRS + more as error:
        raise explain(error) from error


def _how_to_write(override: str) -> str:
    """Say how to write what Hydra cannot read: most characters but English letters need quotes, in those of a shell."""
    key, equals, value = override.partition("=")
    listed = value.startswith("[") and value.endswith("]")
    texts = value[1:-1].split(",") if listed else [value]
    quoted = ",".join('"{}"'.format(text.strip(" \"'").replace('"', r"\"")) for text in texts)
    better = f"{key}=[{quoted}]" if listed else f"{key}={quoted}"
    if key and equals and (listed or not value.startswith(("[", "{"))):  # half a list: parted at a space by the shell
        with contextlib.suppress(HydraException):
            OverridesParser.create().parse_override(better)
            return f"in quotes it can be read: {shlex.quote(better)}"
    return f"""settings are given as key=value, lists as 'key=[1,2]' or, of texts, 'key=["two words","分"]'; {HELP}"""


def explain(error: Exception) -> ConfigError:
    """Turn an error of Hydra's, OmegaConf's or YAML's into one line that says what came and what is allowed."""
    if isinstance(error, OverrideParseException):
        called = re.search(r"\w+ while evaluating '.*': (.*)(?:\n(Available: .*))?", error.message)
        how = f"{called[1]}{f'; {called[2]}' if called[2] else ''}" if called else _how_to_write(str(error.override))
        return ConfigError(f"cannot read {error.override!r}; {how}")
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigError(f"{mark.name}, line {mark.line + 1}: {error.problem}; mend the YAML there")
    if isinstance(error, UnicodeDecodeError):
        return ConfigError(f"{_not_utf8()} is not UTF-8; save it as UTF-8")
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    text = str(causes[-1]).strip()
    file = re.match(r"In '(.*)': \w+ raised while composing config:\n", text)
    in_its_text = re.search(r"full_key: (\S+)", text)
    key = getattr(causes[-1], "full_key", None) or (in_its_text[1] if in_its_text else "")
    return ConfigError(
        f"in {file[1]}.yaml: {_said(text[file.end() :].splitlines()[0], key, causes[-1])}"
        if file
        else _said(_first_line(causes[-1]), key, causes[-1])
    )


def _said(inner: str, key: str, error: BaseException) -> str:
    """Say in our words what an error of Hydra's or OmegaConf's says of a key."""
    not_bool = re.search(r"Value '(.*)' is not a valid bool", inner)
    if not_bool:
        return f"{key}={not_bool[1]} is not true or false"
    wrong_type = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", inner)
    if wrong_type:
        value, kind = wrong_type.groups()
        return f"{key}={value} is not {_KINDS.get(kind, kind)}"
    if "is not a ListConfig" in inner:
        return f'{key} is a list; give it as \'{key}=["one","another one"]\''
    if any(words in inner for words in ("is not Optional", "assigned: NoneType", "Incompatible value 'None'")):
        return f"{key}=null is not possible; give it a value"
    if re.search(r"Key '.*' not in '", inner):
        parent = getattr(error, "parent_node", None)
        prefix = key.rpartition(".")[0]
        there = [f"{prefix}.{name!s}".lstrip(".") for name in parent] if isinstance(parent, DictConfig) else []
        return f"unknown key {key!r}{nearest(key, there)}"
    if inner.endswith("is not in struct"):
        return f"unknown key {key!r}{f'; a new one is given with +: +{key}=...' if key.startswith(OPEN) else ''}"
    if re.match(r"Missing key \w+$", inner) and "." in key:
        return f"{key} has no value: its YAML file lacks it"
    if "ListConfig does not support attribute access" in inner:
        return f"{key.partition('[')[0]} is a list, not settings; mend its YAML file"
    there_already = re.search(r"An item is already at '(.*)'", str(error))
    if there_already:
        return f"{there_already[1]} is there already: give it without +"
    return f"{key}: {inner}" if key else inner


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _missing(error: MissingConfigException) -> ConfigError:
    """Name a choice or a YAML file that is not there, with what is."""
    if "'hydra/launcher/submitit_slurm'" in str(error):  # what conf/hydra/launcher/slurm.yaml is made of
        return ConfigError("hydra/launcher=slurm needs the extra: pip install -e '.[slurm]'")
    missing = str(error.missing_cfg_file)
    group, _, name = missing.rpartition("/")
    named_in = re.match(r"In '(.*?)':", str(error))
    place = f"in {named_in[1]}.yaml: " if named_in and named_in[1] not in ("config", "hydra/config") else ""
    if group in GROUPS:
        return ConfigError(f"{place}{unknown_choice(group, name)}")
    if group == "hydra/launcher":
        return ConfigError(f"{place}{group}={name} is unknown; allowed: joblib, basic, slurm")
    if error.options:
        return ConfigError(
            f"{place}{group}={name} is unknown{nearest(name, error.options)}; allowed: {', '.join(error.options)}"
        )
    return ConfigError(f"{place}there is no {missing}.yaml, neither in memexp's conf/ nor in your --config-dir")


def _not_utf8() -> str:
    """Find the YAML file that cannot be read as a text."""
    for folder in config_dirs():
        for path in sorted(folder.rglob("*.yaml")):
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return str(path)
    return "a YAML file"
