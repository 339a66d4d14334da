"""The trainer, in the manner of the book's RunnerV3: train, evaluate, predict, save_model, load_model.

One runner trains the S seeds of a model in lockstep. Whatever mixes parameters is done for each seed on its own:
the best checkpoint, the gradient norm, the stop at a loss that is not finite. Axis letters as in `memexp.models.cells`.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from memexp.errors import RecordError
from memexp.tasks.metrics import Accuracy, CrossEntropy, Mean
from memexp.tasks.task import Rows
from memexp.training import checkpoints

EVALUATION_ROWS = 256  # rows of one forward pass in evaluation: bounds the memory it takes
UNREAD_UPDATES = 50  # updates whose answers may wait to be scored
UNREAD_NUMBERS = 4_000_000  # and numbers in them


class History(Protocol):
    """Where the runner writes down how training goes; `memexp.results.record.History` is a CSV file."""

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        """Note a value for each seed that is still active."""
        ...

    def flush(self) -> int:
        """Put everything on disk; return the size of the file, in bytes."""
        ...


def clip_gradients(parameters: list[nn.Parameter], largest: float, by: str = "global") -> None:
    """Scale down the gradients of each seed that are too large (6.2.2).

    Args:
        parameters: with gradients [S, ...].
        largest: what is allowed.
        by: ``global``: the L2 norm over all parameters of a seed (as torch); ``tensor``: that of each parameter (the
            book); ``value``: the size of every single number, which changes the gradient's direction too.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if by == "value":
        for gradient in gradients:
            gradient.clamp_(-largest, largest)
        return
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients])  # [parameters, S]
    norms = (squares.sum(0, keepdim=True) if by == "global" else squares).sqrt().expand_as(squares)
    for gradient, norm in zip(gradients, norms, strict=True):
        scale = (largest / (norm + 1e-6)).clamp(max=1)
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def gradient_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, list[float]]:
    """Return the L2 norm of each parameter's gradient, for each seed."""
    return {name: p.grad.flatten(1).norm(dim=1).tolist() for name, p in parameters.items() if p.grad is not None}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights of a checkpoint at ``path`` into a model.

    Raises:
        RecordError: they are those of a model of other shapes; the first difference is named.
    """
    own = {name: tuple(p.shape) for name, p in model.named_parameters()}
    other = {name: tuple(p.shape) for name, p in weights.items()}
    differing = sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))
    if differing:
        name, _, part = differing[0], *differing[0].rpartition("cell.")[1:]
        # Two conventions of a cell differ in one of its tensors, in every layer, and in nothing else.
        conventions = part != name and all(n.endswith(f"cell.{part}") and (n in own) != (n in other) for n in differing)
        hint = getattr(getattr(model, "cell", None), "loading_hint", "") if conventions else ""
        raise RecordError(
            f"{path} is of another model: {name} is {other.get(name, 'missing')} there, "
            f"{own.get(name, 'missing')} in this one{hint and f'; {hint}'}"
        )
    model.load_state_dict(weights)


class Runner:
    """Train and evaluate the S seeds of a model.

    Args:
        model: maps tokens [S or 1, B, L] to logits [S, B, K]; its parameters have a leading axis S.
        optimizer: over the model's parameters.
        metric: chooses the best weights on dev.
        reduction: the loss of a batch is the ``mean`` over its rows, or their ``sum``.
        clip: clip gradients to this; None for no clipping.
        clip_by: see `clip_gradients`.
        watched: parameters whose gradients' norms are noted at every update, as ``gradient_norm.<name>`` and
            ``clipped_gradient_norm.<name>``.
        identity: says which run this is; a checkpoint of another one is refused.
        extras: saved with the weights, for example the vocabulary that they are for.

    Attributes:
        iteration: updates done.
        best_score: [S], the best score on dev so far; -inf or +inf before the first evaluation.
        best_iteration: [S], the update after which it was reached.
        diverged_at: [S], the update whose loss was not finite, or -1.
        seconds: time spent in `train`, over all resumptions.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        metric: type[Mean] = Accuracy,
        reduction: str = "mean",
        clip: float | None = None,
        clip_by: str = "global",
        watched: Mapping[str, nn.Parameter] | None = None,
        identity: str = "",
        extras: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.identity, self.extras = identity, dict(extras or {})
        self.model, self.optimizer, self.metric = model, optimizer, metric
        self.reduction, self.clip, self.clip_by = reduction, clip, clip_by
        self.watched = watched or {}
        self._parameters = list(model.parameters())
        self.device, S = self._parameters[0].device, self._parameters[0].shape[0]
        self.iteration = 0
        self.seconds = 0.0
        worst = -torch.inf if metric.higher_is_better else torch.inf
        self.best_score = torch.full((S,), worst, dtype=torch.float64, device=self.device)
        self.best_iteration = torch.full((S,), -1, device=self.device)
        self.diverged_at = torch.full((S,), -1, device=self.device)
        self._best = {name: p.detach().clone() for name, p in model.named_parameters()}
        # over the training rows since the last note in the history
        self._running: list[Mean] = [CrossEntropy(S, self.device), metric(S, self.device)]
        self._unread: list[tuple[Tensor, Tensor]] = []  # logits [S, B, K] and targets of updates not scored yet
        self._carried: list[tuple[Tensor, ...]] | None = None  # the state that the next rows may go on from

    def train(
        self,
        batch: Callable[[int], Rows],
        dev: Rows,
        updates: int,
        history: History,
        eval_steps: int = 100,
        log_steps: int = 100,
        checkpoint: Path | None = None,
        checkpoint_seconds: float = 10.0,
        progress: Callable[[int], None] = lambda iteration: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train up to ``updates`` updates, from wherever the runner is.

        Args:
            batch: the rows of update 0, 1, ...; a pure function.
            dev: the rows that choose the best weights.
            updates: when to stop.
            history: gets train loss and score every ``log_steps`` (mean over the rows since the last note), and dev
                loss and score every ``eval_steps``; both at update 0 and at the last one too.
            eval_steps: updates between two evaluations on dev.
            log_steps: updates between two notes of the training rows.
            checkpoint: file from which an interrupted training goes on (see `load_checkpoint`); None for none.
            checkpoint_seconds: at least this long between two checkpoints.
            progress: called with the number of updates done, after each.
            should_stop: asked after each update; if so, a checkpoint is saved and KeyboardInterrupt raised.

        Raises:
            KeyboardInterrupt: `should_stop` said so.
            RecordError: a checkpoint cannot be saved.
        """
        started, spent_before = time.monotonic(), self.seconds
        saved = started
        if self.iteration == 0:
            self._note_start(batch(0), history)
            self._evaluate_dev(dev, history)
        while self.iteration < updates and (self._unread or any(self._active())):
            self._update(batch(self.iteration), history)
            last = self.iteration == updates
            note, look = last or self.iteration % log_steps == 0, last or self.iteration % eval_steps == 0
            waiting = len(self._unread) * self._unread[-1][0].numel()
            if note or look or len(self._unread) == UNREAD_UPDATES or waiting > UNREAD_NUMBERS:
                self._read_updates()
            if note:
                self._note_training(history)
            if look:
                self._evaluate_dev(dev, history)
            self.seconds = spent_before + time.monotonic() - started
            progress(self.iteration)  # before the checkpoint: a run that goes on from it does not report this again
            stop = should_stop()
            if checkpoint is not None and (last or stop or time.monotonic() - saved >= checkpoint_seconds):
                self.save_checkpoint(checkpoint, history)
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt

    def _update(self, rows: Rows, history: History) -> None:
        """Do one update; the losses of the seeds are summed, so that their gradients stay apart."""
        rows = rows.to(self.device)
        for parameter in self._parameters:
            parameter.grad = None
        logits, targets = self._answer(rows)
        nats = CrossEntropy.rowwise(logits, targets)  # [S, B]
        rows_of_a_seed = nats.shape[1] if self.reduction == "mean" else 1
        (nats.sum() / rows_of_a_seed).backward()  # type: ignore[no-untyped-call]
        self._note_gradients("gradient_norm", history)
        if self.clip is not None:
            clip_gradients(self._parameters, self.clip, self.clip_by)
        self._note_gradients("clipped_gradient_norm", history)
        self.optimizer.step()
        self.iteration += 1
        self._unread.append((logits.detach(), targets))

    def _answer(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return logits [S, B, K] and targets [S, B]; where every step is asked, B counts all steps of all rows."""
        if rows.continues is None:
            logits = self.model(rows.inputs)
        else:
            before = self._carried if rows.continues else None
            logits, states = self.model.answer(rows.inputs, before)  # type: ignore[operator]
            self._carried = [tuple(part.detach() for part in state) for state in states]
        return (logits.flatten(1, 2), rows.targets.flatten(1)) if rows.every_step else (logits, rows.targets)

    def _note_gradients(self, what: str, history: History) -> None:
        for name, norms in gradient_norms(self.watched).items():
            history.add(self.iteration + 1, "train", f"{what}.{name}", norms, self._active())

    def _read_updates(self) -> None:
        """Score what the last updates answered, and see whose loss was not finite.

        Done for many updates at once: one by one it would be a tenth of an update's time, and on a GPU a wait.
        """
        if not self._unread:
            return
        first = self.iteration - len(self._unread) + 1
        sizes = torch.tensor([targets.shape[1] for _, targets in self._unread], device=self.device)
        logits = torch.cat([logits for logits, _ in self._unread], 1)  # [S, rows of all these updates, K]
        targets = torch.cat([targets for _, targets in self._unread], 1)
        self._unread.clear()
        for mean in self._running:
            mean.update(logits, targets)
        never = self.iteration + 1
        update = torch.arange(first, never, device=self.device).repeat_interleave(sizes)
        finite = CrossEntropy.rowwise(logits, targets).isfinite()
        broke = torch.where(finite, never, update).amin(1)  # [S]
        self.diverged_at = torch.where((self.diverged_at < 0) & (broke < never), broke, self.diverged_at)

    def _active(self) -> list[bool]:
        return (self.diverged_at < 0).tolist()

    @torch.no_grad()
    def _note_start(self, rows: Rows, history: History) -> None:
        """Note loss and score of the first batch before the first update."""
        logits, targets = self._answer(rows.to(self.device))
        for mean in self._running:
            mean.update(logits, targets)
        self._note_training(history)

    def _note_training(self, history: History) -> None:
        for mean in self._running:
            history.add(self.iteration, "train", mean.name, mean.compute().tolist(), self._active())
            mean.reset()

    def _evaluate_dev(self, dev: Rows, history: History) -> None:
        """Evaluate on dev, note it, and keep the weights of each seed that is better than ever before."""
        scores = self.evaluate(dev)
        active = self._active()
        for name, values in scores.items():
            history.add(self.iteration, "dev", name, values.tolist(), active)
        score = scores[self.metric.name]
        better = score > self.best_score if self.metric.higher_is_better else score < self.best_score
        better &= self.diverged_at < 0
        self.best_score = torch.where(better, score, self.best_score)
        self.best_iteration = torch.where(better, self.iteration, self.best_iteration)
        for name, parameter in self.model.named_parameters():
            mask = better.view(-1, *[1] * (parameter.dim() - 1))
            self._best[name] = torch.where(mask, parameter.detach(), self._best[name])

    @torch.no_grad()
    def evaluate(self, rows: Rows) -> dict[str, Tensor]:
        """Return loss and score of each seed on all rows, [S] each. Writes no history."""
        rows = rows.with_seed_axis()
        means: list[Mean] = [CrossEntropy(len(self.best_score), self.device)]
        means.append(self.metric(len(self.best_score), self.device))
        for start in range(0, len(rows), EVALUATION_ROWS):
            part = rows.slice(start, start + EVALUATION_ROWS).to(self.device)
            logits, targets = self._answer(part)
            weights = part.weights
            if weights is not None and part.every_step:  # a row's weight, spread over its steps
                weights = weights.repeat_interleave(part.targets.shape[-1]) / part.targets.shape[-1]
            for mean in means:
                mean.update(logits, targets, weights)
        return {mean.name: mean.compute() for mean in means}

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the class probabilities of each seed: inputs [B, L] -> [S, B, K]."""
        logits: Tensor = self.model(inputs[None].to(self.device))
        return logits.softmax(-1)

    def use_best(self) -> None:
        """Put each seed's best weights into the model."""
        self.model.load_state_dict(self._best)

    def save_model(self, path: Path) -> None:
        """Save each seed's best weights.

        Raises:
            RecordError: they cannot be saved; an earlier file is kept.
        """
        checkpoints.save(path, {"weights": self._best, **self.extras})

    def load_model(self, path: Path) -> None:
        """Load weights saved by `save_model` into the model.

        Raises:
            RecordError: no, a damaged or a foreign checkpoint, or one of a model of other shapes.
        """
        load_weights(self.model, checkpoints.load(path, "weights", self.device)["weights"], path)

    def save_checkpoint(self, path: Path, history: History) -> None:
        """Save all that is needed to go on exactly: weights, optimiser, best weights, position."""
        state: dict[str, Any] = {
            "identity": self.identity,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self._best,
            "best_score": self.best_score,
            "best_iteration": self.best_iteration,
            "diverged_at": self.diverged_at,
            "running": [(mean.total, mean.count) for mean in self._running],
            "unread": self._unread,
            "carried": self._carried,
            "history_bytes": history.flush(),
            **self.extras,
        }
        checkpoints.save(path, {"training": state})

    def load_checkpoint(self, path: Path) -> int:
        """Go back to where `save_checkpoint` was; return how many bytes of the history belong to that point.

        Raises:
            RecordError: no, a damaged or a foreign checkpoint, or one of another run.
        """
        state = checkpoints.load(path, "training", self.device)["training"]
        if state.get("identity") != self.identity:
            raise RecordError(f"{path} is of another run; delete the run's folder to train it anew")
        try:
            self._restore(state, path)
            return int(state["history_bytes"])
        except (KeyError, ValueError, TypeError) as error:
            raise RecordError(
                f"{path} was written by another version of memexp ({type(error).__name__}: {error}); "
                "delete the run's folder to train it anew"
            ) from error

    def _restore(self, state: Mapping[str, Any], path: Path) -> None:
        load_weights(self.model, state["weights"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self._best, self.best_score = state["best"], state["best_score"]
        self.best_iteration, self.diverged_at = state["best_iteration"], state["diverged_at"]
        for mean, (total, count) in zip(self._running, state["running"], strict=True):
            mean.total, mean.count = total, count
        self._unread, self._carried = state["unread"], state["carried"]
