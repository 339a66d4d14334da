import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import KINDS, Command, classifier, config_of, randomise, reseal, task_of, train_own_task
from matplotlib.figure import Figure

from memexp import experiment, trained
from memexp.figures import heatmaps
from memexp.gates import averages
from memexp.gates import command as gates
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.tasks.char_lm import CharLM
from memexp.tasks.digit_sum import DigitReading, DigitSum, enumerate_distribution
from memexp.tasks.task import Rows
from memexp.training import checkpoints

PARTS = ("input_gate", "forget_gate", "output_gate", "candidate", "cell_state", "hidden_state")
RUN = "epochs=1,length=4,model=lstm,seeds=2"


def train(folder: Path, run: str, *overrides: str) -> Path:
    """Do a run below a folder, as if the command had been given there; return the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment.run(config_of(*overrides), Path("outputs", run))
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("gates"), f"book/{RUN}", "length=4", "model=lstm", "epochs=1", "seeds=2")


@pytest.fixture
def run_folder(digits: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(digits)


@pytest.fixture
def command(in_process: Command) -> Command:
    """Run the command in this process; return what it prints, or its complaint."""
    return partial(in_process, gates.main)


def random_model(kind: str, **shape: object) -> SequenceModel:
    """One seed, float64, weights from N(0, 1)."""
    model = classifier(KINDS[kind], [0], classes=19, embedding_size=2, **{"widths": [3], **shape})
    randomise(model, torch.Generator().manual_seed(5), scale=1)
    return model


def run_of(model: SequenceModel) -> SimpleNamespace:
    """What drawing a sequence needs of a run, of a model of digit sums."""
    return SimpleNamespace(
        of=lambda seed: model,
        study="book",
        summary={"title": "GRU", "trained_on": "length 4"},
        reading=DigitReading(4),
        predictions=lambda own, sequence: DigitSum.loss.predictions(own(sequence[None, None]))[0, 0].detach(),
    )


# --- one sequence ---


def test_arrays_are_those_of_the_first_row_of_the_first_seed():
    part = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)  # [S, B, L, D]
    assert gates.as_arrays({"cell_state": part})["cell_state"].tolist() == part[0, 0].tolist()


@pytest.mark.slow
def test_zero_weights_leave_gates_half_open_and_cells_empty(run_folder: Path, command: Command):
    weights = checkpoints.load(run_folder / record.BEST, "weights")["weights"]
    checkpoints.save(run_folder / record.BEST, {"weights": {k: torch.zeros_like(v) for k, v in weights.items()}})
    reseal(run_folder)
    shown = command("length=4", "averages=false", "sequence=[1,2,0,9]")
    assert "answer 0 with probability 0.053; truth 3 with probability 0.053 (wrong)" in shown
    with np.load(f"images/book/gates/{RUN},seed=0/1209/trace.npz") as arrays:
        assert set(arrays) == {*PARTS, "sequence", "predictions"}
        assert arrays["sequence"].tolist() == [1, 2, 0, 9]
        assert arrays["predictions"].shape == (1, 19)
        assert arrays["predictions"] == pytest.approx(1 / 19)
        for name in PARTS:
            assert arrays[name].shape == (4, 32)
            assert (arrays[name] == (0.5 if name.endswith("_gate") else 0)).all()


# --- averages ---


def test_each_token_has_a_kind():
    reading = DigitReading(4)
    kinds = reading.token_kinds(torch.tensor([[0, 7, 0, 3], [1, 0, 5, 0]]))
    assert [[reading.kinds[k] for k in row] for row in kinds.tolist()] == [
        ["first digit", "second digit", "zero", "distractor"],
        ["first digit", "second digit", "distractor", "zero"],
    ]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("SRN", {}), ("LSTM", {}), ("GRU reset before", {"widths": [2, 3], "bidirectional": True})],
)
def test_averages_equal_brute_force(kind: str, shape: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(averages, "CHUNK", 4 * 3 * 700)  # 1,900 inputs in three chunks, the last one smaller
    model, rows = random_model(kind, **shape), enumerate_distribution(4, 1)
    means, saturation = averages.averages(model, rows, None, DigitReading(4))
    trace = {name: part[0].numpy() for name, part in model.trace(rows.inputs[None]).items()}  # [B, L, D]
    assert rows.weights is not None
    sums: dict[tuple[str, int, str], np.ndarray] = {}
    mass: dict[tuple[int, str], float] = {}
    under: dict[str, np.ndarray] = {}
    for place, (row, weight) in enumerate(zip(rows.inputs.tolist(), rows.weights[:, 0].tolist(), strict=True)):
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
    model = classifier(KINDS["LSTM"], [0], embedding_size=1, widths=[3], initialiser="zeros")
    with torch.no_grad():
        model.embedding.zero_()
        model.embedding[0, 1:] = -5
        model.cell.W[0, 0, 0, 0] = 1
        model.cell.b[0, 0] = torch.tensor([5.0, 0, -5])
    _, saturation = averages.averages(model, enumerate_distribution(4, 1), ["input_gate"], DigitReading(4))
    # a token is 0 with probability 0.1 at the first two steps, and 1 - 0.9 / 2 at the others
    assert saturation["share_over_0.9"].tolist() == pytest.approx([(0.1 + 0.1 + 0.55 + 0.55) / 4, 0, 0])
    assert saturation["share_under_0.1"].tolist() == pytest.approx([0, 0, 1])


def test_rows_without_probabilities_count_all_the_same():
    rows = enumerate_distribution(4, 1)
    weights = torch.full((len(rows), 1), 1 / len(rows), dtype=torch.float64)
    model, reading = random_model("SRN"), DigitReading(4)
    without = averages.averages(model, Rows(rows.inputs, rows.targets), None, reading)
    given = averages.averages(model, Rows(rows.inputs, rows.targets, weights), None, reading)
    for one, other in zip(without, given, strict=True):
        pd.testing.assert_frame_equal(one, other, rtol=1e-9)
    total = without[0][without[0]["unit"] == 0].groupby("time_step")["probability"].sum()
    assert total.tolist() == pytest.approx([1] * 4, abs=1e-9)


# --- runs ---


@pytest.mark.slow
def test_everything_is_drawn_and_written(digits: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(digits)
    result = forked.run("memexp.gates", "length=4", "seed=1", "order=time", "images_dir=pictures", folder=digits)
    assert (result.returncode, result.stderr) == (0, "")
    folder = digits / f"pictures/book/gates/{RUN},seed=1"
    names = {"averages.png", "averages.pdf", "averages.csv", "saturation.csv", "6700"}
    assert {path.name for path in folder.iterdir()} == names
    own = {"trace.npz", *(f"{name}.{kind}" for name in ("sheet", *PARTS) for kind in ("png", "pdf"))}
    assert {path.name for path in (folder / "6700").iterdir()} == own
    shown = result.stdout.splitlines()
    assert shown[0].startswith("LSTM trained on length 4, seed 1 (book): answer ")
    assert shown.pop(3) == "averaging over all 1900 inputs, before and after training ..."
    assert len(shown) == 4
    assert all(line.startswith(f"written: pictures/book/gates/{RUN},seed=1/") for line in shown[1:])
    means = pd.read_csv(folder / "averages.csv")
    assert list(means) == ["training", "part", "time_step", "kind", "unit", "probability", "mean", "mean_size"]
    assert len(means) == 2 * len(PARTS) * (1 + 1 + 2 + 2) * 32
    saturation = pd.read_csv(folder / "saturation.csv")
    assert list(saturation) == ["training", "part", "unit", "share_under_0.1", "share_over_0.9"]
    assert len(saturation) == 2 * len(PARTS) * 32
    untrained = trained.load(digits / "outputs/book" / RUN).untrained(1)
    before, _ = averages.averages(untrained, enumerate_distribution(4, 1), ["forget_gate"], DigitReading(4))
    own = means[(means["training"] == "before") & (means["part"] == "forget_gate")]
    assert own["mean"].tolist() == pytest.approx(before["mean"].tolist(), rel=1e-5)


def test_stacked_layers_and_both_directions_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each part's units in the order of its own cell's; the layers have different numbers of them."""
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(gates, "save", lambda figure, path: figures.update({path.name: figure}))
    model = random_model("GRU reset after", widths=[2, 3], bidirectional=True)
    gates.show_sequence(run_of(model), torch.tensor([6, 7, 0, 3]), gates.Options(order="time"), tmp_path)
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
    record.write_summary(run_folder, summary)
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
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    words = np.random.default_rng(0).choice(["the time", "traveller", "smiled round.", "It was", "the sea."], 2000)
    lines = "\n".join(" ".join(words[start : start + 4]) for start in range(0, len(words), 4))
    (folder / "own.txt").write_text(lines)
    settings = ("task.corpus=own.txt", "task.keep_newlines=true", "model.hidden_size=5", "epochs=1", "seeds=[3,1]")
    return train(folder, "char_lm/model=gru", "task=char_lm", "model=gru", *settings)


@pytest.fixture
def text_folder(text: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(text)


@pytest.mark.slow
def test_a_text_is_drawn_and_written(text: Path):
    """The only run of the study is taken, whatever its model; its characters are as they were typed."""
    arguments = ("study=char_lm", "seed=1", "sequence=the time traveller smiled round", "order=time")
    result = forked.run("memexp.gates", *arguments, folder=text)
    assert (result.returncode, result.stderr) == (0, "")
    (folder,) = (text / "images/char_lm/gates").iterdir()
    assert folder.name.endswith(",seed=1")
    names = {"averages", "saturation", "units", "units_in_text", "the_time_traveller_smiled_round"}
    assert {path.stem for path in folder.iterdir()} == names
    own = {"trace.npz", *(f"{name}.{kind}" for name in ("sheet", *TEXT_PARTS) for kind in ("png", "pdf"))}
    assert {path.name for path in (folder / "the_time_traveller_smiled_round").iterdir()} == own
    with np.load(folder / "the_time_traveller_smiled_round" / "trace.npz") as arrays:
        assert arrays["hidden_state"].shape == (31, 5)
        assert arrays["predictions"].shape == (31, 19)
        assert arrays["sequence"].shape == (31,)
        np.testing.assert_allclose(arrays["predictions"].sum(1), 1, rtol=1e-5)
    shown = result.stdout.splitlines()
    assert shown[0].startswith("GRU trained on the text own (17,684 characters), seed 1 (char_lm): next: ")
    assert re.search(r"; \d\.\d\d bits per character$", shown[0])
    features = ["position in line", "position in word", "position in sentence", "space", "space next", "newline",
                "newline next", "punctuation", "punctuation next", "upper case", "vowel"]  # fmt: skip
    assert [line.partition(":")[0] for line in shown[5:-1]] == features
    means = pd.read_csv(folder / "averages.csv")
    assert list(means) == ["training", "part", "letter_of_the_word", "kind", "unit", "probability", "mean", "mean_size"]
    assert set(means["kind"]) == {"first letter", "inner letter", "space", "newline", "punctuation"}
    table = pd.read_csv(folder / "units.csv")
    columns = ["training", "feature", "part", "unit", "r", "threshold", "p"]
    assert list(table) == columns
    assert len(table) == 2 * len(features) * len(TEXT_PARTS) * 5


def test_averages_over_a_text_equal_brute_force(text_folder: Path, monkeypatch: pytest.MonkeyPatch):
    run = trained.load(text_folder)
    model, rows, reading = run.of(3), run.task().distribution(), run.reading
    monkeypatch.setattr(averages, "CHUNK", 5 * rows.inputs.shape[1] * 2)  # two rows at once
    assert len(rows) > 2
    means, saturation = averages.averages(model, rows, ["hidden_state", "update_gate"], reading)
    kinds, places = reading.token_kinds(rows.inputs), reading.token_places(rows.inputs)
    for name, part in model.trace(rows.inputs[None], ["hidden_state", "update_gate"]).items():
        values = part[0].double()  # [N, L, D]
        for place, kind in ((0, "space"), (0, "newline"), (1, "first letter"), (4, "inner letter")):
            chosen = (kinds == reading.kinds.index(kind)) & (places == place)
            own = means[(means["part"] == name) & (means["letter_of_the_word"] == place) & (means["kind"] == kind)]
            assert own["unit"].tolist() == [*range(5)]
            assert own["probability"].to_numpy() == pytest.approx(float(chosen.double().mean()), rel=1e-9)
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
        task = task_of("char_lm", tmp_path, f"task.corpus={own}", "task.held_out=0.2", "batch_size=2")
        assert task.distribution().source.endswith(source)


@pytest.mark.slow
def test_units_are_followed_through_the_whole_text_in_one_row(text_folder: Path, command: Command):
    shown = command("study=char_lm", "seed=3", "averages=false", "names=[hidden_state]", "images_dir=pictures")
    (path,) = Path("pictures").glob("char_lm/gates/*/units.csv")
    table = pd.read_csv(path).set_index(["training", "feature", "unit"]).sort_index()
    run = trained.load(text_folder)
    text = run.task().texts["test"]
    codes = run.reading.read(text)
    for training, model in (("before", run.untrained(3)), ("after", run.of(3))):
        hidden = model.trace(codes[None, None], ["hidden_state"])["hidden_state"][0, 0]
        spaces = np.array([character == " " for character in text])
        for unit in range(5):
            r = np.corrcoef(hidden[100:, unit], spaces[100:])[0, 1]
            assert table.loc[(training, "space", unit), "r"] == pytest.approx(r, abs=1e-5)
    best = table.loc[("after", "space"), "r"]
    unit = best.abs().idxmax()
    assert f"space: unit {unit} of hidden_state, r = {best[unit]:.2f} (" in shown


@pytest.mark.slow
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
        assert (len(shown), shown[3]) == (4, said)
        (folder,) = Path("pictures/char_lm/gates").iterdir()
        assert not [path for path in folder.iterdir() if path.is_file()]


@pytest.mark.slow
def test_a_unit_is_shown_once_with_all_that_it_follows(
    text_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    """Its values begin, like the passage, with the first line that begins after the first 100 characters."""
    figures: dict[str, tuple[object, ...]] = {}
    monkeypatch.setattr(gates.unit_figures, "units_in_text", lambda *given: figures.update(text=given) or Figure())

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
    run = trained.load(text_folder)
    text = run.task().texts["test"]
    start = text.index("\n", 100) + 1
    assert "".join(labels) == text[start:].replace("\n", "↵").replace(" ", "␣")
    hidden = run.of(3).trace(run.reading.read(text)[None, None])["hidden_state"][0, 0, 100:, 2].numpy()
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
        (["model=lstm"], "outputs/char_lm has no finished run with model=lstm; finished: model=gru"),
        (["length=10"], "outputs/char_lm has no finished run with length=10; finished: model=gru"),
        ([], "seed=0: "),
    ],
)
def test_a_mistake_about_a_text_is_named(text_folder: Path, command: Command, arguments: list[str], complaint: str):
    shown = command("study=char_lm", *arguments)
    assert shown.startswith("memexp.gates: ")
    assert complaint in shown
    assert "\n" not in shown


def test_another_text_than_the_run_was_trained_on_is_refused(text_folder: Path, command: Command):
    """The alphabet is the same."""
    Path("own.txt").write_text(Path("own.txt").read_text().replace("traveller", "revellart"))
    assert command("study=char_lm", "seed=1") == (
        f"memexp.gates: the text own (17,684 characters): the data in datasets are others than {text_folder} was "
        "trained on; bring those back, or train anew (they were looked for in datasets; datasets_dir=FOLDER takes "
        "another; a sequence= of your own needs none)"
    )


def test_other_data_leave_out_the_averages_alone(
    digits: Path, run_folder: Path, command: Command, capsys: pytest.CaptureFixture[str]
):
    """A course's own rows, say, lie in datasets/4. The sheet needs no data, and other data can be named."""
    own = Path("datasets/4/train.txt")
    own.write_text("1 2 0 0\t3\n")
    assert command("length=4", "names=[cell_state]") == "1"  # the exit code
    shown = capsys.readouterr()
    complaint = f"memexp.gates: averages left out: length 4: the data in datasets are others than {run_folder} was "
    *_, said = shown.err.splitlines()
    assert said.startswith(complaint)
    assert said.endswith("(they were looked for in datasets; datasets_dir=FOLDER takes another)")
    folder = Path(f"images/book/gates/{RUN},seed=0")
    assert {path.name for path in folder.iterdir()} == {"6700"}
    assert (folder / "6700" / "sheet.png").exists()
    assert command("length=4", "names=[cell_state]", f"datasets_dir={digits}/datasets").count("written: ") == 3
    assert {path.name for path in folder.iterdir()} > {"6700", "averages.png", "averages.csv"}
    assert own.read_text() == "1 2 0 0\t3\n"


def test_damaged_data_leave_out_the_averages_alone(
    run_folder: Path, command: Command, capsys: pytest.CaptureFixture[str]
):
    Path("datasets/4/train.txt").write_text("1 2 0 0 9\n")
    assert command("length=4", "names=[cell_state]") == "1"
    assert "averages left out: datasets/4/train.txt, line 1: " in capsys.readouterr().err
    assert "written: " in command("length=4", "names=[cell_state]", "averages=false")  # nor are units asked of digits


def test_the_sheet_is_there_before_the_rest_begins(
    run_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Whoever waits for the averages can look at it meanwhile, and is told so."""
    said: list[str] = []
    sheet = Path(f"images/book/gates/{RUN},seed=0/6700/sheet")

    def begin(*given: object) -> None:
        said.extend(capsys.readouterr().out.splitlines()[1:])
        assert sheet.with_suffix(".png").exists()

    monkeypatch.setattr(gates, "load_task", begin)
    command("length=4", "averages=true", "names=[cell_state]")
    assert said == [f"written: {sheet}.png, .pdf", f"written: {sheet.parent}/cell_state (.png, .pdf), trace.npz"]


@pytest.mark.parametrize(
    "given", ["1209", "1 2 0 9", "1,2,0,9", "[1,2,0,9]", "[1, 2, 0, 9]", "１２０９", "１，２，０，９"]
)
def test_digits_are_typed_as_in_the_explorer(run_folder: Path, command: Command, given: str):
    command(f"run={run_folder}/", f"sequence={given}", "names=cell_state", "averages=false")
    with np.load(f"images/book/gates/{RUN},seed=0/1209/trace.npz") as arrays:
        assert arrays["sequence"].tolist() == [1, 2, 0, 9]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["length=4", "seed=7"], f"seed=7: {RUN} has no such seed; it has 0, 1"),
        (["run=outputs/book/none"], "run=outputs/book/none: there is no such folder"),
        (["run=~/outputs/none/"], "run=/home/someone/outputs/none: there is no such folder"),
        (["run=None"], "run=None: nothing is written as null here; give run=null"),
        (["images_dir=None"], "images_dir=None is not possible; give a folder or a file, or leave images_dir out"),
        (["study=bok"], "study 'bok' does not exist (did you mean book?); there are: book"),
        (["study=book,fresh"], "study=book,fresh: this command takes one study"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    run_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("USERPROFILE", "/home/someone")
    assert command(*arguments, "averages=false") == f"memexp.gates: {complaint}"
    assert not Path("images").exists()


def test_a_run_without_weights_is_said_in_a_line(run_folder: Path, command: Command):
    (run_folder / record.BEST).unlink()
    shown = command("length=4")
    assert shown.startswith(f"memexp.gates: {run_folder / record.BEST} is missing: ")
    assert "delete" not in shown
    assert "\n" not in shown


# --- any task ---


def test_a_sequence_that_is_given_needs_no_data(run_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    shutil.rmtree("datasets")
    shown = command("length=4", "sequence=[1,2,0]", "names=[cell_state]", "averages=false", "units=false")
    assert shown.startswith("LSTM trained on length 4, seed 0 (book): answer ")
    assert not Path("datasets").exists()


@pytest.mark.slow
def test_a_task_that_memexp_does_not_know_is_shown(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    """Numbers are read, a number is answered at every step; the first of its test rows is the example."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder = train_own_task(tmp_path, "totals_whose_gates_are_shown")
    named = "totals_whose_gates_are_shown"
    shown = command("study=numbers", "seed=1", f"modules={named}", "images_dir=pictures").splitlines()
    run = trained.load(folder, modules=[named])
    example = run.task().example()
    answer = float(run.predictions(run.of(1), example)[-1, 0])
    assert shown[0] == f"GRU trained on length 5, seed 1 (numbers): last answer {answer:.3g}"
    assert len(shown) == 5  # nothing is followed where there is no running text
    (home,) = Path("pictures/numbers/gates").iterdir()
    (own,) = (path for path in home.iterdir() if path.is_dir())
    with np.load(own / "trace.npz") as arrays:
        np.testing.assert_array_equal(arrays["sequence"], example.numpy())
        assert arrays["predictions"].shape == (5, 1)
        assert arrays["predictions"][-1, 0] == pytest.approx(answer)
    means = pd.read_csv(home / "averages.csv")
    assert set(means["kind"]) == {"token"}
    assert sorted(set(means["time_step"])) == [1, 2, 3, 4, 5]
    trace = run.of(1).trace(run.task().rows("test").inputs[None])["hidden_state"][0]
    after = means[(means["training"] == "after") & (means["part"] == "hidden_state") & (means["time_step"] == 3)]
    assert after["mean"].to_numpy() == pytest.approx(trace[:, 2].mean(0).numpy(), abs=1e-5)
    assert command("study=numbers", "seed=1", f"modules={named}", "sequence=1 2") == (
        "memexp.gates: sequence=1 2: sequences of this task cannot be typed; leave it out for one of its own"
    )


# --- bad input ---


@pytest.mark.slow
def test_a_complaint_is_one_line_and_the_exit_code_not_0(digits: Path):
    result = forked.run("memexp.gates", "study=bok", "length=4", folder=digits)
    assert result.returncode == 1
    assert result.stderr == "memexp.gates: study 'bok' does not exist (did you mean book?); there are: book\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["outputs_dir=nowhere"], "study 'book' does not exist; nowhere has no study yet"),
        (["length=5"], f"outputs/book has no finished run with length=5; finished: {RUN}"),
        (["length=4", "model=srn"], f"no finished run with model=srn length=4; finished: {RUN}"),
        (["length=4", "seed=2"], f"seed=2: {RUN} has no such seed; it has 0, 1"),
        (["length=4", "sequence=[6,7,x]"], "sequence: 'x' is not a digit"),
        (["length=4", "names=[reset_gate]"], "LSTM has no reset_gate; it has input_gate, forget_gate"),
        (["length=4", "order=up"], "order=up is unknown; allowed: units, time"),
        (["run=outputs/none"], "run=outputs/none: there is no such folder"),
        (["run=outputs/book"], "outputs/book is no run's folder: it has no config.json"),
    ],
)
def test_a_mistake_is_named(run_folder: Path, command: Command, arguments: list[str], complaint: str):
    shown = command(*arguments)
    assert shown.startswith("memexp.gates: ")
    assert complaint in shown
    assert "\n" not in shown


def test_an_unwritable_images_folder(run_folder: Path, command: Command):
    Path("images").write_text("a file")
    assert "cannot write images/book/gates/" in command("length=4")
