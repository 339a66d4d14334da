"""How things look in every figure: colour, marker and line.

A colour of seaborn's colour-blind palette, and a marker, mean a model, the same one in every figure. What else differs
between its runs changes how light the colour is, whether the marker is filled, and the line. What is no model is black
and grey. So print without colour tells everything apart too.
"""

import itertools
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_rgb

Looks = dict[str, dict[str, Any]]
"""Label -> colour, marker and line. The figures of a study share theirs, so that a label looks the same in all."""

PALETTE = sns.color_palette("colorblind")
MODELS = {"srn": (0, "o"), "lstm": (1, "s"), "gru": (2, "D"), "minlstm": (3, "^"), "residual_srn": (4, "v"),
          "mingru": (9, "P")}  # place in the palette, and marker  # fmt: skip
REST = (5, 6, 8)  # places in the palette for a user's own cells; 7 is a grey
DARKER = 0.72  # of these colours is drawn: a pale pink and a yellow are hard to see on white
OWN = [(colour, marker) for marker, colour in itertools.product("X*hpd><", REST)]  # all colours with one marker first
MORE_MARKERS = "1234+x"  # for more kinds of one model than the rest can tell apart
TINTS = (0.0, 0.5, -0.35)  # how much lighter or darker
LINES = ("-", "--", "-.", ":")


def looks_of(rows: pd.DataFrame) -> Looks:
    """Choose how each label looks: colour and marker by its model, the rest by its place among the model's labels.

    Args:
        rows: columns ``label`` and ``model.name``, of all runs whose figures belong together.
    """
    kinds = rows[["label", "model.name"]].drop_duplicates("label")
    of_models = _colours_and_markers(kinds["model.name"])
    places = kinds.groupby("model.name").cumcount()
    return {
        label: _kind(*of_models[model], place)
        for label, model, place in zip(kinds["label"], kinds["model.name"], places, strict=True)
    }


def _colours_and_markers(names: Iterable[str]) -> dict[str, tuple[Any, str]]:
    """Return colour and marker of each model; a user's own has the same ones in every study where it can."""
    found = {name: MODELS[name] for name in names if name in MODELS}
    for name in sorted(set(names) - MODELS.keys()):
        first = zlib.crc32(name.encode()) % len(REST)
        wanted = [OWN[(first + k) % len(REST)] for k in range(len(REST))] + OWN[len(REST) :]
        found[name] = next((look for look in wanted if look not in found.values()), wanted[0])
    colours = {
        place: tuple(DARKER * part for part in colour) if place in REST else colour
        for place, colour in enumerate(PALETTE)
    }
    return {name: (colours[place], marker) for name, (place, marker) in found.items()}


def _kind(colour: Any, marker: str, place: int) -> dict[str, Any]:
    """Return how one kind of a model looks, given its place among them."""
    tint = TINTS[place // 2 % len(TINTS)]
    colour = tuple((1 - abs(tint)) * np.array(to_rgb(colour)) + max(0.0, tint))
    more = place // 12  # so many differ in tint, line and filling
    return {
        "color": colour,
        "marker": marker if more == 0 else MORE_MARKERS[(more - 1) % len(MORE_MARKERS)],
        "linestyle": LINES[place % len(LINES)],
        "markerfacecolor": "white" if place % 2 else colour,
    }


def shades(names: Sequence[str]) -> Looks:
    """Choose how things look that are no models: from grey to black, each with a line and a marker of its own."""
    greys = np.linspace(0.6, 0.1, len(names)) if len(names) > 1 else [0.1]
    return {
        name: {"color": str(round(float(grey), 2)), "marker": marker, "linestyle": line}
        for name, grey, marker, line in zip(names, greys, "osD^", LINES, strict=False)
    }
