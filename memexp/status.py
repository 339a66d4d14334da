"""How studies stand, ``python -m memexp.status``: which runs are done, who is at which, what goes on with the rest."""

import itertools
import os
import re
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from memexp import progress
from memexp.errors import ConfigError, nearest
from memexp.fields import ranged
from memexp.options import run_command
from memexp.results import asked, claims, record
from memexp.words import columns

DONE, RUNNING, FAILED, STALE, UNFINISHED, LEFT = "done", "running", "failed", "stale", "unfinished", "left"
STATES = (DONE, RUNNING, FAILED, STALE, UNFINISHED, LEFT)
MOST, MOST_COMMANDS = 20, 5  # runs of a study, and commands, that are shown unless all are asked for
SETTINGS = Path(".hydra", "overrides.yaml")  # in a run folder: Hydra's note of the run's own settings
HYDRA = Path(".hydra", "hydra.yaml")  # and of Hydra's
BEGUN = (record.CONFIG, record.FAILURE, claims.CLAIM, SETTINGS)  # a folder that has one of these is a run's


@dataclass
class Options:
    """Say how the runs of studies stand, and give the command that goes on with the rest.

    done; running: a process gives signs of life; failed: with the reason; stale: claimed by a process that gives none,
    so it was killed; unfinished: interrupted; left: asked for by a sweep, and not begun.
    The exit code is 1 if a run needs you: it failed, is stale or unfinished, or is left and nothing is running.
    """

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: all of them")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    all: bool = ranged(default=False, about=f"list every run that is not done, not {MOST} of a study alone")
    watch: bool = ranged(default=False, about="look again and again, until all is done or Ctrl-C")
    every: float = ranged(default=5.0, above=0, about="with watch=true: seconds between two looks")


@dataclass(frozen=True)
class Run:
    """How a run stands: its folder, one of `STATES`, the share done, and what else there is to say."""

    folder: Path
    state: str
    share: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Standing:
    """How a study stands: its runs, and the commands that go on with those that nobody is at."""

    study: Path
    runs: list[Run]
    commands: list[str]

    @property
    def needs_you(self) -> bool:
        """Whether a run does not get done by itself."""
        states = {run.state for run in self.runs}
        return bool(states & {FAILED, STALE, UNFINISHED}) or (LEFT in states and RUNNING not in states)

    @property
    def counts(self) -> str:
        """How many runs there are of each state, in a line."""
        counts = Counter(run.state for run in self.runs)
        total = f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''}"
        return f"{self.study}: {total}: {', '.join(f'{counts[state]} {state}' for state in STATES if counts[state])}"


def state_of(folder: Path) -> Run | None:
    """Look at a run folder; None if it is no run's."""
    if record.is_complete(folder):
        return Run(folder, DONE)
    claim, age = claims.read(folder), claims.age(folder)
    share = progress.read_progress(folder)
    if age is not None:
        who = str(claim or "another process")
        last = f"last sign of life {progress.duration(age)} ago"
        if age > claims.LEASE_SECONDS or (claim is not None and claim.is_dead):
            return Run(folder, STALE, share, f"killed: {who}, {last}")
        return Run(folder, RUNNING, share, f"{who}, {last}")
    failure = record.read_failure(folder)
    if failure:
        return Run(folder, FAILED, share, failure)
    return Run(folder, UNFINISHED, share) if any((folder / name).exists() for name in BEGUN) else None


def standing(study: Path) -> Standing:
    """Look at a study."""
    sweeps = asked.sweeps_of(study)
    there = [study / entry.name for entry in os.scandir(study) if entry.is_dir() and entry.name[0] != "."]
    runs = {run.folder.name: run for run in map(state_of, there) if run is not None}
    for name in itertools.chain.from_iterable(sweep.runs for sweep in sweeps):
        runs.setdefault(name, Run(study / name, LEFT))
    ordered = sorted(runs.values(), key=lambda run: record.natural(run.folder))
    return Standing(study, ordered, _commands(ordered, sweeps))


def _commands(runs: Sequence[Run], sweeps: Sequence[asked.Sweep]) -> list[str]:
    """Return commands that go on with the runs that nobody is at: those of their sweeps, or made of their settings."""
    open_runs = {run.folder.name: run for run in runs if run.state not in (DONE, RUNNING)}
    commands = []
    for sweep in sweeps:
        if any(name in open_runs for name in sweep.runs):
            commands.append(_command(sweep.arguments, sweep.folder))
            open_runs = {name: run for name, run in open_runs.items() if name not in sweep.runs}
    alike: dict[tuple[str, tuple[str, ...]], list[dict[str, str]]] = {}
    for run in open_runs.values():
        settings = _settings(run.folder)
        if settings is not None:
            where, flags, values = settings
            alike.setdefault((where, flags), []).append(values)
    for (where, flags), runs_alike in alike.items():
        for box in boxes(runs_alike):
            many = any(len(own) > 1 for own in box.values())
            given = [f"{key}={','.join(own)}" for key, own in box.items()]
            commands.append(_command([*flags, *(["-m"] if many else []), *given], where))
    return commands


@cache  # they do not change while the runs are watched
def _settings(folder: Path) -> tuple[str, tuple[str, ...], dict[str, str]] | None:
    """Return where a run was started, its flags and its settings, as Hydra noted them; None if it did not."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is
    try:
        overrides = yaml.load((folder / SETTINGS).read_bytes(), loader)
        part = re.search(r"^  runtime:\n(    .*\n)+", (folder / HYDRA).read_text(encoding="utf-8"), re.M)
        runtime = yaml.load(part[0] if part else "", loader)["runtime"]
        flags = tuple(
            f"--config-dir={source['path']}"
            for source in runtime["config_sources"]
            if source["provider"] == "command-line"
        )
        values = dict(str(override).split("=", 1) for override in overrides)
        values.setdefault("model", str(runtime["choices"]["model"]))  # or -m would take two
        return str(runtime["cwd"]), flags, values
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def boxes(runs: Iterable[dict[str, str]]) -> list[dict[str, list[str]]]:
    """Put runs together that a sweep can start: key -> values, where each combination is one of the runs."""
    found = [{key: [value] for key, value in run.items()} for run in runs]
    for key in dict.fromkeys(key for box in found for key in box):
        merged: dict[tuple[object, ...], dict[str, list[str]]] = {}
        for box in found:
            others = (key in box, *sorted((name, tuple(values)) for name, values in box.items() if name != key))
            if others in merged and key in box:
                merged[others][key] += [value for value in box[key] if value not in merged[others][key]]
            else:
                merged[others] = dict(box)
        found = list(merged.values())
    return found


def _command(arguments: Sequence[str], folder: str) -> str:
    """Write a command of memexp so that it can be pasted into a shell."""
    command = " ".join(["python -m memexp", *map(quoted, arguments)])
    return command if folder == os.getcwd() else f"{command}  (in the folder {folder})"


def quoted(argument: str) -> str:
    """Quote what a shell would read in its own way: in double quotes where these do, as every shell knows them."""
    if re.fullmatch(r"[\w@%+=:,./-]+", argument, re.ASCII):
        return argument
    return shlex.quote(argument) if set(argument) & set('"$`\\!') else f'"{argument}"'


def studies(options: Options) -> list[Path]:
    """List the studies that are asked for.

    Raises:
        ConfigError: there is none, or none of that name.
    """
    outputs = Path(options.outputs_dir)
    there = sorted(path.name for path in outputs.glob("*") if path.is_dir() and _is_study(path))
    if options.study is None and there:
        return [outputs / name for name in there]
    if options.study in there:
        return [outputs / str(options.study)]
    if not there:
        raise ConfigError(f"{outputs} has no study yet: run python -m memexp -m first, or give another outputs_dir")
    name = str(options.study)
    raise ConfigError(f"study {name!r} does not exist{nearest(name, there)}; there are: {', '.join(there)}")


def _is_study(folder: Path) -> bool:
    if next(folder.glob(f"{asked.NOTE}-*"), None):
        return True
    return any(next(folder.glob(f"*/{name}"), None) for name in (record.CONFIG, record.FAILURE, claims.CLAIM, SETTINGS))


def report(found: Sequence[Standing], everything: bool = False) -> list[str]:
    """Write how studies stand, in lines."""
    lines: list[str] = []
    for own in found:
        lines.append(own.counts)
        rest = [run for run in sorted(own.runs, key=lambda run: STATES.index(run.state)) if run.state != DONE]
        shown = rest if everything else rest[:MOST]
        for run in shown:
            share = f"{100 * run.share:.0f} %" if run.share else ""
            detail = f": {run.detail}" if run.detail else ""
            lines.append(f"  {run.state:<{max(map(len, STATES))}} {share:>5}  {run.folder.name}{detail}")
        if len(shown) < len(rest):
            lines.append(f"  and {len(rest) - len(shown)} more (all=true lists them)")
    commands = list(dict.fromkeys(command for own in found if own.needs_you for command in own.commands))
    if commands:
        shown_commands = commands if everything else commands[:MOST_COMMANDS]
        lines += ["", "to go on with the rest:", *(f"  {command}" for command in shown_commands)]
        if len(shown_commands) < len(commands):
            lines.append(f"  and {len(commands) - len(shown_commands)} more (all=true lists them)")
    return ["".join(c if c.isprintable() else "?" for c in line) for line in lines]  # names and reasons may hold any


def show(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if a run does not get done by itself."""
    drawn = 0
    while True:
        found = [standing(study) for study in studies(options)]
        over = not options.watch or all(run.state == DONE for own in found for run in own.runs)
        if not options.watch:
            print("\n".join(report(found, options.all)))
        elif sys.stdout.isatty():
            drawn = _redraw(report(found, options.all), drawn)
        else:
            print("\n".join(f"{time.strftime('%H:%M:%S')} {own.counts}" for own in found), flush=True)
        if over:
            return 1 if any(own.needs_you for own in found) else 0
        time.sleep(options.every)


def _redraw(lines: Sequence[str], drawn: int) -> int:
    """Write lines over those that were drawn the last time, as far as they fit the terminal; return how many."""
    wide, high = shutil.get_terminal_size()
    fitting = []
    for line in lines[: high - 1]:
        while columns(line) >= wide:
            line = line[:-1]
        fitting.append(line)
    up = f"\x1b[{drawn}F\x1b[J" if drawn else ""
    print(up + "\n".join(fitting), flush=True)
    return len(fitting)


def main() -> None:
    """Run ``python -m memexp.status``."""
    run_command("status", Options, show)


if __name__ == "__main__":
    main()
