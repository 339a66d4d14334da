import math
from pathlib import Path

import pytest
from helpers import make_run, write_history

from memexp.analysis import char_lm
from memexp.errors import Complaints
from memexp.results.study import join, load_study, read_histories


def make_text(study: Path, model: str, unigram: float) -> Path:
    """Write the record of a run of a language model of two seeds, with its losses; a floor of each study's own."""
    seeds = [{"seed": k, "diverged_at": None, "test_perplexity": 4.0, "test_bits": 2.0 + k} for k in (0, 1)]
    task = {"_target_": "memexp.tasks.char_lm.CharLM", "name": "char_lm", "corpus": "harbour"}
    floors = {"bits": {"unigram": unigram}, "loss": {"unigram": unigram * math.log(2)}}
    folder = make_run(
        study, 35, model, seeds, task, floors=floors, shown={"test_bits": False}, about={"vocabulary": "ab"}
    )
    rows = [(k, seed, "dev", "loss", (5 - k) * math.log(2)) for k in (0, 1) for seed in (0, 1)]
    rows += [(1, seed, "dev", "perplexity", 9.0) for seed in (0, 1)]
    write_history(folder, rows)
    return folder


def test_bits_of_every_run_of_every_study_are_drawn_with_its_floors(tmp_path: Path):
    """Runs of two studies may have the same name."""
    for study, unigram in (("one", 4.5), ("other", 4.25)):
        for model in ("gru", "srn"):
            make_text(tmp_path / study, model, unigram)
    study = join([load_study(tmp_path / name, Complaints()) for name in ("one", "other")])
    histories = read_histories(study.rows, tmp_path, Complaints())
    figures = char_lm.drawings(study, study.rows, histories, 0.95)
    panels = [ax for ax in figures["bits"]().axes if ax.get_visible()]
    runs = [(study, model) for study in ("one", "other") for model in ("SRN", "GRU")]
    assert [ax.get_title() for ax in panels] == [f"{model}\n{study}: 2.50 bits on test" for study, model in runs]
    assert [ax.texts[0].get_text() for ax in panels] == ["unigram 4.50"] * 2 + ["unigram 4.25"] * 2
    for ax in panels:
        (mean,) = (line for line in ax.lines if line.get_label() == "dev")
        assert list(mean.get_ydata()) == pytest.approx([5, 4])  # bits, not nats
