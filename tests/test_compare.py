"""How two runs differ, which is better, and where two that should be the same part."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Command, config_of, make_run, reseal, write_history

from memexp import compare, experiment
from memexp.results import record, statistics
from memexp.training import checkpoints

SMALL = ("length=4", "model=srn", "model.hidden_size=3", "model.embedding_size=2", "batch_size=60", "eval_steps=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs that learn the same, as far as they go."""
    study = tmp_path_factory.mktemp("runs") / "outputs" / "study"
    for name, more in (("one", "epochs=2"), ("seeds", "epochs=2"), ("longer", "epochs=3"), ("torch", "engine=torch")):
        seeds = "[1,2]" if name == "seeds" else "3"
        experiment.run(
            config_of(*SMALL, "epochs=2", more, f"seeds={seeds}", f"datasets_dir={study}/data"), study / name
        )
    return study


@pytest.fixture
def study(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "outputs/study")
    monkeypatch.chdir(tmp_path)
    return Path("outputs/study")


def said(in_process: Command, one: Path, other: Path) -> str:
    return in_process(compare.main, str(one), str(other))


def test_runs_that_are_the_same(study: Path, in_process: Command):
    shutil.copytree(study / "one", study / "copy")
    lines = said(in_process, study / "one", study / "copy").splitlines()
    assert lines[0] == "one:   outputs/study/one (SRN, length 4, 3 seeds, 10 updates)"
    assert "settings: the same" in lines
    assert "data: the same" in lines
    assert "made by: the same" in lines
    assert lines[-5:] == [
        "they should be the same in all 3 seeds, as far as both have gone:",
        "  history: the same, in all 36 values that both note, to update 10",
        "  best weights: the same, bit for bit",
        "  last weights: the same, bit for bit",
        "  scores: the same",
    ]


def test_the_first_update_at_which_they_part(study: Path, in_process: Command):
    other = study / "other"
    shutil.copytree(study / "one", other)
    lines = (other / record.HISTORY).read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("4,2,dev,loss,", "8,0,dev,loss,")):
            lines[number] = line.rpartition(",")[0] + ",9.5"
            if line.startswith("4"):
                value = line.rpartition(",")[2]
    (other / record.HISTORY).write_text("\n".join([*lines, ""]))
    content = checkpoints.load(other / record.BEST, "weights")
    name = next(iter(content["weights"]))
    content["weights"][name][2] += 0.25
    checkpoints.save(other / record.BEST, {key: part for key, part in content.items() if key != "format"})
    reseal(other)
    shown = said(in_process, study / "one", other)
    assert (
        "  history: they part at update 4 (at update 0, noted before that, they are the same): dev loss of seed 2 is "
        f"{value} in one, 9.5 in other\n"
    ) in shown
    assert f"  best weights: they differ in 1 of {len(content['weights'])} tensors, most in {name}, by 0.25\n" in shown
    assert "  last weights: the same, bit for bit\n" in shown
    assert "they differ" not in said(in_process, study / "seeds", other).replace("best weights: they differ", "", 1)


def test_runs_of_other_seeds_epochs_and_engine(study: Path, in_process: Command):
    shown = said(in_process, study / "one", study / "seeds")
    assert "settings: 1 differs\n  seeds  one: [0,1,2]  other: [1,2]\n" in shown
    assert "they should be the same in the common 2 seeds, as far as both have gone:" in shown
    assert "best weights: the same, bit for bit" in shown
    assert "scores: mean over" not in shown  # they are of one setting: none of them is better
    shown = said(in_process, study / "longer", study / "one")
    assert "  epochs  one: 3  other: 2\n" in shown
    assert "history: the same, in all 24 values that both note, to update 8" in shown
    assert "weights and scores: not compared, for one has gone further" in shown
    assert "scores: mean over seeds" in shown
    shown = said(in_process, study / "torch", study / "one")
    assert "  engine  one: torch  other: compiled\n" in shown
    assert "history: they part at update" in shown or "history: the same" in shown


def test_the_machine_is_in_the_record(study: Path, in_process: Command):
    other = study / "other"
    shutil.copytree(study / "one", other)
    summary = json.loads((other / record.SUMMARY).read_text())
    summary["machine"] |= {"python": "3.99.1", "processor": "abacus"}
    processor, python = (record.read_summary(study / "one")["machine"][key] for key in ("processor", "python"))
    record.write_summary(
        other, {key: value for key, value in summary.items() if key not in ("seal", "sealed")} | {"torch": "9.9"}
    )
    shown = said(in_process, study / "one", other)
    assert "made by: 3 differ\n" in shown
    assert [line.split() for line in shown.splitlines() if "other: 3.99.1" in line or "abacus" in line] == [
        ["python", "one:", python, "other:", "3.99.1"], ["processor", "one:", processor, "other:", "abacus"],
    ]  # fmt: skip


def exact(study: Path, model: str, scores: dict[int, float | None]) -> Path:
    """Make up a run with these exact accuracies; the others are the same in all."""
    rows: list[dict[str, object]] = [
        {"seed": seed, "best_iteration": 3, "diverged_at": None, "dev_accuracy": 0.5, "test_accuracy": 0.5,
         "exact_accuracy": score}
        for seed, score in scores.items()
    ]  # fmt: skip
    return make_run(study, 10, model, rows)


@pytest.mark.parametrize("seeds", [range(8), range(10, 18)])
def test_which_one_is_better(tmp_path: Path, in_process: Command, seeds: range):
    """By hand: all eight differences are about 0.1, so p is 2 / 2^8, and three scores are compared."""
    apart = [0.1, 0.11, 0.09, 0.12, 0.08, 0.105, 0.095, 0.101]
    one = exact(tmp_path / "s/one", "lstm", {k: 0.8 + 0.002 * k for k in range(8)})
    other = exact(tmp_path / "s/other", "srn", {seed: 0.8 + 0.002 * k - apart[k] for k, seed in enumerate(seeds)})
    shown = said(in_process, one, other)
    assert ["model.name", "one:", "lstm", "other:", "srn"] in [line.split() for line in shown.splitlines()]
    (line,) = (line for line in shown.splitlines() if line.startswith("  exact:"))
    assert line.startswith("  exact: one 80.7 %, other 70.7 %: one is better by 10 points [")
    if seeds == range(8):
        assert "paired, for seeds and data are the same" in shown
        mean, half = (
            100 * np.mean(apart),
            100 * 2.3646 * np.std(apart, ddof=1) / np.sqrt(8),
        )  # Student's t of 7 degrees of freedom
        assert f"[{mean - half:.3g}, {mean + half:.3g}], p = {3 * 2 / 2**8:.2g} (seeds: 8)" in line
    else:
        assert "the seeds are others" in shown
        assert f"p = {3 * 2 / 12870:.2g}" in line  # two orders of 16 choose 8
    turned = said(in_process, other, one)
    assert "other is better by 10 points" in turned
    assert "  test: one 50.0 %, other 50.0 %: no difference beyond chance" in turned


def test_seeds_that_stopped_and_single_seeds(tmp_path: Path, in_process: Command):
    one = exact(tmp_path / "s/one", "lstm", {0: 0.8, 1: 0.7, 2: 0.9})
    other = exact(tmp_path / "s/other", "srn", {0: 0.8, 1: None, 2: 0.9})
    assert "exact: one 85.0 %, other 85.0 %: no difference beyond chance; one is ahead by 0 points" in said(
        in_process, one, other
    )
    single = exact(tmp_path / "s/single", "srn", {0: 0.8})
    assert "other 80.0 %; of fewer than two seeds nothing can be concluded" in said(in_process, one, single)


def test_records_alone_are_enough(tmp_path: Path, in_process: Command):
    """Of runs without checkpoints the histories are compared, and what the record does not have is said."""
    folders = [exact(tmp_path / f"s/{name}", "srn", {0: 0.8, 1: 0.7}) for name in ("one", "other")]
    for folder, value in zip(folders, (0.25, 0.5), strict=True):
        write_history(folder, [(0, 0, "dev", "loss", 1.0), (0, 1, "dev", "loss", ""), (7, 1, "dev", "loss", value)])
    shown = said(in_process, *folders)
    assert "not in the records: python, numba, processor, system\n" in shown
    assert (
        "they part at update 7 (at update 0, noted before that, they are the same): dev loss of seed 1 is 0.25" in shown
    )
    assert "best weights: not compared, for there is no best.pt in both" in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "two run folders are compared, 0 came; give python -m memexp.compare outputs/STUDY/RUN outputs/STUDY/RUN"),
        (("outputs/study/one",), "two run folders are compared, 1 came"),
        (
            ("outputs/study/one", "outputs/study"),
            "outputs/study is no run folder; it is a study, whose runs are begun | longer",
        ),
        (("outputs/study/one", "outputs/studdy"), "outputs/studdy is no run folder"),
        (("outputs/study/one", "lenght=4"), "lenght=4 is no run folder"),
        (("outputs/study/one", "outputs/study/begun"), "outputs/study/begun is not finished; give the command"),
        (("outputs/study/one", "--fast"), "cannot read '--fast'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    study: Path, in_process: Command, arguments: tuple[str, ...], complaint: str
):
    (study / "begun").mkdir()
    shutil.copy(study / "one" / record.CONFIG, study / "begun")
    shown = in_process(compare.main, *arguments)
    assert shown.startswith(f"memexp.compare: {complaint}")
    assert "\n" not in shown


def test_a_folder_may_have_any_name(study: Path, in_process: Command):
    shutil.copytree(study / "one", study / "length=4,model=srn")
    assert "bit for bit" in in_process(compare.main, "outputs/study/one", "runs=outputs/study/length=4,model=srn")


def test_difference_by_hand():
    found = statistics.difference([3.0, 5.0, 7.0], [1.0, 2.0], paired=False)
    assert found.mean == 3.5
    assert found.low < 0 < found.high
    assert found.p == pytest.approx(0.2)  # two of ten orders
    paired = statistics.difference([0.5, 0.7, 0.9], [0.4, 0.5, 0.6], paired=True)
    assert paired.mean == pytest.approx(0.2)
    assert paired.high == pytest.approx(0.2 + 4.3027 * 0.1 / np.sqrt(3), abs=1e-4)
    assert paired.p == 0.25
    assert statistics.difference([0.5, 0.5], [0.5, 0.5], paired=True).p == 1
    assert statistics.difference([0.5, 0.5], [0.5, 0.5], paired=False) == (0, 0, 0, 1)
    many = np.linspace(0.1, 0.9, 40)
    assert statistics.difference(many + 0.01, many, paired=True).p < 1e-6
    assert torch.isfinite(torch.tensor(statistics.difference(many, many[::-1], paired=True))).all()
