"""Seeds that another run of the study has trained already: taken from there, not trained again.

A seed learns the same alone and in any group, so a run of seeds 0..3 is a run of 0..1 and one of 2..3 side by side: in
its history, its weights and its scores. In float32 that holds but for the last bit: the optimiser rounds the numbers at
the end of a tensor, which are of the last seed, in another way.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memexp.errors import RecordError
from memexp.results import record
from memexp.results.history import HISTORY_COLUMNS
from memexp.results.seals import Seal, seal_of
from memexp.training import checkpoints
from memexp.training.neighbours import MADE_BY, differing_in
from memexp.training.runner import BEFORE_END, ORIGIN

REST = "rest"  # begins the name of a folder in a run folder: the run of the seeds that are nowhere else
BY_SEED = ("weights", "best", "best_score", "best_iteration", "diverged_at", "carried", "running")  # in a last.pt
ENDINGS = (BEFORE_END, ORIGIN)  # there too: of a part alone


@dataclass(frozen=True)
class Part:
    """A complete run, and which of its seeds are taken."""

    folder: Path
    summary: dict[str, Any]
    seeds: list[int]

    @property
    def sealed(self) -> Mapping[str, Seal] | None:
        """The seals of its files; None if it has none."""
        return self.summary.get(record.SEALED)

    @property
    def places(self) -> list[int]:
        """Where these seeds are on the run's axis S."""
        all_seeds: list[int] = self.summary["config"]["seeds"]
        return [all_seeds.index(seed) for seed in self.seeds]


def find(folder: Path, identity: Mapping[str, Any], made_by: Mapping[str, Any]) -> list[Part]:
    """Find complete runs of the same study that differ from a run in their seeds alone.

    Args:
        folder: the run's folder; its neighbours are looked at whose names differ in nothing but the seeds.
        identity: the run's.
        made_by: what it is made by; see `memexp.training.neighbours.MADE_BY`.

    Returns:
        As few runs as it takes, those with the most of its seeds first; no seed is in two of them.
    """
    known = [
        (other, summary)
        for other, summary in differing_in("seeds", folder, identity)
        if all(summary[key] == made_by[key] for key in MADE_BY)
    ]
    parts: list[Part] = []
    left: list[int] = list(identity["seeds"])
    while left:
        best = max(known, key=lambda run: len(set(left) & set(run[1]["config"]["seeds"])), default=None)
        taken = [seed for seed in left if best is not None and seed in best[1]["config"]["seeds"]]
        if best is None or not taken:
            break
        parts.append(Part(*best, taken))
        left = [seed for seed in left if seed not in taken]
    return parts


def rest_folder(folder: Path, seeds: Sequence[int]) -> Path:
    """Return where some of a run's seeds are trained: other seeds are elsewhere, so that a beginning is no obstacle."""
    return folder / f"{REST}-{hashlib.sha256(str(list(seeds)).encode()).hexdigest()[:8]}"


def join(
    parts: Sequence[Part], folder: Path, seeds: Sequence[int], identity: str
) -> tuple[dict[str, Any], dict[str, Seal]]:
    """Write the history and weights of a run out of those of others; return its summary, and the seals of these files.

    Args:
        parts: between them they have each seed once.
        folder: of the run; all but its summary is written.
        seeds: of the run, in their order.
        identity: of the run, for its checkpoint.

    Raises:
        RecordError: a file of another run is damaged, or one of this run cannot be written.
    """
    order = [seed for part in parts for seed in part.seeds]
    places = torch.tensor([order.index(seed) for seed in seeds])
    best = [checkpoints.load(part.folder / record.BEST, "weights", sealed=part.sealed) for part in parts]
    last = [checkpoints.load(part.folder / record.LAST, "training", sealed=part.sealed)["training"] for part in parts]
    longest = max(last, key=lambda state: state["iteration"])  # a run whose seeds all stopped has fewer updates

    def together(values: Sequence[Any]) -> Any:
        return _joined(values, [part.places for part in parts], places)

    history = _histories(parts, seeds)
    record.write_bytes(folder / record.HISTORY, history)
    first = next(part for part in parts if seeds[0] in part.seeds)
    if (first.folder / record.WRITTEN).exists():  # the first seed writes
        record.write_bytes(folder / record.WRITTEN, record.read_bytes(first.folder, record.WRITTEN, first.sealed))
    state = {
        **{key: value for key, value in longest.items() if key not in ENDINGS},
        **{key: together([state[key] for state in last]) for key in BY_SEED},
        "optimizer": {**longest["optimizer"], "state": together([state["optimizer"]["state"] for state in last])},
        "identity": identity,
        "seconds": sum(state["seconds"] for state in last),
        record.SEALED: record.seals_of(folder, [record.HISTORY, record.WRITTEN]),
        ORIGIN: {},
        **_before_end(parts, seeds, last, together),
    }
    return _summary(parts, seeds), {
        record.HISTORY: seal_of(history),
        record.LAST: checkpoints.save(folder / record.LAST, {"training": state}),
        record.BEST: checkpoints.save(
            folder / record.BEST, {**best[0], "weights": together([own["weights"] for own in best])}
        ),
    }


def _before_end(
    parts: Sequence[Part],
    seeds: Sequence[int],
    last: Sequence[Mapping[str, Any]],
    together: Callable[[Sequence[Any]], Any],
) -> dict[str, Any]:
    """Put together what was before the end of runs, for `memexp.training.extending`.

    Nothing is known of it where a run does not say, or where all seeds of some of them stopped before the others' end.
    """
    ends: list[Any] = [state.get(BEFORE_END) for state in last]
    if not all(ends):
        return {BEFORE_END: {}} if all(end == {} for end in ends) else {}
    before = {key: together([end[key] for end in ends]) for key in ends[0] if key in BY_SEED}
    unread = []
    for of_update in zip(*(end["unread"] for end in ends), strict=True):
        answers, *rows = zip(*of_update, strict=True)
        unread.append((together(answers), *(own[0] if _are_shared(own) else together(own) for own in rows)))
    history = _histories(parts, seeds, [end[record.SEALED][record.HISTORY][0] for end in ends])
    first = next(end for end, part in zip(ends, parts, strict=True) if seeds[0] in part.seeds)
    sealed = {**first[record.SEALED], record.HISTORY: seal_of(history)}
    return {BEFORE_END: {**before, "unread": unread, record.SEALED: sealed}}


def _are_shared(rows: Sequence[Tensor | None]) -> bool:
    """Say whether targets, or their weights, of several runs are the same for all seeds: [1, B, A], or none."""
    first = rows[0]
    return first is None or all(own is not None and len(own) == 1 and torch.equal(own, first) for own in rows)


def _joined(parts: Sequence[Any], taken: Sequence[list[int]], places: Tensor) -> Any:
    """Put the seeds of nested tensors [S, ...] together: those taken of each part, then in the order of ``places``."""
    first = parts[0]
    if isinstance(first, Tensor):
        if first.dim() == 0:  # Adam's count of updates
            return max(parts)
        return torch.cat([part[own] for part, own in zip(parts, taken, strict=True)])[places]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts], taken, places) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined(inner, taken, places) for inner in zip(*parts, strict=True))
    return first


def _histories(parts: Sequence[Part], seeds: Sequence[int], sizes: Sequence[int | None] | None = None) -> bytes:
    """Put histories together: at each update what is noted first is written first, seed by seed.

    Args:
        parts: whose.
        seeds: in the order of the run.
        sizes: of the beginning of each that is wanted, in bytes; None for all of it.
    """
    noted: list[tuple[int, int, int, list[str]]] = []  # update, which note of it, seed, line
    for part, size in zip(parts, sizes or [None] * len(parts), strict=True):
        try:
            content = record.read_bytes(part.folder, record.HISTORY, part.sealed)[:size]
            lines = list(csv.reader(io.StringIO(content.decode())))[1:]
            if not {line[1] for line in lines} >= set(map(str, part.seeds)):
                raise ValueError("seeds are missing in it")
            for _, of_update in groupby(lines, key=lambda line: int(line[0])):
                notes: dict[tuple[str, str], int] = {}
                for line in of_update:
                    note = notes.setdefault((line[2], line[3]), len(notes))
                    if int(line[1]) in part.seeds:
                        noted.append((int(line[0]), note, seeds.index(int(line[1])), line))
        except (ValueError, IndexError) as error:
            raise RecordError(f"{part.folder / record.HISTORY} is damaged ({error})") from error
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    writer.writerows(line for *_, line in sorted(noted))
    return text.getvalue().encode()


def _summary(parts: Sequence[Part], seeds: Sequence[int]) -> dict[str, Any]:
    """Put summaries together; what is said of the whole run is the same in all, but for the time it took."""
    of_seed = {seed["seed"]: seed for part in parts for seed in part.summary["seeds"] if seed["seed"] in part.seeds}
    right = {seed: marks for part in parts for seed, marks in part.summary["test_right"].items()}
    seconds = [part.summary["seconds"] * len(part.seeds) / len(part.summary["seeds"]) for part in parts]
    tokens = [part.summary.get("tokens_per_second", 0.0) * own for part, own in zip(parts, seconds, strict=True)]
    longest = max(parts, key=lambda part: part.summary["updates"]).summary
    return {
        **{key: value for key, value in longest.items() if key != ORIGIN},
        "seconds": sum(seconds),
        "tokens_per_second": sum(tokens) / max(sum(seconds), 1e-9),
        "config": {**longest["config"], "seeds": list(seeds)},
        "seeds": [of_seed[seed] for seed in seeds],
        "test_right": {str(seed): right[str(seed)] for seed in seeds if str(seed) in right},
    }
