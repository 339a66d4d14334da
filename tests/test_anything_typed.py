"""Whatever is typed is understood, or refused in one line: by chance, but each time the same (Hypothesis)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import config_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from omegaconf import DictConfig, OmegaConf

from memexp import generate, verify
from memexp.analysis import command as analysis
from memexp.arguments import as_meant, compose_run, composing
from memexp.config import check, read_seeds
from memexp.errors import MemexpError
from memexp.explain import explained
from memexp.explorer import export
from memexp.gates import command as gates
from memexp.options import read_options
from memexp.tasks.task import Reading

KEYS = [
    "seeds", "epochs", "lr", "batch_size", "optimizer", "reduction", "clip", "clip_by", "gradient_norms", "eval_steps",
    "log_steps", "checkpoint_seconds", "study", "device", "lang", "report", "images_dir", "length", "task.sampling",
    "task.shuffle", "task.distractors", "task.data_seed", "task.exact_limit", "model.hidden_size", "model.parameters",
    "model.embedding_size", "model.bidirectional", "model.initial_state", "model.initialiser", "model.forget_bias",
    "model.variant", "model.files",
]  # fmt: skip

numbers = some.one_of(
    some.integers(-3, 40), some.integers(), some.floats(), some.sampled_from([10**30, -(10**30), 1e308, 2**63])
).map(str)
words = some.sampled_from(
    ["null", "true", "no", "None", "1e", "1..3", "9..1", "0..99999999999", "all", "adam", "lstm", "[", "]", "{",
     "[1,2]", "[[1]]", "{a: 1}", "a,b", "", " ", "~", "${lr}", "${x", "???", "_target_", "１２", "分", "\\", '"', "'",
     "@", "inf"]
)  # fmt: skip
values = some.one_of(
    numbers, words, some.text(max_size=12), some.lists(numbers, max_size=4).map(lambda n: f"[{','.join(n)}]")
)


def settled(tries: int) -> Callable[[Any], Any]:
    """Try so often, the same each time, however slow the machine is."""
    return settings(
        derandomize=True, deadline=None, max_examples=tries, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )  # fmt: skip


def understood(do: Callable[[], Any]) -> Any:
    """Do it; a complaint is one line that says something."""
    try:
        return do()
    except MemexpError as error:
        said = str(error)
    assert said.strip()
    assert "\n" not in said
    return None


@settled(60)
@given(key=some.sampled_from(KEYS), value=values)
def test_a_setting_on_the_command_line(key: str, value: str):
    def compose() -> DictConfig:
        with composing(), explained():
            return check(compose_run([as_meant(f"{key}={value}")]))

    config = understood(compose)
    assert config is None or OmegaConf.select(config, "length") >= 3


@functools.cache
def default() -> DictConfig:
    return config_of()


plain = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=8)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3), some.dictionaries(some.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=5,
)


@settled(300)
@given(key=some.sampled_from(KEYS), value=plain)
def test_a_setting_of_any_type(key: str, value: Any):
    """As a YAML file of the user's own may have it."""

    def change() -> DictConfig:
        with explained(ValueError):
            config = default().copy()
            OmegaConf.set_struct(config, False)
            OmegaConf.set_readonly(config, False)
            OmegaConf.update(config, key, value, merge=False, force_add=True)
            return check(config)

    config = understood(change)
    if config is not None:
        assert config.seeds == sorted(set(config.seeds), key=list(config.seeds).index)
        assert config.lr > 0
        assert config.length >= 3


@settled(300)
@given(given_as=some.one_of(values, plain))
def test_seeds(given_as: Any):
    seeds = understood(lambda: read_seeds(given_as))
    assert seeds is None or (seeds and len(set(seeds)) == len(seeds) and all(type(seed) is int for seed in seeds))


SMALLER = {
    "analysis": analysis.Options,
    "gates": gates.Options,
    "explorer": export.Options,
    "generate": generate.Options,
    "verify": verify.Options,
}


@settled(300)
@given(some.data())
def test_options_of_the_smaller_commands(data: some.DataObject):
    name = data.draw(some.sampled_from(sorted(SMALLER)))
    key = data.draw(some.sampled_from([*SMALLER[name].__dataclass_fields__, "studies", "nonsense", ""]))
    value = data.draw(values)
    options = understood(lambda: read_options(SMALLER[name], [f"{key}={value}"], f"python -m memexp.{name}"))
    assert options is None or isinstance(options, SMALLER[name])


def reading(task: str, folder: Path) -> Reading:
    """Return how a person reads the sequences of a task."""
    from memexp.experiment import build_task

    config = config_of(f"task={task}", f"datasets_dir={folder}")
    built = build_task(config)
    return type(built).reading(config, built.about())


TYPED = ["digit_sum", "adding", "copy_memory", "char_lm", "state_tracking", "temporal_order", "associative_recall"]


@pytest.mark.parametrize("task", TYPED)
def test_sequences(task: str, tmp_path: Path):
    read = reading(task, tmp_path)
    letters = some.text(alphabet="0123456789 ,[].*abc_>;分６\\\n", max_size=20)

    @settled(300)
    @given(typed=some.one_of(letters, values))
    def test(typed: str) -> None:
        sequence = understood(lambda: read.read(typed)) if typed else None  # nothing typed: an example is taken
        if sequence is not None:
            labels = read.labels(sequence)
            assert len(labels) == len(sequence) > 0
            again = understood(lambda: read.read(read.write(sequence)))
            assert again is not None

    test()
