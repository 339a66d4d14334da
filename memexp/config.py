"""The schema: what every run has. Types, ranges and rules between fields are declared here, and only here.

What a task or a cell has beside it, it declares itself (`memexp.fields.settings_of`). The defaults are in the YAML
files in conf/, and so are the comments for users. Hydra composes them; `check` then sees to types, ranges and rules.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import itertools
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from memexp import CONF_DIR
from memexp.errors import ConfigError
from memexp.fields import NOTHING, Named, check_ranges, ranged, refuse_nothing
from memexp.results.identity import CLASSES, INIT, LATER, NOT_IDENTITY, identity_of
from memexp.results.record import BEST
from memexp.sources import code_of
from memexp.words import LANGUAGES

INITIALISERS = (
    "xavier", "xavier_zero_bias", "zeros", "uniform_1997", "orthogonal", "identity", "torch", "chrono",
    "truncated_normal", "xavier_4", "fan_in_uniform", "he_normal", "glorot_uniform", "file",
)  # fmt: skip

NO_LOGGER = "none"
LOGGERS = ("tensorboard", "trackio")  # each is the name of its library, and of an extra of memexp

MOST_SEEDS = 10_000  # of a number or a range: more is a slip, and its list alone would fill the memory


@dataclasses.dataclass(kw_only=True)
class ModelConfig(Named):
    """The settings that every model has."""

    embedding_size: int = ranged(0)
    hidden_size: Any
    parameters: int | None = ranged(1)
    bidirectional: bool
    initial_state: str = ranged(one_of=("zero", "learned", "input"))
    initialiser: str = ranged(one_of=INITIALISERS)
    files: list[str]
    forget_bias: float = ranged()


@dataclasses.dataclass(kw_only=True)
class Config:
    """One run."""

    length: int = ranged(1)
    task: Any
    model: Any
    seeds: Any
    init_from: str | None
    epochs: int = ranged(1)
    until_right: int | None = ranged(1)
    lr: float = ranged(above=0)
    batch_size: int = ranged(1)
    optimizer: str = ranged(one_of=("adam", "sgd"))
    reduction: str = ranged(one_of=("mean", "sum"))
    clip: float | None = ranged(above=0)
    clip_by: str = ranged(one_of=("global", "tensor", "value"))
    gradient_norms: bool
    eval_steps: int = ranged(1)
    log_steps: int = ranged(1)
    checkpoint_seconds: float = ranged(0)
    study: str
    device: str = ranged(one_of=("auto", "cpu", "cuda"))
    engine: str = ranged(one_of=("auto", "compiled", "torch"))
    datasets_dir: str
    outputs_dir: str
    images_dir: str | None
    lang: str = ranged(one_of=LANGUAGES)
    report: bool
    logger: str = ranged(one_of=(NO_LOGGER, *LOGGERS))


def class_of(node: DictConfig, key: str) -> Any:
    """Return the class that a node of the config names.

    Raises:
        ConfigError: it cannot be imported, or is no class.
    """
    try:
        found = pkgutil.resolve_name(node._target_)
    except Exception as error:  # importing a module of the user's may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        module = str(node._target_).partition(".")[0]
        lost = isinstance(error, ModuleNotFoundError) and error.name == module != "memexp"
        where = f"; give the command in the folder where {module} is" if lost else ""
        raise ConfigError(f"{key}={node.name}: {node._target_} cannot be imported ({reason}){where}") from error
    if not isinstance(found, type):
        raise ConfigError(
            f"{key}={node.name}: {node._target_} is no class; give _target_: MODULE.CLASS in its YAML file"
        )
    return found


def schema(config: DictConfig) -> type:
    """Make the schema of one run: `Config`, with the settings of its task and of its cell."""
    from memexp.models.cells import settings as cell_settings  # torch is slow to import: not before a run is composed
    from memexp.tasks.task import settings as task_settings

    task = task_settings(class_of(config.task, "task"))
    model = cell_settings(class_of(config.model, "model"), ModelConfig)
    fields = [("task", task, MISSING), ("model", model, MISSING)]
    return dataclasses.make_dataclass("Run", fields, bases=(Config,), kw_only=True)


def typed(config: DictConfig) -> DictConfig:
    """Return a config without Hydra's part, every value of its declared type, ``seeds`` as a list.

    A setting that came after there were records is null where one does not name it.

    Raises:
        ConfigError: the seeds are not possible, or a class cannot be imported.
        OmegaConfBaseException: a value of another type, or a key that does not exist; see `memexp.explain.explain`.
    """
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    config.seeds = read_seeds(config.seeds)
    config = OmegaConf.merge(dict.fromkeys(LATER), config)  # type: ignore[assignment]
    return OmegaConf.merge(OmegaConf.structured(schema(config)), config)  # type: ignore[return-value]


def sources(config: DictConfig) -> dict[str, str]:
    """Return the code of the classes of a user's own that a config names: ``task``, ``model`` -> name and hash."""
    found = {node: code_of(class_of(config[node], node), config[node]._target_) for node in CLASSES}
    return {node: code for node, code in found.items() if code is not None}


def identity(config: DictConfig, fingerprint: str | None = None) -> dict[str, Any]:
    """Return what makes a run of a checked config this run, see `memexp.results.identity.identity_of`.

    Settings that a task has got later (`memexp.tasks.task.Task.later`) are left out, so that older records are still
    those of the same run: the fingerprint says what they change. Weights to begin with count by their hash, wherever
    they are.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    later = class_of(config.task, "task").later
    settings["task"] = {key: value for key, value in settings["task"].items() if key not in later}
    if settings.get(INIT) is not None:
        settings[INIT] = first_hash(settings[INIT])
    return identity_of(settings, fingerprint, sources(config))


def first_file(given: str | Path) -> Path:
    """Return the file of the weights that ``init_from`` names, which may be a run folder: of that, its best weights."""
    path = Path(given)
    return path / BEST if path.is_dir() else path


def first_hash(given: str) -> str:
    """Return the SHA-256 of the weights that ``init_from`` names.

    Raises:
        ConfigError: they cannot be read.
    """
    path = first_file(given)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = f"cannot read {path} ({error.strerror}); give a finished run's folder, or a file of weights"
        raise ConfigError(f"init_from={given}: {reason}") from error


def check(config: DictConfig) -> DictConfig:
    """Check types, ranges and cross-field rules; return the config as `typed` does.

    Raises:
        ConfigError: names the key, what came and what is allowed.
        OmegaConfBaseException: see `typed`.
    """
    config = typed(config)
    check_ranges(config)
    for key in ("datasets_dir", "outputs_dir", "images_dir"):
        refuse_nothing(key, config[key], optional=key == "images_dir")
    for rule in (*RULES, class_of(config.task, "task").rule):
        complaint = rule(config)
        if complaint:
            raise ConfigError(complaint)
    return config


def read_seeds(given: Any) -> list[int]:
    """Turn ``10`` into 0..9 and ``10..19`` into those, and check a list.

    Raises:
        ConfigError: it is neither, or not a list of different seeds.
    """
    if isinstance(given, str) and given.isdecimal():
        given = int(given)
    allowed = "give a number of seeds (seeds=10 means 0..9), a range (seeds=10..19) or a list ('seeds=[3,7]')"
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", given) if isinstance(given, str) else None
    if ends:
        if int(ends[2]) - int(ends[1]) >= MOST_SEEDS:
            raise ConfigError(f"seeds={given} are more than {MOST_SEEDS}; {allowed}")
        given = list(range(int(ends[1]), int(ends[2]) + 1))
    if isinstance(given, int) and not isinstance(given, bool):
        if given < 1:
            raise ConfigError(f"seeds={given}: at least one seed is needed; {allowed}")
        if given > MOST_SEEDS:
            raise ConfigError(f"seeds={given} are more than {MOST_SEEDS}; {allowed}")
        return list(range(given))
    if not isinstance(given, ListConfig | list):
        raise ConfigError(f"seeds={given} is not a number, a range or a list; {allowed}")
    numbers = list(given)
    if not numbers:
        raise ConfigError(f"seeds has none; {allowed}")
    for seed in numbers:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ConfigError(f"seeds: {seed!r} is not a whole number from 0 to 2^32 - 1; {allowed}")
        if numbers.count(seed) > 1:
            raise ConfigError(f"seeds={numbers}: {seed} is there more than once; each seed may appear once")
    return numbers


def _study(config: DictConfig) -> str | None:
    name = config.study
    if name.strip() and name.lower() not in (".", "..", *NOTHING) and not set(name) & set('/\\:*?"<>|\n'):
        return None
    return f"study={name!r} cannot be a folder's name; use letters, digits, - and _"


def _hidden_size(config: DictConfig) -> str | None:
    given = config.model.hidden_size
    widths = list(given) if isinstance(given, ListConfig) else [given]
    if widths and all(isinstance(w, int) and not isinstance(w, bool) and w >= 1 for w in widths):
        return None
    return (
        f"model.hidden_size={given} is not possible; give the units of the layer (32) or, for stacked layers, "
        "of each one ([32,32,64])"
    )


def _files(config: DictConfig) -> str | None:
    if (config.model.initialiser == "file") == bool(config.model.files):
        return None
    return (
        f"model.initialiser={config.model.initialiser} and model.files={list(config.model.files)} do not go together; "
        "give both, as model.initialiser=file model.files=[weights.txt], or neither"
    )


def _does_nothing(config: DictConfig) -> str | None:
    if config.clip is None and config.clip_by != "global":
        return f"clip_by={config.clip_by} does nothing without clip; give clip=5 too"
    return None


def _zeros(config: DictConfig) -> str | None:
    given = config.model.hidden_size
    stacked = isinstance(given, ListConfig) and len(given) > 1
    if config.model.initialiser != "zeros" or not stacked or config.model.initial_state == "input":
        return None
    return (
        f"model.initialiser=zeros and model.hidden_size={list(given)} do not go together: a layer that is all zero "
        "passes nothing on, so the one above it would never learn; give one layer, or another initialiser"
    )


def _logger(config: DictConfig) -> str | None:
    if config.logger == NO_LOGGER or importlib.util.find_spec(config.logger):
        return None
    return f'logger={config.logger} needs what is not installed; give: pip install "memexp[{config.logger}]"'


RULES: tuple[Callable[[DictConfig], str | None], ...] = (
    _study,
    _hidden_size,
    _files,
    _zeros,
    _does_nothing,
    _logger,
)


def run_name(_root_: DictConfig) -> str:
    """Name a run's folder after its length, its model and every other setting on its command line.

    Hydra calls this (``${run_name:}`` in conf/config.yaml) with the composed config of the job. Settings that do not
    change what is computed are left out; so is the experiment, whose settings are the study's.
    """
    parts = {"model": str(_root_.hydra.runtime.choices.model), "length": str(_root_.length)}
    for override in _root_.hydra.overrides.task:
        key, _, value = override.lstrip("+").partition("=")
        if key not in (*NOT_IDENTITY, "experiment"):
            parts[key] = value
    return folder_name(parts)


def folder_name(parts: dict[str, str]) -> str:
    """Turn settings into the name of a run's folder that every file system takes."""
    name = ",".join(f"{key}={parts[key]}" for key in sorted(parts))
    name = re.sub(r"[^\w\-+=.,\[\]]", "_", name)
    kept = name if len(name) <= 150 else name[:140]
    kept = kept.encode()[:240].decode(errors="ignore")  # a file system counts bytes, of which 分 has three
    return name if kept == name else f"{kept},{hashlib.sha256(name.encode()).hexdigest()[:8]}"


_added = ContextVar[list[Path] | None]("folders that a caller adds to conf/", default=None)


@contextlib.contextmanager
def adding(folders: Sequence[str | Path]) -> Iterator[None]:
    """Let `config_dirs` be these, within a ``with``: a user's own process has arguments that are not memexp's."""
    before = _added.set([Path(folder).absolute() for folder in folders])
    try:
        yield
    finally:
        _added.reset(before)


def config_dirs() -> list[Path]:
    """List the folders that ``--config-dir`` adds to conf/, or a caller, see `adding`."""
    added = _added.get()
    if added is not None:
        return added
    given = [argument.partition("=")[2] for argument in sys.argv if argument.startswith("--config-dir=")]
    given += [after for before, after in itertools.pairwise(sys.argv) if before in ("--config-dir", "-cd")]
    return [Path(folder).absolute() for folder in given]


def choices(group: str) -> list[str]:
    """List what a group offers, for example the models: that of conf/, and of the folders added to it."""
    return sorted({path.stem for home in [CONF_DIR, *config_dirs()] for path in (home / group).glob("*.yaml")})


def keys_of_tasks() -> str:
    """Return the part of the help text on the tasks: the keys, defaults and comments of each one's YAML file."""
    lines = []
    for home in [CONF_DIR, *config_dirs()]:
        for path in sorted((home / "task").glob("*.yaml")):
            lines.append(f"Keys        of task={path.stem}")
            lines += _keys_of_task(path.read_text(encoding="utf-8").splitlines())
    return "\n".join(lines)


def _keys_of_task(text: list[str]) -> list[str]:
    """List the keys of a task's YAML file, each with the comment behind it or above it, wrapped."""
    lines: list[str] = []
    above: list[str] = []
    at_its_root: list[str] = []  # what it sets of the keys that every run has
    node = ""
    for line in text:
        entry = re.fullmatch(r"( *)([a-z]\w*):\s*(.*?)(?:\s*#\s*(.*))?", line)
        if entry is None:
            above = [*above, line.strip().lstrip("# ")] if line.startswith("  #") else []
            continue
        indent, key, value, comment = entry.groups()
        node = node if indent else f"{key}."
        if indent and node == "task." and key != "name":
            lines += _wrapped(f"task.{key}={value}", " ".join([*above, comment or ""]).strip())
        elif value and key != "name":
            at_its_root.append(f"{node if indent else ''}{key}={value}")
            if key == "length":
                lines = [*_wrapped(f"length={value}", comment or ""), *lines]
        above = []
    rest = [setting for setting in at_its_root if not setting.startswith("length=")]
    return lines + (_wrapped("", f"and other defaults: {' '.join(rest)}") if rest else [])


def _wrapped(key: str, comment: str, width: int = 118, column: int = 24) -> list[str]:
    start = f"  {key}  ".ljust(column)
    return textwrap.wrap(comment, width, initial_indent=start, subsequent_indent=" " * column) or [start.rstrip()]


def register() -> None:
    """Put the schema where conf/config.yaml finds it, and what the YAML files and the help text compute."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("keys_of_tasks", keys_of_tasks, replace=True)
    OmegaConf.register_new_resolver("choices", lambda group: "|".join(choices(group)), replace=True)


register()  # on import, so that the worker processes of a sweep have it too
