import csv
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from memexp import baselines, bench
from memexp.models import LSTM, SRN, Cell, SequenceClassifier

CELLS = pytest.mark.parametrize("kind", [SRN, LSTM])
INPUTS, TARGETS = torch.tensor([[6, 7, 0, 0, 1], [0, 9, 0, 3, 0], [2, 2, 5, 0, 0]]), torch.tensor([13, 9, 4])


@pytest.fixture
def model(kind: type[Cell], generator: torch.Generator) -> SequenceClassifier:
    """Two seeds, sizes that all differ, weights from N(0, 0.5^2), float64."""
    model = SequenceClassifier(kind, [0, 1], symbols=10, classes=19, embedding_size=4, hidden_size=6).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


@CELLS
@pytest.mark.parametrize("k", [0, 1])
def test_memexp_equals_torch(model: SequenceClassifier, k: int):
    network = baselines.torch_classifier(model, k)
    assert max(baselines.differences(model, k, network, INPUTS, TARGETS)) < 1e-12


@CELLS
def test_another_seed_differs(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 1)
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@pytest.mark.parametrize("kind", [LSTM])
def test_differences_detect_swapped_gates(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 0)
    for name, parameter in network.named_parameters():
        if name.startswith("1."):
            i, f, g, o = parameter.detach().chunk(4)
            parameter.data = torch.cat([f, i, g, o])
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@CELLS
def test_differences_detect_a_wrong_gradient_alone(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 0)
    network.get_parameter("1.layer.weight_hh_l0").register_hook(lambda gradient: gradient + 1e-6)
    outputs, gradients = baselines.differences(model, 0, network, INPUTS, TARGETS)
    assert outputs < 1e-12
    assert gradients == pytest.approx(1e-6, rel=1e-3)


@CELLS
def test_the_loop_equals_memexp_and_torch(model: SequenceClassifier):
    loop, layer = baselines.loop_classifier(model, 1), baselines.torch_classifier(model, 1)
    torch.testing.assert_close(loop(INPUTS), model(INPUTS[None])[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(loop(INPUTS), layer(INPUTS), atol=1e-10, rtol=0)
    for network in (loop, layer):
        nn.functional.cross_entropy(network(INPUTS), TARGETS).backward()
    for name in ("0.weight", "2.weight", "2.bias"):
        one, other = loop.get_parameter(name).grad, layer.get_parameter(name).grad
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_all_contestants_see_the_same_batches():
    task = bench.build_task(5, 1)
    batches = [baselines.loaded, baselines.sliced]
    for number, pairs in enumerate(islice(zip(*(way(task.rows("train"), 8) for way in batches), strict=True), 40)):
        rows = task.batch(number)  # 38 an epoch, so the second epoch is reached
        for inputs, targets in pairs:
            assert torch.equal(inputs, rows.inputs[0])
            assert torch.equal(targets, rows.targets[0])


@CELLS
def test_all_contestants_train_alike(kind: type[Cell]):
    """After some updates the three are at the same weights, so what is timed is the same work.

    Torch's second bias is held, or the two would move twice as far as the one bias of the others.
    """
    task = bench.build_task(5, 1)
    model = bench.build_model(kind, task).double()
    ways = [(baselines.loop_classifier, baselines.loaded), (baselines.torch_classifier, baselines.sliced)]
    networks = []
    for build, batches in ways:
        network = build(model, 0)
        if build is baselines.torch_classifier:
            network.get_parameter("1.layer.bias_hh_l0").requires_grad_(False)
        baselines.training(network, batches(task.rows("train"), 8), 1e-3, lambda: 0.0)(3)
        networks.append(network)
    runner = bench.Runner(model, torch.optim.Adam(model.parameters(), lr=1e-3, fused=True))
    runner.train(task.batch, task.rows("dev"), 4, bench.NoHistory())
    for network in networks:
        torch.testing.assert_close(network[0].weight, model.embedding[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(network[2].weight.T, model.head_weight[0], atol=1e-8, rtol=0)


def test_memexp_counts_only_the_updates_between_the_first_and_the_last(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(bench, "clock", lambda: float(next(ticks)))
    contestant = bench.memexp_contestant(SRN, 5, 2, hidden_size=4)
    assert [contestant.seconds(3), contestant.seconds(7)] == [3.0, 7.0]


def test_the_flops_of_a_case_counted_by_hand():
    """L 2, B 1, G 1, D 2: two products 1x2x2 are 16; V 3, M 1: 3x1x2 is 12; K 1: 1x2x1 is 4. Thrice 32."""
    assert bench.update_flops(gates=1, length=2, batch=1, embedding=1, hidden=2, symbols=3, classes=1) == 96


def test_the_bound_is_the_flops_at_the_peak_rate():
    flops = 3 * (2 * 35 * 8 * 4 * 32 * 32 + 2 * 10 * 32 * 4 * 32 + 2 * 8 * 32 * 19)
    assert bench.bound_ms(LSTM, 35, peak=1e9) == pytest.approx(flops / 1e9 * 1e3)


def test_the_median_over_rounds_per_update_and_seed():
    times = iter([9.0, 9.0, 0.2, 4.0, 0.1, 6.0, 50.0, 5.0])  # warm-up, then three rounds of the two in turn
    contestants = [bench.Contestant(name, seeds, lambda _: next(times)) for name, seeds in (("a", 1), ("b", 5))]
    assert bench.measure(contestants, rounds=3, updates=10) == pytest.approx([20.0, 100.0])


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "memexp.bench", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)


def test_quick_run(tmp_path: Path):
    done = command(tmp_path, "quick=true", "output=out/speed.csv", "lengths=[5]", "growth=true")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "speed.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    each = [("plain loop", "1"), ("torch's layer", "1"), ("memexp", "1"), ("memexp", "2")]
    expected = [(model, "5", *contestant) for model in ("srn", "lstm") for contestant in each]
    assert [(r["model"], r["length"], r["contestant"], r["seeds"]) for r in rows] == expected
    for row in rows:
        assert float(row["ms_per_update_and_seed"]) > 0
        assert float(row["share_of_bound"]) > 0
        for what in ("output_difference", "gradient_difference"):
            assert float(row[what]) < 1e-12 if row["contestant"] == "memexp" else row[what] == ""
    assert "of bound" in done.stdout
    assert "srn, length 5: outputs" in done.stdout
    assert (tmp_path / "images" / "bench_growth.png").stat().st_size > 10_000
    with open(tmp_path / "images" / "bench_growth.csv", newline="") as file:
        growth = list(csv.DictReader(file))
    assert len(growth) == 2 * 2 * sum(map(len, bench.GROWTH_QUICK.values()))


def test_synthetic_run_folders_are_all_collected():
    assert bench.collection(3).startswith("3 run folders, 30 rows: collected in ")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("lengths=[10,2]", "lengths=2 is too small; it must be at least 3"),
        ("seeds=[none]", "seeds[0]=none is not a whole number"),
        ("models=[gru]", "models=gru is unknown; allowed: srn, lstm"),
        ("round=3", "unknown key 'round' (did you mean rounds?)"),
        ("output=file/bench.csv", "cannot write file/bench.csv: "),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, argument: str, says: str):
    (tmp_path / "file").write_text("")
    done = command(tmp_path, argument)
    assert done.returncode == 1
    assert done.stderr.startswith(f"memexp.bench: {says}")
    assert done.stderr.count("\n") == 1
