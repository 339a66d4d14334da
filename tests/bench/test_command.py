import csv
from pathlib import Path

import forked
import pytest
from helpers import Command

from memexp.bench import command as bench
from memexp.bench import contest, digit_sum
from memexp.bench.contest import LAYER_MODELS, MODELS
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import Loss
from memexp.training.engines import Engine

WITHOUT_LAYER = [name for name in MODELS if name not in LAYER_MODELS]


@pytest.mark.slow
def test_quick_run(tmp_path: Path):
    """With a model that torch has, and one that it has not; every cell's parity is tested in test_parity.py."""
    models = ["srn", "mingru"]
    given = ("quick=true", f"models={','.join(models)}", "output=out/speed.csv", "lengths=[5]", "growth=true")
    done = forked.run("memexp.bench", *given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "speed.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    own = [(f"memexp engine={engine}", seeds) for engine in ("torch", "compiled") for seeds in ("1", "2")]
    each = [("plain loop", "1"), ("torch's layer", "1"), *own]
    expected = [
        (model, "5", *contestant)
        for model in models
        for contestant in each
        if model in LAYER_MODELS or contestant in own
    ]
    assert [(r["model"], r["length"], r["contestant"], r["seeds"]) for r in rows] == expected
    for row in rows:
        assert float(row["ms_per_update_and_seed"]) > 0
        assert float(row["share_of_bound"]) > 0
        for what in ("times_faster_than_loop", "times_faster_than_layer"):
            assert row[what] == "" if row["model"] in WITHOUT_LAYER else float(row[what]) > 0
        for what in ("output_difference", "gradient_difference"):
            assert float(row[what]) < 1e-12
            assert float(row[f"{what}_float32"]) < 1e-4
    assert "of bound" in done.stdout
    assert all(f"\n{model}, length 5: outputs" in done.stdout for model in models)
    assert (tmp_path / "images" / "bench_growth.png").stat().st_size > 10_000
    with open(tmp_path / "images" / "bench_growth.csv", newline="") as file:
        growth = list(csv.DictReader(file))
    assert len(growth) == 1 * 3 * sum(map(len, digit_sum.GROWTH_QUICK.values()))


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("lengths=[10,2]", "lengths=2 is too small; it must be at least 3"),
        ("lengths=[]", "lengths=[]: nothing to measure"),
        ("seeds=[none]", "seeds[0]=none is not a whole number"),
        ("models=[rnn]", f"models=rnn is unknown; allowed: {', '.join(MODELS)}"),
        ("parts=true models=[gru]", "parts=true measures srn, lstm; models=['gru'] has none of them"),
        ("parts=true figure=a.png", "figure: not with parts=true; leave them out"),
        ("round=3", "unknown key 'round' (did you mean rounds?)"),
        ("output=file/bench.csv", "cannot write file/bench.csv: "),
        ("figure=growth.pdf", "output=images/bench.csv must be a file, and figure=growth.pdf a .png file"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command, argument: str, says: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    shown = in_process(bench.main, *argument.split())
    assert shown.startswith(f"memexp.bench: {says}")
    assert "\n" not in shown


@pytest.mark.parametrize("all_of_them", [False, True])
def test_who_computes_something_else_is_named_and_the_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], all_of_them: bool
):
    """The others are shown; if there are none, no table is written."""
    monkeypatch.chdir(tmp_path)
    honest = contest.compiled_engine

    def wrong(model: SequenceModel, loss: type[Loss], optimizer: str, lr: float) -> Engine:
        return honest(model, loss, optimizer, lr * (1 + 1e-6))

    for name in contest.ENGINES if all_of_them else [contest.COMPILED]:
        monkeypatch.setitem(contest.ENGINES, name, wrong)
    model = "mingru" if all_of_them else "srn"
    options = bench.Options(models=[model], lengths=[5], quick=True, output="speed.csv")
    assert bench.bench(options) == 1
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if not line.startswith("measuring ")]
    assert len(lines) == 2 * (1 + all_of_them)
    for line in lines:
        assert line.startswith(f"memexp.bench: {model}, length 5: no speed of memexp engine=")
        assert " by 1.0e-06 of their size (float64; allowed: 1e-12)" in line
    assert (tmp_path / "speed.csv").exists() == (not all_of_them)
    assert contest.COMPILED not in shown.out
    assert (contest.TORCH in shown.out) == (not all_of_them)


@pytest.mark.slow
def test_a_mistake_is_said_on_stderr_and_ends_the_process(tmp_path: Path):
    done = forked.run("memexp.bench", "lengths=[10,2]", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "memexp.bench: lengths=2 is too small; it must be at least 3\n"
