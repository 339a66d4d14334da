"""Which classes a record may have built: a record is data, and data come from anywhere.

To build a class its module is imported, and to import a module is to run it. So the name of a class in a record counts
only where the user has named it too: in a YAML file of a conf/, or its module on the command line, as
``modules=mycells``. That is looked at before anything is imported, the packages around the module included.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from memexp import CONF_DIR, __version__
from memexp.config import class_of, config_dirs
from memexp.errors import ConfigError
from memexp.models.cells import Cell
from memexp.results.identity import CLASSES
from memexp.sources import OWN
from memexp.tasks.task import Task

TARGET = "_target_"
BASES: dict[str, type] = {"task": Task, "model": Cell}


def vetted(settings: Any, modules: Sequence[str] = ()) -> DictConfig:
    """Turn the config of a record into one whose classes may be built.

    Args:
        settings: as they stand in the record.
        modules: those of the user's that he has named.

    Raises:
        ConfigError: a class may not be built, or cannot be.
        TypeError, ValueError, KeyError: it is not what a run writes.
    """
    _check_plain(settings)
    for node in CLASSES:
        check_target(settings[node][TARGET], node, modules)
    config: DictConfig = OmegaConf.create(settings)
    for node in CLASSES:
        kind_of(config[node], node, modules)
    return config


def check_target(target: Any, node: str, modules: Sequence[str] = ()) -> None:
    """Check that the user has named a class that a record names; nothing is imported.

    Args:
        target: the class, ``module.name``.
        node: ``task`` or ``model``.
        modules: those of the user's that he has named.

    Raises:
        ConfigError: he has not; what he can do is said.
        TypeError: it is no text.
    """
    if not isinstance(target, str):
        raise TypeError(f"{node}.{TARGET} is {target!r}, not a text")
    if _is_registered(target, node) or _is_named(_module_of(target), modules):
        return
    if _is_below(target, OWN):
        raise ConfigError(f"{node}: memexp {__version__} has no {target}; where it is of a newer memexp, update")
    raise ConfigError(
        f"{node}: {target} is a class that no conf/ here registers; if it is your own, give the command in the folder "
        f"of its conf/, or name its module: modules={_module_of(target)}"
    )


def kind_of(node: DictConfig, key: str, modules: Sequence[str] = ()) -> Any:
    """Return the class that the ``task`` or ``model`` of a record names, if the user has named it too.

    It must be a task or a cell. One that counts for its module alone must be of that module, not imported into it.

    Raises:
        ConfigError, TypeError: see `check_target`; or it cannot be imported, or is something else.
    """
    target = node[TARGET]
    check_target(target, key, modules)
    kind, base = class_of(node, key), BASES[key]
    if not issubclass(kind, base):
        raise ConfigError(f"{key}: {target} is no {key}; it must be a subclass of {base.__module__}.{base.__name__}")
    if not _is_registered(target, key) and not _is_named(kind.__module__, modules):
        raise ConfigError(f"{key}: {target} is of another module, {kind.__module__}; name that one as modules=")
    return kind


def _check_plain(settings: Any) -> None:
    """Check that a config has nothing to resolve, and no class but those of its task and its model.

    A run writes its config resolved. ``${oc.env:NAME}`` would be read out of the reader's own environment.
    """
    pending = [("config", settings)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{name} refers to something with ${{")
        if isinstance(value, Mapping):
            if TARGET in value and name not in {f"config.{node}" for node in CLASSES}:
                raise ValueError(f"{name} names a class")
            pending += [(f"{name}.{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(f"{name}[{place}]", inner) for place, inner in enumerate(value)]


def _is_registered(target: str, group: str) -> bool:
    """Say whether a class stands in a YAML file of memexp's own conf/, of ``./conf`` or of a ``--config-dir``."""
    for home in (CONF_DIR, Path("conf"), *config_dirs()):
        for path in sorted((home / group).glob("*.yaml")):
            try:
                text = path.read_text(encoding="utf-8")
                if target in text and target in _targets(yaml.load(text, yaml.BaseLoader), group):
                    return True
            except (OSError, UnicodeDecodeError, yaml.YAMLError):
                continue  # a file that cannot be read registers nothing
    return False


def _targets(content: Any, group: str) -> Iterator[Any]:
    """Yield the class that a YAML file of a group gives: at its root, or in the node of that name."""
    for node in (content, content.get(group) if isinstance(content, Mapping) else None):
        if isinstance(node, Mapping):
            yield node.get(TARGET)


def _module_of(target: str) -> str:
    return target.partition(":")[0] if ":" in target else target.rpartition(".")[0]


def _is_named(module: str, modules: Sequence[str]) -> bool:
    """Say whether a module is one that the user has named, or below one; of memexp only its own conf/ counts."""
    return not _is_below(module, OWN) and any(_is_below(module, given) for given in modules)


def _is_below(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
