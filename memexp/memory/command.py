"""What trained networks remember: ``python -m memexp.memory``. Nothing is trained here.

The finished runs of a study -> each measure -> tables and figures in ``images/<study>/memory/``, a measure at a time:
what was interrupted goes on with the next one.
"""

import io
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from memexp.canvas import own_style
from memexp.errors import Complaints, MemexpError, RecordError
from memexp.escaping import in_markdown
from memexp.fields import ranged
from memexp.figures import curves
from memexp.figures.agreement import rank_correlations
from memexp.files import Collection, as_name
from memexp.fonts import speaking
from memexp.memory.measure import Measure, Score, Subjects, all_measures, chosen, share_score
from memexp.options import run_command
from memexp.progress import bar, duration, say
from memexp.results import statistics, tables
from memexp.results.origin import origin
from memexp.results.record import score_name
from memexp.results.study import Study, find_study, in_order, label_settings, labelled, load_study, study_or_usual
from memexp.trained import MODULES
from memexp.training import machine
from memexp.words import LANGUAGES, language_now, named, tr

DRAWN = ["run", "seed", "label", "line", "length", "model.name"]  # of a study's rows, for figures
ALL = "memory"  # names the table of all measures


@dataclass
class Options:
    """Measure what the trained networks of a study remember, where and how long.

    Every measure writes a table with a row for each seed (or more), and figures; memory.csv and memory.md have what
    each measure comes to, beside the study's settings. What is there already is not measured again.
    """

    study: str | None = ranged(default=None, about="the folder below outputs_dir; null: the only one there, or book")
    measures: list[str] | None = ranged(default=None, about="which measures, as length_matrix,hold_time; null: all")
    again: bool = ranged(default=False, about="measure anew what is there already")
    weights: str = ranged(
        one_of=("best", "last"), default="best", about="of each seed: best on dev, or last: after its last update"
    )
    modules: list[str] = ranged(default=[], about=MODULES)
    datasets_dir: str = ranged(default="datasets", path=True, about="where the data are, or are made")
    lang: str = ranged(one_of=LANGUAGES, default="en", about="language of figures and memory.md: en, or zh (Chinese)")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the tables and figures go")


def with_all_settings_named(study: Study) -> Study:
    """Let labels name those settings too that a task's own figures have panels for: those of measures have none."""
    named = label_settings(study.rows, study.settings, ("model.name", "length"))
    return study.only(labelled(in_order(study.rows, named), named))


def measured(measure: Measure, study: Study, subjects: Subjects, complaints: Complaints) -> pd.DataFrame:
    """Measure the runs of a study; what cannot be measured is said, once for each reason.

    Returns:
        The tables of `Measure.measure` below each other, with the column ``run``; empty where there is none.
    """
    found, reasons, count = [], dict[str, list[str]](), study.rows["run"].nunique()
    with bar(count, measure.name) as shown:
        for run, got in measure.of_study(study, subjects):
            shown.update(1)
            if isinstance(got, MemexpError):
                complaints.add(f"{measure.name}: {got}")
            elif isinstance(got, str):
                reasons.setdefault(got, []).append(run)
            else:
                found.append(got.assign(run=run))
    for reason, runs in reasons.items():
        left = "" if len(runs) == count else f" ({len(runs)} of {count} runs)"
        say(f"{measure.name}: not measured{left}: {reason}")
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["run", "seed"])


def _of_measure(
    measure: Measure,
    study: Study,
    subjects: Subjects,
    folder: Path,
    made_from: str,
    again: bool,
    complaints: Complaints,
) -> pd.DataFrame:
    """Return the table of a measure, written with its figures unless both are there already."""
    files, name = Collection(folder, measure.name), f"{measure.name}.csv"
    if not again and files.is_finished(made_from):
        say(f"{measure.name}: there already; again=true measures anew")
        return _there(measure, folder, made_from)
    started, before = time.monotonic(), complaints.count
    table = measured(measure, study, subjects, complaints)
    if len(table):
        files.table(name, table[["run", "seed", *(c for c in table.columns if c not in ("run", "seed"))]], "%.6g")
        table = read_back((folder / name).read_bytes())  # so that a table read and one just made are the same
        with own_style():
            for figure_name, figure in measure.draw(table.merge(study.rows[DRAWN], on=["run", "seed"]), study).items():
                files.figure(figure_name, figure)
        runs = table["run"].nunique()
        say(f"{measure.name}: {runs} run{'s' * (runs > 1)}, {duration(time.monotonic() - started)}; in {folder}/")
    files.finish(made_from if complaints.count == before else "")
    return table


def _there(measure: Measure, folder: Path, made_from: str) -> pd.DataFrame:
    """Return the table of a measure that was made from the same before; empty where there is none."""
    path = folder / f"{measure.name}.csv"
    whole = Collection(folder, measure.name).is_finished(made_from) and path.exists()
    return read_back(path.read_bytes()) if whole else pd.DataFrame()


def read_back(content: bytes) -> pd.DataFrame:
    """Read the table of a measure."""
    return pd.read_csv(io.BytesIO(content), dtype={"run": str})


Found = Mapping[str, tuple[Measure, pd.DataFrame]]
"""Name of a measure -> the measure, and its table."""


def summary(study: Study, found: Found) -> tuple[Study, dict[str, Score]]:
    """Put what each measure comes to beside the settings and scores of each seed.

    Returns:
        The study with the measures' columns in its rows, and these columns.
    """
    rows, columns = study.rows, dict[str, Score]()
    for measure, table in found.values():
        own = measure.summed_up(table)
        rows = rows.merge(own[["run", "seed", *measure.scores]], on=["run", "seed"], how="left")
        columns |= measure.scores
    return study.only(rows), columns


def as_table(study: Study, columns: Mapping[str, Score]) -> pd.DataFrame:
    """Return mean and interval of each of these columns over seeds, a row for each setting."""
    shown = {column: score.share for column, score in columns.items()}
    bounds = {column: score.bounds for column, score in columns.items()}
    return tables.results(study.rows, study.settings, shown, bounds).drop(columns="seconds")


def as_page(study: Study, found: Found) -> str:
    """Write memory.md: of each measure its question, what each setting comes to, and what the columns are.

    Args:
        study: with the columns of the measures.
        found: these.
    """
    parts = [f"# {in_markdown(str(study.rows['study'].iloc[0]))}"]
    for measure, _ in found.values():
        question = tr(measure.question)
        shown = {column: score.share for column, score in measure.scores.items()}
        parts += [
            f"## {measure.name}",
            question[0].upper() + question[1:],
            tables.markdown(as_table(study, measure.scores), shown).strip(),
            "\n".join(
                f"- *{tables.shown_name(column, score.share)}*: {tr(score.about)}"
                for column, score in measure.scores.items()
            ),
        ]
    return "\n\n".join(parts) + "\n"


def agreement(study: Study, columns: Mapping[str, Score]) -> tuple[pd.DataFrame, Figure | None]:
    """Say which measures put seeds in the same order, and draw how far each does what the study's score does.

    Args:
        study: with the columns of the measures.
        columns: these.

    Returns:
        The table of `memexp.results.statistics.agreement`, and the figure, without the score by another name; None
        where nothing can be compared.
    """
    score = share_score(study)
    table = statistics.agreement(study.rows, [*([score] if score else []), *columns])
    itself = [name for name in columns if score and np.allclose(study.rows[name], study.rows[score], atol=1e-3)]
    with_score = table[(table["one"] == score) & table["overall"].notna() & ~table["other"].isin(itself)]
    if with_score.empty:
        return table, None
    names = [score_name(other) for other in with_score["other"]]
    figure, axes = curves.new_figure(1, 1, width=7.5, height=1.2 + 0.24 * len(with_score))
    rank_correlations(with_score.assign(name=names).sort_values("overall", ascending=False), axes[0, 0])
    whole_name = str(score).replace("_", " ")
    curves.finish(figure, tr(f"Which numbers go with {named(whole_name)}?"))
    return table, figure


def _write_all(study: Study, found: Found, folder: Path) -> Study:
    """Write what all measures come to; return the study with their columns."""
    with_scores, columns = summary(study, found)
    files = Collection(folder, ALL)
    files.table(f"{ALL}.csv", as_table(with_scores, columns), tables.four_digits)
    files.table(f"{ALL}_seeds.csv", with_scores.rows.drop(columns=["axis", "line"]))
    files.write(f"{ALL}.md", as_page(with_scores, found).encode())
    with own_style():
        table, figure = agreement(with_scores, columns)
        files.table(f"{ALL}_agreement.csv", table, "%.3f")
        if figure is not None:
            files.figure(f"{ALL}_agreement", figure)
    files.finish()
    say(f"written: {folder}/{ALL}.md, {ALL}.csv, {ALL}_seeds.csv, {ALL}_agreement.csv")
    return with_scores


def measure_study(
    asked: Set[str],
    subjects: Subjects,
    images: Path,
    complaints: Complaints,
    again: bool = False,
) -> pd.DataFrame:
    """Measure a study, and write tables and figures.

    Args:
        asked: names of measures.
        subjects: the runs of the study.
        images: where tables and figures go.
        complaints: gets what could not be measured.
        again: measure anew what is there already.

    Returns:
        Its rows, for each run and seed, with a column for each score of the measures.

    Raises:
        MemexpError: no run is complete, or nothing can be written.
    """
    folder = subjects.folder
    whole, made_from = load_study(folder, complaints), origin([folder], language_now(), subjects.weights)
    tasks, rows = list(dict.fromkeys(whole.rows["task.name"])), []
    for task in tasks:
        study = with_all_settings_named(whole.of_task(task))
        into = images / folder.name / ALL / (as_name(task) if len(tasks) > 1 else "")
        found: dict[str, tuple[Measure, pd.DataFrame]] = {}
        for measure in all_measures().values():
            if measure.name in asked:
                table = _of_measure(measure, study, subjects, into, made_from, again, complaints)
            else:  # what was measured before stays in the table of all
                table = _there(measure, into, made_from)
            if len(table):
                found[measure.name] = measure, table
        if asked & found.keys():
            rows.append(_write_all(study, found, into).rows)
    if not rows:
        raise RecordError(f"{folder}: nothing could be measured")
    return pd.concat(rows, ignore_index=True)


def measure_all(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something could not be measured that should have been."""
    machine.prepare()
    outputs, complaints = Path(options.outputs_dir), Complaints()
    folder = find_study(outputs, study_or_usual(outputs, options.study, "book"))
    subjects = Subjects(folder, options.modules, Path(options.datasets_dir), options.weights)
    with speaking(options.lang):
        measure_study(chosen(options.measures), subjects, Path(options.images_dir), complaints, options.again)
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.memory``."""
    run_command("memory", Options, measure_all)
