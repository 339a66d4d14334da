"""What every task has of tables and figures, shown by one that memexp does not know: all is said by its records."""

from pathlib import Path

import pandas as pd
import pytest
from helpers import make_run, write_history
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from memexp.analysis import common
from memexp.analysis.command import analyse
from memexp.errors import Complaints
from memexp.results import record, tables
from memexp.results.history import HISTORY_COLUMNS
from memexp.results.study import Histories, Study, join, load_study, read_histories

SCORES = {"dev_error": 3.0, "test_error": 2.5, "test_copied": 0.5, "test_loss": 2.0}


def make_copy(
    study: Path, length: int, model: str = "srn", delay: int = 3, name: str = "copy", gradients: bool = False
) -> Path:
    """Write the record of a run of a task of one's own, with a history: three seeds."""
    seeds = [
        {"seed": k, "best_iteration": 100, "diverged_at": None, **{score: k / 8 + v for score, v in SCORES.items()}}
        for k in (0, 1, 2)
    ]
    task = {"_target_": "own.Copy", "name": name, "delay": delay}
    told = {
        "about": {"alphabet": "abc"[: length // 10], "loudness": length, "test_rows": 7},
        "floors": {"error": {"silence": 1.0, "noise": 2.0}, "copied": {"noise": 0.25}, "loss": {"silence": 1.5}},
        "shown": {"dev_error": False, "test_error": False, "test_copied": True},
    }
    folder = make_run(study, length, model, seeds, task, **told)
    rows = [
        (iteration, seed, split, name, value - iteration / 100)
        for iteration in (0, 100)
        for seed in (0, 1, 2)
        for split, name, value in (("train", "loss", 2.0), ("dev", "loss", 3.0), ("dev", "error", 9.0))
    ]
    if gradients:
        rows += [(1, 0, "train", "gradient_norm.U", 2.0), (2, 0, "train", "gradient_norm.U", 3.0)]
    write_history(folder, rows)
    return folder


def load(outputs: Path, *names: str) -> tuple[Study, Histories]:
    complaints = Complaints()
    study = join([load_study(outputs / name, complaints) for name in names])
    histories = read_histories(study.rows, outputs, complaints)
    assert complaints.count == 0
    return study, histories


def drawn(study: Study, histories: Histories) -> dict[str, Figure]:
    """Every figure that there is something to draw of."""
    draws = common.drawings(study, study.rows, histories, 0.95)
    figures = {name: draw() for name, draw in draws.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def visible(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.get_visible()]


def floors_in(ax: Axes) -> dict[str, float]:
    """The dashed lines of an Axes, by what stands beside them."""
    heights = sorted(line.get_ydata()[0] for line in ax.lines if line.get_color() == "0.35")
    texts = sorted(ax.texts, key=lambda text: text.xy[1])
    return {text.get_text(): height for text, height in zip(texts, heights, strict=True)}


def test_an_unknown_task_has_tables_of_its_settings_and_scores(tmp_path: Path):
    for length, delay in ((10, 3), (10, 4), (20, 3)):
        for model in ("lstm", "srn"):
            made = make_copy(tmp_path / "outputs" / "copies", length, model, delay)
            made.rename(made.with_name(f"{made.name},delay={delay}"))
    lines = [*analyse(["copies"], tmp_path / "outputs", tmp_path / "images", Complaints())]
    images = tmp_path / "images" / "copies"
    assert lines[0] == f"written: {images}/seeds.csv, results.csv, results.md, comparison.csv"
    names = {"scores", "curves"}
    assert lines[1:] == [f"written: {images}/scores.png, .pdf", f"written: {images}/curves.png, .pdf"]
    assert {path.stem for path in images.glob("*.png")} == {path.stem for path in images.glob("*.pdf")} == names
    assert {path.name for path in images.iterdir() if path.suffix not in (".png", ".pdf")} == {
        "seeds.csv", "results.csv", "results.md", "comparison.csv", ".analysis",
    }  # fmt: skip
    assert len(pd.read_csv(images / "seeds.csv")) == 3 * 6
    table = pd.read_csv(images / "results.csv")
    scores = [f"{score}{end}" for score in ("dev error", "test error", "test copied") for end in ("", "_low", "_high")]
    sizes = ["hidden_sizes", "parameters", "state_size"]
    expected = ["model.name", "length", "task.delay", *sizes, "seeds", "stopped", *scores, "seconds"]
    assert list(table) == expected  # and nothing of about()
    assert table[["model.name", "length", "task.delay"]].to_numpy().tolist() == [
        [model, length, delay] for model in ("lstm", "srn") for length, delay in ((10, 3), (10, 4), (20, 3))
    ]
    assert table["test error"].tolist() == pytest.approx([2.625] * 6)
    assert table["test error_high"].max() > 1
    _, _, header, _, first, *_ = (images / "results.md").read_text().splitlines()
    assert (
        header == "| model | length | task.delay | parameters | seeds | dev error | test error | test copied % | time |"
    )
    assert "| 62.5 [31.4, 93.6] |" in first


def shift(folder: Path, by: float, stopped: int = 0) -> None:
    """Make the test errors of a run larger, and let some of its seeds have stopped."""
    summary = record.read_json(folder / record.SUMMARY)
    for place, seed in enumerate(summary["seeds"]):
        seed["test_error"] += by
        if place < stopped:
            seed |= {"diverged_at": 7, **dict.fromkeys(SCORES)}
    record.write_json(folder / record.SUMMARY, summary)


def test_every_two_models_of_an_unknown_task_are_compared(tmp_path: Path):
    """By their shown scores on test, seed against seed; one that stopped does not count."""
    for length, stopped in ((10, 0), (20, 1)):
        make_copy(tmp_path / "copies", length, "srn")
        shift(make_copy(tmp_path / "copies", length, "lstm"), 0.1875, stopped)
    study, _ = load(tmp_path, "copies")
    table = common.comparison(study, tmp_path)
    assert table is not None
    assert list(table) == ["score", "length", "one", "other", "seeds", "difference", "larger", "p_holm"]
    assert table[["score", "length", "one", "other", "seeds"]].to_numpy().tolist() == [
        [score, length, "SRN", "LSTM", 3] for score in ("test_error", "test_copied") for length in (10, 20)
    ]
    errors = table[table["score"] == "test_error"]
    # 0, 1, 2 eighths against 1.5, 2.5, 3.5, and against 2.5, 3.5
    assert errors["difference"].tolist() == pytest.approx([-1.5 / 8, -2 / 8])
    assert errors["larger"].tolist() == pytest.approx([1 / 9, 0])
    copied = table[table["score"] == "test_copied"]
    assert copied["difference"].tolist() == pytest.approx([0, -0.5 / 8])
    assert copied["larger"].tolist() == pytest.approx([0.5, 2 / 6])
    assert ((table["p_holm"] > 0) & (table["p_holm"] <= 1)).all()


@pytest.mark.parametrize("stopped", [2, 3])
def test_of_a_single_seed_or_none_there_is_nothing_to_compare(tmp_path: Path, stopped: int):
    make_copy(tmp_path / "copies", 10, "srn")
    shift(make_copy(tmp_path / "copies", 10, "lstm"), 0, stopped)
    study, _ = load(tmp_path, "copies")
    assert common.comparison(study, tmp_path) is None


def test_two_studies_side_by_side_are_told_apart(tmp_path: Path):
    """They may differ in a setting that is the same in all runs of each, and so in no label of either."""
    for name, delay in (("one", 3), ("other", 4)):
        for model in ("srn", "lstm"):
            make_copy(tmp_path / name, 10, model, delay)
    study, histories = load(tmp_path, "one", "other")
    table = common.comparison(study, tmp_path)
    assert table is not None
    assert set(table["seeds"]) == {3}
    for ax in visible(drawn(study, histories)["scores"]):
        assert len(ax.containers) == 4  # a mean with its interval for each model of each study


def test_the_score_of_an_unknown_task_that_is_no_share_has_no_end_at_100_percent(tmp_path: Path):
    make_copy(tmp_path / "copies", 10)
    make_copy(tmp_path / "copies", 20)
    (figure, *_) = drawn(*load(tmp_path, "copies")).values()
    dev, test, copied = visible(figure)
    assert [ax.get_title() for ax in (dev, test, copied)] == ["dev error", "test error", "test copied"]
    assert all([tick.get_text() for tick in ax.get_xticklabels()] == ["10", "20"] for ax in (dev, test, copied))
    assert copied.get_ylim() == (0, 1.02)
    assert test.get_ylim()[0] == 0
    assert test.get_ylim()[1] > 2.75  # the highest seed's
    means = [ax.containers[0].lines[0].get_ydata().tolist() for ax in (dev, test, copied)]
    assert means == [pytest.approx([mean, mean]) for mean in (3.125, 2.625, 0.625)]
    low, high = test.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((2.625 - 0.3105, 2.625 + 0.3105), abs=1e-4)  # t = 4.3027, deviation 0.125
    assert [text.get_text() for text in figure.legends[0].texts] == ["SRN"]


def test_floors_are_drawn_where_they_are_of_the_scores_metric(tmp_path: Path):
    make_copy(tmp_path / "copies", 10)
    figures = drawn(*load(tmp_path, "copies"))
    dev, test, copied = visible(figures["scores"])
    assert floors_in(dev) == floors_in(test) == {"silence 1.00": 1, "noise 2.00": 2}
    assert floors_in(copied) == {"noise 25 %": 0.25}


def test_floors_above_all_scores_and_losses_are_in_view(tmp_path: Path):
    """A model that beats a floor is below it wherever less is better."""
    folder = make_copy(tmp_path / "copies", 10)
    summary = record.read_json(folder / record.SUMMARY)
    floors = {"error": {"silence": 4.0, "noise": 8.0}, "loss": {"silence": 5.0}}
    record.write_json(folder / record.SUMMARY, {**summary, "floors": floors})
    figures = drawn(*load(tmp_path, "copies"))
    for ax, highest in (*((ax, 8) for ax in visible(figures["scores"])[:2]), (visible(figures["curves"])[0], 5)):
        assert max(floors_in(ax).values()) == highest
        assert ax.get_ylim()[1] > highest
    for figure in figures.values():
        FigureCanvasAgg(figure).draw()  # there is room for the names beside the lines, or a warning would say so


def test_a_metric_without_floors_has_no_lines(tmp_path: Path):
    folder = make_copy(tmp_path / "copies", 10)
    summary = record.read_json(folder / record.SUMMARY)
    record.write_json(folder / record.SUMMARY, {**summary, "floors": {}})
    for figure in drawn(*load(tmp_path, "copies")).values():
        assert [floors_in(ax) for ax in visible(figure)] == [{}] * len(visible(figure))


def test_curves_are_of_the_loss_with_its_floors_a_row_for_each_label(tmp_path: Path):
    for length in (100, 20):
        make_copy(tmp_path / "copies", length, "lstm")
    make_copy(tmp_path / "copies", 100, "srn")
    figures = drawn(*load(tmp_path, "copies"))
    assert [*figures] == ["scores", "curves"]
    panels = visible(figures["curves"])
    assert [ax.get_title() for ax in panels] == ["SRN, length 100", "LSTM, length 20", "LSTM, length 100"]
    srn, short, long = ((spec.rowspan.start, spec.colspan.start) for spec in (ax.get_subplotspec() for ax in panels))
    assert (srn, short, long) == ((0, 1), (1, 0), (1, 1))
    for ax in panels:
        assert floors_in(ax) == {"silence 1.50": 1.5}
        curve = {line.get_label(): list(line.get_ydata()) for line in ax.lines if line.get_linewidth() > 1.5}
        assert curve == {"train": [2, 1], "dev": [3, 2]}
        thin = [line for line in ax.lines if line.get_linewidth() < 1]
        assert len(thin) == 6  # each seed
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("updates", "loss")


def test_curves_of_runs_with_the_same_name_in_two_studies_are_all_drawn(tmp_path: Path):
    for name in ("one", "other"):
        make_copy(tmp_path / name, 10)
        make_copy(tmp_path / name, 20)
    titles = [ax.get_title() for ax in visible(drawn(*load(tmp_path, "one", "other"))["curves"])]
    assert titles == [f"SRN ({name}), length {length}" for name in ("one", "other") for length in (10, 20)]


def test_curves_of_several_runs_with_the_same_label_are_all_drawn(tmp_path: Path):
    """The same settings again with other seeds."""
    for seed in (0, 10):
        run = make_copy(tmp_path / "copies", 10)
        summary = record.read_json(run / record.SUMMARY)
        for place, own in enumerate(summary["seeds"]):
            own["seed"] = seed + place
        summary["config"]["seeds"] = [own["seed"] for own in summary["seeds"]]
        record.write_summary(run, summary)
        history = pd.read_csv(run / record.HISTORY)
        write_history(run, history.assign(seed=history["seed"] + seed).itertuples(index=False))
        run.rename(run.with_name(f"from {seed}"))
    assert [ax.get_title() for ax in visible(drawn(*load(tmp_path, "copies"))["curves"])] == ["SRN, length 10"] * 2


def test_gradients_of_runs_with_the_same_label_in_two_studies_are_all_drawn(tmp_path: Path):
    for name in ("one", "other"):
        make_copy(tmp_path / name, 10, gradients=True)
    figure = drawn(*load(tmp_path, "one", "other"))["gradients_10"]
    assert len(visible(figure)) == 2


def test_a_run_without_a_history_has_scores_but_no_curves(tmp_path: Path):
    make_copy(tmp_path / "outputs" / "copies", 10)
    gone = make_copy(tmp_path / "outputs" / "copies", 20, "lstm")
    (gone / record.HISTORY).unlink()
    complaints = Complaints(quiet=True)
    assert list(analyse(["copies"], tmp_path / "outputs", tmp_path / "images", complaints))
    assert complaints.count == 1
    names = {path.stem for path in (tmp_path / "images" / "copies").glob("*.png")}
    assert names == {"scores", "curves"}
    assert set(pd.read_csv(tmp_path / "images" / "copies" / "results.csv")["model.name"]) == {"srn", "lstm"}


def test_gradients_are_drawn_where_they_were_noted(tmp_path: Path):
    make_copy(tmp_path / "copies", 10, gradients=True)
    assert [*drawn(*load(tmp_path, "copies"))] == ["scores", "curves", "gradients_10"]


def test_gradients_after_clipping_are_drawn_only_where_they_differ():
    table = [
        (1, 0, "train", f"{what}.U", value) for what, value in (("gradient_norm", 9), ("clipped_gradient_norm", 5))
    ]
    history = pd.DataFrame([*table, (1, 0, "train", "loss", 2.0)], columns=HISTORY_COLUMNS)
    norms = common.read_gradients(history)
    assert norms[["parameter", "when", "value"]].to_numpy().tolist() == [
        ["U", "before clipping", 9],
        ["U", "after clipping", 5],
    ]
    same = history.assign(value=2.0)
    assert common.read_gradients(same)["when"].tolist() == ["before clipping"]
    assert common.read_gradients(history[history["name"] == "loss"]).empty


@pytest.mark.slow
def test_several_tasks_in_one_study_have_a_folder_each(tmp_path: Path):
    """Each as if the study had no others."""
    outputs = tmp_path / "outputs"
    for study in ("both", "copies"):
        for length in (10, 20):
            make_copy(outputs / study, length)
    for length in (10, 20):
        make_copy(outputs / "both", length, delay=5, name="echo")
    for study in ("both", "copies"):
        assert list(analyse([study], outputs, tmp_path / "images", Complaints()))
    images = tmp_path / "images"
    assert {path.name for path in (images / "both").iterdir()} == {"copy", "echo", ".analysis"}
    for task in ("copy", "echo"):
        for name in ("results.csv", "scores.png", "curves.png"):
            assert (images / "both" / task / name).read_bytes() == (images / "copies" / name).read_bytes()
        page, alone = ((images / folder / "results.md").read_text() for folder in (f"both/{task}", "copies"))
        assert page.partition("\n")[2] == alone.partition("\n")[2]  # but for the study in the first line
    assert set(pd.read_csv(images / "both" / "copy" / "seeds.csv")["task.name"]) == {"copy"}


@pytest.mark.parametrize(("clip", "stopped"), [(5.0, None), (None, 7), (5.0, 7)])
def test_a_task_may_lack_what_another_of_its_study_has(tmp_path: Path, clip: float | None, stopped: int | None):
    """Runs of one task are clipped, or a seed of theirs stopped; of the other none."""
    outputs = tmp_path / "outputs"
    for name, own_clip, own_stopped in (("copy", None, None), ("echo", clip, stopped)):
        folder = make_copy(outputs / "both", 10, name=name, gradients=True)
        summary = record.read_json(folder / record.SUMMARY)
        summary["config"]["clip"] = own_clip
        summary["seeds"][0]["diverged_at"] = own_stopped
        record.write_json(folder / record.SUMMARY, summary)
    assert list(analyse(["both"], outputs, tmp_path / "images", Complaints()))
    found = {
        task: pd.read_csv(tmp_path / "images" / "both" / task / "results.csv")["stopped"].tolist()
        for task in ("copy", "echo")
    }
    assert found == {"copy": [0], "echo": [int(stopped is not None)]}
    assert (tmp_path / "images" / "both" / "copy" / "gradients_10.png").exists()


def test_of_very_many_runs_some_have_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for length in (10, 20, 30):
        make_copy(tmp_path / "copies", length, gradients=True)
    monkeypatch.setattr(common, "MOST_PANELS", 2)
    figures = drawn(*load(tmp_path, "copies"))
    assert len(visible(figures["curves"])) == 2
    assert figures["curves"].get_suptitle().endswith("the first 2 of 3 runs")
    assert "runs" not in figures["gradients_10"].get_suptitle()


def test_a_seed_that_was_never_there_stands_where_it_was_seen_last(tmp_path: Path):
    """In the figure it is a point; in the table the mean is more than the lower end of the interval says."""
    took = [5000, None, 6000]
    seeds = [{"seed": k, "best_iteration": 1, "diverged_at": None, "sequences": took[k]} for k in (0, 1, 2)]
    task = {"_target_": "own.Copy", "name": "copy"}
    make_run(tmp_path / "s", 10, "srn", seeds, task, shown={"sequences": False}, sequences_seen=7000)
    study = load_study(tmp_path / "s", Complaints())
    assert common.at_least(study.rows)["sequences"].tolist() == [5000, 7000, 6000]
    ax = common.draw_scores(study).axes[0]
    assert {float(y) for line in ax.lines for y in line.get_ydata()} >= {5000, 6000, 7000}
    table = tables.results(study.rows, study.settings, study.shown)
    assert table.loc[0, ["sequences", "sequences_high"]].tolist() == [6000, float("inf")]
    assert f" > {table.loc[0, 'sequences_low']:.2f} " in tables.shown_text(table, study.shown)
    assert "with > the lower end" in tables.explained(study.rows, table, study.shown)


def test_what_simple_answers_reach_is_announced_where_it_is_drawn(tmp_path: Path):
    for length, floor in ((10, 0.25), (20, 0.25), (30, 0.5)):
        make_run(tmp_path / ("same" if length < 30 else "alone"), length, floors={"accuracy": {"guessing": floor}})
        make_run(tmp_path / "differ", length, floors={"accuracy": {"guessing": floor}})
    announced = {}
    for study in ("same", "alone", "differ"):
        figure = common.draw_scores(load_study(tmp_path / study, Complaints()))
        dashed = any(line.get_linestyle() == "--" for ax in figure.axes for line in ax.lines)
        announced[study] = ("dashed" in figure.get_suptitle(), dashed)
    assert announced == {"same": (True, True), "alone": (True, True), "differ": (False, False)}
