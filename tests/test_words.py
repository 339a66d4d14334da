"""The catalogue has every text of the code, and nothing else; names that it lacks stay as they are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from memexp import words
from memexp.analysis import common, digit_sum
from memexp.errors import Complaints
from memexp.figures.heatmaps import LOOK
from memexp.memory.measure import all_measures
from memexp.models.cells import (
    GRU,
    IRNN,
    LSTM,
    LSTM1997,
    SLSTM,
    SRN,
    Diagonal,
    IndRNN,
    MinGRU,
    MinLSTM,
    ResidualSRN,
)
from memexp.report import ENTRIES, HOW
from memexp.results import record, tables
from memexp.results.study import load_study
from memexp.tasks.adding import AddingReading
from memexp.tasks.associative_recall import RecallReading
from memexp.tasks.char_lm import TextReading
from memexp.tasks.copy_memory import CopyReading
from memexp.tasks.digit_sum import DigitReading
from memexp.tasks.latch import LatchReading
from memexp.tasks.state_tracking import AUTOMATA, StateReading
from memexp.tasks.task import Reading
from memexp.tasks.temporal_order import OrderReading
from memexp.tasks.text import characters
from memexp.tasks.two_sequences import ClassReading

HOME = Path(__file__).resolve().parent.parent
TEXTS, NAMES = (words.catalogue("zh")[kind] for kind in ("texts", "names"))
CONSTANTS = [
    *common.COMPARISON.values(), *digit_sum.COMPARISON.values(), *digit_sum.REPORTING.values(), *tables.SPLITS.values(),
    *HOW.values(), *(entry.title for entry in ENTRIES), *(entry.book for entry in ENTRIES),
    *(measure.question for measure in all_measures().values()),
    *(score.about for measure in all_measures().values() for score in measure.scores.values()),
]  # fmt: skip


def texts(source: str) -> Iterator[str]:
    """Yield the texts that a source hands to `words.tr`, with {} for what varies."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr":
            (given,) = node.args
            if isinstance(given, ast.Constant):
                yield str(given.value)
            elif isinstance(given, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in given.values)


def test_this_test_sees_texts_with_what_varies():
    source = "x = tr('one')\ny = f(tr(f'{a:.2f} of '\n  f'{b}'), tr(name))"
    assert list(texts(source)) == ["one", "{} of {}"]


def test_every_text_has_an_entry_and_every_entry_a_text():
    sources = [path.read_text(encoding="utf-8") for path in (HOME / "memexp").rglob("*.py")]
    of_code = {text for source in sources for text in texts(source)} | {*CONSTANTS}
    assert len(of_code) > 120
    assert of_code - TEXTS.keys() == set()
    assert TEXTS.keys() - of_code == set()


@pytest.mark.parametrize("entries", [TEXTS, NAMES], ids=["texts", "names"])
def test_what_varies_is_in_both(entries: dict[str, str]):
    for english, chinese in entries.items():
        values = [f"<{place}>" for place in range(english.count("{}"))]
        written = chinese.format(*values)
        assert [value for value in values if written.count(value) != 1] == [], english
        assert "{" not in written, english


def test_every_text_is_found_by_its_own_entry():
    """Whatever stands for what varies: no other pattern takes it."""
    with words.language("zh"):
        for text, chinese in TEXTS.items():
            values = [str(11 * place) for place in range(1, text.count("{}") + 1)]
            assert words.tr(text.format(*values) if values else text) == chinese.format(*values), text


def test_every_name_of_ours_has_an_entry():
    readings: list[Reading] = [Reading(), DigitReading(5), AddingReading(), CopyReading(4, 2, 3), TextReading("ab", 5)]
    readings.append(LatchReading())
    readings += [StateReading(AUTOMATA["parity"](2), 4), OrderReading(20, 2), ClassReading(1, "tail")]
    readings += [RecallReading(3, 3, 2, 8)]
    needed = {name for reading in readings for name in (reading.token, *reading.kinds, reading.place.replace("_", " "))}
    needed |= {*characters.KINDS, *characters.features("ab c.")}
    for cell in (SRN, ResidualSRN, LSTM, GRU, MinGRU, MinLSTM, IRNN, IndRNN, LSTM1997, SLSTM, Diagonal):
        needed |= {part.replace("_", " ") for part in (*cell.gates, *cell.states)}
    needed |= {f"{which}{when} training" for which in ("", "a unit ") for when in LOOK}
    needed |= {record.score_name(name).replace("_", " ") for own in all_measures().values() for name in own.scores}
    needed |= {*LOOK, "before clipping", "after clipping", "model", "length", "parameters", "seeds", "stopped", "time"}
    for path in (HOME / "conf/task").glob("*.yaml"):
        kind = hydra.utils.get_class(OmegaConf.load(path).task["_target_"])
        for metric in kind.metrics:
            columns = (f"dev_{metric.name}", f"test_{metric.name}")
            needed |= {name.replace("_", " ") for name in (metric.name, *map(record.score_name, columns))}
    assert needed - NAMES.keys() == set()


@pytest.mark.parametrize("study", sorted(path.name for path in (HOME / "outputs/reference").iterdir() if path.is_dir()))
def test_what_the_records_say_is_known(study: str):
    found = load_study(HOME / "outputs/reference" / study, Complaints(quiet=True))
    names = {*found.floors["name"], *found.shown, *map(record.score_name, found.shown), *found.rows["trained_on"]}
    names |= {*found.rows.get("exact_over", [])}
    with words.language("zh"):
        same = {name for name in names if words.named(str(name).replace("_", " ")) == str(name).replace("_", " ")}
        labels = {words.labelled(label) for label in found.rows["label"]}
    assert same <= {"gzip", "xz"}
    left = {word for label in labels for word in re.findall(r"[A-Za-z]+", label)}
    assert left <= {"SRN", "LSTM", "GRU", "minGRU", "minLSTM", "xavier", "torch", "chrono", "zeros", "orthogonal",
                    "adam", "sgd", "global", "tensor", "value"}  # fmt: skip


def test_a_text_or_name_without_an_entry_stays():
    with words.language("zh"):
        assert words.tr("qwx zzq") == "qwx zzq"
        assert words.named("leaky SRN") == "leaky SRN"
        assert words.labelled("leaky SRN, shuffle, leak 2, forget bias 1 (fresh)") == (
            "leaky SRN，打乱顺序，leak 2，遗忘门偏置 1 (fresh)"
        )
        assert words.tr("length 12") == "长度 12"
        assert words.named("all 7 inputs") == "全部 7 个输入"
        assert words.named("digit 3") == "第 3 个数字"
    assert words.tr("length 12") == "length 12"
    assert words.labelled("SRN, shuffle") == "SRN, shuffle"


def test_the_language_is_given_back_after_an_error():
    with pytest.raises(RuntimeError), words.language("zh"):
        raise RuntimeError
    assert words.language_now() == "en"


def test_wide_characters_take_two_columns():
    assert [words.columns(text) for text in ("", "ab", "分", "a，b")] == [0, 2, 2, 4]
