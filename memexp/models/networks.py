"""From cells to a model: inputs -> recurrent layers, stacked or bidirectional -> head; forward and trace.

Inputs are symbols, [S, B, L], or numbers, [S, B, L, V]; the first axis is 1 for the same rows in every seed. A symbol
is the one-hot vector of its V numbers, so both go through the same embedding.

Axis letters as in `memexp.models.cells`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Generator, Tensor, nn

from memexp.errors import ConfigError
from memexp.models.cells import Cell, Parts, State, split_time
from memexp.models.initialisers import SCHEMES, LayerSizes, chrono_biases, graded_biases, read_matrix

MakeCell = Callable[[int, int, int], Cell]
"""(seeds, input_size, hidden_size) -> a cell."""

Run = Callable[["Direction", Tensor, State], tuple[Tensor, State]]
"""How a direction goes over a sequence: as `Direction.run` does, or another way to the same numbers."""

INITIAL_STATES = ("zero", "learned", "input")
FEW_SYMBOLS = 16  # as many are looked up by a product; measured with 32 units, 10 symbols and 256 units, 28 symbols


@contextmanager
def random_numbers(seed: int) -> Iterator[None]:
    """Let torch's random numbers on the CPU begin at a seed; afterwards they go on as if nothing had been."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


class Direction(nn.Module):
    """A cell that reads a sequence in one direction, and the state it starts from.

    Args:
        cell: the cell.
        seeds: S.
        source_size: size of what the initial state is computed from, if it is.
        initial_state: ``zero``; ``learned``: a parameter, [S, states, D]; ``input``: tanh(x_0 W) with W
            [S, states, M, D], x_0 being the first input or, in a higher layer, the initial state of the layer below.
        backwards: read from the last time step to the first.
    """

    def __init__(self, cell: Cell, seeds: int, source_size: int, initial_state: str, backwards: bool) -> None:
        super().__init__()
        self.cell, self.backwards = cell, backwards
        N, D = len(cell.states), cell.hidden_size
        self.start = nn.Parameter(torch.zeros(seeds, N, D)) if initial_state == "learned" else None
        self.start_W = nn.Parameter(torch.zeros(seeds, N, source_size, D)) if initial_state == "input" else None

    def initial_state(self, sources: State, batch: int) -> State:
        """Return the state before the first step: sources [S, B, M] for each state -> [S, B, D] each."""
        if self.start is not None:
            return tuple(state[:, None].expand(-1, batch, -1) for state in self.start.unbind(1))
        if self.start_W is not None:
            weights = self.start_W.unbind(1)
            return tuple(torch.tanh(source @ W) for source, W in zip(sources, weights, strict=True))
        return self.cell.initial_state(batch)

    def run(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over [S, G, L, B, D]; outputs [S, L, B, D] are in the order of the sequence, whatever the direction."""
        outputs, last = self.cell.run(projected.flip(2) if self.backwards else projected, state)
        return (outputs.flip(1) if self.backwards else outputs), last

    def steps(self, projected: Tensor, state: State) -> Iterator[tuple[State, Parts]]:
        """Step through [S, G, L, B, D] in the order in which it reads; yield each step's state and parts."""
        for x in (projected.flip(2) if self.backwards else projected).unbind(2):
            state, parts = self.cell.step(x, state)
            yield state, parts

    def trace(self, projected: Tensor, state: State) -> tuple[Parts, State]:
        """Step through [S, G, L, B, D]; return every part, [S, L, B, D], in the order of the sequence."""
        steps: dict[str, list[Tensor]] = {}
        last = state
        for last, parts in self.steps(projected, state):  # noqa: B007 (the last one counts)
            for name, part in parts.items():
                steps.setdefault(name, []).append(part)
        return {name: torch.stack(p[::-1] if self.backwards else p, 1) for name, p in steps.items()}, last


class SequenceModel(nn.Module):
    """Embedding -> recurrent layers -> linear head, at the last time step or at every one.

    Args:
        make_cell: builds the cell of a layer.
        seeds: S.
        inputs: V, how many different symbols there are, or how many numbers at a time step.
        outputs: K.
        every_step: answer at every time step (A = L) from the outputs of the top layer; else once (A = 1), from its
            last hidden states, of both directions, joined.
        embedding_size: M; 0 for none: the first layer then gets the numbers or one-hot vectors themselves, M = V.
        widths: D of each layer; no two layers share weights.
        bidirectional: each layer also has a cell that reads backwards; the layer above gets both outputs, joined.
        initial_state: see `Direction`.

    Raises:
        ConfigError: no layer, or one without a unit, or an initial state that does not exist.
    """

    def __init__(
        self,
        make_cell: MakeCell,
        seeds: int,
        inputs: int,
        outputs: int,
        every_step: bool,
        embedding_size: int,
        widths: Sequence[int],
        bidirectional: bool,
        initial_state: str,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ConfigError(f"model.hidden_size={list(widths)}: give at least one layer, each of at least one unit")
        if initial_state not in INITIAL_STATES:
            allowed = ", ".join(INITIAL_STATES)
            raise ConfigError(f"model.initial_state={initial_state} is unknown; allowed: {allowed}")
        self.every_step = every_step
        self._make_cell = make_cell
        self.embedding = nn.Parameter(torch.zeros(seeds, inputs, embedding_size)) if embedding_size else None
        self._one_hot: Tensor
        self.register_buffer("_one_hot", torch.eye(inputs), persistent=False)
        self.layers = nn.ModuleList()
        input_size = source_size = embedding_size or inputs
        for width in widths:
            with random_numbers(0):  # what a cell draws beside its parameters is the same in every run
                self.layers.append(
                    nn.ModuleList(
                        Direction(make_cell(seeds, input_size, width), seeds, source_size, initial_state, backwards)
                        for backwards in ((False, True) if bidirectional else (False,))
                    )
                )
            input_size, source_size = width * (1 + bidirectional), width
        self.output_size = input_size
        self.head_weight = nn.Parameter(torch.zeros(seeds, self.output_size, outputs))
        self.head_bias = nn.Parameter(torch.zeros(seeds, outputs))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.head_bias.device

    @property
    def stack(self) -> list[list[Direction]]:
        """The directions of each layer, from the lowest up."""
        return [[*layer] for layer in self.layers]  # type: ignore[misc]

    @property
    def directions(self) -> Iterator[tuple[str, Direction]]:
        """Every direction of every layer, with the prefix of its parts in a trace ("" if there is only one)."""
        for number, layer in enumerate(self.stack, 1):
            for direction in layer:
                words = [f"layer_{number}"] * (len(self.layers) > 1) + ["backwards"] * direction.backwards
                yield "".join(f"{word}." for word in words), direction

    @property
    def cell(self) -> Cell:
        """The cell of the first layer; those of the others differ in their sizes only."""
        return next(self.directions)[1].cell

    @property
    def widths(self) -> list[int]:
        """D of each layer."""
        return [layer[0].cell.hidden_size for layer in self.stack]

    @property
    def watched(self) -> dict[str, nn.Parameter]:
        """The parameters of the cells, whose gradients are worth watching, by the names they have in a trace."""
        return {
            f"{prefix}{name}": parameter
            for prefix, direction in self.directions
            for name, parameter in direction.cell.named_parameters()
        }

    @property
    def parameter_count(self) -> int:
        """How many parameters one seed has."""
        return sum(parameter[0].numel() for parameter in self.parameters())

    @property
    def state_size(self) -> int:
        """How many numbers one seed carries from one time step to the next."""
        return sum(len(direction.cell.states) * direction.cell.hidden_size for _, direction in self.directions)

    def forward(self, inputs: Tensor) -> Tensor:
        """Answer: inputs [S, B, L] or [S, B, L, V], S or 1 -> answers [S, B, A, K]."""
        return self.answer(inputs)[0]

    def answer(
        self, inputs: Tensor, states: Sequence[State] | None = None, run: Run = Direction.run
    ) -> tuple[Tensor, list[State]]:
        """Answer from a state.

        Args:
            inputs: [S, B, L] or [S, B, L, V], S or 1.
            states: the state of each direction of each layer before the first step; None for the initial state.
            run: goes over the sequence, and may look at what a direction reads and computes.

        Returns:
            Answers [S, B, A, K], and the last states.
        """
        outputs, states_after = self.encode(inputs, states, run)
        if not self.every_step:
            last = [state[0] for state in states_after[-len(self.stack[-1]) :]]  # of the top layer's directions
            answers = torch.baddbmm(self.head_bias[:, None], torch.cat(last, -1), self.head_weight)
            return answers[:, :, None], states_after
        S, L, B, _ = outputs.shape
        answers = torch.baddbmm(self.head_bias[:, None], outputs.flatten(1, 2), self.head_weight)
        return answers.view(S, L, B, -1).transpose(1, 2), states_after

    def encode(
        self, inputs: Tensor, states: Sequence[State] | None = None, run: Run = Direction.run
    ) -> tuple[Tensor, list[State]]:
        """Read sequences; arguments as for `answer`.

        Returns:
            The outputs of the top layer, [S, L, B, D x directions], and the last state of each direction of each layer.
        """
        _, B, L = inputs.shape[:3]
        after: list[State] = []
        from_below: Tensor | None = None  # what a higher layer reads, [S, L * B, M]
        below: list[State] = []  # initial states of the directions of the layer below
        for layer in self.stack:
            outputs, starts = [], []
            for place, direction in enumerate(layer):
                cell = direction.cell
                seen = self._project(cell, inputs) if from_below is None else cell.project(from_below)
                if states is not None:
                    start = states[len(after)]
                else:
                    start = direction.initial_state(below[place] if below else self._first(direction, inputs), B)
                output, last = run(direction, split_time(seen, L, B), start)
                outputs.append(output)
                starts.append(start)
                after.append(last)
            joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            from_below, below = joined.flatten(1, 2), starts
        return joined, after

    def _first(self, direction: Direction, inputs: Tensor) -> State:
        """Return what the first layer's initial state is computed from: the first input that it reads, [S, B, M]."""
        if direction.start_W is None:
            return ()
        first = inputs[:, :, -1 if direction.backwards else 0]
        if not first.is_floating_point():
            first = F.embedding(first, self._one_hot)
        vector = first.to(direction.start_W.dtype) @ self._vectors(direction.cell)
        return (vector,) * len(direction.cell.states)

    def _vectors(self, cell: Cell) -> Tensor:
        """Return the vector of every symbol, or what each number is multiplied by, [S, V, M]."""
        if self.embedding is not None:
            return self.embedding
        return self._one_hot.to(cell.W.dtype).expand(cell.W.shape[0], -1, -1)

    def _project(self, cell: Cell, inputs: Tensor) -> Tensor:
        """Compute x W + b for all gates and time steps, x being the vectors of the inputs: -> [S, G, L * B, D].

        Of symbols there are only V different ones, so x W + b is a table of V rows. Of few symbols they are looked up
        by a one-hot product, because the backward pass of indexing is slow on a CPU; of many, the product is slower.
        """
        if inputs.is_floating_point():
            numbers = inputs.transpose(1, 2).flatten(1, 2).to(cell.W.dtype).expand(cell.W.shape[0], -1, -1)
            return cell.project(numbers if self.embedding is None else numbers @ self.embedding)
        if self.embedding is None and type(cell).project is Cell.project:
            table = cell.W + cell.b[:, :, None]  # the product with one-hot vectors, without the product
        else:
            table = cell.project(self._vectors(cell))
        S, G, V, _ = table.shape
        symbols = inputs.transpose(1, 2).flatten(1)
        if V <= FEW_SYMBOLS:
            return F.embedding(symbols, self._one_hot.to(table.dtype))[:, None] @ table
        first = V * torch.arange(S * G, device=symbols.device).view(S, G, 1)  # row of each table's first symbol
        return F.embedding(first + symbols[:, None], table.flatten(0, 2))

    @torch.no_grad()
    def trace(self, inputs: Tensor, names: Iterable[str] | None = None) -> Parts:
        """Record what the cells compute at every time step; nothing is kept on the model.

        Args:
            inputs: [S, B, L] or [S, B, L, V], S or 1.
            names: which parts to record; None for all that the model has.

        Returns:
            Name -> [S, B, L, D], for example ``forget_gate``. With several layers the name begins with ``layer_1.``,
            and with ``backwards.`` for a cell that reads backwards; its parts too are in the order of the sequence.

        Raises:
            ConfigError: a name that the model does not have.
        """
        recorded: Parts = {}
        prefixes = {direction: prefix for prefix, direction in self.directions}

        def run(direction: Direction, projected: Tensor, state: State) -> tuple[Tensor, State]:
            parts, last = direction.trace(projected, state)
            recorded.update({prefixes[direction] + name: part.transpose(1, 2) for name, part in parts.items()})
            return parts["hidden_state"], last

        self.encode(inputs, None, run)
        unknown = [] if names is None else sorted(set(names) - recorded.keys())
        if unknown:
            raise ConfigError(f"{type(self.cell).__name__} has no {', '.join(unknown)}; it has {', '.join(recorded)}")
        return {name: part for name, part in recorded.items() if names is None or name in set(names)}

    @torch.no_grad()
    def copy_seed(self, group: "SequenceModel", k: int) -> None:
        """Take the weights of seed ``k`` of a model of several seeds; this one, else the same, is of one."""
        for own, several in zip(self.parameters(), group.parameters(), strict=True):
            own.copy_(several[k : k + 1])

    def roles(self) -> Iterator[tuple[nn.Parameter, str, LayerSizes]]:
        """Every parameter that an initialiser sets, with its role, in the order in which random numbers are drawn."""
        top = next(reversed([*self.directions]))[1].cell.hidden_size
        if self.embedding is not None:
            yield self.embedding, "embedding", LayerSizes(self.embedding.shape[-1], top)
        for _, direction in self.directions:
            cell = direction.cell
            sizes = LayerSizes(cell.W.shape[2], cell.hidden_size)
            for name, role in cell.roles.items():
                parameter = getattr(cell, name)
                if parameter is not None:
                    yield parameter, role, sizes
            if direction.start_W is not None:
                yield direction.start_W, "start_weight", sizes
        head = LayerSizes(self.output_size, self.output_size)
        yield self.head_weight, "head_weight", head
        yield self.head_bias, "head_bias", head

    @torch.no_grad()
    def initialise(
        self,
        seeds: Sequence[int],
        initialiser: str,
        forget_bias: float,
        longest: int,
        files: Sequence[str],
    ) -> None:
        """Give every parameter its value before the first update: by its role, or else its constructor's.

        Args:
            seeds: one for each place on the axis S; each has its own generator, so seed k is the same in any group.
            initialiser: a name in `memexp.models.initialisers.SCHEMES`, of which ``uniform_1997`` also has own biases
                of the input gates (`memexp.models.initialisers.graded_biases`); ``chrono``: as ``xavier``, but with
                the biases of the forget and input gates spread over the time constants up to ``longest``; ``file``: as
                ``xavier_zero_bias``, but W and U from text files.
            forget_bias: added to the initial bias of the forget gate.
            longest: the largest distance that the task bridges, in time steps (used by ``chrono``).
            files: with ``file`` one for each layer, else none: the matrix [M + D, D] of every gate, or [M + D, G D] of
                all.

        Raises:
            ConfigError: the initialiser is unknown, or needs a gate that the cell does not have; a file does not fit.
        """
        cells = [direction.cell for _, direction in self.directions]
        if (initialiser == "chrono" or forget_bias) and "forget_gate" not in cells[0].gates:
            raise ConfigError(
                f"initialiser=chrono and forget_bias need a forget gate; {type(cells[0]).__name__} has none"
            )
        if initialiser == "uniform_1997" and "input_gate" not in cells[0].gates:
            raise ConfigError(f"initialiser=uniform_1997 needs an input gate; {type(cells[0]).__name__} has none")
        if initialiser not in (*SCHEMES, "chrono", "file"):
            raise ConfigError(f"initialiser {initialiser!r} is unknown; there are {', '.join(SCHEMES)}, chrono, file")
        scheme = SCHEMES[{"chrono": "xavier", "file": "xavier_zero_bias"}.get(initialiser, initialiser)]
        for k, seed in enumerate(seeds):
            generator = Generator().manual_seed(seed)
            for parameter, role, sizes in self.roles():
                parameter[k] = scheme(role, tuple(parameter.shape[1:]), sizes, generator)
            for cell in cells:
                if initialiser == "chrono":
                    bias = chrono_biases((cell.hidden_size,), longest, generator)
                    cell.b[k, cell.gates.index("forget_gate")] = bias
                    if "input_gate" in cell.gates:
                        cell.b[k, cell.gates.index("input_gate")] = -bias
                if initialiser == "uniform_1997":
                    cell.b[k, cell.gates.index("input_gate")] = graded_biases(cell.hidden_size)
                if forget_bias:
                    cell.b[k, cell.gates.index("forget_gate")] += forget_bias
            self._set_without_role(k, seed)
        if initialiser == "file":
            self._read_weights([Path(file) for file in files])

    def _set_without_role(self, k: int, seed: int) -> None:
        """Give a cell's parameters that have no role what its constructor gives them, with a seed's own numbers."""
        with random_numbers(seed):
            for _, direction in self.directions:
                cell = direction.cell
                others = [name for name, _ in cell.named_parameters() if name not in cell.roles]
                if others:
                    alone = self._make_cell(1, cell.W.shape[2], cell.hidden_size)
                    for name in others:
                        cell.get_parameter(name)[k] = alone.get_parameter(name)[0]

    def _read_weights(self, files: Sequence[Path]) -> None:
        if len(files) != len(self.layers):
            raise ConfigError(f"model.files={[*map(str, files)]}: give one for each of the {len(self.layers)} layers")
        for layer, path in zip(self.stack, files, strict=True):
            for direction in layer:
                cell = direction.cell
                _, G, M, D = cell.W.shape
                one, all_gates = (M + D, D), (M + D, G * D)
                if cell.U is None:
                    raise ConfigError(f"initialiser=file: {type(cell).__name__} has no recurrent weights")
                matrix = read_matrix(path)
                if tuple(matrix.shape) not in (one, all_gates):
                    raise ConfigError(
                        f"{path} holds a matrix of shape {[*matrix.shape]}; it must be {[*one]} (input + hidden, "
                        f"hidden) or, gate after gate ({', '.join(cell.gates)}), {[*all_gates]}"
                    )
                by_gate = matrix.expand(G, *one) if tuple(matrix.shape) == one else torch.stack(matrix.chunk(G, 1))
                cell.W[:], cell.U[:] = by_gate[:, :M], by_gate[:, M:]


def widths_for(parameters: int, layers: int, build: Callable[[Sequence[int]], SequenceModel]) -> list[int]:
    """Find the widths, the same for each layer, of the largest model that has no more than so many parameters a seed.

    Args:
        parameters: the budget.
        layers: how many layers.
        build: builds a model of given widths.

    Raises:
        ConfigError: one unit a layer is more already.
    """

    def count(width: int) -> int:
        with torch.device("meta"):  # sizes alone, no numbers
            return build([width] * layers).parameter_count

    if count(1) > parameters:
        raise ConfigError(
            f"model.parameters={parameters} is too small: with one unit a layer this model has {count(1)} already"
        )
    low, high = 1, 2
    while count(high) <= parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= parameters else (low, middle)
    return [low] * layers
