"""Let a trained character language model write: ``python -m memexp.generate``.

The state is carried from character to character, not recomputed. Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Generator

from memexp.config import check, ranged
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model
from memexp.models.networks import SequenceClassifier
from memexp.options import run_command
from memexp.results import record
from memexp.results.study import find_study
from memexp.tasks.char_lm import encode, opening, typed
from memexp.tasks.text.writing import go_on
from memexp.training import checkpoints, machine
from memexp.training.runner import load_weights

MOST_NAMED = 12  # runs to choose from, in an error message of one line


@dataclass
class Options:
    """Go on from a prefix, character by character, with a trained character language model."""

    prefix: str = ranged(default="", about="what to go on from, a newline as \\n; nothing: a space, or a new line")
    length: int = ranged(1, default=200, about="characters to write")
    temperature: float = ranged(above=0, default=1.0, about="with top_k: below 1 the likely become likelier")
    top_k: int = ranged(1, default=1, about="draw among this many likeliest characters; 1: always the likeliest")
    seed: int = ranged(0, most=2**63 - 1, default=0, about="of the drawing")
    study: str = ranged(default="char_lm", about="the folder below outputs_dir")
    model: str | None = ranged(default=None, about="which of the study's runs: its model; null: there is but one")
    run: str | None = ranged(default=None, about="a run folder, instead of study and model")
    model_seed: int | None = ranged(default=None, about="which of the run's seeds; null: the first")
    weights: str = ranged(
        one_of=("best", "last"), default="last", about="after the last update, or at the best dev perplexity"
    )
    outputs_dir: str = ranged(default="outputs", about="where the run folders are")


@dataclass(frozen=True)
class Writer:
    """A language model of one seed (S = 1) and its characters."""

    model: SequenceClassifier
    vocabulary: list[str]

    def write(self, prefix: str, length: int, temperature: float, top_k: int, seed: int) -> Iterator[str]:
        """Return ``length`` characters that go on from a prefix, one by one, as soon as each is drawn.

        Raises:
            ConfigError: the prefix has characters that the model does not know.
        """
        codes = encode(typed(prefix, self.vocabulary) or opening(self.vocabulary), self.vocabulary)
        written = go_on(self.model, codes, length, temperature, top_k, Generator().manual_seed(seed))
        return (self.vocabulary[code] for code in written)


@dataclass(frozen=True)
class Sizes:
    """What a model has to know of its task, when the task itself is not there."""

    symbols: int
    classes: int
    longest: int = 0
    every_step: bool = True


@dataclass(frozen=True)
class LanguageModel:
    """A finished run of a language model, with the weights of all its seeds."""

    config: DictConfig
    vocabulary: str
    stopped: list[int]  # the seeds whose loss was not finite
    model: SequenceClassifier

    def of(self, seed: int) -> SequenceClassifier:
        """Return the model of one seed (S = 1)."""
        alone = OmegaConf.merge(self.config, {"seeds": [seed]})
        model = _build(alone, self.vocabulary)  # type: ignore[arg-type]
        model.copy_seed(self.model, list(self.config.seeds).index(seed))
        return model


def _build(config: DictConfig, vocabulary: str) -> SequenceClassifier:
    sizes = Sizes(len(vocabulary), len(vocabulary))
    return build_model(config, sizes, initialise=False)  # type: ignore[arg-type]


def load_language_model(folder: Path, weights: str) -> LanguageModel:
    """Rebuild a language model from its record; its text is not needed.

    Args:
        folder: the run folder.
        weights: ``best`` or ``last``.

    Raises:
        ConfigError: there is no such folder.
        RecordError: the run is not finished or of another task, or its record or checkpoint is damaged, or of another
            model or vocabulary.
    """
    if not folder.is_dir():
        raise ConfigError(f"run={folder}: there is no such folder")
    if not (folder / record.CONFIG).exists():
        raise RecordError(f"{folder} is no run's folder: it has no {record.CONFIG}; give one, as outputs/STUDY/RUN")
    if not record.is_complete(folder):
        raise RecordError(f"{folder} is not a finished run; give the command that started it again to go on")
    path_of_record, remedy = folder / record.SUMMARY, "delete the run's folder to train it anew"
    summary = record.read_json(path_of_record)
    try:
        config = check(OmegaConf.create(summary["config"]))
        if config.task.name != "char_lm":
            raise RecordError(f"{folder} is of the task {config.task.name}; a run of task=char_lm can write")
        vocabulary = summary["vocabulary"]
        if not isinstance(vocabulary, str) or not vocabulary:
            raise TypeError(f"the vocabulary is {vocabulary!r}, not a text")
        stopped = [int(seed["seed"]) for seed in summary["seeds"] if seed["diverged_at"] is not None]
        model = _build(config, vocabulary)
    except ConfigError as error:
        raise RecordError(f"{path_of_record}: {error}; {remedy}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, OmegaConfBaseException) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecordError(f"{path_of_record} is damaged ({reason}); {remedy}") from error
    path, kind = (folder / record.BEST, "weights") if weights == "best" else (folder / record.LAST, "training")
    content: dict[str, Any] = checkpoints.load(path, kind)
    content = content if weights == "best" else content["training"]
    if not torch.equal(content.get("vocabulary", torch.empty(0)), torch.tensor([*map(ord, vocabulary)])):
        raise RecordError(f"{path} is of another vocabulary than its record; {remedy}")
    load_weights(model, content.get("weights", {}), path)
    return LanguageModel(config, vocabulary, stopped, model)


def load_writer(folder: Path, weights: str, model_seed: int | None) -> Writer:
    """Rebuild the language model of one seed; None for the first.

    Raises:
        ConfigError: the run has no such seed.
        RecordError: the last weights are asked for, and the seed stopped before.
        MemexpError: see `load_language_model`.
    """
    run = load_language_model(folder, weights)
    seeds = list(run.config.seeds)
    seed = seeds[0] if model_seed is None else model_seed
    if seed not in seeds:
        raise ConfigError(f"model_seed={seed}: {folder.name} has no such seed; it has {', '.join(map(str, seeds))}")
    if weights == "last" and seed in run.stopped:
        raise RecordError(f"seed {seed} of {folder} stopped: its loss was not finite; give weights=best")
    return Writer(run.of(seed), list(run.vocabulary))


def find_run(study: Path, model: str | None) -> Path:
    """Return the one finished run of a language model in a study, with this model if one is given.

    Raises:
        RecordError: there is none, or more than one.
    """
    rows, missing = record.collect(record.run_folders(study))
    rows = rows.reindex(columns=["run", "task.name", "model.name"]).drop_duplicates("run")
    rows = rows[rows["task.name"] == "char_lm"]
    found = rows if model is None else rows[rows["model.name"] == model]
    if len(found) == 1:
        return study / str(found["run"].item())
    number = f"{len(found)} finished runs of language models" if len(found) else "no finished run of a language model"
    number += "" if model is None else f" with model={model}"
    if rows.empty:
        unfinished = f"; without a record: {' | '.join(missing)}" if missing else ""
        raise RecordError(
            f"{study} has {number}{unfinished}; give another study=NAME, or train one: python -m memexp task=char_lm"
        )
    names = [str(study / run) for run in (rows if found.empty else found)["run"]]
    more = f" | and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    raise RecordError(f"{study} has {number}; give one as run=...: {' | '.join(names[:MOST_NAMED])}{more}")


def write(options: Options) -> None:
    """Do what the options ask for."""
    machine.prepare()
    folder = Path(options.run) if options.run else find_run(
        find_study(Path(options.outputs_dir), options.study), options.model
    )  # fmt: skip
    writer = load_writer(folder, options.weights, options.model_seed)
    written = writer.write(options.prefix, options.length, options.temperature, options.top_k, options.seed)
    print(typed(options.prefix, writer.vocabulary), end="", flush=True)
    for character in written:
        print(character, end="", flush=True)
    print()


def main() -> None:
    """Run ``python -m memexp.generate``."""
    run_command("generate", Options, write)


if __name__ == "__main__":
    main()
