"""What a user does on a cluster, done on a real SLURM of one node with runs that take seconds."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments.reliability.run_digest import digest_of

from .one_node import OneNode

REPOSITORY = Path(__file__).parent.parent.parent
CONFIG = REPOSITORY / "experiments/reliability/drill.yaml"
SCRIPT = REPOSITORY / "docs/detofa.sbatch"
LOOK = 0.2  # seconds between two looks at a run
SETTLED = 5  # seconds until SLURM takes what the end of a job's script says no longer for its next start's
MINUTES = 10  # of a job of a sweep; a longer one that is over early is no time-out to submitit
TWO = ["hparams.mini_batch_train=null"]  # of two processes each takes half of the batch


class CheckError(Exception):
    """What a check has found wrong."""


class Cluster:
    """A SLURM that is up, and a folder where runs are started; each check has at most `patience` seconds for a wait."""

    def __init__(self, node: OneNode, start: Path, *, patience: float):
        self.node, self.start, self._patience = node, start, patience
        self._pending: dict[str, float] = {}  # since when
        own = {"PMIX_MCA_psec": "native", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        path = f"{Path(sys.executable).parent}:{node.environment['PATH']}"
        self.environment = {**node.environment, **own, "PATH": path}
        for name in [name for name in self.environment if name.startswith("SLURM_") and name != "SLURM_CONF"]:
            del self.environment[name]

    def begin(self, *command: str, log: str) -> subprocess.Popen:
        """Start a command whose output goes to a file of that name."""
        with (self.start / log).open("ab") as stream:
            return subprocess.Popen(
                command, cwd=self.start, env=self.environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )

    def ended(self, process: subprocess.Popen, log: str, *, code: int = 0, meanwhile: Callable = lambda: None) -> None:
        """Wait for a process, which has to end with the code; `meanwhile` is called again and again."""
        try:
            self.until(lambda: meanwhile() or process.poll() is not None, f"the end of {' '.join(process.args[:3])}")
        finally:
            process.kill()
            process.wait()
        if process.returncode != code:
            raise CheckError(f"ended with {process.returncode} instead of {code}: {self.tail(log)}")

    def until(self, there: Callable[[], object], what: str) -> None:
        """Wait until something is there."""
        end = time.monotonic() + self._patience
        while not there():
            if time.monotonic() > end:
                raise CheckError(f"waited {self._patience:.0f} s for {what}: {self.node.ask('squeue')}")
            time.sleep(LOOK)

    def tail(self, log: str | Path) -> str:
        """The end of a log, without bars."""
        lines = (self.start / log).read_text(errors="replace").replace("\r", "\n").splitlines()
        return "\n".join([line for line in lines if line.strip() and "%|" not in line][-15:])

    def state(self, job: str) -> str:
        """SLURM's word for a job."""
        return (re.search(r"JobState=(\w+)", self.node.ask("scontrol", "show", "job", job)) or ["", "unknown"])[1]

    def hasten(self, job: str) -> None:
        """A job that is queued again is held back for two minutes: here until its processes are gone and told."""
        if self.state(job) != "PENDING":
            self._pending.pop(job, None)
        elif time.monotonic() - self._pending.setdefault(job, time.monotonic()) > SETTLED:
            self.node.ask("scontrol", "update", f"JobId={job}", "StartTime=now")

    def over(self, job: str) -> bool:
        """Whether a job has ended for good; one that is queued again is hastened."""
        self.hasten(job)
        return self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "PREEMPTED")

    def went_on(self, log: str) -> list[str]:
        """Where training was taken up again."""
        return re.findall(r"finetune: going on after step \d+ of \d+", (self.start / log).read_text())

    def digest(self, name: str) -> dict[str, str]:
        """Of the end of a run."""
        return digest_of(self.start / "log" / name)


def srun(cluster: Cluster) -> str:
    """Two tasks that are one run, through PMIx; without it one line and exit code 2."""
    command = ["nnabla_nas", "-c", str(CONFIG), *TWO, "name=two"]
    process = cluster.begin("srun", "--mpi=pmix", "-n", "2", *command, log="srun.txt")
    cluster.ended(process, "srun.txt")
    n = json.loads((cluster.start / "log/two/summary.json").read_text())["space_size"]
    return f"two tasks ended as one run of a space of {n:,} paths"


def without_pmix(cluster: Cluster) -> str:
    """Tasks that know nothing of each other."""
    command = ["nnabla_nas", "-c", str(CONFIG), *TWO, "name=apart"]
    process = cluster.begin("srun", "--mpi=none", "-n", "2", *command, log="apart.txt")
    cluster.ended(process, "apart.txt", code=2)
    told = [line for line in cluster.tail("apart.txt").splitlines() if line.startswith("nnabla_detofa: ")]
    if len(told) != 1 or "--mpi=pmix" not in told[0]:
        raise CheckError(f"instead of one line that names --mpi=pmix: {told}")
    return told[0]


def requeue(cluster: Cluster) -> str:
    """A job of docs/detofa.sbatch whose time is over, then its place taken, ends as the run of `srun`."""
    options = ["--parsable", "--ntasks=2", "--output=requeue.txt", str(SCRIPT)]
    process = cluster.begin("sbatch", *options, str(CONFIG), *TWO, "name=again", log="sbatch.txt")
    cluster.ended(process, "sbatch.txt")
    job = cluster.tail("sbatch.txt")
    steps = cluster.start / "log/again/checkpoint_finetune"
    cluster.until(lambda: len(list(steps.glob("[0-9]*"))) > 1 or cluster.over(job), f"job {job} to train")
    cluster.node.ask("scancel", "--signal=USR1", job)  # as --signal has it; the script queues the job again
    cluster.until(lambda: cluster.went_on("requeue.txt") or cluster.over(job), f"job {job} to go on")
    taken = cluster.begin("srun", "--partition=urgent", f"-n{cluster.node.cpus}", "true", log="urgent.txt")
    cluster.ended(taken, "urgent.txt")  # SLURM itself queues the job again
    cluster.until(lambda: cluster.over(job), f"the end of job {job}")
    restarts = re.search(r"Restarts=\d+", cluster.node.ask("scontrol", "show", "job", job)) or ["none known"]
    if (cluster.state(job), restarts[0]) != ("COMPLETED", "Restarts=2"):
        raise CheckError(f"job {job} is {cluster.state(job)}, {restarts[0]}: {cluster.tail('requeue.txt')}")
    alone, again = cluster.digest("two"), cluster.digest("again")
    if differing := sorted(name for name in {*alone, *again} if alone.get(name) != again.get(name)):
        raise CheckError(f"the end differs in {', '.join(differing)}")
    went_on = ", ".join(cluster.went_on("requeue.txt"))
    return f"{restarts[0]}; {went_on}; all {len(again)} results are those of the undisturbed run"


def _sweep(cluster: Cluster, name: str, *overrides: str) -> subprocess.Popen:
    launcher = ["hydra/launcher=submitit_slurm", f"hydra.launcher.timeout_min={MINUTES}"]
    launcher += ["hydra.launcher.signal_delay_s=60", "hydra.launcher.max_num_timeout=1", "pruning=flops,none"]
    launcher += [f"name={name}", f"hydra.sweep.dir=log/{name}"]
    return cluster.begin("nnabla_nas", "-c", str(CONFIG), *overrides, "-m", *launcher, log=f"{name}.txt")


def sweep(cluster: Cluster) -> str:
    """Two strategies whose time is over before they are done: SLURM says so a minute before, submitit queues again."""
    process = _sweep(cluster, "sweep", "hparams.finetune=100")
    shortened: set[str] = set()

    def shorten() -> None:
        for folder in cluster.start.glob("log/sweep/.submitit/[0-9]*_[0-9]*"):
            steps = cluster.start / f"log/sweep/sweep-{folder.name[-1]}/checkpoint_finetune"
            if folder.name not in shortened and len(list(steps.glob("[0-9]*"))) > 1:
                shortened.add(folder.name)
                cluster.node.ask("scontrol", "update", f"JobId={folder.name}", "EndTime=now+90")
            elif cluster.state(folder.name) == "PENDING":
                cluster.node.ask("scontrol", "update", f"JobId={folder.name}", f"TimeLimit={MINUTES}")
                cluster.hasten(folder.name)

    cluster.ended(process, "sweep.txt", meanwhile=shorten)
    said = []
    for number, strategy in enumerate(("flops", "none")):
        summary = json.loads((cluster.start / f"log/sweep/sweep-{number}/summary.json").read_text())
        (log,) = cluster.start.glob(f"log/sweep/.submitit/*_{number}/*_log.out")
        if summary["strategy"] != strategy or not (went_on := cluster.went_on(str(log))):
            raise CheckError(
                f"sweep-{number} is of {summary['strategy']} and was not queued again: {cluster.tail(log)}"
            )
        said.append(f"{strategy}: {', '.join(went_on)}")
    return "; ".join(said)


def wrong_setting(cluster: Cluster) -> str:
    """A setting that no job can have: the line of each reaches the user, and the jobs have failed."""
    process = _sweep(cluster, "wrong", "hparams.warmup=-1")
    cluster.ended(process, "wrong.txt", code=2)
    told = [line for line in cluster.tail("wrong.txt").splitlines() if line.startswith("nnabla_detofa: ")]
    if len(told) != 2 or any("hparams.warmup is -1" not in line for line in told):
        raise CheckError(f"instead of a line for each job: {told}")
    (job,) = {one.name.partition("_")[0] for one in (cluster.start / "log/wrong/.submitit").glob("[0-9]*_*")}
    cluster.until(lambda: cluster.state(job) not in ("RUNNING", "COMPLETING"), f"the end of job {job}")
    if cluster.state(job) != "FAILED":
        raise CheckError(f"job {job} is {cluster.state(job)}")
    return f"twice {told[0]}"


QUICK = (srun, requeue)
ALL = (srun, without_pmix, requeue, wrong_setting, sweep)


def run_checks(cluster: Cluster, checks: tuple[Callable[[Cluster], str], ...]) -> bool:
    """Each check's line, with its seconds; whether all are well."""
    for check in checks:
        start = time.monotonic()
        try:
            said = check(cluster)
        except CheckError as error:
            print(f"FAILED  {check.__name__} ({time.monotonic() - start:.0f} s): {error}", flush=True)
            return False
        print(f"passed  {check.__name__} ({time.monotonic() - start:.0f} s): {said}", flush=True)
    return True
