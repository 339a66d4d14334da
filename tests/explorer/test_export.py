"""What of a study's runs goes into the page, and what is said of the rest."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
import yaml
from helpers import config_of, reseal, train_own_task

from memexp import CONF_DIR, experiment
from memexp.errors import Complaints, RecordError
from memexp.explorer import export as explorer
from memexp.results import record
from memexp.sources import code_of
from memexp.training import checkpoints

Explore = Callable[..., tuple[str, list[str]]]


def run_of(folder: Path, name: str) -> Path:
    return folder / "outputs" / "small" / f"length=4,model={name}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study of SRN and LSTM, three seeds each."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("srn", "lstm"):
            config = config_of("study=small", "length=4", f"model={name}", "epochs=1", "seeds=3", "lr=0.05")
            experiment.run(config, run_of(folder, name))
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of that study."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explore:
    """Run the command in this process: return what it prints, or its last complaint, and the lines before it."""

    def run(*arguments: str) -> tuple[str, list[str]]:
        monkeypatch.setattr("sys.argv", ["memexp.explorer", *arguments])
        said = ""
        try:
            explorer.main()
        except SystemExit as stop:
            said = str(stop.code)  # a number, or a text that is printed on stderr with the exit code 1
        shown = capsys.readouterr()
        return said or shown.out, shown.err.splitlines()

    return run


def change(run: Path, change: Callable[[dict], None]) -> None:
    summary = json.loads((run / record.SUMMARY).read_text())
    change(summary)
    record.write_summary(run, summary)


def test_damaged_and_unfinished_runs_are_named_and_left_out(folder: Path, explore: Explore):
    srn, lstm = (run_of(folder, name) for name in ("srn", "lstm"))
    (srn / "best.pt").write_bytes(b"half")
    code, lines = explore("study=small", "seeds=[0,7]", "output=page.html")
    assert code == "1"  # the page is written, but not all that was asked for is in it
    assert len(lines) == 2
    assert (
        f"left out: small/{srn.name}: outputs/small/{srn.name}/best.pt is damaged (it has 4 bytes"
        in lines[1] + lines[0]
    )
    assert f"left out: small/{lstm.name} has no seed 7; it has 0, 1, 2" in lines
    assert [f'"seed":{seed},' in Path("page.html").read_text() for seed in (0, 1)] == [True, False]
    (lstm / "summary.json").unlink()
    said, lines = explore("study=small", "output=other.html")
    assert f"left out: small/{lstm.name}: not finished" in lines
    assert said.startswith("memexp.explorer: outputs/small has no run to show")
    assert not Path("other.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study=smal"], "study 'smal' does not exist (did you mean small?); there are: "),
        (["study=small", "outputs_dir=nowhere"], "nowhere has no study yet"),
        (["sudy=small"], "unknown key 'sudy' (did you mean study?)"),
        (["study=small", "seeds=[a]"], "seeds: 'a' is not a whole number from 0"),
        (["study=small", "seeds=x"], "seeds=x is not a number, a range or a list"),
        (["study=small", "seeds=[]"], "seeds has none"),
        (["study=small", "output=/dev/null/page.html"], "cannot write /dev/null/page.html: "),
        (["study=small", "seeds=[9]"], "has no run to show"),
    ],
)
def test_bad_input_is_one_line(folder: Path, explore: Explore, arguments: list[str], message: str):
    text, _ = explore(*arguments)
    assert text.startswith("memexp.explorer: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(("given", "seeds"), [(None, None), (2, [0, 1]), ([3, 1], [3, 1])])
def test_seeds_are_given_as_for_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: object, seeds: list[int] | None
):
    asked: list[object] = []
    monkeypatch.setattr(explorer, "export_study", lambda study, wanted, *_: asked.append(wanted) or [])
    with pytest.raises(RecordError, match="has no run to show"):
        explorer.export(explorer.Options(study="small", seeds=given))
    assert asked == [seeds]


@pytest.mark.slow
def test_help(tmp_path: Path):
    done = forked.run("memexp.explorer", "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "seeds=null" in done.stdout


def test_runs_are_labelled_by_what_differs(folder: Path, capsys: pytest.CaptureFixture[str]):
    run = run_of(folder, "lstm")
    study = run.parent
    for name, initialiser in (("copy", "xavier"), ("other", "chrono")):
        shutil.copytree(run, study / name)
        change(study / name, lambda summary, own=initialiser: summary["config"]["model"].update(initialiser=own))
    labels = {r["name"]: r["label"] for r in explorer.export_study(study, None, Complaints())}
    assert labels == {
        run_of(folder, "srn").name: "SRN, xavier",
        run.name: f"LSTM, xavier ({run.name})",
        "copy": "LSTM, xavier (copy)",
        "other": "LSTM, chrono",
    }
    assert capsys.readouterr().err == ""


def test_a_label_begins_with_the_title_in_the_record(folder: Path):
    for name in ("srn", "lstm"):
        change(run_of(folder, name), lambda summary: summary.update(title=f"The {summary['title']}"))
    runs = explorer.export_study(folder / "outputs" / "small", [0], Complaints())
    assert sorted(run["label"] for run in runs) == ["The LSTM", "The SRN"]


def test_what_the_page_is_told_of_digits(folder: Path):
    for run in explorer.export_study(folder / "outputs" / "small", [0], Complaints()):
        told = {key: run[key] for key in ("kind", "symbols", "every_step", "length", "steps", "example")}
        expected = {
            "kind": "digits",
            "symbols": "0123456789",
            "every_step": False,
            "length": 4,
            "steps": 4,
            "example": "6700",
        }
        assert told == expected
        assert run["answers"] == [str(answer) for answer in range(19)]
        (seed,) = run["seeds"]
        assert [(score["name"], score["share"]) for score in seed["scores"]] == [
            ("dev", True),
            ("test", True),
            ("exact", True),
        ]


def test_seeds_that_stopped_or_are_not_finite(folder: Path, capsys: pytest.CaptureFixture[str]):
    run = run_of(folder, "srn")
    study = run.parent
    shutil.rmtree(run_of(folder, "lstm"))
    stopped = {"diverged_at": 3, "dev_accuracy": None, "test_accuracy": None, "exact_accuracy": None}
    change(run, lambda summary: summary["seeds"][0].update(stopped))
    content = checkpoints.load(run / "best.pt", "weights")
    content["weights"]["layers.0.0.cell.U"][1] = torch.nan
    checkpoints.save(run / "best.pt", content)
    reseal(run)
    (exported,) = explorer.export_study(study, None, Complaints())
    (seed,) = exported["seeds"]
    assert seed["seed"] == 0
    assert {score["name"]: score["value"] for score in seed["scores"]} == {"dev": None, "test": None, "exact": None}
    assert "the weights of seed 1 are not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "prefixes", "begins"),
    [
        ("a sea.\n", "[]", " "),
        ("a sea.\n", r"['',a\n]", "a\n"),
        ("分开，不分开\n", "[]", "\n"),
        ("分开，不分开", "[]", "不"),
    ],
)
def test_a_language_model_is_shown_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, prefixes: str, begins: str
):
    monkeypatch.chdir(tmp_path)
    Path("own.txt").write_text(text * 300, encoding="utf-8")
    size = ("batch_size=4", "length=9", "model=srn", "model.hidden_size=4", "seeds=2", "epochs=1")
    task = ("task=char_lm", "task.corpus=own.txt", "task.keep_newlines=true", f"task.prefixes={prefixes}")
    experiment.run(config_of(*size, *task), Path("outputs/texts/run"))
    Path("own.txt").unlink()
    (exported,) = explorer.export_study(Path("outputs/texts"), None, Complaints())
    assert len(exported["seeds"]) == 2
    assert exported["symbols"] == "".join(sorted(set(text)))
    assert exported["answers"] == sorted(set(text))
    assert (exported["kind"], exported["every_step"], exported["length"], exported["steps"]) == ("text", True, 9, 9)
    assert exported["example"] == begins


def test_no_name_ends_the_script():
    text = explorer.page("</script><b>", [])
    assert "</script><b>" not in text
    assert explorer.DATA not in text


# --- other tasks ---


def test_a_task_whose_sequences_cannot_be_typed_is_left_out(
    folder: Path, explore: Explore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(folder)
    own = train_own_task(folder, "totals_that_are_not_shown")
    shutil.move(own, folder / "outputs" / "small" / "numbers")
    code, lines = explore("study=small", "modules=totals_that_are_not_shown", "output=page.html")
    assert (code, lines) == (
        "1", ["left out: small/numbers: sequences of task=totals cannot be typed into the page"],
    )  # fmt: skip
    assert len(json.loads(data_in(Path("page.html")))["runs"]) == 2


def test_a_cell_that_the_page_cannot_compute_is_said_in_a_line(
    folder: Path, explore: Explore, monkeypatch: pytest.MonkeyPatch
):
    """By its own name, or by that of one of memexp's cells: the page must not take it for that one."""
    monkeypatch.syspath_prepend(folder)
    names = {"Leaky": "cells_of_the_page_a", "SRN": "cells_of_the_page_b"}
    for name, module in names.items():
        own = f"from memexp.models import cells\n\nclass {name}(cells.SRN):\n    title = 'own SRN'\n"
        (folder / f"{module}.py").write_text(own)
        shutil.copytree(run_of(folder, "srn"), folder / "outputs" / "small" / module)
        target = f"{module}.{name}"
        for file in (record.SUMMARY, record.CONFIG):
            path = folder / "outputs" / "small" / module / file
            path.write_text(path.read_text().replace("memexp.models.cells.SRN", target))
        identity, _ = record.read_object(path)
        identity["model"]["source"] = code_of(getattr(importlib.import_module(module), name))
        record.write_json(path, identity)
        reseal(path.parent)
    code, lines = explore("study=small", f"modules={','.join(names.values())}", "output=page.html")
    assert code == "1"
    assert sorted(lines) == [
        f"not computed: small/{module}: the page has no function for the cell {module}.{name}, and says so"
        for name, module in names.items()
    ]
    runs = {run["name"]: run for run in json.loads(data_in(Path("page.html")))["runs"]}
    assert len(runs) == 4
    for name, module in names.items():
        assert runs[module]["layers"][0][0]["cell"] == f"{module}.{name}"
    assert runs[run_of(folder, "lstm").name]["layers"][0][0]["cell"] == "LSTM"


def test_the_page_has_a_function_for_every_cell_of_memexp():
    targets = [yaml.safe_load(path.read_text())["_target_"] for path in (CONF_DIR / "model").glob("*.yaml")]
    assert {target.rpartition(".")[2] for target in targets} == explorer.CELLS == {
        "SRN", "ResidualSRN", "LSTM", "GRU", "MinGRU", "MinLSTM", "IRNN", "IndRNN", "LSTM1997", "SLSTM", "Diagonal",
    }  # fmt: skip


def test_a_study_without_weights_is_said_run_by_run(folder: Path, explore: Explore):
    for name in ("srn", "lstm"):
        (run_of(folder, name) / record.BEST).unlink()
    said, lines = explore("studies=small", "outputs_dir=./outputs/")
    assert said == "memexp.explorer: outputs/small has no run to show; the reasons are above"
    assert len(lines) == 2
    assert all("best.pt is missing" in line and "delete" not in line for line in lines)


def test_the_only_study_is_meant_if_none_is_named(folder: Path, explore: Explore):
    said, _ = explore("output=page.html")
    assert said.startswith("written: page.html, ")
    shutil.copytree(folder / "outputs" / "small", folder / "outputs" / "other")
    assert explore()[0] == "memexp.explorer: study 'book' does not exist; there are: other, small"


def test_what_is_written_is_what_was_exported(folder: Path, explore: Explore):
    said, lines = explore("study=small")
    assert (said.partition(", 0.")[0], lines) == ("written: images/small/explorer.html", [])
    assert "2 runs, 4 seeds" in said
    content = json.loads(data_in(Path("images/small/explorer.html")))
    assert content == {"study": "small", "runs": explorer.export_study(Path("outputs/small"), None, Complaints())}


def data_in(page: Path) -> str:
    """The line of the page that holds the runs."""
    before, _ = explorer.PAGE.read_text(encoding="utf-8").split(explorer.DATA)
    return page.read_text(encoding="utf-8")[len(before) :].partition("</script>")[0]
