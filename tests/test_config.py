import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import config_of
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from memexp import CONF_DIR, sweeps
from memexp.config import INITIALISERS, Config, ModelConfig, check, choices, class_of
from memexp.errors import ConfigError
from memexp.experiment import build_model, build_optimizer, build_task
from memexp.models.cells import LSTM
from memexp.models.cells import settings as cell_settings
from memexp.models.initialisers import SCHEMES
from memexp.models.networks import INITIAL_STATES, SequenceModel
from memexp.tasks.task import settings as task_settings
from memexp.tasks.text import corpus
from memexp.training.runner import Runner


def model_of(folder: Path, *overrides: str) -> SequenceModel:
    config = config_of("length=4", "seeds=2", f"datasets_dir={folder}", *overrides)
    return build_model(config, build_task(config).interface)


def run_name(*overrides: str) -> str:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
        config.hydra.job.num = 0
        return str(config.hydra.sweep.subdir)


def test_seeds_are_a_number_or_a_list():
    assert config_of("seeds=3").seeds == [0, 1, 2]
    assert config_of("seeds=[3,7]").seeds == [3, 7]
    assert config_of().seeds == list(range(10))


def test_the_defaults_are_the_books():
    config = config_of()
    assert (config.length, config.epochs, config.lr, config.batch_size) == (10, 500, 0.001, 8)
    assert (config.model.name, config.model.embedding_size, config.model.hidden_size) == ("lstm", 32, 32)
    assert (config.model.initialiser, config.model.forget_bias) == ("xavier", 0.0)
    assert (config.model.bidirectional, config.model.initial_state, config.model.variant) == (False, "zero", "none")
    assert (config.task.sampling, config.task.shuffle, config.task.distractors) == ("fixed", False, 1)
    assert (config.optimizer, config.reduction, config.clip) == ("adam", "mean", None)


#: What is short in each task; 4 where nothing is said.
SHORT = {"associative_recall": 16, "temporal_order": 20}


@pytest.mark.parametrize("task", choices("task"))
@pytest.mark.parametrize("model", choices("model"))
def test_every_choice_builds(task: str, model: str, tmp_path):
    length = SHORT.get(task, 4)
    config = config_of(f"task={task}", f"model={model}", f"length={length}", "seeds=2", f"datasets_dir={tmp_path}")
    built = build_task(config)
    rows = built.batch(0)
    answers = build_model(config, built.interface)(rows.inputs)
    assert answers.shape == (2, *rows.targets.shape[1:], built.interface.outputs)


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (["model.embedding_size=7"], lambda m: m.embedding.shape == (2, 10, 7)),
        (["model.hidden_size=5"], lambda m: m.widths == [5]),
        (["model.hidden_size=[3,5]"], lambda m: m.widths == [3, 5]),
        (["model.bidirectional=true"], lambda m: [len(layer) for layer in m.layers] == [2]),
        (["model.initial_state=learned"], lambda m: m.layers[0][0].start is not None),
        (["model.initial_state=input"], lambda m: m.layers[0][0].start_W is not None),
        (["model.parameters=4000"], lambda m: 3600 < m.parameter_count <= 4000),
        (
            ["model.parameters=4000", "model.hidden_size=[1,1,1]"],
            lambda m: len(set(m.widths)) == 1 and len(m.widths) == 3 and 3000 < m.parameter_count <= 4000,
        ),
        (["model.initialiser=zeros"], lambda m: not m.cell.W.any()),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_options_of_every_model(model: str, options: list[str], seen: Callable[[SequenceModel], bool], tmp_path: Path):
    assert seen(model_of(tmp_path, f"model={model}", *options))


def test_options_of_some_models(tmp_path: Path):
    for variant in LSTM.VARIANTS:
        assert model_of(tmp_path, "model=lstm", f"model.variant={variant}").cell.variant == variant
    for after in (False, True):
        assert model_of(tmp_path, "model=gru", f"model.reset_after={after}").cell.reset_after == after
    plain, raised = (model_of(tmp_path, f"model.forget_bias={bias}").cell.b for bias in (0, 2))
    torch.testing.assert_close((raised - plain).sum((0, 2)), torch.tensor([0.0, 2, 0, 0]) * 2 * 32)


def test_every_initialiser_is_one_of_its_own(tmp_path: Path):
    """Chrono needs to know how far the task reaches, and file a file."""
    (tmp_path / "weights.txt").write_text("1 2\n" * 6)
    sizes = ["model.embedding_size=4", "model.hidden_size=2", "length=9"]
    seen = set()
    for initialiser in INITIALISERS:
        files = [f"model.files=[{tmp_path}/weights.txt]"] if initialiser == "file" else []
        model = model_of(tmp_path, f"model.initialiser={initialiser}", *sizes, *files)
        seen.add(tuple(torch.cat([parameter.flatten() for parameter in model.parameters()]).tolist()))
    assert len(seen) == len(INITIALISERS)


def test_the_schema_allows_what_the_code_knows():
    def allowed(schema: type, key: str) -> tuple[str, ...]:
        return next(field.metadata["one_of"] for field in dataclasses.fields(schema) if field.name == key)

    assert sorted(INITIALISERS) == sorted([*SCHEMES, "chrono", "file"])
    assert allowed(ModelConfig, "initial_state") == INITIAL_STATES


def test_the_optimizers(tmp_path: Path):
    model = model_of(tmp_path)
    for name, kind in (("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)):
        optimizer = build_optimizer(config_of(f"optimizer={name}", "lr=0.5"), model)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["momentum"] == 0


def test_as_many_parameters_as_the_books_lstm(tmp_path: Path):
    """Experiment equal_parameters: for the LSTM it is the book's 32 units, for the SRN 72."""
    budget = config_of("experiment=equal_parameters").model.parameters
    assert budget == model_of(tmp_path).parameter_count
    assert model_of(tmp_path, f"model.parameters={budget}").widths == [32]
    # 10 x 32 + (32 D + D D + D) + 19 D + 19 <= 9267: D D + 52 D <= 8928
    assert model_of(tmp_path, "model=srn", f"model.parameters={budget}").widths == [72]


def test_too_few_parameters_are_refused(tmp_path: Path):
    with pytest.raises(
        ConfigError, match="model.parameters=100 is too small: with one unit a layer .* has 494 already"
    ):
        model_of(tmp_path, "model.parameters=100")


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes_into_a_study_of_its_own(experiment: str):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    assert config.study == experiment
    assert config.hydra.mode.name == "MULTIRUN"
    check(config)


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_run_of_an_experiment_can_be(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Expanded as by a sweep; runs that differ in their length alone are built once."""
    batch: list[list[str]] = []
    models: list[SequenceModel] = []

    def plan(found: list[list[str]], load: Callable[[list[str]], DictConfig], dry: bool) -> Iterable[Any]:
        batch.extend(found)
        digits = [job for job in found if not any(o.startswith("task=") for o in job)]
        others = [tuple(job) for job in found if job not in digits]  # whose tasks have lengths of their own
        short = {(*(o for o in job if not o.startswith("length=")), "length=4") for job in digits}
        for overrides in [*others, *short]:
            config = check(load([*overrides, "seeds=1", f"datasets_dir={tmp_path}"]))
            models.append(build_model(config, build_task(config).interface))
        return []

    monkeypatch.setattr(sweeps, "plan", plan)
    monkeypatch.setattr(sweeps, "run", lambda jobs, launch: 0)
    here = CONF_DIR.parent / "memexp/tasks/text/corpora/harbour.txt"  # instead of a text that would be downloaded
    monkeypatch.setattr(corpus, "fetch", lambda text, folder: here)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
        sweeper = instantiate(config.hydra.sweeper)
        sweeper.config = config
        sweeper.hydra_context = SimpleNamespace(config_loader=GlobalHydra.instance().config_loader())
        sweeper.sweep([f"experiment={experiment}"])
    assert len(models) > 1
    promised = re.search(r"(\d+) runs", (CONF_DIR / f"experiment/{experiment}.yaml").read_text())
    assert len(batch) == len({tuple(job) for job in batch})
    if promised:
        assert len(batch) == int(promised[1])


def test_a_folders_name_carries_every_setting_but_those_that_change_nothing():
    assert run_name() == "length=10,model=lstm"
    assert run_name("model=srn", "length=25") == "length=25,model=srn"
    assert (
        run_name("length=5", "seeds=[3,7]", "++task.shuffle=true")
        == "length=5,model=lstm,seeds=[3,7],task.shuffle=true"
    )
    assert run_name("study=x", "device=cpu", "outputs_dir=/elsewhere", "experiment=fresh") == "length=10,model=lstm"
    assert run_name("lr=1e-3") != run_name("lr=1e-2")


def test_a_long_or_odd_name_stays_a_folders_name():
    name = run_name(f"seeds={list(range(100))}".replace(" ", ""))
    assert len(name) <= 150
    assert name != run_name(f"seeds={list(range(101))}".replace(" ", ""))
    assert "/" not in run_name("seeds=[1]", "clip_by='a/b'")
    chinese = run_name("task=char_lm", f'task.prefixes=["{"分开" * 60}"]')
    assert 230 < len(chinese.encode()) < 255
    assert chinese != run_name("task=char_lm", f'task.prefixes=["{"分开" * 60}分"]')


def test_check_does_not_change_what_it_is_given():
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", ["seeds=3"])
    assert check(config).seeds == [0, 1, 2]
    assert config.seeds == 3


def test_range_errors_name_the_nested_key():
    with pytest.raises(ConfigError, match="model.embedding_size=-1 is too small; it must be at least 0"):
        config_of("model.embedding_size=-1")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("length=0", "^length=0 is too small; it must be at least 1"),
        ("task.held_out=0", "task.held_out=0.0 is too small; it must be above 0"),
        ("task.held_out=1", "task.held_out=1.0 is too large; it must be below 1"),
        ("task.sampling=fresh", "task.sampling=fresh is unknown; allowed: random, consecutive"),
        ("task.max_chars=0", "task.max_chars=0 is too small"),
        ("model.bidirectional=true", "a language model that reads backwards has seen what it is to predict"),
    ],
)
def test_what_a_language_model_cannot_be(override: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        config_of("task=char_lm", override)


def test_a_task_brings_what_suits_it_and_the_command_line_wins():
    config = config_of("task=char_lm")
    assert (config.study, config.batch_size, config.clip, config.model.embedding_size) == ("char_lm", 32, 1, 0)
    assert config_of("task=char_lm", "batch_size=4", "model.embedding_size=8").batch_size == 4
    assert run_name("task=char_lm", "model=gru", "length=9") == "length=9,model=gru,task=char_lm"
    assert run_name("task=char_lm") == "length=35,model=lstm,task=char_lm"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["clip_by=value"], "clip_by=value does nothing without clip"),
        (["task.shuffle=true", "task.sampling=fresh"], "task.shuffle=true does nothing with task.sampling=fresh"),
        (
            ["model.initialiser=zeros", "model.hidden_size=[4,3]"],
            r"^model.initialiser=zeros and model.hidden_size=\[4, 3\] .* would never learn; give one layer, or another",
        ),
        (["model.initialiser=zeros", "model.hidden_size=[4,3]", "model.initial_state=learned"], "would never learn"),
    ],
)
def test_what_does_nothing_is_refused(arguments: list[str], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        config_of(*arguments)


@pytest.mark.parametrize(
    "options", [["model.hidden_size=[4]"], ["model.hidden_size=[4,3]", "model.initial_state=input"]]
)
def test_zeros_that_learn_are_not_refused(options: list[str]):
    """That they do is tested beside the initialisers."""
    assert config_of("model.initialiser=zeros", *options).model.initialiser == "zeros"


# --- the YAML files and what the classes declare ---


def own_keys(node: DictConfig) -> set[str]:
    """Return the keys of a task's or model's node that are settings of its class."""
    return {str(key) for key in node} - {"_target_", "name", "defaults"}


def names(schema: type) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)} - {"_target_", "name"}


def without_default(kind: type, keys: set[str]) -> bool:
    parameters = inspect.signature(kind).parameters
    return all(parameters[key].default is inspect.Parameter.empty for key in keys)


@pytest.mark.parametrize("task", choices("task"))
def test_a_tasks_yaml_has_the_settings_of_its_class_and_only_it_has_their_defaults(task: str):
    content: Any = OmegaConf.load(CONF_DIR / f"task/{task}.yaml")
    kind = get_class(content.task._target_)
    assert content.task.name == task
    assert own_keys(content.task) == names(task_settings(kind))
    assert without_default(kind, own_keys(content.task) | {"length", "seeds", "batch_size", "folder"})
    others = {str(key) for key in content} - {"task", "model"}  # it is of the package _global_: what suits it beside
    assert others <= names(Config)
    assert own_keys(content.get("model", {})) <= names(ModelConfig)
    assert "length" in others


@pytest.mark.parametrize("model", choices("model"))
def test_a_models_yaml_has_the_settings_of_its_cell_and_only_it_has_their_defaults(model: str):
    common: Any = OmegaConf.load(CONF_DIR / "common/model.yaml")
    content: Any = OmegaConf.load(CONF_DIR / f"model/{model}.yaml")
    kind = get_class(content._target_)
    assert content.name == model
    assert own_keys(common) == names(ModelConfig)
    of_every_model = own_keys(content) & names(ModelConfig)
    assert of_every_model <= {"initialiser"}  # some begin as their papers do
    assert own_keys(content) - of_every_model == names(cell_settings(kind, ModelConfig)) - names(ModelConfig)
    assert without_default(kind, (own_keys(content) - of_every_model) | {"seeds", "input_size", "hidden_size"})


def test_the_yaml_of_a_run_has_every_setting_and_nothing_else_has_a_default():
    content: Any = OmegaConf.load(CONF_DIR / "config.yaml")
    assert {str(key) for key in content} - {"defaults", "hydra"} == names(Config) - {"task", "model"}
    for schema in (Config, ModelConfig):
        own = [field for field in dataclasses.fields(schema) if field.name not in ("_target_", "name")]
        assert all(field.default is field.default_factory is dataclasses.MISSING for field in own)
    for kind in (SequenceModel, Runner):
        given = set(inspect.signature(kind).parameters) - {"watched", "identity", "extras", "streak"}
        assert without_default(kind, given)
    assert without_default(SequenceModel.initialise, set(inspect.signature(SequenceModel.initialise).parameters))


def test_a_class_that_cannot_be_imported_is_named():
    for target, reason in (("no_such_module.Cell", "no_such_module"), ("memexp.models.cells.NoCell", "NoCell")):
        with pytest.raises(ConfigError, match=f"^model=mine: {target} cannot be imported .*{reason}") as error:
            class_of(OmegaConf.create({"_target_": target, "name": "mine"}), "model")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("target", ["memexp.models.cells", "memexp.models.cells.settings"])
def test_what_is_no_class_is_named(target: str):
    with pytest.raises(ConfigError, match=f"^model=mine: {target} ") as error:
        class_of(OmegaConf.create({"_target_": target, "name": "mine"}), "model")
    assert "\n" not in str(error.value)
