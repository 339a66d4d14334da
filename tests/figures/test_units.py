import numpy as np
import pandas as pd
import pytest
from helpers import x_labels

from memexp.figures import units as unit_figures


def followed() -> pd.DataFrame:
    rows = [
        (training, part, unit, feature, (unit + 1) / 10 * (-1) ** unit + (training == "after") * 0.05)
        for training in ("before", "after")
        for part in ("candidate", "hidden_state", "update_gate")
        for feature in ("space", "vowel")
        for unit in range(5)
    ]
    table = pd.DataFrame(rows, columns=["training", "part", "unit", "feature", "r"])
    return table.assign(threshold=np.where(table["feature"] == "space", 0.3, 0.7))


def test_every_unit_is_a_point_and_the_best_above_chance_is_named():
    figure = unit_figures.units_by_feature(followed(), "GRU")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["Candidate", "Hidden state", "Update gate"]
    assert sorted(panels[0].lines[0].get_ydata()) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5])
    assert panels[0].lines[1].get_ydata()[:5].tolist() == pytest.approx([0.15, 0.15, 0.35, 0.35, 0.55])
    assert [text.get_text() for text in panels[0].texts] == ["4"]
    heights = [segment[0, 1] for segment in panels[0].collections[0].get_segments()]
    assert heights == pytest.approx([0.3, 0.7])
    assert x_labels(panels[1]) == x_labels(panels[2]) == ["space", "vowel"]


def test_a_unit_that_is_not_above_all_before_training_is_not_named():
    table = followed()
    table.loc[0, "r"] = -0.6  # candidate 0 before, space
    figure = unit_figures.units_by_feature(table, "GRU")
    assert not [text for ax in figure.axes for text in ax.texts]


def test_a_passage_is_broken_after_newlines_and_spaces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unit_figures, "LINE", 6)

    def broken(text: str) -> list[str]:
        return [text[line.start : line.stop] for line in unit_figures._lines(list(text))]

    assert broken("ab␣cd␣efgh") == ["ab␣cd␣", "efgh"]
    assert broken("abc↵d␣ef␣g↵h") == ["abc↵", "d␣ef␣", "g↵h"]
    assert broken("abcdefgh") == ["abcdef", "gh"]


def test_a_text_is_shown_as_it_begins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unit_figures, "LINE", 6)
    monkeypatch.setattr(unit_figures, "LINES", 2)
    figure = unit_figures.units_in_text(np.zeros((14, 1)), ["one"], list("ab␣cd␣ef␣ghijk"), "GRU")
    (ax,) = (ax for ax in figure.axes if ax.images)
    assert "".join(text.get_text() for text in ax.texts) == "abcdef"


def test_each_character_stands_on_the_colour_of_its_unit():
    values = np.array([[1.0, 0.1], [2.0, 0.2], [3.0, 0.3]])
    figure = unit_figures.units_in_text(values, ["one", "two"], ["a", "␣", "b"], "GRU")
    one, two = (ax for ax in figure.axes if ax.images)
    assert one.images[0].get_array()[0, :3].tolist() == [1, 2, 3]
    assert two.images[0].get_array()[0, :3].tolist() == [0.1, 0.2, 0.3]
    assert one.images[0].get_array().mask[0, 3:].all()
    assert [text.get_text() for text in one.texts] == ["a", "", "b"]
    assert one.get_title(loc="left") == "one"
