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


@pytest.mark.parametrize("name", LAYER_MODELS)
def test_all_contestants_train_alike(name: str):
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
    contest.memexp_contestant(task, model, 1e-3).seconds(2)  # and two that do not count
    assert (model.head_weight[0] - before).abs().max() > 1e-3
    for network in (loop, layer):
        torch.testing.assert_close(network[0].weight, model.embedding[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(network[2].weight.T, model.head_weight[0], atol=1e-8, rtol=0)


def test_the_flops_of_a_case_counted_by_hand():
    """L 2, B 1, G 1, D 2: two products 1x2x2 are 16; V 3, M 1: 3x1x2 is 12; K 1: 1x2x1 is 4. Thrice 32."""
    assert digit_sum.update_flops(gates=1, length=2, batch=1, embedding=1, hidden=2, symbols=3, classes=1) == 96


def test_the_bound_is_the_flops_at_the_peak_rate():
    flops = 3 * (2 * 35 * 8 * 4 * 32 * 32 + 2 * 10 * 32 * 4 * 32 + 2 * 8 * 32 * 19)
    assert digit_sum.bound_ms(MODELS["lstm"], 35, peak=1e9) == pytest.approx(flops / 1e9 * 1e3)


def test_gates_that_do_not_see_the_state_have_no_recurrent_products():
    flops = 3 * (2 * 10 * 32 * 2 * 32 + 2 * 8 * 32 * 19)
    assert digit_sum.bound_ms(MODELS["mingru"], 35, peak=1e9) == pytest.approx(flops / 1e9 * 1e3)


def test_the_bound_counts_the_gates_of_a_variant():
    three, four = (digit_sum.bound_ms(MODELS[name], 1000, peak=1e9) for name in ("lstm_coupled", "lstm"))
    assert three / four == pytest.approx(3 / 4, rel=1e-3)


def test_a_cell_that_torch_has_no_layer_for_is_alone_in_the_table():
    rows = [row for name in ("srn", "mingru") for row in digit_sum.compare(name, 5, [1], rounds=1, updates=1, peak=1e9)]
    assert [(row["model"], row["contestant"]) for row in rows] == [
        ("srn", "plain loop"),
        ("srn", "torch's layer"),
        ("srn", "memexp"),
        ("mingru", "memexp"),
    ]
    head, *lines = (line.split() for line in digit_sum.table(rows).splitlines())
    assert head[-7:] == ["x", "plain", "loop", "x", "torch's", "of", "bound"]
    for line, alone in zip(lines, (False, False, False, True), strict=True):
        assert [faster == "-" for faster in line[-4:-2]] == [alone, alone]
    assert [lines[0][-4], lines[1][-3]] == ["1.0", "1.0"]  # each as fast as itself
    _, compared, alone = contest.parity_lines(rows).splitlines()
    assert compared.startswith("srn, length 5: outputs ")
    assert alone == "torch has no layer for mingru"


def test_a_quick_look_is_at_the_cells_that_torch_has():
    shown = digit_sum.quick_look(length=5, seeds=(2,), rounds=1, updates=1).splitlines()
    assert shown[0] == f"torch {torch.__version__}, one thread"
    assert [line.split()[:3] for line in shown[3:] if "memexp" in line and "%" in line] == [
        [name, "5", "memexp"] for name in LAYER_MODELS
    ]
    assert [line.partition(":")[0] for line in shown[-3:]] == [f"{name}, length 5" for name in LAYER_MODELS]
