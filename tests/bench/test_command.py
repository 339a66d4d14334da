import csv
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from memexp.bench import baselines
from memexp.bench import command as bench
from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, SRN, Cell, MinLSTM, ResidualSRN
from memexp.models.networks import MakeCell, SequenceClassifier

WITH_LAYER = ("srn", "lstm", "gru")
WITHOUT_LAYER = [name for name in bench.MODELS if name not in WITH_LAYER]
CELLS = pytest.mark.parametrize("name", bench.MODELS)
TORCHS = pytest.mark.parametrize("name", WITH_LAYER)
INPUTS, TARGETS = torch.tensor([[6, 7, 0, 0, 1], [0, 9, 0, 3, 0], [2, 2, 5, 0, 0]]), torch.tensor([13, 9, 4])


@pytest.fixture
def model(name: str, generator: torch.Generator) -> SequenceClassifier:
    """Two seeds, sizes that all differ, weights from N(0, 0.5^2), float64."""
    make_cell = bench.MODELS[name]
    model = SequenceClassifier(make_cell, 2, symbols=10, classes=19, embedding_size=4, widths=[6]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


@TORCHS
@pytest.mark.parametrize("k", [0, 1])
def test_memexp_equals_torch(model: SequenceClassifier, k: int):
    network = baselines.torch_classifier(model, k)
    assert max(baselines.differences(model, k, network, INPUTS, TARGETS)) < 1e-12


@TORCHS
def test_every_parameter_is_compared(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 0)
    baselines.differences(model, 0, network, INPUTS, TARGETS)
    compared = baselines.torch_gradients(network, model.cell)
    own = {name: parameter.shape[1:] for name, parameter in model.named_parameters()}
    assert {name: gradient.shape for name, gradient in compared.items() if name != baselines.SECOND_BIAS} == own
    assert all(gradient.abs().max() > 1e-3 for gradient in compared.values())


@TORCHS
def test_another_seed_differs(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 1)
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_differences_detect_swapped_gates(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 0)
    for name, parameter in network.named_parameters():
        if name.startswith("1."):
            first, second, *rest = parameter.detach().chunk(len(model.cell.gates))
            parameter.data = torch.cat([second, first, *rest])
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@pytest.mark.parametrize("name", ["gru"])
def test_differences_detect_a_bias_on_the_wrong_side_of_the_reset(model: SequenceClassifier):
    network = baselines.torch_classifier(model, 0)
    inside, outside = (network.get_parameter(f"1.layer.bias_{side}_l0").data[12:] for side in ("hh", "ih"))
    assert torch.equal(inside, model.cell.get_parameter("c")[0, 0])
    outside += inside
    inside.zero_()
    assert min(baselines.differences(model, 0, network, INPUTS, TARGETS)) > 1e-3


@TORCHS
@pytest.mark.parametrize("parameter", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_differences_detect_a_wrong_gradient_alone(model: SequenceClassifier, parameter: str):
    network = baselines.torch_classifier(model, 0)
    network.get_parameter(f"1.layer.{parameter}_l0").register_hook(lambda gradient: gradient + 1e-6)
    outputs, gradients = baselines.differences(model, 0, network, INPUTS, TARGETS)
    assert outputs < 1e-12
    assert gradients == pytest.approx(1e-6, rel=1e-3)


@CELLS
@pytest.mark.parametrize("k", [0, 1])
def test_the_loop_equals_memexp(model: SequenceClassifier, k: int):
    """Logits and all gradients: those of a gate's parameters are a row each of the cell's."""
    loop = baselines.loop_classifier(model, k)
    answers = loop(INPUTS), model(INPUTS[None])[k]
    torch.testing.assert_close(*answers, atol=1e-12, rtol=0)
    for answer in answers:
        nn.functional.cross_entropy(answer, TARGETS).backward()
    gradients = {name: parameter.grad for name, parameter in loop.named_parameters()}
    outer = [model.embedding.grad[k], model.head_weight.grad[k].T, model.head_bias.grad[k]]
    theirs = [gradients.pop(name) for name in ("0.weight", "2.weight", "2.bias")]
    for name, parameter in model.cell.named_parameters():
        rows = parameter.grad[k]
        suffixes = loop[1].suffixes[: len(rows)] if len(rows) > 1 else [""]
        outer.append(rows)
        theirs.append(torch.stack([gradients.pop(f"1.{name}{suffix}") for suffix in suffixes]))
    assert not gradients
    torch.testing.assert_close(theirs, outer, atol=1e-12, rtol=0)


@TORCHS
def test_the_loop_equals_torch(model: SequenceClassifier):
    loop, layer = baselines.loop_classifier(model, 1), baselines.torch_classifier(model, 1)
    torch.testing.assert_close(loop(INPUTS), layer(INPUTS), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("make_cell", "says"),
    [
        (ResidualSRN, "torch has no layer for ResidualSRN; it has one for SRN, LSTM, GRU"),
        (MinLSTM, "torch has no layer for MinLSTM; it has one for SRN, LSTM, GRU"),
        (partial(LSTM, variant="peephole"), "torch has no layer for an LSTM with variant=peephole; nn.LSTM is"),
        (partial(LSTM, variant="no_input_gate"), "torch has no layer for an LSTM with variant=no_input_gate; nn.LSTM"),
        (GRU, "torch has no layer for this GRU: nn.GRU resets after the recurrent product, and "),
    ],
)
def test_a_cell_that_torch_has_no_layer_for(make_cell: MakeCell, says: str):
    model = SequenceClassifier(make_cell, 1, symbols=10, classes=19, embedding_size=4, widths=[6])
    builders: list[Callable[[], object]] = [
        lambda: baselines.torch_layer(model.cell, 0),
        lambda: baselines.torch_classifier(model, 0),
    ]
    for build in builders:
        with pytest.raises(ConfigError) as error:
            build()
        assert str(error.value).startswith(says)
        assert "\n" not in str(error.value)
    assert not bench.has_torch_layer(make_cell)


def test_the_two_conventions_of_the_gru_are_named():
    with pytest.raises(ConfigError, match="cannot use each other's weights"):
        baselines.torch_layer(GRU(1, 2, 3), 0)


def test_a_cell_without_a_loop():
    model = SequenceClassifier(partial(LSTM, variant="no_forget_gate"), 1, symbols=10, classes=19)
    with pytest.raises(ConfigError, match="there is no plain loop of LSTM variant=no_forget_gate; there are SRN, "):
        baselines.loop_classifier(model, 0)


def test_all_contestants_see_the_same_batches():
    task = bench.build_task(5, 1)
    batches = [baselines.loaded, baselines.sliced]
    for number, pairs in enumerate(islice(zip(*(way(task.rows("train"), 8) for way in batches), strict=True), 40)):
        rows = task.batch(number)  # 38 an epoch, so the second epoch is reached
        for inputs, targets in pairs:
            assert torch.equal(inputs, rows.inputs[0])
            assert torch.equal(targets, rows.targets[0])


@CELLS
def test_all_contestants_train_alike(name: str):
    """After some updates all are at the same weights, so what is timed is the same work.

    Torch's second bias is held, or the two would move twice as far as the one bias of the others; but not that of
    the GRU's candidate, which is another parameter.
    """
    task = bench.build_task(5, 1)
    model = bench.build_model(bench.MODELS[name], task).double()
    networks = [baselines.loop_classifier(model, 0)]
    ways = [baselines.loaded]
    if name in WITH_LAYER:
        network = baselines.torch_classifier(model, 0)
        second = network.get_parameter("1.layer.bias_hh_l0")
        moves = torch.zeros_like(second)
        moves[len(second) * 2 // 3 :] = name == "gru"
        second.register_hook(lambda gradient: gradient * moves)
        networks.append(network)
        ways.append(baselines.sliced)
    for network, batches in zip(networks, ways, strict=True):
        baselines.training(network, batches(task.rows("train"), 8), 1e-3, lambda: 0.0)(3)
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


def test_gates_that_do_not_see_the_state_have_no_recurrent_products():
    flops = 3 * (2 * 10 * 32 * 2 * 32 + 2 * 8 * 32 * 19)
    assert bench.bound_ms(bench.MODELS["mingru"], 35, peak=1e9) == pytest.approx(flops / 1e9 * 1e3)


def test_the_bound_counts_the_gates_of_a_variant():
    three, four = (bench.bound_ms(bench.MODELS[name], 1000, peak=1e9) for name in ("lstm_coupled", "lstm"))
    assert three / four == pytest.approx(3 / 4, rel=1e-3)


def test_the_gru_that_is_compared_with_torch_resets_after_the_product():
    cells = {name: bench.MODELS[name](1, 1, 1) for name in ("gru", "gru_reset_before")}
    assert {name: isinstance(cell, GRU) and cell.reset_after for name, cell in cells.items()} == {
        "gru": True,
        "gru_reset_before": False,
    }


def test_every_cell_of_memexp_is_in_the_bench():
    def leaves(kind: type[Cell]) -> set[type[Cell]]:
        own = {kind} if kind is not Cell else set()
        return own.union(*(leaves(child) for child in kind.__subclasses__() if child.__module__ == Cell.__module__))

    assert {type(make_cell(1, 1, 1)) for make_cell in bench.MODELS.values()} == leaves(Cell)


def test_the_table_has_a_dash_where_torch_has_no_layer():
    rows = [row for name in ("srn", "mingru") for row in bench.compare(name, 5, [1], rounds=1, updates=1, peak=1e9)]
    assert [(row["model"], row["contestant"]) for row in rows] == [
        ("srn", "plain loop"),
        ("srn", "torch's layer"),
        ("srn", "memexp"),
        ("mingru", "plain loop"),
        ("mingru", "memexp"),
    ]
    head, *lines = (line.split() for line in bench.table(rows).splitlines())
    assert head[-4:] == ["x", "torch's", "of", "bound"]
    assert [line[-3] == "-" for line in lines] == [False, False, False, True, True]
    _, compared, alone = bench.parity_lines(rows).splitlines()
    assert compared.startswith("srn, length 5: outputs ")
    assert alone == "torch has no layer for mingru"
    assert bench.parity_lines(rows[3:]) == "torch has no layer for mingru"


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
    expected = [
        (model, "5", *contestant)
        for model in bench.MODELS
        for contestant in each
        if model in WITH_LAYER or contestant[0] != "torch's layer"
    ]
    assert [(r["model"], r["length"], r["contestant"], r["seeds"]) for r in rows] == expected
    for row in rows:
        assert float(row["ms_per_update_and_seed"]) > 0
        assert float(row["times_faster_than_loop"]) > 0
        assert float(row["share_of_bound"]) > 0
        assert (row["times_faster_than_layer"] == "") == (row["model"] in WITHOUT_LAYER)
        for what in ("output_difference", "gradient_difference"):
            compared = row["contestant"] == "memexp" and row["model"] in WITH_LAYER
            assert float(row[what]) < 1e-12 if compared else row[what] == ""
    assert "of bound" in done.stdout
    assert all(f"\n{model}, length 5: outputs" in done.stdout for model in WITH_LAYER)
    assert f"\ntorch has no layer for {', '.join(WITHOUT_LAYER)}\n" in done.stdout
    assert (tmp_path / "images" / "bench_growth.png").stat().st_size > 10_000
    with open(tmp_path / "images" / "bench_growth.csv", newline="") as file:
        growth = list(csv.DictReader(file))
    assert len(growth) == 3 * 2 * sum(map(len, bench.GROWTH_QUICK.values()))


def test_synthetic_run_folders_are_all_collected():
    assert bench.collection(3).startswith("3 run folders, 30 rows: collected in ")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("lengths=[10,2]", "lengths=2 is too small; it must be at least 3"),
        ("seeds=[none]", "seeds[0]=none is not a whole number"),
        ("models=[rnn]", f"models=rnn is unknown; allowed: {', '.join(bench.MODELS)}"),
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
