"""A Slurm of one node, for the length of a ``with`` block: no systemd, no root, no trace left behind.

Debian's packages slurmctld, slurmd, slurm-client and munge are enough. All lives in one new folder: the key and
the socket of munge, the state of both daemons, their logs. Nothing listens but on 127.0.0.1, on free ports.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel", "scontrol")
WITH_DAEMONS = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"  # where not every user's PATH goes
NODE = "node0"

CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# How long a requeued job waits is cred_expire too: two minutes where nothing is said.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# No systemd, no cgroups, no accounting.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
# As many clusters have it: a job is not queued again unless it says so.
JobRequeue=0
# A node that is down comes back when it is told to.
ReturnToService=0
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Short, so that a sweep of four runs takes two arrays.
MaxArraySize=3
KillWait=3
MinJobAge=300
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
GresTypes=gpu
NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:2
PartitionName=short Nodes={name} Default=YES MaxTime=INFINITE
PartitionName=gpu Nodes={name} MaxTime=INFINITE
"""


class NoClusterError(Exception):
    """Slurm is not installed here, or does not start; the first line says so, the others what it said itself."""


class Cluster:
    """What a test asks of the Slurm that `running` has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))}
        self.environment = {**kept, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": WITH_DAEMONS}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *options: str) -> None:
        """Start a daemon; its log is in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [name, *options], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is not theirs
            )  # fmt: skip

    def crash_node(self) -> None:
        """Kill the node's daemon and all that runs there without a word to the controller, as a power cut does."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()
        processes = self.processes()
        steps = [one for one in processes if Path(f"/proc/{one}/comm").read_text().strip() == "slurmstepd"]
        for process in [*steps, *(one for one, variables in processes.items() if "SLURM_JOB_ID" in variables)]:
            _kill(process)
        self.ask("scontrol", "update", f"nodename={NODE}", "state=down", "reason=crashed")

    def repair_node(self) -> None:
        """Bring a crashed node back."""
        self.start("slurmd", "-D")
        until(lambda: self.node() == "down", "the node has its daemon again")
        self.ask("scontrol", "update", f"nodename={NODE}", "state=resume")

    def node(self) -> str:
        """Return the state of the node; a ``*`` at its end says that its daemon does not answer."""
        return self.ask("sinfo", "--noheader", "--partition=short", "--format=%t").strip()

    def ask(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it says.

        Raises:
            RuntimeError: it failed; with its own words.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return the jobs that are not over: their ids, as ``7_0``, and their states."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def about(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job, also of one that is over: ``JobState``, ``Restarts``, ``Requeue``, ..."""
        words = self.ask("scontrol", "show", "job", job, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def cancel(self) -> None:
        """End all jobs, and wait until they are over."""
        mine = f"--user={os.geteuid()}"
        self.ask("scancel", "--full", "--signal=KILL", "--state=RUNNING", mine)
        self.ask("scancel", mine)
        until(lambda: not self.jobs(), "the jobs are over", 10)

    def process(self, job: str) -> int:
        """Return the process that does the work of a running job, which srun started."""
        task = {"SLURM_JOB_ID": self.about(job)["JobId"], "SLURM_STEP_ID": "0"}
        (found,) = [one for one, variables in self.processes().items() if task.items() <= variables.items()]
        return found

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the processes of this cluster and of its jobs, with their environment variables."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile, or is not ours
                lines = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                variables = dict(line.split("=", 1) for line in lines if "=" in line)
                if variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found[int(process.name)] = variables
        return found

    def end(self) -> None:
        """End all its processes, and remove its folder."""

        def none_left() -> bool:
            left = self.processes()
            for process in left:
                _kill(process)
            return not left

        until(none_left, "all processes have ended")
        shutil.rmtree(self.folder)


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it did not within these seconds.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Start a cluster; at the end, also where this process is killed, end all its processes and remove its folder.

    Raises:
        NoClusterError: a program is missing, a daemon ended or did not answer.
    """
    missing = [program for program in PROGRAMS if shutil.which(program, path=WITH_DAEMONS) is None]
    if missing:
        raise NoClusterError(f"Slurm is not installed here: no {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: the path of a socket has 107 bytes at most
    cluster = Cluster(folder)
    guard = subprocess.Popen([sys.executable, __file__, folder], stdin=subprocess.PIPE, start_new_session=True)

    def ready(holds: Callable[[], bool]) -> None:
        def look() -> bool:
            for name, daemon in cluster.daemons.items():
                if daemon.poll() is not None:
                    raise TimeoutError(f"{name} ended with code {daemon.returncode}")
            return holds()

        try:
            until(look, "the cluster answers", 30)
        except TimeoutError as error:
            logs = "".join(f"\n{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
            raise NoClusterError(f"Slurm does not start here: {error}{logs}") from None

    def idle() -> bool:
        try:
            return cluster.node() == "idle"
        except RuntimeError:  # the controller does not answer yet
            return False

    try:
        _configure(folder)
        munge = folder / "munge"
        cluster.start(
            "munged", "--foreground", f"--socket={munge / 'socket'}", f"--key-file={munge / 'key'}",
            f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}",
        )  # fmt: skip
        ready((munge / "socket").exists)
        cluster.start("slurmctld", "-D")
        cluster.start("slurmd", "-D")
        ready(idle)
        yield cluster
    finally:
        guard.communicate()  # closes its input, and waits
        for daemon in cluster.daemons.values():
            daemon.wait()


def _configure(folder: Path) -> None:
    import pwd  # not on Windows, where this file is read too

    for path in (folder, folder / "munge", folder / "state", folder / "spool"):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)  # munge wants its socket to be within everyone's reach
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    controller, node = _free_ports(2)
    host, user = socket.gethostname().partition(".")[0], pwd.getpwuid(os.geteuid()).pw_name
    text = CONFIG.format(folder=folder, controller=controller, node=node, host=host, user=user, name=NODE)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/tty[0-1]\n")  # any two devices


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    """Say whether a cluster can be had here; or, for `running`, clean up after one when standard input ends."""
    if len(sys.argv) > 1:
        sys.stdin.read()
        Cluster(Path(sys.argv[1])).end()
        return
    try:
        with running() as cluster:
            print(cluster.ask("srun", "--version").strip(), "runs here")
    except NoClusterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
