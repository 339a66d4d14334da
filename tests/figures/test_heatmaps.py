from itertools import pairwise

import numpy as np
import pytest
from helpers import axes, random_trace, x_labels
from matplotlib.backends.backend_agg import FigureCanvasAgg

from memexp.figures import heatmaps

DIGITS = [6, 7, 0, 0, 1]


# --- one heatmap ---


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("input_gate", "Input gate"),
        ("layer_2.cell_state", "Layer 2: cell state"),
        ("layer_1.backwards.hidden_state", "Layer 1, backwards: hidden state"),
    ],
)
def test_the_name_of_a_part_becomes_words(name: str, title: str):
    assert heatmaps.title_of(name) == title


def test_a_gate_is_drawn_from_0_to_1_over_the_digits():
    values = np.array([[0.2, 0.3, 0.4]] * 5) + np.arange(5)[:, None] / 100  # [L, D]
    ax = heatmaps.heatmap(values, "forget_gate", DIGITS, axes())
    picture = ax.images[0]
    assert picture.get_clim() == (0, 1)
    assert picture.get_array().shape == (3, 5)
    assert picture.get_array()[1, 4] == pytest.approx(0.34)  # unit 1, last time step
    assert x_labels(ax) == ["6", "7", "0", "0", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (
        "digit at each time step",
        "hidden unit",
        "Forget gate",
    )
    bar = ax.get_figure().axes[1]
    assert bar.get_ylabel() == "0 closed, 1 open"


@pytest.mark.parametrize(
    ("values", "limit"), [([-3.0, 2.0], 3), ([0.1, 0.5], 0.5), ([0.0, 0.0], 1), ([np.nan, -2.0], 2)]
)
def test_a_state_has_a_symmetric_scale_as_far_as_its_largest_value(values: list[float], limit: float):
    ax = heatmaps.heatmap(np.array([values]), "cell_state", [4], axes())
    assert ax.images[0].get_clim() == (-limit, limit)
    ticks = [label.get_text() for label in ax.get_figure().axes[1].get_yticklabels()]
    assert ticks[0] == f"{-limit:.2g}"
    assert ticks[-1] == f"{limit:.2g}"


def test_units_can_be_put_in_another_order():
    values = np.array([[0.1, 0.2, 0.3]])
    ax = heatmaps.heatmap(values, "input_gate", [1], axes(), order=np.array([2, 0, 1]))
    assert ax.images[0].get_array()[:, 0].tolist() == [0.3, 0.1, 0.2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2", "0", "1"]


def test_units_by_time_are_those_that_change_first_and_more():
    hidden = np.array([[0.1, 0.5, 0.0, 0.9], [0.1, 0.5, 0.8, 0.9], [-0.5, 0.6, 0.8, 0.9]])  # changes at 3, 1, 2, 1
    assert heatmaps.units_by_time(hidden).tolist() == [3, 1, 2, 0]


def test_only_some_of_very_many_digits_and_units_are_named():
    ax = heatmaps.heatmap(np.zeros((250, 100)), "input_gate", [*range(10)] * 25, axes())
    assert len(x_labels(ax)) == 84
    assert x_labels(ax)[:4] == ["0", "3", "6", "9"]
    assert len(ax.get_yticks()) <= 16


# --- characters ---


def test_characters_and_marks_are_written_below_a_heatmap():
    ax = heatmaps.heatmap(np.zeros((5, 3)), "input_gate", ["a", "␣", "7", "$", "0"], axes(), token="character")
    assert x_labels(ax) == ["a", "␣", "7", "$", "0"]
    assert ax.get_xlabel() == "character at each time step"
    ticks = [tick.label1 for tick in ax.xaxis.get_major_ticks()]
    assert [label.get_color() for label in ticks] == ["black", "0.45", "black", "black", "black"]
    assert {label.get_fontweight() for label in ticks} == {"normal"}
    assert not any(label.get_parse_math() for label in ticks)


@pytest.mark.parametrize("token", ["digit", "symbol", "number", "character"])
def test_only_where_tokens_are_digits_some_are_bold_and_zeros_pale(token: str):
    ax = heatmaps.heatmap(np.zeros((3, 2)), "input_gate", ["6", "0", "1"], axes(), token=token)
    ticks = [tick.label1 for tick in ax.xaxis.get_major_ticks()]
    weights, colours = ["bold", "normal", "bold"], ["black", "0.45", "black"]
    assert [label.get_fontweight() for label in ticks] == (weights if token == "digit" else ["normal"] * 3)
    assert [label.get_color() for label in ticks] == (colours if token == "digit" else ["black"] * 3)


def test_bits_are_the_last_panel():
    bits = np.array([np.nan, 1.0, 3.0, 2.0, 2.0])
    figure = heatmaps.sheet(random_trace(5), list("abcde"), "GRU", token="character", bits=bits)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == 7
    assert panels[-1].get_title() == "Bits per character"
    assert [bar.get_height() for bar in panels[-1].patches][1:] == [1, 3, 2, 2]
    assert panels[-1].lines[0].get_ydata()[0] == 2
    assert panels[-1].get_xlabel() == "character at each time step"


# --- sheets ---


@pytest.mark.parametrize(
    ("length", "columns"), [(3, 3), (10, 3), (35, 2), pytest.param(100, 1, marks=pytest.mark.slow)]
)
def test_a_sheet_has_all_parts_and_legible_labels_at_any_length(length: int, columns: int):
    tokens = [6, 7, *[0] * (length - 3), 8]
    figure = heatmaps.sheet(random_trace(length), tokens, f"answer 13\n{' '.join(map(str, tokens))}\nthe end")
    parts = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in parts] == [heatmaps.title_of(name) for name in random_trace(1)]
    assert figure.axes[0].get_gridspec().ncols == columns
    FigureCanvasAgg(figure).draw()
    for ax in parts:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert all(upper.y0 > lower.y1 for upper, lower in pairwise(boxes))
    title = figure.get_suptitle()
    assert " ".join(title.split()).startswith("answer 13 6 7")
    assert title.endswith("the end")
    box = figure._suptitle.get_window_extent()  # no public way to its place
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_one_part_fills_a_sheet_of_its_own():
    figure = heatmaps.sheet({"hidden_state": np.zeros((5, 3))}, DIGITS, "SRN")
    assert len([ax for ax in figure.axes if ax.images]) == 1
    figure = heatmaps.single(np.zeros((5, 40)), "hidden_state", DIGITS, "SRN")
    assert len(figure.axes[0].get_yticks()) == 40
