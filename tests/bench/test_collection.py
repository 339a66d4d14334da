import re

import pytest

from memexp.bench import collection
from memexp.bench.command import Options, bench
from memexp.errors import ConfigError


def test_all_made_up_run_folders_are_collected_and_drawn():
    said = collection.measure(26)
    number = r"[\d.,]+"
    steps = "; ".join(
        rf"{what} in {number} s \(memory {number} MB\)"
        for what in ("collected", "summarised", "analysed, with all figures,")
    )
    assert re.fullmatch(rf"26 run folders, 260 rows: {steps}", said)


def test_it_goes_with_no_other_option():
    with pytest.raises(ConfigError, match="folders=3 goes with no other option"):
        bench(Options(folders=3, quick=True))
