"""The runs of a sweep: what it is asked to run over, expanded."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from memexp.arguments import values
from memexp.explain import explained


def expand(
    arguments: Sequence[str], params: Mapping[str, str], grids: Sequence[Mapping[str, str]], loader: Any
) -> list[list[str]]:
    """Return the overrides of each run: those of the grids, in which the arguments win.

    Args:
        arguments: what was given, but Hydra's own settings.
        params: what is swept by itself, key -> values; ``hydra.sweeper.params``.
        grids: ``hydra.sweeper.grids``; each is added to ``params``.
        loader: Hydra's, which lists the choices of a ``glob()``.

    Raises:
        ConfigError: a setting stands for no value.
    """
    parser = OverridesParser.create(config_loader=loader)
    batch: list[list[str]] = []
    for grid in grids:
        swept = [f"{key}={listed}" for key, listed in {**params, **grid}.items()]
        kept = ("experiment", "study") if "experiment" in grid else ()
        given = [a for a in arguments if a.partition("=")[0] not in kept]
        with explained():
            overrides = parser.parse_overrides([*swept, *given])
            for override in overrides:
                values(override)
            batch += BasicSweeper.split_arguments(overrides, None)[0]
    return batch
