import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from memexp import CONF_DIR, app
from memexp.arguments import as_meant, check_arguments, compose_job
from memexp.config import choices
from memexp.errors import ConfigError, RecordError
from memexp.explain import GROUPS
from memexp.results.record import flatten


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["length=2"], r"length=2 is too small; it must be at least 3"),
        (["length=-5"], r"length=-5 is too small"),
        (["length=ten"], r"length=ten is not a whole number"),
        (["length=10.5"], r"length=10.5 is not a whole number"),
        (["length="], r"length= is not a whole number"),
        (["lr=0"], r"lr=0.0 is too small; it must be above 0"),
        (["lr=-1"], r"lr=-1.0 is too small"),
        (["lr=nan"], r"lr=nan is not a finite number"),
        (["lr=fast"], r"lr=fast is not a number"),
        (["epochs=0"], r"epochs=0 is too small; it must be at least 1"),
        (["batch_size=0"], r"batch_size=0 is too small"),
        (["clip=0"], r"clip=0.0 is too small; it must be above 0"),
        (["clip_by=all"], r"clip_by=all is unknown; allowed: global, tensor, value"),
        (["clip_norm=1"], r"unknown key 'clip_norm' \(did you mean clip"),
        (["optimizer=adamw"], r"optimizer=adamw is unknown; allowed: adam, sgd"),
        (["reduction=max"], r"reduction=max is unknown; allowed: mean, sum"),
        (["gradient_norms=maybe"], r"gradient_norms=maybe is not true or false"),
        (["report=maybe"], r"report=maybe is not true or false"),
        (["seeds=0"], r"at least one seed is needed"),
        (["clip=None"], r"^clip=None: nothing is written as null here; give clip=null$"),
        (["images_dir=None"], r"^images_dir=None: nothing is written as null here; give images_dir=null$"),
        (
            ["outputs_dir=None"],
            r"^outputs_dir=None is not possible; give a folder or a file, or leave",
        ),
        (["study=None"], r"study='None' cannot be a folder's name"),
        (["seeds=[]"], r"seeds has none; give a number of seeds"),
        (["seeds=[3,7,3]"], r"3 is there more than once"),
        (["seeds=[1,-2]"], r"-2 is not a whole number from 0"),
        (["seeds=many"], r"seeds=many is not a number, a range or a list"),
        (["seeds=5..3"], r"seeds has none"),
        (["seeds=0..4294967296"], r"seeds=0..4294967296 are more than 10000"),
        (
            ["model=gruu"],
            r"gruu is unknown \(did you mean gru\?\); allowed: diagonal, gru, indrnn, irnn, lstm, lstm_1997, mingru, "
            r"minlstm, residual_srn, slstm, srn",
        ),
        (["model=lstmm"], r"model=lstmm is unknown \(did you mean lstm\?\)"),
        (["task=digitsum"], r"task=digitsum is unknown \(did you mean digit_sum\?\)"),
        (["experiment=bock"], r"experiment=bock is unknown \(did you mean book\?\)"),
        (["lenght=5"], r"unknown key 'lenght' \(did you mean length\?\)"),
        (["+lenght=5"], r"unknown key 'lenght' \(did you mean length\?\)"),
        (["++lenght=5"], r"unknown key 'lenght' \(did you mean length\?\)"),
        (["+model.dropout=1"], r"unknown key 'model.dropout'"),
        (["hidden_size=3"], r"unknown key 'hidden_size' \(did you mean model.hidden_size\?\)"),
        (["~model"], r"~model: a setting cannot be removed"),
        (["model=null"], r"model=null is unknown; allowed: diagonal, gru, indrnn, "),
        (["model.name=gru"], r"model.name belongs to its YAML file; choose model=..."),
        (["task._target_=foo"], r"task._target_ belongs to its YAML file"),
        (["epochs=${foo}"], r"foo"),
        (["lr=null"], r"lr=null is not possible"),
        (["task.sampling=null"], r"task.sampling=null is not possible"),
        (["task.shuffle=null"], r"task.shuffle=null is not possible"),
        (["model.variant=null"], r"model.variant=null is not possible"),
        (["model=gru", "model.reset_after=null"], r"model.reset_after=null is not possible"),
        (["+length=5"], r"length is there already: give it without \+"),
        (["+hydra.foo=1"], r"unknown key 'hydra.foo'"),
        (["hydra/launcher=baisc"], r"hydra/launcher=baisc is unknown; allowed: joblib, basic, slurm, slurm_gpu"),
        (["model.forget_bias=nan"], r"model.forget_bias=nan is not a finite number"),
        (["~lr"], r"~lr: a setting cannot be removed"),
        (["length"], r"cannot read 'length'; settings are given as key=value, lists as 'key=\[1,2\]' or, of texts, "),
        (["task=char_lm", "task.prefixes=[分,b c]"], r"""cannot read .*read: 'task.prefixes=\["分","b c"\]'$"""),
        (
            ["task=char_lm", "task.prefixes=[time"],
            r"cannot read 'task.prefixes=\[time'; settings are given as key=value",
        ),
        (["task=char_lm", "task.corpus=Zürich.txt"], r"""cannot read .*read: 'task.corpus="Zürich.txt"'$"""),
        (
            ["task=char_lm", "task.prefixes=a"],
            r"""task.prefixes is a list; .* 'task.prefixes=\["one","another one"\]'""",
        ),
        (["task=char_lm", "task.prefixes=[a,null]"], r"task.prefixes\[1\]=null is not possible"),
        (["task=char_lm", "length=0"], r"length=0 is too small; it must be at least 1"),
        (["task=char_lm", "task.num_steps=9"], r"task.num_steps is called length now: give length=..."),
        (["task=char_lm", "task.prefixes=[[a]]"], r"task.prefixes: \['a'\] is not a text; give 'task.prefixes="),
        (["task.corpus=fenkai"], r"unknown key 'task.corpus'.*; python -m memexp --help lists them"),
        (["task=char_lm", "task.distractors=all"], r"unknown key 'task.distractors'"),
        (["length=[1"], r"cannot read 'length=\[1'"),
        (["model.initialiser=glorot"], r"model.initialiser=glorot is unknown; allowed: xavier"),
        (["model.hidden_size=0"], r"model.hidden_size=0 is not possible; give the units of the layer \(32\) or, for "),
        (["model.hidden_size=[32,0]"], r"model.hidden_size=\[32, 0\] is not possible; .* of each one \(\[32,32,64\]\)"),
        (["model.hidden_size=[]"], r"model.hidden_size=\[\] is not possible"),
        (["model.hidden_size=[[3]]"], r"model.hidden_size=\[\[3\]\] is not possible"),
        (["model.hidden_size=true"], r"model.hidden_size=True is not possible"),
        (["model.hidden_size=1.5"], r"model.hidden_size=1.5 is not possible"),
        (["model.hidden_size=many"], r"model.hidden_size=many is not possible"),
        (["model.hidden_size=null"], r"model.hidden_size=None is not possible"),
        (["model.parameters=0"], r"model.parameters=0 is too small; it must be at least 1"),
        (["model.parameters=many"], r"model.parameters=many is not a whole number"),
        (["model.bidirectional=both"], r"model.bidirectional=both is not true or false"),
        (["model.initial_state=one"], r"model.initial_state=one is unknown; allowed: zero, learned, input"),
        (
            ["model.variant=gru"],
            r"model.variant=gru.*(unknown; allowed|no such variant; it has).* none, no_input_gate, .*, peephole",
        ),
        (["model=srn", "model.variant=coupled"], r"unknown key 'model.variant'"),
        (["model.reset_after=true"], r"unknown key 'model.reset_after'"),
        (["model=gru", "model.reset_after=late"], r"model.reset_after=late is not true or false"),
        (["model.initialiser=file"], r"model.initialiser=file and model.files=\[\] do not go together; give both, as "),
        (["model.files=[w.txt]"], r"model.initialiser=xavier and model.files=\['w.txt'\] do not go together"),
        (["task.sampling=new"], r"task.sampling=new is unknown; allowed: fixed, fresh"),
        (["task.shuffle=maybe"], r"task.shuffle=maybe is not true or false"),
        (["task.distractors=9"], r"task.distractors=9 is not possible at length=10; allowed: 0 to 8"),
        (["task.distractors=some"], r"task.distractors=some is not possible"),
        (["study=a/b"], r"study='a/b' cannot be a folder's name"),
        (["study=''"], r"study='' cannot be a folder's name"),
        (["length=10,15"], r"length=10,15: several values make a sweep; add -m"),
        (["-m", "lenght=10,15"], r"unknown key 'lenght'"),
        (["model=srn", "-m", "length=10,15"], r"cannot read 'length=10,15'; options like -m go before all settings"),
        (["-x", "length=10"], r"cannot read '-x'; options like -m go before"),
        (["-m", "model=rnn,gruu"], r"model=rnn is unknown"),
        (["-m", "lr=fast", "length=10,15"], r"lr=fast is not a number"),
        (["outputs_dir=file/here"], r"file/here/book cannot be written: Not a directory"),
    ],
)
def test_a_mistake_is_named_in_one_line(arguments: list[str], complaint: str):
    Path("file").touch()
    with pytest.raises(ConfigError, match=complaint) as error:
        check_arguments(arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", choices("task"))
def test_a_run_of_a_sweep_is_returned_as_composed_and_as_checked(task: str):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):

        def load(job: list[str]) -> DictConfig:
            return compose("config", job, return_hydra_config=True)

        composed, checked = compose_job([f"task={task}", "length=20", "seeds=2"], load)
        assert (composed.length, composed.seeds, "hydra" in composed) == (20, 2, True)
        assert (checked.length, checked.seeds, "hydra" in checked) == (20, [0, 1], False)  # every task has a length
        with pytest.raises(ConfigError, match=r"^length=0 is too small; it must be at least \d+$"):
            compose_job([f"task={task}", "length=0"], load)


def test_a_folder_that_an_older_version_wrote_is_refused_with_the_command_that_carries_it_over():
    old = {"length": 4, "task": {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum"}}
    folder = Path("outputs/book/length=4,model=lstm")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**old, "model": {"_target_": "memexp.models.LSTM"}}))
    with pytest.raises(RecordError, match="python -m memexp.migrate outputs_dir=outputs study=book$") as error:
        check_arguments(["length=4"])
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    check_arguments(["length=5"])  # another run's folder


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["length=3", "model=srn", "seeds=[3,7]"],
        ["-m", "length=10,15", "model=srn"],
        ["-m", "length=10,2"],  # the run that cannot be is reported by the sweep; the other one runs
        ["-m", "model=srn,gruu"],
        ["experiment=fresh"],
        ["task.distractors=all", "hydra/launcher=basic"],
        ["clip=null", "lr=1e-3"],
        ["clip=5", "clip_by=value", "optimizer=sgd", "reduction=sum", "gradient_norms=true"],
        ["model=gru", "model.reset_after=true", "model.hidden_size=[3,5]", "model.bidirectional=true"],
        ["model=minlstm", "model.initial_state=input", "model.parameters=null"],
        ["model.initialiser=file", "model.files=[here.txt,there.txt]", "model.hidden_size=[2,3]"],
        ["experiment=chapter6", "report=false"],
        ["task=char_lm", 'task.prefixes=["time traveller","分","a, b"]'],
        ["task=char_lm", "task.prefixes=[time traveller]"],  # Hydra reads spaces within
        ["-m", "task=char_lm,digit_sum", "length=10,2"],  # the run that cannot be is reported by the sweep
        ["task=char_lm", "length=20"],
        ["-m", "task=char_lm", "length=20,30"],
        ["experiment=time_machine", "length=20,30"],
        ["--help"],
        ["--cfg", "job"],
    ],
)
def test_what_is_right_passes(arguments: list[str]):
    check_arguments(arguments)


# --- help ---


@pytest.fixture
def help_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["memexp", "--help"])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 0
    return capsys.readouterr().out


def defaults(task: str | None = None) -> dict[str, Any]:
    """Return every setting of a task's run by its dotted name, with its default; None: of a run of any model."""
    chosen = [f"task={task}"] if task else [f"model={model}" for model in choices("model")]
    found: dict[str, Any] = {}
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for choice in chosen:
            found |= flatten(OmegaConf.to_container(compose("config", [choice]), resolve=True))
    return {key: value for key, value in found.items() if key.rpartition(".")[2] not in ("_target_", "name")}


def stated(text: str) -> dict[str, list[Any]]:
    """Return what a part of the help states as defaults, ``key=value``, by key.

    Of ``key=one|other`` that is the first. A list that is not empty is an example of how to write one.
    """
    found: dict[str, list[Any]] = {}
    for key, value in re.findall(r"(?<![\w./'-])([a-z][a-z_.]*)=([^\s,;:)]+)", text):
        value = value.rstrip(".").partition("|")[0]
        if value == "[]" or not value.startswith("["):
            found.setdefault(key, []).append(() if value == "[]" else yaml.safe_load(value))
    return found


def test_help_states_the_defaults_of_the_yaml_files(help_text: str):
    sections = re.split(r"^Keys  ", help_text, flags=re.M)[1:]
    said: dict[str | None, dict[str, list[Any]]] = {}
    for section in sections:
        task = re.match(r" *of task=(\w+)\n", section)
        name, text = (task[1], section[task.end() :]) if task else (None, section)
        for key, values in stated(text).items():
            said.setdefault(name, {}).setdefault(key, []).extend(values)
    assert said.keys() == {None, *choices("task")}
    for name, own in said.items():
        there = defaults(name)
        # No key that is no more. A comment of a YAML file may leave out the word before the dot.
        assert {key for key in own if "." in key and not key.startswith("hydra.")} <= there.keys()
        for key in own.keys() & there.keys():
            assert [(name, key, value) for value in own[key]] == [(name, key, there[key])] * len(own[key])
    # Messages say that --help lists all keys: those of every run and model, and all that a task's file sets.
    common = {key for key in defaults() if not key.startswith("task.")}
    assert common <= said[None].keys() | {"length", "model.files"}  # each task's own; named with an example
    assert any("model.files=[" in section for section in sections)
    for name in choices("task"):
        content: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / f"task/{name}.yaml"))
        assert flatten(content).keys() - {"task._target_", "task.name"} <= said[name].keys()


def test_help_explains_in_our_words(help_text: str):
    assert "how long can a recurrent network remember?" in help_text
    for group in GROUPS:
        assert f"  {group}={'|'.join(choices(group))}\n" in help_text
    assert "Powered by Hydra" not in help_text


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("outputs_dir=~/my runs", 'outputs_dir="HOME/my runs"'),
        ("outputs_dir=~", 'outputs_dir="HOME"'),
        ("--config-dir=~/conf", "--config-dir=HOME/conf"),
        ("task.corpus=a~b", "task.corpus=a~b"),
        ("length=\uff14", "length=4"),
        ("seeds=[\uff10\uff0c\uff11]", "seeds=[0,1]"),
        ("lr=\uff10.001", "lr=0.001"),
        ("study=\uff21", "study=\uff21"),
        ("~clip", "~clip"),  # Hydra's way to remove a key, which is refused elsewhere
        ("-m", "-m"),
    ],
)
def test_an_argument_is_read_as_it_is_meant(argument: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert as_meant(argument) == meant.replace("HOME", tmp_path.as_posix())
