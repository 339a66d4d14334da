import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from memexp import CONF_DIR
from memexp.config import check, choices
from memexp.errors import ConfigError
from memexp.experiment import build_model, build_task


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", list(overrides))


def run_name(*overrides: str) -> str:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
        config.hydra.job.num = 0
        return str(config.hydra.sweep.subdir)


def test_seeds_are_a_number_or_a_list():
    assert check(composed("seeds=3")).seeds == [0, 1, 2]
    assert check(composed("seeds=[3,7]")).seeds == [3, 7]
    assert check(composed()).seeds == list(range(10))


def test_the_defaults_are_the_books():
    config = check(composed())
    assert (config.length, config.epochs, config.lr, config.batch_size) == (10, 500, 0.001, 8)
    assert (config.model.name, config.model.embedding_size, config.model.hidden_size) == ("lstm", 32, 32)
    assert (config.model.initialiser, config.model.forget_bias) == ("xavier", 0.0)
    assert (config.task.sampling, config.task.shuffle, config.task.distractors) == ("fixed", False, 1)


@pytest.mark.parametrize("task", choices("task"))
@pytest.mark.parametrize("model", choices("model"))
def test_every_choice_builds(task: str, model: str, tmp_path):
    config = check(composed(f"task={task}", f"model={model}", "length=4", "seeds=2", f"datasets_dir={tmp_path}"))
    built = build_task(config)
    rows = built.batch(0)
    logits = build_model(config, built)(rows.inputs)
    assert logits.shape == (2, len(rows), built.classes)


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes_into_a_study_of_its_own(experiment: str):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    assert config.study == experiment
    assert config.hydra.mode.name == "MULTIRUN"
    check(config)


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
    assert "/" not in run_name("seeds=[1]", "clip_scope='a/b'")


def test_check_does_not_change_what_it_is_given():
    config = composed("seeds=3")
    check(config)
    assert config.seeds == 3


def test_range_errors_name_the_nested_key():
    with pytest.raises(ConfigError, match="model.embedding_size=0"):
        check(composed("model.embedding_size=0"))
