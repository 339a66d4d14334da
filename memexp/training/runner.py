"""The trainer, in the manner of the book's RunnerV3: train, evaluate, predict, save_model, load_model.

One runner trains the S seeds of a model in lockstep. Whatever mixes parameters is done for each seed on its own:
the best checkpoint, the gradient norm, the stop at a loss that is not finite. What is asked, and how an answer is
scored, is the task's affair: the runner gets rows, a loss and metrics. Axis letters as in `memexp.models.cells`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memexp.errors import RecordError
from memexp.results import record
from memexp.results.history import History
from memexp.results.seals import Seal
from memexp.tasks.metrics import Loss, Mean, SequenceAccuracy
from memexp.tasks.task import Rows
from memexp.training import checkpoints
from memexp.training.engines import Answered, Engine
from memexp.training.streak import Streak

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 256  # of one forward pass in evaluation: bounds the memory it takes
UNREAD_UPDATES = 50  # updates whose answers may wait to be scored
UNREAD_NUMBERS = 4_000_000  # and numbers in them

# In a checkpoint, for `memexp.training.extending`:
BEFORE_END = "before_end"  # of a training that has ended: what was otherwise before notes were made because it ended
MIDWAY = "midway"  # an update was done, and what follows it was not
STREAK = "streak"  # where a run has one
ORIGIN = "went_on_from"  # the run whose checkpoint this one began with; in a summary too


def _own(parameter: Tensor) -> Tensor:
    """Copy a parameter, which may be a view of a larger memory, into one of its own."""
    return parameter.detach().clone(memory_format=torch.contiguous_format)


def _sealed(history: History, folder: Path) -> dict[str, Seal]:
    """Return the seals of what a run has written so far while it trains."""
    return {record.HISTORY: history.flush(), **record.seals_of(folder, [record.WRITTEN])}


class Runner:
    """Train and evaluate the S seeds of a model.

    Args:
        engine: does the updates, and answers.
        loss: what training makes small; in the history it is ``loss``.
        metrics: what else is noted, by name; the first one chooses the best weights on dev.
        identity: says which run this is; a checkpoint of another one is refused.
        extras: saved with the weights, for example the vocabulary that they are for.
        streak: training ends once all seeds are there; None where all updates are done.

    Attributes:
        iteration: updates done.
        best_score: [S], the best score on dev so far; -inf or +inf before the first evaluation.
        best_iteration: [S], the update after which it was reached.
        diverged_at: [S], the update whose loss was not finite, or -1.
        seconds: time spent in `train`, over all resumptions.
        origin: the shorter run that this one went on from, if it did.
    """

    def __init__(
        self,
        engine: Engine,
        loss: type[Loss],
        metrics: Sequence[type[Mean]],
        identity: str = "",
        extras: Mapping[str, Tensor] | None = None,
        streak: Streak | None = None,
    ) -> None:
        self.identity, self.extras, self.streak = identity, dict(extras or {}), streak
        self.engine, self.model, self.loss, self.metric = engine, engine.model, loss, metrics[0]
        self._means = {"loss": loss, **{metric.name: metric for metric in metrics}}
        self.device, S = engine.device, engine.seeds
        self.iteration = 0
        self.seconds = 0.0
        self.origin: dict[str, Any] = {}
        worst = -torch.inf if self.metric.higher_is_better else torch.inf
        self.best_score = torch.full((S,), worst, dtype=torch.float64, device=self.device)
        self.best_iteration = torch.full((S,), -1, device=self.device)
        self.diverged_at = torch.full((S,), -1, device=self.device)
        self._best = {name: _own(p) for name, p in self.model.named_parameters()}
        self._running = self._fresh_means()  # over the training rows since the last note in the history
        self._unread: list[Answered] = []  # of updates that are not scored yet
        self._midway = False  # an update was done, and what follows it was not

    def train(
        self,
        batch: Callable[[int], Rows],
        dev: Rows,
        updates: int,
        history: History,
        eval_steps: int,
        log_steps: int,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        progress: Callable[[int], None] = lambda iteration: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train up to ``updates`` updates, from wherever the runner is, or until all seeds have their streak.

        That is seen when answers are scored, up to `UNREAD_UPDATES` later: how many sequences it took is exact.

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
        while self._midway or (self.iteration < updates and self._is_learning() and not self._is_there()):
            if not self._midway:
                self._update(batch(self.iteration), history)
            self._midway = False
            note, look = self.iteration % log_steps == 0, self.iteration % eval_steps == 0
            if note or look or self._is_full():
                self._read_updates()
            last = self.iteration == updates or self._is_there()
            before_end: dict[str, Any] = {}
            if last and checkpoint is not None:
                before_end = self._state_before_end(history, checkpoint.parent, look)
            if last:
                self._read_updates()
            if note or last:
                self._note_training(history)
            if look or last:
                self._evaluate_dev(dev, history)
            self.seconds = spent_before + time.monotonic() - started
            progress(self.iteration)  # before the checkpoint: a run that goes on from it does not report this again
            stop = should_stop()
            ended = last or not self._is_learning()  # no seed is left
            if checkpoint is not None and (ended or stop or time.monotonic() - saved >= checkpoint_seconds):
                self.save_checkpoint(checkpoint, history, {BEFORE_END: before_end} if ended else {})
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt

    def _is_learning(self) -> bool:
        """Say whether a seed is left whose loss was finite, as far as answers were scored."""
        return bool(self._unread) or any(self._active())

    def _is_there(self) -> bool:
        """Say whether every seed has its streak, or none to hope for: its loss was not finite."""
        if self.streak is None:
            return False
        there = self.streak.is_there
        return bool(there.any() and (there | (self.diverged_at >= 0)).all())

    def _is_full(self) -> bool:
        """Say whether so many answers wait that they have to be scored."""
        waiting = len(self._unread)
        return waiting == UNREAD_UPDATES or (waiting > 0 and waiting * self._unread[-1][0].numel() > UNREAD_NUMBERS)

    def _state_before_end(self, history: History, folder: Path, looks: bool) -> dict[str, Any]:
        """Return what the end changes beyond what is due at its update anyway: what a longer run goes on from.

        Args:
            history: up to this update.
            folder: of the run.
            looks: whether dev is scored at this update in any case; then doing so again changes no best weights.
        """
        best = {"best": dict(self._best), "best_score": self.best_score, "best_iteration": self.best_iteration}
        return {
            "running": {name: (mean.total.clone(), mean.count.clone()) for name, mean in self._running.items()},
            "unread": list(self._unread),
            "diverged_at": self.diverged_at,
            record.SEALED: _sealed(history, folder),
            **self._streak_state(),
            **({} if looks else best),
        }

    def _streak_state(self) -> dict[str, Any]:
        return {STREAK: self.streak.state()} if self.streak else {}

    def _fresh_means(self) -> dict[str, Mean]:
        return {name: kind(len(self.best_score), self.device) for name, kind in self._means.items()}

    def _update(self, rows: Rows, history: History) -> None:
        """Do one update; note the norms of its gradients."""
        answered, norms = self.engine.update(rows)
        self.iteration += 1
        for name, values in norms.items():
            history.add(self.iteration, "train", name, values, self._active())
        self._unread.append(answered)

    def _read_updates(self) -> None:
        """Score what the last updates answered, and see whose loss was not finite.

        Done for many updates at once: one by one it would be a tenth of an update's time, and on a GPU a wait.
        """
        if not self._unread:
            return
        first = self.iteration - len(self._unread) + 1
        sizes = torch.tensor([targets.shape[1] for _, targets, _ in self._unread], device=self.device)
        answers = torch.cat([answers for answers, _, _ in self._unread], 1)  # [S, rows of all these updates, A, K]
        targets = torch.cat([targets for _, targets, _ in self._unread], 1)
        weighed = [weights for _, _, weights in self._unread if weights is not None]
        weights = torch.cat(weighed, 1) if weighed else None
        self._unread.clear()
        losses = self.engine.values(self.loss, answers, targets)
        for mean in self._running.values():
            values = (
                losses if type(mean).values is self.loss.values else self.engine.values(type(mean), answers, targets)
            )
            mean.add(values, weights)
        if self.streak is not None:
            values = self.engine.values(self.streak.metric, answers, targets)
            self.streak.add(SequenceAccuracy.weigh(values, weights)[0].squeeze(-1) == 1)
        never = self.iteration + 1
        update = torch.arange(first, never, device=self.device).repeat_interleave(sizes)
        finite = self.engine.values(self.loss, answers, targets).isfinite().all(-1)
        broke = torch.where(finite, never, update).amin(1)  # [S]
        self.diverged_at = torch.where((self.diverged_at < 0) & (broke < never), broke, self.diverged_at)

    def _active(self) -> list[bool]:
        return (self.diverged_at < 0).tolist()

    @torch.no_grad()
    def _note_start(self, rows: Rows, history: History) -> None:
        """Note loss and score of the first batch before the first update."""
        self._score(self._running, self.engine.answer(rows))
        self._note_training(history)

    def _note_training(self, history: History) -> None:
        for name, mean in self._running.items():
            history.add(self.iteration, "train", name, mean.compute().tolist(), self._active())
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
        if self.streak is not None:  # those of a seed are chosen as if it had been trained alone, and ended there
            better &= ~self.streak.is_settled
            self.streak.settle()
        self.best_score = torch.where(better, score, self.best_score)
        self.best_iteration = torch.where(better, self.iteration, self.best_iteration)
        for name, parameter in self.model.named_parameters():
            mask = better.view(-1, *[1] * (parameter.dim() - 1))
            self._best[name] = torch.where(mask, parameter.detach(), self._best[name]).contiguous()

    @torch.no_grad()
    def evaluate(self, rows: Rows) -> dict[str, Tensor]:
        """Return loss and score of each seed on all rows, [S] each. Writes no history."""
        means = self._fresh_means()
        for part in self._parts(rows):
            for answered in self.engine.read(part):
                self._score(means, answered)
        return {name: mean.compute() for name, mean in means.items()}

    def _parts(self, rows: Rows) -> Iterator[Rows]:
        rows = rows.with_seed_axis()
        for start in range(0, len(rows), ROWS_AT_ONCE):
            yield rows.slice(start, start + ROWS_AT_ONCE)

    def _score(self, means: Mapping[str, Mean], answered: Answered) -> None:
        answers, targets, weights = answered
        for mean in means.values():
            mean.add(self.engine.values(type(mean), answers, targets), weights)

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return what the answers of each seed say, see `Loss.predictions`: inputs [B, L] -> [S, B, A, K]."""
        nothing = torch.zeros(1, len(inputs), 1, dtype=torch.long)
        answers, _, _ = self.engine.answer(Rows(inputs[None], nothing))
        return self.loss.predictions(answers)

    @torch.no_grad()
    def right(self, metric: type[Mean], rows: Rows) -> Tensor:
        """Say which rows each seed gets right: all answers that count have the value 1 of a metric, [S, N]."""

        def of(answers: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
            return SequenceAccuracy.weigh(metric.values(answers, targets), weights)[0].squeeze(-1) == 1  # [S, B]

        pieces = ([of(*piece) for piece in self.engine.read(part)] for part in self._parts(rows))
        return torch.cat([torch.stack(right).all(0) for right in pieces], 1)

    def use_best(self) -> None:
        """Put each seed's best weights into the model."""
        self.model.load_state_dict(self._best)

    def save_model(self, path: Path) -> Seal:
        """Save each seed's best weights; return the seal of the file.

        Raises:
            RecordError: they cannot be saved; an earlier file is kept.
        """
        return checkpoints.save(path, {"weights": self._best, **self.extras})

    def load_model(self, path: Path) -> None:
        """Load weights saved by `save_model` into the model.

        Raises:
            RecordError: no, a damaged or a foreign checkpoint, or one of a model of other shapes.
        """
        checkpoints.load_weights(self.model, checkpoints.load(path, "weights", self.device)["weights"], path)

    def save_checkpoint(self, path: Path, history: History, more: Mapping[str, Any] | None = None) -> None:
        """Save all that is needed to go on exactly: weights, optimiser, best weights, position; and more."""
        state: dict[str, Any] = {
            "identity": self.identity,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "weights": {name: _own(p) for name, p in self.model.named_parameters()},
            "optimizer": self.engine.optimizer_state(),
            "best": self._best,
            "best_score": self.best_score,
            "best_iteration": self.best_iteration,
            "diverged_at": self.diverged_at,
            "running": {name: (mean.total, mean.count) for name, mean in self._running.items()},
            "unread": self._unread,
            "carried": self.engine.carried,
            record.SEALED: _sealed(history, path.parent),
            ORIGIN: self.origin,
            **self._streak_state(),
            **(more or {}),
            **self.extras,
        }
        checkpoints.save(path, {"training": state})

    def load_checkpoint(self, path: Path) -> dict[str, Seal]:
        """Go back to where `save_checkpoint` was; return the seals of what the files of the run were at that point.

        Raises:
            RecordError: no, a damaged or a foreign checkpoint, or one of another run.
        """
        state = checkpoints.load(path, "training", self.device)["training"]
        if state.get("identity") != self.identity:
            raise RecordError(f"{path} is of another run; move it away to train this one from the start")
        try:
            self._restore(state, path)
            if record.SEALED not in state:  # as memexp wrote it before it sealed
                log.warning("%s is of a memexp that did not seal: damage in %s may not be seen", path, record.HISTORY)
                return {record.HISTORY: [int(state["history_bytes"]), ""]}
            sealed: dict[str, Seal] = state[record.SEALED]
            return sealed
        except (KeyError, ValueError, TypeError) as error:
            raise RecordError(
                f"{path} was written by another version of memexp ({type(error).__name__}: {error}); "
                "move it away to train from the start"
            ) from error

    def _restore(self, state: Mapping[str, Any], path: Path) -> None:
        checkpoints.load_weights(self.model, state["weights"], path)
        self.engine.load_optimizer_state(state["optimizer"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self._best, self.best_score = state["best"], state["best_score"]
        self.best_iteration, self.diverged_at = state["best_iteration"], state["diverged_at"]
        for name, mean in self._running.items():
            mean.total, mean.count = state["running"][name]
        self._unread, self.engine.carried = state["unread"], state["carried"]
        self._midway, self.origin = state.get(MIDWAY, False), state.get(ORIGIN, {})
        if self.streak is not None:
            self.streak.load_state(state[STREAK])
