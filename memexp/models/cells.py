"""The cells, on one screen. A cell is one time step; `Cell` unrolls it, `memexp.models.networks` stacks layers.

Axis letters, used everywhere in memexp:

    S seeds    B batch    L length (time)    M input (embedding) size    D hidden size
    G gates of a cell     V symbols          K outputs    A answers of a sequence (1 or L)

Every parameter has a leading axis S: one program trains S independent seeds in lockstep, because
``h @ U`` with U [S, ..., D, D] and h [S, ..., B, D] is one batched product, and every other operation is
elementwise. The equations stay those of the book. In the comments x_* is x_t W_* + b_*.
"""

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from memexp.errors import ConfigError
from memexp.fields import Named, limits, settings_of
from memexp.models import recurrence

State = tuple[Tensor, ...]
"""The state of a cell, [S, B, D] each, in the order of `Cell.states`; the first is the hidden state."""

Parts = dict[str, Tensor]
"""Every part of a time step worth looking at, by name, [S, B, D] each."""


def split_time(rows: Tensor, L: int, B: int) -> Tensor:
    """[S, G, L * B, D] -> [S, G, L, B, D]."""
    S, G, _, D = rows.shape
    return rows.view(S, G, L, B, D)


class Cell(nn.Module):
    """One time step of a recurrent layer. A subclass names its gates and states and writes `step`.

    Args:
        seeds: S.
        input_size: M.
        hidden_size: D.

    Attributes:
        gates: what is computed from x_t W + h_{t-1} U + b, in the order of the matrices.
        states: what is carried on.
        W: input weights, [S, G, M, D]: the matrix of each gate.
        U: recurrent weights, [S, G, D, D]; None for a cell whose gates do not see the state.
        b: biases, [S, G, D].
        roles: what each parameter is to an initialiser (`memexp.models.initialisers`); one that is not named here
            begins with what the constructor gives it.
        loading_hint: what to say when weights do not fit, if two conventions are easily taken for each other.
        title: what figures and tables call it; nothing for the name of the class.
    """

    gates: tuple[str, ...]
    states: tuple[str, ...] = ("hidden_state",)
    recurrent_gates: ClassVar[bool] = True
    roles: ClassVar[dict[str, str]] = {"W": "input_weight", "U": "recurrent_weight", "b": "bias"}
    loading_hint: ClassVar[str] = ""
    title: ClassVar[str] = ""

    def __init__(self, seeds: int, input_size: int, hidden_size: int) -> None:
        super().__init__()
        S, G, M, D = seeds, len(self.gates), input_size, hidden_size
        self.hidden_size = hidden_size
        self.W = nn.Parameter(torch.zeros(S, G, M, D))
        self.U = nn.Parameter(torch.zeros(S, G, D, D)) if self.recurrent_gates else None
        self.b = nn.Parameter(torch.zeros(S, G, D))

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:
        """Advance by one time step.

        Args:
            x: the projected input x_t W + b, [S, G, B, D].
            state: the state after the step before, [S, B, D] each.

        Returns:
            The new state, and its parts.
        """
        raise NotImplementedError

    def kept(self, parts: Parts) -> Tensor | None:
        """Return by what a gate multiplies each unit of the last of `states` in a step; None for a cell without one.

        Args:
            parts: of the step, or of many.
        """
        return None

    def recurrent(self, hidden_state: Tensor) -> Tensor:
        """Compute h U for all gates: [S, B, D] -> [S, G, B, D]."""
        assert self.U is not None
        return hidden_state[:, None] @ self.U

    def project(self, inputs: Tensor) -> Tensor:
        """Compute x W + b for all gates: [S, N, M] -> [S, G, N, D]."""
        return inputs[:, None] @ self.W + self.b[:, :, None]

    def initial_state(self, batch: int) -> State:
        """Return the zero state for ``batch`` rows."""
        return (self.W.new_zeros(self.W.shape[0], batch, self.hidden_size),) * len(self.states)

    def unroll(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Step through a whole sequence, [S, G, L, B, D]; return all hidden states [S, L, B, D] and the last state."""
        outputs = []
        for x in projected.unbind(2):
            state, _ = self.step(x, state)
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Do what `unroll` does. Where a faster way is known (`memexp.models.recurrence`), a cell takes it here."""
        return self.unroll(projected, state)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over a batch of sequences, as torch's layers do with ``batch_first``.

        Args:
            inputs: [S, B, L, M].
            state: the initial state; zero if None.

        Returns:
            All hidden states, [S, B, L, D], and the last state.
        """
        _, B, L, _ = inputs.shape
        projected = split_time(self.project(inputs.transpose(1, 2).flatten(1, 2)), L, B)
        outputs, state = self.run(projected, self.initial_state(B) if state is None else state)
        return outputs.transpose(1, 2), state


class SRN(Cell):
    """Simple recurrent network, h_t = tanh(x_t W + h_{t-1} U + b) (6.1.2; Elman 1990)."""

    title = "SRN"
    gates = ("hidden_state",)

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h = torch.tanh(x + self.recurrent(state[0])).squeeze(1)
        return (h,), {"hidden_state": h}

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if torch.is_grad_enabled():
            assert self.U is not None
            return recurrence.srn(projected, self.U, *state)
        return self.unroll(projected, state)


class ResidualSRN(Cell):
    """SRN with a residual connection, h_t = h_{t-1} + tanh(x_t W + h_{t-1} U + b) (exercise 6.1)."""

    title = "residual SRN"
    gates = ("candidate",)

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        candidate = torch.tanh(x + self.recurrent(state[0])).squeeze(1)
        h = state[0] + candidate
        return (h,), {"candidate": candidate, "hidden_state": h}

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if torch.is_grad_enabled():
            assert self.U is not None
            return recurrence.residual_srn(projected, self.U, *state)
        return self.unroll(projected, state)


class IRNN(Cell):
    """SRN of rectified linear units, h_t = max(0, x_t W + h_{t-1} U + b) (Le, Jaitly and Hinton 2015, section 2).

    The name is that of its beginning, U = I and b = 0: `memexp.models.initialisers.identity`.
    """

    title = "IRNN"
    gates = ("hidden_state",)

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h = torch.relu(x + self.recurrent(state[0])).squeeze(1)
        return (h,), {"hidden_state": h}


class IndRNN(Cell):
    """Independently recurrent network, h_t = max(0, x_t W + u h_{t-1} + b) (Li et al. 2018, equation 2).

    Each unit sees itself alone, by its own weight, u [S, 1, D]. These begin with U(0, 1), the paper's U(0, 2^(1/T)) for
    long sequences. The paper also holds |u| under 2^(1/T) in training; here nothing does.
    """

    title = "IndRNN"
    gates = ("hidden_state",)
    recurrent_gates = False

    def __init__(self, seeds: int, input_size: int, hidden_size: int) -> None:
        super().__init__(seeds, input_size, hidden_size)
        self.u = nn.Parameter(torch.rand(seeds, 1, hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h = torch.relu(x[:, 0] + self.u * state[0])
        return (h,), {"hidden_state": h}


class GRU(Cell):
    """Gated recurrent unit, h_t = Z h_{t-1} + (1 - Z) H~ (exercise 6.4; Cho et al. 2014).

    The update gate Z weighs the old state, as in the book, the tutorials and torch (Chung et al. 2014 let it weigh
    the new one). Where the reset gate R acts is a matter of convention:

        reset before the recurrent product (the book, the tutorials):  H~ = tanh(x_H + (R h_{t-1}) U_H)
        reset after it (torch, cuDNN):                                 H~ = tanh(x_H + R (h_{t-1} U_H + c))

    Args:
        seeds: S.
        input_size: M.
        hidden_size: D.
        reset_after: the second convention, with a bias c, [S, 1, D], of its own.
    """

    title = "GRU"
    gates = ("reset_gate", "update_gate", "candidate")
    roles: ClassVar = {**Cell.roles, "c": "extra_bias"}
    loading_hint = (
        "a GRU that resets after the recurrent product (model.reset_after=true: torch, cuDNN) and one that resets "
        "before it (false: the book, the tutorials) cannot use each other's weights"
    )

    def __init__(self, seeds: int, input_size: int, hidden_size: int, reset_after: bool) -> None:
        super().__init__(seeds, input_size, hidden_size)
        self.reset_after = reset_after
        self.c = nn.Parameter(torch.zeros(seeds, 1, hidden_size)) if reset_after else None

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        assert self.U is not None
        (h,) = state
        reset, update = torch.sigmoid(x[:, :2] + h[:, None] @ self.U[:, :2]).unbind(1)
        inner = reset * (h @ self.U[:, 2] + self.c) if self.c is not None else (reset * h) @ self.U[:, 2]
        candidate = torch.tanh(x[:, 2] + inner)
        h = update * h + (1 - update) * candidate
        return (h,), {"reset_gate": reset, "update_gate": update, "candidate": candidate, "hidden_state": h}

    def kept(self, parts: Parts) -> Tensor:  # noqa: D102
        return parts["update_gate"]

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if torch.is_grad_enabled():
            assert self.U is not None
            return recurrence.gru(projected, self.U, state[0], self.c)
        return self.unroll(projected, state)


class LSTM(Cell):
    """Long short-term memory, c_t = F c_{t-1} + I C~, h_t = O tanh(c_t) (6.3.1; Hochreiter and Schmidhuber 1997).

    Args:
        seeds: S.
        input_size: M.
        hidden_size: D.
        variant: leave one thing out, or add one (Greff et al. 2017); see `VARIANTS`.

    Raises:
        ConfigError: the variant is unknown.
    """

    title = "LSTM"
    #: variant -> the gates it has. A gate left out is 1; coupled: I = 1 - F; peephole: I and F also see P c_{t-1},
    #: and O sees P c_t, with P [S, 3, D] (Gers and Schmidhuber 2000).
    VARIANTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "none": ("input_gate", "forget_gate", "output_gate", "candidate"),
        "no_input_gate": ("forget_gate", "output_gate", "candidate"),
        "no_forget_gate": ("input_gate", "output_gate", "candidate"),
        "no_output_gate": ("input_gate", "forget_gate", "candidate"),
        "coupled": ("forget_gate", "output_gate", "candidate"),
        "peephole": ("input_gate", "forget_gate", "output_gate", "candidate"),
    }
    gates = VARIANTS["none"]
    states = ("hidden_state", "cell_state")
    roles: ClassVar = {**Cell.roles, "P": "extra_bias"}

    def __init__(
        self, seeds: int, input_size: int, hidden_size: int, variant: Annotated[str, limits(one_of=VARIANTS)]
    ) -> None:
        if variant not in self.VARIANTS:
            raise ConfigError(
                f"model.variant={variant}: the LSTM has no such variant; it has {', '.join(self.VARIANTS)}"
            )
        self.gates, self.variant = self.VARIANTS[variant], variant
        super().__init__(seeds, input_size, hidden_size)
        self.P = nn.Parameter(torch.zeros(seeds, 3, hidden_size)) if variant == "peephole" else None

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h, c = state
        pre = dict(zip(self.gates, (x + self.recurrent(h)).unbind(1), strict=True))

        def gate(name: str, cell_state: Tensor) -> Tensor:
            if name not in pre:
                return torch.ones_like(cell_state)
            peep = 0 if self.P is None else self.P[:, [self.gates.index(name)]] * cell_state
            return torch.sigmoid(pre[name] + peep)

        f = gate("forget_gate", c)
        i = 1 - f if self.variant == "coupled" else gate("input_gate", c)
        candidate = torch.tanh(pre["candidate"])
        c = f * c + i * candidate
        o = gate("output_gate", c)
        h = o * torch.tanh(c)
        parts = {"input_gate": i, "forget_gate": f, "output_gate": o, "candidate": candidate}
        left_out = [f"{what}_gate" for what in ("input", "forget", "output") if self.variant == f"no_{what}_gate"]
        kept = {name: part for name, part in parts.items() if name not in left_out}
        return (h, c), {**kept, "cell_state": c, "hidden_state": h}

    def kept(self, parts: Parts) -> Tensor | None:  # noqa: D102
        return parts.get("forget_gate")

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        if not torch.is_grad_enabled() or self.variant == "peephole":
            return self.unroll(projected, state)
        assert self.U is not None
        return recurrence.lstm(self._four(projected, recurrence.OPEN), self._four(self.U, 0.0), *state)

    def _four(self, by_gate: Tensor, open_value: float) -> Tensor:
        """Give every gate its place, [S, G, ...] -> [S, 4, ...]: a gate left out is one that is open whatever comes."""
        if self.variant in ("none", "peephole"):
            return by_gate
        own = dict(zip(self.gates, by_gate.unbind(1), strict=True))
        if self.variant == "coupled":
            own["input_gate"] = -own["forget_gate"]  # sigmoid(-z) = 1 - sigmoid(z)
        missing = torch.full_like(own["candidate"], open_value)
        return torch.stack([own.get(name, missing) for name in self.VARIANTS["none"]], 1)


class LSTM1997(Cell):
    """The first LSTM, c_t = c_{t-1} + I g(.), h_t = O h(c_t) (Hochreiter and Schmidhuber 1997, section 4, appendix A).

    It has no forget gate; g(z) = 4 sigmoid(z) - 2 is within [-2, 2], and h(c) = 2 sigmoid(c) - 1 within [-1, 1]. What
    differs from the paper: gates see the outputs of all cells, not those of all gates too, and each cell has gates of
    its own, where the paper's cells of one block share theirs.

    Args:
        seeds: S.
        input_size: M.
        hidden_size: D.
        truncated: as in the paper, errors go back in time through c_t alone, not through the h_{t-1} that gates and
            candidate see. What is computed is the same.
    """

    title = "LSTM of 1997"
    gates = ("input_gate", "output_gate", "candidate")
    states = ("hidden_state", "cell_state")

    def __init__(self, seeds: int, input_size: int, hidden_size: int, truncated: bool) -> None:
        super().__init__(seeds, input_size, hidden_size)
        self.truncated = truncated

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h, c = state
        pre = x + self.recurrent(h.detach() if self.truncated else h)
        i, o = torch.sigmoid(pre[:, :2]).unbind(1)
        candidate = 4 * torch.sigmoid(pre[:, 2]) - 2
        c = c + i * candidate
        h = o * (2 * torch.sigmoid(c) - 1)
        return (h, c), {"input_gate": i, "output_gate": o, "candidate": candidate, "cell_state": c, "hidden_state": h}


class SLSTM(Cell):
    """LSTM with exponential gating, h_t = O c_t / n_t (Beck et al. 2024, equations 8 to 17; one head for all units).

        published: n_t = f n_{t-1} + i,  c_t = f c_{t-1} + i tanh(z),  with i = exp(a), f = sigmoid(b), from c = n = 0

    The paper divides c, n and i by exp(m), a stabiliser that cancels in h. Here the state is c / n itself, the cell
    state, and ln n, which need none: F = f n_{t-1} / n_t is what of c / n is kept, I = i / n_t = 1 - F. The numbers are
    the paper's.
    """

    title = "sLSTM"
    gates = ("input_gate", "forget_gate", "output_gate", "candidate")
    states = ("hidden_state", "log_normaliser", "cell_state")
    NOTHING: ClassVar[float] = -1e4  # ln n before the first step: exp of it is 0 in every precision

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        h, log_n, c = state
        log_i, pre_f, pre_o, pre_candidate = (x + self.recurrent(h)).unbind(1)
        log_left = nn.functional.logsigmoid(pre_f) + log_n
        i, f = torch.sigmoid(log_i - log_left), torch.sigmoid(log_left - log_i)
        o, candidate = torch.sigmoid(pre_o), torch.tanh(pre_candidate)
        log_n, c = torch.logaddexp(log_left, log_i), f * c + i * candidate
        h = o * c
        parts = {"input_gate": i, "forget_gate": f, "output_gate": o, "candidate": candidate}
        return (h, log_n, c), {**parts, "log_normaliser": log_n, "cell_state": c, "hidden_state": h}

    def kept(self, parts: Parts) -> Tensor:  # noqa: D102
        return parts["forget_gate"]

    def initial_state(self, batch: int) -> State:
        """Return the state that holds nothing: h = c = n = 0."""
        h, _, c = super().initial_state(batch)
        return h, torch.full_like(h, self.NOTHING), c


class MinGRU(Cell):
    """Minimal GRU, h_t = (1 - Z) h_{t-1} + Z H~, where Z and H~ see x_t alone (Feng et al. 2024, section 3.1).

    The recurrence is linear in h, so it has a parallel form (`memexp.models.recurrence.linear`). Here Z weighs the new
    state.
    """

    title = "minGRU"
    gates: tuple[str, ...] = ("update_gate", "candidate")
    recurrent_gates = False

    def step(self, x: Tensor, state: State) -> tuple[State, Parts]:  # noqa: D102
        keep, write, parts = self.weights(x)
        h = keep * state[0] + write
        return (h,), {**parts, "hidden_state": h}

    def kept(self, parts: Parts) -> Tensor:  # noqa: D102
        return 1 - parts["update_gate"]

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor, Parts]:
        """Return a and b of h_t = a h_{t-1} + b, and the parts they are made of, for x [S, G, ..., D]."""
        update, candidate = torch.sigmoid(x[:, 0]), x[:, 1]
        return 1 - update, update * candidate, {"update_gate": update, "candidate": candidate}

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:  # noqa: D102
        keep, write, _ = self.weights(projected)
        outputs = recurrence.linear(keep, write, *state)
        return outputs, (outputs[:, -1],)


class MinLSTM(MinGRU):
    """Minimal LSTM, h_t = (F h_{t-1} + I H~) / (F + I), where all see x_t alone (Feng et al. 2024, section 3.2)."""

    title = "minLSTM"
    gates = ("input_gate", "forget_gate", "candidate")

    def kept(self, parts: Parts) -> Tensor:  # noqa: D102
        return parts["forget_gate"]

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor, Parts]:  # noqa: D102
        # I / (F + I) is the sigmoid of ln I - ln F; the quotient would be 0 / 0 where both gates are shut.
        odds = nn.functional.logsigmoid(x[:, 0]) - nn.functional.logsigmoid(x[:, 1])
        i, f, candidate = torch.sigmoid(odds), torch.sigmoid(-odds), x[:, 2]
        return f, i * candidate, {"input_gate": i, "forget_gate": f, "candidate": candidate}


class Diagonal(MinGRU):
    """Diagonal linear recurrence, h_t = a_t h_{t-1} + x_t W + b, a_t = lowest + (1 - lowest) F, F of x_t alone.

    The simplest of the linear recurrent units (Orvieto et al. 2023): real eigenvalues, and nothing between the units.
    They depend on the input, as those of Grazzi et al. (2024, sections 3 and 4), who show that with eigenvalues in
    [0, 1] no such network can tell the parity of long sequences, and that with [-1, 1] one unit does.

    Args:
        seeds: S.
        input_size: M.
        hidden_size: D.
        lowest: of the eigenvalues; the highest is 1.
    """

    title = "diagonal"
    gates = ("forget_gate", "candidate")

    def __init__(
        self, seeds: int, input_size: int, hidden_size: int, lowest: Annotated[float, limits(-1, most=0)]
    ) -> None:
        super().__init__(seeds, input_size, hidden_size)
        self.lowest = lowest

    def kept(self, parts: Parts) -> Tensor:  # noqa: D102
        return self.lowest + (1 - self.lowest) * parts["forget_gate"]

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor, Parts]:  # noqa: D102
        parts = {"forget_gate": torch.sigmoid(x[:, 0]), "candidate": x[:, 1]}
        return self.kept(parts), x[:, 1], parts


def settings(kind: type[Cell], shared: type[Named]) -> type[Named]:
    """Return the schema of a model's settings: those that all have, and the constructor's own arguments of its cell."""
    return settings_of(kind, ("seeds", "input_size", "hidden_size"), shared)
