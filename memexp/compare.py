"""Say how two runs differ: ``python -m memexp.compare RUN RUN``. Their records are read, and nothing is written."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memexp.errors import ConfigError, RecordError, some
from memexp.fields import ranged
from memexp.files import shown
from memexp.options import run_command
from memexp.progress import say
from memexp.results import record
from memexp.results.history import read_history
from memexp.results.identity import ENGINE, FIRST_ENGINE, NOT_COMPARED

if TYPE_CHECKING:
    import pandas as pd

    from memexp.results.statistics import Difference

#: Settings in which runs may differ that should have learnt the same, as far as both have gone and have the seeds.
SAME_COURSE = ("seeds", "gradient_norms", "epochs", ENGINE)
MADE_BY = ("memexp", "torch", "device_used")  # in a summary; and in its ``machine``:
MACHINE = ("python", "numba", "processor", "system")
NOT_SETTINGS = ("format", "data")  # of an identity
LEVEL = 0.05  # of p, below which a difference is called more than chance


@dataclass
class Options:
    """Say how two complete runs differ, which is better, and where two that should be the same part."""

    runs: list[str] = ranged(default=[], path=True, bare=True, about="two run folders, given without a key")


class Run(NamedTuple):
    """A complete run, as its record has it."""

    folder: Path
    identity: dict[str, Any]
    summary: dict[str, Any]

    @property
    def made_by(self) -> dict[str, Any]:
        """Versions, device and machine; those that the record does not have are missing."""
        machine = self.summary.get("machine", {})
        return {
            **{key: self.summary[key] for key in MADE_BY},
            **{key: machine[key] for key in MACHINE if key in machine},
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What makes it this run, by dotted names, without its data."""
        flat = record.flatten({ENGINE: FIRST_ENGINE, **self.identity})
        return {key: value for key, value in flat.items() if key not in NOT_SETTINGS}

    @property
    def seeds(self) -> dict[int, dict[str, Any]]:
        """Seed -> its scores."""
        return {seed["seed"]: seed for seed in self.summary["seeds"]}


def read(given: str) -> Run:
    """Read a run.

    Raises:
        ConfigError: it is no folder of a run.
        RecordError: it is not complete, or damaged.
    """
    folder = Path(given)
    if not (folder / record.CONFIG).exists():
        inside = [run.name for run in record.run_folders(folder)] if folder.is_dir() else []
        hint = f"; it is a study, whose runs are {some(inside)}" if inside else ", outputs_dir/STUDY/NAME"
        raise ConfigError(f"{given} is no run folder{hint}")
    if not record.is_complete(folder):
        raise RecordError(f"{given} is not finished; give the command that started it again to go on, then compare")
    return Run(shown(folder), record.read_json(folder / record.CONFIG), record.read_summary(folder))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs: name -> both values, ``missing`` where there is none."""
    names = [*one, *(name for name in other if name not in one)]
    both = {name: (one.get(name, "missing"), other.get(name, "missing")) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def report(one: Run, other: Run) -> Iterator[str]:
    """Say in lines how two runs differ."""
    for name, run in (("one", one), ("other", other)):
        about = run.summary
        said = f"{about['title']}, {about['trained_on']}, {len(run.seeds)} seeds, {about['updates']} updates"
        yield f"{name + ':':<6} {run.folder} ({said})"
    settings = differences(one.settings, other.settings)
    data_differ = one.identity.get("data") != other.identity.get("data")
    made = differences(one.made_by, other.made_by)
    yield ""
    yield from _table("settings", settings)
    yield f"data: {'they differ' if data_differ else 'the same'}"
    yield from _table("made by", made)
    unknown = [key for key in MACHINE if key not in {**one.made_by, **other.made_by}]
    if unknown:
        yield f"not in the records: {', '.join(unknown)}"
    yield ""
    if not data_differ and {*settings} <= {*SAME_COURSE}:
        yield from _course(one, other)
    if data_differ or {*settings} - {*NOT_COMPARED}:
        yield from _scores(one, other, not data_differ)


def _table(what: str, found: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    if not found:
        yield f"{what}: the same"
        return
    yield f"{what}: {len(found)} differ{'s' if len(found) == 1 else ''}"
    rows = [(name, *map(_written, values)) for name, values in found.items()]
    widths = [max(len(row[k]) for row in rows) for k in range(2)]
    for name, first, second in rows:
        yield f"  {name:<{widths[0]}}  one: {first:<{widths[1]}}  other: {second}"


def _written(value: Any) -> str:
    """Write a value as it would be given on the command line."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


# Which is better? ---------------------------------------------------------------------------------------------------


def _scores(one: Run, other: Run, same_data: bool) -> Iterator[str]:
    """Say of each score that both have which run is better, with an interval and p, corrected for their number."""
    from memexp.results import statistics  # scipy takes a second

    both = [name for name in one.summary["shown"] if name in other.summary["shown"]]
    if not both:
        yield "scores: the runs have none in common"
        return
    paired = same_data and {*one.seeds} == {*other.seeds}
    columns = {name: _columns(one, other, name, paired) for name in both}
    found = {}
    for name, (first, second) in columns.items():
        if len(first) > 1 and len(second) > 1:
            found[name] = statistics.difference([*first.values()], [*second.values()], paired)
    corrected = dict(zip(found, statistics.holm([each.p for each in found.values()]), strict=True))
    how = "paired, for seeds and data are the same" if paired else f"the {'seeds' if same_data else 'data'} are others"
    yield f"scores: mean over seeds, difference with its 95 % interval, p corrected for all scores ({how})"
    for name in both:
        share = one.summary["shown"][name]
        means = [_shown(sum(own.values()) / len(own), share) if own else "none" for own in columns[name]]
        line = f"  {record.score_name(name)}: one {means[0]}, other {means[1]}"
        if name not in found:
            yield f"{line}; of fewer than two seeds nothing can be concluded"
            continue
        yield f"{line}: {_verdict(found[name], corrected[name], share)} (seeds: {_counted(columns[name])})"


def _columns(one: Run, other: Run, name: str, paired: bool) -> list[dict[int, float]]:
    """Return a score of both runs, by seed: of seeds that have one, and if they are paired, in both."""
    columns = [
        {seed: own[name] for seed, own in run.seeds.items() if own.get(name) is not None} for run in (one, other)
    ]
    if not paired:
        return columns
    return [{seed: own[seed] for seed in columns[0] if seed in columns[1]} for own in columns]


def _counted(columns: Sequence[Mapping[int, float]]) -> str:
    sizes = [len(own) for own in columns]
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]} and {sizes[1]}"


def _shown(value: float, share: bool) -> str:
    return f"{100 * value:.1f} %" if share else f"{value:.4g}"


def _verdict(found: "Difference", p: float, share: bool) -> str:
    """Say in words which one is better; of what is no share of right answers only which is larger."""
    scale, unit = (100, " points") if share else (1, "")
    larger, other = ("one", "other") if found.mean >= 0 else ("other", "one")
    sign = 1 if found.mean >= 0 else -1
    low, high = sorted((sign * found.low * scale, sign * found.high * scale))
    by = f"{sign * found.mean * scale:.3g}{unit} [{low:.3g}, {high:.3g}], p = {p:.2g}"
    if p >= LEVEL:
        return f"no difference beyond chance; {larger} is {'ahead' if share else 'larger'} by {by}"
    return f"{larger} is better by {by}" if share else f"{other} is smaller by {by}"


# Where do they part? ------------------------------------------------------------------------------------------------


def _course(one: Run, other: Run) -> Iterator[str]:
    """Say whether two runs that should have learnt the same have, and from where they have not."""
    seeds = [seed for seed in one.seeds if seed in other.seeds]
    if not seeds:
        yield "they should be the same but for their seeds, of which they have none in common"
        return
    which = "all" if len(seeds) == len(one.seeds) == len(other.seeds) else "the common"
    yield f"they should be the same in {which} {len(seeds)} seeds, as far as both have gone:"
    yield f"  history: {_parting(read_history(one.folder), read_history(other.folder), seeds)}"
    if one.summary["updates"] != other.summary["updates"]:
        yield "  weights and scores: not compared, for one has gone further"
        return
    for name, what in ((record.BEST, "best weights"), (record.LAST, "last weights")):
        yield f"  {what}: {_weights(one, other, name, seeds)}"
    apart = [seed for seed in seeds if one.seeds[seed] != other.seeds[seed]]
    yield f"  scores: {f'they differ in seeds {some(apart)}' if apart else 'the same'}"


def _parting(one: "pd.DataFrame", other: "pd.DataFrame", seeds: Sequence[int]) -> str:
    """Say at which update two histories part first, and in which value, to the six digits that they note."""
    keys = ["iteration", "seed", "split", "name"]
    both = one[one["seed"].isin(seeds)].merge(other, on=keys, suffixes=("_one", "_other"), how="inner")
    known = both[["value_one", "value_other"]].fillna(math.inf)
    differ = both[known["value_one"] != known["value_other"]]
    if differ.empty:
        return f"the same, in all {len(both)} values that both note, to update {both['iteration'].max()}"
    update, seed, split, name, first, second = differ.sort_values("iteration", kind="stable").iloc[0][
        [*keys, "value_one", "value_other"]
    ]
    before = both.loc[both["iteration"] < update, "iteration"]
    since = f" (at update {before.max()}, noted before that, they are the same)" if len(before) else ""
    values = f"{first:.6g} in one, {second:.6g} in other"
    return f"they part at update {update}{since}: {split} {name} of seed {seed} is {values}"


def _weights(one: Run, other: Run, name: str, seeds: Sequence[int]) -> str:
    """Say whether the weights of two runs are the same, bit for bit; torch is loaded here, and only here."""
    if not all((run.folder / name).exists() for run in (one, other)):
        return f"not compared, for there is no {name} in both"
    import torch

    from memexp.training import checkpoints

    tensors = []
    for run in (one, other):
        kind = "weights" if name == record.BEST else "training"
        content = checkpoints.load(run.folder / name, kind, sealed=run.summary.get(record.SEALED))[kind]
        places = [[*run.seeds].index(seed) for seed in seeds]
        weights = content["weights"] if kind == "training" else content
        tensors.append({key: tensor[places] for key, tensor in weights.items()})
    apart = {key: (tensors[0][key] - tensors[1][key]).abs().max().item() for key in tensors[0]}
    unequal = [key for key in apart if not torch.equal(tensors[0][key], tensors[1][key])]
    if not unequal:
        return "the same, bit for bit"
    largest = max(unequal, key=lambda key: apart[key])
    return f"they differ in {len(unequal)} of {len(apart)} tensors, most in {largest}, by {apart[largest]:.2g}"


def compare(options: Options) -> None:
    """Do what the options ask for.

    Raises:
        ConfigError: not two run folders were given.
        RecordError: one is not complete, or damaged.
    """
    if len(options.runs) != 2:
        raise ConfigError(
            f"two run folders are compared, {len(options.runs)} came; give python -m memexp.compare "
            "outputs/STUDY/RUN outputs/STUDY/RUN"
        )
    for line in report(*map(read, options.runs)):
        say(line)


def main() -> None:
    """Run ``python -m memexp.compare``."""
    run_command("compare", Options, compare)


if __name__ == "__main__":
    main()
