import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import KINDS, classifier, randomise
from torch import Tensor

from memexp.models.cells import SRN
from memexp.models.networks import SequenceModel
from memexp.tasks.text.writing import go_on, note

V = 10
PREFIX = torch.tensor([3, 1, 4, 1])


def random_model(kind: str = "LSTM", seeds: int = 1, **shape: object) -> SequenceModel:
    model = classifier(KINDS[kind], range(seeds), V, V, every_step=True, **shape)
    randomise(model, torch.Generator().manual_seed(5), scale=2)
    return model


def write(model: SequenceModel, length: int = 30, seed: int = 0, **options: object) -> list[int]:
    return list(go_on(model, PREFIX, length, generator=torch.Generator().manual_seed(seed), **options))


@torch.no_grad()
def rankings(model: SequenceModel, written: list[int]) -> list[Tensor]:
    """The symbols in the order of their logits before each that was written, all read in one pass."""
    tokens = torch.cat([PREFIX, torch.tensor(written)])
    return [*model(tokens[None, None])[0, 0, len(PREFIX) - 1 : -1].argsort(descending=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [{}, {"widths": [3, 5], "embedding_size": 0, "initial_state": "input"}])
def test_greedy_is_the_likeliest_at_every_step(kind: str, shape: dict[str, object]):
    model = random_model(kind, **shape)
    written = list(go_on(model, PREFIX, 30))
    assert written == [ranking[0].item() for ranking in rankings(model, written)]


def test_it_is_the_first_seed_that_writes():
    both, alone = random_model(seeds=2), random_model()
    with torch.no_grad():
        for parameter, own in zip(both.parameters(), alone.parameters(), strict=True):
            own.copy_(parameter[:1])
    assert write(both) == write(alone)
    assert write(both, top_k=V) == write(alone, top_k=V)


@pytest.mark.parametrize("options", [
    {"top_k": 1, "temperature": 0.1}, {"top_k": 1, "temperature": 100.0},
    {"top_k": V, "temperature": 1e-4}, {"top_k": V, "temperature": 1e-45}, {"top_k": V, "temperature": 5e-324},
])  # fmt: skip
def test_one_choice_or_no_heat_is_greedy(options: dict[str, float]):
    model = random_model()
    assert write(model, **options) == list(go_on(model, PREFIX, 30))


def test_the_same_seed_writes_the_same():
    model = random_model()
    hot = {"temperature": 3.0, "top_k": V}
    assert write(model, **hot) == write(model, **hot)
    assert len({tuple(write(model, seed=seed, **hot)) for seed in range(5)}) == 5


@pytest.mark.parametrize("k", [2, 3, V + 5])
def test_it_draws_among_the_k_likeliest(k: int):
    model = random_model()
    written = write(model, 300, temperature=50.0, top_k=k)
    ranks = [ranking.tolist().index(code) for code, ranking in zip(written, rankings(model, written), strict=True)]
    assert set(ranks) == set(range(min(k, V)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"top_k": 3}, (0.5, 0.3, 0.2)),
        ({"top_k": 2}, (0.5 / 0.8, 0.3 / 0.8, 0)),
        ({"top_k": 3, "temperature": 0.5}, (0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38)),  # the squares
    ],
)
def test_how_often_each_is_drawn(options: dict[str, float], shares: tuple[float, ...]):
    """With no weights but the head's bias the probabilities are the same at every step."""
    model = classifier(SRN, [0], 3, 3, every_step=True, initialiser="zeros")
    with torch.no_grad():
        model.head_bias[0] = torch.tensor([0.2, 0.5, 0.3]).log()
    n, draw = 3000, torch.Generator().manual_seed(1)
    counts = Counter(go_on(model, torch.tensor([0]), n, generator=draw, **options))
    for code, share in zip((1, 2, 0), shares, strict=True):
        assert abs(counts[code] / n - share) <= 4 * math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("options", [{}, {"top_k": V}])
def test_a_model_that_is_not_finite_writes_nothing(options: dict[str, int]):
    model = random_model()
    with torch.no_grad():
        model.head_weight[0] = torch.nan
    assert write(model, **options) == []


# --- what is noted ---


def test_each_text_is_noted_in_a_line_and_only_once(tmp_path: Path):
    """A model that always writes the last of its three characters; a run that goes on has been here before."""
    model = classifier(SRN, [0], 3, 3, every_step=True, initialiser="zeros")
    with torch.no_grad():
        model.head_bias[0, 2] = 9.0
    (tmp_path / "written.txt").write_text("1\tfirst\n2\tonce\n2\tmore\n3\tlater\n")
    prefixes = [("分\n", torch.tensor([1, 0])), ("\\n", torch.tensor([2, 1]))]
    note(model, prefixes, ["\n", "分", "\\"], 2, 2, tmp_path)
    noted = (tmp_path / "written.txt").read_text(encoding="utf-8")
    assert noted.splitlines() == ["1\tfirst", "2\t分" + r"\n\\\\", "2\t" + r"\\n\\\\"]


def test_without_a_prefix_nothing_is_written(tmp_path: Path):
    note(random_model(), [], ["a"], 2, 2, tmp_path)
    assert not [*tmp_path.iterdir()]
