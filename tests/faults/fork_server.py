"""Commands by the thousand: a process that has memexp and torch loaded, and forks a child for each.

Run as a script. It reads a command in JSON from each line of standard input and answers each with a line; see
`faults.commands.Server`. A child is the ordinary command line: `memexp.app.main` with its arguments, in a folder of its
own, its output in files. Three things differ, so that a result can be compared byte for byte and many can be had:

- the clock that durations are measured by stands still;
- a figure is saved as a list of what is drawn on it, not as pixels (`outline`);
- the process ends by ``os._exit`` once all is written, without taking torch apart.
"""

import hashlib
import itertools
import json
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from faults.injector import Injector


def outline(figure: Any, name: str) -> dict[str, bytes]:
    """Stand in for `memexp.files.as_files`: what is on a figure, artist by artist, instead of its pixels."""
    parts = []
    for artist in figure.findobj():
        about = [type(artist).__name__]
        for of in ("get_xydata", "get_offsets", "get_text", "get_array", "get_color"):
            try:
                about.append(str(getattr(artist, of)()))
            except (AttributeError, TypeError, ValueError):
                continue
        parts.append(" ".join(about))
    content = hashlib.sha256("\n".join(parts).encode()).hexdigest().encode()
    return {f"{name}.png": content, f"{name}.pdf": content[::-1]}


def main() -> None:
    """Load everything, then serve."""
    import gc

    import memexp.analysis.command
    import memexp.files
    from memexp import app
    from memexp.results import claims

    memexp.files.as_files = outline
    with tempfile.TemporaryDirectory() as folder:
        # what is imported late, and what libraries set up at their first use, is then there for all
        small = ("length=4", "epochs=1", "seeds=2", "batch_size=100", "model=srn", "study=first")
        _quietly(app.main, folder, [*small])
        _quietly(app.main, folder, ["-m", *small, "hydra/launcher=basic", "task.data_seed=1"])
    claims.BEAT_SECONDS = 1e6  # a sign of life that comes at any time would change the numbers of the operations
    time.monotonic = lambda: 0.0
    gc.collect()
    gc.freeze()  # what is shared with the children then stays so
    print("ready", flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        child = os.fork()
        if child == 0:
            _serve(app.main, case)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _quietly(command: Any, folder: str, arguments: list[str]) -> None:
    """Run a command in this process, in a folder, without a word."""
    before, here = os.dup(1), os.getcwd()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.chdir(folder)
    sys.argv = ["memexp", *arguments]
    try:
        command()
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.stdout.flush()
        logging.shutdown()
        os.dup2(before, 1)
        os.close(nowhere)
        os.close(before)
        os.chdir(here)


def _serve(command: Any, case: dict[str, Any]) -> None:
    """Be the child: run one command, write what operations it did, and end."""
    folder, notes = Path(case["folder"]), Path(case["notes"])
    os.chdir(folder)
    for number, name in ((0, os.devnull), (1, f"{notes}.out"), (2, f"{notes}.err")):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["memexp", *case["arguments"]]
    if case["clock_back"]:
        now = time.time()
        days = itertools.count()
        time.time = lambda: now - 86400 * next(days)
    real_open = open
    injector = Injector(str(folder), case["fault"], case["at"])
    injector.install()
    code = 0
    try:
        command()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    with real_open(f"{notes}.json", "w") as file:
        json.dump({"operations": injector.operations, "hit": injector.hit}, file)
    os._exit(code)


if __name__ == "__main__":
    main()
