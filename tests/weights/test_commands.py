"""The commands that take a file of weights from outside in place of a run: evaluate, gates, explorer, memexp.load."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import config_of
from torch import nn
from weights.lookalikes import BOOK, OTHERS, BookLSTM, D, Embedding, Torch, Whole, saved

import memexp
from memexp import evaluate, experiment, trained
from memexp.errors import ConfigError, RecordError
from memexp.evaluate import Options as EvaluateOptions
from memexp.explorer.export import Options as ExplorerOptions
from memexp.explorer.export import export
from memexp.gates.command import Options as GatesOptions
from memexp.gates.command import show
from memexp.weights.outside import names_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)


@pytest.fixture
def book() -> Whole:
    return Whole(BookLSTM((1, D), "c"), BOOK, Embedding())


def accuracy(model: nn.Module, file: Path) -> float:
    """Score a model as its author would, on rows as its author wrote them."""
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    digits = torch.tensor([[int(digit) for digit in text.split()] for text, _ in lines])
    sums = torch.tensor([int(total) for _, total in lines])
    return (model(digits).argmax(-1) == sums).double().mean().item()


def test_evaluate_scores_each_file_on_the_data_that_are_there(book: Whole, capsys: pytest.CaptureFixture[str]):
    other = Whole(Torch(nn.GRU), OTHERS)
    files = [str(saved(one, Path(f"{name}.pdparams"))) for name, one in (("book", book), ("other", other))]
    assert evaluate.evaluate(EvaluateOptions(weights=files, lengths=[4, 6], datasets_dir="data")) == 0
    for file in Path("data").glob("*/*.txt"):  # as a course on Windows has them
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert evaluate.evaluate(EvaluateOptions(weights=files, lengths=[4, 6], datasets_dir="data")) == 0
    assert re.search(r"gru\s+\?\s+6\s+1", capsys.readouterr().out)
    table = pd.read_csv("images/outside/evaluate.csv").set_index(["run", "test_length"])
    for name, model in zip(files, (book, other), strict=True):
        for length in (4, 6):
            for split in ("dev", "test"):
                found = table.loc[(name, length), f"{split}_accuracy"]
                assert found == pytest.approx(accuracy(model, Path(f"data/{length}/{split}.txt")))


def test_evaluate_goes_on_without_a_file_that_cannot_be_read(book: Whole, capsys: pytest.CaptureFixture[str]):
    good = str(saved(book, Path("good.pt")))
    Path("bad.pt").write_text("none")
    assert evaluate.evaluate(EvaluateOptions(weights=["bad.pt", good], lengths=[4])) == 1
    assert "left out: bad.pt holds more than tensors" in capsys.readouterr().err
    with pytest.raises(RecordError, match="none of the files of weights can be read"):
        evaluate.evaluate(EvaluateOptions(weights=["bad.pt"]))
    with pytest.raises(ConfigError, match="weights= and study= do not go together"):
        evaluate.evaluate(EvaluateOptions(weights=[good], study="book"))


@pytest.mark.slow
def test_gates_of_weights_from_outside(book: Whole, capsys: pytest.CaptureFixture[str]):
    saved(book, Path("theirs.pt"))
    assert show(GatesOptions(weights="theirs.pt", length=5, sequence="67010")) == 0
    folder = Path("images/outside/gates/theirs,seed=0")
    assert (folder / "67010/sheet.png").exists()
    assert set(pd.read_csv(folder / "averages.csv")["training"]) == {"after"}
    probabilities = book(torch.tensor([[6, 7, 0, 1, 0]])).softmax(-1)[0]
    said = capsys.readouterr().out
    assert f"answer {int(probabilities.argmax())} with probability {probabilities.max():.3f}; truth 13" in said
    assert "LSTM of theirs, seed 0" in said
    with pytest.raises(ConfigError, match="weights= and run= do not go together; give one of them"):
        show(GatesOptions(weights="theirs.pt", run="outputs/book/x"))


def test_the_explorer_shows_each_file(book: Whole):
    files = [str(saved(book, Path("book.pt"))), str(saved(Whole(Torch(nn.RNN), OTHERS), Path("other.pt")))]
    assert export(ExplorerOptions(weights=files, length=5)) == 0
    page = Path("images/outside/explorer.html").read_text()
    runs = json.loads(re.search(r'\{"study":"outside".*\}', page)[0])["runs"]  # type: ignore[index]
    assert [(run["label"], run["length"], len(run["seeds"])) for run in runs] == [
        ("LSTM (book)", 5, 1),
        ("SRN (other)", 5, 1),
    ]
    assert {run["seeds"][0]["update"] for run in runs} == {None}


def test_memexp_load_takes_such_a_file(book: Whole):
    run = memexp.load(saved(book, Path("theirs.pt")), length=5)
    digits = torch.tensor([[6, 7, 0, 1, 0]])
    torch.testing.assert_close(torch.from_numpy(run.predict(digits, True))[0, :, 0], book(digits).softmax(-1))
    assert run.trace("67010")["forget_gate"].shape == (1, 1, 5, D)
    assert run.state_dict("torch")["rnn.weight_ih_l0"].shape == (4 * D, 5)


def test_the_best_weights_of_a_run_are_that_run():
    folder = Path("outputs/study/run")
    experiment.run(
        config_of("model=residual_srn", "model.hidden_size=6", "epochs=1", "length=4", "seeds=[3,1]"), folder
    )
    assert memexp.load(folder / "best.pt").seeds == [3, 1]
    alone = Path("alone.pt")
    alone.write_bytes((folder / "best.pt").read_bytes())
    with pytest.raises(
        ConfigError, match="alone.pt: its tensors are those of srn or residual_srn or irnn; say which, as model=srn"
    ):
        memexp.load(alone)
    run = memexp.load(alone, model="residual_srn", length=4)
    assert run.seeds == [0, 1]
    for own, other in zip(run.model.parameters(), trained.load(folder).model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_four_gates_alone_are_an_lstm_unless_the_other_is_named(caplog: pytest.LogCaptureFixture):
    folder, alone = Path("outputs/study/run"), Path("alone.pt")
    experiment.run(config_of("model=slstm", "model.hidden_size=6", "epochs=1", "length=4", "seeds=1"), folder)
    alone.write_bytes((folder / "best.pt").read_bytes())
    for given, name, said in (({}, "lstm", True), ({"model": "slstm"}, "slstm", False)):
        caplog.clear()
        assert memexp.load(alone, **given, length=4).config.model.name == name
        assert ("give model=slstm if it is one" in caplog.text) == said


@pytest.mark.slow
def test_the_command_line_reads_called(book: Whole, tmp_path: Path):
    state = book.state_dict()
    torch.save({**state, "linear.weight": state["linear.weight"].T.contiguous()}, "theirs.pt")
    arguments = ["weights=theirs.pt", "called=linear=linear.T,cell=rnn_model", "lengths=4", "data=data"]
    done = subprocess.run(
        [sys.executable, "-m", "memexp.evaluate", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_csv("images/outside/evaluate.csv")["dev_accuracy"][0]
    assert found == pytest.approx(accuracy(book, Path("data/4/dev.txt")))


def test_called_is_read():
    assert names_of(["cell=a+b", "linear=fc.weight.T"]) == {"cell": ["a", "b"], "linear": "fc.weight.T"}
    with pytest.raises(ConfigError, match="called=fc: give key=value, of embedding, linear, cell"):
        names_of(["fc"])
