from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from memexp import heatmaps

DIGITS = [6, 7, 0, 0, 1]


def axes() -> Axes:
    return Figure().subplots()


def labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def trace(length: int, units: int = 32) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    names = ("input_gate", "forget_gate", "output_gate", "candidate", "cell_state", "hidden_state")
    return {name: generator.random((length, units)) for name in names}


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
    assert labels(ax) == ["6", "7", "0", "0", "1"]
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
    assert len(labels(ax)) == 84
    assert labels(ax)[:4] == ["0", "3", "6", "9"]
    assert len(ax.get_yticks()) <= 16


# --- characters ---


def test_characters_and_marks_are_written_below_a_heatmap():
    ax = heatmaps.heatmap(np.zeros((4, 3)), "input_gate", ["a", "␣", "7", "$"], axes(), token="character")
    assert labels(ax) == ["a", "␣", "7", "$"]
    assert ax.get_xlabel() == "character at each time step"
    ticks = [tick.label1 for tick in ax.xaxis.get_major_ticks()]
    assert [label.get_color() for label in ticks] == ["black", "0.45", "black", "black"]
    assert [label.get_fontweight() for label in ticks] == ["normal", "normal", "bold", "normal"]
    assert not any(label.get_parse_math() for label in ticks)


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Let these font files be there, with these characters beyond the usual font's."""
    listed = list(font_manager.fontManager.ttflist)
    usual = heatmaps._usual_glyphs()
    path = font_manager.findfont(font_manager.FontProperties())

    def install(files: dict[str, str]) -> None:
        links = {name: f"/{place}/{name}" for place, name in enumerate(files)}
        glyphs = {links[name]: frozenset(text) for name, text in files.items()}
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(links.values()))
        monkeypatch.setattr(heatmaps, "_glyphs", lambda own: glyphs.get(own, usual))
        monkeypatch.setattr(font_manager, "get_font", lambda own: FT2Font(path))
        monkeypatch.setattr(font_manager, "findfont", lambda name, **_: next(
            (e.fname for e in font_manager.fontManager.ttflist if e.name == name), path
        ))  # fmt: skip

    heatmaps._other_font.cache_clear()
    yield install
    heatmaps._other_font.cache_clear()
    font_manager.fontManager.ttflist[:] = listed


def test_without_a_font_a_character_is_its_code_point(fonts: Callable[[dict[str, str]], None]):
    fonts({"Odd.ttf": "xyz"})
    assert heatmaps.font_for("ab分") == {}
    assert heatmaps.legible("ab分\n", {}) == "ab5206\n"
    ax = heatmaps.heatmap(np.zeros((2, 3)), "input_gate", ["a", "分"], axes(), token="character")
    assert labels(ax) == ["a", "5206"]
    assert [tick.label1.get_rotation() for tick in ax.xaxis.get_major_ticks()] == [0, 90]


def test_the_font_that_has_most_is_taken(fonts: Callable[[dict[str, str]], None]):
    fonts({"Less.ttf": "分", "More-Bold.ttf": "分开", "More.ttf": "分开"})
    font = heatmaps.font_for("分开不")
    assert font["fontfamily"][0] == "sans-serif"
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name == font["fontfamily"][1]]
    assert [(entry.fname, entry.weight) for entry in entries] == [("/2/More.ttf", 400), ("/2/More.ttf", 700)]
    assert heatmaps.legible("a分开不", font) == "a分开4e0d"
    assert heatmaps.font_for("abc␣↵") == {}


@pytest.mark.parametrize("tokens", [["分", "开", "↵", "7", "不"], ["a", "$", "\ue123", "x", "$"]])
def test_any_character_is_drawn_without_a_warning(tokens: list[str]):
    figure = heatmaps.sheet(trace(5), tokens, f"{''.join(tokens)}\n$x", token="character", bits=np.arange(5.0))
    FigureCanvasAgg(figure).draw()
    figure = heatmaps.units_in_text(np.zeros((5, 2)), ["$one", "two"], tokens, "".join(tokens))
    FigureCanvasAgg(figure).draw()


def test_bits_are_the_last_panel():
    bits = np.array([np.nan, 1.0, 3.0, 2.0, 2.0])
    figure = heatmaps.sheet(trace(5), list("abcde"), "GRU", token="character", bits=bits)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == 7
    assert panels[-1].get_title() == "Bits per character"
    assert [bar.get_height() for bar in panels[-1].patches][1:] == [1, 3, 2, 2]
    assert panels[-1].lines[0].get_ydata()[0] == 2
    assert panels[-1].get_xlabel() == "character at each time step"


def test_wide_characters_count_twice_where_a_line_is_wrapped():
    assert heatmaps._wrapped("分" * 30, 40) == f"{'分' * 20}\n{'分' * 10}"
    assert heatmaps._wrapped("a" * 30, 40) == "a" * 30
    assert heatmaps._wrapped("a" * 36 + "分分", 40) == "a" * 36 + "分分"
    assert heatmaps._wrapped("", 40) == ""


# --- sheets ---


@pytest.mark.parametrize(("length", "columns"), [(3, 3), (10, 3), (35, 2), (100, 1)])
def test_a_sheet_has_all_parts_and_legible_labels_at_any_length(length: int, columns: int):
    tokens = [6, 7, *[0] * (length - 3), 8]
    figure = heatmaps.sheet(trace(length), tokens, f"answer 13\n{' '.join(map(str, tokens))}\nthe end")
    parts = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in parts] == [heatmaps.title_of(name) for name in trace(1)]
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


# --- averages ---


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
    assert heatmaps.weighted_mean(own, ["time_step"]).tolist() == pytest.approx([0.15, 0.25, 0.425])


def test_means_by_place_show_both_trainings_and_distractors():
    ax = heatmaps.means_by_place(means(), axes())
    handles, names = ax.get_legend_handles_labels()
    assert names == ["before training", "before, distractors", "after training", "after, distractors"]
    lines = dict(zip(names, handles, strict=True))
    assert lines["before training"].get_ydata().tolist() == pytest.approx([0.15, 0.25, 0.425])
    assert lines["after training"].get_ydata().tolist() == pytest.approx([0.3, 0.5, 0.85])
    assert lines["before, distractors"].get_xydata().tolist() == [[3, pytest.approx(0.45)]]
    assert ax.get_ylim() == (0, 1)
    assert ax.get_ylabel() == "Input gate"
    assert labels(ax) == ["1", "2", "3"]


def test_means_by_kind_show_every_unit():
    ax = heatmaps.means_by_kind(means("cell_state"), axes())
    assert labels(ax) == ["first digit", "second digit", "zero", "distractor"]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5])
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylabel() == "|Cell state|"


def test_saturation_is_drawn_up_and_down():
    ax = heatmaps.saturation_by_unit(saturation(), axes())
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.5, 0.3, -0.4, -0.6])
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.3])
    assert ax.lines[1].get_ydata().tolist() == pytest.approx([0, -0.2])
    assert [text.get_text() for text in ax.texts] == [
        "over 0.9: 20% of all values before, 40% after",
        "under 0.1: 10% of all values before, 50% after",
    ]


def test_averages_have_a_row_for_each_part():
    parts = ["input_gate", "cell_state"]
    figure = heatmaps.averages(pd.concat(map(means, parts)), pd.concat(map(saturation, parts)), "LSTM")
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["Input gate", "|Cell state|"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "", "time step", "", "hidden unit"]


def test_averages_without_distractors():
    own = means()
    figure = heatmaps.averages(own[own["kind"] != "distractor"], saturation(), "LSTM")
    assert labels(figure.axes[1]) == ["first digit", "second digit", "zero"]


def test_means_by_letter_of_the_word_leave_out_what_is_in_no_word():
    own = means().rename(columns={"time_step": "letter_of_the_word"})
    own["letter_of_the_word"] -= 1
    ax = heatmaps.means_by_place(own, axes(), "letter_of_the_word", None)
    handles, names = ax.get_legend_handles_labels()
    assert names == ["before training", "after training"]
    assert handles[0].get_ydata().tolist() == pytest.approx([0.25, 0.425])
    assert labels(ax) == ["1", "2"]
    assert ax.get_xlabel() == "letter of the word"


def test_a_text_without_words_has_nothing_by_place():
    own = means().rename(columns={"time_step": "letter_of_the_word"}).assign(letter_of_the_word=0)
    figure = heatmaps.averages(own, saturation(), "GRU", "letter_of_the_word", None)
    assert [ax.get_title() for ax in figure.axes] == ["by kind of token", "saturation, unit by unit"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["before training", "after training"]


def test_kinds_are_in_the_order_that_is_asked_for():
    ax = heatmaps.means_by_kind(means(), axes(), ["zero", "none of these", "distractor", "second digit", "first digit"])
    assert labels(ax) == ["zero", "distractor", "second digit", "first digit"]


# --- units that follow a text ---


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
    figure = heatmaps.units_by_feature(followed(), "GRU")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["Candidate", "Hidden state", "Update gate"]
    assert sorted(panels[0].lines[0].get_ydata()) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5])
    assert panels[0].lines[1].get_ydata()[:5].tolist() == pytest.approx([0.15, 0.15, 0.35, 0.35, 0.55])
    assert [text.get_text() for text in panels[0].texts] == ["4"]
    heights = [segment[0, 1] for segment in panels[0].collections[0].get_segments()]
    assert heights == pytest.approx([0.3, 0.7])
    assert labels(panels[1]) == labels(panels[2]) == ["space", "vowel"]


def test_a_unit_that_is_not_above_all_before_training_is_not_named():
    table = followed()
    table.loc[0, "r"] = -0.6  # candidate 0 before, space
    figure = heatmaps.units_by_feature(table, "GRU")
    assert not [text for ax in figure.axes for text in ax.texts]


def test_a_passage_is_broken_after_newlines_and_spaces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heatmaps, "LINE", 6)

    def broken(text: str) -> list[str]:
        return [text[line.start : line.stop] for line in heatmaps._lines(list(text))]

    assert broken("ab␣cd␣efgh") == ["ab␣cd␣", "efgh"]
    assert broken("abc↵d␣ef␣g↵h") == ["abc↵", "d␣ef␣", "g↵h"]
    assert broken("abcdefgh") == ["abcdef", "gh"]


def test_a_text_is_shown_as_it_begins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heatmaps, "LINE", 6)
    monkeypatch.setattr(heatmaps, "LINES", 2)
    figure = heatmaps.units_in_text(np.zeros((14, 1)), ["one"], list("ab␣cd␣ef␣ghijk"), "GRU")
    (ax,) = (ax for ax in figure.axes if ax.images)
    assert "".join(text.get_text() for text in ax.texts) == "abcdef"


def test_each_character_stands_on_the_colour_of_its_unit():
    values = np.array([[1.0, 0.1], [2.0, 0.2], [3.0, 0.3]])
    figure = heatmaps.units_in_text(values, ["one", "two"], ["a", "␣", "b"], "GRU")
    one, two = (ax for ax in figure.axes if ax.images)
    assert one.images[0].get_array()[0, :3].tolist() == [1, 2, 3]
    assert two.images[0].get_array()[0, :3].tolist() == [0.1, 0.2, 0.3]
    assert one.images[0].get_array().mask[0, 3:].all()
    assert [text.get_text() for text in one.texts] == ["a", "", "b"]
    assert one.get_title(loc="left") == "one"
