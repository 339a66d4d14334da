"""A run that begins with weights: ``init_from``, of a run or of a file, at another length, with another text."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import CommandLine, config_of
from torch import nn
from weights.lookalikes import BOOK, BookLSTM, D, Embedding, Torch, Whole, saved

from memexp import experiment, trained
from memexp.arguments import as_meant
from memexp.errors import ConfigError, MemexpError, RecordError
from memexp.results import record
from memexp.training import checkpoints
from memexp.weights.outside import load_outside
from memexp.weights.torch_layers import to_torch

SMALL = ("model.hidden_size=6", "model.embedding_size=3", "epochs=1", "batch_size=50", "eval_steps=2")
LM = ("task=char_lm", "model=gru", "model.hidden_size=6", "epochs=1", "length=9", "batch_size=8", "task.max_chars=3000")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(name: str, *settings: str) -> Path:
    folder = Path("outputs/study", name)
    experiment.run(config_of(*settings), folder)
    return folder


@pytest.fixture
def first() -> Path:
    return train("first", *SMALL, "model=lstm", "length=4", "seeds=[3,1,2]")


def test_seed_k_begins_with_the_weights_of_seed_k(first: Path):
    second = train("second", *SMALL, "model=lstm", "length=5", "seeds=[1,3]", f"init_from={first}")
    best, run = trained.load(first), trained.load(second)
    for seed in (1, 3):
        for before, after in zip(run.untrained(seed).parameters(), best.of(seed).parameters(), strict=True):
            assert torch.equal(before, after)
    assert not torch.equal(run.last().head_weight, run.before().head_weight)  # type: ignore[union-attr]
    at_zero = [line.split(",") for line in (second / "history.csv").read_text().splitlines() if line.startswith("0,")]
    losses = {int(seed): float(value) for _, seed, split, name, value in at_zero if (split, name) == ("dev", "loss")}
    expected = best.evaluate(5)
    for seed in (1, 3):
        assert losses[seed] == pytest.approx(expected.loc[expected["seed"] == seed, "dev_loss"].item(), abs=1e-5)


def test_it_is_noted_by_what_the_weights_are(first: Path):
    second = train("second", *SMALL, "model=lstm", "length=4", "seeds=[1]", f"init_from={first}")
    config = json.loads((second / record.CONFIG).read_text())
    assert config["init_from"] == record.seals_of(first)[record.BEST][1]
    assert record.read_summary(second)["config"]["init_from"] == str(first)
    moved = first.rename("outputs/study/moved")  # the same weights, elsewhere
    assert train("second", *SMALL, "model=lstm", "length=4", "seeds=[1]", f"init_from={moved}/best.pt") == second
    other = train("other", *SMALL, "model=lstm", "length=4", "seeds=[1]", "lr=0.1")
    with pytest.raises(RecordError, match=r"second holds another run: init_from is .* there, .* now"):
        train("second", *SMALL, "model=lstm", "length=4", "seeds=[1]", f"init_from={other}")
    with pytest.raises(RecordError, match=r'init_from is .* there, "missing" now'):
        train("second", *SMALL, "model=lstm", "length=4", "seeds=[1]")


def test_a_run_that_begins_anew_is_noted_as_before_there_was_such_a_setting(first: Path):
    assert "init_from" not in json.loads((first / record.CONFIG).read_text())
    assert "init_from" not in record.read_summary(first)["config"]
    assert trained.load(first).config.init_from is None


def test_weights_that_are_gone_or_others_are_named(first: Path):
    second = train("second", *SMALL, "model=lstm", "length=4", "seeds=[1]", f"init_from={first}")
    torch.save({}, first / record.BEST)
    with pytest.raises(RecordError, match=r"second began with other weights than those in outputs/study/first"):
        trained.load(second).untrained(1)
    shutil.rmtree(first)
    with pytest.raises(ConfigError, match=r"init_from=outputs/study/first: cannot read outputs/study/first"):
        trained.load(second).untrained(1)
    assert trained.load(second).of(1)  # the rest goes on
    with pytest.raises(ConfigError, match="give a finished run's folder, or a file of weights"):
        train("third", *SMALL, "model=lstm", "length=4", f"init_from={first}")


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(first: Path):
    settings = (*SMALL, "model=lstm", "length=5", "seeds=[2,3]", f"init_from={first}", "checkpoint_seconds=0")
    whole = train("whole", *settings)
    updates = iter(range(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.ending, "orphaned", lambda: next(updates, None) is None)
        with pytest.raises(KeyboardInterrupt):
            train("stopped", *settings)
    assert not (Path("outputs/study/stopped") / record.SUMMARY).exists()
    stopped = train("stopped", *settings)
    for name, kind in ((record.BEST, "weights"), (record.LAST, "training")):
        one, other = (checkpoints.load(folder / name, kind)[kind] for folder in (whole, stopped))
        one, other = (content.get("weights", content) for content in (one, other))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (whole / "history.csv").read_bytes() == (stopped / "history.csv").read_bytes()


def test_seeds_that_were_trained_already_are_taken_from_there(first: Path, caplog: pytest.LogCaptureFixture):
    settings = (*SMALL, "model=lstm", "length=5", f"init_from={first}")
    caplog.set_level("INFO")
    few, more = (train(f"a,seeds={seeds}", *settings, f"seeds={seeds}") for seeds in ("[2]", "[1,2]"))
    assert any("seeds [2] are trained already" in line for line in caplog.messages)
    alone = train("b", *settings, "seeds=[1,2]")
    assert torch.equal(trained.load(more).of(2).head_weight, trained.load(few).of(2).head_weight)
    for own, other in zip(trained.load(more).model.parameters(), trained.load(alone).model.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    caplog.clear()
    train("b,seeds=[1]", *SMALL, "model=lstm", "length=5", "seeds=[1]")
    assert not any("trained already" in line for line in caplog.messages)  # these began with other weights


def test_a_file_from_outside_is_what_all_seeds_begin_with():
    theirs = Whole(BookLSTM((1, D), "c"), BOOK, Embedding())
    saved(theirs, Path("theirs.pdparams"), "model.")
    sizes = ("model.embedding_size=5", "model.hidden_size=7", "epochs=1", "batch_size=50")
    run = trained.load(train("one", *sizes, "model=lstm", "length=6", "seeds=2", "init_from=theirs.pdparams"))
    digits = torch.tensor([[6, 7, 0, 1, 0, 0]])
    for seed in (0, 1):
        torch.testing.assert_close(run.untrained(seed)(digits[None])[0, :, 0], theirs(digits), rtol=0, atol=2e-6)


def test_the_one_seed_of_a_run_is_what_all_begin_with(first: Path):
    torch.save(to_torch(trained.load(first).model, 1), "seed.pt")
    assert torch.equal(load_outside("seed.pt").model.head_weight, trained.load(first).of(1).head_weight)
    alone = train("alone", *SMALL, "model=lstm", "length=4", "seeds=[7]")
    run = trained.load(train("several", *SMALL, "model=lstm", "length=4", "seeds=3", f"init_from={alone}"))
    for seed in (0, 1, 2):
        assert torch.equal(run.untrained(seed).head_weight, trained.load(alone).of(7).head_weight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("model=lstm", "seeds=[1,4]"), "has no seed 4; it has 3, 1, 2: give seeds= of these"),
        (("model=srn", "seeds=[1]"), "is of model=lstm, and this run of model=srn"),
        (
            ("model=lstm", "model.variant=coupled", "seeds=[1]"),
            "of model.variant=none, and this run of model.variant=coup",
        ),
        (("model=lstm", "model.hidden_size=8", "seeds=[1]"), r"head_weight is \[6, 19\] there, \[8, 19\] in this one"),
        (("model=lstm", "model.hidden_size=[6,6]", "seeds=[1]"), r"layers.1.0.cell.W is missing there, \[4, 6, 6\]"),
        (
            ("model=lstm", "model.embedding_size=0", "seeds=[1]"),
            r"cell.W is \[4, 3, 6\] there, \[4, 10, 6\] in this one",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_both_shapes(first: Path, settings: tuple[str, ...], said: str):
    with pytest.raises(MemexpError, match=rf"init_from=outputs/study/first .*{said}"):
        train("second", *SMALL, "length=4", f"init_from={first}", *settings)
    assert "init_from" in record.read_failure(Path("outputs/study/second"))


def test_a_file_of_another_cell_is_refused():
    saved(Whole(Torch(nn.GRU), BOOK), Path("gru.pt"))
    with pytest.raises(ConfigError, match="init_from=gru.pt is of model=gru, and this run of model=lstm"):
        train("one", *SMALL, "model=lstm", "length=4", "init_from=gru.pt")
    with pytest.raises(ConfigError, match=r"cell.c \[1, 7\] has no place|cell.c"):
        train("two", "model=gru", "model.embedding_size=5", "model.hidden_size=7", "length=4", "init_from=gru.pt")
    Path("text.pt").write_text("none")
    with pytest.raises(ConfigError, match="text.pt holds more than tensors"):
        train("three", *SMALL, "model=lstm", "length=4", "init_from=text.pt")


def test_of_another_text_the_characters_that_both_have_are_taken_over():
    """Chosen so that each text has characters that the other has not, and the shared ones have other numbers."""
    Path("one.txt").write_text("abcd dcba bad cab. " * 60)
    Path("two.txt").write_text("bead! faded bee, cede. " * 60)
    for embedding in (0, 4):
        sizes = (*LM, f"model.embedding_size={embedding}", "seeds=[2,0]")
        first = train(f"first{embedding}", *sizes, "task.corpus=one.txt")
        second = train(f"second{embedding}", *sizes, "task.corpus=two.txt", f"init_from={first}")
        anew = train(f"anew{embedding}", *sizes, "task.corpus=two.txt")
        old, new, fresh = trained.load(first), trained.load(second), trained.load(anew)
        there, here = old.reading.symbols, new.reading.symbols
        assert there is not None
        assert here is not None
        assert there != here
        for seed in (0, 2):
            before, best, random = new.untrained(seed), old.of(seed), fresh.untrained(seed)
            tables = [
                (
                    m.cell.W[0].transpose(0, 1) if m.embedding is None else m.embedding[0],
                    m.head_weight[0].T,
                    m.head_bias[0],
                )
                for m in (before, best, random)
            ]
            for own, shared, begun in zip(*tables, strict=True):
                for place, character in enumerate(here):
                    expected = shared[there.index(character)] if character in there else begun[place]
                    assert torch.equal(own[place], expected), character
            assert torch.equal(before.cell.U, best.cell.U)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_sweep_begins_with_weights(memexp: CommandLine):
    small = ("epochs=1", "seeds=2", "model.hidden_size=6", "images_dir=null", "hydra/launcher=basic")
    assert memexp("-m", *small, "length=4", "study=a").returncode == 0
    source = "init_from='outputs/a/epochs=1,length=4,model=${model.name},model.hidden_size=6,seeds=2'"
    done = memexp("-m", *small, "length=5,6", "study=b", source)
    assert done.returncode == 0, done.stderr
    folders = record.run_folders(Path("outputs/b"))
    assert len(folders) == 4
    for folder in folders:
        model = record.read_summary(folder)["config"]["model"]["name"]
        own = Path(f"outputs/a/epochs=1,length=4,model={model},model.hidden_size=6,seeds=2", record.BEST)
        assert (
            json.loads((folder / record.CONFIG).read_text())["init_from"] == record.seals_of(own.parent)[record.BEST][1]
        )
    dry = memexp("-m", "--dry", *small, "length=5,6", "study=b", source)
    assert dry.stdout.count("complete") >= 4
    gone = memexp("-m", *small, "length=5", "study=c", "init_from=gone.pt")
    assert gone.returncode == 1
    assert "init_from=gone.pt: cannot read gone.pt" in gone.stdout + gone.stderr


def test_a_run_folder_s_name_is_typed_as_it_is(tmp_path: Path):
    Path("outputs/book/length=10,model=lstm").mkdir(parents=True)
    assert as_meant("init_from=outputs/book/length=10,model=lstm") == 'init_from="outputs/book/length=10,model=lstm"'
    for argument in ("init_from=a.pt,b.pt", "study=outputs", "init_from=gone"):
        assert as_meant(argument) == argument
