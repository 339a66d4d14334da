from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers import classifier
from torch import Tensor, nn

from memexp.bench import baselines, contest, parity
from memexp.bench.contest import COMPILED, ENGINES, LAYER_MODELS, MODELS, TORCH
from memexp.models.cells import SRN, State
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import CrossEntropy
from memexp.training.engines import Engine

TORCHS = pytest.mark.parametrize("name", LAYER_MODELS)
INPUTS = torch.tensor([[6, 7, 0, 0, 1], [0, 9, 0, 3, 0], [2, 2, 5, 0, 0]])
TARGETS = torch.tensor([[13], [9], [4]])


@pytest.fixture
def model(name: str) -> SequenceModel:
    """Two seeds, sizes that all differ."""
    return classifier(MODELS[name], [0, 1], classes=19)


def check(way: parity.Way, model: SequenceModel) -> parity.Parity:
    return parity.check(way, model, INPUTS, TARGETS)


# --- who is right ---


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_both_engines_compute_what_every_cell_says(engine: str, name: str, model: SequenceModel):
    before = [parameter.clone() for parameter in model.parameters()]
    found = check(parity.by_engine(ENGINES[engine], CrossEntropy), model)
    assert found.complaint is None
    assert max(found.double[:2]) < 1e-14
    assert 1e-9 < max(found.single[:2]) < 5e-6
    assert found.right == ("torch's layer" if name in LAYER_MODELS else "the stepped cell")
    assert all(map(torch.equal, before, model.parameters()))


@TORCHS
@pytest.mark.parametrize(("way", "right"), [(parity.by_loop, "torch's layer"), (parity.by_layer, "the stepped cell")])
def test_loop_and_layer_compute_the_same(way: parity.Way, right: str, model: SequenceModel):
    found = check(way, model)
    assert (found.right, found.complaint) == (right, None)
    assert 0 < max(found.double[:2]) < 1e-14


@TORCHS
@pytest.mark.parametrize("way", [parity.by_loop, parity.by_layer, parity.by_steps])
def test_every_parameter_is_compared(way: parity.Way, model: SequenceModel):
    learned = way(model.double(), INPUTS, TARGETS)
    own = {name: parameter.shape for name, parameter in model.named_parameters()}
    assert {name: g.shape for name, g in learned.gradients.items() if name != baselines.SECOND_BIAS} == own
    assert learned.answers.shape == (2, 3, 1, 19)
    assert all(gradient.abs().max() > 1e-5 for gradient in learned.gradients.values())


# --- who is not ---


def changed(way: parity.Way, change: Callable[[parity.Learned], parity.Learned]) -> parity.Way:
    return lambda *given: change(way(*given))


@TORCHS
def test_a_mistake_in_any_one_gradient_is_found_and_named(model: SequenceModel):
    for wrong in [*dict(model.named_parameters()), baselines.SECOND_BIAS]:

        def spoil(learned: parity.Learned, wrong: str = wrong) -> parity.Learned:
            gradient = learned.gradients[wrong].clone()
            place = torch.unravel_index(gradient.abs().argmax(), gradient.shape)
            gradient[place] *= 1 + 1e-9
            return learned._replace(gradients={**learned.gradients, wrong: gradient})

        found = check(changed(parity.by_layer, spoil), model)
        assert found.double.gradient == wrong
        assert found.double.gradients == pytest.approx(1e-9, rel=1e-3)
        assert found.double.outputs < 1e-14
        assert found.complaint == (
            f"gradients of {wrong} differ from those of torch's layer by 1.0e-09 of their size "
            "(float64; allowed: 1e-12)"
        )


@TORCHS
def test_another_seed_differs(model: SequenceModel):
    other = parity.by_network(lambda model, k: baselines.torch_classifier(model, 1 - k), baselines.torch_gradients)
    found = check(other, model)
    assert min(found.double[:2]) > 1e-2
    assert str(found.complaint).startswith("outputs differ from those of torch's layer by ")


def test_numbers_that_are_none_are_refused():
    model = classifier(SRN, [0, 1], classes=19)
    found = check(changed(parity.by_steps, lambda own: own._replace(answers=own.answers * torch.nan)), model)
    assert str(found.complaint).startswith("outputs differ from those of torch's layer by nan of their size (float64")
    name = "layers.0.0.cell.U"

    def spoil(own: parity.Learned) -> parity.Learned:
        return own._replace(gradients={**own.gradients, name: own.gradients[name] * torch.nan})

    assert str(check(changed(parity.by_steps, spoil), model).complaint).startswith(f"gradients of {name} differ")


def with_layer(change: Callable[[nn.Sequential, SequenceModel], None]) -> parity.Way:
    """Enter torch's layer with weights that are changed."""

    def build(model: SequenceModel, k: int) -> nn.Sequential:
        network = baselines.torch_classifier(model, k)
        with torch.no_grad():
            change(network, model)
        return network

    return parity.by_network(build, baselines.torch_gradients)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_swapped_gates_are_found(model: SequenceModel):
    def swap(network: nn.Sequential, model: SequenceModel) -> None:
        for name, parameter in network.named_parameters():
            if name.startswith("1."):
                first, second, *rest = parameter.detach().chunk(len(model.cell.gates))
                parameter.data = torch.cat([second, first, *rest])

    assert min(check(with_layer(swap), model).double[:2]) > 1e-3


@pytest.mark.parametrize("name", ["gru"])
def test_a_bias_on_the_wrong_side_of_the_reset_is_found(model: SequenceModel):
    def move(network: nn.Sequential, model: SequenceModel) -> None:
        inside, outside = (network.get_parameter(f"1.layer.bias_{side}_l0")[12:] for side in ("hh", "ih"))
        outside += inside
        inside.zero_()

    assert min(check(with_layer(move), model).double[:2]) > 1e-3


class Forgets(SRN):
    """An SRN whose fast way is not what its step says."""

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, state = super().run(projected, state)
        return outputs, (state[0] * (1 + 1e-6),)


@pytest.mark.parametrize(("kind", "wrong"), [(Forgets, True), (SRN, False)])
def test_a_fast_way_that_is_not_what_the_step_says_is_found(kind: type[SRN], wrong: bool):
    found = check(parity.by_engine(ENGINES[TORCH], CrossEntropy), classifier(kind, [0, 1], classes=19))
    assert (found.complaint is not None) == wrong


def summing(model: SequenceModel, loss: type[CrossEntropy], optimizer: str, lr: float) -> Engine:
    """Build the compiled engine, wrong: it sums where the mean is asked for."""
    engine = contest.compiled_engine(model, loss, optimizer, lr)
    engine._rules[0]["summed"] = True  # type: ignore[attr-defined]
    return engine


@pytest.mark.parametrize("name", ["lstm_peephole"])
def test_an_engine_that_learns_something_else_is_found(model: SequenceModel):
    found = check(parity.by_engine(summing, CrossEntropy), model)
    assert found.double.outputs < 1e-14
    assert found.double.gradients == pytest.approx(2)  # thrice, of three rows
    assert "of their size (float64; allowed: 1e-12)" in str(found.complaint)


def test_in_float32_a_cell_may_lose_what_the_right_way_loses():
    """A residual SRN makes rounding errors grow with its length, for whoever computes it."""
    model = classifier(MODELS["residual_srn"], [0], classes=19, widths=(30,))
    inputs = torch.randint(0, 10, (3, 200), generator=torch.Generator().manual_seed(0))
    found = parity.check(parity.by_engine(ENGINES[COMPILED], CrossEntropy), model, inputs, TARGETS)
    assert found.complaint is None
    assert found.single.gradients > parity.BOUNDS[torch.float32]
    spoilt = changed(
        parity.by_engine(ENGINES[COMPILED], CrossEntropy),
        lambda own: own if own.answers.dtype == torch.float64 else own._replace(answers=own.answers * 1.01),
    )
    assert "(float32; allowed: " in str(parity.check(spoilt, model, inputs, TARGETS).complaint)


# --- in a contest ---


def test_who_computes_something_else_has_no_row_but_a_line(monkeypatch: pytest.MonkeyPatch):
    from memexp.bench import digit_sum

    monkeypatch.setitem(contest.ENGINES, COMPILED, summing)
    peak = digit_sum.Peak(1e9, 1e9, 1e9)
    rows, refused = digit_sum.compare("srn", 5, [1, 2], rounds=1, updates=1, peak=peak)
    assert {row["contestant"] for row in rows} == {contest.LOOP, contest.LAYER, TORCH}
    assert [line.partition(":")[0] for line in refused] == ["srn, length 5"] * 2
    for line, seeds in zip(refused, ("1 seed", "2 seeds"), strict=True):
        assert f"no speed of {COMPILED}, {seeds}: gradients of " in line
        assert "\n" not in line
    monkeypatch.setattr(digit_sum, "LAYER_MODELS", ("srn",))
    points = {"length": (5,), "hidden_size": (3,), "seeds": (2,), "batch": (2,)}
    rows, refused = digit_sum.grow(LAYER_MODELS, points, rounds=1, updates=1, peak=peak)
    assert {row["contestant"] for row in rows} == {contest.LAYER, TORCH}
    assert len(refused) == 4


def test_if_nothing_to_compare_with_is_left_there_are_no_factors(monkeypatch: pytest.MonkeyPatch):
    from memexp.bench import digit_sum

    wrong = partial(parity.check, changed(parity.by_loop, lambda own: own._replace(answers=-own.answers)))
    honest = digit_sum.loop_contestant

    def loop(make_cell: object, length: int) -> contest.Contestant:
        contestant = honest(MODELS["srn"], length)
        return contest.Contestant(
            contestant.name, 1, contestant.seconds, partial(wrong, *contestant.parity.args[1:])  # type: ignore[attr-defined]
        )  # fmt: skip

    monkeypatch.setattr(digit_sum, "loop_contestant", loop)
    rows, (line,) = digit_sum.compare("srn", 5, [1], rounds=1, updates=1, peak=digit_sum.Peak(1e9, 1e9, 1e9))
    assert line.startswith("srn, length 5: no speed of plain loop, 1 seed: outputs differ")
    assert {row["times_faster_than_loop"] for row in rows} == {None}
    assert all(row["times_faster_than_layer"] > 0 for row in rows)
    assert digit_sum.table(rows).count(" - ") == len(rows)
