"""Recurrent layers with matrices of their own for each gate, as the book and its re-tellings write them.

The book calls them W_i, U_i, b_i and so on (W, U, b of the SRN), and computes x W + h U + b. Others write W_xi and W_hi
for these two (as Dive into Deep Learning does), or W_ii and W_hi with two biases (as torch's documents do), or have an
nn.Linear for each, W_i.weight. The candidate of an LSTM is c, g or a; a GRU's gates are r, z or u, and h, c, n or g.

Axis letters as in `memexp.models.cells`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memexp.errors import ConfigError
from memexp.weights.layers import CellWeights, Recurrent, place_of, shown, together

_LINEAR = ("weight", "bias")  # how the tensors of an nn.Linear end
_NAME = re.compile(r"(w|u|b|bias)_?([xih]?)_?([ifocgarzuhn]?)|(i2h|x2h|h2h)", re.IGNORECASE)
#: model -> the letters of its gates, in memexp's order.
GATES = {"lstm": ("i", "f", "o", "cga"), "gru": ("r", "zu", "hcng")}
SAME_AS_SRN = (
    "read as an SRN with tanh; a layer with relu, or with a residual connection (model=residual_srn), has the same "
    "tensors"
)


@dataclass
class _Cell:
    """The tensors of a cell by their parts, gate -> the name of each: what is multiplied, and what is added."""

    W: dict[str, str] = field(default_factory=dict)
    U: dict[str, str] = field(default_factory=dict)
    b: dict[str, str] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)  # the biases of recurrent products
    linear: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for part in (self.W, self.U, self.b, self.inner) for name in part.values())


@dataclass(frozen=True)
class Conventions:
    """What tensors do not tell, and the user may.

    Attributes:
        transposed: the matrices are [D, M] and [D, D], for W x; else their shapes tell, and where M is D it is x W.
        reset: of a GRU: ``before`` or ``after`` the recurrent product; None for before, as in the book.
        update: of a GRU: what its update gate weighs: the ``old`` state, as in the book, or the ``new`` one.
    """

    transposed: bool = False
    reset: str | None = None
    update: str | None = None


def read(tensors: Mapping[str, Tensor], prefixes: Sequence[str], chosen: Conventions) -> Recurrent | None:
    """Read the layers of a file that have a matrix for each gate; None if there are none.

    Args:
        tensors: of the file.
        prefixes: what the names of the cells begin with, from the lowest layer up; none for all there are.
        chosen: what tensors do not tell.

    Raises:
        ConfigError: a tensor is missing, or does not fit the others, or has several gates in one.
    """
    found = {prefix: cell for prefix, cell in _cells(tensors).items() if not prefixes or prefix in prefixes}
    if not found:
        return None
    order = [place_of(prefix).prefix for prefix in prefixes]
    cells = {place_of(prefix): _weights(cell, tensors, chosen) for prefix, cell in found.items()}
    if len(cells) < len(found):
        raise ConfigError(f"has several cells where one belongs: {', '.join(found)}; choose with names={{'cell': ...}}")
    first = next(iter(cells.values()))
    return together(
        cells, f"{first.model}, a matrix for each gate", list(dict.fromkeys(order)), _remarks(first, chosen)
    )


def _remarks(cell: CellWeights, chosen: Conventions) -> tuple[str, ...]:
    if cell.model == "srn":
        return (SAME_AS_SRN,)
    if cell.model == "gru" and None in (chosen.reset, chosen.update):
        resets = "before" if cell.c is None else "after"
        return (
            f"read as a GRU that resets {resets} the recurrent product and whose update gate weighs the old state; "
            "others have the same tensors: names={'reset': 'before' or 'after', 'update': 'old' or 'new'}",
        )
    return ()


def _cells(tensors: Mapping[str, Tensor]) -> dict[str, _Cell]:
    """Sort the tensors that are called as those of a cell by what their names begin with; others are left out."""
    cells: dict[str, _Cell] = {}
    for name in tensors:
        *path, last = name.split(".")
        linear = last in _LINEAR and bool(path) and _NAME.fullmatch(path[-1]) is not None and path[-1][0] not in "bB"
        parsed = _NAME.fullmatch(path[-1] if linear else last)
        if parsed is None:
            continue
        prefix = ".".join(path[:-1] if linear else path)
        cell = cells.setdefault(prefix, _Cell())
        cell.linear |= linear
        _sort_in(cell, parsed, name, is_bias=linear and last == "bias")
    for cell in cells.values():
        if not cell.U and {*cell.W} == {"x", "h"}:  # W_x and W_h of an SRN
            cell.U[""], cell.W = cell.W["h"], {"": cell.W["x"]}
        if ("o" in cell.U) != ("o" in cell.W):  # W_ho or W_o is what others call the linear layer
            for part in (cell.U, cell.W, cell.b):
                part.pop("o", None)
    return {prefix: cell for prefix, cell in cells.items() if cell.U and cell.W}


def _sort_in(cell: _Cell, parsed: re.Match[str], name: str, is_bias: bool) -> None:
    """Put a tensor where its name says it belongs."""
    letter, source, gate = ((part or "").lower() for part in parsed.groups()[:3])
    if parsed[4]:
        letter, source, gate = ("u" if parsed[4].lower() == "h2h" else "w"), "", ""
    elif source and not gate:  # of one letter: it names the gate, if one is called so
        source, gate = "", source
    recurrent = letter == "u" or (letter == "w" and source == "h")
    if letter[0] == "b":
        (cell.inner if source == "h" else cell.b)[gate] = name
    elif is_bias:
        (cell.inner if recurrent else cell.b)[gate] = name
    else:
        (cell.U if recurrent else cell.W)[gate] = name


def _weights(cell: _Cell, tensors: Mapping[str, Tensor], chosen: Conventions) -> CellWeights:
    model, letters = _model(cell, tensors)
    G, D = len(letters), tensors[cell.U[letters[0]]].shape[-1]
    turned = _is_turned(cell, tensors, letters[0], D, chosen.transposed)
    U = _matrices(cell.U, letters, tensors, [D, D])
    first = tensors[cell.W[letters[0]]]
    M = first.shape[1 if turned else 0] if first.dim() == 2 else 0
    W = _matrices(cell.W, letters, tensors, [D, M] if turned else [M, D])
    W, U = (W.mT.contiguous(), U.mT.contiguous()) if turned else (W, U)
    b, inner = (_biases(part, letters, D, tensors) for part in (cell.b, cell.inner))
    own, within, c = torch.zeros(G, D) if b is None else b, torch.zeros(G, D) if inner is None else inner, None
    if model == "gru":
        if inner is not None and cell.linear and chosen.reset is None:
            raise ConfigError(
                f"{cell.inner[letters[2]]} is a bias of the recurrent product, and tensors do not tell whether the "
                "reset gate acts before or after that; say names={'reset': 'before'} or 'after'"
            )
        if chosen.reset == "after" or (chosen.reset is None and inner is not None):
            c, within = within[2:].clone(), torch.cat([within[:2], torch.zeros(1, D)])
    b = own + within
    if model == "gru" and chosen.update == "new":  # 1 - sigmoid(z) = sigmoid(-z)
        for part in (W, U, b):
            part[1].neg_()
    return CellWeights(model, W, U, b, c, cell.names)


def _is_turned(cell: _Cell, tensors: Mapping[str, Tensor], letter: str, D: int, asked: bool) -> bool:
    """Say whether a cell's matrices are for W x, not for x W: an nn.Linear's are, and those whose shapes say so."""
    first = tensors[cell.W[letter]]
    by_shape = first.dim() == 2 and first.shape[0] == D != first.shape[1]
    columns = D > 1 and any(tuple(tensors[name].shape) == (D, 1) for name in cell.b.values())
    return cell.linear or asked or by_shape or (columns and tuple(first.shape) == (D, D))


def _matrices(
    part: Mapping[str, str], letters: Sequence[str], tensors: Mapping[str, Tensor], expected: list[int]
) -> Tensor:
    """Return the matrices of all gates, [G, ...]."""
    for letter in letters:
        shape = [*tensors[part[letter]].shape]
        if shape != expected or 0 in shape:
            several = len(shape) == 2 and shape[0] != shape[1] and max(shape) % max(min(shape), 1) == 0
            why = "; if it has several gates in one, tensors do not tell their order" if several else ""
            raise ConfigError(
                f"{part[letter]} is {shape}, where {expected} is expected ({shown(tensors, part.values())}){why}"
            )
    return torch.stack([tensors[part[letter]] for letter in letters])


def _model(cell: _Cell, tensors: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """Tell the model, and the letters of its gates in memexp's order, by the recurrent matrices.

    Raises:
        ConfigError: they are those of no model, or a gate lacks its input weights.
    """
    there = {*cell.U}
    if len(there) == 1 and len(cell.W) == 1:
        (letter,) = there
        for part in (cell.W, cell.b, cell.inner):  # W and U, but b_h: all of the one gate
            if len(part) == 1:
                part[letter] = part.pop(next(iter(part)))
        return "srn", [letter]
    for model, gates in GATES.items():
        letters = [letter for gate in gates for letter in gate if letter in there]
        if len(letters) == len(gates) == len(there) and all(there & {*gate} for gate in gates):
            if {*cell.W} != there:
                odd = sorted({*cell.W} ^ there)
                raise ConfigError(
                    f"the gates {', '.join(odd)} lack input weights or recurrent ones; there are "
                    f"{shown(tensors, [*cell.W.values(), *cell.U.values()])}"
                )
            return model, letters
    raise ConfigError(
        f"has recurrent weights for the gates {', '.join(sorted(there))}, which are those of no cell here: an LSTM has "
        f"i, f, o and c, a GRU r, z and h ({shown(tensors, cell.U.values())})"
    )


def _biases(part: Mapping[str, str], letters: Sequence[str], D: int, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Return the biases of all gates, [G, D], stored as [D], [1, D] or [D, 1]; None where there are none."""
    if not part:
        return None
    missing = [letter for letter in letters if letter not in part]
    odd = [letter for letter in part if letter not in letters]
    if missing or odd:
        raise ConfigError(
            f"has biases for the gates {', '.join(part)}, but the gates are {', '.join(letters)} "
            f"({shown(tensors, part.values())})"
        )
    for name in part.values():
        if tuple(tensors[name].shape) not in ((D,), (1, D), (D, 1)):
            raise ConfigError(f"{name} is {[*tensors[name].shape]}, where {[D]} or {[1, D]} is expected")
    return torch.stack([tensors[part[letter]].flatten() for letter in letters])
