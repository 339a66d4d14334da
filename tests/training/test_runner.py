import contextlib
import copy
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import KINDS, by_hand, classifier, runner_of
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from memexp.errors import RecordError
from memexp.results.seals import Seal, seal_of
from memexp.tasks.char_lm import CharLM
from memexp.tasks.digit_sum import DigitSum, enumerate_distribution
from memexp.tasks.metrics import Accuracy, CrossEntropy, Perplexity, SequenceAccuracy, SquaredError
from memexp.tasks.sampled import SampledTask
from memexp.tasks.task import Interface, Rows, Task
from memexp.tasks.text.writing import go_on
from memexp.training import checkpoints
from memexp.training.engines import clip_gradients, gradient_norms
from memexp.training.runner import Runner

RANDOM = "".join(random.Random(0).choices("abcd", k=6000))
FRESH = pytest.mark.parametrize("options", [{}, {"sampling": "fresh"}, {"shuffle": True}], ids=str)
SAMPLINGS = pytest.mark.parametrize("sampling", ["random", "consecutive"])


class Notes:
    """A history that only remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, list[float], list[bool]]] = []

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        self.rows.append((iteration, split, name, values, active))

    def flush(self) -> Seal:
        return seal_of(b"")

    def of(self, split: str, name: str) -> dict[int, list[float]]:
        """What was noted after each update."""
        return {i: values for i, own_split, own_name, values, _ in self.rows if (own_split, own_name) == (split, name)}


class Fixed(nn.Module):
    """A model that gives the answer it is told, whatever comes after the first two digits."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)  # [S, V, V, K]: by first and second digit

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.expand(len(self.answer), -1, -1)
        seed = torch.arange(len(self.answer))[:, None]
        return self.answer[seed, tokens[..., 0], tokens[..., 1]][:, :, None]


class Table(nn.Module):
    """A model whose parameters are its answers to each of a few rows, which are given by their numbers, [B, 1]."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = nn.Parameter(answers.clone())  # [S, N, A, K]

    def forward(self, rows: Tensor) -> Tensor:
        seed = torch.arange(len(self.answers))[:, None]
        return self.answers[seed, rows.expand(len(self.answers), -1, -1)[..., 0]]


@dataclass(kw_only=True, eq=False)
class Largest(SampledTask):
    """Which of the numbers at each time step is the largest? It is asked at some of the steps, and at the last."""

    @property
    def interface(self) -> Interface:
        return Interface(4, 4, every_step=True, longest=self.length)

    def draw(self, rows: int, draw: Generator) -> Rows:
        inputs = torch.randn(rows, self.length, 4, generator=draw)
        asked = torch.rand(rows, self.length, generator=draw) < 0.5
        asked[:, -1] = True
        return Rows(inputs, inputs.argmax(-1), asked.double())

    def rows(self, split: str) -> Rows:
        return self.drawn_once(split, {"train": 30, "dev": 20, "test": 10}[split])


def digit_sums(folder: Path, seeds: list[int], **options: object) -> DigitSum:
    """Build the book's task, of length 5."""
    book = {"sampling": "fixed", "shuffle": False, "distractors": 1, "digits": 2, "asked": "first", "data_seed": 0}
    options = {"exact_limit": 10_000_000, **options}
    return DigitSum(**{"length": 5, "seeds": seeds, "batch_size": 8, "folder": folder, **book, **options})


def largest(folder: Path, seeds: list[int], **options: object) -> Largest:
    given = {"sampling": "fixed", "shuffle": False, "data_seed": 0}
    return Largest(**{"length": 6, "seeds": seeds, "batch_size": 8, "folder": folder, **given, **options})


def text_task(folder: Path, text: str, **options: object) -> CharLM:
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
        "pred_period": 0,
        "pred_chars": 50,
    }
    return CharLM(**{**given, **cleaning, **writing, **options})


def model_of(own: Task, kind: str, **shape: Any) -> nn.Module:
    of = own.interface
    return classifier(KINDS[kind], own.seeds, of.inputs, of.outputs, every_step=of.every_step, **shape)


def runner(
    own: Task, kind: str = "SRN", dtype: torch.dtype = torch.float32, lr: float = 0.01, **options: object
) -> Runner:
    model = model_of(own, kind).to(dtype)
    scoring = {"loss": own.loss, "metrics": own.metrics}
    return runner_of(model, torch.optim.Adam(model.parameters(), lr=lr, fused=True), **{**scoring, **options})


def sgd_runner(own: Task, lr: float, **options: object) -> Runner:
    """In float64; the norms of the cell's gradients are noted."""
    model = model_of(own, "LSTM").double()
    return runner_of(model, torch.optim.SGD(model.parameters(), lr=lr), watched=model.watched, **options)


def text_runner(own: CharLM, kind: str = "GRU reset before", lr: float = 0.0, **options: object) -> Runner:
    """In float64, one-hot characters, plain SGD."""
    model = model_of(own, kind, embedding_size=0).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return runner_of(model, optimizer, metrics=own.metrics, extras=own.extras, **options)


def train(trained: Runner, own: Task, updates: int, notes: Notes | None = None, **options: Any) -> Notes:
    """Train on a task, without checkpoints unless there is one; return what was noted."""
    notes = notes or Notes()
    steps = {"eval_steps": 100, "log_steps": 100, "checkpoint": None, "checkpoint_seconds": 10.0}
    batch = options.pop("batch", own.batch)
    trained.train(batch, own.rows("dev"), updates, notes, **{**steps, **options})
    return notes


def norms_of(notes: Notes, what: str) -> dict[tuple[int, str], list[float]]:
    """The noted norms by (update, parameter)."""
    return {(i, n.removeprefix(f"{what}.")): v for i, _, n, v, _ in notes.rows if n.startswith(f"{what}.")}


def weights_of(runner: Runner) -> list[Tensor]:
    return [p.detach().clone() for p in runner.model.parameters()]


# --- what is known without training ---


def knowing_nothing() -> Tensor:
    sums = torch.bincount((torch.arange(10)[:, None] + torch.arange(10)).flatten(), minlength=19) / 100
    return sums.log().expand(10, 10, 19)


def knowing_one_digit() -> Tensor:
    answer = torch.full((10, 10, 19), -40.0)
    for a in range(10):
        answer[a, :, a : a + 10] = 0.0
    return answer


def knowing_both() -> Tensor:
    answer = torch.full((10, 10, 19), -40.0)
    for a in range(10):
        for b in range(10):
            answer[a, b, a + b] = 0.0
    return answer


def always_nine() -> Tensor:
    answer = torch.zeros(10, 10, 19)
    answer[..., 9] = 1.0
    return answer


def test_the_known_answers_score_what_theory_says():
    model = Fixed(torch.stack([knowing_nothing(), knowing_one_digit(), knowing_both(), always_nine()]))
    scores = runner_of(model, torch.optim.SGD(model.parameters(), 0.1)).evaluate(enumerate_distribution(12, 1))
    assert scores["accuracy"].tolist() == pytest.approx([0.1, 0.1, 1.0, 0.1], abs=1e-12)
    assert scores["loss"][:3].tolist() == pytest.approx([2.794, 2.303, 0.0], abs=5e-4)
    assert scores["loss"][1].item() == pytest.approx(math.log(10), rel=1e-6)


def test_exact_scores_equal_a_count_by_hand(tmp_path: Path):
    """Every row of every choice, one by one, against the enumeration with weights."""
    length = 4
    trained = runner(digit_sums(tmp_path, [0, 1]), "LSTM")
    scores = trained.evaluate(enumerate_distribution(length, 1))
    right, nats = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    choices = [*itertools.product(range(10), range(10), range(2, length), range(10))]
    rows = torch.tensor(
        [[a, b, *(digit * (place == position) for place in (2, 3))] for a, b, position, digit in choices]
    )
    answers = trained.model(rows[None]).detach().double()[:, :, 0].unbind(1)
    for (a, b, *_), answer in zip(choices, answers, strict=True):
        right += answer.argmax(-1) == a + b
        nats -= answer.log_softmax(-1)[:, a + b]
    torch.testing.assert_close(scores["accuracy"], right / 2000)
    torch.testing.assert_close(scores["loss"], nats / 2000, atol=1e-6, rtol=0)


# --- training ---


@FRESH
@pytest.mark.parametrize("make", [digit_sums, largest])
def test_a_seed_in_a_group_trains_as_it_does_alone(
    tmp_path: Path, make: Callable[..., Task], options: dict[str, object]
):
    """Also on numbers, with an answer at every step of which some are asked, other ones of each seed."""
    notes = {}
    trained = {}
    for name, seeds in (("group", [5, 2, 8]), ("alone", [2])):
        own = make(tmp_path, seeds, **options)
        trained[name] = runner(own, "LSTM", torch.float64, clip=0.5)
        notes[name] = train(trained[name], own, 60, eval_steps=7, log_steps=10)
    for group, alone in zip(notes["group"].rows, notes["alone"].rows, strict=True):
        assert group[:3] == alone[:3]
        assert group[3][1] == pytest.approx(alone[3][0], abs=1e-10)
    for group, alone in zip(*map(weights_of, trained.values()), strict=True):
        torch.testing.assert_close(group[1], alone[0], atol=1e-10, rtol=0)
    assert trained["group"].best_iteration[1] == trained["alone"].best_iteration[0]


def test_history_notes_update_zero_the_steps_and_the_last(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    notes = train(runner(own), own, 25, eval_steps=10, log_steps=4)
    for name in ("loss", "accuracy"):
        assert list(notes.of("train", name)) == [0, 4, 8, 12, 16, 20, 24, 25]
        assert list(notes.of("dev", name)) == [0, 10, 20, 25]


@pytest.mark.parametrize("make", [digit_sums, largest])
def test_training_notes_are_means_over_the_answers_since_the_last(tmp_path: Path, make: Callable[..., Task]):
    """With learning rate 0 the model stays, so that the mean over an epoch is the mean over all that is asked."""
    own = make(tmp_path, [0, 1])
    still = runner(own, lr=0.0)
    updates = own.updates_per_epoch
    assert updates == {digit_sums: 38, largest: 4}[make]
    notes = train(still, own, updates, log_steps=updates)
    expected = still.evaluate(own.rows("train"))
    for name in ("loss", "accuracy"):
        assert notes.of("train", name)[updates] == pytest.approx(expected[name].tolist(), abs=1e-6)


def test_the_best_weights_of_each_seed_are_kept(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1, 2, 3])
    trained = runner(own, lr=0.1)  # so large that the scores go up and down
    scores = train(trained, own, 200, eval_steps=5).of("dev", "accuracy")
    trained.use_best()
    again = trained.evaluate(own.rows("dev"))["accuracy"]
    for k in range(4):
        best = max(values[k] for values in scores.values())
        assert again[k] == best == trained.best_score[k]
        assert trained.best_iteration[k] == next(i for i, values in scores.items() if values[k] == best)
    assert len(set(trained.best_iteration.tolist())) > 1
    assert any(values[0] < again[0] for i, values in scores.items() if i > trained.best_iteration[0])


def test_a_metric_that_should_be_low_keeps_the_lowest(tmp_path: Path):
    own = digit_sums(tmp_path, [0])
    trained = runner(own, metrics=(CrossEntropy, Accuracy))
    notes = train(trained, own, 100, eval_steps=5)
    losses = [values[0] for values in notes.of("dev", "loss").values()]
    assert trained.best_score[0] == min(losses) < losses[0]
    assert notes.of("dev", "cross_entropy") == notes.of("dev", "loss")


def test_every_metric_is_noted_and_the_first_chooses(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    trained = runner(own, lr=0.1, metrics=(Perplexity, Accuracy, SequenceAccuracy))
    notes = train(trained, own, 60, eval_steps=5, log_steps=5)
    names = ["loss", "perplexity", "accuracy", "sequence_accuracy"]
    assert [name for i, split, name, *_ in notes.rows if (i, split) == (5, "dev")] == names
    assert [name for i, split, name, *_ in notes.rows if (i, split) == (5, "train")] == names
    assert list(trained.evaluate(own.rows("test"))) == names
    perplexities = torch.tensor(list(notes.of("dev", "perplexity").values()))
    assert trained.best_score.tolist() == pytest.approx(perplexities.amin(0).tolist())
    assert trained.metric is Perplexity


def test_evaluation_writes_no_history_and_changes_nothing(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    trained = runner(own)
    notes = train(trained, own, 10)
    before, count = weights_of(trained), len(notes.rows)
    best = trained.best_score.clone()
    trained.evaluate(own.rows("test"))
    trained.predict(own.rows("test").inputs)
    trained.right(Accuracy, own.rows("test"))
    assert len(notes.rows) == count
    assert torch.equal(trained.best_score, best)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(trained), strict=True))


def test_a_step_is_torchs_own(tmp_path: Path):
    """One seed, ten updates: the same as autograd, Adam and the mean cross-entropy written out."""
    own = digit_sums(tmp_path, [3])
    ours = runner(own, "LSTM", torch.float64)
    reference = classifier(KINDS["LSTM"], [3], classes=19).double()
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    train(ours, own, 10)
    for i in range(10):
        optimizer.zero_grad()
        rows = own.batch(i)
        cross_entropy(reference(rows.inputs)[0, :, 0], rows.targets[0, :, 0]).backward()
        optimizer.step()
    for a, b in zip(weights_of(ours), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-12, rtol=0)


def test_a_summed_loss_is_the_mean_times_the_rows(tmp_path: Path):
    """So plain SGD at an eighth of the learning rate, with 8 rows in a batch, takes the same steps."""
    own = digit_sums(tmp_path, [0, 1])
    trained = {"mean": sgd_runner(own, 0.08), "sum": sgd_runner(own, 0.01, reduction="sum")}
    notes = {name: train(each, own, 20) for name, each in trained.items()}
    for a, b in zip(*map(weights_of, trained.values()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    mean, total = (norms_of(notes[name], "gradient_norm") for name in ("mean", "sum"))
    assert len(mean) == 20 * 3
    for key, norms in mean.items():
        assert total[key] == pytest.approx([8 * norm for norm in norms], rel=1e-9)
    losses = [own_notes.of("train", "loss") for own_notes in notes.values()]
    assert losses[1] == {i: pytest.approx(values) for i, values in losses[0].items()}  # noted is a mean either way


@pytest.mark.slow
def test_training_learns(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1], sampling="fresh")
    trained = runner(own, "LSTM")
    before = trained.evaluate(enumerate_distribution(5, 1))["loss"]
    train(trained, own, 1500, eval_steps=500)
    after = trained.evaluate(enumerate_distribution(5, 1))["loss"]
    assert (after < 0.7 * before).all()


# --- answers that are asked, and answers that are not ---

S, N, A, K = 2, 3, 4, 5
MASKS = torch.tensor([[[0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [[1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]]]).double()
TARGETS = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1], [1, 1, 0, 4]]).expand(S, N, A)
SHARED = pytest.mark.parametrize("seeds", [slice(None), slice(1)], ids=["of each seed", "shared"])


def table_task(weights: Tensor | None, targets: Tensor = TARGETS) -> Any:
    """A task of three rows, all of them in every batch and on dev."""
    rows = Rows(torch.arange(N).view(1, N, 1), targets, weights)
    return SimpleNamespace(batch=lambda iteration: rows, rows=lambda split: rows)


def table_runner(answers: Tensor, lr: float = 1.0, **options: object) -> Runner:
    model = Table(answers)
    return runner_of(model, torch.optim.SGD(model.parameters(), lr=lr), **options)


def gradient_of(trained: Runner, weights: Tensor | None, **options: Any) -> Tensor:
    """What an update with a learning rate of 1 takes from the answers."""
    before = trained.model.answers.detach().clone()
    train(trained, table_task(weights, **options), 1)
    return before - trained.model.answers.detach()


@pytest.mark.parametrize(("reduction", "shares"), [("mean", (1 / 3, 1 / 5)), ("sum", (1, 1))])
def test_the_loss_of_a_seed_is_the_mean_over_the_answers_it_is_asked(reduction: str, shares: tuple[float, float]):
    """All five classes are alike likely: of an answer the target's gradient is -4/5, that of the others 1/5."""
    alike = torch.zeros(S, N, A, K, dtype=torch.float64)
    found = gradient_of(table_runner(alike, reduction=reduction), MASKS)
    each = torch.full_like(alike, 1 / 5) - one_hot(TARGETS, K)
    expected = each * MASKS[..., None] * torch.tensor(shares, dtype=torch.float64).view(S, 1, 1, 1)
    torch.testing.assert_close(found, expected)
    assert not found[MASKS == 0].any()
    assert found[MASKS == 1].all()


@SHARED
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_masked_updates_are_torchs_over_the_answers_that_are_left(
    seeds: slice, reduction: str, generator: torch.Generator
):
    answers = torch.randn(S, N, A, K, generator=generator, dtype=torch.float64)
    found = gradient_of(table_runner(answers, reduction=reduction), MASKS[seeds], targets=TARGETS[seeds])
    for k, asked in enumerate(MASKS[seeds].expand(S, N, A) == 1):
        own = answers[k].clone().requires_grad_()
        cross_entropy(own[asked], TARGETS[k][asked], reduction=reduction).backward()
        torch.testing.assert_close(found[k], own.grad)


def test_weights_of_answers_count_by_their_size(generator: torch.Generator):
    """Doubled, they are the same mean; in float32 as well."""
    answers, weights = torch.randn(S, N, A, K, generator=generator), torch.rand(S, N, A, generator=generator).double()
    found = gradient_of(table_runner(answers), weights)
    own = answers.double().requires_grad_()
    nats = cross_entropy(own.flatten(0, 2), TARGETS.flatten(), reduction="none").view(S, N, A)
    sum((nats[k] * weights[k]).sum() / weights[k].sum() for k in range(S)).backward()
    torch.testing.assert_close(found.double(), own.grad, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient_of(table_runner(answers), 2 * weights), found)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_of_one_are_none(reduction: str, generator: torch.Generator):
    answers = torch.randn(S, N, A, K, generator=generator, dtype=torch.float64)
    with_ones, without = (
        gradient_of(table_runner(answers, reduction=reduction), weights)
        for weights in (torch.ones(S, N, A, dtype=torch.float64), None)
    )
    torch.testing.assert_close(with_ones, without)


def test_the_answers_of_a_seed_are_no_other_seeds(generator: torch.Generator):
    """Neither what one seed answers nor what it is asked changes the update of the other."""
    answers = torch.randn(S, N, A, K, generator=generator, dtype=torch.float64)
    found = gradient_of(table_runner(answers), MASKS)
    other_answers, other_masks = answers.clone(), MASKS.clone()
    other_answers[0] += torch.randn(N, A, K, generator=generator)
    other_masks[0] = 1 - other_masks[0]
    changed = gradient_of(table_runner(other_answers), other_masks)
    assert torch.equal(changed[1], found[1])
    assert not torch.equal(changed[0], found[0])
    alone = table_task(MASKS[1:], TARGETS[1:])
    single = table_runner(answers[1:])
    train(single, alone, 1)
    torch.testing.assert_close(answers[1:] - single.model.answers.detach(), found[1:])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_update_in_which_a_seed_is_asked_nothing_leaves_it_as_it_is(reduction: str, generator: torch.Generator):
    masks = MASKS.clone()
    masks[1] = 0
    found = gradient_of(table_runner(torch.randn(S, N, A, K, generator=generator), reduction=reduction), masks)
    assert found[0].any()
    assert not found[1].any()


@SHARED
def test_what_is_noted_is_of_the_answers_that_are_asked(seeds: slice):
    """The likeliest class has e times the probability of each other; it is always 1."""
    answers = torch.zeros(S, N, A, K, dtype=torch.float64)
    answers[..., 1] = 1.0
    still = table_runner(answers, lr=0.0, metrics=(Accuracy, SequenceAccuracy))
    notes = train(still, table_task(MASKS[seeds], TARGETS[seeds]), 3, log_steps=3)
    both = len(MASKS[seeds]) == S
    right = [2 / 3, 2 / 5] if both else [2 / 3, 2 / 3]  # of the answers
    rows = [1 / 2, 1 / 3] if both else [1 / 2, 1 / 2]  # of the rows of which anything is asked
    nats = [math.log(math.e + 4) - share for share in right]
    for split in ("train", "dev"):
        for i in (0, 3):
            assert notes.of(split, "loss")[i] == pytest.approx(nats)
            assert notes.of(split, "accuracy")[i] == pytest.approx(right)
            assert notes.of(split, "sequence_accuracy")[i] == pytest.approx(rows)


def test_notes_of_several_updates_count_answers_not_updates():
    """Seed 0 is asked two answers and gets one, then one and gets it; seed 1 gets one of three, then one of two."""
    answers = torch.zeros(S, N, A, K, dtype=torch.float64)
    answers[..., 1] = 1.0
    rows = Rows(torch.arange(N).view(1, N, 1), TARGETS, MASKS)
    still = table_runner(answers, lr=0.0)
    parts = [rows.slice(0, 1), rows.slice(1, 3)]
    notes = train(still, table_task(MASKS), 2, batch=lambda iteration: parts[iteration], log_steps=2)
    assert notes.of("train", "accuracy")[2] == pytest.approx([2 / 3, 2 / 5])
    assert notes.of("train", "accuracy")[0] == pytest.approx([1 / 2, 1 / 3])


def test_rows_are_right_if_all_that_is_asked_of_them_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("memexp.training.runner.ROWS_AT_ONCE", 2)
    answers = torch.zeros(S, N, A, K)
    answers[0, ..., 1] = answers[1, ..., 4] = 1.0
    answers[1, 0] = one_hot(TARGETS[1, 0], K)
    scored = table_runner(answers)
    for metric in (Accuracy, SequenceAccuracy):
        right = scored.right(metric, Rows(torch.arange(N)[:, None], TARGETS[0], torch.tensor(
            [[0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]]
        ).double()))  # fmt: skip
        assert right.tolist() == [[True, True, False], [True, False, False]]
        assert scored.right(metric, Rows(torch.arange(N)[:, None], TARGETS[0])).tolist() == [
            [False, False, False],
            [True, False, False],
        ]


def test_rows_are_evaluated_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = largest(tmp_path, [0, 1, 2])
    scored = runner(own, metrics=(Accuracy, SequenceAccuracy))
    whole, right = scored.evaluate(own.rows("train")), scored.right(Accuracy, own.rows("train"))
    assert right.shape == (3, 30)
    torch.testing.assert_close(right.double().mean(1), whole["sequence_accuracy"])
    monkeypatch.setattr("memexp.training.runner.ROWS_AT_ONCE", 7)
    for name, values in scored.evaluate(own.rows("train")).items():
        torch.testing.assert_close(values, whole[name])
    assert torch.equal(scored.right(Accuracy, own.rows("train")), right)


# --- a loss of another kind ---


def test_a_number_is_learnt_by_its_squared_error():
    """The gradient of each of a seed's answers is twice its error, divided by the answers that are asked."""
    answers, targets = torch.zeros(S, N, A, 1, dtype=torch.float64), TARGETS.double()
    scoring = {"loss": SquaredError, "metrics": (SquaredError,)}
    found = gradient_of(table_runner(answers, **scoring), MASKS, targets=targets)
    asked = torch.tensor([3.0, 5.0], dtype=torch.float64).view(S, 1, 1)
    torch.testing.assert_close(found[..., 0], -2 * targets * MASKS / asked)
    trained = table_runner(answers, **scoring)
    notes = train(trained, table_task(MASKS, targets), 60, eval_steps=20, log_steps=20)
    errors = (targets.square() * MASKS).flatten(1).sum(1) / MASKS.flatten(1).sum(1)
    assert notes.of("dev", "loss")[0] == notes.of("dev", "squared_error")[0] == pytest.approx(errors.tolist())
    assert trained.best_score.tolist() == pytest.approx([0, 0], abs=1e-9)
    for k in range(S):
        errors = {i: values[k] for i, values in notes.of("dev", "loss").items()}
        assert trained.best_iteration[k] == min(errors, key=errors.__getitem__)  # the first of the lowest
    said = trained.predict(torch.arange(N)[:, None])
    assert torch.equal(said, trained.model.answers)
    torch.testing.assert_close(said[..., 0][MASKS == 1], targets[MASKS == 1], atol=1e-4, rtol=0)
    assert not said[..., 0][MASKS == 0].any()


def test_a_squared_error_that_is_not_finite_stops_a_seed():
    answers = torch.zeros(S, N, A, 1)
    answers[1, 0, 1] = torch.inf
    scoring = {"loss": SquaredError, "metrics": (SquaredError,)}
    trained = table_runner(answers, **scoring)
    train(trained, table_task(None, TARGETS.float()), 3)
    assert trained.diverged_at.tolist() == [-1, 1]


# --- clipping ---


def gradients() -> list[nn.Parameter]:
    shapes = [(3, 2, 4), (3, 5)]
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    g = torch.Generator().manual_seed(1)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=g) * torch.tensor([0.01, 1.0, 100.0]).view(
            3, *[1] * (parameter.dim() - 1)
        )
    return parameters


def test_global_clipping_is_torchs_for_each_seed():
    parameters = gradients()
    before = [p.grad.clone() for p in parameters]
    clip_gradients(parameters, 2.0)
    for k in range(3):
        alone = [nn.Parameter(torch.zeros(g[k].shape)) for g in before]
        for parameter, gradient in zip(alone, before, strict=True):
            parameter.grad = gradient[k].clone()
        nn.utils.clip_grad_norm_(alone, 2.0)
        for ours, theirs in zip(parameters, alone, strict=True):
            torch.testing.assert_close(ours.grad[k], theirs.grad)
    assert torch.equal(parameters[0].grad[0], before[0][0])  # a small gradient stays


def test_clipping_per_tensor_bounds_each_norm():
    parameters = gradients()
    clip_gradients(parameters, 2.0, "tensor")
    for parameter in parameters:
        norms = parameter.grad.flatten(1).norm(dim=1)
        assert norms[2].item() == pytest.approx(2.0, rel=1e-4)
        assert norms[0] < 0.1


def test_clipping_by_value_bounds_every_number():
    parameters = gradients()
    before = [p.grad.clone() for p in parameters]
    clip_gradients(parameters, 0.5, "value")
    for parameter, gradient in zip(parameters, before, strict=True):
        assert torch.equal(parameter.grad, gradient.clamp(-0.5, 0.5))
        assert torch.equal(parameter.grad[0], gradient[0])  # small gradients stay
        assert set(parameter.grad[2].unique().tolist()) >= {-0.5, 0.5}


def test_gradients_of_none_are_left_alone():
    parameters = [*gradients(), nn.Parameter(torch.zeros(3, 7))]
    for by in ("global", "tensor", "value"):
        clip_gradients(parameters, 2.0, by)
        assert parameters[2].grad is None
    assert gradient_norms({"used": parameters[0], "unused": parameters[2]}).keys() == {"used"}


def test_a_gradients_norm_is_that_of_each_seed():
    parameter = nn.Parameter(torch.zeros(2, 2, 2))
    parameter.grad = torch.tensor([[[1.0, 2.0], [2.0, 0.0]], [[0.0, -3.0], [4.0, 0.0]]])
    assert gradient_norms({"W": parameter}) == {"W": [3.0, 5.0]}


@pytest.mark.parametrize("by", ["global", "tensor", "value"])
def test_norms_are_noted_before_and_after_clipping_at_every_update(tmp_path: Path, by: str):
    """Against autograd, torch's own clipping and a step by hand, one seed at a time."""
    own, clip, lr = digit_sums(tmp_path, [3, 7], sampling="fresh"), 0.02, 0.5
    trained = sgd_runner(own, lr, clip=clip, clip_by=by)
    notes = train(trained, own, 6)
    before, after = norms_of(notes, "gradient_norm"), norms_of(notes, "clipped_gradient_norm")
    assert list(before) == list(after) == [(i, name) for i in range(1, 7) for name in ("W", "U", "b")]
    for k, seed in enumerate(own.seeds):
        model = classifier(KINDS["LSTM"], [seed], classes=19).double()
        parameters = [*model.parameters()]
        for update in range(1, 7):
            rows = own.batch(update - 1)
            model.zero_grad()
            cross_entropy(model(rows.inputs[k : k + 1])[0, :, 0], rows.targets[k, :, 0]).backward()
            norms = [model.cell.get_parameter(name).grad.norm().item() for name in ("W", "U", "b")]
            assert [before[update, name][k] for name in ("W", "U", "b")] == pytest.approx(norms, rel=1e-9)
            if by == "value":
                nn.utils.clip_grad_value_(parameters, clip)
            else:
                for group in [parameters] if by == "global" else [[p] for p in parameters]:
                    nn.utils.clip_grad_norm_(group, clip)
            norms = [model.cell.get_parameter(name).grad.norm().item() for name in ("W", "U", "b")]
            assert [after[update, name][k] for name in ("W", "U", "b")] == pytest.approx(norms, rel=1e-9)
            with torch.no_grad():
                for parameter in parameters:
                    parameter -= lr * parameter.grad
        for parameter, ours in zip(parameters, trained.model.parameters(), strict=True):
            torch.testing.assert_close(ours[k], parameter[0], atol=1e-12, rtol=0)
    assert all(after[1, name] < before[1, name] for name in ("W", "U", "b"))


def test_norms_are_noted_only_if_asked_for_and_for_seeds_that_are_left(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    quiet = train(runner(own), own, 3)
    assert {name for _, _, name, _, _ in quiet.rows} == {"loss", "accuracy"}
    broken = sgd_runner(own, 0.1)
    broken.model.head_weight.data[1] = torch.nan
    notes = train(broken, own, 4, log_steps=2)
    active = {i: on for i, _, name, _, on in notes.rows if name == "gradient_norm.W"}
    assert active == {1: [True, True], 2: [True, True], 3: [True, False], 4: [True, False]}  # known since update 2


# --- a loss that is not finite ---


def test_a_seed_whose_loss_is_not_finite_stops_and_the_others_go_on(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1, 2])
    broken = runner(own, dtype=torch.float64)

    def batch(iteration: int) -> Rows:
        if iteration == 7:
            broken.model.head_weight.data[1] = torch.nan
        return own.batch(iteration)

    notes = train(broken, own, 20, batch=batch, eval_steps=5, log_steps=5)
    assert broken.diverged_at.tolist() == [-1, 8, -1]
    assert {i: active for i, _, _, _, active in notes.rows}[20] == [True, False, True]
    alone = digit_sums(tmp_path, [2])
    healthy = runner(alone, dtype=torch.float64)
    train(healthy, alone, 20, eval_steps=5, log_steps=5)
    for a, b in zip(weights_of(broken), weights_of(healthy), strict=True):
        torch.testing.assert_close(a[2], b[0], atol=1e-10, rtol=0)
    broken.use_best()  # the weights from before are still good
    assert torch.isfinite(broken.evaluate(own.rows("dev"))["loss"]).all()


def test_training_ends_when_no_seed_is_left(tmp_path: Path):
    """With a checkpoint, so that what follows can be done again without training."""
    own, last = digit_sums(tmp_path, [0, 1]), tmp_path / "last.pt"
    broken = runner(own)
    broken.model.head_weight.data[:] = torch.nan
    train(broken, own, 1000, checkpoint=last)
    assert broken.iteration == 50
    assert broken.diverged_at.tolist() == [1, 1]
    again = runner(own)
    again.load_checkpoint(last)
    train(again, own, 1000, batch=lambda iteration: pytest.fail("trains again"), checkpoint=last)
    assert (again.iteration, again.diverged_at.tolist()) == (50, [1, 1])


# --- saving and going on ---


def assert_resumed_equals_uninterrupted(
    build: Callable[[], tuple[Task, Runner]], updates: int, stop: int, checkpoint: Path
) -> None:
    """Train twice, once in one go and once stopped after an update and gone on with by another runner."""
    stopped_notes = Notes()
    steps = {"eval_steps": 7, "log_steps": 9}
    own, whole = build()
    whole_notes = train(whole, own, updates, **steps)
    own, stopped = build()
    interrupted = {"checkpoint": checkpoint, "should_stop": lambda: stopped.iteration == stop}
    with pytest.raises(KeyboardInterrupt):
        train(stopped, own, updates, stopped_notes, **steps, **interrupted)
    own, second = build()
    second.load_checkpoint(checkpoint)
    assert second.iteration == stop
    second_notes = train(second, own, updates, **steps)
    assert stopped_notes.rows + second_notes.rows == whole_notes.rows  # bit for bit
    for a, b in zip(weights_of(second), weights_of(whole), strict=True):
        assert torch.equal(a, b)
    second.use_best()
    whole.use_best()
    for a, b in zip(weights_of(second), weights_of(whole), strict=True):
        assert torch.equal(a, b)


@FRESH
@pytest.mark.parametrize("make", [digit_sums, largest])
def test_resumed_equals_uninterrupted(tmp_path: Path, make: Callable[..., Task], options: dict[str, object]):
    def build() -> tuple[Task, Runner]:
        own = make(tmp_path, [0, 4], **options)
        return own, runner(own, "LSTM")

    assert_resumed_equals_uninterrupted(build, 105, 97, tmp_path / "last.pt")


def test_progress_is_told_before_a_checkpoint_says_so(tmp_path: Path):
    """So that what is done at an update, as a language model's writing, is done even if it failed the first time."""
    own, told = digit_sums(tmp_path, [0]), []

    def fail(iteration: int) -> None:
        told.append(iteration)
        if told == [1, 2]:
            raise RecordError("the disk is full")

    for _ in range(2):
        trained = runner(own)
        if told:
            trained.load_checkpoint(tmp_path / "last.pt")
        with contextlib.suppress(RecordError):
            train(trained, own, 3, checkpoint=tmp_path / "last.pt", checkpoint_seconds=0, progress=fail)
    assert told == [1, 2, 2, 3]


def test_a_saved_model_answers_the_same(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    trained = runner(own, "LSTM")
    train(trained, own, 50, eval_steps=10)
    trained.save_model(tmp_path / "best.pt")
    trained.use_best()
    other = runner(digit_sums(tmp_path, [8, 9]), "LSTM")
    other.load_model(tmp_path / "best.pt")
    inputs = own.rows("test").inputs
    assert torch.equal(other.predict(inputs), trained.predict(inputs))
    assert trained.predict(inputs).shape == (2, 100, 1, 19)
    torch.testing.assert_close(trained.predict(inputs).sum(-1), torch.ones(2, 100, 1))


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path):
    own = digit_sums(tmp_path, [0, 1])
    runner(own, "SRN").save_model(tmp_path / "best.pt")
    with pytest.raises(
        RecordError,
        match=r"best.pt is of another model: layers.0.0.cell.U is \(2, 1, 6, 6\) there, \(2, 4, 6, 6\) in this one$",
    ):
        runner(own, "LSTM").load_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=r"embedding is \(2, 10, 4\) there, \(3, 10, 4\) in this one$"):
        runner(digit_sums(tmp_path, [0, 1, 2]), "SRN").load_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=r"cell.U is \(2, 1, 6, 6\) there, \(2, 3, 6, 6\) in this one$"):  # no hint
        runner(own, "GRU reset after").load_model(tmp_path / "best.pt")


@pytest.mark.parametrize(
    ("saved", "wanted", "complaint"),
    [
        ("GRU reset before", "GRU reset after", r"cell.c is missing there, \(1, 1, 6\) in this one"),
        ("GRU reset after", "GRU reset before", r"cell.c is \(1, 1, 6\) there, missing in this one"),
    ],
)
def test_weights_of_the_other_kind_of_gru_are_refused_with_a_hint(
    tmp_path: Path, saved: str, wanted: str, complaint: str
):
    own = digit_sums(tmp_path, [0])
    runner(own, saved).save_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=complaint + r"; a GRU that resets after .*model.reset_after=true.* cannot"):
        runner(own, wanted).load_model(tmp_path / "best.pt")


def test_weights_that_differ_in_more_than_a_convention_are_refused_without_a_hint(tmp_path: Path):
    own, path = digit_sums(tmp_path, [0]), tmp_path / "best.pt"
    runner(own, "GRU reset before").save_model(path)
    content = checkpoints.load(path, "weights")
    del content["weights"]["head_bias"]
    checkpoints.save(path, content)
    with pytest.raises(RecordError, match=r"best.pt is of another model: head_bias is missing there, .* in this one$"):
        runner(own, "GRU reset before").load_model(path)
    with pytest.raises(RecordError, match=r"head_bias is missing there, .* in this one$"):
        runner(own, "GRU reset after").load_model(path)


@pytest.mark.parametrize("content", ["", "hello", None])
def test_damaged_and_foreign_checkpoints_are_named(tmp_path: Path, content: str | None):
    path = tmp_path / "last.pt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_text(content)
    with pytest.raises(RecordError, match="last.pt is"):
        runner(digit_sums(tmp_path, [0])).load_checkpoint(path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, kept: float):
    own = digit_sums(tmp_path, [0])
    runner(own).save_checkpoint(tmp_path / "last.pt", Notes())
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(RecordError, match="truncated or not a checkpoint.*move it away, and the command"):
        runner(own).load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("change", [{"carried": ...}, {"sealed": ...}, {"running": []}, {"unread": ...}])
def test_a_checkpoint_of_another_version_is_named(tmp_path: Path, change: dict[str, object]):
    own, path = digit_sums(tmp_path, [0]), tmp_path / "last.pt"
    runner(own).save_checkpoint(path, Notes())
    content = checkpoints.load(path, "training")
    ((name, value),) = change.items()
    if value is ...:
        del content["training"][name]
    else:
        content["training"][name] = value
    torch.save(content, path)
    with pytest.raises(RecordError, match=r"last.pt was written by another version .*move it away to train"):
        runner(own).load_checkpoint(path)


def test_checkpoints_run_no_code(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "evil",))  # type: ignore[return-value]

    torch.save({"format": "memexp checkpoint 1", "weights": Evil()}, tmp_path / "best.pt")
    with pytest.raises(RecordError):
        checkpoints.load(tmp_path / "best.pt", "weights")
    assert not (tmp_path / "evil").exists()


# --- a state that is carried from batch to batch ---


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
    own = text_task(tmp_path, RANDOM[:71], sampling=sampling)
    still = text_runner(own, kind)
    assert own.updates_per_epoch == 3
    noted = train(still, own, 6, log_steps=1).of("train", "loss")
    batches = [own.batch(i) for i in range(6)]
    passes = [range(3), range(3, 6)] if sampling == "consecutive" else [[i] for i in range(6)]
    for k in range(2):
        codes = [torch.cat([rows.inputs[k], rows.targets[k, :, -1:]], 1) for rows in batches]
        expected = [loss for own_pass in passes for loss in losses_by_hand(still, [codes[i] for i in own_pass], k)]
        assert [noted[i][k] for i in range(1, 7)] == pytest.approx(expected, rel=1e-10)


def test_no_gradient_reaches_the_batch_before(tmp_path: Path):
    """The gradient of the second update is autograd's of the batch alone, from a constant state."""
    own = text_task(tmp_path, RANDOM[:71], sampling="consecutive")
    still = text_runner(own, "LSTM")
    model = copy.deepcopy(still.model)
    train(still, own, 2)
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
        own = text_task(tmp_path, RANDOM[:230], sampling=sampling)
        return own, text_runner(own, "LSTM", lr=1.0, clip=1.0)

    assert build()[0].updates_per_epoch == 13
    assert_resumed_equals_uninterrupted(build, 40, 19, tmp_path / "last.pt")
    training = checkpoints.load(tmp_path / "last.pt", "training")["training"]
    assert [[tuple(part.shape) for part in state] for state in training["carried"]] == [[(2, 3, 6)] * 2]
    assert "".join(map(chr, training["vocabulary"])) == "abcd"


def test_a_perplexity_is_over_all_characters(tmp_path: Path):
    own = text_task(tmp_path, RANDOM)
    scored = text_runner(own)
    for given in (own.rows("test"), own.distribution()):
        scores, rows = scored.evaluate(given), given.to(scored.device)
        nats = torch.stack([
            cross_entropy(logits.flatten(0, 1), rows.targets.flatten(), reduction="sum")
            for logits in scored.model(rows.inputs[None])
        ]).double() / rows.targets.numel()  # fmt: skip
        torch.testing.assert_close(scores["loss"], nats)
        torch.testing.assert_close(scores["perplexity"], nats.exp())


@pytest.mark.parametrize("initial_state", ["zero", "learned", "input"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_read_in_pieces_with_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, kind: str, initial_state: str
):
    """Stacked, with every initial state; also what is right, of two metrics, and rows by rows."""
    own = text_task(tmp_path, RANDOM[:2600], held_out=0.5)
    model = model_of(own, kind, embedding_size=3, widths=[5, 4], initial_state=initial_state).double()
    for parameter in model.parameters():  # also initial states that begin as zero
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    scored = runner_of(model, torch.optim.SGD(model.parameters(), lr=0.0), metrics=(Perplexity, Accuracy))
    rows = own.rows("test")
    assert tuple(rows.inputs.shape) == (3, 216)
    cyclic = replace(rows, targets=model(rows.to(scored.device).inputs[None])[0].argmax(-1))  # as seed 0 answers
    cyclic.targets[1, 199] = (cyclic.targets[1, 199] + 1) % 4
    whole, right = scored.evaluate(rows), scored.right(Accuracy, cyclic)
    assert right.tolist()[0] == [True, False, True]
    monkeypatch.setattr("memexp.training.engines.WHOLE_STEPS", 215)
    monkeypatch.setattr("memexp.training.runner.ROWS_AT_ONCE", 2)
    for steps in (1, 7, 64, 500):
        monkeypatch.setattr("memexp.training.engines.STEPS_AT_ONCE", steps)
        for name, values in scored.evaluate(rows).items():
            torch.testing.assert_close(values, whole[name], rtol=1e-12, atol=0)
        assert torch.equal(scored.right(Accuracy, cyclic), right)


def test_a_long_text_takes_no_more_memory(tmp_path: Path):
    """The largest tensor of answers, in numbers, whatever the length of the text."""
    largest = []
    for copies in (8, 16):
        own = text_task(tmp_path, RANDOM * copies, held_out=0.9)
        scored, sizes = text_runner(own), []
        scored.model.register_forward_hook(lambda *_, sizes=sizes: sizes.append(torch.inf))  # all at once
        answer = scored.model.answer

        def note(*given: Any, answer: Any = answer, sizes: list[float] = sizes) -> Any:
            answers, states = answer(*given)
            sizes.append(answers.numel())
            return answers, states

        scored.model.answer = note
        scored.evaluate(own.rows("test"))
        largest.append(max(sizes))
    assert largest == [2 * 32 * 64 * 4] * 2


def test_scoring_in_the_midst_of_an_epoch_leaves_the_carried_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("memexp.training.engines.WHOLE_STEPS", 10)
    own = text_task(tmp_path, RANDOM[:1500], sampling="consecutive")
    trained = {steps: text_runner(own, lr=0.5) for steps in (1, 100)}
    for steps, each in trained.items():
        train(each, own, 20, eval_steps=steps)
    for one, other in zip(*map(weights_of, trained.values()), strict=True):
        assert torch.equal(one, other)


# --- what can be learnt ---


def learn(own: CharLM, updates: int) -> Runner:
    model = model_of(own, "GRU reset before", embedding_size=0, widths=[16])
    trained = runner_of(model, torch.optim.Adam(model.parameters(), lr=0.03, fused=True), metrics=own.metrics)
    train(trained, own, updates, eval_steps=10)
    return trained


@SAMPLINGS
def test_a_cycle_is_learnt(tmp_path: Path, sampling: str):
    own = text_task(tmp_path, "abcde" * 100, batch_size=8, length=10, sampling=sampling)
    trained = learn(own, 100)
    assert trained.evaluate(own.rows("train"))["perplexity"].tolist() == pytest.approx([1, 1], abs=0.005)
    codes = torch.tensor([2, 3])
    assert "".join("abcde"[code] for code in go_on(trained.model, codes, 13)) == "eabcdeabcdeab"


def test_nothing_is_learnt_from_chance(tmp_path: Path):
    own = text_task(tmp_path, RANDOM, batch_size=16, length=20, held_out=0.5)
    trained = learn(own, 100)
    assert all(1.95 < bits < 2.05 for bits in trained.best_score.log2().tolist())
