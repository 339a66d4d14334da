from itertools import islice

import pytest
import torch

from memexp.bench import baselines, contest, digit_sum
from memexp.bench.contest import LAYER_MODELS, MODELS


def test_all_contestants_see_the_same_batches():
    task = digit_sum.study_task(5, 1)
    batches = [baselines.loaded, baselines.sliced]
    for number, pairs in enumerate(islice(zip(*(way(task.rows("train"), 8) for way in batches), strict=True), 40)):
        rows = task.batch(number)  # 38 an epoch, so the second epoch is reached
        for inputs, targets in pairs:
            assert torch.equal(inputs, rows.inputs[0])
            assert torch.equal(targets, rows.targets[0])


@pytest.mark.parametrize("engine", contest.ENGINES)
@pytest.mark.parametrize("name", LAYER_MODELS)
def test_all_contestants_train_alike(name: str, engine: str):
    """After some updates all are at the same weights, so what is timed is the same work.

    Torch's second bias is held, or the two would move twice as far as the one bias of the others; but not that of
    the GRU's candidate, which is another parameter.
    """
    task = digit_sum.study_task(5, 1)
    model = digit_sum.study_model(MODELS[name], task).double()
    loop, layer = baselines.loop_classifier(model, 0), baselines.torch_classifier(model, 0)
    second = layer.get_parameter("1.layer.bias_hh_l0")
    moves = torch.zeros_like(second)
    moves[len(second) * 2 // 3 :] = name == "gru"
    second.register_hook(lambda gradient: gradient * moves)
    before = model.head_weight[0].detach().clone()
    for network, batches in ((loop, baselines.loaded), (layer, baselines.sliced)):
        baselines.training(network, batches(task.rows("train"), 8), 1e-3, lambda: 0.0)(3)  # and one to warm up
    contest.memexp_contestant(engine, task, model, 1e-3, digit_sum.first_batch(task)).seconds(2)  # and two that do not
    assert (model.head_weight[0] - before).abs().max() > 1e-3
    for network in (loop, layer):
        torch.testing.assert_close(network[0].weight, model.embedding[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(network[2].weight.T, model.head_weight[0], atol=1e-8, rtol=0)


def test_the_flops_of_a_case_counted_by_hand():
    """L 2, B 1, G 1, D 2: two products 1x2x2 are 16; V 3, M 1: 3x1x2 is 12; K 1: 1x2x1 is 4. Thrice 32."""
    assert digit_sum.update_flops(gates=1, length=2, batch=1, embedding=1, hidden=2, symbols=3, classes=1) == 96


def work(name: str, **sizes: int) -> digit_sum.Work:
    return digit_sum.work(MODELS[name], 35, **sizes)


def test_the_work_of_an_update_of_the_lstm():
    """Five functions a unit and time step (three gates, the candidate, the cell state), and the softmax of 19 sums."""
    products = 3 * (2 * 35 * 8 * 4 * 32 * 32 + 2 * 10 * 32 * 4 * 32 + 2 * 8 * 32 * 19)
    parameters = 10 * 32 + 4 * (32 * 32 + 32 * 32 + 32) + 32 * 19 + 19
    assert work("lstm") == (products, 35 * 8 * 32 * 5 + 8 * 19, parameters)
    other = 3 * (2 * 35 * 3 * 4 * 7 * 7 + 2 * 10 * 32 * 4 * 7 + 2 * 3 * 7 * 19)
    parameters = 10 * 32 + 4 * (32 * 7 + 7 * 7 + 7) + 7 * 19 + 19
    assert work("lstm", hidden_size=7, batch=3) == (other, 35 * 3 * 7 * 5 + 3 * 19, parameters)


def test_gates_that_do_not_see_the_state_have_no_recurrent_products():
    assert work("mingru").operations == 3 * (2 * 10 * 32 * 2 * 32 + 2 * 8 * 32 * 19)


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("srn", 1),
        ("residual_srn", 1),
        ("lstm", 5),
        ("lstm_peephole", 5),
        ("lstm_coupled", 4),
        ("gru", 3),
        ("gru_reset_before", 3),
        ("mingru", 1),
        ("minlstm", 2),
    ],
)
def test_the_exponential_functions_of_a_cell(name: str, functions: int):
    assert digit_sum.functions_of(MODELS[name](1, 1, 1)) == functions


def test_the_bound_adds_up_what_each_part_takes_at_the_largest_rate():
    """A thousand operations at 1e6 are 1 ms; 20 functions at 1e4, 2 ms.

    Ten parameters: 120 operations and 10 functions take 0.12 + 1 ms, 280 bytes at 1e6 take less, at 1e5 2.8 ms.
    """
    needed = digit_sum.Work(1000, 20, 10)
    assert digit_sum.bound_ms(needed, digit_sum.Peak(1e6, 1e4, 1e6)) == pytest.approx(1 + 2 + 1.12)
    assert digit_sum.bound_ms(needed, digit_sum.Peak(1e6, 1e4, 1e5)) == pytest.approx(1 + 2 + 2.8)


def test_the_largest_rates_are_plausible():
    """Hundreds of millions at the least, on any processor of this century; and less than any has."""
    peak = digit_sum.peaks()
    assert 1e8 < peak.operations < 1e13
    assert 1e7 < peak.functions < 1e12
    assert 1e8 < peak.bytes < 1e13


PEAK = digit_sum.Peak(1e9, 1e9, 1e9)


def test_a_cell_that_torch_has_no_layer_for_is_without_factors():
    rows = []
    for name in ("srn", "mingru"):
        own, refused = digit_sum.compare(name, 5, [1], rounds=1, updates=1, peak=PEAK)
        rows += own
        assert not refused
    assert [(row["model"], row["contestant"]) for row in rows] == [
        ("srn", "plain loop"),
        ("srn", "torch's layer"),
        ("srn", "memexp engine=torch"),
        ("srn", "memexp engine=compiled"),
        ("mingru", "memexp engine=torch"),
        ("mingru", "memexp engine=compiled"),
    ]
    assert [row["compared_with"] for row in rows] == [
        "torch's layer",
        "the stepped cell",
        *["torch's layer"] * 2,
        *["the stepped cell"] * 2,
    ]
    head, *lines = (line.split() for line in digit_sum.table(rows).splitlines())
    assert head[-7:] == ["x", "plain", "loop", "x", "torch's", "of", "bound"]
    for line, alone in zip(lines, [False] * 4 + [True] * 2, strict=True):
        assert [faster == "-" for faster in line[-4:-2]] == [alone, alone]
    assert [lines[0][-4], lines[1][-3]] == ["1.0", "1.0"]  # each as fast as itself
    _, *compared = contest.parity_lines(rows).splitlines()
    assert [line.partition(":")[0] for line in compared] == ["srn, length 5", "mingru, length 5"]


def test_growth_along_each_axis(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digit_sum, "LAYER_MODELS", ("gru",))
    points = {"length": (5, 6), "hidden_size": (3,), "seeds": (1, 2), "batch": (2,)}
    rows, refused = digit_sum.grow(LAYER_MODELS, points, rounds=1, updates=1, peak=PEAK)
    assert not refused
    assert len(rows) == 6 * 3
    own = [row for row in rows if row["contestant"] == "memexp engine=compiled"]
    sizes = [[row[size] for size in ("axis", "value", "length", "hidden_size", "seeds", "batch")] for row in own]
    assert sizes == [
        ["length", 5, 5, 32, 10, 8],
        ["length", 6, 6, 32, 10, 8],
        ["hidden_size", 3, 35, 3, 10, 8],
        ["seeds", 1, 35, 32, 1, 8],
        ["seeds", 2, 35, 32, 2, 8],
        ["batch", 2, 35, 32, 10, 2],
    ]
    for row in own:
        needed = digit_sum.work(MODELS["gru"], row["length"], row["hidden_size"], row["batch"])
        share = digit_sum.bound_ms(needed, PEAK) / row["ms_per_update_and_seed"]
        assert row["share_of_bound"] == pytest.approx(share)


def test_a_quick_look_is_at_the_cells_that_torch_has():
    shown = digit_sum.quick_look(length=5, seeds=(2,), rounds=1, updates=1).splitlines()
    assert shown[0] == f"torch {torch.__version__}, one thread"
    assert [line.split()[:4] for line in shown[3:] if "memexp" in line and "%" in line] == [
        [name, "5", "memexp", f"engine={engine}"] for name in LAYER_MODELS for engine in ("torch", "compiled")
    ]
    assert [line.partition(":")[0] for line in shown[-3:]] == [f"{name}, length 5" for name in LAYER_MODELS]


def test_growth_is_drawn_in_a_row_of_panels_for_each_model():
    sizes = {"length": 35, "hidden_size": 32, "seeds": 10, "batch": 8}
    rows = [
        {"model": model, "axis": axis, "value": value, **sizes, "contestant": who, "ms_per_update_and_seed": value * ms}
        for model, ms in (("srn", 1.0), ("gru", 2.0))
        for axis in ("length", "batch")
        for who in ("memexp engine=compiled", "torch's layer")
        for value in (2, 5)
    ]
    figure = digit_sum.growth_figure(rows)
    panels = figure.axes
    assert [ax.get_xlabel() for ax in panels] == ["", "", "length", "batch"]
    assert [ax.get_ylabel() for ax in panels] == ["SRN", "", "GRU", ""]
    assert figure.get_supylabel() == "ms per update and seed"
    assert panels[0].get_title() == "hidden size 32, seeds 10, batch 8"
    for ax, model, ms in zip(panels, ("SRN", "SRN", "GRU", "GRU"), (1, 1, 2, 2), strict=True):
        assert [line.get_label() for line in ax.lines] == [
            f"{model}, memexp engine=compiled",
            f"{model}, torch's layer",
        ]
        for line in ax.lines:
            assert [*line.get_xdata()] == [2, 5]
            assert [*line.get_ydata()] == [2 * ms, 5 * ms]
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
