"""One session at a time in a run folder (an addition; not in the paper).

The lock is the kernel's (`flock`), which is free again however its holder ends, and which Linux passes on to an NFS
server. Where a file system has none, the holder's name in the file decides: one of this machine is refused while its
process lives, one of another machine until the file is deleted, since nobody here can tell whether it lives.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..errors import RunFolderError

LOCK = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def sole_session(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; RunFolderError that names the holder where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as stream:
        _take(folder, stream)
        _sign(stream, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        try:
            yield
        finally:
            _sign(stream, {})


def _take(folder: Path, stream: TextIO) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunFolderError(_refusal(folder, _holder(stream))) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        holder = _holder(stream)
        if holder and holder.get("host") != socket.gethostname():
            unknown = f"; if it is not so any more, delete {folder / LOCK}"
            raise RunFolderError(_refusal(folder, holder) + unknown) from None
        if holder and _lives(holder.get("pid")):
            raise RunFolderError(_refusal(folder, holder)) from None


def _refusal(folder: Path, holder: dict) -> str:
    who = "process {pid} on {host} since {since}".format(**{"pid": "?", "host": "?", "since": "?", **holder})
    return f"run folder {folder} is in use by {who}; wait for its end, or give this run its own with name=NEW_NAME"


def _holder(stream: TextIO) -> dict:
    """Who signed the file, or nothing where it is blank or damaged."""
    stream.seek(0)
    try:
        holder = json.loads(stream.read(4096))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _sign(stream: TextIO, holder: dict) -> None:
    stream.truncate(0)
    stream.write(json.dumps(holder))
    stream.flush()


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
