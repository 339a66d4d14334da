import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import KINDS, Command, classifier, python, randomise
from matplotlib.figure import Figure

from memexp.errors import ConfigError, RecordError
from memexp.figures import heatmaps
from memexp.gates import command as gates
from memexp.models.cells import LSTM
from memexp.models.networks import SequenceClassifier
from memexp.results import record
from memexp.tasks.char_lm import CharLM
from memexp.tasks.digit_sum import DigitSum, enumerate_distribution, read_digits
from memexp.tasks.task import Rows
from memexp.training import checkpoints

PARTS = ("input_gate", "forget_gate", "output_gate", "candidate", "cell_state", "hidden_state")
RUN = "epochs=1,length=4,model=lstm,seeds=2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates")
    result = python("memexp", "length=4", "epochs=1", "seeds=2", folder=folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def run_folder(trained: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(trained)


@pytest.fixture
def command(in_process: Command) -> Command:
    """Run the command in this process; return what it prints, or its complaint."""
    return partial(in_process, gates.main)


def random_model(kind: str, **shape: object) -> SequenceClassifier:
    """One seed, float64, weights from N(0, 1)."""
    model = classifier(KINDS[kind], [0], classes=19, embedding_size=2, **{"widths": [3], **shape})
    randomise(model, torch.Generator().manual_seed(5), scale=1)
    return model


# --- one sequence ---


def test_arrays_are_those_of_the_first_row_of_the_first_seed():
    part = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)  # [S, B, L, D]
    assert gates.as_arrays({"cell_state": part})["cell_state"].tolist() == part[0, 0].tolist()


def test_zero_weights_leave_gates_half_open_and_cells_empty(run_folder: Path, command: Command):
    weights = checkpoints.load(run_folder / record.BEST, "weights")["weights"]
    checkpoints.save(run_folder / record.BEST, {"weights": {k: torch.zeros_like(v) for k, v in weights.items()}})
    shown = command("length=4", "averages=false", "sequence=[1,2,0,9]")
    assert "answer 0 with probability 0.053; truth 3 with probability 0.053 (wrong)" in shown
    with np.load(f"images/book/gates/{RUN},seed=0/1209/trace.npz") as arrays:
        assert set(arrays) == {*PARTS, "tokens", "probabilities"}
        assert arrays["tokens"].tolist() == [1, 2, 0, 9]
        assert arrays["probabilities"] == pytest.approx(1 / 19)
        for name in PARTS:
            assert arrays[name].shape == (4, 32)
            assert (arrays[name] == (0.5 if name.endswith("_gate") else 0)).all()


def test_the_verdict_names_answer_probability_and_truth():
    probabilities = np.zeros(19)
    probabilities[[13, 4]] = 0.75, 0.25
    assert gates.DIGITS.describe([6, 7, 0], probabilities) == "answer 13 with probability 0.750; truth 13 (right)"
    assert gates.DIGITS.describe([4, 0, 9], probabilities) == (
        "answer 13 with probability 0.750; truth 4 with probability 0.250 (wrong)"
    )


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("[6,a]", r"sequence: 'a' is not a digit; give digits from 0 to 9, as sequence=\[6,7,0,0,1,0\]"),
        ("[6,10]", "sequence: 10 is not a digit"),
        ("[6,-1]", "sequence: -1 is not a digit"),
        ("[6,true]", "sequence: True is not a digit"),
        ("[6,1.5]", "sequence: 1.5 is not a digit"),
        ("[6]", r"sequence=\[6\] is too short"),
        ("[]", r"sequence=\[\] is too short"),
        ("6700", "sequence=6700 is not a list"),
        ("[6,7", r"sequence=\[6,7 is not a list"),
    ],
)
def test_a_sequence_that_cannot_be_is_named(given: str, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        read_digits(given)


def test_without_a_sequence_the_books_is_cut_or_filled(tmp_path: Path):
    ten, four = (DigitSum(length, [0], 8, tmp_path) for length in (10, 4))
    assert ten.read_sequence("") == ten.read_sequence("null") == [6, 7, 0, 0, 1, 0, 0, 0, 0, 0]
    assert four.read_sequence("") == [6, 7, 0, 0]
    assert four.read_sequence("[0, 9,1,2,3]") == [0, 9, 1, 2, 3]


# --- averages ---


def test_each_token_has_a_kind():
    kinds = gates.DIGITS.token_kinds(torch.tensor([[0, 7, 0, 3], [1, 0, 5, 0]]))
    assert [[gates.DIGITS.kinds[k] for k in row] for row in kinds.tolist()] == [
        ["first digit", "second digit", "zero", "distractor"],
        ["first digit", "second digit", "distractor", "zero"],
    ]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("SRN", {}), ("LSTM", {}), ("GRU reset before", {"widths": [2, 3], "bidirectional": True})],
)
def test_averages_equal_brute_force(kind: str, shape: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "CHUNK", 4 * 3 * 700)  # 1,900 inputs in three chunks, the last one smaller
    model, rows = random_model(kind, **shape), enumerate_distribution(4, 1)
    means, saturation = gates.averages(model, rows)
    trace = {name: part[0].numpy() for name, part in model.trace(rows.inputs[None]).items()}  # [B, L, D]
    assert rows.weights is not None
    sums: dict[tuple[str, int, str], np.ndarray] = {}
    mass: dict[tuple[int, str], float] = {}
    under: dict[str, np.ndarray] = {}
    for place, (row, weight) in enumerate(zip(rows.inputs.tolist(), rows.weights.tolist(), strict=True)):
        kinds = ["first digit", "second digit", *("distractor" if digit else "zero" for digit in row[2:])]
        for step, kind in enumerate(kinds, 1):
            mass[step, kind] = mass.get((step, kind), 0) + weight
        for name, values in ((name, part[place]) for name, part in trace.items()):
            under[name] = under.get(name, 0) + weight * (abs(values) < 0.1).mean(0)
            for step, kind in enumerate(kinds, 1):
                both = np.stack([values[step - 1], abs(values[step - 1])])
                sums[name, step, kind] = sums.get((name, step, kind), 0) + weight * both
    assert len(means) == sum(total.shape[1] for total in sums.values())
    for (name, step, kind), total in sums.items():
        own = means[(means["part"] == name) & (means["time_step"] == step) & (means["kind"] == kind)]
        assert own["unit"].tolist() == [*range(total.shape[1])]
        assert own["probability"].unique().tolist() == pytest.approx([mass[step, kind]])
        np.testing.assert_allclose(own[["mean", "mean_size"]].to_numpy().T, total / mass[step, kind], rtol=1e-9)
    assert saturation["part"].unique().tolist() == list(trace)
    for name, share in under.items():
        assert saturation.loc[saturation["part"] == name, "share_under_0.1"].tolist() == pytest.approx(share.tolist())


def test_saturation_of_gates_that_are_known():
    """Unit 0 of the input gate is open at zeros only, unit 1 always half open, unit 2 always closed."""
    model = classifier(LSTM, [0], embedding_size=1, widths=[3], initialiser="zeros")
    with torch.no_grad():
        model.embedding.zero_()
        model.embedding[0, 1:] = -5
        model.cell.W[0, 0, 0, 0] = 1
        model.cell.b[0, 0] = torch.tensor([5.0, 0, -5])
    _, saturation = gates.averages(model, enumerate_distribution(4, 1), ["input_gate"])
    # a token is 0 with probability 0.1 at the first two steps, and 1 - 0.9 / 2 at the others
    assert saturation["share_over_0.9"].tolist() == pytest.approx([(0.1 + 0.1 + 0.55 + 0.55) / 4, 0, 0])
    assert saturation["share_under_0.1"].tolist() == pytest.approx([0, 0, 1])


def test_averages_need_probabilities():
    with pytest.raises(ValueError, match="no weights"):
        gates.averages(random_model("SRN"), Rows(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2)))


# --- runs ---


def test_a_run_is_rebuilt_seed_by_seed(run_folder: Path):
    run = gates.load_run(run_folder)
    weights = checkpoints.load(run_folder / record.BEST, "weights")["weights"]
    assert (run.study, run.name, run.config.length) == ("book", RUN, 4)
    for name, parameter in run.best(1).named_parameters():
        assert torch.equal(parameter[0], weights[name][1])
    fresh = classifier(LSTM, [0, 1], classes=19, embedding_size=32, widths=[32])
    for own, both in zip(run.untrained(1).parameters(), fresh.parameters(), strict=True):
        assert torch.equal(own[0], both[1])


def test_everything_is_drawn_and_written(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(trained)
    result = python("memexp.gates", "length=4", "seed=1", "order=time", "images_dir=pictures", folder=trained)
    assert (result.returncode, result.stderr) == (0, "")
    folder = trained / f"pictures/book/gates/{RUN},seed=1"
    names = {"averages.png", "averages.pdf", "averages.csv", "saturation.csv", "6700"}
    assert {path.name for path in folder.iterdir()} == names
    own = {"trace.npz", *(f"{name}.{kind}" for name in ("sheet", *PARTS) for kind in ("png", "pdf"))}
    assert {path.name for path in (folder / "6700").iterdir()} == own
    shown = result.stdout.splitlines()
    assert shown[0].startswith("LSTM trained on length 4, seed 1 (book): answer ")
    assert len(shown) == 3
    assert all(line.startswith(f"written: pictures/book/gates/{RUN},seed=1/") for line in shown[1:])
    means = pd.read_csv(folder / "averages.csv")
    assert list(means) == ["training", "part", "time_step", "kind", "unit", "probability", "mean", "mean_size"]
    assert len(means) == 2 * len(PARTS) * (1 + 1 + 2 + 2) * 32
    saturation = pd.read_csv(folder / "saturation.csv")
    assert list(saturation) == ["training", "part", "unit", "share_under_0.1", "share_over_0.9"]
    assert len(saturation) == 2 * len(PARTS) * 32
    untrained = gates.load_run(trained / "outputs/book" / RUN).untrained(1)
    before, _ = gates.averages(untrained, enumerate_distribution(4, 1), ["forget_gate"])
    own = means[(means["training"] == "before") & (means["part"] == "forget_gate")]
    assert own["mean"].tolist() == pytest.approx(before["mean"].tolist(), rel=1e-5)


def test_stacked_layers_and_both_directions_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each part's units in the order of its own cell's; the layers have different numbers of them."""
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(gates, "save", lambda figure, path: curves.update({path.name: figure}))
    model = random_model("GRU reset after", widths=[2, 3], bidirectional=True)
    gates.show_sequence(model, [6, 7, 0, 3], "GRU", gates.Options(order="time"), tmp_path)
    whole = gates.as_arrays(model.trace(torch.tensor([[[6, 7, 0, 3]]])))
    orders = {
        name: heatmaps.units_by_time(
            whole[name.replace(name.split(".")[-1], "hidden_state")][:: -1 if "backwards" in name else 1]
        ).tolist()
        for name in whole
    }
    assert {len(order) for order in orders.values()} == {2, 3}
    assert {tuple(order) for order in orders.values()} - {(0, 1), (0, 1, 2)}
    shown = {name: [int(label.get_text()) for label in ax.get_yticklabels()]
             for name, ax in zip(whole, figures["sheet"].axes, strict=False)}  # fmt: skip
    assert shown == orders
    for name, order in orders.items():
        assert [int(label.get_text()) for label in figures[name].axes[0].get_yticklabels()] == order


def test_another_length_is_allowed_with_a_warning(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = [f"run={run_folder}", "seed=1", "sequence=[1,2,0,0,0,3]", "names=[cell_state]", "averages=false"]
    monkeypatch.setattr(sys, "argv", ["gates", *arguments])
    gates.main()
    warning = "memexp.gates: warning: the sequence has 6 digits; this model was trained on length 4\n"
    assert capsys.readouterr().err == warning
    folder = Path(f"images/book/gates/{RUN},seed=1/120003")
    assert {path.stem for path in folder.iterdir()} == {"sheet", "cell_state", "trace"}
    with np.load(folder / "trace.npz") as arrays:
        assert arrays["cell_state"].shape == (6, 32)


@pytest.mark.parametrize(("update", "warned"), [(-1, True), (0, True), (1, False)])
def test_weights_from_before_training_are_warned_of(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], update: int, warned: bool
):
    path = run_folder / record.SUMMARY
    summary = json.loads(path.read_text())
    summary["seeds"][1]["best_iteration"] = update
    path.write_text(json.dumps(summary))
    assert gates.load_run(run_folder).updates[1] == update
    monkeypatch.setattr(sys, "argv", ["gates", "length=4", "seed=1", "averages=false", "names=[cell_state]"])
    gates.main()
    warning = "memexp.gates: warning: the best weights of seed 1 are those before training; before and after are the "
    assert capsys.readouterr().err == (f"{warning}same\n" if warned else "")


def test_a_sequence_of_any_length_has_a_folder_of_its_own():
    assert gates.folder_name([1, 2, 0]) == "120"
    one, other = gates.folder_name([1] * 1000), gates.folder_name([1] * 999 + [2])
    assert one != other
    assert len(one) < 100


def test_averages_of_chosen_parts_only(run_folder: Path, command: Command):
    command("length=4", "names=[forget_gate]")
    folder = Path(f"images/book/gates/{RUN},seed=0")
    assert set(pd.read_csv(folder / "averages.csv")["part"]) == {"forget_gate"}


# --- character language models ---

TEXT_PARTS = ("reset_gate", "update_gate", "candidate", "hidden_state")


@pytest.fixture(scope="module")
def trained_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    words = np.random.default_rng(0).choice(["the time", "traveller", "smiled round.", "It was", "the sea."], 2000)
    lines = "\n".join(" ".join(words[start : start + 4]) for start in range(0, len(words), 4))
    (folder / "own.txt").write_text(lines)
    settings = ("task.corpus=own.txt", "task.keep_newlines=true", "model.hidden_size=5", "epochs=1", "seeds=[3,1]")
    result = python("memexp", "task=char_lm", "model=gru", *settings, "images_dir=null", folder=folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def text_folder(trained_text: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(trained_text)


def test_a_text_is_drawn_and_written(trained_text: Path):
    """The only run of the study is taken, whatever its model; its characters are as they were typed."""
    arguments = ("study=char_lm", "seed=1", "sequence=the time traveller smiled round", "order=time")
    result = python("memexp.gates", *arguments, folder=trained_text)
    assert (result.returncode, result.stderr) == (0, "")
    (folder,) = (trained_text / "images/char_lm/gates").iterdir()
    assert folder.name.endswith(",seed=1")
    names = {"averages", "saturation", "units", "units_in_text", "the_time_traveller_smiled_round"}
    assert {path.stem for path in folder.iterdir()} == names
    own = {"trace.npz", *(f"{name}.{kind}" for name in ("sheet", *TEXT_PARTS) for kind in ("png", "pdf"))}
    assert {path.name for path in (folder / "the_time_traveller_smiled_round").iterdir()} == own
    with np.load(folder / "the_time_traveller_smiled_round" / "trace.npz") as arrays:
        assert arrays["hidden_state"].shape == (31, 5)
        assert arrays["probabilities"].shape == (31, 19)
        np.testing.assert_allclose(arrays["probabilities"].sum(1), 1, rtol=1e-5)
    shown = result.stdout.splitlines()
    assert shown[0].startswith("GRU trained on the text own (17,684 characters), seed 1 (char_lm): next: ")
    assert re.search(r"; \d\.\d\d bits per character$", shown[0])
    features = ["position in line", "position in word", "position in sentence", "space", "space next", "newline",
                "newline next", "punctuation", "punctuation next", "upper case", "vowel"]  # fmt: skip
    assert [line.partition(":")[0] for line in shown[3:-1]] == features
    means = pd.read_csv(folder / "averages.csv")
    assert list(means) == ["training", "part", "letter_of_the_word", "kind", "unit", "probability", "mean", "mean_size"]
    assert set(means["kind"]) == {"first letter", "inner letter", "space", "newline", "punctuation"}
    table = pd.read_csv(folder / "units.csv")
    columns = ["training", "feature", "part", "unit", "r", "threshold", "p"]
    assert list(table) == columns
    assert len(table) == 2 * len(features) * len(TEXT_PARTS) * 5


def test_averages_over_a_text_equal_brute_force(text_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "CHUNK", 5 * 199 * 2)  # two rows at once
    run = gates.load_run(text_folder)
    model, rows = run.best(3), run.task.distribution()
    assert len(rows) > 2
    means, saturation = gates.averages(model, rows, ["hidden_state", "update_gate"], run.task)
    kinds, places = run.task.token_kinds(rows.inputs), run.task.token_places(rows.inputs)
    for name, part in model.trace(rows.inputs[None], ["hidden_state", "update_gate"]).items():
        values = part[0].double()  # [N, L, D]
        for place, kind in ((0, "space"), (0, "newline"), (1, "first letter"), (4, "inner letter")):
            chosen = (kinds == run.task.kinds.index(kind)) & (places == place)
            own = means[(means["part"] == name) & (means["letter_of_the_word"] == place) & (means["kind"] == kind)]
            assert own["unit"].tolist() == [*range(5)]
            assert own["probability"].to_numpy() == pytest.approx(float(chosen.double().mean()))
            assert own["mean"].to_numpy() == pytest.approx(values[chosen].mean(0).numpy())
            assert own["mean_size"].to_numpy() == pytest.approx(values[chosen].abs().mean(0).numpy())
        under = saturation.loc[saturation["part"] == name, "share_under_0.1"]
        assert under.to_numpy() == pytest.approx((values.abs() < 0.1).double().mean((0, 1)).numpy())
    total = means.loc[means["part"] == "hidden_state"].groupby("unit")["probability"].sum()
    assert total.to_numpy() == pytest.approx(1)


def test_averages_over_a_text_say_which_letters_are_together(tmp_path: Path):
    own = Path(tmp_path / "own.txt")
    for longest, source in ((11, "2 rows of 279 characters, held out"), (12, "(letter 12: and all beyond)")):
        own.write_text(f"{'a' * longest} b " * 400)
        assert CharLM([0], 2, tmp_path, str(own), held_out=0.2).distribution().source.endswith(source)


def test_units_are_followed_through_the_whole_text_in_one_row(text_folder: Path, command: Command):
    shown = command("study=char_lm", "seed=3", "averages=false", "names=[hidden_state]", "images_dir=pictures")
    (path,) = Path("pictures").glob("char_lm/gates/*/units.csv")
    table = pd.read_csv(path).set_index(["training", "feature", "unit"]).sort_index()
    run = gates.load_run(text_folder)
    text = run.task.texts["test"]
    codes = torch.tensor([run.task.vocabulary.index(character) for character in text])
    for training, model in (("before", run.untrained(3)), ("after", run.best(3))):
        hidden = model.trace(codes[None, None], ["hidden_state"])["hidden_state"][0, 0]
        spaces = np.array([character == " " for character in text])
        for unit in range(5):
            r = np.corrcoef(hidden[100:, unit], spaces[100:])[0, 1]
            assert table.loc[(training, "space", unit), "r"] == pytest.approx(r, abs=1e-5)
    best = table.loc[("after", "space"), "r"]
    unit = best.abs().idxmax()
    assert f"space: unit {unit} of hidden_state, r = {best[unit]:.2f} (" in shown


def test_a_text_without_anything_to_follow_is_drawn_all_the_same(
    text_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    """No unit above chance: no passage is drawn. No feature, or a short text: a line says so, and nothing is drawn."""
    follow = gates.units.follow
    monkeypatch.setattr(gates.units, "follow", lambda *both: follow(*both).assign(threshold=2.0))
    shown = command("study=char_lm", "seed=3", "averages=false", "names=[candidate]", "images_dir=pictures")
    assert "not above chance 2.00" in shown
    (folder,) = Path("pictures/char_lm/gates").iterdir()
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"units.csv", "units.png", "units.pdf"}
    shutil.rmtree("pictures")
    for length, said in (
        (600, "units: the test text is the same everywhere, so there is nothing to follow"),
        (499, "units: the test text is too short, it has 499 characters; 500 are needed: "
              "train on a longer text, or with a larger task.held_out"),
    ):  # fmt: skip
        text = torch.ones(length, dtype=torch.long), {"space": np.ones(length)}
        monkeypatch.setattr(CharLM, "running_text", lambda self, text=text: text)
        shown = command("study=char_lm", "seed=3", "averages=false", "images_dir=pictures").splitlines()
        assert (len(shown), shown[2]) == (3, said)
        (folder,) = Path("pictures/char_lm/gates").iterdir()
        assert not [path for path in folder.iterdir() if path.is_file()]


def test_a_unit_is_shown_once_with_all_that_it_follows(
    text_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    """Its values begin, like the passage, with the first line that begins after the first 100 characters."""
    figures: dict[str, tuple[object, ...]] = {}
    monkeypatch.setattr(gates.unit_figures, "units_in_text", lambda *given: curves.update(text=given) or Figure())

    def follow(traces: object, features: object) -> pd.DataFrame:
        r = 0.9 if not calls else 0.95
        calls.append(traces)
        rows = [
            ("space", "hidden_state", 2, r),
            ("vowel", "hidden_state", 2, 2 * r - 1),
            ("space", "candidate", 1, 0.1),
        ]
        return pd.DataFrame(rows, columns=["feature", "part", "unit", "r"]).assign(threshold=0.3, p=0.5)

    calls: list[object] = []
    monkeypatch.setattr(gates.units, "follow", follow)
    monkeypatch.setattr(gates.unit_figures, "units_by_feature", lambda *given: Figure())
    command("study=char_lm", "seed=3", "averages=false", "images_dir=pictures")
    values, names, labels, _ = figures["text"]
    assert names == ["unit 2 of hidden_state: space (r = 0.95), vowel (r = 0.90)"]
    run = gates.load_run(text_folder)
    text = run.task.texts["test"]
    start = text.index("\n", 100) + 1
    assert "".join(labels) == text[start:].replace("\n", "↵").replace(" ", "␣")
    tokens = torch.tensor([[[run.task.vocabulary.index(character) for character in text]]])
    hidden = run.best(3).trace(tokens)["hidden_state"][0, 0, 100:, 2].numpy()
    expected = (hidden - hidden.mean()) / hidden.std()
    np.testing.assert_allclose(values[:, 0], expected[start - 100 :], atol=1e-4)


@pytest.mark.parametrize(("labels", "start"), [("ab␣cd↵ef␣ghijkl", 6), ("ab␣cdefgh", 3), ("abcdef␣gh", 0)])
def test_a_passage_begins_with_a_line_or_else_a_word(labels: str, start: int):
    assert gates._start_of_line(list(labels)) == start


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (["t", "h", "e", "␣", "分"], "the_分"),
        (["a", "↵", "/"], "a__-"),
        (["a", "_", "b"], "a_b-"),
        (["分"] * 60, "分" * 60 + "-"),
    ],
)
def test_the_folder_of_a_text_is_a_possible_name(tokens: list[str], name: str):
    own = gates.folder_name(tokens)
    assert own.startswith(name.partition("-")[0])
    assert ("-" in own) == ("-" in name)
    assert len(own.encode()) < 255


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["seed=1", "sequence=the times?"], "the text 'the times?' has characters the model does not know: ['?']; it"),
        (["model=lstm"], "outputs/char_lm has no finished run with model=lstm; finished: "),
        (["length=10"], "outputs/char_lm has no finished run with model=lstm length=10; finished: "),
        ([], "seed=0: "),
    ],
)
def test_a_mistake_about_a_text_is_named(text_folder: Path, command: Command, arguments: list[str], complaint: str):
    shown = command("study=char_lm", *arguments)
    assert shown.startswith("memexp.gates: ")
    assert complaint in shown
    assert "\n" not in shown


def test_another_text_than_the_run_was_trained_on_is_refused(text_folder: Path, command: Command):
    """The alphabet is the same; a mark of the order of batches or of initial weights would not matter."""
    config = json.loads((text_folder / record.CONFIG).read_text())
    for mark in ("/order", "+0123abcd"):
        (text_folder / record.CONFIG).write_text(json.dumps({**config, "data": config["data"] + mark}))
        gates.load_run(text_folder)
    Path("own.txt").write_text(Path("own.txt").read_text().replace("traveller", "revellart"))
    assert command("study=char_lm", "seed=1") == (
        f"memexp.gates: the text own (17,684 characters) is another one than {text_folder} was trained on; "
        "bring that back, or train anew"
    )


def test_other_digits_than_the_run_was_trained_on_are_refused(run_folder: Path, command: Command):
    config = json.loads((run_folder / record.CONFIG).read_text())
    (run_folder / record.CONFIG).write_text(json.dumps({**config, "data": "0" * 64}))
    complaint = f"memexp.gates: the data of length 4 is another one than {run_folder} was trained on; bring that back"
    assert command("length=4").startswith(complaint)


def test_one_of_several_texts_is_named_by_its_model(text_folder: Path, command: Command):
    other = shutil.copytree(text_folder, text_folder.with_name("other"))
    shown = command("study=char_lm", "model=gru")
    assert "2 runs of outputs/char_lm have model=gru; give one as run=...: " in shown
    assert str(other) in shown


# --- bad input ---


def test_a_complaint_is_one_line_and_the_exit_code_not_0(trained: Path):
    result = python("memexp.gates", "study=bok", "length=4", folder=trained)
    assert result.returncode == 1
    assert result.stderr == "memexp.gates: study 'bok' does not exist (did you mean book?); there are: book\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["outputs_dir=nowhere"], "study 'book' does not exist; nowhere has no study yet"),
        (["length=5"], f"outputs/book has no finished run with model=lstm length=5; finished: {RUN}"),
        (["length=4", "model=srn"], f"no finished run with model=srn length=4; finished: {RUN}"),
        (["length=4", "seed=2"], f"seed=2: {RUN} has no such seed; it has 0, 1"),
        (["length=4", "sequence=[6,7,x]"], "sequence: 'x' is not a digit"),
        (["length=4", "names=[reset_gate]"], "LSTM has no reset_gate; it has input_gate, forget_gate"),
        (["length=4", "order=up"], "order=up is unknown; allowed: units, time"),
        (["run=outputs/none"], "run=outputs/none: there is no such folder"),
        (["run=outputs/book"], "outputs/book is not a finished run"),
    ],
)
def test_a_mistake_is_named(run_folder: Path, command: Command, arguments: list[str], complaint: str):
    shown = command(*arguments)
    assert shown.startswith("memexp.gates: ")
    assert complaint in shown
    assert "\n" not in shown


def test_several_runs_that_fit_are_listed(run_folder: Path, command: Command):
    other = shutil.copytree(run_folder, run_folder.with_name("other"))
    shown = command("length=4")
    assert "2 runs of outputs/book have model=lstm length=4; give one as run=...: " in shown
    assert str(run_folder) in shown
    assert str(other) in shown


def test_an_unwritable_images_folder(run_folder: Path, command: Command):
    Path("images").write_text("a file")
    assert "cannot write images/book/gates/" in command("length=4")


def test_an_unfinished_run(run_folder: Path, command: Command):
    (run_folder / record.SUMMARY).unlink()
    assert f"finished: none; without a record: {RUN}: not finished" in command("length=4")
    with pytest.raises(RecordError, match="not a finished run; give the command that started it again"):
        gates.load_run(run_folder)


def test_a_damaged_record(run_folder: Path, command: Command):
    path = run_folder / record.SUMMARY
    summary = json.loads(path.read_text())
    for key, value, complaint in (
        ("_target_", "memexp.models.None", " is damaged"),
        ("embedding_size", "many", " is damaged"),
        ("hidden_size", "many", ": model.hidden_size=many is not possible"),
    ):
        spoilt = {**summary["config"]["model"], key: value}
        path.write_text(json.dumps({**summary, "config": {**summary["config"], "model": spoilt}}))
        assert f"{path}{complaint}" in command("length=4")
    path.write_text("{")
    assert "summary.json is damaged" in command("length=4")


def test_a_missing_a_truncated_and_a_foreign_checkpoint(run_folder: Path, command: Command):
    path = run_folder / record.BEST
    content = checkpoints.load(path, "weights")
    path.write_bytes(path.read_bytes()[:2000])
    assert f"{path} is truncated or not a checkpoint" in command("length=4")
    checkpoints.save(path, {"weights": {name: part[:1] for name, part in content["weights"].items()}})
    assert f"{path} is of another model: " in command("length=4")
    path.unlink()
    assert f"{path} is missing; delete the run's folder to train it anew" in command("length=4")
