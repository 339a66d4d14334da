"""The processes of a sweep: joblib's workers, started and waited for so that Ctrl-C ends all of them."""

import multiprocessing.resource_tracker
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from joblib.externals.loky import reusable_executor
from joblib.externals.loky.backend import resource_tracker

T = TypeVar("T")


def apart(launch: Callable[[], T]) -> T:
    """Start joblib's workers and wait for them in another thread, so that Ctrl-C meets nothing of joblib's.

    After Ctrl-C the workers are killed: left alone they would train on, and the sweep would wait for them. Their runs
    go on from the last checkpoint.
    """
    launched = ThreadPoolExecutor(1, initializer=_deaf).submit(launch)
    try:
        while not launched.done():
            wait([launched], 0.1)  # not for ever: Windows would not let Ctrl-C through
    except KeyboardInterrupt:
        while not launched.done():
            executor = reusable_executor._executor
            if executor is not None:  # else the workers are about to be started
                executor.shutdown(wait=True, kill_workers=True)
            wait([launched], 0.1)
        raise
    return launched.result()


def _deaf() -> None:
    """Keep Ctrl-C from this thread and the workers that it starts from now on; on Windows that cannot be done.

    A terminal sends it to them too, and where it meets their first imports, each prints a traceback. It is enough that
    the sweep hears it.
    """
    if hasattr(signal, "pthread_sigmask"):
        for tracker in (multiprocessing.resource_tracker, resource_tracker):  # whose start would let it through again
            tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
