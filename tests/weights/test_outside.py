"""Weights from outside as a loaded run: what other people's models answer, this one answers."""

from pathlib import Path

import pytest
import torch
from torch import nn
from weights.lookalikes import (
    BOOK,
    MODELS,
    OTHERS,
    BookLSTM,
    BookSRN,
    D,
    DiveGRU,
    Embedding,
    K,
    M,
    Torch,
    V,
    Whole,
    saved,
)

from memexp.errors import ConfigError, MemexpError, RecordError
from memexp.weights.outside import load_outside

DIGITS = torch.randint(V, (6, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)


@torch.no_grad()
def answers(path: Path, names: dict[str, str] | None = None) -> torch.Tensor:
    return load_outside(path, names).model(DIGITS[None])[0, :, 0]


@pytest.mark.parametrize("which", MODELS)
def test_a_model_from_outside_answers_as_its_author_s(which: str):
    make, names = MODELS[which]
    theirs = make()
    path = saved(theirs, Path("theirs.pt"))
    torch.testing.assert_close(answers(path, names), theirs(DIGITS).detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.module.net."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_prefixes_and_wrappers_do_not_matter(prefix: str, wrapper: str | None):
    theirs = Whole(BookLSTM((1, D), "c"), BOOK, Embedding())
    state = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save(state if wrapper is None else {"epoch": 7, wrapper: state, "note": "best"}, "theirs.pdparams")
    torch.testing.assert_close(answers(Path("theirs.pdparams")), theirs(DIGITS).detach(), rtol=0, atol=2e-6)


def test_safetensors_are_read_too():
    save_file = pytest.importorskip("safetensors.torch").save_file
    theirs = Whole(Torch(nn.LSTM), OTHERS)
    save_file(theirs.state_dict(), "theirs.safetensors")
    torch.testing.assert_close(answers(Path("theirs.safetensors")), theirs(DIGITS).detach(), rtol=0, atol=2e-6)


def test_a_linear_layer_of_paddle_is_the_other_way_round():
    theirs = Whole(BookSRN((1, D)), BOOK, Embedding())
    state = theirs.state_dict()
    torch.save({**state, "linear.weight": state["linear.weight"].T.contiguous()}, "theirs.pt")
    torch.testing.assert_close(answers(Path("theirs.pt")), theirs(DIGITS).detach(), rtol=0, atol=2e-6)


def test_where_outputs_are_as_many_as_units_the_user_says_which_way_the_linear_layer_is():
    layer = nn.LSTM(M, K, batch_first=True)
    state = {"e.weight": torch.randn(V, M), "c.weight": torch.randn(K, K), "c.bias": torch.randn(K)}
    torch.save({**state, **{f"r.{name}": tensor for name, tensor in layer.state_dict().items()}}, "theirs.pt")
    with pytest.raises(ConfigError, match=r"c.weight is \[19, 19\], which may be .*names=\{'linear': 'c.weight'\}"):
        load_outside("theirs.pt")
    hidden = layer(state["e.weight"][DIGITS])[1][0][0].detach()
    for name, weight in (
        ("c.weight", state["c.weight"]),
        ("c.weight.T", state["c.weight"].T),
        ("c", state["c.weight"]),
    ):
        expected = hidden @ weight.T + state["c.bias"]
        torch.testing.assert_close(answers(Path("theirs.pt"), {"linear": name}), expected, rtol=0, atol=5e-6)


def test_square_gates_are_read_as_the_book_has_them_unless_the_user_says_otherwise():
    cell = {"r.W": torch.randn(D, D), "r.U": torch.randn(D, D), "r.b": torch.zeros(D)}
    rest = {"e.weight": torch.randn(V, D), "c.weight": torch.randn(K, D), "c.bias": torch.zeros(K)}
    torch.save({**cell, **rest}, "theirs.pt")
    assert torch.equal(load_outside("theirs.pt").model.cell.W[0, 0], cell["r.W"])
    turned = load_outside("theirs.pt", {"cell": "r.T"}).model.cell
    assert torch.equal(turned.W[0, 0], cell["r.W"].T)
    assert torch.equal(turned.U[0, 0], cell["r.U"].T)  # type: ignore[index]


def test_without_an_embedding_digits_are_one_hot():
    layer, linear = nn.GRU(V, D, batch_first=True), nn.Linear(D, K)
    torch.save(nn.ModuleDict({"rnn": layer, "out": linear}).state_dict(), "theirs.pt")
    expected = linear(layer(nn.functional.one_hot(DIGITS, V).float())[1][0]).detach()
    run = load_outside("theirs.pt")
    assert run.model.embedding is None
    torch.testing.assert_close(run.model(DIGITS[None])[0, :, 0].detach(), expected, rtol=0, atol=2e-6)


def test_an_initial_state_of_zeros_is_what_there_is_anyway():
    theirs = Whole(BookSRN((1, D)), BOOK, Embedding())
    torch.save({**theirs.state_dict(), "rnn_model.h0": torch.zeros(1, D)}, "theirs.pt")
    torch.testing.assert_close(answers(Path("theirs.pt")), theirs(DIGITS).detach(), rtol=0, atol=2e-6)
    torch.save({**theirs.state_dict(), "rnn_model.h0": torch.ones(3, 1, D)}, "theirs.pt")
    with pytest.raises(ConfigError, match=r"no part of the model takes: rnn_model.h0 \[3, 1, 7\]"):
        load_outside("theirs.pt")


def test_several_files_are_several_seeds():
    theirs = [Whole(Torch(nn.LSTM), OTHERS) for _ in range(3)]
    run = load_outside([saved(one, Path(f"{k}.pt")) for k, one in enumerate(theirs)])
    assert run.seeds == [0, 1, 2]
    for k, one in enumerate(theirs):
        torch.testing.assert_close(run.of(k)(DIGITS[None])[0, :, 0].detach(), one(DIGITS).detach(), rtol=0, atol=2e-6)
    other = saved(Whole(Torch(nn.GRU), OTHERS), Path("other.pt"))
    with pytest.raises(ConfigError, match=r"other.pt is of another model than 0.pt: layers.0.0.cell.W is \(3, 5, 7\)"):
        load_outside(["0.pt", other])


# --- what is refused ---


def spoilt(**changes: torch.Tensor | None) -> Path:
    """Save the book's LSTM with tensors changed, added or, if None, left out; a double underscore stands for a dot."""
    state = Whole(BookLSTM((1, D), "c"), BOOK, Embedding()).state_dict()
    for name, tensor in changes.items():
        state.pop(name.replace("__", "."), None)
        if tensor is not None:
            state[name.replace("__", ".")] = tensor
    torch.save(state, "spoilt.pt")
    return Path("spoilt.pt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rnn_model__U_f": torch.ones(D, D + 1)}, r"rnn_model.U_f is \[7, 8\], where \[7, 7\] is expected"),
        ({"rnn_model__W_o": torch.ones(M + 1, D)}, r"rnn_model.W_o is \[6, 7\], where \[5, 7\] is expected"),
        ({"rnn_model__b_c": torch.ones(2, D)}, r"rnn_model.b_c is \[2, 7\], where \[7\] or \[1, 7\] is expected"),
        ({"rnn_model__b_c": None}, "biases for the gates i, f, o, but the gates are i, f, o, c"),
        ({"rnn_model__W_f": None}, "the gates f lack input weights"),
        ({"rnn_model__U_i": None, "rnn_model__W_i": None, "rnn_model__b_i": None}, "the gates c, f, o, which are"),
        ({"embedding__W": torch.ones(V, M + 1)}, r"the embedding, \[symbols, 5\]: there is embedding.W \[10, 6\]"),
        ({"linear__weight": torch.ones(K, D + 1)}, r"no tensor for the linear layer, \[outputs, 7\]"),
        ({"linear__bias": torch.ones(K + 1)}, r"linear.weight is \[19, 7\], where \[20, 7\] is expected"),
        ({"norm__scale": torch.ones(3, 3, 3)}, r"no part of the model takes: norm.scale \[3, 3, 3\]"),
        ({"linear__weight": torch.ones(K + 1, D), "linear__bias": torch.ones(K + 1)}, "and 20 outputs .*has 10 and 19"),
        ({"embedding__W": torch.ones(V + 1, M)}, "11 inputs and 19 outputs"),
        ({"linear__weight": torch.full((K, D), torch.nan)}, r"linear.weight \[19, 7\] holds numbers that"),
        ({"linear__weight": torch.ones(K, D, dtype=torch.long)}, "linear.weight .* is of int64"),
        ({"fc2__weight": torch.ones(K, D), "fc2__bias": torch.ones(K)}, "several tensors for the linear.*fc2.weight"),
        ({"rnn_model__U": torch.ones(D, 4 * D), "rnn_model__W": torch.ones(M, 4 * D)}, "those of no cell here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_both_shapes(changes: dict[str, torch.Tensor | None], said: str):
    with pytest.raises(ConfigError, match=said) as refused:
        load_outside(spoilt(**changes))
    assert str(refused.value).startswith("spoilt.pt")
    assert "\n" not in str(refused.value)


def test_gates_in_one_matrix_are_refused_since_their_order_is_not_told():
    torch.save({"r.W": torch.ones(M, 4 * D), "r.U": torch.ones(D, 4 * D), "r.b": torch.ones(4 * D)}, "theirs.pt")
    with pytest.raises(ConfigError, match="tensors do not tell their order"):
        load_outside("theirs.pt")


def test_two_stacks_whose_order_is_not_told():
    lower, upper = nn.LSTMCell(M, D), nn.LSTMCell(D, D)
    parts = nn.ModuleDict({"top": upper, "below": lower, "emb": nn.Embedding(V, M), "fc": nn.Linear(D, K)})
    torch.save(parts.state_dict(), "theirs.pt")
    with pytest.raises(ConfigError, match="several recurrent layers, top, below; which is the lowest cannot be told"):
        load_outside("theirs.pt")
    run = load_outside("theirs.pt", {"cell": ["below", "top"]})
    assert [layer[0].cell.W.shape[2] for layer in run.model.stack] == [M, D]


def test_biases_within_a_gru_need_a_word():
    class LinearGRU(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for gate in "rzh":
                self.add_module(f"W_{gate}", nn.Linear(M, D))
                self.add_module(f"U_{gate}", nn.Linear(D, D))

    path = saved(Whole(LinearGRU(), OTHERS), Path("theirs.pt"))
    with pytest.raises(ConfigError, match=r"U_h.bias is a bias of the recurrent product.*names=\{'reset': 'before'\}"):
        load_outside(path)
    assert load_outside(path, {"reset": "before"}).config.model.reset_after is False
    after = load_outside(path, {"reset": "after"}).model.cell
    assert torch.equal(after.c[0, 0], torch.load("theirs.pt")["lstm.U_h.bias"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"lineer": "fc"}, "names has no 'lineer' .did you mean linear"),
        ({"reset": "never"}, "reset is 'never'; allowed: before, after"),
        ({"linear": "fd"}, "there is no fd; there are emb.weight, fc.weight, fc.bias"),
    ],
)
def test_names_that_are_not_possible(names: dict[str, str], said: str):
    with pytest.raises(ConfigError, match=said):
        load_outside(saved(Whole(Torch(nn.LSTM), OTHERS), Path("theirs.pt")), names)


# --- what is known of such a run ---


def test_it_scores_the_data_that_are_there():
    Path("datasets").mkdir()
    run = load_outside(saved(Whole(Torch(nn.LSTM), OTHERS), Path("theirs.pt")), length=4)
    table = run.evaluate([4, 6])
    assert list(table["exact_over"]) == ["all 1900 inputs", "all 3700 inputs"]
    assert Path("datasets/4/dev.txt").exists()
    assert repr(run).startswith("<LSTM, seeds 0")


def test_nothing_is_written_where_there_are_no_data():
    load_outside(saved(Whole(Torch(nn.LSTM), OTHERS), Path("theirs.pt")))
    assert [path.name for path in Path().iterdir()] == ["theirs.pt"]


def test_nothing_is_known_of_before_training():
    run = load_outside(saved(Whole(Torch(nn.LSTM), OTHERS), Path("theirs.pt")))
    assert (run.study, run.name, run.last()) == ("outside", "theirs", None)
    for ask in (run.before, lambda: run.untrained(0)):
        with pytest.raises(RecordError, match="nothing is known of the model before training"):
            ask()


def test_what_tensors_do_not_tell_is_said(caplog: pytest.LogCaptureFixture):
    load_outside(saved(Whole(Torch(nn.RNN), OTHERS), Path("theirs.pt")))
    load_outside(saved(Whole(DiveGRU(), OTHERS), Path("gru.pt")))
    assert ["relu" in line or "resets before" in line for line in caplog.messages] == [True, True]


def test_an_unreadable_setting_is_one_line():
    path = saved(Whole(Torch(nn.LSTM), OTHERS), Path("theirs.pt"))
    with pytest.raises(MemexpError, match=r"length=2 is too small"):
        load_outside(path, length=2)
    with pytest.raises(ConfigError, match="has 10 inputs and 19 outputs .*task=adding has 2 and 1"):
        load_outside(path, settings=["task=adding"])
