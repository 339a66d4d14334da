"""The memory that long texts take, for ``python -m memexp.bench text_memory=true``.

A run of ``task=char_lm`` in a process of its own, through the command line, on a made-up text: all of it is read,
scored and compared with simple models, but an epoch has few updates, for they take the same memory on every text.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter as wall_clock

from memexp.bench import contest
from memexp.bench.contest import Record
from memexp.errors import ConfigError, RecordError
from memexp.tasks.char_lm import CharLM

UPDATES = 100
MEGABYTE = 1_000_000
WORDS, LETTERS = 20_000, "etaoinshrdlucmfwypvbgkqjxz"  # the made-up language's


#: The task as a YAML file: that of texts, but for its class.
TASK = """# @package _global_
defaults: [char_lm]
task: {_target_: memexp.bench.text_memory.FewUpdates, name: few_updates}
"""


class FewUpdates(CharLM):
    """A text with epochs of `UPDATES` updates; all else is as in `CharLM`."""

    @property
    def updates_per_epoch(self) -> int:
        """How many updates an epoch has."""
        return min(UPDATES, super().updates_per_epoch)


def made_up(size: int) -> str:
    """Return a text of so many characters, of words that are the rarer the longer, in sentences."""
    draw = random.Random("text_memory")
    words = ["".join(draw.choices(LETTERS, range(26, 0, -1), k=draw.randint(1, 9))) for _ in range(WORDS)]
    sentences: list[str] = []
    missing = size
    while missing > 0:
        sentence = " ".join(draw.choices(words, k=draw.randint(3, 20))).capitalize() + draw.choice((".\n", "! ", "? "))
        sentences.append(sentence)
        missing -= len(sentence)
    return "".join(sentences)[: size - 1] + "."


def measure(megabytes: int, model: str, seeds: int, hidden_size: int) -> Record:
    """Run on a text of so many MB; return a row of the table.

    Raises:
        RecordError: the run failed.
    """
    with tempfile.TemporaryDirectory() as home:
        corpus = Path(home, "text.txt")
        corpus.write_text(made_up(megabytes * MEGABYTE), encoding="utf-8")
        Path(home, "conf", "task").mkdir(parents=True)
        Path(home, "conf", "task", "few_updates.yaml").write_text(TASK, encoding="utf-8")
        run = f"task=few_updates model={model} seeds={seeds} model.hidden_size={hidden_size} epochs=1 device=cpu"
        folders = [f"{folder}_dir={home}/{folder}" for folder in ("datasets", "outputs", "images")]
        with Path(home, "log").open("w+", encoding="utf-8") as log:
            started = wall_clock()
            command = [sys.executable, "-m", "memexp", f"--config-dir={home}/conf", f"task.corpus={corpus}"]
            command += [*run.split(), *folders]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = wall_clock() - started
            log.seek(0)
            if process.returncode:
                raise RecordError(f"the run on {megabytes} MB failed: {([*log] or ['it was killed'])[-1].strip()}")
    unit = 1 if sys.platform == "darwin" else 1024  # of the system's count, in bytes
    return {
        "model": model,
        "seeds": seeds,
        "hidden_size": hidden_size,
        "text_megabytes": megabytes,
        "peak_megabytes": usage.ru_maxrss * unit / MEGABYTE,
        "seconds": seconds,
    }


def compare(sizes: Sequence[int], model: str, seeds: int, hidden_size: int) -> list[Record]:
    """Measure texts of several sizes, in MB; return a row of the table for each.

    Raises:
        ConfigError: the system does not count the memory of a process.
        RecordError: a run failed.
    """
    if not hasattr(os, "wait4"):
        raise ConfigError("text_memory=true: this system does not say what memory a process took; Linux and macOS do")
    rows = []
    for megabytes in sizes:
        contest.say(f"a text of {megabytes} MB")
        rows.append(measure(megabytes, model, seeds, hidden_size))
    return rows


def table(rows: Sequence[Record]) -> str:
    """Format what `compare` returns for the terminal."""
    lines = [["text, MB", "model", "units", "seeds", "peak memory, MB", "seconds"]]
    for r in rows:
        sizes = (r["text_megabytes"], r["model"], r["hidden_size"], r["seeds"])
        lines.append([*map(str, sizes), f"{r['peak_megabytes']:.0f}", f"{r['seconds']:.0f}"])
    return contest.aligned(lines, "><>>>>")
