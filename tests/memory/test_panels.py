import pandas as pd
import pytest
from helpers import axes

from memexp.figures.looks import looks_of
from memexp.memory import panels
from memexp.results.tables import interval

ROWS = pd.DataFrame(
    [
        {"run": f"{label}{length}", "seed": seed, "label": label, "model.name": label.lower(), "length": length,
         "x": x, "y": 0.2 + 0.1 * x + 0.01 * seed * length}
        for label in ("SRN", "LSTM") for length in (5, 6, 7, 8) for seed in (0, 1, 2) for x in (1, 2, 4)
    ]
)  # fmt: skip


def test_a_line_is_the_mean_over_seeds_and_a_band_its_interval():
    own = ROWS[ROWS["length"] == 7]
    ax = panels.mean_curve(own, "x", "y", axes(), looks_of(ROWS), (0.0, 1.0))
    for line, label in zip(ax.lines, ("SRN", "LSTM"), strict=True):
        assert line.get_label() == label
        assert line.get_xdata().tolist() == [1, 2, 4]
        expected = [interval([0.2 + 0.1 * x + 0.07 * seed for seed in (0, 1, 2)]) for x in (1, 2, 4)]
        assert line.get_ydata() == pytest.approx([mean for mean, _, _ in expected])
    ends = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (min(ends), max(ends)) == pytest.approx((expected[0][1], expected[2][2]))


def test_each_length_has_a_panel_and_the_outer_ones_name_the_axes(chinese: None):
    figure = panels.mean_curves(ROWS, "x", "y", looks_of(ROWS), "title", "across", "up")
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == [f"训练长度 {length}" for length in (5, 6, 7, 8)]
    assert len(figure.axes) == 6
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in shown] == [
        ("", "up"), ("across", ""), ("across", ""), ("across", "up"),
    ]  # fmt: skip
    assert [ax.get_ylim() for ax in shown] == [(0, 1.02)] * 4
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["SRN", "LSTM"]


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, float("inf"))])
def test_an_axis_that_is_not_a_whole_share_goes_as_far_as_any_panel(bounds: tuple[float, float]):
    rows = ROWS.assign(y=ROWS["y"] / 20 * (ROWS["length"] - 4))  # the last panel has the largest
    figure = panels.mean_curves(rows, "x", "y", looks_of(ROWS), "title", "across", "up", bounds, whole=False)
    last = figure.axes[3]
    top = max(max(path.vertices[:, 1]) for band in last.collections for path in band.get_paths())
    assert {ax.get_ylim() for ax in figure.axes} == {last.get_ylim()}
    assert 0.9 * last.get_ylim()[1] < top < last.get_ylim()[1]
    assert figure.axes[0].yaxis.get_major_formatter()(0.1).endswith("%") == (bounds[1] == 1)
