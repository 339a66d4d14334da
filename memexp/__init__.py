"""memexp: how long can a recurrent network remember?"""

from pathlib import Path

from memexp import ending

ending.begin()

__version__ = "0.3.0"

_PACKAGE = Path(__file__).resolve().parent

#: Where the YAML files are: inside the package when it was installed as a wheel, beside it in a checkout.
CONF_DIR = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
