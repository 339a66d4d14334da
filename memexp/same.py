"""Say whether this machine gives the committed bits: ``python -m memexp.same`` trains a small reference and compares.

Every cell with its variants, every task and every way to learn that the compiled engine covers is trained for some
updates, as `memexp.experiment` trains any run. ``same.json`` beside this module has the hash of what each came to.
"""

import contextlib
import hashlib
import json
import logging
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import memexp
from memexp.arguments import compose_run, composing
from memexp.config import check
from memexp.errors import ConfigError, MemexpError
from memexp.fields import ranged
from memexp.files import write_atomically
from memexp.models.cells import LSTM
from memexp.options import run_command
from memexp.progress import TerminalHandler, say
from memexp.results import record

COMMITTED = Path(__file__).with_name("same.json")
SHOWN = 12  # digits of a hash

#: What all cases have in common, unless they say otherwise. No size is a multiple of a vector's lanes.
ALL = (
    "engine=compiled seeds=[0,3] epochs=1 eval_steps=10 log_steps=10 images_dir=null "
    "length=6 model.embedding_size=5 model.hidden_size=21"
)
BOOK = "length=10 model.embedding_size=32 model.hidden_size=32"
LAYERS = "model.bidirectional=true model.hidden_size=[21,9]"
CASES = (
    f"model=srn {BOOK}",
    f"model=lstm {BOOK}",
    "model=srn task.shuffle=true",
    "model=residual_srn task.sampling=fresh",
    *(f"model=lstm model.variant={variant}" for variant in LSTM.VARIANTS),
    "model=gru",
    "model=gru model.reset_after=true",
    "model=mingru",
    "model=minlstm",
    "model=irnn",
    "model=indrnn",
    "model=lstm_1997",
    "model=lstm_1997 model.truncated=false",
    "model=diagonal",
    "model=diagonal model.lowest=-1",
    f"model=lstm {LAYERS} model.initial_state=learned model.initialiser=chrono",
    f"model=gru {LAYERS} model.initial_state=input model.initialiser=orthogonal",
    f"model=minlstm {LAYERS} model.initial_state=input",
    "model=lstm optimizer=sgd lr=0.1 reduction=sum clip=0.5 gradient_norms=true",
    "model=lstm clip=0.01 clip_by=tensor",
    "model=lstm clip=0.001 clip_by=value",
    "task=adding model=lstm",
    "task=adding model=mingru model.embedding_size=0",
    "task=copy_memory model=gru task.symbols=3 task.items=2",
    *(f"task={task} model=lstm task.train_rows=320" for task in ("state_tracking", "two_sequences", "latch")),
    "task=temporal_order model=lstm task.train_rows=320 length=20",
    "task=associative_recall model=lstm task.train_rows=320 length=16",
)


@dataclass
class Options:
    """Train a small reference on the compiled engine, and say whether this machine gives the committed bits."""

    write: bool = ranged(
        default=False, about="true: commit the bits of this machine, for who changes what is computed on purpose"
    )


def same(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if a case is not the same.

    Raises:
        MemexpError: nothing can be compiled here, or the hashes cannot be read or written.
    """
    from memexp.compiled import cache  # loads torch

    with _heard("memexp.compiled"):
        broken = cache.why_not()
    if broken:
        raise ConfigError(f"nothing to compare: {broken}, and torch's last digits depend on the machine")
    _, processor, _ = cache.processor()
    say(f"{processor} ({platform.machine()}, {platform.system()}); {_listed(_versions())}")
    with tempfile.TemporaryDirectory(prefix="memexp-") as folder:
        found = bits(Path(folder), {} if options.write else _committed()["hashes"])
    if options.write:
        content = {"versions": _versions(), "hashes": found}
        write_atomically(COMMITTED, f"{json.dumps(content, indent=2)}\n".encode())
        say(f"written: {COMMITTED}")
        return 0
    return _verdict(found)


def bits(folder: Path, committed: dict[str, str]) -> dict[str, str]:
    """Train every case in a folder, say of each whether it is what is committed, and return its hash."""
    from memexp import experiment  # loads torch

    found = {}
    with composing():
        for number, case in enumerate(CASES):
            places = [f"{key}_dir={json.dumps(str(folder / key))}" for key in ("outputs", "datasets")]
            config = check(compose_run([*ALL.split(), *case.split(), *places]))
            run = folder / "outputs" / str(number)
            experiment.run(config, run)
            here = found[case] = hash_of(run)
            there = committed.get(case, "none")
            if here == there:
                say(f"same   {case}")
            elif committed:
                say(f"other  {case}: {here[:SHOWN]} here, {there[:SHOWN]} committed")
    return found


def hash_of(folder: Path) -> str:
    """Return the SHA-256 of what a complete run came to: its history, its best and last weights, its scores."""
    from memexp.training import checkpoints  # loads torch

    of = hashlib.sha256((folder / record.HISTORY).read_bytes())
    best = checkpoints.load(folder / record.BEST, "weights")["weights"]
    last = checkpoints.load(folder / record.LAST, "training")["training"]["weights"]
    for weights in (best, last):
        for name, tensor in sorted(weights.items()):
            array = tensor.contiguous().numpy()
            of.update(f"{name} {array.dtype.name} {array.shape}".encode())
            of.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    summary = record.read_summary(folder)
    of.update(json.dumps([summary["seeds"], summary["test_right"]], sort_keys=True).encode())
    return of.hexdigest()


def _verdict(found: dict[str, str]) -> int:
    """Say in plain words how it came out; return the exit code."""
    committed = _committed()
    others = [case for case, here in found.items() if here != committed["hashes"].get(case)]
    if not others:
        say(f"\nThis machine gives the committed bits: all {len(found)} cases are the same.")
        return 0
    made_with = committed["versions"]
    differ = {name: version for name, version in made_with.items() if _versions().get(name) != version}
    why = f"They were committed with {_listed(differ)}" if differ else "The versions are those of the committed bits"
    say(
        f"\nThis machine gives other bits in {len(others)} of {len(found)} cases. {why}; "
        f"{'with these it should give the same' if differ else 'please report it, with these lines'}."
    )
    return 1


def _committed() -> dict[str, Any]:
    """Read the committed hashes.

    Raises:
        MemexpError: they are missing or damaged.
    """
    try:
        content = json.loads(COMMITTED.read_text(encoding="utf-8"))
        return {"versions": dict(content["versions"]), "hashes": dict(content["hashes"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MemexpError(f"cannot read {COMMITTED} ({type(error).__name__}: {error}); install memexp again") from error


def _versions() -> dict[str, str]:
    import numba
    import numpy as np
    import torch

    versions = {module.__name__: str(module.__version__) for module in (memexp, torch, numba, np)}
    return {**versions, "torch": versions["torch"].partition("+")[0]}  # how it was built is no matter


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


@contextlib.contextmanager
def _heard(name: str) -> Iterator[None]:
    """Let the log lines of some modules be seen on the terminal, as those of a run are."""
    logger, handler = logging.getLogger(name), TerminalHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def main() -> None:
    """Run ``python -m memexp.same``."""
    run_command("same", Options, same)


if __name__ == "__main__":
    main()
