"""Studies: the folders below ``outputs/``, by name."""

from pathlib import Path

from memexp.arguments import nearest
from memexp.errors import ConfigError
from memexp.results import record


def find_study(outputs: Path, name: str) -> Path:
    """Return the folder of a study.

    Raises:
        ConfigError: there is none of that name; the nearest one is suggested.
    """
    there = study_names(outputs)
    if name not in there:
        known = (
            f"; there are: {', '.join(there)}"
            if there
            else f"; {outputs} has no study yet: run python -m memexp -m first"
        )
        raise ConfigError(f"study {name!r} does not exist{nearest(name, there)}{known}")
    return outputs / name


def study_names(outputs: Path) -> list[str]:
    """List the studies that have a run."""
    return sorted({path.parent.parent.name for path in outputs.glob(f"*/*/{record.CONFIG}")})
