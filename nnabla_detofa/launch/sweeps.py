"""Jobs of a sweep, whichever of Hydra's launchers starts them, and how they end (an addition; not in the paper).

A job in another process cannot tell its end to the command that waits for it but by what it returns, which every
launcher brings back. One that submitit started has an exit code of its own too, and may be queued again.
"""

import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from .. import processes
from ..errors import HostError, one_line
from ..signals import STOP, Stopped, handled_by
from .composition import INPUT_ERRORS, message_of

GO_ON = "interrupted; run the same command again to go on"
DONE, BROKEN, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 75


class Ended(NamedTuple):
    """The end of a job that did not end well: the exit code, and the line for the user."""

    code: int
    line: str

    def tell(self) -> None:
        """The line, on standard error."""
        print(f"nnabla_detofa: {self.line}", file=sys.stderr)


def tell_and_end(ends: Sequence[Ended]) -> int:
    """Tell how jobs ended, unless another of several processes does, and end them all; returns the exit code."""
    if processes.may_tell(interrupted=all(end.code == INTERRUPTED for end in ends)):
        for end in ends:
            end.tell()
    return processes.end_all(min(end.code for end in ends))  # wrong input first: what is interrupted goes on without it


def end_of(work: Callable[[], object]) -> Ended | None:
    """The end of a job's `work`, done in this process; in one of submitit's, the process ends as the job did."""
    requeue = _submitits_handler()
    if requeue is None:
        return _end_of(work)
    _submitted(work, *requeue)
    return None


def _end_of(work: Callable[[], object]) -> Ended | None:
    try:
        work()
    except INPUT_ERRORS as error:
        return Ended(WRONG_INPUT, message_of(error))
    return None


# -- in a process that submitit started -------------------------------------------------------------------------------


def _submitits_handler() -> tuple[signal.Signals, Callable[..., Any]] | None:
    """The signal at which submitit queues this process' job again, and what does it; None in any other process."""
    for number in STOP:
        handler = signal.getsignal(number)
        if callable(handler) and getattr(handler, "__qualname__", "") == "SignalHandler.checkpoint_and_try_requeue":
            return number, handler
    return None


def _submitted(work: Callable[[], object], time_out: signal.Signals, requeue: Callable[..., Any]) -> None:
    """The work; where it does not end well, the process ends with its code, and whoever waits for the job gets why."""
    try:
        with handled_by(_stop, signal.SIG_IGN):  # afterwards nothing can be lost
            end = _end_of(work)
    except Stopped as stop:
        if time_out not in stop.numbers:  # cancelled, or its scheduler queues it again by itself: no result yet
            Ended(INTERRUPTED, GO_ON).tell()
            sys.exit(INTERRUPTED)
        end = _requeued(time_out, requeue)
    except Exception as error:  # which Hydra would take for a result
        traceback.print_exc()
        _hand_over(JobReturn(status=JobStatus.FAILED, _return_value=error))
        sys.exit(processes.end_all(BROKEN))
    if end is not None:
        if processes.may_tell():
            end.tell()
        _hand_over(JobReturn(status=JobStatus.COMPLETED, _return_value=end))
        sys.exit(processes.end_all(end.code))


def _stop(number: int, _: Any) -> NoReturn:
    raise Stopped([signal.Signals(number)])


def _requeued(time_out: signal.Signals, requeue: Callable[..., Any]) -> Ended:
    """Hand on to submitit, which ends the process where the job is queued again; why it is not."""
    try:
        requeue(time_out, None)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return Ended(INTERRUPTED, f"{GO_ON}. {one_line(error)}")
    sys.exit(INTERRUPTED)  # not the first of several processes, which is the one that queues


def _hand_over(result: JobReturn) -> None:
    """Write the job's result where submitit looks for it, whose own way out of the process would call it a success."""
    import submitit

    with submitit.core.utils.temporary_save_path(submitit.JobEnvironment().paths.result_pickle) as file:
        submitit.core.utils.cloudpickle_dump(("success", result), file)


# -- in the command ---------------------------------------------------------------------------------------------------


class _Collecting(Launcher):
    """A launcher that notes the ends of its jobs."""

    def __init__(self, launcher: Any, begun: list[str], ends: list[Ended]):
        self._launcher, self._begun, self._ends = launcher, begun, ends

    def setup(self, **_: Any) -> None:
        """Nothing: the launcher inside is set up."""

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Any:
        """All jobs, of which some may run in this process and have noted their ends."""
        if getattr(self._launcher, "_EXECUTOR", None) == "slurm" and shutil.which("sbatch") is None:
            raise HostError("hydra/launcher=submitit_slurm needs SLURM's sbatch and srun, and they are not on PATH")
        self._begun.append("sweep")
        before = len(self._ends)
        try:
            returned = self._launcher.launch(job_overrides, initial_job_idx)
        except RuntimeError as error:
            if type(error).__module__ != "submitit.core.utils":
                raise
            said = f"a job of the sweep has no result: {' '.join(str(error).split())}"
            if type(error).__name__ != "UncompletedJobError":  # not submitted, or its process could not begin
                raise HostError(said) from error
            self._ends[before:] = [Ended(INTERRUPTED, one_line(f"{said}: {GO_ON}"))]
            return []
        values = [one.return_value for one in returned if one.status is JobStatus.COMPLETED]
        self._ends[before:] = [value for value in values if isinstance(value, Ended)]
        return returned


@contextmanager
def collected(begun: list[str], ends: list[Ended]) -> Iterator[None]:
    """The scope in which launchers put the ends of their jobs into `ends`, and a name into `begun` first."""
    original = Plugins.instantiate_launcher

    def instantiate(plugins: Plugins, *given: Any, **named: Any) -> Launcher:
        return _Collecting(original(plugins, *given, **named), begun, ends)

    Plugins.instantiate_launcher = instantiate  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Plugins.instantiate_launcher = original  # type: ignore[method-assign]
