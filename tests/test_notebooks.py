"""The notebooks: both run, say the same, and make the records that the command makes."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from memexp.results import record
from memexp.training import checkpoints

HOME = Path(__file__).parent.parent
ENGLISH, CHINESE = HOME / "notebooks/chapter6.ipynb", HOME / "notebooks/chapter6.zh-CN.ipynb"
#: Those that are executed. Their code is the same but for the language of figures: the second one takes a minute more.
RUN = (ENGLISH, CHINESE) if os.environ.get("MEMEXP_BOTH_NOTEBOOKS") == "1" else (ENGLISH,)
LARGEST = 1_500_000  # bytes, with all figures
#: What the notebook trains that came with memexp too, made by the command.
COMMITTED = [("book", "length=10,model=srn"), ("book", "length=10,model=lstm"), ("book", "length=20,model=srn"),
             ("book", "length=20,model=lstm"), ("fresh", "length=20,model=srn"), ("fresh", "length=20,model=lstm"),
             ("gradient_explosion", "clip=null,length=20,model=srn")]  # fmt: skip


def cells(path: Path, kind: str) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def code(cell: Any) -> str:
    """Return the code of a cell without its comments; in the language of the figures, which is the only difference."""
    source = re.sub(r"^%%writefile.*", "", cell.source.replace('LANG = "zh"', 'LANG = "en"'))
    if "\n!" in source or "_target_" in source:  # a command, a YAML file
        return str(cell.source)
    return ast.unparse(ast.parse(source))


def said(outputs: list[Any]) -> str:
    """Return all that a cell says, but for its figures."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(part) for part in parts)


def without_times(text: str) -> str:
    """Leave out what differs from one time or machine to the next: a speed, and a difference by rounding."""
    return re.sub(r"\d+ x\b|\d+e-\d+", "", text)


#: In a process of its own: event loops and their warnings are none of the tests'.
EXECUTE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import nbformat
from execute import execute
nbformat.write(execute(Path(sys.argv[2]), Path(sys.argv[3])), sys.argv[4])
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The notebooks of `RUN`, in one new folder; the Chinese one finds the records of the English one there."""
    folder, notebooks = tmp_path_factory.mktemp("notebooks"), []
    for path in RUN:
        out = folder / f"executed-{path.name}"
        given = [str(part) for part in (HOME / "notebooks", path, folder, out)]
        done = subprocess.run([sys.executable, "-c", EXECUTE, *given], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        notebooks.append(nbformat.read(out, as_version=4))
    return folder, notebooks


def test_both_languages_have_the_same_cells():
    kinds = [[cell.cell_type for cell in nbformat.read(path, as_version=4).cells] for path in (ENGLISH, CHINESE)]
    assert kinds[0] == kinds[1]
    assert [*map(code, cells(ENGLISH, "code"))] == [*map(code, cells(CHINESE, "code"))]
    texts = [[cell.source for cell in cells(path, "markdown")] for path in (ENGLISH, CHINESE)]
    for english, chinese in zip(*texts, strict=True):
        assert set(re.findall(r"\d+\.\d+|`[^`]+`", english)) == set(re.findall(r"\d+\.\d+|`[^`]+`", chinese))
        assert not re.search("[\u4e00-\u9fff]", english.replace("[中文]", ""))


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_the_outputs_are_kept_and_are_those_of_one_run(path: Path):
    assert path.stat().st_size < LARGEST
    own = cells(path, "code")
    assert [cell.execution_count for cell in own] == list(range(1, len(own) + 1))
    figures = [output for cell in own for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 9
    assert not [output for cell in own for output in cell.outputs if output.output_type == "error"]
    assert str(HOME) not in json.dumps(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_the_numbers_of_the_sentences_are_those_of_the_outputs(path: Path):
    scores = [re.findall(r"\d+\.\d+(?= %)", cell.source) for cell in cells(path, "markdown")]
    there = "\n".join(said(cell.outputs) for cell in cells(path, "code"))
    assert sum(map(len, scores)) >= 3
    assert [score for of_cell in scores for score in of_cell if f" {score} [" not in there] == []


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_what_a_notebook_links_to_is_there(path: Path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)]+)\)", cell.source):
            assert (path.parent / target).exists(), target


@pytest.mark.slow
def test_every_cell_runs_and_says_what_is_kept(executed: tuple[Path, list[Any]]):
    """nbclient raises where a cell fails. Training says more the first time: the last lines are compared."""
    for path, notebook in zip(RUN, executed[1], strict=True):
        for kept, now in zip(cells(path, "code"), [c for c in notebook.cells if c.cell_type == "code"], strict=True):
            pictures = [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in (kept, now)]
            assert pictures[0] == pictures[1]
            if "sweep(" not in kept.source and "\n!" not in kept.source and not kept.source.startswith("%%writefile"):
                assert without_times(said(kept.outputs)) == without_times(said(now.outputs)), kept.source
    assert said(executed[1][0].cells[-1].outputs) == "True"


@pytest.mark.slow
@pytest.mark.parametrize(("study", "run"), COMMITTED)
def test_the_records_are_those_of_the_command_bit_for_bit(study: str, run: str, executed: tuple[Path, list[Any]]):
    ours, theirs = executed[0] / "outputs" / study / run, HOME / "outputs/reference" / study / run
    histories = [record.read_bytes(folder, record.HISTORY, None) for folder in (ours, theirs)]
    assert histories[0] == histories[1]
    summaries = [record.read_summary(folder) for folder in (ours, theirs)]
    for part in ("seeds", "about", "floors", "interface", "updates", "parameters"):
        assert summaries[0][part] == summaries[1][part]
    if (theirs / record.BEST).exists():
        weights = [checkpoints.load(folder / record.BEST, "weights")["weights"] for folder in (ours, theirs)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_the_command_in_the_notebook_draws_whatever_backend_the_kernel_hands_on(executed: tuple[Path, list[Any]]):
    folder, (english, *_) = executed
    assert (folder / "images/typed/accuracy.png").exists()
    (typed,) = [cell for cell in english.cells if "\n!" in cell.source]
    assert "figures and tables: images/typed" in said(typed.outputs)
    ours, typed_here = (folder / "outputs" / study / "length=10,model=srn" for study in ("book", "typed"))
    weights = [checkpoints.load(run / record.BEST, "weights")["weights"] for run in (ours, typed_here)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
