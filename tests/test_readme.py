"""What the two READMEs promise: the same commands, keys that exist, files that are there."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import CommandLine

from memexp.results import record
from memexp.results.tables import interval

HOME = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
MODELS = ("srn", "lstm", "gru")  # in the order of the tables' columns


def commands(name: str) -> list[str]:
    """List the commands of a README's fenced blocks, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", (HOME / name).read_text(encoding="utf-8"), re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_both_languages_give_the_same_commands():
    assert len(commands(READMES[0])) > 10
    assert commands(READMES[0]) == commands(READMES[1])


@pytest.mark.parametrize("name", READMES)
def test_what_a_readme_shows_and_links_to_is_there(name: str):
    targets = re.findall(r"\]\(([^)#]+)\)", (HOME / name).read_text(encoding="utf-8"))
    assert len(targets) >= 5
    assert [t for t in targets if "://" not in t and not (HOME / t).exists()] == []


def test_both_languages_show_the_same_pictures_and_numbers():
    texts = [(HOME / name).read_text(encoding="utf-8") for name in READMES]
    pictures = [re.findall(r"!\[.*?\]\((.*?)\)", text) for text in texts]
    assert pictures[0] == pictures[1]
    rows = [re.findall(r"^\|.*\d.*\|$", text, re.M) for text in texts]
    numbers = [[re.findall(r"\d+(?:\.\d+)?", row) for row in table] for table in rows]
    assert numbers[0] == numbers[1]


def table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the README's table that begins with ``heading``."""
    text = (HOME / READMES[0]).read_text(encoding="utf-8")
    lines = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_scores_are_those_of_the_committed_table():
    results = pd.read_csv(HOME / "images/book+shuffled+fresh/results.csv").set_index(
        ["model.name", "length", "task.sampling", "task.shuffle"]
    )
    columns = [(model, *way) for way in (("fixed", False), ("fixed", True), ("fresh", False)) for model in MODELS[:2]]
    rows = table("| length | SRN, book |")
    assert [int(row[0]) for row in rows] == [10, 15, 20, 25, 30, 35]
    for length, *shown in rows:
        for (model, sampling, shuffle), text in zip(columns, shown, strict=True):
            row = results.loc[(model, int(length), sampling, shuffle)]
            expected = [100 * row[name] for name in ("exact", "exact_low", "exact_high")]
            numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
            assert numbers == pytest.approx(expected, abs=0.0501)


def test_the_speeds_are_those_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench.csv").set_index(["model", "contestant", "seeds"])
    contestants = [("plain loop", 1), ("torch's layer", 1), *(("memexp", seeds) for seeds in (1, 5, 10, 20))]
    for (contestant, seeds), (_, *shown) in zip(contestants, table("| length 35, ms per update"), strict=True):
        for model, text in zip(MODELS, shown, strict=True):
            row = rows.loc[(model, contestant, seeds)]
            ms, *factors = (float(number) for number in re.findall(r"[\d.]+", text))
            assert ms == pytest.approx(row["ms_per_update_and_seed"], abs=0.000501)
            if factors:
                expected = [row["times_faster_than_loop"], row["times_faster_than_layer"]]
                assert factors == pytest.approx(expected, abs=0.0501)


def test_the_speeds_on_text_are_those_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench_text.csv").set_index(["model", "contestant", "seeds"])
    contestants = [("torch's layer", 1), ("memexp", 1), ("memexp", 5)]
    for contestant, (_, *shown) in zip(contestants, table("| thousand characters per second"), strict=True):
        for model, text in zip(MODELS, shown, strict=True):
            row = rows.loc[(model, *contestant)]
            speed, *factor = (float(number) for number in re.findall(r"[\d.]+", text))
            assert speed == pytest.approx(row["characters_per_second"] / 1000, abs=0.0501)
            assert factor in ([], [pytest.approx(row["times_faster_than_layer"], abs=0.00501)])


def test_the_perplexities_are_those_of_the_records():
    """The first column is of the histories: what was counted over the last epoch, while it was trained on."""
    rows, _ = record.collect(record.run_folders(HOME / "outputs/reference/tutorials"))
    runs = [("srn", "sgd"), ("lstm", "sgd"), ("gru", "sgd"), ("gru", "adam"), ("lstm", "adam")]
    for (model, optimizer), (_, *shown) in zip(runs, table("| cell, training |"), strict=True):
        own = rows[(rows["model.name"] == model) & (rows["optimizer"] == optimizer)]
        (run,) = set(own["run"])
        history = record.read_history(HOME / "outputs/reference/tutorials" / run)
        last = history[(history["split"] == "train") & (history["name"] == "perplexity")]
        scores = [last.loc[last["iteration"] == last["iteration"].max(), "value"]]
        scores += [own[column] for column in ("last_dev_perplexity", "dev_perplexity", "test_bits")]
        for text, values, rounding in zip(shown, scores, (0.00501, 0.0501, 0.0501, 0.00501), strict=True):
            assert len(values) == 10
            numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
            assert numbers == pytest.approx(interval(values.tolist(), bounds=(0, math.inf)), abs=rounding)


def test_the_cell_of_the_readme_works_as_written(memexp: CommandLine, tmp_path: Path):
    text = (HOME / READMES[0]).read_text(encoding="utf-8")
    (code,), (yaml,) = re.findall(r"```python\n(.*?)```", text, re.S), re.findall(r"```yaml\n(.*?)```", text, re.S)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "mycells.py").write_text(code)
    (tmp_path / "conf" / "model" / "leaky_srn.yaml").write_text(yaml)
    (command,) = [line for line in commands(READMES[0]) if "leaky" in line]
    arguments = command.removeprefix("python -m memexp ").split()
    done = memexp(*arguments, "epochs=1", "seeds=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "outputs" / "leaky").glob("*model=leaky_srn*/summary.json"))) == 2
    assert (tmp_path / "images" / "leaky" / "accuracy.png").exists()
    alone = memexp("--config-dir", "conf", "model=leaky_srn", "length=4", "epochs=1", "seeds=1")
    assert alone.returncode == 0, alone.stdout + alone.stderr
