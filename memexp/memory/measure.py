"""A measure of memory: what it is given, what it returns, and how all of them are found.

A measure is a class in a file of its own beside this one, and nothing else names it. At its core is a function of a
model and rows that returns numbers, for all seeds at once; the class says where these come from, what they are called
and how they are drawn. Axis letters as in `memexp.models.cells`.
"""

import importlib
import inspect
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor

import memexp.memory
from memexp import registered
from memexp.errors import ConfigError, MemexpError, nearest
from memexp.evaluation import runner_of
from memexp.memory.sequences import drawn
from memexp.models.networks import SequenceModel
from memexp.results.study import Study
from memexp.tasks.task import Rows, Task
from memexp.trained import TrainedRun, load
from memexp.training.runner import Runner

#: What `Subject.moments` are called in figures.
MOMENTS = {"before": "before training", "after": "after training", "last": "after the last update"}


class Score(NamedTuple):
    """What a number of a measure is.

    Attributes:
        about: in words, for the table's explanation.
        share: whether it is from 0 to 1, and shown in percent.
        signed: whether it can be below 0.
        most: what it is at most, a share apart.
    """

    about: str
    share: bool = False
    signed: bool = False
    most: float = math.inf

    @property
    def bounds(self) -> tuple[float, float]:
        """What it can be; intervals are cut off there."""
        most = 1.0 if self.share else self.most
        return (-most if self.signed else 0.0), most


@dataclass(frozen=True)
class Subject:
    """A finished run that is measured, all seeds at once.

    Attributes:
        run: the run.
        task: its task, with its data.
    """

    run: TrainedRun
    task: Task

    @property
    def after(self) -> SequenceModel:
        """The trained model: with each seed's best weights on dev, or those after its last update."""
        return self.run.model

    @cached_property
    def before(self) -> SequenceModel:
        """The model before training."""
        return self.run.before()

    @property
    def moments(self) -> dict[str, SequenceModel]:
        """The models before training and after it, and that of the last update where its weights are kept."""
        last = self.run.last()
        return {"before": self.before, "after": self.after, **({} if last is None else {"last": last})}

    def sample(self, rows: int) -> Rows:
        """Draw so many rows of the task's distribution: the same ones at every call."""
        there = self.task.distribution()
        return there.take(drawn(there.row_weights(), rows))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the axis S."""
        return self.run.seeds

    @cached_property
    def runner(self) -> Runner:
        """What answers and scores rows as the run did: `Runner.evaluate`, `Runner.predict`, `answers`."""
        return runner_of(self.run, self.task)

    @property
    def share(self) -> str | None:
        """The metric that says how often the task's answers are right, by name; None if none does."""
        return next((metric.name for metric in self.task.metrics if metric.share), None)

    @property
    def guessing(self) -> float:
        """How often the best of simple answers is right; 0 where the task names none."""
        return max(self.task.floors().get(self.share or "", {}).values(), default=0.0)

    def answers(self, inputs: Tensor) -> Tensor:
        """Return what each seed answers: inputs [N, L] or [N, L, M] -> [S, N, A, K]."""
        interface = self.task.interface
        nothing = torch.zeros(1, len(inputs), inputs.shape[1] if interface.every_step else 1, dtype=torch.long)
        return self.runner.engine.answer(Rows(inputs[None], nothing))[0]


@dataclass
class Subjects:
    """The finished runs of a study, each loaded when it is first asked for.

    Args:
        folder: of the study.
        modules: of the user's own, see `memexp.trained.load`.
        datasets: where data are read, and made.
        weights: ``best`` or ``last``, see `memexp.trained.load`.
    """

    folder: Path
    modules: Sequence[str] = ()
    datasets: Path = Path("datasets")
    weights: str = "best"
    _loaded: dict[str, Subject] = field(default_factory=dict, init=False, repr=False)

    def __getitem__(self, name: str) -> Subject:
        """Return a run by the name of its folder.

        Raises:
            MemexpError: its record, its weights or its data are damaged or missing.
        """
        if name not in self._loaded:
            run = load(self.folder / name, self.weights, self.modules, self.datasets)
            self._loaded[name] = Subject(run, run.task())
        return self._loaded[name]


#: Why a measure that reads the record alone has nothing to say of other weights.
BEST_ALONE = "its record has the scores of the best weights alone"


class Measure(ABC):
    """One question that is asked of trained networks.

    Attributes:
        name: on the command line, and of its files.
        question: what it answers, in a line.
        scores: column -> what it is: the numbers that a seed is summed up by, in the table that joins the study's.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    scores: ClassVar[Mapping[str, Score]]

    def why_not(self, subject: Subject) -> str | None:
        """Say in a few words why a run cannot be measured; None if it can."""
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> pd.DataFrame:
        """Measure a run: a table with the column ``seed`` and others of the measure's own."""

    @abstractmethod
    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the `scores` of each seed.

        Args:
            table: of `measure`, for a run or several, with the column ``run``.

        Returns:
            Columns ``run``, ``seed`` and the scores; NaN where a seed has none.
        """

    @abstractmethod
    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw what was measured.

        Args:
            table: of `measure`, of all runs, with the columns ``run``, ``label``, ``line``, ``length``, ``model.name``.
            study: the runs.

        Returns:
            Name of the file -> figure; the names begin with that of the measure.
        """

    def of_study(self, study: Study, subjects: Subjects) -> Iterator[tuple[str, pd.DataFrame | str | MemexpError]]:
        """Measure all runs of a study one after the other.

        Yields:
            The name of each run, and its table, or in a few words why it cannot be measured, or what is wrong with it.
        """
        for run in study.rows["run"].drop_duplicates():
            try:
                reason = self.why_not(subjects[run])
                yield run, (self.measure(subjects[run]) if reason is None else reason)
            except MemexpError as error:
                yield run, error


def share_score(study: Study) -> str | None:
    """Name the score that says how often a network is right, exact where there is such a one; None if none says so."""
    shares = [column for column, share in study.shown.items() if share]
    return next((column for begin in ("exact_", "test_") for column in shares if column.startswith(begin)), None)


def task_of(study: Study, subjects: Subjects) -> type[Task]:
    """Return the class of a study's task; neither weights nor data are read.

    Raises:
        ConfigError: the user has not named it.
    """
    row = study.rows.iloc[0]
    node = DictConfig({registered.TARGET: row[f"task.{registered.TARGET}"], "name": row["task.name"]})
    kind: type[Task] = registered.kind_of(node, "task", subjects.modules)
    return kind


def all_measures() -> dict[str, Measure]:
    """Find the measures: every class of the modules beside this one, by name, in the order of their names."""
    for module in pkgutil.iter_modules(memexp.memory.__path__):
        importlib.import_module(f"{memexp.memory.__name__}.{module.name}")
    found = {kind.name: kind() for kind in _kinds(Measure) if kind.__module__.startswith(f"{memexp.memory.__name__}.")}
    return dict(sorted(found.items()))


def _kinds(kind: type[Any]) -> Iterator[type[Measure]]:
    for own in kind.__subclasses__():
        yield from _kinds(own)
        if not inspect.isabstract(own):
            yield own


def chosen(names: Sequence[str] | None) -> frozenset[str]:
    """Return the names of the measures that are asked for; None for all.

    Raises:
        ConfigError: there is no such measure.
    """
    there = all_measures()
    for name in names or ():
        if name not in there:
            raise ConfigError(f"measures={name}: there is none of that name{nearest(name, there)}; {', '.join(there)}")
    return frozenset(names or there)
