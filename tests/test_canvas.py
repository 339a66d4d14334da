"""Figures are the same whatever the surroundings, and these stay as they were."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from helpers import make_run

from memexp.canvas import own_style, second_font

INLINE = "module://matplotlib_inline.backend_inline"  # a notebook's
ELSEWHERE = "module://not_installed_here.backend_inline"  # that of a notebook whose packages are others
HOSTILE = """
backend: svg
text.usetex: true
figure.figsize: 2, 2
figure.dpi: 30
savefig.dpi: 30
savefig.bbox: tight
savefig.transparent: true
font.family: serif
font.size: 20
axes.grid: true
axes.facecolor: red
lines.linewidth: 9
legend.frameon: true
image.cmap: gray
path.sketch: 1, 100, 2
"""


def test_the_defaults_hold_within_and_the_users_settings_after():
    with matplotlib.rc_context({"font.size": 3, "text.usetex": True, "axes.grid": True}):
        with own_style():
            inside = {name: matplotlib.rcParams[name] for name in ("font.size", "text.usetex", "axes.grid")}
        assert inside == {"font.size": 10, "text.usetex": False, "axes.grid": False}
        assert matplotlib.rcParams["font.size"] == 3
        assert matplotlib.rcParams["text.usetex"]


def test_a_second_family_is_only_within():
    with second_font("memexp test"):
        with own_style():
            assert matplotlib.rcParams["font.family"] == ["sans-serif", "memexp test"]
        with second_font(None), own_style():
            assert matplotlib.rcParams["font.family"] == ["sans-serif"]
    with own_style():
        assert matplotlib.rcParams["font.family"] == ["sans-serif"]


@pytest.mark.slow
def test_a_notebooks_backend_and_a_matplotlibrc_change_no_figure(tmp_path: Path):
    make_run(tmp_path / "outputs" / "book", 5, title="costs $5 or $6")
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    drawn = []
    for name, surroundings in (("plain", {}), ("odd", {"MPLBACKEND": ELSEWHERE, "MATPLOTLIBRC": str(tmp_path)})):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "MATPLOT"))}
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "memexp.analysis", "outputs_dir=../outputs", "images_dir=images"]
        where = {"cwd": tmp_path / name, "env": {**environment, **surroundings}}
        done = subprocess.run(command, capture_output=True, text=True, **where)
        assert "Traceback" not in done.stderr
        assert "written: " in done.stdout
        drawn.append({path.name: path.read_bytes() for path in (tmp_path / name / "images/book").glob("*.png")})
    plain, odd = drawn
    assert {"accuracy.png", "overview.png", "retained_bits.png"} <= plain.keys()
    assert plain == odd


@pytest.mark.slow
@pytest.mark.parametrize("given", ["svg", INLINE, ELSEWHERE])
def test_who_imports_memexp_keeps_the_backend_that_he_has(given: str):
    """One that is not installed does no harm."""
    code = "import os, memexp.figures.curves, matplotlib; backend = matplotlib.get_backend(auto_select=False)\n"
    code += "print(backend, os.environ['MPLBACKEND'])"
    environment = {**os.environ, "MPLBACKEND": given}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [given, given]
