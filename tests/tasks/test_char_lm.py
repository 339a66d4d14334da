import hashlib
import math
import random
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of
from omegaconf import OmegaConf

from memexp import trained
from memexp.errors import ConfigError
from memexp.experiment import run
from memexp.results import record
from memexp.results.history import read_history
from memexp.tasks import char_lm
from memexp.tasks.char_lm import CharLM, TextReading
from memexp.tasks.task import Interface
from memexp.tasks.text import characters
from memexp.tasks.text.characters import encode
from memexp.tasks.text.floors import ngram_bits
from memexp.training import checkpoints

SAMPLINGS = pytest.mark.parametrize("sampling", ["random", "consecutive"])
RANDOM = "".join(random.Random(0).choices("abcd", k=6000))


def places(length: int) -> str:
    """A text of different characters in the order of their numbers: the number of each is its place."""
    return "".join(chr(0x4E00 + place) for place in range(length))


def task(folder: Path, text: str, **options: object) -> CharLM:
    """Build a task of a text: two seeds, three sequences of five characters at a time."""
    path = folder / "own.txt"
    path.write_text(text, encoding="utf-8")
    given = {"length": 5, "seeds": [0, 7], "batch_size": 3, "folder": folder, "corpus": str(path), "max_chars": None}
    cleaning = {"lower": False, "strip_punctuation": False, "keep_newlines": False, "sampling": "random"}
    writing = {
        "encoding": "utf-8",
        "dev_chars": None,
        "held_out": 0.1,
        "prefixes": [],
        "pred_period": 40,
        "pred_chars": 50,
    }
    return CharLM(**{**given, **cleaning, **writing, **options})


def reading_of(own: CharLM, *prefixes: str) -> TextReading:
    """What a person reads, as it is made of a record."""
    return CharLM.reading(OmegaConf.create({"length": own.length, "task": {"prefixes": [*prefixes]}}), own.about())


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What models were asked to write, instead of writing it."""
    notes: list[tuple[object, ...]] = []
    monkeypatch.setattr(char_lm.writing, "note", lambda *arguments: notes.append(arguments))
    return notes


def prefixes_of(own: CharLM, noted: list[tuple[object, ...]]) -> list[tuple[str, list[int]]]:
    own.after_update(None, own.updates_per_epoch, own.updates_per_epoch, own.folder)
    return [(text, codes.tolist()) for text, codes in noted.pop()[1]]


# --- the text and its parts ---


def test_the_parts_follow_each_other(tmp_path: Path):
    own = task(tmp_path, places(101), held_out=0.2)
    assert "".join(own.texts.values()) == places(101)
    assert {split: len(text) for split, text in own.texts.items()} == {"train": 81, "dev": 10, "test": 10}
    about = own.about()
    assert (about["train_characters"], about["dev_characters"], about["test_characters"]) == (81, 10, 10)
    assert about["vocabulary"] == places(101)
    assert own.interface == Interface(inputs=101, outputs=101, every_step=True, longest=5)
    assert own.extras["vocabulary"].tolist() == [*map(ord, places(101))]


def test_every_part_is_scored_and_no_test_text_by_the_last_weights(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    assert list(own.splits()) == ["train", "dev", "test"]
    for split, rows in own.splits().items():
        assert torch.equal(rows.inputs, own.rows(split).inputs)
    shown = [f"{split}_perplexity" for split in ("last_train", "last_dev", "train", "dev", "test")]
    assert own.shown() == dict.fromkeys([*shown, "test_bits"], False)
    assert own.writes


def test_the_record_says_what_simple_models_make_of_the_test_text(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    train, dev, test = own.texts.values()
    bits, loss = own.floors()["bits"], own.floors()["loss"]
    assert [*bits.values()][:3] == ngram_bits(train + dev, test, 3, 4)
    assert list(own.floors()) == ["bits", "loss"]
    assert loss == {name: pytest.approx(each * math.log(2)) for name, each in bits.items()}
    bits = own.more_scores({f"{split}_loss": [math.log(8), 0.0] for split in own.texts})
    assert bits == {f"{split}_bits": [pytest.approx(3), 0] for split in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("length", "rows"),
    [(4000, (1, 199)), (4020, (1, 200)), (8040, (2, 200)), (20_000, (5, 199)), (160_000, (32, 249))],
)
def test_a_part_is_scored_in_a_few_long_rows(tmp_path: Path, length: int, rows: tuple[int, int]):
    """All of it but the first character, which nothing precedes, and fewer characters at the end than there are rows.

    Expected of the test part, a twentieth of the text.
    """
    own = task(tmp_path, RANDOM * 30, max_chars=length)
    scored = own.rows("test")
    assert tuple(scored.inputs.shape) == rows
    assert scored.source == f"{rows[0]} rows of {rows[1]} characters"
    test = torch.tensor(["abcd".index(character) for character in own.texts["test"]])
    assert scored.inputs.flatten().tolist() == test[: rows[0] * rows[1]].tolist()
    assert scored.targets.flatten().tolist() == test[1 : rows[0] * rows[1] + 1].tolist()
    assert 0 <= len(test) - 1 - rows[0] * rows[1] < rows[0]
    averaged = own.distribution()
    assert torch.equal(averaged.inputs, scored.inputs)
    assert averaged.weights.shape == rows
    torch.testing.assert_close(averaged.weights, torch.full(rows, 1 / (rows[0] * rows[1]), dtype=torch.float64))
    assert averaged.row_weights().tolist() == [pytest.approx(1 / rows[0])] * rows[0]
    assert averaged.source == f"{scored.source}, held out (letter 12: and all beyond)"


def test_a_part_of_dev_chooses_and_the_record_says_how_much(tmp_path: Path):
    own, whole = task(tmp_path, RANDOM, held_out=0.2, dev_chars=450), task(tmp_path, RANDOM, held_out=0.2)
    assert own.chooser().inputs.shape == (2, 224)
    dev = torch.tensor(["abcd".index(character) for character in own.texts["dev"][:450]])
    assert own.chooser().inputs.flatten().tolist() == dev[:448].tolist()
    assert own.chooser().targets.flatten().tolist() == dev[1:449].tolist()
    assert torch.equal(whole.chooser().inputs, whole.rows("dev").inputs)
    assert torch.equal(own.rows("dev").inputs, whole.rows("dev").inputs)
    assert [each.about()["choosing_characters"] for each in (own, whole)] == [450, 600]
    assert own.fingerprint() == f"{whole.fingerprint()}/dev=450"  # other weights are chosen
    assert task(tmp_path, RANDOM, held_out=0.2, dev_chars=600).fingerprint() == whole.fingerprint()


def test_the_final_scores_are_over_all_of_dev(tmp_path: Path):
    (tmp_path / "own.txt").write_text(RANDOM)
    settings = ("model=gru", "model.hidden_size=3", "seeds=[4]", "epochs=1", "task.dev_chars=100", "clip=null")
    summary = run(config_of("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings), tmp_path / "run")
    (seed,) = summary["seeds"]
    history = read_history(tmp_path / "run")
    dev = history[(history["split"] == "dev") & (history["name"] == "perplexity")]["value"]
    assert seed["dev_perplexity"] != pytest.approx(dev.min(), rel=1e-4)
    assert (summary["about"]["choosing_characters"], summary["about"]["dev_characters"]) == (100, 300)


def test_codes_are_kept_in_a_byte_and_batches_are_indices(tmp_path: Path):
    """Of two bytes where there are more characters than a byte has numbers."""
    for length, kind in ((256, torch.uint8), (257, torch.int16)):
        own = task(tmp_path, places(length) * 4, held_out=0.2)
        rows = own.rows("train")
        assert rows.inputs.dtype == kind
        assert rows.inputs.data_ptr() + rows.inputs.element_size() == rows.targets.data_ptr()  # one text, held once
        ready = [own.batch(0), rows.to(torch.device("cpu")), own.distribution()]
        assert {each.dtype for some in ready for each in (some.inputs, some.targets)} == {torch.int64}
        assert torch.equal(ready[1].inputs, rows.inputs.long())


def test_records_without_the_later_settings_mean_what_was_then(tmp_path: Path):
    """A run of before is complete, and can be loaded with its data."""
    (tmp_path / "own.txt").write_text("abcde" * 100)
    settings = ("batch_size=4", "length=10", "model=gru", "model.hidden_size=4", "seeds=1", "epochs=1")
    config, folder = config_of("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings), tmp_path / "run"
    summary = run(config, folder)
    for key in ("encoding", "dev_chars"):
        assert key not in record.read_json(folder / record.CONFIG)["task"]
        del summary["config"]["task"][key]
    record.write_json(folder / record.SUMMARY, summary)
    assert run(config, folder) == summary
    task = trained.load(folder, datasets=str(tmp_path)).task()
    assert (task.encoding, task.dev_chars) == ("utf-8", None)


@pytest.mark.parametrize("encoding", ["gb18031", "hex"])
def test_an_encoding_that_python_does_not_know_is_refused(encoding: str):
    complaint = f"task.encoding={encoding}: Python knows no such encoding; give one as utf-8, utf-16, gb18030 or big5"
    with pytest.raises(ConfigError, match=complaint):
        config_of("task=char_lm", f"task.encoding={encoding}")


def test_a_chinese_text_in_its_own_encoding_is_the_same_text(tmp_path: Path):
    text = places(300)
    own = task(tmp_path, text)
    (tmp_path / "own.txt").write_bytes(text.encode("gb18030"))
    (tmp_path / "other").mkdir()
    other = task(tmp_path / "other", text, corpus=f"{tmp_path}/own.txt", encoding="gb18030")
    assert other.fingerprint() == own.fingerprint()


def test_the_fingerprint_is_that_of_the_cleaned_text(tmp_path: Path):
    prints = [
        task(tmp_path, text, **options).fingerprint()
        for text, options in (
            (RANDOM, {}), (RANDOM[:-1] + "a", {}), (RANDOM.upper(), {}), (RANDOM.upper(), {"lower": True}),
            (RANDOM, {"max_chars": 5000}), (f"\n{RANDOM}\n", {"seeds": [3], "length": 7, "sampling": "consecutive"}),
        )
    ]  # fmt: skip
    assert prints[0] == prints[3] == hashlib.sha256(RANDOM.encode()).hexdigest()
    assert prints[5] == f"{prints[0]}/stretches"  # rows did not have stretches of their own at first
    assert len(set(prints)) == 5


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"length": 11}, {"held_out": 0.3}])
def test_a_text_that_is_too_short_says_how_long_it_must_be(tmp_path: Path, options: dict[str, object]):
    with pytest.raises(ConfigError, match=r"^the text has 9 characters; one batch of . sequences of ") as error:
        task(tmp_path, places(9), **{"held_out": 0.5, **options})
    assert str(error.value).endswith(": give a longer text, or a smaller batch_size, length or task.held_out")
    needed = int(re.search(r"needs (\d+)", str(error.value))[1])
    assert task(tmp_path, RANDOM[:needed], **{"held_out": 0.5, **options}).updates_per_epoch == 1
    with pytest.raises(ConfigError, match=f"{needed - 4} characters"):
        task(tmp_path, RANDOM[: needed - 4], **{"held_out": 0.5, **options})


def test_a_held_out_part_of_a_single_character_is_too_little(tmp_path: Path):
    with pytest.raises(ConfigError, match="task.held_out=0.0003 of the text's 6000 characters is too little"):
        task(tmp_path, RANDOM, held_out=0.0003)


def test_characters_of_a_prefix_that_the_text_lacks_are_named(tmp_path: Path, noted: list[tuple[object, ...]]):
    with pytest.raises(
        ConfigError, match=r"'bAd!' has characters the model does not know: \['!', 'A'\]; it knows 'abcd'"
    ):
        task(tmp_path, RANDOM, prefixes=["abc", "bAd!"])
    with pytest.raises(ConfigError, match=r"it knows .{81}\.\.\. \(101 in all\)"):
        task(tmp_path, places(101), prefixes=["a"])
    own = task(tmp_path, "a b c " * 50, prefixes=["ca", ""])
    assert prefixes_of(own, noted) == [("ca", [3, 1]), ("", [0])]


# --- what a person reads ---

LINES = "It is a sea, a sea.\nSo it is!\n" * 40


def test_characters_have_kinds_and_places(tmp_path: Path):
    own = reading_of(task(tmp_path, LINES, keep_newlines=True))
    inputs = torch.stack([encode(text, own.outputs) for text in ("sea, it\n", "a is it!")])
    assert [[own.kinds[k] for k in row] for row in own.token_kinds(inputs).tolist()] == [
        ["first letter", "inner letter", "inner letter", "punctuation", "space", "first letter", "inner letter",
         "newline"],
        ["first letter", "space", "first letter", "inner letter", "space", "first letter", "inner letter",
         "punctuation"],
    ]  # fmt: skip
    assert own.token_places(inputs).tolist() == [[1, 2, 3, 0, 0, 1, 2, 0], [1, 0, 1, 2, 0, 1, 2, 0]]


def test_the_last_letters_of_a_very_long_word_share_a_place(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    assert reading_of(own).token_places(own.distribution().inputs)[0, :14].tolist() == [*range(1, 13), 12, 12]


def test_white_space_is_written_as_marks(tmp_path: Path):
    own = task(tmp_path, LINES, keep_newlines=True)
    codes = encode("a sea\nSo", own.vocabulary)
    assert reading_of(own).labels(codes) == ["a", "␣", "s", "e", "a", "↵", "S", "o"]
    assert reading_of(own).write(codes) == "a sea↵So"
    assert own.trained_on == "the text own (1,079 characters)"  # 1,199, less twice 60


def test_what_was_typed_becomes_characters(tmp_path: Path):
    own = task(tmp_path, LINES, keep_newlines=True)
    reading = reading_of(own)
    assert torch.equal(own.example(), encode(own.texts["test"][:60], own.vocabulary))
    assert reading.example() is None  # it knows no text of its own
    assert torch.equal(reading.read("sea\nSo"), encode("sea\nSo", own.vocabulary))
    assert torch.equal(reading.read(r"sea\nSo"), reading.read("sea\nSo"))
    assert reading.remark(reading.read("sea")) is None
    with pytest.raises(
        ConfigError, match=r"^the text 'se\?\?' has characters the model does not know: \['\?'\]; it knows"
    ):
        reading.read("se??")
    with pytest.raises(ConfigError, match="does not know"):
        reading_of(task(tmp_path, LINES)).read(r"sea\nSo")


def test_a_reading_is_made_of_the_record(tmp_path: Path):
    reading = reading_of(task(tmp_path, "a b c " * 50))
    assert (reading.symbols, reading.outputs, reading.words) == (" abc", (" ", "a", "b", "c"), "text")
    assert (reading.token, reading.kinds, reading.place) == ("character", characters.KINDS, "letter_of_the_word")
    assert reading.steps == 5
    for damaged in (None, "", ["a"]):
        with pytest.raises(TypeError, match="the vocabulary is .*, not a text"):
            CharLM.reading(OmegaConf.create({"task": {"prefixes": []}}), {"vocabulary": damaged})


@pytest.mark.parametrize(
    ("prefixes", "begins"), [([], " "), ([""], " "), (["", "sea", "it"], "sea"), ([r"it\nis"], "it\nis")]
)
def test_what_is_typed_at_first_is_a_prefix_or_white_space(tmp_path: Path, prefixes: list[str], begins: str):
    assert reading_of(task(tmp_path, LINES, keep_newlines=True), *prefixes).beginning == begins


def test_verse_without_spaces_takes_a_space_for_a_newline(tmp_path: Path, noted: list[tuple[object, ...]]):
    own = task(tmp_path, "分开\n不分开\n" * 60, keep_newlines=True, prefixes=[""])
    assert own.vocabulary == ["\n", "不", "分", "开"]
    assert reading_of(own).read("分 开").tolist() == [2, 0, 3]
    assert prefixes_of(own, noted) == [("", [0])]


def test_prefixes_are_typed_too(tmp_path: Path, noted: list[tuple[object, ...]]):
    own = task(tmp_path, "分开\n不分开\n" * 60, keep_newlines=True, prefixes=[r"分\n不"])
    assert prefixes_of(own, noted) == [("分\n不", [2, 0, 1])]
    assert prefixes_of(task(tmp_path, "不分开" * 99, prefixes=[""]), noted) == [("", [0])]


@pytest.mark.parametrize(
    ("period", "epochs", "writes"), [(2, 5, [2, 4, 5]), (1, 3, [1, 2, 3]), (9, 4, [4]), (2, 4, [2, 4]), (0, 4, [])]
)
def test_it_writes_every_so_many_epochs_and_at_the_end(
    tmp_path: Path, noted: list[tuple[object, ...]], period: int, epochs: int, writes: list[int]
):
    own = task(tmp_path, places(150), prefixes=[places(3)], pred_period=period, pred_chars=4)
    updates = epochs * own.updates_per_epoch
    for iteration in range(1, updates + 1):
        own.after_update("the model", iteration, updates, tmp_path)
    assert [(model, chars, epoch, folder) for model, _, _, chars, epoch, folder in noted] == [
        ("the model", 4, epoch, tmp_path) for epoch in writes
    ]
    for _, prefixes, vocabulary, *_ in noted:
        assert [(text, codes.tolist()) for text, codes in prefixes] == [(places(3), [0, 1, 2])]
        assert vocabulary == own.vocabulary


def test_a_language_model_must_not_read_backwards():
    def complaint(bidirectional: bool) -> str | None:
        task = {"prefixes": [], "encoding": "utf-8"}
        return CharLM.rule(OmegaConf.create({"task": task, "model": {"bidirectional": bidirectional}}))

    assert complaint(True).startswith("model.bidirectional=true: a language model that reads backwards has seen")
    assert complaint(False) is None


def test_a_description_has_the_likeliest_characters_and_the_bits(tmp_path: Path):
    own = reading_of(task(tmp_path, "a b c d " * 100))  # " abcd"
    sequence = torch.tensor([1, 2, 0])
    probabilities = np.full((3, 5), 0.01)
    probabilities[0, 2], probabilities[1, 0], probabilities[2] = 0.5, 0.125, [0.3, 0.05, 0.1, 0.5, 0.05]
    assert own.costs(sequence, probabilities)[1:].tolist() == pytest.approx([1, 3])
    assert np.isnan(own.costs(sequence, probabilities)[0])
    assert own.describe(sequence, probabilities) == "next: 'c' 0.500, '␣' 0.300, 'b' 0.100; 2.00 bits per character"
    assert own.describe(sequence[:1], probabilities[-1:]) == "next: 'c' 0.500, '␣' 0.300, 'b' 0.100"
    assert own.costs(sequence[:1], probabilities[-1:]) is None
    impossible = own.costs(sequence[:2], np.zeros((2, 5), dtype=np.float32))
    assert np.isfinite(impossible[1])


def test_the_running_text_is_the_test_text_with_its_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = task(tmp_path, LINES, keep_newlines=True, held_out=0.4)
    codes, features = own.running_text()
    assert "".join(own.vocabulary[code] for code in codes) == own.texts["test"]
    assert features.keys() == characters.features(own.texts["test"]).keys()
    monkeypatch.setattr(char_lm, "RUNNING_TEXT", 50)
    codes, features = own.running_text()
    assert [len(codes), *{len(feature) for feature in features.values()}] == [50, 50]


# --- batches ---


@SAMPLINGS
@pytest.mark.parametrize("length", [120, 131, 139, 149, 150])
def test_every_sequence_of_an_epoch_is_another_piece_of_the_training_text(tmp_path: Path, sampling: str, length: int):
    own = task(tmp_path, places(length), sampling=sampling)
    train, updates = len(own.texts["train"]), own.updates_per_epoch
    assert updates == (train - 5) // 5 // 3
    read = set()
    for epoch in range(150):
        rows = [own.batch(epoch * updates + place) for place in range(updates)]
        for one in rows:
            assert one.inputs.shape == one.targets.shape == (2, 3, 5)
            assert torch.equal(one.targets, one.inputs + 1)  # the place after
            assert torch.equal(one.inputs, one.inputs[..., :1] + torch.arange(5))
            assert one.inputs.min() >= 0
            assert one.targets.max() < train
        for k in range(2):
            own_places = torch.cat([one.inputs[k].flatten() for one in rows]).tolist()
            assert len(set(own_places)) == len(own_places) == updates * 3 * 5
            read |= set(own_places)
    # no part is left out in every epoch, but for less than a sequence at the end
    assert read >= set(range(train - (5 if sampling == "random" else 1)))


@SAMPLINGS
def test_a_batch_is_a_function_of_the_update_alone(tmp_path: Path, sampling: str):
    make = partial(task, tmp_path, places(150), sampling=sampling)
    forwards, own = make(), make()
    inputs = [forwards.batch(iteration).inputs for iteration in range(40)]
    for iteration in (33, 2, 39, 0, 16, 33):
        assert torch.equal(own.batch(iteration).inputs, inputs[iteration])
        assert torch.equal(make(seeds=[7]).batch(iteration).inputs[0], inputs[iteration][1])
    assert own.updates_per_epoch == 8
    epochs = [torch.stack(inputs[first : first + 8]) for first in range(0, 40, 8)]
    assert len({tuple(epoch[:, k].flatten().tolist()) for epoch in epochs for k in range(2)}) > 3


def test_random_batches_begin_anew_in_an_order_of_their_own(tmp_path: Path):
    own = task(tmp_path, places(150))
    assert [own.batch(iteration).continues for iteration in range(9)] == [False] * 9
    for k in range(2):
        starts = torch.cat([own.batch(iteration).inputs[k, :, 0] for iteration in range(8)])
        assert len(starts.diff().unique()) > 8  # in the order of the text it would be 1


def test_a_consecutive_row_goes_on_where_it_ended(tmp_path: Path):
    own = task(tmp_path, places(150), sampling="consecutive")
    assert own.updates_per_epoch == 8
    rows = [own.batch(iteration) for iteration in range(24)]
    assert [one.continues for one in rows] == ([False] + [True] * 7) * 3
    for before, after in pairwise(rows):
        if after.continues:
            assert torch.equal(after.inputs[..., 0], before.targets[..., -1])
    stretch = 133 // 3  # of the 134 training characters, of which the last is a target only
    for first in (0, 8, 16):
        starts = rows[first].inputs[..., 0]
        assert starts.diff(dim=1).unique().tolist() == [stretch]
        assert all(0 <= start <= 133 - 2 * stretch - 8 * 5 for start in starts[:, 0].tolist())


# --- a run ---


def test_a_run_leaves_the_scores_of_every_part(tmp_path: Path):
    (tmp_path / "own.txt").write_text("abcde" * 100)
    settings = ("batch_size=4", "length=10", "model=gru", "model.hidden_size=4", "seeds=2", "epochs=2")
    summary = run(config_of("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings), tmp_path / "run")
    assert summary["updates"] == 2 * ((450 - 10) // 10 // 4)
    assert summary["parameters"] == 3 * (5 * 4 + 4 * 4 + 4) + 4 * 5 + 5
    assert (summary["about"]["vocabulary"], summary["about"]["train_characters"]) == ("abcde", 450)
    assert summary["interface"] == {"inputs": 5, "outputs": 5, "every_step": True, "longest": 10}
    assert summary["test_right"] == {}  # a perplexity does not say what is right
    assert summary["trained_on"] == "the text own (450 characters)"
    assert summary["floors"]["bits"].keys() == {"unigram", "bigram", "trigram", "gzip", "xz"}
    for seed in summary["seeds"]:
        for split in ("train", "dev", "test"):
            assert seed[f"{split}_bits"] == pytest.approx(math.log2(seed[f"{split}_perplexity"]))
            assert seed[f"{split}_loss"] == pytest.approx(math.log(seed[f"{split}_perplexity"]))
        assert [name for name in seed if name.startswith("last_")] == ["last_train_perplexity", "last_dev_perplexity"]
    assert checkpoints.load(tmp_path / "run" / "best.pt", "weights")["vocabulary"].tolist() == [*map(ord, "abcde")]


def test_each_writing_is_a_line_also_with_newlines_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """An untrained model of two characters and a newline writes newlines sooner or later."""
    (tmp_path / "own.txt").write_text("a\\\n" * 300)
    settings = ("batch_size=4", "length=10", "model=srn", "model.hidden_size=4", "seeds=1", "epochs=2")
    written = ("task.keep_newlines=true", "task.prefixes=['a']", "task.pred_period=1", "task.pred_chars=20")
    config = config_of("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings, *written)
    with caplog.at_level("INFO"):
        summary = run(config, tmp_path / "run")
    assert summary["about"]["vocabulary"] == "\n\\a"
    lines = (tmp_path / "run" / "written.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == ["1", "2"]
    texts = [line.partition("\t")[2].replace(r"\\", "/").replace(r"\n", "\n") for line in lines]
    assert [len(text) for text in texts] == [21, 21]
    assert "\n" in "".join(texts)
    assert "/" in "".join(texts)
    assert sum(f"writes: {line.partition(chr(9))[2]}" in caplog.text for line in lines) == 2


@pytest.mark.slow
def test_the_last_weights_are_scored_beside_the_best(tmp_path: Path):
    """With updates that are far too large, the last weights are worse than the best; the best are those tested."""
    (tmp_path / "own.txt").write_text("abcde" * 100)
    settings = ("batch_size=4", "length=10", "model=gru", "model.hidden_size=4", "seeds=[0]", "epochs=20")
    training = ("optimizer=sgd", "lr=300", "clip=null", "eval_steps=1")
    summary = run(config_of("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings, *training), tmp_path / "run")
    (seed,) = summary["seeds"]
    assert seed["best_iteration"] < summary["updates"]
    assert seed["last_dev_perplexity"] > seed["dev_perplexity"] + 0.01
    history = read_history(tmp_path / "run")
    dev = history[(history["split"] == "dev") & (history["name"] == "perplexity")]["value"]
    assert seed["last_dev_perplexity"] == pytest.approx(dev.iloc[-1], rel=1e-4)
    assert seed["dev_perplexity"] == pytest.approx(dev.min(), rel=1e-4)
