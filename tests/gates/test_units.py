import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from memexp.gates import units
from memexp.tasks.text import characters


def slow(generator: np.random.Generator, time_steps: int, width: int, keep: float = 0.9) -> np.ndarray:
    """Noise that goes on, [time_steps, width]: x_t = keep x_{t-1} + noise."""
    series: np.ndarray = lfilter([1], [1, -keep], generator.standard_normal((time_steps, width)), axis=0)
    return series


# --- features of a text ---


def test_features_by_hand():
    """The first word, line and sentence may have begun before the text."""
    text = "Oh, a dog.\nIt sat"
    found = characters.features(text)
    expected = {
        "position in line": [None] * 11 + [1, 2, 3, 4, 5, 6],
        "position in word": [None, None, None, None, 1, None, 1, 2, 3, None, None, 1, 2, None, 1, 2, 3],
        "position in sentence": [None] * 10 + [1, 2, 3, 4, 5, 6, 7],
        "space": [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        "space next": [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, None],
        "newline": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        "newline next": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, None],
        "punctuation": [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        "punctuation next": [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, None],
        "digit": [0] * 17,
        "upper case": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "vowel": [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0],
    }
    assert {name: [None if np.isnan(number) else number for number in feature] for name, feature in found.items()} == (
        expected
    )


def test_an_end_is_the_last_of_its_sentence():
    found = characters.features("a. b? c\nd\ne")
    np.testing.assert_equal(found["position in sentence"], [np.nan, np.nan, 1, 2, 3, 1, 2, 3, 4, 5, 6])
    np.testing.assert_equal(found["position in line"], [np.nan] * 8 + [1, 2, 1])


@pytest.mark.parametrize("text", ["分开 不分开\n分", "ไป มา", "カナ かな"])
def test_scripts_without_spaces_have_no_words(text: str):
    found = characters.features(text)
    assert np.isnan(found["position in word"]).all()
    assert found["space"].tolist() == [character == " " for character in text]


@pytest.mark.parametrize("text", ["a по 중 אב", "a ἀρ 가나 ab"])
def test_other_scripts_have_words_with_or_without_capitals(text: str):
    positions = characters.features(text)["position in word"]
    assert np.isfinite(positions).tolist() == [False, *(character != " " for character in text[1:])]


@pytest.mark.parametrize(
    ("character", "kind"),
    [("a", "inner letter"), ("א", "inner letter"), ("分", "letter"), (" ", "space"), ("\n", "newline"), ("7", "digit"),
     ("”", "punctuation"), ("。", "punctuation"), ("$", "other")],
)  # fmt: skip
def test_kinds_of_characters(character: str, kind: str):
    assert characters.kind(character) == kind


def test_runs_of_several_rows_begin_anew():
    member = np.array([[True, True, False, True], [True, False, True, True]])
    assert characters.runs(member).tolist() == [[1, 2, 0, 1], [1, 0, 1, 2]]


# --- correlation ---


def correlations(values: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """The correlations with one feature, [T, D]."""
    (r,) = units.shifted_correlations(values, [feature])
    return r


def test_shifted_correlations_equal_the_formula():
    generator = np.random.default_rng(3)
    values, feature = generator.standard_normal((11, 3)), generator.standard_normal(11)
    expected = [[np.corrcoef(values[:, d], np.roll(feature, shift))[0, 1] for d in range(3)] for shift in range(11)]
    np.testing.assert_allclose(correlations(values, feature), expected, atol=1e-12)


def test_a_feature_is_shifted_with_where_it_is_defined():
    """Three features, two with the same mask: each r is that of the time steps where the shifted feature is."""
    generator = np.random.default_rng(4)
    values, features = 5 + generator.standard_normal((13, 2)), generator.standard_normal((3, 13))
    features[:2, [1, 2, 6, 12]] = np.nan
    features[2, 3:9] = np.nan
    found = [*units.shifted_correlations(values, features)]
    assert [r.shape for r in found] == [(13, 2)] * 3
    for feature, r in zip(features, found, strict=True):
        for shift in (0, 1, 5, 12):
            there = np.roll(feature, shift)
            defined = ~np.isnan(there)
            expected = [np.corrcoef(values[defined, d], there[defined])[0, 1] for d in range(2)]
            np.testing.assert_allclose(r[shift], expected, atol=1e-12)


def test_a_masked_correlation_by_hand():
    """Where the feature is 1, 2, 3 the unit is 2, 4, 3: r = 0.5; a step later it is 4, 3, 9: r = 5 / sqrt(2 * 62 / 3).

    What the unit does elsewhere is of no account.
    """
    values, feature = np.array([[2.0], [4.0], [3.0], [9.0], [-50.0]]), np.array([1, 2, 3, np.nan, np.nan])
    assert correlations(values, feature)[:2, 0].tolist() == pytest.approx([0.5, 5 / np.sqrt(2 * 62 / 3)])


def test_a_unit_that_never_moves_correlates_with_nothing():
    """Unit 2 moves only where the feature is not defined."""
    values = np.stack([np.full(50, 0.1, dtype=np.float32), np.arange(50), np.arange(50) == 7], 1)
    feature = np.arange(50.0)
    assert correlations(values, np.ones(50)).tolist() == np.zeros((50, 3)).tolist()
    feature[7] = np.nan
    r = correlations(values, feature)
    assert r[0].tolist() == pytest.approx([0, 1, 0])
    assert abs(r[1, 2]) > 0.01


def test_units_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch):
    values, series = slow(np.random.default_rng(0), 450, 7), slow(np.random.default_rng(1), 450, 2).T
    features = {"one": series[0], "two": np.where(series[1] > -1, series[1], np.nan)}
    whole = units.against_chance(values, features)
    monkeypatch.setattr(units, "CHUNK", 450 * 3)
    for one, other in zip(whole, units.against_chance(values, features), strict=True):
        np.testing.assert_allclose(one, other)
    assert [part.shape for part in whole] == [(2, 7), (2, 450 + 1 - 2 * 100)]
    for k, feature in enumerate(features.values()):
        shifted = correlations(values, feature)
        np.testing.assert_allclose(whole[0][k], shifted[0])
        np.testing.assert_allclose(whole[1][k], np.abs(shifted).max(1)[100:351])


def test_the_correlation_time_is_that_of_the_series():
    """Of x_t = keep x_{t-1} + noise it is (1 + keep) / (1 - keep)."""
    for keep, time in ((0.0, 1), (0.5, 3), (0.9, 19)):
        series = slow(np.random.default_rng(0), 100_000, 1, keep)[:, 0]
        assert units.correlation_time(3 + series) == pytest.approx(time, rel=0.1)
    assert units.correlation_time(np.array([1.0, -1, 1, -1])) == 1
    assert units.correlation_time(np.full(9, 0.1)) == 1


def test_shares_are_counted():
    """The covariances of the second are 4, 1 (and less than 0): time 1.5."""
    sizes, largest = np.array([0.3, 0.6, 0.0]), np.array([0.5, 0.1, 0.3, 0.2])
    assert units.share_as_large(sizes, largest).tolist() == pytest.approx([3 / 5, 1 / 5, 1])
    largest = np.array([2.0, 2, 0, 0])
    assert units.share_as_large(np.array([1.0, 2.0, 3.0]), largest).tolist() == pytest.approx(
        [3.5 / 5.5, 3.5 / 5.5, 1.5 / 5.5]
    )


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_what_is_above_chance_has_a_small_share(keep: float):
    largest = slow(np.random.default_rng(0), 2000, 1, keep)[:, 0]
    chance = units.chance(largest)
    just_above, at = units.share_as_large(np.array([chance + 1e-9, chance]), largest)
    assert just_above <= 0.05 < at
    assert np.mean(largest > chance) == pytest.approx(0.05 - 0.95 * units.correlation_time(largest) / 2000, abs=0.001)


def test_few_shifts_can_tell_nothing():
    assert units.chance(np.random.default_rng(0).random(15)) == np.inf
    slowly = np.sin(np.linspace(0, np.pi, 800))
    assert units.chance(slowly) == np.inf


def test_a_unit_that_follows_is_found_and_others_are_not():
    """Unit 3 of the second part is the feature with as much noise again, unit 1 its opposite: r = 0.71, -0.71.

    In the first 100 characters both are something else, and unit 3 is so outside of words too.
    """
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(["the ", "time ", "traveller ", "smiled. "], 700))
    features = characters.features(text)
    place = features["position in word"]
    inside = np.isfinite(place)
    place = np.where(inside, (place - place[inside].mean()) / place[inside].std(), 0)
    noise = generator.standard_normal((2, len(text)))
    parts = {"update_gate": slow(generator, len(text), 4), "hidden_state": slow(generator, len(text), 5)}
    parts["hidden_state"][:, 3] = np.where(inside, place + noise[0], 9)
    parts["hidden_state"][:, 1] = -place + noise[1]
    parts["hidden_state"][:100, [1, 3]] = 99
    table = units.follow(parts, features)
    assert list(table) == ["feature", "part", "unit", "r", "threshold", "p"]
    kept = ["position in word", "position in sentence", "space", "space next", "punctuation", "punctuation next",
            "vowel"]  # fmt: skip
    assert [*dict.fromkeys(table["feature"])] == kept
    assert len(table) == 7 * 9
    assert (table.groupby("feature")["threshold"].nunique() == 1).all()
    own = table[table["feature"] == "position in word"].set_index(["part", "unit"])
    assert own.loc[("hidden_state", 3), "r"] == pytest.approx(2**-0.5, abs=0.03)
    assert own.loc[("hidden_state", 1), "r"] == pytest.approx(-(2**-0.5), abs=0.03)
    found = own[own["r"].abs() > own["threshold"]]
    assert sorted(found.index) == [("hidden_state", 1), ("hidden_state", 3)]
    assert (found["p"] < 0.01).all()


@pytest.mark.parametrize("text", ["a" * 600, "分" * 600, "7" * 50 + " " * 550])
def test_a_text_that_is_the_same_everywhere_has_nothing_to_follow(text: str):
    """What there is in the first 100 characters, while the state fills, does not count."""
    parts = {"hidden_state": np.random.default_rng(0).standard_normal((600, 3))}
    assert units.follow(parts, characters.features(text)).empty


def test_units_that_never_move_are_not_above_chance():
    table = units.follow({"hidden_state": np.ones((600, 3))}, {"noise": np.random.default_rng(0).random(600)})
    assert table[["r", "threshold", "p"]].to_numpy().tolist() == [[0, 0, 1]] * 3


def test_a_short_text_is_refused():
    with pytest.raises(ValueError, match="499 time steps are too few; 500 are needed"):
        units.follow({"hidden_state": np.zeros((499, 2))}, {"noise": np.zeros(499)})


@pytest.mark.slow
def test_noise_is_above_a_threshold_for_any_feature_in_five_per_cent():
    """Slow noise, six units of two parts against five features, one of which is defined for half of the text only.

    Independent numbers would have a threshold of 0.1 here, and far more than half of all texts a unit above it.
    """
    above, p, naive = [], [], []
    for draw in range(300):
        generator = np.random.default_rng(draw)
        values, series = slow(generator, 1100, 6), slow(generator, 1100, 5).T
        series[4, series[3] < 0] = np.nan
        table = units.follow({"one": values[:, :2], "two": values[:, 2:]}, dict(zip("abcde", series, strict=True)))
        above.append((table["r"].abs() > table["threshold"]).any())
        p.append(table["p"].min() <= 0.05)
        naive.append((table["r"].abs() > 0.1).any())
    assert 0.02 < np.mean(above) < 0.09
    assert above == p
    assert np.mean(naive) > 0.9


# --- what is said of it ---


def follow_table() -> pd.DataFrame:
    r = {  # of candidate 0, candidate 1, update_gate 0
        "before": {"space": (0.3, -0.5, 0), "vowel": (0.1, 0, 0), "digit": (0, 0, -0.7), "newline": (0.1, 0.1, 0)},
        "after": {"space": (0.2, -0.8, 0), "vowel": (0.15, 0.1, 0), "digit": (0.6, 0, 0.4), "newline": (0, 0.9, 0)},
    }
    rows = [
        (training, feature, part, unit, size)
        for training, features in r.items()
        for feature, sizes in features.items()
        for (part, unit), size in zip([("candidate", 0), ("candidate", 1), ("update_gate", 0)], sizes, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["training", "feature", "part", "unit", "r"])
    return table.assign(threshold=np.where(table["training"] == "after", 0.2, 0.99), p=0.5)


def test_the_best_unit_is_said_with_what_chance_gives_and_what_was_there_before():
    best = units.best(follow_table())
    assert best[["feature", "unit", "r", "before", "stands_out"]].to_numpy().tolist() == [
        ["space", 1, -0.8, 0.5, True],
        ["vowel", 0, 0.15, 0.1, False],
        ["digit", 0, 0.6, 0.7, False],
        ["newline", 1, 0.9, 0.1, True],
    ]
    assert [*units.in_words(best)] == [
        "space: unit 1 of candidate, r = -0.80 (chance 0.20, before training 0.50)",
        "vowel: unit 0 of candidate, r = 0.15 (not above chance 0.20, before training 0.10)",
        "digit: unit 0 of candidate, r = 0.60 (chance 0.20, not above before training 0.70)",
        "newline: unit 1 of candidate, r = 0.90 (chance 0.20, before training 0.10)",
    ]


def test_a_unit_that_is_best_for_several_features_is_listed_once():
    assert units.by_unit(units.best(follow_table())).to_numpy().tolist() == [
        ["candidate", 1, "newline (r = 0.90), space (r = -0.80)"]
    ]
    table = follow_table()
    table.loc[(table["training"] == "after") & (table["feature"] == "vowel") & (table["unit"] == 0), "r"] = 0.85
    assert units.by_unit(units.best(table))["follows"].tolist() == [
        "newline (r = 0.90), space (r = -0.80)",
        "vowel (r = 0.85)",
    ]
    assert units.by_unit(units.best(table.assign(threshold=2.0))).empty
