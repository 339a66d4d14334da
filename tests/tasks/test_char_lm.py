import copy
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
from conftest import KINDS, by_hand, classifier
from test_config import composed
from test_runner import Notes, assert_resumed_equals_uninterrupted
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from memexp.errors import ConfigError
from memexp.experiment import run
from memexp.models.cells import GRU
from memexp.models.networks import SequenceLabeller
from memexp.results import record
from memexp.tasks import char_lm
from memexp.tasks.char_lm import CharLM, encode
from memexp.tasks.metrics import Perplexity
from memexp.tasks.text import characters
from memexp.tasks.text.floors import ngram_bits
from memexp.tasks.text.writing import go_on
from memexp.training import checkpoints
from memexp.training.runner import Runner

SAMPLINGS = pytest.mark.parametrize("sampling", ["random", "consecutive"])
RANDOM = "".join(random.Random(0).choices("abcd", k=6000))


def places(length: int) -> str:
    """A text of different characters in the order of their numbers: the number of each is its place."""
    return "".join(chr(0x4E00 + place) for place in range(length))


def task(folder: Path, text: str, **options: object) -> CharLM:
    path = folder / "own.txt"
    path.write_text(text, encoding="utf-8")
    return CharLM(
        **{"seeds": [0, 7], "batch_size": 3, "folder": folder, "corpus": str(path), "num_steps": 5, **options}
    )


def runner(own: CharLM, kind: str = "GRU reset before", lr: float = 0.0, width: int = 6, **options: object) -> Runner:
    """In float64, one-hot characters, plain SGD."""
    make = {"make": SequenceLabeller, "embedding_size": 0, "widths": [width]}
    model = classifier(KINDS[kind], own.seeds, own.symbols, own.classes, **make).double()
    return Runner(model, torch.optim.SGD(model.parameters(), lr=lr), metric=Perplexity, extras=own.extras, **options)


# --- the text and its parts ---


def test_the_parts_follow_each_other(tmp_path: Path):
    own = task(tmp_path, places(101), held_out=0.2)
    assert "".join(own.texts.values()) == places(101)
    assert {split: len(text) for split, text in own.texts.items()} == {"train": 81, "dev": 10, "test": 10}
    about = own.about()
    assert (about["train_characters"], about["dev_characters"], about["test_characters"]) == (81, 10, 10)
    assert (about["vocabulary"], about["symbols"]) == (places(101), 101)


def test_the_record_says_what_simple_models_make_of_the_test_text(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    train, dev, test = own.texts.values()
    for order, name in enumerate(("unigram", "bigram", "trigram"), 1):
        assert own.about()[f"floor_{name}_bits"] == ngram_bits(train + dev, test, order, 4)
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
    weights = own.distribution().weights
    assert torch.equal(own.distribution().inputs, scored.inputs)
    assert weights.tolist() == [pytest.approx(1 / rows[0])] * rows[0]


def test_the_fingerprint_is_that_of_the_cleaned_text(tmp_path: Path):
    prints = [
        task(tmp_path, text, **options).fingerprint()
        for text, options in (
            (RANDOM, {}), (RANDOM[:-1] + "a", {}), (RANDOM.upper(), {}), (RANDOM.upper(), {"lower": True}),
            (RANDOM, {"max_chars": 5000}), (f"\n{RANDOM}\n", {"seeds": [3], "num_steps": 7, "sampling": "consecutive"}),
        )
    ]  # fmt: skip
    assert prints[0] == prints[3] == hashlib.sha256(RANDOM.encode()).hexdigest()
    assert prints[5] == f"{prints[0]}/stretches"  # rows did not have stretches of their own at first
    assert len(set(prints)) == 5


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"num_steps": 11}, {"held_out": 0.3}])
def test_a_text_that_is_too_short_says_how_long_it_must_be(tmp_path: Path, options: dict[str, object]):
    with pytest.raises(ConfigError, match=r"^the text has 9 characters; one batch of . sequences of ") as error:
        task(tmp_path, places(9), **{"held_out": 0.5, **options})
    needed = int(re.search(r"needs (\d+)", str(error.value))[1])
    assert task(tmp_path, RANDOM[:needed], **{"held_out": 0.5, **options}).updates_per_epoch == 1
    with pytest.raises(ConfigError, match=f"{needed - 4} characters"):
        task(tmp_path, RANDOM[: needed - 4], **{"held_out": 0.5, **options})


def test_a_held_out_part_of_a_single_character_is_too_little(tmp_path: Path):
    with pytest.raises(ConfigError, match="task.held_out=0.0003 of the text's 6000 characters is too little"):
        task(tmp_path, RANDOM, held_out=0.0003)


def test_characters_of_a_prefix_that_the_text_lacks_are_named(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"'bAd!' has characters the model does not know: \['!', 'A'\]; it knows 'abcd'"
    ):
        task(tmp_path, RANDOM, prefixes=["abc", "bAd!"])
    with pytest.raises(ConfigError, match=r"it knows .{81}\.\.\. \(101 in all\)"):
        task(tmp_path, places(101), prefixes=["a"])
    own = task(tmp_path, "a b c " * 50, prefixes=["ca", ""])
    assert [(prefix, codes.tolist()) for prefix, codes in own.prefixes] == [("ca", [3, 1]), ("", [0])]


# --- what a person reads ---

LINES = "It is a sea, a sea.\nSo it is!\n" * 40


def test_characters_have_kinds_and_places(tmp_path: Path):
    own = task(tmp_path, LINES, keep_newlines=True)
    inputs = torch.stack([encode(text, own.vocabulary) for text in ("sea, it\n", "a is it!")])
    assert [[own.kinds[k] for k in row] for row in own.token_kinds(inputs).tolist()] == [
        ["first letter", "inner letter", "inner letter", "punctuation", "space", "first letter", "inner letter",
         "newline"],
        ["first letter", "space", "first letter", "inner letter", "space", "first letter", "inner letter",
         "punctuation"],
    ]  # fmt: skip
    assert own.token_places(inputs).tolist() == [[1, 2, 3, 0, 0, 1, 2, 0], [1, 0, 1, 2, 0, 1, 2, 0]]


def test_the_last_letters_of_a_very_long_word_share_a_place(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    assert own.token_places(own.rows("test").inputs)[0, :14].tolist() == [*range(1, 13), 12, 12]


def test_white_space_is_written_as_marks(tmp_path: Path):
    own = task(tmp_path, LINES, keep_newlines=True)
    codes = encode("a sea\nSo", own.vocabulary).tolist()
    assert own.labels(codes) == ["a", "␣", "s", "e", "a", "↵", "S", "o"]
    assert own.write(codes) == "a sea↵So"
    assert own.trained_on == "the text own (1,079 characters)"  # 1,199, less twice 60


def test_what_was_typed_becomes_characters(tmp_path: Path):
    own = task(tmp_path, LINES, keep_newlines=True)
    assert own.read_sequence("") == encode(own.texts["test"][:60], own.vocabulary).tolist()
    assert own.read_sequence(r"sea\nSo") == own.read_sequence("sea\nSo")
    assert own.remark(own.read_sequence("sea")) is None
    with pytest.raises(
        ConfigError, match=r"^the text 'se\?\?' has characters the model does not know: \['\?'\]; it knows"
    ):
        own.read_sequence("se??")
    with pytest.raises(ConfigError, match="does not know"):
        task(tmp_path, LINES).read_sequence(r"sea\nSo")


def test_verse_without_spaces_takes_a_space_for_a_newline(tmp_path: Path):
    own = task(tmp_path, "分开\n不分开\n" * 60, keep_newlines=True, prefixes=[""])
    assert own.vocabulary == ["\n", "不", "分", "开"]
    assert own.read_sequence("分 开") == [2, 0, 3]
    assert own.prefixes[0][1].tolist() == [0]


@pytest.mark.parametrize(
    ("text", "vocabulary", "meant"),
    [(r"a\nb", "\nab", "a\nb"), (r"a\nb", "ab", r"a\nb"), (r"a\nb", "\n\\ab", r"a\nb"), ("a\nb", "\nab", "a\nb")],
)
def test_a_newline_can_be_typed_where_there_is_no_backslash(text: str, vocabulary: str, meant: str):
    assert char_lm.typed(text, vocabulary) == meant


@pytest.mark.parametrize(("vocabulary", "begins"), [("\n ab", " "), ("\nab", "\n"), ("!ab", "!"), ("，不分开", "，")])
def test_what_follows_nothing_follows_white_space_if_there_is_any(vocabulary: str, begins: str):
    assert char_lm.opening(vocabulary) == begins


def test_prefixes_are_typed_too(tmp_path: Path):
    own = task(tmp_path, "分开\n不分开\n" * 60, keep_newlines=True, prefixes=[r"分\n不"])
    assert [(text, codes.tolist()) for text, codes in own.prefixes] == [("分\n不", [2, 0, 1])]
    assert task(tmp_path, "不分开" * 99, prefixes=[""]).prefixes[0][1].tolist() == [0]


def test_a_description_has_the_likeliest_characters_and_the_bits(tmp_path: Path):
    own = task(tmp_path, "a b c d " * 100)  # " abcd"
    probabilities = np.full((3, 5), 0.01)
    probabilities[0, 2], probabilities[1, 0], probabilities[2] = 0.5, 0.125, [0.3, 0.05, 0.1, 0.5, 0.05]
    assert own.costs([1, 2, 0], probabilities)[1:].tolist() == pytest.approx([1, 3])
    assert np.isnan(own.costs([1, 2, 0], probabilities)[0])
    assert own.describe([1, 2, 0], probabilities) == "next: 'c' 0.500, '␣' 0.300, 'b' 0.100; 2.00 bits per character"
    assert own.describe([1], probabilities[-1:]) == "next: 'c' 0.500, '␣' 0.300, 'b' 0.100"
    impossible = own.costs([1, 2], np.zeros((2, 5), dtype=np.float32))
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


# --- the runner ---


@torch.no_grad()
def losses_by_hand(runner: Runner, batches: list[Tensor], k: int) -> list[float]:
    """Loss of each batch [B, L + 1] for seed k, by the equations, in one pass over them all from the zero state."""
    model = runner.model
    inputs, targets = (torch.cat([codes[:, own] for codes in batches], 1) for own in (slice(-1), slice(1, None)))
    states = by_hand(model.cell, one_hot(inputs, model.head_bias.shape[1]).double(), k)["hidden_state"]
    logits = states @ model.head_weight[k] + model.head_bias[k]
    nats = cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return nats.unflatten(1, (len(batches), -1)).mean((0, 2)).tolist()


@SAMPLINGS
@pytest.mark.parametrize("kind", ["SRN", "GRU reset after", "LSTM peephole", "MinLSTM"])
def test_the_state_is_that_of_one_long_pass_over_an_epoch(tmp_path: Path, kind: str, sampling: str):
    """With learning rate 0, two epochs; drawn at random every batch is a pass of its own."""
    own, notes = task(tmp_path, RANDOM[:71], sampling=sampling), Notes()
    still = runner(own, kind)
    assert own.updates_per_epoch == 3
    still.train(own.batch, own.rows("dev"), 6, notes, log_steps=1)
    noted = [values for i, split, name, values, _ in notes.rows if (split, name) == ("train", "loss") and i > 0]
    batches = [own.batch(i) for i in range(6)]
    passes = [range(3), range(3, 6)] if sampling == "consecutive" else [[i] for i in range(6)]
    for k in range(2):
        codes = [torch.cat([rows.inputs[k], rows.targets[k, :, -1:]], 1) for rows in batches]
        expected = [loss for own_pass in passes for loss in losses_by_hand(still, [codes[i] for i in own_pass], k)]
        assert [values[k] for values in noted] == pytest.approx(expected, rel=1e-10)


def test_no_gradient_reaches_the_batch_before(tmp_path: Path):
    """The gradient of the second update is autograd's of the batch alone, from a constant state."""
    own = task(tmp_path, RANDOM[:71], sampling="consecutive")
    still = runner(own, "LSTM")
    model = copy.deepcopy(still.model)
    still.train(own.batch, own.rows("dev"), 2, Notes())
    first, second = own.batch(0), own.batch(1)
    _, states = model.answer(first.inputs)
    gradients = []
    for start in (states, [tuple(part.detach() for part in state) for state in states]):
        logits, _ = model.answer(second.inputs, start)
        losses = [cross_entropy(logits[k].flatten(0, 1), second.targets[k].flatten()) for k in range(2)]
        gradients.append(torch.autograd.grad(sum(losses), [*model.parameters()], retain_graph=True))
    for parameter, truncated in zip(still.model.parameters(), gradients[1], strict=True):
        torch.testing.assert_close(parameter.grad, truncated)
    assert not all(torch.allclose(*both) for both in zip(*gradients, strict=True))


@SAMPLINGS
def test_resumed_in_the_middle_of_an_epoch_equals_uninterrupted(tmp_path: Path, sampling: str):
    def build() -> tuple[CharLM, Runner]:
        own = task(tmp_path, RANDOM[:230], sampling=sampling)
        return own, runner(own, "LSTM", lr=1.0, clip=1.0)

    assert build()[0].updates_per_epoch == 13
    assert_resumed_equals_uninterrupted(build, 40, 19, tmp_path / "last.pt")
    training = checkpoints.load(tmp_path / "last.pt", "training")["training"]
    assert [[tuple(part.shape) for part in state] for state in training["carried"]] == [[(2, 3, 6)] * 2]
    assert "".join(map(chr, training["vocabulary"])) == "abcd"


def test_a_perplexity_is_over_all_characters(tmp_path: Path):
    own = task(tmp_path, RANDOM)
    scored = runner(own)
    for rows in (own.rows("test"), own.distribution()):
        scores = scored.evaluate(rows)
        nats = torch.stack([
            cross_entropy(logits.flatten(0, 1), rows.targets.flatten(), reduction="sum")
            for logits in scored.model(rows.inputs[None])
        ]).double() / rows.targets.numel()  # fmt: skip
        torch.testing.assert_close(scores["loss"], nats)
        torch.testing.assert_close(scores["perplexity"], nats.exp())


# --- what can be learnt ---


def learn(own: CharLM, updates: int) -> Runner:
    model = classifier(GRU, own.seeds, own.symbols, own.classes, 0, [16], make=SequenceLabeller)
    trained = Runner(model, torch.optim.Adam(model.parameters(), lr=0.03, fused=True), metric=Perplexity)
    trained.train(own.batch, own.rows("dev"), updates, Notes(), eval_steps=10)
    return trained


@SAMPLINGS
def test_a_cycle_is_learnt(tmp_path: Path, sampling: str):
    own = task(tmp_path, "abcde" * 100, batch_size=8, num_steps=10, sampling=sampling)
    trained = learn(own, 100)
    assert trained.evaluate(own.rows("train"))["perplexity"].tolist() == pytest.approx([1, 1], abs=0.005)
    codes = torch.tensor([2, 3])
    assert "".join("abcde"[code] for code in go_on(trained.model, codes, 13)) == "eabcdeabcdeab"


def test_nothing_is_learnt_from_chance(tmp_path: Path):
    own = task(tmp_path, RANDOM, batch_size=16, num_steps=20, held_out=0.5)
    trained = learn(own, 100)
    assert all(1.95 < bits < 2.05 for bits in trained.best_score.log2().tolist())


# --- a run ---


def test_a_run_leaves_the_scores_of_every_part(tmp_path: Path):
    (tmp_path / "own.txt").write_text("abcde" * 100)
    settings = ("batch_size=4", "task.num_steps=10", "model=gru", "model.hidden_size=4", "seeds=2", "epochs=2")
    summary = run(composed("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings), tmp_path / "run")
    assert summary["updates"] == 2 * ((450 - 10) // 10 // 4)
    assert summary["parameters"] == 3 * (5 * 4 + 4 * 4 + 4) + 4 * 5 + 5
    assert (summary["vocabulary"], summary["symbols"], summary["train_characters"]) == ("abcde", 5, 450)
    assert "test_right" not in summary
    for seed in summary["seeds"]:
        for split in ("train", "dev", "test"):
            assert seed[f"{split}_bits"] == pytest.approx(math.log2(seed[f"{split}_perplexity"]))
            assert seed[f"{split}_loss"] == pytest.approx(math.log(seed[f"{split}_perplexity"]))
        assert [name for name in seed if name.startswith("last_")] == ["last_train_perplexity", "last_dev_perplexity"]
    assert checkpoints.load(tmp_path / "run" / "best.pt", "weights")["vocabulary"].tolist() == [*map(ord, "abcde")]


def test_each_writing_is_a_line_also_with_newlines_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """An untrained model of two characters and a newline writes newlines sooner or later."""
    (tmp_path / "own.txt").write_text("a\\\n" * 300)
    settings = ("batch_size=4", "task.num_steps=10", "model=srn", "model.hidden_size=4", "seeds=1", "epochs=2")
    written = ("task.keep_newlines=true", "task.prefixes=['a']", "task.pred_period=1", "task.pred_chars=20")
    config = composed("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings, *written)
    with caplog.at_level("INFO"):
        summary = run(config, tmp_path / "run")
    assert summary["vocabulary"] == "\n\\a"
    lines = (tmp_path / "run" / "written.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == ["1", "2"]
    texts = [line.partition("\t")[2].replace(r"\\", "/").replace(r"\n", "\n") for line in lines]
    assert [len(text) for text in texts] == [21, 21]
    assert "\n" in "".join(texts)
    assert "/" in "".join(texts)
    assert sum(f"writes: {line.partition(chr(9))[2]}" in caplog.text for line in lines) == 2


def test_the_last_weights_are_scored_beside_the_best(tmp_path: Path):
    """With updates that are far too large, the last weights are worse than the best; the best are those tested."""
    (tmp_path / "own.txt").write_text("abcde" * 100)
    settings = ("batch_size=4", "task.num_steps=10", "model=gru", "model.hidden_size=4", "seeds=[0]", "epochs=20")
    training = ("optimizer=sgd", "lr=300", "clip=null", "eval_steps=1")
    summary = run(composed("task=char_lm", f"task.corpus={tmp_path}/own.txt", *settings, *training), tmp_path / "run")
    (seed,) = summary["seeds"]
    assert seed["best_iteration"] < summary["updates"]
    assert seed["last_dev_perplexity"] > seed["dev_perplexity"] + 0.01
    history = record.read_history(tmp_path / "run")
    dev = history[(history["split"] == "dev") & (history["name"] == "perplexity")]["value"]
    assert seed["last_dev_perplexity"] == pytest.approx(dev.iloc[-1], rel=1e-4)
    assert seed["dev_perplexity"] == pytest.approx(dev.min(), rel=1e-4)
