from pathlib import Path

import pytest
from test_records import make_run

from memexp.errors import ConfigError
from memexp.results.study import find_study


def test_an_unknown_study_is_named_with_the_nearest(tmp_path: Path):
    make_run(tmp_path / "book", 5)
    make_run(tmp_path / "fresh", 5)
    assert find_study(tmp_path, "fresh") == tmp_path / "fresh"
    with pytest.raises(
        ConfigError, match=r"study 'frech' does not exist \(did you mean fresh\?\); there are: book, fresh"
    ):
        find_study(tmp_path, "frech")
    with pytest.raises(ConfigError, match="has no study yet"):
        find_study(tmp_path / "nothing", "book")
