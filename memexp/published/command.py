"""The table of what others published beside ours: ``python -m memexp.published``."""

from dataclasses import dataclass
from pathlib import Path

from memexp.errors import Complaints
from memexp.fields import ranged
from memexp.files import write_table
from memexp.options import run_command
from memexp.progress import say
from memexp.published import guessing, lengths, sequences
from memexp.published.claims import Claim, Measured, as_text, table
from memexp.training import machine

CLAIMS: tuple[Claim, ...] = (*guessing.CLAIMS, *sequences.CLAIMS, *lengths.CLAIMS)


@dataclass
class Options:
    """Measure what others published, and say whether ours agrees with it.

    What is trained is taken from the records of python -m memexp experiment=published; what is guessed is done now, in
    about two minutes. Each row is also in images_dir/published/published.csv.
    """

    searches: int = ranged(2, default=400, about="repetitions of each random search; in 2001 they were 40")
    trials: int = ranged(1, default=100_000, about="networks that are tried in each, at most")
    study: str = ranged(default="published", about="the folder below outputs_dir with the records")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the table goes")


def publish(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if a run had to be left out."""
    machine.prepare()
    complaints = Complaints()
    measured = Measured(options.searches, options.trials, Path(options.outputs_dir, options.study))
    for line in measured.missing:
        complaints.add(line)
    found = table(CLAIMS, measured)
    say(f"\n{as_text(found)}\n(means and their 95 % intervals; n: seeds, or searches)\n")
    path = Path(options.images_dir, "published", "published.csv")
    write_table(path, found)
    say(f"the same as a table: {path}")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.published``."""
    run_command("published", Options, publish)
