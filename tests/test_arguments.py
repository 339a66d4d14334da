from pathlib import Path

import pytest
from test_config import composed

from memexp.arguments import check_arguments, compose_job
from memexp.errors import ConfigError


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
        (["seeds=[]"], r"seeds=\[\] is empty"),
        (["seeds=[3,7,3]"], r"3 is there more than once"),
        (["seeds=[1,-2]"], r"-2 is not a whole number from 0"),
        (["seeds=many"], r"seeds=many is not a number or a list"),
        (
            ["model=gruu"],
            r"gruu is unknown \(did you mean gru\?\); allowed: gru, lstm, mingru, minlstm, residual_srn, srn",
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
        (["model=null"], r"model=null is unknown; allowed: gru, lstm, "),
        (["model.name=gru"], r"model.name belongs to its YAML file; choose model=..."),
        (["task._target_=foo"], r"task._target_ belongs to its YAML file"),
        (["epochs=${foo}"], r"foo"),
        (["lr=null"], r"lr=null is not possible"),
        (["+length=5"], r"length is there already: give it without \+"),
        (["+hydra.foo=1"], r"unknown key 'hydra.foo'"),
        (["hydra/launcher=baisc"], r"hydra/launcher=baisc is unknown; allowed: joblib, basic, slurm"),
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
        (["task=char_lm", "length=10"], r"length=10 is of task=digit_sum; .* task.num_steps=35 characters"),
        (["experiment=time_machine", "length=20,30"], r"length=20,30 is of task=digit_sum"),
        (["-m", "task=char_lm", "length=20,30"], r"length=20,30 is of task=digit_sum"),
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
        (["model.variant=gru"], r"model.variant=gru is unknown; allowed: none, no_input_gate, .*, coupled, peephole"),
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


@pytest.mark.parametrize(("task", "good"), [("digit_sum", True), ("char_lm", False)])
def test_a_run_of_a_sweep_has_a_length_if_its_task_has_one(task: str, good: bool):
    overrides = [f"task={task}", "length=12"]
    if good:
        assert compose_job(overrides, lambda job: composed(*job)).length == 12
    else:
        with pytest.raises(ConfigError, match="^length=12 is of task=digit_sum"):
            compose_job(overrides, lambda job: composed(*job))


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
        ["-m", "task=char_lm,digit_sum", "length=10,20"],  # the run that cannot be is reported by the sweep
        ["--help"],
        ["--cfg", "job"],
    ],
)
def test_what_is_right_passes(arguments: list[str]):
    check_arguments(arguments)
