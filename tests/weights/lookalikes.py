"""Look-alikes of other people's models, written apart from the code that reads them."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

V, M, D, K = 10, 5, 7, 19  # every size another


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * 0.5)


class Embedding(nn.Module):
    """The book's embedding: W, not weight."""

    def __init__(self) -> None:
        super().__init__()
        self.W = parameter(V, M)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.W[inputs]


class BookSRN(nn.Module):
    def __init__(self, bias: tuple[int, ...]) -> None:
        super().__init__()
        self.W, self.U, self.b = parameter(M, D), parameter(D, D), parameter(*bias)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), D)
        for step in x.unbind(1):
            h = torch.tanh(step @ self.W + h @ self.U + self.b.flatten())
        return h


class BookLSTM(nn.Module):
    """W_i, U_i, b_i and so on; the candidate is called c, a or g."""

    def __init__(self, bias: tuple[int, ...], candidate: str) -> None:
        super().__init__()
        self.candidate = candidate
        for gate in ("i", "f", "o", candidate):
            self.register_parameter(f"W_{gate}", parameter(M, D))
            self.register_parameter(f"U_{gate}", parameter(D, D))
            self.register_parameter(f"b_{gate}", parameter(*bias))

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), D)
        for step in x.unbind(1):
            i, f, o, a = (
                step @ self.get_parameter(f"W_{g}") + h @ self.get_parameter(f"U_{g}") + self.get_parameter(f"b_{g}")
                for g in ("i", "f", "o", self.candidate)
            )
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(a)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class LinearLSTM(nn.Module):
    """An nn.Linear for each gate and source, so that every matrix is the other way round, and there are two biases."""

    def __init__(self) -> None:
        super().__init__()
        for gate in "ifoc":
            self.add_module(f"W_{gate}", nn.Linear(M, D))
            self.add_module(f"U_{gate}", nn.Linear(D, D))

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), D)
        for step in x.unbind(1):
            i, f, o, a = (self.get_submodule(f"W_{g}")(step) + self.get_submodule(f"U_{g}")(h) for g in "ifoc")
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(a)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class ColumnSRN(nn.Module):
    """W x, as papers write it: the matrices are [units, inputs], and the bias is a column."""

    def __init__(self) -> None:
        super().__init__()
        self.W_xh, self.W_hh, self.b_h = parameter(D, M), parameter(D, D), parameter(D, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(D, len(x))
        for step in x.unbind(1):
            h = torch.tanh(self.W_xh @ step.T + self.W_hh @ h + self.b_h)
        return h.T


class DiveGRU(nn.Module):
    """W_xz, W_hz, b_z and so on; by default as the book: it resets before, and z weighs the old state."""

    def __init__(self, reset: str = "before", update: str = "old") -> None:
        super().__init__()
        self.reset, self.update = reset, update
        for gate in "zrh":
            self.register_parameter(f"W_x{gate}", parameter(M, D))
            self.register_parameter(f"W_h{gate}", parameter(D, D))
            self.register_parameter(f"b_{gate}", parameter(D))

    def forward(self, x: Tensor) -> Tensor:
        h, p = x.new_zeros(len(x), D), self.get_parameter
        for step in x.unbind(1):
            z, r = (torch.sigmoid(step @ p(f"W_x{g}") + h @ p(f"W_h{g}") + p(f"b_{g}")) for g in "zr")
            inner = (r * h) @ p("W_hh") if self.reset == "before" else r * (h @ p("W_hh"))
            candidate = torch.tanh(step @ p("W_xh") + inner + p("b_h"))
            old = z if self.update == "old" else 1 - z
            h = old * h + (1 - old) * candidate
        return h


class Torch(nn.Module):
    """One of torch's layers; the last states of the top layer, of both directions."""

    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.directions = 1 + bool(options.get("bidirectional"))
        self.layer = kind(M, D, batch_first=True, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        last = self.layer(x)[1]
        last = last[0] if isinstance(last, tuple) else last
        return torch.cat([*last[-self.directions :]], -1)


class Cells(nn.Module):
    """Two of torch's cells, one above the other."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(M, D), nn.LSTMCell(D, D)])

    def forward(self, x: Tensor) -> Tensor:
        states = [(x.new_zeros(len(x), D),) * 2 for _ in self.cells]
        for step in x.unbind(1):
            for k, cell in enumerate(self.cells):
                states[k] = cell(step, states[k])
                step = states[k][0]
        return states[-1][0]


class Whole(nn.Module):
    """Embedding, recurrent layer and linear layer, by whatever names."""

    def __init__(
        self, layer: nn.Module, names: tuple[str, str, str], embedding: nn.Module | None = None, width: int = D
    ) -> None:
        super().__init__()
        self.names = names
        parts = (embedding or nn.Embedding(V, M), layer, nn.Linear(width, K))
        for name, part in zip(names, parts, strict=True):
            self.add_module(name, part)

    def forward(self, inputs: Tensor) -> Tensor:
        embedding, layer, linear = (self.get_submodule(name) for name in self.names)
        return linear(layer(embedding(inputs)))  # type: ignore[no-any-return]


BOOK = ("embedding", "rnn_model", "linear")
OTHERS = ("emb", "lstm", "fc")
#: What it is -> the model that it makes, and the ``names`` that it takes to read it.
MODELS: dict[str, tuple[Callable[[], Whole], dict[str, str]]] = {
    "book SRN, b [1, D]": (lambda: Whole(BookSRN((1, D)), BOOK, Embedding()), {}),
    "book SRN, b [D]": (lambda: Whole(BookSRN((D,)), BOOK), {}),
    "book LSTM, b [1, D]": (lambda: Whole(BookLSTM((1, D), "c"), BOOK, Embedding()), {}),
    "book LSTM, b [D], a": (lambda: Whole(BookLSTM((D,), "a"), ("char_table", "net", "decoder")), {}),
    "book LSTM, b [D], g": (lambda: Whole(BookLSTM((D,), "g"), ("x", "y", "z")), {}),
    "nn.Linear for each gate": (lambda: Whole(LinearLSTM(), OTHERS), {}),
    "columns, W x": (lambda: Whole(ColumnSRN(), OTHERS), {}),
    "GRU as the book's": (lambda: Whole(DiveGRU(), OTHERS), {}),
    "GRU, reset after": (lambda: Whole(DiveGRU("after"), OTHERS), {"reset": "after"}),
    "GRU, new state": (lambda: Whole(DiveGRU("before", "new"), OTHERS), {"update": "new"}),
    "GRU, both": (lambda: Whole(DiveGRU("after", "new"), OTHERS), {"reset": "after", "update": "new"}),
    "nn.RNN": (lambda: Whole(Torch(nn.RNN), OTHERS), {}),
    "nn.LSTM": (lambda: Whole(Torch(nn.LSTM), ("first", "second", "third")), {}),
    "nn.GRU": (lambda: Whole(Torch(nn.GRU), ("a", "b", "c")), {}),
    "nn.LSTM without biases": (lambda: Whole(Torch(nn.LSTM, bias=False), OTHERS), {}),
    "nn.GRU, three layers": (lambda: Whole(Torch(nn.GRU, num_layers=3), OTHERS), {}),
    "nn.RNN, both directions": (lambda: Whole(Torch(nn.RNN, bidirectional=True), OTHERS, width=2 * D), {}),
    "nn.LSTM, two layers, both directions": (
        lambda: Whole(Torch(nn.LSTM, num_layers=2, bidirectional=True), OTHERS, width=2 * D),
        {},
    ),
    "two nn.LSTMCell": (lambda: Whole(Cells(), OTHERS), {}),
}


def saved(model: nn.Module, path: Path, prefix: str = "") -> Path:
    """Save a model's weights as its author would."""
    torch.save({f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}, path)
    return path
