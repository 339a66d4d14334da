"""State tracking: its automata, its lengths and mask, its floors, networks set by hand, and a real run of it."""

import itertools
import math
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from helpers import config_of, goes_on_where_it_was_stopped, task_of

from memexp.errors import ConfigError
from memexp.models.cells import SRN
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.tasks.metrics import Accuracy, CrossEntropy, SequenceAccuracy
from memexp.tasks.state_tracking import AUTOMATA, StateReading, StateTracking, _is_even
from memexp.tasks.task import Rows


def tracking(folder: Path, *overrides: str) -> StateTracking:
    task: StateTracking = task_of("state_tracking", folder, *overrides)
    return task


def answered(name: str, given: str, modulus: int = 5) -> str:
    """Run an automaton over what is typed; return its answers at every step, as they are called."""
    run = AUTOMATA[name](modulus)
    return "".join(run.outputs[k] for k in run.answer(StateReading(run, 1).read(given)).tolist())


def scores(answers: torch.Tensor, rows: Rows) -> dict[str, float]:
    """Score answers [1, N, A, K] as a run does."""
    found = {}
    for kind in (CrossEntropy, Accuracy, SequenceAccuracy):
        mean = kind(1)
        mean.update(answers, rows.targets[None], None if rows.weights is None else rows.weights[None])
        found[kind.name] = mean.compute().item()
    return found


@pytest.mark.parametrize(
    ("name", "modulus", "given", "answers"),
    [
        ("parity", 5, "1010100", "1100111"),  # Deletang et al.: three 1s, class 1
        ("parity", 5, "01111", "01010"),  # four, class 0
        ("even_pairs", 5, "001110", "001110"),  # one 01 and one 10, class 0
        ("even_pairs", 5, "0101001", "0101001"),  # three and two, class 1
        ("cycle_navigation", 5, "rlsll", "10043"),  # 1 -1 0 -1 -1 is -2, class 3
        ("cycle_navigation", 5, "rrrl", "1232"),
        ("modular_sum", 3, "2212", "2121"),
        ("modular_sum", 10, "9876", "9740"),
    ],
)
def test_an_automaton_answers_at_every_step(name: str, modulus: int, given: str, answers: str):
    assert answered(name, given, modulus) == answers


def test_expressions_have_the_value_that_python_gives():
    run = AUTOMATA["modular_arithmetic"](5)
    assert [answered("modular_arithmetic", given)[-1] for given in ("1+2*3", "1-1-1", "0*1+4*3-2")] == ["2", "4", "0"]
    rows = run.every(5)
    assert len(rows) == run.count(5) == 5 * 3 * 5 * 3 * 5
    values = [eval("".join(run.symbols[code] for code in row)) % 5 for row in rows.tolist()]
    assert run.answer(rows)[:, -1].tolist() == values
    assert run.answer(rows)[:, 2].tolist() == run.answer(rows[:, :3])[:, -1].tolist()


@pytest.mark.parametrize(("name", "points", "order"), [("s3", 3, 6), ("a5", 5, 60)])
def test_a_word_is_the_product_of_its_permutations(name: str, points: int, order: int):
    run = AUTOMATA[name](0)
    group = [p for p in itertools.permutations(range(points)) if name == "s3" or _is_even(p)]
    assert len(group) == order == len(run.symbols) == len(run.outputs) == len(run.answers)
    words = torch.randint(order, (40, 7), generator=torch.Generator().manual_seed(1))
    for word, answers in zip(words.tolist(), run.answer(words).tolist(), strict=True):
        matrix = np.eye(points, dtype=int)
        for symbol, answer in zip(word, answers, strict=True):
            matrix = matrix @ np.eye(points, dtype=int)[list(group[symbol])]  # as matrices, apart from the code
            assert (matrix == np.eye(points, dtype=int)[list(group[answer])]).all()
    s3 = AUTOMATA["s3"](0)
    assert s3.answer(torch.tensor([1, 2]))[1] != s3.answer(torch.tensor([2, 1]))[1]  # the order of the symbols counts


def test_a5_is_what_is_said_of_it():
    """Its commutators give all of it again: it is not solvable, as S3 is."""

    def derived(name: str) -> int:
        table = AUTOMATA[name](0).table.T.tolist()  # [state][symbol]: elements are states, by symbol
        run = AUTOMATA[name](0)
        of = {int(answer): state for state, answer in enumerate(run.answers)}
        product = [[int(run.answers[table[of[a]][b]]) for b in range(len(of))] for a in range(len(of))]
        inverse = [row.index(0) for row in product]
        found = {0} | {product[product[a][b]][product[inverse[a]][inverse[b]]] for a in of for b in of}
        while more := {product[a][b] for a in found for b in found} - found:
            found |= more
        return len(found)

    assert (derived("s3"), derived("a5")) == (3, 60)


def test_rows_end_anywhere_and_are_asked_there_alone(tmp_path: Path):
    rows = tracking(tmp_path, "length=7", "task.shortest=3").draw(5000, torch.Generator().manual_seed(2))
    assert rows.inputs.shape == rows.targets.shape == (5000, 7)
    assert rows.weights is not None
    assert (rows.weights.sum(1) == 1).all()
    assert rows.weights.mean(0).tolist() == pytest.approx([0, 0, *[1 / 5] * 5], abs=0.03)  # 5 standard deviations
    assert torch.equal(rows.targets, rows.inputs.cumsum(1) % 2)
    odd = tracking(tmp_path, "length=7", "task.automaton=modular_arithmetic").draw(3000, torch.Generator())
    assert odd.weights is not None
    assert odd.weights.mean(0).tolist() == pytest.approx([1 / 4, 0, 1 / 4, 0, 1 / 4, 0, 1 / 4], abs=0.04)
    assert (odd.inputs[:, ::2] < 5).all()
    assert (odd.inputs[:, 1::2] >= 5).all()


def test_what_comes_after_the_end_of_a_row_has_no_gradient(tmp_path: Path):
    rows = tracking(tmp_path, "length=6").draw(9, torch.Generator().manual_seed(1))
    answers = torch.randn(1, 9, 6, 2, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert rows.weights is not None
    (CrossEntropy.values(answers, rows.targets[None]) * rows.weights[None]).sum().backward()
    assert answers.grad is not None
    assert torch.equal((answers.grad[0] != 0).all(-1), rows.weights == 1)


def test_test_rows_and_those_of_another_length_have_that_length(tmp_path: Path):
    task = tracking(tmp_path, "length=40", "task.automaton=cycle_navigation")
    for rows, length in ((task.rows("test"), 40), (task.at_length(500, 20_000), 500), (task.at_length(4, 400), 4)):
        assert rows is not None
        assert rows.weights is not None
        assert rows.inputs.shape[1] == length
        assert (rows.weights[:, -1] == 1).all()
        assert rows.weights[:, :-1].sum() == 0
    assert task.at_length(500, 20_000).source == "40 sampled rows"
    assert task.at_length(4, 400).source == "all 81 inputs"  # 3^4 of 4 symbols are 324
    assert task.at_length(4, 323).source == "80 sampled rows"
    assert "exact" not in task.splits()
    assert tracking(tmp_path, "length=9", "task.automaton=modular_arithmetic").at_length(6, 10) is None


def test_every_step_is_asked_of_rows_of_one_length(tmp_path: Path):
    task = tracking(tmp_path, "length=5", "task.automaton=s3", "task.asked=every_step")
    for rows in (task.draw(8, torch.Generator()), task.rows("test"), task.splits()["exact"]):
        assert rows.weights is not None
        assert (rows.weights == 1).all()
    assert task.trained_on == "length 5"
    assert tracking(tmp_path, "length=5").trained_on == "lengths 1 to 5"


@pytest.mark.parametrize("asked", ["end", "every_step"])
@pytest.mark.parametrize(
    "name", ["parity", "modular_sum", "even_pairs", "cycle_navigation", "modular_arithmetic", "s3"]
)
def test_a_constant_answer_scores_the_floor(tmp_path: Path, name: str, asked: str):
    task = tracking(tmp_path, "length=3", f"task.automaton={name}", f"task.asked={asked}", "task.modulus=4")
    rows, floors, K = task.splits()["exact"], task.floors(), task.interface.outputs
    assert len(rows.inputs.unique(dim=0)) == len(rows) == task.run.count(3)
    constant = [scores(9.0 * F.one_hot(torch.tensor(k), K).expand(1, *rows.targets.shape, K), rows) for k in range(K)]
    (floor,) = floors["accuracy"].values()
    assert max(found["accuracy"] for found in constant) == pytest.approx(floor)
    if asked == "end":
        assert max(found["sequence_accuracy"] for found in constant) == pytest.approx(floor)
        assert floors["sequence_accuracy"] == floors["accuracy"]
    chances = torch.tensor([found["accuracy"] for found in constant])  # how often each answer is right
    known = scores(chances.log().expand(1, *rows.targets.shape, K), rows)["cross_entropy"]
    assert known == pytest.approx(floors["loss"]["knowing nothing"], rel=1e-5)


def test_the_floors_of_long_sequences_are_those_of_the_uniform_distribution(tmp_path: Path):
    floors = tracking(tmp_path, "length=200", "task.automaton=a5").floors()
    assert floors["accuracy"]["always the likeliest answer"] == pytest.approx(1 / 60)
    assert floors["loss"]["knowing nothing"] == pytest.approx(math.log(60))


def test_an_srn_set_by_hand_computes_parity_at_any_length(tmp_path: Path):
    """Two thresholds of the state plus the symbol: one is passed by 1 and 2, the other by 2 alone; so 1 is odd."""
    task = tracking(tmp_path, "length=40")
    model = SequenceModel(SRN, 1, 2, 2, True, 0, [2], False, "zero").requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    cell, sure = model.cell, 100.0  # tanh is then 1 or -1 in every bit
    cell.W[0, 0, 1, :] = sure
    cell.U[0, 0] = torch.tensor([[sure / 2] * 2, [-sure / 2] * 2])  # the state is (h_1 - h_2) / 2
    cell.b[0, 0] = torch.tensor([-sure / 2, -3 * sure / 2])
    model.head_weight[0, :, 1] = torch.tensor([sure, -sure])
    model.head_bias[0, 1] = -sure
    for rows in (task.rows("dev"), task.rows("test"), task.at_length(500, 10_000), task.at_length(3, 100)):
        assert rows is not None
        found = scores(model(rows.inputs[None]), rows)
        assert (found["accuracy"], found["sequence_accuracy"]) == (1, 1)
        assert found["cross_entropy"] < 1e-6
    every = tracking(tmp_path, "length=10", "task.asked=every_step").splits()["exact"]
    assert len(every) == 2**10
    assert scores(model(every.inputs[None]), every)["sequence_accuracy"] == 1


def test_symbols_are_read_as_they_are_typed():
    reading = StateReading(AUTOMATA["modular_arithmetic"](5), 9)
    assert reading.write(reading.read(" 1 + 2＊3 ")) == "1+2*3"
    assert reading.write(reading.read(reading.beginning)) == reading.beginning
    with pytest.raises(ConfigError, match=r"'\*' cannot be symbol 3"):
        reading.read("1+*")
    with pytest.raises(ConfigError, match=r"has \['7'\]; give symbols of 01234"):
        reading.read("1+7")
    with pytest.raises(ConfigError, match="has nothing"):
        reading.read("")
    parity = StateReading(AUTOMATA["parity"](5), 4)
    sequence = parity.read("[1,0,1,1]")
    assert parity.remark(sequence) is None
    assert "5 symbols; this model was trained on up to 4" in str(parity.remark(parity.read("10110")))
    assert parity.describe(sequence, np.array([[0.5, 0.5], [0.25, 0.75]])) == (
        "answer 1 with probability 0.750; truth 1 (right)"
    )
    assert parity.describe(sequence[:3], np.array([[0.25, 0.75]])).endswith("truth 0 with probability 0.250 (wrong)")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("task.automaton=modular_arithmetic",), "length=40 is not possible"),
        (("task.shortest=41",), "task.shortest=41 is larger than length=40"),
        (("task.automaton=s4",), "parity"),
        (("task.modulus=11",), "at most 10"),
    ],
)
def test_settings_that_cannot_be_are_refused(overrides: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        config_of("task=state_tracking", *overrides)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    goes_on_where_it_was_stopped(tmp_path, "task=state_tracking", "model=gru", "length=5", "task.train_rows=320")


@pytest.mark.slow
def test_it_runs_is_drawn_measured_and_scored_at_other_lengths(tmp_path: Path):
    command = ("task=state_tracking", "task.automaton=even_pairs", "length=6", "model=gru", "model.hidden_size=12",
               "seeds=2", "lr=0.01", "epochs=6")  # fmt: skip
    done = forked.run("memexp", *command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("outputs/state_tracking/*/")
    summary = record.read_summary(folder)
    assert summary["interface"] == {"inputs": 2, "outputs": 2, "every_step": True, "longest": 6}
    assert min(seed["exact_accuracy"] for seed in summary["seeds"]) > 0.9  # it is learned: chance is 0.5
    for module, arguments in (
        ("memexp.analysis", ()),
        ("memexp.gates", ("study=state_tracking", "sequence=0110")),
        ("memexp.explorer", ("study=state_tracking",)),
        ("memexp.memory", ("study=state_tracking", "measures=length_matrix")),
        ("memexp.evaluate", ("study=state_tracking", "lengths=6,501")),
    ):
        done = forked.run(module, *arguments, folder=tmp_path, drawn=False)
        assert done.returncode == 0, done.stderr
        assert module != "memexp.gates" or "truth 0" in done.stdout
    table = (tmp_path / "images/state_tracking/memory/length_matrix.csv").read_text()
    assert "all 64 inputs" in table
    assert "501" in (tmp_path / "images/state_tracking/evaluate.csv").read_text()
