"""From a record back to a trained model, of any task: found, loaded, seed by seed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Command, change, config_of, reseal, train_own_task
from matplotlib.figure import Figure

from memexp import choosing, experiment, trained
from memexp.errors import ConfigError, RecordError
from memexp.files import as_files
from memexp.gates import command as gates
from memexp.results import record
from memexp.training import checkpoints

TASKS = {
    "digit_sum": ("task=digit_sum", "model=lstm", "length=4", "seeds=[0,1]"),
    "char_lm": ("task=char_lm", "model=gru", "task.max_chars=3000", "length=9", "batch_size=8", "seeds=[3,1]"),
}
FILES = {"best": (record.BEST, "weights"), "last": (record.LAST, "training")}
WEIGHTS = pytest.mark.parametrize("weights", FILES)
REMEDY = "move it away, and the command that started the run makes it anew"


@pytest.fixture(scope="module", params=TASKS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of two seeds, of each task."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = ("model.hidden_size=5", "model.embedding_size=0", "model.initial_state=learned", "epochs=1")
        config = config_of(*TASKS[request.param], *settings)
        experiment.run(config, Path("outputs/study/run"))
    return folder


@pytest.fixture
def run_folder(finished: Path, spoilt: Callable[[Path], Path]) -> Path:
    return spoilt(finished)


def content_of(folder: Path, weights: str) -> dict[str, torch.Tensor]:
    """The weights of both seeds, as they are saved."""
    name, kind = FILES[weights]
    content = checkpoints.load(folder / name, kind)
    return content.get("training", content)["weights"]


def save(path: Path, content: dict[str, object]) -> None:
    """Save other weights, with new seals."""
    checkpoints.save(path, content)
    reseal(path.parent)


# --- what is loaded ---


def test_a_run_says_what_it_is(run_folder: Path):
    run = trained.load(run_folder)
    assert (run.study, run.name, run.folder) == ("study", "run", run_folder)
    summary = json.loads((run_folder / record.SUMMARY).read_text())
    assert run.summary == {key: value for key, value in summary.items() if key != "seal"}
    assert run.seeds == summary["config"]["seeds"] == list(run.config.seeds)
    assert [run.record_of(seed) for seed in run.seeds] == summary["seeds"]
    assert (run.kind.__name__, run.config.length) in (("DigitSum", 4), ("CharLM", 9))


@WEIGHTS
def test_a_run_is_rebuilt_seed_by_seed(run_folder: Path, weights: str):
    path = run_folder / record.LAST  # so that they differ from the best in any case
    content = checkpoints.load(path, "training")
    content["training"]["weights"]["head_bias"] += 1
    save(path, content)
    run, saved = trained.load(run_folder, weights), content_of(run_folder, weights)
    assert not torch.equal(content_of(run_folder, "best")["head_bias"], content_of(run_folder, "last")["head_bias"])
    assert set(saved) == {name for name, _ in run.model.named_parameters()}
    for place, seed in enumerate(run.seeds):
        assert run.place(seed) == place
        for name, parameter in run.of(seed).named_parameters():
            assert len(parameter) == 1
            assert torch.equal(parameter[0], saved[name][place])


def test_best_weights_are_those_without_a_word(run_folder: Path):
    for name, parameter in trained.load(run_folder).model.named_parameters():
        assert torch.equal(parameter, content_of(run_folder, "best")[name])


def test_an_untrained_model_is_as_its_seed_was_before_the_first_update(run_folder: Path):
    run = trained.load(run_folder)
    both = experiment.build_model(run.config, run.task().interface)
    for place, seed in enumerate(run.seeds):
        for own, several in zip(run.untrained(seed).parameters(), both.parameters(), strict=True):
            assert torch.equal(own[0], several[place])
    assert not torch.equal(run.untrained(1).head_weight, trained.load(run_folder, "last").of(1).head_weight)


def test_predictions_are_the_probabilities_of_one_sequence(run_folder: Path):
    run = trained.load(run_folder)
    sequence = run.task().example()
    for seed in run.seeds:
        model = run.of(seed)
        found = run.predictions(model, sequence)
        with torch.no_grad():
            answers = model(sequence[None, None])[0, 0]
        torch.testing.assert_close(found, answers.softmax(-1))
        assert found.shape == {"digit_sum": (1, 19), "char_lm": (60, len(run.reading.outputs))}[run.config.task.name]


def test_the_data_are_not_needed(run_folder: Path):
    """A sequence is read as the record says, and the models are the same."""
    before = trained.load(run_folder)
    shutil.rmtree("datasets", ignore_errors=True)
    if before.config.task.name == "char_lm":
        change(run_folder / record.SUMMARY, "config.task.corpus", "gone.txt")
    run = trained.load(run_folder)
    sequence = run.reading.read({"digit_sum": "[1,2,3]", "char_lm": "the boat"}[run.config.task.name])
    for seed in run.seeds:
        assert torch.equal(run.predictions(run.of(seed), sequence), before.predictions(before.of(seed), sequence))
        assert torch.equal(run.untrained(seed).head_weight, before.untrained(seed).head_weight)
    assert not Path("datasets").exists()


def test_a_task_has_the_data_that_it_was_trained_on(run_folder: Path):
    run = trained.load(run_folder)
    assert type(run.task()) is run.kind
    assert run.task().fingerprint() == json.loads((run_folder / record.CONFIG).read_text())["data"]


def test_other_data_than_it_was_trained_on_are_refused(run_folder: Path):
    """A mark of the order of batches, or of the initial weights, does not matter."""
    path = run_folder / record.CONFIG
    config = json.loads(path.read_text())
    for mark in ("/order", "+0123abcd"):
        record.write_json(path, {**config, "data": config["data"] + mark})
        reseal(run_folder)
        assert trained.load(run_folder).task().length == config["length"]
    record.write_json(path, {**config, "data": "0" * 64})
    reseal(run_folder)
    run = trained.load(run_folder)  # what needs no data goes on
    with pytest.raises(RecordError) as refused:
        run.task()
    assert str(refused.value) == (
        f"{run.summary['trained_on']}: the data in datasets are others "
        f"than {run_folder} was trained on; bring those back, or train anew"
    )


def test_a_seed_that_is_not_there_is_named_as_it_was_given(run_folder: Path):
    run = trained.load(run_folder)
    there = ", ".join(map(str, run.seeds))
    for ask in (run.place, run.of, run.record_of):
        with pytest.raises(ConfigError, match=f"^seed=7: run has no such seed; it has {there}$"):
            ask(7)
    with pytest.raises(ConfigError, match=f"^model_seed=7: run has no such seed; it has {there}$"):
        run.place(7, "model_seed")


def test_a_run_of_a_task_that_memexp_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Numbers go in, and what is predicted are the answers themselves."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = train_own_task(tmp_path, "totals_that_are_loaded")
    run = trained.load(folder, modules=["totals_that_are_loaded"])
    assert (run.kind.__name__, run.study, run.seeds) == ("Totals", "numbers", [3, 1])
    sequence = run.task().example()
    assert sequence.shape == (5, 2)
    model = run.of(1)
    with torch.no_grad():
        assert torch.equal(run.predictions(model, sequence), model(sequence[None, None])[0, 0])
    assert run.reading.example() is None
    (folder.parents[2] / "totals_that_are_loaded.py").unlink()


# --- what cannot be loaded ---


def test_what_is_no_run_folder_is_named(run_folder: Path):
    with pytest.raises(ConfigError, match=r"^run=outputs/none: there is no such folder$"):
        trained.load(Path("outputs/none"))
    with pytest.raises(RecordError, match=r"^outputs/study is no run's folder: it has no config.json; give one, as "):
        trained.load(Path("outputs/study"))


def test_an_unfinished_run(run_folder: Path):
    (run_folder / record.SUMMARY).unlink()
    with pytest.raises(RecordError, match=f"{run_folder} is not a finished run; give the command that started it ag"):
        trained.load(run_folder)
    with pytest.raises(
        RecordError, match=r"^outputs/study has no finished run; finished: none; without a record: run: not finished$"
    ):
        choosing.find_run(run_folder.parent, None, None)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("config.model._target_", "memexp.models.None", ": model: memexp .* has no memexp.models.None; "),
        (
            "config.task._target_",
            "memexp.tasks.none.None",
            ": task: memexp .* has no memexp.tasks.none.None; ",
        ),
        ("config.model.embedding_size", "many", r" is damaged \(ValidationError: "),
        ("config.model.hidden_size", "many", r" is damaged \(TypeError: "),
        ("config.lr", "fast", r" is damaged \(ValidationError: "),
        ("config.seeds", 0, r" is damaged \(config is {.*, not the settings of a run\)"),
        ("config.model", None, r" is damaged \("),
        ("seeds", [{}], r" is damaged \(seeds is \[{}\], not the scores of seeds\); "),
        ("seeds", [{"seed": 0}], r" is damaged \(seeds are others than those of config\); "),
        ("interface", {}, r" is damaged \(interface is {}, not the sizes of inputs and outputs\); "),
        ("about", 3, r" is damaged \(about is 3, not a value for each name\); "),
    ],
)
def test_a_damaged_record(run_folder: Path, key: str, value: object, complaint: str):
    path = run_folder / record.SUMMARY
    change(path, key, value)
    with pytest.raises(RecordError, match=f"^{path}{complaint}") as stopped:
        trained.load(run_folder)
    assert "\n" not in str(stopped.value)
    assert " is damaged" not in complaint or str(stopped.value).endswith(f"; {REMEDY}")


def test_a_record_that_is_cut_off(run_folder: Path):
    (run_folder / record.SUMMARY).write_text("{")
    with pytest.raises(RecordError, match=r"summary.json is damaged \("):
        trained.load(run_folder)


def test_a_record_in_an_earlier_form_is_refused(run_folder: Path):
    change(run_folder / record.SUMMARY, "format", 1)
    with pytest.raises(RecordError, match="was written by memexp 0.1; carry it over with: python -m memexp.migrate"):
        trained.load(run_folder)


@WEIGHTS
def test_a_missing_a_truncated_and_a_foreign_checkpoint(run_folder: Path, weights: str):
    name, kind = FILES[weights]
    path = run_folder / name
    content, whole = checkpoints.load(path, kind), path.read_bytes()
    path.write_bytes(whole[:2000])
    with pytest.raises(RecordError, match=f"{path} is damaged \\(it has 2,000 bytes, and had {len(whole):,}\\); move "):
        trained.load(run_folder, weights)
    reseal(run_folder)
    with pytest.raises(RecordError, match=f"{path} is truncated or not a checkpoint"):
        trained.load(run_folder, weights)
    save(path, {"something": 3})
    with pytest.raises(RecordError, match=f"{path} is not a checkpoint of memexp with {kind}; {record.remedy(path)}"):
        trained.load(run_folder, weights)
    own = content.get("training", content)
    save(path, cut(content, own))
    with pytest.raises(RecordError, match=f"{path} is of another model: .* there, .* in this one$"):
        trained.load(run_folder, weights)
    path.unlink()
    with pytest.raises(RecordError, match=f"{path} is missing: this record came without weights; train the run with "):
        trained.load(run_folder, weights)


def cut(content: dict[str, object], own: dict[str, object]) -> dict[str, object]:
    """The same checkpoint, of the first seed alone."""
    changed = {**own, "weights": {name: part[:1].clone() for name, part in own["weights"].items()}}
    return changed if own is content else {**content, "training": changed}


@WEIGHTS
def test_weights_of_other_shapes(run_folder: Path, weights: str):
    name, kind = FILES[weights]
    path = run_folder / name
    content = checkpoints.load(path, kind)
    own = content.get("training", content)
    own["weights"]["head_bias"] = own["weights"]["head_bias"][..., :-1].clone()
    save(path, content)
    with pytest.raises(RecordError, match=rf"{path} is of another model: head_bias is .* there, .* in this one$"):
        trained.load(run_folder, weights)
    for there in (own["weights"], own):  # a tensor is missing, or all of them
        there.pop("head_bias" if there is own["weights"] else "weights")
        save(path, {**content, "weights": own.get("weights", {})} if weights == "best" else content)
        with pytest.raises(RecordError, match=rf"{path} is of another model: head_bias is missing there, \("):
            trained.load(run_folder, weights)


@pytest.mark.parametrize("finished", ["char_lm"], indirect=True)
@pytest.mark.parametrize("vocabulary", [None, 3, ""])
def test_a_record_of_a_text_without_its_vocabulary(run_folder: Path, vocabulary: object):
    path = run_folder / record.SUMMARY
    change(path, "about.vocabulary", vocabulary)
    complaint = f"{path} is damaged (TypeError: the vocabulary is {vocabulary!r}, not a text); {REMEDY}"
    with pytest.raises(RecordError, match=f"^{re.escape(complaint)}$"):
        trained.load(run_folder)


@pytest.mark.parametrize("finished", ["char_lm"], indirect=True)
@WEIGHTS
def test_weights_of_another_vocabulary(run_folder: Path, weights: str):
    """Of a record that is of another one, or of a checkpoint."""
    name, kind = FILES[weights]
    path = run_folder / name
    complaint = f"{path} is of another vocabulary than its record; {record.remedy(path)}"
    content = checkpoints.load(path, kind)
    content.get("training", content)["vocabulary"][-1] += 1
    save(path, content)
    with pytest.raises(RecordError, match=f"^{complaint}$"):
        trained.load(run_folder, weights)
    content.get("training", content)["vocabulary"][-1] -= 1
    save(path, content)
    trained.load(run_folder, weights)
    change(run_folder / record.SUMMARY, "about.vocabulary", "abc")
    with pytest.raises(RecordError, match=f"^{complaint}$"):
        trained.load(run_folder, weights)


# --- what it can do from Python ---


def test_it_says_in_a_line_what_it_is(run_folder: Path):
    shown = repr(trained.load(run_folder))
    assert shown.startswith(("<LSTM, seeds 0, 1, dev ", "<GRU, seeds 3, 1, "))
    assert shown.endswith(f"; {run_folder}>")


def some_rows(run: trained.TrainedRun, count: int) -> torch.Tensor:
    """Rows of length 4 from the test data, which of a text are one long row."""
    return run.task().rows("test").inputs.flatten()[: 4 * count].view(count, 4).long()


def test_all_seeds_answer_in_the_order_of_their_axis(run_folder: Path):
    run = trained.load(run_folder)
    rows = some_rows(run, 3)
    found, answers = run.predict(rows, probabilities=True), run.predict(rows)
    every_step = run.config.task.name == "char_lm"
    assert found.shape[:3] == (2, 3, rows.shape[1] if every_step else 1)
    assert answers.shape == ((2, 3, rows.shape[1]) if every_step else (2, 3))
    for place, seed in enumerate(run.seeds):
        for row in range(3):
            own = run.predictions(run.of(seed), rows[row]).numpy()
            np.testing.assert_allclose(found[place, row], own, rtol=1e-5, atol=1e-7)
            assert np.array_equal(answers[place, row], own.argmax(-1) if every_step else own[0].argmax())


def test_many_sequences_are_answered_as_few_are(run_folder: Path, monkeypatch: pytest.MonkeyPatch):
    run = trained.load(run_folder)
    rows = some_rows(run, 5)
    whole = run.predict(rows, probabilities=True)
    monkeypatch.setattr(trained, "ROWS_AT_ONCE", 2)
    np.testing.assert_allclose(run.predict(rows, probabilities=True), whole, rtol=1e-5, atol=1e-7)


def test_a_number_is_its_own_prediction(tmp_path: Path):
    config = config_of("task=adding", "length=6", "model=srn", "model.hidden_size=3", "epochs=1", "seeds=2",
                       "task.train_rows=8")  # fmt: skip
    experiment.run(config, tmp_path / "run")
    run = trained.load(tmp_path / "run")
    found = run.predict(".3 .71* .02 .9* 0 0")
    assert found.shape == (2, 1)
    assert np.array_equal(found[..., None, None], run.predict(".3 .71* .02 .9* 0 0", probabilities=True))
    assert run.trace(".3 .71* .02 .9* 0 0")["hidden_state"].shape == (2, 1, 6, 3)


def test_a_trace_has_all_seeds_and_the_parts_that_are_named(run_folder: Path):
    run = trained.load(run_folder)
    rows = some_rows(run, 3)
    trace = run.trace(rows)
    assert {part.shape for part in trace.values()} == {(2, 3, rows.shape[1], 5)}
    for place, seed in enumerate(run.seeds):
        for name, part in run.of(seed).trace(rows[None]).items():
            np.testing.assert_allclose(trace[name][place], part[0].numpy(), rtol=1e-5, atol=1e-7)
    assert list(run.trace(rows, ["hidden_state"])) == ["hidden_state"]
    with pytest.raises(ConfigError, match="has no forgot_gate; it has"):
        run.trace(rows, ["forgot_gate"])


def test_the_sheet_is_that_of_the_gates(run_folder: Path, monkeypatch: pytest.MonkeyPatch, in_process: Command):
    """Not a pixel differs from what the command saves."""
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(gates, "save", lambda figure, path: drawn.update({path.name: figure}))
    run = trained.load(run_folder)
    seed, written = run.seeds[1], {"digit_sum": "6701", "char_lm": "the time"}[run.config.task.name]
    in_process(gates.main, f"run={run_folder}", f"seed={seed}", f"sequence={written}", "averages=false", "units=false")
    figure = run.heatmaps(written, seed=seed)
    assert pixels(figure) == pixels(drawn["sheet"])
    assert pixels(run.heatmaps(written)) != pixels(figure)  # of the first seed
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="2 sequences are given; a sheet shows one"):
        run.heatmaps([written, written])
    for wrong in ({"order": "size"}, {"lang": "fr"}, {"seed": 9}):
        with pytest.raises(ConfigError, match="|".join(map(str, wrong))):
            run.heatmaps(written, **wrong)


def pixels(figure: Figure) -> bytes:
    return as_files(figure, "x")["x.png"]


def test_weights_go_to_torch_and_nowhere_else(run_folder: Path):
    with pytest.raises(ConfigError, match="to=jax is not possible; allowed: torch"):
        trained.load(run_folder).state_dict("jax")
    with pytest.raises(ConfigError, match="seed=9"):
        trained.load(run_folder).state_dict(seed=9)


def test_a_length_that_the_task_cannot_have_is_one_line(tmp_path: Path):
    experiment.run(config_of("length=4", "epochs=1", "seeds=1", "task.distractors=2"), tmp_path / "run")
    run = trained.load(tmp_path / "run")
    assert run.task_at(4).length == 4
    assert run.task_at(5).rows("test").inputs.shape == (100, 5)
    assert run.evaluate(np.int64(5))["length"].tolist() == [5]
    assert run.evaluate(range(4, 6))["length"].tolist() == [4, 5]
    for wrong in ("ten", [4.5], ["5"]):
        with pytest.raises(ConfigError, match="give whole numbers, as lengths="):
            run.evaluate(wrong)
    for length, reason in ((3, "task.distractors=2 is not possible at length=3"), (0, "length=0 is too small")):
        with pytest.raises(ConfigError, match=f"run: {reason}"):
            run.evaluate(length)
