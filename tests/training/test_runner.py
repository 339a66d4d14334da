import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import KINDS, classifier
from torch import Tensor, nn

from memexp.errors import RecordError
from memexp.models.cells import LSTM, SRN
from memexp.tasks.digit_sum import DigitSum, enumerate_distribution
from memexp.tasks.metrics import Accuracy, CrossEntropy
from memexp.tasks.task import Rows, Task
from memexp.training import checkpoints
from memexp.training.runner import Runner, clip_gradients, gradient_norms


class Notes:
    """A history that only remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, list[float], list[bool]]] = []

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        self.rows.append((iteration, split, name, values, active))

    def flush(self) -> int:
        return 0


class Fixed(nn.Module):
    """A model that gives the logits it is told, whatever comes."""

    def __init__(self, answer: "torch.Tensor") -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)  # [S, V, V, K]: by first and second digit

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.expand(len(self.answer), -1, -1)
        seed = torch.arange(len(self.answer))[:, None]
        return self.answer[seed, tokens[..., 0], tokens[..., 1]]


def task(folder: Path, seeds: list[int], **options: object) -> DigitSum:
    return DigitSum(length=5, seeds=seeds, batch_size=8, folder=folder, **options)


def runner(
    task: DigitSum, kind: type = SRN, dtype: torch.dtype = torch.float32, lr: float = 0.01, **options: object
) -> Runner:
    model = classifier(kind, task.seeds, classes=19).to(dtype)
    return Runner(model, torch.optim.Adam(model.parameters(), lr=lr, fused=True), **options)


def sgd_runner(task: DigitSum, lr: float, **options: object) -> Runner:
    """In float64; the norms of the cell's gradients are noted."""
    model = classifier(LSTM, task.seeds, classes=19).double()
    return Runner(model, torch.optim.SGD(model.parameters(), lr=lr), watched=model.watched, **options)


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
    scores = Runner(model, torch.optim.SGD(model.parameters(), 0.1)).evaluate(enumerate_distribution(12, 1))
    assert scores["accuracy"].tolist() == pytest.approx([0.1, 0.1, 1.0, 0.1], abs=1e-12)
    assert scores["loss"][:3].tolist() == pytest.approx([2.794, 2.303, 0.0], abs=5e-4)
    assert scores["loss"][1].item() == pytest.approx(math.log(10), rel=1e-6)


def test_exact_scores_equal_a_count_by_hand(tmp_path: Path):
    """Every row of every choice, one by one, against the enumeration with weights."""
    length = 4
    trained = runner(task(tmp_path, [0, 1]), LSTM)
    scores = trained.evaluate(enumerate_distribution(length, 1))
    right, nats = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for a in range(10):
        for b in range(10):
            for position in range(2, length):
                for digit in range(10):
                    row = [a, b, 0, 0]
                    row[position] = digit
                    logits = trained.model(torch.tensor([[row]])).detach().double()[:, 0]
                    right += logits.argmax(-1) == a + b
                    nats -= logits.log_softmax(-1)[:, a + b]
    torch.testing.assert_close(scores["accuracy"], right / 2000)
    torch.testing.assert_close(scores["loss"], nats / 2000, atol=1e-6, rtol=0)


# --- training ---


@pytest.mark.parametrize("options", [{}, {"sampling": "fresh"}, {"shuffle": True}])
def test_a_seed_in_a_group_trains_as_it_does_alone(tmp_path: Path, options: dict[str, object]):
    notes = {}
    scores = {}
    for name, seeds in (("group", [5, 2, 8]), ("alone", [2])):
        notes[name] = Notes()
        own = task(tmp_path, seeds, **options)
        trained = runner(own, LSTM, torch.float64, clip=0.5)
        trained.train(own.batch, own.rows("dev"), 60, notes[name], eval_steps=7, log_steps=10)
        scores[name] = trained
    for group, alone in zip(notes["group"].rows, notes["alone"].rows, strict=True):
        assert group[:3] == alone[:3]
        assert group[3][1] == pytest.approx(alone[3][0], abs=1e-10)
    for group, alone in zip(weights_of(scores["group"]), weights_of(scores["alone"]), strict=True):
        torch.testing.assert_close(group[1], alone[0], atol=1e-10, rtol=0)
    assert scores["group"].best_iteration[1] == scores["alone"].best_iteration[0]


def test_history_notes_update_zero_the_steps_and_the_last(tmp_path: Path):
    own, notes = task(tmp_path, [0, 1]), Notes()
    runner(own).train(own.batch, own.rows("dev"), 25, notes, eval_steps=10, log_steps=4)
    when = {split: [i for i, s, name, *_ in notes.rows if s == split and name == "loss"] for split in ("train", "dev")}
    assert when == {"train": [0, 4, 8, 12, 16, 20, 24, 25], "dev": [0, 10, 20, 25]}


def test_training_notes_are_means_over_the_rows_since_the_last(tmp_path: Path):
    """With learning rate 0 the model stays, so that the mean over an epoch is the mean over the file."""
    own, notes = task(tmp_path, [0, 1]), Notes()
    still = runner(own, lr=0.0)
    still.train(own.batch, own.rows("dev"), 38, notes, log_steps=38)
    expected = still.evaluate(own.rows("train"))
    for name in ("loss", "accuracy"):
        noted = next(values for i, split, n, values, _ in notes.rows if (i, split, n) == (38, "train", name))
        assert noted == pytest.approx(expected[name].tolist(), abs=1e-6)


def test_the_best_weights_of_each_seed_are_kept(tmp_path: Path):
    own, notes = task(tmp_path, [0, 1, 2, 3]), Notes()
    trained = runner(own, lr=0.1)  # so large that the scores go up and down
    trained.train(own.batch, own.rows("dev"), 200, notes, eval_steps=5)
    scores = [(i, values) for i, split, name, values, _ in notes.rows if (split, name) == ("dev", "accuracy")]
    trained.use_best()
    again = trained.evaluate(own.rows("dev"))["accuracy"]
    for k in range(4):
        best = max(values[k] for _, values in scores)
        assert again[k] == best == trained.best_score[k]
        assert trained.best_iteration[k] == next(i for i, values in scores if values[k] == best)
    assert len(set(trained.best_iteration.tolist())) > 1
    assert any(values[0] < again[0] for i, values in scores if i > trained.best_iteration[0])


def test_a_metric_that_should_be_low_keeps_the_lowest(tmp_path: Path):
    own, notes = task(tmp_path, [0]), Notes()
    trained = runner(own, metric=CrossEntropy)
    trained.train(own.batch, own.rows("dev"), 100, notes, eval_steps=5)
    losses = [values[0] for _, split, name, values, _ in notes.rows if (split, name) == ("dev", "loss")]
    assert trained.best_score[0] == min(losses) < losses[0]


def test_evaluation_writes_no_history_and_changes_nothing(tmp_path: Path):
    own, notes = task(tmp_path, [0, 1]), Notes()
    trained = runner(own)
    trained.train(own.batch, own.rows("dev"), 10, notes)
    before, count = weights_of(trained), len(notes.rows)
    best = trained.best_score.clone()
    trained.evaluate(own.rows("test"))
    trained.predict(own.rows("test").inputs)
    assert len(notes.rows) == count
    assert torch.equal(trained.best_score, best)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(trained), strict=True))


def test_a_step_is_torchs_own(tmp_path: Path):
    """One seed, ten updates: the same as autograd, Adam and the mean cross-entropy written out."""
    own = task(tmp_path, [3])
    ours = runner(own, LSTM, torch.float64)
    reference = classifier(LSTM, [3], classes=19).double()
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    ours.train(own.batch, own.rows("dev"), 10, Notes())
    for i in range(10):
        optimizer.zero_grad()
        rows = own.batch(i)
        nn.functional.cross_entropy(reference(rows.inputs)[0], rows.targets[0]).backward()
        optimizer.step()
    for a, b in zip(weights_of(ours), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-12, rtol=0)


def test_a_summed_loss_is_the_mean_times_the_rows(tmp_path: Path):
    """So plain SGD at an eighth of the learning rate, with 8 rows in a batch, takes the same steps."""
    own = task(tmp_path, [0, 1])
    notes = {"mean": Notes(), "sum": Notes()}
    trained = {"mean": sgd_runner(own, 0.08), "sum": sgd_runner(own, 0.01, reduction="sum")}
    for name, each in trained.items():
        each.train(own.batch, own.rows("dev"), 20, notes[name])
    for a, b in zip(*map(weights_of, trained.values()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    mean, total = (norms_of(notes[name], "gradient_norm") for name in ("mean", "sum"))
    assert len(mean) == 20 * 3
    for key, norms in mean.items():
        assert total[key] == pytest.approx([8 * norm for norm in norms], rel=1e-9)
    losses = [[row[3] for row in own_notes.rows if row[1:3] == ("train", "loss")] for own_notes in notes.values()]
    assert losses[1] == [pytest.approx(values) for values in losses[0]]  # what is noted is a mean either way


def test_training_learns(tmp_path: Path):
    own = task(tmp_path, [0, 1], sampling="fresh")
    trained = runner(own, LSTM)
    before = trained.evaluate(enumerate_distribution(5, 1))["loss"]
    trained.train(own.batch, own.rows("dev"), 1500, Notes(), eval_steps=500)
    after = trained.evaluate(enumerate_distribution(5, 1))["loss"]
    assert (after < 0.7 * before).all()


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
    own, notes, clip, lr = task(tmp_path, [3, 7], sampling="fresh"), Notes(), 0.02, 0.5
    trained = sgd_runner(own, lr, clip=clip, clip_by=by)
    trained.train(own.batch, own.rows("dev"), 6, notes)
    before, after = norms_of(notes, "gradient_norm"), norms_of(notes, "clipped_gradient_norm")
    assert list(before) == list(after) == [(i, name) for i in range(1, 7) for name in ("W", "U", "b")]
    for k, seed in enumerate(own.seeds):
        model = classifier(LSTM, [seed], classes=19).double()
        parameters = [*model.parameters()]
        for update in range(1, 7):
            rows = own.batch(update - 1)
            model.zero_grad()
            nn.functional.cross_entropy(model(rows.inputs[k : k + 1])[0], rows.targets[k]).backward()
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
    own, quiet, notes = task(tmp_path, [0, 1]), Notes(), Notes()
    runner(own).train(own.batch, own.rows("dev"), 3, quiet)
    assert {name for _, _, name, _, _ in quiet.rows} == {"loss", "accuracy"}
    broken = sgd_runner(own, 0.1)
    broken.model.head_weight.data[1] = torch.nan
    broken.train(own.batch, own.rows("dev"), 4, notes, log_steps=2)
    active = {i: on for i, _, name, _, on in notes.rows if name == "gradient_norm.W"}
    assert active == {1: [True, True], 2: [True, True], 3: [True, False], 4: [True, False]}  # known since update 2


# --- a loss that is not finite ---


def test_a_seed_whose_loss_is_not_finite_stops_and_the_others_go_on(tmp_path: Path):
    own = task(tmp_path, [0, 1, 2])
    notes, alone_notes = Notes(), Notes()
    broken = runner(own, dtype=torch.float64)

    def batch(iteration: int) -> Rows:
        if iteration == 7:
            broken.model.head_weight.data[1] = torch.nan
        return own.batch(iteration)

    broken.train(batch, own.rows("dev"), 20, notes, eval_steps=5, log_steps=5)
    assert broken.diverged_at.tolist() == [-1, 8, -1]
    assert {i: active for i, _, _, _, active in notes.rows}[20] == [True, False, True]
    alone = task(tmp_path, [2])
    healthy = runner(alone, dtype=torch.float64)
    healthy.train(alone.batch, alone.rows("dev"), 20, alone_notes, eval_steps=5, log_steps=5)
    for a, b in zip(weights_of(broken), weights_of(healthy), strict=True):
        torch.testing.assert_close(a[2], b[0], atol=1e-10, rtol=0)
    broken.use_best()  # the weights from before are still good
    assert torch.isfinite(broken.evaluate(own.rows("dev"))["loss"]).all()


def test_training_ends_when_no_seed_is_left(tmp_path: Path):
    own = task(tmp_path, [0, 1])
    broken = runner(own)
    broken.model.head_weight.data[:] = torch.nan
    broken.train(own.batch, own.rows("dev"), 1000, Notes())
    assert broken.iteration == 50
    assert broken.diverged_at.tolist() == [1, 1]


# --- saving and going on ---


def assert_resumed_equals_uninterrupted(
    build: Callable[[], tuple[Task, Runner]], updates: int, stop: int, checkpoint: Path
) -> None:
    """Train twice, once in one go and once stopped after an update and gone on with by another runner."""
    whole_notes, stopped_notes, second_notes = Notes(), Notes(), Notes()
    steps = {"eval_steps": 7, "log_steps": 9}
    own, whole = build()
    whole.train(own.batch, own.rows("dev"), updates, whole_notes, **steps)
    own, stopped = build()
    with pytest.raises(KeyboardInterrupt):
        stopped.train(
            own.batch, own.rows("dev"), updates, stopped_notes, **steps, checkpoint=checkpoint,
            should_stop=lambda: stopped.iteration == stop,
        )  # fmt: skip
    own, second = build()
    second.load_checkpoint(checkpoint)
    assert second.iteration == stop
    second.train(own.batch, own.rows("dev"), updates, second_notes, **steps)
    assert stopped_notes.rows + second_notes.rows == whole_notes.rows  # bit for bit
    for a, b in zip(weights_of(second), weights_of(whole), strict=True):
        assert torch.equal(a, b)
    second.use_best()
    whole.use_best()
    for a, b in zip(weights_of(second), weights_of(whole), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("options", [{}, {"sampling": "fresh"}, {"shuffle": True}])
def test_resumed_equals_uninterrupted(tmp_path: Path, options: dict[str, object]):
    def build() -> tuple[Task, Runner]:
        own = task(tmp_path, [0, 4], **options)
        return own, runner(own, LSTM)

    assert_resumed_equals_uninterrupted(build, 130, 65, tmp_path / "last.pt")


def test_progress_is_told_before_a_checkpoint_says_so(tmp_path: Path):
    """So that what is done at an update, as a language model's writing, is done even if it failed the first time."""
    own, told = task(tmp_path, [0]), []

    def fail(iteration: int) -> None:
        told.append(iteration)
        if told == [1, 2]:
            raise RecordError("the disk is full")

    for _ in range(2):
        trained = runner(own)
        if told:
            trained.load_checkpoint(tmp_path / "last.pt")
        with contextlib.suppress(RecordError):
            trained.train(
                own.batch, own.rows("dev"), 3, Notes(), checkpoint=tmp_path / "last.pt", checkpoint_seconds=0,
                progress=fail,
            )  # fmt: skip
    assert told == [1, 2, 2, 3]


def test_a_saved_model_answers_the_same(tmp_path: Path):
    own = task(tmp_path, [0, 1])
    trained = runner(own, LSTM)
    trained.train(own.batch, own.rows("dev"), 50, Notes(), eval_steps=10)
    trained.save_model(tmp_path / "best.pt")
    trained.use_best()
    other = runner(task(tmp_path, [8, 9]), LSTM)
    other.load_model(tmp_path / "best.pt")
    inputs = own.rows("test").inputs
    assert torch.equal(other.predict(inputs), trained.predict(inputs))
    assert trained.predict(inputs).shape == (2, 100, 19)
    torch.testing.assert_close(trained.predict(inputs).sum(-1), torch.ones(2, 100))


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path):
    own = task(tmp_path, [0, 1])
    runner(own, SRN).save_model(tmp_path / "best.pt")
    with pytest.raises(
        RecordError,
        match=r"best.pt is of another model: layers.0.0.cell.U is \(2, 1, 6, 6\) there, \(2, 4, 6, 6\) in this one$",
    ):
        runner(own, LSTM).load_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=r"embedding is \(2, 10, 4\) there, \(3, 10, 4\) in this one$"):
        runner(task(tmp_path, [0, 1, 2]), SRN).load_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=r"cell.U is \(2, 1, 6, 6\) there, \(2, 3, 6, 6\) in this one$"):  # no hint
        runner(own, KINDS["GRU reset after"]).load_model(tmp_path / "best.pt")


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
    own = task(tmp_path, [0])
    runner(own, KINDS[saved]).save_model(tmp_path / "best.pt")
    with pytest.raises(RecordError, match=complaint + r"; a GRU that resets after .*model.reset_after=true.* cannot"):
        runner(own, KINDS[wanted]).load_model(tmp_path / "best.pt")


def test_weights_that_differ_in_more_than_a_convention_are_refused_without_a_hint(tmp_path: Path):
    own, path = task(tmp_path, [0]), tmp_path / "best.pt"
    runner(own, KINDS["GRU reset before"]).save_model(path)
    content = checkpoints.load(path, "weights")
    del content["weights"]["head_bias"]
    checkpoints.save(path, content)
    with pytest.raises(RecordError, match=r"best.pt is of another model: head_bias is missing there, .* in this one$"):
        runner(own, KINDS["GRU reset before"]).load_model(path)
    with pytest.raises(RecordError, match=r"head_bias is missing there, .* in this one$"):
        runner(own, KINDS["GRU reset after"]).load_model(path)


def test_accuracy_is_the_default_metric(tmp_path: Path):
    assert runner(task(tmp_path, [0])).metric is Accuracy


@pytest.mark.parametrize("content", ["", "hello", None])
def test_damaged_and_foreign_checkpoints_are_named(tmp_path: Path, content: str | None):
    path = tmp_path / "last.pt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_text(content)
    with pytest.raises(RecordError, match="last.pt is"):
        runner(task(tmp_path, [0])).load_checkpoint(path)


def test_a_truncated_checkpoint_is_named(tmp_path: Path):
    own = task(tmp_path, [0])
    runner(own).save_checkpoint(tmp_path / "last.pt", Notes())
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match="truncated or not a checkpoint.*delete the run's folder"):
        runner(own).load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("change", [{"carried": ...}, {"history_bytes": ...}, {"running": []}, {"unread": ...}])
def test_a_checkpoint_of_another_version_is_named(tmp_path: Path, change: dict[str, object]):
    own, path = task(tmp_path, [0]), tmp_path / "last.pt"
    runner(own).save_checkpoint(path, Notes())
    content = checkpoints.load(path, "training")
    ((name, value),) = change.items()
    if value is ...:
        del content["training"][name]
    else:
        content["training"][name] = value
    torch.save(content, path)
    with pytest.raises(RecordError, match=r"last.pt was written by another version .*delete the run's folder"):
        runner(own).load_checkpoint(path)


def test_checkpoints_run_no_code(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "evil",))  # type: ignore[return-value]

    torch.save({"format": "memexp checkpoint 1", "weights": Evil()}, tmp_path / "best.pt")
    with pytest.raises(RecordError):
        checkpoints.load(tmp_path / "best.pt", "weights")
    assert not (tmp_path / "evil").exists()
