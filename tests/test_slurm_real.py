"""hydra/launcher=slurm on a real Slurm of one node, see `cluster`: ``pytest -m slurm``.

The runs are real ones, only slowed down until what is to happen to them has happened, in their middle, on every
machine. Where Slurm is not installed or does not start the tests are skipped, but where MEMEXP_REQUIRE_SLURM=1
is set: there they fail.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from cluster import Cluster, NoClusterError, running, until

from memexp.progress import PROGRESS
from memexp.results import record
from memexp.training import checkpoints

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SLOWED = '''
import time
from pathlib import Path

from memexp.tasks.digit_sum import DigitSum


class Slowed(DigitSum):
    """Digit sums; each batch takes its time while there is a file "slow" here."""

    def batch(self, iteration):
        if Path("slow").exists():
            time.sleep(0.4)
        return super().batch(iteration)
'''
CONF = """
# @package _global_
defaults: [digit_sum, _self_]
task: {_target_: slowed.Slowed, name: slowed}
"""
SLURM = ("hydra/launcher=slurm", "hydra.launcher.partition=short")
UPDATES = 6 * 38  # epochs times batches of 8 in 300 rows


class Sweep:
    """A sweep over the lengths 4 and 5 in a process of its own; over both models too, where none is given."""

    def __init__(self, folder: Path, *arguments: str, slow: bool = False, cluster: Cluster | None = None) -> None:
        (folder / "conf" / "task").mkdir(parents=True, exist_ok=True)
        (folder / "conf" / "task" / "slowed.yaml").write_text(CONF.lstrip())
        (folder / "slowed.py").write_text(SLOWED)
        self._study, self._output, self._slow = folder / "outputs" / "book", folder / "output.txt", folder / "slow"
        if slow:
            self._slow.touch()
        command = [sys.executable, "-m", "memexp", "--config-dir=conf", "-m", "task=slowed", "length=4,5", "seeds=2"]
        # On torch: compiled, a run would be over before what is done to it in its middle comes to it.
        command += ["engine=torch", "epochs=6", "eval_steps=20", "log_steps=20", "images_dir=null", *arguments]
        environment = cluster.environment if cluster else None
        with self._output.open("w") as output:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)

    @property
    def printed(self) -> str:
        return self._output.read_text()

    @property
    def runs(self) -> list[Path]:
        """The folders of the runs that have begun."""
        return sorted(config.parent for config in self._study.glob(f"*/{record.CONFIG}"))

    def gone_on(self) -> dict[str, list[int]]:
        """Return after which updates each run has gone on, so far."""
        logs = {run.name: (run / "memexp.log").read_text() for run in self.runs}
        return {name: [int(n) for n in re.findall(r"going on after update (\d+)", log)] for name, log in logs.items()}

    def code(self) -> int:
        """Let the runs go at full speed, and wait for the end; return the exit code."""
        self._slow.unlink(missing_ok=True)
        return self.process.wait(120)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def until_all_have(self, file: str, runs: int) -> None:
        def there() -> bool:
            assert self.process.poll() is None, self.printed
            return sum((run / file).exists() for run in self.runs) == runs

        until(there, f"{runs} runs have {file}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(running())
        except NoClusterError as error:
            if os.environ.get("MEMEXP_REQUIRE_SLURM") == "1":
                raise
            pytest.skip(str(error).splitlines()[0])
        yield cluster


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Start sweeps in the test's folder; none outlives the test."""
    started: list[Sweep] = []

    def start(*arguments: str, slow: bool = False) -> Sweep:
        started.append(Sweep(tmp_path, *arguments, slow=slow, cluster=cluster))
        return started[-1]

    yield start
    for sweep in started:
        sweep.kill()
    cluster.cancel()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Start the same four runs without Slurm."""
    sweep = Sweep(tmp_path_factory.mktemp("local"), "hydra/launcher=basic")
    yield sweep
    sweep.kill()


def assert_equal(runs: list[Path], local: Sweep) -> None:
    """Their history, weights and scores are those of the local runs, bit for bit."""
    assert local.code() == 0, local.printed
    assert len(local.runs) == 4
    there = {run.name: run for run in local.runs}
    for run in runs:
        pair = (run, there[run.name])
        histories = [(folder / record.HISTORY).read_bytes() for folder in pair]
        summaries = [record.read_summary(folder) for folder in pair]
        weights = [checkpoints.load(folder / record.BEST, "weights")["weights"] for folder in pair]
        assert histories[0] == histories[1]
        assert all(summaries[0][part] == summaries[1][part] for part in ("seeds", "test_right", "updates"))
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_killed_requeued_preempted_and_on_a_failing_node_the_runs_go_on_to_the_same_numbers(
    cluster: Cluster, local: Sweep, start: Callable[..., Sweep]
):
    def restarts(job: str) -> int:
        return int(cluster.about(job)["Restarts"])

    sweep = start(*SLURM, "checkpoint_seconds=0.5", slow=True)
    sweep.until_all_have(record.LAST, runs=4)
    killed, requeued, preempted, left = sorted(cluster.jobs())
    os.kill(cluster.process(killed), signal.SIGKILL)
    until(lambda: cluster.about(killed)["JobState"] == "FAILED", "the job of a killed process has failed")
    for job in (killed, requeued):
        cluster.ask("scontrol", "requeue", job)
    cluster.ask("scancel", "--signal=USR2", preempted)
    until(lambda: all(restarts(job) for job in (killed, requeued, preempted)), "three are queued again")
    assert restarts(left) == 0
    cluster.crash_node()
    until(lambda: restarts(left) == 1, "the one that ran on the failing node is queued again")
    cluster.repair_node()
    assert sweep.code() == 0, sweep.printed
    for gone_on in sweep.gone_on().values():
        assert gone_on
        assert all(0 < update < UPDATES for update in gone_on)
    assert len(sweep.runs) == 4
    assert_equal(sweep.runs, local)


def test_ctrl_c_cancels_the_jobs_after_a_checkpoint_and_the_same_command_goes_on(
    cluster: Cluster, local: Sweep, start: Callable[..., Sweep]
):
    arguments = ("model=srn", "checkpoint_seconds=1000")  # no other checkpoint than that of Ctrl-C
    sweep = start(*SLURM, *arguments, slow=True)
    sweep.until_all_have(PROGRESS, runs=2)
    jobs = sorted(cluster.jobs())
    sweep.process.send_signal(signal.SIGINT)
    sweep.process.wait(120)  # the runs being slow still: else they may be over before they are cancelled
    assert sweep.code() == 130, sweep.printed
    assert f"cancelling the jobs {jobs[0]} to {jobs[-1]}" in sweep.printed
    assert "2 of 2 runs are left: the same command goes on where they were" in sweep.printed
    until(lambda: not cluster.jobs(), "no job is left in the queue")
    again = start("hydra/launcher=slurm_gpu", "hydra.launcher.partition=gpu", *arguments)
    assert again.code() == 0, again.printed
    assert all(len(gone) == 1 and 0 < gone[0] < UPDATES for gone in again.gone_on().values())
    assert len(again.runs) == 2
    assert_equal(again.runs, local)


def test_a_job_over_its_time_limit_goes_on_and_one_that_is_cancelled_is_one_line(
    cluster: Cluster, local: Sweep, start: Callable[..., Sweep], tmp_path: Path
):
    limit = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=30")
    sweep = start(*SLURM, *limit, "model=srn", "checkpoint_seconds=0.5", slow=True)
    until(lambda: set(cluster.jobs().values()) == {"RUNNING"}, "the jobs run")
    cancelled, limited = sorted(cluster.jobs())
    cluster.ask("scontrol", "update", f"jobid={limited}", "timelimit=9")  # until it has begun
    log = f"outputs/book/.submitit/{cancelled}/{cancelled}_0_log.err"
    until((tmp_path / log).exists, "the job has a log")
    cluster.ask("scancel", cancelled)
    sweep.until_all_have(record.LAST, runs=1)
    cluster.ask("scontrol", "update", f"jobid={limited}", "timelimit=1")
    until(lambda: any(sweep.gone_on().values()), "the run over its limit has gone on", 90)
    assert sweep.code() == 1, sweep.printed
    (line,) = re.findall(r"^.*not finished.*$", sweep.printed, re.M)
    assert line.endswith(f"not finished: its job {cancelled} ended as CANCELLED; see {log}")
    assert int(cluster.about(limited)["Restarts"]) > 0
    assert "1 of 2 runs are not complete:" in sweep.printed
    (done,) = [run for run in sweep.runs if record.is_complete(run)]
    assert sweep.gone_on()[done.name]
    assert_equal([done], local)


HOLDING = """
import time

from cluster import running

with running() as cluster:
    cluster.ask("sbatch", "--wrap=sleep 100", "--output=/dev/null")
    print(cluster.folder, flush=True)
    time.sleep(100)
"""


@pytest.mark.usefixtures("cluster")  # where there can be one there can be two
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_nothing_is_left_of_a_cluster_whose_test_is_interrupted_or_killed(name: str):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout is not None
        other = Cluster(Path(holder.stdout.readline().decode().strip()))
        until(lambda: "RUNNING" in other.jobs().values(), "a job runs")
        assert len(other.processes()) > 3
        holder.send_signal(signal.Signals[name])
    until(lambda: not other.folder.exists(), "its folder is removed", 20)
    assert not other.processes()
