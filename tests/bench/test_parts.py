import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Command

from memexp.bench import command as bench
from memexp.bench import digit_sum, parts
from memexp.bench.contest import MODELS
from memexp.compiled.engine import CompiledEngine


def engine_of(name: str, length: int) -> tuple[CompiledEngine, digit_sum.DigitSum]:
    task = digit_sum.study_task(length, 3)
    model = digit_sum.study_model(MODELS[name], task, hidden_size=20)
    return CompiledEngine(model, "adam", 1e-2, task.loss, "mean", None, "global"), task


@pytest.mark.slow
@pytest.mark.parametrize("name", parts.MODELS)
def test_all_parts_together_are_the_update(name: str):
    """The same bits; each part less leaves the weights as they are. Products alone are those of a time step."""
    (engine, task), (other, _) = engine_of(name, 6), engine_of(name, 6)
    for each in (engine, other):
        each.update(task.batch(0))
    before = engine._weights.copy()
    run = parts.cut(engine, task.batch(1))
    for part in range(parts.ADAM):
        run(part, 2)
        assert np.array_equal(engine._weights, before)
    other.update(task.batch(1))
    other_rules = other._rules[0]
    for correction in ("correction", "correction_second"):
        engine._rules[0][correction] = other_rules[correction]
    run(parts.ADAM, 1)
    assert np.array_equal(engine._weights, other._weights)
    assert not np.array_equal(engine._weights, before)
    _, layers = engine._plan(8, 6, False)
    layer, plan = layers[0], engine._plan(8, 6, False)[0][0]
    engine._work[layer["gates"] : layer["gates"] + 6 * 8 * layer["columns"]] = 0
    run(parts.PRODUCTS, 1)
    hidden = engine._work[layer["hidden"] :][: 6 * 8 * layer["padded"]].reshape(6, 8, -1)
    U = engine._weights[-1, layer["U"] :][: layer["units"] * layer["columns"]].reshape(layer["units"], -1)
    gates = engine._work[layer["gates"] :][: 6 * 8 * layer["columns"]].reshape(6, 8, -1)
    three = [row[layer["U"] :][: U.size].reshape(U.shape) for row in engine._weights]  # one after the other: a sum
    torch.testing.assert_close(torch.tensor(gates), torch.tensor(hidden[..., : len(U)] @ sum(three)), atol=1e-5, rtol=0)
    assert plan["length"] == 6


@pytest.mark.slow
def test_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command):
    monkeypatch.chdir(tmp_path)
    shown = in_process(bench.main, "parts=true", "quick=true", "seeds=[1,2]", "models=[srn]")
    with open(tmp_path / "images" / "bench_parts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seeds"], row["part"]) for row in rows] == [(S, part) for S in "12" for part in parts.PARTS]
    for S in "12":
        assert sum(float(row["share"]) for row in rows if row["seeds"] == S) == pytest.approx(1)
    head, *lines, everything = shown.splitlines()[2:-2]
    assert head.split("  ")[0] == "us per update and seed"
    assert [line.partition("  ")[0] for line in lines] == [*parts.PARTS]
    assert everything.split()[2::3] == ["100", "100"]
