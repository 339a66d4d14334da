"""What the tests share: cells and models to test, their equations once more, and the command line in a folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from memexp.models.cells import GRU, LSTM, SRN, Cell, MinGRU, MinLSTM, ResidualSRN, State
from memexp.models.networks import SequenceClassifier
from memexp.results import record
from memexp.training import machine

machine.prepare()

MakeCell = Callable[[int, int, int], Cell]

KINDS: dict[str, MakeCell] = {
    "SRN": SRN,
    "ResidualSRN": ResidualSRN,
    "GRU reset before": GRU,
    "GRU reset after": partial(GRU, reset_after=True),
    "LSTM": LSTM,
    **{f"LSTM {variant}": partial(LSTM, variant=variant) for variant in LSTM.VARIANTS if variant != "none"},
    "MinGRU": MinGRU,
    "MinLSTM": MinLSTM,
}
"""Every cell with every option of its own."""

TORCH_KINDS = ("SRN", "GRU reset after", "LSTM")
"""Those that torch has too."""


def randomise(module: nn.Module, generator: torch.Generator, scale: float = 0.5) -> None:
    """Turn a module to float64 with parameters from N(0, scale^2)."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)


def random_cell(kind: MakeCell, seeds: int, input_size: int, hidden_size: int, generator: torch.Generator) -> Cell:
    """Build a cell in float64 with weights from N(0, 0.5^2)."""
    cell = kind(seeds, input_size, hidden_size)
    randomise(cell, generator)
    return cell


def classifier(
    kind: MakeCell,
    seeds: Sequence[int],
    symbols: int = 10,
    classes: int = 7,
    embedding_size: int = 4,
    widths: Sequence[int] = (6,),
    bidirectional: bool = False,
    initial_state: str = "zero",
    make: type[SequenceClassifier] = SequenceClassifier,
    **options: object,
) -> SequenceClassifier:
    """Build a classifier as a run does, with a seed for each place on the axis S."""
    model = make(kind, len(seeds), symbols, classes, embedding_size, widths, bidirectional, initial_state)
    model.initialise(seeds, **options)
    return model


def by_hand(cell: Cell, inputs: Tensor, k: int = 0, state: State | None = None) -> dict[str, Tensor]:
    """Step seed k through the equations of the book and the papers: inputs [B, L, M] -> every part, [B, L, D].

    Written apart from the code it tests: each gate with matrices of its own, each variant as the equation it changes.
    """
    W, U, b = ({} if p is None else dict(zip(cell.gates, p[k], strict=True)) for p in (cell.W, cell.U, cell.b))
    h, *rest = state or [inputs.new_zeros(len(inputs), cell.hidden_size)] * len(cell.states)
    c = rest[0] if rest else None
    variant = getattr(cell, "variant", "")
    peep = cell.P[k] if variant == "peephole" else [0.0] * 3
    steps: list[dict[str, Tensor]] = []
    for x in inputs.unbind(1):

        def see(gate: str, x: Tensor = x, h: Tensor = h) -> Tensor:
            return x @ W[gate] + (h @ U[gate] if U else 0) + b[gate]

        match cell:
            case SRN():
                h = torch.tanh(see("hidden_state"))
                parts = {}
            case ResidualSRN():
                new = torch.tanh(see("candidate"))
                h = h + new
                parts = {"candidate": new}
            case GRU():
                r, z = torch.sigmoid(see("reset_gate")), torch.sigmoid(see("update_gate"))
                own, recurrent = x @ W["candidate"] + b["candidate"], U["candidate"]
                new = torch.tanh(own + (r * (h @ recurrent + cell.c[k]) if cell.reset_after else (r * h) @ recurrent))
                h = z * h + (1 - z) * new
                parts = {"reset_gate": r, "update_gate": z, "candidate": new}
            case LSTM():
                open_gate = torch.ones_like(h)
                f = open_gate if variant == "no_forget_gate" else torch.sigmoid(see("forget_gate") + peep[1] * c)
                if variant in ("no_input_gate", "coupled"):
                    i = open_gate if variant == "no_input_gate" else 1 - f
                else:
                    i = torch.sigmoid(see("input_gate") + peep[0] * c)
                new = torch.tanh(see("candidate"))
                c = f * c + i * new
                o = open_gate if variant == "no_output_gate" else torch.sigmoid(see("output_gate") + peep[2] * c)
                h = o * torch.tanh(c)
                parts = {"input_gate": i, "forget_gate": f, "output_gate": o, "candidate": new, "cell_state": c}
                parts.pop(variant.removeprefix("no_"), None)
            case MinLSTM():
                i, f, new = torch.sigmoid(see("input_gate")), torch.sigmoid(see("forget_gate")), see("candidate")
                h = (f * h + i * new) / (f + i)
                parts = {"input_gate": i / (f + i), "forget_gate": f / (f + i), "candidate": new}
            case MinGRU():
                z, new = torch.sigmoid(see("update_gate")), see("candidate")
                h = (1 - z) * h + z * new
                parts = {"update_gate": z, "candidate": new}
        steps.append({**parts, "hidden_state": h})
    return {name: torch.stack([step[name] for step in steps], 1) for name in steps[0]}


def torchs_layer(stack: Sequence[Sequence[Cell]], k: int) -> nn.RNNBase:
    """Build torch's layer of the cells [layer][direction]; its weights are functions of seed k's, for the gradients."""
    cell = stack[0][0]
    kind, order = {
        SRN: (nn.RNN, ("hidden_state",)),
        GRU: (nn.GRU, ("reset_gate", "update_gate", "candidate")),
        LSTM: (nn.LSTM, ("input_gate", "forget_gate", "candidate", "output_gate")),
    }[type(cell)]
    D = cell.hidden_size
    layer = kind(cell.W.shape[2], D, len(stack), batch_first=True, bidirectional=len(stack[0]) > 1).double()
    gates = [cell.gates.index(name) for name in order]
    for number, cells in enumerate(stack):
        for suffix, own in zip(("", "_reverse"), cells, strict=False):
            second = torch.linspace(
                -1, 1, len(order) * D, dtype=torch.float64
            )  # of torch's two biases; we have the sum
            first = own.b[k, gates].flatten() - second
            if isinstance(own, GRU):  # but two for the candidate, where R acts after the product
                second = torch.cat([second[: 2 * D], own.c[k, 0]])
                first = torch.cat([first[: 2 * D], own.b[k, gates[2]]])
            weights = {
                "weight_ih": own.W[k, gates].transpose(1, 2).flatten(0, 1),
                "weight_hh": own.U[k, gates].transpose(1, 2).flatten(0, 1),
                "bias_ih": first,
                "bias_hh": second,
            }
            for name, weight in weights.items():
                delattr(layer, f"{name}_l{number}{suffix}")  # a parameter makes way for a function of ours
                setattr(layer, f"{name}_l{number}{suffix}", weight)
    return layer


def assert_same(
    ours: Sequence[Tensor],
    theirs: Sequence[Tensor],
    leaves: Sequence[Tensor],
    generator: torch.Generator,
    atol: float = 1e-10,
) -> None:
    """Two ways to the same tensors: they are equal, and so are the gradients of a random weighted sum of them all."""
    weights = [torch.randn(own.shape, generator=generator, dtype=own.dtype) for own in ours]
    gradients = []
    for results in (ours, theirs):
        total = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
        gradients.append(torch.autograd.grad(total, leaves))
    for own, their in zip((*ours, *gradients[0]), (*theirs, *gradients[1]), strict=True):
        torch.testing.assert_close(own, their, atol=atol, rtol=0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)


def python(module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGUMENTS`` in a folder; any warning is an error."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Copy a folder with one run, to be spoilt, into the test's own, which becomes the current; return the run's."""

    def copy(folder: Path) -> Path:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        (summary,) = Path("outputs").glob(f"*/*/{record.SUMMARY}")
        return summary.parent

    return copy


Command = Callable[..., str]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command, given as its main, in this process; return what it prints, or its complaint."""

    def run(main: Callable[[], None], *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["memexp", *arguments])
        try:
            main()
        except SystemExit as stop:
            return str(stop.code)  # a text is printed on stderr, and the exit code is 1
        return capsys.readouterr().out

    return run


CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def memexp(tmp_path: Path) -> CommandLine:
    """Run ``python -m memexp ARGUMENTS`` in the test's own folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memexp", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            timeout=300,
            **options,  # type: ignore[call-overload]
        )

    return run
