"""Tasks whose rows can be drawn: new ones at every update, or the same ones in every epoch."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from omegaconf import DictConfig
from torch import Generator

from memexp.fields import ranged
from memexp.tasks.task import Rows, Task, generator, stack

FRESH_BLOCK = 100  # updates whose rows are drawn at once: one draw of many rows costs what a draw of few does


@dataclass(kw_only=True, eq=False)
class SampledTask(Task):
    """A task that says how to draw rows; see `Task`.

    Args:
        sampling: ``fixed`` trains on the rows of the split ``train``, ``fresh`` draws new rows for every update.
        shuffle: for ``fixed``, a new order of the training rows in every epoch.
        data_seed: another number gives other fixed rows.
    """

    sampling: str = ranged(one_of=("fixed", "fresh"))
    shuffle: bool
    data_seed: int = ranged(0)

    _block: tuple[int, Rows] | None = field(default=None, init=False, repr=False)  # the rows drawn last, and what for
    _kept: dict[tuple[str, int], Rows] = field(default_factory=dict, init=False, repr=False)

    @abstractmethod
    def draw(self, rows: int, draw: Generator) -> Rows:
        """Draw so many rows from the task's distribution."""

    def drawn_once(self, split: str, rows: int) -> Rows:
        """Return the fixed rows of a split: they depend on the data seed and the split alone."""
        kept = self._kept.get((split, rows))
        if kept is None:
            kept = self._kept[split, rows] = self.draw(rows, generator(self.data_seed, f"rows/{split}", 0))
        return kept

    def batch(self, iteration: int) -> Rows:
        """Return the training rows of update ``iteration``: a pure function of the iteration (see `Task.batch`)."""
        B = self.batch_size
        if self.sampling == "fresh":
            block, place = divmod(iteration, FRESH_BLOCK)
            if self._block is None or self._block[0] != block:
                self._block = block, stack([self._fresh(seed, block) for seed in self.seeds])
            return self._block[1].slice(place * B, (place + 1) * B)
        epoch, place = divmod(iteration, self.updates_per_epoch)
        if not self.shuffle:
            return self.rows("train").with_seed_axis().slice(place * B, (place + 1) * B)
        if self._block is None or self._block[0] != epoch:
            self._block = epoch, stack([self._permuted(seed, epoch) for seed in self.seeds])
        return self._block[1].slice(place * B, (place + 1) * B)

    def _fresh(self, seed: int, block: int) -> Rows:
        return self.draw(FRESH_BLOCK * self.batch_size, generator(seed, "fresh", block))

    def _permuted(self, seed: int, epoch: int) -> Rows:
        train = self.rows("train")
        order = torch.randperm(len(train), generator=generator(seed, "shuffle", epoch))
        return train.take(order)

    @classmethod
    def rule(cls, config: DictConfig) -> str | None:
        """Refuse an order of rows that are new at every update."""
        if config.task.shuffle and config.task.sampling == "fresh":
            return "task.shuffle=true does nothing with task.sampling=fresh, whose rows are new at every update"
        return None
