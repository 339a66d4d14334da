"""Files of weights: tensors and nothing else, in whatever a file of them is."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from memexp.errors import ConfigError
from memexp.weights import files

WEIGHT = torch.arange(6.0).view(2, 3)


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(WEIGHT)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("harm"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "content",
    [
        {"weight": WEIGHT},
        {"state_dict": {"weight": WEIGHT}, "epoch": 3},
        {"model": {"state_dict": {"weight": WEIGHT}}, "optimizer": {"state": {}}},
        {"model_state_dict": {"weight": WEIGHT, "epoch": 3}},
        {"format": "memexp checkpoint 1", "weights": {"weight": WEIGHT}},
    ],
)
def test_wrapped_dicts_are_unwrapped(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "w.pt")
    found = files.read(tmp_path / "w.pt")
    assert [*found.tensors] == ["weight"]
    assert torch.equal(found.tensors["weight"], WEIGHT)


def test_the_older_form_of_torch_is_read(tmp_path: Path):
    torch.save({"weight": WEIGHT}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(files.read(tmp_path / "w.pt").tensors["weight"], WEIGHT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no file of torch.save, or damaged"),
        (b"no weights at all", "holds more than tensors"),
        (pickle.dumps({"weight": [1.0]}), "holds more than tensors|no file of torch.save"),
        (pickle.dumps(Harmful()), "holds more than tensors|no file of torch.save"),
    ],
)
def test_anything_else_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str):
    monkeypatch.chdir(tmp_path)
    Path("w.pdparams").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        files.read(Path("w.pdparams"))
    assert not Path("harm").exists()


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Mine.__module__])
    for content in ({"weight": WEIGHT, "more": Harmful()}, Mine()):
        torch.save(content, "w.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(ConfigError, match="w.pt holds more than tensors.*could hold code"):
            files.read(Path("w.pt"))
    assert not Path("harm").exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [WEIGHT], WEIGHT, {3: WEIGHT}, {"state_dict": {}}])
def test_what_has_no_named_tensors_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="has no named tensors; save model.state_dict"):
        files.read(tmp_path / "w.pt")


def test_damage_is_seen(tmp_path: Path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "w.pt")
    stored = bytearray((tmp_path / "w.pt").read_bytes())
    stored[len(stored) // 2] ^= 1
    (tmp_path / "w.pt").write_bytes(stored)
    with pytest.raises(ConfigError, match="w.pt is damaged"):
        files.read(tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(stored[:300])
    with pytest.raises(ConfigError, match="w.pt (is no file of torch.save, or damaged|holds more than tensors)"):
        files.read(tmp_path / "w.pt")


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read .*gone.pt: No such file"):
        files.read(tmp_path / "gone.pt")


def test_safetensors_that_are_none(tmp_path: Path):
    pytest.importorskip("safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"12345678 nothing")
    with pytest.raises(ConfigError, match="is no .safetensors file, or damaged"):
        files.read(tmp_path / "w.safetensors")


def test_without_the_package_a_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"reading .safetensors needs .* pip install .memexp\[weights\]"):
        files.read(tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"writing .safetensors needs"):
        files.save(tmp_path / "w.safetensors", {"weight": WEIGHT})
