"""What `memexp.bench` compares memexp with: the same classifier as tutorials write it, one seed at a time.

Each is built with the weights of one seed of a memexp model, so that all start alike and can be compared.
Axis letters as in `memexp.models.cells`: G gates, B batch, L length, M embedding size, D hidden size, V symbols,
K classes.
"""

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, SRN, Cell, State
from memexp.models.networks import SequenceModel
from memexp.tasks.task import Rows

TORCH_LAYERS: dict[type[Cell], tuple[Callable[..., nn.RNNBase], tuple[str, ...]]] = {
    SRN: (nn.RNN, ("hidden_state",)),
    LSTM: (nn.LSTM, ("input_gate", "forget_gate", "candidate", "output_gate")),
    GRU: (nn.GRU, ("reset_gate", "update_gate", "candidate")),
}
"""Torch's own layer for a cell, and the order in which it stacks the gates; `no_torch_layer` names the exceptions."""

SECOND_BIAS = "second_bias"
"""The gradient of torch's second bias in `torch_gradients`."""

Gradients = Callable[[nn.Sequential, Cell], dict[str, Tensor]]
"""(network, cell) -> the gradients of the network by the names, and in the shapes, of the parameters of a model."""


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """Rows as a list of examples, each made into tensors when it is asked for."""

    def __init__(self, rows: Rows) -> None:
        self.examples = list(zip(rows.inputs.tolist(), rows.targets.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the digits, [L], and the label, [1]."""
        digits, label = self.examples[index]
        return torch.tensor(digits), torch.tensor(label)


def loaded(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, [B, L] and [B, 1], from a DataLoader, epoch after epoch."""
    loader = DataLoader(Examples(rows), batch_size=batch_size, shuffle=False, num_workers=0)
    while True:
        yield from loader


def sliced(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same batches as slices of whole tensors."""
    while True:
        for start in range(0, len(rows), batch_size):
            yield rows.inputs[start : start + batch_size], rows.targets[start : start + batch_size]


class Loop(nn.Module):
    """A recurrent layer as tutorials write it: one time step after the other, gate by gate; a subclass writes `step`.

    Attributes:
        suffixes: what the names of a gate's parameters end in, in the order of the cell's gates.
        states: how many tensors are carried on.
    """

    suffixes: ClassVar[tuple[str, ...]] = ("",)
    states: ClassVar[int] = 1

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    def step(self, x: Tensor, state: State) -> State:
        """Advance by one time step: x [B, M], the state [B, D] each."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state: [B, L, M] -> [B, D]."""
        state: State = tuple(inputs.new_zeros(inputs.shape[0], self.hidden_size) for _ in range(self.states))
        for time_step in range(inputs.shape[1]):
            state = self.step(inputs[:, time_step, :], state)
        return state[0]

    @torch.no_grad()
    def load(self, cell: Cell, k: int) -> None:
        """Take the weights of seed k of a cell."""
        for name, parameter in cell.named_parameters():
            rows = parameter[k].unbind(0)  # one for each gate; what only one gate has is named without it
            for row, suffix in zip(rows, self.suffixes if len(rows) > 1 else ("",), strict=False):
                self.get_parameter(name + suffix).copy_(row)


class LoopSRN(Loop):
    """The SRN."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.W = nn.Parameter(torch.empty(input_size, hidden_size))
        self.U = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b = nn.Parameter(torch.empty(hidden_size))

    def step(self, x: Tensor, state: State) -> State:  # noqa: D102
        (h,) = state
        return (torch.tanh(torch.matmul(x, self.W) + torch.matmul(h, self.U) + self.b),)


class LoopGRU(Loop):
    """The GRU that resets after the recurrent product, as torch's does."""

    suffixes = ("_r", "_z", "_h")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        M, D = input_size, hidden_size
        self.W_r, self.W_z, self.W_h = (nn.Parameter(torch.empty(M, D)) for _ in range(3))
        self.U_r, self.U_z, self.U_h = (nn.Parameter(torch.empty(D, D)) for _ in range(3))
        self.b_r, self.b_z, self.b_h = (nn.Parameter(torch.empty(D)) for _ in range(3))
        self.c = nn.Parameter(torch.empty(D))

    def step(self, x: Tensor, state: State) -> State:  # noqa: D102
        (h,) = state
        r = torch.sigmoid(torch.matmul(x, self.W_r) + torch.matmul(h, self.U_r) + self.b_r)
        z = torch.sigmoid(torch.matmul(x, self.W_z) + torch.matmul(h, self.U_z) + self.b_z)
        candidate = torch.tanh(torch.matmul(x, self.W_h) + r * (torch.matmul(h, self.U_h) + self.c) + self.b_h)
        return (z * h + (1 - z) * candidate,)


class LoopLSTM(Loop):
    """The LSTM."""

    suffixes = ("_i", "_f", "_o", "_c")
    states = 2

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        M, D = input_size, hidden_size
        self.W_i, self.W_f, self.W_o, self.W_c = (nn.Parameter(torch.empty(M, D)) for _ in range(4))
        self.U_i, self.U_f, self.U_o, self.U_c = (nn.Parameter(torch.empty(D, D)) for _ in range(4))
        self.b_i, self.b_f, self.b_o, self.b_c = (nn.Parameter(torch.empty(D)) for _ in range(4))

    def step(self, x: Tensor, state: State) -> State:  # noqa: D102
        h, c = state
        i = torch.sigmoid(torch.matmul(x, self.W_i) + torch.matmul(h, self.U_i) + self.b_i)
        f = torch.sigmoid(torch.matmul(x, self.W_f) + torch.matmul(h, self.U_f) + self.b_f)
        o = torch.sigmoid(torch.matmul(x, self.W_o) + torch.matmul(h, self.U_o) + self.b_o)
        candidate = torch.tanh(torch.matmul(x, self.W_c) + torch.matmul(h, self.U_c) + self.b_c)
        c = f * c + i * candidate
        return o * torch.tanh(c), c


LOOPS: dict[type[Cell], Callable[[int, int], Loop]] = {SRN: LoopSRN, LSTM: LoopLSTM, GRU: LoopGRU}
"""Cell -> (input_size, hidden_size) -> the loop, for the cells that torch has a layer for (`no_torch_layer`)."""


class AllStates(nn.Module):
    """Torch's own layer, reduced to its hidden states."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the hidden states: [B, L, M] -> [B, L, D]."""
        outputs: Tensor = self.layer(inputs)[0]
        return outputs


class LastState(AllStates):
    """Torch's own layer, reduced to its last hidden state."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state: [B, L, M] -> [B, D]."""
        _, state = self.layer(inputs)
        hidden_state: Tensor = state[0] if isinstance(state, tuple) else state  # [1, B, D]
        return hidden_state[0]


class OneHot(nn.Module):
    """One-hot vectors of symbols."""

    def __init__(self, symbols: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.symbols, self.dtype = symbols, dtype

    def forward(self, tokens: Tensor) -> Tensor:
        """Return a vector for each symbol: [B, L] -> [B, L, V]."""
        return F.one_hot(tokens, self.symbols).to(self.dtype)


def loop_classifier(model: SequenceModel, k: int) -> nn.Sequential:
    """Build the classifier around a Python loop over time steps, with the weights of seed k; one layer.

    Raises:
        ConfigError: there is no loop for the cell.
    """
    cell = model.cell
    if no_torch_layer(cell):
        raise ConfigError(f"there is no plain loop of this {type(cell).__name__}: {no_torch_layer(cell)}")
    _, _, M, D = cell.W.shape
    loop = LOOPS[type(cell)](M, D)
    network = _around(model, k, loop)  # brings the loop to the model's precision
    loop.load(cell, k)
    return network


def torch_classifier(model: SequenceModel, k: int) -> nn.Sequential:
    """Build the classifier around torch's own layer, with the weights of seed k; one layer.

    Torch's layer has a second bias, which starts at zero: output and gradients agree, but in training the two
    move together, twice as far as one. (In nn.GRU that goes for the two gates; the candidate has two biases here too.)

    Raises:
        ConfigError: torch has no layer for the cell.
    """
    states = AllStates if model.every_step else LastState
    return _around(model, k, states(torch_layer(model.cell, k)))


def no_torch_layer(cell: Cell) -> str:
    """Say why torch has no layer that computes what a cell does, in one line; empty if it has one."""
    kind = type(cell)
    if kind not in TORCH_LAYERS:
        return f"torch has no layer for {kind.__name__}; it has one for {', '.join(k.__name__ for k in TORCH_LAYERS)}"
    if isinstance(cell, LSTM) and cell.variant != "none":
        return f"torch has no layer for an LSTM with variant={cell.variant}; nn.LSTM is variant=none"
    if isinstance(cell, GRU) and not cell.reset_after:
        return f"torch has no layer for this GRU: nn.GRU resets after the recurrent product, and {cell.loading_hint}"
    return ""


@torch.no_grad()
def torch_layer(cell: Cell, k: int) -> nn.RNNBase:
    """Build torch's own layer with the weights of seed k; its second bias is zero but for the c of a GRU.

    Raises:
        ConfigError: torch has no layer for the cell.
    """
    complaint = no_torch_layer(cell)
    if complaint:
        raise ConfigError(complaint)
    assert cell.U is not None
    _, _, M, D = cell.W.shape
    kind, _ = TORCH_LAYERS[type(cell)]
    layer: nn.RNNBase = kind(M, D, batch_first=True, dtype=cell.W.dtype)
    order = _gate_order(cell)
    layer.get_parameter("weight_ih_l0").copy_(cell.W[k, order].transpose(1, 2).flatten(0, 1))
    layer.get_parameter("weight_hh_l0").copy_(cell.U[k, order].transpose(1, 2).flatten(0, 1))
    layer.get_parameter("bias_ih_l0").copy_(cell.b[k, order].flatten())
    second = layer.get_parameter("bias_hh_l0").zero_()
    if isinstance(cell, GRU) and cell.c is not None:
        second.view(len(order), D)[-1] = cell.c[k, 0]  # torch's b_hn
    return layer


def torch_gradients(network: nn.Sequential, cell: Cell) -> dict[str, Tensor]:
    """Return the gradients of a `torch_classifier` by the names, and in the shapes, of the model's parameters."""
    own = {name: _gradient(parameter) for name, parameter in network.named_parameters()}
    G = len(cell.gates)
    back = [_gate_order(cell).index(gate) for gate in range(G)]
    second = own["1.layer.bias_hh_l0"].view(G, -1)[back]
    gradients = {
        **({"embedding": own["0.weight"]} if "0.weight" in own else {}),
        "layers.0.0.cell.W": torch.stack(own["1.layer.weight_ih_l0"].chunk(G))[back].transpose(1, 2),
        "layers.0.0.cell.U": torch.stack(own["1.layer.weight_hh_l0"].chunk(G))[back].transpose(1, 2),
        "layers.0.0.cell.b": own["1.layer.bias_ih_l0"].view(G, -1)[back],
        SECOND_BIAS: second,
        "head_weight": own["2.weight"].T,
        "head_bias": own["2.bias"],
    }
    return {**gradients, "layers.0.0.cell.c": second[-1:]} if isinstance(cell, GRU) else gradients


def loop_gradients(network: nn.Sequential, cell: Cell) -> dict[str, Tensor]:
    """Return the gradients of a `loop_classifier` by the names, and in the shapes, of the model's parameters."""
    own = {name: _gradient(parameter) for name, parameter in network.named_parameters()}
    gradients = {"embedding": own["0.weight"], "head_weight": own["2.weight"].T, "head_bias": own["2.bias"]}
    suffixes = LOOPS[type(cell)](1, 1).suffixes
    for name, parameter in cell.named_parameters():
        rows = suffixes if parameter.shape[1] > 1 else ("",)
        gradients[f"layers.0.0.cell.{name}"] = torch.stack([own[f"1.{name}{suffix}"] for suffix in rows])
    return gradients


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats: logits [B, K], or [B, L, K], and as many targets."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def training(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    learning_rate: float,
    clock: Callable[[], float],
    fused: bool = False,
) -> Callable[[int], float]:
    """Return a function that trains on for a number of updates and returns the seconds they took.

    Args:
        network: tokens -> logits.
        batches: tokens and targets.
        learning_rate: of Adam.
        clock: tells the time, in seconds.
        fused: use torch's fused Adam; tutorials do not.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=fused)

    def update() -> None:
        inputs, targets = next(batches)
        optimizer.zero_grad()
        cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def seconds(updates: int) -> float:
        update()  # not timed: it finds the caches full of what the contestant before it left
        started = clock()
        for _ in range(updates):
            update()
        return clock() - started

    return seconds


@torch.no_grad()
def _around(model: SequenceModel, k: int, layer: nn.Module) -> nn.Sequential:
    """Put embedding and head of seed k around a layer [B, L, M] -> [B, D] or [B, L, D]: tokens [B, L] -> logits."""
    D, K = model.head_weight.shape[1:]
    head, dtype = nn.Linear(D, K), model.head_weight.dtype
    if model.embedding is None:
        first: nn.Module = OneHot(model.cell.W.shape[2], dtype)
    else:
        first = nn.Embedding.from_pretrained(model.embedding[k].clone(), freeze=False)  # type: ignore[no-untyped-call]
    network = nn.Sequential(first, layer, head).to(dtype)
    head.weight.copy_(model.head_weight[k].T)
    head.bias.copy_(model.head_bias[k])
    return network


def _gate_order(cell: Cell) -> list[int]:
    """Return the place in ``cell.gates`` of each of the gates that torch's layer stacks."""
    return [cell.gates.index(name) for name in TORCH_LAYERS[type(cell)][1]]


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
