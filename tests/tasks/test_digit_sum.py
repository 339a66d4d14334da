import hashlib
import itertools
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of
from omegaconf import OmegaConf

from memexp import trained
from memexp.errors import ConfigError, DataError, RecordError
from memexp.experiment import run
from memexp.results import record
from memexp.tasks.digit_sum import (
    DigitReading,
    DigitSum,
    distinct_inputs,
    ensure_files,
    enumerate_distribution,
    generate,
    parse,
    sample,
    target_statistics,
)
from memexp.tasks.task import Interface, Rows


def task(folder: Path, **options: object) -> DigitSum:
    """Build the book's task; of length 6, for three seeds."""
    given = {"length": 6, "seeds": [0, 7, 3], "batch_size": 8, "folder": folder}
    book = {"sampling": "fixed", "shuffle": False, "distractors": 1, "digits": 2, "asked": "first", "data_seed": 0}
    options = {"exact_limit": 10_000_000, **options}
    return DigitSum(**{**given, **book, **options})


# --- files ---


def test_files_are_the_same_bytes_everywhere():
    """Pinned: change these only with a new data format, and then say so in the README."""
    digests = {
        (length, split): hashlib.sha256(generate(length, split)).hexdigest()[:16]
        for length, split in itertools.product((10, 35), ("train", "dev", "test"))
    }
    assert digests == PINNED


PINNED = {
    (10, "train"): "5cf8f6eb3f5a2996",
    (10, "dev"): "0aafa262c7248163",
    (10, "test"): "bbf64f4184a26ef6",
    (35, "train"): "363d8e06da993817",
    (35, "dev"): "8a5606ac93402663",
    (35, "test"): "000b6ec722b07d8d",
}


def test_rows_are_in_the_books_format():
    lines = generate(7, "train").decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == 300
    pairs = []
    for line in lines:
        digits, label = line.split("\t")
        row = [int(d) for d in digits.split(" ")]
        assert len(row) == 7
        assert int(label) == row[0] + row[1]
        assert sum(d != 0 for d in row[2:]) <= 1
        pairs.append((row[0], row[1]))
    assert pairs == sorted(pairs)
    assert set(Counter(pairs).values()) == {3}
    assert len(generate(7, "dev").splitlines()) == len(generate(7, "test").splitlines()) == 100


def test_files_differ_by_length_split_and_data_seed_only():
    assert generate(7, "dev") != generate(7, "test")
    assert generate(7, "dev", data_seed=1) != generate(7, "dev")
    assert generate(7, "dev") == generate(7, "dev", 1, 0)


def test_distractors_are_spread_over_positions_and_digits():
    rows = parse(b"".join(generate(6, "train", 1, seed) for seed in range(20)), Path("x"), 6, 1).inputs
    positions = rows[:, 2:].bool().sum(0) / len(rows)  # 0.9 / 4 each
    assert (positions - 0.225).abs().max() < 0.02
    digits = torch.bincount(rows[:, 2:].flatten(), minlength=10)[1:] / len(rows)
    assert (digits - 0.1).abs().max() < 0.015


def test_files_are_written_once_and_then_read(tmp_path: Path):
    first = ensure_files(tmp_path, 5, 1, 0)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in first.values()) == [
        "5/dev.txt",
        "5/test.txt",
        "5/train.txt",
    ]
    first["dev"].write_text("1 2 0 0 0\t3\n")  # the user's own file
    own = task(tmp_path, length=5)
    assert own.rows("dev").inputs.tolist() == [[1, 2, 0, 0, 0]]
    assert own.fingerprint() != task(tmp_path / "other", length=5).fingerprint()


def test_other_settings_have_folders_of_their_own(tmp_path: Path):
    task(tmp_path, distractors=2)
    task(tmp_path, data_seed=4)
    task(tmp_path, distractors="all")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "6,data_seed=4",
        "6,distractors=2",
        "6,distractors=4",
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1 2 0 0 0\t3\n1 x 0 0 0\t3\n", "line 2: 'x' is not a digit"),
        (b"1 2 0 0 0\t3\n1  2 0 0 0\t3\n", "line 2: '' is not a digit"),
        (b"1 12 0 0 0\t3\n", "line 1: '12' is not a digit"),
        (b"1 2 0 0\t3\n", "line 1: 4 digits, but length is 5"),
        (b"1 2 0 0 0\t4\n", "line 1: label '4', but 1 \\+ 2 = 3"),
        (b"1 2 0 0 0 3\n", "line 1: no tab"),
        (b"", "is empty"),
        (b"1 2 0 0 0\t3\n\n1 2 0 0 0\t3\n", "line 2: no tab"),
        (b"1 2 0 0 0\t3\n\xff\xfe\n", "line 2: not UTF-8"),
        ("1 2 0 0 0\t3\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (b"1 2 0 0 0\t3\n1 2 0 0 0\t\n", "line 2: no tab"),
        (
            "1 2 0 0 \N{ARABIC-INDIC DIGIT ONE}\t3\n".encode(),
            "line 1: '\N{ARABIC-INDIC DIGIT ONE}' is not a digit",
        ),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, content: bytes, complaint: str):
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "dev.txt").write_bytes(content)
    with pytest.raises(DataError, match=complaint) as error:
        task(tmp_path, length=5)
    assert "dev.txt" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\r\n\r\n", b" \n\t\n"])
def test_what_editors_add_is_read(before: bytes, end: bytes, behind: bytes):
    content = before + end.join([b"1 2 0\t3", b"9 9 1\t18"]) + end + behind
    assert parse(content, Path("x"), 3, 1).targets.tolist() == [[3], [18]]


def test_a_character_that_was_changed_is_found_or_is_another_distractor():
    """Each character of a file in turn becomes each of some others: the file is refused, or one that is possible."""
    content, complaints = b"1 2 0 4\t3\n9 9 0 0\t18\n", []
    allowed = {(1, 2, 0, k) for k in range(10)} | {(9, 9, k, 0) for k in range(10)} | {(9, 9, 0, k) for k in range(10)}
    for place, character in itertools.product(range(len(content)), b"0123456789 \t\nx"):
        try:
            rows = parse(content[:place] + bytes([character]) + content[place + 1 :], Path("x"), 4, 1)
        except DataError as error:
            complaints.append(str(error))
        else:
            assert rows.targets.tolist() == [[3], [18]]
            assert {tuple(row) for row in rows.inputs.tolist()} <= allowed
    assert len(complaints) > 0.8 * len(content) * 14
    assert "\n" not in "".join(complaints)


def test_more_distractors_than_the_setting_are_named():
    content = b"1 2 0 4 0\t3\n9 9 1 0 7\t18\n"
    with pytest.raises(
        DataError, match=r"^x, line 2: 2 digits after the second are not 0, but task.distractors is 1; "
    ):
        parse(content, Path("x"), 5, 1)
    assert len(parse(content, Path("x"), 5, 2)) == 2


def test_an_unwritable_folder_is_named(tmp_path: Path):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="set datasets_dir to a writable folder"):
        task(tmp_path / "data")


# --- asked last: the twin with nothing to remember ---


def turned(inputs: torch.Tensor) -> torch.Tensor:
    """Put the two digits behind what follows them: [..., L]."""
    return torch.cat([inputs[..., 2:], inputs[..., :2]], -1)


@pytest.mark.parametrize("options", [{}, {"sampling": "fresh"}, {"shuffle": True}, {"distractors": 3, "data_seed": 2}])
def test_a_twin_has_the_same_rows_with_the_two_digits_last(tmp_path: Path, options: dict[str, object]):
    own, twin = task(tmp_path, **options), task(tmp_path, asked="last", **options)
    at_length = [each.at_length(8, 10_000) for each in (own, twin)]
    pairs = [(own.batch(5), twin.batch(5)), (own.distribution(), twin.distribution()), at_length]
    pairs += [(own.rows(split), twin.rows(split)) for split in ("train", "dev", "test")]
    for one, other in pairs:
        assert torch.equal(other.inputs, turned(one.inputs))
        assert torch.equal(other.targets, one.targets)
        assert torch.equal(other.targets, other.inputs[..., -2:].sum(-1, keepdim=True))
        assert other.source == one.source
    assert twin.interface == own.interface
    assert twin.floors() == own.floors()
    assert twin.fingerprint() != own.fingerprint()


def test_a_twin_has_files_of_its_own(tmp_path: Path):
    twin = task(tmp_path, asked="last", length=4)
    task(tmp_path, asked="last", length=4, distractors=2, data_seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "4,asked=last",
        "4,distractors=2,data_seed=3,asked=last",
    ]
    lines = (tmp_path / "4,asked=last" / "dev.txt").read_text().splitlines()
    assert [line.split("\t")[0][-3:] for line in lines[:12]] == [*(f"0 {d}" for d in range(10)), "1 0", "1 1"]
    assert twin.rows("dev").inputs[:, -2:].sum(1).tolist() == [int(line.split("\t")[1]) for line in lines]
    (tmp_path / "4,asked=last" / "dev.txt").write_text("1 0 2 3\t1\n")
    with pytest.raises(DataError, match="line 1: label '1', but 2 \\+ 3 = 5"):
        task(tmp_path, asked="last", length=4)
    with pytest.raises(DataError, match="2 digits before the last two are not 0, but task.distractors is 1"):
        parse(b"1 4 2 3\t5\n", Path("x"), 4, 1, "last")
    assert parse(b"1 4 0 0\t0\n", Path("x"), 4, 2, "last").inputs.tolist() == [[1, 4, 0, 0]]


def test_files_in_which_both_would_be_right_are_still_told_apart(tmp_path: Path):
    """Of these rows the first two digits have the sum of the last two."""
    for folder in ("4", "4,asked=last"):
        for split in ("train", "dev", "test"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{split}.txt").write_text("2 3 3 2\t5\n")
    prints = [task(tmp_path, length=4, distractors=2, asked=asked).fingerprint() for asked in ("first", "last")]
    assert prints[0] != prints[1]


def test_what_measures_and_people_ask_of_a_twin(tmp_path: Path):
    twin = task(tmp_path, asked="last")
    rows = Rows(torch.tensor([[5, 0, 0, 0, 3, 4], [0, 0, 0, 0, 9, 1]]), torch.tensor([[7], [10]]))
    assert twin.needed(rows.inputs).tolist() == [[False] * 4 + [True] * 2] * 2
    assert {name: fact.tolist() for name, fact in twin.facts(rows).items()} == {
        "first digit": [3, 9],
        "second digit": [4, 1],
        "sum": [7, 10],
    }
    assert twin.held(9) is None
    reading = DigitReading(6, "last")
    assert reading.example().tolist() == [0, 0, 1, 0, 6, 7]
    assert [[reading.kinds[k] for k in row] for row in reading.token_kinds(rows.inputs).tolist()] == [
        ["distractor", "zero", "zero", "zero", "first digit", "second digit"],
        ["zero", "zero", "zero", "zero", "first digit", "second digit"],
    ]
    probabilities = np.eye(19)[[7]]
    assert reading.describe(rows.inputs[0], probabilities) == "answer 7 with probability 1.000; truth 7 (right)"
    assert (reading.words, DigitReading(6).words) == ("symbols", "digits")


def test_records_without_the_settings_were_asked_first_of_two_digits(tmp_path: Path):
    """A run of before is complete, and its task is the same."""
    settings = ("length=4", "model=srn", "model.hidden_size=3", "seeds=1", "epochs=1", f"datasets_dir={tmp_path}")
    config, folder = config_of(*settings), tmp_path / "run"
    summary = run(config, folder)
    assert {"asked", "digits"}.isdisjoint(record.read_json(folder / record.CONFIG)["task"])
    assert summary.pop("later") == {"task.asked": "first", "task.digits": 2}
    del summary["config"]["task"]["asked"], summary["config"]["task"]["digits"]
    summary = record.write_summary(folder, summary)
    assert run(config, folder) == summary
    found = trained.load(folder, datasets=tmp_path).task()
    assert (found.asked, found.digits) == ("first", 2)
    with pytest.raises(RecordError, match="was trained on other data"):
        run(config_of(*settings, "task.asked=last"), folder)


# --- other than two digits ---


@pytest.mark.parametrize(("digits", "asked"), [(1, "first"), (3, "first"), (3, "last")])
def test_so_many_digits_are_added(tmp_path: Path, digits: int, asked: str):
    own = task(tmp_path, length=6, digits=digits, asked=asked, distractors=2)
    where = slice(None, digits) if asked == "first" else slice(-digits, None)
    drawn = own.draw(200, torch.Generator().manual_seed(1))
    for rows in (*(own.rows(split) for split in ("train", "dev", "test")), own.distribution(), drawn):
        assert torch.equal(rows.targets[:, 0], rows.inputs[:, where].sum(1))
        assert ((rows.inputs != 0).sum(1) <= digits + 2).all()
        assert torch.equal(own.needed(rows.inputs).nonzero()[:digits, 1], torch.arange(6)[where])
    assert [len(own.rows(split)) for split in ("train", "dev", "test")] == [300, 100, 100]
    questions = len(own.rows("train").inputs[:, where].unique(dim=0))
    assert questions == 10 if digits == 1 else 230 < questions < 290  # of 1000, 300 draws: 259 are expected
    assert own.interface.outputs == 9 * digits + 1
    assert (held := own.held(9)) is None or len(held) == 10**digits
    assert own.at_length(digits, 100) is None
    assert [*own.facts(drawn)] == [*(f"digit {k + 1}" for k in range(digits)), "sum"]


def test_three_digits_are_enumerated_as_brute_force_does(tmp_path: Path):
    own = task(tmp_path, length=5, digits=3)
    chances: Counter[tuple[int, ...]] = Counter()
    for row in itertools.product(range(10), repeat=3):
        for place, digit in itertools.product((0, 1), range(10)):
            chances[(*row, *(digit if place == k else 0 for k in (0, 1)))] += 1 / 20_000
    rows = own.distribution()
    assert rows.source == "all 19000 inputs"
    assert dict(zip(map(tuple, rows.inputs.tolist()), rows.weights[:, 0].tolist(), strict=True)) == pytest.approx(
        chances
    )
    sums = Counter(sum(row) for row in itertools.product(range(10), repeat=3))
    floors = own.floors()
    assert floors["accuracy"]["always the likeliest answer"] == pytest.approx(max(sums.values()) / 1000) == 0.075
    nothing = -sum(n / 1000 * math.log(n / 1000) for n in sums.values())
    assert floors["loss"] == {
        "knowing nothing": pytest.approx(nothing),
        "knowing all but one digit": pytest.approx(math.log(10)),
    }


def test_three_digits_are_read_as_a_question():
    reading = DigitReading(6, "first", 3)
    sequence = reading.read("670001")
    assert reading.kinds == ("digit 1", "digit 2", "digit 3", "zero", "distractor")
    assert reading.token_kinds(sequence[None]).tolist() == [[0, 1, 2, 3, 3, 4]]
    assert (len(reading.outputs), reading.words) == (28, "symbols")
    assert "truth 13" in reading.describe(sequence, np.eye(28)[[13]])
    with pytest.raises(ConfigError, match="its first 3 digits are the question"):
        reading.read("67")
    with pytest.raises(ConfigError, match="length=3 is too small; it must be at least 4"):
        config_of("length=3", "task.digits=3")
    with pytest.raises(ConfigError, match="the positions after digit 3"):
        config_of("length=5", "task.digits=3", "task.distractors=3")


# --- batches ---


def test_fixed_batches_are_the_file_in_order(tmp_path: Path):
    fixed = task(tmp_path)
    assert fixed.updates_per_epoch == 38
    batches = [fixed.batch(i) for i in range(76)]
    assert [len(b) for b in batches[:38]] == [8] * 37 + [4]
    for epoch in (batches[:38], batches[38:]):
        assert torch.equal(torch.cat([b.inputs for b in epoch], 1)[0], fixed.rows("train").inputs)
        assert torch.equal(torch.cat([b.targets for b in epoch], 1)[0], fixed.rows("train").targets)


def test_shuffled_epochs_are_permutations_of_their_own(tmp_path: Path):
    shuffled = task(tmp_path, shuffle=True)
    epochs = [torch.cat([shuffled.batch(e * 38 + i).inputs for i in range(38)], 1) for e in range(2)]
    train = sorted(shuffled.rows("train").inputs.tolist())
    for epoch in epochs:
        assert epoch.shape == (3, 300, 6)
        for k in range(3):
            assert sorted(epoch[k].tolist()) == train
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0][0], epochs[0][1])


@pytest.mark.parametrize("options", [{"sampling": "fresh"}, {"shuffle": True}, {}])
def test_a_batch_is_a_function_of_seed_and_iteration(tmp_path: Path, options: dict[str, object]):
    """In any order, in any group of seeds, after any restart."""
    group, alone = task(tmp_path, **options), task(tmp_path, seeds=[7], **options)
    for iteration in (205, 3, 99, 100, 3):
        rows = group.batch(iteration)
        mine = rows.inputs[1 if len(rows.inputs) > 1 else 0]
        assert torch.equal(mine, alone.batch(iteration).inputs[0])
        assert torch.equal(rows.targets, rows.inputs[..., :2].sum(-1, keepdim=True))


def test_fresh_rows_differ_between_updates_and_seeds(tmp_path: Path):
    fresh = task(tmp_path, sampling="fresh")
    batches = [fresh.batch(i).inputs for i in (0, 1, 99, 100, 101)]
    assert batches[0].shape == (3, 8, 6)
    for one, other in itertools.combinations(batches, 2):
        assert not torch.equal(one, other)
    assert not torch.equal(batches[0][0], batches[0][1])


# --- the distribution ---


def brute_force(length: int, distractors: int) -> dict[tuple[int, ...], Fraction]:
    """Every choice of pair, positions and digits, each with its probability, added up by row."""
    total: dict[tuple[int, ...], Fraction] = {}
    choices = list(itertools.combinations(range(2, length), distractors))
    each = Fraction(1, 100 * len(choices) * 10**distractors)
    for a, b, positions in itertools.product(range(10), range(10), choices):
        for digits in itertools.product(range(10), repeat=distractors):
            row = [a, b] + [0] * (length - 2)
            for position, digit in zip(positions, digits, strict=True):
                row[position] = digit
            total[tuple(row)] = total.get(tuple(row), Fraction(0)) + each
    return total


@pytest.mark.parametrize(("length", "distractors"), [(5, 1), (3, 1), (5, 2), (4, 2), (6, 0)])
def test_enumeration_equals_brute_force(length: int, distractors: int):
    rows = enumerate_distribution(length, distractors)
    expected = brute_force(length, distractors)
    assert len(rows) == len(expected) == distinct_inputs(length, distractors)
    assert rows.targets.shape == rows.weights.shape == (len(rows), 1)
    columns = rows.inputs.tolist(), rows.targets[:, 0].tolist(), rows.weights[:, 0].tolist()
    for row, target, weight in zip(*columns, strict=True):
        assert weight == pytest.approx(float(expected[tuple(row)]), rel=1e-12)
        assert target == row[0] + row[1]


def test_the_books_lengths_have_the_known_number_of_inputs():
    assert distinct_inputs(10, 1) == 7300
    assert distinct_inputs(35, 1) == 29800
    weights = enumerate_distribution(10, 1).weights
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)


def test_sampling_follows_the_distribution():
    rows = sample(200_000, 4, 1, torch.Generator().manual_seed(0))
    inputs = rows.inputs
    counts = Counter(map(tuple, inputs[:, 2:].tolist()))
    expected: dict[tuple[int, ...], float] = {}
    for row, probability in brute_force(4, 1).items():
        expected[row[2:]] = expected.get(row[2:], 0.0) + float(probability)
    assert counts.keys() == expected.keys()
    for tail, probability in expected.items():
        sigma = math.sqrt(probability * (1 - probability) / 200_000)
        assert abs(counts[tail] / 200_000 - probability) < 5 * sigma
    assert torch.equal(rows.targets, (inputs[:, 0] + inputs[:, 1])[:, None])


@pytest.mark.parametrize("distractors", [0, 2, 4])
def test_sampling_uses_as_many_positions_as_asked(distractors: int):
    inputs = sample(5000, 6, distractors, torch.Generator().manual_seed(0)).inputs
    nonzero = (inputs[:, 2:] > 0).sum(1)
    assert int(nonzero.max()) == distractors
    assert float(nonzero.double().mean()) == pytest.approx(0.9 * distractors, abs=0.05)


def test_above_the_limit_a_fixed_sample_is_used_and_says_so(tmp_path: Path):
    small, large = task(tmp_path, exact_limit=3700 * 6), task(tmp_path, exact_limit=3700 * 6 - 1)
    assert small.distribution().source == "all 3700 inputs"
    assert large.distribution().source == "50000 sampled rows"
    other = task(tmp_path, exact_limit=3700 * 6 - 1, data_seed=5, seeds=[3])
    assert torch.equal(large.distribution().inputs, other.distribution().inputs)
    assert torch.equal(large.distribution().weights, torch.full((50_000, 1), 1 / 50_000, dtype=torch.float64))


def test_of_equal_numbers_the_first_places_are_chosen(monkeypatch: pytest.MonkeyPatch):
    """Of 24-bit numbers two may be equal; which of them a sort puts first is not for the processor to say."""
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.zeros(shape))
    inputs = sample(50, 40, 3, torch.Generator().manual_seed(0)).inputs
    assert inputs[:, 2:5].any(0).all()
    assert not inputs[:, 5:].any()


def test_entropy_and_chance_of_the_digit_sum():
    counts = [min(s, 18 - s) + 1 for s in range(19)]
    expected = -sum(c / 100 * math.log2(c / 100) for c in counts)
    entropy, chance = target_statistics(enumerate_distribution(7, 1))
    assert entropy == pytest.approx(expected, rel=1e-9)
    assert chance == pytest.approx(0.1)


def test_rows_without_weights_count_the_same():
    rows = Rows(torch.zeros(4, 1), torch.tensor([[0], [0], [0], [2]]))
    entropy, chance = target_statistics(rows)
    assert entropy == pytest.approx(-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))
    assert chance == pytest.approx(0.75)


# --- what the record says ---


def test_a_model_is_told_the_sizes(tmp_path: Path):
    own = task(tmp_path, distractors=2)
    assert own.interface == Interface(inputs=10, outputs=19, every_step=False, longest=6)
    rows = own.rows("test")
    assert (rows.inputs.shape, rows.targets.shape, rows.source) == ((100, 6), (100, 1), "test.txt")
    assert own.trained_on == "length 6"
    assert own.panels == ("task.sampling",)


def test_every_possible_input_is_scored_too(tmp_path: Path):
    own = task(tmp_path)
    assert list(own.splits()) == ["dev", "test", "exact"]
    assert own.splits()["exact"] is own.distribution()
    assert own.shown() == {"dev_accuracy": True, "test_accuracy": True, "exact_accuracy": True}
    assert own.running_text()[0].tolist() == []


def test_floors_and_bits_are_those_of_knowing_nothing_or_a_digit(tmp_path: Path):
    own = task(tmp_path)
    entropy = math.log2(100) - 2 / 100 * sum(n * math.log2(n) for n in range(1, 10)) - math.log2(10) / 10
    about = own.about()
    assert about.pop("target_entropy_bits") == pytest.approx(entropy, rel=1e-12)
    assert about.pop("chance_accuracy") == pytest.approx(0.1, rel=1e-12)
    sizes = {"train_rows": 300, "dev_rows": 100, "test_rows": 100}
    assert about == {**sizes, "exact_over": "all 3700 inputs"}
    assert own.floors() == {
        "accuracy": {"always the likeliest answer": pytest.approx(0.1)},
        "loss": {"knowing nothing": pytest.approx(2.794, abs=5e-4), "knowing one digit": math.log(10)},
    }
    scores = {"exact_loss": [0.0, math.log(10), own.floors()["loss"]["knowing nothing"]], "test_loss": [9.0] * 3}
    retained = own.more_scores(scores)
    assert retained == {"retained_bits": pytest.approx([entropy, entropy - math.log2(10), 0], abs=1e-12)}


@pytest.mark.parametrize(
    ("length", "distractors", "complaint"),
    [
        (3, 1, None),
        (3, 0, None),
        (3, "all", None),
        (6, 4, None),
        (2, 0, "length=2 is too small; it must be at least 3"),
        (3, 2, "task.distractors=2 is not possible at length=3; allowed: 0 to 1 (the positions after the second), or"),
        (6, -1, "task.distractors=-1 is not possible at length=6; allowed: 0 to 4 "),
        (6, "some", "task.distractors=some is not possible at length=6; allowed: 0 to 4 "),
        (6, 1.0, "task.distractors=1.0 is not possible"),
        (6, True, "task.distractors=True is not possible"),
    ],
)
def test_distractors_need_room(length: int, distractors: object, complaint: str | None):
    settings = {"digits": 2, "distractors": distractors, "sampling": "fixed", "shuffle": False}
    found = DigitSum.rule(OmegaConf.create({"length": length, "task": settings}))
    assert found is None if complaint is None else found.startswith(complaint)


def test_the_rules_of_sampling_hold_too():
    settings = {"digits": 2, "distractors": 1, "sampling": "fresh", "shuffle": True}
    assert "task.sampling=fresh" in DigitSum.rule(OmegaConf.create({"length": 5, "task": settings}))


# --- what a person reads ---


@pytest.fixture
def reading() -> DigitReading:
    return DigitSum.reading(OmegaConf.create({"length": 7, "task": {"asked": "first", "digits": 2}}), {})


def test_digits_are_written_as_such(reading: DigitReading):
    sequence = torch.tensor([6, 7, 0, 9])
    assert (reading.labels(sequence), reading.write(sequence)) == (["6", "7", "0", "9"], "6 7 0 9")
    assert (reading.symbols, reading.words) == ("0123456789", "digits")
    assert reading.outputs == tuple(map(str, range(19)))
    assert (reading.token, reading.singled_out, reading.place) == ("digit", "distractor", "time_step")


@pytest.mark.parametrize(
    ("length", "digits"), [(10, [6, 7, 0, 0, 1, 0, 0, 0, 0, 0]), (5, [6, 7, 0, 0, 1]), (4, [6, 7, 0, 0])]
)
def test_the_example_is_the_books_cut_or_filled(length: int, digits: list[int]):
    reading = DigitReading(length)
    assert reading.example().tolist() == digits
    assert reading.beginning == "".join(map(str, digits))
    assert reading.remark(reading.example()) is None
    assert reading.steps == length


def test_another_length_is_remarked(reading: DigitReading):
    assert reading.remark(torch.tensor([6, 7, 0])) == ("the sequence has 3 digits; this model was trained on length 7")


def test_each_digit_has_a_kind(reading: DigitReading):
    kinds = reading.token_kinds(torch.tensor([[0, 7, 0, 3], [1, 0, 5, 0]]))
    assert [[reading.kinds[k] for k in row] for row in kinds.tolist()] == [
        ["first digit", "second digit", "zero", "distractor"],
        ["first digit", "second digit", "distractor", "zero"],
    ]
    assert reading.token_places(torch.tensor([[0, 7, 0, 3]])) is None


def test_the_verdict_names_answer_probability_and_truth(reading: DigitReading):
    probabilities = np.zeros((1, 19))
    probabilities[0, [13, 4]] = 0.75, 0.25
    right, wrong = torch.tensor([6, 7, 0]), torch.tensor([4, 0, 9])
    assert reading.describe(right, probabilities) == "answer 13 with probability 0.750; truth 13 (right)"
    assert reading.describe(wrong, probabilities) == (
        "answer 13 with probability 0.750; truth 4 with probability 0.250 (wrong)"
    )
    assert reading.costs(right, probabilities) is None


@pytest.mark.parametrize(
    "given",
    ["[0, 9,1,2,3]", "0,9,1,2,3", "09123", "0 9 1\t2 3", "09 123", "０９１２３", "0，9、1,2，3", "［0，9，1，2，3］"],
)
def test_digits_are_read_as_people_and_programs_write_them(reading: DigitReading, given: str):
    assert reading.read(given).tolist() == [0, 9, 1, 2, 3]
    assert reading.read(given).dtype == torch.long


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("[6,a]", "sequence: 'a' is not a digit; give digits from 0 to 9, as sequence=6700100000"),
        ("[6,10]", "sequence: '10' is not a digit"),
        ("6,10", "sequence: '10' is not a digit"),
        ("[6,,7]", "sequence: '' is not a digit"),
        ("[6,-1]", "sequence: '-1' is not a digit"),
        ("[6,true]", "sequence: 'true' is not a digit"),
        ("[6,1.5]", "sequence: '1.5' is not a digit"),
        ("6.7", r"sequence: '\.' is not a digit"),
        ("6٧", "sequence: '٧' is not a digit"),
        ("[6]", r"sequence=\[6\] is too short"),
        ("[]", r"sequence=\[\] is too short"),
        ("6", "sequence=6 is too short"),
        ("none", "sequence: 'n' is not a digit"),
    ],
)
def test_a_sequence_that_cannot_be_is_named(reading: DigitReading, given: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        reading.read(given)
