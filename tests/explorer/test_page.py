"""The page is tested in a real browser without a screen, from disk, against torch's numbers."""

import base64
import copy
import itertools
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import forked
import pytest
import torch
from helpers import KINDS
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from memexp import trained
from memexp.config import choices, folder_name
from memexp.errors import Complaints
from memexp.explorer import export as explorer
from memexp.models.cells import GRU, LSTM, LSTM1997, SLSTM, Cell, Diagonal, MinGRU, MinLSTM
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.tasks.text.writing import go_on

pytestmark = pytest.mark.slow

MODELS = pytest.mark.parametrize("name", ["srn", "lstm"])

#: The sweeps of the study of small networks, key -> values: every model, every variant, stacked and bidirectional ones.
GRIDS = [
    {"model": choices("model"), "model.hidden_size": ["[6]"]},
    {"model": ["lstm"], "model.hidden_size": ["[6]"], "model.variant": [v for v in LSTM.VARIANTS if v != "none"]},
    {"model": ["gru"], "model.hidden_size": ["[6]"], "model.reset_after": ["True"]},
    {"model": ["diagonal"], "model.hidden_size": ["[6]"], "model.lowest": ["-1"]},
    {"model": ["gru", "lstm"], "model.hidden_size": ["[3,5]"], "model.bidirectional": ["False", "True"],
     "model.initial_state": ["input", "learned"]},
    {"model": ["minlstm"], "model.hidden_size": ["[6]"], "model.bidirectional": ["True"],
     "model.initial_state": ["input"]},
]  # fmt: skip
NETWORKS = [dict(zip(grid, values, strict=True)) for grid in GRIDS for values in itertools.product(*grid.values())]
SHARED = {"length": "4", "epochs": "1", "seeds": "1", "lr": "0.05"}
#: The same of language models: every model, with one-hot characters and with an embedding, and stacked ones.
TEXT_GRIDS = [
    {"model": choices("model"), "model.hidden_size": ["[6]"], "model.embedding_size": ["0", "5"]},
    {"model": ["gru"], "model.hidden_size": ["[6]"], "model.reset_after": ["True"]},
    {"model": ["lstm"], "model.hidden_size": ["[6]"], "model.variant": ["coupled", "peephole"]},
    {"model": ["gru", "lstm"], "model.hidden_size": ["[3,5]"], "model.initial_state": ["input", "learned"]},
]
WRITERS = [dict(zip(grid, values, strict=True)) for grid in TEXT_GRIDS for values in itertools.product(*grid.values())]
SHARED_BY_TEXTS = {
    "length": "35", "epochs": "30", "lr": "0.1", "seeds": "2", "task": "char_lm", "task.max_chars": "3000",
    "task.prefixes": "[The]",
}  # fmt: skip
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1600,1000"
)


def explore(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run("memexp.explorer", *arguments, folder=folder, warned="default")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study of SRN and LSTM, three seeds each; the test of damage copies it."""
    folder = tmp_path_factory.mktemp("explorer")
    train(folder, "study=small", "length=4", "model=srn,lstm", "epochs=1", "seeds=3", "lr=0.05")
    return folder


def train(folder: Path, *arguments: str) -> None:
    given = ("-m", "hydra/launcher=basic", "images_dir=null", *arguments)
    forked.run("memexp", *given, folder=folder, warned="default").check_returncode()


@pytest.fixture(scope="module")
def networks(folder: Path) -> Path:
    """The page of the study of small networks."""
    return page_of(folder, "networks", GRIDS, SHARED)


@pytest.fixture(scope="module")
def texts(folder: Path) -> Path:
    """The page of the study of small language models."""
    return page_of(folder, "texts", TEXT_GRIDS, SHARED_BY_TEXTS)


def page_of(folder: Path, study: str, grids: list[dict[str, list[str]]], shared: dict[str, str]) -> Path:
    """Train a study and write its page."""
    given = ["{" + ",".join(f'{key}:"{",".join(values)}"' for key, values in grid.items()) + "}" for grid in grids]
    settings = [f"{key}={value}" for key, value in shared.items()]
    train(folder, f"study={study}", f"hydra.sweeper.grids=[{','.join(given)}]", *settings)
    done = explore(folder, f"study={study}")
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "images" / study / "explorer.html"


def write_page(path: Path, runs: list[dict[str, Any]]) -> None:
    """Write a page of runs that are no study's."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(explorer.page(path.parent.name, runs), encoding="utf-8")


def name_of(network: dict[str, str], shared: dict[str, str] = SHARED) -> str:
    return folder_name({**network, **shared})


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    done = explore(folder, "study=small")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("written: images/small/explorer.html, 0.")
    assert "2 runs, 4 seeds" in done.stdout
    return folder / "images" / "small" / "explorer.html"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """The browser that is installed, or else one that Selenium fetches; without either there is nothing to test with.

    Then the tests are skipped, but where MEMEXP_REQUIRE_BROWSER=1 is set: there they fail.
    """
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    program, service = shutil.which("chromium"), shutil.which("chromedriver")
    if program and service:
        options.binary_location = program
    try:
        driver = webdriver.Chrome(options, webdriver.ChromeService(service) if program and service else None)
    except WebDriverException as error:
        reason = (str(error.msg).partition("; For documentation")[0].strip().splitlines() or [type(error).__name__])[0]
        reason = f"no browser: {reason}; install chromium and chromedriver (Debian: chromium chromium-driver)"
        if os.environ.get("MEMEXP_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    driver.execute_cdp_cmd("Network.enable", {})
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The page, newly opened; afterwards it must have asked for nothing, and complained of nothing."""
    browser.get_log("browser"), browser.get_log("performance")
    open_page(browser, page)
    yield browser
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    pages = {urlsplit(path.as_uri()).path for path in page.parents[1].glob("*/explorer.html")}
    assert {urlsplit(url).path for url in asked if not url.startswith(("data:", "about:"))} <= pages
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def open_page(browser: webdriver.Chrome, page: Path, fragment: str = "", query: str = "") -> None:
    browser.get("about:blank")  # else a new fragment only changes the address
    browser.get(page.as_uri() + query + fragment)


def find(browser: webdriver.Chrome, css: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, css)


def choose(browser: webdriver.Chrome, element: str, text: str) -> None:
    Select(find(browser, f"#{element}")).select_by_visible_text(text)


def enter(browser: webdriver.Chrome, element: str, text: str) -> None:
    """Type into a field, key by key, in place of what is there."""
    find(browser, f"#{element}").send_keys(Keys.CONTROL, "a")
    find(browser, f"#{element}").send_keys(text or Keys.DELETE)


def probabilities(browser: webdriver.Chrome, which: str = "A") -> torch.Tensor:
    script = "return [...document.querySelectorAll(arguments[0])].map((item) => Number(item.dataset.probability))"
    values = browser.execute_script(script, f".answer[data-sequence={which}] [data-class]")
    return torch.tensor(values, dtype=torch.float64)


def panels_shown(browser: webdriver.Chrome, which: str = "A") -> dict[str, torch.Tensor]:
    """Part -> the numbers of its panel, [L, rows], in float64."""
    script = (
        "return panels.filter((p) => p.which === arguments[0]).map((p) => [p.part, p.values.map((row) => [...row])])"
    )
    return {part: torch.tensor(values, dtype=torch.float64) for part, values in browser.execute_script(script, which)}


def check_trace(
    panels: dict[str, torch.Tensor], trace: dict[str, torch.Tensor], before: list[str], seed: int = 0
) -> None:
    """Compare the panels with a trace of torch: these come before, and what is said of the memory after it."""
    end = len(before) + len(trace)
    assert [*panels][:end] == [*before, *trace]
    assert {part.rpartition(".")[2] for part in [*panels][end:]} <= {"recall_density", "retention", "mean_retention"}
    for name, part in trace.items():
        torch.testing.assert_close(panels[name].float(), part[seed, 0], rtol=1e-5, atol=1e-5)


def recall_by_torch(model: SequenceModel, tokens: list[int], step: int, seed: int = 0) -> torch.Tensor:
    """The recall density of the answer at a step, [L]: of each token the gradient of the answer's lead over the next
    likeliest, along the ways to all other tokens."""
    both = len(model.stack[0]) > 1
    read = torch.tensor(tokens if both else tokens[:step])
    S, V = len(model.head_bias), len(model._one_hot)
    x = torch.nn.functional.one_hot(read, V).double().expand(S, 1, -1, V).clone().requires_grad_()
    whole = copy.deepcopy(model).double()
    for _, direction in whole.directions:
        if isinstance(direction.cell, LSTM1997):
            direction.cell.truncated = False  # the page asks what depends on what, not what training is told
    logits = whole(x)[seed, 0]
    first, second = logits[step - 1 if model.every_step else -1].topk(2).values
    (gradient,) = torch.autograd.grad(first - second, x)
    strengths = torch.zeros(len(tokens), dtype=torch.float64)
    for t, token in enumerate(read.tolist()):
        strengths[t] = sum((gradient[seed, 0, t, v] - gradient[seed, 0, t, token]).abs() for v in range(V))
    return strengths / strengths.sum() if strengths.any() else strengths  # rectified units may all be off


def kept(cell: Cell, parts: dict[str, torch.Tensor], prefix: str) -> torch.Tensor | None:
    """What a cell keeps of its memory at each step, as its equation says; None where no gate decides it."""
    match cell:
        case MinLSTM() | SLSTM():
            return parts[f"{prefix}forget_gate"]
        case Diagonal():
            return cell.lowest + (1 - cell.lowest) * parts[f"{prefix}forget_gate"]
        case MinGRU():
            return 1 - parts[f"{prefix}update_gate"]
        case GRU():
            return parts[f"{prefix}update_gate"]
        case LSTM():
            return parts.get(f"{prefix}forget_gate")
    return None


def check_memory(
    panels: dict[str, torch.Tensor], model: SequenceModel, tokens: list[int], step: int, seed: int = 0
) -> None:
    """Compare recall density and retention with torch's numbers, in float64; `step` is the one looked at."""
    recall = recall_by_torch(model, tokens, step, seed)
    torch.testing.assert_close(panels["recall_density"][:, 0], recall, rtol=1e-6, atol=1e-9)
    assert float(recall.sum()) == pytest.approx(1) or not recall.any()
    parts, once = copy.deepcopy(model).double().trace(torch.tensor([[tokens]])), not model.every_step
    both, L = len(model.stack[0]) > 1, len(tokens)
    expected = set()
    for prefix, direction in model.directions:
        keeps = kept(direction.cell, parts, prefix)
        if keeps is None:
            continue
        left = torch.zeros(L, direction.cell.hidden_size, dtype=torch.float64)
        for t in range(L):
            if direction.backwards:
                end = 0 if once else step - 1
                if t >= end:
                    left[t] = keeps[seed, 0, end:t].prod(0)
            else:
                end = L if both and once else step
                if t < end:
                    left[t] = keeps[seed, 0, t + 1 : end].prod(0)
        torch.testing.assert_close(panels[f"{prefix}retention"], left, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(panels[f"{prefix}mean_retention"], left.mean(1, keepdim=True), rtol=1e-6, atol=1e-12)
        expected |= {f"{prefix}retention", f"{prefix}mean_retention"}
    assert {part for part in panels if part.endswith("retention")} == expected


def run_of(folder: Path, name: str) -> Path:
    (run,) = folder.glob(f"outputs/small/*model={name}*")
    return run


def load(folder: Path, name: str) -> SequenceModel:
    return trained.load(run_of(folder, name)).model


def by_torch(model: SequenceModel, digits: str, seed: int) -> torch.Tensor:
    tokens = torch.tensor([[[int(digit) for digit in digits]]])
    with torch.no_grad():
        return model(tokens)[seed, 0, 0].double().softmax(-1)


def check_probabilities(
    browser: webdriver.Chrome, model: SequenceModel, digits: str, seed: int = 0, which: str = "A"
) -> None:
    """Compare the page, which computes in float64, with torch in float32, as trained, and in float64.

    Far beyond its length a trained network may be chaotic: there torch's own float32 is what is off.
    """
    shown = probabilities(browser, which)
    torch.testing.assert_close(shown, by_torch(model, digits, seed), rtol=0, atol=1e-5)
    torch.testing.assert_close(shown, by_torch(copy.deepcopy(model).double(), digits, seed), rtol=0, atol=1e-11)


@MODELS
@pytest.mark.parametrize("seed", [0, 1])
def test_typed_sequences_give_torchs_probabilities(opened: webdriver.Chrome, folder: Path, name: str, seed: int):
    model = load(folder, name)
    choose(opened, "model", name.upper())
    choose(opened, "seed", str(seed))
    for typed in ("6701", "9900", "00 3, 5", "7", "12", "0987654321", "90" * 50):
        enter(opened, "a", typed)
        digits = "".join(c for c in typed if c.isdigit())
        check_probabilities(opened, model, digits, seed)
        assert find(opened, ".answer .digit").text == str(int(by_torch(model, digits, seed).argmax()))
    assert not torch.equal(by_torch(model, "6701", seed), by_torch(model, "6701", 1 - seed))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: ",".join(network.values()))
def test_every_network_computes_what_torch_does(
    opened: webdriver.Chrome, folder: Path, networks: Path, network: dict[str, str]
):
    open_page(opened, networks, "#" + urlencode({"run": name_of(network), "lang": "en"}))
    assert not find(opened, "#message").is_displayed()
    model = trained.load(folder / "outputs" / "networks" / name_of(network)).model
    both = network.get("model.bidirectional") == "True"
    for typed in ("6", "6701", "0987654321"):
        enter(opened, "a", typed)
        check_probabilities(opened, model, typed)
        tokens = [int(digit) for digit in typed]
        panels = panels_shown(opened)
        check_trace(panels, model.trace(torch.tensor([[tokens]])), ["class_probabilities"][both:])
        check_memory(panels, model, tokens, len(tokens))
    for step in (9, 8):
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)
        check_probabilities(opened, model, typed if both else typed[:step])
        check_memory(panels_shown(opened), model, tokens, step)


@MODELS
def test_stepping_answers_as_if_the_sequence_ended_there(opened: webdriver.Chrome, folder: Path, name: str):
    model = load(folder, name)
    choose(opened, "model", name.upper())
    enter(opened, "a", "67012")
    for step in range(4, 0, -1):
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)
        check_probabilities(opened, model, "67012"[:step])
    assert find(opened, "#now").text.startswith("1 of 5, reads 6")


@MODELS
def test_heatmaps_show_the_trace(opened: webdriver.Chrome, folder: Path, name: str):
    trace = load(folder, name).trace(torch.tensor([[[6, 7, 0, 0, 1, 0, 0, 0, 0, 0]]]))
    choose(opened, "model", name.upper())
    enter(opened, "a", "6700100000")
    canvases = opened.find_elements(By.CSS_SELECTOR, "canvas")
    bars = ["recall_density", "mean_retention"][: 1 + (name == "lstm")]
    units = ["retention"] * (name == "lstm")
    assert [canvas.get_attribute("data-part") for canvas in canvases] == ["class_probabilities", *bars, *trace, *units]
    of_trace = canvases[1 + len(bars) :][: len(trace)]
    for canvas, values in zip(of_trace, trace.values(), strict=True):
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        # Step 2 of 10, and unit 20 of 32, by mouse.
        box = canvas.rect
        right, down = 32 + (box["width"] - 34) * 1.5 / 10, 6 + (box["height"] - 26) * 20.5 / 32
        ActionChains(opened, duration=0).move_to_element_with_offset(
            canvas, int(right - box["width"] / 2), int(down - box["height"] / 2)
        ).perform()
        assert "unit 20, step 2 (digit 7)" in find(opened, "#tip").text
        assert shown_value(opened) == pytest.approx(float(values[0, 0, 1, 20]), abs=6e-5)


def shown_value(browser: webdriver.Chrome, place: int = 0) -> float:
    return float(browser.find_elements(By.CSS_SELECTOR, "#tip b")[place].text.split()[-1].replace("−", "-"))


def test_cells_have_the_colours_of_their_values(opened: webdriver.Chrome, folder: Path):
    trace = load(folder, "lstm").trace(torch.tensor([[[6, 7, 0, 1]]]))
    enter(opened, "a", "6701")
    script = """
        const [part, unit, ramp] = arguments, canvas = document.querySelector(`canvas[data-part=${part}]`);
        const {x, y, column, height, rows} = geometry(canvas.panel);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const pixel = copy.getImageData(x + 1.5 * column, y + (unit + 0.5) * height / rows, 1, 1);
        return [[...pixel.data], [...lookup(RAMPS.light[ramp])]]"""
    for part, ramp in (("forget_gate", "sequential"), ("cell_state", "diverging")):
        high = float(find(opened, f".scale[data-part={part}]").text.split()[-1])
        low = -high if ramp == "diverging" else 0
        for unit in (0, 13, 31):
            pixel, colours = opened.execute_script(script, part, unit, ramp)
            k = round(255 * (float(trace[part][0, 0, 1, unit]) - low) / (high - low))
            assert pixel == [*colours[3 * k : 3 * k + 3], 255]


def test_play_walks_to_the_end(opened: webdriver.Chrome):
    enter(opened, "a", "670")
    find(opened, "#play").click()
    assert find(opened, "#play").get_attribute("aria-label") == "Pause"
    assert find(opened, "#step").get_attribute("value") == "1"
    WebDriverWait(opened, 10).until(lambda b: find(b, "#step").get_attribute("value") == "3")
    assert find(opened, "#play").get_attribute("aria-label") == "Play"


def test_copy_gives_the_link(opened: webdriver.Chrome):
    enter(opened, "a", "6712")
    opened.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    find(opened, "#copy").click()
    WebDriverWait(opened, 5).until(lambda b: b.execute_script("return window.copied"))
    assert "a=6712" in opened.execute_script("return window.copied")
    opened.execute_script("navigator.clipboard.writeText = async () => { throw new Error('no right'); }")
    find(opened, "#copy").click()
    WebDriverWait(opened, 5).until(lambda b: "a=6712" in find(b, "#message").text)


def test_everything_works_by_keyboard(opened: webdriver.Chrome, folder: Path):
    trace = load(folder, "lstm").trace(torch.tensor([[[6, 7, 0, 1]]]), ["forget_gate"])["forget_gate"]
    enter(opened, "a", "6701")
    forget = find(opened, "canvas[data-part=forget_gate]")
    for _ in range(20):
        if opened.switch_to.active_element == forget:
            break
        opened.switch_to.active_element.send_keys(Keys.TAB)
    assert "unit 0, step 4 (digit 1)" in find(opened, "#tip").text
    ActionChains(opened).send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_DOWN).perform()
    assert "unit 2, step 3 (digit 0)" in find(opened, "#tip").text
    assert shown_value(opened) == pytest.approx(float(trace[0, 0, 2, 2]), abs=6e-5)
    assert find(opened, "#step").get_attribute("value") == "3"
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert not find(opened, "#tip").is_displayed()


def test_two_sequences_and_their_difference(opened: webdriver.Chrome, folder: Path):
    model = load(folder, "lstm")
    enter(opened, "a", "6701")
    enter(opened, "b", "17019")
    for which, digits in (("A", "6701"), ("B", "17019")):
        check_probabilities(opened, model, digits, which=which)
    a, b = (model.trace(torch.tensor([[row]]))["cell_state"][0, 0] for row in ([6, 7, 0, 1], [1, 7, 0, 1, 9]))
    panel = find(opened, "canvas[data-part=cell_state][data-which=difference]")
    opened.execute_script("arguments[0].focus({focusVisible: true})", panel)  # the last step that both have
    assert "step 4 (digit 1)" in find(opened, "#tip").text
    for place, expected in enumerate((a[3, 0], b[3, 0], b[3, 0] - a[3, 0])):
        assert shown_value(opened, place) == pytest.approx(float(expected), abs=6e-5)
    enter(opened, "b", "")
    assert len(opened.find_elements(By.CSS_SELECTOR, "canvas")) == 10


def test_state_scales_are_symmetric_and_never_clip(opened: webdriver.Chrome, folder: Path):
    largest = float(load(folder, "lstm").trace(torch.tensor([[[6, 7, 0, 1]]]))["cell_state"][0].abs().max())
    enter(opened, "a", "6701")
    low, high = find(opened, ".scale[data-part=cell_state]").text.replace("−", "-").split()
    assert float(low) == -float(high)
    assert largest <= float(high) <= 1.1 * largest
    assert find(opened, ".scale[data-part=forget_gate]").text.split() == ["0", "1"]


def test_a_network_that_reads_both_ways_answers_in_the_end(opened: webdriver.Chrome, folder: Path, networks: Path):
    (network,) = [n for n in NETWORKS if n["model"] == "lstm" and [*n.values()][-2:] == ["True", "learned"]]
    model = trained.load(folder / "outputs" / "networks" / name_of(network)).model
    open_page(opened, networks, "#" + urlencode({"run": name_of(network), "a": "6701", "b": "170", "step": "2"}))
    for which, digits in (("A", "6701"), ("B", "170")):
        check_probabilities(opened, model, digits, which=which)
        assert find(opened, f".answer[data-sequence={which}] .when").text == (
            f"after all {len(digits)} digits, read from both ends"
        )
    answers = " / ".join(str(int(by_torch(model, digits, 0).argmax())) for digits in ("6701", "170"))
    assert find(opened, "#now").text == f"2 of 4, digit 7; answers {answers} in the end"
    assert len(opened.find_elements(By.CSS_SELECTOR, "canvas")) == 3 * (1 + 2 * 2 * (6 + 2))
    assert title_and_about(opened, "layer_1.backwards.forget_gate") == (
        "Layer 1, backwards: Forget gate", "How much of the cell is kept: 1 keeps all, 0 erases"
    )  # fmt: skip
    hidden = title_and_about(opened, "layer_1.hidden_state")
    assert hidden[0] == "Layer 1, forwards: Hidden state"
    assert hidden[1].startswith("Feeds the next step and the layer above")
    assert title_and_about(opened, "layer_2.hidden_state")[1].startswith("Feeds the next step and the answer")
    find(opened, "#language").click()
    assert title_and_about(opened, "layer_2.backwards.forget_gate")[0] == "第 2 层，反向：遗忘门"


def title_and_about(browser: webdriver.Chrome, part: str) -> tuple[str, str]:
    card = f'.part[data-part="{part}"]'
    return find(browser, f"{card} h2").text, find(browser, f"{card} .about").text


@pytest.mark.parametrize(
    ("network", "part", "about"),
    [
        ({"model": "gru"}, "update_gate", "Weighs the old state"),
        ({"model": "gru"}, "reset_gate", "How much of the old state the candidate sees"),
        ({"model": "gru", "model.reset_after": "True"}, "reset_gate", "How much the candidate gets of what"),
        ({"model": "mingru"}, "update_gate", "Weighs the new state"),
        ({"model": "residual_srn"}, "candidate", "What is added to the old state"),
        ({"model": "lstm", "model.variant": "coupled"}, "input_gate", "How much of the candidate is written: 1 − "),
    ],
)
def test_a_line_says_what_a_part_does(
    opened: webdriver.Chrome, networks: Path, network: dict[str, str], part: str, about: str
):
    open_page(opened, networks, "#" + urlencode({"run": name_of({**network, "model.hidden_size": "[6]"})}))
    assert title_and_about(opened, part)[1].startswith(about)
    unexplained = "return panels.filter((p) => !partWords(p.part)[1]).map((p) => p.part)"
    for _ in range(2):
        assert opened.execute_script(unexplained) == []
        find(opened, "#language").click()


def test_networks_are_labelled_by_their_settings(opened: webdriver.Chrome, networks: Path):
    open_page(opened, networks)
    labels = [option.text for option in Select(find(opened, "#model")).options]
    assert len(labels) == len(set(labels)) == len(NETWORKS)
    assert not [label for label in labels if "nan" in label or "(length" in label]
    assert sum("GRU, hidden size (6,), xavier, reset after" in label for label in labels) == 1
    stacked = "LSTM, hidden size (3, 5), bidirectional, initial state learned, xavier"
    assert sum(stacked in label for label in labels) == 1
    assert sum("LSTM, hidden size (6,), xavier, peephole" in label for label in labels) == 1


def test_a_link_holds_everything(opened: webdriver.Chrome, page: Path):
    choose(opened, "model", "SRN")
    choose(opened, "seed", "1")
    enter(opened, "a", "6701")
    enter(opened, "b", "5501")
    find(opened, "#back").click()
    WebDriverWait(opened, 5).until(lambda b: "step=3" in b.current_url)
    link, before = opened.current_url, probabilities(opened, "B")
    open_page(opened, page, "#" + link.partition("#")[2])
    assert [find(opened, f"#{e}").get_attribute("value") for e in ("model", "seed", "a", "b", "step")] == [
        "SRN", "1", "6701", "5501", "3"
    ]  # fmt: skip
    assert torch.equal(probabilities(opened, "B"), before)


def test_a_link_to_a_run_that_is_not_there(opened: webdriver.Chrome, page: Path):
    open_page(opened, page, "#" + urlencode({"run": "<b>none", "seed": "x", "a": "67q", "step": "-3"}))
    assert "no run “<b>none”" in find(opened, "#message").text
    assert "“q” is not a digit" in find(opened, "#noteA").text
    assert len(probabilities(opened)) == 19


def test_what_cannot_be_read_is_said_and_the_last_valid_sequence_stays(opened: webdriver.Chrome, folder: Path):
    model = load(folder, "lstm")
    for typed, message, valid in (
        ("67x1", "“x” is not a digit", "67"),
        ("", "at least one digit", "67"),
        ("1" * 101, "101 digits; at most 100", "1" * 100),
    ):
        enter(opened, "a", typed)
        assert message in find(opened, "#noteA").text
        assert find(opened, "#a").get_attribute("aria-invalid") == "true"
        check_probabilities(opened, model, valid)
    enter(opened, "a", "[6, 7, 0, 0, 1]")
    assert find(opened, "#noteA").text == "5 digits; trained on 4 only."
    assert find(opened, "#a").get_attribute("aria-invalid") == "false"


def test_scores_are_those_of_the_record(opened: webdriver.Chrome, folder: Path):
    summary = record.read_summary(run_of(folder, "lstm"))
    choose(opened, "seed", "1")
    for split in ("dev", "test", "exact"):
        assert f"{split} {100 * summary['seeds'][1][f'{split}_accuracy']:.1f} %" in find(opened, "#scores").text


def test_chinese(opened: webdriver.Chrome, page: Path):
    find(opened, "#language").click()
    assert find(opened, "h1").text == "门控浏览器"
    open_page(opened, page, query="?lang=zh")
    assert find(opened, ".part[data-part=forget_gate] h2").text == "遗忘门"
    words = "const w = WORDS[arguments[0]]; return [w, w.parts, w.about].flatMap((entry) => Object.keys(entry))"
    assert opened.execute_script(words, "en") == opened.execute_script(words, "zh")


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize(("scheme", "both"), [("light", False), ("dark", True)])
def test_fits_any_screen(opened: webdriver.Chrome, networks: Path, width: int, scheme: str, both: bool):
    if both:
        (network, *_) = [n for n in NETWORKS if n.get("model.bidirectional") == "True"]
        open_page(opened, networks, "#" + urlencode({"run": name_of(network)}))
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        fits(opened, width)
        enter(opened, "b", "12" * 50)
        fits(opened, width)
        colour = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(int(c) for c in colour[4:-1].split(",")) < 200) == (scheme == "dark")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def fits(browser: webdriver.Chrome, width: int) -> None:
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    edges = "return [...document.querySelectorAll('main *')].map((e) => e.getBoundingClientRect().right)"
    assert max(browser.execute_script(edges)) <= width


# --- texts ---

BASE = {"model": "lstm", "model.hidden_size": "[6]", "model.embedding_size": "0"}


def open_text(browser: webdriver.Chrome, texts: Path, network: dict[str, str] = BASE, **more: str) -> None:
    fragment = {"run": name_of(network, SHARED_BY_TEXTS), "lang": "en", **more}
    open_page(browser, texts, "#" + urlencode(fragment))
    assert not find(browser, "#message").is_displayed()


def load_text(folder: Path, network: dict[str, str] = BASE, seed: int = 0) -> tuple[SequenceModel, list[str]]:
    """The model of one seed, and its vocabulary."""
    folder = folder / "outputs" / "texts" / name_of(network, SHARED_BY_TEXTS)
    run = trained.load(folder)
    return run.of(seed), list(run.reading.outputs)


def codes_of(text: str, vocabulary: list[str]) -> torch.Tensor:
    return torch.tensor([vocabulary.index(character) for character in text])


def written(model: SequenceModel, vocabulary: list[str], text: str, length: int) -> str:
    """A text and what the model likes to go on with."""
    return text + "".join(vocabulary[code] for code in go_on(model, codes_of(text, vocabulary), length))


def set_text(browser: webdriver.Chrome, text: str, which: str = "A") -> None:
    """Paste a text in place of what is there."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(script, find(browser, f"#text{which}"), text)


def all_answers(browser: webdriver.Chrome, which: str = "A") -> torch.Tensor:
    script = "return traced(state[arguments[0]]).parts.class_probabilities.map((answer) => [...answer])"
    return torch.tensor(browser.execute_script(script, which), dtype=torch.float64)


def bits_shown(browser: webdriver.Chrome, which: str = "A") -> torch.Tensor:
    script = "return panels.find((p) => p.part === 'bits' && p.which === arguments[0]).values.map(([bits]) => bits)"
    return torch.tensor(browser.execute_script(script, which), dtype=torch.float64)


def check_text(browser: webdriver.Chrome, model: SequenceModel, vocabulary: list[str], text: str) -> None:
    """Compare what the page says of a text with torch in float32 and in float64: answers, costs, parts, memory."""
    codes = codes_of(text, vocabulary)
    with torch.no_grad():
        for exact, precision in ((model, 1e-5), (copy.deepcopy(model).double(), 1e-11)):
            logs = exact(codes[None, None])[0, 0].double().log_softmax(-1)
            torch.testing.assert_close(all_answers(browser), logs.exp(), rtol=0, atol=precision)
            costs = -logs[range(len(text) - 1), codes[1:]] / math.log(2)
            torch.testing.assert_close(bits_shown(browser)[1:], costs, rtol=0, atol=10 * precision)
    panels = panels_shown(browser)
    check_trace(panels, model.trace(codes[None, None]), ["bits", "class_probabilities"])
    check_memory(panels, model, codes.tolist(), browser.execute_script("return state.step"))
    if len(text) > 1:
        assert f"mean {costs.mean():.2f} bits over {len(costs)}" in find(browser, ".part[data-part=bits] .about").text


@pytest.mark.parametrize("network", WRITERS, ids=lambda network: ",".join(network.values()))
def test_every_language_model_computes_what_torch_does(
    opened: webdriver.Chrome, folder: Path, texts: Path, network: dict[str, str]
):
    model, vocabulary = load_text(folder, network)
    open_text(opened, texts, network)
    check_text(opened, model, vocabulary, find(opened, "#textA").get_attribute("value"))
    # Longer, another beginning, shorter, a change in the middle: what is known from the text before is not mixed up.
    for text in ("The boat", "The boat was", "the boat was", "the", "the bead was", "b"):
        set_text(opened, text)
        check_text(opened, model, vocabulary, text)


def test_the_likeliest_next_characters_at_every_step(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts)
    text = "The boat"
    enter(opened, "textA", text)
    with torch.no_grad():
        answers = model(codes_of(text, vocabulary)[None, None])[0, 0].softmax(-1)
    for step in range(len(text), 0, -1):
        rows = opened.find_elements(By.CSS_SELECTOR, ".likely [data-symbol]")
        symbols = [int(row.get_attribute("data-symbol")) for row in rows]
        best = answers[step - 1].topk(5).indices.tolist()
        coming = [vocabulary.index(text[step])] if step < len(text) else []
        assert symbols == [*best, *(code for code in coming if code not in best)]
        shown = torch.tensor([float(row.get_attribute("data-probability")) for row in rows])
        torch.testing.assert_close(shown, answers[step - 1][symbols], rtol=0, atol=1e-5)
        marked = [row.get_attribute("data-symbol") for row in rows if row.get_attribute("class") == "isTruth"]
        assert marked == [str(code) for code in coming if code != best[0]]
        signs = [vocabulary[code].replace(" ", "␣") for code in (vocabulary.index(text[step - 1]), best[0])]
        assert find(opened, "#now").text == f"{step} of 8, reads “{signs[0]}”, expects “{signs[1]}”"
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)


def test_pointing_at_a_character_shows_what_was_expected_after_it(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts)
    text = ("The boat was out. " * 12)[:200]
    set_text(opened, text)
    trace = model.trace(codes_of(text, vocabulary)[None, None])["forget_gate"][0, 0]
    canvas = find(opened, "canvas[data-part=forget_gate]")
    opened.execute_script("goTo(120); arguments[0].scrollIntoView({block: 'center'})", canvas)
    place = opened.execute_script("return geometry(arguments[0].panel)", canvas)
    assert place["count"] < 200  # the text is shown in part
    assert place["first"] + 8 <= 119 < place["first"] + place["count"] - 8
    column, box = place["first"] + 3, canvas.rect
    right, down = place["x"] + 3.5 * place["column"], place["y"] + 2.5 * place["height"] / 6
    ActionChains(opened, duration=0).move_to_element_with_offset(
        canvas, int(right - box["width"] / 2), int(down - box["height"] / 2)
    ).perform()
    character = text[column].replace(" ", "␣")
    assert f"Forget gate, unit 2, step {column + 1} (character {character})" in find(opened, "#tip").text
    assert shown_value(opened) == pytest.approx(float(trace[column, 2]), abs=6e-5)
    assert find(opened, ".when").text.startswith(f"after character {column + 1} of 200, ")
    opened.execute_script("point(null)")
    assert find(opened, ".when").text.startswith("after character 120 of 200, ")


def test_a_page_begins_with_what_the_model_writes(opened: webdriver.Chrome, folder: Path, texts: Path):
    open_text(opened, texts)
    for seed in (0, 1):
        choose(opened, "seed", str(seed))
        shown = find(opened, "#textA").get_attribute("value")
        assert shown == written(*load_text(folder, seed=seed), "The", 60)


def test_going_on_writes_what_generate_does(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts)
    enter(opened, "textA", "The b")
    enter(opened, "count", "80")
    find(opened, "#goOnA").click()
    text = written(model, vocabulary, "The b", 80)
    assert find(opened, "#textA").get_attribute("value") == text
    check_text(opened, model, vocabulary, text)
    assert find(opened, "#step").get_attribute("value") == "85"
    assert not find(opened, "#goOnB").is_enabled()
    enter(opened, "textB", "the ")
    find(opened, "#goOnB").click()
    assert find(opened, "#textB").get_attribute("value") == written(model, vocabulary, "the ", 80)


def test_drawing_follows_its_seed_its_temperature_and_its_rank(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts)

    def draw(**settings: str) -> str:
        enter(opened, "textA", "The")
        for name, value in settings.items():
            enter(opened, name, value)
        find(opened, "#goOnA").click()
        return str(find(opened, "#textA").get_attribute("value"))

    first = draw(count="100", topK="3", temperature="2", drawing="1")
    assert len(first) == 103
    assert draw(drawing="2") != first
    assert draw(drawing="1") == first
    with torch.no_grad():
        codes = codes_of(first, vocabulary)
        ranks = model(codes[None, None])[0, 0, 2:-1].argsort(-1, descending=True)
    places = [row.tolist().index(code) for row, code in zip(ranks, codes[3:].tolist(), strict=True)]
    assert set(places) == {0, 1, 2}
    assert draw(temperature="0.05") == draw(topK="1")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", "0", "Characters to write: give a number from 1 to 500."),
        ("temperature", "", "Temperature: give a number from 0.05 to 100."),
        ("topK", "1.5", "Among the likeliest: give a number from 1 to 9999."),
    ],
)
def test_a_number_that_cannot_be_is_said(opened: webdriver.Chrome, texts: Path, name: str, value: str, message: str):
    open_text(opened, texts)
    before = find(opened, "#textA").get_attribute("value")
    enter(opened, name, value)
    find(opened, "#goOnA").click()
    assert find(opened, "#noteWriting").text == message
    assert find(opened, f"#{name}").get_attribute("aria-invalid") == "true"
    assert find(opened, "#textA").get_attribute("value") == before
    enter(opened, name, "2")
    find(opened, "#goOnA").click()
    assert find(opened, "#noteWriting").text.startswith("Among the likeliest 1: always that one")


def test_characters_that_the_model_does_not_know_are_named(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts)
    enter(opened, "textA", "The b")
    set_text(opened, "The bü€at\n")
    assert find(opened, "#noteA").text.startswith("The model does not know “ü” “€” “↵”; it knows ␣")
    assert find(opened, "#textA").get_attribute("aria-invalid") == "true"
    assert find(opened, "#textA").get_attribute("value") == "The bü€at\n"
    assert not find(opened, "#goOnA").is_enabled()
    check_text(opened, model, vocabulary, "The b")
    set_text(opened, "ΑΒΓΔΕΖΗΘΙΚ")
    assert "“Θ” and 2 more; it knows" in find(opened, "#noteA").text
    set_text(opened, "")
    assert find(opened, "#noteA").text == "Type at least one character."
    set_text(opened, "The")
    assert find(opened, "#noteA").text == "3 characters"


def test_a_text_that_is_too_long(opened: webdriver.Chrome, texts: Path):
    open_text(opened, texts)
    set_text(opened, "a" * 1001)
    assert find(opened, "#noteA").text == "1001 characters; at most 1000 are shown."
    set_text(opened, "a" * 990)
    find(opened, "#goOnA").click()
    assert find(opened, "#noteA").text == "1000 characters"
    assert find(opened, "#noteWriting").text.startswith("At most 1000 characters are shown")


def test_two_texts_are_compared(opened: webdriver.Chrome, folder: Path, texts: Path):
    model, vocabulary = load_text(folder)
    open_text(opened, texts, a="The boat", b="The beat was")
    with torch.no_grad():
        answers = [model(codes_of(t, vocabulary)[None, None])[0, 0].softmax(-1) for t in ("The boat", "The beat was")]
    for which, expected in zip("AB", answers, strict=True):
        torch.testing.assert_close(all_answers(opened, which), expected.double(), rtol=0, atol=1e-5)
    find(opened, "#step").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 5)
    change = answers[1][5] - answers[0][5]
    rows = opened.find_elements(By.CSS_SELECTOR, ".answer[data-sequence=difference] [data-symbol]")
    assert [int(row.get_attribute("data-symbol")) for row in rows] == change.abs().topk(5).indices.tolist()
    most = float(change[change.abs().argmax()])
    assert float(rows[0].find_element(By.CSS_SELECTOR, ".value").text.replace("−", "-")) == pytest.approx(
        100 * most, abs=0.051
    )


def test_a_line_break_is_a_character_like_others(
    opened: webdriver.Chrome, folder: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    model, vocabulary = load_text(folder)
    runs = explorer.export_study(folder / "outputs" / "texts", [0], Complaints())
    broken = texts.parents[1] / "lines" / "explorer.html"
    for run in runs:
        run["symbols"] = run["symbols"].replace(".", "\n")  # the same weights, another sign
        run["answers"] = [*run["symbols"]]
    write_page(broken, runs)
    open_text(opened, broken, a="The\nboat\n", step="4")
    vocabulary[vocabulary.index(".")] = "\n"
    check_text(opened, model, vocabulary, "The\nboat\n")
    assert find(opened, "#textA").get_attribute("value") == "The\nboat\n"
    assert "reads “↵”" in find(opened, "#now").text


def test_a_link_holds_a_text(opened: webdriver.Chrome, texts: Path):
    open_text(opened, texts)
    choose(opened, "seed", "1")
    enter(opened, "textA", "The boat")
    enter(opened, "textB", " the, b")
    find(opened, "#back").click()
    WebDriverWait(opened, 5).until(lambda b: "step=7" in b.current_url)
    link, before = opened.current_url, all_answers(opened, "B")
    open_page(opened, texts, "#" + link.partition("#")[2])
    assert [find(opened, f"#{e}").get_attribute("value") for e in ("seed", "textA", "textB", "step")] == [
        "1", "The boat", " the, b", "7"
    ]  # fmt: skip
    assert torch.equal(all_answers(opened, "B"), before)


def test_scores_of_a_language_model_are_those_of_the_record(opened: webdriver.Chrome, folder: Path, texts: Path):
    run = folder / "outputs" / "texts" / name_of(BASE, SHARED_BY_TEXTS)
    seed = record.read_summary(run)["seeds"][1]
    open_text(opened, texts, seed="1")
    text = find(opened, "#scores").text
    for split in ("train", "dev", "test"):
        assert f"{split} perplexity {seed[f'{split}_perplexity']:.2f}" in text
    assert text.endswith(f"test bits {seed['test_bits']:.2f}")
    assert "last" not in text  # the weights are others
    find(opened, "#language").click()
    assert f"测试困惑度 {seed['test_perplexity']:.2f}" in find(opened, "#scores").text


def test_language_models_are_labelled_by_what_differs(opened: webdriver.Chrome, texts: Path):
    open_text(opened, texts)
    labels = [option.text for option in Select(find(opened, "#model")).options]
    assert len(labels) == len(set(labels)) == len(WRITERS)
    assert "LSTM, embedding size 5, hidden size (6,), xavier" in labels
    assert not [label for label in labels if "length" in label or "text" in label or "nan" in label]
    assert not find(opened, "#length").is_displayed()


def test_a_study_of_digits_and_of_texts(opened: webdriver.Chrome, folder: Path, texts: Path):
    study = folder / "outputs" / "mixed"
    shutil.copytree(run_of(folder, "lstm"), study / "digits", dirs_exist_ok=True)
    for network in WRITERS[:2]:
        name = name_of(network, SHARED_BY_TEXTS)
        shutil.copytree(folder / "outputs" / "texts" / name, study / name, dirs_exist_ok=True)
    done = explore(folder, "study=mixed")
    assert (done.returncode, done.stderr) == (0, "")
    open_page(opened, folder / "images" / "mixed" / "explorer.html", query="?lang=en")
    labels = [option.text for option in Select(find(opened, "#model")).options]
    assert "LSTM, digit sum" in labels
    (text, *_) = [label for label in labels if label.endswith(", char lm")]
    enter(opened, "a", "6701")
    check_probabilities(opened, load(folder, "lstm"), "6701")
    choose(opened, "model", text)
    assert find(opened, "h1").text == "Gate explorer"
    assert [find(opened, f"#{e}").is_displayed() for e in ("a", "textA", "length", "count")] == [
        False,
        True,
        False,
        True,
    ]
    assert find(opened, "#textA").get_attribute("value").startswith("The")
    choose(opened, "model", "LSTM, digit sum")
    assert [find(opened, f"#{e}").is_displayed() for e in ("a", "textA", "length", "count")] == [
        True,
        False,
        True,
        False,
    ]
    check_probabilities(opened, load(folder, "lstm"), "6701")  # as it was left


def test_texts_in_chinese(opened: webdriver.Chrome, texts: Path):
    open_text(opened, texts, lang="zh")
    assert find(opened, ".part[data-part=bits] h2").text == "每个字符的代价"
    words = "const w = WORDS[arguments[0]].text; return [w, w.parts].flatMap((entry) => Object.keys(entry))"
    assert opened.execute_script(words, "en") == opened.execute_script(words, "zh")


@pytest.mark.parametrize("width", [400, 1280])
def test_texts_fit_any_screen(opened: webdriver.Chrome, texts: Path, width: int):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        open_text(opened, texts)
        fits(opened, width)
        set_text(opened, "The boat was out. " * 40)
        fits(opened, width)
        set_text(opened, "The beat was out. " * 30, "B")
        fits(opened, width)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- symbols: other tasks, as they may come ---

#: Run -> whether it answers at every step; cell, its settings, embedding, widths, both ways, initial state; symbols,
#: answers.
LABELLERS: dict[str, tuple[Any, ...]] = {
    "copy": (True, "LSTM", {"variant": "none"}, 0, (6,), False, "zero", "abcd_>", [*"abcd_"]),
    "tags": (
        True,
        "GRU reset before",
        {"reset_after": False},
        0,
        (3, 5),
        True,
        "input",
        "xyz",
        ["noun", "verb", "<b>"],
    ),
    "many": (True, "SRN", {}, 5, (7,), False, "learned", "αβ 🂡<&", [f"answer {k}" for k in range(40)]),
    "parity": (False, "MinLSTM", {}, 4, (6, 4), False, "zero", "01", ["even", "odd"]),
    "ends": (False, "LSTM", {"variant": "none"}, 0, (4,), True, "learned", "ab分", [*"ab分", "else"]),
}
EXAMPLES = {"copy": "badc____>___", "tags": "xyzzyx", "many": "αβ 🂡<&🂡", "parity": "0110100", "ends": "分ab"}


def labeller(name: str) -> SequenceModel:
    """A model of two seeds whose answers are far from each other, without training."""
    every_step, cell, _, embedding, widths, both, start, symbols, answers = LABELLERS[name]
    model = SequenceModel(KINDS[cell], 2, len(symbols), len(answers), every_step, embedding, widths, both, start)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=draw)
    return model


SCORES = [
    [("dev", 0.8912, True), ("last train perplexity", 5.267, False), ("some <i>", None, True)],
    [("dev", None, True)],
]
"""(name, value, whether it is a share) of each score of each seed."""


def labelled(name: str) -> dict[str, Any]:
    """The run as the page gets it."""
    return run_with(labeller(name), name, *LABELLERS[name][-2:], EXAMPLES[name], LABELLERS[name][2])


def run_with(
    model: SequenceModel, name: str, symbols: str, answers: list[str], example: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """A run with the weights of a model, as the page gets it; `settings` are those of its cell alone."""
    names, seeds = ("name", "value", "share"), []
    for k in range(len(model.head_bias)):
        weights = torch.cat([parameter[k].flatten() for parameter in model.parameters()]).detach().numpy()
        seeds.append({
            "seed": k, "update": 100, "scores": [dict(zip(names, score, strict=True)) for score in SCORES[k]],
            "weights": base64.b64encode(weights.astype("<f4").tobytes()).decode(),
        })  # fmt: skip
    return {
        "name": name, "label": name.upper(), "kind": "symbols", "symbols": symbols, "answers": answers,
        "length": len(example), "steps": len(example), "example": example, "seeds": seeds,
        **explorer.describe(model, settings),
    }  # fmt: skip


@pytest.fixture(scope="module")
def symbols(folder: Path) -> Path:
    """The page of all of these, and of a cell that no page knows."""
    runs = [labelled(name) for name in LABELLERS]
    strange = labelled("copy") | {"name": "strange", "label": "STRANGE"}
    strange["layers"] = [[{**strange["layers"][0][0], "cell": "Strange"}]]
    path = folder / "images" / "symbols" / "explorer.html"
    write_page(path, [*runs, strange])
    return path


def open_symbols(browser: webdriver.Chrome, symbols: Path, name: str = "copy", **more: str) -> None:
    open_page(browser, symbols, "#" + urlencode({"run": name, "lang": "en", **more}))
    assert not find(browser, "#message").is_displayed()


def set_symbols(browser: webdriver.Chrome, text: str, which: str = "A") -> None:
    """Paste symbols in place of what is there: the driver cannot type astral ones."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(script, find(browser, f"#symbols{which}"), text)


def scores_shown(browser: webdriver.Chrome) -> str:
    return " ".join(find(browser, "#scores").text.split())


def labels_by_torch(name: str, text: str, seed: int = 0, exact: bool = False) -> torch.Tensor:
    """The probabilities of all answers, [L, K]: of one that answers in the end, as if it ended at each step."""
    model, places = labeller(name), [LABELLERS[name][7].index(character) for character in text]
    model = model.double() if exact else model
    with torch.no_grad():
        if model.every_step:
            logits = model(torch.tensor([[places]]))[seed, 0]
        else:
            logits = torch.stack([model(torch.tensor([[places[: t + 1]]]))[seed, 0, 0] for t in range(len(places))])
    return logits.double().softmax(-1)


def check_labels(browser: webdriver.Chrome, name: str, text: str, seed: int = 0, which: str = "A") -> None:
    """Compare all that the page computes of a sequence with torch in float32 and in float64."""
    for exact, precision in ((False, 1e-5), (True, 1e-11)):
        expected = labels_by_torch(name, text, seed, exact)
        if name == "ends":  # reads both ways, and answers in the end
            found = browser.execute_script("return [[...traced(state[arguments[0]]).answer]]", which)
            expected = expected[-1:]
        else:
            found = all_answers(browser, which).tolist()
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=0, atol=precision)
    places = [LABELLERS[name][7].index(character) for character in text]
    panels, model, step = panels_shown(browser, which), labeller(name), browser.execute_script("return state.step")
    check_trace(panels, model.trace(torch.tensor([[places]])), ["class_probabilities"][name == "ends" :], seed)
    check_memory(panels, model, places, min(step, len(places)), seed)


@pytest.mark.parametrize("name", LABELLERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_any_labeller_computes_what_torch_does(opened: webdriver.Chrome, symbols: Path, name: str, seed: int):
    open_symbols(opened, symbols, name, seed=str(seed))
    assert find(opened, "#symbolsA").get_attribute("value") == EXAMPLES[name]
    check_labels(opened, name, EXAMPLES[name], seed)
    known = LABELLERS[name][7]
    for text in (known, known * 9, known * 9 + known[0], known[1:] + known, known[-1]):
        set_symbols(opened, text)
        check_labels(opened, name, text, seed)
    assert not torch.equal(labels_by_torch(name, known, seed), labels_by_torch(name, known, 1 - seed))


@pytest.mark.parametrize("name", ["copy", "tags", "parity"])
def test_bars_show_the_labels_of_the_answers_at_every_step(opened: webdriver.Chrome, symbols: Path, name: str):
    open_symbols(opened, symbols, name)
    text, answers = EXAMPLES[name], LABELLERS[name][8]
    expected, end = labels_by_torch(name, text), len(text)
    assert [node.text for node in opened.find_elements(By.CSS_SELECTOR, ".bars .name")] == answers
    for step in range(end, 0, -1):
        torch.testing.assert_close(probabilities(opened), expected[step - 1], rtol=0, atol=1e-5)
        best = answers[int(expected[step - 1].argmax())]
        assert find(opened, ".answer .digit").text == best
        assert find(opened, "#now").text == f"{step} of {end}, reads “{text[step - 1]}”, answers “{best}”"
        if name == "parity":
            when = (
                f"as if the sequence ended after symbol {step} of {end}" if step < end else f"after all {end} symbols"
            )
        else:
            when = f"at symbol {step} of {end}" if step < end else f"at the last of {end} symbols"
        assert find(opened, ".when").text == when
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)
    labels = "return [...panels[0].labels]"
    assert opened.execute_script(labels) == answers


def test_one_that_reads_both_ways_answers_in_the_end_with_a_label(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "ends", step="2")
    best = LABELLERS["ends"][8][int(labels_by_torch("ends", "分ab")[-1].argmax())]
    assert find(opened, ".when").text == "after all 3 symbols, read from both ends"
    assert find(opened, "#now").text == f"2 of 3, symbol “a”; answers “{best}” in the end"
    assert not opened.find_elements(By.CSS_SELECTOR, "canvas[data-part=class_probabilities]")


def test_of_many_answers_the_likeliest_are_listed(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "many")
    expected = labels_by_torch("many", EXAMPLES["many"])
    for step in (7, 6, 5):
        best = expected[step - 1].topk(5).indices.tolist()
        rows = opened.find_elements(By.CSS_SELECTOR, ".likely [data-symbol]")
        assert [row.find_element(By.CSS_SELECTOR, ".name").text for row in rows] == [f"answer {k}" for k in best]
        shown = torch.tensor([float(row.get_attribute("data-probability")) for row in rows], dtype=torch.float64)
        torch.testing.assert_close(shown, expected[step - 1][best], rtol=0, atol=1e-5)
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)
    labels = opened.execute_script("return panels[0].labels")
    ever = expected.amax(0).topk(30).indices.sort().values.tolist()
    assert labels == [f"answer {k}" for k in ever]
    set_symbols(opened, "🂡 β", "B")
    change = labels_by_torch("many", "🂡 β")[-1] - expected[3]
    find(opened, "#step").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 3)
    rows = opened.find_elements(By.CSS_SELECTOR, ".answer[data-sequence=difference] [data-symbol]")
    assert [int(row.get_attribute("data-symbol")) for row in rows] == change.abs().topk(5).indices.tolist()


def test_pointing_at_a_symbol_shows_the_answer_there(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy")
    canvas = find(opened, "canvas[data-part=class_probabilities]")
    opened.execute_script("arguments[0].focus({focusVisible: true})", canvas)
    assert "Answer at every step, answer a, step 12 (symbol _)" in find(opened, "#tip").text
    cell = "point({panel: panels[0], step: 2, row: 4})"
    opened.execute_script(cell)
    expected = labels_by_torch("copy", EXAMPLES["copy"])[2]
    assert "answer _, step 3 (symbol d)" in find(opened, "#tip").text
    assert shown_value(opened) == pytest.approx(float(expected[4]), abs=6e-5)
    assert find(opened, ".when").text == "at symbol 3 of 12"
    torch.testing.assert_close(probabilities(opened), expected, rtol=0, atol=1e-5)


def test_two_sequences_of_symbols_are_compared(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy", a="ab__>", b="ba__>__", step="5")
    for which, text in (("A", "ab__>"), ("B", "ba__>__")):
        check_labels(opened, "copy", text, which=which)
        torch.testing.assert_close(probabilities(opened, which), labels_by_torch("copy", text)[4], rtol=0, atol=1e-5)
    change = (labels_by_torch("copy", "ba__>")[-1] - labels_by_torch("copy", "ab__>")[-1]) * 100
    most = int(change.abs().argmax())
    said = find(opened, ".answer[data-sequence=difference] .said").text.replace("−", "-").split()
    assert float(said[-3]) == pytest.approx(float(change[most]), abs=0.051)
    assert said[-2:] == ["answer", "abcd_"[most]]


def test_symbols_that_the_model_does_not_know_are_named(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy")
    for typed, message, valid in (
        ("abx€", "The model does not know “x” “€”; it knows abcd_>", EXAMPLES["copy"]),
        ("ab cd", "4 symbols; trained on 12 only.", "abcd"),
        ("", "Type at least one symbol.", "abcd"),
        ("a" * 301, "301 symbols; at most 300 are shown.", "abcd"),
        ("a", "1 symbol; trained on 12 only.", "a"),
        ("badc____>___", "12 symbols", "badc____>___"),
    ):
        set_symbols(opened, typed)
        assert find(opened, "#noteA").text == message
        wrong = len(typed) in (0, 301) or "x" in typed
        assert find(opened, "#symbolsA").get_attribute("aria-invalid") == str(wrong).lower()
        check_labels(opened, "copy", valid)
    for typed in ("ab_>_", "a b _ > _", "[a, b, _, >, _]", "ａｂ＿＞＿", "a，b、_，>，_"):  # all the same
        set_symbols(opened, typed)
        check_labels(opened, "copy", "ab_>_")
    set_symbols(opened, "abq", "B")
    assert find(opened, "#noteB").text == "The model does not know “q”; it knows abcd_>"
    find(opened, "#language").click()
    assert find(opened, "#noteB").text == "模型不认识 “q”；它认识 abcd_>"
    open_symbols(opened, symbols, "many")
    set_symbols(opened, "α\u3000🂡🂢 β")  # a space is a symbol of this one
    assert find(opened, "#noteA").text == "The model does not know “🂢”; it knows αβ␣🂡<&"


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["copy", "parity", "ends"])
def test_words_are_neutral(opened: webdriver.Chrome, symbols: Path, name: str, lang: str):
    open_page(opened, symbols, "#" + urlencode({"run": name, "lang": lang, "b": EXAMPLES[name][:3]}))
    said = find(opened, "body").text + "".join(
        str(node.get_attribute("aria-label")) for node in opened.find_elements(By.CSS_SELECTOR, ".page [aria-label]")
    )
    for word in {
        "en": ["digit", "character", "sum", "class ", "undefined"],
        "zh": ["数字", "字符", "之和", "undefined"],
    }[lang]:
        assert word not in said
    assert {"en": "reads symbols one at a time", "zh": "逐个读入符号"}[lang] in said


def test_symbols_in_chinese(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy", lang="zh", step="3")
    assert title_and_about(opened, "class_probabilities") == ("每一步的答案", "读入该步的符号后，各答案的概率")
    assert find(opened, ".when").text == "在第 3 个（共 12 个）符号处"
    assert scores_shown(opened) == "验证 89.1 % 最终训练困惑度 5.27 some <i> –"
    for own in ("w.symbols", "w.symbols.everyStep"):
        words = f"const w = WORDS[arguments[0]], own = {own}; return [own, own.parts].flatMap((e) => Object.keys(e))"
        assert opened.execute_script(words, "en") == opened.execute_script(words, "zh")


def test_what_belongs_to_digits_and_texts_alone_is_not_there(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy", b="ab")
    shown = {e: find(opened, f"#{e}").is_displayed() for e in ("symbolsA", "symbolsB", "length", "seed")}
    assert all(shown.values())
    for other in ("a", "b", "textA", "textB", "randomA", "randomB", "goOnA", "goOnB", "count"):
        assert not find(opened, f"#{other}").is_displayed()
    assert not opened.find_elements(By.CSS_SELECTOR, ".truth, .isTruth, [data-part=bits]")


def test_scores_of_any_kind(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy")
    assert scores_shown(opened) == "dev 89.1 % last train perplexity 5.27 some <i> –"
    choose(opened, "seed", "1")  # it has none
    assert scores_shown(opened) == "Training of this seed stopped: its loss was not finite. Weights of update 100."


@pytest.mark.parametrize(("name", "a", "b"), [("copy", "abba__>__", "bb__>"), ("many", "🂡 &<", "α&")])
def test_a_copied_link_holds_symbols(opened: webdriver.Chrome, symbols: Path, name: str, a: str, b: str):
    open_symbols(opened, symbols, name, lang="zh")
    choose(opened, "seed", "1")
    set_symbols(opened, a)
    set_symbols(opened, b, "B")
    find(opened, "#back").click()
    opened.execute_script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    find(opened, "#copy").click()
    WebDriverWait(opened, 5).until(lambda browser: browser.execute_script("return window.copied"))
    link, before = opened.execute_script("return window.copied"), all_answers(opened, "B")
    open_page(opened, symbols, "#" + link.partition("#")[2])
    fields = ("model", "seed", "symbolsA", "symbolsB", "step")
    restored = [find(opened, f"#{field}").get_attribute("value") for field in fields]
    assert restored == [name.upper(), "1", a, b, str(len(a) - 1)]
    assert find(opened, "h1").text == "门控浏览器"
    assert torch.equal(all_answers(opened, "B"), before)


def test_kinds_side_by_side(opened: webdriver.Chrome, folder: Path, texts: Path, monkeypatch: pytest.MonkeyPatch):
    """What is typed stays with its kind; a run with other symbols begins with its own example."""
    monkeypatch.chdir(folder)
    runs = explorer.export_study(folder / "outputs" / "small", [0], Complaints())
    runs += explorer.export_study(folder / "outputs" / "texts", [0], Complaints())[:1]
    page = texts.parents[1] / "kinds" / "explorer.html"
    write_page(page, [*runs, labelled("copy"), labelled("tags")])
    open_page(opened, page, query="?lang=en")
    text = str(runs[2]["label"])
    enter(opened, "a", "6701")
    choose(opened, "model", "COPY")
    assert find(opened, "#symbolsA").get_attribute("value") == EXAMPLES["copy"]
    choose(opened, "model", "TAGS")
    assert find(opened, "#symbolsA").get_attribute("value") == EXAMPLES["tags"]
    choose(opened, "model", text)
    assert find(opened, "#textA").get_attribute("value").startswith("The")
    choose(opened, "model", "COPY")
    assert "it knows abcd_>" in find(opened, "#noteA").text  # what was left in the field was for other symbols
    set_symbols(opened, "ab_>_")
    choose(opened, "model", "LSTM")
    check_probabilities(opened, load(folder, "lstm"), "6701")
    choose(opened, "model", "COPY")
    check_labels(opened, "copy", "ab_>_")


def test_a_cell_that_the_page_does_not_know_is_said(
    opened: webdriver.Chrome, folder: Path, texts: Path, symbols: Path, monkeypatch: pytest.MonkeyPatch
):
    open_symbols(opened, symbols, "copy")
    choose(opened, "model", "STRANGE")
    assert find(opened, "#message").text == "This page has no function for the cell Strange."
    assert not find(opened, "#view").is_displayed()
    set_symbols(opened, "ab")
    for button in ("play", "back", "forward", "language", "copy"):
        opened.execute_script("arguments[0].click()", find(opened, f"#{button}"))
    choose(opened, "model", "COPY")
    assert not find(opened, "#message").is_displayed()
    monkeypatch.chdir(folder)
    (run, *_) = explorer.export_study(folder / "outputs" / "texts", [0], Complaints())
    run["layers"] = [[{**run["layers"][0][0], "cell": "Strange"}]]
    page = texts.parents[1] / "strange" / "explorer.html"
    (known, *_) = explorer.export_study(folder / "outputs" / "small", [0], Complaints())
    write_page(page, [run, known])
    open_page(opened, page, query="?lang=en")
    assert not find(opened, "#message").is_displayed()  # a page begins with what it can show
    write_page(page, [run])
    open_page(opened, page, query="?lang=en&again")
    assert find(opened, "#message").text == "This page has no function for the cell Strange."
    assert not find(opened, "#goOnA").is_enabled()


def test_long_sequences_of_symbols_are_shown_in_part(opened: webdriver.Chrome, symbols: Path):
    open_symbols(opened, symbols, "copy")
    assert opened.execute_script("return geometry(panels[1]).count") == 12
    set_symbols(opened, "ab" + "_" * 290 + ">___")
    places = opened.execute_script("return panels.map((panel) => geometry(panel))")
    assert places[1]["count"] < 296
    assert all(place["column"] >= 3 for place in places)
    assert all(place["first"] + place["count"] == 296 for place in places)  # the end is in view
    opened.execute_script("state.run.steps = 320")  # a model that was trained on longer ones is shown them
    set_symbols(opened, "ab" * 160)
    assert find(opened, "#noteA").text == "320 symbols"
    set_symbols(opened, "ab" * 160 + "c")
    assert find(opened, "#noteA").text == "321 symbols; at most 320 are shown."


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("name", ["copy", "tags", "many"])
def test_symbols_fit_any_screen(opened: webdriver.Chrome, symbols: Path, name: str, width: int):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        open_symbols(opened, symbols, name)
        fits(opened, width)
        set_symbols(opened, LABELLERS[name][7] * 40)
        fits(opened, width)
        set_symbols(opened, LABELLERS[name][7] * 30, "B")
        fits(opened, width)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- what is remembered: networks whose answer is known ---

DECAYS = [0.8, 0.5, 0.0, 1.0]  # a leak, a faster one, no memory at all, a latch that lets nothing in
WRITTEN = [1.0, 2.0, 4.0]  # what each symbol writes into every unit: to the two others it is 4, 3 and 5 away
SPREAD = {"a": 4, "b": 3, "c": 5}


def leaky(read_out: int | None) -> SequenceModel:
    """h_t = a h_(t-1) + (1 - a) w(x_t) in each unit; of five answers the first is 2 h of the unit that is read out."""
    model = SequenceModel(MinGRU, 1, len(WRITTEN), 5, False, 0, (len(DECAYS),), False, "zero")
    with torch.no_grad():
        model.cell.W[0, 1] = torch.tensor(WRITTEN)[:, None]
        model.cell.b[0, 0] = (1 - torch.tensor(DECAYS)).logit().nan_to_num(posinf=1000, neginf=-1000)
        if read_out is not None:
            model.head_weight[0, read_out, 0] = 2
    return model


def far() -> SequenceModel:
    """A network so large that what it recalls of 120 symbols is put off."""
    model = SequenceModel(KINDS["LSTM"], 1, 3, 2, True, 0, (256,), False, "zero")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture(scope="module")
def known(folder: Path) -> Path:
    """The page of these networks, by the unit that the answer is read from."""
    networks = {"leak": leaky(0), "forgets": leaky(2), "nothing": leaky(None)}
    runs = [run_with(model, name, "abc", [*"vwxyz"], "abcabca", {}) for name, model in networks.items()]
    runs.append(run_with(far(), "far", "abc", ["no", "yes"], "abc" * 40, {"variant": "none"}))
    path = folder / "images" / "known" / "explorer.html"
    write_page(path, runs)
    return path


@pytest.mark.parametrize("step", [7, 4])
def test_recall_and_retention_of_a_leak_are_powers_of_its_decay(opened: webdriver.Chrome, known: Path, step: int):
    text = "cabbage".translate(str.maketrans("ge", "bc"))  # cabbabc
    open_symbols(opened, known, "leak", a=text, step=str(step))
    panels, since = panels_shown(opened), torch.arange(step - 1, -1, -1, dtype=torch.float64)
    strengths = torch.tensor([SPREAD[c] for c in text[:step]]) * 0.8**since
    beyond = torch.zeros(len(text) - step, dtype=torch.float64)  # not read by then
    expected = torch.cat([strengths / strengths.sum(), beyond])
    torch.testing.assert_close(panels["recall_density"][:, 0], expected, rtol=1e-6, atol=1e-12)
    left = torch.tensor(DECAYS, dtype=torch.float64) ** since[:, None]  # 0 ** 0 = 1: of the last step all is there
    left = torch.cat([left, beyond[:, None].expand(-1, len(DECAYS))])
    torch.testing.assert_close(panels["retention"], left, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(panels["mean_retention"], left.mean(1, keepdim=True), rtol=1e-6, atol=1e-12)


def test_what_has_no_memory_recalls_the_last_symbol_alone(opened: webdriver.Chrome, known: Path):
    open_symbols(opened, known, "forgets", a="cab")
    assert panels_shown(opened)["recall_density"][:, 0].tolist() == [0, 0, 1]
    open_symbols(opened, known, "nothing", a="cab")  # an answer that depends on nothing has no density
    assert panels_shown(opened)["recall_density"][:, 0].tolist() == [0, 0, 0]


def test_bars_say_their_numbers(opened: webdriver.Chrome, known: Path):
    open_symbols(opened, known, "leak", a="cab", b="caa")
    for which, last in (("A", 3), ("B", 4)):
        strengths = torch.tensor([5 * 0.64, 4 * 0.8, last], dtype=torch.float64)
        shown = panels_shown(opened, which)["recall_density"][:, 0]
        torch.testing.assert_close(shown, strengths / strengths.sum(), rtol=1e-6, atol=0)
    assert opened.execute_script("return panels.find((p) => p.part === 'recall_density').limits") == [0, 0.39]  # 4/10.4
    canvas = find(opened, "canvas[data-part=recall_density][data-which=difference]")
    assert canvas.get_attribute("aria-label").startswith("Recall density, B − A: 3 steps by 1 row.")
    opened.execute_script("arguments[0].focus({focusVisible: true})", canvas)
    for step, values in ((3, (3 / 9.4, 4 / 10.4, 4 / 10.4 - 3 / 9.4)), (2, (0.5, 0.5, 0)), (1, (1, 1, 0))):
        assert find(opened, "#tip").text.startswith(f"Recall density, step {step} (symbol ")
        for place, expected in enumerate(values):
            assert shown_value(opened, place) == pytest.approx(expected, abs=6e-5)
        ActionChains(opened).send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN).perform()
    mean = find(opened, "canvas[data-part=mean_retention][data-which=A]")
    opened.execute_script(
        "goTo(3); arguments[0].focus({focusVisible: true}); point({panel: arguments[0].panel, step: 0, row: 0})", mean
    )
    assert find(opened, "#tip").text.startswith("Mean retention, step 1 (symbol c)")
    assert shown_value(opened) == pytest.approx((0.64 + 0.25 + 0 + 1) / 4, abs=6e-5)


def test_a_cell_without_a_gate_that_keeps_shows_no_retention(opened: webdriver.Chrome, networks: Path):
    for network in ({"model": "srn"}, {"model": "residual_srn"}, {"model": "lstm", "model.variant": "no_forget_gate"}):
        open_page(opened, networks, "#" + urlencode({"run": name_of({**network, "model.hidden_size": "[6]"})}))
        assert find(opened, ".part[data-part=recall_density]").is_displayed()
        assert not opened.find_elements(By.CSS_SELECTOR, ".part[data-part$=retention]")


def test_what_takes_long_comes_later(opened: webdriver.Chrome, known: Path):
    """Nothing that is typed waits for it, and what is pointed at meanwhile stays."""
    open_symbols(opened, known, "far")
    set_symbols(opened, "ab")
    check_memory(panels_shown(opened), far(), [0, 1], 2)
    opened.execute_script("point({panel: panels.find((p) => p.part === 'forget_gate'), step: 1, row: 3})")
    text = "cabb" * 30
    script = """
        arguments[0].value = arguments[1];
        arguments[0].dispatchEvent(new Event("input"));
        const panel = panels.find((p) => p.part === "recall_density");
        point({panel, step: 2, row: 0});
        return [panel.values.every(([x]) => Number.isNaN(x)), byId("tip").textContent]"""
    is_put_off, said = opened.execute_script(script, find(opened, "#symbolsA"), text)
    assert is_put_off
    assert said.endswith("A …")
    there = "return panels.every((panel) => !panel.values.flat().some(Number.isNaN))"
    WebDriverWait(opened, 20).until(lambda browser: browser.execute_script(there))
    assert find(opened, "#tip").text.startswith("Recall density, step 3 (symbol b)")
    assert shown_value(opened) == pytest.approx(float(panels_shown(opened)["recall_density"][2]), abs=6e-5)
    check_memory(panels_shown(opened), far(), ["abc".index(c) for c in text], len(text))
