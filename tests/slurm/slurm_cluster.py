"""A Slurm of two nodes with imagined GPUs, on this machine alone: daemons of our own, on loopback.

Slurm's commands and the executor plugin look for the configuration in /etc/slurm, so it is written
there. What is there and isn't ours stays as it is, and no cluster is started then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
MARK = "# written by the tests of medtransfer, and removed by them"
LOCK = Path(tempfile.gettempdir()) / "medtransfer-slurm.lock"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "setpriv")
# what goes before a command that must not outlive this process, in whatever way that ends
DYING_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
# GPUs of each node by number: two jobs can meet on the first, and the second can go away
NODES = {"node1": (0, 1), "node2": (2,)}
SECONDS_TO_START = 60

SLURM_CONF = """{mark}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# nodes have the processors and the memory that they claim
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MpiDefault=none
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
# finished jobs can be seen as long as a test runs
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=10
KillWait=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=cpu Nodes=ALL Default=YES State=UP
PartitionName=gpu Nodes=ALL State=UP
PartitionName=gpu-long Nodes=ALL State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here; None where one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root only"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    theirs = [path for path in _configuration_files() if path.exists() and not _ours(path)]
    if theirs:
        return f"{theirs[0]} isn't of these tests, and is left as it is"
    return None


def _configuration_files() -> list[Path]:
    return [CONFIGURATION / name for name in ("slurm.conf", "gres.conf", "cgroup.conf")]


def _ours(path: Path) -> bool:
    return path.read_text().startswith(MARK)


@dataclass
class Cluster:
    """Daemons that end with this process, and what Slurm says of its jobs."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start everything and wait until both nodes take jobs."""
        self._write_configuration()
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        paths = [
            f"--{n}={self.folder}/munge.{n}" for n in ("socket", "pid-file", "log-file", "seed-file")
        ]
        key = f"--key-file={self.folder}/munge.key"
        self._start("munged", "--foreground", "--force", key, *paths)
        wait_until((self.folder / "munge.socket").exists, "munged answers", SECONDS_TO_START)
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def start_node(self, node: str) -> None:
        """Start the daemon of a node, as when its machine comes back."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def wait_for_nodes(self) -> None:
        """Wait until every node takes jobs."""
        up = {"idle", "mixed", "allocated"}
        wait_until(lambda: set(self.states()) <= up, "the nodes are up", SECONDS_TO_START)

    def states(self) -> list[str]:
        """What state each node is in, with a star while it doesn't answer."""
        said = run("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%T", check=False)
        return said.split() or ["unknown"]

    def crash_node(self, node: str) -> None:
        """Have a node's machine die: its daemon, the managers of its jobs, and their processes."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        managers = [pid for pid in all_processes() if _node_of_manager(pid) == node]
        _kill(*managers, *_processes_of_jobs(node))

    def jobs(self) -> list[dict[str, str]]:
        """All jobs, also finished ones, with the fields that scontrol shows."""
        said = run("scontrol", "show", "jobs", "--oneliner", "--all")
        return [
            dict(word.split("=", 1) for word in line.split() if "=" in word)
            for line in said.splitlines()
            if line.startswith("JobId=")
        ]

    def stop(self) -> None:
        """End all jobs and daemons, and remove the configuration."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            run("scancel", "--user=root", check=False)
        with contextlib.suppress(subprocess.SubprocessError, OSError, TimeoutError):
            wait_until(lambda: not run("squeue", "--noheader", check=False), "all jobs end", 20)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()
        self.daemons.clear()
        _kill(*_processes_of_jobs(*NODES))
        for path in _configuration_files():
            if path.exists() and _ours(path):
                path.unlink()

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def _start(self, program: str, *arguments: str, name: str | None = None) -> None:
        command = [*DYING_WITH_PARENT, program, *arguments]
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        with (self.folder / f"{name or program}.output").open("ab") as output:
            self.daemons[name or program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={"PATH": path}
            )

    def _write_configuration(self) -> None:
        controller_port, *ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs=8 RealMemory=200000 Gres=gpu:{len(gpus)} State=UNKNOWN"
            for (node, gpus), port in zip(NODES.items(), ports, strict=True)
        )
        gpus = [
            (node, number, self._device(number))
            for node, numbers in NODES.items()
            for number in numbers
        ]
        texts = [
            SLURM_CONF.format(
                mark=MARK, host=host, controller_port=controller_port, folder=self.folder, nodes=nodes
            ),
            "".join(
                [f"{MARK}\n", *(f"NodeName={node} Name=gpu File={path}\n" for node, _, path in gpus)]
            ),
            f"{MARK}\nCgroupPlugin=cgroup/v1\n",
        ]
        (self.folder / "state").mkdir()
        for node in NODES:
            (self.folder / f"spool-{node}").mkdir()
        CONFIGURATION.mkdir(exist_ok=True)
        for path, text in zip(_configuration_files(), texts, strict=True):
            path.write_text(text)

    def _device(self, number: int) -> Path:
        """A character device that swallows all; Slurm takes no other file for a GPU."""
        path = self.folder / f"gpu{number}"
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        return path


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster for the duration of a block, with its files in a folder."""
    with LOCK.open("w") as lock:
        # two clusters would read the same configuration; the second waits for the end of the first
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster = Cluster(folder)
        try:
            cluster.start()
            yield cluster
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{cluster.logs()}") from None
        finally:
            cluster.stop()


def run(*command: str, check: bool = True) -> str:
    """What a command of Slurm says."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout


def wait_until(happened: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for something, for so long at most."""
    ends = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {seconds} seconds: {what}")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def all_processes() -> list[int]:
    """The processes of this machine."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def command_words(pid: int) -> list[str]:
    """The words of a process's command; none of one that has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def environment(pid: int) -> dict[str, str]:
    """The variables that a process was started with; none of one that has gone."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def parent(pid: int) -> int:
    """The process that started this one; 0 of one that has gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _processes_of_jobs(*nodes: str) -> list[int]:
    return [pid for pid in all_processes() if environment(pid).get("SLURMD_NODENAME") in nodes]


def _kill(*processes: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _node_of_manager(pid: int) -> str | None:
    """The node whose daemon started this manager of a job, by the log that it writes; else None."""
    if not "".join(command_words(pid)).startswith("slurmstepd"):
        return None
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if found := re.search(r"/slurmd-(node\d+)\.log", os.readlink(link)):
                return found[1]
    return None
