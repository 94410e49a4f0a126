"""Stages of a run and the files that they leave: a stage whose inputs are unchanged is not run again.

A stage is known by a digest of its own inputs and of the stages that it comes after, so that stages are a directed
graph without circles. `stages.json` records for each its digest, inputs, the checksums of its files and the seconds it
took: a file that was damaged or changed since has its stage done again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import RunFolderError
from .files import checksum, flush, read_json, write_json
from .manifest import MANIFEST, Record, read_manifest, write_manifest

T = TypeVar("T")
SEEN_SECONDS = 90  # in which a shared disk shows a new file to all; NFS keeps for 60 at most what it has of a folder


@dataclass(frozen=True)
class Kept(Generic[T]):
    """The files that a stage leaves, by name, and how its value is read from them and written to them.

    `write` is None where the stage's own work leaves the files, row by row or step by step.
    """

    files: Sequence[str]
    read: Callable[[], T]
    write: Callable[[T], None] | None = None


@dataclass(frozen=True)
class Work:
    """The work of a stage: `steps` updates of the weights, of `batch` images each over all processes; `images` that go
    forward through paths, `paths` of which go whole to one process each, or one by one where it is 0. `detail` says in
    words what makes them up."""

    detail: str
    steps: int = 0
    batch: int = 0
    images: int = 0
    paths: int = 0


class Rehearsal:
    """Stages that are gone through and not done: each gives a stand-in for its value, and says what it would take."""

    def __init__(self) -> None:
        self.planned: dict[str, Work] = {}

    def run(
        self,
        name: str,
        _inputs: dict,
        _kept: Kept[T],
        _work: Callable[[], T],
        *,
        rehearsed: Callable[[], T],
        takes: Work | None = None,
        after: Sequence[str] | None = None,  # noqa: ARG002 - as that of `Stages`
    ) -> T:
        """The stand-in, as `rehearsed` gives it; that also refuses what the stage could not do."""
        if takes is not None:
            self.planned[name] = takes
        return rehearsed()


class Stages:
    """The folder `log/<name>` of a run, and the stages that write it.

    Args:
        path: the folder; made where it is missing.
        say: takes a line for the user.
        writes: whether this process changes the folder (rank 0 alone does).
        barrier: waits for the other processes.
        of_first: what the first process finds, the same on all: a shared disk may show another state to each.
    """

    def __init__(
        self,
        path: Path,
        *,
        say: Callable[[str], None],
        writes: bool = True,
        barrier: Callable[[], None] = lambda: None,
        of_first: Callable[[bool], bool] = lambda found: found,
    ):
        self.path, self.writes = path, writes
        self._say, self._barrier, self._of_first = say, barrier, of_first
        path.mkdir(parents=True, exist_ok=True)
        self._records = read_manifest(path) if (path / MANIFEST).is_file() else {}
        self._passed: dict[str, str] = {}  # digests of the stages of this session, by name
        self._last: str | None = None  # the stage that the next one comes after
        self._present: Record | None = None  # of the stage that is at work
        self._counted = 0.0  # until when its seconds are counted, on the monotonic clock
        barrier()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def json(
        self,
        name: str,
        encode: Callable[[T], Any] = lambda value: value,
        decode: Callable[[Any], T] = lambda given: given,
        *beside: str,
    ) -> Kept[T]:
        """A value that is kept as one JSON file; `beside` it are files that the stage's own work leaves."""
        files = [name, *beside]
        return Kept(files, lambda: decode(read_json(self / name)), lambda value: self.write(name, encode(value)))

    def write(self, name: str, value: Any) -> None:
        """A JSON file of the folder, whole or not at all."""
        if self.writes:
            write_json(self / name, value)

    def digest(self, name: str) -> str:
        """That of a stage of this session: of its inputs and of all stages that it depends on."""
        return self._passed[name]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished stage of this session took, over all its sessions."""
        return {name: one.seconds for name, one in self._records.items() if one.done and name in self._passed}

    def run(
        self,
        name: str,
        inputs: dict,
        kept: Kept[T],
        work: Callable[[], T],
        *,
        rehearsed: Callable[[], T] | None = None,  # noqa: ARG002 - for `Rehearsal`
        takes: Work | None = None,  # noqa: ARG002
        after: Sequence[str] | None = None,
    ) -> T:
        """The stage's value: of `work()`, or as it is kept from the same inputs and the same earlier stages.

        A stage comes after the one before it, or after those named in `after`: then no other comes after it unless it
        says so. What an interrupted `work` left is there when it runs again. What a changed stage left is set aside in
        `previous/` with all that comes after it, and so is a file that is not as its stage left it.

        Raises:
            RunFolderError: the inputs of a stage that comes after none differ, since the folder belongs to another
                configuration; or a stage that was interrupted would be set aside.
        """
        inputs = json.loads(json.dumps(inputs, sort_keys=True))
        parents = list(after) if after is not None else [self._last] if self._last is not None else []
        known_by = json.dumps([name, inputs, [self._passed[parent] for parent in parents]], sort_keys=True)
        digest = hashlib.sha256(known_by.encode()).hexdigest()
        on_chain = after is None
        known, foreign = self._records.get(name), []
        if known is not None and known.digest != digest:
            if not parents:
                raise RunFolderError(
                    f"run folder {self.path} belongs to another configuration: {_brief(known.inputs, inputs)};"
                    " give this run its own with name=NEW_NAME, or delete the folder"
                )
            self._set_aside(name, self._stale(name, on_chain=on_chain), inputs)
            known = None
        else:
            foreign = self._foreign(kept.files, known)
        self._passed[name], self._last = digest, name if on_chain else self._last
        there = all((self / file).exists() for file in kept.files)
        if self._of_first(known is not None and known.done and not foreign and there):
            self._say(f"{name}: kept, its inputs are unchanged")
            self.wait_for(kept.files)
            return kept.read()
        if self._of_first(bool(foreign)):
            self._barrier()  # all have looked at them before one moves them
            place, why = self._move_aside(foreign), "changed since" if known else "of no recorded stage"
            self._say(f"{name}: {', '.join(foreign)}: {why}, moved to {place}; what is missing is done again")
        record = Record(digest=digest, inputs=inputs, files=list(kept.files), after=parents, on_chain=on_chain)
        record.seconds = known.seconds if known else 0.0
        return self._work(name, record, kept, work)

    def _work(self, name: str, record: Record, kept: Kept[T], work: Callable[[], T]) -> T:
        self._records[name] = self._present = record
        self._counted = time.monotonic()
        self._save()
        self._barrier()  # all have looked at the folder before one changes it
        try:
            value = work()
            if kept.write is not None:
                kept.write(value)
            self._barrier()
            if self.writes:  # done is what a power failure cannot take away
                for place in (*map(self.path.joinpath, kept.files), self.path):
                    flush(place)
            record.sums = {file: checksum(self / file) for file in kept.files if (self / file).is_file()}
            record.done = True
        finally:
            self.count_seconds(every=0)
            self._present = None
        self._say(f"{name}: done in {record.seconds:.1f} s")
        self.wait_for(kept.files)
        return value if self.writes or value is None else kept.read()  # what a process computed itself may differ

    def wait_for(self, files: Sequence[str]) -> None:
        """Wait until this process sees the files that are there: NFS may deny a new one for a while to a machine that
        has looked for it before. RunFolderError where that takes too long."""
        until = time.monotonic() + SEEN_SECONDS
        while unseen := [file for file in files if not (self / file).exists()]:
            if time.monotonic() > until:
                raise RunFolderError(
                    f"{self / unseen[0]} is there for the first process and not for this one; all need the run folder"
                    " on a disk that they share"
                )
            time.sleep(0.1)

    def count_seconds(self, *, every: float = 10) -> None:
        """Note how long the present stage has taken, `every` so many seconds: a kill loses no more of them."""
        now = time.monotonic()
        if self._present is not None and now - self._counted >= every:
            self._present.seconds = round(self._present.seconds + now - self._counted, 3)
            self._counted = now
            self._save()

    def _foreign(self, files: Iterable[str], known: Record | None) -> list[str]:
        """Those of a stage's files that are there and not as it left them, or that it cannot have left."""
        if known is not None and not known.done:
            return []  # which it goes on with
        there = [file for file in files if (self / file).is_file() and (known is None or file in known.sums)]
        return [file for file in there if known is None or checksum(self / file) != known.sums[file]]

    def _stale(self, name: str, *, on_chain: bool) -> dict[str, Record]:
        """The stages that a change of this one makes worthless: all that follow on the chain, or come after it."""
        waiting = {stage: record for stage, record in self._records.items() if stage not in self._passed}
        found = {name} | {stage for stage, record in waiting.items() if on_chain and record.on_chain}
        while more := {stage for stage, record in waiting.items() if found & {*record.after}} - found:
            found |= more
        return {stage: record for stage, record in waiting.items() if stage in found}

    def _set_aside(self, name: str, stale: dict[str, Record], inputs: dict) -> None:
        """Move what these stages left to a numbered folder, and forget them.

        RunFolderError where one of them was interrupted, and would lose what it has done.
        """
        for stage, record in stale.items():
            begun = [file for file in record.files if (self / file).exists()]
            if begun and not record.done:
                changed = _brief(self._records[name].inputs, inputs) or f"stages before {name} changed"
                raise RunFolderError(
                    f"run folder {self.path}: {stage} was interrupted, and cannot go on with other settings: {changed};"
                    " finish it with those that it began with, give this run its own folder with name=NEW_NAME,"
                    f" or delete {', '.join(begun)} there to start {stage} anew"
                )
        place = self._move_aside({file for record in stale.values() for file in record.files})
        if self.writes:
            write_manifest(place, stale)
        for stage in stale:
            del self._records[stage]
        self._say(f"{name}: its settings changed; results from here on were moved to {place}")

    def _move_aside(self, files: Iterable[str]) -> Path:
        """Move files, and what an interrupted writer left of them, to a new numbered folder."""
        earlier = [int(one.name) for one in self.path.glob("previous/*") if one.name.isdecimal()]
        place = self.path / "previous" / str(max(earlier, default=0) + 1)
        own = {*files}
        others = {file for record in self._records.values() for file in record.files} - own
        if self.writes:
            place.mkdir(parents=True)
            for file in own:
                for one in {self / file}.union(*map(self.path.glob, (f".{file}.*", f"{file}.*"))):
                    if one.exists() and one.name not in others:
                        one.rename(place / one.name)
        return place

    def _save(self) -> None:
        if self.writes:
            write_manifest(self.path, self._records)


def _brief(old: dict, new: dict) -> str:
    """The first few settings that differ, and how many more there are."""
    differences = list(_differences(old, new))
    shown = "; ".join(f"{key} was {before!r} and is {after!r}" for key, before, after in differences[:3])
    return shown + (f" and {len(differences) - 3} more" if len(differences) > 3 else "")


def _differences(old: Any, new: Any, prefix: str = "") -> Iterable[tuple[str, Any, Any]]:
    """(key, old value, new value) of every leaf that differs, keys joined by dots."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    elif old != new:
        yield prefix, old, new
