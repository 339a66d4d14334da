"""What `memexp.bench` compares memexp with: the same classifier as tutorials write it, one seed at a time.

Each is built with the weights of one seed of a memexp model, so that all start alike and can be compared.
Axis letters as in `memexp.models`: G gates, B batch, L length, M embedding size, D hidden size, V symbols,
K classes.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from memexp.models import LSTM, SRN, Cell, SequenceClassifier
from memexp.tasks.task import Rows

TORCH_LAYERS: dict[type[Cell], tuple[Callable[..., nn.RNNBase], tuple[str, ...]]] = {
    SRN: (nn.RNN, ("hidden_state",)),
    LSTM: (nn.LSTM, ("input_gate", "forget_gate", "candidate", "output_gate")),
}
"""Torch's own layer for a cell, and the order in which it stacks the gates."""


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """Rows as a list of examples, each made into tensors when it is asked for."""

    def __init__(self, rows: Rows) -> None:
        self.examples = list(zip(rows.inputs.tolist(), rows.targets.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the digits, [L], and the label, []."""
        digits, label = self.examples[index]
        return torch.tensor(digits, dtype=torch.long), torch.tensor(label, dtype=torch.long)


def loaded(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, [B, L] and [B], from a DataLoader, epoch after epoch."""
    loader = DataLoader(Examples(rows), batch_size=batch_size, shuffle=False, num_workers=0)
    while True:
        yield from loader


def sliced(rows: Rows, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same batches as slices of whole tensors."""
    while True:
        for start in range(0, len(rows), batch_size):
            yield rows.inputs[start : start + batch_size], rows.targets[start : start + batch_size]


class LoopSRN(nn.Module):
    """The SRN, one time step after the other."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.W = nn.Parameter(torch.empty(input_size, hidden_size))
        self.U = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b = nn.Parameter(torch.empty(1, hidden_size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state: [B, L, M] -> [B, D]."""
        hidden_state = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        for time_step in range(inputs.shape[1]):
            x = inputs[:, time_step, :]
            hidden_state = torch.tanh(torch.matmul(x, self.W) + torch.matmul(hidden_state, self.U) + self.b)
        return hidden_state


class LoopLSTM(nn.Module):
    """The LSTM, one time step after the other, gate by gate."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        M, D = input_size, hidden_size
        self.hidden_size = hidden_size
        self.W_i, self.W_f, self.W_o, self.W_c = (nn.Parameter(torch.empty(M, D)) for _ in range(4))
        self.U_i, self.U_f, self.U_o, self.U_c = (nn.Parameter(torch.empty(D, D)) for _ in range(4))
        self.b_i, self.b_f, self.b_o, self.b_c = (nn.Parameter(torch.empty(1, D)) for _ in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state: [B, L, M] -> [B, D]."""
        h = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        c = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        for time_step in range(inputs.shape[1]):
            x = inputs[:, time_step, :]
            i = torch.sigmoid(torch.matmul(x, self.W_i) + torch.matmul(h, self.U_i) + self.b_i)
            f = torch.sigmoid(torch.matmul(x, self.W_f) + torch.matmul(h, self.U_f) + self.b_f)
            o = torch.sigmoid(torch.matmul(x, self.W_o) + torch.matmul(h, self.U_o) + self.b_o)
            candidate = torch.tanh(torch.matmul(x, self.W_c) + torch.matmul(h, self.U_c) + self.b_c)
            c = f * c + i * candidate
            h = o * torch.tanh(c)
        return h


class LastState(nn.Module):
    """Torch's own layer, reduced to its last hidden state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last hidden state: [B, L, M] -> [B, D]."""
        _, state = self.layer(inputs)
        hidden_state: Tensor = state[0] if isinstance(state, tuple) else state  # [1, B, D]
        return hidden_state[0]


@torch.no_grad()
def loop_classifier(model: SequenceClassifier, k: int) -> nn.Sequential:
    """Build the classifier around a Python loop over time steps, with the weights of seed k."""
    cell = model.cell
    _, _, M, D = cell.W.shape
    loop: LoopSRN | LoopLSTM = LoopSRN(M, D) if isinstance(cell, SRN) else LoopLSTM(M, D)
    suffixes = ("",) if isinstance(loop, LoopSRN) else ("_i", "_f", "_o", "_c")  # in the cell's order
    network = _around(model, k, loop)  # brings the loop to the model's precision
    for gate, suffix in enumerate(suffixes):
        for name, parameter in (("W", cell.W), ("U", cell.U), ("b", cell.b)):
            loop.get_parameter(name + suffix).copy_(parameter[k, gate])
    return network


@torch.no_grad()
def torch_classifier(model: SequenceClassifier, k: int) -> nn.Sequential:
    """Build the classifier around torch's own layer, with the weights of seed k.

    Torch's layer has a second bias, which starts at zero: output and gradients agree, but in training the two
    move together, twice as far as one.
    """
    return _around(model, k, LastState(torch_layer(model.cell, k)))


@torch.no_grad()
def torch_layer(cell: Cell, k: int) -> nn.RNNBase:
    """Build torch's own layer with the weights of seed k; its second bias is zero."""
    _, _, M, D = cell.W.shape
    kind, _ = TORCH_LAYERS[type(cell)]
    layer: nn.RNNBase = kind(M, D, batch_first=True, dtype=cell.W.dtype)
    order = _gate_order(cell)
    layer.get_parameter("weight_ih_l0").copy_(cell.W[k, order].transpose(1, 2).flatten(0, 1))
    layer.get_parameter("weight_hh_l0").copy_(cell.U[k, order].transpose(1, 2).flatten(0, 1))
    layer.get_parameter("bias_ih_l0").copy_(cell.b[k, order].flatten())
    layer.get_parameter("bias_hh_l0").zero_()
    return layer


def torch_gradients(network: nn.Sequential, cell: Cell) -> dict[str, Tensor]:
    """Return the gradients of a `torch_classifier` by the names, and in the shapes, of one seed of memexp.

    The second bias has the gradient of the first one; both are returned (``cell.b``, ``cell.b again``).
    """
    own = {name: _gradient(parameter) for name, parameter in network.named_parameters()}
    G = len(cell.gates)
    back = [_gate_order(cell).index(gate) for gate in range(G)]
    return {
        "embedding": own["0.weight"],
        "cell.W": torch.stack(own["1.layer.weight_ih_l0"].chunk(G))[back].transpose(1, 2),
        "cell.U": torch.stack(own["1.layer.weight_hh_l0"].chunk(G))[back].transpose(1, 2),
        "cell.b": own["1.layer.bias_ih_l0"].view(G, -1)[back],
        "cell.b again": own["1.layer.bias_hh_l0"].view(G, -1)[back],
        "head_weight": own["2.weight"].T,
        "head_bias": own["2.bias"],
    }


def differences(
    model: SequenceClassifier, k: int, network: nn.Sequential, inputs: Tensor, targets: Tensor
) -> tuple[float, float]:
    """Compare seed k of a model with a `torch_classifier` on inputs [B, L], targets [B].

    Returns:
        The largest absolute difference of logits, and of the gradients of the cross-entropy.
    """
    model.zero_grad()
    network.zero_grad()
    logits, expected = model(inputs[None])[k], network(inputs)
    for answer in (logits, expected):
        F.cross_entropy(answer, targets).backward()  # type: ignore[no-untyped-call]
    own = {name: _gradient(parameter)[k] for name, parameter in model.named_parameters()}
    theirs = torch_gradients(network, model.cell)
    gradients = [(own[name.removesuffix(" again")] - gradient).abs().max() for name, gradient in theirs.items()]
    return float((logits - expected).detach().abs().max()), float(torch.stack(gradients).max())


def training(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    learning_rate: float,
    clock: Callable[[], float],
) -> Callable[[int], float]:
    """Return a function that trains on for a number of updates and returns the seconds they took."""
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def update() -> None:
        inputs, targets = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def seconds(updates: int) -> float:
        update()  # not timed: it finds the caches full of what the contestant before it left
        started = clock()
        for _ in range(updates):
            update()
        return clock() - started

    return seconds


def _around(model: SequenceClassifier, k: int, layer: nn.Module) -> nn.Sequential:
    """Put embedding and head of seed k around a layer [B, L, M] -> [B, D]: tokens [B, L] -> logits [B, K]."""
    (V, M), (D, K) = model.embedding.shape[1:], model.head_weight.shape[1:]
    embedding, head = nn.Embedding(V, M), nn.Linear(D, K)
    network = nn.Sequential(embedding, layer, head).to(model.embedding.dtype)
    embedding.weight.copy_(model.embedding[k])
    head.weight.copy_(model.head_weight[k].T)
    head.bias.copy_(model.head_bias[k])
    return network


def _gate_order(cell: Cell) -> list[int]:
    """Return the place in ``cell.gates`` of each of the gates that torch's layer stacks."""
    return [cell.gates.index(name) for name in TORCH_LAYERS[type(cell)][1]]


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
