"""The identity of a run: what makes it this run, and not another one.

It is the run's resolved config and hashes of what is not in that: the data, the code of a user's own classes. A command
that finds another identity in its run's folder is refused, with the first difference.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memexp.errors import RecordError
from memexp.results.record import CONFIG, FORMAT, check_format, read_json, remedy

log = logging.getLogger(__name__)

#: Settings that do not change what a run computes; two configs that differ only in these are the same run.
NOT_IDENTITY = (
    "device", "study", "datasets_dir", "outputs_dir", "images_dir", "lang", "report", "checkpoint_seconds",
    "logger",
)  # fmt: skip
#: And those that two runs of the same setting may differ in: they are no columns to group by.
NOT_COMPARED = (*NOT_IDENTITY, "seeds", "gradient_norms")

INIT = "init_from"  # weights to begin with; in config.json their hash
UNTIL = "until_right"  # sequences in a row that end a run
LATER = (INIT, UNTIL)  # settings that came after there were records: where they are null, nothing names them
ENGINE, UNDECIDED = "engine", "auto"  # a run has one engine or the other; before it is chosen, none is compared
FIRST_ENGINE = "torch"  # of records that name none: there was no other
CLASSES = ("task", "model")  # the nodes of a config that name a class
SOURCE = "source"  # in these nodes of config.json: the code of a user's own class


def identity_of(
    config: dict[str, Any], fingerprint: str | None = None, sources: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what makes a run this run: its resolved config without `NOT_IDENTITY`, and hashes of what is not in it.

    Where a class is (``_target_``) is no part of it: its name is.

    Args:
        config: the settings.
        fingerprint: of the data; None if they are not known yet, see `check_identity`.
        sources: ``task`` or ``model`` -> the code of its class, where that is a user's own, see `memexp.sources`.
    """
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    if kept.get(ENGINE) == UNDECIDED:
        del kept[ENGINE]
    kept = {key: value for key, value in kept.items() if key not in LATER or value is not None}
    for node in CLASSES:
        kept[node] = {key: value for key, value in kept[node].items() if key != "_target_"}
    for node, source in (sources or {}).items():
        kept[node][SOURCE] = source
    whole = {"format": FORMAT, **kept}
    return whole if fingerprint is None else {**whole, "data": fingerprint}


def engine_of(folder: Path) -> str | None:
    """Return the engine that a run was begun with; None if it has not begun.

    Raises:
        RecordError: its config is damaged.
    """
    path = folder / CONFIG
    return str(read_json(path).get(ENGINE, FIRST_ENGINE)) if path.exists() else None


def identity_text(identity: dict[str, Any]) -> str:
    """Write an identity so that two of the same run are the same text."""
    return json.dumps(identity, sort_keys=True)


def first_difference(one: Any, other: Any, name: str = "") -> str | None:
    """Name the first setting in which two configs differ, with both values, or None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            inner = first_difference(one.get(key, "missing"), other.get(key, "missing"), f"{name}.{key}".lstrip("."))
            if inner:
                return inner
        return None
    return None if one == other else f"{name} is {json.dumps(one)} there, {json.dumps(other)} now"


def check_identity(folder: Path, wanted: dict[str, Any]) -> None:
    """Check that a run folder, if it has a config, is of the run that is wanted.

    Raises:
        RecordError: it is of another run; the first difference is named.
    """
    path = folder / CONFIG
    if not path.exists():
        return
    there = read_json(path)
    check_format(there, path)
    if not all(isinstance(there.get(node), dict) for node in CLASSES):
        raise RecordError(f"{path} is damaged (it has no task or no model); {remedy(path)}")
    there.setdefault(ENGINE, FIRST_ENGINE)
    for later in ("data", ENGINE):  # what is known only when data are read and the model is built
        if later not in wanted:
            there.pop(later, None)
    sources = {node: wanted[node].get(SOURCE) for node in CLASSES}
    if any(sources.values()) or any(SOURCE in there.get(node, {}) for node in CLASSES):
        check_sources(folder, sources)
        for node in CLASSES:  # a record of before does not say with what code; see `check_sources`
            if sources.get(node) and SOURCE not in there.get(node, {}):
                there[node][SOURCE] = sources[node]
    difference = first_difference(there, wanted)
    if difference is None:
        return
    if difference.startswith(f"{ENGINE} "):
        raise RecordError(
            f"{folder} was begun with engine={there[ENGINE]}, not {wanted[ENGINE]}: the last digits would differ; give "
            f"engine={there[ENGINE]} to go on with it, or another study=NAME"
        )
    if {**there, "epochs": None} == {**wanted, "epochs": None}:
        raise RecordError(
            f"{folder} holds a run of epochs={there['epochs']}, not {wanted['epochs']}; give "
            f"epochs={wanted['epochs']} on the command line: then it gets a folder of its own, and goes on from the "
            "longest shorter run; or give another study=NAME"
        )
    raise RecordError(f"{folder} {_said(difference, there, wanted)}; give another study=NAME, or move that folder away")


def _said(difference: str, there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say how the run of a folder differs from the one that is wanted."""
    if not difference.startswith("data "):
        return f"holds another run: {difference}"
    (then, *marks), (now, *others) = (str(content.get("data")).split("/") for content in (there, wanted))
    if then != now:
        return "was trained on other data or in another order"
    marks, others = ([mark for mark in one if mark not in other] for one, other in ((marks, others), (others, marks)))
    differ = f"{', '.join(marks) or 'all'} there, {', '.join(others) or 'all'} now"
    return f"was trained on the same data in another way ({differ})"


def check_sources(folder: Path, sources: Mapping[str, str | None]) -> None:
    """Check that the classes of a user's own are the code that a run was trained with.

    A record of before memexp 0.2 does not say what code that was, which is a warning.

    Args:
        folder: the run folder.
        sources: the code of each class now, see `memexp.sources.code_of`.

    Raises:
        RecordError: one is not; it is named.
    """
    there = read_json(folder / CONFIG)
    for node, now in sources.items():
        then = (there.get(node) or {}).get(SOURCE)
        if then == now:
            continue
        name = str(then or now).partition(" ")[0]
        if then is None:
            log.warning(
                "%s does not say with which code of %s it was trained; make sure that it is today's", folder, name
            )
            continue
        raise RecordError(
            f"{folder} was trained with other code of {name} than there is now; bring that code back, or train the new "
            "one with another study=NAME"
        )
