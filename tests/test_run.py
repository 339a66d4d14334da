"""End to end: real runs through the command line, in a temporary folder."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers import CommandLine

from memexp.results import claims, record

pytestmark = pytest.mark.slow

TINY = ("epochs=2", "seeds=2", "images_dir=null")


def run_folder(tmp_path: Path, name: str, study: str = "book") -> Path:
    return tmp_path / "outputs" / study / name


def same_record(one: Path, other: Path) -> None:
    """Two run folders hold the same results, bit for bit; times may differ."""
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    ours, theirs = (torch.load(f / "best.pt", weights_only=True)["weights"] for f in (one, other))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    assert (
        json.loads((one / "summary.json").read_text())["seeds"]
        == json.loads((other / "summary.json").read_text())["seeds"]
    )


# --- one run ---


def test_one_run_leaves_its_record_and_is_then_skipped(memexp: CommandLine, tmp_path: Path):
    result = memexp("length=5", *TINY)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    folder = run_folder(tmp_path, "epochs=2,length=5,model=lstm,seeds=2")
    assert {p.name for p in folder.iterdir()} == {
        ".hydra", ".lock", "best.pt", "config.json", "history.csv", "last.pt", "memexp.log", "summary.json",
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "datasets" / "5").iterdir()) == ["dev.txt", "test.txt", "train.txt"]

    history = pd.read_csv(folder / "history.csv")
    assert list(history) == ["iteration", "seed", "split", "name", "value"]
    assert sorted(history["iteration"].unique()) == [0, 76]
    assert len(history) == 2 * 2 * 2 * 2  # updates x seeds x splits x names

    summary = json.loads((folder / "summary.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert config["format"] == summary["format"] == 2
    assert config["data"]
    assert "_target_" not in config["task"] | config["model"]  # where a class is does not make it another run
    assert summary["updates"] == 76
    assert summary["parameters"] == 10 * 32 + 4 * (2 * 32 * 32 + 32) + 32 * 19 + 19
    assert summary["state_size"] == 64
    assert summary["about"]["exact_over"] == "all 2800 inputs"
    assert summary["about"]["target_entropy_bits"] == pytest.approx(4.0306, abs=1e-4)
    assert summary["about"]["chance_accuracy"] == pytest.approx(0.1)
    assert summary["floors"]["accuracy"] == {"always the likeliest answer": summary["about"]["chance_accuracy"]}
    assert (summary["title"], summary["trained_on"]) == ("LSTM", "length 5")
    assert summary["interface"] == {"inputs": 10, "outputs": 19, "every_step": False, "longest": 5}
    assert summary["shown"] == {"dev_accuracy": True, "test_accuracy": True, "exact_accuracy": True}
    for seed in summary["seeds"]:
        right = summary["test_right"][str(seed["seed"])]
        assert len(right) == 100
        assert right.count("1") / 100 == pytest.approx(seed["test_accuracy"])
        bits = summary["about"]["target_entropy_bits"] - seed["exact_loss"] / 0.6931471805599453
        assert seed["retained_bits"] == pytest.approx(bits)

    assert "mean over 2 seeds" in result.stdout
    assert "2 seeds, 76 updates, 9267 parameters a seed, on cpu" in (folder / "memexp.log").read_text()
    again = memexp("length=5", *TINY)
    assert again.returncode == 0
    assert "is complete already: skipped" in again.stdout


def test_whoever_reads_the_output_may_go(tmp_path: Path):
    command = f"{sys.executable} -m memexp length=4 {' '.join(TINY)} | head -n 1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("lstm trains on length 4: ")
    assert done.stdout.count("\n") == 1
    assert "cannot write" not in done.stderr


def test_the_best_score_on_dev_is_that_of_the_history(memexp: CommandLine, tmp_path: Path):
    assert memexp("length=4", "epochs=6", "seeds=[5,1]", "lr=0.01", "eval_steps=10").returncode == 0
    folder = run_folder(tmp_path, "epochs=6,eval_steps=10,length=4,lr=0.01,model=lstm,seeds=[5,1]")
    history = pd.read_csv(folder / "history.csv").query("split == 'dev' and name == 'accuracy'")
    for seed in json.loads((folder / "summary.json").read_text())["seeds"]:
        own = history[history["seed"] == seed["seed"]]
        assert seed["dev_accuracy"] == pytest.approx(own["value"].max())
        assert seed["best_iteration"] == own.loc[own["value"].idxmax(), "iteration"]


# --- a sweep ---


def test_a_sweep_runs_both_models_and_closes_with_one_table(memexp: CommandLine, tmp_path: Path):
    result = memexp("-m", "length=4,5", *TINY)
    assert result.returncode == 0, result.stderr
    assert "4 of 4 runs to do" in result.stdout
    assert "[4/4]" in result.stdout
    lines = [line.split()[:4] for line in result.stdout.splitlines()]
    for model, parameters in (("lstm", "9267"), ("srn", "3027")):
        for length in ("4", "5"):
            assert [model, length, parameters, "2"] in lines
    table = pd.read_csv(tmp_path / "outputs" / "book" / "results.csv")
    assert len(table) == 8
    assert set(table["model.name"]) == {"srn", "lstm"}

    grown = memexp("-m", "length=4,5,6", *TINY, "model=srn", "hydra/launcher=basic")
    assert grown.returncode == 0
    assert grown.stdout.count("skipped, complete already") == 2
    assert "1 of 3 runs to do" in grown.stdout


def test_a_run_that_cannot_be_does_not_harm_the_others(memexp: CommandLine, tmp_path: Path):
    (tmp_path / "datasets" / "6").mkdir(parents=True)
    (tmp_path / "datasets" / "6" / "dev.txt").write_text("1 2 3 0 0 0\t3\n1 2 3 0 0\t3\n")
    result = memexp("-m", "length=4,2,ten,6", "model=srn,gruu", *TINY, "hydra/launcher=basic")
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert run_folder(tmp_path, "epochs=2,length=4,model=srn,seeds=2").joinpath("summary.json").exists()
    assert "7 of 8 runs are not complete" in result.stdout
    for complaint in (
        "length=2 is too small; it must be at least 3",
        "length=ten is not a whole number",
        "model=gruu is unknown (did you mean gru?); allowed: diagonal, gru, ",
        "dev.txt, line 2: 5 digits, but length is 6",
    ):
        assert complaint in result.stdout


def test_the_launchers_agree(memexp: CommandLine, tmp_path: Path):
    side_by_side = memexp("-m", "length=4", "model=srn", *TINY, "study=joblib")
    in_turn = memexp("-m", "length=4", "model=srn", *TINY, "study=basic", "hydra/launcher=basic")
    alone = memexp("length=4", "model=srn", *TINY, "study=alone")
    assert [r.returncode for r in (side_by_side, in_turn, alone)] == [0, 0, 0]
    name = "epochs=2,length=4,model=srn,seeds=2"
    for study in ("basic", "alone"):
        same_record(run_folder(tmp_path, name, "joblib"), run_folder(tmp_path, name, study))


# --- what goes wrong ---


def test_a_mistake_is_one_line_and_leaves_nothing(memexp: CommandLine, tmp_path: Path):
    result = memexp("length=2")
    assert result.returncode == 1
    assert result.stderr == "memexp: length=2 is too small; it must be at least 3\n"
    assert not (tmp_path / "outputs").exists()


def test_a_folder_of_another_run_is_not_touched(memexp: CommandLine, tmp_path: Path):
    assert memexp("length=4", *TINY).returncode == 0
    folder = run_folder(tmp_path, "epochs=2,length=4,model=lstm,seeds=2")
    before = {name: (folder / name).read_bytes() for name in ("summary.json", "memexp.log", ".hydra/config.yaml")}
    config = json.loads((folder / "config.json").read_text())
    record.write_json(folder / "config.json", {**config, "lr": 0.5})
    result = memexp("length=4", *TINY)
    assert result.returncode == 1
    assert "holds another run: lr is 0.5 there, 0.001 now" in result.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not (folder / "failure.txt").exists()


def test_a_folder_that_an_older_version_wrote_is_not_touched(memexp: CommandLine, tmp_path: Path):
    folder = run_folder(tmp_path, "epochs=2,length=4,model=lstm,seeds=2")
    folder.mkdir(parents=True)
    old = {
        "length": 4,
        "task": {"_target_": "memexp.tasks.digit_sum.DigitSum", "name": "digit_sum"},
        "model": {"_target_": "memexp.models.LSTM", "name": "lstm"},
        "seeds": [0, 1],
    }
    (folder / "config.json").write_text(json.dumps(old))
    (folder / "summary.json").write_text(json.dumps({"config": old, "seeds": []}))
    result = memexp("length=4", *TINY)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "was written by memexp 0.1; carry it over with: python -m memexp.migrate outputs_dir=" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "summary.json"]
    assert json.loads((folder / "config.json").read_text()) == old


def test_changed_data_files_are_noticed(memexp: CommandLine, tmp_path: Path):
    assert memexp("length=4", *TINY).returncode == 0
    (tmp_path / "datasets" / "4" / "dev.txt").write_text("1 2 3 0\t3\n")
    result = memexp("length=4", *TINY)
    assert result.returncode == 1
    assert "was trained on other data or in another order" in result.stderr
    result = memexp("-m", "length=4", "model=lstm", *TINY, "hydra/launcher=basic")
    assert result.returncode == 1
    assert "was trained on other data or in another order" in result.stdout


def test_seeds_whose_loss_is_not_finite_are_named(memexp: CommandLine, tmp_path: Path):
    result = memexp("length=4", "lr=1e38", *TINY, "model=srn")
    assert result.returncode == 1
    assert "seed 0 stopped: the loss of update" in result.stdout
    summary = json.loads(
        (run_folder(tmp_path, "epochs=2,length=4,lr=1e38,model=srn,seeds=2") / "summary.json").read_text()
    )
    assert all(seed["diverged_at"] > 0 and seed["exact_accuracy"] is None for seed in summary["seeds"])


def test_a_full_disk_keeps_the_earlier_checkpoint(memexp: CommandLine, tmp_path: Path):
    """A limit on the size of files stands for a full disk; it lets the first checkpoints through, not all of them."""
    # compiled code could not be read under that limit, and would be made anew
    small = ("length=4", "model=srn", "model.hidden_size=4", "epochs=3", "seeds=3", "engine=torch", "images_dir=null")
    arguments = (*small, "log_steps=1", "gradient_norms=true")
    name = "engine=torch,epochs=3,gradient_norms=true,length=4,log_steps=1,model=srn,model.hidden_size=4,seeds=3"
    # the history grows by 900 bytes an update and reaches the limit; a checkpoint has about 40 kB
    limit = 75_000
    result = subprocess.run(
        [sys.executable, "-m", "memexp", *arguments, "checkpoint_seconds=0"],
        cwd=tmp_path, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr
    assert "give the same command to go on" in result.stderr
    folder = run_folder(tmp_path, name)
    assert torch.load(folder / "last.pt", weights_only=True)["training"]["iteration"] > 50
    assert not list(folder.glob(".*.pt.*"))
    result = memexp(*arguments)
    assert result.returncode == 0, result.stderr
    assert "going on after update" in result.stdout
    other = tmp_path / "whole"
    assert memexp(*arguments, f"outputs_dir={other}").returncode == 0
    same_record(folder, other / "book" / name)


def test_a_truncated_checkpoint_is_named(memexp: CommandLine, tmp_path: Path):
    assert memexp("length=4", *TINY).returncode == 0
    folder = run_folder(tmp_path, "epochs=2,length=4,model=lstm,seeds=2")
    (folder / "summary.json").unlink()
    (folder / "last.pt").write_bytes((folder / "last.pt").read_bytes()[:1000])
    result = memexp("length=4", *TINY)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "last.pt is truncated or not a checkpoint" in result.stderr


# --- going on ---

LONGER = ("length=4", "epochs=20", "seeds=2", "model=srn", "checkpoint_seconds=0.01", "eval_steps=30", "log_steps=50")
NAME = "epochs=20,eval_steps=30,length=4,log_steps=50,model=srn,seeds=2"


def start(tmp_path: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "memexp", *arguments]
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def listen() -> None:  # to Ctrl-C, which a shell turns off for what it starts in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, cwd=tmp_path, text=True, preexec_fn=listen, **options)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.005)


def test_ctrl_c_says_how_to_go_on(memexp: CommandLine, tmp_path: Path):
    # long enough to be met while it trains
    arguments = (*LONGER, "epochs=60", "checkpoint_seconds=0.1")
    name = NAME.replace("epochs=20", "epochs=60")
    assert memexp(*arguments, "study=whole").returncode == 0
    folder = run_folder(tmp_path, name)
    process = start(tmp_path, *arguments)
    wait_for(folder / "last.pt", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in output
    assert "Traceback" not in errors
    result = memexp(*arguments)
    assert result.returncode == 0
    assert "going on after update" in result.stdout
    same_record(folder, run_folder(tmp_path, name, "whole"))


def test_a_checkpoint_of_another_run_is_refused(memexp: CommandLine, tmp_path: Path):
    assert memexp("length=4", *TINY).returncode == 0
    assert memexp("length=4", *TINY, "lr=0.5").returncode == 0
    folder = run_folder(tmp_path, "epochs=2,length=4,model=lstm,seeds=2")
    (folder / "summary.json").unlink()
    shutil.copy(run_folder(tmp_path, "epochs=2,length=4,lr=0.5,model=lstm,seeds=2") / "last.pt", folder)
    result = memexp("length=4", *TINY)
    assert result.returncode == 1
    assert "last.pt is of another run; move it away" in result.stderr


def test_ctrl_c_in_a_sweep_says_how_to_go_on(memexp: CommandLine, tmp_path: Path):
    arguments = ("-m", "length=4,5", "model=srn", "seeds=2", "epochs=2000")
    process = start(tmp_path, *arguments)
    wait_for(run_folder(tmp_path, "epochs=2000,length=4,model=srn,seeds=2") / "progress", process)
    process.send_signal(signal.SIGINT)  # to the sweep alone; a terminal sends it to the workers as well
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; 2 of 2 runs are left: the same command goes on where they were" in output
    assert "Traceback" not in errors


def in_group(group: int) -> list[str]:
    """List the processes of a group that are not over."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()]
    return [rest[0] for number, state, *rest in lines if int(number) == group and not state.startswith("Z")]


def end_of_group(group: int) -> list[str]:
    """Wait for the end of all processes of a group, for ten seconds; return those that go on."""
    for _ in range(50):
        if not in_group(group):
            return []
        time.sleep(0.2)
    return in_group(group)


ENDLESS = ("-m", "length=4,5,6", "model=srn", "seeds=2", "epochs=100000", "images_dir=null")


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5, 1.0, 2.0])
def test_ctrl_c_while_a_sweep_begins_is_one_line_and_ends_all(tmp_path: Path, delay: float):
    """As a terminal sends it: to the workers too, whatever they are importing."""
    process = start(tmp_path, *ENDLESS, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("3 of 3 runs to do")  # the workers are started now
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (output, errors) in (
        ("\ninterrupted; 3 of 3 runs are left: the same command goes on where they were\n", ""),
        ("", "interrupted; the same command goes on from here\n"),  # just before the workers are started
    )
    assert end_of_group(process.pid) == []


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
@pytest.mark.parametrize("delay", [0.5, 1.0, 6.0])
def test_the_workers_of_a_killed_sweep_end(tmp_path: Path, delay: float):
    """They are left without a parent, while they import or while they train; the folders are free then."""
    process = start(tmp_path, *ENDLESS, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert end_of_group(process.pid) == []
    assert not list(tmp_path.glob("outputs/book/*/summary.json"))
    for folder in tmp_path.glob("outputs/book/*/"):
        with claims.hold(folder):
            assert (folder / "last.pt").exists() or not (folder / "progress").exists()


def test_two_processes_cannot_write_one_run(memexp: CommandLine, tmp_path: Path):
    arguments = ("length=4", "model=srn", "seeds=2", "epochs=2000", "checkpoint_seconds=0.1")
    process = start(tmp_path, *arguments)
    wait_for(run_folder(tmp_path, "epochs=2000,length=4,model=srn,seeds=2") / "last.pt", process)
    second = memexp(*arguments)
    process.kill()
    process.communicate()
    assert second.returncode == 1
    assert f"is being written by process {process.pid} on " in second.stderr


def test_killed_at_random_moments_it_goes_on_bit_for_bit(memexp: CommandLine, tmp_path: Path):
    """kill -9, twelve times: the result is that of an uninterrupted run.

    The process that is killed is forked from one that has loaded torch and the compiled cells: starting costs nothing.
    """
    assert memexp(*LONGER, "study=whole").returncode == 0
    whole, folder = run_folder(tmp_path, NAME, "whole"), run_folder(tmp_path, NAME)
    folder.mkdir(parents=True)
    draw = random.Random(0)
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from hydra import compose, initialize_config_dir\n"
        "from memexp import CONF_DIR, experiment\n"
        "from memexp.compiled import cache\n"
        "from memexp.config import check\n"
        "cache.why_not()\n"
        "with initialize_config_dir(str(CONF_DIR), version_base='1.3'):\n"
        "    config = check(compose('config', sys.argv[2:]))\n"
        "last = Path(sys.argv[1], 'last.pt')\n"
        "def written(): return last.stat().st_mtime_ns if last.exists() else 0\n"
        "for line in sys.stdin:\n"
        "    before, child = written(), os.fork()\n"
        "    if child == 0:\n"
        "        experiment.run(config, Path(sys.argv[1]))\n"
        "        os._exit(0)\n"
        "    anywhere, delay = map(float, line.split())\n"
        "    alive = lambda: os.waitpid(child, os.WNOHANG) == (0, 0)\n"
        "    while not anywhere and written() == before and alive(): time.sleep(0.001)\n"
        "    time.sleep(delay)\n"
        "    try:\n"
        "        os.kill(child, 9)\n"
        "        print('killed' if os.waitpid(child, 0)[1] == 9 else 'ended', flush=True)\n"
        "    except ProcessLookupError: print('ended', flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *LONGER],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    positions, kills, tries = [], 0, 0
    while kills < 12:
        tries += 1
        assert tries < 60
        if (folder / "summary.json").exists():  # it got through: start over, there are kills left
            same_record(folder, whole)
            shutil.rmtree(folder)
            folder.mkdir()
        # every fourth anywhere, while starting perhaps; the others once it has got further than the one before
        parent.stdin.write(f"{tries % 4 == 0:d} {draw.uniform(0, 0.2)}\n")
        parent.stdin.flush()
        kills += parent.stdout.readline() == "killed\n"
        if (folder / "last.pt").exists():
            positions.append(torch.load(folder / "last.pt", weights_only=True)["training"]["iteration"])
    parent.communicate()
    assert len(set(positions)) > 3  # it was killed at different places, and went on
    result = memexp(*LONGER)
    assert result.returncode == 0, result.stderr
    same_record(folder, whole)
    assert not list(folder.glob(".*.pt.*"))


# --- as installed ---


def test_the_console_script_runs_from_anywhere(tmp_path: Path):
    script = Path(sys.executable).parent / "memexp"
    result = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0
    assert "A sweep" in result.stdout


def test_a_wheel_brings_all_its_modules_and_its_conf(tmp_path: Path):
    """Built and unpacked elsewhere, without the checkout in sight. torch trains: the cells would be compiled anew."""
    checkout, site = Path(__file__).resolve().parent.parent, tmp_path / "site"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    shutil.unpack_archive(wheel, site, "zip")
    for package in ("memexp", "hydra_plugins"):
        modules = {path.relative_to(checkout) for path in (checkout / package).rglob("*.py")}
        assert modules == {path.relative_to(site) for path in (site / package).rglob("*.py")}
    assert (site / "memexp" / "same.json").is_file()
    (tmp_path / "work").mkdir()
    code = "import memexp; print(memexp.CONF_DIR); from memexp.app import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "length=4", "engine=torch", *TINY],
        cwd=tmp_path / "work",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(site / "memexp" / "conf"))
    assert (tmp_path / "work" / "outputs" / "book").is_dir()
