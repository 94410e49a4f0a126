"""One session at a time in a run folder (an addition; not in the paper)."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from ..errors import RunFolderError

LOCK, WITHOUT_LOCKS, JOB = ".lock", ".lock.held", ".lock.job"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def read_holder(folder: Path) -> str:
    """Process and machine that hold the folder's lock, as its files say; empty where there are none."""
    there = (folder / name for name in (LOCK, WITHOUT_LOCKS))
    return "".join(file.read_text(errors="replace") for file in there if file.is_file())


@contextmanager
def sole_session(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, as one process of a run does; RunFolderError that names the holder where another has it.

    The lock is the kernel's (`flock`), which is free again however its holder ends, and which Linux passes on to an NFS
    server. Where a file system has none, a file that is there takes its place; it is free again once no process of this
    machine has the number in it, or a job of SLURM that held it has been queued again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:  # of a file system that makes no folders, as /proc
        raise RunFolderError(f"the folder {folder} cannot be made; choose another args.output_path") from None
    file = folder / LOCK
    lock: BaseFileLock = FileLock(file, timeout=0, fallback_to_soft=False)
    try:
        try:
            lock.acquire()
            file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            file = folder / WITHOUT_LOCKS
            _free_if_queued_again(folder)
            lock = SoftFileLock(file, timeout=0.5)  # in which it finds out whether its holder lives
            lock.acquire()
            (folder / JOB).write_text(os.environ.get("SLURM_JOB_ID", ""))
    except Timeout:
        holder = " on ".join(file.read_text(errors="replace").split()[:2]) or "unknown"
        raise RunFolderError(
            f"run folder {folder} is in use by process {holder}; wait for its end, or give this run its own with"
            f" name=NEW_NAME{f'; if no process runs there, delete {file}' if file.name == WITHOUT_LOCKS else ''}"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _free_if_queued_again(folder: Path) -> None:
    """Take away what an earlier start of this job of SLURM has left where it was killed, on whatever machine: SLURM
    starts a job again once nothing of it runs."""
    job, held_by = os.environ.get("SLURM_JOB_ID"), folder / JOB
    started_again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    if job and started_again and held_by.is_file() and held_by.read_text(errors="replace") == job:
        (folder / WITHOUT_LOCKS).unlink(missing_ok=True)
