"""Every mistake that a cell or task of a user's own is tried for, each made once."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import config_of
from torch import Tensor, nn

from memexp import contract
from memexp.errors import ConfigError
from memexp.models import LSTM, SRN, Cell
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Rows, Task

D = 4


class Plain(Cell):
    """An SRN of a user's own: nothing is wrong with it."""

    gates = ("candidate",)

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> Any:
        h = torch.tanh(x + self.recurrent(state[0])).squeeze(1)
        return (h,), {"hidden_state": h}


def plain(**members: Any) -> Cell:
    """A cell that differs from `Plain` in some members, of two seeds, with weights."""
    cell = type("Own", (Plain,), members)(2, 3, D)
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return cell


def step(change: Callable[[Tensor], Tensor] = lambda h: h, **parts: Tensor) -> Callable[..., Any]:
    def own(self: Cell, x: Tensor, state: tuple[Tensor, ...]) -> Any:
        (h,), _ = Plain.step(self, x, state)
        h = change(h)
        return (h,), {"hidden_state": h, **parts}

    return own


def with_buffer(self: Cell, seeds: int, input_size: int, hidden_size: int) -> None:
    Plain.__init__(self, seeds, input_size, hidden_size)
    self.register_buffer("mask", torch.ones(hidden_size))


def with_parameter(shape: tuple[int, ...]) -> Callable[..., None]:
    def init(self: Cell, seeds: int, input_size: int, hidden_size: int) -> None:
        Plain.__init__(self, seeds, input_size, hidden_size)
        self.extra = nn.Parameter(torch.zeros(shape))

    return init


@pytest.mark.parametrize("cell", [plain(), SRN(2, 3, D), LSTM(2, 3, D, "none")])
def test_a_cell_that_keeps_to_it(cell: Cell):
    contract.check_cell(cell)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"step": step(lambda h: h + torch.randn(D))}, "draws random numbers; the same seed would give other results"),
        ({"step": step(lambda h: h - h.mean())}, "mixes seeds: hidden_state of the first one changes with the others"),
        ({"step": step(lambda h: h - h.mean(1, keepdim=True))}, "mixes rows: hidden_state of the first one"),
        ({"step": step(lambda h: h[:, :3])}, r"state hidden_state is \[2, 3, 4\]; .*here \[2, 5, 4\]"),
        ({"step": step(gate=torch.zeros(2, 5))}, r"part gate is \[2, 5\]; it must be \[S, B, D\]"),
        ({"step": step(gate=3)}, "part gate is int; it must be"),
        ({"step": lambda self, x, state: ((state[0],), {"other": state[0]})}, "part hidden_state too; it has other"),
        (
            {"step": lambda self, x, state: ((state[0] + 1,), {"hidden_state": state[0]})},
            "must return its first state as the part hidden_state too",
        ),
        ({"states": ("hidden_state", "cell_state")}, "returns 1 states; states has 2: hidden_state, cell_state"),
        (
            {"roles": {**Cell.roles, "b": "biass"}},
            "roles has b: biass; give a parameter, and one of ",
        ),
        ({"roles": {**Cell.roles, "c": "bias"}}, "roles has c: bias; give a parameter"),
        ({"__init__": with_parameter((D,))}, r"parameter extra has the shape \[4\]; the first axis must be the seeds"),
        ({"__init__": with_parameter(())}, r"parameter extra has the shape \[\]"),
        ({"__init__": with_buffer}, r"its buffer mask is none of its weights; .*persistent=False"),
        ({"run": lambda self, x, state: (x[:, 0], state)}, "run gives other numbers than step"),
    ],
)
def test_each_mistake_of_a_cell_is_named(members: dict[str, Any], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        contract.check_cell(plain(**members))


@dataclasses.dataclass(kw_only=True, eq=False)
class OwnTask(Task):
    """Is the first of 3 symbols a 2? Nothing is wrong with it."""

    interface: ClassVar[Interface] = Interface(3, 2, False, 4)
    symbols: ClassVar[Tensor] = torch.tensor([[[0, 1, 2, 0], [2, 1, 0, 1]]])
    targets: ClassVar[Tensor] = torch.tensor([[[0], [1]]])
    weights: ClassVar[Tensor | None] = None

    def batch(self, iteration: int) -> Rows:
        return Rows(self.symbols, self.targets, self.weights)

    def rows(self, split: str) -> Rows:
        weights = None if self.weights is None else self.weights[0]
        return Rows(self.symbols[0], self.targets[0], weights)


def drawn(self: Task, iteration: int) -> Rows:
    return Rows(torch.randint(3, (1, 2, 4)), torch.tensor([[[0], [1]]]))


def unread(config: Any, about: Any) -> Any:
    raise KeyError("vocabulary")


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({}, None),
        ({"batch": drawn}, r"batch\(0\) gives other rows the second time; draw them with tasks.task.generator"),
        ({"symbols": OwnTask.symbols + 1}, r"batch\(0\) has symbols outside of 0..2"),
        ({"symbols": OwnTask.symbols[..., None] * torch.ones(2)}, r"has 2 numbers a time step; its interface says 3"),
        ({"targets": OwnTask.targets * 2}, "has targets outside of 0..1"),
        ({"targets": OwnTask.targets.expand(1, 2, 4)}, "has 4 targets a row; its interface asks for 1"),
        ({"weights": torch.ones(1, 2, 3)}, r"has weights \[1, 2, 3\], targets \[1, 2, 1\]"),
        ({"batch": lambda self, iteration: self.rows("train")}, r"batch\(0\) has no axis of the seeds"),
    ],
)
def test_each_mistake_of_a_task_is_named(tmp_path: Path, members: dict[str, Any], complaint: str | None):
    kind = type("Own", (OwnTask,), members)
    task, again = (kind(length=4, seeds=[0, 1], batch_size=2, folder=tmp_path) for _ in range(2))
    if complaint is None:
        contract.check_task(task, again, config_of())
        return
    with pytest.raises(ConfigError, match=complaint):
        contract.check_task(task, again, config_of())


class Loose(SampledTask):
    """Draws with torch's own numbers, not with those that it is given; what it drew it keeps."""

    interface = Interface(3, 2, False, 4)
    dev_rows = test_rows = 6

    def draw(self, rows: int, draw: Any) -> Rows:
        return Rows(torch.randint(3, (rows, 4)), torch.zeros(rows, 1, dtype=torch.long))

    def rows(self, split: str) -> Rows:
        return self.drawn_once(split, 6)


def test_a_task_that_keeps_what_it_drew_at_random_is_found_out(tmp_path: Path):
    given = {"sampling": "fresh", "shuffle": False, "data_seed": 0}
    own = [Loose(length=4, seeds=[0], batch_size=2, folder=tmp_path, **given) for _ in range(2)]
    with pytest.raises(ConfigError, match="gives other rows the second time"):
        contract.check_task(*own, config_of())


class Broken(Plain):
    """Fails in its step, as a user's code may."""

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> Any:
        raise IndexError("of the\nuser's making")


def test_whatever_fails_is_one_line_with_the_class(monkeypatch: pytest.MonkeyPatch):
    config = config_of()
    config.model._target_ = f"{__name__}.Broken"
    said = rf"^{__name__}.Broken fails: IndexError: of the user's making$"
    with pytest.raises(ConfigError, match=said), contract.named(config, "model"):
        contract.check_cell(Broken(2, 3, D))


def test_of_memexps_own_classes_nothing_is_changed():
    with pytest.raises(KeyError), contract.named(config_of(), "model"):
        raise KeyError("as it is")
