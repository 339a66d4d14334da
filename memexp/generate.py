"""Let a trained character language model write: ``python -m memexp.generate``.

The state is carried from character to character, not recomputed. Axis letters as in `memexp.models`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Generator

from memexp import checkpoints, machine, records
from memexp.config import check, ranged
from memexp.errors import ConfigError, RecordError
from memexp.experiment import build_model
from memexp.networks import SequenceClassifier
from memexp.options import run_command
from memexp.studies import find_study
from memexp.tasks.char_lm import encode
from memexp.writing import go_on


@dataclass
class Options:
    """Go on from a prefix, character by character, with a trained character language model."""

    prefix: str = ranged(default="", about="what to go on from; nothing: the space between two words")
    length: int = ranged(1, default=200, about="characters to write")
    temperature: float = ranged(above=0, default=1.0, about="with top_k: below 1 the likely become likelier")
    top_k: int = ranged(1, default=1, about="draw among this many likeliest characters; 1: always the likeliest")
    seed: int = ranged(0, default=0, about="of the drawing")
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
        codes = encode(prefix or " ", self.vocabulary)
        written = go_on(self.model, codes, length, temperature, top_k, Generator().manual_seed(seed))
        return (self.vocabulary[code] for code in written)


def load_writer(folder: Path, weights: str, model_seed: int | None) -> Writer:
    """Rebuild a language model from its record; its text is not needed.

    Raises:
        ConfigError: the run is of another task, or has no such seed.
        RecordError: it is not finished, or its record or checkpoint is damaged or of another vocabulary.
    """
    if not records.is_complete(folder):
        raise RecordError(f"{folder} is not a finished run; give the command that started it again to go on")
    summary = records.read_json(folder / records.SUMMARY)
    config = check(OmegaConf.create(summary["config"]))
    if config.task.name != "char_lm":
        raise ConfigError(f"{folder} is of the task {config.task.name}; a run of task=char_lm can write")
    seeds, vocabulary = list(config.seeds), list(summary["vocabulary"])
    seed = seeds[0] if model_seed is None else model_seed
    if seed not in seeds:
        raise ConfigError(f"model_seed={seed}: {folder.name} has no such seed; it has {', '.join(map(str, seeds))}")
    if weights == "last" and summary["seeds"][seeds.index(seed)]["diverged_at"] is not None:
        raise RecordError(f"seed {seed} of {folder} stopped: its loss was not finite; give weights=best")
    path, kind = (folder / records.BEST, "weights") if weights == "best" else (folder / records.LAST, "training")
    content: dict[str, Any] = checkpoints.load(path, kind)
    content = content if weights == "best" else content["training"]
    if "".join(map(chr, content.get("vocabulary", []))) != "".join(vocabulary):
        raise RecordError(f"{path} is of another vocabulary than its record; delete the run's folder to train it anew")
    sizes = Sizes(len(vocabulary), len(vocabulary))
    model = build_model(OmegaConf.merge(config, {"seeds": [seed]}), sizes, initialise=False)  # type: ignore[arg-type]
    k = seeds.index(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(content["weights"][name][k : k + 1])
    return Writer(model, vocabulary)


@dataclass(frozen=True)
class Sizes:
    """What a model has to know of its task, when the task itself is not there."""

    symbols: int
    classes: int
    longest: int = 0
    every_step: bool = True


def find_run(study: Path, model: str | None) -> Path:
    """Return the one finished run of a study with this model.

    Raises:
        RecordError: there is none, or more than one.
    """
    rows, _ = records.collect(records.run_folders(study))
    if len(rows) and model is not None:
        rows = rows[rows["model.name"] == model]
    found = [] if rows.empty else list(dict.fromkeys(rows["run"]))
    if len(found) != 1:
        which = f"with model={model}" if model else ""
        names = ": " + " | ".join(str(study / run) for run in found) if found else ""
        raise RecordError(f"{study} has {len(found)} finished runs {which}; give one as run=...{names}")
    return study / str(found[0])


def write(options: Options) -> None:
    """Do what the options ask for."""
    machine.prepare()
    folder = Path(options.run) if options.run else find_run(
        find_study(Path(options.outputs_dir), options.study), options.model
    )  # fmt: skip
    writer = load_writer(folder, options.weights, options.model_seed)
    written = writer.write(options.prefix, options.length, options.temperature, options.top_k, options.seed)
    print(options.prefix, end="", flush=True)
    for character in written:
        print(character, end="", flush=True)
    print()


def main() -> None:
    """Run ``python -m memexp.generate``."""
    run_command("generate", Options, write)


if __name__ == "__main__":
    main()
