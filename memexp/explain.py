"""What Hydra, OmegaConf and YAML say of a mistake, in one line: what came, what is allowed, what to do."""

import contextlib
import re
import shlex
from collections.abc import Iterator

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from memexp.config import choices, config_dirs
from memexp.errors import ConfigError, nearest
from memexp.fields import NOTHING

HELP = "python -m memexp --help lists them"
GROUPS = ("task", "model", "experiment")
#: Hydra's mappings in which every name is allowed: + adds one.
OPEN = ("hydra.job.env_set.", "hydra.sweeper.params.", "hydra.callbacks", "hydra.job_logging.", "hydra.hydra_logging.")
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
#: What Hydra, OmegaConf and YAML raise where a setting or a YAML file is wrong.
_THEIRS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError)


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


def unknown_choice(group: str, given: str) -> ConfigError:
    """Say that a group has no such choice."""
    options = choices(group)
    none = "; leave it out for none" if (group, given) == ("experiment", "null") else ""
    return ConfigError(f"{group}={given} is unknown{nearest(given, options)}; allowed: {', '.join(options)}{none}")


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
        else _said(first_line(causes[-1]), key, causes[-1])
    )


def _said(inner: str, key: str, error: BaseException) -> str:
    """Say in our words what an error of Hydra's or OmegaConf's says of a key."""
    not_bool = re.search(r"Value '(.*)' is not a valid bool", inner)
    if not_bool:
        return f"{key}={not_bool[1]} is not true or false"
    wrong_type = re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", inner)
    if wrong_type:
        value, kind = wrong_type.groups()
        if value.lower() in NOTHING and not key.endswith("]"):  # in a list there is no null
            return f"{key}={value}: nothing is written as null here; give {key}=null"
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


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
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
        return ConfigError(f"{place}{group}={name} is unknown; allowed: joblib, basic, slurm, slurm_gpu")
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
