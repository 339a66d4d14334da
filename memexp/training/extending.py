"""More epochs: a run goes on from the last checkpoint of a shorter one of its study, and that one stays as it is.

Batches are pure functions of the update, so a run of 500 epochs is the beginning of one of 1000, bit for bit, but for
what was done only because it was the end: notes and scores at an update at which none were due, what a language model
wrote then. So the last checkpoint of a run also holds what was before its end (`BEFORE_END`), and from there the
longer run does what is due at that update itself.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memexp.errors import RecordError
from memexp.results import record, seals
from memexp.results.identity import identity_text
from memexp.results.seals import Seal
from memexp.training import checkpoints
from memexp.training.neighbours import MADE_BY, differing_in
from memexp.training.runner import BEFORE_END, MIDWAY, ORIGIN

log = logging.getLogger(__name__)


def begin(folder: Path, identity: Mapping[str, Any], made_by: Mapping[str, Any]) -> bool:
    """Begin a run where a shorter one ended, if there is one: with its checkpoint, history and what it wrote.

    The checkpoint is written last: where that is missing, nothing was begun.

    Args:
        folder: the run's folder.
        identity: the run's.
        made_by: what it is made by; see `memexp.training.neighbours.MADE_BY`.

    Returns:
        Whether it was begun so.

    Raises:
        RecordError: a file of this run cannot be written.
    """
    shorter = [
        (summary["config"]["epochs"], other, summary)
        for other, summary in differing_in("epochs", folder, identity)
        if summary["config"]["epochs"] < identity["epochs"]
    ]
    for epochs, other, summary in sorted(shorter, key=lambda run: -run[0]):
        try:
            _check_maker(other, summary, made_by)
            state, files = _before_end(other, summary, identity)
        except RecordError as error:
            log.warning("not gone on from: %s", error)
            continue
        for name, content in files.items():
            record.write_bytes(folder / name, content)
        origin = {"run": other.name, "epochs": epochs, "updates": state["iteration"]}
        state |= {"identity": identity_text(dict(identity)), ORIGIN: origin}
        checkpoints.save(folder / record.LAST, {"training": state})
        log.info("%d of %d epochs are trained already, in %s: goes on from there", epochs, identity["epochs"], other)
        return True
    return False


def _check_maker(folder: Path, summary: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
    for key in MADE_BY:
        if summary[key] != made_by[key]:
            raise RecordError(f"{folder} is of {key.replace('_', ' ')} {summary[key]}, not {made_by[key]}")


def _before_end(
    folder: Path, summary: Mapping[str, Any], identity: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the state of a complete run as a longer one would have had it at that update, and its files up to there.

    Raises:
        RecordError: a file is damaged, or the checkpoint does not hold what it takes.
    """
    sealed: Mapping[str, Seal] | None = summary.get(record.SEALED)
    path = folder / record.LAST
    state: dict[str, Any] = checkpoints.load(path, "training", sealed=sealed)["training"]
    if BEFORE_END not in state and not _is_beginning(state, identity):
        raise RecordError(f"{path} does not say what was before the end of the run, where notes were made")
    if before := state.get(BEFORE_END):  # nothing where all seeds stopped earlier: a longer run would end there too
        del state[BEFORE_END]
        state |= {**before, MIDWAY: True}
    files = {}
    for name, seal in state.get(record.SEALED, {}).items():
        content = record.read_bytes(folder, name, sealed)[: seal[0]]
        if seals.broken(content, seal):
            raise RecordError(f"{folder / name} is not what {path} says")
        files[name] = content
    if record.HISTORY not in files:
        raise RecordError(f"{path} is of a memexp that did not seal")
    return state, files


def _is_beginning(state: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Say whether a run's end is as a longer one would have it there: all that was noted was due, and nothing written.

    That is how a checkpoint of a memexp that did not keep `BEFORE_END` can be gone on from, and one that was joined.
    """
    due = all(state["iteration"] % identity[steps] == 0 for steps in ("eval_steps", "log_steps"))
    return due and record.WRITTEN not in state.get(record.SEALED, {})
