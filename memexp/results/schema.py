"""What a summary may hold: types and ranges. A value that cannot be is one line, whoever wrote it."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memexp.errors import RecordError
from memexp.results.seals import are_seals

DEEPEST = 6  # nodes within nodes of a config; memexp's own has two
SLACK = 1e-6  # a share that is a sum of many numbers may be beyond 1 by as much


def check(summary: dict[str, Any], path: Path, remedy: str) -> None:
    """Check the content of a summary.

    Args:
        summary: the content.
        path: of its file, for the error.
        remedy: what to do, for the error.

    Raises:
        RecordError: a value is missing, unknown, of another type or out of range; the first one is named.
    """
    complaint = next(_complaints(summary), None)
    if complaint:
        raise RecordError(f"{path} is damaged ({complaint}); {remedy}")


def _complaints(summary: dict[str, Any]) -> Iterator[str]:
    for key in REQUIRED:
        if key not in summary:
            yield f"{key} is missing"
    for key, value in summary.items():
        if key not in KEYS:
            yield f"{_short(key)} is unknown"
        what, allows = KEYS[key]
        if not allows(value):
            yield f"{key} is {_short(value)}, not {what}"
    config, seeds = summary["config"], summary["seeds"]
    if config["seeds"] != [seed["seed"] for seed in seeds]:
        yield "seeds are others than those of config"
    shares = {"accuracy", *(column.partition("_")[2] for column, share in summary["shown"].items() if share)}
    for metric, by_name in summary["floors"].items():
        if metric in shares and not all(value is None or is_share(value) for value in by_name.values()):
            yield f"floors of {_short(metric)[1:-1]} are {_short(by_name)}, not shares from 0 to 1"
    for seed in seeds:
        if not -1 <= seed.get("best_iteration", -1) <= summary.get("updates", math.inf):
            yield f"best_iteration of seed {seed['seed']} is {seed['best_iteration']}, not one of its updates"
        for name, value in seed.items():
            if value is not None and any(name.endswith(f"_{share}") for share in shares) and not is_share(value):
                yield f"{_short(name)[1:-1]} of seed {seed['seed']} is {value}, not a share from 0 to 1"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number that fits into 64 bits."""
    return type(value) in (int, float) and math.isfinite(value) and (type(value) is float or abs(value) < 2**63)


def is_share(value: Any) -> bool:
    """Say whether a value is a number from 0 to 1."""
    return is_number(value) and -SLACK <= value <= 1 + SLACK


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, bool) or is_number(value)


def _is_list_of(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(allows, value))


def _is_dict_of(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(allows, value.values()))


def _is_node(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return depth < DEEPEST and all(_is_node(item, depth + 1) for item in value.values())
    return _is_plain(value) or _is_list_of(_is_plain)(value)


def _is_config(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_node(value)
        and type(value.get("length")) is int
        and 1 <= value["length"] < 2**31
        and _is_list_of(_is_count)(value.get("seeds"))
        and all(isinstance(value.get(node), dict) and _is_text(value[node].get("name")) for node in ("task", "model"))
    )


def _is_seed(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_count(value.get("seed"))
        and type(value.get("best_iteration", -1)) is int
        and (value.get("diverged_at") is None or _is_count(value["diverged_at"]))
        and all(number is None or is_number(number) for number in value.values())
    )


def _is_right(value: Any) -> bool:
    return _is_dict_of(lambda marks: _is_text(marks) and not set(marks) - {"0", "1"})(value)


def _is_interface(value: Any) -> bool:
    counts = ("inputs", "outputs", "longest")
    return isinstance(value, dict) and {*value} == {*counts, "every_step"} and all(_is_count(value[k]) for k in counts)


def _is_about(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_is_plain(item) or _is_list_of(_is_plain)(item) for item in value.values())
        and all(ABOUT[key](item) for key, item in value.items() if key in ABOUT)
    )


_COUNT, _AMOUNT, _TEXT = ("a whole number", _is_count), ("a number from 0", _is_amount), ("a text", _is_text)

#: What figures and tables take from ``about``, where it is there.
ABOUT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        ("train_rows", "dev_rows", "test_rows", "choosing_characters"), lambda v: v is None or _is_count(v)
    ),
    **dict.fromkeys(("train_characters", "dev_characters", "test_characters"), _is_count),
    **dict.fromkeys(("exact_over",), _is_text),
    **dict.fromkeys(("target_entropy_bits", "floor_per_step"), _is_amount),
    **dict.fromkeys(("chance_accuracy",), is_share),
}

#: What a summary may hold: key -> what it is, in words, and the test of that.
KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "format": _COUNT,
    "memexp": _TEXT,
    "torch": _TEXT,
    "device_used": _TEXT,
    "title": _TEXT,
    "trained_on": _TEXT,
    "parameters": _COUNT,
    "state_size": _COUNT,
    "hidden_sizes": ("whole numbers", _is_list_of(_is_count)),
    "updates": _COUNT,
    "seconds": _AMOUNT,
    "tokens_per_second": _AMOUNT,
    "interface": ("the sizes of inputs and outputs", _is_interface),
    "about": ("a value for each name", _is_about),
    "floors": ("numbers by metric and name", _is_dict_of(_is_dict_of(lambda v: v is None or is_number(v)))),
    "shown": ("true or false for each score", _is_dict_of(lambda v: type(v) is bool)),
    "panels": ("names of settings", _is_list_of(_is_text)),
    "later": ("what settings are in records that do not name them", _is_dict_of(_is_plain)),
    "sequences_seen": _COUNT,
    "machine": ("texts by name", _is_dict_of(_is_text)),
    "went_on_from": ("a run, its epochs and updates", _is_dict_of(_is_plain)),
    "config": ("the settings of a run", _is_config),
    "seeds": ("the scores of seeds", _is_list_of(_is_seed)),
    "test_right": ("a text of 0 and 1 for each seed", _is_right),
    "sealed": ("size and hash of files", are_seals),
    "sealed_later": ("names of files", _is_list_of(_is_text)),
}
#: Those that whoever reads a study needs.
REQUIRED = (
    "format", "memexp", "torch", "device_used", "title", "trained_on", "parameters", "hidden_sizes", "updates",
    "seconds", "about", "floors", "shown", "config", "seeds", "test_right",
)  # fmt: skip
