import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_config import composed

from memexp.experiment import run


def do(folder: Path, *overrides: str) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Run five updates; return the summary and, by name, what the history says of update 1, a number for each seed."""
    settings = ("length=4", "seeds=2", "epochs=1", "batch_size=60", "optimizer=sgd", f"datasets_dir={folder}/data")
    summary = run(composed(*settings, *overrides), folder / "run")
    history = pd.read_csv(folder / "run" / "history.csv")
    assert summary["updates"] == 5
    return summary, history[history["iteration"] == 1].groupby("name")["value"].apply(list).to_dict()


@pytest.mark.parametrize(
    ("settings", "factor", "clipped"),
    [
        (["reduction=mean"], 1, None),
        (["reduction=sum"], 60, None),
        (["clip=0.001", "clip_by=tensor"], 1, {"W": 0.001, "U": 0.001, "b": 0.001}),
        (["reduction=sum", "clip=0.001", "clip_by=value"], 60, {"b": 0.001 * math.sqrt(32)}),  # every number of b
    ],
)
def test_gradients_are_reduced_and_clipped_as_the_config_says(
    tmp_path: Path, settings: list[str], factor: float, clipped: dict[str, float] | None
):
    _, plain = do(tmp_path / "plain", "model=srn", "gradient_norms=true")
    _, own = do(tmp_path / "own", "model=srn", "gradient_norms=true", *settings)
    assert own.keys() == {f"{what}.{name}" for what in ("gradient_norm", "clipped_gradient_norm") for name in "WUb"}
    for name in "WUb":
        before = own[f"gradient_norm.{name}"]
        assert before == pytest.approx([factor * norm for norm in plain[f"gradient_norm.{name}"]], rel=1e-4)
        if clipped is None:
            assert own[f"clipped_gradient_norm.{name}"] == before
        elif name in clipped:
            assert own[f"clipped_gradient_norm.{name}"] == pytest.approx([clipped[name]] * 2, rel=0.01)


def test_clipping_is_global_unless_said_otherwise_and_norms_are_noted_only_if_asked_for(tmp_path: Path):
    _, own = do(tmp_path / "own", "model=srn", "gradient_norms=true", "clip=0.001")
    shares = [
        [
            after / before
            for after, before in zip(own[f"clipped_gradient_norm.{n}"], own[f"gradient_norm.{n}"], strict=True)
        ]
        for n in "WUb"
    ]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)
    assert shares[0] == pytest.approx(shares[2], rel=1e-4)
    assert max(shares[0]) < 1
    _, quiet = do(tmp_path / "quiet", "model=srn")
    assert quiet == {}


def test_a_summary_describes_the_model(tmp_path: Path):
    sizes = ("model=lstm", "model.hidden_size=[3,5]", "model.bidirectional=true", "model.embedding_size=4")
    summary, _ = do(tmp_path, *sizes)
    assert summary["hidden_sizes"] == [3, 5]
    assert summary["state_size"] == 2 * 2 * (3 + 5)  # h and c, both directions
    cells = 2 * 4 * (4 * 3 + 3 * 3 + 3) + 2 * 4 * (6 * 5 + 5 * 5 + 5)
    assert summary["parameters"] == 10 * 4 + cells + 10 * 19 + 19
