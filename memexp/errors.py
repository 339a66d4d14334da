"""The one kind of error that is the user's to mend: shown as a single line, without a traceback."""

import sys


class MemexpError(Exception):
    """Says in one line what came, what is allowed and what to do."""


class ConfigError(MemexpError):
    """A setting that is unknown, of the wrong type, or out of range."""


class DataError(MemexpError):
    """A data file that cannot be read, or that does not hold what it should."""


class RecordError(MemexpError):
    """A run folder or checkpoint that is damaged, foreign, of another config, or in use."""


class Complaints:
    """What could not be done while the rest was: each is said in a line as it comes, and counted for the exit code."""

    def __init__(self, quiet: bool = False) -> None:
        self.count = 0
        self._quiet = quiet

    def add(self, line: str) -> None:
        """Say a line on stderr, unless quiet."""
        self.count += 1
        if not self._quiet:
            print(line, file=sys.stderr)
