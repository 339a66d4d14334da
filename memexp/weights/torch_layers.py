"""Torch's own recurrent layers: nn.RNN, nn.LSTM, nn.GRU and their cells, read and written; Paddle names them so too.

Torch has the gates of a cell in one matrix, [G D, M], and adds two biases. Its GRU resets after the recurrent product,
where the second bias of the candidate stands inside: c of memexp's. Axis letters as in `memexp.models.cells`.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from memexp.errors import ConfigError
from memexp.models.cells import GRU, LSTM, SRN, Cell
from memexp.models.networks import SequenceModel
from memexp.weights.gate_by_gate import SAME_AS_SRN
from memexp.weights.layers import CellWeights, Place, Recurrent, shown, together

_NAME = re.compile(
    r"(?:(?P<prefix>.*)\.)?(?P<what>(?:weight|bias)_(?:ih|hh|hr))(?:_l(?P<layer>\d+))?(?P<back>_reverse)?"
)
#: G -> the model, and where each of torch's gates is in memexp's order: torch has i, f, g, o, and r, z, n.
GATES: dict[int, tuple[str, list[int]]] = {1: ("srn", [0]), 4: ("lstm", [0, 1, 3, 2]), 3: ("gru", [0, 1, 2])}
KINDS: dict[type[Cell], str] = {SRN: "nn.RNN", LSTM: "nn.LSTM", GRU: "nn.GRU"}
BOTH_DIRECTIONS = (
    "of both directions the last states are read, each after the whole sequence; a model that took the outputs at the "
    "last time step had read one token backwards there, and answers otherwise"
)


def read(tensors: Mapping[str, Tensor], prefixes: Sequence[str]) -> Recurrent | None:
    """Read the layers of a file that are called as torch's; None if there are none.

    Args:
        tensors: of the file.
        prefixes: what the names of the layers begin with, from the lowest up; none for all there are.

    Raises:
        ConfigError: a tensor is missing, or does not fit the others, or memexp has no such layer.
    """
    parts: dict[Place, dict[str, str]] = {}
    for name in tensors:
        found = _NAME.fullmatch(name)
        prefix = (found["prefix"] or "") if found else ""
        if found and (not prefixes or prefix in prefixes):
            place = Place(prefix, int(found["layer"] or 0), found["back"] is not None)
            parts.setdefault(place, {})[found["what"]] = name
    if not parts:
        return None
    cells = {place: _weights(names, tensors) for place, names in parts.items()}
    model = next(iter(cells.values())).model
    remarks: tuple[str, ...] = (SAME_AS_SRN,) if model == "srn" else ()
    remarks += (BOTH_DIRECTIONS,) if any(place.backwards for place in cells) else ()
    return together(cells, f"{model}, named as torch does", list(prefixes), remarks)


def _weights(names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> CellWeights:
    there = shown(tensors, names.values())
    if "weight_hr" in names:
        raise ConfigError(f"has a projection of the hidden state (proj_size), which no cell here has ({there})")
    if "weight_ih" not in names or "weight_hh" not in names:
        raise ConfigError(f"has a recurrent layer without input or without recurrent weights ({there})")
    ih, hh = tensors[names["weight_ih"]], tensors[names["weight_hh"]]
    rows, D = hh.shape if hh.dim() == 2 else (0, 1)
    model, order = GATES.get(rows // D if rows % D == 0 else 0, ("", []))
    if not model:
        raise ConfigError(
            f"{names['weight_hh']} is {[*hh.shape]}, where [G x units, units] is expected: G is 1, 3 or 4"
        )
    if ih.dim() != 2 or len(ih) != rows:
        raise ConfigError(f"{names['weight_ih']} is {[*ih.shape]}, where [{rows}, inputs] is expected ({there})")
    G = len(order)
    biases = []
    for what in ("bias_ih", "bias_hh"):
        own = tensors[names[what]] if what in names else torch.zeros(rows)
        if tuple(own.shape) != (rows,):
            raise ConfigError(f"{names[what]} is {[*own.shape]}, where {[rows]} is expected")
        biases.append(own.view(G, D))
    (b, inner), c = biases, None
    if model == "gru":
        c, inner = inner[2:].clone(), torch.cat([inner[:2], torch.zeros_like(inner[2:])])
    return CellWeights(
        model,
        ih.view(G, D, -1).mT[order].contiguous(),
        hh.view(G, D, D).mT[order].contiguous(),
        (b + inner)[order],
        c,
        tuple(names.values()),
    )


def why_not(model: SequenceModel) -> str | None:
    """Say in a few words why torch has no layers that compute what a model does; None if it has."""
    cell = model.cell
    if type(cell) not in KINDS:
        return f"torch has no {cell.title or type(cell).__name__}"
    if isinstance(cell, LSTM) and cell.variant != "none":
        return f"torch's nn.LSTM has no variant {cell.variant}"
    if isinstance(cell, GRU) and not cell.reset_after:
        return "torch's nn.GRU resets after the recurrent product, this one before it (model.reset_after=false)"
    if len({*model.widths}) > 1:
        return f"layers of {model.widths} units: all layers of torch's have as many"
    if any(d.start is not None or d.start_W is not None for _, d in model.directions):
        return "the initial state is learned or computed, and torch's begins at zero"
    return None


@torch.no_grad()
def to_torch(model: SequenceModel, k: int) -> dict[str, Tensor]:
    """Return the weights of seed k as a state_dict of torch's layers.

    Args:
        model: of memexp.
        k: the place of the seed on the axis S.

    Returns:
        ``embedding.weight`` [V, M] if there is one, ``rnn.weight_ih_l0`` and so on of nn.RNN, nn.LSTM or nn.GRU, and
        ``linear.weight`` [K, D x directions], ``linear.bias``. The second bias of a layer is 0, but for c of a GRU.

    Raises:
        ConfigError: torch has no such layers; why is said.
    """
    reason = why_not(model)
    if reason:
        raise ConfigError(f"to=torch is not possible: {reason}")
    state = {} if model.embedding is None else {"embedding.weight": model.embedding[k].clone()}
    for number, layer in enumerate(model.stack):
        for direction in layer:
            suffix = f"l{number}{'_reverse' if direction.backwards else ''}"
            state |= {f"rnn.{name}_{suffix}": tensor for name, tensor in _of_cell(direction.cell, k).items()}
    return {**state, "linear.weight": model.head_weight[k].T.contiguous(), "linear.bias": model.head_bias[k].clone()}


def _of_cell(cell: Cell, k: int) -> dict[str, Tensor]:
    assert cell.U is not None
    order = GATES[len(cell.gates)][1]
    back = [order.index(place) for place in range(len(order))]  # where each of memexp's gates goes in torch's
    W, U, b = (parameter[k][back] for parameter in (cell.W, cell.U, cell.b))
    inner = torch.zeros_like(b)
    if isinstance(cell, GRU) and cell.c is not None:
        inner[2:] = cell.c[k]
    return {
        "weight_ih": W.mT.flatten(0, 1).contiguous(),
        "weight_hh": U.mT.flatten(0, 1).contiguous(),
        "bias_ih": b.flatten(),
        "bias_hh": inner.flatten(),
    }
