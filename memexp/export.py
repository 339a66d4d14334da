"""Trained weights for use without memexp: ``python -m memexp.export``, a state_dict and a script that uses it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from memexp.choosing import OneRun
from memexp.errors import RecordError
from memexp.escaping import plain
from memexp.fields import ranged
from memexp.files import as_name, write
from memexp.models.cells import LSTM
from memexp.models.networks import SequenceModel
from memexp.options import run_command
from memexp.progress import say
from memexp.tasks.task import Reading
from memexp.trained import MODULES, TrainedRun
from memexp.weights.files import SAFE, save
from memexp.weights.outside import CALLED, WEIGHTS, choose
from memexp.weights.torch_layers import KINDS, to_torch

TEMPLATE = Path(__file__).with_name("export_script.txt")
MARK = "Written by python -m memexp.export"  # in a script: it may be written anew


@dataclass
class Options(OneRun):
    """Write the weights of one seed as those of torch's own layers, and beside them a short script that uses them.

    The file is a state_dict of nn.Embedding, of nn.RNN, nn.LSTM or nn.GRU, and of nn.Linear: embedding, rnn, linear.
    """

    weights: str | None = ranged(default=None, path=True, about=WEIGHTS)
    called: list[str] | None = ranged(default=None, about=CALLED)
    seed: int = ranged(0, default=0, about="which of the run's seeds")
    to: str = ranged(one_of=("torch",), default="torch", about="whose layers they are written for")
    file: str | None = ranged(
        default=None, path=True, about=f"the file to write, .pt or {SAFE}; null: named after the run, in this folder"
    )
    modules: list[str] = ranged(default=[], about=MODULES)
    datasets_dir: str = ranged(default="datasets", path=True, about="where the data are, for weights from outside")
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")


def script(model: SequenceModel, reading: Reading, title: str, file: str) -> str:
    """Return a script that answers with exported weights, without memexp.

    Args:
        model: that was exported.
        reading: of its task: what symbols and outputs are called.
        title: of the model, in words.
        file: the name of the file of weights, beside the script.
    """
    embedding, directions = model.embedding, len(model.stack[0])
    inputs = model.cell.W.shape[2] if embedding is None else embedding.shape[1]
    safe = file.endswith(SAFE)
    layers = f"num_layers={len(model.widths)}, bidirectional={directions == 2}, batch_first=True"
    last = "last[0]" if isinstance(model.cell, LSTM) else "last"
    values = {
        "TITLE": plain(f"{title}. {MARK}").replace("\\", "/").replace('"', "'"),
        "NAME": script_name(file),
        "EXAMPLE": plain(reading.beginning).replace("\\", "/").replace('"', "'"),
        "IMPORT": "from safetensors.torch import load_file\n" if safe else "",
        "READ": "load_file(FILE)" if safe else "torch.load(FILE, weights_only=True)",
        "FILE": json.dumps(file),
        "SYMBOLS": json.dumps(reading.symbols or ""),
        "OUTPUTS": json.dumps([*reading.outputs]),
        "INPUTS": str(inputs),
        "EMBEDDING": "None" if embedding is None else f"nn.Embedding({inputs}, {embedding.shape[2]})",
        "RNN": f"{KINDS[type(model.cell)]}({model.cell.W.shape[2]}, {model.widths[0]}, {layers})",
        "LINEAR": f"nn.Linear({model.output_size}, {model.head_bias.shape[1]})",
        "ANSWERS": "at every time step, [B, L, K]" if model.every_step else "[B, K]",
        "HIDDEN": "outputs" if model.every_step else f"torch.cat([*{last}[-{directions}:]], -1)",
    }
    return re.sub("@([A-Z]+)@", lambda found: values[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def script_name(file: str) -> str:
    """Name the script that belongs to a file of weights."""
    return f"use_{Path(file).stem}.py"


def write_export(run: TrainedRun, seed: int, path: Path) -> Path:
    """Write the weights of one seed, and the script; return where that is.

    Raises:
        ConfigError: the run has no such seed, or torch has no such layers.
        RecordError: a file cannot be written, or one of the user's is where the script belongs.
    """
    state = to_torch(run.model, run.place(seed))
    beside = path.with_name(script_name(path.name))
    if beside.exists() and MARK not in beside.read_text(encoding="utf-8", errors="replace"):
        raise RecordError(f"{beside} is there, and none that memexp wrote; move it away, or give another file=FILE")
    save(path, state)
    title = f"{run.summary['title']}, {run.name}, seed {seed}"
    write(beside, script(run.of(seed), run.reading, title, path.name).encode(), "file=FILE")
    return beside


def export(options: Options) -> int:
    """Do what the options ask for; return the exit code.

    Raises:
        MemexpError: in one line, what came, what is allowed and what to do.
    """
    run = choose(options, "book")
    path = Path(options.file or f"{as_name(f'{run.study}-{run.name},seed={options.seed}')}.pt")
    beside = write_export(run, options.seed, path)
    say(f"written: {path}, a state_dict of embedding, rnn and linear; {beside} uses it")
    return 0


def main() -> None:
    """Run ``python -m memexp.export``."""
    run_command("export", Options, export)


if __name__ == "__main__":
    main()
