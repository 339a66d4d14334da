"""How many sequences it took, read from records: until a streak, or until dev says so."""

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import make_run, seed_row, write_history
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from memexp import CONF_DIR
from memexp.config import check
from memexp.published.claims import FromRecords, Measured, NotThereError
from memexp.published.sequences import CLAIMS, no_more_wrong_than, until, until_streak, wrong
from memexp.results.record import flatten
from memexp.results.tables import interval

TASK = {"_target_": "memexp.tasks.two_sequences.TwoSequences", "name": "two_sequences"}
RUNS = {"task.name": "two_sequences"}


def measured(study: Path) -> Measured:
    return Measured(searches=2, trials=2, study=study)


def seeds(*took: int | None) -> list[dict[str, Any]]:
    return [seed_row(k) | {"sequences": number, "test_within_0.2": 1 - k / 2560} for k, number in enumerate(took)]


def test_the_mean_until_a_streak_is_over_seeds_and_open_where_one_is_not_there(tmp_path: Path):
    make_run(tmp_path / "all", 100, task=TASK, seeds=seeds(5000, 7000, 6000), sequences_seen=7050)
    make_run(tmp_path / "two", 100, task=TASK, seeds=seeds(5000, None, 6000), sequences_seen=7050)
    found, some = (FromRecords(RUNS, until_streak)(measured(tmp_path / name)) for name in ("all", "two"))
    assert (found.mean, found.n) == (6000, 3)
    assert (found.low, found.high) == interval([5000, 7000, 6000], bounds=(0, 1e9))[1:]
    assert some.high == math.inf
    assert some[:2] == interval([5000, 7050, 6000], bounds=(0, 1e9))[:2]
    assert str(some) == f"over {some.low:,.0f}"


def test_wrong_sequences_are_counted_of_those_of_1997(tmp_path: Path):
    make_run(tmp_path, 100, task=TASK, seeds=seeds(9, 9, 9, 9))
    found = FromRecords(RUNS, partial(wrong, "within_0.2"))(measured(tmp_path))
    assert found[:2] == pytest.approx((1.5, 0))  # Student's is wider: 3.182 * 1.291 / 2 = 2.054
    assert found.high == pytest.approx(1.5 + 2.054, abs=0.001)


def test_wrong_sequences_of_one_seed_have_the_interval_of_a_count(tmp_path: Path):
    make_run(tmp_path, 100, task=TASK, seeds=[seeds(9)[0] | {"test_within_0.2": 0.5}])
    found = FromRecords(RUNS, partial(wrong, "within_0.2"))(measured(tmp_path))
    assert found[:3] == pytest.approx((1280, 1229.8, 1330.2), abs=0.3)  # 2 sqrt(2560) / 2 = 50.6, of a normal


def test_where_no_sequence_is_wrong_the_interval_is_not_empty(tmp_path: Path):
    none_wrong = [seed | {"test_within_0.2": 1.0} for seed in seeds(9, 9, 9, 9)]
    make_run(tmp_path, 100, task=TASK, seeds=none_wrong)
    found = FromRecords(RUNS, partial(wrong, "within_0.2"))(measured(tmp_path))
    assert found[:2] == (0, 0)
    assert found.high == pytest.approx(2560 * (1 - 0.025 ** (1 / (4 * 2560))))


def test_a_run_would_have_ended_where_dev_first_says_so(tmp_path: Path):
    folder = make_run(tmp_path, 100, task=TASK, seeds=seeds(None, None))
    shares = {0: (0.5, 0.5), 100: (1.0, 254.6 / 256), 200: (1.0, 1.0), 300: (1.0, 255 / 256)}
    errors = {0: 0.5, 100: 0.02, 200: 0.02, 300: 0.005}
    noted = [(i, k, "dev", "within_0.2", share) for i, both in shares.items() for k, share in enumerate(both)]
    noted += [(i, k, "dev", "absolute_error", error) for i, error in errors.items() for k in (0, 1)]
    write_history(folder, [*noted, (0, 0, "train", "within_0.2", 1.0)])
    given = [(0, None), (5, None), (0, 0.01), (5, 0.01)]
    found = [until(partial(no_more_wrong_than, most, "within_0.2", e), RUNS, measured(tmp_path)) for most, e in given]
    assert [one.mean for one in found] == [150, 100, 300, 300]
    assert [one.high == math.inf for one in found] == [False, False, True, False]
    with pytest.raises(NotThereError):
        until(partial(no_more_wrong_than, 0, "within_0.2", None), {"task.name": "adding"}, measured(tmp_path))


def test_so_few_of_256_are_wrong():
    shares = pd.DataFrame(
        {"within_0.2": [1.0, 255 / 256, 251 / 256, 250 / 256], "absolute_error": [0.1, 0.3, 0.1, 0.1]}
    )
    assert no_more_wrong_than(0, "within_0.2", None, shares).tolist() == [True, False, False, False]
    assert no_more_wrong_than(5, "within_0.2", None, shares).tolist() == [True, True, True, False]
    assert no_more_wrong_than(5, "within_0.2", 0.2, shares).tolist() == [True, False, True, False]


def planned() -> list[dict[str, Any]]:
    """Return the settings of every run of the study, by dotted name."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        sweeper = compose("config", ["experiment=published"], return_hydra_config=True).hydra.sweeper
        runs = []
        for grid in sweeper.grids:
            swept = {key: str(values).split(",") for key, values in {**sweeper.params, **grid}.items()}
            for chosen in itertools.product(*swept.values()):
                given = [f"{key}={value}" for key, value in zip(swept, chosen, strict=True)]
                config = check(compose("config", ["experiment=published", *given]))
                runs.append(flatten(OmegaConf.to_container(config, resolve=True)))  # type: ignore[arg-type]
    return runs


def test_each_claim_is_of_one_run_of_the_study():
    runs = planned()
    for claim in CLAIMS:
        wanted = claim.ours.runs if isinstance(claim.ours, FromRecords) else claim.ours.args[1]  # type: ignore[attr-defined]
        found = [run for run in runs if all(run.get(name) == value for name, value in wanted.items())]
        assert len(found) == 1, claim.what
        assert (found[0]["batch_size"], found[0]["length"], len(found[0]["seeds"])) == (1, 100, 10)
