import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numba
import pytest
import torch
from helpers import Command, config_of
from hydra.utils import get_class
from omegaconf import OmegaConf

from memexp import CONF_DIR, experiment, same
from memexp.compiled import cache, layout
from memexp.config import choices
from memexp.models.cells import Cell
from memexp.results import record
from memexp.training import checkpoints

TWO = ("model=gru", "task=adding model=mingru model.embedding_size=0")

AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2"
AVX512 = "+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw"
#: What is compiled for, and what torch takes; the first has no fused multiply-add, so that a C function stands in.
PROCESSORS = {
    "nehalem": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2", "ATEN_CPU_CAPABILITY": "default"},
    "haswell": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2, "ATEN_CPU_CAPABILITY": "avx2"},
    "skylake-avx512": {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": AVX512},
    "host": {},
}
IN_EVERY_RUN = "nehalem"  # the farthest from today's: no FMA, vectors of four


@pytest.fixture
def two_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave two of the cases, with their hashes in a file of the test's own."""
    committed = json.loads(same.COMMITTED.read_text())
    committed["hashes"] = {case: committed["hashes"][case] for case in TWO}
    path = tmp_path / "same.json"
    path.write_text(json.dumps(committed))
    monkeypatch.setattr(same, "CASES", TWO)
    monkeypatch.setattr(same, "COMMITTED", path)
    return path


def cell_class(model: str) -> type[Cell]:
    return get_class(OmegaConf.load(CONF_DIR / f"model/{model}.yaml")._target_)


def changed(path: Path, what: str, name: str, value: str) -> None:
    content = json.loads(path.read_text())
    content[what][name] = value
    path.write_text(json.dumps(content))


def test_every_cell_every_option_and_every_task_is_a_case():
    given = " ".join(same.CASES)
    assert sorted(set(same.CASES)) == sorted(json.loads(same.COMMITTED.read_text())["hashes"])
    covered = [model for model in choices("model") if cell_class(model) in layout.KINDS]
    assert len(covered) == len(layout.KINDS)
    for model in covered:
        assert f"model={model} " in f"{given} "
    for task in choices("task"):
        if task not in ("digit_sum", "char_lm"):  # the default; one whose state is carried from batch to batch
            assert f"task={task} " in given
    for setting in ("reset_after=true", "initial_state=learned", "initial_state=input", "bidirectional=true"):
        assert setting in given
    for setting in ("optimizer=sgd", "clip_by=tensor", "clip_by=value", "reduction=sum"):
        assert setting in given


@pytest.mark.slow
def test_this_machine_gives_the_committed_bits(in_process: Command):
    printed = in_process(same.main).splitlines()
    assert f"torch {torch.__version__.partition('+')[0]}, numba {numba.__version__}" in printed[0]
    assert printed[1:-2] == [f"same   {case}" for case in same.CASES]
    assert printed[-1] == f"This machine gives the committed bits: all {len(same.CASES)} cases are the same."


def test_other_bits_are_named_case_by_case(two_cases: Path, capsys: pytest.CaptureFixture[str]):
    changed(two_cases, "hashes", TWO[0], "0" * 64)
    assert same.same(same.Options()) == 1
    _, first, second, _, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"other  {TWO[0]}: ")
    assert first.endswith(" here, 000000000000 committed")
    assert second == f"same   {TWO[1]}"
    assert last == (
        "This machine gives other bits in 1 of 2 cases. The versions are those of the committed bits; please report "
        "it, with these lines."
    )
    changed(two_cases, "versions", "torch", "2.0.1")
    assert same.same(same.Options()) == 1
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .endswith("They were committed with torch 2.0.1; with these it should give the same.")
    )


def test_who_changes_what_is_computed_writes_the_hashes_anew(two_cases: Path, in_process: Command):
    before = json.loads(two_cases.read_text())
    two_cases.unlink()
    assert in_process(same.main, "write=true").endswith(f"written: {two_cases}\n")
    assert json.loads(two_cases.read_text())["hashes"] == before["hashes"]


@pytest.mark.parametrize("content", [None, "", "[]", '{"versions": {}}', '{"versions": 3, "hashes": {}}'])
def test_hashes_that_cannot_be_read_are_one_line(content: str | None, two_cases: Path, in_process: Command):
    two_cases.unlink() if content is None else two_cases.write_text(content)
    said = in_process(same.main)
    assert said.startswith(f"memexp.same: cannot read {two_cases} (")
    assert "\n" not in said


def test_without_numba_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch, in_process: Command):
    monkeypatch.setattr(cache, "why_not", lambda: "numba cannot be used (ImportError: gone)")
    assert in_process(same.main) == (
        "memexp.same: nothing to compare: numba cannot be used (ImportError: gone), and torch's last digits depend on "
        "the machine"
    )


def test_a_hash_sees_a_single_bit_and_not_how_long_it_took(tmp_path: Path):
    options = ["length=4", "model=srn", "seeds=[2]", "epochs=1", f"datasets_dir={tmp_path}", f"outputs_dir={tmp_path}"]
    experiment.run(config_of(*options), tmp_path / "run")
    before = same.hash_of(tmp_path / "run")

    summary = record.read_summary(tmp_path / "run")
    record.write_summary(tmp_path / "run", {**summary, "seconds": 99.0, "memexp": "9.9.9"})
    assert same.hash_of(tmp_path / "run") == before

    scores = [{**summary["seeds"][0], "exact_loss": summary["seeds"][0]["exact_loss"] * (1 + 2**-52)}]
    record.write_summary(tmp_path / "run", {**summary, "seeds": scores})
    assert same.hash_of(tmp_path / "run") != before
    record.write_summary(tmp_path / "run", summary)

    for file, node in ((record.LAST, "training"), (record.BEST, "weights")):
        content = checkpoints.load(tmp_path / "run" / file, node)
        weights = content[node]["weights"] if node == "training" else content[node]
        weights["embedding"].view(torch.int32).flatten()[-1] ^= 1
        checkpoints.save(tmp_path / "run" / file, content)
        assert same.hash_of(tmp_path / "run") != before
        weights["embedding"].view(torch.int32).flatten()[-1] ^= 1
        checkpoints.save(tmp_path / "run" / file, content)
        assert same.hash_of(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "threads"),
    [("nehalem", "2"), ("haswell", "1"), ("skylake-avx512", "2"), ("host", "1"), ("host", "2")],
)
def test_the_same_bits_whatever_processor_it_is_compiled_for(processor: str, threads: str, tmp_path: Path):
    if processor != IN_EVERY_RUN and os.environ.get("MEMEXP_EVERY_PROCESSOR") != "1":
        pytest.skip("MEMEXP_EVERY_PROCESSOR=1 runs it, which takes half a minute each")
    if processor == "skylake-avx512" and not llvmlite.binding.get_host_cpu_features().get("avx512bw"):
        pytest.skip("this processor has no AVX-512")
    environment = {
        **os.environ,
        **PROCESSORS[processor],
        "MEMEXP_CACHE_DIR": str(tmp_path),
        "NUMBA_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
    }
    done = subprocess.run(
        [sys.executable, "-m", "memexp.same"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"all {len(same.CASES)} cases are the same" in done.stdout
    if processor != "host":
        assert f"{processor} (" in done.stdout
