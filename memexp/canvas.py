"""matplotlib as memexp uses it: a figure looks the same wherever it is drawn, and nothing of the user's is changed.

A notebook hands its own backend on to the commands that it starts (``MPLBACKEND``), and a user may have a matplotlibrc.
Neither has a say here: figures are made and saved within `own_style`, without pyplot, and `Figure.savefig` chooses what
it draws with by the file's format. Whoever imports memexp keeps the backend and the settings that he has.
"""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar

_backend = os.environ.pop("MPLBACKEND", None)  # with one that is not installed the import would fail
_first = "matplotlib" not in sys.modules
try:
    import matplotlib
finally:
    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend
if _first and _backend:
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend

from matplotlib import font_manager  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

__all__ = ["Figure", "Picture", "font_manager", "own_style", "second_font"]

_one_at_a_time = threading.RLock()  # matplotlib's settings are those of the whole process
_second = ContextVar[str | None]("second font", default=None)


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Let matplotlib have its defaults, within a ``with`` or as the decorator of what makes a figure."""
    with _one_at_a_time, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False  # a $ in the name of a cell is a dollar
        if family := _second.get():
            matplotlib.rcParams["font.family"] = ["sans-serif", family]
        yield


class Picture(Figure):
    """A figure that a notebook shows where it is the result of a cell, whatever its backend."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        with own_style():
            self.savefig(picture, format="png")
        return picture.getvalue()


@contextlib.contextmanager
def second_font(family: str | None) -> Iterator[None]:
    """Let figures that are made within a ``with`` take what the usual font lacks from another family."""
    before = _second.set(family)
    try:
        yield
    finally:
        _second.reset(before)
