"""Figures in Chinese: no box, no English sentence; without a font one line, before anything is written."""

import re
from pathlib import Path

import pytest
from helpers import Command, CommandLine, make_run
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from memexp import files, fonts, report, sweeps, words
from memexp.analysis import command as analysis
from memexp.errors import Complaints, ConfigError
from memexp.gates import command as gates
from memexp.results import record

HOME = Path(__file__).resolve().parent.parent
REFERENCE = HOME / "outputs/reference"
#: What stays as it is: of models, keys, studies, units, and what is no sentence.
KEPT = {
    *("SRN", "LSTM", "GRU", "minGRU", "minLSTM", "SGD", "xavier", "chrono", "torch", "adam", "sgd", "global", "tensor"),
    *("value", "gzip", "xz", "nats", "k", "L", "p", "r", "W", "U", "b"),
}


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    fonts.family_with.cache_clear()
    monkeypatch.setattr(fonts, "family_with", fonts.family_with.__wrapped__)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are saved."""
    figures: list[Figure] = []

    def collect(figure: Figure, name: str) -> dict[str, bytes]:
        figures.append(figure)
        return {f"{name}.png": b"", f"{name}.pdf": b""}

    monkeypatch.setattr(files, "as_files", collect)
    return figures


def english(text: str, *kept: str) -> list[str]:
    """List the English words in a text, but for names."""
    return [word for word in re.findall(r"[A-Za-z]+", text) if word not in {*KEPT, *kept}]


def check(figures: list[Figure], *kept: str) -> None:
    """Check that figures have texts in Chinese, in fonts that have their characters (a warning is an error here)."""
    assert figures
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]  # type: ignore[attr-defined]
        assert any("\u4e00" <= character <= "\u9fff" for text in texts for character in text)
        assert {text: english(text, *kept) for text in texts if english(text, *kept)} == {}


@pytest.mark.usefixtures("chinese")
def test_all_characters_of_the_catalogue_have_a_font():
    family = fonts.family_for("zh")
    assert family is not None
    assert words.characters("zh") <= fonts.glyphs_of("sans-serif", family)
    assert fonts.family_for("en") is None


@pytest.mark.usefixtures("no_font")
def test_without_a_font_nothing_is_drawn_or_trained(
    tmp_path: Path, in_process: Command, monkeypatch: pytest.MonkeyPatch
):
    make_run(tmp_path / "outputs/book", 4)
    monkeypatch.chdir(tmp_path)
    for name, main in (("analysis", analysis.main), ("report", report.main), ("gates", gates.main)):
        assert in_process(main, "lang=zh") == f"memexp.{name}: {fonts.NO_FONT}"
        assert in_process(main, "lang=fr") == f"memexp.{name}: lang=fr is unknown; allowed: en, zh"
    assert not (tmp_path / "images").exists()
    job = sweeps.Job([], "run", tmp_path / "outputs/book/new", images=tmp_path / "images", lang="zh")
    with pytest.raises(ConfigError, match="no font here has the Chinese characters"):
        sweeps.run([job], lambda _: pytest.fail("a run was started"))
    assert "\n" not in fonts.NO_FONT


@pytest.mark.usefixtures("chinese")
def test_a_study_is_drawn_and_explained_in_chinese(tmp_path: Path, drawn: list[Figure]):
    rows = {"exact_over": "all 1900 inputs", "target_entropy_bits": 4.0, "chance_accuracy": 0.1}
    for model in ("srn", "lstm"):
        for length in (4, 5):
            make_run(tmp_path / "outputs/book", length, model, about={**rows, "dev_rows": 10, "test_rows": 20 + length})
    list(analysis.analyse(["book"], tmp_path / "outputs", tmp_path / "images", Complaints(quiet=True)))
    check(drawn, "book")
    page = (tmp_path / "images/book/results.md").read_text(encoding="utf-8")
    assert "| 模型 | 长度 | 参数量 | 种子 | 验证集 % | 测试集 % | 精确值 % | 用时 |" in page
    assert "长度 4 为全部 1900 个输入" in page
    kept = ["book", "model", "null", "lstm", "srn", "s", "t", "NAME", "Mann", "Whitney", "Holm"]
    kept += re.findall("[a-z]+", "results csv seeds comparison low high one other")  # files and columns
    kept += re.findall("[a-z]+", "panel length test_difference exact improvement p_holm")
    assert english(page, *kept) == []


@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("study", ["shuffled", "copy_memory", "tutorials", "gradient_explosion"])
def test_the_studies_are_drawn_in_chinese(study: str, tmp_path: Path, drawn: list[Figure]):
    list(analysis.analyse([study], REFERENCE, tmp_path, Complaints(quiet=True)))
    check(drawn, *study.split("_"))


@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
def test_the_report_and_its_sheet_are_in_chinese(tmp_path: Path, drawn: list[Figure]):
    complaints = Complaints()
    report.write_report("chapter6", REFERENCE, tmp_path, tmp_path / "datasets", complaints, with_speed=False)
    assert complaints.count == 0
    check(drawn, "chapter")
    text = re.sub(r"\]\([^)]*\)|`[^`]*`|experiment=\w+", "", (tmp_path / "chapter6/report.md").read_text("utf-8"))
    assert english(text, "Mann", "Whitney", "Holm", "e") == []
    page = (tmp_path / "chapter6/report.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in page
    assert "<title>第 6 章，实测</title>" in page


@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    ("study", "run"),
    [("book", "length=10,model=lstm"), ("copy_memory", "length=20,model=lstm,model.initialiser=chrono")],
)
def test_the_gates_are_shown_in_chinese(
    study: str, run: str, tmp_path: Path, drawn: list[Figure], in_process: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(HOME)
    shown = in_process(
        gates.main,
        "lang=zh",
        f"run={REFERENCE}/{study}/{run}",
        f"images_dir={tmp_path}",
        f"datasets_dir={tmp_path}/data",
    )
    assert "written" in shown, shown
    check(drawn, *study.split("_"), "abc", "a", "c")


@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
def test_a_sweep_speaks_chinese_and_is_drawn_anew_in_another_language(tmp_path: Path, memexp: CommandLine):
    given = ("-m", "length=4", "model=srn", "epochs=1", "seeds=2", "hydra/launcher=basic")
    page = tmp_path / "images/book/results.md"
    first = memexp(*given, "lang=zh")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "（种子的均值及其 95 % 置信区间）" in first.stdout
    assert "## 怎样看" in page.read_text(encoding="utf-8")
    (summary,) = (tmp_path / "outputs/book").glob(f"*/{record.SUMMARY}")
    written = summary.stat().st_mtime_ns
    again = memexp(*given)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "## How to read it" in page.read_text(encoding="utf-8")
    assert summary.stat().st_mtime_ns == written
    last = page.stat().st_mtime_ns
    assert memexp(*given).returncode == 0
    assert page.stat().st_mtime_ns == last
