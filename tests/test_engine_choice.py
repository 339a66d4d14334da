"""Which engine a run gets, and goes on with; what is said where the one that is asked for cannot be."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import config_of, stopping_after
from omegaconf import OmegaConf

from memexp import experiment, status, sweeps
from memexp.arguments import compose_run, composing
from memexp.compiled import cache
from memexp.compiled.engine import WIDEST
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model, build_task, choose_engine
from memexp.models.cells import SRN
from memexp.results import record
from memexp.results.collect import collect
from memexp.results.identity import ENGINE
from memexp.tasks.metrics import CrossEntropy
from memexp.training import checkpoints, joining

GONE = "numba cannot be used (ModuleNotFoundError: No module named 'numba')"


class OwnCell(SRN):
    """As far as anybody can see from outside, an SRN."""


class OwnLoss(CrossEntropy):
    """As far as anybody can see from outside, the cross-entropy."""


def chosen(folder: Path, *overrides: str, begun: str | None = None, cell: Any = None, loss: Any = None) -> str:
    config = config_of(*overrides, "seeds=2", f"datasets_dir={folder}")
    task = build_task(config)
    model = build_model(config, task.interface)
    if cell:
        next(iter(model.directions))[1].cell.__class__ = cell
    if loss:
        task = SimpleNamespace(loss=loss, batch=task.batch)  # type: ignore[assignment]
    return choose_engine(config, task, model, begun)


def run(folder: Path, *overrides: str, name: str = "run") -> dict[str, Any]:
    settings = ("length=4", "model=srn", "epochs=2", "seeds=2", f"datasets_dir={folder}", "eval_steps=10")
    return experiment.run(config_of(*settings, *overrides), folder / name)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    own: dict[str, torch.Tensor] = checkpoints.load(folder / record.BEST, "weights")["weights"]
    return own


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "missing", lambda: GONE)
    monkeypatch.setattr(cache, "why_not", lambda: GONE)


NOT_COVERED = [
    ({"overrides": ["length=4", "model=srn"], "cell": OwnCell}, "the cell OwnCell"),
    ({"overrides": ["length=4", "model=srn"], "loss": OwnLoss}, "the loss OwnLoss"),
    ({"overrides": ["length=4", "model=srn", "device=cuda"]}, "device=cuda"),
    (
        {"overrides": ["task=char_lm", "task.sampling=consecutive", "model=gru", "model.hidden_size=8"]},
        "a text whose state is carried from batch to batch",
    ),
]


@pytest.mark.parametrize(("case", "what"), NOT_COVERED, ids=[what for _, what in NOT_COVERED])
def test_what_is_not_covered_is_named_and_auto_takes_torch(
    case: dict[str, Any], what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    options = {**case}
    overrides = options.pop("overrides")
    with pytest.raises(ConfigError) as error:
        chosen(tmp_path, *overrides, "engine=compiled", **options)
    assert str(error.value) == (
        f"engine=compiled is not possible here: it does not cover {what}; give engine=torch or engine=auto"
    )
    assert chosen(tmp_path, *overrides, **options) == "torch"
    assert chosen(tmp_path, *overrides, "engine=torch", **options) == "torch"
    assert not caplog.records


def test_auto_is_the_faster_one_and_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "why_not", lambda: None)
    small, wide = (f"model.hidden_size={size}" for size in (WIDEST, WIDEST + 1))
    base = ("length=4", "model=srn")
    assert chosen(tmp_path, *base, small) == "compiled"
    assert chosen(tmp_path, *base, wide) == "torch"
    assert chosen(tmp_path, *base, wide, "engine=compiled") == "compiled"
    assert chosen(tmp_path, *base, wide, begun="compiled") == "compiled"
    assert chosen(tmp_path, *base, small, begun="torch") == "torch"
    assert chosen(tmp_path, *base, "device=cpu") == "compiled"


def test_a_gpu_is_left_alone_where_the_compiled_engine_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for number, settings in enumerate(([], ["engine=compiled"])):
        summary = run(tmp_path, *settings, name=str(number))
        assert (summary["device_used"], summary["config"]["engine"]) == ("cpu", "compiled")


@pytest.mark.usefixtures("without_numba")
def test_without_numba_auto_takes_torch_and_says_so_in_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    base = ("length=4", "model=srn")
    assert chosen(tmp_path, *base) == "torch"
    assert caplog.messages == [f"{GONE}: torch trains instead, slower, and with last digits that depend on the machine"]
    caplog.clear()
    assert chosen(tmp_path, *base, "engine=torch") == "torch"
    assert chosen(tmp_path, *base, f"model.hidden_size={WIDEST + 1}") == "torch"
    assert not caplog.messages
    with pytest.raises(ConfigError) as error:
        chosen(tmp_path, *base, "engine=compiled")
    assert str(error.value) == f"engine=compiled is not possible here: {GONE}; give engine=torch or engine=auto"
    with pytest.raises(ConfigError) as error:
        chosen(tmp_path, *base, begun="compiled")
    assert str(error.value).endswith("; give engine=torch and another study=NAME, for it was begun so")


def test_a_run_goes_on_with_the_engine_it_was_begun_with(tmp_path: Path):
    for begun, other in (("compiled", "torch"), ("torch", "compiled")):
        with stopping_after(20), pytest.raises(KeyboardInterrupt):
            run(tmp_path, f"engine={begun}", name=begun)
        with pytest.raises(RecordError) as error:
            run(tmp_path, f"engine={other}", name=begun)
        assert str(error.value) == (
            f"{tmp_path / begun} was begun with engine={begun}, not {other}: the last digits would differ; give "
            f"engine={begun} to go on with it, or another study=NAME"
        )
        assert not (tmp_path / begun / record.FAILURE).exists()
        assert run(tmp_path, name=begun)["config"]["engine"] == begun
        whole = run(tmp_path, f"engine={begun}", name=f"{begun}, whole")
        assert record.read_summary(tmp_path / begun)["seeds"] == whole["seeds"]
        assert (tmp_path / begun / record.HISTORY).read_bytes() == (
            tmp_path / f"{begun}, whole" / record.HISTORY
        ).read_bytes()


def as_of_before(folder: Path) -> None:
    """Turn a record into one of a memexp that had torch alone, and named no engine."""
    config, summary = record.read_json(folder / record.CONFIG), record.read_summary(folder)
    del config[ENGINE], summary["config"][ENGINE]
    record.write_json(folder / record.CONFIG, config)
    record.write_summary(folder, summary)


def test_a_complete_record_without_an_engine_is_of_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run(tmp_path, "engine=torch")
    as_of_before(tmp_path / "run")
    before = (tmp_path / "run" / record.SUMMARY).read_bytes()
    caplog.set_level(logging.INFO, "memexp")
    for settings in ([], ["engine=torch"]):
        caplog.clear()
        run(tmp_path, *settings)
        assert caplog.messages == [f"{tmp_path / 'run'} is complete already: skipped"]
    with pytest.raises(RecordError, match="was begun with engine=torch, not compiled"):
        run(tmp_path, "engine=compiled")
    assert (tmp_path / "run" / record.SUMMARY).read_bytes() == before


@pytest.mark.parametrize("surroundings", ["no numba", "a GPU"])
def test_a_complete_run_needs_no_engine(
    surroundings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    made = run(tmp_path, "engine=compiled")
    if surroundings == "no numba":
        monkeypatch.setattr(cache, "why_not", lambda: GONE)
    else:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    caplog.set_level(logging.INFO, "memexp")
    for settings in ([], ["engine=compiled"]):
        caplog.clear()
        assert run(tmp_path, *settings) == made
        assert caplog.messages == [f"{tmp_path / 'run'} is complete already: skipped"]


def test_seeds_of_another_engine_are_not_taken(tmp_path: Path):
    run(tmp_path, "engine=compiled", name="model=srn,seeds=2")
    alone = run(tmp_path, "engine=compiled", "seeds=3", name="another,model=srn")
    identity = record.read_json(tmp_path / "another,model=srn" / record.CONFIG)
    made_by = {key: alone[key] for key in joining.MADE_BY}
    (part,) = joining.find(tmp_path / "model=srn,seeds=3", identity, made_by)
    assert part.seeds == [0, 1]
    assert not joining.find(tmp_path / "model=srn,seeds=3", {**identity, "engine": "torch"}, made_by)

    joined = run(tmp_path, "seeds=3", name="model=srn,seeds=3")  # auto
    assert joined["seeds"] == alone["seeds"]
    own, same = weights(tmp_path / "model=srn,seeds=3"), weights(tmp_path / "another,model=srn")
    assert all(torch.equal(own[name], same[name]) for name in own)
    history = [(tmp_path / name / record.HISTORY).read_bytes() for name in ("model=srn,seeds=3", "another,model=srn")]
    assert history[0] == history[1]


def test_a_dry_run_and_the_status_know_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "outputs" / "book" / "run"
    with stopping_after(20), pytest.raises(KeyboardInterrupt):
        run(tmp_path, "engine=compiled", name="outputs/book/run")
    monkeypatch.setattr(sweeps, "folder_of", lambda config: folder)

    def planned(*settings: str) -> sweeps.Job:
        base = ["length=4", "model=srn", "epochs=2", "seeds=2", f"datasets_dir={tmp_path}", "eval_steps=10"]
        with composing():
            (job,) = sweeps.plan([[*base, *settings]], compose_run, dry=True)
        return job

    assert sweeps._state(planned())[0].startswith("unfinished")
    assert sweeps._state(planned("engine=compiled"))[0].startswith("unfinished")
    state, reason = sweeps._state(planned("engine=torch"))
    assert state == "impossible"
    assert "was begun with engine=compiled, not torch" in reason
    assert status.show(status.Options(outputs_dir=str(tmp_path / "outputs"))) == 1
    assert "1 unfinished" in capsys.readouterr().out


def test_the_engine_names_a_run_only_where_runs_differ_in_it_alone(tmp_path: Path):
    def engines_named(**engine_of: str | None) -> bool:
        study = tmp_path / "-".join(engine_of)
        for name, engine in engine_of.items():
            model = name.partition("_")[0]
            run(tmp_path, f"model={model}", "epochs=1", name=f"{study.name}/{name}")
            summary = record.read_summary(study / name)
            summary["config"]["engine"] = engine
            if engine is None:
                del summary["config"]["engine"]
            record.write_summary(study / name, summary)
        found = collect([study / name for name in engine_of])
        return ENGINE in found.settings

    assert not engines_named(srn="compiled", lstm="torch")  # as beside a cell of one's own
    assert not engines_named(gru="compiled", mingru=None)
    assert engines_named(srn_1="compiled", srn_2="torch")
    assert engines_named(lstm_1="compiled", lstm_2=None)
    assert not engines_named(gru_1="torch", gru_2=None)  # of before: there was no other
    assert not engines_named(minlstm_1=None, minlstm_2=None)


@pytest.mark.slow
def test_a_broken_numba_on_the_command_line(tmp_path: Path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('Numba needs NumPy 2.4 or less')\n")
    broken = "numba cannot be used (ImportError: Numba needs NumPy 2.4 or less)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    base = ["length=4", "epochs=1", "seeds=2", "images_dir=null"]

    def give(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "memexp", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    swept = give("-m", *base, "model=srn,lstm", "hydra/launcher=basic")
    assert swept.returncode == 0, swept.stderr
    assert (swept.stdout + swept.stderr).count(broken) == 1
    assert f"{broken}: torch trains instead" in swept.stdout
    refused = give(*base, "model=srn", "engine=compiled", "study=other")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"memexp: engine=compiled is not possible here: {broken}; give engine=torch or engine=auto\n"
    )
    (summary,) = (tmp_path / "outputs").glob("*/*model=srn*/summary.json")
    assert json.loads(summary.read_text())["config"]["engine"] == "torch"


def test_a_value_that_is_no_engine_is_one_line():
    with pytest.raises(ConfigError, match="engine"):
        config_of("engine=numba")
    assert OmegaConf.select(config_of(), "engine") == "auto"
