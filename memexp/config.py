"""The schema: what a config may hold. Types, ranges and rules between fields are declared here, and only here.

Hydra composes the YAML files in conf/ onto these dataclasses, so that a value of a wrong type or an unknown key is
refused; `check` then looks at the ranges and at the rules between fields. The comments for users are in the YAML.
"""

import dataclasses
import hashlib
import itertools
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from memexp import CONF_DIR
from memexp.errors import ConfigError
from memexp.results.record import NOT_IDENTITY


def ranged(
    minimum: float = -math.inf,
    *,
    above: float = -math.inf,
    most: float = math.inf,
    one_of: tuple[str, ...] = (),
    default: Any = MISSING,
    about: str = "",
) -> Any:
    """Declare a field with the values that it may have, and a line about it for ``--help``."""
    metadata = {"minimum": minimum, "above": above, "most": most, "one_of": one_of, "about": about}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


INITIALISERS = (
    "xavier", "xavier_zero_bias", "zeros", "orthogonal", "torch", "chrono", "truncated_normal", "xavier_4",
    "fan_in_uniform", "he_normal", "glorot_uniform", "file",
)  # fmt: skip


@dataclass
class ModelConfig:
    """The settings that every model has."""

    _target_: str = MISSING
    name: str = MISSING
    embedding_size: int = ranged(0)
    hidden_size: Any = MISSING
    parameters: int | None = ranged(1)
    bidirectional: bool = MISSING
    initial_state: str = ranged(one_of=("zero", "learned", "input"))
    initialiser: str = ranged(one_of=INITIALISERS)
    files: list[str] = MISSING
    forget_bias: float = ranged()


@dataclass
class LSTMConfig(ModelConfig):
    """The settings of an LSTM."""

    variant: str = ranged(one_of=("none", "no_input_gate", "no_forget_gate", "no_output_gate", "coupled", "peephole"))


@dataclass
class GRUConfig(ModelConfig):
    """The settings of a GRU."""

    reset_after: bool = MISSING


@dataclass
class DigitSumConfig:
    """The settings of the digit-sum task."""

    _target_: str = MISSING
    name: str = MISSING
    sampling: str = ranged(one_of=("fixed", "fresh"))
    shuffle: bool = MISSING
    distractors: Any = MISSING
    data_seed: int = ranged(0)
    exact_limit: int = ranged(0)


@dataclass
class CharLMConfig:
    """The settings of a character language model's task."""

    _target_: str = MISSING
    name: str = MISSING
    corpus: str = MISSING
    max_chars: int | None = ranged(1)
    lower: bool = MISSING
    strip_punctuation: bool = MISSING
    keep_newlines: bool = MISSING
    num_steps: int = ranged(1)
    sampling: str = ranged(one_of=("random", "consecutive"))
    held_out: float = ranged(above=0)
    prefixes: list[str] = MISSING
    pred_period: int = ranged(0)
    pred_chars: int = ranged(1)


@dataclass
class Config:
    """One run."""

    length: int = ranged(3)
    task: Any = MISSING
    model: ModelConfig = MISSING
    seeds: Any = MISSING
    epochs: int = ranged(1)
    lr: float = ranged(above=0)
    batch_size: int = ranged(1)
    optimizer: str = ranged(one_of=("adam", "sgd"))
    reduction: str = ranged(one_of=("mean", "sum"))
    clip: float | None = ranged(above=0)
    clip_by: str = ranged(one_of=("global", "tensor", "value"))
    gradient_norms: bool = MISSING
    eval_steps: int = ranged(1)
    log_steps: int = ranged(1)
    checkpoint_seconds: float = ranged(0)
    study: str = MISSING
    device: str = ranged(one_of=("auto", "cpu", "cuda"))
    datasets_dir: str = MISSING
    outputs_dir: str = MISSING
    images_dir: str | None = MISSING
    report: bool = MISSING


def check(config: DictConfig) -> DictConfig:
    """Check ranges and cross-field rules; return the config with ``seeds`` as a list.

    Raises:
        ConfigError: names the key, what came and what is allowed.
    """
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    check_ranges(config, "", Config)
    config.seeds = _check_seeds(config.seeds)
    for rule in RULES:
        complaint = rule(config)
        if complaint:
            raise ConfigError(complaint)
    return config


def check_ranges(node: DictConfig, prefix: str, schema: Any) -> None:
    """Check every value against what the fields of its dataclass allow.

    Raises:
        ConfigError: names the key, what came and what is allowed.
    """
    declared = {f.name: f.metadata for f in dataclasses.fields(schema)} if dataclasses.is_dataclass(schema) else {}
    for key, value in ((str(key), node[key]) for key in node):
        name = f"{prefix}{key}"
        if isinstance(value, DictConfig):
            check_ranges(value, f"{name}.", OmegaConf.get_type(value))
            continue
        limits = declared.get(key)
        if limits and value is not None:
            for item in value if isinstance(value, ListConfig) else [value]:
                _check_limits(name, item, limits)


def _check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if limits["one_of"] and value not in limits["one_of"]:
        raise ConfigError(f"{name}={value} is unknown; allowed: {', '.join(limits['one_of'])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}={value} is not a finite number")
        if value < limits["minimum"]:
            raise ConfigError(f"{name}={value} is too small; it must be at least {limits['minimum']}")
        if value <= limits["above"]:
            raise ConfigError(f"{name}={value} is too small; it must be above {limits['above']}")
        if value > limits["most"]:
            raise ConfigError(f"{name}={value} is too large; it must be at most {limits['most']}")


def _check_seeds(seeds: Any) -> list[int]:
    """Turn ``10`` into 0..9, and check a list."""
    allowed = "give a number of seeds (seeds=10 means 0..9) or a list of them (seeds=[3,7])"
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ConfigError(f"seeds={seeds}: at least one seed is needed; {allowed}")
        return list(range(seeds))
    if not isinstance(seeds, ListConfig):
        raise ConfigError(f"seeds={seeds} is not a number or a list; {allowed}")
    numbers = list(seeds)
    if not numbers:
        raise ConfigError(f"seeds=[] is empty; {allowed}")
    for seed in numbers:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ConfigError(f"seeds: {seed!r} is not a whole number from 0 to 2^32 - 1; {allowed}")
        if numbers.count(seed) > 1:
            raise ConfigError(f"seeds={numbers}: {seed} is there more than once; each seed may appear once")
    return numbers


def _distractors(config: DictConfig) -> str | None:
    distractors = config.task.get("distractors", 0)
    most = config.length - 2
    if "distractors" not in config.task:
        return None
    whole = isinstance(distractors, int) and not isinstance(distractors, bool)
    if distractors == "all" or (whole and 0 <= distractors <= most):
        return None
    return (
        f"task.distractors={distractors} is not possible at length={config.length}; "
        f"allowed: 0 to {most} (the positions after the second), or all"
    )


def _study(config: DictConfig) -> str | None:
    name = config.study
    if name and name not in (".", "..") and not set(name) & set('/\\:*?"<>|\n'):
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


def _language_model(config: DictConfig) -> str | None:
    if config.task.name != "char_lm":
        return None
    if config.model.bidirectional:
        return "model.bidirectional=true: a language model that reads backwards has seen what it is to predict"
    if config.task.held_out >= 1:
        return f"task.held_out={config.task.held_out} is too large; it is a share of the text, below 1"
    return None


def _does_nothing(config: DictConfig) -> str | None:
    if config.clip is None and config.clip_by != "global":
        return f"clip_by={config.clip_by} does nothing without clip; give clip=5 too"
    if config.task.get("shuffle") and config.task.sampling == "fresh":
        return "task.shuffle=true does nothing with task.sampling=fresh, whose rows are new at every update"
    return None


def _zeros(config: DictConfig) -> str | None:
    layers = len(config.model.hidden_size) if isinstance(config.model.hidden_size, ListConfig) else 1
    if config.model.initialiser != "zeros" or layers == 1:
        return None
    return "model.initialiser=zeros: stacked layers that are all zero have no gradient and would never learn"


RULES: tuple[Callable[[DictConfig], str | None], ...] = (
    _distractors,
    _study,
    _hidden_size,
    _files,
    _zeros,
    _does_nothing,
    _language_model,
)


def run_name(_root_: DictConfig) -> str:
    """Name a run's folder after its length, its model and every other setting on its command line.

    Hydra calls this (``${run_name:}`` in conf/config.yaml) with the composed config of the job. Settings that do not
    change what is computed are left out; so is the experiment, whose settings are the study's.
    """
    choices = _root_.hydra.runtime.choices
    parts = {"model": str(choices.model)}
    if choices.task == "digit_sum":
        parts["length"] = str(_root_.length)
    for override in _root_.hydra.overrides.task:
        key, _, value = override.lstrip("+").partition("=")
        if key not in (*NOT_IDENTITY, "experiment"):
            parts[key] = value
    name = ",".join(f"{key}={parts[key]}" for key in sorted(parts))
    name = re.sub(r"[^\w\-+=.,\[\]]", "_", name)
    kept = name if len(name) <= 150 else name[:140]
    kept = kept.encode()[:240].decode(errors="ignore")  # a file system counts bytes, of which 分 has three
    return name if kept == name else f"{kept},{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def config_dirs() -> list[Path]:
    """List the folders that ``--config-dir`` adds to conf/."""
    given = [argument.partition("=")[2] for argument in sys.argv if argument.startswith("--config-dir=")]
    given += [after for before, after in itertools.pairwise(sys.argv) if before in ("--config-dir", "-cd")]
    return [Path(folder).absolute() for folder in given]


def choices(group: str) -> list[str]:
    """List what a group offers, for example the models: that of conf/, and of the folders added to it."""
    return sorted({path.stem for home in [CONF_DIR, *config_dirs()] for path in (home / group).glob("*.yaml")})


def register() -> None:
    """Put the schema where Hydra finds it: conf/config.yaml and the YAML of each task and model name theirs."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="schema", name="digit_sum", node=DigitSumConfig)
    store.store(group="schema", name="char_lm", node=CharLMConfig)
    store.store(group="schema", name="model", node=ModelConfig)
    store.store(group="schema", name="lstm", node=LSTMConfig)
    store.store(group="schema", name="gru", node=GRUConfig)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("choices", lambda group: "|".join(choices(group)), replace=True)


register()  # on import, so that the worker processes of a sweep have it too
