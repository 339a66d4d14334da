"""Layouts: which tensor of a file is what, told by names and shapes.

Recurrent layers of three kinds are known: torch's (`memexp.weights.torch_layers`), those with a matrix for each gate
(`memexp.weights.gate_by_gate`), and memexp's own. Around the first two stand an embedding and a linear layer, whatever
they are called.

What is left over, does not fit, or can be read in two ways is an error that names it with its shape: a model that is
read wrongly answers too, only not as it was trained to. Axis letters as in `memexp.models.cells`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memexp.errors import ConfigError, nearest
from memexp.weights import gate_by_gate, torch_layers
from memexp.weights.gate_by_gate import Conventions
from memexp.weights.layers import Recurrent, shown

TURNED = ".T"  # behind a name: the tensor is stored the other way round
#: What a user can settle by ``names``, and what is allowed.
NAMES = {
    "embedding": "the tensor of the embedding",
    "linear": "the weight of the linear layer, [outputs, units]; with .T behind the name it is [units, outputs]",
    "cell": "what the recurrent layer's names begin with (a list for stacked ones, from the lowest up); with .T behind "
    "it the matrices of its gates are [units, inputs]",
    "reset": "of a GRU: before or after, the recurrent product",
    "update": "of a GRU: what the update gate weighs, the old state or the new one",
}
CHOICES = {"reset": ("before", "after"), "update": ("old", "new")}
_STATE = re.compile(r"[hc]_?0|(hidden|cell)(_state)?|init_[hc]", re.IGNORECASE)
SAME_AS_LSTM = "read as an LSTM; an sLSTM has the same tensors: give model=slstm if it is one"
_EMBEDDING = re.compile(r"emb|lookup|wte|vocab", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A file that was read as a model.

    Attributes:
        layout: how it was read, in words.
        models: the names that the model may have in memexp; several where tensors do not tell.
        settings: those of the model that follow, as ``hidden_size``.
        parameters: by the names that they have in `memexp.models.networks.SequenceModel`, [S, ...].
        inputs: V.
        outputs: K.
        remarks: what tensors do not tell, in a line each: how it was taken.
    """

    layout: str
    models: tuple[str, ...]
    settings: dict[str, Any]
    parameters: dict[str, Tensor]
    inputs: int
    outputs: int
    remarks: tuple[str, ...] = ()


def recognise(tensors: Mapping[str, Tensor], names: Mapping[str, Any] | None = None) -> Found:
    """Read the tensors of a file as a model.

    Args:
        tensors: name -> tensor.
        names: what tensors do not tell, see `NAMES`.

    Raises:
        ConfigError: it is no model of memexp's, or can be read in several ways; what came and what is expected is said.
    """
    names = _checked(names or {})
    tensors = {name: tensor.float() for name, tensor in tensors.items() if not _is_zero_state(name, tensor)}
    if "head_weight" in tensors and any(name.startswith("layers.0.0.cell.") for name in tensors):
        return _of_memexp(tensors)
    given = [names["cell"]] if isinstance(names.get("cell"), str) else list(names.get("cell", []))
    prefixes = [prefix.removesuffix(TURNED).removesuffix(".") for prefix in given]
    chosen = Conventions(
        transposed=any(prefix.endswith(TURNED) for prefix in given),
        reset=names.get("reset"),
        update=names.get("update"),
    )
    readings = [torch_layers.read(tensors, prefixes), gate_by_gate.read(tensors, prefixes, chosen)]
    found = [reading for reading in readings if reading is not None]
    if len(found) != 1:
        kinds = "has no recurrent layer that is known" if not found else "has recurrent layers of two kinds"
        raise ConfigError(f"{kinds}; its tensors: {shown(tensors, tensors)}")
    return _with_the_rest(tensors, found[0], names)


def _is_zero_state(name: str, tensor: Tensor) -> bool:
    """Say whether a tensor is an initial state of zeros, from which a model begins anyway."""
    return _STATE.fullmatch(name.rpartition(".")[2]) is not None and not tensor.any()


def _checked(names: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in names.items():
        if key not in NAMES:
            raise ConfigError(f"names has no {key!r}{nearest(key, NAMES)}; it may have {', '.join(NAMES)}")
        if key in CHOICES and value not in CHOICES[key]:
            raise ConfigError(f"names: {key} is {value!r}; allowed: {', '.join(CHOICES[key])}")
    return dict(names)


def _of_memexp(tensors: Mapping[str, Tensor]) -> Found:
    """Read memexp's own best.pt, whose config is not beside it."""
    stack: dict[int, set[int]] = {}
    for name in tensors:
        if match := re.match(r"layers\.(\d+)\.(\d+)\.", name):
            stack.setdefault(int(match[1]), set()).add(int(match[2]))
    W = tensors.get("layers.0.0.cell.W", torch.zeros(0))
    if W.dim() != 4:
        raise ConfigError(f"layers.0.0.cell.W is {[*W.shape]}, where [seeds, gates, inputs, units] is expected")
    embedding, head = tensors.get("embedding"), tensors["head_weight"]
    parts = {name.removeprefix("layers.0.0.cell.") for name in tensors if name.startswith("layers.0.0.cell.")}
    widths = [tensors[f"layers.{number}.0.cell.W"].shape[-1] for number in sorted(stack)]
    starts = {name.rpartition(".")[2] for name in tensors if name.rpartition(".")[2] in ("start", "start_W")}
    initial_state = "input" if "start_W" in starts else "learned" if starts else "zero"
    settings: dict[str, Any] = {
        "embedding_size": 0 if embedding is None else embedding.shape[-1],
        "hidden_size": widths[0] if len(widths) == 1 else widths,
        "bidirectional": len(stack[0]) == 2,
        **({"initial_state": initial_state} if starts else {}),
        **({"reset_after": True} if "c" in parts else {}),
        **({"variant": "peephole"} if "P" in parts else {}),
    }
    inputs = W.shape[2] if embedding is None else embedding.shape[1]
    models = _models_of_memexp(parts, W.shape[1])
    remarks = (SAME_AS_LSTM,) if models == ("lstm",) and "P" not in parts else ()
    return Found("memexp's own", models, settings, dict(tensors), inputs, head.shape[-1], remarks)


def _models_of_memexp(parts: set[str], G: int) -> tuple[str, ...]:
    if "u" in parts:
        return ("indrnn",)
    if "U" not in parts:
        return {2: ("mingru", "diagonal"), 3: ("minlstm",)}.get(G, ())
    if "c" in parts or "P" in parts:
        return ("gru",) if "c" in parts else ("lstm",)
    return {1: ("srn", "residual_srn", "irnn"), 3: ("gru", "lstm", "lstm_1997"), 4: ("lstm",)}.get(G, ())


def _with_the_rest(tensors: Mapping[str, Tensor], cells: Recurrent, names: Mapping[str, Any]) -> Found:
    """Find the embedding and the linear layer among the tensors that no cell has."""
    left = [name for name in tensors if name not in cells.names]
    biases = [name for name in left if _is_bias(name, tensors[name])]
    linear, turned = _named(names.get("linear"), left)
    embedding, _ = _named(names.get("embedding"), left)
    matrices = [name for name in left if name not in (*biases, linear, embedding) and tensors[name].dim() == 2]
    M, N = cells.input_size, cells.output_size
    if linear is None:
        fitting = _likely_linear(matrices, biases, tensors, N)
        linear = _the_only(fitting, matrices, tensors, f"the linear layer, [outputs, {N}]", "linear")
        matrices.remove(linear)
        turned = None
    if embedding is None and matrices:
        fitting = [name for name in matrices if M in tensors[name].shape]
        embedding = _the_only(fitting, matrices, tensors, f"the embedding, [symbols, {M}]", "embedding")
    bias = _bias_of(linear, biases)
    over = [name for name in left if name not in (linear, embedding, bias)]
    if over:
        raise ConfigError(f"has tensors that no part of the model takes: {shown(tensors, over)}")
    weight = _linear(tensors, linear, bias, N, turned)
    table = None if embedding is None else _table(tensors, embedding, M)
    outputs = weight.shape[1]
    return Found(
        f"{cells.layout}; {linear}{'' if embedding is None else f'; {embedding}'}",
        (cells.stack[0][0].model,),
        {"embedding_size": 0 if table is None else M, **cells.settings},
        {
            **({} if table is None else {"embedding": table[None]}),
            **cells.parameters,
            "head_weight": weight[None],
            "head_bias": (torch.zeros(outputs) if bias is None else tensors[bias].flatten())[None],
        },
        M if table is None else len(table),
        outputs,
        cells.remarks,
    )


def _is_bias(name: str, tensor: Tensor) -> bool:
    return tensor.dim() == 1 or (
        tensor.dim() == 2 and 1 in tensor.shape and re.match("b", name.rpartition(".")[2], re.IGNORECASE) is not None
    )


def _named(given: Any, left: Sequence[str]) -> tuple[str | None, bool | None]:
    """Return the tensor that the user has named, as a whole or by its layer, and whether it is stored turned."""
    if given is None:
        return None, None
    turned = given.endswith(TURNED) and given not in left
    name = given.removesuffix(TURNED) if turned else given
    for whole in (name, f"{name}.weight", f"{name}.W"):
        if whole in left:
            return whole, turned
    raise ConfigError(f"names: there is no {name}{nearest(name, left)}; there are {', '.join(left) or 'none left'}")


def _likely_linear(matrices: Sequence[str], biases: Sequence[str], tensors: Mapping[str, Tensor], N: int) -> list[str]:
    """Narrow down which matrix is the linear layer's: beside a bias, not called an embedding, of a shape that fits."""
    fitting = [name for name in matrices if N in tensors[name].shape]
    beside = [name for name in fitting if any(_layer(bias) == _layer(name) for bias in biases)]
    fitting = beside or fitting
    others = [name for name in fitting if not _EMBEDDING.search(name)]
    return others or ([] if len(matrices) == 1 else fitting)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _the_only(fitting: Sequence[str], there: Sequence[str], tensors: Mapping[str, Tensor], what: str, key: str) -> str:
    if len(fitting) == 1:
        return fitting[0]
    came = shown(tensors, fitting or there) or "none"
    if fitting:
        raise ConfigError(f"has several tensors for {what}: {came}; name one, as names={{'{key}': '{fitting[0]}'}}")
    raise ConfigError(f"has no tensor for {what}: there is {came}")


def _bias_of(linear: str, biases: Iterable[str]) -> str | None:
    """Return the bias beside the weight of the linear layer, or else the only one there is."""
    biases = list(biases)
    beside = [bias for bias in biases if _layer(bias) == _layer(linear)]
    return next(iter(beside if len(beside) == 1 else biases if len(biases) == 1 else []), None)


def _linear(tensors: Mapping[str, Tensor], name: str, bias: str | None, N: int, turned: bool | None) -> Tensor:
    """Return the weight of the linear layer, [D x directions, K].

    Args:
        tensors: of the file.
        name: of the weight.
        bias: the name of its bias.
        N: D x directions.
        turned: it is [N, K] (True), or [K, N]; None to tell that by shapes.
    """
    weight = tensors[name]
    K = None if bias is None else tensors[bias].numel()
    expected = {True: [N, K or "outputs"], False: [K or "outputs", N]}
    fits = {way: [*weight.shape] == [N if n == N else K or weight.shape[place] for place, n in enumerate(shape)]
            for way, shape in expected.items()}  # fmt: skip
    if turned is None and fits[True] and fits[False]:
        raise ConfigError(
            f"{name} is {[*weight.shape]}, which may be [outputs, units], as torch has it, or [units, outputs], as "
            f"Paddle has it; say names={{'linear': '{name}'}} for the first, '{name}{TURNED}' for the second"
        )
    if turned is None:
        turned = fits[True]
    if not fits[turned]:
        beside = "" if bias is None else f", beside {shown(tensors, [bias])}"
        raise ConfigError(f"{name} is {[*weight.shape]}, where {expected[turned]} is expected{beside}")
    return weight if turned else weight.T.contiguous()


def _table(tensors: Mapping[str, Tensor], name: str, M: int) -> Tensor:
    """Return the embedding, [V, M]; an nn.Linear on one-hot vectors has it the other way round."""
    table = tensors[name]
    if table.dim() == 2 and table.shape[1] == M:
        return table
    if table.dim() == 2 and table.shape[0] == M:
        return table.T.contiguous()
    raise ConfigError(
        f"{name} is {[*table.shape]}, where [symbols, {M}] is expected: the recurrent layer reads {M} numbers"
    )
