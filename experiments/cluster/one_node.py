"""A SLURM of one node in a folder of its own; of the machine nothing is changed but that Debian's packages are there.

    python -m experiments.cluster.one_node up FOLDER      # then: export SLURM_CONF=FOLDER/slurm.conf
    python -m experiments.cluster.one_node down FOLDER

Key, socket, ports, configuration and state are its own, so that it is in no other SLURM's way.
"""

import argparse
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

# SLURM looks for PMIx by the name that only the development package has
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "libpmix-dev")
DAEMONS = {"munged": "munge.pid", "slurmctld": "slurmctld.pid", "slurmd": "slurmd.pid"}  # in the order of their start
PATIENCE = 60  # seconds for a daemon to come up or to end
DOWNLOAD = 300  # seconds for the packages

CONFIGURATION = """
ClusterName=one
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# neither control groups nor accounts
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# as many processors as are asked for here, whatever the machine has
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1
ReturnToService=2
KillWait=60
# a job of `urgent` takes the place of one of `spare`, which is told so and queued again
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=spare Nodes={node} Default=YES PriorityTier=1
PartitionName=urgent Nodes={node} PriorityTier=2 PreemptMode=OFF
"""


class NoSlurmError(Exception):
    """Why there can be none here, or why it did not come up."""


def install() -> None:
    """Debian's packages, where they are not there yet; NoSlurmError where they cannot be had."""
    if not (missing := _missing()):
        return
    if os.geteuid() or shutil.which("apt-get") is None:
        raise NoSlurmError(f"{', '.join(missing)} are missing, and it takes root and apt-get to install them")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *PACKAGES]):
        _require(["apt-get", *arguments], environment, seconds=DOWNLOAD)
    if missing := _missing():
        raise NoSlurmError(f"{', '.join(missing)} are missing after the installation of {' '.join(PACKAGES)}")


def _missing() -> list[str]:
    return [name for name in (*DAEMONS, "sbatch", "srun") if shutil.which(name, path=_path()) is None]


class OneNode:
    """A SLURM of one node with its files in `folder`; as a context it is up inside."""

    def __init__(self, folder: Path, *, cpus: int = 2):
        self.folder, self.cpus = folder.absolute(), cpus
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}

    def __enter__(self) -> "OneNode":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """All daemons, until a job has run; NoSlurmError where none does."""
        for place in ("state", "spool"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # or munged takes nothing from it
        self._configure()
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        _require(["munged", "--force", f"--socket={self.folder}/munge.socket", *files], self.environment)
        for daemon in ("slurmctld", "slurmd"):
            _require([daemon], self.environment)
        if not _wait(lambda: self.ask("srun", "--immediate=5", "-n", "1", "hostname", "-s") == _node()):
            raise NoSlurmError(f"no job has run after {PATIENCE} s: {self.ask('sinfo')}; logs are in {self.folder}")

    def stop(self) -> None:
        """End its jobs, then the daemons that this folder knows of."""
        if self._pid("slurmctld") is not None:
            self.ask("scancel", "--signal=KILL", "--full", f"--user={_user()}")
            _wait(lambda: not self.ask("squeue", "--noheader"))
        for daemon in reversed(DAEMONS):
            if (pid := self._pid(daemon)) is not None:
                for how in (signal.SIGTERM, signal.SIGKILL):
                    with suppress(ProcessLookupError):
                        os.kill(pid, how)
                    if _wait(lambda pid=pid, daemon=daemon: not _runs(pid, daemon)):
                        break

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands prints; its error where it fails."""
        done = _done(list(command), self.environment, seconds=PATIENCE)
        return "it did not end" if done is None else (done.stderr if done.returncode else done.stdout).strip()

    def _configure(self) -> None:
        (key := self.folder / "munge.key").touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        controller, daemon = _free_ports(2)
        own = {"node": _node(), "user": _user(), "controller": controller, "daemon": daemon, "cpus": self.cpus}
        Path(self.environment["SLURM_CONF"]).write_text(CONFIGURATION.format(folder=self.folder, **own))

    def _pid(self, daemon: str) -> int | None:
        """Of a daemon of this folder that lives."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / DAEMONS[daemon]).read_text())
            return pid if _runs(pid, daemon) else None
        return None


def _runs(pid: int, name: str) -> bool:
    """Whether the process is of that name and no zombie, which it stays where nobody waits for it."""
    try:
        there, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return there == name and rest.split()[0] != "Z"


def _wait(over: Callable[[], bool]) -> bool:
    """Whether it is over before patience is."""
    until = time.monotonic() + PATIENCE
    while not (done := over()) and time.monotonic() < until:
        time.sleep(0.05)
    return done


def _require(command: list[str], environment: dict[str, str], *, seconds: float = PATIENCE) -> None:
    done = _done(command, environment, seconds=seconds)
    if done is None or done.returncode:
        said = ["it did not end"] if done is None else (done.stderr or done.stdout).strip().splitlines()
        raise NoSlurmError(f"{' '.join(command[:2])} failed: {(said or ['it said nothing'])[-1]}")


def _done(command: list[str], environment: dict[str, str], *, seconds: float) -> subprocess.CompletedProcess | None:
    """None where it takes longer."""
    quiet = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        return subprocess.run(command, env=environment, timeout=seconds, **quiet)
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _node() -> str:
    return socket.gethostname().partition(".")[0]


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as held:
        ports = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in ports:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in ports]


def main() -> int:
    parser = argparse.ArgumentParser(prog="one_node", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpus", type=int, default=2)
    options = parser.parse_args()
    node = OneNode(options.folder, cpus=options.cpus)
    if options.action == "down":
        node.stop()
        return 0
    try:
        install()
        node.start()
    except NoSlurmError as error:
        print(f"no SLURM: {error}", file=sys.stderr)
        node.stop()
        return 1
    print(f"export SLURM_CONF={node.environment['SLURM_CONF']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
