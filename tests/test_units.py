import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from memexp import units
from memexp.tasks import characters


def slow(generator: np.random.Generator, time_steps: int, width: int, keep: float = 0.9) -> np.ndarray:
    """Noise that goes on, [time_steps, width]: x_t = keep x_{t-1} + noise."""
    series: np.ndarray = lfilter([1], [1, -keep], generator.standard_normal((time_steps, width)), axis=0)
    return series


# --- features of a text ---


def test_features_by_hand():
    text = "Oh, a dog.\nIt sat"
    found = characters.features(text)
    expected = {
        "position in line": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 3, 4, 5, 6],
        "position in word": [1, 2, 0, 0, 1, 0, 1, 2, 3, 0, 0, 1, 2, 0, 1, 2, 3],
        "position in sentence": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7],
        "space": [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        "space next": [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        "newline": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        "newline next": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        "punctuation": [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        "punctuation next": [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "upper case": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "vowel": [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0],
    }
    assert {name: feature.tolist() for name, feature in found.items()} == expected


def test_what_is_the_same_everywhere_or_never_ends_is_no_feature():
    assert set(characters.features("bcd fgh")) == {"position in word", "space", "space next"}
    assert characters.features("bbb").keys() == {"position in word"}
    assert characters.features(" ") == {}
    assert set(characters.features("分。开")) == {
        "position in word", "position in sentence", "punctuation", "punctuation next"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("character", "kind"),
    [("a", "inner letter"), ("分", "inner letter"), (" ", "space"), ("\n", "newline"), ("7", "digit"),
     ("”", "punctuation"), ("。", "punctuation"), ("$", "other")],
)  # fmt: skip
def test_kinds_of_characters(character: str, kind: str):
    assert characters.kind(character) == kind


def test_runs_of_several_rows_begin_anew():
    member = np.array([[True, True, False, True], [True, False, True, True]])
    assert characters.runs(member).tolist() == [[1, 2, 0, 1], [1, 0, 1, 2]]


# --- correlation ---


def test_shifted_correlations_equal_the_formula():
    generator = np.random.default_rng(3)
    values, feature = generator.standard_normal((11, 3)), generator.standard_normal(11)
    r = units.shifted_correlations(values, feature)
    expected = [[np.corrcoef(values[:, d], np.roll(feature, shift))[0, 1] for d in range(3)] for shift in range(11)]
    np.testing.assert_allclose(r, expected, atol=1e-12)


def test_a_unit_that_never_moves_correlates_with_nothing():
    values = np.stack([np.full(50, 0.1, dtype=np.float32), np.arange(50)], 1)
    assert units.shifted_correlations(values, np.arange(50.0))[0].tolist() == pytest.approx([0, 1])
    assert (units.shifted_correlations(values, np.ones(50)) == 0).all()


def test_units_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch):
    values, feature = slow(np.random.default_rng(0), 450, 7), slow(np.random.default_rng(1), 450, 1)[:, 0]
    whole = units.against_chance(values, feature)
    monkeypatch.setattr(units, "CHUNK", 450 * 3)
    for one, other in zip(whole, units.against_chance(values, feature), strict=True):
        np.testing.assert_allclose(one, other)
    assert [len(part) for part in whole] == [7, 450 + 1 - 2 * 100]
    shifted = np.abs(units.shifted_correlations(values, feature)).max(1)
    np.testing.assert_allclose(whole[1], shifted[100:351])


def test_shares_are_counted():
    largest = np.array([0.5, 0.1, 0.3, 0.2])
    assert units.share_as_large(np.array([-0.3, 0.6, 0.0]), largest).tolist() == pytest.approx([3 / 5, 1 / 5, 1])


def test_a_unit_that_follows_is_found_and_others_are_not():
    """Unit 3 of the second part is the feature with as much noise again, unit 1 its opposite: r = 0.71, -0.71."""
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(["the ", "time ", "traveller ", "smiled. "], 700))
    features = characters.features(text)
    place = units.standardise(features["position in word"])
    parts = {"update_gate": slow(generator, len(text), 4), "hidden_state": slow(generator, len(text), 5)}
    parts["hidden_state"][:, 3] = place + generator.standard_normal(len(text))
    parts["hidden_state"][:, 1] = -place + generator.standard_normal(len(text))
    table = units.follow(parts, features)
    assert list(table) == ["feature", "part", "unit", "r", "threshold", "p", "threshold_of_all"]
    assert len(table) == len(features) * 9
    own = table[table["feature"] == "position in word"].set_index(["part", "unit"])
    assert own.loc[("hidden_state", 3), "r"] == pytest.approx(2**-0.5, abs=0.02)
    assert own.loc[("hidden_state", 1), "r"] == pytest.approx(-(2**-0.5), abs=0.02)
    found = own[own["r"].abs() > own["threshold"]]
    assert sorted(found.index) == [("hidden_state", 1), ("hidden_state", 3)]
    assert (found["p"] < 0.01).all()
    assert (table["threshold_of_all"] >= table["threshold"] - 1e-12).all()


def test_noise_is_above_the_threshold_in_five_per_cent():
    """Slow noise: independent numbers would have a threshold of 0.1 here, and 60 % of these would be above it."""
    above, naive, p = [], [], []
    for draw in range(300):
        generator = np.random.default_rng(draw)
        values, feature = slow(generator, 1000, 6), slow(generator, 1000, 1)[:, 0]
        table = units.follow({"hidden_state": values}, {"noise": feature})
        best = table["r"].abs().max()
        above.append(best > table["threshold"][0])
        naive.append(best > 0.1)
        p.append(table["p"].min() <= 0.05)
    assert 0.02 < np.mean(above) < 0.09
    assert np.mean(p) == pytest.approx(np.mean(above), abs=0.01)
    assert np.mean(naive) > 0.5


def follow_table() -> pd.DataFrame:
    rows = [
        ("before", "space", "candidate", 0, 0.3), ("before", "space", "candidate", 1, -0.5),
        ("before", "vowel", "candidate", 0, 0.1), ("before", "vowel", "candidate", 1, 0.0),
        ("after", "space", "candidate", 0, 0.2), ("after", "space", "candidate", 1, -0.8),
        ("after", "vowel", "candidate", 0, 0.15), ("after", "vowel", "candidate", 1, 0.1),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["training", "feature", "part", "unit", "r"])
    return table.assign(threshold=0.18, p=0.5, threshold_of_all=0.2)


def test_the_best_unit_is_said_with_what_chance_gives_and_what_was_there_before():
    best = units.best(follow_table())
    assert best[["feature", "unit", "r", "before"]].to_numpy().tolist() == [
        ["space", 1, -0.8, 0.5],
        ["vowel", 0, 0.15, 0.1],
    ]
    assert [*units.in_words(best)] == [
        "space: unit 1 of candidate, r = -0.80 (chance 0.20, best before training 0.50)",
        "vowel: unit 0 of candidate, r = 0.15 (not above chance 0.20, best before training 0.10)",
    ]
