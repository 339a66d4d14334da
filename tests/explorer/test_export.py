"""The page is tested in a real browser without a screen, from disk, against torch's numbers."""

import copy
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import torch
from omegaconf import OmegaConf
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from test_config import composed

from memexp import CONF_DIR, experiment
from memexp.config import choices
from memexp.errors import Complaints
from memexp.experiment import build_model, build_task
from memexp.explorer import export as explorer
from memexp.gates import command as gates
from memexp.models.cells import LSTM
from memexp.models.networks import SequenceClassifier
from memexp.tasks.text.writing import go_on
from memexp.training import checkpoints

MODELS = pytest.mark.parametrize("name", ["srn", "lstm"])

#: The sweeps of the study of small networks, key -> values: every model, every variant, stacked and bidirectional ones.
GRIDS = [
    {"model": choices("model"), "model.hidden_size": ["[6]"]},
    {"model": ["lstm"], "model.hidden_size": ["[6]"], "model.variant": [v for v in LSTM.VARIANTS if v != "none"]},
    {"model": ["gru"], "model.hidden_size": ["[6]"], "model.reset_after": ["True"]},
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
    "epochs": "30", "lr": "0.1", "seeds": "2", "task": "char_lm", "task.max_chars": "3000", "task.prefixes": "[The]"
}  # fmt: skip
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1600,1000"
)


def explore(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memexp.explorer", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study of SRN and LSTM, three seeds each; the test of damage copies it."""
    folder = tmp_path_factory.mktemp("explorer")
    train(folder, "study=small", "length=4", "model=srn,lstm", "epochs=1", "seeds=3", "lr=0.05")
    return folder


def train(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "memexp", "-m", "hydra/launcher=basic", "images_dir=null", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)


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


def name_of(network: dict[str, str], shared: dict[str, str] = SHARED) -> str:
    settings = {**network, **shared}
    return ",".join(f"{key}={settings[key]}" for key in sorted(settings))


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    done = explore(folder, "study=small")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("written: images/small/explorer.html, 0.")
    assert "2 runs, 4 seeds" in done.stdout
    return folder / "images" / "small" / "explorer.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.fail("the explorer is tested in a browser: install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
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


def run_of(folder: Path, name: str) -> Path:
    (run,) = folder.glob(f"outputs/small/*model={name}*")
    return run


def load(folder: Path, name: str) -> SequenceClassifier:
    return load_folder(folder, run_of(folder, name))


def load_folder(folder: Path, run: Path) -> SequenceClassifier:
    config = OmegaConf.create(json.loads((run / "summary.json").read_text())["config"])
    config.datasets_dir = str(folder / "datasets")
    model = build_model(config, build_task(config))
    model.load_state_dict(checkpoints.load(run / "best.pt", "weights")["weights"])
    return model


def by_torch(model: SequenceClassifier, digits: str, seed: int) -> torch.Tensor:
    tokens = torch.tensor([[[int(digit) for digit in digits]]])
    with torch.no_grad():
        return model(tokens)[seed, 0].double().softmax(-1)


def check_probabilities(
    browser: webdriver.Chrome, model: SequenceClassifier, digits: str, seed: int = 0, which: str = "A"
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
    model = load_folder(folder, folder / "outputs" / "networks" / name_of(network))
    both = network.get("model.bidirectional") == "True"
    for typed in ("6", "6701", "0987654321"):
        enter(opened, "a", typed)
        check_probabilities(opened, model, typed)
        trace = model.trace(torch.tensor([[[int(digit) for digit in typed]]]))
        script = "return panels.map((panel) => [panel.part, panel.values.map((row) => [...row])])"
        panels = opened.execute_script(script)
        assert [name for name, _ in panels] == [*["class_probabilities"][both:], *trace]
        for (_, values), part in zip(panels[not both :], trace.values(), strict=True):
            torch.testing.assert_close(torch.tensor(values), part[0, 0], rtol=0, atol=1e-5)
    for step in (9, 8):
        find(opened, "#step").send_keys(Keys.ARROW_LEFT)
        check_probabilities(opened, model, typed if both else typed[:step])


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
    assert [canvas.get_attribute("data-part") for canvas in canvases] == ["class_probabilities", *trace]
    for canvas, values in zip(canvases[1:], trace.values(), strict=True):
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        # Step 2 of 10, and unit 20 of 32, by mouse.
        box = canvas.rect
        right, down = 26 + (box["width"] - 28) * 1.5 / 10, 6 + (box["height"] - 26) * 20.5 / 32
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
    assert len(opened.find_elements(By.CSS_SELECTOR, "canvas")) == 7


def test_state_scales_are_symmetric_and_never_clip(opened: webdriver.Chrome, folder: Path):
    largest = float(load(folder, "lstm").trace(torch.tensor([[[6, 7, 0, 1]]]))["cell_state"][0].abs().max())
    enter(opened, "a", "6701")
    low, high = find(opened, ".scale[data-part=cell_state]").text.replace("−", "-").split()
    assert float(low) == -float(high)
    assert largest <= float(high) <= 1.1 * largest
    assert find(opened, ".scale[data-part=forget_gate]").text.split() == ["0", "1"]


def test_a_network_that_reads_both_ways_answers_in_the_end(opened: webdriver.Chrome, folder: Path, networks: Path):
    (network,) = [n for n in NETWORKS if n["model"] == "lstm" and [*n.values()][-2:] == ["True", "learned"]]
    model = load_folder(folder, folder / "outputs" / "networks" / name_of(network))
    open_page(opened, networks, "#" + urlencode({"run": name_of(network), "a": "6701", "b": "170", "step": "2"}))
    for which, digits in (("A", "6701"), ("B", "170")):
        check_probabilities(opened, model, digits, which=which)
        assert find(opened, f".answer[data-sequence={which}] .when").text == (
            f"after all {len(digits)} digits, read from both ends"
        )
    answers = " / ".join(str(int(by_torch(model, digits, 0).argmax())) for digits in ("6701", "170"))
    assert find(opened, "#now").text == f"2 of 4, digit 7; answers {answers} in the end"
    assert len(opened.find_elements(By.CSS_SELECTOR, "canvas")) == 3 * 2 * 2 * 6
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
    assert sum("GRU, hidden size (6,), reset after" in label for label in labels) == 1
    assert sum("LSTM, hidden size (3, 5), bidirectional, initial state learned" in label for label in labels) == 1
    assert sum("LSTM, hidden size (6,), peephole" in label for label in labels) == 1


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
    summary = json.loads((run_of(folder, "lstm") / "summary.json").read_text())
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


def test_every_model_has_its_cell_in_the_page(opened: webdriver.Chrome):
    cells = opened.execute_script("return Object.keys(CELLS)")
    targets = [str(OmegaConf.load(CONF_DIR / f"model/{name}.yaml")["_target_"]) for name in choices("model")]
    assert sorted(cells) == sorted(target.rpartition(".")[2] for target in targets)


def test_damaged_and_unfinished_runs_are_named_and_left_out(folder: Path, tmp_path: Path):
    shutil.copytree(folder / "outputs", tmp_path / "outputs")
    runs = {name: run_of(tmp_path, name) for name in ("srn", "lstm")}
    (runs["srn"] / "best.pt").write_bytes(b"half")
    done = explore(tmp_path, "study=small", "seeds=[0,7]", "output=page.html")
    assert done.returncode == 1  # the page is written, but not all that was asked for is in it
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert "best.pt is truncated" in lines[1] + lines[2]
    assert f"left out: small/{runs['lstm'].name} has no seed 7; it has 0, 1, 2" in lines
    assert [f'"seed":{seed},' in (tmp_path / "page.html").read_text() for seed in (0, 1)] == [True, False]
    (runs["lstm"] / "summary.json").unlink()
    done = explore(tmp_path, "study=small", "output=other.html")
    assert done.returncode == 1
    assert f"left out: small/{runs['lstm'].name}: not finished" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("memexp.explorer: outputs/small has no run to show")
    assert not (tmp_path / "other.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study=smal"], "study 'smal' does not exist (did you mean small?); there are: "),
        (["study=small", "outputs_dir=nowhere"], "nowhere has no study yet"),
        (["sudy=small"], "unknown key 'sudy' (did you mean study?)"),
        (["study=small", "seeds=[a]"], "seeds: 'a' is not a seed"),
        (["study=small", "seeds=x"], "seeds=x is not possible"),
        (["study=small", "seeds=[]"], "seeds=[] is empty"),
        (["study=small", "output=/dev/null/page.html"], "cannot write /dev/null/page.html: "),
        (["study=small", "seeds=[9]"], "has no run to show"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["memexp.explorer", *arguments])
    with pytest.raises(SystemExit) as stopped:
        explorer.main()
    text = str(stopped.value.code)  # what Python prints, with exit code 1
    assert text.startswith("memexp.explorer: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(("given", "seeds"), [(None, None), (2, [0, 1]), ([3, 1], [3, 1])])
def test_seeds_are_given_as_for_a_run(given: object, seeds: list[int] | None):
    assert explorer.read_seeds(given) == seeds


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["memexp.explorer", "--help"])
    with pytest.raises(SystemExit) as stopped:
        explorer.main()
    assert stopped.value.code == 0
    assert "seeds=null" in capsys.readouterr().out


def test_runs_are_labelled_by_what_differs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    study = tmp_path / "small"
    shutil.copytree(folder / "outputs" / "small", study)
    run = run_of(folder, "lstm")
    for name, initialiser in (("copy", "xavier"), ("other", "chrono")):
        shutil.copytree(run, study / name)
        summary = json.loads((study / name / "summary.json").read_text())
        summary["config"]["model"]["initialiser"] = initialiser
        (study / name / "summary.json").write_text(json.dumps(summary))
    labels = {r["name"]: r["label"] for r in explorer.export_study(study, None, Complaints())}
    assert labels == {
        run_of(folder, "srn").name: "SRN, xavier",
        run.name: f"LSTM, xavier ({run.name})",
        "copy": "LSTM, xavier (copy)",
        "other": "LSTM, chrono",
    }
    assert capsys.readouterr().err == ""


def test_seeds_that_stopped_or_are_not_finite(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    study = tmp_path / "small"
    run = study / "run"
    shutil.copytree(run_of(folder, "srn"), run)
    summary = json.loads((run / "summary.json").read_text())
    summary["seeds"][0] |= {"diverged_at": 3, "dev_accuracy": None, "test_accuracy": None, "exact_accuracy": None}
    (run / "summary.json").write_text(json.dumps(summary))
    content = checkpoints.load(run / "best.pt", "weights")
    content["weights"]["layers.0.0.cell.U"][1] = torch.nan
    checkpoints.save(run / "best.pt", content)
    (exported,) = explorer.export_study(study, None, Complaints())
    (seed,) = exported["seeds"]
    assert (seed["seed"], seed["dev"], seed["exact"]) == (0, None, None)
    assert "the weights of seed 1 are not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "prefixes", "begins"),
    [
        ("a sea.\n", "[]", " "),
        ("a sea.\n", r"['',a\n]", "a\n"),
        ("分开，不分开\n", "[]", "\n"),
        ("分开，不分开", "[]", "不"),
    ],
)
def test_a_language_model_is_shown_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, prefixes: str, begins: str
):
    monkeypatch.chdir(tmp_path)
    Path("own.txt").write_text(text * 300, encoding="utf-8")
    size = ("batch_size=4", "task.num_steps=9", "model=srn", "model.hidden_size=4", "seeds=2", "epochs=1")
    task = ("task=char_lm", "task.corpus=own.txt", "task.keep_newlines=true", f"task.prefixes={prefixes}")
    experiment.run(composed(*size, *task), Path("outputs/texts/run"))
    Path("own.txt").unlink()
    (exported,) = explorer.export_study(Path("outputs/texts"), None, Complaints())
    assert len(exported["seeds"]) == 2
    assert exported["vocabulary"] == "".join(sorted(set(text)))
    assert exported["opening"] == begins


def test_no_name_ends_the_script():
    text = explorer.page("</script><b>", [])
    assert "</script><b>" not in text
    assert explorer.DATA not in text


# --- texts ---

BASE = {"model": "lstm", "model.hidden_size": "[6]", "model.embedding_size": "0"}


def open_text(browser: webdriver.Chrome, texts: Path, network: dict[str, str] = BASE, **more: str) -> None:
    fragment = {"run": name_of(network, SHARED_BY_TEXTS), "lang": "en", **more}
    open_page(browser, texts, "#" + urlencode(fragment))
    assert not find(browser, "#message").is_displayed()


def load_text(folder: Path, network: dict[str, str] = BASE, seed: int = 0) -> tuple[SequenceClassifier, list[str]]:
    """The model of one seed, and its vocabulary."""
    folder = folder / "outputs" / "texts" / name_of(network, SHARED_BY_TEXTS)
    vocabulary = json.loads((folder / "summary.json").read_text())["vocabulary"]
    return gates.load_run(folder).best(seed), [*vocabulary]


def codes_of(text: str, vocabulary: list[str]) -> torch.Tensor:
    return torch.tensor([vocabulary.index(character) for character in text])


def written(model: SequenceClassifier, vocabulary: list[str], text: str, length: int) -> str:
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


def check_text(browser: webdriver.Chrome, model: SequenceClassifier, vocabulary: list[str], text: str) -> None:
    """Compare what the page says of a text with torch in float32 and in float64: answers, costs, all parts."""
    codes = codes_of(text, vocabulary)
    with torch.no_grad():
        for exact, precision in ((model, 1e-5), (copy.deepcopy(model).double(), 1e-11)):
            logs = exact(codes[None, None])[0, 0].double().log_softmax(-1)
            torch.testing.assert_close(all_answers(browser), logs.exp(), rtol=0, atol=precision)
            costs = -logs[range(len(text) - 1), codes[1:]] / math.log(2)
            torch.testing.assert_close(bits_shown(browser)[1:], costs, rtol=0, atol=10 * precision)
    trace = model.trace(codes[None, None])
    panels = browser.execute_script("return panels.map((panel) => [panel.part, panel.values.map((row) => [...row])])")
    assert [name for name, _ in panels] == ["bits", "class_probabilities", *trace]
    for (_, values), part in zip(panels[2:], trace.values(), strict=True):
        torch.testing.assert_close(torch.tensor(values), part[0, 0], rtol=1e-5, atol=1e-5)
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
        run["vocabulary"] = run["vocabulary"].replace(".", "\n")  # the same weights, another sign
    explorer.write(broken, explorer.page("lines", runs))
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
    record = folder / "outputs" / "texts" / name_of(BASE, SHARED_BY_TEXTS) / "summary.json"
    seed = json.loads(record.read_text())["seeds"][1]
    open_text(opened, texts, seed="1")
    text = find(opened, "#scores").text
    for split in ("train", "dev", "test"):
        assert f"{split} {seed[f'{split}_perplexity']:.2f}" in text
    assert f"({seed['test_bits']:.2f} bits per character)" in text


def test_language_models_are_labelled_by_what_differs(opened: webdriver.Chrome, texts: Path):
    open_text(opened, texts)
    labels = [option.text for option in Select(find(opened, "#model")).options]
    assert len(labels) == len(set(labels)) == len(WRITERS)
    assert "LSTM, embedding size 5, hidden size (6,)" in labels
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
    assert "LSTM" in labels
    (text, *_) = [label for label in labels if label.endswith(", text")]
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
    choose(opened, "model", "LSTM")
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
