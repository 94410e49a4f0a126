"""Files by the names that lists and annotations give them (4.1): other systems, tools and tables of characters.

A name is looked for as it stands, then as other people's tools may have meant it. Each folder is listed once: no
question to the disk for each of 118,287 images.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from ..errors import DataError
from .flaws import Findings, Flaw

ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:|.*://", re.DOTALL)


def composed(text: str) -> str:
    """`text` in Unicode's composed form (NFC); a Mac's archives hold the decomposed one."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def leads_out(name: str) -> bool:
    """Whether a path joined with `name` may lie elsewhere, on any system."""
    return is_absolute(name) or (".." in name and ".." in name.replace("\\", "/").split("/"))


def is_absolute(name: str) -> bool:
    """Whether `name` is the absolute path of any system, or a URL."""
    return ABSOLUTE.match(name) is not None


class Listing:
    """The files below `folder` that have one of the `suffixes`, or any that is asked for by its very name.

    DataError where the folder itself cannot be listed; `what` it holds is said then.
    """

    def __init__(self, folder: Path, suffixes: tuple[str, ...], what: str = "image") -> None:
        self.folder, self._suffixes = folder, suffixes
        try:
            self._top = _Folder("", os.listdir(folder), suffixes)  # noqa: PTH208 - names alone
        except (OSError, ValueError) as error:  # a name may be none that the file system could have
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot list the {what} folder {folder}: {reason}") from error
        self._below: dict[str, _Folder | None] = {"": self._top}

    def find(self, name: str) -> str | None:
        """The file that `name` must mean, as a path below the folder; None where there is none, or it leads out.

        A suffix may be left out. Tried in turn: the name as it stands, with slashes for backslashes, and with % codes
        resolved; then its longest end that is there, as of an absolute name, a URL or one that begins elsewhere.
        """
        if (file := self._plain(name)) is not None:
            return file
        return next(filter(None, map(self._plain, _meanings(name))), None)

    def meant(
        self, name: str, source: Path, findings: Findings, *, key: int | str | None = None, stems: bool = False
    ) -> str | None:
        """As `find`, of a name that `source` lists; what is wrong with it goes into the findings, under `key`.

        With `stems` names may lack their suffix.
        """
        found, key = self.find(name), name if key is None else key
        if found is not None:
            same = composed(found)
            if composed(name) not in (same, split_suffix(same)[0] if stems else same):
                findings.add(Flaw.NAME_MENDED, source, f"{name!r} is read as {found}", object=key)
        elif leads_out(name):
            reason = f"{source}: the name {name!r} leads out of {self.folder}; names must stay inside"
            findings.add(Flaw.NAME_LEADS_OUT, source, reason, object=key)
        else:
            reason = f"{source} lists {name}, but {self.folder} does not have it as {', '.join(self._suffixes)}"
            findings.add(Flaw.IMAGE_MISSING, source, reason, object=key)
        return found

    def is_comment(self, line: str) -> bool:
        """Whether a line of a list begins with #, and no name here does so."""
        return line.startswith("#") and not (self.find(line) or "").startswith("#")

    def names(self) -> list[str]:
        """All files with one of the suffixes directly in the folder, in order."""
        return sorted(name for files in self._top.stems.values() for name in files)

    def _plain(self, name: str) -> str | None:
        below, _, own = name.rpartition("/")
        return folder.find(own) if (folder := self._listed(below)) else None

    def _listed(self, below: str) -> _Folder | None:
        """The folder of this name below ours; None where there is none."""
        if below not in self._below:
            above, _, own = below.rpartition("/")
            parent, found = self._listed(above), None
            if parent is not None and own not in ("", ".", "..") and (actual := parent.actual.get(composed(own))):
                name = f"{parent.name}/{actual}" if parent.name else actual
                with suppress(OSError):  # a file, or a folder of somebody else
                    found = _Folder(name, os.listdir(self.folder / name), self._suffixes)  # noqa: PTH208 - names alone
            self._below[below] = found
        return self._below[below]


class _Folder:
    """One folder: `name` below the first one, and the `actual` names in it by their composed form."""

    def __init__(self, name: str, names: list[str], suffixes: tuple[str, ...]) -> None:
        self.name, self._suffixes = name, suffixes
        self.actual = {composed(one): one for one in names}

    @cached_property
    def stems(self) -> dict[str, list[str]]:
        """Names with one of the suffixes by what stands before it; of several, the best suffix first."""
        found = defaultdict(list)
        order = {suffix: number for number, suffix in enumerate(self._suffixes)}
        for one in sorted(self.actual):
            stem, suffix = split_suffix(one)
            if suffix in order and not one.startswith("."):
                found[stem].append(self.actual[one])
        for files in found.values():
            files.sort(key=lambda file: order[split_suffix(file)[1]])
        return found

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        """Stems by their form in which upper and lower case are the same."""
        found = defaultdict(list)
        for stem in self.stems:
            found[stem.casefold()].append(stem)
        return found

    def find(self, own: str) -> str | None:
        """The path of the file `own` below the first folder: by its name, by its stem, or in another case."""
        own = composed(own)
        stem, suffix = split_suffix(own)
        known = suffix in self._suffixes
        stem = stem if known else own
        file = self.actual.get(own) if known else None
        if file is None:
            file = next(iter(self.stems.get(stem, [])), None) or self.actual.get(own)
        if file is None and len(stems := self._folded.get(stem.casefold(), [])) == 1:
            file = self.stems[stems[0]][0]
        return file and (f"{self.name}/{file}" if self.name else file)


def split_suffix(name: str) -> tuple[str, str]:
    """The part before the last dot, and the suffix in lower case."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot else (name, "")


def _meanings(name: str) -> Iterator[str]:
    """The other files that a name may mean, the likeliest first; nothing where it leads upwards."""
    for text in dict.fromkeys((name, unquote(name))):
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts:
            return
        yield from ("/".join(parts[start:]) for start in range(len(parts)))
