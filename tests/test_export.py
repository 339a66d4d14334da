"""Weights out, by the command line: a state_dict that torch's layers take, and a script that needs no memexp."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of
from torch import nn

from memexp import experiment, trained
from memexp.errors import ConfigError, RecordError
from memexp.export import Options, export, write_export
from memexp.weights.outside import load_outside

SMALL = ("model.hidden_size=6", "model.embedding_size=3", "epochs=1", "batch_size=50")
#: How a script is called where no memexp can be imported.
ALONE = "import sys, runpy; sys.modules['memexp'] = None; sys.argv = sys.argv[1:]; "


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(*settings: str) -> trained.TrainedRun:
    folder = Path("outputs/study/run")
    experiment.run(config_of(*SMALL, *settings), folder)
    return trained.load(folder)


def alone(code: str, *arguments: str) -> str:
    """Run Python where memexp cannot be imported."""
    done = subprocess.run([sys.executable, "-c", ALONE + code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        ("pt", ("model=lstm", "length=4", "seeds=[2,5]")),
        ("safetensors", ("model=gru", "model.reset_after=true", "model.hidden_size=[6,6]", "length=4", "seeds=[2,5]")),
        ("pt", ("model=srn", "model.bidirectional=true", "length=4", "seeds=[2,5]")),
        ("pt", ("task=copy_memory", "model=lstm", "length=4", "seeds=[2,5]", "task.train_rows=100")),
        (
            "pt",
            ("task=adding", "model=lstm", "model.embedding_size=0", "length=4", "seeds=[2,5]", "task.train_rows=100"),
        ),
    ],
)
@pytest.mark.slow
def test_the_script_answers_as_memexp_does(suffix: str, settings: tuple[str, ...]):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    run = train(*settings)
    beside = write_export(run, 5, Path(f"out/five.{suffix}"))
    assert beside == Path("out/use_five.py")
    rows = run.task().rows("test").slice(0, 7).inputs
    np.save("rows.npy", rows.numpy())
    alone(
        "import numpy, torch; Net = runpy.run_path(sys.argv[0])['Net']; "
        "numpy.save('theirs.npy', Net.load()(torch.from_numpy(numpy.load('rows.npy'))).detach().numpy())",
        str(beside),
    )
    own = run.of(5)(rows[None])[0].detach().numpy()  # [B, A, K]
    theirs = np.load("theirs.npy").reshape(own.shape)
    np.testing.assert_allclose(theirs, own, rtol=0, atol=1e-6)
    if run.reading.symbols:
        said = alone("runpy.run_path(sys.argv[0], run_name='__main__')", str(beside), run.reading.beginning)
        answer = int(run.of(5)(run.reading.read(run.reading.beginning)[None, None])[0, 0, -1].argmax())
        assert said.startswith(f"answer {run.reading.outputs[answer]} with probability 0.")


@pytest.mark.slow
def test_from_a_study_to_a_file_that_is_read_again(capsys: pytest.CaptureFixture[str]):
    run = train("model=lstm", "length=4", "seeds=[2,5]")
    assert export(Options(study="study", seed=5)) == 0
    (path,) = Path().glob("*.pt")
    assert f"written: {path}, a state_dict of embedding, rnn and linear; use_{path.stem}.py" in capsys.readouterr().out
    again = load_outside(path, length=4)
    for own, other in zip(again.of(0).parameters(), run.of(5).parameters(), strict=True):
        assert torch.equal(own, other)
    net = nn.ModuleDict({"embedding": nn.Embedding(10, 3), "rnn": nn.LSTM(3, 6), "linear": nn.Linear(6, 19)})
    net.load_state_dict(torch.load(path))
    assert export(Options(weights=str(path), file="again.pt")) == 0
    assert all(torch.equal(torch.load("again.pt")[name], own) for name, own in torch.load(path).items())


def test_what_cannot_be_exported_is_one_line_and_nothing_is_written():
    run = train("model=lstm", "model.variant=coupled", "length=4", "seeds=[2]")
    with pytest.raises(ConfigError, match="to=torch is not possible: torch's nn.LSTM has no variant coupled"):
        write_export(run, 2, Path("out/x.pt"))
    with pytest.raises(ConfigError, match="seed=3: run has no such seed; it has 2"):
        write_export(run, 3, Path("out/x.pt"))
    assert not Path("out").exists()


def test_a_script_of_the_user_s_is_not_written_over():
    run = train("model=srn", "length=4", "seeds=[2]")
    Path("use_x.py").write_text("mine")
    with pytest.raises(
        RecordError, match="use_x.py is there, and none that memexp wrote; move it away, or give another"
    ):
        write_export(run, 2, Path("x.pt"))
    assert (Path("use_x.py").read_text(), Path("x.pt").exists()) == ("mine", False)
    Path("use_x.py").unlink()
    assert write_export(run, 2, Path("x.pt")) == write_export(run, 2, Path("x.pt"))  # its own is


def test_words_of_a_record_are_no_code_in_the_script():
    run = train("model=srn", "length=4", "seeds=[2]")
    moved = run.folder.rename('outputs/study/"""\nimport gone #@READ@\\')
    beside = write_export(trained.load(moved), 2, Path("x.pt"))
    compile(beside.read_text(), str(beside), "exec")
    assert alone("print(len(runpy.run_path(sys.argv[0])['OUTPUTS']))", str(beside)) == "19"
