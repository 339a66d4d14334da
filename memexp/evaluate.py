"""What trained models score at any length, not only at their own: ``python -m memexp.evaluate``. Nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from memexp import trained
from memexp.errors import Complaints, ConfigError, MemexpError, RecordError
from memexp.evaluation import OVER
from memexp.fields import ranged
from memexp.files import as_name, expanded, write_table
from memexp.options import run_command
from memexp.progress import bar, say
from memexp.results import tables
from memexp.results.collect import collect, rows_of
from memexp.results.study import find_study, load_study, study_or_usual
from memexp.trained import MODULES, TrainedRun
from memexp.weights.outside import CALLED, STUDY, WEIGHTS, load_outside, names_of
from memexp.words import LANGUAGES, language, named, tr

TESTED = "test_length"  # the column of the length that is scored; ``length`` is that of training


@dataclass
class Options:
    """Score trained models on dev, on test and exactly, at any length: all runs of a study in one table, or one run.

    The task is built at each length with the settings that a run was trained with. The table has means over seeds with
    their intervals; evaluate.csv has every run and seed.
    """

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: the only one there, or book")
    run: str | None = ranged(default=None, path=True, about="a run folder, instead of a study")
    weights: list[str] | None = ranged(default=None, about=WEIGHTS.replace("a file", "files"))
    called: list[str] | None = ranged(default=None, about=CALLED)
    lengths: list[int] | None = ranged(default=None, about="of the sequences, as 10,15,50; null: as each was trained")
    modules: list[str] = ranged(default=[], about=MODULES)
    datasets_dir: str = ranged(default="datasets", path=True, about="where the data are, or are made; also: data=")
    lang: str = ranged(one_of=LANGUAGES, default="en", about="language of the table: en, or zh (Chinese)")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the table goes: images_dir/STUDY/evaluate.csv")


@dataclass(frozen=True)
class Runs:
    """Finished runs.

    Attributes:
        folder: of their study.
        rows: a row for each run and seed: ``run``, ``seed``, the settings, as `memexp.results.collect.collect` has it.
        settings: the columns that are settings.
        shown: the scores that tables show, and whether each is a share.
        table: where the table of their scores goes, below the folder of images.
        loaded: those that are loaded already, by ``run``.
    """

    folder: Path
    rows: pd.DataFrame
    settings: list[str]
    shown: dict[str, bool]
    table: Path
    loaded: Mapping[str, TrainedRun] = field(default_factory=dict)


def asked(options: Options, complaints: Complaints) -> Runs:
    """Find the runs that options name.

    Raises:
        MemexpError: there are none.
    """
    outputs = Path(options.outputs_dir)
    if options.weights is not None:
        return from_outside(options, complaints)
    if options.run is None:
        folder = find_study(outputs, study_or_usual(outputs, options.study, "book"))
        study = load_study(folder, complaints)
        return Runs(folder, study.rows, study.settings, study.shown, Path(folder.name, "evaluate.csv"))
    run = trained.load(Path(options.run), modules=options.modules, datasets=options.datasets_dir).folder.resolve()
    found = collect([run])
    table = Path(run.parent.name, "evaluate", f"{as_name(run.name)}.csv")
    return Runs(run.parent, found.rows, found.settings, found.shown, table)


def from_outside(options: Options, complaints: Complaints) -> Runs:
    """Load files of weights from outside, each a run.

    Raises:
        MemexpError: runs of memexp are named too, or none of the files can be read.
    """
    for key in ("run", "study"):
        if getattr(options, key) is not None:
            raise ConfigError(f"weights= and {key}= do not go together; give one of them")
    loaded = {}
    for file in options.weights or ():
        try:
            length = options.lengths[0] if options.lengths else None
            loaded[file] = load_outside(expanded(file), names_of(options.called), length, options.datasets_dir)
        except MemexpError as error:
            complaints.add(f"left out: {error}")
    if not loaded:
        raise RecordError("none of the files of weights can be read; the reasons are above")
    rows = pd.DataFrame([row for file, run in loaded.items() for row in rows_of(file, run.summary)])
    rows["length"] = "?"  # their files do not say at which they were trained
    shown = {name: share for run in loaded.values() for name, share in run.summary["shown"].items()}
    return Runs(Path(STUDY), rows, ["model.name"], shown, Path(STUDY, "evaluate.csv"), loaded)


def evaluated(
    runs: Runs, lengths: Sequence[int] | None, modules: Sequence[str], datasets: Path, complaints: Complaints
) -> pd.DataFrame:
    """Score runs at lengths; what cannot be scored is said, and the rest goes on.

    Returns:
        Columns ``run``, ``seed``, `TESTED`, the scores, and what exact ones are over.
    """
    found, names = [], list(runs.rows["run"].unique())
    with bar(len(names), "evaluate") as shown:
        for name in names:
            try:
                run = runs.loaded.get(name) or trained.load(runs.folder / name, modules=modules, datasets=datasets)
                for length in dict.fromkeys(lengths or [run.config.length]):
                    try:
                        found.append(run.evaluate(length).rename(columns={"length": TESTED}).assign(run=name))
                    except MemexpError as error:
                        complaints.add(f"left out: {error}")
            except MemexpError as error:
                complaints.add(f"left out: {error}")
            shown.update(1)
    if not found:
        raise RecordError(f"{runs.folder}: nothing could be scored; the reasons are above")
    return pd.concat(found, ignore_index=True)


def joined(runs: Runs, scores: pd.DataFrame) -> pd.DataFrame:
    """Put the scores at each length beside the settings of the runs, in the place of the scores of the records.

    Of these none is left: at another length a task may have fewer, as none over all inputs where these are too many.
    """
    away = {*scores, *runs.shown, OVER} - {"run", "seed"}
    kept = [column for column in runs.rows if column not in away]
    return scores.merge(runs.rows[kept], on=["run", "seed"])


def as_text(rows: pd.DataFrame, settings: Sequence[str], shown: dict[str, bool]) -> str:
    """Write the table of one task's runs: means over seeds and their intervals."""
    table = tables.results(rows, [*settings, TESTED], shown).drop(columns=["parameters", "seconds"], errors="ignore")
    if TESTED not in table:
        table.insert(table.columns.to_list().index("length") + 1, TESTED, rows[TESTED].iloc[0])
    text = f"{tables.shown_text(table, shown)}\n{tr('(mean over seeds and its 95 % interval)')}"
    if OVER not in rows or rows[OVER].isna().all():
        return text
    over = rows.dropna(subset=[OVER]).sort_values(TESTED)[[TESTED, OVER]].drop_duplicates().to_numpy().tolist()
    parts = tr(", ").join(tr(f"{named(str(source))} at length {length}") for length, source in over)
    return f"{text}\n{tr(f'exact is over {parts}')}"


def evaluate(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out."""
    complaints = Complaints()
    runs = asked(options, complaints)
    scores = evaluated(runs, options.lengths, options.modules, Path(options.datasets_dir), complaints)
    rows = joined(runs, scores)
    with language(options.lang):
        for _, own in rows.groupby("task.name", sort=False):
            shown = {
                column: share for column, share in runs.shown.items() if column in own and own[column].notna().any()
            }
            say(f"\n{as_text(own, [name for name in runs.settings if name in own], shown)}\n")
    first = list(dict.fromkeys(["run", "task.name", *tables.varied(rows, runs.settings), TESTED, "seed"]))
    path = Path(options.images_dir) / runs.table
    write_table(path, rows[[*first, *(column for column in scores if column not in first)]])
    say(f"every run and seed: {path}")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.evaluate``."""
    run_command("evaluate", Options, evaluate)


if __name__ == "__main__":
    main()
