from collections.abc import Callable, Iterator

import numpy as np
import pytest
from helpers import axes, random_trace, x_labels
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ft2font import FT2Font

from memexp import fonts as installed
from memexp.figures import heatmaps, lettering
from memexp.figures import units as unit_figures


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Let these font files be there, with these characters beyond the usual font's."""
    listed = list(font_manager.fontManager.ttflist)
    usual = installed.glyphs_of("sans-serif")
    path = font_manager.findfont(font_manager.FontProperties())

    def install(files: dict[str, str]) -> None:
        links = {name: f"/{place}/{name}" for place, name in enumerate(files)}
        glyphs = {links[name]: frozenset(text) for name, text in files.items()}
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(links.values()))
        for name in ("charmap", "glyphs"):
            monkeypatch.setattr(installed, name, lambda own: glyphs.get(own, usual))
        monkeypatch.setattr(font_manager, "get_font", lambda own: FT2Font(path))
        monkeypatch.setattr(font_manager, "findfont", lambda font, **_: next(
            (e.fname for e in font_manager.fontManager.ttflist if [e.name] == font.get_family()), path
        ))  # fmt: skip

    installed.family_with.cache_clear()
    yield install
    installed.family_with.cache_clear()
    font_manager.fontManager.ttflist[:] = listed


def test_without_a_font_a_character_is_its_code_point(fonts: Callable[[dict[str, str]], None]):
    fonts({"Odd.ttf": "xyz"})
    assert lettering.font_for("ab分") == {}
    assert lettering.legible("ab分\n", {}) == "ab5206\n"
    ax = heatmaps.heatmap(np.zeros((2, 3)), "input_gate", ["a", "分"], axes(), token="character")
    assert x_labels(ax) == ["a", "5206"]
    assert [tick.label1.get_rotation() for tick in ax.xaxis.get_major_ticks()] == [0, 90]


def test_the_font_that_has_most_is_taken(fonts: Callable[[dict[str, str]], None]):
    fonts({"Less.ttf": "分", "More-Bold.ttf": "分开", "More.ttf": "分开"})
    font = lettering.font_for("分开不")
    assert font["fontfamily"][0] == "sans-serif"
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name == font["fontfamily"][1]]
    assert [(entry.fname, entry.weight) for entry in entries] == [("/2/More.ttf", 400), ("/2/More.ttf", 700)]
    assert lettering.legible("a分开不", font) == "a分开4e0d"
    assert lettering.font_for("abc␣↵") == {}


@pytest.mark.parametrize("tokens", [["分", "开", "↵", "7", "不"], ["a", "$", "\ue123", "x", "$"]])
def test_any_character_is_drawn_without_a_warning(tokens: list[str]):
    figure = heatmaps.sheet(random_trace(5), tokens, f"{''.join(tokens)}\n$x", token="character", bits=np.arange(5.0))
    FigureCanvasAgg(figure).draw()
    figure = unit_figures.units_in_text(np.zeros((5, 2)), ["$one", "two"], tokens, "".join(tokens))
    FigureCanvasAgg(figure).draw()


def test_wide_characters_count_twice_where_a_line_iswrapped():
    assert lettering.wrapped("分" * 30, 40) == f"{'分' * 20}\n{'分' * 10}"
    assert lettering.wrapped("a" * 30, 40) == "a" * 30
    assert lettering.wrapped("a" * 36 + "分分", 40) == "a" * 36 + "分分"
    assert lettering.wrapped("", 40) == ""


def test_chinese_breaks_anywhere_but_before_what_ends_a_phrase():
    assert lettering.wrapped("各个种子，以及均值与 95 % 置信区间", 10) == "各个种子，\n以及均值\n与 95 % 置\n信区间"
    assert lettering.wrapped("甲乙丙丁，戊", 8) == "甲乙丙\n丁，戊"  # the comma would begin a line
    assert lettering.wrapped("SRN，xavier，裁剪 0.01", 16) == "SRN，xavier，裁\n剪 0.01"
