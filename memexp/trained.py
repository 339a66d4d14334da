"""From a record back to a trained model: load it, take one seed. Any task, and without its data."""

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from memexp import registered
from memexp.config import class_of, first_hash, sources, typed
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model, build_task, first_weights
from memexp.fields import check_ranges
from memexp.files import last_name
from memexp.inputs import inputs_of
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.results.identity import CLASSES, INIT, check_sources
from memexp.tasks.metrics import Loss
from memexp.tasks.task import Interface, Reading, Task
from memexp.training import checkpoints, machine
from memexp.training.runner import ROWS_AT_ONCE
from memexp.weights import start
from memexp.words import LANGUAGES, tr

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: What the option of that name is, in every command that builds models.
MODULES = "modules of your own whose cells and tasks may be built, as mycells; those in a conf/ may anyway"


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        config: its config; its data are where the user has them, not where the record says.
        summary: its record.
        kind: the class of its task.
        model: with the weights of all its seeds.
    """

    folder: Path
    config: DictConfig
    summary: dict[str, Any]
    kind: type[Task]
    model: SequenceModel

    @property
    def study(self) -> str:
        """The name of its study."""
        return self.folder.resolve().parent.name

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the axis S."""
        return list(self.config.seeds)

    @property
    def reading(self) -> Reading:
        """How a person reads its task's sequences."""
        return self.kind.reading(self.config, self.summary["about"])

    def place(self, seed: int, option: str = "seed") -> int:
        """Return where a seed is on the axis S.

        Args:
            seed: the seed.
            option: what it was given as, for the error.

        Raises:
            ConfigError: the run does not have this seed.
        """
        if seed not in self.seeds:
            there = ", ".join(map(str, self.seeds))
            raise ConfigError(f"{option}={seed}: {self.name} has no such seed; it has {there}")
        return self.seeds.index(seed)

    def record_of(self, seed: int) -> dict[str, Any]:
        """Return what the record says of a seed: its scores, and when it was at its best, or stopped."""
        own: dict[str, Any] = self.summary["seeds"][self.place(seed)]
        return own

    def of(self, seed: int) -> SequenceModel:
        """Return the model of one seed (S = 1) with its weights.

        Raises:
            ConfigError: the run does not have this seed.
        """
        place = self.place(seed)
        model = self._of_seeds([seed], initialise=False)
        model.copy_seed(self.model, place)
        return model

    def untrained(self, seed: int) -> SequenceModel:
        """Return the model of one seed (S = 1) as it was before training: a function of config and seed alone.

        Raises:
            ConfigError: a file of initial weights cannot be read.
            RecordError: it is another than the run began with.
        """
        return self._untrained([seed])

    def before(self) -> SequenceModel:
        """Return the model of all seeds as it was before training; raises as `untrained`."""
        return self._untrained(self.seeds)

    def last(self) -> SequenceModel | None:
        """Return the model of all seeds after the last update; None where the record came without these weights.

        Raises:
            RecordError: the checkpoint is damaged.
        """
        if not (self.folder / record.LAST).exists():
            return None
        run = replace(self, model=self._of_seeds(self.seeds, initialise=False))
        _load_weights(run, "last")
        return run.model

    def _untrained(self, seeds: list[int]) -> SequenceModel:
        model = self._of_seeds(seeds, initialise=True)
        if self._data.split("+")[1:] != first_weights(self.config):
            files = ", ".join(self.config.model.files)
            raise RecordError(f"{self.folder} began with other weights than those in {files}; bring those back")
        if self.config.init_from is not None:
            self._begin(model, seeds)
        return model

    def _begin(self, model: SequenceModel, seeds: list[int]) -> None:
        """Give a model the weights of ``init_from``, which are read only if they are those of then."""
        given, then = self.config.init_from, record.read_json(self.folder / record.CONFIG).get(INIT)
        if given.startswith((r"\\", "//")) or first_hash(given) != then:  # nothing is fetched from other machines
            raise RecordError(f"{self.folder} began with other weights than those in {given}; bring those back")
        symbols = self.reading.symbols
        vocabulary = None if symbols is None else torch.tensor([*map(ord, symbols)])
        start.begin(model, OmegaConf.merge(self.config, {"seeds": seeds}), vocabulary)  # type: ignore[arg-type]

    def _of_seeds(self, seeds: list[int], initialise: bool) -> SequenceModel:
        config = OmegaConf.merge(self.config, {"seeds": seeds})
        return build_model(config, Interface(**self.summary["interface"]), initialise)  # type: ignore[arg-type]

    @property
    def _data(self) -> str:
        """What its record says of the files that it was trained on, see `memexp.experiment.fingerprint`."""
        return str(record.read_json(self.folder / record.CONFIG).get("data"))

    @torch.no_grad()
    def predictions(self, model: SequenceModel, sequence: Tensor) -> Tensor:
        """Return what a model of one seed answers to one sequence, see `Loss.predictions`: [A, K]."""
        return self.kind.loss.predictions(model(sequence[None, None]))[0, 0]

    def task(self) -> Task:
        """Return its task, with the data that it was trained on.

        Raises:
            RecordError: the data that are there now are others.
            DataError: they cannot be read.
        """
        task = build_task(self.config)
        # Only the hash of the data counts: not the order of batches, nor the files of initial weights, that follow it.
        if re.split(r"[/+]", self._data)[0] != re.split(r"[/+]", task.fingerprint())[0]:
            raise RecordError(
                f"{task.trained_on}: the data in {self.config.datasets_dir} are others than {self.folder} was trained "
                "on; bring those back, or train anew"
            )
        return task

    def task_at(self, length: int) -> Task:
        """Return the same task at a length; its data are read there, or made.

        Raises:
            ConfigError: the task has no such length.
            RecordError: it is its own, and the data are others than it was trained on.
            DataError: the data cannot be read.
        """
        if length == self.config.length:
            return self.task()
        config: DictConfig = OmegaConf.merge(self.config, {"length": length})  # type: ignore[assignment]
        complaint = f"length={length} is too small; it must be at least 1" if length < 1 else self.kind.rule(config)
        if complaint:
            raise ConfigError(f"{self.name}: {complaint}")
        task, own = build_task(config), Interface(**self.summary["interface"])
        if replace(task.interface, longest=own.longest) != own:
            raise RecordError(f"{self.folder}: at length {length} its task asks for another model than was trained")
        return task

    # For Python and notebooks -------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        seeds = [seed for seed in self.summary["seeds"] if seed.get("diverged_at") is None]
        said = "".join(f", {score}" for score in record.shown_scores(seeds, self.summary.get("shown", {})))
        return f"<{self.summary['title']}, seeds {', '.join(map(str, self.seeds))}{said}; {self.folder}>"

    def evaluate(self, lengths: Iterable[int] | int | None = None) -> "pd.DataFrame":
        """Score each seed on dev, on test and, where the task can, exactly: at other lengths too.

        The task is built at each length with the settings that it was trained with: a digit sum has as many distractors
        as then. Exact scores are over all inputs, or over a sample where these are too many.

            >>> import memexp
            >>> run = memexp.run(model="srn", length=4, epochs=1, seeds=2)
            >>> table = run.evaluate([4, 6])
            >>> table[["length", "seed", "exact_over"]]
               length  seed       exact_over
            0       4     0  all 1900 inputs
            1       4     1  all 1900 inputs
            2       6     0  all 3700 inputs
            3       6     1  all 3700 inputs
            >>> bool(table["exact_accuracy"][1] == run.record_of(1)["exact_accuracy"])
            True

        Args:
            lengths: of the sequences, or one; None for the one that was trained on.

        Returns:
            A row for each length and seed: ``length``, ``seed``, the scores by the names that they have in records,
            ``dev_accuracy``, ``test_accuracy``, ``exact_accuracy``, ... and ``exact_over``: all inputs, or how many
            sampled rows. Of a seed whose loss was not finite there are none.

        Raises:
            ConfigError: the task has no such length.
            RecordError: the data of its own length are others than it was trained on.
            DataError: data cannot be read or made.
        """
        from memexp.evaluation import evaluated

        given = [self.config.length] if lengths is None else lengths if isinstance(lengths, Iterable) else [lengths]
        try:
            whole = [operator.index(length) for length in given]
        except TypeError as error:
            raise ConfigError(f"lengths={lengths!r}: {error}; give whole numbers, as lengths=[10, 15]") from error
        with machine.prepared():
            return evaluated(self, whole)

    def history(self) -> "pd.DataFrame":
        """Return the course of training, as ``history.csv`` has it.

            >>> import memexp
            >>> run = memexp.run("model=srn", length=4, epochs=1, seeds=2)
            >>> sorted(set(run.history()["name"]))
            ['accuracy', 'loss']

        Returns:
            Columns ``iteration``, ``seed``, ``split``, ``name``, ``value``.

        Raises:
            RecordError: it is missing or damaged.
        """
        from memexp.results.history import read_history

        return read_history(self.folder)

    def curves(self, metric: str = "loss", lang: str = "en") -> "Figure":
        """Draw how a metric went on train and dev: each seed, their mean and its 95 % interval.

            >>> import memexp
            >>> run = memexp.run("model=srn", length=4, epochs=1, seeds=2)
            >>> run.curves("accuracy").axes[0].get_ylabel()
            'accuracy'

        Args:
            metric: ``loss``, or one of the task's metrics.
            lang: language of the figure, ``en`` or ``zh``.

        Raises:
            ConfigError: it has no such metric.
            RecordError: its history is missing or damaged.
        """
        from memexp.figures.curves import course
        from memexp.fonts import speaking

        _check_one_of("lang", lang, LANGUAGES)
        history = self.history()
        there = list(dict.fromkeys(history.loc[history["split"] == "dev", "name"]))
        _check_one_of("metric", metric, there)
        floors, share = self.summary["floors"].get(metric, {}), self.summary["shown"].get(f"dev_{metric}", False)
        with speaking(lang):
            return course(history, metric, tr(f"{self.summary['title']}, length {self.config.length}"), floors, share)

    @torch.no_grad()
    def predict(self, sequences: Any, probabilities: bool = False) -> np.ndarray:
        """Return what each seed answers.

            >>> import memexp
            >>> run = memexp.run(model="srn", length=4, epochs=1, seeds=2)
            >>> run.predict("6700").shape
            (2, 1)
            >>> run.predict([[6, 7, 0, 0], [1, 2, 0, 3], [9, 9, 0, 0]], probabilities=True).shape
            (2, 3, 1, 19)

        Args:
            sequences: one as it is typed, ``"6700100000"``, or as a list; several in a list; an array or tensor,
                [N, L] or, of numbers, [N, L, M].
            probabilities: of all classes, instead of the likeliest one.

        Returns:
            [S, N], and [S, N, L] where every time step is an answer; with ``probabilities`` [S, N, A, K]. S is in the
            order of `seeds`. A class is its place in ``reading.outputs``.

        Raises:
            ConfigError: they are no sequences of this task.
        """
        inputs = self._inputs(sequences)
        with machine.prepared():
            parts = [self.kind.loss.predictions(self.model(part[None])) for part in torch.split(inputs, ROWS_AT_ONCE)]
        found: np.ndarray = torch.cat(parts, 1).numpy()  # [S, N, A, K]
        if probabilities:
            return found
        classes = self.kind.loss.predictions is not Loss.predictions
        answers: np.ndarray = found.argmax(-1) if classes else found.squeeze(-1)
        return answers if self.summary["interface"]["every_step"] else answers[:, :, 0]

    def trace(self, sequences: Any, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return what the cells compute at every time step, of all seeds.

            >>> import memexp
            >>> run = memexp.run(model="lstm", length=4, epochs=1, seeds=2)
            >>> parts = run.trace("6700", ["forget_gate", "cell_state"])
            >>> {name: part.shape for name, part in parts.items()}
            {'forget_gate': (2, 1, 4, 32), 'cell_state': (2, 1, 4, 32)}

        Args:
            sequences: as for `predict`.
            names: which parts; None for all that the model has.

        Returns:
            Name -> [S, B, L, D]; see `memexp.models.networks.SequenceModel.trace` for the names.

        Raises:
            ConfigError: they are no sequences of this task, or the cell has no such part.
        """
        inputs = self._inputs(sequences)
        with machine.prepared():
            return {name: part.numpy() for name, part in self.model.trace(inputs[None], names).items()}

    def heatmaps(
        self,
        sequence: Any = None,
        seed: int | None = None,
        names: Sequence[str] | None = None,
        order: str = "units",
        lang: str = "en",
    ) -> "Figure":
        """Draw all gates and states over one sequence: the sheet of ``python -m memexp.gates``.

            >>> import memexp
            >>> run = memexp.run(model="lstm", length=4, epochs=1, seeds=2)
            >>> figure = run.heatmaps("6701", names=["forget_gate"])
            >>> figure.axes[0].get_title()
            'Forget gate'

        Args:
            sequence: as it is typed, or as a list or tensor; None for an example of the task.
            seed: one of the run's; None for the first.
            names: which parts; None for all.
            order: ``units``: as they are; ``time``: by when they act.
            lang: language of the figure, ``en`` or ``zh``.

        Raises:
            ConfigError: it is no sequence of this task, or the run has no such seed or part.
        """
        from memexp.fonts import speaking
        from memexp.sheets import look_at

        _check_one_of("order", order, ("units", "time"))
        _check_one_of("lang", lang, LANGUAGES)
        shown = self._one(sequence)
        with speaking(lang), machine.prepared():
            return look_at(self, shown, self.seeds[0] if seed is None else seed, names, order == "time").figure()

    def state_dict(self, to: str = "torch", seed: int | None = None) -> dict[str, Tensor]:
        """Return the weights of one seed as torch's own layers have them; see `memexp.weights.torch_layers`.

        Args:
            to: ``torch``: of nn.Embedding, nn.RNN, nn.LSTM or nn.GRU, and nn.Linear.
            seed: one of the run's; None for the first.

        Raises:
            ConfigError: the run has no such seed, or torch no such layer.
        """
        if to != "torch":
            raise ConfigError(f"to={to} is not possible; allowed: torch")
        place = self.place(self.seeds[0] if seed is None else seed)
        found: dict[str, Tensor] = import_module("memexp.weights.torch_layers").to_torch(self.model, place)
        return found

    def _inputs(self, sequences: Any) -> Tensor:
        return inputs_of(sequences, self.reading, Interface(**self.summary["interface"]))

    def _one(self, sequence: Any) -> Tensor:
        """Return one sequence, [L] or [L, M]: what was given, or else an example."""
        if sequence is None:
            example = self.reading.example()
            return self.task().example() if example is None else example
        inputs = self._inputs(sequence)
        if len(inputs) != 1:
            raise ConfigError(f"{len(inputs)} sequences are given; a sheet shows one")
        return inputs[0]


def _check_one_of(name: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise ConfigError(f"{name}={given} is not possible; allowed: {', '.join(allowed)}")


def load(
    folder: Path, weights: str = "best", modules: Sequence[str] = (), datasets: str | Path = "datasets"
) -> TrainedRun:
    """Rebuild the model of a finished run from its record; its data are not needed.

    Args:
        folder: the run folder.
        weights: ``best``: of each seed on dev; ``last``: after the last update.
        modules: of the user's own, whose classes may be built, beside those in a conf/; see `memexp.registered`.
        datasets: where data are read, and made, if they are needed.

    Raises:
        ConfigError: there is no such folder.
        RecordError: the run is not finished, its record is damaged, or its checkpoint missing, damaged or of another
            model; or its classes are none that the user has named.
    """
    if not folder.is_dir():
        raise ConfigError(f"run={folder}: there is no such folder")
    if not (folder / record.CONFIG).exists():
        raise RecordError(f"{folder} is no run's folder: it has no {record.CONFIG}; give one, as outputs/STUDY/RUN")
    if not record.is_complete(folder):
        raise RecordError(f"{folder} is not a finished run; give the command that started it again to go on")
    path = folder / record.SUMMARY
    summary = record.read_summary(folder)
    if record.SEALED not in summary:
        record.say_unsealed(folder.resolve().parent)
    try:
        config = typed(registered.vetted(summary["config"], modules))
        check_sources(folder, dict.fromkeys(CLASSES) | sources(config))
        kind = class_of(config.task, "task")
        _keep_to(config, kind, Path(datasets))
        run = TrainedRun(
            folder, config, summary, kind, build_model(config, Interface(**summary["interface"]), initialise=False)
        )
        _ = run.reading, [(seed["seed"], seed["best_iteration"], seed["diverged_at"]) for seed in summary["seeds"]]
    except ConfigError as error:
        raise RecordError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OmegaConfBaseException) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path} is damaged ({reason}); {record.remedy(path)}") from error
    _load_weights(run, weights)
    return run


def _keep_to(config: DictConfig, kind: type[Task], datasets: Path) -> None:
    """Let a run's data be read and made where the user's are: its record says what they are called, not where.

    Raises:
        ConfigError: a setting of the task is not possible; it could be a part of a file's name.
    """
    check_ranges(config.task, "task.")
    complaint = kind.rule(config)
    if complaint:
        raise ConfigError(complaint)
    config.datasets_dir = str(datasets)
    for key in kind.files_in(config.task):
        config.task[key] = _of_the_user(config.task[key], datasets)
    config.model.files = [_of_the_user(file, datasets) for file in config.model.get("files", [])]


def _of_the_user(file: str, datasets: Path) -> str:
    """Return a file of that name in the folder of the data, or else in the current one."""
    name = last_name(file)
    return name if not (datasets / name).exists() and Path(name).is_file() else str(datasets / name)


def _load_weights(run: TrainedRun, weights: str) -> None:
    path, kind = run.folder / record.BEST, "weights"
    if weights == "last":
        path, kind = run.folder / record.LAST, "training"
    if not path.exists():
        raise RecordError(
            f"{path} is missing: this record came without weights; train the run with another study=NAME to have them"
        )
    content = checkpoints.load(path, kind, sealed=run.summary.get(record.SEALED))
    content = content if weights == "best" else content["training"]
    reading = run.reading
    # What gives the weights their meaning, if anything does: the characters of a language model.
    if "vocabulary" in content and [*map(ord, reading.symbols or "")] != content["vocabulary"].tolist():
        raise RecordError(f"{path} is of another vocabulary than its record; {record.remedy(path)}")
    checkpoints.load_weights(run.model, content.get("weights", {}), path)
