import pytest
import torch

from memexp.errors import ConfigError
from memexp.training import machine


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch):
    for available, chosen in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert machine.choose_device("auto") == chosen
        assert machine.choose_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=cuda: torch finds no CUDA device here"):
        machine.choose_device("cuda")


def test_a_run_uses_one_thread():
    machine.prepare()
    assert torch.get_num_threads() == 1
