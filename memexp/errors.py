"""The one kind of error that is the user's to mend: shown as a single line, without a traceback."""


class MemexpError(Exception):
    """Says in one line what came, what is allowed and what to do."""


class ConfigError(MemexpError):
    """A setting that is unknown, of the wrong type, or out of range."""


class DataError(MemexpError):
    """A data file that cannot be read, or that does not hold what it should."""


class RecordError(MemexpError):
    """A run folder or checkpoint that is damaged, foreign, of another config, or in use."""
