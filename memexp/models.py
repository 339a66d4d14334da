"""Who answers: the cells on one screen, the layer that unrolls them, the classifier around it.

Axis letters, used everywhere in memexp:

    S seeds    B batch    L length (time)    M embedding size    D hidden size
    G gates of a cell     V symbols          K classes

Every parameter has a leading axis S: one program trains S independent seeds in lockstep, because
``h @ U`` with U [S, ..., D, D] and h [S, ..., B, D] is one batched product, and every other operation is
elementwise. The equations stay those of the book.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Generator, Tensor, nn

from memexp import recurrence
from memexp.errors import ConfigError
from memexp.initialisers import SCHEMES, chrono_biases

State = tuple[Tensor, ...]
"""The state of a cell, [S, B, D] each, in the order of `Cell.states`; the first is the hidden state."""


def _split_time(rows: Tensor, L: int, B: int) -> Tensor:
    """[S, G, L * B, D] -> [S, G, L, B, D]."""
    S, G, _, D = rows.shape
    return rows.view(S, G, L, B, D)


class Cell(nn.Module):
    """One time step of a recurrent layer. A subclass names its gates and states and writes `step`.

    Attributes:
        W: input weights, [S, G, M, D]: the matrix of each gate, in the order of `gates`.
        U: recurrent weights, [S, G, D, D].
        b: biases, [S, G, D].
    """

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]

    def __init__(self, seeds: int, input_size: int, hidden_size: int) -> None:
        super().__init__()
        S, G, M, D = seeds, len(self.gates), input_size, hidden_size
        self.W = nn.Parameter(torch.zeros(S, G, M, D))
        self.U = nn.Parameter(torch.zeros(S, G, D, D))
        self.b = nn.Parameter(torch.zeros(S, G, D))

    def step(self, projected_input: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:
        """Advance by one time step.

        Args:
            projected_input: x_t W + b, [S, G, B, D].
            state: the state after the step before, [S, B, D] each.

        Returns:
            The new state, and every part worth looking at by name, [S, B, D] each.
        """
        raise NotImplementedError

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over a batch of sequences, as torch's layers do with ``batch_first``.

        Args:
            inputs: [S, B, L, M].
            state: the initial state; zero if None.

        Returns:
            All hidden states, [S, B, L, D], and the last state.
        """
        _, B, L, _ = inputs.shape
        projected = _split_time(self.project(inputs.transpose(1, 2).flatten(1, 2)), L, B)
        outputs, state = self.run(projected, self.initial_state(B) if state is None else state)
        return outputs.transpose(1, 2), state

    def project(self, inputs: Tensor) -> Tensor:
        """Compute x W + b for all gates: [S, N, M] -> [S, G, N, D]."""
        return inputs[:, None] @ self.W + self.b[:, :, None]

    def recurrent(self, hidden_state: Tensor) -> Tensor:
        """Compute h U for all gates: [S, B, D] -> [S, G, B, D]."""
        return hidden_state[:, None] @ self.U

    def initial_state(self, batch: int) -> State:
        """Return the zero state for ``batch`` rows."""
        zero = self.U.new_zeros(self.U.shape[0], batch, self.U.shape[-1])
        return (zero,) * len(self.states)

    def unroll(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Step through a whole sequence, [S, G, L, B, D]; return all hidden states [S, L, B, D] and the last state."""
        outputs = []
        for projected_input in projected.unbind(2):
            state, _ = self.step(projected_input, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute what `unroll` does. Where a faster way is known (`memexp.recurrence`), a cell takes it here."""
        return self.unroll(projected, state)


class SRN(Cell):
    """Simple recurrent network, h_t = tanh(x_t W + h_{t-1} U + b) (6.1.2; Elman 1990)."""

    gates = ("hidden_state",)
    states = ("hidden_state",)

    def step(self, projected_input: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:  # noqa: D102
        (h,) = state
        h = torch.tanh(projected_input + self.recurrent(h)).squeeze(1)
        return (h,), {"hidden_state": h}

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if torch.is_grad_enabled():
            return recurrence.srn(projected, self.U, *state)
        return self.unroll(projected, state)


class LSTM(Cell):
    """Long short-term memory, c_t = F c_{t-1} + I C~, h_t = O tanh(c_t) (6.3.1; Hochreiter and Schmidhuber 1997)."""

    gates = ("input_gate", "forget_gate", "output_gate", "candidate")
    states = ("hidden_state", "cell_state")

    def step(self, projected_input: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:  # noqa: D102
        h, c = state
        pre = projected_input + self.recurrent(h)
        i, f, o = torch.sigmoid(pre[:, :3]).unbind(1)
        candidate = torch.tanh(pre[:, 3])
        c = f * c + i * candidate
        h = o * torch.tanh(c)
        return (h, c), {
            "input_gate": i,
            "forget_gate": f,
            "output_gate": o,
            "candidate": candidate,
            "cell_state": c,
            "hidden_state": h,
        }

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if torch.is_grad_enabled():
            return recurrence.lstm(projected, self.U, *state)
        return self.unroll(projected, state)


class SequenceClassifier(nn.Module):
    """Embedding -> recurrent layer from a zero state -> last hidden state -> linear head.

    Args:
        cell: the cell's class.
        seeds: the seeds; each has its own generator, so seed k has the same weights in any group.
        symbols: V, how many different inputs there are.
        classes: K, how many different answers there are.
        embedding_size: M.
        hidden_size: D.
        initialiser: a name in `memexp.initialisers.SCHEMES`, or ``chrono``: as ``xavier``, but with the biases
            of the forget and input gates spread over the time constants up to ``longest``.
        forget_bias: added to the initial bias of the forget gate.
        longest: the largest distance that the task bridges, in time steps (used by ``chrono``).

    Raises:
        ConfigError: the initialiser is unknown, or needs a forget gate where the cell has none.
    """

    def __init__(
        self,
        cell: type[Cell],
        seeds: Sequence[int],
        symbols: int,
        classes: int,
        embedding_size: int = 32,
        hidden_size: int = 32,
        initialiser: str = "xavier",
        forget_bias: float = 0.0,
        longest: int = 0,
    ) -> None:
        super().__init__()
        S = len(seeds)
        self.embedding = nn.Parameter(torch.zeros(S, symbols, embedding_size))
        self._one_hot: Tensor
        self.register_buffer("_one_hot", torch.eye(symbols), persistent=False)
        self.cell = cell(S, embedding_size, hidden_size)
        self.head_weight = nn.Parameter(torch.zeros(S, hidden_size, classes))
        self.head_bias = nn.Parameter(torch.zeros(S, classes))
        self._initialise(seeds, hidden_size, initialiser, forget_bias, longest)

    @torch.no_grad()
    def _initialise(
        self, seeds: Sequence[int], hidden_size: int, initialiser: str, forget_bias: float, longest: int
    ) -> None:
        gates = self.cell.gates
        if (initialiser == "chrono" or forget_bias) and "forget_gate" not in gates:
            raise ConfigError(
                f"initialiser=chrono and forget_bias need a forget gate; {type(self.cell).__name__} has none"
            )
        if initialiser not in (*SCHEMES, "chrono"):
            raise ConfigError(f"initialiser {initialiser!r} is unknown; there are {', '.join(SCHEMES)}, chrono")
        scheme = SCHEMES["xavier" if initialiser == "chrono" else initialiser]
        parameters = {
            "embedding": self.embedding,
            "input_weight": self.cell.W,
            "recurrent_weight": self.cell.U,
            "bias": self.cell.b,
            "head_weight": self.head_weight,
            "head_bias": self.head_bias,
        }
        for k, seed in enumerate(seeds):
            generator = Generator().manual_seed(seed)
            for role, parameter in parameters.items():
                parameter[k] = scheme(role, tuple(parameter.shape[1:]), hidden_size, generator)
            if initialiser == "chrono":
                bias = chrono_biases((hidden_size,), longest, generator)
                self.cell.b[k, gates.index("forget_gate")] = bias
                self.cell.b[k, gates.index("input_gate")] = -bias
            if forget_bias:
                self.cell.b[k, gates.index("forget_gate")] += forget_bias

    def _project(self, tokens: Tensor) -> Tensor:
        """Compute E[token] W + b for all gates and time steps: tokens [S, B, L] or [1, B, L] -> [S, G, L, B, D].

        There are only V different inputs, so E W + b is a table of V rows; it is looked up by a one-hot product,
        because the backward pass of indexing is slow on a CPU.
        """
        _, B, L = tokens.shape
        table = self.cell.project(self.embedding)  # [S, G, V, D]
        one_hot = F.embedding(tokens.transpose(1, 2).flatten(1), self._one_hot.to(table.dtype))
        return _split_time(one_hot[:, None] @ table, L, B)

    def forward(self, tokens: Tensor) -> Tensor:
        """Answer: tokens [S, B, L], or [1, B, L] for the same rows in every seed -> logits [S, B, K]."""
        _, state = self.cell.run(self._project(tokens), self.cell.initial_state(tokens.shape[1]))
        return torch.baddbmm(self.head_bias[:, None], state[0], self.head_weight)

    @torch.no_grad()
    def trace(self, tokens: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Record what the cell computes at every time step; nothing is kept on the model.

        Args:
            tokens: [S, B, L] or [1, B, L].
            names: which parts to record; None for all that the cell has.

        Returns:
            Name -> [S, B, L, D], for example ``forget_gate``.

        Raises:
            ConfigError: a name that the cell does not have.
        """
        wanted = None if names is None else set(names)
        state = self.cell.initial_state(tokens.shape[1])
        steps: dict[str, list[Tensor]] = {}
        for projected_input in self._project(tokens).unbind(2):
            state, parts = self.cell.step(projected_input, state)
            if wanted is not None and wanted - parts.keys():
                raise ConfigError(
                    f"{type(self.cell).__name__} has no {', '.join(sorted(wanted - parts.keys()))}; "
                    f"it has {', '.join(parts)}"
                )
            for name, part in parts.items():
                if wanted is None or name in wanted:
                    steps.setdefault(name, []).append(part)
        return {name: torch.stack(parts, 2) for name, parts in steps.items()}

    @property
    def parameter_count(self) -> int:
        """How many parameters one seed has."""
        return sum(parameter[0].numel() for parameter in self.parameters())
