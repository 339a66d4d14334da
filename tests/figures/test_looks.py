import colorsys

import pandas as pd
import pytest

from memexp.figures.looks import MODELS, looks_of, shades


def kinds(*pairs: tuple[str, str]) -> pd.DataFrame:
    """A table of models and labels."""
    return pd.DataFrame(pairs, columns=["model.name", "label"])


BOTH = kinds(("srn", "SRN"), ("lstm", "LSTM"))


def test_every_label_has_a_colour_and_a_marker_of_its_own():
    """Also those of a user's own, of which each has the look that it has alone, unless another has it already."""
    names = [*MODELS, "leaky", "my_cell", "another", "x", "Leaky"]
    looks = looks_of(kinds(*((name, name) for name in names)))
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(names)
    assert len({look["color"] for name, look in looks.items() if name in MODELS}) == len(MODELS)
    for name in names:
        alone = looks_of(kinds((name, name)))[name]
        others = [look for other, look in looks.items() if other != name]
        assert alone == looks[name] or alone in others
    for name in MODELS:
        assert looks_of(kinds((name, name)))[name] == looks[name]


@pytest.mark.parametrize("name", [*MODELS, "leaky", "my_cell", "another"])
def test_a_model_can_be_seen_on_white(name: str):
    """A contrast of 2.2 or more, by the relative luminance of WCAG 2; the yellow of the palette has 1.4."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour_of(name)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))
    assert 1.05 / (luminance + 0.05) > 2.2


def colour_of(name: str) -> tuple[float, float, float]:
    return looks_of(kinds((name, name)))[name]["color"]


def test_kinds_of_one_model_share_its_colour_and_marker_and_can_all_be_told_apart():
    labels = ["LSTM", *(f"LSTM, lr {k}" for k in range(17))]
    looks = looks_of(kinds(*(("lstm", label) for label in labels), ("srn", "SRN")))
    assert looks["SRN"] == looks_of(BOTH)["SRN"]
    assert looks["LSTM"] == looks_of(BOTH)["LSTM"]
    assert looks["LSTM"]["linestyle"] == "-"
    own = [looks[label] for label in labels]
    assert len({str(look) for look in own}) == 18
    assert {look["marker"] for look in own[:12]} == {MODELS["lstm"][1]}
    assert own[1]["color"] == own[0]["color"]
    hues = {round(colorsys.rgb_to_hsv(*look["color"])[0], 2) for look in own}
    assert len(hues) == 1


def test_what_is_no_model_has_no_colour():
    looks = shades(["train", "dev"])
    assert [look["color"] for look in looks.values()] == ["0.6", "0.1"]
    assert [look["linestyle"] for look in looks.values()] == ["-", "--"]
