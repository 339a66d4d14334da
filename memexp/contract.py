"""What a cell and a task of a user's own must keep to: tried once before a run, so that a mistake is one line.

A mistake of this kind would else end a run with a traceback, or not at all: a step that mixes seeds or draws random
numbers trains well, and its results are wrong. Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig
from torch import Tensor

from memexp.config import class_of, sources
from memexp.errors import ConfigError, MemexpError
from memexp.models.cells import Cell, State
from memexp.models.initialisers import ROLES
from memexp.models.networks import SequenceModel, random_numbers
from memexp.tasks.task import Interface, Rows, Task

STEPS, BATCH = 3, 5  # L and B of what is tried


def check(
    config: DictConfig,
    task: Task,
    build_task: Callable[[DictConfig], Task],
    build_model: Callable[[DictConfig, Interface], SequenceModel],
) -> None:
    """Try the classes of a run that are not memexp's.

    Args:
        config: of the run, checked.
        task: as it asks for.
        build_task: builds it once more.
        build_model: builds its model.

    Raises:
        ConfigError: one does not keep to what it must; what it should be is said.
    """
    own = sources(config)
    if "task" in own:
        with named(config, "task"):
            check_task(task, build_task(config), config)
    if "model" in own:
        with named(config, "model"):
            model = build_model(DictConfig({**config, "seeds": [0, 1]}), task.interface)
            check_cell(model.cell)
            model(task.batch(0).slice(0, BATCH).inputs[:1, :, :STEPS]).sum().backward()


@contextmanager
def named(config: DictConfig, node: str) -> Iterator[None]:
    """Name the class of ``task`` or ``model``, if it is a user's own, in whatever goes wrong within."""
    if node not in sources(config):
        yield
        return
    kind = class_of(config[node], node)
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        yield
    except MemexpError as error:
        raise ConfigError(f"{name}: {error}") from error
    except Exception as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())
        raise ConfigError(f"{name} fails: {type(error).__name__}: {reason}") from error


def check_cell(cell: Cell) -> None:
    """Try one step of a cell with two seeds or more.

    Raises:
        ConfigError: a parameter without the axis S or with a role that is none; a state or part that is missing or of
            another shape; seeds or rows that are mixed; random numbers in `Cell.step`; a `Cell.run` that is not what
            `Cell.step` computes.
    """
    S, D = cell.W.shape[0], cell.hidden_size
    for name, parameter in cell.named_parameters():
        if parameter.dim() == 0 or parameter.shape[0] != S:
            raise ConfigError(
                f"its parameter {name} has the shape {[*parameter.shape]}; the first axis must be the seeds"
            )
    kept = [name for name in cell.state_dict() if name not in dict(cell.named_parameters())]
    if kept:
        raise ConfigError(f"its buffer {kept[0]} is none of its weights; give register_buffer(..., persistent=False)")
    for name, role in cell.roles.items():
        if role not in ROLES or not hasattr(cell, name):
            raise ConfigError(f"roles has {name}: {role}; give a parameter, and one of {', '.join(ROLES)}")
    with random_numbers(0):
        x = torch.randn(S, len(cell.gates), BATCH, D)
        state = tuple(torch.randn(S, BATCH, D) for _ in cell.states)
    before = torch.get_rng_state()
    after, parts = cell.step(x, state)
    if not torch.equal(before, torch.get_rng_state()):
        raise ConfigError("step draws random numbers; the same seed would give other results each time")
    if len(after) != len(cell.states):
        raise ConfigError(f"step returns {len(after)} states; states has {len(cell.states)}: {', '.join(cell.states)}")
    for kind, found in (("state", dict(zip(cell.states, after, strict=True))), ("part", parts)):
        for name, value in found.items():
            if not isinstance(value, Tensor) or value.shape != (S, BATCH, D):
                shape = [*value.shape] if isinstance(value, Tensor) else type(value).__name__
                raise ConfigError(f"the {kind} {name} is {shape}; it must be [S, B, D], here {[S, BATCH, D]}")
    if "hidden_state" not in parts or not torch.equal(parts["hidden_state"], after[0]):
        raise ConfigError(f"step must return its first state as the part hidden_state too; it has {', '.join(parts)}")
    _check_apart(cell, x, state, after)
    _check_run(cell)


def _check_apart(cell: Cell, x: Tensor, state: State, after: State) -> None:
    """Check that a step of the first seed and row does not hang on what the others are."""
    for what, others in (("seeds", (slice(1, None),)), ("rows", (slice(None), slice(1, None)))):
        other_x, other_state = x.clone(), tuple(part.clone() for part in state)
        other_x[(others[0], slice(None), *others[1:])] += 1
        for part in other_state:
            part[others] += 1
        again, _ = cell.step(other_x, other_state)
        for name, one, other in zip(cell.states, after, again, strict=True):
            if not torch.allclose(one[0, 0], other[0, 0], equal_nan=True):
                raise ConfigError(f"step mixes {what}: {name} of the first one changes with the others")


def _check_run(cell: Cell) -> None:
    if type(cell).run is Cell.run:
        return
    with random_numbers(0):
        projected = torch.randn(cell.W.shape[0], len(cell.gates), STEPS, BATCH, cell.hidden_size)
    start = cell.initial_state(BATCH)
    (fast, last), (outputs, stepped) = cell.run(projected, start), cell.unroll(projected, start)
    for one, other in zip((fast, *last), (outputs, *stepped), strict=True):
        if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-3, atol=1e-4):
            raise ConfigError("run gives other numbers than step; what it is faster at, it must compute alike")


def check_task(task: Task, again: Task, config: DictConfig) -> None:
    """Try the rows of a task and how they are read.

    Args:
        task: the task.
        again: the same, built once more: what a task draws it may keep.
        config: of the run.

    Raises:
        ConfigError: rows of other shapes or numbers than its interface says, or others the second time.
    """
    batch = task.batch(0)
    twice = {"batch(0)": (batch, again.batch(0)), "rows('dev')": (task.rows("dev"), again.rows("dev"))}
    for name, (rows, others) in twice.items():
        if not (torch.equal(rows.inputs, others.inputs) and torch.equal(rows.targets, others.targets)):
            raise ConfigError(f"{name} gives other rows the second time; draw them with tasks.task.generator")
        _check_rows(rows, name, task)
    if batch.targets.dim() != 3 or batch.inputs.shape[0] not in (1, len(task.seeds)):
        raise ConfigError(
            "batch(0) has no axis of the seeds in front; give inputs [S or 1, N, L], targets [S or 1, N, A]"
        )
    task.reading(config, task.about())


def _check_rows(rows: Rows, name: str, task: Task) -> None:
    """Check rows against the task's interface."""
    interface, seeds = task.interface, rows.targets.dim() - 2
    whole = not rows.inputs.is_floating_point()
    L = rows.inputs.shape[seeds + 1]
    A = L if interface.every_step else 1
    if rows.targets.shape[-1] != A:
        raise ConfigError(f"{name} has {rows.targets.shape[-1]} targets a row; its interface asks for {A}")
    if rows.weights is not None and rows.weights.shape != rows.targets.shape:
        raise ConfigError(
            f"{name} has weights {[*rows.weights.shape]}, targets {[*rows.targets.shape]}; both are [N, A]"
        )
    if whole and not 0 <= int(rows.inputs.min()) <= int(rows.inputs.max()) < interface.inputs:
        raise ConfigError(f"{name} has symbols outside of 0..{interface.inputs - 1}, which its interface allows")
    if not whole and rows.inputs.shape[-1] != interface.inputs:
        raise ConfigError(
            f"{name} has {rows.inputs.shape[-1]} numbers a time step; its interface says {interface.inputs}"
        )
    if not rows.targets.is_floating_point() and not 0 <= int(rows.targets.min()) <= int(rows.targets.max()) < (
        interface.outputs
    ):
        raise ConfigError(f"{name} has targets outside of 0..{interface.outputs - 1}, which its interface allows")
