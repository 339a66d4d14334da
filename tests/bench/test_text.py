import csv
from itertools import islice
from pathlib import Path

import forked
import pytest
import torch
from helpers import Command
from torch import nn

from memexp.bench import baselines, contest, parity, text
from memexp.bench import command as bench
from memexp.bench.contest import LAYER_MODELS, MODELS
from memexp.models.networks import SequenceModel

CELLS = pytest.mark.parametrize("name", LAYER_MODELS)


def test_the_sizes_are_the_tutorials():
    task = text.text_task(2)
    inputs, targets = next(text.batches(task))
    assert inputs.shape == targets.shape == (32, 35)
    assert text.text_model(MODELS["gru"], task, text.HIDDEN_SIZE).widths == [256]


@CELLS
def test_memexp_equals_torch(name: str):
    found = text.memexp_contestant(MODELS[name], 2, hidden_size=6).parity()
    assert found.complaint is None
    assert 0 < max(found.double[:2]) < 1e-14


def test_who_computes_something_else_has_no_row_but_a_line(monkeypatch: pytest.MonkeyPatch):
    def doubled(model: SequenceModel, k: int) -> nn.Sequential:
        network = baselines.torch_classifier(model, k)
        network[2].weight.data *= 2
        return network

    wrong = parity.by_network(doubled, baselines.torch_gradients)
    monkeypatch.setattr(parity, "by_layer", wrong)
    rows, refused = text.compare("gru", [2], 1, 1, hidden_size=6)
    assert rows == []
    assert [line.partition(" differ")[0] for line in refused] == [
        "gru, text: no speed of torch's layer, 1 seed: outputs",
        "gru, text: no speed of memexp engine=torch, 2 seeds: outputs",
    ]


@CELLS
def test_both_train_alike(name: str):
    """Own and built-in layer have the same weights after eight updates (an epoch), torch's second bias being held."""
    task = text.text_task(1)
    model = text.text_model(MODELS[name], task, 6).double()
    network = baselines.torch_classifier(model, 0)
    second = network.get_parameter("1.layer.bias_hh_l0")
    moves = torch.zeros_like(second)
    moves[len(second) * 2 // 3 :] = name == "gru"  # the GRU's candidate has two biases in memexp too
    second.register_hook(lambda gradient: gradient * moves)
    before = model.head_weight[0].clone()
    baselines.training(network, text.batches(task), 1e-2, lambda: 0.0, fused=True)(7)
    contest.memexp_contestant(contest.TORCH, task, model, 1e-2, next(text.batches(task))).seconds(6)
    assert (model.head_weight[0] - before).abs().max() > 0.01
    torch.testing.assert_close(network[2].weight.T, model.head_weight[0], atol=1e-8, rtol=0)


def test_both_see_the_same_batches():
    task = text.text_task(3)
    for number, (inputs, targets) in enumerate(islice(text.batches(task), 10)):
        rows = task.batch(number)
        assert torch.equal(inputs, rows.inputs[0])
        assert torch.equal(targets, rows.targets[0])


@pytest.mark.slow
def test_quick_run(tmp_path: Path):
    done = forked.run("memexp.bench", "text=true", "quick=true", "models=[gru,mingru,srn]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "images" / "bench_text.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    each = [("torch's layer", "1"), ("memexp engine=torch", "1"), ("memexp engine=torch", "2")]
    assert [(r["model"], r["contestant"], r["seeds"]) for r in rows] == [(m, *c) for m in ("srn", "gru") for c in each]
    for row in rows:
        assert float(row["characters_per_second"]) == pytest.approx(32 * 35e3 / float(row["ms_per_update_and_seed"]))
        for what in ("output_difference", "gradient_difference"):
            assert float(row[what]) < 1e-12
    assert "characters/s" in done.stdout
    assert "\ngru: outputs " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["models=[mingru]"], "text=true measures srn, lstm, gru; models=['mingru'] has none of them"),
        (
            ["lengths=[10]", "growth=true"],
            "lengths, growth: not with text=true, which has no such sizes; leave them out",
        ),
        (["figure=a.png"], "figure: not with text=true, "),
        (["parts=true"], "text: not with parts=true; leave them out"),
        (["folders=3"], "folders=3 goes with no other option; "),
    ],
)
def test_what_a_text_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command, arguments: list[str], complaint: str
):
    monkeypatch.chdir(tmp_path)
    shown = in_process(bench.main, "text=true", *arguments)
    assert shown.startswith(f"memexp.bench: {complaint}")
    assert "\n" not in shown
