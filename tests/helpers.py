"""What several tests use: cells and models, their equations once more, tasks, and the command line in a folder."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from memexp import CONF_DIR, experiment
from memexp.config import check
from memexp.experiment import build_task
from memexp.models.cells import (
    GRU,
    IRNN,
    LSTM,
    LSTM1997,
    SLSTM,
    SRN,
    Cell,
    Diagonal,
    IndRNN,
    MinGRU,
    MinLSTM,
    ResidualSRN,
    State,
)
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.results.history import HISTORY_COLUMNS
from memexp.results.identity import identity_of
from memexp.tasks.metrics import Accuracy, CrossEntropy
from memexp.training import checkpoints
from memexp.training.engines import TorchEngine
from memexp.training.runner import Runner

MakeCell = Callable[[int, int, int], Cell]
Command = Callable[..., str]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

KINDS: dict[str, MakeCell] = {
    "SRN": SRN,
    "ResidualSRN": ResidualSRN,
    "GRU reset before": partial(GRU, reset_after=False),
    "GRU reset after": partial(GRU, reset_after=True),
    "LSTM": partial(LSTM, variant="none"),
    **{f"LSTM {variant}": partial(LSTM, variant=variant) for variant in LSTM.VARIANTS if variant != "none"},
    "MinGRU": MinGRU,
    "MinLSTM": MinLSTM,
    "IRNN": IRNN,
    "IndRNN": IndRNN,
    "LSTM1997": partial(LSTM1997, truncated=False),
    "SLSTM": SLSTM,
    "Diagonal": partial(Diagonal, lowest=0.0),
    "Diagonal signed": partial(Diagonal, lowest=-1.0),
}
"""Every cell with every option of its own, but for those that do not learn by the gradient of what they compute."""

TRUNCATED: dict[str, MakeCell] = {"LSTM1997 truncated": partial(LSTM1997, truncated=True)}
"""Those others."""

COMPILED = {name: kind for name, kind in {**KINDS, **TRUNCATED}.items() if name != "SLSTM"}
"""Those that the compiled engine covers."""

TORCH_KINDS = ("SRN", "GRU reset after", "LSTM")
"""Those that are read from torch's layers and written as them."""

#: A module with a cell of a user's own, as in the README.
LEAKY_SRN = """
import torch
from memexp.models import Cell

class LeakySRN(Cell):
    title = "leaky SRN"
    gates = ("candidate",)

    def step(self, x, state):
        candidate = torch.tanh(x + self.recurrent(state[0])).squeeze(1)
        h = 0.9 * state[0] + 0.1 * candidate
        return (h,), {"candidate": candidate, "hidden_state": h}
"""


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
    every_step: bool = False,
    initialiser: str = "xavier",
    forget_bias: float = 0.0,
    longest: int = 0,
    files: Sequence[str] = (),
) -> SequenceModel:
    """Build a model as a run does, with a seed for each place on the axis S."""
    model = SequenceModel(
        kind, len(seeds), symbols, classes, every_step, embedding_size, widths, bidirectional, initial_state
    )
    model.initialise(seeds, initialiser, forget_bias, longest, files)
    return model


def runner_of(model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> Runner:
    """Build a runner of the book's setting: cross-entropy, accuracy, the mean over a batch, no clipping."""
    learning = {"reduction": "mean", "clip": None, "clip_by": "global", "watched": None}
    own = {name: options.pop(name, default) for name, default in learning.items()}
    asked = {"loss": CrossEntropy, "metrics": (Accuracy,), **options}
    return Runner(TorchEngine(model, optimizer, asked["loss"], **own), **asked)


def config_of(*overrides: str) -> DictConfig:
    """Compose and check the config of one run, as the command line does."""
    with initialize_config_dir(str(CONF_DIR), job_name="memexp", version_base="1.3"):
        return check(compose("config", list(overrides)))


def task_of(name: str, folder: Path, *overrides: str) -> Any:
    """Build a task with the defaults of its YAML file; data go into a folder."""
    return build_task(config_of(f"task={name}", f"datasets_dir={folder}", *overrides))


def by_hand(cell: Cell, inputs: Tensor, k: int = 0, state: State | None = None) -> dict[str, Tensor]:
    """Step seed k through the equations of the book and the papers: inputs [B, L, M] -> every part, [B, L, D].

    Written apart from the code it tests: each gate with matrices of its own, each variant as the equation it changes.
    """
    W, U, b = ({} if p is None else dict(zip(cell.gates, p[k], strict=True)) for p in (cell.W, cell.U, cell.b))
    h, *rest = state or [part[k] for part in cell.initial_state(len(inputs))]
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
            case IRNN():
                h = see("hidden_state").clamp(min=0)
                parts = {}
            case IndRNN():
                h = (see("hidden_state") + cell.u[k, 0] * h).clamp(min=0)
                parts = {}
            case LSTM1997():
                fed = h.detach() if cell.truncated else h
                i, o = torch.sigmoid(see("input_gate", h=fed)), torch.sigmoid(see("output_gate", h=fed))
                new = 2 * torch.tanh(see("candidate", h=fed) / 2)
                c = c + i * new
                h = o * torch.tanh(c / 2)
                parts = {"input_gate": i, "output_gate": o, "candidate": new, "cell_state": c}
            case SLSTM():  # as published, from the c and n that this state stands for
                n = torch.exp(rest[0])
                i, f = torch.exp(see("input_gate")), torch.sigmoid(see("forget_gate"))
                new, o = torch.tanh(see("candidate")), torch.sigmoid(see("output_gate"))
                before, whole = n * rest[1], f * n + i
                c = (f * before + i * new) / whole
                parts = {"input_gate": i / whole, "forget_gate": f * n / whole, "output_gate": o, "candidate": new}
                h, rest = o * c, [torch.log(whole), c]
                parts |= {"log_normaliser": rest[0], "cell_state": c}
            case Diagonal():
                f, new = torch.sigmoid(see("forget_gate")), see("candidate")
                h = (f if cell.lowest == 0 else 2 * f - 1) * h + new
                parts = {"forget_gate": f, "candidate": new}
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
        IRNN: (partial(nn.RNN, nonlinearity="relu"), ("hidden_state",)),
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


def seed_row(seed: int, exact: float | None = 0.5, diverged_at: int | None = None) -> dict[str, object]:
    """Write what the record of a run of digit sums says of a seed."""
    scores = {"dev_accuracy": 0.6, "test_accuracy": 0.55, "exact_accuracy": exact, "exact_loss": 1.0}
    scores["retained_bits"] = 2.5
    return {"seed": seed, "best_iteration": 100, "diverged_at": diverged_at, **scores}


def make_run(
    study: Path,
    length: int,
    model: str = "lstm",
    seeds: list[dict[str, object]] | None = None,
    task: dict[str, object] | None = None,
    **summary: object,
) -> Path:
    """Write the record of a finished run by hand, without history and weights; return its folder.

    Args:
        study: the study's folder.
        length: of the run; it and the model name the folder, and so does a task other than digit sums.
        model: its name.
        seeds: what the record says of each seed; None for two seeds of digit sums.
        task: the settings of its task; None for digit sums.
        summary: what else the record says, or says otherwise.
    """
    rows = [seed_row(0), seed_row(1, 0.7)] if seeds is None else seeds
    digit_sum = {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum", "sampling": "fixed"}
    config = {
        "length": length,
        "task": task or digit_sum,
        "model": {"_target_": f"memexp.models.{model.upper()}", "name": model, "hidden_size": 4},
        "seeds": [row["seed"] for row in rows],
        "lr": 0.1,
        "clip": None,
        "study": study.name,
    }
    other = f",task={task['name']}" if task else ""
    folder = study / f"length={length},model={model}{other}"
    folder.mkdir(parents=True)
    record.write_json(folder / record.CONFIG, identity_of(config, "hash"))
    content = {
        "format": record.FORMAT,
        "memexp": "0.2.0",
        "torch": "2.13.0",
        "device_used": "cpu",
        "title": model.upper(),
        "trained_on": f"length {length}",
        "parameters": 9,
        "state_size": 8,
        "hidden_sizes": [4],
        "updates": 100,
        "seconds": 2.0,
        "tokens_per_second": 1000.0,
        "interface": {"inputs": 10, "outputs": 19, "every_step": False, "longest": length},
        "about": {"exact_over": "all 100 inputs", "target_entropy_bits": 4.0, "chance_accuracy": 0.1},
        "floors": {"accuracy": {"always the likeliest answer": 0.1}, "loss": {"knowing nothing": 2.5}},
        "shown": {"dev_accuracy": True, "test_accuracy": True, "exact_accuracy": True},
        "panels": [] if task else ["task.sampling"],
        "config": config,
        "seeds": rows,
        "test_right": {str(row["seed"]): "0101" for row in rows},
    }
    record.write_summary(folder, content | summary)
    return folder


def write_history(folder: Path, rows: Iterable[tuple[object, ...]]) -> None:
    """Give a record that `make_run` wrote a history."""
    lines = [HISTORY_COLUMNS, *rows]
    (folder / record.HISTORY).write_text("".join(f"{','.join(map(str, line))}\n" for line in lines), encoding="utf-8")
    reseal(folder)


def reseal(folder: Path) -> None:
    """Seal the files of a run anew, whatever they hold: what was done to them is not what a test is about."""
    record.write_summary(folder, json.loads((folder / record.SUMMARY).read_text(encoding="utf-8")))


def axes() -> Axes:
    """Return the Axes of a new figure."""
    return Figure().subplots()


def x_labels(ax: Axes) -> list[str]:
    """Read what stands at the ticks of the x axis."""
    return [label.get_text() for label in ax.get_xticklabels()]


def random_trace(length: int, units: int = 32) -> dict[str, np.ndarray]:
    """Make up the trace of an LSTM: name -> [L, D], all from 0 to 1."""
    draw = np.random.default_rng(0)
    names = ("input_gate", "forget_gate", "output_gate", "candidate", "cell_state", "hidden_state")
    return {name: draw.random((length, units)) for name in names}


OWN_TASK = """
from dataclasses import dataclass

import torch

from memexp.fields import ranged
from memexp.tasks.metrics import SquaredError
from memexp.tasks.task import Interface, Rows, Task, generator, stack


@dataclass(kw_only=True, eq=False)
class Totals(Task):
    loss = SquaredError
    metrics = (SquaredError,)
    scale: float = ranged(above=0)

    @property
    def interface(self):
        return Interface(2, 1, every_step=True, longest=self.length)

    def draw(self, rows, stream, seed=0):
        inputs = self.scale * torch.rand(rows, self.length, 2, generator=generator(seed, stream, 0))
        return Rows(inputs, inputs.sum(-1).cumsum(-1))

    def batch(self, iteration):
        return stack([self.draw(self.batch_size, f"train{iteration}", seed) for seed in self.seeds])

    def rows(self, split):
        return self.draw(20, split)

    def floors(self):
        return {"squared_error": {"always 0": 12.0}}

    def about(self):
        return {"largest": 2 * self.scale}
"""
"""A task that memexp does not know: two numbers at every step, whose sums so far are asked at every step."""


def train_own_task(folder: Path, name: str = "totals_task") -> Path:
    """Train on `OWN_TASK`, in a module of this name in a folder, which has to be on the path; return the run folder."""
    (folder / f"{name}.py").write_text(OWN_TASK)
    config = OmegaConf.to_container(config_of("length=5", "model=gru", "model.hidden_size=4", "model.embedding_size=0"))
    assert isinstance(config, dict)
    config |= {"task": {"_target_": f"{name}.Totals", "name": "totals", "scale": 2.0}, "epochs": 3, "seeds": [3, 1]}
    run = folder / "outputs" / "numbers" / "length=5,model=gru"
    experiment.run(check(OmegaConf.create(config)), run)
    return run


@contextmanager
def stopping_after(update: int) -> Iterator[None]:
    """Let every training stop after so many updates, as Ctrl-C does: with a checkpoint, and KeyboardInterrupt."""
    train = Runner.train

    def some(self: Runner, *arguments: Any, **options: Any) -> None:
        train(self, *arguments, **{**options, "should_stop": lambda: self.iteration == update})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "train", some)
        yield


def goes_on_where_it_was_stopped(folder: Path, *overrides: str) -> None:
    """Stop a run in its middle and give it again: history, weights and scores are those of one that was not stopped."""
    config = config_of(*overrides, "seeds=2", "epochs=2", "eval_steps=3", "log_steps=2", f"datasets_dir={folder}")
    whole, stopped = folder / "whole", folder / "stopped"
    experiment.run(config, whole)
    with stopping_after(5), pytest.raises(KeyboardInterrupt):
        experiment.run(config, stopped)
    assert not record.is_complete(stopped)
    experiment.run(config, stopped)
    assert (stopped / record.HISTORY).read_bytes() == (whole / record.HISTORY).read_bytes()
    best = [checkpoints.load(run / record.BEST, "weights")["weights"] for run in (whole, stopped)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])
    assert record.read_summary(stopped)["seeds"] == record.read_summary(whole)["seeds"]


def change(path: Path, key: str, value: object) -> None:
    """Set what a record says under a dotted key."""
    summary = json.loads(path.read_text())
    *outer, last = key.split(".")
    reduce(getitem, outer, summary)[last] = value
    record.write_summary(path.parent, summary)
