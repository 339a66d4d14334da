"""What the tests of faults at file operations share: the commands, and giving one again after a fault."""

from collections.abc import Sequence
from pathlib import Path

from faults.commands import Server, differences
from faults.injector import WITHOUT_TRACE
from faults.tally import RIGHT, TRACEBACK, WRONG, Tally

SMALL = ("epochs=2", "seeds=2", "batch_size=300", "model.hidden_size=4", "checkpoint_seconds=0")
DIGITS = ("model=srn", "length=4", *SMALL)
TEXT = (
    "task=char_lm", "model=gru", "length=8", "epochs=2", "seeds=2", "batch_size=64", "model.hidden_size=4",
    "checkpoint_seconds=0", "task.max_chars=600", "task.prefixes=[the]", "task.pred_period=1", "task.pred_chars=5",
)  # fmt: skip
SWEEP = ("-m", "hydra/launcher=basic", *DIGITS)
LOST = WITHOUT_TRACE | {"chmod"}  # operations before which nothing has changed on the disk since the one before


def undisturbed(server: Server, folder: Path, arguments: Sequence[str]) -> tuple[Path, list[tuple[str, str]]]:
    """Do the command without a fault; return its folder and its operations."""
    ended = server.run(folder, tuple(arguments))
    assert ended.code == 0, ended.said
    assert len(ended.operations) > 50
    return folder, ended.operations


def goes_on(
    server: Server, tally: Tally, whole: Path, folder: Path, arguments: Sequence[str], what: str, outcome: str = RIGHT
) -> None:
    """Give the command again: its results are those of the one that was not disturbed; then note the outcome."""
    again = server.run(folder, tuple(arguments))
    if again.has_traceback:
        tally.note(TRACEBACK, f"{what}, then: {again.said[-300:]}")
    elif again.code != 0:
        tally.note(WRONG, f"{what}, then exit code {again.code}: {again.said[-300:]}")
    elif found := differences(whole, folder):
        tally.note(WRONG, f"{what}: {'; '.join(found[:3])}")
    else:
        tally.note(outcome)
