import pandas as pd
import pytest
from helpers import axes, x_labels

from memexp.figures import averages as average_figures


def means(part: str = "input_gate") -> pd.DataFrame:
    """Two units and three time steps; zeros and distractors at the last."""
    table = [
        (training, part, step, kind, unit, probability, (value + unit / 10) * (1 if training == "before" else 2))
        for training in ("before", "after")
        for step, kind, probability, value in (
            (1, "first digit", 1.0, 0.1),
            (2, "second digit", 1.0, 0.2),
            (3, "zero", 0.25, 0.3),
            (3, "distractor", 0.75, 0.4),
        )
        for unit in range(2)
    ]
    columns = ["training", "part", "time_step", "kind", "unit", "probability", "mean_size"]
    return pd.DataFrame(table, columns=columns)


def saturation(part: str = "input_gate") -> pd.DataFrame:
    table = [
        ("before", part, 0, 0.0, 0.1),
        ("before", part, 1, 0.2, 0.3),
        ("after", part, 0, 0.4, 0.5),
        ("after", part, 1, 0.6, 0.3),
    ]
    return pd.DataFrame(table, columns=["training", "part", "unit", "share_under_0.1", "share_over_0.9"])


def test_a_mean_over_kinds_weighs_each_with_its_probability():
    own = means()[means()["training"] == "before"]
    assert average_figures.weighted_mean(own, ["time_step"]).tolist() == pytest.approx([0.15, 0.25, 0.425])


def test_means_by_place_show_both_trainings_and_distractors():
    ax = average_figures.means_by_place(means(), axes())
    handles, names = ax.get_legend_handles_labels()
    assert names == ["before training", "before, distractors", "after training", "after, distractors"]
    lines = dict(zip(names, handles, strict=True))
    assert lines["before training"].get_ydata().tolist() == pytest.approx([0.15, 0.25, 0.425])
    assert lines["after training"].get_ydata().tolist() == pytest.approx([0.3, 0.5, 0.85])
    assert lines["before, distractors"].get_xydata().tolist() == [[3, pytest.approx(0.45)]]
    assert ax.get_ylim() == (0, 1)
    assert ax.get_ylabel() == "Input gate"
    assert x_labels(ax) == ["1", "2", "3"]


def test_means_by_kind_show_every_unit():
    ax = average_figures.means_by_kind(means("cell_state"), axes())
    assert x_labels(ax) == ["first digit", "second digit", "zero", "distractor"]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5])
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylabel() == "|Cell state|"


def test_saturation_is_drawn_up_and_down():
    ax = average_figures.saturation_by_unit(saturation(), axes())
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.5, 0.3, -0.4, -0.6])
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.3])
    assert ax.lines[1].get_ydata().tolist() == pytest.approx([0, -0.2])
    assert [text.get_text() for text in ax.texts] == [
        "over 0.9: 20% of all values before, 40% after",
        "under 0.1: 10% of all values before, 50% after",
    ]


def test_averages_have_a_row_for_each_part():
    parts = ["input_gate", "cell_state"]
    figure = average_figures.averages(pd.concat(map(means, parts)), pd.concat(map(saturation, parts)), "LSTM")
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["Input gate", "|Cell state|"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "", "time step", "", "hidden unit"]


def test_averages_without_distractors():
    own = means()
    figure = average_figures.averages(own[own["kind"] != "distractor"], saturation(), "LSTM")
    assert x_labels(figure.axes[1]) == ["first digit", "second digit", "zero"]


def test_means_by_letter_of_the_word_leave_out_what_is_in_no_word():
    own = means().rename(columns={"time_step": "letter_of_the_word"})
    own["letter_of_the_word"] -= 1
    ax = average_figures.means_by_place(own, axes(), "letter_of_the_word", None)
    handles, names = ax.get_legend_handles_labels()
    assert names == ["before training", "after training"]
    assert handles[0].get_ydata().tolist() == pytest.approx([0.25, 0.425])
    assert x_labels(ax) == ["1", "2"]
    assert ax.get_xlabel() == "letter of the word"


def test_a_text_without_words_has_nothing_by_place():
    own = means().rename(columns={"time_step": "letter_of_the_word"}).assign(letter_of_the_word=0)
    figure = average_figures.averages(own, saturation(), "GRU", "letter_of_the_word", None)
    assert [ax.get_title() for ax in figure.axes] == ["by kind of token", "saturation, unit by unit"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["before training", "after training"]


def test_kinds_are_in_the_order_that_is_asked_for():
    ax = average_figures.means_by_kind(
        means(), axes(), ["zero", "none of these", "distractor", "second digit", "first digit"]
    )
    assert x_labels(ax) == ["zero", "distractor", "second digit", "first digit"]
