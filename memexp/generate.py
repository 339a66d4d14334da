"""Let a trained character language model write: ``python -m memexp.generate``.

The state is carried from character to character, not recomputed. Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Generator

from memexp import choosing, trained
from memexp.errors import RecordError
from memexp.escaping import plain
from memexp.fields import ranged
from memexp.models.networks import SequenceModel
from memexp.options import run_command
from memexp.progress import LINES
from memexp.tasks.text.characters import encode, opening, typed
from memexp.tasks.text.writing import go_on
from memexp.trained import MODULES
from memexp.training import machine


@dataclass
class Options:
    """Go on from a prefix, character by character, with a trained character language model."""

    prefix: str = ranged(default="", about="what to go on from, a newline as \\n; nothing: a space, or a new line")
    length: int = ranged(1, default=200, about="characters to write")
    temperature: float = ranged(above=0, default=1.0, about="with top_k: below 1 the likely become likelier")
    top_k: int = ranged(1, default=1, about="draw among this many likeliest characters; 1: always the likeliest")
    seed: int = ranged(0, most=2**63 - 1, default=0, about="of the drawing")
    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: the only one, or char_lm")
    model: str | None = ranged(default=None, about="which of the study's runs: its model; null: there is but one")
    run: str | None = ranged(default=None, path=True, about="a run folder, instead of study and model")
    model_seed: int | None = ranged(default=None, about="which of the run's seeds; null: the first")
    weights: str = ranged(
        one_of=("best", "last"), default="last", about="after the last update, or at the best dev perplexity"
    )
    modules: list[str] = ranged(default=[], about=MODULES)
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")


@dataclass(frozen=True)
class Writer:
    """A language model of one seed (S = 1) and its characters."""

    model: SequenceModel
    vocabulary: list[str]

    def write(self, prefix: str, length: int, temperature: float, top_k: int, seed: int) -> Iterator[str]:
        """Return ``length`` characters that go on from a prefix, one by one, as soon as each is drawn.

        Raises:
            ConfigError: the prefix has characters that the model does not know.
        """
        codes = encode(typed(prefix, self.vocabulary) or opening(self.vocabulary), self.vocabulary)
        written = go_on(self.model, codes, length, temperature, top_k, Generator().manual_seed(seed))
        return (self.vocabulary[code] for code in written)


def load_writer(folder: Path, weights: str, model_seed: int | None, modules: Sequence[str] = ()) -> Writer:
    """Rebuild the language model of one seed; None for the first. For the rest see `memexp.trained.load`.

    Raises:
        ConfigError: the run has no such seed.
        RecordError: it is of a task in which there is nothing to write, or the last weights are asked for, and the seed
            stopped before.
        MemexpError: see `memexp.trained.load`.
    """
    run = trained.load(folder, weights, modules)
    if not run.kind.writes:
        raise RecordError(f"{folder} is of the task {run.config.task.name}; a run of task=char_lm can write")
    seed = run.seeds[0] if model_seed is None else model_seed
    run.place(seed, "model_seed")
    if weights == "last" and run.record_of(seed)["diverged_at"] is not None:
        raise RecordError(f"seed {seed} of {folder} stopped: its loss was not finite; give weights=best")
    return Writer(run.of(seed), list(run.reading.outputs))


def write(options: Options) -> None:
    """Do what the options ask for.

    Raises:
        MemexpError: in one line, what came, what is allowed and what to do.
    """
    machine.prepare()
    accepted = {"accept": lambda kind: kind.writes, "what": "run of a language model", "modules": options.modules}
    folder = choosing.choose(options, None, "char_lm", usual={}, **accepted)
    writer = load_writer(folder, options.weights, options.model_seed, options.modules)
    written = writer.write(options.prefix, options.length, options.temperature, options.top_k, options.seed)
    print(plain(typed(options.prefix, writer.vocabulary), LINES), end="", flush=True)
    for character in written:
        print(plain(character, LINES), end="", flush=True)
    print()


def main() -> None:
    """Run ``python -m memexp.generate``."""
    run_command("generate", Options, write)


if __name__ == "__main__":
    main()
