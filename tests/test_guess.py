"""Random weight guessing: chances that are known, where a search stops, and the command."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import Command, config_of
from torch import Tensor

from memexp import guess
from memexp.errors import ConfigError
from memexp.experiment import build_model, build_task
from memexp.guess import ModelNet, Options, all_right, blocks, drawn, mean_trials, search
from memexp.tasks.latch import Sign
from memexp.tasks.task import Rows


class Threshold:
    """One weight w, uniform in [-1, 1] with that range; it answers w - x: right, for x = 1 - 2 p, with chance p."""

    def __init__(self) -> None:
        self.shapes = {"w": (1,)}
        self.calls: list[tuple[int, int]] = []

    def answers(self, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
        self.calls.append((len(weights["w"]), len(inputs)))
        return (weights["w"] - inputs[:, 0])[..., None, None]

    def held(self, inputs: Tensor) -> int:
        return 1


def rows_above(*bounds: float) -> Rows:
    """Rows that are right where w is larger than all of the bounds."""
    return Rows(torch.tensor(bounds)[:, None], torch.ones(len(bounds), 1))


@pytest.fixture
def command(in_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run ``python -m memexp.guess ARGUMENTS`` in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *given: in_process(guess.main, *given)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.004])
def test_what_a_share_p_of_all_weights_solves_takes_1_in_p_trials(p: float):
    found = [search(Threshold(), rows_above(-1.0, 1 - 2 * p), Sign, seed, 10**6, 1.0) for seed in range(300)]
    trials = [one.trials for one in found]
    mean = sum(trials) / len(trials)
    assert mean == pytest.approx(1 / p, rel=5 * math.sqrt((1 - p) / 300))  # 5 standard errors
    assert all(float(one.weights["w"]) > 1 - 2 * p for one in found if one.weights)
    _, low, high = mean_trials(trials, [True] * 300)
    assert low < mean < high


def test_a_network_of_a_run_has_its_known_chance():
    """A unit without a bias that tells +1 from -1, and a head v h + c: |c| < |v|, and one of two signs, is 1 in 4."""
    config = config_of(
        "task=latch", "length=2", "task.spread=0", "task.noise=0", "model=srn", "model.hidden_size=1", "seeds=1"
    )
    task = build_task(config)
    net = ModelNet(build_model(config, task.interface, initialise=False), "random")
    assert net.shapes == {
        "layers.0.0.cell.W": (1, 1, 1), "layers.0.0.cell.U": (1, 1, 1), "layers.0.0.cell.b": (1, 1),
        "head_weight": (1, 1), "head_bias": (1,),
    }  # fmt: skip
    weights = drawn(net, 0, 0, 40_000, 100.0)
    weights["layers.0.0.cell.U"][:] = 100.0  # a latch
    weights["layers.0.0.cell.b"][:] = 0.0
    share = len(all_right(net, weights, task.rows("train"), Sign)) / 40_000
    assert share == pytest.approx(1 / 4, abs=0.011)  # 5 standard deviations


def test_a_search_counts_up_to_the_first_success_whatever_the_blocks():
    p = 0.02
    for seed in range(20):
        net = Threshold()
        found = search(net, rows_above(1 - 2 * p), Sign, seed, 10_000, 1.0)
        all_of_them = torch.cat(
            [drawn(net, seed, k, lanes, 1.0)["w"] for k, lanes in enumerate(blocks(net, 10_000))]
        ).flatten()
        assert found.trials == int((all_of_them > 1 - 2 * p).nonzero()[0]) + 1
        same = search(net, rows_above(1 - 2 * p), Sign, seed, found.trials, 1.0)  # a budget cuts blocks, and no more
        assert (same.trials, same.weights) == (found.trials, found.weights)
        given_up = search(net, rows_above(1 - 2 * p), Sign, seed, found.trials - 1, 1.0)
        assert (given_up.trials, given_up.weights) == (found.trials - 1, None)


def test_blocks_grow_and_end_with_the_trials():
    assert [*blocks(Threshold(), 70)] == [64, 6]
    assert [*blocks(Threshold(), 10_000)] == [64, 256, 1024, 4096, 4096, 464]


def test_pieces_that_fit_the_memory_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rows, whole = rows_above(*([0.9] * 7)), Threshold()
    before = search(whole, rows, Sign, 3, 5000, 1.0)
    monkeypatch.setattr(guess, "HELD", 40)
    cut = Threshold()
    assert search(cut, rows, Sign, 3, 5000, 1.0).trials == before.trials
    assert max(lanes * rows for lanes, rows in cut.calls) <= 40 < max(lanes * rows for lanes, rows in whole.calls)


def test_a_lane_that_was_wrong_is_not_shown_the_other_rows():
    net = Threshold()
    weights = {"w": torch.tensor([[0.1], [0.3], [0.7], [0.9]])}
    left = all_right(net, weights, rows_above(0.2, 0, 0, 0, 0, 0.8), Sign)
    assert left.tolist() == [3]
    assert net.calls == [(4, 4), (3, 2)]
    assert all_right(net, weights, rows_above(1.0, 0, 0, 0, 0), Sign).tolist() == []


def test_weights_are_uniform_and_the_same_for_the_same_seed():
    net = Threshold()
    weights = drawn(net, 4, 2, 50_000, 3.0)["w"]
    assert torch.equal(weights, drawn(net, 4, 2, 50_000, 3.0)["w"])
    assert not torch.equal(weights, drawn(net, 5, 2, 50_000, 3.0)["w"])
    assert not torch.equal(weights, drawn(net, 4, 1, 50_000, 3.0)["w"])
    assert -3 <= weights.min() < -2.99
    assert 2.99 < weights.max() < 3
    assert weights.var().item() == pytest.approx(3.0, abs=0.06)  # 9 / 3


def test_the_interval_of_the_mean_covers_it_as_often_as_it_says():
    draw, p, covered = torch.Generator().manual_seed(5), 0.07, 0
    for _ in range(1000):
        trials = torch.empty(12).geometric_(p, generator=draw).int().tolist()
        _, low, high = mean_trials(trials, [True] * 12)
        covered += low <= 1 / p <= high
    assert 0.935 <= covered / 1000 <= 0.97


@pytest.mark.parametrize(
    ("trials", "solved", "expected"),
    [
        ([100, 100], [False, False], (math.inf, 1 / (1 - 0.025 ** (1 / 200)), math.inf)),  # nothing in 200
        ([1, 1], [True, True], (1, 1, 1 / 0.025**0.5)),
        ([60, 40], [True, False], (100, 1 / 0.0544594, 1 / 0.000253146)),  # Clopper and Pearson's of 1 in 100
    ],
)
def test_intervals_that_are_known(trials: list[int], solved: list[bool], expected: tuple[float, ...]):
    assert mean_trials(trials, solved) == pytest.approx(expected, rel=1e-4)


def test_digit_sum_is_not_solved_by_guessing(command: Command):
    said = command("model=srn", "model.hidden_size=4", "seeds=1", "trials=20000")
    assert said.split("\n")[2].split() == ["digit_sum", "srn", "10", "563", "100", "1", "0", "over", "5,422"]
    assert "a search is given up after 20000 trials" in said


def test_the_latch_problem_is(command: Command):
    asked = ("task=latch", "length=20", "model=srn", "model.hidden_size=1", "head=none", "seeds=3..7", "trials=3000")
    said = command(*asked)
    assert said.split("\n")[2].split()[:7] == ["latch", "srn", "20", "3", "100", "5", "5"]
    (path,) = Path("images/latch/guess").iterdir()
    assert said.endswith(f"every search: {path}\n")
    table = pd.read_csv(path)
    assert table["seed"].tolist() == [3, 4, 5, 6, 7]
    assert table["trials"].between(1, 2999).all()
    assert table["solved"].all()
    assert (table["test"] > 0.9).all()
    assert set(table["most_trials"]) == {3000}
    assert set(table["task.noise"]) == {0.2}
    content = path.read_bytes()
    command(*asked)
    assert path.read_bytes() == content


def test_without_a_folder_for_images_there_is_no_file(command: Command, tmp_path: Path):
    command("task=latch", "length=3", "model=srn", "model.hidden_size=1", "seeds=1", "trials=5", "images_dir=null")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("model", ["lstm", "gru", "mingru"])
def test_any_model_and_task_can_be_guessed(command: Command, model: str):
    said = command("task=copy_memory", f"model={model}", "model.hidden_size=[3,2]", "length=2", "seeds=1", "trials=70")
    assert said.split("\n")[2].split()[:3] == ["copy_memory", model, "2"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("trials=0",), "memexp.guess: trials=0 is too small; it must be at least 1"),
        (("range=0",), "memexp.guess: range=0.0 is too small; it must be above 0"),
        (("head=no",), "memexp.guess: head=no is unknown; allowed: random, none"),
        (("head=none",), "memexp.guess: head=none: the 32 units of the top layer would be the answers, which are 19"),
        (("-m", "length=5"), "memexp.guess: -m: python -m memexp.guess looks at one run; give settings alone"),
        (("lenght=5",), "memexp.guess: unknown key 'lenght' (did you mean length?)"),
        (("task=char_lm", "model.hidden_size=2"), "memexp.guess: task=char_lm does not say whether an answer is right"),
    ],
)
def test_a_mistake_is_one_line(command: Command, given: tuple[str, ...], complaint: str):
    said = command(*given)
    assert said.startswith(complaint)
    assert "\n" not in said


def test_help_names_its_own_keys(command: Command, capsys: pytest.CaptureFixture[str]):
    command("--help")
    assert [line.split("=")[0].strip() for line in capsys.readouterr().out.splitlines()[-3:]] == [
        "trials",
        "range",
        "head",
    ]


def test_without_a_head_the_units_are_the_answers():
    config = config_of("task=latch", "length=4", "task.spread=0", "model=srn", "model.hidden_size=1", "seeds=1")
    task = build_task(config)
    model = build_model(config, task.interface, initialise=False)
    net, rows = ModelNet(model, "none"), task.rows("dev")
    assert list(net.shapes) == ["layers.0.0.cell.W", "layers.0.0.cell.U", "layers.0.0.cell.b"]
    weights = drawn(net, 1, 0, 3, 2.0)
    w, u, b = (weight.view(3, 1) for weight in weights.values())
    h = torch.zeros(3, 1)
    for step in rows.inputs[..., 0].T:
        h = torch.tanh(w * step + u * h + b)
    torch.testing.assert_close(net.answers(weights, rows.inputs)[:, :, -1, 0], h)
    with pytest.raises(ConfigError, match="give model.hidden_size=1, or head=random"):
        ModelNet(build_model(config_of("task=latch", "model=srn", "seeds=1"), task.interface), "none")
    assert Options().trials == 100_000
