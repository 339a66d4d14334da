"""The compiled engine: trains and evaluates a model by `memexp.compiled.update`, on the memory of its own parameters.

It does what `memexp.training.engines.TorchEngine` does, for the cells and losses that are covered, one seed after the
other. Each number is the same bits on every machine: sums are in a fixed order, functions are its own, and no library
is called.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memexp.compiled import cache, layout
from memexp.models.networks import SequenceModel
from memexp.tasks.metrics import CrossEntropy, Loss, Mean, SquaredError
from memexp.tasks.task import Rows
from memexp.training.engines import EPSILON, Answered, Engine, Update

WIDEST = 256  # units of a layer; measured (docs/speed.md)
ROWS_AT_ONCE = 32  # of one forward pass in evaluation: what a processor's own memory holds
LOSSES: tuple[type[Loss], ...] = (CrossEntropy, SquaredError)
CLIP_BY = ("global", "tensor", "value")
DECAYS = 0.9, 0.999  # of Adam's two means, torch's defaults


def not_covered(model: SequenceModel, loss: type[Loss], rows: Rows, device: str) -> str | None:
    """Say in a few words what of a run the compiled engine does not cover; None if it covers all.

    Args:
        model: the model.
        loss: what training makes small.
        rows: of an update.
        device: what the run uses.
    """
    foreign = [cell.__name__ for cell in layout.kinds_of(model) if cell not in layout.KINDS]
    if device != "cpu":
        return f"device={device}"
    if foreign:
        return f"the cell {foreign[0]}"
    if loss not in LOSSES:
        return f"the loss {loss.__name__}"
    if rows.continues is not None or rows.in_pieces:
        return "a text whose state is carried from batch to batch"
    return None


def is_faster(model: SequenceModel) -> bool:
    """Say whether compiled code trains a model faster than torch: a library wins where matrices are large."""
    return max(model.widths) <= WIDEST


class CompiledEngine(Engine):
    """Train and evaluate a model by compiled code; its parameters become views of one memory.

    Args:
        model: as `not_covered` allows.
        optimizer: ``adam`` or ``sgd``.
        lr: learning rate.
        loss: what training makes small.
        reduction: ``mean`` or ``sum`` over the answers of a batch.
        clip: clip gradients to this; None for no clipping.
        clip_by: see `memexp.training.engines.clip_gradients`.
        watched: names of parameters whose gradients' norms are noted.
    """

    name = "compiled"

    def __init__(
        self,
        model: SequenceModel,
        optimizer: str,
        lr: float,
        loss: type[Loss],
        reduction: str,
        clip: float | None,
        clip_by: str,
        watched: Collection[str] = (),
    ) -> None:
        super().__init__(model)
        self.model: SequenceModel = model
        self.loss = loss
        self._row = layout.Row(model)
        rows = self._row.adopt(model)
        self._weights, kind = rows.numpy(), rows.dtype
        self._kernels = cache.load(self._weights.dtype)
        self._first, self._second = _zeros(self._weights.shape, kind), _zeros(self._weights.shape, kind)
        self._iteration = 0
        self._left = 1.0, 1.0  # Adam's decays to the power of the updates done, as products: no library's power
        self._blocks = self._row.blocks()
        names = {parameter: name for name, parameter in model.watched.items()}
        order = [names.get(parameter) for parameter in self._row.places]
        self._watched = {name: place for place, name in enumerate(order) if name in watched}
        self._norms, self._clipped = (np.zeros((self.seeds, len(order))) for _ in range(2))
        self._rules = np.zeros(1, layout.RULES)
        rules = self._rules[0]
        rules["squared"], rules["summed"] = loss is SquaredError, reduction == "sum"
        rules["clip_by"] = layout.NONE if clip is None else CLIP_BY.index(clip_by)
        rules["largest"] = 0.0 if clip is None else clip
        rules["watched"], rules["adam"], rules["lr"] = bool(self._watched), optimizer == "adam", lr
        rules["decay"], rules["decay_second"] = DECAYS
        rules["epsilon"] = EPSILON
        self._plans: dict[tuple[int, int, bool], tuple[np.ndarray, np.ndarray]] = {}
        self._work = _zeros((0,), kind)

    def update(self, rows: Rows) -> Update:
        """Do one update; see `memexp.training.engines.Engine.update`."""
        self._iteration += 1
        self._decay()
        answered = self._run(rows, learn=True)
        norms = {
            f"{what}.{name}": values[:, place].tolist()
            for what, values in (("gradient_norm", self._norms), ("clipped_gradient_norm", self._clipped))
            for name, place in self._watched.items()
        }
        return Update(answered, norms)

    def answer(self, rows: Rows) -> Answered:
        """Answer rows from their start; nothing is learnt."""
        parts = [
            self._run(rows.slice(start, start + ROWS_AT_ONCE), learn=False)[0]
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        return torch.cat(parts, 1), rows.targets, rows.weights

    def values(self, mean: type[Mean], answers: Tensor, targets: Tensor) -> Tensor:
        """Return the values of which a loss or metric is the mean, [S, B, A]."""
        if mean.values is not CrossEntropy.values:
            return mean.values(answers, targets)
        shape, K = answers.shape[:-1], answers.shape[-1]
        classes = np.ascontiguousarray(targets.expand(shape).reshape(-1).numpy(), dtype=np.int64)
        values = np.ones(layout.padded(len(classes)), self._weights.dtype)
        self._kernels.cross_entropies(np.ascontiguousarray(answers.reshape(-1, K).numpy()), classes, values)
        return torch.from_numpy(values[: len(classes)]).view(shape)

    def optimizer_state(self) -> dict[str, Any]:
        """Return Adam's means and the number of updates, for a checkpoint."""
        state = {"first": self._first, "second": self._second}
        tensors = {name: torch.from_numpy(values.copy()) for name, values in state.items()}
        return {"state": {**tensors, "step": torch.tensor(float(self._iteration))}}

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """Take back what `optimizer_state` returned."""
        inner = state["state"]
        self._first[:], self._second[:] = inner["first"].numpy(), inner["second"].numpy()
        self._iteration, self._left = int(inner["step"]), (1.0, 1.0)
        for _ in range(self._iteration):
            self._decay()
        self._iteration = int(inner["step"])

    def _decay(self) -> None:
        self._left = self._left[0] * DECAYS[0], self._left[1] * DECAYS[1]

    def _run(self, rows: Rows, learn: bool) -> Answered:
        inputs = rows.inputs if rows.targets.dim() == 3 else rows.with_seed_axis().inputs
        _, B, L = inputs.shape[:3]
        numbers = inputs.is_floating_point()
        plans, layers = self._plan(B, L, numbers)
        kind = self._weights.dtype
        squared = self.loss is SquaredError
        rules = self._rules[0]
        rules["correction"], rules["correction_second"] = (1.0 - left for left in self._left)
        targets, weights = rows.targets.view(-1, B, rows.targets.shape[-1]), rows.weights
        answers = np.empty((self.seeds, B, int(plans[0]["answers"]), int(plans[0]["outputs"])), kind)
        known = self._kernels.run(
            plans, layers, self._blocks, self._rules, learn, self._weights, self._first, self._second,
            _array(None if numbers else inputs, 3, np.int64), _array(inputs if numbers else None, 4, kind),
            _array(None if squared else targets, 3, np.int64), _array(targets if squared else None, 3, kind),
            _array(weights if weights is None else weights.view(targets.shape), 3, np.float64), self._work,
            answers, self._norms, self._clipped,
        )  # fmt: skip
        if not known:
            raise IndexError(
                f"a symbol is not one of {plans[0]['inputs']}, or a class not one of {plans[0]['outputs']}"
            )
        return torch.from_numpy(answers), rows.targets, rows.weights

    def _plan(self, B: int, L: int, numbers: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the layout for batches of a shape, and see to it that the workspace is large enough."""
        shape = B, L, numbers
        if shape not in self._plans:
            self._plans[shape] = layout.plan(self.model, self._row, *shape)
            needed = int(self._plans[shape][0][0]["end"])
            if needed > len(self._work):
                self._work = _zeros((needed,), torch.from_numpy(self._weights).dtype)
                self._work += np.nan  # what is read before it is written shows
        return self._plans[shape]


def _zeros(shape: tuple[int, ...], kind: torch.dtype) -> np.ndarray:
    """Return zeros that begin where a vector may: torch sees to that, numpy does not, and it is a tenth of the time."""
    return torch.zeros(shape, dtype=kind).numpy()


def _array(tensor: Tensor | None, dimensions: int, kind: Any) -> np.ndarray:
    """Return the numbers of a tensor side by side; of none, an array without numbers."""
    if tensor is None:
        return np.zeros((1,) + (0,) * (dimensions - 1), kind)
    return np.ascontiguousarray(tensor.numpy(), dtype=kind)
