import csv
from pathlib import Path

import pytest
from helpers import Command, python

from memexp.bench import command as bench
from memexp.bench import digit_sum
from memexp.bench.contest import LAYER_MODELS, MODELS

WITHOUT_LAYER = [name for name in MODELS if name not in LAYER_MODELS]


@pytest.mark.slow
def test_quick_run(tmp_path: Path):
    done = python("memexp.bench", "quick=true", "output=out/speed.csv", "lengths=[5]", "growth=true", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "speed.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    each = [("plain loop", "1"), ("torch's layer", "1"), ("memexp", "1"), ("memexp", "2")]
    expected = [
        (model, "5", *contestant)
        for model in MODELS
        for contestant in each
        if model in LAYER_MODELS or contestant[0] == "memexp"
    ]
    assert [(r["model"], r["length"], r["contestant"], r["seeds"]) for r in rows] == expected
    for row in rows:
        assert float(row["ms_per_update_and_seed"]) > 0
        assert float(row["share_of_bound"]) > 0
        for what in ("times_faster_than_loop", "times_faster_than_layer"):
            assert row[what] == "" if row["model"] in WITHOUT_LAYER else float(row[what]) > 0
        for what in ("output_difference", "gradient_difference"):
            compared = row["contestant"] == "memexp" and row["model"] in LAYER_MODELS
            assert float(row[what]) < 1e-12 if compared else row[what] == ""
    assert "of bound" in done.stdout
    assert all(f"\n{model}, length 5: outputs" in done.stdout for model in LAYER_MODELS)
    assert f"\ntorch has no layer for {', '.join(WITHOUT_LAYER)}\n" in done.stdout
    assert (tmp_path / "images" / "bench_growth.png").stat().st_size > 10_000
    with open(tmp_path / "images" / "bench_growth.csv", newline="") as file:
        growth = list(csv.DictReader(file))
    assert len(growth) == 3 * 2 * sum(map(len, digit_sum.GROWTH_QUICK.values()))


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("lengths=[10,2]", "lengths=2 is too small; it must be at least 3"),
        ("lengths=[]", "lengths=[]: nothing to measure"),
        ("seeds=[none]", "seeds[0]=none is not a whole number"),
        ("models=[rnn]", f"models=rnn is unknown; allowed: {', '.join(MODELS)}"),
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
    shown = in_process(bench.main, argument)
    assert shown.startswith(f"memexp.bench: {says}")
    assert "\n" not in shown


@pytest.mark.slow
def test_a_mistake_is_said_on_stderr_and_ends_the_process(tmp_path: Path):
    done = python("memexp.bench", "lengths=[10,2]", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "memexp.bench: lengths=2 is too small; it must be at least 3\n"
