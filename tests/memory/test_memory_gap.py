from collections.abc import Callable
from pathlib import Path

import forked
import pandas as pd
import pytest
import torch
from helpers import Command, config_of, make_run, runner_of, seed_row, task_of
from memory.networks import latch, memoryless
from omegaconf import OmegaConf

from memexp import CONF_DIR
from memexp.canvas import own_style
from memexp.errors import Complaints
from memexp.memory import command
from memexp.memory.command import measured
from memexp.memory.measure import Subjects
from memexp.memory.memory_gap import MemoryGap, paired
from memexp.models.networks import SequenceModel
from memexp.results.study import load_study

ASKED, LATER = {"task.asked": "last"}, {"task.asked": "first"}


def digit_sums(**settings: object) -> dict[str, object]:
    return {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum", "sampling": "fixed", **settings}


def score(model: SequenceModel, folder: Path, *overrides: str) -> list[float]:
    """Return the exact accuracy of each seed."""
    rows = task_of("digit_sum", folder, *overrides).distribution()
    runner = runner_of(model, torch.optim.SGD(model.parameters(), 0.1))
    return runner.evaluate(rows)["accuracy"].tolist()


def measured_study(study: Path, capsys: pytest.CaptureFixture[str], weights: str = "best") -> tuple[pd.DataFrame, str]:
    """Return what is measured of a study, and what is said."""
    table = measured(MemoryGap(), load_study(study, Complaints()), Subjects(study, weights=weights), Complaints())
    return table, "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("build", "gap"),
    [(lambda: latch([1.0, 1.0]), 0.0), (lambda: memoryless(2), None), (lambda: silent(2), 0.9)],
    ids=["a perfect latch", "no memory", "always 9"],
)
def test_hand_set_networks_have_the_gap_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build: Callable[[], SequenceModel], gap: float | None
):
    """The twin is perfect; the network itself is scored: a latch is right always, what has no memory at its floor."""
    (own, _) = exact = score(build(), tmp_path / "data", "length=5")
    make_run(tmp_path / "study", 5, seeds=[seed_row(seed, value) for seed, value in enumerate(exact)])
    twin = [seed_row(seed, 1.0) for seed in range(2)]
    make_run(tmp_path / "study", 5, seeds=twin, task=digit_sums(asked="last"), later=LATER)
    table, _ = measured_study(tmp_path / "study", capsys)
    assert table["memory_gap"].tolist() == pytest.approx([1 - own if gap is None else gap] * 2, abs=1e-12)
    assert table["no_lag_accuracy"].tolist() == [1, 1]


def silent(seeds: int) -> SequenceModel:
    """Build a network that always gives the likeliest answer."""
    model = memoryless(seeds)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.head_bias[:, 9] = 1.0
    return model


def test_seeds_are_paired_with_the_same_seed_of_the_same_settings():
    rows = pd.DataFrame(
        [
            ("a", 0, 10, "first", 0.1, 0.5), ("a", 1, 10, "first", 0.1, 0.6), ("a", 3, 10, "first", 0.1, 0.7),
            ("b", 1, 10, "last", 0.1, 0.9), ("b", 0, 10, "last", 0.1, 0.75), ("b", 7, 10, "last", 0.1, 0.3),
            ("c", 0, 10, "first", 0.2, 0.4), ("d", 0, 20, "last", 0.2, 0.8), ("e", 0, 20, "first", 0.2, 0.85),
            ("f", 5, 30, "first", 0.1, None), ("g", 5, 30, "last", 0.1, 0.2),
        ],
        columns=["run", "seed", "length", "task.asked", "lr", "exact_accuracy"],
    )  # fmt: skip
    pairs, could = paired(rows, ["length", "task.asked", "lr"], ASKED, "exact_accuracy")
    found = {(row.run, row.seed): (row.accuracy, row.no_lag_accuracy, row.memory_gap) for row in pairs.itertuples()}
    assert found == {
        ("a", 0): (0.5, 0.75, pytest.approx(0.25)),
        ("a", 1): (0.6, 0.9, pytest.approx(0.3)),
        ("e", 0): (0.85, 0.8, pytest.approx(-0.05)),
    }
    assert list(could["run"].unique()) == ["a", "c", "e", "f"]


def test_runs_without_a_twin_say_how_to_train_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A record of before the setting was asked first; beside newer ones too, and whoever is a twin is no news."""
    study = tmp_path / "study"
    make_run(study, 5)
    make_run(study, 6, "srn")
    remedy = "it has no twin; to train twins, give the command of the study with task.asked=last added to it"
    table, said = measured_study(study, capsys)
    assert (len(table), said.strip()) == (0, f"memory_gap: not measured: {remedy}")
    make_run(study, 5, task=digit_sums(asked="last"), later=LATER)
    table, said = measured_study(study, capsys)
    assert table["run"].unique().tolist() == ["length=5,model=lstm"]
    assert said.strip() == f"memory_gap: not measured (1 of 3 runs): {remedy}"


def test_twins_alone_and_other_tasks_say_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_run(tmp_path / "twins", 5, task=digit_sums(asked="last"), later=LATER)
    assert "it is asked with no lag itself" in measured_study(tmp_path / "twins", capsys)[1]
    adding = {"_target_": "memexp.tasks.adding.Adding", "name": "adding", "sampling": "fresh"}
    make_run(tmp_path / "adding", 5, task=adding)
    assert "its task cannot be asked with no lag" in measured_study(tmp_path / "adding", capsys)[1]
    make_run(tmp_path / "own", 5, task={"_target_": "mytask.Mine", "name": "mine", "sampling": "fixed"})
    assert "mytask.Mine is a class that no conf/ here registers" in measured_study(tmp_path / "own", capsys)[1]
    assert "the scores of the best weights alone" in measured_study(tmp_path / "twins", capsys, "last")[1]


def test_an_old_record_and_its_twin_are_two_lines_of_a_study(tmp_path: Path):
    make_run(tmp_path / "study", 5)
    make_run(tmp_path / "study", 5, task=digit_sums(asked="last"), later=LATER)
    rows = load_study(tmp_path / "study", Complaints()).rows
    assert rows[["label", "seed", "task.asked"]].values.tolist() == [
        ["LSTM", 0, "first"],
        ["LSTM", 1, "first"],
        ["LSTM, asked last", 0, "last"],
        ["LSTM, asked last", 1, "last"],
    ]


@pytest.mark.usefixtures("chinese")
def test_the_figure_has_runs_twins_and_the_difference(tmp_path: Path):
    for length, exact in ((5, 0.5), (7, 0.3)):
        rows = [[seed_row(seed, value + 0.02 * seed) for seed in range(3)] for value in (exact, 0.9)]
        make_run(tmp_path / "study", length, seeds=rows[0])
        make_run(tmp_path / "study", length, seeds=rows[1], task=digit_sums(asked="last"), later=LATER)
    study = load_study(tmp_path / "study", Complaints())
    table = measured(MemoryGap(), study, Subjects(tmp_path / "study"), Complaints())
    with own_style():
        (figure,) = MemoryGap().draw(table.merge(study.rows[command.DRAWN], on=["run", "seed"]), study).values()
    means = [ax.containers[0].lines[0].get_ydata().tolist() for ax in figure.axes]
    assert means == [pytest.approx(own) for own in ([0.92, 0.92], [0.52, 0.32], [0.4, 0.6])]


def test_the_study_of_twins_is_the_books_both_ways():
    config = OmegaConf.load(CONF_DIR / "experiment" / "memory_gap.yaml")
    params = config.hydra.sweeper.params
    assert (params["task.asked"], params["task.sampling"]) == ("first,last", "fixed,fresh")
    assert config_of("experiment=memory_gap").study == "memory_gap"


@pytest.mark.slow
def test_twins_are_trained_measured_and_shown_in_one_study(tmp_path: Path, in_process: Command):
    sizes = ("length=4,5", "model=srn", "model.hidden_size=5", "epochs=2", "seeds=2")
    twins = ("task.asked=first,last", "task.sampling=fixed,fresh")
    where = ("study=both", "images_dir=null", "hydra/launcher=basic")
    done = forked.run("memexp", "-m", *sizes, *twins, *where, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    measures = "measures=memory_gap,probes,gate_surgery,swept_window"
    places = [f"outputs_dir={tmp_path}/outputs", f"images_dir={tmp_path}/images", f"datasets_dir={tmp_path}/datasets"]
    in_process(command.main, "study=both", measures, *places)
    table = pd.read_csv(tmp_path / "images" / "both" / "memory" / "memory.csv")
    exact = pd.read_csv(tmp_path / "outputs" / "both" / "results.csv").set_index("run")["exact_accuracy"]
    assert len(table) == 8
    first = table[table["task.asked"] == "first"]
    assert first["memory gap"].notna().all()
    assert table["memory gap"].notna().sum() == 4
    for row in pd.read_csv(tmp_path / "images" / "both" / "memory" / "memory_gap.csv").to_dict("records"):
        twin = exact[str(row["run"]).replace("asked=first", "asked=last")].tolist()[row["seed"]]
        assert row["memory_gap"] == pytest.approx(twin - exact[row["run"]].tolist()[row["seed"]], abs=1e-5)
    assert (tmp_path / "images" / "both" / "memory" / "gate_surgery_patch.png").exists()
    assert (tmp_path / "images" / "both" / "memory" / "probes_hidden_state.png").exists()
