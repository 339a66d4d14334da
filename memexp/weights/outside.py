"""Weights from outside as a run that is loaded: `memexp.trained.TrainedRun`, of which only the weights are known."""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from omegaconf import DictConfig, OmegaConf

import memexp
from memexp import choosing, trained
from memexp.arguments import compose_run, composing
from memexp.config import check, class_of
from memexp.errors import ConfigError, DataError, RecordError
from memexp.experiment import build_model, build_task
from memexp.explain import explained
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.tasks.task import Task
from memexp.trained import TrainedRun
from memexp.weights.files import Content, read
from memexp.weights.layouts import NAMES, Found, recognise
from memexp.weights.start import fit

log = logging.getLogger(__name__)

STUDY = "outside"  # what the folder of figures is called, where a run's is called after its study
#: What the options are, in every command that takes such files.
WEIGHTS = "a file of weights from outside, instead of a run: a state_dict, as .pt, .pdparams or .safetensors"
CALLED = "what its tensors do not tell, as linear=fc.weight.T,reset=after"
LENGTH = 10  # of a sequence, where nobody says otherwise: the book's


@dataclass(frozen=True, repr=False)
class OutsideRun(TrainedRun):
    """Weights from outside, as a run: how they were trained is not known.

    Attributes:
        layout: how the file was read, in words.
        remarks: what its tensors do not tell, in a line each: how it was taken.
    """

    layout: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def study(self) -> str:
        """Of no study."""
        return STUDY

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.folder.stem

    def last(self) -> SequenceModel | None:
        """There are no other weights than those of the file."""
        return None

    def task(self) -> Task:
        """Return the task that it is asked, with the data that are there.

        Raises:
            DataError: they cannot be read.
        """
        return build_task(self.config)

    def _untrained(self, seeds: list[int]) -> SequenceModel:
        raise RecordError(f"{self.folder} has weights from outside: nothing is known of the model before training")


class Chosen(choosing.Chosen, Protocol):
    """The options by which a command chooses a run, or a file of weights."""

    weights: str | None
    called: list[str] | None
    length: int | None
    modules: list[str]
    datasets_dir: str


def choose(options: Chosen, usual_study: str) -> TrainedRun:
    """Load what options name: a file of weights from outside, or a run as `memexp.choosing.choose`.

    Raises:
        ConfigError: both are named, or there is no such study; see `load_outside`.
        RecordError: there is no such run, or more than one, or it is damaged.
    """
    if options.weights is None:
        folder = choosing.choose(options, options.length, usual_study)
        return trained.load(folder, modules=options.modules, datasets=options.datasets_dir)
    for key in ("run", "study", "model"):
        if getattr(options, key) is not None:
            raise ConfigError(f"weights= and {key}= do not go together; give one of them")
    return load_outside(options.weights, names_of(options.called), options.length, options.datasets_dir)


def names_of(called: Sequence[str] | None) -> dict[str, Any]:
    """Read what was given as ``called=key=value,...``; the layers of a stack are joined by +, as cell=lower+upper.

    Raises:
        ConfigError: it cannot be read so.
    """
    names: dict[str, Any] = {}
    for item in called or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"called={item}: give key=value, of {', '.join(NAMES)}")
        names[key] = value.split("+") if key == "cell" else value
    return names


def load_outside(
    path: str | Path | Sequence[str | Path],
    names: Mapping[str, Any] | None = None,
    length: int | None = None,
    datasets: str | Path = "datasets",
    settings: Sequence[str] = (),
) -> TrainedRun:
    """Read weights from outside: a state_dict of other people's layers, or memexp's own best.pt.

    Args:
        path: the file; several are several seeds of the same model, 0, 1, ...
        names: what tensors do not tell, see `memexp.weights.layouts.NAMES`.
        length: of the sequences it is asked; 10 if None.
        datasets: where data are read, and made, if they are needed.
        settings: as on the command line, ``task=adding`` or ``model=residual_srn``: what else cannot be told.

    Returns:
        The model as a loaded run; a best.pt in the folder of its run is that run.

    Raises:
        ConfigError: the file cannot be read as a model, or that is not one for this task.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
    first = paths[0]
    if len(paths) == 1 and first.name in (record.BEST, record.LAST) and record.is_complete(first.parent):
        return trained.load(first.parent, first.stem, datasets=datasets)
    contents = [read(one) for one in paths]
    found = [_recognised(one, content, names) for one, content in zip(paths, contents, strict=True)]
    parameters = _side_by_side(paths, found)
    config = _config(first, found[0], parameters, length, datasets, settings)
    task = _task(config)
    _check_sizes(first, found[0], contents[0], task, config)
    model = build_model(config, task.interface, initialise=False)
    fit(model, parameters, first)
    remarks = found[0].remarks if config.model.name in found[0].models else ()  # else another was named
    for remark in remarks:
        log.warning("%s: %s", first, remark)
    kind: type[Task] = class_of(config.task, "task")
    return OutsideRun(first, config, _summary(config, task, model), kind, model, found[0].layout, remarks)


def _recognised(path: Path, content: Content, names: Mapping[str, Any] | None) -> Found:
    try:
        return recognise(content.tensors, names)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _side_by_side(paths: Sequence[Path], found: Sequence[Found]) -> dict[str, torch.Tensor]:
    """Put the weights of several files side by side, each its seeds."""
    shapes = [{name: tuple(tensor.shape[1:]) for name, tensor in one.parameters.items()} for one in found]
    for path, one, own in zip(paths, found, shapes, strict=True):
        if own != shapes[0] or one.models != found[0].models:
            name = next((n for n in shapes[0] | own if own.get(n) != shapes[0].get(n)), "the cell")
            raise ConfigError(
                f"{path} is of another model than {paths[0]}: {name} is {own.get(name, one.models)} there, not "
                f"{shapes[0].get(name, found[0].models)}; files of several seeds are of the same model"
            )
    return {name: torch.cat([one.parameters[name] for one in found]) for name in found[0].parameters}


def _config(
    path: Path,
    found: Found,
    parameters: Mapping[str, torch.Tensor],
    length: int | None,
    datasets: str | Path,
    settings: Sequence[str],
) -> DictConfig:
    """Compose the config of a run that would have such weights."""
    chosen = [setting.partition("=")[2] for setting in settings if setting.startswith("model=")]
    models = [*chosen[-1:], *found.models]
    if not models or (len(found.models) > 1 and not chosen):
        raise ConfigError(
            f"{path}: its tensors are those of {' or '.join(found.models) or 'no model of memexp'}; say which, as "
            f"model={found.models[0] if found.models else 'NAME'}"
        )
    seeds = len(next(iter(parameters.values())))
    own = found.settings if models[0] in found.models else {k: v for k, v in found.settings.items() if k not in SPECIAL}
    overrides = [
        f"model={models[0]}",
        *(setting for setting in settings if setting.startswith("task=")),
        f"length={LENGTH if length is None else length}",
        f"seeds={seeds}",
        *(f"model.{key}={str(value).replace(' ', '')}" for key, value in own.items()),
        *(setting for setting in settings if not setting.startswith(("model=", "task="))),
    ]
    with composing(), explained():
        config = check(compose_run(overrides))
    config.datasets_dir = str(datasets)
    return config


SPECIAL = ("reset_after", "variant")  # settings that one model alone has


def _task(config: DictConfig) -> Task:
    """Build the task to know its sizes: with the user's data if that can be, else with data of its own."""
    if Path(config.datasets_dir).is_dir():
        with suppress(DataError):
            return build_task(config)
    with TemporaryDirectory() as folder:
        return build_task(OmegaConf.merge(config, {"datasets_dir": folder}))  # type: ignore[arg-type]


def _check_sizes(path: Path, found: Found, content: Content, task: Task, config: DictConfig) -> None:
    """Check that a model has as many inputs and outputs as a task.

    Raises:
        ConfigError: it has not.
    """
    wanted, name = task.interface, config.task.name
    if (found.inputs, found.outputs) != (wanted.inputs, wanted.outputs):
        raise ConfigError(
            f"{path} has {found.inputs} inputs and {found.outputs} outputs ({found.layout}), and task={name} has "
            f"{wanted.inputs} and {wanted.outputs}; give the task= it was trained for"
        )
    vocabulary = task.extras.get("vocabulary")
    if content.vocabulary is not None and vocabulary is not None and not torch.equal(content.vocabulary, vocabulary):
        raise ConfigError(f"{path} is of another vocabulary than this text; give its task.corpus=")


def _summary(config: DictConfig, task: Task, model: SequenceModel) -> dict[str, Any]:
    """Say what is known, as the record of a run does."""
    return {
        "format": record.FORMAT,
        "memexp": memexp.__version__,
        "torch": torch.__version__,
        "title": model.cell.title or type(model.cell).__name__,
        "trained_on": "",
        "parameters": model.parameter_count,
        "state_size": model.state_size,
        "hidden_sizes": model.widths,
        "seconds": math.nan,
        "interface": asdict(task.interface),
        "about": task.about(),
        "floors": task.floors(),
        "shown": task.shown(),
        "panels": list(task.panels),
        "later": {},
        "config": OmegaConf.to_container(config, resolve=True),
        "seeds": [{"seed": seed, "best_iteration": None, "diverged_at": None} for seed in config.seeds],
        "test_right": {},
    }
