from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Generator, Tensor

from memexp.tasks.sampled import FRESH_BLOCK, SampledTask
from memexp.tasks.task import Interface, Rows

S, B, L, V, A = 2, 3, 5, 6, 4
SEEDS = [0, 7]
ROWS = {"train": 8, "dev": 6, "test": 1}

OPTIONS = pytest.mark.parametrize("options", [{}, {"sampling": "fresh"}, {"shuffle": True}], ids=str)


@dataclass(kw_only=True, eq=False)
class Echo(SampledTask):
    """Random numbers [N, L, V], or symbols, to be said again: targets and weights are made of them."""

    symbols: bool = False

    @property
    def interface(self) -> Interface:
        return Interface(V, 1, every_step=False, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        if self.symbols:
            inputs = torch.randint(100, (rows, self.length), generator=draw)
            targets = inputs[:, :A]
        else:
            inputs = torch.rand(rows, self.length, V, generator=draw)
            targets = inputs[:, :A, 1]
        return Rows(inputs, targets, weights_of(targets))

    def rows(self, split: str) -> Rows:
        return self.drawn_once(split, ROWS[split])


def weights_of(targets: Tensor) -> Tensor:
    return targets.double() + 1


def task(folder: Path, **options: object) -> Echo:
    given = {"length": L, "seeds": SEEDS, "batch_size": B, "folder": folder}
    return Echo(**{**given, "sampling": "fixed", "shuffle": False, "data_seed": 0, **options})


def assert_equal(one: Rows, other: Rows) -> None:
    for name in ("inputs", "targets", "weights"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_the_rows_of_a_split_are_drawn_once_and_depend_on_the_data_seed_and_the_split_alone(tmp_path: Path):
    own, others = task(tmp_path), task(tmp_path, seeds=[3], sampling="fresh", batch_size=2)
    for split, number in ROWS.items():
        rows = own.rows(split)
        assert (len(rows), rows.inputs.shape) == (number, (number, L, V))
        assert own.rows(split) is rows
        assert_equal(rows, others.rows(split))
        assert not torch.equal(rows.inputs, task(tmp_path, data_seed=1).rows(split).inputs)
    assert not torch.equal(own.rows("train").inputs[:6], own.rows("dev").inputs)
    assert own.updates_per_epoch == 3  # 8 rows, 3 at a time


def test_fixed_batches_are_the_rows_in_order_the_same_for_every_seed(tmp_path: Path):
    own = task(tmp_path)
    train = own.rows("train")
    for epoch in (0, 1, 5):
        for place, (start, stop) in enumerate([(0, 3), (3, 6), (6, 8)]):
            rows = own.batch(3 * epoch + place)
            assert rows.inputs.shape == (1, stop - start, L, V)
            assert_equal(rows, train.slice(start, stop).with_seed_axis())


def test_shuffled_epochs_are_all_rows_in_an_order_of_their_own(tmp_path: Path):
    own = task(tmp_path, shuffle=True)
    train = own.rows("train").targets[:, 0]
    orders = set()
    for epoch in range(4):
        batches = [own.batch(3 * epoch + place) for place in range(3)]
        assert [rows.inputs.shape for rows in batches] == [(S, size, L, V) for size in (3, 3, 2)]
        for rows in batches:
            assert torch.equal(rows.targets, rows.inputs[:, :, :A, 1])
            assert torch.equal(rows.weights, weights_of(rows.targets))
        firsts = torch.cat([rows.targets[..., 0] for rows in batches], 1)
        for own_firsts in firsts:
            assert sorted(own_firsts.tolist()) == sorted(train.tolist())
            orders.add(tuple(own_firsts.tolist()))
    assert len(orders) == 4 * S


@pytest.mark.parametrize("symbols", [False, True])
def test_fresh_rows_are_never_seen_again(tmp_path: Path, symbols: bool):
    own = task(tmp_path, sampling="fresh", symbols=symbols)
    seen = {tuple(row.flatten().tolist()) for row in own.rows("train").inputs}
    batches = [own.batch(iteration) for iteration in (0, 1, FRESH_BLOCK - 1, FRESH_BLOCK, FRESH_BLOCK + 1)]
    for rows in batches:
        assert rows.inputs.shape == ((S, B, L) if symbols else (S, B, L, V))
        assert rows.targets.shape == rows.weights.shape == (S, B, A)
        assert torch.equal(rows.weights, weights_of(rows.targets))
        seen |= {tuple(row.flatten().tolist()) for row in rows.inputs.flatten(0, 1)}
    assert len(seen) == ROWS["train"] + len(batches) * S * B


@OPTIONS
def test_a_seed_sees_the_same_alone_and_in_a_group(tmp_path: Path, options: dict[str, object]):
    group, alone = task(tmp_path, **options), task(tmp_path, seeds=[7], **options)
    for iteration in range(2 * FRESH_BLOCK + 2):
        rows, own = group.batch(iteration), alone.batch(iteration)
        k = 1 if len(rows.targets) > 1 else 0
        for name in ("inputs", "targets", "weights"):
            assert torch.equal(getattr(rows, name)[k], getattr(own, name)[0])


@OPTIONS
def test_a_batch_is_a_function_of_the_update_alone(tmp_path: Path, options: dict[str, object]):
    """In any order, after any restart; the rows of the splits are drawn in between."""
    forwards, jumping = task(tmp_path, **options), task(tmp_path, **options)
    batches = [forwards.batch(iteration) for iteration in range(2 * FRESH_BLOCK + 2)]
    for iteration in (2 * FRESH_BLOCK + 1, 5, FRESH_BLOCK, FRESH_BLOCK - 1, 4, 5):
        jumping.rows("dev")
        assert_equal(jumping.batch(iteration), batches[iteration])
        assert_equal(task(tmp_path, **options).batch(iteration), batches[iteration])


@pytest.mark.parametrize("options", [{"sampling": "fresh"}, {"shuffle": True}], ids=str)
def test_the_data_seed_says_nothing_of_what_a_seed_draws_or_shuffles(tmp_path: Path, options: dict[str, object]):
    one, other = (task(tmp_path, data_seed=data_seed, **options) for data_seed in (0, 4))
    for iteration in (0, 4):
        if "sampling" in options:
            assert_equal(one.batch(iteration), other.batch(iteration))
        else:
            orders = [
                (own.batch(iteration).targets[:, :, None, 0] == own.rows("train").targets[:, 0]).nonzero()
                for own in (one, other)
            ]
            assert torch.equal(*orders)


def test_an_order_of_rows_that_are_always_new_is_refused():
    def complaint(sampling: str, shuffle: bool) -> str | None:
        return SampledTask.rule(OmegaConf.create({"task": {"sampling": sampling, "shuffle": shuffle}}))

    assert complaint("fresh", True).startswith("task.shuffle=true does nothing with task.sampling=fresh")
    assert [complaint("fresh", False), complaint("fixed", True), complaint("fixed", False)] == [None] * 3
