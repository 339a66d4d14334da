"""What the documents promise: both languages say the same, links and keys exist, numbers are those of the records."""

import math
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from documents import HOME, chinese, numbers, read, table
from helpers import CommandLine
from hydra.core.override_parser.overrides_parser import OverridesParser

from memexp import __version__
from memexp.errors import Complaints
from memexp.results import record, tables
from memexp.results.collect import collect
from memexp.results.history import read_history
from memexp.results.study import find_study, join, load_study
from memexp.results.tables import interval

DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((HOME / "docs").glob("*.md")))]
ENGLISH_ONLY = [
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "datasets/README.md",
    "outputs/README.md",
    "images/chapter6/report.md",
]
KEYS = ("docs/reference.md", "docs/tasks.md")  # pages with tables of keys
MODELS = ("srn", "lstm", "gru")  # in the order of the tables' columns


def prose(name: str) -> str:
    """Return the text of a document without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", read(name), flags=re.S | re.M)


def commands(name: str) -> list[str]:
    """List the commands of a document's fenced blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", read(name), re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def commands_in_sentences(name: str) -> set[str]:
    """Collect the commands that stand in the sentences of a document."""
    return {span for span in spans(name) if span.startswith(("python ", "pip ", "pytest"))}


def spans(name: str) -> list[str]:
    """List what stands in backticks in the sentences of a document."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(name))]


def typed(name: str) -> list[str]:
    """List all that a document has its reader type: commands, with what stands behind them, and settings alone."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", read(name), re.S) for line in block.splitlines()]
    of_commands = ("python ", "python3 ", "py ", "pip ", "pytest", "conda ")
    setting = re.compile(r"""["']?[a-z_./]+=(?!=)\S""")
    return [*filter(None, lines), *(s for s in spans(name) if s.startswith(of_commands) or setting.match(s))]


def targets(name: str, pattern: str = r"\]\(([^)]+)\)") -> list[str]:
    """List what a document shows and links to, as paths from the home folder, an anchor after #."""
    found = []
    for target in re.findall(pattern, prose(name)):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            whole = (HOME / name).parent / path if path else HOME / name
            found.append(f"{whole.resolve().relative_to(HOME)}#{anchor}".rstrip("#"))
    return found


def anchors(name: str) -> set[str]:
    """Collect the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", prose(name), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def keys_of(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a YAML file by their dotted names, with their values; not what Hydra needs for itself."""
    for key, value in node.items():
        if isinstance(value, dict):
            if key != "hydra":
                yield from keys_of(value, f"{prefix}{key}.")
        elif key not in ("defaults", "_target_", "name") and value != "???":  # each task has its own length
            yield f"{prefix}{key}", value


def documented(name: str) -> list[tuple[str, Any]]:
    """List the keys of the tables of a document, with their defaults."""
    return [
        (key, yaml.safe_load(value)) for key, value in re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", read(name), re.M)
    ]


def test_there_is_a_chinese_document_for_each_english_one():
    assert len(DOCUMENTS) > 5
    there = [f"docs/zh-CN/{path.name}" for path in sorted((HOME / "docs/zh-CN").glob("*.md"))]
    assert there == [chinese(name) for name in DOCUMENTS[1:]]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_both_languages_give_the_same_commands(name: str):
    assert commands(name)
    assert commands(name) == commands(chinese(name))
    assert commands_in_sentences(name) == commands_in_sentences(chinese(name))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_both_languages_show_the_same_pictures_and_numbers(name: str):
    names = (name, chinese(name))
    pictures = [targets(n, r"!\[[^\]]*\]\(([^)]+)\)") for n in names]
    assert pictures[0] == pictures[1]
    tables = [[numbers(row) for row in re.findall(r"^\|.*\d.*\|$", read(n), re.M)] for n in names]
    assert tables[0] == tables[1]
    decimals = [set(re.findall(r"\d+\.\d+", prose(n))) for n in names]
    assert decimals[0] == decimals[1]


def broken_phrases(text: str) -> list[str]:
    """List where Chinese is torn apart: a line break or a space, which a newline is shown as, within a phrase."""
    han, point = "[\u4e00-\u9fff]", "[，。；：、！？（）]"
    breaks = r".*[^，。；：！？、）”|>\s]\n(?=[ \t]*(?![-|>#!]|\d+\.|```)\S)"
    spaces = rf"{han}[ \t]+{han}|{point}[ \t]+{han}|{han}[ \t]+{point}"
    return [found.group() for pattern in (breaks, spaces) for found in re.finditer(pattern, text)]


def test_this_test_sees_phrases_that_are_broken():
    assert broken_phrases("一个词\n语。") == ["一个词\n"]
    assert broken_phrases("一个 词语， 还有") == ["个 词", "， 还"]
    assert broken_phrases("一个 `key` 词，\n还有 LSTM 的。\n\n下一段\n\n- 一项\n- 两项\n| 表 | 格 |\n| - | - |") == []


@pytest.mark.parametrize("name", [*map(chinese, DOCUMENTS)])
def test_chinese_is_broken_only_at_punctuation(name: str):
    """Markdown shows a line break as a space."""
    assert broken_phrases(prose(name)) == []


@pytest.mark.parametrize("name", [*DOCUMENTS, *map(chinese, DOCUMENTS), *ENGLISH_ONLY])
def test_what_a_document_shows_and_links_to_is_there(name: str):
    for target in targets(name):
        path, _, anchor = target.partition("#")
        assert (HOME / path).exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_document_can_be_reached_from_the_readme():
    for start, names in (("README.md", DOCUMENTS), ("README.zh-CN.md", [chinese(name) for name in DOCUMENTS])):
        assert set(names) - {start} <= {target.partition("#")[0] for target in targets(start)}


def test_the_readme_is_short():
    assert len(read("README.md").split()) <= 1000


def test_the_citation_names_this_version_and_the_book():
    """What the format 1.2.0 requires, see citation-file-format.github.io."""
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == __version__ == tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert citation["license"] == "MIT"
    assert "MIT" in read("LICENSE")
    (book,) = citation["references"]
    assert {"type", "title", "authors"} <= book.keys()
    assert (book["type"], book["authors"][0]["family-names"], book["year"]) == ("book", "Qiu", 2022)
    for author in [*citation["authors"], *book["authors"]]:
        assert author.keys() in ({"name"}, {"family-names", "given-names"})


def test_the_reference_has_every_key_with_its_default():
    paths = [HOME / "conf/config.yaml", HOME / "conf/common/model.yaml"]
    paths += sorted((HOME / "conf/model").glob("*.yaml"))
    # A task that has no section there yet is in `python -m memexp --help` all the same, which reads its YAML file.
    tasks = sorted((HOME / "conf/task").glob("*.yaml"))
    paths += [path for path in tasks if any(f"`task={path.stem}`" in read(page) for page in KEYS)]
    known = [key for page in KEYS for key in documented(page)]
    rows = re.findall(r"^\| `(\w+)` \|(.*)", read("docs/reference.md"), re.M)
    begins = [(f"{model}.yaml", name) for name, said in rows for model in re.findall(r"what `(\w+)` begins with", said)]
    missing = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        group = {"conf": "", "common": "model.", "model": "model.", "task": "task."}[path.parent.name]
        prefix = "" if "@package _global_" in text else group
        missing += [(path.name, *key) for key in keys_of(yaml.safe_load(text), prefix) if key not in known]
    # Some cells begin as their papers do: the table of initialisers says which.
    assert sorted((name, value) for name, key, value in missing if key == "model.initialiser") == sorted(begins)
    assert [row for row in missing if row[1] != "model.initialiser"] == []


def test_the_slurm_keys_have_their_defaults():
    launcher = yaml.safe_load(read("conf/hydra/launcher/slurm.yaml"))
    shown = documented("docs/cluster.md")
    assert len(shown) > 5
    assert [(key, launcher[key.removeprefix("hydra.launcher.")]) for key, _ in shown] == shown


@pytest.mark.parametrize("group", ["model", "experiment"])
def test_the_reference_names_every_choice(group: str):
    names = [path.stem for path in (HOME / "conf" / group).glob("*.yaml")]
    assert names
    assert [name for name in names if not re.search(f"[`=]{name}`", read("docs/reference.md"))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_keys_in_commands_exist(name: str):
    known = {key for page in (*KEYS, "docs/cluster.md") for key, _ in documented(page)}
    known |= {"model", "task", "experiment", "hydra/launcher"}
    for command in [*commands(name), *commands_in_sentences(name)]:
        for one in command.split("&&"):
            words = shlex.split(one)
            if words[:3] == ["python", "-m", "memexp"]:
                keys = {word.partition("=")[0] for word in words if "=" in word}
                assert keys <= known, command


#: All but the changelog, which says what was once typed.
TODAY = [*DOCUMENTS, *map(chinese, DOCUMENTS), *(name for name in ENGLISH_ONLY if name != "CHANGELOG.md")]
#: What some shell reads in its own way outside of double quotes. zsh refuses a pattern that no file's name fits, and
#: takes a # that is typed as it is; PowerShell on Windows has no &&; to cmd a single quote is nothing special.
SPECIAL = set("*?[](){}<>|&;!^~#'`$\\%")
SPECIAL_IN_QUOTES = set("$`\\!%")


@pytest.mark.parametrize("name", TODAY)
def test_what_is_typed_means_the_same_in_every_shell(name: str):
    for line in typed(name):
        assert not SPECIAL & set(re.sub(r'"[^"]*"', "", line)), line
        assert not SPECIAL_IN_QUOTES & set(line), line


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_the_shells_hand_over_what_is_typed(shell: str, tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    lines = list(dict.fromkeys(line for name in TODAY for line in typed(name)))
    assert len(lines) > 60
    script = "\n".join(f'printf "%s\\n" {line}; echo' for line in lines)
    options = ["-f"] if shell == "zsh" else []  # without the settings of whoever runs the tests
    done = subprocess.run([shell, *options, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert [words.split("\n") for words in done.stdout.removesuffix("\n\n").split("\n\n")] == [*map(shlex.split, lines)]


def test_the_settings_in_quotes_are_read():
    """Hydra takes them as the shells hand them over; sequences are of commands of memexp's own."""
    quoted = {line for name in TODAY for line in typed(name) if line.startswith('"') and "sequence=" not in line}
    overrides = OverridesParser.create().parse_overrides([line.strip('"') for line in sorted(quoted)])
    assert {override.key_or_group: override.value() for override in overrides} == {
        "seeds": [3, 7],
        "task.prefixes": ["time traveller"],
        "model.hidden_size": [32, 32, 64],
        "model.files": ["weights.txt"],
    }


@pytest.mark.parametrize("name", ["README.md", "docs/findings.md"])
def test_the_scores_are_those_of_the_committed_table(name: str):
    results = pd.read_csv(HOME / "images/book+shuffled+fresh/results.csv").set_index(
        ["model.name", "length", "task.sampling", "task.shuffle"]
    )
    columns = [(model, *way) for way in (("fixed", False), ("fixed", True), ("fresh", False)) for model in MODELS[:2]]
    rows = table(name, "| length | SRN, book |")
    assert [int(row[0]) for row in rows] == [10, 15, 20, 25, 30, 35]
    for length, *shown in rows:
        for (model, sampling, shuffle), text in zip(columns, shown, strict=True):
            row = results.loc[(model, int(length), sampling, shuffle)]
            expected = [100 * row[score] for score in ("exact", "exact_low", "exact_high")]
            assert numbers(text) == pytest.approx(expected, abs=0.0501)


def test_the_scores_and_p_of_now_are_those_of_the_committed_tables():
    """Those of before are of an engine and a machine that a reader does not have."""
    results = pd.read_csv(HOME / "images/book+shuffled+fresh/results.csv").set_index(
        ["model.name", "length", "task.sampling", "task.shuffle"]
    )
    comparison = pd.read_csv(HOME / "images/book+shuffled+fresh/comparison.csv")
    panels = comparison["panel"].str.partition(":")[0]
    ways = {"book": ("fixed", False), "shuffled": ("fixed", True), "fresh": ("fresh", False)}
    rows = table("docs/findings.md", "| study, length |")
    assert [row[0] for row in rows] == [f"{study} {length}" for study in ways for length in range(10, 40, 5)]
    for name, _, srn, _, lstm, _, p in rows:
        study, length = name.split()
        for model, text in (("srn", srn), ("lstm", lstm)):
            row = results.loc[(model, int(length), *ways[study])]
            expected = [100 * row[score] for score in ("exact", "exact_low", "exact_high")]
            assert numbers(text) == pytest.approx(expected, abs=0.0501)
        (expected_p,) = comparison.loc[(panels == study) & (comparison["length"] == int(length)), "p_holm"]
        assert numbers(p) == pytest.approx([expected_p], rel=0.05)


@pytest.mark.parametrize(
    ("name", "begin"), [("docs/findings.md", "**Of one machine**"), ("docs/zh-CN/findings.md", "**只出自一台机器**")]
)
def test_the_studies_that_are_not_of_the_compiled_engine_are_named(name: str, begin: str):
    """Their numbers are those of one machine."""
    (paragraph,) = [part for part in read(name).split("\n\n") if part.startswith(begin)]
    configs = sorted((HOME / "outputs/reference").glob("*/*/config.json"))
    assert len(configs) > 200
    others = {path.parents[1].name for path in configs if record.read_json(path).get("engine") != "compiled"}
    assert set(re.findall(r"`([^`]+)`", paragraph)) == others


def test_the_scores_by_initialisation_are_those_of_the_committed_tables():
    """Xavier everywhere is not in the study of initialisations: it is the book's and the fresh study's."""
    settings = {"model.initialiser": "xavier", "model.forget_bias": 0.0}
    three = pd.read_csv(HOME / "images/book+shuffled+fresh/results.csv").assign(**settings)
    own = pd.read_csv(HOME / "images/initialisation/results.csv")
    results = pd.concat([three[~three["task.shuffle"].astype(bool)], own]).set_index(
        ["model.name", *settings, "task.sampling", "length"]
    )
    lstm = [("xavier", 0.0), ("zeros", 0.0), ("torch", 0.0), ("xavier", 1.0), ("chrono", 0.0)]
    srn = [("xavier", 0.0), ("zeros", 0.0), ("torch", 0.0), ("orthogonal", 0.0)]
    models = [("lstm", *begin) for begin in lstm] + [("srn", *begin) for begin in srn]
    columns = [(sampling, length) for sampling in ("fixed", "fresh") for length in (10, 20, 35)]
    for model, (_, *shown) in zip(models, table("docs/findings.md", "| initialisation | 300 rows"), strict=True):
        for column, text in zip(columns, shown, strict=True):
            row = results.loc[(*model, *column)]
            expected = [100 * row["exact"], 100 * (row["exact"] - row["exact_low"])]
            assert numbers(text) == pytest.approx(expected, abs=0.51)


def test_the_scores_from_zero_are_those_of_the_committed_table():
    results = pd.read_csv(HOME / "images/initialisation/results.csv").set_index(
        ["model.name", "model.initialiser", "task.sampling", "length"]
    )
    columns = [(model, "zeros", sampling) for sampling in ("fixed", "fresh") for model in MODELS[:2]]
    rows = table("docs/findings.md", "| length | SRN from zero, 300 rows |")
    assert [int(row[0]) for row in rows] == [10, 15, 20, 25, 30, 35]
    for length, *shown in rows:
        for column, text in zip(columns, shown, strict=True):
            row = results.loc[(*column, int(length))]
            expected = [100 * row[score] for score in ("exact", "exact_low", "exact_high")]
            assert numbers(text) == pytest.approx(expected, abs=0.0501)


@pytest.mark.parametrize(
    "committed", sorted((HOME / "images").glob("*/results.csv")), ids=lambda path: path.parent.name
)
def test_the_committed_tables_are_those_of_the_committed_records(committed: Path):
    """As `python -m memexp.analysis outputs_dir=outputs/reference` writes them."""
    complaints, outputs = Complaints(), HOME / "outputs/reference"
    study = join([load_study(find_study(outputs, name), complaints) for name in committed.parent.name.split("+")])
    expected = tables.results(study.rows, study.settings, study.shown)
    assert not complaints.count
    as_written = expected.to_csv(index=False, lineterminator="\n", float_format=tables.four_digits)
    assert committed.read_text(encoding="utf-8") == as_written
    assert tables.markdown(expected, study.shown) in committed.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("adding", {"adding: squared error": "test squared error", "adding: within 0.04, %": "test within 0.04"}),
        ("copy_memory", {"copy: symbols, %": "exact", "copy: whole sequences, %": "exact sequence"}),
    ],
)
def test_the_scores_of_adding_and_copying_are_those_of_the_committed_tables(task: str, rows: dict[str, str]):
    results = pd.read_csv(HOME / f"images/{task}/results.csv").set_index(["model.name", "model.initialiser"])
    floors = collect(record.run_folders(HOME / f"outputs/reference/{task}")).floors
    shown = {name: cells for name, *cells in table("docs/findings.md", "| | simple answer | SRN |")}
    for name, score in rows.items():
        share, (simple, *models) = name.endswith("%"), shown[name]
        factor, metric = 100 if share else 1, score.removeprefix("test ").removeprefix("exact").strip() or "accuracy"
        metric = {"sequence": "sequence_accuracy"}.get(metric, metric.replace(" ", "_"))
        (floor,) = set(floors.loc[floors["metric"] == metric, "value"])
        assert numbers(simple) == pytest.approx([factor * floor], abs=0.0501 if share else 0.000501)
        for model, text in zip((("srn", "xavier"), ("lstm", "xavier"), ("lstm", "chrono")), models, strict=True):
            row = results.loc[model]
            expected = [factor * row[score], factor * row[f"{score}_low"], factor * row[f"{score}_high"]]
            given = [float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", text)]
            assert given == pytest.approx(expected, abs=0.0501 if share else 5.1e-5 if expected[0] > 1e-3 else 6e-6)


def test_the_speeds_are_those_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench.csv").set_index(["model", "contestant", "seeds"])
    engines = [("memexp engine=torch", 1), ("memexp engine=torch", 10)]
    engines += [("memexp engine=compiled", seeds) for seeds in (1, 5, 10, 20)]
    *shown_rows, (_, *shares) = table("docs/speed.md", "| length 35, ms per update")
    for key, (_, *shown) in zip([("plain loop", 1), ("torch's layer", 1), *engines], shown_rows, strict=True):
        for model, text in zip(MODELS, shown, strict=True):
            row = rows.loc[(model, *key)]
            ms, *factors = numbers(text)
            assert ms == pytest.approx(row["ms_per_update_and_seed"], abs=0.000501)
            expected = [row["times_faster_than_loop"], row["times_faster_than_layer"]]
            assert factors == (pytest.approx(expected, abs=0.0501) if key in engines else [])
    for model, text in zip(MODELS, shares, strict=True):
        share = rows.loc[(model, "memexp engine=compiled", 10), "share_of_bound"]
        assert numbers(text) == pytest.approx([100 * share], abs=0.501)


def test_the_largest_differences_are_those_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench.csv")
    rows = rows[rows["model"].isin(MODELS)]
    for kind in ("", "_float32"):
        largest = max(rows[f"{what}_difference{kind}"].max() for what in ("output", "gradient"))
        for name in ("docs/speed.md", chinese("docs/speed.md")):
            shown = [float(number) for number in re.findall(r"\b\de-\d+", read(name))]
            assert any(largest <= number < 2 * largest + 1e-15 for number in shown), f"{name}: {largest:.1e}"


def test_where_the_time_goes_is_that_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench_parts.csv")
    *parts, (_, *totals) = table("docs/speed.md", "| µs per update and seed")
    columns = [rows[(rows["model"] == model) & (rows["seeds"] == S)] for model in ("srn", "lstm") for S in (1, 10)]
    for column, own in enumerate(columns):
        assert [name for name, *_ in parts] == list(own["part"])
        shown = [[float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", cells[column])] for _, *cells in parts]
        for given, us, share in zip(shown, own["microseconds"], own["share"], strict=True):
            assert given == pytest.approx([us, 100 * share], abs=0.501)
        assert numbers(totals[column]) == pytest.approx([own["microseconds"].sum()], abs=0.0501)


def test_the_speeds_on_text_are_those_of_the_committed_table():
    rows = pd.read_csv(HOME / "images/bench_text.csv").set_index(["model", "contestant", "seeds"])
    contestants = [("torch's layer", 1), ("memexp engine=torch", 1), ("memexp engine=torch", 5)]
    shown_rows = table("docs/speed.md", "| thousand characters per second")
    for contestant, (_, *shown) in zip(contestants, shown_rows, strict=True):
        for model, text in zip(MODELS, shown, strict=True):
            row = rows.loc[(model, *contestant)]
            speed, *factor = numbers(text)
            assert speed == pytest.approx(row["characters_per_second"] / 1000, abs=0.0501)
            assert factor in ([], [pytest.approx(row["times_faster_than_layer"], abs=0.00501)])


def test_the_perplexities_are_those_of_the_records():
    """The first column is of the histories: what was counted over the last epoch, while it was trained on."""
    rows = collect(record.run_folders(HOME / "outputs/reference/tutorials")).rows
    runs = [("srn", "sgd"), ("lstm", "sgd"), ("gru", "sgd"), ("gru", "adam"), ("lstm", "adam")]
    shown_rows = table("docs/texts.md", "| cell, training |")
    for (model, optimizer), (_, *shown) in zip(runs, shown_rows, strict=True):
        own = rows[(rows["model.name"] == model) & (rows["optimizer"] == optimizer)]
        (run,) = set(own["run"])
        history = read_history(HOME / "outputs/reference/tutorials" / run)
        last = history[(history["split"] == "train") & (history["name"] == "perplexity")]
        scores = [last.loc[last["iteration"] == last["iteration"].max(), "value"]]
        scores += [own[column] for column in ("last_dev_perplexity", "dev_perplexity", "test_bits")]
        for text, values, rounding in zip(shown, scores, (0.00501, 0.0501, 0.0501, 0.00501), strict=True):
            assert len(values) == 10
            assert numbers(text) == pytest.approx(interval(values.tolist(), bounds=(0, math.inf)), abs=rounding)


def test_the_bits_of_the_whole_book_are_those_of_the_records():
    found = collect(record.run_folders(HOME / "outputs/reference/time_machine"))
    rows = found.rows
    shown = dict(table("docs/texts.md", "| model | bits per character"))
    for name in ("SRN", "LSTM", "GRU"):
        bits = rows.loc[rows["model.name"] == name.lower(), "test_bits"]
        given = numbers(shown[name])
        expected = interval(bits.tolist(), bounds=(0, math.inf))[: len(given)]
        assert given == pytest.approx(expected, abs=0.00501 if len(given) == 1 else 0.000501)
    floors = found.floors[found.floors["metric"] == "bits"].groupby("name")["value"].first()
    for name, floor in (("xz", "xz"), ("trigram model", "trigram"), ("gzip", "gzip")):
        assert numbers(shown[name]) == pytest.approx([floors[floor]], abs=0.00501)


@pytest.mark.slow
def test_the_cell_of_the_readme_works_as_written(memexp: CommandLine, tmp_path: Path):
    text = read("README.md")
    (code,), (settings,) = re.findall(r"```python\n(.*?)```", text, re.S), re.findall(r"```yaml\n(.*?)```", text, re.S)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "mycells.py").write_text(code)
    (tmp_path / "conf" / "model" / "leaky_srn.yaml").write_text(settings)
    (command,) = [line for line in commands("README.md") if "leaky" in line]
    arguments = command.removeprefix("python -m memexp ").split()
    done = memexp(*arguments, "epochs=1", "seeds=2", "hydra/launcher=basic")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "outputs" / "leaky").glob("*model=leaky_srn*/summary.json"))) == 2
    assert (tmp_path / "images" / "leaky" / "accuracy.png").exists()
    alone = memexp("--config-dir", "conf", "model=leaky_srn", "length=4", "epochs=1", "seeds=1")
    assert alone.returncode == 0, alone.stdout + alone.stderr
