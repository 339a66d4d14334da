"""What decides a run before its first update, and what adds up its scores, has the same bits on every machine.

The hashes are in same_numbers.json; ``python tests/test_same_numbers.py`` prints those of this machine. Another hash is
that of other weights, rows or sums from the same seeds, so that records made before are of other numbers.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import KINDS, classifier, task_of
from torch import Generator, Tensor

from memexp.arithmetic import log, normal, total
from memexp.models.initialisers import SCHEMES
from memexp.tasks.metrics import Accuracy, CrossEntropy
from memexp.tasks.task import Rows, Task

HASHES = json.loads((Path(__file__).parent / "same_numbers.json").read_text())

#: Tasks, and updates whose rows are looked at; the last of them is of another epoch or block than the first.
BATCHES = {
    "digit_sum length=9": (0, 1, 40),
    "digit_sum length=9 task.shuffle=true": (0, 1, 40),
    "digit_sum length=9 task.sampling=fresh": (0, 1, 99, 100),
    "digit_sum length=23 task.sampling=fresh task.distractors=3": (0, 1, 99, 100),
    "adding length=11": (0, 1, 99, 100),
    "adding length=11 task.sampling=fixed task.shuffle=true task.train_rows=70": (0, 1, 9),
    "copy_memory length=7": (0, 1, 99, 100),
    "char_lm length=13 task.sampling=random": (0, 1, 1000),
    "char_lm length=13 task.sampling=consecutive": (0, 1, 1000),
    **dict.fromkeys(
        (
            "adding length=23 task.posed=1997",
            "state_tracking length=9",
            "temporal_order length=23",
            "two_sequences length=23 task.noise=targets",
            "associative_recall length=19 task.filler=random",
            "latch length=11",
        ),
        (0, 1, 99, 100),
    ),
}
#: Tasks whose fixed rows, all inputs and floors are looked at.
SPLITS = (
    "digit_sum length=9",
    "digit_sum length=7 task.distractors=3",
    "digit_sum length=9 task.exact_limit=0",
    "adding length=11",
    "copy_memory length=7",
    "char_lm length=13",
    "adding length=23 task.posed=1997",
    "state_tracking length=9 task.automaton=s3 task.asked=every_step",
    "temporal_order length=23",
    "two_sequences length=23 task.noise=signal",
    "associative_recall length=19",
    "latch length=11",
)


def bits(*tensors: Tensor | None) -> str:
    """Return the SHA-256 of tensors: their types, shapes and bits."""
    of = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            array = tensor.detach().contiguous().numpy()
            of.update(f"{array.dtype.name}{array.shape}".encode())
            of.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return of.hexdigest()


def parts(rows: Rows) -> list[Tensor | None]:
    return [rows.inputs, rows.targets, rows.weights]


def given(name: str, folder: Path) -> Task:
    task, *settings = name.split()
    made: Task = task_of(task, folder, "seeds=[3,8]", *settings)
    return made


def found(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is hashed, by name: initial weights, rows, sums and what follows from them."""
    for initialiser in [*SCHEMES, "chrono"]:
        options = {"widths": [37, 5], "bidirectional": True, "initial_state": "input", "initialiser": initialiser}
        model = classifier(KINDS["LSTM peephole"], [4, 9], embedding_size=3, longest=29, forget_bias=0.3, **options)
        yield f"weights: {initialiser}", bits(*model.parameters())

    for name, updates in BATCHES.items():
        task = given(name, folder)
        yield f"rows: {name}", bits(*[part for update in updates for part in parts(task.batch(update))])

    for name in SPLITS:
        task = given(name, folder)
        everything = [task.rows("train"), task.chooser(), *task.splits().values(), task.distribution()]
        yield f"splits: {name}", bits(*[part for split in everything for part in parts(split)])
        if not name.startswith("char_lm"):  # n-gram models take numpy's logarithms, and compressors have versions
            said = json.dumps([task.floors(), task.about(), task.distribution().row_weights().tolist()])
            yield f"floors: {name}", hashlib.sha256(said.encode()).hexdigest()

    draw = Generator().manual_seed(6)
    numbers = normal((3, 1001), draw)
    yield "normal numbers", bits(numbers)
    yield "logarithms", bits(log(numbers.abs()))
    yield "totals", bits(*[total(numbers[:, :size]) for size in (1, 2, 3, 8, 400, 1001)])
    weights = torch.rand(1, 1001, 1, generator=draw, dtype=torch.float64)
    for weighed in (None, weights):
        loss, accuracy = CrossEntropy(3), Accuracy(3)
        loss.add(numbers[..., None].float().abs(), weighed)
        accuracy.update(torch.stack([numbers, numbers[[1, 2, 0]]], -1)[:, :, None], torch.ones(1, 1001, 1), weighed)
        yield (
            f"means {'with' if weighed is not None else 'without'} weights",
            bits(loss.compute(), accuracy.compute(), accuracy.count),
        )


def test_the_same_numbers_on_this_machine(tmp_path: Path):
    assert dict(found(tmp_path)) == HASHES


@pytest.mark.slow
@pytest.mark.parametrize(
    "surroundings",
    [
        {"ATEN_CPU_CAPABILITY": "default"},
        {"ATEN_CPU_CAPABILITY": "avx2"},
        {"MKL_CBWR": "COMPATIBLE"},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-AVX512F"},
    ],
    ids=str,
)
def test_the_same_numbers_whatever_vectors_the_processor_has(surroundings: dict[str, str]):
    """And with as many threads as torch takes by itself: the tests have one."""
    done = subprocess.run(
        [sys.executable, __file__], env={**os.environ, **surroundings}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == HASHES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(dict(found(Path(temporary))), indent=2))
