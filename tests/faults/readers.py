"""The records that damage is done to, and those who read them: each a function of the folder that they are in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.damage import Aloud, Reader
from helpers import config_of

from memexp import experiment, progress, sweeps, trained, verify
from memexp.errors import MemexpError
from memexp.explorer.export import export_study
from memexp.files import Collection
from memexp.gates import command as gates
from memexp.generate import load_writer
from memexp.results import record, tables
from memexp.results.collect import collect
from memexp.results.history import read_history
from memexp.results.study import load_study, read_histories
from memexp.training import checkpoints
from memexp.training.runner import Runner

DIGITS = ("length=4", "epochs=2", "seeds=2", "batch_size=150", "model.hidden_size=4", "checkpoint_seconds=0")
TEXT = (
    "task=char_lm", "model=gru", "length=8", "epochs=2", "seeds=2", "batch_size=64", "model.hidden_size=4",
    "checkpoint_seconds=0", "task.max_chars=600", "task.prefixes=[the]", "task.pred_period=1", "task.pred_chars=5",
)  # fmt: skip


def config(root: Path, study: str, overrides: tuple[str, ...]) -> Any:
    """Return the config of a run whose files are all below a folder."""
    return config_of(*overrides, f"study={study}", f"datasets_dir={root / 'datasets'}", f"outputs_dir={root}")


def folder(root: Path, study: str) -> Path:
    """Return the folder of the one run of a study."""
    return root / study / "run"


class StoppedError(BaseException):
    """A training that was to begin; ``state`` is what it would have begun with."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state


@contextmanager
def stopped_after(updates: int) -> Iterator[None]:
    """Let a training be killed after an update, before its checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        save = Runner.save_checkpoint

        def killed(self: Runner, *arguments: Any) -> None:
            if self.iteration > updates:
                raise StoppedError(None)
            save(self, *arguments)

        patch.setattr(Runner, "save_checkpoint", killed)
        try:
            yield
        except StoppedError:
            return
    raise AssertionError("it was to be stopped")


def write_records(root: Path) -> None:
    """Write a finished and an unfinished run of each kind: studies ``digits``, ``text``, and ``... begun``."""
    for study, overrides, updates in (("digits", DIGITS, 2), ("text", TEXT, 1)):
        made = config(root, study, overrides)
        experiment.run(made, folder(root, study))
        with stopped_after(updates):
            experiment.run(made, folder(root, f"{study} begun"))


# --- who reads ---


def collected(study: str) -> Reader:
    """Collect the table of a study, as a sweep does at its end."""

    def read(root: Path) -> Any:
        found = collect([folder(root, study)])
        for line in found.missing:
            raise MemexpError(line)
        return found.rows, found.settings, found.shown, found.floors

    return read


def analysed(study: str) -> Reader:
    """Read all that the analysis draws."""

    def read(root: Path) -> Any:
        found = load_study(root / study, Aloud())
        histories = read_histories(found.rows, root, Aloud())
        return found.rows, tables.results(found.rows, found.settings, found.shown), list(histories.values())

    return read


def history(study: str) -> Reader:
    """Read the curves."""
    return lambda root: read_history(folder(root, study))


def weights(study: str, which: str = "best") -> Reader:
    """Load the trained model, as gates and explorer do."""

    def read(root: Path) -> Any:
        run = trained.load(folder(root, study), which)
        return run.summary, dict(run.model.state_dict())

    return read


def checkpoint(study: str, name: str) -> Reader:
    """Load a checkpoint of a finished run, or of one that is not."""

    def read(root: Path) -> Any:
        there = folder(root, study)
        sealed = record.read_summary(there)[record.SEALED] if record.is_complete(there) else None
        return checkpoints.load(there / name, "weights" if name == record.BEST else "training", sealed=sealed)

    return read


def explored(study: str) -> Reader:
    """Export the page of the explorer."""
    return lambda root: export_study(root / study, None, Aloud())


def sheet(study: str) -> Reader:
    """Trace the gates over a sequence."""

    def read(root: Path) -> Any:
        run = trained.load(folder(root, study))
        sequence = run.reading.read("67" if study == "digits" else "the")
        return gates.as_arrays(run.of(0).trace(sequence[None, None]))["hidden_state"].tolist()

    return read


def written(study: str) -> Reader:
    """Let the language model write."""
    return lambda root: "".join(load_writer(folder(root, study), "last", None).write("the", 30, 1.0, 1, 0))


def verified(study: str) -> Reader:
    """Compare the run with its seals."""

    def read(root: Path) -> str:
        for line in verify.faults(folder(root, study)):
            raise MemexpError(line)
        return "as it was sealed"

    return read


def again(study: str, overrides: tuple[str, ...]) -> Reader:
    """Give the command of a finished run again: it is skipped, if its data are those that it was trained on."""
    made: dict[Path, Any] = {}

    def read(root: Path) -> Any:
        if root not in made:
            made[root] = config(root, study, overrides)
        summary = experiment.run(made[root], folder(root, study))
        return {key: value for key, value in summary.items() if key not in ("seconds", "tokens_per_second")}

    return read


def resumed(study: str, overrides: tuple[str, ...]) -> Reader:
    """Go on with an unfinished run, up to where the training goes on: with which state, after which history?"""
    made: dict[Path, Any] = {}

    def read(root: Path) -> Any:
        if root not in made:
            made[root] = config(root, study, overrides)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Runner, "train", _show_state)
                experiment.run(made[root], folder(root, study))
        except StoppedError as stopped:
            there = folder(root, study)
            of_text = (there / record.WRITTEN).read_bytes() if (there / record.WRITTEN).exists() else b""
            return stopped.state, (there / record.HISTORY).read_bytes(), of_text
        raise AssertionError("it was to go on")

    return read


def _show_state(self: Runner, *_: Any, **__: Any) -> None:
    raise StoppedError(
        {
            "iteration": self.iteration,
            "weights": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            **{name: getattr(self, name) for name in ("_best", "best_score", "best_iteration", "diverged_at")},
            "running": {name: (mean.total, mean.count) for name, mean in self._running.items()},
            "unread": self._unread,
            "carried": self._carried,
        }
    )


def finished(study: str, overrides: tuple[str, ...]) -> Reader:
    """Go on with an unfinished run to its end."""
    go_on = again(study, overrides)

    def read(root: Path) -> Any:
        summary = go_on(root)
        there = folder(root, study)
        return (
            {key: value for key, value in summary.items() if key != record.SEALED},
            (there / record.HISTORY).read_bytes(),
            (there / record.WRITTEN).read_bytes() if (there / record.WRITTEN).exists() else b"",
        )

    return read


def floors(root: Path) -> Any:
    """Ask what simple models make of the text, which is noted below the data once it has been computed."""
    return experiment.build_task(config(root, "text", TEXT)).floors()


def progress_noted(study: str) -> Reader:
    """Read how far a run is: only for show, so that any share between nothing and all is as good."""

    def read(root: Path) -> Any:
        return 0 <= progress.read_progress(folder(root, study)) <= 1

    return read


def why_failed(study: str) -> Reader:
    """Read why a run failed: a text for people, of one line."""

    def read(root: Path) -> Any:
        (job,) = [sweeps.Job([], "run", folder(root, study))]
        state, reason = sweeps._state(job)
        return state == "unfinished" and len(reason.splitlines()) <= 1

    return read


def redrawn(root: Path) -> Any:
    """Draw what is not whole: whatever the list says, all is there then, and no file of others is touched."""
    files = Collection(root, "analysis")
    if not files.is_finished("records"):
        files.write("a.csv", b"a,b\n1,2\n")
        files.write("inner/b.csv", b"c,d\n3,4\n")
        files.finish("records")
    there = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in there}


def rows_written(study: str) -> Reader:
    """Write the table of a study again: what was in it does not count."""

    def read(root: Path) -> Any:
        return sweeps.write_results(root / study).read_bytes()

    return read
