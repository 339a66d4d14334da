import numpy as np
import pandas as pd
import pytest
from helpers import axes, x_labels
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from memexp.canvas import own_style
from memexp.figures import curves
from memexp.figures.looks import looks_of


def rows() -> pd.DataFrame:
    table = [
        ("SRN", 10, 0.4),
        ("SRN", 10, 0.6),
        ("SRN", 35, 0.2),
        ("SRN", 35, 0.2),
        ("LSTM", 10, 0.9),
        ("LSTM", 10, 0.7),
    ]
    frame = pd.DataFrame(table, columns=["label", "length", "exact_accuracy"])
    return frame.assign(retained_bits=4 * frame["exact_accuracy"], **{"model.name": frame["label"].str.lower()})


LOOKS = looks_of(rows())


def test_accuracy_shows_points_means_and_the_floor():
    ax = curves.accuracy_against(rows(), "exact_accuracy", axes(), 0.1, LOOKS)
    assert ax.get_ylim() == (0, 1.02)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "35"]
    assert ax.get_xlabel() == "length of the sequence (digits)"
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["SRN", "LSTM"]
    means = {label: handle.lines[0].get_ydata().tolist() for label, handle in zip(labels, handles, strict=True)}
    assert means["SRN"] == pytest.approx([0.5, 0.2])
    assert means["LSTM"] == pytest.approx([0.8])
    points = sorted(
        y for line in ax.lines if line.get_linestyle() == "None" for y in line.get_ydata() if line.get_alpha()
    )
    assert points == [0.2, 0.2, 0.4, 0.6, 0.7, 0.9]
    assert any(list(line.get_ydata()) == [0.1, 0.1] for line in ax.lines)
    assert "10 %" in ax.texts[0].get_text()


def test_intervals_are_students_and_stay_within_the_scale():
    ax = curves.score_against(rows(), "exact_accuracy", axes(), LOOKS, bounds=(0, 1))
    srn = ax.containers[0].lines[2][0].get_segments()
    assert srn[0][:, 1].tolist() == pytest.approx([0, 1])  # 0.5 +- 12.7 * 0.1, cut off
    assert srn[1][:, 1].tolist() == pytest.approx([0.2, 0.2])
    ax = curves.accuracy_against(rows(), "exact_accuracy", axes(), 0.1, LOOKS)
    assert ax.containers[0].lines[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([0, 1])


def test_a_score_without_bounds_has_its_whole_interval():
    ax = curves.score_against(rows(), "exact_accuracy", axes(), LOOKS)
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)
    assert ax.get_xlabel() == "length"


def test_the_axis_of_a_share_is_in_percent_and_of_another_score_open_upwards():
    share, other = (
        curves.score_axis(curves.score_against(rows(), "exact_accuracy", axes(), LOOKS), s) for s in (True, False)
    )
    assert share.get_ylim() == (0, 1.02)
    assert share.yaxis.get_major_formatter()(0.5) == "50 %"
    assert other.get_ylim()[0] == 0
    assert other.get_ylim()[1] > 1.77  # the end of the longest interval
    assert other.yaxis.get_major_formatter()(0.5) != "50 %"


def test_bits_show_what_knowing_nothing_one_and_both_digits_gives():
    ax = curves.bits_against(rows(), axes(), 4.03, 0.71, LOOKS)
    assert [t.get_text() for t in ax.texts] == ["nothing: 0.00", "one digit: 0.71", "both digits: 4.03"]
    assert ax.get_ylabel() == "retained bits (exact)"


def test_loss_curves_show_each_seed_and_the_mean():
    table = [
        (iteration, seed, split, seed + iteration / 100)
        for iteration in (0, 100, 200)
        for seed in (1, 3)
        for split in ("train", "dev")
    ]
    history = pd.DataFrame(table, columns=["iteration", "seed", "split", "value"])
    ax = curves.loss_curves(history, axes())
    assert ax.get_legend_handles_labels()[1] == ["train", "dev"]
    assert ax.get_xlim() == (0, 200)
    assert ax.get_ylim() == (0, pytest.approx(1.02 * history["value"].max()))
    thin = [line for line in ax.lines if line.get_linewidth() < 1]
    assert len(thin) == 4
    mean = next(line for line in ax.lines if line.get_label() == "dev")
    assert np.asarray(mean.get_ydata()).tolist() == [2, 3, 4]


def kinds(*pairs: tuple[str, str]) -> pd.DataFrame:
    """A table of models and labels."""
    return pd.DataFrame(pairs, columns=["model.name", "label"])


# --- the axis of numbers ---


def test_numbers_are_spaced_truly_with_a_tick_at_each():
    ax = axes()
    place = curves.number_axis(ax, [35, 10, 20, 10], 2)
    assert ax.get_xscale() == "linear"
    assert list(ax.get_xticks()) == [10, 20, 35]
    assert x_labels(ax) == ["10", "20", "35"]
    assert [(place(number, 0) + place(number, 1)) / 2 for number in (10, 20, 35)] == pytest.approx([10, 20, 35])
    assert 0 < place(10, 1) - place(10, 0) < 2
    low, high = ax.get_xlim()
    assert low < place(10, 0)
    assert place(35, 1) < high


def test_numbers_over_magnitudes_are_on_a_log_axis():
    ax = axes()
    place = curves.number_axis(ax, [0.001, 0.003, 0.01])
    assert ax.get_xscale() == "log"
    assert x_labels(ax) == ["0.001", "0.003", "0.01"]
    assert place(0.003, 0) == pytest.approx(0.003)


def test_zero_and_a_single_number_have_an_axis_too():
    ax = axes()
    curves.number_axis(ax, [0, 0.5, 100])
    assert ax.get_xscale() == "linear"
    assert x_labels(ax) == ["0", "", "100"]  # the second would cover the first
    places = [curves.number_axis(ax, [20], 18)(20, k) for k in range(18)]
    low, high = ax.get_xlim()
    assert low < min(places)
    assert max(places) < high
    assert len(set(places)) == 18


def test_a_score_can_be_drawn_against_any_number_and_what_does_not_have_it_is_a_level_line():
    table = rows().assign(**{"model.leak": [0.1, 0.1, 0.5, 0.5, np.nan, np.nan]})
    ax = curves.score_against(table, "exact_accuracy", axes(), LOOKS, "model.leak")
    assert ax.get_xlabel() == "leak"
    assert x_labels(ax) == ["0.1", "0.5"]
    level = next(line for line in ax.lines if line.get_label() == "LSTM")
    assert list(level.get_ydata()) == pytest.approx([0.8, 0.8])
    assert level.get_color() == LOOKS["LSTM"]["color"]


# --- legends and titles ---


def test_there_is_room_for_many_long_labels_whatever_is_in_them():
    labels = [f"LSTM, learning rate {k}, hidden size 32, initialiser orthogonal" for k in range(16)]
    labels += ["_costs $5 and $6_", "漏记忆" * 30]
    table = pd.concat([rows()[:2].assign(label=label) for label in labels])
    with own_style():
        figure, ((ax,),) = curves.new_figure(1, 1)
        curves.score_against(table, "exact_accuracy", ax, looks_of(table))
        height = figure.get_figheight()
        curves.finish(figure, "A study with a name that is far too long for a figure of this width: " * 2)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # a warning would be an error
    assert figure.get_figheight() > height + 16 * 0.2
    box = figure.bbox
    for text in (figure._suptitle, *figure.legends[0].get_texts()):
        own = text.get_window_extent()
        assert box.x0 <= own.x0
        assert own.x1 <= box.x1
        assert box.y0 <= own.y0
        assert own.y1 <= box.y1
    assert ax.get_window_extent().height > 130
    texts = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert "_costs $5 and $6_" in texts
    assert len(texts) == 18


def test_powers_of_ten_are_written_without_mathtext():
    assert [curves.POWERS(value) for value in (0, 1e-6, 1, 1e12, 300)] == ["0", "10⁻⁶", "10⁰", "10¹²", ""]


def test_what_is_not_finite_is_left_out_of_curves():
    table = [(0, 0, "dev", 1.0), (100, 0, "dev", np.inf), (0, 1, "dev", np.nan)]
    history = pd.DataFrame(table, columns=["iteration", "seed", "split", "value"])
    assert curves.loss_curves(history, axes()).get_ylim() == (0, pytest.approx(1.02))
    assert not curves.loss_curves(history[1:], axes()).lines


def test_seeds_that_never_got_there_are_counted():
    rows = pd.DataFrame(
        [("SRN", 100, True), ("SRN", 500, False), ("SRN", 500, False), ("LSTM", 300, True)],
        columns=["label", "updates", "reached"],
    )
    ax = curves.share_that_got_there(rows, axes(), 500, LOOKS)
    assert [t.get_text() for t in ax.texts] == ["2 of 3 never"]
    assert ax.get_xlim() == (0, 500)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert max(lines["SRN"]) == pytest.approx(1 / 3)
    assert max(lines["LSTM"]) == 1


def test_reporting_draws_the_mean_of_each_column_above_the_truth():
    rows = pd.DataFrame(
        {"length": [10, 10, 35], "test": [0.2, 0.4, 0.1], "dev": [0.5, 0.5, 0.3], "exact": [0.2, 0.3, 0.3]}
    )
    ax = curves.reporting_against(rows, {"dev": "on dev", "test": "on test"}, "exact", axes())
    handles, labels = ax.get_legend_handles_labels()
    assert {label: handle.lines[0].get_ydata().tolist() for label, handle in zip(labels, handles, strict=True)} == {
        "on dev": pytest.approx([25, 0]),
        "on test": pytest.approx([5, -20]),
    }


def test_what_is_said_of_seeds_that_never_got_there_does_not_overlap():
    labels = [f"model {k}" for k in range(4)]
    looks = looks_of(kinds(*((label, label) for label in labels)))
    rows = pd.DataFrame([(label, 500, False) for label in labels], columns=["label", "updates", "reached"])
    heights = [text.get_position()[1] for text in curves.share_that_got_there(rows, axes(), 500, looks).texts]
    assert len(heights) == 4
    rows = pd.DataFrame(
        [(label, 9, k < 9) for label in labels for k in range(10)], columns=["label", "updates", "reached"]
    )
    assert max(t.get_position()[1] for t in curves.share_that_got_there(rows, axes(), 500, looks).texts) < 1
    assert np.diff(sorted(heights)).min() >= curves.NEVER_APART - 1e-9


def test_a_label_looks_the_same_in_every_axes_of_a_figure():
    table = rows()
    looks = LOOKS
    ax = curves.score_against(table[table["label"] == "LSTM"], "exact_accuracy", axes(), looks)
    (handle,), _ = ax.get_legend_handles_labels()
    assert handle.lines[0].get_color() == looks["LSTM"]["color"]
    assert handle.lines[0].get_marker() == looks["LSTM"]["marker"]


def test_axes_above_hidden_ones_keep_their_x_axis():
    _, grid = curves.new_figure(2, 2)
    for ax in grid.flat:
        ax.set_xlabel("x")
        ax.label_outer()
    curves.hide_rest(grid, 3)
    assert [ax.get_visible() for ax in grid.flat] == [True, True, True, False]
    assert grid[0, 1].get_xlabel() == "x"
    assert grid[0, 1].xaxis.get_tick_params()["labelbottom"]
    assert not grid[0, 0].xaxis.get_tick_params()["labelbottom"]


def test_no_loss_curve_is_cut_off_by_axes_that_share_a_scale():
    _, (grid,) = curves.new_figure(1, 3)
    for ax, top in zip(grid, (2.0, 9.0, 3.0), strict=True):
        table = [(0, 0, "dev", 1.0), (100, 0, "dev", top)]
        curves.loss_curves(pd.DataFrame(table, columns=["iteration", "seed", "split", "value"]), ax)
    assert grid[0].get_ylim() == (0, pytest.approx(9.18))


def test_gradient_norms_have_room_for_zero_and_for_an_explosion():
    table = [
        (iteration, seed, value * (seed + 1), when)
        for when, values in (("before clipping", (1.0, 2000.0, 0.0)), ("after clipping", (1.0, 5.0, 0.0)))
        for iteration, value in enumerate(values, 1)
        for seed in range(3)
    ]
    ax = curves.gradient_norms(pd.DataFrame(table, columns=["iteration", "seed", "value", "when"]), axes())
    assert ax.get_legend_handles_labels()[1] == ["before clipping", "after clipping"]
    assert ax.get_yscale() == "symlog"
    assert ax.get_ylim() == (0, 12000)
    assert ax.get_xlim() == (1, 3)
    median = next(line for line in ax.lines if line.get_label() == "before clipping")
    assert np.asarray(median.get_ydata()).tolist() == [2, 4000, 0]


def test_the_table_of_accuracies_has_mean_and_half_the_interval():
    ax = curves.accuracy_table(rows(), "exact_accuracy", axes())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SRN", "LSTM"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "35"]
    half = 100 * 12.706 * 0.1  # Student's t with one degree of freedom, standard error 0.1
    assert ax.texts[0].get_text() == f"50 ± {half:.0f}"
    assert len(ax.texts) == 3  # the LSTM has no run of length 35


def test_the_names_of_floors_are_near_their_lines_and_apart():
    ax = Figure().subplots()
    ax.set_ylim(0, 5)  # names are 0.3 apart
    curves.floors({"xz": 2.1, "unigram": 3.5, "gzip": 2.0}, ax)
    assert [text.get_text() for text in ax.texts] == ["gzip 2.00", "xz 2.10", "unigram 3.50"]
    assert [text.xy[1] for text in ax.texts] == pytest.approx([1.9, 2.2, 3.5])
    assert sorted(line.get_ydata()[0] for line in ax.lines) == [2.0, 2.1, 3.5]


def test_floors_of_shares_are_in_percent_and_no_floors_no_lines():
    ax = curves.floors({"always 0": 0.1, "chance": 1 / 3}, axes(), share=True)
    assert [text.get_text() for text in ax.texts] == ["always 0 10 %", "chance 33.3 %"]
    ax = curves.floors({}, axes())
    assert (len(ax.lines), len(ax.texts)) == (0, 0)
