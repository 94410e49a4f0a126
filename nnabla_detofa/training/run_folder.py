"""Stages of a run and the files they leave: a stage whose inputs are unchanged is not run again.

The stages form a chain: each is known by a digest of its own settings and of the stage before it. Stages on a branch
know those before them, and are unknown to the chain: a change of theirs redoes nothing that comes after them.
`stages.json` records, for every stage, its digest, the settings, the checksums of its files and the seconds it took: a
file that was damaged or changed since has its stage done again.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import RunFolderError
from .files import checksum, flush, read_json, write_json

MANIFEST = "stages.json"
PLAIN_NAME = re.compile(r"[\w-][\w.-]*", re.ASCII)  # of a stage's file: in the run folder itself, and no pattern
LONGEST_RUN = 1e10  # seconds
ANEW = "delete it to run all stages again, which go on from checkpoints of the same settings"


class RunFolder:
    """The folder `log/<name>` of one run.

    Args:
        path: the folder; made where it is missing.
        say: takes a line for the user.
        writes: whether this process changes the folder (rank 0 alone does).
        barrier: waits for the other processes.
    """

    def __init__(
        self,
        path: Path,
        *,
        say: Callable[[str], None],
        writes: bool = True,
        barrier: Callable[[], None] = lambda: None,
    ):
        self.path, self.writes = path, writes
        self._say, self._barrier = say, barrier
        path.mkdir(parents=True, exist_ok=True)
        self._manifest = _read_manifest(path / MANIFEST) if (path / MANIFEST).is_file() else {}
        self._chain, self._tip = "", ""  # digests of the last stage on the chain, and of the last one at all
        self._passed: set[str] = set()
        self._present: dict | None = None  # the record of the stage that is at work
        self._counted = 0.0  # until when its seconds are counted, on the monotonic clock
        barrier()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, value) -> None:
        """A JSON file of the folder, whole or not at all."""
        if self.writes:
            write_json(self / name, value)

    def read(self, name: str):
        """The parsed JSON file; RunFolderError where it is damaged."""
        return read_json(self / name)

    @property
    def digest(self) -> str:
        """Of the settings of the present stage and of all that it depends on."""
        return self._tip

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each finished stage took, over all its sessions."""
        return {name: entry["seconds"] for name, entry in self._manifest.items() if entry["done"]}

    def stage(
        self, name: str, settings: dict, files: Iterable[str], work: Callable[[], None], *, branch: bool = False
    ) -> bool:
        """Run `work` unless the stage's `files` are there from the same settings and the same earlier stages.

        What an interrupted `work` left is there when it runs again; what a changed stage left, its own files and those
        of all stages that this session has not passed (those on branches if it is on a `branch`), is set aside in
        `previous/`, and so is a file that nothing is known of or that is not as its stage left it. (Folders are
        checkpoints, which know themselves whose they are and whether they are whole.) Returns whether `work` ran.

        Raises RunFolderError where the first stage's settings differ, since the folder belongs to another
        configuration, and where a stage that was interrupted would be set aside.
        """
        files, first = list(files), not self._chain
        settings = json.loads(json.dumps(settings, sort_keys=True))
        before = self._tip if branch else self._chain
        self._tip = hashlib.sha256(f"{before} {name} {json.dumps(settings, sort_keys=True)}".encode()).hexdigest()
        if not branch:
            self._chain = self._tip
        known = self._manifest.get(name)
        if known is not None and known["digest"] != self._tip:
            if first:
                raise RunFolderError(self._another(known["settings"], settings))
            self._require_nothing_begun(name, settings, branch=branch)
            self._set_aside(name, branch=branch)
            known, foreign = None, []
        else:
            foreign = self._foreign(files, known)
        self._passed.add(name)
        if known is not None and known["done"] and not foreign and all((self / file).exists() for file in files):
            self._say(f"{name}: kept, its inputs are unchanged")
            return False
        if foreign:
            self._barrier()  # all have looked at them before one moves them
            place, why = self._move_aside(foreign), "changed since" if known else "of no recorded stage"
            self._say(
                f"{name}: {', '.join(foreign)}: {why}, moved to {place}; what is missing of the stage is done again"
            )
        seconds = known["seconds"] if known else 0.0
        entry = {"digest": self._tip, "settings": settings, "files": files, "branch": branch, "sums": {}}
        self._work(name, {**entry, "seconds": seconds, "done": False}, work)
        return True

    def _work(self, name: str, entry: dict, work: Callable[[], None]) -> None:
        self._manifest[name] = self._present = entry
        self._counted = time.monotonic()
        self._save()
        self._barrier()  # all have looked at the folder before one changes it
        try:
            work()
            self._barrier()
            self._flush(entry["files"])
            entry["sums"] = {file: checksum(self / file) for file in entry["files"] if (self / file).is_file()}
            entry["done"] = True
        finally:
            self.count_seconds(every=0)
            self._present = None
        self._say(f"{name}: done in {entry['seconds']:.1f} s")

    def count_seconds(self, *, every: float = 10) -> None:
        """Note how long the present stage has taken, `every` so many seconds: a kill loses no more of them."""
        now = time.monotonic()
        if self._present is not None and now - self._counted >= every:
            self._present["seconds"] = round(self._present["seconds"] + now - self._counted, 3)
            self._counted = now
            self._save()

    def _flush(self, files: Iterable[str]) -> None:
        """A stage is done when a power failure cannot take its files away."""
        if self.writes:
            for place in (*map(self.path.joinpath, files), self.path):
                flush(place)

    def _foreign(self, files: Iterable[str], known: dict | None) -> list[str]:
        """Those of a stage's files that are there and not as it left them, or that it cannot have left."""
        if known is not None and not known["done"]:
            return []  # which it goes on with
        sums = (known or {}).get("sums", {})
        there = [file for file in files if (self / file).is_file() and (known is None or file in sums)]
        return [file for file in there if known is None or checksum(self / file) != sums[file]]

    def _stale(self, *, branch: bool) -> dict[str, dict]:
        """The stages that a change of the present one makes worthless, by name."""
        return {
            stage: entry
            for stage, entry in self._manifest.items()
            if stage not in self._passed and (entry.get("branch") or not branch)
        }

    def _require_nothing_begun(self, name: str, settings: dict, *, branch: bool) -> None:
        """RunFolderError where a stage that was interrupted would lose what it has done."""
        for stage, entry in self._stale(branch=branch).items():
            begun = [file for file in entry["files"] if (self / file).exists()]
            if begun and not entry["done"]:
                raise RunFolderError(
                    f"run folder {self.path}: {stage} was interrupted, and cannot go on with other settings:"
                    f" {_brief(self._manifest[name]['settings'], settings) or f'stages before {name} changed'};"
                    f" finish it with those that it began with, give this run its own folder with name=NEW_NAME,"
                    f" or delete {', '.join(begun)} there to start {stage} anew"
                )

    def _set_aside(self, name: str, *, branch: bool) -> None:
        """Move what the stages not passed yet left to a numbered folder, and forget these stages."""
        stale = self._stale(branch=branch)
        place = self._move_aside({file for entry in stale.values() for file in entry["files"]})
        if self.writes:
            write_json(place / MANIFEST, stale)
        for stage in stale:
            del self._manifest[stage]
        self._say(f"{name}: its settings changed; results from here on were moved to {place}")

    def _move_aside(self, files: Iterable[str]) -> Path:
        """Move files, and what an interrupted writer left of them, to a new numbered folder."""
        earlier = [int(one.name) for one in self.path.glob("previous/*") if one.name.isdigit()]
        place = self.path / "previous" / str(max(earlier, default=0) + 1)
        if self.writes:
            place.mkdir(parents=True)
            for file in files:
                unfinished = (f".{file}.*", f".{Path(file).stem}.writing.*", f"{file}.*")
                for one in {self / file}.union(*map(self.path.glob, unfinished)):
                    if one.exists():
                        one.rename(place / one.name)
        return place

    def _another(self, old: dict, new: dict) -> str:
        return (
            f"run folder {self.path} belongs to another configuration: {_brief(old, new)};"
            " give this run its own with name=NEW_NAME, or delete the folder"
        )

    def _save(self) -> None:
        if self.writes:
            write_json(self / MANIFEST, self._manifest)


def _read_manifest(file: Path) -> dict[str, dict]:
    """The record of stages; RunFolderError for anything else. A name in it may lead nowhere: its files are moved."""
    try:
        stages = read_json(file)
    except RunFolderError as error:
        raise RunFolderError(f"{file} cannot be read ({error.__cause__}); {ANEW}") from error
    if not isinstance(stages, dict) or not all(map(_is_entry, stages.values())):
        raise RunFolderError(f"{file} is no record of stages; {ANEW}")
    return stages


def _is_entry(entry: Any) -> bool:
    """Whether it is what `RunFolder.stage` records of a stage."""
    if not isinstance(entry, dict) or not isinstance(entry.get("files"), list):
        return False
    sums = entry.get("sums", {})
    if not isinstance(sums, dict):
        return False
    names = all(isinstance(name, str) and PLAIN_NAME.fullmatch(name) for name in (*entry["files"], *sums))
    seconds, kinds = entry.get("seconds"), {"digest": str, "settings": dict, "branch": bool, "done": bool}
    known = all(isinstance(entry.get(key), kind) for key, kind in kinds.items())
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds < LONGEST_RUN
    return names and known and number


def _brief(old: dict, new: dict) -> str:
    """The first few settings that differ, and how many more there are."""
    differences = list(_differences(old, new))
    shown = "; ".join(f"{key} was {before!r} and is {after!r}" for key, before, after in differences[:3])
    return shown + (f" and {len(differences) - 3} more" if len(differences) > 3 else "")


def _differences(old, new, prefix: str = ""):
    """(key, old value, new value) of every leaf that differs, keys joined by dots."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    elif old != new:
        yield prefix, old, new
