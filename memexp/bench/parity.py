"""Whether two ways to train compute the same: all answers and all gradients of a batch. If not, no speed is shown.

A way is given a model and a batch, and says what it answers and by what gradients it would learn; an engine is asked
by an update, the very one that is timed. What is compared with is torch's own layer or, for cells that torch has no
layer for and for that layer itself, the stepped cell (`memexp.models.cells.Cell.unroll`) with autograd, always in
float64. Every weight is moved a little at random first: a bias of zero would hide mistakes. Axis letters as in
`memexp.models.cells`.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memexp.bench import baselines
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import Loss
from memexp.tasks.task import Rows
from memexp.training.engines import Engine

BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5}
"""The largest difference allowed, as a share of the largest number in the same tensor; or `LOSS` times what the right
way itself loses in that kind of number, if that is more: it is where a cell makes rounding errors grow, as the residual
SRN on long sequences."""
LOSS = 10
MOVED = 0.05  # standard deviation of what is added to every weight
RATE = 1024.0  # of learning: so large that the old weights cost the gradients no digits, and a power of two


class Learned(NamedTuple):
    """What a way computes: answers [S, B, A, K], and the gradient of every parameter by its name, [S, ...]."""

    answers: Tensor
    gradients: dict[str, Tensor]


Way = Callable[[SequenceModel, Tensor, Tensor], Learned]
"""(model, inputs [B, L], targets [B, A]) -> what all seeds of the model answer and learn; the model may be changed."""
MakeEngine = Callable[[SequenceModel, type[Loss], str, float], Engine]
"""(model, loss, optimizer, learning rate) -> an engine."""


class Difference(NamedTuple):
    """The largest differences of a way, in one kind of number; ``gradient`` names the one that differs most."""

    outputs: float
    gradients: float
    gradient: str


class Parity(NamedTuple):
    """What a way differs by from ``right``; ``complaint`` says, if it is too much, what and by how much."""

    right: str
    double: Difference
    single: Difference
    complaint: str | None


def by_engine(make_engine: MakeEngine, loss: type[Loss]) -> Way:
    """Ask an engine by one update of SGD: what the weights lose is the gradient."""

    def way(model: SequenceModel, inputs: Tensor, targets: Tensor) -> Learned:
        engine = make_engine(model, loss, "sgd", RATE)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        (answers, _, _), _ = engine.update(Rows(inputs[None], targets[None]))
        after = dict(model.named_parameters())
        return Learned(answers, {name: (old - after[name].detach()) / RATE for name, old in before.items()})

    return way


def by_network(build: Callable[[SequenceModel, int], nn.Sequential], gradients: baselines.Gradients) -> Way:
    """Ask a network of its own for each seed, by autograd.

    Args:
        build: (model, k) -> the network with the weights of seed k.
        gradients: (network, cell) -> its gradients by the names of memexp's parameters.
    """

    def way(model: SequenceModel, inputs: Tensor, targets: Tensor) -> Learned:
        answers, learned = [], []
        for k in range(len(model.head_bias)):
            network = build(model, k)
            answer = network(inputs)
            baselines.cross_entropy(answer, targets).backward()  # type: ignore[no-untyped-call]
            answers.append(answer.detach().view(*targets.shape, -1))
            learned.append(gradients(network, model.cell))
        return Learned(torch.stack(answers), {name: torch.stack([own[name] for own in learned]) for name in learned[0]})

    return way


by_loop = by_network(baselines.loop_classifier, baselines.loop_gradients)
by_layer = by_network(baselines.torch_classifier, baselines.torch_gradients)


def by_steps(model: SequenceModel, inputs: Tensor, targets: Tensor) -> Learned:
    """Step the cells one time step after the other, by autograd; what a fast cell does on its own is not used."""
    for _, direction in model.directions:
        direction.cell.run = direction.cell.unroll  # type: ignore[method-assign]
    answers = model(inputs[None])
    losses = [baselines.cross_entropy(own, targets) for own in answers]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    return Learned(answers.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None})


def compare(own: Learned, expected: Learned) -> Difference:
    """Return the largest differences, each as a share of the largest number expected; NaN if there is one."""

    def share(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() - b).abs().max() / b.abs().max()

    gradients, wanted = (_with_second_bias(learned.gradients) for learned in (own, expected))
    assert gradients.keys() == wanted.keys()
    shares = torch.stack([share(gradients[name], wanted[name]) for name in wanted])
    worst = int(shares.nan_to_num(torch.inf, torch.inf).argmax())
    return Difference(float(share(own.answers, expected.answers)), float(shares[worst]), [*wanted][worst])


def _with_second_bias(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add what the gradient of torch's second bias has to be: that of b; the candidate of a GRU has its own, c."""
    if baselines.SECOND_BIAS in gradients:
        return gradients
    b, c = (gradients.get(f"layers.0.0.cell.{name}") for name in "bc")
    assert b is not None
    return {**gradients, baselines.SECOND_BIAS: b if c is None else torch.cat([b[:, :-1], c], 1)}


def check(way: Way, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Parity:
    """Compare a way with the one that is right; the model stays as it is.

    Args:
        way: a way to train.
        model: one layer; float32.
        inputs: [B, L].
        targets: [B, A].
    """
    layer = way is not by_layer and not baselines.no_torch_layer(model.cell)
    right, name = (by_layer, "torch's layer") if layer else (by_steps, "the stepped cell")
    moved = deepcopy(model)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(MOVED * torch.randn(parameter.shape, generator=draw))

    def learned(of: Way, dtype: torch.dtype) -> Learned:
        return of(deepcopy(moved).to(dtype), inputs, targets)

    expected = learned(right, torch.float64)
    found = {dtype: compare(learned(way, dtype), expected) for dtype in BOUNDS}
    lost = {dtype: compare(learned(right, dtype), expected) for dtype in BOUNDS}
    complaints = [_complaint(found[dtype], lost[dtype], dtype, name) for dtype in BOUNDS]
    double, single = found.values()
    return Parity(name, double, single, next(filter(None, complaints), None))


def _complaint(found: Difference, lost: Difference, dtype: torch.dtype, right: str) -> str | None:
    """Say what differs by how much, if it is more than allowed."""
    named = {"outputs": (found.outputs, lost.outputs), f"gradients of {found.gradient}": (found[1], lost.gradients)}
    for what, (value, own) in named.items():
        bound = max(BOUNDS[dtype], LOSS * own)
        if not value <= bound:  # NaN is not
            kind = str(dtype).removeprefix("torch.")
            return f"{what} differ from those of {right} by {value:.1e} of their size ({kind}; allowed: {bound:.0e})"
    return None
