"""The report on the chapter: ``python -m memexp.report``, and at the end of ``python -m memexp experiment=chapter6``.

Every figure of the chapter under the book's number, what the book says of it, and what was measured. All numbers come
from the records of the study; only the speed of the layers is measured while the report is written.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import markdown
import numpy as np
import pandas as pd

from memexp import ending
from memexp.analysis import common, digit_sum
from memexp.canvas import Figure
from memexp.errors import Complaints, MemexpError, RecordError
from memexp.escaping import in_markdown
from memexp.fields import ranged
from memexp.figures.looks import looks_of
from memexp.files import Collection, slug
from memexp.fonts import speaking
from memexp.options import run_command
from memexp.progress import duration, say
from memexp.results import tables
from memexp.results.origin import origin
from memexp.results.study import Histories, find_study, load_study, read_histories
from memexp.words import LANGUAGES, labelled, language_now, named, tr

if TYPE_CHECKING:
    from memexp.trained import TrainedRun

GRADIENTS = "gradient_explosion"  # the study of section 6.2
HOW = {"global": "the norm of all gradients", "tensor": "the norm of each", "value": "every number"}

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
img{max-width:100%;height:auto}table{border-collapse:collapse;font-size:.85em;display:block;overflow-x:auto}
td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}pre{background:#f4f4f4;padding:.6em;overflow-x:auto}"""


@dataclass
class Options:
    """Write the report on the chapter: report.md and report.html, from the records of experiment=chapter6."""

    study: str = ranged(default="chapter6", about="the study of experiment=chapter6")
    speed: bool = ranged(default=True, about="measure the speed of the layers too (half a minute)")
    lang: str = ranged(one_of=LANGUAGES, default="en", about="language of the report: en, or zh (Chinese)")
    datasets_dir: str = ranged(default="datasets", path=True, about="where the data are, or are made")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")
    images_dir: str = ranged(default="images", path=True, about="where the report goes")


@dataclass(frozen=True)
class Material:
    """What the entries are made of: the rows of the chapter's study and of the gradient explosion, their histories."""

    rows: pd.DataFrame
    gradients: pd.DataFrame
    histories: Histories
    outputs: Path
    images: Path
    datasets: Path

    def of(self, *labels: str) -> pd.DataFrame:
        """Return the rows of the study with one of these labels.

        Raises:
            RecordError: there are none.
        """
        found = self.rows[self.rows["label"].isin(labels)]
        if found.empty:
            raise RecordError(f"no complete run of {', '.join(labels)}")
        return found


@dataclass(frozen=True)
class Entry:
    """A figure or a table of the chapter."""

    number: str
    title: str
    book: str  # what the book says of it
    draw: Callable[[Material], Figure | Path] | None
    measured: Callable[[Material], str]


def table(rows: dict[str, dict[str, str]]) -> str:
    """Write a table in Markdown: name of a row -> length -> what stands there."""
    lengths = list(dict.fromkeys(length for row in rows.values() for length in row))
    lines = [["", *lengths], *([name, *(row.get(length, "") for length in lengths)] for name, row in rows.items())]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(map(in_markdown, line))} |" for line in lines)


def bracket(low: float, high: float) -> str:
    """Write an interval of shares in percent, if there is one: one seed has none."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]" if np.isfinite(low) else tr("(one seed)")


def accuracies(material: Material, *labels: str, pairs: Sequence[tuple[str, str]] = ()) -> str:
    """Write a table of the exact accuracy of models at each length, and of the differences of pairs of them."""
    rows = {}
    for label in labels:
        by_length = material.of(label).groupby("length")["exact_accuracy"]
        scores = {str(length): tables.interval(group.tolist()) for length, group in by_length}
        rows[tr(f"{labelled(label)}, %")] = {
            length: f"{100 * m:.1f} {bracket(low, high)}" for length, (m, low, high) in scores.items()
        }
    for one, other in pairs:
        compared = digit_sum.compare_models(material.of(one, other), material.outputs)
        if compared.empty:  # a single seed says nothing
            continue
        signs = [1 if row == one else -1 for row in compared["one"]]
        rows[tr(f"{labelled(one)} less {labelled(other)}, points")] = {
            str(length): tr(f"{100 * sign * difference:+.1f} (p = {p:.2g})")
            for length, sign, difference, p in zip(
                compared["length"], signs, compared["exact_difference"], compared["p_holm"], strict=True
            )
        }
    note = tr("p: Mann and Whitney over seeds, Holm-corrected for the lengths of the row.")
    return f"{tr('Exact accuracy at each length.')}\n\n{table(rows)}" + (f"\n\n{note}" if pairs else "")


def losses(material: Material, label: str) -> str:
    """Write a table of what becomes of the train and dev loss."""
    names = tr("train, at the end"), tr("dev, at its lowest"), tr("dev, at the end")
    rows: dict[str, dict[str, str]] = {name: {} for name in names}
    for run in material.of(label).drop_duplicates("run").sort_values("length").to_dict("records"):
        history = material.histories[run["study"], run["run"]]
        loss = history[history["name"] == "loss"].groupby(["split", "iteration"])["value"].mean()
        values = loss["train"].iloc[-1], loss["dev"].min(), loss["dev"].iloc[-1]
        for row, value in zip(rows.values(), values, strict=True):
            row[str(run["length"])] = f"{value:.2f}"
    note = tr(
        "Where dev rises while train goes to 0 the model overfits its training rows; that is not forgetting. With new "
        "rows at every update (experiment=fresh) there is nothing to overfit."
    )
    return f"{tr('Mean loss over seeds, in nats, at each length.')}\n\n{table(rows)}\n\n{note}"


def explosion(material: Material, clipped: bool) -> str:
    """Say how large the gradients become, and what the models score."""
    parts, lows = [], []
    rows = material.gradients[material.gradients["clip"].notna() == clipped]
    for run in rows.drop_duplicates("run").to_dict("records"):
        norms = common.read_gradients(material.histories[run["study"], run["run"]])
        before = norms[(norms["when"] == "before clipping") & (norms["parameter"] == "U")]
        first = before[before["iteration"] <= common.EXPLODING_UPDATES]
        largest = first.groupby("seed")["value"].max()
        late = before[before["iteration"] > before["iteration"].max() // 2].groupby("seed")["value"].median()
        mean, low, high = tables.interval(rows.loc[rows["run"] == run["run"], "test_accuracy"].tolist())
        lows.append(low if np.isfinite(low) else mean)
        how = tr(f"Clipped to {run['clip']:g}, {tr(HOW[run['clip_by']])}") if clipped else tr("Not clipped")
        whose = tr("the norm of U's gradient, before clipping,") if clipped else tr("the norm of U's gradient")
        parts.append(
            tr(f"- {how}: {whose} reaches {largest.min():.3g} to {largest.max():.3g} within {common.EXPLODING_UPDATES} "
               f"updates (smallest and largest of {len(largest)} seeds), and has a median of {np.median(late):.2g} in "
               f"the second half of training; test accuracy {100 * mean:.1f} % {bracket(low, high)}")
        )  # fmt: skip
    guessing = tr("10 % is what always answering 9 scores.")
    if max(lows) <= 0.1:
        guessing = tr("10 % is what always answering 9 scores; no mean is above it by more than its interval.")
    return "\n".join(["", "", *parts, "", guessing])


def gated_run(material: Material) -> "TrainedRun":
    """Load the LSTM of length 10."""
    with ending.at_once():
        from memexp import trained  # with it comes torch

    own = material.of("LSTM")
    folder = material.outputs / own["study"].iloc[0] / own[own["length"] == 10]["run"].iloc[0]
    return trained.load(folder, datasets=material.datasets)


def gate_sheet(material: Material) -> Path:
    """Draw the gates of the LSTM of length 10 on the book's sequence; return where the sheet is."""
    from memexp.gates import command

    run = gated_run(material)
    options = command.Options(length=10, seed=run.seeds[0], images_dir=str(material.images))
    sequence = run.reading.example()
    assert sequence is not None
    return command.show_sequence(run, sequence, options, material.images / "gates") / "sheet.png"


def gate_statistics(material: Material) -> str:
    """Say what the forget gate does on average, before and after training."""
    from memexp.gates import averages, command

    run = gated_run(material)
    rows = run.task().distribution()
    parts = []
    for training, model in command.before_and_after_training(run, run.seeds[0]).items():
        means, _ = averages.averages(model, rows, ["forget_gate"], run.reading)
        by_kind = means.groupby("kind").apply(lambda own: np.average(own["mean"], weights=own["probability"]))
        kinds = tr(", ").join(f"{named(str(kind))} {value:.2f}" for kind, value in by_kind.items())
        parts.append(tr(f"before training {kinds}") if training == "before" else tr(f"after {kinds}"))
    return tr(
        f"The forget gate's mean over all units and {named(rows.source)}, by what is read: {tr('; ').join(parts)}. "
        "One hand-picked row shows what one unit can do, these means what the layer does."
    )


def explosion_figure(material: Material, clipped: bool) -> Figure:
    """Draw the gradients' norms of the runs that were clipped, or of the one that was not."""
    rows = material.gradients[material.gradients["clip"].notna() == clipped]
    figure = common.draw_gradients(rows, material.histories, int(rows["length"].iloc[0]))
    if figure is None:
        raise RecordError("the runs have not noted their gradients' norms")
    return figure


def speed(_: Material) -> str:
    """Measure own layers against torch's, side by side."""
    with ending.at_once():
        from memexp.bench import digit_sum as bench

    return f"\n\n```\n{bench.quick_look()}\n```"


def accuracy_figure(material: Material, *labels: str) -> Figure:
    """Draw dev, test and exact accuracy against length of some of the models."""
    return digit_sum.draw_accuracy(material.of(*labels), looks=looks_of(material.rows))


def loss_figure(material: Material, label: str) -> Figure:
    """Draw the loss curves of a model."""
    return digit_sum.draw_loss(material.of(label), material.histories, labelled(label))


ENTRIES = (
    Entry(
        "Figure 6.6", "loss of the SRN",
        "Train loss goes down at every length, dev loss the less the longer the sequence.",
        lambda m: loss_figure(m, "SRN"), lambda m: losses(m, "SRN"),
    ),
    Entry(
        "Figure 6.7", "accuracy of the SRN",
        "The longer the sequence, the lower the accuracy: the SRN cannot keep what lies far back.",
        lambda m: accuracy_figure(m, "SRN"), lambda m: accuracies(m, "SRN"),
    ),
    Entry(
        "Figure 6.8", "gradient explosion",
        "With plain SGD, a learning rate of 0.2 and a summed loss the norms of the gradients of W, U and b shoot up in "
        "the first updates, then drop to almost 0: the hidden units are saturated and nothing is learned any more.",
        lambda m: explosion_figure(m, False), lambda m: explosion(m, False),
    ),
    Entry(
        "Figure 6.9", "gradient clipping",
        "Clipped to a norm of 5, the gradients stay bounded and training goes on.",
        lambda m: explosion_figure(m, True), lambda m: explosion(m, True),
    ),
    Entry(
        "Figure 6.11", "loss of the LSTM",
        "The LSTM's losses go down at every length, and dev loss stays below the SRN's.",
        lambda m: loss_figure(m, "LSTM"), lambda m: losses(m, "LSTM"),
    ),
    Entry(
        "Figure 6.12", "accuracy of the LSTM",
        "The LSTM's accuracy is higher than the SRN's and falls more slowly: it remembers longer.",
        lambda m: accuracy_figure(m, "SRN", "LSTM"),
        lambda m: accuracies(m, 'SRN', 'LSTM', pairs=[('LSTM', 'SRN')]) + tr(' ') + tr(
            "This is the comparison on 300 sorted rows; for the same rows shuffled, and for new ones, see "
            "experiment=shuffled and experiment=fresh."
        ),
    ),
    Entry(
        "Figure 6.13", "gates and cell state of the LSTM",
        "Input, forget and output gate and cell state for 6 7 0 0 1 0 0 0 0 0: the gates react to the digits, and the "
        "cell keeps what was written.",
        gate_sheet, gate_statistics,
    ),
    Entry(
        "Exercise 6.1", "residual connection between hidden states",
        "Asks for an SRN with a residual connection, as a remedy for vanishing gradients.",
        lambda m: accuracy_figure(m, "SRN", "residual SRN"),
        lambda m: accuracies(m, "SRN", "residual SRN", pairs=[("residual SRN", "SRN")]),
    ),
    Entry(
        "Exercise 6.2", "own layers and built-in ones",
        "Asks for a faster LSTM, and finds the built-in layers' outputs equal and their speed far greater than that of "
        "its own loop.",
        None, speed,
    ),
    Entry(
        "Exercise 6.3", "bidirectional layers",
        "Asks for a bidirectional network in the same study.",
        lambda m: accuracy_figure(m, "SRN", "LSTM", "SRN, bidirectional", "LSTM, bidirectional"),
        lambda m: f"{accuracies(m, 'SRN', 'LSTM', 'SRN, bidirectional', 'LSTM, bidirectional')}\n\n" + tr(
            "The cell that reads backwards meets the two digits last, so nothing has to be remembered for long: this "
            "task says nothing about the memory of a bidirectional network."
        ),
    ),
    Entry(
        "Exercise 6.4", "GRU",
        "Asks for the GRU in the same study.",
        lambda m: accuracy_figure(m, "SRN", "LSTM", "GRU"),
        lambda m: accuracies(m, "SRN", "LSTM", "GRU", pairs=[("GRU", "LSTM"), ("GRU", "SRN")]),
    ),
)  # fmt: skip


def load(study: str, outputs: Path, images: Path, datasets: Path, complaints: Complaints) -> Material:
    """Collect what the report is made of.

    Raises:
        MemexpError: the study does not exist or has no complete run.
    """
    rows = load_study(find_study(outputs, study), complaints).rows
    gradients = pd.DataFrame(columns=[*rows.columns])
    try:
        gradients = load_study(find_study(outputs, GRADIENTS), complaints).rows
    except MemexpError as error:
        complaints.add(str(error))
    histories = read_histories(pd.concat([rows, gradients], ignore_index=True), outputs, complaints)
    return Material(rows, gradients, histories, outputs, images / study, datasets)


def text(material: Material, files: Collection, with_speed: bool, complaints: Complaints) -> Iterator[str]:
    """Yield the report, paragraph by paragraph, and draw its figures into ``files``."""
    rows = material.rows
    runs = pd.concat([rows, material.gradients]).drop_duplicates(["study", "run"])
    seconds = float(runs["seconds"].sum())
    yield f"# {tr('Chapter 6, measured')}"
    yield tr(
        f"{len(runs)} runs of {rows['seed'].nunique()} seeds each, whose times add up to {named(duration(seconds))}. "
        "Accuracies are means over seeds with the 95 % interval, and exact, over every possible input, where nothing "
        "else is said. Made by `python -m memexp experiment=chapter6`, or again from its records by "
        "`python -m memexp.report`."
    )
    for entry in ENTRIES:
        if entry.measured is speed and not with_speed:
            continue
        heading = f"{named(entry.number)}{tr(': ')}{tr(entry.title)}"
        yield f"## {heading}"
        yield tr(f"**The book.** {tr(entry.book)}")
        try:
            if entry.draw is not None:
                drawn = entry.draw(material)
                if isinstance(drawn, Path):
                    name = drawn.relative_to(material.images).as_posix()
                    files.write(name, drawn.read_bytes())
                else:
                    name = f"{slug(entry.number)}.png"
                    files.figure(name.removesuffix(".png"), drawn)
                yield f"![{heading}]({name})"
            measured = entry.measured(material)
            yield f"{tr('**Measured.**')}{'' if measured[0].isspace() else ' '}{measured}"
        except (MemexpError, KeyError, IndexError) as error:
            reason = str(error) if isinstance(error, MemexpError) else "runs of it, or their histories, are missing"
            complaints.add(f"{entry.number} left out: {reason}")
            yield tr(f"**Measured.** Nothing: {in_markdown(reason)}.")


def as_html(report: str, folder: Path) -> str:
    """Turn the Markdown into one HTML page with its pictures inside."""

    def embed(match: re.Match[str]) -> str:
        picture = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/png;base64,{picture}"'

    page = markdown.Markdown(extensions=["tables", "fenced_code"])
    page.preprocessors.deregister("html_block")  # HTML in it is shown, not followed: there is none of memexp's own
    page.inlinePatterns.deregister("html")
    body = re.sub(r'src="([^"]+)"', embed, page.convert(report))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    head += f"<title>{tr('Chapter 6, measured')}</title>"
    return f'<!doctype html>\n<html lang="{language_now()}"><head>{head}</head><body>{body}</body></html>\n'


def _written(study: str, images: Path) -> Collection:
    return Collection(images / study, "report")


def _made_from(study: str, outputs: Path, with_speed: bool) -> str:
    return origin([outputs / study, outputs / GRADIENTS], language_now(), with_speed)


def is_reported(study: str, outputs: Path, images: Path, with_speed: bool = True) -> bool:
    """Say whether the report that `write_report` would write is there already, whole, in the language of now."""
    return _written(study, images).is_finished(_made_from(study, outputs, with_speed))


def write_report(
    study: str, outputs: Path, images: Path, datasets: Path, complaints: Complaints, with_speed: bool = True
) -> str:
    """Write report.md and report.html; say where.

    Raises:
        MemexpError: there is nothing to report, or the report cannot be written.
    """
    files, made_from, before = _written(study, images), _made_from(study, outputs, with_speed), complaints.count
    material = load(study, outputs, images, datasets, complaints)
    report = "\n\n".join(text(material, files, with_speed, complaints)) + "\n"
    files.write("report.md", report.encode())
    files.write("report.html", as_html(report, material.images).encode())
    if complaints.count == before:
        files.finish(made_from)
    return f"{material.images}/report.md, report.html"


def make(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something had to be left out."""
    complaints = Complaints()
    folders = Path(options.outputs_dir), Path(options.images_dir), Path(options.datasets_dir)
    with speaking(options.lang):
        say(f"written: {write_report(options.study, *folders, complaints, options.speed)}")
    return 1 if complaints.count else 0


def main() -> None:
    """Run ``python -m memexp.report``."""
    run_command("report", Options, make)


if __name__ == "__main__":
    main()
